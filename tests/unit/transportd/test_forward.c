#include "transportd/core/forward.h"

#include "common/base/buf.h"
#include "common/base/err.h"
#include "tests/unit/unit.h"
#include "transportd/core/fib.h"

enum { SELF = 100, A = 1, B = 2, C = 3, D = 4, FAR = 50 };

static uint64_t up; /* bit n: the link to node n is up */

static bool
alive(void *arg, uint64_t node)
{
	(void)arg;
	return node < 64 && (up >> node & 1) != 0;
}

static struct fib *
table(void)
{
	const struct fib_path paths[] = {
	    {.path_id = 1, .hop_count = 2, .hops = {A, FAR}},
	    {.path_id = 2, .hop_count = 3, .hops = {B, C, FAR}},
	    {.path_id = 3, .hop_count = 4, .hops = {D, C, A, FAR}},
	};
	struct fib *f = fib_new();

	assert_int_equal(fib_set(f, FAR, 15, 1, paths, 3), 0);
	return f;
}

static struct forward
with(const struct fib *f)
{
	return (struct forward){.self = SELF, .fib = f, .alive = alive};
}

static void
start_takes_the_first_living_path(void **state)
{
	struct fib *f = table();
	struct forward fw = with(f);
	struct forward_way way;

	(void)state;
	up = 1 << A | 1 << B;
	assert_int_equal(forward_start(&fw, FAR, 0, &way), FORWARD_SEND);
	assert_int_equal(way.next, A);
	assert_int_equal(way.visit_count, 1);
	assert_int_equal(way.visit[0], FAR);
	assert_int_equal(way.path_id, 1);
	up = 1 << B;
	assert_int_equal(forward_start(&fw, FAR, 0, &way), FORWARD_SEND);
	assert_int_equal(way.next, B);
	assert_int_equal(way.visit_count, 2);
	up = 0;
	assert_int_equal(forward_start(&fw, FAR, 0, &way), FORWARD_FAIL);
	assert_int_equal(way.reason, UNREACH_NO_LINK);
	assert_int_equal(forward_start(&fw, 51, 0, &way), FORWARD_FAIL);
	assert_int_equal(way.reason, UNREACH_NO_ROUTE);
	fib_free(f);
}

static struct frame
coming(uint8_t ttl, unsigned count, const uint64_t *visit)
{
	struct frame f = {
	    .type = FRAME_DATA, .class = FRAME_CLASS_CLIENT, .ttl = ttl, .src = 9, .path_id = 77};

	f.visit_count = (uint8_t)count;
	memcpy(f.visit, visit, count * sizeof(visit[0]));
	return f;
}

static void
relay_follows_the_source(void **state)
{
	struct fib *f = table();
	struct forward fw = with(f);
	struct forward_way way;
	struct frame in = coming(5, 2, (uint64_t[]){C, FAR});

	(void)state;
	up = 1 << A | 1 << C;
	assert_int_equal(forward_relay(&fw, B, &in, &way), FORWARD_SEND);
	assert_int_equal(way.next, C);
	assert_int_equal(way.visit_count, 1);
	assert_int_equal(way.visit[0], FAR);
	assert_int_equal(way.path_id, 77);
	assert_false(way.repaired);
	in.visit_count = 0;
	assert_int_equal(forward_relay(&fw, B, &in, &way), FORWARD_LOCAL);
	fib_free(f);
}

static void
relay_repairs(void **state)
{
	struct fib *f = table();
	struct forward fw = with(f);
	struct forward_way way;
	struct frame in = coming(5, 2, (uint64_t[]){C, FAR});

	(void)state;
	up = 1 << A | 1 << B;
	assert_int_equal(forward_relay(&fw, 9, &in, &way), FORWARD_SEND);
	assert_true(way.repaired);
	assert_int_equal(way.next, A);
	/* Not back to where it came from, nor over it. */
	assert_int_equal(forward_relay(&fw, A, &in, &way), FORWARD_SEND);
	assert_int_equal(way.next, B);
	up = 1 << A | 1 << D;
	assert_int_equal(forward_relay(&fw, A, &in, &way), FORWARD_FAIL);
	assert_int_equal(way.reason, UNREACH_NO_LINK);
	/* Only as far as ttl allows. */
	up = 1 << B;
	in.ttl = 3;
	assert_int_equal(forward_relay(&fw, 9, &in, &way), FORWARD_FAIL);
	assert_int_equal(way.reason, UNREACH_TTL);
	in.ttl = 4;
	assert_int_equal(forward_relay(&fw, 9, &in, &way), FORWARD_SEND);
	fib_free(f);
}

static void
relay_ends(void **state)
{
	struct fib *f = table();
	struct forward fw = with(f);
	struct forward_way way;
	struct frame in = coming(1, 1, (uint64_t[]){FAR});

	(void)state;
	up = UINT64_MAX;
	assert_int_equal(forward_relay(&fw, A, &in, &way), FORWARD_FAIL);
	assert_int_equal(way.reason, UNREACH_TTL);
	in = coming(0, 1, (uint64_t[]){FAR});
	assert_int_equal(forward_relay(&fw, A, &in, &way), FORWARD_FAIL);
	in = coming(9, 2, (uint64_t[]){SELF, FAR});
	assert_int_equal(forward_relay(&fw, A, &in, &way), FORWARD_FAIL);
	assert_int_equal(way.reason, UNREACH_LOOP);
	in = coming(9, 2, (uint64_t[]){A, SELF});
	assert_int_equal(forward_relay(&fw, B, &in, &way), FORWARD_FAIL);
	assert_int_equal(way.reason, UNREACH_LOOP);
	fib_free(f);
}

