/* Delivery between nodes: subscribers, credit, acks, restarts, lost frames, and frames that lie. */
#include "tests/unit/consensusd/env.h"

#include "consensusd/e2e.h"
#include "consensusd/limits.h"
#include "consensusd/seal.h"
#include "consensusd/tag.h"

#define S1 "01ARZ3NDEKTSV4RRFFQ69G5001"
#define S2 "01ARZ3NDEKTSV4RRFFQ69G5002"

static struct env_node *const a = &env.nodes[0], *const b = &env.nodes[1], *const c = &env.nodes[2];

static void
publish_many(struct env_node *n, uint32_t call, const char *stream, int count, size_t size)
{
	static uint8_t payload[100000];
	mesh_v1_Chunk chunk = env_chunk(stream, 0);

	if (n->calls[call].items == 0)
		env_forget(n, call);
	for (int i = 0; i < count; i++)
		env_publish_send(n, GC_PUBLISH_ITEM, call, &chunk, payload, size);
}

static unsigned wanted;

static bool
b_has(struct env *e)
{
	return e->nodes[1].calls[9].items >= wanted;
}

static bool
a_confirmed(struct env *e)
{
	return e->nodes[0].calls[2].items >= wanted;
}

static void
until(bool (*what)(struct env *e), unsigned count)
{
	wanted = count;
	env_run(&env, what);
}

/* --- credit --- */

static bool
b_stored(struct env *e)
{
	return e->nodes[1].engine.sinks != NULL && e->nodes[1].engine.sinks->target->stored_seq >= wanted;
}

/* Without acks there is one window; each ack gives back what it covers; more is read from the store. */
static void
test_window(void **state)
{
	mesh_v1_StreamSelector sel = env_selector("one", "");

	(void)state;
	env_open(a, "one", S1, "b");
	publish_many(a, 2, S1, 1500, 10);
	until(b_stored, 1500);
	env_subscribe(b, 9, &sel);
	until(b_has, SUBSCRIBER_WINDOW_COUNT);
	env_run(&env, env_ready);
	assert_int_equal(b->calls[9].items, SUBSCRIBER_WINDOW_COUNT);
	env_ack(b, 9, S1, 300);
	until(b_has, SUBSCRIBER_WINDOW_COUNT + 300);
	env_ack(b, 9, S1, 1300);
	until(b_has, 1500);
	env_ack(b, 9, S1, 1500);
	until(a_confirmed, 1500);
	assert_false(b->calls[9].out_of_order);
	assert_false(a->calls[2].out_of_order);
	/* The same by bytes. */
	publish_many(a, 2, S1, 30, 60000);
	until(b_has, 1500 + 18);
	env_run(&env, env_ready);
	assert_in_range(b->calls[9].items, 1500 + 17, 1500 + 18);
}

static void
test_window_updates(void **state)
{
	mesh_v1_StreamSelector sel = env_selector("one", "");

	(void)state;
	env_open(a, "one", S1, "b");
	publish_many(a, 2, S1, 100, 10);
	until(b_stored, 100);
	sel.has_window = true;
	sel.window.messages = 5;
	env_subscribe(b, 9, &sel);
	until(b_has, 5);
	env_ack(b, 9, S1, 5);
	until(a_confirmed, 5);
	assert_int_equal(b->calls[9].items, 5);
	sel = (mesh_v1_StreamSelector)mesh_v1_StreamSelector_init_zero;
	sel.has_window = true;
	sel.window.messages = 10;
	env_send_pb(b->gateway, GC_SUBSCRIBE_MORE, 9, mesh_v1_StreamSelector_fields, &sel);
	until(b_has, 15);
	sel.window.messages = -1;
	env_send_pb(b->gateway, GC_SUBSCRIBE_MORE, 9, mesh_v1_StreamSelector_fields, &sel);
	assert_int_equal(env_wait(b, 9)->code, CODE_INVALID_ARGUMENT);
}

/* --- who gets what --- */

