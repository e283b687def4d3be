/* dbsink: dead letters that are tried once more; see dbsink.h. */
#include <string.h>

#include "common/base/err.h"
#include "common/os/log.h"
#include "consensusd/dbsink_impl.h"
#include "consensusd/replay.h"
#include "consensusd/stats.h"

/* It stays what it is. */
static void
refuse(struct dbsink *d, uint64_t seq, const char *why)
{
	metric_inc(&stats.db_failed);
	(void)replay_nack(d->sink, seq, why);
}

/* To be tried again, not by who asked for it. */
static void
put_back(struct dbsink *d, const char *why)
{
	replay_detach(d->sink);
	dbsink_put_off(d, why);
}

static void
failed(struct dbsink *d, enum dbline_blame blame, uint64_t seq)
{
	const struct dbline_answer *x = &d->sink->engine->dbsinks->line.answer;

	/* Its row is gone: it was done by the transaction whose answer was lost. */
	if (blame == DBLINE_NOBODY && strcmp(x->state, "22012") == 0)
		(void)replay_ack(d->sink, seq);
	else if (blame == DBLINE_NOBODY || dbsink_again(d, seq))
		put_back(d, x->text);
	else
		refuse(d, seq, x->text);
}

static void
on_failed(void *ctx)
{
	struct dbsinks *all = ctx;
	size_t which;
	enum dbline_blame blame = dbline_blame(&all->line, 1, &which);
	struct dbsink *d;

	if (blame == DBLINE_POSITION) {
		dbline_reconnect(&all->line, all->line.answer.text);
		return;
	}
	d = dbsink_take_current(all);
	if (d != NULL)
		failed(d, blame, all->first);
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
	metric_inc(&stats.db_applied);
	d = dbsink_take_current(all);
	if (d != NULL) {
		dbsink_well(d);
		(void)replay_ack(d->sink, all->first);
	}
	dbline_idle(&all->line);
}

/* The letter goes with the transaction that does what it says, and the delivery log tells of it; the store
 * does the same once more, for nothing.  Division by zero, if there is no such letter. */
static void
ask_gone(struct dbsinks *all, const struct sink *s, uint64_t seq)
{
	struct pg_params p = {0};

	pg_params_bytes(&p, s->row.stream_id.b, ULID_BYTES);
	pg_params_int8(&p, seq);
	pg_params_int8(&p, s->engine->self);
	dbline_ask(&all->line,
	    "WITH l AS (DELETE FROM mesh.stream_dead_letters WHERE stream_id = $1::uuid AND seq = $2::bigint"
	    " RETURNING 1), d AS (DELETE FROM mesh.delivery_log WHERE stream_id = $1::uuid"
	    " AND dst_node = $3::bigint AND segment = -$2::bigint)"
	    " SELECT 1 / count(*) FROM l",
	    &p);
}

bool
dbsink_replay(struct dbsink *d)
{
	struct sink *s = d->sink;
	struct dbsinks *all = s->engine->dbsinks;
	struct replay *r = replay_next(s);
	char why[APPLIER_WHY_SIZE];
	uint64_t seq;
	int err;

	if (r == NULL)
		return false;
	seq = r->record.seq;
	err = dbsink_make(d, r->batch, &r->record, why);
	if (err == ERR_NOMEM || err == ERR_NOENT) {
		dbsink_put_off(d, err == ERR_NOMEM ? err_text(err) : why);
		return false;
	}
	replay_delivered(r);
	if (err != 0) {
		refuse(d, seq, why);
		return false;
	}
	all->current = d;
	all->first = seq;
	dbline_begin(&all->line, d->handler, d->position);
	dbline_ask_statement(&all->line);
	ask_gone(all, s, seq);
	dbline_ask(&all->line, "COMMIT", NULL);
	dbline_send(&all->line, on_done);
	return true;
}
