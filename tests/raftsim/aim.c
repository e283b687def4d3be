/*
 * aim: what goes wrong where it hurts most: at whoever leads, between two steps that belong together.
 *
 * By chance alone such things are rare.  Figure 8 of the paper, for one, needs leaders that crash one after
 * the other, each when a part of the group has its entries.
 */
#include <string.h>

#include "tests/raftsim/world.h"

/* The leader, mostly, or anybody; -1: nobody who is up. */
static int
victim(struct world *w)
{
	int h = world_chance(w, 700) ? fault_leader(w) : -1;

	if (h < 0)
		h = (int)world_below(w, w->hosts);
	return w->host[h].up ? h : -1;
}

/* It reaches so many others, and all the rest each other. */
static void
isolate(struct world *w, unsigned h, unsigned with)
{
	bool side[HOSTS_MAX] = {0};

	side[h] = true;
	for (; with != 0; with--)
		side[world_below(w, w->hosts)] = true;
	for (unsigned a = 0; a < w->hosts; a++)
		for (unsigned b = 0; b < w->hosts; b++)
			w->faults.cut[a][b] = side[a] != side[b];
}

/* It hears the others and is not heard, or the other way round. */
static void
one_way(struct world *w, unsigned h)
{
	bool out = world_chance(w, 500);

	for (unsigned o = 0; o < w->hosts; o++)
		if (o != h)
			w->faults.cut[out ? h : o][out ? o : h] = true;
}

static void
doom(struct world *w, unsigned h)
{
	bool rare;

	w->host[h].doom = (enum world_point)world_below(w, POINTS);
	rare = w->host[h].doom == POINT_SNAPSHOT || w->host[h].doom == POINT_PIECE;
	w->host[h].doom_in = 1 + world_below(w, rare ? 2 : 8);
}

/* Down and up again, before the others have noticed or after they have chosen another one; as somebody else
 * where the group can bear it. */
static void
bounce(struct world *w, unsigned h)
{
	bool lose = w->churn && fault_may_lose(w);

	host_crash(w, h);
	if (lose)
		host_lose(w, h);
	world_push(w, w->now + world_below(w, 600 * WORLD_MS), WORLD_START, h, 0, NULL);
}

static void
drift(struct world *w)
{
	for (unsigned h = 0; h < w->hosts; h++)
		host_drift(w, h, 0.7 + world_below(w, 701) / 1000.0);
}

void
aim_turn(struct world *w)
{
	int v = victim(w);
	unsigned h = (unsigned)v;

	if (v < 0)
		return;
	switch (world_below(w, 8)) {
	case 0:
		isolate(w, h, world_below(w, 3));
		break;
	case 1:
		one_way(w, h);
		break;
	case 2:
		bounce(w, h);
		break;
	case 3:
		w->host[h].paused_until = w->now + world_below(w, 1500 * WORLD_MS);
		break;
	case 4:
		w->host[h].sync_us = world_chance(w, 300) ? 0 : 1 + world_below(w, 400 * WORLD_MS);
		break;
	case 5:
		drift(w);
		break;
	default:
		doom(w, h);
		break;
	}
}
