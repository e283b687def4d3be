/* A group of streams that has none any more: its end, at the source and at targets, in a time of the test's
 * own. */
#include "tests/unit/consensusd/virtual.h"

#include "tests/unit/consensusd/relation_user.h"

#define S1 "01ARZ3NDEKTSV4RRFFQ69G5001"
#define S2 "01ARZ3NDEKTSV4RRFFQ69G5002"

/* Groups are looked at so often; what follows is written and told to others within that, too. */
enum { SLACK_MS = 2 * RELATION_DUTY_MS };
/* More than raft-quiet is. */
enum { QUIET_MS = 7000 };

static struct env_node *const a = &env.nodes[0], *const b = &env.nodes[1], *const c = &env.nodes[2];
static struct mono pass_until;

static bool
time_over(struct env *e)
{
	(void)e;
	return !mono_before(clock_mono(), pass_until);
}

static void
pass(int64_t ms)
{
	pass_until = mono_add_ms(clock_mono(), ms);
	env_run(&env, time_over);
}

static struct relation *
relation_at(const struct env_node *n)
{
	return n->engine.relations->all;
}

static bool
has_voters(struct env *e)
{
	return relation_votes(relation_at(&e->nodes[0]));
}

static size_t
rows_at(const struct env_node *n)
{
	const struct fake_db *d = &fake_dbs[n->index];
	size_t count = 0;

	for (size_t i = 0; i < d->group_count; i++)
		count += d->groups[i]->row.type == STORE_RAFT_DSG;
	return count;
}

/* Groups that it has, and that its database has; these two are the same when nothing is under way. */
static size_t
groups_at(const struct env_node *n)
{
	size_t count = relations_count(n->engine.relations);

	assert_int_equal(rows_at(n), count);
	return count;
}

/* S1 to both others has been used; there are three replicas of its group. */
static void
begin(void)
{
	assert_int_equal(env_open(a, "one", S1, "bc")->replies, 1);
	until(has_voters, 3);
	subscribe(b);
	subscribe(c);
	publish_to(S1, 10);
	until(confirmed, 10);
}

static void
close_stream(const char *stream)
{
	env_close(a, 3, stream);
	assert_int_equal(env_wait(a, 3)->replies, 1);
}

/* The second stream, in a group with all its members. */
static void
carries_again(void)
{
	until(has_voters, 3);
	env_forget(a, 2);
	publish_to(S2, 10);
	until(confirmed, 10);
}

static bool
unused(struct env *e)
{
	for (size_t i = 0; i < ENV_NODES; i++) {
		if (mono_is_never(relation_at(&e->nodes[i])->unused_since))
			return false;
	}
	return true;
}

static void
test_dissolved(void **state)
{
	(void)state;
	begin();
	pass(10 * RELATION_UNUSED_SOURCE_MS);
	assert_int_equal(groups_at(a), 1);
	close_stream(S1);
	env_run(&env, unused);
	pass(RELATION_UNUSED_SOURCE_MS - SLACK_MS);
	for (size_t i = 0; i < ENV_NODES; i++)
		assert_int_equal(groups_at(&env.nodes[i]), 1);
	/* The targets' replicas are let go, and end long before they would of themselves. */
	pass(RELATION_LETTING_GO_MS);
	assert_int_equal(groups_at(a), 1); /* to tell them */
	assert_int_equal(groups_at(b), 0);
	assert_int_equal(groups_at(c), 0);
	pass(3 * SLACK_MS);
	assert_int_equal(groups_at(a), 0);
	/* The next stream has another one. */
	assert_int_equal(env_open(a, "one", S2, "bc")->replies, 1);
	carries_again();
	assert_int_equal(groups_at(a), 1);
}

static bool
b_leads(struct env *e)
{
	struct raft_status st;

	group_show(relation_at(&e->nodes[1])->group, &st);
	return st.role == RAFT_LEADER;
}

/* A target leads while no stream is there, and nobody says anything any more: the source of the next one
 * leads. */
