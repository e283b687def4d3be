/* The control group: keys of the mesh and of tenants, who has them, and what is sealed with them. */
#include "tests/unit/consensusd/virtual.h"

#include "tests/unit/consensusd/mesh_user.h"

static struct outcome
rotate(struct env_node *n, const char *tenant, const char *names)
{
	uint64_t nodes[ENV_NODES];
	struct outcome x = {0};
	size_t count = 0;

	for (; *names != '\0'; names++)
		nodes[count++] = net.who[*names - 'a'].id;
	await_leader_known(n);
	assert_int_equal(mesh_rotate(mesh_of(n), tenant, nodes, count, 1000, 10000, on_outcome, &x), 0);
	await(&x);
	return x;
}

static const struct mcg_key *
newest(struct env_node *n, const char *tenant)
{
	const struct mcg_key *k = mcg_key_get(mesh_mcg(mesh_of(n)), tenant);

	assert_non_null(k);
	return k;
}

/* Its streams are sealed with the tenant's newest key of the group. */
static bool
seals_with_it(struct env_node *n, const char *tenant)
{
	uint8_t id[CRYPTO_KEY_ID_BYTES];
	const uint8_t *key;

	return keyring_seal_key(n->keyring, tenant, &key, id) == 0 &&
	       memcmp(id, newest(n, tenant)->key_id, sizeof(id)) == 0;
}

/* --- the mesh's key --- */

static void
test_later_members(void **state)
{
	(void)state;
	seed(a, MCG_JOIN_CERTIFICATE);
	settle(1, 1);
	assert_int_equal(newest(a, "")->sealed_count, 1);
	join(b);
	settle(2, 1);
	join(c);
	settle(3, 3);
	assert_int_equal(newest(c, "")->sealed_count, 3);
	assert_int_equal(newest(c, "")->version, 1);
	for (size_t i = 0; i < ENV_NODES; i++)
		restart(&env.nodes[i]);
	settle(3, 3);
	assert_memory_equal(mesh_key_newest(mesh_of(a), "")->key, mesh_key_newest(mesh_of(c), "")->key, 32);
}

static bool
two_proposed(struct env *e)
{
	return mesh_of(&e->nodes[0])->proposal_count == 2;
}

/* As if it had not been possible. */
static void
drop_last(struct mesh *m)
{
	struct mesh_proposal *p = TAILQ_LAST(&m->proposals, mesh_proposals);

	engine_at_cancel(m->engine, &p->timer);
	TAILQ_REMOVE(&m->proposals, p, entry);
	m->proposal_count--;
	m->next_seq--;
	raft_entry_unref(p->raft);
	mem_free(p);
}

/* Who seeds the mesh does not get to its key: the leader makes it. */
static void
test_no_first_key(void **state)
{
	struct mesh_seed s = seed_of(MCG_JOIN_CERTIFICATE);
	struct outcome x = {0};

	(void)state;
	assert_int_equal(mesh_seed(mesh_of(a), &s, on_outcome, &x), 0);
	env_run(&env, is_led);
	/* Nothing is committed while the test has a look. */
	fake_dbs[0].hold = true;
	env_run(&env, two_proposed);
	drop_last(mesh_of(a));
	fake_dbs[0].hold = false;
	fake_changed(&fake_dbs[0]);
	await(&x);
	settle(1, 1);
}

static void
test_rotation(void **state)
{
	uint8_t first[CRYPTO_KEY_ID_BYTES];
	struct outcome x;

	(void)state;
	seed_and_join();
	memcpy(first, newest(a, "")->key_id, sizeof(first));
	x = rotate(b, "", "");
	assert_ended_well(&x);
	settle(3, 3);
	assert_int_equal(newest(c, "")->version, 2);
	/* The one before stays. */
	assert_non_null(mesh_key_find(mesh_of(c), "", first));
	x = rotate(b, "", "");
	assert_ended_well(&x);
	settle(3, 3);
	assert_null(mesh_key_find(mesh_of(c), "", first));
	assert_int_equal(mesh_of(c)->key_count, 2);
}

static void
test_at_once(void **state)
{
	struct outcome x = {0}, y = {0};

	(void)state;
	seed_and_join();
	await_leader_known(b);
	await_leader_known(c);
	assert_int_equal(mesh_rotate(mesh_of(b), "", NULL, 0, 0, 10000, on_outcome, &x), 0);
	assert_int_equal(mesh_rotate(mesh_of(c), "", NULL, 0, 0, 10000, on_outcome, &y), 0);
	await(&x);
	await(&y);
	assert_true((x.err == 0 && y.err == ERR_STALE) || (y.err == 0 && x.err == ERR_STALE));
	settle(3, 3);
}

