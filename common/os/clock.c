/* clock: see clock.h. */
#include "common/os/clock.h"

#include <time.h>

#include "common/base/must.h"

static struct timespec
clock_read(clockid_t id)
{
	struct timespec ts;

	MUST(clock_gettime(id, &ts) == 0);
	return ts;
}

struct mono
clock_mono(void)
{
	struct timespec ts = clock_read(CLOCK_MONOTONIC);

	return (struct mono){(int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000};
}

uint64_t
clock_unix_us(void)
{
	struct timespec ts = clock_read(CLOCK_REALTIME);

	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t
clock_unix_ms(void)
{
	return clock_unix_us() / 1000;
}

int64_t
clock_cpu_us(void)
{
	struct timespec ts = clock_read(CLOCK_PROCESS_CPUTIME_ID);

	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}
