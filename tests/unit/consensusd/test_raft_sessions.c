/* Sessions: each proposal is applied once, in whatever order and however often it arrives. */
#include "tests/unit/unit.h"

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "consensusd/core/raft_sessions.h"

enum { BYTES_MAX = 64 << 20, A = 7, B = 8 };

static struct raft_sessions *
sessions(void)
{
	struct raft_sessions *s = raft_sessions_new();

	assert_non_null(s);
	assert_int_equal(raft_sessions_open(s, A, 1), 0);
	return s;
}

static int
begin(struct raft_sessions *s, uint64_t client, uint64_t seq)
{
	uint64_t index;
	int result;

	return raft_sessions_begin(s, client, seq, &result, &index);
}

static void
apply(struct raft_sessions *s, uint64_t client, uint64_t seq)
{
	assert_int_equal(begin(s, client, seq), 0);
	raft_sessions_done(s, client, seq, -(int)(seq % 7), 1000 + seq);
}

static void
applied(struct raft_sessions *s, uint64_t client, uint64_t seq)
{
	uint64_t index = 0;
	int result = 1;

	assert_int_equal(raft_sessions_begin(s, client, seq, &result, &index), ERR_EXISTS);
	assert_int_equal(result, -(int)(seq % 7));
	assert_int_equal(index, 1000 + seq);
}

static void
encode(const struct raft_sessions *s, struct buf *b)
{
	buf_init(b, BYTES_MAX);
	assert_int_equal(raft_sessions_encode(s, b), 0);
	assert_int_equal(buf_left(b), raft_sessions_bytes(s));
}

static void
assert_same(const struct raft_sessions *a, const struct raft_sessions *b)
{
	struct buf x, y;

	encode(a, &x);
	encode(b, &y);
	assert_int_equal(buf_left(&x), buf_left(&y));
	assert_memory_equal(buf_head(&x), buf_head(&y), buf_left(&x));
	buf_fini(&x);
	buf_fini(&y);
}

/* Takes the place of its copy. */
static struct raft_sessions *
copy(struct raft_sessions *s)
{
	struct raft_sessions *got;
	struct buf b;

	encode(s, &b);
	assert_int_equal(raft_sessions_decode(&b, &got), 0);
	assert_int_equal(buf_left(&b), 0);
	buf_fini(&b);
	assert_same(s, got);
	raft_sessions_free(s);
	return got;
}

static void
test_once(void **state)
{
	struct raft_sessions *s = sessions();

	(void)state;
	assert_int_equal(begin(s, B, 1), ERR_NOENT);
	assert_int_equal(begin(s, A, 0), ERR_RANGE);
	apply(s, A, 1);
	applied(s, A, 1);
	apply(s, A, 2);
	assert_int_equal(raft_sessions_open(s, A, 9), 0);
	applied(s, A, 2);
	applied(s, A, 1);
	assert_int_equal(raft_sessions_count(s), 1);
	raft_sessions_free(s);
}

static void
test_any_order(void **state)
{
	struct raft_sessions *s = sessions();

	(void)state;
	for (uint64_t seq = RAFT_SESSION_WINDOW; seq >= 1; seq--) {
		assert_int_equal(begin(s, A, RAFT_SESSION_WINDOW + 1), ERR_RANGE);
		apply(s, A, seq);
		s = copy(s);
	}
	for (uint64_t seq = 1; seq <= RAFT_SESSION_WINDOW; seq++)
		applied(s, A, seq);
	apply(s, A, 2 * RAFT_SESSION_WINDOW);
	assert_int_equal(begin(s, A, 2 * RAFT_SESSION_WINDOW + 1), ERR_RANGE);
	assert_int_equal(begin(s, A, UINT64_MAX), ERR_RANGE);
	for (uint64_t seq = 1; seq <= RAFT_SESSION_WINDOW; seq++)
		assert_int_equal(begin(s, A, seq), ERR_STALE);
	apply(s, A, RAFT_SESSION_WINDOW + 1);
	s = copy(s);
	applied(s, A, 2 * RAFT_SESSION_WINDOW);
	raft_sessions_free(s);
}

static void
test_least_recently_used_goes(void **state)
{
	struct raft_sessions *s = sessions();

	(void)state;
	apply(s, A, 1);
	for (uint64_t i = 1; i < RAFT_SESSIONS_MAX; i++)
		assert_int_equal(raft_sessions_open(s, 100 + i, i), 0);
	assert_int_equal(raft_sessions_count(s), RAFT_SESSIONS_MAX);
	applied(s, A, 1); /* is a use, too */
	s = copy(s);
	assert_int_equal(raft_sessions_open(s, B, 1), 0);
	assert_int_equal(begin(s, 101, 1), ERR_NOENT);
	apply(s, 102, 1);
	assert_int_equal(raft_sessions_open(s, 3, 1), 0);
	assert_int_equal(begin(s, 103, 1), ERR_NOENT);
	applied(s, A, 1);
	assert_int_equal(raft_sessions_count(s), RAFT_SESSIONS_MAX);
	raft_sessions_free(s);
}

