/*
 * bench_ksp: paths in meshes of 1,000 nodes and 4,000 links, and of 10,000 and 40,000.
 *
 * usage: bench_ksp [SECONDS]      seconds per figure, 1 if not given
 *
 *	graph_N, spf_N    ms of CPU to build the graph from the database; for the shortest paths to all nodes
 *	ksp_begin_N       ms for what is done once for a graph (the shortest paths among it)
 *	ksp_N             ms for four paths to one destination, on average; ksp_worst_N: the slowest
 *	ksp_all_N         ms for three paths to each destination, ksp_begin included
 *	ksp_paths_N       how many of the four there are, on average
 *	ksp_memory_N      MiB that ksp holds beside the graph
 *
 * Nodes lie about a square, and are linked to near ones; one link in eight goes anywhere, as across a
 * WAN.  Latency is the distance, and up to half as much again that differs by direction.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/be.h"
#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "routerd/core/graph.h"
#include "routerd/core/ksp.h"
#include "routerd/core/lsa.h"
#include "routerd/core/lsdb.h"

enum {
	LINKS_PER_NODE = 4,
	DEGREE_MAX = 64,
	WAN_ONE_IN = 8,
	NEAR = 2,       /* places in each direction */
	STEP_US = 1000, /* one way, from one place to the next */
	SAMPLE = 500,   /* destinations */
	ALL = 1000 * 1000 * 1000,
};

static double seconds_each = 1;

static struct cost_profiles profiles;

struct mesh {
	uint32_t count, width, self;
	uint32_t (*peers)[DEGREE_MAX];
	uint32_t *degree;
	struct rng rng;
	struct lsdb db;
	struct graph graph;
	struct ksp ksp;
	struct lsa lsa;
};

/* Of this process's CPU time: other processes may run meanwhile. */
static double
now_ms(void)
{
	struct timespec t;

	MUST(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) == 0);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void
print(const char *name, uint32_t count, double value, const char *unit)
{
	printf("bench %s_%u %.3f %s\n", name, count, value, unit);
	fflush(stdout);
}

/* --- the mesh --- */

/* In no order, as ids that nodes choose: neighbours are not side by side in memory. */
static uint64_t
id_of(uint32_t i)
{
	return (i + 1) * 0x9e3779b97f4a7c15u;
}

static bool
linked(const struct mesh *m, uint32_t a, uint32_t b)
{
	for (uint32_t i = 0; i < m->degree[a]; i++)
		if (m->peers[a][i] == b)
			return true;
	return false;
}

/* A node near a; a itself if that would be outside. */
static uint32_t
near(struct mesh *m, uint32_t a)
{
	int64_t x = (int64_t)(a % m->width) + (int64_t)rng_below(&m->rng, 2 * NEAR + 1) - NEAR;
	int64_t y = (int64_t)(a / m->width) + (int64_t)rng_below(&m->rng, 2 * NEAR + 1) - NEAR;
	int64_t b = y * m->width + x;

	return x < 0 || x >= m->width || b < 0 || b >= m->count ? a : (uint32_t)b;
}

static void
draw(struct mesh *m)
{
	for (uint32_t links = 0; links < LINKS_PER_NODE * m->count;) {
		uint32_t a = (uint32_t)rng_below(&m->rng, m->count);
		bool wan = links % WAN_ONE_IN == 0;
		uint32_t b = wan ? (uint32_t)rng_below(&m->rng, m->count) : near(m, a);

		if (a == b || linked(m, a, b) || m->degree[a] == DEGREE_MAX || m->degree[b] == DEGREE_MAX)
			continue;
		m->peers[a][m->degree[a]++] = b;
		m->peers[b][m->degree[b]++] = a;
		links++;
	}
}

static uint32_t
latency_us(struct mesh *m, uint32_t a, uint32_t b)
{
	uint32_t x = (uint32_t)abs((int)(a % m->width) - (int)(b % m->width));
	uint32_t y = (uint32_t)abs((int)(a / m->width) - (int)(b / m->width));
	uint32_t distance = (x + y) * STEP_US;

	return distance + (uint32_t)rng_below(&m->rng, distance / 2 + 1);
}

static int
by_neighbour(const void *a, const void *b)
{
	const struct lsa_adj *x = a, *y = b;

	return (x->neighbour > y->neighbour) - (x->neighbour < y->neighbour);
}

static void
make_lsa(struct mesh *m, uint32_t a)
{
	struct lsa *l = &m->lsa;

	memset(l, 0, sizeof(*l));
	l->id = (struct lsa_id){id_of(a), 1, 1};
	be_store64(l->pubkey, id_of(a));
	snprintf(l->name, sizeof(l->name), "n%u", a);
	snprintf(l->software, sizeof(l->software), "1.0");
	for (uint32_t i = 0; i < m->degree[a]; i++)
		l->adj[l->adj_count++] = (struct lsa_adj){
		    .neighbour = id_of(m->peers[a][i]), .latency_us = latency_us(m, a, m->peers[a][i])};
	qsort(l->adj, l->adj_count, sizeof(l->adj[0]), by_neighbour);
}

