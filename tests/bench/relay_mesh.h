/*
 * relay_mesh: the nodes that bench_relay measures: transportd as it is shipped, in its sandbox, with
 * certificates of `meshctl ca`, a stand-in for consensusd and routerd at each (tests/rig/transport.h).
 *
 * Started by root, the daemons run as a user without rights, as those of tools/devmesh do.  Everything
 * lies in the rig's directory.  relay_mesh_stop() ends and removes all of it; so do SIGINT, SIGTERM,
 * SIGHUP and a failed check on their way out.
 */
#ifndef TESTS_BENCH_RELAY_MESH_H
#define TESTS_BENCH_RELAY_MESH_H

#include <grp.h>
#include <pwd.h>
#include <time.h>

#include "common/os/log.h"
#include "tests/rig/transport.h"

struct relay_mesh {
	struct rig rig;
	const struct passwd *user; /* whom the daemons run as; NULL: as ourselves */
	char meshctl[PATH_MAX];
};

/* For the signal handler, which has no argument. */
static struct relay_mesh *relay_mesh_current;

/* --- users and programs --- */

static inline const struct passwd *
relay_mesh_user(void)
{
	static const char *const names[] = {"postgres", "nobody"};
	const struct passwd *pw = NULL;

	if (geteuid() != 0)
		return NULL;
	for (size_t i = 0; pw == NULL && i < sizeof(names) / sizeof(names[0]); i++)
		pw = getpwnam(names[i]);
	RIG_MUST(pw != NULL);
	return pw;
}

/* In a child: becomes the program as the user, who need not be able to reach its path. */
static inline void
relay_mesh_exec(const struct relay_mesh *m, const char *path, char *const argv[])
{
	extern char **environ;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (m->user != NULL &&
	    (setgroups(0, NULL) == -1 || setresgid(m->user->pw_gid, m->user->pw_gid, m->user->pw_gid) == -1 ||
		setresuid(m->user->pw_uid, m->user->pw_uid, m->user->pw_uid) == -1))
		_exit(126);
	/* After the change of user, which forgets it. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	execv(path, argv);
	fexecve(fd, argv, environ);
	_exit(127);
}

static inline void
relay_mesh_own(const struct relay_mesh *m, const char *path)
{
	if (m->user != NULL)
		RIG_MUST(chown(path, m->user->pw_uid, m->user->pw_gid) == 0);
}

static inline void
relay_mesh_meshctl(const struct relay_mesh *m, char *const argv[])
{
	pid_t pid = fork();
	int status;

	RIG_MUST(pid != -1);
	if (pid == 0) {
		/* What it says on success is of no use here. */
		RIG_MUST(freopen("/dev/null", "w", stdout) != NULL);
		relay_mesh_exec(m, m->meshctl, argv);
	}
	RIG_MUST(waitpid(pid, &status, 0) == pid);
	if (status != 0) {
		fprintf(stderr, "bench_relay: %s %s %s failed\n", argv[0], argv[1], argv[2]);
		abort();
	}
}

/* --- the end --- */

/* Async-signal-safe. */
static inline void
relay_mesh_on_signal(int sig)
{
	struct relay_mesh *m = relay_mesh_current;
	pid_t pid;

	signal(SIGABRT, SIG_DFL);
	for (size_t i = 0; m != NULL && i < m->rig.count; i++)
		if (m->rig.nodes[i].pid > 0)
			kill(m->rig.nodes[i].pid, SIGKILL);
	if (m != NULL && m->rig.dir[0] != '\0' && (pid = fork()) != -1) {
		if (pid == 0) {
			execl("/bin/rm", "rm", "-rf", m->rig.dir, (char *)NULL);
			_exit(127);
		}
		waitpid(pid, NULL, 0);
	}
	_exit(128 + sig);
}

static inline void
relay_mesh_stop(struct relay_mesh *m)
{
	rig_fini(&m->rig);
	relay_mesh_current = NULL;
}

/* --- the beginning --- */

static inline void
relay_mesh_init(struct relay_mesh *m)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGABRT};
	char ca[PATH_MAX], mesh[ULID_TEXT_SIZE], *end;

	memset(m, 0, sizeof(*m));
	log_set_level(LOG_WARNING);
	m->user = relay_mesh_user();
	relay_mesh_current = m;
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		signal(signals[i], relay_mesh_on_signal);
	rig_init(&m->rig);
	relay_mesh_own(m, m->rig.dir);
	snprintf(m->meshctl, sizeof(m->meshctl), "%s", m->rig.program);
	end = strrchr(m->meshctl, '/');
	RIG_MUST(end != NULL);
	snprintf(end, sizeof(m->meshctl) - (size_t)(end - m->meshctl), "/meshctl");
	snprintf(ca, sizeof(ca), "%s/ca", m->rig.dir);
	ulid_format(mesh, &m->rig.mesh);
	relay_mesh_meshctl(m, (char *[]){(char[]){"meshctl"}, (char[]){"ca"}, (char[]){"init"},
				  (char[]){"-m"}, mesh, ca, NULL});
}

