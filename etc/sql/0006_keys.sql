-- Keys of tenants that the control group gave out.  mesh-schema(7) describes the table.
SET LOCAL search_path = mesh;

-- A version stays as long as something here is sealed with it, whatever the group keeps: outbox, inbox and dead
-- letters can be read after any number of rotations.
CREATE TABLE tenant_keys (
	tenant_id text NOT NULL,
	key_id bytea NOT NULL,
	version bigint NOT NULL,
	box bytea NOT NULL,                        -- the key, sealed to this node's key
	seen timestamptz NOT NULL DEFAULT now(),   -- when something sealed with it was last known to come or be here
	PRIMARY KEY (tenant_id, key_id)
);

INSERT INTO schema_version (version, name) VALUES (6, 'keys');
