/* The encoding of LSAs: one for each, and every byte string is an LSA or an error. */
#include "tests/unit/routerd/make.h"

#include "common/base/err.h"
#include "common/base/rng.h"

static struct lsa lsa, back;
static uint8_t raw[LSA_MAX_BYTES];

static void
fill(unsigned neighbours)
{
	make_lsa(&lsa, 77, 3, 9);
	lsa.flags = LSA_FLAG_LEFT;
	snprintf(lsa.region, sizeof(lsa.region), "eu-1");
	for (unsigned i = 0; i < neighbours; i++) {
		make_adj(&lsa, 100 + i, 1000 + i);
		lsa.adj[i].bandwidth_kbps = i;
		lsa.adj[i].loss_ppm = 2 * i;
		lsa.adj[i].utilisation_permille = (uint16_t)i;
		lsa.adj[i].weight = (uint16_t)(3 * i);
	}
}

static void
test_round_trip(void **state)
{
	size_t len;

	(void)state;
	fill(5);
	len = make_raw(&lsa, raw);
	assert_int_equal(lsa_decode(raw, len, &back), 0);
	assert_memory_equal(&back.id, &lsa.id, sizeof(lsa.id));
	assert_memory_equal(back.adj, lsa.adj, 5 * sizeof(lsa.adj[0]));
	assert_string_equal(back.name, "n77");
	assert_string_equal(back.region, "eu-1");
	assert_string_equal(back.software, "1.0");
	assert_int_equal(back.flags, LSA_FLAG_LEFT);
	assert_int_equal(back.adj_count, 5);
	assert_int_equal(back.sig[0], 0x5a);
}

static void
test_vector(void **state)
{
	static const uint8_t expected[] = {1, 0, 0, 0, 0, 0, 0, 0, 2, /* version, node */
	    0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	    0, 0, 0, 0, 0, 0, 3,                      /* incarnation */
	    0, 0, 0, 0, 0, 0, 0, 4,                   /* seq */
	    0, 2, 'n', '2', 0, 3, '1', '.', '0',      /* flags, name, region, software */
	    0, 1, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 1, 0, /* one neighbour, latency */
	    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,       /* bandwidth, loss, utilisation, weight */
	    0, 4, 9, 0, 1, 7};                        /* TLVs */
	static const uint8_t tlv[] = {9, 0, 1, 7};

	(void)state;
	make_lsa(&lsa, 2, 3, 4);
	make_adj(&lsa, 5, 256);
	lsa.tlv = tlv;
	lsa.tlv_len = sizeof(tlv);
	assert_int_equal(make_raw(&lsa, raw), sizeof(expected) + LSA_SIG_BYTES);
	assert_memory_equal(raw, expected, sizeof(expected));
}

static void
test_largest(void **state)
{
	static uint8_t tlv[LSA_TLV_MAX_BYTES];
	size_t len;

	(void)state;
	fill(LSA_ADJ_MAX);
	memset(lsa.name, 'x', NODE_NAME_MAX);
	memset(lsa.region, 'y', NODE_NAME_MAX);
	memset(lsa.software, 'z', LSA_SOFTWARE_SIZE - 1);
	be_store16(tlv + 1, sizeof(tlv) - 3);
	lsa.tlv = tlv;
	lsa.tlv_len = sizeof(tlv);
	len = make_raw(&lsa, raw);
	assert_int_equal(len, LSA_MAX_BYTES);
	assert_int_equal(lsa_decode(raw, len, &back), 0);
	assert_int_equal(back.adj_count, LSA_ADJ_MAX);
}

static void
test_every_truncation_fails(void **state)
{
	size_t len;

	(void)state;
	fill(3);
	len = make_raw(&lsa, raw);
	for (size_t n = 0; n < len; n++)
		assert_int_not_equal(lsa_decode(raw, n, &back), 0);
	raw[len] = 0;
	assert_int_equal(lsa_decode(raw, len + 1, &back), ERR_LEFTOVER);
}

