#include "transportd/wish.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/id.h"
#include "common/base/mem.h"
#include "common/os/log.h"
#include "common/os/loop.h"
#include "transportd/core/goaway.h"
#include "transportd/transport.h"

/* gRPC status codes */
enum {
	WISH_INVALID_ARGUMENT = 3,
	WISH_NOT_FOUND = 5,
	WISH_PERMISSION_DENIED = 7,
	WISH_RESOURCE_EXHAUSTED = 8,
	WISH_FAILED_PRECONDITION = 9,
	WISH_UNAVAILABLE = 14,
};

enum { COST_MAX = 65535, PORT_MAX = 65535 };

struct wish {
	LIST_ENTRY(wish) entry;
	uint64_t node;
	bool dropped;
	uint16_t weight;
};

/* --- what is noted of nodes --- */

static struct wish *
wish_get(const struct transport *t, uint64_t node)
{
	struct wish *w;

	LIST_FOREACH (w, &t->wishes.all, entry)
		if (w->node == node)
			return w;
	return NULL;
}

/* NULL: there is no room. */
static struct wish *
wish_note(struct transport *t, uint64_t node)
{
	struct wish *w = wish_get(t, node);

	if (w != NULL || t->wishes.count == WISHES_MAX || (w = mem_calloc(1, sizeof(*w))) == NULL)
		return w;
	w->node = node;
	LIST_INSERT_HEAD(&t->wishes.all, w, entry);
	t->wishes.count++;
	return w;
}

static void
wish_forget(struct transport *t, struct wish *w)
{
	LIST_REMOVE(w, entry);
	t->wishes.count--;
	mem_free(w);
}

bool
wish_dropped(const struct transport *t, uint64_t node)
{
	const struct wish *w = wish_get(t, node);

	return w != NULL && w->dropped;
}

uint32_t
wish_weight(const struct transport *t, uint64_t node)
{
	const struct wish *w = wish_get(t, node);

	return w != NULL ? w->weight : 0;
}

/* --- peers of full links that did not answer --- */

static void
on_trial_end(void *arg)
{
	struct transport *t = arg;
	struct peer *p, *next;

	for (p = TAILQ_FIRST(&t->peers.all); p != NULL; p = next) {
		next = TAILQ_NEXT(p, entry);
		if (p->kind != PEER_TRIED)
			continue;
		if (links_get(&t->links, p->node) != NULL)
			p->kind = PEER_ADDED;
		else
			peer_del(t, p);
	}
}

int
wishes_init(struct transport *t)
{
	LIST_INIT(&t->wishes.all);
	t->wishes.count = 0;
	t->wishes.trial = loop_timer_new(t->loop, on_trial_end, t);
	return t->wishes.trial != NULL ? 0 : ERR_NOMEM;
}

void
wishes_fini(struct transport *t)
{
	while (!LIST_EMPTY(&t->wishes.all))
		wish_forget(t, LIST_FIRST(&t->wishes.all));
	loop_timer_free(t->wishes.trial);
	t->wishes.trial = NULL;
}

/* --- what a request must be --- */

static bool __attribute__((format(printf, 3, 4)))
refuse(mesh_ipc_CallStatus *status, uint32_t code, const char *fmt, ...)
{
	va_list ap;

	status->code = code;
	va_start(ap, fmt);
	vsnprintf(status->message, sizeof(status->message), fmt, ap);
	va_end(ap);
	return false;
}

