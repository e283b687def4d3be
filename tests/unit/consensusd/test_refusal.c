/* Who may refuse a stream: its target alone, in answer to what it was asked now. */
#include "tests/unit/consensusd/virtual.h"

#include "consensusd/code.h"
#include "consensusd/core/stream.h"
#include "consensusd/peers.h"
#include "consensusd/source.h"
#include "consensusd/tag.h"
#include "tests/unit/consensusd/mesh_user.h"
#include "tests/unit/consensusd/relation_user.h"

#define STREAM "01ARZ3NDEKTSV4RRFFQ69G5FAV"

enum { COUNT_SENT = 10 };

/* What passes on the way from b to a. */
static struct {
	bool drop_control; /* b hears nothing of the control group */
	bool keep;         /* of refusals, instead of passing them on */
	uint8_t frame[FRAME_MAX_BYTES];
	size_t len;
	uint64_t question; /* the last one that was asked */
} way;

static void
record(const struct frame *from)
{
	struct frame copy = *from, *f = &copy;
	struct buf out;

	buf_init_fixed(&out, way.frame, sizeof(way.frame));
	f->visit_count = 0;
	assert_int_equal(frame_encode(f, &out), 0);
	way.len = buf_left(&out);
}

static bool
filter(struct env *e, size_t from, struct frame *f)
{
	mesh_e2e_Header h = mesh_e2e_Header_init_zero;

	if (f->type == FRAME_CONTROL && way.drop_control && (from == 1 || frame_dst(f) == net.who[1].id))
		return false;
	if (f->type == FRAME_STREAM && e2e_get(f, &h) == 0) {
		if (h.msg_type == mesh_e2e_MsgType_MSG_OPEN && from == 0)
			way.question = h.question;
		if (h.msg_type == mesh_e2e_MsgType_MSG_REFUSED && from == 1) {
			record(f);
			if (way.keep)
				return false;
		}
	}
	return net_filter(e, from, f);
}

static int
setup(void **state)
{
	int err = mesh_setup(state);

	memset(&way, 0, sizeof(way));
	env.filter = filter;
	return err;
}

/* --- the source --- */

static struct source *
the_source(void)
{
	struct ulid id;

	assert_int_equal(ulid_parse(STREAM, &id), 0);
	return source_find(&a->engine, &id);
}

static struct source_flow *
the_flow(void)
{
	return &the_source()->flows[0];
}

static bool
is_open(struct env *e)
{
	(void)e;
	return the_source() != NULL && the_flow()->flow->state == FLOW_OPEN;
}

static bool
is_refused(struct env *e)
{
	(void)e;
	return the_source() != NULL && the_flow()->flow->state == FLOW_REFUSED;
}

static bool
is_closed(struct env *e)
{
	(void)e;
	return the_source() == NULL;
}

static bool
b_got(struct env *e)
{
	return e->nodes[1].calls[9].last_seq >= (int64_t)wanted;
}

/* --- forging --- */

static void
deliver(const uint8_t *frame, size_t len)
{
	assert_int_equal(channel_send(a->transport, CT_FRAMES_IN, 0, frame, len), 0);
	net_pass(5);
}

/* Any node can say what it wants in the name of another, but for its key. */
static void
say(mesh_e2e_Header *h, const struct env_node *in_name_of, const void *payload, size_t len)
{
	h->source = net.who[in_name_of->index].id;
	env_send_frame(a, h, payload, len);
	net_pass(5);
}

static mesh_e2e_Header
header(uint32_t type)
{
	mesh_e2e_Header h = mesh_e2e_Header_init_zero;
	struct ulid id;

	assert_int_equal(ulid_parse(STREAM, &id), 0);
	h.msg_type = type;
	memcpy(h.stream_id.bytes, id.b, ULID_BYTES);
	h.stream_id.size = ULID_BYTES;
	memcpy(h.tenant_id, "one", sizeof("one"));
	h.source = net.who[1].id;
	h.destination = a->engine.self;
	h.question = way.question;
	return h;
}

static void
say_unknown(void)
{
	mesh_e2e_Header h = header(mesh_e2e_MsgType_MSG_UNKNOWN_STREAM);

	say(&h, b, NULL, 0);
}

/* With a tag of by and the key of shown, in b's name. */
static void
say_refused(struct env_node *by, const struct env_node *shown, uint64_t revision, uint64_t question)
{
	mesh_e2e_Header h = header(mesh_e2e_MsgType_MSG_REFUSED);
	mesh_e2e_Refusal r = {.code = CODE_PERMISSION_DENIED, .reason = "forged", .revision = revision};
	uint8_t mem[512];
	struct buf out;

	h.question = question;
	r.node_key.size = shown != NULL ? 32 : 0;
	if (shown != NULL)
		memcpy(r.node_key.bytes, net.who[shown->index].public_key, 32);
	buf_init_fixed(&out, mem, sizeof(mem));
	assert_int_equal(pb_pack(&out, mesh_e2e_Refusal_fields, &r), 0);
	if (by != NULL) {
		const uint8_t *key = peers_pair_key(by->engine.peers, a->engine.public_key);

		assert_non_null(key);
		assert_int_equal(tag_make_refusal(key, &h, buf_head(&out), buf_left(&out)), 0);
	}
	say(&h, b, buf_head(&out), buf_left(&out));
}

