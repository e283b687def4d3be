/*
 * channel_impl: what channel.c, channel_client.c and channel_server.c share.  For them alone.
 *
 * A channel is DOWN (no connection), in HELLO (connected, names not yet exchanged) or UP.  Every end of
 * a connection goes through channel_close() and is carried out by the deferred end of the turn, so
 * that no callback runs inside another and nothing is freed under a caller's feet.
 */
#ifndef COMMON_OS_CHANNEL_IMPL_H
#define COMMON_OS_CHANNEL_IMPL_H

#include <sys/queue.h>

#include "common/base/backoff.h"
#include "common/base/rng.h"
#include "common/os/channel.h"
#include "common/os/loop.h"
#include "common/os/metrics.h"

enum channel_state { CHANNEL_DOWN, CHANNEL_HELLO, CHANNEL_UP };

struct channel {
	struct loop *loop;
	struct channel_conf conf; /* server: all zero until hello names the edge */
	enum channel_side side;
	enum channel_state state;
	char self[CHANNEL_NAME_SIZE], peer[CHANNEL_NAME_SIZE];
	int fd;
	uid_t uid; /* of the other process */
	struct loop_fd *watch;
	struct imsg_queue *queue;
	struct loop_timer *timer; /* hello; client: the next attempt */
	struct loop_defer turn;   /* end of turn: write, go on handling, close */
	int close_err;            /* not 0: ends with this at the end of the turn */
	bool told_up;             /* on_up was called, on_down not yet */
	bool backlog;             /* the turn's messages were used up: more are buffered */
	bool paused, full;
	bool blocked; /* the socket takes no more: waiting until it is writable */
	bool busy;    /* one of our callbacks runs */
	bool freed;   /* channel_free() was called meanwhile */
	void *data;

	/* client */
	char path[108];
	uid_t expected;
	struct backoff backoff;
	struct mono up_at; /* MONO_NEVER: not yet */
	struct rng rng;
	bool told_failure; /* attempts fail since the last log line about it */

	/* server */
	struct channel_server *server;
	LIST_ENTRY(channel) entry;
};

struct channel_metrics {
	struct metric connections, opened, closed, refused, faults, full;
	struct metric messages_in, messages_out, bytes_in, bytes_out;
};
extern struct channel_metrics channel_metrics;
/* Registers them, once. */
void channel_metrics_add(void);

enum { CHANNEL_HELLO_MAX_BYTES = 512 };

/* A channel that is DOWN; NULL: no memory. */
struct channel *channel_new(struct loop *l, enum channel_side side, const char *self) MUST_USE;
/* Starts a connection over fd (taken over): state HELLO; a client sends its hello.  ERR_NOMEM. */
int channel_start(struct channel *ch, int fd) MUST_USE;
/* Drops the connection without callbacks. */
void channel_reset(struct channel *ch);
void channel_destroy(struct channel *ch);
/* The uid at the other end of a connected socket; ERR_IO. */
int channel_peer_uid(int fd, uid_t *out) MUST_USE;

/* The hello of ch's edge (channel_hello.c).  Errors of imsg_push(). */
int channel_hello_send(struct channel *ch) MUST_USE;
/* Handles the first message: checks it and brings ch UP.  An error closes the connection. */
int channel_hello_recv(struct channel *ch, const struct imsg *m) MUST_USE;
/* Server: chooses what ch speaks by the name in its hello.  ERR_UNKNOWN, ERR_DENIED. */
int channel_server_choose(struct channel *ch, const char *edge) MUST_USE;

/* The connection is gone and callbacks are done: a client plans the next attempt, a server forgets ch. */
void channel_client_ended(struct channel *ch);
void channel_server_ended(struct channel *ch);
/* The timer: a client's next attempt. */
void channel_client_retry(struct channel *ch);

#endif
