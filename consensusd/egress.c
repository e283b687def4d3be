/* egress: see egress.h. */
#include "consensusd/egress.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/cache_redis.h"
#include "consensusd/source_impl.h"
#include "consensusd/stats.h"

enum { MEMBER_BYTES = 80 /* on the wire */ };

struct egress {
	struct engine *engine;
	struct cache *cache;
	struct loop_timer *timer;
	size_t next; /* node whose turn it is */
	/* Scratch, for one node. */
	const struct source_flow *flows[EGRESS_STREAMS_MAX];
	size_t count;
	char scores[EGRESS_STREAMS_MAX][CACHE_NUMBER_SIZE];
};

/* The place where f goes among the flows that are there, the highest first. */
static size_t
place_of(const struct egress *g, const struct source_flow *f)
{
	size_t low = 0, high = g->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (source_flow_compare(g->flows[mid], f) <= 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* Those that have something for n. */
static void
gather(struct egress *g, const struct node *n)
{
	g->count = 0;
	for (const struct source_flow *f = n->flows; f != NULL; f = f->next_on_node) {
		size_t at;

		if (f->flow->processed >= f->source->stream->durable_seq)
			continue;
		at = place_of(g, f);
		if (at == EGRESS_STREAMS_MAX)
			continue;
		if (g->count < EGRESS_STREAMS_MAX)
			g->count++;
		for (size_t i = g->count - 1; i > at; i--)
			g->flows[i] = g->flows[i - 1];
		g->flows[at] = f;
	}
}

/* A whole set in place of the one before, which is never seen half. */
static int
replace(struct egress *g, const char *key)
{
	char fresh[CACHE_KEY_SIZE + 4];
	int err;

	snprintf(fresh, sizeof(fresh), "%s:new", key);
	cache_begin(g->cache, "DEL", fresh);
	err = cache_tell(g->cache);
	if (err != 0)
		return err;
	cache_begin(g->cache, "ZADD", fresh);
	for (size_t i = 0; i < g->count; i++) {
		snprintf(g->scores[i], CACHE_NUMBER_SIZE, "%d", (int)g->flows[i]->source->row.priority);
		cache_arg(g->cache, g->scores[i]);
		cache_arg(g->cache, g->flows[i]->source->id_text);
	}
	err = cache_tell(g->cache);
	if (err == 0)
		err = cache_expire(g->cache, fresh, EGRESS_TTL_S);
	if (err != 0)
		return err;
	cache_begin(g->cache, "RENAME", fresh);
	cache_arg(g->cache, key);
	return cache_ask(g->cache, &(const struct cache_question){.kind = CACHE_OK});
}

static int
write_node(struct egress *g, const struct node *n)
{
	char key[CACHE_KEY_SIZE], text[NODEID_TEXT_SIZE];
	int err;

	gather(g, n);
	if (g->count == 0)
		return 0; /* what there is expires */
	err = cache_room(g->cache, 4, (size_t)4 * CACHE_COMMAND_BYTES + g->count * MEMBER_BYTES);
	nodeid_format(text, n->id);
	snprintf(key, sizeof(key), "queue:egress:%s", text);
	if (err == 0)
		err = replace(g, key);
	metric_inc(err == 0 ? &stats.redis_egress : &stats.redis_egress_dropped);
	return err;
}

static void
on_timer(void *arg)
{
	struct egress *g = arg;
	const struct nodes *all = &g->engine->nodes;
	size_t written = 0;

	for (size_t i = 0; i < all->count && written < EGRESS_NODES && cache_up(g->cache); i++) {
		g->next = (g->next + 1) % all->count;
		if (all->all[g->next]->flows == NULL)
			continue;
		if (write_node(g, all->all[g->next]) != 0)
			break;
		written += g->count > 0;
	}
	loop_timer_arm_ms(g->timer, EGRESS_MS);
}

void
egress_node_down(struct engine *e, const struct node *n)
{
	struct egress *g = e->egress;

	if (g != NULL && n->flows != NULL && cache_up(g->cache) && write_node(g, n) != 0)
		loop_timer_arm_ms(g->timer, EGRESS_MS); /* then */
}

int
egress_open(struct engine *e, struct cache *cache)
{
	struct egress *g = mem_calloc(1, sizeof(*g));

	if (g == NULL)
		return ERR_NOMEM;
	e->egress = g;
	g->engine = e;
	g->cache = cache;
	g->timer = loop_timer_new(e->loop, on_timer, g);
	if (g->timer == NULL)
		return ERR_NOMEM;
	loop_timer_arm_ms(g->timer, EGRESS_MS);
	return 0;
}

void
egress_close(struct engine *e)
{
	if (e->egress == NULL)
		return;
	loop_timer_free(e->egress->timer);
	mem_free(e->egress);
	e->egress = NULL;
}
