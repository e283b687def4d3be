/*
 * origin: this node's own LSA: when a new one is due, and getting it signed.
 *
 * Due at once when an adjacency or the node's identity changes, or when a newer LSA of this node turns
 * up (from before a restart): a burst of ORIGIN_BURST, then one per ORIGIN_INTERVAL_US.  Due
 * METRIC_INTERVAL_US after the last when measurements have moved, later if they always do, and at the
 * latest at the refresh.  Signing takes a message to another process and back: one is in flight at a time,
 * by ticket; without an answer it is asked for again.
 */
#ifndef ROUTERD_CORE_ORIGIN_H
#define ROUTERD_CORE_ORIGIN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/mono.h"
#include "common/base/must.h"
#include "routerd/core/bucket.h"
#include "routerd/core/lsa.h"

struct origin {
	struct lsa_id newest; /* of this node, made here or seen */
	bool changed;         /* what is advertised */
	bool moved, leapt;    /* its measurements; by far */
	bool in_flight;
	uint32_t ticket;
	struct buf text; /* the LSA that is being signed; with the signature after origin_signed() */
	struct bucket rate;
	struct mono made; /* when text was */
	struct mono refresh_at;
	struct mono retry_at; /* not before this */
	struct mono told;     /* made because of measurements */
	int64_t wait_us;      /* until the next of these */
};

void origin_init(struct origin *o);
void origin_fini(struct origin *o);
/* The node's id and incarnation are known, or new. */
void origin_identity(struct origin *o, uint64_t node, uint64_t incarnation);
/* An LSA of this node, not made by this process: the next one must be above it.  False if that would
 * be so anyway. */
bool origin_seen(struct origin *o, const struct lsa_id *id);
/* When the next LSA is to be made; MONO_NEVER while one is being signed. */
struct mono origin_due(const struct origin *o);
/* Refreshes it at this time, if it would be later. */
void origin_hasten(struct origin *o, struct mono at);
/* Encodes lsa, whose id it sets, for signing: o->text.  Then it is in flight with o->ticket. */
int origin_make(struct origin *o, struct lsa *lsa, struct mono now, struct mono refresh_at) MUST_USE;
/* The signature came: o->text is the whole LSA.  ERR_STALE: not the one in flight. */
int origin_signed(struct origin *o, uint32_t ticket, const uint8_t sig[LSA_SIG_BYTES]) MUST_USE;
/* There will be no signature: make it again, not before retry_at. */
void origin_failed(struct origin *o, struct mono retry_at);

#endif
