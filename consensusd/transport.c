/* transport: see transport.h. */
#include "consensusd/transport.h"

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/frame.h"
#include "common/base/idset.h"
#include "common/base/mem.h"
#include "common/os/channel.h"
#include "common/os/clock.h"
#include "common/os/crypto.h"
#include "common/os/log.h"
#include "consensusd/acl.h"
#include "consensusd/core/qos.h"
#include "consensusd/e2e.h"
#include "consensusd/engine.h"
#include "consensusd/identity.h"
#include "consensusd/keyring.h"
#include "consensusd/limits.h"
#include "consensusd/peers.h"
#include "consensusd/shared.h"
#include "consensusd/sink.h"
#include "consensusd/source.h"
#include "consensusd/stats.h"
#include "consensusd/tag.h"
#include "consensusd/tenantkeys.h"
#include "proto/ipc.pb.h"
#include "proto/messages.h"
#include "proto/pb.h"

#define EDGE_DEF "proto/consensus_transport.def"
#define EDGE_HANDLERS transport_handlers
#include "proto/edge_client.h"

/* What is above the mark when the last batch comes fits too. */
enum { LOOPBACK_BUFFER_BYTES = LOOPBACK_MAX_BYTES + BATCH_BODY_MAX_BYTES + BATCH_BODY_MAX_BYTES / 8 };

struct transport {
	struct engine *engine;
	struct channel *channel;
	struct channel_conf conf;
	struct idset evicted;
	struct buf out; /* frames for transportd, at most one message */
	/* Frames from this node to itself: those that are being read, and those that come meanwhile. */
	struct buf self_in, self;
};

static int on_up(void *ctx, struct channel *ch);
static void on_down(void *ctx, struct channel *ch, int err);
static void on_drain(void *ctx, struct channel *ch);

struct transport *
transport_new(struct engine *e)
{
	struct transport *t = mem_calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	t->engine = e;
	t->conf = (struct channel_conf){
	    .edge = &edge_consensus_transport,
	    .handlers = transport_handlers,
	    .handler_count = sizeof(transport_handlers) / sizeof(transport_handlers[0]),
	    .on_up = on_up,
	    .on_down = on_down,
	    .on_drain = on_drain,
	    .ctx = t,
	    .high_bytes = TRANSPORT_HIGH_BYTES,
	    .low_bytes = TRANSPORT_LOW_BYTES,
	};
	buf_init(&t->out, TRANSPORT_OUT_BYTES);
	buf_init(&t->self_in, LOOPBACK_BUFFER_BYTES);
	buf_init(&t->self, LOOPBACK_BUFFER_BYTES);
	return t;
}

void
transport_free(struct transport *t)
{
	if (t == NULL)
		return;
	channel_free(t->channel);
	buf_fini(&t->out);
	buf_fini(&t->self_in);
	buf_fini(&t->self);
	idset_fini(&t->evicted);
	mem_free(t);
}

const struct channel_conf *
transport_channel_conf(struct transport *t)
{
	return &t->conf;
}

void
transport_attach(struct transport *t, struct channel *ch)
{
	channel_free(t->channel);
	t->channel = ch;
}

bool
transport_up(const struct transport *t)
{
	return t->channel != NULL && channel_up(t->channel);
}

bool
transport_ready(const struct transport *t, uint64_t node)
{
	if (node == t->engine->self)
		return buf_left(&t->self) + buf_left(&t->self_in) < LOOPBACK_MAX_BYTES;
	return transport_up(t) && !channel_full(t->channel);
}

void
transport_identify(struct transport *t)
{
	if (!transport_up(t) || !t->engine->loaded)
		return;
	/* In this order: without an identity it lets nobody in. */
	identity_send_evicted(t->channel, CT_EVICTED, &t->evicted);
	identity_send(t->engine, t->channel, CT_IDENTITY);
	transport_shared(t);
	transport_acl(t);
}

void
transport_acl(struct transport *t)
{
	if (transport_up(t) && t->engine->loaded)
		acl_send(t->engine->acl, t->channel, CT_ACL);
}

void
transport_shared(struct transport *t)
{
	if (transport_up(t))
		shared_send(t->engine->shared, SHARED_TRANSPORTD, t->channel, CT_CONFIG);
}

int
transport_evicted(struct transport *t, const uint64_t *nodes, size_t count)
{
	int err = idset_assign(&t->evicted, nodes, count);

	if (err == 0 && transport_up(t) && t->engine->loaded)
		identity_send_evicted(t->channel, CT_EVICTED, &t->evicted);
	return err;
}

/* --- out --- */

