/* conf_parse: statements of a configuration file. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/id.h"
#include "common/base/mem.h"
#include "common/os/conf_impl.h"

enum { WORDS_MAX = CONF_LIST_MAX + 2 };

struct statement {
	struct buf text; /* the words, each with NUL */
	size_t at[WORDS_MAX];
	size_t count;
	unsigned line;
};

struct parser {
	struct conf *c;
	struct conf_report *report;
	struct conf_macros macros;
	struct statement st;
	const char *section;      /* table's string, NULL: outside */
	struct conf_block *block; /* NULL: not in one */
	unsigned skipping;        /* braces open in a part that is not understood */
	unsigned include_depth;
};

/* One file that is being read. */
struct source {
	const char *path, *shown;
	char dir[PATH_MAX];
	struct conf_lex lex;
	unsigned nesting; /* sections and blocks opened here and not yet closed */
};

static const char *
word(const struct parser *p, size_t i)
{
	return (const char *)buf_head(&p->st.text) + p->st.at[i];
}

/* "transportd: peer b: ", "" outside of sections. */
static const char *
where(const struct parser *p, char out[192])
{
	if (p->section == NULL)
		out[0] = '\0';
	else if (p->block == NULL)
		snprintf(out, 192, "%s: ", p->section);
	else
		snprintf(out, 192, "%s: %s %s: ", p->section, p->block->kind, p->block->name);
	return out;
}

/* --- directives --- */

static struct conf_set *
set_of(const struct parser *p, size_t row)
{
	return p->block != NULL ? &p->block->sets[row] : &p->c->sets[row];
}

static void
values_add(struct parser *p, const struct source *src, struct conf_set *set, const struct conf_directive *d)
{
	char why[CONF_WHY_SIZE], ctx[192];

	for (size_t i = 1; i < p->st.count; i++) {
		int r = conf_set_add(set, d, word(p, i), src->dir, why);

		if (r == ERR_NOMEM)
			conf_nomem(p->report);
		else if (r != 0)
			conf_complain(p->report, src->shown, p->st.line, "%s%s: '%s': %s", where(p, ctx),
			    d->key, word(p, i), why);
	}
}

static void
directive_unknown(struct parser *p, const struct source *src)
{
	const char *key = word(p, 0);
	char hint[CONF_HINT_SIZE], ctx[192];

	if (p->section == NULL) {
		conf_complain(p->report, src->shown, p->st.line,
		    "'%s' outside of a section: directives stand in `section { … }`", key);
	} else if (p->block == NULL && conf_block_known(p->section, key) != NULL) {
		conf_complain(p->report, src->shown, p->st.line,
		    "%s%s needs a name and a block: %s \"name\" { … }", where(p, ctx), key, key);
	} else {
		conf_hint_key(hint, p->section, p->block != NULL ? p->block->kind : NULL, key);
		conf_complain(p->report, src->shown, p->st.line, "%sunknown directive '%s'%s", where(p, ctx),
		    key, hint);
	}
}

static void
directive(struct parser *p, const struct source *src)
{
	long row = p->section == NULL
		       ? -1
		       : conf_row(p->section, p->block != NULL ? p->block->kind : NULL, word(p, 0));
	const struct conf_directive *d = &conf_table[row < 0 ? 0 : row];
	struct conf_set *set;
	char ctx[192];

	if (row < 0) {
		directive_unknown(p, src);
		return;
	}
	set = set_of(p, (size_t)row);
	if (p->st.count < 2) {
		conf_complain(p->report, src->shown, p->st.line, "%s%s needs a value (%s)", where(p, ctx),
		    d->key, d->help);
		return;
	}
	if ((d->flags & CONF_LIST) == 0 && p->st.count > 2) {
		conf_complain(p->report, src->shown, p->st.line,
		    "%s%s takes one value: quote it if it has blanks", where(p, ctx), d->key);
		return;
	}
	if ((d->flags & CONF_LIST) == 0 && set->line != 0) {
		conf_complain(p->report, src->shown, p->st.line, "%s%s is already set at %s:%u",
		    where(p, ctx), d->key, set->file, set->line);
		return;
	}
	if (set->line == 0) {
		set->origin = CONF_FROM_FILE;
		set->file = src->shown;
		set->line = p->st.line;
	}
	values_add(p, src, set, d);
}

