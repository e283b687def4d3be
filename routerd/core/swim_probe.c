#include "routerd/core/swim_probe.h"

#include "routerd/core/swim_impl.h"

enum {
	RTT_ROOM = 3,        /* round trips that a timeout leaves at least */
	NACK_PERCENT = 80,   /* of the probe timeout, after which a helper says that it got no answer */
	RTT_WEIGHT_SHIFT = 3 /* of a new measurement: RFC 6298, section 2 */
};

static uint32_t
new_seq(struct swim *s)
{
	if (++s->probes.seq == 0)
		s->probes.seq = 1;
	return s->probes.seq;
}

static void
ping(struct swim *s, uint64_t target, uint32_t seq)
{
	const struct swim_msg m = {.kind = SWIM_PING, .seq = seq, .node = target};

	swim_send(s, target, &m);
}

static void
answer(struct swim *s, enum swim_kind kind, uint64_t to, uint32_t seq)
{
	const struct swim_msg m = {.kind = (uint8_t)kind, .seq = seq};

	swim_send(s, to, &m);
}

/* --- probes of our own --- */

static void
trail_add(struct swim *s, const struct swim_probe *p, struct mono now)
{
	struct swim_probes *ps = &s->probes;

	ps->trails[ps->trail_next] = (struct swim_trail){p->seq, p->target, now};
	ps->trail_next = (ps->trail_next + 1) % SWIM_TRAILS_MAX;
}

/* An ack of the target itself, however late: what it took is known. */
static void
trail_end(struct swim *s, uint32_t seq, struct swim_member *m, struct mono now)
{
	for (size_t i = 0; i < SWIM_TRAILS_MAX; i++) {
		struct swim_trail *t = &s->probes.trails[i];
		int64_t us = mono_diff_us(now, t->sent);

		if (t->seq != seq || t->target != m->node)
			continue;
		t->seq = 0;
		if (us > SWIM_RTT_MAX_US)
			return;
		if (m->rtt_us == 0)
			m->rtt_us = us > 0 ? (uint32_t)us : 1;
		else
			m->rtt_us = (uint32_t)(m->rtt_us + ((us - m->rtt_us) >> RTT_WEIGHT_SHIFT));
		return;
	}
}

static int64_t
timeout_us(const struct swim *s, const struct swim_member *m)
{
	int64_t least = RTT_ROOM * (int64_t)m->rtt_us;

	return swim_scaled(s, s->conf.probe_timeout_us) + least;
}

static void
begin(struct swim *s, struct swim_probe *p, struct swim_member *m, struct mono now)
{
	int64_t wait = timeout_us(s, m), whole = swim_scaled(s, s->conf.probe_interval_us);

	if (whole < 2 * wait)
		whole = 2 * wait;
	p->active = true;
	p->indirect = false;
	p->helper_count = p->nack_count = 0;
	p->target = m->node;
	p->seq = new_seq(s);
	p->indirect_at = mono_add_us(now, wait);
	p->end_at = mono_add_us(now, whole);
	s->counters.probes++;
	trail_add(s, p, now);
	ping(s, p->target, p->seq);
}

static void
ask_others(struct swim *s, struct swim_probe *p, struct swim_member *target)
{
	const struct swim_msg m = {.kind = SWIM_PING_REQ, .seq = p->seq, .node = p->target};
	struct swim_member *helpers[SWIM_HELPERS_MAX];
	size_t want = s->conf.indirect < SWIM_HELPERS_MAX ? s->conf.indirect : SWIM_HELPERS_MAX;
	size_t n = swim_members_random(&s->members, &s->rng, s->self, target, want, helpers);
	uint32_t longest = 0;

	p->indirect = true;
	p->helper_count = (uint8_t)n;
	if (n != 0)
		s->counters.probes_indirect++;
	for (size_t i = 0; i < n; i++) {
		p->helpers[i] = helpers[i]->node;
		p->nacked[i] = false;
		if (helpers[i]->rtt_us > longest)
			longest = helpers[i]->rtt_us;
		swim_send(s, p->helpers[i], &m);
	}
	p->end_at = mono_add_us(p->end_at, RTT_ROOM * (int64_t)longest);
}

