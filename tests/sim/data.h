/*
 * data: frames of applications, forwarded as transportd does it (transportd/core/forward.h): the
 * source gives the whole path, a relay that lacks the next link takes a path of its own.
 *
 * Nodes send to few others at a time, which change: routerd is told whom (router_used()), and has more paths
 * to these.
 */
#ifndef TESTS_SIM_DATA_H
#define TESTS_SIM_DATA_H

#include "tests/sim/sim.h"

/* The way that a frame which is sent now takes, by the FIBs as they are: us, negative if it is lost. */
struct data_way {
	int64_t us;
	uint32_t hops, header_bytes; /* hop headers, over all hops */
};
struct data_way data_way(struct sim *s, uint32_t from, uint32_t to);

/* Sends data frames from now on: one each us, from random nodes that have a FIB. */
void data_start(struct sim *s, int64_t us);
/* Events. */
void data_inject(struct sim *s);
void data_frame(struct sim *s, struct sim_event *ev);
void data_unused(struct sim *s, const struct sim_event *ev);

struct data;
struct sim_path;
/* Sends a frame of the carrier's (carrier.h), which hears what becomes of it; the path that it takes,
 * borrowed from the FIB, or NULL. */
const struct sim_path *data_send(struct sim *s, uint32_t src, uint32_t dst, void *payload);
/* One that is still on its way at the end. */
void data_free(struct sim *s, struct data *d);

/* Tells a routerd that has just started which destinations are used. */
void data_tell(struct sim_node *n);
/* transportd is gone, and with it what it sent. */
void data_clear(struct sim_node *n);

#endif
