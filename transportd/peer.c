#include "transportd/peer.h"

#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/conf.h"
#include "common/os/log.h"
#include "common/os/loop.h"
#include "transportd/core/goaway.h"
#include "transportd/peer_race.h"
#include "transportd/stats.h"
#include "transportd/tls_dial.h"
#include "transportd/transport.h"

void
peers_init(struct peers *p)
{
	memset(p, 0, sizeof(*p));
	TAILQ_INIT(&p->all);
}

static void
wait_ms(struct peer *p, int64_t ms)
{
	loop_timer_arm_ms(p->timer, ms);
}

static void
try_later(struct peer *p)
{
	wait_ms(p, backoff_next_ms(&p->backoff, &p->t->rng));
}

/* One line per reason, not one per attempt. */
static void
complain(struct peer *p, const char *why)
{
	const struct peer_address *a = &p->conf.addresses[0];
	char text[sizeof(p->complaint)];

	snprintf(text, sizeof(text), "%s", why);
	log_at(strcmp(text, p->complaint) != 0 ? LOG_WARNING : LOG_DEBUG, NULL,
	    "peer %s at %s%s can't be linked: %s; it is dialled again", p->name, a->host,
	    p->conf.address_count > 1 ? " and other addresses" : "", why);
	memcpy(p->complaint, text, sizeof(text));
}

static bool
linked(const struct peer *p)
{
	return p->node != 0 && links_get(&p->t->links, p->node) != NULL;
}

/* --- the race for lane 0 --- */

static void
race(struct peer *p)
{
	if (p->t->stopping) {
		peer_race_end(p);
		return;
	}
	if (peer_race_step(p))
		return;
	complain(p, p->reason[0] != '\0' ? p->reason : "no address");
	try_later(p);
}

static void
attempt(struct peer *p)
{
	struct transport *t = p->t;

	if (!t->identity.known || t->stopping || p->dials != 0 || linked(p) || wish_dropped(t, p->node))
		return;
	if (t->peers.dialling >= DIALS_AT_ONCE ||
	    t->peers.asking + peer_race_names(&p->conf) > RESOLVES_AT_ONCE) {
		wait_ms(p, CROWD_WAIT_MS);
		return;
	}
	peer_race_begin(p);
	race(p);
}

static void
on_timer(void *arg)
{
	struct peer *p = arg;

	if (!p->racing)
		attempt(p);
	else if (linked(p)) /* the other side was faster */
		peer_race_end(p);
	else
		race(p);
}

void
peer_resolved(void *arg, uint32_t query, const char ips[][PEER_IP_SIZE], size_t count)
{
	struct transport *t = arg;
	struct peer *p;

	stat_inc(count != 0 ? STAT_RESOLVED : STAT_UNRESOLVED);
	TAILQ_FOREACH (p, &t->peers.all, entry) {
		if (peer_race_answer(p, query, ips, count)) {
			race(p);
			return;
		}
	}
}

/* --- further lanes --- */

bool
peer_dial_lane(struct transport *t, uint64_t node, unsigned lane)
{
	struct peer *p;

	MUST(lane < LANES_MAX);
	TAILQ_FOREACH (p, &t->peers.all, entry)
		if (p->node == node && p->way_known)
			break;
	if (p == NULL || (p->lanes & 1u << lane) != 0 || t->peers.dialling >= DIALS_AT_ONCE || t->stopping ||
	    mono_before(clock_mono(), p->lane_after))
		return false;
	p->way.authorities = p->authorities;
	p->way.token_lifetime_s = t->peers.token_lifetime_s;
	if (conn_dial(t, p, node, lane, &p->way) != 0)
		return false;
	p->lanes |= 1u << lane;
	t->peers.dialling++;
	return true;
}

static void
lane_over(struct peer *p, unsigned lane)
{
	if ((p->lanes & 1u << lane) == 0)
		return;
	p->lanes &= ~(1u << lane);
	p->t->peers.dialling--;
}

static void
lane_gone(struct peer *p, unsigned lane, uint16_t code, const char *why)
{
	uint32_t ms = backoff_next_ms(&p->lane_backoff, &p->t->rng);

	lane_over(p, lane);
	p->lane_after = mono_add_ms(clock_mono(), ms);
	log_debug(
	    "peer %s: lane %u can't be opened: %s", p->name, lane, why[0] != '\0' ? why : goaway_text(code));
}

