/* The control group's state: what each command does. */
#include "tests/unit/consensusd/mcg_user.h"

#include <stdio.h>

#include "common/base/mem.h"
#include "consensusd/core/raft_sessions.h"

/* --- the mesh --- */

static void
test_seed_is_first(void **state)
{
	struct mcg *m = unseeded();

	(void)state;
	assert_null(mcg_mesh(m));
	expect(m, make_admit(2, 1002), ERR_STATE);
	expect(m, make_prune(0), ERR_STATE);
	finish(m);
	m = unseeded();
	expect_changes(m, make_seed(), MCG_CHANGE_MESH | MCG_CHANGE_MEMBERS);
	assert_int_equal(mcg_mesh(m)->voters, 5);
	assert_string_equal(mcg_mesh(m)->description, "of a test");
	assert_int_equal(mcg_mesh(m)->created_unix_ms, 1700000000000);
	assert_int_equal(mcg_member_count(m), 1);
	assert_int_equal(mcg_member_get(m, MAKE_FIRST)->replica, 1001);
	expect(m, make_seed(), ERR_EXISTS);
	finish(m);
}

static void
test_settings(void **state)
{
	struct mcg *m = mesh(1);
	struct mcg_cmd c = make_cmd(MCG_SETTINGS);

	(void)state;
	c.u.settings.has_voters = true;
	c.u.settings.voters = 7;
	expect_changes(m, c, MCG_CHANGE_MESH);
	assert_int_equal(mcg_mesh(m)->voters, 7);
	assert_int_equal(mcg_mesh(m)->allow_join, MCG_JOIN_CERTIFICATE);
	assert_string_equal(mcg_mesh(m)->description, "of a test");
	finish(m);
}

static void
test_only_members_propose(void **state)
{
	struct mcg *m = mesh(2);
	struct mcg_cmd c = make_config("a", "1", UINT64_MAX);

	(void)state;
	c.node = 3;
	expect(m, c, ERR_DENIED);
	c.node = 2;
	expect(m, make_state(2, true), 0);
	expect(m, c, 0);
	expect(m, make_remove(2, true), 0);
	expect(m, c, ERR_DENIED);
	finish(m);
}

static void
test_what_is_no_command(void **state)
{
	struct mcg *m = mesh(1);
	struct raft_entry *e = raft_entry_new(RAFT_DATA, 0, 0, "\x01\x63", 2);
	struct mcg_result r;

	(void)state;
	e->index = 2;
	assert_int_equal(mcg_apply(m, e, &r), 0);
	assert_int_equal(r.err, ERR_UNKNOWN);
	raft_entry_unref(e);
	e = raft_entry_new(RAFT_NOOP, 0, 0, NULL, 0);
	e->index = 3;
	assert_int_equal(mcg_apply(m, e, &r), 0);
	assert_int_equal(r.err, 0);
	assert_int_equal(mcg_index(m), 3);
	raft_entry_unref(e);
	finish(m);
}

/* --- members --- */

static void
test_admit(void **state)
{
	struct mcg *m = mesh(3);
	struct mcg_cmd c = make_admit(2, 1002);

	(void)state;
	assert_int_equal(mcg_member_present(m), 3);
	expect_changes(m, c, 0); /* is so already */
	memcpy(c.u.admit.name, "other", sizeof("other"));
	expect_changes(m, c, MCG_CHANGE_MEMBERS);
	assert_string_equal(mcg_member_get(m, 2)->name, "other");
	expect(m, make_admit(4, 1003), ERR_EXISTS);
	expect(m, make_state(2, true), 0);
	expect(m, make_admit(2, 2002), 0);
	assert_int_equal(mcg_member_get(m, 2)->replica, 2002);
	assert_int_equal(mcg_member_get(m, 2)->status, MCG_MEMBER);
	assert_int_equal(mcg_member_get(m, 2)->since_index, mcg_index(m));
	c = make_admit(2, 2003);
	c.u.admit.public_key[9] = 1;
	expect(m, c, ERR_DENIED);
	assert_int_equal(mcg_member_at(m, 0)->node, 1);
	assert_int_equal(mcg_member_at(m, 2)->node, 3);
	finish(m);
}

