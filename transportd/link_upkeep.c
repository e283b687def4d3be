#include "transportd/link_upkeep.h"

#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "common/os/loop.h"
#include "transportd/core/goaway.h"
#include "transportd/core/limits.h"
#include "transportd/core/sched.h"
#include "transportd/lane.h"
#include "transportd/stats.h"
#include "transportd/transport.h"
#include "transportd/ws.h"

enum {
	REPORT_CHANGE_DIVISOR = 20, /* a twentieth more or less is worth telling */
	UTILISATION_STEP_PERMILLE = 100,
};

/* --- lanes that should be there --- */

static bool
wanted(const struct link *l, unsigned lane)
{
	return lane < l->lanes.count && lane < LANE_BULK + l->bulk_want;
}

static void
dial_missing(struct link *l, struct mono now)
{
	for (unsigned i = 0; i < l->lanes.count; i++) {
		if (!wanted(l, i) || l->lanes.state[i] != LANE_ABSENT || mono_before(now, l->retry[i]))
			continue;
		if (!peer_dial_lane(l->t, l->node, i))
			continue; /* too many are dialled just now, or too soon: the next tick asks again */
		l->retry[i] = mono_add_ms(now, LANE_DIAL_MS);
		l->lanes.state[i] = lane_next(l->lanes.state[i], LANE_EV_DIAL);
	}
}

void
link_upkeep(struct link *l)
{
	if (l->dialler && !l->t->stopping && lanes_up(&l->lanes) != 0)
		dial_missing(l, clock_mono());
	loop_timer_arm_ms(l->timer, LINK_TICK_MS);
}

void
link_dial_failed(struct transport *t, uint64_t node, unsigned lane)
{
	struct link *l = links_get(&t->links, node);

	if (l != NULL && lane < LANES_MAX)
		l->lanes.state[lane] = lane_next(l->lanes.state[lane], LANE_EV_FAILED);
}

/* --- more or fewer --- */

static unsigned
bulk_max(const struct link *l)
{
	return l->lanes.count > LANE_BULK ? l->lanes.count - LANE_BULK : 0;
}

static void
open_another(struct link *l, struct mono now)
{
	struct lane *control = link_control(l);
	unsigned id = LANE_BULK + (l->dialler ? l->bulk_want : lanes_bulk_up(&l->lanes));
	struct lane_note note = {.op = LANE_OP_WANT, .lane = (uint16_t)id};

	if (id >= l->lanes.count)
		return;
	stat_inc(STAT_LANE_SCALE_UPS);
	log_info("link to %s is full: another bulk lane (%u) is wanted", l->name, id);
	if (l->dialler) {
		l->bulk_want++;
		dial_missing(l, now);
	} else if (control != NULL) {
		lane_note(control, &note);
	}
}

void
link_wanted(struct link *l, unsigned lane)
{
	/* Only the next one, and never more than our own limit: the peer asks, it does not command. */
	if (!l->dialler || lane != LANE_BULK + l->bulk_want || l->bulk_want >= bulk_max(l))
		return;
	l->bulk_want++;
	dial_missing(l, clock_mono());
}

static void
close_newest(struct link *l)
{
	unsigned id = LANE_BULK + l->bulk_want - 1;

	if (l->bulk_want <= l->t->set.bulk_lanes)
		return;
	l->bulk_want--;
	stat_inc(STAT_LANE_SCALE_DOWNS);
	log_info("link to %s: bulk lane %u is idle and is closed", l->name, id);
	if (l->lane[id] != NULL)
		conn_fail(l->lane[id]->conn, GOAWAY_IDLE, "");
}

static struct scale_sample
sample(struct link *l, struct mono now)
{
	struct scale_sample s = {.idle = true};
	const struct lane *newest = NULL;

	for (unsigned i = LANE_BULK; i < LANES_MAX; i++) {
		struct lane *n = l->lane[i];

		if (n == NULL)
			continue;
		newest = n;
		s.lanes++;
		s.full |= !sched_lane_empty(l->q, i) && credit_tx_unacked(&n->tx) != 0;
		s.tx_kbps += pace_tx_kbps(&n->pace, now);
		if (n->hb.rtt_us > s.rtt_us) {
			s.rtt_us = n->hb.rtt_us;
			s.rtt_min_us = n->pace.rtt_min_us;
		}
	}
	if (newest != NULL)
		s.idle = sched_lane_empty(l->q, newest->id) && credit_tx_unacked(&newest->tx) == 0 &&
			 !mono_before(now, newest->busy_until);
	return s;
}

static void
scale(struct link *l, struct mono now)
{
	struct scale_conf c = l->t->set.scale;
	struct scale_sample s = sample(l, now);

	c.lanes_min = l->t->set.bulk_lanes;
	c.lanes_max = bulk_max(l);
	if (s.lanes == 0 || c.lanes_max == 0)
		return;
	switch (scale_step(&l->scale, &c, &s, now)) {
	case SCALE_OPEN:
		open_another(l, now);
		break;
	case SCALE_CLOSE:
		if (l->dialler)
			close_newest(l);
		break;
	case SCALE_STAY:
		break;
	}
}

