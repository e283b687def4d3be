/*
 * memo: what this node leaves in Redis for later: the connection, and what is to be told to those who keep
 * something there.
 *
 *	dedupe	message ids of streams, so that they are known after a restart
 *	spill	durable batches that targets need later
 *	egress	which streams have something for which node, to be looked at
 *	warmth	how well other nodes were reached, so that flows begin faster
 *
 * PostgreSQL is the truth: nothing is in Redis that is not in the store as well or could not be done without,
 * and nothing waits for it on the way of a message.  Without redis-socket engine.memo is NULL; every call may
 * be made all the same.
 */
#ifndef CONSENSUSD_MEMO_H
#define CONSENSUSD_MEMO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct batch;
struct conf;
struct engine;

/* Begins to connect if redis-socket is set.  ERR_NOMEM. */
int memo_open(struct engine *e, const struct conf *conf) MUST_USE;
void memo_close(struct engine *e);
void memo_configure(struct engine *e, const struct conf *conf);
/* All streams are loaded. */
void memo_loaded(struct engine *e);
/* A batch was given to the store; the tickets up to this one are durable. */
void memo_given(struct engine *e, struct batch *b, uint64_t ticket);
void memo_durable(struct engine *e, uint64_t ticket);
/* Whether Redis should be there and is not; then a text for people. */
bool memo_trouble(const struct engine *e, char *text, size_t size);

#endif
