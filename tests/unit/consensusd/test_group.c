/* Groups of three consensusds: what they agree upon, whatever the network, restarts and the database do. */
#include "tests/unit/consensusd/virtual.h"

#include "tests/unit/consensusd/group_user.h"

/* --- agreement --- */

static void
test_proposals(void **state)
{
	(void)state;
	begin_group(0);
	assert_true(leader_of(0) == a);
	for (uint64_t i = 0; i < 20; i++) {
		assert_int_equal(propose(a, 0, i), 0);
		assert_int_equal(propose(b, 0, 100 + i), 0);
	}
	await_agreement(0);
	net_pass(1000);
	assert_int_equal(machines[2][0].count, 40);
	assert_true(group_leader_node(group_of(c, 0)) == a->engine.self);
	assert_true(machines[2][0].role.leader == group_of(a, 0)->replica);
}

static bool
was_read(struct env *e)
{
	(void)e;
	return machines[2][0].readable > 0;
}

/* A read sees all that was committed before it was asked for. */
static void
test_read(void **state)
{
	(void)state;
	begin_group(0);
	for (uint64_t i = 0; i < 10; i++)
		assert_int_equal(propose(a, 0, i), 0);
	watched = 0;
	await_agreement(0);
	assert_int_equal(group_read(group_of(c, 0), 77), 0);
	env_run(&env, was_read);
	assert_true(machines[2][0].last_read == 77);
	assert_true(machines[2][0].read_index >= status_of(a, 0).commit);
}

static bool
b_leads(struct env *e)
{
	(void)e;
	return leader_of(0) == b;
}

static void
test_transfer(void **state)
{
	(void)state;
	begin_group(0);
	assert_int_equal(group_transfer(group_of(a, 0), group_of(b, 0)->replica), 0);
	env_run(&env, b_leads);
	await_agreement(0);
	assert_int_equal(propose(c, 0, 1), 0);
	await_agreement(0);
	assert_int_equal(group_transfer(group_of(c, 0), group_of(b, 0)->replica), ERR_STATE);
	assert_int_equal(group_transfer(group_of(b, 0), 12345), ERR_NOENT);
}

/* Proposes at whoever leads, for so long; what is refused or lost is so. */
static void
propose_for(int64_t ms, uint64_t *next)
{
	struct mono over = mono_add_ms(clock_mono(), ms);

	while (mono_before(clock_mono(), over)) {
		struct env_node *n = leader_of(0);

		if (n != NULL)
			(void)!propose(n, 0, (*next)++);
		net_pass(50);
	}
}

static void
test_bad_network(void **state)
{
	uint64_t next = 1;

	(void)state;
	begin_group(0);
	net.lose_percent = 20;
	net.double_percent = net.delay_percent = 20;
	propose_for(20000, &next);
	net_heal();
	await_agreement(0);
	assert_true(machines[0][0].count > 100);
}

static void
test_partitions(void **state)
{
	uint64_t next = 1;

	(void)state;
	begin_group(0);
	for (int i = 0; i < 12; i++) {
		struct env_node *n = i % 2 ? leader_of(0) : &env.nodes[rng_below(&env.rng, 3)];

		net_isolate(n != NULL ? n : a, true);
		propose_for(4000, &next);
		/* Whoever is alone commits nothing. */
		net_heal();
		propose_for(500, &next);
	}
	await_agreement(0);
	assert_true(machines[1][0].count > 200);
}

/* --- restarts --- */

static void
test_restarts(void **state)
{
	uint64_t next = 1;

	(void)state;
	begin_group(0);
	for (int i = 0; i < 40; i++) {
		struct env_node *n = &env.nodes[rng_below(&env.rng, 3)];

		net.lose_percent = rng_below(&env.rng, 2) ? 10 : 0;
		fake_dbs[n->index].hold = rng_below(&env.rng, 2);
		propose_for((int64_t)rng_below(&env.rng, 1500), &next);
		crash(n);
		fake_dbs[n->index].hold = false;
		propose_for((int64_t)rng_below(&env.rng, 3000), &next);
		start(n);
	}
	net_heal();
	await_agreement(0);
	assert_true(machines[0][0].count > 100);
}

