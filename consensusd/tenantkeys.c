/* tenantkeys: see tenantkeys.h. */
#include "consensusd/tenantkeys.h"

#include <stdio.h>
#include <string.h>

#include "common/base/be.h"
#include "common/base/err.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "consensusd/engine.h"
#include "consensusd/keyring.h"
#include "consensusd/oldkeys.h"
#include "consensusd/store.h"

enum {
	BOX_AT_KEY_ID = 8,
	BOX_AT_NONCE = BOX_AT_KEY_ID + CRYPTO_KEY_ID_BYTES,
	BOX_AT_SEALED = BOX_AT_NONCE + CRYPTO_NONCE_BYTES,
	SEALED_BYTES = CRYPTO_KEY_BYTES + CRYPTO_TAG_BYTES,
	AD_MAX_BYTES = 8 + CRYPTO_KEY_ID_BYTES + TENANT_ID_MAX,
};

_Static_assert((int)CRYPTO_BOX_BYTES == (int)STORE_KEY_BOX_BYTES, "one box");
_Static_assert(TENANTKEYS_AGAIN_MS <= STORE_KEY_UNSEEN_HOURS * 3600 * 1000 / 12, "long before it may go");

/* --- keeping --- */

static int
put(struct engine *e, struct oldkey *k)
{
	struct store_key row = {.version = k->version};
	int64_t ticket;

	memcpy(row.tenant_id, k->tenant, sizeof(row.tenant_id));
	memcpy(row.key_id, k->key_id, sizeof(row.key_id));
	memcpy(row.box, k->box, sizeof(row.box));
	ticket = store_put_key(e->store, &row);
	if (ticket < 0)
		return (int)ticket;
	k->put = clock_mono();
	return 0;
}

static struct oldkey
make(const char *tenant, uint64_t version, const uint8_t key[CRYPTO_KEY_BYTES],
    const uint8_t box[CRYPTO_BOX_BYTES])
{
	struct oldkey k = {.version = version};

	snprintf(k.tenant, sizeof(k.tenant), "%s", tenant);
	memcpy(k.key, key, sizeof(k.key));
	memcpy(k.box, box, sizeof(k.box));
	crypto_key_id(k.key_id, key);
	return k;
}

/* add and wipe: k has a key in memory that is not locked. */
static int
add(struct engine *e, struct oldkey *k)
{
	int err = oldkeys_add(keyring_old(e->keyring), k);

	crypto_wipe(k->key, sizeof(k->key));
	return err;
}

int
tenantkeys_keep(struct engine *e, const char *tenant, uint64_t version, const uint8_t key[CRYPTO_KEY_BYTES],
    const uint8_t box[CRYPTO_BOX_BYTES])
{
	struct oldkey k = make(tenant, version, key, box), *there;
	int err;

	if (oldkeys_get(keyring_old(e->keyring), tenant, k.key_id) != NULL) {
		crypto_wipe(k.key, sizeof(k.key));
		return 0;
	}
	if ((err = add(e, &k)) != 0)
		return err;
	there = oldkeys_get(keyring_old(e->keyring), tenant, k.key_id);
	if ((err = put(e, there)) != 0)
		oldkeys_del(keyring_old(e->keyring), there);
	return err;
}

int
tenantkeys_load(struct engine *e, const struct store_key *row)
{
	uint8_t key[CRYPTO_KEY_BYTES], id[CRYPTO_KEY_ID_BYTES];
	struct oldkey k;

	if (crypto_box_open_key(key, row->box, keyring_node_key(e->keyring)) != 0)
		crypto_wipe(key, sizeof(key));
	crypto_key_id(id, key);
	if (memcmp(id, row->key_id, sizeof(id)) != 0) {
		log_warn(
		    "version %llu of the key of tenant %s can't be opened: what is sealed with it is lost",
		    (unsigned long long)row->version, row->tenant_id);
		return 0;
	}
	k = make(row->tenant_id, row->version, key, row->box);
	crypto_wipe(key, sizeof(key));
	return add(e, &k);
}

void
tenantkeys_used(struct engine *e, const char *tenant, const uint8_t key_id[CRYPTO_KEY_ID_BYTES])
{
	struct oldkey *k = oldkeys_get(keyring_old(e->keyring), tenant, key_id);

	if (k == NULL ||
	    (k->put.us != 0 && mono_diff_us(clock_mono(), k->put) < TENANTKEYS_AGAIN_MS * 1000LL))
		return;
	/* Without room for it there is none for what is sealed with it. */
	(void)put(e, k);
}

