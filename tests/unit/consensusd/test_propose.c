/* mesh_propose: more proposals than may be under way at once, and such as have to be made again. */
#include "tests/unit/consensusd/env.h"

#include "common/base/be.h"
#include "consensusd/core/raft_entry.h"
#include "consensusd/group_impl.h"
#include "consensusd/mesh_impl.h"

enum { PROPOSALS_MAX = MESH_PROPOSALS_MAX + MESH_QUEUE_MAX + 16, LONG_MS = 60000 };

static struct env_node *const a = &env.nodes[0];

static struct outcome {
	unsigned count;
	int err;
	uint64_t index;
} outcomes[PROPOSALS_MAX];
static unsigned done;

static void
on_outcome(void *ctx, const struct mesh_outcome *o)
{
	struct outcome *x = ctx;

	x->count++;
	x->err = o->err;
	x->index = o->index;
	done++;
	env_touch(&env);
}

static bool
seeded(struct env *e)
{
	(void)e;
	return outcomes[0].count == 1;
}

/* A control group that has one member: what its database has is committed. */
static int
setup(void **state)
{
	struct mesh_seed seed = {.name = "m", .allow_join = MCG_JOIN_CERTIFICATE, .voters = 3, .force = true};
	int err = env_setup(state);

	memset(outcomes, 0, sizeof(outcomes));
	assert_int_equal(mesh_seed(a->engine.mesh, &seed, on_outcome, &outcomes[0]), 0);
	env_run(&env, seeded);
	assert_int_equal(outcomes[0].err, 0);
	memset(outcomes, 0, sizeof(outcomes));
	done = 0;
	return err;
}

static int
propose(unsigned i, uint32_t timeout_ms, size_t len)
{
	static uint8_t payload[MCG_UPDATE_MAX_BYTES];
	struct mcg_cmd c = {.type = MCG_UPDATE};

	c.u.update =
	    (struct mcg_cmd_update){.kind = MCG_UPDATE_MESH, .type = "t", .payload = payload, .len = len};
	be_store32(c.u.update.id.b, i + 1);
	return mesh_propose(a->engine.mesh, &c, timeout_ms, on_outcome, &outcomes[i]);
}

static void
propose_ok(unsigned from, unsigned end, uint32_t timeout_ms)
{
	for (unsigned i = from; i < end; i++)
		assert_int_equal(propose(i, timeout_ms, 8), 0);
}

static void
hold(bool on)
{
	fake_dbs[0].hold = on;
	fake_changed(&fake_dbs[0]);
}

static unsigned wanted;

static bool
enough(struct env *e)
{
	(void)e;
	return done >= wanted;
}

static void
until_done(unsigned count)
{
	wanted = count;
	env_run(&env, enough);
	assert_int_equal(done, count);
}

static void
expect_done(unsigned from, unsigned end, int err)
{
	for (unsigned i = from; i < end; i++) {
		assert_int_equal(outcomes[i].count, 1);
		assert_int_equal(outcomes[i].err, err);
	}
}

/* --- what waits --- */

static void
test_queue(void **state)
{
	const unsigned count = MESH_PROPOSALS_MAX + MESH_QUEUE_MAX;
	int64_t refused = stats.mesh_refused.value;

	(void)state;
	hold(true);
	propose_ok(0, count, LONG_MS);
	assert_int_equal(propose(count, LONG_MS, 8), ERR_FULL);
	assert_int_equal(stats.mesh_refused.value - refused, 1);
	assert_int_equal(stats.mesh_proposals.value, MESH_PROPOSALS_MAX);
	assert_int_equal(stats.mesh_queued.value, MESH_QUEUE_MAX);
	hold(false);
	until_done(count);
	expect_done(0, count, 0);
	/* In the order in which they came. */
	for (unsigned i = 1; i < count; i++)
		assert_true(outcomes[i].index > outcomes[i - 1].index);
	assert_int_equal(stats.mesh_proposals.value + stats.mesh_queued.value, 0);
	assert_int_equal(a->engine.mesh->queue_bytes, 0);
}

