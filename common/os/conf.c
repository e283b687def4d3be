/* conf: loading a configuration and looking things up in it; see conf.h. */
#include "common/os/conf.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/conf_impl.h"

/* --- loading --- */

static void
default_fill(struct conf_set *sets, size_t row, struct conf_report *r)
{
	const struct conf_directive *d = &conf_table[row];
	char why[CONF_WHY_SIZE];
	int e;

	if (sets[row].line != 0 || sets[row].origin != CONF_FROM_DEFAULT || d->fallback == NULL)
		return;
	e = conf_set_add(&sets[row], d, d->fallback, NULL, why);
	if (e == ERR_NOMEM)
		conf_nomem(r);
	else
		MUST(e == 0); /* the table's own default */
}

static void
section_complete(struct conf *c, const char *shown, const char *require, struct conf_report *r)
{
	for (size_t i = 0; conf_table[i].section != NULL; i++) {
		const struct conf_directive *d = &conf_table[i];
		const struct conf_set *set = &c->sets[i];

		if (d->block != NULL)
			continue;
		default_fill(c->sets, i, r);
		/* A value that was there and wrong has been complained about already. */
		if ((d->flags & CONF_REQUIRED) && set->count == 0 && set->line == 0 &&
		    set->origin != CONF_FROM_ENV && require != NULL &&
		    (strcmp(d->section, require) == 0 || strcmp(d->section, "mesh") == 0))
			conf_complain(r, shown, 0, "%s: '%s' is missing (%s)", d->section, d->key, d->help);
	}
}

/* The value of a directive of a block, NULL if it was not given. */
static const char *
block_value(const struct conf_block *b, const char *key)
{
	const struct conf_set *set = &b->sets[conf_row(b->section, b->kind, key)];

	return set->count != 0 ? set->values[0].text : NULL;
}

static bool
value_is(const char *value, const char *wanted)
{
	return value != NULL && (wanted == NULL || strcmp(value, wanted) == 0);
}

static void
block_needs(const struct conf_block *b, struct conf_report *r)
{
	for (const struct conf_need *n = conf_needs; n->section != NULL; n++) {
		if (strcmp(n->section, b->section) != 0 || strcmp(n->block, b->kind) != 0 ||
		    !value_is(block_value(b, n->key), n->value) ||
		    value_is(block_value(b, n->other), n->other_value))
			continue;
		conf_complain(r, b->file, b->line, "%s: %s %s: '%s%s%s' needs '%s%s%s'", b->section, b->kind,
		    b->name, n->key, n->value != NULL ? " " : "", n->value != NULL ? n->value : "", n->other,
		    n->other_value != NULL ? " " : "", n->other_value != NULL ? n->other_value : "");
	}
}

static void
block_complete(struct conf_block *b, struct conf_report *r)
{
	for (size_t i = 0; conf_table[i].section != NULL; i++) {
		const struct conf_directive *d = &conf_table[i];

		if (!conf_row_in(i, b->section, b->kind))
			continue;
		default_fill(b->sets, i, r);
		if ((d->flags & CONF_REQUIRED) && b->sets[i].count == 0 && b->sets[i].line == 0)
			conf_complain(r, b->file, b->line, "%s: %s %s: '%s' is missing (%s)", b->section,
			    b->kind, b->name, d->key, d->help);
	}
	block_needs(b, r);
}

struct conf *
conf_load(const char *path, const char *require, FILE *err)
{
	return conf_load_over(path, require, NULL, err);
}

struct conf *
conf_load_over(const char *path, const char *require, const struct conf_overlay *over, FILE *err)
{
	struct conf_report r = {.out = err};
	struct conf *c = mem_calloc(1, sizeof(*c));

	if (c != NULL)
		c->sets = mem_calloc(conf_row_count(), sizeof(*c->sets));
	if (c == NULL || c->sets == NULL) {
		conf_nomem(&r);
		conf_free(c);
		return NULL;
	}
	conf_parse(c, path, &r);
	conf_env_apply(c, &r);
	conf_overlay_apply(c, require, over, &r);
	/* Without the file everything would be missing: one line says enough. */
	if (!r.fatal && !c->unread)
		section_complete(c, path, require, &r);
	for (size_t i = 0; i < c->block_count && !r.fatal; i++)
		block_complete(&c->blocks[i], &r);
	if (r.count == 0)
		return c;
	conf_free(c);
	return NULL;
}

