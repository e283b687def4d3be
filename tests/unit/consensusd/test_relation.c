/* Groups of streams: who is in them, who leads, what a crash and a lost log do. */
#include "tests/unit/consensusd/relation_watch.h"

#define S2 "01ARZ3NDEKTSV4RRFFQ69G5002"
#define S3 "01ARZ3NDEKTSV4RRFFQ69G5003"

static struct env_node *const c = &env.nodes[2];

static void
test_shared(void **state)
{
	(void)state;
	begin("bc", 3);
	env_open(a, "one", S2, "cb");
	assert_ptr_equal(relation_of(S1), relation_of(S2));
	env_open(a, "one", S3, "b");
	assert_ptr_not_equal(relation_of(S1), relation_of(S3));
	watched = S3;
	until(has_voters, 1);
	assert_int_equal(relations_count(a->engine.relations), 2);
	assert_int_equal(relations_count(c->engine.relations), 1);
	publish_to(S1, 100);
	until(confirmed, 100);
	/* Its place was fixed before it was processed. */
	assert_int_equal(dsg_at(relation_of(S1)->state, 0)->described, 100);
}

/* The source and one target forget nothing when they restart, and the source leads. */
static void
test_restarts(void **state)
{
	uint8_t id[STORE_GROUP_BYTES];

	(void)state;
	begin("bc", 3);
	memcpy(id, relation_of(S1)->id, sizeof(id));
	publish_to(S1, 50);
	until(confirmed, 50);
	restart(a);
	until(has_voters, 3);
	assert_memory_equal(relation_of(S1)->id, id, sizeof(id));
	publish_to(S1, 50);
	until(confirmed, 50);
	restart(b);
	subscribe(b);
	publish_to(S1, 50);
	until(confirmed, 100);
	until(has_voters, 3);
}

static bool
b_leads(struct env *e)
{
	struct relation *r, *next;
	struct raft_status st;

	HASH_ITER (hh, e->nodes[1].engine.relations->all, r, next) {
		group_show(r->group, &st);
		if (st.role == RAFT_LEADER)
			return true;
	}
	return false;
}

static bool
others_lead(struct env *e)
{
	struct relation *r = e->nodes[2].engine.relations->all;
	struct raft_status st;

	group_show(r->group, &st);
	return b_leads(e) || st.role == RAFT_LEADER;
}

/* While the source is away another one leads, and hands over when it is back. */
static void
test_source_leads_again(void **state)
{
	(void)state;
	begin("bc", 3);
	publish_to(S1, 10);
	until(confirmed, 10);
	env_stop(a);
	a->identities = a->health = 0;
	env_run(&env, others_lead);
	env_start(a);
	env_run(&env, env_ready);
	until(has_voters, 3);
	publish_to(S1, 10);
	until(confirmed, 10);
}

/* The group has a batch that was not in the outbox when the source crashed: it is made again, described
 * again, and processed once. */
static void
test_log_ahead_of_outbox(void **state)
{
	struct ulid id;

	(void)state;
	begin("bc", 3);
	publish_to(S1, 10);
	until(confirmed, 10);
	fake_dbs[0].hold = true;
	publish_to(S1, 3);
	until(fixed, 11);
	env_stop(a);
	fake_dbs[0].hold = false;
	start(a);
	assert_int_equal(ulid_parse(S1, &id), 0);
	assert_int_equal(source_find(&a->engine, &id)->stream->durable_seq, 10);
	env_forget(a, 2);
	publish_to(S1, 5);
	until(confirmed, 5);
	assert_int_equal(a->calls[2].last_seq, 15);
	assert_int_equal(b->calls[9].items, 15);
	assert_int_equal(c->calls[9].items, 15);
	assert_false(b->calls[9].out_of_order);
	assert_int_equal(stats.rejected.value, 0);
}

/* One of three loses its log: it is replaced. */
static void
test_lost_of_three(void **state)
{
	uint8_t id[STORE_GROUP_BYTES];

	(void)state;
	begin("bc", 3);
	publish_to(S1, 10);
	until(confirmed, 10);
	memcpy(id, relation_of(S1)->id, sizeof(id));
	fake_dbs[1].rolled_back = true;
	restart(b);
	fake_dbs[1].rolled_back = false;
	subscribe(b);
	publish_to(S1, 10);
	until(confirmed, 20);
	until(has_voters, 3);
	assert_memory_equal(relation_of(S1)->id, id, sizeof(id));
}

/* Of two the source alone votes.  A target that loses its log is replaced; if it is the source, there is
 * nobody who could go on, so there is another group. */
static void
test_lost_of_two(void **state)
{
	uint8_t id[STORE_GROUP_BYTES];

	(void)state;
	begin("b", 1);
	publish_to(S1, 10);
	until(confirmed, 10);
	memcpy(id, relation_of(S1)->id, sizeof(id));
	fake_dbs[1].rolled_back = true;
	restart(b);
	fake_dbs[1].rolled_back = false;
	subscribe(b);
	publish_to(S1, 10);
	until(confirmed, 20);
	until(has_voters, 1);
	assert_memory_equal(relation_of(S1)->id, id, sizeof(id));
	fake_dbs[0].rolled_back = true;
	restart(a);
	fake_dbs[0].rolled_back = false;
	until(has_voters, 1);
	assert_memory_not_equal(relation_of(S1)->id, id, sizeof(id));
	env_forget(a, 2);
	publish_to(S1, 10);
	until(confirmed, 10);
	/* Both have the new group, and after a restart too. */
	restart(b);
	subscribe(b);
	publish_to(S1, 10);
	until(confirmed, 20);
	assert_memory_equal(b->engine.sinks->row.group_id, relation_of(S1)->id, sizeof(id));
}

