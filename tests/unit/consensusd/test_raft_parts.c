/* The parts of Raft that stand alone: entries, memberships, the log in memory, messages on the wire. */
#include "tests/unit/unit.h"

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/core/raft_config.h"
#include "consensusd/core/raft_entry.h"
#include "consensusd/core/raft_log.h"
#include "consensusd/core/raft_msg.h"

enum { BUF_BYTES = 1 << 20 };

static struct raft_entry *
entry(uint64_t index, uint64_t term)
{
	struct raft_entry *e = raft_entry_new(RAFT_DATA, 7, index, "abc", 3);

	assert_non_null(e);
	e->index = index;
	e->term = term;
	return e;
}

/* --- entries --- */

static void
test_entry_round_trip(void **state)
{
	struct raft_entry *e = entry(1, 1), *got;
	struct buf b;

	(void)state;
	buf_init(&b, BUF_BYTES);
	assert_int_equal(raft_entry_encode(e, &b), 0);
	assert_int_equal(buf_left(&b), RAFT_ENTRY_HEAD_BYTES + 3);
	assert_int_equal(raft_entry_decode(buf_head(&b), buf_left(&b), &got), 0);
	assert_int_equal(got->type, RAFT_DATA);
	assert_int_equal(got->client, 7);
	assert_int_equal(got->seq, 1);
	assert_memory_equal(got->data, "abc", 3);
	raft_entry_unref(got);
	raft_entry_unref(e);
	buf_fini(&b);
}

static void
test_entry_refuses(void **state)
{
	static const uint8_t kind[RAFT_ENTRY_HEAD_BYTES] = {RAFT_ENTRY_TYPES};
	static const uint8_t noop[RAFT_ENTRY_HEAD_BYTES + 1] = {RAFT_NOOP};
	struct raft_entry *e;

	(void)state;
	assert_int_equal(raft_entry_decode(kind, sizeof(kind), &e), ERR_FORMAT);
	assert_int_equal(raft_entry_decode(noop, sizeof(noop), &e), ERR_FORMAT);
	assert_int_equal(raft_entry_decode(noop, RAFT_ENTRY_HEAD_BYTES - 1, &e), ERR_SHORT);
	assert_null(raft_entry_new(RAFT_DATA, 0, 0, noop, RAFT_DATA_MAX_BYTES + 1));
}

/* --- memberships --- */

static const struct raft_member three[] = {{3, 30, RAFT_VOTER}, {1, 10, RAFT_VOTER}, {2, 20, RAFT_LEARNER}};

static struct raft_config *
config(const struct raft_member *m, size_t count)
{
	struct raft_config *c;

	assert_int_equal(raft_config_new(m, count, &c), 0);
	return c;
}

static void
test_config_in_order(void **state)
{
	struct raft_config *c = config(three, 3);

	(void)state;
	assert_int_equal(c->members[0].id, 1);
	assert_int_equal(c->members[2].id, 3);
	assert_int_equal(raft_config_get(c, 2)->node, 20);
	assert_null(raft_config_get(c, 4));
	assert_false(raft_config_joint(c));
	raft_config_free(c);
}

static void
test_config_refuses(void **state)
{
	static const struct raft_member twice[] = {{1, 1, RAFT_VOTER}, {1, 2, RAFT_VOTER}};
	static const struct raft_member zero[] = {{0, 1, RAFT_VOTER}};
	static const struct raft_member nobody[] = {{1, 1, RAFT_LEARNER}};
	static const struct raft_member both[] = {{1, 1, RAFT_VOTER | RAFT_LEARNER}};
	struct raft_member many[RAFT_VOTERS_MAX + 1];
	struct raft_config *c;

	(void)state;
	assert_int_equal(raft_config_new(twice, 2, &c), ERR_RANGE);
	assert_int_equal(raft_config_new(zero, 1, &c), ERR_RANGE);
	assert_int_equal(raft_config_new(nobody, 1, &c), ERR_RANGE);
	assert_int_equal(raft_config_new(both, 1, &c), ERR_RANGE);
	for (size_t i = 0; i <= RAFT_VOTERS_MAX; i++)
		many[i] = (struct raft_member){i + 1, i + 1, RAFT_VOTER};
	assert_int_equal(raft_config_new(many, RAFT_VOTERS_MAX + 1, &c), ERR_RANGE);
	assert_int_equal(raft_config_new(many, RAFT_VOTERS_MAX, &c), 0);
	raft_config_free(c);
}

