/*
 * fake_group: the stand-in's part of the control group: what is asked of it, updates, followers,
 *configuration, keys and dead letters.
 *
 * The type of an update (the operation of one of the database) chooses what becomes of it:
 *	invalid, unavailable, silent, crash; uncommitted, pending, again
 * and so does the token of a node that joins: wrong, silent, crash.  Everything else succeeds at once, and
 *the index of an update says how long its payload was.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/os/channel.h"
#include "proto/mesh.pb.h"
#include "proto/messages.h"
#include "proto/pb.h"
#include "tests/system/grpc/fake.h"

#define GROUP_ID "01ARZ3NDEKTSV4RRFFQ69G5FAV"
#define TEXT(s)                                                                                              \
	{                                                                                                    \
		(const uint8_t *)(s), sizeof(s) - 1                                                          \
	}

enum { FOLLOW_LAST = 1000, FOLLOW_BIG_BYTES = 64 * 1024, CONFIG_MAX = 8, CONFIG_SIZE = 128 };

static struct {
	bool member, leaderless;
	int64_t group_calls;
	char description[256];
	uint32_t follow_msg;
	int64_t follow_sent, follow_acked, follow_window;
	bool follow_big;
	char config_key[128], config[CONFIG_MAX][CONFIG_SIZE]; /* values by version; "": removed */
	int64_t config_version;
	uint8_t big[FOLLOW_BIG_BYTES];
} group;

/* --- members --- */

static int
nothing(uint32_t id)
{
	group.group_calls++;
	return channel_send(fake_channel(), GC_REPLY, id, NULL, 0);
}

static int
group_answer(uint32_t msg, uint32_t id, const char *leader)
{
	const struct pb_slice ids[] = {TEXT("0000000000001"), TEXT("0000000000002")};
	const struct pb_list members = {ids, 2};
	mesh_v1_RaftMemberInfo m = mesh_v1_RaftMemberInfo_init_zero;
	mesh_v1_RaftGroupInfo g = mesh_v1_RaftGroupInfo_init_zero;
	uint8_t mem[mesh_v1_RaftMemberInfo_size];
	struct pb_slice detail;
	struct pb_list details = {&detail, 1};
	struct buf b;

	snprintf(m.node_id, sizeof(m.node_id), "0000000000002");
	snprintf(m.node_name, sizeof(m.node_name), "b");
	snprintf(m.role, sizeof(m.role), "voter");
	snprintf(m.status, sizeof(m.status), "member");
	m.lag = 2;
	buf_init_fixed(&b, mem, sizeof(mem));
	if (pb_pack(&b, mesh_v1_RaftMemberInfo_fields, &m) != 0)
		return ERR_LIMIT;
	detail = (struct pb_slice){buf_head(&b), buf_left(&b)};
	snprintf(g.group_id, sizeof(g.group_id), "%s", GROUP_ID);
	snprintf(g.group_type, sizeof(g.group_type), "MCG");
	snprintf(g.leader_id, sizeof(g.leader_id), "%s", leader);
	snprintf(g.status, sizeof(g.status), leader[0] != '\0' ? "ok" : "no-leader");
	snprintf(g.role, sizeof(g.role), "leader");
	g.term = 7;
	g.commit_index = 20;
	g.applied_index = 17;
	pb_list_encode(&g.members, &members);
	pb_list_encode(&g.member_details, &details);
	return fake_answer(msg, id, mesh_v1_RaftGroupInfo_fields, &g);
}

static int
list_groups(const struct imsg *m)
{
	int rc = group.member ? group_answer(GC_ITEM, m->peerid, group.leaderless ? "" : "0000000000002") : 0;

	return rc != 0 ? rc : fake_done(m->peerid, 0, "");
}

