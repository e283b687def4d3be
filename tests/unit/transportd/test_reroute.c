/*
 * Traffic leaves a bad path at once: real transportd processes in a diamond, whose links can be cut.
 *
 *	    x
 *	  /   \
 *	s  |   t     x and y are linked, too
 *	  \   /
 *	    y
 */
#include "tests/rig/dial.h"
#include "tests/rig/forwarder.h"

enum { OVER_X = 1, OVER_Y = 2, PERIOD_MS = 5, CUTS = 10, LIMIT_MS = 500 };

static struct diamond {
	struct rig r;
	struct rig_node *s, *x, *y, *t;
	struct forwarder sx, xt, sy, yt;
	/* The stream from s to t. */
	struct loop_timer *timer;
	uint32_t sent, got;
	uint32_t path_id; /* of the last frame that came */
	uint8_t flags;
	int64_t cut_us, next_us; /* when something came that had left after the cut */
	uint32_t cut_seq;
	unsigned unreachable;
} d;

/* --- the stream --- */

static void
send_one(void *arg)
{
	uint8_t payload[1000] = {0};
	struct frame f = {
	    .type = FRAME_DATA,
	    .class = FRAME_CLASS_CLIENT,
	    .ttl = FRAME_TTL_DEFAULT,
	    .src = d.s->id,
	    .visit_count = 1,
	    .visit = {d.t->id},
	    .flow = 77,
	    .payload = payload,
	    .payload_len = sizeof(payload),
	};
	struct buf out;

	(void)arg;
	d.sent++;
	memcpy(payload, &d.sent, sizeof(d.sent));
	buf_init(&out, FRAME_MAX_BYTES);
	assert_int_equal(frame_encode(&f, &out), 0);
	assert_int_equal(channel_send(d.s->consensus, CT_FRAMES_OUT, 0, buf_head(&out), buf_left(&out)), 0);
	buf_fini(&out);
	loop_timer_arm_ms(d.timer, PERIOD_MS);
}

static void
on_arrival(struct rig_node *n, const struct frame *f)
{
	uint32_t seq;

	(void)n;
	if (f->type != FRAME_DATA)
		return;
	memcpy(&seq, f->payload, sizeof(seq));
	d.got++;
	d.path_id = f->path_id;
	d.flags = f->flags;
	if (d.cut_us != 0 && d.next_us == 0 && seq > d.cut_seq)
		d.next_us = clock_mono().us;
}

static void
on_report(struct rig_node *n, const struct frame *f)
{
	(void)n;
	d.unreachable += f->type == FRAME_UNREACHABLE;
}

static bool
came_again(void *arg)
{
	(void)arg;
	return d.next_us != 0;
}

static bool
came_over(void *arg)
{
	return d.path_id == *(uint32_t *)arg && (d.flags & FRAME_FLAG_REPAIRED) == 0;
}

static void
wait_over(uint32_t path_id)
{
	assert_true(rig_wait(&d.r, came_over, &path_id, RIG_WAIT_MS));
}

static void
run_ms(int64_t ms)
{
	(void)rig_wait(&d.r, rig_never, NULL, ms);
}

/* --- the diamond --- */

static void
routes(void)
{
	mesh_ipc_FibRoute there = mesh_ipc_FibRoute_init_default, back = there, around = there;

	rig_path(&there, OVER_X, (uint64_t[]){d.x->id, d.t->id}, 2);
	rig_path(&there, OVER_Y, (uint64_t[]){d.y->id, d.t->id}, 2);
	rig_send_route(d.s, &there);
	rig_path(&back, OVER_X, (uint64_t[]){d.x->id, d.s->id}, 2);
	rig_path(&back, OVER_Y, (uint64_t[]){d.y->id, d.s->id}, 2);
	rig_send_route(d.t, &back);
	rig_path(&around, 1, (uint64_t[]){d.t->id}, 1);
	rig_path(&around, 2, (uint64_t[]){d.y->id, d.t->id}, 2);
	rig_send_route(d.x, &around);
	rig_route(d.x, d.s->id, (uint64_t[]){d.s->id}, 1);
	rig_route(d.y, d.s->id, (uint64_t[]){d.s->id}, 1);
	rig_route(d.y, d.t->id, (uint64_t[]){d.t->id}, 1);
	rig_route(d.s, d.x->id, (uint64_t[]){d.x->id}, 1);
	assert_true(
	    rig_wait_routes(d.s) && rig_wait_routes(d.t) && rig_wait_routes(d.x) && rig_wait_routes(d.y));
}

