#include "transportd/core/retain.h"

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/frame.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "tests/unit/unit.h"
#include "transportd/core/wsframe.h"

static const uint8_t MASK[4] = {0xa5, 0x01, 0xfe, 0x33};

/* Appends a frame to the message; numbered ones are counted. */
static void
put(struct buf *out, uint8_t type, uint8_t class, uint64_t number, size_t payload_len)
{
	static const uint8_t payload[FRAME_PAYLOAD_MAX_BYTES];
	struct frame f = {.type = type,
	    .class = class,
	    .ttl = 3,
	    .src = 7,
	    .path_id = (uint32_t)number,
	    .payload = payload,
	    .payload_len = (uint32_t)payload_len};

	assert_int_equal(frame_encode(&f, out), 0);
}

/* A message of `frames` counted ones, numbered from r->sent_frames on, with link-local ones around. */
static void
send_message(struct retain *r, unsigned frames, size_t payload_len, const uint8_t *mask)
{
	uint8_t *p = retain_reserve(r);
	struct buf out;

	assert_non_null(p);
	assert_ptr_equal(retain_reserve(r), p);
	buf_init_fixed(&out, p, FRAME_MESSAGE_MAX_BYTES);
	put(&out, FRAME_WINDOW, FRAME_CLASS_CONTROL, 0, 12);
	for (unsigned i = 0; i < frames; i++)
		put(&out, FRAME_DATA, (uint8_t)((r->sent_frames + i) % FRAME_CLASS_COUNT), r->sent_frames + i,
		    payload_len);
	put(&out, FRAME_HEARTBEAT, FRAME_CLASS_CONTROL, 0, 16);
	wsframe_put_header(p, buf_left(&out), WSFRAME_BINARY, mask);
	retain_commit(r, buf_left(&out), frames, mask);
}

struct seen {
	uint64_t next, stop_at;
};

static int
see(void *arg, uint8_t class, const uint8_t *raw, size_t size)
{
	struct seen *s = arg;
	struct frame f;
	struct buf in;

	buf_view(&in, raw, size);
	assert_int_equal(frame_decode(&in, &f), 0);
	assert_int_equal(buf_end(&in), 0);
	assert_int_equal(f.type, FRAME_DATA);
	assert_int_equal(f.path_id, s->next);
	assert_int_equal(f.class, class);
	assert_int_equal(class, s->next % FRAME_CLASS_COUNT);
	if (s->next == s->stop_at)
		return ERR_AGAIN;
	s->next++;
	return 0;
}

/* From each count on, exactly the rest. */
static void
check_rest(struct retain *r, uint64_t from)
{
	struct seen s = {.next = from, .stop_at = UINT64_MAX};

	assert_int_equal(retain_each(r, from, see, &s), 0);
	assert_int_equal(s.next, r->sent_frames);
}

static void
the_rest_from_any_count(void **state)
{
	struct retain r;

	(void)state;
	retain_init(&r);
	check_rest(&r, 0);
	for (unsigned i = 0; i < 60; i++)
		send_message(&r, i % 7, i % 5 * 600, i % 3 == 0 ? MASK : NULL);
	for (uint64_t from = 0; from <= r.sent_frames; from++)
		check_rest(&r, from);
	/* Also after some of it is acknowledged, in the middle of messages too. */
	for (uint64_t n = 1; n <= r.sent_frames; n += 2) {
		assert_int_equal(retain_ack(&r, n), 0);
		check_rest(&r, n);
	}
	retain_fini(&r);
	assert_int_equal(r.memory, 0);
}

static void
the_middle_of_a_message(void **state)
{
	struct retain r;
	size_t one;

	(void)state;
	retain_init(&r);
	send_message(&r, 10, 100, MASK);
	one = r.bytes;
	send_message(&r, 10, 100, NULL);
	assert_int_equal(retain_ack(&r, 9), 0);
	assert_int_equal(r.bytes, 2 * one);
	assert_int_equal(retain_ack(&r, 10), 0);
	assert_int_equal(r.bytes, one);
	assert_int_equal(retain_ack(&r, 19), 0);
	assert_int_equal(r.bytes, one);
	check_rest(&r, 19);
	assert_int_equal(retain_ack(&r, 20), 0);
	assert_int_equal(r.bytes, 0);
	check_rest(&r, 20);
	retain_fini(&r);
}

