/* keyring: see keyring.h. */
#include "consensusd/keyring.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/id.h"
#include "common/base/mem.h"
#include "common/os/log.h"
#include "consensusd/keyring_file.h"
#include "consensusd/oldkeys.h"

#define KEY_SUFFIX ".key"

struct tenant {
	char id[TENANT_TEXT_SIZE];
	uint32_t key_count;
	uint8_t key_ids[KEYRING_KEYS_PER_TENANT_MAX][CRYPTO_KEY_ID_BYTES];
	uint8_t keys[KEYRING_KEYS_PER_TENANT_MAX][CRYPTO_KEY_BYTES]; /* the newest first */
	uint64_t versions[KEYRING_KEYS_PER_TENANT_MAX];              /* of given ones */
	uint64_t ends_unix_ms[KEYRING_KEYS_PER_TENANT_MAX];          /* 0: it does not */
};

struct tenant_table {
	struct tenant *items; /* in locked memory */
	size_t count, cap;
	uint16_t order[KEYRING_TENANTS_MAX]; /* items by id: sorting moves no keys */
};

struct keyring {
	char *path;
	int dir_fd;
	struct crypto_key *node_key;
	uint64_t node_id;
	struct tenant_table tenants;
	struct tenant_table given; /* by the control group */
	struct oldkeys old;
};

static void
table_free(struct tenant_table *t)
{
	if (t->items != NULL)
		crypto_unlock(t->items, t->cap * sizeof(*t->items));
	mem_free(t->items);
	t->items = NULL;
}

/* Grows by copying, not with realloc: that would leave keys behind in unlocked memory. */
static int
table_grow(struct tenant_table *t)
{
	size_t cap = t->cap == 0 ? 16 : t->cap * 2;
	struct tenant *items = mem_calloc(cap, sizeof(*items));

	if (items == NULL)
		return ERR_NOMEM;
	crypto_lock(items, cap * sizeof(*items));
	if (t->count > 0)
		memcpy(items, t->items, t->count * sizeof(*items));
	table_free(t);
	t->items = items;
	t->cap = cap;
	return 0;
}

/* Where id is in the order; or would be, and then *found is false. */
static size_t
table_find(const struct tenant_table *t, const char *id, bool *found)
{
	size_t low = 0, high = t->count;

	*found = false;
	while (low < high && !*found) {
		size_t mid = (low + high) / 2;
		int c = strcmp(id, t->items[t->order[mid]].id);

		if (c > 0)
			low = mid + 1;
		else
			high = mid;
		if (c == 0) {
			*found = true;
			low = mid;
		}
	}
	return low;
}

/* Takes in the item that was made after the last one. */
static void
table_add(struct tenant_table *t)
{
	bool found;
	size_t at = table_find(t, t->items[t->count].id, &found);

	MUST(!found); /* a directory has each name once */
	memmove(&t->order[at + 1], &t->order[at], (t->count - at) * sizeof(t->order[0]));
	t->order[at] = (uint16_t)t->count++;
}

static struct tenant *
table_get(const struct tenant_table *t, const char *id)
{
	bool found;
	size_t at = table_find(t, id, &found);

	return found ? &t->items[t->order[at]] : NULL;
}

/* "acme.key" -> "acme".  ERR_FORMAT: that is no tenant's file. */
static int
tenant_of_file(const char *file, char id[TENANT_TEXT_SIZE])
{
	size_t n = strlen(file), suffix = sizeof(KEY_SUFFIX) - 1;

	if (n <= suffix || strcmp(file + n - suffix, KEY_SUFFIX) != 0 || n - suffix > TENANT_ID_MAX)
		return ERR_FORMAT;
	memcpy(id, file, n - suffix);
	id[n - suffix] = '\0';
	return tenant_valid(id) ? 0 : ERR_FORMAT;
}

