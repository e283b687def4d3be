#include "tests/sim/queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
sim_dup(const void *data, size_t len)
{
	return memcpy(need(malloc(len != 0 ? len : 1)), data, len);
}

void
queue_fini(struct queue *q)
{
	for (size_t i = 0; i < q->count; i++)
		free(q->heap[i].data);
	free(q->heap);
	*q = (struct queue){0};
}

static bool
earlier(const struct sim_event *a, const struct sim_event *b)
{
	return a->at != b->at ? a->at < b->at : a->order < b->order;
}

void
queue_push(struct queue *q, struct sim_event ev)
{
	size_t i = q->count++;

	if (q->count > q->cap) {
		q->cap = q->cap != 0 ? 2 * q->cap : 1024;
		q->heap = need(realloc(q->heap, q->cap * sizeof(ev)));
	}
	if (q->count > q->count_max)
		q->count_max = q->count;
	ev.order = q->order++;
	for (; i != 0 && earlier(&ev, &q->heap[(i - 1) / 2]); i = (i - 1) / 2)
		q->heap[i] = q->heap[(i - 1) / 2];
	q->heap[i] = ev;
}

int64_t
queue_next(const struct queue *q)
{
	return q->count != 0 ? q->heap[0].at : INT64_MAX;
}

struct sim_event
queue_pop(struct queue *q)
{
	struct sim_event top = q->heap[0], last = q->heap[--q->count];
	size_t i = 0;

	for (size_t child; (child = 2 * i + 1) < q->count; i = child) {
		if (child + 1 < q->count && earlier(&q->heap[child + 1], &q->heap[child]))
			child++;
		if (!earlier(&q->heap[child], &last))
			break;
		q->heap[i] = q->heap[child];
	}
	if (q->count != 0)
		q->heap[i] = last;
	return top;
}
