/* store_pg_migrate: see store_pg_migrate.h. */
#include "consensusd/store_pg_migrate.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <postgresql/libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/log.h"
#include "consensusd/store_pg.h"

enum { NUMBER_DIGITS = 4, CHECKSUM_HEX_SIZE = 2 * CRYPTO_HASH_BYTES + 1 };

/* ---- the files ---- */

/* "0001_init.sql" -> 1; 0: no migration's name. */
static unsigned long
number_of(const char *name)
{
	size_t n = strspn(name, "0123456789"), len = strlen(name);

	if (n != NUMBER_DIGITS || name[n] != '_' || len < 4 || strcmp(name + len - 4, ".sql") != 0)
		return 0;
	return strtoul(name, NULL, 10);
}

static int
read_whole(int fd, char *out, size_t size)
{
	size_t at = 0;

	while (at < size) {
		ssize_t n = read(fd, out + at, size - at);

		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0)
			return ERR_IO;
		at += (size_t)n;
	}
	out[at] = '\0';
	return 0;
}

static int
file_read(struct store_migration *m, int dir_fd, const char *name)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC), err = 0;
	struct stat st;
	size_t size;

	if (fd == -1 || fstat(fd, &st) == -1 || !S_ISREG(st.st_mode))
		err = ERR_IO;
	else if (st.st_size > STORE_MIGRATION_MAX_BYTES)
		err = ERR_LIMIT;
	if (err == 0) {
		size = (size_t)st.st_size;
		m->name = mem_strdup(name);
		m->sql = mem_calloc(1, size + 1);
		err = m->name == NULL || m->sql == NULL ? ERR_NOMEM : read_whole(fd, m->sql, size);
	}
	if (err == 0)
		crypto_hash(m->checksum, m->sql, size);
	else
		log_error("store: migration %s: %s", name, err_text(err));
	if (fd != -1)
		close(fd);
	return err;
}

static int
file_take(struct store_migrations *m, int dir_fd, const char *name)
{
	unsigned long number = number_of(name);

	if (number == 0)
		return 0;
	if (number > STORE_SCHEMA_VERSION) {
		log_notice("store: migration %s is newer than this program: ignored", name);
		return 0;
	}
	if (m->files[number - 1].name != NULL) {
		log_error(
		    "store: migrations %s and %s have the same number", m->files[number - 1].name, name);
		return ERR_FORMAT;
	}
	return file_read(&m->files[number - 1], dir_fd, name);
}

static int
files_take(struct store_migrations *m, int dir_fd)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), err = 0;
	DIR *dir = fd == -1 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (dir == NULL) {
		log_error("store: directory of migrations (sql-dir): %s", strerror(errno));
		if (fd != -1)
			close(fd);
		return ERR_IO;
	}
	while (err == 0 && (e = readdir(dir)) != NULL)
		err = file_take(m, dir_fd, e->d_name);
	closedir(dir);
	return err;
}

int
store_migrations_init(struct store_migrations *m, int dir_fd, bool apply)
{
	int err;

	*m = (struct store_migrations){.apply = apply && dir_fd >= 0};
	if (dir_fd < 0)
		return 0;
	err = files_take(m, dir_fd);
	for (size_t i = 0; i < STORE_SCHEMA_VERSION && err == 0; i++)
		if (m->files[i].name == NULL) {
			log_error("store: migration %04zu is missing in sql-dir", i + 1);
			err = ERR_NOENT;
		}
	if (err != 0)
		store_migrations_fini(m);
	m->present = err == 0;
	return err;
}

void
store_migrations_fini(struct store_migrations *m)
{
	for (size_t i = 0; i < STORE_SCHEMA_VERSION; i++) {
		mem_free(m->files[i].name);
		mem_free(m->files[i].sql);
		m->files[i] = (struct store_migration){0};
	}
}

/* ---- the database ---- */

int
store_schema_ask(struct store *s)
{
	s->migrated = 0;
	return PQsendQuery(
		   store_conn_pg(s->writer), "SELECT to_regclass('mesh.schema_version') IS NOT NULL") != 0
		   ? 0
		   : ERR_CLOSED;
}

