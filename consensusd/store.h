/*
 * store: the durable state of consensusd in PostgreSQL (the only user of libpq is store_pg*.c).
 *
 * One writer connection.  What callers put goes into the flush that is being formed; at most one
 * flush is on its way; when the previous one was confirmed, the next leaves as one pipeline segment,
 * one transaction.  A ticket names the flush that a put belongs to; on_durable tells that all puts up
 * to a ticket are committed.  Each flush carries its number in the table flush_marker; after a lost
 * connection the marker tells whether the flush in doubt was committed, and if not it is sent again:
 * so a put is applied exactly once, in order, whatever PostgreSQL does.  Reads use a second connection,
 * vacuuming and pruning a third.  Nothing here blocks, but for the witness when a term or a vote changed (a
 * tenth of a millisecond).
 *
 * Puts of one class (enum frame_class) are in order; those of a stream of the system, or of database updates,
 * go into a flush that has not left yet before client data that was put earlier, and what is of no stream
 * (Raft, directory, configuration) before all of them.  So the ticket of a put may be lower than that of an
 * earlier one of another class.
 *
 * Marks: store_full() is true above memory_max/4 of puts that are not durable yet, or while the
 * database is away; callers then stop taking new work (publishers are held).  What goes before client data
 * may fill a half (store_full_for()).
 */
#ifndef CONSENSUSD_STORE_H
#define CONSENSUSD_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/id.h"
#include "common/base/must.h"
#include "consensusd/core/batch.h"
#include "consensusd/core/controls.h"
#include "consensusd/core/policy.h"

struct loop;
struct raft_entry;
struct store;