static void
test_refused(void **state)
{
	uint64_t many[1] = {12345};
	struct outcome x = {0};

	(void)state;
	assert_int_equal(mesh_rotate(mesh_of(a), "", NULL, 0, 0, 1000, on_outcome, &x), ERR_STATE);
	seed_and_join();
	await_leader_known(a);
	assert_int_equal(mesh_rotate(mesh_of(a), "acme", NULL, 0, 0, 1000, on_outcome, &x), ERR_NOENT);
	assert_int_equal(mesh_rotate(mesh_of(a), "acme", many, 1, 0, 1000, on_outcome, &x), ERR_NOENT);
	assert_int_equal(
	    mesh_rotate(mesh_of(a), "acme", many, MCG_SEALED_MAX + 1, 0, 1000, on_outcome, &x), ERR_LIMIT);
	assert_int_equal(x.count, 0);
}

/* --- tenants --- */

static void
test_tenant(void **state)
{
	uint8_t first[CRYPTO_KEY_ID_BYTES], id[CRYPTO_KEY_ID_BYTES];
	const uint8_t *key;
	struct outcome x;

	(void)state;
	seed_and_join();
	x = rotate(c, "acme", "ab");
	assert_ended_well(&x);
	settle(3, 3);
	assert_true(seals_with_it(a, "acme") && seals_with_it(b, "acme"));
	/* Who made it need not have it. */
	assert_int_equal(keyring_seal_key(c->keyring, "acme", &key, id), ERR_NOENT);
	memcpy(first, newest(a, "acme")->key_id, sizeof(first));
	/* The next one is for those that have this one. */
	x = rotate(a, "acme", "");
	assert_ended_well(&x);
	settle(3, 3);
	assert_int_equal(newest(c, "acme")->sealed_count, 2);
	assert_true(seals_with_it(a, "acme") && seals_with_it(b, "acme"));
	assert_int_equal(keyring_open_key(b->keyring, "acme", first, &key), 0);
	/* Given to another, too. */
	x = rotate(a, "acme", "abc");
	assert_ended_well(&x);
	settle(3, 3);
	assert_true(seals_with_it(c, "acme"));
	/* The group has the first one no more; whoever had it has it still, to read. */
	assert_int_equal(keyring_open_key(b->keyring, "acme", first, &key), 0);
	assert_int_equal(keyring_tag_key(b->keyring, "acme", first, clock_unix_ms(), &key), ERR_NOENT);
	assert_int_equal(keyring_open_key(c->keyring, "acme", first, &key), ERR_NOENT);
	/* They are there again after a start, and after the directory was read again. */
	restart(b);
	settle(3, 3);
	assert_true(seals_with_it(b, "acme"));
	assert_int_equal(keyring_reload(b->keyring), 0);
	assert_true(seals_with_it(b, "acme"));
}

/* The group's key goes ahead of those of the directory, which open what they sealed. */
static void
test_tenant_of_directory(void **state)
{
	uint8_t before[CRYPTO_KEY_ID_BYTES];
	const uint8_t *key;
	struct outcome x;

	(void)state;
	assert_int_equal(keyring_seal_key(a->keyring, "one", &key, before), 0);
	seed_and_join();
	x = rotate(a, "one", "abc");
	assert_ended_well(&x);
	settle(3, 3);
	for (size_t i = 0; i < ENV_NODES; i++) {
		assert_true(seals_with_it(&env.nodes[i], "one"));
		assert_int_equal(keyring_open_key(env.nodes[i].keyring, "one", before, &key), 0);
	}
}

static bool
keys_are_replaced(struct env *e)
{
	(void)e;
	return newest(a, "")->version == 2 && newest(a, "acme")->version == 2 &&
	       newest(b, "acme")->version == 2;
}

/* What an evicted node knew is replaced, and it has nothing of it any more. */
static void
test_evicted(void **state)
{
	struct mcg_cmd cmd = {.type = MCG_REMOVE, .u.remove = {.evict = true}};
	uint8_t id[CRYPTO_KEY_ID_BYTES];
	const uint8_t *key;
	struct outcome x;

	(void)state;
	seed_and_join();
	x = rotate(a, "acme", "abc");
	assert_ended_well(&x);
	x = rotate(a, "others", "ab");
	assert_ended_well(&x);
	settle(3, 3);
	cmd.u.remove.node = c->engine.self;
	await_leader_known(a);
	memset(&x, 0, sizeof(x));
	assert_int_equal(mesh_propose(mesh_of(a), &cmd, 10000, on_outcome, &x), 0);
	await(&x);
	assert_ended_well(&x);
	env_run(&env, keys_are_replaced);
	settle(2, 2);
	assert_int_equal(newest(a, "acme")->sealed_count, 2);
	assert_true(seals_with_it(a, "acme") && seals_with_it(b, "acme"));
	net_pass(20000);
	assert_int_equal(mesh_state(mesh_of(c)), MESH_OUTSIDE);
	assert_int_equal(mesh_of(c)->key_count, 0);
	assert_int_equal(keyring_seal_key(c->keyring, "acme", &key, id), ERR_NOENT);
}

/* --- updates --- */

static struct outcome
update(struct env_node *n, const struct ulid *id, const char *text)
{
	struct outcome x = {0};

	await_leader_known(n);
	assert_int_equal(
	    mesh_update(mesh_of(n), MCG_UPDATE_MESH, id, "type", text, strlen(text), 10000, on_outcome, &x),
	    0);
	await(&x);
	return x;
}

