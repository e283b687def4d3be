/*
 * command: what meshctl can do, one row per command, and the context that handlers get.
 *
 * The table (meshctl/commands.c) is what `meshctl help`, `meshctl COMMAND --help`, the manual's lint and
 * the shell completion are made from.
 */
#ifndef MESHCTL_COMMAND_H
#define MESHCTL_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "meshctl/exit_code.h"

struct args;

/* What every handler gets: the options that all commands share. */
struct ctl {
	bool json;             /* -j */
	bool color;            /* standard output is a terminal, or --color=always */
	const char *socket;    /* -s, or NULL; borrowed */
	const char *conf_path; /* -c, or NULL; borrowed */
	int64_t timeout_ms;    /* --timeout: for the node's answer to a request */
};

struct option_def {
	const char *name; /* long name; NULL ends a list */
	char letter;      /* 0: none */
	const char *arg;  /* name of its value in help; NULL: a flag */
	const char *help; /* one line */
};

struct command {
	const char *name;                 /* "status", "ca init"; NULL ends the table */
	const char *args;                 /* "STREAM [LINE ...]" */
	const char *summary;              /* one line */
	const char *help;                 /* paragraphs for --help; NULL: the summary says it all */
	const struct option_def *options; /* NULL: only the common ones */
	int min_words, max_words;         /* of operands; max -1: any number */
	/* An enum exit_code; the handler has printed what went wrong. */
	int (*run)(struct ctl *ctl, const struct args *a);
};

extern const struct command command_table[];
extern const struct option_def command_common_options[];

/* The row for words w1 (and w2, may be NULL); *used is set to 1 or 2.  NULL: no such command. */
const struct command *command_find(const char *w1, const char *w2, int *used);
/* True if some command's name is w1 followed by a second word. */
bool command_is_group(const char *w1);

/* Prints the list of commands (of group only, unless NULL), or the help of one. */
void command_help_all(const char *group);
void command_help(const struct command *c);

#endif