void
conf_free(struct conf *c)
{
	size_t rows = conf_row_count();

	if (c == NULL)
		return;
	for (size_t i = 0; i < c->block_count; i++) {
		for (size_t k = 0; k < rows; k++)
			conf_set_clear(&c->blocks[i].sets[k]);
		mem_free(c->blocks[i].sets);
		mem_free(c->blocks[i].name);
	}
	for (size_t k = 0; c->sets != NULL && k < rows; k++)
		conf_set_clear(&c->sets[k]);
	for (size_t i = 0; i < c->file_count; i++) {
		mem_free(c->files[i]);
		mem_free(c->shown[i]);
	}
	mem_free(c->blocks);
	mem_free(c->sets);
	mem_free(c);
}

size_t
conf_file_count(const struct conf *c)
{
	return c->file_count;
}

const char *
conf_file(const struct conf *c, size_t i)
{
	MUST(i < c->file_count);
	return c->files[i];
}

/* --- values --- */

static const struct conf_set *
set_get(const struct conf *c, const char *section, const char *key)
{
	long row = conf_row(section, NULL, key);

	MUST(row >= 0);
	return &c->sets[row];
}

static const struct conf_block *
block_get(const struct conf *c, const char *section, const char *block, size_t i)
{
	MUST(conf_block_known(section, block) != NULL);
	for (size_t k = 0; k < c->block_count; k++) {
		const struct conf_block *b = &c->blocks[k];

		if (strcmp(b->section, section) == 0 && strcmp(b->kind, block) == 0 && i-- == 0)
			return b;
	}
	return NULL;
}

static const struct conf_set *
block_set(const struct conf *c, const char *section, const char *block, size_t i, const char *key)
{
	const struct conf_block *b = block_get(c, section, block, i);
	long row = conf_row(section, block, key);

	MUST(b != NULL && row >= 0);
	return &b->sets[row];
}

static const char *
set_str(const struct conf_set *s, size_t i)
{
	return i < s->count ? s->values[i].text : NULL;
}

static int64_t
set_int(const struct conf_set *s)
{
	return s->count > 0 ? s->values[0].num : 0;
}

const char *
conf_str(const struct conf *c, const char *section, const char *key)
{
	return set_str(set_get(c, section, key), 0);
}

int64_t
conf_int(const struct conf *c, const char *section, const char *key)
{
	return set_int(set_get(c, section, key));
}

bool
conf_bool(const struct conf *c, const char *section, const char *key)
{
	return conf_int(c, section, key) != 0;
}

size_t
conf_count(const struct conf *c, const char *section, const char *key)
{
	return set_get(c, section, key)->count;
}

const char *
conf_item(const struct conf *c, const char *section, const char *key, size_t i)
{
	return set_str(set_get(c, section, key), i);
}

size_t
conf_block_count(const struct conf *c, const char *section, const char *block)
{
	size_t n = 0;

	while (block_get(c, section, block, n) != NULL)
		n++;
	return n;
}

const char *
conf_block_name(const struct conf *c, const char *section, const char *block, size_t i)
{
	const struct conf_block *b = block_get(c, section, block, i);

	MUST(b != NULL);
	return b->name;
}

const char *
conf_block_str(const struct conf *c, const char *section, const char *block, size_t i, const char *key)
{
	return set_str(block_set(c, section, block, i, key), 0);
}

int64_t
conf_block_int(const struct conf *c, const char *section, const char *block, size_t i, const char *key)
{
	return set_int(block_set(c, section, block, i, key));
}

size_t
conf_block_values(const struct conf *c, const char *section, const char *block, size_t i, const char *key)
{
	return block_set(c, section, block, i, key)->count;
}

const char *
conf_block_item(
    const struct conf *c, const char *section, const char *block, size_t i, const char *key, size_t n)
{
	return set_str(block_set(c, section, block, i, key), n);
}
