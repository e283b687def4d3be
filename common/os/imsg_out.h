/*
 * imsg_out: the writing side of an imsg queue: a byte stream in chunks, with descriptors at places.
 *
 * imsg_out_reserve() allocates, imsg_out_put() then can't fail: a message is queued whole or not at
 * all.  A descriptor goes with the first byte that is put after imsg_out_fd().
 */
#ifndef COMMON_OS_IMSG_OUT_H
#define COMMON_OS_IMSG_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct imsg_chunk;

struct imsg_out_fd {
	uint64_t at; /* place in the stream of the byte that it goes with */
	int fd;
};

struct imsg_out {
	struct imsg_chunk *first, *last; /* last: where the next byte goes; empty ones may follow it */
	struct imsg_chunk *spare;        /* one empty chunk is kept, so that a steady flow never allocates */
	size_t bytes;                    /* queued */
	size_t room;                     /* bytes that can be put without allocation */
	uint64_t sent;                   /* place in the stream of the first queued byte */
	struct imsg_out_fd *fds;         /* by place */
	size_t fd_count, fd_cap;
};

void imsg_out_init(struct imsg_out *o);
/* Frees what is queued and closes the descriptors that were not sent. */
void imsg_out_fini(struct imsg_out *o);
/* Makes room for n bytes.  ERR_NOMEM. */
int imsg_out_reserve(struct imsg_out *o, size_t n) MUST_USE;
/* Takes fd over.  ERR_NOMEM (fd stays the caller's). */
int imsg_out_fd(struct imsg_out *o, int fd) MUST_USE;
/* Appends bytes for which room was reserved. */
void imsg_out_put(struct imsg_out *o, const void *data, size_t n);
/* Writes to the socket what it takes.  0 (all), ERR_AGAIN, ERR_CLOSED, ERR_IO. */
int imsg_out_flush(struct imsg_out *o, int sock);

#endif
