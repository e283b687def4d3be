#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/num.h"
#include "common/base/tree.h"
#include "routerd/core/swim_impl.h"
#include "routerd/core/swim_meta.h"

static const char *const state_names[SWIM_STATE_COUNT] = {
    [SWIM_STATE_ALIVE] = "alive",
    [SWIM_STATE_SUSPECT] = "suspect",
    [SWIM_STATE_DEAD] = "dead",
    [SWIM_STATE_LEFT] = "left",
};

const char *
swim_state_name(enum swim_state state)
{
	return state < SWIM_STATE_COUNT ? state_names[state] : "?";
}

/* --- transitions --- */

void
swim_state_set(struct swim *s, struct swim_member *m, enum swim_state state, struct mono now)
{
	swim_members_set_state(&s->members, m, (uint8_t)state, NULL, now);
}

void
swim_state_revive(struct swim *s, struct swim_member *m, struct mono now)
{
	enum swim_state before = m->state;

	m->by_links = m->goodbye = false;
	swim_member_heard(m, now);
	swim_probe_cancel(s, m->node);
	if (before == SWIM_STATE_ALIVE)
		return;
	/* Without links it can't be; it is back when it has some. */
	if (m->linked == SWIM_LINK_NONE) {
		m->by_links = true;
		return;
	}
	swim_state_set(s, m, SWIM_STATE_ALIVE, now);
	if (before == SWIM_STATE_SUSPECT) {
		s->counters.refuted++;
		swim_tell(s, SWIM_EVENT_ALIVE, m->node);
	} else {
		swim_tell(s, SWIM_EVENT_JOIN, m->node);
	}
}

/* Suspicion times of Lifeguard, section IV.B, as memberlist computes them. */
static struct swim_suspicion *
suspicion_new(struct swim *s, uint64_t from, struct mono now)
{
	struct swim_suspicion *sus;
	size_t n = s->members.count;
	uint64_t scale = max_u64(1000, swim_log10_permille(n));
	int64_t least = s->conf.suspicion_mult * s->conf.probe_interval_us / 1000 * (int64_t)scale;
	unsigned wanted = s->conf.suspicion_mult > 2 ? s->conf.suspicion_mult - 2u : 0;

	/* Without enough others there is nobody to agree. */
	if (n < wanted + 2)
		wanted = 0;
	if ((sus = mem_calloc(1, sizeof(*sus))) != NULL)
		swim_suspicion_init(sus, from, wanted, least, least * s->conf.suspicion_max_mult, now);
	else
		s->counters.memory_out++; /* the next failed probe tries again */
	return sus;
}

void
swim_state_begin(struct swim *s, struct swim_member *m, uint64_t from, struct mono now)
{
	struct swim_suspicion *sus = suspicion_new(s, from, now);

	if (sus == NULL)
		return;
	swim_members_set_state(&s->members, m, SWIM_STATE_SUSPECT, sus, now);
	m->by_links = from == 0;
	s->counters.suspected++;
	if (from != 0)
		swim_spread(s, m, SWIM_SUSPECT, from);
	swim_tell(s, SWIM_EVENT_SUSPECT, m->node);
}

static void
suspected(struct swim *s, struct swim_member *m, uint64_t from, struct mono now)
{
	if (m->state == SWIM_STATE_ALIVE) {
		swim_state_begin(s, m, from, now);
	} else if (m->state == SWIM_STATE_SUSPECT) {
		bool first = m->by_links;

		m->by_links = false;
		if (swim_suspicion_add(m->u.suspicion, from) || first)
			swim_spread(s, m, SWIM_SUSPECT, from);
	}
}

void
swim_state_suspect(struct swim *s, struct swim_member *m, struct mono now)
{
	suspected(s, m, s->self->node, now);
}

