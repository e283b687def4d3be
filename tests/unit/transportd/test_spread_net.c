/*
 * One source that spreads over two paths of a simulated network and leaves the one that does not serve,
 * as transportd's reroute.c does with the same cores.
 */
#include "common/base/num.h"
#include "tests/unit/transportd/pathnet.h"
#include "transportd/core/pathhealth.h"
#include "transportd/core/spread.h"

enum { WAYS = 2, STREAMS_MAX = 16, DST = 7 };

static struct source {
	struct spread *spread;
	struct pathhealth health[WAYS];
	int64_t credit[WAYS];
	uint32_t weight[WAYS];
	unsigned silences[WAYS];
	struct mono heard[WAYS];
	uint64_t sent[WAYS]; /* frames */
	uint64_t rate;       /* bytes per second that the application offers */
	unsigned streams, turn;
	bool held;
	int64_t send_at;
	unsigned left, returned; /* changes of the first path */
	int64_t left_at, returned_at, wait_from, worst_us;
} src;

/* --- the glue --- */

static void
describe(const struct net *n, struct spread_path *out)
{
	for (unsigned i = 0; i < WAYS; i++) {
		const struct pathwin *p = &n->flow[i].p;

		out[i] = (struct spread_path){
		    .path_id = i + 1,
		    .weight = src.weight[i],
		    .rate = pathwin_rate(p),
		    .window = p->window,
		    .in_flight = pathwin_in_flight(p),
		    .badness = pathhealth_badness(&src.health[i]),
		    .alive = true,
		    .full = pathwin_full(p),
		    .credit = src.credit[i],
		};
	}
}

static void
settle(struct net *n, unsigned i, enum pathhealth_state before)
{
	struct pathhealth *h = &src.health[i];

	if (h->state == before)
		return;
	if (h->state == PATHHEALTH_SUSPECT)
		pathwin_reset(&n->flow[i].p, now_mono(n));
	if (i != 0)
		return;
	if (before == PATHHEALTH_UP) {
		src.left++;
		src.left_at = n->now;
	} else if (h->state == PATHHEALTH_UP) {
		src.returned++;
		src.returned_at = n->now;
	}
}

static void
look(struct net *n, unsigned i)
{
	struct pathhealth *h = &src.health[i];
	enum pathhealth_state before = h->state;
	const struct pathwin *p = &n->flow[i].p, *o = &n->flow[1 - i].p;
	struct packet ask = {.flow = i, .bytes = ASK_FRAME_BYTES, .ask = true};

	if (n->flow[i].silences != src.silences[i])
		pathhealth_fail(h, PATHHEALTH_SILENT, now_mono(n));
	else if (p->heard.us != src.heard[i].us && p->rtt_us != 0)
		pathhealth_answer(h,
		    &(struct pathhealth_sample){.rtt_us = p->rtt_us,
			.srtt_us = p->srtt_us,
			.rtt_min_us = p->rtt_min_us,
			.other_us = src.health[1 - i].state == PATHHEALTH_UP ? o->srtt_us : 0,
			.busy = pathwin_congested(p)},
		    now_mono(n));
	src.silences[i] = n->flow[i].silences;
	src.heard[i] = p->heard;
	if (pathhealth_probe(h, pathwin_rto_us(p), now_mono(n))) {
		settle(n, i, before);
		before = h->state;
		pathwin_probe(&n->flow[i].p, now_mono(n), &ask.feedback);
		hop_enqueue(n, &n->hop[n->flow[i].hops[0]], &ask);
	}
	settle(n, i, before);
}

static bool
room(const struct net *n)
{
	struct spread_path paths[WAYS];

	describe(n, paths);
	if (!spread_room(paths, WAYS))
		src.held = true;
	for (unsigned i = 0; i < WAYS; i++)
		paths[i].full = !pathwin_open(&n->flow[i].p);
	if (spread_room(paths, WAYS))
		src.held = false;
	return !src.held;
}

static void
send_one(struct net *n)
{
	struct packet p = {.bytes = 8000 + (uint32_t)rng_below(&n->rng, 8000)};
	struct spread_path paths[WAYS];
	int i;

	describe(n, paths);
	i = spread_pick(src.spread, DST, src.turn++ % src.streams, p.bytes, paths, WAYS, now_mono(n));
	assert_in_range(i, 0, WAYS - 1);
	for (unsigned k = 0; k < WAYS; k++)
		src.credit[k] = paths[k].credit;
	p.flow = (unsigned)i;
	src.sent[i]++;
	pathwin_sent(&n->flow[i].p, p.bytes, now_mono(n));
	hop_enqueue(n, &n->hop[n->flow[i].hops[0]], &p);
	src.send_at = n->now + (int64_t)(p.bytes * (uint64_t)SECOND / src.rate);
}

