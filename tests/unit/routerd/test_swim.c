/*
 * Members find each other, notice who is gone, and take nobody for gone who is not.
 */
#include "tests/unit/routerd/swimnet.h"

enum { S = SWIMNET_SECOND };

static void
test_join_through_one(void **state)
{
	struct swimnet net;

	(void)state;
	swimnet_new(&net, 40, 1, false);
	swimnet_start_all(&net);
	for (int i = 1; i < net.count; i++) {
		swim_join(net.nodes[i].swim, swimnet_id(0));
		swimnet_step(&net.nodes[i]);
		swimnet_run(&net, S / 10);
	}
	swimnet_run(&net, 10 * S);
	assert_true(swimnet_all_alive(&net));
	swimnet_free(&net);
}

/* All at once, at a node that can't answer all of them at once. */
static void
test_join_crowd(void **state)
{
	struct swimnet net;

	(void)state;
	swimnet_new(&net, 30, 2, false);
	net.loss_ppm = 50000;
	swimnet_start_all(&net);
	for (int i = 1; i < net.count; i++) {
		swim_join(net.nodes[i].swim, swimnet_id(0));
		swimnet_step(&net.nodes[i]);
	}
	swimnet_run(&net, 120 * S);
	assert_true(swimnet_all_alive(&net));
	swimnet_free(&net);
}

static void
test_crash_is_noticed(void **state)
{
	struct swimnet net;

	(void)state;
	swimnet_new(&net, 30, 3, true);
	swimnet_start_all(&net);
	swimnet_run(&net, 10 * S);
	swimnet_stop(&net, 7);
	swimnet_run(&net, 5 * S);
	assert_int_equal(swimnet_think(&net, 7, SWIM_STATE_SUSPECT), 29);
	swimnet_run(&net, 15 * S);
	assert_int_equal(swimnet_think(&net, 7, SWIM_STATE_DEAD), 29);
	/* It comes back, with a new start, and nobody else was hurt. */
	swimnet_start(&net, 7);
	for (int i = 0; i < net.count; i++)
		assert_int_equal(swim_member(net.nodes[i].swim, swimnet_id(7), 2, swimnet_mono(&net)), 0);
	swimnet_run(&net, 5 * S);
	assert_true(swimnet_all_alive(&net));
	for (int i = 0; i < net.count; i++)
		assert_true(net.nodes[i].events[SWIM_EVENT_DEAD] <= 1);
	swimnet_free(&net);
}

static bool
block_5_to_6(struct swimnet *net, int from, int to)
{
	(void)net;
	return from == 5 && to == 6;
}

/* Others probe for those who can't. */
static void
test_one_way(void **state)
{
	struct swimnet net;

	(void)state;
	swimnet_new(&net, 10, 4, true);
	net.blocked = block_5_to_6;
	swimnet_start_all(&net);
	swimnet_run(&net, 300 * S);
	for (int i = 0; i < net.count; i++)
		assert_int_equal(net.nodes[i].events[SWIM_EVENT_DEAD], 0);
	assert_int_equal(net.nodes[5].events[SWIM_EVENT_SUSPECT], 0);
	assert_true(swim_counters(net.nodes[5].swim)->probes_indirect > 10);
	swimnet_free(&net);
}

/* When the one has last heard of the other. */
static int64_t
seen_us(struct swimnet *net, int at, int about)
{
	struct swim_info info;

	assert_true(swim_get(net->nodes[at].swim, swimnet_id(about), &info));
	return info.seen_at.us;
}

/* A process that stands still is suspected; when it goes on, it blames nobody, and refutes. */
static void
test_pause(void **state)
{
	struct swimnet net;
	int64_t begin;

	(void)state;
	swimnet_new(&net, 20, 5, true);
	swimnet_start_all(&net);
	swimnet_all_linked(&net);
	swimnet_run(&net, 10 * S);
	begin = net.now;
	net.nodes[3].paused_until = net.now + 30 * S;
	swimnet_run(&net, 5 * S);
	assert_int_equal(swimnet_think(&net, 3, SWIM_STATE_SUSPECT), 19);
	swimnet_run(&net, 24 * S);
	assert_in_range(seen_us(&net, 0, 3), 1, begin + S);
	assert_true(seen_us(&net, 0, 4) > begin + S);
	assert_int_equal(swimnet_think(&net, 3, SWIM_STATE_SUSPECT), 19); /* its links are there */
	swimnet_run(&net, 2 * S);
	assert_true(swimnet_all_alive(&net));
	assert_true(seen_us(&net, 0, 3) >= begin + 30 * S);
	assert_true(swim_counters(net.nodes[3].swim)->stalls >= 1);
	assert_int_equal(net.nodes[3].events[SWIM_EVENT_SUSPECT], 0);
	assert_true(swim_counters(net.nodes[3].swim)->refutations >= 1);
	swimnet_free(&net);
}

