/* raft_leader: what a leader sends to others, what they answer, and what that commits (paper, 5.3, 5.4.2). */
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/num.h"
#include "consensusd/core/raft_entry.h"
#include "consensusd/core/raft_impl.h"

/* --- what is in flight --- */

static void
inflight_clear(struct raft_peer *p)
{
	p->inflight_head = p->inflight_count = p->inflight_bytes = 0;
}

static void
inflight_add(struct raft_peer *p, uint64_t last, size_t bytes)
{
	size_t at = (p->inflight_head + p->inflight_count++) % RAFT_INFLIGHT_MAX;

	p->inflight[at] = (struct raft_inflight){last, bytes};
	p->inflight_bytes += bytes;
}

static void
inflight_answered(struct raft_peer *p, uint64_t upto)
{
	while (p->inflight_count != 0 && p->inflight[p->inflight_head].last <= upto) {
		p->inflight_bytes -= p->inflight[p->inflight_head].bytes;
		p->inflight_head = (p->inflight_head + 1) % RAFT_INFLIGHT_MAX;
		p->inflight_count--;
	}
}

void
raft_peer_reset(struct raft *r, struct raft_peer *p)
{
	*p = (struct raft_peer){
	    .m = p->m,
	    .flow = RAFT_FLOW_PROBE,
	    .active = true, /* until the next check of the quorum */
	    .next = raft_log_last(&r->log) + 1,
	    .heard_at = p->heard_at,
	};
}

static void
probe(struct raft *r, struct raft_peer *p, uint64_t next)
{
	p->flow = RAFT_FLOW_PROBE;
	p->paused = false;
	p->next = max_u64(next, p->match + 1);
	inflight_clear(p);
	raft_tell(r, RAFT_TRACE_PROBE, p->m.id, p->next);
}

static void
replicate(struct raft *r, struct raft_peer *p)
{
	p->flow = RAFT_FLOW_REPLICATE;
	p->paused = false;
	p->next = p->match + 1;
	inflight_clear(p);
	raft_tell(r, RAFT_TRACE_REPLICATE, p->m.id, p->match);
}

/* --- sending --- */

static bool
has_room(const struct raft *r, const struct raft_peer *p)
{
	if (p->flow == RAFT_FLOW_REPLICATE)
		return p->inflight_count < RAFT_INFLIGHT_MAX &&
		       p->inflight_bytes < r->conf.set.inflight_bytes;
	return p->flow == RAFT_FLOW_PROBE && !p->paused;
}

/* How many entries from p->next on go into one message. */
static size_t
count_entries(const struct raft *r, const struct raft_peer *p, size_t *bytes)
{
	size_t count = 0;

	*bytes = 0;
	for (uint64_t i = p->next; i <= raft_log_last(&r->log) && count < RAFT_MSG_ENTRIES_MAX; i++) {
		size_t more = raft_entry_bytes(raft_log_get(&r->log, i));

		if (count != 0 && *bytes + more > r->conf.set.append_bytes)
			break;
		*bytes += more;
		count++;
	}
	return count;
}

static bool
fill(struct raft *r, struct raft_msg *m, uint64_t first, size_t count)
{
	if (count == 0)
		return true;
	if ((m->entries = mem_calloc(count, sizeof(struct raft_entry *))) == NULL)
		return false;
	for (size_t i = 0; i < count; i++)
		m->entries[i] = raft_entry_ref(raft_log_get(&r->log, first + i));
	m->entry_count = count;
	return true;
}

/* One message.  False: nothing was sent. */
static bool
send_one(struct raft *r, struct raft_peer *p, bool empty, struct mono now)
{
	size_t bytes = 0, count;
	struct raft_msg *m;
	uint64_t term;

	if (p->flow == RAFT_FLOW_SNAPSHOT)
		return false;
	if (!raft_log_term(&r->log, p->next - 1, &term)) {
		raft_snapshot_begin(r, p, now);
		return false;
	}
	count = has_room(r, p) ? count_entries(r, p, &bytes) : 0;
	if (count == 0 && !empty)
		return false;
	if ((m = raft_post_now(r, RAFT_APPEND, p->m.id)) == NULL)
		return false;
	m->index = p->next - 1;
	m->log_term = term;
	m->commit = p->commit_sent = r->commit;
	if (!fill(r, m, p->next, count)) {
		raft_unpost(r);
		r->counters.memory_out++;
		return false;
	}
	if (p->flow == RAFT_FLOW_PROBE) {
		p->paused = true;
	} else if (count != 0) {
		p->next += count;
		inflight_add(p, p->next - 1, bytes);
	}
	return count != 0;
}

