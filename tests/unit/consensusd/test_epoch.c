/* Crashes of a source whose group knows more than is left: what was published in an earlier producer epoch
 * arrives, whatever is begun anew meanwhile, and so does what takes the place of what was lost. */
#include "tests/unit/consensusd/relation_watch.h"

/* So many are not kept back for those that come while the database works. */
enum { MANY = 600, WHOLE = 2 * 256 /* and so many are batches of the same size each time */ };

static void
fence(void)
{
	assert_int_equal(env_open_policy(a, S1, "", "", 0, true)->replies, 1);
}

static bool
durable(struct env *e)
{
	return e->nodes[0].engine.sources->stream->durable_seq >= wanted;
}

/* The target has the stream's newest meta, in its database. */
static bool
knows(struct env *e)
{
	return fake_dbs[1].rows[0].revision == e->nodes[0].engine.sources->row.revision;
}

/* The target hears of the new epoch with the stream's meta, before it has all of the one before, and
 * restarts. */
static void
test_target_hears_early(void **state)
{
	(void)state;
	begin("b", 1);
	publish_to(S1, 10);
	until(confirmed, 10);
	env.filter = env_no_data;
	publish_to(S1, 5);
	until(durable, 15);
	fence();
	restart(a);
	env_forget(a, 2);
	env_run(&env, knows);
	restart(b);
	env.filter = NULL;
	subscribe(b);
	publish_to(S1, 1);
	until(confirmed, 1);
	assert_int_equal(a->calls[2].last_seq, 16);
	assert_int_equal(b->calls[9].items, 6);
	assert_false(b->calls[9].out_of_order);
	assert_int_equal(b->engine.sinks->target->epoch, 2);
}

/* The group has a batch of an epoch that the source did not remember when it crashed. */
static void
test_log_ahead_of_epoch(void **state)
{
	(void)state;
	begin("bc", 3);
	publish_to(S1, 10);
	until(confirmed, 10);
	fake_dbs[0].hold = true;
	env_fence(a, 4, S1);
	publish_to(S1, MANY);
	until(fixed, 11);
	assert_int_equal(dsg_at(relation_of(S1)->state, 0)->epoch, 2);
	env_stop(a);
	assert_int_equal(a->calls[4].replies, 0);
	fake_dbs[0].hold = false;
	start(a);
	assert_int_equal(a->engine.sources->stream->durable_seq, 10);
	assert_int_equal(a->engine.sources->row.epoch, 1);
	env_forget(a, 2);
	publish_to(S1, 5);
	until(confirmed, 5);
	assert_int_equal(a->calls[2].last_seq, 15);
	fence();
	publish_to(S1, 5);
	until(confirmed, 10);
	assert_int_equal(b->engine.sinks->target->epoch, 2);
}

static bool
nothing(struct env *e, size_t from, struct frame *f)
{
	(void)e, (void)from, (void)f;
	return false;
}

/* The group has batches that were lost when the source crashed; it makes others, and crashes again before it
 * has led the group: these are durable, but not what that has. */
static void
test_log_ahead_of_two_lives(void **state)
{
	(void)state;
	begin("bc", 3);
	publish_to(S1, 10);
	until(confirmed, 10);
	fake_dbs[0].hold = true;
	publish_to(S1, WHOLE);
	until(fixed, 11);
	env_stop(a);
	fake_dbs[0].hold = false;
	env.filter = nothing;
	start(a);
	assert_int_equal(a->engine.sources->stream->durable_seq, 10);
	env_forget(a, 2);
	publish_to(S1, 2 * WHOLE);
	until(durable, 10 + 2 * WHOLE);
	restart(a);
	env_forget(a, 2);
	env.filter = NULL;
	publish_to(S1, 5);
	until(confirmed, 5);
	assert_int_equal(a->calls[2].last_seq, 15 + 2 * WHOLE);
	assert_false(b->calls[9].out_of_order);
	assert_int_equal(b->engine.sinks->target->processed_seq, 15 + 2 * WHOLE);
}

/* And from then on its database commits nothing. */
static bool
fenced(struct env *e)
{
	fake_dbs[0].hold = e->nodes[0].calls[4].replies == 1;
	return fake_dbs[0].hold;
}

/* Where the new one begins is durable, and all that was published before it. */
static void
test_begins_behind_what_is_durable(void **state)
{
	mesh_v1_StreamHandle h;

	(void)state;
	begin("b", 1);
	for (int i = 1; i <= 20; i++) {
		publish_to(S1, 3);
		env_fence(a, 4, S1);
		env_run(&env, fenced);
		assert_int_equal(pb_unpack(buf_head(&a->calls[4].body), buf_left(&a->calls[4].body),
				     mesh_v1_StreamHandle_fields, &h),
		    0);
		env_stop(a);
		fake_dbs[0].hold = false;
		start(a);
		assert_int_equal(h.next_seq, 3 * i + 1);
		assert_int_equal(a->engine.sources->stream->next_seq, h.next_seq);
		env_forget(a, 2);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, env_setup, env_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_target_hears_early),
	    TEST(test_log_ahead_of_epoch),
	    TEST(test_log_ahead_of_two_lives),
	    TEST(test_begins_behind_what_is_durable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
