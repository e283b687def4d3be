/* Networks of routers: convergence, and what they do when things break. */
#include "tests/unit/routerd/forge.h"

#include "common/base/buf.h"
#include "routerd/core/linkstate.h"

static struct net net;

static int
teardown(void **state)
{
	(void)state;
	net_fini(&net);
	return 0;
}

static void
line(int count, uint32_t latency_us)
{
	net_init(&net, count, 1);
	net_line(&net, latency_us);
}

static void
ring(int count, uint32_t latency_us)
{
	net_init(&net, count, 1);
	for (int i = 0; i < count; i++)
		net_connect(&net, i, (i + 1) % count, latency_us);
	net_start_all(&net);
}

static void
test_line_of_three(void **state)
{
	(void)state;
	line(3, 100);
	net_run(&net, NET_SECOND);
	net_check(&net);
	net_check_equal(&net);
	/* A to C goes through B. */
	assert_int_equal(net.nodes[0].fib[2].path.hop_count, 2);
	assert_true(net.nodes[0].fib[2].path.hops[0] == net_id(1));
}

/* What a node says of itself and wishes reaches all others, once for each LSA. */
static void
test_addresses_and_wishes(void **state)
{
	struct address_list list = {0}, got;

	(void)state;
	line(5, 100);
	net_run(&net, NET_SECOND);
	assert_true(address_add(&list, "zero.example:7100"));
	router_addresses(net.nodes[0].router, &list);
	router_wish(net.nodes[0].router, 77);
	net_run(&net, NET_SECOND);
	net_check_equal(&net);
	for (int i = 1; i < 5; i++) {
		lsdb_addresses(lsdb_get(router_lsdb(net.nodes[i].router), net_id(0)), &got);
		assert_int_equal(got.count, 1);
		assert_string_equal(got.text[0], "zero.example:7100");
		assert_int_equal(net.nodes[i].wishes, 1);
		assert_true(net.nodes[i].wish_node == net_id(0) && net.nodes[i].wish_unix_ms == 77);
	}
	assert_int_equal(net.nodes[0].wishes, 0);
	assert_true(router_linked(net.nodes[0].router, net_id(1)));
	assert_false(router_linked(net.nodes[0].router, net_id(2)));
}

static void
test_line_converges_quickly(void **state)
{
	(void)state;
	line(3, 100);
	net_run(&net, 60 * 1000);
	net_check(&net);
}

/* A relay that says goodbye is routed around, though its links are up; who hangs behind it alone is cut off.
 */
static void
test_leave(void **state)
{
	(void)state;
	line(3, 100);
	net_run(&net, 60 * 1000);
	net_check(&net);
	router_leave(net.nodes[1].router);
	net_run(&net, NET_SECOND);
	for (int i = 0; i < 3; i += 2) {
		struct lsdb_entry *e = lsdb_get(router_lsdb(net.nodes[i].router), net_id(1));

		assert_int_equal(e->state, NODE_STATE_LEFT);
		assert_int_equal(e->lsa->flags & LSA_FLAG_LEFT, LSA_FLAG_LEFT);
		assert_null(fib_get(router_fib(net.nodes[i].router), net_id(1)));
		assert_null(fib_get(router_fib(net.nodes[i].router), net_id(2 - i)));
	}
}

static void
test_lone_node(void **state)
{
	(void)state;
	net_init(&net, 1, 1);
	net_start_all(&net);
	net_run(&net, NET_SECOND);
	assert_int_equal(net.nodes[0].fib_whole, 1);
	assert_int_equal(net.nodes[0].states[0], NODE_STATE_ALIVE);
	assert_int_equal(router_lsdb(net.nodes[0].router)->count, 1);
}

static void
test_longest_line(void **state)
{
	(void)state;
	line(18, 100);
	net_run(&net, 3 * NET_SECOND);
	net_check(&net);
	assert_int_equal(net.nodes[0].fib[17].path.hop_count, 17);
}

