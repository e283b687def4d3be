/* The control group: seeding and joining it, with others that answer or don't, and restarts in between. */
#include "tests/unit/consensusd/virtual.h"

#include "consensusd/group_impl.h"
#include "tests/unit/consensusd/mesh_user.h"

/* All lose what they had. */
static void
begin_anew(void)
{
	for (size_t i = 0; i < ENV_NODES; i++) {
		env_stop(&env.nodes[i]);
		lose_state(&env.nodes[i]);
	}
	for (size_t i = 0; i < ENV_NODES; i++)
		net_start(&env.nodes[i]);
	net_pass(10);
}

/* --- seeding --- */

static void
test_seed_alone(void **state)
{
	const struct mcg_mesh *x;

	(void)state;
	net_say(a, b, mesh_ipc_NodeStatusCode_NODE_LEFT);
	net_say(a, c, mesh_ipc_NodeStatusCode_NODE_LEFT);
	net_pass(10);
	seed(a, MCG_JOIN_TOKEN);
	settle(1, 1);
	x = mcg_mesh(mesh_mcg(mesh_of(a)));
	assert_string_equal(x->name, "test");
	assert_string_equal(x->description, "of a test");
	assert_int_equal(x->allow_join, MCG_JOIN_TOKEN);
	assert_true(mesh_leader(mesh_of(a)) == a->engine.self);
	assert_string_equal(fake_dbs[0].mesh_status, "member");
	/* It is there after a restart. */
	restart(a);
	settle(1, 1);
}

static void
test_seed_when_others_answer(void **state)
{
	(void)state;
	seed(a, MCG_JOIN_CERTIFICATE);
	settle(1, 1);
	assert_int_equal(mesh_state(mesh_of(b)), MESH_OUTSIDE);
	assert_null(mesh_group(mesh_of(b)));
}

static void
test_seed_when_others_are_silent(void **state)
{
	struct mesh_seed s = seed_of(MCG_JOIN_CERTIFICATE);
	struct outcome x = {0};

	(void)state;
	net_isolate(b, true);
	assert_int_equal(mesh_seed(mesh_of(a), &s, on_outcome, &x), 0);
	assert_int_equal(mesh_state(mesh_of(a)), MESH_ENTERING);
	await(&x);
	assert_failed(&x, ERR_UNAVAIL, "1 of 2 nodes did not say");
	assert_int_equal(mesh_state(mesh_of(a)), MESH_OUTSIDE);
	/* Unless somebody knows better. */
	s.force = true;
	x.count = 0;
	assert_int_equal(mesh_seed(mesh_of(a), &s, on_outcome, &x), 0);
	await(&x);
	assert_ended_well(&x);
}

static void
test_seed_twice(void **state)
{
	struct mesh_seed s = seed_of(MCG_JOIN_CERTIFICATE);
	struct outcome x = {0}, y = {0};

	(void)state;
	assert_int_equal(mesh_seed(mesh_of(a), &s, on_outcome, &x), 0);
	assert_int_equal(mesh_seed(mesh_of(a), &s, on_outcome, &y), ERR_AGAIN);
	assert_int_equal(mesh_join(mesh_of(a), "", 0, on_outcome, &y), ERR_AGAIN);
	await(&x);
	assert_ended_well(&x);
	assert_int_equal(mesh_seed(mesh_of(a), &s, on_outcome, &y), ERR_EXISTS);
	assert_int_equal(mesh_join(mesh_of(a), "", 0, on_outcome, &y), ERR_EXISTS);
	/* Another node is told who has one. */
	assert_int_equal(mesh_seed(mesh_of(c), &s, on_outcome, &y), 0);
	await(&y);
	assert_failed(&y, ERR_EXISTS, "of which a (");
}

/* Two at the same time: not two groups. */
static void
test_seed_at_once(void **state)
{
	struct mesh_seed s = seed_of(MCG_JOIN_CERTIFICATE);
	struct outcome x = {0}, y = {0};

	(void)state;
	assert_int_equal(mesh_seed(mesh_of(a), &s, on_outcome, &x), 0);
	assert_int_equal(mesh_seed(mesh_of(b), &s, on_outcome, &y), 0);
	await(&x);
	await(&y);
	assert_true(x.err != 0 || y.err != 0);
}

/* The first entry is refused while it is applied: nothing is left of the group. */
static void
test_seed_refused(void **state)
{
	struct mesh_seed s = seed_of(MCG_JOIN_CERTIFICATE);
	struct outcome x = {0};

	(void)state;
	assert_int_equal(mesh_seed(mesh_of(a), &s, on_outcome, &x), 0);
	env_run(&env, is_led);
	/* A session that the group does not know. */
	mesh_of(a)->client = 424242;
	mesh_of(a)->session_open = true;
	await(&x);
	assert_int_not_equal(x.err, 0);
	assert_int_equal(mesh_state(mesh_of(a)), MESH_OUTSIDE);
	seed(a, MCG_JOIN_CERTIFICATE);
	settle(1, 1);
}

