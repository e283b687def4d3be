/*
 * cache_redis: see cache_redis.h.
 *
 * This is hiredis without its async.h: that aborts the process when a server says something that
 * nobody asked for.  Here a ring holds what was asked, in order, and each answer must fit.
 */
#include "consensusd/cache_redis.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <string.h>

#include "common/base/backoff.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/os/crypto.h"
#include "common/os/log.h"
#include "common/os/loop.h"
#include "consensusd/limits.h"
#include "consensusd/stats.h"

enum {
	ARGS_MAX = 2 + 2 * CACHE_ADD_IDS,
	WHY_BYTES = 128,
	/* On the wire, besides its text: the length and line ends of an argument, and of a command. */
	ARG_BYTES = 16,
	/* What hiredis reads at once, and how often in one turn. */
	CACHE_READ_BYTES = 16 * 1024,
	READS_MAX = 16,
};

enum cache_state { CACHE_WAITING, CACHE_CONNECTING, CACHE_UP };

/* A command without an answer. */
struct asked {
	struct cache_question question;
	size_t bytes;
};

struct cache {
	struct loop *loop;
	struct cache_callbacks cb;
	char *path;
	int db;
	enum cache_state state;
	redisContext *redis;
	struct loop_fd *fd;
	struct loop_timer *timer; /* pause, or the limit of an attempt or of an answer */
	struct loop_defer flush;
	struct backoff backoff;
	struct rng rng;
	unsigned long number; /* of the connection: callbacks may end it */
	bool refused;         /* the server refused a command: that is logged once per connection */

	struct asked *asked; /* ring of CACHE_PENDING_MAX */
	size_t first, count, bytes;

	redisReplyObjectFunctions bounded, hiredis;
	const char *argv[ARGS_MAX];
	size_t lengths[ARGS_MAX];
	int argc;
};

static void on_socket(void *arg, int fd, unsigned events);
static int select_db(struct cache *c);

/* --- the connection --- */

static void
cache_close(struct cache *c)
{
	loop_fd_del(c->fd);
	c->fd = NULL;
	if (c->redis != NULL)
		redisFree(c->redis);
	c->redis = NULL;
	loop_defer_del(&c->flush);
	c->first = c->count = c->bytes = 0;
	c->refused = false;
	c->number++;
}

/* why may be in what is closed. */
static void
cache_lost(struct cache *c, const char *why)
{
	char text[WHY_BYTES];

	snprintf(text, sizeof(text), "%s", why);
	cache_close(c);
	c->state = CACHE_WAITING;
	metric_inc(&stats.redis_failures);
	metric_set(&stats.redis_up, 0);
	loop_timer_arm_ms(c->timer, backoff_next_ms(&c->backoff, &c->rng));
	c->cb.on_down(c->cb.ctx, text);
}

/* What is being answered; NULL: nothing was asked. */
static const struct cache_question *
asked_now(const struct cache *c)
{
	return c->count > 0 ? &c->asked[c->first].question : NULL;
}

/* hiredis allocates what a server announces, whatever that is: only what can be the answer passes. */
static void *
bounded_string(const redisReadTask *task, char *text, size_t len)
{
	const struct cache *c = task->privdata;
	const struct cache_question *q = asked_now(c);

	if (len > (task->parent != NULL && q != NULL ? q->element_max_bytes : CACHE_TEXT_MAX_BYTES))
		return NULL;
	return c->hiredis.createString(task, text, len);
}

static void *
bounded_array(const redisReadTask *task, int elements)
{
	const struct cache *c = task->privdata;
	const struct cache_question *q = asked_now(c);

	if (task->parent != NULL || (elements > 0 && (q == NULL || (size_t)elements > q->elements_max)))
		return NULL;
	return c->hiredis.createArray(task, elements);
}

static void
bound_replies(struct cache *c)
{
	redisReader *r = c->redis->reader;

	c->hiredis = c->bounded = *r->fn;
	c->bounded.createString = bounded_string;
	c->bounded.createArray = bounded_array;
	r->fn = &c->bounded;
	r->privdata = c;
}

static void
cache_connect(struct cache *c)
{
	c->redis = redisConnectUnixNonBlock(c->path);
	if (c->redis == NULL || c->redis->err != 0) {
		cache_lost(c, c->redis != NULL ? c->redis->errstr : err_text(ERR_NOMEM));
		return;
	}
	bound_replies(c);
	c->state = CACHE_CONNECTING;
	c->fd = loop_fd_add(c->loop, c->redis->fd, LOOP_READ, on_socket, c);
	if (c->fd == NULL || select_db(c) != 0) {
		cache_lost(c, err_text(ERR_NOMEM));
		return;
	}
	loop_timer_arm_ms(c->timer, CACHE_CONNECT_MS);
}

