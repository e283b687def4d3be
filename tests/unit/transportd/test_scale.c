#include "transportd/core/scale.h"

#include "tests/unit/unit.h"

enum { STEP_MS = 100 };

static const struct scale_conf conf = {
    .open_after_us = 2000000,
    .close_after_us = 10000000,
    .cool_down_us = 5000000,
    .target_kbps = 10000,
    .lanes_min = 1,
    .lanes_max = 4,
};

static const struct scale_sample busy = {
    .lanes = 1, .full = true, .rtt_us = 30000, .rtt_min_us = 10000, .tx_kbps = 5000};
static const struct scale_sample idle = {.lanes = 2, .idle = true, .rtt_us = 10000, .rtt_min_us = 10000};

static struct mono
at_ms(int64_t ms)
{
	return (struct mono){ms * 1000};
}

/* Asked every STEP_MS from `from` on with the same sample: when it says something else than to stay, and
 * what; -1 if it never does within a minute. */
static int64_t
when(struct scale *s, const struct scale_sample *is, int64_t from, enum scale_verdict *v)
{
	for (int64_t t = from; t < from + 60000; t += STEP_MS)
		if ((*v = scale_step(s, &conf, is, at_ms(t))) != SCALE_STAY)
			return t;
	return -1;
}

/* What each condition does to a link that would open (or close) a lane otherwise. */
static void
conditions(void **state)
{
	static const struct {
		const char *what;
		struct scale_sample is;
		enum scale_verdict verdict;
	} rows[] = {
	    {"full, inflated, slow", {1, true, false, 30000, 10000, 5000}, SCALE_OPEN},
	    {"not full", {1, false, false, 30000, 10000, 5000}, SCALE_STAY},
	    {"on target", {1, true, false, 30000, 10000, 10000}, SCALE_STAY},
	    {"just below", {1, true, false, 30000, 10000, 9999}, SCALE_OPEN},
	    {"two share it", {2, true, false, 30000, 10000, 19998}, SCALE_OPEN},
	    {"two on target", {2, true, false, 30000, 10000, 20000}, SCALE_STAY},
	    {"at most four", {4, true, false, 30000, 10000, 5000}, SCALE_STAY},
	    {"an eighth and 4 ms", {1, true, false, 15250, 10000, 5000}, SCALE_STAY},
	    {"above that", {1, true, false, 15251, 10000, 5000}, SCALE_OPEN},
	    {"short path", {1, true, false, 4054, 48, 5000}, SCALE_STAY},
	    {"short path, queue", {1, true, false, 4055, 48, 5000}, SCALE_OPEN},
	    {"long path, paced", {1, true, false, 52000, 40000, 5000}, SCALE_OPEN},
	    {"largest numbers", {1, true, false, UINT32_MAX, UINT32_MAX, 0}, SCALE_STAY},
	    {"largest inflation", {1, true, false, UINT32_MAX, 1, 0}, SCALE_OPEN},
	    {"no round trip yet", {1, true, false, 30000, 0, 5000}, SCALE_STAY},
	    {"no lane", {0, true, false, 30000, 10000, 0}, SCALE_STAY},
	    {"idle extra", {2, false, true, 10000, 10000, 0}, SCALE_CLOSE},
	    {"used extra", {2, false, false, 10000, 10000, 0}, SCALE_STAY},
	    {"idle, the last one", {1, false, true, 10000, 10000, 0}, SCALE_STAY},
	    {"idle, too many", {9, false, true, 10000, 10000, 0}, SCALE_CLOSE},
	};

	(void)state;
	for (unsigned i = 0; i < COUNT(rows); i++) {
		enum scale_verdict v;
		struct scale s;

		scale_init(&s, at_ms(0));
		when(&s, &rows[i].is, 0, &v);
		if (v != rows[i].verdict)
			fail_msg("%s: %d instead of %d", rows[i].what, (int)v, (int)rows[i].verdict);
	}
}

static void
times(void **state)
{
	enum scale_verdict v;
	struct scale s;

	(void)state;
	scale_init(&s, at_ms(0));
	assert_int_equal(when(&s, &busy, 0, &v), 2000);
	assert_int_equal(v, SCALE_OPEN);
	/* The time that counts runs on while it cools down. */
	assert_int_equal(when(&s, &busy, 2100, &v), 7000);
	assert_int_equal(v, SCALE_OPEN);
	assert_int_equal(when(&s, &idle, 7100, &v), 17100);
	assert_int_equal(v, SCALE_CLOSE);
	assert_int_equal(when(&s, &idle, 17200, &v), 27200);
}

/* A moment's relief begins the time anew: all the time means all the time. */
static void
interruptions(void **state)
{
	struct scale_sample relief = busy;
	enum scale_verdict v;
	struct scale s;

	(void)state;
	relief.full = false;
	scale_init(&s, at_ms(0));
	for (int64_t t = 0; t < 60000; t += STEP_MS)
		assert_int_equal(
		    scale_step(&s, &conf, t % 1900 == 0 ? &relief : &busy, at_ms(t)), SCALE_STAY);
	assert_int_equal(scale_step(&s, &conf, &relief, at_ms(60000)), SCALE_STAY);
	assert_int_equal(when(&s, &busy, 60100, &v), 62100);
	/* The same for idleness. */
	relief = idle;
	relief.idle = false;
	for (int64_t t = 70000; t < 170000; t += STEP_MS)
		assert_int_equal(
		    scale_step(&s, &conf, t % 9900 == 0 ? &relief : &idle, at_ms(t)), SCALE_STAY);
}

/* A path that gets no better by more lanes ends at the cap, not faster than the cool-down allows. */
static void
never_faster_than_the_cool_down(void **state)
{
	struct scale_sample is = busy;
	int64_t last = -5000;
	unsigned changes = 0;
	struct scale s;

	(void)state;
	scale_init(&s, at_ms(0));
	for (int64_t t = 0; t < 120000; t += STEP_MS) {
		bool up = t / 30000 % 2 == 0;
		enum scale_verdict v;

		is.full = up;
		is.idle = !up;
		v = scale_step(&s, &conf, &is, at_ms(t));
		if (v == SCALE_STAY)
			continue;
		assert_true(t - last >= 5000);
		last = t;
		changes++;
		is.lanes = v == SCALE_OPEN ? is.lanes + 1 : is.lanes - 1;
		assert_in_range(is.lanes, conf.lanes_min, conf.lanes_max);
	}
	assert_int_equal(changes, 3 + 2 + 2 + 2); /* up in 30 s, down two, and again */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(conditions),
	    cmocka_unit_test(times),
	    cmocka_unit_test(interruptions),
	    cmocka_unit_test(never_faster_than_the_cool_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