/* A stream to b, which has some of what was published, and to which nothing goes any more. */
static void
open_and_cut(void)
{
	env_open(a, "one", STREAM, "b");
	publish_to(STREAM, COUNT_SENT);
	env_run(&env, is_open);
	net_pass(100);
	net.cut[0][1] = net.cut[1][0] = true;
	publish_to(STREAM, COUNT_SENT);
	net_pass(100);
	say_unknown();
	net_pass(500);
	assert_int_equal(the_flow()->flow->state, FLOW_OPENING);
	assert_true(way.question != 0 && way.question == the_flow()->question);
}

static void
test_forged(void **state)
{
	uint64_t revision, question, bad;

	(void)state;
	open_and_cut();
	revision = the_source()->row.revision;
	question = way.question;
	bad = (uint64_t)stats.bad_frames.value;
	say_refused(NULL, b, revision, question);
	say_refused(NULL, NULL, revision, question);
	/* By another node, with its own key or with b's. */
	say_refused(c, c, revision, question);
	say_refused(c, b, revision, question);
	assert_int_equal(stats.bad_frames.value, bad + 4);
	/* Of b, to another question, and about what the stream was before. */
	say_refused(b, b, revision, question + 1);
	say_refused(b, b, revision, 0);
	say_refused(b, b, revision - 1, question);
	assert_int_equal(the_flow()->flow->state, FLOW_OPENING);
	assert_string_equal(the_flow()->error, "");
	say_refused(b, b, revision, question);
	assert_int_equal(the_flow()->flow->state, FLOW_REFUSED);
	/* It was answered: the same again is none of the next question. */
	assert_int_equal(the_flow()->question, 0);
	net.cut[0][1] = net.cut[1][0] = false;
	env_run(&env, is_open);
	subscribe(b);
	until(b_got, 2 * COUNT_SENT);
}

/* A stream that is being closed does not lose its tail. */
static void
test_forged_at_the_end(void **state)
{
	(void)state;
	open_and_cut();
	env_close(a, 3, STREAM);
	net_pass(100);
	for (unsigned i = 0; i < 20; i++) {
		say_unknown();
		say_refused(c, b, the_source()->row.revision, way.question);
		assert_non_null(the_source());
		assert_int_equal(the_source()->stream->state, STREAM_CLOSING);
		assert_true(the_flow()->flow->state < FLOW_REFUSED);
		net_pass(100);
	}
	net.cut[0][1] = net.cut[1][0] = false;
	subscribe(b);
	until(b_got, 2 * COUNT_SENT);
	assert_int_equal(b->calls[9].items, 2 * COUNT_SENT);
	env_run(&env, is_closed);
}

/* What a target said before it had the key is nothing when it has it. */
static void
test_replayed(void **state)
{
	uint8_t old[FRAME_MAX_BYTES];
	size_t len;

	(void)state;
	keyring_dir_put(&b->dir, "tenants/one.key", KEY_C "\n", 0600);
	assert_int_equal(keyring_reload(b->keyring), 0);
	env_open_send(a, 1, "one", STREAM, "b");
	env_run(&env, is_refused);
	assert_non_null(strstr(the_flow()->error, "no key"));
	memcpy(old, way.frame, len = way.len);
	keyring_dir_put(&b->dir, "tenants/one.key", KEY_A "\n", 0600);
	assert_int_equal(keyring_reload(b->keyring), 0);
	env_run(&env, is_open);
	publish_to(STREAM, COUNT_SENT);
	net.cut[0][1] = net.cut[1][0] = true;
	say_unknown();
	net_pass(200);
	assert_int_equal(the_flow()->flow->state, FLOW_OPENING);
	deliver(old, len);
	assert_int_equal(the_flow()->flow->state, FLOW_OPENING);
	assert_string_equal(the_flow()->error, "");
	net.cut[0][1] = net.cut[1][0] = false;
	subscribe(b);
	until(b_got, COUNT_SENT);
}

/* --- a target that has not heard of the key yet --- */

static struct outcome
rotate(void)
{
	uint64_t nodes[ENV_NODES] = {net.who[0].id, net.who[1].id, net.who[2].id};
	struct outcome x = {0};

	await_leader_known(a);
	assert_int_equal(mesh_rotate(mesh_of(a), "one", nodes, 3, 1000, 10000, on_outcome, &x), 0);
	await(&x);
	assert_ended_well(&x);
	return x;
}

static void
test_key_is_late(void **state)
{
	(void)state;
	seed_and_join();
	rotate();
	settle(3, 3);
	way.drop_control = true;
	net_pass(5000);
	rotate();
	env_open_send(a, 1, "one", STREAM, "b");
	net_pass(3000);
	assert_int_equal(the_flow()->flow->state, FLOW_OPENING);
	assert_non_null(strstr(the_flow()->error, "as new as the stream's"));
	publish_to(STREAM, COUNT_SENT);
	net_pass(3000);
	assert_false(stream_hopeless(the_source()->stream));
	way.drop_control = false;
	env_run(&env, is_open);
	assert_string_equal(the_flow()->error, "");
	subscribe(b);
	until(b_got, COUNT_SENT);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, env_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_forged),
	    TEST(test_forged_at_the_end),
	    TEST(test_replayed),
	    TEST(test_key_is_late),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
