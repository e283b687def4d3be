/* dedupe: see dedupe.h. */
#include "consensusd/dedupe.h"

#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/conf.h"
#include "common/os/log.h"
#include "consensusd/api.h"
#include "consensusd/cache_redis.h"
#include "consensusd/source.h"
#include "consensusd/stats.h"

enum { WHY_BYTES = 128 };

/* A batch on its way through the store. */
struct given {
	STAILQ_ENTRY(given) entry;
	struct batch *batch;
	uint64_t ticket;
};

STAILQ_HEAD(given_list, given);

struct dedupe {
	struct engine *engine;
	struct cache *cache;
	struct loop_timer *patience;
	struct loop_defer write;
	bool loaded, warm; /* streams are; enough was waited for Redis */
	bool told;         /* that it is away */
	uint64_t dropped;  /* ids */
	struct source_list wanted, asked;
	size_t asked_count;
	size_t recalled; /* ids */
	struct given_list given;
	uint64_t durable; /* ticket */
	struct cache_id ids[BATCH_MESSAGES_MAX];
	char why[WHY_BYTES]; /* it is away */
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
	int err = cache_recall(d->cache, &s->row.stream_id, s->dedupe.durable_seq);

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

	if (!d->warm && d->cache != NULL && !cache_up(d->cache))
		log_notice("Redis is away: message ids are known from the database only");
	waited(d);
}

