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
	KEY_BYTES = 48,
	NUMBER_BYTES = 24,
	WHY_BYTES = 128,
	/* On the wire, with lengths and line ends: of a command, and of each id in it. */
	COMMAND_BYTES = 160,
	ID_BYTES = 72,
	ELEMENT_BYTES_MAX = 64,
};

#define SEQ_MAX (UINT64_C(1) << 53) /* a score is a double */

enum cache_state { CACHE_WAITING, CACHE_CONNECTING, CACHE_UP };
enum command { COMMAND_SELECT, COMMAND_COUNT, COMMAND_RECALL };

/* A command without an answer. */
struct asked {
	struct ulid stream;
	enum command command; /* what the answer must be: OK, a number, or ids */
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
	char ids[CACHE_ADD_IDS][ULID_TEXT_SIZE], scores[CACHE_ADD_IDS][NUMBER_BYTES];
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

/* hiredis allocates what a server announces, whatever that is: only what can be an answer passes. */
static void *
bounded_string(const redisReadTask *task, char *text, size_t len)
{
	const struct cache *c = task->privdata;

	if (len > (size_t)(task->parent != NULL ? ELEMENT_BYTES_MAX : CACHE_TEXT_MAX_BYTES))
		return NULL;
	return c->hiredis.createString(task, text, len);
}

static void *
bounded_array(const redisReadTask *task, int elements)
{
	const struct cache *c = task->privdata;

	if (task->parent != NULL || elements > 2 * CACHE_STREAM_IDS)
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

static int
room_for(const struct cache *c, size_t commands, size_t bytes)
{
	if (c->state != CACHE_UP)
		return ERR_UNAVAIL;
	if (c->count + commands > CACHE_PENDING_MAX || c->bytes + bytes > CACHE_PENDING_BYTES)
		return ERR_FULL;
	return 0;
}

static void
arg_add(struct cache *c, const char *text)
{
	MUST(c->argc < ARGS_MAX);
	c->argv[c->argc] = text;
	c->lengths[c->argc++] = strlen(text);
}

/* Sends what arg_add() has gathered; there is room for it. */
static int
ask(struct cache *c, enum command command, const struct ulid *stream, size_t bytes)
{
	int argc = c->argc;

	MUST(c->count < CACHE_PENDING_MAX);
	c->argc = 0;
	/* The turn's end sees to a context that is broken. */
	loop_defer_add(c->loop, &c->flush);
	if (redisAppendCommandArgv(c->redis, argc, c->argv, c->lengths) != REDIS_OK)
		return ERR_NOMEM;
	c->asked[(c->first + c->count++) % CACHE_PENDING_MAX] = (struct asked){*stream, command, bytes};
	c->bytes += bytes;
	if (c->count == 1 && c->state == CACHE_UP)
		loop_timer_arm_ms(c->timer, CACHE_ANSWER_MS);
	return 0;
}

/* "NAME key"; the rest of the arguments are added by the caller. */
static void
begin(struct cache *c, const char *name, char key[KEY_BYTES], const struct ulid *stream)
{
	char text[ULID_TEXT_SIZE];

	ulid_format(text, stream);
	snprintf(key, KEY_BYTES, "inbox_dedupe:%s", text);
	arg_add(c, name);
	arg_add(c, key);
}

static int
select_db(struct cache *c)
{
	static const struct ulid none;
	char number[NUMBER_BYTES];

	snprintf(number, sizeof(number), "%d", c->db);
	arg_add(c, "SELECT");
	arg_add(c, number);
	return ask(c, COMMAND_SELECT, &none, COMMAND_BYTES);
}

int
cache_recall(struct cache *c, const struct ulid *stream, uint64_t last_seq)
{
	char key[KEY_BYTES], number[NUMBER_BYTES];
	int err = room_for(c, 2, (size_t)2 * COMMAND_BYTES);

	if (err != 0)
		return err;
	snprintf(number, sizeof(number), "(%llu", (unsigned long long)last_seq);
	begin(c, "ZREMRANGEBYSCORE", key, stream);
	arg_add(c, number);
	arg_add(c, "+inf");
	err = ask(c, COMMAND_COUNT, stream, COMMAND_BYTES);
	if (err != 0)
		return err;
	snprintf(number, sizeof(number), "%d", CACHE_STREAM_IDS - 1);
	begin(c, "ZREVRANGE", key, stream);
	arg_add(c, "0");
	arg_add(c, number);
	arg_add(c, "WITHSCORES");
	return ask(c, COMMAND_RECALL, stream, COMMAND_BYTES);
}

static int
add_some(struct cache *c, const struct ulid *stream, const struct cache_id *ids, size_t count)
{
	char key[KEY_BYTES];

	begin(c, "ZADD", key, stream);
	for (size_t i = 0; i < count; i++) {
		if (ids[i].seq > SEQ_MAX)
			break;
		snprintf(c->scores[i], NUMBER_BYTES, "%llu", (unsigned long long)ids[i].seq);
		ulid_format(c->ids[i], &ids[i].id);
		arg_add(c, c->scores[i]);
		arg_add(c, c->ids[i]);
	}
	if (c->argc == 2) {
		c->argc = 0;
		return 0;
	}
	return ask(c, COMMAND_COUNT, stream, COMMAND_BYTES + count * ID_BYTES);
}

/* Keeps only the newest ids, and all of them for a while. */
static int
trim(struct cache *c, const struct ulid *stream)
{
	char key[KEY_BYTES], number[NUMBER_BYTES];
	int err;

	snprintf(number, sizeof(number), "%d", -CACHE_STREAM_IDS - 1);
	begin(c, "ZREMRANGEBYRANK", key, stream);
	arg_add(c, "0");
	arg_add(c, number);
	err = ask(c, COMMAND_COUNT, stream, COMMAND_BYTES);
	if (err != 0)
		return err;
	snprintf(number, sizeof(number), "%d", CACHE_TTL_S);
	begin(c, "EXPIRE", key, stream);
	arg_add(c, number);
	return ask(c, COMMAND_COUNT, stream, COMMAND_BYTES);
}

int
cache_add(struct cache *c, const struct ulid *stream, const struct cache_id *ids, size_t count)
{
	size_t commands = (count + CACHE_ADD_IDS - 1) / CACHE_ADD_IDS + 2;
	int err = room_for(c, commands, commands * COMMAND_BYTES + count * ID_BYTES);

	for (size_t i = 0, n; i < count && err == 0; i += n) {
		n = count - i < CACHE_ADD_IDS ? count - i : CACHE_ADD_IDS;
		err = add_some(c, stream, ids + i, n);
	}
	return err != 0 ? err : trim(c, stream);
}

int
cache_remove(struct cache *c, const struct ulid *stream)
{
	char key[KEY_BYTES];
	int err = room_for(c, 1, COMMAND_BYTES);

	if (err != 0)
		return err;
	begin(c, "DEL", key, stream);
	return ask(c, COMMAND_COUNT, stream, COMMAND_BYTES);
}

/* --- answers --- */

static bool
seq_parse(const redisReply *r, uint64_t *out)
{
	uint64_t seq = 0;

	if (r->len == 0 || r->len >= NUMBER_BYTES - 4)
		return false;
	for (size_t i = 0; i < (size_t)r->len; i++) {
		if (r->str[i] < '0' || r->str[i] > '9')
			return false;
		seq = seq * 10 + (uint64_t)(r->str[i] - '0');
	}
	*out = seq;
	return seq != 0 && seq <= SEQ_MAX;
}

/* One member with its score.  What somebody else put there is no id of ours, and left out. */
static bool
id_parse(const redisReply *member, const redisReply *score, struct cache_id *out)
{
	return member->type == REDIS_REPLY_STRING && score->type == REDIS_REPLY_STRING &&
	       member->len == ULID_TEXT_SIZE - 1 && strlen(member->str) == ULID_TEXT_SIZE - 1 &&
	       ulid_parse(member->str, &out->id) == 0 && seq_parse(score, &out->seq);
}

static void
take_ids(struct cache *c, const struct ulid *stream, const redisReply *r)
{
	size_t count = 0, pairs = r->elements / 2;
	struct cache_id *ids = mem_calloc(pairs + 1, sizeof(*ids));

	if (ids == NULL) {
		c->cb.on_recalled(c->cb.ctx, stream, NULL, 0, false);
		return;
	}
	for (size_t i = pairs; i-- > 0;) {
		if (id_parse(r->element[2 * i], r->element[2 * i + 1], &ids[count]))
			count++;
		else
			metric_inc(&stats.redis_rejected);
	}
	c->cb.on_recalled(c->cb.ctx, stream, ids, count, true);
	mem_free(ids);
}

static void
take_refusal(struct cache *c, const struct asked *a, const redisReply *r)
{
	metric_inc(&stats.redis_rejected);
	if (a->command == COMMAND_SELECT) {
		cache_lost(c, r->str);
		return;
	}
	if (!c->refused)
		log_warn("Redis refuses a command: %s", r->str);
	c->refused = true;
	if (a->command == COMMAND_RECALL)
		c->cb.on_recalled(c->cb.ctx, &a->stream, NULL, 0, false);
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
	switch (a->command) {
	case COMMAND_SELECT:
		return r->type == REDIS_REPLY_STATUS && strcmp(r->str, "OK") == 0;
	case COMMAND_COUNT:
		return r->type == REDIS_REPLY_INTEGER;
	case COMMAND_RECALL:
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
	} else if (a.command == COMMAND_SELECT) {
		take_up(c);
	} else if (a.command == COMMAND_RECALL) {
		take_ids(c, &a.stream, r);
	}
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
	if (c->redis->reader->len > CACHE_UNREAD_MAX_BYTES)
		cache_lost(c, "its answer is too long");
	else if (c->state == CACHE_UP && c->count > 0)
		loop_timer_arm_ms(c->timer, CACHE_ANSWER_MS);
	else if (c->state == CACHE_UP)
		loop_timer_disarm(c->timer);
}

static void
on_socket(void *arg, int fd, unsigned events)
{
	struct cache *c = arg;
	unsigned long number = c->number;

	(void)fd;
	if ((events & LOOP_READ) != 0) {
		if (redisBufferRead(c->redis) != REDIS_OK) {
			cache_lost(c, c->redis->errstr);
			return;
		}
		take_all(c);
	}
	if (c->number == number && (events & LOOP_WRITE) != 0)
		on_flush(c);
}