static void
test_beyond_the_longest_path(void **state)
{
	(void)state;
	line(19, 100);
	net_run(&net, 3 * NET_SECOND);
	assert_true(net.nodes[0].fib[17].set);
	assert_false(net.nodes[0].fib[18].set);
	assert_int_equal(net.nodes[0].states[18], NODE_STATE_UNREACHABLE);
}

static void
test_ring_reroutes(void **state)
{
	(void)state;
	ring(6, 1000);
	net_run(&net, NET_SECOND);
	net_check(&net);
	assert_int_equal(net.nodes[0].fib[1].path.hop_count, 1);
	net_cut(&net, 0, 1);
	/* The nodes at the cut know at once; the rest after a few hops and the delay. */
	net_run(&net, 20 * 1000);
	assert_int_equal(net.nodes[0].fib[1].path.hop_count, 5);
	net_run(&net, 60 * 1000);
	net_check(&net);
	net_connect(&net, 0, 1, 1000);
	net_run(&net, 200 * 1000);
	net_check(&net);
	net_check_equal(&net);
	assert_int_equal(net.nodes[0].fib[1].path.hop_count, 1);
}

static void
test_cheaper_detour(void **state)
{
	(void)state;
	net_init(&net, 3, 1);
	net_connect(&net, 0, 1, 1000);
	net_connect(&net, 1, 2, 1000);
	net_connect(&net, 0, 2, 50000);
	net_start_all(&net);
	net_run(&net, NET_SECOND);
	net_check(&net);
	assert_int_equal(net.nodes[0].fib[2].path.hop_count, 2);
}

static void
test_partition_and_heal(void **state)
{
	(void)state;
	line(6, 500);
	net_run(&net, NET_SECOND);
	net_cut(&net, 2, 3);
	net_run(&net, NET_SECOND);
	net_check(&net);
	assert_int_equal(net.nodes[0].states[5], NODE_STATE_UNREACHABLE);
	/* Much changes on both sides meanwhile. */
	net_connect(&net, 0, 2, 100);
	net_connect(&net, 3, 5, 100);
	net_cut(&net, 4, 5);
	net_run(&net, 10 * NET_SECOND);
	net_check(&net);
	net_connect(&net, 1, 4, 700);
	net_run(&net, NET_SECOND);
	net_check(&net);
	net_check_equal(&net);
	assert_int_equal(net.nodes[0].states[5], NODE_STATE_ALIVE);
}

static void
test_quiet_network_stays_quiet(void **state)
{
	unsigned frames;

	(void)state;
	ring(8, 1000);
	net_run(&net, 5 * NET_SECOND);
	net_check(&net);
	frames = net.frames;
	net_run(&net, 600 * (int64_t)NET_SECOND);
	net_check(&net);
	net_check_equal(&net);
	/* 8 nodes x ~11 refreshes x 8 links x 2 frames, and comparisons: well below 4 a second. */
	assert_true(net.frames - frames < 2400);
	assert_int_equal(net.events[ROUTER_NODE_DOWN], 0);
	assert_int_equal(net.events[ROUTER_LINK_DOWN], 0);
	assert_int_equal(net.events[ROUTER_PATH_CHANGED], 0);
}

static void
test_routerd_restarts_with_nothing(void **state)
{
	unsigned whole;

	(void)state;
	line(4, 500);
	net_run(&net, 100 * (int64_t)NET_SECOND);
	net_check(&net);
	whole = net.nodes[1].fib_whole;
	net_kill(&net, 1);
	net_run(&net, 2 * NET_SECOND);
	/* transportd goes on by its FIB, and the others see no difference. */
	assert_true(net.nodes[1].fib[3].set);
	assert_true(net.nodes[0].fib[3].set);
	net_start(&net, 1);
	net_run(&net, 50 * 1000);
	assert_int_equal(net.nodes[1].fib_whole, whole + 1);
	net_check(&net);
	net_run(&net, NET_SECOND);
	net_check(&net);
	net_check_equal(&net);
	assert_int_equal(net.events[ROUTER_NODE_DOWN], 0);
}

/* Nobody hears of a link that is gone only because routerd asks its neighbours one after the other, or
 * because it knows who it is before it knows its links. */
