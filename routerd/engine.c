#include <inttypes.h>
#include <string.h>

#include "common/base/err.h"
#include "common/os/channel.h"
#include "common/os/clock.h"
#include "common/os/crypto.h"
#include "common/os/log.h"
#include "proto/messages.h"
#include "routerd/members.h"
#include "routerd/routerd.h"

/* --- effects of the core --- */

static int
op_verify(void *arg, const struct lsa *lsa, const uint8_t *raw, size_t raw_len)
{
	(void)arg;
	if (crypto_node_id(lsa->pubkey) != lsa->id.node)
		return ERR_AUTH;
	return crypto_verify(lsa->pubkey, CRYPTO_CONTEXT_LSA, raw, raw_len - LSA_SIG_BYTES, lsa->sig);
}

static void
op_send(void *arg, uint64_t neighbour, const uint8_t *payload, size_t len)
{
	peer_transport_send(arg, neighbour, payload, len);
}

static void
op_sign(void *arg, uint32_t ticket, const uint8_t *text, size_t len)
{
	api_consensus_sign(arg, ticket, text, len);
}

static int
op_fib_begin(void *arg, uint64_t version)
{
	return peer_transport_fib_mark(arg, RT_FIB_BEGIN, version);
}

static int
op_fib_end(void *arg, uint64_t version)
{
	struct routerd *d = arg;
	int err = peer_transport_fib_mark(d, RT_FIB_END, version);

	if (err != 0)
		return err;
	log_info("forwarding table of %zu routes installed, version %" PRIu64, router_fib(d->router)->count,
	    version);
	api_consensus_ready(d);
	return 0;
}

static int
op_route_set(void *arg, uint64_t destination, uint8_t class_mask, const struct fib_paths *p)
{
	return peer_transport_route_set(arg, destination, class_mask, p);
}

static int
op_route_del(void *arg, uint64_t destination)
{
	return peer_transport_route_del(arg, destination);
}

static void
op_node(void *arg, const struct lsdb_entry *e)
{
	members_node(arg, e);
	api_consensus_node(arg, e);
}

/* What a line of log says of an event; NULL: none is written. */
static const struct {
	enum log_level level;
	const char *text;
} event_lines[] = {
    [ROUTER_NODE_UP] = {LOG_NOTICE, "node is reachable"},
    [ROUTER_NODE_DOWN] = {LOG_NOTICE, "node is unreachable: there is no path to it"},
    [ROUTER_NODE_LEFT] = {LOG_NOTICE, "node left the mesh"},
    [ROUTER_NODE_EVICTED] = {LOG_NOTICE, "node was evicted from the mesh: what was known of it is dropped"},
    [ROUTER_LINK_UP] = {LOG_INFO, "link is up"},
    [ROUTER_LINK_DOWN] = {LOG_INFO, "link is down"},
    [ROUTER_LINK_DEGRADED] = {LOG_NOTICE, "link loses frames, or is full"},
    [ROUTER_LINK_WELL] = {LOG_NOTICE, "link is well again"},
    [ROUTER_PATH_CHANGED] = {LOG_DEBUG, "path changed"},
    [ROUTER_SYNCED] = {LOG_INFO, "link-state database of the neighbour is here; advertising the link"},
    [ROUTER_LSA_FORGED] = {LOG_WARNING,
	"neighbour sent a link-state advertisement with a bad signature; it was ignored. If that goes "
	"on, remove the neighbour's access"},
    [ROUTER_LSA_MALFORMED] = {LOG_WARNING,
	"neighbour sent link-state messages that can't be read; they were ignored. Is its version newer?"},
    [ROUTER_LSDB_FULL] = {LOG_WARNING,
	"node was refused because the link-state database is full; raise nodes-max in section routerd"},
    [ROUTER_REISSUED] = {LOG_NOTICE,
	"a newer advertisement of this node from before its restart was found; issuing one above it"},
};

