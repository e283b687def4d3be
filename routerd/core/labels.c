#include "routerd/core/labels.h"

#include "common/base/err.h"
#include "common/base/mem.h"

enum { LABELS_FIRST = 256 };

void
labels_init(struct labels *l)
{
	*l = (struct labels){0};
}

void
labels_fini(struct labels *l)
{
	mem_free(l->pool);
	mem_free(l->heap);
	labels_init(l);
}

void
labels_clear(struct labels *l)
{
	l->count = l->heap_count = 0;
}

static int
grow(struct labels *l)
{
	size_t cap = l->cap != 0 ? 2 * l->cap : LABELS_FIRST;
	struct label *pool;
	struct label_place *heap;

	if (cap >= LABEL_NONE || (pool = mem_reallocarray(l->pool, cap, sizeof(*pool))) == NULL)
		return ERR_NOMEM;
	l->pool = pool;
	heap = mem_reallocarray(l->heap, cap, sizeof(*heap));
	if (heap == NULL)
		return ERR_NOMEM;
	l->heap = heap;
	l->cap = cap;
	return 0;
}

static bool
before(const struct label_place *a, const struct label_place *b)
{
	return a->key < b->key || (a->key == b->key && a->label < b->label);
}

int
labels_push(struct labels *l, uint64_t key, const struct label *label)
{
	struct label_place fresh = {key, (uint32_t)l->count};
	size_t i = l->heap_count;

	if (l->count == l->cap && grow(l) != 0)
		return ERR_NOMEM;
	l->pool[l->count++] = *label;
	l->heap_count++;
	for (; i != 0 && before(&fresh, &l->heap[(i - 1) / 2]); i = (i - 1) / 2)
		l->heap[i] = l->heap[(i - 1) / 2];
	l->heap[i] = fresh;
	return 0;
}

static void
sink(struct labels *l, const struct label_place *last)
{
	size_t i = 0;

	for (size_t child; (child = 2 * i + 1) < l->heap_count; i = child) {
		if (child + 1 < l->heap_count && before(&l->heap[child + 1], &l->heap[child]))
			child++;
		if (!before(&l->heap[child], last))
			break;
		l->heap[i] = l->heap[child];
	}
	l->heap[i] = *last;
}

uint32_t
labels_pop(struct labels *l, uint64_t *key)
{
	struct label_place top, last;

	if (l->heap_count == 0)
		return LABEL_NONE;
	top = l->heap[0];
	last = l->heap[--l->heap_count];
	if (l->heap_count != 0)
		sink(l, &last);
	if (key != NULL)
		*key = top.key;
	return top.label;
}
