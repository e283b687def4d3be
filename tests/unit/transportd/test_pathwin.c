/* The window of a path step by step, and its receiver; on a network: test_pathwin_net.c. */
#include "transportd/core/pathwin.h"

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "tests/unit/unit.h"

enum { ID = 7, SRC = 99, SIZE = 16000, WINDOW_MAX = 8 * 1024 * 1024, RTT_MS = 10 };

/* A source and what its far end has counted. */
struct path {
	struct pathwin p;
	struct path_feedback far;
	int64_t now_ms;
};

static struct mono
now(const struct path *t)
{
	return mono_add_ms((struct mono){5000000}, t->now_ms);
}

static void
start(struct path *t)
{
	memset(t, 0, sizeof(*t));
	pathwin_init(&t->p, ID, WINDOW_MAX, now(t));
}

static void
put(struct path *t, unsigned frames)
{
	for (unsigned i = 0; i < frames; i++)
		pathwin_sent(&t->p, SIZE, now(t));
}

static void
arrive(struct path *t, unsigned frames, unsigned marked)
{
	t->far.received_frames += frames;
	t->far.received_bytes += (uint64_t)frames * SIZE;
	t->far.marked_bytes += (uint64_t)marked * SIZE;
}

static struct path_feedback
ask(struct path *t)
{
	struct path_feedback f;

	assert_true(pathwin_ask(&t->p, now(t), &f));
	assert_int_equal(f.kind, PATH_ASK);
	assert_int_equal(f.path_id, ID);
	return f;
}

static struct path_feedback
answer_to(const struct path *t, struct path_feedback f)
{
	f.kind = PATH_ANSWER;
	f.received_frames = t->far.received_frames;
	f.received_bytes = t->far.received_bytes;
	f.marked_bytes = t->far.marked_bytes;
	return f;
}

/* Sends, and a round trip later has the answer; the time between two asks has passed then too. */
static void
round_trip(struct path *t, unsigned frames, unsigned arrived, unsigned marked)
{
	struct path_feedback a;

	put(t, frames);
	t->now_ms += PATHWIN_ASK_MS;
	a = ask(t);
	arrive(t, arrived, marked);
	a = answer_to(t, a);
	t->now_ms += RTT_MS;
	assert_true(pathwin_answer(&t->p, &a, now(t)));
}

static void
codec(void **state)
{
	struct path_feedback f, got;
	uint8_t mem[PATH_ANSWER_BYTES + 1] = {0};
	struct buf out;

	(void)state;
	for (unsigned kind = PATH_ASK; kind <= PATH_ASK_AGAIN; kind++) {
		size_t size = kind == PATH_ANSWER ? PATH_ANSWER_BYTES : PATH_ASK_BYTES;

		f = (struct path_feedback){(uint8_t)kind, 1, 2, 3, UINT64_MAX, 0, 0, 0};
		if (kind == PATH_ANSWER)
			f = (struct path_feedback){PATH_ANSWER, 1, 2, 3, 4, 5, 6, 7};
		buf_init_fixed(&out, mem, size);
		assert_int_equal(path_feedback_encode(&f, &out), 0);
		assert_int_equal(buf_left(&out), size);
		assert_int_equal(path_feedback_decode(mem, size, &got), 0);
		assert_int_equal(got.kind, kind);
		assert_int_equal(got.path_id, f.path_id);
		assert_int_equal(got.sent_frames, f.sent_frames);
		assert_int_equal(got.sent_bytes, f.sent_bytes);
		assert_int_equal(got.time_us, f.time_us);
		assert_int_equal(got.received_frames, f.received_frames);
		assert_int_equal(got.received_bytes, f.received_bytes);
		assert_int_equal(got.marked_bytes, f.marked_bytes);
		for (size_t n = 0; n < size; n++) {
			assert_int_equal(path_feedback_decode(mem, n, &got), ERR_SHORT);
			buf_init_fixed(&out, mem, n);
			assert_int_equal(path_feedback_encode(&f, &out), ERR_LIMIT);
			buf_init_fixed(&out, mem, size);
			assert_int_equal(path_feedback_encode(&f, &out), 0);
		}
		assert_int_equal(path_feedback_decode(mem, size + 1, &got), ERR_LEFTOVER);
	}
	mem[0] = 4;
	assert_int_equal(path_feedback_decode(mem, PATH_ANSWER_BYTES, &got), ERR_FORMAT);
	mem[0] = 0;
	assert_int_equal(path_feedback_decode(mem, 1, &got), ERR_FORMAT);
}

