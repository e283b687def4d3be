/*
 * Peers that have proven who they are and then break the rules, on any of their lanes: the connection ends
 * with the right code, and an honest link next to it stays up and carries frames all the time.
 */
#include <poll.h>

#include "common/base/rng.h"
#include "tests/rig/raw_peer.h"
#include "tests/unit/unit.h"
#include "transportd/core/credit.h"
#include "transportd/core/heartbeat.h"
#include "transportd/core/lanes.h"
#include "transportd/core/path_feedback.h"
#include "transportd/core/probe.h"

enum { LANES = 3, WINDOW = 64 * 1024, BURST_BYTES = 32 * 1024 * 1024, BIG = 15000 };

static struct scene {
	struct rig r;
	struct rig_node *node, *honest, *other, *third; /* other and third are played by hand */
	unsigned asked, answered;                       /* frames to and from honest, one at a time */
} s;

/* --- the honest one: each frame is answered by the next --- */

static void
send_on(struct rig_node *from, uint64_t dst, uint32_t flow, size_t size)
{
	static uint8_t payload[FRAME_PAYLOAD_MAX_BYTES];
	struct frame f = {.type = FRAME_DATA,
	    .class = FRAME_CLASS_CLIENT,
	    .ttl = FRAME_TTL_DEFAULT,
	    .src = from->id,
	    .flow = flow,
	    .visit_count = 1,
	    .visit = {dst},
	    .payload = payload,
	    .payload_len = (uint32_t)size};
	struct buf out;

	buf_init(&out, FRAME_MAX_BYTES);
	assert_int_equal(frame_encode(&f, &out), 0);
	assert_int_equal(channel_send(from->consensus, CT_FRAMES_OUT, 0, buf_head(&out), buf_left(&out)), 0);
	buf_fini(&out);
}

static void
send_to(struct rig_node *from, uint64_t dst, size_t size)
{
	send_on(from, dst, 0, size);
}

static void
on_honest_frame(struct rig_node *n, const struct frame *f)
{
	if (n == s.node && f->src != s.honest->id)
		return;
	if (n == s.node)
		s.answered++;
	else
		send_to(n, s.node->id, 100);
}

static bool
is_answered(void *arg)
{
	(void)arg;
	return s.answered == s.asked;
}

static void
check_honest(void)
{
	for (unsigned i = 0; i < 3; i++) {
		s.asked++;
		send_to(s.node, s.honest->id, 100);
		assert_true(rig_wait(&s.r, is_answered, NULL, RIG_WAIT_MS));
	}
	assert_true(rig_has_link(s.node, s.honest->id));
	assert_int_equal(s.honest->link_downs, 0);
	assert_int_equal(s.honest->link_ups, 1);
}

/* --- up and down --- */

static bool
honest_is_up(void *arg)
{
	(void)arg;
	return rig_has_link(s.node, s.honest->id) && rig_has_link(s.honest, s.node->id);
}

static void
scene_up(const char *heartbeats)
{
	memset(&s, 0, sizeof(s));
	rig_init(&s.r);
	s.node = rig_add(&s.r, "n");
	s.honest = rig_add(&s.r, "h");
	s.other = rig_add(&s.r, "o");
	s.third = rig_add(&s.r, "p");
	rig_conf(s.node, "%s\tbulk-lanes-max 1\n\tlane-window %dKB\n", heartbeats, WINDOW / 1024);
	rig_conf(
	    s.honest, "%s\tbulk-lanes-max 1\n\tpeer n { address 127.0.0.1:%u }", heartbeats, s.node->port);
	rig_start(s.node);
	rig_start(s.honest);
	s.node->on_frame = s.honest->on_frame = on_honest_frame;
	assert_true(rig_wait(&s.r, honest_is_up, NULL, RIG_WAIT_MS));
	rig_route(s.node, s.honest->id, &s.honest->id, 1);
	rig_route(s.node, s.other->id, &s.other->id, 1);
	rig_route(s.honest, s.node->id, &s.node->id, 1);
	assert_true(rig_wait_routes(s.node));
	assert_true(rig_wait_routes(s.honest));
	check_honest();
}

static void
scene_down(void)
{
	check_honest();
	assert_true(rig_alive(s.node));
	assert_true(rig_alive(s.honest));
	rig_fini(&s.r);
}

/* Silence of a raw peer is not to be what ends it. */
#define SLOW "\theartbeat-interval 10s\n\theartbeat-misses 3\n"
#define QUICK "\theartbeat-interval 500ms\n\theartbeat-misses 3\n"

