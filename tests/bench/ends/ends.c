/*
 * Linked with transportd (ld --wrap): stands between its relay and its edge to consensusd.  See ends.h.
 */
#include "tests/bench/ends/ends.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/be.h"
#include "common/os/clock.h"
#include "common/os/loop.h"
#include "transportd/edge_consensus.h"
#include "transportd/relay.h"
#include "transportd/transport.h"

void __real_consensus_deliver(struct transport *t, const uint8_t *raw, size_t size);
void __wrap_consensus_deliver(struct transport *t, const uint8_t *raw, size_t size);
int __real_relay_originate(struct transport *t, struct frame *f);
int __wrap_relay_originate(struct transport *t, struct frame *f);
void __real_consensus_hold(struct transport *t, uint64_t destination, bool hold);
void __wrap_consensus_hold(struct transport *t, uint64_t destination, bool hold);

static struct {
	struct transport *t;
	struct loop_defer due;
	/* source */
	struct frame pattern; /* its payload_len: 0 while nothing is sent */
	uint8_t payload[ENDS_BYTES];
	uint64_t sent, acked;
	bool held;
	/* sink */
	uint64_t taken, answered;
	struct frame answer;
} ends;

static void
send_next(void)
{
	struct frame f = ends.pattern;

	be_store64(ends.payload, ends.sent++);
	f.payload = ends.payload;
	if (__real_relay_originate(ends.t, &f) != 0)
		MUST(!"lost");
}

static void
send_answer(void)
{
	uint8_t payload[ENDS_ACK_BYTES];
	struct frame f = ends.answer;

	ends.answered = ends.taken;
	be_store64(payload, ends.taken);
	f.payload = payload;
	f.payload_len = sizeof(payload);
	if (__real_relay_originate(ends.t, &f) != 0)
		MUST(!"lost");
}

static void
work(void *arg)
{
	(void)arg;
	ends.t->turn = clock_mono();
	if (ends.taken >= ends.answered + ENDS_ACK_EVERY)
		send_answer();
	while (ends.pattern.payload_len != 0 && !ends.held && ends.sent < ends.acked + ENDS_WINDOW)
		send_next();
}

static void
wake(struct transport *t)
{
	ends.t = t;
	ends.due.fn = work;
	loop_defer_add(t->loop, &ends.due);
}

static void
begin(struct transport *t, const struct frame *f)
{
	ends.pattern = *f;
	ends.sent = ends.acked = 0;
	wake(t);
}

/* The first frame of a run begins a new count. */
static void
take(struct transport *t, const struct frame *f, const uint8_t *raw, size_t size)
{
	uint64_t number = be_load64(f->payload);

	if (number == 0)
		ends.taken = ends.answered = 0;
	if (number != ends.taken++)
		MUST(!"lost");
	ends.answer = (struct frame){.type = FRAME_DATA,
	    .class = f->class,
	    .src = t->identity.node_id,
	    .visit_count = 1,
	    .visit = {f->src}};
	if (number % ENDS_SHOWN == 0)
		__real_consensus_deliver(t, raw, size);
	wake(t);
}

void
__wrap_consensus_deliver(struct transport *t, const uint8_t *raw, size_t size)
{
	struct buf in;
	struct frame f;

	buf_view(&in, raw, size);
	if (frame_decode(&in, &f) == 0 && f.type == FRAME_DATA && f.payload_len == ENDS_BYTES)
		take(t, &f, raw, size);
	else if (f.type == FRAME_DATA && f.payload_len == ENDS_ACK_BYTES) {
		ends.acked = be_load64(f.payload);
		wake(t);
	} else
		__real_consensus_deliver(t, raw, size);
}

int
__wrap_relay_originate(struct transport *t, struct frame *f)
{
	if (f->type == FRAME_DATA && f->payload_len == ENDS_BYTES)
		begin(t, f);
	else if (f->type == FRAME_DATA && f->payload_len == ENDS_STOP_BYTES)
		ends.pattern.payload_len = 0;
	else
		return __real_relay_originate(t, f);
	return 0;
}

void
__wrap_consensus_hold(struct transport *t, uint64_t destination, bool hold)
{
	ends.held = hold;
	__real_consensus_hold(t, destination, hold);
	if (!hold)
		wake(t);
}
