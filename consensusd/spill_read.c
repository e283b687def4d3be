/* spill: reading batches back; see spill.h. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "consensusd/seal.h"
#include "consensusd/spill_impl.h"
#include "consensusd/stats.h"

static bool
believed(const struct spill *p, const struct source *s, struct batch *b, const uint8_t *data, size_t len)
{
	uint8_t mark[PARCEL_MARK_BYTES];

	spill_mark(p, mark, &b->stream_id, data, len);
	if (crypto_equal(mark, data, sizeof(mark)))
		return true;
	return batch_last_seq(b) <= s->spill.loaded_seq &&
	       seal_verify(p->engine->keyring, s->row.tenant_id, s->row.source_key, b) == 0;
}

static int
element_get(struct spill *p, struct source *s, const struct redisReply *r, size_t i, struct batch **out)
{
	const char *text;
	size_t len;
	int err;

	if (!cache_text(r, i, &text, &len))
		return ERR_FORMAT;
	err = parcel_get((const uint8_t *)text, len, &s->row.stream_id, out);
	if (err == 0 && !believed(p, s, *out, (const uint8_t *)text, len)) {
		batch_unref(*out);
		err = ERR_CRYPTO;
	}
	return err;
}

static void
lied(struct spill *p, struct source *s)
{
	metric_inc(&stats.redis_rejected);
	log_warn("stream %s: a batch in Redis is not what was put there; it is read from the database",
	    s->id_text);
	spill_renounce(p, s);
}

static void
take_all(struct spill *p, struct source *s, struct flow *f, const struct redisReply *r)
{
	uint64_t from = f->next_seq;
	size_t n = cache_count(r);
	struct batch *b;
	int err = 0;

	if (n == 0)
		spill_renounce(p, s);
	for (size_t i = 0; i < n && err == 0; i++) {
		err = element_get(p, s, r, i, &b);
		if (err != 0)
			break;
		/* One that begins where nothing does was put twice, or there is a gap before it. */
		if (b->first_seq > f->next_seq && f->next_seq == from)
			s->spill.low = b->first_seq;
		s->spill.batch_bytes = b->body_len;
		if (source_read_batch(s, f, b))
			metric_inc(&stats.redis_queue_read);
		batch_unref(b);
	}
	if (err != 0 && err != ERR_NOMEM)
		lied(p, s);
}

static struct flow *
flow_of(const struct spill *p, const struct spill_read *rd, struct source **s)
{
	*s = source_find(p->engine, &rd->stream);
	return *s != NULL ? stream_flow((*s)->stream, rd->node) : NULL;
}

/* r NULL: there is no answer. */
static void
read_settle(struct spill *p, struct spill_read *rd, const struct redisReply *r)
{
	struct source *s;
	struct flow *f = flow_of(p, rd, &s);

	if (f == NULL || rd->over)
		return;
	rd->over = true;
	if (r != NULL && !p->distrusted)
		take_all(p, s, f, r);
	if (f->next_seq != rd->order.from_seq || f->unread_bytes > 0) {
		source_read_done(f->owner);
		return;
	}
	metric_inc(&stats.redis_queue_missed);
	source_read_outbox(f->owner, &rd->order);
}

static void
read_end(struct spill *p, struct spill_read *rd, const struct redisReply *r)
{
	read_settle(p, rd, r);
	TAILQ_REMOVE(&p->reads, rd, entry);
	p->read_count--;
	mem_free(rd);
}

static void
arm(struct spill *p)
{
	const struct spill_read *rd;

	TAILQ_FOREACH (rd, &p->reads, entry) {
		if (!rd->over)
			break;
	}
	if (rd != NULL)
		loop_timer_arm(p->timer, rd->until);
	else
		loop_timer_disarm(p->timer);
}

void
spill_on_timer(void *arg)
{
	struct spill *p = arg;
	struct mono now = clock_mono();
	struct spill_read *rd;

	p->pause = mono_add_ms(now, SPILL_PAUSE_MS);
	TAILQ_FOREACH (rd, &p->reads, entry) {
		if (!mono_before(now, rd->until))
			read_settle(p, rd, NULL);
	}
	arm(p);
}

static void
on_batches(void *ctx, const uint8_t about[CACHE_ABOUT_BYTES], const struct redisReply *r)
{
	struct spill *p = ctx;
	struct spill_read *rd = TAILQ_FIRST(&p->reads);

	MUST(rd != NULL && memcmp(rd->stream.b, about, ULID_BYTES) == 0);
	read_end(p, rd, r);
	arm(p);
}

static int
ask(struct spill *p, struct source *s, const struct stream_order *o)
{
	struct cache_question q = {.kind = CACHE_LIST,
	    .element_max_bytes = PARCEL_HEAD_BYTES + SPILL_BATCH_MAX_BYTES,
	    .fn = on_batches,
	    .ctx = p};
	size_t n = o->max_bytes / (s->spill.batch_bytes != 0 ? s->spill.batch_bytes : SPILL_BATCH_MAX_BYTES);
	char key[CACHE_KEY_SIZE], low[CACHE_NUMBER_SIZE], limit[CACHE_NUMBER_SIZE];

	n = n == 0 ? 1 : n > SPILL_READ_COUNT ? SPILL_READ_COUNT : n;
	q.elements_max = n;
	memcpy(q.about, s->row.stream_id.b, ULID_BYTES);
	spill_key(key, s);
	snprintf(low, sizeof(low), "%" PRIu64, o->from_seq);
	snprintf(limit, sizeof(limit), "%zu", n);
	cache_begin(p->cache, "ZRANGEBYSCORE", key);
	cache_arg(p->cache, low);
	cache_arg(p->cache, "+inf");
	cache_arg(p->cache, "LIMIT");
	cache_arg(p->cache, "0");
	cache_arg(p->cache, limit);
	return cache_ask(p->cache, &q);
}

static bool
may_be_there(const struct spill *p, const struct source *s, uint64_t seq)
{
	return p != NULL && p->max_bytes != 0 && !p->distrusted && s->spill.state == SPILL_COUNTED &&
	       s->spill.low != 0 && seq >= s->spill.low && seq <= s->spill.high;
}

int
spill_read(struct source_flow *f, const struct stream_order *o)
{
	struct source *s = f->source;
	struct spill *p = s->engine->spill;
	struct mono now = clock_mono();
	struct spill_read *rd;
	int err;

	if (!may_be_there(p, s, o->from_seq))
		return ERR_NOENT;
	if (p->read_count == SPILL_READS_MAX || mono_before(now, p->pause))
		return ERR_FULL;
	err = cache_room(p->cache, 1, CACHE_COMMAND_BYTES);
	if (err != 0)
		return err;
	rd = mem_calloc(1, sizeof(*rd));
	if (rd == NULL)
		return ERR_NOMEM;
	*rd = (struct spill_read){.stream = s->row.stream_id,
	    .node = f->flow->node,
	    .order = *o,
	    .until = mono_add_ms(now, SPILL_WAIT_MS)};
	err = ask(p, s, o);
	if (err != 0) {
		mem_free(rd);
		return err;
	}
	TAILQ_INSERT_TAIL(&p->reads, rd, entry);
	p->read_count++;
	arm(p);
	return 0;
}

void
spill_read_end_all(struct spill *p)
{
	struct spill_read *rd;

	while ((rd = TAILQ_FIRST(&p->reads)) != NULL)
		read_end(p, rd, NULL);
	loop_timer_disarm(p->timer);
}