/* A ring whose nodes all believe that the other way round is right: ttl ends it. */
static void
no_endless_loop(void **state)
{
	struct fib *f = fib_new();
	const struct fib_path p = {.hop_count = 2, .hops = {A, FAR}};
	struct forward fw = with(f);
	struct frame in = coming(FRAME_TTL_DEFAULT, 1, (uint64_t[]){FAR});
	unsigned hops = 0;

	(void)state;
	up = 1 << A;
	assert_int_equal(fib_set(f, FAR, 15, 1, &p, 1), 0);
	for (;;) {
		struct forward_way way;

		if (forward_relay(&fw, B, &in, &way) != FORWARD_SEND)
			break;
		in.ttl--;
		hops++;
		assert_in_range(hops, 1, FRAME_TTL_DEFAULT);
	}
	assert_int_equal(hops, FRAME_TTL_DEFAULT - 2);
	fib_free(f);
}

static void
codec(const struct unreach *u, size_t size)
{
	uint8_t mem[UNREACH_PAYLOAD_BYTES + 1] = {0};
	struct unreach got;
	struct buf b;

	buf_init_fixed(&b, mem, sizeof(mem));
	assert_int_equal(unreach_encode(u, &b), 0);
	assert_int_equal(buf_left(&b), size);
	assert_int_equal(unreach_decode(mem, size, &got), 0);
	assert_int_equal(got.destination, u->destination);
	assert_int_equal(got.reason, u->reason);
	assert_int_equal(got.original, u->original);
	assert_int_equal(got.path_id, u->path_id);
	for (size_t n = 0; n < size; n++)
		if (n != UNREACH_SHORT_BYTES)
			assert_int_equal(unreach_decode(mem, n, &got), ERR_SHORT);
}

static void
reports(void **state)
{
	struct unreach u = {.destination = 5, .reason = UNREACH_TTL, .original = FRAME_DATA}, got;
	static const uint8_t mem[UNREACH_PAYLOAD_BYTES + 1];
	static struct unreach_limit limit;
	struct mono now = {1000000};

	(void)state;
	codec(&u, UNREACH_SHORT_BYTES);
	u.path_id = 0x01020304;
	codec(&u, UNREACH_PAYLOAD_BYTES);
	/* A path that is not told is not there. */
	assert_int_equal(unreach_decode(mem, UNREACH_PAYLOAD_BYTES, &got), ERR_FORMAT);
	assert_int_equal(unreach_decode(&(uint8_t[15]){[13] = 1}, 15, &got), ERR_LEFTOVER);

	assert_true(unreach_allowed(&limit, 1, 5, 0, now));
	assert_false(unreach_allowed(&limit, 1, 5, 0, now));
	assert_true(unreach_allowed(&limit, 1, 5, 7, now));
	assert_false(unreach_allowed(&limit, 1, 5, 7, now));
	assert_true(unreach_allowed(&limit, 2, 5, 0, now));
	assert_true(unreach_allowed(&limit, 1, 6, 0, now));
	assert_false(unreach_allowed(&limit, 1, 5, 0, mono_add_ms(now, UNREACH_INTERVAL_MS - 1)));
	assert_true(unreach_allowed(&limit, 1, 5, 0, mono_add_ms(now, UNREACH_INTERVAL_MS)));
}

/* --- health --- */

static unsigned bad[4]; /* of paths 1 to 3 */

static unsigned
badness(void *arg, uint64_t dst, uint32_t path_id)
{
	(void)arg;
	assert_int_equal(dst, FAR);
	return bad[path_id];
}

static uint32_t
taken(const struct forward *fw)
{
	struct forward_way way;

	assert_int_equal(forward_start(fw, FAR, 0, &way), FORWARD_SEND);
	return way.path_id;
}

static void
the_least_bad_path_is_taken(void **state)
{
	struct fib *f = table();
	struct forward fw = with(f);
	struct forward_way way;
	struct frame in = coming(9, 2, (uint64_t[]){60, FAR});

	(void)state;
	fw.badness = badness;
	up = 1 << A | 1 << B | 1 << D;
	assert_int_equal(taken(&fw), 1);
	bad[1] = 1;
	assert_int_equal(taken(&fw), 2);
	assert_int_equal(forward_relay(&fw, 9, &in, &way), FORWARD_SEND);
	assert_int_equal(way.next, B);
	/* All are bad: one is taken nevertheless. */
	bad[2] = 5;
	bad[3] = 4;
	assert_int_equal(taken(&fw), 1);
	up &= ~(1u << A);
	assert_int_equal(taken(&fw), 3);
	up &= ~(1u << D);
	assert_int_equal(taken(&fw), 2);
	/* A path by its name, however bad it is. */
	assert_int_equal(forward_over(&fw, FAR, 0, 2, &way), FORWARD_SEND);
	assert_int_equal(way.next, B);
	assert_int_equal(way.visit_count, 2);
	assert_int_equal(forward_over(&fw, FAR, 0, 1, &way), FORWARD_FAIL);
	assert_int_equal(forward_over(&fw, FAR, 0, 4, &way), FORWARD_FAIL);
	assert_int_equal(forward_over(&fw, 51, 0, 1, &way), FORWARD_FAIL);
	memset(bad, 0, sizeof(bad));
	fib_free(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(start_takes_the_first_living_path),
	    cmocka_unit_test(relay_follows_the_source),
	    cmocka_unit_test(relay_repairs),
	    cmocka_unit_test(relay_ends),
	    cmocka_unit_test(no_endless_loop),
	    cmocka_unit_test(reports),
	    cmocka_unit_test(the_least_bad_path_is_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
