/*
 * ledger: how many bytes of a stream lie between two marks, in bounded memory.
 *
 * Batches are added in order of seq and forgotten from the low end.  Neighbours share a bucket, so a
 * cut in the middle of one is exact only to LEDGER_GRAIN_BYTES, or to 1/256 of what is there.  Where the
 * caller tells the time, a bucket is also of one LEDGER_SPAN_MS, or of 1/256 of the time that all of it
 * spans.
 */
#ifndef CONSENSUSD_CORE_LEDGER_H
#define CONSENSUSD_CORE_LEDGER_H

#include <stddef.h>
#include <stdint.h>

struct ledger_bucket {
	uint64_t last_seq;
	uint64_t bytes;
	uint64_t first_ms, last_ms; /* when the oldest and the newest of it came; 0: not told */
};

struct ledger {
	struct ledger_bucket *buckets;
	size_t cap, head, count;
	uint64_t grain, total_bytes;
	uint64_t span_ms;   /* no bucket spans more, if times are told */
	uint64_t grain_min; /* what grain begins with: LEDGER_GRAIN_BYTES, or less where cuts must be fine */
};

void ledger_init(struct ledger *l);
void ledger_fini(struct ledger *l);
/* Adds bytes that end at last_seq (above all before).  Without memory the newest bucket takes them;
 * the first bucket ever can't be had: they are not counted. */
void ledger_add(struct ledger *l, uint64_t last_seq, size_t bytes);
void ledger_add_at(struct ledger *l, uint64_t last_seq, size_t bytes, uint64_t at_ms);
/* What was there before anything was added, the oldest first; as much of it as there is memory for. */
void ledger_put_before(struct ledger *l, const struct ledger_bucket *older, size_t count);
/* The i-th bucket from the oldest; NULL: there are not so many. */
const struct ledger_bucket *ledger_at(const struct ledger *l, size_t i);
/* Forgets what ends at or below seq. */
void ledger_cut(struct ledger *l, uint64_t seq);

#endif
