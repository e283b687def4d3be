/*
 * cache_redis: the connection to Redis (the only user of hiredis), for what cache_*.h, spill.h, egress.h and
 * warmth.h keep there.
 *
 * Nothing depends on it: what is not written is dropped, what can't be read is not known.  Commands of a turn
 * of the loop leave together at its end.  Nothing here blocks; a server that is away, silent or talks
 * nonsense is dropped and tried again with growing pauses.
 *
 * A command is made with cache_begin() and cache_arg(), and sent with cache_ask() or cache_tell(); before
 * that cache_room() says whether it may be.
 */
#ifndef CONSENSUSD_CACHE_REDIS_H
#define CONSENSUSD_CACHE_REDIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct cache;
struct loop;
struct redisReply;

enum {
	CACHE_NUMBER_SIZE = 24, /* as text */
	CACHE_DIGITS_MAX = 19,  /* of one that is read: below 2^64 at any rate */
	CACHE_KEY_SIZE = 64,    /* of a key's text */
	CACHE_ABOUT_BYTES = 16,
	/* On the wire, with lengths and line ends: of a short command. */
	CACHE_COMMAND_BYTES = 256,
};

struct cache_callbacks {
	/* Connected, and the database is chosen. */
	void (*on_up)(void *ctx);
	/* The connection is lost, or an attempt failed; commands without an answer are forgotten. */
	void (*on_down)(void *ctx, const char *why);
	void *ctx;
};

/* What the answer must be: another one ends the connection. */
enum cache_kind { CACHE_OK, CACHE_NUMBER, CACHE_NUMBER_OR_NIL, CACHE_LIST, CACHE_PAIRS };

struct cache_question {
	enum cache_kind kind;
	size_t elements_max, element_max_bytes; /* of a list: a longer one ends the connection */
	/* r is borrowed; NULL: it was refused.  fn NULL: nobody wants to know. */
	void (*fn)(void *ctx, const uint8_t about[CACHE_ABOUT_BYTES], const struct redisReply *r);
	void *ctx;
	uint8_t about[CACHE_ABOUT_BYTES]; /* given to fn: what it is about */
};

/* Connects to the Unix socket path, in the loop.  NULL: no memory. */
struct cache *cache_new(struct loop *l, const char *path, int db, const struct cache_callbacks *cb) MUST_USE;
/* NULL is fine.  No callback comes any more. */
void cache_free(struct cache *c);
bool cache_up(const struct cache *c);

/* Whether so many commands may be sent now: 0, ERR_UNAVAIL (not connected), ERR_FULL (too much waits for an
 * answer). */
int cache_room(const struct cache *c, size_t commands, size_t bytes) MUST_USE;
/* Begins a command: NAME key.  Arguments are borrowed until it is sent. */
void cache_begin(struct cache *c, const char *name, const char *key);
void cache_arg(struct cache *c, const char *text);
void cache_arg_bytes(struct cache *c, const void *data, size_t len);
/* Sends it; there must be room (MUST).  ERR_NOMEM: the connection will be dropped. */
int cache_ask(struct cache *c, const struct cache_question *q) MUST_USE;
/* The answer is a number that nobody wants to know. */
int cache_tell(struct cache *c) MUST_USE;
/* A whole command: the key is there for so long from now on. */
int cache_expire(struct cache *c, const char *key, unsigned seconds) MUST_USE;

/* Answers.  Elements of a list; 0 if it is none. */
size_t cache_count(const struct redisReply *r);
/* Element i as bytes (borrowed), or as a number of digits alone; false: it is something else. */
bool cache_text(const struct redisReply *r, size_t i, const char **text, size_t *len) MUST_USE;
bool cache_text_number(const struct redisReply *r, size_t i, uint64_t *out) MUST_USE;
/* 0 if it is none, or below. */
uint64_t cache_number(const struct redisReply *r);

#endif