/* --- sections and blocks --- */

static void
section_open(struct parser *p, struct source *src)
{
	char hint[CONF_HINT_SIZE];

	if (p->st.count == 1)
		p->section = conf_section_known(word(p, 0));
	if (p->section != NULL) {
		src->nesting++;
		return;
	}
	p->skipping = 1;
	if (p->st.count != 1) {
		conf_complain(p->report, src->shown, p->st.line, "a section has one word before its '{'");
		return;
	}
	conf_hint_section(hint, word(p, 0));
	conf_complain(p->report, src->shown, p->st.line, "unknown section '%s'%s", word(p, 0), hint);
}

static const struct conf_block *
block_find(const struct conf *c, const char *section, const char *kind, const char *name)
{
	for (size_t i = 0; i < c->block_count; i++) {
		const struct conf_block *b = &c->blocks[i];

		if (b->section == section && strcmp(b->kind, kind) == 0 && strcmp(b->name, name) == 0)
			return b;
	}
	return NULL;
}

static struct conf_block *
block_add(struct conf *c, const char *section, const char *kind, const char *name)
{
	struct conf_block *grown = mem_reallocarray(c->blocks, c->block_count + 1, sizeof(*grown));
	struct conf_block *b;

	if (grown == NULL)
		return NULL;
	c->blocks = grown;
	b = &c->blocks[c->block_count];
	*b = (struct conf_block){.section = section, .kind = kind};
	b->name = mem_strdup(name);
	b->sets = mem_calloc(conf_row_count(), sizeof(*b->sets));
	if (b->name == NULL || b->sets == NULL) {
		mem_free(b->name);
		mem_free(b->sets);
		return NULL;
	}
	c->block_count++;
	return b;
}

/* What names blocks of this kind may have; NULL: any. */
static const struct conf_names *
block_names(const char *section, const char *kind)
{
	for (const struct conf_names *n = conf_names; n->section != NULL; n++)
		if (strcmp(n->section, section) == 0 && strcmp(n->block, kind) == 0)
			return n;
	return NULL;
}

/* Says what is wrong with the name of a block that may not have any. */
static bool
block_name_check(struct parser *p, const struct source *src, const char *kind)
{
	const struct conf_names *n = block_names(p->section, kind);

	if (n == NULL)
		return true;
	if (n->names != NULL && !conf_choice(n->names, word(p, 1))) {
		conf_complain(p->report, src->shown, p->st.line, "%s: there is no %s '%s': one of %s",
		    p->section, kind, word(p, 1), n->names);
		return false;
	}
	if (n->type == CONF_SQL_NAME && !conf_sql_name_valid(word(p, 1))) {
		conf_complain(p->report, src->shown, p->st.line,
		    "%s: %s '%s': not 1 to 63 of a to z, digits and '_', no digit first", p->section, kind,
		    word(p, 1));
		return false;
	}
	return true;
}

/* Says what is wrong with `kind "name" {`; true if nothing is. */
static bool
block_check(struct parser *p, const struct source *src, const char *kind)
{
	const struct conf_block *twin;
	char hint[CONF_HINT_SIZE];

	if (kind == NULL) {
		conf_hint_key(hint, p->section, NULL, word(p, 0));
		conf_complain(p->report, src->shown, p->st.line, "%s: unknown block '%s'%s", p->section,
		    word(p, 0), hint);
		return false;
	}
	if (p->st.count != 2 || !node_name_valid(word(p, 1))) {
		conf_complain(p->report, src->shown, p->st.line,
		    "%s: %s needs one name of 1 to 63 letters, digits, '.', '_' and '-'", p->section, kind);
		return false;
	}
	if (!block_name_check(p, src, kind))
		return false;
	twin = block_find(p->c, p->section, kind, word(p, 1));
	if (twin != NULL) {
		conf_complain(p->report, src->shown, p->st.line, "%s: %s %s is already defined at %s:%u",
		    p->section, kind, word(p, 1), twin->file, twin->line);
		return false;
	}
	if (p->c->block_count >= CONF_BLOCKS_MAX) {
		conf_complain(p->report, src->shown, p->st.line, "more than %d blocks", CONF_BLOCKS_MAX);
		return false;
	}
	return true;
}

