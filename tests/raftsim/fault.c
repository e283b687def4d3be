/* fault: what goes wrong, and who changes the members meanwhile. */
#include <string.h>

#include "common/base/err.h"
#include "common/base/must.h"
#include "tests/raftsim/world.h"

static void
heal(struct world *w)
{
	memset(w->faults.cut, 0, sizeof(w->faults.cut));
}

static void
partition(struct world *w)
{
	unsigned side[HOSTS_MAX];
	bool one_way = world_chance(w, 300);

	for (unsigned h = 0; h < w->hosts; h++)
		side[h] = world_below(w, 2);
	for (unsigned a = 0; a < w->hosts; a++)
		for (unsigned b = 0; b < w->hosts; b++)
			w->faults.cut[a][b] = side[a] != side[b] && (!one_way || side[a] == 0);
}

/* Without rest in between, there would be no leader most of the time, and little to spoil. */
static void
recover(struct world *w)
{
	heal(w);
	for (unsigned h = 0; h < w->hosts; h++) {
		w->host[h].sync_us = 0;
		if (!w->host[h].up)
			host_start(w, h);
	}
}

static void
weather(struct world *w)
{
	w->faults.loss = world_chance(w, 500) ? 0 : world_below(w, 300);
	w->faults.doubled = world_chance(w, 500) ? 0 : world_below(w, 200);
	w->faults.delay_us = world_chance(w, 600) ? 2 * WORLD_MS : world_below(w, 200 * WORLD_MS);
	w->faults.sync_us = world_chance(w, 600) ? 4 * WORLD_MS : 1 + world_below(w, 400 * WORLD_MS);
	w->faults.memory = world_chance(w, 700) ? 0 : 1 + world_below(w, 100);
	w->faults.pace_us = world_chance(w, 700) ? 900 * WORLD_MS : 1 + world_below(w, 200 * WORLD_MS);
}

int
fault_leader(struct world *w)
{
	unsigned from = world_below(w, w->hosts);

	for (unsigned i = 0; i < w->hosts; i++) {
		unsigned h = (from + i) % w->hosts;
		struct raft_status st;

		if (!w->host[h].up)
			continue;
		raft_show(w->host[h].raft, &st);
		if (st.role == RAFT_LEADER)
			return (int)h;
	}
	return -1;
}

/* What a host is to be: anything; or, so that one half of a group hands over to the other, what it is not. */
static uint8_t
new_role(struct world *w, const struct raft_config *now, unsigned h, bool swap)
{
	const struct raft_member *m = raft_config_get(now, w->host[h].id);

	if (swap)
		return m == NULL || (m->role & RAFT_VOTER) == 0 ? RAFT_VOTER : 0;
	if (world_chance(w, 600))
		return RAFT_VOTER;
	return world_chance(w, 500) ? RAFT_LEARNER : 0;
}

static void
change(struct world *w)
{
	struct raft_member m[HOSTS_MAX];
	size_t n = 0, voters = 0;
	struct raft_config *now, *to;
	int err, h = fault_leader(w);
	bool swap = world_chance(w, 200);

	if (h < 0 || host_paused(w, (unsigned)h))
		return;
	MUST(raft_config_used(w->host[h].raft, &now) == 0);
	for (unsigned i = 0; i < w->hosts; i++) {
		uint8_t role = new_role(w, now, i, swap);

		if (role != 0)
			m[n++] = (struct raft_member){w->host[i].id, i + 1, role};
		voters += role == RAFT_VOTER;
	}
	raft_config_free(now);
	if (voters == 0 || raft_config_new(m, n, &to) != 0)
		return;
	memory_short(w);
	err = raft_change(w->host[h].raft, to, host_clock(w, (unsigned)h));
	memory_back();
	w->changes += err == 0;
	raft_config_free(to);
	host_pump(w, (unsigned)h);
}

/* Those who voted before are cut off from the leader that has changed it, and from those who vote now. */
static void
split(struct world *w, unsigned leader, const struct raft_config *before)
{
	bool old[HOSTS_MAX] = {0};

	for (unsigned h = 0; h < w->hosts; h++) {
		const struct raft_member *m = raft_config_get(before, w->host[h].id);

		old[h] = h != leader && m != NULL && (m->role & RAFT_VOTER) != 0;
	}
	for (unsigned a = 0; a < w->hosts; a++)
		for (unsigned b = 0; b < w->hosts; b++)
			w->faults.cut[a][b] = old[a] != old[b];
}

