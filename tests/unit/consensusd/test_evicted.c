/* Eviction: what transportd and routerd are told, and when; and what the directory says. */
#include "tests/unit/consensusd/env.h"

#include "common/base/err.h"

static struct env_node *const a = &env.nodes[0], *const c = &env.nodes[2];

static unsigned wanted;

static bool
both_told(struct env *e)
{
	return e->nodes[0].evicted[0].count >= wanted && e->nodes[0].evicted[1].count >= wanted;
}

static void
evict(const uint64_t *nodes, size_t count)
{
	wanted = a->evicted[0].count + 1;
	assert_int_equal(a->evicted[1].count, a->evicted[0].count);
	assert_int_equal(transport_evicted(a->engine.transport, nodes, count), 0);
	assert_int_equal(router_evicted(a->engine.router, nodes, count), 0);
	env_run(&env, both_told);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(a->evicted[i].set.count, count);
		for (size_t k = 0; k < count; k++)
			assert_true(idset_has(&a->evicted[i].set, nodes[k]));
	}
}

static enum node_status
status_of_c(void)
{
	return nodes_find(&a->engine.nodes, c->engine.self)->status;
}

static bool
c_has_status(struct env *e)
{
	(void)e;
	return (unsigned)status_of_c() == wanted;
}

static void
say_status(struct env_node *of, uint32_t status)
{
	mesh_ipc_Node node = mesh_ipc_Node_init_zero;

	node.node_id = of->engine.self;
	memcpy(node.public_key, of->engine.public_key, sizeof(node.public_key));
	snprintf(node.name, sizeof(node.name), "%s", of->name);
	node.status = status;
	env_send_pb(a->router, CR_NODE, 0, mesh_ipc_Node_fields, &node);
}

static bool
b_left(struct env *e)
{
	struct engine *x = &e->nodes[0].engine;

	return nodes_find(&x->nodes, e->nodes[1].engine.self)->status == NODE_STATUS_LEFT;
}

static void
test_told_at_each_change(void **state)
{
	uint64_t nodes[] = {c->engine.self, 77};

	(void)state;
	/* With the first identity, too: that nobody is. */
	assert_int_equal(a->evicted[0].count, 1);
	assert_int_equal(a->evicted[1].count, 1);
	assert_int_equal(a->evicted[0].set.count, 0);
	evict(nodes, 2);
	assert_int_equal(status_of_c(), NODE_STATUS_EVICTED);
	/* What routerd said before it heard of it changes nothing. */
	say_status(c, mesh_ipc_NodeStatusCode_NODE_ALIVE);
	say_status(&env.nodes[1], mesh_ipc_NodeStatusCode_NODE_LEFT);
	env_run(&env, b_left);
	assert_int_equal(status_of_c(), NODE_STATUS_EVICTED);
	evict(nodes + 1, 1);
	assert_int_equal(status_of_c(), NODE_STATUS_UNREACHABLE);
	say_status(c, mesh_ipc_NodeStatusCode_NODE_ALIVE);
	wanted = NODE_STATUS_ALIVE;
	env_run(&env, c_has_status);
	say_status(c, mesh_ipc_NodeStatusCode_NODE_EVICTED);
	wanted = NODE_STATUS_EVICTED;
	env_run(&env, c_has_status);
}

static bool
told_again(struct env *e)
{
	return e->nodes[0].evicted[0].count >= wanted && e->nodes[0].identities >= wanted;
}

/* A transportd that starts anew hears of it before it hears who it is: env_on_identity() checks that. */
static void
test_told_on_each_connection(void **state)
{
	uint64_t node = c->engine.self;

	(void)state;
	evict(&node, 1);
	channel_free(a->transport);
	idset_fini(&a->evicted[0].set);
	a->evicted[0].before_identity = false;
	a->evicted[0].count = a->identities = 0;
	wanted = 1;
	env_connect_transport(a);
	env_run(&env, told_again);
	assert_int_equal(a->evicted[0].count, 1);
	assert_true(a->evicted[0].set.count == 1 && idset_has(&a->evicted[0].set, node));
}

static void
test_limits(void **state)
{
	static uint64_t many[IDSET_MAX_COUNT + 1];

	(void)state;
	for (size_t i = 0; i < COUNT(many); i++)
		many[i] = i + 1;
	assert_int_equal(transport_evicted(a->engine.transport, many, COUNT(many)), ERR_LIMIT);
	assert_int_equal(router_evicted(a->engine.router, many, COUNT(many)), ERR_LIMIT);
	evict(many, IDSET_MAX_COUNT);
	many[3] = 0;
	assert_int_equal(transport_evicted(a->engine.transport, many, 10), ERR_RANGE);
	assert_int_equal(router_evicted(a->engine.router, many, 10), ERR_RANGE);
	mem_fail_at(1);
	assert_int_equal(transport_evicted(a->engine.transport, many, 2), ERR_NOMEM);
	mem_fail_at(1);
	assert_int_equal(router_evicted(a->engine.router, many, 2), ERR_NOMEM);
	mem_fail_at(0);
	/* Which did not count. */
	evict(many, 1);
}

/* Streams with a number above the one that was dealt with are told, no others. */
static void
test_streams_told_once(void **state)
{
	struct env_call *call = env_open(a, "one", "01ARZ3NDEKTSV4RRFFQ69G5001", "bc");
	struct source *s = a->engine.sources;
	uint64_t node = c->engine.self, first = s != NULL ? s->begun : 0;

	(void)state;
	assert_int_equal(call->replies, 1);
	source_evicted(&a->engine, node, a->engine.streams_begun);
	assert_int_not_equal(stream_flow(s->stream, node)->state, FLOW_GONE);
	assert_int_equal(env_open(a, "one", "01ARZ3NDEKTSV4RRFFQ69G5002", "bc")->replies, 1);
	source_evicted(&a->engine, node, first);
	assert_int_not_equal(stream_flow(s->stream, node)->state, FLOW_GONE);
	s = s->hh.next;
	assert_true(s->begun > first);
	assert_int_equal(stream_flow(s->stream, node)->state, FLOW_GONE);
	source_evicted(&a->engine, node, 0);
	assert_int_equal(stream_flow(a->engine.sources->stream, node)->state, FLOW_GONE);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, env_setup, env_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_told_at_each_change),
	    TEST(test_told_on_each_connection),
	    TEST(test_limits),
	    TEST(test_streams_told_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
