/* stream: messages that became dead letters at targets, and what their publishers are told; see stream.h. */
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/core/node_list.h"
#include "consensusd/core/stream.h"

/* Whether the message was, and is, for this target to process. */
static bool
counts(const struct flow *f, uint64_t seq)
{
	return !f->removed && f->first_seq <= seq;
}

/* What it did while it was a target stays done. */
static bool
did(const struct flow *f, uint64_t seq)
{
	return f->first_seq <= seq && f->processed >= seq && !flow_failed(f, seq);
}

static enum stream_outcome
outcome(const struct stream *s, uint64_t seq, const uint64_t *nodes, size_t count)
{
	size_t failed = 0, had = 0, pending = 0, needed = s->policy.quorum;

	for (size_t i = 0; i < s->flow_count; i++) {
		const struct flow *f = &s->flows[i];

		if (!counts(f, seq)) {
			had += did(f, seq);
			continue;
		}
		if (flow_failed(f, seq) || node_list_has(nodes, count, f->node))
			failed++;
		else if (f->processed >= seq)
			had++;
		else
			pending += f->state < FLOW_REFUSED;
	}
	if (s->policy.ack == POLICY_ACK_ACCEPTED || s->policy.ack == POLICY_ACK_COMMITTED)
		return STREAM_REACHED;
	if (s->policy.ack != POLICY_ACK_QUORUM)
		return failed == 0 ? STREAM_REACHED : STREAM_FAILED;
	/* All that are left, if they are fewer; one at which it failed may have been removed. */
	if (had >= needed || failed + pending == 0)
		return STREAM_REACHED;
	return had + pending >= needed || failed == 0 ? STREAM_WAITS : STREAM_FAILED;
}

enum stream_outcome
stream_outcome(const struct stream *s, uint64_t seq)
{
	return outcome(s, seq, NULL, 0);
}

/* Whether it is a dead letter somewhere is known to the store alone; or it was given up for some targets,
 * too, whose marks have passed it then as if they had processed it. */
static bool
store_knows(const struct stream *s, uint64_t seq)
{
	for (size_t i = 0; i < s->flow_count; i++) {
		const struct flow *f = &s->flows[i];

		if (flow_concerns(f, seq) &&
		    (seq <= f->failures.from || (seq <= s->skipped_seq && flow_failed(f, seq))))
			return true;
	}
	return false;
}

/* Other targets than there are now may have had it: some are gone that had, or some came later, which may
 * have been targets before that. */
static bool
others_had(const struct stream *s, uint64_t seq)
{
	bool had = s->left_seq >= seq;

	for (size_t i = 0; i < s->flow_count; i++) {
		const struct flow *f = &s->flows[i];

		had = had || (f->state == FLOW_GONE ? f->processed >= seq : f->first_seq > seq);
	}
	return had;
}

/* By the targets there are it failed, and with others it may have reached its quorum, which its publisher was
 * told then. */
static bool
is_contested(const struct stream *s, uint64_t seq, const uint64_t *nodes, size_t count)
{
	/* The outcome last: hardly any message gets that far. */
	return s->policy.ack == POLICY_ACK_QUORUM && (seq <= s->told_seq || seq <= s->earlier_seq) &&
	       others_had(s, seq) && outcome(s, seq, nodes, count) == STREAM_FAILED;
}

/* All targets that it was for are removed, and that one of them processed it is not known, or not any more.
 */
static bool
is_orphaned(const struct stream *s, uint64_t seq)
{
	if (s->policy.ack == POLICY_ACK_ACCEPTED || s->policy.ack == POLICY_ACK_COMMITTED)
		return false;
	for (size_t i = 0; i < s->flow_count; i++) {
		const struct flow *f = &s->flows[i];

		if (counts(f, seq) || (did(f, seq) && seq > f->failures.from))
			return false;
	}
	return true;
}

bool
stream_is_unsure(const struct stream *s, uint64_t seq)
{
	return seq <= s->unsure_seq || store_knows(s, seq) || is_orphaned(s, seq) ||
	       is_contested(s, seq, NULL, 0);
}

