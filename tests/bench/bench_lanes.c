/*
 * bench_lanes: how long a lane or a link that goes silent keeps its frames waiting.
 *
 * usage: bench_lanes [-c CUTS]      20 if not given
 *
 *	lane_failover_median, lane_failover_worst
 *		ms from the silent cut of a busy bulk lane until every stream that was pinned to it is heard
 *		of again at the receiver: the first frame that was sent after the cut
 *	link_dead_median, link_dead_worst
 *		ms from the silent cut of all lanes, at rest, until transportd tells routerd that the link is
 *down
 *
 * Two transportd as they are shipped, in their sandbox; a dials b through a forwarder in this process
 * (tests/rig/forwarder.h), which lets nothing pass any more on a connection, and tells nobody.  Heartbeats
 *are those of the defaults: 100 ms, three misses.  STREAMS streams from a to b have a frame every
 *millisecond. Any frame that is lost, doubled or out of order fails the benchmark.
 */
#include "tests/bench/limits.h"
#include "tests/bench/relay_mesh.h"
#include "tests/rig/forwarder.h"
#include "transportd/core/limits.h"

enum {
	CUTS = 20,
	CUTS_MAX = 50, /* the forwarder remembers all connections there have been */
	STREAMS = 8,
	BULK_LANES = 2,
	LANES = LANE_BULK + BULK_LANES,
	PAYLOAD_BYTES = 500,
	PACE_MS = 1,
	CALM_MS = 300, /* between two cuts */
};

static struct {
	struct relay_mesh mesh;
	struct rig_node *a, *b;
	struct forwarder f;
	struct loop_timer *pace;
	bool sending;
	uint32_t sent[STREAMS], got[STREAMS]; /* frames of each stream; in order, or it fails */
	unsigned lane[STREAMS];               /* that its last frame came on */
	/* the cut */
	double cut_at, over_at;
	uint32_t mark[STREAMS]; /* frames sent before */
	bool waiting[STREAMS];
	unsigned waiting_count;
	unsigned asked, downs;
} bench;

static int
compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void
show(const char *name, double *ms, unsigned n)
{
	qsort(ms, n, sizeof(ms[0]), compare);
	printf("bench %s_median %.0f ms\nbench %s_worst %.0f ms\n", name, ms[n / 2], name, ms[n - 1]);
	fflush(stdout);
}

/* --- streams --- */

static void
send_frame(struct buf *out, unsigned stream)
{
	static uint8_t payload[PAYLOAD_BYTES];
	struct frame f = {.type = FRAME_DATA,
	    .class = FRAME_CLASS_CLIENT,
	    .ttl = FRAME_TTL_DEFAULT,
	    .flow = (stream + 1) << 16 | stream,
	    .src = bench.a->id,
	    .visit_count = 1,
	    .visit = {bench.b->id},
	    .payload = payload,
	    .payload_len = sizeof(payload)};
	struct buf head;

	buf_init_fixed(&head, payload, sizeof(payload));
	RIG_MUST(buf_put_u32(&head, bench.sent[stream]++) == 0 && frame_encode(&f, out) == 0);
}

static void
on_pace(void *arg)
{
	struct buf out;

	(void)arg;
	if (bench.sending && bench.a->holds == bench.a->releases) {
		buf_init(&out, STREAMS * 2 * PAYLOAD_BYTES);
		for (unsigned i = 0; i < STREAMS; i++)
			send_frame(&out, i);
		RIG_MUST(
		    channel_send(bench.a->consensus, CT_FRAMES_OUT, 0, buf_head(&out), buf_left(&out)) == 0);
		buf_fini(&out);
	}
	loop_timer_arm_ms(bench.pace, PACE_MS);
}

