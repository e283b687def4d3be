/* raft_follow: what a follower does with a leader's appends and heartbeats (paper, section 5.3). */
#include "common/base/err.h"
#include "common/base/num.h"
#include "consensusd/core/raft_entry.h"
#include "consensusd/core/raft_impl.h"

void
raft_answer_append(struct raft *r, uint64_t to, uint64_t index)
{
	struct raft_msg *a = raft_post(r, RAFT_APPEND_ANSWER, to);

	if (a != NULL)
		a->index = index;
}

static void
reject(struct raft *r, const struct raft_msg *m)
{
	struct raft_msg *a = raft_post(r, RAFT_APPEND_ANSWER, m->from);

	if (a == NULL)
		return;
	a->reject = true;
	a->index = m->index;
	a->hint = raft_log_at_most(&r->log, m->index, m->log_term);
	(void)raft_log_term(&r->log, a->hint, &a->hint_term);
}

/* Terms in a log never fall, and none is beyond its leader's. */
static bool
in_order(const struct raft_msg *m)
{
	uint64_t term = m->log_term;

	for (size_t i = 0; i < m->entry_count; i++) {
		const struct raft_entry *e = m->entries[i];

		if (e->term < term || e->term > m->term || e->index != m->index + 1 + i)
			return false;
		term = e->term;
	}
	return true;
}

/* The first entry of a message that the log does not have; entry_count: it has all.  Up to the commit index
 * the logs are the same, even where this one has been compacted. */
static size_t
first_new(const struct raft *r, const struct raft_msg *m)
{
	size_t i = 0;

	while (
	    i < m->entry_count && (m->entries[i]->index <= r->commit ||
				      raft_log_matches(&r->log, m->entries[i]->index, m->entries[i]->term)))
		i++;
	return i;
}

/* Uses the membership that the log will have with these entries from one on: the last one among them, or, if
 * the present one is cut off, the one before. */
static int
follow_config(struct raft *r, const struct raft_msg *m, size_t from)
{
	struct raft_config *c = NULL;
	uint64_t at = 0;
	int err = 0;

	for (size_t i = m->entry_count; i > from && c == NULL && err == 0; i--) {
		const struct raft_entry *e = m->entries[i - 1];

		at = e->index;
		if (e->type == RAFT_CONFIG)
			err = raft_config_decode(e->data, e->len, &c);
	}
	if (err == 0 && c == NULL && r->config_index >= m->entries[from]->index)
		err = raft_config_before(r, m->entries[from]->index, &c, &at);
	if (err != 0 || c == NULL)
		return err;
	if ((err = raft_use_config(r, c, at)) != 0)
		raft_config_free(c);
	return err;
}

/* Takes entries over from one on. */
static int
take(struct raft *r, struct raft_msg *m, size_t from)
{
	uint64_t first = m->entries[from]->index;
	int err;

	if ((err = raft_log_reserve(&r->log, m->entry_count - from)) != 0 ||
	    (err = follow_config(r, m, from)) != 0)
		return err;
	if (first <= raft_log_last(&r->log)) {
		raft_tell(r, RAFT_TRACE_TRUNCATED, first, 0);
		raft_log_truncate(&r->log, first);
		raft_output_cut(r, first);
	}
	for (size_t i = from; i < m->entry_count; i++)
		raft_log_push(&r->log, raft_entry_ref(m->entries[i]));
	raft_tell(r, RAFT_TRACE_APPENDED, first, raft_log_last(&r->log));
	return 0;
}

void
raft_append_came(struct raft *r, struct raft_msg *m, struct mono now)
{
	uint64_t last = m->index + m->entry_count;
	size_t from;
	int err;

	if (r->role == RAFT_LEADER || !in_order(m)) {
		r->counters.wrong++;
		return;
	}
	if (m->index >= r->commit && !raft_log_matches(&r->log, m->index, m->log_term)) {
		reject(r, m);
		return;
	}
	from = first_new(r, m);
	if (from < m->entry_count && (err = take(r, m, from)) != 0) {
		r->counters.memory_out += err == ERR_NOMEM;
		r->counters.wrong += err != ERR_NOMEM;
		return;
	}
	raft_commit_to(r, min_u64(m->commit, last), now);
	raft_answer_append(r, m->from, max_u64(last, min_u64(r->commit, raft_log_last(&r->log))));
}

void
raft_heartbeat_came(struct raft *r, const struct raft_msg *m, struct mono now)
{
	struct raft_msg *a;

	if (r->role == RAFT_LEADER) {
		r->counters.wrong++;
		return;
	}
	raft_commit_to(r, min_u64(m->commit, raft_log_last(&r->log)), now);
	if (m->quiet && r->commit == m->commit && r->commit == raft_log_last(&r->log)) {
		raft_be_quiet(r);
		return;
	}
	raft_stir(r, now);
	if ((a = raft_post(r, RAFT_HEARTBEAT_ANSWER, m->from)) != NULL)
		a->read = m->read;
}
