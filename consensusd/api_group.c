/* api: Raft groups as they are shown; see api.h. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/api_impl.h"
#include "consensusd/core/raft_config.h"
#include "consensusd/engine.h"
#include "consensusd/group.h"
#include "consensusd/mesh.h"
#include "proto/mesh.pb.h"
#include "proto/pb.h"

enum { API_GROUP_MAX_BYTES = 4 * 1024 * 1024, API_FORMER_MAX = 1024 };

/* Encoded sub-messages: where each ends. */
struct pieces {
	struct buf bytes;
	struct pb_slice *slice;
	size_t count, cap;
};

static int
piece_add(struct pieces *p, const void *fields, const void *msg)
{
	size_t at = buf_left(&p->bytes);
	int err;

	if (p->count == p->cap)
		return ERR_LIMIT;
	if ((err = pb_pack(&p->bytes, fields, msg)) != 0)
		return err;
	/* The bytes may move: the place now, the address at the end. */
	p->slice[p->count++] = (struct pb_slice){NULL, buf_left(&p->bytes) - at};
	return 0;
}

static const char *
role_of(const struct raft_member *m)
{
	if (m->role == RAFT_VOTER || m->role == (RAFT_VOTER | RAFT_OLD_VOTER))
		return "voter";
	if (m->role & RAFT_VOTER)
		return "joining";
	return m->role & RAFT_OLD_VOTER ? "leaving" : "learner";
}

static const char *
status_of(const struct mcg_member *x)
{
	if (x == NULL)
		return "";
	switch (x->status) {
	case MCG_MEMBER:
		return "member";
	case MCG_STOPPED:
		return "stopped";
	case MCG_LEFT:
		return "left";
	case MCG_EVICTED:
		return "evicted";
	}
	return "";
}

static void
name_member(struct engine *e, uint64_t node, const struct mcg_member *x, mesh_v1_RaftMemberInfo *out)
{
	const struct node *n = nodes_find(&e->nodes, node);

	nodeid_format(out->node_id, node);
	snprintf(out->node_name, sizeof(out->node_name), "%s",
	    node == e->self                   ? e->node_name
	    : n != NULL && n->name[0] != '\0' ? n->name
	    : x != NULL                       ? x->name
					      : "");
	snprintf(out->status, sizeof(out->status), "%s", status_of(x));
	if (x == NULL)
		return;
	snprintf(out->reason, sizeof(out->reason), "%s", x->reason);
	out->since = (int64_t)x->since_unix_ms;
}

static int
add_member(struct engine *e, struct group *g, const struct raft_status *st, size_t i, struct pieces *p)
{
	mesh_v1_RaftMemberInfo out = mesh_v1_RaftMemberInfo_init_zero;
	struct raft_member_status s;
	bool control = group_type(g) == STORE_RAFT_MCG;

	if (!group_member_at(g, i, &s))
		return ERR_NOENT;
	name_member(
	    e, s.member.node, control ? mcg_member_get(mesh_mcg(e->mesh), s.member.node) : NULL, &out);
	snprintf(out.role, sizeof(out.role), "%s", role_of(&s.member));
	snprintf(out.replica_id, sizeof(out.replica_id), "%016llx", (unsigned long long)s.member.id);
	if (st->role == RAFT_LEADER) {
		out.match_index = (int64_t)s.match;
		out.lag = (int64_t)(st->last - s.match);
		out.active = group_member_answers(g, &s);
		out.snapshot = s.snapshot;
		out.applied_index = control ? (int64_t)mesh_applied_by(e->mesh, s.member.node) : 0;
	}
	return piece_add(p, mesh_v1_RaftMemberInfo_fields, &out);
}

/* Those that left or were evicted are shown with the control group. */
static int
add_former(struct engine *e, struct pieces *p)
{
	const struct mcg *mcg = mesh_mcg(e->mesh);
	int err = 0;

	for (size_t i = 0; i < mcg_member_count(mcg) && p->count < p->cap && err == 0; i++) {
		const struct mcg_member *x = mcg_member_at(mcg, i);
		mesh_v1_RaftMemberInfo out = mesh_v1_RaftMemberInfo_init_zero;

		if (x->status != MCG_LEFT && x->status != MCG_EVICTED)
			continue;
		name_member(e, x->node, x, &out);
		err = piece_add(p, mesh_v1_RaftMemberInfo_fields, &out);
	}
	return err;
}

static const char *
health_of(struct engine *e, struct group *g, const struct raft_status *st)
{
	if (st->gone)
		return "removed";
	if (st->members == 0 || (group_type(g) == STORE_RAFT_MCG && mesh_state(e->mesh) == MESH_ENTERING))
		return "joining";
	return group_leader_node(g) != 0 ? "ok" : "no-leader";
}

static const char *
own_role(const struct raft_status *st)
{
	return st->role == RAFT_FOLLOWER && !st->voter ? "learner" : raft_role_name(st->role);
}

