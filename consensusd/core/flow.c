/* flow: see flow.h. */
#include "consensusd/core/flow.h"

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "consensusd/core/batch.h"
#include "consensusd/core/budget.h"
#include "consensusd/core/limits.h"

enum { FLOW_CAP_MIN = 8, FLOW_TIMEOUT_SHIFT_MAX = 6 };

const char *
flow_state_name(enum flow_state state)
{
	static const char *const names[] = {
	    [FLOW_OPENING] = "opening",
	    [FLOW_OPEN] = "open",
	    [FLOW_REFUSED] = "refused",
	    [FLOW_CLOSED] = "closed",
	    [FLOW_GONE] = "gone",
	};

	return names[state];
}

void
flow_init(
    struct flow *f, uint64_t node, uint64_t processed, const struct flow_conf *conf, struct budget *budget)
{
	*f = (struct flow){
	    .node = node,
	    .state = FLOW_OPENING,
	    .conf = conf,
	    .budget = budget,
	    .next_seq = processed + 1,
	    .stored = processed,
	    .processed = processed,
	    .heard_seq = processed,
	    .recorded_seq = processed,
	    .granted_bytes = conf->window_bytes,
	    .cwnd_bytes = conf->window_bytes / 4,
	    .ssthresh_bytes = SIZE_MAX,
	    .rto_at = MONO_NEVER,
	    .hold_at = MONO_NEVER,
	    .newest_sent = {INT64_MIN},
	    .recovery = {INT64_MIN},
	};
	backoff_init(&f->ask, conf->rto_min_ms, conf->rto_max_ms);
	failures_init(&f->failures, 0, FAILURES_FLOW_MAX);
}

static struct flow_entry *
entry_at(const struct flow *f, size_t i)
{
	return &f->ring[(f->head + i) & (f->cap - 1)];
}

static void
drop_oldest(struct flow *f)
{
	struct flow_entry *e = entry_at(f, 0);

	if (e->lost)
		f->lost_count--;
	f->inflight_bytes -= e->batch->body_len;
	budget_sub(f->budget, e->batch->body_len);
	batch_unref(e->batch);
	f->head = (f->head + 1) & (f->cap - 1);
	f->count--;
}

static void
drop_all(struct flow *f)
{
	while (f->count > 0)
		drop_oldest(f);
	mem_free(f->ring);
	f->ring = NULL;
	f->cap = f->head = 0;
	f->next_seq = f->stored + 1;
	f->unread_bytes = 0;
	f->rto_at = MONO_NEVER;
	f->timeouts = 0;
}

void
flow_fini(struct flow *f)
{
	drop_all(f);
	failures_fini(&f->failures);
}

void
flow_reopen(struct flow *f, struct mono now)
{
	if (f->state >= FLOW_CLOSED)
		return;
	drop_all(f);
	/* An answer that sends us here again and again is asked for with back-off. */
	if (f->state == FLOW_OPEN)
		f->ask_at = now;
	f->state = FLOW_OPENING;
}

void
flow_refused(struct flow *f, struct mono now, struct rng *rng)
{
	if (f->state >= FLOW_CLOSED)
		return;
	drop_all(f);
	f->state = FLOW_REFUSED;
	f->ask.max_ms = FLOW_REFUSED_MAX_MS;
	f->ask_at = mono_add_ms(now, backoff_next_ms(&f->ask, rng));
}

void
flow_gone(struct flow *f)
{
	if (f->state == FLOW_CLOSED)
		return;
	drop_all(f);
	f->state = FLOW_GONE;
}

void
flow_remove(struct flow *f, struct mono now)
{
	flow_gone(f);
	f->removed = true;
	f->untold = f->state == FLOW_GONE;
	f->ask.max_ms = f->conf->rto_max_ms;
	backoff_reset(&f->ask);
	f->ask_at = now;
}

void
flow_load_removed(struct flow *f, struct mono now)
{
	flow_remove(f, now);
	f->first_seq = UINT64_MAX;
}

void
flow_told(struct flow *f)
{
	f->untold = false;
}

bool
flow_matters(const struct flow *f)
{
	return !f->removed || f->untold;
}

bool
flow_concerns(const struct flow *f, uint64_t seq)
{
	return f->first_seq <= seq && (!f->removed || f->processed >= seq);
}

