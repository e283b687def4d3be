/* Notes: the table of them, and messages. */
#include "tests/unit/consensusd/make_note.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/core/notes_msg.h"

/* --- the table --- */

static void
test_order(void **state)
{
	struct notes t;

	(void)state;
	notes_init(&t);
	assert_int_equal(put(&t, make_note(1, "a", 5, 1, 10)), 0);
	assert_int_equal(put(&t, make_note(1, "a", 5, 1, 10)), ERR_STALE);
	assert_int_equal(put(&t, make_note(1, "a", 4, 9, 10)), ERR_STALE);
	assert_int_equal(put(&t, make_note(1, "a", 5, 0, 10)), ERR_STALE);
	/* Two of one version: the higher signature, whoever comes first. */
	assert_int_equal(put(&t, make_note(1, "a", 5, 2, 20)), 0);
	assert_int_equal(put(&t, make_note(1, "a", 6, 0, 30)), 0);
	assert_int_equal(notes_get(&t, 1, "a")->len, 30);
	assert_int_equal(notes_get(&t, 1, "a")->position, 3);
	assert_null(notes_get(&t, 1, "b"));
	assert_null(notes_get(&t, 2, "a"));
	assert_int_equal(t.count, 1);
	assert_int_equal(t.bytes, sizeof(struct note) + 30);
	notes_fini(&t);
	assert_int_equal(t.bytes, 0);
}

static unsigned done_count, done_how;
static uint64_t done_version;

static void
count_done(void *arg, const struct note *n, uint64_t from, unsigned how)
{
	(void)arg;
	assert_int_equal(from, 7);
	done_count++;
	done_how = how;
	done_version = n->version;
}

/* What is not durable is not to be seen, and what was overtaken before it was, never. */
static void
test_staged(void **state)
{
	struct notes t;

	(void)state;
	done_count = 0;
	notes_init(&t);
	assert_int_equal(put(&t, make_note(1, "a", 1, 1, 0)), 0);
	assert_int_equal(stage(&t, make_note(1, "a", 2, 1, 0)), 0);
	assert_int_equal(stage(&t, make_note(1, "b", 1, 1, 0)), 0);
	assert_int_equal(notes_get(&t, 1, "a")->version, 1);
	assert_int_equal(notes_latest(&t, 1, "a")->version, 2);
	assert_null(notes_after(&t, 1));
	assert_int_equal(notes_first_of(notes_node_get(&t, 1))->current->version, 1);
	assert_int_equal(stage(&t, make_note(1, "a", 2, 1, 0)), ERR_STALE);
	assert_int_equal(stage(&t, make_note(1, "a", 3, 1, 0)), 0);
	notes_want(&t, 1, "a", 3, 2);
	notes_want(&t, 1, "a", 4, 4);
	notes_durable(&t, 3, count_done, NULL);
	assert_int_equal(done_count, 1); /* b; a's second version is passed over */
	assert_int_equal(notes_get(&t, 1, "a")->version, 1);
	assert_string_equal(notes_after(&t, 1)->type, "b");
	notes_durable(&t, 4, count_done, NULL);
	assert_int_equal(done_count, 2);
	assert_int_equal(done_version, 3);
	assert_int_equal(done_how, 3);
	/* The first version has gone from the order of positions. */
	assert_string_equal(notes_after(&t, 0)->type, "b");
	assert_string_equal(notes_after(&t, 3)->type, "a");
	assert_null(notes_after(&t, 4));
	assert_null(notes_after(&t, UINT64_MAX));
	assert_int_equal(t.staged_count, 0);
	/* Dropped while one is on its way. */
	assert_int_equal(stage(&t, make_note(1, "b", 2, 1, 100)), 0);
	assert_true(notes_drop(&t, 1));
	assert_false(notes_drop(&t, 1));
	notes_durable(&t, 5, count_done, NULL);
	assert_int_equal(done_count, 2);
	assert_int_equal(t.bytes + t.count + t.staged_count + t.removed_count, 0);
	assert_int_equal(notes_next_position(&t), 6);
	notes_fini(&t);
}

