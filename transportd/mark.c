#include "transportd/mark.h"

#include <stdint.h>

#include "common/base/frame.h"
#include "common/base/num.h"
#include "transportd/core/limits.h"
#include "transportd/core/sched.h"
#include "transportd/lane.h"
#include "transportd/link.h"

/* What a stream may have queued on the lane; SIZE_MAX: all that its quota says. */
static size_t
lane_bytes(const struct link *l, unsigned lane)
{
	uint64_t kbps = 0;

	if (lane < LANES_MAX && l->lane[lane] != NULL)
		kbps = pace_bandwidth_kbps(&l->lane[lane]->pace);
	return kbps != 0 ? (size_t)max_u64(kbps * LINK_MARK_MS / 8, LINK_MARK_MIN_BYTES) : SIZE_MAX;
}

bool
mark_due(const struct link *l, const struct frame *f, unsigned lane)
{
	const struct sched_key k = {.src = f->src, .flow = f->flow, .class = f->class};

	if (f->class != FRAME_CLASS_CLIENT)
		return false;
	/* What is striped waits on several lanes. */
	return sched_high(l->q) ||
	       sched_key_over(l->q, &k, f->flags & FRAME_FLAG_STRIPE ? SIZE_MAX : lane_bytes(l, lane));
}