static void
fill_group(struct engine *e, struct group *g, const struct raft_status *st, mesh_v1_RaftGroupInfo *out)
{
	uint64_t leader = group_leader_node(g);

	group_text(g, out->group_id);
	snprintf(
	    out->group_type, sizeof(out->group_type), "%s", group_type(g) == STORE_RAFT_MCG ? "MCG" : "DSG");
	out->term = (int64_t)st->term;
	if (leader != 0)
		nodeid_format(out->leader_id, leader);
	snprintf(out->status, sizeof(out->status), "%s", health_of(e, g, st));
	snprintf(out->role, sizeof(out->role), "%s", own_role(st));
	out->commit_index = (int64_t)st->commit;
	out->applied_index = (int64_t)st->applied;
	out->first_index = (int64_t)st->first;
	out->last_index = (int64_t)st->last;
	out->quiet = st->quiet;
	out->changing = st->joint;
	out->log_bytes = (int64_t)st->bytes;
}

static int
encode_pieces(struct pieces *p, const struct raft_status *st, struct group *g, mesh_v1_RaftGroupInfo *info,
    struct buf *out)
{
	const uint8_t *at = buf_head(&p->bytes);
	struct pb_list details = {p->slice, p->count}, ids;
	char(*id)[NODEID_TEXT_SIZE] = mem_calloc(st->members + 1, sizeof(*id));
	struct pb_slice *id_slice = mem_calloc(st->members + 1, sizeof(*id_slice));
	struct raft_member_status s;
	int err = id == NULL || id_slice == NULL ? ERR_NOMEM : 0;

	for (size_t i = 0; i < p->count; at += p->slice[i++].len)
		p->slice[i].data = at;
	for (size_t i = 0; err == 0 && i < st->members && group_member_at(g, i, &s); i++) {
		nodeid_format(id[i], s.member.node);
		id_slice[i] = (struct pb_slice){(const uint8_t *)id[i], strlen(id[i])};
	}
	ids = (struct pb_list){id_slice, st->members};
	pb_list_encode(&info->member_details, &details);
	pb_list_encode(&info->members, &ids);
	if (err == 0)
		err = pb_pack(out, mesh_v1_RaftGroupInfo_fields, info);
	mem_free(id);
	mem_free(id_slice);
	return err;
}

static int
encode_group(struct engine *e, struct group *g, struct buf *out)
{
	mesh_v1_RaftGroupInfo info = mesh_v1_RaftGroupInfo_init_zero;
	struct pieces p = {0};
	struct raft_status st;
	int err = 0;

	group_show(g, &st);
	p.cap = st.members + API_FORMER_MAX;
	buf_init(&p.bytes, API_GROUP_MAX_BYTES);
	if ((p.slice = mem_calloc(p.cap, sizeof(*p.slice))) == NULL)
		return ERR_NOMEM;
	fill_group(e, g, &st, &info);
	for (size_t i = 0; i < st.members && err == 0; i++)
		err = add_member(e, g, &st, i, &p);
	if (err == 0 && group_type(g) == STORE_RAFT_MCG)
		err = add_former(e, &p);
	if (err == 0)
		err = encode_pieces(&p, &st, g, &info, out);
	buf_fini(&p.bytes);
	mem_free(p.slice);
	return err;
}

void
api_group_reply(struct engine *e, struct call *call, struct group *g)
{
	struct buf out;
	int err;

	buf_init(&out, API_GROUP_MAX_BYTES);
	if ((err = encode_group(e, g, &out)) == 0)
		call_reply(call, buf_head(&out), buf_left(&out));
	else
		call_done(call, CODE_RESOURCE_EXHAUSTED, "the answer can't be made: %s", err_text(err));
	buf_fini(&out);
}

void
api_mesh_groups(struct api *a, struct client *c, const struct imsg *m)
{
	struct call *call = api_unary(a, c, m);
	struct buf out;
	int err = 0;

	if (call == NULL)
		return;
	buf_init(&out, API_GROUP_MAX_BYTES);
	for (struct group *g = groups_first(a->engine->groups); g != NULL && err == 0; g = groups_next(g)) {
		buf_reset(&out);
		if ((err = encode_group(a->engine, g, &out)) == 0) {
			const struct iovec iov = {(void *)(uintptr_t)buf_head(&out), buf_left(&out)};

			call_item(call, &iov, 1);
		}
	}
	buf_fini(&out);
	if (err == 0)
		call_done(call, CODE_OK, "%s", "");
	else
		call_done(call, CODE_RESOURCE_EXHAUSTED, "the answer can't be made: %s", err_text(err));
}

struct group *
api_group_find(struct engine *e, const char *text)
{
	char own[GROUP_TEXT_SIZE];

	for (struct group *g = groups_first(e->groups); g != NULL; g = groups_next(g)) {
		group_text(g, own);
		if (strcasecmp(own, text) == 0)
			return g;
	}
	return NULL;
}
