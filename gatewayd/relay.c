/*
 * relay: see relay.h.
 *
 * A call is held while consensusd asked for it (PUBLISH_HOLD) or while the channel to it is full: the
 * front-end then stops reading, and HTTP/2 flow control carries the pressure to the publisher.
 */
#include "gatewayd/relay.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/id.h"
#include "gatewayd/call.h"
#include "gatewayd/core/wire.h"
#include "gatewayd/gateway.h"
#include "gatewayd/gather.h"
#include "gatewayd/topology.h"
#include "proto/mesh.pb.h"
#include "proto/messages.h"
#include "proto/pb.h"

/* Bits of c->held_by. */
enum { HELD_BY_SIBLING = 1, HELD_BY_CHANNEL = 2 };

enum { WINDOW_BYTES_MAX = 16 }; /* of an encoded window that only has messages */

/* The same in all requests that have one. */
enum { RELAY_MESH_ID_FIELD = mesh_v1_SeedMeshReq_mesh_id_tag };

static struct call *
call_of(struct request *r)
{
	return (struct call *)(void *)((char *)r - offsetof(struct call, request));
}

static void
hold_set(struct call *c, unsigned bit, bool on)
{
	c->held_by = on ? c->held_by | bit : c->held_by & ~bit;
	call_hold(c, c->held_by != 0);
}

static void
relay_refused(struct call *c, int rc)
{
	switch (rc) {
	case ERR_UNAVAIL:
		call_fail(c, GRPC_UNAVAILABLE, "consensusd is not running on this node; try again");
		break;
	case ERR_FULL:
		call_fail(c, GRPC_RESOURCE_EXHAUSTED,
		    "consensusd is not keeping up: too much waits for it; try again");
		break;
	default:
		call_fail(c, GRPC_RESOURCE_EXHAUSTED, "gatewayd: %s", err_text(rc));
	}
}

/* --- the window of a subscription --- */

/* Appends a window of so many messages, also 0: in a merge of two the later one wins, and bytes stay. */
static int
window_put(struct buf *b, int64_t messages)
{
	uint8_t mem[WINDOW_BYTES_MAX];
	struct buf w;
	int rc;

	buf_init_fixed(&w, mem, sizeof(mem));
	rc = buf_put_u8(&w, mesh_v1_WindowUpdate_messages_tag << 3 | WIRE_VARINT);
	if (rc == 0)
		rc = wire_put_number(&w, (uint64_t)messages);
	return rc != 0 ? rc
		       : wire_put_bytes(b, mesh_v1_StreamSelector_window_tag, buf_head(&w), buf_left(&w));
}

/* If the selector has a window: copies it to b with what is passed on of it, and is 1.  Else 0. */
static int
window_limit(struct call *c, struct buf *b, const uint8_t *data, size_t len)
{
	const uint8_t *window;
	uint64_t messages;
	size_t window_len;
	int rc = wire_find_bytes(data, len, mesh_v1_StreamSelector_window_tag, &window, &window_len);

	if (rc == 1)
		rc = wire_find_varint(window, window_len, mesh_v1_WindowUpdate_messages_tag, &messages);
	else
		return rc;
	/* What is wrong is passed on as it is: consensusd says what. */
	if (rc < 0 || (int64_t)messages < 0)
		return 0;
	rc = buf_put_bytes(b, data, len);
	if (rc == 0)
		rc = window_put(b, credit_grant(&c->credit, (int64_t)messages));
	return rc == 0 ? 1 : rc;
}

/* Passes on what is owed, if the client keeps up. */
static void
window_refill(struct call *c)
{
	uint8_t mem[2 * WINDOW_BYTES_MAX];
	struct buf b;
	int64_t n;
	int rc;

	if (!c->credit.granted || call_full(c) || (n = credit_refill(&c->credit)) == 0)
		return;
	buf_init_fixed(&b, mem, sizeof(mem));
	rc = window_put(&b, n);
	if (rc == 0)
		rc = backend_more(&c->request, c->method->msg_more, buf_head(&b), buf_left(&b));
	if (rc != 0)
		relay_refused(c, rc);
}

/* --- answers --- */

static void
relay_reply(struct request *r, const uint8_t *data, size_t len)
{
	struct call *c = call_of(r);

	if (c->method->then != NULL)
		c->method->then(c);
	else if (call_send(c, data, len))
		call_finish(c, GRPC_OK, "");
}

static void
relay_item(struct request *r, const uint8_t *data, size_t len)
{
	struct call *c = call_of(r);

	if (!call_send(c, data, len) || !c->method->credit)
		return;
	credit_use(&c->credit, len);
	window_refill(c);
}

static void
relay_done(struct request *r, uint32_t code, const char *message)
{
	struct call *c = call_of(r);

	/* OK without the one answer that a unary call has would leave its client without an explanation. */
	if (code == GRPC_OK && !c->method->server_stream) {
		call_fail(c, GRPC_INTERNAL, "consensusd ended %s without an answer", c->method->path);
		return;
	}
	call_finish(c, grpc_status_valid(code), message);
}

