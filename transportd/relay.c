#include "transportd/relay.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/frame.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "transportd/backpressure.h"
#include "transportd/core/forward.h"
#include "transportd/core/goaway.h"
#include "transportd/core/limits.h"
#include "transportd/stats.h"
#include "transportd/transport.h"

struct relay {
	struct transport *t;
	struct unreach_limit limit;
	struct mono refuse_logged;
};

static bool
alive(void *arg, uint64_t node)
{
	struct transport *t = arg;

	return links_get(&t->links, node) != NULL;
}

static struct forward
forward_of(struct transport *t)
{
	return (struct forward){.self = t->identity.node_id, .fib = t->fib, .alive = alive, .arg = t};
}

struct relay *
relay_new(struct transport *t)
{
	struct relay *r = mem_calloc(1, sizeof(*r));

	if (r != NULL)
		r->t = t;
	return r;
}

void
relay_free(struct relay *r)
{
	mem_free(r);
}

static enum stat
drop_stat(enum unreach_reason reason)
{
	switch (reason) {
	case UNREACH_NO_ROUTE:
		return STAT_DROP_NO_ROUTE;
	case UNREACH_TTL:
		return STAT_DROP_TTL;
	case UNREACH_LOOP:
		return STAT_DROP_LOOP;
	case UNREACH_NO_LINK:
		break;
	}
	return STAT_DROP_NO_LINK;
}

/* --- sending --- */

static void
set_visit(struct frame *f, const struct forward_way *way)
{
	/* way->visit may point into f itself. */
	memmove(f->visit, way->visit, way->visit_count * sizeof(f->visit[0]));
	f->visit_count = way->visit_count;
	f->path_id = way->path_id;
}

bool
relay_own(struct transport *t, struct frame *f, uint32_t path_id)
{
	struct forward fw = forward_of(t);
	struct forward_way way;
	struct link *l;

	f->ttl = FRAME_TTL_DEFAULT;
	if (forward_start(&fw, frame_dst(f), f->class, &way) != FORWARD_SEND) {
		/* A neighbour needs no path. */
		l = links_get(&t->links, frame_dst(f));
		f->visit_count = 0;
		return l != NULL && path_id == 0 && link_send(l, f) == 0;
	}
	l = links_get(&t->links, way.next);
	if (l == NULL || (path_id != 0 && way.path_id != path_id))
		return false;
	set_visit(f, &way);
	return link_send(l, f) == 0;
}

/* --- reports to sources --- */

/* A frame of our own about dst, to src. */
static void
send_unreachable(struct relay *r, uint64_t src, struct frame *report)
{
	struct transport *t = r->t;

	if (src == t->identity.node_id) {
		uint8_t mem[FRAME_HDR_BYTES + UNREACH_PAYLOAD_BYTES];
		struct buf out;

		buf_init_fixed(&out, mem, sizeof(mem));
		if (frame_encode(report, &out) == 0)
			consensus_deliver(t, mem, buf_left(&out));
		return;
	}
	report->visit_count = 1;
	report->visit[0] = src;
	if (relay_own(t, report, 0))
		stat_inc(STAT_UNREACHABLE);
}

/* The frame can't go on: counts, and tells its source unless it was told just now. */
static void
give_up(struct relay *r, const struct frame *f, uint64_t dst, enum unreach_reason reason)
{
	struct unreach u = {.destination = dst, .reason = (uint8_t)reason, .original = f->type};
	uint8_t payload[UNREACH_PAYLOAD_BYTES];
	struct frame report = {
	    .type = FRAME_UNREACHABLE,
	    .class = FRAME_CLASS_CONTROL,
	    .ttl = FRAME_TTL_DEFAULT,
	    .src = r->t->identity.node_id,
	    .payload = payload,
	    .payload_len = sizeof(payload),
	};
	struct buf out;

	stat_inc(drop_stat(reason));
	/* A report about a report could go on for ever; gossip is sent again by its own rules. */
	if (f->type == FRAME_UNREACHABLE || f->type == FRAME_GOSSIP ||
	    !unreach_allowed(&r->limit, f->src, dst, clock_mono()))
		return;
	buf_init_fixed(&out, payload, sizeof(payload));
	if (unreach_encode(&u, &out) == 0)
		send_unreachable(r, f->src, &report);
}

