/* stream: what it was asked for: when publishers are answered, what is kept and what is given up; see
 * stream.h. */
#include <string.h>

#include "consensusd/core/budget.h"
#include "consensusd/core/node_list.h"
#include "consensusd/core/stream.h"

/* Into so many parts, at least, what a stream retains can be cut. */
enum { LEDGER_CUTS = 16 };

/* Whether the target counts for messages from seq on: who was removed does not, who came later neither. */
static bool
counts(const struct flow *f, uint64_t seq)
{
	return !f->removed && f->first_seq <= seq;
}

/* What at least n targets have processed of the messages from seq on that the same targets get; 0: nothing.
 */
static uint64_t
quorum_part(const struct stream *s, size_t n, uint64_t seq)
{
	uint64_t best = 0, end = UINT64_MAX;

	for (size_t i = 0; i < s->flow_count; i++) {
		const struct flow *f = &s->flows[i];
		size_t have = 0;

		if (!f->removed && f->first_seq > seq && f->first_seq - 1 < end)
			end = f->first_seq - 1;
		for (size_t k = 0; k < s->flow_count; k++)
			have += counts(&s->flows[k], seq) && s->flows[k].processed >= f->processed;
		if (counts(f, seq) && have >= n && f->processed > best)
			best = f->processed;
	}
	return best < end ? best : end;
}

/* What at least n of those that get it have processed. */
static uint64_t
quorum_seq(const struct stream *s, size_t n)
{
	uint64_t seq = s->committed_seq, next;

	/* Another part begins where a target came. */
	for (size_t part = 0; part <= s->flow_count; part++) {
		if ((next = quorum_part(s, n, seq + 1)) <= seq)
			break;
		seq = next;
	}
	return seq;
}

void
stream_reached(struct stream *s)
{
	uint64_t seq = s->policy.ack == POLICY_ACK_QUORUM ? quorum_seq(s, s->policy.quorum) : 0;

	if (seq > s->reached_seq)
		s->reached_seq = seq;
}

uint64_t
stream_answered(const struct stream *s)
{
	uint64_t seq = 0;

	switch (s->policy.ack) {
	case POLICY_ACK_ACCEPTED:
		seq = s->durable_seq;
		break;
	case POLICY_ACK_COMMITTED:
		seq = s->fixed_seq;
		break;
	case POLICY_ACK_QUORUM:
		seq = quorum_seq(s, s->policy.quorum);
		/* Of targets that are gone since, too. */
		if (seq < s->reached_seq)
			seq = s->reached_seq;
		break;
	case POLICY_ACK_ALL:
	case POLICY_ACKS:
		break;
	}
	if (seq < s->committed_seq)
		seq = s->committed_seq;
	if (seq > stream_recorded(s))
		seq = stream_recorded(s);
	if (s->giving_up_seq > s->skipped_seq && s->kept_seq < s->giving_up_seq && seq > s->kept_seq)
		seq = s->kept_seq;
	return seq;
}

bool
stream_hopeless(const struct stream *s)
{
	size_t refused = 0, gone = 0, needed;

	for (size_t i = 0; i < s->flow_count; i++) {
		refused += s->flows[i].state == FLOW_REFUSED || s->flows[i].state == FLOW_GONE;
		gone += s->flows[i].state == FLOW_GONE;
	}
	if (s->policy.ack == POLICY_ACK_ACCEPTED || s->policy.ack == POLICY_ACK_COMMITTED)
		return false;
	/* All means all that there are; of none, nothing can be had. */
	needed = gone < s->flow_count ? s->flow_count - gone : 1;
	if (s->policy.ack == POLICY_ACK_QUORUM)
		needed = s->policy.quorum;
	return s->flow_count - refused < needed;
}

static bool
all_open(const struct stream *s)
{
	for (size_t i = 0; i < s->flow_count; i++) {
		if (s->flows[i].state != FLOW_OPEN && s->flows[i].state != FLOW_GONE)
			return false;
	}
	return true;
}

/* Targets that take what they can get: publishers go at their speed. */
static bool
ahead_of_targets(const struct stream *s, bool was_held)
{
	size_t mark = budget_keep(s->budget, s->conf->flow.window_bytes, 0) / 2;

	return !s->paused && all_open(s) && s->tail.bytes > (was_held ? mark / 2 : mark);
}

