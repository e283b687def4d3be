#include "routerd/core/yen.h"

#include <string.h>

#include "common/base/num.h"
#include "routerd/core/search.h"

void
yen_begin(struct yen *y, const struct route *first)
{
	y->candidates.count = y->found.count = 0;
	route_list_insert(&y->found, 0, first, 0, 1);
}

/* The vertices that follow the first spur + 1 of r in all routes found so far that begin like it. */
static size_t
followers(const struct route_list *l, const struct route *r, uint32_t spur, uint32_t next[ROUTE_LIST_MAX])
{
	size_t count = 0;

	for (size_t i = 0; i < l->count; i++) {
		const struct route *other = &l->routes[i];

		if (other->hops > spur && memcmp(other->v, r->v, (spur + 1) * sizeof(r->v[0])) == 0)
			next[count++] = other->v[spur + 1];
	}
	return count;
}

/* Candidates that leave the route found last at each of its vertices, from where it left its own parent
 * on (Lawler).  left: how many of them can still be of use. */
static int
deviate(struct yen *y, struct search *s, size_t left, uint64_t weight_max)
{
	const struct route_list *found = &y->found;
	const struct route *last = &found->routes[found->count - 1];
	uint32_t next[ROUTE_LIST_MAX];

	for (uint32_t spur = found->deviation[found->count - 1]; spur < last->hops; spur++) {
		struct search_query q = {.prefix = last,
		    .spur = spur,
		    .not_next = next,
		    .weight_max = weight_max,
		    .labels_max = SIZE_MAX};
		struct route r;
		int err;

		q.not_next_count = followers(found, last, spur, next);
		if (y->candidates.count == left)
			q.weight_max = min_u64(weight_max, route_weight(&y->candidates.routes[left - 1]));
		if ((err = search_run(s, &q, &r)) != 0)
			return err;
		if (r.hops != 0)
			route_list_insert(&y->candidates, 0, &r, spur, left);
	}
	return 0;
}

int
yen_next(struct yen *y, struct search *s, size_t max, uint64_t weight_max, const struct route **next)
{
	int err;

	*next = NULL;
	if (y->found.count >= max)
		return 0;
	if ((err = deviate(y, s, max - y->found.count, weight_max)) != 0 || y->candidates.count == 0)
		return err;
	route_list_move(&y->found, &y->candidates);
	*next = &y->found.routes[y->found.count - 1];
	return 0;
}
