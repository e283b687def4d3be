#include "tests/sim/measure.h"

#include <malloc.h>
#include <stdlib.h>
#include <time.h>

#include "tests/sim/check.h"
#include "tests/sim/fault.h"
#include "tests/sim/net.h"
#include "tests/sim/node.h"

enum { IDLE_US = 60 * SIM_SECOND, REST_US = 3 * SIM_SECOND };

static const char *const names[] = {
    [MEASURE_LINK_SILENT] = "link_silent",
    [MEASURE_LINK_RESET] = "link_reset",
    [MEASURE_CRASH] = "node_crash",
    [MEASURE_START] = "node_start",
    [MEASURE_DIVIDE] = "partition",
    [MEASURE_HEAL] = "heal",
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
	samples_add(&f->converged[what], s->now - from);
	sim_say(s, "%s: converged after %lld us", names[what], (long long)(s->now - from));
	sim_run(s, REST_US);
}

static void
idle(struct sim *s, struct figures *f)
{
	uint64_t bytes = s->n.bytes, frames = s->n.frames;
	double node_seconds = (double)s->node_count * (IDLE_US / SIM_SECOND);

	sim_run(s, IDLE_US);
	f->idle_bytes = (double)(s->n.bytes - bytes) / node_seconds;
	f->idle_frames = (double)(s->n.frames - frames) / node_seconds;
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

static void
crash(struct sim *s, struct figures *f)
{
	uint32_t node = (uint32_t)rng_below(&s->fault_rng, s->node_count);
	size_t first = f->noticed.count;
	int64_t from = s->now;

	s->noticed = &f->noticed;
	s->watched_node = node;
	s->watching_node = true;
	node_crash(s, node, false);
	net_parts(s);
	for (uint32_t i = 0; i < s->node_count; i++)
		f->notices_due += i != node && s->nodes[i].states[node] == NODE_STATE_ALIVE;
	converge(s, f, MEASURE_CRASH);
	s->watching_node = false;
	for (size_t i = first; i < f->noticed.count; i++)
		f->noticed.us[i] -= from;
	node_start(s, node);
	converge(s, f, MEASURE_START);
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
	sim_run(s, REST_US);
	idle(s, out);
	out->memory_bytes = mallinfo2().uordblks - memory;
	for (unsigned i = 0; i < rounds; i++) {
		break_link(s, out, false);
		break_link(s, out, true);
		crash(s, out);
		if (i % 3 == 0)
			divide(s, out);
	}
	sim_run(s, SIM_SETTLE_US);
	check_all(s);
	out->down_false = s->n.down_false;
	out->events = s->n.events;
	out->hash = s->hash;
	out->cpu_seconds = (double)(clock() - began) / CLOCKS_PER_SEC;
	sim_free(s);
}

void
figures_fini(struct figures *f)
{
	for (unsigned i = 0; i < MEASURE_COUNT; i++)
		samples_fini(&f->converged[i]);
	samples_fini(&f->noticed);
}
