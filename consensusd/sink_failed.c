/* sink: messages that their handler could not process; see sink.h. */
#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/num.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "consensusd/api.h"
#include "consensusd/sink_impl.h"
#include "consensusd/source.h"
#include "consensusd/stats.h"
#include "consensusd/subscriber.h"

enum { STUCK_ATTEMPTS = 3 };

/* Made when the first message fails: most streams never need it. */
static struct retry *
retry_of(struct sink *s)
{
	if (s->retry == NULL)
		s->retry = mem_calloc(1, sizeof(*s->retry));
	return s->retry;
}

static struct retry_item *
find(const struct sink *s, uint64_t seq)
{
	return s->retry != NULL ? retry_find(s->retry, seq) : NULL;
}

void
sink_load_attempt(struct sink *s, const struct store_letter *row)
{
	struct retry *r = row->seq > s->target->processed_seq ? retry_of(s) : NULL;
	struct retry_item *item = r != NULL ? retry_fail(r, row->seq, row->attempts, row->error) : NULL;

	if (item == NULL)
		return;
	item->saved = true;
	item->at = clock_mono();
}

/* --- delivering --- */

bool
sink_waits(const struct sink *s)
{
	const struct retry_item *item = find(s, s->target->cursor.next_seq);

	/* No place for another one that fails. */
	if (s->retry != NULL && retry_full(s->retry, s->target->cursor.next_seq))
		return true;
	return item != NULL && !item->dead && mono_before(clock_mono(), item->at);
}

bool
sink_given_up(const struct sink *s, uint64_t seq)
{
	const struct retry_item *item = find(s, seq);

	return item != NULL && item->dead;
}

void
sink_retry_now(struct sink *s)
{
	for (size_t i = 0; s->retry != NULL && i < s->retry->count; i++)
		s->retry->items[i].at = clock_mono();
}

const struct retry_item *
sink_failing(const struct sink *s)
{
	for (size_t i = 0; s->retry != NULL && i < s->retry->count; i++)
		if (!s->retry->items[i].dead && s->retry->items[i].seq > s->target->processed_seq)
			return &s->retry->items[i];
	return NULL;
}

void
sink_count_failing(struct sink *s)
{
	const struct retry_item *item = sink_failing(s);
	struct engine *e = s->engine;
	bool failing = item != NULL && item->seq == s->target->acked_seq + 1;

	if (s->failing == failing)
		return;
	s->failing = failing;
	e->failing += failing ? 1 : -1;
	metric_set(&stats.failing, (int64_t)e->failing);
	api_health_changed(e->api);
}

/* It has been tried in vain so often that somebody should know. */
static bool
is_stuck(const struct sink *s)
{
	const struct retry_item *item = s->failing ? sink_failing(s) : NULL;

	return item != NULL && item->attempts >= STUCK_ATTEMPTS;
}

bool
sink_stuck(const struct engine *e, char *out, size_t size)
{
	const struct sink *first = NULL;
	const struct retry_item *item;
	size_t count = 0;

	for (const struct sink *s = e->failing > 0 ? e->sinks : NULL; s != NULL; s = s->hh.next) {
		if (!is_stuck(s))
			continue;
		if (count++ == 0)
			first = s;
	}
	if (first == NULL)
		return false;
	item = sink_failing(first);
	snprintf(out, size, "%zu streams stand still at messages that fail: message %llu of %s, %u times: %s",
	    count, (unsigned long long)item->seq, first->id_text, item->attempts, item->error);
	return true;
}

uint32_t
sink_attempts(const struct sink *s, uint64_t seq)
{
	const struct retry_item *item = find(s, seq);

	return item != NULL ? item->attempts : 0;
}

struct mono
sink_retry_at(const struct sink *s, struct mono now)
{
	return s->retry != NULL ? retry_next(s->retry, now) : MONO_NEVER;
}

/* --- failing --- */

void
sink_pass_dead(struct sink *s)
{
	uint64_t upto = s->retry != NULL ? retry_pass(s->retry, s->target->acked_seq) : 0;

	if (upto > s->target->acked_seq) {
		target_pass(s->target, upto);
		subscriber_credit(s, upto);
	}
}

static void
give_up(struct sink *s, struct retry_item *item)
{
	const struct log_ctx ctx = {.stream_id = s->id_text};

	item->dead = true;
	log_at(LOG_WARNING, &ctx, "message %llu is a dead letter after %u attempts: %s",
	    (unsigned long long)item->seq, item->attempts, item->error);
	sink_pass_dead(s);
}

static void
take_back(struct sink *s, uint64_t seq)
{
	subscriber_take_back(s, seq);
	MUST(target_nack(s->target, seq) == 0);
}

int
sink_nack(struct sink *s, uint64_t seq, const struct sink_failure *why)
{
	const struct policy *p = &s->row.policy;
	struct target *t = s->target;
	struct retry_item *item;
	struct retry *r;
	uint32_t ms;

	if (seq <= t->acked_seq || seq > t->delivered_seq)
		return ERR_RANGE;
	if (seq >= t->cursor.next_seq || sink_given_up(s, seq))
		return 0; /* it comes again at any rate, or not at all */
	r = retry_of(s);
	if (r == NULL)
		return ERR_NOMEM;
	metric_inc(&stats.nacks);
	item = retry_fail(r, seq, 1, why->reason);
	if (item != NULL &&
	    (why->dead_letter || (p->max_attempts != 0 && item->attempts >= p->max_attempts))) {
		give_up(s, item);
	} else {
		take_back(s, seq);
		if (item != NULL) {
			ms = why->retry_ms != 0
				 ? why->retry_ms
				 : retry_delay_ms(p->retry_ms, item->attempts, &s->engine->rng);
			item->at = mono_add_ms(clock_mono(), ms);
		}
	}
	if (item != NULL && item->attempts == STUCK_ATTEMPTS)
		api_health_changed(s->engine->api);
	sink_touch(s);
	return 0;
}