/* --- from neighbours --- */

static void
refuse(struct relay *r, const struct link *from, const struct frame *f, const char *why)
{
	struct mono now = clock_mono();
	char id[NODEID_TEXT_SIZE];
	struct log_ctx ctx = {.peer = id};

	stat_inc(STAT_DROP_REFUSED);
	if (mono_before(now, mono_add_ms(r->refuse_logged, REFUSE_LOG_INTERVAL_MS)))
		return;
	r->refuse_logged = now;
	nodeid_format(id, from->node);
	log_at(LOG_WARNING, &ctx, "%s frame from %s dropped: %s", frame_type_name(f->type), from->name, why);
}

static void
deliver(struct link *from, const struct frame *f, const uint8_t *raw, size_t size)
{
	struct transport *t = from->t;

	if (f->type == FRAME_LINK_STATE) {
		if (f->src != from->node)
			refuse(t->relay, from, f, "link state in another node's name");
		else
			router_frame(t, from->node, raw, size);
		return;
	}
	if (f->type == FRAME_GOSSIP) {
		router_frame(t, from->node, raw, size);
		return;
	}
	if (f->type == FRAME_PATH_FEEDBACK) {
		path_feedback(t, f);
		return;
	}
	if (f->class == FRAME_CLASS_CLIENT)
		path_received(t, f, size);
	if (!backpressure_admit(t)) {
		stat_inc(STAT_DROP_LOCAL);
		return;
	}
	consensus_deliver(t, raw, size);
}

static void
pass_on(struct link *from, struct frame *f)
{
	struct transport *t = from->t;
	struct forward fw = forward_of(t);
	struct forward_way way;
	struct link *to;

	if (forward_relay(&fw, from->node, f, &way) == FORWARD_FAIL) {
		give_up(t->relay, f, frame_dst(f), way.reason);
		return;
	}
	to = links_get(&t->links, way.next);
	MUST(to != NULL);
	set_visit(f, &way);
	f->ttl--;
	if (f->hop_count < UINT8_MAX)
		f->hop_count++;
	if (way.repaired) {
		f->flags |= FRAME_FLAG_REPAIRED;
		stat_inc(STAT_REPAIRED);
	}
	if (link_send(to, f) == 0)
		stat_inc(STAT_RELAYED);
}

void
relay_received(struct link *from, struct frame *f, const uint8_t *raw, size_t size)
{
	stat_inc(STAT_RX_FRAMES);
	if (f->visit_count == 0)
		deliver(from, f, raw, size);
	else if (f->type == FRAME_LINK_STATE)
		refuse(from->t->relay, from, f, "link state is for neighbours only");
	else if (f->src == from->t->identity.node_id)
		give_up(from->t->relay, f, frame_dst(f), UNREACH_LOOP);
	else
		pass_on(from, f);
}

/* --- from consensusd --- */

static bool
may_originate(const struct transport *t, const struct frame *f)
{
	return (f->type == FRAME_DATA || f->type == FRAME_DATA_ACK || f->type == FRAME_STREAM) &&
	       f->src == t->identity.node_id && f->visit_count == 1 && f->visit[0] != t->identity.node_id;
}

int
relay_originate(struct transport *t, struct frame *f)
{
	struct forward fw = forward_of(t);
	struct forward_way way;
	uint64_t dst = frame_dst(f);
	struct link *l;

	if (!t->identity.known || !may_originate(t, f))
		return ERR_DENIED;
	f->ttl = FRAME_TTL_DEFAULT;
	f->hop_count = 0;
	f->flags &= FRAME_FLAG_STRIPE;
	if (forward_start(&fw, dst, f->class, &way) == FORWARD_FAIL) {
		give_up(t->relay, f, dst, way.reason);
		return 0;
	}
	l = links_get(&t->links, way.next);
	MUST(l != NULL);
	set_visit(f, &way);
	if (link_send(l, f) == 0) {
		stat_inc(STAT_ORIGINATED);
		if (f->class == FRAME_CLASS_CLIENT)
			path_sent(t, dst, f);
	}
	backpressure_queued(l, dst);
	return 0;
}
