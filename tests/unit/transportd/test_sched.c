#include "transportd/core/sched.h"

#include "tests/unit/transportd/sched_user.h"

static void
classes_in_order(void **state)
{
	struct sched *s = make(&limits);

	(void)state;
	assert_int_equal(push(s, 1, 2, 100, 'd'), 0);
	assert_int_equal(push_class(s, FRAME_CLASS_DB, 2, 100, 'c'), 0);
	assert_int_equal(push_class(s, FRAME_CLASS_SYSTEM, 2, 100, 'b'), 0);
	assert_int_equal(push_class(s, FRAME_CLASS_CONTROL, 2, 100, 'a'), 0);
	assert_int_equal(push(s, 1, 2, 100, 'e'), 0);
	assert_int_equal(push(s, 9, 3, 100, 'x'), 0);
	assert_int_equal(sched_frames(s), 6);
	assert_int_equal(sched_bytes(s), 600);
	assert_int_equal(sched_lane_bytes(s, 2), 500);
	assert_false(sched_lane_empty(s, 2));
	assert_true(sched_lane_empty(s, 4));
	expect(s, 2, "abcde");
	expect(s, 3, "x");
	assert_int_equal(sched_frames(s), 0);
	assert_int_equal(sched_bytes(s), 0);
	sched_free(s);
	sched_free(NULL);
}

/* What does not fit ends a message, also if something less important would fit. */
static void
small_room(void **state)
{
	struct sched *s = make(&limits);
	uint8_t out[1000];
	unsigned frames;

	(void)state;
	assert_int_equal(push_class(s, FRAME_CLASS_CONTROL, 0, 600, 'a'), 0);
	assert_int_equal(push_class(s, FRAME_CLASS_SYSTEM, 0, 600, 'b'), 0);
	assert_int_equal(push(s, 1, 0, 200, 'c'), 0);
	assert_int_equal(push(s, 2, 0, 1200, 'd'), 0);
	assert_int_equal(sched_take(s, 0, out, 599, &frames), 0);
	assert_int_equal(frames, 0);
	assert_int_equal(sched_take(s, 0, out, sizeof(out), &frames), 600);
	assert_int_equal(frames, 1);
	assert_int_equal(sched_take(s, 0, out, sizeof(out), &frames), 800);
	assert_int_equal(frames, 2);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(sched_take(s, 0, out, sizeof(out), &frames), 0);
	expect(s, 0, "d");
	sched_free(s);
}

/* Two streams with frames of different sizes get the same bytes, whatever the room in a message. */
static void
fair_in_bytes(void **state)
{
	static const size_t caps[] = {MESSAGE, 16032, 16100, 65536};

	(void)state;
	for (unsigned c = 0; c < COUNT(caps); c++) {
		static uint8_t out[65536];
		struct sched *s = make(&wide);
		size_t got[3] = {0};
		unsigned frames;

		for (unsigned i = 0; i < 20000; i++)
			assert_int_equal(push(s, 1, 2, 200, 1), 0);
		for (unsigned i = 0; i < 250; i++)
			assert_int_equal(push(s, 2, 2, 16000, 2), 0);
		while (got[1] < 3500000 && got[2] < 3500000) {
			size_t n = sched_take(s, 2, out, caps[c], &frames);

			assert_int_not_equal(n, 0);
			for (size_t at = 0, size; at < n; at += size) {
				uint32_t mark = frame_at(out + at, &size);

				got[mark] += size;
			}
			/* One quantum, and what the one whose turn it is has had of its next. */
			assert_true(got[1] + 2 * FRAME_MAX_BYTES >= got[2]);
			assert_true(got[2] + 2 * FRAME_MAX_BYTES >= got[1]);
		}
		sched_free(s);
	}
}

