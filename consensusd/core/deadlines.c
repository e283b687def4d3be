/* deadlines: see deadlines.h. */
#include "consensusd/core/deadlines.h"

#include "common/base/err.h"
#include "common/base/mem.h"

enum { DEADLINES_CAP_MIN = 64 };

void
deadlines_init(struct deadlines *d)
{
	*d = (struct deadlines){0};
}

void
deadlines_fini(struct deadlines *d)
{
	mem_free(d->heap);
	deadlines_init(d);
}

static void
place(struct deadlines *d, size_t i, struct deadline *x)
{
	d->heap[i] = x;
	x->place = i + 1;
}

static void
sift_up(struct deadlines *d, size_t i, struct deadline *x)
{
	while (i > 0 && mono_before(x->when, d->heap[(i - 1) / 2]->when)) {
		place(d, i, d->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	place(d, i, x);
}

static void
sift_down(struct deadlines *d, size_t i, struct deadline *x)
{
	size_t child;

	while ((child = 2 * i + 1) < d->count) {
		if (child + 1 < d->count && mono_before(d->heap[child + 1]->when, d->heap[child]->when))
			child++;
		if (!mono_before(d->heap[child]->when, x->when))
			break;
		place(d, i, d->heap[child]);
		i = child;
	}
	place(d, i, x);
}

void
deadlines_del(struct deadlines *d, struct deadline *x)
{
	struct deadline *last;
	size_t i;

	if (x->place == 0)
		return;
	i = x->place - 1;
	x->place = 0;
	last = d->heap[--d->count];
	if (last == x)
		return;
	if (i > 0 && mono_before(last->when, d->heap[(i - 1) / 2]->when))
		sift_up(d, i, last);
	else
		sift_down(d, i, last);
}

static int
grow(struct deadlines *d)
{
	size_t cap = d->cap == 0 ? DEADLINES_CAP_MIN : d->cap * 2;
	struct deadline **heap = mem_reallocarray(d->heap, cap, sizeof(struct deadline *));

	if (heap == NULL)
		return ERR_NOMEM;
	d->heap = heap;
	d->cap = cap;
	return 0;
}

int
deadlines_set(struct deadlines *d, struct deadline *x, struct mono when)
{
	if (x->place != 0 && x->when.us == when.us)
		return 0;
	if (mono_is_never(when)) {
		deadlines_del(d, x);
		return 0;
	}
	if (x->place == 0 && d->count == d->cap && grow(d) != 0)
		return ERR_NOMEM;
	deadlines_del(d, x);
	x->when = when;
	sift_up(d, d->count++, x);
	return 0;
}

struct deadline *
deadlines_pop(struct deadlines *d, struct mono now)
{
	struct deadline *x;

	if (d->count == 0 || mono_before(now, d->heap[0]->when))
		return NULL;
	x = d->heap[0];
	deadlines_del(d, x);
	return x;
}

struct mono
deadlines_next(const struct deadlines *d)
{
	return d->count > 0 ? d->heap[0]->when : MONO_NEVER;
}