void
store_schema_answer(struct store *s, const struct pg_result *res)
{
	bool there = PQntuples(res) == 1 && strcmp(PQgetvalue(res, 0, 0), "t") == 0;

	if (!there && !s->migrations.apply)
		store_setup_fail(s, true,
		    "the database has no schema \"mesh\", and migrate is \"check\": "
		    "apply the migrations of sql-dir by hand");
	s->migrated = there ? 1 : 0;
}

int
store_version_ask(struct store *s)
{
	if (s->migrated == 0)
		return 1; /* there is no table yet */
	return PQsendQuery(store_conn_pg(s->writer),
		   "SELECT version, encode(checksum, 'hex') FROM mesh.schema_version ORDER BY version") != 0
		   ? 0
		   : ERR_CLOSED;
}

static void
checksum_text(char out[CHECKSUM_HEX_SIZE], const uint8_t checksum[CRYPTO_HASH_BYTES])
{
	for (size_t i = 0; i < CRYPTO_HASH_BYTES; i++)
		snprintf(out + 2 * i, 3, "%02x", checksum[i]);
}

/* A version that the database has against the file that we have. */
static void
version_check(struct store *s, unsigned long version, const char *checksum)
{
	const struct store_migrations *m = &s->migrations;
	char ours[CHECKSUM_HEX_SIZE];

	if (version > STORE_SCHEMA_VERSION) {
		store_setup_fail(s, true,
		    "the database's schema is version %lu, this program knows %d: "
		    "install the newer program",
		    version, STORE_SCHEMA_VERSION);
		return;
	}
	if (version != s->migrated + 1) {
		store_setup_fail(s, true, "schema_version has %lu after %zu", version, s->migrated);
		return;
	}
	s->migrated = version;
	if (!m->present || checksum[0] == '\0')
		return; /* nothing to compare, or applied by hand */
	checksum_text(ours, m->files[version - 1].checksum);
	if (strcmp(checksum, ours) != 0)
		store_setup_fail(s, true, "migration %s is not the file that was applied to this database",
		    m->files[version - 1].name);
}

void
store_version_answer(struct store *s, const struct pg_result *res)
{
	s->migrated = 0;
	for (int i = 0; i < PQntuples(res) && !s->setup.failed; i++)
		version_check(s, strtoul(PQgetvalue(res, i, 0), NULL, 10), PQgetvalue(res, i, 1));
	if (!s->setup.failed && s->migrated < STORE_SCHEMA_VERSION && !s->migrations.apply)
		store_setup_fail(s, true,
		    "the database's schema is version %zu, this program needs %d, and "
		    "migrate is \"check\": apply the migrations by hand",
		    s->migrated, STORE_SCHEMA_VERSION);
}

/* One file in one transaction; it ends with its own row of schema_version, to which we add what we
 * read.  A file is trusted as the program is. */
static char *
transaction_of(const struct store_migration *m, size_t version)
{
	static const char form[] = "BEGIN;\n%s\nUPDATE mesh.schema_version SET checksum = '\\x%s'"
				   " WHERE version = %zu;\nCOMMIT";
	char checksum[CHECKSUM_HEX_SIZE];
	size_t size = sizeof(form) + strlen(m->sql) + sizeof(checksum) + 24;
	char *sql = mem_calloc(1, size);

	checksum_text(checksum, m->checksum);
	if (sql != NULL)
		snprintf(sql, size, form, m->sql, checksum, version);
	return sql;
}

int
store_migrate_ask(struct store *s)
{
	const struct store_migration *m;
	char *sql;
	int sent;

	if (s->migrated >= STORE_SCHEMA_VERSION)
		return 1;
	m = &s->migrations.files[s->migrated];
	sql = transaction_of(m, s->migrated + 1);
	if (sql == NULL)
		return ERR_NOMEM;
	sent = PQsendQuery(store_conn_pg(s->writer), sql);
	mem_free(sql);
	if (sent == 0)
		return ERR_CLOSED;
	log_notice("store: applying migration %s", m->name);
	s->migrated++;
	s->setup.again = true;
	return 0;
}

void
store_migrate_answer(struct store *s, const struct pg_result *res)
{
	/* Of the results of the file only errors matter, and those end the checklist before this. */
	(void)s;
	(void)res;
}
