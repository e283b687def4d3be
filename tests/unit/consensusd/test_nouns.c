/* The small nouns of the cores: tail, ledger, waiters, idcache, idwindow, deadlines, nodes, assembly. */
#include "tests/unit/consensusd/make_batch.h"

#include <stdio.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "consensusd/core/assembly.h"
#include "consensusd/core/budget.h"
#include "consensusd/core/deadlines.h"
#include "consensusd/core/idcache.h"
#include "consensusd/core/idwindow.h"
#include "consensusd/core/ledger.h"
#include "consensusd/core/limits.h"
#include "consensusd/core/nodes.h"
#include "consensusd/core/tail.h"
#include "consensusd/core/waiters.h"

static void
test_tail(void **state)
{
	struct budget budget = {.max_bytes = 1 << 20};
	struct tail t;
	size_t one = 10 * (BATCH_RECORD_HDR_BYTES + 80);

	(void)state;
	tail_init(&t, &budget, 1);
	for (uint64_t seq = 1; seq < 1001; seq += 10) {
		struct batch *b = make_batch(seq, 10, 80);

		assert_int_equal(tail_push(&t, b), 0);
		batch_unref(b);
	}
	for (uint64_t seq = 1; seq <= 1000; seq++)
		assert_int_equal(tail_get(&t, seq)->first_seq, (seq - 1) / 10 * 10 + 1);
	assert_null(tail_get(&t, 0));
	assert_null(tail_get(&t, 1001));
	tail_pop(&t, 15);
	assert_null(tail_get(&t, 10));
	assert_int_equal(tail_get(&t, 15)->first_seq, 11);
	tail_trim(&t, 20 * one, 500);
	assert_int_equal(t.count, 50); /* no further than 500 */
	tail_trim(&t, 20 * one, 1000);
	assert_int_equal(t.count, 20);
	assert_int_equal(t.bytes, 20 * one);
	assert_int_equal(budget.used_bytes, 20 * one);
	struct batch *b = make_batch(1001, 1, 1);

	mem_fail_at(1);
	while (tail_push(&t, b) == 0) {
		mem_fail_at(0);
		batch_unref(b);
		b = make_batch(t.next_seq, 1, 1);
		mem_fail_at(1);
	}
	mem_fail_at(0);
	batch_unref(b);
	tail_fini(&t);
	assert_int_equal(budget.used_bytes, 0);
}

static void
test_ledger(void **state)
{
	struct ledger l;
	uint64_t exact = 0;

	(void)state;
	ledger_init(&l);
	for (uint64_t seq = 1; seq <= 200000; seq++)
		ledger_add(&l, seq, 1000);
	assert_int_equal(l.total_bytes, 200000000);
	assert_true(l.count <= LEDGER_BUCKETS_MAX);
	for (uint64_t seq = 0; seq <= 200000; seq += 1000) {
		ledger_cut(&l, seq);
		exact = (200000 - seq) * 1000;
		assert_true(l.total_bytes >= exact && l.total_bytes <= exact + 200000000 / 100);
	}
	assert_int_equal(l.total_bytes, 0);
	assert_int_equal(l.grain, LEDGER_GRAIN_BYTES);
	ledger_fini(&l);
	ledger_init(&l);
	/* Times make buckets of their own. */
	ledger_add_at(&l, 5, 10, 1000);
	ledger_add_at(&l, 6, 10, 1000 + LEDGER_SPAN_MS);
	ledger_add_at(&l, 7, 10, 1001 + LEDGER_SPAN_MS);
	ledger_add_at(&l, 8, 10, 900);
	assert_int_equal(l.count, 2);
	assert_true(ledger_at(&l, 0)->last_seq == 6 && ledger_at(&l, 0)->last_ms == 1000 + LEDGER_SPAN_MS);
	assert_null(ledger_at(&l, 2));
	ledger_put_before(&l, &(struct ledger_bucket){4, 100, 1, 2}, 1);
	assert_int_equal(l.count, 3);
	assert_int_equal(l.total_bytes, 140);
	assert_true(ledger_at(&l, 0)->last_seq == 4 && ledger_at(&l, 2)->last_seq == 8);
	ledger_add_at(&l, 9, 10, 5000);
	assert_int_equal(l.count, 4);
	ledger_cut(&l, 9);
	assert_int_equal(l.total_bytes, 0);
	ledger_fini(&l);
	/* Without memory nothing breaks; what can't be booked is not counted. */
	ledger_init(&l);
	mem_fail_at(1);
	ledger_add(&l, 1, 5);
	mem_fail_at(0);
	assert_int_equal(l.total_bytes, 0);
	ledger_add(&l, 2, 7);
	assert_int_equal(l.total_bytes, 7);
	ledger_fini(&l);
}

