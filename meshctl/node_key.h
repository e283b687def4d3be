/*
 * node_key: the files of a keyring (keyring(5) section of mesh.conf(5)), as meshctl writes them.
 *
 * A keyring is a directory (0700): node.key holds the seed of the node's Ed25519 key as 64 hex digits,
 * tenants/<tenant_id>.key one key per line, the newest first.
 */
#ifndef MESHCTL_NODE_KEY_H
#define MESHCTL_NODE_KEY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/must.h"
#include "common/os/crypto.h"

enum { NODE_KEY_PATH_SIZE = 4096 };

/* Makes the directories and a new node.key; the node's id into *id.  Errors are printed. */
int node_key_new(const char *keyring, bool replace, uint64_t *id) MUST_USE;
/* The id of the node whose keyring this is.  Errors are printed. */
int node_key_id(const char *keyring, uint64_t *id) MUST_USE;

/* Puts a tenant's key in front of those that the keyring has; one that is there already moves up. */
int node_key_add_tenant(
    const char *keyring, const char *tenant, const uint8_t key[CRYPTO_KEY_BYTES]) MUST_USE;
/* The key that seals for the tenant: the first of its file.  Errors are printed. */
int node_key_tenant(const char *keyring, const char *tenant, uint8_t key[CRYPTO_KEY_BYTES]) MUST_USE;

/* 64 hex digits (blanks around them are fine) to 32 bytes.  ERR_FORMAT. */
int node_key_parse(const char *text, uint8_t key[CRYPTO_KEY_BYTES]) MUST_USE;
void node_key_hex(char *out, const uint8_t *p, size_t len); /* 2 * len + 1 characters */

#endif
