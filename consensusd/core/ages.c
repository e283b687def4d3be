/* ages: see ages.h. */
#include "consensusd/core/ages.h"

#include <string.h>

static void
merge_pairs(struct ages *a)
{
	size_t n = 0;

	for (size_t i = 0; i < a->count; i += 2) {
		struct age m = a->marks[i];

		if (i + 1 < a->count)
			m.last_seq = a->marks[i + 1].last_seq;
		a->marks[n++] = m;
	}
	a->count = n;
	a->grain_us *= 2;
}

void
ages_add(struct ages *a, uint64_t seq, struct mono now)
{
	struct age *newest = a->count > 0 ? &a->marks[a->count - 1] : NULL;

	if (newest == NULL)
		a->grain_us = AGES_GRAIN_US;
	if (newest != NULL && mono_diff_us(now, newest->first) < a->grain_us) {
		newest->last_seq = seq;
		return;
	}
	if (a->count == AGES_MAX)
		merge_pairs(a);
	a->marks[a->count++] = (struct age){.last_seq = seq, .first = now};
}

void
ages_cut(struct ages *a, uint64_t seq)
{
	size_t n = 0;

	while (n < a->count && a->marks[n].last_seq <= seq)
		n++;
	if (n == 0)
		return;
	a->count -= n;
	memmove(a->marks, a->marks + n, a->count * sizeof(a->marks[0]));
}

struct mono
ages_after(const struct ages *a, uint64_t seq)
{
	for (size_t i = 0; i < a->count; i++) {
		if (a->marks[i].last_seq > seq)
			return a->marks[i].first;
	}
	return MONO_NEVER;
}
