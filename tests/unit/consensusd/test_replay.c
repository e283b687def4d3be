/* Frames that somebody on the way has recorded and sends again: later, after a restart, when the stream was
 * closed and forgotten, or as if they were another stream's, another tenant's or another source's. */
#include "tests/unit/consensusd/env.h"

#include "consensusd/e2e.h"

#define S1 "01ARZ3NDEKTSV4RRFFQ69G5001"
#define S2 "01ARZ3NDEKTSV4RRFFQ69G5002"
#define S3 "01ARZ3NDEKTSV4RRFFQ69G5003"

enum { RECORDS_MAX = 4096, SUBSCRIBE_CALL = 9, FLUSH_MESSAGES = 3 };

static struct env_node *const a = &env.nodes[0], *const b = &env.nodes[1];

static struct {
	size_t to, len;
	uint8_t bytes[FRAME_MAX_BYTES];
} records[RECORDS_MAX];
static size_t record_count;

/* Everything about streams. */
static bool
record(struct env *e, size_t from, struct frame *f)
{
	struct buf out;
	struct frame copy = *f;

	(void)from;
	if (f->type == FRAME_CONTROL || record_count == RECORDS_MAX)
		return true;
	copy.visit_count = 0;
	buf_init_fixed(&out, records[record_count].bytes, sizeof(records[0].bytes));
	assert_int_equal(frame_encode(&copy, &out), 0);
	records[record_count].to = (size_t)(env_find(e, frame_dst(f)) - e->nodes);
	records[record_count++].len = buf_left(&out);
	return true;
}

static void
replay(void)
{
	env.filter = NULL;
	for (size_t i = 0; i < record_count; i++)
		assert_int_equal(channel_send(env.nodes[records[i].to].transport, CT_FRAMES_IN, 0,
				     records[i].bytes, records[i].len),
		    0);
}

static int
setup(void **state)
{
	int err = env_setup(state);

	record_count = 0;
	env.filter = record;
	return err;
}

/* --- a session --- */

static void
subscribe(void)
{
	mesh_v1_StreamSelector sel = env_selector("one", "");

	b->auto_ack = true;
	env_subscribe(b, SUBSCRIBE_CALL, &sel);
}

/* All of them are processed. */
static void
publish(const char *stream, unsigned count)
{
	const mesh_v1_Chunk chunk = env_chunk(stream, 0);

	for (unsigned i = 0; i < count; i++) {
		env_forget(a, 2);
		env_publish_send(a, GC_PUBLISH, 2, &chunk, "hello", 5);
		assert_int_equal(env_wait(a, 2)->replies, 1);
	}
}

static void
open_stream(const char *stream)
{
	assert_int_equal(env_open(a, "one", stream, "b")->replies, 1);
}

static bool
forgotten(struct env *e)
{
	return e->nodes[0].engine.sources == NULL && e->nodes[1].engine.sinks == NULL;
}

static void
close_stream(const char *stream)
{
	env_close(a, 3, stream);
	assert_int_equal(env_wait(a, 3)->replies, 1);
	env_run(&env, forgotten);
}

static unsigned
got(void)
{
	return b->calls[SUBSCRIBE_CALL].items;
}

static struct sink *
sink_of(const char *stream)
{
	struct ulid id;

	assert_int_equal(ulid_parse(stream, &id), 0);
	return sink_find(&b->engine, &id);
}

/* --- the same frames --- */

static void
test_while_open(void **state)
{
	(void)state;
	subscribe();
	open_stream(S1);
	publish(S1, 5);
	replay();
	publish(S1, 5);
	replay();
	publish(S1, FLUSH_MESSAGES);
	assert_int_equal(got(), 10 + FLUSH_MESSAGES);
	assert_false(b->calls[SUBSCRIBE_CALL].out_of_order);
	assert_int_equal(sink_of(S1)->target->stored_seq, 10 + FLUSH_MESSAGES);
}

static void
test_after_restarts(void **state)
{
	(void)state;
	subscribe();
	open_stream(S1);
	publish(S1, 5);
	env.filter = NULL;
	env_stop(b);
	env_start(b);
	env_run(&env, env_ready);
	replay();
	subscribe();
	publish(S1, 5);
	assert_int_equal(got(), 5);
	env_stop(a);
	env_start(a);
	env_run(&env, env_ready);
	replay();
	publish(S1, FLUSH_MESSAGES);
	assert_int_equal(got(), 5 + FLUSH_MESSAGES);
	assert_int_equal(sink_of(S1)->target->stored_seq, 10 + FLUSH_MESSAGES);
}

/* Replays a closed stream, and then uses another one, so that what was sent before has arrived. */
static void
replay_closed(const char *other)
{
	unsigned before;

	replay();
	open_stream(other);
	before = got();
	publish(other, FLUSH_MESSAGES);
	assert_int_equal(got(), before + FLUSH_MESSAGES);
	assert_null(sink_of(S1));
	close_stream(other);
}

static void
test_after_the_end(void **state)
{
	(void)state;
	subscribe();
	open_stream(S1);
	publish(S1, 5);
	close_stream(S1);
	replay_closed(S2);
	env_stop(b);
	env_start(b);
	env_run(&env, env_ready);
	subscribe();
	replay_closed(S3);
}

