/*
 * pathnet: a simulated network for path windows: links with a rate, a delay, and a queue that marks above
 * one fill and drops above another.  Deterministic: time is simulated, and frame sizes come from a seed.
 */
#ifndef TESTS_UNIT_TRANSPORTD_PATHNET_H
#define TESTS_UNIT_TRANSPORTD_PATHNET_H

#include <stdio.h>

#include "common/base/rng.h"
#include "tests/unit/unit.h"
#include "transportd/core/pathwin.h"

enum {
	LINKS_MAX = 3,
	FLOWS_MAX = 4,
	HOPS = 2, /* of a flow, at most */
	PACKETS = 4096,
	ASK_FRAME_BYTES = 100,
	RETRY_US = 500 * 1000, /* a path that fell silent is tried again after this */
	MBIT = 1000000 / 8,
	KIB = 1024,
	MS = 1000,
	SECOND = 1000000,
};

#define FOREVER INT64_MAX
#define ACCESS_RATE ((uint64_t)10000 * MBIT)

struct packet {
	int64_t at; /* when it arrives, on a wire */
	struct path_feedback feedback;
	uint32_t bytes;
	unsigned flow, hop;
	bool ask, marked;
};

/* First in, first out. */
struct fifo {
	struct packet packet[PACKETS];
	unsigned head, count;
};

struct hop {
	uint64_t rate; /* bytes per second */
	int64_t delay_us;
	uint64_t mark_bytes, drop_bytes, queued_bytes;
	unsigned lose_ppm;
	bool dead; /* swallows everything */
	struct fifo queue, wire;
	int64_t sent_at; /* when the first in the queue has left */
	/* Measured since measure(). */
	uint64_t queue_max_bytes, dropped, dropped_bytes; /* without asks */
	double queue_area;                                /* bytes times microseconds */
	int64_t measured_at;
};

struct flow {
	struct pathwin p;
	struct pathrx *rx;
	struct fifo answers;
	unsigned hops[HOPS], hop_count;
	uint64_t rate; /* of the application */
	int64_t send_at, silent_at;
	unsigned silences;
	bool held, done, ignores_window;
	uint64_t created, to_resend, delivered; /* frames; those dropped are sent again, by whom it does not
						 * matter here */
	uint64_t measured_bytes;
};

struct net {
	struct hop hop[LINKS_MAX];
	struct flow flow[FLOWS_MAX];
	unsigned hops, flows;
	int64_t now;
	struct rng rng;
	/* Of a test whose flows are the paths of one source: called in each step, and when it wants to be. */
	void (*step)(struct net *n);
	int64_t (*next)(struct net *n);
};

/* Too large for a stack, and only one is used at a time. */
static struct net net;

static inline struct packet *
first(struct fifo *f)
{
	return f->count != 0 ? &f->packet[f->head] : NULL;
}

static inline void
push(struct fifo *f, const struct packet *p)
{
	assert_true(f->count < PACKETS);
	f->packet[(f->head + f->count++) % PACKETS] = *p;
}

static inline struct packet
pop(struct fifo *f)
{
	struct packet p = f->packet[f->head];

	assert_true(f->count != 0);
	f->head = (f->head + 1) % PACKETS;
	f->count--;
	return p;
}

static inline struct mono
now_mono(const struct net *n)
{
	return (struct mono){n->now};
}

/* --- building --- */

static inline struct net *
net_start(uint64_t seed)
{
	for (unsigned i = 0; i < FLOWS_MAX; i++)
		pathrx_free(net.flow[i].rx);
	memset(&net, 0, sizeof(net));
	net.now = SECOND;
	rng_seed(&net.rng, seed);
	return &net;
}

static inline void
net_stop(struct net *n)
{
	net_start(0);
	assert_int_equal(n->flows, 0);
}

static inline struct hop *
net_hop(struct net *n, uint64_t rate, int64_t delay_us, uint64_t mark_bytes, uint64_t drop_bytes)
{
	struct hop *h = &n->hop[n->hops++];

	h->rate = rate;
	h->delay_us = delay_us;
	h->mark_bytes = mark_bytes;
	h->drop_bytes = drop_bytes;
	return h;
}

/* A flow over one hop, or over it and the next in a ring. */
static inline struct flow *
net_flow(struct net *n, unsigned hop, unsigned hop_count, uint64_t rate)
{
	struct flow *f = &n->flow[n->flows];

	for (unsigned i = 0; i < hop_count; i++)
		f->hops[i] = (hop + i) % n->hops;
	f->hop_count = hop_count;
	f->rate = rate;
	f->send_at = n->now;
	f->silent_at = FOREVER;
	f->rx = pathrx_new();
	assert_non_null(f->rx);
	pathwin_init(&f->p, n->flows++, 64 * 1024 * KIB, now_mono(n));
	return f;
}

/* --- the network --- */

static inline void
drop(struct net *n, struct hop *h, const struct packet *p)
{
	if (p->ask)
		return;
	h->dropped++;
	h->dropped_bytes += p->bytes;
	n->flow[p->flow].to_resend++;
}

static inline void
hop_serve(struct net *n, struct hop *h)
{
	const struct packet *p = first(&h->queue);

	if (p != NULL)
		h->sent_at = n->now + (int64_t)((p->bytes * (uint64_t)SECOND + h->rate - 1) / h->rate);
}

static inline void
hop_enqueue(struct net *n, struct hop *h, struct packet *p)
{
	if (h->dead || h->queued_bytes + p->bytes > h->drop_bytes ||
	    (h->lose_ppm != 0 && rng_below(&n->rng, 1000000) < h->lose_ppm)) {
		drop(n, h, p);
		return;
	}
	p->marked |= h->queued_bytes > h->mark_bytes;
	h->queued_bytes += p->bytes;
	if (h->queued_bytes > h->queue_max_bytes)
		h->queue_max_bytes = h->queued_bytes;
	push(&h->queue, p);
	if (h->queue.count == 1)
		hop_serve(n, h);
}

