/*
 * source: where the messages that are published come from: words of the command line, lines or pieces
 * of a file or of standard input, or made up for measurements.
 */
#ifndef MESHCTL_SOURCE_H
#define MESHCTL_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct source;

enum source_kind {
	SOURCE_WORDS,  /* each a message */
	SOURCE_LINES,  /* each without its newline a message */
	SOURCE_PIECES, /* of piece_bytes; the last one may be shorter */
	SOURCE_MADE,   /* count messages of piece_bytes each, all different */
};

enum {
	SOURCE_MESSAGE_MAX_BYTES = 4128768, /* the node's largest payload */
	SOURCE_PIECE_BYTES = 64 * 1024,
};

struct source_conf {
	enum source_kind kind;
	const char *const *words; /* borrowed */
	uint64_t count;           /* of words, or messages to make */
	size_t piece_bytes;
	int fd; /* taken over; lines and pieces are read from it */
};

/* Borrows nothing but words.  NULL: no memory. */
struct source *source_new(const struct source_conf *conf) MUST_USE;
void source_free(struct source *s);

/*
 * The next message: 1 and *data, *len (borrowed until the next call); 0 at the end; ERR_AGAIN: nothing to
 * read now (watch source_fd()); ERR_LIMIT: a line longer than a message may be; ERR_IO with errno.
 */
int source_next(struct source *s, const uint8_t **data, size_t *len) MUST_USE;
/* The descriptor to wait for after ERR_AGAIN; -1 if the source never makes one wait. */
int source_fd(const struct source *s);

#endif
