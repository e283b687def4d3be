/* The control group: who has applied what, updates that nobody needs any more, tokens, and messages that lie.
 */
#include "tests/unit/consensusd/virtual.h"

#include "consensusd/peers.h"
#include "proto/peer.pb.h"
#include "tests/unit/consensusd/mesh_user.h"

/* --- waiting --- */

static struct spread {
	unsigned count;
	int err;
	bool known;
	struct mesh_spread s;
} spread;

static void
on_spread(void *ctx, int err, const struct mesh_spread *s)
{
	struct spread *x = ctx;

	x->count++;
	x->err = err;
	x->known = s != NULL;
	if (s != NULL)
		x->s = *s;
	env_touch(&env);
}

static bool
spread_came(struct env *e)
{
	(void)e;
	return spread.count > 0;
}

static void
wait_begin(struct env_node *n, uint64_t index, enum mesh_wait mode, uint32_t timeout_ms)
{
	memset(&spread, 0, sizeof(spread));
	assert_int_equal(mesh_wait(mesh_of(n), index, mode, timeout_ms, on_spread, &spread), 0);
}

static void
wait_end(void)
{
	env_run(&env, spread_came);
	assert_int_equal(spread.count, 1);
}

static size_t
applied_count(void)
{
	size_t n = 0;

	for (size_t i = 0; i < spread.s.count; i++)
		n += spread.s.node[i].applied;
	return n;
}

static struct outcome
update(struct env_node *n, uint8_t number, size_t len)
{
	static uint8_t bytes[MCG_UPDATE_MAX_BYTES];
	struct ulid id = {{1, number}};
	struct outcome x = {0};
	int err;

	await_leader_known(n);
	err = mesh_update(mesh_of(n), MCG_UPDATE_MESH, &id, "type", bytes, len, 20000, on_outcome, &x);
	assert_int_equal(err, 0);
	await(&x);
	return x;
}

static void
test_modes(void **state)
{
	struct outcome x;

	(void)state;
	assert_int_equal(mesh_wait(mesh_of(a), 1, MESH_WAIT_ALL, 1, on_spread, &spread), ERR_STATE);
	seed_and_join();
	for (size_t i = 0; i < ENV_NODES; i++) {
		for (int mode = MESH_WAIT_COMMITTED; mode <= MESH_WAIT_ALL; mode++) {
			x = update(b, (uint8_t)(10 * i + (size_t)mode), 10);
			assert_ended_well(&x);
			wait_begin(&env.nodes[i], x.index, (enum mesh_wait)mode, 20000);
			wait_end();
			assert_int_equal(spread.err, 0);
			assert_true(spread.known && spread.s.reached);
			assert_int_equal(spread.s.count, 3);
			assert_true(applied_count() >= (mode == MESH_WAIT_ALL         ? 3u
							   : mode == MESH_WAIT_QUORUM ? 2u
										      : 0u));
		}
	}
	/* Of a time when it was applied long ago. */
	wait_begin(c, 3, MESH_WAIT_ALL, 1000);
	wait_end();
	assert_true(spread.s.reached && applied_count() == 3);
}

static void
test_wait_in_vain(void **state)
{
	struct env_node *leader, *away, *other;
	struct outcome x;

	(void)state;
	seed_and_join();
	leader = mesh_leading();
	away = leader == a ? b : a;
	other = leader == c || away == c ? (leader == b || away == b ? a : b) : c;
	net_isolate(away, true);
	x = update(leader, 1, 10);
	assert_ended_well(&x);
	wait_begin(leader, x.index, MESH_WAIT_QUORUM, 5000);
	wait_end();
	assert_true(spread.s.reached);
	wait_begin(leader, x.index, MESH_WAIT_ALL, 3000);
	wait_end();
	assert_true(spread.err == 0 && !spread.s.reached && applied_count() == 2);
	wait_begin(other, x.index, MESH_WAIT_ALL, 3000);
	wait_end();
	assert_true(spread.err == 0 && !spread.s.reached && applied_count() == 2);
	/* Whoever can't ask a leader learns nothing. */
	wait_begin(away, x.index, MESH_WAIT_ALL, 3000);
	wait_end();
	assert_true(spread.err == ERR_TIMEOUT && !spread.known);
	net_heal();
	wait_begin(other, x.index, MESH_WAIT_ALL, 20000);
	wait_end();
	assert_true(spread.s.reached);
}