void
flow_hurry(struct flow *f, struct mono now)
{
	/* Its node may not know yet that we can be reached: the first answer is easily lost. */
	f->ask.next_ms = FLOW_HURRY_MS < f->ask.min_ms ? FLOW_HURRY_MS : f->ask.min_ms;
	/* What was on its way is lost, more likely than not. */
	if (f->state != FLOW_OPEN || f->timeouts > 0 || f->count > 0)
		flow_reopen(f, now);
	f->ask_at = now;
}

static int64_t
rto_us(const struct flow *f)
{
	int64_t min = (int64_t)f->conf->rto_min_ms * 1000, max = (int64_t)f->conf->rto_max_ms * 1000;
	int64_t us = f->srtt_us + 4 * f->rttvar_us;
	uint32_t shift = f->timeouts < FLOW_TIMEOUT_SHIFT_MAX ? f->timeouts : FLOW_TIMEOUT_SHIFT_MAX;

	us = (us > min ? us : min) << shift;
	return us < max ? us : max;
}

/* The timer runs from the oldest batch that the target is not known to have; if it has all of them
 * (its database is slow, or it has gone away since), from the newest, with the longest time. */
static void
arm(struct flow *f)
{
	f->rto_at = MONO_NEVER;
	for (size_t i = 0; i < f->count; i++) {
		if (!entry_at(f, i)->sacked) {
			f->rto_at = mono_add_us(entry_at(f, i)->sent, rto_us(f));
			return;
		}
	}
	if (f->count > 0)
		f->rto_at =
		    mono_add_ms(entry_at(f, f->count - 1)->sent, (int64_t)f->conf->rto_max_ms << f->timeouts);
}

/* RFC 6298 section 2. */
static void
rtt_sample(struct flow *f, int64_t us)
{
	int64_t diff = us > f->srtt_us ? us - f->srtt_us : f->srtt_us - us;

	if (f->srtt_us == 0) {
		f->srtt_us = us > 0 ? us : 1;
		f->rttvar_us = us / 2;
		return;
	}
	f->rttvar_us += (diff - f->rttvar_us) / 4;
	f->srtt_us += (us - f->srtt_us) / 8;
	if (f->srtt_us <= 0)
		f->srtt_us = 1;
}

/* A batch has come so much later than one that was sent so much after it. */
static void
note_reorder(struct flow *f, int64_t us)
{
	us += us / 4;
	if (us > rto_us(f))
		us = rto_us(f);
	if (us > f->reorder_us)
		f->reorder_us = us;
}

/* The target has this batch.  One that was sent again and comes at once was not lost: it is the first copy.
 */
static void
seen(struct flow *f, const struct flow_entry *e, struct mono now)
{
	struct mono sent = e->sent;

	if (e->tries > 1 && mono_diff_us(now, e->sent) < f->srtt_us / 2)
		sent = e->first_sent;
	else if (e->tries > 1)
		sent = f->newest_sent;
	if (mono_before(sent, f->newest_sent))
		note_reorder(f, mono_diff_us(f->newest_sent, sent));
	if (mono_before(f->newest_sent, e->sent))
		f->newest_sent = e->sent;
}

static void
window_grow(struct flow *f, size_t bytes)
{
	size_t max = f->conf->window_bytes;

	if (f->cwnd_bytes < f->ssthresh_bytes)
		f->cwnd_bytes += bytes;
	else
		f->cwnd_bytes += (size_t)((double)bytes * FLOW_CWND_MIN_BYTES / (double)f->cwnd_bytes) + 1;
	if (f->cwnd_bytes > max)
		f->cwnd_bytes = max;
}

static void
window_shrink(struct flow *f, struct mono now)
{
	f->recovery = now;
	f->reorder_us -= f->reorder_us / FLOW_REORDER_DECAY;
	f->ssthresh_bytes = f->cwnd_bytes / 2;
	if (f->ssthresh_bytes < FLOW_CWND_MIN_BYTES)
		f->ssthresh_bytes = FLOW_CWND_MIN_BYTES;
	f->cwnd_bytes = f->ssthresh_bytes;
}

