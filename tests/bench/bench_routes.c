/*
 * bench_routes: a router's routes in meshes of 1,000 nodes and 4,000 links, and of 10,000 and 40,000.
 *
 * usage: bench_routes [ROUNDS]      changes per figure, 10 if not given
 *
 *	routes_first_N      ms of CPU from a database to the whole FIB: best paths and backups for all classes
 *	routes_memory_N     MiB of the router beside its database
 *	routes_used_N       ms until a destination that data is now sent to has all its paths
 *	routes_all_used_N   ms of CPU for all paths to all, when data is sent everywhere; all below is after
 *that routes_step_N       ms, the longest step of the router in all of this routes_own_down_N   ms from a
 *link of this node going down to the best paths that are left routes_down_N       ms the same, for links of
 *others routes_measure_N    ms for the best paths after a link changed its latency routes_sweep_N      ms of
 *CPU to look at all alternatives again routes_paths_N      paths to a destination for a class, on average
 *	routes_all_memory_N MiB of the router beside its database
 *
 * Nodes lie about a square and are linked to near ones; one link in eight goes anywhere.  Classes have the
 * coefficients that they have without configuration: two profiles.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/be.h"
#include "common/base/buf.h"
#include "common/base/mem.h"
#include "routerd/core/router_impl.h"

enum { LINKS_PER_NODE = 4, DEGREE_MAX = 64, WAN_ONE_IN = 8, NEAR = 2, SECOND = 1000 * 1000 };

static unsigned rounds = 10;

struct mesh {
	uint32_t count, width, self;
	struct lsa_adj (*adj)[DEGREE_MAX];
	uint32_t *degree;
	uint64_t seq;
	struct rng rng;
	struct router *r;
	struct lsa lsa;
	struct mono now;
	double longest;
	size_t database; /* bytes */
};

static double
cpu_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void
print(const char *name, const struct mesh *m, double value, const char *unit)
{
	printf("bench %s_%u %.3f %s\n", name, m->count, value, unit);
	fflush(stdout);
}

static uint64_t
id_of(uint32_t i)
{
	return ((uint64_t)i + 1) * 0x9e3779b97f4a7c15u;
}

/* --- the router's world: it agrees to everything --- */

static int
op_verify(void *arg, const struct lsa *lsa, const uint8_t *raw, size_t raw_len)
{
	(void)arg;
	(void)lsa;
	(void)raw;
	(void)raw_len;
	return 0;
}

static void
op_send(void *arg, uint64_t neighbour, const uint8_t *payload, size_t len)
{
	(void)arg;
	(void)neighbour;
	(void)payload;
	(void)len;
}

static void
op_sign(void *arg, uint32_t ticket, const uint8_t *text, size_t len)
{
	(void)arg;
	(void)ticket;
	(void)text;
	(void)len;
}

static int
op_mark(void *arg, uint64_t number)
{
	(void)arg;
	(void)number;
	return 0;
}

static int
op_route_set(void *arg, uint64_t destination, uint8_t class_mask, const struct fib_paths *p)
{
	(void)arg;
	(void)destination;
	(void)class_mask;
	(void)p;
	return 0;
}

static void
op_node(void *arg, const struct lsdb_entry *e)
{
	(void)arg;
	(void)e;
}

static void
op_event(void *arg, enum router_event ev, uint64_t a, uint64_t b)
{
	(void)arg;
	(void)ev;
	(void)a;
	(void)b;
}

static void
op_wish(void *arg, uint64_t node, uint64_t unix_ms)
{
	(void)arg;
	(void)node;
	(void)unix_ms;
}

static const struct router_ops ops = {
    .verify = op_verify,
    .send = op_send,
    .sign = op_sign,
    .fib_begin = op_mark,
    .route_set = op_route_set,
    .route_del = op_mark,
    .fib_end = op_mark,
    .node = op_node,
    .event = op_event,
    .wish = op_wish,
};

/* --- the mesh --- */

static struct lsa_adj *
find(struct mesh *m, uint32_t a, uint32_t b)
{
	for (uint32_t i = 0; i < m->degree[a]; i++)
		if (m->adj[a][i].neighbour == id_of(b))
			return &m->adj[a][i];
	return NULL;
}

static uint32_t
near(struct mesh *m, uint32_t a)
{
	int64_t x = (int64_t)(a % m->width) + (int64_t)rng_below(&m->rng, 2 * NEAR + 1) - NEAR;
	int64_t y = (int64_t)(a / m->width) + (int64_t)rng_below(&m->rng, 2 * NEAR + 1) - NEAR;
	int64_t b = y * m->width + x;

	return x < 0 || x >= m->width || b < 0 || b >= m->count ? a : (uint32_t)b;
}

