/* Node ids, ULIDs and names as text. */
#include "tests/unit/unit.h"

#include "common/base/err.h"
#include "common/base/id.h"
#include "common/base/rng.h"

static void
test_nodeid_vectors(void **state)
{
	static const struct {
		uint64_t id;
		const char *text;
	} rows[] = {
	    {1, "0000000000001"},
	    {31, "000000000000Z"},
	    {32, "0000000000010"},
	    {0x8000000000000000, "8000000000000"},
	    {UINT64_MAX, "FZZZZZZZZZZZZ"},
	};
	char text[NODEID_TEXT_SIZE];
	uint64_t id;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		nodeid_format(text, rows[i].id);
		assert_string_equal(text, rows[i].text);
		assert_int_equal(nodeid_parse(text, &id), 0);
		assert_true(id == rows[i].id);
	}
}

static void
test_nodeid_rejects(void **state)
{
	static const char *const rows[] = {"", "1", "000000000001", "00000000000001", "0000000000000",
	    "G000000000000", "000000000000U", "00000000000-1", "0000000 00001", "000000000000\xc3"};
	uint64_t id = 42;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		assert_int_equal(nodeid_parse(rows[i], &id), ERR_FORMAT);
		assert_true(id == 42);
	}
}

static void
test_nodeid_reads_what_people_write(void **state)
{
	uint64_t a, b;

	(void)state;
	assert_int_equal(nodeid_parse("01L0ABCDEFGHJ", &a), 0);
	assert_int_equal(nodeid_parse("oiIOabcdefghj", &b), 0);
	assert_true(a == b);
}

static void
test_nodeid_round_trips(void **state)
{
	struct rng r;

	(void)state;
	rng_seed(&r, 77);
	for (int i = 0; i < 10000; i++) {
		uint64_t id = rng_u64(&r) >> rng_below(&r, 60) | 1, back;
		char text[NODEID_TEXT_SIZE];

		nodeid_format(text, id);
		assert_int_equal(nodeid_parse(text, &back), 0);
		assert_true(back == id);
	}
}

static void
test_ulid_vectors(void **state)
{
	static const uint8_t random[10] = {0xd6, 0x76, 0x4c, 0x61, 0xef, 0xb9, 0x93, 0x02, 0xbd, 0x5b};
	char text[ULID_TEXT_SIZE];
	struct ulid u, back;

	(void)state;
	ulid_make(&u, 1469922850259, random);
	ulid_format(text, &u);
	assert_string_equal(text, "01ARZ3NDEKTSV4RRFFQ69G5FAV");
	assert_true(ulid_unix_ms(&u) == 1469922850259);
	assert_int_equal(ulid_parse("01arz3ndektsv4rrffq69g5fav", &back), 0);
	assert_int_equal(ulid_compare(&u, &back), 0);
	memset(&u, 0xff, sizeof(u));
	ulid_format(text, &u);
	assert_string_equal(text, "7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
	assert_int_equal(ulid_parse(text, &back), 0);
	assert_int_equal(ulid_compare(&u, &back), 0);
	assert_int_equal(ulid_parse("00000000000000000000000000", &back), 0);
	assert_true(ulid_is_zero(&back));
	assert_false(ulid_is_zero(&u));
}

static void
test_ulid_rejects(void **state)
{
	static const char *const rows[] = {"", "01ARZ3NDEKTSV4RRFFQ69G5FA", "01ARZ3NDEKTSV4RRFFQ69G5FAVV",
	    "80000000000000000000000000", "01ARZ3NDEKTSV4RRFFQ69G5FAU", "01ARZ3NDEKTSV4RRFFQ69G5FA "};
	struct ulid u = {{9}};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		assert_int_equal(ulid_parse(rows[i], &u), ERR_FORMAT);
		assert_int_equal(u.b[0], 9);
	}
}

static void
test_ulid_text_sorts_as_time(void **state)
{
	char last[ULID_TEXT_SIZE] = "", text[ULID_TEXT_SIZE];
	struct ulid u, prev = {{0}};
	uint64_t now = 1700000000000;
	struct rng r;

	(void)state;
	rng_seed(&r, 4);
	for (int i = 0; i < 5000; i++) {
		uint8_t random[10];

		for (int k = 0; k < 10; k++)
			random[k] = (uint8_t)rng_u64(&r);
		/* stays, goes on, and now and then is set back */
		now += rng_below(&r, 3);
		if (rng_below(&r, 100) == 0)
			now -= 1000;
		ulid_next(&u, &prev, now, random);
		ulid_format(text, &u);
		assert_true(strcmp(text, last) > 0);
		assert_true(ulid_compare(&u, &prev) > 0);
		memcpy(last, text, sizeof(last));
		prev = u;
	}
}

static void
test_ulid_random_part_carries_and_overflows(void **state)
{
	uint8_t full[10], fresh[10] = {1};
	struct ulid prev, u;

	(void)state;
	memset(full, 0xff, sizeof(full));
	full[0] = 0;
	ulid_make(&prev, 1000, full);
	ulid_next(&u, &prev, 1000, fresh);
	assert_true(ulid_unix_ms(&u) == 1000);
	assert_int_equal(u.b[6], 1);
	assert_int_equal(u.b[15], 0);
	full[0] = 0xff;
	ulid_make(&prev, 1000, full);
	ulid_next(&u, &prev, 1000, fresh);
	assert_true(ulid_unix_ms(&u) == 1001);
	assert_memory_equal(u.b + 6, fresh, 10);
}

static void
test_names(void **state)
{
	char text[80];

	(void)state;
	assert_true(tenant_valid("acme"));
	assert_true(tenant_valid("a.b_c-9"));
	assert_false(tenant_valid(""));
	assert_false(tenant_valid("Acme"));
	assert_false(tenant_valid("a b"));
	assert_false(tenant_valid("a/b"));
	assert_true(node_name_valid("Node-1.example"));
	assert_false(node_name_valid("node 1"));
	assert_false(node_name_valid(""));
	memset(text, 'a', sizeof(text));
	text[64] = '\0';
	assert_true(tenant_valid(text));
	assert_false(node_name_valid(text));
	text[63] = '\0';
	assert_true(node_name_valid(text));
	text[63] = 'a';
	text[64] = 'a';
	text[65] = '\0';
	assert_false(tenant_valid(text));
}

static void
test_uuid(void **state)
{
	static const uint8_t id[UUID_BYTES] = {
	    0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10};
	char text[UUID_TEXT_SIZE];

	(void)state;
	uuid_format(text, id);
	assert_string_equal(text, "01234567-89ab-cdef-fedc-ba9876543210");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_nodeid_vectors),
	    cmocka_unit_test(test_nodeid_rejects),
	    cmocka_unit_test(test_nodeid_reads_what_people_write),
	    cmocka_unit_test(test_nodeid_round_trips),
	    cmocka_unit_test(test_ulid_vectors),
	    cmocka_unit_test(test_ulid_rejects),
	    cmocka_unit_test(test_ulid_text_sorts_as_time),
	    cmocka_unit_test(test_ulid_random_part_carries_and_overflows),
	    cmocka_unit_test(test_names),
	    cmocka_unit_test(test_uuid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