static void
test_take_over(void **state)
{
	mesh_v1_StreamSelector sel = env_selector("one", "");

	(void)state;
	env_open(a, "one", S1, "b");
	publish_many(a, 2, S1, 10, 10);
	env_subscribe(b, 9, &sel);
	until(b_has, 10);
	env_ack(b, 9, S1, 4);
	until(a_confirmed, 4);
	/* Not without asking for it. */
	sel = env_selector("one", S1);
	env_subscribe(b, 10, &sel);
	assert_int_equal(env_wait(b, 10)->code, CODE_ALREADY_EXISTS);
	assert_non_null(strstr(b->calls[10].message, S1 " has a subscriber at this node since 20"));
	sel.take_over = true;
	env_subscribe(b, 10, &sel);
	assert_int_equal(env_wait(b, 9)->code, CODE_ABORTED);
	assert_non_null(strstr(b->calls[9].message, "taken over"));
	/* The newer one gets what was not processed. */
	while (b->calls[10].items < 6)
		env_run(&env, env_ready);
	assert_int_equal(b->calls[10].last_seq, 10);
	/* And one that says how far it got, what follows. */
	sel.resume_count = 1;
	snprintf(sel.resume[0].stream_id, sizeof(sel.resume[0].stream_id), "%s", S1);
	sel.resume[0].seq = 9;
	env_subscribe(b, 11, &sel);
	until(a_confirmed, 9);
	while (b->calls[11].items < 1)
		env_run(&env, env_ready);
	assert_int_equal(b->calls[11].last_seq, 10);
}

static void
test_selectors(void **state)
{
	mesh_v1_StreamSelector sel = env_selector("one", S1);

	(void)state;
	/* A stream that is not there yet is waited for. */
	b->auto_ack = true;
	env_subscribe(b, 9, &sel);
	env_open(a, "one", S1, "b");
	publish_many(a, 2, S1, 3, 10);
	until(b_has, 3);
	/* Not what other nodes send, nor other tenants' streams. */
	sel = env_selector("one", "");
	snprintf(sel.node_ids[sel.node_ids_count++], 64, "c");
	env_subscribe(b, 10, &sel);
	env_open(c, "one", S2, "b");
	publish_many(c, 2, S2, 2, 10);
	while (b->calls[10].items < 2)
		env_run(&env, env_ready);
	assert_int_equal(b->calls[9].items, 3);
	sel = env_selector("two", S1);
	env_subscribe(b, 11, &sel);
	assert_int_equal(env_wait(b, 11)->code, CODE_PERMISSION_DENIED);
	sel = env_selector("two", "x");
	env_subscribe(b, 11, &sel);
	assert_int_equal(env_wait(b, 11)->code, CODE_INVALID_ARGUMENT);
	sel = env_selector("", "");
	env_subscribe(b, 11, &sel);
	assert_int_equal(env_wait(b, 11)->code, CODE_INVALID_ARGUMENT);
}

static struct env_call *
ack_unary(struct env_node *n, const char *stream, int64_t seq)
{
	mesh_v1_StreamAck ack = mesh_v1_StreamAck_init_zero;

	snprintf(ack.stream_id, sizeof(ack.stream_id), "%s", stream);
	ack.seq = seq;
	env_forget(n, 5);
	env_send_pb(n->gateway, GC_ACK, 5, mesh_v1_StreamAck_fields, &ack);
	return env_wait(n, 5);
}

static void
test_acks(void **state)
{
	mesh_v1_StreamSelector sel = env_selector("one", "");

	(void)state;
	env_open(a, "one", S1, "b");
	publish_many(a, 2, S1, 10, 10);
	until(b_stored, 10);
	/* Nothing was delivered to anybody. */
	assert_int_equal(ack_unary(b, S1, 1)->code, CODE_OUT_OF_RANGE);
	assert_int_equal(ack_unary(b, S2, 1)->code, CODE_NOT_FOUND);
	assert_int_equal(ack_unary(b, "?", 1)->code, CODE_INVALID_ARGUMENT);
	env_subscribe(b, 9, &sel);
	until(b_has, 10);
	assert_int_equal(ack_unary(b, S1, 7)->replies, 1);
	until(a_confirmed, 7);
	/* Again, or less: no harm. */
	assert_int_equal(ack_unary(b, S1, 3)->replies, 1);
	assert_int_equal(a->calls[2].items, 7);
	env_ack(b, 9, S1, 11);
	assert_int_equal(env_wait(b, 9)->code, CODE_OUT_OF_RANGE);
	env_subscribe(b, 9, &sel);
	env_ack(b, 9, S2, 1);
	assert_int_equal(env_wait(b, 9)->code, CODE_NOT_FOUND);
}