/* --- joining --- */

static void
test_join(void **state)
{
	const struct mcg_member *x;

	(void)state;
	seed_and_join();
	x = mcg_member_get(mesh_mcg(mesh_of(a)), c->engine.self);
	assert_non_null(x);
	assert_string_equal(x->name, "c");
	assert_memory_equal(x->public_key, c->engine.public_key, 32);
	assert_true(mesh_leader(mesh_of(c)) == mesh_leading()->engine.self);
	for (size_t i = 0; i < ENV_NODES; i++)
		restart(&env.nodes[i]);
	settle(3, 3);
}

static void
test_join_nothing(void **state)
{
	struct outcome x;

	(void)state;
	x = try_join(b, "");
	assert_failed(&x, ERR_NOENT, "none of the 2 nodes");
	assert_int_equal(mesh_state(mesh_of(b)), MESH_OUTSIDE);
	net_say(b, a, mesh_ipc_NodeStatusCode_NODE_LEFT);
	net_say(b, c, mesh_ipc_NodeStatusCode_NODE_LEFT);
	net_pass(10);
	x = try_join(b, "");
	assert_failed(&x, ERR_UNAVAIL, "no other node");
	/* A contact that does not answer. */
	memset(&x, 0, sizeof(x));
	net_isolate(b, true);
	assert_int_equal(mesh_join(mesh_of(b), "", a->engine.self, on_outcome, &x), 0);
	await(&x);
	assert_failed(&x, ERR_UNAVAIL, "1 of them did not answer");
}

static void
test_join_nobody(void **state)
{
	struct outcome x;

	(void)state;
	seed(a, MCG_JOIN_NOBODY);
	x = try_join(b, "");
	assert_failed(&x, ERR_DENIED, "lets nobody join");
	assert_int_equal(mesh_state(mesh_of(b)), MESH_OUTSIDE);
	net_pass(100);
	assert_int_equal(fake_dbs[1].group_count, 0);
}

/* Routerd has not told the members of the node that joins: what it sends says who it is. */
static void
test_join_unknown(void **state)
{
	char token[MESH_TOKEN_SIZE];
	struct outcome x;
	struct node *n;

	(void)state;
	seed(a, MCG_JOIN_CERTIFICATE);
	n = nodes_find(&a->engine.nodes, c->engine.self);
	n->has_key = false;
	n->status = NODE_STATUS_UNKNOWN;
	/* Whether it has a certificate nobody has seen; a token is as good. */
	x = try_join(c, "");
	assert_failed(&x, ERR_AGAIN, "certificate");
	n->status = NODE_STATUS_ALIVE;
	join(c);
	assert_true(n->has_key);
	settle(2, 1);
	begin_anew();
	seed(a, MCG_JOIN_TOKEN);
	n = nodes_find(&a->engine.nodes, c->engine.self);
	n->has_key = false;
	n->status = NODE_STATUS_UNKNOWN;
	assert_int_equal(mesh_token(mesh_of(a), 0, clock_unix_ms() + 10000, token), 0);
	x = try_join(c, token);
	assert_ended_well(&x);
	n->status = NODE_STATUS_ALIVE;
	settle(2, 1);
}

/* With frames that are lost, doubled and late. */
static void
test_join_badly(void **state)
{
	struct outcome x = {0};

	(void)state;
	seed(a, MCG_JOIN_CERTIFICATE);
	net.lose_percent = 30;
	net.double_percent = net.delay_percent = 20;
	for (unsigned i = 0; i < 20 && mesh_state(mesh_of(b)) != MESH_MEMBER; i++)
		x = try_join(b, "");
	assert_ended_well(&x);
	for (unsigned i = 0; i < 20 && mesh_state(mesh_of(c)) != MESH_MEMBER; i++)
		x = try_join(c, "");
	assert_ended_well(&x);
	net_heal();
	settle(3, 3);
	assert_int_equal(mcg_member_count(mesh_mcg(mesh_of(a))), 3);
}

/* --- restarts in between --- */

static void
ignore(void *ctx, const struct mesh_outcome *o)
{
	(void)ctx;
	(void)o;
}

