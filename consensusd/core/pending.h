/*
 * pending: the batch of a stream that is forming.  Messages are copied in as they arrive; when the
 * store can take a batch, the shell seals what is there (seal.h) and the pending goes back to the pool.
 */
#ifndef CONSENSUSD_CORE_PENDING_H
#define CONSENSUSD_CORE_PENDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/id.h"
#include "common/base/must.h"

struct pending_message {
	struct ulid message_id;
	size_t offset; /* of the headers in data; the payload follows */
	uint32_t headers_len, payload_len;
};

struct pending {
	struct buf data;
	struct pending_message *messages;
	uint32_t count, cap;
	bool by_id;           /* publishers know some by their ids alone */
	struct pending *next; /* in the pool */
};

struct pending_pool {
	struct pending *first;
	size_t count;
};

void pending_pool_fini(struct pending_pool *pool);
/* An empty pending, from the pool or new; NULL: no memory. */
struct pending *pending_get(struct pending_pool *pool) MUST_USE;
/* Gives it back (NULL is fine). */
void pending_put(struct pending_pool *pool, struct pending *p);

/* Copies one message in.  ERR_NOMEM; ERR_LIMIT above BATCH_MESSAGES_MAX or the largest body. */
int pending_add(struct pending *p, const struct ulid *message_id, const void *headers, size_t headers_len,
    const void *payload, size_t payload_len) MUST_USE;
const uint8_t *pending_headers(const struct pending *p, uint32_t i);
const uint8_t *pending_payload(const struct pending *p, uint32_t i);
size_t pending_bytes(const struct pending *p);

#endif
