/* The API of what all nodes get: updates, the configuration, keys; what is answered, and what is refused. */
#include "tests/unit/consensusd/virtual.h"

#include "consensusd/json_text.h"
#include "tests/unit/consensusd/mesh_user.h"

#define U1 "01ARZ3NDEKTSV4RRFFQ69G6001"
#define U2 "01ARZ3NDEKTSV4RRFFQ69G6002"

static struct env_call *
call(struct env_node *n, uint32_t type, const pb_msgdesc_t *fields, const void *msg)
{
	await_leader_known(n);
	env_forget(n, 1);
	env_send_pb(n->gateway, type, 1, fields, msg);
	return env_wait(n, 1);
}

static void
assert_refused(const struct env_call *x, enum code code, const char *part)
{
	if (x->done != 1 || x->code != code || strstr(x->message, part) == NULL)
		fail_msg(
		    "%u replies, code %u, '%s': not %u, '%s'", x->replies, x->code, x->message, code, part);
}

/* --- updates --- */

struct result {
	mesh_v1_BroadcastResult msg;
	struct pb_slice item[2][8];
	struct pb_raw_list applied, pending;
};

static struct env_call *
send_update(struct env_node *n, const char *id, const char *type, const char *mode, int64_t timeout_ms,
    const void *payload, size_t len)
{
	mesh_v1_MeshUpdate req = mesh_v1_MeshUpdate_init_zero;
	struct pb_slice slice = {payload, len};

	snprintf(req.update_id, sizeof(req.update_id), "%s", id);
	snprintf(req.type, sizeof(req.type), "%s", type);
	req.has_wait = true;
	snprintf(req.wait.mode, sizeof(req.wait.mode), "%s", mode);
	req.wait.timeout_ms = timeout_ms;
	pb_slice_encode(&req.payload, &slice);
	return call(n, GC_MESH_UPDATE, mesh_v1_MeshUpdate_fields, &req);
}

static void
read_result(const struct env_call *x, struct result *r)
{
	if (x->replies != 1)
		fail_msg("code %u: %s", x->code, x->message);
	*r = (struct result){.msg = mesh_v1_BroadcastResult_init_zero};
	r->applied = (struct pb_raw_list){r->item[0], 0, 8};
	r->pending = (struct pb_raw_list){r->item[1], 0, 8};
	pb_raw_list_decode(&r->msg.applied_nodes, &r->applied);
	pb_raw_list_decode(&r->msg.pending_nodes, &r->pending);
	assert_int_equal(
	    pb_unpack(buf_head(&x->body), buf_left(&x->body), mesh_v1_BroadcastResult_fields, &r->msg), 0);
}

static void
test_update(void **state)
{
	struct result r, again;

	(void)state;
	seed_and_join();
	read_result(send_update(b, U1, "t", "all", 0, "x", 1), &r);
	assert_true(r.msg.success && r.msg.committed && !r.msg.repeated_update && r.msg.index > 0);
	assert_string_equal(r.msg.update_id, U1);
	assert_int_equal(r.applied.count, 3);
	assert_int_equal(r.pending.count, 0);
	/* The same again, anywhere: the first. */
	read_result(send_update(c, U1, "t", "committed", 0, "y", 1), &again);
	assert_true(again.msg.success && again.msg.repeated_update && again.msg.index == r.msg.index);
	read_result(send_update(c, "", "t", "quorum", 0, "", 0), &r);
	assert_true(r.msg.success && r.applied.count >= 2 && r.msg.update_id[0] != '\0');
	/* Nobody waits. */
	read_result(send_update(a, U2, "t", "none", 0, "z", 1), &r);
	assert_true(r.msg.success && !r.msg.committed && r.msg.index == 0);
	assert_string_equal(r.msg.update_id, U2);
	settle(3, 3);
	assert_true(mcg_update_last(mesh_mcg(mesh_of(c))) > 0);
}

