/*
 * relay: see relay.h.
 *
 * A call is held while consensusd asked for it (PUBLISH_HOLD) or while the channel to it is full: the
 * front-end then stops reading, and HTTP/2 flow control carries the pressure to the publisher.
 */
#include "gatewayd/relay.h"

#include "common/base/err.h"
#include "gatewayd/call.h"
#include "gatewayd/gateway.h"

/* c->state is one of these two bits of why a call is held; no memory is behind it. */
enum { HELD_BY_SIBLING = 1, HELD_BY_CHANNEL = 2 };

static struct call *
call_of(struct request *r)
{
	return (struct call *)(void *)((char *)r - offsetof(struct call, request));
}

static void
hold_set(struct call *c, uintptr_t bit, bool on)
{
	uintptr_t bits = (uintptr_t)c->state;

	bits = on ? bits | bit : bits & ~bit;
	c->state = (void *)bits;
	call_hold(c, bits != 0);
}

static void
relay_reply(struct request *r, const uint8_t *data, size_t len)
{
	struct call *c = call_of(r);

	if (call_send(c, data, len))
		call_finish(c, GRPC_OK, "");
}

static void
relay_item(struct request *r, const uint8_t *data, size_t len)
{
	call_send(call_of(r), data, len);
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

static void
relay_message(struct call *c, const uint8_t *data, size_t len)
{
	struct backend *b = &c->gw->backends[BACKEND_CONSENSUS];
	bool first = c->message_count == 1;
	int rc;

	if (len > method_max_bytes(c->method, first)) {
		call_fail(c, GRPC_RESOURCE_EXHAUSTED,
		    "a request message of %s may have %zu bytes, this one has %zu", c->method->path,
		    method_max_bytes(c->method, first), len);
		return;
	}
	rc = first ? backend_request(b, &c->request, &request_ops, c->method->msg_first, data, len)
		   : backend_more(&c->request, c->method->msg_more, data, len);
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
}

const struct call_ops relay_ops = {
    .message = relay_message,
    .half_close = relay_half_close,
    .ended = relay_ended,
};
