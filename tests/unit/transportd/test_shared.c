/* What all nodes share, at a real transportd in its sandbox: in effect while it is said, and kept while
 * consensusd is away. */
#include "common/os/conf_overlay.h"
#include "tests/rig/raw_peer.h"
#include "tests/unit/unit.h"

static bool
linked(void *arg)
{
	struct rig_node **pair = arg;

	return rig_has_link(pair[0], pair[1]->id) && rig_has_link(pair[1], pair[0]->id);
}

static bool
apart(void *arg)
{
	struct rig_node **pair = arg;

	return !rig_has_link(pair[0], pair[1]->id) && !rig_has_link(pair[1], pair[0]->id);
}

static bool
consensus_up(void *arg)
{
	return ((struct rig_node *)arg)->consensus_up;
}

static bool
consensus_down(void *arg)
{
	return !consensus_up(arg);
}

static void
share(struct rig_node *at, const char *key, const char *value)
{
	uint8_t mem[256];
	struct buf b;

	buf_init_fixed(&b, mem, sizeof(mem));
	if (key != NULL)
		assert_int_equal(conf_overlay_put(&b, key, &value, 1), 0);
	assert_int_equal(channel_send(at->consensus, CT_CONFIG, 0, mem, buf_left(&b)), 0);
}

static void
wait_for(struct rig *r, bool (*what)(void *arg), struct rig_node **pair)
{
	assert_true(rig_wait(r, what, pair, RIG_WAIT_MS));
}

static void
reconnect(struct rig *r, struct rig_node *n)
{
	assert_true(rig_wait(r, consensus_down, n, RIG_WAIT_MS));
	assert_true(rig_wait(r, consensus_up, n, RIG_WAIT_MS));
}

static void
in_effect(void **state)
{
	struct rig_node *pair[2];
	char id[NODEID_TEXT_SIZE];
	struct rig r;

	(void)state;
	rig_init(&r);
	pair[0] = rig_add(&r, "a");
	pair[1] = rig_add(&r, "b");
	rig_conf(pair[0], "\tpeer b { address 127.0.0.1:%u }", pair[1]->port);
	rig_conf(pair[1], "");
	rig_start(pair[1]);
	rig_start(pair[0]);
	wait_for(&r, linked, pair);
	nodeid_format(id, pair[0]->id);
	share(pair[1], "deny", id);
	wait_for(&r, apart, pair);
	channel_close(pair[1]->consensus, ERR_CLOSED);
	reconnect(&r, pair[1]);
	assert_false(rig_wait(&r, linked, pair, 500));
	share(pair[1], NULL, NULL);
	wait_for(&r, linked, pair);
	/* A value that is none is left out alone; what is no overlay at all ends the connection. */
	share(pair[1], "deny", "nobody");
	assert_int_equal(channel_send(pair[1]->consensus, CT_CONFIG, 0, "\1", 1), 0);
	reconnect(&r, pair[1]);
	assert_true(linked(pair));
	assert_true(rig_alive(pair[0]) && rig_alive(pair[1]));
	rig_fini(&r);
}

/* The node's own file wins. */
static void
own_setting(void **state)
{
	struct rig_node *pair[2];
	char id[NODEID_TEXT_SIZE];
	struct rig r;

	(void)state;
	rig_init(&r);
	pair[0] = rig_add(&r, "a");
	pair[1] = rig_add(&r, "b");
	rig_conf(pair[0], "\tpeer b { address 127.0.0.1:%u }", pair[1]->port);
	rig_conf(pair[1], "\tdeny 0000000000001\n");
	rig_start(pair[1]);
	rig_start(pair[0]);
	wait_for(&r, linked, pair);
	nodeid_format(id, pair[0]->id);
	share(pair[1], "deny", id);
	assert_false(rig_wait(&r, apart, pair, 500));
	rig_conf(pair[1], "");
	kill(pair[1]->pid, SIGHUP);
	wait_for(&r, apart, pair);
	rig_fini(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(in_effect),
	    cmocka_unit_test(own_setting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
