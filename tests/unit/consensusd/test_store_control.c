/*
 * What the control group keeps in the store: the mesh, its configuration and the history of that, updates of
 * nodes, positions of subscribers.
 */
#include "tests/unit/consensusd/store_user.h"

enum { HISTORY_COUNT = 200, T0_MS = 1000000, MANY_NOTES = 1200 };

static void
test_mesh(void **state)
{
	struct store_mesh row = {.mesh_id = stream_id(7),
	    .name = "north",
	    .description = "what it is \xff\x01",
	    .status = "up",
	    .created_unix_ms = UINT64_MAX};
	struct user *u = user_ready();

	(void)state;
	assert_true(store_put_mesh(u->store, &row) > 0);
	row.allow_join = true;
	done(u, store_put_mesh(u->store, &row));
	row.status = "down";
	row.created_unix_ms = 1700000000000;
	done(u, store_put_mesh(u->store, &row));
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.mesh WHERE name = 'north' AND status = 'down'"
				" AND allow_join AND description = 'what it is ?' || '?'"
				" AND created = to_timestamp(1700000000)"),
	    1);
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.mesh"), 1);
	user_free(u);
}

/* ---- configuration ---- */

static struct history {
	struct {
		char key[STORE_CONFIG_KEY_SIZE], json[32];
		bool removed;
		uint64_t version, index, node, unix_ms;
	} rows[HISTORY_COUNT];
	size_t count;
	int ends, err;
} history;

static void
on_change(void *arg, const struct store_config *row, int err)
{
	struct history *h = arg;

	if (row == NULL) {
		h->ends++;
		h->err = err;
		return;
	}
	assert_true(h->count < HISTORY_COUNT);
	snprintf(h->rows[h->count].key, sizeof(h->rows[0].key), "%s", row->key);
	snprintf(h->rows[h->count].json, sizeof(h->rows[0].json), "%.*s", (int)row->len,
	    row->json != NULL ? (const char *)row->json : "");
	h->rows[h->count].removed = row->json == NULL;
	h->rows[h->count].version = row->version;
	h->rows[h->count].index = row->index;
	h->rows[h->count].node = row->node;
	h->rows[h->count++].unix_ms = row->unix_ms;
}

static bool
is_history_read(struct user *u)
{
	(void)u;
	return history.ends > 0;
}

static void
read_history(struct user *u, const char *key, bool prefix, size_t limit)
{
	history = (struct history){0};
	assert_int_equal(store_read_config_history(u->store, key, prefix, limit, on_change, &history), 0);
	wait_until(u, is_history_read);
	assert_int_equal(history.ends, 1);
	assert_int_equal(history.err, 0);
}

static void
set(struct user *u, const char *key, const char *json, uint64_t version, uint64_t index)
{
	const struct store_config row = {.key = key,
	    .json = (const uint8_t *)json,
	    .len = json != NULL ? strlen(json) : 0,
	    .version = version,
	    .index = index,
	    .node = UINT64_MAX,
	    .unix_ms = T0_MS + index};
	int64_t ticket = store_put_config(u->store, &row);

	assert_true(ticket > 0);
	wanted = (uint64_t)ticket;
}

static void
set_all(struct user *u)
{
	set(u, "a.one", "1", 1, 10);
	set(u, "a.two", "{\"x\": [1, 2]}", 1, 11);
	set(u, "a.one", "2", 2, 12);
	set(u, "b", "true", 1, 13);
	set(u, "b", NULL, 2, 14);
	set(u, "a.one", "\"\\u0000\"", 3, 15); /* JSON, but nothing that jsonb takes */
	set(u, "c", "{no json \xff", 1, 16);
}

static void
check_all(struct user *u)
{
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.config_changes"), 7);
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.config_values"), 3);
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.config_kv WHERE value IS NULL"), 2);
	assert_int_equal(ask(u, "SELECT (value->'x'->>1)::int FROM mesh.config_kv WHERE key = 'a.two'"), 2);
	assert_int_equal(ask(u, "SELECT version FROM mesh.config_values WHERE key = 'a.one'"), 3);
	assert_int_equal(
	    ask(u, "SELECT count(*) FROM mesh.config_history WHERE node_id = mesh.node_text(-1)"), 7);
}

