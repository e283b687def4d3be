/*
 * client: a connection to a node's gatewayd over its control socket, and API calls over it.
 *
 * The methods are those of the gRPC API.  Calls run while client_run() or client_unary() does.  A lost
 * connection ends all calls (on_status with code UNAVAILABLE) and then client_run().
 */
#ifndef MESHCTL_CLIENT_H
#define MESHCTL_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct buf;
struct client;
struct client_call;
struct ctl;
struct loop;

enum { CLIENT_MESSAGE_MAX_BYTES = 4 * 1024 * 1024 + 64 * 1024, CLIENT_CALLS_MAX = 16 };

/* gRPC status codes that meshctl tells apart. */
enum client_status { CLIENT_OK = 0, CLIENT_CANCELLED = 1, CLIENT_UNAVAILABLE = 14 };

struct client_call_ops {
	/* One answer; data is borrowed.  May be NULL. */
	void (*on_message)(void *arg, const uint8_t *data, size_t len);
	/* The call is over and its handle invalid. */
	void (*on_status)(void *arg, uint32_t code, const char *message);
	/* The node takes no more messages of this call for now, or takes them again.  May be NULL. */
	void (*on_hold)(void *arg, bool hold);
};

/*
 * Connects to the node that ctl means and exchanges hello.  retry_ms: how long to go on trying while the
 * node is away.  An exit_code; errors are printed.  SIGINT and SIGTERM end what runs from then on.
 */
int client_open(const struct ctl *ctl, int64_t retry_ms, struct client **out) MUST_USE;
/* Ends open calls without on_status.  NULL is fine. */
void client_free(struct client *c);
struct loop *client_loop(struct client *c);

/* Runs until client_stop() or until the connection is lost or a signal came. */
void client_run(struct client *c);
void client_stop(struct client *c);
bool client_lost(const struct client *c);
bool client_interrupted(const struct client *c);
/* Called when what is queued for the node has become little again after client_full(). */
void client_on_drain(struct client *c, void (*fn)(void *arg), void *arg);
bool client_full(const struct client *c);

/* One request, one answer (appended to reply).  An exit_code; errors are printed. */
int client_unary(struct client *c, const char *method, const struct buf *request, struct buf *reply) MUST_USE;

/* While quiet, client_unary() prints nothing for a node that is UNAVAILABLE: the caller tries again. */
void client_quiet(struct client *c, bool quiet);

/* Starts a call with its first message.  NULL after an error was printed.  ops and arg must outlive it. */
struct client_call *client_call(struct client *c, const char *method, const void *request, size_t len,
    const struct client_call_ops *ops, void *arg) MUST_USE;
/* A further message; an error if the connection is gone (on_status comes or came). */
int client_call_send(struct client_call *call, const void *data, size_t len);
int client_call_half_close(struct client_call *call);
/* Ends the call from our side, without on_status. */
void client_call_cancel(struct client_call *call);

/* The exit_code for a status that ended a call; prints "what: message" unless it is OK. */
int client_code(const char *what, uint32_t status, const char *message);

#endif
