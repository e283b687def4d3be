/* store_pg_rules: see store_pg_rules.h. */
#include "consensusd/store_pg_rules.h"

#include <postgresql/libpq-fe.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/store_pg.h"
#include "consensusd/store_pg_params.h"
#include "consensusd/store_pg_row.h"

enum { RULES_CAP_MIN = 4 };

/* Priorities are 32 bits with a sign. */
#define KEY "kind, side, stream_id, tenant_id, min_priority, max_priority"

static const char load_sql[] =
    "SELECT kind::bigint, side::bigint, stream_id, tenant_id, min_priority::bigint, max_priority::bigint,"
    " exception::integer::bigint, messages_per_s, bytes_per_s, created_ms, reason FROM stream_controls"
    " ORDER BY created_ms, " KEY;
static const char set_sql[] =
    "INSERT INTO stream_controls (" KEY ", exception, messages_per_s, bytes_per_s, created_ms, reason)"
    " VALUES ($1::bigint, $2::bigint, $3::uuid, $4::text, $5::bigint, $6::bigint, $7::bigint <> 0,"
    " $8::bigint, $9::bigint, $10::bigint, $11::text) ON CONFLICT (" KEY ") DO UPDATE"
    " SET exception = EXCLUDED.exception, messages_per_s = EXCLUDED.messages_per_s,"
    " bytes_per_s = EXCLUDED.bytes_per_s, created_ms = EXCLUDED.created_ms, reason = EXCLUDED.reason";
static const char drop_sql[] =
    "DELETE FROM stream_controls WHERE (" KEY ") = ($1::bigint, $2::bigint, $3::uuid,"
    " $4::text, $5::bigint, $6::bigint)";

void
store_rules_fini(struct flush_rules *r)
{
	mem_free(r->rows);
}

int
store_rules_add(struct flush_rules *r, const struct store_rule *row)
{
	size_t cap = r->cap == 0 ? RULES_CAP_MIN : 2 * r->cap;
	struct store_rule *p;

	if (r->count == r->cap) {
		p = mem_reallocarray(r->rows, cap, sizeof(*p));
		if (p == NULL)
			return ERR_NOMEM;
		r->rows = p;
		r->cap = cap;
	}
	r->rows[r->count++] = *row;
	return 0;
}

int
store_rules_prepare(struct pg_conn *pg)
{
	return PQsendPrepare(pg, "rule_set", set_sql, 0, NULL) != 0 &&
		       PQsendPrepare(pg, "rule_drop", drop_sql, 0, NULL) != 0
		   ? 0
		   : ERR_CLOSED;
}

static int
send_rule(const struct store_rule *r, struct pg_conn *pg)
{
	struct pg_params p = {0};
	char reason[CONTROL_REASON_SIZE];

	pg_params_int8(&p, r->control.kind);
	pg_params_int8(&p, r->control.side);
	pg_params_bytes(&p, r->control.scope.stream_id.b, ULID_BYTES);
	pg_params_text(&p, r->control.scope.tenant);
	pg_params_int8(&p, (uint64_t)(int64_t)r->control.scope.min_priority);
	pg_params_int8(&p, (uint64_t)(int64_t)r->control.scope.max_priority);
	if (r->drop)
		return pg_params_send(pg, "rule_drop", &p);
	pg_params_int8(&p, r->control.exception);
	pg_params_int8(&p, (uint64_t)r->control.messages_per_s);
	pg_params_int8(&p, (uint64_t)r->control.bytes_per_s);
	pg_params_int8(&p, r->control.created_unix_ms);
	pg_params_text(&p, pg_plain_text(r->control.reason, reason, sizeof(reason)));
	return pg_params_send(pg, "rule_set", &p);
}

int
store_rules_send(const struct flush_rules *r, struct pg_conn *pg)
{
	int err = 0;

	for (size_t i = 0; i < r->count && err == 0; i++)
		err = send_rule(&r->rows[i], pg);
	return err;
}

/* --- loading --- */

int
store_load_rules_ask(struct store *s)
{
	if (s->load.rules_done || s->cb.on_load_rule == NULL)
		return 1;
	return PQsendQueryParams(store_conn_pg(s->writer), load_sql, 0, NULL, NULL, NULL, NULL, 1) != 0
		   ? 0
		   : ERR_CLOSED;
}

static bool
rule_of(struct pg_row *r, struct control *c)
{
	uint64_t kind = pg_row_int8(r), side = pg_row_int8(r);
	int64_t low, high;

	pg_row_fixed(r, c->scope.stream_id.b, ULID_BYTES);
	pg_row_text(r, c->scope.tenant, sizeof(c->scope.tenant));
	low = (int64_t)pg_row_int8(r);
	high = (int64_t)pg_row_int8(r);
	c->exception = pg_row_int8(r) != 0;
	c->messages_per_s = (int64_t)pg_row_int8(r);
	c->bytes_per_s = (int64_t)pg_row_int8(r);
	c->created_unix_ms = pg_row_int8(r);
	pg_row_text(r, c->reason, sizeof(c->reason));
	if (r->bad || kind >= CONTROL_KINDS || side >= CONTROL_SIDES || low < INT32_MIN || high > INT32_MAX ||
	    low > high || c->messages_per_s < 0 || c->messages_per_s > THROTTLE_RATE_MAX ||
	    c->bytes_per_s < 0 || c->bytes_per_s > THROTTLE_RATE_MAX)
		return false;
	c->kind = (enum control_kind)kind;
	c->side = (enum control_side)side;
	c->scope.min_priority = (int32_t)low;
	c->scope.max_priority = (int32_t)high;
	return true;
}

void
store_load_rules_answer(struct store *s, const struct pg_result *res)
{
	for (int i = 0; i < PQntuples(res); i++) {
		struct pg_row r = {.res = res, .row = i};
		struct control c = {0};

		if (!rule_of(&r, &c)) {
			store_setup_fail(s, true, "table stream_controls has a row that makes no sense");
			return;
		}
		s->cb.on_load_rule(s->cb.ctx, &c);
	}
	s->load.rules_done = true;
}