static void
test_restart_takes_no_link_down(void **state)
{
	(void)state;
	net_init(&net, 5, 1);
	for (int i = 1; i < 5; i++)
		net_connect(&net, 0, i, 100 + (uint32_t)i * 20000);
	net_start_all(&net);
	net_run(&net, 10 * NET_SECOND);
	net_check(&net);
	net_kill(&net, 0);
	net_run(&net, NET_SECOND);
	net.nodes[0].router = router_new(&net.conf, &net_ops, &net.nodes[0], 1);
	net_signer_up(&net, 0);
	net_run(&net, 300 * 1000);
	net_transport_up(&net, 0);
	net_run(&net, 2 * NET_SECOND);
	net_check(&net);
	net_check_equal(&net);
	assert_int_equal(net.events[ROUTER_LINK_DOWN], 0);
	assert_int_equal(net.events[ROUTER_NODE_DOWN], 0);
}

static void
test_links_before_identity(void **state)
{
	(void)state;
	line(3, 500);
	net_run(&net, 10 * NET_SECOND);
	net_kill(&net, 1);
	net.nodes[1].router = router_new(&net.conf, &net_ops, &net.nodes[1], 1);
	net_transport_up(&net, 1);
	net_run(&net, 5 * NET_SECOND);
	/* Nothing was said in nobody's name, and then it goes without waiting. */
	net_signer_up(&net, 1);
	net_run(&net, 20 * 1000);
	net_check(&net);
	net_run(&net, NET_SECOND);
	net_check_equal(&net);
	assert_int_equal(net.events[ROUTER_LINK_DOWN], 0);
}

static void
test_restart_with_a_lower_incarnation(void **state)
{
	(void)state;
	line(3, 500);
	for (int i = 0; i < 5; i++) {
		net_signer_down(&net, 0);
		net_signer_up(&net, 0);
		net_run(&net, NET_SECOND);
	}
	net_check(&net);
	net_kill(&net, 0);
	net.nodes[0].incarnation = 0; /* the database was lost */
	net_start(&net, 0);
	net_run(&net, NET_SECOND);
	net_check(&net);
	net_check_equal(&net);
	assert_true(net.events[ROUTER_REISSUED] >= 1);
}

static void
test_whole_fib_waits_for_neighbours(void **state)
{
	(void)state;
	line(3, 500);
	net_run(&net, NET_SECOND);
	net_kill(&net, 0);
	net_kill(&net, 1); /* nobody to ask */
	net_start(&net, 0);
	net_run(&net, NET_SECOND);
	assert_true(net.nodes[0].fib[2].set); /* what transportd had */
	net_start(&net, 1);
	net_run(&net, NET_SECOND);
	net_check(&net);
}

static void
test_transport_restart_gets_the_whole_fib(void **state)
{
	(void)state;
	line(3, 500);
	net_run(&net, NET_SECOND);
	for (int peer = 0; peer < 3; peer += 2) {
		net_link(&net, 1, peer)->up = false;
		net_tell_down(&net, peer, 1);
	}
	net.nodes[1].transport = false;
	memset(net.nodes[1].fib, 0, sizeof(net.nodes[1].fib));
	router_transport_down(net.nodes[1].router, net_mono(&net));
	net_run(&net, NET_SECOND);
	net_transport_up(&net, 1);
	net_connect(&net, 0, 1, 500);
	net_connect(&net, 1, 2, 500);
	net_run(&net, NET_SECOND);
	net_check(&net);
	net_check_equal(&net);
}

static void
test_consensusd_away(void **state)
{
	(void)state;
	ring(4, 500);
	net_run(&net, NET_SECOND);
	net_signer_down(&net, 0);
	net_cut(&net, 0, 1);
	net_run(&net, NET_SECOND);
	/* Node 1 has said so, and node 0 knows for itself. */
	net_check(&net);
	net_connect(&net, 0, 1, 500);
	net_run(&net, NET_SECOND);
	net_signer_up(&net, 0);
	net_run(&net, NET_SECOND);
	net_check(&net);
	net_check_equal(&net);
}

