/*
 * channel: a connection between two daemons of one node, and the server that accepts them.
 *
 * A channel speaks one edge: a list of messages declared in proto/<edge>.def.  It starts with hello
 * (edge name and version, name of the sender) in both directions; then the side that has state the
 * other needs sends it as a snapshot (begin, items, end), then deltas.  Message type, size, direction
 * and descriptor rule are checked against the table before a handler runs; anything else closes this
 * connection, is counted, and never ends the daemon.  The client side reconnects for ever with
 * jittered back-off.
 *
 * Back-pressure: a channel has a high and a low mark on what is queued for writing.  channel_full()
 * tells that the high mark is passed; on_drain is called when the queue is below the low mark again.
 * A receiver stops being fed with channel_pause().
 */
#ifndef COMMON_OS_CHANNEL_H
#define COMMON_OS_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "common/base/must.h"
#include "common/os/imsg.h"
#include "proto/edge.h"

struct channel;
struct channel_server;
struct loop;

enum {
	CHANNEL_HIGH_BYTES = 8 * 1024 * 1024, /* above: channel_full() */
	CHANNEL_LOW_BYTES = 2 * 1024 * 1024,  /* below: on_drain() */
	CHANNEL_MAX_BYTES = 64 * 1024 * 1024, /* above: channel_send fails with ERR_FULL */
	CHANNEL_BATCH_BYTES = 64 * 1024,      /* above: written at once, not at the end of the turn */
	CHANNEL_TURN_MESSAGES = 256,          /* messages handled per turn of the loop */
	CHANNEL_PEERS_MAX = 32,               /* connections one server holds */
	CHANNEL_HELLO_TIMEOUT_MS = 5000,
	CHANNEL_RETRY_MIN_MS = 50,  /* a sibling restarts in about that time */
	CHANNEL_RETRY_MAX_MS = 400, /* a local connect costs microseconds; outages end when it succeeds */
	CHANNEL_NAME_SIZE = 32,     /* of a daemon's name, with NUL */
	CHANNEL_EDGES_MAX = 8,      /* edges one server serves */
	CHANNEL_ALLOWED_MAX = 16,   /* uids one server allows */
};

/* Handles one message that was checked against the table.  0, or an error: the connection is closed
 * with that reason and the handler's message name in the log. */
typedef int channel_handler(void *ctx, struct channel *ch, struct imsg *m);

struct channel_conf {
	const struct edge *edge;
	channel_handler *const *handlers; /* indexed by message number; NULL: not received here */
	size_t handler_count;
	/* Hello was exchanged: send your snapshot.  0, or an error that closes the connection. */
	int (*on_up)(void *ctx, struct channel *ch);
	/* The connection is gone; requests in flight over it are lost.  Called once after each on_up (also
	 * one that failed), never inside a handler, and not by channel_free(). */
	void (*on_down)(void *ctx, struct channel *ch, int err);
	/* The connection ended before on_up; a client that reconnects goes on trying.  May be NULL. */
	void (*on_fail)(void *ctx, struct channel *ch, int err);
	/* What is queued fell below the low mark after channel_full() was true.  May be NULL. */
	void (*on_drain)(void *ctx, struct channel *ch);
	void *ctx;
	/* Marks of its own, below these; 0: CHANNEL_HIGH_BYTES and CHANNEL_LOW_BYTES.  With them being full
	 * is how the user paces itself, and is not counted as overload. */
	size_t high_bytes, low_bytes;
};

/*
 * Client side: connects to the socket at path and keeps reconnecting.  self is the name of this
 * daemon for the hello.  The channel lives until channel_free(); path and self are copied, what conf
 * points at is borrowed.  The server's SO_PEERCRED uid must be 0, our own, or the one given to
 * channel_expect().  NULL: no memory, or path is too long for a socket.
 * Between daemons use daemon_connect(), which knows the sibling's user.
 */
struct channel *channel_connect(
    struct loop *l, const char *path, const char *self, const struct channel_conf *conf) MUST_USE;

/* The uid that the server may have beside root and our own. */
void channel_expect(struct channel *ch, uid_t uid);

enum channel_side { CHANNEL_CLIENT, CHANNEL_SERVER };
/* A channel over one end of a socketpair (taken over, and closed if NULL is returned), with a process
 * that we made: no reconnect, no check of uids.  After on_down it stays down until channel_free(). */
struct channel *channel_attach(struct loop *l, int fd, enum channel_side side, const char *self,
    const struct channel_conf *conf) MUST_USE;

/* Server side: accepts on listen_fd (taken over) and serves the given edges. */
struct channel_server *channel_serve(struct loop *l, int listen_fd, const char *self,
    const struct channel_conf *confs, size_t conf_count) MUST_USE;
/* Who may connect: uids (copied) beside root and our own; call before the loop runs. */
int channel_server_allow(struct channel_server *s, const uid_t *uids, size_t count) MUST_USE;
/* Of all these only uid (beside root and our own) may speak the edge; (uid_t)-1: all of them, as before. */
void channel_server_reserve(struct channel_server *s, const struct edge *edge, uid_t uid);
/* Ends all connections (on_down is called for each) and closes the listening socket.  Not inside a handler.
 */
void channel_server_free(struct channel_server *s);

/*
 * Sends one message (queued: it is written at the end of the turn or when CHANNEL_BATCH_BYTES wait).
 * 0; ERR_STATE when not up; ERR_FULL above CHANNEL_MAX_BYTES; ERR_NOMEM; a message that the
 * edge's table forbids in this direction or size is our bug (MUST).  fd (-1: none) is taken over
 * unless an error is returned.
 */
int channel_send(struct channel *ch, uint32_t type, uint32_t peerid, const void *body, size_t len) MUST_USE;
int channel_sendv(struct channel *ch, uint32_t type, uint32_t peerid, int fd, const struct iovec *iov,
    int iov_count) MUST_USE;

bool channel_up(const struct channel *ch);
bool channel_full(const struct channel *ch);
size_t channel_queued_bytes(const struct channel *ch);
/* Stop and resume reading (and thereby the other side). */
void channel_pause(struct channel *ch);
void channel_resume(struct channel *ch);
/* Name of the daemon at the other end, "?" before hello.  Borrowed. */
const char *channel_peer(const struct channel *ch);
/* The user that its process runs as; (uid_t)-1 if it is not connected by a Unix socket. */
uid_t channel_uid(const struct channel *ch);
/* Ends this connection at the end of the turn (it is down from now on, and no handler is called any
 * more); a client reconnects.  err is logged and counted. */
void channel_close(struct channel *ch, int err);
/* Frees a client or attached channel for good, also inside its own handlers (server connections are
 * freed by the server).  NULL is fine. */
void channel_free(struct channel *ch);
/* A slot for the user's per-connection state (server side). */
void channel_set_data(struct channel *ch, void *data);
void *channel_data(const struct channel *ch);

/* Creates, binds (mode 0660) and listens on a Unix socket; a stale one is replaced, one that is served
 * is not (errno EADDRINUSE).  A non-blocking fd, or ERR_IO with errno. */
int channel_listen_fd(const char *path);

#endif
