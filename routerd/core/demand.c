#include "routerd/core/demand.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/num.h"
#include "routerd/core/limits.h"

enum { DEMAND_FIRST = 16 };

void
demand_init(struct demand *d)
{
	*d = (struct demand){0};
}

void
demand_fini(struct demand *d)
{
	mem_free(d->nodes);
	demand_init(d);
}

bool
demand_has(const struct demand *d, uint64_t node)
{
	size_t i = place_u64(d->nodes, d->count, node);

	return i < d->count && d->nodes[i] == node;
}

static int
grow(struct demand *d)
{
	size_t cap = d->cap != 0 ? 2 * d->cap : DEMAND_FIRST;
	uint64_t *nodes;

	if (d->count < d->cap)
		return 0;
	if ((nodes = mem_calloc(cap, sizeof(*nodes))) == NULL)
		return ERR_NOMEM;
	if (d->count != 0)
		memcpy(nodes, d->nodes, d->count * sizeof(*nodes));
	mem_free(d->nodes);
	d->nodes = nodes;
	d->cap = cap;
	return 0;
}

int
demand_add(struct demand *d, uint64_t node)
{
	size_t i = place_u64(d->nodes, d->count, node);

	if (i < d->count && d->nodes[i] == node)
		return 0;
	if (d->count == DEMAND_MAX)
		return ERR_FULL;
	if (grow(d) != 0)
		return ERR_NOMEM;
	memmove(&d->nodes[i + 1], &d->nodes[i], (d->count - i) * sizeof(d->nodes[0]));
	d->nodes[i] = node;
	d->count++;
	return 0;
}

void
demand_del(struct demand *d, uint64_t node)
{
	size_t i = place_u64(d->nodes, d->count, node);

	if (i == d->count || d->nodes[i] != node)
		return;
	d->count--;
	memmove(&d->nodes[i], &d->nodes[i + 1], (d->count - i) * sizeof(d->nodes[0]));
}
