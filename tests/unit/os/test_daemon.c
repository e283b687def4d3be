/*
 * daemon: a whole daemon, sandboxed, in a child: started, spoken to over its socket, reloaded, stopped.
 * What it tells the service manager is what the test waits for; nothing sleeps.
 */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/os/channel.h"
#include "common/os/conf.h"
#include "common/os/conf_overlay.h"
#include "common/os/daemon.h"
#include "common/os/log.h"
#include "common/os/loop.h"
#include "common/os/notify.h"
#include "proto/messages.h"

/* --- the daemon --- */

enum { FRAME_BYTES = 40 };
enum mode { NORMAL, OPEN_FAILS, START_FAILS, FORBIDDEN, OVERLAY };
static enum mode mode;
static struct channel_server *server;

static struct daemon *self;

/* A frame of another length than the client's usual one is an overlay, behind a header. */
static int
on_frame(void *ctx, struct channel *ch, struct imsg *m)
{
	(void)ctx;
	if (mode == FORBIDDEN)
		(void)getppid();
	if (mode == OVERLAY && daemon_overlay_set(self, m->body + FRAME_BYTES, m->len - FRAME_BYTES) != 0)
		notify_status("refused");
	return channel_send(ch, RT_FRAME_IN, 0, m->body, m->len);
}

static channel_handler *const handlers[] = {[RT_FRAME_OUT] = on_frame};

static int
on_up(void *ctx, struct channel *ch)
{
	(void)ctx;
	(void)ch;
	return 0;
}

static void
on_down(void *ctx, struct channel *ch, int err)
{
	(void)ctx;
	(void)ch;
	(void)err;
}

static int
test_open(struct daemon *d)
{
	(void)d;
	return mode == OPEN_FAILS ? ERR_IO : 0;
}

static int
test_start(struct daemon *d)
{
	const struct channel_conf conf = {.edge = &edge_router_transport,
	    .handlers = handlers,
	    .handler_count = COUNT(handlers),
	    .on_up = on_up,
	    .on_down = on_down};

	self = d;
	if (mode == START_FAILS)
		return ERR_NOMEM;
	server = channel_serve(d->loop, d->listen_fd, d->def->name, &conf, 1);
	d->listen_fd = -1;
	return server != NULL ? daemon_allow_edge(d, server, &edge_router_transport, "routerd") : ERR_NOMEM;
}

static void
test_reload(struct daemon *d, const struct conf *fresh)
{
	(void)d;
	(void)fresh;
	notify_status("files");
}

static void
test_configure(struct daemon *d, const struct conf *fresh)
{
	char text[64];

	(void)d;
	snprintf(text, sizeof(text), "heartbeat %lld",
	    (long long)conf_int(fresh, "transportd", "heartbeat-interval"));
	notify_status(text);
}

static void
test_fini(struct daemon *d)
{
	(void)d;
	channel_server_free(server);
}

static const struct daemon_def def = {.name = "transportd",
    .summary = "test",
    .open = test_open,
    .start = test_start,
    .configure = test_configure,
    .reload = test_reload,
    .fini = test_fini};

/* --- the test --- */

struct env {
	char dir[32], conf[64], out[64];
	int manager; /* what the daemon tells the service manager comes here */
	pid_t pid;
};

static void
conf_write(const struct env *e, const char *transportd)
{
	FILE *f = fopen(e->conf, "w");

	assert_non_null(f);
	fprintf(f,
	    "mesh {\n\tid 01ARZ3NDEKTSV4RRFFQ69G5FAV\n\tnode-name a\n\truntime-dir run\n}\n"
	    "transportd {\n\tuser %s\n\ttls-cert a\n\ttls-key a\n\ttls-ca a\n%s\n}\n",
	    geteuid() == 0 ? "nobody" : "somebody", transportd);
	fclose(f);
}

static void
env_open(struct env *e)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};

	strcpy(e->dir, "/tmp/test_daemon.XXXXXX");
	assert_non_null(mkdtemp(e->dir));
	assert_int_equal(chmod(e->dir, 0755), 0);
	snprintf(e->conf, sizeof(e->conf), "%s/mesh.conf", e->dir);
	snprintf(e->out, sizeof(e->out), "%s/log", e->dir);
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/notify", e->dir);
	e->manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(e->manager, (struct sockaddr *)&sun, sizeof(sun)), 0);
	setenv("NOTIFY_SOCKET", sun.sun_path, 1);
	setenv("WATCHDOG_USEC", "10000", 1);
	conf_write(e, "");
}

