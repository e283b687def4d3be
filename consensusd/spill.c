/* spill: see spill.h. */
#include "consensusd/spill_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/conf.h"
#include "common/os/log.h"
#include "consensusd/stats.h"

#define SEQ_MAX (UINT64_C(1) << 53) /* a score is a double */
#define MARK_CONTEXT "mesh-spill-1"

void
spill_key(char key[CACHE_KEY_SIZE], const struct source *s)
{
	snprintf(key, CACHE_KEY_SIZE, "queue:stream:%s", s->id_text);
}

void
spill_mark(const struct spill *p, uint8_t mark[PARCEL_MARK_BYTES], const struct ulid *stream,
    const uint8_t *parcel, size_t len)
{
	crypto_mac(mark, p->key, MARK_CONTEXT, stream->b, ULID_BYTES, parcel + PARCEL_MARK_BYTES,
	    len - PARCEL_MARK_BYTES);
}

/* --- what is there --- */

static void
count_add(struct spill *p, struct source *s, uint64_t last_seq, size_t bytes)
{
	uint64_t before = s->spill.kept.total_bytes;

	ledger_add(&s->spill.kept, last_seq, bytes);
	p->total_bytes += s->spill.kept.total_bytes - before;
	metric_set(&stats.redis_queue, (int64_t)p->total_bytes);
}

static void
count_cut(struct spill *p, struct source *s, uint64_t seq)
{
	uint64_t before = s->spill.kept.total_bytes;

	ledger_cut(&s->spill.kept, seq);
	p->total_bytes -= before - s->spill.kept.total_bytes;
	metric_set(&stats.redis_queue, (int64_t)p->total_bytes);
	if (seq == UINT64_MAX)
		s->spill.low = s->spill.high = 0;
	else if (s->spill.low != 0 && s->spill.low <= seq)
		s->spill.low = seq + 1;
}

/* Removes batches with scores from low to high, which are texts. */
static int
remove_range(struct spill *p, const struct source *s, const char *low, const char *high)
{
	char key[CACHE_KEY_SIZE];
	int err = cache_room(p->cache, 1, CACHE_COMMAND_BYTES);

	if (err != 0)
		return err;
	spill_key(key, s);
	cache_begin(p->cache, "ZREMRANGEBYSCORE", key);
	cache_arg(p->cache, low);
	cache_arg(p->cache, high);
	return cache_tell(p->cache);
}

/* If that fails, they are there, and counted, until it is tried again or their time is up. */
static int
remove_upto(struct spill *p, struct source *s, uint64_t seq)
{
	char high[CACHE_NUMBER_SIZE];
	int err;

	snprintf(high, sizeof(high), "%" PRIu64, seq);
	err = remove_range(p, s, "-inf", seq == UINT64_MAX ? "+inf" : high);
	if (err == 0)
		count_cut(p, s, seq);
	return err;
}

static void
on_counted(void *ctx, const uint8_t about[CACHE_ABOUT_BYTES], const struct redisReply *r)
{
	struct spill *p = ctx;
	struct ulid id;
	struct source *s;
	uint64_t bytes = r != NULL ? cache_number(r) : 0;

	memcpy(id.b, about, ULID_BYTES);
	s = source_find(p->engine, &id);
	if (s == NULL || s->spill.state != SPILL_ASKED)
		return;
	s->spill.state = SPILL_COUNTED;
	if (bytes == 0 || s->spill.newest == 0)
		return;
	s->spill.low = s->stream->committed_seq + 1;
	s->spill.high = s->spill.newest;
	count_add(p, s, s->spill.newest, bytes < SIZE_MAX / 4 ? (size_t)bytes : SIZE_MAX / 4);
}

/* What is of another time goes, and how much else there is is asked for. */
static int
count(struct spill *p, struct source *s)
{
	struct cache_question q = {.kind = CACHE_NUMBER_OR_NIL, .fn = on_counted, .ctx = p};
	char key[CACHE_KEY_SIZE], low[CACHE_NUMBER_SIZE];
	int err = cache_room(p->cache, 2, (size_t)2 * CACHE_COMMAND_BYTES);

	if (err != 0)
		return err;
	snprintf(low, sizeof(low), "(%" PRIu64, s->spill.newest);
	err = remove_range(p, s, low, "+inf");
	if (err != 0)
		return err;
	spill_key(key, s);
	memcpy(q.about, s->row.stream_id.b, ULID_BYTES);
	cache_begin(p->cache, "MEMORY", "USAGE");
	cache_arg(p->cache, key);
	s->spill.state = SPILL_ASKED;
	return cache_ask(p->cache, &q);
}

/* --- writing --- */

static int
write_parcel(struct spill *p, struct source *s, const struct batch *b, size_t size)
{
	char key[CACHE_KEY_SIZE], score[CACHE_NUMBER_SIZE];
	uint8_t *parcel;
	int err = cache_room(p->cache, 2, size + (size_t)2 * CACHE_COMMAND_BYTES);

	if (err != 0)
		return err;
	parcel = mem_calloc(1, size);
	if (parcel == NULL)
		return ERR_NOMEM;
	parcel_put(parcel, b);
	spill_mark(p, parcel, &b->stream_id, parcel, size);
	spill_key(key, s);
	snprintf(score, sizeof(score), "%" PRIu64, b->first_seq);
	cache_begin(p->cache, "ZADD", key);
	cache_arg(p->cache, score);
	cache_arg_bytes(p->cache, parcel, size);
	err = cache_tell(p->cache);
	mem_free(parcel);
	return err != 0 ? err : cache_expire(p->cache, key, SPILL_TTL_S);
}

