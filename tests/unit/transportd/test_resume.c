/*
 * Lanes that die under load, between real transportd processes: nothing may be lost, doubled, or put out
 * of order, and the link stays up as long as one lane does.  a dials b through a forwarder.  SEED=n repeats a
 * run, ONLY=pattern takes the tests of these names.
 */
#include "tests/rig/forwarder.h"
#include "tests/rig/pump.h"
#include "tests/unit/unit.h"
#include "transportd/core/limits.h"

static struct pump ab, ba;

static void
on_frame(struct rig_node *n, const struct frame *f)
{
	if (f->type == FRAME_DATA)
		pump_received(n == ab.to ? &ab : &ba, f);
}

static void
pump_check(const struct pump *p)
{
	for (unsigned i = 0; i < FLOWS; i++)
		if (p->sent[i] != p->got[i])
			fprintf(stderr, "flow %u (%s) of %s: %u sent, %u received\n", i,
			    frame_class_name(pump_class(i)), p->from->name, p->sent[i], p->got[i]);
	if (p->first[0] != '\0')
		fprintf(
		    stderr, "%u doubled, %u out of order; first %s\n", p->doubled, p->disordered, p->first);
	assert_true(pump_empty(p));
	assert_int_equal(p->doubled, 0);
	assert_int_equal(p->disordered, 0);
}

/* --- two nodes and what is between them --- */

static struct scene {
	struct rig r;
	struct rig_node *a, *b;
	struct forwarder f;
	struct rng rng;
	uint64_t seed;
	bool quiet; /* nothing more is sent */
} s;

/* What the scene waits for, while frames go both ways. */
static bool (*goal)(void);

static bool
step(void *arg)
{
	(void)arg;
	if (!s.quiet) {
		pump_step(&ab);
		pump_step(&ba);
	}
	return goal();
}

static bool
wait_for(bool (*until)(void), int64_t ms)
{
	goal = until;
	return rig_wait(&s.r, step, NULL, ms);
}

static bool
never(void)
{
	return false;
}

static void
pump_for(int64_t ms)
{
	(void)wait_for(never, ms);
}

/* --- lanes as the nodes show them --- */

static const mesh_v1_LaneDetail *
lane_of(const struct rig_node *n, unsigned lane)
{
	const mesh_v1_LinkDetail *d = &n->link_info.detail;

	for (unsigned i = 0; i < d->lanes_count; i++)
		if (d->lanes[i].lane == lane)
			return &d->lanes[i];
	return NULL;
}

static unsigned asked;

static void
ask_links(struct rig_node *n)
{
	n->link_info.detail.lanes_count = 0;
	RIG_MUST(channel_send(n->gateway, GT_LIST_LINKS, 9, NULL, 0) == 0);
}

/* Asks both until both answer; true when they have. */
static bool
answered(void)
{
	return s.a->dones + s.b->dones >= asked;
}

static void
refresh(void)
{
	asked = s.a->dones + s.b->dones + 2;
	ask_links(s.a);
	ask_links(s.b);
	assert_true(wait_for(answered, RIG_WAIT_MS));
}

static uint16_t
port_of(const char *address)
{
	const char *colon = strrchr(address, ':');

	return colon != NULL ? (uint16_t)strtoul(colon + 1, NULL, 10) : 0;
}

/* The connection that is this lane for both ends; NULL: it is not up at one of them. */
static struct fwd_conn *
conn_of(unsigned lane)
{
	const mesh_v1_LaneDetail *at_a = lane_of(s.a, lane), *at_b = lane_of(s.b, lane);
	struct fwd_conn *c = at_a != NULL ? fwd_find(&s.f, 0, port_of(at_a->local_address)) : NULL;

	return at_b != NULL && c != NULL && c->end[1].port == port_of(at_b->address) ? c : NULL;
}

static unsigned
whole_lanes(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < 3; i++)
		n += conn_of(i) != NULL && fwd_alive(conn_of(i));
	return n;
}

