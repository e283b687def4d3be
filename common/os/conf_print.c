/* conf_print: a configuration as text that parses again, and what differs between two. */
#include <string.h>

#include "common/base/mem.h"
#include "common/os/conf_impl.h"

enum { LINE_SIZE = CONF_WORD_MAX_BYTES + 1 };

static bool
needs_quotes(const char *s)
{
	if (s[0] == '\0' || s[0] == '#')
		return true;
	for (; *s != '\0'; s++)
		if (strchr(" \t\"{};$\\", *s) != NULL)
			return true;
	return false;
}

static void
print_word(const char *s, FILE *out)
{
	if (!needs_quotes(s)) {
		fputs(s, out);
		return;
	}
	fputc('"', out);
	for (; *s != '\0'; s++) {
		if (*s == '"' || *s == '\\')
			fputc('\\', out);
		fputc(*s, out);
	}
	fputc('"', out);
}

static void
print_values(const struct conf_directive *d, const struct conf_set *set, FILE *out)
{
	char text[LINE_SIZE];

	fputs(d->key, out);
	for (size_t i = 0; i < set->count; i++) {
		fputc(' ', out);
		conf_value_show(d, &set->values[i], text, sizeof(text));
		if (d->flags & CONF_SECRET)
			fputs("******", out);
		else
			print_word(text, out);
	}
}

static void
print_row(size_t row, const struct conf_set *set, const char *indent, FILE *out)
{
	const struct conf_directive *d = &conf_table[row];
	char env[CONF_ENV_NAME_SIZE];

	fputs(indent, out);
	/* What stands as a comment means the same when it is left out. */
	if (set->origin == CONF_FROM_DEFAULT || set->count == 0 || (d->flags & CONF_SECRET))
		fputs("# ", out);
	print_values(d, set, out);
	if (set->origin == CONF_FROM_ENV) {
		conf_env_name(d, env);
		fprintf(out, " # from %s", env);
	} else if (set->origin == CONF_FROM_SHARED) {
		fputs(" # from the shared configuration", out);
	} else if (set->count == 0) {
		fputs(" (not set)", out);
	}
	fputc('\n', out);
}

static void
print_block(const struct conf_block *b, FILE *out)
{
	fprintf(out, "\t%s \"%s\" {\n", b->kind, b->name);
	for (size_t i = 0; conf_table[i].section != NULL; i++)
		if (conf_row_in(i, b->section, b->kind))
			print_row(i, &b->sets[i], "\t\t", out);
	fputs("\t}\n", out);
}

static void
print_section(const struct conf *c, const char *section, FILE *out)
{
	fprintf(out, "%s {\n", section);
	for (size_t i = 0; conf_table[i].section != NULL; i++)
		if (conf_row_in(i, section, NULL))
			print_row(i, &c->sets[i], "\t", out);
	for (size_t i = 0; i < c->block_count; i++)
		if (strcmp(c->blocks[i].section, section) == 0)
			print_block(&c->blocks[i], out);
	fputs("}\n", out);
}

void
conf_print(const struct conf *c, FILE *out)
{
	const char *last = "";

	for (size_t i = 0; conf_table[i].section != NULL; i++) {
		if (strcmp(conf_table[i].section, last) == 0)
			continue;
		if (last[0] != '\0')
			fputc('\n', out);
		last = conf_table[i].section;
		print_section(c, last, out);
	}
}

/* --- differences --- */

struct diff {
	void (*fn)(void *arg, const char *what, bool reloadable);
	void *arg;
};

static bool
set_equal(const struct conf_set *a, const struct conf_set *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (a->values[i].num != b->values[i].num || strcmp(a->values[i].text, b->values[i].text) != 0)
			return false;
	return true;
}

static const struct conf_block *
block_twin(const struct conf *c, const struct conf_block *b)
{
	for (size_t i = 0; i < c->block_count; i++)
		if (strcmp(c->blocks[i].section, b->section) == 0 &&
		    strcmp(c->blocks[i].kind, b->kind) == 0 && strcmp(c->blocks[i].name, b->name) == 0)
			return &c->blocks[i];
	return NULL;
}

/* A block may come and go while running if all that it holds may change. */
static bool
block_reloadable(const struct conf_block *b)
{
	for (size_t i = 0; conf_table[i].section != NULL; i++)
		if (conf_row_in(i, b->section, b->kind) && (conf_table[i].flags & CONF_RELOAD) == 0)
			return false;
	return true;
}

static void
diff_block(const struct diff *d, const struct conf_block *a, const struct conf_block *b)
{
	char what[256];

	for (size_t i = 0; conf_table[i].section != NULL; i++) {
		if (!conf_row_in(i, a->section, a->kind) || set_equal(&a->sets[i], &b->sets[i]))
			continue;
		snprintf(
		    what, sizeof(what), "%s: %s %s: %s", a->section, a->kind, a->name, conf_table[i].key);
		d->fn(d->arg, what, (conf_table[i].flags & CONF_RELOAD) != 0);
	}
}

static void
diff_blocks(const struct diff *d, const struct conf *a, const struct conf *b, const char *section, bool added)
{
	char what[256];

	for (size_t i = 0; i < a->block_count; i++) {
		const struct conf_block *mine = &a->blocks[i], *twin = block_twin(b, mine);

		if (strcmp(mine->section, section) != 0)
			continue;
		if (twin == NULL) {
			snprintf(what, sizeof(what), "%s: %s %s %s", mine->section, mine->kind, mine->name,
			    added ? "added" : "removed");
			d->fn(d->arg, what, block_reloadable(mine));
		} else if (!added) {
			diff_block(d, mine, twin);
		}
	}
}

void
conf_diff(const struct conf *a, const struct conf *b, const char *section,
    void (*fn)(void *arg, const char *what, bool reloadable), void *arg)
{
	const struct diff d = {.fn = fn, .arg = arg};
	char what[256];

	for (size_t i = 0; conf_table[i].section != NULL; i++) {
		const struct conf_directive *row = &conf_table[i];

		if (row->block != NULL || set_equal(&a->sets[i], &b->sets[i]) ||
		    (strcmp(row->section, section) != 0 && strcmp(row->section, "mesh") != 0))
			continue;
		snprintf(what, sizeof(what), "%s: %s", row->section, row->key);
		fn(arg, what, (row->flags & CONF_RELOAD) != 0);
	}
	diff_blocks(&d, a, b, section, false);
	diff_blocks(&d, b, a, section, true);
}
