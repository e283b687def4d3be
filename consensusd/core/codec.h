/*
 * codec: the fields of something in one list, for writing and for reading.
 *
 * A function that names the fields of a structure one after the other, each with a codec_*(), is its encoder
 * and its decoder: they can't differ.  The first error stays, and whatever is named after it does nothing;
 * what a field then holds when reading is what it held before, so structures begin as zeros.
 */
#ifndef CONSENSUSD_CORE_CODEC_H
#define CONSENSUSD_CORE_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct ulid;

struct codec {
	struct buf *b;
	bool put; /* writing */
	int err;  /* 0, the buffer's errors, or what codec_check() was told */
};

/* Writes to the end of out; reads from the head of in. */
struct codec codec_put(struct buf *out);
struct codec codec_get(struct buf *in);

void codec_u8(struct codec *c, uint8_t *v);
void codec_u16(struct codec *c, uint16_t *v);
void codec_u32(struct codec *c, uint32_t *v);
void codec_u64(struct codec *c, uint64_t *v);
/* One byte, 0 or 1: ERR_FORMAT. */
void codec_bool(struct codec *c, bool *v);
void codec_bytes(struct codec *c, void *data, size_t len);
void codec_ulid(struct codec *c, struct ulid *id);
/* A str8 of less than size characters. */
void codec_str(struct codec *c, char *s, size_t size);
/* u32 length, up to max (ERR_LIMIT), and bytes; reading borrows them. */
void codec_block(struct codec *c, const uint8_t **data, size_t *len, size_t max);
/* u32, up to max (ERR_LIMIT), for so many things of at least each bytes, which have to be there (ERR_SHORT).
 */
void codec_count(struct codec *c, size_t *count, size_t max, size_t each);
/* If not ok, and no error was before: this one. */
void codec_check(struct codec *c, bool ok, int err);

#endif
