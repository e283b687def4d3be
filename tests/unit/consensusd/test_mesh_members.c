/* The control group: leaving it, being evicted, stopping and starting; who votes. */
#include "tests/unit/consensusd/virtual.h"

#include "tests/unit/consensusd/mesh_user.h"

static struct outcome
leave(struct env_node *n)
{
	struct outcome x = {0};

	await_leader_known(n);
	assert_int_equal(mesh_leave(mesh_of(n), on_outcome, &x), 0);
	await(&x);
	return x;
}

static struct env_node *
other_than(const struct env_node *n)
{
	return n == a ? b : a;
}

/* --- leaving --- */

static void
test_leave(void **state)
{
	struct env_node *n;

	(void)state;
	seed_and_join();
	n = other_than(mesh_leading());
	{
		struct outcome x = leave(n);

		assert_ended_well(&x);
	}
	assert_int_equal(mesh_state(mesh_of(n)), MESH_OUTSIDE);
	settle(2, 2);
	assert_int_equal(mcg_member_get(mesh_mcg(mesh_of(mesh_leading())), n->engine.self)->status, MCG_LEFT);
	/* It stays outside, whoever speaks to it, and after a restart. */
	net_pass(10000);
	assert_int_equal(mesh_state(mesh_of(n)), MESH_OUTSIDE);
	restart(n);
	net_pass(10000);
	assert_int_equal(mesh_state(mesh_of(n)), MESH_OUTSIDE);
	join(n);
	settle(3, 3);
}

static void
test_leader_leaves(void **state)
{
	struct env_node *n;
	struct outcome x;

	(void)state;
	seed_and_join();
	n = mesh_leading();
	x = leave(n);
	assert_ended_well(&x);
	assert_int_equal(mesh_state(mesh_of(n)), MESH_OUTSIDE);
	settle(2, 2);
	assert_true(mesh_leading() != n);
}

/* Down to the last one, which ends the group. */
static void
test_all_leave(void **state)
{
	struct outcome x = {0};

	(void)state;
	seed_and_join();
	x = leave(a);
	assert_ended_well(&x);
	settle(2, 2);
	x = leave(b);
	assert_ended_well(&x);
	settle(1, 1);
	x = leave(c);
	assert_ended_well(&x);
	for (size_t i = 0; i < ENV_NODES; i++) {
		assert_int_equal(mesh_state(mesh_of(&env.nodes[i])), MESH_OUTSIDE);
		assert_int_equal(mesh_leave(mesh_of(&env.nodes[i]), on_outcome, &x), ERR_STATE);
	}
	net_pass(100);
	for (size_t i = 0; i < ENV_NODES; i++)
		assert_int_equal(fake_dbs[i].group_count, 0);
	seed(b, MCG_JOIN_CERTIFICATE);
}

/* Without a majority nobody can leave; a leader is known at first, and the entry may count later. */
static void
test_leave_without_majority(void **state)
{
	struct outcome x = {0};

	(void)state;
	seed_and_join();
	await_leader_known(c);
	net_isolate(c, true);
	assert_int_equal(mesh_leave(mesh_of(c), on_outcome, &x), 0);
	assert_int_equal(mesh_leave(mesh_of(c), on_outcome, &x), ERR_AGAIN);
	await(&x);
	assert_int_equal(x.err, ERR_TIMEOUT);
	assert_int_equal(mesh_state(mesh_of(c)), MESH_MEMBER);
	net_heal();
	/* The proposal was handed over and goes its way. */
	settle(2, 2);
	net_pass(10000);
	assert_int_equal(mesh_state(mesh_of(c)), MESH_OUTSIDE);
	join(c);
	settle(3, 3);
}

static bool
c_is_outside(struct env *e)
{
	(void)e;
	return mesh_state(mesh_of(c)) == MESH_OUTSIDE;
}

static void
ignore(void *ctx, const struct mesh_outcome *o)
{
	(void)ctx;
	(void)o;
}

