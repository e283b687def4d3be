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
	IDLE_FRAMES,
	IDLE_BYTES,
	IDLE_GOSSIP,
	IDLE_GOSSIP_HOPS,
	FIRST_MS,
	SILENCE_S,
	NOT_NOTICED,
	NOT_CONFIRMED,
	DOWN_FALSE,
	SUSPECT_FALSE,
	DEAD_FALSE,
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
		return f->nodes;
	case LINKS:
		return f->links;
	case IDLE_FRAMES:
		return f->gossip_only ? -1 : f->idle_frames;
	case IDLE_BYTES:
		return f->gossip_only ? -1 : f->idle_bytes;
	case IDLE_GOSSIP:
		return f->idle_gossip;
	case IDLE_GOSSIP_HOPS:
		return f->idle_gossip_hops;
	case FIRST_MS:
		return f->gossip_only ? -1 : (double)f->first_us / SIM_MS;
	case SILENCE_S:
		return (double)f->silence_us / SIM_SECOND;
	case NOT_NOTICED:
		return f->gossip_only ? -1 : missing(f, MEASURE_NOTICED);
	case NOT_CONFIRMED:
		return missing(f, MEASURE_CONFIRMED);
	case DOWN_FALSE:
		return f->gossip_only ? -1 : (double)f->down_false;
	case SUSPECT_FALSE:
		return (double)f->suspect_false;
	case DEAD_FALSE:
		return (double)f->dead_false;
	case SPEED:
		return (double)f->events / f->cpu_seconds;
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

static void
times(struct figures *f, size_t count, enum measure_what what, const char *name)
{
	static const struct {
		const char *name;
		unsigned permille;
	} at[] = {{"median", 500}, {"p99", 990}, {"worst", 1000}};
	char text[64];

	for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		snprintf(text, sizeof(text), "%s, %s, ms", name, at[i].name);
		row(text, f, count, time_ms, what * 1024 + at[i].permille, 0);
	}
	row("  of so many", f, count, time_count, what, 0);
}

static void
table_routes(struct figures *f, size_t count)
{
	puts("until every node has routes to all that it can reach, and to nothing else:");
	row("start of all, ms", f, count, value_of, FIRST_MS, 0);
	times(f, count, MEASURE_LINK_RESET, "link reset");
	times(f, count, MEASURE_LINK_SILENT, "link silent");
	times(f, count, MEASURE_CRASH, "node lost power");
	times(f, count, MEASURE_START, "node started");
	times(f, count, MEASURE_DIVIDE, "quarter cut off");
	times(f, count, MEASURE_HEAL, "quarter back");
}

static void
table_members(struct figures *f, size_t count)
{
	puts("a node lost power: until another one says that it is down, or dead, and until all do:");
	times(f, count, MEASURE_NOTICED, "down, by link state");
	times(f, count, MEASURE_CONFIRMED, "dead, by membership");
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
	row("said to be dead, by membership", f, count, value_of, DEAD_FALSE, 0);
}

void
report_table(struct figures *f, size_t count)
{
	printf("%-42s", "");
	for (size_t i = 0; i < count; i++)
		printf(" %10s", f[i].gossip_only ? "members" : "all");
	putchar('\n');
	row("nodes", f, count, value_of, NODES, 0);
	row("links", f, count, value_of, LINKS, 0);
	row("after the start, until gossip is done, s", f, count, value_of, SILENCE_S, 0);
	puts("idle, in a second, a node sends:");
	row("link state, frames", f, count, value_of, IDLE_FRAMES, 2);
	row("link state, bytes", f, count, value_of, IDLE_BYTES, 1);
	row("gossip of its own, bytes", f, count, value_of, IDLE_GOSSIP, 1);
	row("gossip, its own and others', bytes", f, count, value_of, IDLE_GOSSIP_HOPS, 1);
	table_routes(f, count);
	table_members(f, count);
	puts("the simulation:");
	row("events in a second of CPU", f, count, value_of, SPEED, 0);
	row("CPU seconds", f, count, value_of, CPU, 1);
	row("memory, MiB", f, count, value_of, MEBIBYTES, 1);
	printf(
	    "A link that is silent is noticed by its ends after %d to %d ms, and dialled again after %d to\n"
	    "%d ms.  Bytes are payloads and hop headers, without TLS.  members: membership alone, without\n"
	    "link state to help it.\n",
	    SIM_SILENT_US / SIM_MS, (SIM_SILENT_US + SIM_SILENT_SPREAD_US) / SIM_MS, SIM_DIAL_US / SIM_MS,
	    (SIM_DIAL_US + SIM_DIAL_SPREAD_US) / SIM_MS);
}

static void
json_one(struct figures *f)
{
	printf("{\"nodes\": %u, \"links\": %u, \"members_only\": %s, \"seed\": %llu, \"hash\": \"%016llx\"",
	    f->nodes, f->links, f->gossip_only ? "true" : "false", (unsigned long long)f->seed,
	    (unsigned long long)f->hash);
	printf(", \"idle_bytes\": %.1f, \"idle_frames\": %.2f, \"idle_gossip_bytes\": %.1f, "
	       "\"idle_gossip_hop_bytes\": %.1f, \"start_ms\": %.3f, \"gossip_done_s\": %.0f",
	    f->idle_bytes, f->idle_frames, f->idle_gossip, f->idle_gossip_hops, (double)f->first_us / SIM_MS,
	    (double)f->silence_us / SIM_SECOND);
	for (unsigned k = 0; k < MEASURE_COUNT; k++)
		printf(", \"%s_ms\": {\"count\": %zu, \"median\": %.3f, \"p99\": %.3f, \"worst\": %.3f}",
		    measure_name(k), f->times[k].count, (double)samples_at(&f->times[k], 500) / SIM_MS,
		    (double)samples_at(&f->times[k], 990) / SIM_MS,
		    (double)samples_at(&f->times[k], 1000) / SIM_MS);
	printf(", \"notices_due\": %llu, \"false_down\": %llu, \"false_suspect\": %llu, \"false_dead\": %llu",
	    (unsigned long long)f->notices_due, (unsigned long long)f->down_false,
	    (unsigned long long)f->suspect_false, (unsigned long long)f->dead_false);
	printf(", \"events\": %llu, \"cpu_seconds\": %.2f, \"memory_bytes\": %zu}",
	    (unsigned long long)f->events, f->cpu_seconds, f->memory_bytes);
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

double
report_memory(const struct figures *f, uint32_t nodes)
{
	double ratio = (double)nodes / f->nodes;

	return (double)f->memory_bytes * ratio * ratio;
}
