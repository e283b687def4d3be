/* Of mcg: who belongs to the mesh. */
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/core/codec.h"
#include "consensusd/core/mcg_impl.h"
#include "consensusd/core/raft_entry.h"

static int
compare(const void *key, const void *item)
{
	uint64_t a = *(const uint64_t *)key, b = ((const struct mcg_member *)item)->node;

	return a < b ? -1 : a > b;
}

static struct mcg_member *
get(const struct mcg *m, uint64_t node)
{
	return sorted_get(&m->members, &node, compare);
}

static void
put(struct mcg *m, struct mcg_member *member)
{
	size_t pos;

	MUST(!sorted_find(&m->members, &member->node, compare, &pos));
	sorted_put(&m->members, pos, member);
}

bool
mcg_present(const struct mcg_member *member)
{
	return member->status == MCG_MEMBER || member->status == MCG_STOPPED;
}

bool
mcg_present_node(const struct mcg *m, uint64_t node)
{
	const struct mcg_member *member = get(m, node);

	return member != NULL && mcg_present(member);
}

void
mcg_members_fini(struct mcg *m)
{
	sorted_fini(&m->members, mem_free);
	sorted_fini(&m->tokens, mem_free);
}

/* The status of a member is another from this entry on. */
static void
become(struct mcg *m, struct mcg_member *member, enum mcg_member_status status, const struct mcg_run *x)
{
	m->present -= mcg_present(member);
	member->status = status;
	m->present += mcg_present(member);
	member->since_index = x->entry->index;
	member->since_unix_ms = x->cmd->unix_ms;
	member->by = x->cmd->node;
	memset(member->reason, 0, sizeof(member->reason));
	x->out->changes |= MCG_CHANGE_MEMBERS;
}

/* --- those that were members --- */

static size_t
former(const struct mcg *m)
{
	return m->members.count - m->present;
}

/* The one that left first; false: there is none. */
static bool
oldest_left(const struct mcg *m, size_t *pos)
{
	const struct mcg_member *oldest = NULL;

	for (size_t i = 0; i < m->members.count; i++) {
		const struct mcg_member *member = m->members.at[i];

		if (member->status != MCG_LEFT ||
		    (oldest != NULL && member->since_index >= oldest->since_index))
			continue;
		oldest = member;
		*pos = i;
	}
	return oldest != NULL;
}

/* After one more is a former one: are there too many, then the one that left first is forgotten. */
static void
forget_former(struct mcg *m)
{
	size_t pos;

	if (former(m) > MCG_FORMER_MAX && oldest_left(m, &pos))
		mem_free(sorted_take(&m->members, pos));
}

static bool
former_room(const struct mcg *m)
{
	size_t pos;

	return former(m) < MCG_FORMER_MAX || oldest_left(m, &pos);
}

/* --- ADMIT --- */

/* Is a replica's id another member's? */
static bool
replica_taken(const struct mcg *m, uint64_t replica, uint64_t node)
{
	for (size_t i = 0; i < m->members.count; i++) {
		const struct mcg_member *member = m->members.at[i];

		if (member->replica == replica && member->node != node)
			return true;
	}
	return false;
}

static bool
known_otherwise(const struct mcg_member *member, const struct mcg_cmd_member *who)
{
	static const uint8_t none[sizeof(who->public_key)];

	/* A node that was evicted before it was ever here has no key. */
	return memcmp(member->public_key, none, sizeof(none)) != 0 &&
	       memcmp(member->public_key, who->public_key, sizeof(none)) != 0;
}

int
mcg_admit_check(const struct mcg *m, const struct mcg_cmd *cmd)
{
	const struct mcg_cmd_member *who = &cmd->u.admit;
	const struct mcg_member *member = get(m, who->node);
	bool present = member != NULL && mcg_present(member);

	if (!present && m->mesh.allow_join == MCG_JOIN_NOBODY)
		return ERR_DENIED;
	if (member != NULL && member->status == MCG_EVICTED && !who->readmit)
		return ERR_DENIED;
	if ((member != NULL && known_otherwise(member, who)) || !mcg_token_free(m, who))
		return ERR_DENIED;
	if (replica_taken(m, who->replica, who->node))
		return ERR_EXISTS;
	return !present && m->present == MCG_MEMBERS_MAX ? ERR_FULL : 0;
}

