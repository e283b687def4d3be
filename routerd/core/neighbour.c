#include "routerd/core/neighbour.h"

#include <string.h>

#include "common/base/mem.h"
#include "routerd/core/cost.h"

static int
neighbour_compare(const struct neighbour *a, const struct neighbour *b)
{
	return a->id < b->id ? -1 : a->id > b->id;
}

RB_GENERATE_INTERNAL(neighbour_tree, neighbour, link, neighbour_compare, __attribute__((unused)) static)

void
neighbour_table_init(struct neighbour_table *t)
{
	*t = (struct neighbour_table){0};
	RB_INIT(&t->tree);
}

void
neighbour_table_fini(struct neighbour_table *t)
{
	struct neighbour *n;

	while ((n = RB_ROOT(&t->tree)) != NULL)
		neighbour_del(t, n);
}

struct neighbour *
neighbour_get(struct neighbour_table *t, uint64_t id)
{
	struct neighbour key = {.id = id};

	return RB_FIND(neighbour_tree, &t->tree, &key);
}

struct neighbour *
neighbour_add(struct neighbour_table *t, uint64_t id)
{
	struct neighbour *n = mem_calloc(1, sizeof(*n));

	if (n == NULL)
		return NULL;
	n->id = id;
	n->resend_at = MONO_NEVER;
	sync_init(&n->sync);
	flood_init(&n->flood);
	RB_INSERT(neighbour_tree, &t->tree, n);
	t->count++;
	return n;
}

void
neighbour_del(struct neighbour_table *t, struct neighbour *n)
{
	RB_REMOVE(neighbour_tree, &t->tree, n);
	t->count--;
	sync_fini(&n->sync);
	flood_fini(&n->flood);
	mem_free(n);
}

struct neighbour *
neighbour_first(struct neighbour_table *t)
{
	return RB_MIN(neighbour_tree, &t->tree);
}

struct neighbour *
neighbour_next(struct neighbour_table *t, struct neighbour *n)
{
	(void)t;
	return RB_NEXT(neighbour_tree, &t->tree, n);
}

/* Drops the dearest of LSA_ADJ_MAX + 1 adjacencies: those of out and extra, which comes after them. */
static void
drop_dearest(struct lsa_adj out[LSA_ADJ_MAX], const struct lsa_adj *extra)
{
	size_t worst = LSA_ADJ_MAX;
	uint32_t worst_cost = cost_link(&cost_defaults[FRAME_CLASS_CONTROL], extra);

	for (size_t i = 0; i < LSA_ADJ_MAX; i++) {
		uint32_t cost = cost_link(&cost_defaults[FRAME_CLASS_CONTROL], &out[i]);

		if (cost > worst_cost) {
			worst = i;
			worst_cost = cost;
		}
	}
	if (worst == LSA_ADJ_MAX)
		return;
	memmove(&out[worst], &out[worst + 1], (LSA_ADJ_MAX - 1 - worst) * sizeof(out[0]));
	out[LSA_ADJ_MAX - 1] = *extra;
}

size_t
neighbour_table_adj(struct neighbour_table *t, struct lsa_adj out[LSA_ADJ_MAX], size_t *left_out)
{
	size_t count = 0;

	*left_out = 0;
	for (struct neighbour *n = neighbour_first(t); n != NULL; n = neighbour_next(t, n)) {
		if (!n->sync.synced)
			continue;
		if (count < LSA_ADJ_MAX) {
			out[count++] = n->advertised;
		} else {
			drop_dearest(out, &n->advertised);
			(*left_out)++;
		}
	}
	return count;
}

bool
neighbour_table_synced(struct neighbour_table *t)
{
	for (struct neighbour *n = neighbour_first(t); n != NULL; n = neighbour_next(t, n))
		if (!n->sync.synced)
			return false;
	return true;
}

static bool
moved(uint64_t now, uint64_t before, uint64_t floor)
{
	uint64_t change = now > before ? now - before : before - now;

	return change > floor && change * 100 > before * METRIC_CHANGE_PERCENT;
}

/* By what it is to a path: the bandwidth of a fast link, as short probes tell it, is never the same twice. */
static bool
bandwidth_moved(uint32_t now, uint32_t before)
{
	return moved(cost_bandwidth_us(now), cost_bandwidth_us(before), METRIC_CHUNK_FLOOR_US);
}

bool
neighbour_moved(const struct neighbour *n)
{
	const struct lsa_adj *a = &n->measured, *b = &n->advertised;

	return moved(a->latency_us, b->latency_us, METRIC_LATENCY_FLOOR_US) ||
	       bandwidth_moved(a->bandwidth_kbps, b->bandwidth_kbps) ||
	       moved(a->loss_ppm, b->loss_ppm, METRIC_LOSS_FLOOR_PPM) ||
	       moved(a->utilisation_permille, b->utilisation_permille, METRIC_UTILISATION_FLOOR_PERMILLE) ||
	       a->weight != b->weight;
}

static bool
leapt(uint64_t now, uint64_t before, uint64_t floor)
{
	uint64_t less = now < before ? now : before, change = now + before - 2 * less;

	return change > floor && change * 100 > less * METRIC_LEAP_PERCENT;
}

bool
neighbour_leapt(const struct neighbour *n)
{
	const struct lsa_adj *a = &n->measured, *b = &n->advertised;

	return leapt(a->latency_us, b->latency_us, METRIC_LEAP_US) ||
	       leapt(cost_bandwidth_us(a->bandwidth_kbps), cost_bandwidth_us(b->bandwidth_kbps),
		   METRIC_LEAP_US) ||
	       leapt(a->loss_ppm, b->loss_ppm, METRIC_LEAP_PPM) ||
	       leapt(a->utilisation_permille, b->utilisation_permille, METRIC_LEAP_PERMILLE);
}

int64_t
neighbour_rtt_us(const struct neighbour *n)
{
	return 2 * (int64_t)n->measured.latency_us;
}

void
neighbour_forged(struct neighbour *n, struct mono now)
{
	if (!mono_before(now, n->forged_until)) {
		n->forged = 0;
		n->forged_until = mono_add_us(now, FORGED_WINDOW_US);
	}
	n->forged++;
}

bool
neighbour_quarantined(const struct neighbour *n, struct mono now)
{
	return n->forged >= FORGED_MAX && mono_before(now, n->forged_until);
}