/* --- peers by hand --- */

static bool
readable(void *arg)
{
	struct raw_peer *p = arg;
	struct pollfd pfd = {.fd = p->fd, .events = POLLIN};

	return poll(&pfd, 1, 0) == 1;
}

/* A lane of a link of that node; it is up when this returns. */
static void
lane_up(struct raw_peer *p, struct rig_node *as, unsigned lane)
{
	uint8_t payload[2048];
	size_t len = 0;

	assert_true(raw_prove_lane(p, s.node, as, lane, LANES, as->key));
	assert_true(rig_wait(&s.r, readable, p, RIG_WAIT_MS));
	assert_true(raw_expect(p, FRAME_AUTH, payload, &len));
}

/* Everything that was sent before has been handled, and did no harm. */
static void
check_answers(struct raw_peer *p, const struct rig_node *as)
{
	static uint32_t seq;
	struct beat ping = {.kind = HEARTBEAT_PING, .seq = ++seq, .time_us = 1}, pong = {0};
	uint8_t mem[16384];
	struct buf out;
	size_t len = 0;

	buf_init_fixed(&out, mem, sizeof(mem));
	assert_int_equal(beat_encode(&ping, &out), 0);
	raw_frame(p, FRAME_HEARTBEAT, as->id, mem, buf_left(&out));
	while (pong.kind != HEARTBEAT_PONG || pong.seq != seq) {
		assert_true(raw_expect(p, FRAME_HEARTBEAT, mem, &len));
		assert_int_equal(beat_decode(mem, len, &pong), 0);
	}
}

static void
expect_end(struct raw_peer *p, uint16_t want)
{
	uint16_t close_code;

	assert_int_equal(raw_goaway(p, &close_code), want);
	assert_int_equal(close_code, GOAWAY_CLOSE_BASE + want);
	raw_free(p);
}

static void
say_window(struct raw_peer *p, struct window w)
{
	uint8_t mem[WINDOW_PAYLOAD_BYTES];
	struct buf out;

	buf_init_fixed(&out, mem, sizeof(mem));
	assert_int_equal(window_encode(&w, &out), 0);
	raw_frame(p, FRAME_WINDOW, s.other->id, mem, sizeof(mem));
}

static void
say_note(struct raw_peer *p, struct lane_note n)
{
	uint8_t mem[LANE_PAYLOAD_BYTES];
	struct buf out;

	buf_init_fixed(&out, mem, sizeof(mem));
	assert_int_equal(lane_note_encode(&n, &out), 0);
	raw_frame(p, FRAME_LANE, s.other->id, mem, sizeof(mem));
}

/* A frame for the node, of this class, on this lane. */
static void
say_data(struct raw_peer *p, uint8_t class, unsigned lane, size_t size)
{
	static uint8_t payload[FRAME_PAYLOAD_MAX_BYTES];

	raw_send_frame(p, &(struct frame){.type = FRAME_DATA,
			      .class = class,
			      .ttl = FRAME_TTL_DEFAULT,
			      .lane_id = (uint16_t)lane,
			      .src = s.other->id,
			      .payload = payload,
			      .payload_len = (uint32_t)size});
}

/* --- what breaks a connection --- */

static void
acks_too_much(struct raw_peer *p)
{
	say_window(p, (struct window){1000, 100000, 65536, 4 << 20});
}

static void
acks_all_that_can_be(struct raw_peer *p)
{
	say_window(p, (struct window){UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX});
}

static void
grants_an_overflow(struct raw_peer *p)
{
	say_window(p, (struct window){0, 0, 65536, UINT64_MAX});
}

static void
grants_too_many_bytes(struct raw_peer *p)
{
	say_window(p, (struct window){0, 0, 65536, LANE_WINDOW_MAX_BYTES + 1});
}

static void
grants_too_many_frames(struct raw_peer *p)
{
	say_window(p, (struct window){0, 0, (uint64_t)UINT32_MAX + 1, 4 << 20});
}

static void
half_a_window(struct raw_peer *p)
{
	uint8_t mem[WINDOW_PAYLOAD_BYTES] = {0};

	raw_frame(p, FRAME_WINDOW, s.other->id, mem, sizeof(mem) / 2);
}

static void
a_window_and_more(struct raw_peer *p)
{
	uint8_t mem[WINDOW_PAYLOAD_BYTES + 1] = {0};

	raw_frame(p, FRAME_WINDOW, s.other->id, mem, sizeof(mem));
}

