/*
 * secfile: files that hold keys and certificates, written so that they are whole or not there.
 */
#ifndef MESHCTL_SECFILE_H
#define MESHCTL_SECFILE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/must.h"

enum { SECFILE_MAX_BYTES = 1024 * 1024 }; /* of a file that is read */

/*
 * Writes a file (mode 0600, or 0644 if it is public) under a temporary name, flushes it to disk and gives
 * it its name.  replace false: ERR_EXISTS if there is one.  Errors are printed; ERR_IO, ERR_EXISTS.
 */
int secfile_write(const char *path, const void *data, size_t len, bool public, bool replace) MUST_USE;
/* Makes a directory (0700) unless it is there; prints errors. */
int secfile_mkdir(const char *path) MUST_USE;
/* Reads a whole file into heap memory with a NUL behind it; wipe and free it with secfile_free().  Prints
 * errors; ERR_NOENT, ERR_IO, ERR_LIMIT, ERR_NOMEM. */
int secfile_read(const char *path, char **out, size_t *len) MUST_USE;
void secfile_free(char *data, size_t len);
/* Flushes the directory that path is in, so that a new name in it survives a crash. */
int secfile_sync_dir(const char *path) MUST_USE;

#endif