/* This node itself may be a target. */
static void
test_loopback(void **state)
{
	mesh_v1_StreamSelector sel = env_selector("one", "");

	(void)state;
	env_open(a, "one", S1, "ab");
	a->auto_ack = b->auto_ack = true;
	env_subscribe(a, 9, &sel);
	env_subscribe(b, 9, &sel);
	publish_many(a, 2, S1, 500, 5000);
	until(a_confirmed, 500);
	assert_int_equal(a->calls[9].items, 500);
	assert_int_equal(b->calls[9].items, 500);
	/* And again after a restart. */
	env_stop(a);
	a->identities = a->health = 0;
	env_start(a);
	env_run(&env, env_ready);
	env_subscribe(a, 9, &sel);
	env_forget(a, 2);
	publish_many(a, 2, S1, 20, 10);
	until(a_confirmed, 20);
	assert_int_equal(a->calls[2].last_seq, 520);
}

/* --- faults --- */

static void
test_loss(void **state)
{
	mesh_v1_StreamSelector sel = env_selector("one", "");

	(void)state;
	a->drop_percent = b->drop_percent = 10;
	env_open(a, "one", S1, "b");
	b->auto_ack = true;
	env_subscribe(b, 9, &sel);
	publish_many(a, 2, S1, 500, 2000);
	publish_many(a, 2, S1, 5, 100000);
	until(a_confirmed, 505);
	assert_int_equal(b->calls[9].items, 505);
	assert_false(b->calls[9].out_of_order);
}

static void
restart(struct env_node *n)
{
	env_stop(n);
	n->identities = n->health = 0;
	env_start(n);
	env_run(&env, env_ready);
}

static void
test_target_restarts(void **state)
{
	mesh_v1_StreamSelector sel = env_selector("one", "");

	(void)state;
	env_open(a, "one", S1, "b");
	publish_many(a, 2, S1, 200, 100);
	until(b_stored, 100);
	env_subscribe(b, 9, &sel);
	until(b_has, 100);
	env_ack(b, 9, S1, 50);
	until(a_confirmed, 50);
	restart(b);
	/* What was not processed comes again, from the inbox. */
	b->auto_ack = true;
	env_subscribe(b, 9, &sel);
	until(a_confirmed, 200);
	assert_int_equal(b->calls[9].items, 150);
	assert_int_equal(b->calls[9].last_seq, 200);
	assert_true(fake_dbs[1].reads > 0);
}

static void
test_source_restarts(void **state)
{
	mesh_v1_StreamSelector sel = env_selector("one", "");
	mesh_v1_Chunk chunk;

	(void)state;
	env_open(a, "one", S1, "bc");
	env_subscribe(b, 9, &sel);
	publish_many(a, 2, S1, 300, 100);
	until(b_has, 300);
	/* c does not process, so nothing is confirmed; a forgets who asked, but not the messages. */
	restart(a);
	assert_int_equal(a->engine.sources->stream->next_seq, 301);
	/* A publisher that is not sure says it again. */
	chunk = env_chunk(S1, 300);
	env_forget(a, 2);
	env_publish_send(a, GC_PUBLISH, 2, &chunk, "", 0);
	c->auto_ack = true;
	env_subscribe(c, 9, &sel);
	env_ack(b, 9, S1, 300);
	assert_int_equal(env_wait(a, 2)->replies, 1);
	assert_int_equal(c->calls[9].items, 300);
	assert_int_equal(b->calls[9].items, 300);
}

/* A message id is known after a restart, too. */
static void
test_ids_after_restart(void **state)
{
	mesh_v1_Chunk chunk = env_chunk(S1, 0);
	mesh_v1_PublishResult r = mesh_v1_PublishResult_init_zero;
	mesh_v1_StreamSelector sel = env_selector("one", "");

	(void)state;
	env_open(a, "one", S1, "b");
	publish_many(a, 2, S1, 7, 10);
	snprintf(chunk.message_id, sizeof(chunk.message_id), "01ARZ3NDEKTSV4RRFFQ69G6001");
	env_forget(a, 3);
	env_publish_send(a, GC_PUBLISH, 3, &chunk, "once", 4);
	until(b_stored, 8);
	restart(a);
	b->auto_ack = true;
	env_subscribe(b, 9, &sel);
	do {
		env_forget(a, 3);
		env_publish_send(a, GC_PUBLISH, 3, &chunk, "once", 4);
	} while (env_wait(a, 3)->replies == 0);
	assert_int_equal(pb_unpack(buf_head(&a->calls[3].body), buf_left(&a->calls[3].body),
			     mesh_v1_PublishResult_fields, &r),
	    0);
	assert_int_equal(r.seq, 8);
	assert_int_equal(b->calls[9].items, 8);
}

