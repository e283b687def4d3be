#include "tests/sim/report.h"

#include <stdio.h>

#include "tests/sim/measure.h"

/* One row of the table: what it is, and its value for each size; negative: there is none. */
static void
row(const char *name, struct figures *f, size_t count, double (*value)(struct figures *f, unsigned arg),
    unsigned arg, int digits)
{
	printf("%-42s", name);
	for (size_t i = 0; i < count; i++) {
		double v = value(&f[i], arg);

		if (v < 0)
			printf(" %10s", "-");
		else
			printf(" %10.*f", digits, v);
	}
	putchar('\n');
}

enum value {
	NODES,
	LINKS,
	ROUTES,
	ALTERNATIVES,
	SAMPLE,
	PART,
	REFRESH_S,
	IDLE_S,
	IDLE_FRAMES,
	IDLE_BYTES,
	IDLE_GOSSIP,
	IDLE_GOSSIP_HOPS,
	IDLE_ALL,
	FIRST_MS,
	SILENCE_S,
	NOT_NOTICED,
	NOT_CONFIRMED,
	DOWN_FALSE,
	SUSPECT_FALSE,
	SUSPECT_RESTART,
	DEAD_FALSE,
	CHECKS,
	DATA_SENT,
	DATA_LOST,
	DATA_TTL,
	DATA_USED,
	EVENTS,
	SPEED,
	CPU,
	MEBIBYTES,
};

static double
missing(const struct figures *f, enum measure_what what)
{
	return (double)f->notices_due - (double)f->times[what].count;
}

static double
value_of(struct figures *f, unsigned value)
{
	switch ((enum value)value) {
	case NODES:
		return f->shape.nodes;
	case LINKS:
		return f->links;
	case ROUTES:
		return f->shape.gossip_only ? -1 : (double)f->shape.routes;
	case ALTERNATIVES:
		return f->shape.gossip_only ? -1 : (double)f->shape.alternatives;
	case SAMPLE:
		return f->shape.gossip_only ? -1 : (double)f->shape.checks;
	case PART:
		return f->shape.gossip_only ? -1 : (double)f->shape.part;
	case REFRESH_S:
		return f->shape.gossip_only ? -1 : (double)f->shape.refresh_s;
	case IDLE_S:
		return (double)f->idle_us / SIM_SECOND;
	case IDLE_FRAMES:
		return f->shape.gossip_only ? -1 : f->idle_frames;
	case IDLE_BYTES:
		return f->shape.gossip_only ? -1 : f->idle_bytes;
	case IDLE_GOSSIP:
		return f->idle_gossip;
	case IDLE_GOSSIP_HOPS:
		return f->idle_gossip_hops;
	case IDLE_ALL:
		return f->shape.gossip_only ? -1 : f->idle_bytes + f->idle_gossip_hops;
	case FIRST_MS:
		return f->first_us < 0 ? -1 : (double)f->first_us / SIM_MS;
	case SILENCE_S:
		return f->silence_us == 0 ? -1 : (double)f->silence_us / SIM_SECOND;
	case NOT_NOTICED:
		return f->shape.gossip_only ? -1 : missing(f, MEASURE_NOTICED);
	case NOT_CONFIRMED:
		return missing(f, MEASURE_CONFIRMED);
	case DOWN_FALSE:
		return f->shape.gossip_only ? -1 : (double)f->down_false;
	case SUSPECT_FALSE:
		return (double)f->suspect_false;
	case SUSPECT_RESTART:
		return f->shape.gossip_only ? -1 : (double)f->suspect_restart;
	case DEAD_FALSE:
		return (double)f->dead_false;
	case CHECKS:
		return (double)f->n.checks;
	case DATA_SENT:
		return f->shape.gossip_only ? -1 : (double)f->n.data_sent;
	case DATA_LOST:
		return f->shape.gossip_only ? -1 : (double)(f->n.data_lost + f->n.data_no_route);
	case DATA_TTL:
		return f->shape.gossip_only ? -1 : (double)f->n.data_ttl;
	case DATA_USED:
		return f->shape.gossip_only ? -1 : (double)f->n.data_used;
	case EVENTS:
		return (double)f->n.events;
	case SPEED:
		return (double)f->n.events / f->cpu_seconds;
	case CPU:
		return f->cpu_seconds;
	case MEBIBYTES:
		return (double)f->memory_bytes / (1 << 20);
	}
	return -1;
}

