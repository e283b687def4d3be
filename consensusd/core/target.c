/* target: see target.h. */
#include "consensusd/core/target.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/core/batch.h"
#include "consensusd/core/budget.h"
#include "consensusd/core/credit.h"

enum { REORDER_CAP_MIN = 8 };

struct target *
target_new(const struct ulid *id, const char *tenant, uint64_t source, const uint8_t source_key[32],
    const struct target_conf *conf, struct budget *budget)
{
	struct target *t = mem_calloc(1, sizeof(*t));
	size_t n = strlen(tenant);

	if (t == NULL)
		return NULL;
	MUST(n < sizeof(t->tenant));
	t->id = *id;
	memcpy(t->tenant, tenant, n);
	t->source = source;
	memcpy(t->source_key, source_key, sizeof(t->source_key));
	t->conf = conf;
	t->budget = budget;
	t->expected_seq = 1;
	t->ack_at = t->hold_at = MONO_NEVER;
	tail_init(&t->tail, budget, 1);
	cursor_init(&t->cursor, budget, 1);
	ledger_init(&t->ledger);
	failures_init(&t->failures, 0, FAILURES_ACK_MAX);
	return t;
}

static void
reassembly_end(struct target *t)
{
	if (t->reassembly == NULL)
		return;
	reassembly_fini(t->reassembly);
	mem_free(t->reassembly);
	t->reassembly = NULL;
}

void
target_free(struct target *t)
{
	if (t == NULL)
		return;
	reassembly_end(t);
	for (size_t i = 0; i < t->reorder_count; i++)
		batch_unref(t->reorder[i]);
	budget_sub(t->budget, t->reorder_bytes);
	mem_free(t->reorder);
	tail_fini(&t->tail);
	cursor_fini(&t->cursor);
	ledger_fini(&t->ledger);
	failures_fini(&t->failures);
	mem_free(t);
}

void
target_load(struct target *t, uint64_t stored_seq, uint64_t processed_seq)
{
	/* The inbox may be cleared up to what is processed. */
	if (stored_seq < processed_seq)
		stored_seq = processed_seq;
	t->stored_seq = t->kept_seq = stored_seq;
	t->expected_seq = stored_seq + 1;
	t->processed_seq = t->acked_seq = t->put_seq = t->delivered_seq = processed_seq;
	tail_reset(&t->tail, t->expected_seq);
	cursor_seek(&t->cursor, processed_seq + 1);
}

/* Bytes held for this stream that are not durable. */
static size_t
held_bytes(const struct target *t)
{
	return t->reorder_bytes + (t->reassembly != NULL ? t->reassembly->bytes : 0);
}

static bool
backlog_full(const struct target *t)
{
	return t->ledger.total_bytes > t->conf->backlog_bytes;
}

/* Whether a batch is taken now: the one that is expected nearly always, others while there is room. */
static bool
has_room(const struct target *t, uint64_t first_seq, size_t bytes)
{
	if (backlog_full(t) || budget_spent(t->budget))
		return false;
	if (first_seq == t->expected_seq)
		return true;
	return held_bytes(t) + bytes <= 2 * t->conf->window_bytes && !budget_over(t->budget);
}

static int
reassembly_begin(struct target *t)
{
	if (t->reassembly != NULL)
		return 0;
	t->reassembly = mem_calloc(1, sizeof(*t->reassembly));
	if (t->reassembly == NULL)
		return ERR_NOMEM;
	reassembly_init(t->reassembly, t->budget);
	return 0;
}

