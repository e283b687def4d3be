/* The store, against PostgreSQL: keys of tenants, and which of them are of use. */
#include "tests/unit/consensusd/store_user.h"

#include "consensusd/store_pg.h"

static struct store_key
key(const char *tenant, uint64_t version, uint8_t id)
{
	struct store_key k = {.version = version};

	snprintf(k.tenant_id, sizeof(k.tenant_id), "%s", tenant);
	memset(k.key_id, id, sizeof(k.key_id));
	memset(k.box, (int)version, sizeof(k.box));
	return k;
}

static void
put_key(struct user *u, const char *tenant, uint64_t version, uint8_t id)
{
	struct store_key k = key(tenant, version, id);

	done(u, store_put_key(u->store, &k));
}

static void
age(struct user *u, const char *hours)
{
	char sql[128];

	snprintf(sql, sizeof(sql), "UPDATE mesh.tenant_keys SET seen = now() - interval '%s hours'", hours);
	ask(u, sql);
}

static long long
keys(struct user *u)
{
	return ask(u, "SELECT count(*) FROM mesh.tenant_keys");
}

static size_t pruned;

static bool
is_pruned(struct user *u)
{
	return u->gone_count >= pruned;
}

/* Has the keeper look, and waits until it found that many. */
static void
prune(struct user *u, size_t count)
{
	long long left = keys(u) - (long long)count;

	pruned = count;
	u->gone_count = 0;
	store_keeper_ask(u->store->keeper, STORE_TASK_KEYS);
	wait_until(u, is_pruned);
	assert_int_equal(keys(u), left);
}

static bool
is_seen(struct user *u)
{
	return ask(u, "SELECT count(*) FROM mesh.tenant_keys WHERE seen > now() - interval '1 hour'") > 0;
}

/* It looks, finds one of use, and notes that. */
static void
keep(struct user *u)
{
	age(u, "25");
	store_keeper_ask(u->store->keeper, STORE_TASK_KEYS);
	wait_until(u, is_seen);
	assert_int_equal(u->gone_count, 0);
	assert_int_equal(
	    ask(u, "SELECT version FROM mesh.tenant_keys WHERE seen > now() - interval '1 hour'"), 1);
}

static void
test_load(void **state)
{
	struct user *u = user_ready();

	(void)state;
	assert_int_equal(u->key_count, 0);
	put_key(u, "two", 2, 0xb2);
	put_key(u, "two", 1, 0xb1);
	put_key(u, "one", 1, 0xc1);
	put_key(u, "two", 2, 0xb2);
	user_free(u);
	u = user_ready();
	assert_int_equal(u->key_count, 3);
	assert_string_equal(u->keys[0].tenant_id, "one");
	assert_int_equal(u->keys[1].version, 1);
	assert_int_equal(u->keys[2].version, 2);
	assert_int_equal(u->keys[2].key_id[7], 0xb2);
	assert_int_equal(u->keys[2].box[79], 2);
	ask(u, "DELETE FROM mesh.tenant_keys");
	user_free(u);
}

/* Batches of batch_make() are sealed with 0xa1. */
static void
test_prune(void **state)
{
	struct ulid id = stream_id(1);
	struct store_letter letter = {
	    .kind = STORE_LETTER_ADD, .stream_id = id, .seq = 1, .tenant_id = "one"};
	struct user *u = user_ready();

	(void)state;
	put_key(u, "one", 1, 0xa1);
	put_key(u, "one", 2, 0xa2);
	put_key(u, "one", 3, 0xa3);
	put_key(u, "one", 4, 0xa4);
	put_key(u, "two", 1, 0xb1);
	put_out(u, 1, 1, 3, 10);
	put_in(u, 1, 1, 3);
	wait_until(u, is_durable);
	/* Not yet: those of no use were put less than a day ago. */
	age(u, "23");
	ask(u, "UPDATE mesh.tenant_keys SET seen = now() - interval '25 hours' WHERE version = 1");
	store_keeper_ask(u->store->keeper, STORE_TASK_KEYS);
	wait_until(u, is_seen);
	assert_int_equal(u->gone_count, 0);
	age(u, "25");
	/* One is of no use; two are the newest; another tenant has one alone. */
	prune(u, 1);
	assert_string_equal(u->gone[0].tenant_id, "one");
	assert_int_equal(u->gone[0].key_id[0], 0xa2);
	u->gone_count = 0;
	/* The outbox has the other, the inbox alone, a dead letter alone. */
	keep(u);
	done(u, store_put_outbox_clear(u->store, FRAME_CLASS_CLIENT, &id, 3));
	keep(u);
	done(u, store_put_letter(u->store, FRAME_CLASS_CLIENT, &letter));
	done(u, store_put_inbox_clear(u->store, FRAME_CLASS_CLIENT, &id, 3));
	keep(u);
	ask(u, "DELETE FROM mesh.stream_dead_letters");
	age(u, "25");
	prune(u, 1);
	assert_int_equal(u->gone[0].key_id[0], 0xa1);
	user_free(u);
}

/* A stream that is open names one. */
static void
test_stream(void **state)
{
	struct store_stream row = {.stream_id = stream_id(3),
	    .tenant_id = "three",
	    .src_node = NODE,
	    .dst_nodes = {OTHER_NODE},
	    .dst_count = 1,
	    .qos = "x",
	    .epoch = 1,
	    .created_unix_ms = 1};
	struct user *u = user_ready();

	(void)state;
	ask(u, "DELETE FROM mesh.tenant_keys");
	for (uint8_t i = 1; i <= 3; i++)
		put_key(u, "three", i, (uint8_t)(0xd0 + i));
	memset(row.key_id, 0xd1, sizeof(row.key_id));
	done(u, store_put_stream(u->store, &row));
	age(u, "25");
	store_keeper_ask(u->store->keeper, STORE_TASK_KEYS);
	wait_until(u, is_seen);
	row.state = STORE_STREAM_CLOSED;
	done(u, store_put_stream(u->store, &row));
	age(u, "25");
	prune(u, 1);
	assert_int_equal(u->gone[0].key_id[0], 0xd1);
	user_free(u);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_load),
	    cmocka_unit_test(test_prune),
	    cmocka_unit_test(test_stream),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
