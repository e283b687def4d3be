#include "consensusd/core/raft.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/num.h"
#include "consensusd/core/raft_entry.h"
#include "consensusd/core/raft_impl.h"

static const char *const role_names[] = {
    [RAFT_FOLLOWER] = "follower",
    [RAFT_PRECANDIDATE] = "pre-candidate",
    [RAFT_CANDIDATE] = "candidate",
    [RAFT_LEADER] = "leader",
};

const char *
raft_role_name(enum raft_role role)
{
	return (size_t)role < sizeof(role_names) / sizeof(role_names[0]) ? role_names[role] : "?";
}

static const char *const trace_names[RAFT_TRACES] = {
    [RAFT_TRACE_ROLE] = "role",
    [RAFT_TRACE_TERM] = "term",
    [RAFT_TRACE_VOTED] = "voted",
    [RAFT_TRACE_DENIED] = "denied",
    [RAFT_TRACE_LEADER] = "leader",
    [RAFT_TRACE_APPENDED] = "appended",
    [RAFT_TRACE_TRUNCATED] = "truncated",
    [RAFT_TRACE_COMMIT] = "commit",
    [RAFT_TRACE_CONFIG] = "config",
    [RAFT_TRACE_SNAPSHOT] = "snapshot",
    [RAFT_TRACE_RESTORED] = "restored",
    [RAFT_TRACE_PROBE] = "probe",
    [RAFT_TRACE_REPLICATE] = "replicate",
    [RAFT_TRACE_TRANSFER] = "transfer",
    [RAFT_TRACE_QUIET] = "quiet",
    [RAFT_TRACE_GONE] = "gone",
};

const char *
raft_trace_name(enum raft_trace what)
{
	return what < RAFT_TRACES ? trace_names[what] : "?";
}

/* --- members --- */

