/* Groups: many of them at once, what they share, and those that nothing happens to. */
#include "tests/unit/consensusd/virtual.h"

#include "tests/unit/consensusd/group_user.h"

enum { MANY = 200 };

static bool
all_lead(struct env *e)
{
	(void)e;
	for (size_t k = 0; k < MANY; k++)
		if (leader_of(k) == NULL)
			return false;
	return true;
}

static bool
all_settled(struct env *e)
{
	for (watched = 0; watched < MANY; watched++)
		if (!is_settled(e))
			return false;
	return true;
}

static void
begin_many(void)
{
	for (size_t k = 0; k < MANY; k++) {
		begin(a, k, true);
		begin(b, k, false);
		begin(c, k, false);
	}
	env_run(&env, all_lead);
	for (size_t k = 0; k < MANY; k++)
		change_members(a, k, "abc", "");
	env_run(&env, all_settled);
}

static void
propose_to_all(uint64_t value)
{
	for (size_t k = 0; k < MANY; k++)
		assert_int_equal(propose(a, k, value), 0);
}

/* What happens to them at the same time goes in the same packets and flushes. */
static void
test_shared(void **state)
{
	int64_t packets, messages;
	unsigned commits[ENV_NODES];

	(void)state;
	begin_many();
	assert_int_equal(groups_count(b->engine.groups), MANY);
	net_pass(1000);
	packets = value(&stats.peers_sent_packets);
	messages = value(&stats.peers_sent_messages);
	for (size_t i = 0; i < ENV_NODES; i++)
		commits[i] = fake_dbs[i].commits;
	propose_to_all(1);
	env_run(&env, all_settled);
	/* Entries, answers, what is committed: and perhaps heartbeats between them. */
	assert_in_range(value(&stats.peers_sent_packets) - packets, 6, 40);
	assert_true(value(&stats.peers_sent_messages) - messages >= 4 * MANY);
	for (size_t i = 0; i < ENV_NODES; i++)
		assert_in_range(fake_dbs[i].commits - commits[i], 1, 6);
}

/* While nothing happens, heartbeats of all groups share packets. */
static void
test_heartbeats(void **state)
{
	int64_t packets, messages;

	(void)state;
	begin_many();
	propose_to_all(1);
	net_pass(1000);
	packets = value(&stats.peers_sent_packets);
	messages = value(&stats.peers_sent_messages);
	net_pass(2000);
	messages = value(&stats.peers_sent_messages) - messages;
	packets = value(&stats.peers_sent_packets) - packets;
	assert_true(messages >= 2 * MANY * 8);
	assert_true(packets < messages / 20);
}

static bool
all_quiet(struct env *e)
{
	for (size_t i = 0; i < ENV_NODES; i++)
		for (size_t k = 0; k < MANY; k++)
			if (!status_of(&e->nodes[i], k).quiet)
				return false;
	return true;
}

static size_t
timers_of(const struct env_node *n)
{
	size_t count = 0;

	for (size_t k = 0; k < MANY; k++)
		count += group_of(n, k)->timer.deadline.place != 0;
	return count;
}

/* Quiet groups have no deadlines and say nothing. */
static void
test_quiet(void **state)
{
	int64_t messages, puts[ENV_NODES];

	(void)state;
	begin_many();
	env_run(&env, all_quiet);
	net_pass(100);
	for (size_t i = 0; i < ENV_NODES; i++) {
		assert_int_equal(timers_of(&env.nodes[i]), 0);
		puts[i] = fake_dbs[i].raft_puts;
	}
	net.control = 0;
	messages = value(&stats.peers_sent_messages);
	net_pass(60000);
	/* What others than groups say to each other. */
	assert_in_range(value(&stats.peers_sent_messages) - messages, 0, MANY / 2);
	for (size_t i = 0; i < ENV_NODES; i++) {
		assert_int_equal(timers_of(&env.nodes[i]), 0);
		assert_int_equal(fake_dbs[i].raft_puts, puts[i]);
	}
	/* One that has something to do wakes alone. */
	assert_int_equal(propose(a, 7, 1), 0);
	net_pass(100);
	assert_int_equal(timers_of(a), 1);
	watched = 7;
	env_run(&env, all_agree);
}

static bool
others_lead(struct env *e)
{
	(void)e;
	for (size_t k = 0; k < MANY; k++)
		if (leader_of(k) == NULL || leader_of(k) == a)
			return false;
	return true;
}

