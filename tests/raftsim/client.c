/* client: applications that write and read registers, one operation at a time, and try again elsewhere. */
#include "tests/raftsim/world.h"

enum { RETRY_US = 900 * WORLD_MS, PAUSE_US = 30 * WORLD_MS };

static void
write_try(struct world *w, unsigned c, unsigned h)
{
	struct client *k = &w->client[c];
	struct machine_write data = {k->reg, k->value};
	struct raft_entry *e = raft_entry_new(RAFT_DATA, c + 1, k->seq, &data, sizeof(data));
	uint64_t index;
	int err;

	memory_short(w);
	err = raft_propose(w->host[h].raft, e, host_clock(w, h), &index);
	memory_back();
	if (err != 0)
		k->tried = w->now - RETRY_US + PAUSE_US; /* again soon */
}

static void
read_try(struct world *w, unsigned c, unsigned h)
{
	struct client *k = &w->client[c];
	int err;

	k->ctx = ++w->next_ctx;
	memory_short(w);
	err = raft_read(w->host[h].raft, k->ctx, host_clock(w, h));
	memory_back();
	if (err != 0)
		k->tried = w->now - RETRY_US + PAUSE_US;
}

void
client_call(struct world *w, unsigned c, unsigned h)
{
	struct client *k = &w->client[c];

	if (!k->busy || k->host != h)
		return;
	if (k->reading)
		read_try(w, c, h);
	else
		write_try(w, c, h);
	host_pump(w, h);
}

/* Any host, though it may be a member no more; when all is well, half of the time one that leads. */
static unsigned
choose(struct world *w)
{
	int leader = w->calm && world_chance(w, 500) ? fault_leader(w) : -1;

	return leader >= 0 ? (unsigned)leader : world_below(w, w->hosts);
}

static void
try_somewhere(struct world *w, unsigned c)
{
	struct client *k = &w->client[c];
	unsigned h = choose(w);

	k->tried = w->now;
	k->host = h;
	k->ctx = k->index = 0;
	if (!w->host[h].up)
		return;
	if (host_paused(w, h))
		queue_push(&w->queue,
		    (struct sim_event){
			.at = w->now, .what = WORLD_CALL, .node = h, .link = c, .life = w->host[h].life});
	else
		client_call(w, c, h);
}

static void
begin(struct world *w, unsigned c)
{
	struct client *k = &w->client[c];

	k->busy = true;
	k->reading = world_chance(w, 400);
	k->reg = world_below(w, MACHINE_REGISTERS);
	k->began = w->now;
	k->value = 0;
	if (!k->reading) {
		k->value = ++w->next_value;
		k->seq++;
	}
	k->op = history_begin(&w->history, k->reading, k->reg, k->value, w->now);
	try_somewhere(w, c);
}

void
client_turn(struct world *w, unsigned c)
{
	struct client *k = &w->client[c];

	if (!k->busy)
		begin(w, c);
	else if (w->now - k->tried >= RETRY_US)
		try_somewhere(w, c);
	world_push(w, w->now + 1 + world_below(w, PAUSE_US), WORLD_CLIENT, c, 0, NULL);
}

static void
done(struct world *w, struct client *k, uint64_t value)
{
	history_end(&w->history, k->op, value, w->now);
	k->busy = false;
	k->done_at = w->now;
	*(k->reading ? &w->reads : &w->writes) += 1;
}

void
client_applied(struct world *w, unsigned h, const struct raft_entry *e)
{
	struct client *k;

	if (e->type != RAFT_DATA || e->client == 0 || e->client > CLIENTS)
		return;
	k = &w->client[e->client - 1];
	if (k->busy && !k->reading && k->seq == e->seq && k->host == h)
		done(w, k, k->value);
}

void
client_read_ready(struct world *w, unsigned h, uint64_t ctx, uint64_t index)
{
	for (unsigned c = 0; c < CLIENTS; c++) {
		struct client *k = &w->client[c];

		if (k->busy && k->reading && k->ctx == ctx && k->host == h)
			k->index = index;
	}
}

void
client_reads_serve(struct world *w, unsigned h)
{
	for (unsigned c = 0; c < CLIENTS; c++) {
		struct client *k = &w->client[c];

		if (k->busy && k->reading && k->host == h && k->index != 0 && w->host[h].applied >= k->index)
			done(w, k, w->host[h].machine.reg[k->reg]);
	}
}
