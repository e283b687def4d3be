#include "routerd/core/swim.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "routerd/core/swim_impl.h"
#include "routerd/core/swim_meta.h"

enum { SYNC_BURST = 8, SYNC_ANSWER_US = 250 * 1000 };

static const char *const event_names[SWIM_EVENT_COUNT] = {
    [SWIM_EVENT_JOIN] = "join",
    [SWIM_EVENT_ALIVE] = "alive",
    [SWIM_EVENT_SUSPECT] = "suspect",
    [SWIM_EVENT_DEAD] = "dead",
    [SWIM_EVENT_LEFT] = "left",
    [SWIM_EVENT_META] = "meta",
    [SWIM_EVENT_REFUTED] = "refuted",
    [SWIM_EVENT_STALLED] = "stalled",
};

const char *
swim_event_name(enum swim_event ev)
{
	return ev < SWIM_EVENT_COUNT ? event_names[ev] : "?";
}

void
swim_conf_default(struct swim_conf *conf)
{
	*conf = (struct swim_conf){
	    .probe_interval_us = 1000 * 1000,
	    .probe_timeout_us = 500 * 1000,
	    .gossip_interval_us = 200 * 1000,
	    .sync_interval_us = 30 * 1000 * 1000,
	    .unlinked_us = 500 * 1000,
	    .dead_keep_us = 600LL * 1000 * 1000,
	    .indirect = 3,
	    .gossip_nodes = 3,
	    .suspicion_mult = 4,
	    .suspicion_max_mult = 6,
	    .linked_mult = 3,
	    .retransmit_mult = 4,
	    .members_max = 16384,
	};
}

struct swim *
swim_new(const struct swim_conf *conf, const struct swim_ops *ops, void *arg, uint64_t seed)
{
	struct swim *s = mem_calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->conf = *conf;
	s->ops = ops;
	s->arg = arg;
	s->due = MONO_NEVER;
	rng_seed(&s->rng, seed);
	swim_members_init(&s->members, conf->members_max);
	swim_broadcasts_init(&s->broadcasts, SWIM_BROADCASTS_MAX);
	return s;
}

void
swim_free(struct swim *s)
{
	if (s == NULL)
		return;
	swim_user_fini(s);
	swim_members_fini(&s->members, &s->broadcasts);
	swim_broadcasts_fini(&s->broadcasts);
	mem_free(s);
}

void
swim_configure(struct swim *s, const struct swim_conf *conf)
{
	size_t members_max = s->conf.members_max;
	bool listed = s->conf.listed;

	s->conf = *conf;
	s->conf.members_max = members_max;
	s->conf.listed = listed;
}

/* --- for the files that make it up --- */

void
swim_tell(struct swim *s, enum swim_event ev, uint64_t node)
{
	s->ops->event(s->arg, ev, node);
}

void
swim_health(struct swim *s, int delta)
{
	int health = (int)s->health + delta;

	s->health = (unsigned)(health < 0 ? 0 : health > SWIM_HEALTH_MAX ? SWIM_HEALTH_MAX : health);
}

int64_t
swim_scaled(const struct swim *s, int64_t us)
{
	return us * (int64_t)(s->health + 1);
}

/* Called with each event: a step that is late by much means that this process stood still.  Whom it
 * waited for may have answered in time; and others were not slow when it was. */
static void
notice_stall(struct swim *s, struct mono now)
{
	int64_t late = mono_is_never(s->due) ? 0 : mono_diff_us(now, s->due);

	if (late < SWIM_STALL_US)
		return;
	s->due = now;
	s->counters.stalls++;
	swim_health(s, 1);
	swim_probe_shift(s, late);
	swim_state_shift(s, late);
	swim_tell(s, SWIM_EVENT_STALLED, 0);
}

/* --- this node --- */

static int
first_identity(struct swim *s, uint64_t node, struct mono now)
{
	struct swim_member *self = swim_members_get(&s->members, node);
	int err;

	if (self == NULL && (err = swim_members_add(&s->members, node, &s->rng, now, &self)) != 0)
		return err;
	s->self = self;
	self->linked = SWIM_LINK_UNKNOWN;
	bucket_init(&s->sync_rate, SYNC_BURST, SYNC_ANSWER_US, now);
	swim_probe_start(s, now);
	s->gossip_at = now;
	s->sync_at = mono_add_us(now, swim_pushpull_wait(s));
	return 0;
}

