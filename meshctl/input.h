/*
 * input: a file, or standard input, as one piece.
 */
#ifndef MESHCTL_INPUT_H
#define MESHCTL_INPUT_H

#include <stddef.h>

#include "common/base/must.h"

struct buf;

/* Appends all of a file ("-": standard input) of at most max bytes to out, which takes more.  An exit_code;
 * errors are printed. */
int input_read(const char *path, size_t max, struct buf *out) MUST_USE;
/* The same for one line of text of fewer than size characters; white space around it is left out. */
int input_line(const char *path, char *out, size_t size) MUST_USE;

#endif
