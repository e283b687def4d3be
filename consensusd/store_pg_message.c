/*
 * store_pg_message: where a message is, as the tables have it.
 */
#include "common/base/err.h"
#include "common/os/log.h"
#include "consensusd/store_pg.h"
#include "consensusd/store_pg_row.h"

enum { MESSAGE_ERROR_SIZE = 256 };

/* What a batch has of ids is looked through for one, not what it has of payload. */
const char store_message_sql[] =
    "WITH a AS MATERIALIZED (SELECT coalesce(nullif($2::bigint, 0),"
    " (SELECT b.first_seq + array_position(b.message_ids, $3::uuid) - 1 FROM (SELECT first_seq, message_ids"
    " FROM outbox WHERE stream_id = $1::uuid ORDER BY first_seq DESC LIMIT 65536) AS b"
    " WHERE array_position(b.message_ids, $3::uuid) IS NOT NULL LIMIT 1),"
    " (SELECT b.first_seq + array_position(b.message_ids, $3::uuid) - 1 FROM (SELECT first_seq, message_ids"
    " FROM inbox WHERE stream_id = $1::uuid ORDER BY first_seq DESC LIMIT 65536) AS b"
    " WHERE array_position(b.message_ids, $3::uuid) IS NOT NULL LIMIT 1),"
    " (SELECT b.first_seq + array_position(b.message_ids, $3::uuid) - 1 FROM (SELECT first_seq, message_ids"
    " FROM stream_ids WHERE stream_id = $1::uuid ORDER BY first_seq DESC LIMIT 65536) AS b"
    " WHERE array_position(b.message_ids, $3::uuid) IS NOT NULL LIMIT 1)) AS seq),"
    " m AS MATERIALIZED (SELECT a.seq, coalesce("
    " (SELECT b.message_ids[(a.seq - b.first_seq + 1)::integer] FROM outbox AS b WHERE b.stream_id = $1::uuid"
    " AND b.first_seq <= a.seq AND b.first_seq > a.seq - 4096 AND b.last_seq >= a.seq LIMIT 1),"
    " (SELECT b.message_ids[(a.seq - b.first_seq + 1)::integer] FROM inbox AS b WHERE b.stream_id = $1::uuid"
    " AND b.first_seq <= a.seq AND b.first_seq > a.seq - 4096 AND b.last_seq >= a.seq LIMIT 1)) AS id"
    " FROM a WHERE a.seq IS NOT NULL)"
    " SELECT m.seq, m.id, s.tenant_id, s.src_node, t.node_id, (s.state = 2)::integer::bigint, s.close_seq,"
    " (d.stream_id IS NOT NULL)::integer::bigint, coalesce(g.last_seq, 0),"
    " (x.stream_id IS NOT NULL)::integer::bigint, coalesce(g.err, x.err, d.err, ''),"
    " coalesce(floor(extract(epoch FROM coalesce(g.updated, x.updated, d.updated)) * 1000), 0)::bigint,"
    " coalesce(f.committed_seq, 0)"
    " FROM m JOIN streams s ON s.stream_id = $1::uuid CROSS JOIN LATERAL unnest(s.dst_nodes) AS t(node_id)"
    " LEFT JOIN delivery_log d ON d.stream_id = $1::uuid AND d.dst_node = t.node_id"
    " AND d.segment = (m.seq - 1) >> 16 AND d.first_seq <= m.seq AND d.last_seq >= m.seq"
    " LEFT JOIN delivery_log x ON x.stream_id = $1::uuid AND x.dst_node = t.node_id AND x.segment = -m.seq"
    " LEFT JOIN LATERAL (SELECT y.last_seq, y.err, y.updated FROM delivery_gaps y"
    " WHERE y.stream_id = $1::uuid AND y.dst_node = t.node_id AND y.first_seq <= m.seq"
    " AND y.last_seq >= m.seq LIMIT 1) AS g ON true"
    " LEFT JOIN stream_offsets f ON f.stream_id = $1::uuid AND f.node_id = t.node_id";

int
store_message_row(const struct pg_result *res, int row, store_message_fn *fn, void *arg)
{
	char tenant[TENANT_TEXT_SIZE], error[MESSAGE_ERROR_SIZE];
	struct pg_row in = {.res = res, .row = row};
	struct store_message m = {.tenant_id = tenant, .error = error};

	m.seq = pg_row_int8(&in);
	m.kept = !pg_row_null(&in);
	if (m.kept)
		pg_row_fixed(&in, m.message_id.b, ULID_BYTES);
	else
		in.column++;
	pg_row_text(&in, tenant, sizeof(tenant));
	m.src_node = pg_row_int8(&in);
	m.dst_node = pg_row_int8(&in);
	m.closed = pg_row_int8(&in) != 0;
	m.close_seq = pg_row_int8(&in);
	m.logged = pg_row_int8(&in) != 0;
	m.failed_last = pg_row_int8(&in);
	m.failed = m.failed_last != 0;
	m.dead = pg_row_int8(&in) != 0;
	pg_row_text(&in, error, sizeof(error));
	m.updated_unix_ms = pg_row_int8(&in);
	m.committed_seq = pg_row_int8(&in);
	if (in.bad) {
		log_error("store: what the tables have of a message makes no sense");
		return ERR_FORMAT;
	}
	fn(arg, &m, 0);
	return 0;
}
