/* sink: see sink.h.  Frames from sources are in sink_frames.c. */
#include "consensusd/sink.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/num.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "consensusd/api.h"
#include "consensusd/core/qos.h"
#include "consensusd/dbsink.h"
#include "consensusd/limits.h"
#include "consensusd/regulator.h"
#include "consensusd/replay.h"
#include "consensusd/sink_impl.h"
#include "consensusd/source.h"
#include "consensusd/stats.h"
#include "consensusd/subscriber.h"
#include "consensusd/transport.h"

static void on_timer(void *arg);

struct sink *
sink_find(const struct engine *e, const struct ulid *id)
{
	struct sink *s;

	HASH_FIND(hh, e->sinks, id->b, ULID_BYTES, s);
	return s;
}

int
sink_new(struct engine *e, const struct store_stream *row, struct sink **out)
{
	struct sink *s = mem_calloc(1, sizeof(*s));

	if (s == NULL)
		return ERR_NOMEM;
	s->engine = e;
	s->begun = ++e->streams_begun;
	s->row = *row;
	s->class = qos_class(row->qos);
	s->row.meta = mem_dup(row->meta, row->meta_len);
	s->target = target_new(
	    &row->stream_id, row->tenant_id, row->src_node, row->source_key, &e->target_conf, &e->budget);
	ulid_format(s->id_text, &row->stream_id);
	s->timed.fn = on_timer;
	s->timed.arg = s;
	s->clear_at = MONO_NEVER;
	if (s->target != NULL && s->row.meta != NULL) {
		s->target->owner = s;
		s->target->early = row->policy.handler == POLICY_SUBSCRIBER;
		HASH_ADD(hh, e->sinks, row.stream_id.b, ULID_BYTES, s);
	}
	if (!HASH_ADDED(s) || relation_add_sink(s) != 0 || dbsink_attach(s) != 0) {
		sink_free(s);
		return ERR_NOMEM;
	}
	metric_add(&stats.sinks, 1);
	regulator_sink(e->regulator, s);
	*out = s;
	return 0;
}

static void
unqueue(struct sink *s)
{
	if (s->dirty)
		TAILQ_REMOVE(&s->engine->dirty_sinks[s->class], s, dirty_entry);
	s->dirty = false;
}

void
sink_free(struct sink *s)
{
	struct engine *e = s->engine;

	if (HASH_ADDED(s)) {
		meters_sink_gone(e->meters, s);
		HASH_DEL(e->sinks, s);
		metric_add(&stats.sinks, -1);
	}
	relation_del_sink(s);
	subscriber_detach(s);
	dbsink_detach(s);
	sink_failed_free(s);
	replay_free(s);
	engine_at_cancel(e, &s->timed);
	unqueue(s);
	target_free(s->target);
	mem_free((void *)(uintptr_t)s->row.meta);
	mem_free(s);
}

void
sink_free_all(struct engine *e)
{
	while (e->sinks != NULL)
		sink_free(e->sinks);
}

/* What this node never gets is as good as processed. */
static void
load_position(struct sink *s, uint64_t processed)
{
	uint64_t before = s->row.first_seq > 0 ? s->row.first_seq - 1 : 0;

	target_load(s->target, max_u64(s->row.inbox_last_seq, before), max_u64(processed, before));
	s->counted_seq = s->target->processed_seq;
}

void
sink_begin(struct sink *s)
{
	load_position(s, 0);
	s->cleared_seq = s->target->processed_seq;
}

int
sink_load(struct engine *e, const struct store_stream *row)
{
	struct sink *s;
	struct store_stream own = *row;
	int err;

	(void)sink_first_seq(e, row, &own.first_seq);
	err = sink_new(e, &own, &s);
	if (err != 0)
		return err;
	s->target->state = TARGET_OPEN;
	load_position(s, 0);
	s->rows_seq = s->target->stored_seq;
	if (row->src_node != e->self)
		s->target->epoch = row->epoch;
	/* When it came is not known: it is as old as this process. */
	if (row->inbox_last_seq > 0)
		ages_add(&s->ages, row->inbox_last_seq, e->started);
	return 0;
}

void
sink_load_offset(struct sink *s, uint64_t seq)
{
	load_position(s, seq);
	/* Not cleared_seq: the last run may have ended before it cleared what was processed. */
	s->counted_seq = s->target->processed_seq;
	s->rows_seq = s->target->stored_seq;
	ages_cut(&s->ages, seq);
}

/* --- what became durable --- */

