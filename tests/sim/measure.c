#include "tests/sim/measure.h"

#include <malloc.h>
#include <stdlib.h>
#include <time.h>

#include "tests/sim/check.h"
#include "tests/sim/fault.h"
#include "tests/sim/member.h"
#include "tests/sim/net.h"
#include "tests/sim/node.h"

enum { IDLE_US = 60 * SIM_SECOND, REST_US = 3 * SIM_SECOND, SILENCE_MAX_US = 600 * SIM_SECOND };

static const char *const names[] = {
    [MEASURE_LINK_SILENT] = "link_silent",
    [MEASURE_LINK_RESET] = "link_reset",
    [MEASURE_CRASH] = "node_crash",
    [MEASURE_START] = "node_start",
    [MEASURE_DIVIDE] = "partition",
    [MEASURE_HEAL] = "heal",
    [MEASURE_NOTICED] = "down_by_link_state",
    [MEASURE_CONFIRMED] = "dead_by_membership",
    [MEASURE_CONFIRMED_ALL] = "dead_for_all",
    [MEASURE_SUSPECTED] = "hang_suspected",
    [MEASURE_REFUTED] = "hang_refuted",
};

const char *
measure_name(enum measure_what what)
{
	return names[what];
}

/* Something was just changed: how long until all have routes again; then a rest. */
static void
converge(struct sim *s, struct figures *f, enum measure_what what)
{
	int64_t from = s->now;

	if (!sim_run_until_converged(s, MEASURE_CONVERGED_US))
		sim_fail(s, "%s: not converged after %d s", names[what], MEASURE_CONVERGED_US / SIM_SECOND);
	samples_add(&f->times[what], s->now - from);
	sim_say(s, "%s: converged after %lld us", names[what], (long long)(s->now - from));
	sim_run(s, REST_US);
}

/* What members say of themselves after a start goes round first: minutes in large networks. */
static void
wait_silence(struct sim *s, struct figures *f)
{
	int64_t from = s->now;

	while (s->now - from < SILENCE_MAX_US && member_waiting(s) != 0)
		sim_run(s, SIM_SECOND);
	f->silence_us = s->now - from;
}

static void
idle(struct sim *s, struct figures *f)
{
	struct sim_counters n = s->n;
	double node_seconds = (double)s->node_count * (IDLE_US / SIM_SECOND);

	sim_run(s, IDLE_US);
	f->idle_bytes = (double)(s->n.bytes - n.bytes) / node_seconds;
	f->idle_frames = (double)(s->n.frames - n.frames) / node_seconds;
	f->idle_gossip = (double)(s->n.gossip_bytes - n.gossip_bytes) / node_seconds;
	f->idle_gossip_hops = (double)(s->n.gossip_hop_bytes - n.gossip_hop_bytes) / node_seconds;
}

static void
break_link(struct sim *s, struct figures *f, bool reset)
{
	struct sim_link *l = &s->links[rng_below(&s->fault_rng, s->link_count)];

	net_set_pass(s, l, false, false, reset);
	converge(s, f, reset ? MEASURE_LINK_RESET : MEASURE_LINK_SILENT);
	net_set_pass(s, l, true, true, false);
	sim_run(s, REST_US);
}

/* --- nodes that die or hang: what the others say of the one that is watched --- */

static int64_t
last_of(const struct samples *v, size_t first)
{
	int64_t last = 0;

	for (size_t i = first; i < v->count; i++)
		last = v->us[i] > last ? v->us[i] : last;
	return last;
}

/* What was noted of an event becomes times since then. */
static void
relate(struct samples *v, size_t first, int64_t from)
{
	for (size_t i = first; i < v->count; i++)
		v->us[i] -= from;
}

static void
watch(struct sim *s, struct figures *f)
{
	s->watched_node = (uint32_t)rng_below(&s->fault_rng, s->node_count);
	s->watching_node = true;
	s->noticed = &f->times[MEASURE_NOTICED];
	s->confirmed = &f->times[MEASURE_CONFIRMED];
}

/* Lets time pass until all others have the watched node for dead. */
static void
wait_confirmed(struct sim *s, size_t first, size_t others)
{
	int64_t end = s->now + MEASURE_DEAD_US;

	while (s->confirmed->count - first < others) {
		if (s->now >= end)
			sim_fail(s, "%zu of %zu nodes have node %u for dead after %d s",
			    s->confirmed->count - first, others, s->watched_node,
			    MEASURE_DEAD_US / SIM_SECOND);
		sim_run(s, 10 * SIM_MS);
	}
}

