/* describe: what the group is told by the source, while it leads. */
#include "common/base/buf.h"
#include "tests/streamsim/world.h"

enum {
	ENTRY_BATCHES_MAX = 16,
	ENTRY_MAX_BYTES = 1 << 16,
	PROGRESS_US = 200 * WORLD_MS,
};

static struct node *
source(struct world *w)
{
	return &w->node[0];
}

static bool
propose(struct world *w, const struct buf *entry)
{
	return group_propose(w, group_of(w, 0), entry, NULL);
}

/* Those that are targets now, with what they have; a stream that is closed has its row alone. */
static struct dsg_open
open_at(struct world *w, uint64_t described, uint64_t epoch)
{
	struct node *o = source(w);
	struct dsg_open open = {.stream = w->id, .epoch = epoch, .described = described};

	for (unsigned n = 1; n <= w->targets; n++) {
		const struct flow *f = o->stream != NULL ? stream_flow(o->stream, n + 1) : NULL;
		uint64_t has = f != NULL ? f->processed : o->rows.marks[n - 1];

		if (f != NULL ? f->state == FLOW_GONE : !set_has(o->rows.set.present, n))
			continue;
		open.targets[open.target_count] = n + 1;
		open.processed[open.target_count++] = !w->changes ? 0 : has < described ? has : described;
	}
	return open;
}

static uint64_t
before_outbox(const struct rows *r)
{
	return r->count > 0 ? r->batches[r->first]->first_seq - 1 : r->last_seq;
}

/* What lies before is fixed, whatever group had it. */
static void
propose_open(struct world *w)
{
	struct node *o = source(w);
	const struct rows *r = &o->rows;
	struct dsg_open open = open_at(w, w->changes ? before_outbox(r) : 0, 0);
	struct buf b;

	if (o->open_put || !o->rows.row || o->rows.row_state == STREAM_CLOSED)
		return;
	if (w->changes && r->count > 0)
		open.epoch = r->batches[r->first]->epoch;
	buf_init(&b, ENTRY_MAX_BYTES);
	MUST(dsg_put_open(&b, &open) == 0);
	o->open_put = propose(w, &b);
	world_tell(w, "group %u: opened at %llu", o->group, (unsigned long long)open.described);
	buf_fini(&b);
}

/* The stream comes from another group, or comes back: what was agreed upon there is so here; what was not is
 * described anew. */
static void
bring(struct world *w, const struct dsg_stream *has)
{
	struct node *o = source(w);
	const struct stream *st = o->stream;
	uint64_t at = st->fixed_seq;
	const struct batch *b;
	struct dsg_open open;
	struct buf entry;

	if (tail_first(&st->tail) - 1 > at)
		at = tail_first(&st->tail) - 1;
	if (at > st->durable_seq)
		at = st->durable_seq;
	if ((o->brought = at == 0 && has == NULL))
		return;
	b = rows_find(&o->rows, at + 1);
	open = open_at(w, at, b != NULL ? b->epoch : 0);
	buf_init(&entry, ENTRY_MAX_BYTES);
	if (has != NULL)
		MUST(dsg_put_close(&entry, &w->id) == 0);
	MUST(dsg_put_open(&entry, &open) == 0);
	if ((o->brought = o->open_put = group_propose(w, group_of(w, 0), &entry, &o->brought_index)))
		o->describe_next = at + 1;
	buf_fini(&entry);
}

/* What was given up before it was described never will be; nor what was described in another group alone, and
 * is needed by nobody any more. */
static uint64_t
pass_by(struct world *w, struct buf *entry)
{
	const struct node *o = source(w);
	uint64_t upto = w->changes ? before_outbox(&o->rows) : o->rows.skipped_seq;
	const struct batch *b = rows_find(&o->rows, upto + 1);
	struct dsg_open open = open_at(w, upto, b != NULL ? b->epoch : 0);

	MUST(dsg_put_open(entry, &open) == 0);
	return upto + 1;
}

/* Batches that are durable; false: there are none to be proposed now. */
static bool
propose_batches(struct world *w)
{
	struct node *o = source(w);
	uint64_t next = o->describe_next;
	struct buf entry;
	bool done;

	if (next > o->rows.last_seq)
		return false;
	buf_init(&entry, ENTRY_MAX_BYTES);
	if ((w->changes || next <= o->rows.skipped_seq) && rows_find(&o->rows, next) == NULL)
		next = pass_by(w, &entry);
	for (unsigned i = 0; i < ENTRY_BATCHES_MAX && next <= o->rows.last_seq; i++) {
		const struct batch *b = rows_find(&o->rows, next);
		struct dsg_batch one;

		if (b == NULL || b->first_seq != next)
			world_fail(
			    w, "no batch begins at %llu, which is not described", (unsigned long long)next);
		one = check_descriptor(b);
		MUST(dsg_put_batch(&entry, &one) == 0);
		next = batch_last_seq(b) + 1;
		w->sums.batches++;
	}
	done = propose(w, &entry);
	buf_fini(&entry);
	if (done)
		o->describe_next = next;
	return done;
}

