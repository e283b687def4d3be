#include "common/base/err.h"
#include "routerd/core/swim_impl.h"

static void
emit(struct swim *s, uint64_t to)
{
	s->counters.payloads_sent++;
	s->counters.bytes_sent += buf_left(&s->packet);
	s->ops->send(s->arg, to, buf_head(&s->packet), buf_left(&s->packet));
}

void
swim_send_open(struct swim *s)
{
	buf_init_fixed(&s->packet, s->mem, sizeof(s->mem));
	MUST(swim_msg_begin(&s->packet) == 0);
}

static bool
packet_empty(const struct swim *s)
{
	return buf_left(&s->packet) <= 1;
}

static void
add(struct swim *s, const struct swim_msg *m)
{
	MUST(swim_msg_put(&s->packet, m) == 0);
}

void
swim_send_add(struct swim *s, uint64_t to, const struct swim_msg *m)
{
	if (swim_msg_put(&s->packet, m) == 0)
		return;
	emit(s, to);
	swim_send_open(s);
	add(s, m);
}

void
swim_send_close(struct swim *s, uint64_t to)
{
	if (!packet_empty(s))
		emit(s, to);
}

/* The buddy system (Lifeguard, section IV.C): a suspect hears of it first of all. */
static void
add_buddy(struct swim *s, struct swim_member *m)
{
	struct swim_msg msg;

	if (m == NULL || m == s->self || swim_member_told_state(m) == SWIM_STATE_ALIVE)
		return;
	swim_state_message(s, m, &msg);
	add(s, &msg);
}

static void
fill(struct swim *s)
{
	size_t used = buf_left(&s->packet);

	if (used < SWIM_PACKET_BYTES)
		swim_broadcasts_fill(&s->broadcasts, &s->packet, SWIM_PACKET_BYTES - used,
		    s->conf.retransmit_mult * swim_log10_ceil(s->members.count));
}

void
swim_send(struct swim *s, uint64_t to, const struct swim_msg *m)
{
	swim_send_open(s);
	add_buddy(s, swim_members_get(&s->members, to));
	add(s, m);
	fill(s);
	emit(s, to);
}

void
swim_send_buddy(struct swim *s, struct swim_member *m, struct mono now)
{
	uint32_t now_ms = (uint32_t)(now.us / 1000);

	if (now_ms - m->told_ms < SWIM_TELL_US / 1000)
		return;
	m->told_ms = now_ms;
	swim_send_open(s);
	add_buddy(s, m);
	swim_send_close(s, m->node);
}

/* --- gossip --- */

void
swim_send_gossip(struct swim *s, struct mono now)
{
	struct swim_member *to[SWIM_HELPERS_MAX];
	size_t n, want = s->conf.gossip_nodes < SWIM_HELPERS_MAX ? s->conf.gossip_nodes : SWIM_HELPERS_MAX;

	if (mono_before(now, swim_send_next(s)))
		return;
	s->gossip_last = now;
	s->gossip_at = mono_add_us(now, rng_jitter(&s->rng, s->conf.gossip_interval_us, 10));
	n = swim_members_random(&s->members, &s->rng, s->self, NULL, want, to);
	for (size_t i = 0; i < n; i++) {
		swim_send_open(s);
		add_buddy(s, to[i]);
		fill(s);
		swim_send_close(s, to[i]->node);
	}
}

/* The first of the news go at once, the others at the interval. */
struct mono
swim_send_next(const struct swim *s)
{
	return s->broadcasts.count != 0 && s->members.count > 1 ? s->gossip_at : MONO_NEVER;
}

static void
queue(struct swim *s, enum swim_topic topic, const struct swim_msg *m)
{
	uint8_t mem[SWIM_MSG_HEAD_BYTES + 32 + SWIM_META_MAX_BYTES];
	struct buf b;

	buf_init_fixed(&b, mem, sizeof(mem));
	MUST(swim_msg_put(&b, m) == 0);
	if (swim_broadcasts_put(&s->broadcasts, topic, m->node, buf_head(&b), buf_left(&b)) != 0)
		s->counters.memory_out++; /* push/pull repairs it */
}

void
swim_spread(struct swim *s, struct swim_member *m, enum swim_kind kind, uint64_t from)
{
	const struct swim_msg msg = {
	    .kind = (uint8_t)kind, .node = m->node, .incarnation = m->incarnation, .from = from};

	queue(s, SWIM_TOPIC_STATE, &msg);
}

void
swim_spread_meta(struct swim *s, struct swim_member *m)
{
	struct swim_msg msg;

	swim_state_meta_message(m, &msg);
	queue(s, SWIM_TOPIC_META, &msg);
}