static void
test_configuration(void **state)
{
	char key[STORE_CONFIG_KEY_SIZE + 1];
	struct user *u = user_ready();

	(void)state;
	set_all(u);
	wait_until(u, is_durable);
	check_all(u);
	/* After a start all is applied again. */
	user_free(u);
	u = user_ready();
	set_all(u);
	wait_until(u, is_durable);
	check_all(u);
	read_history(u, "a.one", false, 100);
	assert_int_equal(history.count, 3);
	assert_string_equal(history.rows[0].json, "\"\\u0000\"");
	assert_int_equal(history.rows[0].unix_ms, T0_MS + 15);
	assert_true(history.rows[0].node == UINT64_MAX);
	assert_int_equal(history.rows[2].version, 1);
	assert_int_equal(history.rows[2].index, 10);
	read_history(u, "b", false, 1);
	assert_int_equal(history.count, 1);
	assert_true(history.rows[0].removed);
	read_history(u, "a.", true, 3);
	assert_int_equal(history.count, 3);
	assert_string_equal(history.rows[2].key, "a.two");
	read_history(u, "", true, SIZE_MAX);
	assert_int_equal(history.count, 7);
	read_history(u, "nobody", false, 10);
	assert_int_equal(history.count, 0);
	memset(key, 'k', sizeof(key));
	key[STORE_CONFIG_KEY_SIZE] = '\0';
	assert_int_equal(store_read_config_history(u->store, key, false, 1, on_change, NULL), ERR_RANGE);
	assert_int_equal(store_read_config_history(u->store, "\xff", true, 1, on_change, NULL), ERR_RANGE);
	assert_int_equal(store_put_config(u->store, &(struct store_config){.key = key}), ERR_RANGE);
	/* Another state: what was before it in the flush is history, too. */
	set(u, "d", "1", 1, 17);
	assert_true(store_put_config_clear(u->store) > 0);
	set(u, "c", "7", 1, 18);
	wait_until(u, is_durable);
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.config_changes"), 9);
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.config_values"), 1);
	assert_int_equal(ask(u, "SELECT value::int FROM mesh.config_kv WHERE key = 'c'"), 7);
	user_free(u);
}

static void
test_history_is_bounded(void **state)
{
	struct user *u = user_ready();
	char json[16];

	(void)state;
	for (unsigned i = 1; i <= 3 * STORE_CONFIG_CHANGES / 2; i++) {
		snprintf(json, sizeof(json), "%u", i);
		set(u, "often", json, i, 100 + i);
	}
	wait_until(u, is_durable);
	read_history(u, "often", false, 1000);
	assert_int_equal(history.count, STORE_CONFIG_CHANGES);
	assert_int_equal(history.rows[0].version, 3 * STORE_CONFIG_CHANGES / 2);
	assert_int_equal(history.rows[STORE_CONFIG_CHANGES - 1].version, STORE_CONFIG_CHANGES / 2 + 1);
	user_free(u);
}

/* ---- updates of nodes, and positions ---- */

static int64_t
put_note(struct user *u, uint64_t node, const char *type, uint64_t version, size_t len)
{
	uint8_t payload[100000], signature[64] = {9};
	const struct store_note row = {.node_id = node,
	    .type = type,
	    .version = version,
	    .payload = payload,
	    .payload_len = len,
	    .signature = signature,
	    .signature_len = sizeof(signature),
	    .unix_ms = UINT64_MAX,
	    .removed = version == 3,
	    .position = version + 5};

	memset(payload, (int)version, sizeof(payload));
	return store_put_note(u->store, &row);
}

