/* acl_json: see acl_json.h. */
#include "consensusd/acl_json.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "consensusd/core/acl.h"

enum { SHOWN_MAX_BYTES = 80 }; /* of a word in a reason */

/* Where in the policy it is read. */
struct reading {
	struct acl_policy *policy;
	enum acl_action action;
	size_t rule; /* from 1 */
	char *why;
	size_t size;
};

static const char *const kind_names[] = {
    [ACL_CLIENTS] = "clients", [ACL_NODES] = "nodes", [ACL_STREAMS] = "streams"};

static const char *const forms[] = {
    [ACL_CLIENTS] = "cert:NAME, token:NAME, local:UID, these with '*' at the end, or '*'",
    [ACL_NODES] = "a node's name or id, or '*'",
    [ACL_STREAMS] = "a stream's id, or '*'",
};

#define fail(r, err, fmt, ...)                                                                               \
	(snprintf((r)->why, (r)->size, "%s: rule %zu: " fmt, acl_action_name((r)->action), (r)->rule,        \
	     __VA_ARGS__),                                                                                   \
	    (err))

const char *
acl_json_tenant(const char *key)
{
	if (strcmp(key, "acl") == 0)
		return "";
	return strncmp(key, "acl.", 4) == 0 ? key + 4 : NULL;
}

static int
read_words(struct reading *r, enum acl_kind kind, const json_t *list)
{
	const json_t *item;
	size_t i;
	int err;

	if (!json_is_array(list) || json_array_size(list) == 0)
		return fail(r, ERR_FORMAT, "%s is not an array with something in it", kind_names[kind]);
	json_array_foreach (list, i, item) {
		const char *text = json_is_string(item) ? json_string_value(item) : "";

		err = acl_policy_word(r->policy, r->action, kind, text);
		if (err == ERR_FORMAT)
			return fail(r, err, "%s: '%.*s' is not %s", kind_names[kind], SHOWN_MAX_BYTES, text,
			    forms[kind]);
		if (err != 0)
			return fail(r, err, "%s: %s", kind_names[kind], err_text(err));
	}
	return 0;
}

static int
kind_of(const char *name)
{
	for (unsigned kind = 0; kind < ACL_KIND_COUNT; kind++)
		if (strcmp(name, kind_names[kind]) == 0)
			return (int)kind;
	return -1;
}

/* A member of a rule but "deny". */
static int
read_member(struct reading *r, const char *name, const json_t *value)
{
	int kind = kind_of(name);

	if (kind == -1)
		return fail(
		    r, ERR_FORMAT, "'%.*s' is not deny, clients, nodes or streams", SHOWN_MAX_BYTES, name);
	/* A relay knows the tenant of what it forwards, and who neither sent it nor as what. */
	if (r->action == ACL_FORWARD && kind != ACL_NODES)
		return fail(r, ERR_FORMAT, "rules of forward have no %s", name);
	return read_words(r, (enum acl_kind)kind, value);
}

static int
read_rule(struct reading *r, json_t *rule)
{
	const json_t *deny = json_object_get(rule, "deny");
	const char *name;
	json_t *value;
	int err;

	if (!json_is_object(rule))
		return fail(r, ERR_FORMAT, "%s", "not an object");
	if (deny != NULL && !json_is_boolean(deny))
		return fail(r, ERR_FORMAT, "%s", "deny is not true or false");
	err = acl_policy_rule(r->policy, r->action, json_is_true(deny));
	if (err != 0)
		return fail(r, err, "%s", err_text(err));
	json_object_foreach (rule, name, value) {
		if (strcmp(name, "deny") != 0 && (err = read_member(r, name, value)) != 0)
			return err;
	}
	return 0;
}

static int
read_action(struct reading *r, json_t *rules)
{
	json_t *rule;
	size_t i;
	int err;

	if (!json_is_array(rules)) {
		snprintf(r->why, r->size, "%s is not an array of rules", acl_action_name(r->action));
		return ERR_FORMAT;
	}
	acl_policy_begin(r->policy, r->action);
	json_array_foreach (rules, i, rule) {
		r->rule = i + 1;
		if ((err = read_rule(r, rule)) != 0)
			return err;
	}
	return 0;
}

static int
read_policy(struct reading *r, json_t *root)
{
	const char *name;
	json_t *value;
	int err = 0;

	json_object_foreach (root, name, value) {
		r->action = ACL_PUBLISH;
		while (r->action < ACL_ACTION_COUNT && strcmp(name, acl_action_name(r->action)) != 0)
			r->action++;
		if (r->action == ACL_ACTION_COUNT) {
			snprintf(r->why, r->size, "'%.*s' is not publish, subscribe or forward",
			    SHOWN_MAX_BYTES, name);
			return ERR_FORMAT;
		}
		if ((err = read_action(r, value)) != 0)
			return err;
	}
	return 0;
}

int
acl_json_read(const void *json, size_t len, struct acl_policy **out, char *why, size_t size)
{
	struct reading r = {.policy = acl_policy_new(false), .why = why, .size = size};
	json_t *root = json_loadb(len != 0 ? json : "", len, JSON_REJECT_DUPLICATES, NULL);
	int err = json_is_object(root) ? 0 : ERR_FORMAT;

	if (r.policy == NULL)
		err = ERR_NOMEM;
	if (err != 0)
		snprintf(why, size, "%s", err == ERR_NOMEM ? err_text(err) : "it is no JSON object");
	else
		err = read_policy(&r, root);
	json_decref(root);
	if (err != 0)
		acl_policy_free(r.policy);
	else
		*out = r.policy;
	return err;
}

bool
acl_json_check(const char *key, const void *json, size_t len, char *why, size_t size)
{
	const char *tenant = acl_json_tenant(key);
	struct acl_policy *p = NULL;
	int err;

	if (tenant == NULL)
		return true;
	if (tenant[0] != '\0' && !tenant_valid(tenant)) {
		snprintf(why, size, "acl.TENANT: '%.*s' is no tenant's name", SHOWN_MAX_BYTES, tenant);
		return false;
	}
	/* "acl." */
	if (tenant[0] == '\0' && strcmp(key, "acl") != 0) {
		snprintf(why, size, "acl.TENANT lacks the tenant; the default is the key acl");
		return false;
	}
	err = acl_json_read(json, len, &p, why, size);
	acl_policy_free(p);
	return err == 0;
}
