#include <string.h>

#include "common/base/err.h"
#include "routerd/core/router_impl.h"

/* The neighbour shall have this node's LSA. */
static void
push(struct router *r, struct neighbour *n, uint64_t node, struct mono now)
{
	if (flood_push(&n->flood, node, now) == 0)
		return;
	r->counters.memory_out++;
	n->resend_at = mono_min(n->resend_at, mono_add_us(now, RETRY_US));
}

void
exchange_flood(struct router *r, uint64_t node, uint64_t but, struct mono now)
{
	struct neighbour *n;

	for (n = neighbour_first(&r->neighbours); n != NULL; n = neighbour_next(&r->neighbours, n))
		if (n->id != but)
			push(r, n, node, now);
}

/* After memory was out: all that the neighbour may lack. */
static void
resend(struct router *r, struct neighbour *n, struct mono now)
{
	if (mono_before(now, n->resend_at))
		return;
	n->resend_at = MONO_NEVER;
	for (struct lsdb_entry *e = lsdb_from(&r->db, 0); e != NULL; e = lsdb_next(&r->db, e))
		push(r, n, e->node, now);
}

static void
synced(struct router *r, struct neighbour *n, enum sync_result result, bool before, struct mono now)
{
	if (result != SYNC_FINISHED || before)
		return;
	n->advertised = n->measured;
	r->origin.changed = true;
	r->ops->event(r->arg, ROUTER_SYNCED, n->id, 0);
	paths_want(r, now, PATHS_LATER);
}

/* --- updates --- */

/* A valid, newer LSA of another node: 0, or why it could not be kept. */
static int
store(struct router *r, struct neighbour *from, const struct linkstate_msg *m, struct mono born,
    struct mono now)
{
	struct lsdb_entry *e;
	bool topology;
	uint64_t wish;
	int err = router_put(r, m->data, m->len, born, now, &e, &topology);

	if (err != 0)
		return err;
	r->counters.lsa_accepted++;
	exchange_flood(r, e->node, from->id, now);
	if ((wish = lsdb_wish(e)) != 0)
		r->ops->wish(r->arg, e->node, wish);
	if (topology || e->state == NODE_STATE_NEW)
		paths_want(r, now, e->lost ? PATHS_LOST : PATHS_LATER);
	else
		paths_refreshed(r, e);
	return 0;
}

/* An LSA of this node that this process did not make. */
static void
reissue(struct router *r, struct neighbour *from)
{
	sync_refused(&from->sync, r->self.node);
	if (!origin_seen(&r->origin, &r->lsa.id))
		return;
	r->counters.lsa_reissued++;
	r->ops->event(r->arg, ROUTER_REISSUED, from->id, 0);
}

/* Is it acknowledged? */
static bool
take_newer(struct router *r, struct neighbour *from, const struct linkstate_msg *m, struct mono born,
    struct mono now)
{
	if (r->ops->verify(r->arg, &r->lsa, m->data, m->len) != 0) {
		r->counters.lsa_forged++;
		neighbour_forged(from, now);
		sync_refused(&from->sync, r->lsa.id.node);
		r->ops->event(r->arg, ROUTER_LSA_FORGED, from->id, r->lsa.id.node);
		return true;
	}
	if (r->lsa.id.node == r->self.node) {
		reissue(r, from);
		return true;
	}
	if (store(r, from, m, born, now) != 0) {
		r->counters.memory_out++;
		return false;
	}
	return true;
}

/* The same id as ours.  Of this node it may be another LSA, from a life that was forgotten. */
static void
take_same(struct router *r, struct neighbour *from, const struct linkstate_msg *m)
{
	const struct lsdb_entry *e = lsdb_get(&r->db, r->lsa.id.node);

	r->counters.lsa_duplicate++;
	if (r->lsa.id.node != r->self.node || e == NULL)
		return;
	if ((e->lsa->raw_len != m->len || memcmp(e->lsa->raw, m->data, m->len) != 0) &&
	    r->ops->verify(r->arg, &r->lsa, m->data, m->len) == 0)
		reissue(r, from);
}

/* Older than ours: the neighbour gets the newer one, or an end to it. */
static bool
take_stale(struct router *r, struct neighbour *from, struct mono now)
{
	r->counters.lsa_stale++;
	if (lsdb_get(&r->db, r->lsa.id.node) == NULL)
		return true;
	push(r, from, r->lsa.id.node, now);
	return false;
}

/* An LSA that is not kept and need not be sent again. */
static bool
refuse(struct router *r, struct neighbour *from, uint64_t *counter)
{
	(*counter)++;
	sync_refused(&from->sync, r->lsa.id.node);
	return true;
}

static bool
judge(struct router *r, struct neighbour *from, const struct linkstate_msg *m, struct mono born,
    struct mono now)
{
	switch (lsdb_judge(&r->db, &r->lsa.id, lsdb_lifetime_us(&r->db, &r->lsa), born, now)) {
	case LSDB_NEWER:
		return take_newer(r, from, m, born, now);
	case LSDB_SAME:
		take_same(r, from, m);
		return true;
	case LSDB_STALE:
		return take_stale(r, from, now);
	case LSDB_EXPIRED:
		return refuse(r, from, &r->counters.lsa_expired);
	case LSDB_EVICTED:
		return refuse(r, from, &r->counters.lsa_evicted);
	case LSDB_FULL:
		r->ops->event(r->arg, ROUTER_LSDB_FULL, r->lsa.id.node, 0);
		return refuse(r, from, &r->counters.lsa_refused);
	case LSDB_LIMITED:
		r->counters.lsa_limited++;
		return false;
	}
	return false;
}

