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
replay_failed(struct dbsink *d, enum dbline_blame blame, size_t which)
{
	const struct dbsinks *all = d->sink->engine->dbsinks;
	const struct dbline_answer *x = &all->line.answer;

	(void)which; /* there is one */
	/* Its row is gone: it was done by the transaction whose answer was lost. */
	if (blame == DBLINE_NOBODY && strcmp(x->state, "22012") == 0)
		(void)replay_ack(d->sink, all->first);
	else if (blame == DBLINE_NOBODY || dbsink_again(d, all->first))
		put_back(d, x->text);
	else
		refuse(d, all->first, x->text);
}

static void
replay_done(struct dbsink *d)
{
	(void)replay_ack(d->sink, d->sink->engine->dbsinks->first);
}

static const struct dbsink_work replay_work = {replay_done, replay_failed};

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
	if (dbsink_later(d, err, why))
		return false;
	replay_delivered(r);
	if (err != 0) {
		refuse(d, seq, why);
		return false;
	}
	all->first = seq;
	all->count = 1;
	dbline_begin(&all->line, d->handler, d->position);
	dbline_ask_statement(&all->line);
	ask_gone(all, s, seq);
	dbsink_commit(d, &replay_work);
	return true;
}