/* Whenever the process ends while it leaves. */
static void
test_leave_interrupted(void **state)
{
	(void)state;
	seed_and_join();
	for (unsigned i = 0; i < 25; i++) {
		await_leader_known(c);
		assert_int_equal(mesh_leave(mesh_of(c), ignore, NULL), 0);
		net_until = (struct mono){clock_mono().us + i * (i % 2 ? 50 : 2000)};
		env_run(&env, net_time_over);
		restart(c);
		net_pass(8000);
		if (mesh_state(mesh_of(c)) != MESH_OUTSIDE) {
			struct outcome x = leave(c);

			assert_ended_well(&x);
		}
		settle(2, 2);
		join(c);
		settle(3, 3);
	}
}

/* --- evicting --- */

static struct outcome
remove_node(struct env_node *by, uint64_t node, bool evict, bool readmit)
{
	struct mcg_cmd cmd = {.type = MCG_REMOVE,
	    .u.remove = {.node = node, .evict = evict, .readmit = readmit, .reason = "why"}};
	struct outcome x = {0};

	await_leader_known(by);
	assert_int_equal(mesh_propose(mesh_of(by), &cmd, 10000, on_outcome, &x), 0);
	await(&x);
	return x;
}

static bool
c_is_locked_out(struct env *e)
{
	for (size_t i = 0; i < 2; i++)
		if (!idset_has(&e->nodes[i].evicted[0].set, net.who[2].id) ||
		    !idset_has(&e->nodes[i].evicted[1].set, net.who[2].id))
			return false;
	return true;
}

static void
test_evict(void **state)
{
	uint8_t before[CRYPTO_KEY_ID_BYTES];
	struct outcome x;

	(void)state;
	seed_and_join();
	memcpy(before, mcg_key_get(mesh_mcg(mesh_of(a)), "")->key_id, sizeof(before));
	x = remove_node(b, c->engine.self, true, false);
	assert_ended_well(&x);
	env_run(&env, c_is_locked_out);
	env_run(&env, c_is_outside);
	settle(2, 2);
	/* What it knew is not used any more. */
	net_pass(3000);
	settle(2, 2);
	for (size_t i = 0; i < 2; i++)
		assert_true(mesh_of(&env.nodes[i])->evictions_told != 0);
	assert_memory_not_equal(before, mcg_key_get(mesh_mcg(mesh_of(a)), "")->key_id, sizeof(before));
	x = try_join(c, "");
	assert_failed(&x, ERR_DENIED, "evicted");
	/* After restarts of all, too, before there is a leader. */
	net_isolate(a, true);
	for (size_t i = 0; i < 2; i++)
		restart(&env.nodes[i]);
	env_run(&env, c_is_locked_out);
	assert_null(mesh_leading());
	net_heal();
	x = remove_node(a, c->engine.self, false, true);
	assert_ended_well(&x);
	for (size_t i = 0; i < 2; i++)
		net_say(&env.nodes[i], c, mesh_ipc_NodeStatusCode_NODE_ALIVE);
	join(c);
	settle(3, 3);
}

static void
test_evict_leader(void **state)
{
	struct env_node *n;
	struct outcome x;

	(void)state;
	seed_and_join();
	n = mesh_leading();
	x = remove_node(other_than(n), n->engine.self, true, false);
	assert_ended_well(&x);
	net_pass(20000);
	assert_int_equal(mesh_state(mesh_of(n)), MESH_OUTSIDE);
	settle(2, 2);
}

/* One that is not there to hear of it: it learns it when it comes back. */
static void
test_evict_absent(void **state)
{
	struct outcome x;

	(void)state;
	seed_and_join();
	env_stop(c);
	x = remove_node(a, net.who[2].id, true, false);
	assert_ended_well(&x);
	settle(2, 2);
	net_start(c);
	net_pass(20000);
	assert_int_not_equal(mesh_state(mesh_of(c)), MESH_MEMBER);
	/* Nobody else, and nobody that there is not. */
	x = remove_node(a, 12345, false, true);
	assert_int_equal(x.err, ERR_NOENT);
	x = remove_node(a, 12345, false, false);
	assert_int_equal(x.err, ERR_NOENT);
}

