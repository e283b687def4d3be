/*
 * channel_env: what the tests of channels share: an edge of their own, handlers that count, and both
 * sides of a channel in one process and one loop.
 */
#ifndef TESTS_UNIT_OS_CHANNEL_ENV_H
#define TESTS_UNIT_OS_CHANNEL_ENV_H

#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/os/channel.h"
#include "common/os/channel_impl.h"
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

static inline void
turn_ends(void *arg)
{
	struct env *e = arg;

	if (e->server.turn > e->server.most_in_a_turn)
		e->server.most_in_a_turn = e->server.turn;
	e->server.turn = 0;
}

static inline int
on_ping(void *ctx, struct channel *ch, struct imsg *m)
{
	struct env *e = ctx;

	e->server.handled++;
	e->server.turn++;
	loop_defer_add(e->loop, &e->turn);
	return channel_send(ch, PONG, m->peerid, m->body, m->len);
}

static inline int
on_give(void *ctx, struct channel *ch, struct imsg *m)
{
	struct env *e = ctx;

	(void)ch;
	assert_int_not_equal(m->fd, -1);
	e->server.gifts++;
	return 0;
}

static inline int
on_refuse(void *ctx, struct channel *ch, struct imsg *m)
{
	(void)ctx;
	(void)ch;
	(void)m;
	return ERR_RANGE;
}

static inline int
on_close(void *ctx, struct channel *ch, struct imsg *m)
{
	(void)ctx;
	(void)m;
	channel_close(ch, ERR_STALE);
	assert_false(channel_up(ch));
	assert_int_equal(channel_send(ch, PONG, 0, "1234", 4), ERR_STATE);
	return 0;
}

static inline int
on_free(void *ctx, struct channel *ch, struct imsg *m)
{
	struct env *e = ctx;

	(void)m;
	channel_free(ch);
	e->server.ch = NULL;
	loop_stop(e->loop);
	return 0;
}

static inline int
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

static inline int
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

static inline struct side *
side_of(struct env *e, const struct channel *ch)
{
	return ch->side == CHANNEL_SERVER ? &e->server : &e->client;
}

static inline int
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

static inline void
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

static inline void
on_drain(void *ctx, struct channel *ch)
{
	struct env *e = ctx;

	assert_false(channel_full(ch));
	side_of(e, ch)->drained++;
}

static inline void
on_alarm(void *arg)
{
	(void)arg;
	fail_msg("nothing happened for 20 s");
}

static inline void
run(struct env *e)
{
	loop_timer_arm_ms(e->alarm, 20000);
	assert_int_equal(loop_run(e->loop), 0);
}

static inline void
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

static inline void
env_serve(struct env *e)
{
	int fd = channel_listen_fd(e->path);

	assert_true(fd >= 0);
	e->srv = channel_serve(e->loop, fd, "server", &e->server_conf, 1);
	assert_non_null(e->srv);
}

/* Both ends of a channel over the socket, up. */
static inline void
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

static inline void
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

static inline void
stop_loop(void *arg)
{
	loop_stop(arg);
}

/* Runs the loop until nothing more happens at once. */
static inline void
settle(struct env *e)
{
	struct loop_timer *t = loop_timer_new(e->loop, stop_loop, e->loop);

	for (int i = 0; i < 10; i++) {
		loop_timer_arm_ms(t, 0);
		run(e);
	}
	loop_timer_free(t);
}

#endif
