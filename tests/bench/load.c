/*
 * load: publishes at one node and subscribes at others, as fast as they go or at a given rate, and tells
 * what it measured.  Cheap enough (below 2 us a message) that the nodes are what is measured.
 *
 * usage: load -t TENANT -n COUNT -s BYTES [-Q QOS] [-w WINDOW] [-r RATE] [-q QUIET_COUNT] [-S STREAMS]
 *             SOURCE.sock TARGET=SOCKET...
 *
 * SOURCE.sock and SOCKET are control sockets of nodes, TARGET the name of the node behind it.  Prints
 * lines "name value": messages, seconds, rate, megabytes_per_second, p50_us, p99_us, max_us.  Latency is
 * from handing a message to the node until its confirmation that all targets have processed it; the
 * first QUIET_COUNT messages warm up and are not counted.  With several streams they take turns, and each has
 * its share of the window.  Exits with 1 if anything is lost, repeated or out of order.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/id.h"
#include "common/base/mem.h"
#include "common/os/channel.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "common/os/loop.h"
#include "proto/ipc.pb.h"
#include "proto/mesh.pb.h"
#include "proto/messages.h"
#include "proto/pb.h"

#define EDGE_DEF "proto/control_gateway.def"
#define EDGE_HANDLERS control_handlers
#include "proto/edge_client.h"

enum {
	TARGETS_MAX = 16,
	DATA_CALL = 1,
	OPEN_CALL = 2,  /* and those after it: one for each stream */
	OPENS_MAX = 16, /* at once: a control connection has so many calls, and some */
	STREAMS_MAX = 10000,
	ACKS_MAX = 64, /* of one StreamSelector */
	HEAD_MAX = 32,
	SINK_WINDOW_MESSAGES = 1 << 20,
	SINK_WINDOW_BYTES = 1 << 28,
	TICK_MS = 1,
	STALL_MS = 60000, /* without any progress: something is broken */
};

struct load;

struct stream {
	char id[ULID_TEXT_SIZE];
	uint8_t head[HEAD_MAX]; /* of a Chunk: its stream id */
	size_t head_len;
	uint64_t sent, confirmed;
	struct mono *sent_at; /* ring of the stream's window */
};

/* Where a target is in a stream. */
struct arrival {
	uint64_t seq;
	bool unacked;
};

/* A connection to a node; index -1: the source. */
struct peer {
	struct load *load;
	struct channel *ch;
	int index;
	char name[64];
	bool up;
	/* targets */
	struct arrival *arrivals; /* by stream */
	uint32_t *unacked, unacked_count;
	uint64_t credit_messages, credit_bytes;
	struct loop_defer ack;
	uint32_t last; /* the stream that it spoke of */
};

struct load {
	struct loop *loop;
	struct peer source, targets[TARGETS_MAX];
	int target_count;
	const char *tenant, *qos;
	uint64_t count, quiet, window, rate;
	size_t size;
	struct stream *streams;
	uint32_t stream_count, opening, opened, turn; /* turn: of the stream that sends next */
	uint32_t *places, place_mask;                 /* hash of the streams: index + 1 */
	uint64_t stream_window;
	uint8_t *payload;
	uint64_t sent, confirmed, seen;
	bool called, held, subscribed;
	struct mono began, first, last; /* of sending; of the first and last confirmation that count */
	uint32_t *latency_us;
	size_t latency_count;
	struct loop_timer *tick, *stall;
	int status;
};

static void pump(struct load *l);

static void
fail(struct load *l, const char *what, const char *detail)
{
	if (l->status == 0)
		fprintf(stderr, "load: %s: %s\n", what, detail);
	l->status = 1;
	loop_stop(l->loop);
}

/* --- protobuf by hand, for what comes 100,000 times a second --- */

static size_t
varint_put(uint8_t *p, uint64_t v)
{
	size_t n = 0;

	for (; v >= 0x80; v >>= 7)
		p[n++] = (uint8_t)(v | 0x80);
	p[n++] = (uint8_t)v;
	return n;
}

