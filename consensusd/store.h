/*
 * store: the durable state of consensusd in PostgreSQL (the only user of libpq is store_pg*.c).
 *
 * One writer connection.  What callers put goes into the flush that is being formed; at most one
 * flush is on its way; when the previous one was confirmed, the next leaves as one pipeline segment,
 * one transaction.  A ticket names the flush that a put belongs to; on_durable tells that all puts up
 * to a ticket are committed.  Each flush carries its number in the table flush_marker; after a lost
 * connection the marker tells whether the flush in doubt was committed, and if not it is sent again:
 * so a put is applied exactly once, in order, whatever PostgreSQL does.  Reads use a second connection,
 * vacuuming and pruning a third.  Nothing here blocks.
 *
 * Marks: store_full() is true above memory_max/4 of puts that are not durable yet, or while the
 * database is away; callers then stop taking new work (publishers are held).
 */
#ifndef CONSENSUSD_STORE_H
#define CONSENSUSD_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/id.h"
#include "common/base/must.h"
#include "consensusd/core/batch.h"

struct loop;
struct store;

enum {
	STORE_TARGETS_MAX = 16,
	STORE_KNOWN_MAX = 64,
	STORE_LINKS_MAX = 65536, /* directions of links in a snapshot of the topology */
};

enum store_stream_state { STORE_STREAM_OPEN, STORE_STREAM_CLOSING, STORE_STREAM_CLOSED };

/* A row of streams: this node is its source, or one of its targets, or both. */
struct store_stream {
	struct ulid stream_id;
	char tenant_id[TENANT_TEXT_SIZE];
	uint64_t src_node;
	uint64_t dst_nodes[STORE_TARGETS_MAX];
	size_t dst_count;
	char qos[32];
	int32_t priority;
	bool striping; /* source: large batches on all lanes of a link */
	uint64_t created_unix_ms;
	uint64_t epoch;
	enum store_stream_state state;
	uint64_t close_seq; /* last seq of a closing or closed stream, else 0 */
	uint8_t source_key[32];
	uint8_t key_id[8];
	const uint8_t *meta; /* signed StreamMeta as sent (borrowed), for opening it again */
	size_t meta_len;
	/* Only when loaded: */
	uint64_t outbox_last_seq; /* source: highest durable seq ever assigned */
	uint64_t inbox_last_seq;  /* target: highest durable contiguous seq */
};

struct store_offset { /* progress of a stream at a node (source: at each target) */
	struct ulid stream_id;
	uint64_t node_id;
	uint64_t committed_seq; /* processed */
};

/* A node as routerd describes it.  Text is borrowed; lists are separated by spaces. */
struct store_node {
	uint64_t node_id, incarnation;
	uint64_t lsa_seq; /* 0: its LSA is not told */
	uint8_t pubkey[32], lsa_hash[32];
	const char *name, *status, *region, *version;
	const char *addresses, *services, *capabilities; /* NULL: not told, what is there stays */
};

/* One direction of a link. */
struct store_link {
	uint64_t from, to;
	uint32_t latency_us, bandwidth_kbps, loss_ppm, utilisation_permille, weight;
	bool two_way;
};

struct store_callbacks {
	/* Connected, schema right, lock held, flush in doubt settled.  The first time: after all
	 * on_load_* calls. */
	void (*on_ready)(void *ctx);
	/* The database is away; puts are kept and reads fail until on_ready. */
	void (*on_lost)(void *ctx, const char *why);
	/* All puts with ticket <= this are durable. */
	void (*on_durable)(void *ctx, uint64_t ticket);
	/* Start-up state, in this order: nodes with addresses (at most STORE_KNOWN_MAX, those seen last
	 * first), streams, offsets. */
	void (*on_load_node)(void *ctx, uint64_t node_id, const char *addresses);
	void (*on_load_stream)(void *ctx, const struct store_stream *s);
	void (*on_load_offset)(void *ctx, const struct store_offset *o);
	/* State that contradicts what this process knows (a restored backup, another writer): stop. */
	void (*on_fatal)(void *ctx, const char *why);
	void *ctx;
};

struct store_conf {
	const char *conninfo;
	const char *user; /* whom to connect as where conninfo has no user; NULL: libpq's choice */
	int sql_dir_fd;   /* migrations, opened before the sandbox; -1: check only */
	bool migrate;     /* apply, or only check */
	size_t memory_max;
	uint64_t node_id; /* the database belongs to this node; refuses another's */
};

struct store *store_new(
    struct loop *l, const struct store_conf *conf, const struct store_callbacks *cb) MUST_USE;
void store_free(struct store *s);
bool store_ready(const struct store *s);
bool store_full(const struct store *s);
/* The text of the last trouble, "" if none.  Borrowed. */
const char *store_error(const struct store *s);

/*
 * Puts.  Each returns the ticket of its flush (> 0), or a negative error (ERR_NOMEM, ERR_FULL above the
 * hard limit memory_max).  Batches are referenced until durable.
 */
int64_t store_put_stream(struct store *s, const struct store_stream *row) MUST_USE; /* insert or update */
int64_t store_put_outbox(struct store *s, struct batch *b) MUST_USE;
int64_t store_put_inbox(struct store *s, struct batch *b, uint64_t src_node) MUST_USE;
/* Progress: offset upsert, and the range into delivery_log, in one. */
int64_t store_put_processed(struct store *s, const struct ulid *stream, uint64_t src_node, uint64_t dst_node,
    uint64_t first_seq, uint64_t last_seq) MUST_USE;
/* Outbox (inbox) of the stream up to seq is no longer needed: batches wholly below are removed. */
int64_t store_put_outbox_clear(struct store *s, const struct ulid *stream, uint64_t upto_seq) MUST_USE;
int64_t store_put_inbox_clear(struct store *s, const struct ulid *stream, uint64_t upto_seq) MUST_USE;
/* Node directory (upsert), and the versions of its LSA. */
int64_t store_put_node(struct store *s, const struct store_node *row) MUST_USE;
/* All links of the mesh, at most STORE_LINKS_MAX: the table of links, and a snapshot of the topology. */
int64_t store_put_topology(struct store *s, const struct store_link *links, size_t count) MUST_USE;
/* Raises the persisted incarnation of this node by one and returns it at once (durable with the next
 * flush; after a crash before that, routerd's sequence recovery covers it). */
uint64_t store_next_incarnation(struct store *s);

/*
 * Reads batches of a stream from from_seq on, in order, at most max_bytes of body (at least one batch).
 * fn is called per batch (unref when done with it), then once with b NULL and err 0 or an error
 * (ERR_UNAVAIL: database away).  At most STORE_READS_MAX reads wait; more give ERR_FULL.
 */
enum { STORE_READS_MAX = 1024 };
enum store_box { STORE_OUTBOX, STORE_INBOX };
typedef void store_batch_fn(void *arg, struct batch *b, int err);
int store_read(struct store *s, enum store_box box, const struct ulid *stream, uint64_t from_seq,
    size_t max_bytes, store_batch_fn *fn, void *arg) MUST_USE;

#endif