static bool
three_lanes(void)
{
	bool there = answered() && whole_lanes() == 3;

	if (!there && answered()) {
		asked = s.a->dones + s.b->dones + 2;
		ask_links(s.a);
		ask_links(s.b);
	}
	return there;
}

static bool
linked(void)
{
	return rig_has_link(s.a, s.b->id) && rig_has_link(s.b, s.a->id);
}

static bool
drained(void)
{
	return pump_empty(&ab) && pump_empty(&ba);
}

/* --- up and down --- */

static uint64_t
seed_of_run(void)
{
	const char *given = getenv("SEED");
	uint64_t seed;

	if (given != NULL)
		return strtoull(given, NULL, 0);
	crypto_random(&seed, sizeof(seed));
	return seed;
}

#define PATIENT "\theartbeat-interval 1s\n\theartbeat-misses 3\n"
#define QUICK "\theartbeat-interval 150ms\n\theartbeat-misses 4\n"
#define THREE "\tbulk-lanes 1\n\tbulk-lanes-max 1\n"

static void
routes(void)
{
	rig_route(s.a, s.b->id, &s.b->id, 1);
	rig_route(s.b, s.a->id, &s.a->id, 1);
	assert_true(rig_wait_routes(s.a));
	assert_true(rig_wait_routes(s.b));
}

static void
scene_up(const char *extra_a, const char *extra_b)
{
	memset(&s, 0, sizeof(s));
	rig_init(&s.r);
	s.seed = seed_of_run();
	rng_seed(&s.rng, s.seed);
	s.a = rig_add(&s.r, "a");
	s.b = rig_add(&s.r, "b");
	fwd_init(&s.f, s.r.loop, s.b->port);
	rig_conf(s.a, "%s\tlink-queue 64MB\n\tpeer b { address 127.0.0.1:%u }", extra_a, s.f.port);
	rig_conf(s.b, "%s\tlink-queue 64MB\n", extra_b);
	rig_start(s.b);
	rig_start(s.a);
	pump_init(&ab, s.a, s.b, s.seed);
	pump_init(&ba, s.b, s.a, s.seed + 1);
	s.a->on_frame = s.b->on_frame = on_frame;
	s.quiet = true;
	assert_true(wait_for(linked, RIG_WAIT_MS));
	routes();
	s.quiet = false;
}

static void
scene_up_three(const char *extra)
{
	char both[256];

	snprintf(both, sizeof(both), "%s%s", extra, THREE);
	scene_up(both, both);
	refresh();
	assert_true(wait_for(three_lanes, RIG_WAIT_MS));
}

static bool
got_metrics(void)
{
	return s.a->metrics != NULL && s.b->metrics != NULL;
}

/* What the nodes count as dropped, given up or resent. */
static void
print_counters(struct rig_node *n)
{
	for (char *line = strtok(n->metrics, "\n"); line != NULL; line = strtok(NULL, "\n"))
		if (strncmp(line, "mesh_frames_dropped", 19) == 0 ||
		    (strncmp(line, "mesh_lane_", 10) == 0 && strstr(line, "rtt") == NULL))
			fprintf(stderr, "%s: %s\n", n->name, line);
}

/* Lets everything arrive, and looks at what did. */
static void
settle(void)
{
	s.quiet = true;
	(void)wait_for(drained, RIG_WAIT_MS);
	/* What comes twice may come later. */
	(void)wait_for(never, 200);
	if (!pump_fine(&ab) || !pump_fine(&ba)) {
		fprintf(stderr, "seed %#llx\n", (unsigned long long)s.seed);
		RIG_MUST(channel_send(s.a->gateway, GT_METRICS, RIG_ASK_METRICS, NULL, 0) == 0);
		RIG_MUST(channel_send(s.b->gateway, GT_METRICS, RIG_ASK_METRICS, NULL, 0) == 0);
		assert_true(wait_for(got_metrics, RIG_WAIT_MS));
		print_counters(s.a);
		print_counters(s.b);
	}
	pump_check(&ab);
	pump_check(&ba);
}

