/*
 * mesh: proposals; see mesh.h.
 *
 * A process opens a session before its first proposal, and numbers what it proposes.  Once a proposal was
 * handed to Raft it may be in the log of some leader, so it is proposed again until it is seen applied:
 * whoever waited for it may have given up long before.  That never applies it twice (core/raft_sessions.h).
 *
 * A session has room for so many proposals under way.  What comes beyond waits, in order, and gets its number
 * when there is room: until then nobody else has it, and when its time is over it is gone.
 */
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/crypto.h"
#include "common/os/log.h"
#include "consensusd/core/raft_entry.h"
#include "consensusd/mesh_impl.h"
#include "consensusd/stats.h"

static void on_timer(void *arg);

void
mesh_propose_init(struct mesh *m)
{
	TAILQ_INIT(&m->proposals);
	TAILQ_INIT(&m->queue);
}

static void
show_counts(const struct mesh *m)
{
	metric_set(&stats.mesh_proposals, (int64_t)m->proposal_count);
	metric_set(&stats.mesh_queued, (int64_t)m->queue_count);
}

static void
take_out(struct mesh_proposal *p)
{
	struct mesh *m = p->mesh;

	if (p->seq != 0) {
		TAILQ_REMOVE(&m->proposals, p, entry);
		m->proposal_count--;
	} else {
		TAILQ_REMOVE(&m->queue, p, entry);
		m->queue_count--;
		m->queue_bytes -= raft_entry_bytes(p->raft);
	}
	show_counts(m);
}

static void
proposal_free(struct mesh_proposal *p)
{
	engine_at_cancel(p->mesh->engine, &p->timer);
	take_out(p);
	raft_entry_unref(p->raft);
	mem_free(p);
}

/* Tells who waits, if anybody still does. */
static void
tell(struct mesh_proposal *p, const struct mesh_outcome *o)
{
	mesh_done_fn *fn = p->fn;

	p->fn = NULL;
	if (fn != NULL)
		fn(p->ctx, o);
}

static void
fail_all(struct mesh_proposals *list, int err, const char *text)
{
	const struct mesh_outcome o = {.err = err, .text = text};
	struct mesh_proposal *p;

	while ((p = TAILQ_FIRST(list)) != NULL) {
		tell(p, &o);
		proposal_free(p);
	}
}

static void
session_end(struct mesh *m)
{
	m->client = 0;
	m->next_seq = 0;
	m->session_open = false;
}

void
mesh_proposals_fail(struct mesh *m, int err, const char *text)
{
	fail_all(&m->proposals, err, text);
	fail_all(&m->queue, err, text);
	session_end(m);
}

void
mesh_propose_fini(struct mesh *m)
{
	mesh_proposals_fail(m, ERR_CLOSED, MESH_CLOSED_TEXT);
}

void
mesh_proposals_forget(struct mesh *m, const void *ctx)
{
	struct mesh_proposal *p;

	TAILQ_FOREACH (p, &m->proposals, entry)
		if (p->ctx == ctx)
			p->fn = NULL;
	TAILQ_FOREACH (p, &m->queue, entry)
		if (p->ctx == ctx)
			p->fn = NULL;
}

/* --- to Raft --- */

static int
open_session(struct mesh *m)
{
	struct raft_entry *e;
	uint64_t index;

	while (m->client == 0)
		crypto_random(&m->client, sizeof(m->client));
	if ((e = raft_entry_new(RAFT_DATA, m->client, 0, "", 0)) == NULL)
		return ERR_NOMEM;
	return group_propose(m->group, e, &index);
}

/* A copy: the log that gets it gives it a place, and it may have one in that log already. */
static int
hand_over(struct mesh_proposal *p)
{
	struct raft_entry *e;
	uint64_t index;

	if (!p->mesh->session_open)
		return open_session(p->mesh);
	e = raft_entry_new(RAFT_DATA, p->mesh->client, p->seq, p->raft->data, p->raft->len);
	return e != NULL ? group_propose(p->mesh->group, e, &index) : ERR_NOMEM;
}

