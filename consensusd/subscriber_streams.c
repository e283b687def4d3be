/* subscriber: which streams it has; see subscriber.h. */
#include <string.h>
#include <time.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/log.h"
#include "consensusd/api_impl.h"
#include "consensusd/limits.h"
#include "consensusd/replay.h"
#include "consensusd/sink.h"
#include "consensusd/stats.h"
#include "consensusd/subscriber_impl.h"

#define HANDLED_TEXT "stream %s has a handler of its own at its targets: it takes no subscriber"

/* --- which streams --- */

static bool
has_source(const struct subscriber *s, const struct engine *e, uint64_t node)
{
	const struct node *n = nodes_find(&e->nodes, node);
	char text[NODEID_TEXT_SIZE];

	nodeid_format(text, node);
	for (pb_size_t i = 0; i < s->selector.node_ids_count; i++) {
		const char *want = s->selector.node_ids[i];

		if (strcasecmp(want, text) == 0 || (n != NULL && strcmp(want, n->name) == 0) ||
		    (node == e->self && strcmp(want, e->node_name) == 0))
			return true;
	}
	return s->selector.node_ids_count == 0;
}

/* By its id, not as one of its tenant's. */
static bool
names(const struct subscriber *s, const char *id)
{
	for (pb_size_t i = 0; i < s->selector.stream_ids_count; i++) {
		if (strcasecmp(s->selector.stream_ids[i], id) == 0)
			return true;
	}
	return false;
}

bool
subscriber_selects(const struct subscriber *s, const struct sink *k)
{
	return k->row.policy.handler == POLICY_SUBSCRIBER &&
	       strcmp(s->selector.tenant_id, k->row.tenant_id) == 0 &&
	       (s->selector.stream_ids_count == 0 || names(s, k->id_text)) &&
	       has_source(s, k->engine, k->row.src_node);
}

/* --- attaching --- */

static void
let_go(struct sink *k)
{
	struct subscriber *s = k->subscriber;

	/* Whatever it had not acknowledged takes no credit any more. */
	subscriber_credit(k, k->target->delivered_seq);
	TAILQ_REMOVE(&s->sinks, k, subscribed);
	mem_free(k->sizes);
	k->sizes = NULL;
	k->subscriber = NULL;
	replay_detach(k);
	target_attend(k->target, false);
	sink_touch(k);
}

void
subscriber_detach(struct sink *k)
{
	if (k->subscriber != NULL)
		let_go(k);
}

static uint64_t
resume_of(const struct subscriber *s, const char *id)
{
	for (pb_size_t i = 0; i < s->selector.resume_count; i++) {
		if (strcasecmp(s->selector.resume[i].stream_id, id) == 0 && s->selector.resume[i].seq > 0)
			return (uint64_t)s->selector.resume[i].seq;
	}
	return 0;
}

/* The stream has no subscriber.  From now on acks of earlier ones are refused. */
static int
attach(struct subscriber *s, struct sink *k)
{
	k->sizes = mem_calloc(SUBSCRIBER_SIZES, sizeof(*k->sizes));
	if (k->sizes == NULL)
		return ERR_NOMEM;
	target_resume(k->target, resume_of(s, k->id_text));
	k->credited_seq = k->target->cursor.next_seq - 1;
	k->subscriber = s;
	k->subscription = s->number;
	target_attend(k->target, true);
	TAILQ_INSERT_TAIL(&s->sinks, k, subscribed);
	sink_touch(k);
	return 0;
}

static void
left_out(struct subscriber *s, struct sink *k)
{
	metric_inc(&stats.left_out);
	log_info("stream %s has a subscriber (subscription %llu): a newer one of the tenant is without it",
	    k->id_text, (unsigned long long)k->subscriber->number);
	api_stream_event(s->all->engine, "stream_left_out", k->id_text, k->row.tenant_id, "target");
}

/* An older subscription that loses its last stream has no more to do. */
static int
take_over(struct subscriber *s, struct sink *k)
{
	struct subscriber *older = k->subscriber;
	int err;

	let_go(k);
	err = attach(s, k);
	metric_inc(&stats.taken_over);
	log_notice("stream %s was taken over: subscription %llu ends, %llu has it", k->id_text,
	    (unsigned long long)older->number, (unsigned long long)s->number);
	api_stream_event(s->all->engine, "stream_taken_over", k->id_text, k->row.tenant_id, "target");
	if (TAILQ_EMPTY(&older->sinks))
		call_done(
		    older->call, CODE_ABORTED, "stream %s was taken over by a newer subscriber", k->id_text);
	return err;
}

int
subscriber_attach_all(struct subscriber *s)
{
	struct sink *k, *next;
	char why[ACL_WHY_SIZE];
	int err = 0;

	HASH_ITER (hh, s->all->engine->sinks, k, next) {
		if (err != 0 || k->target->state == TARGET_OPENING || k->removed ||
		    !subscriber_selects(s, k) || !subscriber_may_have(s, k, why))
			continue;
		if (k->subscriber == NULL)
			err = attach(s, k);
		else if (s->selector.take_over)
			err = take_over(s, k);
		else
			left_out(s, k);
	}
	return err;
}

