/*
 * fresh: whether the statement that opens a stream is its source's wish now, or was recorded on the way and
 * is sent again by somebody else.
 *
 * Whoever has recorded a stream from its opening to its end could otherwise have it delivered once more, as
 * soon as the target has forgotten that it was closed.  A stream that was made a short while ago is taken at
 * its word: closed ones are remembered for longer than that.  For any other the source has to prove that it
 * is there: the target challenges it with a nonce, which it need not remember, and the source asks again with
 * the nonce and a tag (tag.h) over it.
 */
#ifndef CONSENSUSD_FRESH_H
#define CONSENSUSD_FRESH_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/e2e.pb.h"

struct engine;
struct store_stream;
struct ulid;

enum { FRESH_NONCE_BYTES = 24 };

struct fresh {
	uint8_t secret[32];
	uint64_t floor_ms; /* closed streams that were made before may have been forgotten */
};

void fresh_init(struct fresh *f);
/* Remembers that a stream was closed after seq.  As long as there is room: then for those made until now only
 * a challenge helps. */
void fresh_closed(struct engine *e, const struct ulid *stream_id, uint64_t close_seq);
/* Remembers that this node is no target of a stream any more; fresh_removed_at() has the revision of the
 * stream at that time, or 0. */
void fresh_removed(struct engine *e, const struct ulid *stream_id, uint64_t revision);
uint64_t fresh_removed_at(const struct engine *e, const struct ulid *stream_id);
/* Is it the source's wish now?  h, which has passed its checks, is what brought row. */
bool fresh_is(const struct engine *e, const mesh_e2e_Header *h, const struct store_stream *row);
/* What to challenge its source with. */
void fresh_nonce(
    const struct engine *e, const struct ulid *stream_id, uint64_t source, uint8_t out[FRESH_NONCE_BYTES]);

#endif
