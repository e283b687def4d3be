/*
 * stay: a node's time as a target, from the source's statements, as sink_on_open() and sink_targets.c have
 * it.
 *
 * One that is a target no more drops what it has not processed, and answers when that is durable; one that
 * was removed and is back before it heard of either begins anew.
 */
#include "tests/streamsim/world.h"

void
stay_load(struct world *w, unsigned n)
{
	struct node *o = &w->node[n];

	o->row = o->rows.set;
	o->group = o->row.group;
	o->removed_at = o->rows.removed_at;
}

static void
answer(struct world *w, unsigned n, uint64_t revision)
{
	net_send(w, n, 0, &(struct frame){.kind = FRAME_CLOSED, .seq = revision});
}

static void
join(struct world *w, unsigned n, const struct rows_set *row)
{
	struct node *o = &w->node[n];

	o->row = *row;
	o->group = row->group;
	if (o->in[o->group] == NULL)
		group_begin(w, n, o->group);
}

static void
open_new(struct world *w, unsigned n, const struct rows_set *row)
{
	struct node *o = &w->node[n];

	if (row->revision <= o->removed_at)
		return; /* old: this node was a target then, and is none since */
	if (o->rows.row) {
		net_send(w, n, 0, &(struct frame){.kind = FRAME_REFUSED}); /* it was closed */
		return;
	}
	join(w, n, row);
	target_begin(w, n,
	    &(struct rows_put){
		.kind = ORDER_TARGET_ROW, .seq = TARGET_OPENING, .set = *row, .first = row->first[n - 1]});
}

/* A newer statement of a stream that is here: it has another group, say.  False: the source asks again. */
static bool
adopt(struct world *w, unsigned n, const struct rows_set *row)
{
	struct node *o = &w->node[n];
	struct rows_put p = {
	    .kind = ORDER_TARGET_ROW, .seq = TARGET_OPENING, .epoch = o->row_epoch, .set = *row};

	if (row->revision <= o->row.revision || o->target->state != TARGET_OPEN)
		return true;
	p.set.first[n - 1] = o->row.first[n - 1];
	if (!node_put(o, &p, NULL))
		return false;
	join(w, n, &p.set);
	w->sums.adopted++;
	return true;
}

static bool
is_over(const struct node *o, unsigned n, const struct rows_set *row)
{
	if (row->revision <= o->row.revision || o->target->state != TARGET_OPEN)
		return false;
	return set_has(row->left, n) || row->first[n - 1] > o->row.first[n - 1];
}

static void
leave(struct world *w, unsigned n, const struct rows_set *row)
{
	struct node *o = &w->node[n];
	bool again = !set_has(row->left, n);
	struct rows_put p = {.kind = ORDER_TARGET_ROW, .seq = TARGET_CLOSING, .leave = true, .set = o->row};

	if (!again)
		p.set = *row;
	if (!node_put(o, &p, o->target))
		return; /* the source asks again */
	app_crash(w, n);
	o->removing = true;
	o->again = again;
	/* What comes back with this very statement is not old. */
	o->row.revision = again ? row->revision - 1 : row->revision;
	o->target->state = TARGET_CLOSING;
	o->target->close_seq = o->target->processed_seq;
}

void
stay_left(struct world *w, unsigned n)
{
	struct node *o = &w->node[n];

	o->removed_at = o->row.revision;
	/* One that begins anew is asked again. */
	if (!o->again)
		answer(w, n, o->row.revision);
	w->sums.left += !o->again;
	w->sums.anew += o->again;
}

static void
not_here(struct world *w, unsigned n, const struct rows_set *row)
{
	struct node *o = &w->node[n];

	if (row->revision > o->removed_at)
		o->removed_at = row->revision;
	answer(w, n, row->revision);
	w->sums.not_here++;
}

void
stay_open(struct world *w, unsigned n, const struct rows_set *row, uint64_t mark)
{
	struct node *o = &w->node[n];

	if (!set_has(row->present | row->left, n))
		world_fail(w, "node %u is asked to open what is not for it", n);
	if (o->target != NULL && is_over(o, n, row))
		leave(w, n, row);
	else if (set_has(row->left, n)) {
		if (o->target == NULL)
			not_here(w, n, row);
	} else if (o->target == NULL)
		open_new(w, n, row);
	else if (o->target->state == TARGET_OPEN && adopt(w, n, row)) {
		letters_heard(w, n, mark);
		target_answer(w, n);
	}
}