int
swim_identity(struct swim *s, uint64_t node, uint64_t start, struct mono now)
{
	struct swim_member *self = s->self;
	int err;

	if (node == 0 || start > UINT32_MAX)
		return ERR_RANGE;
	if (self != NULL && self->node != node)
		return ERR_STATE;
	if (self == NULL && (err = first_identity(s, node, now)) != 0)
		return err;
	if (self != NULL && start <= SWIM_START(self->incarnation))
		return 0;
	if (s->self->incarnation < start << 32)
		s->self->incarnation = start << 32;
	if (s->self->meta != NULL &&
	    (err = swim_meta_body_set_version(&s->self->meta, s->self->incarnation + 1)) != 0)
		return err;
	s->leaving = false;
	swim_spread(s, s->self, SWIM_JOIN, 0);
	return 0;
}

int
swim_describe(struct swim *s, const struct swim_meta *meta, struct mono now)
{
	uint8_t mem[SWIM_META_MAX_BYTES];
	struct swim_member *self = s->self;
	struct swim_meta_body *before, *body;
	struct buf b;
	uint64_t version;
	bool news;
	int err;

	if (self == NULL)
		return ERR_STATE;
	buf_init_fixed(&b, mem, sizeof(mem));
	if ((err = swim_meta_encode(meta, &b)) != 0)
		return err;
	before = self->meta;
	if (before != NULL && before->len == buf_left(&b) && memcmp(before->data, mem, before->len) == 0)
		return 0;
	news = before == NULL || !swim_meta_same(before->data, before->len, mem, buf_left(&b));
	/* What is measured goes with push/pull, and not more often than that has brought it around. */
	if (!news && mono_before(now, mono_add_us(s->described_at, SWIM_MEASURED_US)))
		return 0;
	/* Not below the incarnation: metas of this life are above those of the last one. */
	version = before != NULL ? before->version : 0;
	if (SWIM_START(version) < SWIM_START(self->incarnation))
		version = SWIM_START(self->incarnation) << 32;
	if ((body = swim_meta_body_new(version + 1, mem, buf_left(&b))) == NULL)
		return ERR_NOMEM;
	s->described_at = now;
	swim_meta_body_unref(before);
	self->meta = body;
	if (news)
		swim_spread_meta(s, self);
	return 0;
}

void
swim_leave(struct swim *s, struct mono now)
{
	(void)now;
	if (s->self == NULL || s->leaving)
		return;
	s->leaving = true;
	swim_spread(s, s->self, SWIM_LEAVE, 0);
}

bool
swim_left(const struct swim *s)
{
	return s->leaving && !swim_broadcasts_have(&s->broadcasts, SWIM_TOPIC_STATE, s->self->node);
}

void
swim_join(struct swim *s, uint64_t node)
{
	if (s->self != NULL && node == s->self->node)
		return;
	s->meet = node;
	s->meet_tries = 0;
	s->meet_at = MONO_ZERO;
}

/* --- messages --- */

static void
message(struct swim *s, const struct swim_msg *m, uint64_t from, struct mono now)
{
	switch (m->kind) {
	case SWIM_PING:
	case SWIM_PING_REQ:
	case SWIM_ACK:
	case SWIM_NACK:
		swim_probe_message(s, m, from, now);
		break;
	case SWIM_USER_EVENT:
		swim_user_message(s, m);
		break;
	case SWIM_PUSH_PULL:
		swim_pushpull_asked(s, m, from, now);
		break;
	case SWIM_DIGEST:
		swim_pushpull_digest(s, m, from, now);
		break;
	default:
		swim_state_apply(s, m, now);
		break;
	}
}

/* With listed members, strangers are not listened to: they are not of this mesh, or not yet. */
static bool
heard(struct swim *s, uint64_t from, struct mono now)
{
	struct swim_member *m = swim_members_get(&s->members, from);

	if (m == NULL)
		return !s->conf.listed;
	swim_member_heard(m, now);
	if (m != s->self && swim_member_told_state(m) != SWIM_STATE_ALIVE)
		swim_send_buddy(s, m, now);
	return true;
}

