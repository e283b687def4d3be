/*
 * mesh_user: the control group of the nodes of env.h, what is asked of it, and what must always hold.
 */
#ifndef TESTS_UNIT_CONSENSUSD_MESH_USER_H
#define TESTS_UNIT_CONSENSUSD_MESH_USER_H

#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/core/raft_entry.h"
#include "consensusd/mesh_impl.h"
#include "tests/unit/consensusd/net.h"

/* How something ended that was asked of a mesh. */
struct outcome {
	unsigned count;
	int err;
	char text[256];
	uint64_t index, term;
	bool repeated;
};

static inline void
on_outcome(void *ctx, const struct mesh_outcome *o)
{
	struct outcome *x = ctx;

	x->count++;
	x->err = o->err;
	x->index = o->index;
	x->term = o->term;
	x->repeated = o->repeated;
	snprintf(x->text, sizeof(x->text), "%s", o->text != NULL ? o->text : "");
	env_touch(&env);
}

static struct outcome *awaited;

static inline bool
has_ended(struct env *e)
{
	(void)e;
	return awaited->count > 0;
}

static inline void
await(struct outcome *x)
{
	awaited = x;
	env_run(&env, has_ended);
	assert_int_equal(x->count, 1);
}

static inline void
assert_failed(const struct outcome *x, int err, const char *part)
{
	if (x->err != err || strstr(x->text, part) == NULL)
		fail_msg("%s, '%s': not %s, '%s'", err_text(x->err), x->text, err_text(err), part);
}

static inline void
assert_ended_well(const struct outcome *x)
{
	if (x->err != 0)
		fail_msg("%s: '%s'", err_text(x->err), x->text);
}

/* --- entering --- */

static inline struct mesh *
mesh_of(struct env_node *n)
{
	return n->engine.mesh;
}

static inline struct mesh_seed
seed_of(enum mcg_join join)
{
	return (struct mesh_seed){
	    .name = "test", .description = "of a test", .allow_join = join, .voters = 3};
}

static inline void
seed(struct env_node *n, enum mcg_join join)
{
	struct mesh_seed s = seed_of(join);
	struct outcome x = {0};

	assert_int_equal(mesh_seed(mesh_of(n), &s, on_outcome, &x), 0);
	await(&x);
	assert_ended_well(&x);
	assert_int_equal(mesh_state(mesh_of(n)), MESH_MEMBER);
}

static inline struct outcome
try_join(struct env_node *n, const char *token)
{
	struct outcome x = {0};

	assert_int_equal(mesh_join(mesh_of(n), token, 0, on_outcome, &x), 0);
	await(&x);
	return x;
}

static inline void
join(struct env_node *n)
{
	struct outcome x = try_join(n, "");

	assert_ended_well(&x);
	assert_int_equal(mesh_state(mesh_of(n)), MESH_MEMBER);
}

static inline struct env_node *
mesh_leading(void)
{
	struct env_node *best = NULL;

	for (size_t i = 0; i < ENV_NODES; i++) {
		struct env_node *n = &env.nodes[i];

		if (n->up && mesh_leads(mesh_of(n)) &&
		    (best == NULL || mesh_of(n)->role.term > mesh_of(best)->role.term))
			best = n;
	}
	return best;
}

static struct env_node *led;

/* It knows who leads. */
static inline bool
knows_leader(struct env *e)
{
	(void)e;
	return mesh_leader(mesh_of(led)) != 0;
}

static inline void
await_leader_known(struct env_node *n)
{
	led = n;
	env_run(&env, knows_leader);
}

static inline bool
is_led(struct env *e)
{
	(void)e;
	return mesh_leading() != NULL;
}

/* --- what must hold --- */

static inline bool
is_member_now(struct env_node *n)
{
	return n->up && n->engine.loaded &&
	       (mesh_state(mesh_of(n)) == MESH_MEMBER || mesh_state(mesh_of(n)) == MESH_STOPPED);
}

/* The same bytes at the same index. */
static inline void
assert_same_state(struct env_node *x, struct env_node *y)
{
	struct buf p, q;

	buf_init(&p, 16 << 20);
	buf_init(&q, 16 << 20);
	assert_int_equal(mcg_snapshot(mesh_of(x)->mcg, &p), 0);
	assert_int_equal(mcg_snapshot(mesh_of(y)->mcg, &q), 0);
	assert_int_equal(buf_left(&p), buf_left(&q));
	assert_memory_equal(buf_head(&p), buf_head(&q), buf_left(&p));
	buf_fini(&p);
	buf_fini(&q);
}

static size_t members_wanted, voters_wanted;

static inline size_t
voters_of(struct env_node *n, bool *joint)
{
	struct raft_member_status s;
	struct raft_status st;
	size_t voters = 0;

	group_show(mesh_group(mesh_of(n)), &st);
	*joint = st.joint;
	for (size_t i = 0; group_member_at(mesh_group(mesh_of(n)), i, &s); i++)
		voters += s.member.role == RAFT_VOTER;
	return voters;
}

/* So many are members, all know it, have the mesh's key and the same state, and so many vote. */
static inline bool
mesh_is_settled(struct env *e)
{
	struct env_node *leader = mesh_leading();
	struct raft_status st;
	size_t members = 0;
	bool joint;

	if (leader == NULL || mcg_member_present(mesh_of(leader)->mcg) != members_wanted ||
	    voters_of(leader, &joint) != voters_wanted || joint)
		return false;
	group_show(mesh_group(mesh_of(leader)), &st);
	for (size_t i = 0; i < ENV_NODES; i++) {
		struct env_node *n = &e->nodes[i];
		const struct mcg_key *k;

		if (!is_member_now(n))
			continue;
		k = mcg_key_get(mesh_of(n)->mcg, "");
		if (mcg_index(mesh_of(n)->mcg) != st.last || k == NULL || !mesh_has_key(mesh_of(n), k))
			return false;
		assert_same_state(leader, n);
		members++;
	}
	return members == members_wanted && st.members == members_wanted;
}

static inline void
settle(size_t members, size_t voters)
{
	members_wanted = members;
	voters_wanted = voters;
	env_run(&env, mesh_is_settled);
}

/* A mesh of all three, who vote. */
static inline void
seed_and_join(void)
{
	seed(a, MCG_JOIN_CERTIFICATE);
	join(b);
	join(c);
	settle(3, 3);
}

/* --- restarts --- */

static inline void
restart(struct env_node *n)
{
	env_stop(n);
	net_start(n);
}

/* Its database was restored from a backup: its replica is lost. */
static inline void
restart_rolled_back(struct env_node *n)
{
	fake_dbs[n->index].rolled_back = true;
	restart(n);
	fake_dbs[n->index].rolled_back = false;
}

/* Forgets all that its database has of replicas, while it is down. */
static inline void
lose_state(struct env_node *n)
{
	struct fake_db *d = &fake_dbs[n->index];

	while (d->group_count > 0)
		fake_apply_raft_drop(d, d->groups[0]->row.group);
}

static inline int
mesh_setup(void **state)
{
	env_settings = " voter-stable 1s\n voter-gone 20s\n";
	return net_setup(state);
}

#endif
