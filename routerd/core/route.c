#include "routerd/core/route.h"

#include <string.h>

#include "common/base/must.h"

int
route_compare(const struct route *a, const struct route *b)
{
	if (route_weight(a) != route_weight(b))
		return route_weight(a) < route_weight(b) ? -1 : 1;
	for (uint32_t i = a->hops; i-- != 0;)
		if (a->v[i] != b->v[i])
			return a->v[i] < b->v[i] ? -1 : 1;
	return 0;
}

bool
route_list_has(const struct route_list *l, const struct route *r)
{
	for (size_t i = 0; i < l->count; i++)
		if (route_compare(&l->routes[i], r) == 0)
			return true;
	return false;
}

void
route_list_insert(struct route_list *l, size_t from, const struct route *r, size_t deviation, size_t max)
{
	size_t i = l->count;

	while (i > from && route_compare(r, &l->routes[i - 1]) < 0)
		i--;
	if (i >= max)
		return;
	if (l->count < max)
		l->count++;
	for (size_t j = l->count - 1; j > i; j--) {
		l->routes[j] = l->routes[j - 1];
		l->deviation[j] = l->deviation[j - 1];
	}
	l->routes[i] = *r;
	l->deviation[i] = (uint8_t)deviation;
}

void
route_list_move(struct route_list *to, struct route_list *from)
{
	MUST(from->count != 0 && to->count < ROUTE_LIST_MAX);
	to->routes[to->count] = from->routes[0];
	to->deviation[to->count++] = from->deviation[0];
	from->count--;
	memmove(&from->routes[0], &from->routes[1], from->count * sizeof(from->routes[0]));
	memmove(&from->deviation[0], &from->deviation[1], from->count);
}

static bool
has_link(const struct route *r, uint32_t u, uint32_t v)
{
	for (uint32_t i = 0; i < r->hops; i++)
		if ((r->v[i] == u && r->v[i + 1] == v) || (r->v[i] == v && r->v[i + 1] == u))
			return true;
	return false;
}

uint64_t
route_shared(const struct route *a, const struct route *b)
{
	uint64_t sum = 0;

	for (uint32_t i = 1; i < b->hops; i++)
		for (uint32_t j = 1; j < a->hops; j++)
			sum += b->v[i] == a->v[j] ? ROUTE_RELAY : 0;
	for (uint32_t i = 0; i < b->hops; i++)
		sum += has_link(a, b->v[i], b->v[i + 1]) ? ROUTE_LINK : 0;
	if (b->v[b->hops - 1] == a->v[a->hops - 1])
		sum += ROUTE_FIRST;
	return sum;
}