static void
test_queue_bytes(void **state)
{
	unsigned i = 0;
	int err;

	(void)state;
	hold(true);
	do
		err = propose(i++, LONG_MS, MCG_UPDATE_MAX_BYTES);
	while (err == 0);
	assert_int_equal(err, ERR_FULL);
	/* The log's limit, then that of what waits. */
	assert_in_range(a->engine.mesh->queue_bytes, MESH_QUEUE_MAX_BYTES - 2 * MCG_UPDATE_MAX_BYTES,
	    MESH_QUEUE_MAX_BYTES);
	assert_in_range(i, (GROUP_UNCOMMITTED_BYTES + MESH_QUEUE_MAX_BYTES) / MCG_UPDATE_MAX_BYTES - 4,
	    (GROUP_UNCOMMITTED_BYTES + MESH_QUEUE_MAX_BYTES) / MCG_UPDATE_MAX_BYTES + 4);
	hold(false);
	until_done(i - 1);
	expect_done(0, i - 1, 0);
}

/* Whoever waits for room longer than he wants was never heard: his update is not there. */
static void
test_queue_time(void **state)
{
	const unsigned first = MESH_PROPOSALS_MAX;
	const struct mcg *mcg = mesh_mcg(a->engine.mesh);
	struct mcg_update u = {0};
	unsigned updates = 0;

	(void)state;
	hold(true);
	propose_ok(0, first, LONG_MS);
	propose_ok(first, first + 10, 50);
	propose_ok(first + 10, first + 20, LONG_MS);
	until_done(10);
	expect_done(first, first + 10, ERR_TIMEOUT);
	hold(false);
	until_done(first + 20);
	expect_done(0, first, 0);
	expect_done(first + 10, first + 20, 0);
	while (mcg_update_after(mcg, u.index, &u))
		updates++;
	assert_int_equal(updates, first + 10);
}

static void
test_queue_ends(void **state)
{
	const unsigned count = MESH_PROPOSALS_MAX + 50;

	(void)state;
	hold(true);
	propose_ok(0, count, LONG_MS);
	mesh_forget(a->engine.mesh, &outcomes[count - 1]);
	mesh_proposals_fail(a->engine.mesh, ERR_STATE, "out");
	expect_done(0, count - 1, ERR_STATE);
	assert_int_equal(outcomes[count - 1].count, 0);
	hold(false);
	/* Another session begins. */
	done = 0;
	memset(outcomes, 0, sizeof(outcomes));
	propose_ok(200, 210, LONG_MS);
	until_done(10);
	expect_done(200, 210, 0);
}

/* --- again --- */

static struct raft *
log_of_a(void)
{
	return mesh_group(a->engine.mesh)->raft;
}

static bool
proposed_again(struct env *e)
{
	struct raft_status st;

	(void)e;
	raft_show(log_of_a(), &st);
	return st.last >= st.commit + 10;
}

/* What is not committed for long is proposed again, and then in the log twice: each in its own place. */
static void
test_again(void **state)
{
	struct raft_status st;

	(void)state;
	propose_ok(0, 1, LONG_MS); /* opens the session */
	until_done(1);
	hold(true);
	propose_ok(1, 6, LONG_MS);
	env_run(&env, proposed_again);
	raft_show(log_of_a(), &st);
	for (uint64_t i = st.first; i <= st.last; i++)
		assert_int_equal(raft_entry_at(log_of_a(), i)->index, i);
	hold(false);
	until_done(6);
	expect_done(0, 6, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_queue, setup, env_teardown),
	    cmocka_unit_test_setup_teardown(test_queue_bytes, setup, env_teardown),
	    cmocka_unit_test_setup_teardown(test_queue_time, setup, env_teardown),
	    cmocka_unit_test_setup_teardown(test_queue_ends, setup, env_teardown),
	    cmocka_unit_test_setup_teardown(test_again, setup, env_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
