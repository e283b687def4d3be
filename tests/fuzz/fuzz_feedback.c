/*
 * PATH_FEEDBACK frames: the payload, a source that is answered by a liar, and a receiver with many
 * sources.  The first byte chooses.
 */
#include "common/base/buf.h"
#include "common/base/frame.h"
#include "tests/fuzz/fuzz.h"
#include "transportd/core/pathhealth.h"
#include "transportd/core/pathwin.h"

enum { WINDOW_MAX = 4 * 1024 * 1024, ASKS = 32 };

static void
check_codec(const uint8_t *data, size_t len)
{
	uint8_t mem[PATH_ANSWER_BYTES];
	struct path_feedback f;
	struct buf out;

	if (path_feedback_decode(data, len, &f) != 0)
		return;
	buf_init_fixed(&out, mem, sizeof(mem));
	FUZZ_CHECK(path_feedback_encode(&f, &out) == 0 && buf_left(&out) == len);
	FUZZ_CHECK(memcmp(mem, data, len) == 0);
}

struct liar {
	struct pathwin p;
	struct pathhealth health;
	struct path_feedback asks[ASKS]; /* the last ones, to be answered in any order and repeatedly */
	unsigned asked;
	struct mono now;
	struct path_feedback far;
};

static void
check_source(const struct pathwin *p, const struct pathwin *before, struct mono now)
{
	uint64_t sent = p->sent_bytes;

	FUZZ_CHECK(p->window >= PATHWIN_MIN_BYTES && p->window <= p->window_max);
	FUZZ_CHECK(p->window_max == WINDOW_MAX);
	FUZZ_CHECK(p->cleared_bytes <= sent && p->cleared_bytes >= before->cleared_bytes);
	FUZZ_CHECK(pathwin_in_flight(p) <= sent && p->asked_bytes <= sent && p->cut_until_bytes <= sent);
	FUZZ_CHECK(p->lost_bytes >= before->lost_bytes && p->lost_bytes <= sent);
	FUZZ_CHECK(p->marked_bytes >= before->marked_bytes && p->marked_bytes - before->marked_bytes <= sent);
	FUZZ_CHECK(p->deficit_bytes <= (int64_t)sent && p->deficit_bytes >= -(int64_t)sent);
	FUZZ_CHECK(p->asks_open <= PATHWIN_ASKS_KEPT && p->marked_share <= 65536 + 16);
	FUZZ_CHECK(!(pathwin_full(p) && pathwin_open(p)));
	FUZZ_CHECK(!pathwin_silent(p, now) || !mono_before(now, pathwin_next(p)));
}

static void
ask(struct liar *l)
{
	struct path_feedback f;

	if (!pathwin_ask(&l->p, l->now, &f))
		return;
	FUZZ_CHECK(f.sent_bytes == l->p.sent_bytes && f.time_us == (uint64_t)l->now.us);
	l->asks[l->asked++ % ASKS] = f;
}

static uint64_t
number(struct buf *in)
{
	uint8_t shift = 0;
	uint16_t v = 0;

	(void)!buf_get_u8(in, &shift);
	(void)!buf_get_u16(in, &v);
	return (uint64_t)v << shift % 64;
}

/* Counts go up by anything, and wrap: that is a receiver that says less than before. */
static void
answer(struct liar *l, struct buf *in, uint8_t which)
{
	struct path_feedback a = l->asks[which % ASKS];

	l->far.received_frames += number(in);
	l->far.received_bytes += number(in);
	l->far.marked_bytes += number(in);
	a.kind = PATH_ANSWER;
	a.received_frames = l->far.received_frames;
	a.received_bytes = l->far.received_bytes;
	a.marked_bytes = l->far.marked_bytes;
	if (!pathwin_answer(&l->p, &a, l->now))
		return;
	FUZZ_CHECK(!pathwin_answer(&l->p, &a, l->now));
	FUZZ_CHECK(l->p.srtt_us >= l->p.rtt_min_us && l->p.rtt_us >= l->p.rtt_min_us);
	pathhealth_answer(&l->health,
	    &(struct pathhealth_sample){.rtt_us = l->p.rtt_us,
		.srtt_us = l->p.srtt_us,
		.rtt_min_us = l->p.rtt_min_us,
		.other_us = (uint32_t)number(in),
		.busy = pathwin_congested(&l->p)},
	    l->now);
}

/* Probes, failures, and an end of everything. */
static void
other(struct liar *l, uint8_t how)
{
	struct path_feedback f;

	if (how == 0) {
		pathwin_reset(&l->p, l->now);
	} else if (how < PATHHEALTH_REASONS) {
		pathhealth_fail(&l->health, (enum pathhealth_reason)how, l->now);
		FUZZ_CHECK(l->health.state == PATHHEALTH_SUSPECT);
	} else if (pathhealth_probe(&l->health, pathwin_rto_us(&l->p), l->now)) {
		pathwin_probe(&l->p, l->now, &f);
		l->asks[l->asked++ % ASKS] = f;
		FUZZ_CHECK(mono_before(l->now, pathhealth_next(&l->health)));
	}
	FUZZ_CHECK((l->health.state == PATHHEALTH_UP) == (pathhealth_badness(&l->health) == 0));
	FUZZ_CHECK(l->health.strikes <= PATHHEALTH_STRIKES_MAX);
}

static void
check_liar(const uint8_t *data, size_t len)
{
	struct liar l = {.now = {1000000}};
	uint8_t what, how;
	struct buf in;

	buf_view(&in, data, len);
	pathwin_init(&l.p, 1, WINDOW_MAX, l.now);
	pathhealth_init(&l.health, l.now);
	while (buf_get_u8(&in, &what) == 0 && buf_get_u8(&in, &how) == 0) {
		struct pathwin before = l.p;

		switch (what % 5) {
		case 0:
			for (unsigned i = 0; i < 1u + how % 32 && !pathwin_full(&l.p); i++)
				pathwin_sent(&l.p, FRAME_HDR_BYTES + how * 60u, l.now);
			break;
		case 1:
			l.now = mono_add_us(l.now, (int64_t)how * how * 50);
			break;
		case 2:
		case 3:
			answer(&l, &in, how);
			break;
		default:
			other(&l, how);
			break;
		}
		ask(&l);
		check_source(&l.p, &before, l.now);
	}
}

static void
check_receiver(const uint8_t *data, size_t len)
{
	struct pathrx *r = pathrx_new();
	struct buf in;
	uint8_t src, how;
	uint16_t path;

	FUZZ_CHECK(r != NULL);
	buf_view(&in, data, len);
	while (buf_get_u8(&in, &src) == 0 && buf_get_u16(&in, &path) == 0 && buf_get_u8(&in, &how) == 0) {
		struct path_feedback f = {.kind = PATH_ASK, .path_id = path};

		/* Some inputs are small, and paths many. */
		for (unsigned i = 0; i < 1u + how; i++)
			pathrx_received(r, src, path + i, how, (how & 1) != 0);
		pathrx_answer(r, src, &f);
		FUZZ_CHECK(f.kind == PATH_ANSWER && f.received_frames != 0);
		FUZZ_CHECK(f.marked_bytes <= f.received_bytes && pathrx_count(r) <= PATHRX_SLOTS);
	}
	pathrx_free(r);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static void (*const checks[])(const uint8_t *, size_t) = {check_codec, check_liar, check_receiver};

	if (len != 0)
		checks[data[0] % 3](data + 1, len - 1);
	return 0;
}
