#include "consensusd/core/sorted.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"

enum { CAP_MIN = 8 };

void
sorted_fini(struct sorted *s, void (*drop)(void *item))
{
	for (size_t i = 0; drop != NULL && i < s->count; i++)
		drop(s->at[i]);
	mem_free(s->at);
	*s = (struct sorted){0};
}

bool
sorted_find(const struct sorted *s, const void *key, sorted_compare *compare, size_t *pos)
{
	size_t low = 0, high = s->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare(key, s->at[middle]) > 0)
			low = middle + 1;
		else
			high = middle;
	}
	*pos = low;
	return low < s->count && compare(key, s->at[low]) == 0;
}

void *
sorted_get(const struct sorted *s, const void *key, sorted_compare *compare)
{
	size_t pos;

	return sorted_find(s, key, compare, &pos) ? s->at[pos] : NULL;
}

int
sorted_reserve(struct sorted *s)
{
	return sorted_reserve_many(s, 1);
}

int
sorted_reserve_many(struct sorted *s, size_t more)
{
	size_t cap = s->cap != 0 ? s->cap * 2 : CAP_MIN;
	void **at;

	if (more <= s->cap - s->count)
		return 0;
	if (cap < s->count + more)
		cap = s->count + more;
	if ((at = mem_reallocarray(s->at, cap, sizeof(*at))) == NULL)
		return ERR_NOMEM;
	s->at = at;
	s->cap = cap;
	return 0;
}

void
sorted_put(struct sorted *s, size_t pos, void *item)
{
	MUST(pos <= s->count && s->count < s->cap);
	memmove(&s->at[pos + 1], &s->at[pos], (s->count - pos) * sizeof(void *));
	s->at[pos] = item;
	s->count++;
}

void *
sorted_take(struct sorted *s, size_t pos)
{
	void *item;

	MUST(pos < s->count);
	item = s->at[pos];
	s->count--;
	memmove(&s->at[pos], &s->at[pos + 1], (s->count - pos) * sizeof(void *));
	return item;
}
