/*
 * crc32c: the Castagnoli CRC (RFC 3720 section 12.1), SSE4.2 where the CPU has it.
 */
#ifndef COMMON_BASE_CRC32C_H
#define COMMON_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* CRC32C of len bytes; start with crc 0, pass the last result to continue. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);

/* The same without special instructions: what other CPUs run, and what tests compare with. */
uint32_t crc32c_portable(uint32_t crc, const void *data, size_t len);

#endif