static void
full_and_open(void **state)
{
	struct path t;

	(void)state;
	start(&t);
	assert_int_equal(t.p.window, PATHWIN_INITIAL_BYTES);
	assert_true(pathwin_open(&t.p));
	while (!pathwin_full(&t.p))
		put(&t, 1);
	assert_false(pathwin_open(&t.p));
	assert_in_range(pathwin_in_flight(&t.p), PATHWIN_INITIAL_BYTES, PATHWIN_INITIAL_BYTES + SIZE);
	/* A maximum out of bounds. */
	pathwin_init(&t.p, ID, 0, now(&t));
	assert_int_equal(t.p.window, PATHWIN_MIN_BYTES);
	pathwin_init(&t.p, ID, UINT64_MAX, now(&t));
	assert_int_equal(t.p.window_max, PATHWIN_MAX_BYTES);
}

static void
asks_are_paced(void **state)
{
	struct path_feedback f;
	struct path t;

	(void)state;
	start(&t);
	assert_false(pathwin_ask(&t.p, now(&t), &f));
	assert_true(mono_is_never(pathwin_next(&t.p)));
	/* Behind the first frame, so that the round trip is soon known. */
	put(&t, 1);
	f = ask(&t);
	assert_int_equal(f.sent_frames, 1);
	assert_int_equal(f.sent_bytes, SIZE);
	assert_false(pathwin_ask(&t.p, now(&t), &f));
	/* By time. */
	put(&t, 1);
	assert_int_equal(pathwin_next(&t.p).us, mono_add_ms(now(&t), PATHWIN_ASK_MS).us);
	t.now_ms += PATHWIN_ASK_MS - 1;
	assert_false(pathwin_ask(&t.p, now(&t), &f));
	t.now_ms++;
	ask(&t);
	/* By bytes. */
	put(&t, 4);
	assert_false(pathwin_ask(&t.p, now(&t), &f));
	put(&t, 1);
	ask(&t);
	/* Not with eight open; then one per time-out. */
	for (int i = 3; i < PATHWIN_ASKS_MAX; i++) {
		put(&t, 5);
		ask(&t);
	}
	put(&t, 10);
	assert_false(pathwin_ask(&t.p, now(&t), &f));
	t.now_ms += PATHWIN_RTO_INITIAL_MS - 1;
	assert_false(pathwin_ask(&t.p, now(&t), &f));
	t.now_ms++;
	ask(&t);
	assert_false(pathwin_ask(&t.p, now(&t), &f));
}

/* The source has nothing more to send, and its last ask is lost. */
static void
lost_ask_is_repeated(void **state)
{
	struct path_feedback first, second;
	struct path t;

	(void)state;
	start(&t);
	round_trip(&t, 4, 4, 0);
	put(&t, 4);
	t.now_ms += PATHWIN_ASK_MS;
	first = ask(&t);
	assert_false(pathwin_ask(&t.p, now(&t), &second));
	t.now_ms += 100;
	second = ask(&t);
	assert_int_equal(second.sent_bytes, first.sent_bytes);
	arrive(&t, 4, 0);
	second = answer_to(&t, second);
	assert_true(pathwin_answer(&t.p, &second, now(&t)));
	assert_int_equal(pathwin_in_flight(&t.p), 0);
	assert_true(mono_is_never(pathwin_next(&t.p)));
	/* The first one was only late. */
	first = answer_to(&t, first);
	assert_false(pathwin_answer(&t.p, &first, now(&t)));
}

static void
round_trip_is_measured(void **state)
{
	struct path t;

	(void)state;
	start(&t);
	round_trip(&t, 4, 4, 0);
	assert_int_equal(t.p.srtt_us, RTT_MS * 1000);
	assert_int_equal(t.p.rttvar_us, RTT_MS * 500);
	for (int i = 0; i < 50; i++)
		round_trip(&t, 4, 4, 0);
	assert_int_equal(t.p.srtt_us, RTT_MS * 1000);
	assert_int_equal(t.p.rtt_min_us, RTT_MS * 1000);
	assert_int_equal(t.p.rttvar_us, 0);
}