static void
test_signer_refuses_and_recovers(void **state)
{
	(void)state;
	net_init(&net, 2, 1);
	net_connect(&net, 0, 1, 100);
	net.nodes[0].refuse = true;
	net_start_all(&net);
	net_run(&net, 3 * NET_SECOND);
	assert_false(net.nodes[1].fib[0].set);
	net.nodes[0].refuse = false;
	net_run(&net, 2 * NET_SECOND);
	net_check(&net);
	assert_true(router_counters(net.nodes[0].router)->signatures_refused >= 2);
}

static void
test_silent_loss_then_link_down(void **state)
{
	(void)state;
	ring(5, 1000);
	net_run(&net, NET_SECOND);
	net_link(&net, 0, 1)->silent = true;
	net_cut(&net, 2, 3); /* while frames to and from 0 and 1 vanish */
	net_run(&net, 3 * NET_SECOND);
	net_link(&net, 0, 1)->silent = false;
	net_run(&net, 10 * NET_SECOND);
	net_check(&net);
	net_check_equal(&net);
}

static void
test_loss_duplicates_and_reordering(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 10; seed++) {
		net_init(&net, 10, seed);
		net.loss_percent = 20;
		net.duplicate_percent = 20;
		net.jitter_us = 50 * 1000;
		for (int i = 0; i < 10; i++)
			net_connect(&net, i, (i + 1) % 10, 1000 + (uint32_t)rng_below(&net.rng, 20000));
		net_connect(&net, 0, 5, 3000);
		net_start_all(&net);
		net_run(&net, 60 * (int64_t)NET_SECOND);
		net_cut(&net, 3, 4);
		net_run(&net, 60 * (int64_t)NET_SECOND);
		net_check(&net);
		net.loss_percent = 0;
		net_run(&net, 40 * (int64_t)NET_SECOND);
		net_check_equal(&net);
		if (seed != 10)
			net_fini(&net);
	}
}

/* --- attacks --- */

static void
test_forged_lsa_changes_nothing(void **state)
{
	uint8_t lsa[LSA_MAX_BYTES];
	unsigned verified;
	size_t len;

	(void)state;
	line(3, 500);
	net_run(&net, NET_SECOND);
	len = forge_lsa(lsa, 2, 1000, 1, 0, false);
	forge_send(&net, 0, 1, 0, lsa, len);
	net_run(&net, NET_SECOND);
	net_check(&net);
	assert_int_equal(router_counters(net.nodes[0].router)->lsa_forged, 1);
	/* After a few the neighbour is not listened to, so that it can't burn time on signatures. */
	for (int i = 0; i < 100; i++)
		forge_send(&net, 0, 1, 0, lsa, len);
	verified = net.verified;
	forge_send(&net, 0, 1, 0, lsa, len);
	assert_int_equal(net.verified, verified);
	assert_int_equal(router_counters(net.nodes[0].router)->lsa_forged, FORGED_MAX);
	/* Later it is again. */
	net_run(&net, 130 * (int64_t)NET_SECOND);
	net_check(&net);
	net_check_equal(&net);
}

static void
test_key_of_another_node(void **state)
{
	uint8_t lsa[LSA_MAX_BYTES];
	size_t len;

	(void)state;
	line(3, 500);
	net_run(&net, NET_SECOND);
	len = forge_lsa(lsa, 2, 1000, 1, 0, true);
	be_store64(lsa + 9, net_id(1)); /* the public key */
	net_sign(net_id(2), lsa, len - LSA_SIG_BYTES, lsa + len - LSA_SIG_BYTES);
	forge_send(&net, 0, 1, 0, lsa, len);
	assert_int_equal(router_counters(net.nodes[0].router)->lsa_forged, 1);
}

static void
test_stale_lsa_is_answered_with_the_newer(void **state)
{
	uint8_t lsa[LSA_MAX_BYTES];
	unsigned frames;
	size_t len;

	(void)state;
	line(3, 500);
	net_run(&net, NET_SECOND);
	len = forge_lsa(lsa, 2, 0, 1, -1, true);
	frames = net.frames;
	forge_send(&net, 0, 1, 0, lsa, len);
	net_run(&net, 100 * 1000);
	assert_true(net.frames > frames);
	assert_int_equal(router_counters(net.nodes[0].router)->lsa_stale, 1);
	net_check(&net);
	net_check_equal(&net);
}

