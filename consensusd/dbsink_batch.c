/* dbsink: transactions that do what messages say; see dbsink.h. */
#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/os/log.h"
#include "consensusd/dbsink_impl.h"
#include "consensusd/sink_impl.h"
#include "consensusd/stats.h"

int
dbsink_make(
    struct dbsink *d, const struct batch *b, const struct batch_record *rec, char why[APPLIER_WHY_SIZE])
{
	struct engine *e = d->sink->engine;
	struct opened *o = &e->dbsinks->opened;
	const char *tenant = d->sink->row.tenant_id;
	int err = opened_take(o, e->keyring, tenant, b, rec);

	if (err == 0)
		return dbline_make(&e->dbsinks->line, tenant, o->payload, o->payload_len, why);
	metric_inc(&stats.unopened);
	snprintf(why, APPLIER_WHY_SIZE, "message %llu can't be opened: %s%s", (unsigned long long)rec->seq,
	    err_text(err),
	    err == ERR_NOENT      ? "; is the tenant's old key still in the keyring?"
	    : err == ERR_CHECKSUM ? " (it is not what was published)"
				  : "");
	return err;
}

/* The message itself is to blame. */
static void
refuse(struct dbsink *d, uint64_t seq, const char *why)
{
	const struct log_ctx ctx = {.stream_id = d->sink->id_text};
	const struct sink_failure failure = {.reason = why};
	int err = sink_nack(d->sink, seq, &failure);

	metric_inc(&stats.db_failed);
	log_at(LOG_INFO, &ctx, "message %llu can't be applied: %s", (unsigned long long)seq, why);
	if (err != 0)
		dbsink_put_off(d, err_text(err));
}

static void
first_failed(struct dbsink *d, uint64_t seq)
{
	const struct dbline_answer *x = &d->sink->engine->dbsinks->line.answer;

	if (dbsink_again(d, seq)) {
		dbsink_put_off(d, x->text);
		return;
	}
	d->lates = 0;
	refuse(d, seq, x->text);
}

/* --- transactions --- */

/* It is rolled back. */
static void
on_failed(void *ctx)
{
	struct dbsinks *all = ctx;
	size_t which;
	enum dbline_blame blame = dbline_blame(&all->line, all->count, &which);
	struct dbsink *d;

	if (blame == DBLINE_POSITION) {
		dbline_reconnect(&all->line, all->line.answer.text);
		return;
	}
	d = dbsink_take_current(all);
	if (d != NULL)
		all->work->failed(d, blame, which);
	dbline_idle(&all->line);
}

static void
on_done(void *ctx)
{
	struct dbsinks *all = ctx;
	struct dbsink *d;

	if (all->line.answer.failed) {
		dbline_rollback(&all->line, on_failed);
		return;
	}
	metric_add(&stats.db_applied, (int64_t)all->count);
	d = dbsink_take_current(all);
	if (d != NULL) {
		dbsink_well(d);
		all->work->done(d);
	}
	dbline_idle(&all->line);
}

void
dbsink_commit(struct dbsink *d, const struct dbsink_work *work)
{
	struct dbsinks *all = d->sink->engine->dbsinks;

	all->current = d;
	all->work = work;
	dbline_ask(&all->line, "COMMIT", NULL);
	dbline_send(&all->line, on_done);
}

bool
dbsink_later(struct dbsink *d, int err, const char *why)
{
	if (err != ERR_NOMEM && err != ERR_NOENT)
		return false;
	dbsink_put_off(d, err == ERR_NOMEM ? err_text(err) : why);
	return true;
}

/* --- messages that are next --- */

static void
batch_done(struct dbsink *d)
{
	struct dbsinks *all = d->sink->engine->dbsinks;

	d->position = all->last;
	d->limit = d->limit * 2 < all->rules.batch_max ? d->limit * 2 : all->rules.batch_max;
	MUST(sink_ack(d->sink, all->last) == 0);
}

static void
batch_failed(struct dbsink *d, enum dbline_blame blame, size_t which)
{
	struct dbsinks *all = d->sink->engine->dbsinks;

	if (blame == DBLINE_FIRST)
		first_failed(d, all->first);
	else if (blame == DBLINE_LATER)
		d->limit = which;
	else
		dbsink_put_off(d, all->line.answer.text);
}

static const struct dbsink_work batch_work = {batch_done, batch_failed};

/*
 * What is done already counts as acknowledged, and the next message is the one behind.  False: something
 * between the position and that was passed over, and is not durable yet; or what was done is not stored.
 */
static bool
in_step(struct dbsink *d)
{
	struct target *t = d->sink->target;
	uint64_t before = t->acked_seq;

	if (t->acked_seq < d->position || t->cursor.next_seq != t->acked_seq + 1)
		target_resume(t, d->position);
	sink_pass_dead(d->sink);
	if (t->acked_seq != before)
		sink_touch(d->sink);
	return t->acked_seq == d->position ||
	       (t->acked_seq > d->position && t->processed_seq >= t->acked_seq);
}

static bool
next(struct dbsink *d, struct batch_record *rec)
{
	struct sink *s = d->sink;

	if (sink_waits(s))
		return false;
	switch (target_deliver(s->target, rec)) {
	case CURSOR_IDLE:
		return false;
	case CURSOR_READ:
		sink_read(s);
		return false;
	case CURSOR_RECORD:
		break;
	}
	return !sink_given_up(s, rec->seq);
}

/* The first message of a transaction is none: now, or at all. */
static void
not_made(struct dbsink *d, uint64_t seq, int err, const char *why)
{
	if (!dbsink_later(d, err, why))
		refuse(d, seq, why[0] != '\0' ? why : err_text(err));
}

static void
ask(struct dbsinks *all, const struct dbsink *d, uint64_t seq)
{
	if (all->count++ == 0) {
		all->first = seq;
		dbline_begin(&all->line, d->handler, d->position);
	}
	all->last = seq;
	dbline_ask_statement(&all->line);
}

bool
dbsink_batch(struct dbsink *d)
{
	struct sink *s = d->sink;
	struct dbsinks *all = s->engine->dbsinks;
	size_t bytes = 0, limit;
	struct batch_record rec;
	char why[APPLIER_WHY_SIZE];
	int err;

	if (!in_step(d))
		return false;
	all->count = 0;
	limit = sink_attempts(s, s->target->cursor.next_seq) > 0 ? 1 : d->limit;
	while (all->count < limit && bytes < DBLINE_TRANSACTION_BYTES && next(d, &rec)) {
		err = dbsink_make(d, s->target->cursor.batch, &rec, why);
		if (err != 0 && all->count == 0)
			not_made(d, rec.seq, err, why);
		if (err != 0)
			break; /* if it is not the first, it is next time */
		ask(all, d, rec.seq);
		bytes += rec.sealed_len;
	}
	if (all->count == 0)
		return false;
	dbline_ask_move(&all->line, d->handler, all->last);
	dbsink_commit(d, &batch_work);
	return true;
}