enum {
	STORE_TARGETS_MAX = 16,
	STORE_KNOWN_MAX = 64,
	STORE_GROUP_BYTES = 16,   /* of a Raft group's id */
	STORE_LINKS_MAX = 65536,  /* directions of links in a snapshot of the topology */
	STORE_KEY_BOX_BYTES = 80, /* a key that is sealed to a node's key */
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
	bool striping;      /* source: large batches on all lanes of a link */
	uint64_t first_seq; /* of what this node gets of it as a target; 0: all */
	/* Part of meta, no columns: its Raft group, how often the meta was changed, what was asked for. */
	uint8_t group_id[STORE_GROUP_BYTES];
	uint64_t revision;
	uint64_t dst_first[STORE_TARGETS_MAX]; /* of what each target gets; 0: all */
	uint64_t
	    left[STORE_TARGETS_MAX]; /* nodes that were targets and may not know yet that they are none */
	size_t left_count;
	struct policy policy;
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
	bool has_ids;             /* source: store_read_ids() has something to tell */
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

/* Raft: what a replica of this node has. */
enum store_raft_type { STORE_RAFT_MCG, STORE_RAFT_DSG };
enum { STORE_GROUPS_MAX = 16384 };

/* As it was loaded.  Entries have one reference each, the callback's to keep (raft_entry_ref()). */
struct store_raft_state {
	uint8_t group[STORE_GROUP_BYTES];
	enum store_raft_type type;
	uint64_t replica;            /* id of this node's replica */
	uint64_t term, vote, commit; /* vote: id of a replica, 0: nobody */
	uint64_t snap_index, snap_term;
	const uint8_t *snap_config, *snap_data; /* borrowed; NULL: there is no snapshot */
	size_t snap_config_len, snap_data_len;
	struct raft_entry *const *entries; /* from snap_index + 1 on */
	size_t entry_count;
};

/* What a replica has to persist, in this order: snapshot (if snap_data is not NULL: it takes the place of
 * the one before, and with restore of the whole log), removal of entries below keep (0: none) and from cut on
 * (UINT64_MAX: none), new entries (referenced until they are durable), then term, vote and commit. */
struct store_raft {
	uint8_t group[STORE_GROUP_BYTES];
	enum store_raft_type type;
	uint64_t replica, term, vote, commit;
	uint64_t leader_node;    /* for people: who leads, 0: nobody known */
	const uint64_t *members; /* for people: nodes of the members; NULL: as before */
	size_t member_count;
	bool restore;
	uint64_t snap_index, snap_term;
	const uint8_t *snap_config, *snap_data; /* copied */
	size_t snap_config_len, snap_data_len;
	uint64_t keep, cut;
	struct raft_entry *const *entries;
	size_t entry_count;
};

/* The mesh that this node belongs to; text is borrowed. */
struct store_mesh {
	struct ulid mesh_id;
	const char *name, *description, *status;
	bool allow_join;
	uint64_t created_unix_ms;
};

enum {
	STORE_CONFIG_KEY_SIZE = 128,
	STORE_CONFIG_CHANGES = 100, /* kept of each key: the oldest go */
	STORE_HISTORY_MAX = 10000,  /* of one read */
	STORE_NOTES_MAX = 65536,    /* loaded at start; more stay in the database, and that is said */
	STORE_NOTE_TYPE_SIZE = 64,
	STORE_POSITIONS_MAX = 4096, /* loaded at start: those that moved last */
	STORE_SUBSCRIBER_SIZE = 256,
	STORE_LETTER_ERROR_SIZE = 256,
	STORE_ATTEMPTS_MAX = 65536,  /* loaded at start: the newest; others begin to count anew */
	STORE_LETTERS_MAX = 1000,    /* of one read */
	STORE_KEY_UNSEEN_HOURS = 24, /* keys of tenants that were not put for so long are looked at */
	STORE_FAILURES_MAX = 257,    /* loaded at start: one more than anybody remembers */
};

/* A change of the mesh's configuration, as an entry of the control group's log has it.  What is borrowed is
 * copied.  The value is bytes to the store: one that is no JSON harms nobody, people just don't see it. */
struct store_config {
	const char *key;     /* of printable ASCII, below STORE_CONFIG_KEY_SIZE */
	const uint8_t *json; /* NULL: the key is removed */
	size_t len;
	uint64_t version, index, node, unix_ms; /* index and unix_ms together name the change */
};

/* The newest update of a node of one type, or that there is none any more. */
struct store_note {
	uint64_t node_id;
	const char *type; /* any text, not empty, below STORE_NOTE_TYPE_SIZE */
	uint64_t version;
	const uint8_t *payload, *signature; /* borrowed; the signature has its public key before it */
	size_t payload_len, signature_len;
	uint64_t unix_ms;
	bool removed;
	uint64_t position; /* in which order updates came to this node */
};

/* How far a subscriber has acknowledged what it subscribed to. */
struct store_position {
	uint8_t kind;
	/* Any text, below STORE_SUBSCRIBER_SIZE.  "" stands for this node: positions of the kind up to this
	 * one were used. */
	const char *subscriber;
	uint64_t position;
};

/* A rule of an operator about streams; its bucket is not looked at. */
struct store_rule {
	struct control control;
	bool drop; /* the rule with this kind, side and scope goes */
};

/* What there is to tell of a message that its handler at this node could not process. */
enum store_letter_kind {
	STORE_LETTER_ATTEMPT, /* it failed, and is tried again: attempts, error */
	STORE_LETTER_CUT,     /* attempts of the stream's messages up to seq are forgotten */
	STORE_LETTER_ADD,     /* it is a dead letter, taken from the inbox: all */
	STORE_LETTER_AGAIN,   /* the dead letter was tried again, and failed: attempts, error */
	STORE_LETTER_DONE,    /* the dead letter was processed after all: dst_node */
	STORE_LETTER_DISCARD, /* the dead letter is of no use */
	STORE_LETTER_HEARD,   /* at the source: it is one at dst_node: src_node, error */
	STORE_LETTER_KINDS,
};

struct store_letter {
	enum store_letter_kind kind;
	struct ulid stream_id;
	uint64_t seq;
	char tenant_id[TENANT_TEXT_SIZE];
	uint64_t src_node, dst_node;
	uint32_t attempts;
	const char *error; /* cut to STORE_LETTER_ERROR_SIZE; what is not ASCII becomes '?' */
};

/* A dead letter as it was read; borrowed. */
struct store_dead_letter {
	uint64_t position; /* in which order they came */
	struct ulid stream_id, message_id;
	uint64_t seq, src_node, failed_unix_ms, bytes;
	char tenant_id[TENANT_TEXT_SIZE], error[STORE_LETTER_ERROR_SIZE];
	uint32_t attempts;
	/* Only if one was asked for: what opens it. */
	uint64_t first_seq, epoch;
	uint8_t key_id[BATCH_KEY_ID_BYTES], nonce[BATCH_NONCE_BYTES];
	const uint8_t *sealed;
	size_t sealed_len;
};

/* A version of a tenant's key that this node has, sealed to this node's own key. */
struct store_key {
	char tenant_id[TENANT_TEXT_SIZE];
	uint64_t version;
	uint8_t key_id[BATCH_KEY_ID_BYTES];
	uint8_t box[STORE_KEY_BOX_BYTES];
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
	/* Rules about streams come before the streams.  NULL: they are not wanted. */
	void (*on_load_rule)(void *ctx, const struct control *c);
	/* So do keys of tenants, a tenant's oldest first.  NULL: likewise. */
	void (*on_load_key)(void *ctx, const struct store_key *k);
	void (*on_load_stream)(void *ctx, const struct store_stream *s);
	void (*on_load_offset)(void *ctx, const struct store_offset *o);
	/* Then the replicas of this node, one call each; the entries' references are the callback's in any
	 * case.  Return 0, or an error: then on_fatal follows. */
	int (*on_load_raft)(void *ctx, const struct store_raft_state *r);
	/* Then updates of nodes and positions of subscribers; NULL: they are not wanted. */
	void (*on_load_note)(void *ctx, const struct store_note *n);
	void (*on_load_position)(void *ctx, const struct store_position *p);
	/* And of dead letters of streams how many there are, and the messages that have failed so far; NULL:
	 * likewise. */
	void (*on_load_letters)(void *ctx, uint64_t count);
	void (*on_load_attempt)(void *ctx, const struct store_letter *row);
	/* Any time later: nothing here is sealed with this key any more, and none of the two newest versions
	 * of its tenant is it; it was put last before STORE_KEY_UNSEEN_HOURS.  It is not in the database any
	 * more. NULL: likewise. */
	void (*on_key_gone)(void *ctx, const char *tenant_id, const uint8_t key_id[BATCH_KEY_ID_BYTES]);
	/* And of each stream and target the last STORE_FAILURES_MAX messages that became dead letters there,
	 * ascending; NULL: likewise. */
	void (*on_load_failure)(void *ctx, const struct ulid *stream, uint64_t node, uint64_t seq);
	/* What is in the database is older than what this node has promised to others: a backup was restored,
	 * or it is another database.  Called after the loads, before on_ready; the replicas that were loaded
	 * must not take part in anything. */
	void (*on_rolled_back)(void *ctx, const char *why);
	/* While they load: one replica lacks a part of what it had, and is not told of.  NULL: as if all were
	 * rolled back. */
	void (*on_damaged)(void *ctx, const uint8_t group[STORE_GROUP_BYTES], const char *why);
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
	int witness_fd;   /* file beside the database that tells whether it went back in time (witness.h), to
			     read and write, borrowed; -1: none */
	bool trust_database; /* where there are replicas and no witness, that is not held against it */
};

struct store *store_new(
    struct loop *l, const struct store_conf *conf, const struct store_callbacks *cb) MUST_USE;
void store_free(struct store *s);
bool store_ready(const struct store *s);
bool store_full(const struct store *s);
/* The same for puts of streams of this class. */
bool store_full_for(const struct store *s, uint8_t class);
/* For how long the oldest put has waited to be durable; 0: none waits. */
int64_t store_lag_ms(const struct store *s);
/* The text of the last trouble, "" if none.  Borrowed. */
const char *store_error(const struct store *s);

/*
 * Puts.  Each returns the ticket of its flush (> 0), or a negative error (ERR_NOMEM, ERR_FULL above the
 * hard limit memory_max).  Batches are referenced until durable.  class is that of the stream, the same in
 * all of its puts.
 */
int64_t store_put_stream(struct store *s, const struct store_stream *row) MUST_USE; /* insert or update */
int64_t store_put_outbox(struct store *s, uint8_t class, struct batch *b) MUST_USE;
/* Ids of the stream's messages up to upto_seq need not be known any more; up to from_seq that was put before.
 * Ids come with outbox batches that say by_id. */
int64_t store_put_ids_clear(
    struct store *s, uint8_t class, const struct ulid *stream, uint64_t from_seq, uint64_t upto_seq) MUST_USE;
int64_t store_put_inbox(struct store *s, uint8_t class, struct batch *b, uint64_t src_node) MUST_USE;
/* Progress: offset upsert, and the range into delivery_log, in one. */
int64_t store_put_processed(struct store *s, uint8_t class, const struct ulid *stream, uint64_t src_node,
    uint64_t dst_node, uint64_t first_seq, uint64_t last_seq) MUST_USE;
/* The same, and what failed within the range (each count may be 0): all of it or nothing. */
int64_t store_put_processed_letters(struct store *s, uint8_t class, const struct ulid *stream,
    uint64_t src_node, uint64_t dst_node, uint64_t first_seq, uint64_t last_seq,
    const struct store_letter *rows, size_t count) MUST_USE;
int64_t store_put_letter(struct store *s, uint8_t class, const struct store_letter *row) MUST_USE;
/* A source gave up these messages before the target had them: a gap in the delivery log, and at the target
 * nothing that is waited for.  dst_node 0, at the source: the mark up to which all was given up (offset of
 * node 0); first_seq does not count. */
int64_t store_put_skipped(struct store *s, uint8_t class, const struct ulid *stream, uint64_t src_node,
    uint64_t dst_node, uint64_t first_seq, uint64_t last_seq) MUST_USE;
/* Outbox (inbox) of the stream up to seq is no longer needed: batches wholly below are removed. */
int64_t store_put_outbox_clear(
    struct store *s, uint8_t class, const struct ulid *stream, uint64_t upto_seq) MUST_USE;
int64_t store_put_inbox_clear(
    struct store *s, uint8_t class, const struct ulid *stream, uint64_t upto_seq) MUST_USE;
/* Node directory (upsert), and the versions of its LSA. */
int64_t store_put_node(struct store *s, const struct store_node *row) MUST_USE;
/* All links of the mesh, at most STORE_LINKS_MAX: the table of links, and a snapshot of the topology. */
int64_t store_put_topology(struct store *s, const struct store_link *links, size_t count) MUST_USE;
/* State of a replica; forgets a replica with everything it has. */
int64_t store_put_raft(struct store *s, const struct store_raft *row) MUST_USE;
/* After on_rolled_back(), when all replicas whose promises are in doubt were forgotten, durably: what the
 * database has from now on is what it should have.  ERR_IO: it will be found to be older at the next start.
 */
int store_renew_witness(struct store *s) MUST_USE;
int64_t store_put_raft_drop(struct store *s, const uint8_t group[STORE_GROUP_BYTES]) MUST_USE;
/* The mesh (upsert). */
int64_t store_put_mesh(struct store *s, const struct store_mesh *row) MUST_USE;
/* A change of the configuration: the value that there is now, and its history.  Putting it again changes
 * nothing in the history; so after a start all may be put again, in order. */
int64_t store_put_config(struct store *s, const struct store_config *row) MUST_USE;
/* No key has a value any more, but for those that are put after this: another state took the place of the one
 * that was applied entry by entry.  The history stays. */
int64_t store_put_config_clear(struct store *s) MUST_USE;
/* Upserts.  ERR_RANGE: a text is too long, or empty. */
int64_t store_put_note(struct store *s, const struct store_note *row) MUST_USE;
/* All updates of a node are gone, but for those that are put after this. */
int64_t store_put_notes_drop(struct store *s, uint64_t node_id) MUST_USE;
int64_t store_put_position(struct store *s, const struct store_position *row) MUST_USE;
/* Upsert, or delete. */
int64_t store_put_rule(struct store *s, const struct store_rule *row) MUST_USE;
/* A key that something will be sealed with, before that is put; and again when it is used after a long time:
 * see on_key_gone(). */
int64_t store_put_key(struct store *s, const struct store_key *row) MUST_USE;
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

/*
 * Reads ids of messages of a stream that this node is the source of, in the order of their seqs, of whole
 * batches: of those that begin at from_seq or later, at most STORE_IDS_ROWS.  fn is called per message, then
 * once with id NULL and err as above.
 */
enum { STORE_IDS_ROWS = 1024 };
typedef void store_id_fn(void *arg, uint64_t seq, const struct ulid *id, int err);
int store_read_ids(
    struct store *s, const struct ulid *stream, uint64_t from_seq, store_id_fn *fn, void *arg) MUST_USE;

/*
 * Reads changes of the configuration, the newest first (by the time that was written into them), at most
 * limit: of one key, or of all that begin with it.  fn is called per change, then once with row NULL and err
 * as above. ERR_RANGE: a key that can't be one.
 */
typedef void store_config_fn(void *arg, const struct store_config *row, int err);
int store_read_config_history(
    struct store *s, const char *key, bool prefix, size_t limit, store_config_fn *fn, void *arg) MUST_USE;

/* What the outbox of a stream has, in the order of seqs, in at most STORE_BACKLOG_ROWS parts. */
enum { STORE_BACKLOG_ROWS = 64 };
struct store_backlog {
	uint64_t last_seq, bytes; /* a batch ends there */
	uint64_t first_unix_ms, last_unix_ms;
};
/* fn is called once, also with an error as above. */
typedef void store_backlog_fn(void *arg, const struct store_backlog *rows, size_t count, int err);
int store_read_backlog(struct store *s, const struct ulid *stream, store_backlog_fn *fn, void *arg) MUST_USE;

/* What the database knows of a message and one of its stream's targets.  Text is borrowed. */
struct store_message {
	uint64_t seq;
	struct ulid message_id; /* zero: no batch with it is kept */
	const char *tenant_id;
	uint64_t src_node, dst_node;
	bool closed; /* the stream, after close_seq */
	uint64_t close_seq;
	bool kept;   /* in outbox or inbox */
	bool logged; /* in the delivery log */
	bool failed; /* it was given up before the target had it, and all up to failed_last */
	uint64_t failed_last;
	bool dead; /* it became a dead letter there, and was not processed since */
	const char *error;
	uint64_t updated_unix_ms; /* of the log; 0: it is not there */
	uint64_t committed_seq;   /* the target has processed all up to this, as far as this node knows */
};

/*
 * Reads where a message is: by its seq, or (seq 0) by its message id, which is looked for in the newest
 * STORE_MESSAGE_ROWS batches of outbox and inbox, and among those of store_read_ids().  fn is called for each
 * target of the stream, then once with row NULL and err as above; only that: the stream or the message is not
 * known.
 */
enum { STORE_MESSAGE_ROWS = 65536 };
typedef void store_message_fn(void *arg, const struct store_message *row, int err);
int store_read_message(struct store *s, const struct ulid *stream, uint64_t seq,
    const struct ulid *message_id, store_message_fn *fn, void *arg) MUST_USE;

/*
 * Reads dead letters of streams above position after, in order, at most limit (STORE_LETTERS_MAX): of one
 * stream (NULL: all) and tenant ("": all).  Or one with what it holds.  fn as above.
 */
typedef void store_letter_fn(void *arg, const struct store_dead_letter *row, int err);
int store_read_letters(struct store *s, const struct ulid *stream, const char *tenant, uint64_t after,
    size_t limit, store_letter_fn *fn, void *arg) MUST_USE;
int store_read_letter(
    struct store *s, const struct ulid *stream, uint64_t seq, store_letter_fn *fn, void *arg) MUST_USE;

/* Reads which messages above seq became dead letters at a target, ascending, at most limit.  fn is called for
 * each, then once with seq 0 and err as above. */
typedef void store_failure_fn(void *arg, uint64_t seq, int err);
int store_read_failures(struct store *s, const struct ulid *stream, uint64_t node, uint64_t seq, size_t limit,
    store_failure_fn *fn, void *arg) MUST_USE;

#endif
