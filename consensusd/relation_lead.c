/* relation: members, leadership, and groups that are of no use any more; see relation.h. */
#include <string.h>

#include "common/base/err.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "consensusd/core/node_list.h"
#include "consensusd/relation_impl.h"
#include "consensusd/sink_impl.h"
#include "consensusd/source_impl.h"
#include "consensusd/stats.h"

enum { CAUGHT_UP_ENTRIES = 100, MEMBERS_MAX = 2 * STORE_TARGETS_MAX + 2 };

/* Members as they are and as they are to be. */
struct roster {
	struct raft_member member[MEMBERS_MAX];
	struct raft_member_status now[MEMBERS_MAX]; /* of those that are there */
	bool lost[MEMBERS_MAX];                     /* the node has another replica */
	size_t count, voters, lost_voters;
	bool changed;
};

void
relation_duty_soon(struct relation *r)
{
	if (r->owner->ready)
		engine_at(r->owner->engine, &r->duty, clock_mono());
}

void
relation_used(struct relation *r)
{
	bool used = !TAILQ_EMPTY(&r->sources) || !TAILQ_EMPTY(&r->sinks) || r->expected > 0;

	r->unused_since = used ? MONO_NEVER : clock_mono();
	relation_duty_soon(r);
}

static uint64_t
heard_of(const struct relation *r, uint64_t node)
{
	for (size_t i = 0; i < r->heard_count; i++)
		if (r->heard[i].node == node)
			return r->heard[i].replica;
	return 0;
}

static bool
belongs(const struct relation *r, uint64_t node)
{
	return node == r->owner->engine->self || node_list_has(r->targets, r->target_count, node);
}

void
relation_heard(struct source *s, uint64_t node, uint64_t replica)
{
	struct relation *r = s->relation.relation;
	size_t i = 0;

	/* One that is about to be a target may still speak of when it was one before. */
	if (r == NULL || replica == 0 || node == s->engine->self || !belongs(r, node))
		return;
	while (i < r->heard_count && r->heard[i].node != node)
		i++;
	if (i == STORE_TARGETS_MAX || (i < r->heard_count && r->heard[i].replica == replica))
		return;
	r->heard[i] = (struct relation_member){node, replica};
	if (i == r->heard_count)
		r->heard_count++;
	relation_duty_soon(r);
}

void
relations_evicted(struct relations *rs, uint64_t node)
{
	struct relation *r, *next;
	size_t kept;

	HASH_ITER (hh, rs->all, r, next) {
		kept = node_list_drop(r->targets, r->target_count, node);
		if (!r->mine || kept == r->target_count)
			continue;
		r->target_count = kept;
		relation_index(r);
		kept = 0;
		for (size_t i = 0; i < r->heard_count; i++)
			if (r->heard[i].node != node)
				r->heard[kept++] = r->heard[i];
		r->heard_count = kept;
		relation_duty_soon(r);
	}
}

/* --- members --- */

static void
roster_fill(const struct relation *r, struct roster *t)
{
	struct raft_member_status s;

	*t = (struct roster){0};
	for (size_t i = 0; t->count < MEMBERS_MAX && group_member_at(r->group, i, &s); i++) {
		uint64_t known = heard_of(r, s.member.node);
		bool lost = (known != 0 && known != s.member.id) || !belongs(r, s.member.node),
		     votes = s.member.role != RAFT_LEARNER;

		t->voters += votes;
		t->lost_voters += votes && lost;
		t->now[t->count] = s;
		t->lost[t->count] = lost;
		t->member[t->count++] = s.member;
	}
}

static bool
roster_has(const struct roster *t, uint64_t replica)
{
	for (size_t i = 0; i < t->count; i++)
		if (t->member[i].id == replica)
			return true;
	return false;
}

/* Replicas that nobody has any more go, new ones come as learners. */
static void
roster_renew(const struct relation *r, struct roster *t)
{
	size_t kept = 0;

	for (size_t i = 0; i < t->count; i++) {
		if (t->lost[i]) {
			t->changed = true;
			continue;
		}
		t->member[kept] = t->member[i];
		t->now[kept++] = t->now[i];
	}
	t->count = kept;
	for (size_t i = 0; i < r->heard_count && t->count < MEMBERS_MAX; i++) {
		if (roster_has(t, r->heard[i].replica))
			continue;
		t->now[t->count] = (struct raft_member_status){0};
		t->member[t->count++] = (struct raft_member){
		    .id = r->heard[i].replica, .node = r->heard[i].node, .role = RAFT_LEARNER};
		t->changed = true;
	}
}

/* A learner that has the log and is there. */
static bool
may_vote(const struct relation *r, const struct raft_member_status *s)
{
	return s->member.role == RAFT_LEARNER && !s->snapshot &&
	       s->match + CAUGHT_UP_ENTRIES >= r->now.last && s->match != 0 &&
	       group_member_answers(r->group, s);
}