static int
on_update(struct router *r, struct neighbour *n, const struct linkstate_msg *m, struct mono now)
{
	struct mono born = mono_add_us(now, -(int64_t)m->age_ms * 1000);
	struct lsa_id id;
	int err;

	r->counters.lsa_received++;
	if (neighbour_quarantined(n, now)) {
		r->counters.lsa_quarantined++;
		return 0;
	}
	if ((err = lsa_decode(m->data, m->len, &r->lsa)) != 0)
		return err;
	id = r->lsa.id;
	/* An acknowledgement that does not fit is made when the LSA comes again. */
	if (judge(r, n, m, born, now) && flood_ack(&n->flood, &id, now) == ERR_NOMEM)
		r->counters.memory_out++;
	/* Whoever sends an LSA has it: that is an acknowledgement too. */
	flood_has(&n->flood, &r->db, &id);
	return 0;
}

/* --- the other messages --- */

static void
on_ack(struct router *r, struct neighbour *n, const struct linkstate_msg *m)
{
	struct lsa_id id;

	for (size_t i = 0; i < m->count; i++) {
		linkstate_id(m, i, &id);
		flood_has(&n->flood, &r->db, &id);
	}
}

static void
on_request(struct router *r, struct neighbour *n, const struct linkstate_msg *m, struct mono now)
{
	for (size_t i = 0; i < m->count; i++)
		if (lsdb_get(&r->db, linkstate_node(m, i)) != NULL)
			push(r, n, linkstate_node(m, i), now);
}

static int
on_message(struct router *r, struct neighbour *n, const struct linkstate_msg *m, struct mono now)
{
	bool before = n->sync.synced;

	switch (m->kind) {
	case LINKSTATE_UPDATE:
		return on_update(r, n, m, now);
	case LINKSTATE_ACK:
		on_ack(r, n, m);
		break;
	case LINKSTATE_ASK:
		sync_asked(&n->sync, &m->ask, now);
		break;
	case LINKSTATE_DIGEST:
		synced(r, n, sync_digest(&n->sync, m, &r->db, now), before, now);
		break;
	case LINKSTATE_REQUEST:
		on_request(r, n, m, now);
		break;
	default:
		break; /* of a later version */
	}
	return 0;
}

/* What came may be what other neighbours' digests promised as well. */
static void
settle_all(struct router *r, struct mono now)
{
	struct neighbour *n;

	for (n = neighbour_first(&r->neighbours); n != NULL; n = neighbour_next(&r->neighbours, n)) {
		bool before = n->sync.synced;

		synced(r, n, sync_settle(&n->sync, &r->db, now), before, now);
	}
}

void
router_feed(struct router *r, uint64_t neighbour, const uint8_t *payload, size_t len, struct mono now)
{
	struct neighbour *n = neighbour_get(&r->neighbours, neighbour);
	struct linkstate_msg m;
	struct buf in;
	int more;

	r->counters.payloads_received++;
	if (n == NULL || !r->identified) {
		r->counters.payloads_unexpected++;
		return;
	}
	buf_view(&in, payload, len);
	more = linkstate_open(&in);
	if (more == 0)
		while ((more = linkstate_next(&in, &m)) > 0)
			if ((more = on_message(r, n, &m, now)) != 0)
				break;
	if (more < 0) {
		r->counters.payloads_malformed++;
		r->ops->event(r->arg, ROUTER_LSA_MALFORMED, neighbour, 0);
	}
	settle_all(r, now);
}

/* --- what is due --- */

void
exchange_check(struct router *r, struct mono now)
{
	struct neighbour *n;
	uint64_t skip;

	if (mono_before(now, r->check_at))
		return;
	r->check_at = mono_add_us(now, rng_jitter(&r->rng, CHECK_INTERVAL_US, 25));
	if (r->neighbours.count == 0)
		return;
	skip = rng_below(&r->rng, r->neighbours.count);
	for (n = neighbour_first(&r->neighbours); skip != 0; skip--)
		n = neighbour_next(&r->neighbours, n);
	sync_start(&n->sync, now);
}

static void
write_neighbour(struct router *r, struct neighbour *n, struct mono now)
{
	int64_t rtt_us = neighbour_rtt_us(n);
	bool before = n->sync.synced;
	struct flood_written written;
	enum sync_result result;

	resend(r, n, now);
	r->writing_to = n->id;
	r->counters.digests_sent += n->sync.answer;
	result = sync_write(
	    &n->sync, &r->db, &r->writer, SYNC_RTO_US + 4 * rtt_us, now, &r->counters.sync_given_up);
	written = flood_write(&n->flood, &r->db, &r->writer, FLOOD_RTO_US + 4 * rtt_us, now);
	linkstate_flush(&r->writer);
	r->counters.lsa_sent += written.updates;
	r->counters.lsa_resent += written.again;
	synced(r, n, result, before, now);
}

void
exchange_step(struct router *r, struct mono now)
{
	struct neighbour *n;

	for (n = neighbour_first(&r->neighbours); n != NULL; n = neighbour_next(&r->neighbours, n))
		write_neighbour(r, n, now);
}

struct mono
exchange_next(struct router *r)
{
	struct mono next = r->check_at;
	struct neighbour *n;

	for (n = neighbour_first(&r->neighbours); n != NULL; n = neighbour_next(&r->neighbours, n))
		next = mono_min(next, mono_min(n->resend_at, mono_min(sync_next(&n->sync), n->flood.due)));
	return next;
}
