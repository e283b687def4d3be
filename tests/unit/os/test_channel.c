/* channel: two sides in one process and one loop; the other side is a channel or raw imsg. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/channel.h"
#include "common/os/channel_impl.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "common/os/loop.h"

enum { PING = 8, GIVE = 9, REFUSE = 10, CLOSE = 11, FREE = 12, PONG = 32, LARGE = 33, NUMBERS = 34 };

static const struct msg_def test_msgs[NUMBERS] = {
    [MSG_HELLO] = {"HELLO", MSG_DIR_BOTH, MSG_NOFD, 6, 512},
    [PING] = {"PING", MSG_DIR_DOWN, MSG_NOFD, 4, 1024},
    [GIVE] = {"GIVE", MSG_DIR_DOWN, MSG_WITHFD, 0, 0},
    [REFUSE] = {"REFUSE", MSG_DIR_DOWN, MSG_NOFD, 0, 0},
    [CLOSE] = {"CLOSE", MSG_DIR_DOWN, MSG_NOFD, 0, 0},
    [FREE] = {"FREE", MSG_DIR_DOWN, MSG_NOFD, 0, 0},
    [PONG] = {"PONG", MSG_DIR_UP, MSG_NOFD, 4, 1024},
    [LARGE] = {"LARGE", MSG_DIR_UP, MSG_NOFD, 0, 1 << 20},
};
static const struct edge test_edge = {"test", 3, test_msgs, NUMBERS};
static const struct edge newer_edge = {"test", 4, test_msgs, NUMBERS};
static const struct edge other_edge = {"other", 3, test_msgs, NUMBERS};

struct side {
	struct channel *ch;
	unsigned up, down, handled, drained, gifts;
	int err, up_result;
	unsigned most_in_a_turn, turn;
};

struct env {
	struct loop *loop;
	struct loop_timer *alarm;
	struct loop_defer turn;
	struct side client, server;
	struct channel_server *srv;
	struct channel_conf client_conf, server_conf;
	char dir[32], path[64];
	unsigned stop_at_pongs, stop_at_downs;
};

static void
turn_ends(void *arg)
{
	struct env *e = arg;

	if (e->server.turn > e->server.most_in_a_turn)
		e->server.most_in_a_turn = e->server.turn;
	e->server.turn = 0;
}

static int
on_ping(void *ctx, struct channel *ch, struct imsg *m)
{
	struct env *e = ctx;

	e->server.handled++;
	e->server.turn++;
	loop_defer_add(e->loop, &e->turn);
	return channel_send(ch, PONG, m->peerid, m->body, m->len);
}

static int
on_give(void *ctx, struct channel *ch, struct imsg *m)
{
	struct env *e = ctx;

	(void)ch;
	assert_int_not_equal(m->fd, -1);
	e->server.gifts++;
	return 0;
}

static int
on_refuse(void *ctx, struct channel *ch, struct imsg *m)
{
	(void)ctx;
	(void)ch;
	(void)m;
	return ERR_RANGE;
}

static int
on_close(void *ctx, struct channel *ch, struct imsg *m)
{
	(void)ctx;
	(void)m;
	channel_close(ch, ERR_STALE);
	assert_false(channel_up(ch));
	assert_int_equal(channel_send(ch, PONG, 0, "1234", 4), ERR_STATE);
	return 0;
}

static int
on_free(void *ctx, struct channel *ch, struct imsg *m)
{
	struct env *e = ctx;

	(void)m;
	channel_free(ch);
	e->server.ch = NULL;
	loop_stop(e->loop);
	return 0;
}

static int
on_pong(void *ctx, struct channel *ch, struct imsg *m)
{
	struct env *e = ctx;
	uint32_t n;

	(void)ch;
	memcpy(&n, m->body, sizeof(n));
	assert_int_equal(n, e->client.handled);
	assert_int_equal(m->peerid, n);
	if (++e->client.handled == e->stop_at_pongs)
		loop_stop(e->loop);
	return 0;
}

static int
on_large(void *ctx, struct channel *ch, struct imsg *m)
{
	struct env *e = ctx;

	(void)ch;
	(void)m;
	if (++e->client.handled == e->stop_at_pongs)
		loop_stop(e->loop);
	return 0;
}

static channel_handler *const server_handlers[NUMBERS] = {
    [PING] = on_ping, [GIVE] = on_give, [REFUSE] = on_refuse, [CLOSE] = on_close, [FREE] = on_free};
static channel_handler *const client_handlers[NUMBERS] = {[PONG] = on_pong, [LARGE] = on_large};

static struct side *
side_of(struct env *e, const struct channel *ch)
{
	return ch->side == CHANNEL_SERVER ? &e->server : &e->client;
}

static int
on_up(void *ctx, struct channel *ch)
{
	struct env *e = ctx;
	struct side *s = side_of(e, ch);

	s->ch = ch;
	s->up++;
	if (e->client.up > 0 && e->server.up > 0)
		loop_stop(e->loop);
	return s->up_result;
}

static void
on_down(void *ctx, struct channel *ch, int err)
{
	struct env *e = ctx;
	struct side *s = side_of(e, ch);

	assert_false(channel_up(ch));
	s->down++;
	s->err = err;
	if (s == &e->server)
		s->ch = NULL;
	if (e->server.down == e->stop_at_downs)
		loop_stop(e->loop);
}

static void
on_drain(void *ctx, struct channel *ch)
{
	struct env *e = ctx;

	assert_false(channel_full(ch));
	side_of(e, ch)->drained++;
}

static void
on_alarm(void *arg)
{
	(void)arg;
	fail_msg("nothing happened for 20 s");
}

static void
run(struct env *e)
{
	loop_timer_arm_ms(e->alarm, 20000);
	assert_int_equal(loop_run(e->loop), 0);
}

static void
env_open(struct env *e)
{
	memset(e, 0, sizeof(*e));
	e->loop = loop_event_new();
	assert_non_null(e->loop);
	e->alarm = loop_timer_new(e->loop, on_alarm, e);
	e->turn = (struct loop_defer){.fn = turn_ends, .arg = e};
	e->stop_at_downs = 1;
	e->server_conf = (struct channel_conf){.edge = &test_edge,
	    .handlers = server_handlers,
	    .handler_count = NUMBERS,
	    .on_up = on_up,
	    .on_down = on_down,
	    .on_drain = on_drain,
	    .ctx = e};
	e->client_conf = e->server_conf;
	e->client_conf.handlers = client_handlers;
	strcpy(e->dir, "/tmp/test_channel.XXXXXX");
	assert_non_null(mkdtemp(e->dir));
	assert_int_equal(chmod(e->dir, 0755), 0);
	snprintf(e->path, sizeof(e->path), "%s/x.sock", e->dir);
}

static void
env_serve(struct env *e)
{
	int fd = channel_listen_fd(e->path);

	assert_true(fd >= 0);
	e->srv = channel_serve(e->loop, fd, "server", &e->server_conf, 1);
	assert_non_null(e->srv);
}

/* Both ends of a channel over the socket, up. */
static void
env_up(struct env *e)
{
	env_open(e);
	env_serve(e);
	e->client.ch = channel_connect(e->loop, e->path, "client", &e->client_conf);
	assert_non_null(e->client.ch);
	run(e);
	assert_true(channel_up(e->client.ch));
	assert_true(channel_up(e->server.ch));
}

