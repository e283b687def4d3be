/*
 * conf: every file of tests/config/good and tests/config/bad against its .out file, and what golden
 * files can't say.  A file's first comments choose the section and the environment:
 *
 *	# section: NAME
 *	# env: VARIABLE=VALUE
 *
 * UPDATE=1 in the environment writes the .out files anew: review the difference like code.
 */
#include "tests/unit/unit.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/conf.h"
#include "common/os/conf_overlay.h"

enum { ENV_MAX = 8 };

struct golden {
	char section[256];
	char env[ENV_MAX][256]; /* names that were set */
	size_t env_count;
};

static void
golden_line(struct golden *g, char *line)
{
	char *eq;

	line[strcspn(line, "\n")] = '\0';
	if (strncmp(line, "# section: ", 11) == 0) {
		snprintf(g->section, sizeof(g->section), "%s", line + 11);
	} else if (strncmp(line, "# env: ", 7) == 0) {
		eq = strchr(line, '=');
		assert_non_null(eq);
		*eq = '\0';
		assert_true(g->env_count < ENV_MAX);
		snprintf(g->env[g->env_count++], sizeof(g->env[0]), "%s", line + 7);
		assert_int_equal(setenv(line + 7, eq + 1, 1), 0);
	}
}

static void
golden_head(struct golden *g, const char *path)
{
	FILE *f = fopen(path, "r");
	char line[256];

	memset(g, 0, sizeof(*g));
	assert_non_null(f);
	while (fgets(line, sizeof(line), f) != NULL && line[0] == '#')
		golden_line(g, line);
	fclose(f);
}

static void
golden_unset(const struct golden *g)
{
	for (size_t i = 0; i < g->env_count; i++)
		unsetenv(g->env[i]);
}

/* Replaces the directory we run in, which differs from machine to machine. */
static char *
without_cwd(char *text)
{
	char cwd[PATH_MAX], *out, *hit, *from = text;
	size_t len, size;
	FILE *f = open_memstream(&out, &size);

	assert_non_null(getcwd(cwd, sizeof(cwd)));
	len = strlen(cwd);
	while ((hit = strstr(from, cwd)) != NULL) {
		fprintf(f, "%.*s/DIR", (int)(hit - from), from);
		from = hit + len;
	}
	fputs(from, f);
	fclose(f);
	free(text);
	return out;
}

/* What loading says: the normalised file, or the errors. */
static char *
load_text(const char *path, const char *section, bool *good)
{
	char *err_text, *text;
	size_t size;
	FILE *err = open_memstream(&err_text, &size), *out;
	struct conf *c = conf_load(path, section[0] != '\0' ? section : NULL, err);

	fclose(err);
	*good = c != NULL;
	if (c == NULL)
		return without_cwd(err_text);
	free(err_text);
	out = open_memstream(&text, &size);
	conf_print(c, out);
	fclose(out);
	conf_free(c);
	return without_cwd(text);
}

static char *
file_text(const char *path)
{
	FILE *f = fopen(path, "r");
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	int c;

	if (f == NULL)
		fail_msg("%s: %s", path, strerror(errno));
	while ((c = fgetc(f)) != EOF)
		fputc(c, out);
	fclose(f);
	fclose(out);
	return text;
}

