/* samples: see samples.h. */
#include "meshctl/samples.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

void
samples_init(struct samples *s)
{
	memset(s, 0, sizeof(*s));
	rng_seed(&s->rng, 1);
}

void
samples_fini(struct samples *s)
{
	mem_free(s->us);
	s->us = NULL;
}

static int
grow(struct samples *s)
{
	size_t cap = s->cap == 0 ? 4096 : s->cap * 2;
	uint32_t *us;

	if (cap > SAMPLES_MAX)
		cap = SAMPLES_MAX;
	us = mem_reallocarray(s->us, cap, sizeof(*us));
	if (us == NULL)
		return -1;
	s->us = us;
	s->cap = cap;
	return 0;
}

void
samples_add(struct samples *s, int64_t us)
{
	uint32_t v = us < 0 ? 0 : us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
	uint64_t at;

	s->seen++;
	if (s->count < SAMPLES_MAX) {
		if (s->count < s->cap || grow(s) == 0)
			s->us[s->count++] = v;
		return;
	}
	at = rng_below(&s->rng, s->seen);
	if (at < s->count)
		s->us[at] = v;
}

static int
compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

uint32_t
samples_get(struct samples *s, unsigned permille)
{
	size_t i;

	if (s->count == 0)
		return 0;
	qsort(s->us, s->count, sizeof(*s->us), compare);
	i = (s->count * permille + 999) / 1000;
	return s->us[i > 0 ? i - 1 : 0];
}
