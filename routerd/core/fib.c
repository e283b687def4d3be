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
}

static void
route_free(struct fib *f, struct fib_route *r)
{
	RB_REMOVE(fib_tree, &f->tree, r);
	f->count--;
	mem_free(r);
}

void
fib_fini(struct fib *f)
{
	struct fib_route *r;

	while ((r = RB_ROOT(&f->tree)) != NULL)
		route_free(f, r);
}

static struct fib_route *
find(struct fib *f, uint64_t destination)
{
	struct fib_route key = {.destination = destination};

	return RB_FIND(fib_tree, &f->tree, &key);
}

const struct fib_route *
fib_get(struct fib *f, uint64_t destination)
{
	return find(f, destination);
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

static void
raise_version(struct fib *f)
{
	if (!f->raised)
		f->version++;
	f->raised = true;
}

void
fib_begin(struct fib *f)
{
	struct fib_route *r;

	f->raised = false;
	RB_FOREACH (r, fib_tree, &f->tree)
		r->fresh = false;
}

int
fib_put(struct fib *f, uint64_t destination, const struct spf_path *path, enum fib_change *change,
    struct fib_route **out)
{
	struct fib_route *r = find(f, destination);

	*change = FIB_CHANGED;
	if (r == NULL) {
		if ((r = mem_calloc(1, sizeof(*r))) == NULL)
			return ERR_NOMEM;
		r->destination = destination;
		RB_INSERT(fib_tree, &f->tree, r);
		f->count++;
		*change = FIB_ADDED;
	} else if (same_hops(&r->path, path)) {
		*change = r->path.cost == path->cost ? FIB_SAME : FIB_COST;
	}
	r->fresh = true;
	*out = r;
	if (*change == FIB_SAME)
		return 0;
	raise_version(f);
	r->path = *path;
	r->path_id = path_hash(path);
	r->version = f->version;
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
