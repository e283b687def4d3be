/* fault: what goes wrong. */
#include <string.h>

#include "tests/streamsim/world.h"

enum { DOWN_US = 900 * WORLD_MS, HEAR_US = 80 * WORLD_MS };

static void
crash(struct world *w, unsigned n)
{
	if (!w->node[n].up)
		return;
	node_crash(w, n);
	world_push(w, w->now + 1 + world_below(w, DOWN_US), WORLD_START, n, 0, NULL);
}

static void
relay_crash(struct world *w)
{
	unsigned r;

	if (w->relays == 0 || w->faults.relay_down[r = world_below(w, w->relays)])
		return;
	w->faults.relay_down[r] = true;
	w->sums.relay_crashes++;
	world_push(w, w->now + 1 + world_below(w, DOWN_US), WORLD_START, ENDS_MAX + r, 0, NULL);
	world_push(w, w->now + world_below(w, HEAR_US), WORLD_REROUTED, 0, 0, NULL);
}

void
fault_relay_back(struct world *w, unsigned host)
{
	w->faults.relay_down[host - ENDS_MAX] = false;
}

static void
partition(struct world *w)
{
	unsigned side[HOSTS_MAX];
	bool one_way = world_chance(w, 300);

	for (unsigned h = 0; h < HOSTS_MAX; h++)
		side[h] = world_below(w, 2);
	for (unsigned a = 0; a < HOSTS_MAX; a++)
		for (unsigned b = 0; b < HOSTS_MAX; b++)
			w->faults.cut[a][b] = side[a] != side[b] && (!one_way || side[a] == 0);
}

static void
heal(struct world *w)
{
	memset(w->faults.cut, 0, sizeof(w->faults.cut));
	for (unsigned n = 0; n <= w->targets; n++)
		w->node[n].slow_us = 0;
	routing_heal(w);
}

static void
link_cut(struct world *w)
{
	unsigned a = world_below(w, HOSTS_MAX), b = world_below(w, HOSTS_MAX);

	w->faults.cut[a][b] = true;
	if (world_chance(w, 700))
		w->faults.cut[b][a] = true;
}

static void
weather(struct world *w)
{
	w->faults.loss = world_chance(w, 500) ? 0 : world_below(w, 250);
	w->faults.doubled = world_chance(w, 500) ? 0 : world_below(w, 200);
	w->faults.delay_us = world_chance(w, 600) ? 2 * WORLD_MS : world_below(w, 100 * WORLD_MS);
	w->faults.commit_us = world_chance(w, 600) ? 3 * WORLD_MS : 1 + world_below(w, 200 * WORLD_MS);
	w->faults.memory = world_chance(w, 600) ? 0 : 1 + world_below(w, 30);
	w->faults.fenced = world_chance(w, 700) ? 0 : 1 + world_below(w, 300);
	w->faults.pace_us = world_chance(w, 600) ? 700 * WORLD_MS : 1 + world_below(w, 200 * WORLD_MS);
}

static void
doom(struct world *w)
{
	static const enum world_what when[] = {
	    WORLD_FLUSHED, WORLD_SYNCED, WORLD_FRAME, WORLD_APP, WORLD_READ, WORLD_FLUSHED};

	w->faults.doom = when[world_below(w, sizeof(when) / sizeof(when[0]))];
	w->faults.doom_node = world_below(w, w->targets + 1);
	w->faults.doom_in = 1 + world_below(w, 12);
	w->faults.doom_after = world_chance(w, 600);
}

static void
away(struct world *w)
{
	uint64_t term;

	/* The group's leader is not the source any more, for a while. */
	if (w->node[0].up && group_leads(group_of(w, 0), &term) &&
	    group_hand_over(w, group_of(w, 0), 1 + world_below(w, w->targets)))
		node_pump(w, 0);
}

static void
app_again(struct world *w)
{
	unsigned n = 1 + world_below(w, w->targets);

	w->node[n].app.slow_us = world_chance(w, 500) ? 2 * WORLD_MS : 1 + world_below(w, 150 * WORLD_MS);
	if (!w->node[n].up || w->node[n].target == NULL)
		return;
	app_crash(w, n);
	world_push(w, w->now + 1 + world_below(w, DOWN_US), WORLD_APP_START, n, 0, NULL);
}

static void
slow(struct world *w)
{
	w->node[world_below(w, w->targets + 1)].slow_us = 1 + world_below(w, 400 * WORLD_MS);
}

/* Somebody has looked at the dead letters of a node: there is room again. */
static void
see_letters(struct world *w)
{
	struct node *o = &w->node[1 + world_below(w, w->targets)];

	o->letters_seen = o->rows.letter_count;
}

static void
one(struct world *w)
{
	switch (world_below(w, 15)) {
	case 0:
		crash(w, world_below(w, w->targets + 1));
		break;
	case 1:
		crash(w, 0);
		break;
	case 2:
		if (!routing_fault(w))
			relay_crash(w);
		break;
	case 3:
		if (!routing_fault(w))
			partition(w);
		break;
	case 4:
		if (!routing_fault(w))
			link_cut(w);
		break;
	case 5:
	case 6:
		doom(w);
		break;
	case 7:
		weather(w);
		break;
	case 8:
		away(w);
		break;
	case 9:
		app_again(w);
		break;
	case 10:
		slow(w);
		break;
	case 11:
		if (w->node[0].up)
			source_new_epoch(w);
		break;
	case 12:
		see_letters(w);
		break;
	case 13:
		(void)member_lose(w, 1 + world_below(w, w->targets));
		break;
	default:
		heal(w);
	}
}

void
fault_turn(struct world *w)
{
	if (w->calm)
		return;
	/* Without rest in between nothing would be done that could be spoiled. */
	if (world_chance(w, 300))
		heal(w);
	else if (w->routing == NULL || world_chance(w, 600) || !routing_fault(w))
		one(w);
	world_push(w, w->now + 1 + world_below(w, (unsigned)w->faults.pace_us), WORLD_FAULT, 0, 0, NULL);
}

bool
fault_strikes(struct world *w, const struct sim_event *ev, bool after)
{
	struct faults *f = &w->faults;

	if (f->doom_in == 0 || ev->what != (int)f->doom || ev->node != f->doom_node || after != f->doom_after)
		return false;
	if (--f->doom_in != 0 || !w->node[ev->node].up)
		return false;
	crash(w, ev->node);
	return true;
}

void
fault_end(struct world *w)
{
	world_tell(w, "all is well from now on");
	heal(w);
	w->calm = true;
	w->letters_max = UINT64_MAX;
	memset(w->faults.relay_down, 0, sizeof(w->faults.relay_down));
	w->faults.loss = w->faults.doubled = w->faults.memory = w->faults.doom_in = 0;
	w->faults.delay_us = 2 * WORLD_MS;
	w->faults.commit_us = 3 * WORLD_MS;
	for (unsigned n = 0; n <= w->targets; n++) {
		w->node[n].app.slow_us = 2 * WORLD_MS;
		if (!w->node[n].up)
			node_start(w, n);
		if (n != 0 && w->node[n].target != NULL) {
			app_start(w, n);
			node_pump(w, n);
		}
	}
	routing_calm(w);
	if (w->routing == NULL)
		source_rerouted(w);
}
