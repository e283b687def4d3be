/* control: see control.h. */
#include "gatewayd/control.h"

#include <stdio.h>
#include <string.h>
#include <sys/queue.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/channel.h"
#include "gatewayd/auth.h"
#include "gatewayd/call.h"
#include "gatewayd/gateway.h"
#include "gatewayd/gateway_metrics.h"
#include "gatewayd/limits.h"
#include "proto/edge.h"
#include "proto/ipc.pb.h"
#include "proto/messages.h"
#include "proto/pb.h"

#define EDGE_DEF "proto/control_gateway.def"
#define EDGE_HANDLERS control_handlers
#include "proto/edge_server.h"

struct control_peer;

struct control_call {
	struct call call;
	struct control_peer *peer;
	uint32_t id;
	struct buf held; /* u32 length and bytes: messages that came after the call was held */
	size_t accounted;
	bool half_closed; /* told after what is held */
	bool busy;        /* inside a function that frees it when it has ended */
	LIST_ENTRY(control_call) entry;
};

struct control_peer {
	struct control *ctl;
	struct channel *ch;
	size_t call_count;
	struct principal who;
	LIST_HEAD(, control_call) calls;
	LIST_ENTRY(control_peer) entry;
};

struct control {
	struct gateway *gw;
	struct channel_conf conf;
	struct channel_server *server;
	LIST_HEAD(, control_peer) peers;
};

static struct control_call *
control_call_of(struct call *c)
{
	return (struct control_call *)(void *)((char *)c - offsetof(struct control_call, call));
}

static void
control_call_free(struct control_call *cc)
{
	call_cancel(&cc->call);
	LIST_REMOVE(cc, entry);
	cc->peer->call_count--;
	buf_fini(&cc->held);
	MUST(gateway_memory(cc->peer->ctl->gw, &cc->accounted, 0) == 0);
	mem_free(cc);
}

/* --- what the call wants from its front-end --- */

static int
front_send(struct call *c, const void *data, size_t len)
{
	struct control_call *cc = control_call_of(c);
	int rc;

	if (len > edge_control_gateway.msgs[CG_MESSAGE_IN].max_bytes)
		return ERR_LIMIT;
	rc = channel_send(cc->peer->ch, CG_MESSAGE_IN, cc->id, data, len);
	return rc == ERR_FULL ? ERR_LIMIT : rc;
}

/* The status is the last message of a call; a channel that can't take it is on its way out. */
static void
status_send(struct channel *ch, uint32_t id, enum grpc_status status, const char *message)
{
	mesh_ipc_CallStatus st = mesh_ipc_CallStatus_init_zero;
	uint8_t mem[sizeof(st.message) + 32];
	struct buf b;

	st.code = status;
	snprintf(st.message, sizeof(st.message), "%s", message);
	buf_init_fixed(&b, mem, sizeof(mem));
	if (pb_pack(&b, mesh_ipc_CallStatus_fields, &st) != 0 ||
	    channel_send(ch, CG_STATUS, id, buf_head(&b), buf_left(&b)) != 0)
		channel_close(ch, ERR_FULL);
}

static void
front_finish(struct call *c, enum grpc_status status, const char *message)
{
	struct control_call *cc = control_call_of(c);

	status_send(cc->peer->ch, cc->id, status, message);
	if (!cc->busy)
		control_call_free(cc);
}

static void
hold_send(struct control_call *cc, bool hold)
{
	mesh_ipc_Hold h = mesh_ipc_Hold_init_zero;
	uint8_t mem[32];
	struct buf b;

	h.hold = hold;
	buf_init_fixed(&b, mem, sizeof(mem));
	if (pb_pack(&b, mesh_ipc_Hold_fields, &h) != 0 ||
	    channel_send(cc->peer->ch, CG_HOLD, cc->id, buf_head(&b), buf_left(&b)) != 0)
		channel_close(cc->peer->ch, ERR_FULL);
}

/* Feeds what was kept while the call was held. */
static void
held_feed(struct control_call *cc)
{
	const uint8_t *data;
	uint32_t len;

	while (call_ready(&cc->call) && buf_left(&cc->held) > 0) {
		MUST(buf_get_u32(&cc->held, &len) == 0 && buf_get_ref(&cc->held, len, &data) == 0);
		call_message(&cc->call, data, len);
	}
	if (buf_left(&cc->held) > 0 || cc->call.ended)
		return;
	buf_fini(&cc->held);
	buf_init(&cc->held, CONTROL_HELD_MAX_BYTES);
	MUST(gateway_memory(cc->peer->ctl->gw, &cc->accounted, 0) == 0);
	if (cc->half_closed)
		call_half_close(&cc->call);
}

