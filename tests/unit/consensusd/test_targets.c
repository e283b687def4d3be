/* Targets of an open stream come and go while messages flow. */
#include "tests/unit/consensusd/relation_user.h"

#include "common/base/rng.h"
#include "consensusd/sink_impl.h"

#define S1 "01ARZ3NDEKTSV4RRFFQ69G5001"
#define S2 "01ARZ3NDEKTSV4RRFFQ69G5002"

static struct env_node *const a = &env.nodes[0], *const b = &env.nodes[1], *const c = &env.nodes[2];

static struct env_node *watched;
static uint64_t ids[ENV_NODES];

static struct ulid
id_of(void)
{
	struct ulid id;

	assert_int_equal(ulid_parse(S1, &id), 0);
	return id;
}

static struct source *
source(void)
{
	struct ulid id = id_of();
	struct source *s = source_find(&a->engine, &id);

	assert_non_null(s);
	return s;
}

static struct sink *
sink(struct env_node *n)
{
	struct ulid id = id_of();

	return sink_find(&n->engine, &id);
}

static bool
has_voters(struct env *e)
{
	(void)e;
	return relation_votes(source()->relation.relation);
}

static bool
processed(struct env *e)
{
	struct sink *k = sink(watched);

	(void)e;
	return k != NULL && k->target->processed_seq >= wanted;
}

static bool
committed(struct env *e)
{
	(void)e;
	return source()->stream->committed_seq >= wanted;
}

static bool
forgotten(struct env *e)
{
	(void)e;
	return sink(watched) == NULL;
}

static bool
told(struct env *e)
{
	(void)e;
	return source()->row.left_count == 0;
}

static void
publish(int count)
{
	publish_to(S1, count);
}

static void
change_send(uint32_t call, const char *add, const char *remove)
{
	mesh_v1_StreamTargetsReq req = mesh_v1_StreamTargetsReq_init_zero;

	env_forget(a, call);
	snprintf(req.stream_id, sizeof(req.stream_id), S1);
	for (; *add != '\0'; add++)
		snprintf(req.add[req.add_count++], 64, "%c", *add);
	for (; *remove != '\0'; remove++)
		snprintf(req.remove[req.remove_count++], 64, "%c", *remove);
	env_send_pb(a->gateway, GC_STREAM_TARGETS, call, mesh_v1_StreamTargetsReq_fields, &req);
}

static struct env_call *
change(const char *add, const char *remove)
{
	change_send(3, add, remove);
	return env_wait(a, 3);
}

/* The names of the targets as the answer has them. */
static void
check_targets(const struct env_call *call, const char *targets)
{
	mesh_v1_StreamHandle h = mesh_v1_StreamHandle_init_zero;
	char text[NODEID_TEXT_SIZE];

	assert_int_equal(call->replies, 1);
	assert_int_equal(
	    pb_unpack(buf_head(&call->body), buf_left(&call->body), mesh_v1_StreamHandle_fields, &h), 0);
	assert_int_equal(h.target_nodes_count, strlen(targets));
	for (size_t i = 0; targets[i] != '\0'; i++) {
		nodeid_format(text, ids[targets[i] - 'a']);
		assert_string_equal(h.target_nodes[i], text);
	}
}

static void
refused(const struct env_call *call, uint32_t code, const char *text)
{
	assert_int_equal(call->done, 1);
	assert_int_equal(call->code, code);
	assert_non_null(strstr(call->message, text));
}

static void
restart(struct env_node *n)
{
	if (n->up)
		env_stop(n);
	n->identities = n->health = 0;
	env_forget(n, 2);
	env_forget(n, 9);
	env_start(n);
	env_run(&env, env_ready);
}

static void
begin(const char *targets)
{
	for (size_t i = 0; i < ENV_NODES; i++)
		ids[i] = env.nodes[i].engine.self;
	if (targets[0] != '\0')
		assert_int_equal(env_open(a, "one", S1, targets)->replies, 1);
	for (; *targets != '\0'; targets++)
		subscribe(&env.nodes[*targets - 'a']);
}

