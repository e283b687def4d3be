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

static int
topic_compare(const struct swim_broadcast *a, const struct swim_broadcast *b)
{
	if (a->node != b->node)
		return a->node < b->node ? -1 : 1;
	return (int)a->topic - (int)b->topic;
}

RB_GENERATE_STATIC(swim_topic_tree, swim_broadcast, by_topic, topic_compare)

void
swim_broadcasts_init(struct swim_broadcasts *q, size_t max)
{
	*q = (struct swim_broadcasts){.max = max};
	RB_INIT(&q->tree);
	RB_INIT(&q->topics);
}

static void
end(struct swim_broadcasts *q, struct swim_broadcast *b)
{
	RB_REMOVE(swim_broadcast_tree, &q->tree, b);
	q->count--;
	if (b->topic != SWIM_TOPIC_NONE)
		RB_REMOVE(swim_topic_tree, &q->topics, b);
	mem_free(b);
}

void
swim_broadcasts_fini(struct swim_broadcasts *q)
{
	struct swim_broadcast *b;

	while ((b = RB_ROOT(&q->tree)) != NULL)
		end(q, b);
}

static struct swim_broadcast *
find(const struct swim_broadcasts *q, enum swim_topic topic, uint64_t node)
{
	struct swim_broadcast key = {.node = node, .topic = (uint8_t)topic};

	/* Nothing is changed by that; the macros know no const. */
	return RB_FIND(swim_topic_tree, (struct swim_topic_tree *)(uintptr_t)&q->topics, &key);
}

bool
swim_broadcasts_have(const struct swim_broadcasts *q, enum swim_topic topic, uint64_t node)
{
	return find(q, topic, node) != NULL;
}

void
swim_broadcasts_drop(struct swim_broadcasts *q, enum swim_topic topic, uint64_t node)
{
	struct swim_broadcast *b = find(q, topic, node);

	if (b != NULL)
		end(q, b);
}

int
swim_broadcasts_put(
    struct swim_broadcasts *q, enum swim_topic topic, uint64_t node, const uint8_t *data, size_t len)
{
	struct swim_broadcast *b = mem_calloc(1, sizeof(*b) + len);

	if (b == NULL)
		return ERR_NOMEM;
	MUST(len <= UINT16_MAX);
	memcpy(b->data, data, len);
	b->len = (uint16_t)len;
	b->order = ++q->order;
	b->node = node;
	b->topic = (uint8_t)topic;
	swim_broadcasts_drop(q, topic, node);
	if (q->count >= q->max) {
		end(q, RB_MAX(swim_broadcast_tree, &q->tree));
		q->dropped++;
	}
	RB_INSERT(swim_broadcast_tree, &q->tree, b);
	q->count++;
	if (topic != SWIM_TOPIC_NONE)
		RB_INSERT(swim_topic_tree, &q->topics, b);
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
