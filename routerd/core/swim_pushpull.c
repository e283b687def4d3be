/*
 * Push/pull: two members compare what they hold.
 *
 * One says how many members it has and a sum over all that it knows of them; the other, if its own
 * differs, answers with digests of ranges of node ids; the first sends what it has newer, and its own
 * digest of the range if it lacks something, which the second answers likewise.  So the tables meet in
 * three messages, and equal tables cost one.
 */
#include "common/base/err.h"
#include "routerd/core/swim_impl.h"

enum { BEHIND_MIN = 8 /* members that this node knew less of than another: it asks the next one soon */ };

static void
talk_begin(struct swim *s, uint64_t node, struct mono now)
{
	s->talks[s->talk_next] = (struct swim_talk){node, mono_add_us(now, SWIM_TALK_US)};
	s->talk_next = (s->talk_next + 1) % SWIM_TALKS_MAX;
}

static bool
talking(const struct swim *s, uint64_t node, struct mono now)
{
	for (size_t i = 0; i < SWIM_TALKS_MAX; i++)
		if (s->talks[i].node == node && mono_before(now, s->talks[i].until))
			return true;
	return false;
}

static void
ask(struct swim *s, uint64_t to, struct mono now)
{
	const struct swim_msg join = {
	    .kind = SWIM_JOIN, .node = s->self->node, .incarnation = s->self->incarnation};
	const struct swim_msg m = {
	    .kind = SWIM_PUSH_PULL,
	    .clock = s->users.clock,
	    .count = (uint32_t)s->members.count,
	    .sum = swim_members_sum(&s->members),
	    .event_sum = swim_user_sum(s),
	};

	s->counters.syncs++;
	talk_begin(s, to, now);
	swim_send_open(s);
	swim_send_add(s, to, &join); /* it may not know this node */
	swim_send_add(s, to, &m);
	swim_send_close(s, to);
}

/* Tables of many members are dear to compare: above 32 members, with each doubling one interval more, as
 * memberlist has it. */
int64_t
swim_pushpull_wait(struct swim *s)
{
	int64_t times = 1;

	for (size_t n = 32; n < s->members.count; n *= 2)
		times++;
	return rng_jitter(&s->rng, times * s->conf.sync_interval_us, 20);
}

void
swim_pushpull_step(struct swim *s, struct mono now)
{
	struct swim_member *m;

	if (s->meet != 0 && !mono_before(now, s->meet_at)) {
		ask(s, s->meet, now);
		s->meet_at = mono_add_us(now, SWIM_SYNC_RETRY_US);
		if (++s->meet_tries == SWIM_MEET_TRIES)
			s->meet = 0;
	}
	if (mono_before(now, s->sync_at))
		return;
	s->sync_at = mono_add_us(now, swim_pushpull_wait(s));
	if (swim_members_random(&s->members, &s->rng, s->self, NULL, 1, &m) != 0)
		ask(s, m->node, now);
}

/* All that is held of nodes from first to last, or as many of them as fit: then *last is less. */
static void
put_digest(struct swim *s, uint64_t to, uint64_t first, uint64_t *last, uint8_t flags)
{
	uint8_t entries[SWIM_DIGEST_MAX * SWIM_DIGEST_ENTRY_BYTES];
	size_t i = swim_members_at(&s->members, first), n = 0;
	struct swim_msg msg = {.kind = SWIM_DIGEST, .flags = flags, .first = first, .entries = entries};

	for (; i < s->members.count && swim_members_sorted(&s->members, i)->node <= *last; i++) {
		const struct swim_member *m = swim_members_sorted(&s->members, i);
		const struct swim_digest_entry e = {
		    m->node, m->incarnation, swim_member_meta_version(m), swim_member_told_state(m)};

		if (n == SWIM_DIGEST_MAX) {
			*last = m->node - 1;
			break;
		}
		swim_digest_store(entries + n++ * SWIM_DIGEST_ENTRY_BYTES, &e);
	}
	msg.last = *last;
	msg.entry_count = (uint16_t)n;
	swim_send_add(s, to, &msg);
}

