/*
 * store_pg: what the parts of the store share (store.h is its interface).
 *
 * The writer goes DOWN -> SETUP (a checklist on a new connection, store_pg_setup.c) -> UP, where one
 * flush after the other is sent; RETRY when a flush failed and waits to be sent again; DEAD after
 * on_fatal.
 */
#ifndef CONSENSUSD_STORE_PG_H
#define CONSENSUSD_STORE_PG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/backoff.h"
#include "common/base/buf.h"
#include "common/base/id.h"
#include "common/base/rng.h"
#include "common/os/loop.h"
#include "consensusd/store.h"
#include "consensusd/store_pg_conn.h"
#include "consensusd/store_pg_flush.h"
#include "consensusd/store_pg_migrate.h"
#include "consensusd/store_pg_raft_load.h"
#include "consensusd/store_pg_witness.h"

struct store_keeper;
struct store_reader;

enum {
	STORE_STALL_MS = 5000, /* a flush that takes longer counts as the database being away */
	STORE_RETRY_MIN_MS = 100,
	STORE_RETRY_MAX_MS = 5000,
	STORE_WHY_BYTES = 384,
	STORE_INSTANCE_SIZE = 37, /* a uuid as text */
	STORE_LOAD_PAGE_ROWS = 500,
	STORE_VACUUM_BYTES = 64 * 1024 * 1024, /* of batches, written and cleared */
	STORE_VACUUM_RAFT_ROWS = 100000,
	STORE_IDS_ROW_BYTES = 96, /* of a row of stream_ids, beside its ids */
	STORE_FLOORS_MAX = 65536, /* streams; when full they are forgotten, which costs time only */
};

struct store_put {
	uint8_t class;
	size_t bytes, rows; /* of its flush, before it */
};

enum store_state { STORE_DOWN, STORE_SETUP, STORE_UP, STORE_RETRY, STORE_DEAD };

struct store_setup { /* the checklist on the connection that is being set up */
	size_t step;
	bool again; /* the step has more to do */
	bool failed, fatal;
	char why[STORE_WHY_BYTES];
};

/* Where loading is: it goes on there after a lost connection, so nothing is told twice. */
struct store_load {
	bool nodes_done, rules_done, keys_done, streams_done, offsets_done, positions_done, letters_done,
	    attempts_done, failures_done;
	struct ulid last_stream;
	int64_t last_node;
	size_t rows; /* of the page at hand */
};

struct store_notes_load { /* the same of updates of nodes */
	bool done;
	int64_t last_node;
	char last_type[STORE_NOTE_TYPE_SIZE];
	size_t rows, told; /* of the page at hand; in all */
};

struct store {
	struct loop *loop;
	struct store_callbacks cb;
	uint64_t node_id;
	size_t memory_max;
	char *conninfo, *user;
	struct store_migrations migrations;
	size_t migrated; /* migrations that the database has */

	enum store_state state;
	bool ready; /* as the user was told */
	bool was_ready;
	struct store_conn *writer;
	struct store_reader *reader;
	struct store_keeper *keeper;
	struct store_setup setup;
	struct store_load load;
	struct store_raft_load raft_load;
	struct store_notes_load notes_load;
	struct store_promises promises;
	char rolled_back[STORE_WHY_BYTES]; /* "": what was loaded is not older than what was promised */
	bool rolled_back_told;

	char instance[STORE_INSTANCE_SIZE];
	bool claimed;         /* flush_marker carries our instance */
	uint64_t base;        /* flushes of the instances before; ours count from 1 */
	uint64_t incarnation; /* of this node */

	struct store_flushes flushes; /* in order; the first may be on its way, the last is being formed */
	struct store_flush *sent;     /* on its way, or in doubt */
	bool sent_failed;             /* an error came back for it */
	uint64_t last_number;         /* of the newest flush */
	uint64_t last_sent;           /* the highest that ever left */
	struct store_put put;         /* under way */
	uint64_t put_at[FRAME_CLASS_COUNT]; /* the flush that took the last put of each class */
	struct mono shared_until;           /* there are puts of streams that go before client data */
	uint64_t confirmed;
	size_t bytes;                           /* of all flushes */
	size_t since_vacuum[STORE_BOXES];       /* bytes put */
	size_t raft_since_vacuum;               /* rows of the log */
	size_t ids_since_vacuum;                /* bytes of ids put */
	struct store_marks floors[STORE_BOXES]; /* up to where streams were cleared */
	uint64_t seed;
	struct buf scratch;
	uint32_t row_type;      /* what this database calls the type batch_row */
	struct loop_defer kick; /* sends what was put in this turn */
	struct loop_timer *timer;
	struct backoff retry;
	struct rng rng;
	struct mono sent_at;

	char error[STORE_WHY_BYTES]; /* the last trouble */
	struct loop_defer die;       /* on_fatal is called from the loop */
};

