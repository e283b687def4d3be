#include "transportd/peer.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/conf.h"
#include "common/os/log.h"
#include "common/os/loop.h"
#include "transportd/core/goaway.h"
#include "transportd/resolver.h"
#include "transportd/stats.h"
#include "transportd/transport.h"

enum { CROWD_WAIT_MS = 50 };

void
peers_init(struct peers *p)
{
	TAILQ_INIT(&p->all);
	p->count = 0;
	p->dialling = 0;
}

/* --- dialling --- */

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
complain(struct peer *p, const char *where, const char *why)
{
	char text[sizeof(p->complaint)];

	snprintf(text, sizeof(text), "%s", why);
	log_at(strcmp(text, p->complaint) != 0 ? LOG_WARNING : LOG_DEBUG, NULL,
	    "peer %s at %s can't be linked: %s; it is dialled again", p->name, where, why);
	memcpy(p->complaint, text, sizeof(text));
}

static bool
linked(const struct peer *p)
{
	return p->node != 0 && links_get(&p->t->links, p->node) != NULL;
}

static void
dial_ip(struct peer *p, const char *ip, uint16_t port)
{
	int err = conn_dial(p->t, p, p->configured, ip, port);

	if (err != 0) {
		complain(p, ip, err_text(err));
		try_later(p);
		return;
	}
	p->dialling = true;
	p->t->peers.dialling++;
}

static void
next_ip(struct peer *p)
{
	dial_ip(p, p->ips[p->ip_next++], p->ip_port);
}

static void
resolve(struct peer *p, const struct peer_address *a)
{
	p->ip_port = a->port;
	p->query = resolver_ask(p->t->resolver, a->host);
	if (p->query == 0) {
		complain(p, a->host, "names can't be resolved: the resolver is gone; restart transportd");
		try_later(p);
		return;
	}
	/* Should the resolver never answer. */
	wait_ms(p, RESOLVE_TIMEOUT_MS);
}

static void
attempt(struct peer *p)
{
	struct transport *t = p->t;
	const struct peer_address *a;

	if (!t->identity.known || t->stopping || p->dialling || linked(p))
		return;
	if (t->peers.dialling >= DIALS_AT_ONCE) {
		wait_ms(p, CROWD_WAIT_MS);
		return;
	}
	if (p->ip_next < p->ip_count) {
		next_ip(p);
		return;
	}
	a = &p->addresses[p->address_next];
	p->address_next = (p->address_next + 1) % p->address_count;
	if (a->numeric)
		dial_ip(p, a->host, a->port);
	else
		resolve(p, a);
}

static void
on_timer(void *arg)
{
	struct peer *p = arg;

	if (p->query != 0) {
		p->query = 0;
		complain(p, p->name, "its name could not be resolved in time");
	}
	attempt(p);
}

void
peer_resolved(void *arg, uint32_t query, const char ips[][PEER_IP_SIZE], size_t count)
{
	struct transport *t = arg;
	struct peer *p;

	stat_inc(count != 0 ? STAT_RESOLVED : STAT_UNRESOLVED);
	TAILQ_FOREACH (p, &t->peers.all, entry) {
		if (p->query != query)
			continue;
		p->query = 0;
		p->ip_next = p->ip_count = 0;
		if (count == 0) {
			complain(p, p->name, "its name can't be resolved");
			try_later(p);
			return;
		}
		for (; p->ip_count < count && p->ip_count < RESOLVED_MAX; p->ip_count++)
			memcpy(p->ips[p->ip_count], ips[p->ip_count], PEER_IP_SIZE);
		loop_timer_disarm(p->timer);
		attempt(p);
		return;
	}
}

/* --- what becomes of it --- */

static void
dial_over(struct peer *p)
{
	if (!p->dialling)
		return;
	p->dialling = false;
	p->t->peers.dialling--;
}

void
peer_conn_up(struct peer *p, uint64_t node)
{
	dial_over(p);
	p->node = node;
	p->ip_next = p->ip_count = 0;
	p->complaint[0] = '\0';
	loop_timer_disarm(p->timer);
}