static void
add(struct mesh *m, uint32_t a, uint32_t b)
{
	uint32_t x = (uint32_t)abs((int)(a % m->width) - (int)(b % m->width));
	uint32_t y = (uint32_t)abs((int)(a / m->width) - (int)(b / m->width));

	m->adj[a][m->degree[a]++] = (struct lsa_adj){.neighbour = id_of(b),
	    .latency_us = (x + y) * 1000 + (uint32_t)rng_below(&m->rng, (x + y) * 500),
	    .bandwidth_kbps = 1000 + (uint32_t)rng_below(&m->rng, 1000000)};
}

static void
draw(struct mesh *m)
{
	for (uint32_t links = 0; links < LINKS_PER_NODE * m->count;) {
		uint32_t a = (uint32_t)rng_below(&m->rng, m->count);
		uint32_t b = links % WAN_ONE_IN == 0 ? (uint32_t)rng_below(&m->rng, m->count) : near(m, a);

		if (a == b || find(m, a, b) != NULL || m->degree[a] == DEGREE_MAX ||
		    m->degree[b] == DEGREE_MAX)
			continue;
		add(m, a, b);
		add(m, b, a);
		links++;
	}
}

static int
by_neighbour(const void *a, const void *b)
{
	const struct lsa_adj *x = a, *y = b;

	return (x->neighbour > y->neighbour) - (x->neighbour < y->neighbour);
}

/* A node says how its links are now, without the one to but.  True if paths have to be computed. */
static void
tell(struct mesh *m, uint32_t a, uint32_t but)
{
	static uint8_t raw[LSA_MAX_BYTES];
	struct lsa *l = &m->lsa;
	struct lsdb_entry *e;
	bool topology;
	struct buf b;

	memset(l, 0, sizeof(*l));
	l->id = (struct lsa_id){id_of(a), 1, ++m->seq};
	be_store64(l->pubkey, id_of(a));
	snprintf(l->name, sizeof(l->name), "n%u", a);
	snprintf(l->software, sizeof(l->software), "1.0");
	for (uint32_t i = 0; i < m->degree[a]; i++)
		if (m->adj[a][i].neighbour != id_of(but))
			l->adj[l->adj_count++] = m->adj[a][i];
	qsort(l->adj, l->adj_count, sizeof(l->adj[0]), by_neighbour);
	buf_init_fixed(&b, raw, sizeof(raw));
	MUST(lsa_encode_unsigned(l, &b) == 0);
	MUST(lsdb_put(&m->r->db, l, raw, buf_left(&b) + LSA_SIG_BYTES, m->now, m->now, &e, &topology) == 0);
	if (topology)
		paths_want(m->r, m->now, e->lost ? PATHS_LOST : PATHS_LATER);
}

static void
link_up(struct mesh *m, const struct lsa_adj *a)
{
	const struct router_link l = {.peer = a->neighbour,
	    .since_unix_ms = ++m->seq,
	    .rtt_us = 2 * a->latency_us,
	    .bandwidth_kbps = a->bandwidth_kbps};
	struct neighbour *n;

	MUST(router_link(m->r, &l, m->now) == 0);
	n = neighbour_get(&m->r->neighbours, a->neighbour);
	n->sync.synced = true;
	n->advertised = n->measured;
	paths_want(m->r, m->now, PATHS_LATER);
}

static size_t
allocated(void)
{
	return mallinfo2().uordblks;
}

static void
mesh_init(struct mesh *m, uint32_t count)
{
	struct router_conf conf = {3600LL * SECOND, 7200LL * SECOND, 10 * 1000, count, "1.0", .paths_max = 3,
	    .hysteresis_percent = 15};
	const struct router_identity self = {.node = 0, .incarnation = 1, .name = "self"};
	struct router_identity id = self;
	size_t before;

	*m = (struct mesh){.count = count, .now = {SECOND}};
	while (m->width * m->width < count)
		m->width++;
	m->self = m->width / 2 * m->width + m->width / 2;
	rng_seed(&m->rng, count);
	m->adj = mem_calloc(count, sizeof(*m->adj));
	m->degree = mem_calloc(count, sizeof(*m->degree));
	MUST(m->adj != NULL && m->degree != NULL);
	draw(m);
	memcpy(conf.cost, cost_defaults, sizeof(conf.cost));
	m->r = router_new(&conf, &ops, NULL, 1);
	MUST(m->r != NULL);
	id.node = id_of(m->self);
	MUST(router_identity(m->r, &id, m->now) == 0);
	before = allocated();
	for (uint32_t a = 0; a < count; a++)
		if (a != m->self)
			tell(m, a, a);
	m->database = allocated() - before;
	router_links_begin(m->r);
	for (uint32_t i = 0; i < m->degree[m->self]; i++)
		link_up(m, &m->adj[m->self][i]);
	router_links_end(m->r, m->now);
}