static bool
varint_get(const uint8_t **p, const uint8_t *end, uint64_t *out)
{
	uint64_t v = 0;

	for (unsigned shift = 0; *p < end && shift < 64; shift += 7) {
		uint8_t b = *(*p)++;

		v |= (uint64_t)(b & 0x7f) << shift;
		if ((b & 0x80) == 0) {
			*out = v;
			return true;
		}
	}
	return false;
}

/* The value of the varint field number, or the length of the bytes, which *at then is; it must come before
 * any field that is neither. */
static bool
field_find(const uint8_t *p, size_t len, unsigned number, uint64_t *out, const uint8_t **at)
{
	const uint8_t *end = p + len;
	uint64_t tag, v;

	while (p < end && varint_get(&p, end, &tag) && varint_get(&p, end, &v)) {
		if (tag >> 3 == number) {
			*out = v;
			*at = p;
			return (tag & 7) == 0 || v <= (uint64_t)(end - p);
		}
		if ((tag & 7) == 2) {
			if (v > (uint64_t)(end - p))
				return false;
			p += v;
		} else if ((tag & 7) != 0) {
			return false;
		}
	}
	return false;
}

static bool
field_get(const uint8_t *p, size_t len, unsigned number, uint64_t *out)
{
	const uint8_t *at;

	return field_find(p, len, number, out, &at);
}

/* --- streams by their ids --- */

/* The end of a ULID is random. */
static uint32_t *
place_of(struct load *l, const char *id)
{
	uint64_t h;

	memcpy(&h, id + ULID_TEXT_SIZE - 1 - sizeof(h), sizeof(h));
	for (uint32_t i = (uint32_t)(h * UINT64_C(0x9e3779b97f4a7c15) >> 32);; i++) {
		uint32_t *place = &l->places[i & l->place_mask];

		if (*place == 0 || memcmp(l->streams[*place - 1].id, id, ULID_TEXT_SIZE - 1) == 0)
			return place;
	}
}

/* The stream whose id is in the field number of a message; NULL: none of ours. */
static struct stream *
stream_of(struct peer *p, const struct imsg *m, unsigned number)
{
	struct load *l = p->load;
	const uint8_t *at;
	uint64_t len;
	uint32_t place;

	if (!field_find(m->body, m->len, number, &len, &at) || len != ULID_TEXT_SIZE - 1)
		return NULL;
	if (memcmp(l->streams[p->last].id, at, ULID_TEXT_SIZE - 1) == 0)
		return &l->streams[p->last];
	place = *place_of(l, (const char *)at);
	if (place == 0)
		return NULL;
	p->last = place - 1;
	return &l->streams[p->last];
}

/* --- the source --- */

static void
finish(struct load *l)
{
	loop_stop(l->loop);
}

static void
confirm(struct load *l, struct stream *s, uint64_t seq)
{
	struct mono now = clock_mono();

	if (s == NULL || seq != s->confirmed + 1) {
		fail(l, "confirmations", "out of order");
		return;
	}
	s->confirmed = seq;
	l->confirmed++;
	if (l->confirmed == l->quiet || (l->quiet == 0 && l->confirmed == 1))
		l->first = l->quiet == 0 ? l->began : now;
	if (l->confirmed > l->quiet)
		l->latency_us[l->latency_count++] =
		    (uint32_t)mono_diff_us(now, s->sent_at[seq % l->stream_window]);
	l->last = now;
	if (l->confirmed == l->count)
		finish(l);
}

static int
on_opened(struct load *l, uint32_t index, struct imsg *m)
{
	mesh_v1_StreamHandle h = mesh_v1_StreamHandle_init_zero;
	struct stream *s = &l->streams[index];

	if (index >= l->stream_count || pb_unpack(m->body, m->len, mesh_v1_StreamHandle_fields, &h) != 0 ||
	    strlen(h.stream_id) != ULID_TEXT_SIZE - 1)
		return ERR_FORMAT;
	memcpy(s->id, h.stream_id, sizeof(s->id));
	s->head[0] = 1 << 3 | 2; /* stream_id */
	s->head[1] = ULID_TEXT_SIZE - 1;
	memcpy(s->head + 2, s->id, ULID_TEXT_SIZE - 1);
	s->head_len = 2 + ULID_TEXT_SIZE - 1;
	*place_of(l, s->id) = index + 1;
	return 0;
}

