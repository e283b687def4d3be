/*
 * applier_rules: what the configuration says of database updates: which tables, columns and operations
 * they may have, and what happens to one that fails.
 */
#ifndef CONSENSUSD_APPLIER_RULES_H
#define CONSENSUSD_APPLIER_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/id.h"
#include "common/base/must.h"

struct conf;

enum { APPLIER_NAME_SIZE = 64 };

enum applier_operation { APPLIER_INSERT = 1, APPLIER_UPDATE = 2, APPLIER_DELETE = 4, APPLIER_UPSERT = 8 };

struct applier_column {
	char name[APPLIER_NAME_SIZE];
	bool key;
};

struct applier_table {
	char name[APPLIER_NAME_SIZE];
	unsigned operations; /* enum applier_operation */
	struct applier_column *columns;
	size_t column_count;
	char (*tenants)[TENANT_TEXT_SIZE]; /* whose streams may write to it */
	size_t tenant_count;
};

struct applier_rules {
	char schema[APPLIER_NAME_SIZE];
	struct applier_table *tables;
	size_t table_count; /* 0: this node takes no part */
	bool skip;          /* an update that fails is put aside; otherwise those after it wait */
	size_t batch_max;   /* updates in one transaction */
	uint32_t timeout_ms;
};

/* Logs what is wrong with it: ERR_FORMAT; or ERR_NOMEM. */
int applier_rules_load(struct applier_rules *r, const struct conf *conf) MUST_USE;
void applier_rules_fini(struct applier_rules *r);

/* NULL: it is not allowed. */
const struct applier_table *applier_rules_table(const struct applier_rules *r, const char *name);
const struct applier_column *applier_table_column(
    const struct applier_table *t, const char *name, size_t len);
/* Whether streams of the tenant may write to it. */
bool applier_table_may(const struct applier_table *t, const char *tenant);
/* To any table. */
bool applier_rules_may(const struct applier_rules *r, const char *tenant);
/* 0: unknown. */
unsigned applier_operation_of(const char *name);

#endif