static void
scene_down(void)
{
	assert_true(rig_alive(s.a));
	assert_true(rig_alive(s.b));
	fwd_fini(&s.f);
	rig_fini(&s.r);
}

static void
check_link_stayed(void)
{
	assert_int_equal(s.a->link_downs, 0);
	assert_int_equal(s.b->link_downs, 0);
}

/* --- one lane at a time --- */

static void
each_lane(void (*spoil)(struct fwd_conn *c))
{
	for (unsigned lane = 0; lane < 3; lane++) {
		struct fwd_conn *c;
		uint64_t before;

		refresh();
		c = conn_of(lane);
		assert_non_null(c);
		pump_for(100);
		before = pump_total(&ab);
		spoil(c);
		pump_for(100);
		assert_true(wait_for(three_lanes, RIG_WAIT_MS));
		pump_for(200);
		assert_true(pump_total(&ab) > before);
		assert_true(conn_of(lane) != c);
	}
	settle();
	check_link_stayed();
}

static void
cut(struct fwd_conn *c)
{
	fwd_cut(c, FWD_BOTH);
}

static void
cut_up(struct fwd_conn *c)
{
	fwd_cut(c, FWD_UP);
}

static void
cut_down(struct fwd_conn *c)
{
	fwd_cut(c, FWD_DOWN);
}

static void
lanes_that_fall_silent(void **state)
{
	(void)state;
	scene_up_three(QUICK);
	each_lane(cut);
	scene_down();
}

static void
lanes_that_fall_silent_one_way(void **state)
{
	(void)state;
	scene_up_three(QUICK);
	each_lane(cut_up);
	s.quiet = false;
	each_lane(cut_down);
	scene_down();
}

static void
lanes_that_are_reset(void **state)
{
	(void)state;
	scene_up_three(QUICK);
	each_lane(fwd_reset);
	scene_down();
}

static uint64_t tx_before[3];

/* Since it was last asked a has sent control frames, those of system and db, and of streams, each on their
 * lane: on none there is nothing. */
static bool
on_their_lanes(void)
{
	uint64_t tx[3];

	for (unsigned i = 0; i < 3; i++) {
		tx[i] = lane_of(s.a, i)->tx_frames - tx_before[i];
		tx_before[i] += tx[i];
	}
	return tx[0] != 0 && tx[1] != 0 && tx[2] != 0;
}

/* Streams and system frames do not stay where they were only taken in. */
static void
back_on_their_lanes(void **state)
{
	(void)state;
	scene_up_three(QUICK);
	for (unsigned dead = 2; dead < 7; dead += 2) {
		refresh();
		for (unsigned i = 0; i < 3; i++)
			if (dead >> i & 1)
				fwd_reset(conn_of(i));
		pump_for(100);
		assert_true(wait_for(three_lanes, RIG_WAIT_MS));
		pump_for(200);
		refresh();
		(void)on_their_lanes();
		pump_for(200);
		refresh();
		assert_true(on_their_lanes());
	}
	settle();
	check_link_stayed();
	scene_down();
}

/* Silence that is borne changes nothing. */
static void
lanes_that_are_held(void **state)
{
	(void)state;
	scene_up_three(PATIENT);
	for (unsigned lane = 0; lane < 3; lane++) {
		struct fwd_conn *c;

		refresh();
		c = conn_of(lane);
		assert_non_null(c);
		pump_for(100);
		fwd_hold(c, FWD_BOTH);
		pump_for(400);
		fwd_release(c);
		pump_for(200);
		refresh();
		assert_true(conn_of(lane) == c);
	}
	settle();
	check_link_stayed();
	scene_down();
}

/* --- more than one --- */

