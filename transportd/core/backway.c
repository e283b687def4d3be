#include "transportd/core/backway.h"

#include <stddef.h>

static size_t
slot(uint64_t src)
{
	return (size_t)((src * 0x9e3779b97f4a7c15ULL) >> 32) % BACKWAY_SLOTS;
}

void
backway_note(struct backway *b, uint64_t src, uint64_t via, struct mono now)
{
	size_t i = slot(src);

	b->slots[i].src = src;
	b->slots[i].via = via;
	b->slots[i].at = now;
}

uint64_t
backway_get(const struct backway *b, uint64_t src, struct mono now)
{
	size_t i = slot(src);

	if (b->slots[i].src != src || !mono_before(now, mono_add_ms(b->slots[i].at, BACKWAY_FRESH_MS)))
		return 0;
	return b->slots[i].via;
}
