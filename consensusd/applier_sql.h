/*
 * applier_sql: a database update as a statement.
 *
 * Values never become part of the text: the update's key and row are one parameter each, as the JSON that
 * they are, and PostgreSQL itself makes a record of the table's type of them.  So every type that it can
 * read from JSON works, exactly.  Names are those of the configuration, quoted all the same.
 */
#ifndef CONSENSUSD_APPLIER_SQL_H
#define CONSENSUSD_APPLIER_SQL_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/must.h"
#include "consensusd/applier_rules.h"

enum {
	APPLIER_SQL_MAX_BYTES = 128 * 1024, /* 128 columns of 63 characters, up to five times */
	APPLIER_WHY_SIZE = 256,
	APPLIER_OPERATION_SIZE = 16,
};

/* What a DBUpdate of mesh.proto says.  Texts of key and row are borrowed, without a NUL at their end. */
struct applier_change {
	char table[APPLIER_NAME_SIZE];
	char operation[APPLIER_OPERATION_SIZE];
	const char *key, *row;
	size_t key_len, row_len;
	const char *tenant; /* whose stream carries it; NULL: the control group does */
};

struct applier_statement {
	struct buf sql;        /* ends with a NUL */
	const char *params[2]; /* $1: key, $2: row.  Borrowed from the change */
	size_t param_lens[2];
	int param_count;
};

/* Decodes what an update carries (not of whom).  ERR_FORMAT: it is no DBUpdate; then the change is empty. */
int applier_change_read(struct applier_change *c, const uint8_t *payload, size_t len) MUST_USE;

void applier_statement_init(struct applier_statement *s);
void applier_statement_fini(struct applier_statement *s);
/* Makes the statement.  ERR_NOMEM, or with why in words: ERR_DENIED (the rules do not allow it),
 * ERR_FORMAT. */
int applier_statement_make(struct applier_statement *s, const struct applier_rules *rules,
    const struct applier_change *c, char why[APPLIER_WHY_SIZE]) MUST_USE;

#endif
