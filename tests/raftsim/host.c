/* host: one replica with its disk and its state machine. */
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/base/must.h"
#include "tests/raftsim/seen.h"
#include "tests/raftsim/world.h"

enum { SNAPSHOT_PADDING = 600 };

void
memory_short(struct world *w)
{
	if (world_chance(w, w->faults.memory))
		mem_fail_at(1 + world_below(w, 5));
}

void
memory_back(void)
{
	mem_fail_at(0);
}

struct mono
host_clock(const struct world *w, unsigned h)
{
	const struct host *o = &w->host[h];

	return (struct mono){o->clock_us + (int64_t)((double)(w->now - o->rate_at) * o->rate)};
}

/* When its clock shows that. */
static int64_t
time_of(const struct world *w, unsigned h, struct mono clock)
{
	const struct host *o = &w->host[h];

	return mono_is_never(clock) ? INT64_MAX
				    : o->rate_at + (int64_t)((double)(clock.us - o->clock_us) / o->rate) + 1;
}

void
host_drift(struct world *w, unsigned h, double rate)
{
	struct host *o = &w->host[h];

	o->clock_us = host_clock(w, h).us;
	o->rate_at = w->now;
	o->rate = rate;
	if (o->up && !host_paused(w, h))
		host_pump(w, h);
}

int
host_of(const struct world *w, uint64_t id)
{
	for (unsigned h = 0; h < w->hosts; h++)
		if (w->host[h].id == id)
			return (int)h;
	return -1;
}

/* --- starting --- */

struct tracer {
	struct world *w;
	unsigned h;
};

static struct tracer tracers[HOSTS_MAX];

static void
on_trace(void *arg, enum raft_trace what, uint64_t a, uint64_t b)
{
	const struct tracer *t = arg;

	check_trace(t->w, t->h, what, a, b);
}

void
host_start(struct world *w, unsigned h)
{
	struct host *o = &w->host[h];
	struct raft_config *base;
	struct raft_conf conf = {
	    .set = w->settings, .id = o->id, .node = h + 1, .seed = rng_u64(&w->rng), .trace = on_trace};
	struct raft_state state = disk_state(&o->disk, &base);

	tracers[h] = (struct tracer){w, h};
	conf.arg = &tracers[h];
	o->machine = (struct machine){0};
	if (o->disk.snapshot.index != 0)
		memcpy(&o->machine, o->disk.snapshot.data, sizeof(o->machine));
	o->up = true;
	o->life++;
	o->applied = state.applied;
	o->commit = 0;
	o->tick_at = INT64_MAX;
	o->paused_until = 0;
	o->doom_in = 0;
	disk_snapshot_free(&o->incoming);
	if (raft_new(&conf, &state, host_clock(w, h), &o->raft) != 0)
		world_fail(w, "host %u does not start with what its disk has", h);
	raft_config_free(base);
	if (w->early)
		raft_apply_early(o->raft);
	host_pump(w, h);
}

void
host_crash(struct world *w, unsigned h)
{
	struct host *o = &w->host[h];

	o->up = false;
	o->life++;
	raft_free(o->raft);
	o->raft = NULL;
	disk_crash(&o->disk, world_below(w, (unsigned)o->disk.write_count + 1));
	w->crashes++;
}

static const char *const point_names[POINTS] = {
    [POINT_GIVEN] = "a write given",
    [POINT_DURABLE] = "durable, not told",
    [POINT_TOLD] = "told, nothing sent",
    [POINT_SENT] = "a message sent",
    [POINT_APPLIED] = "an entry applied",
    [POINT_SNAPSHOT] = "a snapshot given",
    [POINT_PIECE] = "a piece kept",
};

const char *
world_point_name(enum world_point p)
{
	return point_names[p];
}

/* False: it crashed there. */
static bool
passes(struct world *w, unsigned h, enum world_point p)
{
	struct host *o = &w->host[h];

	if (o->doom_in == 0 || o->doom != p || --o->doom_in != 0)
		return true;
	w->crashes_at[p]++;
	host_crash(w, h);
	world_push(w, w->now + world_below(w, 500 * WORLD_MS), WORLD_START, h, 0, NULL);
	return false;
}

void
host_lose(struct world *w, unsigned h)
{
	struct host *o = &w->host[h];

	*seen_lost(w->seen, o->id) = o->disk.base + o->disk.count;
	disk_fini(&o->disk);
	disk_init(&o->disk);
	o->id = w->next_id++;
	w->lost_states++;
}

/* --- snapshots --- */

static uint8_t *
encoded_config(struct world *w, unsigned h, uint64_t index, size_t *len)
{
	uint8_t *config = disk_config_at(w->host[h].raft, index, len);

	if (config == NULL)
		world_fail(w, "host %u: no membership at %llu", h, (unsigned long long)index);
	return config;
}

static void
write_started(struct world *w, unsigned h)
{
	int64_t us = w->host[h].sync_us != 0 ? w->host[h].sync_us : w->faults.sync_us;

	world_push(w, w->now + world_below(w, (unsigned)us), WORLD_SYNCED, h, w->host[h].life, NULL);
}