/* A new target gets what comes after the change, all of it, in order, and nothing else. */
static void
test_added(void **state)
{
	struct relation *before;

	(void)state;
	begin("b");
	before = source()->relation.relation;
	subscribe(c);
	publish(100);
	until(confirmed, 100);
	publish(50);
	check_targets(change("c", ""), "bc");
	publish(50);
	until(confirmed, 200);
	assert_ptr_not_equal(source()->relation.relation, before);
	assert_int_equal(source()->row.dst_first[0], 0);
	watched = c;
	until(processed, 200);
	assert_int_equal(c->calls[9].items, 200 - (source()->row.dst_first[1] - 1));
	assert_false(c->calls[9].out_of_order);
	assert_int_equal(sink(c)->row.first_seq, source()->row.dst_first[1]);
	assert_int_equal(b->calls[9].items, 200);
	/* Again: the same. */
	check_targets(change("c", ""), "bc");
	assert_int_equal(source()->rows_put, source()->change.row);
}

/* The flows to a node know each other, also those that have got another place to make room. */
static void
test_flows_of_a_node(void **state)
{
	const struct source_flow *before = NULL;
	const struct node *n;
	size_t count = 0;

	(void)state;
	begin("b");
	env_forget(a, 1);
	assert_int_equal(env_open(a, "one", S2, "b")->replies, 1);
	check_targets(change("c", ""), "bc");
	n = nodes_get(&a->engine.nodes, b->engine.self);
	for (const struct source_flow *f = n->flows; f != NULL; f = f->next_on_node) {
		assert_ptr_equal(f->prev_on_node, before);
		before = f;
		assert_in_range(++count, 1, 2);
	}
	assert_int_equal(count, 2);
}

/* All of it outlives both ends. */
static void
test_added_and_restarted(void **state)
{
	uint64_t first;

	(void)state;
	begin("b");
	publish(20);
	until(confirmed, 20);
	check_targets(change("c", ""), "bc");
	first = source()->row.dst_first[1];
	assert_int_equal(first, 21);
	env_stop(c);
	restart(a);
	assert_int_equal(source()->row.dst_count, 2);
	assert_int_equal(source()->row.dst_first[1], first);
	publish(10);
	watched = b;
	until(processed, 30);
	restart(c);
	subscribe(c);
	until(confirmed, 10);
	assert_int_equal(c->calls[9].items, 10);
	restart(c);
	assert_int_equal(sink(c)->row.first_seq, first);
	assert_int_equal(sink(c)->target->processed_seq, 30);
	restart(a);
	until(committed, 30);
	assert_int_equal(source()->stream->next_seq, 31);
}

/* A target that is away is removed: what waited for it does not any more, and it hears of it when it is back.
 */
static void
test_removed_while_away(void **state)
{
	(void)state;
	begin("bc");
	publish(10);
	until(confirmed, 10);
	env_stop(b);
	publish(30);
	watched = c;
	until(processed, 40);
	assert_int_equal(a->calls[2].items, 10);
	check_targets(change("", "b"), "c");
	until(confirmed, 40);
	publish(10);
	until(confirmed, 50);
	assert_int_equal(source()->row.left_count, 1);
	/* Not even a restart of the source makes it forget to say so. */
	restart(a);
	assert_int_equal(source()->row.left_count, 1);
	restart(b);
	until(told, 0);
	watched = b;
	until(forgotten, 0);
	publish(5);
	until(confirmed, 5);
	restart(b);
	assert_null(sink(b));
	restart(a);
	assert_int_equal(source()->stream->flow_count, 1);
}

/* What was there before the only target that is left is done with, after a restart, too, and before anybody
 * says anything. */
static void
test_replaced_and_restarted(void **state)
{
	(void)state;
	begin("b");
	publish(20);
	until(confirmed, 20);
	env_stop(b);
	env_stop(c);
	check_targets(change("c", "b"), "c");
	restart(a);
	assert_int_equal(source()->row.left_count, 1);
	assert_int_equal(source()->stream->committed_seq, 20);
}

/* Its subscriber is told. */
static void
test_removed_with_subscriber(void **state)
{
	mesh_v1_StreamSelector sel = env_selector("one", S1);

	(void)state;
	begin("bc");
	b->auto_ack = false;
	env_subscribe(b, 10, &sel);
	publish(10);
	watched = c;
	until(processed, 10);
	check_targets(change("", "b"), "c");
	until(confirmed, 10);
	watched = b;
	until(forgotten, 0);
	until(told, 0);
	assert_int_equal(fake_dbs[1].box_counts[STORE_INBOX], 0);
}

