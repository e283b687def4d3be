/* order: see order.h. */
#include "consensusd/core/order.h"

#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/core/stream.h"
#include "consensusd/core/target.h"

enum { ORDER_CAP_MIN = 64 };

void
order_init(struct order *o)
{
	*o = (struct order){0};
}

void
order_fini(struct order *o)
{
	mem_free(o->ring);
	order_init(o);
}

static struct order_entry *
at(const struct order *o, size_t i)
{
	return &o->ring[(o->head + i) & (o->cap - 1)];
}

int
order_reserve(struct order *o)
{
	size_t cap = o->cap == 0 ? ORDER_CAP_MIN : o->cap * 2;
	struct order_entry *ring;

	if (o->count < o->cap)
		return 0;
	ring = mem_calloc(cap, sizeof(*ring));
	if (ring == NULL)
		return ERR_NOMEM;
	for (size_t i = 0; i < o->count; i++)
		ring[i] = *at(o, i);
	mem_free(o->ring);
	o->ring = ring;
	o->cap = cap;
	o->head = 0;
	return 0;
}

void
order_add(struct order *o, uint64_t ticket, enum order_kind kind, void *noun, uint64_t seq)
{
	MUST(o->count < o->cap && ticket > o->durable_ticket);
	MUST(o->count == 0 || at(o, o->count - 1)->ticket <= ticket);
	o->count++;
	*at(o, o->count - 1) = (struct order_entry){.ticket = ticket, .seq = seq, .noun = noun, .kind = kind};
}

void
order_move(struct order *o, const void *from, void *to)
{
	for (size_t i = 0; i < o->count; i++) {
		if (at(o, i)->noun == from)
			at(o, i)->noun = to;
	}
}

int
order_busy(const struct order *o)
{
	return o->count > 0;
}

static void
stream_row_durable(struct stream *s, enum stream_state written)
{
	if (s->state == STREAM_OPENING && written == STREAM_OPENING)
		s->state = STREAM_OPEN;
}

static void
target_row_durable(struct target *t, enum target_state written)
{
	if (t->state == TARGET_OPENING && written == TARGET_OPENING)
		t->state = TARGET_OPEN;
	else if (t->state == TARGET_CLOSING && written == TARGET_CLOSING)
		t->state = TARGET_CLOSED;
}

static void
flow_recorded(struct flow *f, uint64_t seq)
{
	if (seq > f->recorded_seq)
		f->recorded_seq = seq;
}

static void
raise(const struct order_entry *e, struct mono now)
{
	switch (e->kind) {
	case ORDER_STREAM_ROW:
		stream_row_durable(e->noun, (enum stream_state)e->seq);
		break;
	case ORDER_TARGET_ROW:
		target_row_durable(e->noun, (enum target_state)e->seq);
		break;
	case ORDER_OUTBOX:
		stream_durable(e->noun, e->seq);
		break;
	case ORDER_INBOX:
		target_stored(e->noun, e->seq, now);
		break;
	case ORDER_PROCESSED:
		target_processed(e->noun, e->seq);
		break;
	case ORDER_RECORDED:
		flow_recorded(e->noun, e->seq);
		break;
	case ORDER_SKIPPED:
		stream_skip(e->noun, e->seq, now);
		break;
	case ORDER_LETTER:
		break;
	case ORDER_NOTE:
		break; /* it has marks of its own: notes_durable() */
	case ORDER_CONTROL:
		break;
	}
}

void
order_durable(struct order *o, uint64_t ticket, struct mono now,
    void (*done)(void *arg, const struct order_entry *e), void *arg)
{
	MUST(ticket >= o->durable_ticket);
	o->durable_ticket = ticket;
	while (o->count > 0 && at(o, 0)->ticket <= ticket) {
		struct order_entry e = *at(o, 0);

		o->head = (o->head + 1) & (o->cap - 1);
		o->count--;
		raise(&e, now);
		done(arg, &e);
	}
}
