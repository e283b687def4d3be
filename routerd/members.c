/*
 * members: who is alive: the membership core between the link-state database and the mesh.
 *
 * Each node of the database is a member; what the database knows of its links is told to the core with
 * each change.  Gossip goes to any node, over the forwarding table.  What the core finds dead although
 * others have links with it is taken off all paths; its events are those of nodes that people see.
 * While transportd is away, or its links are not back, the core is told that it can't see.
 */
#include "routerd/members.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/conf.h"
#include "common/os/crypto.h"
#include "common/os/log.h"
#include "common/os/metrics.h"
#include "routerd/core/swim_meta.h"
#include "routerd/nodemeta.h"
#include "routerd/routerd.h"

struct members {
	struct swim_conf conf;
	struct swim *swim;
	struct loop_timer *timer;
	struct loop_defer turn;
	struct bucket log_rate;
	enum swim_sight sight;
	bool met;         /* push/pull with a first neighbour was begun */
	bool deaths;      /* some began or ended: paths are to hear of it */
	uint64_t expired; /* of LSAs, when members were last compared with the database */
};

/* --- effects --- */

static void
op_send(void *arg, uint64_t node, const uint8_t *payload, size_t len)
{
	peer_transport_gossip(arg, node, payload, len);
}

/* What a line of log says of an event; NULL: none is written. */
static const struct {
	enum log_level level;
	const char *text;
} event_lines[SWIM_EVENT_COUNT] = {
    [SWIM_EVENT_JOIN] = {LOG_INFO, "member is alive"},
    [SWIM_EVENT_ALIVE] = {LOG_INFO, "member is alive after all"},
    [SWIM_EVENT_SUSPECT] = {LOG_INFO, "member is suspected: it does not answer, or has lost its links"},
    [SWIM_EVENT_DEAD] = {LOG_NOTICE, "member is dead: it has no links, or has not answered for long"},
    [SWIM_EVENT_LEFT] = {LOG_NOTICE, "member left"},
    [SWIM_EVENT_META] = {LOG_DEBUG, "member described itself anew"},
    [SWIM_EVENT_REFUTED] = {LOG_NOTICE, "others suspected this node; it has told them that it is alive"},
    [SWIM_EVENT_STALLED] = {LOG_NOTICE,
	"this process stood still for a while; nobody is blamed for what it missed"},
};

static void
log_event(struct members *m, enum swim_event ev, uint64_t node)
{
	struct mono now = clock_mono();
	char id[NODEID_TEXT_SIZE];
	struct log_ctx ctx = {.peer = node != 0 ? id : NULL};

	if (!log_enabled(event_lines[ev].level) || !bucket_ready(&m->log_rate, now))
		return;
	bucket_take(&m->log_rate, now);
	nodeid_format(id, node);
	log_at(event_lines[ev].level, &ctx, "%s", event_lines[ev].text);
}

static void
op_event(void *arg, enum swim_event ev, uint64_t node)
{
	struct routerd *d = arg;
	const struct router_identity *self = router_self(d->router);

	if (self != NULL && node == self->node && ev != SWIM_EVENT_REFUTED)
		return;
	if (ev == SWIM_EVENT_JOIN || ev == SWIM_EVENT_DEAD || ev == SWIM_EVENT_LEFT)
		d->members->deaths = true;
	log_event(d->members, ev, node);
	api_gateway_member(d, ev, node);
}

static void
op_user_event(void *arg, const struct swim_user_event *ev)
{
	api_gateway_user_event(arg, ev);
}

static const struct swim_ops ops = {op_send, op_event, op_user_event};

/* --- time --- */

/* The router must not be told in the middle of an effect of its own. */
static void
tell_deaths(struct routerd *d)
{
	struct swim_info info;
	uint64_t from = 0;

	d->members->deaths = false;
	while (swim_from(d->members->swim, from, &info)) {
		bool dead = info.state == SWIM_STATE_DEAD && !info.by_links;

		router_node_dead(d->router, info.node, dead, clock_mono());
		if ((from = info.node + 1) == 0)
			break;
	}
	engine_touch(d);
}

/* Nodes whose LSA has ended are members no more. */
static void
forget_expired(struct routerd *d)
{
	uint64_t expired = router_counters(d->router)->lsa_aged_out;
	struct swim_info info;
	uint64_t from = 0;

	if (expired == d->members->expired)
		return;
	d->members->expired = expired;
	while (swim_from(d->members->swim, from, &info)) {
		if (lsdb_get(router_lsdb(d->router), info.node) == NULL)
			swim_forget(d->members->swim, info.node);
		if ((from = info.node + 1) == 0)
			break;
	}
}

static void
step(void *arg)
{
	struct routerd *d = arg;
	struct members *m = d->members;

	forget_expired(d);
	swim_step(m->swim, clock_mono());
	if (m->deaths)
		tell_deaths(d);
	loop_timer_arm(m->timer, swim_next(m->swim));
}

static void
touch(struct routerd *d)
{
	loop_defer_add(d->loop, &d->members->turn);
}

/* --- what it is told --- */

/* What this node says about itself. */
static void
describe(struct routerd *d, const struct lsdb_entry *e)
{
	struct swim_meta meta;
	int err;

	nodemeta_fill(d, e, &meta);
	if ((err = swim_describe(d->members->swim, &meta, clock_mono())) != 0)
		log_debug("this node could not be described to the other members: %s", err_text(err));
}

