/* Frames through real transportd processes, in their sandbox, with stand-ins for the siblings. */
#include "tests/rig/raw_peer.h"
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

static bool
not_linked(void *arg)
{
	struct rig_node **pair = arg;

	return !rig_has_link(pair[0], pair[1]->id);
}

static bool
first_has_second(void *arg)
{
	return !not_linked(arg);
}

static bool
consensus_is_up(void *arg)
{
	return ((struct rig_node *)arg)->consensus_up;
}

static bool
router_is_up(void *arg)
{
	return ((struct rig_node *)arg)->router_up;
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
	assert_true(rig_wait_routes(l->a));
	assert_true(rig_wait_routes(l->b));
	assert_true(rig_wait_routes(l->c));
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

/* The end-to-end header names a tenant of four letters. */
static void
send_of_tenant(struct rig_node *from, uint64_t dst, uint8_t type, const char *tenant)
{
	const struct frame f = {
	    .type = type,
	    .class = type == FRAME_DATA ? FRAME_CLASS_CLIENT : FRAME_CLASS_CONTROL,
	    .ttl = FRAME_TTL_DEFAULT,
	    .src = from->id,
	    .visit_count = 1,
	    .visit = {dst},
	    .e2e = (const uint8_t *)tenant,
	    .e2e_len = (uint16_t)strlen(tenant),
	    .payload = (const uint8_t *)tenant,
	    .payload_len = (uint32_t)strlen(tenant),
	};
	struct buf out;

	buf_init(&out, FRAME_MAX_BYTES);
	assert_int_equal(frame_encode(&f, &out), 0);
	assert_int_equal(channel_send(from->consensus, CT_FRAMES_OUT, 0, buf_head(&out), buf_left(&out)), 0);
	buf_fini(&out);
}

/* The relay has taken it in when what it was told to send after it has arrived. */
static void
bar(struct line *l, const char *body, size_t len)
{
	unsigned before = got.count;

	assert_int_equal(channel_send(l->b->consensus, CT_ACL, 0, body, len), 0);
	send_of_tenant(l->b, l->c->id, FRAME_DATA, "\x1a\4acme");
	wait_frames(&l->r, before + 1);
}

static void
a_tenant_is_not_relayed(void **state)
{
	struct line l;

	(void)state;
	memset(&got, 0, sizeof(got));
	line_up(&l);
	l.c->on_frame = keep_frame;
	bar(&l, "\0\4acme", 6);
	/* Its own data goes out, and control passes; the other's data is behind what is dropped. */
	send_of_tenant(l.a, l.c->id, FRAME_DATA, "\x1a\4acme");
	send_of_tenant(l.a, l.c->id, FRAME_DATA, "\x1a\4beta");
	wait_frames(&l.r, 2);
	assert_memory_equal(got.payload, "\x1a\4beta", 6);
	send_of_tenant(l.a, l.c->id, FRAME_DATA_ACK, "\x1a\4acme");
	wait_frames(&l.r, 3);
	assert_int_equal(got.last.type, FRAME_DATA_ACK);
	bar(&l, "\1\4acme", 6);
	send_of_tenant(l.a, l.c->id, FRAME_DATA, "\x1a\4beta");
	send_of_tenant(l.a, l.c->id, FRAME_DATA, "\x1a\4acme");
	wait_frames(&l.r, 5);
	assert_memory_equal(got.payload, "\x1a\4acme", 6);
	bar(&l, "", 0);
	send_of_tenant(l.a, l.c->id, FRAME_DATA, "\x1a\4beta");
	wait_frames(&l.r, 7);
	assert_memory_equal(got.payload, "\x1a\4beta", 6);
	line_down(&l);
}

static void
no_route_is_told(void **state)
{
	struct line l;
	struct buf in;
	uint64_t dst;
	uint8_t reason, original;

	(void)state;
	memset(&got, 0, sizeof(got));
	line_up(&l);
	l.a->on_frame = keep_frame;
	/* At the source. */
	send_data(l.a, 12345, "x", 1);
	wait_frames(&l.r, 1);
	assert_int_equal(got.last.type, FRAME_UNREACHABLE);
	assert_int_equal(got.last.src, l.a->id);
	/* At the relay: c has gone, and b knows no other way. */
	rig_kill(l.c, SIGKILL);
	{
		struct rig_node *pair[2] = {l.b, l.c};

		assert_true(rig_wait(&l.r, not_linked, pair, RIG_WAIT_MS));
	}
	send_data(l.a, l.c->id, "x", 1);
	wait_frames(&l.r, 2);
	assert_int_equal(got.last.type, FRAME_UNREACHABLE);
	assert_int_equal(got.last.src, l.b->id);
	buf_view(&in, got.payload, got.last.payload_len);
	assert_int_equal(buf_get_u64(&in, &dst), 0);
	assert_int_equal(buf_get_u8(&in, &reason), 0);
	assert_int_equal(buf_get_u8(&in, &original), 0);
	assert_int_equal(dst, l.c->id);
	assert_int_equal(reason, 2);
	assert_int_equal(original, FRAME_DATA);
	rig_spawn(l.c);
	wait_link(&l.r, l.c, l.b);
	line_down(&l);
}

static void
a_relay_repairs_the_path(void **state)
{
	struct rig_node *d;
	struct line l;

	(void)state;
	memset(&got, 0, sizeof(got));
	line_up(&l);
	/* A second way from b to c, over d. */
	d = rig_add(&l.r, "d");
	rig_conf(
	    d, "\tpeer b { address 127.0.0.1:%u }\n\tpeer c { address 127.0.0.1:%u }", l.b->port, l.c->port);
	rig_start(d);
	wait_link(&l.r, d, l.b);
	wait_link(&l.r, d, l.c);
	rig_route(l.b, l.c->id, (uint64_t[]){d->id, l.c->id}, 2);
	/* a believes in a neighbour of b that is not there. */
	rig_route(l.a, l.c->id, (uint64_t[]){l.b->id, 4711, l.c->id}, 3);
	/* The same destinations as before: one more tells that these have arrived. */
	l.a->routes--;
	l.b->routes--;
	rig_route(l.a, d->id, (uint64_t[]){l.b->id, d->id}, 2);
	rig_route(l.b, d->id, (uint64_t[]){d->id}, 1);
	assert_true(rig_wait_routes(l.a));
	assert_true(rig_wait_routes(l.b));
	l.c->on_frame = keep_frame;
	send_data(l.a, l.c->id, "repair me", 9);
	wait_frames(&l.r, 1);
	assert_int_equal(got.last.flags & FRAME_FLAG_REPAIRED, FRAME_FLAG_REPAIRED);
	assert_int_equal(got.last.hop_count, 2);
	assert_memory_equal(got.payload, "repair me", 9);
	assert_int_equal(rig_kill(d, SIGTERM), 0);
	line_down(&l);
}

/* --- flow --- */

enum { FLOOD_FRAMES = 4000, FLOOD_PIECE = 100 };

static struct {
	struct rig_node *from;
	uint64_t to;
	unsigned sent;
	struct loop_timer *timer;
} flood;

static void
pour(void *arg)
{
	static uint8_t payload[FRAME_PAYLOAD_MAX_BYTES];
	struct buf out;

	(void)arg;
	buf_init(&out, 262144);
	while (flood.sent < FLOOD_FRAMES && flood.from->holds == flood.from->releases &&
	       channel_queued_bytes(flood.from->consensus) < 1024 * 1024) {
		buf_reset(&out);
		for (int i = 0; i < 8 && flood.sent < FLOOD_FRAMES; i++, flood.sent++) {
			memcpy(payload, &flood.sent, sizeof(flood.sent));
			assert_int_equal(rig_data(&out, flood.from, flood.to, payload, sizeof(payload)), 0);
		}
		assert_int_equal(
		    channel_send(flood.from->consensus, CT_FRAMES_OUT, 0, buf_head(&out), buf_left(&out)), 0);
	}
	buf_fini(&out);
	if (flood.sent < FLOOD_FRAMES)
		loop_timer_arm_ms(flood.timer, 1);
}

static void
in_order(struct rig_node *n, const struct frame *f)
{
	unsigned number;

	(void)n;
	memcpy(&number, f->payload, sizeof(number));
	assert_int_equal(number, got.count);
	got.count++;
}

static bool
released(void *arg)
{
	const struct rig_node *n = arg;

	return n->releases == n->holds;
}

/* 60 MB against a queue of 256 KB: whoever minds HOLD loses nothing on the first link. */
static void
a_full_link_holds_its_source(void **state)
{
	struct rig r;
	struct rig_node *a, *b;

	(void)state;
	memset(&got, 0, sizeof(got));
	rig_init(&r);
	a = rig_add(&r, "a");
	b = rig_add(&r, "b");
	rig_conf(a, "\tlink-queue 256KB\n\tpeer b { address 127.0.0.1:%u }", b->port);
	rig_conf(b, "");
	rig_start(a);
	rig_start(b);
	wait_link(&r, a, b);
	rig_route(a, b->id, (uint64_t[]){b->id}, 1);
	assert_true(rig_wait_routes(a));
	b->on_frame = in_order;
	memset(&flood, 0, sizeof(flood));
	flood.from = a;
	flood.to = b->id;
	flood.timer = loop_timer_new(r.loop, pour, NULL);
	loop_timer_arm_ms(flood.timer, 0);
	wait_frames(&r, FLOOD_FRAMES);
	assert_true(a->holds > 0);
	/* The last frame may be there before the queue is told to be empty. */
	assert_true(rig_wait(&r, released, a, RIG_WAIT_MS));
	loop_timer_free(flood.timer);
	assert_int_equal(a->link_downs + b->link_downs, 0);
	rig_fini(&r);
}

/* A consensusd that does not read: the link stays up, and goes on when it reads again. */
static void
a_slow_consensusd_stalls_its_neighbours_only_for_a_while(void **state)
{
	struct line l;

	(void)state;
	memset(&got, 0, sizeof(got));
	line_up(&l);
	memset(&flood, 0, sizeof(flood));
	flood.from = l.a;
	flood.to = l.b->id;
	flood.timer = loop_timer_new(l.r.loop, pour, NULL);
	channel_pause(l.b->consensus);
	loop_timer_arm_ms(flood.timer, 0);
	(void)rig_wait(&l.r, rig_never, NULL, 2500);
	assert_int_equal(l.a->link_downs + l.b->link_downs, 0);
	/* Meanwhile b relays between the others. */
	l.c->on_frame = keep_frame;
	send_data(l.a, l.c->id, "through", 7);
	wait_frames(&l.r, 1);
	channel_resume(l.b->consensus);
	while (flood.sent < FLOOD_FRAMES)
		(void)rig_wait(&l.r, rig_never, NULL, 50);
	(void)rig_wait(&l.r, rig_never, NULL, 200);
	l.b->on_frame = keep_frame;
	got.count = 0;
	send_data(l.a, l.b->id, "again", 5);
	wait_frames(&l.r, 1);
	loop_timer_free(flood.timer);
	line_down(&l);
}

/* --- link state --- */

static void
keep_link_state(struct rig_node *n, uint64_t neighbour, const struct frame *f)
{
	assert_int_equal(neighbour, f->src);
	keep_frame(n, f);
}

static void
send_link_state(struct rig_node *from, uint64_t neighbour, uint64_t src)
{
	struct frame f = {.type = FRAME_LINK_STATE,
	    .ttl = 9,
	    .src = src,
	    .payload = (const uint8_t *)"lsa",
	    .payload_len = 3};
	struct buf out;

	buf_init(&out, 256);
	assert_int_equal(buf_put_u64(&out, neighbour), 0);
	assert_int_equal(frame_encode(&f, &out), 0);
	assert_int_equal(channel_send(from->router, RT_FRAME_OUT, 0, buf_head(&out), buf_left(&out)), 0);
	buf_fini(&out);
}

static void
link_state_goes_to_the_neighbour(void **state)
{
	struct line l;

	(void)state;
	memset(&got, 0, sizeof(got));
	line_up(&l);
	l.b->on_link_state = keep_link_state;
	send_link_state(l.a, l.b->id, l.a->id);
	send_link_state(l.a, 4711, l.a->id); /* nobody: dropped */
	wait_frames(&l.r, 1);
	assert_int_equal(got.last.src, l.a->id);
	assert_int_equal(got.last.ttl, 1);
	assert_memory_equal(got.payload, "lsa", 3);
	line_down(&l);
}

/* --- gossip --- */

static void
send_gossip(struct rig_node *from, uint64_t to, uint64_t visit)
{
	struct frame f = {.type = FRAME_GOSSIP,
	    .src = from->id,
	    .visit_count = 1,
	    .visit = {visit},
	    .payload = (const uint8_t *)"hi",
	    .payload_len = 2};
	struct buf out;

	buf_init(&out, 256);
	assert_int_equal(buf_put_u64(&out, to), 0);
	assert_int_equal(frame_encode(&f, &out), 0);
	assert_int_equal(channel_send(from->router, RT_FRAME_OUT, 0, buf_head(&out), buf_left(&out)), 0);
	buf_fini(&out);
}

static void
keep_gossip(struct rig_node *n, uint64_t neighbour, const struct frame *f)
{
	assert_int_equal(f->type, FRAME_GOSSIP);
	assert_int_not_equal(neighbour, f->src);
	keep_frame(n, f);
}

static bool
channel_is_down(void *arg)
{
	return !channel_up(arg);
}

/* Over a relay to the far routerd; nowhere is no error; to others than the frame says is. */
static void
gossip_goes_to_any_node(void **state)
{
	struct line l;

	(void)state;
	memset(&got, 0, sizeof(got));
	line_up(&l);
	l.c->on_link_state = keep_gossip;
	send_gossip(l.a, 4711, 4711);
	send_gossip(l.a, l.c->id, l.c->id);
	wait_frames(&l.r, 1);
	assert_int_equal(got.last.src, l.a->id);
	assert_int_equal(got.last.hop_count, 1);
	assert_int_equal(got.last.visit_count, 0);
	assert_memory_equal(got.payload, "hi", 2);
	send_gossip(l.a, l.b->id, l.c->id);
	assert_true(rig_wait(&l.r, channel_is_down, l.a->router, RIG_WAIT_MS));
	line_down(&l);
}

/* --- siblings that send what is not theirs --- */

static void
siblings_are_checked(void **state)
{
	struct frame f = {
	    .type = FRAME_DATA, .class = FRAME_CLASS_CLIENT, .ttl = 1, .visit_count = 1, .visit = {99}};
	uint8_t mem[256];
	struct buf out;
	struct line l;

	(void)state;
	line_up(&l);
	for (int i = 0; i < 5; i++) {
		f.src = i == 0 ? l.b->id : l.a->id;              /* another's name */
		f.type = i == 1 ? FRAME_LINK_STATE : FRAME_DATA; /* not its type */
		f.visit_count = i == 2 ? 0 : 1;                  /* no destination */
		f.visit[0] = i == 3 ? l.a->id : 99;              /* itself */
		if (i == 4)
			f.type = FRAME_CONTROL; /* not its class */
		buf_init_fixed(&out, mem, sizeof(mem));
		assert_int_equal(frame_encode(&f, &out), 0);
		assert_int_equal(channel_send(l.a->consensus, CT_FRAMES_OUT, 0, mem, buf_left(&out)), 0);
		assert_true(rig_wait(&l.r, channel_is_down, l.a->consensus, RIG_WAIT_MS));
		assert_true(rig_wait(&l.r, consensus_is_up, l.a, RIG_WAIT_MS));
	}
	send_link_state(l.a, l.b->id, l.c->id);
	assert_true(rig_wait(&l.r, channel_is_down, l.a->router, RIG_WAIT_MS));
	wait_link(&l.r, l.a, l.b);
	line_down(&l);
}

/* --- a neighbour that has proven itself and then misbehaves --- */

static void
liars_among_neighbours(void **state)
{
	static const uint8_t junk[200] = {7};
	struct rig_node *pair[2];
	struct raw_peer p;
	uint16_t close_code;
	struct rig r;

	(void)state;
	rig_init(&r);
	pair[0] = rig_add(&r, "n");
	pair[1] = rig_add(&r, "o");
	/* They send no heartbeats, either. */
	rig_conf(pair[0], "\theartbeat-interval 1s\n\theartbeat-misses 20\n");
	rig_start(pair[0]);
	assert_true(rig_wait(&r, consensus_is_up, pair[0], RIG_WAIT_MS));
	assert_true(rig_wait(&r, router_is_up, pair[0], RIG_WAIT_MS));
	for (int i = 0; i < 4; i++) {
		assert_true(raw_prove(&p, pair[0], pair[1]));
		assert_true(rig_wait(&r, first_has_second, pair, RIG_WAIT_MS));
		if (i == 0) /* in another's name */
			raw_frame(&p, FRAME_HEARTBEAT, pair[1]->id ^ 1, junk, 13);
		else if (i == 1) /* not a heartbeat */
			raw_frame(&p, FRAME_HEARTBEAT, pair[1]->id, junk, 13);
		else if (i == 2) /* hello again */
			raw_frame(&p, FRAME_HELLO, pair[1]->id, junk, 100);
		else
			raw_frame(&p, FRAME_GOAWAY, pair[1]->id, junk, 1);
		assert_int_equal(raw_goaway(&p, &close_code), GOAWAY_PROTOCOL);
		raw_free(&p);
		assert_true(rig_wait(&r, not_linked, pair, RIG_WAIT_MS));
	}
	/* Forged link state is dropped, the link stays. */
	pair[0]->on_link_state = keep_link_state;
	memset(&got, 0, sizeof(got));
	assert_true(raw_prove(&p, pair[0], pair[1]));
	assert_true(rig_wait(&r, first_has_second, pair, RIG_WAIT_MS));
	raw_frame(&p, FRAME_LINK_STATE, pair[1]->id ^ 1, junk, 10);
	raw_frame(&p, FRAME_LINK_STATE, pair[1]->id, junk, 20);
	wait_frames(&r, 1);
	assert_int_equal(got.last.payload_len, 20);
	raw_free(&p);
	assert_true(rig_alive(pair[0]));
	rig_fini(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_frame_crosses_a_relay),
	    cmocka_unit_test(a_tenant_is_not_relayed),
	    cmocka_unit_test(no_route_is_told),
	    cmocka_unit_test(a_relay_repairs_the_path),
	    cmocka_unit_test(a_full_link_holds_its_source),
	    cmocka_unit_test(a_slow_consensusd_stalls_its_neighbours_only_for_a_while),
	    cmocka_unit_test(link_state_goes_to_the_neighbour),
	    cmocka_unit_test(gossip_goes_to_any_node),
	    cmocka_unit_test(siblings_are_checked),
	    cmocka_unit_test(liars_among_neighbours),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