/* One that floods costs a thousand others two turns, not its whole queue. */
static void
flood(void **state)
{
	static uint8_t out[MESSAGE];
	struct sched *s = make(&wide);
	size_t taken = 0, n;
	unsigned seen = 0, frames;

	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(push(s, 1, 2, 16000, 1), 0);
	for (uint32_t i = 0; i < 1000; i++)
		assert_int_equal(push(s, 100 + i, 2, 100, 100 + i), 0);
	/* A turn of the flooding one, a round of all others. */
	while (seen < 1000) {
		n = sched_take(s, 2, out, sizeof(out), &frames);
		assert_int_not_equal(n, 0);
		taken += n;
		for (size_t at = 0, size; at < n; at += size)
			seen += frame_at(out + at, &size) >= 100;
	}
	assert_in_range(taken, 100000, 100000 + 2 * FRAME_MAX_BYTES);
	/* A newcomer waits for the one turn that is before it. */
	assert_int_equal(push(s, 5000, 2, 100, 5000), 0);
	for (unsigned i = 0, found = 0; !found; i++) {
		assert_in_range(i, 0, 2);
		n = sched_take(s, 2, out, sizeof(out), &frames);
		for (size_t at = 0, size; at < n; at += size)
			found += frame_at(out + at, &size) == 5000;
	}
	sched_free(s);
}

/* A stream that comes and goes saves nothing up. */
static void
no_saving(void **state)
{
	static uint8_t out[4 * MESSAGE];
	struct sched *s = make(&wide);
	size_t n, got[3] = {0};
	unsigned frames;

	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(push(s, 1, 2, 32, 1), 0);
		assert_int_equal(drain(s, 2, NULL, 0), 1);
	}
	for (unsigned i = 0; i < 400; i++) {
		assert_int_equal(push(s, 1, 2, 1000, 1), 0);
		assert_int_equal(push(s, 2, 2, 1000, 2), 0);
	}
	n = sched_take(s, 2, out, sizeof(out), &frames);
	for (size_t at = 0, size; at < n; at += size) {
		uint32_t mark = frame_at(out + at, &size);

		got[mark] += size;
	}
	assert_true(got[1] <= got[2] + FRAME_MAX_BYTES);
	sched_free(s);
}

static void
link_limit(void **state)
{
	struct sched *s = make(&limits);
	struct sched_limits more = limits;
	uint32_t i = 0;

	(void)state;
	assert_true(sched_low(s));
	while (sched_bytes(s) + 10000 <= LINK) {
		assert_int_equal(sched_high(s), sched_bytes(s) > LINK / 2);
		assert_int_equal(sched_low(s), sched_bytes(s) < LINK / 4);
		/* Each of another tenant. */
		assert_int_equal(push(s, i++ << 16, 2, 10000, 1), 0);
	}
	assert_int_equal(push(s, i << 16, 2, 10000, 1), ERR_FULL);
	assert_int_equal(push_striped(s, i << 16, 2, 10000, 1), ERR_FULL);
	while (sched_bytes(s) + 10000 <= LINK + RESERVE)
		assert_int_equal(push_class(s, (uint8_t)(i++ % FRAME_CLASS_CLIENT), 0, 10000, 1), 0);
	assert_int_equal(push_class(s, FRAME_CLASS_CONTROL, 0, 10000, 1), ERR_FULL);
	assert_int_equal(push(s, i << 16, 2, 32, 1), ERR_FULL);
	/* Parked bytes count. */
	sched_move(s, 2, SCHED_PARKED);
	assert_int_equal(sched_lane_bytes(s, SCHED_PARKED), LINK / 10000 * 10000);
	assert_int_equal(push(s, i << 16, 3, 10000, 1), ERR_FULL);
	/* What is resent is counted, never refused, and keeps no control frame out. */
	while (sched_bytes(s) < 4 * LINK)
		assert_int_equal(resend(s, 0, FRAME_CLASS_CLIENT, 16000, 1), 0);
	more.reserve_bytes *= 2;
	sched_set_limits(s, &more);
	assert_int_equal(push_class(s, FRAME_CLASS_CONTROL, 0, 10000, 1), 0);
	drain(s, 0, NULL, 0);
	/* Gone, it counts for nobody. */
	while (push_class(s, FRAME_CLASS_CONTROL, 0, 1000, 1) == 0)
		;
	assert_in_range(sched_bytes(s), LINK + 2 * RESERVE - 999, LINK + 2 * RESERVE);
	drain(s, 0, NULL, 0);
	more.link_bytes *= 2;
	sched_set_limits(s, &more);
	assert_int_equal(push(s, i << 16, 3, 10000, 1), 0);
	sched_free(s);
}

