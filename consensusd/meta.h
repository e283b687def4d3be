/*
 * meta: what a target has to know of a stream (mesh.e2e.StreamMeta), signed by the source.
 */
#ifndef CONSENSUSD_META_H
#define CONSENSUSD_META_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct buf;
struct keyring;
struct store_stream;

enum { META_MAX_BYTES = 1024 };

/* Appends the signed StreamMeta of a row whose source is this node. */
int meta_sign(const struct keyring *k, const struct store_stream *row, struct buf *out) MUST_USE;

/* Fills in what a row that was loaded has in its meta alone: group, policy, and where targets begin.
 * ERR_FORMAT. */
int meta_load(struct store_stream *row) MUST_USE;

/*
 * Decodes and checks what another node sent: form, signature, and that the key belongs to the source
 * node's id.  On success row is filled in (row->meta points at data).  ERR_FORMAT, ERR_CRYPTO.
 */
int meta_verify(const void *data, size_t len, struct store_stream *row) MUST_USE;

#endif
