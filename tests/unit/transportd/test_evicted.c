/* Eviction at the links of real transportd processes, in their sandbox, with stand-ins for the siblings. */
#include "common/base/idset.h"
#include "tests/rig/raw_peer.h"
#include "tests/unit/unit.h"

static bool
linked(void *arg)
{
	struct rig_node **pair = arg;

	return rig_has_link(pair[0], pair[1]->id) && rig_has_link(pair[1], pair[0]->id);
}

static bool
apart(void *arg)
{
	struct rig_node **pair = arg;

	return !rig_has_link(pair[0], pair[1]->id) && !rig_has_link(pair[1], pair[0]->id);
}

static void
wait_for(struct rig *r, bool (*what)(void *arg), struct rig_node *a, struct rig_node *b)
{
	struct rig_node *pair[2] = {a, b};

	assert_true(rig_wait(r, what, pair, RIG_WAIT_MS));
}

static void
evict(struct rig_node *at, const uint64_t *nodes, size_t count)
{
	struct idset set = {0};
	struct buf out;

	assert_int_equal(idset_assign(&set, nodes, count), 0);
	buf_init(&out, IDSET_MAX_BYTES);
	assert_int_equal(idset_encode(&set, &out), 0);
	assert_int_equal(channel_send(at->consensus, CT_EVICTED, 0, buf_head(&out), buf_left(&out)), 0);
	buf_fini(&out);
	idset_fini(&set);
}

/* --- a line: a - b - c, in which both ends dial --- */

struct line {
	struct rig r;
	struct rig_node *a, *b, *c;
};

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
	wait_for(&l->r, linked, l->a, l->b);
	wait_for(&l->r, linked, l->c, l->b);
}

static void
line_down(struct line *l)
{
	assert_true(rig_alive(l->a) && rig_alive(l->b) && rig_alive(l->c));
	rig_fini(&l->r);
}

static bool
consensus_down(void *arg)
{
	return !((struct rig_node *)arg)->consensus_up;
}

static bool
consensus_up(void *arg)
{
	return ((struct rig_node *)arg)->consensus_up;
}

static bool
never(void *arg)
{
	(void)arg;
	return false;
}

static void
links_end(void **state)
{
	struct line l;

	(void)state;
	line_up(&l);
	evict(l.b, &l.c->id, 1);
	wait_for(&l.r, apart, l.b, l.c);
	/* It dials again and again, in vain; also after consensusd was away, which says nothing new here. */
	channel_close(l.b->consensus, ERR_CLOSED);
	assert_true(rig_wait(&l.r, consensus_down, l.b, RIG_WAIT_MS));
	assert_true(rig_wait(&l.r, consensus_up, l.b, RIG_WAIT_MS));
	assert_false(rig_wait(&l.r, never, NULL, 1500));
	wait_for(&l.r, apart, l.b, l.c);
	wait_for(&l.r, linked, l.a, l.b);
	assert_int_equal(l.a->link_downs, 0);
	assert_int_equal(l.b->link_ups, 2);
	/* Until it is let in again. */
	evict(l.b, NULL, 0);
	wait_for(&l.r, linked, l.b, l.c);
	line_down(&l);
}

/* --- frames that a neighbour relays, which does not know yet --- */

static unsigned from_b, from_c;
static uint64_t id_c;

static void
count_frame(struct rig_node *n, const struct frame *f)
{
	(void)n;
	if (f->src == id_c)
		from_c++;
	else
		from_b++;
}

static bool
b_heard(void *arg)
{
	return from_b >= *(unsigned *)arg;
}

static bool
c_heard(void *arg)
{
	return from_c >= *(unsigned *)arg;
}

static void
send_control(struct rig_node *from, uint64_t to)
{
	uint8_t mem[128];
	struct frame f = {.type = FRAME_CONTROL,
	    .class = FRAME_CLASS_CONTROL,
	    .ttl = 1,
	    .src = from->id,
	    .visit_count = 1,
	    .visit = {to},
	    .payload = (const uint8_t *)"x",
	    .payload_len = 1};
	struct buf out;

	buf_init_fixed(&out, mem, sizeof(mem));
	assert_int_equal(frame_encode(&f, &out), 0);
	assert_int_equal(channel_send(from->consensus, CT_FRAMES_OUT, 0, mem, buf_left(&out)), 0);
}