static int
on_source_message(struct load *l, struct imsg *m)
{
	uint64_t ok, seq;

	if (m->peerid >= OPEN_CALL)
		return on_opened(l, m->peerid - OPEN_CALL, m);
	if (!field_get(m->body, m->len, 1, &ok) || ok != 1 || !field_get(m->body, m->len, 6, &seq)) {
		fail(l, "publish", "a message was not processed");
		return 0;
	}
	confirm(l, stream_of(&l->source, m, 5), seq);
	pump(l);
	return 0;
}

static int
chunk_send(struct load *l, struct stream *s)
{
	uint8_t mid[32], *p = mid;
	static const char method[] = "/mesh.v1.MeshService/PublishClientDataStream";
	uint8_t name[1 + sizeof(method)];
	struct iovec iov[4];
	int n = 0, r;

	*p++ = 2 << 3; /* seq */
	p += varint_put(p, s->sent + 1);
	*p++ = 6 << 3 | 2; /* payload */
	p += varint_put(p, l->size);
	name[0] = sizeof(method) - 1;
	memcpy(name + 1, method, sizeof(method) - 1);
	if (!l->called)
		iov[n++] = (struct iovec){name, sizeof(method)};
	iov[n++] = (struct iovec){s->head, s->head_len};
	iov[n++] = (struct iovec){mid, (size_t)(p - mid)};
	iov[n++] = (struct iovec){l->payload, l->size};
	r = channel_sendv(l->source.ch, l->called ? CG_MESSAGE_OUT : CG_CALL, DATA_CALL, -1, iov, n);
	if (r != 0)
		return r;
	l->called = true;
	l->sent++;
	s->sent++;
	s->sent_at[s->sent % l->stream_window] = clock_mono();
	return 0;
}

static bool
may_send(struct load *l)
{
	if (!l->subscribed || l->held || l->sent == l->count || l->sent - l->confirmed == l->window ||
	    channel_full(l->source.ch))
		return false;
	if (l->rate == 0)
		return true;
	if ((int64_t)(l->sent * 1000000) <= mono_diff_us(clock_mono(), l->began) * (int64_t)l->rate)
		return true;
	loop_timer_arm_ms(l->tick, TICK_MS);
	return false;
}

/* The next in turn whose window is not full, NULL: there is none. */
static struct stream *
next_stream(struct load *l)
{
	for (uint32_t i = 0; i < l->stream_count; i++) {
		struct stream *s = &l->streams[l->turn];

		l->turn = l->turn + 1 < l->stream_count ? l->turn + 1 : 0;
		if (s->sent - s->confirmed < l->stream_window)
			return s;
	}
	return NULL;
}

static void
pump(struct load *l)
{
	struct stream *s;

	while (l->status == 0 && may_send(l) && (s = next_stream(l)) != NULL) {
		/* A word of its own in each payload: nothing on the way can take two for one. */
		memcpy(l->payload, &l->sent, l->size < sizeof(l->sent) ? l->size : sizeof(l->sent));
		if (chunk_send(l, s) != 0) {
			fail(l, "publish", "the connection is gone");
			return;
		}
	}
}

/* --- the targets --- */

static void
on_ack(void *arg)
{
	struct peer *p = arg;
	mesh_v1_StreamSelector sel = mesh_v1_StreamSelector_init_zero;
	uint8_t mem[ACKS_MAX * 64];
	struct buf b;

	while (sel.acks_count < ACKS_MAX && p->unacked_count > 0) {
		uint32_t i = p->unacked[--p->unacked_count];
		mesh_v1_StreamAck *ack = &sel.acks[sel.acks_count++];

		p->arrivals[i].unacked = false;
		memcpy(ack->stream_id, p->load->streams[i].id, ULID_TEXT_SIZE);
		ack->seq = (int64_t)p->arrivals[i].seq;
	}
	sel.has_window = true;
	sel.window.messages = (int64_t)p->credit_messages;
	sel.window.bytes = (int64_t)p->credit_bytes;
	p->credit_messages = p->credit_bytes = 0;
	buf_init_fixed(&b, mem, sizeof(mem));
	if (pb_pack(&b, mesh_v1_StreamSelector_fields, &sel) != 0 ||
	    channel_send(p->ch, CG_MESSAGE_OUT, DATA_CALL, buf_head(&b), buf_left(&b)) != 0)
		fail(p->load, p->name, "the acknowledgement can't be sent");
	else if (p->unacked_count > 0)
		on_ack(p);
}

