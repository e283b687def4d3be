/* The API of the control group as gatewayd speaks it: what is answered, and what is refused and why. */
#include "tests/unit/consensusd/virtual.h"

#include "tests/unit/consensusd/mesh_user.h"

static struct env_call *
call(struct env_node *n, uint32_t type, const pb_msgdesc_t *fields, const void *msg)
{
	env_forget(n, 1);
	env_send_pb(n->gateway, type, 1, fields, msg);
	return env_wait(n, 1);
}

static struct env_call *
call_bare(struct env_node *n, uint32_t type)
{
	env_forget(n, 1);
	assert_int_equal(channel_send(n->gateway, type, 1, NULL, 0), 0);
	return env_wait(n, 1);
}

#define CALL(n, type, name, ...) call(n, type, mesh_v1_##name##_fields, &(mesh_v1_##name){__VA_ARGS__})

static void
assert_refused(const struct env_call *x, enum code code, const char *part)
{
	if (x->done != 1 || x->code != code || strstr(x->message, part) == NULL)
		fail_msg(
		    "%u replies, code %u, '%s': not %u, '%s'", x->replies, x->code, x->message, code, part);
}

static void
assert_answered(const struct env_call *x)
{
	if (x->replies != 1)
		fail_msg("code %u: %s", x->code, x->message);
}

static void
read_answer(const struct env_call *x, const pb_msgdesc_t *fields, void *msg)
{
	assert_answered(x);
	assert_int_equal(pb_unpack(buf_head(&x->body), buf_left(&x->body), fields, msg), 0);
}

/* --- a mesh's life --- */

static void
test_life(void **state)
{
	mesh_v1_JoinToken token = mesh_v1_JoinToken_init_zero;
	mesh_v1_JoinMeshReq join = mesh_v1_JoinMeshReq_init_zero;
	mesh_v1_MeshSettings s = mesh_v1_MeshSettings_init_zero;

	(void)state;
	assert_answered(
	    CALL(a, GC_SEED, SeedMeshReq, .mesh_id = ENV_MESH, .allow_join = "token", .voters = 3));
	read_answer(CALL(a, GC_TOKEN, JoinTokenReq, .node_id = "b"), mesh_v1_JoinToken_fields, &token);
	assert_true(token.expires > (int64_t)clock_unix_ms());
	memcpy(join.token, token.token, sizeof(join.token));
	snprintf(join.contact, sizeof(join.contact), "a");
	assert_answered(call(b, GC_JOIN, mesh_v1_JoinMeshReq_fields, &join));
	read_answer(CALL(b, GC_SETTINGS, MeshSettings, .has_allow_join = true, .allow_join = "certificate",
			.has_description = true, .description = "new"),
	    mesh_v1_MeshSettings_fields, &s);
	assert_string_equal(s.allow_join, "certificate");
	assert_string_equal(s.description, "new");
	assert_int_equal(s.voters, 3);
	assert_string_equal(s.mesh_id, ENV_MESH);
	assert_answered(CALL(c, GC_JOIN, JoinMeshReq, .mesh_id = ENV_MESH));
	settle(3, 3);
	assert_answered(CALL(c, GC_STOP, StopMeshReq, .mesh_id = ""));
	assert_answered(CALL(c, GC_START, StartMeshReq, .mesh_id = ENV_MESH));
	assert_answered(CALL(a, GC_EVICT, EvictNodeReq, .node_id = "c", .reason = "a test"));
	net_pass(10000);
	assert_refused(CALL(c, GC_JOIN, JoinMeshReq, .mesh_id = ""), CODE_PERMISSION_DENIED, "evicted");
	assert_answered(CALL(a, GC_EVICT, EvictNodeReq, .node_id = "c", .readmit = true));
	assert_refused(
	    CALL(a, GC_EVICT, EvictNodeReq, .node_id = "c", .readmit = true), CODE_NOT_FOUND, "not evicted");
	assert_answered(CALL(b, GC_LEAVE, LeaveMeshReq, .mesh_id = ""));
	assert_answered(CALL(b, GC_LEAVE, LeaveMeshReq, .mesh_id = ""));
	settle(1, 1);
}