void
members_describe(struct routerd *d)
{
	const struct router_identity *self = router_self(d->router);
	const struct lsdb_entry *e = self != NULL ? lsdb_get(router_lsdb(d->router), self->node) : NULL;

	if (e == NULL)
		return;
	describe(d, e);
	touch(d);
}

void
members_sight(struct routerd *d)
{
	struct members *m = d->members;
	enum swim_sight sight = !router_blind(d->router)      ? SWIM_SIGHT_CLEAR
				: router_transport(d->router) ? SWIM_SIGHT_DIM
							      : SWIM_SIGHT_NONE;

	if (sight == m->sight)
		return;
	if (sight == SWIM_SIGHT_CLEAR)
		log_notice("links and paths are back: membership goes on");
	m->sight = sight;
	m->met = m->met && sight != SWIM_SIGHT_NONE; /* what was missed is made up for with a neighbour */
	swim_sight(m->swim, sight, clock_mono());
	touch(d);
}

void
members_node(struct routerd *d, const struct lsdb_entry *e)
{
	const struct router_identity *self = router_self(d->router);
	struct members *m = d->members;
	/* Without a path because membership has it for dead: that is no news of its links. */
	const struct swim_listing l = {
	    .node = e->node,
	    .start = e->lsa->id.incarnation,
	    .seq = e->lsa->id.seq,
	    .linked = e->state == NODE_STATE_ALIVE || e->dead,
	    .left = e->state == NODE_STATE_LEFT,
	};
	bool neighbour = router_linked(d->router, e->node);
	int err;

	members_sight(d);
	if (e->state == NODE_STATE_EVICTED) {
		swim_forget(m->swim, e->node);
		touch(d);
		return;
	}
	if ((err = swim_list(m->swim, &l, clock_mono())) != 0)
		log_debug("a node could not be made a member: %s", err_text(err));
	swim_neighbour(m->swim, e->node, neighbour);
	if (self != NULL && e->node == self->node)
		describe(d, e);
	else if (neighbour && !m->met && l.linked) {
		m->met = true;
		swim_join(m->swim, e->node);
	}
	touch(d);
}

void
members_feed(struct routerd *d, uint64_t from, const uint8_t *payload, size_t len)
{
	swim_feed(d->members->swim, from, payload, len, clock_mono());
	touch(d);
}

int
members_event(struct routerd *d, const char *name, const uint8_t *payload, size_t len)
{
	int err = swim_user_event(d->members->swim, name, payload, len, clock_mono());

	touch(d);
	return err;
}

void
members_leave(struct routerd *d)
{
	swim_leave(d->members->swim, clock_mono());
	touch(d);
}

int
members_identity(struct routerd *d, const struct router_identity *id)
{
	int err = swim_identity(d->members->swim, id->node, id->incarnation, clock_mono());

	touch(d);
	return err;
}

/* --- looking --- */

bool
members_get(struct routerd *d, uint64_t node, struct swim_info *out)
{
	return swim_get(d->members->swim, node, out);
}

const struct swim_counters *
members_counters(struct routerd *d)
{
	return swim_counters(d->members->swim);
}

void
members_show(struct routerd *d, struct swim_summary *out)
{
	swim_show(d->members->swim, out);
}

/* --- life --- */

static void
read_conf(const struct conf *c, struct swim_conf *out)
{
	swim_conf_default(out);
	out->listed = true;
	out->members_max = (size_t)conf_int(c, "routerd", "nodes-max");
	out->probe_interval_us = conf_int(c, "routerd", "probe-interval");
	out->probe_timeout_us = conf_int(c, "routerd", "probe-timeout");
	out->gossip_interval_us = conf_int(c, "routerd", "gossip-interval");
	out->sync_interval_us = conf_int(c, "routerd", "push-pull-interval");
	out->suspicion_mult = (uint16_t)conf_int(c, "routerd", "suspicion-mult");
}

static struct swim *
new_swim(struct routerd *d)
{
	uint64_t seed;

	crypto_random(&seed, sizeof(seed));
	return swim_new(&d->members->conf, &ops, d, seed);
}

int
members_init(struct routerd *d, const struct conf *c)
{
	struct members *m = mem_calloc(1, sizeof(*m));

	if ((d->members = m) == NULL)
		return ERR_NOMEM;
	read_conf(c, &m->conf);
	bucket_init(&m->log_rate, ROUTERD_MEMBER_LOG_BURST, ROUTERD_MEMBER_LOG_US, clock_mono());
	m->turn = (struct loop_defer){.fn = step, .arg = d};
	m->swim = new_swim(d);
	m->timer = loop_timer_new(d->loop, step, d);
	return m->swim != NULL && m->timer != NULL ? 0 : ERR_NOMEM;
}

void
members_configure(struct routerd *d, const struct conf *c)
{
	read_conf(c, &d->members->conf);
	swim_configure(d->members->swim, &d->members->conf);
	touch(d);
}

int
members_reset(struct routerd *d)
{
	struct swim *fresh = new_swim(d);

	if (fresh == NULL)
		return ERR_NOMEM;
	swim_free(d->members->swim);
	d->members->swim = fresh;
	d->members->met = d->members->deaths = false;
	swim_sight(fresh, d->members->sight, clock_mono());
	return 0;
}

void
members_fini(struct routerd *d)
{
	struct members *m = d->members;

	if (m == NULL)
		return;
	loop_defer_del(&m->turn);
	loop_timer_free(m->timer);
	swim_free(m->swim);
	mem_free(m);
	d->members = NULL;
}