bool
subscriber_refused(struct client *c, uint32_t id, const struct sink *k)
{
	const struct subscriber *s = k->subscriber;
	char since[32] = "";
	time_t seconds;
	struct tm tm;

	if (s == NULL)
		return false;
	seconds = (time_t)(s->since_unix_ms / 1000);
	if (gmtime_r(&seconds, &tm) != NULL)
		strftime(since, sizeof(since), "%Y-%m-%dT%H:%M:%SZ", &tm);
	metric_inc(&stats.subscriptions_refused);
	call_refuse(c, id, CODE_ALREADY_EXISTS,
	    "stream %s has a subscriber at this node since %s (subscription %llu); "
	    "take_over takes its place",
	    k->id_text, since, (unsigned long long)s->number);
	return true;
}

bool
subscriber_unwanted(struct client *c, uint32_t id, const struct sink *k)
{
	if (k->row.policy.handler == POLICY_SUBSCRIBER)
		return false;
	call_refuse(c, id, CODE_FAILED_PRECONDITION, HANDLED_TEXT, k->id_text);
	return true;
}

/* --- streams come and go --- */

/* The first that asked for it, or the last that takes streams over. */
static struct subscriber *
wanting(const struct subscribers *all, const struct sink *k)
{
	struct subscriber *s, *found = NULL;
	char why[ACL_WHY_SIZE];

	TAILQ_FOREACH (s, &all->all, entry) {
		if (subscriber_selects(s, k) && subscriber_may_have(s, k, why) &&
		    (found == NULL || s->selector.take_over))
			found = s;
	}
	return found;
}

/* Another one that asked for this very stream. */
static struct subscriber *
other(const struct subscribers *all, const struct sink *k)
{
	struct subscriber *s;

	TAILQ_FOREACH (s, &all->all, entry) {
		if (s != k->subscriber && subscriber_selects(s, k) && names(s, k->id_text))
			return s;
	}
	return NULL;
}

/* They are not left waiting for what they can't have. */
static void
refuse_others(const struct subscribers *all, const struct sink *k)
{
	struct subscriber *s;

	while ((s = other(all, k)) != NULL) {
		metric_inc(&stats.subscriptions_refused);
		call_done(s->call, CODE_ALREADY_EXISTS,
		    "stream %s has another subscriber at this node (subscription %llu)", k->id_text,
		    (unsigned long long)k->subscription);
	}
}

/* A stream without a subscriber goes to one that wants it. */
static void
offer(const struct subscribers *all, struct sink *k)
{
	struct subscriber *s = wanting(all, k);

	if (s != NULL && attach(s, k) != 0)
		call_done(s->call, CODE_RESOURCE_EXHAUSTED, "no memory for stream %s", k->id_text);
}

/* The stream that they waited for is not for them. */
static void
refuse_all(const struct subscribers *all, const struct sink *k)
{
	struct subscriber *s = TAILQ_FIRST(&all->all);

	while (s != NULL) {
		if (names(s, k->id_text) && strcmp(s->selector.tenant_id, k->row.tenant_id) == 0) {
			call_done(s->call, CODE_FAILED_PRECONDITION, HANDLED_TEXT, k->id_text);
			s = TAILQ_FIRST(&all->all);
		} else {
			s = TAILQ_NEXT(s, entry);
		}
	}
}

void
subscriber_stream_opened(struct engine *e, struct sink *k)
{
	const struct subscribers *all = &e->api->subscribers;

	if (k->row.policy.handler != POLICY_SUBSCRIBER) {
		refuse_all(all, k);
		return;
	}
	offer(all, k);
	if (k->subscriber != NULL)
		refuse_others(all, k);
}

/* A subscription to certain streams ends with the last of them; one that follows a tenant stays. */
static bool
end_one(struct subscriber *s, struct sink *k)
{
	bool last = s->selector.stream_ids_count > 0 && TAILQ_FIRST(&s->sinks) == k &&
		    TAILQ_NEXT(k, subscribed) == NULL && ++s->closed_count >= s->selector.stream_ids_count;

	subscriber_detach(k);
	return last;
}

void
subscriber_stream_removed(struct subscriber *s, struct sink *k)
{
	if (end_one(s, k))
		call_done(s->call, CODE_FAILED_PRECONDITION,
		    "this node is no target of stream %s any more: it was removed from its targets",
		    k->id_text);
}

void
subscriber_stream_closed(struct subscriber *s, struct sink *k)
{
	if (end_one(s, k))
		call_done(s->call, CODE_OK, "stream %s was closed by its source", k->id_text);
}

void
subscriber_detach_all(struct subscriber *s)
{
	struct sink *k;

	while ((k = TAILQ_FIRST(&s->sinks)) != NULL) {
		let_go(k);
		offer(s->all, k);
	}
}
