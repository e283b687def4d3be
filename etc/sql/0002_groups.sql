-- Raft groups, and what the mesh control group keeps.  mesh-schema(7) describes the tables.
SET LOCAL search_path = mesh;

-- ---- Raft: what a replica of this node has promised and kept ----

ALTER TABLE raft_groups
	ADD COLUMN replica bigint NOT NULL DEFAULT 0,       -- id of this node's replica
	ADD COLUMN vote bigint NOT NULL DEFAULT 0,          -- replica that it voted for in this term; 0: none
	ADD COLUMN commit bigint NOT NULL DEFAULT 0,
	ADD COLUMN snap_index bigint NOT NULL DEFAULT 0,    -- of its row of raft_snapshots; 0: none
	ADD COLUMN snap_term bigint NOT NULL DEFAULT 0,
	ADD COLUMN updated timestamptz NOT NULL DEFAULT now();

CREATE TABLE raft_snapshots (
	group_id uuid PRIMARY KEY,
	index bigint NOT NULL,
	term bigint NOT NULL,
	config bytea NOT NULL,                      -- the membership at index
	data bytea NOT NULL,
	created timestamptz NOT NULL DEFAULT now()
);

-- Entries come and go at the ends of the log; small ones stay in their row.
ALTER TABLE raft_log SET (toast_tuple_target = 8160,
	autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
	autovacuum_vacuum_cost_delay = 0, autovacuum_vacuum_insert_threshold = -1);
ALTER TABLE raft_log ALTER COLUMN payload SET STORAGE EXTERNAL;

CREATE VIEW raft_groups_text AS
SELECT g.id, g.type, ARRAY(SELECT node_text(n) FROM unnest(g.members) AS n) AS members, g.term,
	node_text(g.leader_id) AS leader, g.commit, g.snap_index,
	(SELECT max(l.index) FROM raft_log l WHERE l.group_id = g.id) AS last_index, g.updated
FROM raft_groups g;

-- ---- is this the database that it was, and not an older state of it ----

CREATE TABLE database_identity (
	one boolean PRIMARY KEY DEFAULT true CHECK (one),
	id uuid NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO database_identity DEFAULT VALUES;

-- Flushes of the instances before: base + flush counts all there ever were.
ALTER TABLE flush_marker ADD COLUMN base bigint NOT NULL DEFAULT 0;

-- ---- the configuration of the mesh ----
-- Values are bytes: what can't be read as JSON must not keep anything else from being written.

CREATE FUNCTION json_read(value bytea) RETURNS jsonb LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE AS
$$ BEGIN RETURN convert_from(value, 'UTF8')::jsonb; EXCEPTION WHEN data_exception OR program_limit_exceeded THEN RETURN NULL; END $$;

DROP TABLE config_kv;
CREATE TABLE config_values (
	key text PRIMARY KEY,
	value bytea NOT NULL,                       -- JSON
	version bigint NOT NULL,                    -- of this key
	index bigint NOT NULL,                      -- of the entry in the log that set it
	node_id bigint NOT NULL,                    -- who asked for it
	updated timestamptz NOT NULL
);
CREATE VIEW config_kv AS SELECT key, json_read(value) AS value, updated FROM config_values;

CREATE TABLE config_changes (
	key text NOT NULL,
	updated timestamptz NOT NULL,
	index bigint NOT NULL,
	version bigint NOT NULL,
	value bytea,                                -- NULL: it was removed
	node_id bigint NOT NULL,
	PRIMARY KEY (key, updated, index)
);
CREATE VIEW config_history AS
SELECT key, version, json_read(value) AS value, index, node_text(node_id) AS node_id, updated
FROM config_changes;

-- ---- updates of nodes, and how far those have read who subscribe to updates ----

CREATE TABLE node_updates (
	node_id bigint NOT NULL,                    -- whose it is
	type bytea NOT NULL,
	version bigint NOT NULL,
	payload bytea NOT NULL,
	signature bytea NOT NULL,                   -- its public key, then the signature
	unix_ms bigint NOT NULL,
	removed boolean NOT NULL DEFAULT false,
	position bigint NOT NULL,                   -- in which order they came to this node
	PRIMARY KEY (node_id, type)
);
CREATE VIEW node_updates_text AS
SELECT node_text(node_id) AS node_id, encode(type, 'escape') AS type, version, payload, removed,
	to_timestamp(greatest(0, least(unix_ms, 253402300799000)) / 1e3) AS updated, position
FROM node_updates;

CREATE TABLE update_positions (
	kind smallint NOT NULL,
	subscriber bytea NOT NULL,
	position bigint NOT NULL,
	updated timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (kind, subscriber)
);

INSERT INTO schema_version (version, name) VALUES (2, 'groups');
