/* store_pg_letters: see store_pg_letters.h. */
#include "consensusd/store_pg_letters.h"

#include <postgresql/libpq-fe.h>
#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/store_pg.h"
#include "consensusd/store_pg_params.h"
#include "consensusd/store_pg_row.h"

/* ---- puts ---- */

void
store_letters_fini(struct flush_letters *l)
{
	mem_free(l->rows);
	*l = (struct flush_letters){0};
}

static int
grow(struct flush_letters *l, size_t count)
{
	size_t cap = l->cap == 0 ? 4 : l->cap;
	struct flush_letter *bigger;

	while (cap < l->count + count)
		cap *= 2;
	if (cap == l->cap)
		return 0;
	bigger = mem_reallocarray(l->rows, cap, sizeof(*bigger));
	if (bigger == NULL)
		return ERR_NOMEM;
	l->rows = bigger;
	l->cap = cap;
	return 0;
}

int
store_letters_add(struct flush_letters *l, const struct store_letter *rows, size_t count)
{
	if (grow(l, count) != 0)
		return ERR_NOMEM;
	for (size_t i = 0; i < count; i++) {
		struct flush_letter *f = &l->rows[l->count++];

		f->row = rows[i];
		f->row.error = NULL;
		/* The text comes from applications. */
		(void)pg_plain_text(rows[i].error != NULL ? rows[i].error : "", f->text, sizeof(f->text));
	}
	return 0;
}

/* ---- statements ---- */

/* What is added is in the inbox until the offset that passes it is durable: that is this flush, or later. The
 * range keeps the search from what was cleared; a batch has at most 4096 messages. */
static const struct {
	const char *name, *sql;
} statements[STORE_LETTER_KINDS] = {
    [STORE_LETTER_ATTEMPT] = {"letter_attempt",
	"INSERT INTO stream_attempts (stream_id, seq, attempts, error)"
	" VALUES ($1::uuid, $2::bigint, $3::bigint, $4::text)"
	" ON CONFLICT (stream_id, seq) DO UPDATE SET attempts = EXCLUDED.attempts, error = EXCLUDED.error,"
	" updated = now()"},
    [STORE_LETTER_CUT] = {"letter_cut",
	"DELETE FROM stream_attempts WHERE stream_id = $1::uuid AND seq <= $2::bigint"},
    [STORE_LETTER_ADD] = {"letter_add",
	"WITH l AS (INSERT INTO stream_dead_letters (stream_id, seq, message_id, src_node, tenant_id, "
	"attempts,"
	" error, first_seq, epoch, key_id, nonce, payload)"
	" SELECT i.stream_id, $2::bigint, i.message_ids[($2::bigint - i.first_seq + 1)::integer], "
	"i.src_node, $5::text,"
	" $3::bigint, $4::text, i.first_seq, i.epoch, i.key_id, i.nonce, i.payloads[$2::bigint - i.first_seq "
	"+ 1]"
	" FROM inbox i WHERE i.stream_id = $1::uuid AND i.first_seq <= $2::bigint"
	" AND i.first_seq > $2::bigint - 4096 AND i.last_seq >= $2::bigint"
	" ON CONFLICT (stream_id, seq) DO NOTHING)"
	" INSERT INTO delivery_log (stream_id, dst_node, segment, src_node, first_seq, last_seq, state, err)"
	" VALUES ($1::uuid, $6::bigint, -$2::bigint, $7::bigint, $2::bigint, $2::bigint, 'failed', $4::text)"
	" ON CONFLICT (stream_id, dst_node, segment) DO UPDATE SET err = EXCLUDED.err, updated = now()"},
    [STORE_LETTER_AGAIN] = {"letter_again",
	"UPDATE stream_dead_letters SET attempts = $3::bigint, error = $4::text, failed_at = now()"
	" WHERE stream_id = $1::uuid AND seq = $2::bigint"},
    /* Then the range of what is done tells of it. */
    [STORE_LETTER_DONE] = {"letter_done",
	"WITH l AS (DELETE FROM stream_dead_letters WHERE stream_id = $1::uuid AND seq = $2::bigint)"
	" DELETE FROM delivery_log WHERE stream_id = $1::uuid AND dst_node = $3::bigint"
	" AND segment = -$2::bigint"},
    [STORE_LETTER_DISCARD] = {"letter_discard",
	"DELETE FROM stream_dead_letters WHERE stream_id = $1::uuid AND seq = $2::bigint"},
    [STORE_LETTER_HEARD] = {"letter_heard",
	"INSERT INTO delivery_log (stream_id, dst_node, segment, src_node, first_seq, last_seq, state, err)"
	" VALUES ($1::uuid, $3::bigint, -$2::bigint, $4::bigint, $2::bigint, $2::bigint, 'failed', $5::text)"
	" ON CONFLICT (stream_id, dst_node, segment) DO NOTHING"},
};

int
store_letters_prepare(struct pg_conn *pg)
{
	for (int i = 0; i < STORE_LETTER_KINDS; i++)
		if (PQsendPrepare(pg, statements[i].name, statements[i].sql, 0, NULL) == 0)
			return ERR_CLOSED;
	return 0;
}

