/* cursor: see cursor.h. */
#include "consensusd/core/cursor.h"

#include <stddef.h>

void
cursor_init(struct cursor *c, struct budget *budget, uint64_t next_seq)
{
	*c = (struct cursor){.next_seq = next_seq};
	tail_init(&c->ahead, budget, next_seq);
}

static void
leave(struct cursor *c)
{
	batch_unref(c->batch);
	c->batch = NULL;
}

void
cursor_fini(struct cursor *c)
{
	leave(c);
	tail_fini(&c->ahead);
}

void
cursor_seek(struct cursor *c, uint64_t next_seq)
{
	if (c->next_seq == next_seq)
		return;
	leave(c);
	tail_reset(&c->ahead, next_seq);
	c->next_seq = next_seq;
}

/* Enters the batch that holds next_seq. */
static void
enter(struct cursor *c, struct batch *b)
{
	struct batch_record rec;

	leave(c);
	c->batch = batch_ref(b);
	batch_iter_init(&c->it, c->batch);
	while (c->it.index < c->next_seq - b->first_seq)
		MUST(batch_next(&c->it, &rec) == 1);
}

static bool
inside(const struct cursor *c)
{
	return c->batch != NULL && c->it.index < c->batch->count;
}

enum cursor_want
cursor_next(struct cursor *c, const struct tail *live, uint64_t last_seq, uint64_t stored_seq,
    struct batch_record *rec)
{
	struct batch *b;

	if (c->next_seq > last_seq)
		return CURSOR_IDLE;
	if (!inside(c)) {
		b = tail_get(&c->ahead, c->next_seq);
		if (b == NULL)
			b = tail_get(live, c->next_seq);
		if (b == NULL && (c->reading || c->next_seq > stored_seq))
			return CURSOR_IDLE;
		if (b == NULL) {
			tail_reset(&c->ahead, c->next_seq);
			c->reading = true;
			return CURSOR_READ;
		}
		enter(c, b);
		tail_pop(&c->ahead, c->next_seq - 1);
	}
	MUST(batch_next(&c->it, rec) == 1);
	c->next_seq++;
	return CURSOR_RECORD;
}

void
cursor_read(struct cursor *c, struct batch *b)
{
	uint64_t next = c->ahead.next_seq;

	if (b == NULL) {
		c->reading = false;
		return;
	}
	if (c->ahead.count == 0 && b->first_seq <= c->next_seq && c->next_seq <= batch_last_seq(b))
		tail_reset(&c->ahead, b->first_seq);
	else if (c->ahead.count == 0 || b->first_seq != next)
		return;
	/* Without memory the rest is read again later. */
	if (tail_push(&c->ahead, b) != 0)
		return;
}