static void
put_lsa(struct mesh *m)
{
	static uint8_t raw[LSA_MAX_BYTES];
	struct lsdb_entry *e;
	bool topology;
	struct buf b;

	buf_init_fixed(&b, raw, sizeof(raw));
	MUST(lsa_encode_unsigned(&m->lsa, &b) == 0);
	MUST(lsdb_put(&m->db, &m->lsa, raw, buf_left(&b) + LSA_SIG_BYTES, MONO_ZERO, MONO_ZERO, &e,
		 &topology) == 0);
}

static void
mesh_init(struct mesh *m, uint32_t count)
{
	*m = (struct mesh){.count = count};
	while (m->width * m->width < count)
		m->width++;
	m->self = m->width / 2 * m->width + m->width / 2;
	rng_seed(&m->rng, count);
	m->peers = mem_calloc(count, sizeof(*m->peers));
	m->degree = mem_calloc(count, sizeof(*m->degree));
	MUST(m->peers != NULL && m->degree != NULL);
	draw(m);
	lsdb_init(&m->db, count, ALL);
	cost_profiles_make(&profiles, cost_defaults);
	graph_init(&m->graph, 1, &profiles);
	ksp_init(&m->ksp);
	for (uint32_t a = 0; a < count; a++) {
		if (a == m->self)
			continue;
		make_lsa(m, a);
		put_lsa(m);
	}
	make_lsa(m, m->self);
}

static void
mesh_fini(struct mesh *m)
{
	ksp_fini(&m->ksp);
	graph_fini(&m->graph);
	lsdb_fini(&m->db);
	mem_free(m->peers);
	mem_free(m->degree);
}

/* --- the figures --- */

static void
build(struct mesh *m)
{
	MUST(graph_build(&m->graph, &m->db, id_of(m->self), m->lsa.adj, m->lsa.adj_count) == 0);
}

static void
begin(struct mesh *m)
{
	MUST(ksp_begin(&m->ksp, &m->graph) == 0);
}

static void
tree(struct mesh *m)
{
	MUST(spf_run(&m->ksp.search.spf, &m->graph) == 0);
}

static size_t
paths_to(struct mesh *m, uint32_t dst, unsigned paths_max)
{
	static struct spf_path out[KSP_PATHS_MAX];
	size_t count;

	MUST(ksp_run(&m->ksp, &m->graph, dst, paths_max, out, &count) == 0);
	return count;
}

static void
all(struct mesh *m)
{
	begin(m);
	for (uint32_t v = 0; v < m->graph.vertex_count; v++)
		paths_to(m, v, 3);
}

/* In between, other work: what is done over and over is learnt by the processor. */
static void
disturb(struct mesh *m)
{
	for (int i = 0; i < 16; i++)
		paths_to(m, (uint32_t)rng_below(&m->rng, m->graph.vertex_count), KSP_PATHS_MAX);
}

static void
time_of(struct mesh *m, const char *name, void (*fn)(struct mesh *m))
{
	double end = now_ms() + seconds_each * 1e3, sum = 0;
	unsigned runs = 0;

	do {
		double start = now_ms();

		fn(m);
		sum += now_ms() - start;
		runs++;
		begin(m);
		disturb(m);
	} while (now_ms() < end);
	print(name, m->count, sum / runs, "ms");
}

static void
one_by_one(struct mesh *m)
{
	double sum = 0, worst = 0;
	size_t paths = 0, reached = 0;

	for (uint32_t i = 0; i < SAMPLE; i++) {
		uint32_t dst = (uint32_t)rng_below(&m->rng, m->graph.vertex_count);
		double start = now_ms(), took;
		size_t count = paths_to(m, dst, 4);

		took = now_ms() - start;
		sum += took;
		worst = took > worst ? took : worst;
		paths += count;
		reached += count != 0;
	}
	print("ksp", m->count, sum / SAMPLE, "ms");
	print("ksp_worst", m->count, worst, "ms");
	print("ksp_paths", m->count, (double)paths / (double)reached, "paths");
}

static double
mib(size_t bytes)
{
	return (double)bytes / (1024 * 1024);
}

static void
memory(const struct mesh *m)
{
	print("ksp_memory", m->count, mib(sizeof(m->ksp) + ksp_bytes(&m->ksp)), "MiB");
}

static void
bench(uint32_t count)
{
	static struct mesh m;

	mesh_init(&m, count);
	time_of(&m, "graph", build);
	begin(&m);
	time_of(&m, "spf", tree);
	time_of(&m, "ksp_begin", begin);
	one_by_one(&m);
	time_of(&m, "ksp_all", all);
	memory(&m);
	mesh_fini(&m);
}

int
main(int argc, char **argv)
{
	if (argc > 1)
		seconds_each = strtod(argv[1], NULL);
	if (argc > 2 || !(seconds_each > 0)) {
		fprintf(stderr, "usage: bench_ksp [SECONDS]\n");
		return 2;
	}
	bench(1000);
	bench(10000);
	return 0;
}
