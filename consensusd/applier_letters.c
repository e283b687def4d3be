/* applier_letters: updates that can't be done are put aside; see applier.h. */
#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/os/log.h"
#include "consensusd/applier_impl.h"
#include "consensusd/core/json_scan.h"

static void
on_letters(void *arg, const struct pg_result *res)
{
	struct applier *a = arg;

	if (dbline_rows(res) != 1)
		return;
	a->read.letters = (uint64_t)dbline_row_int(res, 0, 0);
	a->read.letter = (uint64_t)dbline_row_int(res, 0, 1);
}

void
applier_letters_take(struct applier *a)
{
	a->letters = a->read.letters;
	a->letter = a->read.letter > a->position ? a->read.letter : 0;
}

void
applier_letters_ask(struct applier *a)
{
	dbline_ask(&a->line,
	    "SELECT count(*), coalesce(min(position) FILTER (WHERE blocking), 0) FROM mesh.dead_letters",
	    NULL);
	dbline_want(&a->line, on_letters);
}

/* As much of a text as the database can keep for sure. */
static void
param_text(struct pg_params *p, const char *text, size_t len, bool all)
{
	size_t well = json_scan_utf8(text, len);

	pg_params_bytes(p, text, well == len || !all ? well : 0);
}

/* The database has tables of this program that it can't be written to, or its encoding lacks characters. */
static void
letter_failed(void *arg)
{
	struct applier *a = arg;

	if (a->line.answer.verdict == DBLINE_WRONG && strncmp(a->line.answer.state, "22", 2) == 0)
		a->plain = true;
	if (a->line.answer.failed_at < DBLINE_FIRST_STATEMENT)
		dbline_reconnect(&a->line, a->line.answer.text);
	else
		applier_rest(a);
}

static void
letter_written(void *arg)
{
	struct applier *a = arg;
	const struct applier_failure *f = &a->failure;
	bool was = a->letter != 0;

	if (a->line.answer.failed) {
		dbline_rollback(&a->line, letter_failed);
		return;
	}
	applier_letters_take(a);
	log_warn("database update at position %llu (%s of table %s) failed%s: %s",
	    (unsigned long long)f->position, f->operation, f->table,
	    f->blocking ? ", and those after it wait" : "", f->error);
	metric_inc(&applier_stats.failed);
	a->rests = 0;
	backoff_reset(&a->backoff);
	a->plain = false;
	a->retry = false;
	a->lates = 0;
	if (a->attached)
		a->cb.failed(a->cb.ctx, f);
	if (!f->blocking)
		applier_moved(a, f->position);
	if (f->blocking || was)
		applier_trouble_changed(a, f->blocking ? f->error : "");
	dbline_idle(&a->line);
}

static void
failure_make(
    struct applier *a, const struct applier_update *u, const struct applier_change *c, const char *error)
{
	struct applier_failure *f = &a->failure;
	char plain[APPLIER_ERROR_SIZE];

	*f = (struct applier_failure){.position = u->index, .id = u->id};
	f->blocking = !a->rules.skip || a->letters >= APPLIER_LETTERS_MAX;
	pg_plain_text(c->table, f->table, sizeof(f->table));
	pg_plain_text(c->operation, f->operation, sizeof(f->operation));
	if (a->plain)
		error = pg_plain_text(error, plain, sizeof(plain));
	snprintf(f->error, sizeof(f->error), "%.*s", (int)json_scan_utf8(error, strlen(error)), error);
}

void
applier_letter_write(struct applier *a, const struct applier_update *u, const char *error)
{
	const struct applier_failure *f = &a->failure;
	struct pg_params p = {0};
	struct applier_change c;
	uint8_t blocking;

	if (applier_change_read(&c, u->payload, u->len) != 0)
		log_debug("the dead letter has only the payload");
	failure_make(a, u, &c, error);
	blocking = f->blocking;
	pg_params_int8(&p, f->position);
	pg_params_bytes(&p, f->id.b, sizeof(f->id.b));
	pg_params_text(&p, f->table);
	pg_params_text(&p, f->operation);
	param_text(&p, c.key, a->plain ? 0 : c.key_len, true);
	param_text(&p, c.row, a->plain ? 0 : c.row_len, true);
	pg_params_text(&p, f->error);
	pg_params_int8(&p, a->lates > 0 && a->late_index == u->index ? a->lates : 1);
	pg_params_bytes(&p, &blocking, 1);
	pg_params_int8(&p, u->node);
	pg_params_bytes(&p, u->payload, u->len);
	dbline_begin(&a->line, a->handler, a->position);
	dbline_ask(&a->line,
	    "INSERT INTO mesh.dead_letters AS d (position, update_id, table_name, operation, key, \"row\", "
	    "error,"
	    " attempts, blocking, origin_node, payload)"
	    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8::bigint, $9, $10, $11)"
	    " ON CONFLICT (position) DO UPDATE SET error = EXCLUDED.error,"
	    " attempts = d.attempts + EXCLUDED.attempts, failed_at = now(), blocking = EXCLUDED.blocking",
	    &p);
	if (!f->blocking)
		dbline_ask_move(&a->line, a->handler, f->position);
	applier_letters_ask(a);
	dbline_ask(&a->line, "COMMIT", NULL);
	dbline_send(&a->line, letter_written);
}
