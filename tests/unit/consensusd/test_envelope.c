/* envelope: messages in packets, packets in fragments, and what can go wrong with these on the way. */
#include "tests/unit/unit.h"

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "consensusd/core/envelope.h"

enum { MAX_BYTES = 1024 * 1024, SIZE = 10 * ENVELOPE_FULL_BYTES + 7 };

static uint8_t packet[SIZE];
static struct mono now = {1000000};

static struct envelope_fragment
fragment(uint64_t number, uint16_t index)
{
	struct envelope_fragment f = {.class = 1, .number = number};

	envelope_cut(&f, packet, sizeof(packet), index);
	return f;
}

static int
setup(void **state)
{
	static struct envelope e;
	struct rng rng;

	rng_seed(&rng, 5);
	for (size_t i = 0; i < sizeof(packet); i++)
		packet[i] = (uint8_t)rng_below(&rng, 256);
	envelope_init(&e, MAX_BYTES);
	*state = &e;
	return 0;
}

static int
teardown(void **state)
{
	struct envelope *e = *state;

	envelope_fini(e);
	assert_int_equal(e->count, 0);
	assert_int_equal(e->bytes, 0);
	return 0;
}

/* True if the fragment made the packet whole; then it is the right one. */
static bool
add(struct envelope *e, uint64_t node, struct envelope_fragment f)
{
	uint8_t *got;
	size_t len;

	assert_int_equal(envelope_add(e, node, &f, now, &got, &len), 0);
	if (got == NULL)
		return false;
	assert_int_equal(len, sizeof(packet));
	assert_memory_equal(got, packet, len);
	mem_free(got);
	return true;
}

static void
test_messages(void **state)
{
	struct envelope_message m;
	struct buf b;

	(void)state;
	buf_init(&b, 100);
	assert_int_equal(envelope_put(&b, 3, 5), 0);
	assert_int_equal(buf_put_bytes(&b, "hello", 5), 0);
	assert_int_equal(envelope_put(&b, 4, 0), 0);
	assert_int_equal(envelope_put(&b, 5, ENVELOPE_PACKET_MAX_BYTES + 1), ERR_LIMIT);
	assert_int_equal(envelope_get(&b, &m), 0);
	assert_true(m.kind == 3 && m.len == 5 && memcmp(m.body, "hello", 5) == 0);
	assert_int_equal(envelope_get(&b, &m), 0);
	assert_true(m.kind == 4 && m.len == 0);
	assert_int_equal(buf_end(&b), 0);
	/* A length that is not there consumes nothing. */
	assert_int_equal(envelope_put(&b, 5, 6), 0);
	assert_int_equal(buf_put_bytes(&b, "short", 5), 0);
	assert_int_equal(envelope_get(&b, &m), ERR_SHORT);
	assert_int_equal(buf_left(&b), 10);
	buf_fini(&b);
}

static void
test_fragments(void **state)
{
	struct envelope_fragment f, g;
	uint8_t mem[FRAME_PAYLOAD_MAX_BYTES + 1];
	struct buf b;

	(void)state;
	assert_int_equal(envelope_count(1), 1);
	assert_int_equal(envelope_count(ENVELOPE_FULL_BYTES), 1);
	assert_int_equal(envelope_count(ENVELOPE_FULL_BYTES + 1), 2);
	assert_int_equal(envelope_count(ENVELOPE_PACKET_MAX_BYTES), ENVELOPE_FRAGMENTS_MAX);
	for (uint16_t i = 0; i < 11; i++) {
		f = fragment(0x1122334455667788u, i);
		buf_init_fixed(&b, mem, FRAME_PAYLOAD_MAX_BYTES);
		assert_int_equal(envelope_put_fragment(&b, &f), 0);
		assert_int_equal(envelope_get_fragment(mem, buf_left(&b), &g), 0);
		assert_true(g.class == 1 && g.number == f.number && g.index == i && g.count == 11);
		assert_int_equal(g.len, i < 10 ? ENVELOPE_FULL_BYTES : 7);
		assert_memory_equal(g.bytes, packet + (size_t)i * ENVELOPE_FULL_BYTES, g.len);
	}
}

