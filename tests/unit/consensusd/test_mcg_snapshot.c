/* The control group's state is the same everywhere, byte by byte, and bounded. */
#include "tests/unit/consensusd/mcg_user.h"

#include <stdio.h>

#include "common/base/mem.h"

/* --- limits --- */

static void
test_members_are_bounded(void **state)
{
	struct mcg *m = mesh(MCG_MEMBERS_MAX);

	(void)state;
	expect(m, make_admit(MCG_MEMBERS_MAX + 1, 1), ERR_FULL);
	expect(m, make_admit(MCG_MEMBERS_MAX, 1), 0);
	expect(m, make_remove(7, false), 0);
	expect(m, make_admit(MCG_MEMBERS_MAX + 1, 2), 0);
	finish(m);
}

static void
test_former_ones_are_bounded(void **state)
{
	struct mcg *m = mesh(5);

	(void)state;
	expect(m, make_remove(2, false), 0);
	expect(m, make_remove(3, false), 0);
	for (uint64_t node = 100; node < 100 + MCG_FORMER_MAX; node++)
		assert_int_equal(apply(m, make_remove(node, true)).err, 0);
	/* Those that had left were forgotten for it; nobody else can be. */
	assert_null(mcg_member_get(m, 2));
	assert_null(mcg_member_get(m, 3));
	expect(m, make_remove(99, true), ERR_FULL);
	expect(m, make_remove(4, true), ERR_FULL);
	expect(m, make_remove(4, false), 0);
	assert_null(mcg_member_get(m, 4));
	expect(m, make_readmit(100), 0);
	expect(m, make_remove(5, true), 0);
	assert_null(mcg_member_get(m, 100));
	assert_int_equal(mcg_member_count(m), 1 + MCG_FORMER_MAX);
	finish(m);
}

static void
test_tokens_are_bounded(void **state)
{
	struct mcg *m = mesh(2);
	struct mcg_cmd c = make_admit(2, 1002);

	(void)state;
	for (uint64_t i = 1; i <= MCG_TOKENS_MAX; i++) {
		be_store64(c.u.admit.token_id.b, i);
		assert_int_equal(apply(m, c).err, 0);
	}
	c.u.admit = make_member(3, 1003);
	be_store64(c.u.admit.token_id.b, 1);
	expect(m, c, ERR_DENIED);
	be_store64(c.u.admit.token_id.b, MCG_TOKENS_MAX + 1);
	expect(m, c, 0);
	be_store64(c.u.admit.token_id.b, 2);
	c.u.admit.replica++;
	expect(m, c, ERR_DENIED);
	be_store64(c.u.admit.token_id.b, 1);
	expect(m, c, 0);
	finish(m);
}

static void
test_keys_are_bounded(void **state)
{
	struct mcg *m = mesh(2);
	char tenant[16];

	(void)state;
	for (size_t i = 0; i < MCG_KEYS_MAX; i++) {
		snprintf(tenant, sizeof(tenant), "t%zu", i / 2);
		expect(m, make_key(MCG_KEY, tenant, 1 + i % 2, 1, 1, room), 0);
	}
	expect(m, make_key(MCG_KEY, "another", 1, 1, 1, room), ERR_FULL);
	expect(m, make_key(MCG_KEY, "t0", 3, 1, 1, room), 0);
	finish(m);
}

static void
test_boxes_are_bounded(void **state)
{
	uint8_t *all = mem_calloc(MCG_SEALED_MAX, MCG_SEALED_BYTES);
	struct mcg *m = mesh(MCG_MEMBERS_MAX);
	char tenant[16] = "t0";
	struct mcg_cmd c;

	(void)state;
	for (size_t i = 0; i < MCG_SEALED_MAX; i++)
		be_store64(all + i * MCG_SEALED_BYTES, i + 1);
	for (size_t i = 0; i < MCG_BOXES_MAX / MCG_SEALED_MAX; i++) {
		snprintf(tenant, sizeof(tenant), "t%zu", i / 2);
		c = make_key(MCG_KEY, tenant, 1 + i % 2, 1, 1, room);
		c.u.key.sealed = all;
		c.u.key.sealed_count = MCG_SEALED_MAX;
		expect(m, c, 0);
	}
	expect(m, make_key(MCG_KEY, "another", 1, 1, 1, room), ERR_FULL);
	expect(m, make_key(MCG_KEY, tenant, 3, 1, 1, room), 0); /* an old one goes for it */
	expect(m, make_key(MCG_KEY, "another", 1, 1, 1, room), 0);
	mem_free(all);
	finish(m);
}

