/*
 * dsg: the state machine of a data stream group, which one source and the targets of its streams share.
 *
 * The log fixes what each seq of a stream is, before any target may process it: a batch's descriptor has its
 * seqs, its digest and the source's signature, never payload.  It also has producer epochs, what each target
 * has processed, and what the source gave up.  One entry is a sequence of commands; one that does not fit the
 * state (seqs that are not next, an older epoch, a stream that is not there) does nothing at any replica and
 * is counted.  What is proposed twice is not of that kind: progress, skips and epochs that are there already,
 * and the end of a stream that is not, change nothing.
 *
 *	OPEN	a stream, or again: with other targets (those that stay keep what they have processed, as far
 *		as the command does not know more; committed does not go back for a new one), or behind
 *		another seq: batches above it that never left the source are made anew, or targets had
 *		what lies before it from another group.  Its epoch is that of the next batch, as far as that
 *		is known, and at least that of what is described then: what lay above it may have been of a
 *		newer one, which is gone with it.  Refused: more processed than that, too many streams.
 *	BATCH	of the next seqs.  A newer epoch than the stream's is the stream's from then on.
 *	EPOCH	refused: an older one.
 *	PROCESSED, SKIP		refused: beyond what is described, or of a node that is no target.
 *	CLOSE	the stream is forgotten.
 *
 * Bounded: DSG_STREAMS_MAX streams; of each, descriptors above its committed seq, the newest
 * DSG_DESCRIPTORS_MAX (of all together DSG_DESCRIPTORS_TOTAL_MAX): below them it is only known that the seqs
 * are described (dsg_check() says DSG_CHECK_OLD), and the source's signature alone vouches for what is in
 * them.
 */
#ifndef CONSENSUSD_CORE_DSG_H
#define CONSENSUSD_CORE_DSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/id.h"
#include "common/base/must.h"
#include "consensusd/core/limits.h"

struct buf;
struct dsg;

enum { DSG_DIGEST_BYTES = 32, DSG_SIGNATURE_BYTES = 64 };

/* --- commands --- */

struct dsg_batch {
	struct ulid stream;
	uint64_t epoch, first_seq;
	uint32_t count;
	uint8_t digest[DSG_DIGEST_BYTES];       /* of the batch's body */
	uint8_t signature[DSG_SIGNATURE_BYTES]; /* the source's, of the batch */
};

struct dsg_open {
	struct ulid stream;
	uint64_t epoch;
	uint64_t described; /* the next batch begins behind this: not 0 for a stream that comes from another
			       group */
	size_t target_count;
	uint64_t targets[STREAM_TARGETS_MAX];   /* nodes */
	uint64_t processed[STREAM_TARGETS_MAX]; /* what each has */
};

/* Each appends one command to an entry that is being made.  The buffer's errors, ERR_FORMAT, ERR_LIMIT (what
 * no replica could read): nothing was appended.  Numbers are for ever: a log outlives the program that wrote
 * it.
 */
int dsg_put_open(struct buf *out, const struct dsg_open *o) MUST_USE; /* again: other targets */
int dsg_put_batch(struct buf *out, const struct dsg_batch *b) MUST_USE;
int dsg_put_epoch(struct buf *out, const struct ulid *stream, uint64_t epoch) MUST_USE;
int dsg_put_processed(struct buf *out, const struct ulid *stream, uint64_t node, uint64_t seq) MUST_USE;
/* The source has given up what is not processed up to seq. */
int dsg_put_skip(struct buf *out, const struct ulid *stream, uint64_t seq) MUST_USE;
int dsg_put_close(struct buf *out, const struct ulid *stream) MUST_USE;

/* --- state --- */

struct dsg_stream {
	struct ulid id;
	uint64_t epoch;
	uint64_t described; /* all up to this have their place */
	uint64_t committed; /* all targets have processed (or were spared) all up to this */
	uint64_t skipped;   /* given up by the source, where not processed */
	size_t target_count;
	uint64_t targets[STREAM_TARGETS_MAX];
	uint64_t processed[STREAM_TARGETS_MAX];
};

struct dsg_counters {
	uint64_t applied;  /* commands */
	uint64_t rejected; /* commands that did not fit the state */
};

/* What applying tells; fn may be NULL.  Nothing may be changed from within. */
struct dsg_watch {
	/* described, epoch or skipped has changed: once for all that an entry changed of a stream */
	void (*described)(void *ctx, const struct dsg_stream *s);
	void (*opened)(void *ctx, const struct dsg_stream *s);
	void (*closed)(void *ctx, const struct ulid *stream);
	void *ctx;
};

struct dsg *dsg_new(const struct dsg_watch *watch) MUST_USE;
void dsg_free(struct dsg *d);

/* One committed entry.  ERR_NOMEM: nothing was changed.  An entry that can't be read is counted as one
 * rejected command and does nothing. */
int dsg_apply(struct dsg *d, const uint8_t *data, size_t len) MUST_USE;
int dsg_snapshot(const struct dsg *d, struct buf *out) MUST_USE;
/* Takes the place of the state; watch is told of what is no more, then of all that is there (opened).
 * ERR_SHORT, ERR_LEFTOVER, ERR_VERSION, ERR_FORMAT, ERR_LIMIT, ERR_NOMEM: the state is as it was. */
int dsg_restore(struct dsg *d, const uint8_t *data, size_t len) MUST_USE;

/* NULL: it is not there.  Borrowed until the next change. */
const struct dsg_stream *dsg_find(const struct dsg *d, const struct ulid *stream);
size_t dsg_count(const struct dsg *d);
/* The i-th, in the order of ids; NULL: there are not so many. */
const struct dsg_stream *dsg_at(const struct dsg *d, size_t i);

enum dsg_check {
	DSG_CHECK_NOT_YET, /* not described (yet) */
	DSG_CHECK_SAME,    /* that is what was described */
	DSG_CHECK_OTHER,   /* something else was */
	DSG_CHECK_OLD,     /* described, its descriptor is not kept any more */
};
enum dsg_check dsg_check(const struct dsg *d, const struct dsg_batch *b);

const struct dsg_counters *dsg_counters(const struct dsg *d);
size_t dsg_bytes(const struct dsg *d); /* of memory, nearly */

#endif
