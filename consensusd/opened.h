/*
 * opened: one message of a stream, decrypted and found to be what was published; for who handles it here.
 * Its memory is used again for the next one.
 */
#ifndef CONSENSUSD_OPENED_H
#define CONSENSUSD_OPENED_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct batch;
struct batch_record;
struct keyring;

struct opened { /* zeroed before its first use */
	uint8_t *mem;
	size_t bytes;
	uint8_t *headers; /* as those of a Chunk, and its digest */
	const uint8_t *payload;
	size_t headers_len, payload_len;
};

/* seal_open()'s errors (ERR_NOENT: no such key here), those of digest_check(), or ERR_NOMEM. */
int opened_take(struct opened *o, const struct keyring *k, const char *tenant, const struct batch *b,
    const struct batch_record *rec) MUST_USE;
void opened_fini(struct opened *o);

#endif
