#include "tests/raftsim/history.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/queue.h"

void
history_fini(struct history *h)
{
	free(h->ops);
	*h = (struct history){0};
}

size_t
history_begin(struct history *h, bool read, uint32_t reg, uint64_t value, int64_t now)
{
	if (h->count == h->cap) {
		h->cap = h->cap != 0 ? 2 * h->cap : 256;
		h->ops = sim_realloc(h->ops, h->cap, sizeof(h->ops[0]));
	}
	h->ops[h->count] =
	    (struct operation){.read = read, .reg = reg, .value = value, .began = now, .ended = INT64_MAX};
	return h->count++;
}

void
history_end(struct history *h, size_t op, uint64_t value, int64_t now)
{
	struct operation *o = &h->ops[op];

	o->done = true;
	o->ended = now;
	if (o->read)
		o->value = value;
}

/* --- the check --- */

/* All operations on one value: the first of their ends, the last of their beginnings. */
struct zone {
	uint64_t value;
	int64_t first_end, last_began;
	int64_t written_began;
	bool written, seen; /* seen: it was read, or its write was answered */
};

static bool
forward(const struct zone *z)
{
	return z->first_end < z->last_began;
}

static int
by_value(const void *a, const void *b)
{
	const struct zone *x = a, *y = b;

	return x->value < y->value ? -1 : x->value > y->value;
}

static int
by_start(const void *a, const void *b)
{
	const struct zone *x = a, *y = b;

	return x->first_end < y->first_end ? -1 : x->first_end > y->first_end;
}

static struct zone
zone_of(const struct operation *o)
{
	return (struct zone){
	    .value = o->value,
	    .first_end = o->ended,
	    .last_began = o->began,
	    .written_began = o->read ? INT64_MIN : o->began,
	    .written = !o->read,
	    .seen = o->done,
	};
}

static void
merge(struct zone *z, const struct zone *x)
{
	z->first_end = x->first_end < z->first_end ? x->first_end : z->first_end;
	z->last_began = x->last_began > z->last_began ? x->last_began : z->last_began;
	if (x->written)
		z->written_began = x->written_began;
	z->written = z->written || x->written;
	z->seen = z->seen || x->seen;
}

/* The zones of a register; the number of them. */
static size_t
zones_of(const struct history *h, uint32_t reg, struct zone *z)
{
	size_t n = 0, k = 0;

	/* What it had in the beginning was written before everything. */
	z[n++] = (struct zone){
	    .first_end = -1, .last_began = -1, .written_began = -1, .written = true, .seen = true};
	for (size_t i = 0; i < h->count; i++)
		if (h->ops[i].reg == reg && (h->ops[i].done || !h->ops[i].read))
			z[n++] = zone_of(&h->ops[i]);
	qsort(z, n, sizeof(z[0]), by_value);
	for (size_t i = 1; i < n; i++) {
		if (z[i].value == z[k].value)
			merge(&z[k], &z[i]);
		else
			z[++k] = z[i];
	}
	return k + 1;
}

static const char *
check_zones(struct zone *z, size_t n)
{
	int64_t end = INT64_MIN;

	for (size_t i = 0; i < n; i++) {
		if (!z[i].written)
			return "a value was read that nobody wrote";
		if (z[i].first_end < z[i].written_began)
			return "a value was read before it was written";
	}
	qsort(z, n, sizeof(z[0]), by_start);
	for (size_t i = 0; i < n; i++) {
		if (!z[i].seen || !forward(&z[i]))
			continue;
		if (z[i].first_end < end)
			return "two values were both the newest for a time";
		end = z[i].last_began > end ? z[i].last_began : end;
	}
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < n && z[i].seen && !forward(&z[i]); k++)
			if (z[k].seen && forward(&z[k]) && z[i].last_began > z[k].first_end &&
			    z[i].first_end < z[k].last_began)
				return "a value came and went while another one was the newest";
	return NULL;
}

const char *
history_check(const struct history *h, uint32_t registers)
{
	struct zone *z = sim_alloc(h->count + 1, sizeof(*z));
	const char *why = NULL;

	for (uint32_t reg = 0; reg < registers && why == NULL; reg++)
		why = check_zones(z, zones_of(h, reg, z));
	free(z);
	return why;
}