/* Somebody replays what we said in a life that our database forgot. */
static void
test_own_newer_lsa_is_topped(void **state)
{
	uint8_t lsa[LSA_MAX_BYTES];
	size_t len;

	(void)state;
	line(3, 500);
	net_run(&net, NET_SECOND);
	len = forge_lsa(lsa, 0, 77, 5, -1, true);
	forge_send(&net, 1, 2, 0, lsa, len);
	net_run(&net, NET_SECOND);
	net_check(&net);
	net_check_equal(&net);
	assert_true(lsdb_get(router_lsdb(net.nodes[2].router), net_id(0))->lsa->id.incarnation == 77);
	assert_true(lsdb_get(router_lsdb(net.nodes[2].router), net_id(0))->lsa->id.seq > 5);
	/* The last seq there is: the incarnation goes up. */
	len = forge_lsa(lsa, 0, 80, UINT64_MAX, -1, true);
	forge_send(&net, 1, 2, 0, lsa, len);
	net_run(&net, NET_SECOND);
	net_check(&net);
	assert_true(lsdb_get(router_lsdb(net.nodes[2].router), net_id(0))->lsa->id.incarnation == 81);
}

static void
test_one_way_claim_makes_no_link(void **state)
{
	uint8_t lsa[LSA_MAX_BYTES];
	size_t len;

	(void)state;
	net_init(&net, 4, 1);
	net_connect(&net, 0, 1, 500);
	net_connect(&net, 1, 2, 500);
	for (int i = 0; i < 3; i++)
		net_start(&net, i);
	net_run(&net, NET_SECOND);
	/* A node that nobody lists says it is beside 2. */
	len = forge_lsa(lsa, 3, 1, 1, 2, true);
	forge_send(&net, 0, 1, 0, lsa, len);
	net_run(&net, NET_SECOND);
	assert_false(net.nodes[0].fib[3].set);
	assert_int_equal(net.nodes[0].states[3], NODE_STATE_UNREACHABLE);
	net_check(&net);
}

static void
test_origin_that_sends_too_many(void **state)
{
	uint8_t lsa[LSA_MAX_BYTES];
	size_t len;

	(void)state;
	net_init(&net, 4, 1);
	net_connect(&net, 0, 1, 500);
	for (int i = 0; i < 2; i++)
		net_start(&net, i);
	net_run(&net, NET_SECOND);
	for (uint64_t seq = 1; seq <= 50; seq++) {
		len = forge_lsa(lsa, 3, 1, seq, -1, true);
		forge_send(&net, 0, 1, 0, lsa, len);
	}
	assert_int_equal(router_counters(net.nodes[0].router)->lsa_limited, 50 - ORIGIN_BURST);
	assert_true(lsdb_get(router_lsdb(net.nodes[0].router), net_id(3))->lsa->id.seq == ORIGIN_BURST);
}

static void
test_node_says_goodbye(void **state)
{
	static struct lsa l;
	uint8_t raw[LSA_MAX_BYTES];
	struct buf b;

	(void)state;
	line(3, 500);
	net_run(&net, NET_SECOND);
	l.id = (struct lsa_id){net_id(2), 1, 1000};
	be_store64(l.pubkey, l.id.node);
	l.flags = LSA_FLAG_LEFT;
	snprintf(l.name, sizeof(l.name), "node-2");
	net_kill(&net, 2);
	buf_init_fixed(&b, raw, sizeof(raw));
	assert_int_equal(lsa_encode_unsigned(&l, &b), 0);
	net_sign(l.id.node, raw, buf_left(&b), raw + buf_left(&b));
	forge_send(&net, 1, 2, 0, raw, buf_left(&b) + LSA_SIG_BYTES);
	net_run(&net, NET_SECOND);
	assert_int_equal(net.nodes[0].states[2], NODE_STATE_LEFT);
	assert_false(net.nodes[0].fib[2].set);
}

