/*
 * node: a router core with models of its consensusd, transportd, clock and processor.
 */
#ifndef TESTS_SIM_NODE_H
#define TESTS_SIM_NODE_H

#include "tests/sim/sim.h"

void node_init(struct sim *s, uint32_t index);
void node_fini(struct sim *s, uint32_t index);
/* All links and machines are up. */
void node_all_up(struct sim *s);
/* Likewise, and routerd of each node starts within a fraction of a second. */
void node_start_all(struct sim *s);
/* The machine starts, with a higher incarnation and nothing else. */
void node_boot(struct sim *s, uint32_t index);
/* It dies.  reset: only its processes do, and its peers are told; else they have to notice. */
void node_die(struct sim *s, uint32_t index, bool reset);
/* routerd and consensusd die and start at once; transportd keeps links and FIB. */
void node_restart_routerd(struct sim *s, uint32_t index);
/* routerd does nothing for so long. */
void node_hang(struct sim *s, uint32_t index, int64_t us);

/* transportd tells of a link. */
void node_link_up(struct sim *s, uint32_t node, uint32_t peer, uint64_t session, uint32_t rtt_us);
void node_link_down(struct sim *s, uint32_t node, uint32_t peer);

/* A frame, a signature, news of a link: the event is the node's from now on. */
void node_take(struct sim *s, struct sim_event *ev);
/* Its loop has a turn. */
void node_wake(struct sim *s, const struct sim_event *ev);

/* Its cores, as they are when routerd has just started and knows its links; then a turn when they want it. */
void node_create(struct sim_node *n);
/* Takes what waits for the next turn. */
void node_drain(struct sim_node *n);
void node_schedule(struct sim_node *n);
/* Who it is, in this life. */
void node_identity(const struct sim_node *n, struct router_identity *out);
/* What stands for its signature. */
void node_sign(uint64_t id, const uint8_t *text, size_t len, uint8_t sig[LSA_SIG_BYTES]);

/* The node's clock. */
struct mono node_now(const struct sim_node *n);

#endif
