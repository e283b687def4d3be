/*
 * cpu: what a process has taken of the processors, for benchmarks.
 */
#ifndef TESTS_BENCH_CPU_H
#define TESTS_BENCH_CPU_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

/* CPU seconds of a process, and of its children that are gone. */
static inline double
cpu_of(pid_t pid)
{
	char path[64], text[1024] = "", *p;
	unsigned long user = 0, system = 0;
	long gone_user = 0, gone_system = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "r");
	if (f == NULL)
		return 0;
	text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
	fclose(f);
	p = strrchr(text, ')');
	if (p != NULL)
		(void)!sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %ld %ld", &user,
		    &system, &gone_user, &gone_system);
	return ((double)(user + system) + (double)(gone_user + gone_system)) / (double)sysconf(_SC_CLK_TCK);
}

/* Of a process and all that it has started. */
static inline double
cpu_of_tree(pid_t pid)
{
	char path[64], children[4096] = "";
	double sum = cpu_of(pid);
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	f = fopen(path, "r");
	if (f == NULL)
		return sum;
	children[fread(children, 1, sizeof(children) - 1, f)] = '\0';
	fclose(f);
	for (char *p = children, *end; (errno = 0, strtol(p, &end, 10)) > 0; p = end)
		sum += cpu_of((pid_t)strtol(p, NULL, 10));
	return sum;
}

#endif
