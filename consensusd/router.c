/* router: see router.h. */
#include "consensusd/router.h"
#include "consensusd/router_measure.h"

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/idset.h"
#include "common/base/mem.h"
#include "common/os/channel.h"
#include "common/os/clock.h"
#include "common/os/crypto.h"
#include "common/os/log.h"
#include "consensusd/engine.h"
#include "consensusd/identity.h"
#include "consensusd/keyring.h"
#include "consensusd/shared.h"
#include "consensusd/store.h"
#include "proto/ipc.pb.h"
#include "proto/messages.h"
#include "proto/pb.h"

#include <stdio.h>
#include <string.h>

#define EDGE_DEF "proto/consensus_router.def"
#define EDGE_HANDLERS router_handlers
#include "proto/edge_client.h"

enum { KNOWN_MAX_BYTES = 4096 };

struct known_node {
	uint64_t id;
	char *addresses;
};

struct router {
	struct engine *engine;
	struct channel *channel;
	struct channel_conf conf;
	bool in_snapshot;
	bool known;                                /* there has been a whole one */
	struct known_node before[STORE_KNOWN_MAX]; /* seen before the last restart */
	size_t before_count;
	struct store_link *links; /* being received */
	size_t link_count, link_cap;
	bool in_links;
	struct idset evicted;
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
	for (size_t i = 0; i < r->before_count; i++)
		mem_free(r->before[i].addresses);
	mem_free(r->links);
	idset_fini(&r->evicted);
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

/* Whom it may dial if nobody else is there. */
static void
send_known(struct router *r)
{
	uint8_t mem[KNOWN_MAX_BYTES];

	for (size_t i = 0; i < r->before_count; i++) {
		mesh_ipc_KnownNode out = {.node_id = r->before[i].id};
		struct buf b;

		buf_init_fixed(&b, mem, sizeof(mem));
		snprintf(out.addresses, sizeof(out.addresses), "%s", r->before[i].addresses);
		if (pb_pack(&b, mesh_ipc_KnownNode_fields, &out) == 0 &&
		    channel_send(r->channel, CR_KNOWN, 0, buf_head(&b), buf_left(&b)) != 0)
			return; /* the connection is going: the next one gets them */
	}
}

static void
identify(struct router *r)
{
	if (!router_up(r) || !r->engine->loaded)
		return;
	identity_send_evicted(r->channel, CR_EVICTED, &r->evicted);
	identity_send(r->engine, r->channel, CR_IDENTITY);
	send_known(r);
	router_shared(r);
}

void
router_shared(struct router *r)
{
	if (router_up(r))
		shared_send(r->engine->shared, SHARED_ROUTERD, r->channel, CR_CONFIG);
}

void
router_load_node(struct router *r, uint64_t node, const char *addresses)
{
	struct known_node k = {.id = node};

	if (r->before_count == STORE_KNOWN_MAX ||
	    (k.addresses = mem_dup(addresses, strlen(addresses) + 1)) == NULL)
		return;
	r->before[r->before_count++] = k;
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
	r->in_snapshot = r->in_links = false;
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
	    [NODE_STATUS_EVICTED] = "evicted",
	};

	return names[s];
}

/* in: what routerd says of it now; NULL: nothing new. */
static void
store_node(struct engine *e, const struct node *n, const mesh_ipc_Node *in)
{
	struct store_node row = {.node_id = n->id,
	    .incarnation = n->incarnation,
	    .name = n->name,
	    .status = status_name(n->status)};
	int64_t ticket;

	if (!e->loaded || !n->has_key)
		return;
	memcpy(row.pubkey, n->public_key, sizeof(row.pubkey));
	if (in != NULL) {
		row.lsa_seq = in->seq;
		memcpy(row.lsa_hash, in->lsa_hash, sizeof(row.lsa_hash));
		row.region = in->region;
		row.version = in->version;
		row.addresses = in->addresses;
		row.services = in->services;
		row.capabilities = in->capabilities;
	}
	ticket = store_put_node(e->store, &row);
	if (ticket < 0)
		log_warn("node %s is not written to the database: %s", engine_node_text(e, n->id),
		    err_text((int)ticket));
}