/* Whenever the process ends while it seeds: there is a group with a key, or nothing stands in the way. */
static void
test_seed_interrupted(void **state)
{
	struct mesh_seed s = seed_of(MCG_JOIN_CERTIFICATE);
	unsigned outside = 0;

	(void)state;
	for (unsigned i = 0; i < 60; i++) {
		assert_int_equal(mesh_seed(mesh_of(a), &s, ignore, NULL), 0);
		net_until = (struct mono){clock_mono().us + i * 2000};
		env_run(&env, net_time_over);
		restart(a);
		net_pass(5000);
		outside += mesh_state(mesh_of(a)) == MESH_OUTSIDE;
		if (mesh_state(mesh_of(a)) == MESH_OUTSIDE)
			seed(a, MCG_JOIN_CERTIFICATE);
		settle(1, 1);
		env_stop(a);
		lose_state(a);
		net_start(a);
		net_pass(10);
	}
	assert_in_range(outside, 1, 59);
}

static bool
b_has_ended(struct env *e)
{
	(void)e;
	return mesh_of(b)->entering.kind == MESH_ENTRY_NONE;
}

static void
test_join_interrupted(void **state)
{
	unsigned outside = 0;

	(void)state;
	seed(a, MCG_JOIN_CERTIFICATE);
	settle(1, 1);
	for (unsigned i = 0; i < 60; i++) {
		struct outcome x = {0};

		assert_int_equal(mesh_join(mesh_of(b), "", 0, ignore, NULL), 0);
		net_until = (struct mono){clock_mono().us + i * (i % 2 ? 20 : 2000)};
		env_run(&env, net_time_over);
		fake_dbs[1].hold = i % 3 == 2;
		restart(b);
		fake_dbs[1].hold = false;
		fake_changed(&fake_dbs[1]);
		env_run(&env, b_has_ended);
		outside += mesh_state(mesh_of(b)) == MESH_OUTSIDE;
		if (mesh_state(mesh_of(b)) == MESH_OUTSIDE)
			join(b);
		settle(2, 1);
		await_leader_known(b);
		assert_int_equal(mesh_leave(mesh_of(b), on_outcome, &x), 0);
		await(&x);
		assert_ended_well(&x);
		settle(1, 1);
	}
	assert_in_range(outside, 1, 59);
}

/* What the node says after it has made a replica is lost. */
static bool
lose_when_made(struct env *e, size_t from, struct frame *f)
{
	return !(from == 1 && f->type == FRAME_CONTROL && mesh_of(b)->group != NULL) &&
	       net_filter(e, from, f);
}

static bool
b_made_replica(struct env *e)
{
	(void)e;
	return fake_dbs[1].group_count != 0;
}

/* It has made a replica, and nobody was asked to admit it. */
static void
leave_half_done(void)
{
	seed(a, MCG_JOIN_CERTIFICATE);
	env.filter = lose_when_made;
	assert_int_equal(mesh_join(mesh_of(b), "", 0, ignore, NULL), 0);
	env_run(&env, b_made_replica);
	env_stop(b);
	env.filter = net_filter;
	net_start(b);
	assert_int_equal(mesh_state(mesh_of(b)), MESH_ENTERING);
}

/* Somebody who joins does not wait for what the process before left undone. */
static void
test_join_after_interruption(void **state)
{
	(void)state;
	leave_half_done();
	join(b);
	settle(2, 1);
}

static void
test_seed_after_interruption(void **state)
{
	struct mesh_seed s = seed_of(MCG_JOIN_CERTIFICATE);
	struct outcome x = {0};

	(void)state;
	leave_half_done();
	assert_int_equal(mesh_seed(mesh_of(b), &s, on_outcome, &x), 0);
	await(&x);
	assert_failed(&x, ERR_EXISTS, "join it");
	assert_int_equal(mesh_state(mesh_of(b)), MESH_OUTSIDE);
}

/* If nobody cares, it finds out by itself that it is no member. */
static void
test_nobody_cares(void **state)
{
	(void)state;
	leave_half_done();
	env_run(&env, b_has_ended);
	assert_int_equal(mesh_state(mesh_of(b)), MESH_OUTSIDE);
	net_pass(100);
	assert_int_equal(fake_dbs[1].group_count, 0);
	join(b);
	settle(2, 1);
}

/* --- what was lost --- */

static bool
c_is_member(struct env *e)
{
	(void)e;
	return is_member_now(c);
}

static void
test_state_lost(void **state)
{
	uint64_t before;

	(void)state;
	seed_and_join();
	before = mcg_member_get(mesh_mcg(mesh_of(a)), c->engine.self)->replica;
	env_stop(c);
	lose_state(c);
	net_start(c);
	assert_int_equal(mesh_state(mesh_of(c)), MESH_OUTSIDE);
	env_run(&env, c_is_member);
	settle(3, 3);
	assert_true(mcg_member_get(mesh_mcg(mesh_of(a)), c->engine.self)->replica != before);
}

static int
update_at(struct env_node *n, struct outcome *x)
{
	struct ulid id;

	engine_ulid(&n->engine, &id);
	return mesh_update(mesh_of(n), MCG_UPDATE_MESH, &id, "t", "", 0, 60000, on_outcome, x);
}

