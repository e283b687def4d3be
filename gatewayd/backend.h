/*
 * backend: a sibling daemon and the requests in flight to it.
 *
 * A request is one exchange as proto/gateway_*.def describe it: a first message under a new id, perhaps
 * more, then answers until REPLY or DONE.  When the channel breaks all its requests are lost, each is
 * told so.  The three edges are spoken by api_consensus.c, api_router.c and api_transport.c; what they
 * have in common is here.
 */
#ifndef GATEWAYD_BACKEND_H
#define GATEWAYD_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/base/must.h"
#include "common/os/channel.h"
#include "gatewayd/auth.h"

struct gateway;
struct request;

enum backend_id { BACKEND_CONSENSUS, BACKEND_ROUTER, BACKEND_TRANSPORT, BACKEND_COUNT };

/* What a request's owner is told.  REPLY, DONE and lost end it: the request is free before the call. */
struct request_ops {
	void (*reply)(struct request *r, const uint8_t *data, size_t len);
	void (*item)(struct request *r, const uint8_t *data, size_t len);
	void (*done)(struct request *r, uint32_t code, const char *message);
	void (*lost)(struct request *r);            /* the daemon went away */
	void (*hold)(struct request *r, bool hold); /* stop or go on sending; may be NULL */
	void (*drained)(struct request *r);         /* after backend_full(): room again; may be NULL */
};

struct request {                       /* embedded by its owner */
	const struct request_ops *ops; /* NULL: not in flight */
	struct backend *backend;
	uint32_t id;
	bool waits; /* wants drained() */
	LIST_ENTRY(request) entry;
};

struct backend {
	struct gateway *gw;
	const char *name; /* "consensusd" */
	enum backend_id id;
	struct channel *channel; /* NULL until backend_start() */
	struct channel_conf conf;
	uint32_t msg_cancel; /* 0: the edge has none */
	uint32_t msg_node_status, msg_metrics;
	uint32_t msg_who;              /* 0: the edge has none */
	char client[AUTH_CLIENT_SIZE]; /* whose the calls are that begin now, as the daemon was told */
	bool up;
	LIST_HEAD(, request) requests;
};

/* The three constructors, one per edge; they only fill in *b. */
void api_consensus_init(struct backend *b, struct gateway *gw);
void api_router_init(struct backend *b, struct gateway *gw);
void api_transport_init(struct backend *b, struct gateway *gw);

/* Connects to the sibling's socket and stays at it.  ERR_NOMEM. */
int backend_start(struct backend *b) MUST_USE;
/* Loses all requests and closes. */
void backend_fini(struct backend *b);

bool backend_up(const struct backend *b);
/* More is queued for the sibling than is good: pause whoever feeds it. */
bool backend_full(const struct backend *b);

/* Sends the first message of a request and registers it.  ERR_UNAVAIL: the sibling is not there;
 * ERR_FULL: too many requests or bytes; ERR_NOMEM.  Nothing is registered then. */
int backend_request(struct backend *b, struct request *r, const struct request_ops *ops, uint32_t msg,
    const void *data, size_t len) MUST_USE;
/* The requests that begin now are this client's (auth_client()): the daemon is told, unless it knows.  Errors
 * as above. */
int backend_who(struct backend *b, const char *client) MUST_USE;
/* A further message of a request in flight.  Errors as above; the request stays. */
int backend_more(struct request *r, uint32_t msg, const void *data, size_t len) MUST_USE;
/* Asks for drained(). */
void backend_wait(struct request *r);
/* Gives a request up: no more is heard of it, and the sibling is told where the edge can say so. */
void backend_cancel(struct request *r);

/* For the api_*.c: answers that all edges have. */
int backend_on_reply(struct backend *b, const struct imsg *m);
int backend_on_item(struct backend *b, const struct imsg *m);
int backend_on_done(struct backend *b, const struct imsg *m);
int backend_on_event(struct backend *b, const struct imsg *m);
int backend_on_hold(struct backend *b, const struct imsg *m);

#endif