static bool
has_ended(struct raw_peer *p)
{
	struct pollfd pfd = {.fd = p->fd, .events = POLLRDHUP};

	return poll(&pfd, 1, 0) == 1;
}

/* The stand-in of consensusd does not run now: after what the channel takes nothing more is granted. */
static void
sends_without_credit(struct raw_peer *p)
{
	for (size_t sent = 0; sent < BURST_BYTES && !has_ended(p); sent += BIG)
		say_data(p, FRAME_CLASS_CLIENT, 0, BIG);
}

static void
on_a_lane_that_is_not(struct raw_peer *p)
{
	say_data(p, FRAME_CLASS_CLIENT, LANES, 10);
}

static void
on_a_lane_far_away(struct raw_peer *p)
{
	say_data(p, FRAME_CLASS_CONTROL, UINT16_MAX, 10);
}

static void
closes_its_own_connection(struct raw_peer *p)
{
	say_note(p, (struct lane_note){LANE_OP_CLOSED, 0, p->number, 0});
}

static void
does_not_know_its_own_connection(struct raw_peer *p)
{
	say_note(p, (struct lane_note){LANE_OP_UNKNOWN, 0, p->number, 0});
}

static void
wants_a_lane_that_is_not(struct raw_peer *p)
{
	say_note(p, (struct lane_note){LANE_OP_WANT, LANES_MAX, 0, 0});
}

static void
an_unknown_note(struct raw_peer *p)
{
	say_note(p, (struct lane_note){9, 1, 0, 0});
}

static void
half_a_note(struct raw_peer *p)
{
	uint8_t mem[LANE_PAYLOAD_BYTES] = {LANE_OP_CLOSED};

	raw_frame(p, FRAME_LANE, s.other->id, mem, sizeof(mem) / 2);
}

static void
a_bad_probe(struct raw_peer *p)
{
	uint8_t mem[20] = {PROBE_TRAIN, 0, 0, 0, 1, 9, 3};

	raw_frame(p, FRAME_PROBE, s.other->id, mem, sizeof(mem));
}

static void
a_report_of_no_train(struct raw_peer *p)
{
	uint8_t mem[PROBE_REPORT_BYTES] = {PROBE_REPORT, 0, 0, 0, 7, 8, 0, 0, 0, 1};

	raw_frame(p, FRAME_PROBE, s.other->id, mem, sizeof(mem));
}

static void
a_bad_beat(struct raw_peer *p)
{
	uint8_t mem[HEARTBEAT_PAYLOAD_BYTES] = {77};

	raw_frame(p, FRAME_HEARTBEAT, s.other->id, mem, sizeof(mem));
}

static void
a_second_hello(struct raw_peer *p)
{
	uint8_t hello[512];
	size_t len = raw_hello_lane(s.other, &s.r.mesh, 0, LANES, hello, sizeof(hello));

	raw_frame(p, FRAME_HELLO, s.other->id, hello, len);
}

static void
in_another_name(struct raw_peer *p)
{
	uint8_t mem[HEARTBEAT_PAYLOAD_BYTES] = {HEARTBEAT_PING};

	raw_frame(p, FRAME_HEARTBEAT, s.honest->id, mem, sizeof(mem));
}

static const struct {
	const char *what;
	void (*say)(struct raw_peer *p);
	uint16_t code;
} wrongs[] = {
#define WRONG(say, code)                                                                                     \
	{                                                                                                    \
#say, say, GOAWAY_##code                                                                     \
	}
    WRONG(acks_too_much, FLOW),
    WRONG(acks_all_that_can_be, FLOW),
    WRONG(grants_an_overflow, FLOW),
    WRONG(grants_too_many_bytes, FLOW),
    WRONG(grants_too_many_frames, FLOW),
    WRONG(half_a_window, PROTOCOL),
    WRONG(a_window_and_more, PROTOCOL),
    WRONG(sends_without_credit, FLOW),
    WRONG(on_a_lane_that_is_not, LANE),
    WRONG(on_a_lane_far_away, LANE),
    WRONG(closes_its_own_connection, LANE),
    WRONG(does_not_know_its_own_connection, LANE),
    WRONG(wants_a_lane_that_is_not, LANE),
    WRONG(an_unknown_note, PROTOCOL),
    WRONG(half_a_note, PROTOCOL),
    WRONG(a_bad_probe, PROTOCOL),
    WRONG(a_report_of_no_train, PROTOCOL),
    WRONG(a_bad_beat, PROTOCOL),
    WRONG(a_second_hello, PROTOCOL),
    WRONG(in_another_name, PROTOCOL),
#undef WRONG
};

