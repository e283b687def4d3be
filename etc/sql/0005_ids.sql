-- Ids by which publishers alone know their messages.  mesh-schema(7) describes the table.
SET LOCAL search_path = mesh;

-- At the source of a stream: message i of a batch has seq first_seq + i - 1 and message_ids[i].  Only batches with
-- ids that were given without a seq are here, of the newest messages of the stream, processed or not.
CREATE TABLE stream_ids (
	stream_id uuid NOT NULL,
	first_seq bigint NOT NULL,
	last_seq bigint NOT NULL,
	message_ids uuid[] NOT NULL,
	PRIMARY KEY (stream_id, first_seq)
) WITH (toast_tuple_target = 8160,          -- up to a page they stay in one piece: cheaper
	autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
	autovacuum_vacuum_cost_delay = 0, autovacuum_vacuum_insert_threshold = -1);
ALTER TABLE stream_ids ALTER COLUMN message_ids SET STORAGE EXTERNAL;

-- Of what is in the outbox nobody knows how it was published.
INSERT INTO stream_ids (stream_id, first_seq, last_seq, message_ids)
SELECT o.stream_id, o.first_seq, o.last_seq, o.message_ids
FROM (SELECT stream_id, max(last_seq) AS newest FROM outbox GROUP BY stream_id) AS n
JOIN outbox AS o ON o.stream_id = n.stream_id AND o.last_seq > n.newest - 65536;

INSERT INTO schema_version (version, name) VALUES (5, 'ids');