static void
file_write(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void
golden_check(const char *name, bool want_good)
{
	char out[NAME_MAX + 8], *text, *want;
	struct golden g;
	bool good;

	golden_head(&g, name);
	text = load_text(name, g.section, &good);
	if (good != want_good)
		fail_msg("%s: %s", name, text);
	snprintf(out, sizeof(out), "%.*s.out", (int)(strlen(name) - 5), name);
	if (getenv("UPDATE") != NULL)
		file_write(out, text);
	want = file_text(out);
	if (strcmp(text, want) != 0)
		fail_msg("%s differs from %s:\n%s", name, out, text);
	golden_unset(&g);
	free(text);
	free(want);
}

/* What -n prints parses again, and prints as the same. */
static void
reparse_check(const char *name)
{
	char path[] = "/tmp/test_conf.XXXXXX", *first, *again;
	struct golden g;
	bool good;
	int fd = mkstemp(path);

	golden_head(&g, name);
	first = load_text(name, g.section, &good);
	golden_unset(&g);
	assert_true(fd != -1);
	close(fd);
	file_write(path, first);
	again = load_text(path, g.section, &good);
	if (!good)
		fail_msg("%s: what was printed does not parse: %s", name, again);
	if (g.env_count == 0) /* else the origin, which is a comment, differs */
		assert_string_equal(first, again);
	unlink(path);
	free(first);
	free(again);
}

static size_t
directory_check(const char *dir, bool good)
{
	char cwd[PATH_MAX];
	struct dirent **names;
	int count;
	size_t checked = 0;

	assert_non_null(getcwd(cwd, sizeof(cwd)));
	assert_int_equal(chdir(dir), 0);
	count = scandir(".", &names, NULL, alphasort);
	assert_true(count > 0);
	for (int i = 0; i < count; i++) {
		const char *dot = strrchr(names[i]->d_name, '.');

		if (dot != NULL && strcmp(dot, ".conf") == 0) {
			golden_check(names[i]->d_name, good);
			if (good)
				reparse_check(names[i]->d_name);
			checked++;
		}
		free(names[i]);
	}
	free(names);
	assert_int_equal(chdir(cwd), 0);
	return checked;
}

static void
test_good(void **state)
{
	(void)state;
	assert_true(directory_check("tests/config/good", true) >= 5);
}

static void
test_bad(void **state)
{
	(void)state;
	assert_true(directory_check("tests/config/bad", false) >= 10);
}

static struct conf *
load(const char *path)
{
	struct conf *c = conf_load(path, NULL, stderr);

	assert_non_null(c);
	return c;
}

static void
test_lookup(void **state)
{
	struct conf *c = load("tests/config/good/full.conf");

	(void)state;
	assert_string_equal(conf_str(c, "mesh", "id"), "01ARZ3NDEKTSV4RRFFQ69G5FAV");
	assert_int_equal(conf_int(c, "transportd", "heartbeat-interval"), 1500000);
	assert_int_equal(conf_int(c, "transportd", "heartbeat-misses"), 3);
	assert_int_equal(conf_int(c, "transportd", "link-queue"), 1048576);
	assert_int_equal(conf_count(c, "transportd", "listen"), 3);
	assert_string_equal(conf_item(c, "transportd", "listen", 1), "[2001:db8::1]:4443");
	assert_null(conf_item(c, "transportd", "listen", 3));
	assert_null(conf_str(c, "gatewayd", "tls-cert"));
	assert_int_equal(conf_block_count(c, "transportd", "peer"), 3);
	assert_string_equal(conf_block_name(c, "transportd", "peer", 1), "c");
	assert_int_equal(conf_block_values(c, "transportd", "peer", 0, "address"), 2);
	assert_string_equal(conf_block_item(c, "transportd", "peer", 0, "address", 1), "192.0.2.7:4443");
	assert_string_equal(conf_block_str(c, "transportd", "peer", 0, "node-id"), "0000000000001");
	assert_null(conf_block_str(c, "transportd", "peer", 1, "node-id"));
	assert_string_equal(conf_str(c, "transportd", "tls-ca") +
				strlen(conf_str(c, "transportd", "tls-ca")) -
				strlen("with \"quotes\" and \\ and $dir"),
	    "with \"quotes\" and \\ and $dir");
	conf_free(c);
}

static void
on_difference(void *arg, const char *what, bool reloadable)
{
	fprintf(arg, "%s: %s\n", what, reloadable ? "applied" : "restart needed");
}

static void
test_diff(void **state)
{
	struct conf *a = load("tests/config/good/full.conf"), *b = load("tests/config/good/minimal.conf");
	char *text;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	(void)state;
	conf_diff(a, a, "transportd", on_difference, f);
	fflush(f);
	assert_int_equal(size, 0);
	conf_diff(a, b, "transportd", on_difference, f);
	fclose(f);
	assert_non_null(strstr(text, "mesh: runtime-dir: restart needed\n"));
	assert_non_null(strstr(text, "transportd: heartbeat-interval: applied\n"));
	assert_non_null(strstr(text, "transportd: tls-cert: restart needed\n"));
	assert_non_null(strstr(text, "transportd: peer b removed: applied\n"));
	assert_null(strstr(text, "handshake-timeout: restart"));
	assert_null(strstr(text, "routerd"));
	free(text);
	conf_free(a);
	conf_free(b);
}

static void
test_files(void **state)
{
	struct conf *c = load("tests/config/good/include.conf");

	(void)state;
	assert_int_equal(conf_file_count(c), 3);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(conf_file(c, i)[0], '/');
	conf_free(c);
}

/* --- what all nodes share --- */

static void
put(struct buf *b, const char *key, const char *const *values, size_t count)
{
	assert_int_equal(conf_overlay_put(b, key, values, count), 0);
}

static void
put_one(struct buf *b, const char *key, const char *value)
{
	put(b, key, &value, 1);
}

static void
note(void *arg, const char *why)
{
	fprintf(arg, "%s\n", why);
}

static void
note_applied(void *arg, const char *key)
{
	fprintf(arg, "+%s\n", key);
}

/* Loads path with the overlay; *said is what was told of it. */
static struct conf *
load_over(const char *path, const char *section, const struct buf *body, char **said)
{
	size_t size;
	FILE *f = open_memstream(said, &size);
	const struct conf_overlay over = {.body = buf_head(body),
	    .len = buf_left(body),
	    .refused = note,
	    .applied = note_applied,
	    .arg = f};
	struct conf *c;

	assert_int_equal(conf_overlay_valid(over.body, over.len), 0);
	c = conf_load_over(path, section, &over, stderr);
	assert_non_null(c);
	fclose(f);
	return c;
}

static char *
print_text(const struct conf *c)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	conf_print(c, out);
	fclose(out);
	return text;
}