static void
fail(struct swim *s, struct swim_probe *p, struct swim_member *target, struct mono now)
{
	s->counters.probes_failed++;
	/* Helpers that did not even say that they got no answer: it may be our own trouble. */
	if (p->helper_count == 0)
		swim_health(s, 1);
	else
		swim_health(s, p->helper_count - p->nack_count);
	swim_state_suspect(s, target, now);
}

static void
lane_step(struct swim *s, enum swim_lane lane, struct mono now)
{
	struct swim_probe *p = &s->probes.lanes[lane];
	struct swim_member *m;

	if (p->active) {
		m = swim_members_get(&s->members, p->target);
		if (m == NULL || !swim_member_there(m)) {
			p->active = false; /* nobody asks for it any more */
		} else if (!mono_before(now, p->end_at)) {
			p->active = false;
			fail(s, p, m, now);
		} else if (!p->indirect && !mono_before(now, p->indirect_at)) {
			ask_others(s, p, m);
		}
	}
	if (p->active || mono_before(now, p->start_at))
		return;
	p->start_at = mono_add_us(now, rng_jitter(&s->rng, swim_scaled(s, s->conf.probe_interval_us), 10));
	m = lane == SWIM_LANE_ALL ? swim_members_next(&s->members, &s->rng, s->self)
				  : swim_members_near(&s->members, s->self);
	if (m != NULL)
		begin(s, p, m, now);
}

static struct mono
lane_next(const struct swim_probe *p)
{
	if (!p->active)
		return p->start_at;
	return p->indirect ? p->end_at : p->indirect_at;
}

static struct swim_probe *
probe_of(struct swim *s, uint32_t seq)
{
	for (size_t i = 0; i < SWIM_PROBES; i++)
		if (s->probes.lanes[i].active && s->probes.lanes[i].seq == seq)
			return &s->probes.lanes[i];
	return NULL;
}

/* The helper's place; helper_count: it is none. */
static size_t
helper_of(const struct swim_probe *p, uint64_t node)
{
	size_t i = 0;

	while (i < p->helper_count && p->helpers[i] != node)
		i++;
	return i;
}

/* --- probes for others --- */

static struct swim_relay *
relay_free_slot(struct swim_probes *ps)
{
	for (size_t i = 0; i < SWIM_RELAYS_MAX; i++)
		if (ps->relays[i].origin == 0)
			return &ps->relays[i];
	return NULL;
}

static void
relay_end(struct swim_probes *ps, struct swim_relay *r)
{
	r->origin = 0;
	ps->relay_count--;
}

static void
asked_to_probe(struct swim *s, const struct swim_msg *m, uint64_t from, struct mono now)
{
	struct swim_relay *r;

	if (m->node == s->self->node) {
		answer(s, SWIM_ACK, from, m->seq);
		return;
	}
	/* Nobody is probed that is no member: this node is no means to send frames to strangers. */
	if (swim_members_get(&s->members, m->node) == NULL || (r = relay_free_slot(&s->probes)) == NULL) {
		answer(s, SWIM_NACK, from, m->seq);
		return;
	}
	*r = (struct swim_relay){
	    .origin = from,
	    .target = m->node,
	    .seq = new_seq(s),
	    .origin_seq = m->seq,
	    .nack_at = mono_add_us(now, s->conf.probe_timeout_us / 100 * NACK_PERCENT),
	    .end_at = mono_add_us(now, s->conf.probe_interval_us),
	};
	s->probes.relay_count++;
	s->counters.probes_for_others++;
	ping(s, r->target, r->seq);
}

static void
relay_answered(struct swim *s, uint32_t seq, uint64_t from)
{
	struct swim_probes *ps = &s->probes;

	for (size_t i = 0; ps->relay_count != 0 && i < SWIM_RELAYS_MAX; i++) {
		struct swim_relay *r = &ps->relays[i];

		if (r->origin == 0 || r->seq != seq || r->target != from)
			continue;
		answer(s, SWIM_ACK, r->origin, r->origin_seq);
		relay_end(ps, r);
		return;
	}
}

static void
relays_step(struct swim *s, struct mono now)
{
	struct swim_probes *ps = &s->probes;

	for (size_t i = 0; ps->relay_count != 0 && i < SWIM_RELAYS_MAX; i++) {
		struct swim_relay *r = &ps->relays[i];

		if (r->origin == 0)
			continue;
		if (!r->nacked && !mono_before(now, r->nack_at)) {
			r->nacked = true;
			answer(s, SWIM_NACK, r->origin, r->origin_seq);
		}
		if (!mono_before(now, r->end_at))
			relay_end(ps, r);
	}
}