static void
test_full_database_refuses_new_nodes(void **state)
{
	uint8_t lsa[LSA_MAX_BYTES];
	size_t len;

	(void)state;
	net_init(&net, 8, 1);
	net.conf.nodes_max = 3;
	net_connect(&net, 0, 1, 500);
	for (int i = 0; i < 2; i++)
		net_start(&net, i);
	net_run(&net, NET_SECOND);
	for (int i = 3; i < 8; i++) {
		len = forge_lsa(lsa, i, 1, 1, -1, true);
		forge_send(&net, 0, 1, 0, lsa, len);
	}
	net_run(&net, 40 * (int64_t)NET_SECOND);
	assert_int_equal(router_lsdb(net.nodes[0].router)->count, 3);
	assert_int_equal(router_counters(net.nodes[0].router)->lsa_refused, 4);
	net_check(&net);
}

static int
tell_evicted(int at, int node)
{
	uint8_t body[8];

	be_store64(body, net_id(node));
	return router_evicted(net.nodes[at].router, body, node >= 0 ? sizeof(body) : 0, net_mono(&net));
}

/* Not all hear of it at once: those that have dropped the node don't get it back from those that have not. */
static void
test_evicted(void **state)
{
	uint8_t lsa[LSA_MAX_BYTES];
	size_t len;

	(void)state;
	ring(5, 500);
	net_run(&net, NET_SECOND);
	for (int i = 0; i < 5; i++) {
		if (i == 2)
			continue;
		mem_fail_at(1);
		assert_int_equal(tell_evicted(i, 2), ERR_NOMEM);
		mem_fail_at(0);
		assert_non_null(lsdb_get(router_lsdb(net.nodes[i].router), net_id(2)));
		assert_int_equal(tell_evicted(i, 2), 0);
		assert_null(lsdb_get(router_lsdb(net.nodes[i].router), net_id(2)));
		net_run(&net, 70 * (int64_t)NET_SECOND);
		assert_null(lsdb_get(router_lsdb(net.nodes[i].router), net_id(2)));
	}
	net_cut(&net, 1, 2);
	net_cut(&net, 2, 3);
	net_run(&net, NET_SECOND);
	/* Nor from anybody who still has an LSA of it, however new. */
	len = forge_lsa(lsa, 2, 9, 9, 1, true);
	forge_send(&net, 0, 1, 0, lsa, len);
	for (int i = 0; i < 5; i++)
		if (i != 2)
			assert_int_equal(router_lsdb(net.nodes[i].router)->count, 4);
	assert_true(router_counters(net.nodes[0].router)->lsa_evicted > 0);
	assert_false(net.nodes[0].fib[2].path.hop_count != 0);
	/* A node takes its own eviction from others. */
	assert_int_equal(tell_evicted(0, 0), 0);
	assert_non_null(lsdb_get(router_lsdb(net.nodes[0].router), net_id(0)));
	/* Let in again. */
	for (int i = 0; i < 5; i++)
		assert_int_equal(tell_evicted(i, -1), 0);
	net_connect(&net, 1, 2, 500);
	net_connect(&net, 2, 3, 500);
	net_run(&net, 30 * (int64_t)NET_SECOND);
	net_check(&net);
	net_check_equal(&net);
}

static void
test_garbage_payloads(void **state)
{
	uint8_t junk[2000];

	(void)state;
	line(3, 500);
	net_run(&net, NET_SECOND);
	for (int i = 0; i < 5000; i++) {
		size_t len = rng_below(&net.rng, sizeof(junk));

		for (size_t k = 0; k < len; k++)
			junk[k] = (uint8_t)rng_u64(&net.rng);
		if (i % 2 == 0 && len > 4) {
			junk[0] = LINKSTATE_VERSION;
			junk[1] = (uint8_t)(1 + rng_below(&net.rng, 6));
			be_store16(junk + 2, (uint16_t)(len - 4));
		}
		router_feed(net.nodes[0].router, net_id(1), junk, len, net_mono(&net));
	}
	net_run(&net, 100 * (int64_t)NET_SECOND);
	net_check(&net);
	net_check_equal(&net);
	assert_true(router_counters(net.nodes[0].router)->payloads_malformed > 1000);
	/* From a node that is no neighbour. */
	router_feed(net.nodes[0].router, net_id(2), junk, 10, net_mono(&net));
	assert_int_equal(router_counters(net.nodes[0].router)->payloads_unexpected, 1);
}

