/* The state of a data stream group is the same everywhere, byte by byte, with little memory too. */
#include "tests/unit/consensusd/dsg_user.h"

#include "common/base/mem.h"
#include "common/base/rng.h"

/* --- snapshots --- */

static void
snapshot(const struct dsg *d, struct buf *b)
{
	buf_init(b, ENTRY_MAX_BYTES);
	assert_int_equal(dsg_snapshot(d, b), 0);
}

static void
assert_same(const struct dsg *x, const struct dsg *y)
{
	struct buf a, b;

	snapshot(x, &a);
	snapshot(y, &b);
	assert_int_equal(buf_left(&a), buf_left(&b));
	assert_memory_equal(buf_head(&a), buf_head(&b), buf_left(&a));
	buf_fini(&a);
	buf_fini(&b);
}

static struct dsg *
full(struct told *t)
{
	struct dsg *d = with_stream(t);
	struct dsg_open o = open_of(two, 1, 100);

	expect_open(d, &o, true);
	for (uint64_t i = 0; i < 9; i++)
		expect_batch(d, batch_of(one, 3 + i, 1 + 10 * i, 10), true);
	expect_batch(d, batch_of(two, 1, 101, 3), true);
	expect_mark(d, PROCESSED, one, 7, 25, true);
	expect_mark(d, PROCESSED, one, 8, 90, true);
	expect_mark(d, SKIP, two, 0, 90, true);
	return d;
}

static void
test_restore_takes_the_place(void **state)
{
	struct told t, u;
	struct dsg *d = full(&t), *to = watched(&u);
	struct dsg_open o = open_of((struct ulid){{9}}, 1, 5);
	struct dsg_batch x = batch_of(one, 5, 21, 10);
	struct buf b;

	(void)state;
	expect_open(to, &o, true);
	o.stream = one;
	expect_open(to, &o, true);
	snapshot(d, &b);
	u = (struct told){0};
	assert_int_equal(dsg_restore(to, buf_head(&b), buf_left(&b)), 0);
	assert_int_equal(u.closed, 1);
	assert_int_equal(u.gone.b[0], 9);
	assert_int_equal(u.opened, 2);
	assert_int_equal(ulid_compare(&u.last.id, &two), 0);
	assert_same(d, to);
	assert_int_equal(dsg_check(to, &x), DSG_CHECK_SAME);
	expect_batch(d, batch_of(one, 12, 91, 1), true);
	expect_batch(to, batch_of(one, 12, 91, 1), true);
	assert_int_equal(u.described, 1);
	assert_same(d, to);
	buf_fini(&b);
	dsg_free(d);
	dsg_free(to);
}

static void
test_restore_refuses(void **state)
{
	struct told t, u;
	struct dsg *d = full(&t), *before = full(&u), *got = dsg_new(NULL);
	struct buf b, again;

	(void)state;
	snapshot(d, &b);
	t = (struct told){0};
	for (size_t len = 0; len < buf_left(&b); len++)
		assert_int_not_equal(dsg_restore(d, buf_head(&b), len), 0);
	assert_int_equal(buf_put_u8(&b, 0), 0);
	assert_int_equal(dsg_restore(d, buf_head(&b), buf_left(&b)), ERR_LEFTOVER);
	assert_same(d, before);
	assert_int_equal(t.opened + t.closed, 0);
	/* Each byte as another: refused, or it is another state with this encoding. */
	for (size_t at = 0; at < buf_left(&b) - 1; at++) {
		uint8_t *data = mem_dup(buf_head(&b), buf_left(&b) - 1);

		data[at] ^= 1;
		if (dsg_restore(got, data, buf_left(&b) - 1) == 0) {
			snapshot(got, &again);
			assert_int_equal(buf_left(&again), buf_left(&b) - 1);
			assert_memory_equal(buf_head(&again), data, buf_left(&b) - 1);
			buf_fini(&again);
		}
		mem_free(data);
	}
	buf_fini(&b);
	dsg_free(got);
	dsg_free(before);
	dsg_free(d);
}

static void
test_restore_without_memory(void **state)
{
	struct told t, u, v;
	struct dsg *d = full(&t), *got = with_stream(&u), *before = with_stream(&v);
	unsigned long n = 0;
	struct buf b;
	int err;

	(void)state;
	snapshot(d, &b);
	do {
		mem_fail_at(++n);
		err = dsg_restore(got, buf_head(&b), buf_left(&b));
		mem_fail_at(0);
		assert_true(err == 0 || err == ERR_NOMEM);
		if (err != 0)
			assert_same(got, before);
	} while (err != 0);
	assert_true(n > 4);
	assert_same(got, d);
	buf_fini(&b);
	dsg_free(before);
	dsg_free(got);
	dsg_free(d);
}