static void
flush(struct transport *t)
{
	int err;

	if (buf_left(&t->out) == 0)
		return;
	if (transport_up(t)) {
		err = channel_send(t->channel, CT_FRAMES_OUT, 0, buf_head(&t->out), buf_left(&t->out));
		if (err != 0)
			log_warn("frames for transportd are lost and will be sent again: %s", err_text(err));
	}
	buf_reset(&t->out);
}

/* Where a frame for node goes, with room for it; NULL: nowhere now. */
static struct buf *
out_for(struct transport *t, uint64_t node)
{
	if (node == t->engine->self) {
		engine_wake(t->engine);
		return buf_room(&t->self) >= FRAME_MAX_BYTES ? &t->self : NULL;
	}
	if (!transport_up(t))
		return NULL;
	if (buf_room(&t->out) < FRAME_MAX_BYTES)
		flush(t);
	return &t->out;
}

void
transport_send_batch(
    struct transport *t, const struct batch *b, const struct store_stream *row, uint64_t node, uint64_t ack)
{
	uint8_t box[TENANTKEYS_BOX_BYTES];
	const struct e2e_way way = {
	    .tenant = row->tenant_id,
	    .source = t->engine->self,
	    .destination = node,
	    .ack = ack,
	    .flow = e2e_flow(row->tenant_id, &row->stream_id),
	    .class = qos_class(row->qos),
	    .stripe = row->striping && b->body_len >= STRIPE_MIN_BYTES,
	    .key_box = box,
	    .key_box_len = tenantkeys_wrap(t->engine, row->tenant_id, b->key_id, box),
	};
	uint32_t count = e2e_fragment_count(b);
	int err = 0;

	for (uint32_t i = 0; i < count && err == 0; i++) {
		struct buf *out = out_for(t, node);

		if (out == NULL)
			return;
		err = e2e_put_fragment(out, b, &way, i);
	}
	if (err != 0)
		log_warn("a batch can't be sent now and will be sent again: %s", err_text(err));
}

void
transport_send(struct transport *t, mesh_e2e_Header *h, uint64_t node, const void *payload, size_t len)
{
	struct buf *out = out_for(t, node);
	int err;

	if (out == NULL)
		return;
	h->source = t->engine->self;
	h->destination = node;
	err = tag_expected(h) ? tag_make(t->engine->keyring, h, payload, len) : 0;
	if (err == 0)
		err = e2e_put_frame(out, h, payload, len);
	if (err != 0)
		log_warn("a frame can't be sent now and will be sent again: %s", err_text(err));
}

int
transport_send_control(struct transport *t, uint64_t node, uint8_t class, const void *payload, size_t len)
{
	struct frame f = {
	    .type = FRAME_CONTROL,
	    .class = class,
	    .ttl = FRAME_TTL_DEFAULT,
	    .visit_count = 1,
	    .visit = {node},
	    .src = t->engine->self,
	    .payload = payload,
	    .payload_len = (uint32_t)len,
	};
	struct buf *out = out_for(t, node);

	return out != NULL ? frame_encode(&f, out) : ERR_UNAVAIL;
}

/* --- in --- */

static void
dispatch(struct engine *e, const struct frame *f)
{
	static void (*const handlers[])(struct engine *, const mesh_e2e_Header *, const struct frame *) = {
	    [mesh_e2e_MsgType_MSG_BATCH] = sink_on_batch,
	    [mesh_e2e_MsgType_MSG_ACK] = source_on_ack,
	    [mesh_e2e_MsgType_MSG_OPEN] = sink_on_open,
	    [mesh_e2e_MsgType_MSG_OPENED] = source_on_opened,
	    [mesh_e2e_MsgType_MSG_REFUSED] = source_on_refused,
	    [mesh_e2e_MsgType_MSG_CLOSE] = sink_on_close,
	    [mesh_e2e_MsgType_MSG_CLOSED] = source_on_closed,
	    [mesh_e2e_MsgType_MSG_SKIP] = sink_on_skip,
	    [mesh_e2e_MsgType_MSG_UNKNOWN_STREAM] = source_on_unknown,
	    [mesh_e2e_MsgType_MSG_CHALLENGE] = source_on_challenge,
	};
	mesh_e2e_Header h = mesh_e2e_Header_init_zero;
	int err = e2e_get(f, &h);

	if (err == 0 && h.destination != e->self)
		err = ERR_FORMAT;
	if (err == 0 && tag_expected(&h))
		err = tag_check(e->keyring, &h, f->payload, f->payload_len, clock_unix_ms());
	if (err != 0) {
		metric_inc(&stats.bad_frames);
		log_debug("frame from %s dropped: %s", engine_node_text(e, f->src), err_text(err));
		return;
	}
	handlers[h.msg_type](e, &h, f);
}

