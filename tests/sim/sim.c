#include "tests/sim/sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/sim/agree.h"
#include "tests/sim/carrier.h"
#include "tests/sim/check.h"
#include "tests/sim/data.h"
#include "tests/sim/fault.h"
#include "tests/sim/net.h"
#include "tests/sim/node.h"
#include "tests/sim/reach.h"
#include "tests/sim/share.h"
#include "tests/sim/way.h"

uint64_t
sim_mix(uint64_t h, const void *data, size_t len)
{
	const uint8_t *p = data;
	uint64_t word;

	for (; len >= sizeof(word); len -= sizeof(word), p += sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		h = (h ^ word) * 0x9fb21c651e98df25u;
		h ^= h >> 32;
	}
	for (word = 0; len != 0; len--)
		word = word << 8 | *p++;
	h = (h ^ word) * 0xff51afd7ed558ccdu;
	return h ^ h >> 33;
}

void
sim_fail(const struct sim *s, const char *fmt, ...)
{
	char letters[FAULT_LETTERS + 1];
	va_list ap;

	va_start(ap, fmt);
	if (s->carrier != NULL)
		carrier_fail(s, fmt, ap);
	va_end(ap);
	fault_letters(s->faults, letters);
	printf("sim: FAILED at %lld us, event %llu: ", (long long)s->now, (unsigned long long)s->n.events);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\nsim: to see it again: sim -v -i %u ", s->shape.refresh_s);
	if (s->faults == 0)
		printf(s->gossip_only ? "-m -g " : "-m ");
	if (s->sampled)
		printf("-r %u ", s->shape.routes);
	printf("-n %u -s %llu%s%s\n", s->node_count, (unsigned long long)s->seed,
	    s->faults != 0 ? " -f " : "", letters);
	exit(1);
}

