#include "routerd/core/swim_broadcast.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/tree.h"
#include "routerd/core/limits.h"
#include "routerd/core/swim_msg.h"

enum {
	TAKE_MAX = 96, /* in one payload: more than fit SWIM_PACKET_BYTES */
	LOOK_MAX = 192 /* looked at for one that fits what is left */
};

static int
broadcast_compare(const struct swim_broadcast *a, const struct swim_broadcast *b)
{
	if (a->sent != b->sent)
		return a->sent < b->sent ? -1 : 1;
	return a->order > b->order ? -1 : a->order < b->order;
}

RB_GENERATE_STATIC(swim_broadcast_tree, swim_broadcast, link, broadcast_compare)

void
swim_broadcasts_init(struct swim_broadcasts *q, size_t max)
{
	*q = (struct swim_broadcasts){.max = max};
	RB_INIT(&q->tree);
}

static void
end(struct swim_broadcasts *q, struct swim_broadcast *b)
{
	RB_REMOVE(swim_broadcast_tree, &q->tree, b);
	q->count--;
	if (b->slot != NULL)
		*b->slot = NULL;
	mem_free(b);
}

void
swim_broadcasts_fini(struct swim_broadcasts *q)
{
	struct swim_broadcast *b;

	while ((b = RB_ROOT(&q->tree)) != NULL)
		end(q, b);
}

void
swim_broadcasts_drop(struct swim_broadcasts *q, struct swim_broadcast **slot)
{
	if (*slot != NULL)
		end(q, *slot);
}

int
swim_broadcasts_put(struct swim_broadcasts *q, struct swim_broadcast **slot, const uint8_t *data, size_t len)
{
	struct swim_broadcast *b = mem_calloc(1, sizeof(*b) + len);

	if (b == NULL)
		return ERR_NOMEM;
	MUST(len <= UINT16_MAX);
	memcpy(b->data, data, len);
	b->len = (uint16_t)len;
	b->order = ++q->order;
	if (slot != NULL)
		swim_broadcasts_drop(q, slot);
	if (q->count >= q->max) {
		end(q, RB_MAX(swim_broadcast_tree, &q->tree));
		q->dropped++;
	}
	RB_INSERT(swim_broadcast_tree, &q->tree, b);
	q->count++;
	b->slot = slot;
	if (slot != NULL)
		*slot = b;
	return 0;
}

void
swim_broadcasts_fill(struct swim_broadcasts *q, struct buf *out, size_t room, uint32_t limit)
{
	struct swim_broadcast *taken[TAKE_MAX], *b;
	size_t n = 0, looked = 0;

	RB_FOREACH (b, swim_broadcast_tree, &q->tree) {
		if (n == TAKE_MAX || room <= SWIM_MSG_HEAD_BYTES || looked++ == LOOK_MAX)
			break;
		if (b->len > room || buf_put_bytes(out, b->data, b->len) != 0)
			continue;
		room -= b->len;
		taken[n++] = b;
	}
	for (size_t i = 0; i < n; i++) {
		b = taken[i];
		if (b->sent + 1 >= limit) {
			end(q, b);
			continue;
		}
		RB_REMOVE(swim_broadcast_tree, &q->tree, b);
		b->sent++;
		RB_INSERT(swim_broadcast_tree, &q->tree, b);
	}
}