static void
test_update_refused(void **state)
{
	static uint8_t large[MCG_UPDATE_MAX_BYTES + 1];

	(void)state;
	seed_and_join();
	assert_refused(send_update(a, "x", "t", "", 0, "", 0), CODE_INVALID_ARGUMENT, "ULID");
	assert_refused(
	    send_update(a, "00000000000000000000000000", "t", "", 0, "", 0), CODE_INVALID_ARGUMENT, "ULID");
	assert_refused(send_update(a, "", "", "", 0, "", 0), CODE_INVALID_ARGUMENT, "type");
	assert_refused(send_update(a, "", "a b", "", 0, "", 0), CODE_INVALID_ARGUMENT, "type");
	assert_refused(send_update(a, "", "\xc3\xa9", "", 0, "", 0), CODE_INVALID_ARGUMENT, "type");
	assert_refused(
	    send_update(a, "", "t", "most", 0, "", 0), CODE_INVALID_ARGUMENT, "mode 'most': committed");
	assert_refused(send_update(a, "", "t", "", -1, "", 0), CODE_INVALID_ARGUMENT, "timeout_ms");
	assert_refused(send_update(a, "", "t", "", 3600001, "", 0), CODE_INVALID_ARGUMENT, "timeout_ms");
	assert_refused(
	    send_update(a, "", "t", "", 0, large, sizeof(large)), CODE_INVALID_ARGUMENT, "at most 1 MiB");
	/* Members that are away keep what there is. */
	env_stop(c);
	for (unsigned i = 0; i < 20; i++) {
		struct env_call *x = send_update(a, "", "t", "", 0, large, 400000);

		if (x->replies == 0) {
			assert_refused(x, CODE_RESOURCE_EXHAUSTED, "updates-max");
			return;
		}
	}
	fail();
}

static void
test_update_in_vain(void **state)
{
	struct result r;

	(void)state;
	seed_and_join();
	env_stop(c);
	await_leader_known(a);
	read_result(send_update(a, "", "t", "all", 2000, "", 0), &r);
	assert_true(!r.msg.success && r.msg.committed && r.msg.index > 0);
	assert_non_null(strstr(r.msg.error, "not all members"));
	assert_int_equal(r.applied.count, 2);
	assert_int_equal(r.pending.count, 1);
	/* Nobody to commit it: the call's own time. */
	net_isolate(a, true);
	net_isolate(b, true);
	assert_refused(send_update(a, "", "t", "all", 1500, "", 0), CODE_DEADLINE_EXCEEDED, "may be applied");
}

static struct env_call *
send_row(struct env_node *n, const char *table, const char *operation, const char *key, const char *row)
{
	mesh_v1_DBUpdate req = mesh_v1_DBUpdate_init_zero;
	struct pb_slice keys = {(const uint8_t *)key, strlen(key)},
			rows = {(const uint8_t *)row, strlen(row)};

	snprintf(req.table, sizeof(req.table), "%s", table);
	snprintf(req.operation, sizeof(req.operation), "%s", operation);
	pb_slice_encode(&req.key, &keys);
	pb_slice_encode(&req.row, &rows);
	return call(n, GC_DB_UPDATE, mesh_v1_DBUpdate_fields, &req);
}

static void
test_rows(void **state)
{
	struct result r;

	(void)state;
	seed_and_join();
	read_result(send_row(a, "t", "insert", "", "{\"a\":1}"), &r);
	assert_true(r.msg.success);
	read_result(send_row(a, "t", "delete", "{\"a\":1}", ""), &r);
	assert_true(r.msg.success);
	assert_refused(send_row(a, "", "insert", "", "{}"), CODE_INVALID_ARGUMENT, "table");
	assert_refused(send_row(a, "t", "replace", "", "{}"), CODE_INVALID_ARGUMENT, "upsert");
	assert_refused(send_row(a, "t", "insert", "", "[1]"), CODE_INVALID_ARGUMENT, "not a JSON object");
	assert_refused(send_row(a, "t", "insert", "", ""), CODE_INVALID_ARGUMENT, "row is missing");
	assert_refused(send_row(a, "t", "update", "", "{}"), CODE_INVALID_ARGUMENT, "key is missing");
	assert_refused(
	    send_row(a, "t", "update", "{\"a\":1,\"a\":2}", "{}"), CODE_INVALID_ARGUMENT, "not JSON: line 1");
}

/* --- the configuration --- */

static struct env_call *
set_value(struct env_node *n, const char *key, const char *json, int64_t expected, bool removed)
{
	mesh_v1_ConfigEntry req = mesh_v1_ConfigEntry_init_zero;
	struct pb_slice slice = {(const uint8_t *)json, json != NULL ? strlen(json) : 0};

	snprintf(req.key, sizeof(req.key), "%s", key);
	if (json != NULL)
		pb_slice_encode(&req.value, &slice);
	req.has_expected_version = expected != -2;
	req.expected_version = expected;
	req.removed = removed;
	return call(n, GC_CONFIG_SET, mesh_v1_ConfigEntry_fields, &req);
}

