/* The link-state database. */
#include "tests/unit/routerd/make.h"

#include "common/base/err.h"
#include "common/base/mem.h"

enum { SECOND = 1000000, MAX_AGE = 200 * SECOND };

static struct lsdb db;
static struct lsa lsa;
static unsigned ended;

static int
setup(void **state)
{
	(void)state;
	ended = 0;
	lsdb_init(&db, 10, MAX_AGE);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	lsdb_fini(&db);
	return 0;
}

static struct lsdb_entry *
put(uint64_t node, uint64_t incarnation, uint64_t seq, int64_t born, int64_t now)
{
	make_lsa(&lsa, node, incarnation, seq);
	return make_entry(&db, &lsa, born, now);
}

static enum lsdb_verdict
judge(uint64_t node, uint64_t incarnation, uint64_t seq, int64_t born, int64_t now)
{
	const struct lsa_id id = {node, incarnation, seq};

	return lsdb_judge(&db, &id, MAX_AGE, (struct mono){born}, (struct mono){now});
}

static void
on_end(void *arg, struct lsdb_entry *e)
{
	(void)arg;
	(void)e;
	ended++;
}

static void
expire(int64_t now)
{
	lsdb_expire(&db, (struct mono){now}, on_end, NULL);
}

static void
test_newer_is_incarnation_then_seq(void **state)
{
	(void)state;
	assert_int_equal(judge(5, 2, 7, 0, 0), LSDB_NEWER);
	put(5, 2, 7, 0, 0);
	assert_int_equal(judge(5, 2, 7, 0, 0), LSDB_SAME);
	assert_int_equal(judge(5, 2, 6, 0, 0), LSDB_STALE);
	assert_int_equal(judge(5, 1, 99, 0, 0), LSDB_STALE);
	assert_int_equal(judge(5, 2, 8, 0, 0), LSDB_NEWER);
	assert_int_equal(judge(5, 3, 1, 0, 0), LSDB_NEWER);
}

static void
test_order_and_lookup(void **state)
{
	struct lsdb_entry *e;
	uint64_t before = 0;

	(void)state;
	for (uint64_t n = 0; n < 10; n++)
		put(1 + n * 7 % 10, 1, 1, 0, 0);
	assert_int_equal(db.count, 10);
	for (e = lsdb_from(&db, 0); e != NULL; e = lsdb_next(&db, e)) {
		assert_true(e->node > before);
		before = e->node;
	}
	assert_true(lsdb_from(&db, 4)->node == 4);
	assert_null(lsdb_from(&db, 11));
	assert_null(lsdb_get(&db, 11));
}

static void
test_adjacency_lookup(void **state)
{
	struct lsdb_entry *e;

	(void)state;
	make_lsa(&lsa, 1, 1, 1);
	for (uint64_t n = 2; n < 40; n += 2)
		make_adj(&lsa, n, (uint32_t)n);
	e = make_entry(&db, &lsa, 0, 0);
	for (uint64_t n = 0; n < 45; n++) {
		const struct lsa_adj *a = lsdb_adj(e, n);

		assert_int_equal(a != NULL, n >= 2 && n < 40 && n % 2 == 0);
		if (a != NULL)
			assert_int_equal(a->latency_us, n);
	}
}

static void
test_topology_changes(void **state)
{
	static uint8_t raw[LSA_MAX_BYTES];
	struct lsdb_entry *e;
	bool topology;

	(void)state;
	make_lsa(&lsa, 1, 1, 1);
	make_adj(&lsa, 2, 100);
	assert_int_equal(
	    lsdb_put(&db, &lsa, raw, make_raw(&lsa, raw), MONO_ZERO, MONO_ZERO, &e, &topology), 0);
	assert_true(topology);
	lsa.id.seq = 2;
	assert_int_equal(
	    lsdb_put(&db, &lsa, raw, make_raw(&lsa, raw), MONO_ZERO, MONO_ZERO, &e, &topology), 0);
	assert_false(topology);
	lsa.id.seq = 3;
	lsa.adj[0].latency_us = 101;
	assert_int_equal(
	    lsdb_put(&db, &lsa, raw, make_raw(&lsa, raw), MONO_ZERO, MONO_ZERO, &e, &topology), 0);
	assert_true(topology);
	lsa.id.seq = 4;
	lsa.flags = LSA_FLAG_LEFT;
	assert_int_equal(
	    lsdb_put(&db, &lsa, raw, make_raw(&lsa, raw), MONO_ZERO, MONO_ZERO, &e, &topology), 0);
	assert_true(topology);
}

