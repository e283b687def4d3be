/* Groups: messages that are not what they should be, snapshots on their way, and memory that is short. */
#include "tests/unit/consensusd/virtual.h"

#include "consensusd/core/raft_msg.h"
#include "tests/unit/consensusd/group_user.h"

/* --- messages of others --- */

static struct {
	unsigned count;
	uint8_t id[STORE_GROUP_BYTES];
	uint64_t node;
} unknown;

static void
on_unknown(void *ctx, const uint8_t id[STORE_GROUP_BYTES], uint64_t node)
{
	(void)ctx;
	unknown.count++;
	memcpy(unknown.id, id, STORE_GROUP_BYTES);
	unknown.node = node;
	env_touch(&env);
}

static bool
unknown_heard(struct env *e)
{
	(void)e;
	return unknown.count > 0;
}

static void
test_unknown_group(void **state)
{
	uint8_t id[STORE_GROUP_BYTES];
	int64_t before = value(&stats.raft_unknown);

	(void)state;
	memset(&unknown, 0, sizeof(unknown));
	groups_on_unknown(c->engine.groups, on_unknown, NULL);
	begin(a, 0, true);
	begin(b, 0, false);
	await_leader(0);
	change_members(a, 0, "ab", "c");
	env_run(&env, unknown_heard);
	id_of(0, id);
	assert_memory_equal(unknown.id, id, sizeof(id));
	assert_true(unknown.node == a->engine.self);
	assert_true(value(&stats.raft_unknown) > before);
	assert_int_equal(groups_count(c->engine.groups), 0);
}

/* A message of kind PEERS_RAFT from one node to another. */
static void
send_raft(struct env_node *from, struct env_node *to, size_t number, const struct raft_msg *m)
{
	uint8_t id[STORE_GROUP_BYTES];
	struct iovec parts[2] = {{id, sizeof(id)}};
	struct buf out;

	id_of(number, id);
	buf_init(&out, 1 << 20);
	assert_int_equal(raft_msg_encode(m, &out), 0);
	parts[1] = (struct iovec){(void *)(uintptr_t)buf_head(&out), buf_left(&out)};
	assert_int_equal(
	    peers_send(from->engine.peers, to->engine.self, PEERS_RAFT, PEERS_URGENT, parts, 2), 0);
	buf_fini(&out);
}

static int64_t bad_before;

static bool
one_more_bad(struct env *e)
{
	(void)e;
	return value(&stats.raft_bad) > bad_before;
}

/* c speaks for b's replica: nobody believes it. */
static void
test_in_anothers_name(void **state)
{
	struct raft_msg m = {.kind = RAFT_HEARTBEAT, .term = 1000};
	struct raft_status before;

	(void)state;
	begin_group(0);
	before = status_of(a, 0);
	bad_before = value(&stats.raft_bad);
	m.from = group_of(b, 0)->replica;
	m.to = group_of(a, 0)->replica;
	send_raft(c, a, 0, &m);
	env_run(&env, one_more_bad);
	assert_true(status_of(a, 0).term == before.term && leader_of(0) == a);
	/* Nor does it change where b is thought to be. */
	assert_int_equal(propose(a, 0, 1), 0);
	await_agreement(0);
}

/* Whoever is in no configuration may speak, but is not believed a term or a leader. */
static void
test_stranger(void **state)
{
	static const uint8_t kinds[] = {RAFT_PREVOTE, RAFT_VOTE, RAFT_APPEND, RAFT_HEARTBEAT, RAFT_GONE,
	    RAFT_TIMEOUT_NOW, RAFT_APPEND_ANSWER, RAFT_VOTE_ANSWER, RAFT_READ, RAFT_READ_ANSWER,
	    RAFT_HEARTBEAT_ANSWER, RAFT_SNAPSHOT_ANSWER, RAFT_PREVOTE_ANSWER};

	(void)state;
	begin(a, 0, true);
	begin(b, 0, false);
	await_leader(0);
	change_members(a, 0, "ab", "");
	net_pass(2000);
	for (size_t i = 0; i < COUNT(kinds); i++) {
		struct raft_msg m = {.kind = kinds[i], .from = 99, .to = group_of(b, 0)->replica, .term = 2};

		send_raft(c, b, 0, &m);
		m.to = group_of(a, 0)->replica;
		send_raft(c, a, 0, &m);
		net_pass(50);
	}
	await_leader(0);
	assert_int_equal(propose(leader_of(0), 0, 1), 0);
	await_agreement(0);
	assert_true(group_of(a, 0) != NULL && group_of(b, 0) != NULL);
}

