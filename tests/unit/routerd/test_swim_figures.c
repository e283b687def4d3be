/*
 * How soon who is gone is noticed, how often somebody is taken for gone who is not, and what it costs.
 *
 * Without links it is SWIM with Lifeguard alone, to compare with published figures; with links as in the
 * mesh: a crash resets links (noticed at once), a silent cut is noticed by missing heartbeats (300 ms),
 * and the flood takes up to 50 ms.  SWIM_LARGE=1 adds 1,000
 * nodes; SWIM_MINUTES=N runs 50 nodes for so long instead.
 */
#include "tests/unit/routerd/swimnet.h"

enum { S = SWIMNET_SECOND, TRIALS = 30, CUT_US = 300 * 1000, RESET_US = 1000 };

/* --- one victim --- */

struct watch {
	int victim;
	int64_t from, first_suspect, last_suspect, first_dead, last_dead;
	int suspect, dead;
	unsigned false_suspect, false_dead;
};

static void
watch_event(struct swimnet *net, int node, enum swim_event ev, int about)
{
	struct watch *w = net->arg;
	int64_t t = net->now - w->from;

	if (ev != SWIM_EVENT_SUSPECT && ev != SWIM_EVENT_DEAD)
		return;
	if (about != w->victim || node == w->victim) {
		w->false_suspect += ev == SWIM_EVENT_SUSPECT;
		w->false_dead += ev == SWIM_EVENT_DEAD;
	} else if (ev == SWIM_EVENT_SUSPECT) {
		w->last_suspect = t;
		w->first_suspect = w->suspect++ == 0 ? t : w->first_suspect;
	} else {
		w->last_dead = t;
		w->first_dead = w->dead++ == 0 ? t : w->first_dead;
	}
}

enum fate { CRASH, CUT, HANG };

static int
by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

struct series {
	int64_t v[TRIALS];
	int n;
};

static void
series_print(const char *what, struct series *s)
{
	qsort(s->v, (size_t)s->n, sizeof(s->v[0]), by_value);
	if (s->n != 0)
		printf("    %-26s median %7.3f s  worst %7.3f s\n", what, s->v[s->n / 2] / 1e6,
		    s->v[s->n - 1] / 1e6);
}

static void
victim_ends(struct swimnet *net, int victim, enum fate fate, bool links)
{
	if (fate == HANG) {
		net->nodes[victim].paused_until = net->now + 20 * S;
		return;
	}
	swimnet_stop(net, victim);
	if (links)
		swimnet_links(net, victim, false, fate == CUT ? CUT_US : RESET_US);
}

struct outcome {
	struct series first_suspect, last_suspect, first_dead, last_dead;
	unsigned false_dead;
};

static void
trial(int n, enum fate fate, bool links, uint64_t seed, struct outcome *out)
{
	struct watch w = {.victim = -1};
	struct swimnet net;

	swimnet_new(&net, n, seed, true);
	net.event = watch_event;
	net.arg = &w;
	swimnet_start_all(&net);
	if (links)
		swimnet_all_linked(&net);
	swimnet_run(&net, 5 * S + (int64_t)rng_below(&net.rng, S));
	w = (struct watch){.victim = (int)rng_below(&net.rng, (uint64_t)n), .from = net.now};
	victim_ends(&net, w.victim, fate, links);
	swimnet_run(&net, links && fate != HANG ? 3 * S : 60 * S);
	assert_int_equal(w.suspect, n - 1);
	out->first_suspect.v[out->first_suspect.n++] = w.first_suspect;
	out->last_suspect.v[out->last_suspect.n++] = w.last_suspect;
	if (fate == HANG) {
		assert_true(links ? w.dead == 0 : true);
		assert_true(swimnet_all_alive(&net));
	} else {
		assert_int_equal(w.dead, n - 1);
		out->first_dead.v[out->first_dead.n++] = w.first_dead;
		out->last_dead.v[out->last_dead.n++] = w.last_dead;
	}
	out->false_dead += w.false_dead;
	swimnet_free(&net);
}

/* The longest that it took until everybody knew. */
static void
detection(const char *what, int n, int trials, enum fate fate, bool links, struct outcome *o)
{
	memset(o, 0, sizeof(*o));
	for (int i = 0; i < trials; i++)
		trial(n, fate, links, (uint64_t)(n * 100 + i), o);
	printf("  %s, n = %d, %d trials\n", what, n, trials);
	series_print("first suspects", &o->first_suspect);
	series_print("all suspect", &o->last_suspect);
	series_print("first takes it for dead", &o->first_dead);
	series_print("all take it for dead", &o->last_dead);
	assert_int_equal(o->false_dead, 0);
}