static int
seed(const struct imsg *m)
{
	mesh_v1_SeedMeshReq q = mesh_v1_SeedMeshReq_init_zero;
	int rc = pb_unpack(m->body, m->len, mesh_v1_SeedMeshReq_fields, &q);

	if (rc != 0)
		return rc;
	if (group.member)
		return fake_done(m->peerid, 6, "the mesh has a control group already");
	group.member = true;
	group.leaderless = strcmp(q.name, "leaderless") == 0;
	snprintf(group.description, sizeof(group.description), "%s", q.description);
	return nothing(m->peerid);
}

static int
join(const struct imsg *m)
{
	mesh_v1_JoinMeshReq q = mesh_v1_JoinMeshReq_init_zero;
	int rc = pb_unpack(m->body, m->len, mesh_v1_JoinMeshReq_fields, &q);

	if (rc != 0)
		return rc;
	if (strcmp(q.token, "wrong") == 0)
		return fake_done(m->peerid, 7, "the token is not good");
	if (strcmp(q.token, "silent") == 0)
		return 0;
	if (strcmp(q.token, "crash") == 0)
		_Exit(3);
	group.member = true;
	return nothing(m->peerid);
}

static int
start(const struct imsg *m)
{
	return group.member ? nothing(m->peerid) : fake_done(m->peerid, 9, "the node is no member");
}

static int
stop(const struct imsg *m)
{
	return group.member ? nothing(m->peerid) : fake_done(m->peerid, 9, "the node is no member");
}

static int
leave(const struct imsg *m)
{
	if (group.leaderless)
		return fake_done(m->peerid, 14, "there is no quorum");
	group.member = false;
	return nothing(m->peerid);
}

static int
evict(const struct imsg *m)
{
	mesh_v1_EvictNodeReq q = mesh_v1_EvictNodeReq_init_zero;
	int rc = pb_unpack(m->body, m->len, mesh_v1_EvictNodeReq_fields, &q);

	if (rc != 0)
		return rc;
	if (strcmp(q.node_id, q.readmit ? "c" : "b") != 0)
		return fake_done(m->peerid, 5, "there is no such member");
	return nothing(m->peerid);
}

static int
token(const struct imsg *m)
{
	mesh_v1_JoinTokenReq q = mesh_v1_JoinTokenReq_init_zero;
	mesh_v1_JoinToken t = mesh_v1_JoinToken_init_zero;
	int rc = pb_unpack(m->body, m->len, mesh_v1_JoinTokenReq_fields, &q);

	snprintf(t.token, sizeof(t.token), "token-%s", q.node_id);
	t.expires = 1800000000000 + q.valid_ms;
	return rc != 0 ? rc : fake_answer(GC_REPLY, m->peerid, mesh_v1_JoinToken_fields, &t);
}

static int
settings(const struct imsg *m)
{
	mesh_v1_MeshSettings s = mesh_v1_MeshSettings_init_zero;
	int rc = pb_unpack(m->body, m->len, mesh_v1_MeshSettings_fields, &s);

	if (rc != 0)
		return rc;
	if (s.has_description)
		snprintf(group.description, sizeof(group.description), "%s", s.description);
	snprintf(s.description, sizeof(s.description), "%s", group.description);
	s.has_description = true;
	return fake_answer(GC_REPLY, m->peerid, mesh_v1_MeshSettings_fields, &s);
}

static int
transfer(const struct imsg *m)
{
	mesh_v1_TransferReq q = mesh_v1_TransferReq_init_zero;
	int rc = pb_unpack(m->body, m->len, mesh_v1_TransferReq_fields, &q);

	if (rc != 0)
		return rc;
	if (q.group_id[0] != '\0' && strcmp(q.group_id, GROUP_ID) != 0)
		return fake_done(m->peerid, 5, "there is no such group");
	return group_answer(GC_REPLY, m->peerid, q.node_id[0] != '\0' ? q.node_id : "0000000000002");
}

/* --- updates: their type says what becomes of them --- */

