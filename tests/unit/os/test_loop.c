/* loop: the libevent loop, timers, descriptors and deferred work. */
#include "tests/unit/unit.h"

#include <sys/socket.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/loop.h"

struct env {
	struct loop *loop;
	struct loop_timer *timer;
	struct loop_fd *watch;
	struct loop_defer defer;
	int fd[2];
	unsigned fired, deferred;
	char order[16];
};

static void
env_open(struct env *e)
{
	memset(e, 0, sizeof(*e));
	e->loop = loop_event_new();
	assert_non_null(e->loop);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, e->fd), 0);
}

static void
env_close(struct env *e)
{
	loop_fd_del(e->watch);
	loop_timer_free(e->timer);
	loop_free(e->loop);
	close(e->fd[0]);
	close(e->fd[1]);
}

static void
stop_on_timer(void *arg)
{
	struct env *e = arg;

	e->fired++;
	loop_stop(e->loop);
}

static void
test_timer_is_never_early(void **state)
{
	struct env e;

	(void)state;
	env_open(&e);
	e.timer = loop_timer_new(e.loop, stop_on_timer, &e);
	for (int i = 0; i < 20; i++) {
		struct mono when = mono_add_us(clock_mono(), 1 + i * 137);

		loop_timer_arm(e.timer, when);
		assert_int_equal(loop_run(e.loop), 0);
		assert_false(mono_before(clock_mono(), when));
	}
	assert_int_equal(e.fired, 20);
	loop_timer_arm(e.timer, MONO_ZERO); /* past: at once */
	assert_int_equal(loop_run(e.loop), 0);
	assert_int_equal(e.fired, 21);
	env_close(&e);
}

static void
count(void *arg)
{
	((struct env *)arg)->deferred++;
}

static void
test_timer_moves_and_disarms(void **state)
{
	struct env e;
	struct loop_timer *other;

	(void)state;
	env_open(&e);
	e.timer = loop_timer_new(e.loop, stop_on_timer, &e);
	other = loop_timer_new(e.loop, count, &e);
	loop_timer_arm_ms(other, 1);
	loop_timer_arm(other, MONO_NEVER);
	loop_timer_arm_ms(e.timer, 3600 * 1000);
	loop_timer_arm_ms(e.timer, 3);
	assert_int_equal(loop_run(e.loop), 0);
	loop_timer_arm_ms(other, 0);
	loop_timer_disarm(other);
	loop_timer_arm_ms(e.timer, 1);
	assert_int_equal(loop_run(e.loop), 0);
	assert_int_equal(e.deferred, 0);
	loop_timer_free(other);
	env_close(&e);
}

static void
free_own_timer(void *arg)
{
	struct env *e = arg;

	loop_timer_free(e->timer);
	e->timer = NULL;
	loop_stop(e->loop);
}

static void
test_timer_frees_itself(void **state)
{
	struct env e;

	(void)state;
	env_open(&e);
	e.timer = loop_timer_new(e.loop, free_own_timer, &e);
	loop_timer_arm_ms(e.timer, 0);
	assert_int_equal(loop_run(e.loop), 0);
	assert_null(e.timer);
	env_close(&e);
}

static void
on_fd(void *arg, int fd, unsigned events)
{
	struct env *e = arg;
	char c;

	e->fired += events;
	if (events & LOOP_READ) {
		assert_int_equal(read(fd, &c, 1), 1);
		loop_fd_del(e->watch);
		e->watch = NULL;
		loop_stop(e->loop);
	} else {
		assert_int_equal(loop_fd_mod(e->watch, LOOP_READ), 0);
		assert_int_equal(write(e->fd[1], "x", 1), 1);
	}
}

static void
test_fd(void **state)
{
	struct env e;

	(void)state;
	env_open(&e);
	e.watch = loop_fd_add(e.loop, e.fd[0], LOOP_WRITE, on_fd, &e);
	assert_int_equal(loop_run(e.loop), 0);
	assert_int_equal(e.fired, LOOP_WRITE + LOOP_READ);
	env_close(&e);
}

static void
never(void *arg, int fd, unsigned events)
{
	(void)arg;
	(void)fd;
	fail_msg("called for events %u while paused", events);
}

static void
test_fd_paused(void **state)
{
	struct env e;

	(void)state;
	env_open(&e);
	e.watch = loop_fd_add(e.loop, e.fd[0], LOOP_READ, never, &e);
	assert_int_equal(loop_fd_mod(e.watch, 0), 0);
	close(e.fd[1]); /* not even the end of file is told */
	e.fd[1] = dup(e.fd[0]);
	e.timer = loop_timer_new(e.loop, stop_on_timer, &e);
	loop_timer_arm_ms(e.timer, 5);
	assert_int_equal(loop_run(e.loop), 0);
	env_close(&e);
}

static void
deferred_again(void *arg)
{
	struct env *e = arg;

	if (++e->deferred == 5)
		loop_stop(e->loop);
	else
		loop_defer_add(e->loop, &e->defer);
}

static void
check_defer(struct env *e)
{
	struct loop_defer other = {.fn = count, .arg = e};

	e->defer = (struct loop_defer){.fn = deferred_again, .arg = e};
	loop_defer_add(e->loop, &e->defer);
	loop_defer_add(e->loop, &e->defer); /* once all the same */
	loop_defer_add(e->loop, &other);
	loop_defer_del(&other);
	loop_defer_del(&other);
	assert_int_equal(loop_run(e->loop), 0);
	assert_int_equal(e->deferred, 5);
	assert_false(loop_deferred(e->loop));
}

static void
test_defer(void **state)
{
	struct env e;

	(void)state;
	env_open(&e);
	check_defer(&e);
	e.deferred = 0;
	e.loop->runs_deferred = false; /* as in a loop that leaves it to a timer */
	check_defer(&e);
	env_close(&e);
}

static void
first_removes_second(void *arg)
{
	struct env *e = arg;

	loop_defer_del(&e->defer);
	loop_stop(e->loop);
}

static void
test_defer_removed_by_another(void **state)
{
	struct env e;
	struct loop_defer first = {.fn = first_removes_second, .arg = &e};

	(void)state;
	env_open(&e);
	e.defer = (struct loop_defer){.fn = count, .arg = &e};
	loop_defer_add(e.loop, &first);
	loop_defer_add(e.loop, &e.defer);
	assert_int_equal(loop_run(e.loop), 0);
	assert_int_equal(e.deferred, 0);
	env_close(&e);
}

static void
test_no_memory(void **state)
{
	struct loop *l;
	struct loop_timer *t;
	struct loop_fd *f;

	(void)state;
	mem_fail_at(1);
	l = loop_event_new();
	assert_null(l);
	l = loop_event_new();
	mem_fail_at(1);
	t = loop_timer_new(l, count, NULL);
	assert_null(t);
	mem_fail_at(1);
	f = loop_fd_add(l, 0, LOOP_READ, never, NULL);
	assert_null(f);
	mem_fail_at(0);
	loop_free(l);
	loop_free(NULL);
	loop_fd_del(NULL);
	loop_timer_free(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_timer_is_never_early),
	    cmocka_unit_test(test_timer_moves_and_disarms),
	    cmocka_unit_test(test_timer_frees_itself),
	    cmocka_unit_test(test_fd),
	    cmocka_unit_test(test_fd_paused),
	    cmocka_unit_test(test_defer),
	    cmocka_unit_test(test_defer_removed_by_another),
	    cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
