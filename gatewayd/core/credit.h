/*
 * credit: how much of a subscriber's window is passed on to consensusd.
 *
 * A client may grant any number of messages (mesh.v1.WindowUpdate), and then read them slowly.  So only
 * as many are passed on as a bounded queue takes, by the size of recent messages; the rest is owed, and
 * follows as the client takes what it has got.  Only the count is looked at: bytes are consensusd's own to
 * count, since they are measured as it stores them.
 */
#ifndef GATEWAYD_CORE_CREDIT_H
#define GATEWAYD_CORE_CREDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	CREDIT_QUEUE_BYTES = 8 * 1024 * 1024, /* what is passed on may come to, about */
	CREDIT_COUNT_MIN = 4,                 /* passed on whatever sizes were */
	CREDIT_COUNT_MAX = 16384,
	CREDIT_SPAN_COUNT = 256, /* messages whose largest size counts */
};

struct credit {                /* all zero at first */
	bool granted;          /* the client has sent a window */
	bool unlimited;        /* by count */
	int64_t owed;          /* granted and not passed on */
	int64_t open;          /* passed on and not used */
	size_t largest, newer; /* of the span before, and of the one that runs */
	unsigned span;
};

/* The client grants messages more (0 in its first window: no limit by count); how many to pass on. */
int64_t credit_grant(struct credit *c, int64_t messages);
/* A message of len bytes came. */
void credit_use(struct credit *c, size_t len);
/* How many to pass on now; 0 while more than half of what may be open still is. */
int64_t credit_refill(struct credit *c);

#endif