/* Frees the call if it ended while it was busy. */
static void
busy_end(struct control_call *cc)
{
	cc->busy = false;
	if (cc->call.ended)
		control_call_free(cc);
}

static void
front_hold(struct call *c, bool hold)
{
	struct control_call *cc = control_call_of(c);
	bool outer = cc->busy;

	if (hold) {
		hold_send(cc, true);
		return;
	}
	cc->busy = true;
	held_feed(cc);
	/* Only when nothing is kept here any more: else each hold and release would add to it. */
	if (!cc->call.ended && call_ready(&cc->call) && buf_left(&cc->held) == 0)
		hold_send(cc, false);
	if (!outer)
		busy_end(cc);
}

static size_t
front_queued(const struct call *c)
{
	const struct control_call *cc =
	    (const struct control_call *)(const void *)((const char *)c -
							offsetof(struct control_call, call));

	return channel_queued_bytes(cc->peer->ch);
}

static bool
front_full(const struct call *c)
{
	const struct control_call *cc =
	    (const struct control_call *)(const void *)((const char *)c -
							offsetof(struct control_call, call));

	return channel_full(cc->peer->ch);
}

static const struct call_front front = {.send = front_send,
    .finish = front_finish,
    .hold = front_hold,
    .queued = front_queued,
    .full = front_full};

/* --- what meshctl sends --- */

static struct control_call *
call_find(struct control_peer *p, uint32_t id)
{
	struct control_call *cc;

	LIST_FOREACH (cc, &p->calls, entry)
		if (cc->id == id)
			return cc;
	return NULL;
}

static struct control_call *
call_new(struct control_peer *p, uint32_t id)
{
	struct control_call *cc = mem_calloc(1, sizeof(*cc));

	if (cc == NULL)
		return NULL;
	cc->peer = p;
	cc->id = id;
	cc->call.operator= true;
	buf_init(&cc->held, CONTROL_HELD_MAX_BYTES);
	LIST_INSERT_HEAD(&p->calls, cc, entry);
	p->call_count++;
	return cc;
}

static void
message_keep(struct control_call *cc, const uint8_t *data, size_t len)
{
	struct gateway *gw = cc->peer->ctl->gw;
	int rc;

	buf_compact(&cc->held);
	rc = buf_put_u32(&cc->held, (uint32_t)len);
	if (rc == 0)
		rc = buf_put_bytes(&cc->held, data, len);
	if (rc == 0)
		rc = gateway_memory(gw, &cc->accounted, cc->held.cap);
	if (rc != 0)
		call_fail(&cc->call, GRPC_RESOURCE_EXHAUSTED,
		    "the call is held, and too many messages were sent on: %s", err_text(rc));
}

static void
call_begin(struct control_call *cc, const struct method *m, const uint8_t *data, size_t len)
{
	cc->busy = true;
	cc->call.peer = channel_peer(cc->peer->ch);
	cc->call.who = &cc->peer->who;
	call_start(&cc->call, cc->peer->ctl->gw, &front, m, -1);
	if (!cc->call.ended)
		call_message(&cc->call, data, len);
	if (!cc->call.ended && !m->client_stream)
		call_half_close(&cc->call);
	busy_end(cc);
}

static int
on_call(void *ctx, struct channel *ch, struct imsg *m)
{
	struct control_peer *p = channel_data(ch);
	const struct method *method;
	struct control_call *cc;
	char path[256];
	struct buf b;

	(void)ctx;
	buf_view(&b, m->body, m->len);
	if (buf_get_str8(&b, path, sizeof(path)) != 0)
		return ERR_FORMAT;
	if (call_find(p, m->peerid) != NULL)
		return ERR_EXISTS;
	if ((method = method_find(path, strlen(path))) == NULL) {
		status_send(ch, m->peerid, GRPC_UNIMPLEMENTED,
		    "gatewayd does not know this method: is meshctl newer?");
		return 0;
	}
	if (p->call_count >= CONTROL_CALLS_MAX || (cc = call_new(p, m->peerid)) == NULL) {
		status_send(ch, m->peerid, GRPC_RESOURCE_EXHAUSTED, "too many calls on one connection");
		return 0;
	}
	call_begin(cc, method, buf_head(&b), buf_left(&b));
	return 0;
}