void
sink_end(struct sink *s)
{
	struct engine *e = s->engine;
	struct ulid id = s->row.stream_id;

	if (s->removed) {
		sink_left(s);
		return;
	}
	sink_send_position(s, mesh_e2e_MsgType_MSG_CLOSED);
	fresh_closed(s->engine, &s->row.stream_id, s->target->close_seq);
	log_info("stream %s from %s closed after %llu messages", s->id_text,
	    engine_node_text(s->engine, s->row.src_node), (unsigned long long)s->target->close_seq);
	if (s->subscriber != NULL)
		subscriber_stream_closed(s->subscriber, s);
	api_stream_event(s->engine, "stream_closed", s->id_text, s->row.tenant_id, "target");
	sink_free(s);
	if (source_find(e, &id) == NULL)
		regulator_stream_gone(e->regulator, &id);
}

void
sink_row_durable(struct target *t, uint64_t state)
{
	struct sink *s = t->owner;

	if (t->state == TARGET_CLOSED) {
		sink_end(s);
		return;
	}
	if (state == TARGET_OPENING)
		sink_opened(s);
}

void
sink_inbox_durable(struct target *t)
{
	sink_touch(t->owner);
}

void
sink_processed_durable(struct target *t, uint64_t seq)
{
	struct sink *s = t->owner;

	metric_add(&stats.processed, (int64_t)(seq - s->counted_seq));
	rate_add(&s->done, clock_mono(), seq - s->counted_seq, 0);
	ages_cut(&s->ages, seq);
	s->counted_seq = seq;
	sink_touch(s);
}

/* --- the turn --- */

void
sink_touch(struct sink *s)
{
	struct engine *e = s->engine;

	if (!s->dirty) {
		TAILQ_INSERT_TAIL(&e->dirty_sinks[s->class], s, dirty_entry);
		s->dirty = true;
	}
	engine_wake(e);
}

/* What is more important goes first, also if it is touched meanwhile. */
static struct sink *
next_dirty(struct engine *e)
{
	struct sink *s = NULL;

	for (int i = 0; i < FRAME_CLASS_COUNT && s == NULL; i++)
		s = TAILQ_FIRST(&e->dirty_sinks[i]);
	return s;
}

static void
on_timer(void *arg)
{
	sink_touch(arg);
}

/* Only what the group has a descriptor of: before that it has no place, and after it there is only one that
 * it can be. */
static bool
sink_may_store(struct sink *s, struct batch *b)
{
	const struct log_ctx ctx = {.stream_id = s->id_text};

	switch (relation_check(s, b)) {
	case DSG_CHECK_SAME:
	case DSG_CHECK_OLD:
		return true;
	case DSG_CHECK_NOT_YET:
		return false;
	case DSG_CHECK_OTHER:
		break;
	}
	/* The source may be about to put the group right after a crash: then it comes again. */
	metric_inc(&stats.mismatched);
	log_at(LOG_INFO, &ctx,
	    "batch %llu from %s is not the one that the stream's group has agreed upon: dropped",
	    (unsigned long long)b->first_seq, engine_node_text(s->engine, s->row.src_node));
	target_drop_next(s->target);
	return false;
}

/* A new epoch has to be remembered: nothing of an older one is taken any more.  Not before the store has all
 * of the older one: what it has not comes again after a crash.  If the store is full it is put with a later
 * batch; of this node's own stream the source's row has it. */
static void
put_epoch(struct sink *s)
{
	uint64_t before = s->row.epoch;

	if (s->target->kept_epoch <= before || s->row.src_node == s->engine->self)
		return;
	s->row.epoch = s->target->kept_epoch;
	if (store_put_stream(s->engine->store, &s->row) < 0)
		s->row.epoch = before;
}

/* Gives the store the rows that are due.  When it takes no more, the source is told a smaller window by
 * the acks, and what is left waits in memory.  False: it took not all. */
static bool
store_rows(struct sink *s, struct mono now)
{
	struct engine *e = s->engine;
	uint64_t spared = s->target->spared;
	struct batch *b;
	int64_t ticket;

	while ((b = target_due(s->target, now)) != NULL) {
		if (order_reserve(&e->order[s->class]) != 0 ||
		    (ticket = store_put_inbox(e->store, s->class, b, s->row.src_node)) < 0)
			return false;
		order_add(&e->order[s->class], (uint64_t)ticket, ORDER_INBOX, s->target, batch_last_seq(b));
		s->rows_seq = batch_last_seq(b);
		target_kept(s->target);
	}
	metric_add(&stats.spared, (int64_t)(s->target->spared - spared));
	return true;
}

