/*
 * Path windows on a simulated network: links with a rate, a delay, and a queue that marks above one fill
 * and drops above another.  Deterministic: time is simulated, and frame sizes come from a seed.
 */
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
};

/* Too large for a stack, and only one is used at a time. */
static struct net net;

static struct packet *
first(struct fifo *f)
{
	return f->count != 0 ? &f->packet[f->head] : NULL;
}

static void
push(struct fifo *f, const struct packet *p)
{
	assert_true(f->count < PACKETS);
	f->packet[(f->head + f->count++) % PACKETS] = *p;
}

static struct packet
pop(struct fifo *f)
{
	struct packet p = f->packet[f->head];

	assert_true(f->count != 0);
	f->head = (f->head + 1) % PACKETS;
	f->count--;
	return p;
}

static struct mono
now_mono(const struct net *n)
{
	return (struct mono){n->now};
}

/* --- building --- */

static struct net *
net_start(uint64_t seed)
{
	for (unsigned i = 0; i < FLOWS_MAX; i++)
		pathrx_free(net.flow[i].rx);
	memset(&net, 0, sizeof(net));
	net.now = SECOND;
	rng_seed(&net.rng, seed);
	return &net;
}

static void
net_stop(struct net *n)
{
	net_start(0);
	assert_int_equal(n->flows, 0);
}

static struct hop *
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
static struct flow *
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

static void
drop(struct net *n, struct hop *h, const struct packet *p)
{
	if (p->ask)
		return;
	h->dropped++;
	h->dropped_bytes += p->bytes;
	n->flow[p->flow].to_resend++;
}

static void
hop_serve(struct net *n, struct hop *h)
{
	const struct packet *p = first(&h->queue);

	if (p != NULL)
		h->sent_at = n->now + (int64_t)((p->bytes * (uint64_t)SECOND + h->rate - 1) / h->rate);
}

static void
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

static void
hop_sent(struct net *n, struct hop *h)
{
	struct packet p = pop(&h->queue);

	h->queued_bytes -= p.bytes;
	p.at = n->now + h->delay_us;
	push(&h->wire, &p);
	hop_serve(n, h);
}

static int64_t
delay_back(const struct net *n, const struct flow *f)
{
	int64_t sum = 0;

	for (unsigned i = 0; i < f->hop_count; i++)
		sum += n->hop[f->hops[i]].delay_us;
	return sum;
}

static void
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

static void
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

static bool
may_send(struct flow *f)
{
	if (pathwin_full(&f->p))
		f->held = true;
	else if (pathwin_open(&f->p))
		f->held = false;
	return (!f->done || f->to_resend != 0) && (!f->held || f->ignores_window);
}

static void
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

static void
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

static int64_t
earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t
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
	return at < n->now ? n->now : at;
}

static void
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
}

static void
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

static void
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

static double
utilisation(const struct net *n)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < n->flows; i++)
		bytes += n->flow[i].measured_bytes;
	return (double)bytes * SECOND / (double)(n->now - n->hop[0].measured_at) / (double)n->hop[0].rate;
}

static double
queue_mean(const struct net *n)
{
	return n->hop[0].queue_area / (double)(n->now - n->hop[0].measured_at);
}

/* The most that a flow got, by the least. */
static double
unfairness(const struct net *n)
{
	uint64_t most = 0, least = UINT64_MAX;

	for (unsigned i = 0; i < n->flows; i++) {
		uint64_t b = n->flow[i].measured_bytes;

		most = b > most ? b : most;
		least = b < least ? b : least;
	}
	return (double)most / (double)(least + 1);
}

static void
show(const struct net *n, const char *what)
{
	print_message("%s: used %.1f %%, queue %.0f KiB (most %.0f), shares within %.2f, %lu dropped\n", what,
	    utilisation(n) * 100, queue_mean(n) / KIB, (double)n->hop[0].queue_max_bytes / KIB, unfairness(n),
	    (unsigned long)n->hop[0].dropped);
}

/* --- scenarios --- */

#define ACCESS_RATE ((uint64_t)10000 * MBIT)

/* Flows that begin one after the other on one link. */
static void
converge(uint64_t seed, unsigned flows, uint64_t rate, int64_t delay_us, uint64_t mark)
{
	struct net *n = net_start(seed);
	char what[80];

	net_hop(n, rate, delay_us, mark, 4 * mark);
	for (unsigned i = 0; i < flows; i++) {
		net_flow(n, 0, 1, ACCESS_RATE);
		net_run(n, 200 * MS);
	}
	net_run(n, 10 * SECOND);
	measure(n);
	net_run(n, 20 * SECOND);
	(void)snprintf(what, sizeof(what), "%u flows, %lu Mbit/s, %d ms", flows, (unsigned long)(rate / MBIT),
	    (int)(2 * delay_us / MS));
	show(n, what);
	assert_true(utilisation(n) > 0.9);
	assert_true(queue_mean(n) < 2.0 * (double)mark);
	assert_int_equal(n->hop[0].dropped, 0);
	assert_true(unfairness(n) < 2);
	for (unsigned i = 0; i < flows; i++)
		assert_int_equal(n->flow[i].silences, 0);
	net_stop(n);
}

