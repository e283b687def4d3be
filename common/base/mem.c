#include "common/base/mem.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* The test hook is one per process: allocation has no context to carry it. */
static unsigned long fail_at; /* 0: off */
static unsigned long count;

static bool
denied(void)
{
	count++;
	return fail_at != 0 && count == fail_at;
}

void *
mem_calloc(size_t n, size_t size)
{
	if (denied())
		return NULL;
	/* malloc(0) may give NULL, which would look like an error. */
	if (n == 0 || size == 0)
		n = size = 1;
	return calloc(n, size);
}

void *
mem_reallocarray(void *ptr, size_t n, size_t size)
{
	size_t bytes;

	if (denied() || __builtin_mul_overflow(n, size, &bytes))
		return NULL;
	/* realloc(p, 0) frees p in glibc, against the contract of this header. */
	return realloc(ptr, bytes != 0 ? bytes : 1);
}

void *
mem_dup(const void *data, size_t len)
{
	void *copy;

	if (denied())
		return NULL;
	copy = malloc(len != 0 ? len : 1);
	if (copy != NULL && len != 0)
		memcpy(copy, data, len);
	return copy;
}

char *
mem_strdup(const char *s)
{
	return mem_dup(s, strlen(s) + 1);
}

void
mem_free(void *ptr)
{
	free(ptr);
}

void
mem_fail_at(unsigned long n)
{
	fail_at = n;
	count = 0;
}

unsigned long
mem_count(void)
{
	return count;
}
