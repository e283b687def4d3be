/*
 * row_message: messages that are database updates, for streams with the handler db (`meshctl publish --db`):
 * each that the source gives is a row, or for delete a key.
 */
#ifndef MESHCTL_ROW_MESSAGE_H
#define MESHCTL_ROW_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/must.h"

struct args;

struct row_message {
	const char *table, *operation, *key; /* borrowed from the options; table NULL: plain messages */
	struct buf text, out;
};

#define ROW_MESSAGE_OPTIONS                                                                                  \
	{"db", 0, "TABLE", "messages (of a file: lines) are JSON objects, each a row of this table"},        \
	    {"operation", 0, "NAME",                                                                         \
		"with --db: insert, upsert (default), update, or delete by such a key"},                     \
	{                                                                                                    \
		"key", 'k', "JSON", "with --db: the columns that name the row"                               \
	}

/* As the options say; row_message_fini() in any case.  An exit_code; errors are printed. */
int row_message_init(struct row_message *r, const struct args *a) MUST_USE;
void row_message_fini(struct row_message *r);
/* Makes a message of what the source gave (publisher.h): borrowed until the next one.  ERR_FORMAT (printed),
 * ERR_NOMEM. */
int row_message_make(void *arg, const uint8_t **data, size_t *len) MUST_USE;

#endif
