#include "routerd/core/fib.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"

static int
route_compare(const struct fib_route *a, const struct fib_route *b)
{
	return a->destination < b->destination ? -1 : a->destination > b->destination;
}

RB_GENERATE_INTERNAL(fib_tree, fib_route, link, route_compare, __attribute__((unused)) static)

void
fib_init(struct fib *f)
{
	*f = (struct fib){0};
	RB_INIT(&f->tree);
	TAILQ_INIT(&f->urgent);
	TAILQ_INIT(&f->background);
}

static void
route_free(struct fib *f, struct fib_route *r)
{
	fib_unqueue(f, r);
	RB_REMOVE(fib_tree, &f->tree, r);
	f->count--;
	for (size_t i = 0; i < COST_PROFILES_MAX; i++) {
		if (r->paths[i] != NULL)
			f->paths -= r->paths[i]->count;
		mem_free(r->paths[i]);
	}
	mem_free(r);
}

void
fib_fini(struct fib *f)
{
	struct fib_route *r;

	while ((r = RB_ROOT(&f->tree)) != NULL)
		route_free(f, r);
}

struct fib_route *
fib_find(struct fib *f, uint64_t destination)
{
	struct fib_route key = {.destination = destination};

	return RB_FIND(fib_tree, &f->tree, &key);
}

const struct fib_route *
fib_get(struct fib *f, uint64_t destination)
{
	return fib_find(f, destination);
}

const struct fib_route *
fib_from(struct fib *f, uint64_t destination)
{
	struct fib_route key = {.destination = destination};

	return RB_NFIND(fib_tree, &f->tree, &key);
}

const struct fib_route *
fib_next(struct fib *f, const struct fib_route *r)
{
	(void)f;
	return RB_NEXT(fib_tree, &f->tree, (struct fib_route *)(uintptr_t)r);
}

/* FNV-1a over the hops: a name, not a secret; 0 means no path. */
static uint32_t
path_hash(const struct spf_path *p)
{
	uint32_t h = 2166136261u;

	for (uint32_t i = 0; i < p->hop_count; i++)
		for (unsigned shift = 0; shift < 64; shift += 8)
			h = (h ^ (uint8_t)(p->hops[i] >> shift)) * 16777619u;
	return h != 0 ? h : 1;
}

static bool
same_hops(const struct spf_path *a, const struct spf_path *b)
{
	return a->hop_count == b->hop_count &&
	       memcmp(a->hops, b->hops, a->hop_count * sizeof(a->hops[0])) == 0;
}

void
fib_turn(struct fib *f)
{
	f->raised = false;
}

void
fib_begin(struct fib *f)
{
	struct fib_route *r;

	fib_turn(f);
	RB_FOREACH (r, fib_tree, &f->tree)
		r->fresh = false;
}

static void
raise_version(struct fib *f)
{
	if (!f->raised)
		f->version++;
	f->raised = true;
}

struct fib_route *
fib_add(struct fib *f, uint64_t destination)
{
	struct fib_route *r = fib_find(f, destination);

	if (r != NULL)
		return r;
	if ((r = mem_calloc(1, sizeof(*r))) == NULL)
		return NULL;
	r->destination = destination;
	RB_INSERT(fib_tree, &f->tree, r);
	f->count++;
	return r;
}

void
fib_keep(struct fib_route *r)
{
	r->fresh = true;
}

/* --- the paths of a route --- */

static uint32_t
weight(uint32_t cost, uint32_t least)
{
	uint64_t w = cost != 0 ? (uint64_t)FIB_WEIGHT_MAX * least / cost : FIB_WEIGHT_MAX;

	return w != 0 ? (uint32_t)w : 1;
}

static uint32_t
least_cost(const struct spf_path *paths, size_t count)
{
	uint32_t least = UINT32_MAX;

	for (size_t i = 0; i < count; i++)
		least = paths[i].cost < least ? paths[i].cost : least;
	return least;
}

/* Does the weight that a path has differ too much from the one that it should have? */
static bool
is_off(uint32_t has, uint32_t should)
{
	uint64_t off = has > should ? has - should : should - has;

	return off * 100 > (uint64_t)should * FIB_WEIGHT_SLACK_PERCENT;
}

