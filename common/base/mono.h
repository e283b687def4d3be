/*
 * mono: a point in monotonic time, wrapped so that it cannot be mixed with durations, wall-clock
 * time or plain integers.  Nothing here reads a clock: see common/os/clock.h.
 */
#ifndef COMMON_BASE_MONO_H
#define COMMON_BASE_MONO_H

#include <stdbool.h>
#include <stdint.h>

/* Microseconds since an arbitrary start; MONO_NEVER is later than every other point. */
struct mono {
	int64_t us;
};

#define MONO_NEVER ((struct mono){INT64_MAX})
#define MONO_ZERO ((struct mono){0})

static inline bool
mono_is_never(struct mono t)
{
	return t.us == INT64_MAX;
}

static inline struct mono
mono_add_us(struct mono t, int64_t us)
{
	int64_t sum;

	if (mono_is_never(t) || __builtin_add_overflow(t.us, us, &sum))
		return MONO_NEVER;
	return (struct mono){sum};
}

static inline struct mono
mono_add_ms(struct mono t, int64_t ms)
{
	int64_t us;

	if (__builtin_mul_overflow(ms, 1000, &us))
		return MONO_NEVER;
	return mono_add_us(t, us);
}

/* a - b in microseconds. */
static inline int64_t
mono_diff_us(struct mono a, struct mono b)
{
	return a.us - b.us;
}

static inline bool
mono_before(struct mono a, struct mono b)
{
	return a.us < b.us;
}

static inline struct mono
mono_min(struct mono a, struct mono b)
{
	return mono_before(a, b) ? a : b;
}

#endif