static void
on_target_message(struct peer *p, struct imsg *m)
{
	struct stream *s = stream_of(p, m, 1);
	struct arrival *a;
	uint64_t seq;

	if (s == NULL || !field_get(m->body, m->len, 2, &seq) || seq != p->arrivals[p->last].seq + 1) {
		fail(p->load, p->name, "a message was lost, repeated or reordered");
		return;
	}
	a = &p->arrivals[p->last];
	a->seq = seq;
	if (!a->unacked)
		p->unacked[p->unacked_count++] = p->last;
	a->unacked = true;
	p->credit_messages++;
	p->credit_bytes += p->load->size;
	loop_defer_add(p->load->loop, &p->ack);
}

static void
subscribe(struct peer *p)
{
	static const char method[] = "/mesh.v1.MeshDataService/SubscribeClientData";
	mesh_v1_StreamSelector sel = mesh_v1_StreamSelector_init_zero;
	struct load *l = p->load;
	struct buf b;

	snprintf(sel.tenant_id, sizeof(sel.tenant_id), "%s", l->tenant);
	/* More than one selector has room for: all streams of the tenant. */
	if (l->stream_count == 1) {
		sel.stream_ids_count = 1;
		memcpy(sel.stream_ids[0], l->streams[0].id, ULID_TEXT_SIZE);
	}
	sel.has_window = true;
	sel.window.messages = SINK_WINDOW_MESSAGES;
	sel.window.bytes = SINK_WINDOW_BYTES;
	buf_init(&b, 4096);
	if (buf_put_str8(&b, method) != 0 || pb_pack(&b, mesh_v1_StreamSelector_fields, &sel) != 0 ||
	    channel_send(p->ch, CG_CALL, DATA_CALL, buf_head(&b), buf_left(&b)) != 0)
		fail(l, p->name, "subscribe failed");
	buf_fini(&b);
}

/* --- connections --- */

static int
on_message_in(void *ctx, struct channel *ch, struct imsg *m)
{
	struct peer *p = ctx;

	(void)ch;
	p->load->seen++;
	if (p->index < 0)
		return on_source_message(p->load, m);
	on_target_message(p, m);
	return 0;
}

static void
start_publishing(struct load *l)
{
	for (int i = 0; i < l->target_count; i++)
		subscribe(&l->targets[i]);
	l->subscribed = true;
	l->began = clock_mono();
	pump(l);
}

static void
open_stream(struct load *l)
{
	static const char method[] = "/mesh.v1.MeshService/OpenClientDataStream";
	mesh_v1_OpenClientDataStreamReq req = mesh_v1_OpenClientDataStreamReq_init_zero;
	struct buf b;

	snprintf(req.tenant_id, sizeof(req.tenant_id), "%s", l->tenant);
	snprintf(req.qos, sizeof(req.qos), "%s", l->qos);
	req.target_nodes_count = (pb_size_t)l->target_count;
	for (int i = 0; i < l->target_count; i++)
		snprintf(req.target_nodes[i], sizeof(req.target_nodes[i]), "%.63s", l->targets[i].name);
	buf_init(&b, 4096);
	if (buf_put_str8(&b, method) != 0 || pb_pack(&b, mesh_v1_OpenClientDataStreamReq_fields, &req) != 0 ||
	    channel_send(l->source.ch, CG_CALL, OPEN_CALL + l->opening, buf_head(&b), buf_left(&b)) != 0)
		fail(l, "source", "open failed");
	buf_fini(&b);
	l->opening++;
}

static void
open_more(struct load *l)
{
	while (l->opening < l->stream_count && l->opening - l->opened < OPENS_MAX && l->status == 0)
		open_stream(l);
	if (l->opened == l->stream_count)
		start_publishing(l);
}