static void
on_timer(void *arg)
{
	struct cache *c = arg;

	if (c->state == CACHE_WAITING)
		cache_connect(c);
	else
		cache_lost(c, "it does not answer");
}

/* Writes what was asked in this turn. */
static void
on_flush(void *arg)
{
	struct cache *c = arg;
	int done = 0;

	if (c->redis->err != 0 || redisBufferWrite(c->redis, &done) != REDIS_OK)
		cache_lost(c, c->redis->errstr);
	else if (loop_fd_mod(c->fd, done ? LOOP_READ : LOOP_READ | LOOP_WRITE) != 0)
		cache_lost(c, err_text(ERR_NOMEM));
}

struct cache *
cache_new(struct loop *l, const char *path, int db, const struct cache_callbacks *cb)
{
	struct cache *c = mem_calloc(1, sizeof(*c));
	uint64_t seed;

	if (c == NULL)
		return NULL;
	c->loop = l;
	c->cb = *cb;
	c->db = db;
	c->path = mem_strdup(path);
	c->asked = mem_calloc(CACHE_PENDING_MAX, sizeof(c->asked[0]));
	c->timer = loop_timer_new(l, on_timer, c);
	if (c->path == NULL || c->asked == NULL || c->timer == NULL) {
		cache_free(c);
		return NULL;
	}
	c->flush = (struct loop_defer){.fn = on_flush, .arg = c};
	crypto_random(&seed, sizeof(seed));
	rng_seed(&c->rng, seed);
	backoff_init(&c->backoff, CACHE_RETRY_MIN_MS, CACHE_RETRY_MAX_MS);
	loop_timer_arm_ms(c->timer, 0);
	return c;
}

void
cache_free(struct cache *c)
{
	if (c == NULL)
		return;
	cache_close(c);
	loop_timer_free(c->timer);
	mem_free(c->asked);
	mem_free(c->path);
	mem_free(c);
}

bool
cache_up(const struct cache *c)
{
	return c->state == CACHE_UP;
}

/* --- commands --- */

int
cache_room(const struct cache *c, size_t commands, size_t bytes)
{
	if (c->state != CACHE_UP)
		return ERR_UNAVAIL;
	if (c->count + commands > CACHE_PENDING_MAX || c->bytes + bytes > CACHE_PENDING_BYTES)
		return ERR_FULL;
	return 0;
}

void
cache_arg_bytes(struct cache *c, const void *data, size_t len)
{
	MUST(c->argc < ARGS_MAX);
	c->argv[c->argc] = data;
	c->lengths[c->argc++] = len;
}

void
cache_arg(struct cache *c, const char *text)
{
	cache_arg_bytes(c, text, strlen(text));
}

void
cache_begin(struct cache *c, const char *name, const char *key)
{
	c->argc = 0;
	cache_arg(c, name);
	cache_arg(c, key);
}

int
cache_ask(struct cache *c, const struct cache_question *q)
{
	size_t bytes = ARG_BYTES;
	int argc = c->argc;

	MUST(c->count < CACHE_PENDING_MAX);
	for (int i = 0; i < argc; i++)
		bytes += c->lengths[i] + ARG_BYTES;
	c->argc = 0;
	/* The turn's end sees to a context that is broken. */
	loop_defer_add(c->loop, &c->flush);
	if (redisAppendCommandArgv(c->redis, argc, c->argv, c->lengths) != REDIS_OK)
		return ERR_NOMEM;
	c->asked[(c->first + c->count++) % CACHE_PENDING_MAX] = (struct asked){*q, bytes};
	c->bytes += bytes;
	if (c->count == 1 && c->state == CACHE_UP)
		loop_timer_arm_ms(c->timer, CACHE_ANSWER_MS);
	return 0;
}

int
cache_tell(struct cache *c)
{
	return cache_ask(c, &(const struct cache_question){.kind = CACHE_NUMBER});
}

int
cache_expire(struct cache *c, const char *key, unsigned seconds)
{
	char number[CACHE_NUMBER_SIZE];

	snprintf(number, sizeof(number), "%u", seconds);
	cache_begin(c, "EXPIRE", key);
	cache_arg(c, number);
	return cache_tell(c);
}

