/*
 * State of replicas in the store: what is loaded is what was put, whatever a flush had of one group, and what
 * is not whole is not told.
 */
#include "tests/unit/consensusd/raft_rows.h"

enum { MANY = 1000 };

static struct user *
again(struct user *u)
{
	wait_until(u, is_durable);
	user_free(u);
	return user_ready();
}

static void
forget(struct user *u, unsigned group)
{
	uint8_t id[STORE_GROUP_BYTES];

	group_id(id, group);
	done(u, store_put_raft_drop(u->store, id));
}

static void
test_round_trip(void **state)
{
	const uint64_t members[] = {NODE, UINT64_MAX};
	struct store_raft row = {.type = STORE_RAFT_DSG,
	    .replica = UINT64_MAX - 5,
	    .term = 9,
	    .vote = UINT64_MAX - 6,
	    .commit = 4,
	    .leader_node = NODE,
	    .members = members,
	    .member_count = 2};
	struct user *u = user_ready();
	const struct store_raft_state *r;

	(void)state;
	assert_int_equal(u->raft_count, 0);
	put(u, row, 1, 1, 6, 8);
	u = again(u);
	assert_int_equal(u->raft_count, 1);
	r = &u->rafts[0];
	assert_int_equal(r->type, STORE_RAFT_DSG);
	assert_true(r->replica == UINT64_MAX - 5 && r->vote == UINT64_MAX - 6);
	assert_int_equal(r->term, 9);
	assert_int_equal(r->commit, 4);
	assert_null(r->snap_data);
	assert_int_equal(r->entry_count, 6);
	for (uint64_t i = 0; i < 6; i++)
		entry_check(r->entries[i], i + 1, 8);
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.raft_groups WHERE members = '{4660,-1}'"
				" AND leader_id = 4660 AND type = 'DSG'"),
	    1);
	forget(u, 1);
	user_free(u);
}

static void
test_snapshots(void **state)
{
	const uint8_t config[] = {1, 2, 3}, data[] = {4, 5, 6, 7};
	const uint64_t members[] = {NODE, UINT64_MAX};
	struct store_raft row = {
	    .replica = 5, .term = 9, .leader_node = NODE, .members = members, .member_count = 2};
	struct user *u = user_ready();
	const struct store_raft_state *r;

	(void)state;
	put(u, row, 1, 1, 6, 8);
	/* A snapshot; entries that others may need stay below it, and are not told. */
	row = (struct store_raft){.type = STORE_RAFT_DSG,
	    .replica = 5,
	    .term = 10,
	    .commit = 6,
	    .snap_index = 5,
	    .snap_term = 8,
	    .snap_config = config,
	    .snap_config_len = sizeof(config),
	    .snap_data = data,
	    .snap_data_len = sizeof(data),
	    .keep = 4};
	put(u, row, 1, 7, 8, 10);
	u = again(u);
	r = &u->rafts[0];
	assert_int_equal(r->snap_index, 5);
	assert_int_equal(r->snap_term, 8);
	assert_int_equal(r->snap_config_len, 3);
	assert_int_equal(r->snap_data_len, 4);
	assert_memory_equal(r->snap_config, config, 3);
	assert_memory_equal(r->snap_data, data, 4);
	assert_int_equal(r->entry_count, 3);
	entry_check(r->entries[0], 6, 8);
	entry_check(r->entries[2], 8, 10);
	assert_int_equal(ask(u, "SELECT min(index) FROM mesh.raft_log"), 4);
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.raft_groups WHERE members = '{4660,-1}'"
				" AND leader_id IS NULL"),
	    1);
	/* One that was received takes the place of everything. */
	row.restore = true;
	row.keep = 0;
	row.snap_index = row.commit = 100;
	row.snap_term = row.term = 12;
	row.snap_config_len = 0;
	row.snap_data_len = 0;
	put(u, row, 1, 101, 100, 0);
	u = again(u);
	r = &u->rafts[0];
	assert_int_equal(r->snap_index, 100);
	assert_non_null(r->snap_data);
	assert_int_equal(r->snap_data_len, 0);
	assert_int_equal(r->entry_count, 0);
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.raft_log"), 0);
	forget(u, 1);
	u = again(u);
	assert_int_equal(u->raft_count, 0);
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.raft_snapshots"), 0);
	assert_int_equal(u->rolled_back, 0);
	user_free(u);
}