static int
on_status(void *ctx, struct channel *ch, struct imsg *m)
{
	struct peer *p = ctx;
	mesh_ipc_CallStatus s = mesh_ipc_CallStatus_init_zero;

	(void)ch;
	if (pb_unpack(m->body, m->len, mesh_ipc_CallStatus_fields, &s) != 0)
		return ERR_FORMAT;
	if (m->peerid < OPEN_CALL || s.code != 0) {
		fail(p->load, p->name, s.message);
		return 0;
	}
	p->load->opened++;
	open_more(p->load);
	return 0;
}

static int
on_hold(void *ctx, struct channel *ch, struct imsg *m)
{
	struct peer *p = ctx;
	mesh_ipc_Hold h = mesh_ipc_Hold_init_zero;

	(void)ch;
	if (pb_unpack(m->body, m->len, mesh_ipc_Hold_fields, &h) != 0)
		return ERR_FORMAT;
	p->load->held = h.hold;
	pump(p->load);
	return 0;
}

static int
on_up(void *ctx, struct channel *ch)
{
	struct peer *p = ctx;
	struct load *l = p->load;

	(void)ch;
	p->up = true;
	for (int i = 0; i < l->target_count; i++)
		if (!l->targets[i].up)
			return 0;
	if (l->source.up)
		open_more(l);
	return 0;
}

static void
on_down(void *ctx, struct channel *ch, int err)
{
	struct peer *p = ctx;

	(void)ch;
	fail(p->load, p->name, err_text(err));
}

static void
on_drain(void *ctx, struct channel *ch)
{
	struct peer *p = ctx;

	(void)ch;
	if (p->index < 0)
		pump(p->load);
}

static void
peer_connect(struct load *l, struct peer *p, int index, const char *name, const char *path)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	struct channel_conf conf = {.edge = &edge_control_gateway,
	    .handlers = control_handlers,
	    .handler_count = sizeof(control_handlers) / sizeof(control_handlers[0]),
	    .on_up = on_up,
	    .on_down = on_down,
	    .on_fail = on_down,
	    .on_drain = on_drain,
	    .ctx = p};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	p->load = l;
	p->index = index;
	p->ack = (struct loop_defer){.fn = on_ack, .arg = p};
	snprintf(p->name, sizeof(p->name), "%s", name);
	snprintf(to.sun_path, sizeof(to.sun_path), "%s", path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0) {
		fail(l, path, strerror(errno));
		return;
	}
	p->ch = channel_attach(l->loop, fd, CHANNEL_CLIENT, "load", &conf);
	if (p->ch == NULL)
		fail(l, path, "no memory");
}

static void
on_tick(void *arg)
{
	pump(arg);
}

static void
on_stall(void *arg)
{
	struct load *l = arg;
	char text[96];

	if (l->seen == 0) {
		snprintf(
		    text, sizeof(text), "%" PRIu64 " sent, %" PRIu64 " confirmed", l->sent, l->confirmed);
		fail(l, "no progress", text);
	}
	l->seen = 0;
	loop_timer_arm_ms(l->stall, STALL_MS);
}

/* --- the report --- */

static int
compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void
report(struct load *l)
{
	double seconds = (double)mono_diff_us(l->last, l->first) / 1e6;
	uint64_t n = l->latency_count;

	qsort(l->latency_us, l->latency_count, sizeof(*l->latency_us), compare);
	printf("messages %" PRIu64 "\nseconds %.3f\nrate %.0f\nmegabytes_per_second %.2f\n", n, seconds,
	    (double)n / seconds, (double)n * (double)l->size / 1e6 / seconds);
	printf("p50_us %u\np99_us %u\nmax_us %u\n", l->latency_us[n / 2], l->latency_us[n * 99 / 100],
	    l->latency_us[n - 1]);
}

