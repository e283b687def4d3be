/*
 * caller: who an API client is, as gatewayd has found out: "cert:NAME", "token:NAME" or "local:UID".
 *
 * gatewayd says it before the first call of a client and whenever the next call is another client's, so that
 * calls of one client cost nothing more.  A caller is shared by its calls.
 */
#ifndef CONSENSUSD_CALLER_H
#define CONSENSUSD_CALLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct caller {
	uint64_t serial; /* of no other caller of this process */
	uint32_t refs;
	char text[];
};

/* With one reference; NULL: no memory. */
struct caller *caller_new(const void *text, size_t len) MUST_USE;
/* NULL is nobody known, and stays NULL. */
struct caller *caller_ref(struct caller *c);
void caller_unref(struct caller *c);
const char *caller_text(const struct caller *c);
/* It came over the node's Unix socket: an operator. */
bool caller_is_local(const struct caller *c);
uint64_t caller_serial(const struct caller *c); /* 0: nobody known */

#endif