static void
out_of_range(void **state)
{
	struct seen s = {.stop_at = UINT64_MAX};
	struct retain r;

	(void)state;
	retain_init(&r);
	assert_int_equal(retain_ack(&r, 0), 0);
	assert_int_equal(retain_ack(&r, 1), ERR_RANGE);
	assert_int_equal(retain_each(&r, 1, see, &s), ERR_RANGE);
	send_message(&r, 5, 10, NULL);
	assert_int_equal(retain_ack(&r, 6), ERR_RANGE);
	assert_int_equal(retain_ack(&r, UINT64_MAX), ERR_RANGE);
	assert_int_equal(retain_ack(&r, 3), 0);
	assert_int_equal(retain_ack(&r, 2), ERR_RANGE);
	assert_int_equal(r.acked_frames, 3);
	assert_int_equal(retain_each(&r, 2, see, &s), ERR_RANGE);
	assert_int_equal(retain_each(&r, 6, see, &s), ERR_RANGE);
	check_rest(&r, 3);
	retain_fini(&r);
}

static void
stops_when_told(void **state)
{
	struct seen s = {.next = 2, .stop_at = 4};
	struct retain r;

	(void)state;
	retain_init(&r);
	send_message(&r, 3, 10, MASK);
	send_message(&r, 3, 10, MASK);
	assert_int_equal(retain_each(&r, 2, see, &s), ERR_AGAIN);
	assert_int_equal(s.next, 4);
	/* What was unmasked is not masked again. */
	check_rest(&r, 0);
	retain_fini(&r);
}

/* Bytes that are no frames, or not as many as was said: an error and no reading beyond them. */
static void
no_frames(void **state)
{
	struct seen s = {.stop_at = UINT64_MAX};

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct retain r;
		struct buf out;
		uint8_t *p;

		retain_init(&r);
		p = retain_reserve(&r);
		buf_init_fixed(&out, p, FRAME_MESSAGE_MAX_BYTES);
		put(&out, FRAME_DATA, 0, 0, 100);
		if (i == 0)
			p[0] = 99;
		retain_commit(&r, buf_left(&out) - (i == 1), i == 2 ? 2 : 1, i == 3 ? MASK : NULL);
		s.next = 0;
		assert_int_equal(retain_each(&r, 0, see, &s), i == 0 || i == 3 ? ERR_VERSION
							      : i == 1         ? ERR_SHORT
									       : ERR_FORMAT);
		retain_fini(&r);
	}
}

/* More frames than were said to be there: the surplus is not shown. */
static void
too_many_frames(void **state)
{
	struct seen s = {.stop_at = UINT64_MAX};
	struct retain r;
	struct buf out;

	(void)state;
	retain_init(&r);
	buf_init_fixed(&out, retain_reserve(&r), FRAME_MESSAGE_MAX_BYTES);
	put(&out, FRAME_DATA, 0, 0, 100);
	put(&out, FRAME_DATA, 1, 1, 100);
	retain_commit(&r, buf_left(&out), 1, NULL);
	assert_int_equal(retain_each(&r, 0, see, &s), ERR_FORMAT);
	assert_int_equal(s.next, 1);
	retain_fini(&r);
}

/* Heartbeats alone are never acknowledged, and never pile up; the last one stays where it is. */
static void
only_heartbeats(void **state)
{
	struct retain r;
	size_t idle;

	(void)state;
	retain_init(&r);
	send_message(&r, 0, 0, MASK);
	idle = r.memory;
	assert_in_range(idle, 1, 20 * 1024 + 512);
	for (unsigned i = 0; i < 5000; i++) {
		send_message(&r, 0, 0, MASK);
		if (i % 5 == 0)
			assert_int_equal(retain_ack(&r, 0), 0);
	}
	assert_int_equal(r.memory, idle);
	assert_int_equal(r.bytes, 0);
	/* Behind something that waits for its acknowledgement too. */
	send_message(&r, 1, 1000, NULL);
	for (unsigned i = 0; i < 5000; i++)
		send_message(&r, 0, 0, NULL);
	assert_int_equal(r.memory, idle);
	check_rest(&r, 0);
	assert_int_equal(retain_ack(&r, 1), 0);
	assert_int_equal(r.memory, idle);
	retain_fini(&r);
}

/* A heartbeat may still be on its way to the socket when what went before it is acknowledged. */
static void
last_one_stays(void **state)
{
	struct retain r;
	size_t before;
	uint8_t *p;

	(void)state;
	retain_init(&r);
	/* In a large block, which goes when nothing needs it. */
	send_message(&r, 5, 3000, NULL);
	send_message(&r, 5, 3000, NULL);
	p = retain_reserve(&r);
	memset(p, 'h', 50);
	retain_commit(&r, 50, 0, NULL);
	assert_int_equal(retain_ack(&r, 10), 0);
	assert_int_equal(r.bytes, 0);
	before = r.memory;
	assert_in_range(before, 64 * 1024, 128 * 1024);
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(p[i], 'h');
	/* Now it goes, and the block with it. */
	send_message(&r, 1, 10, NULL);
	assert_in_range(r.memory, 1, 20 * 1024 + 512);
	retain_fini(&r);
}