/* --- what becomes of connections --- */

static void
dial_over(struct peer *p)
{
	if (p->dials == 0)
		return;
	p->dials--;
	p->t->peers.dialling--;
}

/* Those that are still on their way to an upgrade are not wanted any more. */
static void
drop_dials(struct peer *p, unsigned keep)
{
	conn_drop_dials(p->t, p);
	while (p->dials > keep)
		dial_over(p);
}

void
peer_conn_opened(struct peer *p, const struct dial_way *way)
{
	if (way->extra)
		return;
	peer_race_won(p, way);
	drop_dials(p, 1);
}

void
peer_conn_up(struct peer *p, uint64_t node, unsigned lane, const struct dial_way *way)
{
	backoff_reset(&p->lane_backoff);
	if (way->extra) {
		lane_over(p, lane);
		return;
	}
	dial_over(p);
	p->node = node;
	p->way = *way;
	p->way.extra = p->way_known = true;
	p->bad_count = 0;
	if (p->kind == PEER_TRIED)
		p->kind = PEER_ADDED;
	p->complaint[0] = '\0';
	loop_timer_disarm(p->timer);
}

/* Nothing but a person changes these. */
static bool
needs_operator(uint16_t code)
{
	return code == GOAWAY_WRONG_MESH || code == GOAWAY_WRONG_NODE || code == GOAWAY_BAD_CERT ||
	       code == GOAWAY_SELF || code == GOAWAY_VERSION || code == GOAWAY_REMOVED ||
	       code == GOAWAY_DENIED;
}

void
peer_conn_gone(struct peer *p, unsigned lane, const struct dial_way *way, uint16_t code, const char *why)
{
	if (way->extra) {
		lane_gone(p, lane, code, why);
		return;
	}
	dial_over(p);
	if (p->racing) {
		peer_race_failed(p, why[0] != '\0' ? why : goaway_text(code));
		return;
	}
	/* The duplicate went, the link is there; or the link is just going down: peers_link_down(). */
	if (linked(p) || p->dials != 0)
		return;
	if (code != GOAWAY_DUPLICATE)
		complain(p, why[0] != '\0' ? why : goaway_text(code));
	peer_race_bad(p);
	/* Another address may lead to the right one. */
	if (needs_operator(code) && p->race.count == 1)
		p->backoff.next_ms = p->backoff.max_ms;
	try_later(p);
}

void
peers_link_down(struct transport *t, uint64_t node, int64_t lived_ms)
{
	struct peer *p;

	TAILQ_FOREACH (p, &t->peers.all, entry) {
		if (p->node != node || p->dials != 0 || p->racing)
			continue;
		backoff_ease(&p->backoff, (uint64_t)lived_ms / LINK_HALF_LIFE_MS);
		try_later(p);
	}
}

void
peers_start(struct transport *t)
{
	struct peer *p;

	TAILQ_FOREACH (p, &t->peers.all, entry)
		if (p->dials == 0 && !p->racing)
			wait_ms(p, 0);
}

/* --- configuration --- */

/* Everything that was begun with the old addresses. */
static void
start_over(struct peer *p)
{
	peer_race_end(p);
	drop_dials(p, 0);
	for (unsigned lane = 0; lane < LANES_MAX; lane++)
		lane_over(p, lane);
	conn_forget_peer(p->t, p);
	p->way_known = false;
	p->bad_count = 0;
}

static void
peer_free(struct peer *p)
{
	struct transport *t = p->t;

	start_over(p);
	loop_timer_free(p->timer);
	TAILQ_REMOVE(&t->peers.all, p, entry);
	t->peers.count--;
	tls_authorities_free(p->authorities);
	explicit_bzero(p, sizeof(*p));
	mem_free(p);
}

void
peers_free(struct transport *t)
{
	while (!TAILQ_EMPTY(&t->peers.all))
		peer_free(TAILQ_FIRST(&t->peers.all));
}

