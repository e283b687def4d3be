/*
 * oldkeys: versions of tenants' keys that the control group gave out, for as long as something may be sealed
 * with them at this node or on its way to it.
 *
 * They open and nothing else: what is sealed or tagged now has a key of the group or of the directory
 * (keyring.h).  A sorted array in locked memory.
 */
#ifndef CONSENSUSD_OLDKEYS_H
#define CONSENSUSD_OLDKEYS_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/id.h"
#include "common/base/mono.h"
#include "common/base/must.h"
#include "common/os/crypto.h"

/* Of all tenants.  One more is refused: what came sealed with it is not taken, and its source sends it
 * again. */
enum { OLDKEYS_MAX = 65536 };

struct oldkey {
	char tenant[TENANT_TEXT_SIZE];
	uint64_t version;
	uint8_t key_id[CRYPTO_KEY_ID_BYTES];
	uint8_t key[CRYPTO_KEY_BYTES];
	uint8_t box[CRYPTO_BOX_BYTES]; /* the key, sealed to this node: as the database has it */
	struct mono put;               /* there, last; MONO_ZERO: before this process began */
};

/* Zeroed before its first use. */
struct oldkeys {
	struct oldkey *items;
	size_t count, cap;
};

void oldkeys_fini(struct oldkeys *o);
/* NULL: unknown.  Good until the next change. */
struct oldkey *oldkeys_get(
    const struct oldkeys *o, const char *tenant, const uint8_t key_id[CRYPTO_KEY_ID_BYTES]);
/* One that is not there.  ERR_NOMEM, ERR_LIMIT. */
int oldkeys_add(struct oldkeys *o, const struct oldkey *k) MUST_USE;
void oldkeys_del(struct oldkeys *o, struct oldkey *k);

#endif