static void
test_bad_fragments(void **state)
{
	uint8_t good[ENVELOPE_FRAGMENT_BYTES + 1] = {1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 'x'}, bad[15];
	static uint8_t large[FRAME_PAYLOAD_MAX_BYTES + 1] = {[0] = 1, [13] = 1};
	struct envelope_fragment f;

	(void)state;
	assert_int_equal(envelope_get_fragment(good, sizeof(good), &f), 0);
	for (size_t n = 0; n < sizeof(good); n++)
		assert_int_equal(envelope_get_fragment(good, n, &f), ERR_SHORT);
	memcpy(bad, good, sizeof(bad));
	bad[0] = 2;
	assert_int_equal(envelope_get_fragment(bad, sizeof(bad), &f), ERR_VERSION);
	memcpy(bad, good, sizeof(bad));
	bad[13] = 0; /* none of none */
	assert_int_equal(envelope_get_fragment(bad, sizeof(bad), &f), ERR_FORMAT);
	bad[13] = 2; /* the first of two, and not full */
	assert_int_equal(envelope_get_fragment(bad, sizeof(bad), &f), ERR_FORMAT);
	bad[12] = 0xff;
	assert_int_equal(envelope_get_fragment(bad, sizeof(bad), &f), ERR_LIMIT);
	assert_int_equal(envelope_get_fragment(large, sizeof(large) - 1, &f), 0);
	assert_int_equal(envelope_get_fragment(large, sizeof(large), &f), ERR_LIMIT);
}

static void
test_any_order(void **state)
{
	struct envelope *e = *state;

	for (uint16_t i = 11; i-- > 1;) {
		assert_false(add(e, 7, fragment(1, i)));
		assert_false(add(e, 7, fragment(1, i))); /* twice is like once */
	}
	/* Another node's, another packet's, and another class's are not it. */
	struct envelope_fragment other = fragment(1, 0);

	other.class = 0;
	assert_false(add(e, 7, other));
	assert_false(add(e, 8, fragment(1, 0)));
	assert_false(add(e, 7, fragment(2, 0)));
	assert_int_equal(e->count, 4);
	assert_true(add(e, 7, fragment(1, 0)));
	assert_int_equal(e->count, 3);
	assert_int_equal(e->dropped, 0);
}

static void
test_contradictions(void **state)
{
	struct envelope *e = *state;
	struct envelope_fragment f;

	/* Another count, other bytes, another length: each begins the packet again. */
	assert_false(add(e, 7, fragment(1, 0)));
	f = fragment(1, 1);
	f.count = 12;
	assert_false(add(e, 7, f));
	assert_int_equal(e->dropped, 1);
	assert_false(add(e, 7, fragment(1, 2)));
	assert_int_equal(e->dropped, 2);
	f = fragment(1, 2);
	f.bytes = packet;
	assert_false(add(e, 7, f));
	assert_int_equal(e->dropped, 3);
	f = fragment(1, 10);
	f.len = 3;
	assert_false(add(e, 7, f));
	assert_int_equal(e->dropped, 3);
	assert_false(add(e, 7, fragment(1, 10)));
	assert_int_equal(e->dropped, 4);
	assert_int_equal(e->count, 1);
	/* And the right ones make it whole in the end. */
	for (uint16_t i = 0; i < 9; i++)
		assert_false(add(e, 7, fragment(1, i)));
	assert_true(add(e, 7, fragment(1, 9)));
}