/* From voters 1 and 3 with learner 2, to voters 1 and 4 with learner 3. */
static void
test_config_between(void **state)
{
	static const struct raft_member next[] = {
	    {1, 10, RAFT_VOTER}, {4, 40, RAFT_VOTER}, {3, 30, RAFT_LEARNER}};
	struct raft_config *from = config(three, 3), *to = config(next, 3), *joint, *after;

	(void)state;
	assert_int_equal(raft_config_between(from, to, &joint), 0);
	assert_true(raft_config_joint(joint));
	assert_int_equal(raft_config_get(joint, 1)->role, RAFT_VOTER | RAFT_OLD_VOTER);
	assert_int_equal(raft_config_get(joint, 3)->role, RAFT_LEARNER | RAFT_OLD_VOTER);
	assert_int_equal(raft_config_get(joint, 4)->role, RAFT_VOTER);
	assert_int_equal(raft_config_after(joint, &after), 0);
	assert_int_equal(after->count, 3);
	for (size_t i = 0; i < after->count; i++)
		assert_memory_equal(&after->members[i].role, &to->members[i].role, 1);
	assert_true(raft_config_same_voters(after, to));
	assert_false(raft_config_same_voters(from, to));
	raft_config_free(from);
	raft_config_free(to);
	raft_config_free(joint);
	raft_config_free(after);
}

static void
test_config_wire(void **state)
{
	struct raft_config *c = config(three, 3), *got;
	struct buf b;
	uint8_t *data;
	size_t len;

	(void)state;
	buf_init(&b, BUF_BYTES);
	assert_int_equal(raft_config_encode(c, &b), 0);
	len = buf_left(&b);
	data = mem_dup(buf_head(&b), len);
	assert_non_null(data);
	assert_int_equal(raft_config_decode(data, len, &got), 0);
	assert_int_equal(got->count, 3);
	raft_config_free(got);
	for (size_t short_by = 1; short_by < len; short_by++)
		assert_int_equal(raft_config_decode(data, len - short_by, &got), ERR_SHORT);
	data[0]++;
	assert_int_equal(raft_config_decode(data, len, &got), ERR_VERSION);
	data[0]--;
	/* Ids that do not ascend: another encoding of the same. */
	data[len - RAFT_MEMBER_BYTES + 7] = 1;
	assert_int_not_equal(raft_config_decode(data, len, &got), 0);
	raft_config_free(c);
	mem_free(data);
	buf_fini(&b);
}

/* --- the log --- */

static void
push(struct raft_log *l, uint64_t first, uint64_t last, uint64_t term)
{
	assert_int_equal(raft_log_reserve(l, last - first + 1), 0);
	for (uint64_t i = first; i <= last; i++)
		raft_log_push(l, entry(i, term));
}

static void
test_log_terms(void **state)
{
	struct raft_log l;
	uint64_t term;

	(void)state;
	raft_log_init(&l);
	assert_true(raft_log_matches(&l, 0, 0));
	push(&l, 1, 3, 1);
	push(&l, 4, 6, 4);
	assert_int_equal(raft_log_last_term(&l), 4);
	assert_int_equal(raft_log_at_most(&l, 100, 3), 3);
	assert_int_equal(raft_log_at_most(&l, 2, 4), 2);
	assert_false(raft_log_term(&l, 7, &term));
	raft_log_compact(&l, 0);
	l.written = l.durable = 6;
	raft_log_compact(&l, 4);
	assert_int_equal(raft_log_first(&l), 5);
	assert_null(raft_log_get(&l, 4));
	assert_true(raft_log_matches(&l, 4, 4));
	assert_false(raft_log_term(&l, 3, &term));
	raft_log_fini(&l);
}

static void
test_log_truncate_says_what_to_cut(void **state)
{
	struct raft_log l;

	(void)state;
	raft_log_init(&l);
	push(&l, 1, 10, 1);
	l.written = 8;
	l.durable = 6;
	raft_log_truncate(&l, 9); /* was never written */
	assert_int_equal(l.cut, UINT64_MAX);
	assert_int_equal(l.written, 8);
	push(&l, 9, 9, 2);
	raft_log_truncate(&l, 5);
	assert_int_equal(l.cut, 5);
	assert_int_equal(l.written, 4);
	assert_int_equal(l.durable, 4);
	push(&l, 5, 6, 3);
	l.written = 6;
	raft_log_truncate(&l, 6); /* the lower of two cuts stays */
	assert_int_equal(l.cut, 5);
	raft_log_fini(&l);
}

static void
test_log_moves_and_counts(void **state)
{
	struct raft_log l;
	size_t cap;

	(void)state;
	raft_log_init(&l);
	for (uint64_t i = 1; i <= 10000; i++) {
		push(&l, i, i, 1);
		l.written = l.durable = i;
		if (i > 20)
			raft_log_compact(&l, i - 20);
	}
	cap = l.cap;
	assert_in_range(cap, 20, 128);
	assert_int_equal(l.count, 20);
	assert_int_equal(l.bytes, 20 * raft_entry_bytes(raft_log_get(&l, 10000)));
	raft_log_restore(&l, 20000, 3);
	assert_int_equal(l.bytes, 0);
	assert_int_equal(raft_log_last(&l), 20000);
	raft_log_fini(&l);
}

/* --- messages --- */

