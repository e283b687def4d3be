/*
 * note: what a node says about itself under one type, in one version: signed by it, and never changed.
 *
 * Of two notes of a node and a type the one with the higher version counts; if a node made two of one
 * version (its database went back in time), the one with the higher signature, so that all agree.  A removed
 * note has no payload; it stays, so that no older version comes back.
 */
#ifndef CONSENSUSD_CORE_NOTE_H
#define CONSENSUSD_CORE_NOTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

enum {
	NOTE_TYPE_MAX = 63, /* characters: printable ASCII without blanks */
	NOTE_TYPE_SIZE = 64,
	NOTE_PAYLOAD_MAX_BYTES = 64 * 1024,
	NOTE_STATEMENT_MAX_BYTES = 8 + 1 + NOTE_TYPE_MAX + 8 + 8 + 1 + 32,
};

/* Shared: the table and what is under way hold a reference each. */
struct note {
	unsigned refs;
	uint32_t len;
	uint64_t node, version, unix_ms;
	uint64_t position; /* at this node, set by the table */
	uint8_t public_key[32], signature[64];
	char type[NOTE_TYPE_SIZE];
	bool removed;
	uint8_t payload[];
};

bool note_type_valid(const char *type);

/* One reference; key and signature are to be filled in, payload (NULL: likewise) is copied.  NULL: no
 * memory.  The type is valid, versions and times are at most INT64_MAX, len NOTE_PAYLOAD_MAX_BYTES. */
struct note *note_new(
    uint64_t node, const char *type, uint64_t version, const void *payload, size_t len) MUST_USE;
struct note *note_ref(struct note *n);
void note_unref(struct note *n);
/* What it takes of memory. */
size_t note_bytes(const struct note *n);

/* What is signed: node, type, version, time, whether it was removed, and the hash of the payload.  Returns
 * how many bytes. */
size_t note_statement(
    const struct note *n, const uint8_t payload_hash[32], uint8_t out[NOTE_STATEMENT_MAX_BYTES]);

/* The first bytes of the signature: with the version, what a summary tells notes apart by. */
uint64_t note_stamp(const struct note *n);
/* Whether (version, signature) counts more than b, which may be NULL: nothing. */
bool note_beats(uint64_t version, const uint8_t signature[64], const struct note *b);
/* The same by stamps. */
bool note_beats_stamp(uint64_t version, uint64_t stamp, const struct note *b);

#endif
