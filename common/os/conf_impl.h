/*
 * conf_impl: what the conf_*.c files share.  For them alone.
 *
 * conf_lex.c makes words of bytes, conf_parse.c statements of words, conf_schema.c finds rows of the
 * table, conf_value.c knows the types, conf_env.c the environment, conf_overlay.c what all nodes share,
 * conf_print.c writes it all down.
 */
#ifndef COMMON_OS_CONF_IMPL_H
#define COMMON_OS_CONF_IMPL_H

#include "common/base/buf.h"
#include "common/os/conf.h"
#include "common/os/conf_overlay.h"

enum conf_origin { CONF_FROM_DEFAULT, CONF_FROM_SHARED, CONF_FROM_FILE, CONF_FROM_ENV };

struct conf_value {
	char *text;  /* canonical: paths absolute, ids in their usual form */
	int64_t num; /* INT, DURATION, SIZE, BOOL */
};

/* The values of one directive in one place. */
struct conf_set {
	struct conf_value *values;
	size_t count;
	enum conf_origin origin;
	const char *file; /* where it was set first; one of conf.shown */
	unsigned line;
};

struct conf_block {
	const char *section, *kind; /* the table's strings */
	char *name;
	const char *file;
	unsigned line;
	struct conf_set *sets; /* by row of the table */
};

struct conf {
	char *files[CONF_FILES_MAX]; /* absolute */
	char *shown[CONF_FILES_MAX]; /* as messages name them: relative if the main one was given so */
	size_t file_count;
	bool unread;           /* the main file could not be read */
	struct conf_set *sets; /* by row of the table */
	struct conf_block *blocks;
	size_t block_count;
};

/* --- conf_report.c: errors, all of them --- */
struct conf_report {
	FILE *out;
	unsigned count;
	bool fatal; /* out of memory, or too many: stop */
};
/* file NULL: none; line 0: none. */
void conf_complain(struct conf_report *r, const char *file, unsigned line, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void conf_nomem(struct conf_report *r);

/* --- conf_schema.c --- */
size_t conf_row_count(void);
/* Row of section, block (NULL: none) and key, or -1. */
long conf_row(const char *section, const char *block, const char *key);
/* The table's own string of a section or of a kind of block, or NULL. */
const char *conf_section_known(const char *name);
const char *conf_block_known(const char *section, const char *name);
/* True if the row belongs to this section and block (NULL: the section itself). */
bool conf_row_in(size_t row, const char *section, const char *block);
/* The nearest known name, "" if nothing is near: " (did you mean 'x'?)" in out. */
enum { CONF_HINT_SIZE = 96 };
void conf_hint_section(char out[CONF_HINT_SIZE], const char *name);
void conf_hint_key(char out[CONF_HINT_SIZE], const char *section, const char *block, const char *name);

/* --- conf_value.c --- */
/* Is text one of choices, "a|b|c"? */
bool conf_choice(const char *choices, const char *text);
bool conf_sql_name_valid(const char *text);
enum { CONF_WHY_SIZE = 256 };
/*
 * Checks text for the directive and makes the value.  dir: what relative paths are relative to (NULL:
 * they are refused).  0; ERR_NOMEM; ERR_FORMAT or ERR_RANGE with why filled.
 */
int conf_value_make(const struct conf_directive *d, const char *text, const char *dir, struct conf_value *out,
    char why[CONF_WHY_SIZE]) MUST_USE;
/* The value as it is written in a file, without quotes. */
void conf_value_show(const struct conf_directive *d, const struct conf_value *v, char *out, size_t size);
/* Appends a value to a set.  0, or conf_value_make()'s errors, ERR_FULL. */
int conf_set_add(struct conf_set *s, const struct conf_directive *d, const char *text, const char *dir,
    char why[CONF_WHY_SIZE]) MUST_USE;
void conf_set_clear(struct conf_set *s);

/* --- conf_lex.c --- */
enum conf_token {
	CONF_T_WORD,
	CONF_T_QUOTED,
	CONF_T_MACRO,
	CONF_T_OPEN,
	CONF_T_CLOSE,
	CONF_T_END,
	CONF_T_EOF,
	CONF_T_ERROR
};

enum { CONF_MACRO_NAME_SIZE = 64 };
struct conf_macro {
	char *name, *value;
};
struct conf_macros {
	struct conf_macro list[CONF_MACROS_MAX];
	size_t count;
};
const char *conf_macro_get(const struct conf_macros *m, const char *name);
/* 0; ERR_EXISTS, ERR_FULL, ERR_NOMEM. */
int conf_macro_set(struct conf_macros *m, const char *name, const char *value) MUST_USE;
void conf_macros_fini(struct conf_macros *m);

struct conf_lex {
	const char *p, *end;
	unsigned line; /* of the next byte */
	const struct conf_macros *macros;
	char word[CONF_WORD_MAX_BYTES + 1]; /* text of WORD, QUOTED, MACRO; of ERROR: what is wrong */
};
void conf_lex_init(struct conf_lex *x, const char *data, size_t len, const struct conf_macros *macros);
/* first: at the start of a statement, where `$name` is a definition and not a use. */
enum conf_token conf_lex_next(struct conf_lex *x, bool first);
/* After MACRO: consumes the '='.  False if there is none. */
bool conf_lex_assign(struct conf_lex *x);
/* Goes on after an error: skips to what ends the statement. */
void conf_lex_skip(struct conf_lex *x);

/* --- conf_parse.c --- */
/* Reads path and what it includes into c. */
void conf_parse(struct conf *c, const char *path, struct conf_report *r);

/* --- conf_env.c --- */
enum { CONF_ENV_NAME_SIZE = 96 };
void conf_env_name(const struct conf_directive *d, char out[CONF_ENV_NAME_SIZE]);
void conf_env_apply(struct conf *c, struct conf_report *r);

/* --- conf_overlay.c --- */
/* After file and environment, before the defaults. */
void conf_overlay_apply(
    struct conf *c, const char *section, const struct conf_overlay *o, struct conf_report *r);

#endif
