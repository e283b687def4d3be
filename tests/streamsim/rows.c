#include "tests/streamsim/rows.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/must.h"

enum { BYTES_MAX = 256 * 1024 };

void
rows_init(struct rows *r)
{
	*r = (struct rows){.forming = 1};
}

int64_t
rows_put(struct rows *r, const struct rows_put *p)
{
	if (r->put_count == ROWS_PUTS_MAX || (p->batch != NULL && r->put_bytes > BYTES_MAX))
		return ERR_FULL;
	r->puts[r->put_count] = *p;
	r->puts[r->put_count].ticket = r->forming;
	if (p->batch != NULL) {
		batch_ref(p->batch);
		r->put_bytes += p->batch->body_len;
	}
	r->put_count++;
	return (int64_t)r->forming;
}

static void
forget(struct rows *r, uint64_t upto)
{
	while (r->count > 0 && batch_last_seq(r->batches[r->first]) <= upto) {
		batch_unref(r->batches[r->first]);
		r->first++;
		r->count--;
	}
}

static void
add_gap(struct rows *r, size_t target, uint64_t first, uint64_t last)
{
	MUST(r->gap_count < ROWS_GAPS_MAX && first <= last);
	r->gaps[r->gap_count++] = (struct rows_gap){first, last, target};
}

/* At the source for each target that may lack some of it; at a target all of it. */
static void
apply_skipped(struct rows *r, const struct rows_put *p)
{
	if (p->first != 0) {
		add_gap(r, 0, p->first, p->seq);
		r->last_seq = p->seq;
		return;
	}
	for (size_t i = 0; i < p->target; i++)
		if (p->have[i] < p->seq)
			add_gap(r, i, p->have[i] + 1, p->seq);
	r->skipped_seq = p->seq;
}

static void
apply_failed(struct rows *r, const struct rows_failed *f)
{
	size_t i = 0;

	while (i < r->attempt_count && r->attempts[i].seq != f->seq)
		i++;
	MUST(i < ROWS_FAILED_MAX);
	r->attempts[i] = *f;
	if (i == r->attempt_count)
		r->attempt_count++;
}

/* With the offset goes what failed below it. */
static void
apply_letters(struct rows *r, const struct rows_put *p)
{
	size_t kept = 0;

	for (size_t i = 0; i < p->letter_count; i++) {
		MUST(r->letter_count < ROWS_BATCHES_MAX);
		r->letters[r->letter_count++] = p->letters[i];
	}
	for (size_t i = 0; i < r->attempt_count; i++)
		if (r->attempts[i].seq > p->seq)
			r->attempts[kept++] = r->attempts[i];
	r->attempt_count = kept;
}

/* What a target never gets is as good as processed. */
static void
begin(struct rows *r, uint64_t first)
{
	if (first == 0)
		return;
	r->last_seq = first - 1;
	if (r->marks[0] < first - 1)
		r->marks[0] = first - 1;
}

static void
apply_row(struct rows *r, const struct rows_put *p)
{
	if (p->leave) {
		forget(r, UINT64_MAX);
		r->attempt_count = 0;
		r->row = false;
		r->removed_at = p->set.revision;
		return;
	}
	if (p->kind == ORDER_TARGET_ROW && !r->row)
		begin(r, p->first);
	r->row = true;
	r->row_state = p->seq;
	r->epoch = p->epoch;
	r->close_seq = p->close_seq;
	r->set = p->set;
}

static void
apply(struct rows *r, const struct rows_put *p)
{
	if (p->skipped) {
		apply_skipped(r, p);
		return;
	}
	if (p->failed.seq != 0) {
		apply_failed(r, &p->failed);
		return;
	}
	if (p->clear) {
		forget(r, p->seq);
		return;
	}
	switch (p->kind) {
	case ORDER_STREAM_ROW:
	case ORDER_TARGET_ROW:
		apply_row(r, p);
		break;
	case ORDER_OUTBOX:
	case ORDER_INBOX:
		MUST(r->first + r->count < ROWS_BATCHES_MAX);
		r->at_ms[r->first + r->count] = p->at_ms;
		r->batches[r->first + r->count++] = batch_ref(p->batch);
		if (p->batch->by_id && p->kind == ORDER_OUTBOX)
			r->ids[r->ids_count++] = batch_ref(p->batch);
		r->rows_seq = batch_last_seq(p->batch);
		if (r->rows_seq > r->last_seq)
			r->last_seq = r->rows_seq;
		break;
	case ORDER_PROCESSED:
	case ORDER_RECORDED:
		MUST(p->seq > r->marks[p->target]);
		r->marks[p->target] = p->seq;
		/* What is processed needs no row. */
		if (p->kind == ORDER_PROCESSED && p->seq > r->last_seq)
			r->last_seq = p->seq;
		if (p->kind == ORDER_PROCESSED)
			apply_letters(r, p);
		for (size_t i = 0; p->kind == ORDER_RECORDED && i < p->letter_count; i++)
			r->dead[p->letters[i]] |= (uint8_t)(1u << p->target);
		break;
	case ORDER_SKIPPED:
	case ORDER_NOTE:
	case ORDER_CONTROL:
	case ORDER_LETTER:
		MUST(false);
	}
}

static void
drop(struct rows *r, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (r->puts[i].batch != NULL)
			r->put_bytes -= r->puts[i].batch->body_len;
		batch_unref(r->puts[i].batch);
	}
	r->put_count -= n;
	memmove(r->puts, r->puts + n, r->put_count * sizeof(r->puts[0]));
}

bool
rows_start(struct rows *r)
{
	if (r->in_flight != 0 || r->put_count == 0)
		return false;
	r->in_flight = r->forming++;
	return true;
}

uint64_t
rows_commit(struct rows *r, rows_done *done, void *arg)
{
	uint64_t ticket = r->in_flight;
	size_t n = 0;

	while (n < r->put_count && r->puts[n].ticket <= ticket) {
		/* Looked at before: what is wrong is said, not stored. */
		done(arg, &r->puts[n]);
		apply(r, &r->puts[n++]);
	}
	drop(r, n);
	r->in_flight = 0;
	r->durable = ticket;
	return ticket;
}

void
rows_crash(struct rows *r, bool committed, rows_done *done, void *arg)
{
	if (r->in_flight != 0 && committed)
		(void)rows_commit(r, done, arg);
	drop(r, r->put_count);
	r->in_flight = 0;
	r->forming++;
}

void
rows_fini(struct rows *r)
{
	drop(r, r->put_count);
	forget(r, UINT64_MAX);
	while (r->ids_count > 0)
		batch_unref(r->ids[--r->ids_count]);
}

struct batch *
rows_find(const struct rows *r, uint64_t seq)
{
	size_t low = r->first, high = r->first + r->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (batch_last_seq(r->batches[middle]) < seq)
			low = middle + 1;
		else
			high = middle;
	}
	return low < r->first + r->count && r->batches[low]->first_seq <= seq ? r->batches[low] : NULL;
}

const struct rows_gap *
rows_gap(const struct rows *r, size_t target, uint64_t seq)
{
	for (size_t i = r->gap_count; i > 0; i--) {
		const struct rows_gap *g = &r->gaps[i - 1];

		if (g->target == target && g->first <= seq && seq <= g->last)
			return g;
	}
	return NULL;
}

bool
rows_has_letter(const struct rows *r, uint64_t seq)
{
	for (size_t i = r->letter_count; i > 0; i--)
		if (r->letters[i - 1] == seq)
			return true;
	return false;
}
