/*
 * tag: authenticates the end-to-end messages that carry no payload of their own to sign.
 *
 * Acks, positions and closing decide what a source confirms and forgets, and what a target ends.  They
 * carry a keyed BLAKE2b-256 over their header and payload, made with the tenant's key, which only the
 * source and the targets of the tenant's streams have: no node in between can say "processed".
 * Batches and stream statements are signed instead (seal.h, meta.h).
 *
 * A refusal ends something, too: nobody waits for who refuses, and a stream is closed without it.  A node
 * without the tenant's key has to be able to say it; so its tag is made with the key that only the source and
 * this node have (pairkeys.h), over the question that the source drew at random when it asked: an old refusal
 * answers none that is asked later.  "Unknown stream" and a challenge have no tag, and end nothing: they make
 * a source ask.
 */
#ifndef CONSENSUSD_TAG_H
#define CONSENSUSD_TAG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "proto/e2e.pb.h"

struct keyring;

/* True for MSG_ACK, MSG_OPENED, MSG_CLOSE and MSG_CLOSED. */
bool tag_needed(uint32_t msg_type);
/* Has this message one?  Beside these, an MSG_OPEN that answers a challenge (fresh.h). */
bool tag_expected(const mesh_e2e_Header *h);

/* Sets h's key_id and signature; the header must be complete but for these and the CRC.  ERR_NOENT: no
 * key for h->tenant_id. */
int tag_make(const struct keyring *k, mesh_e2e_Header *h, const void *payload, size_t len) MUST_USE;

/* 0, ERR_NOENT (unknown tenant, or no key that is good now) or ERR_CRYPTO.  That the tenant is the stream's
 * is for the caller to check. */
int tag_check(const struct keyring *k, const mesh_e2e_Header *h, const void *payload, size_t len,
    uint64_t now_unix_ms) MUST_USE;

/* The same for MSG_REFUSED, with the key of the two nodes; source and destination are filled in. */
int tag_make_refusal(
    const uint8_t pair_key[32], mesh_e2e_Header *h, const void *payload, size_t len) MUST_USE;
int tag_check_refusal(
    const uint8_t pair_key[32], const mesh_e2e_Header *h, const void *payload, size_t len) MUST_USE;

#endif