static int
outcome(uint32_t id, const char *type, const char *update_id, size_t len, const mesh_v1_BroadcastWait *wait)
{
	const struct pb_slice nodes[] = {TEXT("0000000000001"), TEXT("0000000000002"), TEXT("0000000000003")};
	const struct pb_list applied = {nodes, 2}, pending = {nodes + 2, 1};
	mesh_v1_BroadcastResult r = mesh_v1_BroadcastResult_init_zero;

	if (strcmp(type, "invalid") == 0)
		return fake_done(id, 3, "the type is not good");
	if (strcmp(type, "unavailable") == 0)
		return fake_done(id, 14, "there is no quorum");
	if (strcmp(type, "silent") == 0)
		return 0;
	if (strcmp(type, "crash") == 0)
		_Exit(3);
	snprintf(r.update_id, sizeof(r.update_id), "%s", update_id);
	r.success = strcmp(type, "uncommitted") != 0 && strcmp(type, "pending") != 0;
	r.committed = strcmp(type, "uncommitted") != 0 && strcmp(wait->mode, "none") != 0;
	r.repeated_update = strcmp(type, "again") == 0;
	if (!r.success)
		snprintf(r.error, sizeof(r.error), "the time of %lld ms was up", (long long)wait->timeout_ms);
	if (strcmp(type, "uncommitted") != 0)
		r.index = (int64_t)len;
	pb_list_encode(&r.applied_nodes, &applied);
	pb_list_encode(&r.pending_nodes, &pending);
	if (strcmp(type, "pending") != 0)
		r.pending_nodes.funcs.encode = NULL;
	if (strcmp(wait->mode, "quorum") != 0 && strcmp(type, "pending") != 0)
		r.applied_nodes.funcs.encode = NULL;
	return fake_answer(GC_REPLY, id, mesh_v1_BroadcastResult_fields, &r);
}

static int
node_update(const struct imsg *m)
{
	mesh_v1_NodeUpdate u = mesh_v1_NodeUpdate_init_zero;
	struct pb_slice payload;
	int rc;

	pb_slice_decode(&u.payload, &payload);
	rc = pb_unpack(m->body, m->len, mesh_v1_NodeUpdate_fields, &u);
	return rc != 0 ? rc : outcome(m->peerid, u.type, "", u.removed ? 99 : payload.len, &u.wait);
}

static int
mesh_update(const struct imsg *m)
{
	mesh_v1_MeshUpdate u = mesh_v1_MeshUpdate_init_zero;
	struct pb_slice payload;
	int rc;

	pb_slice_decode(&u.payload, &payload);
	rc = pb_unpack(m->body, m->len, mesh_v1_MeshUpdate_fields, &u);
	return rc != 0 ? rc : outcome(m->peerid, u.type, u.update_id, payload.len, &u.wait);
}

static int
db_update(const struct imsg *m)
{
	mesh_v1_DBUpdate u = mesh_v1_DBUpdate_init_zero;
	struct pb_slice key, row;
	int rc;

	pb_slice_decode(&u.key, &key);
	pb_slice_decode(&u.row, &row);
	rc = pb_unpack(m->body, m->len, mesh_v1_DBUpdate_fields, &u);
	return rc != 0 ? rc : outcome(m->peerid, u.operation, u.update_id, 1000 * key.len + row.len, &u.wait);
}

/* --- followers: FOLLOW_LAST updates, of which a window is sent unacknowledged --- */

static int
follow_item(uint32_t id)
{
	static const char json[] = "{\"id\": 1}";
	struct pb_slice payload = {group.big, group.follow_big ? FOLLOW_BIG_BYTES : 3}, text = TEXT(json);
	mesh_v1_NodeUpdate n = mesh_v1_NodeUpdate_init_zero;
	mesh_v1_MeshUpdate u = mesh_v1_MeshUpdate_init_zero;
	mesh_v1_DBUpdate d = mesh_v1_DBUpdate_init_zero;

	n.position = u.position = d.position = ++group.follow_sent;
	snprintf(n.type, sizeof(n.type), "load");
	snprintf(u.type, sizeof(u.type), "note");
	snprintf(d.table, sizeof(d.table), "orders");
	pb_slice_encode(&n.payload, &payload);
	pb_slice_encode(&u.payload, &payload);
	pb_slice_encode(&d.key, &text);
	if (group.follow_msg == GC_FOLLOW_NODES)
		return fake_answer(GC_ITEM, id, mesh_v1_NodeUpdate_fields, &n);
	if (group.follow_msg == GC_FOLLOW_MESH)
		return fake_answer(GC_ITEM, id, mesh_v1_MeshUpdate_fields, &u);
	return fake_answer(GC_ITEM, id, mesh_v1_DBUpdate_fields, &d);
}

