/*
 * mesh: seeding, joining and leaving the control group; see mesh.h.
 *
 * Joining: known nodes are asked whether there is a group; the replica is made, durably; then a member is
 * asked to admit it, and the group's leader sends it the log.  Until this node sees itself as a member
 * nothing is finished, and each step may be taken again.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "consensusd/keyring.h"
#include "consensusd/mesh_impl.h"
#include "consensusd/relation.h"
#include "consensusd/shared.h"
#include "proto/pb.h"
#include "proto/peer.pb.h"

static void on_timer(void *arg);

/* --- the end of an attempt --- */

static void
finish(struct mesh *m, int err, const char *text)
{
	const struct mesh_outcome o = {.err = err, .text = text};
	struct mesh_entering *t = &m->entering;
	mesh_done_fn *fn = t->fn;
	void *ctx = t->ctx;

	ask_cancel_all(m->engine->asks, t);
	engine_at_cancel(m->engine, &t->timer);
	crypto_wipe(t->token, sizeof(t->token));
	*t = (struct mesh_entering){.timer = {.fn = on_timer, .arg = m}};
	shared_look(m->engine->shared);
	if (fn != NULL)
		fn(ctx, &o);
}

static void fail(struct mesh *m, int err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Nothing is left of what was begun; who joins again goes on trying. */
static void
fail(struct mesh *m, int err, const char *fmt, ...)
{
	struct mesh_entering *t = &m->entering;
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	ask_cancel_all(m->engine->asks, t);
	if (m->group != NULL && t->kind != MESH_ENTRY_LEAVE)
		mesh_outside(m, text);
	if (t->kind == MESH_ENTRY_AGAIN &&
	    (err == ERR_DENIED || (err == ERR_NOENT && ++t->tries >= MESH_REJOIN_TRIES))) {
		log_warn("joining the control group again: %s; given up", text);
		m->left = true;
	} else if (t->kind == MESH_ENTRY_AGAIN) {
		log_warn("joining the control group again: %s; tried again", text);
		t->found = false;
		t->asked = t->answered = t->unanswered = 0;
		engine_at(m->engine, &t->timer, mono_add_ms(clock_mono(), MESH_REJOIN_MS));
		return;
	}
	finish(m, err, text);
}

static int
begin(struct mesh *m, enum mesh_entry_kind kind, int64_t ms, mesh_done_fn *fn, void *ctx)
{
	struct mesh_entering *t = &m->entering;

	if (!m->engine->loaded)
		return ERR_UNAVAIL;
	if (t->kind != MESH_ENTRY_NONE)
		return ERR_AGAIN;
	t->kind = kind;
	t->fn = fn;
	t->ctx = ctx;
	t->over = mono_add_ms(clock_mono(), ms);
	return 0;
}

/* --- asking who knows a group --- */

static void
on_found(void *ctx, uint64_t node, int err, const char *text, const uint8_t *body, size_t len)
{
	struct mesh_entering *t = ctx;
	struct mesh *m = t->timer.arg;
	mesh_peer_Found msg = mesh_peer_Found_init_zero;

	(void)text;
	if (err == 0)
		err = pb_unpack(body, len, mesh_peer_Found_fields, &msg);
	t->answered++;
	t->unanswered += err != 0;
	if (err == 0 && msg.member) {
		ask_cancel_all(m->engine->asks, t); /* one is enough */
		t->found = true;
		t->contact = node;
		t->leader = msg.leader;
		memcpy(t->group_id, msg.group_id, sizeof(t->group_id));
		memcpy(t->seed_id.b, msg.seed_id, ULID_BYTES);
	}
	if (t->found || t->answered == t->asked)
		engine_at(m->engine, &t->timer, clock_mono());
}

static void
ask_one(struct mesh *m, uint64_t node)
{
	struct mesh_entering *t = &m->entering;
	mesh_peer_Find msg = mesh_peer_Find_init_zero;
	uint8_t mem[64];
	struct buf out;

	buf_init_fixed(&out, mem, sizeof(mem));
	memcpy(msg.mesh_id, m->engine->mesh_id.b, ULID_BYTES);
	if (pb_pack(&out, mesh_peer_Find_fields, &msg) == 0 &&
	    ask_send(m->engine->asks, node, mesh_peer_Method_ASK_FIND, mem, buf_left(&out), MESH_FIND_MS,
		on_found, t, NULL) == 0)
		t->asked++;
}

/* A random start, so that a node that never answers does not stand in the way for ever.  Who joins asks a
 * few; who seeds all, and those that can't be reached are as those that don't answer. */
static void
ask_all(struct mesh *m)
{
	struct mesh_entering *t = &m->entering;
	const struct nodes *all = &m->engine->nodes;
	size_t first = all->count != 0 ? (size_t)rng_below(&m->engine->rng, (uint32_t)all->count) : 0;
	size_t max = t->kind == MESH_ENTRY_SEED ? MESH_FIND_ALL_MAX : MESH_FIND_MAX;

	t->asked = t->answered = t->unanswered = t->away = 0;
	for (size_t i = 0; i < all->count; i++) {
		const struct node *n = all->all[(first + i) % all->count];

		if (n->id == m->engine->self || n->status == NODE_STATUS_LEFT ||
		    n->status == NODE_STATUS_EVICTED)
			continue;
		if (n->status == NODE_STATUS_ALIVE && t->asked < max)
			ask_one(m, n->id);
		else
			t->away++;
	}
}

static void
on_find(void *ctx, const struct ask_from *from, const uint8_t *body, size_t len)
{
	struct mesh *m = ctx;
	mesh_peer_Find in = mesh_peer_Find_init_zero;
	mesh_peer_Found msg = mesh_peer_Found_init_zero;
	enum mesh_state state = mesh_state(m);
	uint8_t mem[128];
	struct buf out;

	if (pb_unpack(body, len, mesh_peer_Find_fields, &in) != 0 ||
	    memcmp(in.mesh_id, m->engine->mesh_id.b, ULID_BYTES) != 0) {
		ask_answer(m->engine->asks, from, ERR_NOENT, "another mesh", NULL, 0);
		return;
	}
	if (!m->engine->loaded) {
		ask_answer(m->engine->asks, from, ERR_AGAIN, "not ready yet", NULL, 0);
		return;
	}
	/* Two that begin at the same time would each take the other for no member. */
	if (m->entering.kind == MESH_ENTRY_SEED) {
		ask_answer(
		    m->engine->asks, from, ERR_AGAIN, "it is seeding a control group just now", NULL, 0);
		return;
	}
	msg.member = state == MESH_MEMBER || state == MESH_STOPPED;
	if (msg.member) {
		memcpy(msg.seed_id, mcg_mesh(m->mcg)->seed_id.b, ULID_BYTES);
		memcpy(msg.group_id, group_id(m->group), sizeof(msg.group_id));
		msg.leader = mesh_leader(m);
	}
	buf_init_fixed(&out, mem, sizeof(mem));
	if (pb_pack(&out, mesh_peer_Found_fields, &msg) == 0)
		ask_answer(m->engine->asks, from, 0, "", mem, buf_left(&out));
}

/* --- seeding --- */

static void
on_seeded(void *ctx, const struct mesh_outcome *o)
{
	struct mesh *m = ctx;

	if (m->entering.kind != MESH_ENTRY_SEED)
		return;
	if (o->err == 0) {
		finish(m, 0, "");
		return;
	}
	/* The group may be applying the entry: it is dropped in the loop's next turn. */
	m->entering.refused = o->err;
	engine_at(m->engine, &m->entering.timer, clock_mono());
}

static void
on_first_key(void *ctx, const struct mesh_outcome *o)
{
	(void)ctx;
	if (o->err != 0)
		log_warn("the mesh has no key yet: %s", o->text);
}

/* The first two entries: the mesh itself, and its key. */
static void
propose_seed(struct mesh *m)
{
	const struct mesh_seed *s = &m->entering.seed;
	struct mcg_cmd cmd = {.type = MCG_SEED};
	struct mcg_cmd_seed *c = &cmd.u.seed;
	struct raft_status st;
	int err;

	group_show(m->group, &st);
	c->mesh_id = m->engine->mesh_id;
	c->seed_id = m->entering.seed_id;
	memcpy(c->name, s->name, sizeof(c->name));
	memcpy(c->description, s->description, sizeof(c->description));
	c->allow_join = s->allow_join;
	c->voters = s->voters;
	c->updates_max_bytes = m->updates_max_bytes;
	c->first = (struct mcg_cmd_member){.node = m->engine->self, .replica = st.id};
	memcpy(c->first.public_key, m->engine->public_key, sizeof(c->first.public_key));
	memcpy(c->first.name, m->engine->node_name, sizeof(c->first.name));
	if ((err = mesh_propose(m, &cmd, MESH_JOIN_MS, on_seeded, m)) != 0) {
		fail(m, err, "the first entry can't be proposed: %s", err_text(err));
		return;
	}
	if ((err = mesh_rotate(m, "", &m->engine->self, 1, 0, MESH_JOIN_MS, on_first_key, m)) != 0)
		log_warn("the mesh has no key yet: %s", err_text(err));
}

static void
seed_group(struct mesh *m)
{
	struct mesh_entering *t = &m->entering;
	const struct raft_member self = {
	    .id = group_draw_replica(), .node = m->engine->self, .role = RAFT_VOTER};
	uint8_t both[2 * ULID_BYTES], hash[CRYPTO_HASH_BYTES];
	struct group *g;
	int err;

	engine_ulid(m->engine, &t->seed_id);
	memcpy(both, m->engine->mesh_id.b, ULID_BYTES);
	memcpy(both + ULID_BYTES, t->seed_id.b, ULID_BYTES);
	crypto_hash(hash, both, sizeof(both));
	err = group_new(m->engine->groups, hash, STORE_RAFT_MCG, self.id, &self, 1, &g);
	if (err == 0)
		err = mesh_attach(m, g);
	if (err != 0) {
		fail(m, err, "the control group can't be begun: %s", err_text(err));
		return;
	}
	group_campaign(g);
	engine_at(m->engine, &t->timer, mono_add_ms(clock_mono(), 50));
}

static void
seed_step(struct mesh *m)
{
	struct mesh_entering *t = &m->entering;
	char who[96];

	if (t->refused != 0) {
		fail(m, t->refused, "the first entry was not taken: %s", err_text(t->refused));
		return;
	}
	if (m->group != NULL) {
		if (mesh_leads(m) && m->proposal_count == 0)
			propose_seed(m);
		else if (mono_before(clock_mono(), t->over))
			engine_at(m->engine, &t->timer, mono_add_ms(clock_mono(), 50));
		else
			fail(m, ERR_TIMEOUT, "the control group did not begin in time");
		return;
	}
	if (t->found) {
		snprintf(who, sizeof(who), "%s", engine_node_text(m->engine, t->contact));
		fail(m, ERR_EXISTS, "the mesh has a control group already, of which %s is a member: join it",
		    who);
	} else if (t->unanswered + t->away != 0 && !t->seed.force) {
		fail(m, ERR_UNAVAIL,
		    "%zu of %zu nodes did not say whether there is a control group already; they have to be "
		    "up, or force it",
		    t->unanswered + t->away, t->asked + t->away);
	} else {
		seed_group(m);
	}
}

/* What a node tries by itself, and a replica that never got a log, don't stand in the way of who knows what
 * is to be done. */
static int
make_way(struct mesh *m)
{
	if (!m->engine->loaded)
		return ERR_UNAVAIL;
	if (m->group != NULL && mcg_mesh(m->mcg) != NULL)
		return ERR_EXISTS;
	if (m->entering.kind == MESH_ENTRY_AGAIN)
		finish(m, 0, "");
	if (m->entering.kind != MESH_ENTRY_NONE)
		return ERR_AGAIN;
	if (m->group != NULL && mesh_leads(m))
		return ERR_AGAIN; /* the end of seeding, or of what is left of it, is near */
	mesh_outside(m, "what was begun is given up");
	return m->group == NULL ? 0 : ERR_NOMEM;
}

int
mesh_seed(struct mesh *m, const struct mesh_seed *s, mesh_done_fn *fn, void *ctx)
{
	int err;

	if ((err = make_way(m)) != 0)
		return err;
	if ((err = begin(m, MESH_ENTRY_SEED, MESH_JOIN_MS, fn, ctx)) != 0)
		return err;
	m->entering.seed = *s;
	ask_all(m);
	if (m->entering.asked == 0)
		engine_at(m->engine, &m->entering.timer, clock_mono());
	return 0;
}

/* --- joining --- */

static void
on_joined(void *ctx, uint64_t node, int err, const char *text, const uint8_t *body, size_t len)
{
	struct mesh_entering *t = ctx;
	struct mesh *m = t->timer.arg;
	char who[96];

	(void)body;
	(void)len;
	snprintf(who, sizeof(who), "%s", engine_node_text(m->engine, node));
	if (err != 0)
		fail(m, err, "%s: %s", who, *text != '\0' ? text : err_text(err));
	/* Otherwise the log comes, and says that this node is a member. */
}

static int
send_join(struct mesh *m)
{
	struct mesh_entering *t = &m->entering;
	mesh_peer_Join msg = mesh_peer_Join_init_zero;
	uint8_t mem[1024];
	struct raft_status st;
	struct buf out;
	int err;

	group_show(m->group, &st);
	memcpy(msg.group_id, t->group_id, sizeof(msg.group_id));
	msg.replica = st.id;
	memcpy(msg.public_key, m->engine->public_key, sizeof(msg.public_key));
	memcpy(msg.name, m->engine->node_name, sizeof(msg.name));
	memcpy(msg.token, t->token, sizeof(msg.token));
	msg.again = t->kind == MESH_ENTRY_AGAIN;
	buf_init_fixed(&out, mem, sizeof(mem));
	err = pb_pack(&out, mesh_peer_Join_fields, &msg);
	if (err == 0)
		err = ask_send(m->engine->asks, t->leader != 0 ? t->leader : t->contact,
		    mesh_peer_Method_ASK_JOIN, mem, buf_left(&out), MESH_JOIN_MS, on_joined, t, NULL);
	crypto_wipe(mem, sizeof(mem));
	return err;
}

static void
join_step(struct mesh *m)
{
	struct mesh_entering *t = &m->entering;
	struct group *g;
	int err;

	if (m->group != NULL) {
		fail(m, ERR_TIMEOUT, "the control group's log did not come in time");
		return;
	}
	if (!t->found) {
		fail(m, t->asked == t->unanswered ? ERR_UNAVAIL : ERR_NOENT,
		    t->asked == 0
			? "no other node can be reached"
			: "none of the %zu nodes that were asked is a member of a control group, %zu of "
			  "them did not answer",
		    t->asked, t->unanswered);
		return;
	}
	err = group_new(m->engine->groups, t->group_id, STORE_RAFT_MCG, group_draw_replica(), NULL, 0, &g);
	if (err == 0)
		err = mesh_attach(m, g);
	if (err == 0)
		err = send_join(m);
	if (err != 0)
		fail(m, err, "%s", err_text(err));
	else
		engine_at(m->engine, &t->timer,
		    t->kind == MESH_ENTRY_AGAIN ? mono_add_ms(clock_mono(), MESH_JOIN_MS) : t->over);
}

int
mesh_join(struct mesh *m, const char *token, uint64_t contact, mesh_done_fn *fn, void *ctx)
{
	int err;

	if ((err = make_way(m)) != 0)
		return err;
	if (strlen(token) >= sizeof(m->entering.token))
		return ERR_LIMIT;
	if ((err = begin(m, MESH_ENTRY_JOIN, MESH_JOIN_MS, fn, ctx)) != 0)
		return err;
	snprintf(m->entering.token, sizeof(m->entering.token), "%s", token);
	if (contact != 0)
		ask_one(m, contact);
	else
		ask_all(m);
	if (m->entering.asked == 0)
		engine_at(m->engine, &m->entering.timer, clock_mono());
	return 0;
}

void
mesh_enter_again(struct mesh *m)
{
	if (begin(m, MESH_ENTRY_AGAIN, INT64_C(365) * 86400 * 1000, NULL, NULL) != 0)
		return;
	log_warn("this node's part of the control group is lost: it joins again");
	engine_at(m->engine, &m->entering.timer, mono_add_ms(clock_mono(), MESH_REJOIN_MS));
}

/* The process before had begun to join and did not get to its end.  If it was admitted, the log comes; if
 * not, the members say so when they are asked. */
void
mesh_enter_resume(struct mesh *m)
{
	struct raft_status st;

	group_show(m->group, &st);
	if (mcg_mesh(m->mcg) != NULL || st.members != 0 ||
	    begin(m, MESH_ENTRY_AGAIN, INT64_C(365) * 86400 * 1000, NULL, NULL) != 0)
		return;
	engine_at(m->engine, &m->entering.timer, mono_add_ms(clock_mono(), MESH_JOIN_MS));
}

/* A leader speaks to a replica that is not here: what this node had is lost, if it was a member. */
static void
on_unknown_group(void *ctx, const uint8_t id[STORE_GROUP_BYTES], uint64_t node)
{
	struct mesh *m = ctx;

	(void)node;
	if (relations_unknown(m->engine->relations, id))
		return;
	if (m->group == NULL && m->entering.kind == MESH_ENTRY_NONE && !m->left)
		mesh_enter_again(m);
}

static void
again_step(struct mesh *m)
{
	struct mesh_entering *t = &m->entering;

	if (m->group == NULL && !t->found && t->asked == 0) {
		ask_all(m);
		if (t->asked != 0)
			return;
	}
	join_step(m);
}

/* --- leaving --- */

static void
on_left(void *ctx, const struct mesh_outcome *o)
{
	struct mesh *m = ctx;

	if (m->entering.kind == MESH_ENTRY_LEAVE && o->err != 0)
		fail(m, o->err, "%s", o->text);
	/* Otherwise the group lets the replica go: mesh_enter_changed(). */
}

int
mesh_leave(struct mesh *m, mesh_done_fn *fn, void *ctx)
{
	struct mcg_cmd cmd = {.type = MCG_REMOVE, .u.remove = {.node = m->engine->self}};
	int err;

	/* Nothing is there to be left yet but the attempt. */
	if (m->entering.kind == MESH_ENTRY_AGAIN && mcg_mesh(m->mcg) == NULL)
		finish(m, 0, "");
	else if (m->group == NULL)
		return ERR_STATE;
	if ((err = begin(m, MESH_ENTRY_LEAVE, MESH_LEAVE_MS, fn, ctx)) != 0)
		return err;
	m->left = true;
	if (mcg_member_present(m->mcg) <= 1) {
		mesh_outside(m, "it was the only member: the control group has ended");
		engine_at(m->engine, &m->entering.timer, clock_mono());
		return 0;
	}
	if ((err = mesh_propose(m, &cmd, MESH_LEAVE_MS, on_left, m)) == 0) {
		engine_at(m->engine, &m->entering.timer, m->entering.over);
		return 0;
	}
	m->left = false;
	m->entering.fn = NULL;
	finish(m, 0, "");
	return err;
}

/* The group has been told, but did not let the replica go in time: it may be thrown away all the same. */
static void
leave_step(struct mesh *m)
{
	if (m->group != NULL) {
		const struct mcg_member *self = mcg_member_get(m->mcg, m->engine->self);

		if (self != NULL && self->status != MCG_LEFT) {
			m->left = false;
			fail(m, ERR_TIMEOUT, "the control group did not agree in time");
			return;
		}
		mesh_outside(m, "it left");
	}
	finish(m, 0, "");
}

/* --- stopping and starting --- */

struct stopping {
	struct mesh *mesh;
	mesh_done_fn *fn;
	void *ctx;
};

/* Leadership goes to another, before anybody has to notice that it is gone. */
static void
on_stopped(void *ctx, const struct mesh_outcome *o)
{
	struct stopping *s = ctx;
	struct mesh *m = s->mesh;
	mesh_done_fn *fn = s->fn;
	void *fn_ctx = s->ctx;

	mem_free(s);
	if (o->err == 0 && m->stop_wanted && mesh_leads(m) &&
	    mesh_transfer(m, m->group, 0, MESH_TRANSFER_MS, NULL, NULL) != 0)
		log_info("control group: nobody else can lead it now");
	fn(fn_ctx, o);
}

int
mesh_stop(struct mesh *m, bool stop, mesh_done_fn *fn, void *ctx)
{
	struct mcg_cmd cmd = {.type = MCG_STATE, .u.state = {.node = m->engine->self, .stopped = stop}};
	struct stopping *s;
	int err;

	if (m->group == NULL)
		return mesh_absent(m);
	if ((s = mem_calloc(1, sizeof(*s))) == NULL)
		return ERR_NOMEM;
	*s = (struct stopping){m, fn, ctx};
	if ((err = mesh_propose(m, &cmd, MESH_JOIN_MS, on_stopped, s)) != 0)
		mem_free(s);
	else
		m->stop_wanted = stop;
	return err;
}

/* --- what happens --- */

static void
on_timer(void *arg)
{
	struct mesh *m = arg;

	switch (m->entering.kind) {
	case MESH_ENTRY_SEED:
		seed_step(m);
		break;
	case MESH_ENTRY_JOIN:
		join_step(m);
		break;
	case MESH_ENTRY_AGAIN:
		again_step(m);
		break;
	case MESH_ENTRY_LEAVE:
		leave_step(m);
		break;
	case MESH_ENTRY_NONE:
		break;
	}
}

/* Called while an entry is applied: what ends the replica waits for the next turn of the loop. */
void
mesh_enter_changed(struct mesh *m)
{
	const struct mcg_member *self = mcg_member_get(m->mcg, m->engine->self);
	struct raft_status st;

	if (self == NULL || m->group == NULL)
		return;
	group_show(m->group, &st);
	if (self->status == MCG_EVICTED || self->status == MCG_LEFT) {
		m->left = true;
		engine_at(m->engine, &m->leave, mono_add_ms(clock_mono(), MESH_GO_MS));
		return;
	}
	m->left = false;
	if ((m->entering.kind == MESH_ENTRY_JOIN || m->entering.kind == MESH_ENTRY_AGAIN) &&
	    self->replica == st.id) {
		log_notice("control group: this node is a member");
		finish(m, 0, "");
	}
}

void
mesh_enter_gone(struct mesh *m)
{
	engine_at(m->engine, &m->leave, mono_add_ms(clock_mono(), MESH_GO_MS));
}

/* By the log that this node has: it may have been let go before it was told. */
static bool
is_out(const struct mesh *m)
{
	const struct mcg_member *self = mcg_member_get(m->mcg, m->engine->self);

	return self != NULL && (self->status == MCG_EVICTED || self->status == MCG_LEFT);
}

/* A group that has gone on without this replica, which knows of no reason: it may be that what it had was
 * lost. */
static void
go_unless_wanted(struct mesh *m)
{
	struct raft_status st;

	group_show(m->group, &st);
	/* Who joins is told so until the group's membership is changed. */
	if (!st.gone || m->entering.kind != MESH_ENTRY_NONE)
		return;
	/* First, for those who wait: it is not for good. */
	mesh_enter_again(m);
	mesh_outside(m, "the control group has no such replica any more");
}

/* The leader may be this node, and has to bring its own removal to its end. */
static void
on_go(void *arg)
{
	struct mesh *m = arg;
	const struct mcg_member *self = mcg_member_get(m->mcg, m->engine->self);

	if (m->group == NULL)
		return;
	if (!is_out(m)) {
		go_unless_wanted(m);
		return;
	}
	if (mesh_leads(m) && m->go_tries++ < MESH_GO_TRIES) {
		engine_at(m->engine, &m->leave, mono_add_ms(clock_mono(), MESH_GO_MS));
		return;
	}
	m->go_tries = 0;
	mesh_outside(m, self->status == MCG_EVICTED ? "it was evicted" : "it left");
	if (m->entering.kind == MESH_ENTRY_LEAVE)
		finish(m, 0, "");
}

void
mesh_enter_init(struct mesh *m)
{
	m->entering.timer.fn = on_timer;
	m->entering.timer.arg = m;
	m->leave.fn = on_go;
	m->leave.arg = m;
	asks_serve(m->engine->asks, mesh_peer_Method_ASK_FIND, on_find, m);
	mesh_admit_init(m);
	groups_on_unknown(m->engine->groups, on_unknown_group, m);
}

void
mesh_enter_fini(struct mesh *m)
{
	finish(m, ERR_CLOSED, MESH_CLOSED_TEXT);
	engine_at_cancel(m->engine, &m->leave);
}
