-- The state of one mesh node.  mesh-schema(7) describes the tables.
--
-- Applied by consensusd in one transaction, or by a DBA (psql -1 -f).  Ids of streams and messages are
-- ULIDs, kept as uuid; node ids are 64 bits, kept as bigint: the functions below show them as text.
CREATE SCHEMA mesh;
SET LOCAL search_path = mesh;

CREATE TABLE schema_version (
	version integer PRIMARY KEY,
	name text NOT NULL,
	checksum bytea,                            -- BLAKE2b-256 of the file; NULL: applied by hand
	applied timestamptz NOT NULL DEFAULT now()
);

-- ---- ids as people read them (Crockford base32) ----

CREATE FUNCTION base32_digits() RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT '0123456789ABCDEFGHJKMNPQRSTVWXYZ' $$;

-- Bits in groups of five as digits.
CREATE FUNCTION base32_text(bits bit varying) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
$$ SELECT string_agg(substr(mesh.base32_digits(), substring(bits FROM i FOR 5)::bit(5)::integer + 1, 1), '' ORDER BY i)
   FROM generate_series(1, length(bits), 5) AS i $$;

-- Digits as bits, five each.
CREATE FUNCTION base32_bits(digits text) RETURNS bit varying LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
$$ SELECT string_agg((strpos(mesh.base32_digits(), translate(upper(d), 'ILO', '110')) - 1)::bit(5)::text, '' ORDER BY i)::bit varying
   FROM regexp_split_to_table(digits, '') WITH ORDINALITY AS t(d, i) $$;

CREATE FUNCTION ulid_text(id uuid) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
$$ SELECT mesh.base32_text(B'00' || ('x' || replace(id::text, '-', ''))::bit(128)) $$;

CREATE FUNCTION ulid_uuid(id text) RETURNS uuid LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
$$ SELECT string_agg(lpad(to_hex(substring(mesh.base32_bits(id) FROM 3 + i * 32 FOR 32)::bit(32)::bigint), 8, '0'), '' ORDER BY i)::uuid
   FROM generate_series(0, 3) AS i $$;

CREATE FUNCTION node_text(id bigint) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
$$ SELECT mesh.base32_text(B'0' || id::bit(64)) $$;

CREATE FUNCTION node_id(id text) RETURNS bigint LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
$$ SELECT substring(mesh.base32_bits(id) FROM 2 FOR 64)::bit(64)::bigint $$;

-- ---- the mesh, its nodes, links and routes ----

