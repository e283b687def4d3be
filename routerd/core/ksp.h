/*
 * ksp: several loop-free paths from this node to another, chosen to be of use when one fails.
 *
 * out[0] is the cheapest path: that of spf.h, except where that falls back to the fewest hops, as this is
 * the cheapest of those that fit.  out[1] is its backup: of all other paths the one that avoids the
 * first link of out[0] if any does, then shares the fewest links with it, then the fewest relays, then is
 * the cheapest.  So it shares no relay if such a path exists, else no link if such a path exists.  The
 * rest ascend by cost, then hops, then ids; they are, as long as there is room,
 *
 *	the two paths of the cheapest pair without a common relay (without a common link, if there is no
 *	such pair), where out[0] and its backup are not as disjoint as that.  If there is room for
 *	one path only, and the backup shares a link, the pair takes its place: whichever of the two shares
 *	less with out[0] is out[1];
 *
 *	where a link that could be avoided is on all of them nevertheless, paths that avoid it;
 *
 *	paths that share no link with any before;
 *
 *	the next cheapest (Yen 1971, Lawler 1972).
 *
 * The last two kinds cost at most KSP_COST_FACTOR times out[0] and KSP_COST_EXTRA: more is not worth
 * having but as a backup.  No path is there twice.  The same graph gives the same paths.
 */
#ifndef ROUTERD_CORE_KSP_H
#define ROUTERD_CORE_KSP_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "routerd/core/disjoint.h"
#include "routerd/core/route.h"
#include "routerd/core/search.h"
#include "routerd/core/spf.h"
#include "routerd/core/yen.h"

struct graph;

enum {
	KSP_PATHS_MAX = 8,          /* for one destination */
	KSP_COST_FACTOR = 8,        /* its share by 1/cost would be less than one part in nine */
	KSP_COST_EXTRA = 10 * 1000, /* us, more or less: among links of a LAN, the factor means little */
	/* Effort for one path that is only preferred: about as much as a tree of 1,000 nodes. */
	KSP_LABELS_MAX = 4096,
};

struct ksp {
	struct search search;
	struct disjoint disjoint;
	struct yen yen;
	struct route_list chosen;
};

void ksp_init(struct ksp *k);
void ksp_fini(struct ksp *k);

/* Takes a graph: to be called after each graph_build.  The graph stays the caller's, and must not change
 * as long as ksp_run is called.  ERR_NOMEM: ksp_run can't be called. */
int ksp_begin(struct ksp *k, const struct graph *g) MUST_USE;
/* The shortest paths of the graph taken last. */
const struct spf *ksp_spf(const struct ksp *k);

/* Up to paths_max (1 to KSP_PATHS_MAX) paths from the root of the graph taken last, which is g, to a
 * vertex, to out; *count 0: there is none, or it is the root.  ERR_NOMEM: nothing is in out. */
int ksp_run(struct ksp *k, const struct graph *g, uint32_t dst, unsigned paths_max, struct spf_path *out,
    size_t *count) MUST_USE;
/* The same without any choice: the paths_max cheapest, whatever they share and cost. */
int ksp_cheapest(struct ksp *k, const struct graph *g, uint32_t dst, unsigned paths_max, struct spf_path *out,
    size_t *count) MUST_USE;

/* Bytes allocated at the moment. */
size_t ksp_bytes(const struct ksp *k);

#endif
