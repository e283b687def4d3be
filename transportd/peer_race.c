#include "transportd/peer_race.h"

#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "common/os/loop.h"
#include "transportd/resolver.h"
#include "transportd/transport.h"

static void
note(struct peer *p, const char *why)
{
	snprintf(p->reason, sizeof(p->reason), "%s", why);
}

/* --- names --- */

static void
answered(struct peer *p, size_t i)
{
	p->queries[i] = 0;
	p->t->peers.asking--;
	eyeballs_answered(&p->race);
}

static void
stop_asking(struct peer *p)
{
	for (size_t i = 0; i < PEER_ADDRESSES_MAX; i++)
		if (p->queries[i] != 0)
			answered(p, i);
}

static void
ask(struct peer *p, size_t i, const char *host)
{
	p->queries[i] = resolver_ask(p->t->resolver, host);
	if (p->queries[i] == 0) {
		note(p, resolver_gone(p->t->resolver)
			    ? "names can't be resolved: the resolver is gone; restart transportd"
			    : "names can't be resolved yet");
		return;
	}
	p->t->peers.asking++;
	eyeballs_ask(&p->race);
}

unsigned
peer_race_names(const struct peer_conf *c)
{
	unsigned n = 0;

	if (c->via_proxy)
		return !c->proxy.numeric;
	for (size_t i = 0; i < c->address_count; i++)
		n += !c->addresses[i].numeric;
	return n;
}

/* --- candidates --- */

static bool
same_candidate(const struct eyeballs_candidate *a, const struct eyeballs_candidate *b)
{
	return a->rank == b->rank && a->port == b->port && strcmp(a->ip, b->ip) == 0;
}

static bool
is_bad(const struct peer *p, const struct eyeballs_candidate *c)
{
	for (size_t i = 0; i < p->bad_count; i++)
		if (same_candidate(&p->bad[i], c))
			return true;
	return false;
}

void
peer_race_bad(struct peer *p)
{
	if (is_bad(p, &p->won))
		return;
	if (p->bad_count == PEER_BAD_MAX)
		p->bad_count = 0;
	p->bad[p->bad_count++] = p->won;
}

static void
add(struct peer *p, size_t rank, const char *ip, uint16_t port)
{
	struct eyeballs_candidate c = {.port = port, .rank = (uint8_t)rank};
	int err;

	snprintf(c.ip, sizeof(c.ip), "%s", ip);
	err = eyeballs_add(&p->race, ip, port, c.rank, is_bad(p, &c));
	if (err != 0)
		log_debug("peer %s: address %s is left out: %s", p->name, ip, err_text(err));
}

/* A proxy leads to each of the addresses, by their names. */
static void
add_proxy(struct peer *p, const char *ip)
{
	for (size_t i = 0; i < p->conf.address_count; i++)
		add(p, i, ip, p->conf.proxy.port);
}

static void
gather(struct peer *p)
{
	const struct peer_conf *c = &p->conf;

	if (c->via_proxy) {
		if (c->proxy.numeric)
			add_proxy(p, c->proxy.host);
		else
			ask(p, 0, c->proxy.host);
		return;
	}
	for (size_t i = 0; i < c->address_count; i++) {
		if (c->addresses[i].numeric)
			add(p, i, c->addresses[i].host, c->addresses[i].port);
		else
			ask(p, i, c->addresses[i].host);
	}
}

static void
make_way(const struct peer *p, const struct eyeballs_candidate *c, struct dial_way *way)
{
	const struct peer_conf *conf = &p->conf;
	const struct peer_address *target = &conf->addresses[c->rank];

	memset(way, 0, sizeof(*way));
	memcpy(way->ip, c->ip, sizeof(way->ip));
	way->port = c->port;
	memcpy(way->target_host, target->host, sizeof(way->target_host));
	way->target_port = target->port;
	memcpy(way->sni, conf->sni, sizeof(way->sni));
	memcpy(way->host, conf->host, sizeof(way->host));
	way->via_proxy = conf->via_proxy;
	memcpy(way->proxy_auth, conf->proxy_auth, sizeof(way->proxy_auth));
	way->token = way->check_name = conf->token;
	way->token_lifetime_s = p->t->peers.token_lifetime_s;
	way->node = conf->node;
	way->authorities = p->authorities;
}

/* --- the race --- */

void
peer_race_end(struct peer *p)
{
	stop_asking(p);
	p->racing = false;
	loop_timer_disarm(p->timer);
}

void
peer_race_begin(struct peer *p)
{
	struct mono now = clock_mono();

	eyeballs_init(&p->race, now);
	p->reason[0] = '\0';
	p->racing = true;
	p->ask_until = mono_add_ms(now, RESOLVE_TIMEOUT_MS);
	gather(p);
}

static void
race_begin_one(struct peer *p, struct mono now)
{
	struct dial_way way;
	int err;

	make_way(p, eyeballs_begin(&p->race, now), &way);
	err = conn_dial(p->t, p, p->conf.node, 0, &way);
	if (err != 0) {
		note(p, err_text(err));
		eyeballs_failed(&p->race, now);
		return;
	}
	p->dials++;
	p->t->peers.dialling++;
}

bool
peer_race_step(struct peer *p)
{
	struct mono now = clock_mono(), next;

	if (p->race.asked != 0 && !mono_before(now, p->ask_until)) {
		note(p, "its name could not be resolved in time");
		stop_asking(p);
	}
	while (!mono_before(now, eyeballs_next(&p->race))) {
		if (p->t->peers.dialling >= DIALS_AT_ONCE) {
			loop_timer_arm_ms(p->timer, CROWD_WAIT_MS);
			return true;
		}
		race_begin_one(p, now);
	}
	if (eyeballs_over(&p->race)) {
		peer_race_end(p);
		return false;
	}
	next = p->race.asked != 0 ? p->ask_until : MONO_NEVER;
	loop_timer_arm(p->timer, mono_min(next, eyeballs_next(&p->race)));
	return true;
}

static void
take(struct peer *p, size_t i, const char ips[][PEER_IP_SIZE], size_t count)
{
	if (count == 0)
		note(p, "its name can't be resolved");
	for (size_t n = 0; n < count && n < RESOLVED_MAX; n++) {
		if (p->conf.via_proxy)
			add_proxy(p, ips[n]);
		else
			add(p, i, ips[n], p->conf.addresses[i].port);
	}
	answered(p, i);
}

bool
peer_race_answer(struct peer *p, uint32_t query, const char ips[][PEER_IP_SIZE], size_t count)
{
	for (size_t i = 0; i < PEER_ADDRESSES_MAX; i++) {
		if (p->queries[i] == query) {
			take(p, i, ips, count);
			return true;
		}
	}
	return false;
}

void
peer_race_failed(struct peer *p, const char *why)
{
	note(p, why);
	eyeballs_failed(&p->race, clock_mono());
	/* Not now: libwebsockets is ending the one that failed. */
	loop_timer_arm_ms(p->timer, 0);
}

/* The number of the address that a way leads to. */
static uint8_t
rank_of(const struct peer *p, const struct dial_way *way)
{
	size_t i = 0;

	while (i + 1 < p->conf.address_count && (strcmp(p->conf.addresses[i].host, way->target_host) != 0 ||
						    p->conf.addresses[i].port != way->target_port))
		i++;
	return (uint8_t)i;
}

void
peer_race_won(struct peer *p, const struct dial_way *way)
{
	peer_race_end(p);
	p->won = (struct eyeballs_candidate){.port = way->port, .rank = rank_of(p, way)};
	memcpy(p->won.ip, way->ip, sizeof(p->won.ip));
}
