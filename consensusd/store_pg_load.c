/*
 * store_pg_load: the state that consensusd starts with: streams, then offsets, page by page in the
 * order of their keys.
 */
#include <postgresql/libpq-fe.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/be.h"
#include "common/base/err.h"
#include "consensusd/pg_array.h"
#include "consensusd/store_pg.h"
#include "consensusd/store_pg_row.h"

/* Closed streams are told for a day more: the other end may still ask for them. */
#define RECENT "(s.state <> 2 OR s.updated > now() - interval '1 day')"

/*
 * Outbox and inbox are cleared only of what is processed, so the highest offset stands for what is no
 * longer there.  The inbox counts up to its first gap, from the
 * first message that this node gets.
 */
static const char streams_sql[] =
    "SELECT s.stream_id, s.tenant_id, s.src_node, s.dst_nodes, s.qos, s.priority::bigint,"
    " floor(extract(epoch FROM s.created) * 1000)::bigint, s.epoch, s.state::bigint, s.close_seq,"
    " s.source_key, s.key_id, s.signed_meta, coalesce(s.meta->>'striping' = 'on', false)::integer::bigint,"
    " greatest(o.last_seq, c.highest), greatest(c.own, CASE WHEN i.first_seq <= c.own + 1 THEN i.last_seq "
    "END), EXISTS (SELECT FROM stream_ids d WHERE d.stream_id = s.stream_id)::integer::bigint"
    " FROM streams s"
    " CROSS JOIN LATERAL (SELECT coalesce(max(f.committed_seq), 0) AS highest,"
    "   greatest(coalesce(max(f.committed_seq) FILTER (WHERE f.node_id = $2), 0),"
    "   coalesce((s.meta->>'first_seq')::bigint, 1) - 1) AS own"
    "   FROM stream_offsets f WHERE f.stream_id = s.stream_id) AS c"
    " LEFT JOIN LATERAL (SELECT b.last_seq FROM outbox b WHERE b.stream_id = s.stream_id"
    "   ORDER BY b.first_seq DESC LIMIT 1) AS o ON true"
    " LEFT JOIN LATERAL (SELECT g.lowest AS first_seq, g.last_seq FROM ("
    "   SELECT b.first_seq, b.last_seq, lead(b.first_seq) OVER w AS following, min(b.first_seq) OVER () AS "
    "lowest"
    "   FROM (SELECT x.first_seq, x.last_seq FROM inbox x WHERE x.stream_id = s.stream_id AND x.last_seq > "
    "c.own"
    "   UNION ALL SELECT y.first_seq, y.last_seq FROM delivery_gaps y WHERE y.stream_id = s.stream_id"
    "   AND y.dst_node = $2 AND y.last_seq > c.own) AS b"
    "   WINDOW w AS (ORDER BY b.first_seq)) AS g"
    "   WHERE g.following IS NULL OR g.following <> g.last_seq + 1 ORDER BY g.first_seq LIMIT 1) AS i ON true"
    " WHERE s.stream_id > $1 AND " RECENT " ORDER BY s.stream_id LIMIT $3";

static const char offsets_sql[] =
    "SELECT f.stream_id, f.node_id, f.committed_seq FROM stream_offsets f"
    " JOIN streams s ON s.stream_id = f.stream_id"
    " WHERE (f.stream_id, f.node_id) > ($1, $2) AND " RECENT " ORDER BY f.stream_id, f.node_id LIMIT $3";

enum { UUID_OID = PG_UUID, INT8_OID = PG_INT8 };

/* Asks for the page after (last_stream, word). */
static int
page_ask(struct store *s, const char *sql, int64_t word)
{
	const Oid types[] = {UUID_OID, INT8_OID, INT8_OID};
	uint8_t node[8], limit[8];
	const char *values[] = {(const char *)s->load.last_stream.b, (const char *)node, (const char *)limit};
	const int lengths[] = {ULID_BYTES, 8, 8}, formats[] = {1, 1, 1};

	be_store64(node, (uint64_t)word);
	be_store64(limit, STORE_LOAD_PAGE_ROWS);
	s->setup.again = true;
	return PQsendQueryParams(store_conn_pg(s->writer), sql, 3, types, values, lengths, formats, 1) != 0
		   ? 0
		   : ERR_CLOSED;
}

static void
get_targets(struct pg_row *r, struct store_stream *out)
{
	struct pg_array a;
	const uint8_t *p;
	size_t len;
	int got;

	p = pg_row_bytes(r, &len);
	if (pg_array_open(&a, p, len, PG_INT8, STORE_TARGETS_MAX) != 0) {
		r->bad = true;
		return;
	}
	while ((got = pg_array_next(&a, &p, &len)) == 1 && len == 8)
		out->dst_nodes[out->dst_count++] = be_load64(p);
	r->bad |= got != 0;
}

