/*
 * swim_broadcast: statements that wait to be gossiped.
 *
 * Those sent least often come first, the newest first among equals, so that news travel before what most
 * have heard (SWIM, section 4.1).  Each is sent a limited number of times.  A newer statement about the
 * same thing takes the place of an older one.  When the queue is full, what was sent most often goes.
 */
#ifndef ROUTERD_CORE_SWIM_BROADCAST_H
#define ROUTERD_CORE_SWIM_BROADCAST_H

#include <bsd/sys/tree.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct buf;

/* What a statement is about: of each such thing there is one at most. */
enum swim_topic {
	SWIM_TOPIC_NONE, /* each is one of its own */
	SWIM_TOPIC_STATE,
	SWIM_TOPIC_META,
};

struct swim_broadcast {
	RB_ENTRY(swim_broadcast) link, by_topic; /* by_topic: not without a topic */
	uint64_t node;
	uint64_t order; /* later ones are newer */
	uint32_t sent;
	uint16_t len;
	uint8_t topic;  /* enum swim_topic, of node */
	uint8_t data[]; /* an encoded message */
};

RB_HEAD(swim_broadcast_tree, swim_broadcast);
RB_HEAD(swim_topic_tree, swim_broadcast);

struct swim_broadcasts {
	struct swim_broadcast_tree tree;
	struct swim_topic_tree topics;
	size_t count, max;
	uint64_t order, dropped;
};

void swim_broadcasts_init(struct swim_broadcasts *q, size_t max);
void swim_broadcasts_fini(struct swim_broadcasts *q);
/* Queues a message; one about the same topic of the same node is replaced.  ERR_NOMEM: nothing was changed.
 */
int swim_broadcasts_put(struct swim_broadcasts *q, enum swim_topic topic, uint64_t node, const uint8_t *data,
    size_t len) MUST_USE;
/* Does one about this wait? */
bool swim_broadcasts_have(const struct swim_broadcasts *q, enum swim_topic topic, uint64_t node);
/* Takes it out, if there is one. */
void swim_broadcasts_drop(struct swim_broadcasts *q, enum swim_topic topic, uint64_t node);
/* Appends what fits into room bytes; each is gone after limit times. */
void swim_broadcasts_fill(struct swim_broadcasts *q, struct buf *out, size_t room, uint32_t limit);

#endif
