/*
 * swim_user: user events: small messages to all members.
 *
 * A Lamport clock orders them: an event sent after another one was told has the greater time.  Duplicates
 * are known by (time, node, id) within a window of times; what is older is dropped.  Those that arrive
 * in one turn are told in the order of (time, node, id).  Recent ones are kept, so that push/pull brings
 * them to members that gossip missed.
 */
#ifndef ROUTERD_CORE_SWIM_USER_H
#define ROUTERD_CORE_SWIM_USER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/mono.h"
#include "routerd/core/limits.h"

struct swim;
struct swim_msg;

struct swim_user_slot {
	uint64_t ltime;
	uint64_t keys[SWIM_EVENT_SLOT];
	uint8_t count;
};

struct swim_user {
	uint64_t ltime, node, key;
	uint32_t id;
	uint16_t len;
	char name[SWIM_EVENT_NAME_SIZE];
	uint8_t payload[SWIM_EVENT_MAX_BYTES];
};

/* Made when the first event comes. */
struct swim_user_table {
	size_t pending_count, recent_count, recent_next;
	struct swim_user_slot slots[SWIM_EVENT_WINDOW];
	struct swim_user pending[SWIM_EVENTS_PENDING]; /* ascending */
	struct swim_user recent[SWIM_EVENTS_RECENT];   /* a ring */
};

struct swim_users {
	uint64_t clock;
	uint32_t id;
	struct swim_user_table *table;
};

void swim_user_fini(struct swim *s);
/* An event came; not one of our own. */
void swim_user_message(struct swim *s, const struct swim_msg *m);
/* Tells those that wait. */
void swim_user_step(struct swim *s);
bool swim_user_waiting(const struct swim *s);
/* The clock of another node was seen. */
void swim_user_witness(struct swim *s, uint64_t ltime);
uint64_t swim_user_sum(const struct swim *s);
/* Adds the recent ones to the payload being written to a node. */
void swim_user_send_recent(struct swim *s, uint64_t to);

#endif
