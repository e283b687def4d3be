/*
 * rows: the tables of a node: what is put is durable when its transaction commits, in order; a crash loses
 * the transaction that forms, and tosses a coin about the one on its way.
 */
#ifndef TESTS_STREAMSIM_ROWS_H
#define TESTS_STREAMSIM_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "consensusd/core/batch.h"
#include "consensusd/core/limits.h"
#include "consensusd/core/order.h"

enum {
	ROWS_TARGETS_MAX = 3,
	ROWS_BATCHES_MAX = 1 << 13,
	ROWS_PUTS_MAX = 1 << 12,
	ROWS_GAPS_MAX = 1 << 13,
	ROWS_FAILED_MAX = 256
};

/* What was given up: at the source for whom, at a target what it lacks. */
struct rows_gap {
	uint64_t first, last;
	size_t target; /* at the source */
};

/* What the source states of a stream's targets: in its row, and as they have taken it in theirs. */
struct rows_set {
	uint64_t revision;
	unsigned group;
	unsigned present, left; /* bits by node: targets; those that may not know that they are none */
	uint64_t first[ROWS_TARGETS_MAX]; /* of what each gets, by node - 1; 0: all */
};

/* A message that failed. */
struct rows_failed {
	uint64_t seq;
	uint32_t attempts;
};

/* What a put changes. */
struct rows_put {
	uint64_t ticket;
	uint64_t at_ms; /* of a batch */
	enum order_kind kind;
	struct batch *batch; /* outbox, inbox */
	uint64_t seq;        /* of a row its state; else the last seq */
	uint64_t epoch;      /* of a stream's row */
	uint64_t close_seq;  /* of a row that ends a stream */
	struct rows_set set; /* of a row */
	bool leave;          /* of a target's row: it is none any more, and forgets all that it had */
	size_t target;       /* recorded: whose */
	bool clear;          /* forget batches up to seq */
	bool skipped;        /* given up, up to seq: at a target from first on */
	uint64_t first;      /* of a target's row that begins: of what it gets */
	uint64_t have[ROWS_TARGETS_MAX];   /* at the source: what targets have of that */
	struct rows_failed failed;         /* an attempt that failed; seq 0: none */
	uint64_t letters[RETRY_ITEMS_MAX]; /* processed, recorded: of that, dead letters */
	size_t letter_count;
};

struct rows {
	/* durable */
	struct batch *batches[ROWS_BATCHES_MAX];
	uint64_t at_ms[ROWS_BATCHES_MAX];    /* when they came */
	size_t first, count;                 /* of batches */
	struct batch *ids[ROWS_BATCHES_MAX]; /* that were in the outbox with ids to be kept */
	size_t ids_count;
	uint64_t last_seq;                /* rows, gaps and what is processed */
	uint64_t rows_seq;                /* the last that ever had a row */
	uint64_t marks[ROWS_TARGETS_MAX]; /* processed; at the source for each target */
	bool row;
	uint64_t row_state, epoch, close_seq;
	struct rows_set set;
	uint64_t removed_at;  /* revision of the statement by which this node was a target no more */
	uint64_t skipped_seq; /* at the source */
	struct rows_gap gaps[ROWS_GAPS_MAX];
	size_t gap_count;
	struct rows_failed attempts[ROWS_FAILED_MAX];
	size_t attempt_count;
	uint64_t letters[ROWS_BATCHES_MAX]; /* seqs, ascending */
	size_t letter_count;
	uint8_t
	    dead[ROWS_BATCHES_MAX]; /* at the source, by seq: targets where it is a dead letter, as bits */
	/* not durable */
	struct rows_put puts[ROWS_PUTS_MAX];
	size_t put_count, put_bytes;
	uint64_t forming, in_flight, durable; /* tickets; in_flight 0: none */
};

typedef void rows_done(void *arg, const struct rows_put *p);

void rows_init(struct rows *r);
void rows_fini(struct rows *r);
/* Its ticket, or ERR_FULL. */
int64_t rows_put(struct rows *r, const struct rows_put *p);
/* True if a transaction leaves now. */
bool rows_start(struct rows *r);
/* The one on its way is committed: its ticket. */
uint64_t rows_commit(struct rows *r, rows_done *done, void *arg);
void rows_crash(struct rows *r, bool committed, rows_done *done, void *arg);
/* The batch that holds seq, NULL: it is not there. */
struct batch *rows_find(const struct rows *r, uint64_t seq);
/* The gap of a target (of the rows' own, at a target: 0) that holds seq, NULL: there is none. */
const struct rows_gap *rows_gap(const struct rows *r, size_t target, uint64_t seq);
bool rows_has_letter(const struct rows *r, uint64_t seq);

#endif
