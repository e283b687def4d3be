/* Dead letters as gatewayd asks for them, health that tells of one, and what is refused. */
#include "tests/unit/consensusd/env.h"

#include "tests/unit/consensusd/applier_user.h"

#define RULES "db-table items { columns a\n key id\n operations insert }\n"

static struct env_node *const a = &env.nodes[0];
static struct user *user;

static void
on_health_changed(void *ctx)
{
	struct engine *e = ctx;

	api_health_changed(e->api);
}

static bool
is_position_read(struct env *e)
{
	(void)e;
	return applier_list(a->engine.applier, 0, 0, on_letters, user, 4711) == 0;
}

static bool
is_listed(struct env *e)
{
	(void)e;
	return user->answers > 0;
}

/* An applier for node a, on its loop. */
static int
letters_setup(void **state)
{
	const struct applier_callbacks cb = {
	    .next = on_next, .applied = on_applied, .failed = on_failed, .ctx = NULL};
	struct applier_callbacks mine = cb;
	struct conf *conf = conf_of(RULES);

	env_setup(state);
	user = user_new(NULL, "SELECT 1");
	a->engine.applier = applier_new(env.loop, conf, NULL, on_health_changed, &a->engine);
	assert_non_null(a->engine.applier);
	applier_open(a->engine.applier);
	conf_free(conf);
	env_run(&env, is_position_read);
	env_run(&env, is_listed);
	mine.ctx = user;
	applier_attach(a->engine.applier, &mine);
	return 0;
}

static int
letters_teardown(void **state)
{
	env_teardown(state);
	user_free(user);
	return 0;
}

static struct env_call *
list_letters(int64_t after, int32_t limit)
{
	mesh_v1_DeadLetterReq req = {.after = after, .limit = limit};

	env_forget(a, 3);
	env_send_pb(a->gateway, GC_DEAD_LETTERS, 3, mesh_v1_DeadLetterReq_fields, &req);
	return env_wait(a, 3);
}

static struct env_call *
resolve_letter(int64_t position, const char *action)
{
	mesh_v1_ResolveDeadLetterReq req = {.position = position};

	snprintf(req.action, sizeof(req.action), "%s", action);
	env_forget(a, 3);
	env_send_pb(a->gateway, GC_RESOLVE, 3, mesh_v1_ResolveDeadLetterReq_fields, &req);
	return env_wait(a, 3);
}

/* The letters of an answer; the first one in *out. */
static size_t
letters_of(const struct env_call *call, mesh_v1_DeadLetter *out, struct pb_slice *row)
{
	mesh_v1_DeadLetterList m = mesh_v1_DeadLetterList_init_zero;
	struct pb_slice items[200];
	struct pb_raw_list raw = {.items = items, .max = COUNT(items)};

	assert_int_equal(call->replies, 1);
	pb_raw_list_decode(&m.letters, &raw);
	assert_int_equal(
	    pb_unpack(buf_head(&call->body), buf_left(&call->body), mesh_v1_DeadLetterList_fields, &m), 0);
	if (raw.count > 0) {
		*out = (mesh_v1_DeadLetter)mesh_v1_DeadLetter_init_zero;
		pb_slice_decode(&out->row, row);
		assert_int_equal(pb_unpack(items[0].data, items[0].len, mesh_v1_DeadLetter_fields, out), 0);
	}
	return raw.count;
}

static bool
has_failed(struct env *e)
{
	(void)e;
	return user->failures > 0;
}

static bool
is_applied(struct env *e)
{
	(void)e;
	return user->applied == user->last;
}

static void
test_letters(void **state)
{
	mesh_v1_DeadLetter letter;
	struct pb_slice row;
	char text[512];
	unsigned health = a->health;

	(void)state;
	log_update(user, "items", "insert", "", "{\"id\": 1, \"a\": \"\xc3\xa9\"}");
	log_update(user, "items", "insert", "", "{\"id\": 2}");
	applier_wake(a->engine.applier);
	env_run(&env, has_failed);
	assert_non_null(strstr(applier_trouble(a->engine.applier, text, sizeof(text)), "position 1"));

	assert_int_equal(letters_of(list_letters(0, 0), &letter, &row), 1);
	assert_true(a->health > health);
	assert_true(a->serving);
	assert_int_equal(letter.position, 1);
	assert_string_equal(letter.table, "items");
	assert_string_equal(letter.operation, "insert");
	assert_int_equal(letter.attempts, 1);
	assert_true(letter.blocking);
	assert_non_null(strstr(letter.error, "does not exist"));
	assert_string_equal(letter.update_id, "00040000000000000000000000");
	assert_int_equal(row.len, 20);
	assert_memory_equal(row.data, "{\"id\": 1, \"a\": \"\xc3\xa9\"}", 20);
	assert_int_equal(letters_of(list_letters(1, 5), &letter, &row), 0);

	assert_int_equal(letters_of(resolve_letter(1, "retry"), &letter, &row), 1);
	assert_int_equal(letter.attempts, 2);
	ask(user, "CREATE TABLE items (id integer PRIMARY KEY, a text)");
	assert_int_equal(letters_of(resolve_letter(0, "retry"), &letter, &row), 0);
	env_run(&env, is_applied);
	assert_string_equal(ask(user, "SELECT string_agg(id::text, ',') FROM items"), "1,2");
}

static void
assert_refused(const struct env_call *call, enum code code, const char *part)
{
	assert_int_equal(call->done, 1);
	assert_int_equal(call->code, code);
	if (strstr(call->message, part) == NULL)
		fail_msg("'%s' does not say '%s'", call->message, part);
}

static void
test_refused(void **state)
{
	(void)state;
	assert_refused(list_letters(-1, 0), CODE_INVALID_ARGUMENT, "negative");
	assert_refused(list_letters(0, -1), CODE_INVALID_ARGUMENT, "negative");
	assert_refused(resolve_letter(-1, "retry"), CODE_INVALID_ARGUMENT, "negative");
	assert_refused(resolve_letter(1, ""), CODE_INVALID_ARGUMENT, "retry or discard");
	assert_refused(resolve_letter(1, "Retry"), CODE_INVALID_ARGUMENT, "retry or discard");
	assert_refused(resolve_letter(1, "retry"), CODE_NOT_FOUND, "position");
	assert_refused(resolve_letter(7, "discard"), CODE_NOT_FOUND, "position");
	env_forget(a, 3);
	assert_int_equal(channel_send(a->gateway, GC_DEAD_LETTERS, 3, "\xff", 1), 0);
	assert_refused(env_wait(a, 3), CODE_INVALID_ARGUMENT, "malformed");
	env_forget(a, 3);
	assert_int_equal(channel_send(a->gateway, GC_RESOLVE, 3, "\xff", 1), 0);
	assert_refused(env_wait(a, 3), CODE_INVALID_ARGUMENT, "malformed");
	pg_server_stop(&server, SIGINT);
	assert_refused(list_letters(0, 0), CODE_UNAVAILABLE, "can't be asked");
	pg_server_start(&server, NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, letters_setup, letters_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_letters),
	    TEST(test_refused),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
