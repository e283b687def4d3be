#include "tests/streamsim/world.h"

#include <stdarg.h>
#include <stdlib.h>

#include "common/base/be.h"
#include "common/base/must.h"
#include "tests/simkit/simkit.h"

static struct simkit_at
where(const struct world *w)
{
	return (struct simkit_at){"streamsim", w->seed, w->sums.events, w->now};
}

void
world_fail(const struct world *w, const char *fmt, ...)
{
	const struct simkit_at at = where(w);
	va_list ap;

	va_start(ap, fmt);
	simkit_fail(&at, fmt, ap);
}

void
world_tell(const struct world *w, const char *fmt, ...)
{
	const struct simkit_at at = where(w);
	va_list ap;

	if (!w->verbose)
		return;
	va_start(ap, fmt);
	simkit_tell(&at, fmt, ap);
	va_end(ap);
}

bool
world_chance(struct world *w, unsigned of_1000)
{
	return of_1000 != 0 && rng_below(&w->rng, 1000) < of_1000;
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

struct mono
world_clock(const struct world *w)
{
	return (struct mono){w->now};
}

uint64_t
world_wall_ms(const struct world *w)
{
	return 1700000000000 + (uint64_t)w->now / WORLD_MS;
}

unsigned
world_publisher(const struct ulid *id)
{
	return (unsigned)(be_load64(id->b) - 1);
}

uint32_t
world_number(const struct ulid *id)
{
	return (uint32_t)be_load64(id->b + 8);
}

void
world_push(struct world *w, int64_t at, enum world_what what, unsigned node, unsigned link, void *data)
{
	uint32_t life = node < ENDS_MAX ? w->node[node].life : 0;

	queue_push(&w->queue,
	    (struct sim_event){
		.at = at, .what = (int)what, .node = node, .link = link, .life = life, .data = data});
}

/* --- in the beginning --- */

static void
draw_settings(struct world *w)
{
	static const size_t append[] = {1024, 4096, 65536}, window[] = {64 * 1024, 128 * 1024, 512 * 1024};
	static const int64_t reassembly_ms[] = {TARGET_REASSEMBLY_US / WORLD_MS, 1000, 100};

	w->settings = (struct raft_settings){
	    .election_us = 300 * WORLD_MS,
	    .heartbeat_us = 60 * WORLD_MS,
	    .append_bytes = append[world_below(w, 3)],
	    .inflight_bytes = 64 * 1024,
	    .uncommitted_bytes = world_chance(w, 500) ? 4096 : 256 * 1024,
	    .apply_bytes = 4096,
	    .chunk_bytes = 1024,
	};
	w->snapshot_every = world_chance(w, 500) ? 100 : 12;
	w->stream_conf = (struct stream_conf){
	    .flow = {.window_bytes = window[world_below(w, 3)], .rto_min_ms = 20, .rto_max_ms = 1000},
	    .batch_messages = 1 + world_below(w, 16),
	    .batch_bytes = 8 * 1024,
	    .backlog_bytes = 1024 * 1024,
	};
	w->target_conf = (struct target_conf){.window_bytes = w->stream_conf.flow.window_bytes,
	    .backlog_bytes = world_chance(w, 500) ? 64 * 1024 : 1024 * 1024,
	    .reassembly_us = reassembly_ms[w->seed / 3 % 3] * WORLD_MS};
	w->faults =
	    (struct faults){.delay_us = 2 * WORLD_MS, .commit_us = 3 * WORLD_MS, .pace_us = 700 * WORLD_MS};
}

/* Half of the streams ask for nothing special. */
static void
draw_policy(struct world *w)
{
	static const uint64_t bytes[] = {0, 3000, 12000, 60000}, ms[] = {0, 300, 2000};
	struct policy *p = &w->policy;

	if (world_chance(w, 400)) {
		p->overflow = POLICY_DROP;
		p->retention_bytes = bytes[world_below(w, 4)];
		p->retention_ms = ms[world_below(w, 3)];
	}
	if (world_chance(w, 400))
		p->ack = (enum policy_ack)world_below(w, POLICY_ACKS);
	if (world_chance(w, 100))
		p->ack = POLICY_ACK_QUORUM;
	if (p->ack == POLICY_ACK_QUORUM)
		p->quorum = 1 + world_below(w, w->targets);
	if (world_chance(w, 150))
		p->handler = POLICY_DISCARD;
	if (world_chance(w, p->ack == POLICY_ACK_QUORUM ? 800 : 350)) {
		w->poison = 1 + world_below(w, world_chance(w, 300) ? 500 : 30);
		p->max_attempts = world_below(w, 4);
		p->retry_ms = 20 + world_below(w, 200);
	}
	w->early = p->handler != POLICY_DISCARD && world_chance(w, 750);
	w->ack_failures = 1 + world_below(w, world_chance(w, 500) ? 3 : FAILURES_ACK_MAX);
	w->flow_failures = world_chance(w, 500) ? FAILURES_FLOW_MAX : 2 + world_below(w, 20);
	w->letters_max = world_chance(w, 500) ? 2 : UINT64_MAX;
	w->may_lose = !w->changes && p->overflow != POLICY_DROP && world_chance(w, 700);
	world_tell(w, "ack %d of %u, overflow %d at %llu bytes or %llu ms, handler %d", p->ack, p->quorum,
	    p->overflow, (unsigned long long)p->retention_bytes, (unsigned long long)p->retention_ms,
	    p->handler);
	world_tell(w, "%u of 1000 messages fail, %u attempts each; delivered %s", w->poison, p->max_attempts,
	    w->early ? "early" : "when stored");
}

static void
make_node(struct world *w, unsigned n)
{
	struct node *o = &w->node[n];

	rows_init(&o->rows);
	group_make(w, n);
	o->budget.max_bytes = world_chance(w, 500) ? 1024 * 1024 : 16 * 1024 * 1024;
	o->app.slow_us = 2 * WORLD_MS;
}

struct world *
world_new(uint64_t seed, unsigned targets, bool verbose)
{
	struct world *w = sim_alloc(1, sizeof(*w));

	w->seed = seed;
	w->verbose = verbose;
	rng_seed(&w->rng, seed);
	w->targets = targets;
	w->relays = world_below(w, RELAYS_MAX + 1);
	w->direct = w->relays == 0 || world_chance(w, 500);
	w->goal = 300 + world_below(w, 3000);
	w->changes = targets >= 2 && seed / ROWS_TARGETS_MAX % 2 == 0;
	be_store64(w->id.b, seed + 1);
	be_store64(w->id.b + 8, 1);
	draw_settings(w);
	draw_policy(w);
	for (unsigned n = 0; n <= targets; n++)
		make_node(w, n);
	routing_new(w);
	for (unsigned n = 0; n <= targets; n++)
		node_start(w, n);
	for (unsigned p = 0; p < PUBLISHERS; p++) {
		w->publisher[p].next = 1;
		world_push(w, world_below(w, WORLD_SECOND), WORLD_PUBLISH, p, 0, NULL);
	}
	world_push(w, WORLD_SECOND, WORLD_FAULT, 0, 0, NULL);
	if (w->changes)
		world_push(w, WORLD_SECOND, WORLD_CHANGE, 0, 0, NULL);
	return w;
}

static void
add(struct sums *sum, const struct sums *one)
{
	uint64_t *to = (uint64_t *)sum;
	const uint64_t *from = (const uint64_t *)one;

	for (size_t i = 0; i < sizeof(*sum) / sizeof(uint64_t); i++)
		to[i] += from[i];
}

void
world_free(struct world *w, struct sums *sum)
{
	routing_free(w);
	while (queue_next(&w->queue) != INT64_MAX) {
		struct sim_event ev = queue_pop(&w->queue);

		if (ev.data != NULL)
			frame_free(ev.data);
	}
	queue_fini(&w->queue);
	for (unsigned n = 0; n <= w->targets; n++) {
		struct node *o = &w->node[n];

		if (o->up)
			node_crash(w, n);
		rows_fini(&o->rows);
		group_end(w, n);
	}
	for (unsigned g = 0; g < GROUPS_MAX; g++)
		free(w->group[g].states);
	add(sum, &w->sums);
	free(w);
}

/* --- running --- */

static void
on_node(struct world *w, const struct sim_event *ev)
{
	struct node *o = &w->node[ev->node];

	switch ((enum world_what)ev->what) {
	case WORLD_FLUSHED:
		node_flushed(w, ev->node);
		break;
	case WORLD_SYNCED:
		group_synced(w, ev->node, ev->link);
		break;
	case WORLD_TICK:
		if (w->now < o->tick_at)
			return; /* it was armed anew meanwhile */
		o->tick_at = INT64_MAX;
		break;
	case WORLD_READ:
		if (ev->node == 0)
			source_read(w, ev->link);
		else
			target_read(w, ev->node);
		break;
	case WORLD_LETTERS:
		letters_read(w, ev->node);
		break;
	case WORLD_GAP:
		target_gap(w, ev->node);
		break;
	case WORLD_APP:
		if (ev->link != o->app.life)
			return; /* of an application that crashed */
		app_committed(w, ev->node);
		break;
	case WORLD_APP_START:
		app_start(w, ev->node);
		break;
	case WORLD_REROUTED:
		if (w->routing != NULL)
			routing_rerouted(w, ev->link);
		else
			source_rerouted(w);
		break;
	default:
		MUST(false);
	}
	node_pump(w, ev->node);
}

static void
on_frame(struct world *w, const struct sim_event *ev)
{
	if (!net_arrived(w, ev->node, ev->data))
		return;
	if (w->node[ev->node].up) {
		node_frame(w, ev->node, ev->data);
		node_pump(w, ev->node);
	}
	frame_free(ev->data);
}

static void
handle(struct world *w, const struct sim_event *ev)
{
	switch ((enum world_what)ev->what) {
	case WORLD_FRAME:
		on_frame(w, ev);
		break;
	case WORLD_PUBLISH:
		publisher_turn(w, ev->node);
		break;
	case WORLD_START:
		if (ev->node >= ENDS_MAX)
			fault_relay_back(w, ev->node);
		else if (!w->node[ev->node].up)
			node_start(w, ev->node);
		break;
	case WORLD_LOSE:
		(void)member_lose(w, ev->node);
		break;
	case WORLD_CHANGE:
		change_turn(w);
		break;
	case WORLD_FAULT:
		fault_turn(w);
		break;
	default:
		if (w->node[ev->node].up && w->node[ev->node].life == ev->life)
			on_node(w, ev);
	}
}

void
world_run(struct world *w, int64_t until, bool done)
{
	while (queue_next(&w->queue) <= until || routing_next(w) <= until) {
		struct sim_event ev;

		if (routing_next(w) < queue_next(&w->queue)) {
			routing_step(w);
			continue;
		}
		ev = queue_pop(&w->queue);
		w->now = ev.at;
		w->sums.events++;
		world_note(w, (uint64_t)ev.what * 64 + ev.node);
		(void)fault_strikes(w, &ev, false);
		handle(w, &ev);
		(void)fault_strikes(w, &ev, true);
		if (done && w->sums.events % 64 == 0 && check_done(w))
			return;
	}
	w->now = until;
}
