/*
 * eyeballs: which address of a peer is tried next, and when (RFC 8305, "happy eyeballs").
 *
 * All addresses are candidates, the families in turn and IPv6 first.  The next attempt begins 250 ms
 * after the last one, or at once when one fails; the caller ends the race when one has won.  Names may
 * still be looked up meanwhile: the first attempt waits 50 ms for them, and what comes later is merged
 * into the order.  A candidate that led nowhere after it had won goes last.  Pure.
 */
#ifndef TRANSPORTD_CORE_EYEBALLS_H
#define TRANSPORTD_CORE_EYEBALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/mono.h"
#include "common/base/must.h"
#include "transportd/core/limits.h"

enum {
	EYEBALLS_IP_SIZE = 46, /* INET6_ADDRSTRLEN */
	EYEBALLS_MAX = PEER_ADDRESSES_MAX * RESOLVED_MAX,
};

struct eyeballs_candidate {
	char ip[EYEBALLS_IP_SIZE];
	uint16_t port;
	uint8_t rank; /* place in the caller's list, which is kept within a family */
	bool last;    /* only when there is no other */
	bool begun;
};

struct eyeballs {
	struct eyeballs_candidate list[EYEBALLS_MAX];
	size_t count, begun;
	unsigned running; /* attempts */
	unsigned asked;   /* names that are looked up */
	bool last_v6;     /* family of the last attempt */
	struct mono due;  /* of the next attempt */
};

void eyeballs_init(struct eyeballs *e, struct mono now);
/* A name is being looked up; its answer is there, or will not come. */
void eyeballs_ask(struct eyeballs *e);
void eyeballs_answered(struct eyeballs *e);
/* One more candidate, unless it is there already.  ERR_FULL; ERR_FORMAT: ip is too long. */
int eyeballs_add(struct eyeballs *e, const char *ip, uint16_t port, uint8_t rank, bool last) MUST_USE;

/* When the next attempt is due: now or before, later, or MONO_NEVER if none can begin. */
struct mono eyeballs_next(const struct eyeballs *e);
/* Begins the next attempt: call it when one is due.  Borrowed. */
const struct eyeballs_candidate *eyeballs_begin(struct eyeballs *e, struct mono now);
/* One attempt has failed. */
void eyeballs_failed(struct eyeballs *e, struct mono now);
/* Nothing runs, waits, or is looked up: everybody has lost. */
bool eyeballs_over(const struct eyeballs *e);

#endif
