/* The control group when memory is short: whichever allocation fails, what was asked for is done, or refused
 * and can be asked for again; and all nodes have the same state. */
#include "tests/unit/consensusd/virtual.h"

#include "tests/unit/consensusd/mesh_user.h"

/* From now on the k-th allocation fails, and there is no room left over for deadlines. */
static void
spoil(struct env_node *n, unsigned long k)
{
	n->engine.deadlines.cap = n->engine.deadlines.count;
	mem_fail_at(k);
}

static void
begin_again(struct env_node *n)
{
	env_stop(n);
	lose_state(n);
	net_start(n);
	net_pass(10);
}

static void
test_seed(void **state)
{
	struct mesh_seed s = seed_of(MCG_JOIN_CERTIFICATE);
	unsigned failed = 0;

	(void)state;
	for (unsigned long k = 1; k < 120; k++) {
		struct outcome x = {0};
		int err;

		spoil(a, k);
		if ((err = mesh_seed(mesh_of(a), &s, on_outcome, &x)) == 0) {
			await(&x);
			err = x.err;
		}
		net_mend_all();
		if (err != 0) {
			failed++;
			assert_true(err == ERR_NOMEM || err == ERR_UNAVAIL || err == ERR_TIMEOUT);
			assert_int_equal(mesh_state(mesh_of(a)), MESH_OUTSIDE);
			seed(a, MCG_JOIN_CERTIFICATE);
		}
		settle(1, 1);
		begin_again(a);
	}
	assert_in_range(failed, 1, 60);
}

static void
test_join(void **state)
{
	unsigned failed = 0;

	(void)state;
	seed(a, MCG_JOIN_CERTIFICATE);
	settle(1, 1);
	for (unsigned long k = 1; k < 160; k++) {
		struct outcome x = {0};
		int err;

		spoil(k % 2 ? a : b, k / 2 + 1);
		if ((err = mesh_join(mesh_of(b), "", 0, on_outcome, &x)) == 0) {
			await(&x);
			err = x.err;
		}
		net_mend_all();
		if (err != 0) {
			failed++;
			assert_int_equal(mesh_state(mesh_of(b)), MESH_OUTSIDE);
			join(b);
		}
		settle(2, 1);
		await_leader_known(b);
		memset(&x, 0, sizeof(x));
		assert_int_equal(mesh_leave(mesh_of(b), on_outcome, &x), 0);
		await(&x);
		assert_ended_well(&x);
		settle(1, 1);
	}
	assert_in_range(failed, 1, 60);
}

/* Voters are made, keys sealed, members let go, all with failures now and then. */
static void
test_duties(void **state)
{
	(void)state;
	seed(a, MCG_JOIN_CERTIFICATE);
	for (unsigned round = 0; round < 12; round++) {
		struct outcome x = {0};

		for (unsigned i = 0; i < 2; i++) {
			struct env_node *n = &env.nodes[1 + i];

			for (unsigned long k = 1; mesh_state(mesh_of(n)) != MESH_MEMBER; k++) {
				spoil(&env.nodes[k % 3], 1 + rng_below(&env.rng, 60));
				memset(&x, 0, sizeof(x));
				if (mesh_join(mesh_of(n), "", 0, on_outcome, &x) == 0)
					await(&x);
				net_mend_all();
				assert_true(k < 100);
			}
		}
		for (unsigned i = 0; i < 60; i++) {
			spoil(&env.nodes[i % 3], 1 + rng_below(&env.rng, 40));
			net_pass(50);
			net_mend_all();
		}
		settle(3, 3);
		for (unsigned i = 0; i < 2; i++) {
			struct env_node *n = &env.nodes[1 + i];

			memset(&x, 0, sizeof(x));
			await_leader_known(n);
			assert_int_equal(mesh_leave(mesh_of(n), on_outcome, &x), 0);
			for (unsigned k = 0; x.count == 0; k++) {
				spoil(&env.nodes[k % 3], 1 + rng_below(&env.rng, 40));
				net_pass(20);
				net_mend_all();
			}
			assert_ended_well(&x);
		}
		settle(1, 1);
	}
}

/* Calls of the API. */
static void
send_all(struct env_node *n, uint32_t first)
{
	const mesh_v1_RotateKeyReq rotate = {.mesh_id = ""};
	const mesh_v1_MeshSettings settings = {.has_description = true, .description = "d"};
	const mesh_v1_MeshUpdate update = {.type = "t", .has_wait = true, .wait = {.mode = "all"}};
	const mesh_v1_ConfigEntry config = {.key = "k", .removed = true};
	const mesh_v1_ConfigReq get = {.key = ""};

	env_send_pb(n->gateway, GC_ROTATE_KEY, first, mesh_v1_RotateKeyReq_fields, &rotate);
	env_send_pb(n->gateway, GC_SETTINGS, first + 1, mesh_v1_MeshSettings_fields, &settings);
	env_send_pb(n->gateway, GC_MESH_UPDATE, first + 2, mesh_v1_MeshUpdate_fields, &update);
	env_send_pb(n->gateway, GC_CONFIG_SET, first + 3, mesh_v1_ConfigEntry_fields, &config);
	env_send_pb(n->gateway, GC_CONFIG_GET, first + 4, mesh_v1_ConfigReq_fields, &get);
	env_send_pb(n->gateway, GC_CONFIG_HISTORY, first + 5, mesh_v1_ConfigReq_fields, &get);
	assert_int_equal(channel_send(n->gateway, GC_LIST_GROUPS, first + 6, NULL, 0), 0);
	assert_int_equal(channel_send(n->gateway, GC_LIST_KEYS, first + 7, NULL, 0), 0);
}

static void
test_calls(void **state)
{
	unsigned answered = 0;

	(void)state;
	seed_and_join();
	for (unsigned long k = 1; k < 250; k++) {
		for (uint32_t id = 2; id < 10; id++)
			env_forget(b, id);
		await_leader_known(b);
		send_all(b, 2);
		spoil(b, k);
		net_pass(3000);
		net_mend_all();
		net_pass(12000);
		for (uint32_t id = 2; id < 10; id++) {
			const struct env_call *x = &b->calls[id];

			/* Each ends once; but for an answer that there was no memory to send. */
			assert_true(x->replies + x->done <= 1);
			answered += x->replies + x->done;
		}
	}
	assert_true(answered >= 248 * 8);
	settle(3, 3);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, mesh_setup, env_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_seed),
	    TEST(test_join),
	    TEST(test_duties),
	    TEST(test_calls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
