/*
 * lsa_body: an LSA as it is kept: decoded, and as it came.
 *
 * It never changes, and counts who holds it: what is kept many times is there once.
 */
#ifndef ROUTERD_CORE_LSA_BODY_H
#define ROUTERD_CORE_LSA_BODY_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "routerd/core/lsa.h"

struct lsa_body {
	struct lsa_id id;
	uint32_t refs;
	uint16_t raw_len;
	uint16_t adj_count;
	uint16_t tlv_len; /* of the extensions, in raw before the signature */
	uint8_t flags;
	uint32_t lifetime_s; /* 0: it does not say */
	uint8_t pubkey[LSA_PUBKEY_BYTES];
	char name[NODE_NAME_SIZE];
	char region[NODE_NAME_SIZE];
	char software[LSA_SOFTWARE_SIZE];
	const struct lsa_adj *adj;
	const uint8_t *raw; /* the LSA as it came */
};

/* raw is the encoding of the LSA; copies both.  The caller holds it.  NULL when memory is out. */
struct lsa_body *lsa_body_new(const struct lsa *lsa, const uint8_t *raw, size_t raw_len) MUST_USE;
/* One more holds it. */
struct lsa_body *lsa_body_ref(struct lsa_body *b);
/* One less; the last one frees it.  b may be NULL. */
void lsa_body_unref(struct lsa_body *b);

#endif
