/* Links that are asked for while transportd runs: added, dropped, tried for full links, and refused. */
#include "tests/rig/transport.h"
#include "tests/unit/unit.h"

enum { ASK_WISH = 3 };

static const char *
id_of(const struct rig_node *n)
{
	static char text[4][NODEID_TEXT_SIZE];
	static unsigned next;
	char *out = text[next++ % 4];

	nodeid_format(out, n->id);
	return out;
}

/* Two nodes, a and b, that dial nobody. */
static void
two_nodes(struct rig *r)
{
	rig_init(r);
	rig_conf(rig_add(r, "a"), "");
	rig_conf(rig_add(r, "b"), "");
}

static bool
is_answered(void *arg)
{
	return ((struct rig_node *)arg)->dones != 0;
}

/* The status that a wish gets. */
static uint32_t
ask(struct rig_node *n, uint32_t msg, const pb_msgdesc_t *fields, const void *request)
{
	uint8_t mem[4096];
	struct buf b;

	n->dones = 0;
	buf_init_fixed(&b, mem, sizeof(mem));
	assert_int_equal(pb_pack(&b, fields, request), 0);
	assert_int_equal(channel_send(n->gateway, msg, ASK_WISH, mem, buf_left(&b)), 0);
	assert_true(rig_wait(n->rig, is_answered, n, RIG_WAIT_MS));
	return n->done.code;
}

static mesh_v1_AddLinkReq
add_req(const char *target, const char *address)
{
	mesh_v1_AddLinkReq req = mesh_v1_AddLinkReq_init_default;

	snprintf(req.target_node_id, sizeof(req.target_node_id), "%s", target);
	if (address != NULL)
		snprintf(req.addresses[req.addresses_count++], sizeof(req.addresses[0]), "%s", address);
	return req;
}

static uint32_t
add(struct rig_node *n, const struct rig_node *to, int32_t cost)
{
	mesh_v1_AddLinkReq req = add_req(id_of(to), NULL);

	snprintf(req.addresses[0], sizeof(req.addresses[0]), "127.0.0.1:%u", to->port);
	req.addresses_count = 1;
	req.cost = cost;
	return ask(n, GT_ADD_LINK, mesh_v1_AddLinkReq_fields, &req);
}

static uint32_t
drop(struct rig_node *n, const struct rig_node *to)
{
	mesh_v1_DropLinkReq req = mesh_v1_DropLinkReq_init_default;

	snprintf(req.target_node_id, sizeof(req.target_node_id), "%s", id_of(to));
	return ask(n, GT_DROP_LINK, mesh_v1_DropLinkReq_fields, &req);
}

static bool
gateway_up(void *arg)
{
	return channel_up(((struct rig_node *)arg)->gateway);
}

static void
start_both(struct rig *r)
{
	for (int i = 0; i < 2; i++) {
		rig_start(&r->nodes[i]);
		assert_true(rig_wait(r, gateway_up, &r->nodes[i], RIG_WAIT_MS));
	}
}

static bool
linked(void *arg)
{
	struct rig *r = arg;

	return rig_has_link(&r->nodes[0], r->nodes[1].id) && rig_has_link(&r->nodes[1], r->nodes[0].id);
}

static bool
not_linked(void *arg)
{
	struct rig *r = arg;

	return !rig_has_link(&r->nodes[0], r->nodes[1].id) && !rig_has_link(&r->nodes[1], r->nodes[0].id);
}

static bool
weight_is_9(void *arg)
{
	return ((struct rig *)arg)->nodes[0].last_link.weight == 9;
}

static void
a_link_is_added_and_dropped(void **state)
{
	struct rig_node *a, *b;
	struct rig r;

	(void)state;
	two_nodes(&r);
	a = &r.nodes[0];
	b = &r.nodes[1];
	start_both(&r);
	assert_int_equal(add(a, b, 9), 0);
	assert_true(rig_wait(&r, linked, &r, RIG_WAIT_MS));
	assert_true(rig_wait(&r, weight_is_9, &r, RIG_WAIT_MS));
	assert_int_equal(drop(a, b), 0);
	assert_true(rig_wait(&r, not_linked, &r, RIG_WAIT_MS));
	/* Nor from the other side: it is told so, again and again. */
	assert_int_equal(add(b, a, 0), 0);
	(void)rig_wait(&r, rig_never, NULL, 500);
	assert_true(not_linked(&r));
	/* Until it is wanted again; the one that was dropped is not dialled by itself. */
	assert_int_equal(add(a, b, 0), 0);
	assert_true(rig_wait(&r, linked, &r, RIG_WAIT_MS));
	assert_int_equal(a->last_link.weight, 0);
	assert_true(rig_alive(a) && rig_alive(b));
	rig_fini(&r);
}

/* What mesh.conf says does not count against an operator's word; SIGHUP does not change that. */
static void
a_configured_peer_is_dropped(void **state)
{
	struct rig_node *a, *b;
	char extra[64];
	struct rig r;

	(void)state;
	rig_init(&r);
	a = rig_add(&r, "a");
	b = rig_add(&r, "b");
	snprintf(extra, sizeof(extra), "\tpeer b { address 127.0.0.1:%u }", b->port);
	rig_conf(a, "%s", extra);
	rig_conf(b, "");
	start_both(&r);
	assert_true(rig_wait(&r, linked, &r, RIG_WAIT_MS));
	assert_int_equal(drop(a, b), 0);
	assert_true(rig_wait(&r, not_linked, &r, RIG_WAIT_MS));
	kill(a->pid, SIGHUP);
	(void)rig_wait(&r, rig_never, NULL, 500);
	assert_true(not_linked(&r));
	assert_int_equal(add(a, b, 0), 0);
	assert_true(rig_wait(&r, linked, &r, RIG_WAIT_MS));
	/* And what was added outlives SIGHUP. */
	kill(a->pid, SIGHUP);
	(void)rig_wait(&r, rig_never, NULL, 300);
	assert_true(linked(&r));
	rig_fini(&r);
}

