/* Paces a simulated lane: a bottleneck with a first-in first-out queue that everything waits in, a delay
 * behind it, a receiver that acknowledges every 64 KiB or 5 ms, and a way back that takes the delay. */
#include "transportd/core/pace.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/unit.h"

enum {
	MESSAGE_BYTES = 16384,
	CONTROL_BYTES = 100,
	ACK_BYTES = 65536,
	ACK_US = 5000,
	TICK_US = 1000,
	PING_US = 100000,
	FLIGHT_MAX = 1 << 13, /* a power of 2 */
	WAITS_MAX = 1 << 14,
	LANES = 3,
};

struct packet {
	double at; /* µs: arrives */
	double sent;
	size_t bytes;
	int lane; /* -1: a control frame */
	bool ping;
};

struct fifo {
	struct packet item[FLIGHT_MAX];
	unsigned head, tail;
};

struct lane {
	struct pace pace;
	uint64_t unacked, pending; /* received and not acknowledged yet */
	double ack_at;             /* when pending is at the latest */
	uint64_t delivered;
	bool active;
};

struct sim {
	double now, busy_until, tick, control, ping;
	double rate; /* bytes per µs */
	double delay_us;
	double control_us; /* between two control frames: a tenth of the rate at most */
	struct fifo there, back;
	struct lane lane[LANES];
	unsigned lanes;
	double waits[WAITS_MAX]; /* of control frames in the queue, ms */
	unsigned wait_count;
	size_t most_unacked;
};

static struct mono
now_of(const struct sim *s)
{
	return (struct mono){(int64_t)s->now};
}

static struct sim *
sim_new(unsigned lanes, double mbit, double rtt_ms)
{
	struct sim *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	s->rate = mbit / 8;
	s->delay_us = rtt_ms * 1000 / 2;
	s->lanes = lanes;
	s->control_us = fmax(10000, 10 * CONTROL_BYTES / s->rate);
	for (unsigned i = 0; i < lanes; i++) {
		pace_init(&s->lane[i].pace, now_of(s));
		s->lane[i].ack_at = INFINITY;
		s->lane[i].active = true;
	}
	return s;
}

static void
put(struct fifo *f, struct packet p)
{
	assert_true(f->tail - f->head < FLIGHT_MAX);
	f->item[f->tail++ % FLIGHT_MAX] = p;
}

static double
first(const struct fifo *f)
{
	return f->head == f->tail ? INFINITY : f->item[f->head % FLIGHT_MAX].at;
}

/* Into the queue of the bottleneck; what it waits there. */
static double
enqueue(struct sim *s, struct packet p)
{
	double wait = s->busy_until > s->now ? s->busy_until - s->now : 0;

	s->busy_until = s->now + wait + (double)p.bytes / s->rate;
	p.sent = s->now;
	p.at = s->busy_until + s->delay_us;
	put(&s->there, p);
	return wait;
}

static void
acknowledge(struct sim *s, int i)
{
	struct lane *l = &s->lane[i];

	put(&s->back, (struct packet){.at = s->now + s->delay_us, .bytes = l->pending, .lane = i});
	l->pending = 0;
	l->ack_at = INFINITY;
}

static void
arrive(struct sim *s)
{
	struct packet p = s->there.item[s->there.head++ % FLIGHT_MAX];
	struct lane *l;

	if (p.ping) {
		p.at = s->now + s->delay_us;
		put(&s->back, p);
	}
	if (p.ping || p.lane < 0)
		return;
	l = &s->lane[p.lane];
	if (l->pending == 0)
		l->ack_at = s->now + ACK_US;
	l->pending += p.bytes;
	l->delivered += p.bytes;
	if (l->pending >= ACK_BYTES)
		acknowledge(s, p.lane);
}

static void
come_back(struct sim *s)
{
	struct packet p = s->back.item[s->back.head++ % FLIGHT_MAX];
	struct lane *l = &s->lane[p.lane];

	if (p.ping) {
		pace_rtt(&l->pace, (uint32_t)(s->now - p.sent), now_of(s));
		for (unsigned i = 0; i < s->lanes; i++)
			pace_drain_with(&s->lane[i].pace, &l->pace, now_of(s));
		return;
	}
	l->unacked -= p.bytes;
	pace_acked(&l->pace, p.bytes, now_of(s));
}

