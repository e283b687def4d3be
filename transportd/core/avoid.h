/*
 * avoid: paths that a relay does not let a tenant's client data over, as the relay has said.
 *
 * A tenant is the hash in the upper half of frame.flow: two that share one share the detour.  A table of
 * fixed size, where one entry may take another's place: then the relay says it again.  Each is forgotten
 * after AVOID_MS, since nobody says that a policy has changed.
 */
#ifndef TRANSPORTD_CORE_AVOID_H
#define TRANSPORTD_CORE_AVOID_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/mono.h"
#include "transportd/core/limits.h"

struct avoid {
	struct {
		uint64_t dst;
		uint32_t path_id;
		uint16_t tenant;
		struct mono until;
	} slots[AVOID_SLOTS];
	struct mono until; /* of all */
};

/* False: it was there already. */
bool avoid_add(struct avoid *a, uint64_t dst, uint32_t path_id, uint32_t flow, struct mono now);
bool avoid_has(const struct avoid *a, uint64_t dst, uint32_t path_id, uint32_t flow, struct mono now);

#endif
