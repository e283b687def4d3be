#include "transportd/relay.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/frame.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "transportd/backpressure.h"
#include "transportd/core/backway.h"
#include "transportd/core/forward.h"
#include "transportd/core/goaway.h"
#include "transportd/core/limits.h"
#include "transportd/stats.h"
#include "transportd/transport.h"

struct relay {
	struct transport *t;
	struct unreach_limit limit;
	struct backway back;
	struct mono refuse_logged, barred_logged;
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
	return (struct forward){
	    .self = t->identity.node_id,
	    .fib = t->fib,
	    .alive = alive,
	    .badness = reroute_badness,
	    .arg = t,
	};
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
	case UNREACH_DENIED:
		return STAT_DROP_ACL;
	case UNREACH_NO_LINK:
	case UNREACH_REPAIRED:
		break;
	}
	return STAT_DROP_NO_LINK;
}

/* --- sending --- */

static void
set_visit(struct frame *f, const struct forward_way *way)
{
	/* way->visit may point into f itself; to a neighbour there is none. */
	if (way->visit_count != 0)
		memmove(f->visit, way->visit, way->visit_count * sizeof(f->visit[0]));
	f->visit_count = way->visit_count;
	f->path_id = way->path_id;
}

static bool
send_own(struct transport *t, struct frame *f, const struct forward_way *way)
{
	struct link *l = links_get(&t->links, way->next);

	f->ttl = FRAME_TTL_DEFAULT;
	set_visit(f, way);
	return l != NULL && link_send(l, f) == 0;
}

enum forward_verdict
relay_way(struct transport *t, uint64_t dst, uint8_t class, struct forward_way *way)
{
	struct forward fw = forward_of(t);

	return forward_start(&fw, dst, class, way);
}

bool
relay_own(struct transport *t, struct frame *f)
{
	/* A neighbour needs no path. */
	struct forward_way way, straight = {.next = frame_dst(f), .visit = f->visit};

	if (relay_way(t, frame_dst(f), f->class, &way) != FORWARD_SEND)
		return send_own(t, f, &straight);
	return send_own(t, f, &way);
}

bool
relay_back(struct transport *t, struct frame *f, uint64_t via)
{
	struct forward fw = forward_of(t);
	struct forward_way way;

	return forward_back(&fw, frame_dst(f), f->class, via, &way) == FORWARD_SEND && send_own(t, f, &way);
}

bool
relay_over(struct transport *t, struct frame *f, uint8_t class, uint32_t path_id)
{
	struct forward fw = forward_of(t);
	struct forward_way way;

	return forward_over(&fw, frame_dst(f), class, path_id, &way) == FORWARD_SEND && send_own(t, f, &way);
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
	if (relay_own(t, report))
		stat_inc(STAT_UNREACHABLE);
}

/* Tells the source of a frame what has become of it, unless it was told just now. */
static void
tell(struct relay *r, const struct frame *f, uint64_t dst, enum unreach_reason reason)
{
	struct unreach u = {
	    .destination = dst,
	    .reason = (uint8_t)reason,
	    .original = f->type,
	    /* After a repair it is the name that a relay has for a path of its own. */
	    .path_id = f->flags & FRAME_FLAG_REPAIRED ? 0 : f->path_id,
	};
	uint8_t payload[UNREACH_PAYLOAD_BYTES];
	struct frame report = {
	    .type = FRAME_UNREACHABLE,
	    .class = FRAME_CLASS_CONTROL,
	    .ttl = FRAME_TTL_DEFAULT,
	    .src = r->t->identity.node_id,
	    .flow = f->flow,
	    .payload = payload,
	};
	struct buf out;

	/* A report about a report could go on for ever; gossip is sent again by its own rules. */
	if (f->type == FRAME_UNREACHABLE || f->type == FRAME_GOSSIP ||
	    !unreach_allowed(&r->limit, f->src, dst, u.path_id, clock_mono()))
		return;
	buf_init_fixed(&out, payload, sizeof(payload));
	if (unreach_encode(&u, &out) != 0)
		return;
	report.payload_len = (uint32_t)buf_left(&out);
	send_unreachable(r, f->src, &report);
}

