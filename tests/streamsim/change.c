/*
 * change: other targets for the stream that runs, as source_targets.c makes them, and who wants them.
 *
 * What is pending is given to the tables, then the row with the new targets, from which message on each of
 * them gets it, and the group of the new set.  When that is durable, and not before, it takes effect.
 */
#include "common/base/err.h"
#include "common/base/mem.h"
#include "tests/streamsim/world.h"

enum {
	TURN_US = 1500 * WORLD_MS,
	AWAY_US = 3 * WORLD_SECOND,
	WANTS_OF_1000 = 700,
	WANTS_CALM_OF_1000 = 100,
	LAST_OF_1000 = 500, /* before the stream is closed */
	AWAY_OF_1000 = 250,
	DOOM_OF_1000 = 400,
};

static struct node *
source(struct world *w)
{
	return &w->node[0];
}

bool
set_has(unsigned set, unsigned n)
{
	return set >> n & 1;
}

unsigned
set_count(unsigned set)
{
	return (unsigned)__builtin_popcount(set);
}

static unsigned
everybody(const struct world *w)
{
	return ((1u << w->targets) - 1) << 1;
}

unsigned
change_first_set(struct world *w)
{
	unsigned set = everybody(w);

	if (!w->changes)
		return set;
	set &= world_below(w, 1u << (w->targets + 1));
	return set_count(set) < (w->policy.ack == POLICY_ACK_QUORUM ? w->policy.quorum : 1) ? everybody(w)
											    : set;
}

/* Also beyond one that targets were told of and that did not get into the tables. */
void
change_next_revision(struct world *w)
{
	struct rows_set *row = &source(w)->row;
	uint64_t now = world_wall_ms(w);

	row->revision = now > row->revision ? now : row->revision + 1;
}

/* --- after a restart --- */

void
change_load(struct world *w)
{
	struct node *o = source(w);

	o->moved = o->brought = false;
	if (o->rows.row) {
		w->sums.changes_lost += o->row.present != o->rows.set.present;
		o->row = o->rows.set;
		o->group = o->row.group;
		/* Its replica went when another group took its place, which is not in the row. */
		if (w->changes && group_of(w, 0) == NULL && !relation_choose(w, o->row.present, &o->group))
			world_fail(w, "so many groups were lost");
		return;
	}
	o->row = (struct rows_set){.present = change_first_set(w)};
	change_next_revision(w);
	if (w->changes && !relation_choose(w, o->row.present, &o->row.group))
		world_fail(w, "so many groups, and the stream was never opened");
	o->group = o->row.group;
}

void
change_load_flows(struct world *w)
{
	struct node *o = source(w);

	for (unsigned n = 1; n <= w->targets; n++) {
		if (set_has(o->row.present, n))
			stream_load_first(o->stream, n + 1, o->row.first[n - 1]);
		else if (set_has(o->row.left, n))
			flow_load_removed(stream_flow(o->stream, n + 1), world_clock(w));
	}
	(void)stream_commit(o->stream);
}

void
change_loaded(struct world *w)
{
	struct node *o = source(w);

	if (o->row.group == o->group)
		return;
	o->row.group = o->group;
	change_next_revision(w);
	(void)source_put_row(o, o->stream->state);
}

/* --- a change --- */

static struct rows_set
row_with(struct world *w, unsigned set)
{
	const struct node *o = source(w);
	struct rows_set row = o->row;

	for (unsigned n = 1; n <= w->targets; n++)
		if (set_has(set & ~row.present, n))
			row.first[n - 1] = o->stream->next_seq;
	row.left = (row.left | row.present) & ~set;
	row.present = set;
	return row;
}

static void
on_moved(void *arg, struct flow *from, struct flow *to)
{
	order_move(arg, from, to);
}

/* All that needs memory or the tables, so that nothing fails after it. */
static bool
prepare(struct world *w)
{
	struct node *o = source(w);
	int err;

	if (world_chance(w, w->faults.memory))
		mem_fail_at(1);
	err = stream_reserve(o->stream, on_moved, &o->order);
	mem_fail_at(0);
	return err == 0 && source_give(w);
}

