/*
 * mem: allocation with a hook, so that tests can fail the k-th allocation.
 *
 * Everything in the suite that can fail on memory allocates here.  All sizes are in bytes; every
 * function returns NULL when memory is out, and the caller unwinds.
 */
#ifndef COMMON_BASE_MEM_H
#define COMMON_BASE_MEM_H

#include <stddef.h>

#include "common/base/must.h"

/* Zeroed array of count elements of size bytes; overflow of the product gives NULL. */
void *mem_calloc(size_t count, size_t size) MUST_USE;

/* Resizes to count*size bytes (old content kept, new bytes undefined); on NULL ptr is untouched. */
void *mem_reallocarray(void *ptr, size_t count, size_t size) MUST_USE;

/* A heap copy of len bytes (len 0 gives a valid pointer). */
void *mem_dup(const void *data, size_t len) MUST_USE;

/* A heap copy of a C string. */
char *mem_strdup(const char *s) MUST_USE;

void mem_free(void *ptr);

/* Test hook: the n-th allocation from now (1 = the next) fails, once; 0 turns it off. */
void mem_fail_at(unsigned long n);

/* Number of allocations since mem_fail_at() was last called. */
unsigned long mem_count(void);

#endif
