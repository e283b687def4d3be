/* raft_time: what happens because time passes, and how a group is quiet while nothing happens. */
#include "common/base/err.h"
#include "consensusd/core/raft_impl.h"

/* --- quiet --- */

void
raft_be_quiet(struct raft *r)
{
	if (r->quiet)
		return;
	r->quiet = true;
	r->election_at = r->heartbeat_at = r->quorum_at = MONO_NEVER;
	raft_tell(r, RAFT_TRACE_QUIET, 1, 0);
}

void
raft_wake(struct raft *r, struct mono now)
{
	if (!r->quiet)
		return;
	r->quiet = false;
	r->heard_at = now; /* its leader has the time of an election to show itself */
	if (r->role == RAFT_LEADER) {
		r->heartbeat_at = r->idle_since = now;
		r->quorum_at = mono_add_us(now, r->conf.set.election_us);
	} else {
		raft_arm_election(r, now);
	}
	raft_tell(r, RAFT_TRACE_QUIET, 0, 0);
}

void
raft_stir(struct raft *r, struct mono now)
{
	raft_wake(r, now);
	r->idle_since = now;
}

/* How many voters stand before this one. */
static size_t
rank(const struct raft *r)
{
	size_t before = 0;

	for (size_t i = 0; i < r->peers->count && r->peers->peer[i].m.id < r->conf.id; i++)
		before += r->peers->peer[i].m.id != r->leader &&
			  (r->peers->peer[i].m.role & (RAFT_VOTER | RAFT_OLD_VOTER)) != 0;
	return before;
}

void
raft_suspect(struct raft *r, struct mono now)
{
	int64_t t = r->conf.set.election_us;

	if (r->role != RAFT_FOLLOWER || r->leader == 0)
		return;
	raft_wake(r, now);
	r->heard_at = mono_add_us(now, -t);
	/* Not at random: all learn it at about the same time, and two at once would split the votes. */
	if (raft_may_lead(r))
		r->election_at =
		    mono_min(r->election_at, mono_add_us(now, t / RAFT_SUSPECT_STEPS * (int64_t)rank(r)));
}

/* Those that are away do not keep the others awake: who sees them come back wakes the group. */
static bool
has_all(const struct raft *r, const struct raft_peer *p, struct mono now)
{
	int64_t away_us = RAFT_ELECTIONS_DEAD * r->conf.set.election_us;

	if (raft_is_self(r, p))
		return r->log.durable == r->commit;
	return p->match == r->commit || mono_diff_us(now, p->heard_at) > away_us;
}

static bool
is_idle(const struct raft *r, struct mono now)
{
	if (r->conf.set.quiet_us == 0 || mono_diff_us(now, r->idle_since) < r->conf.set.quiet_us ||
	    r->commit != raft_log_last(&r->log) || r->transfer_to != 0 || r->reads.pending_count != 0 ||
	    raft_config_joint(r->config))
		return false;
	for (size_t i = 0; i < r->peers->count; i++)
		if (!has_all(r, &r->peers->peer[i], now))
			return false;
	return true;
}

/* --- a leader's time --- */

static uint64_t
heard_of(const struct raft *r, const struct raft_peer *p)
{
	return raft_is_self(r, p) || p->active;
}

/* A leader that a quorum does not hear is none: clients must not wait for it (thesis, section 6.2). */
static void
check_quorum(struct raft *r, struct mono now)
{
	bool enough = raft_quorum(r, heard_of) == 1;

	for (size_t i = 0; i < r->peers->count; i++)
		r->peers->peer[i].active = false;
	r->quorum_at = mono_add_us(now, r->conf.set.election_us);
	if (!enough)
		raft_become_follower(r, r->term, 0, now);
}

static void
beat(struct raft *r, struct mono now)
{
	bool quiet = is_idle(r, now);

	raft_send_heartbeats(r, quiet);
	r->heartbeat_at = mono_add_us(now, r->conf.set.heartbeat_us);
	if (quiet) {
		raft_be_quiet(r);
		return;
	}
	for (size_t i = 0; i < r->peers->count; i++)
		if (r->peers->peer[i].flow == RAFT_FLOW_SNAPSHOT)
			raft_snapshot_resend(r, &r->peers->peer[i], now);
	raft_config_committed(r, now); /* what lacked memory then */
}

static bool
due(struct mono at, struct mono now)
{
	return !mono_before(now, at);
}

static void
tick_leader(struct raft *r, struct mono now)
{
	if (due(r->transfer_by, now))
		raft_transfer_stop(r);
	if (due(r->quorum_at, now))
		check_quorum(r, now);
	if (r->role == RAFT_LEADER && due(r->heartbeat_at, now))
		beat(r, now);
}

/* --- everybody's --- */

void
raft_tick(struct raft *r, struct mono now)
{
	if (r->role == RAFT_LEADER) {
		tick_leader(r, now);
	} else if (due(r->election_at, now)) {
		raft_stand(r, false, now);
		raft_seek(r);
		if (due(r->election_at, now))
			raft_arm_election(r, now);
	}
}

struct mono
raft_next(const struct raft *r)
{
	struct mono at = r->election_at;

	if (r->role == RAFT_LEADER)
		at = mono_min(mono_min(r->heartbeat_at, r->quorum_at), r->transfer_by);
	return at;
}

void
raft_campaign(struct raft *r, struct mono now)
{
	raft_wake(r, now);
	raft_stand(r, false, now);
}