static bool
other_is_down(void *arg)
{
	(void)arg;
	return !rig_has_link(s.node, s.other->id);
}

static void
the_only_lane_ends(void **state)
{
	struct raw_peer p;

	(void)state;
	scene_up(SLOW);
	for (size_t i = 0; i < COUNT(wrongs); i++) {
		print_message("%s\n", wrongs[i].what);
		lane_up(&p, s.other, LANE_CONTROL);
		wrongs[i].say(&p);
		expect_end(&p, wrongs[i].code);
		assert_true(rig_wait(&s.r, other_is_down, NULL, RIG_WAIT_MS));
		check_honest();
	}
	scene_down();
}

/* With three lanes only the one on which the rule was broken goes. */
static void
the_others_stay(void **state)
{
	struct raw_peer p[LANES];

	(void)state;
	scene_up(SLOW);
	for (unsigned lane = 0; lane < LANES; lane++)
		lane_up(&p[lane], s.other, lane);
	for (size_t i = 0; i < COUNT(wrongs); i++) {
		unsigned lane = i % LANES;

		print_message("%s on lane %u\n", wrongs[i].what, lane);
		wrongs[i].say(&p[lane]);
		expect_end(&p[lane], wrongs[i].code);
		check_answers(&p[(lane + 1) % LANES], s.other);
		check_answers(&p[(lane + 2) % LANES], s.other);
		lane_up(&p[lane], s.other, lane);
		check_honest();
		assert_true(rig_has_link(s.node, s.other->id));
	}
	for (unsigned lane = 0; lane < LANES; lane++)
		raw_free(&p[lane]);
	scene_down();
}

static void
large_control_frames(void **state)
{
	struct raw_peer p[LANES];

	(void)state;
	scene_up(SLOW);
	for (unsigned lane = 0; lane < LANES; lane++)
		lane_up(&p[lane], s.other, lane);
	say_data(&p[0], FRAME_CLASS_CONTROL, 0, LANE_CONTROL_FRAME_BYTES - FRAME_HDR_BYTES);
	check_answers(&p[0], s.other);
	say_data(&p[1], FRAME_CLASS_CONTROL, 1, LANE_CONTROL_FRAME_BYTES);
	check_answers(&p[1], s.other);
	say_data(&p[0], FRAME_CLASS_CONTROL, 0, LANE_CONTROL_FRAME_BYTES - FRAME_HDR_BYTES + 1);
	expect_end(&p[0], GOAWAY_PROTOCOL);
	check_answers(&p[1], s.other);
	raw_free(&p[1]);
	raw_free(&p[2]);
	scene_down();
}

/* --- lanes that are not, and lanes of others --- */

static void
say_hello(struct raw_peer *p, struct rig_node *as, unsigned lane, unsigned lanes_max, uint16_t want)
{
	uint8_t hello[512];
	size_t len = raw_hello_lane(as, &s.r.mesh, lane, lanes_max, hello, sizeof(hello));

	assert_true(raw_connect(p, s.node->port, s.other->dir));
	assert_int_equal(raw_http(p, RAW_UPGRADE), 101);
	raw_frame(p, FRAME_HELLO, as->id, hello, len);
	expect_end(p, want);
}

static void
hellos_for_lanes(void **state)
{
	struct raw_peer p, control;

	(void)state;
	scene_up(SLOW);
	lane_up(&control, s.other, LANE_CONTROL);
	say_hello(&p, s.other, LANES, LANES_MAX, GOAWAY_LANE);
	say_hello(&p, s.other, LANES_MAX - 1, LANES_MAX, GOAWAY_LANE);
	say_hello(&p, s.other, LANES_MAX, LANES_MAX, GOAWAY_PROTOCOL);
	say_hello(&p, s.other, 99, LANES_MAX, GOAWAY_PROTOCOL);
	say_hello(&p, s.other, 0, 0, GOAWAY_PROTOCOL);
	/* A lane of another node's link: the certificate names its owner. */
	say_hello(&p, s.honest, LANE_PRIORITY, LANES, GOAWAY_BAD_CERT);
	/* With a certificate for that node, which another key does not help. */
	rig_issue(s.third, s.honest->id, NULL, NULL, 86400);
	s.third->id = s.honest->id;
	{
		struct crypto_key *own = s.third->key;

		s.third->key = s.honest->key;
		assert_true(raw_prove_lane(&p, s.node, s.third, LANE_PRIORITY, LANES, own));
		s.third->key = own;
	}
	expect_end(&p, GOAWAY_BAD_PROOF);
	check_answers(&control, s.other);
	raw_free(&control);
	scene_down();
}