/* Another leads meanwhile, and is asked instead; the first one may be the one that waits, or be gone. */
static void
test_wait_and_leader_changes(void **state)
{
	(void)state;
	seed_and_join();
	for (unsigned i = 0; i < 3; i++) {
		struct env_node *leader = mesh_leading(), *away = leader == c ? b : c, *waits;
		struct outcome x;

		waits = i == 0 ? leader : (leader == a || away == a) ? (leader == b || away == b ? c : b) : a;
		net_isolate(away, true);
		x = update(leader, (uint8_t)(i + 1), 10);
		assert_ended_well(&x);
		wait_begin(waits, x.index, MESH_WAIT_ALL, 60000);
		net_pass(1000);
		assert_int_equal(spread.count, 0);
		if (i < 2) {
			assert_int_equal(
			    mesh_transfer(mesh_of(leader), mesh_group(mesh_of(leader)), 0, 5000, NULL, NULL),
			    0);
			net_pass(3000);
			assert_int_equal(spread.count, 0);
			net_heal();
		} else {
			net_heal();
			restart(leader);
		}
		wait_end();
		assert_true(spread.err == 0 && spread.s.reached && applied_count() == 3);
		settle(3, 3);
	}
}

static void
test_wait_forgotten(void **state)
{
	struct env_node *n;

	(void)state;
	seed_and_join();
	n = mesh_leading() == a ? b : a;
	wait_begin(n, 1000000, MESH_WAIT_ALL, 3000);
	net_pass(100);
	mesh_forget(mesh_of(n), &spread);
	wait_begin(mesh_leading(), 1000000, MESH_WAIT_ALL, 3000);
	mesh_forget(mesh_of(mesh_leading()), &spread);
	net_pass(10000);
	assert_int_equal(spread.count, 0);
	assert_int_equal(mesh_of(n)->waiter_count, 0);
	assert_int_equal(mesh_of(mesh_leading())->waiter_count, 0);
	/* So many, and no more. */
	for (size_t i = 0; i < MESH_WAITS_MAX; i++)
		assert_int_equal(mesh_wait(mesh_of(n), 1000000, MESH_WAIT_ALL, 1000, on_spread, &spread), 0);
	assert_int_equal(mesh_wait(mesh_of(n), 1000000, MESH_WAIT_ALL, 1000, on_spread, &spread), ERR_FULL);
	mesh_forget(mesh_of(n), &spread);
}

/* The group ends for who waits. */
static void
test_wait_and_leave(void **state)
{
	struct env_node *n;
	struct outcome x = {0};

	(void)state;
	seed_and_join();
	n = mesh_leading() == a ? b : a;
	await_leader_known(n);
	wait_begin(n, 1000000, MESH_WAIT_ALL, 5000);
	assert_int_equal(mesh_leave(mesh_of(n), on_outcome, &x), 0);
	await(&x);
	assert_ended_well(&x);
	wait_end();
	assert_true(spread.err != 0 || !spread.s.reached);
}

/* --- updates that are not needed any more --- */

static bool
all_pruned(struct env *e)
{
	for (size_t i = 0; i < ENV_NODES; i++)
		if (mcg_update_bytes(mesh_mcg(mesh_of(&e->nodes[i]))) > MESH_PRUNE_STEP_BYTES)
			return false;
	return true;
}

static void
test_pruning(void **state)
{
	struct outcome x;

	(void)state;
	seed_and_join();
	for (uint8_t i = 0; i < 12; i++) {
		x = update(&env.nodes[i % 3], i, 400000);
		assert_ended_well(&x);
		net_pass(100);
	}
	env_run(&env, all_pruned);
	settle(3, 3);
	assert_true(mcg_pruned(mesh_mcg(mesh_of(c))) > 0);
	assert_true(mcg_pruned(mesh_mcg(mesh_of(c))) <= x.index);
}

/* One that is away keeps them: until there is no room; then it comes back and gets all. */
static void
test_full(void **state)
{
	struct outcome x;
	uint8_t i;

	(void)state;
	seed_and_join();
	env_stop(c);
	for (i = 0; i < 30; i++) {
		x = update(a, i, 400000);
		if (x.err != 0)
			break;
	}
	assert_int_equal(x.err, ERR_FULL);
	assert_in_range(i, 8, 11);
	assert_int_equal(mcg_pruned(mesh_mcg(mesh_of(a))), 0);
	net_start(c);
	env_run(&env, all_pruned);
	settle(3, 3);
	x = update(a, i, 400000);
	assert_ended_well(&x);
}

static bool
c_was_restored(struct env *e)
{
	struct raft_status st;

	(void)e;
	group_show(mesh_group(mesh_of(c)), &st);
	return st.first > 10;
}

