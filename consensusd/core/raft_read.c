/*
 * raft_read: reads that see all that was committed before they began, without an entry of their own (thesis,
 * section 6.4).
 *
 * A read waits for a round of heartbeats that began after it came: when a quorum has answered that round,
 * this replica was the leader then, and what it has committed by now contains all that was committed before.
 * One round at a time: reads that come during one share the next.
 */
#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/core/raft_impl.h"

void
raft_reads_init(struct raft *r)
{
	r->reads = (struct raft_reads){0};
}

void
raft_reads_fini(struct raft *r)
{
	mem_free(r->reads.pending);
	mem_free(r->reads.ready);
	raft_reads_init(r);
}

static void
refuse(struct raft *r, const struct raft_pending_read *w)
{
	struct raft_msg *a;

	if (w->from == r->conf.id || (a = raft_post_now(r, RAFT_READ_ANSWER, w->from)) == NULL)
		return;
	a->read = w->ctx;
	a->reject = true;
}

void
raft_reads_reset(struct raft *r)
{
	for (size_t i = 0; i < r->reads.pending_count; i++)
		refuse(r, &r->reads.pending[i]);
	r->reads.pending_count = 0;
}

/* --- ready ones --- */

static void
push_ready(struct raft *r, uint64_t ctx, uint64_t index)
{
	struct raft_reads *q = &r->reads;

	if (q->ready == NULL && (q->ready = mem_calloc(RAFT_READS_MAX, sizeof(q->ready[0]))) == NULL)
		r->counters.memory_out++;
	if (q->ready == NULL || q->ready_count == RAFT_READS_MAX)
		return; /* who waits asks again */
	q->ready[(q->ready_head + q->ready_count++) % RAFT_READS_MAX] = (struct raft_ready_read){ctx, index};
}

bool
raft_read_next(struct raft *r, uint64_t *ctx, uint64_t *index)
{
	struct raft_reads *q = &r->reads;

	if (q->ready_count == 0)
		return false;
	*ctx = q->ready[q->ready_head].ctx;
	*index = q->ready[q->ready_head].index;
	q->ready_head = (q->ready_head + 1) % RAFT_READS_MAX;
	q->ready_count--;
	r->counters.reads++;
	return true;
}

/* --- rounds --- */

static uint64_t
confirmed(const struct raft *r, const struct raft_peer *p)
{
	return raft_is_self(r, p) ? UINT64_MAX : p->read;
}

static void
serve(struct raft *r, const struct raft_pending_read *w)
{
	struct raft_msg *a;

	if (w->from == r->conf.id) {
		push_ready(r, w->ctx, r->commit);
	} else if ((a = raft_post_now(r, RAFT_READ_ANSWER, w->from)) != NULL) {
		a->read = w->ctx;
		a->index = r->commit;
	}
}

static void
begin_round(struct raft *r)
{
	r->reads.round++;
	raft_send_heartbeats(r, false);
}

void
raft_reads_advance(struct raft *r, struct mono now)
{
	struct raft_reads *q = &r->reads;
	uint64_t round = raft_quorum(r, confirmed);
	size_t done = 0;

	(void)now;
	/* Before an entry of its own term is committed, a leader does not know what is (section 6.4). */
	if (q->pending_count == 0 || !raft_log_matches(&r->log, r->commit, r->term))
		return;
	for (; done < q->pending_count && q->pending[done].round <= round; done++)
		serve(r, &q->pending[done]);
	for (size_t i = done; i < q->pending_count; i++)
		q->pending[i - done] = q->pending[i];
	q->pending_count -= done;
	if (q->pending_count != 0 && q->pending[0].round > q->round)
		begin_round(r);
}

static int
wait_for(struct raft *r, uint64_t ctx, uint64_t from, struct mono now)
{
	struct raft_reads *q = &r->reads;
	bool under_way = q->pending_count != 0;

	if (q->pending == NULL && (q->pending = mem_calloc(RAFT_READS_MAX, sizeof(q->pending[0]))) == NULL)
		return ERR_NOMEM;
	if (q->pending_count == RAFT_READS_MAX)
		return ERR_FULL;
	q->pending[q->pending_count++] =
	    (struct raft_pending_read){.ctx = ctx, .from = from, .round = q->round + 1};
	if (!under_way)
		begin_round(r);
	raft_reads_advance(r, now); /* of one voter, this was the quorum */
	return 0;
}

int
raft_read(struct raft *r, uint64_t ctx, struct mono now)
{
	struct raft_msg *m;

	if (r->role == RAFT_LEADER) {
		raft_stir(r, now);
		return wait_for(r, ctx, r->conf.id, now);
	}
	if (r->leader == 0)
		return ERR_UNAVAIL;
	if ((m = raft_post_now(r, RAFT_READ, r->leader)) == NULL)
		return ERR_NOMEM;
	m->read = ctx;
	return 0;
}

void
raft_read_wanted(struct raft *r, const struct raft_msg *m, struct mono now)
{
	struct raft_pending_read w = {.ctx = m->read, .from = m->from};

	if (wait_for(r, m->read, m->from, now) != 0)
		refuse(r, &w);
}

void
raft_read_answered(struct raft *r, const struct raft_msg *m)
{
	if (m->from == r->leader && !m->reject)
		push_ready(r, m->read, m->index);
}