void
swim_state_end(struct swim *s, struct swim_member *m, uint64_t from, struct mono now)
{
	bool left = m->goodbye;

	m->by_links = m->linked == SWIM_LINK_NONE && !left;
	if (m->by_links) {
		swim_broadcasts_drop(&s->broadcasts, SWIM_TOPIC_STATE, m->node);
		s->counters.unlinked++;
	} else if (!left) {
		swim_spread(s, m, SWIM_CONFIRM, from);
	}
	if (!left)
		s->counters.confirmed++;
	swim_state_set(s, m, left ? SWIM_STATE_LEFT : SWIM_STATE_DEAD, now);
	swim_tell(s, left ? SWIM_EVENT_LEFT : SWIM_EVENT_DEAD, m->node);
}

/* --- is a statement plausible? --- */

static bool
jumps(uint64_t known, uint64_t said)
{
	return said > known && said - known > SWIM_JUMP_MAX;
}

/* Within one start, refutations count up in small steps; another start is told by the signed LSA, if
 * there are LSAs. */
static bool
plausible(struct swim *s, const struct swim_member *m, uint64_t known, uint64_t said)
{
	uint64_t start = SWIM_START(said);
	bool ok = start == SWIM_START(known)  ? !jumps(known, said)
		  : start > SWIM_START(known) ? !m->listed && m != s->self && !jumps(start << 32, said)
					      : true;

	if (!ok)
		s->counters.implausible++;
	return ok;
}

/* --- about this node --- */

/* Somebody takes this node for suspect, dead or gone at this incarnation. */
static void
refute(struct swim *s, uint64_t incarnation)
{
	struct swim_member *self = s->self;

	if (s->leaving)
		return;
	if (incarnation >= self->incarnation) {
		/* Without LSAs to tell, a later start may have been of this node, too: before it lost
		 * what it had stored. */
		if (s->conf.listed ? !plausible(s, self, self->incarnation, incarnation)
				   : incarnation == UINT64_MAX)
			return;
		self->incarnation = incarnation + 1;
		s->counters.refutations++;
		swim_health(s, 1);
		swim_tell(s, SWIM_EVENT_REFUTED, self->node);
	} else if (swim_broadcasts_have(&s->broadcasts, SWIM_TOPIC_STATE, self->node)) {
		return; /* the refutation of that is on its way */
	}
	swim_spread(s, self, SWIM_ALIVE, 0);
}

static void
about_self(struct swim *s, const struct swim_msg *m)
{
	if (m->kind == SWIM_META) {
		/* Of this life it can only be ours, or forged; ours has to be above it. */
		uint64_t ours = swim_member_meta_version(s->self);

		if (m->version <= ours || ours == 0 || !plausible(s, s->self, ours, m->version))
			return;
		if (swim_meta_body_set_version(&s->self->meta, m->version + 1) == 0)
			swim_spread_meta(s, s->self);
		else
			s->counters.memory_out++; /* the next push/pull brings it up again */
		return;
	}
	if (m->kind == SWIM_SUSPECT || m->kind == SWIM_CONFIRM || m->kind == SWIM_LEAVE)
		refute(s, m->incarnation);
	else if (m->incarnation > s->self->incarnation)
		refute(s, m->incarnation);
}

/* --- statements --- */

/* A dead or left one makes room. */
static void
evict(struct swim *s)
{
	const struct swim_members *t = &s->members;
	struct swim_member *m, *oldest = NULL;

	for (m = swim_members_nth(t, t->ended); m != NULL; m = swim_members_nth(t, m->after))
		if (!m->listed && (oldest == NULL || mono_before(m->u.since, oldest->u.since)))
			oldest = m;
	if (oldest != NULL)
		swim_members_del(&s->members, &s->broadcasts, oldest);
}

int
swim_state_place(
    struct swim *s, uint64_t node, uint64_t incarnation, struct mono now, struct swim_member **out)
{
	int err;