/* One that joins late gets what was as a snapshot, and so does one that was away. */
static void
test_snapshots(void **state)
{
	struct outcome x;

	(void)state;
	seed(a, MCG_JOIN_CERTIFICATE);
	join(b);
	settle(2, 1);
	for (uint8_t i = 0; i < 40; i++) {
		x = update(a, i, 100);
		assert_ended_well(&x);
		net_pass(20);
	}
	join(c);
	settle(3, 3);
	assert_true(c_was_restored(&env));
	for (size_t k = 0; k < ENV_NODES; k++) {
		struct env_node *n = &env.nodes[k], *other = &env.nodes[(k + 1) % 3];

		env_stop(n);
		for (uint8_t i = 0; i < 60; i++) {
			x = update(other, (uint8_t)(100 + 20 * k + i % 20), 100);
			assert_true(x.err == 0 || x.err == ERR_EXISTS);
			net_pass(20);
		}
		net_start(n);
		settle(3, 3);
	}
}

/* --- tokens --- */

static void
token_of(struct env_node *n, uint64_t node, int64_t valid_ms, char out[MESH_TOKEN_SIZE])
{
	assert_int_equal(
	    mesh_token(mesh_of(n), node, (uint64_t)((int64_t)clock_unix_ms() + valid_ms), out), 0);
}

static void
test_tokens(void **state)
{
	char token[MESH_TOKEN_SIZE], other[MESH_TOKEN_SIZE], changed[MESH_TOKEN_SIZE];
	struct outcome x;

	(void)state;
	seed(a, MCG_JOIN_TOKEN);
	settle(1, 1);
	x = try_join(b, "");
	assert_failed(&x, ERR_AUTH, "asks for a token");
	x = try_join(b, "nonsense");
	assert_failed(&x, ERR_AUTH, "no token");
	token_of(a, 0, -1000, token);
	x = try_join(b, token);
	assert_failed(&x, ERR_AUTH, "expired");
	token_of(a, c->engine.self, 60000, other);
	x = try_join(b, other);
	assert_failed(&x, ERR_AUTH, "another node");
	token_of(c, 0, 60000, token); /* who is no member */
	x = try_join(b, token);
	assert_failed(&x, ERR_AUTH, "no member");
	token_of(a, 0, 60000, token);
	for (size_t i = 0; token[i] != '\0'; i += 7) {
		memcpy(changed, token, sizeof(changed));
		changed[i] = changed[i] == 'A' ? 'B' : 'A';
		x = try_join(b, changed);
		assert_int_equal(x.err, ERR_AUTH);
	}
	x = try_join(b, token);
	assert_ended_well(&x);
	settle(2, 1);
	/* It was good for one node. */
	x = try_join(c, token);
	assert_failed(&x, ERR_DENIED, "");
	/* A member's is as good, wherever it is checked. */
	x = try_join(c, other);
	assert_ended_well(&x);
	settle(3, 3);
}

/* --- messages --- */

static void
send_ask(struct env_node *from, struct env_node *to, enum peers_kind kind, const void *body, size_t len)
{
	struct iovec part = {(void *)(uintptr_t)body, len};

	assert_int_equal(peers_send(from->engine.peers, to->engine.self, kind, PEERS_URGENT, &part, 1), 0);
}

/* How far a stranger is, or how far beyond the log, interests nobody. */
static void
test_applied_lies(void **state)
{
	mesh_peer_Applied msg = mesh_peer_Applied_init_zero;
	struct env_node *leader;
	uint8_t mem[64];
	struct buf out;

	(void)state;
	seed(a, MCG_JOIN_CERTIFICATE);
	join(b);
	settle(2, 1);
	leader = mesh_leading();
	msg.index = 5;
	memcpy(msg.group_id, group_id(mesh_group(mesh_of(a))), sizeof(msg.group_id));
	buf_init_fixed(&out, mem, sizeof(mem));
	assert_int_equal(pb_pack(&out, mesh_peer_Applied_fields, &msg), 0);
	send_ask(c, leader, PEERS_APPLIED, mem, buf_left(&out));
	net_pass(100);
	assert_int_equal(mesh_applied_by(mesh_of(leader), c->engine.self), 0);
	/* Another group's. */
	mem[3] ^= 1;
	send_ask(leader == a ? b : a, leader, PEERS_APPLIED, mem, buf_left(&out));
	net_pass(100);
	settle(2, 1);
}