/* --- measurements --- */

static void
add_lane(struct link_figures *f, struct lane *n, struct mono now)
{
	uint32_t loss = heartbeat_loss_ppm(&n->hb), use = pace_utilisation_permille(&n->pace, now);
	uint64_t kbps = pace_bandwidth_kbps(&n->pace);

	f->tx_bytes += n->tx_bytes;
	f->rx_bytes += n->rx_bytes;
	f->tx_frames += n->tx_frames;
	f->rx_frames += n->rx_frames;
	f->memory_bytes += n->sent.memory;
	f->memory_max_bytes += n->tx.limit_bytes - n->tx.acked_bytes;
	if (loss > f->loss_ppm)
		f->loss_ppm = loss;
	if (use > f->utilisation_permille)
		f->utilisation_permille = use;
	/* Bulk lanes add up; the others tell only while there is nothing better to go by. */
	if (n->id >= LANE_BULK || kbps > f->bandwidth_kbps)
		f->bandwidth_kbps = n->id >= LANE_BULK ? f->bandwidth_kbps + kbps : kbps;
}

void
link_figures(struct link *l, struct link_figures *out)
{
	struct lane *control = link_control(l);
	struct mono now = clock_mono();

	*out = (struct link_figures){.tx_bytes = l->tx_bytes,
	    .rx_bytes = l->rx_bytes,
	    .tx_frames = l->tx_frames,
	    .rx_frames = l->rx_frames};
	if (control != NULL) {
		out->rtt_us = control->hb.rtt_us;
		out->rtt_min_us = heartbeat_rtt_min_us(&control->hb);
		out->rtt_var_us = heartbeat_rtt_var_us(&control->hb);
	}
	for (unsigned i = LANE_BULK; i < LANES_MAX; i++)
		if (l->lane[i] != NULL)
			add_lane(out, l->lane[i], now);
	for (unsigned i = 0; i < LANE_BULK; i++)
		if (l->lane[i] != NULL)
			add_lane(out, l->lane[i], now);
	out->queued_bytes = sched_bytes(l->q);
	out->memory_bytes += sched_memory(l->q) + resume_bytes(&l->resume);
	out->memory_max_bytes += l->t->set.link_queue + LINK_RESERVE_BYTES;
}

static bool
moved(uint64_t now, uint64_t before)
{
	uint64_t change = now > before ? now - before : before - now;

	return change > before / REPORT_CHANGE_DIVISOR;
}

void
link_measured(struct link *l)
{
	struct mono now = clock_mono();
	struct link_figures f;

	if (l->reported_rtt_us != 0 && mono_before(now, mono_add_ms(l->reported, LINK_REPORT_MS)))
		return;
	link_figures(l, &f);
	if (f.rtt_us == 0)
		return;
	if (l->reported_rtt_us != 0 && !moved(f.rtt_us, l->reported_rtt_us) &&
	    f.loss_ppm == l->reported_loss_ppm && !moved(f.bandwidth_kbps, l->reported_kbps) &&
	    f.utilisation_permille / UTILISATION_STEP_PERMILLE ==
		l->reported_permille / UTILISATION_STEP_PERMILLE)
		return;
	l->reported = now;
	l->reported_rtt_us = f.rtt_us;
	l->reported_loss_ppm = f.loss_ppm;
	l->reported_kbps = (uint32_t)f.bandwidth_kbps;
	l->reported_permille = f.utilisation_permille;
	router_link(l->t, l);
}

/* An idle link says nothing about its bandwidth: a train of frames does. */
static void
probe(struct link *l, struct mono now)
{
	struct lane *n = l->lane[l->lanes.count > LANE_BULK ? LANE_BULK : LANE_CONTROL];

	if (l->t->set.probe_us == 0 || n == NULL || !sched_lane_empty(l->q, n->id))
		return;
	if (mono_before(now, mono_add_us(l->probed_at, l->t->set.probe_us << l->probes)) ||
	    mono_before(now, n->busy_until))
		return;
	l->probed_at = now;
	if (l->probes < LINK_PROBES_DOUBLE)
		l->probes++;
	lane_probe_start(n);
}

/* --- the timer --- */

void
link_tick(void *arg)
{
	struct link *l = arg;
	struct mono now = clock_mono();

	if (lanes_up(&l->lanes) == 0) {
		if (!mono_before(now, l->linger_until)) {
			link_down_if_empty(l, "the peer's other connection did not come up");
			return;
		}
	} else {
		scale(l, now);
		probe(l, now);
	}
	resume_tick(l, now);
	link_upkeep(l);
}