static void
mesh_fini(struct mesh *m)
{
	router_free(m->r);
	mem_free(m->adj);
	mem_free(m->degree);
}

/* --- steps of paths: not those of the exchange with neighbours, who say nothing here --- */

static double
step(struct mesh *m)
{
	double start = cpu_ms(), took;

	paths_step(m->r, m->now);
	took = cpu_ms() - start;
	m->longest = took > m->longest ? took : m->longest;
	return took;
}

/* Until there is nothing to do before the next sweep, or beyond it: CPU time. */
static double
run(struct mesh *m, bool sweep)
{
	double sum = 0;

	for (;;) {
		struct mono next = paths_next(m->r);

		if (mono_is_never(next) || (!sweep && m->r->routes.sweep && m->r->fib.waiting == 0 &&
					       !m->r->spf_wanted && m->r->fib_state == FIB_LIVE))
			return sum;
		if (mono_before(m->now, next))
			m->now = next;
		sum += step(m);
	}
}

/* From a change to the best paths that follow. */
static double
react(struct mesh *m)
{
	if (mono_before(m->now, m->r->spf_at))
		m->now = m->r->spf_at;
	return step(m);
}

static uint32_t
other_end(struct mesh *m, uint32_t a, uint32_t i)
{
	for (uint32_t b = 0; b < m->count; b++)
		if (id_of(b) == m->adj[a][i].neighbour)
			return b;
	return a;
}

/* Data goes to one destination, then to all. */
static void
use(struct mesh *m)
{
	MUST(router_used(m->r, id_of(m->self == 0 ? 1 : 0), true) == 0);
	if (mono_before(m->now, paths_next(m->r)))
		m->now = paths_next(m->r);
	print("routes_used", m, step(m), "ms");
	for (uint32_t i = 0; i < m->count && i < DEMAND_MAX; i++)
		MUST(i == m->self || router_used(m->r, id_of(i), true) == 0);
	print("routes_all_used", m, run(m, false), "ms");
}

static void
own_links(struct mesh *m)
{
	double sum = 0;

	for (unsigned k = 0; k < rounds; k++) {
		const struct lsa_adj *a = &m->adj[m->self][k % m->degree[m->self]];

		m->now = mono_add_us(m->now, 200LL * SECOND); /* no flapping */
		router_link_down(m->r, a->neighbour, m->now);
		sum += react(m);
		run(m, false);
		link_up(m, a);
		run(m, true);
	}
	print("routes_own_down", m, sum / rounds, "ms");
}

static void
links_of_others(struct mesh *m)
{
	double best = 0, measure = 0;

	for (unsigned k = 0; k < rounds; k++) {
		uint32_t a = (uint32_t)rng_below(&m->rng, m->count), i, b;

		if (a == m->self || m->degree[a] == 0)
			a = (a + 1) % m->count;
		i = (uint32_t)rng_below(&m->rng, m->degree[a]);
		b = other_end(m, a, i);
		m->now = mono_add_us(m->now, 200LL * SECOND);
		tell(m, a, b);
		best += react(m);
		run(m, true);
		tell(m, a, a);
		run(m, true);
		m->adj[a][i].latency_us += m->adj[a][i].latency_us / 2;
		tell(m, a, a);
		measure += react(m);
		run(m, true);
	}
	print("routes_down", m, best / rounds, "ms");
	print("routes_measure", m, measure / rounds, "ms");
}

static void
bench(uint32_t count)
{
	static struct mesh m;

	mesh_init(&m, count);
	print("routes_first", &m, run(&m, false), "ms");
	print("routes_memory", &m, (double)(allocated() - m.database) / (1024 * 1024), "MiB");
	use(&m);
	print("routes_sweep", &m, run(&m, true), "ms");
	print("routes_all_memory", &m, (double)(allocated() - m.database) / (1024 * 1024), "MiB");
	own_links(&m);
	links_of_others(&m);
	print("routes_paths", &m,
	    (double)m.r->fib.paths / ((double)m.r->fib.count * (double)m.r->profiles.count), "paths");
	print("routes_step", &m, m.longest, "ms");
	mesh_fini(&m);
}

int
main(int argc, char **argv)
{
	if (argc > 1)
		rounds = (unsigned)strtoul(argv[1], NULL, 10);
	if (argc > 2 || rounds == 0) {
		fprintf(stderr, "usage: bench_routes [ROUNDS]\n");
		return 2;
	}
	bench(1000);
	bench(10000);
	return 0;
}
