/*
 * Path windows on a simulated network (pathnet.h).
 */
#include "tests/unit/transportd/pathnet.h"

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