/* Room given out stays when all that is there is acknowledged. */
static void
room_stays(void **state)
{
	struct retain r;
	uint8_t *p;

	(void)state;
	retain_init(&r);
	send_message(&r, 5, 3000, NULL);
	send_message(&r, 5, 3000, NULL);
	p = retain_reserve(&r);
	assert_int_equal(retain_ack(&r, 10), 0);
	memset(p, 'x', FRAME_MESSAGE_MAX_BYTES);
	assert_ptr_equal(retain_reserve(&r), p);
	send_message(&r, 5, 100, MASK);
	check_rest(&r, 10);
	assert_int_equal(retain_ack(&r, 15), 0);
	assert_in_range(r.memory, 0, 20 * 1024 + 512);
	retain_fini(&r);
}

/* The memory of what is kept is near to its size, and goes when it goes. */
static void
memory_bound(void **state)
{
	struct rng rng;
	struct retain r;

	(void)state;
	rng_seed(&rng, 5);
	retain_init(&r);
	for (unsigned i = 0; i < 3000; i++) {
		uint64_t acked = r.sent_frames > 400 ? r.sent_frames - 400 : 0;

		send_message(&r, 1 + (unsigned)rng_below(&rng, 20), rng_below(&rng, 700),
		    rng_below(&rng, 2) != 0 ? MASK : NULL);
		assert_int_equal(retain_ack(&r, acked), 0);
		assert_true(r.memory <= r.bytes * 3 / 2 + 3 * 66000);
		if (i % 100 == 0)
			check_rest(&r, acked);
	}
	assert_int_equal(retain_ack(&r, r.sent_frames), 0);
	assert_int_equal(r.bytes, 0);
	assert_in_range(r.memory, 0, 20 * 1024 + 512);
	/* The largest messages: four to a block. */
	while (r.bytes < 4000000) {
		assert_non_null(retain_reserve(&r));
		retain_commit(&r, FRAME_MESSAGE_MAX_BYTES, 1, NULL);
	}
	assert_true(r.memory <= r.bytes + r.bytes / 20 + 66000);
	assert_int_equal(retain_ack(&r, r.sent_frames), 0);
	assert_in_range(r.memory, 0, 20 * 1024 + 512);
	retain_fini(&r);
}

/* Against a count of what was sent, with acknowledgements that lag behind at random. */
static void
model(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct retain r;
		struct rng rng;

		rng_seed(&rng, seed);
		retain_init(&r);
		for (unsigned i = 0; i < 400; i++) {
			uint64_t open = r.sent_frames - r.acked_frames;

			if (rng_below(&rng, 3) != 0)
				send_message(&r, (unsigned)rng_below(&rng, 9), rng_below(&rng, 1500),
				    rng_below(&rng, 2) != 0 ? MASK : NULL);
			else
				assert_int_equal(
				    retain_ack(&r, r.acked_frames + rng_below(&rng, open + 1)), 0);
			/* This unmasks: the frames are the same the next time. */
			if (rng_below(&rng, 20) == 0)
				check_rest(
				    &r, r.acked_frames + rng_below(&rng, r.sent_frames - r.acked_frames + 1));
		}
		check_rest(&r, r.acked_frames);
		retain_fini(&r);
	}
}

static void
no_memory(void **state)
{
	(void)state;
	for (unsigned long k = 1;; k++) {
		struct retain r;
		bool failed = false;

		retain_init(&r);
		mem_fail_at(k);
		for (unsigned i = 0; i < 30; i++) {
			if (retain_reserve(&r) == NULL) {
				failed = true;
				assert_non_null(retain_reserve(&r));
			}
			send_message(&r, 3, 4000, MASK);
		}
		mem_fail_at(0);
		check_rest(&r, 0);
		retain_fini(&r);
		if (!failed) {
			assert_true(k > 3);
			return;
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_rest_from_any_count),
	    cmocka_unit_test(the_middle_of_a_message),
	    cmocka_unit_test(out_of_range),
	    cmocka_unit_test(stops_when_told),
	    cmocka_unit_test(no_frames),
	    cmocka_unit_test(too_many_frames),
	    cmocka_unit_test(only_heartbeats),
	    cmocka_unit_test(last_one_stays),
	    cmocka_unit_test(room_stays),
	    cmocka_unit_test(memory_bound),
	    cmocka_unit_test(model),
	    cmocka_unit_test(no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
