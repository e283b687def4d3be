/*
 * clock: the only place that reads the time.
 */
#ifndef COMMON_OS_CLOCK_H
#define COMMON_OS_CLOCK_H

#include <stdint.h>

#include "common/base/mono.h"

struct mono clock_mono(void); /* CLOCK_MONOTONIC */
uint64_t clock_unix_ms(void); /* CLOCK_REALTIME, milliseconds since 1970 */
uint64_t clock_unix_us(void);
int64_t clock_cpu_us(void); /* that this process has used, all threads, since it was started */

#endif
