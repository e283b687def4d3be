/* stream: see stream.h. */
#include "consensusd/core/stream.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "consensusd/core/batch.h"
#include "consensusd/core/budget.h"
#include "consensusd/core/idwindow.h"
#include "consensusd/core/limits.h"
#include "consensusd/core/pending.h"
#include "consensusd/core/throttle.h"

/* Those that wait for one throttle come back in turns of chance. */
enum { THROTTLE_JITTER_US = 10000 };

const char *
stream_state_name(enum stream_state state)
{
	static const char *const names[] = {
	    [STREAM_OPENING] = "opening",
	    [STREAM_OPEN] = "open",
	    [STREAM_CLOSING] = "closing",
	    [STREAM_CLOSED] = "closed",
	};

	return names[state];
}

struct stream *
stream_new(const struct ulid *id, const char *tenant, const uint64_t *targets, size_t count,
    const struct stream_conf *conf, struct budget *budget)
{
	struct stream *s;
	size_t n = strlen(tenant);

	MUST(count > 0 && count <= STREAM_TARGETS_MAX && n < sizeof(s->tenant));
	s = mem_calloc(1, sizeof(*s));
	if (s == NULL)
		return NULL;
	s->flows = mem_calloc(count, sizeof(s->flows[0]));
	if (s->flows == NULL) {
		mem_free(s);
		return NULL;
	}
	s->id = *id;
	memcpy(s->tenant, tenant, n);
	s->conf = conf;
	s->budget = budget;
	s->next_seq = 1;
	s->send_limit = UINT64_MAX;
	tail_init(&s->tail, budget, 1);
	ledger_init(&s->ledger);
	waiters_init(&s->waiters);
	s->flow_count = s->flow_cap = count;
	for (size_t i = 0; i < count; i++)
		flow_init(&s->flows[i], targets[i], 0, &conf->flow, budget);
	return s;
}

void
stream_free(struct stream *s, struct pending_pool *pool)
{
	if (s == NULL)
		return;
	for (size_t i = 0; i < s->flow_count; i++)
		flow_fini(&s->flows[i]);
	pending_put(pool, s->pending);
	batch_unref(s->sealed);
	tail_fini(&s->tail);
	ledger_fini(&s->ledger);
	waiters_fini(&s->waiters);
	idwindow_fini(&s->ids);
	mem_free(s->parked);
	mem_free(s->flows);
	mem_free(s);
}

void
stream_load(struct stream *s, uint64_t last_seq)
{
	s->next_seq = last_seq + 1;
	s->durable_seq = s->earlier_seq = last_seq;
	tail_reset(&s->tail, s->next_seq);
}

static void
load_flow(struct stream *s, struct flow *f, uint64_t seq)
{
	uint64_t first_seq = f->first_seq;
	void *owner = f->owner;

	flow_fini(f);
	flow_init(f, f->node, seq, &s->conf->flow, s->budget);
	f->owner = owner;
	f->first_seq = first_seq;
	/* What was processed did exist, even if its outbox rows are gone. */
	if (seq > s->durable_seq)
		stream_load(s, seq);
	stream_fixed(s, seq);
}

void
stream_load_processed(struct stream *s, uint64_t node, uint64_t seq)
{
	struct flow *f = stream_flow(s, node);

	if (f == NULL || f->state == FLOW_GONE) {
		if (seq > s->left_seq)
			s->left_seq = seq;
	} else if (seq >= f->processed) {
		load_flow(s, f, seq);
	}
	/* Also when nothing of it is new: targets that came later have all that was before them. */
	(void)stream_commit(s);
}

struct flow *
stream_flow(struct stream *s, uint64_t node)
{
	for (size_t i = 0; i < s->flow_count; i++) {
		if (s->flows[i].node == node)
			return &s->flows[i];
	}
	return NULL;
}

static bool
id_in_batch(const struct batch *b, uint64_t seq, struct ulid *out)
{
	struct batch_iter it;
	struct batch_record rec;

	batch_iter_init(&it, b);
	while (batch_next(&it, &rec) == 1) {
		if (rec.seq == seq) {
			memcpy(out->b, rec.message_id, ULID_BYTES);
			return true;
		}
	}
	return false;
}

/* The message id at seq, if it is in memory, or its publisher knows it by that alone. */
static bool
id_at(const struct stream *s, uint64_t seq, struct ulid *out)
{
	const struct batch *b = tail_get(&s->tail, seq);

	if (b == NULL && s->sealed != NULL && seq >= s->sealed->first_seq && seq <= batch_last_seq(s->sealed))
		b = s->sealed;
	if (b != NULL)
		return id_in_batch(b, seq, out);
	if (s->pending == NULL || seq < s->next_seq - s->pending->count)
		return idwindow_at(&s->ids, seq, out);
	*out = s->pending->messages[seq - (s->next_seq - s->pending->count)].message_id;
	return true;
}

