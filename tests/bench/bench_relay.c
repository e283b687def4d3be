/*
 * bench_relay: real transportd processes in a line a - b - c and directly a - b.
 *
 *	relay_throughput       Gbit/s of payload of large frames from a to c
 *	relay_small_frames     1/s of 200-byte payloads from a to c
 *	link_throughput_*      Gbit/s from a to b, which a or b dialled
 *	link_small_frames      1/s from a to b
 *	relay_added_rtt_p50    us that the relay adds to a frame going there and back
 */
#include "tests/rig/transport.h"

enum { SECONDS_US = 3000000, PIECE_BYTES = 131072, SMALL_BYTES = 200, PINGS = 2000 };

struct flow {
	struct rig_node *from;
	uint64_t to;
	size_t payload;
	struct loop_timer *timer;
	bool stopped;
};

static void
flow_pump(void *arg)
{
	static uint8_t payload[FRAME_PAYLOAD_MAX_BYTES];
	struct flow *f = arg;
	struct buf out;

	buf_init(&out, 2 * PIECE_BYTES);
	while (!f->stopped && f->from->holds == f->from->releases &&
	       channel_queued_bytes(f->from->consensus) < 1024 * 1024) {
		buf_reset(&out);
		while (buf_left(&out) < PIECE_BYTES)
			RIG_MUST(rig_data(&out, f->from, f->to, payload, f->payload) == 0);
		RIG_MUST(
		    channel_send(f->from->consensus, CT_FRAMES_OUT, 0, buf_head(&out), buf_left(&out)) == 0);
	}
	buf_fini(&out);
	if (!f->stopped)
		loop_timer_arm_ms(f->timer, 1);
}

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

	RIG_MUST(rig_wait(r, linked_to, pair, RIG_WAIT_MS));
}

/* Runs the flow; what the receiver got per second, in frames and bytes. */
static void
measure(
    struct rig *r, struct rig_node *from, struct rig_node *to, size_t payload, double *frames, double *bytes)
{
	struct flow f = {.from = from, .to = to->id, .payload = payload};
	uint64_t frames0, bytes0;
	int64_t t0;

	f.timer = loop_timer_new(r->loop, flow_pump, &f);
	loop_timer_arm_ms(f.timer, 0);
	(void)rig_wait(r, rig_never, NULL, 500);
	frames0 = to->frames;
	bytes0 = to->frame_bytes;
	t0 = clock_mono().us;
	(void)rig_wait(r, rig_never, NULL, SECONDS_US / 1000);
	*frames = (double)(to->frames - frames0) * 1e6 / (double)(clock_mono().us - t0);
	*bytes = (double)(to->frame_bytes - bytes0) * 1e6 / (double)(clock_mono().us - t0);
	f.stopped = true;
	loop_timer_free(f.timer);
	(void)rig_wait(r, rig_never, NULL, 300);
}

static void
report_big(const char *name, struct rig *r, struct rig_node *from, struct rig_node *to)
{
	double frames, bytes;

	measure(r, from, to, FRAME_PAYLOAD_MAX_BYTES, &frames, &bytes);
	printf("bench %s %.2f Gbit/s\n", name, bytes * 8 / 1e9);
	fflush(stdout);
}

static void
report_small(const char *name, struct rig *r, struct rig_node *from, struct rig_node *to)
{
	double frames, bytes;

	measure(r, from, to, SMALL_BYTES, &frames, &bytes);
	printf("bench %s %.0f 1/s\n", name, frames);
	fflush(stdout);
}

/* --- round trips --- */

static struct {
	struct rig_node *from, *to;
	int64_t sent_us, samples[PINGS];
	size_t count;
} ping;

static void
send_one(struct rig_node *from, uint64_t to)
{
	static uint8_t payload[64];
	uint8_t mem[FRAME_HDR_BYTES + 8 + 64];
	struct buf out;

	buf_init_fixed(&out, mem, sizeof(mem));
	RIG_MUST(rig_data(&out, from, to, payload, sizeof(payload)) == 0);
	RIG_MUST(channel_send(from->consensus, CT_FRAMES_OUT, 0, mem, buf_left(&out)) == 0);
}

static void
send_back(struct rig_node *n, const struct frame *f)
{
	send_one(n, f->src);
}

static void
came_back(struct rig_node *n, const struct frame *f)
{
	(void)f;
	ping.samples[ping.count++] = clock_mono().us - ping.sent_us;
	if (ping.count == PINGS) {
		loop_stop(n->rig->loop);
		return;
	}
	ping.sent_us = clock_mono().us;
	send_one(n, ping.to->id);
}

static int
compare(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static double
rtt_p50(struct rig *r, struct rig_node *from, struct rig_node *to)
{
	memset(&ping, 0, sizeof(ping));
	ping.from = from;
	ping.to = to;
	from->on_frame = came_back;
	to->on_frame = send_back;
	ping.sent_us = clock_mono().us;
	send_one(from, to->id);
	RIG_MUST(loop_run(r->loop) == 0);
	from->on_frame = to->on_frame = NULL;
	qsort(ping.samples, PINGS, sizeof(ping.samples[0]), compare);
	return (double)ping.samples[PINGS / 2];
}

int
main(void)
{
	struct rig_node *a, *b, *c;
	struct rig r;
	double direct, relayed;

	rig_init(&r);
	a = rig_add(&r, "a");
	b = rig_add(&r, "b");
	c = rig_add(&r, "c");
	rig_conf(a, "\tlog-level warning\n\tpeer b { address 127.0.0.1:%u }", b->port);
	rig_conf(b, "\tlog-level warning\n");
	rig_conf(c, "\tlog-level warning\n\tpeer b { address 127.0.0.1:%u }", b->port);
	rig_start(b);
	rig_start(a);
	rig_start(c);
	wait_link(&r, a, b);
	wait_link(&r, c, b);
	rig_route(a, c->id, (uint64_t[]){b->id, c->id}, 2);
	rig_route(c, a->id, (uint64_t[]){b->id, a->id}, 2);
	rig_route(a, b->id, (uint64_t[]){b->id}, 1);
	rig_route(b, a->id, (uint64_t[]){a->id}, 1);
	rig_route(b, c->id, (uint64_t[]){c->id}, 1);

	report_big("link_throughput_dialer_sends", &r, a, b);
	report_big("link_throughput_listener_sends", &r, b, a);
	report_small("link_small_frames", &r, a, b);
	report_big("relay_throughput", &r, a, c);
	report_small("relay_small_frames", &r, a, c);
	direct = rtt_p50(&r, a, b);
	relayed = rtt_p50(&r, a, c);
	printf("bench relay_rtt_p50 %.0f us\n", relayed);
	printf("bench relay_added_rtt_p50 %.0f us\n", relayed - direct);
	rig_fini(&r);
	return 0;
}