void
raft_send_append(struct raft *r, struct raft_peer *p, bool empty, struct mono now)
{
	if (raft_is_self(r, p))
		return;
	while (send_one(r, p, empty, now))
		empty = false;
}

void
raft_send_appends(struct raft *r, struct mono now)
{
	for (size_t i = 0; i < r->peers->count; i++) {
		struct raft_peer *p = &r->peers->peer[i];

		/* What is committed is worth a message of its own: others wait for it to apply it. */
		raft_send_append(r, p, p->flow == RAFT_FLOW_REPLICATE && p->commit_sent < r->commit, now);
	}
}

void
raft_send_heartbeats(struct raft *r, bool quiet)
{
	for (size_t i = 0; i < r->peers->count; i++) {
		struct raft_peer *p = &r->peers->peer[i];
		struct raft_msg *m;

		if (raft_is_self(r, p) || (m = raft_post_now(r, RAFT_HEARTBEAT, p->m.id)) == NULL)
			continue;
		/* Of what it may not have it must not believe that it is committed. */
		m->commit = min_u64(p->match, r->commit);
		m->read = r->reads.round;
		/* One that was taken for gone may be back just now, and must not sleep with less than all. */
		m->quiet = quiet && p->match == r->commit;
	}
}

/* --- answers --- */

static void
rejected(struct raft *r, struct raft_peer *p, const struct raft_msg *m)
{
	uint64_t at = m->hint;

	if (m->index <= p->match || p->flow == RAFT_FLOW_SNAPSHOT)
		return;
	if (p->flow == RAFT_FLOW_REPLICATE) {
		probe(r, p, p->match + 1);
		return;
	}
	if (m->index != p->next - 1)
		return; /* an older one's */
	/* Entries of later terms than its hint has can't be in common: a term is passed over in one step. */
	if (m->hint_term != 0)
		at = raft_log_at_most(&r->log, m->hint, m->hint_term);
	probe(r, p, min_u64(at + 1, m->index));
}

static void
accepted(struct raft *r, struct raft_peer *p, uint64_t index, struct mono now)
{
	bool more = index > p->match;

	p->match = max_u64(p->match, index);
	p->next = max_u64(p->next, p->match + 1);
	inflight_answered(p, index);
	if (p->flow == RAFT_FLOW_PROBE ||
	    (p->flow == RAFT_FLOW_SNAPSHOT && p->snap_sent && p->match >= p->snap_index))
		replicate(r, p);
	if (more)
		raft_advance_commit(r, now);
}

void
raft_append_answered(struct raft *r, const struct raft_msg *m, struct mono now)
{
	struct raft_peer *p = raft_peer_get(r, m->from);

	if (!m->reject && m->index > raft_log_last(&r->log)) {
		r->counters.wrong++;
		return;
	}
	if (m->reject)
		rejected(r, p, m);
	else
		accepted(r, p, m->index, now);
	/* Having committed may have changed the members, or ended this leadership. */
	if (r->role != RAFT_LEADER || (p = raft_peer_get(r, m->from)) == NULL)
		return;
	raft_send_append(r, p, p->flow == RAFT_FLOW_PROBE && !p->paused, now);
	raft_transfer_if_ready(r, p);
}

void
raft_heartbeat_answered(struct raft *r, const struct raft_msg *m, struct mono now)
{
	struct raft_peer *p = raft_peer_get(r, m->from);

	if (m->read > r->reads.round) {
		r->counters.wrong++;
		return;
	}
	p->read = max_u64(p->read, m->read);
	p->paused = false;
	/* It is there, and may lack what was lost on the way: an append tells, be it an empty one. */
	if (p->flow == RAFT_FLOW_SNAPSHOT)
		raft_snapshot_resend(r, p, now);
	else if (p->match < raft_log_last(&r->log) || p->flow == RAFT_FLOW_PROBE)
		raft_send_append(r, p, true, now);
	raft_transfer_if_ready(r, p);
	raft_reads_advance(r, now);
}