bool
stream_find_id(
    const struct stream *s, const struct idwindows *ids, const struct ulid *message_id, uint64_t *seq)
{
	return idwindow_find(&s->ids, message_id, seq) ||
	       idcache_find(&ids->numbered, &s->id, message_id, seq);
}

int
stream_load_id(struct stream *s, struct idwindows *ids, const struct ulid *message_id, uint64_t seq)
{
	if (idwindow_reserve(&s->ids, ids) != 0)
		return ERR_NOMEM;
	idwindow_add(&s->ids, message_id, seq);
	return 0;
}

/* 0: new, PUBLISH_KNOWN, or an error. */
static int
identify(struct stream *s, const struct idwindows *ids, const struct publish *p, uint64_t *seq)
{
	struct ulid id;
	bool found = p->named && stream_find_id(s, ids, &p->message_id, seq);

	if (found)
		return p->seq == 0 || p->seq == *seq ? PUBLISH_KNOWN : ERR_EXISTS;
	if (p->seq == 0 || p->seq == s->next_seq)
		return PUBLISH_NEW;
	if (p->seq > s->next_seq)
		return ERR_GAP;
	if (p->named && id_at(s, p->seq, &id) && ulid_compare(&id, &p->message_id) != 0)
		return ERR_EXISTS;
	*seq = p->seq;
	return PUBLISH_KNOWN;
}

static bool
batch_is_full(const struct stream *s, size_t bytes)
{
	const struct pending *p = s->pending;
	uint32_t count = s->conf->batch_messages;
	size_t size = s->conf->batch_bytes;

	if (p == NULL || p->count == 0)
		return false;
	/* A batch is sent in one piece: one that is large for a throttle would stop the stream for long. */
	if (s->throttle != NULL && throttle_burst_messages(s->throttle) < count)
		count = throttle_burst_messages(s->throttle);
	if (s->throttle != NULL && throttle_burst_bytes(s->throttle) < size)
		size = (size_t)throttle_burst_bytes(s->throttle);
	return p->count >= count || pending_bytes(p) + bytes > size;
}

/* Its publisher will know it by its id and nothing else. */
static bool
is_by_id(const struct publish *p)
{
	return p->named && p->seq == 0;
}

/* A message was taken.  Of one whose publisher has named the seq as well the id need not be known. */
static void
remember(struct stream *s, struct idwindows *ids, const struct publish *p, uint64_t seq)
{
	if (is_by_id(p)) {
		idwindow_add(&s->ids, &p->message_id, seq);
		s->pending->by_id = true;
	} else if (p->named) {
		(void)!idcache_add_new(&ids->numbered, &s->id, &p->message_id, seq);
	}
}

int
stream_publish(struct stream *s, struct pending_pool *pool, struct idwindows *ids, const struct publish *p,
    uint64_t *seq)
{
	int err = identify(s, ids, p, seq);

	if (err != PUBLISH_NEW)
		return err;
	if (s->state >= STREAM_CLOSING)
		return ERR_STATE;
	if (batch_is_full(s, p->headers_len + p->payload_len))
		return ERR_AGAIN;
	if (s->pending == NULL)
		s->pending = pending_get(pool);
	if (s->pending == NULL || (is_by_id(p) && idwindow_reserve(&s->ids, ids) != 0))
		return ERR_NOMEM;
	err = pending_add(s->pending, &p->message_id, p->headers, p->headers_len, p->payload, p->payload_len);
	if (err != 0)
		return err;
	*seq = s->next_seq++;
	remember(s, ids, p, *seq);
	return PUBLISH_NEW;
}

bool
stream_sealable(const struct stream *s)
{
	return s->sealed == NULL && s->pending != NULL && s->pending->count > 0;
}

void
stream_sealed(struct stream *s, struct pending_pool *pool, struct batch *b)
{
	MUST(s->sealed == NULL && b->first_seq == s->tail.next_seq && batch_last_seq(b) == s->next_seq - 1);
	b->by_id = s->pending->by_id;
	s->sealed = b;
	pending_put(pool, s->pending);
	s->pending = NULL;
}

void
stream_given(struct stream *s)
{
	struct batch *b = s->sealed;

	MUST(b != NULL);
	s->sealed = NULL;
	ledger_add_at(&s->ledger, batch_last_seq(b), b->body_len, s->now_ms);
	/* Without memory it is read back from the outbox when it is to be sent. */
	if (tail_push(&s->tail, b) != 0)
		tail_reset(&s->tail, batch_last_seq(b) + 1);
	batch_unref(b);
}

