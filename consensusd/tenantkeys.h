/*
 * tenantkeys: older versions of tenants' keys at this node.
 *
 * The control group gives out the two newest versions; batches wait longer than that in an outbox, an inbox
 * and among dead letters.  What they are sealed with can't be changed: a batch is signed as it is, and the
 * group of its stream knows its digest.  So each node keeps every version that it was given, in its database
 * and sealed to its own key, until nothing there is sealed with it (oldkeys.h, store.h).  And a source sends
 * with a batch that is sealed with an older version that version itself, sealed with the newest one
 * (Header.key_box): a target that was away for any number of rotations needs the newest alone, which the
 * group gives to none but those that may have it.
 */
#ifndef CONSENSUSD_TENANTKEYS_H
#define CONSENSUSD_TENANTKEYS_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "common/os/crypto.h"

struct engine;
struct store_key;

enum {
	/* {version 8, id of the key it is sealed with 8, nonce 24, the sealed key} */
	TENANTKEYS_BOX_BYTES =
	    8 + CRYPTO_KEY_ID_BYTES + CRYPTO_NONCE_BYTES + CRYPTO_KEY_BYTES + CRYPTO_TAG_BYTES,
	/* A key that is used is put in the database again after this: it stays there for much longer. */
	TENANTKEYS_AGAIN_MS = 600 * 1000,
};

/* While the store loads.  A key that can't be opened is logged, and of no use. */
int tenantkeys_load(struct engine *e, const struct store_key *row) MUST_USE;
/* The database has it no more (store.h). */
void tenantkeys_gone(struct engine *e, const char *tenant, const uint8_t key_id[CRYPTO_KEY_ID_BYTES]);

/* Keeps a version; box is the key, sealed to this node.  The store's errors, ERR_LIMIT, ERR_NOMEM. */
int tenantkeys_keep(struct engine *e, const char *tenant, uint64_t version,
    const uint8_t key[CRYPTO_KEY_BYTES], const uint8_t box[CRYPTO_BOX_BYTES]) MUST_USE;
/* Something that is sealed with this key is about to be put: the key is not forgotten before that is there.
 */
void tenantkeys_used(struct engine *e, const char *tenant, const uint8_t key_id[CRYPTO_KEY_ID_BYTES]);

/* Seals an older version with the newest one.  0: it is none that the group gave out, or the newest. */
size_t tenantkeys_wrap(const struct engine *e, const char *tenant, const uint8_t key_id[CRYPTO_KEY_ID_BYTES],
    uint8_t box[TENANTKEYS_BOX_BYTES]);
/* The id of the key that it is sealed with. */
const uint8_t *tenantkeys_box_key(const uint8_t box[TENANTKEYS_BOX_BYTES]);
/* Opens and keeps it, unless it is here.  ERR_NOENT: the key that it is sealed with is not one of the group's
 * that are good now.  ERR_CRYPTO; errors of tenantkeys_keep(). */
int tenantkeys_unwrap(struct engine *e, const char *tenant, const uint8_t key_id[CRYPTO_KEY_ID_BYTES],
    const uint8_t box[TENANTKEYS_BOX_BYTES]) MUST_USE;

#endif
