#include "transportd/core/eyeballs.h"

#include <stdio.h>

#include "common/base/err.h"
#include "tests/unit/unit.h"

static struct mono
at_ms(int64_t ms)
{
	return (struct mono){ms * 1000};
}

static void
add(struct eyeballs *e, const char *ip, uint8_t rank)
{
	assert_int_equal(eyeballs_add(e, ip, 7400, rank, false), 0);
}

static bool
due(const struct eyeballs *e, int64_t ms)
{
	return !mono_before(at_ms(ms), eyeballs_next(e));
}

static void
begins(struct eyeballs *e, int64_t ms, const char *ip)
{
	assert_true(due(e, ms));
	assert_string_equal(eyeballs_begin(e, at_ms(ms))->ip, ip);
}

static void
families_take_turns(void **state)
{
	struct eyeballs e;

	(void)state;
	eyeballs_init(&e, at_ms(0));
	add(&e, "192.0.2.1", 0);
	add(&e, "192.0.2.2", 1);
	add(&e, "2001:db8::1", 2);
	add(&e, "192.0.2.3", 3);
	add(&e, "2001:db8::2", 4);
	add(&e, "192.0.2.1", 0); /* again */
	assert_int_equal(e.count, 5);
	begins(&e, 0, "2001:db8::1");
	assert_false(due(&e, 249));
	begins(&e, 250, "192.0.2.1");
	begins(&e, 500, "2001:db8::2");
	begins(&e, 750, "192.0.2.2");
	begins(&e, 1000, "192.0.2.3");
	assert_true(mono_is_never(eyeballs_next(&e)));
	assert_false(eyeballs_over(&e));
}

static void
a_failure_brings_the_next(void **state)
{
	struct eyeballs e;

	(void)state;
	eyeballs_init(&e, at_ms(0));
	add(&e, "192.0.2.1", 0);
	add(&e, "192.0.2.2", 1);
	begins(&e, 0, "192.0.2.1");
	assert_false(due(&e, 10));
	eyeballs_failed(&e, at_ms(10));
	begins(&e, 10, "192.0.2.2");
	assert_false(eyeballs_over(&e));
	eyeballs_failed(&e, at_ms(20));
	assert_true(eyeballs_over(&e));
}

static void
names_are_waited_for_a_moment(void **state)
{
	struct eyeballs e;

	(void)state;
	eyeballs_init(&e, at_ms(0));
	eyeballs_ask(&e);
	eyeballs_ask(&e);
	add(&e, "192.0.2.1", 2);
	assert_int_equal(eyeballs_next(&e).us, at_ms(50).us);
	/* In time: it comes before. */
	add(&e, "192.0.2.7", 0);
	eyeballs_answered(&e);
	assert_false(due(&e, 49));
	begins(&e, 50, "192.0.2.7");
	/* Late: merged. */
	add(&e, "2001:db8::1", 1);
	eyeballs_answered(&e);
	begins(&e, 300, "2001:db8::1");
	begins(&e, 550, "192.0.2.1");
}

static void
all_answers_there_no_wait(void **state)
{
	struct eyeballs e;

	(void)state;
	eyeballs_init(&e, at_ms(0));
	eyeballs_ask(&e);
	assert_true(mono_is_never(eyeballs_next(&e)));
	assert_false(eyeballs_over(&e));
	add(&e, "192.0.2.1", 0);
	eyeballs_answered(&e);
	begins(&e, 1, "192.0.2.1");
	/* A name that nobody knows. */
	eyeballs_init(&e, at_ms(0));
	eyeballs_ask(&e);
	eyeballs_answered(&e);
	assert_true(eyeballs_over(&e));
}

static void
who_failed_last_time_goes_last(void **state)
{
	struct eyeballs e;

	(void)state;
	eyeballs_init(&e, at_ms(0));
	assert_int_equal(eyeballs_add(&e, "2001:db8::1", 1, 0, true), 0);
	add(&e, "192.0.2.1", 1);
	add(&e, "192.0.2.2", 2);
	begins(&e, 0, "192.0.2.1");
	begins(&e, 250, "192.0.2.2");
	begins(&e, 500, "2001:db8::1");
}

static void
limits_hold(void **state)
{
	struct eyeballs e;
	char ip[EYEBALLS_IP_SIZE + 8];

	(void)state;
	eyeballs_init(&e, at_ms(0));
	memset(ip, 'a', sizeof(ip));
	ip[EYEBALLS_IP_SIZE] = '\0';
	assert_int_equal(eyeballs_add(&e, ip, 1, 0, false), ERR_FORMAT);
	for (int i = 0; i < EYEBALLS_MAX; i++) {
		snprintf(ip, sizeof(ip), "192.0.2.%d", i);
		add(&e, ip, 0);
	}
	assert_int_equal(eyeballs_add(&e, "192.0.2.200", 1, 0, false), ERR_FULL);
	for (int i = 0; i < EYEBALLS_RUNNING_MAX; i++)
		(void)eyeballs_begin(&e, at_ms(i * 250));
	assert_true(mono_is_never(eyeballs_next(&e)));
	eyeballs_failed(&e, at_ms(5000));
	assert_true(due(&e, 5000));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(families_take_turns),
	    cmocka_unit_test(a_failure_brings_the_next),
	    cmocka_unit_test(names_are_waited_for_a_moment),
	    cmocka_unit_test(all_answers_there_no_wait),
	    cmocka_unit_test(who_failed_last_time_goes_last),
	    cmocka_unit_test(limits_hold),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
