/*
 * dsg_user: what tests of a data stream group's state do with it.
 */
#ifndef TESTS_UNIT_CONSENSUSD_DSG_USER_H
#define TESTS_UNIT_CONSENSUSD_DSG_USER_H

#include "tests/unit/unit.h"

#include "common/base/buf.h"
#include "common/base/err.h"
#include "consensusd/core/dsg.h"

enum { ENTRY_MAX_BYTES = 8 << 20 };

static const struct ulid one = {{1}}, two = {{2}};

/* --- what the watch was told --- */

struct told {
	unsigned described, opened, closed;
	struct dsg_stream last;
	struct ulid gone;
};

static inline void
on_described(void *ctx, const struct dsg_stream *s)
{
	struct told *t = ctx;

	t->described++;
	t->last = *s;
}

static inline void
on_opened(void *ctx, const struct dsg_stream *s)
{
	struct told *t = ctx;

	t->opened++;
	t->last = *s;
}

static inline void
on_closed(void *ctx, const struct ulid *stream)
{
	struct told *t = ctx;

	t->closed++;
	t->gone = *stream;
}

static inline struct dsg *
watched(struct told *t)
{
	struct dsg *d = dsg_new(&(struct dsg_watch){on_described, on_opened, on_closed, t});

	assert_non_null(d);
	*t = (struct told){0};
	return d;
}

/* --- entries --- */

static inline struct dsg_open
open_of(struct ulid stream, uint64_t epoch, uint64_t described)
{
	return (struct dsg_open){
	    .stream = stream, .epoch = epoch, .described = described, .target_count = 2, .targets = {7, 8}};
}

static inline struct dsg_batch
batch_of(struct ulid stream, uint64_t epoch, uint64_t first_seq, uint32_t count)
{
	struct dsg_batch b = {.stream = stream, .epoch = epoch, .first_seq = first_seq, .count = count};

	memset(b.digest, (int)first_seq % 251, sizeof(b.digest));
	memset(b.signature, (int)epoch, sizeof(b.signature));
	return b;
}

static inline void
apply(struct dsg *d, struct buf *entry)
{
	assert_int_equal(dsg_apply(d, buf_head(entry), buf_left(entry)), 0);
	buf_reset(entry);
}

/* One command alone is applied, or it is rejected and changes nothing. */
static inline void
expect(struct dsg *d, struct buf *entry, bool fits)
{
	struct dsg_counters before = *dsg_counters(d), now;

	apply(d, entry);
	now = *dsg_counters(d);
	assert_int_equal(now.applied - before.applied, fits);
	assert_int_equal(now.rejected - before.rejected, !fits);
}

static inline void
expect_open(struct dsg *d, const struct dsg_open *o, bool fits)
{
	struct buf b;

	buf_init(&b, ENTRY_MAX_BYTES);
	assert_int_equal(dsg_put_open(&b, o), 0);
	expect(d, &b, fits);
	buf_fini(&b);
}

static inline void
expect_batch(struct dsg *d, struct dsg_batch one_batch, bool fits)
{
	struct buf b;

	buf_init(&b, ENTRY_MAX_BYTES);
	assert_int_equal(dsg_put_batch(&b, &one_batch), 0);
	expect(d, &b, fits);
	buf_fini(&b);
}

enum mark { EPOCH, PROCESSED, SKIP, CLOSE };

static inline void
expect_mark(struct dsg *d, enum mark what, struct ulid stream, uint64_t node, uint64_t v, bool fits)
{
	struct buf b;
	int err = 0;

	buf_init(&b, ENTRY_MAX_BYTES);
	if (what == EPOCH)
		err = dsg_put_epoch(&b, &stream, v);
	if (what == PROCESSED)
		err = dsg_put_processed(&b, &stream, node, v);
	if (what == SKIP)
		err = dsg_put_skip(&b, &stream, v);
	if (what == CLOSE)
		err = dsg_put_close(&b, &stream);
	assert_int_equal(err, 0);
	expect(d, &b, fits);
	buf_fini(&b);
}

static inline struct dsg *
with_stream(struct told *t)
{
	struct dsg *d = watched(t);
	struct dsg_open o = open_of(one, 3, 0);

	expect_open(d, &o, true);
	assert_int_equal(t->opened, 1);
	return d;
}

#endif
