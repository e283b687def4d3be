/* Probe trains: their codec, and the rate that they tell. */
#include "transportd/core/pace.h"

#include "common/base/buf.h"
#include "common/base/err.h"
#include "tests/unit/unit.h"

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
probe_codec(void **state)
{
	struct probe train = {.kind = PROBE_TRAIN, .train = 7, .index = 3, .count = 8, .bytes = 100};
	struct probe report = {.kind = PROBE_REPORT, .train = 7, .received = 8, .spread_us = 1000000};
	uint8_t mem[PROBE_FRAME_BYTES + 1];
	struct probe got;
	struct buf out;

	(void)state;
	buf_init_fixed(&out, mem, sizeof(mem));
	assert_int_equal(probe_encode(&train, &out), 0);
	assert_int_equal(buf_left(&out), 100);
	assert_int_equal(probe_decode(mem, 100, &got), 0);
	assert_memory_equal(&got, &train, sizeof(got));
	for (size_t n = 0; n < PROBE_HEAD_BYTES; n++)
		assert_int_equal(probe_decode(mem, n, &got), ERR_SHORT);
	mem[99] = 1;
	assert_int_equal(probe_decode(mem, 100, &got), ERR_FORMAT);

	train.bytes = PROBE_FRAME_BYTES;
	buf_init_fixed(&out, mem, sizeof(mem));
	assert_int_equal(probe_encode(&train, &out), 0);
	assert_int_equal(probe_decode(mem, PROBE_FRAME_BYTES, &got), 0);
	assert_int_equal(probe_decode(mem, PROBE_FRAME_BYTES + 1, &got), ERR_LIMIT);

	buf_init_fixed(&out, mem, sizeof(mem));
	assert_int_equal(probe_encode(&report, &out), 0);
	assert_int_equal(buf_left(&out), PROBE_REPORT_BYTES);
	assert_int_equal(probe_decode(mem, PROBE_REPORT_BYTES, &got), 0);
	assert_int_equal(got.received, 8);
	assert_int_equal(got.spread_us, 1000000);
	for (size_t n = 0; n < PROBE_REPORT_BYTES; n++)
		assert_int_equal(probe_decode(mem, n, &got), ERR_SHORT);
	assert_int_equal(probe_decode(mem, PROBE_REPORT_BYTES + 1, &got), ERR_LEFTOVER);
}

static void
impossible_probes(void **state)
{
	static const struct probe rows[] = {
	    {.kind = 0, .bytes = 100},
	    {.kind = 3, .bytes = 100},
	    {.kind = PROBE_TRAIN, .index = 0, .count = 0, .bytes = 100},
	    {.kind = PROBE_TRAIN, .index = 0, .count = 1, .bytes = 100},
	    {.kind = PROBE_TRAIN, .index = 8, .count = 8, .bytes = 100},
	    {.kind = PROBE_TRAIN, .index = 0, .count = 9, .bytes = 100},
	    {.kind = PROBE_TRAIN, .index = 0, .count = 8, .bytes = PROBE_HEAD_BYTES - 1},
	    {.kind = PROBE_TRAIN, .index = 0, .count = 8, .bytes = PROBE_FRAME_BYTES + 1},
	    {.kind = PROBE_REPORT, .received = 0},
	    {.kind = PROBE_REPORT, .received = 9},
	};
	static const uint8_t wire[][PROBE_REPORT_BYTES] = {{0}, {3}, {1, 0, 0, 0, 1, 0, 1},
	    {1, 0, 0, 0, 1, 8, 8}, {1, 0, 0, 0, 1, 0, 9}, {2, 0, 0, 0, 1, 0}, {2, 0, 0, 0, 1, 9}};
	uint8_t mem[PROBE_FRAME_BYTES + 1];
	struct probe got;
	struct buf out;

	(void)state;
	for (unsigned i = 0; i < COUNT(rows); i++) {
		buf_init_fixed(&out, mem, sizeof(mem));
		assert_int_equal(probe_encode(&rows[i], &out), ERR_RANGE);
		assert_int_equal(buf_left(&out), 0);
	}
	for (unsigned i = 0; i < COUNT(wire); i++)
		assert_int_equal(probe_decode(wire[i], sizeof(wire[i]), &got), ERR_FORMAT);
}

