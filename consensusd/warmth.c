/* warmth: see warmth.h. */
#include "consensusd/warmth.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/be.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "consensusd/cache_redis.h"
#include "consensusd/source.h"
#include "consensusd/stats.h"

enum {
	FIELDS_MAX = 8,
	ELEMENT_BYTES_MAX = 64,
	COMMANDS = 4,            /* for one node */
	ASK_BYTES = 512,         /* of two questions */
	WRITE_BYTES = 2048,      /* of all that is written of a node */
	SRTT_MAX_US = 600000000, /* what is above is not the truth */
};

struct warmth {
	struct engine *engine;
	struct cache *cache;
	struct loop_timer *timer;
	bool asked;  /* Redis was, in this life */
	size_t next; /* node whose turn it is to be written */
};

/* What the flows to a node have, taken together. */
struct sum {
	uint64_t flows, measured, cwnd_bytes, granted_bytes, inflight_bytes;
	int64_t srtt_us;
};

static struct sum
sum_of(const struct node *n)
{
	struct sum s = {0};

	for (const struct source_flow *f = n->flows; f != NULL; f = f->next_on_node) {
		s.flows++;
		s.inflight_bytes += f->flow->inflight_bytes;
		if (f->flow->state != FLOW_OPEN || !flow_measured(f->flow) || f->flow->srtt_us == 0)
			continue;
		s.measured++;
		s.cwnd_bytes += f->flow->cwnd_bytes;
		s.granted_bytes += f->flow->granted_bytes;
		s.srtt_us += f->flow->srtt_us;
	}
	return s;
}

static void
measure(struct node *n, const struct sum *s)
{
	if (s->measured == 0)
		return;
	n->warm_cwnd_bytes = s->cwnd_bytes / s->measured;
	n->warm_granted_bytes = s->granted_bytes / s->measured;
	n->warm_srtt_us = s->srtt_us / (int64_t)s->measured;
	n->warm_at = clock_mono();
}

static bool
known(const struct node *n)
{
	return n->warm_cwnd_bytes != 0 && mono_before(clock_mono(), mono_add_ms(n->warm_at, WARMTH_MAX_MS));
}

void
warmth_apply(struct flow *f, const struct node *n)
{
	if (!known(n) || flow_measured(f))
		return;
	flow_warm(f, n->warm_cwnd_bytes / 2, n->warm_srtt_us);
	metric_inc(&stats.warmed);
}

/* --- writing --- */

static void
key_of(char key[CACHE_KEY_SIZE], const char *kind, uint64_t node)
{
	char text[NODEID_TEXT_SIZE];

	nodeid_format(text, node);
	snprintf(key, CACHE_KEY_SIZE, "%s:%s", kind, text);
}

struct field {
	const char *name;
	uint64_t value;
	bool unless_0; /* not measured yet: what was written in an earlier life stays */
};

/* HSET of numbers and the node's name, and until when. */
static int
write_hash(struct warmth *w, const char *kind, const struct node *n, const struct field *fields, size_t count)
{
	char key[CACHE_KEY_SIZE], numbers[FIELDS_MAX][CACHE_NUMBER_SIZE];
	int err;

	MUST(count <= FIELDS_MAX);
	key_of(key, kind, n->id);
	cache_begin(w->cache, "HSET", key);
	cache_arg(w->cache, "name");
	cache_arg(w->cache, n->name);
	for (size_t i = 0; i < count; i++) {
		if (fields[i].unless_0 && fields[i].value == 0)
			continue;
		snprintf(numbers[i], CACHE_NUMBER_SIZE, "%" PRIu64, fields[i].value);
		cache_arg(w->cache, fields[i].name);
		cache_arg(w->cache, numbers[i]);
	}
	err = cache_tell(w->cache);
	return err != 0 ? err : cache_expire(w->cache, key, WARMTH_TTL_S);
}

static int
write_node(struct warmth *w, const struct node *n, const struct sum *s)
{
	const uint64_t now = clock_unix_ms();
	const struct field credits[] = {
	    {"cwnd_bytes", n->warm_cwnd_bytes, true},
	    {"granted_bytes", n->warm_granted_bytes, true},
	    {"inflight_bytes", s->inflight_bytes, false},
	    {"flows", s->flows, false},
	    {"updated_ms", now, false},
	};
	const struct field path[] = {
	    {"srtt_us", (uint64_t)n->warm_srtt_us, true},
	    {"hops", n->hops, false},
	    {"latency_us", n->path_us, false},
	    {"links", n->links, false},
	    {"alive", n->status == NODE_STATUS_ALIVE, false},
	    {"updated_ms", now, false},
	};
	int err = cache_room(w->cache, COMMANDS, WRITE_BYTES);

	if (err == 0)
		err = write_hash(w, "credits", n, credits, sizeof(credits) / sizeof(credits[0]));
	if (err == 0)
		err = write_hash(w, "path", n, path, sizeof(path) / sizeof(path[0]));
	metric_inc(err == 0 ? &stats.redis_paths : &stats.redis_paths_dropped);
	return err;
}