static void
set_status(struct engine *e, struct node *n, enum node_status status, const mesh_ipc_Node *in)
{
	bool up = status == NODE_STATUS_ALIVE && n->status != NODE_STATUS_ALIVE;
	bool down = status != NODE_STATUS_ALIVE && n->status == NODE_STATUS_ALIVE;

	n->status = status;
	if (up || down)
		n->status_at = clock_mono();
	store_node(e, n, in);
	if (up)
		engine_node_up(e, n);
	if (down)
		engine_node_down(e, n);
}

int
router_evicted(struct router *r, const uint64_t *nodes, size_t count)
{
	struct engine *e = r->engine;
	int err = idset_assign(&r->evicted, nodes, count);

	if (err != 0)
		return err;
	for (size_t i = 0; i < e->nodes.count; i++) {
		struct node *n = e->nodes.all[i];
		bool evicted = idset_has(&r->evicted, n->id);

		if (evicted != (n->status == NODE_STATUS_EVICTED))
			set_status(e, n, evicted ? NODE_STATUS_EVICTED : NODE_STATUS_UNREACHABLE, NULL);
	}
	if (router_up(r) && e->loaded)
		identity_send_evicted(r->channel, CR_EVICTED, &r->evicted);
	return 0;
}

void
router_loaded(struct router *r)
{
	identify(r);
	for (size_t i = 0; i < r->engine->nodes.count; i++)
		store_node(r->engine, r->engine->nodes.all[i], NULL);
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
	if (in.node_id == 0 || in.status > mesh_ipc_NodeStatusCode_NODE_EVICTED)
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
	/* What it had to say before it heard of the eviction is no news. */
	if (idset_has(&r->evicted, n->id))
		in.status = mesh_ipc_NodeStatusCode_NODE_EVICTED;
	set_status(r->engine, n, (enum node_status)in.status, &in);
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
			set_status(e, n, NODE_STATUS_UNREACHABLE, NULL);
	}
	return 0;
}

/* --- the topology --- */

static int
on_links_begin(void *ctx, struct channel *ch, struct imsg *m)
{
	struct router *r = ctx;

	(void)ch;
	(void)m;
	r->in_links = true;
	r->link_count = 0;
	return 0;
}

/* Room for n more; ERR_LIMIT beyond STORE_LINKS_MAX. */
static int
links_room(struct router *r, size_t n)
{
	struct store_link *bigger;
	size_t cap = r->link_cap == 0 ? 64 : r->link_cap;

	if (r->link_count + n > STORE_LINKS_MAX)
		return ERR_LIMIT;
	while (cap < r->link_count + n)
		cap *= 2;
	if (cap == r->link_cap)
		return 0;
	if ((bigger = mem_reallocarray(r->links, cap, sizeof(*bigger))) == NULL)
		return ERR_NOMEM;
	r->links = bigger;
	r->link_cap = cap;
	return 0;
}

static int
on_links(void *ctx, struct channel *ch, struct imsg *m)
{
	mesh_ipc_MeshLinks in = mesh_ipc_MeshLinks_init_zero;
	struct router *r = ctx;
	int err = pb_unpack(m->body, m->len, mesh_ipc_MeshLinks_fields, &in);

	(void)ch;
	if (err != 0)
		return err;
	if (!r->in_links)
		return ERR_STATE;
	/* A mesh with more is written as far as it goes. */
	if (links_room(r, in.links_count) != 0)
		return 0;
	for (pb_size_t i = 0; i < in.links_count; i++) {
		const mesh_ipc_MeshLink *l = &in.links[i];

		r->links[r->link_count++] = (struct store_link){l->from, l->to, l->latency_us,
		    l->bandwidth_kbps, l->loss_ppm, l->utilisation_permille, l->weight, l->two_way};
	}
	return 0;
}

static int
on_links_end(void *ctx, struct channel *ch, struct imsg *m)
{
	struct router *r = ctx;
	int64_t ticket = 0;

	(void)ch;
	(void)m;
	if (!r->in_links)
		return ERR_STATE;
	r->in_links = false;
	router_measure(r->engine, r->links, r->link_count);
	if (r->engine->loaded && r->link_count != 0)
		ticket = store_put_topology(r->engine->store, r->links, r->link_count);
	if (ticket < 0)
		log_warn("the topology is not written to the database: %s", err_text((int)ticket));
	mem_free(r->links);
	r->links = NULL;
	r->link_count = r->link_cap = 0;
	return 0;
}
