/*
 * meshproxy: a TCP proxy for development meshes that can be a bad network.
 *
 * usage: meshproxy CONTROL_SOCKET
 *
 * It is told what to do by lines on a Unix socket, one command per connection, answered by lines of which
 * the last is "ok" or "error: …":
 *
 *	forward NAME PORT TO_PORT	listen on 127.0.0.1:PORT, connect to 127.0.0.1:TO_PORT
 *	cut NAME			a silent black hole: nothing passes, nothing is closed, new
 *					connections are accepted and lead nowhere
 *	heal NAME			the opposite; what was held up passes now
 *	delay NAME MS			each way
 *	rate NAME MBIT			each way, all connections together; 0: no limit
 *	reset NAME			closes all connections of the forward with RST
 *	status				one line per forward
 *
 * Several forwards may have one name; a command is for all of them.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/loop.h"

enum {
	CHUNK_BYTES = 64 * 1024,
	QUEUE_MIN_BYTES = 256 * 1024,       /* per direction of a connection; then reading stops */
	QUEUE_MAX_BYTES = 64 * 1024 * 1024, /* with a delay: what is on its way */
	QUEUE_RATED_MS = 100,               /* with a rate: a router's buffer */
	LINE_MAX_BYTES = 256,
	NAME_SIZE = 64,
	DELAY_MAX_MS = 60000,
	RATE_MAX_MBIT = 100000,
};

struct chunk {
	STAILQ_ENTRY(chunk) entry;
	struct mono due;
	size_t used, sent;
	uint8_t data[CHUNK_BYTES];
};
STAILQ_HEAD(chunks, chunk);

/* One direction: read from `from`, written to `to` when due. */
struct flow {
	struct conn *conn;
	struct end *from, *to;
	struct chunks queue;
	size_t queued;
	struct loop_timer *timer;
	bool eof, shut; /* read the end; passed it on */
};

struct end {
	struct conn *conn;
	int fd;
	struct loop_fd *watch;
	struct flow *in, *out; /* what is read here, what is written here */
	bool connecting;
};

struct conn {
	TAILQ_ENTRY(conn) entry;
	struct forward *forward;
	struct end client, server;
	struct flow up, down;
	bool dead;
};
TAILQ_HEAD(conns, conn);

struct forward {
	TAILQ_ENTRY(forward) entry;
	char name[NAME_SIZE];
	uint16_t port, to_port;
	int fd;
	struct loop_fd *watch;
	bool cut;
	int64_t delay_ms, rate_mbit;
	struct mono free_up, free_down; /* when the emulated line is free again */
	struct conns conns;
	uint64_t bytes;
	struct proxy *proxy;
};
TAILQ_HEAD(forwards, forward);

struct proxy {
	struct loop *loop;
	int control_fd;
	struct forwards forwards;
	struct chunks spare; /* chunks are large: they are used again */
	struct conns dead;
	struct loop_defer bury;
};

static void on_end(void *arg, int fd, unsigned events);
static void on_due(void *arg);

/* --- a connection --- */

static void
chunk_drop(struct proxy *p, struct flow *f)
{
	struct chunk *c = STAILQ_FIRST(&f->queue);

	STAILQ_REMOVE_HEAD(&f->queue, entry);
	STAILQ_INSERT_HEAD(&p->spare, c, entry);
}

static void
end_close(struct end *e)
{
	loop_fd_del(e->watch);
	e->watch = NULL;
	if (e->fd >= 0)
		close(e->fd);
	e->fd = -1;
}