/* Repeated publishes wait beside the others, and all hear in order of their seq. */
static void
test_waiters(void **state)
{
	struct waiters w;
	struct waiter one, out;
	uint64_t last = 0;
	unsigned n = 0;
	struct rng rng;

	(void)state;
	rng_seed(&rng, 3);
	waiters_init(&w);
	for (uint64_t seq = 1; seq <= 3000; seq++) {
		one = (struct waiter){.seq = seq % 3 == 0 ? rng_below(&rng, seq) + 1 : seq, .call = seq};
		assert_int_equal(waiters_add(&w, &one), 0);
	}
	while (waiters_pop(&w, 2000, &out)) {
		assert_true(out.seq >= last && out.seq <= 2000);
		last = out.seq;
		n++;
	}
	last = UINT64_MAX;
	assert_int_equal(waiters_count(&w), 3000 - n);
	while (waiters_pop_from(&w, 2500, &out)) {
		assert_true(out.seq >= 2500);
		n++;
	}
	assert_int_equal(waiters_count(&w), 3000 - n);
	while (waiters_count(&w) < WAITERS_MAX) {
		one = (struct waiter){.seq = 10000, .call = 1};
		assert_int_equal(waiters_add(&w, &one), 0);
	}
	assert_int_equal(waiters_add(&w, &one), ERR_FULL);
	waiters_fini(&w);
	mem_fail_at(1);
	assert_int_equal(waiters_add(&w, &one), ERR_NOMEM);
	mem_fail_at(0);
	waiters_fini(&w);
}

static void
test_idcache(void **state)
{
	const struct ulid s1 = make_id(1), s2 = make_id(2);
	struct idcache c;
	struct ulid id;
	uint64_t seq;

	(void)state;
	idcache_init(&c, 256, 99);
	id = make_id(5);
	assert_false(idcache_find(&c, &s1, &id, &seq));
	idcache_del(&c, &s1, &id);
	mem_fail_at(1);
	assert_int_equal(idcache_add(&c, &s1, &id, 1), ERR_NOMEM);
	mem_fail_at(2);
	assert_int_equal(idcache_add(&c, &s1, &id, 1), ERR_NOMEM);
	mem_fail_at(0);
	for (uint64_t i = 1; i <= 1000; i++) {
		id = make_id(i);
		assert_int_equal(idcache_add(&c, i % 2 != 0 ? &s1 : &s2, &id, i), 0);
	}
	/* The newest 256, of the right stream. */
	for (uint64_t i = 1; i <= 1000; i++) {
		id = make_id(i);
		assert_int_equal(idcache_find(&c, i % 2 != 0 ? &s1 : &s2, &id, &seq), i > 1000 - 256);
		assert_false(idcache_find(&c, i % 2 == 0 ? &s1 : &s2, &id, &seq));
	}
	id = make_id(1000);
	assert_int_equal(idcache_add(&c, &s2, &id, 7), 0);
	assert_true(idcache_find(&c, &s2, &id, &seq));
	assert_int_equal(seq, 7);
	idcache_del(&c, &s2, &id);
	assert_false(idcache_find(&c, &s2, &id, &seq));
	for (uint64_t i = 2000; i < 3000; i++) {
		id = make_id(i);
		assert_int_equal(idcache_add(&c, &s1, &id, i), 0);
		if (i % 3 == 0)
			idcache_del(&c, &s1, &id);
	}
	idcache_fini(&c);
}

static struct ulid
number_id(uint64_t n)
{
	struct ulid id = {{0}};

	be_store64(id.b, n * 0x9e3779b97f4a7c15u);
	be_store64(id.b + 8, n);
	return id;
}

static void
window_add(struct idwindow *w, struct idwindows *all, uint64_t n, uint64_t seq)
{
	struct ulid id = number_id(n);

	assert_int_equal(idwindow_reserve(w, all), 0);
	idwindow_add(w, &id, seq);
}