/* --- snapshots --- */

/* Something of everything. */
static struct mcg *
full(void)
{
	struct mcg *m = mesh(4);
	struct mcg_cmd c = make_admit(5, 1005);

	c.u.admit.token_id.b[3] = 1;
	expect(m, c, 0);
	expect(m, make_remove(3, false), 0);
	expect(m, make_remove(4, true), 0);
	expect(m, make_config("a", "1", UINT64_MAX), 0);
	expect(m, make_config("b", "{}", UINT64_MAX), 0);
	expect(m, make_config("c", "{}", UINT64_MAX), 0);
	expect(m, make_config("c", NULL, UINT64_MAX), 0);
	expect(m, make_key(MCG_KEY, "", 1, 1, 2, room), 0);
	expect(m, make_key(MCG_KEY, "acme", 1, 1, 2, room), 0);
	expect(m, make_update(1, "one", 3), 0);
	expect(m, make_prune(mcg_index(m)), 0);
	expect(m, make_update(2, "two", 3), 0);
	c = make_state(2, true);
	assert_int_equal(apply_as(m, &c, CLIENT, 0).err, 0);
	assert_int_equal(apply_as(m, &c, CLIENT, 1).err, 0);
	assert_int_equal(apply_as(m, &c, CLIENT, 3).err, 0);
	return m;
}

static void
test_restore_takes_the_place(void **state)
{
	struct mcg *m = full(), *other = mesh(2);
	struct buf b;

	(void)state;
	expect(other, make_update(9, "gone", 4), 0);
	snapshot(m, &b);
	assert_int_equal(mcg_restore(other, buf_head(&b), buf_left(&b)), 0);
	assert_same(m, other);
	expect(other, make_update(9, "gone", 4), 0);
	expect(m, make_update(9, "gone", 4), 0);
	assert_same(m, other);
	buf_fini(&b);
	mcg_free(other);
	finish(m);
}

static void
test_restore_refuses(void **state)
{
	struct mcg *m = full(), *before = copy(m), *got = unseeded();
	struct buf b, again;

	(void)state;
	snapshot(m, &b);
	for (size_t len = 0; len < buf_left(&b); len++)
		assert_int_not_equal(mcg_restore(m, buf_head(&b), len), 0);
	assert_same(m, before);
	assert_int_equal(buf_put_u8(&b, 0), 0);
	assert_int_equal(mcg_restore(m, buf_head(&b), buf_left(&b)), ERR_LEFTOVER);
	/* Each byte as another: refused, or it is another state with this encoding. */
	for (size_t at = 0; at < buf_left(&b) - 1; at++) {
		uint8_t *data = mem_dup(buf_head(&b), buf_left(&b) - 1);

		data[at] ^= 1;
		if (mcg_restore(got, data, buf_left(&b) - 1) == 0) {
			snapshot(got, &again);
			assert_int_equal(buf_left(&again), buf_left(&b) - 1);
			assert_memory_equal(buf_head(&again), data, buf_left(&b) - 1);
			buf_fini(&again);
		}
		mem_free(data);
	}
	buf_fini(&b);
	mcg_free(got);
	mcg_free(before);
	finish(m);
}

