/*
 * wire: what meshproxy is made of: forwards, their connections, and the emulated line in between.
 *
 * A forward listens on one port and connects to another.  Each of its two directions is one line, first in
 * first out, that all its connections share as they would a modem's; a connection has a flow in each
 * direction: what it read waits there until it has come out of the line.
 */
#ifndef TOOLS_MESHPROXY_WIRE_H
#define TOOLS_MESHPROXY_WIRE_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/base/mono.h"
#include "common/base/must.h"
#include "common/os/loop.h"

enum {
	CHUNK_BYTES = 64 * 1024,            /* read at once without a rate */
	PACKET_BYTES = 1500,                /* and with one: connections take turns with so much */
	QUEUE_MIN_BYTES = 256 * 1024,       /* per direction of a connection; then reading stops */
	QUEUE_MAX_BYTES = 64 * 1024 * 1024, /* with a delay: what is on its way */
	QUEUE_RATED_MS = 100,               /* with a rate: a router's buffer */
	NAME_SIZE = 64,
};

/* Up is from the dialler to the listener. */
enum way { UP, DOWN, WAYS };

/* Bytes that were read together, and when they come out of the line. */
struct chunk {
	STAILQ_ENTRY(chunk) entry;
	struct mono due;
	size_t size, used, sent; /* size: of data */
	uint8_t data[];
};
STAILQ_HEAD(chunks, chunk);

/* One direction of a connection: read from `from`, written to `to` when due. */
struct flow {
	struct conn *conn;
	struct end *from, *to;
	struct line *line;
	TAILQ_ENTRY(flow) entry; /* in line->waiting */
	struct chunks queue;
	size_t queued;
	struct loop_timer *timer;
	struct mono last_due;
	uint64_t bytes; /* passed on */
	bool waiting;   /* has something to read, and no place on the line for it */
	bool cut;
	bool eof, shut; /* read the end; passed it on */
};
TAILQ_HEAD(flows, flow);

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
	unsigned id;
	struct mono since;
	struct end client, server;
	struct flow flows[WAYS];
	struct loop_timer *stall;
	bool stalled;
	bool dead;
};
TAILQ_HEAD(conns, conn);

struct line {
	struct forward *forward;
	struct mono free; /* when all that is on it has left */
	struct flows waiting;
	struct loop_timer *timer; /* there is a place again */
	uint64_t bytes;           /* that have come out */
	bool cut;
};

struct forward {
	TAILQ_ENTRY(forward) entry;
	char name[NAME_SIZE];
	uint16_t port, to_port;
	bool ipv6;   /* listens on ::1 */
	bool refuse; /* resets new connections */
	int fd;
	struct loop_fd *watch;
	int64_t delay_ms, jitter_ms, rate_kbit; /* each way; 0: none */
	struct line lines[WAYS];
	struct conns conns;
	struct proxy *proxy;
};
TAILQ_HEAD(forwards, forward);

struct proxy {
	struct loop *loop;
	struct forwards forwards;
	unsigned next_id;
	struct chunks spare_small, spare_large; /* used again */
	uint8_t scratch[CHUNK_BYTES];
	struct conns dead;
	struct loop_defer bury;
};

void proxy_init(struct proxy *p, struct loop *loop);

/* Listens; NULL, or what is wrong. */
const char *forward_new(struct proxy *p, const char *name, uint16_t port, uint16_t to_port, bool ipv6);
/* Something about the forward has changed: its connections go on accordingly. */
void forward_update(struct forward *fw);

/* --- conn.c --- */

/* Takes a connection that fd has accepted; owns fd. */
void conn_new(struct forward *fw, int fd);
/* Closes both ends at once, with RST if reset; the memory goes at the end of the turn. */
void conn_close(struct conn *c, bool reset);
/* Dials if that was held up, writes what is due, and waits for what follows from the state of the flows. */
void conn_update(struct conn *c);
/* Nothing passes for ms. */
void conn_stall(struct conn *c, int64_t ms);
uint16_t conn_client_port(const struct conn *c); /* of the dialler's end */
uint16_t conn_server_port(const struct conn *c); /* of our end towards the listener; 0: not dialled */

/* --- flow.c --- */

/* false: no memory. */
bool flow_init(struct flow *f, struct conn *c, enum way way, struct end *from, struct end *to) MUST_USE;
void flow_fini(struct flow *f);
/* Neither reads nor writes. */
bool flow_blocked(const struct flow *f);
bool flow_wants_read(const struct flow *f);
bool flow_can_write(const struct flow *f);
/* There is something to read: takes it, or waits for a place on the line. */
void flow_readable(struct flow *f);
/* Writes what is due; arms the timer for the rest, passes on the end behind the last byte. */
void flow_write(struct flow *f);
/* The end is passed on behind what is queued; what comes after is not read. */
void flow_end(struct flow *f);
/* The places that are free go to who waits, in order of arrival. */
void line_serve(struct line *l);

#endif
