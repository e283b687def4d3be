#include "transportd/core/frameq.h"

#include <stdbool.h>
#include <string.h>

#include "common/base/mem.h"

struct frameq_block {
	struct frameq_block *next;
	uint32_t rpos, wpos, cap;
	uint32_t order; /* of its size: FRAMEQ_BLOCK_MIN_BYTES << order with this header */
	uint8_t data[];
};

enum { LEN_BYTES = sizeof(uint32_t), HDR_BYTES = sizeof(struct frameq_block) };

_Static_assert(FRAMEQ_BLOCK_MIN_BYTES << (FRAMEQ_SIZES - 1) == FRAMEQ_BLOCK_MAX_BYTES, "sizes double");
_Static_assert(
    FRAMEQ_RECORD_MAX_BYTES + LEN_BYTES + HDR_BYTES <= FRAMEQ_BLOCK_MAX_BYTES, "a record fits a block");

static size_t
block_bytes(uint32_t order)
{
	return (size_t)FRAMEQ_BLOCK_MIN_BYTES << order;
}

static struct frameq_block *
block_get(struct frameq_pool *p, uint32_t order)
{
	struct frameq_block *b = p->spare[order];

	if (b != NULL) {
		p->spare[order] = b->next;
		p->spare_bytes -= block_bytes(order);
	} else {
		/* Not zeroed: 64 KiB of zeros for one frame would cost more than the frame. */
		b = mem_reallocarray(NULL, 1, block_bytes(order));
		if (b == NULL)
			return NULL;
		p->memory += block_bytes(order);
		b->order = order;
		b->cap = (uint32_t)(block_bytes(order) - HDR_BYTES);
	}
	b->next = NULL;
	b->rpos = b->wpos = 0;
	return b;
}

static void
block_free(struct frameq_pool *p, struct frameq_block *b)
{
	p->memory -= block_bytes(b->order);
	mem_free(b);
}

static void
block_put(struct frameq_pool *p, struct frameq_block *b)
{
	size_t size = block_bytes(b->order);

	if (p->spare_bytes + size > FRAMEQ_SPARE_BYTES) {
		block_free(p, b);
		return;
	}
	b->next = p->spare[b->order];
	p->spare[b->order] = b;
	p->spare_bytes += size;
}

static void
spare_free(struct frameq_pool *p, uint32_t order)
{
	struct frameq_block *b = p->spare[order];

	p->spare[order] = b->next;
	p->spare_bytes -= block_bytes(order);
	block_free(p, b);
}

void
frameq_pool_fini(struct frameq_pool *p)
{
	frameq_pool_trim(p);
	if (p->spare_bytes != 0)
		spare_free(p, 0);
	MUST(p->memory == 0);
}

void
frameq_pool_trim(struct frameq_pool *p)
{
	for (uint32_t order = FRAMEQ_SIZES; order-- > 1;)
		while (p->spare[order] != NULL)
			spare_free(p, order);
	while (p->spare_bytes > FRAMEQ_BLOCK_MIN_BYTES)
		spare_free(p, 0);
}

static void
drop_head(struct frameq *q, struct frameq_pool *p)
{
	struct frameq_block *b = q->head;

	q->head = b->next;
	if (q->head == NULL)
		q->tail = NULL;
	block_put(p, b);
}

/* Blocks that are used up go; an empty one may also have been left by a reservation. */
static void
drop_empty(struct frameq *q, struct frameq_pool *p)
{
	while (q->head != NULL && q->head->rpos == q->head->wpos)
		drop_head(q, p);
}

void
frameq_fini(struct frameq *q, struct frameq_pool *p)
{
	while (q->head != NULL)
		drop_head(q, p);
	q->bytes = 0;
}

/* As large as what waits already, and large enough. */
static uint32_t
next_order(const struct frameq *q, size_t size)
{
	uint32_t order = 0;

	while (block_bytes(order) < HDR_BYTES + LEN_BYTES + size ||
	       (order + 1 < FRAMEQ_SIZES && block_bytes(order) < q->bytes))
		order++;
	return order;
}

uint8_t *
frameq_reserve(struct frameq *q, struct frameq_pool *p, size_t size)
{
	struct frameq_block *b = q->tail;

	if (b == NULL || b->cap - b->wpos < LEN_BYTES + size) {
		MUST(size <= FRAMEQ_RECORD_MAX_BYTES);
		b = block_get(p, next_order(q, size));
		if (b == NULL)
			return NULL;
		if (q->tail != NULL)
			q->tail->next = b;
		else
			q->head = b;
		q->tail = b;
	}
	return b->data + b->wpos + LEN_BYTES;
}

void
frameq_commit(struct frameq *q, size_t size)
{
	struct frameq_block *b = q->tail;
	uint32_t len = (uint32_t)size;

	memcpy(b->data + b->wpos, &len, LEN_BYTES);
	b->wpos += LEN_BYTES + len;
	q->bytes += size;
}

void
frameq_abandon(struct frameq *q, struct frameq_pool *p)
{
	if (q->bytes == 0)
		drop_empty(q, p);
}

const uint8_t *
frameq_head(const struct frameq *q, size_t *size)
{
	const struct frameq_block *b = q->head;
	uint32_t len;

	MUST(q->bytes != 0);
	while (b->rpos == b->wpos)
		b = b->next;
	memcpy(&len, b->data + b->rpos, LEN_BYTES);
	*size = len;
	return b->data + b->rpos + LEN_BYTES;
}

void
frameq_pop(struct frameq *q, struct frameq_pool *p)
{
	size_t size;

	frameq_head(q, &size);
	drop_empty(q, p);
	q->head->rpos += LEN_BYTES + (uint32_t)size;
	q->bytes -= size;
	drop_empty(q, p);
}

/* Moves records of the first block only. */
static size_t
take_block(struct frameq_block *b, struct frameq_out *out, size_t budget)
{
	size_t before = out->used, room = out->cap - out->used;

	if (room > budget)
		room = budget;
	while (b->rpos != b->wpos) {
		uint32_t len;

		memcpy(&len, b->data + b->rpos, LEN_BYTES);
		if (len > room)
			break;
		memcpy(out->data + out->used, b->data + b->rpos + LEN_BYTES, len);
		b->rpos += LEN_BYTES + len;
		out->used += len;
		out->count++;
		room -= len;
	}
	return out->used - before;
}

size_t
frameq_take(struct frameq *q, struct frameq_pool *p, struct frameq_out *out, size_t budget)
{
	size_t moved = 0;

	while (q->head != NULL) {
		moved += take_block(q->head, out, budget - moved);
		if (q->head->rpos != q->head->wpos)
			break;
		drop_head(q, p);
	}
	q->bytes -= moved;
	return moved;
}

void
frameq_append(struct frameq *q, struct frameq *from)
{
	if (from->head == NULL)
		return;
	if (q->tail != NULL)
		q->tail->next = from->head;
	else
		q->head = from->head;
	q->tail = from->tail;
	q->bytes += from->bytes;
	memset(from, 0, sizeof(*from));
}
