/* relation: the state machine, and what is proposed to it; see relation.h. */
#include <string.h>

#include "common/base/err.h"
#include "common/base/num.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "consensusd/core/raft_entry.h"
#include "consensusd/relation_impl.h"
#include "consensusd/seal.h"
#include "consensusd/sink_impl.h"
#include "consensusd/source_impl.h"
#include "consensusd/stats.h"

/* A command for opening a stream takes at most so much, one for a batch too. */
enum { COMMAND_ROOM_BYTES = 1024 };

/* --- the state machine --- */

void
relation_on_described(void *ctx, const struct dsg_stream *x)
{
	struct relation *r = ctx;
	struct source *s = r->mine ? source_find(r->owner->engine, &x->id) : NULL;
	struct sink *k = sink_find(r->owner->engine, &x->id);

	if (s != NULL && s->relation.relation == r)
		source_described(s);
	if (k != NULL && k->relation.relation == r && k->relation.waits) {
		k->relation.waits = false;
		sink_touch(k);
	}
}

/* What was put right is so from here on. */
void
relation_on_opened(void *ctx, const struct dsg_stream *x)
{
	struct relation *r = ctx;
	struct source *s = r->mine ? source_find(r->owner->engine, &x->id) : NULL;

	if (s != NULL && s->relation.redone) {
		s->relation.redone = s->relation.moved = false;
		s->relation.cap = UINT64_MAX;
	}
	relation_on_described(ctx, x);
}

static int
on_apply(void *sm, struct raft_entry *e)
{
	struct relation *r = sm;
	int err = e->type == RAFT_DATA ? dsg_apply(r->state, e->data, e->len) : 0;

	if (err != 0)
		return err;
	r->applied = e->index;
	if (!r->ready)
		relation_look(r);
	/* There may be room again for what waits. */
	if (buf_left(&r->proposal) != 0)
		relation_queue(r);
	return 0;
}

static int
on_snapshot(void *sm, struct buf *out)
{
	const struct relation *r = sm;

	return dsg_snapshot(r->state, out);
}

static int
on_restore(void *sm, const uint8_t *data, size_t len, uint64_t index)
{
	struct relation *r = sm;
	int err = dsg_restore(r->state, data, len);

	if (err == 0)
		r->applied = index;
	return err;
}

static void
on_role(void *sm, const struct raft_status *now)
{
	struct relation *r = sm;
	bool led = r->role.role == RAFT_LEADER, leads = now->role == RAFT_LEADER;

	if (led && (!leads || now->term != r->role.term))
		relation_unready(r);
	if (leads && (!led || now->term != r->role.term))
		r->ready_index = now->last;
	r->role = *now;
	relation_look(r);
	relation_duty_soon(r);
}

/* Not a member any more, or its log was lost: what follows is decided in a turn of its own. */
static void
on_gone(void *sm)
{
	relation_duty_soon(sm);
}

const struct group_ops relation_ops = {
    .apply = on_apply,
    .snapshot = on_snapshot,
    .restore = on_restore,
    .role = on_role,
    .gone = on_gone,
    /* What a target does with it is right even if its replica has to be told again. */
    .early = true,
};

/* --- who may propose --- */

/* Batches that were sent and are not described are sent again, and described then. */
static void
take_back(struct source *s)
{
	uint64_t described = relation_described(s);

	s->relation.placed = s->relation.redone = false;
	for (size_t i = 0; i < s->stream->flow_count; i++) {
		struct flow *f = &s->stream->flows[i];

		if (f->state != FLOW_OPEN || f->next_seq <= described + 1)
			continue;
		flow_reopen(f, clock_mono());
		source_flow_ready(f->owner);
	}
}

void
relation_unready(struct relation *r)
{
	struct source *s;

	r->ready = false;
	buf_reset(&r->proposal);
	TAILQ_FOREACH (s, &r->sources, relation.entry)
		take_back(s);
}

/* epoch: of the batch that follows; 0: that may be older than the one which the stream is in by now, and says
 * it itself. */
static int
put_open(struct source *s, uint64_t described, uint64_t epoch)
{
	struct dsg_open o = {.stream = s->row.stream_id, .epoch = epoch, .described = described};

	for (size_t i = 0; i < s->stream->flow_count; i++) {
		const struct flow *f = &s->stream->flows[i];

		if (f->state == FLOW_GONE)
			continue;
		o.targets[o.target_count] = f->node;
		o.processed[o.target_count++] = min_u64(f->processed, described);
	}
	/* A stream without any target ends; until then its group has the last one. */
	if (o.target_count == 0)
		o.targets[o.target_count++] = s->row.dst_nodes[0];
	return dsg_put_open(&s->relation.relation->proposal, &o);
}

/* Whether the group takes it for right that the stream goes on behind this seq. */
static bool
may_go_back(const struct dsg_stream *has, uint64_t at)
{
	for (size_t i = 0; i < has->target_count; i++)
		if (has->processed[i] > at)
			return false;
	return has->committed <= at;
}