static void
two_lanes_at_once(void **state)
{
	(void)state;
	scene_up_three(QUICK);
	for (unsigned stays = 0; stays < 3; stays++) {
		refresh();
		for (unsigned i = 0; i < 3; i++) {
			struct fwd_conn *c = conn_of(i);

			assert_non_null(c);
			if (i != stays)
				(stays == 1 ? fwd_reset : cut)(c);
		}
		pump_for(100);
		assert_true(wait_for(three_lanes, RIG_WAIT_MS));
	}
	settle();
	check_link_stayed();
	scene_down();
}

/* The note about the lane that is reset goes on one that does not answer, for longer than the peer is
 * given to tell what it got. */
static void
a_note_on_a_silent_lane(void **state)
{
	struct fwd_conn *control, *bulk;

	(void)state;
	scene_up_three(PATIENT);
	for (unsigned i = 0; i < 2; i++) {
		refresh();
		control = conn_of(0);
		bulk = conn_of(2);
		assert_true(control != NULL && bulk != NULL);
		pump_for(100);
		fwd_cut(control, i == 0 ? FWD_DOWN : FWD_UP);
		fwd_reset(bulk);
		pump_for(100);
		assert_true(wait_for(three_lanes, RIG_WAIT_MS));
	}
	settle();
	check_link_stayed();
	scene_down();
}

/* The connection that replaces a lane goes while that lane is still being settled. */
static void
the_replacement_dies_too(void **state)
{
	(void)state;
	scene_up_three(QUICK);
	for (unsigned lane = 0; lane < 3; lane++) {
		struct fwd_conn *c;

		refresh();
		c = conn_of(lane);
		assert_non_null(c);
		fwd_reset(c);
		for (unsigned i = 0; i < 2; i++) {
			assert_true(wait_for(three_lanes, RIG_WAIT_MS));
			c = conn_of(lane);
			(i == 0 ? fwd_reset : cut)(c);
		}
		assert_true(wait_for(three_lanes, RIG_WAIT_MS));
	}
	settle();
	check_link_stayed();
	scene_down();
}

static void
hold_newest_up(struct rig_node *n)
{
	n->on_sign = NULL;
	fwd_hold(s.f.conns[s.f.count - 1], FWD_UP);
}

/* The dialler knows that its connection is proven and has sent frames on it, the listener does not get the
 * proof; and gets it with the frames when the dialler has given up, and has sent them elsewhere. */
static void
a_proof_that_comes_too_late(void **state)
{
	struct fwd_conn *c;

	(void)state;
	scene_up_three(QUICK);
	for (unsigned lane = 0; lane < 3; lane++) {
		refresh();
		c = conn_of(lane);
		assert_non_null(c);
		s.b->on_sign = hold_newest_up;
		fwd_reset(c);
		pump_for(1200);
		assert_null(s.b->on_sign);
		for (size_t i = 0; i < s.f.count; i++)
			if (s.f.conns[i]->held == FWD_UP)
				fwd_release(s.f.conns[i]);
		pump_for(100);
		assert_true(wait_for(three_lanes, RIG_WAIT_MS));
	}
	settle();
	check_link_stayed();
	scene_down();
}

static void
spoil_one(struct fwd_conn *c)
{
	switch (rng_below(&s.rng, 4)) {
	case 0:
		fwd_cut(c, FWD_UP);
		break;
	case 1:
		fwd_cut(c, FWD_DOWN);
		break;
	case 2:
		fwd_cut(c, FWD_BOTH);
		break;
	default:
		fwd_reset(c);
		break;
	}
}

/* One lane or two, and connections on their way up; one that both ends know always stays. */
static void
spoil_some(void)
{
	unsigned whole = whole_lanes(), start = (unsigned)rng_below(&s.rng, 3);
	unsigned victims = 1 + (unsigned)rng_below(&s.rng, 2);

	for (unsigned i = 0; i < 3 && victims != 0 && whole > 1; i++) {
		struct fwd_conn *c = conn_of((start + i) % 3);

		if (c == NULL || !fwd_alive(c))
			continue;
		spoil_one(c);
		whole--;
		victims--;
	}
}