/* It comes back: as a new one, whether it has heard of the removal or not. */
static void
test_removed_and_added_again(void **state)
{
	(void)state;
	begin("bc");
	publish(10);
	until(confirmed, 10);
	until(has_voters, 3);
	env_stop(b);
	publish(5);
	watched = c;
	until(processed, 15);
	check_targets(change("", "b"), "c");
	publish(5);
	until(confirmed, 20);
	check_targets(change("b", ""), "cb");
	assert_int_equal(source()->row.left_count, 0);
	publish(5);
	until(processed, 25);
	restart(b);
	subscribe(b);
	until(confirmed, 25);
	assert_int_equal(b->calls[9].items, 5);
	assert_int_equal(b->calls[9].last_seq, 25);
	/* And once more, after it has heard. */
	check_targets(change("", "b"), "c");
	until(told, 0);
	publish(5);
	until(confirmed, 30);
	check_targets(change("b", ""), "cb");
	publish(5);
	until(confirmed, 35);
	assert_int_equal(b->calls[9].last_seq, 35);
	assert_int_equal(source()->stream->flow_count, 2);
}

/* What is not durable is told nobody, and a crash leaves what there was. */
static void
test_crash_before_durable(void **state)
{
	(void)state;
	begin("bc");
	publish(10);
	until(confirmed, 10);
	fake_dbs[0].hold = true;
	change_send(3, "", "b");
	change_send(4, "a", "");
	refused(env_wait(a, 4), CODE_ABORTED, "another call");
	change_send(5, "", "b");
	assert_int_equal(source()->row.dst_count, 1);
	assert_int_equal(source()->stream->flows[0].state, FLOW_OPEN);
	assert_int_equal(a->calls[3].replies, 0);
	env_stop(a);
	fake_dbs[0].hold = false;
	restart(a);
	assert_int_equal(source()->row.dst_count, 2);
	check_targets(change("", "b"), "c");
	publish(10);
	until(confirmed, 10);
}

static void
test_refused(void **state)
{
	(void)state;
	begin("");
	assert_int_equal(env_open_policy(a, S1, "bc", "quorum", 2, false)->replies, 1);
	refused(change("", "b"), CODE_FAILED_PRECONDITION, "quorum of 2");
	refused(change("", "bc"), CODE_FAILED_PRECONDITION, "close it instead");
	refused(change("b", "b"), CODE_INVALID_ARGUMENT, "added and removed");
	refused(change("z", ""), CODE_NOT_FOUND, "'z'");
	check_targets(change("a", "b"), "ca");
	check_targets(change("", "b"), "ca");
}

/* This node itself comes and goes. */
static void
test_self(void **state)
{
	(void)state;
	begin("b");
	subscribe(a);
	publish(10);
	until(confirmed, 10);
	check_targets(change("a", ""), "ba");
	publish(10);
	until(confirmed, 20);
	assert_int_equal(a->calls[9].items, 10);
	restart(a);
	assert_int_equal(sink(a)->target->processed_seq, 20);
	subscribe(a);
	publish(10);
	until(confirmed, 10);
	check_targets(change("c", "a"), "bc");
	watched = a;
	until(forgotten, 0);
	until(told, 0);
	subscribe(c);
	publish(10);
	until(confirmed, 20);
	assert_int_equal(c->calls[9].items, 10);
	check_targets(change("a", "b"), "ca");
	publish(10);
	until(confirmed, 30);
	restart(a);
	assert_int_equal(sink(a)->target->processed_seq, 50);
}

/* Of a quorum only those count that get a message. */
static void
test_quorum(void **state)
{
	(void)state;
	begin("");
	assert_int_equal(env_open_policy(a, S1, "bc", "quorum", 2, false)->replies, 1);
	subscribe(b);
	publish(10);
	watched = b;
	until(processed, 10);
	check_targets(change("a", ""), "bca");
	assert_int_equal(stream_answered(source()->stream), 0);
	subscribe(a);
	publish(10);
	watched = a;
	until(processed, 20);
	assert_int_equal(a->calls[2].items, 0);
	subscribe(c);
	until(confirmed, 20);
}

/* The old group can't decide without b and c: the new one fixes what that had not. */
static void
test_fixed_by_new_group(void **state)
{
	(void)state;
	begin("");
	assert_int_equal(env_open_policy(a, S1, "bc", "committed", 0, false)->replies, 1);
	until(has_voters, 3);
	publish(10);
	until(confirmed, 10);
	env_stop(b);
	env_stop(c);
	publish(10);
	check_targets(change("a", ""), "bca");
	/* This group is of a alone as long as the others are away. */
	until(confirmed, 20);
	publish(10);
	until(confirmed, 30);
	check_targets(change("", "bc"), "a");
	subscribe(a);
	until(committed, 30);
	assert_int_equal(a->calls[9].items, 10);
}

