/*
 * json_scan: checks that a text is one JSON object (RFC 8259, strictly), and tells its members in place.
 *
 * Nothing is converted: numbers stay the digits that they are.  Beside what the RFC refuses: a NUL (also
 * escaped: PostgreSQL's text has none), halves of surrogate pairs, a name that comes twice in the outermost
 * object, and more than the limits below.
 */
#ifndef CONSENSUSD_CORE_JSON_SCAN_H
#define CONSENSUSD_CORE_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/must.h"

enum {
	JSON_SCAN_MAX_BYTES = 1024 * 1024, /* of the text: refuse */
	JSON_SCAN_DEPTH_MAX = 64,          /* of objects and arrays in each other: refuse */
	JSON_SCAN_MEMBERS_MAX = 128,       /* of the outermost object: refuse */
};

/* Borrowed from the text.  The name is as it is written between its quotes: escapes are not resolved. */
struct json_member {
	const char *name, *value;
	size_t name_len, value_len;
};

struct json_object {
	struct json_member members[JSON_SCAN_MEMBERS_MAX];
	size_t count;
};

/* ERR_SYNTAX or ERR_LIMIT, with *why in words (static). */
int json_scan(const char *text, size_t len, struct json_object *out, const char **why) MUST_USE;
/* NULL: there is none of this name. */
const struct json_member *json_object_find(const struct json_object *o, const char *name, size_t len);
bool json_member_is_null(const struct json_member *m);

/* How many bytes at the beginning are UTF-8 without a NUL. */
size_t json_scan_utf8(const char *text, size_t len);

#endif