static void
test_full(void **state)
{
	(void)state;
	for (uint64_t n = 1; n <= 10; n++)
		put(n, 1, 1, 0, 0);
	assert_int_equal(judge(11, 1, 1, 0, 0), LSDB_FULL);
	assert_int_equal(judge(10, 1, 2, 0, 0), LSDB_NEWER);
	/* This node has its place always. */
	db.self = 11;
	assert_int_equal(judge(11, 1, 1, 0, 0), LSDB_NEWER);
	put(11, 1, 1, 0, 0);
	assert_int_equal(db.count, 11);
}

static void
test_age_and_tombstones(void **state)
{
	(void)state;
	put(1, 1, 5, 0, 0);
	put(2, 1, 5, -50 * (int64_t)SECOND, 0); /* was 50 s old when it came */
	expire(MAX_AGE - 50 * (int64_t)SECOND - 1);
	assert_int_equal(db.count, 2);
	assert_int_equal(db.expiry.us, MAX_AGE - 50 * (int64_t)SECOND);
	expire(MAX_AGE - 50 * (int64_t)SECOND);
	assert_int_equal(db.count, 1);
	assert_int_equal(ended, 1);
	assert_int_equal(db.tombstones, 1);
	assert_null(lsdb_get(&db, 2));
	/* Old copies stay out, news come in. */
	assert_int_equal(judge(2, 1, 5, 160 * (int64_t)SECOND, 160 * (int64_t)SECOND), LSDB_STALE);
	assert_int_equal(judge(2, 1, 6, 160 * (int64_t)SECOND, 160 * (int64_t)SECOND), LSDB_NEWER);
	put(2, 1, 6, 160 * (int64_t)SECOND, 160 * (int64_t)SECOND);
	assert_int_equal(db.tombstones, 0);
	assert_int_equal(db.count, 2);
	/* In the end nothing is left. */
	expire(1000 * (int64_t)SECOND);
	assert_int_equal(db.count + db.tombstones, 0);
	assert_int_equal(db.bytes, 0);
	assert_true(db.sum == 0);
	assert_true(mono_is_never(db.expiry));
}

/* Each LSA lives as long as it says, whatever this node thinks of its own. */
static void
test_lifetime_of_each(void **state)
{
	static const uint8_t hour[] = {5, 0, 4, 0, 0, 0x0e, 0x10}, ten[] = {5, 0, 4, 0, 0, 0, 10};
	const int64_t s = SECOND;

	(void)state;
	put(1, 1, 1, 0, 0);
	make_lsa(&lsa, 2, 1, 1);
	lsa.tlv = hour;
	lsa.tlv_len = sizeof(hour);
	assert_int_equal(lsdb_lifetime_us(&db, &lsa), 3600 * s);
	make_entry(&db, &lsa, 0, 0);
	make_lsa(&lsa, 3, 1, 1);
	lsa.tlv = ten;
	lsa.tlv_len = sizeof(ten);
	make_entry(&db, &lsa, 0, 0);
	assert_int_equal(db.unsaid, 1);
	assert_int_equal(db.expiry.us, 10 * s);
	expire(10 * s);
	assert_null(lsdb_get(&db, 3));
	/* Its tombstone lasts as long again. */
	assert_int_equal(judge(3, 1, 1, 19 * s, 19 * s), LSDB_STALE);
	expire(20 * s);
	assert_int_equal(db.tombstones, 0);
	expire(MAX_AGE);
	assert_null(lsdb_get(&db, 1));
	assert_int_equal(db.unsaid, 0);
	expire(3599 * s);
	assert_non_null(lsdb_get(&db, 2));
	/* The newer one does not say. */
	put(2, 1, 2, 3599 * s, 3599 * s);
	assert_int_equal(db.unsaid, 1);
	expire(3600 * s);
	assert_non_null(lsdb_get(&db, 2));
	expire(3599 * s + MAX_AGE);
	assert_null(lsdb_get(&db, 2));
	assert_int_equal(db.unsaid, 0);
}

