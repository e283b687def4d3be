#include "routerd/core/router.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "routerd/core/quality.h"
#include "routerd/core/router_impl.h"

static const char *const event_names[] = {
    [ROUTER_NODE_UP] = "node_up",
    [ROUTER_NODE_DOWN] = "node_down",
    [ROUTER_NODE_LEFT] = "node_left",
    [ROUTER_LINK_UP] = "link_up",
    [ROUTER_LINK_DOWN] = "link_down",
    [ROUTER_LINK_DEGRADED] = "link_degraded",
    [ROUTER_LINK_WELL] = "link_recovered",
    [ROUTER_PATH_CHANGED] = "path_changed",
    [ROUTER_SYNCED] = "synced",
    [ROUTER_LSA_FORGED] = "lsa_forged",
    [ROUTER_LSA_MALFORMED] = "lsa_malformed",
    [ROUTER_LSDB_FULL] = "lsdb_full",
    [ROUTER_NODE_EVICTED] = "node_evicted",
    [ROUTER_REISSUED] = "reissued",
};

const char *
router_event_name(enum router_event ev)
{
	size_t count = sizeof(event_names) / sizeof(event_names[0]);

	return (size_t)ev < count ? event_names[ev] : "?";
}

static void
emit(void *arg, const uint8_t *payload, size_t len)
{
	struct router *r = arg;

	r->counters.payloads_sent++;
	r->ops->send(r->arg, r->writing_to, payload, len);
}

static void
conf_set(struct router *r, const struct router_conf *conf)
{
	MUST(conf->paths_max <= ROUTE_PATHS_MAX && conf->hysteresis_percent < 100);
	r->conf = *conf;
	if (r->conf.paths_max == 0)
		r->conf.paths_max = 1;
}

struct router *
router_new(const struct router_conf *conf, const struct router_ops *ops, void *arg, uint64_t seed)
{
	struct router *r = mem_calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	conf_set(r, conf);
	r->ops = ops;
	r->arg = arg;
	r->spf_wait_us = conf->spf_delay_us;
	rng_seed(&r->rng, seed);
	origin_init(&r->origin);
	lsdb_init(&r->db, conf->nodes_max, LSA_LIFETIME_US);
	neighbour_table_init(&r->neighbours);
	cost_profiles_make(&r->profiles, conf->cost);
	damp_init(&r->damp);
	demand_init(&r->demand);
	routes_init(r);
	fib_init(&r->fib);
	linkstate_writer_init(&r->writer, emit, r);
	return r;
}

void
router_free(struct router *r)
{
	if (r == NULL)
		return;
	fib_fini(&r->fib);
	routes_fini(r);
	demand_fini(&r->demand);
	neighbour_table_fini(&r->neighbours);
	lsdb_fini(&r->db);
	origin_fini(&r->origin);
	mem_free(r);
}

void
router_configure(struct router *r, const struct router_conf *conf, struct mono now)
{
	struct cost_profiles profiles;
	struct router_conf before = r->conf;
	bool costs;

	conf_set(r, conf);
	r->conf.nodes_max = before.nodes_max;
	r->spf_wait_us = conf->spf_delay_us;
	r->origin.changed = true; /* with the new interval and lifetime */
	cost_profiles_make(&profiles, conf->cost);
	costs = !cost_profiles_equal(&profiles, &r->profiles);
	r->profiles = profiles;
	if (costs || r->conf.paths_max != before.paths_max ||
	    conf->hysteresis_percent != before.hysteresis_percent)
		paths_configured(r, costs, now);
}

/* --- identity and signatures --- */

static void
start_all(struct router *r, struct mono now)
{
	struct neighbour *n;

	for (n = neighbour_first(&r->neighbours); n != NULL; n = neighbour_next(&r->neighbours, n))
		sync_start(&n->sync, now);
}

int
router_identity(struct router *r, const struct router_identity *id, struct mono now)
{
	if (id->node == 0 || !node_name_valid(id->name) ||
	    (id->region[0] != '\0' && !node_name_valid(id->region)))
		return ERR_FORMAT;
	if (r->identified && id->node != r->self.node)
		return ERR_STATE;
	r->self = *id;
	r->signer = true;
	r->db.self = id->node;
	origin_identity(&r->origin, id->node, id->incarnation);
	if (!r->identified) {
		r->identified = true;
		r->fib_by = r->settle_by = mono_add_us(now, SETTLE_US);
		start_all(r, now);
		paths_want(r, now, PATHS_LATER);
	}
	return 0;
}

void
router_signer_down(struct router *r)
{
	r->signer = false;
	if (r->origin.in_flight)
		origin_failed(&r->origin, MONO_ZERO);
}