/* The leader crashes when it has written one of the steps that a change takes, and has told nobody. */
static void
doom_at_write(struct world *w, unsigned h)
{
	if (!world_chance(w, 300))
		return;
	w->host[h].doom = world_chance(w, 500) ? POINT_GIVEN : POINT_DURABLE;
	w->host[h].doom_in = 1 + world_below(w, 3);
}

/* One on top of the other is refused, if all is right. */
static void
change_often(struct world *w)
{
	struct raft_config *before = NULL;
	int h = fault_leader(w);

	if (h >= 0)
		MUST(raft_config_used(w->host[h].raft, &before) == 0);
	do
		change(w);
	while (world_chance(w, 500));
	if (h >= 0 && w->host[h].up && world_chance(w, 300))
		split(w, (unsigned)h, before);
	else if (h >= 0)
		doom_at_write(w, (unsigned)h);
	raft_config_free(before);
}

static void
transfer(struct world *w)
{
	int h = fault_leader(w);

	if (h < 0 || host_paused(w, (unsigned)h))
		return;
	if (raft_transfer(
		w->host[h].raft, w->host[world_below(w, w->hosts)].id, host_clock(w, (unsigned)h)) == 0)
		w->transfers++;
	host_pump(w, (unsigned)h);
}

/* Would the group survive the loss of one of its members, whoever it is?  Only where everybody is there and
 * agrees on the members, all of whom exist. */
bool
fault_may_lose(const struct world *w)
{
	uint64_t index = UINT64_MAX;

	for (unsigned h = 0; h < w->hosts; h++) {
		struct raft_status st;
		struct raft_member_status m;
		unsigned voters = 0;

		if (!w->host[h].up)
			return false;
		raft_show(w->host[h].raft, &st);
		if (index == UINT64_MAX)
			index = st.config_index;
		if (st.config_index != index || st.commit < index || st.joint || st.members == 0)
			return false;
		for (size_t i = 0; raft_member_at(w->host[h].raft, i, &m); i++) {
			if (host_of(w, m.member.id) < 0)
				return false;
			voters += (m.member.role & RAFT_VOTER) != 0;
		}
		if (voters < 3)
			return false;
	}
	return true;
}

static void
crash(struct world *w)
{
	unsigned h = world_below(w, w->hosts);

	if (w->host[h].up) {
		bool lose = w->churn && world_chance(w, 300) && fault_may_lose(w);

		host_crash(w, h);
		if (lose)
			host_lose(w, h);
		if (world_chance(w, 500))
			host_start(w, h);
	} else {
		host_start(w, h);
	}
}

/* Whoever watches the nodes wakes groups that are quiet, and says, rightly or wrongly, that leaders are gone.
 */
static void
wake(struct world *w, unsigned dice)
{
	for (unsigned h = 0; h < w->hosts; h++)
		if (w->host[h].up && !host_paused(w, h)) {
			if (!w->calm && (dice + h) % 4 == 0)
				raft_suspect(w->host[h].raft, host_clock(w, h));
			else
				raft_wake(w->host[h].raft, host_clock(w, h));
			host_pump(w, h);
		}
}

void
fault_turn(struct world *w)
{
	unsigned dice = world_below(w, 100);

	wake(w, dice);
	world_push(
	    w, w->now + WORLD_MS + world_below(w, (unsigned)w->faults.pace_us), WORLD_FAULT, 0, 0, NULL);
	if (w->calm)
		return;
	if (dice < 10)
		crash(w);
	else if (dice < 17)
		partition(w);
	else if (dice < 30)
		heal(w);
	else if (dice < 38)
		recover(w);
	else if (dice < 46)
		weather(w);
	else if (dice < 52)
		transfer(w);
	else if (w->churn && dice < 75)
		change_often(w);
	else
		aim_turn(w);
}

void
fault_end(struct world *w)
{
	w->calm = true;
	heal(w);
	w->faults.loss = w->faults.doubled = w->faults.memory = 0;
	w->faults.delay_us = 2 * WORLD_MS;
	w->faults.sync_us = 4 * WORLD_MS;
	w->faults.pace_us = WORLD_SECOND;
	for (unsigned h = 0; h < w->hosts; h++) {
		w->host[h].sync_us = w->host[h].doom_in = 0;
		host_drift(w, h, 0.97 + world_below(w, 61) / 1000.0);
		if (!w->host[h].up)
			host_start(w, h);
	}
}