static struct peer *
peer_find(struct transport *t, const char *name)
{
	struct peer *p;

	TAILQ_FOREACH (p, &t->peers.all, entry)
		if (strcmp(p->name, name) == 0)
			return p;
	return NULL;
}

static struct peer *
peer_new(struct transport *t, const char *name)
{
	struct peer *p = mem_calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	p->timer = loop_timer_new(t->loop, on_timer, p);
	if (p->timer == NULL) {
		mem_free(p);
		return NULL;
	}
	p->t = t;
	snprintf(p->name, sizeof(p->name), "%s", name);
	TAILQ_INSERT_TAIL(&t->peers.all, p, entry);
	t->peers.count++;
	return p;
}

struct peer *
peer_add(struct transport *t, uint64_t node, const struct peer_address *addresses, size_t count)
{
	char name[NODEID_TEXT_SIZE];
	struct peer *p;

	MUST(count <= PEER_ADDRESSES_MAX);
	nodeid_format(name, node);
	p = peer_new(t, name);
	if (p == NULL)
		return NULL;
	p->conf.node = p->node = node;
	memcpy(p->conf.addresses, addresses, count * sizeof(addresses[0]));
	p->conf.address_count = count;
	backoff_init(&p->backoff, t->set.backoff_min_ms, t->set.backoff_max_ms);
	backoff_init(&p->lane_backoff, t->set.backoff_min_ms, t->set.backoff_max_ms);
	return p;
}

void
peer_del(struct transport *t, struct peer *p)
{
	MUST(p->t == t);
	peer_free(p);
}

/* What can't be read is not replaced. */
static void
authorities_read(struct peer *p, const struct conf *c, size_t i)
{
	bool failed;
	void *fresh = peer_conf_authorities(c, i, &failed);

	if (failed)
		return;
	tls_authorities_free(p->authorities);
	p->authorities = fresh;
}

static void
peer_read(struct peer *p, const struct conf *c, size_t i)
{
	struct peer_conf fresh;

	peer_conf_read(&fresh, c, i, &p->conf);
	authorities_read(p, c, i);
	/* What was learned holds as long as it was learned from these addresses. */
	if (!peer_conf_same(&fresh, &p->conf)) {
		start_over(p);
		p->node = fresh.node;
	}
	memcpy(&p->conf, &fresh, sizeof(fresh));
	explicit_bzero(&fresh, sizeof(fresh));
	backoff_init(&p->backoff, p->t->set.backoff_min_ms, p->t->set.backoff_max_ms);
	backoff_init(&p->lane_backoff, p->t->set.backoff_min_ms, p->t->set.backoff_max_ms);
	p->marked = true;
}

/* A peer that left the configuration loses its link, unless the other side had dialled it. */
static void
drop_unmarked(struct transport *t)
{
	struct peer *p, *next;

	for (p = TAILQ_FIRST(&t->peers.all); p != NULL; p = next) {
		struct link *l = p->node != 0 ? links_get(&t->links, p->node) : NULL;

		next = TAILQ_NEXT(p, entry);
		if (p->marked || p->kind != PEER_CONFIGURED)
			continue;
		log_info("peer %s was removed from the configuration", p->name);
		peer_free(p);
		if (l != NULL && l->dialler)
			link_close(l, GOAWAY_REMOVED, "");
	}
}

int
peers_read(struct transport *t, const struct conf *c)
{
	size_t count = conf_block_count(c, "transportd", "peer");
	struct peer *p;

	t->peers.token_lifetime_s = conf_int(c, "transportd", "token-lifetime") / 1000000;
	TAILQ_FOREACH (p, &t->peers.all, entry)
		p->marked = false;
	if (count > PEERS_MAX) {
		log_error("too many peer blocks: at most %d", PEERS_MAX);
		return ERR_LIMIT;
	}
	for (size_t i = 0; i < count; i++) {
		const char *name = conf_block_name(c, "transportd", "peer", i);

		p = peer_find(t, name);
		if (p == NULL && (p = peer_new(t, name)) == NULL)
			return ERR_NOMEM;
		p->kind = PEER_CONFIGURED;
		peer_read(p, c, i);
	}
	drop_unmarked(t);
	peers_start(t);
	return 0;
}
