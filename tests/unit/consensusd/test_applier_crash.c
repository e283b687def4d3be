/*
 * Whatever dies while updates are done (backends, connections, the server, the applier itself), each is done
 * once, in the order of the log.  And what the database says of itself is no fault of an update.
 */
#include "tests/unit/consensusd/applier_user.h"

#include "consensusd/dbline.h"

#include "common/base/err.h"
#include "common/base/rng.h"

enum { ROUNDS = 60, UPDATES = 1500 };

#define TRACE "db-table trace { columns n\n operations insert }\ndb-batch-max 16\n"
#define TRACE_SQL "CREATE TABLE trace (at bigserial, n bigint)"

static void
log_numbers(struct user *u, int count)
{
	char row[64];

	for (int i = 0; i < count; i++) {
		/* Not all that is in the log is a database update. */
		if (u->last % 7 == 3)
			u->last++;
		snprintf(row, sizeof(row), "{\"n\": %llu}", (unsigned long long)u->last + 1);
		log_update(u, "trace", "insert", "", row);
	}
}

/* No number twice, none left out, and each after those before it. */
static void
check_trace(struct user *u)
{
	char updates[24];
	size_t n = 0;

	for (uint64_t i = 1; i <= u->last; i++)
		n += u->log[i].payload != NULL;
	snprintf(updates, sizeof(updates), "%zu", n);
	assert_string_equal(ask(u, "SELECT count(*) FROM trace"), updates);
	assert_string_equal(ask(u, "SELECT count(DISTINCT n) FROM trace"), updates);
	assert_string_equal(ask(u, "SELECT count(*) FROM (SELECT n, lag(n) OVER (ORDER BY at) AS before"
				   " FROM trace) AS t WHERE before >= n"),
	    "0");
	assert_int_equal(u->failures, 0);
}

/* SIGKILL for the applier's backend, if it has one: the server then restarts all. */
static void
kill_backend(struct user *u)
{
	pid_t pid = (pid_t)strtol(ask(u, "SELECT coalesce(min(pid), 0) FROM pg_stat_activity WHERE"
					 " application_name = 'consensusd' AND query <> ''"),
	    NULL, 10);

	if (pid > 0)
		kill(pid, SIGKILL);
}

static void
end_backend(struct user *u)
{
	ask(u, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = "
	       "'consensusd'");
}

static uint64_t goal;

static bool
is_past_goal(struct user *u)
{
	return applier_position(u->applier) >= goal;
}

static void
test_every_update_once_and_in_order(void **state)
{
	const char *seed_text = getenv("SEED");
	uint64_t seed = seed_text != NULL ? strtoull(seed_text, NULL, 10) : (uint64_t)(pg_seconds() * 1e6);
	struct user *u = user_new(TRACE, TRACE_SQL);
	struct rng rng;

	(void)state;
	print_message("SEED=%llu\n", (unsigned long long)seed);
	rng_seed(&rng, seed);
	for (int round = 0; round < ROUNDS; round++) {
		log_numbers(u, UPDATES / ROUNDS);
		/* Some way into what there is, or not at all. */
		goal = applier_position(u->applier) +
		       rng_below(&rng, u->last - applier_position(u->applier) + 1);
		wait_until(u, is_past_goal);
		switch (rng_below(&rng, 16)) {
		case 0:
			kill_backend(u);
			break;
		case 1:
			pg_server_kill(&server);
			pg_server_start(&server, NULL);
			break;
		case 2:
		case 3:
		case 4:
		case 5:
			end_backend(u);
			break;
		case 6:
		case 7:
			reload(u, TRACE);
			break;
		default:
			/* The backend may work on and commit while the next one begins. */
			applier_stop(u);
			u->applied = 0;
			applier_start(u, TRACE);
		}
	}
	wait_until(u, is_through);
	check_trace(u);
	user_free(u);
}

/* Over a connection of its own: the other one has a transaction open. */
static bool
is_locked(struct user *u)
{
	struct user other = {.pg = NULL};
	bool locked =
	    strcmp(ask(&other, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
			       " AND application_name = 'consensusd'"),
		"1") == 0;

	(void)u;
	PQfinish(other.pg);
	return locked;
}

/* A backend whose connection is gone holds the position, and commits late. */
static void
test_a_late_commit_is_noticed(void **state)
{
	struct user *u = user_new(NULL,
	    TRACE_SQL ";"
		      "INSERT INTO mesh.handler_positions (handler, position) VALUES ('db', 0)");

	(void)state;
	log_update(u, "trace", "insert", "", "{\"n\": 1}");
	log_update(u, "trace", "insert", "", "{\"n\": 2}");
	ask(u, "BEGIN; INSERT INTO trace (n) VALUES (1);"
	       " UPDATE mesh.handler_positions SET position = 1 WHERE handler = 'db'");
	applier_start(u, TRACE);
	wait_until(u, is_locked);
	assert_int_equal(applier_position(u->applier), 0);
	ask(u, "COMMIT");
	wait_until(u, is_through);
	check_trace(u);
	user_free(u);
}

static bool
is_told(struct user *u)
{
	char why[512];

	return applier_trouble(u->applier, why, sizeof(why))[0] != '\0';
}