void
stream_drop_pending(struct stream *s, struct pending_pool *pool, struct idwindows *ids)
{
	if (s->pending == NULL)
		return;
	for (uint32_t i = 0; i < s->pending->count; i++)
		idcache_del(&ids->numbered, &s->id, &s->pending->messages[i].message_id);
	s->next_seq -= s->pending->count;
	idwindow_cut(&s->ids, s->next_seq);
	if (s->state == STREAM_CLOSING && s->close_seq >= s->next_seq)
		s->close_seq = s->next_seq - 1;
	pending_put(pool, s->pending);
	s->pending = NULL;
}

/* What all flows have taken need not be kept, and not too much of the rest either. */
static void
tail_shorten(struct stream *s)
{
	uint64_t taken = s->durable_seq;
	size_t keep = budget_keep(s->budget, s->conf->flow.window_bytes, FLOW_CWND_MIN_BYTES);

	for (size_t i = 0; i < s->flow_count; i++) {
		if (s->flows[i].state != FLOW_GONE && s->flows[i].next_seq - 1 < taken)
			taken = s->flows[i].next_seq - 1;
	}
	tail_pop(&s->tail, taken);
	tail_trim(&s->tail, keep, s->durable_seq);
}

void
stream_trim(struct stream *s)
{
	tail_shorten(s);
	tail_trim(&s->tail, s->conf->flow.window_bytes, s->durable_seq);
}

void
stream_durable(struct stream *s, uint64_t seq)
{
	MUST(seq < s->tail.next_seq);
	if (seq > s->durable_seq)
		s->durable_seq = seq;
	tail_shorten(s);
}

void
stream_fixed(struct stream *s, uint64_t seq)
{
	if (seq > s->durable_seq)
		seq = s->durable_seq;
	if (seq > s->fixed_seq)
		s->fixed_seq = seq;
}

bool
stream_commit(struct stream *s)
{
	uint64_t processed = UINT64_MAX;

	for (size_t i = 0; i < s->flow_count; i++) {
		if (s->flows[i].state != FLOW_GONE && s->flows[i].processed < processed)
			processed = s->flows[i].processed;
	}
	if (processed < s->skipped_seq)
		processed = s->skipped_seq;
	stream_reached(s);
	tail_shorten(s);
	if (processed <= s->committed_seq || processed == UINT64_MAX)
		return false;
	s->committed_seq = processed;
	ledger_cut(&s->ledger, processed);
	return true;
}

int
stream_close(struct stream *s)
{
	if (s->state >= STREAM_CLOSING)
		return ERR_STATE;
	s->state = STREAM_CLOSING;
	s->close_seq = s->next_seq - 1;
	return 0;
}

bool
stream_finished(const struct stream *s)
{
	if (s->state < STREAM_CLOSING)
		return false;
	for (size_t i = 0; i < s->flow_count; i++) {
		if (s->flows[i].state < FLOW_REFUSED || s->flows[i].untold)
			return false;
	}
	return true;
}

/* Nothing is left to be done but to say so.  That it is recorded here comes first: after a restart the
 * stream must not be opened again at a target that has closed and forgotten it.  One that came when all was
 * published is asked all the same: it may have been a target before, and not know that it begins anew. */
static bool
at_end(const struct stream *s, const struct flow *f)
{
	if (f->first_seq > s->close_seq && f->state != FLOW_OPEN)
		return false;
	return s->state == STREAM_CLOSING && f->state <= FLOW_OPEN && f->processed >= s->close_seq &&
	       f->recorded_seq >= s->close_seq;
}

bool
stream_contradicts(const struct stream *s, const struct flow *f, const struct flow_ack *a)
{
	return at_end(s, f) && a->stored < s->close_seq;
}

/* Nothing can be sent now.  Whatever the reason is, the target is asked in time: the flow's deadline counts
 * on that. */
static enum stream_want
idle(struct flow *f, struct mono now, struct rng *rng)
{
	return flow_poll(f, now, rng) ? STREAM_ASK : STREAM_IDLE;
}

void
stream_regulate(struct stream *s, bool paused, struct throttle *throttle)
{
	s->paused = paused;
	/* What was sent to one target under the rule before may be sent to all. */
	for (size_t i = 0; throttle != NULL && i < s->flow_count; i++) {
		if (s->flows[i].next_seq > s->flows[i].first_seq &&
		    s->flows[i].next_seq - 1 > s->released_seq)
			s->released_seq = s->flows[i].next_seq - 1;
	}
	s->throttle = throttle;
}

/* Whether the throttle lets the message at seq go. */
static bool
may_go(const struct stream *s, uint64_t seq, struct mono now)
{
	return s->throttle == NULL || seq <= s->released_seq || throttle_ready(s->throttle, now);
}

/* A batch goes to the first of the targets: the others get it for nothing. */
static void
gone(struct stream *s, const struct batch *b, struct mono now)
{
	if (s->throttle == NULL || batch_last_seq(b) <= s->released_seq)
		return;
	throttle_take(s->throttle, now, b->count, b->body_len);
	s->released_seq = batch_last_seq(b);
}

