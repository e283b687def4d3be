/* Real transportd processes, in their sandbox, with stand-ins for the siblings. */
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

static bool
not_linked(void *arg)
{
	struct rig_node **pair = arg;

	return !rig_has_link(pair[0], pair[1]->id);
}

/* a dials b; extra goes into both configurations. */
static void
pair_up(struct rig *r, const char *extra)
{
	struct rig_node *a, *b;

	rig_init(r);
	a = rig_add(r, "a");
	b = rig_add(r, "b");
	rig_conf(a, "%s\tpeer b { address 127.0.0.1:%u }", extra, b->port);
	rig_conf(b, "%s", extra);
	rig_start(a);
	rig_start(b);
	wait_link(r, a, b);
}

static void
both_dial_and_settle(void **state)
{
	struct rig_node *a, *b;
	struct rig r;

	(void)state;
	for (int round = 0; round < 5; round++) {
		rig_init(&r);
		a = rig_add(&r, "a");
		b = rig_add(&r, "b");
		rig_conf(a, "\tpeer b { address 127.0.0.1:%u }", b->port);
		rig_conf(b, "\tpeer a { address 127.0.0.1:%u }", a->port);
		rig_start(a);
		rig_start(b);
		wait_link(&r, a, b);
		/* Long enough for several heartbeats of a wrong decision: the link must not flap. */
		(void)rig_wait(&r, rig_never, NULL, 400);
		assert_int_equal(a->link_ups, 1);
		assert_int_equal(b->link_ups, 1);
		assert_int_equal(a->link_downs + b->link_downs, 0);
		/* One side dialled it, and both agree which. */
		assert_int_equal(a->last_link.dialled, !b->last_link.dialled);
		rig_fini(&r);
	}
}

static void
a_killed_neighbour_comes_back(void **state)
{
	struct rig r;
	struct rig_node *pair[2];

	(void)state;
	pair_up(&r, "");
	pair[0] = &r.nodes[0];
	pair[1] = &r.nodes[1];
	for (int i = 0; i < 3; i++) {
		rig_kill(pair[1], SIGKILL);
		assert_true(rig_wait(&r, not_linked, pair, RIG_WAIT_MS));
		rig_spawn(pair[1]);
		wait_link(&r, pair[0], pair[1]);
	}
	rig_fini(&r);
}

static void
a_silent_neighbour_is_dead(void **state)
{
	struct rig r;
	struct rig_node *pair[2];
	int64_t t0;

	(void)state;
	/* Its kernel goes on answering, which is not to count here. */
	pair_up(&r, "\theartbeat-interval 100ms\n\theartbeat-misses 3\n\tstall-timeout 0us\n");
	pair[0] = &r.nodes[0];
	pair[1] = &r.nodes[1];
	/* Heartbeats keep it up. */
	(void)rig_wait(&r, rig_never, NULL, 700);
	assert_int_equal(pair[0]->link_downs, 0);
	t0 = clock_mono().us;
	kill(pair[1]->pid, SIGSTOP);
	assert_true(rig_wait(&r, not_linked, pair, RIG_WAIT_MS));
	assert_in_range(clock_mono().us - t0, 100000, 2000000);
	kill(pair[1]->pid, SIGCONT);
	wait_link(&r, pair[0], pair[1]);
	rig_fini(&r);
}

/* A peer that is stopped for a moment is not a cut: its kernel acknowledges what we send. */
static void
a_stalled_neighbour_is_waited_for(void **state)
{
	struct rig r;
	struct rig_node *pair[2];

	(void)state;
	pair_up(&r, "\theartbeat-interval 50ms\n\theartbeat-misses 3\n\tstall-timeout 20s\n");
	pair[0] = &r.nodes[0];
	pair[1] = &r.nodes[1];
	for (int i = 0; i < 3; i++) {
		kill(pair[1]->pid, SIGSTOP);
		(void)rig_wait(&r, rig_never, NULL, 600);
		kill(pair[1]->pid, SIGCONT);
		(void)rig_wait(&r, rig_never, NULL, 200);
	}
	assert_int_equal(pair[0]->link_downs + pair[1]->link_downs, 0);
	assert_int_equal(pair[0]->link_ups, 1);
	rig_fini(&r);
}

