/* check: what must hold after each step. */
#include <string.h>

#include "common/base/be.h"
#include "common/base/buf.h"
#include "consensusd/core/dsg_impl.h"
#include "tests/streamsim/world.h"

enum { STATE_MAX_BYTES = 16 << 20, WHOLE_EVERY = 16, DSG_MAX_BYTES = 2 << 20, BATCH_BYTES_MAX = 32 * 1024 };
_Static_assert((int)DSG_SIGNATURE_BYTES == (int)BATCH_SIG_BYTES, "descriptors have batches' signatures");

static uint64_t
mix(uint64_t h, const void *data, size_t len)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * 0x100000001b3u;
	return h ^ h >> 29;
}

/* Not a good hash, but nobody here wants two batches to have the same. */
void
check_digest(const struct batch *b, uint8_t digest[DSG_DIGEST_BYTES])
{
	uint64_t h = mix(0xcbf29ce484222325u, b->body, b->body_len);

	h = mix(h, &b->first_seq, sizeof(b->first_seq));
	h = mix(h, &b->epoch, sizeof(b->epoch));
	h = mix(h, &b->count, sizeof(b->count));
	for (size_t i = 0; i < DSG_DIGEST_BYTES; i += 8)
		be_store64(digest + i, h += 0x9e3779b97f4a7c15u);
}

struct dsg_batch
check_descriptor(const struct batch *b)
{
	struct dsg_batch d = {
	    .stream = b->stream_id, .epoch = b->epoch, .first_seq = b->first_seq, .count = b->count};

	check_digest(b, d.digest);
	memcpy(d.signature, b->signature, sizeof(d.signature));
	return d;
}

/* --- what became durable --- */

static void
check_outbox(struct world *w, const struct batch *b)
{
	struct batch_record rec;
	struct batch_iter it;

	batch_iter_init(&it, b);
	while (batch_next(&it, &rec) == 1) {
		uint32_t p = (uint32_t)be_load64(rec.message_id) - 1;
		uint32_t number = (uint32_t)be_load64(rec.message_id + 8);
		struct message *m = &w->publisher[p].messages[number];
		struct truth *t = &w->truth[rec.seq];

		if (rec.seq >= SEQ_MAX - 1)
			world_fail(w, "more messages than were published");
		if (t->number != 0)
			world_fail(w, "two messages at %llu", (unsigned long long)rec.seq);
		if (m->seq != 0)
			world_fail(w, "message %u of publisher %u at %llu and at %llu", number, p,
			    (unsigned long long)m->seq, (unsigned long long)rec.seq);
		m->seq = rec.seq;
		t->publisher = p;
		t->number = number;
	}
}

void
check_taken(struct world *w, unsigned n, const struct batch *b)
{
	const struct truth *t = &w->truth[b->first_seq];
	struct dsg_batch d = check_descriptor(b);

	/* What was given up before it was described comes late, and there is one of it only. */
	if (t->count == 0 && b->first_seq <= w->node[0].rows.skipped_seq)
		return;
	/* Its group was told that all up to there has its place. */
	if (t->count == 0 && w->changes && b->first_seq <= w->described_any)
		return;
	if (t->count == 0)
		world_fail(
		    w, "node %u takes %llu, which is not described", n, (unsigned long long)b->first_seq);
	if (t->count != b->count || t->epoch != b->epoch ||
	    memcmp(t->digest, d.digest, sizeof(d.digest)) != 0)
		world_fail(w, "node %u takes another batch at %llu than was described", n,
		    (unsigned long long)b->first_seq);
}

static uint64_t
processed_everywhere(const struct world *w)
{
	uint64_t min = UINT64_MAX;

	for (unsigned n = 1; n <= w->targets; n++)
		if (check_gets(w, n, UINT64_MAX) && check_bound(w, n) < min)
			min = check_bound(w, n);
	return min;
}

uint64_t
check_released(const struct world *w)
{
	uint64_t all = processed_everywhere(w), skipped = w->node[0].rows.skipped_seq;

	return all > skipped ? all : skipped;
}

static void
check_closed(const struct world *w)
{
	if (w->changes) {
		check_stays_closed(w);
		return;
	}
	for (unsigned n = 1; n <= w->targets; n++) {
		const struct node *o = &w->node[n];

		if (o->refused)
			continue;
		if (check_ever_processed(o) != w->node[0].rows.last_seq)
			world_fail(w, "the stream is closed before node %u has processed all", n);
		if (o->lost == 0 && o->rows.row_state != TARGET_CLOSING)
			world_fail(w, "the stream is closed, and not at node %u", n);
	}
}

