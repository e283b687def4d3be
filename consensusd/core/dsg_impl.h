/*
 * dsg_impl: what the files of dsg share.
 *
 * An entry is gone through up to three times: whatever memory its commands may need is allocated before the
 * first of them runs, so that an entry is applied whole or not at all; afterwards the watch is told once for
 * each stream, and memory that is not needed any more is given back.
 */
#ifndef CONSENSUSD_CORE_DSG_IMPL_H
#define CONSENSUSD_CORE_DSG_IMPL_H

#include "consensusd/core/dsg.h"
#include "consensusd/core/sorted.h"

struct codec;

enum dsg_cmd_type {
	DSG_OPEN = 1,
	DSG_BATCH,
	DSG_EPOCH,
	DSG_PROCESSED,
	DSG_SKIP,
	DSG_CLOSE,
	DSG_CMD_TYPES,
};

enum { DSG_SEQ_MAX_BITS = 63, DSG_SNAPSHOT_VERSION = 1 };
/* PostgreSQL's bigint, the API's int64 seq. */
#define DSG_SEQ_MAX ((UINT64_C(1) << DSG_SEQ_MAX_BITS) - 1)

struct dsg_cmd {
	enum dsg_cmd_type type;
	struct ulid stream; /* of all of them */
	union {
		struct dsg_open open;
		struct dsg_batch batch;
		uint64_t epoch;
		struct {
			uint64_t node, seq;
		} processed;
		uint64_t skip;
	} u;
};

/* A command at the head of in: 0, or what is wrong with it. */
int dsg_cmd_get(struct buf *in, struct dsg_cmd *out) MUST_USE;
/* The fields of a target list, for commands and snapshots. */
void dsg_targets_fields(struct codec *c, size_t *count, uint64_t *targets, uint64_t *processed);

struct dsg_descriptor {
	uint64_t first_seq, epoch;
	uint32_t count;
	uint8_t digest[DSG_DIGEST_BYTES];
	uint8_t signature[DSG_SIGNATURE_BYTES];
};

/* Without a gap, up to the last seq that is described. */
struct dsg_descriptors {
	struct dsg_descriptor *ring;
	size_t cap, head, count;
};

void dsg_descriptors_fini(struct dsg_descriptors *d);
/* Room for so many at least, up to DSG_DESCRIPTORS_MAX.  ERR_NOMEM. */
int dsg_descriptors_reserve(struct dsg_descriptors *d, size_t count) MUST_USE;
struct dsg_descriptor *dsg_descriptors_at(const struct dsg_descriptors *d, size_t i);
/* There has to be room. */
void dsg_descriptors_push(struct dsg_descriptors *d, const struct dsg_descriptor *one);
void dsg_descriptors_drop(struct dsg_descriptors *d);
/* Drops those that end at seq or before; how many. */
size_t dsg_descriptors_cut(struct dsg_descriptors *d, uint64_t seq);
/* The same for those that end above it. */
size_t dsg_descriptors_cut_back(struct dsg_descriptors *d, uint64_t seq);
/* The one that begins at seq; NULL. */
const struct dsg_descriptor *dsg_descriptors_find(const struct dsg_descriptors *d, uint64_t seq);
static inline uint64_t
dsg_descriptor_last(const struct dsg_descriptor *d)
{
	return d->first_seq + d->count - 1;
}

struct dsg_item {
	struct dsg_stream s; /* the key is its id */
	struct dsg_descriptors descriptors;
	size_t coming; /* batches of the entry at hand that it has to have room for */
	bool changed;  /* the watch has to be told */
};

struct dsg {
	struct sorted streams; /* struct dsg_item */
	struct sorted spare;   /* likewise: those that the entry at hand may open, or has closed */
	struct dsg_watch watch;
	struct dsg_counters counters;
	size_t descriptors, slots; /* of all streams: kept, and room for them */
};

int dsg_item_compare(const void *key, const void *item);
void dsg_item_free(void *item);
/* What all targets have, or were spared. */
uint64_t dsg_item_committed(const struct dsg_stream *s);

#endif