static void
fill(struct sim *s, int i)
{
	struct lane *l = &s->lane[i];

	while (l->active && l->unacked + MESSAGE_BYTES <= pace_limit(&l->pace, now_of(s))) {
		enqueue(s, (struct packet){.bytes = MESSAGE_BYTES, .lane = i});
		pace_sent(&l->pace, MESSAGE_BYTES, false, now_of(s));
		l->unacked += MESSAGE_BYTES;
		if (l->unacked > s->most_unacked)
			s->most_unacked = l->unacked;
	}
}

static void
tick(struct sim *s)
{
	s->tick += TICK_US;
	if (s->now >= s->control) {
		s->control += s->control_us;
		assert_true(s->wait_count < WAITS_MAX);
		s->waits[s->wait_count++] =
		    enqueue(s, (struct packet){.bytes = CONTROL_BYTES, .lane = -1}) / 1000;
	}
	if (s->now >= s->ping) {
		s->ping += fmax(PING_US, s->control_us);
		for (unsigned i = 0; i < s->lanes; i++)
			enqueue(s, (struct packet){.bytes = CONTROL_BYTES, .lane = (int)i, .ping = true});
	}
}

static void
sim_run(struct sim *s, double seconds)
{
	double end = s->now + seconds * 1e6;

	for (;;) {
		double next = fmin(fmin(first(&s->there), first(&s->back)), s->tick);
		int ack = -1;

		for (unsigned i = 0; i < s->lanes; i++)
			if (s->lane[i].ack_at < next) {
				next = s->lane[i].ack_at;
				ack = (int)i;
			}
		if (next > end)
			break;
		s->now = next;
		if (ack >= 0)
			acknowledge(s, ack);
		else if (next == s->tick)
			tick(s);
		else if (next == first(&s->there))
			arrive(s);
		else
			come_back(s);
		for (unsigned i = 0; i < s->lanes; i++)
			fill(s, (int)i);
	}
	s->now = end;
}

static uint64_t
delivered(const struct sim *s)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < s->lanes; i++)
		sum += s->lane[i].delivered;
	return sum;
}