static void
the_wrong_node_is_refused(void **state)
{
	struct rig_node *a, *b;
	char id[NODEID_TEXT_SIZE];
	struct rig r;

	(void)state;
	rig_init(&r);
	a = rig_add(&r, "a");
	b = rig_add(&r, "b");
	nodeid_format(id, a->id ^ 1);
	rig_conf(a, "\tpeer b { address 127.0.0.1:%u; node-id %s }", b->port, id);
	rig_conf(b, "");
	rig_start(a);
	rig_start(b);
	(void)rig_wait(&r, rig_never, NULL, 500);
	assert_int_equal(a->link_ups + b->link_ups, 0);
	/* The operator corrects it. */
	nodeid_format(id, b->id);
	rig_conf(a, "\tpeer b { address 127.0.0.1:%u; node-id %s }", b->port, id);
	kill(a->pid, SIGHUP);
	wait_link(&r, a, b);
	rig_fini(&r);
}

static void
reload_adds_and_removes_peers(void **state)
{
	struct rig_node *pair[2];
	struct rig r;

	(void)state;
	rig_init(&r);
	pair[0] = rig_add(&r, "a");
	pair[1] = rig_add(&r, "b");
	rig_conf(pair[0], "");
	rig_conf(pair[1], "");
	rig_start(pair[0]);
	rig_start(pair[1]);
	(void)rig_wait(&r, rig_never, NULL, 300);
	assert_int_equal(pair[0]->link_ups, 0);
	rig_conf(pair[0], "\tpeer b { address 127.0.0.1:%u }", pair[1]->port);
	kill(pair[0]->pid, SIGHUP);
	wait_link(&r, pair[0], pair[1]);
	/* A new certificate, and a peer less. */
	rig_issue(pair[0], pair[0]->id, NULL, NULL, 86400);
	rig_conf(pair[0], "");
	kill(pair[0]->pid, SIGHUP);
	assert_true(rig_wait(&r, not_linked, pair, RIG_WAIT_MS));
	rig_conf(pair[0], "\tpeer b { address 127.0.0.1:%u }", pair[1]->port);
	kill(pair[0]->pid, SIGHUP);
	wait_link(&r, pair[0], pair[1]);
	rig_fini(&r);
}

static void
names_are_resolved(void **state)
{
	struct rig_node *a, *b;
	struct rig r;

	(void)state;
	rig_init(&r);
	a = rig_add(&r, "a");
	b = rig_add(&r, "b");
	/* A dead address and a name that does not exist are passed over. */
	rig_conf(a, "\tpeer b { address 127.0.0.1:1 no-such-host.invalid:7 localhost:%u }", b->port);
	rig_conf(b, "");
	rig_start(a);
	rig_start(b);
	wait_link(&r, a, b);
	rig_fini(&r);
}

static bool
consensus_gone(void *arg)
{
	return !((struct rig_node *)arg)->consensus_up;
}

static void
consensusd_may_be_away(void **state)
{
	struct rig_node *pair[2];
	struct rig r;

	(void)state;
	pair_up(&r, "\thandshake-timeout 5s\n");
	pair[0] = &r.nodes[0];
	pair[1] = &r.nodes[1];
	/* Without it, links stay up; new ones wait for its signature. */
	channel_free(pair[0]->consensus);
	pair[0]->consensus = NULL;
	channel_close(pair[1]->consensus, ERR_CLOSED);
	assert_true(rig_wait(&r, consensus_gone, pair[1], RIG_WAIT_MS));
	(void)rig_wait(&r, rig_never, NULL, 100);
	assert_int_equal(pair[0]->link_downs, 0);
	rig_kill(pair[1], SIGKILL);
	assert_true(rig_wait(&r, not_linked, pair, RIG_WAIT_MS));
	rig_spawn(pair[1]);
	(void)rig_wait(&r, rig_never, NULL, 500);
	assert_false(rig_has_link(pair[0], pair[1]->id));
	rig_connect_consensus(pair[0]);
	wait_link(&r, pair[0], pair[1]);
	rig_fini(&r);
}

static void
no_signature_no_link(void **state)
{
	struct rig_node *a, *b;
	struct rig r;

	(void)state;
	rig_init(&r);
	a = rig_add(&r, "a");
	b = rig_add(&r, "b");
	rig_conf(a, "\tpeer b { address 127.0.0.1:%u }", b->port);
	rig_conf(b, "");
	b->refuse_to_sign = true;
	rig_start(a);
	rig_start(b);
	(void)rig_wait(&r, rig_never, NULL, 500);
	assert_int_equal(a->link_ups + b->link_ups, 0);
	b->refuse_to_sign = false;
	wait_link(&r, a, b);
	rig_fini(&r);
}