static void
any_lanes_for_long(void **state)
{
	int64_t end;

	(void)state;
	scene_up_three(QUICK);
	fprintf(stderr, "seed %#llx\n", (unsigned long long)s.seed);
	end = clock_mono().us + 6000000;
	while (clock_mono().us < end) {
		refresh();
		spoil_some();
		pump_for((int64_t)rng_below(&s.rng, 700));
	}
	assert_true(wait_for(three_lanes, RIG_WAIT_MS));
	fprintf(stderr, "%llu and %llu frames, %zu connections\n", (unsigned long long)pump_total(&ab),
	    (unsigned long long)pump_total(&ba), s.f.count);
	settle();
	check_link_stayed();
	scene_down();
}

/* --- all of them --- */

static bool
both_down(void)
{
	return s.a->link_downs != 0 && s.b->link_downs != 0;
}

static uint64_t mark_ab, mark_ba;

static bool
flows_again(void)
{
	return pump_total(&ab) > mark_ab + 100 && pump_total(&ba) > mark_ba + 100;
}

/* What was on its way is gone; numbers begin anew. */
static void
pumps_anew(void)
{
	pump_init(&ab, s.a, s.b, s.seed);
	pump_init(&ba, s.b, s.a, s.seed + 1);
}

static void
all_lanes_at_once(void **state)
{
	(void)state;
	scene_up_three(QUICK);
	for (unsigned i = 0; i < 3; i++) {
		refresh();
		assert_int_equal(whole_lanes(), 3);
		pump_for(100);
		s.a->link_downs = s.b->link_downs = 0;
		for (unsigned lane = 0; lane < 3; lane++)
			(i == 1 ? cut : fwd_reset)(conn_of(lane));
		/* Or a new lane may be there before the last of the old ones is given up. */
		s.f.refuse = true;
		assert_true(wait_for(both_down, RIG_WAIT_MS));
		s.f.refuse = false;
		s.quiet = true;
		assert_true(wait_for(linked, RIG_WAIT_MS));
		assert_true(wait_for(three_lanes, RIG_WAIT_MS));
		pump_for(300);
		pumps_anew();
		s.quiet = false;
		mark_ab = mark_ba = 0;
		assert_true(wait_for(flows_again, RIG_WAIT_MS));
	}
	settle();
	scene_down();
}

static void
hold_conn(struct fwd_conn *c)
{
	fwd_hold(c, FWD_BOTH);
}

static bool
one_is_dialled(void)
{
	return s.f.on_conn != NULL && (s.f.conns[s.f.count - 1]->held & FWD_UP) != 0;
}

/* The first connection that is proven after the end of a link was to replace its priority lane: the others
 * must be dialled all the same. */
static void
a_link_that_begins_with_another_lane(void **state)
{
	(void)state;
	scene_up_three(QUICK);
	pump_for(100);
	refresh();
	s.quiet = true;
	s.f.on_conn = hold_conn;
	fwd_reset(conn_of(LANE_PRIORITY));
	assert_true(wait_for(one_is_dialled, RIG_WAIT_MS));
	s.f.on_conn = NULL;
	fwd_reset(conn_of(LANE_CONTROL));
	fwd_reset(conn_of(LANE_BULK));
	fwd_release(s.f.conns[s.f.count - 1]);
	s.f.refuse = true;
	assert_true(wait_for(both_down, RIG_WAIT_MS));
	assert_true(wait_for(linked, RIG_WAIT_MS));
	pump_for(200);
	s.f.refuse = false;
	assert_true(wait_for(three_lanes, RIG_WAIT_MS));
	pump_for(300);
	pumps_anew();
	s.quiet = false;
	mark_ab = mark_ba = 0;
	assert_true(wait_for(flows_again, RIG_WAIT_MS));
	settle();
	scene_down();
}

/* --- how many there are --- */

