/* The store, against PostgreSQL: messages that failed, and dead letters. */
#include "tests/unit/consensusd/store_user.h"

static struct {
	size_t rows;
	bool done;
	int err;
	struct store_dead_letter last;
	uint8_t sealed[64];
} got;

static void
on_letter(void *arg, const struct store_dead_letter *row, int err)
{
	(void)arg;
	if (row == NULL) {
		got.done = true;
		got.err = err;
		return;
	}
	got.rows++;
	got.last = *row;
	assert_true(row->sealed_len <= sizeof(got.sealed));
	if (row->sealed_len > 0)
		memcpy(got.sealed, row->sealed, row->sealed_len);
}

static bool
is_told(struct user *u)
{
	(void)u;
	return got.done;
}

static size_t
list(struct user *u, const struct ulid *stream, const char *tenant, uint64_t after, size_t limit)
{
	memset(&got, 0, sizeof(got));
	assert_int_equal(store_read_letters(u->store, stream, tenant, after, limit, on_letter, NULL), 0);
	wait_until(u, is_told);
	assert_int_equal(got.err, 0);
	return got.rows;
}

static size_t
read_one(struct user *u, unsigned stream, uint64_t seq)
{
	struct ulid id = stream_id(stream);

	memset(&got, 0, sizeof(got));
	assert_int_equal(store_read_letter(u->store, &id, seq, on_letter, NULL), 0);
	wait_until(u, is_told);
	assert_int_equal(got.err, 0);
	return got.rows;
}

static struct store_letter
letter(enum store_letter_kind kind, unsigned stream, uint64_t seq)
{
	return (struct store_letter){.kind = kind,
	    .stream_id = stream_id(stream),
	    .seq = seq,
	    .tenant_id = "acme",
	    .src_node = OTHER_NODE,
	    .dst_node = NODE,
	    .attempts = 3,
	    .error = "b\xc3\xa4"
		     "d 'text'"};
}

static void
put_batch(struct user *u, unsigned stream, uint64_t first_seq)
{
	struct batch *b = batch_make(stream, first_seq, 5, 20);

	done(u, store_put_inbox(u->store, FRAME_CLASS_CLIENT, b, OTHER_NODE));
	batch_unref(b);
}

/* The letter is taken from the inbox in the flush that also clears it. */
static void
test_letters(void **state)
{
	struct user *u = user_ready();
	struct store_letter rows[] = {
	    letter(STORE_LETTER_ADD, 1, 7), letter(STORE_LETTER_ADD, 1, 8), letter(STORE_LETTER_CUT, 1, 8)};
	struct store_letter row = letter(STORE_LETTER_ATTEMPT, 1, 7);
	struct ulid id = stream_id(1), other = stream_id(2);

	(void)state;
	put_batch(u, 1, 1);
	put_batch(u, 1, 6);
	done(u, store_put_letter(u->store, FRAME_CLASS_CLIENT, &row));
	assert_int_equal(ask(u, "SELECT attempts FROM mesh.stream_attempts WHERE seq = 7"), 3);
	assert_true(store_put_processed_letters(
			u->store, FRAME_CLASS_CLIENT, &id, OTHER_NODE, NODE, 1, 10, rows, COUNT(rows)) > 0);
	done(u, store_put_inbox_clear(u->store, FRAME_CLASS_CLIENT, &id, 10));
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.inbox"), 0);
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.stream_attempts"), 0);
	assert_int_equal(ask(u, "SELECT committed_seq FROM mesh.stream_offsets"), 10);
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.delivery_log_messages WHERE state = 'failed'"
				" AND err = 'b??d ''text''' AND seq IN (7, 8)"),
	    2);
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.delivery_log_messages"), 10);
	/* Listed, and read with what opens them. */
	assert_int_equal(list(u, NULL, "", 0, 10), 2);
	assert_int_equal(got.last.seq, 8);
	assert_int_equal(list(u, &id, "acme", got.last.position - 1, 10), 1);
	assert_int_equal(list(u, &other, "", 0, 10), 0);
	assert_int_equal(list(u, NULL, "acme2", 0, 10), 0);
	assert_int_equal(list(u, NULL, "", 0, 1), 1);
	assert_int_equal(read_one(u, 1, 7), 1);
	assert_int_equal(got.last.first_seq, 6);
	assert_int_equal(got.last.epoch, 7);
	assert_int_equal(got.last.src_node, OTHER_NODE);
	assert_int_equal(got.last.nonce[0], 0xa2);
	assert_int_equal(got.last.sealed_len, 20);
	assert_int_equal(got.sealed[0], 7);
	assert_string_equal(got.last.error, "b??d 'text'");
	assert_int_equal(read_one(u, 1, 9), 0);
	user_free(u);
}

static void
test_resolved(void **state)
{
	struct user *u = user_ready();
	struct store_letter again = letter(STORE_LETTER_AGAIN, 1, 7), gone = letter(STORE_LETTER_DONE, 1, 7),
			    discard = letter(STORE_LETTER_DISCARD, 1, 8);

	(void)state;
	again.attempts = 9;
	done(u, store_put_letter(u->store, FRAME_CLASS_CLIENT, &again));
	assert_int_equal(read_one(u, 1, 7), 1);
	assert_int_equal(got.last.attempts, 9);
	assert_true(store_put_letter(u->store, FRAME_CLASS_CLIENT, &gone) > 0);
	done(u, store_put_letter(u->store, FRAME_CLASS_CLIENT, &discard));
	assert_int_equal(list(u, NULL, "", 0, 10), 0);
	/* One was processed after all, the other not. */
	assert_int_equal(ask(u, "SELECT seq FROM mesh.delivery_log_messages WHERE state = 'failed'"), 8);
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.delivery_log_messages WHERE state = 'done'"), 9);
	user_free(u);
}

static void
test_failing_allocations(void **state)
{
	struct store_letter row = letter(STORE_LETTER_ATTEMPT, 3, 1);
	struct user *u = user_ready();
	int64_t ticket = ERR_NOMEM;

	(void)state;
	for (unsigned long n = 1; ticket < 0; n++) {
		mem_fail_at(n);
		ticket = store_put_letter(u->store, FRAME_CLASS_CLIENT, &row);
		mem_fail_at(0);
		assert_true(n < 20 && (ticket > 0 || ticket == ERR_NOMEM));
	}
	done(u, ticket);
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.stream_attempts"), 1);
	user_free(u);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_letters),
	    cmocka_unit_test(test_resolved),
	    cmocka_unit_test(test_failing_allocations),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