static void
test_limits(void **state)
{
	struct envelope *e = *state;

	for (uint64_t n = 1; n <= ENVELOPE_NODE_MAX_COUNT + 1; n++)
		assert_false(add(e, 7, fragment(n, 0)));
	assert_int_equal(e->count, ENVELOPE_NODE_MAX_COUNT);
	assert_int_equal(e->dropped, 1);
	/* The first was the one that went: its rest makes nothing whole. */
	for (uint16_t i = 1; i < 11; i++)
		assert_false(add(e, 7, fragment(1, i)));
	for (uint64_t node = 100; node < 300; node++) {
		assert_false(add(e, node, fragment(1, 0)));
		assert_in_range(e->bytes, 0, MAX_BYTES);
	}
	assert_in_range(e->count, 60, 70);
	/* What is announced costs little. */
	envelope_fini(e);
	e->max_bytes = SIZE_MAX;
	for (uint64_t node = 1; node < 2000; node++)
		assert_false(add(e, node, fragment(1, 10)));
	assert_int_equal(e->count, ENVELOPE_PARTIALS_MAX);
	assert_in_range(e->bytes, 0, ENVELOPE_PARTIALS_MAX * 256);
}

static void
test_time(void **state)
{
	struct envelope *e = *state;
	struct mono start = now;

	assert_true(mono_is_never(envelope_next(e)));
	envelope_expire(e, MONO_NEVER);
	add(e, 7, fragment(1, 0));
	now = mono_add_ms(start, 4000);
	add(e, 7, fragment(2, 0));
	add(e, 7, fragment(1, 1));
	assert_int_equal(envelope_next(e).us, mono_add_ms(start, ENVELOPE_WAIT_MS).us);
	envelope_expire(e, mono_add_ms(start, ENVELOPE_WAIT_MS - 1));
	assert_int_equal(e->count, 2);
	envelope_expire(e, mono_add_ms(start, ENVELOPE_WAIT_MS));
	assert_int_equal(e->count, 1);
	assert_int_equal(e->dropped, 1);
	assert_int_equal(envelope_next(e).us, mono_add_ms(now, ENVELOPE_WAIT_MS).us);
	now = start;
}

/* Whatever allocation fails, nothing leaks and the packet comes with a second try. */
static void
test_failing_memory(void **state)
{
	struct envelope *e = *state;

	for (unsigned long k = 1; k < 20; k++) {
		bool whole = false;

		mem_fail_at(k);
		for (unsigned round = 0; round < 2 && !whole; round++) {
			for (uint16_t i = 0; i < 11 && !whole; i++) {
				struct envelope_fragment f = fragment(k, i);
				uint8_t *got;
				size_t len;
				int err = envelope_add(e, 7, &f, now, &got, &len);

				assert_true(err == 0 || err == ERR_NOMEM);
				assert_true(err == 0 || got == NULL);
				whole = got != NULL;
				mem_free(got);
			}
		}
		mem_fail_at(0);
		assert_true(whole);
		assert_int_equal(e->count, 0);
	}
}

/* Packets of several nodes at once, their fragments shuffled and doubled: each comes exactly once. */
static void
test_random(void **state)
{
	struct envelope *e = *state;
	struct rng rng;

	rng_seed(&rng, 11);
	for (unsigned round = 0; round < 200; round++) {
		unsigned whole = 0;
		uint16_t order[3][11];

		for (unsigned n = 0; n < 3; n++) {
			for (uint16_t i = 0; i < 11; i++)
				order[n][i] = i;
			for (unsigned i = 10; i > 0; i--) {
				unsigned j = (unsigned)rng_below(&rng, i + 1);
				uint16_t x = order[n][i];

				order[n][i] = order[n][j];
				order[n][j] = x;
			}
		}
		for (unsigned i = 0; i < 11; i++) {
			for (unsigned n = 0; n < 3; n++) {
				if (i < 10 && rng_below(&rng, 4) == 0)
					assert_false(add(e, n + 1, fragment(round, order[n][i])));
				whole += add(e, n + 1, fragment(round, order[n][i]));
			}
		}
		assert_int_equal(whole, 3);
	}
	assert_int_equal(e->count, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_messages),
	    cmocka_unit_test_setup_teardown(test_fragments, setup, teardown),
	    cmocka_unit_test(test_bad_fragments),
	    cmocka_unit_test_setup_teardown(test_any_order, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_contradictions, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_time, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_failing_memory, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_random, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
