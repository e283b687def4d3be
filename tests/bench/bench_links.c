/*
 * bench_links: what links cost a node that they are idle on: memory, and CPU.
 *
 * usage: bench_links [-n LINKS]      1000 if not given
 *
 *	link_memory_idle_listener   KiB that the daemon grows by for each link of three lanes that it accepts
 *	link_memory_idle_dialler    the same of the side that dials them
 *	link_handshake_cpu_listener ms of CPU of the daemon for each link of three lanes, until it is up
 *	link_handshake_cpu_dialler
 *	links_1000_memory           MiB that the daemon has grown by with LINKS links
 *	links_1000_cpu_idle         % of a core of the daemon with LINKS idle links, each side of each lane
 *	                            with a heartbeat a second
 *
 * The daemon is transportd as it is shipped, in its sandbox; the peers are made by hand in this process
 * (tests/rig/raw_peer.h), each with its own key and certificate, and prove themselves honestly.  Memory is
 * what is resident (/proc/PID/statm), without what the kernel keeps for the sockets.  Links that come before
 * WARM_LINKS are not counted in the first four figures: they also pay for what is made once.
 */
#include <poll.h>
#include <sys/resource.h>

#include "tests/bench/limits.h"
#include "tests/bench/relay_mesh.h"
#include "tests/rig/raw_peer.h"
#include "transportd/core/heartbeat.h"

enum {
	LINKS = 1000,
	LINKS_FEW = 60,
	WARM_LINKS = 10,
	LANES = 3,
	FDS_BESIDE = 256,
	BEAT_TICK_MS = 10,
	BEAT_TICKS = 100, /* in the second in which each lane has its turn */
	SETTLE_MS = 1000,
	IDLE_MS = 5000,
	PENDING_MAX = 256,
};

struct peer {
	struct rig_node as; /* who it is: key, id, directory of the certificate */
	int listener;       /* if the daemon dials; else -1 */
	struct loop_fd *watch;
	struct lane_end {
		struct raw_peer raw;
		struct loop_fd *watch; /* until the daemon has proven itself */
	} lanes[LANES];
	unsigned begun;
};

static struct {
	struct relay_mesh mesh;
	struct rig_node *node; /* the daemon that is measured */
	struct peer **peers;
	size_t count;
	size_t lanes_up;
	struct loop_timer *beats;
	unsigned tick;
} bench;

static void
print(const char *name, double value, const char *unit)
{
	printf("bench %s %.2f %s\n", name, value, unit);
	fflush(stdout);
}

/* --- the peers --- */

/* Certificates of the authority that the daemons trust. */
static void
take_authority(struct relay_mesh *m)
{
	char path[PATH_MAX];
	FILE *f;

	X509_free(m->rig.ca);
	EVP_PKEY_free(m->rig.ca_key);
	snprintf(path, sizeof(path), "%s/ca/ca.crt", m->rig.dir);
	RIG_MUST((f = fopen(path, "r")) != NULL && (m->rig.ca = PEM_read_X509(f, NULL, NULL, NULL)) != NULL);
	fclose(f);
	snprintf(path, sizeof(path), "%s/ca/ca.key", m->rig.dir);
	RIG_MUST((f = fopen(path, "r")) != NULL &&
		 (m->rig.ca_key = PEM_read_PrivateKey(f, NULL, NULL, NULL)) != NULL);
	fclose(f);
}

static struct peer *
peer_new(size_t i)
{
	struct peer *p = calloc(1, sizeof(*p));
	uint8_t seed[CRYPTO_SEED_BYTES], pub[CRYPTO_PUBKEY_BYTES];

	RIG_MUST(p != NULL);
	p->listener = -1;
	p->as.rig = &bench.mesh.rig;
	snprintf(p->as.name, sizeof(p->as.name), "p%zu", i);
	snprintf(p->as.dir, sizeof(p->as.dir), "%s/%.8s%zu", bench.mesh.rig.dir, bench.node->name, i);
	RIG_MUST(mkdir(p->as.dir, 0700) == 0);
	crypto_random(seed, sizeof(seed));
	p->as.key = crypto_key_new(seed);
	crypto_key_public(p->as.key, pub);
	p->as.id = crypto_node_id(pub);
	rig_issue(&p->as, p->as.id, NULL, NULL, 86400);
	return p;
}

static void
peer_free(struct peer *p)
{
	loop_fd_del(p->watch);
	if (p->listener != -1)
		close(p->listener);
	for (unsigned i = 0; i < p->begun; i++) {
		loop_fd_del(p->lanes[i].watch);
		raw_free(&p->lanes[i].raw);
	}
	crypto_key_free(p->as.key);
	free(p);
}

