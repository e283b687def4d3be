#include "tests/sim/fault.h"

#include <stdlib.h>
#include <string.h>

#include "tests/sim/check.h"
#include "tests/sim/data.h"
#include "tests/sim/net.h"
#include "tests/sim/node.h"

static const char all_letters[] = "ldoxpcrsk"; /* in the order of enum sim_fault */

bool
fault_parse(const char *letters, unsigned *out)
{
	*out = 0;
	if (strcmp(letters, "all") == 0)
		*out = FAULT_ALL;
	if (*out != 0 || strcmp(letters, "none") == 0)
		return true;
	for (; *letters != '\0'; letters++) {
		const char *at = strchr(all_letters, *letters);

		if (at == NULL)
			return false;
		*out |= 1u << (at - all_letters);
	}
	return true;
}

void
fault_letters(unsigned faults, char out[FAULT_LETTERS + 1])
{
	for (unsigned i = 0; all_letters[i] != '\0'; i++)
		if ((faults & 1u << i) != 0)
			*out++ = all_letters[i];
	*out = '\0';
}

static uint64_t
chance(struct sim *s, uint64_t n)
{
	return rng_below(&s->fault_rng, n);
}

static struct sim_link *
any_link(struct sim *s)
{
	return &s->links[chance(s, s->link_count)];
}

static uint32_t
any_node(struct sim *s)
{
	return (uint32_t)chance(s, s->node_count);
}

/* --- parts of the network --- */

void
fault_region(struct sim *s, uint32_t count, bool *side)
{
	uint32_t *list = sim_alloc(s->node_count, sizeof(list[0]));
	uint32_t found = 1;

	memset(side, 0, s->node_count * sizeof(side[0]));
	list[0] = any_node(s);
	side[list[0]] = true;
	for (uint32_t i = 0; i < found && found < count; i++) {
		const struct sim_node *n = &s->nodes[list[i]];

		for (uint32_t k = 0; k < n->link_count && found < count; k++) {
			uint32_t peer = net_peer(&s->links[s->node_links[n->first_link + k]], list[i]);

			if (!side[peer]) {
				side[peer] = true;
				list[found++] = peer;
			}
		}
	}
	free(list);
}

void
fault_divide(struct sim *s, const bool *side, bool pass)
{
	for (uint32_t i = 0; i < s->link_count; i++)
		if (side[s->links[i].a] != side[s->links[i].b])
			net_set_pass(s, &s->links[i], pass, pass, false);
}

/* --- single faults --- */

static void
lose_frames(struct sim *s)
{
	s->loss_ppm = (uint32_t)chance(s, 300000);
	s->duplicate_ppm = (uint32_t)chance(s, 100000);
	sim_say(s, "fault: %u ppm of frames are lost, %u ppm come twice", s->loss_ppm, s->duplicate_ppm);
}

static void
delay_frames(struct sim *s)
{
	s->delay_us = 1 + (uint32_t)chance(s, 100 * SIM_MS);
	sim_say(s, "fault: frames are up to %u us late", s->delay_us);
}

static void
one_way(struct sim *s)
{
	struct sim_link *l = any_link(s);
	bool ab = chance(s, 2) != 0;

	sim_say(s, "fault: link %u-%u passes frames to %u only", l->a, l->b, ab ? l->b : l->a);
	net_set_pass(s, l, ab, !ab, false);
}

static void
cut(struct sim *s)
{
	struct sim_link *l = any_link(s);
	bool reset = chance(s, 2) != 0;

	sim_say(s, "fault: link %u-%u is %s", l->a, l->b, reset ? "reset" : "silent");
	net_set_pass(s, l, false, false, reset);
}

static void
partition(struct sim *s)
{
	bool *side = sim_alloc(s->node_count, sizeof(side[0]));
	uint32_t count = 1 + (uint32_t)chance(s, s->shape.part);

	sim_say(s, "fault: a part of %u nodes is cut off", count);
	fault_region(s, count, side);
	fault_divide(s, side, false);
	free(side);
}

static void
crash(struct sim *s)
{
	for (uint64_t count = 1 + chance(s, 1 + s->shape.part / 25); count != 0; count--) {
		uint32_t node = s->shape.ends + (uint32_t)chance(s, s->node_count - s->shape.ends);
		bool reset = chance(s, 2) != 0;

		sim_say(s, "fault: node %u %s", node, reset ? "dies" : "loses power");
		node_die(s, node, reset);
	}
}