static bool
b_away(struct env *e)
{
	return !transport_up(e->nodes[1].engine.transport);
}

static void
test_transportd_restarts(void **state)
{
	mesh_v1_StreamSelector sel = env_selector("one", "");

	(void)state;
	env_open(a, "one", S1, "b");
	b->auto_ack = true;
	env_subscribe(b, 9, &sel);
	publish_many(a, 2, S1, 10, 10);
	until(a_confirmed, 10);
	channel_free(b->transport);
	b->transport = NULL;
	env_run(&env, b_away);
	publish_many(a, 2, S1, 10, 10);
	until(b_has, 10);
	env_connect_transport(b);
	until(a_confirmed, 20);
	assert_int_equal(b->calls[9].items, 20);
}

static void
hold(struct env_node *n, struct env_node *to, bool on)
{
	mesh_ipc_Hold h = mesh_ipc_Hold_init_zero;

	h.destination = to->engine.self;
	h.hold = on;
	env_send_pb(n->transport, CT_HOLD, 0, mesh_ipc_Hold_fields, &h);
}

static bool
is_held(struct env *e)
{
	const struct node *n = nodes_find(&e->nodes[0].engine.nodes, e->nodes[1].engine.self);

	return n != NULL && n->held;
}

static bool
a_durable(struct env *e)
{
	return e->nodes[0].engine.sources->stream->durable_seq >= wanted;
}

static void
test_hold(void **state)
{
	mesh_v1_StreamSelector sel = env_selector("one", "");

	(void)state;
	env_open(a, "one", S1, "b");
	b->auto_ack = true;
	env_subscribe(b, 9, &sel);
	publish_many(a, 2, S1, 1, 10);
	until(a_confirmed, 1);
	hold(a, b, true);
	env_run(&env, is_held);
	publish_many(a, 2, S1, 10, 10);
	until(a_durable, 11);
	env_run(&env, env_ready);
	assert_int_equal(b->calls[9].items, 1);
	hold(a, b, false);
	until(a_confirmed, 11);
}

/* --- frames that lie --- */

/* As a node that has the tenant's key does it. */
static void
send_tagged(struct env_node *to, mesh_e2e_Header *h, const void *payload, size_t len)
{
	if (tag_needed(h->msg_type))
		assert_int_equal(tag_make(a->engine.keyring, h, payload, len), 0);
	env_send_frame(to, h, payload, len);
}

static int64_t bad_before;

static bool
one_more_bad(struct env *e)
{
	(void)e;
	return stats.bad_frames.value > bad_before;
}

static void
assert_bad(struct env_node *to, mesh_e2e_Header *h, const void *payload, size_t len)
{
	bad_before = stats.bad_frames.value;
	h->destination = to->engine.self;
	send_tagged(to, h, payload, len);
	env_run(&env, one_more_bad);
}

static mesh_e2e_Header
header(uint32_t type, const struct env_node *from)
{
	mesh_e2e_Header h = mesh_e2e_Header_init_zero;
	struct ulid id;

	assert_int_equal(ulid_parse(S1, &id), 0);
	h.msg_type = type;
	memcpy(h.stream_id.bytes, id.b, ULID_BYTES);
	h.stream_id.size = ULID_BYTES;
	h.source = from->engine.self;
	memcpy(h.tenant_id, "one", sizeof("one"));
	return h;
}

/* Only the source speaks for a stream, only its targets answer, and nobody acknowledges what is not. */
static void
test_forged(void **state)
{
	mesh_e2e_Header h;
	struct store_stream *row;

	(void)state;
	env_open(a, "one", S1, "b");
	publish_many(a, 2, S1, 3, 10);
	until(b_stored, 3);
	h = header(mesh_e2e_MsgType_MSG_ACK, c);
	h.stored = h.ack = 3;
	assert_bad(a, &h, NULL, 0);
	h = header(mesh_e2e_MsgType_MSG_ACK, b);
	h.stored = h.ack = 4;
	assert_bad(a, &h, NULL, 0);
	h = header(mesh_e2e_MsgType_MSG_CLOSE, c);
	h.seq = 3;
	assert_bad(b, &h, NULL, 0);
	h = header(mesh_e2e_MsgType_MSG_CLOSED, b);
	assert_bad(a, &h, NULL, 0);
	/* The stream's own statement, sent by another node; and a bent one. */
	row = &b->engine.sinks->row;
	h = header(mesh_e2e_MsgType_MSG_OPEN, c);
	assert_bad(b, &h, row->meta, row->meta_len);
	h = header(mesh_e2e_MsgType_MSG_OPEN, a);
	assert_bad(b, &h, row->meta, row->meta_len - 1);
	/* For another node. */
	h = header(mesh_e2e_MsgType_MSG_ACK, b);
	h.destination = c->engine.self;
	bad_before = stats.bad_frames.value;
	send_tagged(a, &h, NULL, 0);
	env_run(&env, one_more_bad);
	assert_int_equal(a->engine.sources->stream->committed_seq, 0);
	assert_int_equal(b->engine.sinks->target->stored_seq, 3);
}

