/* publisher: clients at the source that try each message until they are told that all targets have it. */
#include <string.h>

#include "common/base/be.h"
#include "common/base/err.h"
#include "tests/streamsim/world.h"

enum { TURN_US = 60 * WORLD_MS, RETRY_US = 400 * WORLD_MS, PAYLOAD_MAX = 20000, AGAIN_OF_1000 = 50 };

static size_t
size_of(uint32_t p, uint32_t number)
{
	return number % 53 == 7 ? PAYLOAD_MAX : (number * 2654435761u + p) % 400;
}

static void
publish(struct world *w, unsigned p, uint32_t number)
{
	static uint8_t payload[PAYLOAD_MAX];
	struct node *o = &w->node[0];
	struct publish one = {.named = true, .payload = payload, .payload_len = size_of(p, number)};
	struct waiter wait = {.call = (uint64_t)p << 32 | number};
	int r;

	be_store64(one.message_id.b, p + 1);
	be_store64(one.message_id.b + 8, number);
	memset(payload, (int)(number & 0xff), one.payload_len);
	r = stream_publish(o->stream, &o->pool, &o->ids, &one, &wait.seq);
	if (r < 0)
		return; /* it is tried again */
	w->sums.repeated += r == PUBLISH_KNOWN;
	wait.message_id = one.message_id;
	if (r == PUBLISH_KNOWN && retain_answer(w, &wait))
		return;
	/* The call may end without an answer: then, too, it is tried again. */
	(void)!waiters_add(&o->stream->waiters, &wait);
}

static bool
may_publish(struct world *w)
{
	struct node *o = &w->node[0];

	return o->up && o->stream != NULL && o->stream->state == STREAM_OPEN && !stream_hopeless(o->stream) &&
	       !stream_held(o->stream, false) && !budget_over(&o->budget);
}

static void
retry(struct world *w, unsigned p)
{
	struct publisher *one = &w->publisher[p];

	for (unsigned i = 0; i < OUTSTANDING_MAX; i++) {
		if (one->outstanding[i].number == 0 || w->now < one->outstanding[i].tried + RETRY_US)
			continue;
		one->outstanding[i].tried = w->now + world_below(w, RETRY_US);
		publish(w, p, one->outstanding[i].number);
	}
}

/* Somebody asks once more about what was answered long ago. */
static void
ask_again(struct world *w, unsigned p)
{
	uint32_t number = 1 + world_below(w, w->publisher[p].next);

	if (number >= w->publisher[p].next || !world_chance(w, AGAIN_OF_1000))
		return;
	w->sums.asked_again++;
	publish(w, p, number);
}

/* Nothing can be had of this stream any more. */
static void
end(struct world *w, unsigned p)
{
	w->goal = w->published;
	for (unsigned i = 0; i < OUTSTANDING_MAX; i++)
		if (w->publisher[p].outstanding[i].number != 0)
			publisher_refused(w, p, w->publisher[p].outstanding[i].number);
	node_pump(w, 0);
}

static void
begin(struct world *w, unsigned p)
{
	struct publisher *one = &w->publisher[p];

	for (unsigned i = 0; i < OUTSTANDING_MAX && w->published < w->goal; i++) {
		uint32_t number = one->next;

		if (one->outstanding[i].number != 0)
			continue;
		w->published++;
		w->sums.messages++;
		one->next++;
		one->outstanding[i].number = number;
		one->outstanding[i].tried = w->now;
		publish(w, p, number);
		if (world_chance(w, 300))
			break;
	}
}

/* Nothing can be had of it, or a target that takes no more fills the outbox until an operator closes it. */
static bool
is_hopeless(const struct world *w)
{
	const struct node *o = &w->node[0];

	if (!o->up || o->stream == NULL)
		return false;
	return stream_hopeless(o->stream) ||
	       (w->calm && w->sums.refusals != 0 && stream_held(o->stream, false));
}

void
publisher_turn(struct world *w, unsigned p)
{
	if (may_publish(w)) {
		retry(w, p);
		begin(w, p);
		ask_again(w, p);
		node_pump(w, 0);
	} else if (is_hopeless(w)) {
		end(w, p);
	}
	world_push(w, w->now + 100 + world_below(w, TURN_US), WORLD_PUBLISH, p, 0, NULL);
}

static void
forget(struct publisher *one, uint32_t number)
{
	for (unsigned i = 0; i < OUTSTANDING_MAX; i++)
		if (one->outstanding[i].number == number)
			one->outstanding[i].number = 0;
}

void
publisher_lost(struct world *w, unsigned p, uint32_t number, uint64_t seq)
{
	struct publisher *one = &w->publisher[p];

	check_lost(w, seq, &one->messages[number]);
	w->sums.told_lost++;
	one->messages[number].lost = true;
	forget(one, number);
}

void
publisher_unknown(struct world *w, unsigned p, uint32_t number)
{
	w->sums.unknown++;
	w->publisher[p].messages[number].lost = true;
	forget(&w->publisher[p], number);
}

void
publisher_failed(struct world *w, unsigned p, uint32_t number, uint64_t seq)
{
	struct message *m = &w->publisher[p].messages[number];

	letters_check_told(w, seq, m);
	w->sums.told_failed++;
	m->failed = true;
	forget(&w->publisher[p], number);
}

void
publisher_refused(struct world *w, unsigned p, uint32_t number)
{
	w->publisher[p].messages[number].refused = true;
	forget(&w->publisher[p], number);
}

void
publisher_answer(struct world *w, unsigned p, uint32_t number, uint64_t seq)
{
	struct publisher *one = &w->publisher[p];

	check_answer(w, seq);
	if (w->truth[seq].publisher != p || w->truth[seq].number != number)
		world_fail(
		    w, "publisher %u is told of another's message at %llu", p, (unsigned long long)seq);
	forget(one, number);
	/* That of a target which was removed since is not told any more. */
	if (one->messages[number].failed && w->policy.ack == POLICY_ACK_ALL && !w->changes)
		world_fail(w, "publisher %u is told that %llu is processed, and was told that it failed", p,
		    (unsigned long long)seq);
	if (!one->messages[number].answered)
		w->sums.answered++;
	one->messages[number].answered = true;
	one->messages[number].life = w->node[0].life;
}

static bool
is_done(const struct message *m)
{
	return m->answered || m->lost || m->refused || m->failed;
}

bool
publisher_done(const struct world *w)
{
	for (unsigned p = 0; p < PUBLISHERS; p++)
		for (uint32_t i = 1; i < w->publisher[p].next; i++)
			if (!is_done(&w->publisher[p].messages[i]))
				return false;
	return true;
}
