/*
 * A policy as it stands in the shared configuration: whatever it says, what a certain client may do with a
 * certain stream some client may do with some stream, and transportd understands what it is told of it.
 */
#include "tests/fuzz/fuzz.h"

#include "common/base/buf.h"
#include "consensusd/acl_json.h"
#include "consensusd/core/acl.h"
#include "transportd/core/barred.h"

static bool
may(const struct acl_set *s, enum acl_action action, const char *client, uint64_t node,
    const struct ulid *stream)
{
	static const char *const names[] = {"", "a", "b"};
	const struct acl_query q = {.action = action,
	    .tenant = "t",
	    .client = client,
	    .node = node,
	    .node_name = names[node % 3],
	    .stream = stream};
	struct acl_verdict v;

	acl_decide(s, &q, &v);
	FUZZ_CHECK(
	    v.rule <= ACL_RULES_MAX && (v.decided || v.allowed) && (v.rule != 0 || !v.decided || !v.allowed));
	return v.allowed;
}

static void
check_any(const struct acl_set *s, enum acl_action action)
{
	static const char *const clients[] = {"", "token:a", "cert:b", "local:0"};
	const struct ulid stream = {{1}};

	for (uint64_t node = 1; node < 3; node++)
		for (size_t i = 0; i < sizeof(clients) / sizeof(clients[0]); i++) {
			if (!may(s, action, clients[i], node, &stream))
				continue;
			FUZZ_CHECK(may(s, action, NULL, node, &stream));
			FUZZ_CHECK(may(s, action, clients[i], node, NULL));
			FUZZ_CHECK(may(s, action, NULL, node, NULL));
		}
}

static void
check_forward(const struct acl_set *s)
{
	static struct barred b;
	struct buf out;

	buf_init(&out, ACL_FORWARD_MAX_BYTES);
	FUZZ_CHECK(acl_forward_encode(s, 1, "a", &out) == 0);
	FUZZ_CHECK(barred_decode(&b, buf_head(&out), buf_left(&out)) == 0);
	FUZZ_CHECK(barred_has(&b, (const uint8_t *)"t", 1) == !may(s, ACL_FORWARD, NULL, 1, NULL));
	buf_fini(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct acl_set s = {{0}};
	struct acl_policy *p = NULL;
	char why[256] = "";

	if (acl_json_read(data, size, &p, why, sizeof(why)) != 0) {
		FUZZ_CHECK(
		    p == NULL && why[0] != '\0' && !acl_json_check("acl.t", data, size, why, sizeof(why)));
		return 0;
	}
	FUZZ_CHECK(acl_set_put(&s, "t", p) == 0);
	for (unsigned action = 0; action < ACL_ACTION_COUNT; action++)
		check_any(&s, (enum acl_action)action);
	check_forward(&s);
	acl_set_fini(&s);
	return 0;
}