static int
select_db(struct cache *c)
{
	char number[CACHE_NUMBER_SIZE];

	snprintf(number, sizeof(number), "%d", c->db);
	cache_begin(c, "SELECT", number);
	return cache_ask(c, &(const struct cache_question){.kind = CACHE_OK});
}

/* --- answers --- */

static void
take_refusal(struct cache *c, const struct asked *a, const redisReply *r)
{
	metric_inc(&stats.redis_rejected);
	if (c->state != CACHE_UP) {
		cache_lost(c, r->str);
		return;
	}
	if (!c->refused)
		log_warn("Redis refuses a command: %s", r->str);
	c->refused = true;
	if (a->question.fn != NULL)
		a->question.fn(a->question.ctx, a->question.about, NULL);
}

static void
take_up(struct cache *c)
{
	c->state = CACHE_UP;
	backoff_reset(&c->backoff);
	loop_timer_disarm(c->timer);
	metric_set(&stats.redis_up, 1);
	c->cb.on_up(c->cb.ctx);
}

/* Whether the answer can be one to what was asked. */
static bool
fits(const struct asked *a, const redisReply *r)
{
	switch (a->question.kind) {
	case CACHE_OK:
		return r->type == REDIS_REPLY_STATUS && strcmp(r->str, "OK") == 0;
	case CACHE_NUMBER:
		return r->type == REDIS_REPLY_INTEGER;
	case CACHE_NUMBER_OR_NIL:
		return r->type == REDIS_REPLY_INTEGER || r->type == REDIS_REPLY_NIL;
	case CACHE_LIST:
		return r->type == REDIS_REPLY_ARRAY;
	case CACHE_PAIRS:
		return r->type == REDIS_REPLY_ARRAY && r->elements % 2 == 0;
	}
	return false;
}

static void
take(struct cache *c, const redisReply *r)
{
	struct asked a;

	if (c->count == 0) {
		metric_inc(&stats.redis_rejected);
		cache_lost(c, "it answers what nobody asked");
		return;
	}
	a = c->asked[c->first];
	c->first = (c->first + 1) % CACHE_PENDING_MAX;
	c->count--;
	c->bytes -= a.bytes;
	if (r->type == REDIS_REPLY_ERROR) {
		take_refusal(c, &a, r);
	} else if (!fits(&a, r)) {
		metric_inc(&stats.redis_rejected);
		cache_lost(c, "its answer makes no sense");
	} else if (c->state != CACHE_UP) {
		take_up(c);
	} else if (a.question.fn != NULL) {
		a.question.fn(a.question.ctx, a.question.about, r);
	}
}

/* What may have come of an answer that is not whole yet. */
static size_t
unread_max(const struct cache *c)
{
	const struct cache_question *q = asked_now(c);

	return CACHE_UNREAD_MAX_BYTES + (q != NULL ? q->element_max_bytes : 0);
}

static void
take_all(struct cache *c)
{
	unsigned long number = c->number;
	void *reply;

	for (;;) {
		reply = NULL;
		if (redisReaderGetReply(c->redis->reader, &reply) != REDIS_OK) {
			const redisReader *r = c->redis->reader;

			metric_inc(&stats.redis_rejected);
			cache_lost(c, r->err == REDIS_ERR_OOM ? "its answer is too long" : r->errstr);
			return;
		}
		if (reply == NULL)
			break;
		take(c, reply);
		freeReplyObject(reply);
		if (c->number != number)
			return;
	}
	if (c->redis->reader->len > unread_max(c))
		cache_lost(c, "its answer is too long");
	else if (c->state == CACHE_UP && c->count > 0)
		loop_timer_arm_ms(c->timer, CACHE_ANSWER_MS);
	else if (c->state == CACHE_UP)
		loop_timer_disarm(c->timer);
}

/* All that is there, within limits.  False: the connection is gone. */
static bool
read_some(struct cache *c)
{
	size_t before;

	for (int i = 0; i < READS_MAX; i++) {
		before = c->redis->reader->len;
		if (redisBufferRead(c->redis) != REDIS_OK) {
			cache_lost(c, c->redis->errstr);
			return false;
		}
		if (c->redis->reader->len - before < CACHE_READ_BYTES)
			break;
	}
	return true;
}

static void
on_socket(void *arg, int fd, unsigned events)
{
	struct cache *c = arg;
	unsigned long number = c->number;

	(void)fd;
	if ((events & LOOP_READ) != 0) {
		if (!read_some(c))
			return;
		take_all(c);
	}
	if (c->number == number && (events & LOOP_WRITE) != 0)
		on_flush(c);
}
