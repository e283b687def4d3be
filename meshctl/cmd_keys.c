/* cmd_keys: ids, keys and tokens: `meshctl id`, `keygen`, `tenant-key`, `token`. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/id.h"
#include "common/os/clock.h"
#include "common/os/crypto.h"
#include "meshctl/args.h"
#include "meshctl/ca_x509.h"
#include "meshctl/command.h"
#include "meshctl/handlers.h"
#include "meshctl/node_key.h"
#include "meshctl/out.h"
#include "meshctl/secfile.h"

enum { TOKEN_BYTES = 32, TOKEN_CHARS = 2 * TOKEN_BYTES, TOKEN_NAME_MAX = 63 };

const struct option_def cmd_keygen_options[] = {
    {"show", 0, NULL, "print the id of a key that exists"},
    {"force", 'f', NULL, "replace a key that exists: the node gets another id"},
    {NULL, 0, NULL, NULL},
};

const struct option_def cmd_tenant_key_options[] = {
    {"from", 0, "KEYRING", "copy the key that another keyring has for the tenant"},
    {"stdin", 0, NULL, "read the key (64 hex digits) from standard input"},
    {"print", 0, NULL, "print the key, to carry it to another node"},
    {NULL, 0, NULL, NULL},
};

const struct option_def cmd_token_options[] = {
    {"file", 'o', "FILE", "append the line to the token file of gatewayd"},
    {NULL, 0, NULL, NULL},
};

static int
code_of(int err)
{
	return err == ERR_EXISTS ? CODE_EXISTS : err == ERR_NOENT ? CODE_NOTFOUND : CODE_FAILED;
}

int
cmd_id(struct ctl *ctl, const struct args *a)
{
	char text[ULID_TEXT_SIZE];
	uint8_t random[10];
	struct ulid id;

	(void)a;
	crypto_random(random, sizeof(random));
	ulid_make(&id, clock_unix_ms(), random);
	ulid_format(text, &id);
	if (ctl->json)
		printf("{\"id\": \"%s\"}\n", text);
	else
		printf("%s\n", text);
	return CODE_OK;
}

int
cmd_keygen(struct ctl *ctl, const struct args *a)
{
	const char *dir = args_word(a, 0);
	char text[NODEID_TEXT_SIZE];
	uint64_t id;
	int r = args_flag(a, "show") ? node_key_id(dir, &id) : node_key_new(dir, args_flag(a, "force"), &id);

	if (r != 0)
		return code_of(r);
	nodeid_format(text, id);
	if (ctl->json)
		printf("{\"node_id\": \"%s\"}\n", text);
	else
		printf("%s\n", text);
	return CODE_OK;
}

/* The key that is to be put: a new one, another keyring's, or the one on standard input. */
static int
tenant_key_get(const struct args *a, const char *tenant, uint8_t key[CRYPTO_KEY_BYTES])
{
	char line[256];

	if (args_str(a, "from", NULL) != NULL)
		return node_key_tenant(args_str(a, "from", NULL), tenant, key);
	if (!args_flag(a, "stdin")) {
		crypto_random(key, CRYPTO_KEY_BYTES);
		return 0;
	}
	if (fgets(line, sizeof(line), stdin) == NULL || node_key_parse(line, key) != 0) {
		out_error("standard input has no key (64 hex digits)");
		crypto_wipe(line, sizeof(line));
		return ERR_FORMAT;
	}
	crypto_wipe(line, sizeof(line));
	return 0;
}

static void
tenant_key_report(const struct ctl *ctl, const char *tenant, const uint8_t key[CRYPTO_KEY_BYTES], bool print)
{
	char key_id[2 * CRYPTO_KEY_ID_BYTES + 1], hex[2 * CRYPTO_KEY_BYTES + 1];
	uint8_t id[CRYPTO_KEY_ID_BYTES];

	crypto_key_id(id, key);
	node_key_hex(key_id, id, sizeof(id));
	node_key_hex(hex, key, CRYPTO_KEY_BYTES);
	if (ctl->json && print)
		printf("{\"tenant_id\": \"%s\", \"key_id\": \"%s\", \"key\": \"%s\"}\n", tenant, key_id, hex);
	else if (ctl->json)
		printf("{\"tenant_id\": \"%s\", \"key_id\": \"%s\"}\n", tenant, key_id);
	else
		printf("%s\n", print ? hex : key_id);
	crypto_wipe(hex, sizeof(hex));
}

int
cmd_tenant_key(struct ctl *ctl, const struct args *a)
{
	const char *tenant = args_word(a, 0);
	uint8_t key[CRYPTO_KEY_BYTES];
	int r;

	if (!tenant_valid(tenant)) {
		out_error("'%s' is not a tenant id (1-64 of a-z 0-9 . _ -)", tenant);
		return CODE_USAGE;
	}
	if (args_str(a, "from", NULL) != NULL && args_flag(a, "stdin")) {
		out_error("--from and --stdin exclude each other");
		return CODE_USAGE;
	}
	r = tenant_key_get(a, tenant, key);
	for (size_t i = 1; r == 0 && i < a->word_count; i++)
		r = node_key_add_tenant(args_word(a, i), tenant, key);
	if (r == 0)
		tenant_key_report(ctl, tenant, key, args_flag(a, "print"));
	crypto_wipe(key, sizeof(key));
	return r == 0 ? CODE_OK : code_of(r);
}

/* Appends one line, in one write, to a file of mode 0600. */
static int
append_line(const char *path, const char *line)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	size_t len = strlen(line);

	if (fd < 0 || write(fd, line, len) != (ssize_t)len || fsync(fd) != 0) {
		out_error("%s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return CODE_FAILED;
	}
	close(fd);
	return secfile_sync_dir(path) == 0 ? CODE_OK : CODE_FAILED;
}

int
cmd_token(struct ctl *ctl, const struct args *a)
{
	const char *name = args_word(a, 0), *file = args_str(a, "file", NULL);
	char token[TOKEN_CHARS + 1], hash[2 * CA_X509_SHA256_BYTES + 1],
	    line[sizeof(hash) + TOKEN_NAME_MAX + 4];
	uint8_t random[TOKEN_BYTES], digest[CA_X509_SHA256_BYTES];

	if (!node_name_valid(name)) {
		out_error("'%s' is not a name (1-63 of A-Z a-z 0-9 . _ -)", name);
		return CODE_USAGE;
	}
	crypto_random(random, sizeof(random));
	node_key_hex(token, random, sizeof(random));
	if (ca_x509_sha256(token, TOKEN_CHARS, digest) != 0)
		return CODE_FAILED;
	node_key_hex(hash, digest, sizeof(digest));
	snprintf(line, sizeof(line), "%s %s\n", hash, name);
	if (file != NULL && append_line(file, line) != CODE_OK)
		return CODE_FAILED;
	if (ctl->json)
		printf("{\"token\": \"%s\", \"name\": \"%s\", \"sha256\": \"%s\"}\n", token, name, hash);
	else if (file != NULL)
		printf("%s\n", token);
	else
		printf("token  %s\nline   %s", token, line);
	crypto_wipe(token, sizeof(token));
	return CODE_OK;
}
