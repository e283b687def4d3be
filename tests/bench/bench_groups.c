/*
 * Many Raft groups of three nodes: three consensusds in one process, each with a PostgreSQL database of its
 * own, everything durable; their frames go from one to the other through Unix sockets.
 *
 * usage: bench_groups [COUNT ...]     groups, 1 100 1000 if not given; run from the top of the tree
 *
 * For each COUNT, lines `bench NAME VALUE UNIT`:
 *
 * raft_groups_COUNT_memory     KiB of each replica, of what malloc() has given out
 * raft_groups_COUNT_idle_cpu   % of a core that a node needs while the groups are quiet; without any group
 *                              it is raft_groups_0_idle_cpu
 * raft_groups_COUNT_awake_cpu, _awake_packets
 *                              the same if they never are (raft-quiet 0), and what a node sends a second:
 *                              the heartbeats of all groups to a node go together
 * raft_groups_COUNT_start      ms from the start of all nodes until all groups have a leader
 * raft_groups_COUNT_commits    entries of 256 bytes a second, each group has one under way at its leader;
 *                              _p50, _p99: ms
 */
/* The store is the real one. */
#define TESTS_UNIT_CONSENSUSD_FAKE_STORE_H
/* Of those who log in there is a struct group, too. */
#define group login_group
#include <grp.h>
#undef group
#include <malloc.h>
#include <sys/resource.h>

#include "common/os/conf.h"
#include "consensusd/engine.h"
#include "tests/pg_server.h"

enum { COUNT_MAX = 4096, PAYLOAD_BYTES = 256, LATENCIES_MAX = 1 << 20, NODES = 3 };

static struct pg_server server;
static unsigned round_number; /* each has databases of its own */
static const char *settings = "";

static void
fake_dbs_fini(void)
{
}

static void
database_of(unsigned node, char *out, size_t size)
{
	snprintf(out, size, "host=%s user=mesh dbname=n%u_%u", server.dir, round_number, node);
}

/* As a node's mesh.conf is written, but with its database. */
static struct conf *
real_conf(const char *path, const char *daemon, FILE *err)
{
	char text[4096], conninfo[256], *p;
	FILE *f = fopen(path, "r");
	size_t n;

	MUST(f != NULL);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	fclose(f);
	p = strstr(text, "database \"");
	MUST(p != NULL);
	p += strlen("database \"");
	database_of((unsigned)atoi(p), conninfo, sizeof(conninfo));
	f = fopen(path, "w");
	MUST(f != NULL);
	fprintf(f, "%.*s%s\"\n%s%s", (int)(p - text), text, conninfo, settings, strchr(p, '"') + 1);
	fclose(f);
	return conf_load(path, daemon, err);
}

static int
real_store(struct engine *e, const struct conf *conf)
{
	int fd = open("etc/sql", O_RDONLY | O_DIRECTORY), err;

	err = engine_open_store(e, conf, fd, -1, NULL);
	close(fd);
	return err;
}

#define conf_load(path, daemon, err) real_conf(path, daemon, err)
#define engine_open_store(e, conf, sql_dir_fd, witness_fd, user) real_store(e, conf)
#include "tests/unit/consensusd/env.h"
#undef conf_load
#undef engine_open_store

#include "common/base/be.h"
#include "consensusd/core/raft_entry.h"
#include "consensusd/group.h"

/* A replica's state machine: it counts, and its leader's is who proposes. */
struct machine {
	struct group *group;
	bool leads;
	uint64_t waits; /* for this seq */
	struct mono began;
};

static struct machine machines[NODES][COUNT_MAX];
static unsigned group_count;
static bool proposing;
static struct loop_timer *over;
static uint32_t *latency_us;
static size_t latency_count;

static void
show(unsigned count, const char *name, double value, const char *unit)
{
	printf("bench raft_groups_%u_%s %.*f %s\n", count, name, value < 100 ? 2 : 0, value, unit);
	fflush(stdout);
}

/* --- the state machine --- */

static void
propose(struct machine *x)
{
	static const uint8_t payload[PAYLOAD_BYTES];
	struct raft_entry *e = raft_entry_new(RAFT_DATA, 1, ++x->waits, payload, sizeof(payload));
	uint64_t index;

	MUST(e != NULL);
	x->began = clock_mono();
	MUST(group_propose(x->group, e, &index) == 0);
}