/* Batches above are (or may be) not those that the group has: it forgets them, or (anew) all of the stream;
 * until that is applied they don't count.  Without room it is tried again. */
static bool
redo(struct source *s, uint64_t at, uint64_t epoch, bool anew)
{
	struct relation_source *x = &s->relation;
	struct relation *r = x->relation;
	const struct dsg_stream *has = dsg_find(r->state, &s->row.stream_id);

	x->cap = at;
	x->redone = x->placed = false;
	if (buf_room(&r->proposal) < 2 * COMMAND_ROOM_BYTES)
		return false;
	if (has != NULL && (anew || !may_go_back(has, at)))
		MUST(dsg_put_close(&r->proposal, &s->row.stream_id) == 0);
	MUST(put_open(s, at, epoch) == 0);
	x->redone = x->placed = true;
	x->proposed_seq = at;
	relation_queue(r);
	return true;
}

/* A stream that comes from another group: what was agreed upon there is so here; what was not is described
 * anew, as far as it is in memory, so that publishers get their answer even if no target is there to be sent
 * it.  If it was of this group before, that may have batches which were lost with this process's predecessor,
 * and made anew in the other group; and that it left may not have been applied yet. */
static void
bring(struct source *s)
{
	const struct stream *st = s->stream;
	uint64_t at = max_u64(st->fixed_seq, tail_first(&st->tail) - 1);
	struct batch *b = tail_get(&st->tail, at + 1);

	if (at == 0 && dsg_find(s->relation.relation->state, &st->id) == NULL) {
		s->relation.moved = false; /* it is opened with the first batch that is described */
		return;
	}
	if (!redo(s, at, b != NULL ? b->epoch : 0, true))
		return;
	while (b != NULL && b->first_seq == at + 1 && relation_describe(s, b)) {
		at = batch_last_seq(b);
		b = tail_get(&st->tail, at + 1);
	}
}

/* After a restart the log may have batches that the outbox does not: they were never sent, and are made
 * again. */
static void
settle(struct source *s)
{
	const struct dsg_stream *x = dsg_find(s->relation.relation->state, &s->row.stream_id);

	if (s->relation.redone)
		return;
	if (s->relation.moved) {
		bring(s);
	} else if (x != NULL && x->described > s->relation.cap) {
		(void)redo(s, s->relation.cap, 0, false);
	} else {
		s->relation.cap = UINT64_MAX;
		if (x == NULL)
			return;
		s->relation.proposed_seq = x->described;
		s->relation.placed = true;
	}
}

void
relation_arrived(struct source *s)
{
	if (s->relation.relation->ready)
		settle(s);
	source_ready_all(s);
}

void
relation_look(struct relation *r)
{
	struct source *s;

	if (r->ready || !r->mine || r->role.role != RAFT_LEADER || r->applied < r->ready_index)
		return;
	r->ready = true;
	TAILQ_FOREACH (s, &r->sources, relation.entry) {
		settle(s);
		s->relation.blocked = false;
		source_ready_all(s);
	}
}

uint64_t
relation_described(const struct source *s)
{
	const struct relation *r = s->relation.relation;
	const struct dsg_stream *x = r != NULL ? dsg_find(r->state, &s->row.stream_id) : NULL;

	if (x == NULL)
		return 0;
	return x->described < s->relation.cap ? x->described : s->relation.cap;
}

static bool
is_open(const struct source *s)
{
	const struct relation_source *x = &s->relation;
	const struct relation *r = x->relation;

	return r != NULL && r->ready && (x->cap == UINT64_MAX || x->redone) &&
	       buf_room(&r->proposal) >= COMMAND_ROOM_BYTES;
}

uint64_t
relation_limit(struct source *s)
{
	if (is_open(s))
		return UINT64_MAX;
	s->relation.blocked = true;
	return relation_described(s);
}

/* --- proposing --- */

void
relation_queue(struct relation *r)
{
	if (!r->queued) {
		TAILQ_INSERT_TAIL(&r->owner->queue, r, queue_entry);
		r->queued = true;
	}
	engine_wake(r->owner->engine);
}

/* What the group has, or is to have, of a batch. */
static struct dsg_batch
descriptor_of(struct batch *b)
{
	struct dsg_batch d = {
	    .stream = b->stream_id, .epoch = b->epoch, .first_seq = b->first_seq, .count = b->count};

	seal_digest(b);
	memcpy(d.digest, b->digest, sizeof(d.digest));
	memcpy(d.signature, b->signature, sizeof(d.signature));
	return d;
}

/* The log has another batch at this place: one that was lost in a crash when this one was not made yet, and
 * whose descriptor could not be taken back before this one was durable. */
