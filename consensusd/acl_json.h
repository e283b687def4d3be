/*
 * acl_json: policies of acl.h as they stand in the configuration that all nodes share.
 *
 * The key acl.TENANT has the tenant's, the key acl the default:
 *
 *	{"publish":   [{"clients": ["token:shop"], "nodes": ["a"]}],
 *	 "subscribe": [{"deny": true, "nodes": ["x"]}, {}],
 *	 "forward":   [{"nodes": ["b", "c"]}]}
 */
#ifndef CONSENSUSD_ACL_JSON_H
#define CONSENSUSD_ACL_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/must.h"

struct acl_policy;

/* NULL: the key has no policy.  Else the tenant's name, "" for the default. */
const char *acl_json_tenant(const char *key);
/* Makes the policy.  ERR_FORMAT, ERR_LIMIT, ERR_NOMEM, with why, of size bytes, filled. */
int acl_json_read(const void *json, size_t len, struct acl_policy **out, char *why, size_t size) MUST_USE;
/* May the key have this value?  False: it is one of a policy, and why says what is wrong with it. */
bool acl_json_check(const char *key, const void *json, size_t len, char *why, size_t size) MUST_USE;

#endif