/* 0: it is not known. */
static uint64_t
window_find(const struct idwindow *w, uint64_t n)
{
	struct ulid id = number_id(n), at;
	uint64_t seq = 0;

	if (!idwindow_find(w, &id, &seq))
		return 0;
	assert_true(idwindow_at(w, seq, &at));
	assert_memory_equal(id.b, at.b, ULID_BYTES);
	return seq;
}

/* The newest ids of a stream, whatever it has between them. */
static void
test_idwindow(void **state)
{
	struct idwindows all;
	struct idwindow w = {.owner = &all};
	struct ulid id;

	(void)state;
	idwindows_init(&all, 1000, 100000, 64, 5);
	assert_int_equal(window_find(&w, 1), 0);
	assert_false(idwindow_at(&w, 1, &id));
	idwindow_cut(&w, 1);
	mem_fail_at(1);
	assert_int_equal(idwindow_reserve(&w, &all), ERR_NOMEM);
	mem_fail_at(2);
	assert_int_equal(idwindow_reserve(&w, &all), ERR_NOMEM);
	for (uint64_t i = 1; i <= 5000; i++)
		window_add(&w, &all, i, i * 3);
	for (uint64_t i = 1; i <= 5000; i++)
		assert_int_equal(window_find(&w, i), i > 4000 ? i * 3 : 0);
	assert_false(idwindow_at(&w, 15001, &id));
	assert_false(idwindow_at(&w, 12000, &id));
	assert_int_equal(w.count, 1000);
	assert_int_equal(all.total, 1000);
	assert_int_equal(all.given_up, 0);
	/* Those that never were. */
	idwindow_cut(&w, 15000);
	idwindow_cut(&w, 15000);
	assert_int_equal(window_find(&w, 5000), 0);
	assert_int_equal(window_find(&w, 4999), 4999 * 3);
	window_add(&w, &all, 5000, 15000);
	assert_int_equal(window_find(&w, 5000), 15000);
	/* A smaller one takes effect with the next id, and memory follows. */
	all.window_max = 100;
	window_add(&w, &all, 5001, 15001);
	assert_int_equal(w.count, 100);
	assert_int_equal(w.cap, 256);
	assert_int_equal(window_find(&w, 5001), 15001);
	assert_int_equal(window_find(&w, 4903), 4903 * 3);
	idwindow_fini(&w);
	assert_int_equal(window_find(&w, 5001), 0);
	assert_ptr_equal(w.owner, &all);
	idwindow_fini(&w);
	idwindows_fini(&all);
}

/* What was given up is told, a good part at a time. */
static void
test_idwindow_due(void **state)
{
	struct idwindows all;
	struct idwindow w = {.owner = NULL};

	(void)state;
	idwindows_init(&all, 160, 1000, 64, 5);
	for (uint64_t i = 1; i <= 169; i++)
		window_add(&w, &all, i, i);
	assert_null(idwindows_due(&all));
	window_add(&w, &all, 170, 170);
	assert_ptr_equal(idwindows_due(&all), &w);
	assert_int_equal(w.forgotten_seq, 10);
	assert_null(idwindows_due(&all));
	/* It could not be written: it is due again with the next one. */
	window_add(&w, &all, 171, 171);
	assert_ptr_equal(idwindows_due(&all), &w);
	w.pruned_seq = w.forgotten_seq;
	window_add(&w, &all, 172, 172);
	assert_null(idwindows_due(&all));
	for (uint64_t i = 173; i <= 200; i++)
		window_add(&w, &all, i, i);
	idwindow_fini(&w);
	assert_null(idwindows_due(&all));
	idwindows_fini(&all);
}

enum { MANY = 40 };