static void
env_close(struct env *e)
{
	if (e->srv == NULL)
		channel_free(e->server.ch);
	channel_free(e->client.ch);
	channel_server_free(e->srv);
	loop_defer_del(&e->turn);
	loop_timer_free(e->alarm);
	loop_free(e->loop);
	unlink(e->path);
	rmdir(e->dir);
}

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

/* --- a hostile other side: raw messages over a socketpair --- */

struct raw {
	struct env e;
	int fd;
	struct imsg_queue *q;
};

static void
raw_open(struct raw *r, enum channel_side side)
{
	int fd[2];

	env_open(&r->e);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	r->fd = fd[0];
	r->q = imsg_queue_new(fd[0], 1 << 20);
	if (side == CHANNEL_SERVER)
		r->e.server.ch = channel_attach(r->e.loop, fd[1], side, "us", &r->e.server_conf);
	else
		r->e.client.ch = channel_attach(r->e.loop, fd[1], side, "us", &r->e.client_conf);
}

static void
raw_close(struct raw *r)
{
	imsg_queue_free(r->q);
	close(r->fd);
	/* on_down forgot it, but an attached channel lives until it is freed */
	env_close(&r->e);
}

static void
raw_send(struct raw *r, uint32_t type, int fd, const void *body, size_t len)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)body, .iov_len = len};

	assert_int_equal(imsg_push(r->q, type, 0, fd, &iov, 1), 0);
	assert_int_equal(imsg_flush(r->q), 0);
}