static int
follow_send(uint32_t id)
{
	int rc = 0;

	while (rc == 0 && group.follow_sent < FOLLOW_LAST &&
	       group.follow_sent - group.follow_acked < group.follow_window)
		rc = follow_item(id);
	return rc;
}

static int
follow(uint32_t msg, const struct imsg *m)
{
	mesh_v1_SubscribeReq q = mesh_v1_SubscribeReq_init_zero;
	int rc = pb_unpack(m->body, m->len, mesh_v1_SubscribeReq_fields, &q);

	if (rc != 0)
		return rc;
	if (strcmp(q.subscriber, "refused") == 0)
		return fake_done(m->peerid, 9, "the node is no member");
	if (!q.has_from && strcmp(q.subscriber, "kept") != 0)
		group.follow_acked = FOLLOW_LAST - 10;
	if (q.has_from)
		group.follow_acked = q.from;
	group.follow_msg = msg;
	group.follow_sent = group.follow_acked;
	group.follow_window = q.window != 0 ? q.window : 256;
	group.follow_big = q.types_count > 0 && strcmp(q.types[0], "big") == 0;
	return follow_send(m->peerid);
}

static int
follow_nodes(const struct imsg *m)
{
	return follow(GC_FOLLOW_NODES, m);
}

static int
follow_mesh(const struct imsg *m)
{
	return follow(GC_FOLLOW_MESH, m);
}

static int
follow_db(const struct imsg *m)
{
	return follow(GC_FOLLOW_DB, m);
}

static int
follow_more(const struct imsg *m)
{
	mesh_v1_SubscribeReq q = mesh_v1_SubscribeReq_init_zero;
	int rc = pb_unpack(m->body, m->len, mesh_v1_SubscribeReq_fields, &q);

	if (rc != 0)
		return rc;
	group.follow_acked = q.ack;
	return follow_send(m->peerid);
}

/* --- configuration: one key, with the values that it had; keys; dead letters --- */

static int
list_answer(uint32_t id, const pb_msgdesc_t *fields, void *msg, pb_callback_t *cb,
    const struct pb_slice *items, size_t count)
{
	const struct pb_list list = {items, count};

	pb_list_encode(cb, &list);
	return fake_answer(GC_REPLY, id, fields, msg);
}

static int
config_answer(uint32_t id, int64_t from, int64_t to)
{
	mesh_v1_ConfigList list = mesh_v1_ConfigList_init_zero;
	struct pb_slice items[CONFIG_MAX];
	uint8_t mem[CONFIG_MAX][512];
	size_t count = 0;

	for (int64_t v = from; v > to; v--, count++) {
		mesh_v1_ConfigEntry e = mesh_v1_ConfigEntry_init_zero;
		const char *text = group.config[v - 1];
		struct pb_slice value = {(const uint8_t *)text, strlen(text)};
		struct buf b;

		snprintf(e.key, sizeof(e.key), "%s", group.config_key);
		e.version = v;
		e.index = 100 + v;
		e.removed = value.len == 0;
		pb_slice_encode(&e.value, &value);
		buf_init_fixed(&b, mem[count], sizeof(mem[count]));
		if (pb_pack(&b, mesh_v1_ConfigEntry_fields, &e) != 0)
			return ERR_LIMIT;
		items[count] = (struct pb_slice){buf_head(&b), buf_left(&b)};
	}
	return list_answer(id, mesh_v1_ConfigList_fields, &list, &list.entries, items, count);
}

