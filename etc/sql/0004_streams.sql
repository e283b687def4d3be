-- What operators and handlers say of streams.  mesh-schema(7) describes the tables.
SET LOCAL search_path = mesh;

-- Messages that failed at their handler and are tried again; at most a few of each stream.
CREATE TABLE stream_attempts (
	stream_id uuid NOT NULL,
	seq bigint NOT NULL,
	attempts integer NOT NULL,
	error text NOT NULL,
	updated timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (stream_id, seq)
) WITH (fillfactor = 50);

-- Messages that were given up at this node; sealed as they were in the inbox.
CREATE TABLE stream_dead_letters (
	stream_id uuid NOT NULL,
	seq bigint NOT NULL,
	position bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
	message_id uuid NOT NULL,
	src_node bigint NOT NULL,
	tenant_id text NOT NULL,
	attempts integer NOT NULL,
	error text NOT NULL,
	failed_at timestamptz NOT NULL DEFAULT now(),
	first_seq bigint NOT NULL,                  -- of the batch that it came in: its nonce begins there
	epoch bigint NOT NULL,
	key_id bytea NOT NULL,
	nonce bytea NOT NULL,
	payload bytea NOT NULL,
	PRIMARY KEY (stream_id, seq)
);
ALTER TABLE stream_dead_letters ALTER COLUMN payload SET STORAGE EXTERNAL;

-- Messages that a source gave up before a target had them.  At the target what lies in a gap is not waited for;
-- a gap's range in delivery_log, if there is one, is 'done' around it.
CREATE TABLE delivery_gaps (
	stream_id uuid NOT NULL,
	dst_node bigint NOT NULL,
	first_seq bigint NOT NULL,
	last_seq bigint NOT NULL,
	src_node bigint NOT NULL,
	err text NOT NULL,
	updated timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (stream_id, dst_node, first_seq)
);

-- A message that failed has a row of its own in delivery_log, with -seq as its segment.
CREATE OR REPLACE VIEW delivery_log_messages AS
SELECT ulid_text(d.stream_id) AS stream_id, seq,
	ulid_text(coalesce(
		(SELECT o.message_ids[(seq - o.first_seq + 1)::integer] FROM outbox o
			WHERE o.stream_id = d.stream_id AND o.first_seq <= seq AND o.last_seq >= seq),
		(SELECT i.message_ids[(seq - i.first_seq + 1)::integer] FROM inbox i
			WHERE i.stream_id = d.stream_id AND i.first_seq <= seq AND i.last_seq >= seq),
		(SELECT l.message_id FROM stream_dead_letters l WHERE l.stream_id = d.stream_id AND l.seq = s.seq)
	)) AS message_id,
	node_text(d.src_node) AS src_node, node_text(d.dst_node) AS dst_node, d.state, d.err, d.updated
FROM delivery_log d CROSS JOIN generate_series(d.first_seq, d.last_seq) AS s(seq)
WHERE (d.segment < 0 OR NOT EXISTS (SELECT FROM delivery_log f
	WHERE f.stream_id = d.stream_id AND f.dst_node = d.dst_node AND f.segment = -s.seq))
	AND NOT EXISTS (SELECT FROM delivery_gaps g WHERE g.stream_id = d.stream_id AND g.dst_node = d.dst_node
	AND g.first_seq <= s.seq AND g.last_seq >= s.seq)
UNION ALL
SELECT ulid_text(g.stream_id), seq, NULL, node_text(g.src_node), node_text(g.dst_node),
	'failed'::delivery_state, g.err, g.updated
FROM delivery_gaps g CROSS JOIN generate_series(g.first_seq, g.last_seq) AS seq;


-- Streams with the handler db have a position of their own, stream: and the id, beside those of 0003.
COMMENT ON COLUMN handler_positions.position IS
	'db: index in the control group''s log; stream: seq of the last message that was applied';

-- What operators have said of streams at this node: rules that pause or throttle.
CREATE TABLE stream_controls (
	kind smallint NOT NULL,                    -- 0 pause, 1 throttle
	side smallint NOT NULL,                    -- 0 where this node is the source, 1 where it is a target
	stream_id uuid NOT NULL,                   -- all zero: any
	tenant_id text NOT NULL,                   -- '': any
	min_priority integer NOT NULL,
	max_priority integer NOT NULL,
	exception boolean NOT NULL,                -- not paused, not throttled
	messages_per_s bigint NOT NULL,            -- 0: no limit
	bytes_per_s bigint NOT NULL,
	created_ms bigint NOT NULL,
	reason text NOT NULL,
	PRIMARY KEY (kind, side, stream_id, tenant_id, min_priority, max_priority)
);

INSERT INTO schema_version (version, name) VALUES (4, 'streams');