static void
raw_hello(struct raw *r, const char *edge, uint32_t version, size_t extra)
{
	uint8_t mem[512] = {0};
	struct buf b;

	buf_init_fixed(&b, mem, sizeof(mem));
	assert_int_equal(buf_put_str8(&b, edge), 0);
	assert_int_equal(buf_put_u32(&b, version), 0);
	assert_int_equal(buf_put_str8(&b, "raw"), 0);
	raw_send(r, MSG_HELLO, -1, mem, buf_left(&b) + extra);
}

static void
stop_loop(void *arg)
{
	loop_stop(arg);
}

/* Runs the loop until nothing more happens at once. */
static void
settle(struct env *e)
{
	struct loop_timer *t = loop_timer_new(e->loop, stop_loop, e->loop);

	for (int i = 0; i < 10; i++) {
		loop_timer_arm_ms(t, 0);
		run(e);
	}
	loop_timer_free(t);
}

struct bad_message {
	uint32_t type;
	bool fd;
	size_t len;
	int err;
};

static void
bad_message(const struct bad_message *bad)
{
	static uint8_t body[4096];
	struct raw r;
	struct channel *ch;

	raw_open(&r, CHANNEL_SERVER);
	ch = r.e.server.ch;
	raw_hello(&r, "test", 3, 0);
	settle(&r.e);
	assert_int_equal(r.e.server.up, 1);
	raw_send(&r, bad->type, bad->fd ? open("/dev/null", O_RDONLY) : -1, body, bad->len);
	settle(&r.e);
	assert_int_equal(r.e.server.down, 1);
	assert_int_equal(r.e.server.err, bad->err);
	assert_int_equal(r.e.server.handled, 0);
	r.e.server.ch = ch;
	raw_close(&r);
}

static void
test_bad_messages(void **state)
{
	static const struct bad_message bad[] = {
	    {0, false, 0, ERR_UNKNOWN},
	    {NUMBERS, false, 0, ERR_UNKNOWN},
	    {UINT32_MAX, false, 0, ERR_UNKNOWN},
	    {20, false, 0, ERR_UNKNOWN},
	    {MSG_HELLO, false, 10, ERR_STATE},
	    {PONG, false, 4, ERR_STATE}, /* wrong direction */
	    {PING, false, 3, ERR_SHORT},
	    {PING, false, 1025, ERR_LIMIT},
	    {PING, true, 4, ERR_FORMAT},
	    {GIVE, false, 0, ERR_FORMAT},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++)
		bad_message(&bad[i]);
}

