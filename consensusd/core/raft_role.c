/* raft_role: terms, and what a replica is in them. */
#include "common/base/err.h"
#include "consensusd/core/raft_entry.h"
#include "consensusd/core/raft_impl.h"

/* Who may not vote has no use for an election, but asks for a leader until it knows one; and a quiet one
 * waits for who watches the nodes. */
static bool
waits_for_election(const struct raft *r)
{
	if (r->quiet || r->role == RAFT_LEADER)
		return false;
	return raft_may_lead(r) || (r->leader == 0 && !r->gone && r->config->count != 0);
}

void
raft_arm_election(struct raft *r, struct mono now)
{
	int64_t t = r->conf.set.election_us;

	r->election_at = waits_for_election(r)
			     ? mono_add_us(now, t + (int64_t)rng_below(&r->rng, (uint64_t)t))
			     : MONO_NEVER;
}

bool
raft_has_leader(const struct raft *r, struct mono now)
{
	if (r->leader == 0)
		return false;
	return r->role == RAFT_LEADER || r->quiet || mono_diff_us(now, r->heard_at) < r->conf.set.election_us;
}

void
raft_set_leader(struct raft *r, uint64_t leader)
{
	if (r->leader == leader)
		return;
	r->leader = leader;
	raft_tell(r, RAFT_TRACE_LEADER, leader, r->term);
}

static void
set_role(struct raft *r, enum raft_role role)
{
	if (r->role == role)
		return;
	if (r->role == RAFT_LEADER) {
		raft_transfer_stop(r);
		r->heartbeat_at = r->quorum_at = MONO_NEVER;
	}
	r->role = role;
	r->quiet = false;
	raft_reads_reset(r);
	raft_tell(r, RAFT_TRACE_ROLE, role, r->term);
}

static void
set_term(struct raft *r, uint64_t term)
{
	MUST(term >= r->term);
	if (term == r->term)
		return;
	r->term = term;
	r->vote = 0;
	r->hard_dirty = true;
	r->counters.terms++;
	raft_tell(r, RAFT_TRACE_TERM, term, 0);
}

void
raft_become_follower(struct raft *r, uint64_t term, uint64_t leader, struct mono now)
{
	/* Of a term that passes, nothing that its leader sent is of use. */
	if (term != r->term)
		raft_incoming_drop(r);
	set_term(r, term);
	set_role(r, RAFT_FOLLOWER);
	raft_set_leader(r, leader);
	raft_arm_election(r, now);
}

void
raft_become_candidate(struct raft *r, enum raft_role role, struct mono now)
{
	for (size_t i = 0; i < r->peers->count; i++)
		r->peers->peer[i].granted = r->peers->peer[i].denied = false;
	if (role == RAFT_CANDIDATE) {
		raft_incoming_drop(r);
		set_term(r, r->term + 1);
		r->vote = r->conf.id;
		r->vote_mark = raft_needs(r);
		raft_tell(r, RAFT_TRACE_VOTED, r->vote, r->term);
	}
	set_role(r, role);
	raft_set_leader(r, 0);
	raft_arm_election(r, now);
}

void
raft_become_leader(struct raft *r, struct mono now)
{
	struct raft_entry *noop = raft_entry_new(RAFT_NOOP, 0, 0, NULL, 0);

	/* A leader that can't begin its term is none: another election follows. */
	if (noop == NULL || raft_log_reserve(&r->log, 1) != 0) {
		raft_entry_unref(noop);
		r->counters.memory_out++;
		raft_become_follower(r, r->term, 0, now);
		return;
	}
	set_role(r, RAFT_LEADER);
	raft_set_leader(r, r->conf.id);
	r->counters.leads++;
	for (size_t i = 0; i < r->peers->count; i++)
		raft_peer_reset(r, &r->peers->peer[i]);
	r->uncommitted_bytes = 0;
	for (uint64_t i = r->commit + 1; i <= raft_log_last(&r->log); i++)
		r->uncommitted_bytes += raft_entry_bytes(raft_log_get(&r->log, i));
	r->election_at = MONO_NEVER;
	r->quorum_at = mono_add_us(now, r->conf.set.election_us);
	r->idle_since = now;
	MUST(raft_append_own(r, noop) == 0);
	raft_send_appends(r, now);
	r->heartbeat_at = mono_add_us(now, r->conf.set.heartbeat_us);
}
