/* idwindow: see idwindow.h. */
#include "consensusd/core/idwindow.h"

#include <string.h>

#include "common/base/be.h"
#include "common/base/err.h"
#include "common/base/mem.h"

enum {
	CAP_MIN = 16,
	DUE_PARTS = 16, /* of a window: so much is given up before the shell is told */
};

void
idwindows_init(
    struct idwindows *all, uint32_t window_max, uint32_t total_max, uint32_t numbered_max, uint64_t seed)
{
	*all = (struct idwindows){.window_max = window_max, .total_max = total_max, .seed = seed};
	for (int i = 0; i < IDWINDOW_CLASSES; i++)
		TAILQ_INIT(&all->classes[i]);
	TAILQ_INIT(&all->dues);
	idcache_init(&all->numbered, numbered_max, seed);
}

void
idwindows_fini(struct idwindows *all)
{
	MUST(all->total == 0);
	idcache_fini(&all->numbered);
}

/* --- the lists --- */

static int
class_of(uint32_t count)
{
	int bits = 0;

	while (count > 1) {
		count >>= 1;
		bits++;
	}
	return bits;
}

/* Its length is another now. */
static void
set_count(struct idwindow *w, uint32_t count)
{
	struct idwindows *all = w->all;

	all->total = all->total - w->count + count;
	/* The highest bit is the same. */
	if ((w->count & count) > (w->count ^ count)) {
		w->count = count;
		return;
	}
	if (w->count != 0)
		TAILQ_REMOVE(&all->classes[class_of(w->count)], w, entry);
	w->count = count;
	if (count != 0)
		TAILQ_INSERT_TAIL(&all->classes[class_of(count)], w, entry);
}

static void
due_set(struct idwindow *w)
{
	uint32_t part = w->all->window_max / DUE_PARTS;

	if (w->due || w->forgotten_seq - w->pruned_seq < part)
		return;
	w->due = true;
	TAILQ_INSERT_TAIL(&w->all->dues, w, due_entry);
}

struct idwindow *
idwindows_due(struct idwindows *all)
{
	struct idwindow *w = TAILQ_FIRST(&all->dues);

	if (w == NULL)
		return NULL;
	TAILQ_REMOVE(&all->dues, w, due_entry);
	w->due = false;
	return w;
}

/* --- the ring --- */

static uint32_t
place(const struct idwindow *w, uint32_t i)
{
	return (w->first + i) & (w->cap - 1);
}

static uint32_t *
bucket_of(const struct idwindow *w, const struct ulid *id)
{
	uint64_t h = w->all->seed;

	h = (h ^ be_load64(id->b)) * 0x9e3779b97f4a7c15u;
	h = (h ^ h >> 32 ^ be_load64(id->b + 8)) * 0x9e3779b97f4a7c15u;
	h ^= h >> 32;
	return &w->buckets[h & (w->cap - 1)];
}

static void
link_in(struct idwindow *w, uint32_t at)
{
	uint32_t *bucket = bucket_of(w, &w->ring[at].id);

	w->ring[at].next = *bucket;
	*bucket = at + 1;
}

static void
unlink_from(struct idwindow *w, uint32_t at)
{
	uint32_t *link = bucket_of(w, &w->ring[at].id);

	while (*link != at + 1)
		link = &w->ring[*link - 1].next;
	*link = w->ring[at].next;
}

static int
resize(struct idwindow *w, uint32_t cap)
{
	struct idwindow_entry *ring = mem_calloc(cap, sizeof(*ring));
	uint32_t *buckets = mem_calloc(cap, sizeof(*buckets));

	if (ring == NULL || buckets == NULL) {
		mem_free(ring);
		mem_free(buckets);
		return ERR_NOMEM;
	}
	for (uint32_t i = 0; i < w->count; i++)
		ring[i] = w->ring[place(w, i)];
	mem_free(w->ring);
	mem_free(w->buckets);
	w->ring = ring;
	w->buckets = buckets;
	w->cap = cap;
	w->first = 0;
	for (uint32_t i = 0; i < w->count; i++)
		link_in(w, i);
	return 0;
}

/* What it takes follows what is there, as the limit of all counts ids; without memory it stays. */
static void
drop_oldest(struct idwindow *w)
{
	w->forgotten_seq = w->ring[w->first].seq;
	unlink_from(w, w->first);
	w->first = place(w, 1);
	set_count(w, w->count - 1);
	due_set(w);
	if (w->cap > CAP_MIN && w->count < w->cap / 8 * 3)
		(void)!resize(w, w->cap / 2);
}

/* Of the longest windows the first one is shorter by one, and is the last one among them then. */
static void
give_up(struct idwindows *all)
{
	struct idwindow_list *list = &all->classes[IDWINDOW_CLASSES - 1];
	struct idwindow *w;

	while (TAILQ_EMPTY(list))
		list--;
	w = TAILQ_FIRST(list);
	TAILQ_REMOVE(list, w, entry);
	TAILQ_INSERT_TAIL(list, w, entry);
	drop_oldest(w);
	all->given_up++;
}

int
idwindow_reserve(struct idwindow *w, struct idwindows *all)
{
	w->all = all;
	if (w->count < w->cap || w->count >= all->window_max)
		return 0;
	return resize(w, w->cap == 0 ? CAP_MIN : w->cap * 2);
}

void
idwindow_add(struct idwindow *w, const struct ulid *id, uint64_t seq)
{
	struct idwindows *all = w->all;
	uint32_t at;

	while (w->count > 0 && w->count >= all->window_max)
		drop_oldest(w);
	while (all->total > 0 && all->total >= all->total_max)
		give_up(all);
	MUST(w->count < w->cap && (w->count == 0 || seq > w->ring[place(w, w->count - 1)].seq));
	at = place(w, w->count);
	w->ring[at] = (struct idwindow_entry){.id = *id, .seq = seq};
	link_in(w, at);
	set_count(w, w->count + 1);
}

bool
idwindow_find(const struct idwindow *w, const struct ulid *id, uint64_t *seq)
{
	uint32_t at;

	if (w->count == 0)
		return false;
	for (at = *bucket_of(w, id); at != 0; at = w->ring[at - 1].next) {
		if (memcmp(w->ring[at - 1].id.b, id->b, ULID_BYTES) == 0) {
			*seq = w->ring[at - 1].seq;
			return true;
		}
	}
	return false;
}

bool
idwindow_at(const struct idwindow *w, uint64_t seq, struct ulid *id)
{
	uint32_t low = 0, high = w->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (w->ring[place(w, middle)].seq < seq)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == w->count || w->ring[place(w, low)].seq != seq)
		return false;
	*id = w->ring[place(w, low)].id;
	return true;
}

void
idwindow_cut(struct idwindow *w, uint64_t seq)
{
	while (w->count > 0 && w->ring[place(w, w->count - 1)].seq >= seq) {
		unlink_from(w, place(w, w->count - 1));
		set_count(w, w->count - 1);
	}
}

void
idwindow_fini(struct idwindow *w)
{
	if (w->all == NULL)
		return;
	set_count(w, 0);
	if (w->due)
		TAILQ_REMOVE(&w->all->dues, w, due_entry);
	mem_free(w->ring);
	mem_free(w->buckets);
	*w = (struct idwindow){.owner = w->owner};
}
