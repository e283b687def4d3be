/*
 * mesh: what the leader of the control group has to do; see mesh.h.
 *
 * Looked at when something has changed, and now and then.  One step at a time: what follows from it is seen
 * when it has been applied.
 */
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/num.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "consensusd/core/voters.h"
#include "consensusd/mesh_impl.h"
#include "consensusd/sink.h"
#include "consensusd/source.h"
#include "proto/pb.h"
#include "proto/peer.pb.h"

enum { CAUGHT_UP_ENTRIES = 100 };

/* --- the group's membership follows the mesh's --- */

struct roster {
	struct raft_member *member;
	struct voters_candidate *candidate;
	size_t count, cap;
	bool changed; /* learners came or went */
};

/* Since when it has been so, as far as this leader has seen: it looks again and again.  NULL: no memory. */
static const struct mesh_seen *
see(struct mesh *m, uint64_t replica, bool active)
{
	struct mesh_seen *s;

	HASH_FIND(hh, m->seen, &replica, sizeof(replica), s);
	if (s == NULL) {
		if (HASH_COUNT(m->seen) >= RAFT_MEMBERS_MAX || (s = mem_calloc(1, sizeof(*s))) == NULL)
			return NULL;
		s->replica = replica;
		s->active = !active;
		HASH_ADD(hh, m->seen, replica, sizeof(s->replica), s);
		if (!HASH_ADDED(s)) {
			mem_free(s);
			return NULL;
		}
	}
	if (s->active != active) {
		s->active = active;
		s->since = clock_mono();
	}
	return s;
}

void
mesh_lead_changed(struct mesh *m)
{
	struct mesh_seen *s, *next;

	m->duties = 0;
	HASH_ITER (hh, m->seen, s, next) {
		HASH_DEL(m->seen, s);
		mem_free(s);
	}
}

static void
fill_candidate(struct mesh *m, const struct raft_member_status *s, struct voters_candidate *c)
{
	const struct mcg_member *x = mcg_member_get(m->mcg, s->member.node);
	const struct node *n = nodes_find(&m->engine->nodes, s->member.node);
	bool alive = group_member_answers(m->group, s);
	const struct mesh_seen *seen = see(m, s->member.id, alive);

	*c = (struct voters_candidate){
	    .replica = s->member.id,
	    .node = s->member.node,
	    .voter = s->member.role != RAFT_LEARNER,
	    .alive = alive,
	    .since_us = seen != NULL ? mono_diff_us(clock_mono(), seen->since) : 0,
	    .caught_up = !s->snapshot && s->match + CAUGHT_UP_ENTRIES >= m->role.last,
	    .stopped = x != NULL && x->status == MCG_STOPPED,
	    .removed = x == NULL || x->replica != s->member.id,
	    .rtt_us = n != NULL ? n->rtt_us : 0,
	    .links = n != NULL ? n->links : 0,
	};
}

static bool
is_listed(const struct roster *r, uint64_t replica)
{
	for (size_t i = 0; i < r->count; i++)
		if (r->member[i].id == replica)
			return true;
	return false;
}

/* Room for all that the group has and all that the mesh has: it is looked at after each update. */
static bool
roster_init(const struct mesh *m, struct roster *r)
{
	struct raft_status st;

	group_show(m->group, &st);
	*r = (struct roster){
	    .cap = (size_t)min_u64(st.members + mcg_member_present(m->mcg), RAFT_MEMBERS_MAX)};
	r->member = mem_calloc(r->cap, sizeof(*r->member));
	r->candidate = mem_calloc(r->cap, sizeof(*r->candidate));
	return r->member != NULL && r->candidate != NULL;
}

static void
roster_fini(struct roster *r)
{
	mem_free(r->member);
	mem_free(r->candidate);
}