static int
config_get(const struct imsg *m)
{
	mesh_v1_ConfigReq q = mesh_v1_ConfigReq_init_zero;
	int rc = pb_unpack(m->body, m->len, mesh_v1_ConfigReq_fields, &q);
	size_t len = strlen(q.key);
	bool all = len == 0 || q.key[len - 1] == '*';
	bool found = group.config_version > 0 && group.config[group.config_version - 1][0] != '\0' &&
		     (all || strcmp(q.key, group.config_key) == 0);

	return rc != 0
		   ? rc
		   : config_answer(m->peerid, group.config_version, group.config_version - (found ? 1 : 0));
}

static int
config_history(const struct imsg *m)
{
	return config_answer(m->peerid, group.config_version, 0);
}

static int
config_set(const struct imsg *m)
{
	mesh_v1_ConfigEntry e = mesh_v1_ConfigEntry_init_zero;
	struct pb_slice value;
	int rc;

	pb_slice_decode(&e.value, &value);
	if ((rc = pb_unpack(m->body, m->len, mesh_v1_ConfigEntry_fields, &e)) != 0)
		return rc;
	if (strcmp(e.key, "unavailable") == 0)
		return fake_done(m->peerid, 14, "there is no quorum");
	if (e.has_expected_version && e.expected_version != group.config_version)
		return fake_done(m->peerid, 10, "the key has another version");
	if (group.config_version == CONFIG_MAX || value.len >= sizeof(group.config[0]))
		return fake_done(m->peerid, 8, "the stand-in keeps no more");
	snprintf(group.config_key, sizeof(group.config_key), "%s", e.key);
	snprintf(group.config[group.config_version++], sizeof(group.config[0]), "%.*s",
	    e.removed ? 0 : (int)value.len, (const char *)value.data);
	e.version = group.config_version;
	e.index = 100 + e.version;
	pb_slice_encode(&e.value, &value);
	return fake_answer(GC_REPLY, m->peerid, mesh_v1_ConfigEntry_fields, &e);
}

static int
rotate_key(const struct imsg *m)
{
	mesh_v1_RotateKeyReq q = mesh_v1_RotateKeyReq_init_zero;
	mesh_v1_KeyInfo k = mesh_v1_KeyInfo_init_zero;
	struct pb_slice items[64];
	struct pb_raw_list nodes = {.items = items, .max = 64};
	struct pb_list list = {.items = items};
	int rc;

	pb_raw_list_decode(&q.node_ids, &nodes);
	if ((rc = pb_unpack(m->body, m->len, mesh_v1_RotateKeyReq_fields, &q)) != 0)
		return rc;
	list.count = nodes.count;
	pb_list_encode(&k.node_ids, &list);
	snprintf(k.tenant_id, sizeof(k.tenant_id), "%s", q.tenant_id);
	snprintf(k.key_id, sizeof(k.key_id), "00112233aabbccdd");
	k.version = 3;
	k.created = q.valid_ms;
	k.held = true;
	return fake_answer(GC_REPLY, m->peerid, mesh_v1_KeyInfo_fields, &k);
}

static int
list_keys(const struct imsg *m)
{
	mesh_v1_KeyList list = mesh_v1_KeyList_init_zero;
	struct pb_slice items[2];
	uint8_t mem[2][128];

	for (size_t i = 0; i < 2; i++) {
		mesh_v1_KeyInfo k = mesh_v1_KeyInfo_init_zero;
		struct buf b;

		snprintf(k.tenant_id, sizeof(k.tenant_id), "%s", i == 0 ? "" : "acme");
		k.version = (int64_t)i + 1;
		buf_init_fixed(&b, mem[i], sizeof(mem[i]));
		if (pb_pack(&b, mesh_v1_KeyInfo_fields, &k) != 0)
			return ERR_LIMIT;
		items[i] = (struct pb_slice){buf_head(&b), buf_left(&b)};
	}
	return list_answer(m->peerid, mesh_v1_KeyList_fields, &list, &list.keys, items, 2);
}

