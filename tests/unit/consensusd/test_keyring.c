/* The keyring: what it reads, what it refuses, rotation and reload. */
#include "tests/unit/unit.h"

#include "common/base/err.h"
#include "common/base/id.h"
#include "common/base/mem.h"
#include "consensusd/keyring.h"
#include "consensusd/keyring_file.h"
#include "tests/unit/consensusd/keyring_dir.h"

static struct keyring_dir dir;

static int
setup(void **state)
{
	(void)state;
	keyring_dir_init(&dir, "# this node\n" KEY_A "\n");
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	keyring_dir_fini(&dir);
	return 0;
}

static void
id_of(uint8_t id[CRYPTO_KEY_ID_BYTES], uint8_t first, uint8_t last)
{
	uint8_t key[CRYPTO_KEY_BYTES];

	for (uint8_t i = 0; i < CRYPTO_KEY_BYTES; i++)
		key[i] = i;
	key[0] = first;
	key[31] = last;
	crypto_key_id(id, key);
}

static void
test_the_first_key_seals_and_all_open(void **state)
{
	uint8_t a[CRYPTO_KEY_ID_BYTES], b[CRYPTO_KEY_ID_BYTES], id[CRYPTO_KEY_ID_BYTES];
	const uint8_t *key;
	struct keyring *k;

	(void)state;
	keyring_dir_put(&dir, "tenants/acme.key", "\n# new\n  " KEY_B " \r\n# old\n" KEY_A, 0600);
	keyring_dir_put(&dir, "tenants/zeta-1.key", KEY_A "\n", 0400);
	keyring_dir_put(&dir, "tenants/README", "ignored\n", 0600);
	keyring_dir_put(&dir, "tenants/UPPER.key", KEY_A "\n", 0600);
	k = keyring_open(dir.path);
	assert_non_null(k);
	id_of(a, 0x00, 0x1f);
	id_of(b, 0xff, 0xff);
	assert_int_equal(keyring_seal_key(k, "acme", &key, id), 0);
	assert_memory_equal(id, b, sizeof(b));
	assert_int_equal(key[0], 0xff);
	assert_int_equal(keyring_open_key(k, "acme", a, &key), 0);
	assert_int_equal(key[0], 0x00);
	assert_int_equal(keyring_open_key(k, "zeta-1", a, &key), 0);
	assert_int_equal(keyring_open_key(k, "zeta-1", b, &key), ERR_NOENT);
	assert_int_equal(keyring_seal_key(k, "UPPER", &key, id), ERR_NOENT);
	assert_int_equal(keyring_seal_key(k, "", &key, id), ERR_NOENT);
	keyring_free(k);
}

static void
test_node_id_comes_from_the_key(void **state)
{
	struct keyring *k = keyring_open(dir.path);
	uint8_t public[CRYPTO_PUBKEY_BYTES];

	(void)state;
	assert_non_null(k);
	crypto_key_public(keyring_node_key(k), public);
	/* RFC 8032 seed 00 01 ... 1f has this public key. */
	assert_int_equal(public[0], 0x03);
	assert_int_equal(public[1], 0xa1);
	assert_true(keyring_node_id(k) == crypto_node_id(public));
	assert_true(keyring_node_id(k) != 0);
	keyring_free(k);
}

static void
test_reload_keeps_the_old_keys_on_error(void **state)
{
	struct keyring *k = keyring_open(dir.path);
	uint8_t id[CRYPTO_KEY_ID_BYTES];
	const uint8_t *key;

	(void)state;
	keyring_dir_put(&dir, "tenants/new.key", KEY_B "\n", 0600);
	assert_int_equal(keyring_seal_key(k, "new", &key, id), ERR_NOENT);
	assert_int_equal(keyring_reload(k), 0);
	assert_int_equal(keyring_seal_key(k, "new", &key, id), 0);
	keyring_dir_put(&dir, "tenants/bad.key", "nonsense\n", 0600);
	assert_int_equal(keyring_reload(k), ERR_FORMAT);
	assert_int_equal(keyring_seal_key(k, "new", &key, id), 0);
	assert_int_equal(key[0], 0xff);
	keyring_dir_put(&dir, "tenants/bad.key", KEY_C "\n", 0644);
	assert_int_equal(keyring_reload(k), ERR_DENIED);
	keyring_dir_put(&dir, "tenants/bad.key", KEY_C "\n", 0600);
	assert_int_equal(keyring_reload(k), 0);
	assert_int_equal(keyring_seal_key(k, "bad", &key, id), 0);
	keyring_free(k);
}

