/*
 * pathrx: what arrived here on each path of each source, to answer asks (path_feedback.h).
 *
 * A table of fixed size, whatever sources do: the path that was unused for longest gives way.  Its
 * counts begin at 0 when it is used again, which its source takes for a restart (pathwin.h).  Pure.
 */
#ifndef TRANSPORTD_CORE_PATHRX_H
#define TRANSPORTD_CORE_PATHRX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct path_feedback;

enum { PATHRX_SLOTS = 4096 };

struct pathrx;

/* NULL: out of memory.  Nothing is allocated later. */
struct pathrx *pathrx_new(void) MUST_USE;
void pathrx_free(struct pathrx *r);
/* A frame of class client for this node came on a path (not a repaired one). */
void pathrx_received(struct pathrx *r, uint64_t src, uint32_t path_id, size_t bytes, bool marked);
/* Turns an ask into its answer.  A path that is not known has received nothing. */
void pathrx_answer(struct pathrx *r, uint64_t src, struct path_feedback *ask);
/* Paths known, PATHRX_SLOTS at most. */
size_t pathrx_count(const struct pathrx *r);

#endif