static bool
has_streams(struct env *e)
{
	(void)e;
	return dsg_count(relation_of(S2)->state) == wanted;
}

static bool
b_has(struct env *e)
{
	return e->nodes[1].calls[9].items >= wanted;
}

static bool
described(struct env *e)
{
	const struct dsg_stream *x = dsg_at(relation_of(S1)->state, 0);

	(void)e;
	return x != NULL && x->described >= wanted;
}

/* What is published while the other one of two is away has its place all the same, and keeps it when the
 * source restarts before that is back. */
static void
test_both_restart(void **state)
{
	(void)state;
	begin("b", 1);
	publish_to(S1, 10);
	until(confirmed, 10);
	env_stop(b);
	publish_to(S1, 10);
	until(described, 20);
	env_stop(a);
	a->identities = a->health = b->identities = b->health = 0;
	env_start(a);
	until(described, 20);
	env_start(b);
	env_run(&env, env_ready);
	env_forget(b, 9);
	subscribe(b);
	until(b_has, 10);
	until(has_voters, 1);
}

/* Of three one is evicted: the vote of one of the two that are left is one too many. */
static void
test_evicted(void **state)
{
	uint64_t gone;

	(void)state;
	begin("bc", 3);
	publish_to(S1, 10);
	until(confirmed, 10);
	gone = c->engine.self;
	env_stop(c);
	source_evicted(&a->engine, gone, 0);
	until(has_voters, 1);
	publish_to(S1, 10);
	until(confirmed, 20);
}

/* A stream that is closed is forgotten by its group. */
static void
test_closed(void **state)
{
	(void)state;
	begin("b", 1);
	env_open(a, "one", S2, "b");
	publish_to(S1, 10);
	until(confirmed, 10);
	assert_int_equal(dsg_count(relation_of(S2)->state), 1);
	env_close(a, 3, S1);
	assert_int_equal(env_wait(a, 3)->replies, 1);
	env_forget(a, 2);
	publish_to(S2, 1);
	until(confirmed, 1);
	until(has_streams, 1);
}

/* --- the index --- */

static struct relation *
indexed(uint8_t number, const char *tenant, uint64_t first, uint64_t second)
{
	struct relations *rs = a->engine.relations;
	const uint8_t id[STORE_GROUP_BYTES] = {'D', 'S', 'G', 0, number};
	struct relation *r;

	assert_int_equal(relation_new(rs, id, &r), 0);
	snprintf(r->tenant, sizeof(r->tenant), "%s", tenant);
	r->targets[0] = first;
	r->targets[1] = second;
	r->target_count = second != 0 ? 2 : 1;
	relation_index(r);
	return r;
}

static size_t
found(const char *tenant, uint64_t first, uint64_t second)
{
	const uint64_t targets[] = {first, second};
	struct relation_key key = relation_key_make(tenant, targets, second != 0 ? 2 : 1);
	size_t n = 0;

	for (const struct relation *r = relation_by_key(a->engine.relations, &key); r != NULL; r = r->same)
		n++;
	return n;
}

/* Groups are found by tenant and targets, in whatever order these are named, also when they change. */
static void
test_index(void **state)
{
	struct relation *r[6];

	(void)state;
	for (uint8_t i = 0; i < 3; i++)
		r[i] = indexed(i, "one", i == 1 ? 8 : 7, i == 1 ? 7 : 8);
	r[3] = indexed(3, "two", 7, 8);
	r[4] = indexed(4, "one", 7, 0);
	assert_int_equal(found("one", 7, 8), 3);
	assert_int_equal(found("one", 8, 7), 3);
	assert_int_equal(found("two", 8, 7), 1);
	assert_int_equal(found("one", 7, 0), 1);
	assert_int_equal(found("one", 8, 0), 0);
	/* The first, one behind it, and one that has another target less. */
	relation_free(r[0]);
	assert_int_equal(found("one", 7, 8), 2);
	r[2]->target_count = 1;
	relation_index(r[2]);
	assert_int_equal(found("one", 7, 8), 1);
	assert_int_equal(found("one", 7, 0), 2);
	relation_free(r[4]);
	assert_int_equal(found("one", 7, 0), 1);
	relation_free(r[1]);
	assert_int_equal(found("one", 7, 8), 0);
	/* Without memory it is not found. */
	relation_free(r[3]);
	relation_free(r[2]);
	r[5] = indexed(5, "one", 7, 0);
	assert_int_equal(found("one", 7, 0), 1);
	relation_unindex(r[5]);
	relation_unindex(r[5]);
	assert_int_equal(found("one", 7, 0), 0);
	mem_fail_at(1);
	relation_index(r[5]);
	mem_fail_at(0);
	assert_int_equal(found("one", 7, 0), 0);
	relation_free(r[5]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, env_setup, env_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_shared),
	    TEST(test_restarts),
	    TEST(test_source_leads_again),
	    TEST(test_log_ahead_of_outbox),
	    TEST(test_lost_of_three),
	    TEST(test_lost_of_two),
	    TEST(test_both_restart),
	    TEST(test_evicted),
	    TEST(test_closed),
	    TEST(test_index),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
