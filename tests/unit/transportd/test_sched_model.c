/*
 * sched against a simple model: streams and classes send numbered frames over lanes that die and come back.
 * What a dead lane had in flight arrives up to some frame; the rest is sent again.  Whatever happens,
 * the receiver sees each stream's numbers in order, each once.
 */
#include "common/base/err.h"
#include "common/base/rng.h"
#include "tests/unit/unit.h"
#include "transportd/core/sched.h"

enum {
	LANES = 6,
	STREAMS = 60,
	SOURCES = STREAMS + FRAME_CLASS_CLIENT + 1,
	STRIPE_SOURCE = SOURCES - 1,
	FLIGHT_MAX = 60000,
	FRAME_MIN = 16,
};

struct flight {
	uint16_t size;
	uint8_t class, source;
	uint32_t number;
};

struct model {
	struct rng rng;
	struct sched *s;
	unsigned streams;
	bool instant; /* what is taken arrives at once */
	uint32_t sent[SOURCES], got[SOURCES];
	uint8_t *striped_got; /* by number */
	int class_lane[FRAME_CLASS_CLIENT];
	bool parked[LANES]; /* dead and not settled */
	struct flight *flight[LANES];
	unsigned first[LANES], count[LANES];
	size_t bytes, frames;
};

static void
encode(const struct flight *f, uint8_t *p)
{
	memset(p, f->source, f->size);
	memcpy(p, f, sizeof(*f));
}

static struct flight
decode(const uint8_t *p)
{
	struct flight f;

	memcpy(&f, p, sizeof(f));
	assert_in_range(f.size, FRAME_MIN, FRAME_MAX_BYTES);
	for (size_t i = sizeof(f); i < f.size; i++)
		assert_int_equal(p[i], f.source);
	return f;
}

static struct sched_key
key_of(const struct flight *f)
{
	return (struct sched_key){
	    .src = 1 + f->source % 3, .flow = (uint32_t)f->source << 14, .class = f->class};
}

static unsigned
alive(struct model *m)
{
	unsigned lane;

	do
		lane = (unsigned)rng_below(&m->rng, LANES);
	while (m->parked[lane]);
	return lane;
}

static unsigned
choose_lane(struct model *m, const struct flight *f, bool striped)
{
	struct sched_key k = key_of(f);
	int lane = f->class == FRAME_CLASS_CLIENT ? sched_lane(m->s, &k) : m->class_lane[f->class];

	if (striped || lane < 0)
		lane = (int)alive(m);
	if (f->class != FRAME_CLASS_CLIENT)
		m->class_lane[f->class] = lane;
	return (unsigned)lane;
}

static void
send_one(struct model *m)
{
	uint8_t source = (uint8_t)rng_below(&m->rng, m->streams + 4), *p;
	bool striped = source == m->streams + 3;
	struct flight f;
	struct sched_key k;
	unsigned lane;
	int err;

	f.class = source < m->streams || striped ? FRAME_CLASS_CLIENT : (uint8_t)(source - m->streams);
	f.source = striped ? STRIPE_SOURCE : source < m->streams ? source : (uint8_t)(STREAMS + f.class);
	f.size = (uint16_t)(FRAME_MIN + rng_below(&m->rng, rng_below(&m->rng, 10) == 0 ? 16000 : 400));
	f.number = m->sent[f.source];
	k = key_of(&f);
	lane = choose_lane(m, &f, striped);
	err = striped ? sched_reserve_striped(m->s, &k, lane, f.size, &p)
		      : sched_reserve(m->s, &k, lane, f.size, &p);
	if (err != 0) {
		assert_true(err == ERR_FULL || (err == ERR_LIMIT && f.class == FRAME_CLASS_CLIENT));
		return;
	}
	encode(&f, p);
	sched_commit(m->s, f.size);
	m->sent[f.source]++;
	m->bytes += f.size;
	m->frames++;
}

static void
take_some(struct model *m, unsigned lane)
{
	static uint8_t out[FRAME_MESSAGE_MAX_BYTES];
	size_t cap = rng_below(&m->rng, 4) == 0 ? rng_below(&m->rng, sizeof(out)) : sizeof(out);
	unsigned frames, seen = 0;
	size_t n = sched_take(m->s, lane, out, cap, &frames);

	assert_true(n <= cap);
	for (size_t at = 0; at < n; seen++) {
		struct flight f = decode(out + at);

		assert_in_range(m->count[lane], 0, FLIGHT_MAX - 1);
		m->flight[lane][m->count[lane]++] = f;
		at += f.size;
	}
	assert_int_equal(seen, frames);
	m->bytes -= n;
	m->frames -= frames;
}

/* The oldest frames in flight arrive. */
static void
arrive(struct model *m, unsigned lane, unsigned count)
{
	while (count-- > 0 && m->first[lane] < m->count[lane]) {
		const struct flight *f = &m->flight[lane][m->first[lane]++];

		if (f->source == STRIPE_SOURCE) {
			assert_int_equal(m->striped_got[f->number], 0);
			m->striped_got[f->number] = 1;
			m->got[f->source]++;
		} else {
			assert_int_equal(f->number, m->got[f->source]);
			m->got[f->source]++;
		}
	}
	if (m->first[lane] == m->count[lane])
		m->first[lane] = m->count[lane] = 0;
}

