/* target: what sink.c does at the other nodes. */
#include <string.h>

#include "common/base/err.h"
#include "tests/streamsim/world.h"

enum { READ_US = 3000, READ_BATCHES = 4 };

static const uint8_t key[32];

void
target_start(struct world *w, unsigned n)
{
	struct node *o = &w->node[n];

	stay_load(w, n);
	if (!o->rows.row || o->rows.row_state == TARGET_CLOSING)
		return;
	MUST((o->target = target_new(&w->id, "t", 1, key, &w->target_conf, &o->budget)) != NULL);
	o->target->state = TARGET_OPEN;
	o->target->early = w->early;
	o->target->failures.cap = w->ack_failures;
	target_load(o->target, o->rows.last_seq, o->rows.marks[0]);
	o->target->epoch = o->row_epoch = o->rows.epoch;
	for (size_t i = 0; i < o->rows.letter_count; i++)
		target_load_failed(o->target, o->rows.letters[i]);
	failed_load(w, n);
	o->asking = o->letters_asked = false;
	target_ack_soon(o->target, world_clock(w), true);
	app_start(w, n);
}

void
target_stop(struct world *w, unsigned n)
{
	struct node *o = &w->node[n];

	if (o->target == NULL)
		return;
	app_crash(w, n);
	target_free(o->target);
	o->target = NULL;
	o->removing = false;
}

/* --- frames --- */

static void
on_batch(struct world *w, struct node *o, const struct frame *in)
{
	size_t offset = (size_t)in->index * FRAGMENT_BYTES, left = in->batch->body_len - offset;
	const struct fragment f = {
	    .first_seq = in->batch->first_seq,
	    .epoch = in->batch->epoch,
	    .count = in->batch->count,
	    .batch_bytes = (uint32_t)in->batch->body_len,
	    .index = in->index,
	    .total = (uint32_t)((in->batch->body_len + FRAGMENT_BYTES - 1) / FRAGMENT_BYTES),
	    .key_id = in->batch->key_id,
	    .nonce = in->batch->nonce,
	    .signature = in->index == 0 ? in->batch->signature : NULL,
	    .payload = in->batch->body + offset,
	    .payload_len = left < FRAGMENT_BYTES ? left : FRAGMENT_BYTES,
	    .offset = offset,
	};
	uint8_t good[DSG_DIGEST_BYTES];
	struct batch *b;
	int err;

	target_heard(o->target, in->seq);
	err = target_fragment(o->target, &f, world_clock(w), &b);

	if (err != 0 && err != ERR_NOMEM)
		world_fail(w, "a fragment that fits is refused: %s", err_text(err));
	if (b == NULL)
		return;
	/* A batch whose fragments are of two batches is not the source's. */
	check_digest(b, good);
	if (batch_check(b) != 0 || memcmp(good, b->signature, sizeof(good)) != 0) {
		batch_unref(b);
		return;
	}
	err = target_complete(o->target, b, world_clock(w));
	if (err != 0 && err != ERR_EXISTS && err != ERR_FULL && err != ERR_NOMEM)
		world_fail(w, "a whole batch is refused: %s", err_text(err));
}

void
target_answer(struct world *w, unsigned n)
{
	struct frame f = {.kind = FRAME_OPENED, .replica = group_of(w, n)->id};

	target_ack_fill(w->node[n].target, &f.ack);
	net_send(w, n, 0, &f);
}

void
target_begin(struct world *w, unsigned n, const struct rows_put *row)
{
	struct node *o = &w->node[n];

	o->target = target_new(&w->id, "t", 1, key, &w->target_conf, &o->budget);
	if (o->target == NULL)
		return;
	o->target->early = w->early;
	if (row->first > 0)
		target_load(o->target, row->first - 1, row->first - 1);
	o->target->failures.cap = w->ack_failures;
	failed_load(w, n);
	o->asking = o->letters_asked = false;
	o->row_epoch = row->epoch;
	if (!node_put(o, row, o->target)) {
		target_free(o->target);
		o->target = NULL;
		return;
	}
	app_start(w, n);
}

static void
on_open(struct world *w, unsigned n, const struct frame *f)
{
	struct node *o = &w->node[n];

	if (w->changes) {
		stay_open(w, n, &f->set, f->seq);
		return;
	}
	if (o->target != NULL && o->target->state == TARGET_OPENING)
		return;
	if (o->rows.row_state == TARGET_CLOSING)
		return; /* the shell remembers what was closed */
	if (o->target != NULL) {
		letters_heard(w, n, f->seq);
		target_answer(w, n);
	} else {
		target_begin(w, n, &(struct rows_put){.kind = ORDER_TARGET_ROW, .seq = TARGET_OPENING});
	}
}

