/*
 * sim_db: the database of a simulated node: what is put is durable when its flush commits, in order;
 * a crash loses the flush that forms, and tosses a coin about the one on its way.
 */
#ifndef TESTS_UNIT_CONSENSUSD_SIM_DB_H
#define TESTS_UNIT_CONSENSUSD_SIM_DB_H

#include <stdlib.h>

#include "common/base/err.h"
#include "consensusd/core/batch.h"
#include "consensusd/core/order.h"
#include "tests/unit/unit.h"

enum { DB_PUTS_MAX = 8192, DB_BATCHES_MAX = 8192, DB_TARGETS_MAX = 4 };

/* What a put changes. */
struct db_put {
	uint64_t ticket;
	enum order_kind kind;
	struct batch *batch; /* outbox, inbox */
	uint64_t seq;        /* state of a row; last seq of a mark */
	size_t target;       /* recorded: whose */
	bool clear;          /* forget batches up to seq */
};

struct db {
	/* durable */
	struct batch *batches[DB_BATCHES_MAX];
	size_t first, count; /* of batches */
	uint64_t last_seq;
	uint64_t marks[DB_TARGETS_MAX]; /* processed; the source's: per target */
	bool row;
	uint64_t row_state, close_seq;
	/* not durable */
	struct db_put puts[DB_PUTS_MAX];
	size_t put_count, put_bytes;
	uint64_t forming, in_flight, durable; /* tickets; in_flight 0: none */
	size_t bytes_max;
};

static inline void
db_init(struct db *d, size_t bytes_max)
{
	memset(d, 0, sizeof(*d));
	d->forming = 1;
	d->bytes_max = bytes_max;
}

static inline int64_t
db_put(struct db *d, const struct db_put *p)
{
	if (d->put_count == DB_PUTS_MAX || (p->batch != NULL && d->put_bytes > d->bytes_max))
		return ERR_FULL;
	d->puts[d->put_count] = *p;
	d->puts[d->put_count].ticket = d->forming;
	if (p->batch != NULL) {
		batch_ref(p->batch);
		d->put_bytes += p->batch->body_len;
	}
	d->put_count++;
	return (int64_t)d->forming;
}

static inline void
db_forget(struct db *d, uint64_t upto)
{
	while (d->count > 0 && batch_last_seq(d->batches[d->first]) <= upto) {
		batch_unref(d->batches[d->first]);
		d->first++;
		d->count--;
	}
}

static inline void
db_apply(struct db *d, const struct db_put *p)
{
	if (p->clear) {
		db_forget(d, p->seq);
		return;
	}
	switch (p->kind) {
	case ORDER_STREAM_ROW:
	case ORDER_TARGET_ROW:
		d->row = true;
		d->row_state = p->seq;
		break;
	case ORDER_OUTBOX:
	case ORDER_INBOX:
		/* In order, without a gap, once each. */
		assert_int_equal(p->batch->first_seq, d->last_seq + 1);
		assert_true(d->first + d->count < DB_BATCHES_MAX);
		d->batches[d->first + d->count++] = batch_ref(p->batch);
		d->last_seq = batch_last_seq(p->batch);
		break;
	case ORDER_PROCESSED:
	case ORDER_RECORDED:
		assert_true(p->seq > d->marks[p->target]);
		d->marks[p->target] = p->seq;
		break;
	case ORDER_CONTROL:
	case ORDER_SKIPPED:
	case ORDER_LETTER:
	case ORDER_NOTE:
		assert_true(false); /* no streams */
		break;
	}
}

static inline void
db_drop(struct db *d, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (d->puts[i].batch != NULL)
			d->put_bytes -= d->puts[i].batch->body_len;
		batch_unref(d->puts[i].batch);
	}
	d->put_count -= n;
	memmove(d->puts, d->puts + n, d->put_count * sizeof(d->puts[0]));
}

/* True if a flush leaves now. */
static inline bool
db_start(struct db *d)
{
	if (d->in_flight != 0 || d->put_count == 0)
		return false;
	d->in_flight = d->forming++;
	return true;
}

/* The flush on its way is committed. */
static inline uint64_t
db_commit(struct db *d)
{
	uint64_t ticket = d->in_flight;
	size_t n = 0;

	while (n < d->put_count && d->puts[n].ticket <= ticket)
		db_apply(d, &d->puts[n++]);
	db_drop(d, n);
	d->in_flight = 0;
	d->durable = ticket;
	return ticket;
}

static inline void
db_crash(struct db *d, bool committed)
{
	if (d->in_flight != 0 && committed)
		(void)db_commit(d);
	db_drop(d, d->put_count);
	d->in_flight = 0;
	d->forming++;
}

static inline void
db_fini(struct db *d)
{
	db_drop(d, d->put_count);
	db_forget(d, UINT64_MAX);
}

#endif