static void
arm(struct mesh_proposal *p, struct mono now)
{
	struct mono again = mono_add_ms(now, MESH_AGAIN_MS);

	engine_at(p->mesh->engine, &p->timer, p->fn != NULL ? mono_min(p->over, again) : again);
}

/* Room in the window: what is oldest there holds it open. */
static bool
has_room(const struct mesh *m)
{
	const struct mesh_proposal *oldest = TAILQ_FIRST(&m->proposals);

	return oldest == NULL || m->next_seq + 1 - oldest->seq < MESH_PROPOSALS_MAX;
}

/* ERR: nobody has it, and its number is free for the next one. */
static int
propose_now(struct mesh_proposal *p)
{
	struct mesh *m = p->mesh;
	int err;

	while (m->client == 0)
		crypto_random(&m->client, sizeof(m->client));
	p->seq = m->next_seq + 1;
	if ((err = hand_over(p)) != 0) {
		p->seq = 0;
		return err;
	}
	m->next_seq++;
	TAILQ_INSERT_TAIL(&m->proposals, p, entry);
	m->proposal_count++;
	show_counts(m);
	arm(p, clock_mono());
	return 0;
}

/* --- those that wait --- */

static void
queue_put(struct mesh_proposal *p, bool first)
{
	struct mesh *m = p->mesh;

	if (first)
		TAILQ_INSERT_HEAD(&m->queue, p, entry);
	else
		TAILQ_INSERT_TAIL(&m->queue, p, entry);
	m->queue_count++;
	m->queue_bytes += raft_entry_bytes(p->raft);
	engine_at(m->engine, &p->timer, p->over);
	show_counts(m);
}

/* There may be room.  What can't be handed over now stays the first: another one that is applied, or another
 * leader, comes back here, and if there is none of these its time does. */
static void
queue_go_on(struct mesh *m)
{
	struct mesh_proposal *p;

	while ((p = TAILQ_FIRST(&m->queue)) != NULL && has_room(m)) {
		take_out(p);
		if (propose_now(p) == 0)
			continue;
		queue_put(p, true);
		engine_at(m->engine, &p->timer, mono_min(p->over, mono_add_ms(clock_mono(), MESH_AGAIN_MS)));
		return;
	}
}

static void
queue_on_timer(struct mesh_proposal *p, struct mono now)
{
	struct mesh *m = p->mesh;
	const struct mesh_outcome o = {.err = ERR_TIMEOUT,
	    .text = mesh_leader(m) == 0
			? "no leader of the control group can be reached; it was not proposed"
			: "this node's proposals before it took too long; it was not proposed"};

	if (mono_before(now, p->over)) {
		engine_at(m->engine, &p->timer, p->over);
		queue_go_on(m);
		return;
	}
	tell(p, &o);
	proposal_free(p);
}

static void
on_timer(void *arg)
{
	struct mesh_proposal *p = arg;
	struct mono now = clock_mono();

	if (p->seq == 0) {
		queue_on_timer(p, now);
		return;
	}
	if (p->fn != NULL && !mono_before(now, p->over)) {
		const struct mesh_outcome o = {.err = ERR_TIMEOUT,
		    .text = mesh_leader(p->mesh) == 0
				? "no leader of the control group can be reached; it may be applied later"
				: "it was not committed in time; it may be applied later"};

		tell(p, &o);
	}
	arm(p, now);
	if (p->mesh->group != NULL)
		(void)hand_over(p);
}

void
mesh_proposals_hurry(struct mesh *m)
{
	struct mesh_proposal *p;

	TAILQ_FOREACH (p, &m->proposals, entry)
		engine_at(m->engine, &p->timer, clock_mono());
	queue_go_on(m);
}

/* --- proposing --- */

