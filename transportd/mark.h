/*
 * mark: does so much wait for a neighbour that client data is marked, so that its source slows down?
 *
 * That is half of what would be dropped, for the link, a stream or a tenant (link-queue, stream-quota,
 * tenant-quota); and for a stream what its lane needs LINK_MARK_MS for, if that is less.  On a slow line half
 * a quota waits for half a second: a path would be taken for one that has become slow (core/pathhealth.h),
 * and what a stream sends over another one would wait for it at the target.
 */
#ifndef TRANSPORTD_MARK_H
#define TRANSPORTD_MARK_H

#include <stdbool.h>

struct frame;
struct link;

/* Is the frame, which is to be queued on the lane, to be marked? */
bool mark_due(const struct link *l, const struct frame *f, unsigned lane);

#endif