static void
source_step(struct net *n)
{
	for (unsigned i = 0; i < WAYS; i++)
		look(n, i);
	if (src.rate == 0 || src.send_at > n->now || !room(n))
		return;
	send_one(n);
}

static int64_t
source_next(struct net *n)
{
	int64_t at = FOREVER;

	for (unsigned i = 0; i < WAYS; i++)
		at = earlier(at, pathhealth_next(&src.health[i]).us);
	if (src.rate != 0 && room(n))
		at = earlier(at, src.send_at);
	return at;
}

/* --- two links --- */

static struct net *
start(uint64_t seed, const unsigned mbit[WAYS], const int64_t delay_ms[WAYS], uint64_t mark)
{
	struct net *n = net_start(seed);

	spread_free(src.spread);
	memset(&src, 0, sizeof(src));
	src.spread = spread_new();
	assert_non_null(src.spread);
	src.streams = 1;
	for (unsigned i = 0; i < WAYS; i++) {
		struct flow *f;

		net_hop(n, (uint64_t)mbit[i] * MBIT, delay_ms[i] * MS, mark, 4 * mark);
		f = net_flow(n, i, 1, ACCESS_RATE);
		f->done = true; /* it sends what the source gives it */
		src.weight[i] = 1;
		pathhealth_init(&src.health[i], now_mono(n));
	}
	src.send_at = n->now;
	n->step = source_step;
	n->next = source_next;
	return n;
}

static double
mbits(const struct net *n, unsigned i)
{
	return (double)n->flow[i].measured_bytes * SECOND / (double)(n->now - n->hop[0].measured_at) / MBIT;
}

/* --- both are used --- */

static void
both(uint64_t seed, const unsigned mbit[WAYS], const int64_t delay_ms[WAYS], unsigned streams, uint64_t mark)
{
	struct net *n = start(seed, mbit, delay_ms, mark);
	double sum = mbit[0] + mbit[1], got[WAYS], ratio;

	src.streams = streams;
	src.rate = ACCESS_RATE;
	net_run(n, 5 * SECOND);
	measure(n);
	net_run(n, 20 * SECOND);
	got[0] = mbits(n, 0);
	got[1] = mbits(n, 1);
	ratio = got[0] / got[1] / ((double)mbit[0] / mbit[1]);
	print_message("%u and %u Mbit/s, %ld and %ld ms, %u streams: %.1f and %.1f, %.1f %% of the sum\n",
	    mbit[0], mbit[1], (long)delay_ms[0], (long)delay_ms[1], streams, got[0], got[1],
	    (got[0] + got[1]) / sum * 100);
	assert_true(got[0] + got[1] >= 0.85 * sum);
	assert_true(ratio > 0.8 && ratio < 1.25);
	assert_int_equal(n->hop[0].dropped + n->hop[1].dropped, 0);
	assert_int_equal(src.left, 0);
	net_stop(n);
}

static void
unequal_paths_are_both_filled(void **state)
{
	static const unsigned rates[][WAYS] = {{60, 20}, {20, 60}, {10, 100}};
	static const int64_t delays[][WAYS] = {{10, 10}, {5, 25}, {25, 5}};

	(void)state;
	for (unsigned r = 0; r < 3; r++)
		for (unsigned d = 0; d < 3; d++)
			for (unsigned streams = 1; streams <= STREAMS_MAX; streams *= 4) {
				both(r * 10 + d, rates[r], delays[d], streams, 512 * KIB);
				both(r * 10 + d, rates[r], delays[d], streams, 256 * KIB);
			}
}

/* What the best path carries alone stays on it, and in order. */
static void
a_low_rate_stays_on_the_best_path(void **state)
{
	struct net *n = start(3, (unsigned[]){60, 20}, (int64_t[]){10, 10}, 512 * KIB);

	(void)state;
	src.rate = 30 * MBIT;
	net_run(n, 30 * SECOND);
	print_message(
	    "30 of 60 Mbit/s: %lu and %lu frames\n", (unsigned long)src.sent[0], (unsigned long)src.sent[1]);
	assert_true(src.sent[0] > 5000);
	assert_int_equal(src.sent[1], 0);
	net_stop(n);
}

/* --- one is left --- */