/* While links are there, only a very long silence is death. */
static void
test_hung_for_long(void **state)
{
	struct swimnet net;

	(void)state;
	swimnet_new(&net, 20, 6, true);
	swimnet_start_all(&net);
	swimnet_all_linked(&net);
	swimnet_run(&net, 10 * S);
	net.nodes[3].paused_until = net.now + 600 * S;
	swimnet_run(&net, 90 * S);
	assert_int_equal(swimnet_think(&net, 3, SWIM_STATE_SUSPECT), 19);
	swimnet_run(&net, 60 * S);
	assert_int_equal(swimnet_think(&net, 3, SWIM_STATE_DEAD), 19);
	swimnet_run(&net, 452 * S);
	assert_true(swimnet_all_alive(&net));
	swimnet_free(&net);
}

/* All links are gone: it is dead soon, and back when one returns, without a word of its own. */
static void
test_links_lost(void **state)
{
	struct swimnet net;

	(void)state;
	swimnet_new(&net, 20, 7, true);
	swimnet_start_all(&net);
	swimnet_all_linked(&net);
	swimnet_run(&net, 10 * S);
	net.nodes[3].paused_until = net.now + 3 * S; /* cut off */
	swimnet_links(&net, 3, false, 20000);
	swimnet_run(&net, S / 10);
	assert_int_equal(swimnet_think(&net, 3, SWIM_STATE_SUSPECT), 19);
	swimnet_run(&net, S * 6 / 10);
	assert_int_equal(swimnet_think(&net, 3, SWIM_STATE_DEAD), 19);
	for (int i = 0; i < net.count; i++)
		assert_int_equal(swim_counters(net.nodes[i].swim)->refutations, 0);
	swimnet_links(&net, 3, true, 0);
	swimnet_run(&net, S / 10);
	assert_int_equal(swimnet_think(&net, 3, SWIM_STATE_ALIVE), 19);
	swimnet_run(&net, 20 * S);
	assert_true(swimnet_all_alive(&net));
	swimnet_free(&net);
}

/* A link that comes back within the time it is waited for kills nobody. */
static void
test_links_flap(void **state)
{
	struct swimnet net;

	(void)state;
	swimnet_new(&net, 10, 8, true);
	swimnet_start_all(&net);
	swimnet_all_linked(&net);
	swimnet_run(&net, 5 * S);
	for (int i = 0; i < 10; i++) {
		swimnet_links(&net, 3, false, 0);
		swimnet_run(&net, S * 3 / 10);
		swimnet_links(&net, 3, true, 0);
		swimnet_run(&net, S * 3 / 10);
	}
	for (int i = 0; i < net.count; i++)
		assert_int_equal(net.nodes[i].events[SWIM_EVENT_DEAD], 0);
	assert_true(swimnet_all_alive(&net));
	swimnet_free(&net);
}

static void
test_leave(void **state)
{
	struct swimnet net;

	(void)state;
	swimnet_new(&net, 20, 9, true);
	swimnet_start_all(&net);
	swimnet_run(&net, 5 * S);
	swim_leave(net.nodes[4].swim, swimnet_mono(&net));
	swimnet_step(&net.nodes[4]);
	swimnet_run(&net, 5 * S);
	assert_true(swim_left(net.nodes[4].swim));
	assert_int_equal(swimnet_think(&net, 4, SWIM_STATE_LEFT), 19);
	swimnet_stop(&net, 4);
	swimnet_run(&net, 30 * S);
	for (int i = 0; i < net.count; i++)
		assert_int_equal(net.nodes[i].events[SWIM_EVENT_DEAD], 0);
	swimnet_free(&net);
}

/* With links, a goodbye counts when they are gone: it could be forged. */
static void
test_leave_with_links(void **state)
{
	struct swimnet net;

	(void)state;
	swimnet_new(&net, 10, 10, true);
	swimnet_start_all(&net);
	swimnet_all_linked(&net);
	swimnet_run(&net, 5 * S);
	swim_leave(net.nodes[4].swim, swimnet_mono(&net));
	swimnet_step(&net.nodes[4]);
	swimnet_run(&net, 3 * S);
	assert_int_equal(swimnet_think(&net, 4, SWIM_STATE_ALIVE), 9);
	swimnet_stop(&net, 4);
	swimnet_links(&net, 4, false, 0);
	swimnet_run(&net, S / 10);
	assert_int_equal(swimnet_think(&net, 4, SWIM_STATE_LEFT), 9);
	swimnet_free(&net);
}