static void
pop_stored(struct flow *f, uint64_t stored, struct mono now)
{
	size_t bytes = 0;
	int64_t rtt = -1;

	while (f->count > 0 && batch_last_seq(entry_at(f, 0)->batch) <= stored) {
		struct flow_entry *e = entry_at(f, 0);

		/* Karn: what was sent twice says nothing about the round trip. */
		if (e->tries == 1)
			rtt = mono_diff_us(now, e->sent);
		if (!e->sacked)
			seen(f, e, now);
		bytes += e->batch->body_len;
		drop_oldest(f);
	}
	if (rtt >= 0)
		rtt_sample(f, rtt);
	window_grow(f, bytes);
}

static void
mark_lost(struct flow *f, struct flow_entry *e, struct mono now)
{
	if (e->lost || e->sacked)
		return;
	e->lost = true;
	f->lost_count++;
	if (mono_before(f->recovery, e->sent))
		window_shrink(f, now);
}

static void
mark_sacked(struct flow *f, struct flow_entry *e, struct mono now)
{
	if (!e->sacked)
		seen(f, e, now);
	if (e->lost)
		f->lost_count--;
	e->sacked = true;
	e->lost = false;
}

/* What the ack's ranges say now replaces what earlier ones said: a target that restarted has
 * forgotten what it only had in memory. */
static void
scan_ranges(struct flow *f, const struct flow_ack *a, struct mono now)
{
	size_t r = 0;

	for (size_t i = 0; i < f->count; i++) {
		struct flow_entry *e = entry_at(f, i);
		uint64_t last = batch_last_seq(e->batch);

		while (r < a->range_count && a->ranges[r + 1] < last)
			r += 2;
		if (r < a->range_count && a->ranges[r] <= e->batch->first_seq)
			mark_sacked(f, e, now);
		else
			e->sacked = false;
	}
}

static void
find_lost(struct flow *f, struct mono now)
{
	int64_t reorder = f->srtt_us / 4 > FLOW_REORDER_MIN_US ? f->srtt_us / 4 : FLOW_REORDER_MIN_US;

	if (f->reorder_us > reorder)
		reorder = f->reorder_us;
	for (size_t i = 0; i < f->count; i++) {
		struct flow_entry *e = entry_at(f, i);

		if (!e->sacked && mono_before(mono_add_us(e->sent, reorder), f->newest_sent))
			mark_lost(f, e, now);
	}
}

/* Something was heard of the target: no need to ask for a while. */
static void
progressed(struct flow *f, struct mono now)
{
	f->poll_us = rto_us(f);
	f->poll_at = mono_add_us(now, f->poll_us);
}

/* With nothing in flight, nothing makes the target say that it has processed more, or takes more again. */
static bool
may_poll(const struct flow *f)
{
	return f->state == FLOW_OPEN && f->count == 0 && (f->processed < f->stored || f->granted_bytes == 0);
}

bool
flow_poll(struct flow *f, struct mono now, struct rng *rng)
{
	if (!may_poll(f) || mono_before(now, f->poll_at))
		return false;
	f->poll_us *= 2;
	if (f->poll_us > FLOW_POLL_MAX_MS * INT64_C(1000))
		f->poll_us = FLOW_POLL_MAX_MS * INT64_C(1000);
	f->poll_at = mono_add_us(now, rng_jitter(rng, f->poll_us, 25));
	return true;
}

/* --- what failed --- */

bool
flow_failed(const struct flow *f, uint64_t seq)
{
	return failures_has(&f->failures, seq);
}

void
flow_replayed(struct flow *f, uint64_t seq)
{
	failures_del(&f->failures, seq);
}

bool
flow_unexplained(const struct flow *f)
{
	return f->heard_seq > f->processed && f->failures.count < f->failures.cap;
}

uint64_t
flow_unrecorded(const struct flow *f)
{
	size_t i = failures_after(&f->failures, f->recorded_seq);

	return i < f->failures.count ? f->failures.seqs[i] : 0;
}

void
flow_settle(struct flow *f, uint64_t seq)
{
	size_t n = f->failures.count > f->failures.cap / 2 ? f->failures.count - f->failures.cap / 2 : 0;

	if (seq > f->recorded_seq)
		seq = f->recorded_seq;
	while (n > 0 && f->failures.seqs[n - 1] > seq)
		n--;
	if (n > 0)
		failures_cut(&f->failures, f->failures.seqs[n - 1]);
}

static bool
failed_valid(const struct flow_ack *a)
{
	uint64_t last = a->failed_from;

	for (size_t i = 0; i < a->failed_count; i++) {
		if (a->failed[i] <= last || a->failed[i] > a->processed)
			return false;
		last = a->failed[i];
	}
	return true;
}

