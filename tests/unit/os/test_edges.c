/* edges: the tables say what the .def lists say, the manual says it too, and the rules for all are kept. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/os/imsg.h"
#include "proto/edge.h"
#include "proto/messages.h"

static const struct edge *const edges[] = {&edge_router_transport, &edge_consensus_transport,
    &edge_consensus_router, &edge_gateway_consensus, &edge_gateway_router, &edge_gateway_transport,
    &edge_control_gateway, &edge_resolver};

static void
check_message(const struct edge *e, size_t number)
{
	const struct msg_def *m = &e->msgs[number];

	if (m->name == NULL)
		return;
	assert_true(number >= MSG_FIRST);
	assert_true(m->dir == MSG_DIR_DOWN || m->dir == MSG_DIR_UP);
	assert_true(m->min_bytes <= m->max_bytes);
	/* else imsg refuses what the table allows */
	assert_true(m->max_bytes <= IMSG_BODY_MAX_BYTES);
}

static void
test_rules(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(edges); i++) {
		const struct edge *e = edges[i];

		assert_true(e->version >= 1);
		assert_true(e->msg_count > MSG_FIRST);
		assert_int_equal(e->msgs[MSG_HELLO].dir, MSG_DIR_BOTH);
		assert_null(e->msgs[0].name);
		for (size_t n = MSG_HELLO + 1; n < e->msg_count; n++)
			check_message(e, n);
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(edges[k]->name, e->name);
	}
}

static void
test_samples(void **state)
{
	(void)state;
	assert_string_equal(edge_router_transport.name, "router_transport");
	assert_string_equal(edge_router_transport.msgs[RT_FRAME_OUT].name, "FRAME_OUT");
	assert_int_equal(edge_router_transport.msgs[RT_FRAME_OUT].dir, MSG_DIR_DOWN);
	assert_int_equal(edge_router_transport.msgs[RT_FRAME_IN].dir, MSG_DIR_UP);
	assert_string_equal(edge_resolver.msgs[RS_RESOLVE].name, "RESOLVE");
}

/* The part of the manual about one edge, or NULL. */
static char *
manual_part(char *manual, const struct edge *e)
{
	char head[64];
	char *part, *end;

	snprintf(head, sizeof(head), "\n.Ss %s\n", e->name);
	part = strstr(manual, head);
	if (part == NULL)
		return NULL;
	part = strdup(part + strlen(head));
	end = strstr(part, "\n.S");
	if (end != NULL)
		*end = '\0';
	return part;
}

static void
check_manual(char *manual, const struct edge *e)
{
	char *part = manual_part(manual, e), row[128];

	if (part == NULL)
		fail_msg("mesh-imsg(7) lacks the edge %s", e->name);
	for (size_t n = MSG_FIRST; n < e->msg_count; n++) {
		const struct msg_def *m = &e->msgs[n];
		int len;

		if (m->name == NULL)
			continue;
		len = snprintf(row, sizeof(row), "\n.It Cm %s Pq %zu, %s, %u", m->name, n,
		    m->dir == MSG_DIR_DOWN ? "down" : "up", m->min_bytes);
		if (m->min_bytes != m->max_bytes)
			snprintf(row + len, sizeof(row) - (size_t)len, " to %u\n", m->max_bytes);
		if (strstr(part, row) == NULL)
			fail_msg("mesh-imsg(7), edge %s, lacks the row%s", e->name, row);
	}
	free(part);
}

static void
test_manual(void **state)
{
	static char manual[1 << 17];
	FILE *f = fopen("man/mesh-imsg.7", "r");

	(void)state;
	assert_non_null(f);
	assert_true(fread(manual, 1, sizeof(manual) - 1, f) > 0);
	fclose(f);
	for (size_t i = 0; i < COUNT(edges); i++)
		check_manual(manual, edges[i]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_rules),
	    cmocka_unit_test(test_samples),
	    cmocka_unit_test(test_manual),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
