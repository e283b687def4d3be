/* Keys of tenants that were rotated: what waits for days is still read, by those that may have the newest. */
#include "tests/unit/consensusd/virtual.h"

#include "consensusd/core/stream.h"
#include "consensusd/oldkeys.h"
#include "consensusd/source.h"
#include "consensusd/tag.h"
#include "consensusd/tenantkeys.h"
#include "tests/unit/consensusd/mesh_user.h"
#include "tests/unit/consensusd/relation_user.h"

#define STREAM "01ARZ3NDEKTSV4RRFFQ69G5FAV"

/* So many that the group's log is cut meanwhile: who was away gets a snapshot, with the two newest versions.
 */
enum { ROTATIONS = 40, EACH = 5, VALID_MS = 2000 };

static void
rotate(const char *tenant, const char *names)
{
	uint64_t nodes[ENV_NODES];
	struct outcome x = {0};
	size_t count = 0;

	for (; *names != '\0'; names++)
		nodes[count++] = net.who[*names - 'a'].id;
	await_leader_known(a);
	assert_int_equal(mesh_rotate(mesh_of(a), tenant, nodes, count, VALID_MS, 10000, on_outcome, &x), 0);
	await(&x);
	assert_ended_well(&x);
}

static const uint8_t *
newest_id(struct env_node *n)
{
	const struct mcg_key *k = mcg_key_get(mesh_mcg(mesh_of(n)), "one");

	assert_non_null(k);
	return k->key_id;
}

static struct source *
the_source(void)
{
	struct ulid id;

	assert_int_equal(ulid_parse(STREAM, &id), 0);
	return source_find(&a->engine, &id);
}

static bool
is_durable(struct env *e)
{
	(void)e;
	return the_source()->stream->durable_seq >= wanted;
}

static bool
b_got(struct env *e)
{
	return e->nodes[1].calls[9].last_seq >= (int64_t)wanted;
}

static bool
b_stored(struct env *e)
{
	return e->nodes[1].engine.sinks != NULL && fake_dbs[1].box_counts[STORE_INBOX] > 0 &&
	       e->nodes[1].engine.sinks->target->stored_seq >= wanted;
}

/* A mesh whose tenant has a key of the group, and a stream from a to b. */
static void
begin(void)
{
	seed_and_join();
	rotate("one", "abc");
	settle(3, 3);
	env_open(a, "one", STREAM, "b");
}

static void
publish_and_rotate(unsigned from)
{
	for (unsigned i = 0; i < ROTATIONS; i++) {
		publish_to(STREAM, EACH);
		until(is_durable, from + (i + 1) * EACH);
		rotate("one", "");
		net_pass(20);
	}
	publish_to(STREAM, EACH);
	until(is_durable, from + (ROTATIONS + 1) * EACH);
}

/* It has not seen the versions in between. */
static void
assert_b_was_restored(void)
{
	struct raft_status st;

	settle(3, 3);
	group_show(mesh_group(mesh_of(b)), &st);
	assert_true(st.first > ROTATIONS / 2);
}

/* All there are come in their order, and each once. */
static void
b_gets_all(unsigned last, unsigned count)
{
	subscribe(b);
	until(b_got, last);
	assert_int_equal(b->calls[9].items, count);
	assert_false(b->calls[9].out_of_order);
	until(confirmed, last);
	net_pass(3000);
	assert_int_equal(b->calls[9].items, count);
}

static void
test_target_away(void **state)
{
	enum { ALL = EACH + (ROTATIONS + 1) * EACH };

	(void)state;
	begin();
	subscribe(b);
	publish_to(STREAM, EACH);
	until(confirmed, EACH);
	env_stop(b);
	publish_and_rotate(EACH);
	/* Of the versions in between the group knows two. */
	assert_int_equal(mesh_of(a)->key_count, 2 + 1);
	net_start(b);
	b_gets_all(ALL, ALL - EACH);
	assert_b_was_restored();
}

/* It never knew the stream, which was opened while it was away, with a key that is gone. */
static void
test_target_away_from_the_beginning(void **state)
{
	(void)state;
	seed_and_join();
	rotate("one", "abc");
	settle(3, 3);
	env_stop(b);
	env_open_send(a, 1, "one", STREAM, "b");
	net_pass(1000);
	publish_and_rotate(0);
	net_start(b);
	b_gets_all((ROTATIONS + 1) * EACH, (ROTATIONS + 1) * EACH);
	assert_b_was_restored();
}

/* So it is when the source starts anew meanwhile. */
static void
test_source_restarted(void **state)
{
	(void)state;
	begin();
	env_stop(b);
	publish_and_rotate(0);
	restart(a);
	net_pass(5000);
	net_start(b);
	subscribe(b);
	until(b_got, (ROTATIONS + 1) * EACH);
	assert_int_equal(b->calls[9].items, (ROTATIONS + 1) * EACH);
	assert_false(b->calls[9].out_of_order);
}

