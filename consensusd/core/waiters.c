/* waiters: see waiters.h. */
#include "consensusd/core/waiters.h"

#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/core/limits.h"

enum { WAITERS_CAP_MIN = 16 };

static int
node_compare(const struct waiter_node *a, const struct waiter_node *b)
{
	if (a->w.seq != b->w.seq)
		return a->w.seq < b->w.seq ? -1 : 1;
	return a->order < b->order ? -1 : a->order > b->order;
}

/* Not all that is generated is used. */
RB_GENERATE_INTERNAL(waiter_tree, waiter_node, entry, node_compare, static __attribute__((__unused__)))

void
waiters_init(struct waiters *w)
{
	*w = (struct waiters){0};
	RB_INIT(&w->tree);
}

static void
tree_del(struct waiters *w, struct waiter_node *n)
{
	RB_REMOVE(waiter_tree, &w->tree, n);
	w->tree_count--;
	mem_free(n);
}

void
waiters_fini(struct waiters *w)
{
	struct waiter_node *n;

	while ((n = RB_MIN(waiter_tree, &w->tree)) != NULL)
		tree_del(w, n);
	mem_free(w->ring);
	waiters_init(w);
}

static struct waiter *
at(const struct waiters *w, size_t i)
{
	return &w->ring[(w->head + i) & (w->cap - 1)];
}

static int
grow(struct waiters *w)
{
	size_t cap = w->cap == 0 ? WAITERS_CAP_MIN : w->cap * 2;
	struct waiter *ring = mem_calloc(cap, sizeof(*ring));

	if (ring == NULL)
		return ERR_NOMEM;
	for (size_t i = 0; i < w->count; i++)
		ring[i] = *at(w, i);
	mem_free(w->ring);
	w->ring = ring;
	w->cap = cap;
	w->head = 0;
	return 0;
}

static int
tree_add(struct waiters *w, const struct waiter *one)
{
	struct waiter_node *n = mem_calloc(1, sizeof(*n));

	if (n == NULL)
		return ERR_NOMEM;
	n->w = *one;
	n->order = w->next_order++;
	RB_INSERT(waiter_tree, &w->tree, n);
	w->tree_count++;
	return 0;
}

int
waiters_add(struct waiters *w, const struct waiter *one)
{
	if (waiters_count(w) >= WAITERS_MAX)
		return ERR_FULL;
	if (w->count > 0 && at(w, w->count - 1)->seq > one->seq)
		return tree_add(w, one);
	if (w->count == w->cap && grow(w) != 0)
		return ERR_NOMEM;
	*at(w, w->count) = *one;
	w->count++;
	return 0;
}

bool
waiters_pop(struct waiters *w, uint64_t upto, struct waiter *out)
{
	struct waiter_node *n = w->tree_count > 0 ? RB_MIN(waiter_tree, &w->tree) : NULL;

	if (n != NULL && n->w.seq <= upto && (w->count == 0 || n->w.seq < at(w, 0)->seq)) {
		*out = n->w;
		tree_del(w, n);
		return true;
	}
	if (w->count == 0 || at(w, 0)->seq > upto)
		return false;
	*out = *at(w, 0);
	w->head = (w->head + 1) & (w->cap - 1);
	w->count--;
	return true;
}

bool
waiters_pop_from(struct waiters *w, uint64_t from, struct waiter *out)
{
	struct waiter_node *n = w->tree_count > 0 ? RB_MAX(waiter_tree, &w->tree) : NULL;

	if (n != NULL && n->w.seq >= from) {
		*out = n->w;
		tree_del(w, n);
		return true;
	}
	if (w->count == 0 || at(w, w->count - 1)->seq < from)
		return false;
	*out = *at(w, w->count - 1);
	w->count--;
	return true;
}

uint64_t
waiters_first_of(const struct waiters *w, uint64_t call)
{
	struct waiter_node *n;
	uint64_t seq = 0;

	for (size_t i = 0; i < w->count && seq == 0; i++) {
		if (at(w, i)->call == call)
			seq = at(w, i)->seq;
	}
	RB_FOREACH (n, waiter_tree, (struct waiter_tree *)(uintptr_t)&w->tree) {
		if (n->w.call == call && (seq == 0 || n->w.seq < seq))
			seq = n->w.seq;
	}
	return seq;
}

size_t
waiters_count(const struct waiters *w)
{
	return w->count + w->tree_count;
}
