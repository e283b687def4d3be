/* raft_election: standing for election, and voting (paper, section 5.2 and 5.4.1; thesis, section 9.6). */
#include "common/base/err.h"
#include "consensusd/core/raft_impl.h"

static void
ask(struct raft *r, const struct raft_peer *p, bool transfer)
{
	bool pre = r->role != RAFT_CANDIDATE;
	struct raft_msg *m;

	if (raft_is_self(r, p) || (p->m.role & (RAFT_VOTER | RAFT_OLD_VOTER)) == 0)
		return;
	/* A request for a pre-vote promises nothing; one for a vote, that this replica has voted for itself.
	 */
	m = pre ? raft_post_now(r, RAFT_PREVOTE, p->m.id) : raft_post(r, RAFT_VOTE, p->m.id);
	if (m == NULL)
		return;
	m->term = pre ? r->term + 1 : r->term;
	m->index = raft_log_last(&r->log);
	m->log_term = raft_log_last_term(&r->log);
	m->transfer = transfer;
}

static void
run(struct raft *r, enum raft_role role, bool transfer, struct mono now)
{
	raft_become_candidate(r, role, now);
	for (size_t i = 0; i < r->peers->count; i++)
		ask(r, &r->peers->peer[i], transfer);
	raft_count_votes(r, now);
}

void
raft_stand(struct raft *r, bool transfer, struct mono now)
{
	if (r->role == RAFT_LEADER || !raft_may_lead(r))
		return;
	r->counters.elections++;
	r->transferred = transfer;
	run(r, transfer ? RAFT_CANDIDATE : RAFT_PRECANDIDATE, transfer, now);
}

/* A learner that begins again while its group is quiet would not hear of a leader.  Whoever is asked for a
 * vote wakes, and the leader shows itself, or says that this replica was removed; nobody counts the answers.
 */
void
raft_seek(struct raft *r)
{
	if (raft_may_lead(r) || r->leader != 0 || r->gone)
		return;
	for (size_t i = 0; i < r->peers->count; i++)
		ask(r, &r->peers->peer[i], false);
}

/* --- counting --- */

/* Its own vote counts when a crash can't make it vote again. */
static bool
own_vote(const struct raft *r)
{
	return r->role == RAFT_PRECANDIDATE || r->durable >= r->vote_mark;
}

static uint64_t
granted(const struct raft *r, const struct raft_peer *p)
{
	return raft_is_self(r, p) ? own_vote(r) : p->granted;
}

static uint64_t
not_denied(const struct raft *r, const struct raft_peer *p)
{
	(void)r;
	return !p->denied;
}

void
raft_count_votes(struct raft *r, struct mono now)
{
	if (r->role != RAFT_PRECANDIDATE && r->role != RAFT_CANDIDATE)
		return;
	if (raft_quorum(r, granted) == 1) {
		if (r->role == RAFT_PRECANDIDATE)
			run(r, RAFT_CANDIDATE, r->transferred, now);
		else
			raft_become_leader(r, now);
	} else if (raft_quorum(r, not_denied) == 0) {
		raft_become_follower(r, r->term, 0, now);
	}
}

void
raft_vote_came(struct raft *r, const struct raft_msg *m, struct mono now)
{
	bool pre = m->kind == RAFT_PREVOTE_ANSWER;
	struct raft_peer *p = raft_peer_get(r, m->from);

	if (p == NULL || r->role != (pre ? RAFT_PRECANDIDATE : RAFT_CANDIDATE))
		return;
	/* A grant says for which term: of an earlier round, it is none for this one. */
	if (m->term != (pre && !m->reject ? r->term + 1 : r->term))
		return;
	p->granted = p->granted || !m->reject;
	p->denied = p->denied || m->reject;
	raft_count_votes(r, now);
}

/* --- voting --- */

/* Is the candidate's log at least as complete as ours (section 5.4.1)? */
static bool
complete(const struct raft *r, const struct raft_msg *m)
{
	uint64_t term = raft_log_last_term(&r->log);

	return m->log_term > term || (m->log_term == term && m->index >= raft_log_last(&r->log));
}

static bool
may_grant(const struct raft *r, const struct raft_msg *m)
{
	if (m->kind == RAFT_PREVOTE)
		return m->term > r->term;
	return r->vote == m->from || (r->vote == 0 && r->leader == 0);
}

static void
answer(struct raft *r, const struct raft_msg *m, bool grant)
{
	uint8_t kind = m->kind == RAFT_PREVOTE ? RAFT_PREVOTE_ANSWER : RAFT_VOTE_ANSWER;
	struct raft_msg *a = raft_post(r, kind, m->from);

	if (a == NULL)
		return;
	a->reject = !grant;
	a->term = m->kind == RAFT_PREVOTE && grant ? m->term : r->term;
}

/* One that was removed and does not know it would ask for ever. */
static void
tell_gone(struct raft *r, const struct raft_msg *m)
{
	struct raft_msg *a;

	if (raft_peer_get(r, m->from) != NULL || r->config_index > r->commit || r->config->count == 0)
		return;
	if ((a = raft_post(r, RAFT_GONE, m->from)) != NULL)
		a->index = r->config_index;
}

void
raft_vote_wanted(struct raft *r, const struct raft_msg *m, struct mono now)
{
	/* Who hears of a leader does not help to replace it (thesis, section 6.4.1), unless that wants it, or
	 * asks itself: then it has begun again and leads no more. */
	bool sticky = raft_has_leader(r, now) && !m->transfer && m->from != r->leader;
	bool grant = m->term >= r->term && !sticky && may_grant(r, m) && complete(r, m);

	if (!grant) {
		raft_tell(r, RAFT_TRACE_DENIED, m->from, m->term);
		answer(r, m, false);
		tell_gone(r, m);
		return;
	}
	if (m->kind == RAFT_VOTE && r->vote == 0) {
		r->vote = m->from;
		r->hard_dirty = true;
		raft_arm_election(r, now);
	}
	raft_tell(r, RAFT_TRACE_VOTED, m->from, m->term);
	answer(r, m, true);
}
