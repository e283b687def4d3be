#include "tests/raftsim/world.h"

#include <stdarg.h>
#include <stdlib.h>

#include "common/base/buf.h"
#include "common/base/must.h"
#include "tests/raftsim/seen.h"
#include "tests/simkit/simkit.h"

void
world_fail(const struct world *w, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	simkit_fail(&(struct simkit_at){"raftsim", w->seed, w->events_before + w->events, w->now}, fmt, ap);
}

bool
world_chance(struct world *w, unsigned of_1000)
{
	return rng_below(&w->rng, 1000) < of_1000;
}

unsigned
world_below(struct world *w, unsigned n)
{
	return (unsigned)rng_below(&w->rng, n);
}

void
world_note(struct world *w, uint64_t what)
{
	w->hash = simkit_note(w->hash, what, w->now);
}

void
world_push(struct world *w, int64_t at, enum world_what what, unsigned node, uint32_t life, void *data)
{
	queue_push(&w->queue,
	    (struct sim_event){.at = at, .what = (int)what, .node = node, .life = life, .data = data});
}

/* --- in the beginning --- */

static void
first_members(struct world *w, unsigned voters, unsigned learners)
{
	struct raft_member m[HOSTS_MAX] = {{0}};
	unsigned count = voters + learners;
	struct raft_config *c;

	for (unsigned h = 0; h < count; h++)
		m[h] = (struct raft_member){w->host[h].id, h + 1, h < voters ? RAFT_VOTER : RAFT_LEARNER};
	MUST(raft_config_new(m, count, &c) == 0);
	for (unsigned h = 0; h < count; h++)
		w->host[h].disk.base_config = disk_config(c, &w->host[h].disk.base_config_len);
	raft_config_free(c);
}

/* Limits make different things rare: where a message holds one entry, logs differ by parts of what a leader
 * sent; where it holds all, an old one overtakes much. */
static void
draw_settings(struct world *w)
{
	static const size_t append[] = {1, 512, 512, 8192}, chunk[] = {256, 256, 4096};

	w->settings = (struct raft_settings){
	    .election_us = 300 * WORLD_MS,
	    .heartbeat_us = 60 * WORLD_MS,
	    .quiet_us = w->seed % 3 == 0 ? 400 * WORLD_MS : 0,
	    .append_bytes = append[world_below(w, 4)],
	    .inflight_bytes = 2048,
	    .uncommitted_bytes = 8192,
	    .apply_bytes = 1024,
	    .chunk_bytes = chunk[world_below(w, 3)],
	};
	w->early = w->seed % 4 == 1;
	w->snapshot_every = world_chance(w, 500) ? 40 : 8;
	w->snapshot_spare = world_chance(w, 500) ? w->snapshot_every / 2 : 2;
	w->faults =
	    (struct faults){.delay_us = 2 * WORLD_MS, .sync_us = 4 * WORLD_MS, .pace_us = 900 * WORLD_MS};
}

struct world *
world_new(uint64_t seed, unsigned voters, bool verbose)
{
	struct world *w = sim_alloc(1, sizeof(*w));
	unsigned learners = 0;

	w->seed = seed;
	w->verbose = verbose;
	rng_seed(&w->rng, seed);
	w->truth = sim_alloc(INDEX_MAX, sizeof(w->truth[0]));
	w->seen = seen_new();
	w->churn = world_chance(w, 500);
	draw_settings(w);
	w->hosts = voters + (w->churn ? 2 + world_below(w, 2) : world_below(w, 2));
	if (!w->churn || world_chance(w, 500))
		learners = w->hosts - voters;
	w->next_id = 1;
	for (unsigned h = 0; h < w->hosts; h++) {
		disk_init(&w->host[h].disk);
		w->host[h].id = w->next_id++;
		/* A clock is wrong by up to 3 %, and worse where faults say so. */
		w->host[h].rate = 0.97 + world_below(w, 61) / 1000.0;
	}
	first_members(w, voters, learners);
	for (unsigned h = 0; h < w->hosts; h++)
		host_start(w, h);
	for (unsigned c = 0; c < CLIENTS; c++)
		world_push(w, world_below(w, WORLD_SECOND), WORLD_CLIENT, c, 0, NULL);
	world_push(w, WORLD_SECOND, WORLD_FAULT, 0, 0, NULL);
	return w;
}

void
world_free(struct world *w)
{
	for (unsigned h = 0; h < w->hosts; h++) {
		raft_free(w->host[h].raft);
		disk_fini(&w->host[h].disk);
		disk_snapshot_free(&w->host[h].incoming);
	}
	seen_free(w->seen);
	history_fini(&w->history);
	queue_fini(&w->queue);
	free(w->truth);
	free(w);
}

/* --- running --- */

static void
on_message(struct world *w, const struct sim_event *ev)
{
	struct raft_msg m;

	if (!w->host[ev->node].up || w->faults.cut[ev->link][ev->node])
		return;
	if (raft_msg_decode(ev->data, ev->len, &m) != 0)
		world_fail(w, "a message that can't be read");
	if (m.to == w->host[ev->node].id)
		host_message(w, ev->node, &m);
	else
		raft_msg_fini(&m);
}

static bool
is_now(const struct world *w, const struct sim_event *ev)
{
	return w->host[ev->node].up && w->host[ev->node].life == ev->life;
}

static void
handle(struct world *w, const struct sim_event *ev)
{
	switch ((enum world_what)ev->what) {
	case WORLD_MESSAGE:
		on_message(w, ev);
		break;
	case WORLD_SYNCED:
		if (is_now(w, ev))
			host_synced(w, ev->node);
		break;
	case WORLD_TICK:
		if (is_now(w, ev))
			host_tick(w, ev->node);
		break;
	case WORLD_CLIENT:
		client_turn(w, ev->node);
		break;
	case WORLD_CALL:
		if (is_now(w, ev))
			client_call(w, ev->link, ev->node);
		break;
	case WORLD_START:
		if (!w->host[ev->node].up)
			host_start(w, ev->node);
		break;
	case WORLD_FAULT:
		fault_turn(w);
		break;
	}
}

/* A process that stands still gets everything later, and hardly in the order in which it came. */
static bool
later(struct world *w, struct sim_event *ev)
{
	bool to_host = ev->what == WORLD_MESSAGE || ev->what == WORLD_SYNCED || ev->what == WORLD_TICK ||
		       ev->what == WORLD_CALL;

	if (!to_host || !w->host[ev->node].up || !host_paused(w, ev->node))
		return false;
	ev->at = w->host[ev->node].paused_until + world_below(w, WORLD_MS);
	queue_push(&w->queue, *ev);
	return true;
}

void
world_run(struct world *w, int64_t until)
{
	while (queue_next(&w->queue) <= until) {
		struct sim_event ev = queue_pop(&w->queue);

		w->now = ev.at;
		if (later(w, &ev))
			continue;
		w->events++;
		handle(w, &ev);
		free(ev.data);
	}
	w->now = until;
}