static void
quotas(void **state)
{
	const struct sched_key k = stream(0x10001);
	struct sched *s = make(&limits);

	(void)state;
	for (size_t n = 16000; n <= limits.stream_bytes; n += 16000) {
		assert_int_equal(high(s, 0x10001), n - 16000 > limits.stream_bytes / 2);
		assert_int_equal(sched_key_over(s, &k, n - 16000), high(s, 0x10001));
		assert_int_equal(sched_key_over(s, &k, n - 16000 - 1), n != 16000);
		assert_int_equal(push(s, 0x10001, 2, 16000, 1), 0);
	}
	assert_int_equal(push(s, 0x10001, 2, 16000, 1), ERR_LIMIT);
	/* Striped frames are counted with the others of the stream. */
	assert_int_equal(push_striped(s, 0x10001, 3, 16000, 1), ERR_LIMIT);
	assert_int_equal(push(s, 0x10002, 2, 16000, 1), 0);
	assert_true(high(s, 0x10001));
	assert_true(high(s, 0x10002));  /* its tenant is */
	assert_false(high(s, 0x20001)); /* another tenant */
	while (push_striped(s, 0x10003, 3, 16000, 1) == 0)
		;
	assert_int_equal(push(s, 0x10004, 3, 16000, 1), ERR_LIMIT);
	assert_int_equal(push(s, 0x20004, 3, 16000, 1), 0);
	/* The same number of another source is another tenant. */
	assert_int_equal(
	    push_key(s, (struct sched_key){.src = 8, .flow = 0x10004, .class = 3}, 3, 16000, 1), 0);
	assert_false(sched_key_over(s, &(struct sched_key){.src = 7, .flow = 0x10001, .class = 2}, 0));
	drain(s, 2, NULL, 0);
	drain(s, 3, NULL, 0);
	assert_false(high(s, 0x10001));
	assert_int_equal(push(s, 0x10004, 3, 16000, 1), 0);
	/* Nothing that was refused is known. */
	assert_int_equal(sched_flows(s), 6);
	sched_free(s);
}

static void
pinning(void **state)
{
	struct sched *s = make(&limits);
	struct sched_key control = {.src = 7, .flow = 1, .class = FRAME_CLASS_CONTROL};

	(void)state;
	assert_int_equal(lane_of(s, 1), -1);
	assert_int_equal(sched_flows(s), 0);
	assert_int_equal(push(s, 1, 2, 100, 'a'), 0);
	assert_int_equal(lane_of(s, 1), 2);
	assert_int_equal(sched_lane(s, &control), -1);
	/* It keeps its lane, with something waiting and without. */
	assert_int_equal(push(s, 1, 3, 100, 'b'), 0);
	expect(s, 2, "ab");
	assert_int_equal(lane_of(s, 1), 2);
	assert_int_equal(push(s, 1, 3, 100, 'c'), 0);
	assert_true(sched_lane_empty(s, 3));
	/* A striped frame goes where it is told to, and pins nobody. */
	assert_int_equal(push_striped(s, 1, 3, 100, 's'), 0);
	assert_int_equal(push_striped(s, 2, 3, 100, 't'), 0);
	assert_int_equal(lane_of(s, 1), 2);
	assert_int_equal(lane_of(s, 2), -1);
	expect(s, 3, "st");
	assert_int_equal(lane_of(s, 2), -1);
	assert_int_equal(push(s, 2, 4, 100, 'd'), 0);
	assert_int_equal(lane_of(s, 2), 4);
	expect(s, 2, "c");
	expect(s, 4, "d");
	sched_free(s);
}

