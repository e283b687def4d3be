/*
 * What a relay or a member that lies can do to membership: not much; and what restarts do to it.
 */
#include "tests/unit/routerd/swimnet.h"

#include "common/base/err.h"

enum { S = SWIMNET_SECOND };

static void
forge(struct swimnet *net, int to, int from, const struct swim_msg *m)
{
	uint8_t mem[15360];
	struct buf out;

	buf_init_fixed(&out, mem, sizeof(mem));
	assert_int_equal(swim_msg_begin(&out), 0);
	assert_int_equal(swim_msg_put(&out, m), 0);
	swim_feed(net->nodes[to].swim, swimnet_id(from), mem, buf_left(&out), swimnet_mono(net));
	swimnet_step(&net->nodes[to]);
}

static void
start(struct swimnet *net, int count, uint64_t seed)
{
	swimnet_new(net, count, seed, true);
	swimnet_start_all(net);
	swimnet_all_linked(net);
	swimnet_run(net, 5 * S);
}

static uint64_t
incarnation(struct swimnet *net, int at, int about)
{
	struct swim_info info;

	assert_true(swim_get(net->nodes[at].swim, swimnet_id(about), &info));
	return info.incarnation;
}

/* Of a node that has links: a suspicion at most, which it denies. */
static void
test_forged_death(void **state)
{
	static const uint8_t kinds[] = {SWIM_SUSPECT, SWIM_CONFIRM, SWIM_LEAVE};
	struct swimnet net;

	(void)state;
	start(&net, 10, 1);
	for (size_t k = 0; k < COUNT(kinds); k++)
		for (int to = 0; to < 10; to++) {
			struct swim_msg m = {.kind = kinds[k], .node = swimnet_id(2), .from = swimnet_id(9)};

			m.incarnation = incarnation(&net, to, 2) + 100;
			forge(&net, to, to == 8 ? 7 : 8, &m);
			swimnet_run(&net, 2 * S);
			assert_true(swimnet_all_alive(&net));
			assert_true(incarnation(&net, to, 2) > m.incarnation);
		}
	for (int i = 0; i < net.count; i++) {
		assert_int_equal(net.nodes[i].events[SWIM_EVENT_DEAD], 0);
		assert_int_equal(net.nodes[i].events[SWIM_EVENT_LEFT], 0);
	}
	swimnet_free(&net);
}

/* Incarnations that can't be: of a start that is not known, or far ahead. */
static void
test_implausible(void **state)
{
	struct swim_msg m = {.kind = SWIM_ALIVE, .node = swimnet_id(2)};
	struct swimnet net;
	uint64_t known;

	(void)state;
	start(&net, 6, 2);
	known = incarnation(&net, 0, 2);
	m.incarnation = known + SWIM_JUMP_MAX + 1;
	forge(&net, 0, 1, &m);
	m.incarnation = 7ull << 32;
	forge(&net, 0, 1, &m);
	m.kind = SWIM_SUSPECT;
	m.from = swimnet_id(3);
	forge(&net, 0, 1, &m);
	m = (struct swim_msg){.kind = SWIM_META, .node = swimnet_id(2), .version = 9ull << 32};
	forge(&net, 0, 1, &m);
	assert_true(incarnation(&net, 0, 2) == known);
	assert_int_equal(swim_counters(net.nodes[0].swim)->implausible, 4);
	/* And about the node itself. */
	m = (struct swim_msg){.kind = SWIM_CONFIRM, .node = swimnet_id(0), .from = swimnet_id(3)};
	known = incarnation(&net, 0, 0);
	m.incarnation = known + SWIM_JUMP_MAX + 1;
	forge(&net, 0, 1, &m);
	m.incarnation = 7ull << 32;
	forge(&net, 0, 1, &m);
	assert_true(incarnation(&net, 0, 0) == known);
	assert_int_equal(swim_counters(net.nodes[0].swim)->refutations, 0);
	swimnet_free(&net);
}

/* Strangers are not heard, no statement makes a member, and nobody is probed for the asking. */
static void
test_strangers(void **state)
{
	struct swim_msg m = {.kind = SWIM_JOIN, .node = 77, .incarnation = 1ull << 32};
	struct swim_summary sum;
	struct swimnet net;
	uint64_t before;

	(void)state;
	start(&net, 4, 3);
	forge(&net, 0, 1, &m);
	forge(&net, 0, 76, &m);
	swim_show(net.nodes[0].swim, &sum);
	assert_int_equal(sum.members, 4);
	assert_int_equal(swim_counters(net.nodes[0].swim)->payloads_strange, 1);
	before = swim_counters(net.nodes[0].swim)->probes_for_others;
	m = (struct swim_msg){.kind = SWIM_PING_REQ, .seq = 1, .node = 77};
	forge(&net, 0, 1, &m);
	assert_true(swim_counters(net.nodes[0].swim)->probes_for_others == before);
	/* Whoever sends a digest without being asked gets nothing for it. */
	before = swim_counters(net.nodes[0].swim)->payloads_sent;
	m = (struct swim_msg){.kind = SWIM_DIGEST, .first = 0, .last = UINT64_MAX};
	forge(&net, 0, 1, &m);
	assert_true(swim_counters(net.nodes[0].swim)->payloads_sent == before);
	assert_int_equal(swim_counters(net.nodes[0].swim)->syncs_limited, 1);
	swimnet_free(&net);
}