static bool
few_lanes(void)
{
	if (!answered())
		return false;
	if (s.a->link_info.detail.lanes_count == 1 && s.b->link_info.detail.lanes_count == 1)
		return true;
	asked = s.a->dones + s.b->dones + 2;
	ask_links(s.a);
	ask_links(s.b);
	return false;
}

/* Others may have come too early for the listener. */
static unsigned
alive_conns(void)
{
	unsigned n = 0;

	for (size_t i = 0; i < s.f.count; i++)
		n += fwd_alive(s.f.conns[i]);
	return n;
}

static void
collapsed_to_one(void **state)
{
	(void)state;
	for (unsigned side = 0; side < 2; side++) {
		scene_up(side == 0 ? QUICK "\tlanes collapse\n" : QUICK,
		    side == 1 ? QUICK "\tlanes collapse\n" : QUICK);
		refresh();
		assert_true(wait_for(few_lanes, RIG_WAIT_MS));
		mark_ab = mark_ba = 0;
		assert_true(wait_for(flows_again, RIG_WAIT_MS));
		refresh();
		assert_int_equal(s.a->link_info.detail.lanes_count, 1);
		assert_int_equal(s.b->link_info.detail.lanes_count, 1);
		assert_string_equal(lane_of(s.a, 0)->roles, "control,priority,bulk");
		assert_int_equal(alive_conns(), 1);
		settle();
		check_link_stayed();
		scene_down();
	}
}

/* The same node under two addresses and two names, and dialling back. */
static void
one_link_however_it_is_reached(void **state)
{
	(void)state;
	memset(&s, 0, sizeof(s));
	rig_init(&s.r);
	s.a = rig_add(&s.r, "a");
	s.b = rig_add(&s.r, "b");
	fwd_init(&s.f, s.r.loop, s.b->port);
	rig_conf(s.a, QUICK THREE "\tpeer b { address 127.0.0.1:%u }\n\tpeer c { address 127.0.0.1:%u }\n",
	    s.f.port, s.b->port);
	rig_conf(s.b, QUICK THREE "\tpeer a { address 127.0.0.1:%u }\n", s.a->port);
	rig_start(s.b);
	rig_start(s.a);
	pump_init(&ab, s.a, s.b, 1);
	pump_init(&ba, s.b, s.a, 2);
	s.a->on_frame = s.b->on_frame = on_frame;
	s.quiet = true;
	assert_true(wait_for(linked, RIG_WAIT_MS));
	routes();
	pump_for(500);
	s.quiet = false;
	mark_ab = mark_ba = 0;
	assert_true(wait_for(flows_again, RIG_WAIT_MS));
	pump_for(2000);
	refresh();
	assert_int_equal(s.a->link_count, 1);
	assert_int_equal(s.b->link_count, 1);
	assert_int_equal(s.a->link_info.detail.lanes_count, 3);
	assert_int_equal(s.b->link_info.detail.lanes_count, 3);
	settle();
	check_link_stayed();
	scene_down();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(lanes_that_fall_silent),
	    cmocka_unit_test(lanes_that_fall_silent_one_way),
	    cmocka_unit_test(lanes_that_are_reset),
	    cmocka_unit_test(back_on_their_lanes),
	    cmocka_unit_test(lanes_that_are_held),
	    cmocka_unit_test(two_lanes_at_once),
	    cmocka_unit_test(a_note_on_a_silent_lane),
	    cmocka_unit_test(the_replacement_dies_too),
	    cmocka_unit_test(a_proof_that_comes_too_late),
	    cmocka_unit_test(any_lanes_for_long),
	    cmocka_unit_test(all_lanes_at_once),
	    cmocka_unit_test(a_link_that_begins_with_another_lane),
	    cmocka_unit_test(collapsed_to_one),
	    cmocka_unit_test(one_link_however_it_is_reached),
	};
	const char *only = getenv("ONLY");

	if (only != NULL)
		cmocka_set_test_filter(only);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