/* Those that are no members any more go, if they have no vote; new members come as learners. */
static void
fill_roster(struct mesh *m, struct roster *r)
{
	struct raft_member_status s;

	for (size_t i = 0; group_member_at(m->group, i, &s) && r->count < r->cap; i++) {
		fill_candidate(m, &s, &r->candidate[r->count]);
		if (r->candidate[r->count].removed && !r->candidate[r->count].voter) {
			r->changed = true;
			continue;
		}
		r->member[r->count++] = s.member;
	}
	for (size_t i = 0; i < mcg_member_count(m->mcg) && r->count < r->cap; i++) {
		const struct mcg_member *x = mcg_member_at(m->mcg, i);

		if (x->replica == 0 || is_listed(r, x->replica))
			continue;
		r->candidate[r->count] = (struct voters_candidate){.replica = x->replica, .node = x->node};
		r->member[r->count++] =
		    (struct raft_member){.id = x->replica, .node = x->node, .role = RAFT_LEARNER};
		r->changed = true;
	}
}

static bool
votes_in(const struct voters_step *step, uint64_t replica)
{
	for (size_t i = 0; i < step->count; i++)
		if (step->replicas[i] == replica)
			return true;
	return false;
}

/* Who voted and is no member any more leaves with its vote. */
static void
apply_step(struct roster *r, const struct voters_step *step)
{
	size_t kept = 0;

	for (size_t i = 0; i < r->count; i++) {
		bool votes = votes_in(step, r->member[i].id);

		if (!votes && r->candidate[i].removed)
			continue;
		r->member[kept] = r->member[i];
		r->member[kept++].role = votes ? RAFT_VOTER : RAFT_LEARNER;
	}
	r->count = kept;
}

static void
tell_step(struct mesh *m, const struct roster *r, const struct voters_step *step)
{
	for (size_t i = 0; i < r->count; i++)
		if (r->member[i].id == step->in || r->member[i].id == step->out)
			log_notice("control group: %s %s", engine_node_text(m->engine, r->member[i].node),
			    r->member[i].id == step->in ? "becomes a voter" : "votes no more");
}

static void
change_to(struct mesh *m, const struct roster *r)
{
	struct raft_config *to;
	int err = raft_config_new(r->member, r->count, &to);

	if (err == 0) {
		err = group_change(m->group, to);
		raft_config_free(to);
	}
	/* Not now: the next look tries again. */
	if (err != 0 && err != ERR_AGAIN && err != ERR_EXISTS)
		log_warn("the control group's membership can't be changed: %s", err_text(err));
}

static void
see_to_members(struct mesh *m)
{
	const struct voters_settings set = {mcg_mesh(m->mcg)->voters, m->stable_us, m->gone_us};
	struct voters_step step;
	struct roster r;

	if (roster_init(m, &r)) {
		fill_roster(m, &r);
		if (r.changed) {
			change_to(m, &r);
		} else if (voters_next(r.candidate, r.count, &set, &step)) {
			tell_step(m, &r, &step);
			apply_step(&r, &step);
			change_to(m, &r);
		}
	}
	roster_fini(&r);
}

/* --- updates that nobody needs any more --- */

void
mesh_duty_done(void *ctx, const struct mesh_outcome *o)
{
	struct mesh *m = ctx;

	(void)o;
	m->duties--;
	mesh_lead_soon(m);
}

/* The newest ones stay, for those who follow; but the largest update that there may be finds room. */
static void
see_to_updates(struct mesh *m)
{
	struct mcg_cmd cmd = {.type = MCG_PRUNE};
	size_t bytes = mcg_update_bytes(m->mcg), max = (size_t)mcg_mesh(m->mcg)->updates_max_bytes;
	size_t keep = (size_t)min_u64(m->updates_keep_bytes, max / 4);
	uint64_t least = mesh_least_mark(m), at = mcg_pruned(m->mcg);
	struct mcg_update u;

	if (bytes < keep + min_u64(MESH_PRUNE_STEP_BYTES, max / 8))
		return;
	while (bytes > keep && mcg_update_after(m->mcg, at, &u) && u.index <= least) {
		at = u.index;
		bytes -= (size_t)min_u64(bytes, u.cmd.len + MCG_UPDATE_OVERHEAD_BYTES);
	}
	cmd.u.prune = at;
	if (at > mcg_pruned(m->mcg) && mesh_propose(m, &cmd, MESH_JOIN_MS, mesh_duty_done, m) == 0)
		m->duties++;
}

