#include "tests/sim/sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/check.h"
#include "tests/sim/data.h"
#include "tests/sim/fault.h"
#include "tests/sim/net.h"
#include "tests/sim/node.h"

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

	fault_letters(s->faults, letters);
	printf("sim: FAILED at %lld us, event %llu: ", (long long)s->now, (unsigned long long)s->n.events);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\nsim: to see it again: sim -v -n %u -s %llu -f %s\n", s->node_count,
	    (unsigned long long)s->seed, letters);
	exit(1);
}

void
sim_say(const struct sim *s, const char *fmt, ...)
{
	va_list ap;

	if (!s->verbose)
		return;
	printf("%12.6f  ", (double)s->now / SIM_SECOND);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

struct sim *
sim_new(uint32_t nodes, uint64_t seed, unsigned faults, bool verbose)
{
	struct sim *s = sim_alloc(1, sizeof(*s));

	*s = (struct sim){.node_count = nodes, .seed = seed, .faults = faults, .verbose = verbose};
	s->now = SIM_SECOND;
	/* A check of everything looks at each node's copy of each LSA. */
	s->check_every = SIM_CHECK_EVERY + (uint64_t)SIM_CHECK_PAIR * nodes * nodes;
	s->check_at = s->check_every;
	/* The values of mesh.conf. */
	s->conf = (struct router_conf){
	    .lsa_refresh_us = 60 * (int64_t)SIM_SECOND,
	    .lsa_max_age_us = 200 * (int64_t)SIM_SECOND,
	    .spf_delay_us = 10 * SIM_MS,
	    .nodes_max = 16384,
	    .software = MESH_VERSION,
	};
	rng_seed(&s->rng, seed);
	rng_seed(&s->fault_rng, ~seed);
	s->nodes = sim_alloc(nodes, sizeof(s->nodes[0]));
	s->part = sim_alloc(nodes, sizeof(s->part[0]));
	s->part_size = sim_alloc(nodes, sizeof(s->part_size[0]));
	topo_make(s);
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
	free(s);
}

bool
sim_converged(struct sim *s)
{
	net_parts(s);
	return s->stale == 0 && s->routes == s->pairs;
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
	case SIM_LINK_LOST:
		net_lost(s, ev);
		break;
	case SIM_LINK_DIAL:
		net_dial(s, ev);
		break;
	case SIM_LINK_TOLD: /* goes to the node at once */
	case SIM_GOSSIP:
		break;
	}
}

/* Lets time pass up to end, or until all is converged if that is what is waited for. */
static void
run(struct sim *s, int64_t end)
{
	while (queue_next(&s->queue) <= end) {
		struct sim_event ev = queue_pop(&s->queue);

		s->now = ev.at;
		s->n.events++;
		dispatch(s, &ev);
		if (s->watching && sim_converged(s)) {
			s->watching = false;
			s->converged_at = s->now;
			return;
		}
		if (s->n.events >= s->check_at) {
			check_all(s);
			s->check_at = s->n.events + s->check_every;
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
