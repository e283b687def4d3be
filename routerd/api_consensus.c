#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/os/channel.h"
#include "common/os/clock.h"
#include "common/os/crypto.h"
#include "common/os/daemon.h"
#include "common/os/log.h"
#include "proto/ipc.pb.h"
#include "proto/messages.h"
#include "proto/pb.h"
#include "routerd/message.h"
#include "routerd/routerd.h"

#define EDGE_DEF "proto/consensus_router.def"
#define EDGE_HANDLERS consensus_handlers
#include "proto/edge_server.h"

/* --- identity and signatures --- */

static int
identity_check(const struct routerd *d, const mesh_ipc_Identity *in)
{
	if (memcmp(in->mesh_id, d->mesh_id.b, sizeof(d->mesh_id.b)) != 0) {
		log_error("consensusd belongs to another mesh: is its mesh.conf the same as this daemon's?");
		return ERR_DENIED;
	}
	if (crypto_node_id(in->public_key) != in->node_id) {
		log_error("consensusd gave a node id that is not its public key's");
		return ERR_FORMAT;
	}
	return 0;
}

static int
on_identity(void *ctx, struct channel *ch, struct imsg *m)
{
	mesh_ipc_Identity in = mesh_ipc_Identity_init_zero;
	struct router_identity id = {0};
	struct routerd *d = ctx;
	int err = pb_unpack(m->body, m->len, mesh_ipc_Identity_fields, &in);

	if (err != 0 || (err = identity_check(d, &in)) != 0)
		return err;
	if (ch != d->consensus)
		return 0; /* another consensusd has connected since */
	id.node = in.node_id;
	id.incarnation = in.incarnation;
	memcpy(id.pubkey, in.public_key, sizeof(id.pubkey));
	snprintf(id.name, sizeof(id.name), "%s", in.node_name);
	snprintf(id.region, sizeof(id.region), "%s", in.region);
	return engine_identity(d, &id);
}

static int
on_signature(void *ctx, struct channel *ch, struct imsg *m)
{
	struct routerd *d = ctx;

	if (m->len != 0 && m->len != LSA_SIG_BYTES)
		return ERR_FORMAT;
	if (ch != d->consensus)
		return 0;
	if (m->len == 0)
		log_warn("consensusd refused to sign this node's link-state advertisement; asking again");
	router_signature(d->router, m->peerid, m->len != 0 ? m->body : NULL, clock_mono());
	engine_touch(d);
	return 0;
}

void
api_consensus_sign(struct routerd *d, uint32_t ticket, const uint8_t *text, size_t len)
{
	/* If it can't be sent now, the router asks again after a while. */
	if (d->consensus == NULL || channel_send(d->consensus, CR_SIGN, ticket, text, len) != 0)
		log_debug("could not ask consensusd for a signature");
}

/* --- nodes --- */

static uint32_t
state_code(uint8_t state)
{
	switch (state) {
	case NODE_STATE_ALIVE:
		return mesh_ipc_NodeStatusCode_NODE_ALIVE;
	case NODE_STATE_UNREACHABLE:
		return mesh_ipc_NodeStatusCode_NODE_UNREACHABLE;
	case NODE_STATE_LEFT:
		return mesh_ipc_NodeStatusCode_NODE_LEFT;
	case NODE_STATE_EVICTED:
		return mesh_ipc_NodeStatusCode_NODE_EVICTED;
	default:
		return mesh_ipc_NodeStatusCode_NODE_UNKNOWN;
	}
}

static int
on_known(void *ctx, struct channel *ch, struct imsg *m)
{
	mesh_ipc_KnownNode in = mesh_ipc_KnownNode_init_zero;
	struct routerd *d = ctx;
	int err = pb_unpack(m->body, m->len, mesh_ipc_KnownNode_fields, &in);

	(void)ch;
	if (err == 0 && in.node_id != 0)
		known_add(d, in.node_id, in.addresses);
	return err;
}

static int
on_evicted(void *ctx, struct channel *ch, struct imsg *m)
{
	struct routerd *d = ctx;
	int err;

	if (ch != d->consensus)
		return 0;
	err = router_evicted(d->router, m->body, m->len, clock_mono());
	engine_touch(d);
	return err;
}

static int
on_config(void *ctx, struct channel *ch, struct imsg *m)
{
	struct routerd *d = ctx;

	return ch == d->consensus ? daemon_overlay_set(d->daemon, m->body, m->len) : 0;
}

