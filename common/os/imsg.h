/*
 * imsg: framed messages over a Unix stream socket, in the manner of OpenBSD's imsg.
 *
 * A message is a 16-byte header {type, len, peerid, pid} in host order (both ends are the same
 * machine and the same build family), a body of len - 16 bytes, and at most one passed descriptor,
 * which the highest bit of len announces.  Nothing here interprets types: see channel.h.
 *
 * Outgoing bytes lie in a chain of 64 KiB chunks, so that many small messages cost one copy and share
 * one system call; incoming ones in one buffer that grows as bytes arrive (never by what a header
 * merely claims) and shrinks again after a large message.
 */
#ifndef COMMON_OS_IMSG_H
#define COMMON_OS_IMSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "common/base/must.h"

enum {
	IMSG_HDR_BYTES = 16,
	/* The largest body: a whole API message (4 MiB payload) and its headers. */
	IMSG_BODY_MAX_BYTES = 4 * 1024 * 1024 + 64 * 1024,
	IMSG_CHUNK_BYTES = 64 * 1024, /* unit of both buffers */
	IMSG_IOV_MAX = 16,            /* chunks written by one system call: 1 MiB, above any socket buffer */
	IMSG_FDS_MAX = 16,            /* descriptors received and not yet claimed; more are ERR_FORMAT */
};

struct imsg {
	uint32_t type;
	uint32_t peerid;     /* correlation id of request and reply; 0 if none */
	uint32_t pid;        /* informative only; identity comes from SO_PEERCRED */
	const uint8_t *body; /* borrowed until the handler returns */
	size_t len;          /* bytes of body */
	int fd;              /* passed descriptor or -1; the handler takes it by setting it to -1 */
};

struct imsg_queue;

/* Both directions over fd (borrowed, non-blocking).  high_bytes: from where imsg_full() is true.  NULL:
 * no memory. */
struct imsg_queue *imsg_queue_new(int fd, size_t high_bytes) MUST_USE;
void imsg_queue_free(struct imsg_queue *q);

/* Queues one message (body gathered from iov, copied); fd is taken over unless this fails (-1: none).
 * ERR_LIMIT: body too large; ERR_NOMEM.  Never refuses for a full queue: see imsg_queued_bytes. */
int imsg_push(struct imsg_queue *q, uint32_t type, uint32_t peerid, int fd, const struct iovec *iov,
    int iov_count) MUST_USE;
/* Writes as much as the socket takes; never blocks.  0, ERR_AGAIN (more to write), ERR_CLOSED, ERR_IO. */
int imsg_flush(struct imsg_queue *q);
size_t imsg_queued_bytes(const struct imsg_queue *q);
bool imsg_full(const struct imsg_queue *q);
/* From now on larger incoming bodies are ERR_LIMIT (at first: IMSG_BODY_MAX_BYTES). */
void imsg_limit(struct imsg_queue *q, size_t body_max_bytes);

/* Reads once from the socket.  Call it when imsg_next() has given 0: that is what bounds the buffer.  0 (got
 * bytes), ERR_AGAIN, ERR_CLOSED (end of file), ERR_IO, ERR_NOMEM. */
int imsg_read(struct imsg_queue *q);
/* The next complete message: 1 and *m, 0 if none is complete, ERR_FORMAT on a bad header, ERR_LIMIT.
 * An unclaimed descriptor stays in m->fd: see imsg_done(). */
int imsg_next(struct imsg_queue *q, struct imsg *m);
/* Ends the use of m: its body is gone, a descriptor that nobody took is closed. */
void imsg_done(struct imsg *m);

#endif