/* The streams of a lane go, or the classes before them: the others stay. */
/* A lane dies with frames that were resent on it: those in flight there are older. */
static void
dies_twice(void **state)
{
	(void)state;
	for (int resend_first = 0; resend_first < 2; resend_first++) {
		struct sched *s = make(&limits);

		assert_int_equal(push(s, 1, 3, 100, 'e'), 0);
		assert_int_equal(resend(s, 3, FRAME_CLASS_CLIENT, 100, 'c'), 0);
		assert_int_equal(resend(s, 3, FRAME_CLASS_CLIENT, 100, 'd'), 0);
		sched_move(s, 3, SCHED_PARKED);
		if (!resend_first)
			sched_move(s, SCHED_PARKED, 4);
		assert_int_equal(resend(s, 4, FRAME_CLASS_CLIENT, 100, 'a'), 0);
		assert_int_equal(resend(s, 4, FRAME_CLASS_CLIENT, 100, 'b'), 0);
		if (resend_first)
			sched_move(s, SCHED_PARKED, 4);
		/* And once more, to a lane that has something of its own. */
		assert_int_equal(push(s, 2, 5, 100, 'f'), 0);
		sched_move(s, 4, 5);
		expect(s, 5, "abcdfe");
		sched_free(s);
	}
}

/* A resent frame that does not fit lets none of those overtake it that came with a lane. */
static void
resent_in_order(void **state)
{
	struct sched *s = make(&limits);
	uint8_t out[1000];
	unsigned frames;

	(void)state;
	assert_int_equal(resend(s, 3, FRAME_CLASS_CLIENT, 100, 'b'), 0);
	assert_int_equal(resend(s, 4, FRAME_CLASS_CLIENT, 2000, 'a'), 0);
	sched_move(s, 3, 4);
	assert_int_equal(push(s, 1, 4, 100, 'c'), 0);
	assert_int_equal(sched_take(s, 4, out, sizeof(out), &frames), 0);
	expect(s, 4, "abc");
	sched_free(s);
}

static void
idle_ones_give_way(void **state)
{
	struct sched *s = make(&wide);

	(void)state;
	assert_int_equal(push(s, 0, 2, 100, 0), 0);
	for (uint32_t i = 1; i < LINK_FLOWS_MAX; i++) {
		assert_int_equal(push(s, i, 3, 100, i), 0);
		assert_int_equal(drain(s, 3, NULL, 0), 1);
	}
	assert_int_equal(sched_flows(s), LINK_FLOWS_MAX);
	/* Stream 1 is used again: 2 is the one idle for longest; 0 is not idle. */
	assert_int_equal(push(s, 1, 3, 100, 1), 0);
	assert_int_equal(drain(s, 3, NULL, 0), 1);
	assert_int_equal(push(s, 100000, 4, 100, 7), 0);
	assert_int_equal(sched_flows(s), LINK_FLOWS_MAX);
	assert_int_equal(lane_of(s, 2), -1);
	assert_int_equal(lane_of(s, 0), 2);
	assert_int_equal(lane_of(s, 1), 3);
	assert_int_equal(lane_of(s, 3), 3);
	assert_int_equal(lane_of(s, 100000), 4);
	sched_free(s);
}

/* More streams than are told apart: they share a turn, and each stays in order all the same. */
static void
crowd(void **state)
{
	struct sched *s = make(&wide);
	uint32_t got[4];

	(void)state;
	for (uint32_t i = 0; i < LINK_FLOWS_MAX; i++)
		assert_int_equal(push(s, i, 2, 100, i), 0);
	for (uint32_t i = 0; i < 100; i++)
		assert_int_equal(push(s, 100000, 3, 1000, 500), 0);
	assert_int_equal(push(s, 100001, 4, 1000, 'z'), 0);
	assert_int_equal(sched_flows(s), LINK_FLOWS_MAX);
	assert_int_equal(sched_lane_bytes(s, 3), 100000);
	/* It is known by what waits of it. */
	assert_int_equal(lane_of(s, 100000), 3);
	assert_int_equal(push(s, 100000, 5, 1000, 501), 0);
	assert_int_equal(push_striped(s, 100000, 5, 1000, 502), 0);
	assert_int_equal(drain(s, 5, got, 1), 1);
	assert_int_equal(got[0], 502);
	/* There is room now, but it may not overtake itself. */
	assert_int_equal(drain(s, 2, NULL, 0), LINK_FLOWS_MAX);
	assert_int_equal(push(s, 100000, 5, 1000, 503), 0);
	sched_move(s, 3, 4);
	assert_int_equal(lane_of(s, 100000), 4);
	assert_int_equal(drain(s, 4, got, 4), 103);
	assert_int_equal(got[0], 'z');
	assert_int_equal(got[1], 500);
	/* All gone: it may go anywhere, and becomes known in place of an idle one. */
	assert_int_equal(lane_of(s, 100000), -1);
	assert_int_equal(push(s, 100000, 5, 1000, 504), 0);
	assert_int_equal(lane_of(s, 100000), 5);
	assert_int_equal(sched_flows(s), LINK_FLOWS_MAX);
	sched_free(s);
}