static void
full_links_dial(void **state)
{
	mesh_ipc_Dial dial = mesh_ipc_Dial_init_default;
	struct rig_node *a, *b;
	struct rig r;

	(void)state;
	two_nodes(&r);
	a = &r.nodes[0];
	b = &r.nodes[1];
	start_both(&r);
	dial.node_id = b->id;
	dial.addresses_count = 2;
	snprintf(dial.addresses[0], sizeof(dial.addresses[0]), "not an address");
	snprintf(dial.addresses[1], sizeof(dial.addresses[1]), "127.0.0.1:%u", b->port);
	/* One that is dropped stays so. */
	assert_int_equal(drop(a, b), 0);
	rig_send_pb(a->router, RT_DIAL, mesh_ipc_Dial_fields, &dial);
	(void)rig_wait(&r, rig_never, NULL, 300);
	assert_true(not_linked(&r));
	dial.node_id = a->id;
	snprintf(dial.addresses[1], sizeof(dial.addresses[1]), "127.0.0.1:%u", a->port);
	rig_send_pb(a->router, RT_DIAL, mesh_ipc_Dial_fields, &dial); /* itself: nothing */
	rig_fini(&r);

	two_nodes(&r);
	start_both(&r);
	dial.node_id = r.nodes[1].id;
	snprintf(dial.addresses[1], sizeof(dial.addresses[1]), "127.0.0.1:%u", r.nodes[1].port);
	rig_send_pb(r.nodes[0].router, RT_DIAL, mesh_ipc_Dial_fields, &dial);
	assert_true(rig_wait(&r, linked, &r, RIG_WAIT_MS));
	rig_fini(&r);
}

static void
refused(struct rig_node *n, const mesh_v1_AddLinkReq *req, uint32_t code, const char *part)
{
	assert_int_equal(ask(n, GT_ADD_LINK, mesh_v1_AddLinkReq_fields, req), code);
	if (strstr(n->done.message, part) == NULL)
		fail_msg("'%s' does not say '%s'", n->done.message, part);
}

static void
what_is_wrong_is_said(void **state)
{
	static const char *const bad[] = {"", "host", "host:", ":1", "host:0", "host:65536", "host:1x",
	    "ho st:1", "[host]:1", "[]:1", "1:2:3:4", "host:+1"};
	mesh_v1_AddLinkReq req;
	struct rig_node *a, *b;
	char denied[64];
	struct rig r;

	(void)state;
	rig_init(&r);
	a = rig_add(&r, "a");
	b = rig_add(&r, "b");
	snprintf(denied, sizeof(denied), "\tdeny %s\n", id_of(b));
	rig_conf(a, "%s", denied);
	rig_conf(b, "");
	start_both(&r);
	req = add_req("0000000000001", "127.0.0.1:1");
	snprintf(req.source_node_id, sizeof(req.source_node_id), "%s", id_of(b));
	refused(a, &req, 9, "ask that node's gateway");
	snprintf(req.source_node_id, sizeof(req.source_node_id), "%s", id_of(a));
	req.latency_ms = 1;
	refused(a, &req, 3, "measured");
	req.latency_ms = 0;
	req.bandwidth_mbps = -1;
	refused(a, &req, 3, "measured");
	req.bandwidth_mbps = 0;
	req.cost = 65536;
	refused(a, &req, 3, "0 to 65535");
	req = add_req("nobody", "127.0.0.1:1");
	refused(a, &req, 3, "not a node's id");
	req = add_req(id_of(a), "127.0.0.1:1");
	refused(a, &req, 3, "itself");
	req = add_req("0000000000001", NULL);
	refused(a, &req, 9, "address");
	req = add_req(id_of(b), "127.0.0.1:1");
	refused(a, &req, 7, "deny");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		req = add_req("0000000000001", bad[i]);
		refused(a, &req, 3, "host:port");
	}
	rig_fini(&r);
}

/* --- where a node can be dialled --- */

static bool
told(void *arg)
{
	return ((struct rig_node *)arg)->advertised.addresses_count != 0;
}

static void
addresses_are_made_known(void **state)
{
	struct rig_node *a, *b;
	char listen[64];
	struct rig r;

	(void)state;
	rig_init(&r);
	a = rig_add(&r, "a");
	b = rig_add(&r, "b");
	rig_conf(a, "\tadvertise a.example:443\n\tadvertise [2001:db8::1]:7100\n");
	rig_conf(b, "\tlisten *:%u\n", rig_free_port());
	start_both(&r);
	assert_true(rig_wait(&r, told, a, RIG_WAIT_MS) && rig_wait(&r, told, b, RIG_WAIT_MS));
	assert_int_equal(a->advertised.addresses_count, 2);
	assert_string_equal(a->advertised.addresses[0], "a.example:443");
	assert_string_equal(a->advertised.addresses[1], "[2001:db8::1]:7100");
	/* Without advertise: what it listens on, but for all of a machine's addresses. */
	assert_int_equal(b->advertised.addresses_count, 1);
	snprintf(listen, sizeof(listen), "127.0.0.1:%u", b->port);
	assert_string_equal(b->advertised.addresses[0], listen);
	rig_fini(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_link_is_added_and_dropped),
	    cmocka_unit_test(a_configured_peer_is_dropped),
	    cmocka_unit_test(full_links_dial),
	    cmocka_unit_test(what_is_wrong_is_said),
	    cmocka_unit_test(addresses_are_made_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
