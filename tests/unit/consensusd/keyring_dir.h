/*
 * keyring_dir: a keyring in a temporary directory, for tests.
 */
#ifndef TESTS_UNIT_CONSENSUSD_KEYRING_DIR_H
#define TESTS_UNIT_CONSENSUSD_KEYRING_DIR_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/must.h"

#define KEY_A "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define KEY_B "ff0102030405060708090A0B0C0D0E0F101112131415161718191a1b1c1d1eff"
#define KEY_C "ee0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eee"

struct keyring_dir {
	char path[64];
};

/* Writes DIR/name; "tenants/x.key" works, too. */
static inline void
keyring_dir_put(const struct keyring_dir *d, const char *name, const char *text, mode_t mode)
{
	char path[192];
	size_t n = strlen(text);
	int fd;

	snprintf(path, sizeof(path), "%s/%s", d->path, name);
	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	MUST(fd != -1 && write(fd, text, n) == (ssize_t)n && fchmod(fd, mode) == 0 && close(fd) == 0);
}

static inline void
keyring_dir_init(struct keyring_dir *d, const char *node_key)
{
	char path[128];

	strcpy(d->path, "/tmp/mesh-keyring-XXXXXX");
	MUST(mkdtemp(d->path) != NULL);
	snprintf(path, sizeof(path), "%s/tenants", d->path);
	MUST(mkdir(path, 0700) == 0);
	keyring_dir_put(d, "node.key", node_key, 0600);
}

static inline void
keyring_dir_fini(const struct keyring_dir *d)
{
	char command[128];

	MUST(strncmp(d->path, "/tmp/mesh-keyring-", 18) == 0);
	snprintf(command, sizeof(command), "rm -rf %s", d->path);
	(void)!system(command);
}

#endif
