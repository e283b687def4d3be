/*
 * num: the lesser and the greater of two numbers, as functions: each argument is looked at once; and where a
 * number is among others.
 */
#ifndef COMMON_BASE_NUM_H
#define COMMON_BASE_NUM_H

#include <stddef.h>
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

/* The place of the first that is not less, of numbers in ascending order; count: all are. */
static inline size_t
place_u64(const uint64_t *of, size_t count, uint64_t n)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (of[mid] < n)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

#endif