/* Takes what failed above processed; how far it is known then. */
static uint64_t
explain(struct flow *f, const struct flow_ack *a)
{
	if (a->failed_from > f->processed)
		return f->processed;
	for (size_t i = 0; i < a->failed_count; i++)
		if (a->failed[i] > f->processed && failures_add(&f->failures, a->failed[i]) != 0)
			return a->failed[i] - 1;
	return a->failed_count == FAILURES_ACK_MAX ? a->failed[a->failed_count - 1] : a->processed;
}

static void
take_processed(struct flow *f, const struct flow_ack *a, struct mono now)
{
	uint64_t upto = a->processed > f->processed ? explain(f, a) : f->processed;
	bool news = upto > f->processed || f->heard_seq <= f->processed;

	if (upto > f->processed)
		f->processed = upto;
	if (a->processed > f->heard_seq)
		f->heard_seq = a->processed;
	if (!news || f->heard_seq <= f->processed || f->state != FLOW_OPEN)
		return;
	backoff_reset(&f->ask);
	f->ask_at = now;
}

int
flow_opened(struct flow *f, const struct flow_ack *a, uint64_t newest_seq, struct mono now)
{
	if (a->stored > newest_seq || a->processed > a->stored || a->processed < f->heard_seq ||
	    !failed_valid(a))
		return ERR_RANGE;
	f->stored = a->stored;
	drop_all(f);
	f->state = FLOW_OPEN;
	f->ask_at = MONO_ZERO;
	f->ask.max_ms = f->conf->rto_max_ms;
	backoff_reset(&f->ask);
	take_processed(f, a, now);
	progressed(f, now);
	f->granted_bytes = a->window_bytes;
	return 0;
}

bool
flow_measured(const struct flow *f)
{
	return f->newest_sent.us != INT64_MIN;
}

void
flow_warm(struct flow *f, size_t cwnd_bytes, int64_t srtt_us)
{
	int64_t most = (int64_t)f->conf->rto_max_ms * 1000;

	if (flow_measured(f) || f->srtt_us != 0)
		return;
	if (cwnd_bytes > f->conf->window_bytes)
		cwnd_bytes = f->conf->window_bytes;
	if (cwnd_bytes > f->cwnd_bytes)
		f->cwnd_bytes = cwnd_bytes;
	if (srtt_us <= 0)
		return;
	f->srtt_us = srtt_us < most ? srtt_us : most;
	f->rttvar_us = f->srtt_us / 2;
}

static void
take_stored(struct flow *f, const struct flow_ack *a, struct mono now)
{
	if (a->stored > f->stored)
		f->timeouts = 0;
	f->stored = a->stored;
	pop_stored(f, a->stored, now);
	/* What was on its way before we asked where the target is may be acknowledged after the answer. */
	if (f->next_seq <= a->stored) {
		f->next_seq = a->stored + 1;
		f->unread_bytes = 0;
	}
}

int
flow_acked(struct flow *f, const struct flow_ack *a, uint64_t newest_seq, struct mono now)
{
	if (a->processed > a->stored || a->stored > newest_seq || !failed_valid(a))
		return ERR_RANGE;
	if (a->processed > f->heard_seq || a->stored > f->stored)
		progressed(f, now);
	take_processed(f, a, now);
	/* What is processed is there, also while it is asked where else it is. */
	if (f->state != FLOW_OPEN && f->stored < f->processed)
		f->stored = f->processed;
	if (a->stored < f->stored || f->state != FLOW_OPEN)
		return 0;
	take_stored(f, a, now);
	scan_ranges(f, a, now);
	find_lost(f, now);
	arm(f);
	f->granted_bytes = a->window_bytes;
	return 0;
}

int
flow_answered(struct flow *f, const struct flow_ack *a, uint64_t newest_seq, struct mono now)
{
	int err = flow_acked(f, a, newest_seq, now);

	if (err == 0 && f->state == FLOW_OPEN && f->count == 0 && a->stored < f->stored)
		flow_reopen(f, now);
	return err;
}

void
flow_rerouted(struct flow *f, struct mono now)
{
	/* No congestion: the window stays, and time-outs that the old path caused don't count. */
	f->recovery = now;
	f->timeouts = 0;
	for (size_t i = 0; i < f->count; i++)
		mark_lost(f, entry_at(f, i), now);
	if (f->state == FLOW_OPENING) {
		backoff_reset(&f->ask);
		f->ask_at = now;
	}
}