static void
log_event(struct routerd *d, enum router_event ev, uint64_t a, uint64_t b)
{
	char text_a[NODEID_TEXT_SIZE], text_b[NODEID_TEXT_SIZE];
	struct log_ctx ctx = {.peer = text_a};
	struct mono now = clock_mono();

	if (!log_enabled(event_lines[ev].level))
		return;
	/* It is this one that can't be reached. */
	if (ev == ROUTER_NODE_DOWN && router_blind(d->router))
		return;
	/* What others do wrong does not fill the log. */
	if (event_lines[ev].level <= LOG_WARNING) {
		if (!bucket_ready(&d->log_rate[ev], now))
			return;
		bucket_take(&d->log_rate[ev], now);
	}
	nodeid_format(text_a, a);
	nodeid_format(text_b, b);
	if (b != 0)
		log_at(event_lines[ev].level, &ctx, "%s (%s)", event_lines[ev].text, text_b);
	else
		log_at(event_lines[ev].level, &ctx, "%s", event_lines[ev].text);
}

static void
op_event(void *arg, enum router_event ev, uint64_t a, uint64_t b)
{
	log_event(arg, ev, a, b);
	if (ev <= ROUTER_LINK_DOWN || ev == ROUTER_NODE_EVICTED)
		topology_changed(arg);
	api_gateway_event(arg, ev, a, b);
}

static void
op_wish(void *arg, uint64_t node, uint64_t unix_ms)
{
	wish_seen(arg, node, unix_ms);
}

static const struct router_ops ops = {
    .verify = op_verify,
    .send = op_send,
    .sign = op_sign,
    .fib_begin = op_fib_begin,
    .route_set = op_route_set,
    .route_del = op_route_del,
    .fib_end = op_fib_end,
    .node = op_node,
    .event = op_event,
    .wish = op_wish,
};

/* --- time --- */

static void
step(void *arg)
{
	struct routerd *d = arg;

	router_step(d->router, clock_mono());
	members_sight(d);
	loop_timer_arm(d->timer, router_next(d->router));
}

void
engine_touch(struct routerd *d)
{
	loop_defer_add(d->loop, &d->turn);
}

/* --- life --- */

static struct router *
new_router(struct routerd *d)
{
	struct router *r;
	uint64_t seed;

	crypto_random(&seed, sizeof(seed));
	r = router_new(&d->conf, &ops, d, seed);
	if (r != NULL)
		router_labels(r, &d->services, &d->capabilities);
	return r;
}

int
engine_init(struct routerd *d)
{
	struct mono now = clock_mono();

	for (size_t i = 0; i < ROUTERD_EVENT_KINDS; i++)
		bucket_init(&d->log_rate[i], ROUTERD_LOG_BURST, ROUTERD_LOG_INTERVAL_US, now);
	d->turn = (struct loop_defer){.fn = step, .arg = d};
	d->router = new_router(d);
	d->timer = loop_timer_new(d->loop, step, d);
	return d->router != NULL && d->timer != NULL ? 0 : ERR_NOMEM;
}

void
engine_fini(struct routerd *d)
{
	loop_defer_del(&d->turn);
	loop_timer_free(d->timer);
	router_free(d->router);
	d->timer = NULL;
	d->router = NULL;
}

/* The node's key was replaced: nothing that was learnt under the old one holds. */
static int
start_anew(struct routerd *d)
{
	struct router *fresh = new_router(d);

	if (fresh == NULL)
		return ERR_NOMEM;
	if (members_reset(d) != 0) {
		router_free(fresh);
		return ERR_NOMEM;
	}
	log_notice("the node's key was replaced: starting with an empty link-state database");
	d->left = false; /* it is another node now */
	router_inherit(fresh, d->router);
	router_free(d->router);
	d->router = fresh;
	/* It tells its links anew when it is connected anew. */
	channel_close(d->transport, ERR_STATE);
	return 0;
}

int
engine_identity(struct routerd *d, const struct router_identity *id)
{
	int err = router_identity(d->router, id, clock_mono());

	if (err == ERR_STATE && (err = start_anew(d)) == 0)
		err = router_identity(d->router, id, clock_mono());
	if (err == 0)
		err = members_identity(d, id);
	engine_touch(d);
	return err;
}
