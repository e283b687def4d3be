/*
 * The store while PostgreSQL, or the process, is killed in the middle of flushes: whatever became of
 * the one in doubt, nothing that was durable is lost and nothing is there twice.
 */
#include "tests/unit/consensusd/store_user.h"

enum { CRASHES = 12, CRASH_STREAMS = 3 };

/* What the crash test does between two looks at the clock. */
struct crash {
	uint64_t next_seq[CRASH_STREAMS];
	uint64_t durable_seq[CRASH_STREAMS];
	struct {
		uint64_t ticket, seq;
		unsigned stream;
	} pending[1 << 16];
	size_t pending_first, pending_end;
};
static struct crash crash;

static void
crash_check_durable(struct user *u)
{
	while (crash.pending_first < crash.pending_end &&
	       crash.pending[crash.pending_first].ticket <= u->durable) {
		unsigned stream = crash.pending[crash.pending_first].stream;

		crash.durable_seq[stream] = crash.pending[crash.pending_first++].seq;
	}
}

static bool
crash_until(struct user *u)
{
	static double until;

	crash_check_durable(u);
	if (until == 0)
		until = pg_seconds() + 0.02 + (double)(rand() % 100) / 1000;
	for (int i = 0; i < 5 && !store_full(u->store) && crash.pending_end < COUNT(crash.pending); i++) {
		unsigned stream = (unsigned)rand() % CRASH_STREAMS;
		uint32_t count = 1 + (uint32_t)rand() % 20;

		put_out(u, 100 + stream, crash.next_seq[stream], count, (size_t)rand() % 2000);
		crash.next_seq[stream] += count;
		crash.pending[crash.pending_end].ticket = wanted;
		crash.pending[crash.pending_end].stream = stream;
		crash.pending[crash.pending_end++].seq = crash.next_seq[stream] - 1;
	}
	if (pg_seconds() < until)
		return false;
	until = 0;
	return true;
}

static bool
crash_settled(struct user *u)
{
	crash_check_durable(u);
	return u->durable >= wanted;
}

/* An aggregate over the rows of a stream's outbox. */
static uint64_t
outbox_ask(struct user *u, unsigned stream, const char *what)
{
	char sql[256];

	snprintf(sql, sizeof(sql),
	    "SELECT coalesce(%s, 0) FROM mesh.outbox WHERE stream_id::text LIKE '%%-%012x'", what, stream);
	return (uint64_t)ask(u, sql);
}

static void
check_streams(struct user *u)
{
	for (unsigned i = 0; i < CRASH_STREAMS; i++) {
		uint64_t last = outbox_ask(u, 100 + i, "max(last_seq)");

		assert_true(last >= crash.durable_seq[i]);
		assert_true(last < crash.next_seq[i]);
		/* No gap, no overlap. */
		assert_int_equal(outbox_ask(u, 100 + i, "max(last_seq) - sum(last_seq - first_seq + 1)"), 0);
	}
}

/* SIGKILL in the middle of flushes: whatever became of the one in doubt, all is there once. */
static void
test_server_killed_in_the_middle(void **state)
{
	struct user *u = user_ready();
	unsigned seed = (unsigned)(time(NULL) ^ getpid());

	(void)state;
	print_message("seed %u\n", seed);
	srand(seed);
	for (unsigned i = 0; i < CRASH_STREAMS; i++)
		crash.next_seq[i] = 1;
	for (int i = 0; i < CRASHES; i++) {
		wait_until(u, is_ready);
		wait_until(u, crash_until);
		if (i % 3 == 2)
			ask(u, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
			       " WHERE application_name = 'consensusd'");
		else
			pg_server_kill(&server);
		if (i % 3 != 2) {
			wait_until(u, is_away);
			assert_true(store_full(u->store));
		}
		if (i % 3 != 2)
			pg_server_start(&server, NULL);
		check_streams(u);
	}
	wait_until(u, crash_settled);
	wait_until(u, is_ready);
	for (unsigned i = 0; i < CRASH_STREAMS; i++)
		assert_int_equal(crash.durable_seq[i], crash.next_seq[i] - 1);
	check_streams(u);
	assert_int_equal(u->fatal, 0);
	user_free(u);
}

/* The store goes away as in kill -9; the next one finds all that was durable. */
static void
test_process_killed_in_the_middle(void **state)
{
	(void)state;
	for (int i = 0; i < 5; i++) {
		struct user *u = user_ready();

		wait_until(u, crash_until);
		user_free(u);
		crash.pending_first = crash.pending_end = 0;
		u = user_ready();
		check_streams(u);
		for (unsigned n = 0; n < CRASH_STREAMS; n++)
			crash.next_seq[n] = outbox_ask(u, 100 + n, "max(last_seq)") + 1;
		user_free(u);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_server_killed_in_the_middle),
	    cmocka_unit_test(test_process_killed_in_the_middle),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