void
tenantkeys_gone(struct engine *e, const char *tenant, const uint8_t key_id[CRYPTO_KEY_ID_BYTES])
{
	struct oldkey *k = oldkeys_get(keyring_old(e->keyring), tenant, key_id);

	/* It was put, and that may not have been there when the database looked. */
	if (k != NULL && k->put.us != 0 &&
	    mono_diff_us(clock_mono(), k->put) < (STORE_KEY_UNSEEN_HOURS - 1) * 3600 * 1000000LL)
		(void)put(e, k);
	else if (k != NULL)
		oldkeys_del(keyring_old(e->keyring), k);
}

/* --- for targets --- */

static size_t
ad_make(uint8_t out[AD_MAX_BYTES], const char *tenant, uint64_t version,
    const uint8_t key_id[CRYPTO_KEY_ID_BYTES])
{
	size_t n = strlen(tenant);

	MUST(n <= TENANT_ID_MAX);
	be_store64(out, version);
	memcpy(out + 8, key_id, CRYPTO_KEY_ID_BYTES);
	memcpy(out + 8 + CRYPTO_KEY_ID_BYTES, tenant, n);
	return 8 + CRYPTO_KEY_ID_BYTES + n;
}

size_t
tenantkeys_wrap(const struct engine *e, const char *tenant, const uint8_t key_id[CRYPTO_KEY_ID_BYTES],
    uint8_t box[TENANTKEYS_BOX_BYTES])
{
	const struct oldkey *k;
	const uint8_t *with;
	uint8_t ad[AD_MAX_BYTES];
	uint64_t newest = keyring_given_newest(e->keyring, tenant, &with, box + BOX_AT_KEY_ID);
	size_t ad_len;

	if (newest == 0 || memcmp(box + BOX_AT_KEY_ID, key_id, CRYPTO_KEY_ID_BYTES) == 0)
		return 0;
	/* A newer one with an older: whoever has the older may not be meant to have the newer. */
	k = oldkeys_get(keyring_old(e->keyring), tenant, key_id);
	if (k == NULL || k->version >= newest)
		return 0;
	be_store64(box, k->version);
	crypto_random(box + BOX_AT_NONCE, CRYPTO_NONCE_BYTES);
	ad_len = ad_make(ad, tenant, k->version, key_id);
	return crypto_seal(
		   box + BOX_AT_SEALED, k->key, sizeof(k->key), ad, ad_len, box + BOX_AT_NONCE, with) == 0
		   ? TENANTKEYS_BOX_BYTES
		   : 0;
}

const uint8_t *
tenantkeys_box_key(const uint8_t box[TENANTKEYS_BOX_BYTES])
{
	return box + BOX_AT_KEY_ID;
}

static int
keep_opened(struct engine *e, const char *tenant, uint64_t version, const uint8_t key[CRYPTO_KEY_BYTES],
    const uint8_t key_id[CRYPTO_KEY_ID_BYTES])
{
	uint8_t id[CRYPTO_KEY_ID_BYTES], own[CRYPTO_BOX_BYTES];
	int err;

	crypto_key_id(id, key);
	if (memcmp(id, key_id, sizeof(id)) != 0)
		return ERR_CRYPTO;
	err = crypto_box_seal_key(own, key, e->public_key);
	return err != 0 ? err : tenantkeys_keep(e, tenant, version, key, own);
}

int
tenantkeys_unwrap(struct engine *e, const char *tenant, const uint8_t key_id[CRYPTO_KEY_ID_BYTES],
    const uint8_t box[TENANTKEYS_BOX_BYTES])
{
	uint8_t key[CRYPTO_KEY_BYTES], ad[AD_MAX_BYTES];
	uint64_t version = be_load64(box);
	const uint8_t *with;
	size_t ad_len;
	int err;

	if (keyring_open_key(e->keyring, tenant, key_id, &with) == 0)
		return 0;
	/* Not with one that an evicted node has. */
	err = keyring_tag_key(e->keyring, tenant, box + BOX_AT_KEY_ID, clock_unix_ms(), &with);
	if (err != 0)
		return err;
	ad_len = ad_make(ad, tenant, version, key_id);
	err = crypto_open(key, box + BOX_AT_SEALED, SEALED_BYTES, ad, ad_len, box + BOX_AT_NONCE, with);
	if (err == 0)
		err = keep_opened(e, tenant, version, key, key_id);
	crypto_wipe(key, sizeof(key));
	return err;
}
