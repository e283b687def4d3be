/* router_measure: see router_measure.h. */
#include "consensusd/router_measure.h"

#include "common/base/mem.h"
#include "consensusd/engine.h"
#include "consensusd/store.h"

/* Ways of more hops than this are found only if the links come in a good order. */
enum { ROUNDS_MAX = 64 };

struct hop {
	struct node *from, *to;
	uint32_t latency_us;
};

/* The mean over a node's links: for the choice of voters. */
static void
measure_links(struct nodes *all, const struct store_link *links, size_t count)
{
	uint64_t sum;

	for (size_t i = 0; i < count; i++) {
		struct node *n = links[i].two_way ? nodes_find(all, links[i].from) : NULL;

		if (n == NULL)
			continue;
		sum = (uint64_t)n->rtt_us * n->links + links[i].latency_us;
		n->rtt_us = (uint32_t)(sum / ++n->links);
	}
}

/* True if the way over this hop is quicker than what is known. */
static bool
relax(const struct hop *h, const struct node *self)
{
	uint64_t us = h->from->path_us + h->latency_us + 1; /* none is for nothing: so 0 means not known */

	if ((h->from->path_us == 0 && h->from != self) || h->to == self)
		return false;
	if (h->to->path_us != 0 && h->to->path_us <= us)
		return false;
	h->to->path_us = us;
	h->to->hops = h->from->hops + 1;
	return true;
}

static void
measure_paths(struct engine *e, const struct store_link *links, size_t count)
{
	const struct node *self = nodes_find(&e->nodes, e->self);
	struct hop *hops = count > 0 && self != NULL ? mem_calloc(count, sizeof(*hops)) : NULL;
	size_t n = 0;
	bool more = hops != NULL;

	for (size_t i = 0; hops != NULL && i < count; i++) {
		hops[n] = (struct hop){nodes_find(&e->nodes, links[i].from),
		    nodes_find(&e->nodes, links[i].to), links[i].latency_us};
		if (links[i].two_way && hops[n].from != NULL && hops[n].to != NULL)
			n++;
	}
	for (int round = 0; more && round < ROUNDS_MAX; round++) {
		more = false;
		for (size_t i = 0; i < n; i++)
			more |= relax(&hops[i], self);
	}
	mem_free(hops);
}

void
router_measure(struct engine *e, const struct store_link *links, size_t count)
{
	for (size_t i = 0; i < e->nodes.count; i++) {
		struct node *n = e->nodes.all[i];

		n->links = n->rtt_us = n->hops = 0;
		n->path_us = 0;
	}
	measure_links(&e->nodes, links, count);
	measure_paths(e, links, count);
}