static int
on_apply(void *sm, struct raft_entry *e)
{
	struct machine *x = sm;

	if (!x->leads || e->type != RAFT_DATA || e->seq != x->waits)
		return 0;
	if (proposing && latency_count < LATENCIES_MAX) {
		latency_us[latency_count++] = (uint32_t)mono_diff_us(clock_mono(), x->began);
		propose(x);
	}
	return 0;
}

static int
on_snapshot(void *sm, struct buf *out)
{
	(void)sm;
	return buf_put_u8(out, 0);
}

static int
on_restore(void *sm, const uint8_t *data, size_t len, uint64_t index)
{
	(void)sm;
	(void)data;
	(void)len;
	(void)index;
	return 0;
}

static void
on_role(void *sm, const struct raft_status *now)
{
	struct machine *x = sm;

	x->leads = now->role == RAFT_LEADER;
}

static const struct group_ops ops = {
    .apply = on_apply, .snapshot = on_snapshot, .restore = on_restore, .role = on_role};

/* --- groups --- */

static void
group_name(unsigned number, uint8_t out[STORE_GROUP_BYTES])
{
	memset(out, 0x47, STORE_GROUP_BYTES);
	be_store32(out, number);
}

static void
attach(unsigned node, unsigned number, struct group *g)
{
	struct machine *x = &machines[node][number];

	*x = (struct machine){.group = g};
	MUST(group_attach(g, &ops, x) == 0);
}

static void
make_group(unsigned number)
{
	struct raft_member members[NODES];
	uint8_t id[STORE_GROUP_BYTES];
	struct group *g;

	group_name(number, id);
	for (unsigned i = 0; i < NODES; i++)
		members[i] = (struct raft_member){.id = (uint64_t)(number + 1) * NODES + i,
		    .node = env.nodes[i].engine.self,
		    .role = RAFT_VOTER};
	for (unsigned i = 0; i < NODES; i++) {
		MUST(group_new(env.nodes[i].engine.groups, id, STORE_RAFT_DSG, members[i].id, members, NODES,
			 &g) == 0);
		attach(i, number, g);
	}
	group_campaign(machines[number % NODES][number].group);
}

static bool
all_led(struct env *e)
{
	(void)e;
	for (unsigned g = 0; g < group_count; g++) {
		bool led = false;

		for (unsigned i = 0; i < NODES; i++)
			led |= machines[i][g].leads;
		if (!led)
			return false;
	}
	return true;
}

/* --- time --- */

static void
on_over(void *arg)
{
	(void)arg;
	loop_stop(env.loop);
}

/* What happens in so many seconds; the CPU that this process needed for it. */
static double
run_seconds(double seconds)
{
	struct rusage before, after;

	loop_timer_arm_ms(over, (int64_t)(seconds * 1000));
	getrusage(RUSAGE_SELF, &before);
	MUST(loop_run(env.loop) == 0);
	getrusage(RUSAGE_SELF, &after);
	return (double)(after.ru_utime.tv_sec - before.ru_utime.tv_sec + after.ru_stime.tv_sec -
			before.ru_stime.tv_sec) +
	       (double)(after.ru_utime.tv_usec - before.ru_utime.tv_usec + after.ru_stime.tv_usec -
			before.ru_stime.tv_usec) /
		   1e6;
}

/* --- nodes --- */

static void
make_databases(void)
{
	PGconn *pg = PQconnectdb(server.conninfo);

	round_number++;
	for (unsigned i = 0; i < NODES; i++) {
		char sql[64];
		PGresult *r;

		snprintf(sql, sizeof(sql), "CREATE DATABASE n%u_%u", round_number, i);
		r = PQexec(pg, sql);
		MUST(PQresultStatus(r) == PGRES_COMMAND_OK);
		PQclear(r);
	}
	PQfinish(pg);
}

static void
begin(const char *conf_lines)
{
	settings = conf_lines;
	make_databases();
	MUST(env_setup(NULL) == 0);
	over = loop_timer_new(env.loop, on_over, NULL);
	group_count = 0;
}

