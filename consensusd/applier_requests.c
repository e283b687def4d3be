/* applier_requests: people list dead letters, have them tried again, or give them up; see applier.h. */
#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/log.h"
#include "consensusd/applier_impl.h"
#include "consensusd/core/json_scan.h"

/* Answers the first request and forgets it. */
static void
finish(struct applier *a, int err, const char *why, const struct applier_letter *letters, size_t count)
{
	struct applier_request *r = TAILQ_FIRST(&a->requests);

	TAILQ_REMOVE(&a->requests, r, entry);
	a->request_count--;
	r->fn(r->ctx, r->handle, err, why, letters, count);
	mem_free(r);
}

void
applier_requests_fail(struct applier *a, const char *why)
{
	while (!TAILQ_EMPTY(&a->requests))
		finish(a, ERR_UNAVAIL, why, NULL, 0);
}

static int
request_add(struct applier *a, const struct applier_request *want)
{
	struct applier_request *r;

	if (!dbline_up(&a->line))
		return ERR_UNAVAIL;
	if (a->request_count >= APPLIER_REQUESTS_MAX)
		return ERR_FULL;
	r = mem_dup(want, sizeof(*want));
	if (r == NULL)
		return ERR_NOMEM;
	TAILQ_INSERT_TAIL(&a->requests, r, entry);
	a->request_count++;
	if (a->line.state == DBLINE_RESTING) {
		loop_timer_disarm(a->timer);
		dbline_idle(&a->line);
	}
	applier_wake(a);
	return 0;
}

int
applier_list(
    struct applier *a, uint64_t after, uint32_t limit, applier_letters_fn *fn, void *ctx, uint64_t handle)
{
	uint32_t most = limit == 0                       ? APPLIER_LIST_COUNT
			: limit > APPLIER_LIST_MAX_COUNT ? APPLIER_LIST_MAX_COUNT
							 : limit;

	return request_add(a, &(struct applier_request){.kind = APPLIER_LIST,
				  .position = after,
				  .limit = most,
				  .fn = fn,
				  .ctx = ctx,
				  .handle = handle});
}

int
applier_resolve(
    struct applier *a, uint64_t position, bool discard, applier_letters_fn *fn, void *ctx, uint64_t handle)
{
	return request_add(a, &(struct applier_request){.kind = discard ? APPLIER_DISCARD : APPLIER_RETRY,
				  .position = position,
				  .limit = APPLIER_LIST_COUNT,
				  .cursor = position > 0 ? position - 1 : 0,
				  .fn = fn,
				  .ctx = ctx,
				  .handle = handle});
}

/* ---- listing ---- */

static const char *
row_text(const struct pg_result *res, size_t row, int column, size_t *len)
{
	return (const char *)dbline_row_bytes(res, row, column, len);
}

static void
letter_read(struct applier_letter *l, const struct pg_result *res, size_t row)
{
	const uint8_t *id;
	size_t len;

	*l = (struct applier_letter){.position = (uint64_t)dbline_row_int(res, row, 0)};
	id = dbline_row_bytes(res, row, 1, &len);
	if (len == sizeof(l->id.b))
		memcpy(l->id.b, id, len);
	l->table = row_text(res, row, 2, &l->table_len);
	l->operation = row_text(res, row, 3, &l->operation_len);
	l->key = row_text(res, row, 4, &l->key_len);
	l->row = row_text(res, row, 5, &l->row_len);
	l->error = row_text(res, row, 6, &l->error_len);
	l->attempts = (uint32_t)dbline_row_int(res, row, 7);
	l->failed_unix_ms = (uint64_t)dbline_row_int(res, row, 8);
	l->blocking = dbline_row_int(res, row, 9) != 0;
}

