/* Real transportd processes, in their sandbox, with stand-ins for the siblings. */
#define RIG_PROGRAM "build/gcc/bin/transportd"
#include "tests/rig/transport.h"
#include "tests/unit/unit.h"

static bool
linked_to(void *arg)
{
	struct rig_node **pair = arg;

	return rig_has_link(pair[0], pair[1]->id) && rig_has_link(pair[1], pair[0]->id);
}

static void
wait_link(struct rig *r, struct rig_node *a, struct rig_node *b)
{
	struct rig_node *pair[2] = {a, b};

	assert_true(rig_wait(r, linked_to, pair, RIG_WAIT_MS));
}

static void
two_nodes_link(void **state)
{
	struct rig r;
	struct rig_node *a, *b;

	(void)state;
	rig_init(&r);
	a = rig_add(&r, "a");
	b = rig_add(&r, "b");
	rig_conf(a, "\tpeer b { address 127.0.0.1:%u }", b->port);
	rig_conf(b, "");
	rig_start(a);
	rig_start(b);
	wait_link(&r, a, b);
	assert_true(rig_alive(a));
	assert_true(rig_alive(b));
	assert_int_equal(rig_kill(a, SIGTERM), 0);
	rig_fini(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(two_nodes_link),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
