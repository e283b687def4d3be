/*
 * applier_impl: what the files of the applier share; not for others.
 */
#ifndef CONSENSUSD_APPLIER_IMPL_H
#define CONSENSUSD_APPLIER_IMPL_H

#include <bsd/sys/queue.h>

#include "common/base/backoff.h"
#include "common/base/mono.h"
#include "common/base/rng.h"
#include "common/os/loop.h"
#include "common/os/metrics.h"
#include "consensusd/applier.h"
#include "consensusd/applier_rules.h"
#include "consensusd/dbline.h"

enum applier_request_kind { APPLIER_LIST, APPLIER_RETRY, APPLIER_DISCARD };

struct applier_request {
	TAILQ_ENTRY(applier_request) entry;
	enum applier_request_kind kind;
	uint64_t position; /* LIST: after it; else which one, 0: all */
	uint32_t limit;
	uint64_t cursor; /* letters up to here are done */
	bool found;
	applier_letters_fn *fn;
	void *ctx;
	uint64_t handle;
};

struct applier {
	struct dbline line;
	char handler[4 + 2 * APPLIER_LOG_BYTES]; /* whose position it is: "db:" and the log's id */
	struct applier_rules rules;
	struct applier_callbacks cb;
	bool attached;
	void (*changed)(void *ctx);
	void *changed_ctx;

	struct loop_timer *timer;
	struct backoff backoff;
	struct rng rng;
	unsigned rests;               /* in a row */
	char why[APPLIER_ERROR_SIZE]; /* the last trouble */

	uint64_t position;
	struct mono behind_since; /* MONO_NEVER: nothing waits */

	/* The transaction that is under way. */
	size_t batch_count;
	uint64_t batch_first, batch_last; /* indexes */
	size_t batch_limit;               /* of the next one */
	uint64_t late_index;              /* the update that ran out of time */
	unsigned lates;                   /* so often */

	/* Dead letters. */
	struct {
		uint64_t letters, letter;
	} read;           /* in the transaction that is under way */
	uint64_t letters; /* how many there are */
	uint64_t letter;  /* position of the one that the others wait for, 0: none */
	bool letter_gone; /* with the transaction that is under way */
	bool retry;       /* it is tried again now */
	bool plain;       /* the database can't keep the texts of the letter: without them */
	struct applier_failure failure;
	TAILQ_HEAD(, applier_request) requests;
	size_t request_count;
	struct { /* that is being resolved */
		uint64_t position;
		bool blocking;
		uint8_t *payload;
		size_t len;
	} taken;
};

struct applier_stats {
	struct metric applied, failed, retried, passed, letters, position, behind;
};
extern struct applier_stats applier_stats;

/* --- applier.c --- */
/* Waits, and tries again; the last answer says why. */
void applier_rest(struct applier *a);
void applier_moved(struct applier *a, uint64_t position);
void applier_trouble_changed(struct applier *a, const char *why);

/* --- applier_letters.c --- */
/* Reads how many there are and which one blocks; part of a request.  When that is through, they are taken. */
void applier_letters_ask(struct applier *a);
void applier_letters_take(struct applier *a);
/* The update can't be done: puts it aside, or has the others wait. */
void applier_letter_write(struct applier *a, const struct applier_update *u, const char *error);

/* --- applier_requests.c --- */
/* Takes up the first request that waits. */
void applier_request_go_on(struct applier *a);
/* All of them fail. */
void applier_requests_fail(struct applier *a, const char *why);

#endif