/* --- messages --- */

static void
acked(struct swim *s, uint32_t seq, uint64_t from, struct mono now)
{
	struct swim_probe *p = probe_of(s, seq);
	struct swim_member *m = swim_members_get(&s->members, from);

	if (m != NULL)
		trail_end(s, seq, m, now);
	if (p != NULL && (p->target == from || helper_of(p, from) < p->helper_count)) {
		p->active = false;
		if ((m = swim_members_get(&s->members, p->target)) != NULL)
			swim_member_heard(m, now);
		swim_health(s, -1);
	} else if (p == NULL) {
		relay_answered(s, seq, from);
	}
}

static void
nacked(struct swim *s, uint32_t seq, uint64_t from)
{
	struct swim_probe *p = probe_of(s, seq);
	size_t i;

	if (p == NULL || (i = helper_of(p, from)) == p->helper_count || p->nacked[i])
		return;
	p->nacked[i] = true;
	p->nack_count++;
}

void
swim_probe_message(struct swim *s, const struct swim_msg *m, uint64_t from, struct mono now)
{
	switch (m->kind) {
	case SWIM_PING:
		/* A ping for whoever had this address before: an id can't be taken over. */
		if (m->node == s->self->node)
			answer(s, SWIM_ACK, from, m->seq);
		break;
	case SWIM_PING_REQ:
		asked_to_probe(s, m, from, now);
		break;
	case SWIM_ACK:
		acked(s, m->seq, from, now);
		break;
	default:
		nacked(s, m->seq, from);
		break;
	}
}

void
swim_probe_cancel(struct swim *s, uint64_t target)
{
	for (size_t i = 0; i < SWIM_PROBES; i++)
		if (s->probes.lanes[i].target == target)
			s->probes.lanes[i].active = false;
}

/* --- time --- */

void
swim_probe_restart(struct swim *s, struct mono now)
{
	/* Not all nodes of a mesh that is switched on at once at the same moment. */
	for (size_t i = 0; i < SWIM_PROBES; i++) {
		s->probes.lanes[i].active = false;
		s->probes.lanes[i].start_at =
		    mono_add_us(now, (int64_t)rng_below(&s->rng, (uint64_t)s->conf.probe_interval_us));
	}
}

void
swim_probe_start(struct swim *s, struct mono now)
{
	s->probes.seq = (uint32_t)rng_u64(&s->rng);
	swim_probe_restart(s, now);
}

void
swim_probe_step(struct swim *s, struct mono now)
{
	for (size_t i = 0; s->sight == SWIM_SIGHT_CLEAR && i < SWIM_PROBES; i++)
		lane_step(s, (enum swim_lane)i, now);
	relays_step(s, now);
}

struct mono
swim_probe_next(const struct swim *s)
{
	const struct swim_probes *ps = &s->probes;
	struct mono next = MONO_NEVER;

	for (size_t i = 0; s->sight == SWIM_SIGHT_CLEAR && i < SWIM_PROBES; i++)
		next = mono_min(next, lane_next(&ps->lanes[i]));
	for (size_t i = 0; ps->relay_count != 0 && i < SWIM_RELAYS_MAX; i++)
		if (ps->relays[i].origin != 0)
			next = mono_min(
			    next, ps->relays[i].nacked ? ps->relays[i].end_at : ps->relays[i].nack_at);
	return next;
}

void
swim_probe_shift(struct swim *s, int64_t us)
{
	struct swim_probes *ps = &s->probes;

	for (size_t i = 0; i < SWIM_PROBES; i++) {
		ps->lanes[i].indirect_at = mono_add_us(ps->lanes[i].indirect_at, us);
		ps->lanes[i].end_at = mono_add_us(ps->lanes[i].end_at, us);
	}
	for (size_t i = 0; i < SWIM_RELAYS_MAX; i++) {
		ps->relays[i].nack_at = mono_add_us(ps->relays[i].nack_at, us);
		ps->relays[i].end_at = mono_add_us(ps->relays[i].end_at, us);
	}
}