static void
test_limits(void **state)
{
	struct notes_entry *e;
	char type[NOTE_TYPE_SIZE];
	struct note *n;
	struct notes t;

	(void)state;
	notes_init(&t);
	for (int i = 0; i < NOTES_PER_NODE_MAX; i++) {
		snprintf(type, sizeof(type), "type-%d", i);
		assert_int_equal(put(&t, make_note(1, type, 1, 1, 0)), 0);
	}
	assert_int_equal(put(&t, make_note(1, "one-more", 1, 1, 0)), ERR_FULL);
	assert_false(notes_has_room(&t, 1));
	assert_true(notes_has_room(&t, 2));
	assert_int_equal(put(&t, make_note(1, "type-3", 2, 1, 0)), 0);
	t.max_count = NOTES_PER_NODE_MAX;
	assert_int_equal(put(&t, make_note(2, "a", 1, 1, 0)), ERR_FULL);
	assert_int_equal(t.refused, 2);
	/* Bytes: what takes another's place of its size still fits. */
	t.max_count = NOTES_MAX;
	t.max_bytes = t.bytes + sizeof(*n) + 1000;
	assert_int_equal(put(&t, make_note(2, "a", 1, 1, 1000)), 0);
	assert_int_equal(put(&t, make_note(2, "a", 2, 1, 1000)), 0);
	assert_int_equal(put(&t, make_note(2, "a", 3, 1, 1001)), ERR_FULL);
	assert_int_equal(put(&t, make_note(2, "b", 1, 1, 0)), ERR_FULL);
	assert_false(notes_has_room(&t, 2));
	/* A place that is given back leaves nothing. */
	t.max_bytes = NOTES_MAX_BYTES;
	n = make_note(3, "x", 1, 1, 0);
	assert_int_equal(notes_reserve(&t, n, &e), 0);
	notes_release(&t, e);
	assert_null(notes_node_get(&t, 3));
	note_unref(n);
	n = make_note(2, "a", 9, 1, 0);
	assert_int_equal(notes_reserve(&t, n, &e), 0);
	notes_release(&t, e);
	assert_non_null(notes_get(&t, 2, "a"));
	note_unref(n);
	notes_fini(&t);
}

static int
load(struct notes *t, struct note *n, uint64_t position)
{
	int err;

	n->position = position;
	err = notes_load(t, n);
	if (err != 0)
		note_unref(n);
	return err;
}

static void
test_load(void **state)
{
	struct notes t;

	(void)state;
	notes_init(&t);
	assert_int_equal(load(&t, make_note(1, "a", 1, 1, 0), 9), 0);
	assert_int_equal(load(&t, make_note(1, "b", 1, 1, 0), 4), 0);
	assert_int_equal(load(&t, make_note(1, "c", 1, 1, 0), 4), ERR_RANGE);
	assert_int_equal(load(&t, make_note(1, "c", 1, 1, 0), 0), ERR_RANGE);
	assert_int_equal(load(&t, make_note(1, "a", 1, 1, 0), 3), ERR_STALE);
	assert_int_equal(notes_next_position(&t), 10);
	notes_load_position(&t, 20);
	notes_load_position(&t, 15);
	assert_int_equal(notes_next_position(&t), 21);
	assert_int_equal(notes_after(&t, 4)->position, 9);
	notes_fini(&t);
}

/* Whatever can't be allocated, the table stays as it was. */
static void
test_memory(void **state)
{
	struct note *n = make_note(2, "b", 1, 1, 0);
	struct notes_entry *e;
	struct notes t;

	(void)state;
	notes_init(&t);
	assert_int_equal(put(&t, make_note(1, "a", 1, 1, 0)), 0);
	for (unsigned long k = 1; k <= 2; k++) {
		mem_fail_at(k);
		assert_int_equal(notes_reserve(&t, n, &e), ERR_NOMEM);
		mem_fail_at(0);
		assert_int_equal(t.count, 1);
		assert_null(notes_node_get(&t, 2));
	}
	mem_fail_at(1);
	assert_null(note_new(1, "a", 1, NULL, 0));
	mem_fail_at(0);
	note_unref(n);
	notes_fini(&t);
}

static void
test_hash(void **state)
{
	struct notes a, b;

	(void)state;
	notes_init(&a);
	notes_init(&b);
	assert_int_equal(put(&a, make_note(1, "x", 1, 1, 0)), 0);
	assert_int_equal(put(&a, make_note(1, "y", 2, 1, 0)), 0);
	assert_int_equal(put(&b, make_note(1, "y", 1, 1, 0)), 0);
	assert_int_equal(put(&b, make_note(1, "x", 1, 1, 0)), 0);
	assert_true(notes_node_get(&a, 1)->hash != notes_node_get(&b, 1)->hash);
	assert_int_equal(put(&b, make_note(1, "y", 2, 1, 0)), 0);
	assert_true(notes_node_get(&a, 1)->hash == notes_node_get(&b, 1)->hash);
	assert_int_equal(put(&b, make_note(1, "y", 2, 2, 0)), 0);
	assert_true(notes_node_get(&a, 1)->hash != notes_node_get(&b, 1)->hash);
	notes_fini(&a);
	notes_fini(&b);
}

static void
test_types(void **state)
{
	char longest[NOTE_TYPE_SIZE + 1];

	(void)state;
	memset(longest, 'x', sizeof(longest));
	longest[NOTE_TYPE_MAX + 1] = '\0';
	assert_false(note_type_valid(longest));
	longest[NOTE_TYPE_MAX] = '\0';
	assert_true(note_type_valid(longest));
	assert_true(note_type_valid("a/b.c:1"));
	assert_false(note_type_valid(""));
	assert_false(note_type_valid("a b"));
	assert_false(note_type_valid("\xc3\xa9"));
}

/* --- messages --- */