/* Where in reorder a batch that begins at seq is, or would be. */
static size_t
reorder_place(const struct target *t, uint64_t seq)
{
	size_t low = 0, high = t->reorder_count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (t->reorder[mid]->first_seq < seq)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static bool
waits(const struct target *t, uint64_t first_seq)
{
	size_t i = reorder_place(t, first_seq);

	return i < t->reorder_count && t->reorder[i]->first_seq == first_seq;
}

int
target_fragment(struct target *t, const struct fragment *f, struct mono now, struct batch **out)
{
	int err;

	*out = NULL;
	if (f->first_seq < t->expected_seq || waits(t, f->first_seq)) {
		t->duplicates++;
		target_ack_soon(t, now, true);
		return 0;
	}
	if (!has_room(t, f->first_seq, f->batch_bytes)) {
		t->dropped++;
		target_ack_soon(t, now, false);
		return 0;
	}
	if (t->reorder_count > 0 && f->first_seq < t->reorder[0]->first_seq)
		target_wait(t, now);
	err = reassembly_begin(t);
	if (err == 0)
		err = reassembly_add(
		    t->reassembly, &t->id, f, 2 * t->conf->window_bytes + BATCH_BODY_MAX_BYTES, now, out);
	if (err == ERR_FULL) {
		t->dropped++;
		err = 0;
	}
	if (t->reassembly != NULL && t->reassembly->count == 0)
		reassembly_end(t);
	return err;
}

static int
reorder_grow(struct target *t)
{
	size_t cap = t->reorder_cap == 0 ? REORDER_CAP_MIN : t->reorder_cap * 2;
	struct batch **p = mem_reallocarray(t->reorder, cap, sizeof(struct batch *));

	if (p == NULL)
		return ERR_NOMEM;
	t->reorder = p;
	t->reorder_cap = cap;
	return 0;
}

static void
reorder_del(struct target *t, size_t i)
{
	struct batch *b = t->reorder[i];

	t->reorder_bytes -= b->body_len;
	budget_sub(t->budget, b->body_len);
	t->reorder_count--;
	memmove(&t->reorder[i], &t->reorder[i + 1], (t->reorder_count - i) * sizeof(struct batch *));
	batch_unref(b);
}

/* The farthest makes room for one that is needed earlier. */
static int
reorder_room(struct target *t, const struct batch *b)
{
	if (t->reorder_count < REORDER_MAX)
		return t->reorder_count == t->reorder_cap ? reorder_grow(t) : 0;
	if (t->reorder[t->reorder_count - 1]->first_seq < b->first_seq)
		return ERR_FULL;
	t->dropped++;
	reorder_del(t, t->reorder_count - 1);
	return 0;
}

static int
reorder_add(struct target *t, struct batch *b)
{
	size_t i;
	int err = reorder_room(t, b);

	if (err != 0)
		return err;
	i = reorder_place(t, b->first_seq);
	if (i < t->reorder_count && t->reorder[i]->first_seq <= batch_last_seq(b))
		return t->reorder[i]->first_seq == b->first_seq ? ERR_EXISTS : ERR_GAP;
	if (i > 0 && batch_last_seq(t->reorder[i - 1]) >= b->first_seq)
		return ERR_GAP;
	memmove(&t->reorder[i + 1], &t->reorder[i], (t->reorder_count - i) * sizeof(struct batch *));
	t->reorder[i] = b;
	t->reorder_count++;
	t->reorder_bytes += b->body_len;
	budget_add(t->budget, b->body_len);
	return 0;
}

int
target_complete(struct target *t, struct batch *b, struct mono now)
{
	int err;

	if (b->first_seq < t->expected_seq)
		err = batch_last_seq(b) < t->expected_seq ? ERR_EXISTS : ERR_GAP;
	else if (b->epoch < t->epoch)
		err = ERR_STATE;
	else
		err = reorder_add(t, b);
	/* RFC 5681 section 3.2: out of order is told at once, so that the source finds the loss. */
	if (err != 0 || b->first_seq != t->expected_seq)
		target_ack_soon(t, now, true);
	if (err != 0)
		batch_unref(b);
	return err;
}

static uint64_t
first_waiting(const struct target *t)
{
	return t->reorder_count > 0 ? t->reorder[0]->first_seq : 0;
}

void
target_wait(struct target *t, struct mono now)
{
	t->reorder_seq = first_waiting(t);
	t->reorder_at = now;
}

static size_t
reorder_expire(struct target *t, struct mono since)
{
	size_t before = t->reorder_count;

	if (mono_before(since, t->reorder_at))
		return 0;
	while (t->reorder_count > 0)
		reorder_del(t, t->reorder_count - 1);
	t->reorder_seq = 0;
	return before;
}

size_t
target_expire(struct target *t, struct mono now)
{
	struct mono since = mono_add_us(now, -t->conf->reassembly_us);
	size_t n;

	if (t->reorder_seq != first_waiting(t))
		target_wait(t, now);
	n = reorder_expire(t, since);
	if (t->reassembly != NULL) {
		n += reassembly_expire(t->reassembly, since);
		if (t->reassembly->count == 0)
			reassembly_end(t);
	}
	t->dropped += n;
	/* The source is not to take it for what is here. */
	if (n > 0)
		t->ack_now = true;
	return n;
}

struct mono
target_expiry(const struct target *t)
{
	struct mono oldest = t->reorder_count > 0 ? t->reorder_at : MONO_NEVER;

	if (t->reassembly != NULL)
		oldest = mono_min(oldest, reassembly_oldest(t->reassembly));
	return mono_is_never(oldest) ? oldest : mono_add_us(oldest, t->conf->reassembly_us);
}

struct batch *
target_next(const struct target *t)
{
	if (t->reorder_count == 0 || t->reorder[0]->first_seq != t->expected_seq)
		return NULL;
	return t->reorder[0];
}

void
target_drop_next(struct target *t)
{
	MUST(target_next(t) != NULL);
	t->dropped++;
	reorder_del(t, 0);
}

/* Drops what the store has: all that is delivered, and of the rest, which may wait for long, what is too
 * much. */
static void
tail_shorten(struct target *t, size_t keep)
{
	uint64_t delivered = t->cursor.next_seq - 1;

	tail_pop(&t->tail, delivered < t->kept_seq ? delivered : t->kept_seq);
	tail_trim(&t->tail, keep, t->stored_seq < t->kept_seq ? t->stored_seq : t->kept_seq);
}

static void
tail_update(struct target *t)
{
	tail_shorten(t, budget_keep(t->budget, t->conf->window_bytes, TARGET_IDLE_BYTES));
}

void
target_trim(struct target *t)
{
	tail_shorten(t, TARGET_IDLE_BYTES);
}

/* A later batch of an older epoch was not made by the stream's present producer. */
static void
drop_older(struct target *t)
{
	size_t i = 0;

	while (i < t->reorder_count) {
		if (t->reorder[i]->epoch >= t->epoch) {
			i++;
			continue;
		}
		t->dropped++;
		reorder_del(t, i);
	}
}

/* Whether rows may wait for their messages to be processed. */
static bool
may_hold(const struct target *t)
{
	size_t half = t->conf->window_bytes / 2, most = half < TARGET_HOLD_BYTES ? half : TARGET_HOLD_BYTES;

	return t->early && t->attended && !t->paused && !budget_over(t->budget) && t->held_bytes <= most;
}

static void
keep(struct target *t, const struct batch *b)
{
	t->kept_seq = batch_last_seq(b);
	t->kept_epoch = b->epoch;
	t->held_bytes -= b->body_len;
	if (t->kept_seq + 1 == t->expected_seq)
		t->hold_at = MONO_NEVER;
}

static struct batch *
first_held(const struct target *t)
{
	struct batch *b = t->kept_seq + 1 < t->expected_seq ? tail_get(&t->tail, t->kept_seq + 1) : NULL;

	MUST(b != NULL || t->kept_seq + 1 == t->expected_seq);
	return b;
}

struct batch *
target_due(struct target *t, struct mono now)
{
	struct batch *b;

	while ((b = first_held(t)) != NULL && batch_last_seq(b) <= t->put_seq) {
		t->spared++;
		keep(t, b);
	}
	if (b == NULL || !may_hold(t))
		return b;
	if (mono_before(now, t->hold_at))
		return NULL;
	if (b->first_seq <= t->hold_seq)
		return b;
	/* Those that came while others waited. */
	t->hold_seq = t->expected_seq - 1;
	t->hold_at = mono_add_us(now, TARGET_HOLD_US);
	return NULL;
}

void
target_kept(struct target *t)
{
	struct batch *b = first_held(t);

	MUST(b != NULL);
	keep(t, b);
	tail_update(t);
}

void
target_hold_end(struct target *t)
{
	if (t->kept_seq + 1 == t->expected_seq)
		return;
	t->hold_seq = t->expected_seq - 1;
	t->hold_at = MONO_ZERO;
}

/* What a subscriber had before this node had it. */
static void
pass_resumed(struct target *t)
{
	uint64_t upto = t->resumed_seq < t->expected_seq ? t->resumed_seq : t->expected_seq - 1;

	if (upto > t->acked_seq)
		target_pass(t, upto);
}

int
target_take(struct target *t, struct mono now)
{
	struct batch *b = target_next(t);

	MUST(b != NULL);
	if (!may_hold(t) && t->kept_seq + 1 != t->expected_seq)
		return ERR_FULL;
	if (tail_push(&t->tail, b) != 0)
		return ERR_NOMEM;
	if (b->epoch > t->epoch) {
		t->epoch = b->epoch;
		drop_older(t);
	}
	t->expected_seq = batch_last_seq(b) + 1;
	ledger_add(&t->ledger, batch_last_seq(b), b->body_len);
	t->held_bytes += b->body_len;
	if (mono_is_never(t->hold_at)) {
		t->hold_seq = t->expected_seq - 1;
		t->hold_at = mono_add_us(now, TARGET_HOLD_US);
	}
	reorder_del(t, 0);
	if (t->reassembly != NULL)
		reassembly_cut(t->reassembly, t->expected_seq);
	pass_resumed(t);
	target_ack_soon(t, now, t->reorder_count > 0);
	return 0;
}

bool
target_skip(struct target *t, uint64_t seq)
{
	if (seq < t->expected_seq)
		return false;
	MUST(t->kept_seq + 1 == t->expected_seq);
	if (t->gap_last + 1 != t->expected_seq || t->gap_first == 0)
		t->gap_first = t->expected_seq;
	t->gap_last = t->kept_seq = seq;
	t->expected_seq = seq + 1;
	while (t->reorder_count > 0 && t->reorder[0]->first_seq <= seq)
		reorder_del(t, 0);
	if (t->reassembly != NULL)
		reassembly_cut(t->reassembly, t->expected_seq);
	/* What it had is read back from the inbox. */
	tail_reset(&t->tail, t->expected_seq);
	return true;
}

bool
target_pass_over(struct target *t, uint64_t seq)
{
	uint64_t had;

	if (seq <= t->acked_seq || seq > t->stored_seq || t->cursor.next_seq != t->acked_seq + 1)
		return false;
	/* It may have had some of them before a crash. */
	had = t->resumed_seq < seq ? t->resumed_seq : seq;
	t->passed_count += seq - (had > t->acked_seq ? had : t->acked_seq);
	t->acked_seq = seq;
	if (t->delivered_seq < seq)
		t->delivered_seq = seq;
	cursor_seek(&t->cursor, seq + 1);
	return true;
}

bool
target_pass_gap(struct target *t)
{
	return t->gap_first != 0 && t->acked_seq + 1 == t->gap_first && target_pass_over(t, t->gap_last);
}

void
target_stored(struct target *t, uint64_t seq, struct mono now)
{
	MUST(seq <= t->kept_seq);
	if (seq > t->stored_seq)
		t->stored_seq = seq;
	tail_update(t);
	target_ack_soon(t, now, t->reorder_count > 0);
}

void
target_processed(struct target *t, uint64_t seq)
{
	MUST(seq <= t->put_seq);
	if (seq > t->processed_seq)
		t->processed_seq = seq;
	/* Nothing of it is wanted again. */
	if (seq > t->stored_seq)
		t->stored_seq = seq;
	ledger_cut(&t->ledger, t->processed_seq);
	t->ack_now = true;
}

void
target_attend(struct target *t, bool attended)
{
	t->attended = attended;
	t->ack_now = true;
}

void
target_pause(struct target *t, bool paused)
{
	if (t->paused == paused)
		return;
	t->paused = paused;
	t->ack_now = true;
}

/* The last message that may be delivered now. */
static uint64_t
deliverable(const struct target *t)
{
	uint64_t last = t->expected_seq - 1;

	if (!t->early)
		return t->stored_seq;
	return last - t->stored_seq > TARGET_UNSTORED_MAX ? t->stored_seq + TARGET_UNSTORED_MAX : last;
}

enum cursor_want
target_deliver(struct target *t, struct batch_record *rec)
{
	enum cursor_want want;

	if (t->paused)
		return CURSOR_IDLE;
	want = cursor_next(&t->cursor, &t->tail, deliverable(t), t->stored_seq, rec);
	if (want == CURSOR_RECORD && rec->seq > t->delivered_seq)
		t->delivered_seq = rec->seq;
	return want;
}

int
target_ack(struct target *t, uint64_t seq)
{
	if (seq > t->delivered_seq ||
	    (t->cursor.next_seq <= t->back_seq && seq >= t->cursor.next_seq && seq > t->acked_seq))
		return ERR_RANGE;
	if (seq > t->acked_seq)
		t->acked_seq = seq;
	/* What another subscriber got and acknowledged is not delivered again. */
	if (t->cursor.next_seq <= t->acked_seq)
		cursor_seek(&t->cursor, t->acked_seq + 1);
	tail_update(t);
	return 0;
}

int
target_nack(struct target *t, uint64_t seq)
{
	if (seq > t->delivered_seq || seq <= t->acked_seq)
		return ERR_RANGE;
	if (seq >= t->cursor.next_seq)
		return ERR_EXISTS;
	if (t->back_seq < t->cursor.next_seq - 1)
		t->back_seq = t->cursor.next_seq - 1;
	cursor_seek(&t->cursor, seq);
	return 0;
}

void
target_pass(struct target *t, uint64_t seq)
{
	MUST(seq <= (t->early ? t->expected_seq - 1 : t->stored_seq));
	if (seq > t->acked_seq)
		t->acked_seq = seq;
	if (t->acked_seq > t->delivered_seq)
		t->delivered_seq = t->acked_seq;
	if (t->cursor.next_seq <= t->acked_seq)
		cursor_seek(&t->cursor, t->acked_seq + 1);
	tail_update(t);
}

void
target_resume(struct target *t, uint64_t seq)
{
	uint64_t here = t->early ? t->expected_seq - 1 : t->stored_seq;

	if (t->early && seq > here && seq - here <= TARGET_UNSTORED_MAX)
		t->resumed_seq = seq;
	if (seq > here)
		seq = here;
	if (seq > t->acked_seq)
		t->acked_seq = seq;
	if (t->acked_seq > t->delivered_seq)
		t->delivered_seq = t->acked_seq;
	cursor_seek(&t->cursor, t->acked_seq + 1);
}

/* The source knows whole batches: a part of one counts when the rest of it is in the store, or done too. */
static uint64_t
whole_batches(const struct target *t, uint64_t seq)
{
	const struct batch *b = seq > t->kept_seq ? tail_get(&t->tail, seq) : NULL;

	return b != NULL && batch_last_seq(b) > seq ? b->first_seq - 1 : seq;
}

bool
target_put_processed(struct target *t, uint64_t limit, uint64_t *first, uint64_t *last)
{
	uint64_t upto = whole_batches(t, t->acked_seq < limit ? t->acked_seq : limit);

	if (upto <= t->put_seq)
		return false;
	*first = t->put_seq + 1;
	*last = t->put_seq = upto;
	return true;
}

void
target_failed(struct target *t, uint64_t seq)
{
	MUST(seq > t->processed_seq && seq <= t->put_seq);
	/* Without memory the database is asked for it. */
	(void)!failures_load(&t->failures, seq);
}

void
target_load_failed(struct target *t, uint64_t seq)
{
	if (seq <= t->processed_seq)
		(void)!failures_load(&t->failures, seq);
}

void
target_replayed(struct target *t, uint64_t seq)
{
	failures_del(&t->failures, seq);
}

void
target_heard(struct target *t, uint64_t seq)
{
	size_t n = failures_after(&t->failures, seq < t->processed_seq ? seq : t->processed_seq);

	/* Where none failed, nothing is forgotten. */
	if (n > 0)
		failures_cut(&t->failures, t->failures.seqs[n - 1]);
}

bool
target_lacks_failures(const struct target *t, uint64_t seq)
{
	return seq < t->failures.from && seq < t->processed_seq;
}

void
target_ack_soon(struct target *t, struct mono now, bool at_once)
{
	if (at_once)
		t->ack_now = true;
	else
		t->ack_at = mono_min(t->ack_at, mono_add_us(now, TARGET_ACK_DELAY_US));
}

static void
range_add(struct target_ack *a, uint64_t first, uint64_t last)
{
	if (a->range_count > 0 && a->ranges[a->range_count - 1] + 1 == first) {
		a->ranges[a->range_count - 1] = last;
		return;
	}
	if (a->range_count == 2 * TARGET_RANGES_MAX)
		return;
	a->ranges[a->range_count++] = first;
	a->ranges[a->range_count++] = last;
}

/* The source goes at the speed of a subscriber that is there. */
static bool
ahead_of_subscriber(const struct target *t)
{
	size_t keep = budget_keep(t->budget, t->conf->window_bytes, SIZE_MAX);

	return t->attended && t->tail.bytes > t->held_bytes + keep / 2;
}

void
target_ack_fill(const struct target *t, struct target_ack *out)
{
	*out = (struct target_ack){.stored = t->stored_seq, .processed = t->processed_seq};
	if (!t->paused && !backlog_full(t) && !budget_spent(t->budget) && !ahead_of_subscriber(t))
		out->window_bytes = budget_over(t->budget)
					? FLOW_CWND_MIN_BYTES
					: credit_window(t->conf->window_bytes, t->ledger.total_bytes,
					      t->conf->backlog_bytes, t->conf->pressure_permille);
	out->failed_from = t->failures.from;
	while (out->failed_count < t->failures.count &&
	       t->failures.seqs[out->failed_count] <= t->processed_seq) {
		out->failed[out->failed_count] = t->failures.seqs[out->failed_count];
		out->failed_count++;
	}
	if (t->expected_seq > t->stored_seq + 1)
		range_add(out, t->stored_seq + 1, t->expected_seq - 1);
	for (size_t i = 0; i < t->reorder_count; i++)
		range_add(out, t->reorder[i]->first_seq, batch_last_seq(t->reorder[i]));
}

bool
target_ack_due(struct target *t, struct mono now, struct target_ack *out)
{
	if (!t->ack_now && mono_before(now, t->ack_at))
		return false;
	t->ack_now = false;
	t->ack_at = MONO_NEVER;
	target_ack_fill(t, out);
	return true;
}

int
target_close(struct target *t, uint64_t seq)
{
	if (seq != t->expected_seq - 1 || t->processed_seq != seq)
		return ERR_RANGE;
	if (t->state < TARGET_CLOSING)
		t->state = TARGET_CLOSING;
	t->close_seq = seq;
	return 0;
}
