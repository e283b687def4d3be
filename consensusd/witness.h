/*
 * witness: a small file beside the database that remembers what the database had confirmed.
 *
 * A replica that votes, or says that it has an entry, promises never to have said otherwise.  A database that
 * was restored from a backup has forgotten promises, and can't know it; this file does.  It has two slots,
 *which are written in turn, each with a checksum: a write that is torn leaves the other one.
 *
 *	8 bytes "meshwit1", u64 turn, 16 bytes database, u64 number, u8 refused, u32 CRC-32C of all before it
 *
 * The slots lie 4096 bytes apart, so that no block of a disk holds both.
 */
#ifndef CONSENSUSD_WITNESS_H
#define CONSENSUSD_WITNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

enum {
	WITNESS_DATABASE_BYTES = 16,
	WITNESS_SLOT_BYTES = 8 + 8 + WITNESS_DATABASE_BYTES + 8 + 1 + 4,
	WITNESS_SLOT_DISTANCE = 4096,
	WITNESS_SLOTS = 2,
};

struct witness_note {
	uint8_t database[WITNESS_DATABASE_BYTES]; /* its identity */
	uint64_t number;                          /* of the last flush that was confirmed and made promises */
	bool refused; /* it was found to be older than this; that stays so until the file is removed */
};

struct witness {
	int fd; /* borrowed */
	uint64_t turn;
	bool present;    /* there is a note */
	bool unreadable; /* there is something else in the file */
	struct witness_note note;
};

/* Reads what the file has; an empty one has no note.  ERR_IO. */
int witness_init(struct witness *w, int fd) MUST_USE;
/* Writes a note in place of the older one.  sync: it is on the disk when this returns, as the first one is in
 * any case.  ERR_IO: the note that was there is still good. */
int witness_put(struct witness *w, const struct witness_note *note, bool sync) MUST_USE;

void witness_encode(uint8_t out[WITNESS_SLOT_BYTES], uint64_t turn, const struct witness_note *note);
/* ERR_SHORT, ERR_LEFTOVER, ERR_VERSION (it begins with other bytes), ERR_CHECKSUM, ERR_FORMAT. */
int witness_decode(const uint8_t *data, size_t len, uint64_t *turn, struct witness_note *out) MUST_USE;

#endif