/* Both ends are closed at once; the memory goes at the end of the turn. */
static void
conn_close(struct conn *c, bool reset)
{
	struct proxy *p = c->forward->proxy;
	struct linger hard = {.l_onoff = 1, .l_linger = 0};

	if (c->dead)
		return;
	c->dead = true;
	if (reset) {
		(void)setsockopt(c->client.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
		if (c->server.fd >= 0)
			(void)setsockopt(c->server.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	}
	end_close(&c->client);
	end_close(&c->server);
	loop_timer_free(c->up.timer);
	loop_timer_free(c->down.timer);
	while (!STAILQ_EMPTY(&c->up.queue))
		chunk_drop(p, &c->up);
	while (!STAILQ_EMPTY(&c->down.queue))
		chunk_drop(p, &c->down);
	TAILQ_REMOVE(&c->forward->conns, c, entry);
	TAILQ_INSERT_TAIL(&p->dead, c, entry);
	loop_defer_add(p->loop, &p->bury);
}

static void
on_bury(void *arg)
{
	struct proxy *p = arg;
	struct conn *c;

	while ((c = TAILQ_FIRST(&p->dead)) != NULL) {
		TAILQ_REMOVE(&p->dead, c, entry);
		mem_free(c);
	}
}

static size_t
queue_limit(const struct forward *fw)
{
	int64_t bytes = QUEUE_MIN_BYTES;

	if (fw->rate_mbit > 0)
		bytes = fw->rate_mbit * 125 * (fw->delay_ms + QUEUE_RATED_MS);
	else if (fw->delay_ms > 0)
		bytes = QUEUE_MAX_BYTES;
	if (bytes < CHUNK_BYTES)
		bytes = CHUNK_BYTES;
	return bytes > QUEUE_MAX_BYTES ? QUEUE_MAX_BYTES : (size_t)bytes;
}

static bool
can_write(const struct flow *f)
{
	const struct chunk *c = STAILQ_FIRST(&f->queue);

	return c != NULL && !mono_before(clock_mono(), c->due);
}

/* What each end waits for follows from the state of the flows. */
static void
end_update(struct end *e)
{
	const struct forward *fw = e->conn->forward;
	unsigned events = 0;

	if (e->watch == NULL)
		return;
	if (e->connecting)
		events = LOOP_WRITE;
	else if (!fw->cut && !e->conn->server.connecting) {
		if (!e->in->eof && e->in->queued < queue_limit(fw))
			events |= LOOP_READ;
		if (can_write(e->out))
			events |= LOOP_WRITE;
	}
	if (loop_fd_mod(e->watch, events) != 0)
		conn_close(e->conn, false);
}

static void
conn_update(struct conn *c)
{
	if (!c->dead)
		end_update(&c->client);
	if (!c->dead)
		end_update(&c->server);
}

/* When a chunk of len bytes that arrives now comes out at the other end of the emulated line. */
static struct mono
chunk_due(struct forward *fw, bool up, size_t len)
{
	struct mono now = clock_mono(), *line = up ? &fw->free_up : &fw->free_down;

	if (fw->rate_mbit == 0)
		return mono_add_ms(now, fw->delay_ms);
	if (mono_before(*line, now))
		*line = now;
	*line = mono_add_us(*line, (int64_t)len * 8 / fw->rate_mbit);
	return mono_add_ms(*line, fw->delay_ms);
}

static struct chunk *
chunk_get(struct proxy *p)
{
	struct chunk *c = STAILQ_FIRST(&p->spare);

	if (c != NULL)
		STAILQ_REMOVE_HEAD(&p->spare, entry);
	else
		c = mem_calloc(1, sizeof(*c));
	return c;
}

/* Passes on the end of a direction when all before it was written. */
static void
flow_finish(struct flow *f)
{
	if (f->eof && !f->shut && STAILQ_EMPTY(&f->queue)) {
		f->shut = true;
		(void)shutdown(f->to->fd, SHUT_WR);
	}
	if (f->conn->up.shut && f->conn->down.shut)
		conn_close(f->conn, false);
}

/* Writes what is due; arms the timer for the rest. */
static void
flow_write(struct flow *f)
{
	struct proxy *p = f->conn->forward->proxy;

	while (can_write(f)) {
		struct chunk *c = STAILQ_FIRST(&f->queue);
		ssize_t n = send(f->to->fd, c->data + c->sent, c->used - c->sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			conn_close(f->conn, true);
			return;
		}
		c->sent += (size_t)n;
		f->queued -= (size_t)n;
		f->conn->forward->bytes += (uint64_t)n;
		if (c->sent == c->used)
			chunk_drop(p, f);
	}
	if (!STAILQ_EMPTY(&f->queue))
		loop_timer_arm(f->timer, STAILQ_FIRST(&f->queue)->due);
	else
		flow_finish(f);
}

static void
flow_read(struct flow *f)
{
	struct forward *fw = f->conn->forward;
	/* With a rate small pieces come out evenly. */
	size_t want = fw->rate_mbit > 0 ? CHUNK_BYTES / 8 : CHUNK_BYTES;
	struct chunk *c = chunk_get(fw->proxy);
	ssize_t n;

	if (c == NULL) {
		conn_close(f->conn, true);
		return;
	}
	n = recv(f->from->fd, c->data, want, 0);
	if (n <= 0) {
		STAILQ_INSERT_HEAD(&fw->proxy->spare, c, entry);
		if (n == 0) {
			f->eof = true;
			flow_write(f);
		} else if (errno != EAGAIN) {
			conn_close(f->conn, true);
		}
		return;
	}
	c->used = (size_t)n;
	c->sent = 0;
	c->due = chunk_due(fw, f == &f->conn->up, (size_t)n);
	STAILQ_INSERT_TAIL(&f->queue, c, entry);
	f->queued += (size_t)n;
	flow_write(f);
}

static void
on_due(void *arg)
{
	struct flow *f = arg;
	struct conn *c = f->conn;

	if (!c->forward->cut)
		flow_write(f);
	conn_update(c);
}

static void
on_end(void *arg, int fd, unsigned events)
{
	struct end *e = arg;
	struct conn *c = e->conn;

	if (e->connecting) {
		int err = 0;
		socklen_t len = sizeof(err);

		if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0 || err != 0) {
			conn_close(c, true);
			return;
		}
		e->connecting = false;
	} else if (!c->forward->cut) {
		if (events & LOOP_WRITE)
			flow_write(e->out);
		if (!c->dead && (events & LOOP_READ))
			flow_read(e->in);
	}
	conn_update(c);
}

/* --- connecting --- */

static struct sockaddr_in
local(uint16_t port)
{
	return (struct sockaddr_in){
	    .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int
socket_dial(uint16_t port)
{
	struct sockaddr_in to = local(port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;

	if (fd < 0)
		return -1;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 || errno == EINPROGRESS)
		return fd;
	close(fd);
	return -1;
}

/* The far half of a connection; not made while the forward is cut. */
static void
conn_dial(struct conn *c)
{
	struct proxy *p = c->forward->proxy;

	c->server.fd = socket_dial(c->forward->to_port);
	c->server.connecting = true;
	if (c->server.fd >= 0)
		c->server.watch = loop_fd_add(p->loop, c->server.fd, LOOP_WRITE, on_end, &c->server);
	if (c->server.watch == NULL)
		conn_close(c, true);
}

static void
flow_init(struct flow *f, struct conn *c, struct end *from, struct end *to)
{
	f->conn = c;
	f->from = from;
	f->to = to;
	from->in = f;
	to->out = f;
	STAILQ_INIT(&f->queue);
	f->timer = loop_timer_new(c->forward->proxy->loop, on_due, f);
}

static void
conn_new(struct forward *fw, int fd)
{
	struct conn *c = mem_calloc(1, sizeof(*c));
	int on = 1;

	if (c == NULL) {
		close(fd);
		return;
	}
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	c->forward = fw;
	c->client = (struct end){.conn = c, .fd = fd};
	c->server = (struct end){.conn = c, .fd = -1, .connecting = true};
	flow_init(&c->up, c, &c->client, &c->server);
	flow_init(&c->down, c, &c->server, &c->client);
	c->client.watch = loop_fd_add(fw->proxy->loop, fd, 0, on_end, &c->client);
	TAILQ_INSERT_TAIL(&fw->conns, c, entry);
	if (c->client.watch == NULL || c->up.timer == NULL || c->down.timer == NULL)
		conn_close(c, true);
	else if (!fw->cut)
		conn_dial(c);
}

static void
on_accept(void *arg, int fd, unsigned events)
{
	int conn = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)events;
	if (conn >= 0)
		conn_new(arg, conn);
}

/* --- commands --- */

static const char *
cmd_forward(struct proxy *p, const char *name, int64_t port, int64_t to_port)
{
	struct sockaddr_in at = local((uint16_t)port);
	struct forward *fw;
	int fd, on = 1;

	if (port < 1 || port > 65535 || to_port < 1 || to_port > 65535)
		return "a port is a number from 1 to 65535";
	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return strerror(errno);
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	fw = mem_calloc(1, sizeof(*fw));
	if (fw == NULL || bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 || listen(fd, 128) != 0 ||
	    (fw->watch = loop_fd_add(p->loop, fd, LOOP_READ, on_accept, fw)) == NULL) {
		mem_free(fw);
		close(fd);
		return strerror(errno);
	}
	snprintf(fw->name, sizeof(fw->name), "%s", name);
	fw->fd = fd;
	fw->port = (uint16_t)port;
	fw->to_port = (uint16_t)to_port;
	fw->proxy = p;
	TAILQ_INIT(&fw->conns);
	TAILQ_INSERT_TAIL(&p->forwards, fw, entry);
	return NULL;
}

static void
forward_heal(struct forward *fw)
{
	struct conn *c, *next;

	for (c = TAILQ_FIRST(&fw->conns); c != NULL; c = next) {
		next = TAILQ_NEXT(c, entry);
		if (c->server.fd < 0)
			conn_dial(c);
		if (!c->dead && !c->server.connecting)
			flow_write(&c->up);
		if (!c->dead && !c->server.connecting)
			flow_write(&c->down);
	}
}

static void
forward_update(struct forward *fw)
{
	struct conn *c, *next;

	for (c = TAILQ_FIRST(&fw->conns); c != NULL; c = next) {
		next = TAILQ_NEXT(c, entry);
		conn_update(c);
	}
}

static bool
forward_command(struct forward *fw, const char *verb, int64_t value)
{
	if (strcmp(verb, "cut") == 0)
		fw->cut = true;
	else if (strcmp(verb, "heal") == 0) {
		fw->cut = false;
		forward_heal(fw);
	} else if (strcmp(verb, "delay") == 0 && value >= 0 && value <= DELAY_MAX_MS)
		fw->delay_ms = value;
	else if (strcmp(verb, "rate") == 0 && value >= 0 && value <= RATE_MAX_MBIT)
		fw->rate_mbit = value;
	else if (strcmp(verb, "reset") == 0) {
		while (!TAILQ_EMPTY(&fw->conns))
			conn_close(TAILQ_FIRST(&fw->conns), true);
	} else
		return false;
	forward_update(fw);
	return true;
}

static void
cmd_status(const struct proxy *p, FILE *out)
{
	const struct forward *fw;
	const struct conn *c;

	TAILQ_FOREACH (fw, &p->forwards, entry) {
		unsigned count = 0;

		TAILQ_FOREACH (c, &fw->conns, entry)
			count++;
		fprintf(out,
		    "%s %u %u %s delay %" PRId64 " rate %" PRId64 " connections %u bytes %" PRIu64 "\n",
		    fw->name, fw->port, fw->to_port, fw->cut ? "cut" : "open", fw->delay_ms, fw->rate_mbit,
		    count, fw->bytes);
	}
}

/* Runs one line; NULL, or what is wrong with it. */
static const char *
command_run(struct proxy *p, const char *line, FILE *out)
{
	char verb[16] = "", name[NAME_SIZE] = "";
	long long v1 = -1, v2 = -1;
	struct forward *fw;
	bool found = false;

	if (sscanf(line, "%15s %63s %lld %lld", verb, name, &v1, &v2) < 1)
		return "no command";
	if (strcmp(verb, "status") == 0) {
		cmd_status(p, out);
		return NULL;
	}
	if (strcmp(verb, "forward") == 0)
		return cmd_forward(p, name, v1, v2);
	TAILQ_FOREACH (fw, &p->forwards, entry) {
		if (strcmp(fw->name, name) != 0)
			continue;
		found = true;
		if (!forward_command(fw, verb, v1))
			return "unknown command or value";
	}
	return found ? NULL : "no such forward";
}

/* One command per connection; the client is a local tool that writes its line at once. */
static void
on_control(void *arg, int fd, unsigned events)
{
	struct timeval limit = {.tv_sec = 1};
	char line[LINE_MAX_BYTES + 1];
	const char *wrong;
	ssize_t n;
	FILE *out;
	int conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

	(void)events;
	if (conn < 0)
		return;
	(void)setsockopt(conn, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	n = recv(conn, line, LINE_MAX_BYTES, 0);
	out = n > 0 ? fdopen(conn, "w") : NULL;
	if (out == NULL) {
		close(conn);
		return;
	}
	line[n] = '\0';
	wrong = command_run(arg, line, out);
	fprintf(out, wrong == NULL ? "ok\n" : "error: %s\n", wrong);
	fclose(out);
}

static int
control_listen(const char *path)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(at.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(at.sun_path, path, strlen(path));
	(void)unlink(path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 || listen(fd, 16) != 0)
		return -1;
	return fd;
}

int
main(int argc, char **argv)
{
	struct proxy p = {.forwards = TAILQ_HEAD_INITIALIZER(p.forwards),
	    .spare = STAILQ_HEAD_INITIALIZER(p.spare),
	    .dead = TAILQ_HEAD_INITIALIZER(p.dead),
	    .bury = {.fn = on_bury, .arg = &p}};

	if (argc != 2 || argv[1][0] == '-') {
		fprintf(stderr, "usage: meshproxy CONTROL_SOCKET\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	p.control_fd = control_listen(argv[1]);
	if (p.control_fd < 0) {
		fprintf(stderr, "meshproxy: %s: %s\n", argv[1], strerror(errno));
		return 1;
	}
	p.loop = loop_event_new();
	if (p.loop == NULL || loop_fd_add(p.loop, p.control_fd, LOOP_READ, on_control, &p) == NULL) {
		fprintf(stderr, "meshproxy: out of memory\n");
		return 1;
	}
	return loop_run(p.loop) == 0 ? 0 : 1;
}