static int
tenant_load(struct tenant_table *t, int dir_fd, const char *file)
{
	struct tenant *tenant;
	size_t count;
	int err;

	if (t->count == KEYRING_TENANTS_MAX) {
		log_error("keyring: tenants: more than %d of them", KEYRING_TENANTS_MAX);
		return ERR_LIMIT;
	}
	err = t->count == t->cap ? table_grow(t) : 0;
	if (err != 0)
		return err;
	tenant = &t->items[t->count];
	if (tenant_of_file(file, tenant->id) != 0) {
		log_warn("keyring: tenants/%s is not <tenant id>%s: ignored", file, KEY_SUFFIX);
		return 0;
	}
	err = keyring_file_load(dir_fd, "tenants/", file, tenant->keys, KEYRING_KEYS_PER_TENANT_MAX, &count);
	if (err == ERR_NOENT)
		return 0; /* removed since the directory was listed */
	if (err != 0)
		return err;
	tenant->key_count = (uint32_t)count;
	for (size_t i = 0; i < count; i++)
		crypto_key_id(tenant->key_ids[i], tenant->keys[i]);
	table_add(t);
	return 0;
}

static int
tenants_list(struct tenant_table *t, int fd)
{
	DIR *dir = fdopendir(fd);
	struct dirent *e;
	int err = 0;

	if (dir == NULL) {
		close(fd);
		return ERR_NOMEM;
	}
	while (err == 0 && (errno = 0, e = readdir(dir)) != NULL)
		if (e->d_name[0] != '.')
			err = tenant_load(t, fd, e->d_name);
	if (err == 0 && errno != 0) {
		log_error("keyring: tenants: %s", strerror(errno));
		err = ERR_IO;
	}
	closedir(dir);
	return err;
}

/* Fills t, which is empty; on error it must be freed. */
static int
tenants_load(const struct keyring *k, struct tenant_table *t)
{
	int fd = keyring_dir_open(k->dir_fd, "tenants");

	/* Without the directory there is no tenant: a relay needs none. */
	if (fd == ERR_NOENT)
		return 0;
	return fd < 0 ? fd : tenants_list(t, fd);
}

static int
node_key_load(struct keyring *k)
{
	uint8_t seed[1][CRYPTO_SEED_BYTES] = {{0}}, public[CRYPTO_PUBKEY_BYTES];
	size_t count;
	int err = keyring_file_load(k->dir_fd, "", "node" KEY_SUFFIX, seed, 1, &count);

	if (err == ERR_NOENT)
		log_error("keyring: %s/node.key is missing: make one with meshctl keygen", k->path);
	if (err != 0)
		return err;
	k->node_key = crypto_key_new((const uint8_t *)seed);
	crypto_wipe(seed, sizeof(seed));
	if (k->node_key == NULL)
		return ERR_NOMEM;
	crypto_key_public(k->node_key, public);
	k->node_id = crypto_node_id(public);
	return 0;
}

static int
keyring_load(struct keyring *k, const char *dir)
{
	int err;

	k->path = mem_strdup(dir);
	if (k->path == NULL)
		return ERR_NOMEM;
	k->dir_fd = keyring_dir_open(AT_FDCWD, dir);
	if (k->dir_fd == ERR_NOENT)
		log_error("keyring: %s: %s", dir, strerror(ENOENT));
	if (k->dir_fd < 0)
		return k->dir_fd;
	err = node_key_load(k);
	return err != 0 ? err : tenants_load(k, &k->tenants);
}

struct keyring *
keyring_open(const char *dir)
{
	struct keyring *k = mem_calloc(1, sizeof(*k));

	if (k == NULL)
		return NULL;
	k->dir_fd = -1;
	if (keyring_load(k, dir) != 0) {
		log_error("keyring: %s can't be used", dir);
		keyring_free(k);
		return NULL;
	}
	return k;
}

int
keyring_reload(struct keyring *k)
{
	struct tenant_table fresh = {0};
	int err = tenants_load(k, &fresh);

	if (err != 0) {
		table_free(&fresh);
		log_error("keyring: %s: the keys read before stay in use", k->path);
		return err;
	}
	table_free(&k->tenants);
	k->tenants = fresh;
	return 0;
}

void
keyring_free(struct keyring *k)
{
	if (k == NULL)
		return;
	table_free(&k->tenants);
	table_free(&k->given);
	oldkeys_fini(&k->old);
	crypto_key_free(k->node_key);
	if (k->dir_fd >= 0)
		close(k->dir_fd);
	mem_free(k->path);
	mem_free(k);
}