/* --- random entries --- */

struct walk {
	struct rng rng;
	struct dsg *a, *b;
	struct told told_a, told_b;
};

static void
random_command(struct walk *w, struct buf *out)
{
	struct ulid id = {{1 + (uint8_t)rng_below(&w->rng, 3)}};
	const struct dsg_stream *s = dsg_find(w->a, &id);
	uint64_t described = s != NULL ? s->described : 0, epoch = s != NULL ? s->epoch : 1;
	struct dsg_open o = open_of(id, epoch + rng_below(&w->rng, 2), rng_below(&w->rng, 5));
	struct dsg_batch x = batch_of(id, epoch + rng_below(&w->rng, 9) / 8, described + 1, 1);

	x.count += (uint32_t)rng_below(&w->rng, 4);
	x.first_seq += rng_below(&w->rng, 3);
	o.target_count = 1 + rng_below(&w->rng, 2);
	o.targets[1] += rng_below(&w->rng, 2);
	switch (rng_below(&w->rng, 24)) {
	case 0:
		assert_int_equal(dsg_put_close(out, &id), 0);
		break;
	case 1:
	case 2:
		assert_int_equal(dsg_put_open(out, &o), 0);
		break;
	case 3:
		assert_int_equal(dsg_put_epoch(out, &id, epoch + rng_below(&w->rng, 2)), 0);
		break;
	case 4:
		assert_int_equal(dsg_put_skip(out, &id, rng_below(&w->rng, described + 2)), 0);
		break;
	case 5:
	case 6:
	case 7:
		assert_int_equal(
		    dsg_put_processed(out, &id, 7 + rng_below(&w->rng, 3), rng_below(&w->rng, described + 2)),
		    0);
		break;
	default:
		assert_int_equal(dsg_put_batch(out, &x), 0);
	}
}

/* Fails each allocation in turn; the state has to be as it was, until none fails. */
static void
apply_without_memory(struct dsg *d, struct told *t, struct buf *entry)
{
	struct told before_told = *t;
	struct buf before, after;
	unsigned long n = 0;
	int err;

	snapshot(d, &before);
	for (;;) {
		mem_fail_at(++n);
		err = dsg_apply(d, buf_head(entry), buf_left(entry));
		mem_fail_at(0);
		if (err == 0)
			break;
		assert_int_equal(err, ERR_NOMEM);
		assert_memory_equal(t, &before_told, sizeof(*t));
		snapshot(d, &after);
		assert_int_equal(buf_left(&before), buf_left(&after));
		assert_memory_equal(buf_head(&before), buf_head(&after), buf_left(&before));
		buf_fini(&after);
		assert_true(n < 20);
	}
	buf_fini(&before);
}

static void
one_step(struct walk *w)
{
	uint64_t commands = rng_below(&w->rng, 12);
	struct buf entry, b;

	buf_init(&entry, ENTRY_MAX_BYTES);
	while (commands-- > 0)
		random_command(w, &entry);
	apply_without_memory(w->b, &w->told_b, &entry);
	apply(w->a, &entry);
	buf_fini(&entry);
	assert_int_equal(w->told_a.described, w->told_b.described);
	assert_int_equal(w->told_a.opened, w->told_b.opened);
	assert_int_equal(w->told_a.closed, w->told_b.closed);
	assert_memory_equal(dsg_counters(w->a), dsg_counters(w->b), sizeof(struct dsg_counters));
	if (rng_below(&w->rng, 20) == 0) {
		snapshot(w->b, &b);
		assert_int_equal(dsg_restore(w->b, buf_head(&b), buf_left(&b)), 0);
		buf_fini(&b);
		w->told_b = w->told_a;
	}
	assert_same(w->a, w->b);
}

static void
test_random_entries(void **state)
{
	enum { SEEDS = 12, STEPS = 600 };
	struct walk w;

	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		rng_seed(&w.rng, seed);
		w.a = watched(&w.told_a);
		w.b = watched(&w.told_b);
		for (size_t i = 0; i < STEPS; i++)
			one_step(&w);
		assert_true(dsg_counters(w.a)->applied > STEPS);
		dsg_free(w.a);
		dsg_free(w.b);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_restore_takes_the_place),
	    cmocka_unit_test(test_restore_refuses),
	    cmocka_unit_test(test_restore_without_memory),
	    cmocka_unit_test(test_random_entries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
