/* memo: see memo.h. */
#include "consensusd/memo.h"

#include <stdio.h>
#include <bsd/sys/queue.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/conf.h"
#include "common/os/log.h"
#include "consensusd/api.h"
#include "consensusd/cache_redis.h"
#include "consensusd/dedupe.h"
#include "consensusd/egress.h"
#include "consensusd/engine.h"
#include "consensusd/source.h"
#include "consensusd/warmth.h"

enum { WHY_BYTES = 128 };

/* A batch on its way through the store. */
struct given {
	STAILQ_ENTRY(given) entry;
	struct batch *batch;
	uint64_t ticket;
};

STAILQ_HEAD(given_list, given);

struct memo {
	struct engine *engine;
	struct cache *cache;
	struct loop_defer write;
	struct given_list given;
	uint64_t durable; /* ticket */
	bool told;        /* that it is away */
	char why[WHY_BYTES];
};

static void
on_up(void *ctx)
{
	struct memo *m = ctx;

	log_at(m->told ? LOG_NOTICE : LOG_INFO, NULL, "Redis connected");
	m->told = false;
	dedupe_up(m->engine);
	spill_up(m->engine);
	warmth_up(m->engine->warmth);
	api_health_changed(m->engine->api);
}

static void
on_down(void *ctx, const char *why)
{
	struct memo *m = ctx;

	snprintf(m->why, sizeof(m->why), "%s", why);
	dedupe_down(m->engine);
	spill_down(m->engine);
	if (m->told)
		return;
	m->told = true;
	log_warn("Redis is away: %s; message ids are remembered by the database only", why);
	api_health_changed(m->engine->api);
}

/* --- what became durable --- */

static void
on_write(void *arg)
{
	struct memo *m = arg;
	struct given *g;
	struct source *s;

	while ((g = STAILQ_FIRST(&m->given)) != NULL && g->ticket <= m->durable) {
		STAILQ_REMOVE_HEAD(&m->given, entry);
		s = source_find(m->engine, &g->batch->stream_id);
		if (s != NULL) {
			dedupe_write(m->engine, s, g->batch);
			spill_durable(s, g->batch);
		}
		batch_unref(g->batch);
		mem_free(g);
	}
}

void
memo_given(struct engine *e, struct batch *b, uint64_t ticket)
{
	struct memo *m = e->memo;
	struct given *g;

	if (m == NULL)
		return;
	g = mem_calloc(1, sizeof(*g));
	if (g == NULL) {
		dedupe_drop(e, b->count);
		return;
	}
	g->batch = batch_ref(b);
	g->ticket = ticket;
	STAILQ_INSERT_TAIL(&m->given, g, entry);
}

/* At the end of the turn: what waits for the flush goes first. */
void
memo_durable(struct engine *e, uint64_t ticket)
{
	struct memo *m = e->memo;

	if (m == NULL)
		return;
	m->durable = ticket;
	if (!STAILQ_EMPTY(&m->given))
		loop_defer_add(e->loop, &m->write);
}

/* --- what others call --- */

int
memo_open(struct engine *e, const struct conf *conf)
{
	const char *path = conf_str(conf, "consensusd", "redis-socket");
	struct memo *m;

	if (path == NULL || *path == '\0')
		return 0;
	m = mem_calloc(1, sizeof(*m));
	if (m == NULL)
		return ERR_NOMEM;
	e->memo = m;
	m->engine = e;
	m->write = (struct loop_defer){.fn = on_write, .arg = m};
	STAILQ_INIT(&m->given);
	m->cache = cache_new(e->loop, path, (int)conf_int(conf, "consensusd", "redis-db"),
	    &(const struct cache_callbacks){on_up, on_down, m});
	if (m->cache == NULL || dedupe_open(e, m->cache) != 0 || spill_open(e, m->cache) != 0 ||
	    egress_open(e, m->cache) != 0)
		return ERR_NOMEM;
	warmth_attach(e->warmth, m->cache);
	memo_configure(e, conf);
	return 0;
}

void
memo_close(struct engine *e)
{
	struct memo *m = e->memo;
	struct given *g;

	if (m == NULL)
		return;
	warmth_attach(e->warmth, NULL);
	egress_close(e);
	spill_close(e);
	dedupe_close(e);
	cache_free(m->cache);
	loop_defer_del(&m->write);
	while ((g = STAILQ_FIRST(&m->given)) != NULL) {
		STAILQ_REMOVE_HEAD(&m->given, entry);
		batch_unref(g->batch);
		mem_free(g);
	}
	mem_free(m);
	e->memo = NULL;
}

void
memo_configure(struct engine *e, const struct conf *conf)
{
	spill_configure(e, conf);
}

void
memo_loaded(struct engine *e)
{
	if (e->memo == NULL)
		return;
	dedupe_loaded(e);
	spill_up(e);
	warmth_up(e->warmth);
}

bool
memo_trouble(const struct engine *e, char *text, size_t size)
{
	const struct memo *m = e->memo;

	if (m == NULL || cache_up(m->cache) || !m->told)
		return false;
	snprintf(text, size,
	    "Redis is away (%s): message ids are remembered by the database only; %llu were not given to it",
	    m->why, (unsigned long long)dedupe_dropped(e));
	return true;
}