/* --- store_pg.c --- */
/* A put has added so many bytes to the last flush: it leaves at the end of this turn, if it can. */
void store_kick(struct store *s, size_t bytes);
/* The setup is through: settles the flush in doubt (committed or not) and goes to work. */
void store_up(struct store *s);
/* The flush in doubt turned out to be committed. */
void store_confirm(struct store *s);
/* The setup failed; or for good. */
void store_down(struct store *s, const char *why);
void store_fatal(struct store *s, const char *why);

/* --- store_pg_setup.c: the checklist on a new connection of the writer --- */
void store_setup_start(struct store *s);
/* Notes why this step failed; the checklist ends after it.  fatal: trying again can't help. */
void store_setup_fail(struct store *s, bool fatal, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* What this node had promised is not there: noted, and told when all is loaded.  The first reason counts. */
void store_roll_back(struct store *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* --- store_pg_load.c: three steps of it --- */
int store_load_nodes_ask(struct store *s) MUST_USE;
void store_load_nodes_answer(struct store *s, const struct pg_result *res);
int store_load_streams_ask(struct store *s) MUST_USE;
void store_load_streams_answer(struct store *s, const struct pg_result *res);
int store_load_offsets_ask(struct store *s) MUST_USE;
void store_load_offsets_answer(struct store *s, const struct pg_result *res);

/* --- store_pg_rules.c: one more --- */
int store_load_rules_ask(struct store *s) MUST_USE;
void store_load_rules_answer(struct store *s, const struct pg_result *res);

/* --- store_pg_keys.c: likewise --- */
int store_load_keys_ask(struct store *s) MUST_USE;
void store_load_keys_answer(struct store *s, const struct pg_result *res);

/* --- store_pg_control_load.c: two more --- */
int store_load_notes_ask(struct store *s) MUST_USE;
void store_load_notes_answer(struct store *s, const struct pg_result *res);
int store_load_positions_ask(struct store *s) MUST_USE;
void store_load_positions_answer(struct store *s, const struct pg_result *res);

/* --- store_pg_letters.c: and two --- */
int store_load_letters_ask(struct store *s) MUST_USE;
void store_load_letters_answer(struct store *s, const struct pg_result *res);
int store_load_attempts_ask(struct store *s) MUST_USE;
void store_load_attempts_answer(struct store *s, const struct pg_result *res);
int store_load_failures_ask(struct store *s) MUST_USE;
void store_load_failures_answer(struct store *s, const struct pg_result *res);

/* --- store_pg_read.c: the connection for reads --- */
struct store_reader *store_reader_new(struct loop *l, const char *conninfo, const char *user) MUST_USE;
void store_reader_free(struct store_reader *r);
/* The database is away: all waiting reads fail. */
void store_reader_fail(struct store_reader *r);
int store_reader_add(struct store_reader *r, enum store_box box, const struct ulid *stream, uint64_t from_seq,
    size_t max_bytes, store_batch_fn *fn, void *arg) MUST_USE;

int store_reader_add_history(struct store_reader *r, const char *key, bool prefix, size_t limit,
    store_config_fn *fn, void *arg) MUST_USE;
/* One letter if seq is not 0. */
int store_reader_add_letters(struct store_reader *r, const struct ulid *stream, const char *tenant,
    uint64_t seq, uint64_t after, size_t limit, store_letter_fn *fn, void *arg) MUST_USE;

int store_reader_add_failures(struct store_reader *r, const struct ulid *stream, uint64_t node, uint64_t seq,
    size_t limit, store_failure_fn *fn, void *arg) MUST_USE;

int store_reader_add_message(struct store_reader *r, const struct ulid *stream, uint64_t seq,
    const struct ulid *message_id, store_message_fn *fn, void *arg) MUST_USE;

int store_reader_add_ids(struct store_reader *r, const struct ulid *stream, uint64_t from_seq,
    store_id_fn *fn, void *arg) MUST_USE;

int store_reader_add_backlog(
    struct store_reader *r, const struct ulid *stream, store_backlog_fn *fn, void *arg) MUST_USE;

/* --- store_pg_message.c: where a message is --- */
extern const char store_message_sql[];
/* Reads a row of what that selects, and hands it on.  ERR_FORMAT. */
int store_message_row(const struct pg_result *res, int row, store_message_fn *fn, void *arg) MUST_USE;

/* --- store_pg_keep.c: the connection that keeps house --- */
enum store_task {
	STORE_TASK_VACUUM_OUTBOX,
	STORE_TASK_VACUUM_INBOX,
	STORE_TASK_VACUUM_RAFT,
	STORE_TASK_VACUUM_IDS,
	STORE_TASK_PRUNE,
	STORE_TASK_KEYS,
	STORE_TASK_COUNT
};
/* cb is borrowed: on_key_gone(). */
struct store_keeper *store_keeper_new(
    struct loop *l, const char *conninfo, const char *user, const struct store_callbacks *cb) MUST_USE;
void store_keeper_free(struct store_keeper *k);
/* Does it when it can; once, however often it is asked meanwhile. */
void store_keeper_ask(struct store_keeper *k, enum store_task task);

#endif