/* The daemon has answered: with its own proof, if all is well. */
static void
on_proof(void *arg, int fd, unsigned events)
{
	struct lane_end *e = arg;
	uint8_t payload[1024];
	size_t len;

	(void)fd;
	(void)events;
	RIG_MUST(raw_expect(&e->raw, FRAME_AUTH, payload, &len));
	loop_fd_del(e->watch);
	e->watch = NULL;
	bench.lanes_up++;
	loop_stop(bench.mesh.rig.loop);
}

static void
await_proof(struct lane_end *e)
{
	e->watch = loop_fd_add(bench.mesh.rig.loop, e->raw.fd, LOOP_READ, on_proof, e);
	RIG_MUST(e->watch != NULL);
}

static void
await_lanes(size_t count)
{
	while (bench.lanes_up < count)
		RIG_MUST(loop_run(bench.mesh.rig.loop) == 0);
}

static void
on_dialled(void *arg, int fd, unsigned events)
{
	struct peer *p = arg;
	struct lane_end *e = &p->lanes[p->begun++];

	(void)events;
	RIG_MUST(p->begun <= LANES && raw_accept_lane(&e->raw, fd, &p->as, LANES));
	await_proof(e);
}

static void
peer_listen(struct peer *p)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(sa);

	p->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	RIG_MUST(p->listener != -1 && bind(p->listener, (struct sockaddr *)&sa, len) == 0 &&
		 listen(p->listener, LANES) == 0 &&
		 getsockname(p->listener, (struct sockaddr *)&sa, &len) == 0);
	p->as.port = ntohs(sa.sin_port);
	p->watch = loop_fd_add(bench.mesh.rig.loop, p->listener, LOOP_READ, on_dialled, p);
	RIG_MUST(p->watch != NULL);
}

/* --- heartbeats of the peers --- */

static void
beat(struct raw_peer *raw, const struct peer *p)
{
	static const struct beat b = {.kind = HEARTBEAT_BEAT};
	uint8_t mem[HEARTBEAT_PAYLOAD_BYTES], trash[16384];
	struct pollfd pfd = {.fd = raw->fd, .events = POLLIN};
	struct buf out;

	buf_init_fixed(&out, mem, sizeof(mem));
	RIG_MUST(beat_encode(&b, &out) == 0);
	raw_frame(raw, FRAME_HEARTBEAT, p->as.id, mem, buf_left(&out));
	/* What the daemon has said in the meantime; nobody looks at it. */
	if (poll(&pfd, 1, 0) == 1)
		RIG_MUST(raw_recv(raw, trash, sizeof(trash)) > 0);
}

/* A hundredth of the peers each time. */
static void
on_beats(void *arg)
{
	(void)arg;
	for (size_t i = bench.tick++ % BEAT_TICKS; i < bench.count; i += BEAT_TICKS)
		for (unsigned lane = 0; lane < bench.peers[i]->begun; lane++)
			if (bench.peers[i]->lanes[lane].watch == NULL)
				beat(&bench.peers[i]->lanes[lane].raw, bench.peers[i]);
	loop_timer_arm_ms(bench.beats, BEAT_TICK_MS);
}

static void
run_idle(int64_t ms)
{
	(void)rig_wait(&bench.mesh.rig, rig_never, NULL, ms);
}

/* --- the daemon --- */

static double
resident_kib(void)
{
	char path[64];
	unsigned long size, resident;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/statm", (int)bench.node->pid);
	f = fopen(path, "r");
	RIG_MUST(f != NULL && fscanf(f, "%lu %lu", &size, &resident) == 2);
	fclose(f);
	return (double)resident * (double)sysconf(_SC_PAGESIZE) / 1024;
}

static bool
has_identity(void *arg)
{
	return ((struct rig_node *)arg)->consensus_up;
}

/* The daemon dials the first few of the peers. */
static void
write_conf(size_t dialled)
{
	FILE *f = relay_mesh_conf_begin(&bench.mesh, bench.node);

	/* Peers that answer no pings are not to be taken for dead. */
	fprintf(f, "\tlinks-max %zu\n\tpending-max %d\n\theartbeat-interval 1s\n\theartbeat-misses 100\n",
	    bench.count, PENDING_MAX);
	for (size_t i = 0; i < dialled; i++)
		fprintf(f, "\tpeer %s { address 127.0.0.1:%u }\n", bench.peers[i]->as.name,
		    bench.peers[i]->as.port);
	relay_mesh_conf_end(&bench.mesh, bench.node, f);
}