/* --- stopping --- */

static struct outcome
stop(struct env_node *n, bool on)
{
	struct outcome x = {0};

	await_leader_known(n);
	assert_int_equal(mesh_stop(mesh_of(n), on, on_outcome, &x), 0);
	await(&x);
	return x;
}

static bool
is_led_by_another(struct env *e)
{
	(void)e;
	return mesh_leading() != NULL && mesh_leading() != led;
}

static void
test_stop(void **state)
{
	struct env_node *n;
	struct outcome x;

	(void)state;
	seed_and_join();
	n = mesh_leading();
	x = stop(n, true);
	assert_ended_well(&x);
	assert_int_equal(mesh_state(mesh_of(n)), MESH_STOPPED);
	/* Who is going down leads no more. */
	led = n;
	env_run(&env, is_led_by_another);
	x = stop(n, false);
	assert_ended_well(&x);
	assert_int_equal(mesh_state(mesh_of(n)), MESH_MEMBER);
	/* It is a member that runs as soon as it starts again. */
	x = stop(n, true);
	assert_ended_well(&x);
	restart(n);
	net_pass(5000);
	assert_int_equal(mesh_state(mesh_of(n)), MESH_MEMBER);
	settle(3, 3);
	assert_int_equal(mesh_stop(mesh_of(n), true, on_outcome, &x), 0);
	env_stop(n); /* nobody hears of it: nothing is left of it */
}

/* --- who votes --- */

static struct outcome
set_voters(struct env_node *by, uint32_t count)
{
	struct mcg_cmd cmd = {.type = MCG_SETTINGS, .u.settings = {.has_voters = true, .voters = count}};
	struct outcome x = {0};

	await_leader_known(by);
	assert_int_equal(mesh_propose(mesh_of(by), &cmd, 10000, on_outcome, &x), 0);
	await(&x);
	return x;
}

static void
test_voters(void **state)
{
	struct env_node *voter = NULL;
	struct outcome x;

	(void)state;
	seed(a, MCG_JOIN_CERTIFICATE);
	join(b);
	/* A second voter only adds one that has to be there. */
	net_pass(5000);
	settle(2, 1);
	join(c);
	settle(3, 3);
	x = set_voters(b, 1);
	assert_ended_well(&x);
	settle(3, 1);
	/* The only one that votes stops: another takes its place. */
	voter = mesh_leading();
	x = stop(voter, true);
	assert_ended_well(&x);
	led = voter;
	env_run(&env, is_led_by_another);
	settle(3, 1);
	x = set_voters(voter, 3);
	assert_ended_well(&x);
	net_pass(30000);
	x = stop(voter, false);
	assert_ended_well(&x);
	settle(3, 3);
}

/* With one of three gone for good the rest go on; there is nobody to take its place. */
static void
test_voter_gone(void **state)
{
	struct outcome x;

	(void)state;
	seed_and_join();
	env_stop(c);
	net_say(a, c, mesh_ipc_NodeStatusCode_NODE_UNREACHABLE);
	net_say(b, c, mesh_ipc_NodeStatusCode_NODE_UNREACHABLE);
	net_pass(60000);
	x = set_voters(a, 5);
	assert_ended_well(&x);
	net_start(c);
	settle(3, 3);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, mesh_setup, env_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_leave),
	    TEST(test_leader_leaves),
	    TEST(test_all_leave),
	    TEST(test_leave_without_majority),
	    TEST(test_leave_interrupted),
	    TEST(test_evict),
	    TEST(test_evict_leader),
	    TEST(test_evict_absent),
	    TEST(test_stop),
	    TEST(test_voters),
	    TEST(test_voter_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
