/*
 * method: the one table of the API's methods, for gRPC and meshctl alike.
 */
#ifndef GATEWAYD_METHOD_H
#define GATEWAYD_METHOD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/pb.h"

struct call;

/* What a kind of method does with its calls.  The front-end has checked the request's framing, size and
 * number of messages; method_valid() its protobuf. */
struct call_ops {
	/* One request message (borrowed).  May end the call. */
	void (*message)(struct call *c, const uint8_t *data, size_t len);
	/* The client sends no more; may be NULL. */
	void (*half_close)(struct call *c);
	/* The client has taken answers that call_full() was about; may be NULL. */
	void (*drained)(struct call *c);
	/* The call is over, whoever ended it: give up what is in flight, free c->state.  May be NULL. */
	void (*ended)(struct call *c);
};

enum method_auth {
	METHOD_OPEN,   /* anyone who can connect: health checks of load balancers */
	METHOD_CLIENT, /* a client certificate, a bearer token, or the Unix socket */
};

struct method {
	const char *path; /* "/mesh.v1.MeshService/GetMeshStatus" */
	bool client_stream, server_stream;
	bool credit;  /* the client grants a window (StreamSelector.window) */
	bool endless; /* goes on until the client ends it */
	bool mesh_id; /* field 1 of its first message, if set, must be this node's mesh */
	enum method_auth auth;
	const struct call_ops *ops;
	/* For calls that go to consensusd: message numbers of the first request message, later ones (0:
	 * none may come) and the half-close (0: not told). */
	uint32_t msg_first, msg_more, msg_end;
	/* Asks consensusd, shortly before the deadline, to end the call and say how far it is; 0: it is not
	 * asked. */
	uint32_t msg_expire;
	/* Of relays: puts the answer together once consensusd has replied that it is done; NULL: its reply is
	 * the answer. */
	void (*then)(struct call *c);
	const pb_msgdesc_t *request; /* the request's type; NULL: the ops look at it themselves */
	size_t request_size;
};

/* NULL if there is no such method. */
const struct method *method_find(const char *path, size_t len);
/* True if the path names a service that exists ("/mesh.v1.MeshService/…"). */
bool method_service_known(const char *path, size_t len);
/* The i-th method, NULL after the last. */
const struct method *method_at(size_t i);
/* The largest request message that consensusd's edge carries for this method (first or later one). */
size_t method_max_bytes(const struct method *m, bool first);
/* Decodes a request message and throws it away: true if it is one of the method's type. */
bool method_valid(const struct method *m, const uint8_t *data, size_t len);

#endif