static void
test_nobody_may_join(void **state)
{
	struct mcg *m = mesh(2);
	struct mcg_cmd c = make_cmd(MCG_SETTINGS);

	(void)state;
	c.u.settings.has_allow_join = true;
	c.u.settings.allow_join = MCG_JOIN_NOBODY;
	expect(m, c, 0);
	expect(m, make_admit(3, 1003), ERR_DENIED);
	expect(m, make_admit(2, 2002), 0); /* begins anew */
	expect(m, make_remove(2, false), 0);
	expect(m, make_admit(2, 2003), ERR_DENIED);
	finish(m);
}

static void
test_tokens_are_for_one_node(void **state)
{
	struct mcg *m = mesh(1);
	struct mcg_cmd c = make_admit(2, 1002);

	(void)state;
	c.u.admit.token_id.b[15] = 9;
	expect(m, c, 0);
	c.u.admit.replica = 2002;
	expect(m, c, 0);
	c.u.admit = make_member(3, 1003);
	c.u.admit.token_id.b[15] = 9;
	expect(m, c, ERR_DENIED);
	c.u.admit.token_id.b[15] = 8;
	expect(m, c, 0);
	finish(m);
}

static void
test_leave(void **state)
{
	struct mcg *m = mesh(2);

	(void)state;
	expect(m, make_remove(3, false), ERR_NOENT);
	expect_changes(m, make_remove(2, false), MCG_CHANGE_MEMBERS);
	assert_int_equal(mcg_member_get(m, 2)->status, MCG_LEFT);
	assert_int_equal(mcg_member_get(m, 2)->replica, 0);
	assert_int_equal(mcg_member_present(m), 1);
	expect(m, make_remove(2, false), ERR_NOENT);
	expect(m, make_state(2, true), ERR_NOENT);
	expect(m, make_remove(1, false), ERR_STATE); /* the last one */
	expect(m, make_remove(1, true), ERR_STATE);
	expect(m, make_admit(2, 2002), 0);
	assert_int_equal(mcg_member_present(m), 2);
	expect(m, make_remove(1, false), 0);
	finish(m);
}

static void
test_evict(void **state)
{
	struct mcg *m = mesh(3);
	struct mcg_cmd c = make_admit(2, 2002);

	(void)state;
	expect_changes(m, make_remove(2, true), MCG_CHANGE_MEMBERS);
	assert_true(mcg_evicted(m, 2));
	assert_string_equal(mcg_member_get(m, 2)->reason, "why not");
	assert_int_equal(mcg_member_get(m, 2)->by, MAKE_FIRST);
	expect(m, c, ERR_DENIED);
	expect(m, make_remove(2, false), ERR_NOENT);
	expect_changes(m, make_remove(2, true), 0);
	c.u.admit.readmit = true;
	expect(m, c, 0);
	assert_false(mcg_evicted(m, 2));
	assert_string_equal(mcg_member_get(m, 2)->reason, "");
	/* One that left, and one that never was here. */
	expect(m, make_remove(3, false), 0);
	expect(m, make_remove(3, true), 0);
	assert_true(mcg_evicted(m, 3));
	expect(m, make_remove(4, true), 0);
	expect(m, make_admit(4, 1004), ERR_DENIED);
	expect(m, make_readmit(5), ERR_NOENT);
	expect(m, make_readmit(2), ERR_NOENT);
	expect(m, make_readmit(4), 0);
	expect(m, make_admit(4, 1004), 0);
	finish(m);
}

static void
test_state(void **state)
{
	struct mcg *m = mesh(2);

	(void)state;
	expect_changes(m, make_state(2, true), MCG_CHANGE_MEMBERS);
	assert_int_equal(mcg_member_get(m, 2)->status, MCG_STOPPED);
	assert_int_equal(mcg_member_present(m), 2);
	expect_changes(m, make_state(2, true), 0);
	expect_changes(m, make_state(2, false), MCG_CHANGE_MEMBERS);
	expect(m, make_state(3, true), ERR_NOENT);
	finish(m);
}

/* --- the configuration --- */

