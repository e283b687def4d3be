/* Real transportd processes, in their sandbox, with stand-ins for the siblings. */
#include "tests/rig/transport.h"
#include "tests/unit/unit.h"

static bool
linked_to(void *arg)
{
	struct rig_node **pair = arg;

	return rig_has_link(pair[0], pair[1]->id) && rig_has_link(pair[1], pair[0]->id);
}

static void
wait_link(struct rig *r, struct rig_node *a, struct rig_node *b)
{
	struct rig_node *pair[2] = {a, b};

	assert_true(rig_wait(r, linked_to, pair, RIG_WAIT_MS));
}

static void
two_nodes_link(void **state)
{
	struct rig r;
	struct rig_node *a, *b;

	(void)state;
	rig_init(&r);
	a = rig_add(&r, "a");
	b = rig_add(&r, "b");
	rig_conf(a, "\tpeer b { address 127.0.0.1:%u }", b->port);
	rig_conf(b, "");
	rig_start(a);
	rig_start(b);
	wait_link(&r, a, b);
	assert_true(rig_alive(a));
	assert_true(rig_alive(b));
	assert_int_equal(rig_kill(a, SIGTERM), 0);
	rig_fini(&r);
}

/* --- a line: a - b - c --- */

struct line {
	struct rig r;
	struct rig_node *a, *b, *c;
};

static void
line_routes(struct line *l)
{
	const uint64_t a_to_c[] = {l->b->id, l->c->id}, c_to_a[] = {l->b->id, l->a->id};

	rig_route(l->a, l->c->id, a_to_c, 2);
	rig_route(l->a, l->b->id, a_to_c, 1);
	rig_route(l->c, l->a->id, c_to_a, 2);
	rig_route(l->b, l->a->id, c_to_a + 1, 1);
	rig_route(l->b, l->c->id, a_to_c + 1, 1);
}

static void
line_up(struct line *l)
{
	rig_init(&l->r);
	l->a = rig_add(&l->r, "a");
	l->b = rig_add(&l->r, "b");
	l->c = rig_add(&l->r, "c");
	rig_conf(l->a, "\tpeer b { address 127.0.0.1:%u }", l->b->port);
	rig_conf(l->b, "");
	rig_conf(l->c, "\tpeer b { address 127.0.0.1:%u }", l->b->port);
	rig_start(l->b);
	rig_start(l->a);
	rig_start(l->c);
	wait_link(&l->r, l->a, l->b);
	wait_link(&l->r, l->c, l->b);
	line_routes(l);
}

static void
line_down(struct line *l)
{
	assert_true(rig_alive(l->a));
	assert_true(rig_alive(l->b));
	assert_true(rig_alive(l->c));
	rig_fini(&l->r);
}

static void
send_data(struct rig_node *from, uint64_t dst, const void *payload, size_t len)
{
	struct buf out;

	buf_init(&out, FRAME_MAX_BYTES);
	assert_int_equal(rig_data(&out, from, dst, payload, len), 0);
	assert_int_equal(channel_send(from->consensus, CT_FRAMES_OUT, 0, buf_head(&out), buf_left(&out)), 0);
	buf_fini(&out);
}

static struct {
	unsigned count;
	struct frame last;
	uint8_t payload[FRAME_PAYLOAD_MAX_BYTES];
} got;

static void
keep_frame(struct rig_node *n, const struct frame *f)
{
	(void)n;
	got.count++;
	got.last = *f;
	memcpy(got.payload, f->payload, f->payload_len);
}

static bool
got_one(void *arg)
{
	return got.count >= *(unsigned *)arg;
}

static void
wait_frames(struct rig *r, unsigned count)
{
	assert_true(rig_wait(r, got_one, &count, RIG_WAIT_MS));
}

static void
a_frame_crosses_a_relay(void **state)
{
	uint8_t payload[FRAME_PAYLOAD_MAX_BYTES];
	struct line l;

	(void)state;
	memset(&got, 0, sizeof(got));
	line_up(&l);
	l.c->on_frame = keep_frame;
	memset(payload, 0x5a, sizeof(payload));
	send_data(l.a, l.c->id, payload, sizeof(payload));
	wait_frames(&l.r, 1);
	assert_int_equal(got.last.type, FRAME_DATA);
	assert_int_equal(got.last.src, l.a->id);
	assert_int_equal(got.last.visit_count, 0);
	assert_int_equal(got.last.hop_count, 1);
	assert_int_equal(got.last.ttl, FRAME_TTL_DEFAULT - 1);
	assert_int_equal(got.last.path_id, 7);
	assert_int_equal(got.last.payload_len, sizeof(payload));
	assert_memory_equal(got.payload, payload, sizeof(payload));
	line_down(&l);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(two_nodes_link),
	    cmocka_unit_test(a_frame_crosses_a_relay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
