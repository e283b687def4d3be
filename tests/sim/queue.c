#include "tests/sim/queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLOT_BITS 25
#define SLOT_MASK ((UINT64_C(1) << SLOT_BITS) - 1)
enum { CHILDREN = 4 };

static void *
need(void *p)
{
	if (p == NULL) {
		fprintf(stderr, "sim: out of memory\n");
		exit(2);
	}
	return p;
}

void *
sim_alloc(size_t count, size_t size)
{
	return need(calloc(count != 0 ? count : 1, size));
}

void *
sim_realloc(void *p, size_t count, size_t size)
{
	return need(reallocarray(p, count, size));
}

void *
sim_dup(const void *data, size_t len)
{
	return memcpy(need(malloc(len != 0 ? len : 1)), data, len);
}

void
queue_fini(struct queue *q)
{
	for (size_t i = 0; i < q->count; i++)
		free(q->slots[q->heap[i].order_slot & SLOT_MASK].data);
	free(q->heap);
	free(q->slots);
	free(q->free_slots);
	*q = (struct queue){0};
}

static bool
earlier(const struct queue_key *a, const struct queue_key *b)
{
	return a->at != b->at ? a->at < b->at : a->order_slot < b->order_slot;
}

static void
grow(struct queue *q)
{
	size_t cap = q->cap != 0 ? 2 * q->cap : 1024;

	if (cap > SLOT_MASK + 1) {
		fprintf(stderr, "sim: too many events wait\n");
		exit(2);
	}
	q->heap = sim_realloc(q->heap, cap, sizeof(q->heap[0]));
	q->slots = sim_realloc(q->slots, cap, sizeof(q->slots[0]));
	q->free_slots = sim_realloc(q->free_slots, cap, sizeof(q->free_slots[0]));
	/* free_slots[count] and after are free. */
	for (size_t i = q->cap; i < cap; i++)
		q->free_slots[i] = (uint32_t)i;
	q->cap = cap;
}

void
queue_push(struct queue *q, struct sim_event ev)
{
	struct queue_key key = {.at = ev.at};
	size_t i;

	if (q->count == q->cap)
		grow(q);
	key.order_slot = q->order++ << SLOT_BITS | q->free_slots[q->count];
	q->slots[q->free_slots[q->count]] = ev;
	for (i = q->count++; i != 0 && earlier(&key, &q->heap[(i - 1) / CHILDREN]); i = (i - 1) / CHILDREN)
		q->heap[i] = q->heap[(i - 1) / CHILDREN];
	q->heap[i] = key;
}

int64_t
queue_next(const struct queue *q)
{
	return q->count != 0 ? q->heap[0].at : INT64_MAX;
}

static size_t
first_child(const struct queue *q, size_t i)
{
	size_t first = CHILDREN * i + 1, best = first;

	for (size_t k = first + 1; k < first + CHILDREN && k < q->count; k++)
		if (earlier(&q->heap[k], &q->heap[best]))
			best = k;
	return best;
}

struct sim_event
queue_pop(struct queue *q)
{
	uint32_t slot = (uint32_t)(q->heap[0].order_slot & SLOT_MASK);
	struct queue_key last = q->heap[--q->count];
	size_t i = 0;

	for (size_t child; CHILDREN * i + 1 < q->count; i = child) {
		child = first_child(q, i);
		if (!earlier(&q->heap[child], &last))
			break;
		q->heap[i] = q->heap[child];
	}
	q->heap[i] = last;
	q->free_slots[q->count] = slot;
	return q->slots[slot];
}