/* Bytes of any kind, as questions, answers and marks, from a member. */
static void
test_noise(void **state)
{
	static const enum peers_kind kinds[] = {PEERS_ASK, PEERS_ANSWER, PEERS_APPLIED};
	uint8_t body[300];

	(void)state;
	seed_and_join();
	for (int i = 0; i < 3000; i++) {
		size_t len = rng_below(&env.rng, sizeof(body));
		struct buf out;
		mesh_peer_Ask ask = mesh_peer_Ask_init_zero;
		struct pb_slice slice;

		for (size_t k = 0; k < len; k++)
			body[k] = (uint8_t)rng_u64(&env.rng);
		send_ask(c, a, kinds[i % 3], body, len);
		/* And as the bodies of well-formed questions. */
		ask.id = (uint64_t)i;
		ask.method = (uint32_t)rng_below(&env.rng, ASK_METHODS + 2);
		slice = (struct pb_slice){body, len % 40};
		pb_slice_encode(&ask.body, &slice);
		buf_init(&out, 1024);
		assert_int_equal(pb_pack(&out, mesh_peer_Ask_fields, &ask), 0);
		send_ask(c, a, PEERS_ASK, buf_head(&out), buf_left(&out));
		buf_fini(&out);
		if (i % 50 == 0)
			net_pass(20);
	}
	net_pass(10000);
	settle(3, 3);
}

static void
send_join(struct env_node *from, struct env_node *to, const mesh_peer_Join *join)
{
	mesh_peer_Ask ask = mesh_peer_Ask_init_zero;
	struct pb_slice slice;
	struct buf body, out;

	buf_init(&body, 1024);
	buf_init(&out, 2048);
	assert_int_equal(pb_pack(&body, mesh_peer_Join_fields, join), 0);
	ask.id = 7;
	ask.method = mesh_peer_Method_ASK_JOIN;
	slice = (struct pb_slice){buf_head(&body), buf_left(&body)};
	pb_slice_encode(&ask.body, &slice);
	assert_int_equal(pb_pack(&out, mesh_peer_Ask_fields, &ask), 0);
	send_ask(from, to, PEERS_ASK, buf_head(&out), buf_left(&out));
	net_pass(200);
	buf_fini(&body);
	buf_fini(&out);
}

/* Nobody joins in another's name, as nobody, or with another's replica. */
static void
test_join_lies(void **state)
{
	mesh_peer_Join msg = mesh_peer_Join_init_zero, wrong;

	(void)state;
	seed(a, MCG_JOIN_CERTIFICATE);
	settle(1, 1);
	memcpy(msg.group_id, group_id(mesh_group(mesh_of(a))), sizeof(msg.group_id));
	msg.replica = 99;
	memcpy(msg.public_key, c->engine.public_key, sizeof(msg.public_key));
	snprintf(msg.name, sizeof(msg.name), "c");
	wrong = msg;
	memcpy(wrong.public_key, b->engine.public_key, sizeof(wrong.public_key));
	send_join(c, a, &wrong);
	wrong = msg;
	wrong.replica = 0;
	send_join(c, a, &wrong);
	wrong = msg;
	snprintf(wrong.name, sizeof(wrong.name), "no name!");
	send_join(c, a, &wrong);
	wrong = msg;
	wrong.group_id[0] ^= 1;
	send_join(c, a, &wrong);
	wrong = msg;
	wrong.again = true;
	send_join(c, a, &wrong);
	wrong = msg;
	wrong.replica = mcg_member_get(mesh_mcg(mesh_of(a)), a->engine.self)->replica;
	send_join(c, a, &wrong);
	assert_int_equal(mcg_member_count(mesh_mcg(mesh_of(a))), 1);
	settle(1, 1);
	send_join(c, a, &msg);
	assert_int_equal(mcg_member_count(mesh_mcg(mesh_of(a))), 2);
}

static int
setup(void **state)
{
	env_settings = " voter-stable 1s\n voter-gone 20s\n raft-log-max 64KB\n raft-log-entries 16\n "
		       "updates-keep 0\n updates-max 4MB\n";
	return net_setup(state);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, env_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_modes),
	    TEST(test_wait_in_vain),
	    TEST(test_wait_and_leader_changes),
	    TEST(test_wait_forgotten),
	    TEST(test_wait_and_leave),
	    TEST(test_pruning),
	    TEST(test_full),
	    TEST(test_snapshots),
	    TEST(test_tokens),
	    TEST(test_applied_lies),
	    TEST(test_noise),
	    TEST(test_join_lies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
