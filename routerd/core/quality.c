#include "routerd/core/quality.h"

#include "routerd/core/lsa.h"

bool
quality_degraded(const struct lsa_adj *a)
{
	return a->loss_ppm >= QUALITY_LOSS_PPM || a->utilisation_permille >= QUALITY_FULL_PERMILLE;
}

bool
quality_well(const struct lsa_adj *a)
{
	return a->loss_ppm < QUALITY_LOSS_WELL_PPM && a->utilisation_permille < QUALITY_WELL_PERMILLE;
}

void
quality_diff(const struct lsa_adj *before, size_t before_count, const struct lsa_adj *now, size_t now_count,
    void (*fn)(void *arg, uint64_t neighbour, bool degraded), void *arg)
{
	size_t b = 0;

	for (size_t i = 0; i < now_count; i++) {
		bool was, known;

		while (b < before_count && before[b].neighbour < now[i].neighbour)
			b++;
		known = b < before_count && before[b].neighbour == now[i].neighbour;
		was = known && quality_degraded(&before[b]);
		if (!was && quality_degraded(&now[i]))
			fn(arg, now[i].neighbour, true);
		else if (known && !quality_well(&before[b]) && quality_well(&now[i]))
			fn(arg, now[i].neighbour, false);
	}
}
