/*
 * args: options and operands of one command line, checked against tables of options.
 *
 * Forms: --name VALUE, --name=VALUE, -n VALUE, -nVALUE, flags in a cluster, "--" ends options.  Options
 * and operands may be mixed.  Everything is borrowed from argv.
 */
#ifndef MESHCTL_ARGS_H
#define MESHCTL_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct option_def;

enum { ARGS_OPTIONS_MAX = 256 }; /* options on one command line; more are an error */

struct args_given {
	const struct option_def *def;
	const char *value; /* NULL for flags */
};

struct args {
	struct args_given given[ARGS_OPTIONS_MAX];
	size_t given_count;
	const char **words; /* operands; argv's memory is reused for them */
	size_t word_count;
};

/*
 * Parses argc strings of argv into a (which keeps what it holds already); stop_at_word: ends before the
 * first operand.  Returns the number of strings consumed, or -1 after an error was printed.
 */
int args_parse(struct args *a, const struct option_def *common, const struct option_def *own, int argc,
    char **argv, bool stop_at_word) MUST_USE;

bool args_flag(const struct args *a, const char *name);
/* The last value given, or fallback. */
const char *args_str(const struct args *a, const char *name, const char *fallback);
/* The i-th value given, NULL past the last one. */
const char *args_item(const struct args *a, const char *name, size_t i);
/* A whole number in [min, max]; fallback if not given.  -1 after an error was printed, else 0. */
int args_int(const struct args *a, const char *name, int64_t fallback, int64_t min, int64_t max,
    int64_t *out) MUST_USE;
/* A duration (us ms s min h d; a plain number is seconds) in milliseconds, likewise. */
int args_duration_ms(const struct args *a, const char *name, int64_t fallback_ms, int64_t *out) MUST_USE;
/* A size (B KB MB GB, 1024-based; a plain number is bytes), likewise. */
int args_size(const struct args *a, const char *name, int64_t fallback, int64_t *out) MUST_USE;
/* Copies the value of an option ("" if it is not given) into a field of size bytes.  -1 after an error was
 * printed, else 0. */
int args_copy(const struct args *a, const char *name, char *out, size_t size) MUST_USE;
/* The same with the i-th operand; what: how an error calls it. */
int args_copy_word(const struct args *a, size_t i, const char *what, char *out, size_t size) MUST_USE;
/* The same with an option whose value is one of the words of choices ("on off"). */
int args_choice(const struct args *a, const char *name, const char *choices, char *out, size_t size) MUST_USE;
/* The i-th operand, NULL past the last one. */
const char *args_word(const struct args *a, size_t i);

#endif
