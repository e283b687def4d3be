/*
 * store_pg_witness: is the database what this node's promises were written to?
 *
 * At the first connection the witness (witness.h) is compared with the database; while it runs, the witness
 * is told of each confirmed flush that had state of a replica, before anybody else hears of it.  The file is
 * made sure of on the disk only when a term or a vote changed: that is rare, and what can't be taken back.
 */
#ifndef CONSENSUSD_STORE_PG_WITNESS_H
#define CONSENSUSD_STORE_PG_WITNESS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/must.h"
#include "consensusd/store.h"
#include "consensusd/witness.h"

struct pg_result;
struct store;
struct store_promise;

struct store_promises {
	uint8_t database[WITNESS_DATABASE_BYTES]; /* its identity */
	int fd;                                   /* of the witness; -1: there is none */
	bool trust;
	bool checked, failing;
	struct witness witness;
	struct store_promise *known; /* terms and votes as they were put last */
};

void store_promises_init(struct store *s, const struct store_conf *conf);
void store_promises_fini(struct store *s);

/* A step of the setup, after the loads. */
int store_promises_ask(struct store *s) MUST_USE;
void store_promises_answer(struct store *s, const struct pg_result *res);

/* A replica's term and vote; true: they are others than before. */
bool store_promise_note(
    struct store *s, const uint8_t group[STORE_GROUP_BYTES], uint64_t term, uint64_t vote);
void store_promise_forget(struct store *s, const uint8_t group[STORE_GROUP_BYTES]);

/* A flush with state of replicas was confirmed.  sync: it has made promises. */
void store_promises_confirm(struct store *s, uint64_t number, bool sync);

#endif
