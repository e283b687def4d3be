#include "transportd/core/spread.h"

#include <limits.h>

#include "common/base/mem.h"
#include "common/base/num.h"

/* Where a stream is now. */
struct slot {
	uint64_t key;
	uint32_t path_id;
	struct mono used, since;
};

struct spread {
	struct slot slots[SPREAD_FLOWS];
};

enum { NONE = -1, RATE_MAX = INT32_MAX, WEIGHT_MAX = UINT16_MAX };

struct spread *
spread_new(void)
{
	return mem_calloc(1, sizeof(struct spread));
}

void
spread_free(struct spread *s)
{
	mem_free(s);
}

/* --- which may be chosen --- */

static unsigned
least_badness(const struct spread_path *paths, size_t count)
{
	unsigned least = UINT_MAX;

	for (size_t i = 0; i < count; i++)
		if (paths[i].alive && paths[i].badness < least)
			least = paths[i].badness;
	return least;
}

static bool
eligible(const struct spread_path *p, unsigned least)
{
	return p->alive && p->badness == least;
}

bool
spread_room(const struct spread_path *paths, size_t count)
{
	unsigned least = least_badness(paths, count);
	bool any = false;

	for (size_t i = 0; i < count; i++) {
		if (!eligible(&paths[i], least))
			continue;
		if (!paths[i].full)
			return true;
		any = true;
	}
	return !any;
}

static bool
easy(const struct spread_path *p)
{
	return !p->full && p->in_flight <= p->window / 2;
}

/* --- shares --- */

static uint64_t
weight_of(const struct spread_path *p)
{
	return min_u64(max_u64(p->weight, 1), WEIGHT_MAX);
}

/* Weights in a common unit: rates where they are known, else in proportion to those. */
static void
shares(const struct spread_path *paths, size_t count, unsigned least, uint64_t *share, uint64_t *total)
{
	uint64_t rates = 0, weights = 0;

	for (size_t i = 0; i < count; i++)
		if (eligible(&paths[i], least) && paths[i].rate != 0) {
			rates += min_u64(paths[i].rate, RATE_MAX);
			weights += weight_of(&paths[i]);
		}
	*total = 0;
	for (size_t i = 0; i < count; i++) {
		uint64_t weight = weight_of(&paths[i]);

		share[i] = 0;
		if (!eligible(&paths[i], least))
			continue;
		if (paths[i].rate != 0)
			share[i] = min_u64(paths[i].rate, RATE_MAX);
		else
			share[i] = rates != 0 ? max_u64(weight * (rates / weights), 1) : weight;
		share[i] = min_u64(share[i], RATE_MAX);
		*total += share[i];
	}
}

static int64_t
bounded(int64_t credit)
{
	if (credit > SPREAD_CREDIT_BYTES)
		return SPREAD_CREDIT_BYTES;
	return credit < -SPREAD_CREDIT_BYTES ? -SPREAD_CREDIT_BYTES : credit;
}

/* Each gets its share of the bytes, and the chosen one pays for all of them. */
static void
account(struct spread_path *paths, size_t count, unsigned least, int chosen, size_t bytes)
{
	uint64_t share[FIB_PATHS_MAX], total;

	shares(paths, count, least, share, &total);
	for (size_t i = 0; i < count; i++) {
		if (!eligible(&paths[i], least))
			continue;
		paths[i].credit += (int64_t)(share[i] * bytes / total);
		if ((int)i == chosen)
			paths[i].credit -= (int64_t)bytes;
		paths[i].credit = bounded(paths[i].credit);
	}
}

/* Whose turn it is: of those with room, or of all if none has. */
static int
turn(const struct spread_path *paths, size_t count, unsigned least)
{
	bool any = false;
	int chosen = NONE;

	for (size_t i = 0; i < count; i++)
		any |= eligible(&paths[i], least) && !paths[i].full;
	for (size_t i = 0; i < count; i++) {
		if (!eligible(&paths[i], least) || (any && paths[i].full))
			continue;
		if (chosen == NONE || paths[i].credit > paths[chosen].credit)
			chosen = (int)i;
	}
	return chosen;
}

/* --- streams --- */

static struct slot *
slot_of(struct spread *s, uint64_t key)
{
	return &s->slots[(key * 0x9e3779b97f4a7c15ULL >> 32) % SPREAD_FLOWS];
}

/* The path that the stream stays on; NONE: it may choose. */
static int
stays(const struct slot *k, uint64_t key, const struct spread_path *paths, size_t count, unsigned least,
    struct mono now)
{
	if (k->key != key || !mono_before(now, mono_add_ms(k->used, SPREAD_FLOWLET_MS)) ||
	    !mono_before(now, mono_add_ms(k->since, SPREAD_STAY_MS)))
		return NONE;
	for (size_t i = 0; i < count; i++)
		if (paths[i].path_id == k->path_id)
			return eligible(&paths[i], least) && !paths[i].full ? (int)i : NONE;
	return NONE;
}

int
spread_pick(struct spread *s, uint64_t dst, uint32_t flow, size_t bytes, struct spread_path *paths,
    size_t count, struct mono now)
{
	unsigned least = least_badness(paths, count);
	uint64_t key = dst ^ (uint64_t)flow << 17 ^ 1;
	struct slot *k = slot_of(s, key);
	int best = 0, chosen;

	if (least == UINT_MAX)
		return NONE;
	while (!eligible(&paths[best], least))
		best++;
	chosen = stays(k, key, paths, count, least, now);
	if (chosen == NONE) {
		chosen = easy(&paths[best]) ? best : turn(paths, count, least);
		*k = (struct slot){.key = key, .path_id = paths[chosen].path_id, .since = now};
	}
	k->used = now;
	if (!easy(&paths[best]))
		account(paths, count, least, chosen, bytes);
	return chosen;
}