	if (s->members.count >= s->members.max)
		evict(s);
	if ((err = swim_members_add(&s->members, node, &s->rng, now, out)) != 0) {
		if (err == ERR_FULL)
			s->counters.members_refused++;
		else
			s->counters.memory_out++;
		return err;
	}
	(*out)->incarnation = incarnation;
	return 0;
}

int
swim_state_add(struct swim *s, uint64_t node, uint64_t incarnation, struct mono now, struct swim_member **out)
{
	int err = swim_state_place(s, node, incarnation, now, out);

	if (err == 0)
		swim_tell(s, SWIM_EVENT_JOIN, node);
	return err;
}

static void
on_alive(struct swim *s, const struct swim_msg *msg, struct swim_member *m, struct mono now)
{
	if (m == NULL) {
		if (!s->conf.listed && swim_state_add(s, msg->node, msg->incarnation, now, &m) == 0)
			swim_spread(s, m, (enum swim_kind)msg->kind, 0);
		return;
	}
	if (msg->incarnation <= m->incarnation)
		return;
	m->incarnation = msg->incarnation;
	swim_state_revive(s, m, now);
	swim_spread(s, m, (enum swim_kind)msg->kind, 0);
}

static void
on_suspect(struct swim *s, const struct swim_msg *msg, struct swim_member *m, struct mono now)
{
	if (msg->incarnation < m->incarnation)
		return;
	/* Then it was alive after it was dead. */
	if (msg->incarnation > m->incarnation && m->state > SWIM_STATE_SUSPECT)
		swim_state_revive(s, m, now);
	m->incarnation = msg->incarnation;
	suspected(s, m, msg->from, now);
}

/* Others found it dead.  While the link-state database has it, that is no more than a suspicion, unless
 * this node has suspected it for long itself. */
static void
on_confirm(struct swim *s, const struct swim_msg *msg, struct swim_member *m, struct mono now)
{
	const struct swim_suspicion *sus = swim_member_suspicion(m);

	if (msg->incarnation < m->incarnation)
		return;
	if (m->linked == SWIM_LINK_SOME &&
	    (sus == NULL || mono_before(now, mono_add_us(sus->started, sus->max_us)))) {
		on_suspect(s, msg, m, now);
		return;
	}
	m->incarnation = msg->incarnation;
	if (m->state <= SWIM_STATE_SUSPECT)
		swim_state_end(s, m, msg->from, now);
}

static void
on_leave(struct swim *s, const struct swim_msg *msg, struct swim_member *m, struct mono now)
{
	if (msg->incarnation < m->incarnation || m->goodbye || m->state == SWIM_STATE_LEFT)
		return;
	m->incarnation = msg->incarnation;
	m->goodbye = true;
	swim_spread(s, m, SWIM_LEAVE, 0);
	if (m->linked != SWIM_LINK_SOME)
		swim_state_end(s, m, 0, now);
}

static void
on_meta(struct swim *s, const struct swim_msg *msg, struct swim_member *m)
{
	struct swim_meta_body *before = m->meta, *body;
	bool news = before == NULL || !swim_meta_same(before->data, before->len, msg->data, msg->data_len);

	if (msg->version <= swim_member_meta_version(m) || !plausible(s, m, m->incarnation, msg->version))
		return;
	if ((body = swim_meta_body_new(msg->version, msg->data, msg->data_len)) == NULL) {
		s->counters.memory_out++;
		return;
	}
	swim_meta_body_unref(before);
	m->meta = body;
	if (news)
		swim_spread_meta(s, m);
	swim_tell(s, SWIM_EVENT_META, m->node);
}

