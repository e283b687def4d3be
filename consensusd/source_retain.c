/* source: giving up what is more, or older, than a stream may keep; see source.h. */
#include "common/base/err.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "consensusd/api.h"
#include "consensusd/source_impl.h"
#include "consensusd/stats.h"

/* --- what the outbox had before this process --- */

static void
on_backlog(void *arg, const struct store_backlog *rows, size_t count, int err)
{
	struct engine_read *r = arg;
	struct source *s = source_find(r->engine, &r->stream_id);
	struct ledger_bucket older[STORE_BACKLOG_ROWS];
	size_t n = 0;

	if (s != NULL && err == 0 && !s->backlog_known) {
		/* What was read back to be sent has been counted so far. */
		ledger_cut(&s->stream->ledger, r->from_seq);
		for (size_t i = 0; i < count; i++) {
			if (rows[i].last_seq <= r->from_seq && rows[i].last_seq > s->stream->committed_seq)
				older[n++] = (struct ledger_bucket){rows[i].last_seq, rows[i].bytes,
				    rows[i].first_unix_ms, rows[i].last_unix_ms};
		}
		ledger_put_before(&s->stream->ledger, older, n);
		s->backlog_known = true;
		source_retain(s);
	}
	engine_read_free(r);
}

static void
read_backlog(struct source *s)
{
	struct engine *e = s->engine;
	struct engine_read *r = engine_read_new(e, &s->row.stream_id, 0);

	if (r == NULL)
		return;
	/* All that was there when it was loaded: what came since is counted. */
	r->from_seq = s->loaded_seq;
	if (store_read_backlog(e->store, &r->stream_id, on_backlog, r) != 0)
		engine_read_free(r);
}

/* --- giving up --- */

/* The log says which targets had not stored them, as far as is known here; of this node itself it knows.
 * All of it is in one transaction. */
static int64_t
put(struct source *s, uint64_t upto)
{
	const struct stream *st = s->stream;
	struct engine *e = s->engine;
	int64_t ticket = 1;

	for (size_t i = 0; i < st->flow_count && ticket > 0; i++) {
		const struct flow *f = &st->flows[i];
		uint64_t have = f->stored > st->skipped_seq ? f->stored : st->skipped_seq;

		if (have < upto && f->node != e->self && f->state != FLOW_GONE)
			ticket =
			    store_put_skipped(e->store, s->class, &st->id, e->self, f->node, have + 1, upto);
	}
	if (ticket > 0)
		ticket = store_put_skipped(e->store, s->class, &st->id, e->self, 0, 1, upto);
	return ticket;
}

static void
tell(struct source *s, uint64_t count)
{
	struct mono now = clock_mono();

	metric_add(&stats.skipped, (int64_t)count);
	if (mono_before(now, s->told_at))
		return;
	s->told_at = mono_add_ms(now, RETAIN_TELL_MS);
	log_warn("stream %s: messages up to %llu are given up: its targets are too far behind", s->id_text,
	    (unsigned long long)s->stream->skipped_seq);
	api_stream_event(s->engine, "stream_skipped", s->id_text, s->row.tenant_id, "source");
}

static void
give_up(struct source *s, uint64_t upto)
{
	struct stream *st = s->stream;
	struct order *o = &s->engine->order[s->class];
	int64_t ticket;

	if (upto <= st->skipped_seq || order_reserve(o) != 0 || (ticket = put(s, upto)) < 0)
		return; /* the store is full: later */
	order_add(o, (uint64_t)ticket, ORDER_SKIPPED, st, upto);
	stream_give_up(st, upto);
}

void
source_skip_durable(struct stream *st, uint64_t upto)
{
	struct source *s = st->owner;
	uint64_t before = st->committed_seq;
	struct waiter w;

	relation_skipped(s, upto);
	while (waiters_pop(&st->waiters, upto, &w))
		api_publish_lost(s, &w);
	if (stream_commit(st))
		tell(s, st->committed_seq - before);
	source_answer(s);
	source_progressed(s);
	source_retain(s);
	source_ready_all(s);
}

static bool
limited(const struct policy *p)
{
	return p->retention_ms > 0 || p->retention_bytes > 0;
}

void
source_retain(struct source *s)
{
	struct stream *st = s->stream;
	const struct policy *p = &st->policy;
	int64_t next_ms = p->retention_ms > 0 ? (int64_t)(p->retention_ms / RETAIN_PARTS) : RETAIN_MAX_MS;

	if (!limited(p) || s->ended)
		return;
	st->now_ms = clock_unix_ms();
	if (!s->backlog_known && s->engine->loaded)
		read_backlog(s);
	give_up(s, stream_overflow(st));
	if (next_ms < RETAIN_MIN_MS)
		next_ms = RETAIN_MIN_MS;
	if (s->retain.deadline.place == 0)
		engine_at(s->engine, &s->retain,
		    mono_add_ms(clock_mono(), next_ms < RETAIN_MAX_MS ? next_ms : RETAIN_MAX_MS));
}

void
source_on_retain_timer(void *arg)
{
	source_retain(arg);
}