static void
expect_unknown(struct raw_peer *p, uint64_t number)
{
	uint8_t mem[2048];
	struct lane_note n;
	size_t len = 0;

	assert_true(raw_expect(p, FRAME_LANE, mem, &len));
	assert_int_equal(lane_note_decode(mem, len, &n), 0);
	assert_int_equal(n.op, LANE_OP_UNKNOWN);
	assert_true(n.conn == number);
}

static void
notes_without_effect(void **state)
{
	struct raw_peer p, third;

	(void)state;
	scene_up(SLOW);
	lane_up(&p, s.other, LANE_CONTROL);
	lane_up(&third, s.third, LANE_CONTROL);
	/* A connection that never was, and one that is another node's. */
	say_note(&p, (struct lane_note){LANE_OP_CLOSED, 2, 12345, 99});
	expect_unknown(&p, 12345);
	say_note(&p, (struct lane_note){LANE_OP_CLOSED, 0, third.number, 99});
	expect_unknown(&p, third.number);
	check_answers(&third, s.third);
	say_note(&p, (struct lane_note){LANE_OP_UNKNOWN, 0, third.number, 0});
	say_note(&p, (struct lane_note){LANE_OP_UNKNOWN, 0, 12345, 0});
	/* It dialled: nobody dials for it. */
	for (uint16_t lane = 0; lane < LANES_MAX; lane++)
		say_note(&p, (struct lane_note){LANE_OP_WANT, lane, 0, 0});
	check_answers(&p, s.other);
	check_answers(&third, s.third);
	assert_int_equal(s.node->link_downs, 0);
	/* One at a time, or in one turn more than there is room for: the peer can't make us keep more. */
	for (unsigned i = 0; i < 500; i++)
		say_note(&p, (struct lane_note){LANE_OP_CLOSED, 1, i, 1});
	check_answers(&p, s.other);
	raw_free(&p);
	raw_free(&third);
	scene_down();
}

/* --- answers that can't be --- */

static void
say_feedback(struct raw_peer *p, struct path_feedback a)
{
	uint8_t mem[PATH_ANSWER_BYTES];
	struct buf out;

	buf_init_fixed(&out, mem, sizeof(mem));
	assert_int_equal(path_feedback_encode(&a, &out), 0);
	raw_send_frame(p, &(struct frame){.type = FRAME_PATH_FEEDBACK,
			      .class = FRAME_CLASS_CONTROL,
			      .ttl = FRAME_TTL_DEFAULT,
			      .src = s.other->id,
			      .payload = mem,
			      .payload_len = (uint32_t)buf_left(&out)});
}

static bool
other_is_up(void *arg)
{
	(void)arg;
	return rig_has_link(s.node, s.other->id);
}

static void
feedback_that_can_not_be(void **state)
{
	static const uint64_t counts[] = {0, 1, 1000, UINT32_MAX, UINT64_MAX / 2, UINT64_MAX - 1, UINT64_MAX};
	uint8_t mem[4096] = {PATH_ANSWER};
	struct raw_peer p;
	size_t len = 0;

	(void)state;
	scene_up(SLOW);
	lane_up(&p, s.other, LANE_CONTROL);
	assert_true(rig_wait(&s.r, other_is_up, NULL, RIG_WAIT_MS));
	for (size_t i = 0; i < COUNT(counts); i++) {
		for (size_t k = 0; k < COUNT(counts); k++) {
			send_to(s.node, s.other->id, 100);
			say_feedback(&p, (struct path_feedback){PATH_ANSWER, 7, counts[k], counts[i],
					     counts[k], counts[i], counts[k], counts[i]});
			say_feedback(&p, (struct path_feedback){.kind = PATH_ASK,
					     .path_id = (uint32_t)counts[i],
					     .sent_bytes = counts[k],
					     .time_us = counts[i]});
		}
		check_honest();
	}
	for (len = 0; len < PATH_ANSWER_BYTES + 2; len++)
		if (len != PATH_ANSWER_BYTES)
			raw_send_frame(&p, &(struct frame){.type = FRAME_PATH_FEEDBACK,
					       .ttl = 1,
					       .src = s.other->id,
					       .payload = mem,
					       .payload_len = (uint32_t)len});
	check_answers(&p, s.other);
	raw_free(&p);
	scene_down();
}