/* What a target has and nobody asked for. */
static void
test_inbox(void **state)
{
	enum { ALL = (ROTATIONS + 1) * EACH };

	(void)state;
	begin();
	publish_and_rotate(0);
	until(b_stored, ALL);
	rotate("one", "");
	rotate("one", "");
	restart(b);
	settle(3, 3);
	b_gets_all(ALL, ALL);
}

/* --- what a key is good for --- */

static void
test_end(void **state)
{
	uint8_t first[CRYPTO_KEY_ID_BYTES];
	const uint8_t *key;

	(void)state;
	begin();
	memcpy(first, newest_id(a), sizeof(first));
	rotate("one", "");
	settle(3, 3);
	assert_true(mesh_key_ends(mesh_of(b), "one", 1) > clock_unix_ms());
	assert_int_equal(mesh_key_ends(mesh_of(b), "one", 2), 0);
	assert_int_equal(keyring_tag_key(b->keyring, "one", first, clock_unix_ms(), &key), 0);
	net_pass(VALID_MS + 1);
	assert_int_equal(keyring_tag_key(b->keyring, "one", first, clock_unix_ms(), &key), ERR_NOENT);
	assert_int_equal(keyring_open_key(b->keyring, "one", first, &key), 0);
	assert_int_equal(keyring_tag_key(b->keyring, "one", newest_id(b), clock_unix_ms(), &key), 0);
}

static void
test_tags(void **state)
{
	mesh_e2e_Header h = mesh_e2e_Header_init_zero;

	(void)state;
	begin();
	h.msg_type = mesh_e2e_MsgType_MSG_ACK;
	memcpy(h.tenant_id, "one", 4);
	assert_int_equal(tag_make(b->keyring, &h, "x", 1), 0);
	rotate("one", "");
	settle(3, 3);
	assert_int_equal(tag_check(a->keyring, &h, "x", 1, clock_unix_ms()), 0);
	net_pass(VALID_MS + 1);
	assert_int_equal(tag_check(a->keyring, &h, "x", 1, clock_unix_ms()), ERR_NOENT);
}

/* --- boxes --- */

static void
test_boxes(void **state)
{
	uint8_t first[CRYPTO_KEY_ID_BYTES], box[TENANTKEYS_BOX_BYTES], bad[TENANTKEYS_BOX_BYTES];
	struct oldkeys *old;
	const uint8_t *key;

	(void)state;
	begin();
	memcpy(first, newest_id(a), sizeof(first));
	assert_int_equal(tenantkeys_wrap(&a->engine, "one", first, box), 0);
	assert_int_equal(tenantkeys_wrap(&a->engine, "none", first, box), 0);
	rotate("one", "");
	settle(3, 3);
	assert_int_equal(tenantkeys_wrap(&a->engine, "one", newest_id(a), box), 0);
	assert_int_equal(tenantkeys_wrap(&a->engine, "one", first, box), TENANTKEYS_BOX_BYTES);
	/* As if b had been away. */
	rotate("one", "");
	settle(3, 3);
	old = keyring_old(b->keyring);
	oldkeys_del(old, oldkeys_get(old, "one", first));
	assert_int_equal(keyring_open_key(b->keyring, "one", first, &key), ERR_NOENT);
	for (size_t i = 0; i < sizeof(box); i++) {
		memcpy(bad, box, sizeof(box));
		bad[i] ^= 1;
		assert_true(tenantkeys_unwrap(&b->engine, "one", first, bad) < 0);
	}
	assert_true(tenantkeys_unwrap(&b->engine, "two", first, box) < 0);
	assert_int_equal(tenantkeys_unwrap(&b->engine, "one", (const uint8_t *)"another!", box), ERR_CRYPTO);
	assert_int_equal(tenantkeys_unwrap(&b->engine, "one", first, box), 0);
	assert_int_equal(keyring_open_key(b->keyring, "one", first, &key), 0);
	assert_int_equal(tenantkeys_unwrap(&b->engine, "one", first, box), 0);
	/* What it is sealed with ended meanwhile. */
	oldkeys_del(old, oldkeys_get(old, "one", first));
	net_pass(VALID_MS + 1);
	assert_int_equal(tenantkeys_unwrap(&b->engine, "one", first, box), ERR_NOENT);
}

static bool
is_replaced(struct env *e)
{
	(void)e;
	return mcg_key_get(mesh_mcg(mesh_of(a)), "one")->version == 2;
}