/* Of one that was given up, where targets lacked it. */
static enum stream_fate
fate_given_up(const struct stream *s, uint64_t seq, const struct stream_record *r)
{
	bool dead = r->failed_count > 0 && r->missed_count == 0;
	size_t had = 0, others = 0, needed = 0;

	for (size_t i = 0; i < s->flow_count; i++) {
		const struct flow *f = &s->flows[i];

		if (f->state == FLOW_GONE || f->first_seq > seq)
			continue;
		needed++;
		if (node_list_has(r->missed, r->missed_count, f->node) ||
		    node_list_has(r->failed, r->failed_count, f->node))
			continue;
		others++;
		had += f->processed >= seq;
	}
	/* Nobody wrote down how far the group was when it was given up; what a target has processed, or tried
	 * to, was there. */
	if (s->policy.ack == POLICY_ACK_ACCEPTED)
		return STREAM_FATE_REACHED;
	if (s->policy.ack == POLICY_ACK_COMMITTED)
		return had + r->failed_count > 0 ? STREAM_FATE_REACHED : STREAM_FATE_UNKNOWN;
	if (s->policy.ack == POLICY_ACK_QUORUM)
		needed = s->policy.quorum;
	/* If all had to have it, those that are left had to. */
	if ((needed == 0 || (others < needed && s->policy.ack == POLICY_ACK_QUORUM)) && others_had(s, seq))
		return STREAM_FATE_UNKNOWN;
	if (needed == 0 || others < needed)
		return dead ? STREAM_FATE_FAILED : STREAM_FATE_LOST;
	return had >= needed ? STREAM_FATE_REACHED : STREAM_FATE_UNSAID;
}

enum stream_fate
stream_fate(const struct stream *s, uint64_t seq, const struct stream_record *r)
{
	if (seq <= s->skipped_seq)
		return fate_given_up(s, seq, r);
	if (is_orphaned(s, seq) || is_contested(s, seq, r->failed, r->failed_count))
		return STREAM_FATE_UNKNOWN;
	return outcome(s, seq, r->failed, r->failed_count) == STREAM_REACHED ? STREAM_FATE_REACHED
									     : STREAM_FATE_FAILED;
}

uint64_t
stream_recorded(const struct stream *s)
{
	uint64_t upto = UINT64_MAX, seq;

	if (s->policy.ack == POLICY_ACK_ACCEPTED || s->policy.ack == POLICY_ACK_COMMITTED)
		return UINT64_MAX;
	for (size_t i = 0; i < s->flow_count; i++) {
		seq = flow_unrecorded(&s->flows[i]);
		if (seq != 0 && seq <= upto && !s->flows[i].removed)
			upto = seq - 1;
	}
	/* It fails at a target that is not needed. */
	return upto > s->told_seq ? upto : s->told_seq;
}

/* --- publishers that wait for the quorum of a message which failed at some targets --- */

/* Whether one of the first n that wait is of this call. */
static bool
is_parked(const struct stream *s, size_t n, uint64_t call)
{
	for (size_t i = 0; i < n; i++)
		if (s->parked[i].w.call == call)
			return true;
	return false;
}

bool
stream_park(struct stream *s, const struct waiter *w, struct mono now)
{
	if ((stream_outcome(s, w->seq) != STREAM_WAITS && !is_parked(s, s->parked_count, w->call)) ||
	    s->parked_count == STREAM_PARKED_MAX)
		return false;
	if (s->parked == NULL)
		s->parked = mem_calloc(STREAM_PARKED_MAX, sizeof(s->parked[0]));
	if (s->parked == NULL)
		return false;
	s->parked[s->parked_count++] = (struct stream_parked){*w, mono_add_ms(now, STREAM_PARKED_MS)};
	return true;
}

/* Nobody may wait any more: a target has as many dead letters that may not be forgotten as there is room for,
 * or there are too many that wait. */
static bool
crowded(const struct stream *s)
{
	for (size_t i = 0; i < s->flow_count; i++)
		if (s->flows[i].failures.count == s->flows[i].failures.cap)
			return true;
	return s->parked_count == STREAM_PARKED_MAX;
}

bool
stream_unpark(struct stream *s, struct mono now, struct waiter *out)
{
	bool all = s->parked_count > 0 && (s->emptying || crowded(s));

	for (size_t i = 0; i < s->parked_count; i++) {
		const struct stream_parked *p = &s->parked[i];

		/* What was given up meanwhile reaches nothing more. */
		if (!all && ((mono_before(now, p->until) && p->w.seq > s->skipped_seq &&
				 stream_outcome(s, p->w.seq) == STREAM_WAITS) ||
				is_parked(s, i, p->w.call)))
			continue;
		*out = p->w;
		s->parked_count--;
		memmove(&s->parked[i], &s->parked[i + 1], (s->parked_count - i) * sizeof(s->parked[0]));
		s->emptying = all && s->parked_count > 0;
		return true;
	}
	return false;
}

struct mono
stream_parked_until(const struct stream *s)
{
	return s->parked_count > 0 ? s->parked[0].until : MONO_NEVER;
}

void
stream_settle(struct stream *s)
{
	uint64_t upto = stream_answered(s);

	if (upto > s->told_seq)
		s->told_seq = upto;
	/* Who comes later asks the store. */
	if (waiters_count(&s->waiters) == 0)
		upto = UINT64_MAX;
	for (size_t i = 0; i < s->parked_count; i++)
		if (s->parked[i].w.seq <= upto)
			upto = s->parked[i].w.seq - 1;
	for (size_t i = 0; i < s->flow_count; i++)
		flow_settle(&s->flows[i], upto);
}