static bool
is_awake(struct env *e)
{
	(void)e;
	return !status_of(a, watched).quiet;
}

/* Routerd says that the leader's node has gone: its followers count the time again, and nobody else has to.
 */
static void
test_node_down(void **state)
{
	(void)state;
	begin_many();
	env_run(&env, all_quiet);
	crash(a);
	net_say(b, a, mesh_ipc_NodeStatusCode_NODE_UNREACHABLE);
	net_say(c, a, mesh_ipc_NodeStatusCode_NODE_UNREACHABLE);
	env_run(&env, others_lead);
	for (size_t k = 0; k < MANY; k++)
		assert_int_equal(propose(leader_of(k), k, 1), 0);
	net_pass(1000);
	/* The one that comes back is told what it missed. */
	start(a);
	env_run(&env, all_settled);
	for (size_t k = 0; k < MANY; k++)
		assert_int_equal(machines[0][k].count, 1);
}

/* A leader whose quiet group has lost a member sees to it when it is back. */
static void
test_node_up(void **state)
{
	(void)state;
	begin_many();
	env_run(&env, all_quiet);
	crash(c);
	net_say(a, c, mesh_ipc_NodeStatusCode_NODE_UNREACHABLE);
	net_pass(20000);
	watched = 3;
	net_say(a, c, mesh_ipc_NodeStatusCode_NODE_ALIVE);
	env_run(&env, is_awake);
	start(c);
	env_run(&env, all_settled);
}

static bool
c_knows_leader(struct env *e)
{
	(void)e;
	return status_of(c, 0).leader != 0;
}

/* A learner that begins again while the group is quiet learns who leads, and then all are quiet. */
static void
test_quiet_learner(void **state)
{
	(void)state;
	begin(a, 0, true);
	begin(b, 0, false);
	begin(c, 0, false);
	await_leader(0);
	change_members(a, 0, "ab", "c");
	net_pass(10000);
	assert_true(status_of(a, 0).quiet && status_of(c, 0).quiet);
	/* Only the process: routerd has nothing to say. */
	crash(c);
	env_start(c);
	env_run(&env, net_all_loaded);
	attach(c, 0);
	env_run(&env, c_knows_leader);
	assert_int_equal(propose(c, 0, 1), 0);
	await_agreement(0);
	net_pass(10000);
	assert_true(status_of(a, 0).quiet && status_of(c, 0).quiet);
}

/* Nobody says that the leader has gone: it is looked at now and then. */
static void
test_sweep(void **state)
{
	(void)state;
	begin_many();
	env_run(&env, all_quiet);
	nodes_find(&b->engine.nodes, a->engine.self)->status = NODE_STATUS_UNREACHABLE;
	nodes_find(&c->engine.nodes, a->engine.self)->status = NODE_STATUS_UNREACHABLE;
	crash(a);
	env_run(&env, others_lead);
}

/* All replicas of a node are loaded again. */
static void
test_many_restarts(void **state)
{
	(void)state;
	begin_many();
	propose_to_all(1);
	env_run(&env, all_settled);
	for (size_t i = 0; i < ENV_NODES; i++) {
		crash(&env.nodes[i]);
		start(&env.nodes[i]);
		env_run(&env, all_lead);
	}
	env_run(&env, all_settled);
	for (size_t k = 0; k < MANY; k++)
		assert_int_equal(machines[1][k].count, 1);
}

/* A table of routes has room for so many: then the oldest goes. */
static void
test_routes(void **state)
{
	(void)state;
	for (uint64_t i = 1; i <= GROUP_ROUTES_MAX + 10; i++)
		groups_learn(a->engine.groups, i << 40, 77);
	assert_int_equal(HASH_COUNT(a->engine.groups->routes), GROUP_ROUTES_MAX);
	/* Those in use are learnt again, and keep their places. */
	begin_group(0);
	assert_int_equal(HASH_COUNT(a->engine.groups->routes), GROUP_ROUTES_MAX);
	assert_int_equal(propose(a, 0, 1), 0);
	await_agreement(0);
}

static int
setup(void **state)
{
	env_settings = " raft-quiet 3s\n";
	return group_setup(state);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, env_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_shared),
	    TEST(test_heartbeats),
	    TEST(test_quiet),
	    TEST(test_node_down),
	    TEST(test_node_up),
	    TEST(test_quiet_learner),
	    TEST(test_sweep),
	    TEST(test_many_restarts),
	    TEST(test_routes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
