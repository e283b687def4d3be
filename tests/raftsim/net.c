/* net: messages that are lost, doubled, late and in another order, or go one way only. */
#include <stdlib.h>

#include "common/base/buf.h"
#include "common/base/must.h"
#include "tests/raftsim/world.h"

enum { MESSAGE_MAX_BYTES = 1 << 20, DELAY_MIN_US = 200 };

static void
carry(struct world *w, unsigned from, unsigned to, const struct buf *b)
{
	struct sim_event ev = {
	    .at = w->now + DELAY_MIN_US + world_below(w, (unsigned)w->faults.delay_us + 1),
	    .what = WORLD_MESSAGE,
	    .node = to,
	    .link = from,
	    .len = (uint32_t)buf_left(b),
	    .data = sim_dup(buf_head(b), buf_left(b)),
	};

	queue_push(&w->queue, ev);
}

void
net_send(struct world *w, unsigned from, struct raft_msg *m)
{
	int to = host_of(w, m->to);
	struct buf b;

	w->messages++;
	if (to < 0 || w->faults.cut[from][to] || world_chance(w, w->faults.loss))
		return;
	buf_init(&b, MESSAGE_MAX_BYTES);
	MUST(raft_msg_encode(m, &b) == 0);
	carry(w, from, (unsigned)to, &b);
	if (world_chance(w, w->faults.doubled))
		carry(w, from, (unsigned)to, &b);
	buf_fini(&b);
}