static bool
stream_get(struct pg_row *r, struct store_stream *out)
{
	uint64_t state;

	*out = (struct store_stream){0};
	pg_row_fixed(r, out->stream_id.b, ULID_BYTES);
	pg_row_text(r, out->tenant_id, sizeof(out->tenant_id));
	out->src_node = pg_row_int8(r);
	get_targets(r, out);
	pg_row_text(r, out->qos, sizeof(out->qos));
	out->priority = (int32_t)(int64_t)pg_row_int8(r);
	out->created_unix_ms = pg_row_int8(r);
	out->epoch = pg_row_int8(r);
	state = pg_row_int8(r);
	r->bad |= state > STORE_STREAM_CLOSED;
	out->state = (enum store_stream_state)state;
	out->close_seq = pg_row_int8(r);
	pg_row_fixed(r, out->source_key, sizeof(out->source_key));
	pg_row_fixed(r, out->key_id, sizeof(out->key_id));
	out->meta = pg_row_bytes(r, &out->meta_len);
	out->striping = pg_row_int8(r) != 0;
	out->outbox_last_seq = pg_row_int8(r);
	out->inbox_last_seq = pg_row_int8(r);
	out->has_ids = pg_row_int8(r) != 0;
	return !r->bad;
}

/* Where nodes could be dialled when they were last seen. */
int
store_load_nodes_ask(struct store *s)
{
	static const char sql[] =
	    "SELECT node_id, array_to_string(ARRAY(SELECT jsonb_array_elements_text(meta->'addresses')), ' ')"
	    " FROM nodes WHERE status <> 'left' AND jsonb_typeof(meta->'addresses') = 'array'"
	    " ORDER BY last_seen DESC LIMIT 64";

	_Static_assert(STORE_KNOWN_MAX == 64, "as the query has it");
	if (s->load.nodes_done)
		return 1;
	return PQsendQuery(store_conn_pg(s->writer), sql) != 0 ? 0 : ERR_CLOSED;
}

void
store_load_nodes_answer(struct store *s, const struct pg_result *res)
{
	int rows = PQntuples(res);

	for (int i = 0; i < rows && PQnfields(res) == 2; i++) {
		uint64_t node = (uint64_t)strtoll(PQgetvalue(res, i, 0), NULL, 10);

		if (node != s->node_id)
			s->cb.on_load_node(s->cb.ctx, node, PQgetvalue(res, i, 1));
	}
	s->load.nodes_done = true;
}

int
store_load_streams_ask(struct store *s)
{
	if (s->load.streams_done)
		return 1;
	return page_ask(s, streams_sql, (int64_t)s->node_id);
}

/* The end of a page: a page that is not full is the last one. */
static void
page_end(struct store *s, int rows, bool *done)
{
	if (rows == STORE_LOAD_PAGE_ROWS)
		return;
	*done = true;
	s->setup.again = false;
	s->load.last_stream = (struct ulid){{0}};
	s->load.last_node = INT64_MIN;
}

void
store_load_streams_answer(struct store *s, const struct pg_result *res)
{
	int rows = PQntuples(res);

	for (int i = 0; i < rows; i++) {
		struct pg_row r = {.res = res, .row = i};
		struct store_stream row;

		if (!stream_get(&r, &row)) {
			store_setup_fail(
			    s, true, "table streams has a row that makes no sense (column %d)", r.column);
			return;
		}
		s->load.last_stream = row.stream_id;
		s->cb.on_load_stream(s->cb.ctx, &row);
	}
	page_end(s, rows, &s->load.streams_done);
}

int
store_load_offsets_ask(struct store *s)
{
	if (s->load.offsets_done)
		return 1;
	return page_ask(s, offsets_sql, s->load.last_node);
}

void
store_load_offsets_answer(struct store *s, const struct pg_result *res)
{
	int rows = PQntuples(res);

	for (int i = 0; i < rows; i++) {
		struct pg_row r = {.res = res, .row = i};
		struct store_offset row;

		pg_row_fixed(&r, row.stream_id.b, ULID_BYTES);
		row.node_id = pg_row_int8(&r);
		row.committed_seq = pg_row_int8(&r);
		if (r.bad) {
			store_setup_fail(s, true, "table stream_offsets has a row that makes no sense");
			return;
		}
		s->load.last_stream = row.stream_id;
		s->load.last_node = (int64_t)row.node_id;
		s->cb.on_load_offset(s->cb.ctx, &row);
	}
	page_end(s, rows, &s->load.offsets_done);
}