/* beats: what mesh.conf of x, y and t says of heartbeats. */
static void
diamond_with(const char *beats)
{
	memset(&d, 0, sizeof(d));
	rig_init(&d.r);
	d.s = rig_add(&d.r, "s");
	d.x = rig_add(&d.r, "x");
	d.y = rig_add(&d.r, "y");
	d.t = rig_add(&d.r, "t");
	fwd_init(&d.sx, d.r.loop, d.x->port);
	fwd_init(&d.sy, d.r.loop, d.y->port);
	fwd_init(&d.xt, d.r.loop, d.t->port);
	fwd_init(&d.yt, d.r.loop, d.t->port);
	rig_conf(d.s, "\tpeer x { address 127.0.0.1:%u }\n\tpeer y { address 127.0.0.1:%u }", d.sx.port,
	    d.sy.port);
	rig_conf(d.x, "\tpeer t { address 127.0.0.1:%u }\n\tpeer y { address 127.0.0.1:%u }%s", d.xt.port,
	    d.y->port, beats);
	rig_conf(d.y, "\tpeer t { address 127.0.0.1:%u }%s", d.yt.port, beats);
	rig_conf(d.t, "%s", beats);
	for (size_t i = 0; i < d.r.count; i++)
		rig_start(&d.r.nodes[i]);
	(void)wait_link(d.s, d.x);
	(void)wait_link(d.s, d.y);
	(void)wait_link(d.x, d.y);
	(void)wait_link(d.x, d.t);
	(void)wait_link(d.y, d.t);
	routes();
	d.t->on_frame = on_arrival;
	d.s->on_frame = on_report;
	d.timer = loop_timer_new(d.r.loop, send_one, NULL);
	loop_timer_arm_ms(d.timer, 0);
	wait_over(OVER_X);
}

static void
diamond_up(void)
{
	diamond_with("");
}

static void
diamond_down(void)
{
	struct forwarder *const all[] = {&d.sx, &d.xt, &d.sy, &d.yt};

	loop_timer_free(d.timer);
	for (size_t i = 0; i < 4; i++)
		assert_true(rig_alive(&d.r.nodes[i]));
	for (size_t i = 0; i < 4; i++)
		fwd_fini(all[i]);
	rig_fini(&d.r);
}

/* --- cuts --- */

/* Until refuse is taken back. */
static void
black_hole(struct forwarder *f)
{
	f->refuse = true;
	for (size_t i = 0; i < f->count; i++)
		if (fwd_alive(f->conns[i]))
			fwd_cut(f->conns[i], FWD_BOTH);
}

static void
nothing(struct forwarder *f)
{
	(void)f;
}

static void
reset_all(struct forwarder *f)
{
	f->refuse = true;
	for (size_t i = 0; i < f->count; i++)
		if (f->conns[i]->end[0].fd != -1)
			fwd_reset(f->conns[i]);
}

/* Milliseconds until a frame comes that left after the cut. */
static int64_t
cut(void (*how)(struct forwarder *), struct forwarder *f)
{
	d.cut_us = clock_mono().us;
	d.next_us = 0;
	d.cut_seq = d.sent;
	how(f);
	assert_true(rig_wait(&d.r, came_again, NULL, RIG_WAIT_MS));
	return (d.next_us - d.cut_us) / 1000;
}

