/* raft_step: what a message says of terms, and who handles it. */
#include "common/base/err.h"
#include "consensusd/core/raft_impl.h"

/* Messages that only a leader of their term sends. */
static bool
from_leader(const struct raft_msg *m)
{
	return m->kind == RAFT_APPEND || m->kind == RAFT_HEARTBEAT || m->kind == RAFT_SNAPSHOT;
}

/* A term that is not there yet, or may never be. */
static bool
term_is_proposed(const struct raft_msg *m)
{
	return m->kind == RAFT_PREVOTE || (m->kind == RAFT_PREVOTE_ANSWER && !m->reject);
}

static void
gone_came(struct raft *r, const struct raft_msg *m)
{
	if (m->index <= r->config_index || r->gone)
		return;
	r->gone = true;
	raft_tell(r, RAFT_TRACE_GONE, m->index, 0);
}

/* The sender is behind: a leader must learn that there is a later term, or it would go on for ever with a
 * follower that has a higher one from a time when it was cut off. */
static void
outdated(struct raft *r, const struct raft_msg *m, struct mono now)
{
	struct raft_msg *a;

	if (m->kind == RAFT_PREVOTE || m->kind == RAFT_VOTE) {
		raft_vote_wanted(r, m, now); /* denies */
	} else if (from_leader(m) && (a = raft_post(r, RAFT_APPEND_ANSWER, m->from)) != NULL) {
		a->reject = true;
		a->index = m->index;
	}
}

/* False: the message is not to be handled. */
static bool
settle_term(struct raft *r, const struct raft_msg *m, struct mono now)
{
	if (m->term < r->term) {
		outdated(r, m, now);
		return false;
	}
	if (m->term > r->term && !term_is_proposed(m)) {
		/* A vote that will not be granted raises no term either. */
		if (m->kind == RAFT_VOTE && raft_has_leader(r, now) && !m->transfer && m->from != r->leader)
			return false;
		raft_become_follower(r, m->term, from_leader(m) ? m->from : 0, now);
	}
	return true;
}

static void
leader_came(struct raft *r, const struct raft_msg *m, struct mono now)
{
	/* Election safety: a leader gets no append of its own term. */
	if (r->role == RAFT_LEADER)
		return;
	r->heard_at = now;
	r->gone = false; /* whoever said so: a leader counts on it */
	if (r->role != RAFT_FOLLOWER || r->leader != m->from)
		raft_become_follower(r, r->term, m->from, now);
	else
		raft_arm_election(r, now);
}

static void
handle_as_leader(struct raft *r, struct raft_msg *m, struct mono now)
{
	struct raft_peer *p = raft_peer_get(r, m->from);
	uint64_t index;

	if (r->role != RAFT_LEADER || p == NULL)
		return;
	p->active = true;
	p->heard_at = now;
	if (m->kind == RAFT_APPEND_ANSWER) {
		raft_append_answered(r, m, now);
	} else if (m->kind == RAFT_HEARTBEAT_ANSWER) {
		raft_heartbeat_answered(r, m, now);
	} else if (m->kind == RAFT_SNAPSHOT_ANSWER) {
		raft_snapshot_answered(r, m, now);
	} else if (m->kind == RAFT_READ) {
		raft_read_wanted(r, m, now);
	} else if (m->entry_count == 1) { /* RAFT_PROPOSE */
		struct raft_entry *e = m->entries[0];

		m->entry_count = 0;
		/* Who proposed it does so again if it does not see it applied. */
		if (raft_propose(r, e, now, &index) != 0)
			r->counters.refused++;
	}
}

static void
handle(struct raft *r, struct raft_msg *m, struct mono now)
{
	if (from_leader(m))
		leader_came(r, m, now);
	switch (m->kind) {
	case RAFT_PREVOTE:
	case RAFT_VOTE:
		raft_vote_wanted(r, m, now);
		break;
	case RAFT_PREVOTE_ANSWER:
	case RAFT_VOTE_ANSWER:
		raft_vote_came(r, m, now);
		break;
	case RAFT_APPEND:
		raft_append_came(r, m, now);
		break;
	case RAFT_HEARTBEAT:
		raft_heartbeat_came(r, m, now);
		break;
	case RAFT_SNAPSHOT:
		raft_snapshot_came(r, m, now);
		break;
	case RAFT_READ_ANSWER:
		raft_read_answered(r, m);
		break;
	case RAFT_TIMEOUT_NOW:
		/* Only from the leader of this term, which has seen that our log is complete. */
		if (r->role == RAFT_FOLLOWER && m->from == r->leader)
			raft_stand(r, true, now);
		break;
	default:
		handle_as_leader(r, m, now);
	}
}

static bool
makes_sense(const struct raft *r, const struct raft_msg *m)
{
	return m->kind > 0 && m->kind < RAFT_KINDS && m->to == r->conf.id && m->from != r->conf.id &&
	       m->from != 0;
}

void
raft_step(struct raft *r, struct raft_msg *m, struct mono now)
{
	r->counters.received++;
	if (!makes_sense(r, m)) {
		r->counters.wrong++;
	} else if (m->kind == RAFT_GONE) {
		gone_came(r, m);
	} else {
		/* Heartbeats and their answers are what a quiet group goes to sleep with. */
		if (m->kind != RAFT_HEARTBEAT && m->kind != RAFT_HEARTBEAT_ANSWER)
			raft_stir(r, now);
		if (settle_term(r, m, now))
			handle(r, m, now);
	}
	raft_msg_fini(m);
}
