/* deadline: see deadline.h. */
#include "gatewayd/core/deadline.h"

#include <stdbool.h>

#include "common/base/err.h"
#include "common/base/mem.h"

enum { HEAP_FIRST = 64 };

void
deadline_heap_init(struct deadline_heap *h)
{
	*h = (struct deadline_heap){0};
}

void
deadline_heap_fini(struct deadline_heap *h)
{
	mem_free(h->items);
	*h = (struct deadline_heap){0};
}

/* Puts d at place i (from 0). */
static void
place_set(struct deadline_heap *h, size_t i, struct deadline *d)
{
	h->items[i] = d;
	d->place = i + 1;
}

static void
sift_up(struct deadline_heap *h, size_t i, struct deadline *d)
{
	while (i > 0 && mono_before(d->at, h->items[(i - 1) / 2]->at)) {
		place_set(h, i, h->items[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	place_set(h, i, d);
}

static void
sift_down(struct deadline_heap *h, size_t i, struct deadline *d)
{
	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= h->count)
			break;
		if (child + 1 < h->count && mono_before(h->items[child + 1]->at, h->items[child]->at))
			child++;
		if (!mono_before(h->items[child]->at, d->at))
			break;
		place_set(h, i, h->items[child]);
		i = child;
	}
	place_set(h, i, d);
}

int
deadline_add(struct deadline_heap *h, struct deadline *d, struct mono at)
{
	MUST(d->place == 0);
	if (h->count == h->cap) {
		size_t cap = h->cap == 0 ? HEAP_FIRST : h->cap * 2;
		struct deadline **items = mem_reallocarray(h->items, cap, sizeof(struct deadline *));

		if (items == NULL)
			return ERR_NOMEM;
		h->items = items;
		h->cap = cap;
	}
	d->at = at;
	h->count++;
	sift_up(h, h->count - 1, d);
	return 0;
}

void
deadline_del(struct deadline_heap *h, struct deadline *d)
{
	struct deadline *last;
	size_t i;

	if (d->place == 0)
		return;
	i = d->place - 1;
	MUST(i < h->count && h->items[i] == d);
	d->place = 0;
	last = h->items[--h->count];
	if (last == d)
		return;
	if (i > 0 && mono_before(last->at, h->items[(i - 1) / 2]->at))
		sift_up(h, i, last);
	else
		sift_down(h, i, last);
}

struct mono
deadline_next(const struct deadline_heap *h)
{
	return h->count > 0 ? h->items[0]->at : MONO_NEVER;
}

struct deadline *
deadline_pop(struct deadline_heap *h, struct mono now)
{
	struct deadline *d;

	if (h->count == 0 || mono_before(now, h->items[0]->at))
		return NULL;
	d = h->items[0];
	deadline_del(h, d);
	return d;
}