static bool
is_stale(const struct source *s, struct batch *b)
{
	const struct relation_source *x = &s->relation;
	struct dsg_batch d;

	if (b->first_seq >= x->sure_from || x->redone)
		return false;
	d = descriptor_of(b);
	return dsg_check(x->relation->state, &d) == DSG_CHECK_OTHER;
}

static void
mend(struct source *s, struct batch *b)
{
	log_info("stream %s: its group has another batch at %llu, of before a crash: it is described anew",
	    s->id_text, (unsigned long long)b->first_seq);
	metric_inc(&stats.redescribed);
	s->relation.cap = b->first_seq - 1;
	if (s->relation.relation->ready)
		settle(s);
}

bool
relation_describe(struct source *s, struct batch *b)
{
	struct relation_source *x = &s->relation;
	struct dsg_batch d;

	if (batch_last_seq(b) <= relation_described(s)) {
		if (!is_stale(s, b))
			return true;
		mend(s, b);
	}
	if (x->relation->ready && x->placed && b->first_seq <= x->proposed_seq)
		return true;
	if (!is_open(s)) {
		x->blocked = true;
		return false;
	}
	/* The group has not heard of the stream, or targets of a group before this one had what lies between.
	 */
	if ((!x->placed || b->first_seq != x->proposed_seq + 1) &&
	    put_open(s, b->first_seq - 1, b->epoch) != 0)
		return false;
	d = descriptor_of(b);
	if (dsg_put_batch(&x->relation->proposal, &d) != 0)
		return false;
	x->placed = true;
	x->proposed_seq = batch_last_seq(b);
	x->sure_from = min_u64(x->sure_from, b->first_seq);
	relation_queue(x->relation);
	return true;
}

void
relation_describe_next(struct source *s, struct batch *b)
{
	const struct relation_source *x = &s->relation;

	if (is_open(s) && (x->placed ? b->first_seq == x->proposed_seq + 1 : b->first_seq == 1))
		(void)relation_describe(s, b);
}

void
relation_processed(struct source *s, uint64_t node, uint64_t seq)
{
	struct relation *r = s->relation.relation;

	/* What there is no room for now is told with what comes later. */
	if (r != NULL && r->ready && s->relation.placed &&
	    dsg_put_processed(&r->proposal, &s->row.stream_id, node, seq) == 0)
		relation_queue(r);
}

void
relation_fenced(struct source *s)
{
	struct relation *r = s->relation.relation;

	if (r != NULL && r->ready && s->relation.placed && s->stream->sealed == NULL &&
	    s->relation.proposed_seq + 1 == s->stream->tail.next_seq &&
	    dsg_put_epoch(&r->proposal, &s->row.stream_id, s->row.epoch) == 0)
		relation_queue(r);
}

/* What was not described yet never will be: the next batch begins behind it. */
void
relation_skipped(struct source *s, uint64_t seq)
{
	struct relation *r = s->relation.relation;

	if (r != NULL && r->ready && s->relation.placed && seq <= s->relation.proposed_seq &&
	    dsg_put_skip(&r->proposal, &s->row.stream_id, seq) == 0)
		relation_queue(r);
}

/* Streams that waited for room go on. */
static void
unblock(struct relation *r)
{
	struct source *s;

	TAILQ_FOREACH (s, &r->sources, relation.entry) {
		if (s->relation.cap != UINT64_MAX)
			settle(s);
		if (!s->relation.blocked)
			continue;
		s->relation.blocked = false;
		source_ready_all(s);
	}
}

void
relation_propose(struct relation *r)
{
	size_t len = buf_left(&r->proposal);
	struct raft_entry *e;
	uint64_t index;
	int err;

	if (!r->ready || len == 0)
		return;
	e = raft_entry_new(RAFT_DATA, 0, 0, buf_head(&r->proposal), len);
	err = e != NULL ? group_propose(r->group, e, &index) : ERR_NOMEM;
	/* Too much is on its way, or it hands over: when something was applied, or by the duty. */
	if (err != 0) {
		relation_duty_soon(r);
		return;
	}
	metric_inc(&stats.relation_entries);
	buf_reset(&r->proposal);
	unblock(r);
}

void
relations_turn(struct relations *rs)
{
	struct relation_list now = TAILQ_HEAD_INITIALIZER(now);
	struct relation *r;

	TAILQ_CONCAT(&now, &rs->queue, queue_entry);
	while ((r = TAILQ_FIRST(&now)) != NULL) {
		TAILQ_REMOVE(&now, r, queue_entry);
		r->queued = false;
		relation_propose(r);
	}
}

/* --- a target's --- */

enum dsg_check
relation_check(struct sink *k, struct batch *b)
{
	const struct dsg_batch d = descriptor_of(b);
	enum dsg_check is;

	is = k->relation.relation != NULL ? dsg_check(k->relation.relation->state, &d) : DSG_CHECK_NOT_YET;
	if (is == DSG_CHECK_NOT_YET)
		k->relation.waits = true;
	return is;
}
