/*
 * sched_user: frames with a size and a mark, put into a scheduler and taken out of it again.
 */
#ifndef TESTS_UNIT_TRANSPORTD_SCHED_USER_H
#define TESTS_UNIT_TRANSPORTD_SCHED_USER_H

#include "common/base/err.h"
#include "common/base/mem.h"
#include "tests/unit/unit.h"
#include "transportd/core/sched.h"

enum { MESSAGE = FRAME_MESSAGE_MAX_BYTES, LINK = 1024 * 1024, RESERVE = 65536 };

__attribute__((unused)) static const struct sched_limits limits = {LINK, RESERVE, 512 * 1024, 256 * 1024};
__attribute__((unused)) static const struct sched_limits wide = {1u << 30, RESERVE, 1u << 30, 1u << 30};

static inline struct sched *
make(const struct sched_limits *l)
{
	struct sched *s = sched_new(l, 1);

	assert_non_null(s);
	return s;
}

static inline struct sched_key
stream(uint32_t flow)
{
	return (struct sched_key){.src = 7, .flow = flow, .class = FRAME_CLASS_CLIENT};
}

/* A frame tells its size and a mark; the rest of it is the mark's lowest byte. */
static inline void
fill(uint8_t *p, size_t size, uint32_t mark)
{
	uint32_t len = (uint32_t)size;

	memset(p, (uint8_t)mark, size);
	memcpy(p, &len, 4);
	memcpy(p + 4, &mark, 4);
}

static inline uint32_t
frame_at(const uint8_t *p, size_t *size)
{
	uint32_t len, mark;

	memcpy(&len, p, 4);
	memcpy(&mark, p + 4, 4);
	for (size_t i = 8; i < len; i++)
		assert_int_equal(p[i], (uint8_t)mark);
	*size = len;
	return mark;
}

static inline int
push_key(struct sched *s, struct sched_key k, unsigned lane, size_t size, uint32_t mark)
{
	uint8_t *p;
	int err = sched_reserve(s, &k, lane, size, &p);

	if (err != 0)
		return err;
	fill(p, size, mark);
	sched_commit(s, size);
	return 0;
}

static inline int
push(struct sched *s, uint32_t flow, unsigned lane, size_t size, uint32_t mark)
{
	return push_key(s, stream(flow), lane, size, mark);
}

static inline int
push_class(struct sched *s, uint8_t class, unsigned lane, size_t size, uint32_t mark)
{
	return push_key(s, (struct sched_key){.src = 7, .class = class}, lane, size, mark);
}

static inline int
push_striped(struct sched *s, uint32_t flow, unsigned lane, size_t size, uint32_t mark)
{
	struct sched_key k = stream(flow);
	uint8_t *p;
	int err = sched_reserve_striped(s, &k, lane, size, &p);

	if (err != 0)
		return err;
	fill(p, size, mark);
	sched_commit(s, size);
	return 0;
}

static inline int
resend(struct sched *s, unsigned lane, uint8_t class, size_t size, uint32_t mark)
{
	uint8_t frame[FRAME_MAX_BYTES];

	fill(frame, size, mark);
	return sched_resend(s, lane, class, frame, size);
}

static inline int
lane_of(struct sched *s, uint32_t flow)
{
	struct sched_key k = stream(flow);

	return sched_lane(s, &k);
}

static inline bool
high(struct sched *s, uint32_t flow)
{
	struct sched_key k = stream(flow);

	return sched_key_over(s, &k, SIZE_MAX);
}

/* Takes until nothing is left; the marks in the order in which they came. */
static inline unsigned
drain(struct sched *s, unsigned lane, uint32_t *marks, unsigned max)
{
	static uint8_t out[MESSAGE];
	unsigned count = 0, frames;
	size_t n;

	while ((n = sched_take(s, lane, out, sizeof(out), &frames)) != 0) {
		for (size_t at = 0, size; at < n; at += size, count++, frames--) {
			uint32_t mark = frame_at(out + at, &size);

			if (count < max)
				marks[count] = mark;
		}
		assert_int_equal(frames, 0);
	}
	assert_true(sched_lane_empty(s, lane));
	return count;
}

static inline void
expect(struct sched *s, unsigned lane, const char *marks)
{
	uint32_t got[64];
	unsigned n = drain(s, lane, got, COUNT(got));

	assert_int_equal(n, strlen(marks));
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(got[i], marks[i]);
}

#endif
