/*
 * bench_stalls: how often a processor of this machine stands still for whoever runs on it, whatever the
 * reason (its kernel, or the machine that it is a guest of).  What waits in that time is late by as much:
 * the 99th percentile of what crosses many processes can't be below that, if it happens often enough.
 *
 * usage: bench_stalls [SECONDS]      5 if not given; nothing else should run meanwhile
 *
 *	limit_stalls            1/s, of all processors together, of STALL_MS and longer
 *	limit_stalls_share      permille of the time of a processor that they take
 *	limit_stalls_worst      ms
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/must.h"
#include "common/os/clock.h"

enum { PROCESSORS_MAX = 64, STALL_MS = 1, SECONDS = 5 };

struct processor {
	pthread_t thread;
	int number;
	int64_t us; /* to measure */
	int64_t stalls, stalled_us, worst_us;
};

static void *
spin(void *arg)
{
	struct processor *p = arg;
	cpu_set_t set;
	struct mono last, end;

	CPU_ZERO(&set);
	CPU_SET((size_t)p->number, &set);
	(void)pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
	last = clock_mono();
	end = mono_add_us(last, p->us);
	while (mono_before(last, end)) {
		struct mono now = clock_mono();
		int64_t gap = mono_diff_us(now, last);

		last = now;
		if (gap < STALL_MS * 1000)
			continue;
		p->stalls++;
		p->stalled_us += gap;
		if (gap > p->worst_us)
			p->worst_us = gap;
	}
	return NULL;
}

int
main(int argc, char **argv)
{
	static struct processor all[PROCESSORS_MAX];
	long seconds = argc > 1 ? strtol(argv[1], NULL, 10) : SECONDS, n = sysconf(_SC_NPROCESSORS_ONLN);
	int64_t stalls = 0, us = 0, worst = 0;

	if (argc > 2 || seconds < 1 || seconds > 3600) {
		fprintf(stderr, "usage: bench_stalls [SECONDS]\n");
		return 2;
	}
	n = n < 1 ? 1 : n > PROCESSORS_MAX ? PROCESSORS_MAX : n;
	for (int i = 0; i < n; i++) {
		all[i] = (struct processor){.number = i, .us = seconds * 1000000};
		MUST(pthread_create(&all[i].thread, NULL, spin, &all[i]) == 0);
	}
	for (int i = 0; i < n; i++) {
		MUST(pthread_join(all[i].thread, NULL) == 0);
		stalls += all[i].stalls;
		us += all[i].stalled_us;
		worst = all[i].worst_us > worst ? all[i].worst_us : worst;
	}
	printf("bench limit_stalls %.1f 1/s\n", (double)stalls / (double)seconds);
	printf("bench limit_stalls_share %.2f permille\n", (double)us / 1e3 / (double)seconds / (double)n);
	printf("bench limit_stalls_worst %.2f ms\n", (double)worst / 1e3);
	return 0;
}