/* Environment, file, what is shared, default: the first that says something. */
static void
test_overlay_precedence(void **state)
{
	static const char *const denied[] = {"0000000000001", "0000000000002"};
	char *said, *text;
	struct conf *c;
	struct buf b;

	(void)state;
	buf_init(&b, CONF_OVERLAY_MAX_BYTES);
	put_one(&b, "heartbeat-interval", "7s"); /* full.conf has 1500ms */
	put_one(&b, "heartbeat-misses", "9");
	put_one(&b, "pending-max", "11");
	put(&b, "deny", denied, 2);
	assert_int_equal(setenv("MESH_TRANSPORTD_PENDING_MAX", "12", 1), 0);
	c = load_over("tests/config/good/full.conf", "transportd", &b, &said);
	assert_int_equal(unsetenv("MESH_TRANSPORTD_PENDING_MAX"), 0);
	assert_int_equal(conf_int(c, "transportd", "heartbeat-interval"), 1500000);
	assert_int_equal(conf_int(c, "transportd", "pending-max"), 12);
	assert_int_equal(conf_int(c, "transportd", "heartbeat-misses"), 9);
	assert_int_equal(conf_count(c, "transportd", "deny"), 2);
	assert_string_equal(said, "+heartbeat-misses\n+deny\n");
	text = print_text(c);
	assert_non_null(strstr(text, "\theartbeat-misses 9 # from the shared configuration\n"));
	assert_non_null(strstr(text, "\tdeny 0000000000001 0000000000002 # from the shared configuration\n"));
	assert_non_null(strstr(text, "\tpending-max 12 # from MESH_TRANSPORTD_PENDING_MAX\n"));
	free(text);
	free(said);
	conf_free(c);
	buf_fini(&b);
}

