/*
 * resume: how far a subscriber has got, in memory and in a file that survives a crash.
 *
 * The file says up to which seq of each stream the payloads are written, and how long the output was
 * then: what a crash left behind that is cut off when the subscriber starts again, so that each message
 * is in the output exactly once.
 */
#ifndef MESHCTL_RESUME_H
#define MESHCTL_RESUME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/id.h"
#include "common/base/must.h"

enum { RESUME_STREAMS_MAX = 4096 }; /* streams of one subscriber */

struct resume_stream {
	char stream_id[ULID_TEXT_SIZE];
	uint64_t seq;          /* all up to this are written */
	uint64_t acked;        /* and acknowledged on this connection; not in the file */
	uint64_t replayed;     /* a dead letter that came once more and is to be acknowledged, 0: none */
	uint64_t subscription; /* that brought the last message; not in the file */
};

struct resume {
	struct resume_stream *streams;
	size_t count, cap;
	uint64_t output_bytes;
};

void resume_init(struct resume *r);
void resume_fini(struct resume *r);

/* The entry of a stream, made with seq 0 if it is new.  NULL: no memory, or RESUME_STREAMS_MAX. */
struct resume_stream *resume_get(struct resume *r, const char *stream_id);

/* Reads the file; one that is not there is an empty one.  An error was printed. */
int resume_load(struct resume *r, const char *path) MUST_USE;
/* Replaces the file, durably.  An error was printed. */
int resume_save(const struct resume *r, const char *path) MUST_USE;
/* The text of the file, for tests; parse takes it apart: 0 or ERR_FORMAT. */
int resume_parse(struct resume *r, const char *text) MUST_USE;

#endif