/* The same once with all puts in one flush, once with each in its own. */
static void
test_cut_and_write_again(void **state)
{
	(void)state;
	for (int together = 0; together < 2; together++) {
		struct user *u = user_ready();
		struct store_raft row = {.replica = 1, .term = 1};

		for (int step = 0; step < 6; step++) {
			switch (step) {
			case 0:
				put(u, row, 2, 1, 10, 1);
				break;
			case 1:
				row.term = 2;
				row.cut = 5;
				put(u, row, 2, 5, 7, 2);
				break;
			case 2:
				row.cut = 7;
				row.term = 3;
				put(u, row, 2, 7, 12, 3);
				break;
			case 3:
				row.cut = 0;
				put(u, row, 2, 13, 13, 3);
				break;
			case 4:
				row.cut = 13;
				row.term = 4;
				put(u, row, 2, 1, 0, 0); /* nothing new */
				break;
			default:
				row.cut = 0;
				row.commit = 6;
				put(u, row, 2, 13, 14, 4);
			}
			if (together == 0)
				wait_until(u, is_durable);
		}
		u = again(u);
		assert_int_equal(u->raft_count, 1);
		assert_int_equal(u->rafts[0].term, 4);
		assert_int_equal(u->rafts[0].commit, 6);
		assert_int_equal(u->rafts[0].entry_count, 14);
		for (uint64_t i = 1; i <= 14; i++)
			entry_check(u->rafts[0].entries[i - 1], i, i < 5 ? 1 : i < 7 ? 2 : i < 13 ? 3 : 4);
		/* Forgotten and begun anew in one flush. */
		if (together == 1) {
			uint8_t id[STORE_GROUP_BYTES];

			group_id(id, 2);
			put(u, row, 2, 15, 16, 4);
			assert_true(store_put_raft_drop(u->store, id) > 0);
			put(u, (struct store_raft){.replica = 9, .term = 1}, 2, 1, 2, 1);
			u = again(u);
			assert_int_equal(u->rafts[0].replica, 9);
			assert_int_equal(u->rafts[0].entry_count, 2);
		}
		assert_int_equal(u->rolled_back, 0);
		forget(u, 2);
		user_free(u);
	}
}

static void
test_many_groups_in_a_flush(void **state)
{
	struct user *u = user_ready();
	uint8_t large[70000] = {3};

	(void)state;
	for (unsigned n = 0; n < MANY; n++) {
		struct store_raft row = {.type = STORE_RAFT_DSG, .replica = n, .term = 3, .commit = 1};

		if (n % 100 == 7) {
			row.snap_index = 1;
			row.snap_term = 1;
			row.snap_data = large;
			row.snap_data_len = sizeof(large);
		}
		put(u, row, n, n % 100 == 7 ? 2 : 1, 2, 2);
	}
	u = again(u);
	assert_int_equal(u->raft_count, MANY);
	for (unsigned n = 0; n < MANY; n++) {
		assert_int_equal(u->rafts[n].replica, n);
		assert_int_equal(u->rafts[n].entry_count, n % 100 == 7 ? 1 : 2);
		assert_int_equal(u->rafts[n].snap_data_len, n % 100 == 7 ? sizeof(large) : 0);
		entry_check(u->rafts[n].entries[u->rafts[n].entry_count - 1], 2, 2);
	}
	for (unsigned n = 1; n < MANY; n++) {
		uint8_t id[STORE_GROUP_BYTES];

		group_id(id, n);
		assert_true(store_put_raft_drop(u->store, id) > 0);
	}
	forget(u, 0);
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.raft_log"), 0);
	user_free(u);
}

/* More than fits a statement: the largest entry there is, and several of them. */
static void
test_large_entries(void **state)
{
	struct user *u = user_ready();
	uint8_t *data = calloc(1, RAFT_DATA_MAX_BYTES);
	struct raft_entry *e[3];
	struct store_raft row = {.replica = 1, .term = 1, .cut = UINT64_MAX, .entries = e, .entry_count = 3};

	(void)state;
	group_id(row.group, 3);
	for (unsigned i = 0; i < 3; i++) {
		data[RAFT_DATA_MAX_BYTES - 1] = (uint8_t)i;
		e[i] = raft_entry_new(RAFT_DATA, 0, 0, data, RAFT_DATA_MAX_BYTES);
		e[i]->index = i + 1;
		e[i]->term = 1;
	}
	done(u, store_put_raft(u->store, &row));
	for (unsigned i = 0; i < 3; i++)
		raft_entry_unref(e[i]);
	u = again(u);
	assert_int_equal(u->rafts[0].entry_count, 3);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(u->rafts[0].entries[i]->data[RAFT_DATA_MAX_BYTES - 1], i);
	forget(u, 3);
	user_free(u);
	free(data);
}

