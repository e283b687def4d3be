/*
 * call: an API call that gatewayd has open with this daemon.
 *
 * Others name a call by its handle, a number that goes stale when the call ends; call_find() tells.
 * call_reply() and call_done() end a call and free it.
 */
#ifndef CONSENSUSD_CALL_H
#define CONSENSUSD_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include <bsd/sys/queue.h>

#include "common/base/id.h"
#include "common/base/must.h"
#include "consensusd/code.h"
#include "consensusd/hash.h"

struct caller;
struct channel;
struct calls;
struct follower;
struct subscriber;

/* A connection of gatewayd. */
struct client {
	TAILQ_ENTRY(client) entry;
	struct channel *channel;
	struct call *calls; /* hash by id */
	struct caller *who; /* of the calls that begin now (caller.h); NULL: not known */
};

enum call_kind { CALL_UNARY, CALL_PUBLISH, CALL_SUBSCRIBE, CALL_FOLLOW };

struct call {
	struct calls *owner;
	struct client *client;
	uint32_t id; /* gatewayd's: peerid of its messages */
	uint64_t handle;
	enum call_kind kind;
	struct ulid stream; /* of a publish: the last one that was published to */
	struct caller *who; /* NULL: not known */
	/* CALL_PUBLISH */
	uint64_t epoch;   /* producer_epoch of the last message; 0: not given */
	uint32_t waiting; /* messages whose results are to come */
	uint32_t asking;  /* of them, those that the database is asked for: who comes later waits for these */
	bool half_closed; /* the client sends no more: it ends with the last result */
	bool held;        /* the client was told to wait, for this stream */
	struct ulid held_stream;
	TAILQ_ENTRY(call) held_entry;
	/* CALL_SUBSCRIBE */
	struct subscriber *subscriber;
	/* CALL_FOLLOW */
	struct follower *follower;
	UT_hash_handle hh;
};

TAILQ_HEAD(call_list, call);

struct calls {
	struct call **slots;
	uint32_t *generations, *free_slots;
	uint32_t cap, free_count, count;
	struct call_list held;
	struct call *pool; /* ended ones, for reuse, linked by hh.next */
	/* A call ends: what it had elsewhere is to be let go. */
	void (*on_end)(void *ctx, struct call *c);
	void *ctx;
};

void calls_init(struct calls *calls, void (*on_end)(void *ctx, struct call *c), void *ctx);
void calls_fini(struct calls *calls);

/* A new call; NULL: no memory, CALLS_MAX, or the id is in use. */
struct call *call_new(struct calls *calls, struct client *client, uint32_t id, enum call_kind kind) MUST_USE;
/* NULL if it has ended. */
struct call *call_find(const struct calls *calls, uint64_t handle);
struct call *call_of(const struct client *client, uint32_t id);
/* Ends the call without an answer. */
void call_free(struct call *c);

/* Ends a unary call with its answer. */
void call_reply(struct call *c, const void *body, size_t len);
/* One answer of a streaming call. */
void call_item(struct call *c, const struct iovec *iov, int iov_count);
/* Ends a call with a status. */
void call_done(struct call *c, enum code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The same for a call that could not be made. */
void call_refuse(struct client *client, uint32_t id, enum code code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Tells the client of a streaming publish to wait, because of stream; or to go on. */
void call_hold(struct call *c, const struct ulid *stream);
void call_release(struct call *c);

#endif
