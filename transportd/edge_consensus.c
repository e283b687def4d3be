#include "transportd/edge_consensus.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/frame.h"
#include "common/os/channel.h"
#include "common/os/clock.h"
#include "common/os/crypto.h"
#include "common/os/daemon.h"
#include "common/os/log.h"
#include "proto/ipc.pb.h"
#include "proto/messages.h"
#include "proto/pb.h"
#include "transportd/backpressure.h"
#include "transportd/core/limits.h"
#include "transportd/stats.h"
#include "transportd/transport.h"

#define EDGE_DEF "proto/consensus_transport.def"
#define EDGE_HANDLERS handlers
#include "proto/edge_server.h"

enum { INBOX_MAX_BYTES = 262144, SMALL_MESSAGE_BYTES = 64 };

/* --- what consensusd says --- */

static int
on_identity(void *ctx, struct channel *ch, struct imsg *m)
{
	struct transport *t = ctx;
	mesh_ipc_Identity msg = mesh_ipc_Identity_init_default;
	struct identity fresh = {.known = true};
	struct ulid mesh_id;
	int err = pb_unpack(m->body, m->len, mesh_ipc_Identity_fields, &msg);

	(void)ch;
	if (err != 0)
		return err;
	memcpy(mesh_id.b, msg.mesh_id, ULID_BYTES);
	memcpy(fresh.public_key, msg.public_key, sizeof(fresh.public_key));
	fresh.node_id = msg.node_id;
	fresh.incarnation = msg.incarnation;
	if (crypto_node_id(fresh.public_key) != fresh.node_id || !node_name_valid(msg.node_name))
		return ERR_FORMAT;
	memcpy(fresh.name, msg.node_name, sizeof(fresh.name));
	return transport_identity(t, &mesh_id, &fresh);
}

static int
on_signature(void *ctx, struct channel *ch, struct imsg *m)
{
	(void)ch;
	if (m->len != 0 && m->len != HELLO_SIG_BYTES)
		return ERR_FORMAT;
	conn_signed(ctx, m->peerid, m->len != 0 ? m->body : NULL);
	return 0;
}

static int
on_frames_out(void *ctx, struct channel *ch, struct imsg *m)
{
	struct buf in;
	struct frame f; /* not in the loop: the compiler clears it where it begins */

	(void)ch;
	((struct transport *)ctx)->turn = clock_mono();
	buf_view(&in, m->body, m->len);
	while (buf_left(&in) != 0) {
		int err = frame_decode(&in, &f);

		if (err != 0 || (err = relay_originate(ctx, &f)) != 0)
			return err;
	}
	return 0;
}

static int
on_evicted(void *ctx, struct channel *ch, struct imsg *m)
{
	(void)ch;
	return transport_evicted(ctx, m->body, m->len);
}

static int
on_config(void *ctx, struct channel *ch, struct imsg *m)
{
	struct transport *t = ctx;

	return ch == t->consensus.ch ? daemon_overlay_set(t->daemon, m->body, m->len) : 0;
}

static int
on_acl(void *ctx, struct channel *ch, struct imsg *m)
{
	struct transport *t = ctx;
	bool was = barred_empty(&t->barred);
	int err = barred_decode(&t->barred, m->body, m->len);

	(void)ch;
	if (err == 0 && was != barred_empty(&t->barred))
		log_notice(was ? "client data of some tenants is not relayed from now on"
			       : "client data of all tenants is relayed again");
	return err;
}

/* --- the channel --- */

static void
forget_pauses(struct edge_consensus *e)
{
	e->pausers = 0;
	e->dropping = false;
	loop_timer_disarm(e->pause_timer);
}

static int
on_up(void *ctx, struct channel *ch)
{
	struct transport *t = ctx;
	struct edge_consensus *e = &t->consensus;

	/* A second one can only be a restarted consensusd whose old connection is about to break. */
	if (e->ch != NULL)
		channel_close(e->ch, ERR_EXISTS);
	e->ch = ch;
	buf_reset(&e->inbox);
	forget_pauses(e);
	backpressure_reset(t);
	backpressure_relieved(t);
	conn_ask_again(t);
	return 0;
}

static void
on_down(void *ctx, struct channel *ch, int err)
{
	struct transport *t = ctx;
	struct edge_consensus *e = &t->consensus;

	(void)err;
	if (e->ch != ch)
		return;
	e->ch = NULL;
	buf_reset(&e->inbox);
	forget_pauses(e);
	backpressure_reset(t);
	backpressure_relieved(t);
}

static void
on_drain(void *ctx, struct channel *ch)
{
	struct transport *t = ctx;

	(void)ch;
	t->consensus.dropping = false;
	backpressure_relieved(t);
}

void
consensus_conf(struct transport *t, struct channel_conf *out)
{
	*out = (struct channel_conf){
	    .edge = &edge_consensus_transport,
	    .handlers = handlers,
	    .handler_count = sizeof(handlers) / sizeof(handlers[0]),
	    .on_up = on_up,
	    .on_down = on_down,
	    .on_drain = on_drain,
	    .ctx = t,
	};
}

