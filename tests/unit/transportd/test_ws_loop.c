/* The loop of common/os/loop.h on libwebsockets: what its users count on. */
#include "transportd/ws_loop.h"

#include <sys/socket.h>
#include <unistd.h>

#include "common/os/clock.h"
#include "common/os/log.h"
#include "common/os/loop.h"
#include "tests/unit/unit.h"

static struct loop *l;

static int
setup(void **state)
{
	(void)state;
	log_set_level(LOG_WARNING);
	l = ws_loop_new();
	return l == NULL ? -1 : 0;
}

static int
teardown(void **state)
{
	(void)state;
	loop_free(l);
	return 0;
}

/* --- timers --- */

static struct {
	int order[64];
	size_t count, stop_at;
} fired;

struct tick {
	struct loop_timer *t;
	int number;
	struct mono due;
};

static void
on_tick(void *arg)
{
	struct tick *k = arg;

	/* Never earlier than asked for. */
	assert_false(mono_before(clock_mono(), k->due));
	fired.order[fired.count++] = k->number;
	if (fired.count == fired.stop_at)
		loop_stop(l);
}

static void
timers_fire_in_order(void **state)
{
	static const int ms[] = {30, 5, 20, 0, 10, 25, 15};
	struct tick ticks[COUNT(ms)];
	struct mono start = clock_mono();

	(void)state;
	memset(&fired, 0, sizeof(fired));
	fired.stop_at = COUNT(ms);
	for (size_t i = 0; i < COUNT(ms); i++) {
		ticks[i].t = loop_timer_new(l, on_tick, &ticks[i]);
		ticks[i].number = ms[i];
		ticks[i].due = mono_add_ms(start, ms[i]);
		loop_timer_arm(ticks[i].t, ticks[i].due);
	}
	assert_int_equal(loop_run(l), 0);
	for (size_t i = 0; i < COUNT(ms); i++) {
		assert_int_equal(fired.order[i], (int)i * 5);
		loop_timer_free(ticks[i].t);
	}
}

static void
timers_move_and_disarm(void **state)
{
	struct tick a = {.number = 1}, b = {.number = 2}, c = {.number = 3};

	(void)state;
	memset(&fired, 0, sizeof(fired));
	fired.stop_at = 2;
	a.t = loop_timer_new(l, on_tick, &a);
	b.t = loop_timer_new(l, on_tick, &b);
	c.t = loop_timer_new(l, on_tick, &c);
	loop_timer_arm_ms(a.t, 5);
	loop_timer_arm_ms(b.t, 10);
	loop_timer_arm_ms(c.t, 1);
	loop_timer_disarm(c.t);
	loop_timer_arm_ms(a.t, 20);
	assert_int_equal(loop_run(l), 0);
	assert_int_equal(fired.order[0], 2);
	assert_int_equal(fired.order[1], 1);
	loop_timer_arm_ms(c.t, 1);
	loop_timer_free(c.t);
	loop_timer_free(b.t);
	loop_timer_free(a.t);
}

/* Against sorting: many timers, armed and removed at random, fire by time. */
static void
many_timers(void **state)
{
	static struct tick ticks[500];
	unsigned seed = 1;
	int last = -1;

	(void)state;
	for (size_t i = 0; i < COUNT(ticks); i++) {
		seed = seed * 1103515245 + 12345;
		ticks[i].t = loop_timer_new(l, on_tick, &ticks[i]);
		ticks[i].number = (int)(seed >> 16) % 40;
		loop_timer_arm_ms(ticks[i].t, ticks[i].number);
	}
	for (size_t i = 0; i < COUNT(ticks); i++)
		if (i % 10 != 0)
			loop_timer_free(ticks[i].t);
	memset(&fired, 0, sizeof(fired));
	fired.stop_at = COUNT(ticks) / 10;
	assert_int_equal(loop_run(l), 0);
	for (size_t i = 0; i < fired.count; i++) {
		/* Armed one after the other: a millisecond may have passed in between. */
		assert_true(fired.order[i] >= last - 1);
		last = fired.order[i];
	}
	for (size_t i = 0; i < COUNT(ticks); i += 10)
		loop_timer_free(ticks[i].t);
}

/* --- descriptors --- */

struct pipe_end {
	struct loop_fd *f;
	int fd;
	unsigned reads, writes, stop_after;
	bool consume, free_at_once;
};