/* The target does not know any more that it was closed: it asks the source, which does not want it. */
static void
test_forgotten(void **state)
{
	int64_t challenged = stats.challenged.value;

	(void)state;
	subscribe();
	open_stream(S1);
	publish(S1, 5);
	close_stream(S1);
	idcache_fini(&b->engine.closed);
	idcache_init(&b->engine.closed, 2, 7);
	/* One has to be forgotten. */
	for (uint8_t i = 0; i < 3; i++) {
		const struct ulid other = {{i}};

		fresh_closed(&b->engine, &other, 1);
	}
	assert_true(b->engine.fresh.floor_ms >= clock_unix_ms() - 60000);
	replay();
	/* Everything that b was sent before this is behind it. */
	open_stream(S2);
	publish(S2, FLUSH_MESSAGES);
	assert_int_equal(got(), 5 + FLUSH_MESSAGES);
	assert_null(sink_of(S1));
	assert_true(stats.challenged.value > challenged);
}

/* One that is old and wanted is opened, at the price of one question; a recorded answer is no better than a
 * recorded question. */
static void
test_old_and_wanted(void **state)
{
	int64_t challenged = stats.challenged.value;

	(void)state;
	subscribe();
	b->engine.fresh.floor_ms = UINT64_MAX;
	open_stream(S1);
	publish(S1, 5);
	assert_int_equal(stats.challenged.value, challenged + 1);
	close_stream(S1);
	idcache_fini(&b->engine.closed);
	idcache_init(&b->engine.closed, 2, 7);
	fresh_init(&b->engine.fresh); /* it is good for two minutes, and not in another process */
	b->engine.fresh.floor_ms = UINT64_MAX;
	replay();
	open_stream(S2);
	publish(S2, FLUSH_MESSAGES);
	assert_int_equal(got(), 5 + FLUSH_MESSAGES);
	assert_null(sink_of(S1));
}

/* --- as something else --- */

static void
change_stream(mesh_e2e_Header *h, struct frame *f)
{
	struct ulid id;

	(void)f;
	assert_int_equal(ulid_parse(S2, &id), 0);
	memcpy(h->stream_id.bytes, id.b, ULID_BYTES);
}

static void
change_tenant(mesh_e2e_Header *h, struct frame *f)
{
	(void)f;
	snprintf(h->tenant_id, sizeof(h->tenant_id), "two");
}

static void
change_source(mesh_e2e_Header *h, struct frame *f)
{
	h->source = f->src = env.nodes[2].engine.self;
}

static void
change_seq(mesh_e2e_Header *h, struct frame *f)
{
	(void)f;
	h->seq += 5;
	h->ack = h->stored = 6;
}

/* Each record with a valid checksum, but with the signature or the tag that it had. */
static void
replay_changed(void (*change)(mesh_e2e_Header *h, struct frame *f))
{
	uint8_t mem[FRAME_MAX_BYTES], again[FRAME_MAX_BYTES];

	env.filter = NULL;
	for (size_t i = 0; i < record_count; i++) {
		mesh_e2e_Header h = mesh_e2e_Header_init_zero;
		struct buf in, out;
		struct frame f, g;

		buf_view(&in, records[i].bytes, records[i].len);
		assert_int_equal(frame_decode(&in, &f), 0);
		assert_int_equal(e2e_get(&f, &h), 0);
		change(&h, &f);
		buf_init_fixed(&out, mem, sizeof(mem));
		assert_int_equal(e2e_put_frame(&out, &h, f.payload, f.payload_len), 0);
		assert_int_equal(frame_decode(&out, &g), 0);
		g.visit_count = 0;
		buf_init_fixed(&out, again, sizeof(again));
		assert_int_equal(frame_encode(&g, &out), 0);
		assert_int_equal(channel_send(env.nodes[records[i].to].transport, CT_FRAMES_IN, 0,
				     buf_head(&out), buf_left(&out)),
		    0);
	}
}

static void
test_as_something_else(void **state)
{
	void (*const changes[])(mesh_e2e_Header *, struct frame *) = {
	    change_stream, change_tenant, change_source, change_seq};

	(void)state;
	subscribe();
	open_stream(S1);
	publish(S1, 5);
	env.filter = NULL;
	open_stream(S2);
	for (size_t i = 0; i < COUNT(changes); i++) {
		int64_t bad = stats.bad_frames.value + stats.rejected.value;
		uint64_t stored = sink_of(S1)->target->stored_seq;
		unsigned before = got();

		replay_changed(changes[i]);
		publish(S1, 1);
		publish(S2, 1);
		assert_int_equal(got(), before + 2);
		assert_int_equal(sink_of(S1)->target->stored_seq, stored + 1);
		assert_int_equal(sink_of(S2)->target->stored_seq, i + 1);
		assert_true(stats.bad_frames.value + stats.rejected.value > bad);
	}
	assert_int_equal(HASH_COUNT(b->engine.sinks), 2);
	assert_null(env.nodes[2].engine.sinks);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, env_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_while_open),
	    TEST(test_after_restarts),
	    TEST(test_after_the_end),
	    TEST(test_forgotten),
	    TEST(test_old_and_wanted),
	    TEST(test_as_something_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
