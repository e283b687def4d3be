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
	if (m->state != SWIM_STATE_ALIVE)
		LIST_REMOVE(m, ends);
	if (state != SWIM_STATE_SUSPECT) {
		mem_free(m->suspicion);
		m->suspicion = NULL;
	}
	m->state = (uint8_t)state;
	m->changed_at = now;
	if (state == SWIM_STATE_SUSPECT)
		LIST_INSERT_HEAD(&s->members.suspects, m, ends);
	else if (state != SWIM_STATE_ALIVE)
		LIST_INSERT_HEAD(&s->members.ended, m, ends);
}

void
swim_state_revive(struct swim *s, struct swim_member *m, struct mono now)
{
	enum swim_state before = m->state;

	m->by_links = m->goodbye = false;
	m->heard_at = m->seen_at = now;
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
static int
suspicion_new(struct swim *s, struct swim_member *m, uint64_t from, struct mono now)
{
	size_t n = s->members.count;
	uint64_t scale = max_u64(1000, swim_log10_permille(n));
	int64_t least = s->conf.suspicion_mult * s->conf.probe_interval_us / 1000 * (int64_t)scale;
	unsigned wanted = s->conf.suspicion_mult > 2 ? s->conf.suspicion_mult - 2u : 0;

	/* Without enough others there is nobody to agree. */
	if (n < wanted + 2)
		wanted = 0;
	if ((m->suspicion = mem_calloc(1, sizeof(*m->suspicion))) == NULL) {
		s->counters.memory_out++; /* the next failed probe tries again */
		return ERR_NOMEM;
	}
	swim_suspicion_init(m->suspicion, from, wanted, least, least * s->conf.suspicion_max_mult, now);
	return 0;
}

void
swim_state_begin(struct swim *s, struct swim_member *m, uint64_t from, struct mono now)
{
	if (suspicion_new(s, m, from, now) != 0)
		return;
	swim_state_set(s, m, SWIM_STATE_SUSPECT, now);
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
		if (swim_suspicion_add(m->suspicion, from) || first)
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
		swim_broadcasts_drop(&s->broadcasts, &m->said);
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
	} else if (self->said != NULL) {
		return; /* the refutation of that is on its way */
	}
	swim_spread(s, self, SWIM_ALIVE, 0);
}

static void
about_self(struct swim *s, const struct swim_msg *m)
{
	if (m->kind == SWIM_META) {
		/* Of this life it can only be ours, or forged; ours has to be above it. */
		if (m->version > s->self->meta_version && s->self->meta != NULL &&
		    plausible(s, s->self, s->self->meta_version, m->version)) {
			s->self->meta_version = m->version + 1;
			swim_spread_meta(s, s->self);
		}
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
	struct swim_member *m, *oldest = NULL;

	LIST_FOREACH (m, &s->members.ended, ends)
		if (!m->listed && (oldest == NULL || mono_before(m->changed_at, oldest->changed_at)))
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
	if (msg->incarnation < m->incarnation)
		return;
	if (m->linked == SWIM_LINK_SOME &&
	    (m->suspicion == NULL ||
		mono_before(now, mono_add_us(m->suspicion->started, m->suspicion->max_us)))) {
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
	bool news = m->meta == NULL || !swim_meta_same(m->meta, m->meta_len, msg->data, msg->data_len);
	uint8_t *copy;

	if (msg->version <= m->meta_version || !plausible(s, m, m->incarnation, msg->version))
		return;
	if ((copy = mem_dup(msg->data, msg->data_len)) == NULL) {
		s->counters.memory_out++;
		return;
	}
	mem_free(m->meta);
	m->meta = copy;
	m->meta_len = msg->data_len;
	m->meta_version = msg->version;
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
	    .version = m->meta_version,
	    .data = m->meta,
	    .data_len = m->meta_len,
	};
}

/* --- time --- */

/* When a suspect is dead. */
static struct mono
suspect_end(const struct swim *s, const struct swim_member *m)
{
	const struct swim_suspicion *sus = m->suspicion;
	struct mono at = swim_suspicion_end(sus);

	if (m->linked == SWIM_LINK_NONE)
		return mono_min(at, mono_add_us(m->unlinked_at, s->conf.unlinked_us));
	if (m->linked == SWIM_LINK_UNKNOWN)
		return at;
	/* Somebody has a link with it.  Is it only slow?  Then something comes from it now and then. */
	at = mono_before(sus->started, m->heard_at) ? m->heard_at : sus->started;
	return mono_add_us(at, s->conf.linked_mult * sus->max_us);
}

void
swim_state_step(struct swim *s, struct mono now)
{
	struct swim_member *m, *next;

	if (s->sight == SWIM_SIGHT_CLEAR)
		LIST_FOREACH_SAFE (m, &s->members.suspects, ends, next)
			if (!mono_before(now, suspect_end(s, m)))
				swim_state_end(s, m, s->self->node, now);
	LIST_FOREACH_SAFE (m, &s->members.ended, ends, next)
		if (!m->listed && !mono_before(now, mono_add_us(m->changed_at, s->conf.dead_keep_us)))
			swim_members_del(&s->members, &s->broadcasts, m);
}

struct mono
swim_state_next(const struct swim *s)
{
	struct mono next = MONO_NEVER;
	struct swim_member *m;

	if (s->sight == SWIM_SIGHT_CLEAR)
		LIST_FOREACH (m, &s->members.suspects, ends)
			next = mono_min(next, suspect_end(s, m));
	LIST_FOREACH (m, &s->members.ended, ends)
		if (!m->listed)
			next = mono_min(next, mono_add_us(m->changed_at, s->conf.dead_keep_us));
	return next;
}

void
swim_state_shift(struct swim *s, int64_t us)
{
	struct swim_member *m;

	LIST_FOREACH (m, &s->members.suspects, ends) {
		m->suspicion->started = mono_add_us(m->suspicion->started, us);
		m->unlinked_at = mono_add_us(m->unlinked_at, us);
	}
}