static void
strange_answers_change_nothing(void **state)
{
	struct path_feedback a, b;
	struct path t;
	struct pathwin before;

	(void)state;
	start(&t);
	round_trip(&t, 4, 4, 0);
	put(&t, 5);
	t.now_ms += PATHWIN_ASK_MS;
	a = answer_to(&t, ask(&t));
	before = t.p;
	for (int i = 0; i < 5; i++) {
		b = a;
		b.kind = i == 0 ? PATH_ASK : b.kind;
		b.path_id += i == 1;
		b.sent_frames += i == 2;
		b.sent_bytes -= i == 3;
		b.time_us += i == 4;
		assert_false(pathwin_answer(&t.p, &b, now(&t)));
		assert_memory_equal(&t.p, &before, sizeof(before));
	}
	assert_true(pathwin_answer(&t.p, &a, now(&t)));
	before = t.p;
	assert_false(pathwin_answer(&t.p, &a, now(&t)));
	assert_memory_equal(&t.p, &before, sizeof(before));
}

static void
slow_start_only_if_used(void **state)
{
	struct path t;

	(void)state;
	start(&t);
	/* The first answer is the base. */
	round_trip(&t, 30, 30, 0);
	assert_int_equal(t.p.window, PATHWIN_INITIAL_BYTES);
	round_trip(&t, 10, 10, 0);
	assert_int_equal(t.p.window, PATHWIN_INITIAL_BYTES);
	round_trip(&t, 20, 20, 0);
	assert_int_equal(t.p.window, PATHWIN_INITIAL_BYTES + 20 * SIZE);
	for (int i = 0; i < 40; i++)
		round_trip(&t, (unsigned)(t.p.window / SIZE), (unsigned)(t.p.window / SIZE), 0);
	assert_int_equal(t.p.window, WINDOW_MAX);
}

static void
marks_cut_once_per_round_trip(void **state)
{
	struct path_feedback a, b;
	struct path t;
	uint64_t window;

	(void)state;
	start(&t);
	round_trip(&t, 30, 30, 0);
	/* The first mark halves the window, and ends slow start. */
	round_trip(&t, 30, 30, 1);
	assert_int_equal(t.p.window, PATHWIN_INITIAL_BYTES / 2);
	assert_false(t.p.slow_start);
	assert_int_equal(t.p.marked_bytes, SIZE);
	/* Two asks on their way when the first mark is heard of: one cut. */
	put(&t, 8);
	a = ask(&t);
	put(&t, 8);
	arrive(&t, 8, 1);
	a = answer_to(&t, a);
	t.now_ms += PATHWIN_ASK_MS;
	window = t.p.window;
	b = ask(&t);
	assert_true(pathwin_answer(&t.p, &a, now(&t)));
	assert_true(t.p.window < window);
	window = t.p.window;
	arrive(&t, 8, 8);
	b = answer_to(&t, b);
	assert_true(pathwin_answer(&t.p, &b, now(&t)));
	assert_int_equal(t.p.window, window);
	/* Marked throughout: down to the minimum. */
	for (int i = 0; i < 40; i++)
		round_trip(&t, 8, 8, 8);
	assert_int_equal(t.p.window, PATHWIN_MIN_BYTES);
	/* A few marks cut little. */
	for (int i = 0; i < 100; i++)
		round_trip(&t, (unsigned)(t.p.window / SIZE), (unsigned)(t.p.window / SIZE), 0);
	window = t.p.window;
	assert_true(window > 20 * SIZE);
	round_trip(&t, 20, 20, 1);
	assert_in_range(t.p.window, window / 10 * 9, window - 1);
}