/* The answer points into the rows, so it is given while they are there. */
static void
on_list(void *arg, const struct pg_result *res)
{
	struct applier *a = arg;
	size_t count = dbline_rows(res);
	struct applier_letter *letters = mem_calloc(count + 1, sizeof(*letters));

	if (letters == NULL) {
		finish(a, ERR_NOMEM, err_text(ERR_NOMEM), NULL, 0);
		return;
	}
	for (size_t i = 0; i < count; i++)
		letter_read(&letters[i], res, i);
	finish(a, 0, "", letters, count);
	mem_free(letters);
}

static void
list_done(void *arg)
{
	struct applier *a = arg;

	if (a->line.answer.failed)
		finish(a, ERR_UNAVAIL, a->line.answer.text, NULL, 0);
	dbline_idle(&a->line);
}

static void
list(struct applier *a, uint64_t after, uint64_t upto, uint32_t limit)
{
	struct pg_params p = {0};

	pg_params_int8(&p, after);
	pg_params_int8(&p, upto);
	pg_params_int8(&p, limit);
	pg_params_int8(&p, APPLIER_LIST_MAX_BYTES);
	/* At least one, whatever its size. */
	dbline_ask(&a->line,
	    "SELECT position, update_id, table_name, operation, key, \"row\", error, attempts,"
	    " (extract(epoch FROM failed_at) * 1000)::bigint, blocking FROM (SELECT *,"
	    " sum(octet_length(payload)) OVER (ORDER BY position) - octet_length(payload) AS before"
	    " FROM (SELECT * FROM mesh.dead_letters WHERE position > $1 AND position <= $2 ORDER BY position"
	    " LIMIT $3) AS part) AS d WHERE before = 0 OR before + octet_length(payload) <= $4::bigint"
	    " ORDER BY position",
	    &p);
	dbline_want(&a->line, on_list);
	dbline_send(&a->line, list_done);
}

/* ---- resolving, one letter after the other ---- */

/* Through with all letters that were asked for: the answer is what is left of them. */
static void
resolved(struct applier *a)
{
	struct applier_request *r = TAILQ_FIRST(&a->requests);

	if (!r->found && r->position != 0) {
		finish(a, ERR_NOENT, "there is no dead letter at this position", NULL, 0);
		dbline_idle(&a->line);
		return;
	}
	list(a, r->position > 0 ? r->position - 1 : 0, r->position > 0 ? r->position : INT64_MAX, r->limit);
}

static void
one_done(struct applier *a)
{
	struct applier_request *r = TAILQ_FIRST(&a->requests);

	r->cursor = a->taken.position;
	dbline_idle(&a->line);
}

static void
noted(void *arg)
{
	struct applier *a = arg;

	if (a->line.answer.failed) {
		finish(a, ERR_UNAVAIL, a->line.answer.text, NULL, 0);
		dbline_idle(&a->line);
		return;
	}
	metric_inc(&applier_stats.failed);
	if (a->taken.position == a->letter)
		a->changed(a->changed_ctx);
	one_done(a);
}

/* It failed again: says so in the letter. */
static void
note(struct applier *a, const char *error)
{
	struct pg_params p = {0};
	char plain[APPLIER_ERROR_SIZE];

	/* The encoding of the database may lack what a message quotes. */
	pg_plain_text(error, plain, sizeof(plain));
	if (a->taken.position == a->letter)
		snprintf(a->why, sizeof(a->why), "%s", plain);
	pg_params_int8(&p, a->taken.position);
	pg_params_text(&p, plain);
	dbline_ask(&a->line,
	    "UPDATE mesh.dead_letters SET attempts = attempts + 1, error = $2, failed_at = now()"
	    " WHERE position = $1",
	    &p);
	dbline_send(&a->line, noted);
}

static void
attempt_failed(void *arg)
{
	struct applier *a = arg;
	const struct dbline_answer *x = &a->line.answer;
	char text[STORE_CONN_TROUBLE_BYTES];

	memcpy(text, x->text, sizeof(text));
	if (x->failed_at < DBLINE_FIRST_STATEMENT) {
		dbline_reconnect(&a->line, text);
	} else if (x->verdict != DBLINE_WRONG) {
		finish(a, ERR_UNAVAIL, text, NULL, 0);
		dbline_idle(&a->line);
	} else {
		note(a, text);
	}
}