static int
letter_send(const struct flush_letter *f, struct pg_conn *pg)
{
	const struct store_letter *row = &f->row;
	struct pg_params p = {0};
	char tenant[sizeof(row->tenant_id)];

	pg_params_bytes(&p, row->stream_id.b, ULID_BYTES);
	pg_params_int8(&p, row->seq);
	if (row->kind == STORE_LETTER_DONE || row->kind == STORE_LETTER_HEARD)
		pg_params_int8(&p, row->dst_node);
	if (row->kind == STORE_LETTER_HEARD) {
		pg_params_int8(&p, row->src_node);
		pg_params_text(&p, f->text);
	}
	if (row->kind == STORE_LETTER_ATTEMPT || row->kind == STORE_LETTER_AGAIN ||
	    row->kind == STORE_LETTER_ADD) {
		pg_params_int8(&p, row->attempts);
		pg_params_text(&p, f->text);
	}
	if (row->kind == STORE_LETTER_ADD) {
		pg_params_text(&p, pg_plain_text(row->tenant_id, tenant, sizeof(tenant)));
		pg_params_int8(&p, row->dst_node);
		pg_params_int8(&p, row->src_node);
	}
	return pg_params_send(pg, statements[row->kind].name, &p);
}

int
store_letters_send(const struct flush_letters *l, struct pg_conn *pg)
{
	int err = 0;

	for (size_t i = 0; i < l->count && err == 0; i++)
		err = letter_send(&l->rows[i], pg);
	return err;
}

/* ---- loading ---- */

static const char count_sql[] = "SELECT count(*)::bigint FROM stream_dead_letters";
static const char attempts_sql[] = "SELECT stream_id, seq, attempts::bigint, error FROM stream_attempts"
				   " ORDER BY updated DESC LIMIT 65536";

static const char failures_sql[] =
    "SELECT stream_id, dst_node, first_seq FROM (SELECT d.stream_id, d.dst_node, d.first_seq,"
    " row_number() OVER (PARTITION BY d.stream_id, d.dst_node ORDER BY d.segment) AS n"
    " FROM delivery_log d JOIN streams s ON s.stream_id = d.stream_id AND s.state <> 2"
    " WHERE d.segment < 0) AS f WHERE n <= 257 ORDER BY stream_id, dst_node, first_seq";

_Static_assert(STORE_ATTEMPTS_MAX == 65536 && STORE_FAILURES_MAX == 257, "as the queries have it");

static int
ask(struct store *s, const char *sql)
{
	return PQsendQueryParams(store_conn_pg(s->writer), sql, 0, NULL, NULL, NULL, NULL, 1) != 0
		   ? 0
		   : ERR_CLOSED;
}

int
store_load_letters_ask(struct store *s)
{
	if (s->load.letters_done || s->cb.on_load_letters == NULL)
		return 1;
	return ask(s, count_sql);
}

void
store_load_letters_answer(struct store *s, const struct pg_result *res)
{
	struct pg_row r = {.res = res};
	uint64_t count = PQntuples(res) == 1 ? pg_row_int8(&r) : 0;

	s->load.letters_done = true;
	s->cb.on_load_letters(s->cb.ctx, count);
}

int
store_load_attempts_ask(struct store *s)
{
	if (s->load.attempts_done || s->cb.on_load_attempt == NULL)
		return 1;
	return ask(s, attempts_sql);
}

void
store_load_attempts_answer(struct store *s, const struct pg_result *res)
{
	for (int i = 0; i < PQntuples(res); i++) {
		struct pg_row r = {.res = res, .row = i};
		char error[STORE_LETTER_ERROR_SIZE];
		struct store_letter row = {.kind = STORE_LETTER_ATTEMPT, .error = error};

		pg_row_fixed(&r, row.stream_id.b, ULID_BYTES);
		row.seq = pg_row_int8(&r);
		row.attempts = (uint32_t)pg_row_int8(&r);
		pg_row_text(&r, error, sizeof(error));
		if (r.bad) {
			store_setup_fail(s, true, "table stream_attempts has a row that makes no sense");
			return;
		}
		s->cb.on_load_attempt(s->cb.ctx, &row);
	}
	s->load.attempts_done = true;
}

int
store_load_failures_ask(struct store *s)
{
	if (s->load.failures_done || s->cb.on_load_failure == NULL)
		return 1;
	return ask(s, failures_sql);
}

void
store_load_failures_answer(struct store *s, const struct pg_result *res)
{
	for (int i = 0; i < PQntuples(res); i++) {
		struct pg_row r = {.res = res, .row = i};
		struct ulid stream;
		uint64_t node, seq;

		pg_row_fixed(&r, stream.b, ULID_BYTES);
		node = pg_row_int8(&r);
		seq = pg_row_int8(&r);
		if (r.bad || seq == 0) {
			store_setup_fail(s, true, "table delivery_log has a row that makes no sense");
			return;
		}
		s->cb.on_load_failure(s->cb.ctx, &stream, node, seq);
	}
	s->load.failures_done = true;
}