/* What a node without the tenant's key says in a target's name: true as it may be, it proves nothing. */
static void
test_untagged(void **state)
{
	static const uint32_t types[] = {mesh_e2e_MsgType_MSG_ACK, mesh_e2e_MsgType_MSG_OPENED};
	mesh_e2e_Header h;

	(void)state;
	env_open(a, "one", S1, "b");
	publish_many(a, 2, S1, 3, 10);
	until(b_stored, 3);
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		for (int how = 0; how < 3; how++) {
			h = header(types[i], b);
			h.stored = h.ack = 3;
			h.destination = a->engine.self;
			if (how == 1) { /* a tag that was made for something else */
				h.ack = 1;
				assert_int_equal(tag_make(a->engine.keyring, &h, NULL, 0), 0);
				h.ack = 3;
			} else if (how == 2) { /* a good one of another tenant */
				memcpy(h.tenant_id, "two", sizeof("two"));
				assert_int_equal(tag_make(a->engine.keyring, &h, NULL, 0), 0);
			}
			bad_before = stats.bad_frames.value;
			env_send_frame(a, &h, NULL, 0);
			env_run(&env, one_more_bad);
			assert_int_equal(a->engine.sources->stream->committed_seq, 0);
		}
	}
}

static bool
b_open(struct env *e)
{
	return e->nodes[1].engine.sinks != NULL && e->nodes[1].engine.sinks->target->state == TARGET_OPEN;
}

static bool
b_closed(struct env *e)
{
	return e->nodes[1].engine.sinks == NULL;
}

static bool
late_heard(struct env *e)
{
	(void)e;
	return stats.bad_frames.value + stats.received.value > bad_before;
}

/* A source that sends a message after it has closed the stream, before that is durable: nothing of it may
 * wait for the store when the stream goes. */
static void
test_beyond_the_end(void **state)
{
	static const uint8_t message_id[ULID_BYTES] = {1};
	struct seal_message m = {.payload = (const uint8_t *)"late", .payload_len = 4};
	mesh_e2e_Header h;
	struct e2e_way way = {.tenant = "one"};
	struct batch *late;
	struct ulid id;
	uint8_t mem[FRAME_MAX_BYTES];
	struct buf out;
	struct frame f;

	(void)state;
	memcpy(m.message_id.b, message_id, ULID_BYTES);
	env_open(a, "one", S1, "b");
	env_run(&env, b_open);
	assert_int_equal(ulid_parse(S1, &id), 0);
	assert_int_equal(seal_batch(a->engine.keyring, &id, "one", 1, 1, &m, 1, &late), 0);
	way.source = a->engine.self;
	way.destination = b->engine.self;
	buf_init_fixed(&out, mem, sizeof(mem));
	assert_int_equal(e2e_put_fragment(&out, late, &way, 0), 0);
	batch_unref(late);
	assert_int_equal(frame_decode(&out, &f), 0);
	assert_int_equal(e2e_get(&f, &h), 0);
	fake_dbs[1].hold = true;
	bad_before = stats.bad_frames.value + stats.received.value;
	for (int i = 0; i < 2; i++) {
		mesh_e2e_Header end = header(mesh_e2e_MsgType_MSG_CLOSE, a);

		end.destination = b->engine.self;
		send_tagged(b, &end, NULL, 0);
		env_send_frame(b, &h, f.payload, f.payload_len);
	}
	env_run(&env, late_heard);
	fake_dbs[1].hold = false;
	fake_changed(&fake_dbs[1]);
	env_run(&env, b_closed);
}

static bool
flip_bit(struct env *e, size_t from, struct frame *f)
{
	static uint8_t copy[FRAME_PAYLOAD_MAX_BYTES];
	mesh_e2e_Header h = mesh_e2e_Header_init_zero;

	(void)from;
	if (f->type != FRAME_DATA || rng_below(&e->rng, 3) != 0)
		return true;
	/* A relay that changes the content, and makes the checksum fit. */
	assert_int_equal(e2e_get(f, &h), 0);
	memcpy(copy, f->payload, f->payload_len);
	copy[f->payload_len / 2] ^= 1;
	env_send_frame(&e->nodes[1], &h, copy, f->payload_len);
	return false;
}