/* --- all of it --- */

/* A member that starts is no longer stopped. */
static void
see_to_self(struct mesh *m)
{
	struct mcg_cmd cmd = {.type = MCG_STATE, .u.state = {.node = m->engine->self}};

	if (mesh_state(m) == MESH_STOPPED && !m->stop_wanted && m->duties == 0 &&
	    mesh_propose(m, &cmd, MESH_JOIN_MS, mesh_duty_done, m) == 0)
		m->duties++;
}

/* This process, or the one before, began a group and did not get to its first entry: nobody was told of it.
 * That it was the one before is seen from all of the log: what follows commit may have been promised.
 */
static bool
is_stillborn(const struct mesh *m)
{
	return mcg_mesh(m->mcg) == NULL && m->entering.kind != MESH_ENTRY_SEED && m->role.last != 0 &&
	       mcg_index(m->mcg) >= m->role.last;
}

/* Streams don't come back to a target that is gone: so not while a log is read again that has evictions of
 * nodes that were let in later, nor while what is known of it may not be all. */
static void
see_to_streams(struct mesh *m)
{
	uint64_t begun = m->engine->streams_begun, told = m->evictions_told;

	if (mesh_leader(m) == 0 || mcg_index(m->mcg) < m->role.last || mcg_index(m->mcg) < m->settled)
		return;
	for (size_t i = 0; i < mcg_member_count(m->mcg); i++) {
		const struct mcg_member *x = mcg_member_at(m->mcg, i);

		uint64_t since = x->since_index > m->evictions_told ? 0 : m->evictions_streams;

		if (x->status != MCG_EVICTED || x->node == m->engine->self)
			continue;
		if (x->since_index > told)
			told = x->since_index;
		if (since == begun)
			continue;
		source_evicted(m->engine, x->node, since);
		sink_evicted(m->engine, x->node, since);
	}
	m->evictions_told = told;
	m->evictions_streams = begun;
}

static void
on_duty(void *arg)
{
	struct mesh *m = arg;

	engine_at(m->engine, &m->duty, mono_add_ms(clock_mono(), MESH_DUTY_MS));
	mesh_catch_up(m);
	if (m->group == NULL)
		return;
	group_show(m->group, &m->role);
	see_to_streams(m);
	if (mesh_leader(m) != 0)
		see_to_self(m);
	if (!mesh_leads(m) || mcg_index(m->mcg) < m->role.commit)
		return;
	if (is_stillborn(m)) {
		mesh_outside(m, "seeding it was not finished");
		return;
	}
	if (mcg_mesh(m->mcg) == NULL || m->duties != 0)
		return;
	if (!m->role.joint)
		see_to_members(m);
	if (!mesh_keys_duty(m))
		see_to_updates(m);
}

/* In the loop's next turn: never while an entry is being applied. */
void
mesh_lead_soon(struct mesh *m)
{
	engine_at(m->engine, &m->duty, clock_mono());
}

void
mesh_lead_init(struct mesh *m)
{
	m->duty.fn = on_duty;
	m->duty.arg = m;
	asks_serve(m->engine->asks, mesh_peer_Method_ASK_TRANSFER, mesh_on_transfer, m);
}

void
mesh_lead_fini(struct mesh *m)
{
	engine_at_cancel(m->engine, &m->duty);
	mesh_lead_changed(m);
}

void
mesh_node_changed(struct mesh *m, uint64_t node)
{
	(void)node;
	mesh_lead_soon(m);
}