/* All at once, again and again: what was applied anywhere is there. */
static void
test_restart_of_all(void **state)
{
	uint64_t next = 1;

	(void)state;
	begin_group(0);
	for (int i = 0; i < 8; i++) {
		uint64_t before;

		propose_for((int64_t)rng_below(&env.rng, 2000), &next);
		before = machines[0][0].count;
		for (size_t k = 0; k < ENV_NODES; k++)
			crash(&env.nodes[k]);
		for (size_t k = 0; k < ENV_NODES; k++)
			start(&env.nodes[k]);
		await_agreement(0);
		assert_true(machines[0][0].count >= before);
	}
}

/* --- the database --- */

static bool
a_leads_no_more(struct env *e)
{
	(void)e;
	return leader_of(0) != NULL && leader_of(0) != a;
}

/* Whose database is full says nothing that it would have to keep, and goes on when there is room. */
static void
test_store_full(void **state)
{
	struct raft_status before;

	(void)state;
	begin_group(0);
	before = status_of(b, 0);
	fake_dbs[1].refuse = true;
	for (uint64_t i = 0; i < 5; i++)
		assert_int_equal(propose(a, 0, i), 0);
	net_pass(3000);
	/* Two are a majority; b has said nothing for its own log. */
	assert_int_equal(machines[2][0].count, 5);
	assert_int_equal(machines[1][0].count, 0);
	assert_true(status_of(b, 0).durable == before.durable);
	for (size_t i = 0; i < 3; i++) {
		struct raft_member_status m;

		assert_true(group_member_at(group_of(a, 0), i, &m));
		if (m.member.node == b->engine.self)
			assert_true(m.match <= before.durable);
	}
	fake_dbs[1].refuse = false;
	await_agreement(0);
	assert_int_equal(machines[1][0].count, 5);
}

static bool
all_applied(struct env *e)
{
	(void)e;
	return machines[0][0].count == 5 && machines[1][0].count == 5 && machines[2][0].count == 5;
}

/* A state machine that may be early has what is committed while the log here is not written yet. */
static void
test_applied_early(void **state)
{
	uint64_t durable;

	(void)state;
	machines_early = true;
	begin_group(0);
	durable = status_of(b, 0).durable;
	fake_dbs[1].refuse = true;
	for (uint64_t i = 0; i < 5; i++)
		assert_int_equal(propose(a, 0, i), 0);
	env_run(&env, all_applied);
	assert_true(status_of(b, 0).durable == durable);
	fake_dbs[1].refuse = false;
	await_agreement(0);
	net_pass(3000);
	assert_true(status_of(b, 0).durable == status_of(a, 0).last);
	machines_early = false;
}

static bool
is_learner(struct env *e)
{
	struct raft_status st = status_of(c, 0);

	(void)e;
	return !st.voter && !st.joint && status_of(a, 0).members == 3;
}

/* What one without a vote has to write waits a moment for more, and not longer. */
static void
test_learner_writes_later(void **state)
{
	uint64_t written;

	(void)state;
	machines_early = true;
	begin_group(0);
	change_members(a, 0, "ab", "c");
	env_run(&env, is_learner);
	await_agreement(0);
	net_pass(1000);
	written = status_of(c, 0).written;
	assert_true(written == status_of(a, 0).last);
	for (uint64_t i = 0; i < 5; i++)
		assert_int_equal(propose(a, 0, i), 0);
	env_run(&env, all_applied);
	assert_true(status_of(c, 0).written == written);
	assert_true(status_of(b, 0).written > written);
	net_pass(1000);
	assert_true(status_of(c, 0).durable == status_of(a, 0).last);
	/* Many are not worth waiting for more. */
	for (uint64_t i = 0; i < GROUP_WAIT_COUNT; i++)
		assert_int_equal(propose(a, 0, i), 0);
	await_agreement(0);
	assert_true(status_of(c, 0).written == status_of(a, 0).last);
	machines_early = false;
}