static struct raft_peer *
find(const struct raft_peers *peers, uint64_t id)
{
	size_t low = 0, high = peers != NULL ? peers->count : 0;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (peers->peer[middle].m.id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return peers != NULL && low < peers->count && peers->peer[low].m.id == id
		   ? (struct raft_peer *)(uintptr_t)&peers->peer[low]
		   : NULL;
}

struct raft_peer *
raft_peer_get(const struct raft *r, uint64_t id)
{
	return find(r->peers, id);
}

/* Who votes no more may be the only one with the entry that says so: until that is committed, it may have to
 * lead once more (thesis, section 4.2.2). */
static bool
voted_before(const struct raft *r)
{
	const struct raft_member *m;
	struct raft_config *before;
	uint64_t at;
	bool voted;

	if (r->config_index <= r->commit || raft_config_before(r, r->config_index, &before, &at) != 0)
		return false;
	m = raft_config_get(before, r->conf.id);
	voted = m != NULL && (m->role & (RAFT_VOTER | RAFT_OLD_VOTER)) != 0;
	raft_config_free(before);
	return voted;
}

bool
raft_may_lead(const struct raft *r)
{
	const struct raft_peer *p = raft_peer_get(r, r->conf.id);

	if (r->gone)
		return false;
	return (p != NULL && (p->m.role & (RAFT_VOTER | RAFT_OLD_VOTER)) != 0) || voted_before(r);
}

int
raft_use_config(struct raft *r, struct raft_config *c, uint64_t index)
{
	struct raft_peers *peers = mem_calloc(1, sizeof(*peers) + c->count * sizeof(peers->peer[0]));

	if (peers == NULL)
		return ERR_NOMEM;
	for (; peers->count < c->count; peers->count++) {
		struct raft_peer *p = &peers->peer[peers->count];
		const struct raft_peer *before = find(r->peers, c->members[peers->count].id);

		if (before != NULL)
			*p = *before;
		p->m = c->members[peers->count];
		if (before == NULL)
			raft_peer_reset(r, p);
	}
	mem_free(r->peers);
	if (r->config != r->snap_config)
		raft_config_free(r->config);
	r->peers = peers;
	r->config = c;
	r->config_index = index;
	raft_tell(r, RAFT_TRACE_CONFIG, index, 0);
	return 0;
}

static uint64_t
quorum_of(
    const struct raft *r, uint8_t role, uint64_t (*value)(const struct raft *, const struct raft_peer *))
{
	uint64_t v[RAFT_VOTERS_MAX];
	size_t n = 0;

	for (size_t i = 0; i < r->peers->count; i++) {
		const struct raft_peer *p = &r->peers->peer[i];
		uint64_t x = (p->m.role & role) != 0 ? value(r, p) : 0;
		size_t k = n;

		if ((p->m.role & role) == 0)
			continue;
		for (; k != 0 && v[k - 1] > x; k--)
			v[k] = v[k - 1];
		v[k] = x;
		n++;
	}
	return n != 0 ? v[(n - 1) / 2] : UINT64_MAX;
}

uint64_t
raft_quorum(const struct raft *r, uint64_t (*value)(const struct raft *r, const struct raft_peer *p))
{
	return min_u64(quorum_of(r, RAFT_VOTER, value), quorum_of(r, RAFT_OLD_VOTER, value));
}

/* --- a replica as storage has it --- */

static int
check_state(const struct raft_state *s)
{
	uint64_t term = s->snap_term;

	if (s->snap_term > s->term || s->applied < s->snap_index ||
	    s->applied > s->snap_index + s->entry_count)
		return ERR_RANGE;
	for (size_t i = 0; i < s->entry_count; i++) {
		const struct raft_entry *e = s->entries[i];

		if (e->index != s->snap_index + 1 + i || e->term < term || e->term > s->term)
			return ERR_RANGE;
		term = e->term;
	}
	return 0;
}

static int
load_log(struct raft *r, const struct raft_state *s)
{
	int err;

	raft_log_restore(&r->log, s->snap_index, s->snap_term);
	if ((err = raft_log_reserve(&r->log, s->entry_count)) != 0)
		return err;
	for (size_t i = 0; i < s->entry_count; i++)
		raft_log_push(&r->log, raft_entry_ref(s->entries[i]));
	r->log.written = r->log.durable = raft_log_last(&r->log);
	return 0;
}

static int
load_config(struct raft *r, const struct raft_state *s)
{
	const struct raft_config none = {0}, *from = s->snap_config != NULL ? s->snap_config : &none;
	struct raft_config *c;
	uint64_t at;
	int err;

	if ((err = raft_config_new(from->members, from->count, &r->snap_config)) != 0)
		return err;
	r->config = r->snap_config;
	if ((err = raft_config_before(r, UINT64_MAX, &c, &at)) != 0)
		return err;
	if ((err = raft_use_config(r, c, at)) != 0)
		raft_config_free(c);
	return err;
}

int
raft_new(const struct raft_conf *conf, const struct raft_state *state, struct mono now, struct raft **out)
{
	struct raft *r;
	int err;

	if ((err = check_state(state)) != 0)
		return err;
	if ((r = mem_calloc(1, sizeof(*r))) == NULL)
		return ERR_NOMEM;
	r->conf = *conf;
	rng_seed(&r->rng, conf->seed);
	raft_log_init(&r->log);
	raft_output_init(r);
	raft_reads_init(r);
	r->term = state->term;
	r->vote = state->vote;
	/* What was applied was committed, whether or not that was noted. */
	r->applied = r->applying = state->applied;
	r->commit = max_u64(min_u64(state->commit, state->snap_index + state->entry_count), state->applied);
	r->commit_written = r->commit;
	r->election_at = r->heartbeat_at = r->quorum_at = r->transfer_by = MONO_NEVER;
	r->heard_at = mono_add_us(now, -2 * conf->set.election_us);
	if ((err = load_log(r, state)) != 0 || (err = load_config(r, state)) != 0) {
		raft_free(r);
		return err;
	}
	raft_arm_election(r, now);
	*out = r;
	return 0;
}

void
raft_free(struct raft *r)
{
	if (r == NULL)
		return;
	raft_output_fini(r);
	raft_reads_fini(r);
	raft_incoming_drop(r);
	raft_log_fini(&r->log);
	if (r->config != r->snap_config)
		raft_config_free(r->config);
	raft_config_free(r->snap_config);
	mem_free(r->peers);
	mem_free(r);
}

/* --- to look at --- */

struct raft_entry *
raft_entry_at(struct raft *r, uint64_t index)
{
	return raft_log_get(&r->log, index);
}

void
raft_show(const struct raft *r, struct raft_status *out)
{
	const struct raft_peer *self = raft_peer_get(r, r->conf.id);

	*out = (struct raft_status){
	    .id = r->conf.id,
	    .node = r->conf.node,
	    .term = r->term,
	    .vote = r->vote,
	    .leader = r->leader,
	    .commit = r->commit,
	    .applied = r->applied,
	    .first = raft_log_first(&r->log),
	    .last = raft_log_last(&r->log),
	    .written = r->log.written,
	    .durable = r->log.durable,
	    .config_index = r->config_index,
	    .role = r->role,
	    .joint = raft_config_joint(r->config),
	    .quiet = r->quiet,
	    .gone = r->gone,
	    .voter = self != NULL && (self->m.role & RAFT_VOTER) != 0,
	    .members = r->config->count,
	    .bytes = r->log.bytes,
	    .outbox = r->outbox_count,
	    .transfer = r->transfer_to,
	};
}

bool
raft_member_at(const struct raft *r, size_t i, struct raft_member_status *out)
{
	const struct raft_peer *p;

	if (i >= r->peers->count)
		return false;
	p = &r->peers->peer[i];
	*out = (struct raft_member_status){
	    .member = p->m,
	    .match = raft_is_self(r, p) ? r->log.durable : p->match,
	    .active = p->active || raft_is_self(r, p),
	    .snapshot = p->flow == RAFT_FLOW_SNAPSHOT,
	    .heard_at = p->heard_at,
	};
	return true;
}

int
raft_config_used(const struct raft *r, struct raft_config **out)
{
	return raft_config_new(r->config->members, r->config->count, out);
}

int
raft_config_at(const struct raft *r, uint64_t index, struct raft_config **out)
{
	uint64_t at;

	return raft_config_before(r, index + 1, out, &at);
}

const struct raft_counters *
raft_counters(const struct raft *r)
{
	return &r->counters;
}
