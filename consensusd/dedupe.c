/* dedupe: see dedupe.h. */
#include "consensusd/dedupe.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/log.h"
#include "consensusd/cache_ids.h"
#include "consensusd/source.h"
#include "consensusd/stats.h"

struct dedupe {
	struct engine *engine;
	struct cache *cache; /* borrowed */
	struct cache_ids cached;
	struct loop_timer *patience;
	bool loaded, warm; /* streams are; enough was waited for Redis */
	uint64_t dropped;  /* ids */
	struct source_list wanted, asked;
	size_t asked_count;
	size_t recalled; /* ids */
	struct cache_id ids[BATCH_MESSAGES_MAX];
};

/* --- asking --- */

static void
unlist(struct dedupe *d, struct source *s)
{
	if (!s->dedupe.listed)
		return;
	s->dedupe.listed = false;
	if (s->dedupe.state == DEDUPE_ASKED) {
		TAILQ_REMOVE(&d->asked, s, dedupe.entry);
		d->asked_count--;
	} else {
		TAILQ_REMOVE(&d->wanted, s, dedupe.entry);
	}
}

static void
want(struct dedupe *d, struct source *s)
{
	unlist(d, s);
	s->dedupe.state = DEDUPE_NEW;
	s->dedupe.listed = true;
	TAILQ_INSERT_TAIL(&d->wanted, s, dedupe.entry);
}

static int
ask(struct dedupe *d, struct source *s)
{
	int err = cache_ids_recall(&d->cached, &s->row.stream_id, s->dedupe.durable_seq);

	if (err != 0)
		return err;
	unlist(d, s);
	s->dedupe.state = DEDUPE_ASKED;
	s->dedupe.listed = true;
	TAILQ_INSERT_TAIL(&d->asked, s, dedupe.entry);
	d->asked_count++;
	return 0;
}

static void
waited(struct dedupe *d)
{
	if (d->warm)
		return;
	d->warm = true;
	loop_timer_disarm(d->patience);
	log_info("Redis remembered %zu message ids", d->recalled);
}

static void
ask_more(struct dedupe *d)
{
	struct source *s;

	if (!d->loaded)
		return;
	while (d->asked_count < CACHE_RECALLS_MAX && (s = TAILQ_FIRST(&d->wanted)) != NULL) {
		if (ask(d, s) != 0)
			return;
	}
	if (TAILQ_EMPTY(&d->wanted) && TAILQ_EMPTY(&d->asked))
		waited(d);
}

static void
on_patience(void *arg)
{
	struct dedupe *d = arg;

	if (!d->warm && !cache_up(d->cache))
		log_notice("Redis is away: message ids are known from the database only");
	waited(d);
}

/* What the database or a publisher has told since is right. */
static void
learn(struct dedupe *d, const struct source *s, const struct cache_id *id)
{
	struct idwindows *known = &d->engine->ids;
	uint64_t seq;

	if (id->seq > s->dedupe.durable_seq || stream_find_id(s->stream, known, &id->id, &seq))
		return;
	/* More would only push out what was learned before; without memory it is not known. */
	if (d->recalled == IDCACHE_MAX ||
	    idcache_add(&known->numbered, &s->row.stream_id, &id->id, id->seq) != 0)
		return;
	d->recalled++;
	metric_inc(&stats.redis_recalled);
}

static void
on_recalled(void *ctx, const struct ulid *stream, const struct cache_id *ids, size_t count, bool ok)
{
	struct dedupe *d = ctx;
	struct source *s = source_find(d->engine, stream);

	if (s != NULL && s->dedupe.state == DEDUPE_ASKED) {
		for (size_t i = 0; i < count; i++)
			learn(d, s, &ids[i]);
		unlist(d, s);
		s->dedupe.state = ok ? DEDUPE_KNOWN : DEDUPE_REFUSED;
	}
	ask_more(d);
}

void
dedupe_up(struct engine *e)
{
	struct dedupe *d = e->dedupe;
	struct source *s, *next;

	HASH_ITER (hh, e->sources, s, next) {
		if (d->loaded && s->dedupe.state == DEDUPE_REFUSED)
			want(d, s);
	}
	ask_more(d);
}

