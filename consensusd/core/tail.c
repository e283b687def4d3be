/* tail: see tail.h. */
#include "consensusd/core/tail.h"

#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/core/batch.h"
#include "consensusd/core/budget.h"

enum { TAIL_CAP_MIN = 8 };

void
tail_init(struct tail *t, struct budget *budget, uint64_t next_seq)
{
	*t = (struct tail){.budget = budget, .next_seq = next_seq};
}

static struct batch *
at(const struct tail *t, size_t i)
{
	return t->ring[(t->head + i) & (t->cap - 1)];
}

static void
drop_oldest(struct tail *t)
{
	struct batch *b = at(t, 0);

	t->head = (t->head + 1) & (t->cap - 1);
	t->count--;
	t->bytes -= b->body_len;
	budget_sub(t->budget, b->body_len);
	batch_unref(b);
}

void
tail_reset(struct tail *t, uint64_t next_seq)
{
	while (t->count > 0)
		drop_oldest(t);
	mem_free(t->ring);
	t->ring = NULL;
	t->cap = t->head = 0;
	t->next_seq = next_seq;
}

void
tail_fini(struct tail *t)
{
	tail_reset(t, 0);
}

static int
grow(struct tail *t)
{
	size_t cap = t->cap == 0 ? TAIL_CAP_MIN : t->cap * 2;
	struct batch **ring = mem_calloc(cap, sizeof(struct batch *));

	if (ring == NULL)
		return ERR_NOMEM;
	for (size_t i = 0; i < t->count; i++)
		ring[i] = at(t, i);
	mem_free(t->ring);
	t->ring = ring;
	t->cap = cap;
	t->head = 0;
	return 0;
}

int
tail_push(struct tail *t, struct batch *b)
{
	MUST(b->first_seq == t->next_seq);
	if (t->count == t->cap && grow(t) != 0)
		return ERR_NOMEM;
	t->ring[(t->head + t->count) & (t->cap - 1)] = batch_ref(b);
	t->count++;
	t->bytes += b->body_len;
	t->next_seq = batch_last_seq(b) + 1;
	budget_add(t->budget, b->body_len);
	return 0;
}

struct batch *
tail_get(const struct tail *t, uint64_t seq)
{
	size_t low = 0, high = t->count;

	if (t->count == 0 || seq >= t->next_seq || seq < at(t, 0)->first_seq)
		return NULL;
	/* The last batch whose first seq is not above seq. */
	while (high - low > 1) {
		size_t mid = low + (high - low) / 2;

		if (at(t, mid)->first_seq <= seq)
			low = mid;
		else
			high = mid;
	}
	return at(t, low);
}

void
tail_pop(struct tail *t, uint64_t seq)
{
	while (t->count > 0 && batch_last_seq(at(t, 0)) <= seq)
		drop_oldest(t);
}

void
tail_trim(struct tail *t, size_t max_bytes, uint64_t seq)
{
	while (t->count > 0 && t->bytes > max_bytes && batch_last_seq(at(t, 0)) <= seq) {
		if (t->on_trim != NULL)
			t->on_trim(t->on_trim_arg, at(t, 0));
		drop_oldest(t);
	}
}

uint64_t
tail_first(const struct tail *t)
{
	return t->count > 0 ? t->ring[t->head]->first_seq : t->next_seq;
}
