/*
 * conf: mesh.conf(5), one file for the four daemons and meshctl.
 *
 * Grammar: sections `name {` … `}`; directives `key value [value…]` ended by a newline or `;`;
 * repeatable named blocks `peer "b" {` … `}` inside a section; `#` comments; "quoted strings" with \"
 * and \\; macros `$name = value`, used as $name; `include "file"` (relative to the including file,
 * depth CONF_INCLUDE_DEPTH_MAX).  Durations: us ms s min h d; sizes: B KB MB GB (1024-based).
 *
 * What exists is one table (common/os/conf_table.c): section, block, key, type, default, range, whether
 * a reload can change it, and a help text.  So each daemon checks the whole file, manual and lint
 * read the same table, and an error names file, line and what would have been accepted:
 *
 *	mesh.conf:12: transportd: unknown directive 'lisen' (did you mean 'listen'?)
 *
 * A directive of a section (not of a block) can be overridden by the environment variable
 * MESH_<SECTION>_<KEY> with '-' as '_', all upper case; list values are separated by blanks.
 *
 * What wins: environment, then file, then what all nodes share (conf_overlay.h), then the default.
 */
#ifndef COMMON_OS_CONF_H
#define COMMON_OS_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/must.h"

enum {
	CONF_FILE_MAX_BYTES = 1024 * 1024,
	CONF_INCLUDE_DEPTH_MAX = 8,
	CONF_ERRORS_MAX = 64,   /* then "too many errors" */
	CONF_LIST_MAX = 64,     /* values of one list directive */
	CONF_BLOCKS_MAX = 1024, /* blocks of one kind in one section */
	CONF_FILES_MAX = 64,    /* files read, all includes together */
	CONF_MACROS_MAX = 256,
	CONF_WORD_MAX_BYTES = 4095, /* of one value, after macros */
};

enum conf_type {
	CONF_STRING, /* any text */
	CONF_PATH,   /* relative ones are relative to the file that names them */
	CONF_BOOL,   /* yes no on off true false */
	CONF_INT,
	CONF_DURATION, /* kept in microseconds */
	CONF_SIZE,     /* kept in bytes */
	CONF_ENUM,     /* one of choices, kept as text */
	CONF_ADDRESS,  /* host:port, [v6]:port or *:port, kept as text */
	CONF_HOST,     /* a host name without port, kept as text */
	CONF_NODEID,   /* 13 characters, kept as text */
	CONF_ULID,     /* kept as text */
	CONF_NAME,     /* [A-Za-z0-9._-]{1,63} */
	CONF_TENANT,   /* [a-z0-9._-]{1,64} */
	CONF_SQL_NAME, /* of a table or column: [a-z_][a-z0-9_]{0,62} */
};

enum conf_flag {
	CONF_LIST = 1, /* several values; the directive may also be repeated */
	CONF_REQUIRED = 2,
	CONF_RELOAD = 4, /* SIGHUP applies it; without: "restart needed" */
	CONF_SECRET = 8, /* printed as ****** */
};

struct conf_directive {
	const char *section;
	const char *block; /* NULL: directly in the section */
	const char *key;
	enum conf_type type;
	unsigned flags;
	const char *fallback; /* default as text, NULL: unset */
	int64_t min, max;     /* INT, DURATION (us), SIZE; both 0: no range */
	const char *choices;  /* ENUM: "a|b|c" */
	const char *help;     /* one line */
};

/* The table; ends with a row whose section is NULL. */
extern const struct conf_directive conf_table[];

/* The only names that blocks of a kind may have: "a|b|c"; or what type of name, where that is not CONF_NAME.
 * Ends with a row whose section is NULL. */
struct conf_names {
	const char *section, *block, *names;
	enum conf_type type; /* if names is NULL */
};
extern const struct conf_names conf_names[];

/* What a directive of a block (when it has this value; NULL: any) needs beside it. */
struct conf_need {
	const char *section, *block, *key, *value;
	const char *other, *other_value;
};

/* Ends with a row whose section is NULL. */
extern const struct conf_need conf_needs[];

struct conf;

/*
 * Reads file, includes, environment.  On errors every one is written to err as a line and NULL is
 * returned.  require: name of the section whose required directives must be there (the daemon's own,
 * beside "mesh"); NULL checks only what is present.
 */
struct conf *conf_load(const char *path, const char *require, FILE *err) MUST_USE;
void conf_free(struct conf *c);

/* Values by section and key; the key must be in the table (MUST).  Borrowed.  NULL/0 if unset. */
const char *conf_str(const struct conf *c, const char *section, const char *key);
int64_t conf_int(const struct conf *c, const char *section, const char *key); /* INT, DURATION, SIZE, BOOL */
bool conf_bool(const struct conf *c, const char *section, const char *key);
size_t conf_count(const struct conf *c, const char *section, const char *key); /* values given */
const char *conf_item(const struct conf *c, const char *section, const char *key, size_t i);

/* Blocks: `peer "b" { … }` in section transportd is block "peer" named "b". */
size_t conf_block_count(const struct conf *c, const char *section, const char *block);
const char *conf_block_name(const struct conf *c, const char *section, const char *block, size_t i);
const char *conf_block_str(
    const struct conf *c, const char *section, const char *block, size_t i, const char *key);
int64_t conf_block_int(
    const struct conf *c, const char *section, const char *block, size_t i, const char *key);
size_t conf_block_values(
    const struct conf *c, const char *section, const char *block, size_t i, const char *key);
const char *conf_block_item(
    const struct conf *c, const char *section, const char *block, size_t i, const char *key, size_t n);

/* Prints the file normalised (all directives with values, defaults as comments, origin of overrides);
 * what is printed parses again to the same. */
void conf_print(const struct conf *c, FILE *out);

/* The files that were read, the main one first, as absolute paths.  Borrowed. */
size_t conf_file_count(const struct conf *c);
const char *conf_file(const struct conf *c, size_t i);

/* Calls fn for each directive of section ("mesh" is always included) that differs; reloadable tells
 * whether CONF_RELOAD is set. */
void conf_diff(const struct conf *a, const struct conf *b, const char *section,
    void (*fn)(void *arg, const char *what, bool reloadable), void *arg);

#endif