/* What was passed over is done, as if it had been acknowledged. */
static void
passed(struct sink *s)
{
	if (s->credited_seq < s->target->acked_seq)
		s->credited_seq = s->target->acked_seq;
	sink_touch(s);
}

static bool
take(struct sink *s, struct batch *b, struct mono now)
{
	uint64_t acked = s->target->acked_seq;

	if (!sink_may_store(s, b) || target_take(s->target, now) != 0)
		return false;
	/* It is in the tail now, until the store has it. */
	rate_add(&s->in, now, b->count, b->body_len);
	ages_add(&s->ages, batch_last_seq(b), now);
	if (s->target->acked_seq > acked)
		passed(s);
	return true;
}

/* Takes what is in order. */
static void
store_batches(struct sink *s, struct mono now)
{
	struct batch *b;
	bool room;

	/* The row that ends the stream is the last that is written: what a source sends beyond its end is
	 * dropped, since nothing may wait for the store when the sink is freed. */
	if (s->target->state != TARGET_OPEN)
		return;
	/* Dead letters are copied from their rows. */
	if (s->retry != NULL && s->retry->count > 0)
		target_hold_end(s->target);
	while ((room = store_rows(s, now)) && (b = target_next(s->target)) != NULL && take(s, b, now))
		;
	if (!room)
		target_wait(s->target, now);
	put_epoch(s);
}

/* The source has gone away, or leaves out what these wait for. */
static void
drop_expired(struct sink *s, struct mono now)
{
	const struct log_ctx ctx = {.stream_id = s->id_text};
	size_t n = target_expire(s->target, now);

	if (n == 0)
		return;
	metric_add(&stats.incomplete, (int64_t)n);
	log_at(LOG_INFO, &ctx, "%zu batches from %s dropped: nothing came of the rest for %d s", n,
	    engine_node_text(s->engine, s->row.src_node), TARGET_REASSEMBLY_US / 1000000);
}

bool
sink_keep_all(struct sink *s)
{
	target_hold_end(s->target);
	return store_rows(s, clock_mono());
}

static void
store_processed(struct sink *s)
{
	struct engine *e = s->engine;
	struct store_letter letters[RETRY_ITEMS_MAX + 1];
	uint64_t first, last;
	size_t count;
	int64_t ticket;

	if (order_reserve(&e->order[s->class]) != 0 ||
	    !target_put_processed(s->target, sink_letters_limit(s), &first, &last))
		return;
	count = sink_letters(s, last, letters);
	ticket = store_put_processed_letters(
	    e->store, s->class, &s->row.stream_id, s->row.src_node, e->self, first, last, letters, count);
	if (ticket < 0) {
		/* Tried again with what is acknowledged next, or by the timer. */
		s->target->put_seq = first - 1;
		s->clear_at = mono_add_ms(clock_mono(), CLEAR_IDLE_MS);
		return;
	}
	sink_letters_put(s, last, letters, count);
	order_add(&e->order[s->class], (uint64_t)ticket, ORDER_PROCESSED, s->target, last);
}

static void
send_ack(struct sink *s, struct mono now)
{
	struct target_ack a;

	if (s->target->state == TARGET_OPENING || !target_ack_due(s->target, now, &a))
		return;
	sink_send_ack(s, mesh_e2e_MsgType_MSG_ACK, &a);
}

/* Nobody is needed for it: what is stored is done. */
static void
pass_unwanted(struct sink *s)
{
	struct target *t = s->target;

	if (s->row.policy.handler != POLICY_DISCARD || t->stored_seq <= t->acked_seq)
		return;
	metric_add(&stats.discarded, (int64_t)(t->stored_seq - t->acked_seq));
	target_pass(t, t->stored_seq);
}

/* Rows of what is processed are removed late and in one go. */
static void
clear(struct sink *s, struct mono now)
{
	struct engine *e = s->engine;
	uint64_t upto = s->target->processed_seq;

	if (upto == s->cleared_seq) {
		s->clear_at = MONO_NEVER;
	} else if (upto - s->cleared_seq >= CLEAR_LAG_COUNT || !mono_before(now, s->clear_at)) {
		s->clear_at = MONO_NEVER;
		if (s->rows_seq <= s->cleared_seq ||
		    store_put_inbox_clear(e->store, s->class, &s->row.stream_id, upto) > 0)
			s->cleared_seq = upto;
		else
			s->clear_at = mono_add_ms(now, CLEAR_IDLE_MS);
	} else if (mono_is_never(s->clear_at)) {
		s->clear_at = mono_add_ms(now, CLEAR_IDLE_MS);
	}
}

