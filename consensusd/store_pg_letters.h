/*
 * store_pg_letters: what of a flush is about messages that their handlers could not process.
 */
#ifndef CONSENSUSD_STORE_PG_LETTERS_H
#define CONSENSUSD_STORE_PG_LETTERS_H

#include <stddef.h>

#include "common/base/must.h"
#include "consensusd/store.h"

struct pg_conn;
struct store;

struct flush_letter {
	struct store_letter row; /* error points at text */
	char text[STORE_LETTER_ERROR_SIZE];
};

/* Zeroed before its first use. */
struct flush_letters {
	struct flush_letter *rows; /* in order */
	size_t count, cap;
};

void store_letters_fini(struct flush_letters *l);
/* All of them or none; ERR_NOMEM. */
int store_letters_add(struct flush_letters *l, const struct store_letter *rows, size_t count) MUST_USE;

/* Queue what prepares the statements, and the statements.  ERR_CLOSED. */
int store_letters_prepare(struct pg_conn *pg) MUST_USE;
int store_letters_send(const struct flush_letters *l, struct pg_conn *pg) MUST_USE;

#endif