static void
test_others_must_not_read_it(void **state)
{
	(void)state;
	keyring_dir_put(&dir, "node.key", KEY_A "\n", 0640);
	assert_null(keyring_open(dir.path));
	keyring_dir_put(&dir, "node.key", KEY_A "\n", 0604);
	assert_null(keyring_open(dir.path));
	keyring_dir_put(&dir, "node.key", KEY_A "\n", 0600);
	assert_int_equal(chmod(dir.path, 0750), 0);
	assert_null(keyring_open(dir.path));
	assert_int_equal(chmod(dir.path, 0700), 0);
	keyring_free(keyring_open(dir.path));
}

static void
test_bad_directories_and_files(void **state)
{
	char path[128], text[KEYRING_FILE_MAX_BYTES + 16];

	(void)state;
	assert_null(keyring_open("/nonexistent/keyring"));
	keyring_dir_put(&dir, "node.key", "", 0600);
	assert_null(keyring_open(dir.path));
	keyring_dir_put(&dir, "node.key", KEY_A "\n" KEY_B "\n", 0600);
	assert_null(keyring_open(dir.path));
	memset(text, '#', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	keyring_dir_put(&dir, "node.key", text, 0600);
	assert_null(keyring_open(dir.path));
	snprintf(path, sizeof(path), "%s/node.key", dir.path);
	assert_int_equal(unlink(path), 0);
	assert_null(keyring_open(dir.path));
	assert_int_equal(mkdir(path, 0700), 0);
	assert_null(keyring_open(dir.path));
	assert_int_equal(rmdir(path), 0);
	/* A pipe must not hang it. */
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_null(keyring_open(dir.path));
	assert_int_equal(unlink(path), 0);
	keyring_dir_put(&dir, "node.key", KEY_A "\n", 0600);
	/* A relay has no tenants. */
	snprintf(path, sizeof(path), "rm -r %s/tenants", dir.path);
	assert_int_equal(system(path), 0);
	keyring_free(keyring_open(dir.path));
}

static void
test_many_tenants_are_found(void **state)
{
	enum { TENANTS = 300 };
	uint8_t id[CRYPTO_KEY_ID_BYTES];
	const uint8_t *key;
	char name[64];
	struct keyring *k;

	(void)state;
	for (int i = 0; i < TENANTS; i++) {
		char text[80];

		snprintf(text, sizeof(text), "%04x%s\n", i, &KEY_A[4]);
		snprintf(name, sizeof(name), "tenants/t%d.key", i);
		keyring_dir_put(&dir, name, text, 0600);
	}
	k = keyring_open(dir.path);
	assert_non_null(k);
	for (int i = 0; i < TENANTS; i++) {
		snprintf(name, sizeof(name), "t%d", i);
		assert_int_equal(keyring_seal_key(k, name, &key, id), 0);
		assert_int_equal(key[0] << 8 | key[1], i);
	}
	assert_int_equal(keyring_seal_key(k, "t300", &key, id), ERR_NOENT);
	keyring_free(k);
}

static int
parse(const char *text, size_t *count, unsigned *line)
{
	static uint8_t keys[2][CRYPTO_KEY_BYTES];

	return keyring_file_parse(text, strlen(text), keys, 2, count, line);
}

static void
test_file_text(void **state)
{
	size_t count;
	unsigned line;

	(void)state;
	assert_int_equal(parse(KEY_A "\n" KEY_B, &count, &line), 0);
	assert_int_equal(count, 2);
	assert_int_equal(parse("# only comments\n\n", &count, &line), ERR_SHORT);
	assert_int_equal(parse("", &count, &line), ERR_SHORT);
	assert_int_equal(parse(KEY_A "\n" KEY_A "\n", &count, &line), ERR_EXISTS);
	assert_int_equal(line, 2);
	assert_int_equal(parse(KEY_A "\n" KEY_B "\n#\n" KEY_C "\n", &count, &line), ERR_LIMIT);
	assert_int_equal(line, 4);
	assert_int_equal(parse("#\n" KEY_A "0\n", &count, &line), ERR_FORMAT);
	assert_int_equal(line, 2);
	assert_int_equal(parse("g" KEY_A, &count, &line), ERR_FORMAT);
	assert_int_equal(parse("00 " KEY_A, &count, &line), ERR_FORMAT);
}

/* Each allocation that fails is unwound; the last round needs none more and succeeds. */
static void
test_failing_allocations(void **state)
{
	struct keyring *k = NULL;

	(void)state;
	keyring_dir_put(&dir, "tenants/acme.key", KEY_B "\n", 0600);
	for (unsigned long n = 1; k == NULL; n++) {
		assert_true(n < 100);
		mem_fail_at(n);
		k = keyring_open(dir.path);
		mem_fail_at(0);
	}
	for (unsigned long n = 1, err = 1; err != 0; n++) {
		assert_true(n < 100);
		mem_fail_at(n);
		err = (unsigned long)(keyring_reload(k) != 0);
		mem_fail_at(0);
	}
	keyring_free(k);
	keyring_free(NULL);
}

static int
give(struct keyring *k, const char *tenant, uint8_t first)
{
	uint8_t key[CRYPTO_KEY_BYTES] = {first};

	return keyring_given_add(k, tenant, &(struct keyring_given){.version = first, .key = key});
}

/* The first byte of the key that seals; 0: none. */
static unsigned
seals(const struct keyring *k, const char *tenant)
{
	uint8_t id[CRYPTO_KEY_ID_BYTES];
	const uint8_t *key;

	return keyring_seal_key(k, tenant, &key, id) == 0 ? key[0] : 0;
}

static void
test_given_keys(void **state)
{
	uint8_t id[CRYPTO_KEY_ID_BYTES];
	const uint8_t *key;
	struct keyring *k;
	char name[16];

	(void)state;
	keyring_dir_put(&dir, "tenants/acme.key", KEY_B "\n", 0600);
	k = keyring_open(dir.path);
	assert_non_null(k);
	assert_int_equal(seals(k, "acme"), 0xff);
	/* The newest first, and ahead of the directory's, which goes on opening. */
	assert_int_equal(give(k, "acme", 2), 0);
	assert_int_equal(give(k, "acme", 1), 0);
	assert_int_equal(give(k, "other", 3), 0);
	assert_int_equal(seals(k, "acme"), 2);
	assert_int_equal(seals(k, "other"), 3);
	id_of(id, 0xff, 0xff);
	assert_int_equal(keyring_open_key(k, "acme", id, &key), 0);
	assert_int_equal(keyring_open_key(k, "other", id, &key), ERR_NOENT);
	assert_int_equal(keyring_reload(k), 0);
	assert_int_equal(seals(k, "acme"), 2);
	for (uint8_t i = 3; i <= KEYRING_KEYS_PER_TENANT_MAX; i++)
		assert_int_equal(give(k, "acme", i), 0);
	assert_int_equal(give(k, "acme", 77), ERR_LIMIT);
	keyring_given_clear(k);
	assert_int_equal(seals(k, "acme"), 0xff);
	assert_int_equal(seals(k, "other"), 0);
	for (unsigned i = 0; i < KEYRING_TENANTS_MAX; i++) {
		snprintf(name, sizeof(name), "t%u", i);
		assert_int_equal(give(k, name, 5), 0);
	}
	assert_int_equal(give(k, "one-more", 5), ERR_LIMIT);
	assert_int_equal(give(k, "t77", 5), 0);
	keyring_given_clear(k);
	mem_fail_at(1);
	assert_int_equal(give(k, "acme", 1), ERR_NOMEM);
	mem_fail_at(0);
	assert_int_equal(seals(k, "acme"), 0xff);
	keyring_free(k);
}

/* One that ended opens, and proves nothing; one of the directory does not end. */
static void
test_given_keys_end(void **state)
{
	uint8_t newest[CRYPTO_KEY_BYTES] = {9}, before[CRYPTO_KEY_BYTES] = {8};
	uint8_t id[CRYPTO_KEY_ID_BYTES], from_dir[CRYPTO_KEY_ID_BYTES];
	struct keyring *k;
	const uint8_t *key;

	(void)state;
	keyring_dir_put(&dir, "tenants/acme.key", KEY_B "\n", 0600);
	k = keyring_open(dir.path);
	assert_int_equal(keyring_given_newest(k, "acme", &key, id), 0);
	assert_int_equal(
	    keyring_given_add(k, "acme", &(struct keyring_given){.version = 5, .key = newest}), 0);
	assert_int_equal(keyring_given_add(k, "acme",
			     &(struct keyring_given){.version = 4, .ends_unix_ms = 1000, .key = before}),
	    0);
	assert_int_equal(keyring_given_newest(k, "acme", &key, id), 5);
	assert_int_equal(key[0], 9);
	assert_int_equal(keyring_tag_key(k, "acme", id, UINT64_MAX, &key), 0);
	crypto_key_id(id, before);
	assert_int_equal(keyring_tag_key(k, "acme", id, 999, &key), 0);
	assert_int_equal(keyring_tag_key(k, "acme", id, 1000, &key), ERR_NOENT);
	assert_int_equal(keyring_open_key(k, "acme", id, &key), 0);
	id_of(from_dir, 0xff, 0xff);
	assert_int_equal(keyring_tag_key(k, "acme", from_dir, UINT64_MAX, &key), 0);
	keyring_free(k);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_the_first_key_seals_and_all_open, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_node_id_comes_from_the_key, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_reload_keeps_the_old_keys_on_error, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_others_must_not_read_it, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_bad_directories_and_files, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_many_tenants_are_found, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_given_keys, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_given_keys_end, setup, teardown),
	    cmocka_unit_test(test_file_text),
	    cmocka_unit_test_setup_teardown(test_failing_allocations, setup, teardown),
	};

	return crypto_init() != 0 || cmocka_run_group_tests(tests, NULL, NULL);
}