static void
attempt_done(void *arg)
{
	struct applier *a = arg;
	struct applier_request *r = TAILQ_FIRST(&a->requests);
	bool discard = r->kind == APPLIER_DISCARD;

	if (a->line.answer.failed) {
		dbline_rollback(&a->line, attempt_failed);
		return;
	}
	applier_letters_take(a);
	log_notice("dead letter at position %llu: %s", (unsigned long long)a->taken.position,
	    discard ? "given up" : "applied");
	if (!discard)
		metric_inc(&applier_stats.applied);
	if (a->taken.blocking && a->taken.position > a->position) {
		applier_trouble_changed(a, "");
		applier_moved(a, a->taken.position);
	}
	one_done(a);
}

/* What was taken is done or not, and the letter is gone, in one transaction. */
static void
attempt(struct applier *a, bool discard)
{
	struct pg_params p = {0};

	dbline_begin(&a->line, a->handler, a->position);
	if (!discard)
		dbline_ask_statement(&a->line);
	pg_params_int8(&p, a->taken.position);
	dbline_ask(&a->line, "DELETE FROM mesh.dead_letters WHERE position = $1", &p);
	if (a->taken.blocking && a->taken.position > a->position)
		dbline_ask_move(&a->line, a->handler, a->taken.position);
	applier_letters_ask(a);
	dbline_ask(&a->line, "COMMIT", NULL);
	dbline_send(&a->line, attempt_done);
}

static void
on_taken(void *arg, const struct pg_result *res)
{
	struct applier *a = arg;
	const uint8_t *payload;

	mem_free(a->taken.payload);
	a->taken.payload = NULL;
	a->taken.position = 0;
	if (dbline_rows(res) != 1)
		return;
	a->taken.position = (uint64_t)dbline_row_int(res, 0, 0);
	a->taken.blocking = dbline_row_int(res, 0, 1) != 0;
	payload = dbline_row_bytes(res, 0, 2, &a->taken.len);
	a->taken.payload = mem_dup(payload, a->taken.len);
}

static void
taken(void *arg)
{
	struct applier *a = arg;
	struct applier_request *r = TAILQ_FIRST(&a->requests);
	char why[APPLIER_WHY_SIZE];
	int err = 0;

	if (a->line.answer.failed) {
		finish(a, ERR_UNAVAIL, a->line.answer.text, NULL, 0);
		dbline_idle(&a->line);
		return;
	}
	if (a->taken.position == 0) {
		resolved(a);
		return;
	}
	r->found = true;
	if (a->taken.payload == NULL)
		err = ERR_NOMEM;
	else if (r->kind == APPLIER_RETRY)
		err = dbline_make(&a->line, NULL, a->taken.payload, a->taken.len, why);
	if (err == ERR_NOMEM) {
		finish(a, err, err_text(err), NULL, 0);
		dbline_idle(&a->line);
	} else if (err != 0) {
		note(a, why);
	} else {
		attempt(a, r->kind == APPLIER_DISCARD);
	}
}

static void
take(struct applier *a, const struct applier_request *r)
{
	struct pg_params p = {0};

	a->taken.position = 0;
	pg_params_int8(&p, r->cursor);
	pg_params_int8(&p, r->position > 0 ? r->position : INT64_MAX);
	dbline_ask(&a->line,
	    "SELECT position, blocking, payload FROM mesh.dead_letters WHERE position > $1 AND position <= $2"
	    " ORDER BY position LIMIT 1",
	    &p);
	dbline_want(&a->line, on_taken);
	dbline_send(&a->line, taken);
}

void
applier_request_go_on(struct applier *a)
{
	const struct applier_request *r = TAILQ_FIRST(&a->requests);

	if (r->kind == APPLIER_LIST)
		list(a, r->position, INT64_MAX, r->limit);
	else
		take(a, r);
}