static void
on_frame(struct rig_node *n, const struct frame *f)
{
	unsigned stream = f->flow & 0xffff;
	uint32_t seq;
	struct buf in;

	(void)n;
	buf_view(&in, f->payload, f->payload_len);
	RIG_MUST(f->type == FRAME_DATA && stream < STREAMS && buf_get_u32(&in, &seq) == 0);
	if (seq != bench.got[stream]) {
		fprintf(stderr, "bench_lanes: stream %u: frame %u came instead of %u\n", stream, seq,
		    bench.got[stream]);
		abort();
	}
	bench.got[stream]++;
	bench.lane[stream] = f->lane_id;
	if (!bench.waiting[stream] || seq < bench.mark[stream])
		return;
	bench.waiting[stream] = false;
	bench.over_at = limits_seconds();
	if (--bench.waiting_count == 0)
		loop_stop(n->rig->loop);
}

static bool
drained(void *arg)
{
	(void)arg;
	return memcmp(bench.sent, bench.got, sizeof(bench.sent)) == 0;
}

static void
pump_for(int64_t ms)
{
	(void)rig_wait(&bench.mesh.rig, rig_never, NULL, ms);
}

/* --- lanes --- */

static uint16_t
port_of(const char *address)
{
	const char *colon = strrchr(address, ':');

	return colon != NULL ? (uint16_t)strtoul(colon + 1, NULL, 10) : 0;
}

static const mesh_v1_LaneDetail *
lane_of(const struct rig_node *n, unsigned lane)
{
	const mesh_v1_LinkDetail *d = &n->link_info.detail;

	for (unsigned i = 0; i < d->lanes_count; i++)
		if (d->lanes[i].lane == lane)
			return &d->lanes[i];
	return NULL;
}

/* The connection that is the lane for both ends; NULL: it is not up at one of them. */
static struct fwd_conn *
conn_of(unsigned lane)
{
	const mesh_v1_LaneDetail *at_a = lane_of(bench.a, lane), *at_b = lane_of(bench.b, lane);
	struct fwd_conn *c = at_a != NULL ? fwd_find(&bench.f, 0, port_of(at_a->local_address)) : NULL;

	return at_b != NULL && c != NULL && c->end[1].port == port_of(at_b->address) ? c : NULL;
}

static void
ask(struct rig_node *n)
{
	n->link_info.detail.lanes_count = 0;
	RIG_MUST(channel_send(n->gateway, GT_LIST_LINKS, 1, NULL, 0) == 0);
	bench.asked++;
}

static bool
all_lanes_up(void *arg)
{
	unsigned up = 0;

	(void)arg;
	if (!channel_up(bench.a->gateway) || !channel_up(bench.b->gateway) ||
	    bench.a->dones + bench.b->dones < bench.asked)
		return false;
	for (unsigned i = 0; i < LANES; i++)
		up += conn_of(i) != NULL && fwd_alive(conn_of(i));
	if (up == LANES)
		return true;
	ask(bench.a);
	ask(bench.b);
	return false;
}

static void
wait_lanes(void)
{
	RIG_MUST(rig_wait(&bench.mesh.rig, all_lanes_up, NULL, RIG_WAIT_MS));
}

/* --- cuts --- */

/* A bulk lane that a stream is pinned to: each in turn, if it has one. */
static unsigned
victim_lane(unsigned cut)
{
	for (unsigned i = 0; i < BULK_LANES; i++)
		for (unsigned s = 0; s < STREAMS; s++)
			if (bench.lane[s] == LANE_BULK + (cut + i) % BULK_LANES)
				return bench.lane[s];
	RIG_MUST(!"streams are on bulk lanes");
	return 0;
}

static double
cut_lane(unsigned cut)
{
	unsigned lane;

	pump_for(CALM_MS);
	wait_lanes();
	lane = victim_lane(cut);
	bench.waiting_count = 0;
	for (unsigned i = 0; i < STREAMS; i++) {
		bench.mark[i] = bench.sent[i];
		bench.waiting[i] = bench.lane[i] == lane;
		bench.waiting_count += bench.waiting[i];
	}
	fwd_cut(conn_of(lane), FWD_BOTH);
	bench.cut_at = limits_seconds();
	while (bench.waiting_count != 0)
		RIG_MUST(loop_run(bench.mesh.rig.loop) == 0);
	return (bench.over_at - bench.cut_at) * 1000;
}

