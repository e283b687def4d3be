/*
 * reroute: which path client data takes, and leaving a path that does not serve any more.
 *
 * All installed paths of a destination are in the FIB, so traffic moves at once, and routerd is told
 * afterwards: when the first link of a path goes down, when nothing is answered on it, when its round
 * trips become long (core/pathhealth.h), or when a relay reports that it could not follow it.  Client
 * data is spread over what is left (core/spread.h); the other classes take the best of it.
 *
 * A destination is held while none of the paths that it may use has room in its window, nor room on its
 * first link.
 */
#ifndef TRANSPORTD_REROUTE_H
#define TRANSPORTD_REROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/mono.h"
#include "transportd/core/pathhealth.h"

struct frame;
struct path;
struct path_dst;
struct transport;

/* --- choosing --- */

/* For core/forward.h: how bad a path is; arg is the transport. */
unsigned reroute_badness(void *arg, uint64_t dst, uint32_t path_id);
/* The path that a frame of class client takes; false: there is no choice. */
bool reroute_pick(struct transport *t, uint64_t dst, const struct frame *f, uint32_t *path_id);

/* --- room --- */

/* Does the destination have several paths?  Then links do not hold it, this file does. */
bool reroute_choice(struct transport *t, uint64_t dst);
/* Holds the destination if none of its paths has room: true. */
bool reroute_hold(struct transport *t, struct path_dst *d);
/* The link is full: holds dst, which has several paths, if none has room: true. */
bool reroute_link_full(struct transport *t, uint64_t dst);
/* A link that was full has room. */
void reroute_link_relieved(struct transport *t);
/* Holds it no longer if one of its paths has room, or whatever they have. */
void reroute_consider(struct transport *t, struct path_dst *d);
void reroute_release(struct transport *t, struct path_dst *d);
/* consensusd has restarted: it holds nothing. */
void reroute_reset(struct transport *t);

/* --- leaving and returning --- */

void reroute_link_down(struct transport *t, uint64_t node);
void reroute_link_up(struct transport *t, uint64_t node);
/* The paths to dst have changed; 0: perhaps all have. */
void reroute_fib_changed(struct transport *t, uint64_t dst);
/* An UNREACHABLE frame for this node: true if it was about the path only, and nobody else minds. */
bool reroute_notice(struct transport *t, const struct frame *f);
/* What was on its way on the path is given up. */
void reroute_failed(struct path *p, enum pathhealth_reason reason);
/* The node asks again what has come, so its asks come and our answers do not: the best path to it is left, if
 * it was not just changed for that. */
void reroute_unheard(struct transport *t, uint64_t node);
/* The path's window has taken an answer. */
void reroute_answered(struct path *p, struct mono now);
/* The path's state is no longer what it was before. */
void reroute_settle(struct path *p, enum pathhealth_state before);
/* Tells routerd of a change if that is due. */
void reroute_report(struct path *p, struct mono now);
/* routerd is back: it is told of all paths that are not up. */
void reroute_router_up(struct transport *t);
/* For the metrics: by paths more are in the state. */
void reroute_state_changed(enum pathhealth_state state, int by);

#endif