/* What is needed by nobody is forgotten. */
static void
check_clear(struct world *w, unsigned n, uint64_t seq)
{
	uint64_t recorded = UINT64_MAX;

	for (unsigned i = 0; n == 0 && i < w->targets; i++) {
		uint64_t first = w->node[0].rows.set.first[i], mark = w->node[0].rows.marks[i];

		if (check_gets(w, i + 1, UINT64_MAX) && mark < recorded)
			recorded = first > mark + 1 ? first - 1 : mark;
	}
	if (n == 0 && seq > recorded && seq > w->node[0].rows.skipped_seq)
		world_fail(w, "the outbox forgets %llu, and %llu is recorded", (unsigned long long)seq,
		    (unsigned long long)recorded);
	if (n == 0 && seq > check_released(w))
		world_fail(w, "the outbox forgets %llu, which a target needs", (unsigned long long)seq);
	if (n != 0 && seq > w->node[n].rows.marks[0])
		world_fail(w, "the inbox of node %u forgets %llu too early", n, (unsigned long long)seq);
}

void
check_rows(struct world *w, unsigned n, const struct rows_put *p)
{
	if (p->clear) {
		check_clear(w, n, p->seq);
		return;
	}
	if (p->skipped) {
		check_skipped(w, n, p);
		return;
	}
	/* Some of it may be processed by now. */
	if (p->batch != NULL && (p->batch->first_seq <= w->node[n].rows.rows_seq ||
				    p->batch->first_seq > w->node[n].rows.last_seq + 1))
		world_fail(w, "node %u stores %llu after %llu", n, (unsigned long long)p->batch->first_seq,
		    (unsigned long long)w->node[n].rows.last_seq);
	if (p->kind == ORDER_STREAM_ROW || p->kind == ORDER_TARGET_ROW)
		check_row(w, n, p);
	if (p->kind == ORDER_STREAM_ROW && p->seq == STREAM_CLOSED)
		check_closed(w);
	if (p->kind == ORDER_OUTBOX)
		check_outbox(w, p->batch);
	if (p->kind == ORDER_INBOX && p->batch != NULL)
		check_taken(w, n, p->batch);
	if (p->kind == ORDER_PROCESSED)
		check_letters(w, n, p);
	if (p->kind == ORDER_RECORDED)
		letters_check_recorded(w, p);
	if (p->kind == ORDER_RECORDED && p->seq > check_bound(w, (unsigned)p->target + 1))
		world_fail(w, "the source records what target %zu has not processed", p->target + 1);
}

/* --- the group --- */

static void
check_batch(struct world *w, const struct dsg *d, const struct dsg_batch *b)
{
	struct truth *t = &w->truth[b->first_seq];
	enum dsg_check c = dsg_check(d, b);

	if (b->first_seq + b->count > SEQ_MAX || w->truth[b->first_seq + b->count - 1].number == 0)
		world_fail(
		    w, "%llu is described and not durable at the source", (unsigned long long)b->first_seq);
	if (c == DSG_CHECK_NOT_YET || c == DSG_CHECK_OLD)
		return;
	if (c == DSG_CHECK_OTHER ||
	    (t->count != 0 && (t->count != b->count || memcmp(t->digest, b->digest, sizeof(t->digest)) != 0)))
		world_fail(w, "two batches are described at %llu", (unsigned long long)b->first_seq);
	t->count = b->count;
	t->epoch = b->epoch;
	memcpy(t->digest, b->digest, sizeof(t->digest));
}

/* Of the state; now and then of the whole of it. */
static uint64_t
state_hash(const struct dsg *d, const struct ulid *id, uint64_t index)
{
	const struct dsg_stream *s = dsg_find(d, id);
	uint64_t h = index;
	struct buf b;

	if (s != NULL) {
		uint64_t v[] = {s->epoch, s->described, s->committed, s->target_count};

		h = mix(mix(h, v, sizeof(v)), s->processed, s->target_count * sizeof(s->processed[0]));
	}
	if (index % WHOLE_EVERY == 0) {
		buf_init(&b, STATE_MAX_BYTES);
		MUST(dsg_snapshot(d, &b) == 0);
		h = mix(h, buf_head(&b), buf_left(&b));
		buf_fini(&b);
	}
	return h != 0 ? h : 1;
}

