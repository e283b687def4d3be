/* mesh: handing leadership of a group over, wherever its leader is; see mesh.h. */
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "consensusd/mesh_impl.h"
#include "proto/pb.h"
#include "proto/peer.pb.h"

/* Who waits for it: until somebody else leads. */
struct transfer {
	struct timed timer; /* first: see timed */
	TAILQ_ENTRY(transfer) entry;
	struct mesh *mesh;
	uint8_t group[STORE_GROUP_BYTES];
	uint64_t from; /* node that led */
	struct mono over;
	mesh_done_fn *fn;
	void *ctx;
};

enum { TRANSFER_LOOK_MS = 50 };

/* The voter that answers and has most of the log. */
static uint64_t
best_of(struct group *g, uint64_t node)
{
	struct raft_member_status s;
	struct raft_status st;
	uint64_t best = 0, match = 0;

	group_show(g, &st);
	for (size_t i = 0; group_member_at(g, i, &s); i++) {
		if (s.member.role == RAFT_LEARNER || s.member.id == st.id ||
		    (node != 0 ? s.member.node != node : !group_member_answers(g, &s)))
			continue;
		if (best == 0 || s.match > match) {
			best = s.member.id;
			match = s.match;
		}
	}
	return best;
}

static int
hand_over(struct mesh *m, struct group *g, uint64_t node, const char **why)
{
	uint64_t replica;
	int err;

	if (node == m->engine->self) {
		*why = "it leads already";
		return ERR_EXISTS;
	}
	if ((replica = best_of(g, node)) == 0) {
		*why = node != 0 ? "that node does not vote in the group"
				 : "there is no other voter that answers";
		return ERR_NOENT;
	}
	err = group_transfer(g, replica);
	*why = err_text(err);
	return err;
}

void
mesh_on_transfer(void *ctx, const struct ask_from *from, const uint8_t *body, size_t len)
{
	struct mesh *m = ctx;
	mesh_peer_Transfer in = mesh_peer_Transfer_init_zero;
	const char *why = "malformed";
	int err = pb_unpack(body, len, mesh_peer_Transfer_fields, &in);
	struct group *g = err == 0 ? groups_find(m->engine->groups, in.group_id) : NULL;

	if (err == 0 && (g == NULL || group_leader_node(g) != m->engine->self)) {
		err = ERR_STATE;
		why = "that node does not lead the group";
	}
	if (err == 0 && (err = hand_over(m, g, in.node, &why)) == ERR_AGAIN)
		err = 0; /* asked again while it is under way */
	ask_answer(m->engine->asks, from, err, err != 0 ? why : "", NULL, 0);
}

static void
transfer_end(struct transfer *t, int err, const char *text)
{
	const struct mesh_outcome o = {.err = err, .text = text};
	mesh_done_fn *fn = t->fn;
	void *ctx = t->ctx;

	ask_cancel_all(t->mesh->engine->asks, t);
	engine_at_cancel(t->mesh->engine, &t->timer);
	TAILQ_REMOVE(&t->mesh->transfers, t, entry);
	mem_free(t);
	if (fn != NULL)
		fn(ctx, &o);
}

static void
on_look(void *arg)
{
	struct transfer *t = arg;
	struct group *g = groups_find(t->mesh->engine->groups, t->group);
	uint64_t leader = g != NULL ? group_leader_node(g) : 0;

	if (leader != 0 && leader != t->from)
		transfer_end(t, 0, "");
	else if (g == NULL || !mono_before(clock_mono(), t->over))
		transfer_end(t, ERR_TIMEOUT, "nobody else has become the leader in time");
	else
		engine_at(t->mesh->engine, &t->timer, mono_add_ms(clock_mono(), TRANSFER_LOOK_MS));
}

static void
on_answer(void *ctx, uint64_t node, int err, const char *text, const uint8_t *body, size_t len)
{
	(void)node;
	(void)body;
	(void)len;
	if (err != 0)
		transfer_end(ctx, err, text);
}

static int
ask_leader(struct transfer *t, uint64_t node, uint32_t timeout_ms)
{
	mesh_peer_Transfer msg = {.node = node};
	uint8_t mem[64];
	struct buf out;
	int err;

	memcpy(msg.group_id, t->group, sizeof(msg.group_id));
	buf_init_fixed(&out, mem, sizeof(mem));
	err = pb_pack(&out, mesh_peer_Transfer_fields, &msg);
	return err != 0 ? err
			: ask_send(t->mesh->engine->asks, t->from, mesh_peer_Method_ASK_TRANSFER, mem,
			      buf_left(&out), timeout_ms, on_answer, t, NULL);
}

int
mesh_transfer(
    struct mesh *m, struct group *g, uint64_t node, uint32_t timeout_ms, mesh_done_fn *fn, void *ctx)
{
	uint64_t leader = group_leader_node(g);
	struct transfer *t;
	int err;

	if (leader == 0)
		return ERR_UNAVAIL;
	if (leader == node)
		return ERR_EXISTS;
	if ((t = mem_calloc(1, sizeof(*t))) == NULL)
		return ERR_NOMEM;
	*t = (struct transfer){.timer = {.fn = on_look, .arg = t},
	    .mesh = m,
	    .from = leader,
	    .over = mono_add_ms(clock_mono(), timeout_ms),
	    .fn = fn,
	    .ctx = ctx};
	memcpy(t->group, group_id(g), sizeof(t->group));
	TAILQ_INSERT_TAIL(&m->transfers, t, entry);
	if ((err = ask_leader(t, node, timeout_ms)) != 0) {
		t->fn = NULL;
		transfer_end(t, 0, "");
		return err;
	}
	engine_at(m->engine, &t->timer, mono_add_ms(clock_mono(), TRANSFER_LOOK_MS));
	return 0;
}

void
mesh_transfers_forget(struct mesh *m, const void *ctx)
{
	struct transfer *t;

	TAILQ_FOREACH (t, &m->transfers, entry)
		if (t->ctx == ctx)
			t->fn = NULL;
}

void
mesh_transfers_fini(struct mesh *m)
{
	while (!TAILQ_EMPTY(&m->transfers))
		transfer_end(TAILQ_FIRST(&m->transfers), ERR_CLOSED, MESH_CLOSED_TEXT);
}