static void
converges(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 3; seed++)
		for (unsigned flows = 1; flows <= 4; flows++) {
			converge(seed, flows, 100 * MBIT, 10 * MS, 512 * KIB);
			converge(seed, flows, 20 * MBIT, 20 * MS, 512 * KIB);
			converge(seed, flows, 1000 * MBIT, 25 * MS, 2048 * KIB);
		}
}

/* --- a path that changes --- */

static struct net *
one_flow(uint64_t seed, uint64_t mark)
{
	struct net *n = net_start(seed);

	net_hop(n, 100 * MBIT, 10 * MS, mark, 2048 * KIB);
	net_flow(n, 0, 1, ACCESS_RATE);
	net_run(n, 10 * SECOND);
	return n;
}

/* The link becomes ten times slower: after the queue has drained, it is used and its queue is short
 * again.  Then it becomes as fast as before. */
static void
rate_drop(void **state)
{
	struct net *n = one_flow(4, 512 * KIB);
	struct hop *h = &n->hop[0];

	(void)state;
	h->rate = 10 * MBIT;
	measure(n);
	net_run(n, 5 * SECOND);
	show(n, "rate dropped, first 5 s");
	assert_true(utilisation(n) > 0.9);
	measure(n);
	net_run(n, 20 * SECOND);
	show(n, "rate dropped, then");
	assert_true(utilisation(n) > 0.9);
	assert_true(h->queue_max_bytes < 2 * h->mark_bytes);
	assert_int_equal(h->dropped, 0);
	h->rate = 100 * MBIT;
	measure(n);
	net_run(n, 5 * SECOND);
	show(n, "rate restored, first 5 s");
	assert_true(utilisation(n) > 0.8);
	assert_int_equal(n->flow[0].silences, 0);
	net_stop(n);
}

/* A link that only drops is filled to its limit, and is used nevertheless. */
static void
loss_without_marks(void **state)
{
	struct net *n = one_flow(5, UINT64_MAX);
	struct pathwin *p = &n->flow[0].p;
	uint64_t lost = p->lost_bytes;

	(void)state;
	assert_int_equal(p->marked_bytes, 0);
	measure(n);
	net_run(n, 30 * SECOND);
	show(n, "drops only");
	assert_true(utilisation(n) > 0.9);
	assert_true(p->lost_bytes > lost);
	assert_false(p->slow_start);
	/* Few are dropped for what is learned of it: less than one frame in a hundred. */
	assert_true(n->hop[0].dropped * 12000 * 100 < n->flow[0].measured_bytes);
	net_stop(n);
}

/* What is lost is counted, but for the shortfall that the last answers left open. */
static void
random_loss(void **state)
{
	struct net *n = one_flow(6, 512 * KIB);
	struct flow *f = &n->flow[0];
	uint64_t before = f->p.lost_bytes;

	(void)state;
	assert_int_equal(before, 0);
	n->hop[0].lose_ppm = 10000;
	measure(n);
	net_run(n, 30 * SECOND);
	show(n, "1 % lost");
	n->hop[0].lose_ppm = 0;
	net_run(n, 2 * SECOND);
	assert_in_range(
	    f->p.lost_bytes, n->hop[0].dropped_bytes / 20 * 19, n->hop[0].dropped_bytes / 20 * 21);
	assert_int_equal(f->silences, 0);
	net_stop(n);
}

/* A black hole: noticed in time, and the path is used again soon after it works again. */
static void
silence(void **state)
{
	struct net *n = one_flow(7, 512 * KIB);
	struct flow *f = &n->flow[0];
	int64_t limit = 2 * ((int64_t)f->p.srtt_us + 4 * (int64_t)f->p.rttvar_us), died = n->now;

	(void)state;
	if (limit < PATHWIN_SILENT_MIN_MS * MS)
		limit = PATHWIN_SILENT_MIN_MS * MS;
	n->hop[0].dead = true;
	net_run(n, 10 * SECOND);
	print_message(
	    "silent after %ld ms, the limit is %ld ms\n", (long)(f->silent_at - died) / MS, (long)limit / MS);
	assert_in_range(f->silent_at - died, limit / 2, 2 * limit);
	assert_in_range(f->silences, 2, 20);
	n->hop[0].dead = false;
	net_run(n, 3 * SECOND);
	measure(n);
	net_run(n, 5 * SECOND);
	show(n, "after a black hole");
	assert_true(utilisation(n) > 0.9);
	net_stop(n);
}