const struct crypto_key *
keyring_node_key(const struct keyring *k)
{
	return k->node_key;
}

uint64_t
keyring_node_id(const struct keyring *k)
{
	return k->node_id;
}

void
keyring_given_clear(struct keyring *k)
{
	table_free(&k->given);
	k->given.count = k->given.cap = 0;
}

int
keyring_given_add(struct keyring *k, const char *tenant, const struct keyring_given *g)
{
	struct tenant_table *t = &k->given;
	struct tenant *x = table_get(t, tenant);

	if (x == NULL) {
		if (t->count == KEYRING_TENANTS_MAX)
			return ERR_LIMIT;
		if (t->count == t->cap && table_grow(t) != 0)
			return ERR_NOMEM;
		x = &t->items[t->count];
		snprintf(x->id, sizeof(x->id), "%s", tenant);
		x->key_count = 0;
		table_add(t);
	}
	if (x->key_count == KEYRING_KEYS_PER_TENANT_MAX)
		return ERR_LIMIT;
	memcpy(x->keys[x->key_count], g->key, CRYPTO_KEY_BYTES);
	x->versions[x->key_count] = g->version;
	x->ends_unix_ms[x->key_count] = g->ends_unix_ms;
	crypto_key_id(x->key_ids[x->key_count++], g->key);
	return 0;
}

uint64_t
keyring_given_newest(
    const struct keyring *k, const char *tenant, const uint8_t **key, uint8_t key_id[CRYPTO_KEY_ID_BYTES])
{
	const struct tenant *t = table_get(&k->given, tenant);

	if (t == NULL || t->key_count == 0)
		return 0;
	*key = t->keys[0];
	memcpy(key_id, t->key_ids[0], CRYPTO_KEY_ID_BYTES);
	return t->versions[0];
}

struct oldkeys *
keyring_old(struct keyring *k)
{
	return &k->old;
}

int
keyring_seal_key(
    const struct keyring *k, const char *tenant, const uint8_t **key, uint8_t key_id[CRYPTO_KEY_ID_BYTES])
{
	const struct tenant *t = table_get(&k->given, tenant);

	if (t == NULL || t->key_count == 0)
		t = table_get(&k->tenants, tenant);
	if (t == NULL || t->key_count == 0)
		return ERR_NOENT;
	*key = t->keys[0];
	memcpy(key_id, t->key_ids[0], CRYPTO_KEY_ID_BYTES);
	return 0;
}

/* One that ended before now is none; now 0: whatever it has. */
static const uint8_t *
key_in(const struct tenant_table *table, const char *tenant, const uint8_t key_id[CRYPTO_KEY_ID_BYTES],
    uint64_t now_unix_ms)
{
	const struct tenant *t = table_get(table, tenant);

	for (uint32_t i = 0; t != NULL && i < t->key_count; i++)
		if (memcmp(t->key_ids[i], key_id, CRYPTO_KEY_ID_BYTES) == 0 &&
		    (t->ends_unix_ms[i] == 0 || now_unix_ms < t->ends_unix_ms[i]))
			return t->keys[i];
	return NULL;
}

int
keyring_tag_key(const struct keyring *k, const char *tenant, const uint8_t key_id[CRYPTO_KEY_ID_BYTES],
    uint64_t now_unix_ms, const uint8_t **key)
{
	*key = key_in(&k->given, tenant, key_id, now_unix_ms);
	if (*key == NULL)
		*key = key_in(&k->tenants, tenant, key_id, now_unix_ms);
	return *key != NULL ? 0 : ERR_NOENT;
}

int
keyring_open_key(const struct keyring *k, const char *tenant, const uint8_t key_id[CRYPTO_KEY_ID_BYTES],
    const uint8_t **key)
{
	const struct oldkey *old;

	if (keyring_tag_key(k, tenant, key_id, 0, key) == 0)
		return 0;
	old = oldkeys_get(&k->old, tenant, key_id);
	if (old == NULL)
		return ERR_NOENT;
	*key = old->key;
	return 0;
}
