/* stream: targets that come while there are messages; see stream.h.  Those that go: flow_remove(). */
#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/core/stream.h"

/* Another target may have the place, and records that are on their way of the one before do no harm: they say
 * less than the new one begins with. */
static bool
is_free(const struct flow *f)
{
	return f->state == FLOW_GONE && !f->untold;
}

bool
stream_has_places(const struct stream *s, const uint64_t *nodes, size_t count)
{
	size_t places = STREAM_TARGETS_MAX - s->flow_count, needed = 0;

	for (size_t i = 0; i < s->flow_count; i++) {
		bool own = false;

		for (size_t k = 0; k < count; k++)
			own = own || nodes[k] == s->flows[i].node;
		places += is_free(&s->flows[i]) && !own;
	}
	for (size_t k = 0; k < count; k++)
		needed += stream_flow((struct stream *)(uintptr_t)s, nodes[k]) == NULL;
	return needed <= places;
}

int
stream_reserve(struct stream *s, stream_moved_fn *moved, void *arg)
{
	struct flow *flows;

	if (s->flow_cap == STREAM_TARGETS_MAX)
		return 0;
	flows = mem_calloc(STREAM_TARGETS_MAX, sizeof(*flows));
	if (flows == NULL)
		return ERR_NOMEM;
	for (size_t i = 0; i < s->flow_count; i++) {
		flows[i] = s->flows[i];
		moved(arg, &s->flows[i], &flows[i]);
	}
	mem_free(s->flows);
	s->flows = flows;
	s->flow_cap = STREAM_TARGETS_MAX;
	return 0;
}

static struct flow *
place_for(struct stream *s, uint64_t node)
{
	struct flow *f = stream_flow(s, node);

	for (size_t i = 0; f == NULL && i < s->flow_count; i++) {
		if (is_free(&s->flows[i]))
			f = &s->flows[i];
	}
	if (f != NULL)
		return f;
	MUST(s->flow_count < s->flow_cap);
	return &s->flows[s->flow_count++];
}

static void
begin(struct stream *s, struct flow *f, uint64_t node, uint64_t first_seq)
{
	void *owner = f->owner;

	flow_init(f, node, first_seq - 1, &s->conf->flow, s->budget);
	f->first_seq = first_seq;
	f->owner = owner;
}

struct flow *
stream_add(struct stream *s, uint64_t node)
{
	struct flow *f;

	MUST(s->sealed == NULL && !stream_sealable(s));
	f = place_for(s, node);
	MUST(f->conf == NULL || f->state == FLOW_GONE);
	if (f->processed > s->left_seq)
		s->left_seq = f->processed;
	if (f->conf != NULL)
		flow_fini(f);
	begin(s, f, node, s->next_seq);
	return f;
}

void
stream_load_first(struct stream *s, uint64_t node, uint64_t first_seq)
{
	struct flow *f = stream_flow(s, node);

	if (f == NULL || f->state == FLOW_GONE || first_seq <= f->first_seq)
		return;
	flow_fini(f);
	begin(s, f, node, first_seq);
	/* It was the next one then: all before it did exist, even if the outbox has nothing of it.  Whether
	 * the group has fixed that is another question. */
	if (first_seq - 1 > s->durable_seq)
		stream_load(s, first_seq - 1);
	(void)stream_commit(s);
}