static void
routerd_gets_a_snapshot(void **state)
{
	struct rig_node *pair[2];
	struct rig r;

	(void)state;
	pair_up(&r, "");
	pair[0] = &r.nodes[0];
	pair[1] = &r.nodes[1];
	channel_close(pair[0]->router, ERR_CLOSED);
	assert_true(rig_wait(&r, not_linked, pair, RIG_WAIT_MS));
	wait_link(&r, pair[0], pair[1]);
	assert_string_equal(pair[0]->last_link.peer_name, "b");
	assert_true(pair[0]->last_link.dialled);
	rig_fini(&r);
}

static bool
has_answers(void *arg)
{
	struct rig_node *n = arg;

	return n->dones == 1 && n->metrics != NULL && n->replies >= 2 && n->events >= 2;
}

static void
gatewayd_is_answered(void **state)
{
	char id[NODEID_TEXT_SIZE];
	struct rig_node *a, *pair[2];
	struct rig r;

	(void)state;
	pair_up(&r, "");
	a = pair[0] = &r.nodes[0];
	pair[1] = &r.nodes[1];
	/* Now that gatewayd's channel is up for sure: down and up. */
	assert_true(rig_wait_routes(a));
	rig_kill(pair[1], SIGKILL);
	assert_true(rig_wait(&r, not_linked, pair, RIG_WAIT_MS));
	rig_spawn(pair[1]);
	wait_link(&r, pair[0], pair[1]);
	a->replies = 0;
	assert_int_equal(channel_send(a->gateway, GT_LIST_LINKS, 9, NULL, 0), 0);
	assert_int_equal(channel_send(a->gateway, GT_NODE_STATUS, RIG_ASK_STATUS, NULL, 0), 0);
	assert_int_equal(channel_send(a->gateway, GT_METRICS, RIG_ASK_METRICS, NULL, 0), 0);
	assert_true(rig_wait(&r, has_answers, a, RIG_WAIT_MS));
	assert_int_equal(a->items, 1);
	nodeid_format(id, a->id);
	assert_string_equal(a->link_info.source_node_id, id);
	nodeid_format(id, r.nodes[1].id);
	assert_string_equal(a->link_info.target_node_id, id);
	assert_string_equal(a->link_info.status, "up");
	assert_true(a->link_info.has_detail);
	assert_true(a->link_info.detail.dialled);
	assert_non_null(strstr(a->link_info.detail.cipher, "TLSv1.3"));
	assert_true(a->status.serving);
	assert_string_equal(a->status.daemons[0].name, "transportd");
	assert_string_equal(a->status.daemons[0].state, "running");
	assert_int_equal(a->status.daemons[0].pid, a->pid);
	assert_non_null(strstr(a->metrics, "\nmesh_links{daemon=\"transportd\"} 1\n"));
	assert_non_null(strstr(a->metrics, "mesh_frames_dropped_total"));
	assert_string_equal(a->event.event_type, "link_up");
	assert_string_equal(a->event.metadata[0].value, id);
	rig_fini(&r);
}

static unsigned
metric(const struct rig_node *n, const char *label)
{
	const char *at = n->metrics != NULL ? strstr(n->metrics, label) : NULL;

	return at != NULL ? (unsigned)strtoul(strchr(at, ' ') + 1, NULL, 10) : 0;
}

static bool
has_probed(void *arg)
{
	struct rig_node *n = arg;

	if (metric(n, "\nmesh_link_probes_total{") >= 4)
		return true;
	if (channel_up(n->gateway))
		RIG_MUST(channel_send(n->gateway, GT_METRICS, RIG_ASK_METRICS, NULL, 0) == 0);
	return false;
}

/* What an idle link is found to carry is asked less and less often: each train is 64 KiB. */
static void
probes_become_rare(void **state)
{
	const int64_t first_us = 200 * 1000;
	struct rig r;
	struct rig_node *a;
	int64_t t0;

	(void)state;
	pair_up(&r, "\tprobe-interval 200ms\n");
	a = &r.nodes[0];
	t0 = clock_mono().us;
	assert_true(rig_wait(&r, has_probed, a, RIG_WAIT_MS));
	/* After 200, 200, 400, 800 ms; this side may have learnt late that the link is up. */
	assert_true(clock_mono().us - t0 >= 7 * first_us);
	assert_true(metric(a, "type=\"probe\"} ") >= 3 * 65536);
	assert_true(metric(a, "type=\"hello\"} ") > 0);
	assert_true(metric(a, "type=\"heartbeat\"} ") > 0);
	assert_int_equal(metric(a, "type=\"data\"} "), 0);
	rig_fini(&r);
}

