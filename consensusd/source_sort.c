/* source: which flows have their turn first when many begin at once; see source.h. */
#include <stdlib.h>

#include "common/base/mem.h"
#include "consensusd/source_impl.h"

struct place {
	struct source_flow *flow;
	size_t index;
};

static bool
has_something(const struct source_flow *f)
{
	return f->flow->processed < f->source->stream->durable_seq;
}

int
source_flow_compare(const struct source_flow *a, const struct source_flow *b)
{
	if (has_something(a) != has_something(b))
		return has_something(a) ? -1 : 1;
	if (a->source->row.priority != b->source->row.priority)
		return a->source->row.priority > b->source->row.priority ? -1 : 1;
	return 0;
}

static int
compare(const void *x, const void *y)
{
	const struct place *a = x, *b = y;
	int c = source_flow_compare(a->flow, b->flow);

	return c != 0 ? c : (a->index > b->index) - (a->index < b->index);
}

/* Without memory they go as they came. */
static void
sort(struct source_flow_list *list)
{
	struct source_flow *f;
	struct place *all;
	size_t n = 0;

	TAILQ_FOREACH (f, list, ready)
		n++;
	all = n > 1 ? mem_calloc(n, sizeof(*all)) : NULL;
	if (all == NULL)
		return;
	n = 0;
	TAILQ_FOREACH (f, list, ready) {
		all[n] = (struct place){f, n};
		n++;
	}
	qsort(all, n, sizeof(*all), compare);
	TAILQ_INIT(list);
	for (size_t i = 0; i < n; i++)
		TAILQ_INSERT_TAIL(list, all[i].flow, ready);
	mem_free(all);
}

void
source_sort_ready(struct engine *e)
{
	for (int class = 0; class < FRAME_CLASS_COUNT; class ++)
		sort(&e->ready_flows[class]);
}