static void
relayed_frames_are_dropped(void **state)
{
	unsigned one = 1;
	struct line l;

	(void)state;
	from_b = from_c = 0;
	line_up(&l);
	{
		const uint64_t c_to_a[] = {l.b->id, l.a->id};

		rig_route(l.c, l.a->id, c_to_a, 2);
		rig_route(l.b, l.a->id, c_to_a + 1, 1);
		assert_true(rig_wait_routes(l.c) && rig_wait_routes(l.b));
	}
	id_c = l.c->id;
	l.a->on_frame = count_frame;
	send_control(l.c, l.a->id);
	assert_true(rig_wait(&l.r, c_heard, &one, RIG_WAIT_MS));
	evict(l.a, &l.c->id, 1);
	/* What a was told before it was told to send this is in force when that arrives. */
	send_control(l.a, l.b->id);
	l.b->on_frame = count_frame;
	assert_true(rig_wait(&l.r, b_heard, &one, RIG_WAIT_MS));
	send_control(l.c, l.a->id);
	/* Time for c's frame to reach a: if it is too short, the test sees less, and fails nothing. */
	assert_false(rig_wait(&l.r, never, NULL, 500));
	send_control(l.b, l.a->id);
	one = 2;
	assert_true(rig_wait(&l.r, b_heard, &one, RIG_WAIT_MS));
	assert_int_equal(from_c, 1);
	line_down(&l);
}

/* --- strangers by hand --- */

static bool
knows_itself(void *arg)
{
	struct rig_node *n = arg;

	return n->consensus_up && n->router_up;
}

static void
say_hello(struct rig *r, struct rig_node *node, struct rig_node *as, struct raw_peer *p)
{
	uint8_t hello[512];

	assert_true(raw_connect(p, node->port, as->dir));
	assert_int_equal(raw_http(p, RAW_UPGRADE), 101);
	raw_frame(p, FRAME_HELLO, as->id, hello, raw_hello(as, &r->mesh, hello, sizeof(hello)));
}

static void
expect_evicted(struct raw_peer *p)
{
	char reason[GOAWAY_REASON_SIZE];
	uint8_t payload[2048];
	uint16_t code;
	size_t len;

	assert_true(raw_expect(p, FRAME_GOAWAY, payload, &len));
	assert_int_equal(goaway_decode(payload, len, &code, reason), 0);
	assert_int_equal(code, GOAWAY_DENIED);
	assert_non_null(strstr(reason, "evicted"));
	raw_free(p);
}

static bool
refused(void *arg)
{
	return !((struct rig_node *)arg)->consensus_up;
}

static void
strangers(void **state)
{
	static uint8_t bad[8 * 2] = {[7] = 2, [15] = 1};
	struct rig_node *node, *other;
	uint8_t payload[2048];
	struct raw_peer p;
	struct rig r;
	size_t len;

	(void)state;
	rig_init(&r);
	node = rig_add(&r, "n");
	other = rig_add(&r, "o");
	rig_conf(node, "\thandshake-timeout 20s\n");
	rig_start(node);
	assert_true(rig_wait(&r, knows_itself, node, RIG_WAIT_MS));
	/* One that has said who it is, and has not proven it yet. */
	say_hello(&r, node, other, &p);
	assert_true(raw_expect(&p, FRAME_HELLO, payload, &len));
	evict(node, &other->id, 1);
	assert_false(rig_wait(&r, never, NULL, 50)); /* so that it is sent: reading from the peer blocks */
	expect_evicted(&p);
	/* And one that comes then. */
	say_hello(&r, node, other, &p);
	expect_evicted(&p);
	/* A list that is none: the sibling is broken. */
	assert_int_equal(channel_send(node->consensus, CT_EVICTED, 0, bad, sizeof(bad)), 0);
	assert_true(rig_wait(&r, refused, node, RIG_WAIT_MS));
	assert_true(rig_wait(&r, knows_itself, node, RIG_WAIT_MS));
	say_hello(&r, node, other, &p);
	expect_evicted(&p);
	assert_true(rig_alive(node));
	rig_fini(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(links_end),
	    cmocka_unit_test(relayed_frames_are_dropped),
	    cmocka_unit_test(strangers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
