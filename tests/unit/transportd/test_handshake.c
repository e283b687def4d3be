#include "transportd/core/handshake.h"

#include "common/base/frame.h"
#include "tests/unit/unit.h"

static void
both_orders_lead_up(void **state)
{
	enum handshake_state s = HANDSHAKE_WAIT_HELLO;

	(void)state;
	assert_int_equal(handshake_step(&s, HANDSHAKE_EV_HELLO_OK), HANDSHAKE_SEND_HELLO | HANDSHAKE_ASK);
	assert_int_equal(s, HANDSHAKE_SIGNING);
	assert_int_equal(handshake_step(&s, HANDSHAKE_EV_SIGNED), HANDSHAKE_SEND_AUTH);
	assert_int_equal(s, HANDSHAKE_WAIT_AUTH);
	assert_int_equal(handshake_step(&s, HANDSHAKE_EV_PROVEN), HANDSHAKE_LINK_UP);
	assert_int_equal(s, HANDSHAKE_UP);

	s = HANDSHAKE_SIGNING;
	assert_int_equal(handshake_step(&s, HANDSHAKE_EV_PROVEN), 0);
	assert_int_equal(s, HANDSHAKE_SIGNING_PROVEN);
	assert_int_equal(handshake_step(&s, HANDSHAKE_EV_SIGNED), HANDSHAKE_SEND_AUTH | HANDSHAKE_LINK_UP);
	assert_int_equal(s, HANDSHAKE_UP);
}

static void
all_else_fails(void **state)
{
	static const bool allowed[HANDSHAKE_STATE_COUNT][HANDSHAKE_EVENT_COUNT] = {
	    [HANDSHAKE_WAIT_HELLO] = {true, false, false},
	    [HANDSHAKE_SIGNING] = {false, true, true},
	    [HANDSHAKE_SIGNING_PROVEN] = {false, true, false},
	    [HANDSHAKE_WAIT_AUTH] = {false, false, true},
	};

	(void)state;
	for (unsigned i = 0; i < HANDSHAKE_STATE_COUNT; i++) {
		for (unsigned e = 0; e < HANDSHAKE_EVENT_COUNT; e++) {
			enum handshake_state s = i;
			unsigned effects = handshake_step(&s, e);

			if (allowed[i][e])
				continue;
			assert_int_equal(s, HANDSHAKE_FAILED);
			assert_int_equal(effects, 0);
		}
	}
}

/* Whatever the order of events, nobody is up who has not been proven and has not sent its own proof. */
static void
never_up_without_proof(void **state)
{
	(void)state;
	for (unsigned path = 0; path < 81; path++) {
		enum handshake_state s = HANDSHAKE_WAIT_HELLO;
		bool proven = false, sent = false, hello = false;

		for (unsigned i = 0, p = path; i < 4; i++, p /= 3) {
			enum handshake_event ev = p % 3;
			unsigned effects = handshake_step(&s, ev);

			hello |= ev == HANDSHAKE_EV_HELLO_OK;
			proven |= ev == HANDSHAKE_EV_PROVEN && s != HANDSHAKE_FAILED;
			sent |= (effects & HANDSHAKE_SEND_AUTH) != 0;
			if (s == HANDSHAKE_UP)
				assert_true(hello && proven && sent);
		}
	}
}

static void
frames_per_state(void **state)
{
	(void)state;
	for (unsigned s = 0; s < HANDSHAKE_STATE_COUNT; s++) {
		assert_true(handshake_accepts(s, FRAME_GOAWAY));
		assert_int_equal(handshake_accepts(s, FRAME_HELLO), s == HANDSHAKE_WAIT_HELLO);
		assert_int_equal(
		    handshake_accepts(s, FRAME_AUTH), s == HANDSHAKE_SIGNING || s == HANDSHAKE_WAIT_AUTH);
		assert_int_equal(handshake_accepts(s, FRAME_DATA), s == HANDSHAKE_UP);
		assert_int_equal(handshake_accepts(s, FRAME_HEARTBEAT), s == HANDSHAKE_UP);
		assert_string_not_equal(handshake_state_name(s), "?");
	}
	assert_string_equal(handshake_state_name(99), "?");
	assert_string_equal(handshake_event_name(99), "?");
}

/* Both ends look at the same two connections, each from its side. */
static void
both_sides_settle_alike(void **state)
{
	const uint64_t small = 5, big = 9;

	(void)state;
	/* One dialled by each side, seen in either order at either end: the small one's dial stays. */
	assert_int_equal(handshake_settle(small, big, true, false), SETTLE_KEEP_OLD);
	assert_int_equal(handshake_settle(small, big, false, true), SETTLE_TAKE_NEW);
	assert_int_equal(handshake_settle(big, small, false, true), SETTLE_KEEP_OLD);
	assert_int_equal(handshake_settle(big, small, true, false), SETTLE_TAKE_NEW);
	/* Dialled by the same side: a new life. */
	assert_int_equal(handshake_settle(small, big, true, true), SETTLE_TAKE_NEW);
	assert_int_equal(handshake_settle(small, big, false, false), SETTLE_TAKE_NEW);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(both_orders_lead_up),
	    cmocka_unit_test(all_else_fails),
	    cmocka_unit_test(never_up_without_proof),
	    cmocka_unit_test(frames_per_state),
	    cmocka_unit_test(both_sides_settle_alike),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
