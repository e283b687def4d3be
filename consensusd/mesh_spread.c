/*
 * mesh: who has applied what; see mesh.h.
 *
 * Members tell the leader how far they are.  What is lost on the way is told again; a new leader is told by
 * all. Whoever wants to know asks the leader, who answers when enough have, or when time is over.
 */
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/num.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "consensusd/mesh_impl.h"
#include "consensusd/peers.h"
#include "proto/pb.h"
#include "proto/peer.pb.h"

enum { WAIT_NODE_BYTES = 9, WAIT_NODES_MAX = ASK_BODY_MAX_BYTES / WAIT_NODE_BYTES };

/* --- marks --- */

uint64_t
mesh_applied_by(struct mesh *m, uint64_t node)
{
	struct mesh_mark *k;

	if (node == m->engine->self)
		return mesh_own_mark(m);
	HASH_FIND(hh, m->marks, &node, sizeof(node), k);
	return k != NULL ? k->index : 0;
}

static bool
is_member(const struct mcg_member *x)
{
	return x->status == MCG_MEMBER || x->status == MCG_STOPPED;
}

uint64_t
mesh_least_mark(struct mesh *m)
{
	uint64_t least = UINT64_MAX;

	for (size_t i = 0; i < mcg_member_count(m->mcg); i++)
		if (is_member(mcg_member_at(m->mcg, i)))
			least = min_u64(least, mesh_applied_by(m, mcg_member_at(m->mcg, i)->node));
	return least;
}

static void
mark(struct mesh *m, uint64_t node, uint64_t index)
{
	struct mesh_mark *k;

	HASH_FIND(hh, m->marks, &node, sizeof(node), k);
	if (k == NULL) {
		if (HASH_COUNT(m->marks) >= MCG_MEMBERS_MAX || (k = mem_calloc(1, sizeof(*k))) == NULL)
			return;
		k->node = node;
		HASH_ADD(hh, m->marks, node, sizeof(k->node), k);
		if (!HASH_ADDED(k)) {
			mem_free(k);
			return;
		}
	}
	k->index = index;
}

static void
marks_clear(struct mesh *m)
{
	struct mesh_mark *k, *next;

	HASH_ITER (hh, m->marks, k, next) {
		HASH_DEL(m->marks, k);
		mem_free(k);
	}
}

/* --- waiters --- */

static void
waiter_free(struct mesh_waiter *w)
{
	engine_at_cancel(w->mesh->engine, &w->timer);
	TAILQ_REMOVE(&w->mesh->waiters, w, entry);
	w->mesh->waiter_count--;
	mem_free(w);
}

static void
spread_now(struct mesh *m, uint64_t index, enum mesh_wait mode, struct mesh_spread *s)
{
	size_t have = 0;

	s->count = 0;
	for (size_t i = 0; i < mcg_member_count(m->mcg); i++) {
		const struct mcg_member *x = mcg_member_at(m->mcg, i);

		if (!is_member(x) || s->count >= MCG_MEMBERS_MAX)
			continue;
		s->node[s->count].node = x->node;
		s->node[s->count].applied = mesh_applied_by(m, x->node) >= index;
		have += s->node[s->count++].applied;
	}
	s->reached = mode == MESH_WAIT_ALL      ? have == s->count
		     : mode == MESH_WAIT_QUORUM ? have > s->count / 2
						: true;
}

static void
answer_node(struct mesh *m, const struct ask_from *to, const struct mesh_spread *s)
{
	mesh_peer_Waited msg = {.reached = s->reached};
	struct pb_slice nodes;
	struct buf list, out;
	int err = 0;

	buf_init(&list, ASK_BODY_MAX_BYTES);
	buf_init(&out, ASK_BODY_MAX_BYTES);
	for (size_t i = 0; i < s->count && i < WAIT_NODES_MAX && err == 0; i++)
		if ((err = buf_put_u64(&list, s->node[i].node)) == 0)
			err = buf_put_u8(&list, s->node[i].applied);
	nodes = (struct pb_slice){buf_head(&list), buf_left(&list)};
	pb_slice_encode(&msg.nodes, &nodes);
	if (err == 0)
		err = pb_pack(&out, mesh_peer_Waited_fields, &msg);
	ask_answer(m->engine->asks, to, err, err_text(err), buf_head(&out), buf_left(&out));
	buf_fini(&list);
	buf_fini(&out);
}

static void
waiter_done(struct mesh_waiter *w, int err, const struct mesh_spread *s)
{
	struct mesh *m = w->mesh;
	mesh_spread_fn *fn = w->fn;
	struct ask_from from = w->from;
	void *ctx = w->ctx;

	ask_cancel_all(m->engine->asks, w);
	waiter_free(w);
	if (fn != NULL)
		fn(ctx, err, s);
	else if (err == 0)
		answer_node(m, &from, s);
	else
		ask_answer(m->engine->asks, &from, err, err_text(err), NULL, 0);
}