static void
test_restore_without_memory(void **state)
{
	struct mcg *m = full(), *got = mesh(2), *before = copy(got);
	unsigned long n = 0;
	struct buf b;
	int err;

	(void)state;
	snapshot(m, &b);
	do {
		mem_fail_at(++n);
		err = mcg_restore(got, buf_head(&b), buf_left(&b));
		mem_fail_at(0);
		assert_true(err == 0 || err == ERR_NOMEM);
		if (err != 0)
			assert_same(got, before);
	} while (err != 0);
	assert_true(n > 20);
	assert_same(got, m);
	buf_fini(&b);
	mcg_free(before);
	mcg_free(got);
	finish(m);
}

/* --- random commands --- */

struct walk {
	struct rng rng;
	struct mcg *a, *b;
	uint64_t next_seq[MAKE_CLIENTS];
};

static struct raft_entry *
random_entry(struct walk *w)
{
	uint64_t index = mcg_index(w->a) + 1, c = rng_below(&w->rng, MAKE_CLIENTS), seq;
	struct mcg_cmd cmd = index == 1 ? make_seed() : make_random(&w->rng, index, room);

	if (c == 0)
		return make_entry(&cmd, index, 0, 0);
	/* The next, one that was there, or one ahead. */
	seq = w->next_seq[c];
	if (rng_below(&w->rng, 4) == 0)
		seq = rng_below(&w->rng, seq + 3);
	if (seq >= w->next_seq[c])
		w->next_seq[c] = seq + 1;
	return make_entry(&cmd, index, CLIENT + c, seq);
}

/* Fails each allocation in turn; the state has to be as it was, until none fails. */
static void
apply_without_memory(struct mcg *m, struct raft_entry *e, struct mcg_result *r)
{
	unsigned long n = 0;
	struct buf before, after;
	int err;

	snapshot(m, &before);
	do {
		mem_fail_at(++n);
		err = mcg_apply(m, e, r);
		mem_fail_at(0);
		if (err == 0)
			break;
		assert_int_equal(err, ERR_NOMEM);
		snapshot(m, &after);
		assert_int_equal(buf_left(&before), buf_left(&after));
		assert_memory_equal(buf_head(&before), buf_head(&after), buf_left(&before));
		buf_fini(&after);
	} while (n < 20);
	assert_int_equal(err, 0);
	buf_fini(&before);
}

static void
one_step(struct walk *w)
{
	struct raft_entry *e = random_entry(w), *same;
	struct mcg_result x, y;
	struct mcg *moved;

	/* Each has its own entry, as on two nodes. */
	same = raft_entry_new(e->type, e->client, e->seq, e->data, e->len);
	same->index = e->index;
	same->term = e->term;
	assert_int_equal(mcg_apply(w->a, e, &x), 0);
	apply_without_memory(w->b, same, &y);
	raft_entry_unref(e);
	raft_entry_unref(same);
	assert_int_equal(x.err, y.err);
	assert_int_equal(x.index, y.index);
	assert_int_equal(x.changes, y.changes);
	assert_int_equal(x.version, y.version);
	assert_true(x.repeated == y.repeated && x.session == y.session);
	if (rng_below(&w->rng, 20) == 0) {
		moved = copy(w->b);
		mcg_free(w->b);
		w->b = moved;
	}
	assert_same(w->a, w->b);
}

static void
test_random_commands(void **state)
{
	enum { SEEDS = 12, STEPS = 600 };

	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct walk w = {.a = unseeded(), .b = unseeded()};

		rng_seed(&w.rng, seed);
		for (size_t i = 0; i < STEPS; i++)
			one_step(&w);
		mcg_free(w.a);
		mcg_free(w.b);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_members_are_bounded),
	    cmocka_unit_test(test_former_ones_are_bounded),
	    cmocka_unit_test(test_tokens_are_bounded),
	    cmocka_unit_test(test_keys_are_bounded),
	    cmocka_unit_test(test_boxes_are_bounded),
	    cmocka_unit_test(test_restore_takes_the_place),
	    cmocka_unit_test(test_restore_refuses),
	    cmocka_unit_test(test_restore_without_memory),
	    cmocka_unit_test(test_random_commands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