/* User events of a time that can't be. */
static void
test_event_times(void **state)
{
	struct swim_msg m = {.kind = SWIM_USER_EVENT, .node = swimnet_id(1), .name = "e"};
	struct swim_summary sum;
	struct swimnet net;

	(void)state;
	start(&net, 3, 4);
	m.ltime = 1000;
	forge(&net, 0, 1, &m);
	forge(&net, 0, 1, &m);
	assert_int_equal(net.nodes[0].users, 1);
	m.ltime = 1000 + SWIM_CLOCK_JUMP_MAX + 1;
	forge(&net, 0, 1, &m);
	m.ltime = UINT64_MAX;
	forge(&net, 0, 1, &m);
	m.ltime = 1000 - SWIM_EVENT_WINDOW;
	forge(&net, 0, 1, &m);
	m.ltime = 0;
	forge(&net, 0, 1, &m);
	assert_int_equal(net.nodes[0].users, 1);
	assert_int_equal(swim_counters(net.nodes[0].swim)->events_dropped, 4);
	swim_show(net.nodes[0].swim, &sum);
	assert_int_equal(sum.clock, 1000);
	for (m.id = 1; m.id < 20; m.id++) {
		m.ltime = 1001;
		forge(&net, 0, 1, &m);
	}
	assert_int_equal(net.nodes[0].users, 1 + SWIM_EVENT_SLOT);
	swimnet_free(&net);
}

/* routerd alone restarts: the node's start is the old one, and others know later incarnations. */
static void
test_restart_without_a_new_start(void **state)
{
	struct swim_msg m = {.kind = SWIM_SUSPECT, .node = swimnet_id(2), .from = swimnet_id(3)};
	struct swimnet net;

	(void)state;
	start(&net, 8, 5);
	for (int i = 0; i < 5; i++) {
		m.incarnation = incarnation(&net, 2, 2);
		forge(&net, 0, 1, &m);
		swimnet_run(&net, 2 * S);
	}
	assert_int_equal(incarnation(&net, 0, 2) & 0xffffffff, 5);
	swimnet_stop(&net, 2);
	swimnet_run(&net, S);
	net.nodes[2].start--;
	swimnet_start(&net, 2);
	swimnet_run(&net, 60 * S);
	assert_true(swimnet_all_alive(&net));
	m.incarnation = incarnation(&net, 0, 2);
	forge(&net, 0, 1, &m);
	swimnet_run(&net, 2 * S);
	assert_true(swimnet_all_alive(&net));
	assert_true(incarnation(&net, 0, 2) > m.incarnation);
	swimnet_free(&net);
}

/* What the database lists: the gone are no news, a goodbye is final, a new start or a newer LSA is life. */
static void
test_listings(void **state)
{
	struct swim_listing l = {.node = 50, .start = 3, .seq = 1};
	struct swim_summary sum;
	struct swimnet net;
	struct swim *s;
	struct swim_info info;

	(void)state;
	start(&net, 3, 6);
	s = net.nodes[0].swim;
	assert_int_equal(swim_list(s, &l, swimnet_mono(&net)), 0);
	assert_true(swim_get(s, 50, &info) && info.state == SWIM_STATE_DEAD && info.by_links);
	assert_int_equal(net.nodes[0].events[SWIM_EVENT_DEAD], 0);
	l.linked = true;
	assert_int_equal(swim_list(s, &l, swimnet_mono(&net)), 0);
	assert_true(swim_get(s, 50, &info) && info.state == SWIM_STATE_ALIVE);
	l.left = true;
	assert_int_equal(swim_list(s, &l, swimnet_mono(&net)), 0);
	assert_true(swim_get(s, 50, &info) && info.state == SWIM_STATE_LEFT);
	l = (struct swim_listing){.node = 50, .start = 4, .seq = 1, .linked = true};
	assert_int_equal(swim_list(s, &l, swimnet_mono(&net)), 0);
	assert_true(swim_get(s, 50, &info) && info.state == SWIM_STATE_ALIVE);
	assert_true(info.incarnation == 4ull << 32);
	l.start = 1ull << 32;
	assert_int_equal(swim_list(s, &l, swimnet_mono(&net)), ERR_RANGE);
	swim_forget(s, 50);
	assert_false(swim_get(s, 50, &info));
	swim_show(s, &sum);
	assert_int_equal(sum.members, 3);
	swimnet_free(&net);
}

/* A full table takes nobody in, and says so. */
static void
test_full(void **state)
{
	struct swimnet net;

	(void)state;
	swimnet_new(&net, 4, 7, true);
	net.conf.members_max = 4;
	swimnet_start_all(&net);
	assert_int_equal(swim_member(net.nodes[0].swim, 99, 1, swimnet_mono(&net)), ERR_FULL);
	assert_int_equal(swim_counters(net.nodes[0].swim)->members_refused, 1);
	swimnet_run(&net, 10 * S);
	assert_true(swimnet_all_alive(&net));
	swimnet_free(&net);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_forged_death),
	    cmocka_unit_test(test_implausible),
	    cmocka_unit_test(test_strangers),
	    cmocka_unit_test(test_event_times),
	    cmocka_unit_test(test_restart_without_a_new_start),
	    cmocka_unit_test(test_listings),
	    cmocka_unit_test(test_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