static void
assert_opens(struct env_node *n, uint64_t index, const char *text)
{
	struct mcg_update u;
	struct buf out;

	assert_true(mcg_update_after(mesh_mcg(mesh_of(n)), index - 1, &u));
	assert_true(u.index == index);
	buf_init(&out, 4096);
	assert_int_equal(mesh_open(mesh_of(n), &u, &out), 0);
	assert_int_equal(buf_left(&out), strlen(text));
	assert_memory_equal(buf_head(&out), text, strlen(text));
	buf_fini(&out);
}

static void
test_sealed(void **state)
{
	struct ulid id = {{1}}, other = {{2}};
	struct outcome x, y;

	(void)state;
	seed_and_join();
	x = update(b, &id, "what all are to know");
	assert_ended_well(&x);
	settle(3, 3);
	for (size_t i = 0; i < ENV_NODES; i++)
		assert_opens(&env.nodes[i], x.index, "what all are to know");
	/* Again: the first one. */
	y = update(c, &id, "something else");
	assert_int_equal(y.err, ERR_EXISTS);
	assert_true(y.repeated && y.index == x.index);
	/* With the key before. */
	y = rotate(a, "", "");
	assert_ended_well(&y);
	settle(3, 3);
	assert_opens(c, x.index, "what all are to know");
	/* An empty one. */
	y = update(a, &other, "");
	assert_ended_well(&y);
	settle(3, 3);
	assert_opens(c, y.index, "");
}

/* What does not fit its key, its id or its own length is not opened. */
static void
test_unsealed(void **state)
{
	uint8_t bytes[256], key_id[8];
	struct ulid id = {{1}};
	struct mcg_update u;
	struct outcome x;
	struct buf out;

	(void)state;
	seed_and_join();
	x = update(b, &id, "secret");
	assert_ended_well(&x);
	settle(3, 3);
	assert_true(mcg_update_after(mesh_mcg(mesh_of(c)), 0, &u));
	assert_true(u.cmd.len <= sizeof(bytes));
	memcpy(bytes, u.cmd.payload, u.cmd.len);
	memcpy(key_id, u.cmd.key_id, 8);
	/* The payload itself is not readable. */
	assert_null(memmem(bytes, u.cmd.len, "secret", 6));
	u.cmd.payload = bytes;
	buf_init(&out, 4096);
	for (size_t i = 0; i < u.cmd.len; i++) {
		bytes[i] ^= 1;
		assert_int_equal(mesh_open(mesh_of(c), &u, &out), ERR_CRYPTO);
		bytes[i] ^= 1;
	}
	u.cmd.id.b[3] ^= 1;
	assert_int_equal(mesh_open(mesh_of(c), &u, &out), ERR_CRYPTO);
	u.cmd.id.b[3] ^= 1;
	u.cmd.key_id[0] ^= 1;
	assert_int_equal(mesh_open(mesh_of(c), &u, &out), ERR_NOENT);
	memcpy(u.cmd.key_id, key_id, 8);
	for (size_t n = 0; n < 40; n++) {
		u.cmd.len = n;
		assert_int_equal(mesh_open(mesh_of(c), &u, &out), ERR_FORMAT);
	}
	assert_int_equal(buf_left(&out), 0);
	buf_fini(&out);
}

static void
test_update_refused(void **state)
{
	static uint8_t large[MCG_UPDATE_MAX_BYTES + 1];
	struct ulid id = {{1}};
	struct outcome x = {0};

	(void)state;
	assert_int_equal(
	    mesh_update(mesh_of(a), MCG_UPDATE_MESH, &id, "t", "", 0, 1000, on_outcome, &x), ERR_STATE);
	seed_and_join();
	await_leader_known(b);
	assert_int_equal(
	    mesh_update(mesh_of(b), MCG_UPDATE_MESH, &id, "t", large, sizeof(large), 1000, on_outcome, &x),
	    ERR_LIMIT);
	/* Without the mesh's key. */
	mesh_keys_fini(mesh_of(b));
	assert_int_equal(
	    mesh_update(mesh_of(b), MCG_UPDATE_MESH, &id, "t", "", 0, 1000, on_outcome, &x), ERR_AGAIN);
	mesh_keys_changed(mesh_of(b));
	/* The largest. */
	assert_int_equal(mesh_update(mesh_of(b), MCG_UPDATE_MESH, &id, "t", large, sizeof(large) - 1, 10000,
			     on_outcome, &x),
	    0);
	await(&x);
	assert_ended_well(&x);
	settle(3, 3);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, mesh_setup, env_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_later_members),
	    TEST(test_no_first_key),
	    TEST(test_rotation),
	    TEST(test_at_once),
	    TEST(test_refused),
	    TEST(test_tenant),
	    TEST(test_tenant_of_directory),
	    TEST(test_evicted),
	    TEST(test_sealed),
	    TEST(test_unsealed),
	    TEST(test_update_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