/* Texts separated by spaces. */
static void
join(char *out, size_t size, const char *text, size_t each, size_t count)
{
	size_t at = 0;

	out[0] = '\0';
	for (size_t i = 0; i < count && at < size; i++)
		at += (size_t)snprintf(out + at, size - at, "%s%s", i > 0 ? " " : "", text + i * each);
}

static void
put_about(const struct lsdb_entry *e, mesh_ipc_Node *out)
{
	struct address_list addresses;
	struct label_list labels;

	lsdb_addresses(e, &addresses);
	join(out->addresses, sizeof(out->addresses), addresses.text[0], ADDRESS_SIZE, addresses.count);
	lsdb_services(e, &labels);
	join(out->services, sizeof(out->services), labels.text[0], LABEL_SIZE, labels.count);
	lsdb_capabilities(e, &labels);
	join(out->capabilities, sizeof(out->capabilities), labels.text[0], LABEL_SIZE, labels.count);
}

static int
send_node(struct channel *ch, const struct lsdb_entry *e)
{
	mesh_ipc_Node out = {
	    .node_id = e->node,
	    .status = state_code(e->state),
	    .incarnation = e->lsa->id.incarnation,
	    .seq = e->lsa->id.seq,
	};

	memcpy(out.public_key, e->lsa->pubkey, sizeof(out.public_key));
	snprintf(out.name, sizeof(out.name), "%s", e->lsa->name);
	snprintf(out.region, sizeof(out.region), "%s", e->lsa->region);
	snprintf(out.version, sizeof(out.version), "%s", e->lsa->software);
	put_about(e, &out);
	crypto_hash(out.lsa_hash, e->lsa->raw, e->lsa->raw_len);
	return message_send(ch, CR_NODE, 0, mesh_ipc_Node_fields, &out);
}

void
api_consensus_node(struct routerd *d, const struct lsdb_entry *e)
{
	int err;

	if (d->consensus == NULL || !d->nodes_told)
		return;
	/* What it missed it gets as a snapshot, on a new connection. */
	if ((err = send_node(d->consensus, e)) != 0)
		channel_close(d->consensus, err);
}

/*
 * The snapshot waits until neighbours have told what they know: after a restart of routerd, consensusd
 * would otherwise take all nodes for unreachable for a moment.
 */
static int
send_nodes(struct routerd *d, struct channel *ch)
{
	struct lsdb *db = router_lsdb(d->router);
	struct lsdb_entry *e;
	int err = channel_send(ch, CR_NODES_BEGIN, 0, NULL, 0);

	for (e = lsdb_from(db, 0); e != NULL && err == 0; e = lsdb_next(db, e))
		if (e->state != NODE_STATE_NEW)
			err = send_node(ch, e);
	d->nodes_told = true;
	return err != 0 ? err : channel_send(ch, CR_NODES_END, 0, NULL, 0);
}

void
api_consensus_ready(struct routerd *d)
{
	int err;

	if (d->consensus == NULL || d->nodes_told)
		return;
	if ((err = send_nodes(d, d->consensus)) != 0)
		channel_close(d->consensus, err);
}

/* --- the connection --- */

static int
on_up(void *ctx, struct channel *ch)
{
	struct routerd *d = ctx;
	struct router_summary sum;

	if (d->consensus != NULL)
		channel_close(d->consensus, ERR_FENCED);
	d->consensus = ch;
	d->nodes_told = false;
	topology_changed(d);
	router_show(d->router, &sum);
	return sum.fib_installed ? send_nodes(d, ch) : 0;
}

static void
on_down(void *ctx, struct channel *ch, int err)
{
	struct routerd *d = ctx;

	if (ch != d->consensus)
		return;
	log_warn("lost consensusd (%s): changes of this node's links are not advertised until it is back",
	    err_text(err));
	d->consensus = NULL;
	router_signer_down(d->router);
	engine_touch(d);
}

void
api_consensus_conf(struct routerd *d, struct channel_conf *out)
{
	*out = (struct channel_conf){
	    .edge = &edge_consensus_router,
	    .handlers = consensus_handlers,
	    .handler_count = sizeof(consensus_handlers) / sizeof(consensus_handlers[0]),
	    .on_up = on_up,
	    .on_down = on_down,
	    .ctx = d,
	};
}
