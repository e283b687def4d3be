/*
 * store_pg_control_load: updates of nodes, page by page in the order of their keys, and positions of
 * subscribers.
 */
#include <postgresql/libpq-fe.h>
#include <string.h>

#include "common/base/be.h"
#include "common/base/err.h"
#include "common/os/log.h"
#include "consensusd/pg_array.h"
#include "consensusd/store_pg.h"
#include "consensusd/store_pg_row.h"

static const char notes_sql[] =
    "SELECT node_id, type, version, payload, signature, unix_ms, removed::integer::bigint, position"
    " FROM node_updates WHERE (node_id, type) > ($1, $2) ORDER BY node_id, type LIMIT 500";
static const char positions_sql[] = "SELECT kind::bigint, subscriber, position FROM update_positions"
				    " ORDER BY subscriber = '' DESC, updated DESC LIMIT 4096";

_Static_assert(STORE_LOAD_PAGE_ROWS == 500 && STORE_POSITIONS_MAX == 4096, "as the queries have it");

enum { INT8_OID = PG_INT8, BYTEA_OID = PG_BYTEA };

int
store_load_notes_ask(struct store *s)
{
	struct store_notes_load *l = &s->notes_load;
	const Oid types[] = {INT8_OID, BYTEA_OID};
	uint8_t node[8];
	const char *values[] = {(const char *)node, l->last_type};
	const int lengths[] = {8, (int)strlen(l->last_type)}, formats[] = {1, 1};
	struct pg_conn *pg = store_conn_pg(s->writer);

	if (l->done || s->cb.on_load_note == NULL)
		return 1;
	be_store64(node, (uint64_t)l->last_node);
	s->setup.again = true;
	l->rows = 0;
	/* Row by row: they may be large. */
	return PQsendQueryParams(pg, notes_sql, 2, types, values, lengths, formats, 1) != 0 &&
		       PQsetSingleRowMode(pg) != 0
		   ? 0
		   : ERR_CLOSED;
}

static void
note_row(struct store *s, struct pg_row *r)
{
	struct store_notes_load *l = &s->notes_load;
	struct store_note n = {.node_id = pg_row_int8(r)};
	char type[STORE_NOTE_TYPE_SIZE] = "";

	pg_row_text(r, type, sizeof(type));
	n.type = type;
	n.version = pg_row_int8(r);
	n.payload = pg_row_bytes(r, &n.payload_len);
	n.signature = pg_row_bytes(r, &n.signature_len);
	n.unix_ms = pg_row_int8(r);
	n.removed = pg_row_int8(r) != 0;
	n.position = pg_row_int8(r);
	if (r->bad) {
		store_setup_fail(s, true, "table node_updates has a row that makes no sense");
		return;
	}
	l->last_node = (int64_t)n.node_id;
	memcpy(l->last_type, type, sizeof(type));
	l->rows++;
	l->told++;
	s->cb.on_load_note(s->cb.ctx, &n);
}

void
store_load_notes_answer(struct store *s, const struct pg_result *res)
{
	struct store_notes_load *l = &s->notes_load;

	for (int i = 0; i < PQntuples(res) && !s->setup.failed && l->told < STORE_NOTES_MAX; i++) {
		struct pg_row r = {.res = res, .row = i};

		note_row(s, &r);
	}
	/* The end of the page is a result without rows. */
	if (PQresultStatus(res) != PGRES_TUPLES_OK)
		return;
	if (l->told == STORE_NOTES_MAX)
		log_warn("store: only %d updates of nodes are loaded", STORE_NOTES_MAX);
	if (l->rows == STORE_LOAD_PAGE_ROWS && l->told < STORE_NOTES_MAX)
		return;
	l->done = true;
	s->setup.again = false;
}

int
store_load_positions_ask(struct store *s)
{
	if (s->load.positions_done || s->cb.on_load_position == NULL)
		return 1;
	return PQsendQueryParams(store_conn_pg(s->writer), positions_sql, 0, NULL, NULL, NULL, NULL, 1) != 0
		   ? 0
		   : ERR_CLOSED;
}

void
store_load_positions_answer(struct store *s, const struct pg_result *res)
{
	for (int i = 0; i < PQntuples(res); i++) {
		struct pg_row r = {.res = res, .row = i};
		char subscriber[STORE_SUBSCRIBER_SIZE];
		uint64_t kind = pg_row_int8(&r);
		struct store_position p = {.kind = (uint8_t)kind, .subscriber = subscriber};

		pg_row_text(&r, subscriber, sizeof(subscriber));
		p.position = pg_row_int8(&r);
		if (r.bad || kind > UINT8_MAX) {
			store_setup_fail(s, true, "table update_positions has a row that makes no sense");
			return;
		}
		s->cb.on_load_position(s->cb.ctx, &p);
	}
	s->load.positions_done = true;
}
