/*
 * carrier: a small network of routers that carries the frames of another simulation.
 *
 * Its first nodes are ends, whose machines the other simulation starts and ends; frames go from one end to
 * another along the FIBs, as data.h has it, over relays that live here alone.  Both simulations have one
 * clock, which begins with 0 when the routers have started; whoever has the next event goes first.
 *
 * An end's transportd does here what transportd/reroute.c does: a path is left when its first link goes, or
 * when a relay on it says that it can't follow it; and if something is on its way on that path, consensusd is
 * told.  (Of a path that only falls silent it is not told here: it is never told too early.)
 *
 * Nothing of sim.h is needed to use it: the names there are those of another world.
 */
#ifndef TESTS_SIM_CARRIER_H
#define TESTS_SIM_CARRIER_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

struct sim;
struct sim_path;

struct carrier_ops {
	/* A frame of the caller's is at its end `at`, after so many hops, or lost; it is the caller's again.
	 */
	void (*arrived)(void *arg, void *frame, uint32_t at, uint32_t hops);
	void (*lost)(void *arg, void *frame, bool no_route);
	/* transportd at an end tells that it has left a path to another one. */
	void (*rerouted)(void *arg, uint32_t at, uint32_t to);
	/* Something that must hold does not; does not return. */
	void (*fail)(void *arg, const char *text) __attribute__((noreturn));
	void (*tell)(void *arg, const char *text); /* of what goes on */
};

struct carrier_conf {
	uint32_t ends, relays;
	uint32_t far_us; /* latency of the longest links */
	uint64_t seed;
	bool verbose;
};

struct carrier_counts {
	uint64_t events, faults, repaired, notices, link_states, gossip;
};

/* All are up, and find each other from now on. */
struct sim *carrier_new(const struct carrier_conf *conf, const struct carrier_ops *ops, void *arg);
/* What is on its way is lost. */
void carrier_free(struct sim *s);
/* The time in us of the next event; the event; and what time it is otherwise, never later than that. */
int64_t carrier_next(const struct sim *s);
void carrier_step(struct sim *s);
void carrier_clock(struct sim *s, int64_t now_us);
/* The frame is the network's until it arrives or is lost, perhaps at once. */
void carrier_send(struct sim *s, uint32_t from, uint32_t to, void *frame);

/* An end's machine dies (reset: only its processes, so that its peers are told), and starts. */
void carrier_end_down(struct sim *s, uint32_t end, bool reset);
void carrier_end_up(struct sim *s, uint32_t end);
/* Something goes wrong in the network, or is mended. */
void carrier_fault(struct sim *s);
/* Everything is mended; or (scarred) only as much as ends need to reach each other, and no frame is lost or
 * late any more. */
void carrier_calm(struct sim *s, bool scarred);
/* From when on all must be well, if nothing happens until then; and looks whether it is. */
int64_t carrier_settled(const struct sim *s);
void carrier_check(struct sim *s);
uint64_t carrier_hash(const struct sim *s);
void carrier_show(const struct sim *s, struct carrier_counts *out);

/* --- for the network --- */

void carrier_arrived(struct sim *s, uint32_t src, uint32_t at, void *frame, int64_t sent_at, uint32_t hops);
void carrier_lost(struct sim *s, void *frame, bool no_route);
/* May the relay tell the source, which it does not do all the time? */
bool carrier_may_tell(struct sim *s, uint32_t relay, uint32_t src, uint32_t dst);
/* A relay has told that frames of `at` to dst could not go on. */
void carrier_notice(struct sim *s, uint32_t relay, uint32_t at, uint32_t dst);
void carrier_link_down(struct sim *s, uint32_t at, uint32_t peer);
/* Has transportd at `at` left the path?  Then any other is better. */
bool carrier_left(struct sim *s, uint32_t at, uint32_t dst, const struct sim_path *p);
void carrier_fail(const struct sim *s, const char *fmt, va_list ap)
    __attribute__((noreturn, format(printf, 2, 0)));
void carrier_say(const struct sim *s, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));

#endif