static bool
has_one(struct env *e)
{
	const struct store_stream *row;
	struct ulid id = id_of();

	(void)e;
	row = fake_row(&fake_dbs[0], &id);
	return row != NULL && row->dst_count == 1;
}

/* An eviction may leave fewer than the quorum: the stream is there still, and another target makes it whole.
 */
static void
test_evicted_below_quorum(void **state)
{
	(void)state;
	begin("");
	assert_int_equal(env_open_policy(a, S1, "bc", "quorum", 2, false)->replies, 1);
	source_evicted(&a->engine, ids[2], 0);
	until(has_one, 0);
	restart(a);
	assert_int_equal(source()->row.dst_count, 1);
	subscribe(a);
	subscribe(b);
	check_targets(change("a", ""), "ba");
	publish(10);
	until(confirmed, 10);
}

static bool
delivered(struct env *e)
{
	(void)e;
	return watched->calls[9].items >= wanted;
}

/* What was delivered before the removal may be acknowledged after it, by one that has other streams, too. */
static void
test_late_ack(void **state)
{
	mesh_v1_StreamSelector all = env_selector("one", ""), late = mesh_v1_StreamSelector_init_zero;

	(void)state;
	begin("c");
	check_targets(change("b", ""), "cb");
	env_subscribe(b, 9, &all);
	publish(3);
	watched = b;
	until(delivered, 3);
	check_targets(change("", "b"), "c");
	until(forgotten, 0);
	until(told, 0);
	snprintf(late.acks[0].stream_id, sizeof(late.acks[0].stream_id), S1);
	late.acks[0].seq = 3;
	late.acks_count = 1;
	env_send_pb(b->gateway, GC_SUBSCRIBE_MORE, 9, mesh_v1_StreamSelector_fields, &late);
	check_targets(change("b", ""), "cb");
	publish(1);
	until(delivered, 4);
	assert_int_equal(b->calls[9].done, 0);
	/* Of one that it never had it is a mistake. */
	late.acks[0].stream_id[25]++;
	env_send_pb(b->gateway, GC_SUBSCRIBE_MORE, 9, mesh_v1_StreamSelector_fields, &late);
	assert_int_equal(env_wait(b, 9)->code, CODE_NOT_FOUND);
}

/* --- the end --- */

static bool
gone(struct env *e)
{
	struct ulid id = id_of();

	(void)e;
	return source_find(&a->engine, &id) == NULL;
}

static void
close_send(void)
{
	env_close(a, 6, S1);
	assert_int_equal(env_wait(a, 6)->replies, 1);
}

/* b is away, and is a target once more when that is back: all that came was before that. */
static void
begin_anew_while_away(void)
{
	begin("bc");
	publish(10);
	until(confirmed, 10);
	env_stop(b);
	publish(5);
	watched = c;
	until(processed, 15);
	check_targets(change("", "b"), "c");
	check_targets(change("b", ""), "cb");
}

static bool
described(struct env *e)
{
	(void)e;
	return dsg_at(sink(b)->relation.relation->state, 0)->described >= wanted;
}

static bool
durable(struct env *e)
{
	(void)e;
	return source()->stream->durable_seq >= wanted;
}

/* A group that has batches which were lost with the source's process is left and entered again, before the
 * source leads it: what was made anew, and agreed upon in the other group meanwhile, is not what it has. */
static void
test_back_to_stale(void **state)
{
	(void)state;
	begin("bc");
	until(has_voters, 3);
	publish(10);
	until(confirmed, 10);
	fake_dbs[0].hold = true;
	publish(3);
	until(described, 11);
	env_stop(a);
	fake_dbs[0].hold = false;
	restart(a);
	env.filter = env_no_data;
	check_targets(change("", "c"), "b");
	for (unsigned i = 11; i <= 13; i++) {
		publish(1);
		until(durable, i);
	}
	check_targets(change("c", ""), "bc");
	env.filter = NULL;
	watched = b;
	until(processed, 13);
	publish(2);
	until(committed, 15);
}

/* It hears that it begins anew also when nothing is left but to close the stream. */
static void
test_closed_when_added_again(void **state)
{
	(void)state;
	begin_anew_while_away();
	close_send();
	restart(b);
	until(gone, 0);
	watched = b;
	until(forgotten, 0);
	assert_int_equal(fake_dbs[1].box_counts[STORE_INBOX], 0);
}