/* Many streams: those with the most give up their oldest, and nobody loses what is his share. */
static void
test_idwindow_share(void **state)
{
	static struct idwindow w[MANY];
	struct idwindows all;
	uint64_t n = 0;
	size_t bytes = 0;

	(void)state;
	idwindows_init(&all, 1000, 4000, 64, 5);
	for (uint64_t i = 1; i <= 40; i++)
		window_add(&w[0], &all, i, i);
	/* One stream after the other, and each more than its share. */
	for (size_t s = 1; s < MANY; s++)
		for (uint64_t i = 1; i <= 3000; i++)
			window_add(&w[s], &all, ++n, i);
	assert_int_equal(all.total, 4000);
	assert_true(all.given_up > 0);
	for (uint64_t i = 1; i <= 40; i++)
		assert_int_equal(window_find(&w[0], i), i);
	for (size_t s = 1; s < MANY; s++) {
		assert_true(w[s].count >= 4000 / MANY / 2);
		assert_int_equal(w[s].ring[(w[s].first + w[s].count - 1) & (w[s].cap - 1)].seq, 3000);
		bytes += w[s].cap;
	}
	assert_true(bytes < 3 * 4000);
	/* Alone, a stream has all of it again. */
	for (size_t s = 0; s + 1 < MANY; s++)
		idwindow_fini(&w[s]);
	for (uint64_t i = 3001; i <= 4000; i++)
		window_add(&w[MANY - 1], &all, ++n, i);
	assert_int_equal(w[MANY - 1].count, 1000);
	idwindow_fini(&w[MANY - 1]);
	/* The only one, and larger than all may be. */
	all.total_max = 16;
	for (uint64_t i = 1; i <= 100; i++)
		window_add(&w[0], &all, i, i);
	assert_int_equal(w[0].count, 16);
	assert_int_equal(window_find(&w[0], 85), 85);
	idwindow_fini(&w[0]);
	idwindows_fini(&all);
}

static void
test_deadlines(void **state)
{
	enum { N = 500 };
	static struct deadline x[N];
	struct deadlines d;
	struct deadline *p;
	struct rng rng;
	int64_t last = 0;
	unsigned n = 0;

	(void)state;
	rng_seed(&rng, 4);
	deadlines_init(&d);
	for (int round = 0; round < 5; round++) {
		for (size_t i = 0; i < N; i++) {
			struct mono when = {(int64_t)rng_below(&rng, 100000)};

			assert_int_equal(
			    deadlines_set(&d, &x[i], rng_below(&rng, 8) == 0 ? MONO_NEVER : when), 0);
		}
	}
	for (size_t i = 0; i < N; i += 7)
		deadlines_del(&d, &x[i]);
	assert_null(deadlines_pop(&d, (struct mono){-1}));
	while ((p = deadlines_pop(&d, (struct mono){50000})) != NULL) {
		assert_true(p->when.us >= last && p->when.us <= 50000 && p->place == 0);
		last = p->when.us;
		n++;
	}
	assert_true(n > 100);
	assert_true(deadlines_next(&d).us > 50000);
	while (deadlines_pop(&d, (struct mono){100000}) != NULL)
		n++;
	assert_int_equal(d.count, 0);
	assert_true(mono_is_never(deadlines_next(&d)));
	deadlines_fini(&d);
	mem_fail_at(1);
	assert_int_equal(deadlines_set(&d, &x[0], MONO_ZERO), ERR_NOMEM);
	mem_fail_at(0);
	deadlines_fini(&d);
}

static void
test_nodes(void **state)
{
	struct nodes d;
	struct node *n;
	char text[32];

	(void)state;
	nodes_init(&d);
	assert_null(nodes_find(&d, 1));
	assert_null(nodes_find_name(&d, "x"));
	for (unsigned long k = 1; k <= 4; k++) {
		mem_fail_at(k);
		n = nodes_get(&d, 1);
		assert_true(n == NULL || d.count == 1);
	}
	mem_fail_at(0);
	for (uint64_t i = 1; i <= NODES_MAX; i++) {
		n = nodes_get(&d, i * 0x9e3779b97f4a7c15u | 1);
		if (n == NULL)
			break;
		snprintf(text, sizeof(text), "node-%llu", (unsigned long long)i);
		nodes_rename(&d, n, text);
	}
	assert_true(d.count > 8000);
	n = nodes_find_name(&d, "node-7");
	assert_non_null(n);
	assert_ptr_equal(n, nodes_find(&d, n->id));
	nodes_rename(&d, n, "seven");
	assert_null(nodes_find_name(&d, "node-7"));
	assert_ptr_equal(nodes_resolve(&d, "seven"), n);
	nodeid_format(text, n->id);
	assert_ptr_equal(nodes_resolve(&d, text), n);
	nodes_rename(&d, n, "");
	assert_null(nodes_find_name(&d, "seven"));
	assert_null(nodes_resolve(&d, ""));
	while (d.count < NODES_MAX)
		assert_non_null(nodes_get(&d, 1000 + 2 * d.count));
	assert_null(nodes_get(&d, 2));
	nodes_fini(&d);
}

