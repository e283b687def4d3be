/*
 * bench_raft: the consensus engine alone, without storage, network or clock: groups in one process, messages
 * written and read as between nodes, what is given to storage durable at once.
 *
 * usage: bench_raft [SECONDS]      seconds per figure, 1 if not given
 *
 *	V_batchN      entries a second of CPU through V replicas: proposed N at a time, until all have
 *	              applied them
 *	cpu_V_batchN  us of CPU that an entry costs all of them
 *	memory_quiet  bytes of a replica in a group of three where nothing happens
 *	cpu_quiet     us of CPU of 1,000 such groups in a second of theirs: they are called when a deadline
 *	              of theirs is due, as in the daemon, and have none
 *	cpu_awake     the same if groups are never quiet
 *
 * All names begin with raft_core_.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "consensusd/core/deadlines.h"
#include "consensusd/core/raft.h"
#include "consensusd/core/raft_entry.h"
#include "consensusd/core/raft_msg.h"

enum {
	REPLICAS_MAX = 5,
	PAYLOAD_BYTES = 128,
	MESSAGE_MAX_BYTES = 1 << 20,
	KEEP = 1000, /* entries that stay in the log */
	MS = 1000,
	QUIET_US = 1000 * MS,
	GROUPS = 1000,
	GROUP_SIZE = 3,
	IDLE_SECONDS = 20,
};

static double seconds_each = 1;

struct group {
	struct deadline deadline; /* the first of its replicas'; first in here */
	unsigned count;
	struct raft *replica[REPLICAS_MAX];
	struct mono now;
	uint64_t seq;
};

static double
cpu_us(void)
{
	struct timespec t;

	MUST(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) == 0);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void
print(const char *name, double value, const char *unit)
{
	printf("bench raft_core_%s %.3f %s\n", name, value, unit);
	fflush(stdout);
}

/* --- a group --- */

static struct raft *
replica_new(const struct raft_config *config, uint64_t id, int64_t quiet_us)
{
	struct raft_conf conf = {
	    .set =
		{
		    .election_us = 1000 * MS,
		    .heartbeat_us = 150 * MS,
		    .quiet_us = quiet_us,
		    .append_bytes = 64 * 1024,
		    .inflight_bytes = 1024 * 1024,
		    .uncommitted_bytes = 16 * 1024 * 1024,
		    .apply_bytes = 256 * 1024,
		    .chunk_bytes = 64 * 1024,
		},
	    .id = id,
	    .node = id,
	    .seed = id,
	};
	struct raft_state state = {.snap_config = config};
	struct raft *r;

	MUST(raft_new(&conf, &state, MONO_ZERO, &r) == 0);
	return r;
}

static void
carry(struct group *g, const struct raft_msg *m, struct buf *b)
{
	struct raft_msg got;

	buf_reset(b);
	MUST(raft_msg_encode(m, b) == 0);
	MUST(raft_msg_decode(buf_head(b), buf_left(b), &got) == 0);
	raft_step(g->replica[got.to - 1], &got, g->now);
}

/* What follows for one replica.  False: nothing. */
static bool
follow(struct group *g, struct raft *r, struct buf *b)
{
	struct raft_persist p;
	struct raft_msg m;
	uint64_t first, last;
	bool did = false;

	while (raft_persist(r, &p)) {
		raft_durable(r, p.mark, g->now);
		did = true;
	}
	while (raft_apply(r, &first, &last)) {
		raft_applied(r, last);
		did = true;
	}
	while (raft_send(r, &m)) {
		carry(g, &m, b);
		raft_msg_fini(&m);
		did = true;
	}
	return did;
}

static void
settle(struct group *g)
{
	struct buf b;
	bool did;

	buf_init(&b, MESSAGE_MAX_BYTES);
	do {
		did = false;
		for (unsigned i = 0; i < g->count; i++)
			did = follow(g, g->replica[i], &b) || did;
	} while (did);
	buf_fini(&b);
}

static void
group_init(struct group *g, unsigned count, int64_t quiet_us)
{
	struct raft_member m[REPLICAS_MAX];
	struct raft_config *config;

	*g = (struct group){.count = count};
	for (unsigned i = 0; i < count; i++)
		m[i] = (struct raft_member){i + 1, i + 1, RAFT_VOTER};
	MUST(raft_config_new(m, count, &config) == 0);
	for (unsigned i = 0; i < count; i++)
		g->replica[i] = replica_new(config, i + 1, quiet_us);
	raft_config_free(config);
	raft_campaign(g->replica[0], g->now);
	settle(g);
}

static void
group_fini(struct group *g)
{
	for (unsigned i = 0; i < g->count; i++)
		raft_free(g->replica[i]);
}

static struct raft_status
status_of(const struct raft *r)
{
	struct raft_status st;

	raft_show(r, &st);
	return st;
}

