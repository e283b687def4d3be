#include "transportd/core/txq.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "transportd/core/limits.h"

/* Frames lie in a block one after the other, each behind its length. */
struct txq_block {
	struct txq_block *next;
	uint32_t rpos, wpos;
	uint8_t data[TXQ_BLOCK_BYTES];
};

enum { LEN_BYTES = sizeof(uint32_t) };

_Static_assert(TXQ_BLOCK_BYTES >= FRAME_MAX_BYTES + LEN_BYTES, "a frame fits a block");

void
txq_init(struct txq *q, size_t limit_bytes, size_t reserve_bytes)
{
	memset(q, 0, sizeof(*q));
	q->limit = limit_bytes;
	q->reserve = reserve_bytes;
}

static void
free_blocks(struct txq_block *b)
{
	while (b != NULL) {
		struct txq_block *next = b->next;

		mem_free(b);
		b = next;
	}
}

void
txq_fini(struct txq *q)
{
	for (unsigned i = 0; i < FRAME_CLASS_COUNT; i++)
		free_blocks(q->lanes[i].head);
	free_blocks(q->spare);
	txq_init(q, q->limit, q->reserve);
}

void
txq_set_limit(struct txq *q, size_t limit_bytes)
{
	q->limit = limit_bytes;
}

static struct txq_block *
block_get(struct txq *q)
{
	struct txq_block *b = q->spare;

	if (b == NULL)
		return mem_calloc(1, sizeof(*b));
	q->spare = b->next;
	q->spare_count--;
	b->next = NULL;
	b->rpos = b->wpos = 0;
	return b;
}

static void
block_put(struct txq *q, struct txq_block *b)
{
	if (q->spare_count == TXQ_SPARE_BLOCKS) {
		mem_free(b);
		return;
	}
	b->next = q->spare;
	q->spare = b;
	q->spare_count++;
}

int
txq_reserve(struct txq *q, uint8_t class, size_t size, uint8_t **out)
{
	struct txq_lane *l = &q->lanes[class];
	size_t limit = class == FRAME_CLASS_CLIENT ? q->limit : q->limit + q->reserve;

	MUST(class < FRAME_CLASS_COUNT && size <= FRAME_MAX_BYTES);
	if (q->bytes + size > limit)
		return ERR_FULL;
	if (l->tail == NULL || l->tail->wpos + LEN_BYTES + size > TXQ_BLOCK_BYTES) {
		struct txq_block *b = block_get(q);

		if (b == NULL)
			return ERR_NOMEM;
		if (l->tail != NULL)
			l->tail->next = b;
		else
			l->head = b;
		l->tail = b;
	}
	*out = l->tail->data + l->tail->wpos + LEN_BYTES;
	return 0;
}

void
txq_commit(struct txq *q, uint8_t class, size_t size)
{
	struct txq_lane *l = &q->lanes[class];
	uint32_t len = (uint32_t)size;

	memcpy(l->tail->data + l->tail->wpos, &len, LEN_BYTES);
	l->tail->wpos += LEN_BYTES + len;
	l->bytes += size;
	q->bytes += size;
	q->frames++;
}

static void
drop_head(struct txq *q, struct txq_lane *l)
{
	struct txq_block *b = l->head;

	l->head = b->next;
	if (l->head == NULL)
		l->tail = NULL;
	block_put(q, b);
}

/* Moves frames of one lane; false when the next one has no room in out. */
static bool
take_lane(struct txq *q, struct txq_lane *l, uint8_t *out, size_t cap, size_t *used)
{
	while (l->bytes != 0) {
		struct txq_block *b = l->head;
		uint32_t len;

		/* An empty block that is not the last: its successor was begun by a reservation. */
		if (b->rpos == b->wpos) {
			drop_head(q, l);
			continue;
		}
		memcpy(&len, b->data + b->rpos, LEN_BYTES);
		if (len > cap - *used)
			return false;
		memcpy(out + *used, b->data + b->rpos + LEN_BYTES, len);
		*used += len;
		b->rpos += LEN_BYTES + len;
		l->bytes -= len;
		q->bytes -= len;
		q->frames--;
	}
	/* The last block is used from its start again, or given back. */
	if (l->head != NULL)
		drop_head(q, l);
	return true;
}

size_t
txq_take(struct txq *q, uint8_t *out, size_t cap)
{
	size_t used = 0;

	MUST(cap >= FRAME_MAX_BYTES);
	for (unsigned i = 0; i < FRAME_CLASS_COUNT; i++)
		if (!take_lane(q, &q->lanes[i], out, cap, &used))
			break;
	return used;
}

bool
txq_empty(const struct txq *q)
{
	return q->bytes == 0;
}

bool
txq_high(const struct txq *q)
{
	return q->bytes > q->limit / 2;
}

bool
txq_low(const struct txq *q)
{
	return q->bytes < q->limit / 4;
}