void
swim_state_apply(struct swim *s, const struct swim_msg *msg, struct mono now)
{
	struct swim_member *m = swim_members_get(&s->members, msg->node);

	if (m == s->self) {
		about_self(s, msg);
		return;
	}
	if (m == NULL && msg->kind != SWIM_JOIN && msg->kind != SWIM_ALIVE)
		return;
	if (m != NULL && msg->kind != SWIM_META && !plausible(s, m, m->incarnation, msg->incarnation))
		return;
	switch (msg->kind) {
	case SWIM_JOIN:
	case SWIM_ALIVE:
		on_alive(s, msg, m, now);
		break;
	case SWIM_SUSPECT:
		on_suspect(s, msg, m, now);
		break;
	case SWIM_CONFIRM:
		on_confirm(s, msg, m, now);
		break;
	case SWIM_LEAVE:
		on_leave(s, msg, m, now);
		break;
	default:
		on_meta(s, msg, m);
		break;
	}
}

void
swim_state_message(const struct swim *s, const struct swim_member *m, struct swim_msg *out)
{
	static const uint8_t kinds[SWIM_STATE_COUNT] = {SWIM_ALIVE, SWIM_SUSPECT, SWIM_CONFIRM, SWIM_LEAVE};

	*out = (struct swim_msg){
	    .kind = kinds[swim_member_told_state(m)],
	    .node = m->node,
	    .incarnation = m->incarnation,
	    .from = s->self->node,
	};
}

void
swim_state_meta_message(const struct swim_member *m, struct swim_msg *out)
{
	*out = (struct swim_msg){
	    .kind = SWIM_META,
	    .node = m->node,
	    .version = m->meta->version,
	    .data = m->meta->data,
	    .data_len = m->meta->len,
	};
}

/* --- time --- */

/* When a suspect is dead. */
static struct mono
suspect_end(const struct swim *s, const struct swim_member *m)
{
	const struct swim_suspicion *sus = m->u.suspicion;
	struct mono at = swim_suspicion_end(sus);

	if (m->linked == SWIM_LINK_NONE)
		return mono_min(at, mono_add_us(sus->unlinked_at, s->conf.unlinked_us));
	if (m->linked == SWIM_LINK_UNKNOWN)
		return at;
	/* Somebody has a link with it.  Is it only slow?  Then something comes from it now and then. */
	at = mono_before(sus->started, sus->heard_at) ? sus->heard_at : sus->started;
	return mono_add_us(at, s->conf.linked_mult * sus->max_us);
}

void
swim_state_step(struct swim *s, struct mono now)
{
	struct swim_members *t = &s->members;
	struct swim_member *m, *next;

	for (m = swim_members_nth(t, t->suspects); m != NULL && s->sight == SWIM_SIGHT_CLEAR; m = next) {
		next = swim_members_nth(t, m->after);
		if (!mono_before(now, suspect_end(s, m)))
			swim_state_end(s, m, s->self->node, now);
	}
	for (m = swim_members_nth(t, t->ended); m != NULL; m = next) {
		next = swim_members_nth(t, m->after);
		if (!m->listed && !mono_before(now, mono_add_us(m->u.since, s->conf.dead_keep_us)))
			swim_members_del(t, &s->broadcasts, m);
	}
}

struct mono
swim_state_next(const struct swim *s)
{
	const struct swim_members *t = &s->members;
	struct mono next = MONO_NEVER;
	const struct swim_member *m;

	if (s->sight == SWIM_SIGHT_CLEAR)
		for (m = swim_members_nth(t, t->suspects); m != NULL; m = swim_members_nth(t, m->after))
			next = mono_min(next, suspect_end(s, m));
	for (m = swim_members_nth(t, t->ended); m != NULL; m = swim_members_nth(t, m->after))
		if (!m->listed)
			next = mono_min(next, mono_add_us(m->u.since, s->conf.dead_keep_us));
	return next;
}

void
swim_state_shift(struct swim *s, int64_t us)
{
	const struct swim_members *t = &s->members;
	const struct swim_member *m;

	for (m = swim_members_nth(t, t->suspects); m != NULL; m = swim_members_nth(t, m->after)) {
		struct swim_suspicion *sus = m->u.suspicion;

		sus->started = mono_add_us(sus->started, us);
		sus->unlinked_at = mono_add_us(sus->unlinked_at, us);
	}
}
