/*
 * reassembly: fragments of batches back into batches.
 *
 * Fragments come in any order and more than once.  All but the last of a batch are full, so each one's
 * place is known.  Bounded in batches (REASSEMBLY_MAX) and bytes (max_bytes of the caller): when it is
 * full, what is farthest from being needed goes; the source still has it.  Bounded in time, too: a batch that
 * no fragment comes of any more is dropped (reassembly_expire()).  Fragments that contradict the first one of
 * their batch start it again: a forged one can't block the real ones for good.
 */
#ifndef CONSENSUSD_CORE_REASSEMBLY_H
#define CONSENSUSD_CORE_REASSEMBLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/mono.h"
#include "common/base/must.h"
#include "consensusd/core/batch.h"
#include "consensusd/core/limits.h"

struct budget;

/* One fragment, checked as e2e_get() does: index < total, and lengths that fit batch_bytes. */
struct fragment {
	uint64_t first_seq;
	uint64_t epoch;
	uint32_t count;       /* messages of the batch */
	uint32_t batch_bytes; /* of the whole body */
	uint32_t index, total;
	const uint8_t *key_id, *nonce;
	const uint8_t *signature; /* in fragment 0, else NULL */
	const uint8_t *payload;
	size_t payload_len;
	size_t offset; /* of the payload in the body */
};

struct partial {
	struct batch *batch;
	uint8_t *have; /* one bit per fragment */
	uint32_t total, got;
	struct mono last; /* when one came, new or not */
};

struct reassembly {
	struct partial partials[REASSEMBLY_MAX];
	size_t count;
	size_t bytes; /* of the batches */
	struct budget *budget;
};

void reassembly_init(struct reassembly *r, struct budget *budget);
void reassembly_fini(struct reassembly *r);

/*
 * Adds a fragment.  *out: the batch if it is whole now, the caller's to unref; else NULL.
 * ERR_FULL: no room for one so far ahead; ERR_NOMEM; ERR_FORMAT: it does not fit its own batch.
 */
int reassembly_add(struct reassembly *r, const struct ulid *stream_id, const struct fragment *f,
    size_t max_bytes, struct mono now, struct batch **out) MUST_USE;
/* Drops batches that begin below seq. */
void reassembly_cut(struct reassembly *r, uint64_t seq);
/* Drops those that nothing came of since then, or before; returns how many. */
size_t reassembly_expire(struct reassembly *r, struct mono since);
/* When something came last of the one that has waited longest; MONO_NEVER: there is none. */
struct mono reassembly_oldest(const struct reassembly *r);

#endif
