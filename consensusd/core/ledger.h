/*
 * ledger: how many bytes of a stream lie between two marks, in bounded memory.
 *
 * Batches are added in order of seq and forgotten from the low end.  Neighbours share a bucket, so a
 * cut in the middle of one is exact only to LEDGER_GRAIN_BYTES, or to 1/256 of what is there.
 */
#ifndef CONSENSUSD_CORE_LEDGER_H
#define CONSENSUSD_CORE_LEDGER_H

#include <stddef.h>
#include <stdint.h>

struct ledger_bucket {
	uint64_t last_seq;
	uint64_t bytes;
};

struct ledger {
	struct ledger_bucket *buckets;
	size_t cap, head, count;
	uint64_t grain, total_bytes;
};

void ledger_init(struct ledger *l);
void ledger_fini(struct ledger *l);
/* Adds bytes that end at last_seq (above all before).  Without memory the newest bucket takes them;
 * the first bucket ever can't be had: they are not counted. */
void ledger_add(struct ledger *l, uint64_t last_seq, size_t bytes);
/* Forgets what ends at or below seq. */
void ledger_cut(struct ledger *l, uint64_t seq);

#endif