void
check_applied(struct world *w, unsigned n, unsigned g, const uint8_t *data, size_t len, uint64_t index)
{
	const struct dsg *d = w->node[n].in[g]->dsg;
	const struct dsg_stream *s = dsg_find(d, &w->id);
	uint64_t h = state_hash(d, &w->id, index);
	struct dsg_cmd cmd;
	struct buf in;

	if (index >= INDEX_MAX)
		world_fail(w, "more entries than one run may have");
	if (w->group[g].states == NULL)
		w->group[g].states = sim_alloc(INDEX_MAX, sizeof(uint64_t));
	if (w->group[g].states[index] != 0 && w->group[g].states[index] != h)
		world_fail(w, "node %u: another state after %llu than at another node", n,
		    (unsigned long long)index);
	w->group[g].states[index] = h;
	/* A source that leads knows the state. */
	if (dsg_counters(d)->rejected != 0)
		world_fail(w, "a command in %llu does not fit", (unsigned long long)index);
	world_note(w, h);
	if (s != NULL && s->described > w->described_any)
		w->described_any = s->described;
	buf_view(&in, data, len);
	while (buf_left(&in) != 0) {
		if (dsg_cmd_get(&in, &cmd) != 0)
			world_fail(w, "an entry that can't be read");
		if (cmd.type == DSG_BATCH)
			check_batch(w, d, &cmd.u.batch);
	}
}

/* --- after each step --- */

/* Targets that have truly processed it: as a dead letter, or in a gap, it is not.  ever: also if they are
 * none any more. */
static unsigned
processed_by(const struct world *w, uint64_t seq, bool ever)
{
	unsigned count = 0;

	for (unsigned n = 1; n <= w->targets; n++) {
		const struct node *o = &w->node[n];

		count += (ever ? check_got(w, n, seq) : check_gets(w, n, seq)) &&
			 check_ever_processed(o) >= seq && rows_gap(&o->rows, 0, seq) == NULL &&
			 !rows_has_letter(&o->rows, seq) &&
			 (w->policy.handler == POLICY_DISCARD || o->app.messages[seq].done || o->lost != 0);
	}
	return count;
}

void
check_answer(struct world *w, uint64_t seq)
{
	unsigned all = 0, needed = 0;

	for (unsigned n = 1; n <= w->targets; n++)
		all += check_gets(w, n, seq);
	if (w->policy.ack == POLICY_ACK_ALL)
		needed = all;
	else if (w->policy.ack == POLICY_ACK_QUORUM)
		needed = w->policy.quorum < all ? w->policy.quorum : all;
	/* Its targets may all be gone. */
	if (needed == 0 && w->policy.ack != POLICY_ACK_ACCEPTED && w->policy.ack != POLICY_ACK_COMMITTED)
		needed = 1;
	if (processed_by(w, seq, all == 0 || w->policy.ack == POLICY_ACK_QUORUM) < needed)
		world_fail(w, "a publisher is told that %llu is processed", (unsigned long long)seq);
	if (seq > w->node[0].rows.last_seq)
		world_fail(w, "a publisher is told of %llu, which is not durable", (unsigned long long)seq);
	/* Of what no target is left for nothing more is asked. */
	if (w->policy.ack != POLICY_ACK_ACCEPTED && all > 0 && seq > w->described_any &&
	    seq > w->node[0].rows.skipped_seq)
		world_fail(w, "a publisher is told of %llu, which is not described", (unsigned long long)seq);
}

void
check_lost(struct world *w, uint64_t seq, const struct message *m)
{
	if (seq > w->node[0].rows.skipped_seq)
		world_fail(w, "a publisher is told that %llu is lost, and the source may forget that",
		    (unsigned long long)seq);
	if (m->answered && (m->life == w->node[0].life || w->truth[seq].kept))
		world_fail(w, "a publisher is told that %llu is lost, and was told that all is well",
		    (unsigned long long)seq);
}

static void
check_group(const struct world *w, unsigned n, const struct dsg *d)
{
	const struct dsg_stream *s = dsg_find(d, &w->id);

	if (dsg_bytes(d) > DSG_MAX_BYTES)
		world_fail(w, "node %u: the group takes %zu bytes", n, dsg_bytes(d));
	if (s == NULL)
		return;
	if (s->committed > check_released(w))
		world_fail(w, "node %u: committed is %llu, and a target has not processed that", n,
		    (unsigned long long)s->committed);
	if (s->described < s->committed)
		world_fail(w, "node %u: more is committed than described", n);
	for (size_t i = 0; i < s->target_count; i++) {
		unsigned k = (unsigned)s->targets[i] - 1;

		/* One that is about to be a target may be told of, and then be none after a crash. */
		if (s->processed[i] > check_bound(w, k) && check_gets(w, k, UINT64_MAX))
			world_fail(w, "node %u: the group knows too much of target %u", n, k);
	}
}