static void
all_detections(int n, int trials)
{
	struct outcome o;

	detection("crash, SWIM alone", n, trials, CRASH, false, &o);
	detection("crash, with links", n, trials, CRASH, true, &o);
	assert_true(o.last_dead.v[o.last_dead.n - 1] < S);
	detection("silent cut, with links", n, trials, CUT, true, &o);
	assert_true(o.last_dead.v[o.last_dead.n - 1] < 3 * S);
	detection("hung for 20 s, with links", n, trials, HANG, true, &o);
	assert_true(o.first_suspect.v[o.first_suspect.n - 1] < 5 * S);
}

static void
test_detection(void **state)
{
	(void)state;
	if (getenv("SWIM_MINUTES") != NULL)
		return;
	all_detections(10, TRIALS);
	all_detections(100, 5);
	if (getenv("SWIM_LARGE") != NULL)
		all_detections(1000, 3);
}

/* --- nobody is gone --- */

struct calm {
	int64_t minutes;
	bool links, pauses;
	unsigned loss_ppm;
};

/* What each says of itself, with measurements that change all the time; not in the largest mesh, where all
 * at once would take minutes of gossip, and real time to compute. */
static void
describe_all(struct swimnet *net, int64_t minute)
{
	struct swim_meta meta = {.name = "node", .region = "eu-central", .software = "1.0.0"};

	if (net->count > 100)
		return;
	(void)address_add(&meta.addresses, "node-17.mesh.example.org:7100");
	for (uint64_t k = 1; k <= 6; k++)
		swim_meta_add_link(
		    &meta, &(struct swim_link_meta){k, (uint32_t)(1000 + 10 * minute), 100000});
	for (int i = 0; i < net->count; i++)
		assert_int_equal(swim_describe(net->nodes[i].swim, &meta, swimnet_mono(net)), 0);
}

static struct watch
calm_run(int n, const struct calm *c, double *bytes, double *payloads)
{
	struct watch w = {.victim = -1};
	struct swimnet net;

	swimnet_new(&net, n, (uint64_t)n, true);
	net.event = watch_event;
	net.arg = &w;
	net.loss_ppm = c->loss_ppm;
	swimnet_start_all(&net);
	if (c->links)
		swimnet_all_linked(&net);
	describe_all(&net, 0);
	swimnet_run(&net, 60 * S);
	net.sent_bytes = net.sent_payloads = 0;
	for (int64_t m = 0; m < c->minutes; m++) {
		describe_all(&net, m);
		for (int i = 0; c->pauses && i < (n + 99) / 100; i++)
			net.nodes[rng_below(&net.rng, (uint64_t)n)].paused_until = net.now + 10 * S;
		swimnet_run(&net, 60 * S);
	}
	*bytes = (double)net.sent_bytes / n / (60.0 * (double)c->minutes);
	*payloads = (double)net.sent_payloads / n / (60.0 * (double)c->minutes);
	swimnet_run(&net, 20 * S);
	assert_true(c->pauses && !c->links ? true : swimnet_all_alive(&net));
	swimnet_free(&net);
	return w;
}

static void
calm_print(const char *what, int n, const struct calm *c)
{
	double bytes, payloads;
	struct watch w = calm_run(n, c, &bytes, &payloads);

	printf("  n = %4d, %4d min, %-36s suspicions %6u, false deaths %5u; per node %6.0f bytes/s %5.1f "
	       "payloads/s\n",
	    n, (int)c->minutes, what, w.false_suspect, w.false_dead, bytes, payloads);
	if (c->links || !c->pauses)
		assert_int_equal(w.false_dead, 0);
}

static void
all_calm(int n, int64_t minutes)
{
	calm_print("idle", n, &(struct calm){minutes, true, false, 0});
	calm_print("1 % loss, SWIM alone", n, &(struct calm){minutes, false, false, 10000});
	calm_print("1 % loss, with links", n, &(struct calm){minutes, true, false, 10000});
	calm_print("1 % paused 10 s a min, SWIM alone", n, &(struct calm){minutes, false, true, 0});
	calm_print("1 % paused, 1 % loss, with links", n, &(struct calm){minutes, true, true, 10000});
}

static void
test_calm(void **state)
{
	const char *minutes = getenv("SWIM_MINUTES");

	(void)state;
	if (minutes != NULL) {
		all_calm(50, strtol(minutes, NULL, 10));
		return;
	}
	all_calm(10, 60);
	all_calm(100, 5);
	if (getenv("SWIM_LARGE") != NULL)
		all_calm(1000, 5);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_detection),
	    cmocka_unit_test(test_calm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