static void
end(void)
{
	loop_timer_free(over);
	(void)env_teardown(NULL);
}

static void
make_groups(unsigned count)
{
	for (group_count = 0; group_count < count; group_count++)
		make_group(group_count);
	env_run(&env, all_led);
	run_seconds(1);
}

/* All nodes stop, and start with what their databases have. */
static double
restart(void)
{
	struct mono began;
	struct group *g;
	uint8_t id[STORE_GROUP_BYTES];

	for (unsigned i = 0; i < NODES; i++) {
		env_stop(&env.nodes[i]);
		env.nodes[i].identities = env.nodes[i].health = 0;
	}
	memset(machines, 0, sizeof(machines));
	began = clock_mono();
	for (unsigned i = 0; i < NODES; i++)
		env_start(&env.nodes[i]);
	env_run(&env, env_ready);
	for (unsigned i = 0; i < NODES; i++) {
		for (unsigned n = 0; n < group_count; n++) {
			group_name(n, id);
			g = groups_find(env.nodes[i].engine.groups, id);
			MUST(g != NULL);
			attach(i, n, g);
		}
	}
	env_run(&env, all_led);
	return (double)mono_diff_us(clock_mono(), began) / 1000;
}

/* --- figures --- */

static int
compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void
commits(unsigned count, double seconds)
{
	struct mono began = clock_mono();
	double took;

	latency_count = 0;
	proposing = true;
	for (unsigned g = 0; g < count; g++)
		for (unsigned i = 0; i < NODES; i++)
			if (machines[i][g].leads)
				propose(&machines[i][g]);
	run_seconds(seconds);
	proposing = false;
	took = (double)mono_diff_us(clock_mono(), began) / 1e6;
	run_seconds(0.5); /* what is under way */
	MUST(latency_count > 0);
	qsort(latency_us, latency_count, sizeof(*latency_us), compare);
	show(count, "commits", (double)latency_count / took, "1/s");
	show(count, "commits_p50", latency_us[latency_count / 2] / 1000.0, "ms");
	show(count, "commits_p99", latency_us[latency_count * 99 / 100] / 1000.0, "ms");
}

static void
quiet_figures(unsigned count)
{
	const double seconds = 10;
	size_t before;

	begin(" raft-quiet 1s\n");
	run_seconds(1);
	before = mallinfo2().uordblks + mallinfo2().hblkhd;
	make_groups(count);
	run_seconds(8); /* the longest that one may take to be quiet, if it was in doubt */
	if (count != 0)
		show(count, "memory",
		    (double)(mallinfo2().uordblks + mallinfo2().hblkhd - before) / NODES / count / 1024,
		    "KiB");
	show(count, "idle_cpu", run_seconds(seconds) / NODES / seconds * 100, "%");
	if (count != 0) {
		show(count, "start", restart(), "ms");
		commits(count, 5);
	}
	end();
}

static void
awake_figures(unsigned count)
{
	const double seconds = 5;
	int64_t packets;

	begin(" raft-quiet 0\n");
	make_groups(count);
	packets = stats.peers_sent_packets.value;
	show(count, "awake_cpu", run_seconds(seconds) / NODES / seconds * 100, "%");
	show(count, "awake_packets", (double)(stats.peers_sent_packets.value - packets) / NODES / seconds,
	    "packets/s");
	end();
}

int
main(int argc, char **argv)
{
	static char all_of[][8] = {"", "1", "100", "1000"};
	static char *all[] = {all_of[0], all_of[1], all_of[2], all_of[3]};

	if (argc == 1) {
		argc = sizeof(all) / sizeof(all[0]);
		argv = all;
	}
	latency_us = calloc(LATENCIES_MAX, sizeof(*latency_us));
	MUST(latency_us != NULL);
	pg_server_init(&server);
	pg_server_start(&server, NULL);
	quiet_figures(0);
	for (int i = 1; i < argc; i++) {
		unsigned count = (unsigned)atoi(argv[i]);

		MUST(count > 0 && count <= COUNT_MAX);
		quiet_figures(count);
		awake_figures(count);
	}
	pg_server_fini(&server);
	free(latency_us);
	return 0;
}
