/*
 * dbsink_impl: what the files of dbsink share; not for others.
 */
#ifndef CONSENSUSD_DBSINK_IMPL_H
#define CONSENSUSD_DBSINK_IMPL_H

#include <bsd/sys/queue.h>

#include "common/base/backoff.h"
#include "common/base/id.h"
#include "consensusd/applier_rules.h"
#include "consensusd/dbline.h"
#include "consensusd/dbsink.h"
#include "consensusd/opened.h"
#include "consensusd/sink.h"

struct dbsink {
	struct sink *sink;
	TAILQ_ENTRY(dbsink) entry;
	bool ready;                       /* in the list of those */
	char handler[8 + ULID_TEXT_SIZE]; /* whose position it is: "stream:" and the stream's id */
	bool known;                       /* position is what the database says, on this connection */
	uint64_t position;
	size_t limit;      /* messages of the next transaction */
	uint64_t late_seq; /* the message that ran out of time */
	unsigned lates;    /* so often */
	struct mono later; /* nothing is tried before */
	struct backoff backoff;
	unsigned rests; /* in a row */
};

/* What becomes of the messages of a transaction that is through. */
struct dbsink_work {
	void (*done)(struct dbsink *d);
	void (*failed)(struct dbsink *d, enum dbline_blame blame, size_t which);
};

struct dbsinks {
	struct engine *engine;
	struct dbline line;
	struct applier_rules rules;
	TAILQ_HEAD(, dbsink) ready;
	struct opened opened;
	/* The request that is under way. */
	struct dbsink *current; /* whose it is; NULL: nobody's any more */
	const struct dbsink_work *work;
	uint64_t position;    /* that was read */
	uint64_t first, last; /* messages of the transaction */
	size_t count;
	bool closed;     /* a stream ended: its position can go */
	size_t troubled; /* streams that are tried again and again */
	char why[STORE_CONN_TROUBLE_BYTES + ULID_TEXT_SIZE + 16];
};

/* --- dbsink.c --- */
/* Whose request it was that is through: NULL if that is gone.  It is looked at again. */
struct dbsink *dbsink_take_current(struct dbsinks *all);
/* Waits, and tries again. */
void dbsink_put_off(struct dbsink *d, const char *why);
/* Something was done. */
void dbsink_well(struct dbsink *d);
/* A failure that is a matter of time: true if it is to be tried again. */
bool dbsink_again(struct dbsink *d, uint64_t seq);

/* --- dbsink_batch.c, dbsink_replay.c --- */
/* The message as the line's statement.  ERR_NOMEM, ERR_NOENT (its key is not here): later; others: it is to
 * blame. */
int dbsink_make(struct dbsink *d, const struct batch *b, const struct batch_record *rec,
    char why[APPLIER_WHY_SIZE]) MUST_USE;
/* It can't be made: true if that is a matter of time, and it waits. */
bool dbsink_later(struct dbsink *d, int err, const char *why);
/* Ends the transaction that does all->count messages, from all->first on. */
void dbsink_commit(struct dbsink *d, const struct dbsink_work *work);
/* Messages that are next, or a dead letter.  True: a request is under way. */
bool dbsink_batch(struct dbsink *d);
bool dbsink_replay(struct dbsink *d);

#endif