static bool
is_down(void *arg)
{
	(void)arg;
	return bench.a->link_downs != bench.downs;
}

static double
cut_link(void)
{
	relay_mesh_wait_link(&bench.mesh, bench.a, bench.b);
	wait_lanes();
	pump_for(CALM_MS);
	wait_lanes();
	bench.downs = bench.a->link_downs;
	/* Or the first lane that is given up would be replaced before the last one is. */
	bench.f.refuse = true;
	for (size_t i = 0; i < bench.f.count; i++)
		if (fwd_alive(bench.f.conns[i]))
			fwd_cut(bench.f.conns[i], FWD_BOTH);
	bench.cut_at = limits_seconds();
	RIG_MUST(rig_wait(&bench.mesh.rig, is_down, NULL, RIG_WAIT_MS));
	bench.over_at = limits_seconds();
	bench.f.refuse = false;
	return (bench.over_at - bench.cut_at) * 1000;
}

/* --- all of it --- */

static void
start(struct rig_node *n)
{
	relay_mesh_start(&bench.mesh, n);
	rig_connect_gateway(n);
	if (bench.mesh.user != NULL)
		channel_expect(n->gateway, bench.mesh.user->pw_uid);
}

static void
set_up(void)
{
	struct relay_mesh *m = &bench.mesh;
	FILE *f;

	relay_mesh_init(m);
	bench.a = relay_mesh_add(m, "a");
	bench.b = relay_mesh_add(m, "b");
	fwd_init(&bench.f, m->rig.loop, bench.b->port);
	f = relay_mesh_conf_begin(m, bench.a);
	fprintf(f, "\tbulk-lanes %d\n\tpeer b { address 127.0.0.1:%u }\n", BULK_LANES, bench.f.port);
	relay_mesh_conf_end(m, bench.a, f);
	f = relay_mesh_conf_begin(m, bench.b);
	fprintf(f, "\tbulk-lanes %d\n", BULK_LANES);
	relay_mesh_conf_end(m, bench.b, f);
	start(bench.b);
	start(bench.a);
	relay_mesh_wait_link(m, bench.a, bench.b);
	rig_route(bench.a, bench.b->id, (uint64_t[]){bench.b->id}, 1);
	RIG_MUST(rig_wait_routes(bench.a));
	bench.b->on_frame = on_frame;
	bench.pace = loop_timer_new(m->rig.loop, on_pace, NULL);
	RIG_MUST(bench.pace != NULL);
	loop_timer_arm_ms(bench.pace, PACE_MS);
}

int
main(int argc, char **argv)
{
	double ms[CUTS_MAX];
	unsigned cuts = CUTS;
	int opt;

	while ((opt = getopt(argc, argv, "c:")) != -1)
		if (opt == 'c')
			cuts = (unsigned)strtoul(optarg, NULL, 10);
	if (optind != argc || cuts == 0 || cuts > CUTS_MAX) {
		fprintf(stderr, "usage: bench_lanes [-c CUTS]\n");
		return 2;
	}
	set_up();
	wait_lanes();
	bench.sending = true;
	for (unsigned i = 0; i < cuts; i++)
		ms[i] = cut_lane(i);
	bench.sending = false;
	RIG_MUST(rig_wait(&bench.mesh.rig, drained, NULL, RIG_WAIT_MS));
	show("lane_failover", ms, cuts);
	for (unsigned i = 0; i < cuts; i++)
		ms[i] = cut_link();
	show("link_dead", ms, cuts);
	loop_timer_free(bench.pace);
	fwd_fini(&bench.f);
	relay_mesh_stop(&bench.mesh);
	return 0;
}