static void
env_close(struct env *e)
{
	static const char *const names[] = {"mesh.conf", "log", "notify", "run/transportd.sock", "run", ""};
	char path[96];

	for (size_t i = 0; i < COUNT(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", e->dir, names[i]);
		remove(path);
	}
	close(e->manager);
}

/* Starts the daemon with an option before -c; its output goes to the log file. */
static void
spawn(struct env *e, const char *option)
{
	char name[] = "transportd", c[] = "-c", opt[32];
	char *argv[] = {name, opt, c, e->conf, NULL};
	int fd;

	snprintf(opt, sizeof(opt), "%s", option);
	fflush(stdout);
	e->pid = fork();
	assert_true(e->pid != -1);
	if (e->pid != 0)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	fd = open(e->out, O_CREAT | O_APPEND | O_WRONLY, 0644);
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	exit(daemon_main(&def, 4, argv));
}

/* Waits until the daemon says text. */
static void
wait_for(const struct env *e, const char *text)
{
	struct pollfd p = {.fd = e->manager, .events = POLLIN};
	char got[256];
	ssize_t n;

	do {
		if (poll(&p, 1, 20000) != 1)
			fail_msg("the daemon never said %s", text);
		n = recv(e->manager, got, sizeof(got) - 1, 0);
		assert_true(n > 0);
		got[n] = '\0';
	} while (strncmp(got, text, strlen(text)) != 0);
}

/* The same, and it says nothing else before but that it lives. */
static void
wait_next(const struct env *e, const char *text)
{
	struct pollfd p = {.fd = e->manager, .events = POLLIN};
	char got[256] = "WATCHDOG=1";
	ssize_t n;

	while (strncmp(got, "WATCHDOG=1", 10) == 0) {
		if (poll(&p, 1, 20000) != 1)
			fail_msg("the daemon never said %s", text);
		n = recv(e->manager, got, sizeof(got) - 1, 0);
		assert_true(n > 0);
		got[n] = '\0';
	}
	if (strncmp(got, text, strlen(text)) != 0)
		fail_msg("the daemon said %s and not %s", got, text);
}

static int
wait_exit(const struct env *e)
{
	int status;

	assert_int_equal(waitpid(e->pid, &status, 0), e->pid);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static char *
output(const struct env *e)
{
	static char text[65536];
	FILE *f = fopen(e->out, "r");
	size_t n;

	assert_non_null(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	fclose(f);
	return text;
}

static void
assert_said(const struct env *e, const char *what)
{
	if (strstr(output(e), what) == NULL)
		fail_msg("'%s' is not in:\n%s", what, output(e));
}

/* --- a client of its socket --- */

struct client {
	struct loop *loop;
	unsigned answers, downs;
	const uint8_t *more; /* behind the header */
	size_t more_len;
};

static int
client_frame(void *ctx, struct channel *ch, struct imsg *m)
{
	struct client *c = ctx;

	(void)ch;
	(void)m;
	c->answers++;
	loop_stop(c->loop);
	return 0;
}

static int
client_up(void *ctx, struct channel *ch)
{
	static uint8_t frame[FRAME_BYTES + 256];
	struct client *c = ctx;

	if (c->more_len != 0)
		memcpy(frame + FRAME_BYTES, c->more, c->more_len);
	return channel_send(ch, RT_FRAME_OUT, 0, frame, FRAME_BYTES + c->more_len);
}

static void
client_down(void *ctx, struct channel *ch, int err)
{
	struct client *c = ctx;

	(void)ch;
	(void)err;
	c->downs++;
	loop_stop(c->loop);
}

static channel_handler *const client_handlers[] = {[RT_FRAME_IN] = client_frame};

static void
client_talk(const struct env *e, struct client *c)
{
	const struct channel_conf conf = {.edge = &edge_router_transport,
	    .handlers = client_handlers,
	    .handler_count = COUNT(client_handlers),
	    .on_up = client_up,
	    .on_down = client_down,
	    .ctx = c};
	struct channel *ch;
	char path[96];

	*c = (struct client){.loop = loop_event_new(), .more = c->more, .more_len = c->more_len};
	snprintf(path, sizeof(path), "%s/run/transportd.sock", e->dir);
	ch = channel_connect(c->loop, path, "routerd", &conf);
	channel_expect(ch, 65534);
	assert_int_equal(loop_run(c->loop), 0);
	channel_free(ch);
	loop_free(c->loop);
}

static void
test_life(void **state)
{
	struct client c = {0};
	struct env e;

	(void)state;
	mode = NORMAL;
	env_open(&e);
	spawn(&e, "-d");
	wait_for(&e, "READY=1");
	wait_for(&e, "WATCHDOG=1");
	client_talk(&e, &c);
	assert_int_equal(c.answers, 1);
	conf_write(&e, "\theartbeat-interval 2s\n\tlisten 127.0.0.1:1");
	kill(e.pid, SIGHUP);
	wait_for(&e, "RELOADING=1");
	wait_for(&e, "STATUS=heartbeat 2000000");
	wait_for(&e, "STATUS=files");
	wait_for(&e, "READY=1");
	conf_write(&e, "\theartbeat-intervall 3s");
	kill(e.pid, SIGHUP);
	wait_for(&e, "RELOADING=1");
	wait_for(&e, "READY=1");
	kill(e.pid, SIGTERM);
	wait_for(&e, "STOPPING=1");
	assert_int_equal(wait_exit(&e), 0);
	assert_said(&e, "transportd: heartbeat-interval: applied");
	assert_said(&e, "transportd: listen: restart needed");
	assert_said(&e, "did you mean 'heartbeat-interval'?");
	assert_said(&e, "not reloaded");
	if (geteuid() != 0)
		assert_said(&e, "not root: keeping user");
	env_close(&e);
}

static void
test_is_sandboxed(void **state)
{
	struct client c = {0};
	struct env e;

	(void)state;
	mode = FORBIDDEN;
	env_open(&e);
	spawn(&e, "-d");
	wait_for(&e, "READY=1");
	client_talk(&e, &c);
	assert_int_equal(c.downs, 1);
	assert_int_equal(wait_exit(&e), -SIGSYS);
	env_close(&e);
}

static void
give(const struct env *e, const struct buf *overlay)
{
	struct client c = {.more = buf_head(overlay), .more_len = buf_left(overlay)};

	client_talk(e, &c);
	assert_int_equal(c.answers, 1);
}

static void
put(struct buf *b, const char *key, const char *value)
{
	assert_int_equal(conf_overlay_put(b, key, &value, 1), 0);
}

/* What all nodes share is in effect where the file says nothing, without anything else being read again, and
 * as long as it is there; what makes no sense is left out. */
static void
test_overlay(void **state)
{
	static const uint8_t cut[] = {200};
	struct buf one, none, bad;
	struct env e;

	(void)state;
	mode = OVERLAY;
	env_open(&e);
	buf_init(&one, 256);
	buf_init(&none, 256);
	put(&one, "heartbeat-interval", "3s");
	put(&one, "heartbeat-misses", "many");
	put(&one, "listen", "127.0.0.1:1");
	spawn(&e, "-d");
	wait_for(&e, "READY=1");
	give(&e, &one);
	wait_for(&e, "RELOADING=1");
	wait_next(&e, "STATUS=heartbeat 3000000");
	wait_next(&e, "READY=1");
	/* The same again is nothing new; what can't be read changes nothing. */
	give(&e, &one);
	buf_view(&bad, cut, sizeof(cut));
	give(&e, &bad);
	wait_next(&e, "STATUS=refused");
	conf_write(&e, "\theartbeat-interval 2s");
	kill(e.pid, SIGHUP);
	wait_for(&e, "STATUS=heartbeat 2000000");
	wait_next(&e, "STATUS=files");
	wait_next(&e, "READY=1");
	conf_write(&e, "");
	kill(e.pid, SIGHUP);
	wait_for(&e, "STATUS=heartbeat 3000000");
	wait_next(&e, "STATUS=files");
	wait_next(&e, "READY=1");
	give(&e, &none);
	wait_for(&e, "STATUS=heartbeat 100000");
	wait_next(&e, "READY=1");
	kill(e.pid, SIGTERM);
	assert_int_equal(wait_exit(&e), 0);
	assert_said(
	    &e, "shared configuration: ignored: transportd: heartbeat-misses: 'many': not a whole number");
	assert_said(&e, "transportd: listen can't be shared");
	buf_fini(&one);
	buf_fini(&none);
	env_close(&e);
}

static void
test_failures(void **state)
{
	struct env e;

	(void)state;
	env_open(&e);
	mode = OPEN_FAILS;
	spawn(&e, "-d");
	assert_int_equal(wait_exit(&e), DAEMON_FAILED);
	mode = START_FAILS;
	spawn(&e, "-d");
	assert_int_equal(wait_exit(&e), DAEMON_FAILED);
	mode = NORMAL;
	conf_write(&e, "\tlog-level loud");
	spawn(&e, "-d");
	assert_int_equal(wait_exit(&e), DAEMON_USAGE);
	assert_said(&e, "not one of: error|warning");
	spawn(&e, "-z");
	assert_int_equal(wait_exit(&e), DAEMON_USAGE);
	assert_said(&e, "usage: transportd");
	env_close(&e);
}

static void
test_second_instance(void **state)
{
	struct env e;
	pid_t first;

	(void)state;
	mode = NORMAL;
	env_open(&e);
	spawn(&e, "-d");
	first = e.pid;
	wait_for(&e, "READY=1");
	spawn(&e, "-d");
	assert_int_equal(wait_exit(&e), DAEMON_FAILED);
	assert_said(&e, "is the daemon running already?");
	e.pid = first;
	kill(e.pid, SIGINT);
	assert_int_equal(wait_exit(&e), 0);
	/* the socket it left behind is replaced */
	spawn(&e, "-d");
	wait_for(&e, "READY=1");
	kill(e.pid, SIGTERM);
	assert_int_equal(wait_exit(&e), 0);
	env_close(&e);
}

static void
test_check(void **state)
{
	struct env e;

	(void)state;
	mode = NORMAL;
	env_open(&e);
	spawn(&e, "-n");
	assert_int_equal(wait_exit(&e), 0);
	assert_said(&e, "# heartbeat-interval 100ms\n");
	spawn(&e, "-V");
	assert_int_equal(wait_exit(&e), 0);
	assert_said(&e, "transportd 0.");
	spawn(&e, "-h");
	assert_int_equal(wait_exit(&e), 0);
	env_close(&e);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_life),
	    cmocka_unit_test(test_is_sandboxed),
	    cmocka_unit_test(test_overlay),
	    cmocka_unit_test(test_failures),
	    cmocka_unit_test(test_second_instance),
	    cmocka_unit_test(test_check),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
