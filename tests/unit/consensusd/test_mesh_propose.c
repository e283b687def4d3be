/* The control group: proposals, each applied once, whatever becomes of leaders, messages and sessions. */
#include "tests/unit/consensusd/virtual.h"

#include "consensusd/group_impl.h"
#include "tests/unit/consensusd/mesh_user.h"

/* More than raft-quiet is. */
enum { QUIET_MS = 30000 };
enum { MANY = 400 };

static struct outcome outcomes[MANY];

static int
set_key(struct env_node *n, const char *key, const char *json, uint64_t expected, uint32_t timeout_ms,
    struct outcome *x)
{
	struct mcg_cmd cmd = {.type = MCG_CONFIG};

	memset(x, 0, sizeof(*x));
	snprintf(cmd.u.config.key, sizeof(cmd.u.config.key), "%s", key);
	cmd.u.config.expected = expected;
	cmd.u.config.json = (const uint8_t *)json;
	cmd.u.config.len = strlen(json);
	return mesh_propose(mesh_of(n), &cmd, timeout_ms, on_outcome, x);
}

static struct outcome
set_now(struct env_node *n, const char *key, const char *json)
{
	struct outcome x;

	await_leader_known(n);
	assert_int_equal(set_key(n, key, json, UINT64_MAX, 10000, &x), 0);
	await(&x);
	return x;
}

static uint64_t
version_of(struct env_node *n, const char *key)
{
	struct mcg_value v;

	return mcg_value_get(mesh_mcg(mesh_of(n)), key, &v) ? v.version : 0;
}

/* --- each once --- */

static void
test_all_nodes(void **state)
{
	struct mcg_value v;

	(void)state;
	seed_and_join();
	for (size_t i = 0; i < ENV_NODES; i++) {
		struct outcome x = set_now(&env.nodes[i], "k", i == 2 ? "\"last\"" : "1");

		assert_ended_well(&x);
		assert_true(x.index > 0 && x.term > 0);
	}
	settle(3, 3);
	for (size_t i = 0; i < ENV_NODES; i++) {
		assert_true(mcg_value_get(mesh_mcg(mesh_of(&env.nodes[i])), "k", &v));
		assert_true(v.version == 3 && v.len == 6 && memcmp(v.json, "\"last\"", 6) == 0);
		assert_true(v.node == c->engine.self);
		/* And in the database. */
		assert_int_equal(fake_dbs[i].change_count, 3);
	}
}

/* Refused by what is there, the same everywhere. */
static void
test_refused(void **state)
{
	struct mcg_cmd cmd = {.type = MCG_PRUNE, .u.prune = 1000000};
	struct outcome x;

	(void)state;
	assert_int_equal(set_key(a, "k", "1", UINT64_MAX, 1000, &x), ERR_STATE);
	seed_and_join();
	await_leader_known(b);
	assert_int_equal(set_key(b, "k", "1", 7, 1000, &x), 0);
	await(&x);
	assert_int_equal(x.err, ERR_STALE);
	assert_int_equal(set_key(b, "no*key", "1", 7, 1000, &x), ERR_FORMAT);
	x.count = 0;
	assert_int_equal(mesh_propose(mesh_of(b), &cmd, 1000, on_outcome, &x), 0);
	await(&x);
	assert_int_equal(x.err, ERR_RANGE);
	/* What was refused did not use up anything. */
	x = set_now(b, "k", "1");
	assert_ended_well(&x);
}

static size_t proposed;

static bool
all_ended(struct env *e)
{
	(void)e;
	for (size_t i = 0; i < proposed; i++)
		if (outcomes[i].count == 0)
			return false;
	return true;
}

static bool
none_under_way(struct env *e)
{
	for (size_t i = 0; i < ENV_NODES; i++)
		if (e->nodes[i].up && mesh_of(&e->nodes[i])->proposal_count != 0)
			return false;
	return true;
}

/* Through frames that are lost and leaders that come and go. */
static void
test_once(void **state)
{
	size_t good = 0;

	(void)state;
	seed_and_join();
	net.lose_percent = 20;
	net.double_percent = net.delay_percent = 20;
	for (proposed = 0; proposed < MANY;) {
		struct env_node *n = &env.nodes[proposed % 3];

		if (set_key(n, "k", "1", UINT64_MAX, 600000, &outcomes[proposed]) == 0)
			proposed++;
		if (proposed % 20 == 0 && mesh_leading() != NULL)
			(void)!mesh_transfer(mesh_of(mesh_leading()), mesh_group(mesh_of(mesh_leading())), 0,
			    10000, NULL, NULL);
		net_pass((int64_t)rng_below(&env.rng, 100));
	}
	env_run(&env, all_ended);
	net_heal();
	env_run(&env, none_under_way);
	settle(3, 3);
	for (size_t i = 0; i < MANY; i++) {
		assert_int_equal(outcomes[i].count, 1);
		good += outcomes[i].err == 0;
		for (size_t k = 0; k < i; k++)
			assert_true(outcomes[i].index != outcomes[k].index);
	}
	assert_int_equal(good, MANY);
	assert_true(version_of(a, "k") == MANY);
}

