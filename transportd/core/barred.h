/*
 * barred: the tenants whose client data this node may not relay, and which tenant a frame is of.
 *
 * The end-to-end header (proto/e2e.proto) is otherwise none of transportd's business: of it one field is
 * read, bounded, and only while some tenant is barred.
 */
#ifndef TRANSPORTD_CORE_BARRED_H
#define TRANSPORTD_CORE_BARRED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/id.h"
#include "common/base/must.h"

enum { BARRED_TENANTS_MAX = 4096, BARRED_MAX_BYTES = 1 + BARRED_TENANTS_MAX * TENANT_TEXT_SIZE };

/* An empty one is all zero: it bars nobody. */
struct barred {
	bool all;           /* all but those named */
	uint8_t *names;     /* u8 length and bytes each, one after the other */
	const uint8_t **at; /* their beginnings, ascending */
	size_t count;
};

void barred_fini(struct barred *b);
/* Replaces it by what consensusd says: nothing, or u8 all and names, ascending.  ERR_FORMAT, ERR_SHORT,
 * ERR_LIMIT, ERR_NOMEM: it stays as it was. */
int barred_decode(struct barred *b, const uint8_t *body, size_t len) MUST_USE;
bool barred_empty(const struct barred *b);
/* Is the tenant barred? */
bool barred_has(const struct barred *b, const uint8_t *tenant, size_t len);
/* Is a frame with this end-to-end header?  One whose tenant can't be read is. */
bool barred_frame(const struct barred *b, const uint8_t *e2e, size_t len);

/* The tenant that a header names, as its reader would take it: the last one.  ERR_FORMAT, ERR_SHORT;
 * ERR_NOENT: it names none. */
int barred_tenant(const uint8_t *e2e, size_t len, const uint8_t **tenant, size_t *tenant_len) MUST_USE;

#endif
