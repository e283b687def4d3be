/*
 * mcg_user: what tests of the control group's state do with it.
 */
#ifndef TESTS_UNIT_CONSENSUSD_MCG_USER_H
#define TESTS_UNIT_CONSENSUSD_MCG_USER_H

#include "tests/unit/unit.h"

#include "common/base/err.h"
#include "tests/unit/consensusd/make_mcg.h"

enum { SNAPSHOT_MAX_BYTES = 256 << 20, CLIENT = 500 };

static uint8_t room[MAKE_BOXES * MCG_SEALED_BYTES];

static inline struct mcg_result
apply_as(struct mcg *m, const struct mcg_cmd *c, uint64_t client, uint64_t seq)
{
	struct raft_entry *e = make_entry(c, mcg_index(m) + 1, client, seq);
	struct mcg_result r;

	assert_int_equal(mcg_apply(m, e, &r), 0);
	assert_int_equal(mcg_index(m), e->index);
	raft_entry_unref(e);
	return r;
}

static inline struct mcg_result
apply(struct mcg *m, struct mcg_cmd c)
{
	struct mcg_result r = apply_as(m, &c, 0, 0);

	assert_true(r.err == 0 || r.changes == 0);
	return r;
}

static inline void
expect(struct mcg *m, struct mcg_cmd c, int err)
{
	int early = mcg_check(m, &c);
	struct mcg_result r = apply(m, c);

	if (r.err != err || early != err)
		fail_msg("%s: %s, not %s", mcg_cmd_name(c.type), err_name(r.err), err_name(err));
}

static inline void
expect_changes(struct mcg *m, struct mcg_cmd c, unsigned changes)
{
	struct mcg_result r = apply(m, c);

	assert_int_equal(r.err, 0);
	assert_int_equal(r.changes, changes);
}

static inline struct mcg *
unseeded(void)
{
	struct mcg *m = mcg_new();

	assert_non_null(m);
	return m;
}

/* Members 1 to count. */
static inline struct mcg *
mesh(uint64_t count)
{
	struct mcg *m = unseeded();

	expect(m, make_seed(), 0);
	for (uint64_t node = 2; node <= count; node++)
		expect(m, make_admit(node, 1000 + node), 0);
	return m;
}

static inline void
snapshot(const struct mcg *m, struct buf *b)
{
	buf_init(b, SNAPSHOT_MAX_BYTES);
	assert_int_equal(mcg_snapshot(m, b), 0);
}

static inline void
assert_same(const struct mcg *a, const struct mcg *b)
{
	struct buf x, y;

	snapshot(a, &x);
	snapshot(b, &y);
	assert_int_equal(buf_left(&x), buf_left(&y));
	assert_memory_equal(buf_head(&x), buf_head(&y), buf_left(&x));
	buf_fini(&x);
	buf_fini(&y);
}

/* As another node has it from a snapshot. */
static inline struct mcg *
copy(const struct mcg *m)
{
	struct mcg *got = unseeded();
	struct buf b;

	snapshot(m, &b);
	assert_int_equal(mcg_restore(got, buf_head(&b), buf_left(&b)), 0);
	assert_int_equal(mcg_bytes(got), mcg_bytes(m));
	buf_fini(&b);
	assert_same(m, got);
	return got;
}

static inline void
finish(struct mcg *m)
{
	mcg_free(copy(m));
	mcg_free(m);
}

#endif
