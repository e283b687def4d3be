/*
 * calls: clients that send updates of the mesh to a node, each the next one when the last is answered, and
 * what that took.  Cheap enough (some microseconds a call) that the nodes are what is measured.
 *
 * usage: calls [-c CLIENTS] [-n COUNT] [-q QUIET_COUNT] [-s BYTES] [-t] CONTROL_SOCKET
 *
 * Up to CLIENTS_EACH clients share a connection.  Prints lines "name value": calls, seconds, rate, p50_us,
 * p99_us, max_us, refused.  The first QUIET_COUNT calls warm up and are not counted.  A call that is refused
 * because there is no room or no leader is made again after RETRY_MS, as another call; any other error ends
 * the run with 1.  -t: goes on until it is killed, and prints for each call that was committed when it was
 * made and answered, in microseconds of Unix time.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
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
	CLIENTS_MAX = 1024,
	CLIENTS_EACH = 16,
	CONNS_MAX = CLIENTS_MAX / CLIENTS_EACH,
	BYTES_MAX = 1 << 20,
	RETRY_MS = 2,
	STALL_MS = 60000, /* without any answer: something is broken */
	CODE_RESOURCE_EXHAUSTED = 8,
	CODE_UNAVAILABLE = 14,
};

struct calls;

struct conn {
	struct calls *calls;
	struct channel *ch;
	struct client *clients; /* CLIENTS_EACH of them, or what is left */
};

struct client {
	struct conn *conn;
	struct loop_timer *again;
	uint32_t number; /* of its call: by it an answer finds the client */
	bool committed;
	struct mono began;
	int64_t began_unix_us;
};

struct calls {
	struct loop *loop;
	struct client *clients;
	struct conn conns[CONNS_MAX];
	unsigned client_count, conn_count, up;
	uint64_t count, quiet, sent, answered, refused, seen;
	size_t size;
	bool trace;
	struct buf request;
	struct mono first, last;
	uint32_t *latency_us;
	size_t latency_count;
	struct loop_timer *stall;
	int status;
};

static void
fail(struct calls *s, const char *what, const char *detail)
{
	if (s->status == 0)
		fprintf(stderr, "calls: %s: %s\n", what, detail);
	s->status = 1;
	loop_stop(s->loop);
}

static int64_t
unix_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* --- calls --- */

static void
call(struct client *c)
{
	struct calls *s = c->conn->calls;

	if (s->status != 0 || (!s->trace && s->sent == s->count))
		return;
	s->sent++;
	c->committed = false;
	c->number += CLIENTS_EACH;
	c->began = clock_mono();
	c->began_unix_us = s->trace ? unix_us() : 0;
	if (channel_send(c->conn->ch, CG_CALL, c->number, buf_head(&s->request), buf_left(&s->request)) != 0)
		fail(s, "call", "the connection is gone");
}

static void
on_again(void *arg)
{
	call(arg);
}

static void
answered(struct client *c)
{
	struct calls *s = c->conn->calls;
	struct mono now = clock_mono();

	s->answered++;
	s->seen++;
	if (s->trace) {
		printf("%" PRId64 " %" PRId64 "\n", c->began_unix_us, unix_us());
		fflush(stdout);
	} else if (s->answered > s->quiet) {
		s->latency_us[s->latency_count++] = (uint32_t)mono_diff_us(now, c->began);
	} else if (s->answered == s->quiet) {
		s->first = now;
	}
	s->last = now;
	if (!s->trace && s->answered == s->count)
		loop_stop(s->loop);
	else
		call(c);
}

static struct client *
client_of(struct conn *conn, const struct imsg *m)
{
	return &conn->clients[m->peerid % CLIENTS_EACH];
}

static int
on_message_in(void *ctx, struct channel *ch, struct imsg *m)
{
	struct client *c = client_of(ctx, m);
	mesh_v1_BroadcastResult r = mesh_v1_BroadcastResult_init_zero;

	(void)ch;
	if (pb_unpack(m->body, m->len, mesh_v1_BroadcastResult_fields, &r) != 0)
		return ERR_FORMAT;
	c->committed = r.committed;
	return 0;
}

static int
on_status(void *ctx, struct channel *ch, struct imsg *m)
{
	struct client *c = client_of(ctx, m);
	struct calls *s = c->conn->calls;
	mesh_ipc_CallStatus st = mesh_ipc_CallStatus_init_zero;

	(void)ch;
	if (pb_unpack(m->body, m->len, mesh_ipc_CallStatus_fields, &st) != 0)
		return ERR_FORMAT;
	if (st.code == 0 && c->committed) {
		answered(c);
	} else if (st.code == CODE_RESOURCE_EXHAUSTED || st.code == CODE_UNAVAILABLE) {
		s->refused++;
		s->sent--;
		loop_timer_arm_ms(c->again, RETRY_MS);
	} else {
		fail(s, "call", st.message);
	}
	return 0;
}

static int
on_hold(void *ctx, struct channel *ch, struct imsg *m)
{
	(void)ctx;
	(void)ch;
	(void)m;
	return 0;
}