static void
restart(struct sim *s)
{
	uint32_t node = any_node(s);

	sim_say(s, "fault: routerd of node %u starts anew", node);
	node_restart_routerd(s, node);
}

static void
slow(struct sim *s)
{
	uint32_t node = any_node(s);

	if (!s->nodes[node].up)
		return;
	if (chance(s, 2) != 0) {
		int64_t us = (int64_t)chance(s, 10 * (uint64_t)SIM_SECOND);

		sim_say(s, "fault: routerd of node %u hangs for %lld us", node, (long long)us);
		node_hang(s, node, us);
	} else {
		s->nodes[node].slow_us = 1 + (int64_t)chance(s, 20 * SIM_MS);
		sim_say(s, "fault: routerd of node %u takes %lld us for each event", node,
		    (long long)s->nodes[node].slow_us);
	}
}

void
fault_mend(struct sim *s)
{
	struct sim_link *l = any_link(s);

	for (uint32_t i = 0; i < s->link_count;
	     i++, l = l + 1 < s->links + s->link_count ? l + 1 : s->links) {
		if (l->pass[0] && l->pass[1])
			continue;
		sim_say(s, "mended: link %u-%u", l->a, l->b);
		net_set_pass(s, l, true, true, false);
		break;
	}
	for (uint32_t i = 0, node = any_node(s); i < s->node_count; i++, node = (node + 1) % s->node_count) {
		if (s->nodes[node].up || node < s->shape.ends)
			continue;
		sim_say(s, "mended: node %u", node);
		node_boot(s, node);
		break;
	}
}

void
fault_disturb(struct sim *s)
{
	static void (*const make[])(struct sim *) = {
	    lose_frames, delay_frames, one_way, cut, partition, crash, restart, slow};
	unsigned kind = (unsigned)chance(s, sizeof(make) / sizeof(make[0]) + 2);

	if (kind >= sizeof(make) / sizeof(make[0])) {
		fault_mend(s);
	} else if ((s->faults & 1u << kind) != 0) {
		s->n.faults++;
		s->disturbed = s->disturbed > s->now ? s->disturbed : s->now;
		make[kind](s);
	}
}

void
fault_calm(struct sim *s)
{
	sim_say(s, "calm");
	s->loss_ppm = s->duplicate_ppm = s->delay_us = 0;
	for (uint32_t i = 0; i < s->link_count; i++)
		net_set_pass(s, &s->links[i], true, true, false);
	for (uint32_t i = 0; i < s->node_count; i++) {
		s->nodes[i].slow_us = 0;
		if (i >= s->shape.ends)
			node_boot(s, i);
	}
	if (s->disturbed < s->now)
		s->disturbed = s->now;
}

void
fault_frames_pass(struct sim *s)
{
	s->loss_ppm = s->duplicate_ppm = s->delay_us = 0;
	for (uint32_t i = 0; i < s->node_count; i++)
		s->nodes[i].slow_us = 0;
	s->disturbed = s->disturbed > s->now ? s->disturbed : s->now;
}

/* Nothing is wrong any more, or stays as it is: after the time to settle all must be well. */
static void
settle(struct sim *s, int64_t us)
{
	int64_t until = s->disturbed + us;

	while (s->now < until) { /* connections that come up move it on */
		sim_run(s, until - s->now);
		until = s->disturbed + us;
	}
	check_all(s);
	sim_run(s, SIM_SECOND);
}

void
fault_rounds(struct sim *s, int64_t us)
{
	int64_t end = s->now + us;

	data_start(s, 5 * SIM_MS);
	settle(s, SIM_SETTLE_US);
	while (s->now < end) {
		for (uint64_t i = 1 + chance(s, 12); i != 0; i--) {
			fault_disturb(s);
			sim_run(s, (int64_t)chance(s, 2 * SIM_SECOND));
		}
		/* Broken as it is, but with frames that pass where there are links, it must settle, too. */
		if (chance(s, 2) != 0) {
			fault_frames_pass(s);
			settle(s, SIM_SETTLE_US);
		}
		fault_calm(s);
		settle(s, chance(s, 2) != 0 ? SIM_REFUTE_US : SIM_SETTLE_US);
	}
}
