/*
 * raft_output: in which order things leave a replica.
 *
 * Persist before send: a message that tells something this replica has decided (a vote, that entries are in
 * its log) carries the mark of the write that makes the decision durable, and waits for that write.  What a
 * leader sends at once promises nothing: its term and its vote for itself were durable before it led, and
 * its own copy of an entry counts only when it is durable (thesis, section 10.2.1).
 *
 * Commit before apply: an entry is handed to the state machine when it is committed and durable here; after
 * raft_apply_early() as soon as it is committed, which it is for good, whether or not this replica keeps it.
 */
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/num.h"
#include "consensusd/core/raft_entry.h"
#include "consensusd/core/raft_impl.h"

/* --- messages --- */

static void
out_free(struct raft *r, struct raft_outbox *box, struct raft_out *o)
{
	TAILQ_REMOVE(box, o, entry);
	r->outbox_count--;
	raft_msg_fini(&o->msg);
	mem_free(o);
}

/* Of the two, the one with messages that wait longer than storage takes: the group is cut off from it. */
static void
make_room(struct raft *r)
{
	struct raft_outbox *box = TAILQ_EMPTY(&r->gated) ? &r->outbox : &r->gated;

	out_free(r, box, TAILQ_FIRST(box));
	r->counters.dropped++;
}

static struct raft_msg *
post(struct raft *r, struct raft_outbox *box, uint64_t needs, uint8_t kind, uint64_t to)
{
	struct raft_out *o = mem_calloc(1, sizeof(*o));

	if (o == NULL) {
		r->counters.memory_out++;
		return NULL;
	}
	if (r->outbox_count >= RAFT_OUTBOX_MAX)
		make_room(r);
	o->needs = needs;
	o->msg = (struct raft_msg){.kind = kind, .to = to, .from = r->conf.id, .term = r->term};
	TAILQ_INSERT_TAIL(box, o, entry);
	r->outbox_count++;
	r->newest = o;
	r->newest_in = box;
	return &o->msg;
}

struct raft_msg *
raft_post(struct raft *r, uint8_t kind, uint64_t to)
{
	return post(r, &r->gated, raft_needs(r), kind, to);
}

struct raft_msg *
raft_post_now(struct raft *r, uint8_t kind, uint64_t to)
{
	return post(r, &r->outbox, 0, kind, to);
}

void
raft_unpost(struct raft *r)
{
	MUST(r->newest != NULL);
	out_free(r, r->newest_in, r->newest);
	r->newest = NULL;
}

static bool
take(struct raft *r, struct raft_outbox *box, struct raft_msg *out)
{
	struct raft_out *o = TAILQ_FIRST(box);

	if (o == NULL || o->needs > r->durable)
		return false;
	*out = o->msg;
	o->msg = (struct raft_msg){0};
	if (o == r->newest)
		r->newest = NULL;
	out_free(r, box, o);
	r->counters.sent++;
	return true;
}

bool
raft_send(struct raft *r, struct raft_msg *out)
{
	return take(r, &r->outbox, out) || take(r, &r->gated, out);
}

void
raft_output_init(struct raft *r)
{
	TAILQ_INIT(&r->outbox);
	TAILQ_INIT(&r->gated);
}

void
raft_output_fini(struct raft *r)
{
	while (!TAILQ_EMPTY(&r->outbox))
		out_free(r, &r->outbox, TAILQ_FIRST(&r->outbox));
	while (!TAILQ_EMPTY(&r->gated))
		out_free(r, &r->gated, TAILQ_FIRST(&r->gated));
}

/* --- storage --- */

static bool
dirty(const struct raft *r)
{
	return r->hard_dirty || r->restore_dirty || r->log.cut != UINT64_MAX ||
	       r->log.written < raft_log_last(&r->log);
}

uint64_t
raft_needs(const struct raft *r)
{
	return dirty(r) ? r->mark + 1 : r->mark;
}

bool
raft_persist(struct raft *r, struct raft_persist *out)
{
	/* The commit index alone is not worth a write: a leader tells it again. */
	if (r->batch_count == RAFT_PERSISTS_MAX || !dirty(r))
		return false;
	*out = (struct raft_persist){
	    .mark = ++r->mark,
	    .term = r->term,
	    .vote = r->vote,
	    .commit = r->commit,
	    .cut = r->log.cut,
	    .first = r->log.written + 1,
	    .last = raft_log_last(&r->log),
	    .restore = r->restore_dirty,
	    .snap_index = r->log.snap_index,
	    .snap_term = r->log.snap_term,
	};
	r->hard_dirty = r->restore_dirty = false;
	r->log.cut = UINT64_MAX;
	r->log.written = out->last;
	r->batches[r->batch_count++] = (struct raft_batch){out->mark, out->last};
	return true;
}

bool
raft_persist_may_wait(const struct raft *r)
{
	return !raft_may_lead(r) && !r->hard_dirty && !r->restore_dirty && r->log.cut == UINT64_MAX;
}

void
raft_output_cut(struct raft *r, uint64_t from)
{
	for (size_t i = 0; i < r->batch_count; i++)
		r->batches[i].last = min_u64(r->batches[i].last, from - 1);
}

void
raft_durable(struct raft *r, uint64_t mark, struct mono now)
{
	size_t done = 0;

	MUST(mark <= r->mark);
	for (; done < r->batch_count && r->batches[done].mark <= mark; done++)
		r->log.durable = max_u64(r->log.durable, r->batches[done].last);
	for (size_t i = done; i < r->batch_count; i++)
		r->batches[i - done] = r->batches[i];
	r->batch_count -= done;
	r->durable = max_u64(r->durable, mark);
	raft_count_votes(r, now);
	if (r->role == RAFT_LEADER)
		raft_advance_commit(r, now);
}

/* --- the state machine --- */

void
raft_apply_early(struct raft *r)
{
	r->early = true;
}

bool
raft_apply(struct raft *r, uint64_t *first, uint64_t *last)
{
	uint64_t end = r->early ? r->commit : min_u64(r->commit, r->log.durable);
	size_t bytes = 0;

	if (r->applying >= end)
		return false;
	*first = *last = r->applying + 1;
	for (uint64_t i = *first; i <= end; i++) {
		bytes += raft_entry_bytes(raft_log_get(&r->log, i));
		if (bytes > r->conf.set.apply_bytes && i != *first)
			break;
		*last = i;
	}
	r->applying = *last;
	return true;
}

void
raft_applied(struct raft *r, uint64_t index)
{
	MUST(index <= r->applying);
	r->applied = max_u64(r->applied, index);
}