/* Each is left out alone, for its reason, and the default stays. */
static void
test_overlay_refused(void **state)
{
	char *said, long_text[CONF_WORD_MAX_BYTES + 1];
	struct conf *c;
	struct buf b;

	(void)state;
	buf_init(&b, CONF_OVERLAY_MAX_BYTES);
	put_one(&b, "pathz", "2");
	put_one(&b, "paths", "99");
	put_one(&b, "path-hysteresis", "a\x01z");
	put_one(&b, "user", "root");
	put_one(&b, "cost", "x");
	put(&b, "spf-delay", NULL, 0);
	put(&b, "suspicion-mult", (const char *const[]){"1", "2"}, 2);
	put_one(&b, "gossip-interval", "300ms");
	put_one(&b, "gossip-interval", "400ms");
	memset(long_text, 'x', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	put_one(&b, "log-level", long_text);
	c = load_over("tests/config/good/minimal.conf", "routerd", &b, &said);
	assert_int_equal(conf_int(c, "routerd", "paths"), 3);
	assert_int_equal(conf_int(c, "routerd", "gossip-interval"), 300000);
	assert_string_equal(conf_str(c, "routerd", "log-level"), "info");
	assert_non_null(strstr(said, "routerd: unknown directive 'pathz' (did you mean 'paths'?)\n"));
	assert_non_null(strstr(said, "routerd: paths: '99': out of range (1 to 8)\n"));
	assert_non_null(strstr(said, ": control character 0x01\n"));
	assert_non_null(strstr(said, "routerd: user can't be shared: it takes a restart to change it\n"));
	assert_non_null(strstr(said, "routerd: cost is a block: only directives can be shared\n"));
	assert_non_null(strstr(said, "routerd: spf-delay needs a value (time to collect changes"));
	assert_non_null(strstr(said, "routerd: suspicion-mult takes one value\n"));
	assert_non_null(strstr(said, "routerd: gossip-interval is there twice\n"));
	assert_non_null(strstr(said, "': not one of: error|warning"));
	free(said);
	conf_free(c);
	buf_fini(&b);
}

static void
test_overlay_check(void **state)
{
	char why[CONF_OVERLAY_WHY_SIZE], too_long[CONF_WORD_MAX_BYTES + 2];
	const char *one = "2", *bad = "two", *long_one = too_long, *key;

	(void)state;
	assert_true(conf_overlay_check("routerd", "paths", &one, 1, why));
	assert_false(conf_overlay_check("routerd", "paths", &bad, 1, why));
	assert_string_equal(why, "routerd: paths: 'two': not a whole number");
	memset(too_long, '1', sizeof(too_long) - 1);
	too_long[sizeof(too_long) - 1] = '\0';
	assert_false(conf_overlay_check("routerd", "paths", &long_one, 1, why));
	assert_string_equal(why, "routerd: paths: value is longer than 4095 bytes");
	/* What is shown of a value leaves room for the reason, and cuts no character. */
	memset(too_long, 'x', sizeof(too_long) - 2);
	too_long[sizeof(too_long) - 2] = '\0';
	memcpy(too_long + 199, "\xc3\xa4", 2);
	assert_false(conf_overlay_check("routerd", "paths", &long_one, 1, why));
	assert_non_null(strstr(why, "xxx…': not a whole number"));
	assert_string_equal(conf_overlay_section("routerd.paths", &key), "routerd");
	assert_string_equal(key, "paths");
	assert_string_equal(conf_overlay_section("routerd.", &key), "routerd");
	assert_null(conf_overlay_section("routerd", &key));
	assert_null(conf_overlay_section(".paths", &key));
	assert_null(conf_overlay_section("mesh.region", &key));
	assert_null(conf_overlay_section("shop.opening-hours", &key));
	assert_null(conf_overlay_section("", &key));
}

/* Whatever is cut off or added in between: never more than an error. */
static void
test_overlay_bytes(void **state)
{
	static uint8_t big[CONF_OVERLAY_MAX_BYTES + 1];
	struct buf b;

	(void)state;
	buf_init(&b, CONF_OVERLAY_MAX_BYTES);
	assert_int_equal(conf_overlay_valid(NULL, 0), 0);
	put_one(&b, "paths", "2");
	for (size_t len = 1; len < buf_left(&b); len++)
		assert_int_equal(conf_overlay_valid(buf_head(&b), len), ERR_SHORT);
	assert_int_equal(conf_overlay_valid(big, sizeof(big)), ERR_LIMIT);
	assert_int_equal(conf_overlay_valid((const uint8_t *)"\1a\1\0\1\0", 6), ERR_FORMAT);
	assert_int_equal(conf_overlay_valid((const uint8_t *)"\1a\1\xff\xff", 5), ERR_LIMIT);
	buf_fini(&b);
	/* What does not fit leaves nothing behind. */
	buf_init(&b, 8);
	assert_int_equal(conf_overlay_put(&b, "paths", (const char *const[]){"2"}, 1), ERR_LIMIT);
	assert_int_equal(buf_left(&b), 0);
	buf_fini(&b);
}

/* Whichever allocation fails: an error and nothing lost. */
static void
test_no_memory(void **state)
{
	FILE *null = fopen("/dev/null", "w");
	struct conf_overlay over = {.refused = note, .applied = note_applied, .arg = null};
	struct conf *c = NULL;
	struct buf b;

	(void)state;
	assert_non_null(null);
	buf_init(&b, CONF_OVERLAY_MAX_BYTES);
	put_one(&b, "pending-max", "12");
	put_one(&b, "pending-max", "13");
	over.body = buf_head(&b);
	over.len = buf_left(&b);
	for (unsigned long k = 1; c == NULL; k++) {
		mem_fail_at(k);
		c = conf_load_over("tests/config/good/full.conf", "transportd", &over, null);
		assert_true(k < 100000);
	}
	mem_fail_at(0);
	conf_free(c);
	buf_fini(&b);
	fclose(null);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_good),
	    cmocka_unit_test(test_bad),
	    cmocka_unit_test(test_lookup),
	    cmocka_unit_test(test_diff),
	    cmocka_unit_test(test_files),
	    cmocka_unit_test(test_overlay_precedence),
	    cmocka_unit_test(test_overlay_refused),
	    cmocka_unit_test(test_overlay_check),
	    cmocka_unit_test(test_overlay_bytes),
	    cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
