/* net: frames that are lost, doubled, late and in another order, on one of several ways. */
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "tests/streamsim/world.h"

enum { DELAY_MIN_US = 200 };

void
frame_free(struct frame *f)
{
	batch_unref(f->batch);
	free(f);
}

static void
carry(struct world *w, unsigned from, unsigned host, struct frame *f)
{
	if (w->faults.cut[from][host] || world_chance(w, w->faults.loss)) {
		w->sums.lost++;
		frame_free(f);
		return;
	}
	world_push(w, w->now + DELAY_MIN_US + world_below(w, (unsigned)w->faults.delay_us + 1), WORLD_FRAME,
	    host, from, f);
}

static unsigned
first_hop(struct world *w, unsigned to)
{
	unsigned ways = w->relays + w->direct, way = world_below(w, ways);

	return way < w->relays ? ENDS_MAX + way : to;
}

static void
send_one(struct world *w, const struct frame *f)
{
	struct frame *copy = sim_alloc(1, sizeof(*f) + f->len);

	memcpy(copy, f, sizeof(*f) + f->len);
	if (copy->batch != NULL)
		batch_ref(copy->batch);
	if (!routing_send(w, copy))
		carry(w, f->from, first_hop(w, f->to), copy);
}

void
net_send(struct world *w, unsigned from, unsigned to, const struct frame *f)
{
	struct frame *x = sim_alloc(1, sizeof(*f) + f->len);

	memcpy(x, f, sizeof(*f) + f->len);
	x->from = from;
	x->to = to;
	w->sums.frames++;
	send_one(w, x);
	if (world_chance(w, w->faults.doubled))
		send_one(w, x);
	free(x);
}

void
net_send_batch(struct world *w, unsigned to, struct batch *b, uint64_t mark)
{
	size_t n = (b->body_len + FRAGMENT_BYTES - 1) / FRAGMENT_BYTES;

	for (uint32_t i = 0; i < n; i++)
		net_send(w, 0, to, &(struct frame){.kind = FRAME_BATCH, .batch = b, .index = i, .seq = mark});
}

void
net_send_raft(struct world *w, unsigned from, unsigned to, unsigned group, const struct buf *bytes)
{
	struct frame *f = sim_alloc(1, sizeof(*f) + buf_left(bytes));

	f->kind = FRAME_RAFT;
	f->group = group;
	f->len = buf_left(bytes);
	memcpy(f->bytes, buf_head(bytes), f->len);
	net_send(w, from, to, f);
	free(f);
}

bool
net_arrived(struct world *w, unsigned host, struct frame *f)
{
	if (host < ENDS_MAX)
		return true;
	if (w->faults.relay_down[host - ENDS_MAX]) {
		w->sums.lost++;
		frame_free(f);
		return false;
	}
	carry(w, host, f->to, f);
	return false;
}