/* Letters 5 and 6, but those up to position `without`. */
static int
letters_answer(uint32_t id, int64_t without)
{
	static const char json[] = "{\"id\": 1}";
	mesh_v1_DeadLetterList list = mesh_v1_DeadLetterList_init_zero;
	struct pb_slice items[2], key = TEXT(json);
	uint8_t mem[2][256];
	size_t count = 0;

	for (int64_t at = 5; at <= 6; at++) {
		mesh_v1_DeadLetter l = mesh_v1_DeadLetter_init_zero;
		struct buf b;

		if (at <= without)
			continue;
		l.position = at;
		l.attempts = 3;
		l.blocking = at == 5;
		snprintf(l.table, sizeof(l.table), "orders");
		snprintf(l.error, sizeof(l.error), "there is no such column");
		pb_slice_encode(&l.key, &key);
		buf_init_fixed(&b, mem[count], sizeof(mem[count]));
		if (pb_pack(&b, mesh_v1_DeadLetter_fields, &l) != 0)
			return ERR_LIMIT;
		items[count++] = (struct pb_slice){buf_head(&b), buf_left(&b)};
	}
	return list_answer(id, mesh_v1_DeadLetterList_fields, &list, &list.letters, items, count);
}

static int
dead_letters(const struct imsg *m)
{
	mesh_v1_DeadLetterReq q = mesh_v1_DeadLetterReq_init_zero;
	int rc = pb_unpack(m->body, m->len, mesh_v1_DeadLetterReq_fields, &q);

	return rc != 0 ? rc : letters_answer(m->peerid, q.after);
}

static int
resolve(const struct imsg *m)
{
	mesh_v1_ResolveDeadLetterReq q = mesh_v1_ResolveDeadLetterReq_init_zero;
	int rc = pb_unpack(m->body, m->len, mesh_v1_ResolveDeadLetterReq_fields, &q);

	if (rc != 0)
		return rc;
	if (strcmp(q.action, "retry") != 0 && strcmp(q.action, "discard") != 0)
		return fake_done(m->peerid, 3, "action: retry or discard");
	if (q.position > 6)
		return fake_done(m->peerid, 5, "there is no such letter");
	return letters_answer(m->peerid, q.position != 0 ? q.position : 6);
}

/* --- */

int64_t
fake_group_calls(void)
{
	return group.group_calls;
}

int64_t
fake_group_followed(void)
{
	return group.follow_acked;
}

int
fake_group(const struct imsg *m)
{
	static int (*const handlers[])(const struct imsg *) = {
	    [GC_LIST_GROUPS] = list_groups,
	    [GC_SEED] = seed,
	    [GC_JOIN] = join,
	    [GC_START] = start,
	    [GC_STOP] = stop,
	    [GC_LEAVE] = leave,
	    [GC_EVICT] = evict,
	    [GC_TOKEN] = token,
	    [GC_SETTINGS] = settings,
	    [GC_TRANSFER] = transfer,
	    [GC_NODE_UPDATE] = node_update,
	    [GC_MESH_UPDATE] = mesh_update,
	    [GC_DB_UPDATE] = db_update,
	    [GC_FOLLOW_NODES] = follow_nodes,
	    [GC_FOLLOW_MESH] = follow_mesh,
	    [GC_FOLLOW_DB] = follow_db,
	    [GC_FOLLOW_MORE] = follow_more,
	    [GC_CONFIG_GET] = config_get,
	    [GC_CONFIG_HISTORY] = config_history,
	    [GC_CONFIG_SET] = config_set,
	    [GC_ROTATE_KEY] = rotate_key,
	    [GC_LIST_KEYS] = list_keys,
	    [GC_DEAD_LETTERS] = dead_letters,
	    [GC_RESOLVE] = resolve,
	};

	return handlers[m->type](m);
}