static void
test_config(void **state)
{
	struct mcg *m = mesh(1);
	struct mcg_value v;

	(void)state;
	expect_changes(m, make_config("b", "1", 0), MCG_CHANGE_CONFIG);
	expect(m, make_config("b", "2", 0), ERR_STALE);
	expect(m, make_config("b", "2", 2), ERR_STALE);
	assert_int_equal(apply(m, make_config("b", "20", 1)).version, 2);
	expect(m, make_config("a", "3", 1), ERR_STALE);
	expect(m, make_config("a", "3", UINT64_MAX), 0);
	assert_int_equal(mcg_value_count(m), 2);
	assert_true(mcg_value_at(m, 0, &v));
	assert_string_equal(v.key, "a");
	assert_true(mcg_value_get(m, "b", &v));
	assert_int_equal(v.version, 2);
	assert_int_equal(v.len, 2);
	assert_memory_equal(v.json, "20", 2);
	assert_int_equal(v.node, MAKE_FIRST);
	assert_false(mcg_value_get(m, "c", &v));
	assert_false(mcg_value_at(m, 2, &v));
	finish(m);
}

static void
test_config_removed_goes_on_counting(void **state)
{
	struct mcg *m = mesh(1);

	(void)state;
	expect(m, make_config("a", NULL, UINT64_MAX), ERR_NOENT);
	expect(m, make_config("a", "1", UINT64_MAX), 0);
	expect(m, make_config("a", NULL, 3), ERR_STALE);
	assert_int_equal(apply(m, make_config("a", NULL, 1)).version, 2);
	assert_int_equal(mcg_value_count(m), 0);
	mcg_free(copy(m));
	assert_int_equal(apply(m, make_config("a", "1", 0)).version, 3);
	finish(m);
}

static void
test_config_is_bounded(void **state)
{
	enum { BIG = MCG_CONFIG_VALUE_MAX_BYTES };
	struct mcg *m = mesh(1);
	char *big = mem_calloc(1, BIG + 1), key[16];

	(void)state;
	memset(big, '1', BIG);
	for (size_t i = 0; i < MCG_CONFIG_MAX_BYTES / BIG; i++) {
		snprintf(key, sizeof(key), "big%zu", i);
		expect(m, make_config(key, big, 0), 0);
	}
	expect(m, make_config("one-more", "1", 0), ERR_FULL);
	expect(m, make_config("big1", big, 1), 0);
	for (size_t i = 0; i < MCG_CONFIG_MAX_BYTES / BIG; i++) {
		snprintf(key, sizeof(key), "big%zu", i);
		expect(m, make_config(key, NULL, UINT64_MAX), 0);
	}
	for (size_t i = 0; i < MCG_CONFIG_MAX; i++) {
		snprintf(key, sizeof(key), "k%zu", i);
		expect(m, make_config(key, "1", 0), 0);
	}
	expect(m, make_config("one-more", "1", 0), ERR_FULL);
	for (size_t i = 0; i < MCG_CONFIG_MAX; i++) {
		snprintf(key, sizeof(key), "k%zu", i);
		expect(m, make_config(key, NULL, 1), 0);
	}
	/* The first that were removed are forgotten. */
	assert_int_equal(apply(m, make_config("big0", "1", 0)).version, 1);
	assert_int_equal(apply(m, make_config("k0", "1", 0)).version, 3);
	mem_free(big);
	finish(m);
}

/* --- keys --- */

static void
test_keys(void **state)
{
	struct mcg *m = mesh(4);

	(void)state;
	assert_null(mcg_key_get(m, ""));
	expect(m, make_key(MCG_KEY, "acme", 2, 1, 2, room), ERR_STALE);
	expect_changes(m, make_key(MCG_KEY, "acme", 1, 1, 2, room), MCG_CHANGE_KEYS);
	expect(m, make_key(MCG_KEY, "acme", 1, 1, 2, room), ERR_STALE);
	expect(m, make_key(MCG_KEY, "acme", 2, 4, 2, room), ERR_NOENT); /* 5 is no member */
	expect(m, make_key(MCG_KEY, "", 1, 1, 3, room), 0);
	expect(m, make_key(MCG_KEY, "acme", 2, 2, 2, room), 0);
	expect(m, make_key(MCG_KEY, "acme", 3, 1, 3, room), 0);
	assert_int_equal(mcg_key_count(m), 3); /* the oldest of three went */
	assert_string_equal(mcg_key_at(m, 0)->tenant, "");
	assert_int_equal(mcg_key_at(m, 1)->version, 2);
	assert_int_equal(mcg_key_get(m, "acme")->version, 3);
	assert_int_equal(mcg_key_get(m, "acme")->sealed_count, 3);
	assert_int_equal(mcg_key_get(m, "acme")->sealed[2].node, 3);
	assert_int_equal(mcg_key_get(m, "acme")->sealed[2].box[79], 16 * 3 + 2);
	finish(m);
}