static void
shortfall_is_loss_when_it_stays(void **state)
{
	struct path t;

	(void)state;
	start(&t);
	round_trip(&t, 30, 30, 0);
	round_trip(&t, 30, 28, 0);
	assert_int_equal(t.p.lost_bytes, 0);
	assert_true(t.p.window >= PATHWIN_INITIAL_BYTES);
	/* Made up for: they were on another lane. */
	round_trip(&t, 30, 32, 0);
	assert_int_equal(t.p.lost_bytes, 0);
	/* Half of it made up for. */
	round_trip(&t, 30, 28, 0);
	round_trip(&t, 30, 31, 0);
	assert_int_equal(t.p.lost_bytes, SIZE);
	assert_false(t.p.slow_start);
	/* Counted once, and the next one again. */
	round_trip(&t, 30, 30, 0);
	assert_int_equal(t.p.lost_bytes, SIZE);
	round_trip(&t, 30, 29, 0);
	round_trip(&t, 30, 30, 0);
	assert_int_equal(t.p.lost_bytes, 2 * SIZE);
	/* What was given up too early hides no later loss for long. */
	round_trip(&t, 30, 31, 0);
	round_trip(&t, 30, 30, 0);
	round_trip(&t, 30, 29, 0);
	round_trip(&t, 30, 30, 0);
	assert_int_equal(t.p.lost_bytes, 3 * SIZE);
}

static void
loss_halves(void **state)
{
	struct path t;
	uint64_t window;

	(void)state;
	start(&t);
	round_trip(&t, 30, 30, 0);
	round_trip(&t, 30, 25, 0);
	window = t.p.window;
	round_trip(&t, 30, 30, 0);
	assert_int_equal(t.p.lost_bytes, 5 * SIZE);
	assert_int_equal(t.p.window, window - window / 2);
}

static void
restarted_receiver(void **state)
{
	struct path t;
	uint64_t window;

	(void)state;
	start(&t);
	for (int i = 0; i < 5; i++)
		round_trip(&t, 30, 30, 0);
	window = t.p.window;
	memset(&t.far, 0, sizeof(t.far));
	round_trip(&t, 30, 10, 0);
	round_trip(&t, 40, 40, 0);
	round_trip(&t, 40, 40, 0);
	assert_int_equal(t.p.lost_bytes, 0);
	assert_true(t.p.window >= window);
	assert_int_equal(pathwin_in_flight(&t.p), 0);
}

static void
liar_gains_nothing(void **state)
{
	struct path t;

	(void)state;
	start(&t);
	round_trip(&t, 30, 30, 0);
	for (int i = 0; i < 1000; i++) {
		uint64_t before = t.p.window, sent = 30 * SIZE;

		t.far.received_bytes += UINT64_MAX / 512;
		t.far.marked_bytes += i % 7 == 0 ? UINT64_MAX / 1024 : 0;
		round_trip(&t, 30, 30, 0);
		assert_true(t.p.window <= before + sent);
		assert_in_range(t.p.window, PATHWIN_MIN_BYTES, WINDOW_MAX);
	}
	assert_true(t.p.marked_bytes <= t.p.sent_bytes);
}

static void
silence_is_noticed(void **state)
{
	struct path t;

	(void)state;
	start(&t);
	round_trip(&t, 4, 4, 0);
	t.now_ms += 100000;
	/* With nothing on its way there is no silence. */
	assert_false(pathwin_silent(&t.p, now(&t)));
	put(&t, 1);
	t.now_ms += PATHWIN_ASK_MS;
	ask(&t);
	t.now_ms += PATHWIN_SILENT_MIN_MS - 1;
	assert_false(pathwin_silent(&t.p, now(&t)));
	t.now_ms++;
	assert_true(pathwin_silent(&t.p, now(&t)));
	assert_false(mono_before(now(&t), pathwin_next(&t.p)));
	/* Left: patient when it is tried again, with less. */
	pathwin_reset(&t.p, now(&t));
	assert_false(pathwin_silent(&t.p, now(&t)));
	assert_true(mono_is_never(pathwin_next(&t.p)));
	assert_int_equal(pathwin_in_flight(&t.p), 0);
	assert_int_equal(t.p.window, PATHWIN_MIN_BYTES);
	put(&t, 1);
	ask(&t);
	t.now_ms += 4 * PATHWIN_RTO_INITIAL_MS - 1;
	assert_false(pathwin_silent(&t.p, now(&t)));
	t.now_ms++;
	assert_true(pathwin_silent(&t.p, now(&t)));
}