static void
set(struct mcg *m, struct mcg_member *member, const struct mcg_cmd_member *who, const struct mcg_run *x)
{
	if (member->replica == who->replica && memcmp(member->name, who->name, sizeof(who->name)) == 0)
		return;
	if (member->replica != who->replica)
		become(m, member, MCG_MEMBER, x);
	member->replica = who->replica;
	memcpy(member->public_key, who->public_key, sizeof(who->public_key));
	memcpy(member->name, who->name, sizeof(who->name));
	x->out->changes |= MCG_CHANGE_MEMBERS;
}

/* A member as one that left: then it can become anything. */
static struct mcg_member *
blank(struct mcg *m, uint64_t node)
{
	struct mcg_member *member;

	if (sorted_reserve(&m->members) != 0 || (member = mem_calloc(1, sizeof(*member))) == NULL)
		return NULL;
	member->node = node;
	member->status = MCG_LEFT;
	return member;
}

static int
admit(struct mcg *m, const struct mcg_cmd_member *who, const struct mcg_run *x)
{
	struct mcg_member *member = get(m, who->node), *new = NULL;
	struct mcg_token *token;

	if (member == NULL && (new = member = blank(m, who->node)) == NULL)
		return ERR_NOMEM;
	if (mcg_token_reserve(m, who, &token) != 0) {
		mem_free(new);
		return ERR_NOMEM;
	}
	if (new != NULL)
		put(m, new);
	set(m, member, who, x);
	mcg_token_put(m, token, x->entry->index);
	return 0;
}

int
mcg_admit_run(struct mcg *m, const struct mcg_run *x)
{
	return admit(m, &x->cmd->u.admit, x);
}

int
mcg_seed_member(struct mcg *m, const struct mcg_run *x)
{
	return admit(m, &x->cmd->u.seed.first, x);
}

/* --- REMOVE --- */

int
mcg_remove_check(const struct mcg *m, const struct mcg_cmd *cmd)
{
	const struct mcg_cmd_remove *r = &cmd->u.remove;
	const struct mcg_member *member = get(m, r->node);
	bool present = member != NULL && mcg_present(member);

	if (r->readmit)
		return member != NULL && member->status == MCG_EVICTED ? 0 : ERR_NOENT;
	if (present && m->present == 1)
		return ERR_STATE;
	if (!r->evict)
		return present ? 0 : ERR_NOENT;
	return (member != NULL && !present) || former_room(m) ? 0 : ERR_FULL;
}

/* Removed from the mesh, but remembered. */
static void
out(struct mcg *m, struct mcg_member *member, enum mcg_member_status status, const struct mcg_run *x)
{
	become(m, member, status, x);
	member->replica = 0;
	memcpy(member->reason, x->cmd->u.remove.reason, sizeof(member->reason));
	if (mcg_keys_unseal(m, member->node))
		x->out->changes |= MCG_CHANGE_KEYS;
	forget_former(m);
}

int
mcg_remove_run(struct mcg *m, const struct mcg_run *x)
{
	const struct mcg_cmd_remove *r = &x->cmd->u.remove;
	struct mcg_member *member = get(m, r->node);

	if (member == NULL) {
		if ((member = blank(m, r->node)) == NULL)
			return ERR_NOMEM;
		put(m, member);
	}
	if (r->evict && member->status == MCG_EVICTED)
		return 0;
	out(m, member, r->evict ? MCG_EVICTED : MCG_LEFT, x);
	return 0;
}

/* --- STATE --- */

int
mcg_state_check(const struct mcg *m, const struct mcg_cmd *cmd)
{
	return mcg_present_node(m, cmd->u.state.node) ? 0 : ERR_NOENT;
}

