/*
 * spill_impl: what the files of spill share; not for others.
 *
 * spill.c puts batches there and knows what is there, spill_read.c reads them back.
 */
#ifndef CONSENSUSD_SPILL_IMPL_H
#define CONSENSUSD_SPILL_IMPL_H

#include "common/os/crypto.h"
#include "consensusd/cache_redis.h"
#include "consensusd/core/parcel.h"
#include "consensusd/source_impl.h"
#include "consensusd/spill.h"

/* A read that waits for its answer; they come in order. */
struct spill_read {
	TAILQ_ENTRY(spill_read) entry;
	struct ulid stream;
	uint64_t node;
	struct stream_order order;
	struct mono until;
	bool over; /* too late: it was read from the database */
};

TAILQ_HEAD(spill_read_list, spill_read);

struct spill {
	struct engine *engine;
	struct cache *cache;
	uint8_t key[CRYPTO_KEY_BYTES]; /* of marks: this process's alone */
	bool distrusted;
	size_t max_bytes, total_bytes;
	struct spill_read_list reads;
	size_t read_count;
	struct loop_timer *timer; /* of the first read that is not over */
	struct mono pause;        /* Redis was slow: it is not read before this */
};

void spill_key(char key[CACHE_KEY_SIZE], const struct source *s);
void spill_mark(const struct spill *p, uint8_t mark[PARCEL_MARK_BYTES], const struct ulid *stream,
    const uint8_t *parcel, size_t len);
/* What is there makes no sense, or is gone: nothing of the stream is asked for again. */
void spill_renounce(struct spill *p, struct source *s);
/* A read waits for too long. */
void spill_on_timer(void *arg);
/* There will be no answers. */
void spill_read_end_all(struct spill *p);

#endif