static void
quality_told(void *arg, uint64_t neighbour, bool degraded)
{
	struct router *r = arg;

	r->ops->event(r->arg, degraded ? ROUTER_LINK_DEGRADED : ROUTER_LINK_WELL, r->lsa.id.node, neighbour);
}

int
router_put(struct router *r, const uint8_t *raw, size_t len, struct mono born, struct mono now,
    struct lsdb_entry **out, bool *topology)
{
	const struct lsdb_entry *old = lsdb_get(&r->db, r->lsa.id.node);
	size_t before = old != NULL ? old->lsa->adj_count : 0;
	int err;

	if (before != 0)
		memcpy(r->adj_before, old->lsa->adj, before * sizeof(old->lsa->adj[0]));
	if ((err = lsdb_put(&r->db, &r->lsa, raw, len, born, now, out, topology)) == 0)
		quality_diff(r->adj_before, before, r->lsa.adj, r->lsa.adj_count, quality_told, r);
	return err;
}

/* The own LSA, signed, as any other would be taken. */
static int
own_put(struct router *r, struct mono now)
{
	const uint8_t *raw = buf_head(&r->origin.text);
	size_t len = buf_left(&r->origin.text);
	struct lsdb_entry *e;
	bool topology;
	int err;

	if ((err = lsa_decode(raw, len, &r->lsa)) != 0 ||
	    (err = r->ops->verify(r->arg, &r->lsa, raw, len)) != 0 ||
	    (err = router_put(r, raw, len, r->origin.made, now, &e, &topology)) != 0)
		return err;
	r->counters.lsa_originated++;
	exchange_flood(r, r->self.node, 0, now);
	if (topology || e->state == NODE_STATE_NEW)
		paths_want(r, now, PATHS_LATER);
	else
		paths_refreshed(r, e);
	return 0;
}

void
router_signature(struct router *r, uint32_t ticket, const uint8_t *sig, struct mono now)
{
	int err = ERR_DENIED;

	if (!r->origin.in_flight || ticket != r->origin.ticket)
		return; /* of an LSA that was given up */
	if (sig != NULL && (err = origin_signed(&r->origin, ticket, sig)) == 0)
		err = own_put(r, now);
	if (err == 0)
		return;
	if (err == ERR_NOMEM)
		r->counters.memory_out++;
	else
		r->counters.signatures_refused++;
	origin_failed(&r->origin, mono_add_us(now, SIGN_RETRY_US));
}

static void
put_extensions(struct router *r, struct lsa *l)
{
	struct buf out;

	r->about.lifetime_s = (uint32_t)((r->conf.lsa_max_age_us + 999999) / 1000000);
	buf_init_fixed(&out, r->tlv, sizeof(r->tlv));
	MUST(tlv_encode(&r->about, &out) == 0);
	l->tlv = r->tlv;
	l->tlv_len = (uint16_t)buf_left(&out);
}

/* So much later an LSA of now is refreshed: not by all nodes at the same time. */
static struct mono
refresh_at(struct router *r, int64_t interval_us, struct mono now)
{
	return mono_add_us(now, rng_jitter(&r->rng, interval_us * 9 / 10, 10));
}

static void
originate(struct router *r, struct mono now)
{
	struct lsa *l = &r->lsa;
	struct neighbour *n;
	size_t left_out;

	for (n = neighbour_first(&r->neighbours); n != NULL; n = neighbour_next(&r->neighbours, n))
		n->advertised = n->measured;
	memset(l, 0, sizeof(*l));
	memcpy(l->pubkey, r->self.pubkey, sizeof(l->pubkey));
	memcpy(l->name, r->self.name, sizeof(l->name));
	memcpy(l->region, r->self.region, sizeof(l->region));
	memcpy(l->software, r->conf.software, sizeof(l->software));
	l->flags = r->leaving ? LSA_FLAG_LEFT : 0;
	l->adj_count = (uint16_t)neighbour_table_adj(&r->neighbours, l->adj, &left_out);
	r->counters.adjacencies_left_out += left_out;
	put_extensions(r, l);
	r->refresh_old_at = refresh_at(r, LSA_REFRESH_US, now);
	if (origin_make(&r->origin, l, now, refresh_at(r, r->conf.lsa_refresh_us, now)) != 0) {
		r->counters.memory_out++;
		origin_failed(&r->origin, mono_add_us(now, RETRY_US));
		return;
	}
	paths_want(r, now, PATHS_LATER);
	r->ops->sign(r->arg, r->origin.ticket, buf_head(&r->origin.text), buf_left(&r->origin.text));
}

/* --- links --- */

void
router_links_begin(struct router *r)
{
	struct neighbour *n;

	r->fib_state = FIB_LINKS;
	for (n = neighbour_first(&r->neighbours); n != NULL; n = neighbour_next(&r->neighbours, n))
		n->seen = false;
}

