/*
 * probe: short trains of frames that tell how fast an idle lane would be.
 *
 * A train is PROBE_TRAIN_FRAMES frames, sent back to back.  What the slowest hop takes for each pulls
 * them apart; the receiver tells how far (packet-train dispersion, Dovrolis et al. 2001), and the bytes
 * behind the first over that spread are the rate.  Bounded: a train is 64 KiB, and the receiver keeps
 * one per lane.  Pure.
 */
#ifndef TRANSPORTD_CORE_PROBE_H
#define TRANSPORTD_CORE_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/mono.h"
#include "common/base/must.h"

struct buf;

enum {
	PROBE_TRAIN_FRAMES = 8, /* of PROBE_FRAME_BYTES: a train is 64 KiB at most */
	PROBE_FRAME_BYTES = 8192,
	PROBE_HEAD_BYTES = 7, /* of a train's payload before the padding */
	PROBE_REPORT_BYTES = 10,
};

/* Payload of a PROBE frame: {kind u8, train u32, index u8, count u8, zeros up to bytes},
 * or of its report: {kind u8, train u32, received u8, spread_us u32}. */
enum probe_kind { PROBE_TRAIN = 1, PROBE_REPORT = 2 };

struct probe {
	uint8_t kind;
	uint32_t train;
	uint8_t index, count; /* of a train's frame: index < count, count in 2..PROBE_TRAIN_FRAMES */
	uint8_t received;     /* of a report: 1..PROBE_TRAIN_FRAMES */
	uint32_t spread_us;   /* between the first and the last frame */
	uint32_t bytes;       /* of payload, padding too */
};

/* ERR_RANGE for what probe_decode() would refuse; bytes is looked at for trains only. */
int probe_encode(const struct probe *p, struct buf *out) MUST_USE;
/* Total: ERR_SHORT, ERR_LEFTOVER, ERR_FORMAT (kind, counts, padding not 0), ERR_LIMIT (longer than a
 * frame). */
int probe_decode(const void *payload, size_t len, struct probe *out) MUST_USE;

/* The receiver of trains: at most one at a time per lane.  Begins as zeros. */
struct probe_rx {
	uint32_t train;
	uint8_t received, count; /* count 0: no train is under way */
	struct mono first;
};

/* A frame of a train arrived; true: *report is to be sent (the last one is there).  A lane keeps the
 * order, so what does not continue the train under way, and does not begin one, is ignored. */
bool probe_received(struct probe_rx *rx, const struct probe *p, struct mono now, struct probe *report);

#endif