static void
bad_hello(const char *edge, uint32_t version, size_t extra)
{
	struct raw r;
	struct channel *ch;

	raw_open(&r, CHANNEL_SERVER);
	ch = r.e.server.ch;
	raw_hello(&r, edge, version, extra);
	settle(&r.e);
	assert_int_equal(r.e.server.up, 0);
	assert_int_equal(r.e.server.down, 0); /* never was up */
	assert_int_equal(ch->state, CHANNEL_DOWN);
	r.e.server.ch = ch;
	raw_close(&r);
}

static void
test_bad_hellos(void **state)
{
	struct raw r;

	(void)state;
	bad_hello("tset", 3, 0);
	bad_hello("", 3, 0);
	bad_hello("test", 2, 0);
	bad_hello("test", 3, 1);
	raw_open(&r, CHANNEL_SERVER);
	raw_send(&r, PING, -1, "1234", 4); /* before hello */
	settle(&r.e);
	assert_int_equal(r.e.server.handled, 0);
	assert_int_equal(r.e.server.ch->state, CHANNEL_DOWN);
	raw_close(&r);
	raw_open(&r, CHANNEL_SERVER);
	assert_int_equal(write(r.fd, "GET / HTTP/1.1\r\n\r\n", 18), 18);
	settle(&r.e);
	assert_int_equal(r.e.server.ch->state, CHANNEL_DOWN);
	raw_close(&r);
}

static void
test_free_in_handler(void **state)
{
	struct raw r;

	(void)state;
	raw_open(&r, CHANNEL_SERVER);
	raw_hello(&r, "test", 3, 0);
	settle(&r.e);
	raw_send(&r, FREE, -1, NULL, 0);
	raw_send(&r, PING, -1, "1234", 4);
	run(&r.e);
	assert_null(r.e.server.ch);
	assert_int_equal(r.e.server.handled, 0);
	assert_int_equal(r.e.server.down, 0);
	raw_close(&r);
}