/* What is not whole is not told, and said; the other groups are. */
static void
test_damage_is_told(void **state)
{
	static const struct {
		const char *sql, *why;
	} damages[] = {
	    {"DELETE FROM mesh.raft_log WHERE index = 4", "at index 4: the entry is missing"},
	    {"DELETE FROM mesh.raft_log WHERE index = 3", "at index 3: the entry is missing"},
	    {"DELETE FROM mesh.raft_log WHERE index > 4", "at index 5: more than that is committed"},
	    {"UPDATE mesh.raft_log SET term = 1 WHERE index = 5", "at index 5: its term is lower"},
	    {"UPDATE mesh.raft_log SET payload = '\\x09' WHERE index = 6", "at index 6: the entry can't be"},
	    {"UPDATE mesh.raft_groups SET term = 2 WHERE replica = 7", "the term of the group is lower"},
	    {"DELETE FROM mesh.raft_snapshots", "at index 2: its snapshot is missing"},
	    {"UPDATE mesh.raft_snapshots SET index = 1", "at index 2: its snapshot is not the one"},
	};
	struct user *u = user_ready();

	(void)state;
	for (size_t i = 0; i < COUNT(damages); i++) {
		uint8_t data[] = {1};
		struct store_raft row = {.replica = 7,
		    .term = 3,
		    .commit = 5,
		    .restore = true,
		    .snap_index = 2,
		    .snap_term = 3,
		    .snap_data = data,
		    .snap_data_len = 1};

		put(u, row, 4, 3, 6, 3);
		put(u, (struct store_raft){.replica = 8, .term = 1}, 5, 1, 1, 1);
		wait_until(u, is_durable);
		ask(u, damages[i].sql);
		u = again(u);
		assert_int_equal(u->rolled_back, 1);
		assert_non_null(strstr(u->why, damages[i].why));
		assert_non_null(strstr(u->why, "70707070-7070-7070-7070-707000000004"));
		assert_int_equal(u->raft_count, 1);
		assert_int_equal(u->rafts[0].replica, 8);
		forget(u, 4);
		forget(u, 5);
	}
	user_free(u);
}

/* A refused put changes nothing. */
static void
test_failing_allocations(void **state)
{
	const uint64_t members[] = {1};
	uint8_t data[] = {1}, id[STORE_GROUP_BYTES];
	struct user *u = user_ready();
	struct raft_entry *e = entry_make(1, 1);
	struct store_raft row = {.replica = 1,
	    .term = 1,
	    .members = members,
	    .member_count = 1,
	    .restore = true,
	    .snap_data = data,
	    .snap_data_len = 1,
	    .cut = UINT64_MAX,
	    .entries = &e,
	    .entry_count = 1};
	int64_t ticket = ERR_NOMEM;
	int failed = 0;

	(void)state;
	group_id(row.group, 6);
	for (unsigned long n = 1; ticket < 0; n++) {
		mem_fail_at(n);
		ticket = store_put_raft(u->store, &row);
		mem_fail_at(0);
		failed += ticket < 0;
		assert_true(n < 20 && (ticket > 0 || ticket == ERR_NOMEM));
	}
	assert_true(failed >= 4);
	/* While it is encoded: the connection is made anew. */
	mem_fail_at(1);
	done(u, ticket);
	mem_fail_at(0);
	user_free(u);
	raft_entry_unref(e);
	/* While it is loaded: it is tried again. */
	for (unsigned long n = 1; n < 60; n++) {
		u = user_new(NODE, true, true);
		mem_fail_at(n);
		wait_until(u, is_ready);
		mem_fail_at(0);
		assert_int_equal(u->raft_count, 1);
		assert_int_equal(u->rafts[0].entry_count, 1);
		assert_int_equal(u->rolled_back, 0);
		user_free(u);
	}
	u = user_ready();
	group_id(id, 6);
	done(u, store_put_raft_drop(u->store, id));
	user_free(u);
}

/* ---- a database that goes back in time ---- */

static void
backup(bool restore)
{
	char command[256];

	pg_server_stop(&server, SIGINT);
	snprintf(command, sizeof(command),
	    restore ? "rm -rf %s/data && cp -a %s/backup %s/data"
		    : "rm -rf %s/backup && cp -a %s/data %s/backup",
	    server.dir, server.dir, server.dir);
	assert_int_equal(system(command), 0);
	pg_server_start(&server, NULL);
}