/* Bytes that are no message, and messages with wrong bytes, from a member. */
static void
test_hostile_bytes(void **state)
{
	struct raft_msg m = {.kind = RAFT_APPEND_ANSWER, .term = 1, .index = 3};
	uint8_t body[512];
	struct buf out;
	size_t len;

	(void)state;
	begin_group(0);
	m.from = group_of(c, 0)->replica;
	m.to = group_of(a, 0)->replica;
	id_of(0, body);
	buf_init_fixed(&out, body + STORE_GROUP_BYTES, sizeof(body) - STORE_GROUP_BYTES);
	assert_int_equal(raft_msg_encode(&m, &out), 0);
	len = STORE_GROUP_BYTES + buf_left(&out);
	for (size_t n = 0; n < len; n++)
		groups_on_message(a->engine.groups, c->engine.self, body, n);
	for (int i = 0; i < 5000; i++) {
		uint8_t spoilt[sizeof(body)];

		memcpy(spoilt, body, len);
		/* Not its term: a member may say any. */
		for (uint64_t k = 0; k <= rng_below(&env.rng, 3); k++) {
			size_t at = STORE_GROUP_BYTES + rng_below(&env.rng, len - STORE_GROUP_BYTES);

			if (at < STORE_GROUP_BYTES + 19 || at >= STORE_GROUP_BYTES + 27)
				spoilt[at] = (uint8_t)rng_u64(&env.rng);
		}
		groups_on_message(a->engine.groups, c->engine.self, spoilt, len);
		if (i % 100 == 0)
			net_pass(10);
	}
	assert_true(value(&stats.raft_bad) > 0);
	await_agreement(0);
	assert_int_equal(propose(await_leader(0), 0, 1), 0);
	await_agreement(0);
}

/* --- snapshots --- */

static void
fill(struct env_node *n, size_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		assert_int_equal(propose(n, 0, i), 0);
		if (i % 8 == 7)
			net_pass(20);
	}
	await_agreement(0);
}

static void
test_compaction(void **state)
{
	int64_t made = value(&stats.raft_snapshots);

	(void)state;
	begin_group(0);
	fill(a, 200);
	net_pass(1000);
	assert_true(value(&stats.raft_snapshots) - made >= 3);
	for (size_t i = 0; i < ENV_NODES; i++) {
		const struct fake_group *g = fake_dbs[i].groups[0];

		assert_true(g->snap_index > 100 && g->entry_count <= 64);
		assert_true(status_of(&env.nodes[i], 0).first > 100);
	}
	/* What is loaded again is the same. */
	crash(a);
	crash(b);
	crash(c);
	start(a);
	start(b);
	start(c);
	await_agreement(0);
	assert_int_equal(machines[0][0].count, 200);
	assert_true(machines[0][0].restored > 0);
}

/* Members whose logs grow alike make their snapshots one after the other. */
static void
test_not_at_once(void **state)
{
	uint64_t before[ENV_NODES];
	unsigned made[ENV_NODES] = {0}; /* after so many entries */

	(void)state;
	begin_group(0);
	for (size_t i = 0; i < ENV_NODES; i++)
		before[i] = group_of(&env.nodes[i], 0)->snapshot.index;
	for (unsigned count = 1; count <= 60; count++) {
		fill(a, 1);
		net_pass(20);
		for (size_t i = 0; i < ENV_NODES; i++)
			if (made[i] == 0 && group_of(&env.nodes[i], 0)->snapshot.index != before[i])
				made[i] = count;
	}
	assert_true(made[0] != 0 && made[0] < made[1] && made[1] < made[2]);
}

/* The one that was away gets a snapshot: the log does not go back so far. */
static void
test_lagging(void **state)
{
	int64_t restored;

	(void)state;
	begin_group(0);
	crash(c);
	net_say(a, c, mesh_ipc_NodeStatusCode_NODE_UNREACHABLE);
	net_say(b, c, mesh_ipc_NodeStatusCode_NODE_UNREACHABLE);
	snapshot_extra_bytes = 1000000;
	net_pass(100);
	fill(a, 200);
	restored = value(&stats.raft_restored);
	start(c);
	await_agreement(0);
	assert_int_equal(value(&stats.raft_restored) - restored, 1);
	assert_int_equal(machines[2][0].restored, 1);
	assert_int_equal(machines[2][0].count, 200);
	/* And keeps it. */
	assert_true(fake_dbs[2].groups[0]->data_len >= snapshot_extra_bytes);
}

/* Cut off, crashed or without memory in the middle of it, at other places each time. */
static void
test_interrupted(void **state)
{
	(void)state;
	begin_group(0);
	snapshot_extra_bytes = 2000000;
	for (unsigned i = 0; i < 9; i++) {
		struct env_node *leader;

		crash(c);
		net_pass(100);
		leader = await_leader(0);
		net_say(leader, c, mesh_ipc_NodeStatusCode_NODE_UNREACHABLE);
		net_pass(100);
		fill(leader, 80);
		start(c);
		net_pass(300 + 2 * i);
		if (i % 3 == 0) {
			crash(c);
			net_pass(1000);
			start(c);
		} else if (i % 3 == 1) {
			net_isolate(c, true);
			net_pass(3000);
			net_heal();
		} else {
			machines[2][0].refuse = true;
			net_pass(3000);
			machines[2][0].refuse = false;
		}
		await_agreement(0);
	}
	assert_int_equal(machines[2][0].count, 9 * 80);
}

