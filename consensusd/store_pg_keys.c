/* store_pg_keys: see store_pg_keys.h. */
#include "consensusd/store_pg_keys.h"

#include <postgresql/libpq-fe.h>
#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/store_pg.h"
#include "consensusd/store_pg_params.h"
#include "consensusd/store_pg_row.h"

enum { KEYS_CAP_MIN = 4 };

static const char load_sql[] =
    "SELECT tenant_id, version, key_id, box FROM tenant_keys ORDER BY tenant_id, version";
static const char put_sql[] =
    "INSERT INTO tenant_keys (tenant_id, version, key_id, box)"
    " VALUES ($1::text, $2::bigint, $3::bytea, $4::bytea) ON CONFLICT (tenant_id, key_id) DO UPDATE"
    " SET version = EXCLUDED.version, box = EXCLUDED.box, seen = now()";

/* The two newest versions are those that the group gives out.  What is still of use is looked at again a day
 * later: looking costs a walk over the boxes. */
#define USED(table) "SELECT key_id FROM " table " WHERE key_id IN (SELECT key_id FROM c)"

const char store_keys_sql[] =
    "WITH c AS MATERIALIZED (SELECT tenant_id, key_id FROM tenant_keys k"
    " WHERE seen < now() - interval '24 hours' AND version < ("
    "SELECT max(version) - 1 FROM tenant_keys n WHERE n.tenant_id = k.tenant_id)),"
    " used AS MATERIALIZED (" USED("outbox") " UNION " USED("inbox") " UNION " USED(
	"stream_dead_letters") " UNION " USED("streams") " AND state <> 2),"
							 " s AS (UPDATE tenant_keys k SET seen = now()"
							 " FROM used u WHERE k.key_id = u.key_id)"
							 " DELETE FROM tenant_keys k USING c"
							 " WHERE k.tenant_id = c.tenant_id"
							 " AND k.key_id = c.key_id AND NOT EXISTS ("
							 "SELECT FROM used u WHERE u.key_id = c.key_id)"
							 " RETURNING k.tenant_id, k.key_id";

_Static_assert(STORE_KEY_UNSEEN_HOURS == 24, "as the statement has it");

void
store_keys_fini(struct flush_keys *k)
{
	mem_free(k->rows);
}

int
store_keys_add(struct flush_keys *k, const struct store_key *row)
{
	size_t cap = k->cap == 0 ? KEYS_CAP_MIN : 2 * k->cap;
	struct store_key *p;

	if (k->count == k->cap) {
		p = mem_reallocarray(k->rows, cap, sizeof(*p));
		if (p == NULL)
			return ERR_NOMEM;
		k->rows = p;
		k->cap = cap;
	}
	k->rows[k->count++] = *row;
	return 0;
}

int
store_keys_prepare(struct pg_conn *pg)
{
	return PQsendPrepare(pg, "tenant_key", put_sql, 0, NULL) != 0 ? 0 : ERR_CLOSED;
}

int
store_keys_send(const struct flush_keys *k, struct pg_conn *pg)
{
	int err = 0;

	for (size_t i = 0; i < k->count && err == 0; i++) {
		const struct store_key *row = &k->rows[i];
		struct pg_params p = {0};

		pg_params_text(&p, row->tenant_id);
		pg_params_int8(&p, row->version);
		pg_params_bytes(&p, row->key_id, sizeof(row->key_id));
		pg_params_bytes(&p, row->box, sizeof(row->box));
		err = pg_params_send(pg, "tenant_key", &p);
	}
	return err;
}

/* --- loading --- */

int
store_load_keys_ask(struct store *s)
{
	if (s->load.keys_done || s->cb.on_load_key == NULL)
		return 1;
	return PQsendQueryParams(store_conn_pg(s->writer), load_sql, 0, NULL, NULL, NULL, NULL, 1) != 0
		   ? 0
		   : ERR_CLOSED;
}

void
store_load_keys_answer(struct store *s, const struct pg_result *res)
{
	for (int i = 0; i < PQntuples(res); i++) {
		struct pg_row r = {.res = res, .row = i};
		struct store_key k = {0};

		pg_row_text(&r, k.tenant_id, sizeof(k.tenant_id));
		k.version = pg_row_int8(&r);
		pg_row_fixed(&r, k.key_id, sizeof(k.key_id));
		pg_row_fixed(&r, k.box, sizeof(k.box));
		if (r.bad || !tenant_valid(k.tenant_id)) {
			store_setup_fail(s, true, "table tenant_keys has a row that makes no sense");
			return;
		}
		s->cb.on_load_key(s->cb.ctx, &k);
	}
	s->load.keys_done = true;
}

/* --- those that went --- */

void
store_keys_gone(const struct pg_result *res, const struct store_callbacks *cb)
{
	for (int i = 0; i < PQntuples(res) && cb->on_key_gone != NULL; i++) {
		struct store_key k = {0};
		unsigned char *id;
		size_t len;

		snprintf(k.tenant_id, sizeof(k.tenant_id), "%s", PQgetvalue(res, i, 0));
		id = PQunescapeBytea((const unsigned char *)PQgetvalue(res, i, 1), &len);
		if (id != NULL && len == sizeof(k.key_id)) {
			memcpy(k.key_id, id, len);
			cb->on_key_gone(cb->ctx, k.tenant_id, k.key_id);
		}
		PQfreemem(id);
	}
}