static struct env_node *led;

static bool
another_leads(struct env *e)
{
	(void)e;
	return mesh_leading() != NULL && mesh_leading() != led;
}

/* Nobody has said anything for long: those that are there can lead all the same. */
static void
test_transfer_from_quiet(void **state)
{
	struct raft_status st;

	(void)state;
	seed_and_join();
	settle(3, 3);
	for (int i = 0; i < 20; i++) {
		net_pass(QUIET_MS);
		led = mesh_leading();
		group_show(mesh_group(mesh_of(led)), &st);
		assert_true(st.quiet);
		assert_int_equal(
		    mesh_transfer(mesh_of(led), mesh_group(mesh_of(led)), 0, 10000, NULL, NULL), 0);
		env_run(&env, another_leads);
	}
}

/* And through the ends of processes: what the one before had proposed is applied once or not at all. */
static void
test_restarts(void **state)
{
	uint64_t good = 0, before;

	(void)state;
	seed_and_join();
	for (unsigned i = 0; i < 30; i++) {
		struct env_node *n = &env.nodes[i % 3];
		struct env_node *ends = &env.nodes[rng_below(&env.rng, 3)];
		struct outcome x = {0}, *kept = &outcomes[i];

		await_leader_known(n);
		/* What it has not flushed is lost. */
		fake_dbs[ends->index].hold = rng_below(&env.rng, 2);
		if (set_key(n, "k", "1", UINT64_MAX, 10000, kept) == 0)
			net_until = (struct mono){clock_mono().us + (int64_t)rng_below(&env.rng, 3000)};
		env_run(&env, net_time_over);
		good += kept->count == 1 && kept->err == 0;
		env_stop(ends);
		fake_dbs[ends->index].hold = false;
		net_start(ends);
		x = set_now(n, "other", "1");
		assert_ended_well(&x);
	}
	env_run(&env, is_led);
	settle(3, 3);
	before = version_of(a, "k");
	assert_true(before >= good && before <= 30);
	assert_true(version_of(a, "other") == 30);
}

/* --- limits --- */

/* More than a session has room for wait. */
static void
test_window(void **state)
{
	(void)state;
	seed_and_join();
	await_leader_known(c);
	for (proposed = 0; proposed < MANY; proposed++)
		assert_int_equal(set_key(c, "k", "1", UINT64_MAX, 60000, &outcomes[proposed]), 0);
	assert_in_range(mesh_of(c)->proposal_count, 1, MESH_PROPOSALS_MAX);
	env_run(&env, all_ended);
	for (size_t i = 0; i < proposed; i++)
		assert_ended_well(&outcomes[i]);
	assert_true(version_of(c, "k") == proposed);
}

static struct outcome shared;

static bool
shared_ended(struct env *e)
{
	(void)e;
	return shared.count == proposed;
}

static void
test_queue_full(void **state)
{
	struct mcg_cmd cmd = {.type = MCG_SETTINGS, .u.settings = {.has_description = true}};
	int err;

	(void)state;
	memset(&shared, 0, sizeof(shared));
	seed_and_join();
	await_leader_known(c);
	for (proposed = 0;; proposed++)
		if ((err = mesh_propose(mesh_of(c), &cmd, 600000, on_outcome, &shared)) != 0)
			break;
	assert_int_equal(err, ERR_FULL);
	assert_in_range(proposed, MESH_QUEUE_MAX, MESH_QUEUE_MAX + MESH_PROPOSALS_MAX);
	env_run(&env, shared_ended);
	shared = set_now(c, "k", "1");
	assert_ended_well(&shared);
}

static bool
c_knows_none(struct env *e)
{
	(void)e;
	return mesh_leader(mesh_of(c)) == 0;
}

static void
test_time_out(void **state)
{
	struct outcome x;

	(void)state;
	seed_and_join();
	await_leader_known(c);
	net_isolate(c, true);
	assert_int_equal(set_key(c, "k", "1", UINT64_MAX, 300, &x), 0);
	await(&x);
	assert_failed(&x, ERR_TIMEOUT, "may be applied later");
	/* Without a leader at once. */
	env_run(&env, c_knows_none);
	assert_int_equal(set_key(c, "k", "1", UINT64_MAX, 300, &x), ERR_UNAVAIL);
	/* It is, once. */
	net_heal();
	env_run(&env, none_under_way);
	settle(3, 3);
	assert_true(version_of(a, "k") == 1);
	assert_int_equal(x.count, 0);
}

