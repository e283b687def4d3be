/*
 * call: one call of the API, between the front-end that a client speaks to (h2.c, control.c) and what
 * does the work (relay.c, status.c, events.c, health.c, reflection.c).
 *
 * The front-end embeds a struct call in its own object, starts it, feeds it request messages while
 * call_ready(), and says when the client half-closes or goes away.  The work answers with call_send()
 * and ends the call with call_finish(), after which nothing is called for it any more.  Memory stays the
 * front-end's.
 */
#ifndef GATEWAYD_CALL_H
#define GATEWAYD_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/base/mono.h"
#include "common/base/must.h"
#include "gatewayd/backend.h"
#include "gatewayd/core/bearer.h"
#include "gatewayd/core/credit.h"
#include "gatewayd/core/deadline.h"
#include "gatewayd/core/grpc_status.h"
#include "gatewayd/method.h"

struct call;
struct gateway;
struct principal;

struct call_front {
	/* Queues one response message.  ERR_LIMIT: the client does not take them; ERR_NOMEM. */
	int (*send)(struct call *c, const void *data, size_t len);
	/* Sends the status after what is queued.  message: borrowed, "" for none. */
	void (*finish)(struct call *c, enum grpc_status status, const char *message);
	/* call_ready() has become true (hold false) or false. */
	void (*hold)(struct call *c, bool hold);
	/* Response bytes that the client has not taken. */
	size_t (*queued)(const struct call *c);
	/* More of them than is good; call_drained() follows when they are few again. */
	bool (*full)(const struct call *c);
};

struct call {
	struct gateway *gw;
	const struct call_front *front;
	const struct method *method;  /* NULL: not started */
	void *state;                  /* of the work, freed by its ended() */
	struct request request;       /* of relays */
	struct credit credit;         /* of subscriptions */
	unsigned held_by;             /* of relays: why the call is held */
	const char *peer;             /* who calls, for logs; borrowed from the front-end */
	const struct principal *who;  /* likewise; NULL: not known */
	char token[BEARER_NAME_SIZE]; /* whose token the call showed; "" for none */
	struct deadline deadline;
	struct mono ends; /* the deadline that the client gave */
	bool expiring;    /* consensusd was asked to end it */
	struct mono started;
	unsigned message_count; /* request messages */
	bool half_closed, ended;
	bool operator; /* over the control socket */
	bool held;     /* the work can't take request messages now */
	TAILQ_ENTRY(call) entry;
};

struct calls; /* all calls of the process: deadlines, counters */

struct calls *calls_new(struct gateway *gw) MUST_USE;
/* Ends all calls. */
void calls_free(struct calls *cs);
size_t calls_count(const struct calls *cs);
/* Ends all calls with a status, when the daemon stops. */
void calls_finish_all(struct calls *cs, enum grpc_status status, const char *message);

/* Ends the calls that would not end by themselves (methods that are endless). */
void calls_finish_endless(struct calls *cs, enum grpc_status status, const char *message);

/* Starts a call: c is zeroed by the front-end before.  timeout_us: from the client, negative for none. */
void call_start(struct call *c, struct gateway *gw, const struct call_front *front, const struct method *m,
    int64_t timeout_us);
/* True while the call takes request messages. */
bool call_ready(const struct call *c);
/* One request message (borrowed); call_ready() must be true.  May end the call. */
void call_message(struct call *c, const void *data, size_t len);
/* The client has sent all its messages.  May end the call. */
void call_half_close(struct call *c);
/* The client has taken what it had to, after full() was true. */
void call_drained(struct call *c);
/* The client went away or gave up; the front-end is not called back. */
void call_cancel(struct call *c);

/* For the work: one response message.  If it can't be queued the call ends, and false comes back. */
bool call_send(struct call *c, const void *data, size_t len);
/* Ends the call.  Nothing happens if it has ended already. */
void call_finish(struct call *c, enum grpc_status status, const char *message);
void call_fail(struct call *c, enum grpc_status status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Stops or resumes request messages. */
void call_hold(struct call *c, bool hold);
size_t call_queued(const struct call *c);
bool call_full(const struct call *c);

#endif