/* host:port or [v6]:port; false: it is neither. */
static bool
address_parse(const char *text, struct peer_address *out)
{
	const char *colon = strrchr(text, ':');
	size_t len = colon != NULL ? (size_t)(colon - text) : 0;
	bool bracketed = len > 2 && text[0] == '[' && text[len - 1] == ']';
	struct in6_addr ip;
	char *end;
	long port;

	*out = (struct peer_address){.port = 0};
	if (bracketed) {
		text++;
		len -= 2;
	}
	if (len == 0 || len >= sizeof(out->host) || colon[1] < '0' || colon[1] > '9')
		return false;
	port = strtol(colon + 1, &end, 10);
	if (*end != '\0' || port < 1 || port > PORT_MAX)
		return false;
	out->port = (uint16_t)port;
	memcpy(out->host, text, len);
	if (bracketed)
		return out->numeric = inet_pton(AF_INET6, out->host, &ip) == 1;
	out->numeric = inet_pton(AF_INET, out->host, &ip) == 1;
	return out->numeric ||
	       strspn(out->host, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_") == len;
}

/* The two ends: this node, and another one into *out. */
static bool
check_ends(const struct transport *t, const char *source, const char *target, uint64_t *out,
    mesh_ipc_CallStatus *status)
{
	uint64_t id;

	if (!t->identity.known)
		return refuse(status, WISH_UNAVAILABLE,
		    "this node does not know who it is yet: consensusd has not told it; try again");
	if (source[0] != '\0' && nodeid_parse(source, &id) != 0)
		return refuse(
		    status, WISH_INVALID_ARGUMENT, "source_node_id '%s' is not a node's id", source);
	if (source[0] != '\0' && id != t->identity.node_id)
		return refuse(status, WISH_FAILED_PRECONDITION,
		    "a link of node %s: ask that node's gateway; a node changes no links but its own",
		    source);
	if (nodeid_parse(target, out) != 0 || *out == 0)
		return refuse(
		    status, WISH_INVALID_ARGUMENT, "target_node_id '%s' is not a node's id", target);
	if (*out == t->identity.node_id)
		return refuse(status, WISH_INVALID_ARGUMENT,
		    "node %s is this node: it has no link with itself", target);
	return true;
}

static bool
check_numbers(const mesh_v1_AddLinkReq *req, mesh_ipc_CallStatus *status)
{
	if (req->latency_ms != 0 || req->bandwidth_mbps != 0)
		return refuse(status, WISH_INVALID_ARGUMENT,
		    "latency_ms and bandwidth_mbps are measured, they can't be set; cost can");
	if (req->cost < 0 || req->cost > COST_MAX)
		return refuse(status, WISH_INVALID_ARGUMENT, "cost %d: 0 to %d", (int)req->cost, COST_MAX);
	return true;
}

static bool
check_addresses(const mesh_v1_AddLinkReq *req, struct peer_address *out, mesh_ipc_CallStatus *status)
{
	_Static_assert(sizeof(req->addresses) / sizeof(req->addresses[0]) <= PEER_ADDRESSES_MAX, "room");

	for (pb_size_t i = 0; i < req->addresses_count; i++)
		if (!address_parse(req->addresses[i], &out[i]))
			return refuse(status, WISH_INVALID_ARGUMENT, "address '%s': host:port or [IPv6]:port",
			    req->addresses[i]);
	return true;
}

/* --- adding --- */

static bool
has_peer(const struct transport *t, uint64_t node)
{
	const struct peer *p;

	TAILQ_FOREACH (p, &t->peers.all, entry)
		if (p->node == node)
			return true;
	return false;
}

/* Those that had come by a wish. */
static void
del_peers(struct transport *t, uint64_t node)
{
	struct peer *p, *next;

	for (p = TAILQ_FIRST(&t->peers.all); p != NULL; p = next) {
		next = TAILQ_NEXT(p, entry);
		if (p->node == node && p->kind != PEER_CONFIGURED)
			peer_del(t, p);
	}
}

/* A peer of that kind, in the place of one that had come by a wish. */
static int
add_peer(struct transport *t, uint64_t node, enum peer_kind kind, const struct peer_address *addresses,
    size_t count)
{
	struct peer *fresh;

	del_peers(t, node);
	if (t->peers.count >= PEERS_MAX)
		return ERR_LIMIT;
	fresh = peer_add(t, node, addresses, count);
	if (fresh == NULL)
		return ERR_NOMEM;
	fresh->kind = kind;
	return 0;
}

/* No longer dropped, and with its weight, for which there is a note if it is not 0. */
static void
note_added(struct transport *t, uint64_t node, uint16_t weight)
{
	struct link *l = links_get(&t->links, node);
	struct wish *w = wish_get(t, node);

	if (w == NULL)
		return;
	w->dropped = false;
	w->weight = weight;
	if (weight == 0)
		wish_forget(t, w);
	if (l != NULL)
		router_link(t, l);
}

void
wish_add_link(struct transport *t, const mesh_v1_AddLinkReq *req, mesh_ipc_CallStatus *status)
{
	struct peer_address addresses[PEER_ADDRESSES_MAX];
	uint64_t node = 0;
	const char *why;
	int err = 0;

	if (!check_ends(t, req->source_node_id, req->target_node_id, &node, status) ||
	    !check_numbers(req, status) || !check_addresses(req, addresses, status))
		return;
	if ((why = transport_denied(t, node)) != NULL) {
		refuse(status, WISH_PERMISSION_DENIED,
		    why[0] != '\0' ? "node %s was evicted from the mesh"
				   : "node %s is listed under deny in mesh.conf",
		    req->target_node_id);
		return;
	}
	if (req->addresses_count == 0 && !has_peer(t, node) && links_get(&t->links, node) == NULL) {
		refuse(status, WISH_FAILED_PRECONDITION,
		    "node %s has not made known an address to dial: give one, or add the link at that node",
		    req->target_node_id);
		return;
	}
	if (req->cost != 0 && wish_note(t, node) == NULL)
		err = ERR_LIMIT;
	if (err == 0 && req->addresses_count != 0)
		err = add_peer(t, node, PEER_ADDED, addresses, req->addresses_count);
	if (err != 0) {
		refuse(status, WISH_RESOURCE_EXHAUSTED, "too many peers or wishes: at most %d and %d",
		    PEERS_MAX, WISHES_MAX);
		return;
	}
	note_added(t, node, (uint16_t)req->cost);
	log_notice("a link with node %s was asked for", req->target_node_id);
	peers_start(t);
}

void
wish_dial(struct transport *t, const mesh_ipc_Dial *dial)
{
	struct peer_address addresses[PEER_ADDRESSES_MAX];
	size_t count = 0;
	int err;

	if (dial->node_id == 0 || dial->node_id == t->identity.node_id || wish_dropped(t, dial->node_id) ||
	    transport_denied(t, dial->node_id) != NULL || has_peer(t, dial->node_id) ||
	    links_get(&t->links, dial->node_id) != NULL)
		return;
	for (pb_size_t i = 0; i < dial->addresses_count; i++)
		count += address_parse(dial->addresses[i], &addresses[count]);
	if (count == 0)
		return;
	err = add_peer(t, dial->node_id, PEER_TRIED, addresses, count);
	if (err != 0) {
		log_warn("a node is not dialled for full links: %s", err_text(err));
		return;
	}
	loop_timer_arm_ms(t->wishes.trial, WISH_TRIAL_MS);
	peers_start(t);
}

/* --- dropping --- */

void
wish_drop_link(struct transport *t, const mesh_v1_DropLinkReq *req, mesh_ipc_CallStatus *status)
{
	struct wish *w;
	struct link *l;
	uint64_t node = 0;

	if (!check_ends(t, req->source_node_id, req->target_node_id, &node, status))
		return;
	w = wish_note(t, node);
	if (w == NULL) {
		refuse(status, WISH_RESOURCE_EXHAUSTED,
		    "too many links are dropped or have a cost: at most %d", WISHES_MAX);
		return;
	}
	w->dropped = true;
	w->weight = 0;
	del_peers(t, node);
	log_notice(
	    "the link with node %s was dropped: it is neither dialled nor let in", req->target_node_id);
	l = links_get(&t->links, node);
	if (l != NULL)
		link_close(l, GOAWAY_REMOVED, "");
}
