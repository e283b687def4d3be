/* oldkeys: see oldkeys.h. */
#include "consensusd/oldkeys.h"

#include <stdbool.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"

enum { CAP_MIN = 16 };

void
oldkeys_fini(struct oldkeys *o)
{
	if (o->items != NULL)
		crypto_unlock(o->items, o->cap * sizeof(*o->items));
	mem_free(o->items);
	*o = (struct oldkeys){0};
}

static int
compare(const struct oldkey *k, const char *tenant, const uint8_t key_id[CRYPTO_KEY_ID_BYTES])
{
	int order = strcmp(k->tenant, tenant);

	return order != 0 ? order : memcmp(k->key_id, key_id, CRYPTO_KEY_ID_BYTES);
}

/* Where it is, or would be. */
static size_t
place(const struct oldkeys *o, const char *tenant, const uint8_t key_id[CRYPTO_KEY_ID_BYTES])
{
	size_t low = 0, high = o->count;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (compare(&o->items[mid], tenant, key_id) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct oldkey *
oldkeys_get(const struct oldkeys *o, const char *tenant, const uint8_t key_id[CRYPTO_KEY_ID_BYTES])
{
	size_t at = place(o, tenant, key_id);

	return at < o->count && compare(&o->items[at], tenant, key_id) == 0 ? &o->items[at] : NULL;
}

/* By copying, not with realloc: that would leave keys behind in unlocked memory. */
static int
grow(struct oldkeys *o)
{
	size_t cap = o->cap == 0 ? CAP_MIN : o->cap * 2, count = o->count;
	struct oldkey *items = mem_calloc(cap, sizeof(*items));

	if (items == NULL)
		return ERR_NOMEM;
	crypto_lock(items, cap * sizeof(*items));
	if (count > 0)
		memcpy(items, o->items, count * sizeof(*items));
	oldkeys_fini(o);
	*o = (struct oldkeys){items, count, cap};
	return 0;
}

int
oldkeys_add(struct oldkeys *o, const struct oldkey *k)
{
	size_t at;

	if (o->count == OLDKEYS_MAX)
		return ERR_LIMIT;
	if (o->count == o->cap && grow(o) != 0)
		return ERR_NOMEM;
	at = place(o, k->tenant, k->key_id);
	memmove(&o->items[at + 1], &o->items[at], (o->count - at) * sizeof(*k));
	o->items[at] = *k;
	o->count++;
	return 0;
}

void
oldkeys_del(struct oldkeys *o, struct oldkey *k)
{
	size_t at = (size_t)(k - o->items);

	memmove(&o->items[at], &o->items[at + 1], (o->count - at - 1) * sizeof(*k));
	o->count--;
	crypto_wipe(&o->items[o->count], sizeof(*k));
}