static void
test_without_memory(void **state)
{
	struct raft_sessions *s = sessions(), *before = copy(sessions()), *got;
	struct buf b;
	unsigned long n = 0;
	int err;

	(void)state;
	mem_fail_at(1);
	assert_int_equal(raft_sessions_open(s, B, 5), ERR_NOMEM);
	mem_fail_at(1);
	assert_int_equal(begin(s, A, 1), ERR_NOMEM);
	mem_fail_at(0);
	assert_same(s, before);
	raft_sessions_free(before);
	for (uint64_t seq = 1; seq < 300; seq++)
		apply(s, A, seq);
	encode(s, &b);
	do {
		struct buf in;

		buf_view(&in, buf_head(&b), buf_left(&b));
		mem_fail_at(++n);
		err = raft_sessions_decode(&in, &got);
		mem_fail_at(0);
		assert_true(err == 0 || err == ERR_NOMEM);
	} while (err != 0);
	assert_int_equal(n, 4);
	raft_sessions_free(got);
	raft_sessions_free(s);
	buf_fini(&b);
}

static void
test_decode_refuses(void **state)
{
	/* Places in what is encoded of a session with results 2 and 4, and what can't be there. */
	enum { CLIENT = 4 + 7, NEXT = 4 + 23, HIGHEST = 4 + 31, FIRST = 4 + 36 + 7, SECOND = FIRST + 20 };
	static const struct {
		size_t at;
		uint8_t value;
	} wrong[] = {
	    {CLIENT, 0},
	    {NEXT, 0},
	    {NEXT, 2},
	    {NEXT, 9},
	    {HIGHEST, 3},
	    {HIGHEST, 5},
	    {HIGHEST - 7, 0x80},
	    {FIRST, 1},
	    {FIRST, 4},
	    {FIRST, 5},
	    {SECOND, 2},
	    {SECOND, 1},
	    {SECOND, 0},
	};
	struct raft_sessions *s = sessions(), *got;
	struct buf b, in;

	(void)state;
	apply(s, A, 2);
	apply(s, A, 4);
	encode(s, &b);
	for (size_t i = 0; i < COUNT(wrong); i++) {
		uint8_t *data = mem_dup(buf_head(&b), buf_left(&b));

		data[wrong[i].at] = wrong[i].value;
		buf_view(&in, data, buf_left(&b));
		if (raft_sessions_decode(&in, &got) != ERR_FORMAT)
			fail_msg("%zu", i);
		mem_free(data);
	}
	for (size_t len = 0; len < buf_left(&b); len++) {
		buf_view(&in, buf_head(&b), len);
		assert_int_equal(raft_sessions_decode(&in, &got), ERR_SHORT);
	}
	raft_sessions_free(s);
	buf_fini(&b);
}

/* Clients that keep to the window, whose proposals arrive in any order and more than once. */
static void
test_random_clients(void **state)
{
	enum { CLIENTS = 3, SPAN = 400 };
	struct raft_sessions *s = sessions();
	bool done[CLIENTS][SPAN] = {{false}};
	uint64_t lowest[CLIENTS] = {1, 1, 1};
	struct rng rng;

	(void)state;
	rng_seed(&rng, 1);
	for (uint64_t c = 0; c < CLIENTS; c++)
		assert_int_equal(raft_sessions_open(s, 100 + c, c), 0);
	for (size_t i = 0; i < 20000; i++) {
		uint64_t c = rng_below(&rng, CLIENTS), seq = lowest[c] + rng_below(&rng, 128);

		if (seq >= SPAN)
			continue;
		if (done[c][seq])
			applied(s, 100 + c, seq);
		else
			apply(s, 100 + c, seq);
		done[c][seq] = true;
		while (lowest[c] < SPAN - 1 && done[c][lowest[c]])
			lowest[c]++;
		if (rng_below(&rng, 50) == 0)
			s = copy(s);
	}
	raft_sessions_free(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_once),
	    cmocka_unit_test(test_any_order),
	    cmocka_unit_test(test_least_recently_used_goes),
	    cmocka_unit_test(test_without_memory),
	    cmocka_unit_test(test_decode_refuses),
	    cmocka_unit_test(test_random_clients),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