/* Locks that others hold are waited for, however long. */
static void
test_a_lock_is_no_fault(void **state)
{
	struct user *u = user_new(NULL, TRACE_SQL);

	(void)state;
	log_numbers(u, 3);
	ask(u, "BEGIN; LOCK TABLE trace");
	applier_start(u, TRACE "db-timeout 200ms");
	wait_until(u, is_told); /* that it has been tried again and again */
	assert_int_equal(applier_position(u->applier), 0);
	assert_int_equal(u->failures, 0);
	ask(u, "COMMIT");
	wait_until(u, is_through);
	assert_false(is_told(u));
	check_trace(u);
	user_free(u);
}

/* Out of time again and again: at last it is put aside. */
static void
test_out_of_time(void **state)
{
	struct user *u = user_new(TRACE "db-timeout 300ms\ndb-on-error skip",
	    TRACE_SQL "; CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
		      " $$ BEGIN IF NEW.n = 2 THEN PERFORM pg_sleep(60); END IF; RETURN NEW; END $$;"
		      " CREATE TRIGGER slow BEFORE INSERT ON trace FOR EACH ROW EXECUTE FUNCTION slow()");

	(void)state;
	for (int i = 1; i <= 3; i++) {
		char row[64];

		snprintf(row, sizeof(row), "{\"n\": %d}", i);
		log_update(u, "trace", "insert", "", row);
	}
	wait_until(u, is_through);
	assert_int_equal(u->failures, 1);
	assert_int_equal(u->failure.position, 2);
	assert_non_null(strstr(u->failure.error, "57014"));
	list(u, 0, 0);
	assert_int_equal(u->letters[0].attempts, DBLINE_TIMEOUTS_MAX);
	assert_string_equal(ask(u, "SELECT string_agg(n::text, ',' ORDER BY at) FROM trace"), "1,3");
	user_free(u);
}

/* A constraint that is checked only at COMMIT: the one that breaks it is found. */
static void
test_a_constraint_that_is_checked_at_the_end(void **state)
{
	struct user *u =
	    user_new(NULL, "CREATE TABLE trace (at bigserial, n bigint UNIQUE DEFERRABLE INITIALLY DEFERRED);"
			   " INSERT INTO trace (n) VALUES (9)");
	char row[64];

	(void)state;
	for (int i = 1; i <= 20; i++) {
		snprintf(row, sizeof(row), "{\"n\": %d}", i);
		log_update(u, "trace", "insert", "", row);
	}
	applier_start(u, TRACE "db-on-error skip");
	wait_until(u, is_through);
	assert_int_equal(u->failures, 1);
	assert_int_equal(u->failure.position, 9);
	assert_string_equal(ask(u, "SELECT count(*) FROM trace"), "20");
	user_free(u);
}

/* Who asks while the database is away, or goes away, is told. */
static void
test_requests_end_with_the_connection(void **state)
{
	struct user *u = user_new(TRACE, TRACE_SQL);

	(void)state;
	log_numbers(u, 3);
	wait_until(u, is_through);
	ask(u, "BEGIN; LOCK TABLE mesh.dead_letters");
	for (int i = 0; i < APPLIER_REQUESTS_MAX; i++)
		assert_int_equal(applier_resolve(u->applier, 0, true, on_letters, u, 4711), 0);
	assert_int_equal(applier_list(u->applier, 0, 0, on_letters, u, 4711), ERR_FULL);
	wait_until(u, is_locked);
	pg_server_kill(&server);
	wait_until(u, is_answered);
	assert_int_equal(u->answers, APPLIER_REQUESTS_MAX);
	assert_int_equal(u->answer_err, ERR_UNAVAIL);
	assert_int_equal(applier_list(u->applier, 0, 0, on_letters, u, 4711), ERR_UNAVAIL);
	pg_server_start(&server, NULL);
	log_numbers(u, 3);
	wait_until(u, is_through);
	check_trace(u);
	/* They may be asked for, and then not be waited for. */
	u->answers = 0;
	assert_int_equal(applier_list(u->applier, 0, 0, on_letters, u, 4711), 0);
	applier_stop(u);
	assert_int_equal(u->answers, 1);
	user_free(u);
}

/* The database went back in time: so does the applier. */
static void
test_a_backup_is_restored(void **state)
{
	struct user *u = user_new(TRACE, TRACE_SQL);

	(void)state;
	log_numbers(u, 30);
	wait_until(u, is_through);
	ask(u, "DELETE FROM trace WHERE n > 10; UPDATE mesh.handler_positions SET position = 10");
	end_backend(u);
	u->applied = 0;
	wait_until(u, is_through);
	check_trace(u);
	user_free(u);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_late_commit_is_noticed),
	    cmocka_unit_test(test_a_lock_is_no_fault),
	    cmocka_unit_test(test_out_of_time),
	    cmocka_unit_test(test_a_constraint_that_is_checked_at_the_end),
	    cmocka_unit_test(test_a_backup_is_restored),
	    cmocka_unit_test(test_requests_end_with_the_connection),
	    cmocka_unit_test(test_every_update_once_and_in_order),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
