#include "tests/sim/report.h"

#include <stdio.h>

#include "tests/sim/measure.h"

/* One row of the table: what it is, and its value for each size. */
static void
row(const char *name, struct figures *f, size_t count, double (*value)(struct figures *f, unsigned arg),
    unsigned arg, int digits)
{
	printf("%-42s", name);
	for (size_t i = 0; i < count; i++)
		printf(" %11.*f", digits, value(&f[i], arg));
	putchar('\n');
}

static double
nodes_of(struct figures *f, unsigned arg)
{
	(void)arg;
	return f->nodes;
}

static double
links_of(struct figures *f, unsigned arg)
{
	(void)arg;
	return f->links;
}

static double
idle_bytes(struct figures *f, unsigned arg)
{
	(void)arg;
	return f->idle_bytes;
}

static double
idle_frames(struct figures *f, unsigned arg)
{
	(void)arg;
	return f->idle_frames;
}

static double
first_ms(struct figures *f, unsigned arg)
{
	(void)arg;
	return (double)f->first_us / SIM_MS;
}

/* arg: what times 1024, and the permille wanted. */
static double
converged_ms(struct figures *f, unsigned arg)
{
	return (double)samples_at(&f->converged[arg / 1024], arg % 1024) / SIM_MS;
}

static double
converged_count(struct figures *f, unsigned arg)
{
	return (double)f->converged[arg].count;
}

static double
noticed_ms(struct figures *f, unsigned arg)
{
	return (double)samples_at(&f->noticed, arg) / SIM_MS;
}

static double
not_noticed(struct figures *f, unsigned arg)
{
	(void)arg;
	return (double)f->notices_due - (double)f->noticed.count;
}

static double
down_false(struct figures *f, unsigned arg)
{
	(void)arg;
	return (double)f->down_false;
}

static double
speed(struct figures *f, unsigned arg)
{
	(void)arg;
	return (double)f->events / f->cpu_seconds;
}

static double
cpu(struct figures *f, unsigned arg)
{
	(void)arg;
	return f->cpu_seconds;
}

static double
mebibytes(struct figures *f, unsigned arg)
{
	(void)arg;
	return (double)f->memory_bytes / (1 << 20);
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
		row(text, f, count, converged_ms, what * 1024 + at[i].permille, 0);
	}
	row("  of so many", f, count, converged_count, what, 0);
}

void
report_table(struct figures *f, size_t count)
{
	row("nodes", f, count, nodes_of, 0, 0);
	row("links", f, count, links_of, 0, 0);
	row("idle: bytes sent by a node in a second", f, count, idle_bytes, 0, 1);
	row("idle: frames sent by a node in a second", f, count, idle_frames, 0, 2);
	puts("until every node has routes to all that it can reach, and to nothing else:");
	row("start of all, ms", f, count, first_ms, 0, 0);
	times(f, count, MEASURE_LINK_RESET, "link reset");
	times(f, count, MEASURE_LINK_SILENT, "link silent");
	times(f, count, MEASURE_CRASH, "node lost power");
	times(f, count, MEASURE_START, "node started");
	times(f, count, MEASURE_DIVIDE, "quarter cut off");
	times(f, count, MEASURE_HEAL, "quarter back");
	puts("until one other node tells that a node that lost power is down:");
	row("median, ms", f, count, noticed_ms, 500, 0);
	row("p99, ms", f, count, noticed_ms, 990, 0);
	row("worst, ms", f, count, noticed_ms, 1000, 0);
	row("not noticed", f, count, not_noticed, 0, 0);
	row("live nodes said to be down", f, count, down_false, 0, 0);
	row("simulated events in a second of CPU", f, count, speed, 0, 0);
	row("CPU seconds", f, count, cpu, 0, 1);
	row("memory, MiB", f, count, mebibytes, 0, 1);
	printf(
	    "A link that is silent is noticed by its ends after %d to %d ms, and dialled again after %d to\n"
	    "%d ms; bytes are payloads and hop headers, without TLS.\n",
	    SIM_SILENT_US / SIM_MS, (SIM_SILENT_US + SIM_SILENT_SPREAD_US) / SIM_MS, SIM_DIAL_US / SIM_MS,
	    (SIM_DIAL_US + SIM_DIAL_SPREAD_US) / SIM_MS);
}

static void
json_samples(const char *name, struct samples *v)
{
	printf(", \"%s_ms\": {\"count\": %zu, \"median\": %.3f, \"p99\": %.3f, \"worst\": %.3f}", name,
	    v->count, (double)samples_at(v, 500) / SIM_MS, (double)samples_at(v, 990) / SIM_MS,
	    (double)samples_at(v, 1000) / SIM_MS);
}

void
report_json(struct figures *f, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		printf("%s{\"nodes\": %u, \"links\": %u, \"seed\": %llu, \"hash\": \"%016llx\"",
		    i == 0 ? "[" : ",\n ", f[i].nodes, f[i].links, (unsigned long long)f[i].seed,
		    (unsigned long long)f[i].hash);
		printf(", \"idle_bytes_per_node_second\": %.1f, \"idle_frames_per_node_second\": %.2f",
		    f[i].idle_bytes, f[i].idle_frames);
		printf(", \"start_ms\": %.3f", (double)f[i].first_us / SIM_MS);
		for (unsigned k = 0; k < MEASURE_COUNT; k++)
			json_samples(measure_name(k), &f[i].converged[k]);
		json_samples("noticed", &f[i].noticed);
		printf(
		    ", \"notices_due\": %llu, \"false_down\": %llu, \"events\": %llu, \"cpu_seconds\": %.2f, "
		    "\"memory_bytes\": %zu}",
		    (unsigned long long)f[i].notices_due, (unsigned long long)f[i].down_false,
		    (unsigned long long)f[i].events, f[i].cpu_seconds, f[i].memory_bytes);
	}
	puts("]");
}

double
report_memory(const struct figures *f, uint32_t nodes)
{
	double ratio = (double)nodes / f->nodes;

	return (double)f->memory_bytes * ratio * ratio;
}