static void
test_message(void **state)
{
	struct notes_msg_writer *w = malloc(sizeof(*w));
	struct notes_msg_type type = {"a", 3, 9};
	struct notes_msg_note n;
	struct notes_msg m;
	struct note *note = make_note(5, "kind", 3, 7, NOTE_PAYLOAD_MAX_BYTES);
	uint64_t node;

	(void)state;
	notes_msg_begin(w, NOTES_PUSH, NOTES_PASS);
	assert_int_equal(notes_msg_put_note(w, note), 0);
	assert_int_equal(notes_msg_put_note(w, note), ERR_LIMIT);
	notes_msg_flag(w, NOTES_MORE);
	notes_msg_end(w);
	assert_int_equal(notes_msg_read(w->mem, w->len, &m), 0);
	assert_int_equal(m.flags, NOTES_PASS | NOTES_MORE);
	assert_true(notes_msg_next_note(&m, &n));
	assert_true(n.node == 5 && n.version == 3 && n.len == NOTE_PAYLOAD_MAX_BYTES && n.signature[63] == 7);
	assert_string_equal(n.type, "kind");
	assert_false(notes_msg_next_note(&m, &n));
	note_unref(note);
	/* Groups: one taken back, one walked past. */
	notes_msg_begin(w, NOTES_DETAIL, 0);
	assert_int_equal(notes_msg_put_group(w, 1), 0);
	assert_int_equal(notes_msg_put_type(w, &type), 0);
	type.type[0] = 'b';
	assert_int_equal(notes_msg_put_type(w, &type), 0);
	assert_int_equal(notes_msg_put_group(w, 2), 0);
	notes_msg_undo_group(w);
	assert_int_equal(notes_msg_put_group(w, 3), 0);
	notes_msg_end(w);
	assert_int_equal(notes_msg_read(w->mem, w->len, &m), 0);
	assert_true(notes_msg_next_group(&m, &node));
	assert_int_equal(node, 1);
	assert_true(notes_msg_next_type(&m, &type));
	assert_string_equal(type.type, "a");
	assert_int_equal(type.stamp, 9);
	assert_true(notes_msg_next_group(&m, &node));
	assert_int_equal(node, 3);
	assert_false(notes_msg_next_type(&m, &type));
	assert_false(notes_msg_next_group(&m, &node));
	free(w);
}

static void
assert_bad(const char *text, size_t len, int err)
{
	struct notes_msg m;

	assert_int_equal(notes_msg_read((const uint8_t *)text, len, &m), err);
}
#define BAD(text, err) assert_bad(text, sizeof(text) - 1, err)
#define U64(digit) "\0\0\0\0\0\0\0" digit

static void
test_message_bad(void **state)
{
	(void)state;
	BAD("", ERR_SHORT);
	BAD("\2\1\0\0\0", ERR_VERSION);
	BAD("\1\0\0\0\0", ERR_FORMAT);
	BAD("\1\7\0\0\0", ERR_FORMAT);
	BAD("\1\6\0\0\0", ERR_SHORT);
	BAD("\1\6\0" U64("\0") "\0\1", ERR_FORMAT);
	BAD("\1\6\0" U64("\0") "\0\0", 0);
	BAD("\1\1\020\0\1", ERR_FORMAT);              /* a flag that there is not */
	BAD("\1\4\0\0\0", ERR_FORMAT);                /* no item */
	BAD("\1\4\0\0\1" U64("\0") "\0", ERR_FORMAT); /* no node */
	BAD("\1\4\0\0\1" U64("\1") "\0", ERR_FORMAT); /* wants nothing */
	BAD("\1\4\0\0\1" U64("\1") "\1\1a", 0);
	BAD("\1\4\0\0\1" U64("\1") "\1\1a!", ERR_LEFTOVER);
	BAD("\1\4\0\0\2" U64("\1") "\1\1a", ERR_SHORT);
	BAD("\1\4\0\0\1" U64("\1") "\2\1b\1a", ERR_FORMAT); /* not in order */
	BAD("\1\4\0\0\1" U64("\1") "\2\1a\1a", ERR_FORMAT);
	BAD("\1\4\0\0\1" U64("\1") "\1\1 ", ERR_FORMAT);
	BAD("\1\5\0\0\1" U64("\1") "\1\1a" U64("\0"), ERR_FORMAT); /* no version */
	BAD("\1\5\0\0\1" U64("\1") "\1\1a" U64("\1"), 0);
	BAD("\1\2\0" U64("\5") U64("\5") "\0\0", ERR_FORMAT); /* a range of nothing */
	BAD("\1\2\0" U64("\0") U64("\5") "\0\0", 0);
	BAD("\1\2\0" U64("\0") U64("\5") "\0\1" U64("\6") "\1" U64("\1"), ERR_FORMAT); /* outside */
	BAD("\1\2\0" U64("\0") U64("\5") "\0\1" U64("\5") "\1" U64("\1"), 0);
	BAD("\1\2\0" U64("\0") U64("\5") "\0\1" U64("\5") "\0" U64("\1"), ERR_FORMAT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_order),
	    cmocka_unit_test(test_staged),
	    cmocka_unit_test(test_limits),
	    cmocka_unit_test(test_load),
	    cmocka_unit_test(test_memory),
	    cmocka_unit_test(test_hash),
	    cmocka_unit_test(test_types),
	    cmocka_unit_test(test_message),
	    cmocka_unit_test(test_message_bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