void
dedupe_down(struct engine *e)
{
	struct dedupe *d = e->dedupe;
	struct source *s;

	while ((s = TAILQ_FIRST(&d->asked)) != NULL)
		want(d, s);
}

/* --- writing --- */

/* The ids in the batch that publishers gave: the others are nobody's to repeat. */
static size_t
ids_of(struct dedupe *d, const struct source *s, const struct batch *b)
{
	struct batch_iter it;
	struct batch_record rec;
	struct ulid id;
	uint64_t seq;
	size_t count = 0;

	batch_iter_init(&it, b);
	while (batch_next(&it, &rec) == 1) {
		memcpy(id.b, rec.message_id, ULID_BYTES);
		if (stream_find_id(s->stream, &d->engine->ids, &id, &seq) && seq == rec.seq)
			d->ids[count++] = (struct cache_id){id, seq};
	}
	return count;
}

void
dedupe_drop(struct engine *e, size_t count)
{
	metric_add(&stats.redis_dropped, (int64_t)count);
	e->dedupe->dropped += count;
}

void
dedupe_write(struct engine *e, struct source *s, const struct batch *b)
{
	struct dedupe *d = e->dedupe;
	size_t count = ids_of(d, s, b);
	int err = 0;

	if (count == 0)
		return;
	/* What another time left there goes first. */
	if (s->dedupe.state == DEDUPE_NEW)
		err = ask(d, s);
	if (err == 0 && s->dedupe.state == DEDUPE_REFUSED)
		err = ERR_STATE;
	if (err == 0)
		err = cache_ids_add(&d->cached, &b->stream_id, d->ids, count);
	if (err == 0)
		metric_add(&stats.redis_added, (int64_t)count);
	else
		dedupe_drop(e, count);
}

/* --- what others call --- */

int
dedupe_open(struct engine *e, struct cache *cache)
{
	struct dedupe *d = mem_calloc(1, sizeof(*d));

	if (d == NULL)
		return ERR_NOMEM;
	e->dedupe = d;
	d->engine = e;
	d->cache = cache;
	d->cached.cache = cache;
	d->cached.fn = on_recalled;
	d->cached.ctx = d;
	TAILQ_INIT(&d->wanted);
	TAILQ_INIT(&d->asked);
	d->patience = loop_timer_new(e->loop, on_patience, d);
	return d->patience != NULL ? 0 : ERR_NOMEM;
}

void
dedupe_close(struct engine *e)
{
	struct dedupe *d = e->dedupe;

	if (d == NULL)
		return;
	loop_timer_free(d->patience);
	mem_free(d);
	e->dedupe = NULL;
}

void
dedupe_loaded(struct engine *e)
{
	struct dedupe *d = e->dedupe;
	struct source *s, *next;

	if (d == NULL || d->loaded)
		return;
	d->loaded = true;
	loop_timer_arm_ms(d->patience, CACHE_WARM_MS);
	HASH_ITER (hh, e->sources, s, next)
		want(d, s);
	ask_more(d);
}

bool
dedupe_knows(const struct source *s)
{
	const struct dedupe *d = s->engine->dedupe;

	return d == NULL || d->warm || s->dedupe.state >= DEDUPE_KNOWN || s->dedupe.durable_seq == 0;
}

void
dedupe_set(struct source *s, uint64_t durable_seq)
{
	s->dedupe.durable_seq = durable_seq;
}

void
dedupe_forget(struct source *s, bool closed)
{
	struct dedupe *d = s->engine->dedupe;

	if (d == NULL)
		return;
	unlist(d, s);
	/* If that fails, they go when their time is up. */
	if (closed && cache_ids_remove(&d->cached, &s->row.stream_id) != 0)
		log_debug("stream %s: its ids stay in Redis for a while", s->id_text);
}

uint64_t
dedupe_dropped(const struct engine *e)
{
	return e->dedupe->dropped;
}