static struct raft_msg
append(void)
{
	struct raft_msg m = {
	    .kind = RAFT_APPEND, .to = 2, .from = 1, .term = 5, .index = 9, .log_term = 4, .commit = 8};

	m.entries = mem_calloc(2, sizeof(struct raft_entry *));
	assert_non_null(m.entries);
	m.entries[0] = entry(10, 4);
	m.entries[1] = entry(11, 5);
	m.entry_count = 2;
	return m;
}

static struct raft_msg
snapshot(void)
{
	struct raft_msg m = {.kind = RAFT_SNAPSHOT, .to = 2, .from = 1, .term = 5, .index = 9, .log_term = 4};

	m.config = mem_dup("config", 6);
	m.config_len = 6;
	m.chunk = mem_dup("chunk", 5);
	m.chunk_len = m.size = 5;
	return m;
}

static void
encode(const struct raft_msg *m, struct buf *b)
{
	buf_init(b, BUF_BYTES);
	assert_int_equal(raft_msg_encode(m, b), 0);
}

static void
test_msg_round_trip(void **state)
{
	struct raft_msg m = append(), got;
	struct buf b;

	(void)state;
	encode(&m, &b);
	assert_int_equal(raft_msg_decode(buf_head(&b), buf_left(&b), &got), 0);
	assert_int_equal(got.kind, RAFT_APPEND);
	assert_int_equal(got.index, 9);
	assert_int_equal(got.commit, 8);
	assert_int_equal(got.entry_count, 2);
	assert_int_equal(got.entries[1]->index, 11);
	assert_int_equal(got.entries[1]->term, 5);
	raft_msg_fini(&got);
	raft_msg_fini(&m);
	buf_fini(&b);
	m = snapshot();
	encode(&m, &b);
	assert_int_equal(raft_msg_decode(buf_head(&b), buf_left(&b), &got), 0);
	assert_memory_equal(got.chunk, "chunk", 5);
	assert_memory_equal(got.config, "config", 6);
	raft_msg_fini(&got);
	raft_msg_fini(&m);
	buf_fini(&b);
}

static void
refused_short(struct raft_msg *m)
{
	struct raft_msg got;
	struct buf b;

	encode(m, &b);
	for (size_t len = 0; len < buf_left(&b); len++) {
		assert_int_not_equal(raft_msg_decode(buf_head(&b), len, &got), 0);
		assert_int_equal(got.entry_count, 0);
	}
	assert_int_equal(buf_put_u8(&b, 0), 0);
	assert_int_equal(raft_msg_decode(buf_head(&b), buf_left(&b), &got), ERR_LEFTOVER);
	buf_fini(&b);
	raft_msg_fini(m);
}

static void
test_msg_cut_short(void **state)
{
	struct raft_msg a = append(), s = snapshot();

	(void)state;
	refused_short(&a);
	refused_short(&s);
}

static void
test_msg_refuses(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
		int err;
	} wrong[] = {
	    {0, RAFT_MSG_VERSION + 1, ERR_VERSION}, {1, 0, ERR_FORMAT}, {1, RAFT_KINDS, ERR_FORMAT},
	    {2, 0x80, ERR_FORMAT}, {27, 0xff, ERR_FORMAT}, /* an index beyond all */
	};
	struct raft_msg m = append(), got;
	struct buf b;

	(void)state;
	encode(&m, &b);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		uint8_t *data = mem_dup(buf_head(&b), buf_left(&b));

		assert_non_null(data);
		data[wrong[i].at] = wrong[i].value;
		assert_int_equal(raft_msg_decode(data, buf_left(&b), &got), wrong[i].err);
		mem_free(data);
	}
	buf_fini(&b);
	raft_msg_fini(&m);
}

static void
test_msg_without_memory(void **state)
{
	struct raft_msg m[] = {append(), snapshot()}, got;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		unsigned long n = 0;
		struct buf b;
		int err;

		encode(&m[i], &b);
		do {
			mem_fail_at(++n);
			err = raft_msg_decode(buf_head(&b), buf_left(&b), &got);
			mem_fail_at(0);
			assert_true(err == 0 || err == ERR_NOMEM);
		} while (err != 0);
		assert_in_range(n, 3, 4);
		raft_msg_fini(&got);
		raft_msg_fini(&m[i]);
		buf_fini(&b);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_entry_round_trip),
	    cmocka_unit_test(test_entry_refuses),
	    cmocka_unit_test(test_config_in_order),
	    cmocka_unit_test(test_config_refuses),
	    cmocka_unit_test(test_config_between),
	    cmocka_unit_test(test_config_wire),
	    cmocka_unit_test(test_log_terms),
	    cmocka_unit_test(test_log_truncate_says_what_to_cut),
	    cmocka_unit_test(test_log_moves_and_counts),
	    cmocka_unit_test(test_msg_round_trip),
	    cmocka_unit_test(test_msg_cut_short),
	    cmocka_unit_test(test_msg_refuses),
	    cmocka_unit_test(test_msg_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