static void
relay_lost(struct request *r)
{
	call_fail(call_of(r), GRPC_UNAVAILABLE,
	    "consensusd went away during the call: what it had not answered may or may not be done");
}

static void
relay_hold(struct request *r, bool hold)
{
	hold_set(call_of(r), HELD_BY_SIBLING, hold);
}

static void
relay_drained(struct request *r)
{
	hold_set(call_of(r), HELD_BY_CHANNEL, false);
}

static const struct request_ops request_ops = {
    .reply = relay_reply,
    .item = relay_item,
    .done = relay_done,
    .lost = relay_lost,
    .hold = relay_hold,
    .drained = relay_drained,
};

/* --- requests --- */

/* Sends a message, the first one of the call as a new request. */
static int
relay_send(struct call *c, const uint8_t *data, size_t len)
{
	struct backend *b = &c->gw->backends[BACKEND_CONSENSUS];
	char client[AUTH_CLIENT_SIZE];
	int rc;

	if (c->message_count > 1)
		return backend_more(&c->request, c->method->msg_more, data, len);
	auth_client(c->who, c->token, client);
	if ((rc = backend_who(b, client)) != 0)
		return rc;
	return backend_request(b, &c->request, &request_ops, c->method->msg_first, data, len);
}

static int
selector_send(struct call *c, const uint8_t *data, size_t len)
{
	struct buf b;
	int rc;

	buf_init(&b, len + 2 * WINDOW_BYTES_MAX);
	rc = window_limit(c, &b, data, len);
	if (rc == 1)
		rc = relay_send(c, buf_head(&b), buf_left(&b));
	else if (rc == 0)
		rc = relay_send(c, data, len);
	buf_fini(&b);
	return rc;
}

/* False: the message is for another mesh, and the call has ended. */
static bool
relay_is_ours(struct call *c, const uint8_t *data, size_t len)
{
	char text[ULID_TEXT_SIZE] = "";
	const uint8_t *id;
	size_t id_len;

	if (!c->method->mesh_id || c->message_count > 1 ||
	    wire_find_bytes(data, len, RELAY_MESH_ID_FIELD, &id, &id_len) != 1)
		return true;
	/* It was decoded once, before it came here: longer ones are none. */
	MUST(id_len < sizeof(text));
	memcpy(text, id, id_len);
	return topology_mesh_is_ours(c, text);
}

/* Streams that go before all client data are for operators.  False: this is one, and the call has ended. */
static bool
relay_may_open(struct call *c, const uint8_t *data, size_t len)
{
	mesh_v1_OpenClientDataStreamReq req = mesh_v1_OpenClientDataStreamReq_init_zero;

	if (c->operator|| c->method->msg_first != GC_OPEN_STREAM ||
		pb_unpack(data, len, mesh_v1_OpenClientDataStreamReq_fields, &req) != 0 ||
	    (strcmp(req.qos, "system") != 0 && strcmp(req.qos, "db") != 0))
		return true;
	call_fail(c, GRPC_PERMISSION_DENIED,
	    "qos '%s' is for operators: such a stream is opened over the control socket of the node",
	    req.qos);
	return false;
}

static void
relay_message(struct call *c, const uint8_t *data, size_t len)
{
	struct backend *b = &c->gw->backends[BACKEND_CONSENSUS];
	size_t max = method_max_bytes(c->method, c->message_count == 1);
	int rc;

	if (max == 0)
		len = 0; /* an Empty: what a newer client may say in it means nothing here */
	if (c->method->credit)
		max -= 2 * WINDOW_BYTES_MAX;
	if (len > max) {
		call_fail(c, GRPC_RESOURCE_EXHAUSTED,
		    "a request message of %s may have %zu bytes, this one has %zu", c->method->path, max,
		    len);
		return;
	}
	if (!relay_is_ours(c, data, len) || !relay_may_open(c, data, len))
		return;
	rc = c->method->credit ? selector_send(c, data, len) : relay_send(c, data, len);
	if (rc != 0) {
		relay_refused(c, rc);
		return;
	}
	if (c->method->client_stream && backend_full(b)) {
		backend_wait(&c->request);
		hold_set(c, HELD_BY_CHANNEL, true);
	}
}

static void
relay_half_close(struct call *c)
{
	int rc;

	if (c->message_count == 0) {
		/* A stream of no messages: nothing was begun at consensusd. */
		if (c->method->msg_end != 0)
			call_finish(c, GRPC_OK, "");
		else
			call_fail(c, GRPC_INVALID_ARGUMENT, "%s needs a first message", c->method->path);
		return;
	}
	if (c->method->msg_end == 0)
		return;
	if ((rc = backend_more(&c->request, c->method->msg_end, NULL, 0)) != 0)
		relay_refused(c, rc);
}

static void
relay_ended(struct call *c)
{
	if (c->request.backend != NULL)
		backend_cancel(&c->request);
	gather_ended(c); /* of what comes after the reply */
}

const struct call_ops relay_ops = {
    .message = relay_message,
    .half_close = relay_half_close,
    .drained = window_refill,
    .ended = relay_ended,
};
