#include "routerd/core/swim_member.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/base/tree.h"
#include "routerd/core/swim.h"
#include "routerd/core/swim_broadcast.h"
#include "routerd/core/swim_meta_body.h"
#include "routerd/core/swim_suspicion.h"

enum { CAP_FIRST = 16, DRAWS_PER_PICK = 8 };

_Static_assert(SWIM_RTT_MAX_US < 1 << 24, "round trip times fit");
_Static_assert(SWIM_STATE_COUNT <= 4, "states fit");
_Static_assert(sizeof(struct swim_member) == 64, "a cache line: there are thousands");

void
swim_members_init(struct swim_members *t, size_t max)
{
	*t = (struct swim_members){
	    .max = max, .unused = SWIM_NOBODY, .suspects = SWIM_NOBODY, .ended = SWIM_NOBODY};
}

struct swim_member *
swim_members_nth(const struct swim_members *t, uint32_t number)
{
	return number != SWIM_NOBODY ? &t->blocks[number / SWIM_BLOCK][number % SWIM_BLOCK] : NULL;
}

struct swim_member *
swim_members_sorted(const struct swim_members *t, size_t index)
{
	return swim_members_nth(t, t->sorted[index]);
}

static uint32_t
number_of(const struct swim_members *t, const struct swim_member *m)
{
	return t->order[m->place];
}

/* What it has elsewhere. */
static void
member_fini(struct swim_broadcasts *q, struct swim_member *m)
{
	swim_broadcasts_drop(q, SWIM_TOPIC_STATE, m->node);
	swim_broadcasts_drop(q, SWIM_TOPIC_META, m->node);
	mem_free(swim_member_suspicion(m));
	swim_meta_body_unref(m->meta);
}

void
swim_members_fini(struct swim_members *t, struct swim_broadcasts *q)
{
	for (size_t i = 0; i < t->count; i++)
		member_fini(q, swim_members_sorted(t, i));
	for (size_t i = 0; i < t->block_count; i++)
		mem_free(t->blocks[i]);
	mem_free(t->blocks);
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

		if (swim_members_sorted(t, mid)->node < node)
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
	struct swim_member *m = i < t->count ? swim_members_sorted(t, i) : NULL;

	return m != NULL && m->node == node ? m : NULL;
}

/* --- room --- */

static int
grow_lists(struct swim_members *t)
{
	size_t cap = t->cap != 0 ? 2 * t->cap : CAP_FIRST;
	uint32_t *sorted, *order;

	if (t->count < t->cap)
		return 0;
	if ((sorted = mem_reallocarray(t->sorted, cap, sizeof(*sorted))) == NULL)
		return ERR_NOMEM;
	t->sorted = sorted;
	if ((order = mem_reallocarray(t->order, cap, sizeof(*order))) == NULL)
		return ERR_NOMEM;
	t->order = order;
	t->cap = cap;
	return 0;
}

static int
grow_blocks(struct swim_members *t)
{
	size_t cap = t->block_cap != 0 ? 2 * t->block_cap : CAP_FIRST;
	struct swim_member **blocks;

	if (t->block_count < t->block_cap)
		return 0;
	if ((blocks = mem_reallocarray(t->blocks, cap, sizeof(struct swim_member *))) == NULL)
		return ERR_NOMEM;
	t->blocks = blocks;
	t->block_cap = cap;
	return 0;
}

/* There is a place that is free. */
static int
make_room(struct swim_members *t)
{
	struct swim_member *block;
	int err;

	if ((err = grow_lists(t)) != 0 || t->unused != SWIM_NOBODY)
		return err;
	if ((err = grow_blocks(t)) != 0)
		return err;
	if ((block = mem_calloc(SWIM_BLOCK, sizeof(*block))) == NULL)
		return ERR_NOMEM;
	for (uint32_t i = SWIM_BLOCK; i > 0; i--) {
		block[i - 1].after = t->unused;
		t->unused = (uint32_t)t->block_count * SWIM_BLOCK + i - 1;
	}
	t->blocks[t->block_count++] = block;
	return 0;
}

static void
put_order(struct swim_members *t, uint32_t number, size_t place)
{
	t->order[place] = number;
	swim_members_nth(t, number)->place = (uint32_t)place;
}

int
swim_members_add(
    struct swim_members *t, uint64_t node, struct rng *rng, struct mono now, struct swim_member **out)
{
	size_t at = swim_members_at(t, node), place;
	struct swim_member *m;
	uint32_t number;
	int err;