static void
test_tombstones_make_room(void **state)
{
	(void)state;
	for (uint64_t n = 1; n <= 10; n++)
		put(n, 1, 1, n <= 5 ? -150 * (int64_t)SECOND : 0, 0);
	expire(60 * SECOND);
	assert_int_equal(db.count, 5);
	assert_int_equal(db.tombstones, 5);
	put(11, 1, 1, 60 * SECOND, 60 * SECOND);
	assert_int_equal(db.count, 6);
	assert_int_equal(db.tombstones, 0);
}

static void
test_own_lsa_does_not_age(void **state)
{
	(void)state;
	db.self = 1;
	put(1, 1, 1, 0, 0);
	expire(1000 * (int64_t)SECOND);
	assert_int_equal(db.count, 1);
	assert_true(mono_is_never(db.expiry));
}

static void
test_too_old_to_take(void **state)
{
	(void)state;
	assert_int_equal(judge(1, 1, 1, 0, MAX_AGE - 1), LSDB_NEWER);
	assert_int_equal(judge(1, 1, 1, 0, MAX_AGE), LSDB_EXPIRED);
}

/* What the rate counts time in is short, and goes round after 497 days: also then. */
static void
test_rate_when_its_time_goes_round(void **state)
{
	const int64_t round = (INT64_C(1) << 32) * 10000, before = round - ORIGIN_INTERVAL_US / 2;
	uint64_t seq = 0;

	(void)state;
	for (int64_t at = before; at <= before + 4 * (int64_t)ORIGIN_INTERVAL_US; at += ORIGIN_INTERVAL_US) {
		while (judge(1, 1, seq + 1, at, at) == LSDB_NEWER) {
			seq++;
			put(1, 1, seq, at, at);
		}
		assert_int_equal(seq, ORIGIN_BURST + (at - before) / ORIGIN_INTERVAL_US);
	}
}

static void
test_rate_per_origin(void **state)
{
	(void)state;
	for (uint64_t seq = 1; seq <= ORIGIN_BURST; seq++) {
		assert_int_equal(judge(1, 1, seq, 0, 0), LSDB_NEWER);
		put(1, 1, seq, 0, 0);
	}
	assert_int_equal(judge(1, 1, 9, 0, 0), LSDB_LIMITED);
	assert_int_equal(judge(1, 1, 9, 0, ORIGIN_INTERVAL_US - 1), LSDB_LIMITED);
	assert_int_equal(judge(1, 1, 9, 0, ORIGIN_INTERVAL_US), LSDB_NEWER);
	put(1, 1, 9, 0, ORIGIN_INTERVAL_US);
	assert_int_equal(judge(1, 1, 10, 0, ORIGIN_INTERVAL_US), LSDB_LIMITED);
	/* Another origin is not concerned. */
	assert_int_equal(judge(2, 1, 1, 0, ORIGIN_INTERVAL_US), LSDB_NEWER);
}

static void
test_sum_depends_on_content_only(void **state)
{
	struct lsdb other;

	(void)state;
	lsdb_init(&other, 10, MAX_AGE);
	for (uint64_t n = 1; n <= 9; n++)
		put(n, 1, n, 0, 0);
	put(3, 2, 1, 0, 0);
	for (uint64_t n = 9; n >= 1; n--) {
		make_lsa(&lsa, n, n == 3 ? 2 : 1, n == 3 ? 1 : n);
		make_entry(&other, &lsa, -5, 0);
	}
	assert_true(db.sum == other.sum);
	make_lsa(&lsa, 4, 1, 5);
	make_entry(&other, &lsa, 0, 0);
	assert_true(db.sum != other.sum);
	lsdb_fini(&other);
}

/* Puts the LSA into a database of a few nodes, where the first allocations, but for so many, fail: true if
 * it went in. */
