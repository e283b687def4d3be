/*
 * Many streams begin at once: in which order after a restart, and what is in Redis of what waits for a node.
 */
#include "tests/unit/consensusd/env.h"

#include "consensusd/cache_redis.h"
#include "consensusd/e2e.h"
#include "consensusd/egress.h"
#include "consensusd/limits.h"
#include "tests/unit/consensusd/redis_server.h"

enum { STREAMS = 1000, PRIORITIES = 10, WITH_DATA = 100, BATCH_OF_CALLS = 50 };

static struct redis_server server;
static struct env_node *const a = &env.nodes[0], *const b = &env.nodes[1];
static size_t asked;
static bool with_data[STREAMS];
static int32_t priorities[STREAMS]; /* of the questions, as they came */
static struct ulid streams[STREAMS];

static int
setup(void **state)
{
	static char settings[256];

	redis_server_init(&server);
	redis_server_start(&server);
	snprintf(settings, sizeof(settings), " redis-socket \"%s\"\n", server.path);
	env_settings = settings;
	return env_setup(state);
}

static int
teardown(void **state)
{
	int err = env_teardown(state);

	redis_server_fini(&server);
	return err;
}

static void
stream_text(char text[ULID_TEXT_SIZE], unsigned i)
{
	snprintf(text, ULID_TEXT_SIZE, "01ARZ3NDEKTSV4RRFFQ69G%04u", i);
}

static bool
all_opened(struct env *e)
{
	for (uint32_t i = 1; i <= BATCH_OF_CALLS; i++) {
		if (e->nodes[0].calls[i].replies + e->nodes[0].calls[i].done == 0)
			return false;
	}
	return true;
}

/* Stream i has priority i mod 10: no order that they could have by chance. */
static void
open_all(void)
{
	mesh_v1_OpenClientDataStreamReq req = mesh_v1_OpenClientDataStreamReq_init_zero;

	snprintf(req.tenant_id, sizeof(req.tenant_id), "one");
	req.target_nodes_count = 1;
	snprintf(req.target_nodes[0], sizeof(req.target_nodes[0]), "b");
	for (unsigned i = 0; i < STREAMS; i++) {
		uint32_t call = 1 + i % BATCH_OF_CALLS;

		req.priority = (int32_t)(i % PRIORITIES);
		stream_text(req.stream_id, i);
		env_forget(a, call);
		env_send_pb(a->gateway, GC_OPEN_STREAM, call, mesh_v1_OpenClientDataStreamReq_fields, &req);
		if (call == BATCH_OF_CALLS)
			env_run(&env, all_opened);
	}
	assert_int_equal(HASH_COUNT(a->engine.sources), STREAMS);
}

static bool
all_durable(struct env *e)
{
	struct source *s, *next;
	unsigned n = 0;

	HASH_ITER (hh, e->nodes[0].engine.sources, s, next)
		n += s->stream->durable_seq > 0;
	return n == WITH_DATA;
}

/* Every tenth of each priority has something to send. */
static void
publish_some(void)
{
	for (unsigned i = 0; i < WITH_DATA; i++) {
		char text[ULID_TEXT_SIZE];
		mesh_v1_Chunk chunk;

		stream_text(text, i * (STREAMS / WITH_DATA) + i % (STREAMS / WITH_DATA));
		chunk = env_chunk(text, 0);
		env_publish_send(a, GC_PUBLISH_ITEM, 2, &chunk, "x", 1);
	}
	env_run(&env, all_durable);
}

static bool
see_open(struct env *e, size_t from, struct frame *f)
{
	mesh_e2e_Header h = mesh_e2e_Header_init_zero;

	(void)e;
	if (from != 0 || f->type != FRAME_STREAM || e2e_get(f, &h) != 0 ||
	    h.msg_type != mesh_e2e_MsgType_MSG_OPEN || asked == STREAMS)
		return true;
	memcpy(streams[asked].b, h.stream_id.bytes, ULID_BYTES);
	priorities[asked] = (int32_t)h.priority;
	with_data[asked] = source_find(&a->engine, &streams[asked])->stream->durable_seq > 0;
	asked++;
	return true;
}

static bool
all_asked(struct env *e)
{
	(void)e;
	return asked == STREAMS;
}

/* Those that have something first, and both parts in order of priority. */
static void
test_opened_in_order(void **state)
{
	size_t sum = 0;

	(void)state;
	open_all();
	env_stop(b);
	publish_some();
	env_stop(a);
	asked = 0;
	env.filter = see_open;
	env_start(b);
	env_start(a);
	env_run(&env, all_asked);
	for (size_t i = 0; i < STREAMS; i++)
		sum += with_data[i] && priorities[i] == PRIORITIES - 1 ? i : 0;
	print_message(
	    "of %d streams the %d that have something to send and the highest priority: place %zu on "
	    "average\n",
	    STREAMS, WITH_DATA / PRIORITIES, sum / (WITH_DATA / PRIORITIES));
	for (size_t i = 0; i < STREAMS; i++) {
		assert_int_equal(with_data[i], i < WITH_DATA);
		if (i != 0 && i != WITH_DATA)
			assert_true(priorities[i] <= priorities[i - 1]);
		for (size_t k = 0; k < i; k++)
			assert_memory_not_equal(streams[i].b, streams[k].b, ULID_BYTES);
	}
	env.filter = NULL;
}

static bool
written(struct env *e)
{
	(void)e;
	return stats.redis_egress.value > 0;
}

/* What waits for b when it goes: those with data alone, by priority; not more than so many. */
static void
test_written_when_a_node_goes(void **state)
{
	char key[64], id[NODEID_TEXT_SIZE], command[128];
	struct node *n = nodes_find(&a->engine.nodes, b->engine.self);

	(void)state;
	stats.redis_egress.value = 0;
	open_all();
	env_stop(b);
	publish_some();
	n->status = NODE_STATUS_UNREACHABLE;
	egress_node_down(&a->engine, n);
	env_run(&env, written);
	nodeid_format(id, n->id);
	snprintf(key, sizeof(key), "queue:egress:%s", id);
	snprintf(command, sizeof(command), "zcard %s", key);
	while (redis_server_cli(&server, 0, command) == 0)
		env_run(&env, env_ready);
	assert_int_equal(redis_server_cli(&server, 0, command), WITH_DATA);
	snprintf(command, sizeof(command), "zcount %s 9 9", key);
	assert_int_equal(redis_server_cli(&server, 0, command), WITH_DATA / PRIORITIES);
	snprintf(command, sizeof(command), "ttl %s", key);
	assert_in_range(redis_server_cli(&server, 0, command), 1, EGRESS_TTL_S);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_opened_in_order, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_written_when_a_node_goes, setup, teardown),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
