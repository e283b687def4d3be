#include "tests/sim/warm.h"

#include <stdlib.h>
#include <string.h>

#include "routerd/core/router_impl.h"
#include "routerd/core/swim_impl.h"
#include "tests/sim/agree.h"
#include "tests/sim/net.h"
#include "tests/sim/node.h"
#include "tests/sim/share.h"

/* LSAs of this life before the one that is there. */
enum { SEQ = 7 };

/* --- LSAs --- */

static void
put_adj(struct lsa *l, const struct sim_link *link, uint32_t node)
{
	const struct lsa_adj a = {.neighbour = sim_id(net_peer(link, node)), .latency_us = link->latency_us};
	size_t i;

	for (i = l->adj_count; i > 0 && l->adj[i - 1].neighbour > a.neighbour; i--)
		l->adj[i] = l->adj[i - 1];
	l->adj[i] = a;
	l->adj_count++;
}

/* The node's LSA, with all its links. */
static void
lsa_make(struct sim *s, uint32_t index)
{
	static struct lsa l;
	static uint8_t raw[LSA_MAX_BYTES], tlv[LSA_TLV_MAX_BYTES];
	static struct node_about about;
	const struct sim_node *n = &s->nodes[index];
	struct router_identity id;
	struct lsa_body *body;
	struct buf b;

	node_identity(n, &id);
	memset(&l, 0, sizeof(l));
	l.id = (struct lsa_id){id.node, id.incarnation, SEQ};
	memcpy(l.pubkey, id.pubkey, sizeof(l.pubkey));
	memcpy(l.name, id.name, sizeof(l.name));
	memcpy(l.region, id.region, sizeof(l.region));
	memcpy(l.software, s->conf.software, sizeof(l.software));
	for (uint32_t i = 0; i < n->link_count; i++)
		put_adj(&l, &s->links[s->node_links[n->first_link + i]], index);
	about.lifetime_s = (uint32_t)(s->conf.lsa_max_age_us / SIM_SECOND);
	buf_init_fixed(&b, tlv, sizeof(tlv));
	MUST(tlv_encode(&about, &b) == 0);
	l.tlv = tlv;
	l.tlv_len = (uint16_t)buf_left(&b);
	buf_init_fixed(&b, raw, sizeof(raw));
	MUST(lsa_encode_unsigned(&l, &b) == 0);
	node_sign(id.node, raw, buf_left(&b), raw + buf_left(&b));
	MUST((body = lsa_body_new(&l, raw, buf_left(&b) + LSA_SIG_BYTES)) != NULL);
	share_add(s, index, body);
}

/* A refresh interval, as router.c draws it, and how much of it is over. */
static void
draw_age(struct sim *s, int64_t *interval_us, int64_t *age_us)
{
	*interval_us = rng_jitter(&s->rng, s->conf.lsa_refresh_us * 9 / 10, 10);
	*age_us = (int64_t)rng_below(&s->rng, (uint64_t)*interval_us);
}

/* --- a node's router --- */

static void
fill_database(struct sim_node *n, const int64_t *ages_us)
{
	struct sim *s = n->sim;
	struct mono now = node_now(n);
	struct lsdb_entry *e;
	bool topology;

	for (uint32_t i = 0; i < s->node_count; i++) {
		uint32_t origin = s->by_id[i];
		struct lsa_body *newest = share_newest(s, origin);
		struct mono born = mono_add_us(now, -ages_us[origin]);

		MUST(lsdb_put_body(&n->router->db, lsa_body_ref(newest), born, born, &e, &topology) == 0);
	}
}

static void
warm_router(struct sim_node *n, int64_t age_us, int64_t interval_us)
{
	struct router *r = n->router;
	struct mono now = node_now(n);
	struct neighbour *b;

	for (b = neighbour_first(&r->neighbours); b != NULL; b = neighbour_next(&r->neighbours, b)) {
		b->sync.active = false;
		b->sync.due = MONO_NEVER;
		b->sync.synced = true;
		b->advertised = b->measured;
	}
	r->origin.newest.seq = SEQ;
	r->origin.changed = r->origin.moved = false;
	r->origin.made = mono_add_us(now, -age_us);
	r->origin.refresh_at = mono_add_us(r->origin.made, interval_us);
	r->settle_by = now;
	r->check_at = mono_add_us(now, (int64_t)rng_below(&n->sim->rng, CHECK_INTERVAL_US));
}

/* --- its membership: the router told it who there is --- */

/* Everybody knows what this node says of itself, and nothing is left to be told. */
static void
warm_member(struct sim_node *n)
{
	struct swim *w = n->swim;
	struct mono now = node_now(n);

	swim_broadcasts_fini(&w->broadcasts);
	swim_broadcasts_init(&w->broadcasts, SWIM_BROADCASTS_MAX);
	w->sync_at = mono_add_us(now, (int64_t)rng_below(&n->sim->rng, (uint64_t)swim_pushpull_wait(w)));
	w->described_at = mono_add_us(now, -(int64_t)rng_below(&n->sim->rng, SWIM_MEASURED_US));
}

static void
share_metas(struct sim_node *n)
{
	struct sim *s = n->sim;
	struct swim_members *t = &n->swim->members;

	MUST(t->count == s->node_count);
	for (uint32_t i = 0; i < s->node_count; i++) {
		const struct sim_node *about = &s->nodes[s->by_id[i]];

		MUST(swim_members_sorted(t, i)->node == sim_id(about->index));
		if (about != n)
			swim_members_sorted(t, i)->meta = swim_meta_body_ref(about->swim->self->meta);
	}
}

/* --- all --- */

static void
start_node(struct sim *s, uint32_t index, const int64_t *intervals_us, const int64_t *ages_us)
{
	struct sim_node *n = &s->nodes[index];

	node_create(n);
	node_drain(n); /* its links */
	n->met = true;
	fill_database(n, ages_us);
	warm_router(n, ages_us[index], intervals_us[index]);
	router_step(n->router, node_now(n)); /* finds paths, and tells membership who there is */
	warm_member(n);
}

void
warm_start(struct sim *s)
{
	int64_t *intervals_us = sim_alloc(s->node_count, sizeof(intervals_us[0]));
	int64_t *ages_us = sim_alloc(s->node_count, sizeof(ages_us[0]));

	node_all_up(s);
	for (uint32_t i = 0; i < s->node_count; i++) {
		s->nodes[i].incarnation = 1;
		lsa_make(s, i);
		draw_age(s, &intervals_us[i], &ages_us[i]);
		s->nodes[i].incarnation = 0;
	}
	for (uint32_t i = 0; i < s->node_count; i++) {
		start_node(s, i, intervals_us, ages_us);
		if (i % 100 == 99)
			sim_progress(s, "%u nodes know all", i + 1);
	}
	for (uint32_t i = 0; i < s->node_count; i++) {
		share_metas(&s->nodes[i]);
		node_schedule(&s->nodes[i]);
	}
	agree_warm(s);
	free(intervals_us);
	free(ages_us);
}

void
warm_spread(struct sim *s)
{
	for (uint32_t i = 0; i < s->node_count; i++) {
		struct sim_node *n = &s->nodes[i];
		int64_t interval_us, age_us;

		draw_age(s, &interval_us, &age_us);
		if (n->router != NULL)
			n->router->origin.refresh_at = mono_add_us(node_now(n), interval_us - age_us);
		node_schedule(n);
	}
}
