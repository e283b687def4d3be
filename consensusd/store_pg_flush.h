/*
 * store_pg_flush: what is written in one transaction, and writing it.
 *
 * A flush is formed from puts (coalesced where only the newest counts), sent as one pipeline segment
 * whose first statement moves flush_marker to the flush's number, and kept until it is durable: it can
 * be sent any number of times.  Statements go out in an order that lets a flush hold a stream's row, its
 * batches and their clearing.
 */
#ifndef CONSENSUSD_STORE_PG_FLUSH_H
#define CONSENSUSD_STORE_PG_FLUSH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/base/frame.h"
#include "common/base/mono.h"
#include "common/base/must.h"
#include "consensusd/store.h"
#include "consensusd/store_marks.h"
#include "consensusd/store_pg_control.h"
#include "consensusd/store_pg_keys.h"
#include "consensusd/store_pg_letters.h"
#include "consensusd/store_pg_nodes.h"
#include "consensusd/store_pg_raft.h"
#include "consensusd/store_pg_rules.h"

struct buf;
struct pg_conn;
struct pg_result;

enum {
	STORE_FLUSH_MAX_BYTES = 1024 * 1024, /* a flush with more takes nothing else: 0.5-1 MB is fastest */
	STORE_FLUSH_MAX_ROWS = 4096,
	/* While there are more important streams, too, client data waits in smaller ones. */
	STORE_FLUSH_SHARED_BYTES = 256 * 1024,
	STORE_SHARED_MS = 1000, /* for so long after the last put of such a stream */
	STORE_BOXES = 2,
};

struct flush_batch {
	struct batch *batch;
	uint64_t src_node; /* inbox only */
};

struct store_flush {
	TAILQ_ENTRY(store_flush) next;
	uint64_t number; /* the ticket of its puts */
	struct mono opened;
	size_t bytes; /* of memory that it holds */
	size_t rows;
	size_t class_bytes[FRAME_CLASS_COUNT], class_rows[FRAME_CLASS_COUNT]; /* of these, what puts added */
	struct store_stream *streams;                                         /* with meta of their own */
	size_t stream_count, stream_cap;
	struct flush_node *nodes;
	size_t node_count, node_cap;
	struct store_link *links; /* the newest topology */
	size_t link_count;
	bool has_topology;
	struct flush_batch *batches[STORE_BOXES];
	size_t batch_count[STORE_BOXES], batch_cap[STORE_BOXES];
	struct store_marks processed, cleared[STORE_BOXES];
	struct flush_letters letters;
	struct store_marks skipped; /* only a list: each stays as it is */
	struct store_marks ids;     /* likewise: outbox batches with ids to be kept */
	struct store_marks ids_cleared;
	struct flush_rafts rafts;
	struct flush_control control;
	struct flush_rules rules;
	struct flush_keys keys;
};

TAILQ_HEAD(store_flushes, store_flush);

struct store_flush *store_flush_new(uint64_t number, uint64_t seed) MUST_USE;
void store_flush_free(struct store_flush *f);
/* No more puts of this class fit: the next one takes them.  What lower classes have in it does not count. */
bool store_flush_is_full(const struct store_flush *f, uint8_t class, size_t max_bytes);

/* Counts what a put in a part added: rows and bytes. */
void store_flush_took(struct store_flush *f, size_t rows, size_t bytes);

/* Puts: 0 or ERR_NOMEM. */
int store_flush_add_stream(struct store_flush *f, const struct store_stream *row) MUST_USE;
int store_flush_add_node(struct store_flush *f, const struct store_node *row) MUST_USE;
int store_flush_add_topology(struct store_flush *f, const struct store_link *links, size_t count) MUST_USE;
int store_flush_add_batch(
    struct store_flush *f, enum store_box box, struct batch *b, uint64_t src_node) MUST_USE;
int store_flush_add_skipped(struct store_flush *f, const struct store_mark *m) MUST_USE;
int store_flush_add_processed(struct store_flush *f, const struct store_mark *m) MUST_USE;
int store_flush_add_letters(struct store_flush *f, const struct store_letter *rows, size_t count) MUST_USE;
/* No batch begins at or below from_seq any more: the search starts there. */
int store_flush_add_cleared(struct store_flush *f, enum store_box box, const struct ulid *stream,
    uint64_t from_seq, uint64_t upto_seq) MUST_USE;

int store_flush_add_ids_cleared(
    struct store_flush *f, const struct ulid *stream, uint64_t from_seq, uint64_t upto_seq) MUST_USE;

/* Queues what prepares the statements, with a Sync.  ERR_CLOSED: libpq doesn't take it. */
int store_flush_prepare(struct pg_conn *pg) MUST_USE;

/* Queues the flush on a connection in pipeline mode, with a Sync.  scratch is room for encoding;
 * row_type is for store_rows_send(), instance (text) and incarnation are for the marker.  ERR_CLOSED,
 * ERR_NOMEM. */
int store_flush_send(const struct store_flush *f, struct pg_conn *pg, struct buf *scratch, uint32_t row_type,
    const char *instance, uint64_t incarnation) MUST_USE;

/* Bytes that scratch may need. */
enum { STORE_FLUSH_SCRATCH_BYTES = 8 * 1024 * 1024 };

#endif
