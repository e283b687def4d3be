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
	assert_int_equal(heartbeat_step(&h, at_ms(0), true, &ping), HEARTBEAT_SEND);
	assert_int_equal(ping.seq, 1);
	assert_int_equal(heartbeat_step(&h, at_ms(999), true, &ping), HEARTBEAT_NOTHING);
	assert_int_equal(heartbeat_next(&h).us, at_ms(1000).us);
	assert_int_equal(heartbeat_step(&h, at_ms(1000), true, &ping), HEARTBEAT_SEND);
	assert_int_equal(ping.seq, 2);
}

static void
silence_is_death(void **state)
{
	struct heartbeat h = fresh();
	struct beat ping;

	(void)state;
	for (int64_t t = 0; t < 5000; t += 1000)
		assert_int_equal(heartbeat_step(&h, at_ms(t), true, &ping), HEARTBEAT_SEND);
	assert_int_equal(heartbeat_next(&h).us, at_ms(5000).us);
	assert_int_equal(heartbeat_step(&h, at_ms(5000), true, &ping), HEARTBEAT_SILENT);
	/* Any traffic is life. */
	heartbeat_heard(&h, at_ms(4999));
	for (int64_t t = 5000; t < 9999; t += 1000)
		assert_int_equal(heartbeat_step(&h, at_ms(t), true, &ping), HEARTBEAT_SEND);
	assert_int_equal(heartbeat_step(&h, at_ms(9998), true, &ping), HEARTBEAT_NOTHING);
	assert_int_equal(heartbeat_next(&h).us, at_ms(9999).us);
	assert_int_equal(heartbeat_step(&h, at_ms(9999), true, &ping), HEARTBEAT_SILENT);
	/* The kernel does not answer either: told once, then it is over. */
	assert_false(mono_before(at_ms(9999), heartbeat_next(&h)));
	assert_int_equal(heartbeat_step(&h, at_ms(9999), true, &ping), HEARTBEAT_DEAD);
}

static void
rtt_is_smoothed(void **state)
{
	struct heartbeat h = fresh();
	struct beat ping, pong;

	(void)state;
	assert_int_equal(heartbeat_step(&h, at_ms(0), true, &ping), HEARTBEAT_SEND);
	pong = pong_of(ping);
	assert_true(heartbeat_pong(&h, &pong, at_ms(8)));
	assert_int_equal(h.rtt_us, 8000);
	assert_int_equal(heartbeat_rtt_min_us(&h), 8000);
	assert_int_equal(heartbeat_rtt_var_us(&h), 4000);
	assert_int_equal(heartbeat_step(&h, at_ms(1000), true, &ping), HEARTBEAT_SEND);
	pong = pong_of(ping);
	assert_true(heartbeat_pong(&h, &pong, at_ms(1016)));
	assert_int_equal(h.rtt_us, 9000);
	assert_int_equal(h.sample_us, 16000);
	assert_int_equal(heartbeat_rtt_var_us(&h), 5000); /* (3 * 4 + |8 - 16|) / 4 */
	assert_int_equal(heartbeat_rtt_min_us(&h), 8000);
	assert_int_equal(heartbeat_loss_ppm(&h), 0);
}

/* A line that was slow is well again: five round trips tell so, where an eighth of each would leave half of
 * what was.  Single slow ones still count as an eighth. */
static void
rtt_falls_soon(void **state)
{
	struct heartbeat h = fresh();
	struct beat ping, pong;

	(void)state;
	for (int i = 0; i < 6; i++) {
		assert_int_equal(heartbeat_step(&h, at_ms(i * 1000), true, &ping), HEARTBEAT_SEND);
		pong = pong_of(ping);
		heartbeat_heard(&h, at_ms(i * 1000 + 200));
		assert_true(heartbeat_pong(&h, &pong, at_ms(i * 1000 + (i == 0 ? 200 : 2))));
	}
	assert_in_range(h.rtt_us, 2000, 10000);
	assert_int_equal(heartbeat_step(&h, at_ms(6000), true, &ping), HEARTBEAT_SEND);
	pong = pong_of(ping);
	assert_true(heartbeat_pong(&h, &pong, at_ms(6042)));
	assert_in_range(h.rtt_us, 7000, 14000);
}