/* Each of what follows may end with a crash: false. */
static bool
maybe_snapshot(struct world *w, unsigned h)
{
	struct host *o = &w->host[h];
	struct disk_snapshot s = {.index = o->applied};
	struct raft_status st;
	uint64_t keep;
	size_t len;
	uint8_t *config;

	raft_show(o->raft, &st);
	if (o->applied > st.written || o->applied < st.first + w->snapshot_every ||
	    o->disk.write_count >= DISK_WRITES_MAX / 2 || raft_entry_at(o->raft, o->applied) == NULL ||
	    !world_chance(w, 100))
		return true;
	s.term = raft_entry_at(o->raft, o->applied)->term;
	s.config = encoded_config(w, h, s.index, &s.config_len);
	s.len = sizeof(o->machine) + SNAPSHOT_PADDING;
	s.data = sim_alloc(1, s.len);
	memcpy(s.data, &o->machine, sizeof(o->machine));
	keep = o->applied - world_below(w, w->snapshot_spare);
	config = encoded_config(w, h, keep, &len);
	disk_snapshot(&o->disk, &s, keep, raft_entry_at(o->raft, keep)->term, config, len);
	w->snapshots++;
	write_started(w, h);
	return passes(w, h, POINT_SNAPSHOT);
}

static void
give_chunks(struct world *w, unsigned h)
{
	struct host *o = &w->host[h];
	struct raft_chunk_wanted want;

	while (raft_chunk_next(o->raft, &want)) {
		struct raft_piece p;
		bool have = disk_snapshot_piece(&o->disk.snapshot, &want, &p);

		memory_short(w);
		raft_chunk_give(o->raft, &want, have ? &p : NULL, host_clock(w, h));
		memory_back();
	}
}

static bool
keep_chunks(struct world *w, unsigned h)
{
	struct host *o = &w->host[h];
	struct raft_chunk c;

	while (raft_chunk_came(o->raft, &c)) {
		bool ok = disk_snapshot_keep(&o->incoming, &c);

		/* As the shell does it: before the log says so. */
		if (ok && o->incoming.len == c.size) {
			memcpy(&o->machine, o->incoming.data, sizeof(o->machine));
			o->applied = o->incoming.index;
		}
		if (!passes(w, h, POINT_PIECE))
			return false;
		memory_short(w);
		raft_chunk_kept(o->raft, c.id, ok, host_clock(w, h));
		memory_back();
	}
	return true;
}

/* --- what follows from an event --- */

static bool
persist(struct world *w, unsigned h)
{
	struct host *o = &w->host[h];
	struct raft_persist p;

	while (o->disk.write_count < DISK_WRITES_MAX - 2 && raft_persist(o->raft, &p)) {
		disk_persist(&o->disk, o->raft, &p, &o->incoming);
		write_started(w, h);
		if (!passes(w, h, POINT_GIVEN))
			return false;
	}
	return true;
}

static bool
apply(struct world *w, unsigned h)
{
	struct host *o = &w->host[h];
	uint64_t first, last;

	while (raft_apply(o->raft, &first, &last)) {
		if (first > o->applied + 1)
			world_fail(w, "apply in order: host %u applies %llu after %llu", h,
			    (unsigned long long)first, (unsigned long long)o->applied);
		/* It may have a snapshot that the replica had no memory for. */
		for (uint64_t i = o->applied + 1; i <= last; i++) {
			const struct raft_entry *e = raft_entry_at(o->raft, i);

			machine_apply(&o->machine, e);
			o->applied = i;
			check_applied(w, h, e);
			client_applied(w, h, e);
			if (!passes(w, h, POINT_APPLIED))
				return false;
		}
		raft_applied(o->raft, last);
	}
	return true;
}

static bool
send_all(struct world *w, unsigned h)
{
	struct raft_msg m;

	while (raft_send(w->host[h].raft, &m)) {
		check_sent(w, h, &m);
		net_send(w, h, &m);
		raft_msg_fini(&m);
		if (!passes(w, h, POINT_SENT))
			return false;
	}
	return true;
}

static void
arm(struct world *w, unsigned h)
{
	struct host *o = &w->host[h];
	int64_t at = time_of(w, h, raft_next(o->raft));

	if (at < w->now)
		at = w->now + 1;
	if (at >= o->tick_at)
		return; /* it wakes earlier, and looks then */
	o->tick_at = at;
	if (at != INT64_MAX)
		world_push(w, at, WORLD_TICK, h, o->life, NULL);
}

void
host_pump(struct world *w, unsigned h)
{
	struct host *o = &w->host[h];
	uint64_t ctx, index;

	give_chunks(w, h);
	if (!keep_chunks(w, h) || !apply(w, h))
		return;
	while (raft_read_next(o->raft, &ctx, &index))
		client_read_ready(w, h, ctx, index);
	client_reads_serve(w, h);
	if (!maybe_snapshot(w, h) || !persist(w, h) || !send_all(w, h))
		return;
	check_after(w, h);
	arm(w, h);
}

/* --- events --- */

void
host_message(struct world *w, unsigned h, struct raft_msg *m)
{
	memory_short(w);
	raft_step(w->host[h].raft, m, host_clock(w, h));
	memory_back();
	host_pump(w, h);
}

void
host_tick(struct world *w, unsigned h)
{
	struct host *o = &w->host[h];

	if (w->now < o->tick_at)
		return; /* it was armed anew meanwhile */
	o->tick_at = INT64_MAX;
	memory_short(w);
	if (!mono_before(host_clock(w, h), raft_next(o->raft)))
		raft_tick(o->raft, host_clock(w, h));
	memory_back();
	host_pump(w, h);
}

void
host_synced(struct world *w, unsigned h)
{
	struct host *o = &w->host[h];
	uint64_t keep, mark;

	mark = disk_sync(&o->disk, &keep);
	if (!passes(w, h, POINT_DURABLE))
		return;
	memory_short(w);
	if (mark != 0)
		raft_durable(o->raft, mark, host_clock(w, h));
	memory_back();
	if (mark == 0 && keep <= o->applied && raft_compact(o->raft, keep) != 0)
		world_fail(w, "host %u can't compact to %llu", h, (unsigned long long)keep);
	if (passes(w, h, POINT_TOLD))
		host_pump(w, h);
}