static int
make_request(struct calls *s)
{
	static const char method[] = "/mesh.v1.MeshService/SendMeshUpdate";
	mesh_v1_MeshUpdate u = mesh_v1_MeshUpdate_init_zero;
	uint8_t *payload = mem_calloc(1, s->size);
	struct pb_slice slice = {payload, s->size};
	int err;

	if (payload == NULL)
		return ERR_NOMEM;
	for (size_t i = 0; i < s->size; i++)
		payload[i] = (uint8_t)(i * 131 + i / 251); /* nothing that compresses well */
	snprintf(u.type, sizeof(u.type), "bench");
	pb_slice_encode(&u.payload, &slice);
	buf_init(&s->request, 2 * BYTES_MAX);
	if ((err = buf_put_str8(&s->request, method)) == 0)
		err = pb_pack(&s->request, mesh_v1_MeshUpdate_fields, &u);
	mem_free(payload);
	return err;
}

/* --- connections --- */

/* All begin together. */
static int
on_up(void *ctx, struct channel *ch)
{
	struct calls *s = ((struct conn *)ctx)->calls;

	(void)ch;
	if (++s->up < s->conn_count)
		return 0;
	s->first = clock_mono();
	for (unsigned i = 0; i < s->client_count; i++)
		call(&s->clients[i]);
	return 0;
}

static void
on_down(void *ctx, struct channel *ch, int err)
{
	(void)ch;
	fail(((struct conn *)ctx)->calls, "connection", err_text(err));
}

static void
conn_open(struct calls *s, struct conn *c, const char *path)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	struct channel_conf conf = {.edge = &edge_control_gateway,
	    .handlers = control_handlers,
	    .handler_count = sizeof(control_handlers) / sizeof(control_handlers[0]),
	    .on_up = on_up,
	    .on_down = on_down,
	    .on_fail = on_down,
	    .ctx = c};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	c->calls = s;
	snprintf(to.sun_path, sizeof(to.sun_path), "%s", path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0 ||
	    fcntl(fd, F_SETFL, O_NONBLOCK) != 0) {
		fail(s, path, strerror(errno));
		return;
	}
	c->ch = channel_attach(s->loop, fd, CHANNEL_CLIENT, "calls", &conf);
	if (c->ch == NULL)
		fail(s, path, "no memory");
}

static void
connect_all(struct calls *s, const char *path)
{
	for (unsigned i = 0; i < s->client_count && s->status == 0; i++) {
		struct client *c = &s->clients[i];

		c->conn = &s->conns[i / CLIENTS_EACH];
		c->number = i % CLIENTS_EACH;
		if ((c->again = loop_timer_new(s->loop, on_again, c)) == NULL)
			fail(s, path, "no memory");
	}
	s->conn_count = (s->client_count + CLIENTS_EACH - 1) / CLIENTS_EACH;
	for (unsigned i = 0; i < s->conn_count && s->status == 0; i++) {
		s->conns[i].clients = &s->clients[i * CLIENTS_EACH];
		conn_open(s, &s->conns[i], path);
	}
}

static void
on_stall(void *arg)
{
	struct calls *s = arg;

	if (s->seen == 0 && !s->trace)
		fail(s, "calls", "no progress");
	s->seen = 0;
	loop_timer_arm_ms(s->stall, STALL_MS);
}

/* --- the report --- */

static int
compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void
report(struct calls *s)
{
	double seconds = (double)mono_diff_us(s->last, s->first) / 1e6;
	size_t n = s->latency_count;

	qsort(s->latency_us, n, sizeof(*s->latency_us), compare);
	printf("calls %zu\nseconds %.3f\nrate %.0f\n", n, seconds, (double)n / seconds);
	printf("p50_us %u\np99_us %u\nmax_us %u\nrefused %" PRIu64 "\n", s->latency_us[n / 2],
	    s->latency_us[n * 99 / 100], s->latency_us[n - 1], s->refused);
}

static int
options(struct calls *s, int argc, char **argv)
{
	int c;

	*s = (struct calls){.client_count = 1, .count = 1000, .size = 256};
	while ((c = getopt(argc, argv, "c:n:q:s:t")) != -1) {
		if (c == 'c')
			s->client_count = (unsigned)strtoul(optarg, NULL, 10);
		else if (c == 'n')
			s->count = strtoull(optarg, NULL, 10);
		else if (c == 'q')
			s->quiet = strtoull(optarg, NULL, 10);
		else if (c == 's')
			s->size = strtoull(optarg, NULL, 10);
		else if (c == 't')
			s->trace = true;
		else
			return -1;
	}
	return argc - optind == 1 && s->client_count >= 1 && s->client_count <= CLIENTS_MAX &&
		       s->count > s->quiet && s->size >= 1 && s->size <= BYTES_MAX
		   ? 0
		   : -1;
}

int
main(int argc, char **argv)
{
	static struct calls s;

	if (options(&s, argc, argv) != 0) {
		fprintf(stderr, "usage: calls [-c clients] [-n count] [-q quiet] [-s bytes] [-t] socket\n");
		return 2;
	}
	log_init("calls", NULL);
	log_set_level(LOG_ERROR);
	s.loop = loop_event_new();
	s.clients = mem_calloc(s.client_count, sizeof(*s.clients));
	s.latency_us = mem_calloc(s.count, sizeof(*s.latency_us));
	s.stall = s.loop != NULL ? loop_timer_new(s.loop, on_stall, &s) : NULL;
	if (s.clients == NULL || s.latency_us == NULL || s.stall == NULL || make_request(&s) != 0) {
		fprintf(stderr, "calls: no memory\n");
		return 1;
	}
	loop_timer_arm_ms(s.stall, STALL_MS);
	connect_all(&s, argv[optind]);
	if (s.status == 0)
		(void)loop_run(s.loop);
	if (s.status == 0)
		report(&s);
	return s.status;
}