static void
on_timer(void *arg)
{
	struct warmth *w = arg;
	struct nodes *all = &w->engine->nodes;
	size_t written = 0;
	bool full = w->cache == NULL || !cache_up(w->cache);

	for (size_t i = 0; i < all->count; i++) {
		struct node *n = all->all[(w->next + i) % all->count];
		struct sum s = sum_of(n);

		measure(n, &s);
		if (s.flows == 0 || full)
			continue;
		full = written++ == WARMTH_NODES || write_node(w, n, &s) != 0;
		if (full)
			w->next = (w->next + i) % all->count;
	}
	loop_timer_arm_ms(w->timer, WARMTH_MS);
}

/* --- reading --- */

static struct node *
answered(struct warmth *w, const uint8_t about[CACHE_ABOUT_BYTES], const struct redisReply *r, size_t count)
{
	return r != NULL && cache_count(r) == count ? nodes_find(&w->engine->nodes, be_load64(about)) : NULL;
}

/* What this process has measured itself is newer. */
static void
on_credits(void *ctx, const uint8_t about[CACHE_ABOUT_BYTES], const struct redisReply *r)
{
	struct warmth *w = ctx;
	struct node *n = answered(w, about, r, 2);
	uint64_t cwnd, granted;

	if (n == NULL || n->warm_cwnd_bytes != 0 || !cache_text_number(r, 0, &cwnd) ||
	    !cache_text_number(r, 1, &granted))
		return;
	/* The flow bounds it by its own window. */
	if (cwnd > granted)
		cwnd = granted;
	if (cwnd == 0 || cwnd > SIZE_MAX / 4)
		return;
	n->warm_cwnd_bytes = (size_t)cwnd;
	n->warm_granted_bytes = granted;
	n->warm_at = clock_mono();
	metric_inc(&stats.redis_paths_recalled);
}

static void
on_path(void *ctx, const uint8_t about[CACHE_ABOUT_BYTES], const struct redisReply *r)
{
	struct node *n = answered(ctx, about, r, 1);
	uint64_t srtt;

	if (n == NULL || n->warm_srtt_us != 0 || !cache_text_number(r, 0, &srtt) || srtt > SRTT_MAX_US)
		return;
	n->warm_srtt_us = (int64_t)srtt;
}

static int
ask(struct warmth *w, const struct node *n)
{
	struct cache_question q = {
	    .kind = CACHE_LIST, .elements_max = 2, .element_max_bytes = ELEMENT_BYTES_MAX, .ctx = w};
	char key[CACHE_KEY_SIZE];
	int err = cache_room(w->cache, 2, ASK_BYTES);

	if (err != 0)
		return err;
	be_store64(q.about, n->id);
	key_of(key, "credits", n->id);
	cache_begin(w->cache, "HMGET", key);
	cache_arg(w->cache, "cwnd_bytes");
	cache_arg(w->cache, "granted_bytes");
	q.fn = on_credits;
	err = cache_ask(w->cache, &q);
	if (err != 0)
		return err;
	key_of(key, "path", n->id);
	cache_begin(w->cache, "HMGET", key);
	cache_arg(w->cache, "srtt_us");
	q.fn = on_path;
	return cache_ask(w->cache, &q);
}

/* Nodes beyond what may be asked at once begin as if nothing were known. */
void
warmth_up(struct warmth *w)
{
	struct nodes *all = &w->engine->nodes;

	if (w->cache == NULL || !cache_up(w->cache) || !w->engine->loaded || w->asked)
		return;
	w->asked = true;
	for (size_t i = 0; i < all->count; i++) {
		if (all->all[i]->flows != NULL && ask(w, all->all[i]) != 0)
			return;
	}
}

/* --- what others call --- */

struct warmth *
warmth_new(struct engine *e)
{
	struct warmth *w = mem_calloc(1, sizeof(*w));

	if (w == NULL)
		return NULL;
	w->engine = e;
	w->timer = loop_timer_new(e->loop, on_timer, w);
	if (w->timer == NULL) {
		mem_free(w);
		return NULL;
	}
	loop_timer_arm_ms(w->timer, WARMTH_MS);
	return w;
}

void
warmth_free(struct warmth *w)
{
	if (w == NULL)
		return;
	loop_timer_free(w->timer);
	mem_free(w);
}

void
warmth_attach(struct warmth *w, struct cache *c)
{
	w->cache = c;
}