static inline void
hop_sent(struct net *n, struct hop *h)
{
	struct packet p = pop(&h->queue);

	h->queued_bytes -= p.bytes;
	p.at = n->now + h->delay_us;
	push(&h->wire, &p);
	hop_serve(n, h);
}

static inline int64_t
delay_back(const struct net *n, const struct flow *f)
{
	int64_t sum = 0;

	for (unsigned i = 0; i < f->hop_count; i++)
		sum += n->hop[f->hops[i]].delay_us;
	return sum;
}

static inline void
deliver(struct net *n, struct packet *p)
{
	struct flow *f = &n->flow[p->flow];

	if (p->ask) {
		pathrx_answer(f->rx, 1, &p->feedback);
		p->at = n->now + delay_back(n, f);
		push(&f->answers, p);
		return;
	}
	pathrx_received(f->rx, 1, f->p.path_id, p->bytes, p->marked);
	f->delivered++;
	f->measured_bytes += p->bytes;
}

static inline void
hop_arrived(struct net *n, struct hop *h)
{
	struct packet p = pop(&h->wire);
	struct flow *f = &n->flow[p.flow];

	if (h->dead)
		drop(n, h, &p);
	else if (++p.hop < f->hop_count)
		hop_enqueue(n, &n->hop[f->hops[p.hop]], &p);
	else
		deliver(n, &p);
}

/* --- the sources --- */

static inline bool
may_send(struct flow *f)
{
	if (pathwin_full(&f->p))
		f->held = true;
	else if (pathwin_open(&f->p))
		f->held = false;
	return (!f->done || f->to_resend != 0) && (!f->held || f->ignores_window);
}

static inline void
flow_send(struct net *n, struct flow *f)
{
	struct packet p = {
	    .flow = f->p.path_id,
	    .bytes = 8000 + (uint32_t)rng_below(&n->rng, 8000),
	};

	if (f->to_resend != 0)
		f->to_resend--;
	else
		f->created++;
	pathwin_sent(&f->p, p.bytes, now_mono(n));
	hop_enqueue(n, &n->hop[f->hops[0]], &p);
	f->send_at = n->now + (int64_t)(p.bytes * (uint64_t)SECOND / f->rate);
}

static inline void
flow_step(struct net *n, struct flow *f)
{
	struct packet ask = {.flow = f->p.path_id, .bytes = ASK_FRAME_BYTES, .ask = true};

	while (first(&f->answers) != NULL && first(&f->answers)->at <= n->now) {
		struct packet p = pop(&f->answers);

		(void)pathwin_answer(&f->p, &p.feedback, now_mono(n));
	}
	if (pathwin_silent(&f->p, now_mono(n))) {
		if (f->silences++ == 0)
			f->silent_at = n->now;
		pathwin_reset(&f->p, now_mono(n));
		f->send_at = n->now + RETRY_US;
	}
	if (may_send(f) && f->send_at <= n->now)
		flow_send(n, f);
	while (pathwin_ask(&f->p, now_mono(n), &ask.feedback))
		hop_enqueue(n, &n->hop[f->hops[0]], &ask);
	assert_in_range(f->p.window, PATHWIN_MIN_BYTES, f->p.window_max);
}

/* --- time --- */

static inline int64_t
earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static inline int64_t
next_event(struct net *n)
{
	int64_t at = FOREVER;

	for (unsigned i = 0; i < n->hops; i++) {
		struct hop *h = &n->hop[i];

		if (first(&h->queue) != NULL)
			at = earlier(at, h->sent_at);
		if (first(&h->wire) != NULL)
			at = earlier(at, first(&h->wire)->at);
	}
	for (unsigned i = 0; i < n->flows; i++) {
		struct flow *f = &n->flow[i];

		if (first(&f->answers) != NULL)
			at = earlier(at, first(&f->answers)->at);
		if (may_send(f))
			at = earlier(at, f->send_at);
		at = earlier(at, pathwin_next(&f->p).us);
	}
	if (n->next != NULL)
		at = earlier(at, n->next(n));
	return at < n->now ? n->now : at;
}

static inline void
net_step(struct net *n)
{
	for (unsigned i = 0; i < n->hops; i++) {
		struct hop *h = &n->hop[i];

		if (first(&h->queue) != NULL && h->sent_at <= n->now)
			hop_sent(n, h);
		while (first(&h->wire) != NULL && first(&h->wire)->at <= n->now)
			hop_arrived(n, h);
	}
	for (unsigned i = 0; i < n->flows; i++)
		flow_step(n, &n->flow[i]);
	if (n->step != NULL)
		n->step(n);
}

static inline void
net_run(struct net *n, int64_t us)
{
	int64_t end = n->now + us;

	for (;;) {
		int64_t at = earlier(next_event(n), end);

		for (unsigned i = 0; i < n->hops; i++)
			n->hop[i].queue_area += (double)(at - n->now) * (double)n->hop[i].queued_bytes;
		n->now = at;
		if (at == end)
			return;
		net_step(n);
	}
}

static inline void
measure(struct net *n)
{
	for (unsigned i = 0; i < n->hops; i++) {
		n->hop[i].queue_area = 0;
		n->hop[i].queue_max_bytes = n->hop[i].dropped = n->hop[i].dropped_bytes = 0;
		n->hop[i].measured_at = n->now;
	}
	for (unsigned i = 0; i < n->flows; i++)
		n->flow[i].measured_bytes = 0;
}

#endif