static void
test_quiet(void **state)
{
	struct raft_member_status s;
	struct raft_status st;

	(void)state;
	begin();
	close_stream(S1);
	env_run(&env, unused);
	for (size_t i = 0; group_member_at(relation_at(a)->group, i, &s); i++)
		if (s.member.node == b->engine.self)
			break;
	assert_int_equal(group_transfer(relation_at(a)->group, s.member.id), 0);
	env_run(&env, b_leads);
	pass(QUIET_MS);
	group_show(relation_at(b)->group, &st);
	assert_true(st.quiet && st.role == RAFT_LEADER);
	assert_int_equal(env_open(a, "one", S2, "bc")->replies, 1);
	carries_again();
}

/* A stream that is opened before it is over keeps the group, and the time begins anew when that is closed. */
static void
test_used_again(void **state)
{
	uint8_t id[STORE_GROUP_BYTES];

	(void)state;
	begin();
	memcpy(id, relation_at(a)->id, sizeof(id));
	close_stream(S1);
	env_run(&env, unused);
	pass(RELATION_UNUSED_SOURCE_MS - SLACK_MS);
	assert_int_equal(env_open(a, "one", S2, "bc")->replies, 1);
	pass(3 * RELATION_UNUSED_TARGET_MS);
	for (size_t i = 0; i < ENV_NODES; i++) {
		assert_int_equal(groups_at(&env.nodes[i]), 1);
		assert_memory_equal(relation_at(&env.nodes[i])->id, id, sizeof(id));
	}
	carries_again();
	close_stream(S2);
	env_run(&env, unused);
	pass(RELATION_UNUSED_SOURCE_MS - SLACK_MS);
	assert_int_equal(groups_at(a), 1);
	pass(RELATION_LETTING_GO_MS + 2 * SLACK_MS);
	for (size_t i = 0; i < ENV_NODES; i++)
		assert_int_equal(groups_at(&env.nodes[i]), 0);
}

/* One that comes when the targets' replicas have been let go already begins with new ones. */
static void
test_opened_too_late(void **state)
{
	(void)state;
	begin();
	close_stream(S1);
	env_run(&env, unused);
	pass(RELATION_UNUSED_SOURCE_MS + RELATION_LETTING_GO_MS / 2);
	assert_int_equal(groups_at(a), 1);
	assert_int_equal(env_open(a, "one", S2, "bc")->replies, 1);
	carries_again();
	pass(3 * RELATION_UNUSED_TARGET_MS);
	for (size_t i = 0; i < ENV_NODES; i++)
		assert_int_equal(groups_at(&env.nodes[i]), 1);
	until(has_voters, 3);
}

static bool
without_c(struct env *e, size_t from, struct frame *f)
{
	(void)e;
	return from != c->index && frame_dst(f) != c->engine.self;
}

/* A target that can't be reached hears nothing of the end: its replica goes later, and nobody waits for it.
 */
static void
test_away(void **state)
{
	(void)state;
	begin();
	close_stream(S1);
	env_run(&env, unused);
	env.filter = without_c;
	pass(2 * RELATION_UNUSED_SOURCE_MS + 5 * SLACK_MS);
	assert_int_equal(groups_at(a), 0);
	assert_int_equal(groups_at(b), 0);
	assert_int_equal(groups_at(c), 1);
	pass(RELATION_UNUSED_TARGET_MS - 2 * RELATION_UNUSED_SOURCE_MS);
	assert_int_equal(groups_at(c), 0);
}

/* A restart in between changes nothing but when it ends. */
static void
test_restarted(void **state)
{
	(void)state;
	begin();
	close_stream(S1);
	env_run(&env, unused);
	for (size_t i = 0; i < ENV_NODES; i++) {
		env_stop(&env.nodes[i]);
		env.nodes[i].identities = env.nodes[i].health = 0;
	}
	for (size_t i = 0; i < ENV_NODES; i++)
		env_start(&env.nodes[i]);
	env_run(&env, env_ready);
	pass(RELATION_UNUSED_TARGET_MS + SLACK_MS);
	for (size_t i = 0; i < ENV_NODES; i++)
		assert_int_equal(groups_at(&env.nodes[i]), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, env_setup, env_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_dissolved),
	    TEST(test_quiet),
	    TEST(test_used_again),
	    TEST(test_opened_too_late),
	    TEST(test_away),
	    TEST(test_restarted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
