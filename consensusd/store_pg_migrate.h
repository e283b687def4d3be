/*
 * store_pg_migrate: the numbered SQL files that make and change the schema (etc/sql/0001_init.sql …).
 *
 * They are read once, at start, from a directory that is open.  schema_version records what a database
 * has, with a checksum of the file: a file that was changed after it was applied is refused.
 */
#ifndef CONSENSUSD_STORE_PG_MIGRATE_H
#define CONSENSUSD_STORE_PG_MIGRATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "common/os/crypto.h"

struct pg_conn;
struct pg_result;
struct store;

enum {
	STORE_SCHEMA_VERSION = 6, /* what this program needs: the number of the last file */
	STORE_MIGRATION_MAX_BYTES = 256 * 1024,
};

struct store_migration {
	char *name; /* "0001_init.sql" */
	char *sql;
	uint8_t checksum[CRYPTO_HASH_BYTES];
};

struct store_migrations {
	struct store_migration files[STORE_SCHEMA_VERSION]; /* of version i + 1 */
	bool present;                                       /* the files were read */
	bool apply;
};

/* Reads the files from dir_fd (-1: none; then the database can only be checked).  Logs what is wrong:
 * ERR_NOENT, ERR_LIMIT, ERR_FORMAT (numbers), ERR_IO, ERR_NOMEM. */
int store_migrations_init(struct store_migrations *m, int dir_fd, bool apply) MUST_USE;
void store_migrations_fini(struct store_migrations *m);

/* Three steps of the setup: is there a schema, which version is it, apply what is missing. */
int store_schema_ask(struct store *s) MUST_USE;
void store_schema_answer(struct store *s, const struct pg_result *res);
int store_version_ask(struct store *s) MUST_USE;
void store_version_answer(struct store *s, const struct pg_result *res);
int store_migrate_ask(struct store *s) MUST_USE;
void store_migrate_answer(struct store *s, const struct pg_result *res);

#endif
