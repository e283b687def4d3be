#include "transportd/core/fib.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"

enum { SLOTS_MIN = 64, CLASS_MASK_ALL = (1 << FRAME_CLASS_COUNT) - 1 };

struct slot {
	uint64_t dst; /* 0: empty */
	struct fib_paths *paths[FRAME_CLASS_COUNT];
};

/* Open addressing with linear probing; at most three quarters full, a power of two. */
struct table {
	struct slot *slots;
	size_t cap, count;
	uint64_t version;
};

struct fib {
	struct table used, next;
	bool collecting;
};

static void
paths_unref(struct fib_paths *p)
{
	if (p != NULL && --p->refs == 0)
		mem_free(p);
}

static void
slot_clear(struct slot *s)
{
	for (unsigned i = 0; i < FRAME_CLASS_COUNT; i++)
		paths_unref(s->paths[i]);
	memset(s, 0, sizeof(*s));
}

static int
table_init(struct table *t, size_t cap)
{
	memset(t, 0, sizeof(*t));
	t->slots = mem_calloc(cap, sizeof(*t->slots));
	if (t->slots == NULL)
		return ERR_NOMEM;
	t->cap = cap;
	return 0;
}

static void
table_fini(struct table *t)
{
	for (size_t i = 0; i < t->cap; i++)
		slot_clear(&t->slots[i]);
	mem_free(t->slots);
	memset(t, 0, sizeof(*t));
}

/* Node ids are hashes, but a node may have looked for one: mix once more (Fibonacci hashing). */
static size_t
home(const struct table *t, uint64_t dst)
{
	return (size_t)((dst * 0x9e3779b97f4a7c15ULL) >> 32) & (t->cap - 1);
}

/* The slot of dst, or the empty one where it would go. */
static struct slot *
find(const struct table *t, uint64_t dst)
{
	size_t i = home(t, dst);

	while (t->slots[i].dst != 0 && t->slots[i].dst != dst)
		i = (i + 1) & (t->cap - 1);
	return &t->slots[i];
}

static int
grow(struct table *t)
{
	struct table bigger;
	int err;

	if ((t->count + 1) * 4 <= t->cap * 3)
		return 0;
	if ((err = table_init(&bigger, t->cap * 2)) != 0)
		return err;
	for (size_t i = 0; i < t->cap; i++)
		if (t->slots[i].dst != 0)
			*find(&bigger, t->slots[i].dst) = t->slots[i];
	bigger.count = t->count;
	bigger.version = t->version;
	mem_free(t->slots);
	*t = bigger;
	return 0;
}

struct fib *
fib_new(void)
{
	struct fib *f = mem_calloc(1, sizeof(*f));

	if (f == NULL)
		return NULL;
	if (table_init(&f->used, SLOTS_MIN) != 0) {
		mem_free(f);
		return NULL;
	}
	return f;
}

void
fib_free(struct fib *f)
{
	if (f == NULL)
		return;
	fib_abort(f);
	table_fini(&f->used);
	mem_free(f);
}

int
fib_begin(struct fib *f)
{
	int err;

	fib_abort(f);
	if ((err = table_init(&f->next, SLOTS_MIN)) != 0)
		return err;
	f->collecting = true;
	return 0;
}

int
fib_end(struct fib *f, uint64_t version)
{
	if (!f->collecting)
		return ERR_STATE;
	table_fini(&f->used);
	f->used = f->next;
	f->used.version = version;
	memset(&f->next, 0, sizeof(f->next));
	f->collecting = false;
	return 0;
}

void
fib_abort(struct fib *f)
{
	if (f->collecting)
		table_fini(&f->next);
	f->collecting = false;
}

static bool
path_valid(const struct fib_path *p, uint64_t dst)
{
	if (p->hop_count == 0 || p->hop_count > FIB_HOPS_MAX || p->hops[p->hop_count - 1] != dst)
		return false;
	for (unsigned i = 0; i < p->hop_count; i++)
		if (p->hops[i] == 0)
			return false;
	return true;
}

