/*
 * num: the lesser and the greater of two numbers, as functions: each argument is looked at once.
 */
#ifndef COMMON_BASE_NUM_H
#define COMMON_BASE_NUM_H

#include <stdint.h>

static inline uint64_t
min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t
max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

#endif