static void
trains_tell_the_rate(void **state)
{
	struct probe frame = {.kind = PROBE_TRAIN, .train = 5, .count = 8, .bytes = PROBE_FRAME_BYTES},
		     report;
	struct probe_rx rx = {0};
	struct pace p;

	(void)state;
	pace_init(&p, at_ms(0));
	for (; frame.index < 7; frame.index++) /* 8 KiB each 2 ms */
		assert_false(probe_received(&rx, &frame, at_ms(100 + frame.index * 2), &report));
	assert_true(probe_received(&rx, &frame, at_ms(114), &report));
	assert_int_equal(report.kind, PROBE_REPORT);
	assert_int_equal(report.received, 8);
	assert_int_equal(report.spread_us, 14000);
	assert_int_equal(pace_probed(&p, 4, &report, at_ms(120)), ERR_RANGE);
	assert_int_equal(pace_bandwidth_kbps(&p), 0);
	assert_int_equal(pace_probed(&p, 5, &report, at_ms(120)), 0);
	assert_int_equal(pace_bandwidth_kbps(&p), 32768);
	assert_int_equal(pace_limit(&p, at_ms(120)), PACE_INITIAL_BYTES); /* shown, not relied on */
	/* Out of one buffer: tells nothing, and takes nothing back. */
	report.spread_us = 0;
	assert_int_equal(pace_probed(&p, 5, &report, at_ms(120)), 0);
	assert_int_equal(pace_bandwidth_kbps(&p), 32768);
	report.received = 1;
	assert_int_equal(pace_probed(&p, 5, &report, at_ms(120)), ERR_RANGE);
	report.received = 9;
	assert_int_equal(pace_probed(&p, 5, &report, at_ms(120)), ERR_RANGE);
	report.received = 8;
	report.kind = PROBE_TRAIN;
	assert_int_equal(pace_probed(&p, 5, &report, at_ms(120)), ERR_RANGE);
	/* A lane that was full knows better. */
	p = steady(10000);
	p.probed_rate = 1000000000;
	assert_int_equal(pace_bandwidth_kbps(&p), 8000000);
	pace_sent(&p, 10000, false, at_ms(1010));
	pace_acked(&p, 10000, at_ms(1010));
	assert_int_equal(pace_bandwidth_kbps(&p), 8000);
}

static void
broken_trains_are_ignored(void **state)
{
	struct probe frame = {.kind = PROBE_TRAIN, .train = 5, .count = 3, .bytes = 100}, other, report;
	struct probe_rx rx = {0};

	(void)state;
	frame.index = 2; /* the end of a train whose beginning nobody saw */
	assert_false(probe_received(&rx, &frame, at_ms(0), &report));
	frame.index = 0;
	assert_false(probe_received(&rx, &frame, at_ms(0), &report));
	frame.index = 2; /* one is missing */
	assert_false(probe_received(&rx, &frame, at_ms(0), &report));
	frame.index = 1;
	other = frame;
	other.train = 6;
	assert_false(probe_received(&rx, &other, at_ms(0), &report));
	other = frame;
	other.count = 2;
	assert_false(probe_received(&rx, &other, at_ms(0), &report));
	assert_false(probe_received(&rx, &frame, at_ms(0), &report));
	frame.index = 2;
	assert_true(probe_received(&rx, &frame, at_ms(1), &report));
	assert_int_equal(report.received, 3);
	assert_int_equal(report.spread_us, 1000);
	/* Repeated, it is not reported again; a new beginning replaces what was under way. */
	assert_false(probe_received(&rx, &frame, at_ms(2), &report));
	frame.index = 0;
	for (uint32_t i = 10; i < 20; i++) {
		frame.train = i;
		assert_false(probe_received(&rx, &frame, at_ms(i), &report));
	}
	frame.kind = PROBE_REPORT;
	assert_false(probe_received(&rx, &frame, at_ms(20), &report));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(probe_codec),
	    cmocka_unit_test(impossible_probes),
	    cmocka_unit_test(trains_tell_the_rate),
	    cmocka_unit_test(broken_trains_are_ignored),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