static void
test_rolled_back(void **state)
{
	struct outcome x = {0};

	(void)state;
	seed_and_join();
	restart_rolled_back(c);
	assert_int_equal(mesh_state(mesh_of(c)), MESH_ENTERING);
	/* What is refused now is not refused for good. */
	assert_int_equal(update_at(c, &x), ERR_UNAVAIL);
	assert_int_equal(mesh_read(mesh_of(c), 1000, on_outcome, &x), ERR_UNAVAIL);
	assert_int_equal(mesh_stop(mesh_of(c), true, on_outcome, &x), ERR_UNAVAIL);
	env_run(&env, c_is_member);
	settle(3, 3);
	await_leader_known(c);
	assert_int_equal(update_at(c, &x), 0);
	await(&x);
	assert_ended_well(&x);
}

/* The others have gone on without its replica: what waits may be tried again. */
static void
test_replica_gone(void **state)
{
	struct outcome x = {0};
	struct raft_msg m = {.kind = RAFT_GONE, .from = 1, .index = INT64_MAX};
	struct group *g;

	(void)state;
	seed_and_join();
	await_leader_known(c);
	net_isolate(c, true);
	assert_int_equal(update_at(c, &x), 0);
	g = mesh_group(mesh_of(c));
	m.to = g->replica;
	raft_step(g->raft, &m, clock_mono());
	group_touch(g);
	await(&x);
	assert_failed(&x, ERR_UNAVAIL, "no such replica");
	assert_int_equal(mesh_state(mesh_of(c)), MESH_ENTERING);
	net_heal();
	env_run(&env, c_is_member);
	settle(3, 3);
}

static bool
c_tries(struct env *e)
{
	(void)e;
	return mesh_of(c)->entering.kind == MESH_ENTRY_AGAIN;
}

/* Who joins again without end, because nobody is there to join, may be told to begin anew. */
static void
test_again_gives_way(void **state)
{
	struct mesh_seed s = seed_of(MCG_JOIN_CERTIFICATE);
	struct outcome x = {0};

	(void)state;
	seed_and_join();
	env_stop(c);
	lose_state(c);
	net_start(c);
	env_run(&env, c_tries);
	for (size_t i = 0; i < 2; i++) {
		env_stop(&env.nodes[i]);
		lose_state(&env.nodes[i]);
		net_start(&env.nodes[i]);
	}
	net_pass(10000);
	assert_int_equal(mesh_state(mesh_of(c)), MESH_ENTERING);
	assert_int_equal(mesh_seed(mesh_of(c), &s, on_outcome, &x), 0);
	await(&x);
	assert_ended_well(&x);
	join(a);
	join(b);
	settle(3, 3);
}

/* Or to leave it. */
static void
test_again_left(void **state)
{
	struct outcome x = {0};

	(void)state;
	mesh_enter_again(mesh_of(c));
	net_pass(5000);
	assert_int_equal(mesh_state(mesh_of(c)), MESH_ENTERING);
	assert_int_equal(mesh_leave(mesh_of(c), on_outcome, &x), 0);
	await(&x);
	assert_ended_well(&x);
	assert_int_equal(mesh_state(mesh_of(c)), MESH_OUTSIDE);
	net_pass(10000);
	assert_int_equal(mesh_state(mesh_of(c)), MESH_OUTSIDE);
	assert_int_equal(mesh_leave(mesh_of(c), on_outcome, &x), ERR_STATE);
}

/* A node that never was a member is spoken to: it asks, and gives up. */
static void
test_again_denied(void **state)
{
	(void)state;
	seed(a, MCG_JOIN_CERTIFICATE);
	mesh_enter_again(mesh_of(c));
	assert_int_equal(mesh_state(mesh_of(c)), MESH_ENTERING);
	net_pass(10000);
	assert_int_equal(mesh_state(mesh_of(c)), MESH_OUTSIDE);
	join(c);
	settle(2, 1);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, mesh_setup, env_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_seed_alone),
	    TEST(test_seed_when_others_answer),
	    TEST(test_seed_when_others_are_silent),
	    TEST(test_seed_twice),
	    TEST(test_seed_at_once),
	    TEST(test_seed_refused),
	    TEST(test_join),
	    TEST(test_join_nothing),
	    TEST(test_join_nobody),
	    TEST(test_join_unknown),
	    TEST(test_join_badly),
	    TEST(test_seed_interrupted),
	    TEST(test_join_interrupted),
	    TEST(test_join_after_interruption),
	    TEST(test_seed_after_interruption),
	    TEST(test_nobody_cares),
	    TEST(test_state_lost),
	    TEST(test_rolled_back),
	    TEST(test_replica_gone),
	    TEST(test_again_gives_way),
	    TEST(test_again_left),
	    TEST(test_again_denied),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
