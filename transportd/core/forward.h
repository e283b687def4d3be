/*
 * forward: where a frame goes next.  Decides only; the shell moves the bytes.
 *
 * A frame that this node sends gets a whole path from the FIB.  A frame on its way follows the path
 * its source chose; if the next node has no link here, the rest of the path is replaced from the own
 * FIB (repair), and the source is told that, or that it was impossible.
 */
#ifndef TRANSPORTD_CORE_FORWARD_H
#define TRANSPORTD_CORE_FORWARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/frame.h"
#include "common/base/mono.h"
#include "common/base/must.h"
#include "transportd/core/limits.h"

struct buf;
struct fib;

struct forward {
	uint64_t self;
	const struct fib *fib;
	/* Is there a link to the node? */
	bool (*alive)(void *arg, uint64_t node);
	/* How bad is a path of this node now (pathhealth.h)?  The least bad one is taken.  NULL: all are
	 * equal. */
	unsigned (*badness)(void *arg, uint64_t dst, uint32_t path_id);
	void *arg;
};

/* Why a frame can't go on, or not as its source wants: travels in the payload of UNREACHABLE frames. */
enum unreach_reason {
	UNREACH_NO_ROUTE = 1, /* no path to the destination is known */
	UNREACH_NO_LINK = 2,  /* paths are known, but no link of theirs is up */
	UNREACH_TTL = 3,      /* time to live used up */
	UNREACH_LOOP = 4,     /* the path leads back to this node */
	UNREACH_REPAIRED = 5, /* it goes on, but not over its path: the next link of that is down */
	UNREACH_DENIED = 6,   /* the relay may not forward its tenant: the report has its flow */
};

enum forward_verdict {
	FORWARD_LOCAL, /* it is for this node */
	FORWARD_SEND,  /* to way.next */
	FORWARD_FAIL,  /* for way.reason */
};

struct forward_way {
	uint64_t next;
	const uint64_t *visit; /* what comes after next; borrowed from the frame or the FIB */
	uint8_t visit_count;
	bool repaired;
	uint32_t path_id; /* of the path taken from the FIB */
	enum unreach_reason reason;
};

/* A frame that starts here. */
enum forward_verdict forward_start(
    const struct forward *fw, uint64_t dst, uint8_t class, struct forward_way *way);
/* One that starts here and takes this path and no other. */
enum forward_verdict forward_over(
    const struct forward *fw, uint64_t dst, uint8_t class, uint32_t path_id, struct forward_way *way);
/* A frame that starts here, in answer to one that came over the neighbour via: back over it if there is such
 * a path, so that what is answered tells of one way and not of two; else as forward_start(). */
enum forward_verdict forward_back(
    const struct forward *fw, uint64_t dst, uint8_t class, uint64_t via, struct forward_way *way);
/* A frame that came from the neighbour `from`. */
enum forward_verdict forward_relay(
    const struct forward *fw, uint64_t from, const struct frame *f, struct forward_way *way);

/* --- reports to the source --- */

struct unreach {
	uint64_t destination;
	uint8_t reason;   /* enum unreach_reason */
	uint8_t original; /* type of the frame */
	uint32_t path_id; /* that the frame bore, the source's name of it; 0: not told */
};

/* The path was not told at first: without it a payload is shorter. */
enum { UNREACH_SHORT_BYTES = 10, UNREACH_PAYLOAD_BYTES = 14 };

int unreach_encode(const struct unreach *u, struct buf *out) MUST_USE;
/* Total: ERR_SHORT, ERR_LEFTOVER, ERR_FORMAT (path 0 in the long form). */
int unreach_decode(const void *payload, size_t len, struct unreach *out) MUST_USE;

/* One report per destination, path and source in UNREACH_INTERVAL_MS.  A table of fixed size: two that
 * share a slot may let each other through. */
struct unreach_limit {
	struct {
		uint64_t pair;
		struct mono until;
	} slots[UNREACH_SLOTS];
};

bool unreach_allowed(struct unreach_limit *l, uint64_t src, uint64_t dst, uint32_t path_id, struct mono now);

#endif