static void
test_store_full_at_majority(void **state)
{
	(void)state;
	begin_group(0);
	fake_dbs[1].refuse = fake_dbs[2].refuse = true;
	for (uint64_t i = 0; i < 5; i++)
		assert_int_equal(propose(a, 0, i), 0);
	net_pass(10000);
	for (size_t i = 0; i < ENV_NODES; i++)
		assert_int_equal(machines[i][0].count, 0);
	/* No vote was given either that a restart would forget. */
	fake_dbs[1].refuse = fake_dbs[2].refuse = false;
	await_agreement(0);
	assert_true(machines[0][0].count >= 5 || leader_of(0) != a);
}

/* A leader whose database is away leads on as long as the others have it. */
static void
test_store_away(void **state)
{
	(void)state;
	begin_group(0);
	fake_dbs[0].away = true;
	fake_changed(&fake_dbs[0]);
	for (uint64_t i = 0; i < 5; i++)
		assert_int_equal(propose(a, 0, i), 0);
	net_pass(3000);
	assert_int_equal(machines[0][0].count, 0);
	fake_dbs[0].away = false;
	fake_changed(&fake_dbs[0]);
	await_agreement(0);
	assert_int_equal(machines[0][0].count, 5);
}

/* It promised nothing in the new term: after a crash it may vote again. */
static void
test_vote_is_durable(void **state)
{
	uint64_t term;

	(void)state;
	begin_group(0);
	fake_dbs[1].hold = fake_dbs[2].hold = true;
	term = status_of(b, 0).term;
	crash(a);
	net_pass(10000);
	assert_null(leader_of(0));
	assert_true(fake_dbs[1].groups[0]->row.term == term && fake_dbs[2].groups[0]->row.term == term);
	fake_dbs[1].hold = fake_dbs[2].hold = false;
	fake_changed(&fake_dbs[1]);
	fake_changed(&fake_dbs[2]);
	env_run(&env, a_leads_no_more);
	start(a);
	await_agreement(0);
}

/* --- a database that went back in time --- */

static void
test_rolled_back(void **state)
{
	struct env_node *leader;

	(void)state;
	begin_group(0);
	assert_int_equal(propose(a, 0, 1), 0);
	await_agreement(0);
	crash(c);
	fake_dbs[2].rolled_back = true;
	start(c);
	/* The replica is forgotten, durably, and takes part in nothing. */
	assert_null(group_of(c, 0));
	assert_true(groups_lost(c->engine.groups));
	net_pass(100);
	assert_int_equal(fake_dbs[2].group_count, 0);
	/* It begins anew as somebody else. */
	fake_dbs[2].rolled_back = false;
	lives++;
	begin(c, 0, false);
	leader = await_leader(0);
	change_members(leader, 0, "ab", "c");
	net_pass(1000);
	change_members(leader, 0, "abc", "");
	watched = 0;
	env_run(&env, is_settled);
}

static void
test_rolled_back_alone(void **state)
{
	(void)state;
	begin(a, 0, true);
	await_leader(0);
	assert_int_equal(propose(a, 0, 1), 0);
	await_agreement(0);
	crash(a);
	fake_dbs[0].rolled_back = true;
	start(a);
	assert_non_null(group_of(a, 0));
	assert_false(groups_lost(a->engine.groups));
	await_agreement(0);
	assert_int_equal(machines[0][0].count, 1);
	fake_dbs[0].rolled_back = false;
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, group_setup, env_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_proposals),
	    TEST(test_read),
	    TEST(test_transfer),
	    TEST(test_bad_network),
	    TEST(test_partitions),
	    TEST(test_restarts),
	    TEST(test_restart_of_all),
	    TEST(test_store_full),
	    TEST(test_applied_early),
	    TEST(test_learner_writes_later),
	    TEST(test_store_full_at_majority),
	    TEST(test_store_away),
	    TEST(test_vote_is_durable),
	    TEST(test_rolled_back),
	    TEST(test_rolled_back_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
