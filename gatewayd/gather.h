/*
 * gather: asking several siblings at once, for one call.
 *
 * Each part is one request; its answer (the body of REPLY, or the bodies of all ITEMs) is kept as it
 * came.  When every part has ended, well or not, the work's finish function puts the answer together.  A
 * sibling that is not there, or takes longer than SIBLING_TIMEOUT_MS, ends its part with an error.
 */
#ifndef GATEWAYD_GATHER_H
#define GATEWAYD_GATHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/must.h"
#include "gatewayd/backend.h"
#include "gatewayd/core/grpc_status.h"

struct call;
struct gather;
struct loop_timer;

enum { GATHER_PARTS_MAX = 7, GATHER_TEXT_SIZE = 256, GATHER_NOTE_MAX_BYTES = 65536 };

struct gather_part {
	struct request request;
	struct gather *gather;
	struct backend *backend;
	struct buf items; /* u32 length and bytes, for REPLY and each ITEM */
	bool ended;
	enum grpc_status status;     /* GRPC_OK: items is complete */
	char text[GATHER_TEXT_SIZE]; /* why not */
};

struct gather {
	struct call *call;
	struct gather_part parts[GATHER_PARTS_MAX];
	size_t count, pending;
	bool started;
	struct loop_timer *timer;
	struct buf note;                  /* what the work keeps for finish: the request, say */
	void (*finish)(struct gather *g); /* ends the call */
};

/* A gather for the call, as its state.  NULL: the call has ended for lack of memory. */
struct gather *gather_new(struct call *c, void (*finish)(struct gather *g)) MUST_USE;
/* For finish: g is done with, and the call goes on with another gather.  NULL: the call has ended. */
struct gather *gather_again(struct gather *g, void (*finish)(struct gather *g)) MUST_USE;
/* Adds a part: msg with this body to backend. */
void gather_add(struct gather *g, enum backend_id id, uint32_t msg, const void *data, size_t len);
/* All parts are added.  May finish at once. */
void gather_start(struct gather *g);
/* For ended() of the call: gives up what is in flight and frees c->state. */
void gather_ended(struct call *c);

/* The next answer of a part, from a view of its items: 1, or 0 at the end. */
int gather_next(struct buf *view, const uint8_t **data, size_t *len) MUST_USE;
void gather_view(const struct gather_part *p, struct buf *view);

#endif
