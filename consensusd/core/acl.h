/*
 * acl: who may publish, subscribe and forward, for each tenant: policies, and what they decide.
 *
 * A policy has a list of rules for each action that it speaks of.  The first rule that fits decides; if none
 * does, the action is denied.  The tenant's own policy decides if it speaks of the action, else the default
 * one (that of the tenant ""), else everything is allowed.  A broken policy denies everything.
 *
 * A question may leave out the client or the stream: then it asks whether there is any that may.  So a rule
 * that allows fits whatever clients (streams) it names, and one that denies only if it names none.
 */
#ifndef CONSENSUSD_CORE_ACL_H
#define CONSENSUSD_CORE_ACL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/id.h"
#include "common/base/must.h"
#include "consensusd/core/sorted.h"

struct buf;

enum {
	ACL_RULES_MAX = 256,    /* of one action in one policy: refuse */
	ACL_WORDS_MAX = 256,    /* clients, nodes or streams of one rule: refuse */
	ACL_CLIENT_SIZE = 320,  /* "cert:NAME", with NUL */
	ACL_TENANTS_MAX = 4096, /* as MCG_CONFIG_MAX: refuse */
	ACL_FORWARD_MAX_BYTES = 1 + ACL_TENANTS_MAX * TENANT_TEXT_SIZE,
};

enum acl_action { ACL_PUBLISH, ACL_SUBSCRIBE, ACL_FORWARD, ACL_ACTION_COUNT };
enum acl_kind { ACL_CLIENTS, ACL_NODES, ACL_STREAMS, ACL_KIND_COUNT };

struct acl_policy;

struct acl_set {
	struct sorted policies; /* by tenant */
};

struct acl_query {
	enum acl_action action;
	const char *tenant;
	const char *client; /* "token:app"; "": nobody known; NULL: any */
	uint64_t node;
	const char *node_name;     /* "" if not known */
	const struct ulid *stream; /* NULL: any */
};

struct acl_verdict {
	bool allowed;
	bool broken;   /* the policy that decided is */
	bool own;      /* the tenant's policy decided; else the default one, if decided */
	bool decided;  /* false: no policy speaks of it */
	unsigned rule; /* from 1; 0: none fits */
};

/* --- one policy --- */

/* An empty policy that speaks of nothing; or one that denies everything.  ERR_NOMEM: NULL. */
struct acl_policy *acl_policy_new(bool broken) MUST_USE;
void acl_policy_free(struct acl_policy *p);
/* It speaks of the action: denied but for what rules allow. */
void acl_policy_begin(struct acl_policy *p, enum acl_action action);
/* Appends a rule, which fits everything.  ERR_LIMIT, ERR_NOMEM. */
int acl_policy_rule(struct acl_policy *p, enum acl_action action, bool deny) MUST_USE;
/* The action's last rule fits only these: "*" is any; clients "cert:NAME", "token:NAME" or "local:UID", where
 * NAME may end with '*'; nodes by id or by name; streams by id.  ERR_FORMAT, ERR_LIMIT, ERR_NOMEM. */
int acl_policy_word(
    struct acl_policy *p, enum acl_action action, enum acl_kind kind, const char *word) MUST_USE;

/* --- all of them --- */

/* An empty set is all zero. */
void acl_set_fini(struct acl_set *s);
/* Takes the policy, which is freed on errors too.  tenant "": the default.  ERR_NOMEM, ERR_LIMIT, ERR_EXISTS.
 */
int acl_set_put(struct acl_set *s, const char *tenant, struct acl_policy *p) MUST_USE;
bool acl_set_empty(const struct acl_set *s);
void acl_decide(const struct acl_set *s, const struct acl_query *q, struct acl_verdict *out);

/* What a node may not forward, for transportd: u8 1 if tenants are denied, else 0; then, ascending, the
 * tenants that it is the other way round for (u8 length, bytes).  Empty if it may forward everything. */
int acl_forward_encode(
    const struct acl_set *s, uint64_t node, const char *node_name, struct buf *out) MUST_USE;

/* "publish".  Static. */
const char *acl_action_name(enum acl_action action);

#endif
