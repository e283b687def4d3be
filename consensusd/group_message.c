/* group: what replicas say to each other; see group.h. */
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "consensusd/core/raft_entry.h"
#include "consensusd/group_impl.h"
#include "consensusd/peers.h"
#include "consensusd/stats.h"

/* --- where replicas live --- */

/* A full table forgets who was learnt first: the list of a uthash is in the order of adding. */
void
groups_learn(struct groups *gs, uint64_t replica, uint64_t node)
{
	struct group_route *r;

	HASH_FIND(hh, gs->routes, &replica, sizeof(replica), r);
	if (r == NULL) {
		if (HASH_COUNT(gs->routes) >= GROUP_ROUTES_MAX) {
			r = gs->routes;
			HASH_DEL(gs->routes, r);
		} else if ((r = mem_calloc(1, sizeof(*r))) == NULL) {
			return;
		}
		r->replica = replica;
		HASH_ADD(hh, gs->routes, replica, sizeof(r->replica), r);
		if (!HASH_ADDED(r)) {
			mem_free(r);
			return;
		}
	}
	r->node = node;
}

void
group_learn_routes(struct group *g)
{
	struct raft_member_status m;

	if (!g->routes_stale)
		return;
	g->routes_stale = false;
	for (size_t i = 0; raft_member_at(g->raft, i, &m); i++)
		groups_learn(g->owner, m.member.id, m.member.node);
}

static uint64_t
node_of(const struct groups *gs, uint64_t replica)
{
	struct group_route *r;

	HASH_FIND(hh, gs->routes, &replica, sizeof(replica), r);
	return r != NULL ? r->node : 0;
}

/* --- sending --- */

/* Appends keep their order among each other; what is small and decides who leads overtakes them.  Those of a
 * group of streams are short as long as it is not behind: they must not wait for the data of clients, for
 * which nodes are held, since more important streams need them.  One that is overtaken is asked for again. */
static enum peers_class
class_of(const struct group *g, const struct raft_msg *m)
{
	size_t bytes = 0;

	if (g->type == STORE_RAFT_DSG && m->kind == RAFT_APPEND) {
		for (size_t i = 0; i < m->entry_count; i++)
			bytes += raft_entry_bytes(m->entries[i]);
		return bytes <= GROUP_SHORT_BYTES ? PEERS_URGENT : PEERS_BULK;
	}
	return m->kind == RAFT_APPEND || m->kind == RAFT_SNAPSHOT || m->kind == RAFT_PROPOSE ? PEERS_BULK
											     : PEERS_URGENT;
}

static void
send_one(struct group *g, const struct raft_msg *m, struct buf *out)
{
	uint64_t node = node_of(g->owner, m->to);
	int err;

	buf_reset(out);
	err = node != 0 ? raft_msg_encode(m, out) : ERR_NOENT;
	if (err == 0) {
		const struct iovec parts[2] = {
		    {g->id, sizeof(g->id)}, {(void *)(uintptr_t)buf_head(out), buf_left(out)}};

		err = peers_send(g->owner->engine->peers, node, PEERS_RAFT, class_of(g, m), parts, 2);
	}
	/* As if it were lost on the way. */
	if (err != 0)
		metric_inc(&stats.raft_unsent);
}

void
group_send_all(struct group *g)
{
	struct raft_msg m;
	struct buf out;

	buf_init(&out, PEERS_MESSAGE_MAX_BYTES);
	while (raft_send(g->raft, &m)) {
		send_one(g, &m, &out);
		raft_msg_fini(&m);
	}
	buf_fini(&out);
}

/* --- receiving --- */

/* Nobody speaks for a replica of another node. */
static bool
is_from(const struct group *g, const struct raft_msg *m, uint64_t node)
{
	struct raft_member_status s;

	for (size_t i = 0; raft_member_at(g->raft, i, &s); i++)
		if (s.member.id == m->from)
			return s.member.node == node;
	return true;
}

void
groups_on_message(void *ctx, uint64_t node, const uint8_t *body, size_t len)
{
	struct groups *gs = ctx;
	struct raft_msg m;
	struct group *g;

	if (!gs->engine->loaded)
		return;
	if (len <= STORE_GROUP_BYTES ||
	    raft_msg_decode(body + STORE_GROUP_BYTES, len - STORE_GROUP_BYTES, &m) != 0) {
		metric_inc(&stats.raft_bad);
		return;
	}
	g = groups_find(gs, body);
	if (g == NULL || !is_from(g, &m, node)) {
		metric_inc(g == NULL ? &stats.raft_unknown : &stats.raft_bad);
		raft_msg_fini(&m);
		if (g == NULL && gs->on_unknown != NULL)
			gs->on_unknown(gs->unknown_ctx, body, node);
		return;
	}
	groups_learn(gs, m.from, node);
	raft_step(g->raft, &m, clock_mono());
	group_touch(g);
}