int
mcg_state_run(struct mcg *m, const struct mcg_run *x)
{
	const struct mcg_cmd_state *s = &x->cmd->u.state;
	enum mcg_member_status status = s->stopped ? MCG_STOPPED : MCG_MEMBER;
	struct mcg_member *member = get(m, s->node);

	if (member->status != status)
		become(m, member, status, x);
	return 0;
}

/* --- a snapshot's part --- */

static void
fields(struct codec *c, struct mcg_member *member)
{
	uint8_t status = (uint8_t)member->status;

	codec_u64(c, &member->node);
	codec_u64(c, &member->replica);
	codec_bytes(c, member->public_key, sizeof(member->public_key));
	codec_str(c, member->name, sizeof(member->name));
	codec_u8(c, &status);
	codec_u64(c, &member->since_index);
	codec_u64(c, &member->since_unix_ms);
	codec_str(c, member->reason, sizeof(member->reason));
	codec_u64(c, &member->by);
	codec_check(c, status >= MCG_MEMBER && status <= MCG_EVICTED, ERR_FORMAT);
	if (c->err == 0)
		member->status = status;
	codec_check(c, member->node != 0 && mcg_present(member) == (member->replica != 0), ERR_FORMAT);
	codec_check(c, member->name[0] == '\0' || node_name_valid(member->name), ERR_FORMAT);
}

static int
compare_replica(const void *key, const void *item)
{
	uint64_t a = *(const uint64_t *)key, b = ((const struct mcg_member *)item)->replica;

	return a < b ? -1 : a > b;
}

/* Each replica is one member's. */
static int
check_replicas(const struct mcg *m)
{
	struct sorted seen = {0};
	int err = 0;

	for (size_t i = 0; i < m->members.count && err == 0; i++) {
		struct mcg_member *member = m->members.at[i];
		size_t pos;

		if (!mcg_present(member))
			continue;
		if (sorted_find(&seen, &member->replica, compare_replica, &pos))
			err = ERR_FORMAT;
		else if ((err = sorted_reserve(&seen)) == 0)
			sorted_put(&seen, pos, member);
	}
	sorted_fini(&seen, NULL);
	return err;
}

void
mcg_members_fields(struct mcg *m, struct codec *c)
{
	enum { EACH = 8 + 8 + 32 + 1 + 1 + 8 + 8 + 1 + 8 };
	size_t count = m->members.count, present = 0;

	codec_count(c, &count, MCG_MEMBERS_MAX + MCG_FORMER_MAX, EACH);
	for (size_t i = 0; i < count && c->err == 0; i++) {
		struct mcg_member *member = mcg_item_at(c, &m->members, i, sizeof(*member));

		if (member == NULL)
			return;
		fields(c, member);
		codec_check(c, i == 0 || ((struct mcg_member *)m->members.at[i - 1])->node < member->node,
		    ERR_FORMAT);
		present += mcg_present(member);
	}
	if (c->put || c->err != 0)
		return;
	m->present = present;
	codec_check(c, present != 0, ERR_FORMAT);
	codec_check(c, present <= MCG_MEMBERS_MAX && former(m) <= MCG_FORMER_MAX, ERR_LIMIT);
	if (c->err == 0)
		c->err = check_replicas(m);
}

/* --- to look at --- */

size_t
mcg_member_count(const struct mcg *m)
{
	return m->members.count;
}

size_t
mcg_member_present(const struct mcg *m)
{
	return m->present;
}

const struct mcg_member *
mcg_member_at(const struct mcg *m, size_t i)
{
	return m->members.at[i];
}

const struct mcg_member *
mcg_member_get(const struct mcg *m, uint64_t node)
{
	return get(m, node);
}

bool
mcg_evicted(const struct mcg *m, uint64_t node)
{
	const struct mcg_member *member = get(m, node);

	return member != NULL && member->status == MCG_EVICTED;
}