static int
chunk(struct assembly *a, uint64_t call, uint32_t index, uint32_t total, size_t len, int64_t ms,
    struct assembly_item **out)
{
	static const uint8_t bytes[2000];
	const struct assembly_key key = {.stream_id = make_id(1), .call = call};
	const struct assembly_chunk c = {.index = index,
	    .total = total,
	    .headers = bytes,
	    .headers_len = 3,
	    .payload = bytes,
	    .payload_len = len};

	return assembly_add(a, &key, &c, (struct mono){ms * 1000}, out);
}

static void
test_assembly(void **state)
{
	struct budget budget = {.max_bytes = 1 << 20};
	struct assembly_item *item;
	struct assembly a;

	(void)state;
	assembly_init(&a, &budget, 3000);
	assert_int_equal(chunk(&a, 1, 1, 3, 10, 0, &item), ERR_GAP);
	assert_int_equal(chunk(&a, 1, 0, 3, 1000, 0, &item), 0);
	assert_null(item);
	assert_int_equal(chunk(&a, 2, 0, 2, 10, 0, &item), 0);
	assert_int_equal(chunk(&a, 1, 1, 3, 1000, 0, &item), 0);
	assert_int_equal(chunk(&a, 1, 2, 3, 1000, 0, &item), 0);
	assert_int_equal(buf_left(&item->payload), 3000);
	assert_int_equal(buf_left(&item->headers), 3);
	assembly_done(&a, item);
	/* Too large, out of order, of another total: forgotten. */
	assert_int_equal(chunk(&a, 1, 0, 3, 2000, 0, &item), 0);
	assert_int_equal(chunk(&a, 1, 1, 3, 2000, 0, &item), ERR_LIMIT);
	assert_int_equal(chunk(&a, 1, 1, 3, 1, 0, &item), ERR_GAP);
	assert_int_equal(chunk(&a, 2, 1, 3, 1, 0, &item), ERR_FORMAT);
	assert_int_equal(a.count, 0);
	assert_int_equal(chunk(&a, 1, 0, ASSEMBLY_CHUNKS_MAX + 1, 1, 0, &item), ERR_LIMIT);
	assert_int_equal(chunk(&a, 1, 3, 3, 1, 0, &item), ERR_LIMIT);
	/* Chunk 0 begins again. */
	assert_int_equal(chunk(&a, 1, 0, 3, 100, 0, &item), 0);
	assert_int_equal(chunk(&a, 1, 0, 2, 50, 0, &item), 0);
	assert_int_equal(budget.used_bytes, 50);
	assembly_call_ended(&a, 1);
	assert_int_equal(a.count, 0);
	/* Bounded, and idle ones go. */
	for (uint64_t i = 1; i <= ASSEMBLY_MAX; i++)
		assert_int_equal(chunk(&a, i, 0, 2, 10, (int64_t)i, &item), 0);
	assert_int_equal(chunk(&a, ASSEMBLY_MAX + 1, 0, 2, 10, 0, &item), ERR_FULL);
	assert_int_equal(assembly_expire(&a, (struct mono){(ASSEMBLY_IDLE_MS + 100) * INT64_C(1000)}), 99);
	assert_int_equal(a.count, ASSEMBLY_MAX - 99);
	for (unsigned long k = 1; k <= 3; k++) {
		mem_fail_at(k);
		assert_int_equal(chunk(&a, 5000, 0, 2, 10, 0, &item), ERR_NOMEM);
	}
	mem_fail_at(0);
	assembly_fini(&a);
	assert_int_equal(budget.used_bytes, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_tail),
	    cmocka_unit_test(test_ledger),
	    cmocka_unit_test(test_waiters),
	    cmocka_unit_test(test_idcache),
	    cmocka_unit_test(test_idwindow),
	    cmocka_unit_test(test_idwindow_due),
	    cmocka_unit_test(test_idwindow_share),
	    cmocka_unit_test(test_deadlines),
	    cmocka_unit_test(test_nodes),
	    cmocka_unit_test(test_assembly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
