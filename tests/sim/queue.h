/*
 * queue: what will happen in the simulated network, by time, then in the order of sending.
 */
#ifndef TESTS_SIM_QUEUE_H
#define TESTS_SIM_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sim_what {
	SIM_FRAME,     /* a LINK_STATE frame reaches node over link */
	SIM_SIGNATURE, /* consensusd answers node */
	SIM_WAKE,      /* node's loop has a turn */
	SIM_DATA,      /* a data frame reaches node */
	SIM_LINK_LOST, /* an end of link notices that it is dead */
	SIM_LINK_DIAL, /* somebody tries whether link works again */
	SIM_LINK_TOLD, /* node's transportd tells of the link to node `link`; a 0: it is down */
	SIM_INJECT,    /* an application sends a data frame */
	SIM_USED,      /* node's transportd tells that it sends data to node `link`; a 0: no longer */
	SIM_UNUSED,    /* it looks whether it still does */
	SIM_GOSSIP,    /* a GOSSIP frame reaches node, over whatever path it took */
};

struct sim_event {
	int64_t at;          /* us */
	int what;            /* enum sim_what */
	uint32_t node, link; /* indexes */
	uint64_t a;          /* frame, link: the session of the link; signature: ticket; gossip: sender */
	uint32_t life;       /* of the node when this was sent to it */
	uint32_t len;
	void *data; /* owned; may be NULL */
};

/* A heap of small keys, four children to each: events stay where they are. */
struct queue_key {
	int64_t at;
	uint64_t order_slot; /* order of sending, then where the event is */
};

struct queue {
	struct queue_key *heap;
	struct sim_event *slots;
	uint32_t *free_slots;
	size_t count, cap;
	uint64_t order;
};

void queue_fini(struct queue *q);
void queue_push(struct queue *q, struct sim_event ev);
/* When the first is due; INT64_MAX if there is none. */
int64_t queue_next(const struct queue *q);
struct sim_event queue_pop(struct queue *q);

/* Allocation that end the program when memory is out: it is a test. */
void *sim_alloc(size_t count, size_t size);
void *sim_realloc(void *p, size_t count, size_t size);
void *sim_dup(const void *data, size_t len);

#endif
