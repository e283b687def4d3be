/*
 * bench_relay: how fast a link is, and what a relay costs.  Real transportd processes in their sandbox,
 * in a line a - b - c (a and c dial b), and two by themselves, d - e; the stand-ins of consensusd and
 *routerd, all in this process, feed and consume the frames through the channels of the daemons.
 *
 * usage: bench_relay [-v] [-s SECONDS] [NAME ...]
 *
 *	link_throughput_dialer_sends    Gbit/s of payload, largest frames, through the link of d and e from d
 *to e, made and taken inside the two daemons (tests/bench/ends/ends.h) link_throughput_listener_sends  the
 *same from e to d link_consensusd_dialer_sends    the same from a to b, from one consensusd to the other
 *	link_consensusd_listener_sends  the same from b to a
 *	link_small_frames               frames of SMALL_BYTES of payload per second, from a to b
 *	link_small_frames_64flows       the same of 64 streams in turn, each frame of another than the last
 *	relay_throughput                Gbit/s of payload, largest frames, from a over b to c
 *	relay_small_frames              frames of SMALL_BYTES of payload per second, from a over b to c
 *	relay_added_rtt                 us, see below
 *	limit_tls_raw, limit_tls_piped, limit_aes_gcm
 *	                                what the machine allows (tests/bench/limits.h, limits_piped.h)
 *
 * Throughput: at most WINDOW_BYTES of frames are on their way, as a receiver's window would have it, so
 * that no queue overflows, and transportd's HOLD is minded; a frame that is lost fails the benchmark.  What
 * the receiving stand-in got is counted.  Each figure is the median of ROUNDS rounds of SECONDS/ROUNDS
 * (default 5 s in all), and before each round limit_tls_raw is measured: NAME_ratio is the median of the
 * rounds' quotients, which says more than the figure does on a machine that others use, too.
 * NAME_cpu is CPU time, user and system: of the sending and the receiving daemon together for a link, of
 * b alone for a relay; per GB of payload, or per frame.  Others on the machine move it by a tenth or so
 * (caches, clock), and the figures by more than half.
 *
 * limit_tls_raw has a process at each end, as link_throughput has.  The frames of link_consensusd come from a
 * third process and end there, over Unix sockets: with fewer cores than processes that costs more than the
 * link does.  limit_tls_piped, which has these, too, is measured beside it: NAME_piped_ratio.
 *
 * Round trips: every PING_PACE_MS a frame of PING_BYTES of payload goes from a to b and back to a, or from
 * a over b to c and back over b to a, in turn; the stand-in at the far end answers at once.  Both take the
 * same four crossings of a Unix socket and the same work at a and at the far end; the longer way has two
 * passes through the relay b more (in at one link, out at the other: there and back).  With D and R the
 * medians of PINGS round trips each, direct and relayed: relay_added_rtt_p50 = (R - D) / 2, what one pass
 * through a relay adds.  relay_round_trip_direct_p50 = D, relay_round_trip_p50 = R, and
 * relay_round_trip_added_p50 = R - D, what the relay adds to a round trip, there and back together: the
 * figure to compare with round trips through other programs.  The _p99 are the same of the 99th percentiles,
 * which on a machine with more to do than cores tell of its scheduler.
 */
#include "tests/bench/ends/ends.h"
#include "tests/bench/limits_piped.h"
#include "tests/bench/relay_mesh.h"

#define ADDED_RTT "relay_added_rtt"

enum {
	SMALL_BYTES = 200,
	MANY_FLOWS = 64,
	PING_BYTES = 64,
	PING_PACE_MS = 1,
	PINGS = 1500,
	PINGS_WARM = 100,
	RELAY_PASSES = 2, /* that the longer round trip has more */
	ROUNDS = 5,
	WARM_MS = 200,
	DRAIN_MS = 10000,
	ROUTE_TRIES = 50,
	ROUTE_TRY_MS = 100,
	LIMIT_MS = 1000, /* of limit_tls_raw before each round */
	LIMITS_MAX = 64,
	PIECE_BYTES = 65536,        /* frames given to transportd in one message */
	WINDOW_BYTES = 1024 * 1024, /* below half of link-queue's default, where the source is held */
};

