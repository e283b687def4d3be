/*
 * group_user: Raft groups on the nodes of env.h with a state machine that counts, and what must always hold.
 */
#ifndef TESTS_UNIT_CONSENSUSD_GROUP_USER_H
#define TESTS_UNIT_CONSENSUSD_GROUP_USER_H

#include "common/base/be.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/core/raft_entry.h"
#include "consensusd/group_impl.h"
#include "consensusd/mesh.h"
#include "consensusd/peers.h"
#include "tests/unit/consensusd/net.h"

enum { USER_GROUPS = 256, USER_TRUTH = 16384 };

/* The state of a group at a node. */
struct machine {
	struct env_node *node;
	size_t number;
	uint64_t index, count, sum;
	unsigned gone, restored, readable;
	uint64_t last_read, read_index; /* what was applied when it came */
	bool refuse;                    /* has no memory */
	struct raft_status role;
};

static struct machine machines[ENV_NODES][USER_GROUPS];
static uint64_t truth[USER_TRUTH];  /* of group 0: what each index has, wherever it was applied first */
static unsigned lives;              /* replicas of a node that begins anew have other ids */
static size_t snapshot_extra_bytes; /* that each snapshot has more */

static uint64_t
hash_entry(const struct raft_entry *e)
{
	uint64_t h = e->term * 1000003 + e->type;

	for (uint32_t i = 0; i < e->len; i++)
		h = h * 31 + e->data[i];
	return h | 1;
}

static int
machine_apply(void *sm, struct raft_entry *e)
{
	struct machine *x = sm;
	uint64_t h = hash_entry(e);

	if (x->refuse)
		return ERR_NOMEM;
	/* A group begins with a snapshot of nothing at 1. */
	assert_true(e->index == (x->index != 0 ? x->index : 1) + 1);
	if (x->number == 0 && e->index < USER_TRUTH) {
		assert_true(truth[e->index] == 0 || truth[e->index] == h);
		truth[e->index] = h;
	}
	x->index = e->index;
	x->count += e->type == RAFT_DATA;
	x->sum = x->sum * 31 + h;
	return 0;
}

static int
machine_snapshot(void *sm, struct buf *out)
{
	struct machine *x = sm;
	uint8_t *extra;
	int err;

	if ((err = buf_put_u64(out, x->index)) != 0 || (err = buf_put_u64(out, x->count)) != 0 ||
	    (err = buf_put_u64(out, x->sum)) != 0 ||
	    (err = buf_reserve(out, snapshot_extra_bytes + 1, &extra)) != 0)
		return err;
	memset(extra, 0x5a, snapshot_extra_bytes);
	buf_commit(out, snapshot_extra_bytes);
	return 0;
}

static int
machine_restore(void *sm, const uint8_t *data, size_t len, uint64_t index)
{
	struct machine *x = sm;
	struct buf in;

	if (x->refuse)
		return ERR_NOMEM;
	buf_view(&in, data, len);
	assert_int_equal(buf_get_u64(&in, &x->index), 0);
	assert_int_equal(buf_get_u64(&in, &x->count), 0);
	assert_int_equal(buf_get_u64(&in, &x->sum), 0);
	assert_true(x->index == index);
	x->restored++;
	return 0;
}

static void
machine_role(void *sm, const struct raft_status *now)
{
	((struct machine *)sm)->role = *now;
}

static void
machine_readable(void *sm, uint64_t ctx)
{
	struct machine *x = sm;

	x->readable++;
	x->last_read = ctx;
	x->read_index = x->index;
}

static void
machine_gone(void *sm)
{
	((struct machine *)sm)->gone++;
}

static const struct group_ops machine_ops = {.apply = machine_apply,
    .snapshot = machine_snapshot,
    .restore = machine_restore,
    .role = machine_role,
    .readable = machine_readable,
    .gone = machine_gone};

/* --- groups --- */

static void
id_of(size_t number, uint8_t out[STORE_GROUP_BYTES])
{
	memset(out, 0x47, STORE_GROUP_BYTES);
	be_store64(out, number);
}

static struct group *
group_of(const struct env_node *n, size_t number)
{
	uint8_t id[STORE_GROUP_BYTES];

	id_of(number, id);
	return n->up ? groups_find(n->engine.groups, id) : NULL;
}

/* See raft_apply_early(). */
static const struct group_ops early_ops = {.apply = machine_apply,
    .snapshot = machine_snapshot,
    .restore = machine_restore,
    .role = machine_role,
    .readable = machine_readable,
    .gone = machine_gone,
    .early = true};
static bool machines_early;

static void
attach(struct env_node *n, size_t number)
{
	struct machine *x = &machines[n->index][number];

	*x = (struct machine){.node = n, .number = number, .index = 1};
	if (group_of(n, number)->snapshot.index == 0)
		x->index = 0;
	assert_int_equal(group_attach(group_of(n, number), machines_early ? &early_ops : &machine_ops, x), 0);
}

static uint64_t
replica_id(const struct env_node *n, size_t number)
{
	return ((uint64_t)(lives + 1) << 32) + (number << 8) + n->index + 1;
}