static void
test_updates_of_nodes(void **state)
{
	struct user *u = user_ready();
	char type[STORE_NOTE_TYPE_SIZE + 1];

	(void)state;
	assert_int_equal(u->note_count, 0);
	assert_true(put_note(u, UINT64_MAX, "load", 1, 10) > 0);
	assert_true(put_note(u, UINT64_MAX, "load", 2, 100000) > 0);
	assert_true(put_note(u, UINT64_MAX, "\xff'\x01", 3, 0) > 0);
	assert_true(put_note(u, 5, "load", 1, 1) > 0);
	done(u, put_note(u, 5, "load", 7, 3));
	done(u, put_note(u, 5, "load", 8, 4));
	memset(type, 't', sizeof(type));
	type[STORE_NOTE_TYPE_SIZE] = '\0';
	assert_int_equal(put_note(u, 5, type, 1, 1), ERR_RANGE);
	assert_int_equal(put_note(u, 5, "", 1, 1), ERR_RANGE);
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.node_updates_text"), 3);
	user_free(u);
	u = user_ready();
	assert_int_equal(u->note_count, 3);
	assert_true(u->notes[0].node_id == UINT64_MAX);
	assert_string_equal(u->notes[0].type, "load");
	assert_int_equal(u->notes[0].version, 2);
	assert_int_equal(u->notes[0].payload_len, 100000);
	assert_int_equal(u->notes[0].payload[99999], 2);
	assert_int_equal(u->notes[0].signature_len, 64);
	assert_int_equal(u->notes[0].signature[0], 9);
	assert_int_equal(u->notes[0].position, 7);
	assert_true(u->notes[0].unix_ms == UINT64_MAX);
	assert_string_equal(u->notes[1].type, "\xff'\x01");
	assert_true(u->notes[1].removed);
	assert_int_equal(u->notes[2].version, 8);
	/* Several pages of them. */
	for (unsigned i = 0; i < MANY_NOTES; i++)
		assert_true(put_note(u, 1000 + i, "load", 1, 1000) > 0);
	done(u, put_note(u, 1000, "load", 2, 5));
	user_free(u);
	u = user_ready();
	assert_int_equal(u->note_count, 3 + MANY_NOTES);
	/* All of a node go, those that are in the same flush too, but for what comes after. */
	assert_true(put_note(u, 5, "other", 1, 1) > 0);
	assert_true(put_note(u, 1000, "other", 1, 1) > 0);
	assert_true(store_put_notes_drop(u->store, 5) > 0);
	assert_true(store_put_notes_drop(u->store, 12345) > 0);
	done(u, put_note(u, 5, "new", 1, 1));
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.node_updates"), 4 + MANY_NOTES);
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.node_updates WHERE node_id = 5"), 1);
	ask(u, "DELETE FROM mesh.node_updates");
	user_free(u);
}

static void
test_positions(void **state)
{
	struct store_position row = {.kind = 255, .subscriber = "some\xff", .position = 3};
	struct user *u = user_ready();
	char name[STORE_SUBSCRIBER_SIZE + 1];

	(void)state;
	assert_true(store_put_position(u->store, &row) > 0);
	row.position = UINT64_MAX;
	assert_true(store_put_position(u->store, &row) > 0);
	row.kind = 1;
	row.position = 4;
	assert_true(store_put_position(u->store, &row) > 0);
	row.subscriber = "";
	done(u, store_put_position(u->store, &row));
	memset(name, 'n', sizeof(name));
	name[STORE_SUBSCRIBER_SIZE] = '\0';
	row.subscriber = name;
	assert_int_equal(store_put_position(u->store, &row), ERR_RANGE);
	ask(u, "UPDATE mesh.update_positions SET updated = now() + interval '1 day' WHERE kind = 255");
	user_free(u);
	u = user_ready();
	assert_int_equal(u->position_count, 3);
	/* The node's own comes first, always. */
	assert_string_equal(u->positions[0].subscriber, "");
	assert_int_equal(u->positions[1].kind, 255);
	assert_string_equal(u->positions[1].subscriber, "some\xff");
	assert_true(u->positions[1].position == UINT64_MAX);
	/* The ones that moved last, up to a limit. */
	ask(u, "UPDATE mesh.update_positions SET updated = now() - interval '1 year' WHERE subscriber = ''");
	ask(u, "INSERT INTO mesh.update_positions SELECT 2, i::text::bytea, i, now() - interval '1 hour'"
	       " FROM generate_series(1, 5000) AS i");
	user_free(u);
	u = user_ready();
	assert_int_equal(u->position_count, STORE_POSITIONS_MAX);
	assert_string_equal(u->positions[0].subscriber, "");
	assert_int_equal(u->positions[1].kind, 255);
	user_free(u);
}