/* What is made after its eviction is nothing for it, neither is what others say with it. */
static void
test_evicted(void **state)
{
	struct mcg_cmd cmd = {.type = MCG_REMOVE, .u.remove = {.evict = true}};
	uint8_t box[TENANTKEYS_BOX_BYTES], first[CRYPTO_KEY_ID_BYTES], second[CRYPTO_KEY_ID_BYTES];
	struct outcome x = {0};
	const uint8_t *key;

	(void)state;
	begin();
	memcpy(first, newest_id(a), sizeof(first));
	cmd.u.remove.node = c->engine.self;
	await_leader_known(a);
	assert_int_equal(mesh_propose(mesh_of(a), &cmd, 10000, on_outcome, &x), 0);
	await(&x);
	assert_ended_well(&x);
	env_run(&env, is_replaced);
	memcpy(second, newest_id(a), sizeof(second));
	assert_int_equal(tenantkeys_wrap(&a->engine, "one", first, box), TENANTKEYS_BOX_BYTES);
	net_pass(20000);
	assert_int_equal(mesh_state(mesh_of(c)), MESH_OUTSIDE);
	/* What it had it can still read. */
	assert_int_equal(keyring_open_key(c->keyring, "one", first, &key), 0);
	oldkeys_del(keyring_old(c->keyring), oldkeys_get(keyring_old(c->keyring), "one", first));
	assert_int_equal(tenantkeys_unwrap(&c->engine, "one", first, box), ERR_NOENT);
	assert_int_equal(keyring_open_key(c->keyring, "one", second, &key), ERR_NOENT);
	rotate("one", "");
	assert_int_equal(tenantkeys_wrap(&a->engine, "one", second, box), TENANTKEYS_BOX_BYTES);
	assert_int_equal(tenantkeys_unwrap(&c->engine, "one", second, box), ERR_NOENT);
}

/* --- how long they are kept --- */

static void
test_forgotten(void **state)
{
	uint8_t first[CRYPTO_KEY_ID_BYTES];
	size_t before;
	const uint8_t *key;

	(void)state;
	begin();
	memcpy(first, newest_id(a), sizeof(first));
	rotate("one", "");
	rotate("one", "");
	settle(3, 3);
	before = fake_dbs[0].key_count;
	/* It was put a moment ago: the database can't know. */
	fake_dbs[0].key_count = 0;
	tenantkeys_gone(&a->engine, "one", first);
	assert_int_equal(keyring_open_key(a->keyring, "one", first, &key), 0);
	assert_int_equal(fake_dbs[0].key_count, 1);
	fake_dbs[0].key_count = before;
	virtual_now = mono_add_ms(virtual_now, 24 * 3600 * 1000);
	/* It is used again, which the database is told. */
	fake_dbs[0].key_count = 0;
	tenantkeys_used(&a->engine, "one", first);
	tenantkeys_used(&a->engine, "one", first);
	assert_int_equal(fake_dbs[0].key_count, 1);
	tenantkeys_gone(&a->engine, "one", first);
	assert_int_equal(keyring_open_key(a->keyring, "one", first, &key), 0);
	fake_dbs[0].key_count = before;
	virtual_now = mono_add_ms(virtual_now, 24 * 3600 * 1000);
	tenantkeys_gone(&a->engine, "one", first);
	assert_int_equal(keyring_open_key(a->keyring, "one", first, &key), ERR_NOENT);
	tenantkeys_gone(&a->engine, "one", first);
	tenantkeys_used(&a->engine, "one", first);
}

/* A row that this node can't open, as after its key was changed. */
static void
test_bad_row(void **state)
{
	struct store_key row = {.tenant_id = "one", .version = 1, .key_id = "8 bytes"};
	const uint8_t *key;

	(void)state;
	memset(row.box, 7, sizeof(row.box));
	log_set_level(LOG_ERROR);
	assert_int_equal(tenantkeys_load(&a->engine, &row), 0);
	assert_int_equal(keyring_open_key(a->keyring, "one", row.key_id, &key), ERR_NOENT);
}

static void
test_limit(void **state)
{
	static struct oldkeys o;
	struct oldkey k = {.tenant = "one"};

	(void)state;
	for (uint32_t i = 0; i < OLDKEYS_MAX; i++) {
		memcpy(k.key_id, &(uint32_t){i * 2654435761u}, 4);
		k.version = i;
		assert_int_equal(oldkeys_add(&o, &k), 0);
	}
	memset(k.key_id, 0xff, sizeof(k.key_id));
	assert_int_equal(oldkeys_add(&o, &k), ERR_LIMIT);
	for (uint32_t i = 0; i < OLDKEYS_MAX; i++) {
		memset(k.key_id, 0, sizeof(k.key_id));
		memcpy(k.key_id, &(uint32_t){i * 2654435761u}, 4);
		assert_int_equal(oldkeys_get(&o, "one", k.key_id)->version, i);
	}
	assert_null(oldkeys_get(&o, "on", k.key_id));
	oldkeys_fini(&o);
	mem_fail_at(1);
	assert_int_equal(oldkeys_add(&o, &k), ERR_NOMEM);
	mem_fail_at(0);
}

static int
setup(void **state)
{
	env_settings = " voter-stable 1s\n voter-gone 20s\n raft-log-entries 16\n";
	return net_setup(state);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, env_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_target_away),
	    TEST(test_target_away_from_the_beginning),
	    TEST(test_source_restarted),
	    TEST(test_inbox),
	    TEST(test_end),
	    TEST(test_tags),
	    TEST(test_boxes),
	    TEST(test_evicted),
	    TEST(test_forgotten),
	    TEST(test_bad_row),
	    cmocka_unit_test(test_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
