/*
 * nodemeta: what this node tells the other members of itself, by its LSA, which damps what changes often; and
 * how busy its machine is.
 *
 * Load is the load average over five minutes, as the kernel computes it, for each processor, per mille:
 * members are told what is measured at most every five minutes, so a shorter average would be a glimpse.
 * 1000 is the most that is told: all processors are busy, or more is to be done than they can.
 */
#include "routerd/nodemeta.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "common/base/err.h"
#include "common/os/log.h"
#include "routerd/core/swim_meta.h"
#include "routerd/members.h"
#include "routerd/routerd.h"

enum {
	LOAD_MS = 60 * 1000, /* from one look at the load to the next */
	LOAD_STEP = 100,     /* what differs by less from what was told is no news */
	LOAD_MAX = 1000,
	PROCESSORS_MAX = 8192, /* that Linux is built for */
	FIVE_MINUTES = 1       /* among the averages of sysinfo(2) */
};

int
nodemeta_load(const struct routerd *d, uint16_t *permille)
{
	const uint64_t whole = (uint64_t)d->processors << SI_LOAD_SHIFT;
	struct sysinfo info;
	uint64_t load;

	if (sysinfo(&info) != 0)
		return ERR_IO;
	load = (uint64_t)info.loads[FIVE_MINUTES] * LOAD_MAX / whole;
	*permille = (uint16_t)(load < LOAD_MAX ? load : LOAD_MAX);
	return 0;
}

/* What is told of the load: not each small change, which would have all members exchange it. */
static uint16_t
load_told(struct routerd *d)
{
	uint16_t now;
	int moved;

	if (nodemeta_load(d, &now) != 0) {
		log_debug("the load of this machine is not known: %s", strerror(errno));
		return d->load_told;
	}
	moved = (int)now - (int)d->load_told;
	if (moved >= LOAD_STEP || moved <= -LOAD_STEP || now == 0)
		d->load_told = now;
	return d->load_told;
}

void
nodemeta_fill(struct routerd *d, const struct lsdb_entry *e, struct swim_meta *out)
{
	*out = (struct swim_meta){.load_permille = load_told(d)};
	memcpy(out->name, e->lsa->name, sizeof(out->name));
	memcpy(out->region, e->lsa->region, sizeof(out->region));
	memcpy(out->software, e->lsa->software, sizeof(out->software));
	lsdb_addresses(e, &out->addresses);
	for (size_t i = 0; i < d->capabilities.count; i++)
		memcpy(out->capabilities[out->capability_count++], d->capabilities.text[i], LABEL_SIZE);
	for (size_t i = 0; i < e->lsa->adj_count; i++)
		swim_meta_add_link(out,
		    &(struct swim_link_meta){
			.peer = e->lsa->adj[i].neighbour,
			.rtt_us = e->lsa->adj[i].latency_us < UINT32_MAX / 2 ? 2 * e->lsa->adj[i].latency_us
									     : UINT32_MAX,
			.bandwidth_kbps = e->lsa->adj[i].bandwidth_kbps,
		    });
}

/* The load may have changed, and nothing else. */
static void
on_timer(void *arg)
{
	struct routerd *d = arg;

	members_describe(d);
	loop_timer_arm_ms(d->load_timer, LOAD_MS);
}

/* Those that this process may run on: without a restriction of its own, all that are online. */
static int
count_processors(struct routerd *d)
{
	cpu_set_t sets[PROCESSORS_MAX / CPU_SETSIZE];

	if (sched_getaffinity(0, sizeof(sets), sets) != 0)
		return ERR_IO;
	d->processors = (unsigned)CPU_COUNT_S(sizeof(sets), sets);
	return 0;
}

int
nodemeta_init(struct routerd *d)
{
	if (count_processors(d) != 0 || nodemeta_load(d, &d->load_told) != 0) {
		log_error("the load of this machine can't be known: %s", strerror(errno));
		return ERR_IO;
	}
	d->load_timer = loop_timer_new(d->loop, on_timer, d);
	if (d->load_timer == NULL)
		return ERR_NOMEM;
	loop_timer_arm_ms(d->load_timer, LOAD_MS);
	return 0;
}

void
nodemeta_fini(struct routerd *d)
{
	loop_timer_free(d->load_timer);
	d->load_timer = NULL;
}