static void
crash(struct sim *s, struct figures *f)
{
	size_t noticed = f->times[MEASURE_NOTICED].count, confirmed = f->times[MEASURE_CONFIRMED].count;
	size_t others = s->node_count - 1;
	int64_t from = s->now;

	watch(s, f);
	node_crash(s, s->watched_node, false);
	net_parts(s);
	if (!s->gossip_only) {
		others = s->part_size[s->part[s->watched_node == 0 ? 1 : 0]];
		converge(s, f, MEASURE_CRASH);
	}
	wait_confirmed(s, confirmed, others);
	s->watching_node = false;
	f->notices_due += others;
	relate(&f->times[MEASURE_NOTICED], noticed, from);
	relate(&f->times[MEASURE_CONFIRMED], confirmed, from);
	samples_add(&f->times[MEASURE_CONFIRMED_ALL], last_of(&f->times[MEASURE_CONFIRMED], confirmed));
	sim_say(s, "crash: all have node %u for dead after %lld us", s->watched_node,
	    (long long)last_of(&f->times[MEASURE_CONFIRMED], confirmed));
	node_start(s, s->watched_node);
	if (s->gossip_only)
		sim_run(s, MEASURE_HANG_US);
	else
		converge(s, f, MEASURE_START);
}

/* A routerd that does nothing for a while: suspected, but not taken for dead; then it is not. */
static void
hang(struct sim *s, struct figures *f)
{
	uint64_t suspect_false = s->n.suspect_false;
	int64_t from = s->now, us = s->gossip_only ? MEASURE_HANG_GOSSIP_US : MEASURE_HANG_US;
	struct samples suspected = {0};

	watch(s, f);
	s->noticed = s->confirmed = NULL;
	s->suspected = &suspected;
	s->refuted_at = 0;
	node_hang(s, s->watched_node, us);
	sim_run(s, 2 * us);
	s->watching_node = false;
	s->suspected = NULL;
	s->n.suspect_false = suspect_false; /* with reason */
	if (suspected.count != 0)
		samples_add(&f->times[MEASURE_SUSPECTED], samples_at(&suspected, 0) - from);
	if (s->refuted_at > from + us)
		samples_add(&f->times[MEASURE_REFUTED], s->refuted_at - from - us);
	sim_say(s, "hang: node %u is suspected by %zu", s->watched_node, suspected.count);
	samples_fini(&suspected);
}

static void
divide(struct sim *s, struct figures *f)
{
	bool *side = sim_alloc(s->node_count, sizeof(side[0]));

	fault_region(s, s->node_count / 4 + 1, side);
	fault_divide(s, side, false);
	converge(s, f, MEASURE_DIVIDE);
	fault_divide(s, side, true);
	converge(s, f, MEASURE_HEAL);
	free(side);
}

static void
finish(struct sim *s, struct figures *f, clock_t began)
{
	f->down_false = s->n.down_false;
	f->suspect_false = s->n.suspect_false;
	f->dead_false = s->n.dead_false;
	f->events = s->n.events;
	f->hash = s->hash;
	f->cpu_seconds = (double)(clock() - began) / CLOCKS_PER_SEC;
	sim_free(s);
}

void
measure(struct figures *out, uint32_t nodes, uint64_t seed, unsigned rounds, bool verbose)
{
	size_t memory = mallinfo2().uordblks;
	clock_t began = clock();
	struct sim *s = sim_new(nodes, seed, 0, verbose);

	*out = (struct figures){.nodes = nodes, .links = s->link_count, .seed = seed};
	out->first_us = -s->now;
	node_start_all(s);
	if (!sim_run_until_converged(s, MEASURE_CONVERGED_US))
		sim_fail(s, "not converged after the start");
	out->first_us += s->now;
	sim_say(s, "start: converged after %lld us", (long long)out->first_us);
	sim_run(s, REST_US);
	wait_silence(s, out);
	idle(s, out);
	out->memory_bytes = mallinfo2().uordblks - memory;
	for (unsigned i = 0; i < rounds; i++) {
		break_link(s, out, false);
		break_link(s, out, true);
		crash(s, out);
		if (i % 3 != 0)
			continue;
		divide(s, out);
		hang(s, out);
	}
	sim_run(s, SIM_SETTLE_US);
	check_all(s);
	finish(s, out, began);
}

void
measure_gossip(struct figures *out, uint32_t nodes, uint64_t seed, unsigned rounds, bool verbose)
{
	size_t memory = mallinfo2().uordblks;
	clock_t began = clock();
	struct sim *s = sim_new_gossip(nodes, seed, verbose);

	*out = (struct figures){.nodes = nodes, .links = s->link_count, .seed = seed, .gossip_only = true};
	node_start_all(s);
	wait_silence(s, out);
	idle(s, out);
	out->memory_bytes = mallinfo2().uordblks - memory;
	for (unsigned i = 0; i < rounds; i++) {
		crash(s, out);
		hang(s, out);
	}
	finish(s, out, began);
}

void
figures_fini(struct figures *f)
{
	for (unsigned i = 0; i < MEASURE_COUNT; i++)
		samples_fini(&f->times[i]);
}