static bool
all_described(const struct node *o)
{
	if (o->describe_next <= o->rows.last_seq)
		return false;
	return o->stream == NULL ||
	       (o->stream->sealed == NULL && o->describe_next == o->stream->tail.next_seq);
}

/* Not before batches of the one before, which were sealed already. */
static void
propose_epoch(struct world *w, const struct dsg_stream *s)
{
	struct node *o = source(w);
	struct buf b;

	if (o->rows.epoch <= s->epoch || o->rows.epoch <= o->epoch_put || !all_described(o))
		return;
	buf_init(&b, ENTRY_MAX_BYTES);
	MUST(dsg_put_epoch(&b, &w->id, o->rows.epoch) == 0);
	if (propose(w, &b))
		o->epoch_put = o->rows.epoch;
	buf_fini(&b);
}

/* A target that was refused is not waited for. */
static bool
is_over(const struct world *w, const struct dsg_stream *s)
{
	for (unsigned n = 1; n <= w->targets; n++)
		if (w->node[n].refused)
			return true;
	if (w->changes)
		return true;
	return s->committed == w->node[0].rows.last_seq;
}

static void
propose_progress(struct world *w, const struct dsg_stream *s)
{
	struct node *o = source(w);
	struct buf b;

	node_arm(w, 0, (struct mono){o->progress_at > w->now ? o->progress_at : w->now + PROGRESS_US});
	if (w->now < o->progress_at || o->forget_put)
		return;
	o->progress_at = w->now + PROGRESS_US;
	buf_init(&b, ENTRY_MAX_BYTES);
	if (o->rows.skipped_seq > s->skipped && o->rows.skipped_seq <= s->described)
		MUST(dsg_put_skip(&b, &w->id, o->rows.skipped_seq) == 0);
	for (size_t i = 0; i < s->target_count; i++) {
		const struct flow *f = o->stream != NULL ? stream_flow(o->stream, s->targets[i]) : NULL;
		uint64_t seq = f != NULL ? f->processed : o->rows.marks[s->targets[i] - 2];

		if (seq > s->processed[i] && seq <= s->described)
			MUST(dsg_put_processed(&b, &w->id, s->targets[i], seq) == 0);
	}
	if (o->stream == NULL && is_over(w, s))
		MUST(dsg_put_close(&b, &w->id) == 0);
	if (buf_left(&b) != 0)
		o->forget_put = propose(w, &b) && o->stream == NULL && is_over(w, s);
	buf_fini(&b);
}

void
source_describe(struct world *w)
{
	struct node *o = source(w);
	const struct dsg_stream *s;
	uint64_t term;

	/* Before that, what seems not to be described may be, and be gone from the outbox. */
	if (!group_ready(group_of(w, 0), &term))
		return;
	if (o->term != term) {
		/* What was proposed before may be lost. */
		o->term = term;
		o->describe_next = 0;
		o->open_put = o->forget_put = o->brought = false;
		o->brought_index = 0;
		o->epoch_put = 0;
		w->sums.terms++;
	}
	s = dsg_find(group_of(w, 0)->dsg, &w->id);
	if (o->moved && !o->brought && o->stream != NULL) {
		bring(w, s);
		world_tell(w, "group %u: brought, goes on at %llu; fixed %llu, tail from %llu", o->group,
		    (unsigned long long)o->describe_next, (unsigned long long)o->stream->fixed_seq,
		    (unsigned long long)tail_first(&o->stream->tail));
	}
	if (s == NULL) {
		propose_open(w);
		return;
	}
	/* What the group has of before that does not count. */
	if (o->moved && o->stream != NULL && (!o->brought || group_of(w, 0)->applied < o->brought_index))
		return;
	o->moved = false;
	if (o->describe_next <= s->described)
		o->describe_next = s->described + 1;
	while (propose_batches(w))
		;
	propose_epoch(w, s);
	propose_progress(w, s);
	if (!w->changes)
		member_turn(w, 0);
}