static int
encode(const struct mcg_cmd *cmd, struct raft_entry **out)
{
	struct buf b;
	int err;

	buf_init(&b, RAFT_DATA_MAX_BYTES);
	err = mcg_cmd_encode(cmd, &b);
	*out = err == 0 ? raft_entry_new(RAFT_DATA, 0, 0, buf_head(&b), buf_left(&b)) : NULL;
	buf_fini(&b);
	return err != 0 ? err : *out != NULL ? 0 : ERR_NOMEM;
}

static int
proposal_new(struct mesh *m, struct mcg_cmd *cmd, struct mesh_proposal **out)
{
	struct mesh_proposal *p = mem_calloc(1, sizeof(*p));
	int err;

	if (p == NULL)
		return ERR_NOMEM;
	cmd->node = m->engine->self;
	cmd->unix_ms = clock_unix_ms();
	if ((err = encode(cmd, &p->raft)) != 0) {
		mem_free(p);
		return err;
	}
	p->mesh = m;
	p->timer.fn = on_timer;
	p->timer.arg = p;
	*out = p;
	return 0;
}

static bool
queue_full(const struct mesh *m, const struct mesh_proposal *p)
{
	return m->queue_count >= MESH_QUEUE_MAX ||
	       m->queue_bytes + raft_entry_bytes(p->raft) > MESH_QUEUE_MAX_BYTES;
}

int
mesh_propose(struct mesh *m, struct mcg_cmd *cmd, uint32_t timeout_ms, mesh_done_fn *fn, void *ctx)
{
	struct mesh_proposal *p;
	int err;

	if (m->group == NULL)
		return mesh_absent(m);
	if (mesh_leader(m) == 0)
		return ERR_UNAVAIL;
	if ((err = proposal_new(m, cmd, &p)) != 0)
		return err;
	p->over = mono_add_ms(clock_mono(), timeout_ms);
	p->fn = fn;
	p->ctx = ctx;
	err = TAILQ_EMPTY(&m->queue) && has_room(m) ? propose_now(p) : ERR_FULL;
	if (err == 0)
		return 0;
	/* The log may have no room either; if so, it gets some when what is under way is committed. */
	if (err == ERR_FULL && !TAILQ_EMPTY(&m->proposals) && !queue_full(m, p)) {
		queue_put(p, false);
		return 0;
	}
	if (err == ERR_FULL)
		metric_inc(&stats.mesh_refused);
	raft_entry_unref(p->raft);
	mem_free(p);
	return err;
}

/* --- applied --- */

/* The session was forgotten: what is under way may or may not have been applied. */
static void
session_lost(struct mesh *m)
{
	log_warn(
	    "control group: this node's session was forgotten; what it had proposed has to be looked at");
	fail_all(
	    &m->proposals, ERR_UNAVAIL, "whether it was applied is not known: look before you try again");
	session_end(m);
	queue_go_on(m);
}

static void
session_opened(struct mesh *m)
{
	if (m->session_open)
		return;
	m->session_open = true;
	mesh_proposals_hurry(m);
}

void
mesh_proposal_applied(struct mesh *m, const struct raft_entry *e, const struct mcg_result *r)
{
	struct mesh_outcome o = {.err = r->err, .text = err_text(r->err), .index = r->index, .term = e->term};
	struct mesh_proposal *p, *next;

	if (m->client == 0 || e->client != m->client || e->type != RAFT_DATA)
		return;
	if (e->seq == 0) {
		session_opened(m);
		return;
	}
	o.repeated = r->err == ERR_EXISTS;
	for (p = TAILQ_FIRST(&m->proposals); p != NULL; p = next) {
		next = TAILQ_NEXT(p, entry);
		if (p->seq != e->seq)
			continue;
		if (r->session && r->err == ERR_NOENT) {
			session_lost(m);
			return;
		}
		tell(p, &o);
		proposal_free(p);
		queue_go_on(m);
		return;
	}
}