/* Nothing but a person changes these. */
static bool
needs_operator(uint16_t code)
{
	return code == GOAWAY_WRONG_MESH || code == GOAWAY_WRONG_NODE || code == GOAWAY_BAD_CERT ||
	       code == GOAWAY_SELF || code == GOAWAY_VERSION;
}

void
peer_conn_gone(struct peer *p, uint16_t code, const char *why)
{
	dial_over(p);
	/* The duplicate went, the link is there; or the link is just going down: peers_link_down(). */
	if (linked(p))
		return;
	if (code != GOAWAY_DUPLICATE)
		complain(p, p->addresses[0].host, why[0] != '\0' ? why : goaway_text(code));
	if (needs_operator(code))
		p->backoff.next_ms = p->backoff.max_ms;
	try_later(p);
}

void
peers_link_down(struct transport *t, uint64_t node, bool settled)
{
	struct peer *p;

	TAILQ_FOREACH (p, &t->peers.all, entry) {
		if (p->node != node || p->dialling)
			continue;
		if (settled)
			backoff_reset(&p->backoff);
		try_later(p);
	}
}

void
peers_start(struct transport *t)
{
	struct peer *p;

	TAILQ_FOREACH (p, &t->peers.all, entry)
		if (!p->dialling && p->query == 0)
			wait_ms(p, 0);
}

/* --- configuration --- */

static void
peer_free(struct peer *p)
{
	struct transport *t = p->t;

	dial_over(p);
	conn_forget_peer(t, p);
	loop_timer_free(p->timer);
	TAILQ_REMOVE(&t->peers.all, p, entry);
	t->peers.count--;
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

/* The configuration has checked the form: host:port or [v6]:port. */
static void
address_read(struct peer_address *a, const char *text)
{
	const char *colon = strrchr(text, ':');
	size_t len = colon != NULL ? (size_t)(colon - text) : strlen(text);
	struct in6_addr ip;

	a->port = colon != NULL ? (uint16_t)strtoul(colon + 1, NULL, 10) : 0;
	if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	}
	snprintf(a->host, sizeof(a->host), "%.*s", (int)len, text);
	a->numeric = inet_pton(AF_INET, a->host, &ip) == 1 || inet_pton(AF_INET6, a->host, &ip) == 1;
}

static bool
same_addresses(const struct peer_address *a, const struct peer_address *b)
{
	for (size_t i = 0; i < PEER_ADDRESSES_MAX; i++)
		if (strcmp(a[i].host, b[i].host) != 0 || a[i].port != b[i].port)
			return false;
	return true;
}

static void
peer_read(struct peer *p, const struct conf *c, size_t i)
{
	const char *id = conf_block_str(c, "transportd", "peer", i, "node-id");
	size_t count = conf_block_values(c, "transportd", "peer", i, "address");
	struct peer_address old[PEER_ADDRESSES_MAX];
	uint64_t node = 0;

	memcpy(old, p->addresses, sizeof(old));
	memset(p->addresses, 0, sizeof(p->addresses));
	if (count > PEER_ADDRESSES_MAX) {
		log_warn("peer %s: only the first %d addresses are used", p->name, PEER_ADDRESSES_MAX);
		count = PEER_ADDRESSES_MAX;
	}
	for (size_t n = 0; n < count; n++)
		address_read(&p->addresses[n], conf_block_item(c, "transportd", "peer", i, "address", n));
	p->address_count = count;
	if (id != NULL && nodeid_parse(id, &node) != 0)
		node = 0;
	/* What was learned holds as long as it was learned from these addresses. */
	if (node != p->configured || !same_addresses(old, p->addresses)) {
		p->node = node;
		p->address_next = p->ip_next = p->ip_count = 0;
	}
	p->configured = node;
	backoff_init(&p->backoff, p->t->set.backoff_min_ms, p->t->set.backoff_max_ms);
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
		if (p->marked)
			continue;
		log_info("peer %s was removed from the configuration", p->name);
		peer_free(p);
		if (l != NULL && l->conn->dialled)
			link_close(l, GOAWAY_REMOVED, "");
	}
}

int
peers_read(struct transport *t, const struct conf *c)
{
	size_t count = conf_block_count(c, "transportd", "peer");
	struct peer *p;

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
		peer_read(p, c, i);
	}
	drop_unmarked(t);
	peers_start(t);
	return 0;
}
