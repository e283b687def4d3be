/*
 * ask: questions to the consensusds of other nodes, and answers to theirs (proto/peer.proto).
 *
 * A question is sent again every ASK_AGAIN_MS until it is answered or its time is over, since messages may be
 * lost: what serves a method must bear being asked the same again.  Asking the own node works like asking
 * another.
 */
#ifndef CONSENSUSD_ASK_H
#define CONSENSUSD_ASK_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct asks;
struct engine;

enum {
	ASKS_MAX = 4096, /* questions without an answer: ERR_FULL */
	ASK_AGAIN_MS = 1000,
	ASK_BODY_MAX_BYTES = 65536,
	ASK_METHODS = 8,
};

/* The answer: err is 0, what the other node said (text tells why), or ERR_TIMEOUT. */
typedef void ask_answer_fn(
    void *ctx, uint64_t node, int err, const char *text, const uint8_t *body, size_t len);

/* Who has asked: for the answer, now or later. */
struct ask_from {
	uint64_t node, id;
};
typedef void ask_serve_fn(void *ctx, const struct ask_from *from, const uint8_t *body, size_t len);

struct asks *asks_new(struct engine *e) MUST_USE;
/* Nobody is answered any more. */
void asks_free(struct asks *as);
/* Who answers questions of a method. */
void asks_serve(struct asks *as, uint32_t method, ask_serve_fn *fn, void *ctx);

/* Asks; *id (may be NULL) is for ask_cancel().  ERR_FULL, ERR_NOMEM, ERR_LIMIT.  fn is called once, not from
 * within. */
int ask_send(struct asks *as, uint64_t node, uint32_t method, const void *body, size_t len,
    uint32_t timeout_ms, ask_answer_fn *fn, void *ctx, uint64_t *id) MUST_USE;
/* Forgets all questions of ctx: its fn is not called. */
void ask_cancel_all(struct asks *as, const void *ctx);
/* What can't be sent is asked again. */
void ask_answer(
    struct asks *as, const struct ask_from *to, int err, const char *text, const void *body, size_t len);

#endif
