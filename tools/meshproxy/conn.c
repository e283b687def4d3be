/* conn: a connection through a forward, and the forward that accepts it. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/os/clock.h"
#include "tools/meshproxy/wire.h"

static void
end_close(struct end *e)
{
	loop_fd_del(e->watch);
	e->watch = NULL;
	if (e->fd >= 0)
		close(e->fd);
	e->fd = -1;
}

void
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
	flow_fini(&c->flows[UP]);
	flow_fini(&c->flows[DOWN]);
	loop_timer_free(c->stall);
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

void
proxy_init(struct proxy *p, struct loop *loop)
{
	p->loop = loop;
	TAILQ_INIT(&p->forwards);
	TAILQ_INIT(&p->dead);
	STAILQ_INIT(&p->spare_small);
	STAILQ_INIT(&p->spare_large);
	p->bury = (struct loop_defer){.fn = on_bury, .arg = p};
}

/* What each end waits for follows from the state of the flows. */
static void
end_update(struct end *e)
{
	unsigned events = 0;

	if (e->watch == NULL)
		return;
	if (e->connecting) {
		events = LOOP_WRITE;
	} else if (!e->conn->server.connecting) {
		if (flow_wants_read(e->in))
			events |= LOOP_READ;
		if (flow_can_write(e->out))
			events |= LOOP_WRITE;
	}
	if (loop_fd_mod(e->watch, events) != 0)
		conn_close(e->conn, false);
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
	} else if ((events & LOOP_READ) && flow_wants_read(e->in)) {
		flow_readable(e->in);
	}
	conn_update(c);
}

static int
socket_dial(uint16_t port)
{
	struct sockaddr_in to = {
	    .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;

	if (fd < 0)
		return -1;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 || errno == EINPROGRESS)
		return fd;
	close(fd);
	return -1;
}

/* The far half of a connection. */
static void
conn_dial(struct conn *c)
{
	struct proxy *p = c->forward->proxy;

	c->server.fd = socket_dial(c->forward->to_port);
	if (c->server.fd >= 0)
		c->server.watch = loop_fd_add(p->loop, c->server.fd, LOOP_WRITE, on_end, &c->server);
	if (c->server.watch == NULL)
		conn_close(c, true);
}

void
conn_update(struct conn *c)
{
	/* A handshake needs both directions. */
	if (!c->dead && c->server.fd < 0 && !flow_blocked(&c->flows[UP]) && !flow_blocked(&c->flows[DOWN]))
		conn_dial(c);
	for (int i = 0; i < WAYS && !c->dead && !c->server.connecting; i++)
		flow_write(&c->flows[i]);
	if (!c->dead)
		end_update(&c->client);
	if (!c->dead)
		end_update(&c->server);
}

static void
on_stall_end(void *arg)
{
	struct conn *c = arg;

	c->stalled = false;
	conn_update(c);
}

void
conn_stall(struct conn *c, int64_t ms)
{
	c->stalled = true;
	loop_timer_arm_ms(c->stall, ms);
	conn_update(c);
}

void
conn_new(struct forward *fw, int fd)
{
	struct conn *c = mem_calloc(1, sizeof(*c));
	int on = 1;
	bool ready;

	if (c == NULL) {
		close(fd);
		return;
	}
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	c->forward = fw;
	c->id = ++fw->proxy->next_id;
	c->since = clock_mono();
	c->client = (struct end){.conn = c, .fd = fd};
	c->server = (struct end){.conn = c, .fd = -1, .connecting = true};
	ready = flow_init(&c->flows[UP], c, UP, &c->client, &c->server);
	ready &= flow_init(&c->flows[DOWN], c, DOWN, &c->server, &c->client);
	c->stall = loop_timer_new(fw->proxy->loop, on_stall_end, c);
	c->client.watch = loop_fd_add(fw->proxy->loop, fd, 0, on_end, &c->client);
	TAILQ_INSERT_TAIL(&fw->conns, c, entry);
	if (!ready || c->stall == NULL || c->client.watch == NULL)
		conn_close(c, true);
	else
		conn_update(c);
}

static uint16_t
port_of(int fd, int (*name)(int, struct sockaddr *, socklen_t *))
{
	struct sockaddr_in6 at = {0}; /* large enough for both; the port is at the same place */
	socklen_t len = sizeof(at);

	return fd >= 0 && name(fd, (struct sockaddr *)&at, &len) == 0 ? ntohs(at.sin6_port) : 0;
}

uint16_t
conn_client_port(const struct conn *c)
{
	return port_of(c->client.fd, getpeername);
}

uint16_t
conn_server_port(const struct conn *c)
{
	return port_of(c->server.fd, getsockname);
}

/* --- forwards --- */

static void
on_accept(void *arg, int fd, unsigned events)
{
	struct linger hard = {.l_onoff = 1, .l_linger = 0};
	struct forward *fw = arg;
	int conn = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)events;
	if (conn < 0)
		return;
	if (!fw->refuse) {
		conn_new(fw, conn);
		return;
	}
	(void)setsockopt(conn, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close(conn);
}

static void
on_line(void *arg)
{
	line_serve(arg);
}

/* A listening socket on 127.0.0.1 or ::1; -1 with errno. */
static int
socket_listen(uint16_t port, bool ipv6)
{
	struct sockaddr_in v4 = {
	    .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in6 v6 = {
	    .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	const struct sockaddr *at = ipv6 ? (struct sockaddr *)&v6 : (struct sockaddr *)&v4;
	int fd = socket(at->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1, err;

	if (fd < 0)
		return -1;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, at, ipv6 ? sizeof(v6) : sizeof(v4)) == 0 && listen(fd, 1024) == 0)
		return fd;
	err = errno;
	close(fd);
	errno = err;
	return -1;
}

static bool
forward_lines(struct forward *fw)
{
	for (int i = 0; i < WAYS; i++) {
		fw->lines[i].forward = fw;
		TAILQ_INIT(&fw->lines[i].waiting);
		fw->lines[i].timer = loop_timer_new(fw->proxy->loop, on_line, &fw->lines[i]);
	}
	return fw->lines[UP].timer != NULL && fw->lines[DOWN].timer != NULL;
}

const char *
forward_new(struct proxy *p, const char *name, uint16_t port, uint16_t to_port, bool ipv6)
{
	int fd = socket_listen(port, ipv6);
	struct forward *fw;

	if (fd < 0)
		return strerror(errno);
	fw = mem_calloc(1, sizeof(*fw));
	if (fw == NULL) {
		close(fd);
		return "out of memory";
	}
	snprintf(fw->name, sizeof(fw->name), "%s", name);
	fw->fd = fd;
	fw->port = port;
	fw->to_port = to_port;
	fw->ipv6 = ipv6;
	fw->proxy = p;
	TAILQ_INIT(&fw->conns);
	if (!forward_lines(fw) || (fw->watch = loop_fd_add(p->loop, fd, LOOP_READ, on_accept, fw)) == NULL) {
		loop_timer_free(fw->lines[UP].timer);
		loop_timer_free(fw->lines[DOWN].timer);
		close(fd);
		mem_free(fw);
		return "out of memory";
	}
	TAILQ_INSERT_TAIL(&p->forwards, fw, entry);
	return NULL;
}

void
forward_update(struct forward *fw)
{
	struct conn *c, *next;

	for (int i = 0; i < WAYS; i++)
		line_serve(&fw->lines[i]);
	for (c = TAILQ_FIRST(&fw->conns); c != NULL; c = next) {
		next = TAILQ_NEXT(c, entry);
		conn_update(c);
	}
}