/* A peer that is stopped: marks, refusal above the maximum, and the drain when it goes on. */
static void
test_stopped_peer(void **state)
{
	static uint8_t body[1 << 20];
	struct raw r;
	struct imsg m;
	int err;

	(void)state;
	raw_open(&r, CHANNEL_SERVER);
	raw_hello(&r, "test", 3, 0);
	settle(&r.e);
	do {
		err = channel_send(r.e.server.ch, LARGE, 0, body, sizeof(body));
		assert_int_equal(
		    channel_full(r.e.server.ch), channel_queued_bytes(r.e.server.ch) > CHANNEL_HIGH_BYTES);
	} while (err == 0);
	assert_int_equal(err, ERR_FULL);
	assert_true(channel_queued_bytes(r.e.server.ch) <= CHANNEL_MAX_BYTES);
	settle(&r.e);
	assert_int_equal(r.e.server.drained, 0);
	while (r.e.server.drained == 0) {
		while (imsg_next(r.q, &m) == 1)
			imsg_done(&m);
		assert_int_equal(imsg_read(r.q), 0);
		settle(&r.e);
	}
	assert_true(channel_queued_bytes(r.e.server.ch) < CHANNEL_LOW_BYTES);
	assert_int_equal(r.e.server.drained, 1);
	raw_close(&r);
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

/* --- without a real clock: a loop whose timers a test fires --- */

struct fake_timer {
	struct loop *loop;
	loop_timer_fn *fn;
	void *arg;
	struct mono when;
};

struct fake_loop {
	struct loop loop;
	struct fake_timer *last;
};

static struct loop_fd *
fake_fd_add(struct loop *l, int fd, unsigned events, loop_fd_fn *fn, void *arg)
{
	struct loop **f = mem_calloc(1, sizeof(*f));

	(void)fd;
	(void)events;
	(void)fn;
	(void)arg;
	*f = l;
	return (struct loop_fd *)(void *)f;
}

static int
fake_fd_mod(struct loop_fd *f, unsigned events)
{
	(void)f;
	(void)events;
	return 0;
}

static void
fake_fd_del(struct loop_fd *f)
{
	mem_free(f);
}

static struct loop_timer *
fake_timer_new(struct loop *l, loop_timer_fn *fn, void *arg)
{
	struct fake_timer *t = mem_calloc(1, sizeof(*t));

	*t = (struct fake_timer){.loop = l, .fn = fn, .arg = arg, .when = MONO_NEVER};
	((struct fake_loop *)l)->last = t;
	return (struct loop_timer *)(void *)t;
}

static void
fake_timer_arm(struct loop_timer *t, struct mono when)
{
	((struct fake_timer *)(void *)t)->when = when;
}

static void
fake_timer_disarm(struct loop_timer *t)
{
	fake_timer_arm(t, MONO_NEVER);
}

static void
fake_timer_free(struct loop_timer *t)
{
	mem_free(t);
}

static const struct loop_ops fake_ops = {.fd_add = fake_fd_add,
    .fd_mod = fake_fd_mod,
    .fd_del = fake_fd_del,
    .timer_new = fake_timer_new,
    .timer_arm = fake_timer_arm,
    .timer_disarm = fake_timer_disarm,
    .timer_free = fake_timer_free};

static void
fake_fire(struct fake_loop *f)
{
	f->last->when = MONO_NEVER;
	f->last->fn(f->last->arg);
	loop_deferred_run(&f->loop);
}

/* Attempts at a socket that nobody serves come ever later, up to the maximum, never exactly together. */
static void
test_backoff(void **state)
{
	struct fake_loop f = {.loop = {.ops = &fake_ops, .runs_deferred = true}};
	struct env e;
	int64_t expected_ms = CHANNEL_RETRY_MIN_MS;

	(void)state;
	env_open(&e);
	e.client.ch = channel_connect(&f.loop, e.path, "client", &e.client_conf);
	for (int i = 0; i < 12; i++) {
		int64_t wait_us;

		fake_fire(&f);
		wait_us = mono_diff_us(f.last->when, clock_mono());
		assert_true(wait_us > expected_ms * 700 && wait_us <= expected_ms * 1250);
		expected_ms = expected_ms * 2 < CHANNEL_RETRY_MAX_MS ? expected_ms * 2 : CHANNEL_RETRY_MAX_MS;
	}
	channel_free(e.client.ch);
	e.client.ch = NULL;
	env_close(&e);
}

/* A connection over which nothing is said ends after the hello timeout. */
static void
test_hello_timeout(void **state)
{
	struct fake_loop f = {.loop = {.ops = &fake_ops, .runs_deferred = true}};
	struct env e;
	int fd[2];
	int64_t left_us;

	(void)state;
	env_open(&e);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	e.server.ch = channel_attach(&f.loop, fd[0], CHANNEL_SERVER, "us", &e.server_conf);
	left_us = mono_diff_us(f.last->when, clock_mono());
	assert_true(left_us > 0 && left_us <= CHANNEL_HELLO_TIMEOUT_MS * 1000);
	assert_int_equal(e.server.ch->state, CHANNEL_HELLO);
	fake_fire(&f);
	assert_int_equal(e.server.ch->state, CHANNEL_DOWN);
	close(fd[1]);
	channel_free(e.server.ch);
	e.server.ch = NULL;
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
	    cmocka_unit_test(test_bad_messages),
	    cmocka_unit_test(test_bad_hellos),
	    cmocka_unit_test(test_free_in_handler),
	    cmocka_unit_test(test_stopped_peer),
	    cmocka_unit_test(test_pause),
	    cmocka_unit_test(test_backoff),
	    cmocka_unit_test(test_hello_timeout),
	    cmocka_unit_test(test_foreign_user),
	    cmocka_unit_test(test_reserved_edge),
	    cmocka_unit_test(test_too_many_peers),
	    cmocka_unit_test(test_listen),
	    cmocka_unit_test(test_no_memory),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
