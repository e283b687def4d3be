/* channel: two daemons that behave: messages, reconnects, who may connect. */
#include "tests/unit/os/channel_env.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/log.h"

static void
pings_send(struct env *e, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++)
		assert_int_equal(channel_send(e->client.ch, PING, i, &i, sizeof(i)), 0);
}

static void
test_messages(void **state)
{
	struct env e;
	struct stat st;

	(void)state;
	env_up(&e);
	assert_string_equal(channel_peer(e.client.ch), "server");
	assert_string_equal(channel_peer(e.server.ch), "client");
	assert_int_equal(stat(e.path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
	e.stop_at_pongs = 10000;
	pings_send(&e, 0, 10000);
	run(&e);
	assert_int_equal(e.server.handled, 10000);
	/* An event and the end of its turn may each handle a share. */
	assert_true(e.server.most_in_a_turn <= 2 * CHANNEL_TURN_MESSAGES);
	env_close(&e);
	assert_int_equal(e.server.down, 1); /* told by channel_server_free() */
}

static void
test_descriptor(void **state)
{
	struct env e;
	int fd = open("/dev/null", O_RDONLY);
	uint32_t zero = 0;

	(void)state;
	env_up(&e);
	assert_int_equal(channel_sendv(e.client.ch, GIVE, 0, fd, NULL, 0), 0);
	e.stop_at_pongs = 1;
	assert_int_equal(channel_send(e.client.ch, PING, 0, &zero, 4), 0);
	run(&e);
	assert_int_equal(e.server.gifts, 1);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	env_close(&e);
}

static void
test_handler_refuses(void **state)
{
	struct env e;

	(void)state;
	env_up(&e);
	assert_int_equal(channel_send(e.client.ch, REFUSE, 0, NULL, 0), 0);
	assert_int_equal(channel_send(e.client.ch, PING, 0, "1234", 4), 0);
	run(&e);
	assert_int_equal(e.server.err, ERR_RANGE);
	assert_int_equal(e.server.handled, 0);
	env_close(&e);
}

static void
test_handler_closes(void **state)
{
	struct env e;

	(void)state;
	env_up(&e);
	assert_int_equal(channel_send(e.client.ch, CLOSE, 0, NULL, 0), 0);
	assert_int_equal(channel_send(e.client.ch, PING, 0, "1234", 4), 0);
	run(&e);
	assert_int_equal(e.server.err, ERR_STALE);
	assert_int_equal(e.server.handled, 0);
	env_close(&e);
}

static void
test_up_refuses(void **state)
{
	struct env e;

	(void)state;
	env_open(&e);
	env_serve(&e);
	e.server.up_result = ERR_UNAVAIL;
	e.client.ch = channel_connect(e.loop, e.path, "client", &e.client_conf);
	while (e.server.down == 0)
		run(&e);
	assert_int_equal(e.server.err, ERR_UNAVAIL);
	env_close(&e);
}

/* The server goes and comes back; the client notices and comes back by itself. */
static void
test_reconnect(void **state)
{
	struct env e;

	(void)state;
	env_up(&e);
	channel_server_free(e.srv);
	assert_int_equal(e.server.down, 1);
	e.server.up = e.client.up = 0;
	e.stop_at_downs = 99;
	env_serve(&e);
	run(&e);
	assert_int_equal(e.client.up, 1);
	assert_int_equal(e.client.down, 1);
	assert_int_equal(e.client.err, ERR_CLOSED);
	env_close(&e);
}

static void
test_version(void **state)
{
	struct env e;
	int64_t faults = channel_metrics.faults.value;

	(void)state;
	env_open(&e);
	env_serve(&e);
	e.client_conf.edge = &newer_edge;
	e.client.ch = channel_connect(e.loop, e.path, "client", &e.client_conf);
	/* both sides say it, and try again: */
	e.turn.fn = (void (*)(void *))loop_stop;
	while (channel_metrics.faults.value < faults + 4) {
		e.turn.arg = e.loop;
		loop_defer_add(e.loop, &e.turn);
		run(&e);
	}
	assert_int_equal(e.client.up + e.server.up, 0);
	env_close(&e);
}

static void
test_pause(void **state)
{
	struct env e;

	(void)state;
	env_up(&e);
	channel_pause(e.server.ch);
	pings_send(&e, 0, 1000);
	settle(&e);
	assert_int_equal(e.server.handled, 0);
	channel_resume(e.server.ch);
	e.stop_at_pongs = 1000;
	run(&e);
	assert_int_equal(e.server.handled, 1000);
	env_close(&e);
}

/* --- who may connect --- */

/* Connects as another user and says whether the server closed without a word. */
static int
connect_as(uid_t uid, const char *path)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	char c;

	strcpy(sun.sun_path, path);
	if (setresuid(uid, uid, uid) == -1 || connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == -1)
		return 2;
	return read(fd, &c, 1) == 0 ? 0 : 1;
}

static void
test_foreign_user(void **state)
{
	struct env e;
	int64_t refused = channel_metrics.refused.value;
	int status;
	pid_t pid;

	(void)state;
	if (geteuid() != 0)
		skip();
	env_open(&e);
	env_serve(&e);
	assert_int_equal(chmod(e.path, 0666), 0);
	pid = fork();
	if (pid == 0)
		_exit(connect_as(12345, e.path));
	e.turn = (struct loop_defer){.fn = stop_loop, .arg = e.loop};
	while (channel_metrics.refused.value == refused) {
		loop_defer_add(e.loop, &e.turn);
		run(&e);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	env_close(&e);
}

/* A user that is allowed for one edge may not speak another. */
static void
test_reserved_edge(void **state)
{
	struct env e;
	struct channel_conf confs[2];
	struct channel ch = {.uid = 12345};

	(void)state;
	env_open(&e);
	confs[0] = confs[1] = e.server_conf;
	confs[1].edge = &other_edge;
	e.srv = channel_serve(e.loop, channel_listen_fd(e.path), "server", confs, 2);
	channel_server_reserve(e.srv, &test_edge, 999);
	channel_server_reserve(e.srv, &other_edge, 12345);
	ch.server = e.srv;
	assert_int_equal(channel_server_choose(&ch, "test"), ERR_DENIED);
	assert_int_equal(channel_server_choose(&ch, "none"), ERR_UNKNOWN);
	assert_int_equal(channel_server_choose(&ch, "other"), 0);
	assert_ptr_equal(ch.conf.edge, &other_edge);
	env_close(&e);
}

static void
test_too_many_peers(void **state)
{
	struct env e;
	struct channel *ch[CHANNEL_PEERS_MAX + 1];
	int64_t refused = channel_metrics.refused.value;

	(void)state;
	env_open(&e);
	env_serve(&e);
	for (size_t i = 0; i < COUNT(ch); i++)
		ch[i] = channel_connect(e.loop, e.path, "client", &e.client_conf);
	e.turn = (struct loop_defer){.fn = stop_loop, .arg = e.loop};
	while (channel_metrics.refused.value == refused) {
		loop_defer_add(e.loop, &e.turn);
		run(&e);
	}
	settle(&e);
	assert_int_equal(e.server.up, CHANNEL_PEERS_MAX);
	for (size_t i = 0; i < COUNT(ch); i++)
		channel_free(ch[i]);
	e.client.ch = NULL;
	env_close(&e);
}

static void
test_listen(void **state)
{
	char path[200];
	struct env e;
	int fd, file;

	(void)state;
	env_open(&e);
	fd = channel_listen_fd(e.path);
	assert_true(fd >= 0);
	assert_int_equal(channel_listen_fd(e.path), ERR_IO); /* served */
	assert_int_equal(errno, EADDRINUSE);
	close(fd);
	fd = channel_listen_fd(e.path); /* stale */
	assert_true(fd >= 0);
	close(fd);
	unlink(e.path);
	file = open(e.path, O_CREAT | O_WRONLY, 0600);
	close(file);
	assert_int_equal(channel_listen_fd(e.path), ERR_IO); /* not a socket: not ours to remove */
	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(channel_listen_fd(path), ERR_IO);
	assert_null(channel_connect(e.loop, path, "client", &e.client_conf));
	env_close(&e);
}

/* Whichever allocation fails, a connection comes up in the end and carries messages. */
static void
test_no_memory(void **state)
{
	bool done = false;

	(void)state;
	for (unsigned long k = 1; !done; k++) {
		struct env e;

		env_open(&e);
		env_serve(&e);
		mem_fail_at(k);
		e.client.ch = channel_connect(e.loop, e.path, "client", &e.client_conf);
		if (e.client.ch != NULL) {
			uint32_t zero = 0;

			run(&e);
			while (!channel_up(e.client.ch))
				run(&e);
			e.stop_at_pongs = 1;
			if (channel_send(e.client.ch, PING, 0, &zero, 4) == 0 && mem_count() < k)
				run(&e);
			done = mem_count() < k;
		}
		mem_fail_at(0);
		env_close(&e);
		assert_true(k < 1000);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_messages),
	    cmocka_unit_test(test_descriptor),
	    cmocka_unit_test(test_handler_refuses),
	    cmocka_unit_test(test_handler_closes),
	    cmocka_unit_test(test_up_refuses),
	    cmocka_unit_test(test_reconnect),
	    cmocka_unit_test(test_version),
	    cmocka_unit_test(test_pause),
	    cmocka_unit_test(test_foreign_user),
	    cmocka_unit_test(test_reserved_edge),
	    cmocka_unit_test(test_too_many_peers),
	    cmocka_unit_test(test_listen),
	    cmocka_unit_test(test_no_memory),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