static void
test_seal(void **state)
{
	struct mcg *m = mesh(4);
	const struct mcg_key *k;
	struct mcg_cmd c;

	(void)state;
	expect(m, make_key(MCG_SEAL, "", 1, 1, 2, room), ERR_NOENT);
	expect(m, make_key(MCG_KEY, "", 1, 2, 2, room), 0);
	expect(m, make_key(MCG_SEAL, "", 1, 4, 2, room), ERR_NOENT);
	c = make_key(MCG_SEAL, "", 1, 3, 2, room);
	c.u.key.key_id[0] = 99;
	expect(m, c, ERR_STALE);
	c.u.key.key_id[0] = 1;
	expect_changes(m, c, MCG_CHANGE_KEYS);
	expect(m, make_key(MCG_SEAL, "", 1, 1, 1, room), 0);
	k = mcg_key_get(m, "");
	assert_int_equal(k->sealed_count, 4);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(k->sealed[i].node, i + 1);
	assert_int_equal(k->sealed[2].box[0], 16); /* the later one */
	finish(m);
}

static void
test_who_goes_loses_keys(void **state)
{
	struct mcg *m = mesh(4);

	(void)state;
	expect(m, make_key(MCG_KEY, "", 1, 1, 3, room), 0);
	expect(m, make_key(MCG_KEY, "acme", 1, 2, 1, room), 0);
	expect_changes(m, make_remove(2, true), MCG_CHANGE_MEMBERS | MCG_CHANGE_KEYS);
	assert_int_equal(mcg_key_get(m, "")->sealed_count, 2);
	assert_int_equal(mcg_key_get(m, "acme")->sealed_count, 0);
	expect_changes(m, make_remove(4, false), MCG_CHANGE_MEMBERS);
	expect(m, make_key(MCG_KEY, "", 2, 1, 2, room), ERR_NOENT);
	finish(m);
}

/* --- updates --- */

static void
test_updates(void **state)
{
	struct mcg *m = mesh(1);
	struct mcg_update u;
	struct mcg_result r;

	(void)state;
	assert_false(mcg_update_after(m, 0, &u));
	expect_changes(m, make_update(1, "one", 3), MCG_CHANGE_UPDATE); /* index 2 */
	expect(m, make_update(2, "two", 3), 0);
	r = apply(m, make_update(1, "again", 5));
	assert_int_equal(r.err, ERR_EXISTS);
	assert_int_equal(r.index, 2);
	assert_true(mcg_update_after(m, 0, &u));
	assert_int_equal(u.index, 2);
	assert_int_equal(u.term, 1);
	assert_memory_equal(u.cmd.payload, "one", 3);
	assert_int_equal(u.cmd.node, MAKE_FIRST);
	assert_true(mcg_update_after(m, 2, &u));
	assert_int_equal(u.index, 3);
	assert_false(mcg_update_after(m, 3, &u));
	assert_int_equal(mcg_update_last(m), 3);
	finish(m);
}

/* What mcg_update_kind_after() finds is what looking at all of them finds. */
static void
check_kinds(struct mcg *m)
{
	for (int kind = MCG_UPDATE_MESH; kind <= MCG_UPDATE_DB; kind++) {
		for (uint64_t index = 0; index <= mcg_index(m); index++) {
			struct mcg_update want = {.index = index}, got = {0};
			bool found;

			do
				found = mcg_update_after(m, want.index, &want);
			while (found && (int)want.cmd.kind != kind);
			assert_int_equal(
			    mcg_update_kind_after(m, (enum mcg_update_kind)kind, index, &got), found);
			assert_true(!found || got.index == want.index);
		}
	}
}

static void
test_kinds_of_updates(void **state)
{
	static const char kinds[] = "mmdmddmmmddd";
	struct mcg *m = mesh(1), *other;

	(void)state;
	check_kinds(m);
	for (uint8_t i = 0; kinds[i] != '\0'; i++) {
		struct mcg_cmd cmd = make_update((uint8_t)(i + 1), "some", 4);

		cmd.u.update.kind = kinds[i] == 'd' ? MCG_UPDATE_DB : MCG_UPDATE_MESH;
		expect(m, cmd, 0);
		check_kinds(m);
	}
	other = copy(m);
	check_kinds(other);
	mcg_free(other);
	for (uint64_t upto = 2; upto <= sizeof(kinds); upto++) {
		expect(m, make_prune(upto), 0);
		check_kinds(m);
	}
	finish(m);
}

