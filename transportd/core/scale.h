/*
 * scale: how many bulk lanes a link should have.
 *
 * Another one is worth opening when the bulk lanes have been full, their round trip inflated, and the
 * throughput of each below target, all the time for open_after; then the path carries more than one
 * connection gets (loss, a policer, a small window).  An extra one that was idle for close_after goes.
 * Between two changes cool_down passes.  Pure.
 */
#ifndef TRANSPORTD_CORE_SCALE_H
#define TRANSPORTD_CORE_SCALE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/mono.h"

struct scale_conf {
	int64_t open_after_us, close_after_us, cool_down_us;
	uint64_t target_kbps; /* per lane */
	unsigned lanes_min, lanes_max;
};

/* The bulk lanes of a link as they are. */
struct scale_sample {
	unsigned lanes;
	bool full; /* more waits than the lanes may send */
	bool idle; /* the newest lane has nothing queued or unacknowledged */
	/* inflated: above 9/8 of the minimum and 4 ms; a minimum of 0 is not known, never inflated */
	uint32_t rtt_us, rtt_min_us;
	uint64_t tx_kbps; /* of all bulk lanes */
};

struct scale {
	struct mono wanted_since, idle_since, changed;
	bool wanting, idling, has_changed;
};

enum scale_verdict { SCALE_STAY, SCALE_OPEN, SCALE_CLOSE };

void scale_init(struct scale *s, struct mono now);
/* To be asked every 100 ms or so.  The owner does what it says: the cool-down begins with the verdict. */
enum scale_verdict scale_step(
    struct scale *s, const struct scale_conf *c, const struct scale_sample *is, struct mono now);

#endif
