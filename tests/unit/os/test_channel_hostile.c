/* channel: another side that breaks the rules, stops reading, or says nothing. */
#include "tests/unit/os/channel_env.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/log.h"

/* --- a hostile other side: raw messages over a socketpair --- */

struct raw {
	struct env e;
	int fd;
	struct imsg_queue *q;
};

/* Marks of the server side; 0: the usual ones. */
static void
raw_open_marks(struct raw *r, enum channel_side side, size_t high, size_t low)
{
	int fd[2];

	env_open(&r->e);
	r->e.server_conf.high_bytes = high;
	r->e.server_conf.low_bytes = low;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	r->fd = fd[0];
	r->q = imsg_queue_new(fd[0], 1 << 20);
	if (side == CHANNEL_SERVER)
		r->e.server.ch = channel_attach(r->e.loop, fd[1], side, "us", &r->e.server_conf);
	else
		r->e.client.ch = channel_attach(r->e.loop, fd[1], side, "us", &r->e.client_conf);
}

static void
raw_open(struct raw *r, enum channel_side side)
{
	raw_open_marks(r, side, 0, 0);
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
stopped_peer(struct raw *r, size_t size, size_t high, size_t low)
{
	static uint8_t body[1 << 20];
	struct imsg m;
	int err;

	raw_hello(r, "test", 3, 0);
	settle(&r->e);
	do {
		err = channel_send(r->e.server.ch, LARGE, 0, body, size);
		assert_int_equal(channel_full(r->e.server.ch), channel_queued_bytes(r->e.server.ch) > high);
	} while (err == 0);
	assert_int_equal(err, ERR_FULL);
	assert_true(channel_queued_bytes(r->e.server.ch) <= CHANNEL_MAX_BYTES);
	settle(&r->e);
	assert_int_equal(r->e.server.drained, 0);
	while (r->e.server.drained == 0) {
		while (imsg_next(r->q, &m) == 1)
			imsg_done(&m);
		assert_int_equal(imsg_read(r->q), 0);
		settle(&r->e);
	}
	assert_true(channel_queued_bytes(r->e.server.ch) < low);
	assert_int_equal(r->e.server.drained, 1);
}

static void
test_stopped_peer(void **state)
{
	int64_t before;
	struct raw r;

	(void)state;
	raw_open(&r, CHANNEL_SERVER);
	before = channel_metrics.full.value;
	stopped_peer(&r, 1 << 20, CHANNEL_HIGH_BYTES, CHANNEL_LOW_BYTES);
	assert_int_equal(channel_metrics.full.value, before + 1);
	raw_close(&r);
}

/* With marks of its own, which are not what is counted. */
static void
test_own_marks(void **state)
{
	int64_t before;
	struct raw r;

	(void)state;
	raw_open_marks(&r, CHANNEL_SERVER, 100000, 20000);
	before = channel_metrics.full.value;
	stopped_peer(&r, 5000, 100000, 20000);
	assert_int_equal(channel_metrics.full.value, before);
	raw_close(&r);
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_bad_messages),
	    cmocka_unit_test(test_bad_hellos),
	    cmocka_unit_test(test_free_in_handler),
	    cmocka_unit_test(test_stopped_peer),
	    cmocka_unit_test(test_own_marks),
	    cmocka_unit_test(test_backoff),
	    cmocka_unit_test(test_hello_timeout),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