/* The leader's: is it reached, or over? */
static void
waiter_look(struct mesh_waiter *w)
{
	struct mesh_spread *s = w->mesh->spread;

	spread_now(w->mesh, w->index, w->mode, s);
	if (s->reached || !mono_before(clock_mono(), w->over))
		waiter_done(w, 0, s);
}

static void
look_all(struct mesh *m)
{
	struct mesh_waiter *w, *next;

	if (!mesh_leads(m))
		return;
	for (w = TAILQ_FIRST(&m->waiters); w != NULL; w = next) {
		next = TAILQ_NEXT(w, entry);
		waiter_look(w);
	}
}

/* --- asking the leader --- */

static void
on_waited(void *ctx, uint64_t node, int err, const char *text, const uint8_t *body, size_t len)
{
	struct mesh_waiter *w = ctx;
	mesh_peer_Waited msg = mesh_peer_Waited_init_zero;
	struct mesh_spread *s = w->mesh->spread;
	struct pb_slice nodes = {0};
	struct buf in;
	uint8_t applied;

	(void)node;
	(void)text;
	w->asked = 0;
	pb_slice_decode(&msg.nodes, &nodes);
	if (err == 0)
		err = pb_unpack(body, len, mesh_peer_Waited_fields, &msg);
	if (err == 0) {
		s->count = 0;
		s->reached = msg.reached;
		buf_view(&in, nodes.data, nodes.len);
		while (s->count < MCG_MEMBERS_MAX && buf_get_u64(&in, &s->node[s->count].node) == 0 &&
		       buf_get_u8(&in, &applied) == 0)
			s->node[s->count++].applied = applied != 0;
		waiter_done(w, 0, s);
	}
	/* Otherwise the timer asks again, maybe another leader. */
}

static void
ask_leader(struct mesh_waiter *w, uint64_t leader)
{
	int64_t left_ms = mono_diff_us(w->over, clock_mono()) / 1000;
	mesh_peer_Wait msg = {
	    .index = w->index, .mode = w->mode, .timeout_ms = (uint32_t)(left_ms > 0 ? left_ms : 0)};
	uint8_t mem[64];
	struct buf out;

	buf_init_fixed(&out, mem, sizeof(mem));
	if (pb_pack(&out, mesh_peer_Wait_fields, &msg) != 0)
		return;
	if (ask_send(w->mesh->engine->asks, leader, mesh_peer_Method_ASK_WAIT, mem, buf_left(&out),
		msg.timeout_ms + ASK_AGAIN_MS, on_waited, w, NULL) == 0)
		w->asked = leader;
}

static void
on_timer(void *arg)
{
	struct mesh_waiter *w = arg;
	struct mesh *m = w->mesh;
	struct mono now = clock_mono();
	uint64_t leader = mesh_leader(m);

	engine_at(m->engine, &w->timer, mono_add_ms(now, ASK_AGAIN_MS));
	if (mesh_leads(m)) {
		engine_at(m->engine, &w->timer, mono_min(w->over, mono_add_ms(now, ASK_AGAIN_MS)));
		waiter_look(w);
	} else if (w->fn == NULL || mono_diff_us(now, w->over) > ASK_AGAIN_MS * 1000) {
		waiter_done(w, w->fn == NULL ? ERR_STATE : ERR_TIMEOUT, NULL);
	} else if (leader != 0 && leader != w->asked) {
		ask_cancel_all(m->engine->asks, w);
		ask_leader(w, leader);
	}
}

static struct mesh_waiter *
waiter_new(struct mesh *m, uint64_t index, enum mesh_wait mode, uint32_t timeout_ms)
{
	struct mesh_waiter *w;

	if (m->waiter_count >= MESH_WAITS_MAX || (w = mem_calloc(1, sizeof(*w))) == NULL)
		return NULL;
	w->timer.fn = on_timer;
	w->timer.arg = w;
	w->mesh = m;
	w->index = index;
	w->mode = mode;
	w->over = mono_add_ms(clock_mono(), timeout_ms);
	TAILQ_INSERT_TAIL(&m->waiters, w, entry);
	m->waiter_count++;
	engine_at(m->engine, &w->timer, clock_mono());
	return w;
}

int
mesh_wait(
    struct mesh *m, uint64_t index, enum mesh_wait mode, uint32_t timeout_ms, mesh_spread_fn *fn, void *ctx)
{
	struct mesh_waiter *w;

	if (m->group == NULL)
		return mesh_absent(m);
	if ((w = waiter_new(m, index, mode, timeout_ms)) == NULL)
		return ERR_FULL;
	w->fn = fn;
	w->ctx = ctx;
	return 0;
}

