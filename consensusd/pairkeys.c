/* pairkeys: see pairkeys.h. */
#include "consensusd/pairkeys.h"

#include <stdbool.h>
#include <string.h>

#include "common/base/be.h"
#include "common/base/mem.h"
#include "common/os/crypto.h"
#include "consensusd/limits.h"

struct pair {
	uint8_t public_key[CRYPTO_PUBKEY_BYTES];
	uint8_t key[CRYPTO_KEY_BYTES];
	bool used;
};

struct pairkeys {
	const struct crypto_key *own;
	struct pair places[PAIRKEYS_PLACES][2]; /* the one used last first */
};

struct pairkeys *
pairkeys_new(const struct crypto_key *k)
{
	struct pairkeys *p = mem_calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	p->own = k;
	crypto_lock(p, sizeof(*p));
	return p;
}

void
pairkeys_free(struct pairkeys *p)
{
	if (p == NULL)
		return;
	crypto_unlock(p, sizeof(*p));
	mem_free(p);
}

static bool
is_of(const struct pair *x, const uint8_t *public_key)
{
	return x->used && memcmp(x->public_key, public_key, CRYPTO_PUBKEY_BYTES) == 0;
}

static void
swap(struct pair *place)
{
	struct pair x = place[0];

	place[0] = place[1];
	place[1] = x;
	crypto_wipe(&x, sizeof(x));
}

const uint8_t *
pairkeys_get(struct pairkeys *p, const uint8_t public_key[32])
{
	/* Its node id would do as well: both are as good as random, unless somebody chooses them. */
	struct pair *place = p->places[be_load64(public_key) % PAIRKEYS_PLACES];
	uint8_t key[CRYPTO_KEY_BYTES];

	if (is_of(&place[0], public_key))
		return place[0].key;
	if (!is_of(&place[1], public_key)) {
		if (crypto_pair_key(key, p->own, public_key) != 0)
			return NULL;
		memcpy(place[1].public_key, public_key, CRYPTO_PUBKEY_BYTES);
		memcpy(place[1].key, key, sizeof(key));
		place[1].used = true;
		crypto_wipe(key, sizeof(key));
	}
	swap(place);
	return place[0].key;
}