static void
test_metrics_are_damped(void **state)
{
	uint64_t made;

	(void)state;
	line(3, 10000);
	net_run(&net, 10 * NET_SECOND);
	made = router_counters(net.nodes[0].router)->lsa_originated;
	/* A little more: nothing. */
	net_link(&net, 0, 1)->latency_us = 11000;
	net_tell_link(&net, 0, 1);
	net_run(&net, 20 * NET_SECOND);
	assert_int_equal(router_counters(net.nodes[0].router)->lsa_originated, made);
	/* Much more, many times: one now, one after the interval. */
	for (int i = 0; i < 20; i++) {
		net_link(&net, 0, 1)->latency_us = 20000 + (uint32_t)i * 10000;
		net_tell_link(&net, 0, 1);
		net_run(&net, 100 * 1000);
	}
	net_tell_link(&net, 1, 0);
	assert_int_equal(router_counters(net.nodes[0].router)->lsa_originated, made + 1);
	net_run(&net, 10 * NET_SECOND);
	assert_int_equal(router_counters(net.nodes[0].router)->lsa_originated, made + 2);
	net_check(&net);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_teardown(test_line_of_three, teardown),
	    cmocka_unit_test_teardown(test_addresses_and_wishes, teardown),
	    cmocka_unit_test_teardown(test_line_converges_quickly, teardown),
	    cmocka_unit_test_teardown(test_leave, teardown),
	    cmocka_unit_test_teardown(test_leave, teardown),
	    cmocka_unit_test_teardown(test_lone_node, teardown),
	    cmocka_unit_test_teardown(test_longest_line, teardown),
	    cmocka_unit_test_teardown(test_beyond_the_longest_path, teardown),
	    cmocka_unit_test_teardown(test_ring_reroutes, teardown),
	    cmocka_unit_test_teardown(test_cheaper_detour, teardown),
	    cmocka_unit_test_teardown(test_partition_and_heal, teardown),
	    cmocka_unit_test_teardown(test_quiet_network_stays_quiet, teardown),
	    cmocka_unit_test_teardown(test_routerd_restarts_with_nothing, teardown),
	    cmocka_unit_test_teardown(test_restart_takes_no_link_down, teardown),
	    cmocka_unit_test_teardown(test_links_before_identity, teardown),
	    cmocka_unit_test_teardown(test_restart_with_a_lower_incarnation, teardown),
	    cmocka_unit_test_teardown(test_whole_fib_waits_for_neighbours, teardown),
	    cmocka_unit_test_teardown(test_transport_restart_gets_the_whole_fib, teardown),
	    cmocka_unit_test_teardown(test_consensusd_away, teardown),
	    cmocka_unit_test_teardown(test_signer_refuses_and_recovers, teardown),
	    cmocka_unit_test_teardown(test_silent_loss_then_link_down, teardown),
	    cmocka_unit_test_teardown(test_loss_duplicates_and_reordering, teardown),
	    cmocka_unit_test_teardown(test_forged_lsa_changes_nothing, teardown),
	    cmocka_unit_test_teardown(test_key_of_another_node, teardown),
	    cmocka_unit_test_teardown(test_stale_lsa_is_answered_with_the_newer, teardown),
	    cmocka_unit_test_teardown(test_own_newer_lsa_is_topped, teardown),
	    cmocka_unit_test_teardown(test_one_way_claim_makes_no_link, teardown),
	    cmocka_unit_test_teardown(test_origin_that_sends_too_many, teardown),
	    cmocka_unit_test_teardown(test_node_says_goodbye, teardown),
	    cmocka_unit_test_teardown(test_full_database_refuses_new_nodes, teardown),
	    cmocka_unit_test_teardown(test_evicted, teardown),
	    cmocka_unit_test_teardown(test_garbage_payloads, teardown),
	    cmocka_unit_test_teardown(test_metrics_are_damped, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
