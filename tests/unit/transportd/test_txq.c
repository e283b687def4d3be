#include "transportd/core/txq.h"

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "tests/unit/unit.h"
#include "transportd/core/limits.h"

enum { LIMIT = 1024 * 1024, RESERVE = 65536, CAP = 16384 };

static int
push(struct txq *q, uint8_t class, size_t size, uint8_t fill)
{
	uint8_t *p;
	int err = txq_reserve(q, class, size, &p);

	if (err != 0)
		return err;
	memset(p, fill, size);
	txq_commit(q, class, size);
	return 0;
}

static void
important_first_in_order(void **state)
{
	uint8_t out[CAP];
	struct txq q;

	(void)state;
	txq_init(&q, LIMIT, RESERVE);
	assert_true(txq_empty(&q));
	assert_int_equal(push(&q, FRAME_CLASS_CLIENT, 10, 'd'), 0);
	assert_int_equal(push(&q, FRAME_CLASS_DB, 10, 'c'), 0);
	assert_int_equal(push(&q, FRAME_CLASS_SYSTEM, 10, 'b'), 0);
	assert_int_equal(push(&q, FRAME_CLASS_CONTROL, 10, 'a'), 0);
	assert_int_equal(push(&q, FRAME_CLASS_CLIENT, 10, 'e'), 0);
	assert_int_equal(q.frames, 5);
	assert_int_equal(txq_take(&q, out, sizeof(out)), 50);
	for (int i = 0; i < 5; i++)
		assert_int_equal(out[i * 10], 'a' + i);
	assert_true(txq_empty(&q));
	assert_int_equal(txq_take(&q, out, sizeof(out)), 0);
	txq_fini(&q);
}

static void
limits_by_class(void **state)
{
	struct txq q;

	(void)state;
	txq_init(&q, LIMIT, RESERVE);
	while (q.bytes + 10000 <= LIMIT) {
		assert_int_equal(txq_high(&q), q.bytes > LIMIT / 2);
		assert_int_equal(push(&q, FRAME_CLASS_CLIENT, 10000, 1), 0);
	}
	assert_int_equal(push(&q, FRAME_CLASS_CLIENT, 10000, 1), ERR_FULL);
	while (q.bytes + 10000 <= LIMIT + RESERVE)
		assert_int_equal(push(&q, FRAME_CLASS_CONTROL, 10000, 1), 0);
	assert_int_equal(push(&q, FRAME_CLASS_CONTROL, 10000, 1), ERR_FULL);
	assert_false(txq_low(&q));
	txq_set_limit(&q, 8 * LIMIT);
	assert_true(txq_low(&q));
	assert_int_equal(push(&q, FRAME_CLASS_CLIENT, 10000, 1), 0);
	txq_fini(&q);
	assert_true(txq_empty(&q));
}

/* Against a list of what went in: every frame comes out whole, once, in order within its class. */
static void
model(void **state)
{
	static uint8_t out[CAP];
	uint32_t sent[FRAME_CLASS_COUNT] = {0}, got[FRAME_CLASS_COUNT] = {0};
	struct rng r;
	struct txq q;

	(void)state;
	rng_seed(&r, 1);
	txq_init(&q, 256 * 1024, RESERVE);
	for (int i = 0; i < 20000; i++) {
		if (rng_below(&r, 3) != 0) {
			uint8_t class = (uint8_t)rng_below(&r, FRAME_CLASS_COUNT), *p;
			uint32_t size = 16 + (uint32_t)rng_below(&r, rng_below(&r, 10) == 0 ? 16000 : 300);

			if (txq_reserve(&q, class, size, &p) != 0)
				continue;
			memset(p, class, size);
			memcpy(p, &size, 4);
			memcpy(p + 4, &sent[class], 4);
			p[8] = class;
			sent[class]++;
			txq_commit(&q, class, size);
		} else {
			size_t n = txq_take(&q, out, sizeof(out)), at = 0;

			while (at < n) {
				uint32_t size, number;

				memcpy(&size, out + at, 4);
				memcpy(&number, out + at + 4, 4);
				assert_int_equal(number, got[out[at + 8]]);
				got[out[at + 8]]++;
				assert_int_equal(out[at + size - 1], out[at + 8]);
				at += size;
			}
			assert_int_equal(at, n);
		}
	}
	while (txq_take(&q, out, sizeof(out)) != 0)
		;
	assert_true(txq_empty(&q));
	assert_int_equal(q.frames, 0);
	assert_in_range(q.spare_count, 0, TXQ_SPARE_BLOCKS);
	txq_fini(&q);
}

static void
no_memory(void **state)
{
	uint8_t out[CAP];
	struct txq q;

	(void)state;
	txq_init(&q, LIMIT, RESERVE);
	mem_fail_at(1);
	assert_int_equal(push(&q, FRAME_CLASS_DB, 100, 1), ERR_NOMEM);
	assert_true(txq_empty(&q));
	assert_int_equal(push(&q, FRAME_CLASS_DB, 100, 1), 0);
	/* In the middle of a lane. */
	while (q.lanes[FRAME_CLASS_DB].bytes < 60000)
		assert_int_equal(push(&q, FRAME_CLASS_DB, 6000, 1), 0);
	mem_fail_at(1);
	assert_int_equal(push(&q, FRAME_CLASS_DB, 16000, 1), ERR_NOMEM);
	assert_int_equal(push(&q, FRAME_CLASS_DB, 16000, 1), 0);
	mem_fail_at(0);
	while (txq_take(&q, out, sizeof(out)) != 0)
		;
	assert_true(txq_empty(&q));
	txq_fini(&q);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(important_first_in_order),
	    cmocka_unit_test(limits_by_class),
	    cmocka_unit_test(model),
	    cmocka_unit_test(no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
