/* stats: see stats.h. */
#include "consensusd/stats.h"

struct stats stats = {
#define X(field, name, kind, labels, help) .field = METRIC_##kind##_INIT(name, help, labels),
    STATS_LIST(X)
#undef X
};

void
stats_init(void)
{
#define X(field, name, kind, labels, help) metrics_add(&stats.field);
	STATS_LIST(X)
#undef X
}