void
flow_skip(struct flow *f, uint64_t seq, struct mono now)
{
	while (f->count > 0 && batch_last_seq(entry_at(f, 0)->batch) <= seq)
		drop_oldest(f);
	if (f->next_seq <= seq) {
		f->next_seq = seq + 1;
		f->unread_bytes = 0;
	}
	if (f->state != FLOW_OPEN)
		return;
	arm(f);
	if (f->stored < seq) {
		backoff_reset(&f->ask);
		f->ask_at = now;
	}
}

bool
flow_room(const struct flow *f, size_t bytes)
{
	size_t window = f->cwnd_bytes < f->granted_bytes ? f->cwnd_bytes : f->granted_bytes;

	if (f->state != FLOW_OPEN || f->count >= FLOW_INFLIGHT_MAX || f->lost_count > 0)
		return false;
	/* A batch may be larger than the window: alone it always fits, if the target takes any. */
	if (f->count == 0)
		return f->granted_bytes > 0;
	return f->inflight_bytes + bytes <= window;
}

static int
grow(struct flow *f)
{
	size_t cap = f->cap == 0 ? FLOW_CAP_MIN : f->cap * 2;
	struct flow_entry *ring = mem_calloc(cap, sizeof(*ring));

	if (ring == NULL)
		return ERR_NOMEM;
	for (size_t i = 0; i < f->count; i++)
		ring[i] = *entry_at(f, i);
	mem_free(f->ring);
	f->ring = ring;
	f->cap = cap;
	f->head = 0;
	return 0;
}

int
flow_push(struct flow *f, struct batch *b, struct mono now)
{
	MUST(b->first_seq == f->next_seq);
	if (f->count == f->cap && grow(f) != 0)
		return ERR_NOMEM;
	f->count++;
	*entry_at(f, f->count - 1) =
	    (struct flow_entry){.batch = batch_ref(b), .sent = now, .first_sent = now, .tries = 1};
	f->inflight_bytes += b->body_len;
	budget_add(f->budget, b->body_len);
	f->next_seq = batch_last_seq(b) + 1;
	f->unread_bytes = 0;
	if (mono_is_never(f->rto_at))
		arm(f);
	return 0;
}

void
flow_later(struct flow *f, struct mono now)
{
	if (mono_is_never(f->rto_at))
		f->rto_at = mono_add_ms(now, f->conf->rto_min_ms);
}

struct batch *
flow_resend(struct flow *f, struct mono now)
{
	if (f->lost_count == 0)
		return NULL;
	for (size_t i = 0; i < f->count; i++) {
		struct flow_entry *e = entry_at(f, i);

		if (!e->lost)
			continue;
		e->lost = false;
		f->lost_count--;
		e->sent = now;
		e->tries++;
		f->retransmits++;
		arm(f);
		return e->batch;
	}
	return NULL;
}

bool
flow_ask(struct flow *f, struct mono now, struct rng *rng)
{
	if (mono_before(now, f->ask_at))
		return false;
	f->ask_at = mono_add_ms(now, backoff_next_ms(&f->ask, rng));
	return true;
}

void
flow_timeout(struct flow *f, struct mono now, struct rng *rng)
{
	if (f->state != FLOW_OPEN || mono_before(now, f->rto_at))
		return;
	f->timeouts++;
	if (f->timeouts >= FLOW_TIMEOUTS_MAX || f->count == 0) {
		flow_reopen(f, now);
		return;
	}
	for (size_t i = 0; i < f->count; i++) {
		if (!entry_at(f, i)->sacked) {
			mark_lost(f, entry_at(f, i), now);
			break;
		}
	}
	f->rto_at = mono_add_us(now, rng_jitter(rng, rto_us(f), 25));
}

struct mono
flow_deadline(const struct flow *f)
{
	struct mono when;

	switch (f->state) {
	case FLOW_OPEN:
		when = may_poll(f) ? mono_min(f->rto_at, f->poll_at) : f->rto_at;
		return flow_unexplained(f) ? mono_min(when, f->ask_at) : when;
	case FLOW_CLOSED:
		return MONO_NEVER;
	case FLOW_GONE:
		return f->untold ? f->ask_at : MONO_NEVER;
	default:
		return f->ask_at;
	}
}