/* How much of the bottleneck messages get in the next seconds, in thousandths. */
static unsigned
use(struct sim *s, double seconds)
{
	uint64_t before = delivered(s);

	sim_run(s, seconds);
	return (unsigned)((double)(delivered(s) - before) / (s->rate * seconds * 1e3));
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Of the waits of control frames so far, which are forgotten then. */
static double
wait_percentile(struct sim *s, unsigned percent)
{
	unsigned n = s->wait_count;

	assert_int_not_equal(n, 0);
	s->wait_count = 0;
	qsort(s->waits, n, sizeof(s->waits[0]), compare);
	return s->waits[(n - 1) * percent / 100];
}

static const struct path {
	double mbit, rtt_ms;
	double settle, run; /* seconds */
	unsigned use;       /* permille at least; control frames take up to 160 of 50 kbit/s */
} paths[] = {
    {10000, 0.1, 0.5, 20, 955},
    {20, 1, 1, 20, 970},
    {1000, 100, 2, 30, 960},
    {0.05, 300, 60, 120, 750},
    {20, 40, 1, 20, 960},
    {1000, 300, 6, 30, 930},
};

static void
fills_the_path(void **state)
{
	(void)state;
	for (unsigned i = 0; i < COUNT(paths); i++) {
		const struct path *p = &paths[i];
		struct sim *s = sim_new(1, p->mbit, p->rtt_ms);
		unsigned used;

		sim_run(s, p->settle);
		s->wait_count = 0;
		used = use(s, p->run);
		if (used < p->use)
			fail_msg("%g Mbit/s, %g ms: %u permille", p->mbit, p->rtt_ms, used);
		free(s);
	}
}

/* The rate that is known is next to nothing, so the limit is the lowest there is, and every rate measured
 * is what the limit allows.  It must grow all the same. */
static void
does_not_spiral_down(void **state)
{
	(void)state;
	for (unsigned i = 0; i < COUNT(paths); i++) {
		const struct path *p = &paths[i];
		struct sim *s = sim_new(1, p->mbit, p->rtt_ms);
		struct pace *pace = &s->lane[0].pace;
		unsigned used;

		sim_run(s, p->settle);
		memset(pace->rates, 0, sizeof(pace->rates));
		pace->rate = pace->rates[pace->round] = 1000;
		pace->started = true;
		assert_int_equal(pace_limit(pace, now_of(s)), PACE_MESSAGE_BYTES);
		sim_run(s, 60);
		s->wait_count = 0;
		used = use(s, p->run);
		if (used < p->use)
			fail_msg("%g Mbit/s, %g ms: %u permille", p->mbit, p->rtt_ms, used);
		free(s);
	}
}

/* The least round trip known is too short then: until it is renewed each rate is lower than the last. */
static void
finds_a_longer_path(void **state)
{
	struct sim *s = sim_new(1, 100, 10);

	(void)state;
	sim_run(s, 5);
	s->delay_us = 30000;
	sim_run(s, 3);
	assert_in_range(use(s, 5), 970, 1001);
	assert_in_range(s->lane[0].pace.rtt_min_us, 60000, 62000);
	s->delay_us = 5000;
	sim_run(s, 12); /* hidden by the queue until the lane is drained */
	assert_in_range(s->lane[0].pace.rtt_min_us, 10000, 12000);
	free(s);
}

static void
keeps_the_queue_short(void **state)
{
	static const struct {
		unsigned lanes;
		double mbit, rtt_ms;
		double median_ms, p99_ms; /* at most, its beginning included */
	} rows[] = {
	    {1, 20, 1, 22, 40},
	    {1, 20, 40, 22, 50},
	    {3, 20, 1, 40, 50},
	    {3, 20, 40, 30, 50},
	    {2, 100, 20, 22, 50},
	    {1, 1000, 1, 22, 40},
	};

	(void)state;
	for (unsigned i = 0; i < COUNT(rows); i++) {
		struct sim *s = sim_new(rows[i].lanes, rows[i].mbit, rows[i].rtt_ms);
		double median, p99;

		sim_run(s, 30);
		p99 = wait_percentile(s, 99);
		sim_run(s, 30);
		median = wait_percentile(s, 50);
		if (p99 > rows[i].p99_ms || median > rows[i].median_ms)
			fail_msg("%u lanes, %g Mbit/s, %g ms: median %.1f ms, p99 %.1f ms", rows[i].lanes,
			    rows[i].mbit, rows[i].rtt_ms, median, p99);
		free(s);
	}
}

/* Lanes that begin one after the other drain together, or each adds the others' queue to the path. */
static void
lanes_drain_together(void **state)
{
	struct sim *s = sim_new(3, 20, 1);

	(void)state;
	s->lane[1].active = s->lane[2].active = false;
	sim_run(s, 3.3);
	s->lane[1].active = true;
	sim_run(s, 3.3);
	s->lane[2].active = true;
	sim_run(s, 15);
	s->wait_count = 0;
	sim_run(s, 60);
	assert_true(wait_percentile(s, 99) < 50);
	free(s);
}

/* A second lane on a line that the first one has filled; the wait of control frames in its first seconds. */
static double
join_wait_ms(double mbit, double rtt_ms, double *share)
{
	struct sim *s = sim_new(2, mbit, rtt_ms);
	double wait;

	s->lane[1].active = false;
	sim_run(s, 5.3);
	pace_init(&s->lane[1].pace, now_of(s));
	pace_join(&s->lane[1].pace, &s->lane[0].pace);
	s->lane[1].active = true;
	s->wait_count = 0;
	sim_run(s, 2);
	wait = wait_percentile(s, 99);
	s->lane[1].delivered = 0;
	assert_in_range(use(s, 20), 950, 1001);
	*share = (double)s->lane[1].delivered / (s->rate * 20e6);
	free(s);
	return wait;
}

/* It knows what the path is, and does not look for its bounds in a queue that is there already: beginning
 * as a first lane does, it makes control frames on the first line wait for 26 ms. */
static void
joins_a_full_line(void **state)
{
	static const struct {
		double mbit, rtt_ms, wait_ms;
	} rows[] = {{20, 1, 23}, {20, 40, 34}, {1000, 100, 70}};

	(void)state;
	for (unsigned i = 0; i < COUNT(rows); i++) {
		double share, wait = join_wait_ms(rows[i].mbit, rows[i].rtt_ms, &share);

		if (wait > rows[i].wait_ms || share < 0.25)
			fail_msg("%g Mbit/s, %g ms: waits %.1f ms, share %.2f", rows[i].mbit, rows[i].rtt_ms,
			    wait, share);
	}
}

/* --- without a path --- */

static struct mono
at_ms(int64_t ms)
{
	return (struct mono){ms * 1000};
}

/* A lane that carried bytes each 10 ms, acknowledged 10 ms later, for a second: until at_ms(1000). */
static struct pace
steady(size_t bytes)
{
	struct pace p;

	pace_init(&p, at_ms(0));
	pace_rtt(&p, 10000, at_ms(0));
	pace_sent(&p, bytes, false, at_ms(0));
	for (int64_t t = 10; t <= 1000; t += 10) {
		pace_sent(&p, bytes, false, at_ms(t));
		pace_acked(&p, bytes, at_ms(t));
	}
	return p;
}

static void
limits(void **state)
{
	struct pace p;

	(void)state;
	pace_init(&p, at_ms(0));
	assert_int_equal(pace_limit(&p, at_ms(0)), PACE_INITIAL_BYTES);
	assert_int_equal(pace_bandwidth_kbps(&p), 0);
	pace_rtt(&p, 10000, at_ms(0));
	assert_int_equal(pace_limit(&p, at_ms(0)), PACE_INITIAL_BYTES);
	/* 10 MB/s, 10 ms and 12 ms of queue: 220000, in whole messages */
	p = steady(100000);
	assert_int_equal(pace_bandwidth_kbps(&p), 80000);
	assert_true(p.started);
	assert_int_equal(pace_limit(&p, at_ms(1000)), 14 * PACE_MESSAGE_BYTES);
	p = steady(2000);
	assert_int_equal(pace_limit(&p, at_ms(1000)), PACE_FLOOR_BYTES);
	/* 100 kB/s: the floor would be a third of a second. */
	p = steady(1000);
	assert_int_equal(pace_limit(&p, at_ms(1000)), PACE_MESSAGE_BYTES);
}

static void
joining(void **state)
{
	struct pace first, p;

	(void)state;
	/* One that knows nothing yet has nothing to tell. */
	pace_init(&first, at_ms(0));
	pace_init(&p, at_ms(0));
	pace_join(&p, &first);
	assert_false(p.started);
	assert_int_equal(pace_limit(&p, at_ms(0)), PACE_INITIAL_BYTES);
	/* 10 MB/s, 10 ms: half of it, and no doubling. */
	first = steady(100000);
	pace_init(&p, at_ms(1000));
	pace_join(&p, &first);
	assert_true(p.started);
	assert_int_equal(p.rtt_min_us, 10000);
	assert_int_equal(pace_bandwidth_kbps(&p), 40000);
	assert_int_equal(pace_limit(&p, at_ms(1000)), 7 * PACE_MESSAGE_BYTES);
}

/* The peer's queue delays what it sends, acknowledgements and all: that is no slower path. */
static void
the_way_back_is_not_the_path(void **state)
{
	struct pace p = steady(100000);
	size_t before = pace_limit(&p, at_ms(1000));

	(void)state;
	/* Its clock is another one; beats come 30 ms later than the quickest did. */
	pace_back(&p, 77000000, at_ms(1000));
	assert_int_equal(pace_limit(&p, at_ms(1000)), before);
	for (int64_t t = 1100; t < 3000; t += 100)
		pace_back(&p, (uint64_t)(77000000 + (t - 1000 - 30) * 1000), at_ms(t));
	assert_in_range(p.back_us, 29000, 30000);
	/* 10 MB/s, 10 ms, 12 ms and those 30. */
	assert_in_range(pace_limit(&p, at_ms(3000)), 510000, 520000 + PACE_MESSAGE_BYTES);
	/* A round trip with that queue in it is the path's own. */
	pace_rtt(&p, 40000, at_ms(3000));
	assert_int_equal(p.rtt_min_at.us, at_ms(3000).us);
	/* Back to the quickest; the longest way back there is; clocks that jump. */
	for (int64_t t = 3100; t < 6000; t += 100)
		pace_back(&p, (uint64_t)(77000000 + (t - 1000) * 1000), at_ms(t));
	assert_in_range(p.back_us, 0, 100);
	for (int64_t t = 6000; t < 8000; t += 10)
		pace_back(&p, (uint64_t)t * 7919, at_ms(t));
	pace_back(&p, UINT64_MAX, at_ms(8000));
	pace_back(&p, 0, at_ms(8000));
	pace_back(&p, INT64_MAX, at_ms(8000));
	assert_in_range(p.back_us, 0, PACE_BACK_MAX_US);
	/* Windows pass: the quickest of long ago is forgotten. */
	for (int64_t t = 10000; t < 60000; t += 100)
		pace_back(&p, (uint64_t)(77000000 + (t - 500) * 1000), at_ms(t));
	assert_in_range(p.back_us, 0, 100);
}

/* A queue that is longer than meant takes of the limit, down to half; a short one gives back. */
static void
the_queue_takes_of_the_limit(void **state)
{
	struct pace p = steady(100000);
	size_t whole = pace_limit(&p, at_ms(1000)), half;

	(void)state;
	for (int64_t t = 1000; t < 3000; t += 100)
		pace_rtt(&p, 10000 + PACE_QUEUE_MS * 1000 + 1, at_ms(t));
	half = pace_limit(&p, at_ms(3000));
	assert_in_range(half, whole / 2, whole / 2 + PACE_MESSAGE_BYTES);
	for (int64_t t = 3000; t < 5000; t += 100)
		pace_rtt(&p, 10000 + PACE_QUEUE_MS * 1000, at_ms(t));
	assert_int_equal(pace_limit(&p, at_ms(5000)), half);
	for (int64_t t = 5000; t < 9000; t += 100)
		pace_rtt(&p, 10000, at_ms(t));
	assert_int_equal(pace_limit(&p, at_ms(9000)), whole);
}

static void
drains_to_see_the_path(void **state)
{
	struct pace p = steady(100000), other = steady(100000);
	size_t before = pace_limit(&p, at_ms(1000));

	(void)state;
	for (int64_t t = 1000; t < 10000; t += 100) {
		pace_rtt(&p, 20000, at_ms(t));
		assert_int_equal(pace_limit(&p, at_ms(t)), before);
	}
	pace_rtt(&p, 20000, at_ms(10000));
	pace_drain_with(&other, &p, at_ms(10000));
	assert_int_equal(pace_limit(&p, at_ms(10000)), PACE_DRAIN_BYTES);
	assert_int_equal(pace_limit(&other, at_ms(10000)), PACE_DRAIN_BYTES);
	pace_rtt(&p, 25000, at_ms(10100));
	pace_rtt(&p, 15000, at_ms(10150));
	assert_int_equal(pace_limit(&p, at_ms(10199)), PACE_DRAIN_BYTES);
	/* 15 ms now: rate * (15 + 12) */
	assert_int_equal(pace_limit(&p, at_ms(10200)), 17 * PACE_MESSAGE_BYTES);
	/* The other saw nothing: it keeps what it knew. */
	assert_int_equal(pace_limit(&other, at_ms(10200)), before);
	/* What comes later, and is not lower, changes nothing; two round trips where those are long. */
	pace_rtt(&p, 100000, at_ms(10300));
	assert_int_equal(p.rtt_min_us, 15000);
	pace_rtt(&p, 400000, at_ms(20200));
	assert_int_equal(pace_limit(&p, at_ms(20999)), PACE_DRAIN_BYTES);
	assert_int_not_equal(pace_limit(&p, at_ms(21000)), PACE_DRAIN_BYTES);
}

/* An idle lane has nothing to drain: its round trips are those of the path. */
static void
idle_lanes_see_the_path(void **state)
{
	struct pace p = steady(100000);

	(void)state;
	pace_acked(&p, 100000, at_ms(1010));
	for (int64_t t = 1100; t <= 11000; t += 100)
		pace_rtt(&p, 50000, at_ms(t));
	assert_int_equal(p.rtt_min_us, 50000);
	assert_int_not_equal(pace_limit(&p, at_ms(11000)), PACE_DRAIN_BYTES);
}

static void
app_limited_samples_only_raise(void **state)
{
	struct pace p = steady(100000);
	uint64_t was = pace_bandwidth_kbps(&p);
	size_t limit = pace_limit(&p, at_ms(1000));

	(void)state;
	pace_acked(&p, 100000, at_ms(1010));
	for (int64_t t = 1100; t < 9000; t += 100) {
		pace_sent(&p, 500, true, at_ms(t));
		pace_acked(&p, 500, at_ms(t + 10));
	}
	assert_int_equal(pace_bandwidth_kbps(&p), was);
	assert_int_equal(pace_limit(&p, at_ms(9000)), limit);
	pace_sent(&p, 500000, true, at_ms(9000));
	pace_acked(&p, 500000, at_ms(9010));
	assert_int_equal(pace_bandwidth_kbps(&p), 400000);
	/* And what was not for want of something to say lowers it, after the rounds. */
	for (int64_t t = 9100; t < 10500; t += 10) {
		pace_sent(&p, 10000, false, at_ms(t));
		pace_acked(&p, 10000, at_ms(t + 10));
	}
	assert_in_range(pace_bandwidth_kbps(&p), 4000, 16000);
}

static void
utilisation(void **state)
{
	struct pace p = steady(100000);

	(void)state;
	/* The first period was closed by the last send. */
	assert_int_equal(pace_tx_kbps(&p, at_ms(1000)), 80000);
	assert_int_equal(pace_rx_kbps(&p, at_ms(1000)), 0);
	assert_in_range(pace_utilisation_permille(&p, at_ms(1000)), 990, 1000);
	pace_received(&p, 5000000, at_ms(1500));
	assert_int_equal(pace_rx_kbps(&p, at_ms(1999)), 0);
	assert_int_equal(pace_rx_kbps(&p, at_ms(2000)), 40000);
	assert_int_equal(pace_utilisation_permille(&p, at_ms(2000)), 500);
	assert_int_equal(pace_utilisation_permille(&p, at_ms(9000)), 0);
	pace_init(&p, at_ms(0));
	pace_received(&p, 1000, at_ms(1));
	assert_int_equal(pace_utilisation_permille(&p, at_ms(1000)), 0); /* of what? */
}

/* Whatever a peer acknowledges, and however fast: no overflow, no division by 0, a finite limit. */
static void
strange_acknowledgements(void **state)
{
	struct pace p;

	(void)state;
	pace_init(&p, at_ms(0));
	pace_acked(&p, 1000, at_ms(0));
	assert_int_equal(p.acked_bytes, 0);
	pace_rtt(&p, 0, at_ms(0));
	pace_rtt(&p, UINT32_MAX, at_ms(0));
	pace_sent(&p, SIZE_MAX / 2, false, at_ms(0));
	pace_acked(&p, SIZE_MAX, at_ms(0));
	assert_int_equal(p.acked_bytes, p.sent_bytes);
	assert_in_range(pace_bandwidth_kbps(&p), 1, 8000000000);
	assert_in_range(pace_limit(&p, at_ms(0)), PACE_FLOOR_BYTES, SIZE_MAX / 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(fills_the_path),
	    cmocka_unit_test(does_not_spiral_down),
	    cmocka_unit_test(finds_a_longer_path),
	    cmocka_unit_test(keeps_the_queue_short),
	    cmocka_unit_test(lanes_drain_together),
	    cmocka_unit_test(joins_a_full_line),
	    cmocka_unit_test(limits),
	    cmocka_unit_test(joining),
	    cmocka_unit_test(the_way_back_is_not_the_path),
	    cmocka_unit_test(the_queue_takes_of_the_limit),
	    cmocka_unit_test(drains_to_see_the_path),
	    cmocka_unit_test(idle_lanes_see_the_path),
	    cmocka_unit_test(app_limited_samples_only_raise),
	    cmocka_unit_test(utilisation),
	    cmocka_unit_test(strange_acknowledgements),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