static int
by_size(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

/* Whichever path the stream takes, when the link that was cut last is back. */
static void
cut_often(const char *what, struct forwarder *over_x, struct forwarder *over_y)
{
	struct rig_node *end = over_x == &d.sx ? d.s : d.t;
	int64_t ms[CUTS];

	for (unsigned i = 0; i < CUTS; i++) {
		bool x = d.path_id == OVER_X;

		ms[i] = cut(black_hole, x ? over_x : over_y);
		wait_over(x ? OVER_Y : OVER_X);
		run_ms(500); /* until the link has died, too */
		(x ? over_x : over_y)->refuse = false;
		(void)wait_link(x ? d.x : d.y, end);
		run_ms(500);
	}
	qsort(ms, CUTS, sizeof(ms[0]), by_size);
	print_message("%s: %d cuts, median %ld ms, worst %ld ms\n", what, CUTS,
	    (long)(ms[CUTS / 2 - 1] + ms[CUTS / 2]) / 2, (long)ms[CUTS - 1]);
	assert_true(ms[CUTS - 1] < LIMIT_MS);
}

static void
a_cut_first_link_is_left(void **state)
{
	(void)state;
	diamond_up();
	cut_often("first link", &d.sx, &d.sy);
	assert_true(d.s->path_states >= CUTS / 2);
	assert_int_equal(d.s->path_state.destination, d.t->id);
	assert_true(d.s->reroutes >= CUTS / 2);
	assert_int_equal(d.s->rerouted.destination, d.t->id);
	diamond_down();
}

static void
a_cut_further_on_is_left(void **state)
{
	(void)state;
	diamond_up();
	cut_often("second link", &d.xt, &d.yt);
	diamond_down();
}

/* A relay whose link has gone sends the frames another way, and says so: the source takes its other path
 * at once, and returns when the link is back. */
static void
a_repair_is_told(void **state)
{
	int64_t ms;

	(void)state;
	diamond_up();
	ms = cut(reset_all, &d.xt);
	wait_over(OVER_Y);
	print_message("link reset at a relay: next frame after %ld ms, other path after %ld ms\n", (long)ms,
	    (long)(clock_mono().us - d.cut_us) / 1000);
	assert_true(ms < 100);
	assert_true((clock_mono().us - d.cut_us) / 1000 < 200);
	run_ms(100);
	assert_int_equal(d.s->path_state.state, mesh_ipc_PathStateCode_PATH_SUSPECT);
	assert_int_equal(d.s->path_state.path_id, OVER_X);
	assert_string_equal(d.s->path_state.reason, "notice");
	assert_true(d.s->path_state.used);
	assert_int_equal(d.unreachable, 0); /* consensusd need not know */
	/* As long as x goes round, the path is not taken for good. */
	run_ms(3000);
	assert_int_equal(d.path_id, OVER_Y);
	d.xt.refuse = false;
	wait_over(OVER_X);
	run_ms(1500);
	assert_int_equal(d.s->path_state.state, mesh_ipc_PathStateCode_PATH_UP);
	diamond_down();
}

static bool
forgotten(void *arg)
{
	(void)arg;
	return d.s->path_state.state == mesh_ipc_PathStateCode_PATH_FORGOTTEN;
}

/* routerd holds what it was told of a path: it hears when that is void, for the path is one no more. */
static void
a_path_that_is_gone_is_forgotten(void **state)
{
	mesh_ipc_FibRoute there = mesh_ipc_FibRoute_init_default;

	(void)state;
	diamond_up();
	(void)cut(reset_all, &d.xt);
	wait_over(OVER_Y);
	run_ms(100);
	assert_int_equal(d.s->path_state.state, mesh_ipc_PathStateCode_PATH_SUSPECT);
	rig_path(&there, OVER_Y, (uint64_t[]){d.y->id, d.t->id}, 2);
	rig_send_route(d.s, &there);
	assert_true(rig_wait(&d.r, forgotten, NULL, RIG_WAIT_MS));
	assert_int_equal(d.s->path_state.path_id, OVER_X);
	assert_int_equal(d.s->path_state.destination, d.t->id);
	diamond_down();
}

/* A relay that stands still while its kernel goes on answering: the links look slow, not dead.  Both the data
 * and the answers of the far end have to find the other way. */
static void
a_stopped_relay_is_left(void **state)
{
	unsigned before;
	int64_t ms;

	(void)state;
	diamond_up();
	run_ms(3000);
	kill(d.x->pid, SIGSTOP);
	ms = cut(nothing, NULL);
	assert_true(ms < LIMIT_MS);
	print_message("relay stopped: next frame after %ld ms\n", (long)ms);
	run_ms(1500);
	before = d.got;
	run_ms(1000);
	print_message("%u of %d frames in a second\n", d.got - before, 1000 / PERIOD_MS);
	assert_true(d.got - before > 1000 / PERIOD_MS * 3 / 4);
	assert_int_equal(d.path_id, OVER_Y);
	kill(d.x->pid, SIGCONT);
	wait_over(OVER_X);
	diamond_down();
}

static bool
suspected(void *arg)
{
	(void)arg;
	return d.s->path_state.state == mesh_ipc_PathStateCode_PATH_SUSPECT;
}

static bool
all_came(void *arg)
{
	return d.got >= *(unsigned *)arg;
}

/* The only path is silent for a while, and no link is down: what was sent on it is not sent again, since it
 * would only wait there twice.  Where there is another one, it is: see above. */
static void
the_only_path_is_waited_for(void **state)
{
	mesh_ipc_FibRoute only = mesh_ipc_FibRoute_init_default;
	unsigned sent;

	(void)state;
	diamond_with("\n\theartbeat-interval 2s\n");
	rig_path(&only, OVER_X, (uint64_t[]){d.x->id, d.t->id}, 2);
	rig_send_route(d.s, &only);
	run_ms(500);
	kill(d.t->pid, SIGSTOP);
	assert_true(rig_wait(&d.r, suspected, NULL, RIG_WAIT_MS));
	assert_string_equal(d.s->path_state.reason, "silent");
	sent = d.sent;
	kill(d.t->pid, SIGCONT);
	assert_true(rig_wait(&d.r, all_came, &sent, RIG_WAIT_MS));
	assert_int_equal(d.s->reroutes, 0);
	diamond_down();
}

static bool
used_again(void *arg)
{
	return d.s->useds > *(unsigned *)arg;
}

/* routerd is told where data goes, once; and again when it is back. */
static void
what_is_used_is_told(void **state)
{
	unsigned before;

	(void)state;
	diamond_up();
	run_ms(200);
	assert_int_equal(d.s->useds, 1);
	assert_int_equal(d.s->used, d.t->id);
	assert_int_equal(d.x->useds, 0); /* a relay sends nothing of its own */
	before = d.s->useds;
	channel_close(d.s->router, ERR_STATE);
	assert_true(rig_wait(&d.r, used_again, &before, RIG_WAIT_MS));
	assert_int_equal(d.s->useds, 2);
	assert_int_equal(d.s->unuseds, 0);
	diamond_down();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_cut_first_link_is_left),
	    cmocka_unit_test(a_cut_further_on_is_left),
	    cmocka_unit_test(a_repair_is_told),
	    cmocka_unit_test(a_path_that_is_gone_is_forgotten),
	    cmocka_unit_test(a_stopped_relay_is_left),
	    cmocka_unit_test(the_only_path_is_waited_for),
	    cmocka_unit_test(what_is_used_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