static size_t
entries_of(const struct env_call *x, mesh_v1_ConfigEntry *first)
{
	static struct pb_slice item[64];
	mesh_v1_ConfigList msg = mesh_v1_ConfigList_init_zero;
	struct pb_raw_list list = {item, 0, 64};

	if (x->replies != 1)
		fail_msg("code %u: %s", x->code, x->message);
	pb_raw_list_decode(&msg.entries, &list);
	assert_int_equal(
	    pb_unpack(buf_head(&x->body), buf_left(&x->body), mesh_v1_ConfigList_fields, &msg), 0);
	*first = (mesh_v1_ConfigEntry)mesh_v1_ConfigEntry_init_zero;
	if (list.count != 0)
		assert_int_equal(pb_unpack(item[0].data, item[0].len, mesh_v1_ConfigEntry_fields, first), 0);
	return list.count;
}

static struct env_call *
get(struct env_node *n, uint32_t type, const char *key, int32_t limit)
{
	mesh_v1_ConfigReq req = {.limit = limit};

	snprintf(req.key, sizeof(req.key), "%s", key);
	return call(n, type, mesh_v1_ConfigReq_fields, &req);
}

static void
test_config(void **state)
{
	mesh_v1_ConfigEntry e;

	(void)state;
	seed_and_join();
	assert_int_equal(set_value(a, "x.a", "{\"n\":1}", -2, false)->replies, 1);
	assert_int_equal(set_value(b, "x.b", "2", 0, false)->replies, 1);
	assert_int_equal(set_value(c, "y", "null", -2, false)->replies, 1);
	assert_int_equal(set_value(b, "x.b", "3", 1, false)->replies, 1);
	assert_refused(set_value(b, "x.b", "3", 1, false), CODE_ABORTED, "another version");
	settle(3, 3);
	assert_int_equal(entries_of(get(c, GC_CONFIG_GET, "", 0), &e), 3);
	assert_string_equal(e.key, "x.a");
	assert_int_equal(entries_of(get(c, GC_CONFIG_GET, "x.*", 0), &e), 2);
	assert_int_equal(entries_of(get(c, GC_CONFIG_GET, "x.*", 1), &e), 1);
	assert_int_equal(entries_of(get(c, GC_CONFIG_GET, "x.b", 0), &e), 1);
	assert_true(e.version == 2 && !e.removed);
	assert_int_equal(entries_of(get(c, GC_CONFIG_GET, "z", 0), &e), 0);
	assert_int_equal(entries_of(get(c, GC_CONFIG_HISTORY, "x.b", 0), &e), 2);
	assert_true(e.version == 2);
	assert_int_equal(set_value(a, "x.b", NULL, -2, true)->replies, 1);
	assert_refused(set_value(a, "x.b", NULL, -2, true), CODE_NOT_FOUND, "no such key");
	assert_int_equal(entries_of(get(a, GC_CONFIG_GET, "x.*", 0), &e), 1);
	net_pass(100);
	assert_int_equal(entries_of(get(a, GC_CONFIG_HISTORY, "x.*", 0), &e), 4);
	assert_true(e.removed);
}

static void
test_config_refused(void **state)
{
	static char large[MCG_CONFIG_VALUE_MAX_BYTES + 8];

	(void)state;
	seed_and_join();
	memset(large, '1', sizeof(large) - 1);
	assert_refused(set_value(a, "", "1", -2, false), CODE_INVALID_ARGUMENT, "visible ASCII");
	assert_refused(set_value(a, "a*", "1", -2, false), CODE_INVALID_ARGUMENT, "visible ASCII");
	assert_refused(set_value(a, "k", "1", -1, false), CODE_INVALID_ARGUMENT, "negative");
	assert_refused(set_value(a, "k", "1", -2, true), CODE_INVALID_ARGUMENT, "no value");
	assert_refused(set_value(a, "k", "{", -2, false), CODE_INVALID_ARGUMENT, "not JSON: line 1");
	assert_refused(set_value(a, "k", "", -2, false), CODE_INVALID_ARGUMENT, "not JSON");
	assert_refused(set_value(a, "k", NULL, -2, false), CODE_INVALID_ARGUMENT, "not JSON");
	assert_refused(set_value(a, "k", large, -2, false), CODE_INVALID_ARGUMENT, "at most 65536");
	assert_refused(get(a, GC_CONFIG_GET, "", -1), CODE_INVALID_ARGUMENT, "limit");
	assert_refused(get(a, GC_CONFIG_HISTORY, "", 10001), CODE_INVALID_ARGUMENT, "limit");
	fake_dbs[0].away = true;
	fake_changed(&fake_dbs[0]);
	net_pass(10);
	assert_refused(get(a, GC_CONFIG_HISTORY, "", 0), CODE_UNAVAILABLE, "database");
}