static void
put_epoch(struct node *o)
{
	const struct rows_put p = {
	    .kind = ORDER_TARGET_ROW, .seq = TARGET_OPEN, .epoch = o->target->kept_epoch, .set = o->row};

	if (p.epoch > o->row_epoch && node_put(o, &p, NULL))
		o->row_epoch = p.epoch;
}

/* False: the tables took not all that is due. */
static bool
store_rows(struct world *w, struct node *o)
{
	uint64_t spared = o->target->spared;
	struct batch *b;

	while ((b = target_due(o->target, world_clock(w))) != NULL) {
		if (!node_put(o,
			&(struct rows_put){.kind = ORDER_INBOX, .batch = b, .seq = batch_last_seq(b)},
			o->target))
			return false;
		target_kept(o->target);
	}
	w->sums.spared += o->target->spared - spared;
	return true;
}

/* What the source gave up and is not here is a gap in the tables, and then waited for no more. */
static void
on_skip(struct world *w, unsigned n, uint64_t seq)
{
	struct node *o = &w->node[n];
	struct rows_put p = {
	    .kind = ORDER_INBOX, .skipped = true, .first = o->target->expected_seq, .seq = seq};

	target_hold_end(o->target);
	if (seq >= p.first && store_rows(w, o) && node_put(o, &p, o->target))
		MUST(target_skip(o->target, seq));
	target_ack_soon(o->target, world_clock(w), true);
}

static void
on_close(struct world *w, unsigned n, uint64_t seq)
{
	struct node *o = &w->node[n];

	/* Closed before, and the answer was lost; or all of it was. */
	if (o->target == NULL)
		net_send(w, n, 0, &(struct frame){.kind = FRAME_CLOSED});
	if (o->target == NULL || o->target->state != TARGET_OPEN)
		return;
	if (target_close(o->target, seq) != 0)
		target_ack_soon(o->target, world_clock(w), true);
	else if (!node_put(o,
		     &(struct rows_put){.kind = ORDER_TARGET_ROW, .seq = TARGET_CLOSING, .set = o->row},
		     o->target))
		o->target->state = TARGET_OPEN; /* the source asks again */
}

void
target_row(struct world *w, unsigned n, uint64_t state)
{
	if (w->node[n].removing)
		stay_left(w, n);
	else if (state == TARGET_CLOSING)
		net_send(w, n, 0, &(struct frame){.kind = FRAME_CLOSED});
	else
		target_answer(w, n);
}

void
target_durable(struct world *w, unsigned n)
{
	if (w->node[n].target != NULL && w->node[n].target->state == TARGET_CLOSED)
		target_stop(w, n);
}

void
target_frame(struct world *w, unsigned n, const struct frame *f)
{
	struct node *o = &w->node[n];

	if (f->kind == FRAME_OPEN)
		on_open(w, n, f);
	else if (f->kind == FRAME_CLOSE)
		on_close(w, n, f->seq);
	else if (o->target == NULL)
		net_send(w, n, 0, &(struct frame){.kind = FRAME_UNKNOWN});
	else if (o->target->state == TARGET_OPEN && f->kind == FRAME_SKIP)
		on_skip(w, n, f->seq);
	else if (o->target->state == TARGET_OPEN)
		on_batch(w, o, f);
}

/* --- the turn --- */

/* Its place has to be fixed by the group, as this node knows it. */
static bool
may_store(struct world *w, unsigned n, const struct batch *b)
{
	struct dsg_batch one = check_descriptor(b);
	enum dsg_check c = dsg_check(group_of(w, n)->dsg, &one);

	if (c == DSG_CHECK_OTHER)
		world_fail(w, "node %u has another batch at %llu than was described", n,
		    (unsigned long long)b->first_seq);
	w->sums.waits += c == DSG_CHECK_NOT_YET;
	return c == DSG_CHECK_SAME || c == DSG_CHECK_OLD;
}

static void
store_batches(struct world *w, unsigned n)
{
	struct node *o = &w->node[n];
	struct batch *b;
	bool room = true;

	if (o->retry.count > 0)
		target_hold_end(o->target); /* dead letters are copied from their rows */
	while (o->target->state == TARGET_OPEN && (room = store_rows(w, o)) &&
	       (b = target_next(o->target)) != NULL && may_store(w, n, b)) {
		check_taken(w, n, b);
		if (target_take(o->target, world_clock(w)) != 0)
			return;
	}
	if (!room)
		target_wait(o->target, world_clock(w));
	if (o->target->state == TARGET_OPEN)
		put_epoch(o);
}

