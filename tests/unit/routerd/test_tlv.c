/* The extensions of an LSA: what is written is read, and nothing else does harm. */
#include <stdio.h>

#include "tests/unit/unit.h"

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/rng.h"
#include "routerd/core/tlv.h"

enum { ROUNDS = 20000 };

static void
test_addresses(void **state)
{
	static const char *const good[] = {"a:1", "node-1.example.org:7100", "10.0.0.1:65535", "[::1]:7100",
	    "[fe80::1.2.3.4]:1", "under_score:80"};
	static const char *const bad[] = {"", "a", ":1", "a:", "a:0", "a:65536", "a:123456", "a:1x", "a b:1",
	    "a\x1b[2J:1", "[]:1", "[::1]", "[::1]x:1", "::1:80", "a[b:1", "[gg::1]:1", "a/b:1", "a:1:2",
	    "[::1:80", "\xc3\xa4:1"};
	char long_one[ADDRESS_SIZE + 8];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (!address_valid(good[i]))
			fail_msg("'%s' is refused", good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (address_valid(bad[i]))
			fail_msg("'%s' is taken", bad[i]);
	memset(long_one, 'a', sizeof(long_one));
	memcpy(long_one + ADDRESS_SIZE - 3, ":1", 3);
	assert_true(address_valid(long_one));
	memcpy(long_one + ADDRESS_SIZE - 2, ":1", 3);
	assert_false(address_valid(long_one));
}

static void
test_round_trip(void **state)
{
	struct node_about about = {0};
	struct address_list *list = &about.addresses, got = {0};
	struct label_list labels;
	uint8_t mem[LSA_TLV_MAX_BYTES];
	struct buf b;

	(void)state;
	buf_init_fixed(&b, mem, sizeof(mem));
	assert_int_equal(tlv_encode(&about, &b), 0);
	assert_int_equal(buf_left(&b), 0);
	assert_true(address_add(list, "a:1"));
	assert_true(address_add(list, "[::1]:2"));
	assert_false(address_add(list, "nonsense"));
	about.wish_unix_ms = 1700000000123;
	assert_int_equal(tlv_encode(&about, &b), 0);
	/* type, length, "a:1" and "[::1]:2" with a byte of length each; type, length, u64 */
	assert_int_equal(buf_left(&b), 3 + 4 + 8 + 3 + 8);
	assert_memory_equal(mem,
	    "\x01\x00\x0c\x03"
	    "a:1"
	    "\x07[::1]:2"
	    "\x02\x00\x08",
	    18);
	tlv_addresses(mem, buf_left(&b), &got);
	assert_int_equal(got.count, 2);
	assert_string_equal(got.text[0], "a:1");
	assert_string_equal(got.text[1], "[::1]:2");
	assert_true(tlv_wish(mem, buf_left(&b)) == 1700000000123);
	tlv_labels(mem, buf_left(&b), TLV_SERVICES, &labels);
	assert_int_equal(labels.count, 0);
}

static void
test_labels(void **state)
{
	static const char *const bad[] = {"", "a b", "a/b", "\xc3\xa4", "123456789012345678901234567890123"};
	struct node_about about = {0};
	uint8_t mem[LSA_TLV_MAX_BYTES];
	struct label_list got;
	struct buf b;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(label_add(&about.services, bad[i]));
	assert_true(label_add(&about.services, "db"));
	assert_false(label_add(&about.services, "db"));
	assert_true(label_add(&about.services, "Web_1.x"));
	assert_true(label_add(&about.capabilities, "12345678901234567890123456789012"));
	buf_init_fixed(&b, mem, sizeof(mem));
	assert_int_equal(tlv_encode(&about, &b), 0);
	assert_memory_equal(mem,
	    "\x03\x00\x0b\x02"
	    "db"
	    "\x07"
	    "Web_1.x"
	    "\x04\x00\x21\x20",
	    18);
	tlv_labels(mem, buf_left(&b), TLV_SERVICES, &got);
	assert_int_equal(got.count, 2);
	assert_true(label_has(&got, "db") && label_has(&got, "Web_1.x"));
	tlv_labels(mem, buf_left(&b), TLV_CAPABILITIES, &got);
	assert_int_equal(got.count, 1);
	/* Of what others wrote only what is a label counts. */
	tlv_labels((const uint8_t *)"\x03\x00\x07\x03"
				    "a b"
				    "\x02"
				    "ok",
	    10, TLV_SERVICES, &got);
	assert_int_equal(got.count, 1);
	assert_string_equal(got.text[0], "ok");
}

/* As many addresses as fit go beside the wish; the rest stays at home. */
static void
test_too_much(void **state)
{
	struct node_about about = {.wish_unix_ms = 5, .lifetime_s = 7};
	struct address_list got;
	struct label_list labels;
	char label[LABEL_SIZE];
	uint8_t mem[LSA_TLV_MAX_BYTES];
	char text[ADDRESS_SIZE];
	struct buf b;

	(void)state;
	memset(text, 'h', sizeof(text));
	memcpy(text + sizeof(text) - 3, ":1", 3);
	for (size_t i = 0; i < ADDRESSES_MAX; i++)
		assert_true(address_add(&about.addresses, text));
	assert_false(address_add(&about.addresses, text));
	buf_init_fixed(&b, mem, sizeof(mem));
	assert_int_equal(tlv_encode(&about, &b), 0);
	tlv_addresses(mem, buf_left(&b), &got);
	assert_int_equal(got.count, 3);
	assert_true(tlv_wish(mem, buf_left(&b)) == 5);
	/* All labels always fit. */
	for (size_t i = 0; i < LABELS_MAX; i++) {
		snprintf(label, sizeof(label), "label-of-thirty-two-characters-%zu", i);
		assert_true(label_add(&about.services, label) && label_add(&about.capabilities, label));
	}
	assert_false(label_add(&about.services, "one-more"));
	buf_init_fixed(&b, mem, sizeof(mem));
	assert_int_equal(tlv_encode(&about, &b), 0);
	tlv_addresses(mem, buf_left(&b), &got);
	assert_int_equal(got.count, 1);
	tlv_labels(mem, buf_left(&b), TLV_CAPABILITIES, &labels);
	assert_int_equal(labels.count, LABELS_MAX);
	assert_true(tlv_wish(mem, buf_left(&b)) == 5);
	assert_int_equal(tlv_lifetime_s(mem, buf_left(&b)), 7);
}

static void
test_lifetime(void **state)
{
	struct node_about about = {.lifetime_s = 5400};
	uint8_t mem[LSA_TLV_MAX_BYTES];
	struct buf b;

	(void)state;
	buf_init_fixed(&b, mem, sizeof(mem));
	assert_int_equal(tlv_encode(&about, &b), 0);
	assert_int_equal(buf_left(&b), 7);
	assert_memory_equal(mem, "\x05\x00\x04\x00\x00\x15\x18", 7);
	assert_int_equal(tlv_lifetime_s(mem, 7), 5400);
	assert_int_equal(tlv_lifetime_s(mem, 6), 0);
	assert_int_equal(tlv_lifetime_s(mem, 0), 0);
	assert_int_equal(tlv_lifetime_s((const uint8_t *)"\x05\x00\x04\x00\x00\x00\x02", 7), 0);
	assert_int_equal(
	    tlv_lifetime_s((const uint8_t *)"\x05\x00\x04\x00\x00\x00\x03", 7), LSA_LIFETIME_MIN_S);
	assert_int_equal(
	    tlv_lifetime_s((const uint8_t *)"\x05\x00\x04\x00\x01\x51\x80", 7), LSA_LIFETIME_MAX_S);
	assert_int_equal(tlv_lifetime_s((const uint8_t *)"\x05\x00\x04\x00\x01\x51\x81", 7), 0);
	assert_int_equal(tlv_lifetime_s((const uint8_t *)"\x05\x00\x05\x00\x00\x00\x09\x00", 8), 0);
}

static void
test_malformed(void **state)
{
	static const struct {
		const char *bytes;
		size_t len, count;
		uint64_t wish;
	} cases[] = {
	    {"\x01\x00\x04\x03"
	     "a:1",
		7, 1, 0},
	    {"\x01\x00\x03\x03"
	     "a:1",
		7, 0, 0}, /* cut inside the text */
	    {"\x01\x00\x04\x03"
	     "a b",
		7, 0, 0}, /* no address */
	    {"\x01\x00\x08\x03"
	     "???\x03"
	     "a:1",
		11, 1, 0}, /* the other one is */
	    {"\x07\x00\x01x\x01\x00\x04\x03"
	     "a:1",
		11, 1, 0}, /* of a later version */
	    {"\x01\x00\x05\x03"
	     "a:1",
		7, 0, 0},                                 /* longer than there is */
	    {"\x02\x00\x07\0\0\0\0\0\0\1", 10, 0, 0},     /* too short */
	    {"\x02\x00\x09\0\0\0\0\0\0\0\1\0", 12, 0, 0}, /* too long */
	    {"\x02\x00\x08\0\0\0\0\0\0\0\x2a", 11, 0, 42},
	    {"\x02", 1, 0, 0},
	    {"", 0, 0, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct address_list got;

		tlv_addresses((const uint8_t *)cases[i].bytes, cases[i].len, &got);
		assert_int_equal(got.count, cases[i].count);
		assert_true(tlv_wish((const uint8_t *)cases[i].bytes, cases[i].len) == cases[i].wish);
	}
}

/* Any bytes give a list of valid addresses. */
static void
test_total(void **state)
{
	uint8_t mem[96];
	struct rng rng;

	(void)state;
	rng_seed(&rng, 1);
	for (unsigned round = 0; round < ROUNDS; round++) {
		size_t len = rng_below(&rng, sizeof(mem) + 1);
		struct address_list got;

		for (size_t i = 0; i < len; i++)
			mem[i] = rng_below(&rng, 3) == 0 ? (uint8_t)rng_u64(&rng)
							 : (uint8_t) "\x01\x00\x03:1a"[i % 6];
		tlv_addresses(mem, len, &got);
		assert_true(got.count <= ADDRESSES_MAX);
		for (size_t i = 0; i < got.count; i++)
			assert_true(address_valid(got.text[i]));
		(void)tlv_wish(mem, len);
		(void)tlv_lifetime_s(mem, len);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_addresses),
	    cmocka_unit_test(test_round_trip),
	    cmocka_unit_test(test_labels),
	    cmocka_unit_test(test_too_much),
	    cmocka_unit_test(test_lifetime),
	    cmocka_unit_test(test_malformed),
	    cmocka_unit_test(test_total),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