static void
strange_pongs_are_ignored(void **state)
{
	struct heartbeat h = fresh();
	struct beat ping, pong;

	(void)state;
	pong = (struct beat){.kind = HEARTBEAT_PONG, .seq = 0};
	assert_false(heartbeat_pong(&h, &pong, at_ms(1)));
	assert_int_equal(heartbeat_step(&h, at_ms(0), true, &ping), HEARTBEAT_SEND);
	pong = pong_of(ping);
	pong.seq++;
	assert_false(heartbeat_pong(&h, &pong, at_ms(1)));
	pong = pong_of(ping);
	pong.time_us += 1;
	assert_false(heartbeat_pong(&h, &pong, at_ms(1)));
	pong = pong_of(ping);
	pong.kind = HEARTBEAT_BEAT;
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
		assert_int_equal(heartbeat_step(&h, at_ms(i * 1000), true, &ping), HEARTBEAT_SEND);
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
		assert_int_equal(heartbeat_step(&h, at_ms(i * 1000), true, &ping), HEARTBEAT_SEND);
		pong = pong_of(ping);
		assert_true(heartbeat_pong(&h, &pong, at_ms(i * 1000 + (i < 10 ? 1 : 5))));
	}
	assert_int_equal(heartbeat_rtt_min_us(&h), 5000);
}

static void
retune_begins_anew(void **state)
{
	struct heartbeat h = fresh();
	struct beat ping, pong;

	(void)state;
	assert_int_equal(heartbeat_step(&h, at_ms(0), true, &ping), HEARTBEAT_SEND);
	pong = pong_of(ping);
	assert_true(heartbeat_pong(&h, &pong, at_ms(1)));
	heartbeat_retune(&h, at_ms(4000), 100000, 2);
	assert_int_equal(heartbeat_step(&h, at_ms(4000), true, &ping), HEARTBEAT_SEND);
	assert_int_equal(ping.kind, HEARTBEAT_PING);
	assert_int_equal(heartbeat_step(&h, at_ms(4100), true, &ping), HEARTBEAT_SEND);
	assert_int_equal(heartbeat_next(&h).us, at_ms(4200).us);
	assert_int_equal(heartbeat_step(&h, at_ms(4200), true, &ping), HEARTBEAT_SILENT);
	assert_int_equal(heartbeat_step(&h, at_ms(4200), true, &ping), HEARTBEAT_DEAD);
}

/* --- lanes: interval 100 ms, 3 misses --- */

/* Has a round trip of rtt_us behind it (the same always: no variation left), was heard at 0, and pinged
 * then. */
static struct heartbeat
lane(uint32_t rtt_us)
{
	struct heartbeat h;
	struct beat beat, pong;
	int64_t first_us = -100 * (int64_t)rtt_us;

	heartbeat_init(&h, (struct mono){first_us}, 100000, 3);
	for (int64_t t = first_us; t < 0; t += rtt_us) {
		heartbeat_retune(&h, (struct mono){t}, 100000, 3); /* a ping at once */
		assert_int_equal(heartbeat_step(&h, (struct mono){t}, true, &beat), HEARTBEAT_SEND);
		pong = pong_of(beat);
		assert_true(heartbeat_pong(&h, &pong, (struct mono){t + rtt_us}));
	}
	assert_int_equal(h.rtt_us, rtt_us);
	heartbeat_retune(&h, at_ms(0), 100000, 3);
	assert_int_equal(heartbeat_step(&h, at_ms(0), true, &beat), HEARTBEAT_SEND);
	assert_int_equal(beat.kind, HEARTBEAT_PING);
	return h;
}