static void
store_processed(struct world *w, unsigned n)
{
	struct node *o = &w->node[n];
	struct rows_put p = {.kind = ORDER_PROCESSED};
	uint64_t first;

	if (order_reserve(&o->order) != 0 || o->rows.put_count >= ROWS_PUTS_MAX - 1 ||
	    !target_put_processed(o->target, failed_limit(w, n), &first, &p.seq))
		return;
	failed_letters(w, n, &p);
	MUST(node_put(o, &p, o->target));
	failed_put(w, n, &p);
	if (world_chance(w, 100))
		(void)node_put(o, &(struct rows_put){.clear = true, .seq = o->target->processed_seq}, NULL);
}

static void
deliver(struct world *w, unsigned n)
{
	struct node *o = &w->node[n];
	struct batch_record rec;
	enum cursor_want want;

	while (o->app.up && o->app.open_count < APP_OPEN_MAX - 1) {
		if (failed_waits(w, n)) {
			node_arm(w, n, retry_next(&o->retry, world_clock(w)));
			return;
		}
		want = target_deliver(o->target, &rec);
		if (want == CURSOR_READ)
			world_push(w, w->now + 100 + world_below(w, READ_US), WORLD_READ, n, 0, NULL);
		if (want != CURSOR_RECORD)
			return;
		if (rec.seq > o->rows.last_seq && !o->target->early)
			world_fail(
			    w, "node %u delivers %llu, which is not durable", n, (unsigned long long)rec.seq);
		w->sums.early += rec.seq > o->rows.last_seq;
		if (failed_given_up(w, n, rec.seq))
			continue;
		app_got(w, n, &rec);
	}
}

/* The inbox has nothing at the cursor, and all before is done: was that given up? */
static void
ask_gap(struct world *w, unsigned n)
{
	struct node *o = &w->node[n];
	const struct target *t = o->target;

	if (o->asking || t->acked_seq + 1 != t->cursor.next_seq || t->cursor.next_seq > t->stored_seq)
		return;
	o->asking = true;
	world_push(w, w->now + 100 + world_below(w, READ_US), WORLD_GAP, n, 0, NULL);
}

void
target_read(struct world *w, unsigned n)
{
	struct node *o = &w->node[n];
	struct batch *b = NULL;
	uint64_t seq;

	if (o->target == NULL)
		return;
	seq = o->target->cursor.next_seq;
	w->sums.reads++;
	for (unsigned i = 0; i < READ_BATCHES && (b = rows_find(&o->rows, seq)) != NULL; i++) {
		cursor_read(&o->target->cursor, b);
		seq = batch_last_seq(b) + 1;
	}
	cursor_read(&o->target->cursor, NULL);
	if (rows_find(&o->rows, o->target->cursor.next_seq) == NULL)
		ask_gap(w, n);
}

void
target_gap(struct world *w, unsigned n)
{
	struct node *o = &w->node[n];
	const struct rows_gap *g;

	o->asking = false;
	if (o->target != NULL && (g = rows_gap(&o->rows, 0, o->target->cursor.next_seq)) != NULL)
		(void)target_pass_over(o->target, g->last);
}

/* Nobody is needed for it: what is stored is done. */
static void
pass_unwanted(struct world *w, struct target *t)
{
	if (w->policy.handler != POLICY_DISCARD || t->stored_seq <= t->acked_seq)
		return;
	w->sums.discarded += t->stored_seq - t->acked_seq;
	target_pass(t, t->stored_seq);
}

/* What is overdue waits for room in the tables. */
static struct mono
hold_at(const struct world *w, const struct target *t)
{
	return mono_before(world_clock(w), t->hold_at) ? t->hold_at : MONO_NEVER;
}

void
target_step(struct world *w, unsigned n)
{
	struct node *o = &w->node[n];
	struct frame f = {.kind = FRAME_ACK};

	if (o->target == NULL || o->target->state == TARGET_OPENING || o->removing)
		return;
	store_batches(w, n);
	w->sums.incomplete += target_expire(o->target, world_clock(w));
	if (!mono_before(world_clock(w), target_expiry(o->target)))
		world_fail(w, "node %u keeps what nothing has come of for too long", n);
	pass_unwanted(w, o->target);
	(void)target_pass_gap(o->target);
	store_processed(w, n);
	failed_save(w, n);
	deliver(w, n);
	if (target_ack_due(o->target, world_clock(w), &f.ack)) {
		if (f.ack.processed > o->rows.marks[0] || f.ack.stored > o->rows.last_seq)
			world_fail(w, "node %u acknowledges what is not durable", n);
		net_send(w, n, 0, &f);
	}
	node_arm(
	    w, n, mono_min(mono_min(o->target->ack_at, target_expiry(o->target)), hold_at(w, o->target)));
}