static void
block_open(struct parser *p, struct source *src)
{
	const char *kind = conf_block_known(p->section, word(p, 0));

	if (!block_check(p, src, kind)) {
		p->skipping = 1;
		return;
	}
	p->block = block_add(p->c, p->section, kind, word(p, 1));
	if (p->block == NULL) {
		conf_nomem(p->report);
		return;
	}
	p->block->file = src->shown;
	p->block->line = p->st.line;
	src->nesting++;
}

static void
brace_open(struct parser *p, struct source *src)
{
	if (p->block != NULL) {
		conf_complain(p->report, src->shown, p->st.line, "blocks do not nest");
		p->skipping = 1;
	} else if (p->section != NULL) {
		block_open(p, src);
	} else {
		section_open(p, src);
	}
}

static void
brace_close(struct parser *p, struct source *src)
{
	if (src->nesting == 0) {
		conf_complain(p->report, src->shown, src->lex.line, "'}' without a '{' in this file");
		return;
	}
	src->nesting--;
	if (p->block != NULL)
		p->block = NULL;
	else
		p->section = NULL;
}

/* --- statements --- */

/* from: the file whose include statement this is; NULL: the main file. */
static void file_parse(struct parser *p, const char *path, const char *shown, const struct source *from);

static void
include(struct parser *p, const struct source *src)
{
	char path[PATH_MAX], shown[PATH_MAX];
	const char *name = word(p, 1);
	const char *slash = strrchr(src->shown, '/');
	int n, m;

	if (p->st.count != 2) {
		conf_complain(p->report, src->shown, p->st.line, "include takes one file");
		return;
	}
	if (name[0] == '/') {
		n = snprintf(path, sizeof(path), "%s", name);
		m = snprintf(shown, sizeof(shown), "%s", name);
	} else {
		n = snprintf(path, sizeof(path), "%s/%s", src->dir, name);
		m = snprintf(shown, sizeof(shown), "%.*s%s",
		    slash != NULL ? (int)(slash - src->shown + 1) : 0, src->shown, name);
	}
	if (n < 0 || (size_t)n >= sizeof(path) || m < 0 || (size_t)m >= sizeof(shown))
		conf_complain(p->report, src->shown, p->st.line, "include: path is too long");
	else if (p->include_depth >= CONF_INCLUDE_DEPTH_MAX)
		conf_complain(p->report, src->shown, p->st.line,
		    "include: more than %d files deep (does a file include itself?)", CONF_INCLUDE_DEPTH_MAX);
	else if (p->c->file_count >= CONF_FILES_MAX)
		conf_complain(
		    p->report, src->shown, p->st.line, "include: more than %d files", CONF_FILES_MAX);
	else
		file_parse(p, path, shown, src);
}

/* The value of a macro; NULL after complaining. */
static const char *
macro_value(struct parser *p, struct source *src, const char *name)
{
	struct conf_lex *x = &src->lex;
	const char *at;
	unsigned line;
	enum conf_token t;

	if (!conf_lex_assign(x)) {
		conf_complain(p->report, src->shown, x->line, "'=' expected after '$%s'", name);
		conf_lex_skip(x);
		return NULL;
	}
	at = x->p;
	line = x->line;
	t = conf_lex_next(x, false);
	if (t == CONF_T_WORD || t == CONF_T_QUOTED)
		return x->word;
	if (t == CONF_T_ERROR) {
		conf_complain(p->report, src->shown, line, "%s", x->word);
		conf_lex_skip(x);
		return NULL;
	}
	conf_complain(p->report, src->shown, line, "value expected after '$%s ='", name);
	x->p = at; /* what came instead is for the next statement */
	x->line = line;
	return NULL;
}