static void
resend_lost(struct model *m, unsigned from, unsigned to)
{
	uint8_t frame[FRAME_MAX_BYTES];

	for (unsigned i = m->first[from]; i < m->count[from]; i++) {
		const struct flight *f = &m->flight[from][i];

		encode(f, frame);
		assert_int_equal(sched_resend(m->s, to, f->class, frame, f->size), 0);
		m->bytes += f->size;
		m->frames++;
	}
	m->first[from] = m->count[from] = 0;
}

/* The peer has told what it got of all dead lanes. */
static void
settle(struct model *m)
{
	unsigned to = alive(m);
	bool move_first = rng_below(&m->rng, 2) != 0;

	if (move_first)
		sched_move(m->s, SCHED_PARKED, to);
	for (unsigned i = 0; i < LANES; i++) {
		if (!m->parked[i])
			continue;
		resend_lost(m, i, to);
		m->parked[i] = false;
	}
	if (!move_first)
		sched_move(m->s, SCHED_PARKED, to);
	for (unsigned i = 0; i < FRAME_CLASS_CLIENT; i++)
		if (m->class_lane[i] == SCHED_PARKED)
			m->class_lane[i] = (int)to;
}

static void
die(struct model *m)
{
	unsigned lane = alive(m), left = 0;

	for (unsigned i = 0; i < LANES; i++)
		left += !m->parked[i];
	if (left == 1)
		return;
	arrive(m, lane, (unsigned)rng_below(&m->rng, m->count[lane] - m->first[lane] + 1));
	sched_move(m->s, lane, SCHED_PARKED);
	m->parked[lane] = true;
	for (unsigned i = 0; i < FRAME_CLASS_CLIENT; i++)
		if (m->class_lane[i] == (int)lane)
			m->class_lane[i] = SCHED_PARKED;
}

static void
check(const struct model *m)
{
	size_t bytes = 0;

	for (unsigned i = 0; i < SCHED_LANES; i++)
		bytes += sched_lane_bytes(m->s, i);
	assert_int_equal(bytes, m->bytes);
	assert_int_equal(sched_bytes(m->s), m->bytes);
	assert_int_equal(sched_frames(m->s), m->frames);
}

static void
step(struct model *m)
{
	uint64_t what = rng_below(&m->rng, 1000);
	unsigned lane = alive(m);

	if (what < 700)
		send_one(m);
	else if (what < 850) {
		take_some(m, lane);
		if (m->instant)
			arrive(m, lane, UINT32_MAX);
	} else if (what < 985)
		arrive(m, lane, (unsigned)rng_below(&m->rng, 200));
	else if (what < 990)
		die(m);
	else
		settle(m);
	check(m);
}

/* Everything arrives. */
static void
finish(struct model *m)
{
	settle(m);
	for (unsigned lane = 0; lane < LANES; lane++) {
		/* a cap of chance may be smaller than the next frame */
		while (!sched_lane_empty(m->s, lane)) {
			take_some(m, lane);
			arrive(m, lane, UINT32_MAX);
		}
		arrive(m, lane, UINT32_MAX);
	}
	check(m);
	assert_int_equal(m->frames, 0);
	for (unsigned i = 0; i < SOURCES; i++)
		assert_int_equal(m->got[i], m->sent[i]);
}

static void
run(uint64_t seed, unsigned streams, unsigned busy)
{
	static const struct sched_limits limits = {600000, 60000, 300000, 100000};
	struct model m = {.streams = streams, .instant = busy != 0, .s = sched_new(&limits, streams)};

	assert_non_null(m.s);
	rng_seed(&m.rng, seed);
	m.striped_got = test_calloc(20000, 1);
	for (unsigned i = 0; i < LANES; i++)
		m.flight[i] = test_calloc(FLIGHT_MAX, sizeof(struct flight));
	for (unsigned i = 0; i < FRAME_CLASS_CLIENT; i++)
		m.class_lane[i] = -1;
	/* Streams that never send what they have leave no place for others. */
	for (uint32_t i = 0; i < busy; i++) {
		const struct sched_key k = {.src = 99, .flow = i, .class = FRAME_CLASS_CLIENT};
		uint8_t *p;

		assert_int_equal(sched_reserve(m.s, &k, LANES, FRAME_MIN, &p), 0);
		sched_commit(m.s, FRAME_MIN);
		m.bytes += FRAME_MIN;
		m.frames++;
	}
	for (unsigned i = 0; i < 6000; i++)
		step(&m);
	m.bytes -= (size_t)busy * FRAME_MIN;
	m.frames -= busy;
	while (busy > 0) {
		uint8_t out[FRAME_MESSAGE_MAX_BYTES];
		unsigned frames;

		assert_int_not_equal(sched_take(m.s, LANES, out, sizeof(out), &frames), 0);
		busy -= frames;
	}
	finish(&m);
	sched_free(m.s);
	for (unsigned i = 0; i < LANES; i++)
		test_free(m.flight[i]);
	test_free(m.striped_got);
}

static void
streams_in_order(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 25; seed++)
		run(seed, STREAMS, 0);
	for (uint64_t seed = 100; seed <= 110; seed++)
		run(seed, 5, 0);
}

/* The same when only a few are told apart.  A stream that gave way may take another lane, and there overtake
 * what is in flight: so nothing is in flight. */
static void
crowd_in_order(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 10; seed++)
		run(seed, STREAMS, LINK_FLOWS_MAX - 5);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(streams_in_order),
	    cmocka_unit_test(crowd_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
