/*
 * buf: bounded reading and writing of bytes.
 *
 * A buf is either owned (grows up to max_bytes), fixed (writes into the caller's memory) or a view
 * (reads the caller's bytes, never writes or frees them).  Integers are big endian.  Every put
 * fails with ERR_LIMIT or ERR_NOMEM and writes nothing; every get fails with ERR_SHORT and
 * consumes nothing.  A decoder ends with buf_end(), so that input is consumed exactly.
 */
#ifndef COMMON_BASE_BUF_H
#define COMMON_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct buf {
	uint8_t *data;
	size_t rpos, wpos; /* bytes consumed, bytes written; unread bytes lie between */
	size_t cap;        /* bytes allocated (or lent) */
	size_t max;        /* cap may grow to this */
	bool owned;
};

/* An empty owned buffer that grows on demand to max_bytes; nothing is allocated yet. */
void buf_init(struct buf *b, size_t max_bytes);
/* An empty buffer over the caller's memory, which must outlive it. */
void buf_init_fixed(struct buf *b, void *mem, size_t cap);
/* A readable view of len bytes, which must outlive it. */
void buf_view(struct buf *b, const void *data, size_t len);
/* Frees what is owned; the buf is then empty and may be initialised again. */
void buf_fini(struct buf *b);
/* Forgets content, keeps memory. */
void buf_reset(struct buf *b);

/* Unread bytes, and where they are. */
size_t buf_left(const struct buf *b);
const uint8_t *buf_head(const struct buf *b);
/* Bytes that can still be written before max is reached. */
size_t buf_room(const struct buf *b);

/* Makes room for n more bytes; *out points at them.  buf_commit(n) then counts them as written. */
int buf_reserve(struct buf *b, size_t n, uint8_t **out) MUST_USE;
void buf_commit(struct buf *b, size_t n);
/* Moves unread bytes to the front (owned and fixed only). */
void buf_compact(struct buf *b);

int buf_put_u8(struct buf *b, uint8_t v) MUST_USE;
int buf_put_u16(struct buf *b, uint16_t v) MUST_USE;
int buf_put_u32(struct buf *b, uint32_t v) MUST_USE;
int buf_put_u64(struct buf *b, uint64_t v) MUST_USE;
int buf_put_bytes(struct buf *b, const void *data, size_t len) MUST_USE;
/* One length byte and the characters without NUL; ERR_RANGE above 255. */
int buf_put_str8(struct buf *b, const char *s) MUST_USE;

int buf_get_u8(struct buf *b, uint8_t *out) MUST_USE;
int buf_get_u16(struct buf *b, uint16_t *out) MUST_USE;
int buf_get_u32(struct buf *b, uint32_t *out) MUST_USE;
int buf_get_u64(struct buf *b, uint64_t *out) MUST_USE;
int buf_get_bytes(struct buf *b, void *out, size_t len) MUST_USE;
/* Borrows len bytes in place. */
int buf_get_ref(struct buf *b, size_t len, const uint8_t **out) MUST_USE;
/* Reads a str8 into out (size bytes with NUL); ERR_LIMIT if too long, ERR_FORMAT on a NUL inside. */
int buf_get_str8(struct buf *b, char *out, size_t size) MUST_USE;
int buf_skip(struct buf *b, size_t len) MUST_USE;
/* 0 if everything was consumed, else ERR_LEFTOVER. */
int buf_end(const struct buf *b) MUST_USE;

#endif