/* --- commit --- */

static uint64_t
stored(const struct raft *r, const struct raft_peer *p)
{
	return raft_is_self(r, p) ? r->log.durable : p->match;
}

void
raft_commit_to(struct raft *r, uint64_t index, struct mono now)
{
	if (index <= r->commit)
		return;
	MUST(index <= raft_log_last(&r->log));
	for (uint64_t i = r->commit + 1; i <= index && r->role == RAFT_LEADER; i++)
		r->uncommitted_bytes -= raft_entry_bytes(raft_log_get(&r->log, i));
	r->commit = index;
	raft_tell(r, RAFT_TRACE_COMMIT, index, 0);
	raft_config_committed(r, now);
}

void
raft_advance_commit(struct raft *r, struct mono now)
{
	uint64_t index = raft_quorum(r, stored);

	/* Only an entry of this term is committed by counting; those before it are with it (section 5.4.2).
	 */
	if (index <= r->commit || !raft_log_matches(&r->log, index, r->term))
		return;
	raft_commit_to(r, index, now);
	if (r->role != RAFT_LEADER)
		return;
	raft_send_appends(r, now);
	raft_reads_advance(r, now);
}

/* --- proposals --- */

int
raft_append_own(struct raft *r, struct raft_entry *e)
{
	int err = raft_log_reserve(&r->log, 1);

	if (err != 0)
		return err;
	e->term = r->term;
	e->index = raft_log_last(&r->log) + 1;
	raft_log_push(&r->log, e);
	r->uncommitted_bytes += raft_entry_bytes(e);
	raft_tell(r, RAFT_TRACE_APPENDED, e->index, e->index);
	return 0;
}

static int
propose_here(struct raft *r, struct raft_entry *e, struct mono now, uint64_t *index)
{
	int err;

	if (r->transfer_to != 0)
		return ERR_UNAVAIL;
	/* One that is larger than the limit may go alone. */
	if (r->uncommitted_bytes != 0 &&
	    r->uncommitted_bytes + raft_entry_bytes(e) > r->conf.set.uncommitted_bytes) {
		r->counters.refused++;
		return ERR_FULL;
	}
	if ((err = raft_append_own(r, e)) != 0)
		return err;
	*index = e->index;
	r->counters.proposals++;
	raft_stir(r, now);
	raft_send_appends(r, now);
	return 0;
}

static int
forward(struct raft *r, struct raft_entry *e)
{
	struct raft_msg *m;

	if (r->leader == 0)
		return ERR_UNAVAIL;
	if ((m = raft_post_now(r, RAFT_PROPOSE, r->leader)) == NULL)
		return ERR_NOMEM;
	if ((m->entries = mem_calloc(1, sizeof(struct raft_entry *))) == NULL) {
		raft_unpost(r);
		return ERR_NOMEM;
	}
	m->entries[0] = e;
	m->entry_count = 1;
	return 0;
}

/* What is in a log has its place and does not change any more: who proposes an entry and keeps it, to propose
 * it again, gets another one into the log each time. */
static int
make_own(struct raft_entry **e)
{
	struct raft_entry *copy;

	if ((*e)->refs == 1 && (*e)->index == 0)
		return 0;
	if ((copy = raft_entry_new((*e)->type, (*e)->client, (*e)->seq, (*e)->data, (*e)->len)) == NULL)
		return ERR_NOMEM;
	raft_entry_unref(*e);
	*e = copy;
	return 0;
}

int
raft_propose(struct raft *r, struct raft_entry *e, struct mono now, uint64_t *index)
{
	int err;

	*index = 0;
	/* Memberships go through raft_change(), which knows what may follow what. */
	if (e->type != RAFT_DATA)
		err = ERR_RANGE;
	else if (r->role != RAFT_LEADER)
		err = forward(r, e);
	else if ((err = make_own(&e)) == 0)
		err = propose_here(r, e, now, index);
	if (err != 0)
		raft_entry_unref(e);
	return err;
}
