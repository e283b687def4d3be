#include "tests/sim/check.h"

#include <string.h>

#include "tests/sim/member.h"
#include "tests/sim/net.h"
#include "tests/sim/node.h"

enum { SAMPLE = 64 }; /* nodes whose whole FIB is looked at, each time */

bool
check_quiet(const struct sim *s)
{
	return s->loss_ppm == 0 && s->delay_us == 0 && s->now - s->disturbed >= SIM_SETTLE_US;
}

/* All that routerd has for transportd is there, and of its graph. */
static void
check_fib(struct sim *s, struct sim_node *n)
{
	struct fib *f = router_fib(n->router);
	struct router_summary sum;

	for (const struct fib_route *r = fib_from(f, 0); r != NULL; r = fib_next(f, r))
		route_check(n, r);
	router_show(n->router, &sum);
	if (sum.fib_installed && sum.routes != n->route_count)
		sim_fail(s, "node %u: routerd has %zu routes, transportd %u", n->index, sum.routes,
		    n->route_count);
}

/* Node n's copy of an LSA against its origin's. */
static void
check_entry(struct sim *s, struct sim_node *n, const struct lsdb_entry *e)
{
	struct sim_node *origin = &s->nodes[sim_index(e->node)];
	const struct lsdb_entry *own = lsdb_get(router_lsdb(origin->router), e->node);
	int order;

	if (own == NULL)
		sim_fail(s, "node %u has no LSA of its own", origin->index);
	if ((order = lsa_compare(&e->lsa->id, &own->lsa->id)) > 0)
		sim_fail(s, "node %u has an LSA of node %u that it did not make", n->index, origin->index);
	if (order < 0 && lsdb_age_ms(own, node_now(origin)) * INT64_C(1000) > SIM_SETTLE_US)
		sim_fail(s, "node %u has an old LSA of node %u, %u ms after the next", n->index,
		    origin->index, lsdb_age_ms(own, node_now(origin)));
	if (order == 0 && (e->lsa->raw_len != own->lsa->raw_len ||
			      memcmp(e->lsa->raw, own->lsa->raw, e->lsa->raw_len) != 0))
		sim_fail(s, "node %u has another LSA of node %u with the same id", n->index, origin->index);
	if (e->state != NODE_STATE_ALIVE || n->states[origin->index] != NODE_STATE_ALIVE)
		sim_fail(s, "node %u thinks that node %u is down, %lld us after the last fault", n->index,
		    origin->index, (long long)(s->now - s->disturbed));
}

static void
check_lsdb(struct sim *s, struct sim_node *n)
{
	struct lsdb *db = router_lsdb(n->router);
	uint32_t seen = 0;

	for (struct lsdb_entry *e = lsdb_from(db, 0); e != NULL; e = lsdb_next(db, e)) {
		uint32_t origin = sim_index(e->node);

		if (net_connected(s, n->index, origin)) {
			seen++;
			check_entry(s, n, e);
		} else if (e->state == NODE_STATE_ALIVE) {
			sim_fail(s, "node %u thinks that node %u is up, %lld us after it was lost", n->index,
			    origin, (long long)(s->now - s->disturbed));
		}
	}
	if (seen != s->part_size[s->part[n->index]])
		sim_fail(s, "node %u lacks LSAs of %u nodes that it can reach", n->index,
		    s->part_size[s->part[n->index]] - seen);
}

void
check_all(struct sim *s)
{
	bool quiet = check_quiet(s) && !s->gossip_only;
	uint32_t few = s->node_count < SAMPLE ? s->node_count : SAMPLE;

	s->n.checks++;
	for (uint32_t i = 0; i < few; i++) {
		struct sim_node *n = &s->nodes[(s->n.checks * SAMPLE + i) % s->node_count];

		if (n->router != NULL && n->fib != NULL && !s->sampled)
			check_fib(s, n);
	}
	for (uint32_t i = 0; s->sampled && i < s->node_count; i++)
		if (s->nodes[i].router != NULL && s->nodes[i].fib != NULL)
			check_fib(s, &s->nodes[i]);
	if (!quiet)
		return;
	if (!sim_converged(s) || s->stale != 0)
		sim_fail(s,
		    "not settled %lld us after the last fault: %llu routes of %llu, %llu times over dead "
		    "links",
		    (long long)(s->now - s->disturbed), (unsigned long long)s->routes,
		    (unsigned long long)s->pairs, (unsigned long long)s->stale);
	for (uint32_t i = 0; i < s->shape.checks; i++) {
		struct sim_node *n = &s->nodes[(s->n.checks * s->shape.checks + i) % s->node_count];

		if (n->up) {
			check_lsdb(s, n);
			member_check(s, n);
		}
	}
}
