/* applier_rules: see applier_rules.h. */
#include "consensusd/applier_rules.h"

#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/conf.h"
#include "common/os/log.h"

unsigned
applier_operation_of(const char *name)
{
	static const char *const names[] = {"insert", "update", "delete", "upsert"};

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(name, names[i]) == 0)
			return 1U << i;
	return 0;
}

const struct applier_table *
applier_rules_table(const struct applier_rules *r, const char *name)
{
	for (size_t i = 0; i < r->table_count; i++)
		if (strcmp(r->tables[i].name, name) == 0)
			return &r->tables[i];
	return NULL;
}

static struct applier_column *
column_find(const struct applier_table *t, const char *name, size_t len)
{
	for (size_t i = 0; i < t->column_count; i++)
		if (strlen(t->columns[i].name) == len && memcmp(t->columns[i].name, name, len) == 0)
			return &t->columns[i];
	return NULL;
}

const struct applier_column *
applier_table_column(const struct applier_table *t, const char *name, size_t len)
{
	return column_find(t, name, len);
}

bool
applier_table_may(const struct applier_table *t, const char *tenant)
{
	for (size_t i = 0; i < t->tenant_count; i++)
		if (strcmp(t->tenants[i], tenant) == 0)
			return true;
	return false;
}

bool
applier_rules_may(const struct applier_rules *r, const char *tenant)
{
	for (size_t i = 0; i < r->table_count; i++)
		if (applier_table_may(&r->tables[i], tenant))
			return true;
	return false;
}

static int
tenants_take(struct applier_table *t, const struct conf *conf, size_t block)
{
	size_t n = conf_block_values(conf, "consensusd", "db-table", block, "stream-tenants");

	t->tenants = mem_calloc(n + 1, sizeof(*t->tenants));
	if (t->tenants == NULL)
		return ERR_NOMEM;
	for (t->tenant_count = 0; t->tenant_count < n; t->tenant_count++)
		snprintf(t->tenants[t->tenant_count], sizeof(t->tenants[0]), "%s",
		    conf_block_item(
			conf, "consensusd", "db-table", block, "stream-tenants", t->tenant_count));
	return 0;
}

static void
columns_take(struct applier_table *t, const struct conf *conf, size_t block, const char *directive, bool key)
{
	size_t n = conf_block_values(conf, "consensusd", "db-table", block, directive);

	for (size_t i = 0; i < n; i++) {
		const char *name = conf_block_item(conf, "consensusd", "db-table", block, directive, i);
		struct applier_column *c = column_find(t, name, strlen(name));

		if (c == NULL) {
			c = &t->columns[t->column_count++];
			snprintf(c->name, sizeof(c->name), "%s", name);
		}
		c->key |= key;
	}
}

static int
table_load(struct applier_table *t, const struct conf *conf, size_t block)
{
	size_t columns = conf_block_values(conf, "consensusd", "db-table", block, "columns");
	size_t keys = conf_block_values(conf, "consensusd", "db-table", block, "key");
	size_t operations = conf_block_values(conf, "consensusd", "db-table", block, "operations");

	snprintf(t->name, sizeof(t->name), "%s", conf_block_name(conf, "consensusd", "db-table", block));
	t->columns = mem_calloc(columns + keys + 1, sizeof(*t->columns));
	if (t->columns == NULL)
		return ERR_NOMEM;
	columns_take(t, conf, block, "columns", false);
	columns_take(t, conf, block, "key", true);
	for (size_t i = 0; i < operations; i++)
		t->operations |= applier_operation_of(
		    conf_block_item(conf, "consensusd", "db-table", block, "operations", i));
	return tenants_take(t, conf, block);
}

/* Updates may not reach what this daemon keeps for itself, or what PostgreSQL does. */
static int
schema_check(const char *schema)
{
	if (strcmp(schema, "mesh") != 0 && strcmp(schema, "information_schema") != 0 &&
	    strncmp(schema, "pg_", 3) != 0)
		return 0;
	log_error("db-schema: %s is not for database updates", schema);
	return ERR_FORMAT;
}

int
applier_rules_load(struct applier_rules *r, const struct conf *conf)
{
	size_t count = conf_block_count(conf, "consensusd", "db-table");
	int err;

	*r = (struct applier_rules){0};
	snprintf(r->schema, sizeof(r->schema), "%s", conf_str(conf, "consensusd", "db-schema"));
	r->skip = strcmp(conf_str(conf, "consensusd", "db-on-error"), "skip") == 0;
	r->batch_max = (size_t)conf_int(conf, "consensusd", "db-batch-max");
	r->timeout_ms = (uint32_t)(conf_int(conf, "consensusd", "db-timeout") / 1000);
	if ((err = schema_check(r->schema)) != 0)
		return err;
	r->tables = mem_calloc(count + 1, sizeof(*r->tables));
	if (r->tables == NULL)
		return ERR_NOMEM;
	for (size_t i = 0; i < count && err == 0; i++) {
		r->table_count++;
		err = table_load(&r->tables[i], conf, i);
	}
	if (err != 0)
		applier_rules_fini(r);
	return err;
}

void
applier_rules_fini(struct applier_rules *r)
{
	for (size_t i = 0; i < r->table_count; i++) {
		mem_free(r->tables[i].columns);
		mem_free(r->tables[i].tenants);
	}
	mem_free(r->tables);
	*r = (struct applier_rules){0};
}