static void
test_failing_allocations(void **state)
{
	const struct store_mesh mesh = {.name = "", .description = "", .status = ""};
	const struct store_config config = {.key = "k", .json = (const uint8_t *)"1", .len = 1};
	const struct store_position position = {.subscriber = "s"};
	struct user *u = user_ready();
	int failed = 0;

	(void)state;
	for (int what = 0; what < 5; what++) {
		int64_t ticket = ERR_NOMEM;

		for (unsigned long n = 1; ticket < 0; n++) {
			mem_fail_at(n);
			ticket = what == 0   ? store_put_mesh(u->store, &mesh)
				 : what == 1 ? store_put_config(u->store, &config)
				 : what == 2 ? put_note(u, 1, "t", 1, 1)
				 : what == 3 ? store_put_notes_drop(u->store, 2)
					     : store_put_position(u->store, &position);
			mem_fail_at(0);
			failed += ticket < 0;
			assert_true(n < 20 && (ticket > 0 || ticket == ERR_NOMEM));
		}
		wanted = (uint64_t)ticket;
	}
	assert_true(failed >= 8);
	wait_until(u, is_durable);
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.config_values WHERE key = 'k'"), 1);
	user_free(u);
}

/* ---- rules about streams ---- */

static void
test_rules(void **state)
{
	struct store_rule r = {.control = {.kind = CONTROL_THROTTLE,
				   .side = CONTROL_SOURCE,
				   .scope = {.tenant = "one", .min_priority = INT32_MIN, .max_priority = -1},
				   .messages_per_s = 1000,
				   .bytes_per_s = THROTTLE_RATE_MAX,
				   .created_unix_ms = 7,
				   .reason = "slow \xff line"}};
	struct store_rule pause = {
	    .control = {.kind = CONTROL_PAUSE,
		.side = CONTROL_TARGET,
		.scope = {.stream_id = stream_id(3), .min_priority = INT32_MIN, .max_priority = INT32_MAX},
		.exception = true,
		.created_unix_ms = 5}};
	struct user *u = user_ready();

	(void)state;
	assert_true(store_put_rule(u->store, &pause) > 0);
	assert_true(store_put_rule(u->store, &r) > 0);
	r.control.messages_per_s = 5;
	done(u, store_put_rule(u->store, &r));
	user_free(u);
	u = user_ready();
	assert_int_equal(u->rule_count, 2);
	assert_int_equal(u->rules[0].kind, CONTROL_PAUSE);
	assert_true(u->rules[0].exception);
	assert_memory_equal(&u->rules[0].scope, &pause.control.scope, sizeof(pause.control.scope));
	assert_int_equal(u->rules[1].side, CONTROL_SOURCE);
	assert_memory_equal(&u->rules[1].scope, &r.control.scope, sizeof(r.control.scope));
	assert_int_equal(u->rules[1].messages_per_s, 5);
	assert_int_equal(u->rules[1].bytes_per_s, THROTTLE_RATE_MAX);
	assert_int_equal(u->rules[1].created_unix_ms, 7);
	assert_string_equal(u->rules[1].reason, "slow ? line");
	/* One goes, and comes back within a flush. */
	r.drop = pause.drop = true;
	assert_true(store_put_rule(u->store, &r) > 0);
	assert_true(store_put_rule(u->store, &pause) > 0);
	r.drop = false;
	done(u, store_put_rule(u->store, &r));
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.stream_controls"), 1);
	r.drop = true;
	done(u, store_put_rule(u->store, &r));
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.stream_controls"), 0);
	assert_int_equal(store_lag_ms(u->store), 0);
	assert_true(store_put_rule(u->store, &r) > 0);
	usleep(30000);
	assert_true(store_lag_ms(u->store) >= 30);
	done(u, store_put_rule(u->store, &r));
	assert_int_equal(store_lag_ms(u->store), 0);
	user_free(u);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_mesh),
	    cmocka_unit_test(test_configuration),
	    cmocka_unit_test(test_history_is_bounded),
	    cmocka_unit_test(test_updates_of_nodes),
	    cmocka_unit_test(test_positions),
	    cmocka_unit_test(test_rules),
	    cmocka_unit_test(test_failing_allocations),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