/* --- a node that can't see --- */

static bool
block_3(struct swimnet *net, int from, int to)
{
	(void)net;
	return from == 3 || to == 3;
}

static void
sight(struct swimnet *net, int i, enum swim_sight what)
{
	swim_sight(net->nodes[i].swim, what, swimnet_mono(net));
	swimnet_step(&net->nodes[i]);
}

static void
blind_net(struct swimnet *net, uint64_t seed, bool links)
{
	swimnet_new(net, 20, seed, true);
	swimnet_start_all(net);
	if (links)
		swimnet_all_linked(net);
	swimnet_run(net, 10 * S);
}

/* Without transportd it hears of nobody and says nothing; to the others it is dead as ever, until it is back.
 */
static void
test_no_sight(void **state)
{
	struct swimnet net;
	uint64_t sent, probes;

	(void)state;
	blind_net(&net, 15, true);
	net.blocked = block_3;
	sight(&net, 3, SWIM_SIGHT_NONE);
	swimnet_links(&net, 3, false, 20000);
	for (int i = 0; i < net.count; i++)
		swim_linked(net.nodes[3].swim, swimnet_id(i), false, swimnet_mono(&net));
	swimnet_step(&net.nodes[3]);
	sent = swim_counters(net.nodes[3].swim)->payloads_sent;
	probes = swim_counters(net.nodes[3].swim)->probes;
	swimnet_run(&net, 600 * S);
	assert_true(swim_counters(net.nodes[3].swim)->probes == probes);
	assert_int_equal(swimnet_think(&net, 3, SWIM_STATE_DEAD), 19);
	for (int i = 0; i < net.count; i++)
		assert_int_equal(swimnet_state(&net, 3, i), SWIM_STATE_ALIVE);
	assert_true(swim_counters(net.nodes[3].swim)->payloads_sent == sent);

	/* It can speak, and the links come one after the other: still nothing against anybody. */
	net.blocked = NULL;
	sight(&net, 3, SWIM_SIGHT_DIM);
	swimnet_links(&net, 3, true, 0);
	swimnet_run(&net, 4 * S);
	for (int i = 0; i < net.count; i++)
		swim_linked(net.nodes[3].swim, swimnet_id(i), true, swimnet_mono(&net));
	sight(&net, 3, SWIM_SIGHT_CLEAR);
	swimnet_run(&net, 30 * S);
	assert_true(swimnet_all_alive(&net));
	assert_int_equal(net.nodes[3].events[SWIM_EVENT_SUSPECT], 0);
	assert_int_equal(net.nodes[3].events[SWIM_EVENT_DEAD], 0);
	assert_int_equal(net.nodes[3].events[SWIM_EVENT_STALLED], 0);
	assert_true(swim_counters(net.nodes[3].swim)->probes > probes + 20);
	swimnet_free(&net);
}

/* Others suspected it by their probes: it denies that when it can speak again. */
static void
test_no_sight_is_refuted(void **state)
{
	struct swimnet net;

	(void)state;
	blind_net(&net, 16, false);
	net.blocked = block_3;
	sight(&net, 3, SWIM_SIGHT_NONE);
	swimnet_run(&net, 5 * S);
	assert_int_equal(swimnet_think(&net, 3, SWIM_STATE_SUSPECT), 19);
	net.blocked = NULL;
	sight(&net, 3, SWIM_SIGHT_DIM);
	swimnet_run(&net, 5 * S);
	assert_true(swimnet_all_alive(&net));
	assert_true(swim_counters(net.nodes[3].swim)->refutations >= 1);
	sight(&net, 3, SWIM_SIGHT_CLEAR);
	swimnet_run(&net, 20 * S);
	assert_true(swimnet_all_alive(&net));
	assert_int_equal(net.nodes[3].events[SWIM_EVENT_SUSPECT], 0);
	swimnet_free(&net);
}