void
swim_feed(struct swim *s, uint64_t from, const uint8_t *payload, size_t len, struct mono now)
{
	struct swim_msg m;
	struct buf in;
	int more;

	if (s->self == NULL || from == 0 || from == s->self->node)
		return;
	notice_stall(s, now);
	s->counters.payloads_received++;
	s->counters.bytes_received += len;
	if (!heard(s, from, now)) {
		s->counters.payloads_strange++;
		return;
	}
	buf_view(&in, payload, len);
	if ((more = swim_msg_open(&in)) == 0)
		while ((more = swim_msg_next(&in, &m)) > 0)
			message(s, &m, from, now);
	if (more < 0)
		s->counters.payloads_malformed++;
}

/* --- time --- */

void
swim_step(struct swim *s, struct mono now)
{
	if (s->self == NULL)
		return;
	notice_stall(s, now);
	if (!s->leaving) {
		swim_probe_step(s, now);
		if (s->sight != SWIM_SIGHT_NONE)
			swim_pushpull_step(s, now);
	}
	swim_state_step(s, now); /* a probe that failed may end a suspicion */
	swim_user_step(s);
	if (s->sight != SWIM_SIGHT_NONE)
		swim_send_gossip(s, now);
	s->due = swim_next(s);
}

struct mono
swim_next(struct swim *s)
{
	struct mono next;

	if (s->self == NULL)
		return MONO_NEVER;
	if (swim_user_waiting(s))
		return MONO_ZERO;
	next = swim_state_next(s);
	if (s->sight != SWIM_SIGHT_NONE)
		next = mono_min(next, swim_send_next(s));
	if (s->leaving)
		return next;
	if (s->sight != SWIM_SIGHT_NONE)
		next = mono_min(next, s->meet != 0 ? mono_min(s->meet_at, s->sync_at) : s->sync_at);
	return mono_min(next, swim_probe_next(s));
}

/* --- to look at --- */

static void
info_of(const struct swim_member *m, struct swim_info *out)
{
	*out = (struct swim_info){
	    .node = m->node,
	    .incarnation = m->incarnation,
	    .meta_version = swim_member_meta_version(m),
	    .state = (enum swim_state)m->state,
	    .linked = m->linked == SWIM_LINK_SOME,
	    .neighbour = m->neighbour,
	    .by_links = m->by_links,
	    .rtt_us = m->rtt_us,
	    .changed_at = swim_member_since(m),
	    .seen_at = m->seen_at,
	    .meta = m->meta != NULL ? m->meta->data : NULL,
	    .meta_len = m->meta != NULL ? m->meta->len : 0,
	};
}

bool
swim_from(const struct swim *s, uint64_t node, struct swim_info *out)
{
	size_t i = swim_members_at(&s->members, node);

	if (i == s->members.count)
		return false;
	info_of(swim_members_sorted(&s->members, i), out);
	return true;
}

bool
swim_get(const struct swim *s, uint64_t node, struct swim_info *out)
{
	return swim_from(s, node, out) && out->node == node;
}

const struct swim_counters *
swim_counters(const struct swim *s)
{
	return &s->counters;
}

void
swim_show(const struct swim *s, struct swim_summary *out)
{
	size_t by_state[SWIM_STATE_COUNT] = {0};

	for (size_t i = 0; i < s->members.count; i++)
		by_state[swim_members_sorted(&s->members, i)->state]++;
	*out = (struct swim_summary){
	    .members = s->members.count,
	    .alive = by_state[SWIM_STATE_ALIVE],
	    .suspect = by_state[SWIM_STATE_SUSPECT],
	    .dead = by_state[SWIM_STATE_DEAD],
	    .left = by_state[SWIM_STATE_LEFT],
	    .broadcasts = s->broadcasts.count,
	    .health = s->health,
	    .sight = s->sight,
	    .incarnation = s->self != NULL ? s->self->incarnation : 0,
	    .clock = s->users.clock,
	};
}