static void
test_refused(void **state)
{
	mesh_v1_JoinMeshReq join = mesh_v1_JoinMeshReq_init_zero;

	(void)state;
	assert_refused(CALL(a, GC_SEED, SeedMeshReq, .mesh_id = "01ARZ3NDEKTSV4RRFFQ69G5FAW"), CODE_NOT_FOUND,
	    "another mesh");
	assert_refused(
	    CALL(a, GC_SEED, SeedMeshReq, .allow_join = "all"), CODE_INVALID_ARGUMENT, "allow_join");
	assert_refused(CALL(a, GC_SEED, SeedMeshReq, .voters = 4), CODE_INVALID_ARGUMENT, "odd");
	assert_refused(CALL(a, GC_SEED, SeedMeshReq, .voters = 17), CODE_INVALID_ARGUMENT, "odd");
	assert_refused(CALL(a, GC_SEED, SeedMeshReq, .voters = -3), CODE_INVALID_ARGUMENT, "odd");
	assert_refused(
	    CALL(a, GC_JOIN, JoinMeshReq, .contact = "nobody"), CODE_NOT_FOUND, "no node is known");
	assert_refused(CALL(a, GC_JOIN, JoinMeshReq, .contact = "b"), CODE_NOT_FOUND, "none of the 1");
	memset(join.token, 'x', sizeof(join.token) - 1);
	assert_refused(
	    call(a, GC_JOIN, mesh_v1_JoinMeshReq_fields, &join), CODE_NOT_FOUND, "none of the 2 nodes");
	/* Outside. */
	assert_refused(
	    CALL(a, GC_STOP, StopMeshReq, .mesh_id = ""), CODE_FAILED_PRECONDITION, "seed the mesh");
	assert_refused(CALL(a, GC_EVICT, EvictNodeReq, .node_id = "b"), CODE_FAILED_PRECONDITION, "join it");
	assert_refused(CALL(a, GC_EVICT, EvictNodeReq, .node_id = ""), CODE_INVALID_ARGUMENT, "missing");
	assert_refused(CALL(a, GC_EVICT, EvictNodeReq, .node_id = "a"), CODE_FAILED_PRECONDITION, "itself");
	assert_refused(CALL(a, GC_TOKEN, JoinTokenReq, .node_id = "b"), CODE_FAILED_PRECONDITION, "join it");
	assert_refused(CALL(a, GC_TOKEN, JoinTokenReq, .valid_ms = -1), CODE_INVALID_ARGUMENT, "valid_ms");
	assert_refused(
	    CALL(a, GC_TOKEN, JoinTokenReq, .valid_ms = INT64_MAX), CODE_INVALID_ARGUMENT, "valid_ms");
	assert_refused(
	    CALL(a, GC_SETTINGS, MeshSettings, .mesh_id = ""), CODE_FAILED_PRECONDITION, "join it");
	assert_refused(CALL(a, GC_SETTINGS, MeshSettings, .has_voters = true), CODE_INVALID_ARGUMENT, "odd");
	assert_refused(
	    CALL(a, GC_SETTINGS, MeshSettings, .has_allow_join = true), CODE_INVALID_ARGUMENT, "allow_join");
	assert_refused(
	    CALL(a, GC_TRANSFER, TransferReq, .node_id = "b"), CODE_FAILED_PRECONDITION, "join it");
	assert_refused(CALL(a, GC_TRANSFER, TransferReq, .group_id = "x"), CODE_NOT_FOUND, "no replica");
	assert_refused(CALL(a, GC_CONFIG_GET, ConfigReq, .key = ""), CODE_FAILED_PRECONDITION, "join it");
	assert_refused(
	    CALL(a, GC_ROTATE_KEY, RotateKeyReq, .mesh_id = ""), CODE_FAILED_PRECONDITION, "join it");
	assert_answered(CALL(a, GC_LEAVE, LeaveMeshReq, .mesh_id = ""));
	assert_answered(call_bare(a, GC_LIST_KEYS));
	/* Inside. */
	seed(a, MCG_JOIN_CERTIFICATE);
	assert_refused(CALL(a, GC_SEED, SeedMeshReq, .voters = 3), CODE_ALREADY_EXISTS, "member");
	assert_refused(CALL(a, GC_JOIN, JoinMeshReq, .contact = "b"), CODE_ALREADY_EXISTS, "member");
	assert_refused(CALL(b, GC_SEED, SeedMeshReq, .voters = 3), CODE_ALREADY_EXISTS, "join it");
}