static bool
route_valid(uint64_t dst, uint32_t class_mask, const struct fib_path *paths, size_t count)
{
	if (dst == 0 || class_mask == 0 || (class_mask & ~(uint32_t)CLASS_MASK_ALL) != 0 || count == 0 ||
	    count > FIB_PATHS_MAX)
		return false;
	for (size_t i = 0; i < count; i++)
		if (!path_valid(&paths[i], dst))
			return false;
	return true;
}

static struct fib_paths *
paths_copy(const struct fib_path *paths, size_t count, uint64_t version)
{
	struct fib_paths *p = mem_calloc(1, sizeof(*p) + count * sizeof(p->path[0]));

	if (p == NULL)
		return NULL;
	p->refs = 1;
	p->count = (uint32_t)count;
	p->version = version;
	memcpy(p->path, paths, count * sizeof(p->path[0]));
	return p;
}

int
fib_set(struct fib *f, uint64_t dst, uint32_t class_mask, uint64_t version, const struct fib_path *paths,
    size_t count)
{
	struct table *t = f->collecting ? &f->next : &f->used;
	struct fib_paths *p;
	struct slot *s;
	int err;

	if (!route_valid(dst, class_mask, paths, count))
		return ERR_RANGE;
	if ((err = grow(t)) != 0)
		return err;
	s = find(t, dst);
	if (s->dst == 0 && t->count >= FIB_ROUTES_MAX)
		return ERR_FULL;
	p = paths_copy(paths, count, version);
	if (p == NULL)
		return ERR_NOMEM;
	if (s->dst == 0)
		t->count++;
	s->dst = dst;
	for (unsigned i = 0; i < FRAME_CLASS_COUNT; i++) {
		if ((class_mask & (1u << i)) == 0)
			continue;
		paths_unref(s->paths[i]);
		s->paths[i] = p;
		p->refs++;
	}
	paths_unref(p);
	return 0;
}

/* Removal from a probing table: what follows may have to move up into the hole. */
static void
close_hole(struct table *t, size_t hole)
{
	size_t i = hole;

	for (;;) {
		size_t h;

		i = (i + 1) & (t->cap - 1);
		if (t->slots[i].dst == 0)
			return;
		h = home(t, t->slots[i].dst);
		/* Stays if its home lies cyclically in (hole, i]. */
		if (((i - h) & (t->cap - 1)) < ((i - hole) & (t->cap - 1)))
			continue;
		t->slots[hole] = t->slots[i];
		memset(&t->slots[i], 0, sizeof(t->slots[i]));
		hole = i;
	}
}

void
fib_del(struct fib *f, uint64_t dst)
{
	struct table *t = f->collecting ? &f->next : &f->used;
	struct slot *s;

	if (dst == 0)
		return;
	s = find(t, dst);
	if (s->dst == 0)
		return;
	slot_clear(s);
	t->count--;
	close_hole(t, (size_t)(s - t->slots));
}

const struct fib_paths *
fib_get(const struct fib *f, uint64_t dst, uint8_t class)
{
	return dst != 0 && class < FRAME_CLASS_COUNT ? find(&f->used, dst)->paths[class] : NULL;
}

const struct fib_path *
fib_paths_find(const struct fib_paths *p, uint32_t path_id)
{
	for (uint32_t i = 0; i < p->count; i++)
		if (p->path[i].path_id == path_id)
			return &p->path[i];
	return NULL;
}

size_t
fib_count(const struct fib *f)
{
	return f->used.count;
}

uint64_t
fib_version(const struct fib *f)
{
	return f->used.version;
}

void
fib_each(const struct fib *f, uint8_t class, void (*fn)(void *arg, uint64_t dst, const struct fib_paths *p),
    void *arg)
{
	for (size_t i = 0; i < f->used.cap; i++) {
		const struct slot *s = &f->used.slots[i];

		if (s->dst != 0 && s->paths[class] != NULL)
			fn(arg, s->dst, s->paths[class]);
	}
}
