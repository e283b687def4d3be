#include "tests/sim/measure.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "tests/sim/check.h"
#include "tests/sim/data.h"
#include "tests/sim/fault.h"
#include "tests/sim/member.h"
#include "tests/sim/net.h"
#include "tests/sim/node.h"
#include "tests/sim/warm.h"

enum {
	IDLE_MIN_S = 20,
	IDLE_GOSSIP_S = 60,
	IDLE_REFRESHES =
	    100, /* so many nodes refresh their LSAs in the time that nothing happens, or all do */
	REST_US = 3 * SIM_SECOND,
	SILENCE_MAX_US = 600 * SIM_SECOND,
	WARM_US = 5 * SIM_SECOND, /* after a warm start, until what that did at once is over */
	TRAFFIC_US = 5 * SIM_MS,  /* a data frame each, while things go wrong */
	STEP_US = SIM_MS,
};

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
    [MEASURE_RESTART] = "routerd_restart",
};

const char *
measure_name(enum measure_what what)
{
	return names[what];
}

/* Lets time pass, and tells how far it is. */
static void
pass(struct sim *s, int64_t us, const char *what)
{
	for (int64_t end = s->now + us; s->now < end;) {
		sim_run(s, end - s->now < SIM_SECOND ? end - s->now : SIM_SECOND);
		sim_progress(s, "%s, %lld s left", what, (long long)(end - s->now) / SIM_SECOND);
	}
}

/* Something was just changed: how long until all have routes again; then a rest. */
static void
converge(struct sim *s, struct figures *f, enum measure_what what)
{
	int64_t from = s->now;

	sim_progress(s, "%s", names[what]);
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

	while (s->now - from < SILENCE_MAX_US && member_waiting(s) != 0) {
		sim_run(s, SIM_SECOND);
		sim_progress(s, "%zu statements to gossip", member_waiting(s));
	}
	f->silence_us = s->now - from;
}

/* Long enough for refreshes to have their part. */
static int64_t
idle_s(const struct sim *s)
{
	int64_t seconds = IDLE_REFRESHES * (int64_t)s->shape.refresh_s / s->node_count;

	if (s->gossip_only)
		return IDLE_GOSSIP_S;
	if (seconds < IDLE_MIN_S)
		return IDLE_MIN_S;
	return seconds < s->shape.refresh_s ? seconds : s->shape.refresh_s;
}

static void
idle(struct sim *s, struct figures *f)
{
	struct sim_counters n = s->n;
	double node_seconds = (double)s->node_count * (double)idle_s(s);

	f->idle_us = idle_s(s) * SIM_SECOND;
	pass(s, f->idle_us, "idle");
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
		sim_progress(s, "%zu of %zu have it for dead", s->confirmed->count - first, others);
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
	node_die(s, s->watched_node, false);
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
	node_boot(s, s->watched_node);
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
	pass(s, 2 * us, "hang");
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

	fault_region(s, f->shape.part, side);
	fault_divide(s, side, false);
	converge(s, f, MEASURE_DIVIDE);
	fault_divide(s, side, true);
	converge(s, f, MEASURE_HEAL);
	free(side);
}

/* Links and FIB stay.  Its peers take what it says of itself for news. */
static void
restart(struct sim *s, struct figures *f)
{
	uint32_t index = (uint32_t)rng_below(&s->fault_rng, s->node_count);
	uint64_t suspect_false = s->n.suspect_false;
	int64_t from = s->now;
	struct router_summary sum;

	net_parts(s);
	node_restart_routerd(s, index);
	do {
		if (s->now - from > MEASURE_CONVERGED_US)
			sim_fail(s, "routerd of node %u does not know all nodes again", index);
		sim_run(s, STEP_US);
		router_show(s->nodes[index].router, &sum);
	} while (sum.nodes_alive != s->part_size[s->part[index]]);
	samples_add(&f->times[MEASURE_RESTART], s->now - from);
	sim_run(s, REST_US);
	f->suspect_restart += s->n.suspect_false - suspect_false;
	s->n.suspect_false = suspect_false; /* it has no links, it says */
}

static void
finish(struct sim *s, struct figures *f, clock_t began)
{
	f->down_false = s->n.down_false;
	f->suspect_false = s->n.suspect_false;
	f->dead_false = s->n.dead_false;
	f->n = s->n;
	f->hash = s->hash;
	f->cpu_seconds = (double)(clock() - began) / CLOCKS_PER_SEC;
	sim_progress_end(s);
	sim_free(s);
}

/* What this process has in memory. */
static size_t
resident(void)
{
	size_t size, pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	malloc_trim(0);
	if (f == NULL)
		return 0;
	if (fscanf(f, "%zu %zu", &size, &pages) != 2)
		pages = 0;
	fclose(f);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void
start(struct sim *s, struct figures *f)
{
	int64_t from = s->now;

	f->first_us = -1;
	if (s->sampled) {
		warm_start(s);
		pass(s, WARM_US, "begins");
		return;
	}
	node_start_all(s);
	if (!s->gossip_only) {
		if (!sim_run_until_converged(s, MEASURE_CONVERGED_US))
			sim_fail(s, "not converged after the start");
		f->first_us = s->now - from;
		sim_say(s, "start: converged after %lld us", (long long)f->first_us);
		sim_run(s, REST_US);
	}
	wait_silence(s, f);
	if (!s->gossip_only)
		warm_spread(s);
}

static void
disturb(struct sim *s, struct figures *f, unsigned number)
{
	if (!s->gossip_only) {
		break_link(s, f, false);
		break_link(s, f, true);
	}
	crash(s, f);
	if (s->gossip_only || number % 3 == 0)
		hang(s, f);
	if (!s->gossip_only && number % 3 == 0) {
		restart(s, f);
		divide(s, f);
	}
}

static void
measure_once(struct figures *out, const struct sim_shape *shape, uint64_t seed, unsigned rounds, bool verbose)
{
	size_t memory = resident();
	clock_t began = clock();
	struct sim *s = sim_new(shape, seed, 0, verbose);

	*out = (struct figures){.shape = *shape, .links = s->link_count, .seed = seed};
	s->progress = !verbose;
	start(s, out);
	idle(s, out);
	out->memory_bytes = resident() - memory;
	data_start(s, s->gossip_only ? 0 : TRAFFIC_US);
	for (unsigned i = 0; i < rounds; i++)
		disturb(s, out, i);
	if (!s->gossip_only) {
		sim_run(s, SIM_SETTLE_US);
		check_all(s);
	}
	finish(s, out, began);
}

void
measure(struct figures *out, const struct sim_shape *shape, uint64_t seed, unsigned rounds, bool twice,
    bool verbose)
{
	struct figures again;

	measure_once(out, shape, seed, rounds, verbose);
	if (!twice)
		return;
	fprintf(stderr, "sim: %u nodes: %.1f CPU seconds; once more\n", shape->nodes, out->cpu_seconds);
	measure_once(&again, shape, seed, rounds, false);
	if (out->hash != again.hash) {
		printf("sim: FAILED: %u nodes, seed %llu: two runs differ\n", shape->nodes,
		    (unsigned long long)seed);
		exit(1);
	}
	figures_fini(&again);
}

void
figures_fini(struct figures *f)
{
	for (unsigned i = 0; i < MEASURE_COUNT; i++)
		samples_fini(&f->times[i]);
}
