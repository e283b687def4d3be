/*
 * nodemeta: what this node tells the other members of itself: see nodemeta.c.
 */
#ifndef ROUTERD_NODEMETA_H
#define ROUTERD_NODEMETA_H

#include <stdint.h>

#include "common/base/must.h"

struct lsdb_entry;
struct routerd;
struct swim_meta;

int nodemeta_init(struct routerd *d) MUST_USE;
void nodemeta_fini(struct routerd *d);
/* The load of this machine now, as NodeInfo.load_permille: ERR_IO. */
int nodemeta_load(const struct routerd *d, uint16_t *permille) MUST_USE;
/* e: this node's own. */
void nodemeta_fill(struct routerd *d, const struct lsdb_entry *e, struct swim_meta *out);

#endif