static bool
may_change(struct world *w, unsigned set)
{
	const struct node *o = source(w);
	uint64_t nodes[ROWS_TARGETS_MAX];
	size_t count = 0;

	if (o->change.under_way || o->stream->state != STREAM_OPEN)
		return false;
	if (w->policy.ack == POLICY_ACK_QUORUM && w->policy.quorum > set_count(set))
		return false;
	for (unsigned n = 1; n <= w->targets; n++)
		if (set_has(set, n))
			nodes[count++] = n + 1;
	return stream_has_places(o->stream, nodes, count);
}

static void
add(struct world *w, unsigned n)
{
	struct node *o = source(w);
	const struct flow *f = stream_add(o->stream, n + 1);

	o->recorded_put[n - 1] = f->processed;
	o->doubts[n] = 0;
	o->asked[n] = false;
}

static bool
begin(struct world *w, unsigned set)
{
	struct node *o = source(w);
	struct rows_set before = o->row, row;

	if (!may_change(w, set) || !prepare(w))
		return false;
	row = row_with(w, set);
	if (!relation_choose(w, set, &row.group))
		return false;
	o->row = row;
	change_next_revision(w);
	if (!source_put_row(o, STREAM_OPEN)) {
		o->row = before;
		return false;
	}
	o->change = (struct node_change){true, o->rows_put_count, row.group};
	for (unsigned n = 1; n <= w->targets; n++)
		if (set_has(set & ~before.present, n))
			add(w, n);
	return true;
}

/* --- it is durable --- */

/* Nothing waits for those that are in the row no more. */
static void
let_leave(struct world *w)
{
	struct node *o = source(w);

	for (size_t i = 0; i < o->stream->flow_count; i++) {
		struct flow *f = &o->stream->flows[i];

		if (f->state >= FLOW_CLOSED || set_has(o->row.present, (unsigned)f->node - 1))
			continue;
		source_record_flow(w, f);
		flow_remove(f, world_clock(w));
	}
}

void
change_row_durable(struct world *w)
{
	struct node *o = source(w);

	o->rows_durable_count++;
	if (!o->change.under_way || o->rows_durable_count < o->change.row)
		return;
	world_tell(w, "targets are %x now, %x are to hear that they are none", o->row.present, o->row.left);
	o->change.under_way = false;
	relation_move(w);
	let_leave(w);
	source_tell(w);
	source_commit(w);
	source_fail_waiters(w);
	source_record(w);
}

void
change_told(struct world *w, unsigned n)
{
	struct node *o = source(w);

	flow_told(stream_flow(o->stream, n + 1));
	o->row.left &= ~(1u << n);
	/* Else it is told once more after a restart. */
	if (!o->closed_put)
		(void)source_put_row(o, o->stream->state);
}

/* --- who wants it --- */

static unsigned
draw_set(struct world *w)
{
	unsigned set = source(w)->row.present ^ 1u << (1 + world_below(w, w->targets));

	if (world_chance(w, 300))
		set ^= 1u << (1 + world_below(w, w->targets));
	return set;
}

/* A target that is added or removed is away, or the worst happens while it is. */
static void
trouble(struct world *w, unsigned changed)
{
	unsigned n = 1 + world_below(w, w->targets);

	if (w->calm)
		return;
	if (set_has(changed, n) && w->node[n].up && world_chance(w, AWAY_OF_1000)) {
		node_crash(w, n);
		world_push(w, w->now + 1 + world_below(w, AWAY_US), WORLD_START, n, 0, NULL);
	}
	if (!world_chance(w, DOOM_OF_1000))
		return;
	w->faults.doom = world_chance(w, 500) ? WORLD_FLUSHED : WORLD_FRAME;
	w->faults.doom_node = world_chance(w, 500) ? 0 : n;
	w->faults.doom_in = 1 + world_below(w, 4);
	w->faults.doom_after = world_chance(w, 500);
}

static void
want(struct world *w)
{
	struct node *o = source(w);
	unsigned set = draw_set(w), before = o->row.present;

	if (set == 0 || set == before)
		return;
	if (begin(w, set))
		trouble(w, set ^ before);
	else
		w->sums.changes_refused++;
}

void
change_now(struct world *w)
{
	if (world_chance(w, LAST_OF_1000))
		want(w);
}

void
change_turn(struct world *w)
{
	struct node *o = source(w);

	if (o->up && o->stream != NULL && world_chance(w, w->calm ? WANTS_CALM_OF_1000 : WANTS_OF_1000)) {
		want(w);
		node_pump(w, 0);
	}
	world_push(w, w->now + 1 + world_below(w, TURN_US), WORLD_CHANGE, 0, 0, NULL);
}