void
swim_pushpull_asked(struct swim *s, const struct swim_msg *m, uint64_t from, struct mono now)
{
	uint64_t first = 0, last;

	swim_user_witness(s, m->clock);
	if (m->sum == swim_members_sum(&s->members) && m->count == s->members.count &&
	    m->event_sum == swim_user_sum(s))
		return;
	if (!bucket_ready(&s->sync_rate, now)) {
		s->counters.syncs_limited++;
		return;
	}
	bucket_take(&s->sync_rate, now);
	talk_begin(s, from, now);
	swim_send_open(s);
	if (m->event_sum != swim_user_sum(s))
		swim_user_send_recent(s, from);
	for (unsigned n = 0; n < SWIM_SYNC_FRAMES; n++) {
		last = UINT64_MAX;
		put_digest(s, from, first, &last, 0);
		if (last == UINT64_MAX)
			break;
		first = last + 1;
	}
	swim_send_close(s, from);
}

/* Negative, 0, positive: the entry is older, the same, newer than what is held. */
static int
compare(const struct swim_digest_entry *e, const struct swim_member *m)
{
	uint8_t state = swim_member_told_state(m);

	if (e->incarnation != m->incarnation)
		return e->incarnation < m->incarnation ? -1 : 1;
	return e->state < state ? -1 : e->state > state;
}

struct compared {
	uint64_t to;
	unsigned behind; /* members that the other one knows more of */
	uint64_t sent;   /* payloads so far */
};

static void
send_member(struct swim *s, struct compared *c, const struct swim_member *m, bool state, bool meta)
{
	struct swim_msg msg;

	if (s->counters.payloads_sent - c->sent >= SWIM_SYNC_FRAMES)
		return; /* the next push/pull goes on */
	if (state) {
		swim_state_message(s, m, &msg);
		/* It may refute before it is taken for dead by one more. */
		if (msg.kind == SWIM_CONFIRM)
			msg.kind = SWIM_SUSPECT;
		swim_send_add(s, c->to, &msg);
	}
	if (meta && m->meta != NULL) {
		swim_state_meta_message(m, &msg);
		swim_send_add(s, c->to, &msg);
	}
}

/* The other one does not have it; what is gone it need not learn of. */
static void
only_here(struct swim *s, struct compared *c, const struct swim_member *m)
{
	struct swim_msg msg = {.kind = SWIM_ALIVE, .node = m->node, .incarnation = m->incarnation};

	if (swim_member_told_state(m) > SWIM_STATE_SUSPECT ||
	    s->counters.payloads_sent - c->sent >= SWIM_SYNC_FRAMES)
		return;
	swim_send_add(s, c->to, &msg); /* makes it known, if it is suspect here, too */
	send_member(s, c, m, swim_member_told_state(m) == SWIM_STATE_SUSPECT, true);
}

static void
both(struct swim *s, struct compared *c, const struct swim_digest_entry *e, const struct swim_member *m)
{
	uint64_t meta_version = swim_member_meta_version(m);
	int order = compare(e, m);

	if (order < 0 || e->meta_version < meta_version)
		send_member(s, c, m, order < 0, e->meta_version < meta_version);
	if (order > 0 || e->meta_version > meta_version)
		c->behind++;
}

static void
walk(struct swim *s, struct compared *c, const struct swim_msg *msg)
{
	size_t i = swim_members_at(&s->members, msg->first);
	struct swim_digest_entry e;

	for (size_t k = 0; k < msg->entry_count; k++) {
		swim_digest_load(msg, k, &e);
		while (i < s->members.count && swim_members_sorted(&s->members, i)->node < e.node)
			only_here(s, c, swim_members_sorted(&s->members, i++));
		if (i < s->members.count && swim_members_sorted(&s->members, i)->node == e.node)
			both(s, c, &e, swim_members_sorted(&s->members, i++));
		else if (e.state <= SWIM_STATE_SUSPECT && !s->conf.listed)
			c->behind++;
	}
	while (i < s->members.count && swim_members_sorted(&s->members, i)->node <= msg->last)
		only_here(s, c, swim_members_sorted(&s->members, i++));
}

void
swim_pushpull_digest(struct swim *s, const struct swim_msg *m, uint64_t from, struct mono now)
{
	struct compared c = {.to = from, .sent = s->counters.payloads_sent};
	uint64_t last = m->last;

	/* A digest can ask for all that there is: not whoever likes to. */
	if (!talking(s, from, now)) {
		s->counters.syncs_limited++;
		return;
	}
	if (from == s->meet)
		s->meet = 0;
	swim_send_open(s);
	walk(s, &c, m);
	if (c.behind != 0 && (m->flags & SWIM_DIGEST_REPLY) == 0)
		put_digest(s, from, m->first, &last, SWIM_DIGEST_REPLY);
	swim_send_close(s, from);
	if (c.behind >= BEHIND_MIN)
		s->sync_at = mono_min(s->sync_at, mono_add_us(now, SWIM_SYNC_RETRY_US));
}