/* When it is to be looked at, whatever happens. */
static struct mono
due(const struct sink *s, struct mono now)
{
	struct mono rows_at = s->target->hold_at, at = mono_min(s->target->ack_at, s->clear_at);

	/* What the store did not take. */
	if (!mono_before(now, rows_at))
		rows_at = mono_add_us(now, TARGET_HOLD_US);
	at = mono_min(mono_min(at, rows_at), target_expiry(s->target));
	return mono_min(at, mono_min(sink_retry_at(s, now), dbsink_at(s, now)));
}

void
sink_turn(struct engine *e)
{
	struct mono now = clock_mono();
	struct sink *s;

	while ((s = next_dirty(e)) != NULL) {
		unqueue(s);
		if (s->removed)
			continue; /* nothing may wait for the store when it is freed */
		store_batches(s, now);
		drop_expired(s, now);
		pass_unwanted(s);
		if (target_pass_gap(s->target))
			passed(s);
		store_processed(s);
		sink_save_attempts(s);
		sink_count_failing(s);
		send_ack(s, now);
		clear(s, now);
		sink_end_orphan(s);
		if (!replay_turn(s))
			s->clear_at = mono_min(s->clear_at, mono_add_ms(now, CLEAR_IDLE_MS));
		engine_at(e, &s->timed, due(s, now));
		if (s->subscriber != NULL)
			subscriber_ready(s->subscriber);
		dbsink_ready(s);
	}
}

/* --- what others ask --- */

int
sink_ack(struct sink *s, uint64_t seq)
{
	int err = s->removed ? ERR_RANGE : target_ack(s->target, seq);

	if (err != 0)
		return err;
	sink_pass_dead(s);
	subscriber_credit(s, s->target->acked_seq);
	sink_touch(s);
	return 0;
}

void
sink_announce_all(struct engine *e)
{
	struct sink *s, *tmp;

	HASH_ITER (hh, e->sinks, s, tmp) {
		target_ack_soon(s->target, clock_mono(), true);
		sink_touch(s);
	}
}

static void
on_gap(void *arg, const struct store_message *row, int err)
{
	struct engine_read *r = arg;
	struct sink *s = sink_find(r->engine, &r->stream_id);

	if (row != NULL) {
		if (row->failed && row->dst_node == r->engine->self)
			r->from_seq = row->failed_last;
		return;
	}
	if (s != NULL) {
		s->asking = false;
		if (err == 0 && target_pass_over(s->target, r->from_seq))
			passed(s);
	}
	engine_read_free(r);
}

/* The inbox has nothing at the cursor, and all before is done: was that given up? */
static void
ask_gap(struct sink *s)
{
	static const struct ulid none;
	const struct target *t = s->target;
	struct engine *e = s->engine;
	struct engine_read *r;

	if (s->asking || t->acked_seq + 1 != t->cursor.next_seq || t->cursor.next_seq > t->stored_seq)
		return;
	r = engine_read_new(e, &s->row.stream_id, e->self);
	if (r == NULL)
		return;
	s->asking = true;
	if (store_read_message(e->store, &r->stream_id, t->cursor.next_seq, &none, on_gap, r) == 0)
		return;
	s->asking = false;
	engine_read_free(r);
}

static void
on_read(void *arg, struct batch *b, int err)
{
	struct engine_read *r = arg;
	struct sink *s = sink_find(r->engine, &r->stream_id);
	bool vain = b == NULL && err == 0 && r->from_seq == 0;

	if (s != NULL) {
		cursor_read(&s->target->cursor, b);
		if (b != NULL && b->first_seq <= s->target->cursor.next_seq)
			r->from_seq = b->first_seq;
		/* Not read again at once: what is acknowledged next, or the answer, makes it. */
		if (vain)
			ask_gap(s);
		else if (err == 0)
			sink_touch(s);
		else
			engine_at(s->engine, &s->timed, mono_add_ms(clock_mono(), CLEAR_IDLE_MS));
	}
	if (b == NULL)
		engine_read_free(r);
	batch_unref(b);
}

void
sink_read(struct sink *s)
{
	struct engine *e = s->engine;
	struct engine_read *r = engine_read_new(e, &s->row.stream_id, e->self);
	int err = ERR_NOMEM;

	if (r != NULL) {
		err = store_read(e->store, STORE_INBOX, &r->stream_id, s->target->cursor.next_seq,
		    SUBSCRIBER_WINDOW_BYTES, on_read, r);
	}
	if (err == 0)
		return;
	engine_read_free(r);
	cursor_read(&s->target->cursor, NULL);
	engine_at(e, &s->timed, mono_add_ms(clock_mono(), CLEAR_IDLE_MS));
}