/* A node with its certificate (DIR/NAME/node.crt); not running yet. */
static inline struct rig_node *
relay_mesh_add(struct relay_mesh *m, const char *name)
{
	struct rig_node *n = rig_add(&m->rig, name);
	char ca[PATH_MAX], out[PATH_MAX], node[NODEID_TEXT_SIZE];

	relay_mesh_own(m, n->dir);
	snprintf(ca, sizeof(ca), "%s/ca", m->rig.dir);
	snprintf(out, sizeof(out), "%s/node", n->dir);
	nodeid_format(node, n->id);
	relay_mesh_meshctl(
	    m, (char *[]){(char[]){"meshctl"}, (char[]){"ca"}, (char[]){"node"}, (char[]){"--ip"},
		   (char[]){"127.0.0.1"}, (char[]){"-o"}, out, ca, node, NULL});
	return n;
}

/* Begins mesh.conf: lines for the section of transportd may follow. */
static inline FILE *
relay_mesh_conf_begin(const struct relay_mesh *m, const struct rig_node *n)
{
	char path[PATH_MAX], mesh[ULID_TEXT_SIZE];
	FILE *f;

	snprintf(path, sizeof(path), "%s/mesh.conf", n->dir);
	ulid_format(mesh, &m->rig.mesh);
	f = fopen(path, "w");
	RIG_MUST(f != NULL);
	fprintf(f, "mesh {\n\tid %s\n\tnode-name %s\n\truntime-dir %s\n}\n", mesh, n->name, n->dir);
	fprintf(f, "transportd {\n\tuser %s\n\tlog-level warning\n\tlisten 127.0.0.1:%u\n",
	    m->user != NULL ? m->user->pw_name : "root", n->port);
	fprintf(f, "\ttls-cert %s/node.crt\n\ttls-key %s/node.key\n\ttls-ca %s/ca/ca.crt\n", n->dir, n->dir,
	    m->rig.dir);
	fprintf(f, "\tdial-backoff-min 50ms\n\tdial-backoff-max 500ms\n");
	return f;
}

static inline void
relay_mesh_conf_end(const struct relay_mesh *m, const struct rig_node *n, FILE *f)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/mesh.conf", n->dir);
	fprintf(f, "}\n");
	RIG_MUST(fclose(f) == 0);
	relay_mesh_own(m, path);
}

/* Writes mesh.conf; the node dials dial, if that is not NULL. */
static inline void
relay_mesh_conf(const struct relay_mesh *m, const struct rig_node *n, const struct rig_node *dial)
{
	FILE *f = relay_mesh_conf_begin(m, n);

	if (dial != NULL)
		fprintf(f, "\tpeer %s { address 127.0.0.1:%u }\n", dial->name, dial->port);
	relay_mesh_conf_end(m, n, f);
}

/* Starts transportd, and the stand-in for consensusd. */
static inline void
relay_mesh_spawn(const struct relay_mesh *m, struct rig_node *n)
{
	char log[PATH_MAX], conf[PATH_MAX];

	snprintf(log, sizeof(log), "%s/transportd.log", n->dir);
	snprintf(conf, sizeof(conf), "%s/mesh.conf", n->dir);
	n->pid = fork();
	RIG_MUST(n->pid != -1);
	if (n->pid == 0) {
		int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

		if (fd == -1 || dup2(fd, 1) == -1 || dup2(fd, 2) == -1)
			_exit(125);
		relay_mesh_exec(
		    m, m->rig.program, (char *[]){(char[]){"transportd"}, (char[]){"-c"}, conf, NULL});
	}
	rig_connect_consensus(n);
	if (m->user != NULL)
		channel_expect(n->consensus, m->user->pw_uid);
}

static inline void
relay_mesh_start(const struct relay_mesh *m, struct rig_node *n)
{
	relay_mesh_spawn(m, n);
	rig_connect_router(n);
	if (m->user != NULL)
		channel_expect(n->router, m->user->pw_uid);
}

static inline bool
relay_mesh_linked(void *arg)
{
	struct rig_node **pair = arg;

	return rig_has_link(pair[0], pair[1]->id) && rig_has_link(pair[1], pair[0]->id);
}

static inline void
relay_mesh_wait_link(struct relay_mesh *m, struct rig_node *a, struct rig_node *b)
{
	struct rig_node *pair[2] = {a, b};

	RIG_MUST(rig_wait(&m->rig, relay_mesh_linked, pair, RIG_WAIT_MS));
}

/* CPU time that a process has used, user and system, in seconds; 0: this one. */
static inline double
relay_mesh_cpu(pid_t pid)
{
	struct timespec used;
	clockid_t clock;

	RIG_MUST(clock_getcpuclockid(pid, &clock) == 0 && clock_gettime(clock, &used) == 0);
	return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

#endif