/* Whether it fits, when older ones of the stream have gone for it. */
static bool
make_room(struct spill *p, struct source *s, size_t size)
{
	const struct ledger *kept = &s->spill.kept;

	while (kept->count > 0 && kept->total_bytes + size > p->max_bytes / SPILL_SHARE) {
		if (remove_upto(p, s, kept->buckets[kept->head].last_seq) != 0)
			return false;
	}
	return p->total_bytes + size <= p->max_bytes;
}

static int
put(struct spill *p, struct source *s, const struct batch *b)
{
	size_t size = PARCEL_HEAD_BYTES + b->body_len;
	int err = 0;

	if (b->body_len > SPILL_BATCH_MAX_BYTES || b->first_seq > SEQ_MAX)
		return ERR_LIMIT;
	if (!cache_up(p->cache))
		return ERR_UNAVAIL;
	if (s->spill.state == SPILL_NEW)
		err = count(p, s);
	if (err == 0 && s->spill.state != SPILL_COUNTED)
		err = ERR_AGAIN;
	if (err == 0 && !make_room(p, s, size))
		err = ERR_FULL;
	return err != 0 ? err : write_parcel(p, s, b, size);
}

void
spill_put(struct source *s, const struct batch *b)
{
	struct spill *p = s->engine->spill;
	uint64_t last = batch_last_seq(b);

	if (p == NULL || p->max_bytes == 0 || last <= s->spill.newest)
		return;
	if (put(p, s, b) != 0) {
		metric_inc(&stats.redis_queue_dropped);
		return;
	}
	metric_inc(&stats.redis_queue_put);
	count_add(p, s, last, PARCEL_HEAD_BYTES + b->body_len);
	if (s->spill.low == 0)
		s->spill.low = b->first_seq;
	s->spill.high = s->spill.newest = last;
}

void
spill_durable(struct source *s, const struct batch *b)
{
	struct spill *p = s->engine->spill;

	if (p == NULL || p->max_bytes == 0)
		return;
	for (size_t i = 0; i < s->stream->flow_count; i++) {
		const struct source_flow *f = &s->flows[i];

		if (f->node->id != s->engine->self && f->node->status != NODE_STATUS_ALIVE &&
		    f->flow->state <= FLOW_OPEN) {
			spill_put(s, b);
			return;
		}
	}
}

/* What could not be removed before goes with it. */
void
spill_cleared(struct source *s, uint64_t seq)
{
	struct spill *p = s->engine->spill;

	if (p == NULL || !cache_up(p->cache) || (s->spill.low == 0 && s->spill.kept.count == 0) ||
	    seq < s->spill.low)
		return;
	if (remove_upto(p, s, seq >= s->spill.high ? UINT64_MAX : seq) != 0)
		log_debug("stream %s: batches stay in Redis for a while", s->id_text);
}

/* Nothing of the stream is asked for again. */
void
spill_renounce(struct spill *p, struct source *s)
{
	if (remove_upto(p, s, UINT64_MAX) != 0)
		s->spill.low = s->spill.high = 0;
}

/* --- what others call --- */

int
spill_open(struct engine *e, struct cache *cache)
{
	struct spill *p = mem_calloc(1, sizeof(*p));

	if (p == NULL)
		return ERR_NOMEM;
	p->engine = e;
	p->cache = cache;
	crypto_random(p->key, sizeof(p->key));
	TAILQ_INIT(&p->reads);
	e->spill = p;
	p->timer = loop_timer_new(e->loop, spill_on_timer, p);
	return p->timer != NULL ? 0 : ERR_NOMEM;
}

void
spill_close(struct engine *e)
{
	struct spill *p = e->spill;
	struct spill_read *rd;

	if (p == NULL)
		return;
	while ((rd = TAILQ_FIRST(&p->reads)) != NULL) {
		TAILQ_REMOVE(&p->reads, rd, entry);
		mem_free(rd);
	}
	crypto_wipe(p->key, sizeof(p->key));
	loop_timer_free(p->timer);
	mem_free(p);
	e->spill = NULL;
}

void
spill_configure(struct engine *e, const struct conf *conf)
{
	if (e->spill != NULL)
		e->spill->max_bytes = (size_t)conf_int(conf, "consensusd", "redis-queue-max");
}

void
spill_distrust(struct engine *e)
{
	if (e->spill != NULL)
		e->spill->distrusted = true;
}

void
spill_up(struct engine *e)
{
	struct spill *p = e->spill;
	struct source *s, *next;

	if (p->max_bytes == 0 || !e->loaded || !cache_up(p->cache))
		return;
	HASH_ITER (hh, e->sources, s, next) {
		if (s->spill.state == SPILL_NEW && s->stream->committed_seq < s->stream->durable_seq &&
		    count(p, s) != 0)
			return; /* the others are asked for when they have something to put */
	}
}

void
spill_down(struct engine *e)
{
	struct spill *p = e->spill;
	struct source *s, *next;

	HASH_ITER (hh, e->sources, s, next) {
		s->spill.state = SPILL_NEW;
		count_cut(p, s, UINT64_MAX);
	}
	spill_read_end_all(p);
}

void
spill_set(struct source *s, uint64_t durable_seq)
{
	s->spill.loaded_seq = s->spill.newest = durable_seq;
}

void
spill_forget(struct source *s, bool closed)
{
	struct spill *p = s->engine->spill;

	if (p != NULL && closed && s->spill.high != 0 && remove_upto(p, s, UINT64_MAX) != 0)
		log_debug("stream %s: batches stay in Redis for a while", s->id_text);
	if (p != NULL)
		count_cut(p, s, UINT64_MAX);
	ledger_fini(&s->spill.kept);
}