static void
a_silent_path_is_left(void **state)
{
	struct net *n = start(4, (unsigned[]){60, 20}, (int64_t[]){10, 10}, 512 * KIB);
	int64_t worst = 0;

	(void)state;
	src.rate = 5 * MBIT;
	net_run(n, 5 * SECOND);
	for (unsigned cuts = 1; cuts <= 5; cuts++) {
		int64_t cut = n->now;
		uint64_t before;

		n->hop[0].dead = true;
		net_run(n, SECOND / 2);
		assert_int_equal(src.left, cuts);
		worst = src.left_at - cut > worst ? src.left_at - cut : worst;
		before = n->flow[1].delivered;
		net_run(n, SECOND);
		assert_true(n->flow[1].delivered > before + 30);
		n->hop[0].dead = false;
		net_run(n, 40 * SECOND);
		assert_int_equal(src.returned, cuts);
	}
	print_message("left %ld ms after the cut at worst\n", (long)worst / MS);
	net_stop(n);
}

/* 20 ms become 200 ms for a while. */
static void
a_slow_path_is_left_and_returned_to(void **state)
{
	struct net *n = start(5, (unsigned[]){60, 20}, (int64_t[]){10, 12}, 512 * KIB);
	int64_t slow, quick;

	(void)state;
	src.rate = 5 * MBIT;
	net_run(n, 10 * SECOND);
	assert_int_equal(src.left, 0);
	slow = n->now;
	n->hop[0].delay_us = 100 * MS;
	net_run(n, 10 * SECOND);
	assert_int_equal(src.left, 1);
	assert_int_equal(src.health[0].state, PATHHEALTH_SLOW);
	assert_int_equal(src.health[1].state, PATHHEALTH_UP);
	n->hop[0].delay_us = 10 * MS;
	quick = n->now;
	net_run(n, 10 * SECOND);
	assert_int_equal(src.returned, 1);
	print_message("slow: left after %ld ms, returned to %ld ms after it was quick again\n",
	    (long)(src.left_at - slow) / MS, (long)(src.returned_at - quick) / MS);
	assert_int_equal(src.left, 1);
	net_stop(n);
}

/* Five minutes in which the delay jumps about, over the limit and below, ten times a second to once in
 * three seconds. */
static void
noise_does_not_make_it_oscillate(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 5; seed++) {
		struct net *n = start(seed, (unsigned[]){60, 20}, (int64_t[]){10, 12}, 512 * KIB);
		int64_t end;

		src.rate = 5 * MBIT;
		net_run(n, 5 * SECOND);
		end = n->now + 300 * (int64_t)SECOND;
		while (n->now < end) {
			n->hop[0].delay_us = (10 + (int64_t)rng_below(&n->rng, 120)) * MS;
			net_run(n, (100 + (int64_t)rng_below(&n->rng, 2900)) * MS);
		}
		print_message("noise: left %u times, returned to %u times\n", src.left, src.returned);
		assert_in_range(src.left, 1, 10);
		n->hop[0].delay_us = 10 * MS;
		net_run(n, 70 * SECOND);
		assert_int_equal(src.health[0].state, PATHHEALTH_UP);
		net_stop(n);
	}
}

/* Both are black holes, then one works again: that is found. */
static void
the_last_path_is_never_given_up(void **state)
{
	struct net *n = start(6, (unsigned[]){60, 20}, (int64_t[]){10, 10}, 512 * KIB);
	uint64_t before;

	(void)state;
	src.rate = 5 * MBIT;
	net_run(n, 5 * SECOND);
	n->hop[0].dead = n->hop[1].dead = true;
	net_run(n, 20 * SECOND);
	assert_int_equal(src.health[0].state, PATHHEALTH_SUSPECT);
	assert_int_equal(src.health[1].state, PATHHEALTH_SUSPECT);
	n->hop[1].dead = false;
	net_run(n, 10 * SECOND);
	before = n->flow[1].delivered;
	net_run(n, 10 * SECOND);
	assert_true(n->flow[1].delivered > before + 300);
	net_stop(n);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(unequal_paths_are_both_filled),
	    cmocka_unit_test(a_low_rate_stays_on_the_best_path),
	    cmocka_unit_test(a_silent_path_is_left),
	    cmocka_unit_test(a_slow_path_is_left_and_returned_to),
	    cmocka_unit_test(noise_does_not_make_it_oscillate),
	    cmocka_unit_test(the_last_path_is_never_given_up),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	spread_free(src.spread);
	return failed;
}