static void
on_end(void *arg, int fd, unsigned events)
{
	struct pipe_end *p = arg;
	char c;

	assert_int_equal(fd, p->fd);
	p->reads += (events & LOOP_READ) != 0;
	p->writes += (events & LOOP_WRITE) != 0;
	if ((events & LOOP_READ) && p->consume)
		(void)!read(fd, &c, 1);
	if (p->free_at_once) {
		loop_fd_del(p->f);
		p->f = NULL;
	}
	if (p->reads + p->writes >= p->stop_after)
		loop_stop(l);
}

static void
pair(struct pipe_end *a, struct pipe_end *b)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	memset(a, 0, sizeof(*a));
	memset(b, 0, sizeof(*b));
	a->fd = fds[0];
	b->fd = fds[1];
}

static void
unpair(struct pipe_end *a, struct pipe_end *b)
{
	loop_fd_del(a->f);
	loop_fd_del(b->f);
	close(a->fd);
	close(b->fd);
}

static void
reading_is_level_triggered(void **state)
{
	struct pipe_end a, b;

	(void)state;
	pair(&a, &b);
	a.f = loop_fd_add(l, a.fd, LOOP_READ, on_end, &a);
	a.stop_after = 5;
	assert_int_equal(write(b.fd, "x", 1), 1);
	assert_int_equal(loop_run(l), 0); /* nothing is read: it is told again and again */
	assert_int_equal(a.reads, 5);
	unpair(&a, &b);
}

/* Writing that is asked for inside the handler is not lost, and goes on until it is taken back. */
static void
writing_is_level_triggered(void **state)
{
	struct pipe_end a, b;

	(void)state;
	pair(&a, &b);
	a.f = loop_fd_add(l, a.fd, LOOP_WRITE, on_end, &a);
	a.stop_after = 5;
	assert_int_equal(loop_run(l), 0);
	assert_int_equal(a.writes, 5);
	assert_int_equal(loop_fd_mod(a.f, LOOP_READ | LOOP_WRITE), 0);
	a.stop_after = 10;
	assert_int_equal(loop_run(l), 0);
	assert_int_equal(a.writes, 10);
	unpair(&a, &b);
}

static void
paused_means_silent(void **state)
{
	struct tick k = {.number = 1};
	struct pipe_end a, b;

	(void)state;
	pair(&a, &b);
	a.f = loop_fd_add(l, a.fd, LOOP_READ, on_end, &a);
	a.stop_after = 1000;
	assert_int_equal(write(b.fd, "x", 1), 1);
	assert_int_equal(loop_fd_mod(a.f, 0), 0);
	close(b.fd); /* a hang-up must not wake it either */
	memset(&fired, 0, sizeof(fired));
	fired.stop_at = 1;
	k.t = loop_timer_new(l, on_tick, &k);
	loop_timer_arm_ms(k.t, 20);
	assert_int_equal(loop_run(l), 0);
	assert_int_equal(a.reads, 0);
	/* What was sent before the hang-up is still there to be read. */
	assert_int_equal(loop_fd_mod(a.f, LOOP_READ), 0);
	a.consume = true;
	a.stop_after = 2;
	assert_int_equal(loop_run(l), 0);
	assert_int_equal(a.reads, 2);
	loop_timer_free(k.t);
	loop_fd_del(a.f);
	close(a.fd);
}

static void
handles_free_themselves_and_each_other(void **state)
{
	struct pipe_end a, b;

	(void)state;
	pair(&a, &b);
	a.f = loop_fd_add(l, a.fd, LOOP_WRITE, on_end, &a);
	a.free_at_once = true;
	a.stop_after = 1;
	assert_int_equal(loop_run(l), 0);
	assert_null(a.f);
	unpair(&a, &b);
}

/* --- deferred work --- */

static struct loop_defer again;
static unsigned rounds;

static void
on_defer(void *arg)
{
	(void)arg;
	if (++rounds == 3)
		loop_stop(l);
	else
		loop_defer_add(l, &again);
}

static void
deferred_work_runs_without_waiting(void **state)
{
	struct mono start = clock_mono();

	(void)state;
	rounds = 0;
	again.fn = on_defer;
	loop_defer_add(l, &again);
	assert_int_equal(loop_run(l), 0);
	assert_int_equal(rounds, 3);
	assert_true(mono_diff_us(clock_mono(), start) < 1000000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(timers_fire_in_order),
	    cmocka_unit_test(timers_move_and_disarm),
	    cmocka_unit_test(many_timers),
	    cmocka_unit_test(reading_is_level_triggered),
	    cmocka_unit_test(writing_is_level_triggered),
	    cmocka_unit_test(paused_means_silent),
	    cmocka_unit_test(handles_free_themselves_and_each_other),
	    cmocka_unit_test(deferred_work_runs_without_waiting),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