static void
measure(struct router *r, struct neighbour *n, const struct router_link *l)
{
	n->measured = (struct lsa_adj){
	    .neighbour = l->peer,
	    .latency_us = l->rtt_us / 2,
	    .bandwidth_kbps = l->bandwidth_kbps,
	    .loss_ppm = l->loss_ppm,
	    .utilisation_permille = l->utilisation_permille,
	    .weight = l->weight,
	};
	if (!n->sync.synced)
		return;
	if (n->measured.weight != n->advertised.weight)
		r->origin.changed = true; /* no measurement: somebody wants it so */
	r->origin.moved |= neighbour_moved(n);
	r->origin.leapt |= neighbour_leapt(n);
}

int
router_link(struct router *r, const struct router_link *l, struct mono now)
{
	struct neighbour *n = neighbour_get(&r->neighbours, l->peer);
	bool fresh = n == NULL || n->since_unix_ms != l->since_unix_ms;

	if (l->peer == 0 || (r->identified && l->peer == r->self.node))
		return ERR_FORMAT;
	if (n == NULL && (n = neighbour_add(&r->neighbours, l->peer)) == NULL)
		return ERR_NOMEM;
	n->seen = true;
	n->since_unix_ms = l->since_unix_ms;
	measure(r, n, l);
	if (!n->sync.synced)
		n->advertised = n->measured;
	if (fresh && r->identified)
		sync_start(&n->sync, now);
	return 0;
}

static void
drop(struct router *r, struct neighbour *n, struct mono now)
{
	if (n->sync.synced) {
		r->origin.changed = true;
		paths_want(r, now, PATHS_AT_ONCE);
	}
	neighbour_del(&r->neighbours, n);
}

void
router_links_end(struct router *r, struct mono now)
{
	struct neighbour *n, *next;

	for (n = neighbour_first(&r->neighbours); n != NULL; n = next) {
		next = neighbour_next(&r->neighbours, n);
		if (!n->seen)
			drop(r, n, now);
	}
	paths_transport_up(r, now);
}

void
router_link_down(struct router *r, uint64_t peer, struct mono now)
{
	struct neighbour *n = neighbour_get(&r->neighbours, peer);

	if (n != NULL)
		drop(r, n, now);
}

void
router_transport_down(struct router *r, struct mono now)
{
	struct neighbour *n;

	while ((n = neighbour_first(&r->neighbours)) != NULL)
		drop(r, n, now);
	r->settle_by = mono_add_us(now, SETTLE_US);
	paths_transport_down(r, now);
}

/* --- what the own LSA says beside links --- */

static bool
same_addresses(const struct address_list *a, const struct address_list *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (strcmp(a->text[i], b->text[i]) != 0)
			return false;
	return true;
}

void
router_addresses(struct router *r, const struct address_list *list)
{
	if (same_addresses(&r->about.addresses, list))
		return;
	r->about.addresses = *list;
	r->origin.changed = true;
}

static bool
same_labels(const struct label_list *a, const struct label_list *b)
{
	for (size_t i = 0; i < a->count; i++)
		if (!label_has(b, a->text[i]))
			return false;
	return a->count == b->count;
}

void
router_labels(struct router *r, const struct label_list *services, const struct label_list *capabilities)
{
	if (same_labels(&r->about.services, services) && same_labels(&r->about.capabilities, capabilities))
		return;
	r->about.services = *services;
	r->about.capabilities = *capabilities;
	r->origin.changed = true;
}

void
router_wish(struct router *r, uint64_t unix_ms)
{
	r->about.wish_unix_ms = unix_ms;
	r->origin.changed = true;
}

void
router_node_dead(struct router *r, uint64_t node, bool dead, struct mono now)
{
	struct lsdb_entry *e = lsdb_get(&r->db, node);

	if (e == NULL || e->dead == dead || (r->identified && node == r->self.node))
		return;
	e->dead = dead;
	paths_want(r, now, true);
}

int
router_evicted(struct router *r, const uint8_t *body, size_t len, struct mono now)
{
	int err = idset_decode(&r->db.evicted, body, len);

	if (err != 0)
		return err;
	for (struct lsdb_entry *e = lsdb_from(&r->db, 0); e != NULL; e = lsdb_next(&r->db, e)) {
		if (!idset_has(&r->db.evicted, e->node) || (r->identified && e->node == r->self.node))
			continue;
		paths_evicted(r, e);
		lsdb_end(&r->db, e);
		paths_want(r, now, PATHS_AT_ONCE);
	}
	/* And who is not evicted any more is asked for. */
	if (r->identified)
		start_all(r, now);
	return 0;
}

void
router_inherit(struct router *r, struct router *before)
{
	idset_fini(&r->db.evicted);
	r->db.evicted = before->db.evicted;
	before->db.evicted = (struct idset){0};
}

