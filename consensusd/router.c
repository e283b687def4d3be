/* router: see router.h. */
#include "consensusd/router.h"

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/channel.h"
#include "common/os/crypto.h"
#include "common/os/log.h"
#include "consensusd/engine.h"
#include "consensusd/identity.h"
#include "consensusd/keyring.h"
#include "consensusd/store.h"
#include "proto/ipc.pb.h"
#include "proto/messages.h"
#include "proto/pb.h"

#include <string.h>

#define EDGE_DEF "proto/consensus_router.def"
#define EDGE_HANDLERS router_handlers
#include "proto/edge_client.h"

struct router {
	struct engine *engine;
	struct channel *channel;
	struct channel_conf conf;
	bool in_snapshot;
	bool known; /* there has been a whole one */
};

static int on_up(void *ctx, struct channel *ch);
static void on_down(void *ctx, struct channel *ch, int err);

struct router *
router_new(struct engine *e)
{
	struct router *r = mem_calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->engine = e;
	r->conf = (struct channel_conf){
	    .edge = &edge_consensus_router,
	    .handlers = router_handlers,
	    .handler_count = sizeof(router_handlers) / sizeof(router_handlers[0]),
	    .on_up = on_up,
	    .on_down = on_down,
	    .ctx = r,
	};
	return r;
}

void
router_free(struct router *r)
{
	if (r == NULL)
		return;
	channel_free(r->channel);
	mem_free(r);
}

const struct channel_conf *
router_channel_conf(struct router *r)
{
	return &r->conf;
}

void
router_attach(struct router *r, struct channel *ch)
{
	channel_free(r->channel);
	r->channel = ch;
}

bool
router_knows_nodes(const struct router *r)
{
	return r->known;
}

bool
router_up(const struct router *r)
{
	return r->channel != NULL && channel_up(r->channel);
}

static void
identify(struct router *r)
{
	if (router_up(r) && r->engine->loaded)
		identity_send(r->engine, r->channel, CR_IDENTITY);
}

static int
on_up(void *ctx, struct channel *ch)
{
	struct router *r = ctx;

	(void)ch;
	log_notice("routerd connected");
	identify(r);
	return 0;
}

static void
on_down(void *ctx, struct channel *ch, int err)
{
	struct router *r = ctx;

	(void)ch;
	r->in_snapshot = false;
	log_warn("routerd is away (%s); the known nodes are kept", err_text(err));
}

static int
on_sign(void *ctx, struct channel *ch, struct imsg *m)
{
	struct router *r = ctx;
	uint8_t sig[CRYPTO_SIG_BYTES];
	int err = crypto_sign(keyring_node_key(r->engine->keyring), CRYPTO_CONTEXT_LSA, m->body, m->len, sig);

	return channel_send(ch, CR_SIGNATURE, m->peerid, sig, err == 0 ? sizeof(sig) : 0);
}

/* --- the directory --- */

static const char *
status_name(enum node_status s)
{
	static const char *const names[] = {
	    [NODE_STATUS_UNKNOWN] = "unknown",
	    [NODE_STATUS_ALIVE] = "alive",
	    [NODE_STATUS_UNREACHABLE] = "unreachable",
	    [NODE_STATUS_LEFT] = "left",
	};

	return names[s];
}

static void
store_node(struct engine *e, const struct node *n)
{
	int64_t ticket;

	if (!e->loaded || !n->has_key)
		return;
	ticket =
	    store_put_node(e->store, n->id, n->public_key, n->name, status_name(n->status), n->incarnation);
	if (ticket < 0)
		log_warn("node %s is not written to the database: %s", engine_node_text(e, n->id),
		    err_text((int)ticket));
}

static void
set_status(struct engine *e, struct node *n, enum node_status status)
{
	bool up = status == NODE_STATUS_ALIVE && n->status != NODE_STATUS_ALIVE;

	n->status = status;
	store_node(e, n);
	if (up)
		engine_node_up(e, n);
}

void
router_loaded(struct router *r)
{
	identify(r);
	for (size_t i = 0; i < r->engine->nodes.count; i++)
		store_node(r->engine, r->engine->nodes.all[i]);
}

static int
on_nodes_begin(void *ctx, struct channel *ch, struct imsg *m)
{
	struct router *r = ctx;

	(void)ch;
	(void)m;
	r->in_snapshot = true;
	for (size_t i = 0; i < r->engine->nodes.count; i++)
		r->engine->nodes.all[i]->fresh = false;
	return 0;
}

static int
on_node(void *ctx, struct channel *ch, struct imsg *m)
{
	struct router *r = ctx;
	mesh_ipc_Node in = mesh_ipc_Node_init_zero;
	struct node *n;
	int err = pb_unpack(m->body, m->len, mesh_ipc_Node_fields, &in);

	(void)ch;
	if (err != 0)
		return err;
	if (in.node_id == 0 || in.status > mesh_ipc_NodeStatusCode_NODE_LEFT)
		return ERR_RANGE;
	n = nodes_get(&r->engine->nodes, in.node_id);
	if (n == NULL) {
		log_warn("too many nodes: %016llx is not in the directory", (unsigned long long)in.node_id);
		return 0;
	}
	nodes_rename(&r->engine->nodes, n, in.name);
	memcpy(n->public_key, in.public_key, sizeof(n->public_key));
	n->has_key = true;
	n->incarnation = in.incarnation;
	n->fresh = true;
	set_status(r->engine, n, (enum node_status)in.status);
	return 0;
}

/* What the snapshot does not name is not reachable. */
static int
on_nodes_end(void *ctx, struct channel *ch, struct imsg *m)
{
	struct router *r = ctx;
	struct engine *e = r->engine;

	(void)ch;
	(void)m;
	if (!r->in_snapshot)
		return ERR_STATE;
	r->in_snapshot = false;
	r->known = true;
	for (size_t i = 0; i < e->nodes.count; i++) {
		struct node *n = e->nodes.all[i];

		if (!n->fresh && n->status == NODE_STATUS_ALIVE)
			set_status(e, n, NODE_STATUS_UNREACHABLE);
	}
	return 0;
}