static void
test_other_version(void **state)
{
	size_t len;

	(void)state;
	fill(0);
	len = make_raw(&lsa, raw);
	raw[0] = 2;
	assert_int_equal(lsa_decode(raw, len, &back), ERR_VERSION);
}

/* Breaks one rule of the format after another, on both sides. */
static void
test_rules(void **state)
{
	static const uint8_t bad_tlv[] = {1, 0, 2, 7};
	struct buf b;

	(void)state;
	for (int rule = 0; rule < 11; rule++) {
		fill(3);
		switch (rule) {
		case 0:
			lsa.id.node = 0;
			break;
		case 1:
			lsa.id.seq = 0;
			break;
		case 2:
			lsa.name[0] = '\0';
			break;
		case 3:
			snprintf(lsa.name, sizeof(lsa.name), "a b");
			break;
		case 4:
			snprintf(lsa.region, sizeof(lsa.region), "\xff\xfe");
			break;
		case 5:
			snprintf(lsa.software, sizeof(lsa.software), "1.0\n");
			break;
		case 6: /* descending */
			lsa.adj[1].neighbour = 99;
			break;
		case 7: /* twice */
			lsa.adj[1].neighbour = lsa.adj[0].neighbour;
			break;
		case 8: /* itself */
			lsa.adj[0].neighbour = 77;
			break;
		case 9:
			lsa.adj[0].neighbour = 0;
			break;
		case 10:
			lsa.tlv = bad_tlv;
			lsa.tlv_len = sizeof(bad_tlv);
			break;
		}
		buf_init_fixed(&b, raw, sizeof(raw));
		assert_int_equal(lsa_encode_unsigned(&lsa, &b), ERR_RANGE);
	}
}

static void
test_too_many_adjacencies(void **state)
{
	size_t len, at;

	(void)state;
	fill(0);
	len = make_raw(&lsa, raw);
	at = len - LSA_SIG_BYTES - 4; /* the count */
	be_store16(raw + at, LSA_ADJ_MAX + 1);
	assert_int_equal(lsa_decode(raw, len, &back), ERR_LIMIT);
	be_store16(raw + at, 0);
	be_store16(raw + at + 2, LSA_TLV_MAX_BYTES + 1);
	assert_int_equal(lsa_decode(raw, len, &back), ERR_LIMIT);
}

/* What decodes encodes to the same bytes. */
static void
test_mutations(void **state)
{
	static uint8_t again[LSA_MAX_BYTES];
	unsigned good = 0;
	struct rng rng;
	struct buf b;

	(void)state;
	rng_seed(&rng, 1);
	for (int i = 0; i < 20000; i++) {
		size_t len;

		fill((unsigned)rng_below(&rng, 4));
		len = make_raw(&lsa, raw);
		for (uint64_t n = rng_below(&rng, 3); n != 0; n--)
			raw[rng_below(&rng, len)] = (uint8_t)rng_u64(&rng);
		if (lsa_decode(raw, len, &back) != 0)
			continue;
		good++;
		buf_init_fixed(&b, again, sizeof(again));
		assert_int_equal(lsa_encode_unsigned(&back, &b), 0);
		assert_int_equal(buf_left(&b), len - LSA_SIG_BYTES);
		assert_memory_equal(again, raw, buf_left(&b));
	}
	assert_true(good > 5000);
}

static void
test_compare(void **state)
{
	const struct lsa_id a = {1, 2, 9}, b = {1, 3, 1}, c = {1, 3, 2};

	(void)state;
	assert_true(lsa_compare(&a, &b) < 0);
	assert_true(lsa_compare(&b, &c) < 0);
	assert_true(lsa_compare(&c, &a) > 0);
	assert_true(lsa_compare(&c, &c) == 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_round_trip),
	    cmocka_unit_test(test_vector),
	    cmocka_unit_test(test_largest),
	    cmocka_unit_test(test_every_truncation_fails),
	    cmocka_unit_test(test_other_version),
	    cmocka_unit_test(test_rules),
	    cmocka_unit_test(test_too_many_adjacencies),
	    cmocka_unit_test(test_mutations),
	    cmocka_unit_test(test_compare),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