/* Whoever can't use it is sent it now and then, not as fast as it goes. */
static void
test_useless(void **state)
{
	unsigned before;

	(void)state;
	begin_group(0);
	snapshot_extra_bytes = 100000;
	crash(c);
	net_say(a, c, mesh_ipc_NodeStatusCode_NODE_UNREACHABLE);
	net_pass(100);
	fill(a, 80);
	start(c);
	machines[2][0].refuse = true;
	net_pass(1000);
	before = net.control;
	net_pass(20000);
	assert_in_range(net.control - before, 100, 2000);
	assert_int_equal(machines[2][0].restored, 0);
	machines[2][0].refuse = false;
	await_agreement(0);
	assert_int_equal(machines[2][0].restored, 1);
}

static void
test_interrupted_by_loss(void **state)
{
	(void)state;
	begin_group(0);
	snapshot_extra_bytes = 500000;
	crash(c);
	net_say(a, c, mesh_ipc_NodeStatusCode_NODE_UNREACHABLE);
	net_pass(100);
	fill(a, 80);
	net.lose_percent = net.double_percent = net.delay_percent = 5;
	start(c);
	net_pass(30000);
	net_heal();
	await_agreement(0);
	assert_int_equal(machines[2][0].count, 80);
}

/* Proposes until c has got as far, with its database not answering. */
static void
propose_until(bool (*done)(void))
{
	for (uint64_t i = 0; !done(); i++) {
		assert_true(i < 2000);
		(void)!propose(a, 0, i);
		net_pass(20);
	}
}

static bool
c_uses_one(void)
{
	return machines[2][0].restored > 0;
}

static bool
c_gets_another(void)
{
	const struct group_snapshot *s = &group_of(c, 0)->incoming;

	return s->size > snapshot_extra_bytes && s->len > 0 && s->len < s->size;
}

static uint64_t stored_before;

static bool
c_stored_one(struct env *e)
{
	(void)e;
	return fake_dbs[2].groups[0]->snap_index > stored_before;
}

/* A part of the next one comes before the database takes the one that is in use: it gets that one, whole. */
static void
test_next_before_stored(void **state)
{
	(void)state;
	begin_group(0);
	stored_before = fake_dbs[2].groups[0]->snap_index;
	fake_dbs[2].hold = true;
	propose_until(c_uses_one);
	assert_int_equal(fake_dbs[2].groups[0]->snap_index, stored_before);
	snapshot_extra_bytes = 1000000;
	propose_until(c_gets_another);
	assert_int_equal(machines[2][0].restored, 1);
	fake_dbs[2].hold = false;
	fake_changed(&fake_dbs[2]);
	env_run(&env, c_stored_one);
	crash(c);
	/* It is looked at when it is loaded. */
	start(c);
	assert_int_equal(machines[2][0].restored, 1);
	await_agreement(0);
}

/* --- memory --- */

/* Whichever allocation fails: nothing is applied twice or left out, and it goes on. */
static void
test_failing_memory(void **state)
{
	unsigned long k;

	(void)state;
	begin_group(0);
	for (k = 1; k < 400; k++) {
		mem_fail_at(k);
		(void)!propose(a, 0, k);
		net_pass(60);
		mem_fail_at(0);
	}
	await_agreement(0);
	assert_int_equal(propose(await_leader(0), 0, 1), 0);
	await_agreement(0);
	assert_true(machines[0][0].count > 300);
}

/* A replica that can't be made leaves nothing behind. */
static void
test_failing_begin(void **state)
{
	struct raft_member m = {.id = 5, .node = a->engine.self, .role = RAFT_VOTER};
	uint8_t id[STORE_GROUP_BYTES];
	struct group *g = NULL;
	int err = ERR_NOMEM;

	(void)state;
	id_of(3, id);
	for (unsigned long k = 1; err != 0; k++) {
		assert_true(k < 100);
		mem_fail_at(k);
		err = group_new(a->engine.groups, id, STORE_RAFT_DSG, 5, &m, 1, &g);
		mem_fail_at(0);
		assert_true(err == 0 || err == ERR_NOMEM);
		assert_int_equal(groups_count(a->engine.groups), err == 0);
	}
	assert_int_equal(group_new(a->engine.groups, id, STORE_RAFT_DSG, 5, &m, 1, &g), ERR_EXISTS);
	group_drop(groups_find(a->engine.groups, id));
	/* No room in the database: the same. */
	fake_dbs[0].refuse = true;
	assert_int_equal(group_new(a->engine.groups, id, STORE_RAFT_DSG, 5, &m, 1, &g), ERR_FULL);
	assert_int_equal(groups_count(a->engine.groups), 0);
	fake_dbs[0].refuse = false;
}

static int
setup(void **state)
{
	env_settings = " raft-log-entries 32\n raft-log-max 64KB\n";
	return group_setup(state);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, env_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_unknown_group),
	    TEST(test_in_anothers_name),
	    TEST(test_stranger),
	    TEST(test_hostile_bytes),
	    TEST(test_compaction),
	    TEST(test_not_at_once),
	    TEST(test_lagging),
	    TEST(test_interrupted),
	    TEST(test_useless),
	    TEST(test_interrupted_by_loss),
	    TEST(test_next_before_stored),
	    TEST(test_failing_memory),
	    TEST(test_failing_begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