/* Steps as the owner's timer does until something else than sending is due; when that was. */
static enum heartbeat_effect
run(struct heartbeat *h, bool busy, struct mono *at)
{
	enum heartbeat_effect e;
	struct beat beat;

	for (;;) {
		*at = heartbeat_next(h);
		e = heartbeat_step(h, *at, busy, &beat);
		if (e == HEARTBEAT_SILENT || e == HEARTBEAT_DEAD)
			return e;
	}
}

static void
dead_after_300_ms(void **state)
{
	static const uint32_t rtts[] = {100, 1000, 5000, 20000};
	struct heartbeat h;
	struct mono at;

	(void)state;
	for (unsigned i = 0; i < 2 * COUNT(rtts); i++) {
		h = lane(rtts[i / 2]);
		assert_int_equal(run(&h, i % 2 == 0, &at), HEARTBEAT_SILENT);
		assert_int_equal(at.us, 300000);
		assert_int_equal(run(&h, i % 2 == 0, &at), HEARTBEAT_DEAD);
		assert_int_equal(at.us, 300000);
	}
}

static void
long_round_trips_need_patience(void **state)
{
	static const struct {
		uint32_t rtt_us;
		int64_t patience_us;
	} rows[] = {
	    {90000, 300000}, {110000, 320000}, {300000, 700000}, {2000000, 4100000},
	    {4000000, 6000000}, /* 20 times interval times misses is the end of patience */
	};
	struct heartbeat h;
	struct mono at;

	(void)state;
	for (unsigned i = 0; i < COUNT(rows); i++) {
		h = lane(rows[i].rtt_us);
		assert_int_equal(run(&h, true, &at), HEARTBEAT_SILENT);
		/* what is left of the variation is small change */
		assert_in_range(at.us, rows[i].patience_us, rows[i].patience_us + 20);
	}
}

/* Nothing is measured yet, and the first beat of a far peer is on its way. */
static void
first_round_trip_may_take_a_second(void **state)
{
	struct heartbeat h;
	struct mono at;

	(void)state;
	heartbeat_init(&h, at_ms(0), 100000, 3);
	assert_int_equal(run(&h, true, &at), HEARTBEAT_SILENT);
	assert_int_equal(at.us, 1100000);
}

/* Every pong takes 10 s: the line is full.  It must be measured all the same, and not count as loss. */
static void
round_trips_beyond_the_interval(void **state)
{
	enum { DELAY_MS = 10000, LATEST_MS = 120000 };
	struct heartbeat h;
	struct beat beat, due[LATEST_MS / 100 + 1];
	unsigned put = 0, got = 0, measured = 0;

	(void)state;
	heartbeat_init(&h, at_ms(0), 100000, 3);
	for (int64_t t = 0; t <= LATEST_MS; t += 100) {
		heartbeat_heard(&h, at_ms(t));
		assert_int_equal(heartbeat_step(&h, at_ms(t), true, &beat), HEARTBEAT_SEND);
		if (beat.kind == HEARTBEAT_PING)
			due[put++] = pong_of(beat);
		for (; got < put && (int64_t)due[got].time_us + DELAY_MS * 1000 <= t * 1000; got++)
			measured += heartbeat_pong(&h, &due[got], at_ms(t));
	}
	assert_in_range(measured, 10, 40);
	assert_int_equal(measured, got);
	assert_int_equal(h.rtt_us, DELAY_MS * 1000);
	assert_int_equal(heartbeat_loss_ppm(&h), 0);
}

