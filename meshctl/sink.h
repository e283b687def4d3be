/*
 * sink: where a subscriber puts what it receives.  Nothing is acknowledged before sink_flush().
 */
#ifndef MESHCTL_SINK_H
#define MESHCTL_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct sink;

enum sink_kind {
	SINK_STDOUT,  /* printed */
	SINK_FILE,    /* appended to a file, which is then on disk */
	SINK_DIR,     /* each message a file <stream>-<seq> */
	SINK_DISCARD, /* counted */
};

enum sink_format {
	SINK_RAW,   /* payloads one after the other */
	SINK_LINES, /* each followed by a newline */
	SINK_JSON,  /* one object a line */
};

struct sink_message {
	const char *stream_id, *tenant, *source, *message_id;
	uint64_t seq;
	int64_t timestamp_ms;
	const uint8_t *payload;
	size_t len;
	const uint8_t *digest; /* of the payload; NULL: the publisher gave none */
	size_t digest_len;
	int64_t skipped; /* messages before this one that the source gave up */
};

/* path: of the file or directory (made if needed), NULL for the other kinds.  Errors are printed. */
struct sink *sink_open(enum sink_kind kind, enum sink_format format, const char *path) MUST_USE;
void sink_free(struct sink *s);

/* Cuts a file to len bytes: the rest was not yet accounted for.  Errors are printed. */
int sink_cut(struct sink *s, uint64_t len) MUST_USE;
/* 0, or an error that was printed. */
int sink_put(struct sink *s, const struct sink_message *m) MUST_USE;
/* All that was put is written, and on disk if it is a file.  0, or an error that was printed. */
int sink_flush(struct sink *s) MUST_USE;
/* Bytes in the output file after sink_flush(). */
uint64_t sink_bytes(const struct sink *s);

#endif