static void
propose(struct group *g, unsigned batch)
{
	static const uint8_t payload[PAYLOAD_BYTES];
	uint64_t index;

	for (unsigned i = 0; i < batch; i++) {
		struct raft_entry *e = raft_entry_new(RAFT_DATA, 1, ++g->seq, payload, sizeof(payload));

		MUST(e != NULL && raft_propose(g->replica[0], e, g->now, &index) == 0 && index != 0);
	}
	settle(g);
	for (unsigned r = 0; r < g->count; r++)
		MUST(status_of(g->replica[r]).applied >= index);
}

static void
compact(struct group *g)
{
	for (unsigned r = 0; r < g->count; r++) {
		struct raft_status st = status_of(g->replica[r]);

		if (st.applied > st.first + 2 * (uint64_t)KEEP)
			MUST(raft_compact(g->replica[r], st.applied - KEEP) == 0);
	}
}

/* --- the figures --- */

static void
throughput(unsigned count, unsigned batch)
{
	double start, spent;
	uint64_t entries = 0;
	struct group g;
	char name[64];

	group_init(&g, count, 0);
	start = cpu_us();
	do {
		propose(&g, batch);
		compact(&g);
		entries += batch;
		spent = cpu_us() - start;
	} while (spent < seconds_each * 1e6);
	MUST(status_of(g.replica[0]).commit >= entries);
	group_fini(&g);
	snprintf(name, sizeof(name), "%u_batch%u", count, batch);
	print(name, (double)entries / spent * 1e6, "entries/s");
	snprintf(name, sizeof(name), "cpu_%u_batch%u", count, batch);
	print(name, spent / (double)entries, "us/entry");
}

static void
arm(struct deadlines *all, struct group *g)
{
	struct mono next = MONO_NEVER;

	for (unsigned r = 0; r < g->count; r++)
		next = mono_min(next, raft_next(g->replica[r]));
	MUST(deadlines_set(all, &g->deadline, next) == 0);
}

static void
tick(struct group *g, struct mono now)
{
	g->now = now;
	for (unsigned r = 0; r < g->count; r++)
		if (!mono_before(now, raft_next(g->replica[r])))
			raft_tick(g->replica[r], now);
	settle(g);
}

/* Time passes, from one deadline to the next as in the daemon. */
static void
idle(struct deadlines *all, struct mono until)
{
	struct mono now;

	while (!mono_before(until, now = deadlines_next(all))) {
		struct group *g = (struct group *)(void *)deadlines_pop(all, now);

		tick(g, now);
		arm(all, g);
	}
}

static bool
all_quiet(const struct group *groups)
{
	for (unsigned i = 0; i < GROUPS; i++)
		for (unsigned r = 0; r < groups[i].count; r++)
			if (!status_of(groups[i].replica[r]).quiet)
				return false;
	return true;
}

static void
nothing_happens(const char *cpu, const char *memory, int64_t quiet_us)
{
	struct group *groups = mem_calloc(GROUPS, sizeof(*groups));
	struct mono from = mono_add_us(MONO_ZERO, 5 * (int64_t)QUIET_US);
	size_t before = mallinfo2().uordblks;
	struct deadlines all;
	double start;

	MUST(groups != NULL);
	deadlines_init(&all);
	for (unsigned i = 0; i < GROUPS; i++) {
		group_init(&groups[i], GROUP_SIZE, quiet_us);
		propose(&groups[i], 1);
		arm(&all, &groups[i]);
	}
	idle(&all, from);
	MUST(all_quiet(groups) == (quiet_us != 0));
	if (memory != NULL)
		print(
		    memory, (double)(mallinfo2().uordblks - before) / (GROUPS * GROUP_SIZE), "bytes/replica");
	start = cpu_us();
	idle(&all, mono_add_us(from, IDLE_SECONDS * 1000 * (int64_t)MS));
	print(cpu, (cpu_us() - start) / IDLE_SECONDS, "us/s");
	for (unsigned i = 0; i < GROUPS; i++)
		group_fini(&groups[i]);
	deadlines_fini(&all);
	mem_free(groups);
}

int
main(int argc, char **argv)
{
	static const unsigned batches[] = {1, 16, 256};

	if (argc > 1)
		seconds_each = strtod(argv[1], NULL);
	if (argc > 2 || !(seconds_each > 0)) {
		fprintf(stderr, "usage: bench_raft [SECONDS]\n");
		return 2;
	}
	for (unsigned count = 3; count <= REPLICAS_MAX; count += 2)
		for (size_t i = 0; i < sizeof(batches) / sizeof(batches[0]); i++)
			throughput(count, batches[i]);
	nothing_happens("cpu_quiet", "memory_quiet", QUIET_US);
	nothing_happens("cpu_awake", NULL, 0);
	return 0;
}