/* A suspicion that runs stands still with it, and goes on afterwards. */
static void
test_no_sight_keeps_suspicions(void **state)
{
	struct swimnet net;

	(void)state;
	blind_net(&net, 17, false);
	swimnet_stop(&net, 7);
	swimnet_run(&net, 4 * S);
	assert_int_equal(swimnet_state(&net, 3, 7), SWIM_STATE_SUSPECT);
	net.blocked = block_3;
	sight(&net, 3, SWIM_SIGHT_NONE);
	swimnet_run(&net, 300 * S);
	assert_int_equal(swimnet_think(&net, 7, SWIM_STATE_DEAD), 18);
	assert_int_equal(swimnet_state(&net, 3, 7), SWIM_STATE_SUSPECT);
	/* Nobody tells it: it has to find that out for itself. */
	sight(&net, 3, SWIM_SIGHT_CLEAR);
	swimnet_run(&net, S);
	assert_int_equal(swimnet_state(&net, 3, 7), SWIM_STATE_SUSPECT);
	swimnet_run(&net, 60 * S);
	assert_int_equal(swimnet_state(&net, 3, 7), SWIM_STATE_DEAD);
	swimnet_free(&net);
}

/* Who is without links when it sees again is suspect then, and dead after the usual time. */
static void
test_links_lost_unseen(void **state)
{
	struct swimnet net;

	(void)state;
	blind_net(&net, 18, true);
	sight(&net, 3, SWIM_SIGHT_DIM);
	swim_linked(net.nodes[3].swim, swimnet_id(7), false, swimnet_mono(&net));
	swim_linked(net.nodes[3].swim, swimnet_id(8), false, swimnet_mono(&net));
	swimnet_run(&net, 5 * S);
	swim_linked(net.nodes[3].swim, swimnet_id(8), true, swimnet_mono(&net));
	assert_int_equal(net.nodes[3].events[SWIM_EVENT_SUSPECT], 0);
	sight(&net, 3, SWIM_SIGHT_CLEAR);
	assert_int_equal(swimnet_state(&net, 3, 7), SWIM_STATE_SUSPECT);
	assert_int_equal(swimnet_state(&net, 3, 8), SWIM_STATE_ALIVE);
	swimnet_run(&net, S * 4 / 10);
	assert_int_equal(swimnet_state(&net, 3, 7), SWIM_STATE_SUSPECT);
	swimnet_run(&net, S * 2 / 10);
	assert_int_equal(swimnet_state(&net, 3, 7), SWIM_STATE_DEAD);
	assert_int_equal(net.nodes[3].events[SWIM_EVENT_DEAD], 1);
	swimnet_free(&net);
}

/* What it is told to say meanwhile is said when it can be. */
static void
test_event_waits_for_sight(void **state)
{
	struct swimnet net;

	(void)state;
	blind_net(&net, 19, true);
	net.blocked = block_3;
	sight(&net, 3, SWIM_SIGHT_NONE);
	assert_int_equal(swim_user_event(net.nodes[3].swim, "deploy", NULL, 0, swimnet_mono(&net)), 0);
	swimnet_step(&net.nodes[3]);
	swimnet_run(&net, 100 * S);
	assert_int_equal(net.nodes[5].users, 0);
	net.blocked = NULL;
	sight(&net, 3, SWIM_SIGHT_DIM);
	swimnet_run(&net, 5 * S);
	for (int i = 0; i < net.count; i++)
		assert_int_equal(net.nodes[i].users, 1);
	swimnet_free(&net);
}

/* Halves of a mesh take each other for dead, and meet again. */
static bool
block_halves(struct swimnet *net, int from, int to)
{
	return (from < net->count / 2) != (to < net->count / 2);
}

static void
test_partition(void **state)
{
	struct swimnet net;

	(void)state;
	swimnet_new(&net, 20, 11, true);
	swimnet_start_all(&net);
	swimnet_run(&net, 5 * S);
	net.blocked = block_halves;
	swimnet_run(&net, 60 * S);
	assert_int_equal(swimnet_think(&net, 0, SWIM_STATE_DEAD), 10);
	assert_int_equal(swimnet_think(&net, 19, SWIM_STATE_DEAD), 10);
	net.blocked = NULL;
	/* Nobody probes the dead, so one meets another: here as a new link would make it. */
	swim_join(net.nodes[0].swim, swimnet_id(19));
	swimnet_step(&net.nodes[0]);
	swimnet_run(&net, 40 * S);
	assert_true(swimnet_all_alive(&net));
	swimnet_free(&net);
}