/* What the outbox or a publisher has told since is right. */
static void
learn(struct dedupe *d, const struct source *s, const struct cache_id *id)
{
	struct idcache *known = &d->engine->ids;
	uint64_t seq;

	if (id->seq > s->dedupe.believed_seq || idcache_find(known, &s->row.stream_id, &id->id, &seq))
		return;
	/* More would only push out what was learned before; without memory it is not known. */
	if (d->recalled == IDCACHE_MAX || idcache_add(known, &s->row.stream_id, &id->id, id->seq) != 0)
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

static void
on_up(void *ctx)
{
	struct dedupe *d = ctx;
	struct source *s, *next;

	log_at(d->told ? LOG_NOTICE : LOG_INFO, NULL, "Redis connected");
	d->told = false;
	HASH_ITER (hh, d->engine->sources, s, next) {
		if (d->loaded && s->dedupe.state == DEDUPE_REFUSED)
			want(d, s);
	}
	ask_more(d);
	api_health_changed(d->engine->api);
}

static void
on_down(void *ctx, const char *why)
{
	struct dedupe *d = ctx;
	struct source *s;

	snprintf(d->why, sizeof(d->why), "%s", why);
	while ((s = TAILQ_FIRST(&d->asked)) != NULL)
		want(d, s);
	if (d->told)
		return;
	d->told = true;
	log_warn("Redis is away: %s; message ids are remembered by the database only", why);
	api_health_changed(d->engine->api);
}

/* --- writing --- */

/* The ids in the batch that publishers gave: the others are nobody's to repeat. */
static size_t
ids_of(struct dedupe *d, const struct batch *b)
{
	struct batch_iter it;
	struct batch_record rec;
	struct ulid id;
	uint64_t seq;
	size_t count = 0;

	batch_iter_init(&it, b);
	while (batch_next(&it, &rec) == 1) {
		memcpy(id.b, rec.message_id, ULID_BYTES);
		if (idcache_find(&d->engine->ids, &b->stream_id, &id, &seq) && seq == rec.seq)
			d->ids[count++] = (struct cache_id){id, seq};
	}
	return count;
}

static void
write_batch(struct dedupe *d, const struct batch *b)
{
	struct source *s = source_find(d->engine, &b->stream_id);
	size_t count = s != NULL ? ids_of(d, b) : 0;
	int err = 0;

	if (count == 0)
		return;
	/* What another time left there goes first. */
	if (s->dedupe.state == DEDUPE_NEW)
		err = ask(d, s);
	if (err == 0 && s->dedupe.state == DEDUPE_REFUSED)
		err = ERR_STATE;
	if (err == 0)
		err = cache_add(d->cache, &b->stream_id, d->ids, count);
	metric_add(err == 0 ? &stats.redis_added : &stats.redis_dropped, (int64_t)count);
	d->dropped += err == 0 ? 0 : count;
}

static void
on_write(void *arg)
{
	struct dedupe *d = arg;
	struct given *g;

	while ((g = STAILQ_FIRST(&d->given)) != NULL && g->ticket <= d->durable) {
		STAILQ_REMOVE_HEAD(&d->given, entry);
		write_batch(d, g->batch);
		batch_unref(g->batch);
		mem_free(g);
	}
}

void
dedupe_given(struct engine *e, struct batch *b, uint64_t ticket)
{
	struct dedupe *d = e->dedupe;
	struct given *g;

	if (d == NULL)
		return;
	g = mem_calloc(1, sizeof(*g));
	if (g == NULL) {
		metric_add(&stats.redis_dropped, b->count);
		d->dropped += b->count;
		return;
	}
	g->batch = batch_ref(b);
	g->ticket = ticket;
	STAILQ_INSERT_TAIL(&d->given, g, entry);
}

/* At the end of the turn: what waits for the flush goes first. */
void
dedupe_durable(struct engine *e, uint64_t ticket)
{
	struct dedupe *d = e->dedupe;

	if (d == NULL)
		return;
	d->durable = ticket;
	if (!STAILQ_EMPTY(&d->given))
		loop_defer_add(e->loop, &d->write);
}

/* --- what others call --- */

int
dedupe_open(struct engine *e, const struct conf *conf)
{
	const char *path = conf_str(conf, "consensusd", "redis-socket");
	struct dedupe *d;

	if (path == NULL || *path == '\0')
		return 0;
	d = mem_calloc(1, sizeof(*d));
	if (d == NULL)
		return ERR_NOMEM;
	e->dedupe = d;
	d->engine = e;
	d->write = (struct loop_defer){.fn = on_write, .arg = d};
	TAILQ_INIT(&d->wanted);
	TAILQ_INIT(&d->asked);
	STAILQ_INIT(&d->given);
	d->patience = loop_timer_new(e->loop, on_patience, d);
	d->cache = cache_new(e->loop, path, (int)conf_int(conf, "consensusd", "redis-db"),
	    &(const struct cache_callbacks){on_up, on_down, on_recalled, d});
	return d->patience != NULL && d->cache != NULL ? 0 : ERR_NOMEM;
}

void
dedupe_close(struct engine *e)
{
	struct dedupe *d = e->dedupe;
	struct given *g;

	if (d == NULL)
		return;
	cache_free(d->cache);
	loop_timer_free(d->patience);
	loop_defer_del(&d->write);
	while ((g = STAILQ_FIRST(&d->given)) != NULL) {
		STAILQ_REMOVE_HEAD(&d->given, entry);
		batch_unref(g->batch);
		mem_free(g);
	}
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
dedupe_set(struct source *s, uint64_t durable_seq, uint64_t believed_seq)
{
	s->dedupe.durable_seq = durable_seq;
	s->dedupe.believed_seq = believed_seq;
}

void
dedupe_forget(struct source *s, bool closed)
{
	struct dedupe *d = s->engine->dedupe;

	if (d == NULL)
		return;
	unlist(d, s);
	/* If that fails, they go when their time is up. */
	if (closed && cache_remove(d->cache, &s->row.stream_id) != 0)
		log_debug("stream %s: its ids stay in Redis for a while", s->id_text);
}

bool
dedupe_trouble(const struct engine *e, char *text, size_t size)
{
	const struct dedupe *d = e->dedupe;

	if (d == NULL || cache_up(d->cache) || !d->told)
		return false;
	snprintf(text, size,
	    "Redis is away (%s): message ids are remembered by the database only; %llu were not given to it",
	    d->why, (unsigned long long)d->dropped);
	return true;
}