/* --- one that says as little as there is --- */

/* On an idle lane the node shows with empty pongs that it lives, and takes them for that. */
static void
signs_of_life(void **state)
{
	unsigned pings = 0, signs = 0;
	uint8_t mem[4096];
	struct raw_peer p;
	size_t len = 0;

	(void)state;
	scene_up("\theartbeat-interval 200ms\n\theartbeat-misses 25\n"); /* 5 s */
	lane_up(&p, s.other, LANE_CONTROL);
	/* 40 of them take 8 s, with a ping that is not answered now and then. */
	while (signs < 40) {
		int opcode = raw_read(&p, mem, &len);

		assert_true(opcode == WSFRAME_BINARY || (opcode == WSFRAME_PONG && len == 0));
		pings += opcode == WSFRAME_BINARY;
		signs += opcode == WSFRAME_PONG;
		if (opcode == WSFRAME_PONG)
			raw_ws(&p, 0x80 | WSFRAME_PONG, mem, 0);
	}
	assert_in_range(pings, 1, 40);
	check_answers(&p, s.other);
	raw_free(&p);
	scene_down();
}

/* --- one that never reads --- */

static struct {
	struct raw_peer p;
	struct rng rng; /* any streams of any tenants: no quota but the link's helps */
	bool beating;
	unsigned sent, looked;
	uint64_t most, most_allowed;
} mute;

static bool
flood(void *arg)
{
	const mesh_v1_LinkInfo *l = &s.node->link_info;
	char id[NODEID_TEXT_SIZE];

	(void)arg;
	nodeid_format(id, s.other->id);
	if (s.node->dones > mute.looked && strcmp(l->target_node_id, id) == 0) {
		mute.looked = s.node->dones;
		if (l->detail.memory_bytes > mute.most)
			mute.most = l->detail.memory_bytes;
		mute.most_allowed = l->detail.memory_max_bytes;
		assert_true(l->detail.memory_bytes <= l->detail.memory_max_bytes);
	}
	if (mute.sent % 16 == 0)
		RIG_MUST(channel_send(s.node->gateway, GT_LIST_LINKS, 9, NULL, 0) == 0);
	for (unsigned i = 0; mute.beating && i < 8; i++)
		send_on(s.node, s.other->id, (uint32_t)rng_u64(&mute.rng), BIG);
	mute.sent++;
	if (mute.beating && mute.sent % 64 == 0) {
		uint8_t beat[HEARTBEAT_PAYLOAD_BYTES] = {HEARTBEAT_BEAT};

		raw_frame(&mute.p, FRAME_HEARTBEAT, s.other->id, beat, sizeof(beat));
	}
	if (s.answered == s.asked) {
		s.asked++;
		send_to(s.node, s.honest->id, 100);
	}
	return !mute.beating && !rig_has_link(s.node, s.other->id);
}

static void
never_reading(void **state)
{
	unsigned before;

	(void)state;
	scene_up(QUICK);
	memset(&mute, 0, sizeof(mute));
	lane_up(&mute.p, s.other, LANE_CONTROL);
	assert_true(rig_wait(&s.r, other_is_up, NULL, RIG_WAIT_MS));
	rng_seed(&mute.rng, 1);
	mute.beating = true;
	before = s.answered;
	assert_false(rig_wait(&s.r, flood, NULL, 4000));
	assert_true(rig_has_link(s.node, s.other->id));
	assert_true(mute.most > 4 << 20);
	assert_true(s.answered > before + 20);
	print_message("%u frames to it, %llu of %llu bytes kept; %u answers of the honest one\n",
	    mute.sent * 8, (unsigned long long)mute.most, (unsigned long long)mute.most_allowed,
	    s.answered - before);
	/* And when it is silent, too, it is gone. */
	mute.beating = false;
	assert_true(rig_wait(&s.r, flood, NULL, RIG_WAIT_MS));
	raw_free(&mute.p);
	assert_true(rig_wait(&s.r, is_answered, NULL, RIG_WAIT_MS));
	scene_down();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_only_lane_ends),
	    cmocka_unit_test(the_others_stay),
	    cmocka_unit_test(large_control_frames),
	    cmocka_unit_test(hellos_for_lanes),
	    cmocka_unit_test(notes_without_effect),
	    cmocka_unit_test(feedback_that_can_not_be),
	    cmocka_unit_test(signs_of_life),
	    cmocka_unit_test(never_reading),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
