/*
 * keyring_file: the text form of key files, and reading them safely.
 *
 * One key per line: 64 hex digits.  Blanks around it, empty lines and lines that start with "#" don't
 * count.  Files and directories that others than their owner can open are refused.
 */
#ifndef CONSENSUSD_KEYRING_FILE_H
#define CONSENSUSD_KEYRING_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "common/os/crypto.h"

enum { KEYRING_FILE_MAX_BYTES = 16384 };

/*
 * Reads up to max keys.  0 and *count (at least 1); or ERR_FORMAT (not a key), ERR_LIMIT (more than
 * max keys), ERR_EXISTS (the same key twice), ERR_SHORT (no key), with *line at the trouble.
 */
int keyring_file_parse(const char *text, size_t len, uint8_t (*keys)[CRYPTO_KEY_BYTES], size_t max,
    size_t *count, unsigned *line) MUST_USE;

/* Opens a directory below dir_fd (or AT_FDCWD) that only its owner may open.  A descriptor, or
 * ERR_NOENT, or ERR_DENIED or ERR_IO, which it logs. */
int keyring_dir_open(int dir_fd, const char *name) MUST_USE;

/* Opens, checks, reads and parses a file of keys below dir_fd.  where names the directory in the log.
 * ERR_NOENT (not logged), or what went wrong, logged with file and line. */
int keyring_file_load(int dir_fd, const char *where, const char *name, uint8_t (*keys)[CRYPTO_KEY_BYTES],
    size_t max, size_t *count) MUST_USE;

#endif