static enum fib_change
compare(const struct fib_paths *old, const struct spf_path *paths, size_t count)
{
	enum fib_change change = FIB_SAME;
	uint32_t least = least_cost(paths, count);

	if (old == NULL || old->count == 0)
		return FIB_ADDED;
	if (!same_hops(&old->path[0].path, &paths[0]))
		return FIB_CHANGED;
	if (old->count != count)
		return FIB_ALTERNATIVES;
	for (size_t i = 0; i < count; i++) {
		if (!same_hops(&old->path[i].path, &paths[i]))
			return FIB_ALTERNATIVES;
		if (is_off(old->path[i].weight, weight(paths[i].cost, least)))
			change = FIB_COST;
	}
	return change;
}

static void
fill(struct fib_paths *p, const struct spf_path *paths, size_t count)
{
	uint32_t least = least_cost(paths, count);

	p->count = (uint32_t)count;
	for (size_t i = 0; i < count; i++)
		p->path[i] = (struct fib_path){path_hash(&paths[i]), weight(paths[i].cost, least), paths[i]};
}

static void
note_costs(struct fib_paths *p, const struct spf_path *paths)
{
	for (uint32_t i = 0; i < p->count; i++)
		p->path[i].path.cost = paths[i].cost;
}

int
fib_set(struct fib *f, struct fib_route *r, size_t profile, const struct spf_path *paths, size_t count,
    enum fib_change *change)
{
	struct fib_paths *p = r->paths[profile];

	MUST(profile < COST_PROFILES_MAX && count >= 1 && count <= ROUTE_PATHS_MAX);
	r->fresh = true;
	*change = compare(p, paths, count);
	if (*change == FIB_SAME) {
		note_costs(p, paths);
		return 0;
	}
	if (p == NULL || p->cap < count) {
		if ((p = mem_calloc(1, sizeof(*p) + count * sizeof(p->path[0]))) == NULL)
			return ERR_NOMEM;
		p->cap = (uint32_t)count;
		p->count = r->paths[profile] != NULL ? r->paths[profile]->count : 0;
		mem_free(r->paths[profile]);
		r->paths[profile] = p;
	}
	f->paths += count - p->count;
	fill(p, paths, count);
	raise_version(f);
	p->version = f->version;
	return 0;
}

void
fib_end(struct fib *f, void (*fn)(void *arg, const struct fib_route *gone), void *arg)
{
	struct fib_route *r, *next;

	RB_FOREACH_SAFE (r, fib_tree, &f->tree, next) {
		if (r->fresh)
			continue;
		raise_version(f);
		fn(arg, r);
		route_free(f, r);
	}
}

/* --- queues --- */

void
fib_queue(struct fib *f, struct fib_route *r, enum fib_queue queue)
{
	struct fib_route_list *list;

	MUST(queue == FIB_URGENT || queue == FIB_BACKGROUND);
	if (r->queue == FIB_URGENT || r->queue == queue)
		return;
	list = queue == FIB_URGENT ? &f->urgent : &f->background;
	fib_unqueue(f, r);
	if (r->used)
		TAILQ_INSERT_HEAD(list, r, queued);
	else
		TAILQ_INSERT_TAIL(list, r, queued);
	r->queue = (uint8_t)queue;
	f->waiting++;
}

void
fib_queue_all(struct fib *f)
{
	struct fib_route *r;

	RB_FOREACH (r, fib_tree, &f->tree)
		fib_queue(f, r, FIB_BACKGROUND);
}

void
fib_unqueue(struct fib *f, struct fib_route *r)
{
	if (r->queue == FIB_IDLE)
		return;
	TAILQ_REMOVE(r->queue == FIB_URGENT ? &f->urgent : &f->background, r, queued);
	r->queue = FIB_IDLE;
	f->waiting--;
}

struct fib_route *
fib_waiting(struct fib *f)
{
	struct fib_route *r = TAILQ_FIRST(&f->urgent);

	return r != NULL ? r : TAILQ_FIRST(&f->background);
}
