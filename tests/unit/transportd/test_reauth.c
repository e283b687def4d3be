#include "transportd/core/reauth.h"

#include "tests/unit/unit.h"
#include "transportd/core/goaway.h"

#define S(n) ((int64_t)(n)*1000000)

static struct mono
at(int64_t s)
{
	return (struct mono){S(s)};
}

static void
a_proof_lapses(void **state)
{
	struct reauth r;
	uint16_t code = 0;

	(void)state;
	reauth_init(&r, at(100));
	assert_int_equal(reauth_next(&r).us, S(100));
	assert_int_equal(reauth_step(&r, at(99), &code), REAUTH_NOTHING);
	assert_int_equal(reauth_step(&r, at(100), &code), REAUTH_END);
	assert_int_equal(code, GOAWAY_EXPIRED);
	/* Once. */
	assert_int_equal(reauth_step(&r, at(200), &code), REAUTH_NOTHING);
	assert_true(mono_is_never(reauth_next(&r)));
	reauth_shown(&r, at(300));
	assert_int_equal(r.state, REAUTH_ENDED);
}

static void
a_new_one_keeps_it(void **state)
{
	struct reauth r;
	uint16_t code = 0;

	(void)state;
	reauth_init(&r, at(100));
	reauth_shown(&r, at(200));
	assert_int_equal(reauth_step(&r, at(150), &code), REAUTH_NOTHING);
	/* One that ends earlier takes nothing away. */
	reauth_shown(&r, at(160));
	assert_int_equal(reauth_next(&r).us, S(200));
	assert_int_equal(reauth_step(&r, at(200), &code), REAUTH_END);
	assert_int_equal(code, GOAWAY_EXPIRED);
}

static void
what_is_owed_must_come(void **state)
{
	struct reauth r;
	uint16_t code = 0;

	(void)state;
	reauth_init_owed(&r, at(10));
	assert_int_equal(reauth_step(&r, at(9), &code), REAUTH_NOTHING);
	assert_int_equal(reauth_step(&r, at(10), &code), REAUTH_END);
	assert_int_equal(code, GOAWAY_TOKEN);

	reauth_init_owed(&r, at(10));
	reauth_shown(&r, at(5)); /* a deadline is no proof: the token's end counts, even if earlier */
	assert_int_equal(r.state, REAUTH_PROVEN);
	assert_int_equal(reauth_step(&r, at(5), &code), REAUTH_END);
	assert_int_equal(code, GOAWAY_EXPIRED);
}

static void
ours_are_sent_in_time(void **state)
{
	struct reauth r;
	uint16_t code = 0;

	(void)state;
	reauth_init(&r, at(100000));
	for (unsigned jitter = 0; jitter < 1000; jitter += 111) {
		reauth_sent(&r, at(1000), S(300), jitter);
		assert_in_range(reauth_next(&r).us, S(1000) + S(150), S(1000) + S(200));
	}
	reauth_sent(&r, at(1000), S(300), 0);
	assert_int_equal(reauth_next(&r).us, S(1200));
	assert_int_equal(reauth_step(&r, at(1199), &code), REAUTH_NOTHING);
	assert_int_equal(reauth_step(&r, at(1200), &code), REAUTH_SEND);
	/* Not made: asked for again, not at once. */
	assert_int_equal(reauth_step(&r, at(1200), &code), REAUTH_NOTHING);
	assert_int_equal(reauth_next(&r).us, S(1200) + REAUTH_RETRY_MS * 1000);
	assert_int_equal(reauth_step(&r, reauth_next(&r), &code), REAUTH_SEND);
	reauth_sent(&r, at(1210), S(300), 0);
	assert_int_equal(reauth_next(&r).us, S(1410));
}

static void
a_renewed_certificate_is_shown_once(void **state)
{
	struct reauth r;
	uint16_t code = 0;

	(void)state;
	reauth_init(&r, at(100000));
	assert_int_equal(reauth_next(&r).us, S(100000));
	reauth_due(&r, at(50));
	reauth_due(&r, at(60));
	assert_int_equal(reauth_step(&r, at(50), &code), REAUTH_SEND);
	reauth_sent(&r, at(50), 0, 0);
	assert_int_equal(reauth_next(&r).us, S(100000));
}

static void
the_end_comes_before_ours(void **state)
{
	struct reauth r;
	uint16_t code = 0;

	(void)state;
	reauth_init(&r, at(10));
	reauth_due(&r, at(10));
	assert_int_equal(reauth_step(&r, at(10), &code), REAUTH_END);
}

static void
not_too_often(void **state)
{
	struct reauth r;
	unsigned taken = 0;

	(void)state;
	reauth_init(&r, MONO_NEVER);
	for (int i = 0; i < 100; i++)
		taken += reauth_takes(&r, at(1000));
	assert_int_equal(taken, REAUTH_BURST);
	assert_false(reauth_takes(&r, mono_add_ms(at(1000), REAUTH_INTERVAL_MS - 1)));
	assert_true(reauth_takes(&r, mono_add_ms(at(1000), REAUTH_INTERVAL_MS)));
	assert_false(reauth_takes(&r, mono_add_ms(at(1000), REAUTH_INTERVAL_MS)));
	/* At one an interval for ever. */
	for (int i = 2; i < 100; i++)
		assert_true(reauth_takes(&r, mono_add_ms(at(1000), i * REAUTH_INTERVAL_MS)));
}

static void
times_of_the_calendar(void **state)
{
	(void)state;
	assert_int_equal(reauth_map(at(1000), 1700000000, 1700000300).us, S(1300));
	assert_int_equal(reauth_map(at(1000), 1700000000, 1700000000).us, S(1000));
	assert_true(mono_before(reauth_map(at(1000), 1700000000, 1600000000), at(1000)));
	assert_true(mono_is_never(reauth_map(at(1000), 1700000000, INT64_MAX)));
	assert_false(mono_before(at(1000), reauth_map(at(1000), 1700000000, INT64_MIN)));
	assert_false(mono_before(at(1000), reauth_map(at(1000), 1, 0)));
}

static void
names(void **state)
{
	(void)state;
	assert_string_equal(reauth_state_name(REAUTH_OWED), "owed");
	assert_string_equal(reauth_state_name(REAUTH_STATE_COUNT), "?");
	assert_string_equal(reauth_event_name(REAUTH_EV_LAPSED), "lapsed");
	assert_string_equal(reauth_event_name(REAUTH_EVENT_COUNT), "?");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_proof_lapses),
	    cmocka_unit_test(a_new_one_keeps_it),
	    cmocka_unit_test(what_is_owed_must_come),
	    cmocka_unit_test(ours_are_sent_in_time),
	    cmocka_unit_test(a_renewed_certificate_is_shown_once),
	    cmocka_unit_test(the_end_comes_before_ours),
	    cmocka_unit_test(not_too_often),
	    cmocka_unit_test(times_of_the_calendar),
	    cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