static void
frame_in(struct engine *e, const struct frame *f)
{
	if (f->type == FRAME_UNREACHABLE) {
		/* Retransmission finds another path, or waits for one. */
		metric_inc(&stats.unreachable);
		return;
	}
	/* What was before the store told what we know would be called unknown. */
	if (!e->loaded)
		return;
	if (f->type == FRAME_CONTROL)
		peers_on_frame(e->peers, f);
	else
		dispatch(e, f);
}

static int
on_frames_in(void *ctx, struct channel *ch, struct imsg *m)
{
	struct transport *t = ctx;
	struct buf in;
	struct frame f;
	int err;

	(void)ch;
	buf_view(&in, m->body, m->len);
	while (buf_left(&in) > 0) {
		err = frame_decode(&in, &f);
		if (err != 0)
			return err;
		/* What this node sends to itself never gets here: somebody uses its name. */
		if (f.src == t->engine->self)
			metric_inc(&stats.bad_frames);
		else
			frame_in(t->engine, &f);
	}
	engine_wake(t->engine);
	return 0;
}

/* Frames that this node sent to itself before; what they cause is for the next turn. */
static void
receive_own(struct transport *t)
{
	size_t start;
	struct frame f;

	if (buf_left(&t->self_in) == 0) {
		struct buf empty = t->self_in;

		buf_reset(&empty);
		t->self_in = t->self;
		t->self = empty;
	}
	start = t->self_in.rpos;
	while (buf_left(&t->self_in) > 0 && t->self_in.rpos - start < ENGINE_TURN_RECEIVE_BYTES) {
		MUST(frame_decode(&t->self_in, &f) == 0);
		f.visit_count = 0;
		frame_in(t->engine, &f);
	}
}

bool
transport_turn(struct transport *t)
{
	flush(t);
	receive_own(t);
	return buf_left(&t->self) > 0 || buf_left(&t->self_in) > 0;
}

/* --- the rest of the edge --- */

static int
on_up(void *ctx, struct channel *ch)
{
	struct transport *t = ctx;

	(void)ch;
	log_notice("transportd connected");
	for (size_t i = 0; i < t->engine->nodes.count; i++)
		t->engine->nodes.all[i]->held = false;
	transport_identify(t);
	engine_transport_up(t->engine);
	return 0;
}

static void
on_down(void *ctx, struct channel *ch, int err)
{
	struct transport *t = ctx;

	(void)ch;
	log_warn("transportd is away (%s); nothing is sent until it is back", err_text(err));
	buf_reset(&t->out);
	peers_down(t->engine->peers);
}

static void
on_drain(void *ctx, struct channel *ch)
{
	struct transport *t = ctx;

	(void)ch;
	engine_wake(t->engine);
}

static int
on_sign(void *ctx, struct channel *ch, struct imsg *m)
{
	struct transport *t = ctx;
	uint8_t sig[CRYPTO_SIG_BYTES];
	int err =
	    crypto_sign(keyring_node_key(t->engine->keyring), CRYPTO_CONTEXT_HELLO, m->body, m->len, sig);

	return channel_send(ch, CT_SIGNATURE, m->peerid, sig, err == 0 ? sizeof(sig) : 0);
}

static int
on_hold(void *ctx, struct channel *ch, struct imsg *m)
{
	struct transport *t = ctx;
	mesh_ipc_Hold hold = mesh_ipc_Hold_init_zero;
	struct node *n;
	int err = pb_unpack(m->body, m->len, mesh_ipc_Hold_fields, &hold);

	(void)ch;
	if (err != 0)
		return err;
	n = nodes_get(&t->engine->nodes, hold.destination);
	if (n == NULL)
		return 0;
	n->held = hold.hold;
	if (!hold.hold) {
		engine_wake(t->engine);
		for (struct source_flow *f = n->flows; f != NULL; f = f->next_on_node)
			source_flow_ready(f);
	}
	return 0;
}

/* What is in flight to it may be lost: it is sent again without waiting for a timer. */
static int
on_rerouted(void *ctx, struct channel *ch, struct imsg *m)
{
	struct transport *t = ctx;
	mesh_ipc_Rerouted in = mesh_ipc_Rerouted_init_zero;
	struct mono now = clock_mono();
	struct node *n;
	int err = pb_unpack(m->body, m->len, mesh_ipc_Rerouted_fields, &in);

	(void)ch;
	if (err != 0)
		return err;
	if ((n = nodes_find(&t->engine->nodes, in.destination)) == NULL)
		return 0;
	metric_inc(&stats.rerouted);
	for (struct source_flow *f = n->flows; f != NULL; f = f->next_on_node) {
		flow_rerouted(f->flow, now);
		source_flow_ready(f);
	}
	return 0;
}