void
sim_say(const struct sim *s, const char *fmt, ...)
{
	va_list ap;

	if (!s->verbose)
		return;
	if (s->carrier != NULL) {
		va_start(ap, fmt);
		carrier_say(s, fmt, ap);
		va_end(ap);
		return;
	}
	printf("%12.6f  ", (double)s->now / SIM_SECOND);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

/* Seconds between lines of progress, where they are not written over each other. */
enum { PROGRESS_S = 15 };

void
sim_progress(struct sim *s, const char *fmt, ...)
{
	bool terminal = isatty(STDERR_FILENO) != 0;
	time_t now = time(NULL);
	char text[128];
	va_list ap;

	if (!s->progress || (!terminal && now < s->progress_at))
		return;
	s->progress_at = now + PROGRESS_S;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fprintf(stderr, "%ssim: %u nodes%s, at %.1f s: %s%s", terminal ? "\r\033[K" : "", s->node_count,
	    s->gossip_only ? ", members" : "", (double)s->now / SIM_SECOND, text, terminal ? "" : "\n");
}

void
sim_progress_end(const struct sim *s)
{
	if (s->progress && isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
}

/* --- what is simulated --- */

struct sim_shape
sim_shape(uint32_t nodes, bool gossip_only)
{
	/* By what a computation takes: alternatives to all nodes, then best paths.  By what is flooded, when
	 * a part is cut off; and by what a walk over all databases takes. */
	static const struct sim_shape shapes[] = {
	    {.nodes = 200, .routes = 200, .alternatives = 200, .checks = 200, .part = 100, .refresh_s = 60},
	    {.nodes = 2000, .routes = 32, .alternatives = 8, .checks = 2000, .part = 16, .refresh_s = 1800},
	    {.nodes = UINT32_MAX,
		.routes = 32,
		.alternatives = 0,
		.checks = 256,
		.part = 16,
		.refresh_s = 1800},
	};
	struct sim_shape shape = shapes[0];

	for (unsigned i = 1; nodes > shape.nodes; i++)
		shape = shapes[i];
	shape.nodes = nodes;
	shape.routes = shape.routes < nodes ? shape.routes : nodes;
	shape.alternatives = shape.alternatives < nodes ? shape.alternatives : nodes;
	shape.checks = shape.checks < nodes ? shape.checks : nodes;
	shape.part = shape.part < nodes / 2 ? shape.part : nodes / 2;
	shape.gossip_only = gossip_only;
	shape.far_us = SIM_FAR_US;
	return shape;
}

/* Who computes paths. */
static void
draw_sample(struct sim *s)
{
	uint32_t *order = sim_alloc(s->node_count, sizeof(order[0]));
	struct rng rng;

	rng_seed(&rng, s->seed ^ 0x5a);
	for (uint32_t i = 0; i < s->node_count; i++)
		order[i] = i;
	s->sources = sim_alloc(s->shape.routes, sizeof(s->sources[0]));
	for (uint32_t i = 0; i < s->shape.routes; i++) {
		uint32_t other = i + (uint32_t)rng_below(&rng, s->node_count - i), taken = order[other];

		order[other] = order[i];
		s->sources[i] = taken;
		s->nodes[taken].computes = true;
		s->nodes[taken].alternatives = i < s->shape.alternatives;
	}
	free(order);
}

/* The values of mesh.conf. */
static struct router_conf
router_defaults(int64_t refresh_us)
{
	struct router_conf conf = {
	    .lsa_refresh_us = refresh_us,
	    .lsa_max_age_us = 3 * refresh_us,
	    .spf_delay_us = 10 * SIM_MS,
	    .nodes_max = 16384,
	    .software = MESH_VERSION,
	    .paths_max = 3,
	    .hysteresis_percent = 15,
	};

	memcpy(conf.cost, cost_defaults, sizeof(cost_defaults));
	return conf;
}

struct sim *
sim_new(const struct sim_shape *shape, uint64_t seed, unsigned faults, bool verbose)
{
	struct sim *s = sim_alloc(1, sizeof(*s));
	uint32_t nodes = shape->nodes;

	*s = (struct sim){.node_count = nodes, .seed = seed, .faults = faults, .verbose = verbose};
	s->shape = *shape;
	s->gossip_only = shape->gossip_only;
	s->sampled = !shape->gossip_only && shape->routes < nodes;
	s->now = SIM_SECOND;
	s->conf = router_defaults((int64_t)shape->refresh_s * SIM_SECOND);
	/* A check of everything looks at a node's copy of each LSA. */
	s->check_every = SIM_CHECK_EVERY + (uint64_t)SIM_CHECK_PAIR * nodes * shape->checks;
	s->check_at = s->check_every;
	rng_seed(&s->rng, seed);
	rng_seed(&s->fault_rng, ~seed);
	s->nodes = sim_alloc(nodes, sizeof(s->nodes[0]));
	s->part = sim_alloc(nodes, sizeof(s->part[0]));
	s->part_size = sim_alloc(nodes, sizeof(s->part_size[0]));
	topo_make(s);
	draw_sample(s);
	share_init(s);
	if (s->gossip_only || s->sampled)
		way_init(s);
	if (s->sampled)
		reach_init(s);
	for (uint32_t i = 0; i < nodes; i++)
		node_init(s, i);
	return s;
}

void
sim_free(struct sim *s)
{
	for (uint32_t i = 0; i < s->node_count; i++)
		node_fini(s, i);
	queue_fini(&s->queue);
	free(s->nodes);
	free(s->links);
	free(s->node_links);
	free(s->part);
	free(s->part_size);
	share_fini(s);
	way_fini(s);
	reach_fini(s);
	free(s->by_id);
	free(s->sources);
	free(s);
}

bool
sim_converged(struct sim *s)
{
	net_parts(s);
	return s->stale_best == 0 && s->routes == s->pairs && (!s->sampled || agree_all(s));
}

static void
dispatch(struct sim *s, struct sim_event *ev)
{
	switch (ev->what) {
	case SIM_FRAME:
		if (net_arrives(s, ev)) {
			node_take(s, ev);
		} else {
			s->n.frames_lost++;
			free(ev->data);
		}
		break;
	case SIM_SIGNATURE:
	case SIM_GOSSIP:
		if (s->nodes[ev->node].life == ev->life)
			node_take(s, ev);
		else
			free(ev->data);
		break;
	case SIM_WAKE:
		node_wake(s, ev);
		break;
	case SIM_DATA:
		data_frame(s, ev);
		break;
	case SIM_INJECT:
		data_inject(s);
		break;
	case SIM_UNUSED:
		data_unused(s, ev);
		break;
	case SIM_LINK_LOST:
		net_lost(s, ev);
		break;
	case SIM_LINK_DIAL:
		net_dial(s, ev);
		break;
	case SIM_LINK_TOLD: /* these go to the node at once */
	case SIM_USED:
		break;
	}
}

void
sim_step(struct sim *s)
{
	struct sim_event ev = queue_pop(&s->queue);

	s->now = ev.at;
	s->n.events++;
	dispatch(s, &ev);
	if (s->n.events >= s->check_at) {
		check_all(s);
		s->check_at = s->n.events + s->check_every;
	}
}

/* Lets time pass up to end, or until all is converged if that is what is waited for. */
static void
run(struct sim *s, int64_t end)
{
	while (queue_next(&s->queue) <= end) {
		sim_step(s);
		if (s->watching && sim_converged(s)) {
			s->watching = false;
			s->converged_at = s->now;
			return;
		}
	}
	s->now = end;
}

void
sim_run(struct sim *s, int64_t us)
{
	run(s, s->now + us);
}

bool
sim_run_until_converged(struct sim *s, int64_t us)
{
	s->watching = true;
	run(s, s->now + us);
	if (!s->watching)
		return true;
	s->watching = false;
	return false;
}

/* --- samples --- */

void
samples_add(struct samples *v, int64_t us)
{
	if (v->count == v->cap) {
		v->cap = v->cap != 0 ? 2 * v->cap : 64;
		v->us = realloc(v->us, v->cap * sizeof(v->us[0]));
		if (v->us == NULL)
			abort();
	}
	v->us[v->count++] = us;
}

static int
compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

int64_t
samples_at(struct samples *v, unsigned permille)
{
	size_t i;

	if (v->count == 0)
		return 0;
	qsort(v->us, v->count, sizeof(v->us[0]), compare);
	i = (v->count * permille + 999) / 1000;
	return v->us[i != 0 ? i - 1 : 0];
}

void
samples_fini(struct samples *v)
{
	free(v->us);
	*v = (struct samples){0};
}
