#include "transportd/core/heartbeat.h"

#include "common/base/buf.h"
#include "common/base/err.h"
#include "tests/unit/unit.h"

enum { INTERVAL_US = 1000000, MISSES = 5 };

static struct mono
at_ms(int64_t ms)
{
	return (struct mono){ms * 1000};
}

static struct heartbeat
fresh(void)
{
	struct heartbeat h;

	heartbeat_init(&h, at_ms(0), INTERVAL_US, MISSES);
	return h;
}

static struct beat
pong_of(struct beat ping)
{
	ping.kind = HEARTBEAT_PONG;
	return ping;
}

static void
pings_every_interval(void **state)
{
	struct heartbeat h = fresh();
	struct beat ping;

	(void)state;
	assert_int_equal(heartbeat_step(&h, at_ms(0), &ping), HEARTBEAT_SEND_PING);
	assert_int_equal(ping.seq, 1);
	assert_int_equal(heartbeat_step(&h, at_ms(999), &ping), HEARTBEAT_NOTHING);
	assert_int_equal(heartbeat_next(&h).us, at_ms(1000).us);
	assert_int_equal(heartbeat_step(&h, at_ms(1000), &ping), HEARTBEAT_SEND_PING);
	assert_int_equal(ping.seq, 2);
}

static void
silence_is_death(void **state)
{
	struct heartbeat h = fresh();
	struct beat ping;

	(void)state;
	for (int64_t t = 0; t < 5000; t += 1000)
		assert_int_equal(heartbeat_step(&h, at_ms(t), &ping), HEARTBEAT_SEND_PING);
	assert_int_equal(heartbeat_next(&h).us, at_ms(5000).us);
	assert_int_equal(heartbeat_step(&h, at_ms(5000), &ping), HEARTBEAT_DEAD);
	/* Any traffic is life. */
	heartbeat_heard(&h, at_ms(4999));
	assert_int_equal(heartbeat_step(&h, at_ms(9998), &ping), HEARTBEAT_SEND_PING);
	assert_int_equal(heartbeat_step(&h, at_ms(9999), &ping), HEARTBEAT_DEAD);
}

static void
rtt_is_smoothed(void **state)
{
	struct heartbeat h = fresh();
	struct beat ping, pong;

	(void)state;
	assert_int_equal(heartbeat_step(&h, at_ms(0), &ping), HEARTBEAT_SEND_PING);
	pong = pong_of(ping);
	assert_true(heartbeat_pong(&h, &pong, at_ms(8)));
	assert_int_equal(h.rtt_us, 8000);
	assert_int_equal(heartbeat_rtt_min_us(&h), 8000);
	assert_int_equal(heartbeat_step(&h, at_ms(1000), &ping), HEARTBEAT_SEND_PING);
	pong = pong_of(ping);
	assert_true(heartbeat_pong(&h, &pong, at_ms(1016)));
	assert_int_equal(h.rtt_us, 9000);
	assert_int_equal(heartbeat_rtt_min_us(&h), 8000);
	assert_int_equal(heartbeat_loss_ppm(&h), 0);
}

static void
strange_pongs_are_ignored(void **state)
{
	struct heartbeat h = fresh();
	struct beat ping, pong;

	(void)state;
	pong = (struct beat){.kind = HEARTBEAT_PONG, .seq = 0};
	assert_false(heartbeat_pong(&h, &pong, at_ms(1)));
	assert_int_equal(heartbeat_step(&h, at_ms(0), &ping), HEARTBEAT_SEND_PING);
	pong = pong_of(ping);
	pong.seq++;
	assert_false(heartbeat_pong(&h, &pong, at_ms(1)));
	pong = pong_of(ping);
	pong.time_us += 1;
	assert_false(heartbeat_pong(&h, &pong, at_ms(1)));
	pong = pong_of(ping);
	assert_true(heartbeat_pong(&h, &pong, at_ms(1)));
	assert_false(heartbeat_pong(&h, &pong, at_ms(2)));
	assert_int_equal(h.rtt_us, 1000);
}

static void
loss_counts_unanswered_pings(void **state)
{
	struct heartbeat h = fresh();
	struct beat ping, pong;

	(void)state;
	for (int i = 0; i < 200; i++) {
		heartbeat_heard(&h, at_ms(i * 1000));
		assert_int_equal(heartbeat_step(&h, at_ms(i * 1000), &ping), HEARTBEAT_SEND_PING);
		pong = pong_of(ping);
		if (i % 4 != 0)
			assert_true(heartbeat_pong(&h, &pong, at_ms(i * 1000 + 1)));
	}
	assert_in_range(heartbeat_loss_ppm(&h), 230000, 270000);
}

static void
minimum_forgets(void **state)
{
	struct heartbeat h = fresh();
	struct beat ping, pong;

	(void)state;
	for (int i = 0; i < 100; i++) {
		heartbeat_heard(&h, at_ms(i * 1000));
		assert_int_equal(heartbeat_step(&h, at_ms(i * 1000), &ping), HEARTBEAT_SEND_PING);
		pong = pong_of(ping);
		assert_true(heartbeat_pong(&h, &pong, at_ms(i * 1000 + (i < 10 ? 1 : 5))));
	}
	assert_int_equal(heartbeat_rtt_min_us(&h), 5000);
}

static void
retune_begins_anew(void **state)
{
	struct heartbeat h = fresh();
	struct beat ping;

	(void)state;
	assert_int_equal(heartbeat_step(&h, at_ms(0), &ping), HEARTBEAT_SEND_PING);
	heartbeat_retune(&h, at_ms(4000), 100000, 2);
	assert_int_equal(heartbeat_step(&h, at_ms(4000), &ping), HEARTBEAT_SEND_PING);
	assert_int_equal(heartbeat_step(&h, at_ms(4200), &ping), HEARTBEAT_DEAD);
}

static void
codec(void **state)
{
	struct beat b = {.kind = HEARTBEAT_PING, .seq = 77, .time_us = 123456789}, got;
	uint8_t mem[HEARTBEAT_PAYLOAD_BYTES + 1] = {0};
	struct buf out;

	(void)state;
	buf_init_fixed(&out, mem, sizeof(mem));
	assert_int_equal(beat_encode(&b, &out), 0);
	assert_int_equal(buf_left(&out), HEARTBEAT_PAYLOAD_BYTES);
	assert_int_equal(beat_decode(mem, HEARTBEAT_PAYLOAD_BYTES, &got), 0);
	assert_int_equal(got.seq, 77);
	assert_int_equal(got.time_us, 123456789);
	for (size_t n = 0; n < HEARTBEAT_PAYLOAD_BYTES; n++)
		assert_int_equal(beat_decode(mem, n, &got), ERR_SHORT);
	assert_int_equal(beat_decode(mem, HEARTBEAT_PAYLOAD_BYTES + 1, &got), ERR_LEFTOVER);
	mem[0] = 3;
	assert_int_equal(beat_decode(mem, HEARTBEAT_PAYLOAD_BYTES, &got), ERR_FORMAT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(pings_every_interval),
	    cmocka_unit_test(silence_is_death),
	    cmocka_unit_test(rtt_is_smoothed),
	    cmocka_unit_test(strange_pongs_are_ignored),
	    cmocka_unit_test(loss_counts_unanswered_pings),
	    cmocka_unit_test(minimum_forgets),
	    cmocka_unit_test(retune_begins_anew),
	    cmocka_unit_test(codec),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
