/*
 * applier: does what replicated database updates say to this node's PostgreSQL, once each, in the order of
 * the log.
 *
 * It has a connection of its own, and takes as many updates at once as there are and a transaction may have.
 * The position up to which all is done (mesh.handler_positions) moves in the same transaction, and is read
 * when the connection is made: so whatever dies in between, the database itself says where to go on.
 *
 * Updates that fail for what they say (not allowed, malformed, a constraint) become dead letters.  The next
 * ones wait until it is resolved, or go on (db-on-error).  For what says nothing about the update (connection
 * lost, deadlock, lock held, disk full, shutdown) it is tried again; after DBLINE_TIMEOUTS_MAX times out of
 * time it becomes a dead letter as well.  Above APPLIER_LETTERS_MAX dead letters they wait in any case.
 *
 * A node without db-table passes over all updates: its position moves, nothing else happens.
 */
#ifndef CONSENSUSD_APPLIER_H
#define CONSENSUSD_APPLIER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/id.h"
#include "common/base/must.h"

struct applier;
struct conf;
struct loop;

enum {
	APPLIER_LETTERS_MAX = 10000,              /* put aside */
	APPLIER_LIST_COUNT = 100,                 /* letters in an answer, if not asked for otherwise */
	APPLIER_LIST_MAX_COUNT = 1000,            /* the most */
	APPLIER_LIST_MAX_BYTES = 3 * 1024 * 1024, /* of updates in an answer: the rest has to be asked for */
	APPLIER_REQUESTS_MAX = 64,                /* that wait: refuse */
	APPLIER_ERROR_SIZE = 512,
	APPLIER_LOG_BYTES = 16,
};

struct applier_update {
	uint64_t index; /* in the log */
	struct ulid id;
	uint64_t node, unix_ms;
	const uint8_t
	    *payload; /* DBUpdate of mesh.proto; good until next() is called again or returns to the loop */
	size_t len;
};

struct applier_failure {
	uint64_t position;
	struct ulid id;
	char table[64], operation[16], error[APPLIER_ERROR_SIZE];
	bool blocking;
};

struct applier_callbacks {
	/* The first update with an index above after; false: there is none (applier_wake() when there is). */
	bool (*next)(void *ctx, uint64_t after, struct applier_update *out);
	/* All up to position is done, durably.  Once the database tells, also when it is less than it was: a
	 * backup has been restored. */
	void (*applied)(void *ctx, uint64_t position);
	/* An update has become a dead letter, durably; also when one that was tried again failed again. */
	void (*failed)(void *ctx, const struct applier_failure *f);
	void *ctx;
};

/* changed is called when applier_trouble() may say something else.  NULL: no memory, or what conf says was
 * refused and logged. */
struct applier *applier_new(struct loop *l, const struct conf *conf, const char *user,
    void (*changed)(void *ctx), void *ctx) MUST_USE;
void applier_free(struct applier *a);
/* Connects, the first time: when the store is ready, which makes sure that the database is this node's and
 * has the schema. */
void applier_open(struct applier *a);
/* Which log the indexes are of, before applier_attach(): each has a position of its own. */
void applier_log(struct applier *a, const uint8_t id[APPLIER_LOG_BYTES]);
/* Who has the updates, from now on; NULL: nobody. */
void applier_attach(struct applier *a, const struct applier_callbacks *cb);
/* Reads the rules again; those before stay if that fails. */
void applier_configure(struct applier *a, const struct conf *conf);

/* There may be more to do. */
void applier_wake(struct applier *a);
/* Durable; 0 until the database has told. */
uint64_t applier_position(const struct applier *a);
/* What operators should know, "" if all is well (also for NULL).  Returns out. */
const char *applier_trouble(const struct applier *a, char *out, size_t size);
/* Brings the metrics up to date that change with time. */
void applier_measure(const struct applier *a);

/* --- dead letters --- */

struct applier_letter { /* borrowed */
	uint64_t position;
	struct ulid id;
	const char *table, *operation, *error, *key, *row;
	size_t table_len, operation_len, error_len, key_len, row_len;
	uint64_t failed_unix_ms;
	uint32_t attempts;
	bool blocking;
};

/* The answer: once.  err: ERR_NOENT, ERR_UNAVAIL (the database is away; why: what it says), ERR_NOMEM. */
typedef void applier_letters_fn(
    void *ctx, uint64_t handle, int err, const char *why, const struct applier_letter *letters, size_t count);

/* Those with positions above after.  ERR_UNAVAIL, ERR_FULL, ERR_NOMEM: there will be no answer. */
int applier_list(struct applier *a, uint64_t after, uint32_t limit, applier_letters_fn *fn, void *ctx,
    uint64_t handle) MUST_USE;
/* Tries a letter again, or gives it up (discard); position 0: all of them, one after the other.  The answer:
 * those of them that are still there. */
int applier_resolve(struct applier *a, uint64_t position, bool discard, applier_letters_fn *fn, void *ctx,
    uint64_t handle) MUST_USE;

#endif
