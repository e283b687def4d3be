/* source: publishing, and giving batches to the store; see source.h. */
#include <string.h>

#include "common/base/err.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "consensusd/api.h"
#include "consensusd/memo.h"
#include "consensusd/seal.h"
#include "consensusd/source_impl.h"
#include "consensusd/stats.h"
#include "consensusd/tenantkeys.h"

/* --- publishing --- */

void
source_touch(struct source *s)
{
	if (!s->dirty) {
		TAILQ_INSERT_TAIL(&s->engine->dirty_sources[s->class], s, dirty_entry);
		s->dirty = true;
	}
	engine_wake(s->engine);
}

/* The tenant's key is gone: what is pending can't be kept. */
static void
fail_pending(struct source *s, int err)
{
	struct waiter w;

	log_error("stream %s: messages can't be sealed (%s): is there a key for tenant %s in the keyring?",
	    s->id_text, err_text(err), s->row.tenant_id);
	stream_drop_pending(s->stream, &s->engine->pool, &s->engine->ids);
	meters_committed(s->engine->meters, s);
	while (waiters_pop_from(&s->stream->waiters, s->stream->next_seq, &w))
		api_publish_failed(s, &w, NULL);
}

static int
seal_pending(struct source *s)
{
	struct engine *e = s->engine;
	struct stream *st = s->stream;
	struct pending *p = st->pending;
	struct batch *b;
	int err;

	for (uint32_t i = 0; i < p->count; i++) {
		e->scratch[i] = (struct seal_message){
		    .message_id = p->messages[i].message_id,
		    .headers = pending_headers(p, i),
		    .headers_len = p->messages[i].headers_len,
		    .payload = pending_payload(p, i),
		    .payload_len = p->messages[i].payload_len,
		};
	}
	err = seal_batch(
	    e->keyring, &st->id, st->tenant, st->next_seq - p->count, st->epoch, e->scratch, p->count, &b);
	if (err == ERR_NOENT)
		fail_pending(s, err);
	if (err == 0) {
		stream_sealed(st, &e->pool, b);
		metric_inc(&stats.batches);
	}
	return err;
}

/* Gives what is pending to the store, if that takes it; what is left is tried in a later turn. */
static int
give_pending(struct source *s)
{
	struct engine *e = s->engine;
	struct stream *st = s->stream;
	uint64_t last;
	int64_t ticket;
	int err = 0;

	if (stream_sealable(st))
		err = seal_pending(s);
	if (err != 0 || st->sealed == NULL)
		return err;
	err = order_reserve(&e->order[s->class]);
	if (err != 0)
		return err;
	last = batch_last_seq(st->sealed);
	tenantkeys_used(e, st->tenant, st->sealed->key_id);
	ticket = store_put_outbox(e->store, s->class, st->sealed);
	if (ticket < 0)
		return (int)ticket;
	order_add(&e->order[s->class], (uint64_t)ticket, ORDER_OUTBOX, st, last);
	relation_describe_next(s, st->sealed);
	memo_given(e, st->sealed, (uint64_t)ticket);
	rate_add(&s->in, clock_mono(), st->sealed->count, st->sealed->body_len);
	ages_add(&s->ages, last, clock_mono());
	st->now_ms = clock_unix_ms();
	stream_given(st);
	return 0;
}

int
source_give(struct source *s)
{
	struct stream *st = s->stream;
	int err = 0;

	while (err == 0 && (st->sealed != NULL || stream_sealable(st)))
		err = give_pending(s);
	return err;
}

int
source_publish(struct source *s, const struct publish *p, uint64_t call, uint64_t *seq)
{
	struct engine *e = s->engine;
	struct stream *st = s->stream;
	const struct waiter w = {.call = call, .message_id = p->message_id};
	int r, err = 0;

	if (waiters_count(&st->waiters) >= WAITERS_MAX)
		return ERR_FULL;
	r = stream_publish(st, &e->pool, &e->ids, p, seq);
	if (r == ERR_AGAIN) {
		err = give_pending(s);
		if (err != 0)
			return err;
		r = stream_publish(st, &e->pool, &e->ids, p, seq);
	}
	if (r == ERR_AGAIN)
		return ERR_FULL;
	if (r < 0)
		return r;
	if (r == PUBLISH_NEW) {
		meters_published(s, *seq);
		source_touch(s);
	}
	if (call != 0 && (r == PUBLISH_NEW || *seq > stream_answered(st))) {
		struct waiter one = w;

		one.seq = *seq;
		err = waiters_add(&st->waiters, &one);
	}
	return err != 0 ? err : r;
}

struct source_flow *
source_refused_flow(struct source *s)
{
	for (size_t i = 0; i < s->stream->flow_count; i++) {
		const struct flow *f = s->flows[i].flow;

		if (f->state == FLOW_REFUSED || (f->state == FLOW_GONE && !f->removed))
			return &s->flows[i];
	}
	return NULL;
}

/* Enough to be worth a signature and a row of its own. */
static bool
worth_it(const struct source *s)
{
	const struct pending *p = s->stream->pending;

	return s->stream->sealed != NULL ||
	       (p != NULL && (p->count >= GIVE_EARLY_COUNT || pending_bytes(p) >= GIVE_EARLY_BYTES));
}

/* Each has its turn; when there is no more room, the next ones are the first of the next time. */
static void
give_class(struct engine *e, uint8_t class, bool waiting)
{
	struct source_list *all = &e->dirty_sources[class], now = TAILQ_HEAD_INITIALIZER(now);
	struct source *s;

	TAILQ_CONCAT(&now, all, dirty_entry);
	while ((s = TAILQ_FIRST(&now)) != NULL && !store_full_for(e->store, class)) {
		bool more = (waiting && !worth_it(s)) || give_pending(s) != 0 || s->stream->pending != NULL ||
			    s->stream->sealed != NULL;

		TAILQ_REMOVE(&now, s, dirty_entry);
		s->dirty = more;
		if (more)
			TAILQ_INSERT_TAIL(all, s, dirty_entry);
	}
	TAILQ_CONCAT(&now, all, dirty_entry);
	TAILQ_CONCAT(all, &now, dirty_entry);
}

/* While the store works, what comes in joins the batch that forms, and leaves when the store is done or
 * when it is a good piece of work. */
void
source_give_all(struct engine *e)
{
	bool busy = false;

	if (store_full_for(e->store, FRAME_CLASS_SYSTEM))
		return;
	for (int i = 0; i < FRAME_CLASS_COUNT; i++)
		busy = busy || order_busy(&e->order[i]);
	busy = busy && !e->flushed;
	e->flushed = false;
	for (int i = 0; i < FRAME_CLASS_COUNT; i++)
		give_class(e, (uint8_t)i, busy);
}
