/* What links cost: terms, steps, limits, profiles. */
#include "tests/unit/unit.h"

#include <math.h>
#include <stdio.h>

#include "common/base/rng.h"
#include "routerd/core/cost.h"
#include "routerd/core/lsa.h"

enum { CONTROL = FRAME_CLASS_CONTROL, CLIENT = FRAME_CLASS_CLIENT };

static void
test_table(void **state)
{
	static const struct {
		struct cost_coefficients c;
		struct lsa_adj a;
		uint32_t cost;
	} rows[] = {
	    /* hops and latency, in steps */
	    {{.hops = 100}, {0}, 1000},
	    {{.hops = 50}, {0}, 500},
	    {{.latency = 100}, {.latency_us = 124}, 1},
	    {{.latency = 100}, {.latency_us = 125}, 250},
	    {{.latency = 100, .hops = 100}, {.latency_us = 40000}, 41000},
	    {{.latency = 200}, {.latency_us = 40000}, 80000},
	    /* bandwidth: 64 KiB at this rate; unknown is as 100 Mbit/s, in steps of an eighth of its octave
	     */
	    {{.bandwidth = 100}, {.bandwidth_kbps = 1}, COST_MAX},
	    {{.bandwidth = 100}, {.bandwidth_kbps = 8192}, 64000},
	    {{.bandwidth = 100}, {.bandwidth_kbps = 8192 + 1023}, 64000},
	    {{.bandwidth = 100}, {.bandwidth_kbps = 9216}, 56888},
	    {{.bandwidth = 50}, {.bandwidth_kbps = 8192}, 32000},
	    {{.bandwidth = 100}, {.bandwidth_kbps = 0}, 5333},
	    {{.bandwidth = 100}, {.bandwidth_kbps = COST_UNKNOWN_KBPS}, 5333},
	    {{.bandwidth = 0}, {.bandwidth_kbps = 1}, 1},
	    /* loss: -ln(1 - p) seconds, in steps of 1000 ppm */
	    {{.loss = 100}, {.loss_ppm = 499}, 1},
	    {{.loss = 100}, {.loss_ppm = 10 * 1000}, 10050},
	    {{.loss = 400}, {.loss_ppm = 10 * 1000}, 40200},
	    {{.loss = 100}, {.loss_ppm = 500 * 1000}, 693147},
	    {{.loss = 100}, {.loss_ppm = UINT32_MAX}, 4605168},
	    /* load: nothing below half, then up to a tenth of the rest */
	    {{.hops = 100, .utilisation = 100}, {.utilisation_permille = 549}, 1000},
	    {{.hops = 100, .utilisation = 100}, {.utilisation_permille = 551}, 1020},
	    {{.hops = 100, .utilisation = 100}, {.utilisation_permille = 1000}, 1100},
	    {{.hops = 100, .utilisation = 100}, {.utilisation_permille = 65535}, 1100},
	    {{.hops = 100, .utilisation = 1000}, {.utilisation_permille = 1000}, 2000},
	    {{.hops = 100}, {.utilisation_permille = 1000}, 1000},
	    /* the operator's weight, in every class, beside all others */
	    {{0}, {.weight = 3}, 3000},
	    {{.hops = 100, .utilisation = 100}, {.weight = 1, .utilisation_permille = 1000}, 2100},
	    {{0}, {.weight = LSA_WEIGHT_NEVER}, 65535000},
	    /* bounds */
	    {{0}, {0}, 1},
	    {{.latency = 1000, .hops = 1000}, {.latency_us = UINT32_MAX, .weight = 65535}, COST_MAX},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (cost_link(&rows[i].c, &rows[i].a) != rows[i].cost)
			fail_msg("row %zu: %u, not %u", i, cost_link(&rows[i].c, &rows[i].a), rows[i].cost);
}

/* The logarithm of integers, beside that of the library. */
static void
test_loss(void **state)
{
	double worst = 0;

	(void)state;
	for (uint32_t ppm = 0; ppm <= COST_LOSS_MAX_PPM; ppm += 97) {
		double off = fabs(cost_loss(ppm) / 1e6 + log1p(-(double)ppm / 1e6));

		worst = off > worst ? off : worst;
		assert_true(cost_loss(ppm) <= cost_loss(ppm + 97));
	}
	printf("-ln(1 - p): off by at most %.1f millionths\n", worst * 1e6);
	assert_true(worst < 4e-6);
}

/* Two links that lose some cost as much as one that loses as much as both. */
static void
test_loss_adds_up(void **state)
{
	(void)state;
	for (uint32_t p = 1000; p < 400 * 1000; p += 1000) {
		uint64_t both = 2ULL * p - (uint64_t)p * p / 1000000;
		int64_t off = (int64_t)cost_loss((uint32_t)both) - 2 * (int64_t)cost_loss(p);

		assert_true(off > -8 && off < 8);
	}
}

/* Worse in anything is never cheaper, whatever the coefficients. */
static void
test_monotone(void **state)
{
	struct rng rng;

	(void)state;
	rng_seed(&rng, 3);
	for (int i = 0; i < 200000; i++) {
		struct cost_coefficients c = {(uint16_t)rng_below(&rng, 1001),
		    (uint16_t)rng_below(&rng, 1001), (uint16_t)rng_below(&rng, 1001),
		    (uint16_t)rng_below(&rng, 1001), (uint16_t)rng_below(&rng, 1001)};
		struct lsa_adj a = {.latency_us = (uint32_t)rng_below(&rng, 300000),
		    .bandwidth_kbps = 1 + (uint32_t)rng_below(&rng, 10000000),
		    .loss_ppm = (uint32_t)rng_below(&rng, 1000001),
		    .utilisation_permille = (uint16_t)rng_below(&rng, 1001),
		    .weight = (uint16_t)rng_below(&rng, 100)};
		struct lsa_adj worse = a;
		uint32_t cost = cost_link(&c, &a);

		switch (rng_below(&rng, 5)) {
		case 0:
			worse.latency_us += (uint32_t)rng_below(&rng, 10000);
			break;
		case 1:
			worse.bandwidth_kbps -= (uint32_t)rng_below(&rng, worse.bandwidth_kbps);
			break;
		case 2:
			worse.loss_ppm += (uint32_t)rng_below(&rng, 10000);
			break;
		case 3:
			worse.utilisation_permille += (uint16_t)rng_below(&rng, 100);
			break;
		default:
			worse.weight++;
		}
		assert_true(cost >= 1 && cost <= COST_MAX);
		assert_true(cost_link(&c, &worse) >= cost);
		assert_true(cost_damped(cost) > cost || cost_damped(cost) == COST_MAX);
	}
}

static void
test_classes(void **state)
{
	/* A fast narrow line and a slow wide one. */
	const struct lsa_adj narrow = {.latency_us = 5000, .bandwidth_kbps = 2000},
			     wide = {.latency_us = 40000, .bandwidth_kbps = 1000000};

	(void)state;
	assert_true(cost_link(&cost_defaults[CONTROL], &narrow) < cost_link(&cost_defaults[CONTROL], &wide));
	assert_true(cost_link(&cost_defaults[CLIENT], &narrow) > cost_link(&cost_defaults[CLIENT], &wide));
}

static void
test_profiles(void **state)
{
	struct cost_coefficients by_class[FRAME_CLASS_COUNT];
	struct cost_profiles p, q;

	(void)state;
	cost_profiles_make(&p, cost_defaults);
	assert_int_equal(p.count, 2);
	assert_int_equal(p.class_mask[0], 0x07);
	assert_int_equal(p.class_mask[1], 0x08);
	memcpy(by_class, cost_defaults, sizeof(by_class));
	cost_profiles_make(&q, by_class);
	assert_true(cost_profiles_equal(&p, &q));
	for (unsigned i = 0; i < FRAME_CLASS_COUNT; i++)
		by_class[i].hops = (uint16_t)(100 + i);
	cost_profiles_make(&q, by_class);
	assert_int_equal(q.count, COST_PROFILES_MAX);
	assert_int_equal(q.class_mask[2], 0x04);
	assert_false(cost_profiles_equal(&p, &q));
	memset(by_class, 0, sizeof(by_class));
	cost_profiles_make(&q, by_class);
	assert_int_equal(q.count, 1);
	assert_int_equal(q.class_mask[0], 0x0f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_table),
	    cmocka_unit_test(test_loss),
	    cmocka_unit_test(test_loss_adds_up),
	    cmocka_unit_test(test_monotone),
	    cmocka_unit_test(test_classes),
	    cmocka_unit_test(test_profiles),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