/* Nothing may follow the value in its statement. */
static void
macro_end(struct parser *p, struct source *src, const char *name)
{
	struct conf_lex *x = &src->lex;
	const char *at = x->p;
	unsigned line = x->line;
	enum conf_token t = conf_lex_next(x, false);

	if (t == CONF_T_END || t == CONF_T_EOF)
		return;
	if (t == CONF_T_CLOSE) {
		x->p = at;
		x->line = line;
		return;
	}
	conf_complain(
	    p->report, src->shown, line, "macro '$%s' takes one value: quote it if it has blanks", name);
	conf_lex_skip(x);
}

static void
macro(struct parser *p, struct source *src)
{
	char name[CONF_MACRO_NAME_SIZE];
	const char *value;
	unsigned line = src->lex.line;
	int r;

	memcpy(name, src->lex.word, sizeof(name));
	name[sizeof(name) - 1] = '\0';
	value = macro_value(p, src, name);
	if (value == NULL)
		return;
	r = conf_macro_set(&p->macros, name, value);
	if (r == ERR_NOMEM)
		conf_nomem(p->report);
	else if (r != 0)
		conf_complain(p->report, src->shown, line, "macro '$%s': %s", name, err_text(r));
	macro_end(p, src, name);
}

static bool
statement_add(struct parser *p, const char *text)
{
	if (p->st.count == WORDS_MAX)
		return false;
	p->st.at[p->st.count] = buf_left(&p->st.text);
	if (buf_put_bytes(&p->st.text, text, strlen(text) + 1) != 0)
		return false;
	p->st.count++;
	return true;
}

/* Reads words up to the end of the statement; the token that ended it. */
static enum conf_token
statement_read(struct parser *p, struct source *src, enum conf_token t)
{
	bool fits = true;

	buf_reset(&p->st.text);
	p->st.count = 0;
	p->st.line = src->lex.line;
	while (t == CONF_T_WORD || t == CONF_T_QUOTED) {
		if (fits && !statement_add(p, src->lex.word)) {
			fits = false;
			conf_complain(
			    p->report, src->shown, p->st.line, "more than %d values", CONF_LIST_MAX);
		}
		t = conf_lex_next(&src->lex, false);
	}
	if (!fits)
		p->st.count = 0;
	return t;
}

static void
statement_run(struct parser *p, struct source *src, enum conf_token end)
{
	if (p->skipping > 0) {
		p->skipping += end == CONF_T_OPEN;
		return;
	}
	if (end == CONF_T_OPEN && p->st.count > 0)
		brace_open(p, src);
	else if (end == CONF_T_OPEN) {
		conf_complain(p->report, src->shown, p->st.line, "'{' without a name before it");
		p->skipping = 1;
	} else if (p->st.count > 0 && strcmp(word(p, 0), "include") == 0)
		include(p, src);
	else if (p->st.count > 0)
		directive(p, src);
}

/* One statement; false at the end of the file. */
static bool
statement(struct parser *p, struct source *src)
{
	enum conf_token t = conf_lex_next(&src->lex, true);

	if (t == CONF_T_MACRO) {
		macro(p, src);
		return !p->report->fatal;
	}
	t = statement_read(p, src, t);
	if (t == CONF_T_ERROR) {
		if (p->skipping == 0)
			conf_complain(p->report, src->shown, src->lex.line, "%s", src->lex.word);
		conf_lex_skip(&src->lex);
		return !p->report->fatal;
	}
	statement_run(p, src, t);
	if (t == CONF_T_CLOSE && p->skipping > 0)
		p->skipping--;
	else if (t == CONF_T_CLOSE)
		brace_close(p, src);
	return t != CONF_T_EOF && !p->report->fatal;
}

/* --- files --- */

static void
file_complain(struct parser *p, const char *shown, const struct source *from, const char *why)
{
	if (from != NULL)
		conf_complain(p->report, from->shown, p->st.line, "include %s: %s", shown, why);
	else
		conf_complain(p->report, shown, 0, "%s", why);
}