/* Answers that come, though each of them late, are no silence. */
static void
late_is_not_silent(void **state)
{
	struct path_feedback asks[8];
	struct path t;

	(void)state;
	start(&t);
	round_trip(&t, 4, 4, 0);
	for (int i = 0; i < 8; i++) {
		put(&t, 5);
		asks[i] = ask(&t);
	}
	for (int i = 0; i < 8; i++) {
		struct path_feedback a;

		t.now_ms += PATHWIN_SILENT_MIN_MS - 10;
		assert_false(pathwin_silent(&t.p, now(&t)));
		arrive(&t, 5, 0);
		a = answer_to(&t, asks[i]);
		assert_true(pathwin_answer(&t.p, &a, now(&t)));
	}
	assert_int_equal(t.p.asks_open, 0);
	assert_int_equal(pathwin_in_flight(&t.p), 0);
}

static void
reset_forgets(void **state)
{
	struct path_feedback a;
	struct path t;

	(void)state;
	start(&t);
	for (int i = 0; i < 10; i++)
		round_trip(&t, 30, 30, 0);
	put(&t, 5);
	t.now_ms += PATHWIN_ASK_MS;
	a = answer_to(&t, ask(&t));
	pathwin_reset(&t.p, now(&t));
	assert_int_equal(pathwin_in_flight(&t.p), 0);
	assert_int_equal(t.p.window, PATHWIN_INITIAL_BYTES);
	assert_false(pathwin_answer(&t.p, &a, now(&t)));
	/* What was on its way then is not missed. */
	round_trip(&t, 5, 5, 0);
	round_trip(&t, 5, 5, 0);
	round_trip(&t, 5, 5, 0);
	assert_int_equal(t.p.lost_bytes, 0);
	assert_int_equal(pathwin_in_flight(&t.p), 0);
}

/* --- the receiver --- */

static struct path_feedback
received(struct pathrx *r, uint64_t src, uint32_t path_id)
{
	struct path_feedback f = {.kind = PATH_ASK, .path_id = path_id, .time_us = 5, .sent_bytes = 6};

	pathrx_answer(r, src, &f);
	assert_int_equal(f.kind, PATH_ANSWER);
	assert_int_equal(f.path_id, path_id);
	assert_int_equal(f.time_us, 5);
	assert_int_equal(f.sent_bytes, 6);
	return f;
}

static void
receiver_counts(void **state)
{
	struct pathrx *r = pathrx_new();

	(void)state;
	assert_non_null(r);
	pathrx_received(r, SRC, 1, 100, false);
	pathrx_received(r, SRC, 2, 1000, true);
	pathrx_received(r, SRC + 1, 1, 10, false);
	pathrx_received(r, SRC, 1, 100, true);
	assert_int_equal(received(r, SRC, 1).received_frames, 2);
	assert_int_equal(received(r, SRC, 1).received_bytes, 200);
	assert_int_equal(received(r, SRC, 1).marked_bytes, 100);
	assert_int_equal(received(r, SRC, 2).marked_bytes, 1000);
	assert_int_equal(received(r, SRC + 1, 1).received_bytes, 10);
	/* An ask alone takes no place. */
	assert_int_equal(received(r, SRC + 2, 1).received_frames, 0);
	assert_int_equal(pathrx_count(r), 3);
	pathrx_free(r);
	pathrx_free(NULL);
}

static void
receiver_is_bounded(void **state)
{
	struct pathrx *r = pathrx_new();

	(void)state;
	assert_non_null(r);
	pathrx_received(r, 1, 1, 100, false);
	for (uint32_t i = 0; i < 3 * PATHRX_SLOTS; i++) {
		pathrx_received(r, SRC + i % 100, i, 10, false);
		/* One that is used now and then stays. */
		if (i % 1000 == 0)
			pathrx_received(r, 1, 1, 100, false);
		assert_true(pathrx_count(r) <= PATHRX_SLOTS);
	}
	assert_int_equal(pathrx_count(r), PATHRX_SLOTS);
	assert_true(received(r, 1, 1).received_frames > 10);
	assert_int_equal(received(r, SRC, 0).received_frames, 0);
	for (uint32_t i = 2 * PATHRX_SLOTS + 1; i < 3 * PATHRX_SLOTS; i++)
		assert_int_equal(received(r, SRC + i % 100, i).received_frames, 1);
	pathrx_free(r);
}