static void
check_source(const struct world *w)
{
	const struct node *o = &w->node[0];
	const struct stream *st = o->stream;

	if (st == NULL)
		return;
	if (st->durable_seq > o->rows.last_seq)
		world_fail(w, "the source takes for durable what is not");
	if (st->committed_seq > check_released(w))
		world_fail(w, "the source: committed is %llu, and a target has not processed that",
		    (unsigned long long)st->committed_seq);
	for (size_t i = 0; i < st->flow_count; i++) {
		const struct flow *f = &st->flows[i];

		if (f->count > 0 &&
		    batch_last_seq(f->ring[(f->head + f->count - 1) & (f->cap - 1)].batch) > o->rows.last_seq)
			world_fail(w, "the source sends what is not durable");
		/* One batch alone may be larger than the window. */
		if (f->count > FLOW_INFLIGHT_MAX ||
		    (f->count > 1 && f->inflight_bytes > f->conf->window_bytes + w->stream_conf.batch_bytes))
			world_fail(w, "too much in flight to target %u: %zu bytes in %zu batches",
			    (unsigned)f->node - 1, f->inflight_bytes, f->count);
	}
}

static void
check_target(const struct world *w, unsigned n)
{
	const struct target *t = w->node[n].target;
	size_t held;

	if (t == NULL)
		return;
	held = t->reorder_bytes + (t->reassembly != NULL ? t->reassembly->bytes : 0);
	if (t->reorder_count > REORDER_MAX ||
	    (t->reassembly != NULL && t->reassembly->count > REASSEMBLY_MAX))
		world_fail(w, "node %u holds too many batches", n);
	/* What is expected is taken even if there is no room. */
	if (held > 2 * t->conf->window_bytes + BATCH_BYTES_MAX)
		world_fail(w, "node %u holds %zu bytes", n, held);
	if (t->state != TARGET_OPENING &&
	    (t->stored_seq > w->node[n].rows.last_seq || t->processed_seq > w->node[n].rows.marks[0]))
		world_fail(w, "node %u takes for durable what is not", n);
}

void
check_after(struct world *w, unsigned n)
{
	for (unsigned g = 0; g < GROUPS_MAX; g++)
		if (w->node[n].in[g] != NULL && w->node[n].up)
			check_group(w, n, w->node[n].in[g]->dsg);
	if (n == 0)
		check_source(w);
	else
		check_target(w, n);
	if (w->node[n].budget.used_bytes > w->node[n].budget.max_bytes + BATCH_BODY_MAX_BYTES)
		world_fail(w, "node %u uses %zu bytes", n, w->node[n].budget.used_bytes);
}

/* --- at the end --- */

bool
check_done(const struct world *w)
{
	uint64_t last = w->node[0].rows.last_seq;

	if (w->published < w->goal || !publisher_done(w) || w->node[0].rows.row_state != STREAM_CLOSED)
		return false;
	for (unsigned n = 0; n <= w->targets; n++) {
		const struct node *o = &w->node[n];

		if (!o->up)
			return false;
		if (w->changes)
			continue;
		/* One that lost everything is not told any more that it was closed. */
		if (o->lost == 0 &&
		    (dsg_find(group_of(w, n)->dsg, &w->id) != NULL || (n != 0 && o->rows.marks[0] != last)))
			return false;
	}
	return !w->changes || check_stays_done(w);
}

void
check_end(struct world *w)
{
	uint64_t last = w->node[0].rows.last_seq;

	if (!check_done(w) && w->changes)
		check_stays_tell(w);
	if (!check_done(w))
		world_fail(w,
		    "all is well, and it is not done: %llu of %llu published, %llu answered; durable %llu, "
		    "described %llu, processed %llu",
		    (unsigned long long)w->published, (unsigned long long)w->goal,
		    (unsigned long long)w->sums.answered, (unsigned long long)last,
		    (unsigned long long)w->described_any, (unsigned long long)processed_everywhere(w));
	for (unsigned n = 1; n <= w->targets && !w->changes; n++)
		check_each_once(w, n);
	if (w->changes)
		check_stays_end(w);
	if (last > w->published || (last < w->published && w->sums.refusals == 0))
		world_fail(w, "%llu messages were published, there are %llu",
		    (unsigned long long)w->published, (unsigned long long)last);
}