/* A link so slow that the first frame takes two seconds looks silent at first; after some tries, each more
 * patient and with less, it is used without a break. */
static void
slow_is_not_silent(void **state)
{
	struct net *n = net_start(8);
	struct flow *f;
	unsigned silences;

	(void)state;
	net_hop(n, 50 * 1000 / 8, 20 * MS, 64 * KIB, 1024 * KIB);
	f = net_flow(n, 0, 1, ACCESS_RATE);
	net_run(n, 300 * SECOND);
	silences = f->silences;
	assert_in_range(silences, 0, 8);
	measure(n);
	net_run(n, 1200 * SECOND);
	show(n, "50 kbit/s");
	assert_true(utilisation(n) > 0.9);
	assert_true(n->hop[0].queue_max_bytes < 3 * n->hop[0].mark_bytes);
	assert_int_equal(f->silences, silences);
	net_stop(n);
}

/* Half a megabit per second does not make a window for more, and asks stay few. */
static void
application_limited(void **state)
{
	struct net *n = net_start(9);
	struct flow *f;

	(void)state;
	net_hop(n, 100 * MBIT, 10 * MS, 512 * KIB, 2048 * KIB);
	f = net_flow(n, 0, 1, MBIT / 2);
	net_run(n, 30 * SECOND);
	assert_int_equal(f->p.window, PATHWIN_INITIAL_BYTES);
	assert_int_equal(f->p.lost_bytes + f->p.marked_bytes + f->silences, 0);
	assert_in_range(f->p.srtt_us, 20 * MS, 22 * MS);
	f->done = true;
	net_run(n, SECOND);
	assert_int_equal(pathwin_in_flight(&f->p), 0);
	assert_true(mono_is_never(pathwin_next(&f->p)));
	net_stop(n);
}

/* --- a ring --- */

/*
 * Three nodes, each sending to the one after the next: every queue carries what its own node sends and
 * what it relays, and all are full.  Where a full queue would stop its sender, this could lock up; here
 * it drops, and every flow goes on.
 */
static void
ring(uint64_t seed, bool windows)
{
	struct net *n = net_start(seed);

	for (unsigned i = 0; i < 3; i++)
		net_hop(n, 20 * MBIT, 5 * MS, windows ? 128 * KIB : UINT64_MAX, 256 * KIB);
	for (unsigned i = 0; i < 3; i++)
		net_flow(n, i, 2, windows ? ACCESS_RATE : 100 * MBIT)->ignores_window = !windows;
	for (unsigned second = 0; second < 60; second++) {
		uint64_t before[3];

		for (unsigned i = 0; i < 3; i++)
			before[i] = n->flow[i].delivered;
		net_run(n, SECOND);
		for (unsigned i = 0; i < 3; i++)
			assert_true(n->flow[i].delivered > before[i] + 10);
	}
	for (unsigned i = 0; i < 3; i++) {
		print_message("ring, windows %d: %lu of %lu delivered, link dropped %lu\n", windows,
		    (unsigned long)n->flow[i].delivered, (unsigned long)n->flow[i].created,
		    (unsigned long)n->hop[i].dropped);
		assert_true(windows || n->hop[i].dropped > 1000);
		n->flow[i].done = true;
		n->flow[i].ignores_window = false;
	}
	net_run(n, 120 * SECOND);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(n->flow[i].delivered, n->flow[i].created);
	net_stop(n);
}

static void
ring_goes_on(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 3; seed++) {
		ring(seed, true);
		ring(seed, false);
	}
}

/* The same seed gives the same run. */
static void
deterministic(void **state)
{
	uint64_t delivered[2], windows[2];

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct net *n = one_flow(10, 256 * KIB);

		delivered[i] = n->flow[0].delivered;
		windows[i] = n->flow[0].p.window;
		net_stop(n);
	}
	assert_int_equal(delivered[0], delivered[1]);
	assert_int_equal(windows[0], windows[1]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(converges),
	    cmocka_unit_test(rate_drop),
	    cmocka_unit_test(loss_without_marks),
	    cmocka_unit_test(random_loss),
	    cmocka_unit_test(silence),
	    cmocka_unit_test(slow_is_not_silent),
	    cmocka_unit_test(application_limited),
	    cmocka_unit_test(ring_goes_on),
	    cmocka_unit_test(deterministic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