/* arg: which times, by 1024, and the permille wanted. */
static double
time_ms(struct figures *f, unsigned arg)
{
	struct samples *v = &f->times[arg / 1024];

	return v->count != 0 ? (double)samples_at(v, arg % 1024) / SIM_MS : -1;
}

static double
time_count(struct figures *f, unsigned arg)
{
	return (double)f->times[arg].count;
}

/* How the times are distributed; whole: with those below the median. */
static void
distribution(struct figures *f, size_t count, enum measure_what what, const char *name, bool whole)
{
	static const struct {
		const char *name;
		unsigned permille;
		bool whole;
	} at[] = {{"p1", 10, true}, {"p10", 100, true}, {"median", 500, false}, {"p90", 900, true},
	    {"p99", 990, false}, {"worst", 1000, false}};
	char text[64];

	for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		if (at[i].whole && !whole)
			continue;
		snprintf(text, sizeof(text), "%s, %s, ms", name, at[i].name);
		row(text, f, count, time_ms, what * 1024 + at[i].permille, 0);
	}
	row("  of so many", f, count, time_count, what, 0);
}

static void
times(struct figures *f, size_t count, enum measure_what what, const char *name)
{
	distribution(f, count, what, name, false);
}

static void
table_routes(struct figures *f, size_t count)
{
	puts("until every node has routes to all that it can reach, and to nothing else (where some compute "
	     "them:\nuntil those have, and the databases of all agree):");
	row("start of all, ms", f, count, value_of, FIRST_MS, 0);
	times(f, count, MEASURE_LINK_RESET, "link reset");
	times(f, count, MEASURE_LINK_SILENT, "link silent");
	times(f, count, MEASURE_CRASH, "node lost power");
	times(f, count, MEASURE_START, "node started");
	row("nodes that are cut off", f, count, value_of, PART, 0);
	times(f, count, MEASURE_DIVIDE, "part cut off");
	times(f, count, MEASURE_HEAL, "part back");
	puts("a routerd was killed and started again; until it knew whom it can reach:");
	times(f, count, MEASURE_RESTART, "restarted");
}

static void
table_members(struct figures *f, size_t count)
{
	puts("a node lost power: until another one says that it is down, or dead, and until all do:");
	distribution(f, count, MEASURE_NOTICED, "down, by link state", true);
	distribution(f, count, MEASURE_CONFIRMED, "dead, by membership", true);
	times(f, count, MEASURE_CONFIRMED_ALL, "all have it for dead");
	row("not noticed by link state", f, count, value_of, NOT_NOTICED, 0);
	row("not noticed by membership", f, count, value_of, NOT_CONFIRMED, 0);
	puts("a routerd hangs for 10 s (members: 5 s): until the first suspects it, and after that until "
	     "none does:");
	times(f, count, MEASURE_SUSPECTED, "suspected");
	times(f, count, MEASURE_REFUTED, "refuted");
	puts("of nodes that could be reached, and did not hang:");
	row("said to be down, by link state", f, count, value_of, DOWN_FALSE, 0);
	row("suspected, by membership", f, count, value_of, SUSPECT_FALSE, 0);
	row("  while it started again, without links", f, count, value_of, SUSPECT_RESTART, 0);
	row("said to be dead, by membership", f, count, value_of, DEAD_FALSE, 0);
}

