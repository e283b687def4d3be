/* node: a machine with its tables, its replica, and its end of the stream. */
#include "common/base/err.h"
#include "common/base/mem.h"
#include "tests/streamsim/world.h"

struct done {
	struct world *w;
	unsigned n;
};

static void
on_rows(void *arg, const struct rows_put *p)
{
	const struct done *d = arg;

	check_rows(d->w, d->n, p);
}

bool
node_put(struct node *o, const struct rows_put *p, void *noun)
{
	int64_t ticket;

	if (order_reserve(&o->order) != 0)
		return false;
	ticket = rows_put(&o->rows, p);
	if (ticket < 0)
		return false;
	if (noun != NULL)
		order_add(&o->order, (uint64_t)ticket, p->kind, noun, p->seq);
	return true;
}

void
node_start(struct world *w, unsigned n)
{
	struct node *o = &w->node[n];

	world_tell(w, "node %u starts", n);
	o->up = true;
	o->life++;
	o->tick_at = INT64_MAX;
	o->flushed = false;
	order_init(&o->order);
	o->order.durable_ticket = o->rows.forming - 1;
	routing_node(w, n);
	if (w->changes)
		relation_load(w, n);
	group_start(w, n);
	if (n == 0)
		source_start(w);
	else
		target_start(w, n);
	node_pump(w, n);
}

void
node_crash(struct world *w, unsigned n)
{
	struct node *o = &w->node[n];

	world_tell(w, "node %u crashes", n);
	o->up = false;
	o->life++;
	routing_node(w, n);
	group_stop(w, n);
	if (n == 0)
		source_stop(w);
	else
		target_stop(w, n);
	order_fini(&o->order);
	rows_crash(&o->rows, world_chance(w, 500), on_rows, &(struct done){w, n});
	if (o->budget.used_bytes != 0)
		world_fail(w, "node %u: %zu bytes of memory are nobody's", n, o->budget.used_bytes);
	w->sums.crashes++;
}

void
node_arm(struct world *w, unsigned n, struct mono when)
{
	struct node *o = &w->node[n];
	int64_t at = when.us;

	if (mono_is_never(when))
		return;
	if (at <= w->now)
		at = w->now + 1;
	if (at >= o->tick_at)
		return; /* it wakes earlier, and looks then */
	o->tick_at = at;
	world_push(w, at, WORLD_TICK, n, 0, NULL);
}

static void
flush(struct world *w, unsigned n)
{
	struct node *o = &w->node[n];
	int64_t us = o->slow_us != 0 ? o->slow_us : w->faults.commit_us;

	if (rows_start(&o->rows))
		world_push(w, w->now + 100 + world_below(w, (unsigned)us), WORLD_FLUSHED, n, 0, NULL);
}

/* The cores of streams can do with too little memory. */
static void
memory_short(struct world *w)
{
	if (!world_chance(w, w->faults.memory))
		return;
	mem_fail_at(1 + world_below(w, 5));
	w->sums.short_memory++;
}

void
node_pump(struct world *w, unsigned n)
{
	group_pump(w, n);
	memory_short(w);
	if (n == 0)
		source_step(w);
	else
		target_step(w, n);
	mem_fail_at(0);
	if (w->changes)
		relation_turn(w, n);
	flush(w, n);
	check_after(w, n);
}

void
node_frame(struct world *w, unsigned n, struct frame *f)
{
	if (f->kind == FRAME_RAFT) {
		group_message(w, n, f);
		return;
	}
	memory_short(w);
	if (n == 0)
		source_frame(w, f);
	else
		target_frame(w, n, f);
	mem_fail_at(0);
}

static void
on_order(void *arg, const struct order_entry *e)
{
	const struct done *d = arg;

	if (e->kind == ORDER_TARGET_ROW)
		target_row(d->w, d->n, e->seq);
	else if (e->kind == ORDER_STREAM_ROW)
		change_row_durable(d->w);
	else if (e->kind == ORDER_SKIPPED)
		retain_durable(d->w, e->seq);
}

void
node_flushed(struct world *w, unsigned n)
{
	struct node *o = &w->node[n];
	struct done d = {w, n};
	uint64_t ticket = rows_commit(&o->rows, on_rows, &d);

	order_durable(&o->order, ticket, world_clock(w), on_order, &d);
	o->flushed = true;
	if (n == 0)
		source_durable(w);
	else
		target_durable(w, n);
}