	if (t->count >= t->max)
		return ERR_FULL;
	if ((err = make_room(t)) != 0)
		return err;
	number = t->unused;
	m = swim_members_nth(t, number);
	t->unused = m->after;
	*m = (struct swim_member){.node = node, .state = SWIM_STATE_ALIVE, .u.since = now};
	m->told_ms = (uint32_t)(now.us / 1000) - SWIM_TELL_US / 1000;
	memmove(&t->sorted[at + 1], &t->sorted[at], (t->count - at) * sizeof(t->sorted[0]));
	t->sorted[at] = number;
	/* A random place; who was there goes to the end. */
	place = rng_below(rng, t->count + 1);
	if (place < t->count)
		put_order(t, t->order[place], t->count);
	put_order(t, number, place);
	t->count++;
	*out = m;
	return 0;
}

/* --- lists of those that are not alive --- */

static uint32_t *
list_of(struct swim_members *t, const struct swim_member *m)
{
	return m->state == SWIM_STATE_SUSPECT ? &t->suspects : &t->ended;
}

static void
list_del(struct swim_members *t, struct swim_member *m)
{
	struct swim_member *before, *after = swim_members_nth(t, m->after);

	if (m->state == SWIM_STATE_ALIVE)
		return;
	if (after != NULL)
		after->before = m->before;
	if ((before = swim_members_nth(t, m->before)) != NULL)
		before->after = m->after;
	else
		*list_of(t, m) = m->after;
}

static void
list_add(struct swim_members *t, struct swim_member *m)
{
	uint32_t *first = list_of(t, m);

	if (m->state == SWIM_STATE_ALIVE)
		return;
	m->before = SWIM_NOBODY;
	m->after = *first;
	if (*first != SWIM_NOBODY)
		swim_members_nth(t, *first)->before = number_of(t, m);
	*first = number_of(t, m);
}

void
swim_members_set_state(struct swim_members *t, struct swim_member *m, uint8_t state,
    struct swim_suspicion *suspicion, struct mono now)
{
	MUST((suspicion != NULL) == (state == SWIM_STATE_SUSPECT));
	list_del(t, m);
	mem_free(swim_member_suspicion(m));
	m->state = state & 3u;
	if (suspicion != NULL)
		m->u.suspicion = suspicion;
	else
		m->u.since = now;
	list_add(t, m);
}

void
swim_members_del(struct swim_members *t, struct swim_broadcasts *q, struct swim_member *m)
{
	size_t at = swim_members_at(t, m->node);
	uint32_t number = number_of(t, m);

	MUST(at < t->count && t->sorted[at] == number);
	list_del(t, m);
	t->count--;
	memmove(&t->sorted[at], &t->sorted[at + 1], (t->count - at) * sizeof(t->sorted[0]));
	if (m->place < t->count)
		put_order(t, t->order[t->count], m->place);
	member_fini(q, m);
	m->after = t->unused;
	t->unused = number;
}

/* --- who is probed --- */

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
		uint32_t number = t->order[i - 1];

		put_order(t, t->order[j], i - 1);
		put_order(t, number, j);
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
		m = swim_members_nth(t, t->order[t->cursor++]);
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
		m = swim_members_nth(t, t->order[t->near_cursor++]);
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
		struct swim_member *m = swim_members_nth(t, t->order[rng_below(rng, t->count)]);

		if (m != but && m != nor && swim_member_there(m) && !among(out, n, m))
			out[n++] = m;
	}
	return n;
}

/* --- a member --- */

struct swim_suspicion *
swim_member_suspicion(const struct swim_member *m)
{
	return m->state == SWIM_STATE_SUSPECT ? m->u.suspicion : NULL;
}

struct mono
swim_member_since(const struct swim_member *m)
{
	return m->state == SWIM_STATE_SUSPECT ? m->u.suspicion->began : m->u.since;
}

void
swim_member_heard(struct swim_member *m, struct mono now)
{
	struct swim_suspicion *sus = swim_member_suspicion(m);

	m->seen_at = now;
	if (sus != NULL)
		sus->heard_at = now;
}

uint64_t
swim_member_meta_version(const struct swim_member *m)
{
	return m->meta != NULL ? m->meta->version : 0;
}

uint8_t
swim_member_told_state(const struct swim_member *m)
{
	if (m->by_links)
		return SWIM_STATE_ALIVE;
	return m->goodbye ? SWIM_STATE_LEFT : (uint8_t)m->state;
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
		const struct swim_member *m = swim_members_sorted(t, i);

		/* Mixed in one by one: alive at the next incarnation must not look like suspect at this. */
		sum += mix(mix(mix(mix(m->node) + m->incarnation) + swim_member_told_state(m)) +
			   swim_member_meta_version(m));
	}
	return sum;
}
