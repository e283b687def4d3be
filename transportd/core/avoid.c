#include "transportd/core/avoid.h"

static unsigned
slot_of(uint64_t dst, uint32_t path_id, uint16_t tenant)
{
	uint64_t h = (dst ^ (uint64_t)path_id << 16 ^ tenant) * UINT64_C(0x9e3779b97f4a7c15);

	return (unsigned)(h >> 32) % AVOID_SLOTS;
}

static uint16_t
tenant_of(uint32_t flow)
{
	return (uint16_t)(flow >> 16);
}

bool
avoid_has(const struct avoid *a, uint64_t dst, uint32_t path_id, uint32_t flow, struct mono now)
{
	uint16_t tenant = tenant_of(flow);
	unsigned i;

	if (!mono_before(now, a->until))
		return false;
	i = slot_of(dst, path_id, tenant);
	return a->slots[i].dst == dst && a->slots[i].path_id == path_id && a->slots[i].tenant == tenant &&
	       mono_before(now, a->slots[i].until);
}

bool
avoid_add(struct avoid *a, uint64_t dst, uint32_t path_id, uint32_t flow, struct mono now)
{
	uint16_t tenant = tenant_of(flow);
	unsigned i = slot_of(dst, path_id, tenant);

	if (avoid_has(a, dst, path_id, flow, now))
		return false;
	a->until = mono_add_ms(now, AVOID_MS);
	a->slots[i].dst = dst;
	a->slots[i].path_id = path_id;
	a->slots[i].tenant = tenant;
	a->slots[i].until = a->until;
	return true;
}