/* The crowd has a quota per part and tenant too. */
static void
crowd_quota(void **state)
{
	const struct sched_limits l = {1u << 30, RESERVE, 1u << 20, 100000};
	struct sched *s = make(&l);

	(void)state;
	for (uint32_t i = 0; i < LINK_FLOWS_MAX; i++)
		assert_int_equal(push(s, i, 2, 100, i), 0);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(push(s, 0x50000, 3, 10000, 1), 0);
	assert_int_equal(push(s, 0x50000, 3, 10000, 1), ERR_LIMIT);
	assert_true(high(s, 0x50000));
	drain(s, 3, NULL, 0);
	assert_false(high(s, 0x50000));
	assert_int_equal(push(s, 0x50000, 4, 10000, 1), 0);
	sched_free(s);
}

/* Room that is asked for and not used leaves no trace. */
static void
unused_room(void **state)
{
	struct sched *s = make(&limits);
	struct sched_key k = stream(0x30001), control = {.src = 7, .class = 0};
	uint8_t *p;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(sched_reserve(s, &k, 2, 100 + 7000 * i, &p), 0);
		assert_int_equal(sched_reserve_striped(s, &k, 2, 16000, &p), 0);
		assert_int_equal(sched_reserve(s, &control, 2, 16000, &p), 0);
	}
	assert_int_equal(drain(s, 2, NULL, 0), 0);
	assert_int_equal(push(s, 0x30001, 2, 2000, 'a'), 0);
	assert_int_equal(sched_reserve(s, &k, 2, 4000, &p), 0);
	assert_int_equal(sched_reserve(s, &k, 2, 16000, &p), 0);
	assert_int_equal(push(s, 0x30001, 2, 2000, 'b'), 0);
	sched_move(s, 2, 3);
	/* Less than was asked for is fine. */
	assert_int_equal(sched_reserve(s, &k, 2, 16000, &p), 0);
	fill(p, 50, 'c');
	sched_commit(s, 50);
	assert_int_equal(sched_bytes(s), 4050);
	expect(s, 3, "abc");
	assert_int_equal(sched_reserve(s, &k, 2, 16000, &p), 0);
	sched_free(s);
}

static void
memory(void **state)
{
	struct sched *s = make(&wide);
	size_t fresh = sched_memory(s);

	(void)state;
	assert_in_range(fresh, 1, 4096);
	/* A thousand streams with a small frame each. */
	for (uint32_t i = 0; i < 1000; i++)
		assert_int_equal(push(s, i << 16, 2, 100, i), 0);
	assert_in_range(sched_memory(s), 1, 1000 * (2048 + 256) + fresh);
	assert_int_equal(drain(s, 2, NULL, 0), 1000);
	assert_in_range(sched_memory(s), 1, 1000 * 144 + fresh + 2048);
	/* Much of one stream: little more than its bytes. */
	while (sched_bytes(s) < 16u << 20)
		assert_int_equal(push(s, 1, 2, 1000, 1), 0);
	assert_in_range(sched_memory(s), 16u << 20, 17u << 20);
	/* Some blocks are kept for as long as anything waits. */
	assert_int_equal(push(s, 1, 3, 100, 1), 0);
	sched_move(s, 2, 4);
	assert_int_equal(push_class(s, FRAME_CLASS_DB, 3, 100, 1), 0);
	drain(s, 4, NULL, 0);
	assert_in_range(sched_memory(s), 1, 1000 * 144 + fresh + 5 * 65536);
	drain(s, 3, NULL, 0);
	assert_in_range(sched_memory(s), 1, 1000 * 144 + fresh + 4096);
	sched_free(s);
}