/* An odd number, so that the loss of as many as can be borne.  Of two it is the source alone: a second vote
 * would only mean that nothing is committed while one of them is away. */
static size_t
voters_wanted(size_t members)
{
	if (members < 3)
		return 1;
	return members >= RELATION_VOTERS ? RELATION_VOTERS : 3;
}

static size_t
members_wanted(const struct relation *r)
{
	size_t n = 1;

	for (size_t i = 0; i < r->target_count; i++)
		n += r->targets[i] != r->owner->engine->self;
	return n;
}

/* A voter that is not there for long: the group can do with another one. */
static size_t
gone_voter(struct relation *r, const struct roster *t)
{
	struct mono now = clock_mono();

	for (size_t i = 0; i < t->count; i++) {
		if (t->member[i].role == RAFT_LEARNER || group_member_answers(r->group, &t->now[i]))
			continue;
		if (mono_is_never(r->gone_since))
			r->gone_since = now;
		return mono_diff_us(now, r->gone_since) >= RELATION_GONE_MS * 1000LL ? i : t->count;
	}
	r->gone_since = MONO_NEVER;
	return t->count;
}

/* There were more members once: one that is not this one has its vote taken. */
static void
roster_unvote(const struct relation *r, struct roster *t)
{
	size_t i = 0;

	while (i < t->count && (t->member[i].role == RAFT_LEARNER || t->member[i].id == r->now.id))
		i++;
	if (i == t->count)
		return;
	t->member[i].role = RAFT_LEARNER;
	t->changed = true;
}

/* One step towards the voters that there should be. */
static void
roster_vote(struct relation *r, struct roster *t)
{
	size_t voters = 0, ready = t->count, gone = gone_voter(r, t), wanted = voters_wanted(t->count);

	for (size_t i = 0; i < t->count; i++) {
		voters += t->member[i].role != RAFT_LEARNER;
		if (ready == t->count && may_vote(r, &t->now[i]))
			ready = i;
	}
	if (voters > wanted && gone == t->count)
		roster_unvote(r, t);
	if (ready == t->count)
		return;
	if (voters < wanted || (gone < t->count && t->count > wanted)) {
		t->member[ready].role = RAFT_VOTER;
		t->changed = true;
	}
	if (voters >= wanted && gone < t->count) {
		t->member[gone].role = RAFT_LEARNER;
		r->gone_since = MONO_NEVER;
	}
}

static void
change_to(struct relation *r, const struct roster *t)
{
	struct raft_config *to;
	int err = raft_config_new(t->member, t->count, &to);

	if (err == 0) {
		err = group_change(r->group, to);
		raft_config_free(to);
	}
	/* Not now: the next look tries again. */
	if (err != 0 && err != ERR_AGAIN && err != ERR_EXISTS)
		log_warn("group %s: its membership can't be changed: %s", r->text, err_text(err));
}

static void
see_to_members(struct relation *r)
{
	struct roster t;

	group_show(r->group, &r->now);
	if (r->now.joint)
		return;
	roster_fill(r, &t);
	roster_renew(r, &t);
	if (!t.changed)
		roster_vote(r, &t);
	if (t.changed)
		change_to(r, &t);
	r->settled = !t.changed && t.count >= members_wanted(r) && t.voters == voters_wanted(t.count);
}

/* Where all streams of the group are closed nothing keeps the replica, and nobody says when it goes. */
static bool
is_done(const struct relation *r, uint64_t node)
{
	const struct source *s;
	const struct flow *f;

	TAILQ_FOREACH (s, &r->sources, relation.entry) {
		f = stream_flow(s->stream, node);
		if (f == NULL || f->state != FLOW_CLOSED)
			return false;
	}
	return !TAILQ_EMPTY(&r->sources);
}

/* So many voters forgot what they had promised that those that are left can't decide anything; or they are
 * done, and nobody leads. */
static bool
is_undecidable(const struct relation *r)
{
	size_t left;
	struct roster t;

	roster_fill(r, &t);
	left = t.voters - t.lost_voters;
	for (size_t i = 0; i < t.count && r->now.leader == 0; i++)
		left -= t.member[i].role != RAFT_LEARNER && !t.lost[i] && is_done(r, t.member[i].node);
	return left < t.voters / 2 + 1;
}

/* --- leadership --- */

/* Another one leads while the source was away: it hands over when that is back. */
static void
see_to_leadership(struct relation *r)
{
	const struct sink *k = TAILQ_FIRST(&r->sinks);
	struct raft_member_status s;

	if (k == NULL || r->now.role != RAFT_LEADER || r->now.transfer != 0)
		return;
	for (size_t i = 0; group_member_at(r->group, i, &s); i++) {
		if (s.member.node != k->row.src_node || s.member.role == RAFT_LEARNER ||
		    !group_member_answers(r->group, &s))
			continue;
		if (group_transfer(r->group, s.member.id) == 0)
			log_debug("group %s: the source is to lead again", r->text);
	}
}

