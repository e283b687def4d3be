/* conf_lex: words of a configuration file; see conf.h for the grammar. */
#include <ctype.h>
#include <stdarg.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/conf_impl.h"

/* --- macros --- */

const char *
conf_macro_get(const struct conf_macros *m, const char *name)
{
	for (size_t i = 0; i < m->count; i++)
		if (strcmp(m->list[i].name, name) == 0)
			return m->list[i].value;
	return NULL;
}

int
conf_macro_set(struct conf_macros *m, const char *name, const char *value)
{
	struct conf_macro *slot;

	if (conf_macro_get(m, name) != NULL)
		return ERR_EXISTS;
	if (m->count == CONF_MACROS_MAX)
		return ERR_FULL;
	slot = &m->list[m->count];
	slot->name = mem_strdup(name);
	slot->value = mem_strdup(value);
	m->count++;
	if (slot->name != NULL && slot->value != NULL)
		return 0;
	m->count--;
	mem_free(slot->name);
	mem_free(slot->value);
	return ERR_NOMEM;
}

void
conf_macros_fini(struct conf_macros *m)
{
	for (size_t i = 0; i < m->count; i++) {
		mem_free(m->list[i].name);
		mem_free(m->list[i].value);
	}
	m->count = 0;
}

/* --- words --- */

void
conf_lex_init(struct conf_lex *x, const char *data, size_t len, const struct conf_macros *macros)
{
	x->p = data;
	x->end = data + len;
	x->line = 1;
	x->macros = macros;
	x->word[0] = '\0';
}

static enum conf_token __attribute__((format(printf, 2, 3)))
lex_error(struct conf_lex *x, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(x->word, sizeof(x->word), fmt, ap);
	va_end(ap);
	return CONF_T_ERROR;
}

static bool
lex_append(struct conf_lex *x, size_t *n, const char *data, size_t len)
{
	if (len > CONF_WORD_MAX_BYTES - *n)
		return false;
	memcpy(x->word + *n, data, len);
	*n += len;
	x->word[*n] = '\0';
	return true;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static void
skip_blanks(struct conf_lex *x)
{
	while (x->p < x->end && is_blank(*x->p))
		x->p++;
	if (x->p < x->end && *x->p == '#')
		while (x->p < x->end && *x->p != '\n')
			x->p++;
}

static bool
is_control(char c)
{
	return (unsigned char)c < 0x20 || c == 0x7f;
}

static enum conf_token
lex_quoted(struct conf_lex *x)
{
	size_t n = 0;

	for (x->p++; x->p < x->end && *x->p != '\n'; x->p++) {
		if (*x->p == '"') {
			x->p++;
			return CONF_T_QUOTED;
		}
		if (*x->p == '\\') {
			x->p++;
			if (x->p == x->end || (*x->p != '"' && *x->p != '\\'))
				return lex_error(x, "only \\\" and \\\\ may follow a backslash in quotes");
		} else if (is_control(*x->p) && *x->p != '\t') {
			return lex_error(x, "control character 0x%02x", (unsigned char)*x->p);
		}
		if (!lex_append(x, &n, x->p, 1))
			return lex_error(x, "value is longer than %d bytes", CONF_WORD_MAX_BYTES);
	}
	return lex_error(x, "quoted string does not end on this line");
}

static size_t
macro_name(const char *p, const char *end, char name[CONF_MACRO_NAME_SIZE])
{
	size_t n = 0;

	while (p < end && n < CONF_MACRO_NAME_SIZE - 1 && (isalnum((unsigned char)*p) || *p == '_'))
		name[n++] = *p++;
	name[n] = '\0';
	return n;
}

/* A use of a macro inside a word, at the '$'. */
static enum conf_token
lex_macro_use(struct conf_lex *x, size_t *n)
{
	char name[CONF_MACRO_NAME_SIZE];
	const char *value;
	size_t len = macro_name(x->p + 1, x->end, name);

	if (len == 0)
		return lex_error(x, "no macro name after '$' (quote the word if a dollar sign is meant)");
	value = conf_macro_get(x->macros, name);
	if (value == NULL)
		return lex_error(x, "unknown macro '$%s'", name);
	x->p += 1 + len;
	if (!lex_append(x, n, value, strlen(value)))
		return lex_error(x, "value is longer than %d bytes", CONF_WORD_MAX_BYTES);
	return CONF_T_WORD;
}

static enum conf_token
lex_word(struct conf_lex *x)
{
	size_t n = 0;

	while (x->p < x->end && !is_blank(*x->p) && strchr("\n{};", *x->p) == NULL) {
		if (*x->p == '"')
			return lex_error(x, "quote inside a word");
		if (is_control(*x->p))
			return lex_error(x, "control character 0x%02x", (unsigned char)*x->p);
		if (*x->p == '$') {
			if (lex_macro_use(x, &n) == CONF_T_ERROR)
				return CONF_T_ERROR;
			continue;
		}
		if (!lex_append(x, &n, x->p, 1))
			return lex_error(x, "value is longer than %d bytes", CONF_WORD_MAX_BYTES);
		x->p++;
	}
	return CONF_T_WORD;
}

static enum conf_token
lex_macro_definition(struct conf_lex *x)
{
	char name[CONF_MACRO_NAME_SIZE];
	size_t n = macro_name(x->p + 1, x->end, name);

	if (n == 0)
		return lex_error(x, "no macro name after '$'");
	x->p += 1 + n;
	memcpy(x->word, name, n + 1);
	return CONF_T_MACRO;
}

enum conf_token
conf_lex_next(struct conf_lex *x, bool first)
{
	skip_blanks(x);
	x->word[0] = '\0';
	if (x->p == x->end)
		return CONF_T_EOF;
	switch (*x->p) {
	case '\n':
		x->line++;
		x->p++;
		return CONF_T_END;
	case ';':
		x->p++;
		return CONF_T_END;
	case '{':
		x->p++;
		return CONF_T_OPEN;
	case '}':
		x->p++;
		return CONF_T_CLOSE;
	case '"':
		return lex_quoted(x);
	case '\0':
		return lex_error(x, "control character 0x00");
	default:
		return first && *x->p == '$' ? lex_macro_definition(x) : lex_word(x);
	}
}

bool
conf_lex_assign(struct conf_lex *x)
{
	skip_blanks(x);
	if (x->p == x->end || *x->p != '=')
		return false;
	x->p++;
	return true;
}

void
conf_lex_skip(struct conf_lex *x)
{
	while (x->p < x->end && (*x->p == '\0' || strchr("\n;{}", *x->p) == NULL))
		x->p++;
}