/* The whole file; NULL after complaining. */
static char *
file_read(struct parser *p, const char *path, const char *shown, const struct source *from, size_t *len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;
	char *data = NULL;
	ssize_t n = -1;

	if (fd == -1 || fstat(fd, &st) == -1) {
		file_complain(p, shown, from, strerror(errno));
	} else if (!S_ISREG(st.st_mode) || st.st_size > CONF_FILE_MAX_BYTES) {
		file_complain(p, shown, from, "not a regular file of at most 1 MB");
	} else if ((data = mem_calloc((size_t)st.st_size + 1, 1)) == NULL) {
		conf_nomem(p->report);
	} else {
		n = read(fd, data, (size_t)st.st_size);
		if (n == -1)
			file_complain(p, shown, from, strerror(errno));
	}
	if (fd != -1)
		close(fd);
	if (n == -1) {
		mem_free(data);
		return NULL;
	}
	*len = (size_t)n;
	return data;
}

/* Keeps the names as long as the configuration lives. */
static bool
file_add(struct parser *p, struct source *src, const char *path, const char *shown)
{
	struct conf *c = p->c;
	char *slash;

	c->files[c->file_count] = mem_strdup(path);
	c->shown[c->file_count] = mem_strdup(shown);
	src->path = c->files[c->file_count];
	src->shown = c->shown[c->file_count];
	c->file_count++;
	if (src->path == NULL || src->shown == NULL) {
		conf_nomem(p->report);
		return false;
	}
	snprintf(src->dir, sizeof(src->dir), "%s", path);
	slash = strrchr(src->dir, '/');
	MUST(slash != NULL);
	slash[slash == src->dir] = '\0';
	return true;
}

static void
file_parse(struct parser *p, const char *path, const char *shown, const struct source *from)
{
	struct source *src = mem_calloc(1, sizeof(*src));
	size_t len = 0;
	char *data = NULL;

	if (src == NULL)
		conf_nomem(p->report);
	else if (file_add(p, src, path, shown))
		data = file_read(p, path, src->shown, from, &len);
	p->c->unread = p->c->file_count <= 1 && data == NULL;
	if (data != NULL) {
		unsigned skipping = p->skipping;

		conf_lex_init(&src->lex, data, len, &p->macros);
		p->include_depth++;
		while (statement(p, src))
			continue;
		p->include_depth--;
		if (src->nesting > 0 || p->skipping > skipping)
			conf_complain(
			    p->report, src->shown, src->lex.line, "'}' missing at the end of the file");
		for (; src->nesting > 0; src->nesting--) {
			if (p->block != NULL)
				p->block = NULL;
			else
				p->section = NULL;
		}
		p->skipping = skipping;
	}
	mem_free(data);
	mem_free(src);
}

void
conf_parse(struct conf *c, const char *path, struct conf_report *r)
{
	char absolute[PATH_MAX], cwd[PATH_MAX / 2];
	struct parser *p = mem_calloc(1, sizeof(*p));

	if (p == NULL) {
		conf_nomem(r);
		return;
	}
	p->c = c;
	p->report = r;
	buf_init(&p->st.text, (CONF_LIST_MAX + 2) * (CONF_WORD_MAX_BYTES + 1));
	if (path[0] == '/')
		snprintf(absolute, sizeof(absolute), "%s", path);
	else if (getcwd(cwd, sizeof(cwd)) != NULL && strlen(path) < sizeof(absolute) - sizeof(cwd) - 1)
		snprintf(absolute, sizeof(absolute), "%s/%s", cwd, path);
	else
		absolute[0] = '\0';
	if (absolute[0] != '\0')
		file_parse(p, absolute, path, NULL);
	else
		conf_complain(r, path, 0, "%s", strerror(errno != 0 ? errno : ENAMETOOLONG));
	buf_fini(&p->st.text);
	conf_macros_fini(&p->macros);
	mem_free(p);
}