static void
give_up(struct relay *r, const struct frame *f, uint64_t dst, enum unreach_reason reason)
{
	stat_inc(drop_stat(reason));
	tell(r, f, dst, reason);
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
		path_feedback(t, f, from->node);
		return;
	}
	if (f->type == FRAME_UNREACHABLE && reroute_notice(t, f))
		return;
	if (f->class == FRAME_CLASS_CLIENT) {
		path_received(t, f, size);
		backway_note(&t->relay->back, f->src, from->node, t->turn);
	}
	if (!backpressure_admit(t)) {
		stat_inc(STAT_DROP_LOCAL);
		return;
	}
	consensus_deliver(t, raw, size);
}

/* Client data of a tenant that this node may not relay: its source has other paths, perhaps. */
static void
bar(struct relay *r, const struct link *from, const struct frame *f)
{
	struct mono now = clock_mono();
	char id[NODEID_TEXT_SIZE];
	struct log_ctx ctx = {.peer = id};

	give_up(r, f, frame_dst(f), UNREACH_DENIED);
	if (mono_before(now, mono_add_ms(r->barred_logged, REFUSE_LOG_INTERVAL_MS)))
		return;
	r->barred_logged = now;
	nodeid_format(id, from->node);
	log_at(LOG_WARNING, &ctx, "data frame from %s dropped: this node may not forward its tenant",
	    from->name);
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
	/* While the frame still says which way it should have gone. */
	if (way.repaired)
		tell(t->relay, f, frame_dst(f), UNREACH_REPAIRED);
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
	/* A neighbour that does not know yet may still let it in. */
	if (idset_has(&from->t->evicted, f->src))
		stat_inc(STAT_DROP_EVICTED);
	else if (f->visit_count == 0)
		deliver(from, f, raw, size);
	else if (f->type == FRAME_LINK_STATE)
		refuse(from->t->relay, from, f, "link state is for neighbours only");
	else if (f->src == from->t->identity.node_id)
		give_up(from->t->relay, f, frame_dst(f), UNREACH_LOOP);
	else if (f->type == FRAME_DATA && barred_frame(&from->t->barred, f->e2e, f->e2e_len))
		bar(from->t->relay, from, f);
	else
		pass_on(from, f);
}

/* --- from consensusd --- */

static bool
type_ours(const struct frame *f)
{
	switch (f->type) {
	case FRAME_DATA:
	case FRAME_DATA_ACK:
	case FRAME_STREAM:
		return true;
	case FRAME_CONTROL:
		return f->class == FRAME_CLASS_CONTROL || f->class == FRAME_CLASS_SYSTEM;
	default:
		return false;
	}
}

static bool
may_originate(const struct transport *t, const struct frame *f)
{
	return type_ours(f) && f->src == t->identity.node_id && f->visit_count == 1 &&
	       f->visit[0] != t->identity.node_id;
}

/* The way of a frame that starts here: client data is spread, acknowledgements go back where data comes from,
 * the rest takes the best path. */
static enum forward_verdict
find_way(struct transport *t, const struct frame *f, struct forward_way *way)
{
	struct forward fw = forward_of(t);
	uint32_t path_id;
	uint64_t via;

	if (f->class == FRAME_CLASS_CLIENT && reroute_pick(t, frame_dst(f), f, &path_id))
		return forward_over(&fw, frame_dst(f), f->class, path_id, way);
	if (f->type == FRAME_DATA_ACK &&
	    (via = backway_get(&t->relay->back, frame_dst(f), clock_mono())) != 0)
		return forward_back(&fw, frame_dst(f), f->class, via, way);
	return forward_start(&fw, frame_dst(f), f->class, way);
}

int
relay_originate(struct transport *t, struct frame *f)
{
	struct forward_way way;
	uint64_t dst = frame_dst(f);
	struct link *l;

	if (!t->identity.known || !may_originate(t, f))
		return ERR_DENIED;
	f->ttl = FRAME_TTL_DEFAULT;
	f->hop_count = 0;
	f->flags &= FRAME_FLAG_STRIPE;
	if (find_way(t, f, &way) == FORWARD_FAIL) {
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
