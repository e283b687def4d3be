/*
 * keyring: the node's signing key and the tenants' keys.
 *
 * A directory (0700): node.key holds the Ed25519 seed, tenants/<tenant_id>.key one key per line, the
 * newest first: 64 hex digits, "#" comments.  The first seals, all open (rotation).  Files that others
 * can read are refused.  Keys stay in locked memory of this process and never leave it.
 */
#ifndef CONSENSUSD_KEYRING_H
#define CONSENSUSD_KEYRING_H

#include <stdint.h>

#include "common/base/must.h"
#include "common/os/crypto.h"

struct keyring;
struct oldkeys;

enum { KEYRING_TENANTS_MAX = 4096, KEYRING_KEYS_PER_TENANT_MAX = 8 };

/* Opens the directory and loads all keys; the directory stays open for keyring_reload().  On error
 * logs file, line and reason and returns NULL. */
struct keyring *keyring_open(const char *dir) MUST_USE;
/* Reads the tenants again (node.key needs a restart); the old ones stay on error. */
int keyring_reload(struct keyring *k);
void keyring_free(struct keyring *k);

/* Keys of tenants that come from the control group, beside those of the directory and ahead of them.  All are
 * given anew whenever one changes; a tenant's newest first.  ERR_LIMIT, ERR_NOMEM. */
struct keyring_given {
	uint64_t version;
	uint64_t ends_unix_ms; /* from then on it is good for opening alone; 0: it does not end */
	const uint8_t *key;
};
void keyring_given_clear(struct keyring *k);
int keyring_given_add(struct keyring *k, const char *tenant, const struct keyring_given *g) MUST_USE;
/* The version of the newest, with key and id; 0: none was given. */
uint64_t keyring_given_newest(
    const struct keyring *k, const char *tenant, const uint8_t **key, uint8_t key_id[CRYPTO_KEY_ID_BYTES]);
/* Older ones, which open and nothing else. */
struct oldkeys *keyring_old(struct keyring *k);

const struct crypto_key *keyring_node_key(const struct keyring *k);
uint64_t keyring_node_id(const struct keyring *k);

/* The key that seals for tenant, and its id.  ERR_NOENT. */
int keyring_seal_key(const struct keyring *k, const char *tenant, const uint8_t **key,
    uint8_t key_id[CRYPTO_KEY_ID_BYTES]) MUST_USE;
/* The key with this id that proves who has it: none that ended, and no older one.  ERR_NOENT. */
int keyring_tag_key(const struct keyring *k, const char *tenant, const uint8_t key_id[CRYPTO_KEY_ID_BYTES],
    uint64_t now_unix_ms, const uint8_t **key) MUST_USE;
/* The key with this id.  ERR_NOENT. */
int keyring_open_key(const struct keyring *k, const char *tenant, const uint8_t key_id[CRYPTO_KEY_ID_BYTES],
    const uint8_t **key) MUST_USE;

#endif