static bool
put_at(struct lsdb *d, unsigned long allocation, size_t nodes)
{
	static uint8_t raw[LSA_MAX_BYTES];
	uint64_t sum;
	struct lsdb_entry *e;
	bool topology;
	int err;

	for (uint64_t n = 1; n <= nodes; n++) {
		struct lsa l;

		make_lsa(&l, n, 1, 1);
		make_entry(d, &l, 0, 0);
	}
	sum = d->sum;
	mem_fail_at(allocation);
	err = lsdb_put(d, &lsa, raw, make_raw(&lsa, raw), MONO_ZERO, MONO_ZERO, &e, &topology);
	mem_fail_at(0);
	if (err == 0)
		return true;
	assert_int_equal(err, ERR_NOMEM);
	assert_true(d->sum == sum && d->count == nodes && d->tombstones == 0);
	for (uint64_t n = 1; n <= nodes; n++)
		assert_true(lsdb_get(d, n)->lsa->id.seq == 1);
	return false;
}

static void
test_memory_out_changes_nothing(void **state)
{
	/* In place of another one, into an empty database, where the array has to grow. */
	static const struct {
		uint64_t node;
		size_t nodes;
		unsigned long allocations;
	} cases[] = {{1, 1, 1}, {5, 0, 2}, {17, 16, 2}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		unsigned long k = 0;
		bool done = false;

		while (!done) {
			struct lsdb d;

			lsdb_init(&d, 100, MAX_AGE);
			make_lsa(&lsa, cases[i].node, 1, 2);
			make_adj(&lsa, 99, 1);
			done = put_at(&d, ++k, cases[i].nodes);
			lsdb_fini(&d);
		}
		assert_int_equal(k, cases[i].allocations + 1);
	}
}

/* What is held twice is there once, and as long as somebody holds it. */
static void
test_bodies_are_shared(void **state)
{
	struct lsdb other;
	struct lsa_body *body;
	struct lsdb_entry *a, *b;

	(void)state;
	lsdb_init(&other, 10, MAX_AGE);
	make_lsa(&lsa, 3, 1, 1);
	make_adj(&lsa, 9, 1);
	a = make_entry(&db, &lsa, 0, 0);
	b = make_entry(&other, &lsa, 0, 0);
	assert_int_equal(a->lsa->raw_len, b->lsa->raw_len);
	assert_memory_equal(a->lsa->raw, b->lsa->raw, a->lsa->raw_len);
	lsa_body_unref(b->lsa);
	b->lsa = body = lsa_body_ref(a->lsa);
	assert_int_equal(body->refs, 2);
	put(3, 1, 2, 0, 0);
	assert_int_equal(body->refs, 1);
	assert_int_equal(lsdb_adj(b, 9)->latency_us, 1);
	lsdb_fini(&other);
}

/* However nodes come and go: in order, found, and counted. */
static void
test_many_nodes_come_and_go(void **state)
{
	const uint64_t step = 0x9e3779b97f4a7c15u;
	struct lsdb_entry *e;
	uint64_t before = 0;
	size_t seen = 0;

	(void)state;
	lsdb_fini(&db);
	lsdb_init(&db, 300, MAX_AGE);
	for (uint64_t n = 1; n <= 200; n++)
		put(n * step, 1, 1, n % 3 == 0 ? -150 * (int64_t)SECOND : 0, 0);
	expire(60 * SECOND);
	assert_int_equal(db.count, 134);
	assert_int_equal(db.tombstones, 66);
	for (uint64_t n = 201; n <= 350; n++)
		put(n * step, 1, 1, 60 * (int64_t)SECOND, 60 * SECOND);
	assert_int_equal(db.count, 284);
	assert_int_equal(db.tombstones, 0);
	for (e = lsdb_from(&db, 0); e != NULL; e = lsdb_next(&db, e), seen++) {
		assert_true(e->node > before);
		before = e->node;
	}
	assert_int_equal(seen, 284);
	for (uint64_t n = 1; n <= 350; n++)
		assert_int_equal(lsdb_get(&db, n * step) != NULL, n > 200 || n % 3 != 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_newer_is_incarnation_then_seq, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_order_and_lookup, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_adjacency_lookup, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_topology_changes, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_full, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_age_and_tombstones, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_lifetime_of_each, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_tombstones_make_room, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_own_lsa_does_not_age, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_too_old_to_take, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_rate_per_origin, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_rate_when_its_time_goes_round, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_sum_depends_on_content_only, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_memory_out_changes_nothing, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_bodies_are_shared, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_many_nodes_come_and_go, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
