/*
 * net: links between nodes, and what passes them.
 *
 * Both transportds of a link have it (told), until they notice that it is silent or are told that it
 * was reset; then it is dialled again.  Frames arrive in order, or not at all.
 */
#ifndef TESTS_SIM_NET_H
#define TESTS_SIM_NET_H

#include "tests/sim/sim.h"

/* Makes the nodes' links: connected, SIM_DEGREE links for a node on average, latencies by distance. */
void topo_make(struct sim *s);

/* The link between two nodes, or NULL. */
struct sim_link *net_link(struct sim *s, uint32_t a, uint32_t b);
/* Which end of the link is it? */
static inline unsigned
net_side(const struct sim_link *l, uint32_t node)
{
	return node == l->b;
}

static inline uint32_t
net_peer(const struct sim_link *l, uint32_t node)
{
	return node == l->a ? l->b : l->a;
}

/* Does node's transportd have the link with peer? */
bool net_has(struct sim *s, uint32_t node, uint32_t peer);
/* Does the link not carry frames both ways between live nodes? */
bool net_broken(const struct sim *s, const struct sim_link *l);
/* pass, or whether a node is up, was changed: what follows from that.  reset: the ends are told at
 * once, else they have to notice. */
void net_changed(struct sim *s, struct sim_link *l, bool reset);
void net_set_pass(struct sim *s, struct sim_link *l, bool ab, bool ba, bool reset);
/* Tells node's router its link, as transportd does. */
void net_tell(struct sim *s, struct sim_link *l, uint32_t node);

/* A LINK_STATE frame to a neighbour; may be lost. */
void net_send_state(struct sim *s, uint32_t from, uint32_t to, const uint8_t *payload, size_t len);
/* How long a frame that is sent now takes from one end to the other; negative: it is lost. */
int64_t net_delay(struct sim *s, struct sim_link *l, uint32_t from);

/* Events. */
void net_lost(struct sim *s, const struct sim_event *ev);
void net_dial(struct sim *s, const struct sim_event *ev);
/* Is the frame still on the connection on which it was sent? */
bool net_arrives(struct sim *s, const struct sim_event *ev);

/* Finds parts, part_size and pairs (of a node that has a FIB, and one that it can reach) anew, if they are
 * not known. */
void net_parts(struct sim *s);
static inline bool
net_connected(struct sim *s, uint32_t a, uint32_t b)
{
	net_parts(s);
	return s->nodes[a].up && s->nodes[b].up && s->part[a] == s->part[b];
}

#endif