/* --- what it is told --- */

uint32_t
consensus_sign(struct transport *t, const void *statement, size_t len)
{
	struct edge_consensus *e = &t->consensus;
	int err;

	if (++e->last_sign_id == 0)
		e->last_sign_id = 1;
	if (e->ch == NULL)
		return e->last_sign_id;
	err = channel_send(e->ch, CT_SIGN, e->last_sign_id, statement, len);
	if (err != 0)
		log_warn("consensusd can't be asked to sign: %s", err_text(err));
	return e->last_sign_id;
}

void
consensus_hold(struct transport *t, uint64_t destination, bool hold)
{
	mesh_ipc_Hold msg = {.destination = destination, .hold = hold};
	uint8_t mem[SMALL_MESSAGE_BYTES];
	struct buf out;
	int err;

	if (t->consensus.ch == NULL)
		return;
	buf_init_fixed(&out, mem, sizeof(mem));
	err = pb_pack(&out, mesh_ipc_Hold_fields, &msg);
	if (err == 0)
		err = channel_send(t->consensus.ch, CT_HOLD, 0, mem, buf_left(&out));
	/* A release that is lost would stop a destination for ever: start over. */
	if (err != 0)
		channel_close(t->consensus.ch, err);
}

void
consensus_rerouted(struct transport *t, uint64_t destination)
{
	mesh_ipc_Rerouted msg = {.destination = destination};
	uint8_t mem[SMALL_MESSAGE_BYTES];
	struct buf out;

	if (t->consensus.ch == NULL)
		return;
	buf_init_fixed(&out, mem, sizeof(mem));
	/* If it is lost, timers find the loss. */
	if (pb_pack(&out, mesh_ipc_Rerouted_fields, &msg) == 0 &&
	    channel_send(t->consensus.ch, CT_REROUTED, 0, mem, buf_left(&out)) != 0)
		log_debug("consensusd could not be told that a path was left");
}

static void
flush(void *arg)
{
	struct transport *t = arg;
	struct edge_consensus *e = &t->consensus;
	size_t len = buf_left(&e->inbox);

	if (len == 0)
		return;
	if (e->ch == NULL || channel_send(e->ch, CT_FRAMES_IN, 0, buf_head(&e->inbox), len) != 0)
		stat_add(STAT_DROP_LOCAL, e->inbox_frames);
	else
		stat_add(STAT_DELIVERED, e->inbox_frames);
	e->inbox_frames = 0;
	buf_reset(&e->inbox);
}

void
consensus_deliver(struct transport *t, const uint8_t *raw, size_t size)
{
	struct edge_consensus *e = &t->consensus;

	if (e->ch == NULL || buf_put_bytes(&e->inbox, raw, size) != 0) {
		stat_inc(STAT_DROP_LOCAL);
		return;
	}
	e->inbox_frames++;
	if (buf_left(&e->inbox) >= INBOX_FLUSH_BYTES)
		flush(t);
	else
		loop_defer_add(t->loop, &e->flush);
}

bool
consensus_full(const struct transport *t)
{
	return t->consensus.ch != NULL && channel_full(t->consensus.ch);
}

void
consensus_pause(struct transport *t)
{
	struct edge_consensus *e = &t->consensus;

	if (e->ch == NULL)
		return;
	if (e->pausers++ == 0) {
		channel_pause(e->ch);
		loop_timer_arm_ms(e->pause_timer, LOCAL_PAUSE_MS);
	}
}

void
consensus_unpause(struct transport *t)
{
	struct edge_consensus *e = &t->consensus;

	if (e->pausers == 0 || --e->pausers != 0)
		return;
	loop_timer_disarm(e->pause_timer);
	if (e->ch != NULL)
		channel_resume(e->ch);
}

/* The links had their time. */
static void
on_pause_over(void *arg)
{
	struct transport *t = arg;
	struct link *l;

	TAILQ_FOREACH (l, &t->links.all, order)
		l->source_paused = false;
	t->consensus.pausers = 0;
	if (t->consensus.ch != NULL)
		channel_resume(t->consensus.ch);
}

/* consensusd had its time. */
static void
on_stall_over(void *arg)
{
	struct transport *t = arg;

	t->consensus.dropping = consensus_full(t);
	backpressure_relieved(t);
}

int
consensus_init(struct transport *t)
{
	struct edge_consensus *e = &t->consensus;

	buf_init(&e->inbox, INBOX_MAX_BYTES);
	e->flush.fn = flush;
	e->flush.arg = t;
	e->pause_timer = loop_timer_new(t->loop, on_pause_over, t);
	e->stall_timer = loop_timer_new(t->loop, on_stall_over, t);
	return e->pause_timer == NULL || e->stall_timer == NULL ? ERR_NOMEM : 0;
}

void
consensus_fini(struct transport *t)
{
	struct edge_consensus *e = &t->consensus;

	loop_defer_del(&e->flush);
	loop_timer_free(e->pause_timer);
	loop_timer_free(e->stall_timer);
	buf_fini(&e->inbox);
}
