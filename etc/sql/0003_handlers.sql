-- How far the handlers of replicated updates are, and what they could not do.  mesh-schema(7) describes the tables.
SET LOCAL search_path = mesh;

-- The position moves in the transaction that does the work: so each update is done once.
CREATE TABLE handler_positions (
	handler text PRIMARY KEY,                  -- db: and a group's id: rows of db-table
	position bigint NOT NULL,                  -- in the control group's log: all up to here is done
	updated timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);

CREATE TABLE dead_letters (
	position bigint PRIMARY KEY,
	update_id uuid NOT NULL,
	table_name text NOT NULL,
	operation text NOT NULL,
	key text NOT NULL,
	"row" text NOT NULL,
	error text NOT NULL,
	attempts integer NOT NULL,
	failed_at timestamptz NOT NULL DEFAULT now(),
	blocking boolean NOT NULL,                 -- later updates wait for it
	origin_node bigint NOT NULL,
	payload bytea NOT NULL                     -- the whole update, a DBUpdate of mesh.proto
);

INSERT INTO schema_version (version, name) VALUES (3, 'handlers');