/* The leader can't be reached: said at once, or when the time is over. */
static bool
c_knows_none(struct env *e)
{
	(void)e;
	return mesh_leader(mesh_of(c)) == 0;
}

static void
test_no_leader(void **state)
{
	(void)state;
	seed_and_join();
	await_leader_known(c);
	net_isolate(c, true);
	assert_refused(
	    CALL(c, GC_EVICT, EvictNodeReq, .node_id = "b"), CODE_DEADLINE_EXCEEDED, "applied later");
	env_run(&env, c_knows_none);
	assert_refused(CALL(c, GC_EVICT, EvictNodeReq, .node_id = "b"), CODE_UNAVAILABLE, "majority");
	assert_refused(CALL(c, GC_STOP, StopMeshReq, .mesh_id = ""), CODE_UNAVAILABLE, "majority");
	assert_refused(CALL(c, GC_LEAVE, LeaveMeshReq, .mesh_id = ""), CODE_UNAVAILABLE, "majority");
	assert_refused(CALL(c, GC_TRANSFER, TransferReq, .node_id = "b"), CODE_UNAVAILABLE, "majority");
	assert_refused(CALL(c, GC_ROTATE_KEY, RotateKeyReq, .mesh_id = ""), CODE_UNAVAILABLE, "majority");
	assert_refused(CALL(c, GC_SETTINGS, MeshSettings, .has_voters = true, .voters = 3), CODE_UNAVAILABLE,
	    "majority");
	/* What is known is told. */
	assert_answered(CALL(c, GC_CONFIG_GET, ConfigReq, .key = ""));
	net_heal();
}

static bool
a_is_up(struct env *e)
{
	return channel_up(e->nodes[0].gateway);
}

static void
test_not_loaded(void **state)
{
	(void)state;
	env_stop(a);
	fake_dbs[0].away = true;
	env_start(a);
	env_run(&env, a_is_up);
	assert_refused(CALL(a, GC_SEED, SeedMeshReq, .voters = 3), CODE_UNAVAILABLE, "database");
	assert_refused(CALL(a, GC_LEAVE, LeaveMeshReq, .mesh_id = ""), CODE_UNAVAILABLE, "database");
	fake_dbs[0].away = false;
	fake_changed(&fake_dbs[0]);
	env_run(&env, net_all_loaded);
}

/* --- groups --- */