static void
test_changed_content(void **state)
{
	mesh_v1_StreamSelector sel = env_selector("one", "");
	int64_t before = stats.rejected.value;

	(void)state;
	env.filter = flip_bit;
	env_open(a, "one", S1, "b");
	b->auto_ack = true;
	env_subscribe(b, 9, &sel);
	for (int i = 1; i <= 20; i++) {
		publish_many(a, 2, S1, 1, 20000);
		until(a_confirmed, (unsigned)i);
	}
	assert_true(stats.rejected.value > before);
	assert_int_equal(b->calls[9].items, 20);
	assert_false(b->calls[9].out_of_order);
}

static bool
a_closed_it(struct env *e)
{
	return !channel_up(e->nodes[0].transport);
}

static void
test_malformed(void **state)
{
	static const uint8_t junk[64] = {0x01, 0xff, 0xff, 0x00};

	(void)state;
	assert_int_equal(channel_send(a->transport, CT_FRAMES_IN, 0, junk, sizeof(junk)), 0);
	env_run(&env, a_closed_it);
}

/* --- what links are told about a stream's frames --- */

static struct {
	uint32_t flow;
	unsigned frames, striped, flows;
} seen;

static bool
see(struct env *e, size_t from, struct frame *f)
{
	(void)e;
	(void)from;
	if (f->type == FRAME_CONTROL)
		return true; /* of the stream's group */
	if (seen.frames++ != 0 && f->flow != seen.flow)
		seen.flows++;
	seen.flow = f->flow;
	if ((f->flags & FRAME_FLAG_STRIPE) != 0) {
		assert_int_equal(f->type, FRAME_DATA);
		seen.striped++;
	}
	return true;
}

static void
publish_one(int64_t seq, size_t len)
{
	mesh_v1_Chunk chunk = env_chunk(S1, seq);
	uint8_t *payload = mem_calloc(1, len);

	assert_non_null(payload);
	env_forget(a, 2);
	env_publish_send(a, GC_PUBLISH, 2, &chunk, payload, len);
	assert_int_equal(env_wait(a, 2)->replies, 1);
	mem_free(payload);
}

/* Only what is large is striped, and only if the stream was opened so; a restart does not forget it. */
static void
test_striping(void **state)
{
	mesh_v1_StreamSelector sel = env_selector("one", "");
	struct ulid id;

	(void)state;
	assert_int_equal(ulid_parse(S1, &id), 0);
	memset(&seen, 0, sizeof(seen));
	env.filter = see;
	assert_int_equal(env_open_meta(a, S1, "b", "\x0a\x08striping\x12\x02on", 14)->replies, 1);
	b->auto_ack = true;
	env_subscribe(b, 9, &sel);
	publish_one(1, STRIPE_MIN_BYTES / 2);
	assert_int_equal(seen.striped, 0);
	publish_one(2, STRIPE_MIN_BYTES);
	assert_true(seen.striped >= STRIPE_MIN_BYTES / FRAME_PAYLOAD_MAX_BYTES);
	restart(a);
	seen.striped = 0;
	publish_one(3, STRIPE_MIN_BYTES);
	assert_true(seen.striped >= STRIPE_MIN_BYTES / FRAME_PAYLOAD_MAX_BYTES);
	/* One flow, acks and stream messages included. */
	assert_int_equal(seen.flows, 0);
	assert_int_equal(seen.flow, e2e_flow("one", &id));
	env_open(a, "one", S2, "b");
	assert_int_equal(seen.flows, 1);
	env.filter = NULL;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, env_setup, env_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_window),
	    TEST(test_window_updates),
	    TEST(test_take_over),
	    TEST(test_selectors),
	    TEST(test_acks),
	    TEST(test_loopback),
	    TEST(test_loss),
	    TEST(test_target_restarts),
	    TEST(test_source_restarts),
	    TEST(test_ids_after_restart),
	    TEST(test_transportd_restarts),
	    TEST(test_hold),
	    TEST(test_forged),
	    TEST(test_untagged),
	    TEST(test_beyond_the_end),
	    TEST(test_changed_content),
	    TEST(test_malformed),
	    TEST(test_striping),
	};

	stats_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