static void
test_prune(void **state)
{
	struct mcg *m = mesh(1), *other;
	struct mcg_update u;

	(void)state;
	for (uint8_t id = 1; id <= 9; id++) /* indexes 2 to 10 */
		expect(m, make_update(id, "some", 4), 0);
	expect(m, make_prune(99), ERR_RANGE);
	expect_changes(m, make_prune(5), 0);
	assert_int_equal(mcg_pruned(m), 5);
	assert_true(mcg_update_after(m, 0, &u));
	assert_int_equal(u.index, 6);
	expect(m, make_prune(4), 0);
	assert_int_equal(mcg_pruned(m), 5);
	expect(m, make_update(1, "some", 4), 0); /* forgotten */
	other = copy(m);
	assert_true(mcg_update_after(other, 10, &u));
	assert_memory_equal(u.cmd.payload, "some", 4);
	mcg_free(other);
	expect(m, make_prune(mcg_index(m)), 0);
	assert_false(mcg_update_after(m, 0, &u));
	assert_int_equal(mcg_update_bytes(m), 0);
	finish(m);
}

static void
test_updates_are_bounded(void **state)
{
	static const uint8_t payload[700];
	struct mcg *m = mesh(1);
	uint8_t id = 0;

	(void)state;
	while (id < 100 && apply(m, make_update(++id, payload, sizeof(payload))).err == 0)
		assert_true(mcg_update_bytes(m) <= MAKE_UPDATES_MAX);
	assert_int_equal(id, 4);
	expect(m, make_update(id, payload, sizeof(payload)), ERR_FULL);
	expect(m, make_prune(2), 0);
	expect(m, make_update(id, payload, sizeof(payload)), 0);
	finish(m);
}

/* --- sessions --- */

static void
test_sessions(void **state)
{
	struct mcg *m = mesh(1);
	struct mcg_cmd set = make_config("a", "1", UINT64_MAX), stale = make_config("a", "1", 77);
	struct mcg_result r;

	(void)state;
	r = apply_as(m, &set, CLIENT, 1);
	assert_true(r.session && r.err == ERR_NOENT);
	r = apply_as(m, &set, CLIENT, 0);
	assert_true(!r.session && r.err == 0);
	assert_int_equal(mcg_value_count(m), 0);
	r = apply_as(m, &set, CLIENT, 1);
	assert_true(!r.repeated && r.err == 0 && r.version == 1);
	r = apply_as(m, &set, CLIENT, 1);
	assert_true(r.repeated && r.err == 0 && r.changes == 0);
	assert_int_equal(r.index, mcg_index(m) - 1);
	r = apply_as(m, &stale, CLIENT, 2);
	assert_true(!r.repeated && !r.session && r.err == ERR_STALE);
	mcg_free(copy(m));
	r = apply_as(m, &stale, CLIENT, 2);
	assert_true(r.repeated && !r.session && r.err == ERR_STALE);
	r = apply_as(m, &set, CLIENT, 3 + RAFT_SESSION_WINDOW);
	assert_true(r.session && r.err == ERR_RANGE);
	finish(m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_seed_is_first),
	    cmocka_unit_test(test_settings),
	    cmocka_unit_test(test_only_members_propose),
	    cmocka_unit_test(test_what_is_no_command),
	    cmocka_unit_test(test_admit),
	    cmocka_unit_test(test_nobody_may_join),
	    cmocka_unit_test(test_tokens_are_for_one_node),
	    cmocka_unit_test(test_leave),
	    cmocka_unit_test(test_evict),
	    cmocka_unit_test(test_state),
	    cmocka_unit_test(test_config),
	    cmocka_unit_test(test_config_removed_goes_on_counting),
	    cmocka_unit_test(test_config_is_bounded),
	    cmocka_unit_test(test_keys),
	    cmocka_unit_test(test_seal),
	    cmocka_unit_test(test_who_goes_loses_keys),
	    cmocka_unit_test(test_updates),
	    cmocka_unit_test(test_kinds_of_updates),
	    cmocka_unit_test(test_prune),
	    cmocka_unit_test(test_updates_are_bounded),
	    cmocka_unit_test(test_sessions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
