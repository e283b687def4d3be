/*
 * What the store keeps of the mesh: nodes and where they can be dialled, the versions of their LSAs, links,
 * and snapshots of the topology.
 */
#include "tests/unit/consensusd/store_user.h"

#include "consensusd/store_pg_nodes.h"

enum { HOME = 501, FAR = 502, GONE = 503, ROUNDS = 40 };

static struct store_node
node_row(uint64_t id, const char *addresses)
{
	return (struct store_node){.node_id = id,
	    .incarnation = 3,
	    .lsa_seq = 1,
	    .lsa_hash = {7},
	    .name = "far",
	    .status = "alive",
	    .region = "north",
	    .version = "1.2",
	    .addresses = addresses,
	    .services = "db web",
	    .capabilities = ""};
}

static void
put_node(struct user *u, const struct store_node *row)
{
	int64_t ticket = store_put_node(u->store, row);

	assert_true(ticket > 0);
	wanted = (uint64_t)ticket;
}

static void
test_nodes_are_known_after_a_restart(void **state)
{
	struct user *u = user_ready();
	struct store_node row = node_row(FAR, "far.example:7100 [2001:db8::1]:7100");

	(void)state;
	put_node(u, &row);
	row = node_row(GONE, "gone.example:1");
	row.status = "left";
	put_node(u, &row);
	row = node_row(NODE, "me.example:1");
	put_node(u, &row);
	wait_until(u, is_durable);
	assert_int_equal(
	    ask(u, "SELECT port FROM mesh.nodes WHERE node_id = 502 AND ip_address = 'far.example'"
		   " AND region_id = 'north' AND version = '1.2'"
		   " AND meta->'services' = '[\"db\", \"web\"]' AND NOT meta ? 'capabilities'"),
	    7100);
	/* When only its state is told, what is known of it stays. */
	row = (struct store_node){.node_id = FAR, .incarnation = 3, .name = "far", .status = "unreachable"};
	put_node(u, &row);
	wait_until(u, is_durable);
	assert_int_equal(ask(u, "SELECT port FROM mesh.nodes WHERE node_id = 502 AND status = 'unreachable'"
				" AND region_id = 'north' AND meta->'services'->>1 = 'web'"),
	    7100);
	user_free(u);

	/* Neither this node nor one that has left. */
	u = user_ready();
	assert_int_equal(u->known_count, 1);
	assert_int_equal(u->known[0].node, FAR);
	assert_string_equal(u->known[0].addresses, "far.example:7100 [2001:db8::1]:7100");
	user_free(u);
}

static void
test_versions_of_lsas(void **state)
{
	struct user *u = user_ready();
	struct store_node row = node_row(HOME, "");

	(void)state;
	for (unsigned i = 1; i <= ROUNDS; i++) {
		row.lsa_seq = i;
		put_node(u, &row);
		put_node(u, &row); /* told again: it is there already */
		if (i % 8 == 0)
			wait_until(u, is_durable);
	}
	row.incarnation = 4; /* restarted: it counts from 1 again, and is newer all the same */
	row.lsa_seq = 1;
	put_node(u, &row);
	wait_until(u, is_durable);
	assert_int_equal(
	    ask(u, "SELECT count(*) FROM mesh.lsa_versions WHERE node_id = 501"), STORE_LSA_VERSIONS);
	assert_int_equal(
	    ask(u, "SELECT max(version) FROM mesh.lsa_versions WHERE node_id = 501"), (4LL << 32) + 1);
	assert_int_equal(ask(u, "SELECT min(version) FROM mesh.lsa_versions WHERE node_id = 501"),
	    (3LL << 32) + ROUNDS - STORE_LSA_VERSIONS + 2);
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.lsa_versions WHERE get_byte(hash, 0) = 7"
				" AND length(hash) = 32 AND node_id = 501"),
	    STORE_LSA_VERSIONS);
	user_free(u);
}

static void
put_topology(struct user *u, const struct store_link *links, size_t count)
{
	int64_t ticket = store_put_topology(u->store, links, count);

	assert_true(ticket > 0);
	wanted = (uint64_t)ticket;
}

static void
test_topology(void **state)
{
	const struct store_link links[] = {{.from = HOME,
					       .to = FAR,
					       .latency_us = 1500,
					       .bandwidth_kbps = 20000,
					       .loss_ppm = 500,
					       .utilisation_permille = 250,
					       .weight = 2,
					       .two_way = true},
	    {.from = FAR, .to = HOME, .latency_us = 1700, .two_way = true}, {.from = HOME, .to = UINT64_MAX}};
	struct user *u = user_ready();

	(void)state;
	put_topology(u, links, 3);
	wait_until(u, is_durable);
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.links"), 3);
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.links WHERE a_node = 501 AND b_node = 502"
				" AND latency_ms = 1.5 AND bandwidth_mbps = 20 AND loss = 0.0005"
				" AND utilization = 0.25 AND status = 'up' AND meta->>'weight' = '2'"),
	    1);
	assert_int_equal(
	    ask(u, "SELECT count(*) FROM mesh.links WHERE b_node = -1 AND status = 'one-way'"), 1);
	/* Links that are gone leave the table, and stay in the snapshot of then. */
	put_topology(u, links, 2);
	wait_until(u, is_durable);
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.links"), 2);
	assert_int_equal(ask(u, "SELECT jsonb_array_length(graph->'links') FROM mesh.topology_snapshots"
				" ORDER BY version LIMIT 1"),
	    3);
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.topology_snapshots WHERE jsonb_array_length("
				"graph->'links') = 2 AND graph->'links'->0->>'from' IN (mesh.node_text(501),"
				" mesh.node_text(502)) AND jsonb_typeof(graph->'nodes') = 'array'"),
	    1);
	user_free(u);
}

/* Only the newest of a flush counts, and only so many are kept. */
static void
test_snapshots_are_bounded(void **state)
{
	struct store_link link = {.from = HOME, .to = FAR};
	struct user *u = user_ready();

	(void)state;
	for (unsigned i = 0; i < 2 * STORE_SNAPSHOTS; i++) {
		link.latency_us = i;
		put_topology(u, &link, 1);
		wait_until(u, is_durable);
	}
	put_topology(u, &link, 1);
	link.latency_us = 77;
	put_topology(u, &link, 1);
	wait_until(u, is_durable);
	assert_in_range(
	    ask(u, "SELECT count(*) FROM mesh.topology_snapshots"), STORE_SNAPSHOTS - 1, STORE_SNAPSHOTS);
	assert_int_equal(ask(u, "SELECT (graph->'links'->0->>'latency_us')::int FROM mesh.topology_snapshots"
				" ORDER BY version DESC LIMIT 1"),
	    77);
	user_free(u);
}

static void
test_failing_allocations(void **state)
{
	struct store_node row = node_row(HOME, "a.example:1");
	const struct store_link link = {.from = HOME, .to = FAR};
	struct user *u = user_ready();
	int failed = 0;

	(void)state;
	for (int i = 1; i < 8; i++) {
		mem_fail_at(i);
		failed += store_put_node(u->store, &row) == ERR_NOMEM;
		failed += store_put_topology(u->store, &link, 1) == ERR_NOMEM;
	}
	mem_fail_at(0);
	assert_in_range(failed, 2, 14);
	put_node(u, &row);
	wait_until(u, is_durable);
	user_free(u);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_nodes_are_known_after_a_restart),
	    cmocka_unit_test(test_versions_of_lsas),
	    cmocka_unit_test(test_topology),
	    cmocka_unit_test(test_snapshots_are_bounded),
	    cmocka_unit_test(test_failing_allocations),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