static void
who_speaks_needs_no_beat(void **state)
{
	struct heartbeat h = lane(1000);
	struct beat beat;

	(void)state;
	heartbeat_heard(&h, at_ms(50));
	heartbeat_sent(&h, at_ms(60));
	assert_int_equal(heartbeat_step(&h, at_ms(100), false, &beat), HEARTBEAT_NOTHING);
	assert_int_equal(heartbeat_next(&h).us, at_ms(160).us);
	assert_int_equal(heartbeat_step(&h, at_ms(160), false, &beat), HEARTBEAT_SEND);
	assert_int_equal(beat.kind, HEARTBEAT_BEAT);
	/* With traffic the round trip is wanted every interval, whatever else was sent. */
	heartbeat_sent(&h, at_ms(199));
	assert_int_equal(heartbeat_step(&h, at_ms(200), true, &beat), HEARTBEAT_SEND);
	assert_int_equal(beat.kind, HEARTBEAT_PING);
}

/* Two idle sides for a minute: what each sends, and that both live. */
static void
idle_lanes_are_cheap(void **state)
{
	struct heartbeat side[2];
	unsigned pings[2] = {0}, beats[2] = {0};
	struct beat beat;

	(void)state;
	for (int i = 0; i < 2; i++)
		heartbeat_init(&side[i], at_ms(i * 30), 100000, 3);
	for (int64_t t = 0; t < 60000; t++) {
		for (int i = 0; i < 2; i++) {
			if (mono_before(at_ms(t), heartbeat_next(&side[i])))
				continue;
			switch (heartbeat_step(&side[i], at_ms(t), false, &beat)) {
			case HEARTBEAT_SEND:
				beats[i]++;
				heartbeat_heard(&side[!i], at_ms(t));
				if (beat.kind != HEARTBEAT_PING)
					break;
				pings[i]++;
				beat = pong_of(beat);
				heartbeat_sent(&side[!i], at_ms(t));
				heartbeat_heard(&side[i], at_ms(t));
				assert_true(heartbeat_pong(&side[i], &beat, at_ms(t)));
				break;
			case HEARTBEAT_NOTHING:
				break;
			default:
				fail_msg("an idle lane died at %lld ms", (long long)t);
			}
		}
	}
	for (int i = 0; i < 2; i++) {
		assert_in_range(pings[i], 56, 64);
		assert_in_range(beats[i], 500, 601); /* besides answers, which replace some */
		assert_int_equal(heartbeat_loss_ppm(&side[i]), 0);
	}
}

static void
own_lateness_is_not_the_peers(void **state)
{
	struct heartbeat h = lane(1000);
	struct beat beat;
	struct mono at;

	(void)state;
	/* We were stopped for 10 s; what the peer sent meanwhile has not been read yet. */
	assert_int_equal(heartbeat_step(&h, at_ms(10000), true, &beat), HEARTBEAT_SEND);
	assert_int_equal(run(&h, true, &at), HEARTBEAT_SILENT);
	assert_int_equal(at.us, at_ms(10300).us);
	/* Once: a peer that is dead does not live on because we are slow. */
	h = lane(1000);
	assert_int_equal(heartbeat_step(&h, at_ms(10000), true, &beat), HEARTBEAT_SEND);
	assert_int_equal(heartbeat_step(&h, at_ms(10250), true, &beat), HEARTBEAT_SEND);
	assert_int_equal(heartbeat_step(&h, at_ms(10600), true, &beat), HEARTBEAT_SILENT);
	/* Heard again, it may happen again. */
	heartbeat_heard(&h, at_ms(10600));
	assert_int_equal(heartbeat_step(&h, at_ms(20000), true, &beat), HEARTBEAT_SEND);
	/* Late by no more than an interval: the peer had its time. */
	h = lane(1000);
	assert_int_equal(heartbeat_step(&h, at_ms(200), true, &beat), HEARTBEAT_SEND);
	assert_int_equal(heartbeat_step(&h, at_ms(400), true, &beat), HEARTBEAT_SILENT);
}