static void
both_address_families(void **state)
{
	struct rig_node *a, *b;
	struct rig r;
	uint16_t port = rig_free_port();

	(void)state;
	rig_init(&r);
	a = rig_add(&r, "a");
	b = rig_add(&r, "b");
	rig_conf(a, "\tpeer b { address [::1]:%u }", port);
	rig_conf(b, "\tlisten *:%u", port);
	rig_start(a);
	rig_start(b);
	wait_link(&r, a, b);
	assert_non_null(strstr(a->last_link.address, "[::1]:"));
	rig_fini(&r);
}

static bool
one_link_each(void *arg)
{
	struct rig *r = arg;

	return r->nodes[0].link_count == 1 && r->nodes[1].link_count + r->nodes[2].link_count == 1;
}

static void
links_are_limited(void **state)
{
	struct rig_node *a, *b, *c;
	struct rig r;

	(void)state;
	rig_init(&r);
	a = rig_add(&r, "a");
	b = rig_add(&r, "b");
	c = rig_add(&r, "c");
	rig_conf(a, "\tlinks-max 1\n");
	rig_conf(b, "\tpeer a { address 127.0.0.1:%u }", a->port);
	rig_conf(c, "\tpeer a { address 127.0.0.1:%u }", a->port);
	rig_start(a);
	rig_start(b);
	rig_start(c);
	assert_true(rig_wait(&r, one_link_each, &r, RIG_WAIT_MS));
	(void)rig_wait(&r, rig_never, NULL, 300);
	assert_int_equal(a->link_ups, 1);
	/* When the first one goes, there is room for the other. */
	if (b->link_count == 1)
		rig_kill(b, SIGKILL);
	else
		rig_kill(c, SIGKILL);
	if (b->pid != 0)
		wait_link(&r, b, a);
	else
		wait_link(&r, c, a);
	rig_fini(&r);
}

/* The child that keeps the way to those that resolve names: found by its parent. */
static pid_t
resolver_of(pid_t parent)
{
	char path[64], line[256];
	pid_t found = 0;

	for (pid_t pid = parent + 1; pid < parent + 200 && found == 0; pid++) {
		int ppid = 0;
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
		f = fopen(path, "r");
		while (f != NULL && fgets(line, sizeof(line), f) != NULL)
			if (sscanf(line, "PPid: %d", &ppid) == 1 && ppid == parent)
				found = pid;
		if (f != NULL)
			fclose(f);
	}
	return found;
}

static void
the_resolver_may_die(void **state)
{
	struct rig_node *a, *b;
	struct rig r;
	pid_t child;

	(void)state;
	rig_init(&r);
	a = rig_add(&r, "a");
	b = rig_add(&r, "b");
	rig_conf(a, "\tpeer b { address localhost:%u 127.0.0.1:%u }", b->port, b->port);
	rig_conf(b, "");
	rig_start(a);
	assert_true(rig_wait_routes(a));
	child = resolver_of(a->pid);
	assert_int_not_equal(child, 0);
	kill(child, SIGKILL);
	rig_start(b);
	wait_link(&r, a, b);
	assert_true(rig_alive(a));
	rig_fini(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(two_nodes_link),
	    cmocka_unit_test(both_dial_and_settle),
	    cmocka_unit_test(a_killed_neighbour_comes_back),
	    cmocka_unit_test(a_silent_neighbour_is_dead),
	    cmocka_unit_test(a_stalled_neighbour_is_waited_for),
	    cmocka_unit_test(the_wrong_node_is_refused),
	    cmocka_unit_test(reload_adds_and_removes_peers),
	    cmocka_unit_test(names_are_resolved),
	    cmocka_unit_test(consensusd_may_be_away),
	    cmocka_unit_test(no_signature_no_link),
	    cmocka_unit_test(routerd_gets_a_snapshot),
	    cmocka_unit_test(gatewayd_is_answered),
	    cmocka_unit_test(probes_become_rare),
	    cmocka_unit_test(both_address_families),
	    cmocka_unit_test(links_are_limited),
	    cmocka_unit_test(the_resolver_may_die),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
