/*
 * pump: numbered frames of many flows and of all classes from one node to another, and what is wrong with
 * those that come: lost, doubled, out of order (class control has none).
 *
 * Never more on their way than fits every quota, so that nothing may be dropped.  Header-only, as
 * transport.h.
 */
#ifndef TESTS_RIG_PUMP_H
#define TESTS_RIG_PUMP_H

#include "common/base/rng.h"
#include "tests/rig/transport.h"

enum {
	FLOWS_CLIENT = 8,
	FLOW_SYSTEM = FLOWS_CLIENT,
	FLOW_DB,
	FLOW_CONTROL,
	FLOWS,
	SEQ_MAX = 1 << 16,
	FLIGHT_MAX = 48,         /* frames of one flow on their way: less than any quota */
	FLIGHT_CONTROL_MAX = 10, /* large ones wait for the priority lane up to 64 KB */
	PAYLOAD_MIN = 8,
	PAYLOAD_MAX = 6000,
	CONTROL_MAX = 2000,
	CONTROL_LARGE_EVERY = 16, /* such a frame takes the priority lane */
};

static inline uint8_t
pump_class(unsigned flow)
{
	static const uint8_t others[] = {FRAME_CLASS_SYSTEM, FRAME_CLASS_DB, FRAME_CLASS_CONTROL};

	return flow < FLOWS_CLIENT ? FRAME_CLASS_CLIENT : others[flow - FLOWS_CLIENT];
}

/* One direction. */
struct pump {
	struct rig_node *from, *to;
	struct rng rng;
	uint32_t sent[FLOWS], got[FLOWS];
	uint32_t next[FLOWS];             /* in order */
	uint8_t seen[FLOWS][SEQ_MAX / 8]; /* of each number */
	unsigned doubled, disordered;
	char first[128]; /* what was wrong first */
};

static inline void
pump_init(struct pump *p, struct rig_node *from, struct rig_node *to, uint64_t seed)
{
	memset(p, 0, sizeof(*p));
	p->from = from;
	p->to = to;
	rng_seed(&p->rng, seed);
}

static inline void
pump_wrong(struct pump *p, unsigned *count, const char *what, unsigned flow, uint32_t seq)
{
	if (p->first[0] == '\0')
		snprintf(p->first, sizeof(p->first), "%s: flow %u (%s) of %s, frame %u, next %u", what, flow,
		    frame_class_name(pump_class(flow)), p->from->name, seq, p->next[flow]);
	++*count;
}

static inline void
pump_received(struct pump *p, const struct frame *f)
{
	unsigned flow = f->flow & 0xffff;
	uint32_t seq;
	struct buf in;

	buf_view(&in, f->payload, f->payload_len);
	RIG_MUST(
	    flow < FLOWS && f->class == pump_class(flow) && buf_get_u32(&in, &seq) == 0 && seq < SEQ_MAX);
	if (p->seen[flow][seq / 8] >> (seq % 8) & 1) {
		pump_wrong(p, &p->doubled, "doubled", flow, seq);
		return;
	}
	p->seen[flow][seq / 8] |= (uint8_t)(1 << (seq % 8));
	p->got[flow]++;
	if (seq != p->next[flow] && f->class != FRAME_CLASS_CONTROL)
		pump_wrong(p, &p->disordered, "out of order", flow, seq);
	p->next[flow] = seq + 1;
}

static inline size_t
pump_payload_size(struct pump *p, unsigned flow)
{
	if (flow != FLOW_CONTROL || rng_below(&p->rng, CONTROL_LARGE_EVERY) == 0)
		return PAYLOAD_MIN + rng_below(&p->rng, PAYLOAD_MAX - PAYLOAD_MIN);
	return PAYLOAD_MIN + rng_below(&p->rng, CONTROL_MAX - PAYLOAD_MIN);
}

static inline void
pump_put_frame(struct pump *p, unsigned flow, struct buf *out)
{
	static uint8_t payload[PAYLOAD_MAX];
	struct frame f = {
	    .type = FRAME_DATA,
	    .class = pump_class(flow),
	    .ttl = FRAME_TTL_DEFAULT,
	    .flow = (flow + 1) << 16 | flow,
	    .src = p->from->id,
	    .visit_count = 1,
	    .visit = {p->to->id},
	    .payload = payload,
	    .payload_len = (uint32_t)pump_payload_size(p, flow),
	};
	struct buf head;

	buf_init_fixed(&head, payload, sizeof(payload));
	RIG_MUST(p->sent[flow] < SEQ_MAX && buf_put_u32(&head, p->sent[flow]++) == 0);
	RIG_MUST(frame_encode(&f, out) == 0);
}

static inline unsigned
pump_flight_max(unsigned flow)
{
	return flow == FLOW_CONTROL ? FLIGHT_CONTROL_MAX : FLIGHT_MAX;
}

/* Sends what each flow may have on its way, a few frames of each in turn. */
static inline void
pump_step(struct pump *p)
{
	struct buf out;

	buf_init(&out, 256 * 1024);
	for (unsigned round = 0; round < 2; round++)
		for (unsigned flow = 0; flow < FLOWS; flow++)
			if (p->sent[flow] - p->got[flow] < pump_flight_max(flow) && p->sent[flow] < SEQ_MAX)
				pump_put_frame(p, flow, &out);
	if (buf_left(&out) != 0)
		RIG_MUST(
		    channel_send(p->from->consensus, CT_FRAMES_OUT, 0, buf_head(&out), buf_left(&out)) == 0);
	buf_fini(&out);
}

static inline bool
pump_empty(const struct pump *p)
{
	return memcmp(p->sent, p->got, sizeof(p->sent)) == 0;
}

static inline uint64_t
pump_total(const struct pump *p)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < FLOWS; i++)
		n += p->got[i];
	return n;
}

static inline bool
pump_fine(const struct pump *p)
{
	return pump_empty(p) && p->doubled == 0 && p->disordered == 0;
}

#endif
