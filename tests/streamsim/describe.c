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

static void
propose_open(struct world *w)
{
	struct node *o = source(w);
	struct dsg_open open = {.stream = w->id, .epoch = o->rows.epoch, .target_count = w->targets};
	struct buf b;

	if (o->open_put || !o->rows.row || o->rows.row_state == STREAM_CLOSED)
		return;
	for (unsigned i = 0; i < w->targets; i++)
		open.targets[i] = i + 2;
	buf_init(&b, ENTRY_MAX_BYTES);
	MUST(dsg_put_open(&b, &open) == 0);
	o->open_put = group_propose(w, 0, &b);
	buf_fini(&b);
}

/* What was given up before it was described never will be. */
static uint64_t
pass_skipped(struct world *w, struct buf *entry)
{
	const struct node *o = source(w);
	const struct batch *b = rows_find(&o->rows, o->rows.skipped_seq + 1);
	struct dsg_open open = {.stream = w->id,
	    .epoch = b != NULL ? b->epoch : o->rows.epoch,
	    .described = o->rows.skipped_seq,
	    .target_count = w->targets};

	for (unsigned i = 0; i < w->targets; i++)
		open.targets[i] = i + 2;
	MUST(dsg_put_open(entry, &open) == 0);
	return o->rows.skipped_seq + 1;
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
	if (next <= o->rows.skipped_seq && rows_find(&o->rows, next) == NULL)
		next = pass_skipped(w, &entry);
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
	done = group_propose(w, 0, &entry);
	buf_fini(&entry);
	if (done)
		o->describe_next = next;
	return done;
}

static void
propose_epoch(struct world *w, const struct dsg_stream *s)
{
	struct node *o = source(w);
	struct buf b;

	if (o->rows.epoch <= s->epoch || o->rows.epoch <= o->epoch_put ||
	    o->describe_next <= o->rows.last_seq)
		return;
	buf_init(&b, ENTRY_MAX_BYTES);
	MUST(dsg_put_epoch(&b, &w->id, o->rows.epoch) == 0);
	if (group_propose(w, 0, &b))
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
	for (unsigned i = 0; i < w->targets; i++) {
		uint64_t seq = o->stream != NULL ? o->stream->flows[i].processed : o->rows.marks[i];

		if (seq > s->processed[i] && seq <= s->described)
			MUST(dsg_put_processed(&b, &w->id, i + 2, seq) == 0);
	}
	if (o->stream == NULL && is_over(w, s))
		MUST(dsg_put_close(&b, &w->id) == 0);
	if (buf_left(&b) != 0)
		o->forget_put = group_propose(w, 0, &b) && o->stream == NULL && is_over(w, s);
	buf_fini(&b);
}

void
source_describe(struct world *w)
{
	struct node *o = source(w);
	const struct dsg_stream *s;
	uint64_t term;

	/* Before that, what seems not to be described may be, and be gone from the outbox. */
	if (!group_ready(w, 0, &term))
		return;
	if (o->term != term) {
		/* What was proposed before may be lost. */
		o->term = term;
		o->describe_next = 0;
		o->open_put = o->forget_put = false;
		o->epoch_put = 0;
		w->sums.terms++;
	}
	if ((s = dsg_find(o->dsg, &w->id)) == NULL) {
		propose_open(w);
		return;
	}
	if (o->describe_next <= s->described)
		o->describe_next = s->described + 1;
	while (propose_batches(w))
		;
	propose_epoch(w, s);
	propose_progress(w, s);
	member_turn(w);
}