/* --- the store --- */

static struct store_letter
letter_of(const struct sink *s, enum store_letter_kind kind, const struct retry_item *item)
{
	struct store_letter l = {.kind = kind,
	    .stream_id = s->row.stream_id,
	    .seq = item->seq,
	    .src_node = s->row.src_node,
	    .dst_node = s->engine->self,
	    .attempts = item->attempts,
	    .error = item->error};

	memcpy(l.tenant_id, s->row.tenant_id, sizeof(l.tenant_id));
	return l;
}

/* So that attempts are counted over restarts.  What the store does not take now it is given later. */
void
sink_save_attempts(struct sink *s)
{
	if (s->retry == NULL)
		return;
	for (size_t i = 0; i < s->retry->count; i++) {
		struct retry_item *item = &s->retry->items[i];
		struct store_letter l = letter_of(s, STORE_LETTER_ATTEMPT, item);

		if (item->saved || item->dead)
			continue;
		if (store_put_letter(s->engine->store, s->class, &l) < 0)
			return;
		item->saved = true;
	}
}

static void
say_full(struct sink *s, bool full, uint64_t seq)
{
	const struct log_ctx ctx = {.stream_id = s->id_text};
	struct engine *e = s->engine;

	if (s->letters_full == full)
		return;
	s->letters_full = full;
	e->letters_waiting += full ? 1 : -1;
	metric_set(&stats.letters_waiting, (int64_t)e->letters_waiting);
	api_health_changed(e->api);
	if (!full)
		return;
	log_at(LOG_ERROR, &ctx,
	    "message %llu can't become a dead letter: there are %llu, as many as may be (dead-letters-max); "
	    "the "
	    "stream waits",
	    (unsigned long long)seq, (unsigned long long)e->letters_max);
	api_stream_event(e, "dead_letters_full", s->id_text, s->row.tenant_id, "target");
}

/* Before the first dead letter whose row the store has not taken, for want of room: it is copied from that.
 */
static uint64_t
rows_limit(const struct sink *s)
{
	for (size_t i = 0; s->retry != NULL && i < s->retry->count; i++)
		if (s->retry->items[i].dead && s->retry->items[i].seq > s->target->kept_seq)
			return s->retry->items[i].seq - 1;
	return UINT64_MAX;
}

/* Before the first one that there is no room for among the dead letters of this node. */
static uint64_t
room_limit(struct sink *s)
{
	uint64_t room =
	    s->engine->letters < s->engine->letters_max ? s->engine->letters_max - s->engine->letters : 0;

	for (size_t i = 0; s->retry != NULL && i < s->retry->count; i++) {
		const struct retry_item *item = &s->retry->items[i];

		if (!item->dead || room-- > 0)
			continue;
		say_full(s, item->seq <= s->target->acked_seq, item->seq);
		return item->seq - 1;
	}
	say_full(s, false, 0);
	return UINT64_MAX;
}

uint64_t
sink_letters_limit(struct sink *s)
{
	return min_u64(room_limit(s), rows_limit(s));
}

size_t
sink_letters(const struct sink *s, uint64_t upto, struct store_letter rows[RETRY_ITEMS_MAX + 1])
{
	struct store_letter cut = {.kind = STORE_LETTER_CUT, .stream_id = s->row.stream_id, .seq = upto};
	size_t n = 0;
	bool any = false;

	for (size_t i = 0; s->retry != NULL && i < s->retry->count; i++) {
		const struct retry_item *item = &s->retry->items[i];

		if (item->seq > upto)
			break;
		any = true;
		if (item->dead)
			rows[n++] = letter_of(s, STORE_LETTER_ADD, item);
	}
	if (any)
		rows[n++] = cut;
	return n;
}

void
sink_letters_put(struct sink *s, uint64_t upto, const struct store_letter *rows, size_t count)
{
	struct engine *e = s->engine;

	for (size_t i = 0; i < count; i++) {
		if (rows[i].kind != STORE_LETTER_ADD)
			continue;
		target_failed(s->target, rows[i].seq);
		e->letters++;
		metric_inc(&stats.letters_made);
		api_stream_event(e, "dead_letter", s->id_text, s->row.tenant_id, "target");
	}
	metric_set(&stats.letters, (int64_t)e->letters);
	if (s->retry != NULL)
		retry_cut(s->retry, upto);
}

void
sink_replayed(struct sink *s, uint64_t seq)
{
	struct source *own = source_find(s->engine, &s->row.stream_id);
	struct flow *f = own != NULL ? stream_flow(own->stream, s->engine->self) : NULL;

	target_replayed(s->target, seq);
	if (f != NULL)
		flow_replayed(f, seq);
}

void
sink_failed_free(struct sink *s)
{
	if (s->letters_full)
		s->engine->letters_waiting--;
	if (s->failing)
		metric_set(&stats.failing, (int64_t)--s->engine->failing);
	mem_free(s->retry);
	s->retry = NULL;
}

void
sink_letters_gone(struct engine *e)
{
	struct sink *s, *next;

	if (e->letters > 0)
		e->letters--;
	metric_set(&stats.letters, (int64_t)e->letters);
	if (e->letters_waiting == 0)
		return;
	HASH_ITER (hh, e->sinks, s, next) {
		if (s->letters_full)
			sink_touch(s);
	}
}