/* In steady traffic nothing is allocated for a frame. */
static void
steady(void **state)
{
	static uint8_t out[MESSAGE];
	struct sched *s = make(&limits);
	unsigned frames;

	(void)state;
	for (unsigned warm = 0; warm < 2; warm++) {
		mem_fail_at(0);
		for (unsigned i = 0; i < 20000; i++) {
			assert_int_equal(push(s, 1, 2, 200, 1), 0);
			assert_int_equal(drain(s, 2, NULL, 0), 1);
		}
	}
	assert_int_equal(mem_count(), 0);
	for (uint32_t i = 0; i < 2000; i++)
		assert_int_equal(push(s, i % 50, 2, 200, i), 0);
	for (unsigned warm = 0; warm < 2; warm++) {
		mem_fail_at(0);
		for (uint32_t i = 0; i < 20000; i++) {
			assert_int_equal(push(s, i % 50, 2, 200, i), 0);
			if (i % 80 == 79)
				assert_int_equal(sched_take(s, 2, out, 16000, &frames), 16000);
		}
	}
	/* Now and then a stream's next block is of another size. */
	assert_in_range(mem_count(), 0, 200);
	sched_free(s);
}

/* Each step is tried again when there was no memory; nothing may be lost or doubled by that. */
static bool
again(int err, bool *failed)
{
	if (err == 0)
		return false;
	assert_int_equal(err, ERR_NOMEM);
	assert_false(*failed);
	*failed = true;
	return true;
}

static bool
scenario(void)
{
	struct sched *s = sched_new(&wide, 1);
	bool failed = s == NULL;
	unsigned n = 0;
	uint32_t i;

	if (failed)
		return true;
	for (i = 0; i < 40; i++)
		while (again(push(s, i << 16, 2 + i % 3, 1000, i), &failed))
			;
	for (i = 0; i < 12; i++)
		while (again(push(s, 1u << 16, 3, 15000, i), &failed))
			;
	while (again(push_striped(s, 1u << 16, 5, 500, 1), &failed))
		;
	while (again(push_class(s, FRAME_CLASS_DB, 6, 500, 1), &failed))
		;
	while (again(resend(s, 7, FRAME_CLASS_DB, 500, 1), &failed))
		;
	assert_int_equal(sched_frames(s), 55);
	assert_int_equal(sched_bytes(s), 40 * 1000 + 12 * 15000 + 3 * 500);
	sched_move(s, 7, 6);
	for (i = 2; i < 7; i++)
		n += drain(s, i, NULL, 0);
	assert_int_equal(n, 55);
	assert_int_equal(sched_bytes(s), 0);
	sched_free(s);
	return failed;
}

static bool
scenario_fails_at(unsigned long k)
{
	mem_fail_at(k);
	return scenario();
}

static void
no_memory(void **state)
{
	unsigned long k = 1;

	(void)state;
	/* A table that could not grow is no failure. */
	for (; scenario_fails_at(k) || mem_count() >= k; k++)
		;
	mem_fail_at(0);
	assert_true(k > 100);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(classes_in_order),
	    cmocka_unit_test(small_room),
	    cmocka_unit_test(fair_in_bytes),
	    cmocka_unit_test(flood),
	    cmocka_unit_test(no_saving),
	    cmocka_unit_test(link_limit),
	    cmocka_unit_test(quotas),
	    cmocka_unit_test(pinning),
	    cmocka_unit_test(dies_twice),
	    cmocka_unit_test(resent_in_order),
	    cmocka_unit_test(idle_ones_give_way),
	    cmocka_unit_test(crowd),
	    cmocka_unit_test(crowd_quota),
	    cmocka_unit_test(unused_room),
	    cmocka_unit_test(memory),
	    cmocka_unit_test(steady),
	    cmocka_unit_test(no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