/* A leader that gets no answers proposes it again, and its log stays a log. */
static void
test_again_at_leader(void **state)
{
	struct env_node *n;
	struct raft_status st;
	struct outcome x;

	(void)state;
	seed_and_join();
	n = mesh_leading();
	net_isolate(n, true);
	assert_int_equal(set_key(n, "k", "1", UINT64_MAX, 60000, &x), 0);
	/* As long as it leads. */
	for (unsigned i = 0; i < 10; i++) {
		mesh_proposals_hurry(mesh_of(n));
		net_pass(50);
	}
	group_show(mesh_group(mesh_of(n)), &st);
	assert_true(st.role == RAFT_LEADER && st.last >= st.commit + 10);
	for (uint64_t i = st.first; i <= st.last; i++)
		assert_true(raft_entry_at(mesh_group(mesh_of(n))->raft, i)->index == i);
	net_heal();
	await(&x);
	assert_ended_well(&x);
	settle(3, 3);
	assert_true(version_of(a, "k") == 1);
}

static void
test_nobody_waits(void **state)
{
	struct outcome x, y;

	(void)state;
	seed_and_join();
	await_leader_known(c);
	assert_int_equal(set_key(c, "k", "1", UINT64_MAX, 10000, &x), 0);
	assert_int_equal(set_key(c, "k", "1", UINT64_MAX, 10000, &y), 0);
	mesh_forget(mesh_of(c), &x);
	await(&y);
	settle(3, 3);
	assert_int_equal(x.count, 0);
	assert_true(version_of(c, "k") == 2);
}

/* --- sessions --- */

/* A session that the group does not know (any more): said so, and the next one is opened. */
static void
test_forgotten(void **state)
{
	struct outcome x, y;

	(void)state;
	seed_and_join();
	x = set_now(b, "k", "1");
	assert_ended_well(&x);
	mesh_of(b)->client = 424242;
	assert_int_equal(set_key(b, "k", "1", UINT64_MAX, 10000, &x), 0);
	assert_int_equal(set_key(b, "k", "1", UINT64_MAX, 10000, &y), 0);
	await(&x);
	await(&y);
	assert_failed(&x, ERR_UNAVAIL, "not known");
	assert_failed(&y, ERR_UNAVAIL, "not known");
	x = set_now(b, "k", "1");
	assert_ended_well(&x);
	settle(3, 3);
	assert_true(version_of(b, "k") == 2);
}

/* Numbers begin anew with each session: leaving and joining is one. */
static void
test_after_leaving(void **state)
{
	struct outcome x;

	(void)state;
	seed_and_join();
	for (unsigned i = 0; i < 200; i++) {
		x = set_now(c, "k", "1");
		assert_ended_well(&x);
	}
	memset(&x, 0, sizeof(x));
	assert_int_equal(mesh_leave(mesh_of(c), on_outcome, &x), 0);
	await(&x);
	assert_ended_well(&x);
	settle(2, 2);
	join(c);
	settle(3, 3);
	x = set_now(c, "k", "1");
	assert_ended_well(&x);
	assert_true(version_of(a, "k") == 201);
}

/* --- memory --- */

static void
test_failing_memory(void **state)
{
	unsigned taken = 0;
	struct outcome x;

	(void)state;
	seed_and_join();
	for (unsigned long k = 1; k < 150; k++) {
		int err;

		await_leader_known(b);
		mem_fail_at(k);
		err = set_key(b, "k", "1", UINT64_MAX, 60000, &x);
		assert_true(err == 0 || err == ERR_NOMEM);
		if (err == 0) {
			await(&x);
			taken += x.err == 0;
		}
		mem_fail_at(0);
	}
	x = set_now(b, "k", "1");
	assert_ended_well(&x);
	settle(3, 3);
	assert_true(version_of(b, "k") == taken + 1 && taken > 100);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, mesh_setup, env_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_all_nodes),
	    TEST(test_refused),
	    TEST(test_once),
	    TEST(test_restarts),
	    TEST(test_transfer_from_quiet),
	    TEST(test_window),
	    TEST(test_queue_full),
	    TEST(test_time_out),
	    TEST(test_again_at_leader),
	    TEST(test_nobody_waits),
	    TEST(test_forgotten),
	    TEST(test_after_leaving),
	    TEST(test_failing_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