/* A message for a call that has just ended crosses its status on the way: it is dropped. */
static int
on_message_out(void *ctx, struct channel *ch, struct imsg *m)
{
	struct control_call *cc = call_find(channel_data(ch), m->peerid);

	(void)ctx;
	if (cc == NULL)
		return 0;
	if (cc->half_closed)
		return ERR_STATE;
	cc->busy = true;
	if (call_ready(&cc->call) && buf_left(&cc->held) == 0)
		call_message(&cc->call, m->body, m->len);
	else
		message_keep(cc, m->body, m->len);
	busy_end(cc);
	return 0;
}

static int
on_half_close(void *ctx, struct channel *ch, struct imsg *m)
{
	struct control_call *cc = call_find(channel_data(ch), m->peerid);

	(void)ctx;
	if (cc == NULL)
		return 0;
	cc->half_closed = true;
	cc->busy = true;
	if (buf_left(&cc->held) == 0)
		call_half_close(&cc->call);
	busy_end(cc);
	return 0;
}

static int
on_cancel(void *ctx, struct channel *ch, struct imsg *m)
{
	struct control_call *cc = call_find(channel_data(ch), m->peerid);

	(void)ctx;
	if (cc != NULL)
		control_call_free(cc);
	return 0;
}

/* --- connections --- */

static int
on_up(void *ctx, struct channel *ch)
{
	struct control *ctl = ctx;
	struct control_peer *p = mem_calloc(1, sizeof(*p));

	if (p == NULL)
		return ERR_NOMEM;
	p->ctl = ctl;
	p->ch = ch;
	p->who.kind = PRINCIPAL_LOCAL;
	snprintf(p->who.name, sizeof(p->who.name), "uid %lu", (unsigned long)channel_uid(ch));
	LIST_INIT(&p->calls);
	LIST_INSERT_HEAD(&ctl->peers, p, entry);
	channel_set_data(ch, p);
	return 0;
}

/* The client has taken answers: its calls may get more. */
static void
on_drain(void *ctx, struct channel *ch)
{
	struct control_peer *p = channel_data(ch);
	struct control_call *cc, *next;

	(void)ctx;
	for (cc = p != NULL ? LIST_FIRST(&p->calls) : NULL; cc != NULL; cc = next) {
		next = LIST_NEXT(cc, entry);
		call_drained(&cc->call);
	}
}

static void
peer_free(struct control_peer *p)
{
	struct control_call *cc;

	while ((cc = LIST_FIRST(&p->calls)) != NULL)
		control_call_free(cc);
	LIST_REMOVE(p, entry);
	channel_set_data(p->ch, NULL);
	mem_free(p);
}

static void
on_down(void *ctx, struct channel *ch, int err)
{
	struct control_peer *p = channel_data(ch);

	(void)ctx, (void)err;
	if (p != NULL)
		peer_free(p);
}

struct control *
control_new(struct gateway *gw, int listen_fd)
{
	struct control *ctl = mem_calloc(1, sizeof(*ctl));

	if (ctl == NULL)
		return NULL;
	ctl->gw = gw;
	LIST_INIT(&ctl->peers);
	ctl->conf = (struct channel_conf){
	    .edge = &edge_control_gateway,
	    .handlers = control_handlers,
	    .handler_count = sizeof(control_handlers) / sizeof(control_handlers[0]),
	    .on_up = on_up,
	    .on_down = on_down,
	    .on_drain = on_drain,
	    .ctx = ctl,
	};
	/* Root and gatewayd's own user may connect: no others are allowed here. */
	ctl->server = channel_serve(gw->loop, listen_fd, "gatewayd", &ctl->conf, 1);
	if (ctl->server == NULL) {
		mem_free(ctl);
		return NULL;
	}
	return ctl;
}

void
control_free(struct control *ctl)
{
	struct control_peer *p;

	if (ctl == NULL)
		return;
	while ((p = LIST_FIRST(&ctl->peers)) != NULL)
		peer_free(p);
	channel_server_free(ctl->server);
	mem_free(ctl);
}