/* --- the end --- */

/* Other members are let go first, so that they don't elect each other.  True: there are none, or it is not
 * for this node to say. */
static bool
dissolve(struct relation *r)
{
	const struct raft_member *self = NULL;
	struct roster t;

	group_show(r->group, &r->now);
	roster_fill(r, &t);
	for (size_t i = 0; i < t.count; i++)
		if (t.member[i].id == r->now.id)
			self = &t.member[i];
	if (r->now.role != RAFT_LEADER || t.count <= 1 || self == NULL)
		return true;
	/* Whoever begins a stream now says again which replica it has. */
	r->heard_count = 0;
	if (!r->now.joint) {
		t.member[0] = *self;
		t.member[0].role = RAFT_VOTER;
		t.count = 1;
		change_to(r, &t);
	}
	return false;
}

static bool
is_over(struct relation *r)
{
	int64_t unused_us;

	if (mono_is_never(r->unused_since))
		return false;
	unused_us = mono_diff_us(clock_mono(), r->unused_since);
	if (!r->mine)
		return unused_us >= RELATION_UNUSED_TARGET_MS * 1000LL || r->now.gone;
	if (unused_us < RELATION_UNUSED_SOURCE_MS * 1000LL)
		return false;
	/* Members that were let go hear of it when they ask for votes; those that are away find out by
	 * themselves. */
	return r->group == NULL ||
	       (dissolve(r) && unused_us >= (RELATION_UNUSED_SOURCE_MS + RELATION_LETTING_GO_MS) * 1000LL) ||
	       unused_us >= 2 * RELATION_UNUSED_SOURCE_MS * 1000LL;
}

static void
end(struct relation *r)
{
	log_info("group %s of streams is not needed any more", r->text);
	if (r->group != NULL)
		group_drop(r->group);
	relation_free(r);
}

/* A replica of a target that was lost, or let go by mistake: a new one, and the source hears of it. */
static void
begin_again(struct relation *r)
{
	struct sink *k;

	if (r->group != NULL)
		group_drop(r->group);
	r->gone_since = MONO_NEVER;
	r->role = r->now = (struct raft_status){0};
	if (relation_begin(r, false) != 0)
		return;
	TAILQ_FOREACH (k, &r->sinks, relation.entry)
		if (k->target->state != TARGET_OPENING)
			sink_send_position(k, mesh_e2e_MsgType_MSG_OPENED);
}

/* --- all of it --- */

static void
see_to_source(struct relation *r)
{
	if (r->group == NULL || is_undecidable(r)) {
		log_warn(
		    "group %s: so many replicas were lost that it can't go on: its streams get another one",
		    r->text);
		relation_renew(r);
	}
	if (r->group != NULL && r->now.role == RAFT_LEADER) {
		relation_look(r);
		see_to_members(r);
		relation_propose(r);
	}
}

/* A replica that was begun from a snapshot of before it was a member is outside for a moment only. */
static bool
is_outside(struct relation *r)
{
	struct mono now = clock_mono();

	if (!r->now.gone)
		r->gone_since = MONO_NEVER;
	else if (mono_is_never(r->gone_since))
		r->gone_since = now;
	return r->now.gone && mono_diff_us(now, r->gone_since) >= RELATION_OUTSIDE_MS * 1000LL;
}

/* When to look again if nothing happens before that has it looked at. */
static int64_t
pause_ms(const struct relation *r)
{
	bool settled = r->group != NULL && !r->now.joint && mono_is_never(r->gone_since);

	if (!mono_is_never(r->unused_since) || !settled)
		return RELATION_DUTY_MS;
	if (r->mine)
		return r->ready && r->settled && buf_left(&r->proposal) == 0 ? RELATION_IDLE_MS
									     : RELATION_DUTY_MS;
	return r->now.role == RAFT_LEADER ? RELATION_DUTY_MS : RELATION_IDLE_MS;
}

void
relation_on_duty(void *arg)
{
	struct relation *r = arg;
	struct engine *e = r->owner->engine;

	if (r->group != NULL)
		group_show(r->group, &r->now);
	if (is_over(r)) {
		end(r);
		return;
	}
	if (r->mine)
		see_to_source(r);
	else if (!TAILQ_EMPTY(&r->sinks) && (r->group == NULL || is_outside(r)))
		begin_again(r);
	else if (r->group != NULL)
		see_to_leadership(r);
	engine_at(e, &r->duty, mono_add_ms(clock_mono(), pause_ms(r)));
}