static void
test_user_events(void **state)
{
	struct swimnet net;

	(void)state;
	swimnet_new(&net, 30, 12, true);
	net.loss_ppm = 100000;
	swimnet_start_all(&net);
	swimnet_run(&net, 2 * S);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(swim_user_event(net.nodes[i].swim, "deploy", (const uint8_t *)"v2", 2,
				     swimnet_mono(&net)),
		    0);
		swimnet_step(&net.nodes[i]);
		swimnet_run(&net, 3 * S);
	}
	swimnet_run(&net, 60 * S);
	for (int i = 0; i < net.count; i++) {
		assert_int_equal(net.nodes[i].users, 20);
		assert_false(net.nodes[i].user_disorder);
	}
	assert_int_not_equal(swim_user_event(net.nodes[0].swim, "no blanks", NULL, 0, swimnet_mono(&net)), 0);
	assert_int_not_equal(swim_user_event(net.nodes[0].swim, "big", (const uint8_t *)"",
				 SWIM_EVENT_MAX_BYTES + 1, swimnet_mono(&net)),
	    0);
	swimnet_free(&net);
}

/* What a member says of itself is everywhere, also at those who come later. */
static void
test_meta(void **state)
{
	struct swim_meta meta = {.name = "n1", .region = "eu", .load_permille = 10}, got;
	struct swim_info info;
	struct swimnet net;

	(void)state;
	swimnet_new(&net, 12, 13, true);
	swimnet_start_all(&net);
	assert_int_equal(swim_describe(net.nodes[1].swim, &meta, swimnet_mono(&net)), 0);
	swimnet_run(&net, 5 * S);
	memcpy(meta.region, "us", 3);
	meta.load_permille = 900;
	assert_int_equal(swim_describe(net.nodes[1].swim, &meta, swimnet_mono(&net)), 0);
	swimnet_step(&net.nodes[1]);
	swimnet_stop(&net, 9);
	swimnet_run(&net, 5 * S);
	swimnet_start(&net, 9);
	swimnet_run(&net, 90 * S);
	for (int i = 0; i < net.count; i++) {
		assert_true(swim_get(net.nodes[i].swim, swimnet_id(1), &info));
		assert_int_equal(swim_meta_decode(info.meta, info.meta_len, &got), 0);
		assert_int_equal(got.load_permille, 900);
		assert_string_equal(got.region, "us");
	}
	swimnet_free(&net);
}

static uint64_t
run_hash(uint64_t seed)
{
	struct swimnet net;
	uint64_t hash;

	swimnet_new(&net, 15, seed, true);
	net.loss_ppm = 20000;
	swimnet_start_all(&net);
	swimnet_run(&net, 20 * S);
	swimnet_stop(&net, 3);
	swimnet_run(&net, 40 * S);
	hash = net.hash;
	swimnet_free(&net);
	return hash;
}

static void
test_same_seed_same_run(void **state)
{
	(void)state;
	assert_true(run_hash(77) == run_hash(77));
	assert_true(run_hash(77) != run_hash(78));
}

/* A mesh that runs out of memory now and then goes on. */
static void
test_no_memory(void **state)
{
	struct swimnet net;
	uint64_t out = 0;

	(void)state;
	swimnet_new(&net, 8, 14, true);
	swimnet_start_all(&net);
	for (unsigned long k = 1; k < 60; k++) {
		mem_fail_at(k);
		swimnet_stop(&net, 2);
		swimnet_run(&net, 20 * S);
		mem_fail_at(0);
		swimnet_start(&net, 2);
		for (int i = 0; i < net.count; i++)
			assert_int_equal(swim_member(net.nodes[i].swim, swimnet_id(2), net.nodes[2].start,
					     swimnet_mono(&net)),
			    0);
		swimnet_run(&net, 10 * S);
		assert_true(swimnet_all_alive(&net));
	}
	for (int i = 0; i < net.count; i++)
		out += swim_counters(net.nodes[i].swim)->memory_out;
	assert_true(out > 0);
	swimnet_free(&net);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_join_through_one),
	    cmocka_unit_test(test_join_crowd),
	    cmocka_unit_test(test_crash_is_noticed),
	    cmocka_unit_test(test_one_way),
	    cmocka_unit_test(test_pause),
	    cmocka_unit_test(test_hung_for_long),
	    cmocka_unit_test(test_links_lost),
	    cmocka_unit_test(test_links_flap),
	    cmocka_unit_test(test_leave),
	    cmocka_unit_test(test_leave_with_links),
	    cmocka_unit_test(test_no_sight),
	    cmocka_unit_test(test_no_sight_is_refuted),
	    cmocka_unit_test(test_no_sight_keeps_suspicions),
	    cmocka_unit_test(test_links_lost_unseen),
	    cmocka_unit_test(test_event_waits_for_sight),
	    cmocka_unit_test(test_partition),
	    cmocka_unit_test(test_user_events),
	    cmocka_unit_test(test_meta),
	    cmocka_unit_test(test_same_seed_same_run),
	    cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