/* What the outbox may have before publishers are held. */
static uint64_t
backlog_max(const struct stream *s)
{
	if (s->policy.retention_bytes == 0)
		return s->conf->backlog_bytes;
	return s->policy.overflow == POLICY_HOLD ? s->policy.retention_bytes : UINT64_MAX / 2;
}

void
stream_set_policy(struct stream *s, const struct policy *p)
{
	uint64_t grain = p->retention_bytes / LEDGER_CUTS;

	s->policy = *p;
	if (p->retention_bytes > 0 && grain < LEDGER_GRAIN_BYTES)
		s->ledger.grain_min = s->ledger.grain =
		    grain > LEDGER_GRAIN_MIN_BYTES ? grain : LEDGER_GRAIN_MIN_BYTES;
}

bool
stream_aged(const struct stream *s)
{
	const struct ledger_bucket *oldest = ledger_at(&s->ledger, 0);

	return s->policy.retention_ms > 0 && s->policy.overflow == POLICY_HOLD && oldest != NULL &&
	       s->now_ms > oldest->first_ms && s->now_ms - oldest->first_ms > s->policy.retention_ms;
}

uint64_t
stream_overflow(const struct stream *s)
{
	const struct policy *p = &s->policy;
	const struct ledger_bucket *b;
	uint64_t left = s->ledger.total_bytes, upto = 0;

	if (p->overflow != POLICY_DROP || s->giving_up_seq > s->skipped_seq)
		return 0;
	for (size_t i = 0; (b = ledger_at(&s->ledger, i)) != NULL && b->last_seq <= s->durable_seq; i++) {
		bool old =
		    p->retention_ms > 0 && s->now_ms > b->last_ms && s->now_ms - b->last_ms > p->retention_ms;
		/* Of what is too much the newest stays: one large message is not lost for its size. */
		bool more = p->retention_bytes > 0 && left > p->retention_bytes && i + 1 < s->ledger.count;

		if (!old && !more)
			break;
		upto = b->last_seq;
		left -= b->bytes;
	}
	return upto;
}

static void
lose(struct stream *s, uint64_t first, uint64_t last)
{
	struct stream_lost *newest = s->lost_count > 0 ? &s->lost[s->lost_count - 1] : NULL;

	if (newest != NULL && newest->last + 1 >= first) {
		newest->last = last;
		return;
	}
	if (s->lost_count == STREAM_LOST_MAX) {
		s->unsure_seq = s->lost[0].last;
		s->lost_count--;
		memmove(&s->lost[0], &s->lost[1], s->lost_count * sizeof(s->lost[0]));
	}
	s->lost[s->lost_count++] = (struct stream_lost){first, last};
}

void
stream_give_up(struct stream *s, uint64_t seq)
{
	MUST(seq <= s->durable_seq && seq > s->skipped_seq && s->giving_up_seq <= s->skipped_seq);
	s->kept_seq = stream_answered(s);
	s->giving_up_seq = seq;
}

void
stream_skip(struct stream *s, uint64_t seq, struct mono now)
{
	MUST(seq == s->giving_up_seq && seq > s->skipped_seq);
	if (s->kept_seq < seq)
		lose(s, s->kept_seq + 1, seq);
	s->skipped_seq = seq;
	for (size_t i = 0; i < s->flow_count; i++)
		flow_skip(&s->flows[i], seq, now);
}

void
stream_load_skipped(struct stream *s, uint64_t seq)
{
	if (seq > s->durable_seq)
		stream_load(s, seq);
	stream_fixed(s, seq);
	if (s->policy.ack != POLICY_ACK_ACCEPTED)
		s->unsure_seq = seq;
	s->skipped_seq = s->giving_up_seq = seq;
	(void)stream_commit(s);
}

bool
stream_is_lost(const struct stream *s, uint64_t seq)
{
	for (size_t i = 0; i < s->lost_count; i++) {
		if (seq >= s->lost[i].first && seq <= s->lost[i].last)
			return true;
	}
	return false;
}

bool
stream_held(const struct stream *s, bool was_held)
{
	uint64_t mark = was_held ? backlog_max(s) / 4 * 3 : backlog_max(s);

	return s->ledger.total_bytes > mark || waiters_count(&s->waiters) > WAITERS_HOLD_COUNT ||
	       ahead_of_targets(s, was_held);
}

bool
stream_overfull(const struct stream *s)
{
	return s->ledger.total_bytes > backlog_max(s) + backlog_max(s) / 4;
}
