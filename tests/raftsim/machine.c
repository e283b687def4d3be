#include "tests/raftsim/machine.h"

#include <string.h>

#include "consensusd/core/raft_entry.h"

static void
mix(struct machine *m, uint64_t x)
{
	m->hash = (m->hash ^ x) * 0x100000001b3u;
}

void
machine_apply(struct machine *m, const struct raft_entry *e)
{
	struct machine_write w;

	mix(m, e->index);
	mix(m, e->term);
	mix(m, e->type);
	if (e->type != RAFT_DATA || e->len != sizeof(w) || e->client >= MACHINE_CLIENTS)
		return;
	memcpy(&w, e->data, sizeof(w));
	mix(m, w.value);
	if (e->seq <= m->last_seq[e->client])
		return;
	m->last_seq[e->client] = e->seq;
	m->reg[w.reg % MACHINE_REGISTERS] = w.value;
	m->done++;
}
