/* cache_ids: see cache_ids.h. */
#include "consensusd/cache_ids.h"

#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/stats.h"

enum { ID_BYTES = 72, /* on the wire */ ELEMENT_BYTES_MAX = 64 };

#define SEQ_MAX (UINT64_C(1) << 53) /* a score is a double */

static void
key_of(char key[CACHE_KEY_SIZE], const struct ulid *stream)
{
	char text[ULID_TEXT_SIZE];

	ulid_format(text, stream);
	snprintf(key, CACHE_KEY_SIZE, "inbox_dedupe:%s", text);
}

/* One member with its score.  What somebody else put there is no id of ours, and left out. */
static bool
id_parse(const struct redisReply *r, size_t i, struct cache_id *out)
{
	const char *text;
	size_t len;

	return cache_text(r, i, &text, &len) && len == ULID_TEXT_SIZE - 1 && strlen(text) == len &&
	       ulid_parse(text, &out->id) == 0 && cache_text_number(r, i + 1, &out->seq) && out->seq != 0 &&
	       out->seq <= SEQ_MAX;
}

static void
on_list(void *ctx, const uint8_t about[CACHE_ABOUT_BYTES], const struct redisReply *r)
{
	struct cache_ids *c = ctx;
	size_t count = 0, pairs = r != NULL ? cache_count(r) / 2 : 0;
	struct cache_id *ids = r != NULL ? mem_calloc(pairs + 1, sizeof(*ids)) : NULL;
	struct ulid stream;

	memcpy(stream.b, about, ULID_BYTES);
	for (size_t i = ids != NULL ? pairs : 0; i-- > 0;) {
		if (id_parse(r, 2 * i, &ids[count]))
			count++;
		else
			metric_inc(&stats.redis_rejected);
	}
	c->fn(c->ctx, &stream, ids, count, ids != NULL);
	mem_free(ids);
}

int
cache_ids_recall(struct cache_ids *c, const struct ulid *stream, uint64_t last_seq)
{
	struct cache_question q = {.kind = CACHE_PAIRS,
	    .elements_max = 2 * CACHE_STREAM_IDS,
	    .element_max_bytes = ELEMENT_BYTES_MAX,
	    .fn = on_list,
	    .ctx = c};
	char key[CACHE_KEY_SIZE], number[CACHE_NUMBER_SIZE];
	int err = cache_room(c->cache, 3, (size_t)3 * CACHE_COMMAND_BYTES);

	if (err != 0)
		return err;
	memcpy(q.about, stream->b, ULID_BYTES);
	key_of(key, stream);
	snprintf(number, sizeof(number), "(%llu", (unsigned long long)last_seq);
	cache_begin(c->cache, "ZREMRANGEBYSCORE", key);
	cache_arg(c->cache, number);
	cache_arg(c->cache, "+inf");
	err = cache_tell(c->cache);
	/* A connection that was lost between adding and this left them there for ever. */
	if (err == 0)
		err = cache_expire(c->cache, key, CACHE_TTL_S);
	if (err != 0)
		return err;
	snprintf(number, sizeof(number), "%d", CACHE_STREAM_IDS - 1);
	cache_begin(c->cache, "ZREVRANGE", key);
	cache_arg(c->cache, "0");
	cache_arg(c->cache, number);
	cache_arg(c->cache, "WITHSCORES");
	return cache_ask(c->cache, &q);
}

static int
add_some(struct cache_ids *c, const char *key, const struct cache_id *ids, size_t count)
{
	size_t n = 0;

	cache_begin(c->cache, "ZADD", key);
	for (; n < count && ids[n].seq <= SEQ_MAX; n++) {
		snprintf(c->scores[n], CACHE_NUMBER_SIZE, "%llu", (unsigned long long)ids[n].seq);
		ulid_format(c->ids[n], &ids[n].id);
		cache_arg(c->cache, c->scores[n]);
		cache_arg(c->cache, c->ids[n]);
	}
	return n > 0 ? cache_tell(c->cache) : 0;
}

/* Keeps only the newest ids, and all of them for a while. */
static int
trim(struct cache_ids *c, const char *key)
{
	char number[CACHE_NUMBER_SIZE];
	int err;

	snprintf(number, sizeof(number), "%d", -CACHE_STREAM_IDS - 1);
	cache_begin(c->cache, "ZREMRANGEBYRANK", key);
	cache_arg(c->cache, "0");
	cache_arg(c->cache, number);
	err = cache_tell(c->cache);
	return err != 0 ? err : cache_expire(c->cache, key, CACHE_TTL_S);
}

int
cache_ids_add(struct cache_ids *c, const struct ulid *stream, const struct cache_id *ids, size_t count)
{
	size_t commands = (count + CACHE_ADD_IDS - 1) / CACHE_ADD_IDS + 2;
	int err = cache_room(c->cache, commands, commands * CACHE_COMMAND_BYTES + count * ID_BYTES);
	char key[CACHE_KEY_SIZE];

	key_of(key, stream);
	for (size_t i = 0, n; i < count && err == 0; i += n) {
		n = count - i < CACHE_ADD_IDS ? count - i : CACHE_ADD_IDS;
		err = add_some(c, key, ids + i, n);
	}
	return err != 0 ? err : trim(c, key);
}

int
cache_ids_remove(struct cache_ids *c, const struct ulid *stream)
{
	char key[CACHE_KEY_SIZE];
	int err = cache_room(c->cache, 1, CACHE_COMMAND_BYTES);

	if (err != 0)
		return err;
	key_of(key, stream);
	cache_begin(c->cache, "DEL", key);
	return cache_tell(c->cache);
}