CREATE TABLE mesh (
	mesh_id uuid PRIMARY KEY,
	name text NOT NULL,
	description text NOT NULL DEFAULT '',
	allow_join boolean NOT NULL DEFAULT false,
	status text NOT NULL DEFAULT '',
	created timestamptz NOT NULL DEFAULT now(),
	updated timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE nodes (
	node_id bigint PRIMARY KEY,
	name text NOT NULL,
	description text NOT NULL DEFAULT '',
	pubkey bytea NOT NULL,
	last_seen timestamptz NOT NULL DEFAULT now(),
	status text NOT NULL,
	incarnation bigint NOT NULL DEFAULT 0,
	meta jsonb NOT NULL DEFAULT '{}',
	platform text NOT NULL DEFAULT '',
	version text NOT NULL DEFAULT '',
	region_id text NOT NULL DEFAULT '',
	ip_address text NOT NULL DEFAULT '',
	port integer NOT NULL DEFAULT 0,
	created timestamptz NOT NULL DEFAULT now(),
	updated timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE links (
	id text PRIMARY KEY,
	a_node bigint NOT NULL,
	b_node bigint NOT NULL,
	latency_ms double precision NOT NULL DEFAULT 0,
	bandwidth_mbps double precision NOT NULL DEFAULT 0,
	loss double precision NOT NULL DEFAULT 0,
	utilization double precision NOT NULL DEFAULT 0,
	status text NOT NULL DEFAULT '',
	meta jsonb NOT NULL DEFAULT '{}'
);

CREATE TABLE lsa_versions (
	node_id bigint NOT NULL,
	version bigint NOT NULL,
	hash bytea NOT NULL,
	created timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (node_id, version)
);

CREATE TABLE topology_snapshots (
	version bigint PRIMARY KEY,
	graph jsonb NOT NULL,
	created timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE config_kv (
	key text PRIMARY KEY,
	value jsonb NOT NULL,
	updated timestamptz NOT NULL DEFAULT now()
);

-- ---- Raft ----

CREATE TYPE raft_group_type AS ENUM ('MCG', 'DSG');

CREATE TABLE raft_groups (
	id uuid PRIMARY KEY,
	type raft_group_type NOT NULL,
	members bigint[] NOT NULL,
	term bigint NOT NULL DEFAULT 0,
	leader_id bigint,
	meta jsonb NOT NULL DEFAULT '{}'
) WITH (fillfactor = 50);

CREATE TABLE raft_log (
	group_id uuid NOT NULL,
	index bigint NOT NULL,
	term bigint NOT NULL,
	payload bytea NOT NULL,
	created timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (group_id, index)
);

-- ---- streams and what is in them ----

CREATE TABLE streams (
	stream_id uuid PRIMARY KEY,
	tenant_id text NOT NULL,
	src_node bigint NOT NULL,
	dst_nodes bigint[] NOT NULL,
	qos text NOT NULL,
	priority integer NOT NULL,
	epoch bigint NOT NULL,
	state smallint NOT NULL CHECK (state BETWEEN 0 AND 2),      -- open, closing, closed
	close_seq bigint NOT NULL DEFAULT 0,
	source_key bytea NOT NULL,
	key_id bytea NOT NULL,
	signed_meta bytea NOT NULL,                                 -- the source's StreamMeta as sent
	meta jsonb NOT NULL DEFAULT '{}',
	created timestamptz NOT NULL,
	updated timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX streams_closed ON streams (updated) WHERE state = 2;

-- How far each target has processed a stream.
CREATE TABLE stream_offsets (
	stream_id uuid NOT NULL,
	node_id bigint NOT NULL,
	committed_seq bigint NOT NULL,
	updated timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (stream_id, node_id)
) WITH (fillfactor = 50);

CREATE TYPE delivery_state AS ENUM ('received', 'processing', 'done', 'failed');

-- Ranges of messages; segment is (seq - 1) / 65536, so a message's row is found by key.
CREATE TABLE delivery_log (
	stream_id uuid NOT NULL,
	dst_node bigint NOT NULL,
	segment bigint NOT NULL,
	src_node bigint NOT NULL,
	first_seq bigint NOT NULL,
	last_seq bigint NOT NULL,
	state delivery_state NOT NULL DEFAULT 'done',
	err text,
	updated timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (stream_id, dst_node, segment)
) WITH (fillfactor = 50);

-- A batch of messages a row: message i has seq first_seq + i - 1, message_ids[i] and payloads[i].
CREATE TABLE outbox (
	stream_id uuid NOT NULL,
	first_seq bigint NOT NULL,
	last_seq bigint NOT NULL,
	epoch bigint NOT NULL,
	body_bytes integer NOT NULL,
	key_id bytea NOT NULL,
	nonce bytea NOT NULL,
	signature bytea NOT NULL,
	message_ids uuid[] NOT NULL,
	payloads bytea[] NOT NULL,                                  -- sealed: random to look at
	created timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (stream_id, first_seq)
) WITH (toast_tuple_target = 8160,          -- up to a page they stay in one piece: cheaper
	autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
	autovacuum_vacuum_cost_delay = 0, autovacuum_vacuum_insert_threshold = -1,
	toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 200000,
	toast.autovacuum_vacuum_cost_delay = 1, toast.autovacuum_vacuum_insert_threshold = -1);

CREATE TABLE inbox (
	stream_id uuid NOT NULL,
	first_seq bigint NOT NULL,
	last_seq bigint NOT NULL,
	epoch bigint NOT NULL,
	src_node bigint NOT NULL,
	body_bytes integer NOT NULL,
	key_id bytea NOT NULL,
	nonce bytea NOT NULL,
	signature bytea NOT NULL,
	message_ids uuid[] NOT NULL,
	payloads bytea[] NOT NULL,
	received timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (stream_id, first_seq)
) WITH (toast_tuple_target = 8160,          -- up to a page they stay in one piece: cheaper
	autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
	autovacuum_vacuum_cost_delay = 0, autovacuum_vacuum_insert_threshold = -1,
	toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 200000,
	toast.autovacuum_vacuum_cost_delay = 1, toast.autovacuum_vacuum_insert_threshold = -1);

-- Batches on their way into either box, many in one array.
CREATE TYPE batch_row AS (
	stream_id uuid,
	first_seq bigint,
	last_seq bigint,
	epoch bigint,
	src_node bigint,
	body_bytes integer,
	key_id bytea,
	nonce bytea,
	signature bytea,
	message_ids uuid[],
	payloads bytea[]
);

-- Sealed bytes don't compress: don't try.
ALTER TABLE outbox ALTER COLUMN payloads SET STORAGE EXTERNAL, ALTER COLUMN message_ids SET STORAGE EXTERNAL;
ALTER TABLE inbox ALTER COLUMN payloads SET STORAGE EXTERNAL, ALTER COLUMN message_ids SET STORAGE EXTERNAL;

-- ---- who writes here, and what was written last ----

CREATE TABLE flush_marker (
	one boolean PRIMARY KEY DEFAULT true CHECK (one),
	node_id bigint NOT NULL,                    -- the database belongs to this node
	instance uuid NOT NULL,                     -- the running consensusd
	flush bigint NOT NULL,                      -- its last committed flush
	incarnation bigint NOT NULL,
	updated timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);

-- ---- one row a message, for people ----

CREATE VIEW outbox_messages AS
SELECT ulid_text(o.stream_id) AS stream_id, ulid_text(m.id) AS message_id, o.first_seq + m.at - 1 AS seq,
	m.payload, NULL::jsonb AS headers,          -- sealed within the payload
	CASE WHEN o.first_seq + m.at - 1 <= c.upto THEN 'done' ELSE 'pending' END AS status, o.created
FROM outbox o
CROSS JOIN LATERAL (SELECT coalesce(min(coalesce(f.committed_seq, 0)), 0) AS upto
	FROM streams s CROSS JOIN unnest(s.dst_nodes) AS d(node_id)
	LEFT JOIN stream_offsets f ON f.stream_id = s.stream_id AND f.node_id = d.node_id
	WHERE s.stream_id = o.stream_id) AS c
CROSS JOIN unnest(o.message_ids, o.payloads) WITH ORDINALITY AS m(id, payload, at);

CREATE VIEW inbox_messages AS
SELECT ulid_text(i.stream_id) AS stream_id, ulid_text(m.id) AS message_id, i.first_seq + m.at - 1 AS seq,
	node_text(i.src_node) AS src_node, m.payload, NULL::jsonb AS headers, i.received,
	CASE WHEN i.first_seq + m.at - 1 <= c.committed_seq THEN c.updated END AS processed
FROM inbox i
LEFT JOIN LATERAL (SELECT f.committed_seq, f.updated FROM stream_offsets f, flush_marker k
	WHERE f.stream_id = i.stream_id AND f.node_id = k.node_id) AS c ON true
CROSS JOIN unnest(i.message_ids, i.payloads) WITH ORDINALITY AS m(id, payload, at);

-- message_id is known as long as the message is in the outbox or the inbox.
CREATE VIEW delivery_log_messages AS
SELECT ulid_text(d.stream_id) AS stream_id, seq,
	ulid_text(coalesce(
		(SELECT o.message_ids[(seq - o.first_seq + 1)::integer] FROM outbox o
			WHERE o.stream_id = d.stream_id AND o.first_seq <= seq AND o.last_seq >= seq),
		(SELECT i.message_ids[(seq - i.first_seq + 1)::integer] FROM inbox i
			WHERE i.stream_id = d.stream_id AND i.first_seq <= seq AND i.last_seq >= seq)
	)) AS message_id,
	node_text(d.src_node) AS src_node, node_text(d.dst_node) AS dst_node, d.state, d.err, d.updated
FROM delivery_log d CROSS JOIN generate_series(d.first_seq, d.last_seq) AS seq;

CREATE VIEW streams_text AS
SELECT ulid_text(stream_id) AS stream_id, tenant_id, node_text(src_node) AS src_node,
	ARRAY(SELECT node_text(n) FROM unnest(dst_nodes) AS n) AS dst_nodes, qos, priority, epoch,
	(ARRAY['open', 'closing', 'closed'])[state + 1] AS state, created, updated
FROM streams;

INSERT INTO schema_version (version, name) VALUES (1, 'init');
