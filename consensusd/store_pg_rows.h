/*
 * store_pg_rows: batches into outbox and inbox.
 *
 * A large batch is a statement of its own.  Small ones (many streams with a message or two each) share
 * one, as an array of rows: that halves what PostgreSQL needs for each.
 */
#ifndef CONSENSUSD_STORE_PG_ROWS_H
#define CONSENSUSD_STORE_PG_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "consensusd/store.h"
#include "consensusd/store_pg_flush.h"

enum {
	STORE_ROWS_SMALL_BYTES = 4096, /* body of a batch that shares; above, sharing gains nothing */
	STORE_ROWS_MAX = 256,          /* batches in one statement */
};

/* Queues what prepares the statements.  ERR_CLOSED. */
int store_rows_prepare(struct pg_conn *pg) MUST_USE;

/* Queues the statements for count batches.  row_type: the database's oid of type batch_row.
 * ERR_CLOSED, ERR_NOMEM. */
int store_rows_send(enum store_box box, const struct flush_batch *batches, size_t count, uint32_t row_type,
    struct pg_conn *pg, struct buf *scratch) MUST_USE;

#endif