/* A replica of a group: the first of it, or one that waits to be told. */
static struct group *
begin(struct env_node *n, size_t number, bool first)
{
	struct raft_member m = {.id = replica_id(n, number), .node = n->engine.self, .role = RAFT_VOTER};
	uint8_t id[STORE_GROUP_BYTES];
	struct group *g;

	id_of(number, id);
	assert_int_equal(
	    group_new(n->engine.groups, id, STORE_RAFT_DSG, m.id, first ? &m : NULL, first, &g), 0);
	attach(n, number);
	if (first)
		group_campaign(g);
	return g;
}

static struct raft_status
status_of(const struct env_node *n, size_t number)
{
	struct raft_status st = {0};
	struct group *g = group_of(n, number);

	if (g != NULL)
		group_show(g, &st);
	return st;
}

/* The one with the highest term of those that take themselves for it. */
static struct env_node *
leader_of(size_t number)
{
	struct env_node *best = NULL;

	for (size_t i = 0; i < ENV_NODES; i++) {
		struct env_node *n = &env.nodes[i];
		struct raft_status st = status_of(n, number);

		if (st.role == RAFT_LEADER && (best == NULL || st.term > status_of(best, number).term))
			best = n;
	}
	return best;
}

static size_t watched; /* group */

static bool
has_leader(struct env *e)
{
	(void)e;
	return leader_of(watched) != NULL;
}

static struct env_node *
await_leader(size_t number)
{
	watched = number;
	env_run(&env, has_leader);
	return leader_of(number);
}

/* ERR_NOMEM where the test lets memory fail. */
static int
propose(struct env_node *n, size_t number, uint64_t value)
{
	uint8_t data[8];
	struct raft_entry *e;
	uint64_t index;

	be_store64(data, value);
	e = raft_entry_new(RAFT_DATA, 0, 0, data, sizeof(data));
	return e != NULL ? group_propose(group_of(n, number), e, &index) : ERR_NOMEM;
}

/* All that are up have the same, up to the leader's last entry. */
static bool
all_agree(struct env *e)
{
	struct env_node *leader = leader_of(watched);
	const struct machine *want = leader != NULL ? &machines[leader->index][watched] : NULL;

	if (leader == NULL || want->index != status_of(leader, watched).last)
		return false;
	for (size_t i = 0; i < ENV_NODES; i++) {
		const struct machine *x = &machines[i][watched];

		if (group_of(&e->nodes[i], watched) == NULL)
			continue;
		if (x->index != want->index)
			return false;
		assert_true(x->count == want->count && x->sum == want->sum);
	}
	return true;
}

static void
await_agreement(size_t number)
{
	watched = number;
	env_run(&env, all_agree);
}

static void
change_members(struct env_node *leader, size_t number, const char *voters, const char *learners)
{
	struct raft_member m[ENV_NODES];
	struct raft_config *to;
	size_t count = 0;

	for (size_t i = 0; i < ENV_NODES; i++) {
		struct env_node *n = &env.nodes[i];
		bool votes = strchr(voters, n->name[0]) != NULL;

		if (!votes && strchr(learners, n->name[0]) == NULL)
			continue;
		m[count++] = (struct raft_member){
		    .id = group_of(n, number) != NULL ? group_of(n, number)->replica : replica_id(n, number),
		    .node = n->engine.self,
		    .role = votes ? RAFT_VOTER : RAFT_LEARNER};
	}
	assert_int_equal(raft_config_new(m, count, &to), 0);
	assert_int_equal(group_change(group_of(leader, number), to), 0);
	raft_config_free(to);
}

static bool
is_settled(struct env *e)
{
	for (size_t i = 0; i < ENV_NODES; i++) {
		struct raft_status st = status_of(&e->nodes[i], watched);

		if (group_of(&e->nodes[i], watched) != NULL && (st.joint || st.members == 0 || !st.voter))
			return false;
	}
	return all_agree(e);
}

/* A group of all three, led by a. */
static void
begin_group(size_t number)
{
	begin(a, number, true);
	begin(b, number, false);
	begin(c, number, false);
	await_leader(number);
	change_members(a, number, "abc", "");
	watched = number;
	env_run(&env, is_settled);
}

/* --- restarts --- */

/* As if the process was killed: what was not flushed is lost. */
static void
crash(struct env_node *n)
{
	env_stop(n);
	for (size_t k = 0; k < USER_GROUPS; k++)
		machines[n->index][k].index = 0;
}

static void
start(struct env_node *n)
{
	net_start(n);
	for (size_t k = 0; k < USER_GROUPS; k++)
		if (group_of(n, k) != NULL)
			attach(n, k);
}

static int
group_setup(void **state)
{
	int err = net_setup(state);

	memset(machines, 0, sizeof(machines));
	memset(truth, 0, sizeof(truth));
	lives = 0;
	snapshot_extra_bytes = 0;
	return err;
}

static inline int64_t
value(const struct metric *m)
{
	return m->value;
}

#endif