static void
on_wait(void *ctx, const struct ask_from *from, const uint8_t *body, size_t len)
{
	struct mesh *m = ctx;
	mesh_peer_Wait msg = mesh_peer_Wait_init_zero;
	struct mesh_waiter *w;

	if (pb_unpack(body, len, mesh_peer_Wait_fields, &msg) != 0 || msg.mode > MESH_WAIT_ALL) {
		ask_answer(m->engine->asks, from, ERR_FORMAT, "malformed", NULL, 0);
		return;
	}
	if (!mesh_leads(m)) {
		ask_answer(m->engine->asks, from, ERR_STATE, "it does not lead", NULL, 0);
		return;
	}
	TAILQ_FOREACH (w, &m->waiters, entry)
		if (w->from.node == from->node && w->from.id == from->id)
			return; /* asked again */
	if ((w = waiter_new(m, msg.index, (enum mesh_wait)msg.mode, msg.timeout_ms)) != NULL)
		w->from = *from;
	else
		ask_answer(m->engine->asks, from, ERR_FULL, "too many wait", NULL, 0);
}

/* --- telling the leader --- */

static void
tell_leader(void *arg)
{
	struct mesh *m = arg;
	uint64_t leader = mesh_leader(m);
	mesh_peer_Applied msg = {.index = mesh_own_mark(m)};
	uint8_t mem[64];
	struct buf out;
	struct iovec part;

	if (leader == 0 || leader == m->engine->self || m->group == NULL)
		return;
	memcpy(msg.group_id, group_id(m->group), sizeof(msg.group_id));
	buf_init_fixed(&out, mem, sizeof(mem));
	if (pb_pack(&out, mesh_peer_Applied_fields, &msg) != 0)
		return;
	part = (struct iovec){mem, buf_left(&out)};
	/* What is lost is told again below. */
	if (peers_send(m->engine->peers, leader, PEERS_APPLIED, PEERS_URGENT, &part, 1) != 0)
		log_debug("the leader of the control group is told later how far this node is");
	if (msg.index != m->told || leader != m->told_to)
		m->told_tries = 0;
	m->told = msg.index;
	m->told_to = leader;
	if (++m->told_tries < MESH_APPLIED_TRIES)
		engine_at(m->engine, &m->tell,
		    mono_add_ms(clock_mono(), (int64_t)MESH_APPLIED_AGAIN_MS << m->told_tries));
}

static void
on_applied(void *ctx, uint64_t node, const uint8_t *body, size_t len)
{
	struct mesh *m = ctx;
	mesh_peer_Applied msg = mesh_peer_Applied_init_zero;
	const struct mcg_member *x;

	if (m->group == NULL || pb_unpack(body, len, mesh_peer_Applied_fields, &msg) != 0 ||
	    memcmp(msg.group_id, group_id(m->group), sizeof(msg.group_id)) != 0)
		return;
	x = mcg_member_get(m->mcg, node);
	if (x == NULL || !is_member(x) || msg.index <= mesh_applied_by(m, node))
		return;
	mark(m, node, msg.index);
	look_all(m);
	mesh_lead_soon(m);
}

void
mesh_spread_applied(struct mesh *m)
{
	if (mesh_leads(m))
		look_all(m);
	else if (mesh_own_mark(m) != m->told)
		engine_at(m->engine, &m->tell, mono_add_ms(clock_mono(), MESH_APPLIED_DELAY_MS));
}

void
mesh_progressed(struct mesh *m)
{
	mesh_spread_applied(m);
}

/* The leader is another: what waits asks that one. */
void
mesh_spread_role(struct mesh *m)
{
	struct mesh_waiter *w;

	m->told_tries = 0;
	engine_at(m->engine, &m->tell, clock_mono());
	TAILQ_FOREACH (w, &m->waiters, entry)
		engine_at(m->engine, &w->timer, clock_mono());
}

void
mesh_spread_forget(struct mesh *m, const void *ctx)
{
	struct mesh_waiter *w, *next;

	for (w = TAILQ_FIRST(&m->waiters); w != NULL; w = next) {
		next = TAILQ_NEXT(w, entry);
		if (w->ctx != ctx || w->fn == NULL)
			continue;
		ask_cancel_all(m->engine->asks, w);
		waiter_free(w);
	}
}

void
mesh_spread_init(struct mesh *m)
{
	TAILQ_INIT(&m->waiters);
	m->tell.fn = tell_leader;
	m->tell.arg = m;
	asks_serve(m->engine->asks, mesh_peer_Method_ASK_WAIT, on_wait, m);
	peers_handle(m->engine->peers, PEERS_APPLIED, on_applied, m);
}

void
mesh_spread_fini(struct mesh *m)
{
	while (!TAILQ_EMPTY(&m->waiters))
		waiter_done(TAILQ_FIRST(&m->waiters), ERR_CLOSED, NULL);
	engine_at_cancel(m->engine, &m->tell);
	marks_clear(m);
}
