/* idset: replaced as a whole, or not at all. */
#include "tests/unit/unit.h"

#include "common/base/be.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/idset.h"
#include "common/base/mem.h"

static void
test_assign(void **state)
{
	const uint64_t ids[] = {9, 3, UINT64_MAX, 3, 7, 9, 9}, zero[] = {1, 0};
	struct idset s = {0};

	(void)state;
	assert_false(idset_has(&s, 3));
	assert_true(idset_from(&s, 0) == 0);
	assert_int_equal(idset_assign(&s, ids, COUNT(ids)), 0);
	assert_int_equal(s.count, 4);
	assert_true(idset_has(&s, 3) && idset_has(&s, 7) && idset_has(&s, 9) && idset_has(&s, UINT64_MAX));
	assert_false(idset_has(&s, 0) || idset_has(&s, 4) || idset_has(&s, UINT64_MAX - 1));
	assert_true(idset_from(&s, 0) == 3 && idset_from(&s, 4) == 7 && idset_from(&s, 10) == UINT64_MAX);
	assert_int_equal(idset_assign(&s, zero, 2), ERR_RANGE);
	assert_int_equal(idset_assign(&s, ids, IDSET_MAX_COUNT + 1), ERR_LIMIT);
	mem_fail_at(1);
	assert_int_equal(idset_assign(&s, ids, 1), ERR_NOMEM);
	mem_fail_at(0);
	assert_int_equal(s.count, 4);
	assert_int_equal(idset_assign(&s, NULL, 0), 0);
	assert_int_equal(s.count, 0);
	idset_fini(&s);
}

static void
test_round_trip(void **state)
{
	static uint64_t ids[IDSET_MAX_COUNT];
	struct idset s = {0}, t = {0};
	struct buf b;

	(void)state;
	for (size_t i = 0; i < COUNT(ids); i++)
		ids[i] = (i + 1) * 0x9e3779b97f4a7c15u;
	assert_int_equal(idset_assign(&s, ids, COUNT(ids)), 0);
	buf_init(&b, IDSET_MAX_BYTES);
	assert_int_equal(idset_encode(&s, &b), 0);
	assert_int_equal(buf_left(&b), IDSET_MAX_BYTES);
	assert_int_equal(idset_decode(&t, buf_head(&b), buf_left(&b)), 0);
	assert_int_equal(t.count, COUNT(ids));
	assert_memory_equal(s.ids, t.ids, sizeof(ids));
	for (size_t i = 1; i < s.count; i++)
		assert_true(s.ids[i - 1] < s.ids[i]);
	buf_fini(&b);
	idset_fini(&s);
	idset_fini(&t);
}

static void
test_decode_rejects(void **state)
{
	static uint8_t large[IDSET_MAX_BYTES + 8];
	uint8_t body[24] = {0};
	struct idset s = {0};

	(void)state;
	be_store64(body, 5);
	be_store64(body + 8, 6);
	be_store64(body + 16, 6);
	assert_int_equal(idset_decode(&s, body, 16), 0);
	assert_int_equal(s.count, 2);
	assert_int_equal(idset_decode(&s, body, 24), ERR_FORMAT); /* twice */
	assert_int_equal(idset_decode(&s, body, 15), ERR_FORMAT);
	be_store64(body, 7);
	assert_int_equal(idset_decode(&s, body, 16), ERR_FORMAT); /* not ascending */
	be_store64(body, 0);
	assert_int_equal(idset_decode(&s, body, 8), ERR_FORMAT);
	assert_int_equal(idset_decode(&s, large, sizeof(large)), ERR_LIMIT);
	be_store64(body, 1);
	mem_fail_at(1);
	assert_int_equal(idset_decode(&s, body, 8), ERR_NOMEM);
	mem_fail_at(0);
	assert_true(s.count == 2 && idset_has(&s, 5));
	assert_int_equal(idset_decode(&s, body, 0), 0);
	assert_int_equal(s.count, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_assign),
	    cmocka_unit_test(test_round_trip),
	    cmocka_unit_test(test_decode_rejects),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