static void
stalled_peers_are_borne(void **state)
{
	struct heartbeat h = lane(1000);
	unsigned asked = 0, sent = 0;
	struct beat beat;
	struct mono at;

	(void)state;
	assert_int_equal(run(&h, true, &at), HEARTBEAT_SILENT);
	assert_false(heartbeat_stalled(&h));
	heartbeat_kernel_alive(&h, at, 1000000);
	assert_true(heartbeat_stalled(&h));
	/* Goes on sending, or there were nothing that the kernel could acknowledge. */
	for (;;) {
		at = heartbeat_next(&h);
		switch (heartbeat_step(&h, at, true, &beat)) {
		case HEARTBEAT_SEND:
			sent++;
			continue;
		case HEARTBEAT_SILENT:
			asked++;
			heartbeat_kernel_alive(&h, at, 1000000);
			continue;
		case HEARTBEAT_NOTHING:
			continue;
		case HEARTBEAT_DEAD:
			break;
		}
		break;
	}
	assert_int_equal(at.us, at_ms(1000).us); /* since it was heard */
	assert_int_equal(asked, 6);
	assert_in_range(sent, 6, 7);
	/* Nobody bears stalls. */
	h = lane(1000);
	assert_int_equal(run(&h, true, &at), HEARTBEAT_SILENT);
	heartbeat_kernel_alive(&h, at, 0);
	assert_false(mono_before(at, heartbeat_next(&h)));
	assert_int_equal(heartbeat_step(&h, at, true, &beat), HEARTBEAT_DEAD);
}

static void
hearing_ends_a_stall(void **state)
{
	struct heartbeat h = lane(1000);
	struct mono at;

	(void)state;
	assert_int_equal(run(&h, true, &at), HEARTBEAT_SILENT);
	heartbeat_kernel_alive(&h, at, 5000000);
	assert_int_equal(run(&h, true, &at), HEARTBEAT_SILENT);
	assert_int_equal(at.us, at_ms(400).us);
	heartbeat_kernel_alive(&h, at, 5000000);
	heartbeat_heard(&h, at_ms(450));
	assert_false(heartbeat_stalled(&h));
	assert_int_equal(run(&h, true, &at), HEARTBEAT_SILENT);
	assert_int_equal(at.us, at_ms(750).us);
	/* In a stall the kernel falls silent too: the machine went. */
	heartbeat_kernel_alive(&h, at, 5000000);
	assert_int_equal(run(&h, true, &at), HEARTBEAT_SILENT);
	assert_int_equal(run(&h, true, &at), HEARTBEAT_DEAD);
	assert_int_equal(at.us, at_ms(850).us);
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
	mem[0] = HEARTBEAT_BEAT;
	assert_int_equal(beat_decode(mem, HEARTBEAT_PAYLOAD_BYTES, &got), 0);
	mem[0] = 0;
	assert_int_equal(beat_decode(mem, HEARTBEAT_PAYLOAD_BYTES, &got), ERR_FORMAT);
	mem[0] = HEARTBEAT_BEAT + 1;
	assert_int_equal(beat_decode(mem, HEARTBEAT_PAYLOAD_BYTES, &got), ERR_FORMAT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(pings_every_interval),
	    cmocka_unit_test(silence_is_death),
	    cmocka_unit_test(rtt_is_smoothed),
	    cmocka_unit_test(rtt_falls_soon),
	    cmocka_unit_test(strange_pongs_are_ignored),
	    cmocka_unit_test(loss_counts_unanswered_pings),
	    cmocka_unit_test(minimum_forgets),
	    cmocka_unit_test(retune_begins_anew),
	    cmocka_unit_test(dead_after_300_ms),
	    cmocka_unit_test(long_round_trips_need_patience),
	    cmocka_unit_test(first_round_trip_may_take_a_second),
	    cmocka_unit_test(round_trips_beyond_the_interval),
	    cmocka_unit_test(who_speaks_needs_no_beat),
	    cmocka_unit_test(idle_lanes_are_cheap),
	    cmocka_unit_test(own_lateness_is_not_the_peers),
	    cmocka_unit_test(stalled_peers_are_borne),
	    cmocka_unit_test(hearing_ends_a_stall),
	    cmocka_unit_test(codec),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