static void
no_memory(void **state)
{
	(void)state;
	mem_fail_at(1);
	assert_null(pathrx_new());
	mem_fail_at(0);
}

/* --- probes --- */

static void
probe(struct path *t, struct path_feedback *f)
{
	pathwin_probe(&t->p, now(t), f);
	assert_int_equal(f->path_id, ID);
	assert_int_equal(f->sent_bytes, t->p.sent_bytes);
}

static void
probes_tell_of_an_unused_path(void **state)
{
	struct path_feedback f, a;
	struct path t;

	(void)state;
	start(&t);
	for (int i = 0; i < 5; i++) {
		probe(&t, &f);
		a = answer_to(&t, f);
		t.now_ms += RTT_MS;
		assert_true(pathwin_answer(&t.p, &a, now(&t)));
		t.now_ms += 2000;
	}
	assert_int_equal(t.p.srtt_us, RTT_MS * 1000);
	assert_int_equal(t.p.rtt_us, RTT_MS * 1000);
	assert_int_equal(t.p.window, PATHWIN_INITIAL_BYTES);
	assert_int_equal(t.p.lost_bytes, 0);
	assert_int_equal(pathwin_rate(&t.p), 0);
	assert_true(mono_is_never(pathwin_next(&t.p)));
	/* Many are lost: nothing is on its way, so it is not silent; and data sent then gets its time and its
	 * asks. */
	for (int i = 0; i < 100; i++) {
		probe(&t, &f);
		t.now_ms += 2000;
	}
	assert_false(pathwin_silent(&t.p, now(&t)));
	put(&t, 1);
	assert_false(pathwin_silent(&t.p, now(&t)));
	t.now_ms += PATHWIN_SILENT_MIN_MS - 1;
	assert_true(pathwin_ask(&t.p, now(&t), &f));
	assert_false(pathwin_silent(&t.p, now(&t)));
	t.now_ms += 1;
	assert_true(pathwin_silent(&t.p, now(&t)));
}

/* Before a path is silent its far end is asked to answer another way. */
static void
asks_become_pressing(void **state)
{
	struct path_feedback f;
	struct path t;
	int64_t again_ms = 0;

	(void)state;
	start(&t);
	for (int i = 0; i < 20; i++)
		round_trip(&t, 4, 4, 0);
	for (int64_t ms = 0; !pathwin_silent(&t.p, now(&t)); ms++, t.now_ms++) {
		put(&t, 1);
		while (pathwin_ask(&t.p, now(&t), &f))
			if (f.kind == PATH_ASK_AGAIN && again_ms == 0)
				again_ms = ms;
		assert_in_range(ms, 0, PATHWIN_SILENT_MIN_MS + PATHWIN_ASK_MS + RTT_MS);
	}
	assert_in_range(again_ms, PATHWIN_SILENT_MIN_MS * 2 / 3 - PATHWIN_ASK_MS, PATHWIN_SILENT_MIN_MS - 20);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(codec),
	    cmocka_unit_test(full_and_open),
	    cmocka_unit_test(asks_are_paced),
	    cmocka_unit_test(lost_ask_is_repeated),
	    cmocka_unit_test(round_trip_is_measured),
	    cmocka_unit_test(strange_answers_change_nothing),
	    cmocka_unit_test(slow_start_only_if_used),
	    cmocka_unit_test(marks_cut_once_per_round_trip),
	    cmocka_unit_test(shortfall_is_loss_when_it_stays),
	    cmocka_unit_test(loss_halves),
	    cmocka_unit_test(restarted_receiver),
	    cmocka_unit_test(liar_gains_nothing),
	    cmocka_unit_test(silence_is_noticed),
	    cmocka_unit_test(late_is_not_silent),
	    cmocka_unit_test(reset_forgets),
	    cmocka_unit_test(receiver_counts),
	    cmocka_unit_test(receiver_is_bounded),
	    cmocka_unit_test(no_memory),
	    cmocka_unit_test(probes_tell_of_an_unused_path),
	    cmocka_unit_test(asks_become_pressing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