static bool
recorded(struct env *e)
{
	const struct flow *f = stream_flow(source()->stream, ids[1]);

	(void)e;
	return f->recorded_seq >= source()->stream->next_seq - 1;
}

/* That it knows of its removal comes late, when it is a target again and the stream is about to end. */
static void
test_late_told(void **state)
{
	mesh_e2e_Header h = mesh_e2e_Header_init_zero;
	struct frame f = {.src = ids[1]};

	(void)state;
	begin("bc");
	check_targets(change("", "b"), "c");
	until(told, 0);
	h.seq = source()->row.revision;
	check_targets(change("b", ""), "cb");
	publish(10);
	until(confirmed, 10);
	until(recorded, 0);
	env_stop(b);
	close_send();
	h.stream_id.size = ULID_BYTES;
	memcpy(h.stream_id.bytes, source()->row.stream_id.b, ULID_BYTES);
	snprintf(h.tenant_id, sizeof(h.tenant_id), "one");
	f.src = ids[1];
	source_on_closed(&a->engine, &h, &f);
	assert_true(stream_flow(source()->stream, ids[1])->state < FLOW_CLOSED);
	restart(b);
	until(gone, 0);
	watched = b;
	until(forgotten, 0);
}

/* --- anything at any time --- */

enum { ROUNDS = 40, SEEDS = 12 };

/* All targets have everything, and nobody else has any of it. */
static bool
at_rest(struct env *e)
{
	struct source *s = source();

	if (s->change.under_way || s->row.left_count > 0 ||
	    s->stream->committed_seq != s->stream->next_seq - 1)
		return false;
	for (size_t i = 0; i < ENV_NODES; i++) {
		const struct sink *k = sink(&e->nodes[i]);
		uint64_t first;
		bool is = sink_first_seq(&e->nodes[i].engine, &s->row, &first);

		if (is != (k != NULL))
			return false;
		if (is && (k->row.first_seq != first || k->target->processed_seq != s->stream->next_seq - 1))
			return false;
	}
	return true;
}

static bool
later(struct env *e)
{
	(void)e;
	return wanted-- == 0;
}

static void
start_again(struct env_node *n)
{
	fake_dbs[n->index].hold = false;
	restart(n);
	subscribe(n);
}

/* A change that may not be possible: at most one target of a and c comes, and at most one of all goes. */
static void
change_something(struct rng *rng)
{
	static const char *const sets[] = {"", "a", "b", "c"};

	change_send(3, sets[rng_below(rng, 4)], sets[rng_below(rng, 4)]);
}

static void
do_something(struct rng *rng)
{
	switch (rng_below(rng, 6)) {
	case 0:
	case 1:
		publish((int)rng_below(rng, 30));
		break;
	case 2:
		start_again(&env.nodes[rng_below(rng, ENV_NODES)]);
		break;
	case 3:
		fake_dbs[rng_below(rng, ENV_NODES)].hold = true;
		break;
	default:
		change_something(rng);
		break;
	}
	until(later, (unsigned)rng_below(rng, 4));
}

static void
test_anything(void **state)
{
	struct rng rng;

	(void)state;
	begin("bc");
	subscribe(a);
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		rng_seed(&rng, seed);
		for (size_t i = 0; i < ENV_NODES; i++)
			env.nodes[i].drop_percent = (unsigned)rng_below(&rng, 20);
		for (int i = 0; i < ROUNDS; i++)
			do_something(&rng);
		for (size_t i = 0; i < ENV_NODES; i++) {
			env.nodes[i].drop_percent = 0;
			start_again(&env.nodes[i]);
		}
		publish(3);
		until(at_rest, 0);
	}
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, env_setup, env_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_added),
	    TEST(test_flows_of_a_node),
	    TEST(test_added_and_restarted),
	    TEST(test_removed_while_away),
	    TEST(test_replaced_and_restarted),
	    TEST(test_removed_with_subscriber),
	    TEST(test_removed_and_added_again),
	    TEST(test_crash_before_durable),
	    TEST(test_refused),
	    TEST(test_self),
	    TEST(test_quorum),
	    TEST(test_fixed_by_new_group),
	    TEST(test_late_ack),
	    TEST(test_evicted_below_quorum),
	    TEST(test_closed_when_added_again),
	    TEST(test_late_told),
	    TEST(test_back_to_stale),
	    TEST(test_anything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
