/* node_key: see node_key.h. */
#include "meshctl/node_key.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "meshctl/out.h"
#include "meshctl/secfile.h"

enum { KEY_HEX_CHARS = 2 * CRYPTO_KEY_BYTES, KEYS_PER_TENANT_MAX = 8 };

_Static_assert(CRYPTO_SEED_BYTES == CRYPTO_KEY_BYTES, "one format for both");

void
node_key_hex(char *out, const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		out[2 * i] = "0123456789abcdef"[p[i] >> 4];
		out[2 * i + 1] = "0123456789abcdef"[p[i] & 15];
	}
	out[2 * len] = '\0';
}

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int
node_key_parse(const char *text, uint8_t key[CRYPTO_KEY_BYTES])
{
	text += strspn(text, " \t\r\n");
	for (size_t i = 0; i < CRYPTO_KEY_BYTES; i++) {
		int hi = hex_value(text[2 * i]), lo = hi < 0 ? -1 : hex_value(text[2 * i + 1]);

		if (lo < 0)
			return ERR_FORMAT;
		key[i] = (uint8_t)(hi << 4 | lo);
	}
	text += KEY_HEX_CHARS;
	text += strspn(text, " \t\r\n");
	return *text == '\0' ? 0 : ERR_FORMAT;
}

static int
path_of(char out[NODE_KEY_PATH_SIZE], const char *keyring, const char *dir, const char *name)
{
	int n = snprintf(out, NODE_KEY_PATH_SIZE, "%s/%s%s", keyring, dir, name);

	if (n > 0 && n < NODE_KEY_PATH_SIZE)
		return 0;
	out_error("%.64s...: name too long", keyring);
	return ERR_LIMIT;
}

static int
make_dirs(const char *keyring)
{
	char tenants[NODE_KEY_PATH_SIZE];
	int r = secfile_mkdir(keyring);

	if (r == 0)
		r = path_of(tenants, keyring, "tenants", "");
	return r == 0 ? secfile_mkdir(tenants) : r;
}

static int
id_of_seed(const uint8_t seed[CRYPTO_SEED_BYTES], uint64_t *id)
{
	uint8_t public[CRYPTO_PUBKEY_BYTES];
	struct crypto_key *k = crypto_key_new(seed);

	if (k == NULL)
		return ERR_NOMEM;
	crypto_key_public(k, public);
	crypto_key_free(k);
	*id = crypto_node_id(public);
	return 0;
}

int
node_key_new(const char *keyring, bool replace, uint64_t *id)
{
	char path[NODE_KEY_PATH_SIZE], text[KEY_HEX_CHARS + 2];
	uint8_t seed[CRYPTO_SEED_BYTES];
	int r = make_dirs(keyring);

	if (r == 0)
		r = path_of(path, keyring, "node.key", "");
	if (r != 0)
		return r;
	crypto_random(seed, sizeof(seed));
	node_key_hex(text, seed, sizeof(seed));
	memcpy(text + KEY_HEX_CHARS, "\n", 2);
	r = secfile_write(path, text, KEY_HEX_CHARS + 1, false, replace);
	if (r == 0)
		r = id_of_seed(seed, id);
	crypto_wipe(seed, sizeof(seed));
	crypto_wipe(text, sizeof(text));
	return r;
}

int
node_key_id(const char *keyring, uint64_t *id)
{
	char path[NODE_KEY_PATH_SIZE], *text;
	uint8_t seed[CRYPTO_SEED_BYTES];
	size_t len;
	int r = path_of(path, keyring, "node.key", "");

	if (r == 0)
		r = secfile_read(path, &text, &len);
	if (r != 0)
		return r;
	r = node_key_parse(text, seed);
	secfile_free(text, len);
	if (r != 0)
		out_error("%s: not a node key (64 hex digits)", path);
	else
		r = id_of_seed(seed, id);
	crypto_wipe(seed, sizeof(seed));
	return r;
}

/* Calls for each key line of a tenant's file: the next line without comment, cut at its end. */
static char *
next_line(char **text)
{
	char *line;

	while ((line = strsep(text, "\n")) != NULL) {
		line[strcspn(line, "#\r")] = '\0';
		if (line[strspn(line, " \t")] != '\0')
			return line;
	}
	return NULL;
}

/* The new key, then the file's other ones, at most KEYS_PER_TENANT_MAX. */
static int
merge_keys(struct buf *out, const char *path, char *old, const uint8_t key[CRYPTO_KEY_BYTES])
{
	char hex[KEY_HEX_CHARS + 2], *line;
	uint8_t other[CRYPTO_KEY_BYTES];
	int count = 1, r;

	node_key_hex(hex, key, CRYPTO_KEY_BYTES);
	memcpy(hex + KEY_HEX_CHARS, "\n", 2);
	r = buf_put_bytes(out, hex, KEY_HEX_CHARS + 1);
	while (r == 0 && old != NULL && count < KEYS_PER_TENANT_MAX && (line = next_line(&old)) != NULL) {
		if (node_key_parse(line, other) != 0) {
			out_error("%s: a line is not a key (64 hex digits)", path);
			r = ERR_FORMAT;
		} else if (memcmp(other, key, CRYPTO_KEY_BYTES) != 0) {
			node_key_hex(hex, other, CRYPTO_KEY_BYTES);
			hex[KEY_HEX_CHARS] = '\n';
			r = buf_put_bytes(out, hex, KEY_HEX_CHARS + 1);
			count++;
		}
	}
	crypto_wipe(other, sizeof(other));
	crypto_wipe(hex, sizeof(hex));
	return r;
}

int
node_key_add_tenant(const char *keyring, const char *tenant, const uint8_t key[CRYPTO_KEY_BYTES])
{
	char path[NODE_KEY_PATH_SIZE], file[128], *old = NULL;
	uint8_t mem[KEYS_PER_TENANT_MAX * (KEY_HEX_CHARS + 1)];
	size_t old_len = 0;
	struct buf out;
	int r = make_dirs(keyring);

	snprintf(file, sizeof(file), "%s.key", tenant);
	if (r == 0)
		r = path_of(path, keyring, "tenants/", file);
	if (r == 0 && access(path, F_OK) == 0)
		r = secfile_read(path, &old, &old_len);
	if (r != 0)
		return r;
	buf_init_fixed(&out, mem, sizeof(mem));
	r = merge_keys(&out, path, old, key);
	if (r == 0)
		r = secfile_write(path, buf_head(&out), buf_left(&out), false, true);
	secfile_free(old, old_len);
	crypto_wipe(mem, sizeof(mem));
	return r;
}

int
node_key_tenant(const char *keyring, const char *tenant, uint8_t key[CRYPTO_KEY_BYTES])
{
	char path[NODE_KEY_PATH_SIZE], file[128], *text, *rest, *line;
	size_t len;
	int r;

	snprintf(file, sizeof(file), "%s.key", tenant);
	r = path_of(path, keyring, "tenants/", file);
	if (r == 0)
		r = secfile_read(path, &text, &len);
	if (r != 0)
		return r;
	rest = text;
	line = next_line(&rest);
	if (line == NULL || node_key_parse(line, key) != 0) {
		out_error("%s: the first line is not a key (64 hex digits)", path);
		r = ERR_FORMAT;
	}
	secfile_free(text, len);
	return r;
}