static enum stream_want
hold(struct stream *s, struct flow *f, struct mono now, struct rng *rng)
{
	f->hold_at =
	    mono_add_us(throttle_next(s->throttle, now), (int64_t)rng_below(rng, THROTTLE_JITTER_US));
	return idle(f, now, rng);
}

/* How much to read for a flow. */
static size_t
read_bytes(const struct stream *s, const struct flow *f)
{
	size_t bytes = f->cwnd_bytes > f->inflight_bytes ? f->cwnd_bytes - f->inflight_bytes : 1;

	if (s->throttle != NULL && throttle_burst_bytes(s->throttle) < bytes)
		bytes = (size_t)throttle_burst_bytes(s->throttle);
	return bytes;
}

/* New data: from the tail, or else from the outbox. */
static enum stream_want
poll_data(struct stream *s, struct flow *f, struct mono now, struct rng *rng, struct stream_order *out)
{
	struct batch *b;

	if (f->next_seq > s->durable_seq || f->next_seq > s->send_limit)
		return idle(f, now, rng);
	b = tail_get(&s->tail, f->next_seq);
	if (b != NULL && b->first_seq != f->next_seq)
		return STREAM_BROKEN;
	if (b != NULL) {
		if (!flow_room(f, b->body_len))
			return idle(f, now, rng);
		if (!may_go(s, f->next_seq, now))
			return hold(s, f, now, rng);
		if (flow_push(f, b, now) != 0) {
			flow_later(f, now);
			return idle(f, now, rng);
		}
		gone(s, b, now);
		out->batch = b;
		return STREAM_SEND;
	}
	if (f->reading || !flow_room(f, f->unread_bytes > 0 ? f->unread_bytes : 1))
		return idle(f, now, rng);
	if (!may_go(s, f->next_seq, now))
		return hold(s, f, now, rng);
	f->reading = true;
	out->from_seq = f->next_seq;
	out->max_bytes = read_bytes(s, f);
	return STREAM_READ;
}

enum stream_want
stream_poll(struct stream *s, struct flow *f, struct mono now, struct rng *rng, struct stream_order *out)
{
	struct batch *b;

	*out = (struct stream_order){0};
	f->hold_at = MONO_NEVER;
	if (s->state == STREAM_OPENING)
		return STREAM_IDLE;
	if (f->state >= FLOW_CLOSED)
		return f->untold && flow_ask(f, now, rng) ? STREAM_ASK : STREAM_IDLE;
	flow_timeout(f, now, rng);
	if (at_end(s, f))
		return flow_ask(f, now, rng) ? STREAM_END : STREAM_IDLE;
	if (f->state == FLOW_REFUSED && s->state == STREAM_CLOSING)
		return STREAM_IDLE;
	if (f->state != FLOW_OPEN)
		return flow_ask(f, now, rng) ? STREAM_ASK : STREAM_IDLE;
	if (flow_unexplained(f) && flow_ask(f, now, rng))
		return STREAM_ASK;
	if (s->paused)
		return idle(f, now, rng);
	if (f->next_seq <= s->skipped_seq)
		flow_skip(f, s->skipped_seq, now);
	if (f->stored < s->skipped_seq && flow_ask(f, now, rng))
		return STREAM_SKIP;
	b = flow_resend(f, now);
	if (b != NULL) {
		out->batch = b;
		return STREAM_SEND;
	}
	return poll_data(s, f, now, rng, out);
}

bool
stream_read(struct stream *s, struct flow *f, struct batch *b, struct mono now)
{
	if (b == NULL) {
		f->reading = false;
		return false;
	}
	if (b->first_seq != f->next_seq || batch_last_seq(b) > s->durable_seq || s->paused ||
	    !may_go(s, b->first_seq, now))
		return false;
	if (!flow_room(f, b->body_len)) {
		/* Not read again before it fits. */
		f->unread_bytes = b->body_len;
		return false;
	}
	if (flow_push(f, b, now) != 0)
		return false;
	gone(s, b, now);
	/* Loaded after a restart: the ledger does not know these bytes yet. */
	if (s->ledger.count == 0 && b->first_seq > s->committed_seq)
		ledger_add_at(&s->ledger, batch_last_seq(b), b->body_len, s->now_ms);
	return true;
}

struct mono
stream_deadline(const struct stream *s, const struct flow *f)
{
	struct mono when = mono_min(flow_deadline(f), f->hold_at);

	if (s->state == STREAM_OPENING)
		return MONO_NEVER;
	if (f->state == FLOW_REFUSED && s->state == STREAM_CLOSING)
		return MONO_NEVER;
	if (f->state == FLOW_OPEN && f->stored < s->skipped_seq)
		return mono_min(when, f->ask_at);
	return at_end(s, f) ? f->ask_at : when;
}