void
router_leave(struct router *r)
{
	r->leaving = true;
	r->origin.changed = true;
}

bool
router_linked(struct router *r, uint64_t node)
{
	return neighbour_get(&r->neighbours, node) != NULL;
}

bool
router_transport(const struct router *r)
{
	return r->fib_state != FIB_AWAY;
}

bool
router_blind(const struct router *r)
{
	return r->blind;
}

int
router_used(struct router *r, uint64_t node, bool used)
{
	int err = 0;

	if (used)
		err = demand_add(&r->demand, node);
	else
		demand_del(&r->demand, node);
	if (err == 0)
		routes_demand(r, node, used);
	return err;
}

/* --- time --- */

static void
aged_out(void *arg, struct lsdb_entry *e)
{
	struct router *r = arg;

	r->counters.lsa_aged_out++;
	paths_ended(r, e);
}

/* When the own LSA is to be made: not while the links that are told, and their neighbours, are half known. */
static struct mono
originate_at(const struct router *r)
{
	struct mono due = origin_due(&r->origin);

	if (r->fib_state != FIB_LIVE && mono_before(due, r->settle_by))
		due = r->settle_by;
	return due;
}

/* What moved may have moved back meanwhile. */
static void
look_again(struct router *r)
{
	struct neighbour *n;

	r->origin.moved = r->origin.leapt = false;
	for (n = neighbour_first(&r->neighbours); n != NULL; n = neighbour_next(&r->neighbours, n)) {
		r->origin.moved |= n->sync.synced && neighbour_moved(n);
		r->origin.leapt |= n->sync.synced && neighbour_leapt(n);
	}
}

static void
originate_if_due(struct router *r, struct mono now)
{
	if (r->db.unsaid != 0)
		origin_hasten(&r->origin, r->refresh_old_at);
	/* A signature that does not come: the question or the answer was lost with a connection. */
	if (r->origin.in_flight && mono_diff_us(now, r->origin.made) >= SIGN_TIMEOUT_US)
		origin_failed(&r->origin, now);
	if (!r->signer || mono_before(now, originate_at(r)))
		return;
	if (!r->origin.changed)
		look_again(r);
	if (!mono_before(now, originate_at(r)))
		originate(r, now);
}

void
router_step(struct router *r, struct mono now)
{
	uint64_t aged = r->counters.lsa_aged_out;

	lsdb_expire(&r->db, now, aged_out, r);
	if (r->counters.lsa_aged_out != aged || damp_step(&r->damp, now))
		paths_want(r, now, PATHS_LATER);
	paths_step(r, now);
	originate_if_due(r, now);
	if (r->identified) { /* before, there is no name to speak under */
		exchange_check(r, now);
		exchange_step(r, now);
	}
}

struct mono
router_next(struct router *r)
{
	struct mono next = mono_min(mono_min(r->db.expiry, damp_next(&r->damp)), paths_next(r));

	if (r->origin.in_flight)
		next = mono_min(next, mono_add_us(r->origin.made, SIGN_TIMEOUT_US));
	else if (r->signer)
		next = mono_min(next, originate_at(r));
	return r->identified ? mono_min(next, exchange_next(r)) : next;
}

/* --- to look at --- */

const struct router_identity *
router_self(const struct router *r)
{
	return r->identified ? &r->self : NULL;
}

struct lsdb *
router_lsdb(struct router *r)
{
	return &r->db;
}

struct fib *
router_fib(struct router *r)
{
	return &r->fib;
}

const struct cost_profiles *
router_profiles(const struct router *r)
{
	return &r->profiles;
}

const struct router_counters *
router_counters(const struct router *r)
{
	return &r->counters;
}

void
router_show(struct router *r, struct router_summary *out)
{
	struct neighbour *n;

	*out = (struct router_summary){
	    .links = r->neighbours.count,
	    .nodes = r->db.count,
	    .routes = r->fib.count,
	    .lsdb_bytes = r->db.bytes,
	    .signer = r->signer,
	    .transport = router_transport(r),
	    .fib_installed = r->fib_state == FIB_LIVE,
	    .blind = r->blind,
	    .fib_version = r->fib.version,
	    .paths = r->fib.paths,
	    .waiting = r->routes.sweep ? r->fib.count : r->fib.waiting,
	    .links_damped = r->damp.damped,
	    .used = r->demand.count,
	};
	for (n = neighbour_first(&r->neighbours); n != NULL; n = neighbour_next(&r->neighbours, n))
		out->links_synced += n->sync.synced;
	for (struct lsdb_entry *e = lsdb_from(&r->db, 0); e != NULL; e = lsdb_next(&r->db, e))
		out->nodes_alive += e->state == NODE_STATE_ALIVE;
}