static int
options(struct load *l, int argc, char **argv)
{
	int c;

	*l = (struct load){
	    .tenant = "bench", .qos = "", .count = 10000, .size = 256, .window = 8192, .stream_count = 1};
	while ((c = getopt(argc, argv, "t:Q:n:s:w:r:q:S:")) != -1) {
		if (c == 't')
			l->tenant = optarg;
		else if (c == 'Q')
			l->qos = optarg;
		else if (c == 'n')
			l->count = strtoull(optarg, NULL, 10);
		else if (c == 's')
			l->size = strtoull(optarg, NULL, 10);
		else if (c == 'w')
			l->window = strtoull(optarg, NULL, 10);
		else if (c == 'r')
			l->rate = strtoull(optarg, NULL, 10);
		else if (c == 'q')
			l->quiet = strtoull(optarg, NULL, 10);
		else if (c == 'S')
			l->stream_count = (uint32_t)strtoul(optarg, NULL, 10);
		else
			return -1;
	}
	return argc - optind >= 2 && argc - optind - 1 <= TARGETS_MAX && l->count > l->quiet && l->size > 0 &&
		       l->stream_count > 0 && l->stream_count <= STREAMS_MAX && l->window >= l->stream_count
		   ? 0
		   : -1;
}

static int
streams_init(struct load *l)
{
	uint32_t cap = 2;

	while (cap < 2 * l->stream_count)
		cap *= 2;
	l->stream_window = l->window / l->stream_count;
	l->streams = mem_calloc(l->stream_count, sizeof(*l->streams));
	l->places = mem_calloc(cap, sizeof(*l->places));
	l->place_mask = cap - 1;
	if (l->streams == NULL || l->places == NULL)
		return ERR_NOMEM;
	for (uint32_t i = 0; i < l->stream_count; i++) {
		l->streams[i].sent_at = mem_calloc(l->stream_window, sizeof(struct mono));
		if (l->streams[i].sent_at == NULL)
			return ERR_NOMEM;
	}
	for (int i = 0; i < TARGETS_MAX; i++) {
		l->targets[i].arrivals = mem_calloc(l->stream_count, sizeof(struct arrival));
		l->targets[i].unacked = mem_calloc(l->stream_count, sizeof(uint32_t));
		if (l->targets[i].arrivals == NULL || l->targets[i].unacked == NULL)
			return ERR_NOMEM;
	}
	return 0;
}

static void
connect_all(struct load *l, int argc, char **argv)
{
	l->target_count = argc - optind - 1;
	for (int i = 0; i < l->target_count; i++) {
		char *arg = argv[optind + 1 + i], *path = strchr(arg, '=');

		if (path == NULL) {
			fail(l, arg, "expected NAME=SOCKET");
			return;
		}
		*path++ = '\0';
		peer_connect(l, &l->targets[i], i, arg, path);
	}
	peer_connect(l, &l->source, -1, "source", argv[optind]);
}

int
main(int argc, char **argv)
{
	static struct load l;

	if (options(&l, argc, argv) != 0) {
		fprintf(stderr,
		    "usage: load [-t tenant] [-Q qos] [-n count] [-s bytes] [-w window] [-r rate] "
		    "[-q quiet] [-S streams] source.sock target=socket ...\n");
		return 2;
	}
	log_init("load", NULL);
	log_set_level(LOG_ERROR);
	l.loop = loop_event_new();
	l.payload = mem_calloc(1, l.size);
	l.latency_us = mem_calloc(l.count, sizeof(*l.latency_us));
	l.tick = l.loop != NULL ? loop_timer_new(l.loop, on_tick, &l) : NULL;
	l.stall = l.loop != NULL ? loop_timer_new(l.loop, on_stall, &l) : NULL;
	if (l.payload == NULL || streams_init(&l) != 0 || l.latency_us == NULL || l.tick == NULL ||
	    l.stall == NULL) {
		fprintf(stderr, "load: no memory\n");
		return 1;
	}
	for (size_t i = 0; i < l.size; i++)
		l.payload[i] = (uint8_t)(i * 131 + i / 251); /* nothing that compresses well */
	l.seen = 1;
	loop_timer_arm_ms(l.stall, STALL_MS);
	connect_all(&l, argc, argv);
	if (l.status == 0)
		(void)loop_run(l.loop);
	if (l.status == 0)
		report(&l);
	return l.status;
}