void
report_table(struct figures *f, size_t count)
{
	printf("%-42s", "");
	for (size_t i = 0; i < count; i++)
		printf(" %10s", f[i].shape.gossip_only ? "members" : "all");
	putchar('\n');
	row("nodes", f, count, value_of, NODES, 0);
	row("links", f, count, value_of, LINKS, 0);
	row("nodes that compute paths", f, count, value_of, ROUTES, 0);
	row("  of these, not only the best ones", f, count, value_of, ALTERNATIVES, 0);
	row("LSAs are refreshed each, s", f, count, value_of, REFRESH_S, 0);
	row("after the start, until gossip is done, s", f, count, value_of, SILENCE_S, 0);
	row("idle for, s", f, count, value_of, IDLE_S, 0);
	puts("idle, in a second, a node sends:");
	row("link state, frames", f, count, value_of, IDLE_FRAMES, 2);
	row("link state, bytes", f, count, value_of, IDLE_BYTES, 1);
	row("gossip of its own, bytes", f, count, value_of, IDLE_GOSSIP, 1);
	row("gossip, its own and others', bytes", f, count, value_of, IDLE_GOSSIP_HOPS, 1);
	row("link state and gossip, bytes", f, count, value_of, IDLE_ALL, 1);
	table_routes(f, count);
	table_members(f, count);
	puts("data frames, each 5 ms while that happened (all arrive if the last change was 10 s ago):");
	row("sent", f, count, value_of, DATA_SENT, 0);
	row("lost with a link, or without a path", f, count, value_of, DATA_LOST, 0);
	row("ended by their time to live", f, count, value_of, DATA_TTL, 0);
	row("times a destination came into use", f, count, value_of, DATA_USED, 0);
	puts("the simulation:");
	row("checks of invariants", f, count, value_of, CHECKS, 0);
	row("  databases and members of so many", f, count, value_of, SAMPLE, 0);
	row("events", f, count, value_of, EVENTS, 0);
	row("events in a second of CPU", f, count, value_of, SPEED, 0);
	row("CPU seconds", f, count, value_of, CPU, 1);
	row("memory, MiB", f, count, value_of, MEBIBYTES, 1);
	printf(
	    "A link that is silent is noticed by its ends after %d to %d ms, and dialled again after %d to\n"
	    "%d ms.  Bytes are payloads and hop headers, without TLS.  members: membership alone, without\n"
	    "link state to help it.  All nodes run link state and membership; where not all compute paths, "
	    "the\n"
	    "network starts as it is after a long time, gossip takes the fewest hops, and only those send "
	    "data.\n",
	    SIM_SILENT_US / SIM_MS, (SIM_SILENT_US + SIM_SILENT_SPREAD_US) / SIM_MS, SIM_DIAL_US / SIM_MS,
	    (SIM_DIAL_US + SIM_DIAL_SPREAD_US) / SIM_MS);
}

static void
json_one(struct figures *f)
{
	printf("{\"nodes\": %u, \"links\": %u, \"members_only\": %s, \"seed\": %llu, \"hash\": \"%016llx\"",
	    f->shape.nodes, f->links, f->shape.gossip_only ? "true" : "false", (unsigned long long)f->seed,
	    (unsigned long long)f->hash);
	printf(", \"routes_at\": %u, \"alternatives_at\": %u, \"checked_at\": %u, \"part\": %u, "
	       "\"refresh_s\": %u, \"idle_s\": %lld",
	    f->shape.routes, f->shape.alternatives, f->shape.checks, f->shape.part, f->shape.refresh_s,
	    (long long)f->idle_us / SIM_SECOND);
	printf(", \"idle_bytes\": %.1f, \"idle_frames\": %.2f, \"idle_gossip_bytes\": %.1f, "
	       "\"idle_gossip_hop_bytes\": %.1f, \"start_ms\": %.3f, \"gossip_done_s\": %.0f",
	    f->idle_bytes, f->idle_frames, f->idle_gossip, f->idle_gossip_hops,
	    f->first_us < 0 ? -1 : (double)f->first_us / SIM_MS, (double)f->silence_us / SIM_SECOND);
	for (unsigned k = 0; k < MEASURE_COUNT; k++)
		printf(", \"%s_ms\": {\"count\": %zu, \"median\": %.3f, \"p99\": %.3f, \"worst\": %.3f}",
		    measure_name(k), f->times[k].count, (double)samples_at(&f->times[k], 500) / SIM_MS,
		    (double)samples_at(&f->times[k], 990) / SIM_MS,
		    (double)samples_at(&f->times[k], 1000) / SIM_MS);
	printf(
	    ", \"notices_due\": %llu, \"false_down\": %llu, \"false_suspect\": %llu, \"false_dead\": %llu, "
	    "\"suspect_restart\": %llu",
	    (unsigned long long)f->notices_due, (unsigned long long)f->down_false,
	    (unsigned long long)f->suspect_false, (unsigned long long)f->dead_false,
	    (unsigned long long)f->suspect_restart);
	printf(", \"data_sent\": %llu, \"data_lost\": %llu, \"data_no_route\": %llu, \"data_ttl\": %llu, "
	       "\"data_used\": %llu, \"checks\": %llu",
	    (unsigned long long)f->n.data_sent, (unsigned long long)f->n.data_lost,
	    (unsigned long long)f->n.data_no_route, (unsigned long long)f->n.data_ttl,
	    (unsigned long long)f->n.data_used, (unsigned long long)f->n.checks);
	printf(", \"events\": %llu, \"cpu_seconds\": %.2f, \"memory_bytes\": %zu}",
	    (unsigned long long)f->n.events, f->cpu_seconds, f->memory_bytes);
}

void
report_json(struct figures *f, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		fputs(i == 0 ? "[" : ",\n ", stdout);
		json_one(&f[i]);
	}
	puts("]");
}