static void
test_groups(void **state)
{
	mesh_v1_RaftGroupInfo info = mesh_v1_RaftGroupInfo_init_zero;
	struct pb_slice member[8], detail[8];
	struct pb_raw_list members = {member, 0, 8}, details = {detail, 0, 8};
	struct env_call *x;
	size_t voters = 0;

	(void)state;
	x = call_bare(a, GC_LIST_GROUPS);
	assert_true(x->items == 0 && x->done == 1 && x->code == CODE_OK);
	seed_and_join();
	env_forget(a, 1);
	assert_int_equal(channel_send(a->gateway, GC_LIST_GROUPS, 1, NULL, 0), 0);
	x = env_wait(a, 1);
	assert_true(x->items == 1 && x->done == 1 && x->code == CODE_OK);
	pb_raw_list_decode(&info.members, &members);
	pb_raw_list_decode(&info.member_details, &details);
	assert_int_equal(
	    pb_unpack(buf_head(&x->body), buf_left(&x->body), mesh_v1_RaftGroupInfo_fields, &info), 0);
	assert_int_equal(strlen(info.group_id), 36);
	assert_string_equal(info.group_type, "MCG");
	assert_string_equal(info.status, "ok");
	assert_true(info.term > 0 && info.commit_index > 0 && info.applied_index == info.commit_index);
	assert_int_equal(members.count, 3);
	assert_int_equal(details.count, 3);
	for (size_t i = 0; i < 3; i++) {
		mesh_v1_RaftMemberInfo m = mesh_v1_RaftMemberInfo_init_zero;

		assert_int_equal(
		    pb_unpack(detail[i].data, detail[i].len, mesh_v1_RaftMemberInfo_fields, &m), 0);
		assert_string_equal(m.status, "member");
		assert_int_equal(strlen(m.node_name), 1);
		voters += strcmp(m.role, "voter") == 0;
	}
	assert_int_equal(voters, 3);
}

static void
test_transfer(void **state)
{
	mesh_v1_TransferReq req = mesh_v1_TransferReq_init_zero;
	struct env_node *leader, *other;
	struct env_call *x;

	(void)state;
	seed_and_join();
	leader = mesh_leading();
	other = leader == a ? b : a;
	await_leader_known(other);
	snprintf(req.node_id, sizeof(req.node_id), "%s", leader->name);
	assert_refused(
	    call(other, GC_TRANSFER, mesh_v1_TransferReq_fields, &req), CODE_ALREADY_EXISTS, "already");
	snprintf(req.node_id, sizeof(req.node_id), "%s", other->name);
	x = call(other, GC_TRANSFER, mesh_v1_TransferReq_fields, &req);
	assert_answered(x);
	assert_true(mesh_leading() == other);
	x = CALL(leader, GC_TRANSFER, TransferReq, .node_id = "");
	assert_answered(x);
	settle(3, 3);
}

/* Whose replica is lost joins again by itself: clients may try again. */
static void
test_replica_lost(void **state)
{
	const mesh_v1_MeshUpdate update = {.type = "t"};

	(void)state;
	seed_and_join();
	restart_rolled_back(c);
	assert_refused(
	    call(c, GC_MESH_UPDATE, mesh_v1_MeshUpdate_fields, &update), CODE_UNAVAILABLE, "joins it again");
	assert_refused(CALL(c, GC_TOKEN, JoinTokenReq, .node_id = "b"), CODE_UNAVAILABLE, "joins it again");
	assert_refused(CALL(c, GC_SETTINGS, MeshSettings, .mesh_id = ""), CODE_UNAVAILABLE, "joins it again");
	assert_refused(CALL(c, GC_CONFIG_GET, ConfigReq, .key = ""), CODE_UNAVAILABLE, "joins it again");
	assert_refused(CALL(c, GC_TRANSFER, TransferReq, .node_id = ""), CODE_UNAVAILABLE, "joins it again");
	settle(3, 3);
}

/* --- calls that end while they wait --- */

static void
send_call(struct env_node *n, uint32_t id, uint32_t type, const pb_msgdesc_t *fields, const void *msg)
{
	env_forget(n, id);
	env_send_pb(n->gateway, type, id, fields, msg);
}