static struct {
	struct relay_mesh mesh;
	struct rig_node *a, *b, *c;
	struct rig_node *d, *e; /* the ends of a link that makes and takes its frames itself */
	double seconds;
	bool verbose;
	struct limits_seen {
		double rates[LIMITS_MAX], cpus[LIMITS_MAX];
		size_t count;
	} raw, piped;
	bool *probe; /* set when a frame arrives */
} bench;

static int
compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static double
median(double *v, size_t n)
{
	qsort(v, n, sizeof(v[0]), compare);
	return n % 2 == 1 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

/* Of sorted values. */
static double
percentile(const double *v, size_t n, unsigned percent)
{
	return v[n * percent / 100];
}

static void
print(const char *name, const char *suffix, double value, const char *unit)
{
	printf("bench %s%s %.*f %s\n", name, suffix, value < 100 ? 2 : 0, value, unit);
	fflush(stdout);
}

/* --- throughput --- */

/* The frames that run: one measurement at a time. */
static struct {
	struct rig_node *from, *to;
	struct buf piece;
	uint64_t piece_frames, window_frames;
	uint64_t sent, before; /* frames sent, and what the receiver had before */
	bool stopped;
	unsigned shown; /* of so many frames that arrive the stand-in gets one */
} flow;

static uint64_t
flow_arrived(void)
{
	return flow.to->frames - flow.before;
}

static void
flow_pump(void)
{
	while (!flow.stopped && flow.from->holds == flow.from->releases &&
	       flow.sent + flow.piece_frames <= flow_arrived() + flow.window_frames) {
		RIG_MUST(channel_send(flow.from->consensus, CT_FRAMES_OUT, 0, buf_head(&flow.piece),
			     buf_left(&flow.piece)) == 0);
		flow.sent += flow.piece_frames;
	}
}

static void
flow_arrival(struct rig_node *n, const struct frame *f)
{
	(void)n;
	(void)f;
	/* Once a piece, not once a frame: the queue to transportd wakes it for each message. */
	if (flow.sent + flow.piece_frames <= flow_arrived() + flow.window_frames)
		flow_pump();
}

static void
flow_released(struct rig_node *n)
{
	(void)n;
	flow_pump();
}

/* What is sent again and again: the next stream's frame, and so on in turn. */
static size_t
flow_fill(size_t payload_len, unsigned streams)
{
	static const uint8_t payload[FRAME_PAYLOAD_MAX_BYTES];
	struct frame f = {.type = FRAME_DATA,
	    .class = FRAME_CLASS_CLIENT,
	    .ttl = FRAME_TTL_DEFAULT,
	    .src = flow.from->id,
	    .visit_count = 1,
	    .visit = {flow.to->id},
	    .payload = payload,
	    .payload_len = (uint32_t)payload_len};
	size_t frame_bytes;

	do {
		f.flow = (uint32_t)(flow.piece_frames % streams);
		RIG_MUST(frame_encode(&f, &flow.piece) == 0);
		frame_bytes = buf_left(&flow.piece) / ++flow.piece_frames;
	} while (buf_left(&flow.piece) + frame_bytes <= PIECE_BYTES);
	return frame_bytes;
}

static void
flow_begin(struct rig_node *from, struct rig_node *to, size_t payload_len, unsigned streams)
{
	size_t frame_bytes;

	memset(&flow, 0, sizeof(flow));
	flow.from = from;
	flow.to = to;
	flow.shown = 1;
	flow.before = to->frames;
	buf_init(&flow.piece, PIECE_BYTES);
	frame_bytes = flow_fill(payload_len, streams);
	flow.window_frames = WINDOW_BYTES / frame_bytes;
	to->on_frame = flow_arrival;
	from->on_hold = flow_released;
	flow_pump();
}

static bool
flow_drained(void *arg)
{
	(void)arg;
	return flow_arrived() == flow.sent;
}

static void
flow_end(const char *name)
{
	flow.stopped = true;
	if (!rig_wait(&bench.mesh.rig, flow_drained, NULL, DRAIN_MS)) {
		fprintf(stderr, "bench_relay: %s: %llu of %llu frames were lost\n", name,
		    (unsigned long long)(flow.sent - flow_arrived()), (unsigned long long)flow.sent);
		abort();
	}
	flow.to->on_frame = NULL;
	flow.from->on_hold = NULL;
	buf_fini(&flow.piece);
}

/* Sends one frame, which the daemons of a link by itself know what to do with. */
static void
flow_tell_ends(size_t payload_len)
{
	static const uint8_t payload[ENDS_BYTES];
	struct buf out;

	buf_init(&out, PIECE_BYTES);
	RIG_MUST(rig_data(&out, flow.from, flow.to->id, payload, payload_len) == 0);
	RIG_MUST(channel_send(flow.from->consensus, CT_FRAMES_OUT, 0, buf_head(&out), buf_left(&out)) == 0);
	buf_fini(&out);
}

static void
flow_begin_ends(struct rig_node *from, struct rig_node *to)
{
	memset(&flow, 0, sizeof(flow));
	flow.from = from;
	flow.to = to;
	flow.shown = ENDS_SHOWN;
	flow_tell_ends(ENDS_BYTES);
}

/* The daemon that takes the frames ends, if one is missing. */
static void
flow_end_ends(void)
{
	flow_tell_ends(ENDS_STOP_BYTES);
	(void)rig_wait(&bench.mesh.rig, rig_never, NULL, WARM_MS);
	RIG_MUST(rig_alive(flow.from) && rig_alive(flow.to));
}

struct sample {
	double seconds;
	double frames, bytes;      /* of payload */
	double cpu[RIG_NODES_MAX]; /* of each daemon, in the order of the line */
	double cpu_bench;          /* of this process */
};

static struct sample
sample_now(void)
{
	struct sample s = {.seconds = limits_seconds(),
	    .frames = (double)flow.to->frames * flow.shown,
	    .bytes = (double)flow.to->frame_bytes * flow.shown,
	    .cpu_bench = relay_mesh_cpu(0)};

	for (size_t i = 0; i < bench.mesh.rig.count; i++)
		s.cpu[i] = relay_mesh_cpu(bench.mesh.rig.nodes[i].pid);
	return s;
}

/* What happened from since to s. */
static struct sample
sample_diff(struct sample s, const struct sample *since)
{
	s.seconds -= since->seconds;
	s.frames -= since->frames;
	s.bytes -= since->bytes;
	s.cpu_bench -= since->cpu_bench;
	for (size_t i = 0; i < RIG_NODES_MAX; i++)
		s.cpu[i] -= since->cpu[i];
	return s;
}

struct figure {
	const char *name;
	char from, to; /* names of nodes: d and e have the frames made inside */
	size_t payload_len;
	unsigned streams;
};

static const struct figure figures[] = {
    {"link_throughput_dialer_sends", 'd', 'e', ENDS_BYTES, 1},
    {"link_throughput_listener_sends", 'e', 'd', ENDS_BYTES, 1},
    {"link_consensusd_dialer_sends", 'a', 'b', FRAME_PAYLOAD_MAX_BYTES, 1},
    {"link_consensusd_listener_sends", 'b', 'a', FRAME_PAYLOAD_MAX_BYTES, 1},
    {"link_small_frames", 'a', 'b', SMALL_BYTES, 1},
    {"link_small_frames_64flows", 'a', 'b', SMALL_BYTES, MANY_FLOWS},
    {"relay_throughput", 'a', 'c', FRAME_PAYLOAD_MAX_BYTES, 1},
    {"relay_small_frames", 'a', 'c', SMALL_BYTES, 1},
};

static struct rig_node *
node_of(char name)
{
	struct rig_node *const nodes[] = {bench.a, bench.b, bench.c, bench.d, bench.e};

	return nodes[name - 'a'];
}

static bool
figure_by_ends(const struct figure *f)
{
	return f->from >= 'd';
}

/* One round: frames for a while. */
static struct sample
flow_round(const struct figure *f)
{
	struct sample before, after;

	if (figure_by_ends(f))
		flow_begin_ends(node_of(f->from), node_of(f->to));
	else
		flow_begin(node_of(f->from), node_of(f->to), f->payload_len, f->streams);
	(void)rig_wait(&bench.mesh.rig, rig_never, NULL, WARM_MS);
	before = sample_now();
	(void)rig_wait(&bench.mesh.rig, rig_never, NULL, (int64_t)(bench.seconds * 1000 / ROUNDS));
	after = sample_now();
	if (figure_by_ends(f))
		flow_end_ends();
	else
		flow_end(f->name);
	return sample_diff(after, &before);
}

static double
limit_round(struct limits_seen *seen, struct limit_tls (*limit)(double))
{
	struct limit_tls v = limit(LIMIT_MS / 1000.0);

	if (seen->count < LIMITS_MAX) {
		seen->cpus[seen->count] = v.cpu_per_gb;
		seen->rates[seen->count++] = v.rate / 1e9;
	}
	return v.rate / 1e9;
}

static void
limit_show(const char *name, struct limits_seen *seen)
{
	if (seen->count == 0)
		return;
	print(name, "", median(seen->rates, seen->count), "Gbit/s");
	print(name, "_cpu", median(seen->cpus, seen->count), "s/GB");
}

static void
figure_verbose(const struct figure *f, const struct sample *s, double per, const char *unit, double limit)
{
	printf("# %s: limit %.2f Gbit/s, %.2f Gbit/s, %.0f frames/s; CPU", f->name, limit,
	    s->bytes * 8 / s->seconds / 1e9, s->frames / s->seconds);
	for (size_t i = 0; i < bench.mesh.rig.count; i++)
		printf(" %s %.2f", bench.mesh.rig.nodes[i].name, s->cpu[i] / per);
	printf(" stand-ins %.2f %s\n", s->cpu_bench / per, unit);
}

static void
figure_measure(const struct figure *f)
{
	bool small = f->payload_len == SMALL_BYTES, relay = f->to == 'c';
	bool piped = !small && !relay && !figure_by_ends(f);
	const struct rig_node *from = node_of(f->from), *to = node_of(f->to), *first = bench.mesh.rig.nodes;
	const char *unit = small ? "us/frame" : "s/GB";
	double values[ROUNDS], ratios[ROUNDS], piped_ratios[ROUNDS], cpus[ROUNDS];

	for (unsigned i = 0; i < ROUNDS; i++) {
		double raw = limit_round(&bench.raw, limit_tls_raw);
		double in_pipe = piped ? limit_round(&bench.piped, limit_tls_piped) : 1;
		struct sample s = flow_round(f);
		double rate = s.bytes * 8 / s.seconds / 1e9, per = small ? s.frames / 1e6 : s.bytes / 1e9;

		values[i] = small ? s.frames / s.seconds : rate;
		ratios[i] = rate / raw;
		piped_ratios[i] = rate / in_pipe;
		cpus[i] = (relay ? s.cpu[1] : s.cpu[from - first] + s.cpu[to - first]) / per;
		if (bench.verbose)
			figure_verbose(f, &s, per, unit, raw);
	}
	print(f->name, "", median(values, ROUNDS), small ? "1/s" : "Gbit/s");
	print(f->name, "_ratio", median(ratios, ROUNDS), "of_limit_tls_raw");
	if (piped)
		print(f->name, "_piped_ratio", median(piped_ratios, ROUNDS), "of_limit_tls_piped");
	print(f->name, "_cpu", median(cpus, ROUNDS), unit);
}

/* --- round trips --- */

static struct {
	struct loop_timer *pace;
	bool relayed; /* the one that is on its way */
	double sent_us, samples[2][PINGS_WARM + PINGS];
	size_t count[2];
} ping;

static void
ping_send(struct rig_node *from, uint64_t to)
{
	static const uint8_t payload[PING_BYTES];
	uint8_t mem[FRAME_HDR_BYTES + 8 + PING_BYTES];
	struct buf out;

	buf_init_fixed(&out, mem, sizeof(mem));
	RIG_MUST(rig_data(&out, from, to, payload, sizeof(payload)) == 0);
	RIG_MUST(channel_send(from->consensus, CT_FRAMES_OUT, 0, mem, buf_left(&out)) == 0);
}

static void
ping_due(void *arg)
{
	(void)arg;
	ping.relayed = !ping.relayed;
	ping.sent_us = (double)clock_mono().us;
	ping_send(bench.a, ping.relayed ? bench.c->id : bench.b->id);
}

static void
ping_answer(struct rig_node *n, const struct frame *f)
{
	ping_send(n, f->src);
}

static void
ping_back(struct rig_node *n, const struct frame *f)
{
	size_t *count = &ping.count[ping.relayed];

	(void)f;
	ping.samples[ping.relayed][(*count)++] = (double)clock_mono().us - ping.sent_us;
	if (*count == PINGS_WARM + PINGS && ping.count[!ping.relayed] == *count)
		loop_stop(n->rig->loop);
	else
		loop_timer_arm_ms(ping.pace, PING_PACE_MS);
}

static void
trips_show(unsigned percent)
{
	double v[2];
	char name[64];

	for (unsigned i = 0; i < 2; i++) {
		qsort(ping.samples[i] + PINGS_WARM, PINGS, sizeof(double), compare);
		v[i] = percentile(ping.samples[i] + PINGS_WARM, PINGS, percent);
	}
	snprintf(name, sizeof(name), "_p%u", percent);
	print(ADDED_RTT, name, (v[1] - v[0]) / RELAY_PASSES, "us");
	print("relay_round_trip_direct", name, v[0], "us");
	print("relay_round_trip", name, v[1], "us");
	print("relay_round_trip_added", name, v[1] - v[0], "us");
}

static void
round_trips(void)
{
	memset(&ping, 0, sizeof(ping));
	ping.relayed = true; /* so that the first one is direct */
	ping.pace = loop_timer_new(bench.mesh.rig.loop, ping_due, NULL);
	RIG_MUST(ping.pace != NULL);
	bench.a->on_frame = ping_back;
	bench.b->on_frame = bench.c->on_frame = ping_answer;
	loop_timer_arm_ms(ping.pace, PING_PACE_MS);
	RIG_MUST(loop_run(bench.mesh.rig.loop) == 0);
	loop_timer_free(ping.pace);
	bench.a->on_frame = bench.b->on_frame = bench.c->on_frame = NULL;
	trips_show(50);
	trips_show(99);
}

/* --- all of it --- */

static void
probe_answered(struct rig_node *n, const struct frame *f)
{
	(void)n;
	if (f->type == FRAME_DATA)
		*bench.probe = true;
}

static bool
probe_done(void *arg)
{
	return *(bool *)arg;
}

/* Routes are installed on a channel of their own, which nothing puts in order with the frames. */
static void
wait_route(struct rig_node *from, struct rig_node *to)
{
	bool arrived = false;

	bench.probe = &arrived;
	to->on_frame = probe_answered;
	for (unsigned i = 0; i < ROUTE_TRIES && !arrived; i++) {
		ping_send(from, to->id);
		(void)rig_wait(&bench.mesh.rig, probe_done, &arrived, ROUTE_TRY_MS);
	}
	RIG_MUST(arrived);
	to->on_frame = NULL;
}

/* d and e: a link by itself, d dials. */
static void
link_up(void)
{
	struct relay_mesh *m = &bench.mesh;
	struct rig_node *d, *e;

	d = bench.d = relay_mesh_add(m, "d");
	e = bench.e = relay_mesh_add(m, "e");
	rig_program(&m->rig, "/tests/bench/ends/transportd");
	relay_mesh_conf(m, d, e);
	relay_mesh_conf(m, e, NULL);
	relay_mesh_start(m, e);
	relay_mesh_start(m, d);
	relay_mesh_wait_link(m, d, e);
	rig_route(d, e->id, (uint64_t[]){e->id}, 1);
	rig_route(e, d->id, (uint64_t[]){d->id}, 1);
	wait_route(d, e);
	wait_route(e, d);
}

static void
line_up(void)
{
	struct relay_mesh *m = &bench.mesh;
	struct rig_node *a, *b, *c;

	relay_mesh_init(m);
	a = bench.a = relay_mesh_add(m, "a");
	b = bench.b = relay_mesh_add(m, "b");
	c = bench.c = relay_mesh_add(m, "c");
	relay_mesh_conf(m, a, b);
	relay_mesh_conf(m, b, NULL);
	relay_mesh_conf(m, c, b);
	relay_mesh_start(m, b);
	relay_mesh_start(m, a);
	relay_mesh_start(m, c);
	relay_mesh_wait_link(m, a, b);
	relay_mesh_wait_link(m, c, b);
	rig_route(a, b->id, (uint64_t[]){b->id}, 1);
	rig_route(a, c->id, (uint64_t[]){b->id, c->id}, 2);
	rig_route(b, a->id, (uint64_t[]){a->id}, 1);
	rig_route(c, a->id, (uint64_t[]){b->id, a->id}, 2);
	wait_route(a, b);
	wait_route(b, a);
	wait_route(a, c);
	wait_route(c, a);
}

/* No names: all of them. */
static bool
wanted(const char *name, char **names)
{
	if (*names == NULL)
		return true;
	for (; *names != NULL; names++)
		if (strcmp(name, *names) == 0)
			return true;
	return false;
}

/* Every name given must be a figure: a misspelt one would measure nothing. */
static bool
names_known(char **names)
{
	for (; *names != NULL; names++) {
		bool known = strcmp(*names, ADDED_RTT) == 0;

		for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++)
			known = known || strcmp(*names, figures[i].name) == 0;
		if (!known) {
			fprintf(stderr, "bench_relay: there is no figure %s\n", *names);
			return false;
		}
	}
	return true;
}

static int
usage(void)
{
	fprintf(stderr, "usage: bench_relay [-v] [-s SECONDS] [NAME ...]\n");
	return 2;
}

int
main(int argc, char **argv)
{
	int opt;

	bench.seconds = 5;
	while ((opt = getopt(argc, argv, "vs:")) != -1) {
		if (opt == 'v')
			bench.verbose = true;
		else if (opt != 's' || !((bench.seconds = strtod(optarg, NULL)) > 0))
			return usage();
	}
	argv += optind;
	if (!names_known(argv))
		return usage();
	line_up();
	link_up();
	for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++)
		if (wanted(figures[i].name, argv))
			figure_measure(&figures[i]);
	if (wanted(ADDED_RTT, argv))
		round_trips();
	if (bench.raw.count == 0)
		(void)limit_round(&bench.raw, limit_tls_raw);
	limit_show("limit_tls_raw", &bench.raw);
	limit_show("limit_tls_piped", &bench.piped);
	print("limit_aes_gcm", "", limit_aes_gcm(LIMIT_MS / 1000.0) / 1e9, "Gbit/s");
	relay_mesh_stop(&bench.mesh);
	return 0;
}