static void
start_is(const char *why)
{
	struct user *u = user_ready();

	assert_int_equal(u->rolled_back, why != NULL);
	if (why != NULL)
		assert_non_null(strstr(u->why, why));
	assert_int_equal(u->raft_count, 1);
	user_free(u);
}

static void
test_restored_backup_is_noticed(void **state)
{
	struct store_raft row = {.replica = 1, .term = 1};
	struct user *u;

	(void)state;
	witness_fd = witness_file();
	u = user_ready();
	put(u, row, 8, 1, 1, 1);
	u = again(u);
	assert_int_equal(u->rolled_back, 0);
	user_free(u);
	backup(false);
	start_is(NULL);
	/* What is not a promise does not count: this backup is as good as what there is. */
	u = user_ready();
	put_out(u, 300, 1, 1, 1);
	wait_until(u, is_durable);
	user_free(u);
	backup(true);
	start_is(NULL);
	/* An entry does, also without a new term. */
	u = user_ready();
	put(u, row, 8, 2, 2, 1);
	u = again(u);
	assert_int_equal(u->rafts[0].entry_count, 2);
	user_free(u);
	backup(true);
	start_is("restored from a backup");
	/* Whatever is written then: it is not forgotten. */
	u = user_ready();
	put(u, row, 8, 2, 3, 1);
	wait_until(u, is_durable);
	user_free(u);
	for (int i = 0; i < 3; i++)
		start_is("must begin anew");
	/* And if the witness is lost, neither. */
	close(witness_fd);
	witness_fd = witness_file();
	start_is("is missing");
	start_is("is missing");
	trust_database = true;
	start_is(NULL);
	trust_database = false;
	start_is(NULL);
	assert_int_equal(pwrite(witness_fd, "x", 1, 20), 1);
	assert_int_equal(pwrite(witness_fd, "x", 1, 4096 + 20), 1);
	start_is("is damaged");
	close(witness_fd);
	witness_fd = -1;
}

/* The server set back while the process runs is a contradiction; at the next start the witness says so. */
static void
test_set_back_while_running(void **state)
{
	struct store_raft row = {.replica = 1, .term = 5};
	struct user *u;

	(void)state;
	witness_fd = witness_file();
	trust_database = true;
	u = user_ready();
	put(u, row, 8, 4, 4, 1);
	wait_until(u, is_durable);
	user_free(u);
	backup(false);
	u = user_ready();
	row.vote = 9;
	put(u, row, 8, 1, 0, 0);
	wait_until(u, is_durable);
	backup(true);
	wait_until(u, is_fatal);
	user_free(u);
	start_is("restored from a backup");
	close(witness_fd);
	/* Another database: the witness is older than it. */
	witness_fd = witness_file();
	start_is(NULL);
	trust_database = false;
	u = user_ready();
	ask(u, "SET client_min_messages = error; DROP SCHEMA mesh CASCADE");
	user_free(u);
	u = user_ready();
	assert_int_equal(u->rolled_back, 1);
	assert_non_null(strstr(u->why, "not the database"));
	assert_int_equal(u->raft_count, 0);
	user_free(u);
	close(witness_fd);
	witness_fd = -1;
}

/* A witness that can't be written at start is an error; while it runs it is said, and all goes on. */
static void
test_witness_that_fails(void **state)
{
	struct user *u;

	(void)state;
	witness_fd = open("/dev/full", O_RDWR | O_CLOEXEC);
	u = user_new(NODE, true, true);
	wait_until(u, is_fatal);
	assert_non_null(strstr(u->why, "witness"));
	user_free(u);
	close(witness_fd);
	witness_fd = witness_file();
	u = user_ready();
	put(u, (struct store_raft){.replica = 1, .term = 1}, 9, 1, 1, 1);
	wait_until(u, is_durable);
	close(witness_fd);
	put(u, (struct store_raft){.replica = 1, .term = 2}, 9, 2, 2, 1);
	wait_until(u, is_durable);
	witness_fd = -1;
	forget(u, 9);
	user_free(u);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_round_trip),
	    cmocka_unit_test(test_snapshots),
	    cmocka_unit_test(test_cut_and_write_again),
	    cmocka_unit_test(test_many_groups_in_a_flush),
	    cmocka_unit_test(test_large_entries),
	    cmocka_unit_test(test_damage_is_told),
	    cmocka_unit_test(test_failing_allocations),
	    cmocka_unit_test(test_restored_backup_is_noticed),
	    cmocka_unit_test(test_set_back_while_running),
	    cmocka_unit_test(test_witness_that_fails),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