/* --- keys --- */

static struct env_call *
rotate(struct env_node *n, const char *tenant, const char *names, int64_t valid_ms)
{
	mesh_v1_RotateKeyReq req = mesh_v1_RotateKeyReq_init_zero;
	struct pb_slice item[8];
	struct pb_list list = {item, 0};

	for (; *names != '\0'; names++)
		item[list.count++] = (struct pb_slice){(const uint8_t *)names, 1};
	snprintf(req.tenant_id, sizeof(req.tenant_id), "%s", tenant);
	req.valid_ms = valid_ms;
	pb_list_encode(&req.node_ids, &list);
	return call(n, GC_ROTATE_KEY, mesh_v1_RotateKeyReq_fields, &req);
}

static void
test_keys(void **state)
{
	mesh_v1_KeyInfo k = mesh_v1_KeyInfo_init_zero;
	mesh_v1_KeyList all = mesh_v1_KeyList_init_zero;
	struct pb_slice item[8];
	struct pb_raw_list list = {item, 0, 8};
	struct env_call *x;

	(void)state;
	seed_and_join();
	x = rotate(a, "acme", "ab", 0);
	assert_int_equal(x->replies, 1);
	assert_int_equal(pb_unpack(buf_head(&x->body), buf_left(&x->body), mesh_v1_KeyInfo_fields, &k), 0);
	assert_string_equal(k.tenant_id, "acme");
	assert_true(k.version == 1 && k.held && k.valid_until == 0 && strlen(k.key_id) == 16);
	assert_int_equal(rotate(a, "acme", "", 5000)->replies, 1);
	settle(3, 3);
	env_forget(c, 1);
	assert_int_equal(channel_send(c->gateway, GC_LIST_KEYS, 1, NULL, 0), 0);
	x = env_wait(c, 1);
	pb_raw_list_decode(&all.keys, &list);
	assert_int_equal(pb_unpack(buf_head(&x->body), buf_left(&x->body), mesh_v1_KeyList_fields, &all), 0);
	assert_int_equal(list.count, 3);
	for (size_t i = 0; i < list.count; i++) {
		assert_int_equal(pb_unpack(item[i].data, item[i].len, mesh_v1_KeyInfo_fields, &k), 0);
		assert_int_equal(k.held, k.tenant_id[0] == '\0');
	}
	assert_refused(rotate(a, "other", "", 0), CODE_NOT_FOUND, "no key yet");
	assert_refused(rotate(a, "acme", "x", 0), CODE_NOT_FOUND, "no node is known");
	assert_refused(rotate(a, "ACME", "ab", 0), CODE_INVALID_ARGUMENT, "tenant");
	assert_refused(rotate(a, "acme", "ab", -1), CODE_INVALID_ARGUMENT, "negative");
	assert_refused(rotate(a, "", "", 5000), CODE_INVALID_ARGUMENT, "of a tenant's key");
}

/* --- JSON --- */

static void
test_json(void **state)
{
	static char deep[100000];
	char why[160] = "";

	(void)state;
	assert_true(json_text_valid("1", 1, why, sizeof(why)));
	assert_true(json_text_valid(" [ ] ", 5, why, sizeof(why)));
	assert_true(json_text_object("{\"a\":{}}", 8, why, sizeof(why)));
	assert_false(json_text_valid("", 0, why, sizeof(why)));
	assert_false(json_text_valid(NULL, 0, why, sizeof(why)));
	assert_false(json_text_valid("1 2", 3, why, sizeof(why)));
	assert_false(json_text_valid("\"\xff\"", 3, why, sizeof(why)));
	assert_false(json_text_valid("{\"a\":1,\"a\":1}", 13, why, sizeof(why)));
	assert_non_null(strstr(why, "line 1"));
	assert_false(json_text_object("null", 4, why, sizeof(why)));
	assert_string_equal(why, "not a JSON object");
	/* What is nested too deep is refused, not followed. */
	memset(deep, '[', sizeof(deep));
	assert_false(json_text_valid(deep, sizeof(deep), why, sizeof(why)));
}

static int
setup(void **state)
{
	env_settings = " voter-stable 1s\n updates-max 2MB\n updates-keep 0\n";
	return net_setup(state);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, env_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_update),
	    TEST(test_update_refused),
	    TEST(test_update_in_vain),
	    TEST(test_rows),
	    TEST(test_config),
	    TEST(test_config_refused),
	    TEST(test_keys),
	    cmocka_unit_test(test_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
