/*
 * assembly: messages that API clients publish in chunks.
 *
 * Chunks of one message come in order: 0, 1, … total - 1.  They belong together by stream, seq,
 * message id and (where neither of these is given) by the call that brings them.  Nothing here is
 * durable: a message counts from its last chunk on.
 */
#ifndef CONSENSUSD_CORE_ASSEMBLY_H
#define CONSENSUSD_CORE_ASSEMBLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <bsd/sys/queue.h>

#include "common/base/buf.h"
#include "common/base/id.h"
#include "common/base/mono.h"
#include "common/base/must.h"

struct budget;

enum { ASSEMBLY_DIGEST_BYTES = 32 };

struct assembly_key {
	struct ulid stream_id, message_id; /* message_id all zero: not given */
	uint64_t seq;                      /* 0: not given */
	uint64_t call;                     /* 0: chunks may come by different calls */
};

struct assembly_item {
	TAILQ_ENTRY(assembly_item) entry; /* the longest idle first */
	struct assembly_key key;
	struct buf headers, payload;
	uint8_t digest[ASSEMBLY_DIGEST_BYTES]; /* of the whole payload, as the chunks say */
	bool has_digest;
	uint32_t total, next;
	struct mono last;
};

TAILQ_HEAD(assembly_list, assembly_item);

struct assembly {
	struct assembly_list items;
	size_t count, message_max;
	struct budget *budget;
};

struct assembly_chunk {
	uint32_t index, total;
	const uint8_t *digest;  /* NULL: none; any chunk may have it */
	const uint8_t *headers; /* those of chunk 0 count */
	size_t headers_len;
	const uint8_t *payload;
	size_t payload_len;
};

void assembly_init(struct assembly *a, struct budget *budget, size_t message_max);
void assembly_fini(struct assembly *a);

/*
 * Adds a chunk.  *out: the whole message when this was the last chunk, to be given to assembly_done();
 * else NULL.  ERR_GAP: not the next chunk (a chunk 0 begins again); ERR_LIMIT: larger than message_max,
 * or too many chunks; ERR_FORMAT: totals or digests differ; ERR_FULL: too many at once; ERR_NOMEM.  After an
 * error the message is forgotten.
 */
int assembly_add(struct assembly *a, const struct assembly_key *key, const struct assembly_chunk *c,
    struct mono now, struct assembly_item **out) MUST_USE;
void assembly_done(struct assembly *a, struct assembly_item *item);
/* Forgets what the call began; and what was idle for ASSEMBLY_IDLE_MS. */
void assembly_call_ended(struct assembly *a, uint64_t call);
size_t assembly_expire(struct assembly *a, struct mono now);

#endif
