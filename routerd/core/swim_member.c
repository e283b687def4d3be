#include "routerd/core/swim_member.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/base/tree.h"
#include "routerd/core/swim.h"
#include "routerd/core/swim_broadcast.h"
#include "routerd/core/swim_suspicion.h"

enum { CAP_FIRST = 16, DRAWS_PER_PICK = 8 };

void
swim_members_init(struct swim_members *t, size_t max)
{
	*t = (struct swim_members){.max = max};
	LIST_INIT(&t->suspects);
	LIST_INIT(&t->ended);
}

static void
member_free(struct swim_broadcasts *q, struct swim_member *m)
{
	swim_broadcasts_drop(q, &m->said);
	swim_broadcasts_drop(q, &m->said_meta);
	mem_free(m->suspicion);
	mem_free(m->meta);
	mem_free(m);
}

void
swim_members_fini(struct swim_members *t, struct swim_broadcasts *q)
{
	for (size_t i = 0; i < t->count; i++)
		member_free(q, t->sorted[i]);
	mem_free(t->sorted);
	mem_free(t->order);
	swim_members_init(t, t->max);
}

size_t
swim_members_at(const struct swim_members *t, uint64_t node)
{
	size_t lo = 0, hi = t->count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (t->sorted[mid]->node < node)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct swim_member *
swim_members_get(const struct swim_members *t, uint64_t node)
{
	size_t i = swim_members_at(t, node);

	return i < t->count && t->sorted[i]->node == node ? t->sorted[i] : NULL;
}

static int
grow(struct swim_members *t)
{
	size_t cap = t->cap != 0 ? 2 * t->cap : CAP_FIRST;
	struct swim_member **sorted, **order;

	if (t->count < t->cap)
		return 0;
	if ((sorted = mem_reallocarray(t->sorted, cap, sizeof(struct swim_member *))) == NULL)
		return ERR_NOMEM;
	t->sorted = sorted;
	if ((order = mem_reallocarray(t->order, cap, sizeof(struct swim_member *))) == NULL)
		return ERR_NOMEM;
	t->order = order;
	t->cap = cap;
	return 0;
}

static void
put_order(struct swim_members *t, struct swim_member *m, size_t place)
{
	t->order[place] = m;
	m->place = (uint32_t)place;
}

int
swim_members_add(
    struct swim_members *t, uint64_t node, struct rng *rng, struct mono now, struct swim_member **out)
{
	size_t at = swim_members_at(t, node), place;
	struct swim_member *m;
	int err;

	if (t->count >= t->max)
		return ERR_FULL;
	if ((err = grow(t)) != 0)
		return err;
	if ((m = mem_calloc(1, sizeof(*m))) == NULL)
		return ERR_NOMEM;
	m->node = node;
	m->state = SWIM_STATE_ALIVE;
	m->changed_at = m->heard_at = now;
	memmove(&t->sorted[at + 1], &t->sorted[at], (t->count - at) * sizeof(struct swim_member *));
	t->sorted[at] = m;
	/* A random place; who was there goes to the end. */
	place = rng_below(rng, t->count + 1);
	if (place < t->count)
		put_order(t, t->order[place], t->count);
	put_order(t, m, place);
	t->count++;
	*out = m;
	return 0;
}

void
swim_members_del(struct swim_members *t, struct swim_broadcasts *q, struct swim_member *m)
{
	size_t at = swim_members_at(t, m->node);

	MUST(at < t->count && t->sorted[at] == m);
	if (m->state != SWIM_STATE_ALIVE)
		LIST_REMOVE(m, ends);
	t->count--;
	memmove(&t->sorted[at], &t->sorted[at + 1], (t->count - at) * sizeof(struct swim_member *));
	if (m->place < t->count)
		put_order(t, t->order[t->count], m->place);
	member_free(q, m);
}

bool
swim_member_there(const struct swim_member *m)
{
	return m->state <= SWIM_STATE_SUSPECT && m->linked != SWIM_LINK_NONE;
}

static void
shuffle(struct swim_members *t, struct rng *rng)
{
	for (size_t i = t->count; i > 1; i--) {
		size_t j = rng_below(rng, i);
		struct swim_member *m = t->order[i - 1];

		put_order(t, t->order[j], i - 1);
		put_order(t, m, j);
	}
}

struct swim_member *
swim_members_next(struct swim_members *t, struct rng *rng, const struct swim_member *self)
{
	for (size_t n = 0; n < t->count; n++) {
		struct swim_member *m;

		if (t->cursor >= t->count) {
			shuffle(t, rng);
			t->cursor = 0;
		}
		m = t->order[t->cursor++];
		if (m != self && swim_member_there(m))
			return m;
	}
	return NULL;
}

struct swim_member *
swim_members_near(struct swim_members *t, const struct swim_member *self)
{
	for (size_t n = 0; n < t->count; n++) {
		struct swim_member *m;

		if (t->near_cursor >= t->count)
			t->near_cursor = 0;
		m = t->order[t->near_cursor++];
		if (m->neighbour && m != self && swim_member_there(m))
			return m;
	}
	return NULL;
}

static bool
among(struct swim_member *const *list, size_t n, const struct swim_member *m)
{
	for (size_t i = 0; i < n; i++)
		if (list[i] == m)
			return true;
	return false;
}

size_t
swim_members_random(struct swim_members *t, struct rng *rng, const struct swim_member *but,
    const struct swim_member *nor, size_t want, struct swim_member **out)
{
	size_t n = 0;

	for (size_t draw = 0; t->count != 0 && n < want && draw < want * DRAWS_PER_PICK; draw++) {
		struct swim_member *m = t->order[rng_below(rng, t->count)];

		if (m != but && m != nor && swim_member_there(m) && !among(out, n, m))
			out[n++] = m;
	}
	return n;
}

uint8_t
swim_member_told_state(const struct swim_member *m)
{
	if (m->by_links)
		return SWIM_STATE_ALIVE;
	return m->goodbye ? SWIM_STATE_LEFT : m->state;
}

/* The finaliser of splitmix64: every input bit reaches every output bit. */
static uint64_t
mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

uint64_t
swim_members_sum(const struct swim_members *t)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < t->count; i++) {
		const struct swim_member *m = t->sorted[i];

		/* Mixed in one by one: alive at the next incarnation must not look like suspect at this. */
		sum += mix(
		    mix(mix(mix(m->node) + m->incarnation) + swim_member_told_state(m)) + m->meta_version);
	}
	return sum;
}