/* dials: the daemon dials the peers, which listen. */
static void
scene_begin(const char *name, size_t count, bool dials)
{
	bench.node = relay_mesh_add(&bench.mesh, name);
	bench.peers = calloc(count, sizeof(struct peer *));
	RIG_MUST(bench.peers != NULL);
	bench.lanes_up = 0;
	for (bench.count = 0; bench.count < count; bench.count++) {
		bench.peers[bench.count] = peer_new(bench.count);
		if (dials)
			peer_listen(bench.peers[bench.count]);
	}
	write_conf(dials ? WARM_LINKS : 0);
	relay_mesh_spawn(&bench.mesh, bench.node);
	RIG_MUST(rig_wait(&bench.mesh.rig, has_identity, bench.node, RIG_WAIT_MS));
	bench.beats = loop_timer_new(bench.mesh.rig.loop, on_beats, NULL);
	RIG_MUST(bench.beats != NULL);
	loop_timer_arm_ms(bench.beats, BEAT_TICK_MS);
}

static void
scene_end(void)
{
	loop_timer_free(bench.beats);
	RIG_MUST(rig_kill(bench.node, SIGTERM) == 0);
	while (bench.count != 0)
		peer_free(bench.peers[--bench.count]);
	free(bench.peers);
}

/* --- links --- */

/* What a number of links is reached with. */
struct level {
	double kib, cpu_s;
};

static struct level
level_now(void)
{
	run_idle(SETTLE_MS);
	return (struct level){resident_kib(), relay_mesh_cpu(bench.node->pid)};
}

/* The daemon accepts links until there are so many. */
static struct level
accept_links(size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		for (struct peer *p = bench.peers[i]; p->begun < LANES;) {
			struct lane_end *e = &p->lanes[p->begun];

			RIG_MUST(raw_prove_lane(&e->raw, bench.node, &p->as, p->begun, LANES, p->as.key));
			p->begun++;
			await_proof(e);
			await_lanes(bench.lanes_up + 1);
		}
	}
	return level_now();
}

static struct level
dial_links(size_t to)
{
	await_lanes(to * LANES);
	return level_now();
}

static void
show_link(const char *side, const struct level *before, const struct level *after, size_t links)
{
	char name[64];

	snprintf(name, sizeof(name), "link_memory_idle_%s", side);
	print(name, (after->kib - before->kib) / (double)links, "KiB");
	snprintf(name, sizeof(name), "link_handshake_cpu_%s", side);
	print(name, (after->cpu_s - before->cpu_s) * 1000 / (double)links, "ms");
}

static void
measure_dialler(void)
{
	struct level warm, few;

	scene_begin("dialler", LINKS_FEW, true);
	warm = dial_links(WARM_LINKS);
	write_conf(LINKS_FEW);
	RIG_MUST(kill(bench.node->pid, SIGHUP) == 0);
	few = dial_links(LINKS_FEW);
	show_link("dialler", &warm, &few, LINKS_FEW - WARM_LINKS);
	scene_end();
}

static void
measure_listener(size_t links)
{
	struct level none, warm, few, many;
	double began;

	scene_begin("listener", links, false);
	none = level_now();
	warm = accept_links(0, WARM_LINKS);
	few = accept_links(WARM_LINKS, LINKS_FEW);
	show_link("listener", &warm, &few, LINKS_FEW - WARM_LINKS);
	many = accept_links(LINKS_FEW, links);
	print("links_1000_memory", (many.kib - none.kib) / 1024, "MiB");
	began = limits_seconds();
	run_idle(IDLE_MS);
	print("links_1000_cpu_idle",
	    (relay_mesh_cpu(bench.node->pid) - many.cpu_s) * 100 / (limits_seconds() - began), "%");
	scene_end();
}

int
main(int argc, char **argv)
{
	struct rlimit rl;
	size_t links = LINKS;
	int opt;

	while ((opt = getopt(argc, argv, "n:")) != -1)
		if (opt != 'n' || (links = strtoul(optarg, NULL, 10)) < LINKS_FEW || links > LINKS)
			goto usage;
	if (optind != argc)
		goto usage;
	RIG_MUST(getrlimit(RLIMIT_NOFILE, &rl) == 0);
	rl.rlim_cur = rl.rlim_max;
	RIG_MUST(setrlimit(RLIMIT_NOFILE, &rl) == 0);
	if (rl.rlim_cur < links * LANES + FDS_BESIDE) {
		fprintf(stderr, "bench_links: %zu links need more open files than %llu\n", links,
		    (unsigned long long)rl.rlim_cur);
		return 1;
	}
	relay_mesh_init(&bench.mesh);
	take_authority(&bench.mesh);
	measure_dialler();
	measure_listener(links);
	relay_mesh_stop(&bench.mesh);
	return 0;
usage:
	fprintf(stderr, "usage: bench_links [-n LINKS]\n");
	return 2;
}