static void
test_cancelled(void **state)
{
	const mesh_v1_EvictNodeReq evict = {.node_id = "b"};
	const mesh_v1_LeaveMeshReq leave = {.mesh_id = ""};
	const mesh_v1_TransferReq transfer = {.node_id = ""};
	const mesh_v1_RotateKeyReq rotate = {.mesh_id = ""};
	const mesh_v1_MeshSettings settings = {.has_description = true, .description = "d"};
	const mesh_v1_MeshUpdate update = {.type = "t", .has_wait = true, .wait = {.mode = "all"}};
	const mesh_v1_ConfigEntry config = {.key = "k", .removed = true};
	unsigned called = 0;

	(void)state;
	seed_and_join();
	await_leader_known(c);
	net_isolate(c, true);
	for (unsigned i = 0; i < 2; i++) {
		send_call(c, 2, GC_EVICT, mesh_v1_EvictNodeReq_fields, &evict);
		send_call(c, 3, GC_TRANSFER, mesh_v1_TransferReq_fields, &transfer);
		send_call(c, 4, GC_ROTATE_KEY, mesh_v1_RotateKeyReq_fields, &rotate);
		send_call(c, 5, GC_SETTINGS, mesh_v1_MeshSettings_fields, &settings);
		send_call(c, 6, GC_MESH_UPDATE, mesh_v1_MeshUpdate_fields, &update);
		send_call(c, 7, GC_CONFIG_SET, mesh_v1_ConfigEntry_fields, &config);
		send_call(c, 8, GC_LEAVE, mesh_v1_LeaveMeshReq_fields, &leave);
		net_pass(50);
		if (i == 1)
			break;
		for (uint32_t id = 2; id <= 8; id++)
			assert_int_equal(channel_send(c->gateway, GC_CANCEL, id, NULL, 0), 0);
		net_pass(40000);
		await_leader_known(b);
		for (uint32_t id = 2; id <= 8; id++)
			called += c->calls[id].replies + c->calls[id].done;
		assert_int_equal(called, 0);
		net_heal();
		net_pass(10000);
		if (mesh_state(mesh_of(c)) != MESH_MEMBER)
			join(c);
		await_leader_known(c);
		net_isolate(c, true);
	}
	/* And the process ends. */
	env_stop(c);
	net_heal();
	net_start(c);
}

/* --- bytes that are no request --- */

static void
test_malformed(void **state)
{
	static const uint32_t types[] = {GC_SEED, GC_JOIN, GC_START, GC_STOP, GC_LEAVE, GC_EVICT, GC_TOKEN,
	    GC_SETTINGS, GC_TRANSFER, GC_MESH_UPDATE, GC_DB_UPDATE, GC_CONFIG_GET, GC_CONFIG_SET,
	    GC_CONFIG_HISTORY, GC_ROTATE_KEY};
	uint8_t body[120];

	(void)state;
	for (size_t i = 0; i < COUNT(types); i++) {
		env_forget(a, 1);
		assert_int_equal(channel_send(a->gateway, types[i], 1, "\xff\xff\xff", 3), 0);
		assert_refused(env_wait(a, 1), CODE_INVALID_ARGUMENT, "malformed");
	}
	for (unsigned i = 0; i < 6000; i++) {
		uint32_t id = 10 + i % 40;
		size_t len = rng_below(&env.rng, sizeof(body));

		for (size_t k = 0; k < len; k++)
			body[k] = (uint8_t)rng_u64(&env.rng);
		/* A field of a request, mostly: a string, or a number. */
		body[0] = (uint8_t)((1 + rng_below(&env.rng, 9)) << 3 | (rng_below(&env.rng, 2) ? 2 : 0));
		body[1] = (uint8_t)rng_below(&env.rng, 60);
		env_forget(a, id);
		assert_int_equal(
		    channel_send(a->gateway, types[rng_below(&env.rng, COUNT(types))], id, body, len), 0);
		if (i % 40 == 39)
			net_pass(5000);
	}
	assert_true(channel_up(a->gateway));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, mesh_setup, env_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_life),
	    TEST(test_refused),
	    TEST(test_no_leader),
	    TEST(test_not_loaded),
	    TEST(test_groups),
	    TEST(test_transfer),
	    TEST(test_replica_lost),
	    TEST(test_cancelled),
	    TEST(test_malformed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
