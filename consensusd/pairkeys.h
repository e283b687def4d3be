/*
 * pairkeys: the keys that this node shares with others, kept because computing one costs a multiplication
 * on the curve.
 *
 * A table of fixed size: of two keys in one place the longest unused gives way, and is computed again when
 * it is needed.  So whoever invents nodes can make this slow, not large.
 */
#ifndef CONSENSUSD_PAIRKEYS_H
#define CONSENSUSD_PAIRKEYS_H

#include <stdint.h>

#include "common/base/must.h"

struct crypto_key;
struct pairkeys;

/* k: this node's key, borrowed.  NULL: no memory. */
struct pairkeys *pairkeys_new(const struct crypto_key *k) MUST_USE;
/* Wipes the keys. */
void pairkeys_free(struct pairkeys *p);
/* The key shared with the owner of a public key, good until the next call; NULL: it is not one. */
const uint8_t *pairkeys_get(struct pairkeys *p, const uint8_t public_key[32]) MUST_USE;

#endif
