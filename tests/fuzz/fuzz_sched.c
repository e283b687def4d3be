/*
 * Frames come, go, are resent and move between lanes in any order, with limits of any size and memory that
 * runs out: the figures are right after each step, each stream's frames come out in order, all of them.
 */
#include <stdbool.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "tests/fuzz/fuzz.h"
#include "transportd/core/sched.h"

enum {
	STREAMS = 16,
	STRIPED = STREAMS + FRAME_CLASS_CLIENT, /* no order */
	RESENT,
	SOURCES,
	FRAME_MIN = 8,
};

/* What a frame holds; the rest of its bytes are the source. */
struct mark {
	uint32_t number;
	uint16_t size;
	uint8_t class, source;
};

struct model {
	const uint8_t *data;
	size_t len;
	struct sched *s;
	uint32_t sent[SOURCES], got[SOURCES];
	unsigned class_lane[FRAME_CLASS_CLIENT];
	size_t bytes, frames;
	unsigned crowds;
};

static unsigned
next(struct model *m)
{
	if (m->len == 0)
		return 0;
	m->len--;
	return *m->data++;
}

static void
check(const struct model *m)
{
	size_t bytes = 0;

	for (unsigned i = 0; i < SCHED_LANES; i++) {
		bytes += sched_lane_bytes(m->s, i);
		FUZZ_CHECK(sched_lane_empty(m->s, i) == (sched_lane_bytes(m->s, i) == 0));
	}
	FUZZ_CHECK(bytes == m->bytes && sched_bytes(m->s) == m->bytes && sched_frames(m->s) == m->frames);
	FUZZ_CHECK((m->bytes == 0) == (m->frames == 0) && sched_flows(m->s) <= LINK_FLOWS_MAX);
	FUZZ_CHECK(sched_memory(m->s) >= m->bytes && sched_memory(m->s) < (m->frames + 8) * 66000 + 16384);
}

static struct mark
make(struct model *m, unsigned source)
{
	struct mark k = {.number = m->sent[source], .source = (uint8_t)source, .class = FRAME_CLASS_CLIENT};

	k.size = (uint16_t)(FRAME_MIN + next(m) * (next(m) & 63));
	if (k.size > FRAME_MAX_BYTES)
		k.size = FRAME_MAX_BYTES;
	if (source >= STREAMS && source < STRIPED)
		k.class = (uint8_t)(source - STREAMS);
	return k;
}

static void
encode(const struct mark *k, uint8_t *p)
{
	memset(p, k->source, k->size);
	memcpy(p, k, sizeof(*k));
}

static void
sent(struct model *m, const struct mark *k)
{
	m->sent[k->source]++;
	m->bytes += k->size;
	m->frames++;
}

/* Frames of a class that is not pinned by sched stay on one lane as long as some wait. */
static unsigned
lane_for(struct model *m, const struct mark *k)
{
	unsigned lane = next(m) % SCHED_LANES;

	if (k->class == FRAME_CLASS_CLIENT)
		return lane;
	if (m->sent[k->source] == m->got[k->source])
		m->class_lane[k->class] = lane;
	return m->class_lane[k->class];
}

static void
push(struct model *m)
{
	struct mark k = make(m, next(m) % RESENT);
	struct sched_key key = {.src = 1 + k.source % 3u, .flow = k.source << 14u, .class = k.class};
	unsigned lane = lane_for(m, &k);
	int pinned = sched_lane(m->s, &key), err;
	bool striped = k.source == STRIPED, kept = next(m) % 16 != 0;
	uint8_t *p;

	err = striped ? sched_reserve_striped(m->s, &key, lane, k.size, &p)
		      : sched_reserve(m->s, &key, lane, k.size, &p);
	if (err != 0) {
		FUZZ_CHECK(err == ERR_FULL || err == ERR_LIMIT || err == ERR_NOMEM);
		return;
	}
	memset(p, 0xff, k.size);
	if (!kept)
		return;
	encode(&k, p);
	sched_commit(m->s, k.size);
	sent(m, &k);
	if (!striped && k.class == FRAME_CLASS_CLIENT)
		FUZZ_CHECK(sched_lane(m->s, &key) == (pinned >= 0 ? pinned : (int)lane));
	(void)sched_key_over(m->s, &key, 4096);
}

static void
resend(struct model *m)
{
	struct mark k = make(m, RESENT);
	uint8_t frame[FRAME_MAX_BYTES];
	int err;

	k.class = (uint8_t)(next(m) % FRAME_CLASS_COUNT);
	encode(&k, frame);
	err = sched_resend(m->s, next(m) % SCHED_LANES, k.class, frame, k.size);
	FUZZ_CHECK(err == 0 || err == ERR_NOMEM);
	if (err == 0)
		sent(m, &k);
}

static void
take(struct model *m, unsigned lane, size_t cap)
{
	static uint8_t out[FRAME_MESSAGE_MAX_BYTES];
	unsigned frames, seen = 0, class = 0;
	size_t n = sched_take(m->s, lane, out, cap, &frames), at = 0;

	FUZZ_CHECK(n <= cap);
	for (; at < n; seen++) {
		struct mark k;

		memcpy(&k, out + at, sizeof(k));
		FUZZ_CHECK(k.source < SOURCES && k.size >= FRAME_MIN && k.size <= n - at);
		FUZZ_CHECK(k.size == FRAME_MIN || out[at + k.size - 1] == k.source);
		FUZZ_CHECK(k.source >= STRIPED || k.number == m->got[k.source]);
		FUZZ_CHECK(k.class >= class);
		class = k.class;
		m->got[k.source]++;
		at += k.size;
	}
	FUZZ_CHECK(at == n && seen == frames);
	m->bytes -= n;
	m->frames -= frames;
}

static void
move(struct model *m, unsigned from, unsigned to)
{
	sched_move(m->s, from, to);
	FUZZ_CHECK(from == to || sched_lane_empty(m->s, from));
	for (unsigned i = 0; i < FRAME_CLASS_CLIENT; i++)
		if (m->class_lane[i] == from)
			m->class_lane[i] = to;
}

/* Many streams that nobody asks for: others have to give way, or share a turn. */
static void
strangers(struct model *m)
{
	struct sched_key key = {.src = 99, .class = FRAME_CLASS_CLIENT};
	unsigned lane = next(m) % LANES_MAX, count = next(m) * 20;
	uint8_t *p;

	/* They take time: once is enough. */
	if (++m->crowds > 1)
		return;
	for (key.flow = 0; key.flow < count; key.flow++)
		if (sched_reserve(m->s, &key, lane, FRAME_MIN, &p) == 0) {
			struct mark k = {.number = m->sent[RESENT], .size = FRAME_MIN, .class = key.class};

			k.source = RESENT;
			encode(&k, p);
			sched_commit(m->s, FRAME_MIN);
			sent(m, &k);
		}
}

static struct sched_limits
limits(struct model *m)
{
	const struct sched_limits l = {.link_bytes = next(m) << 12,
	    .reserve_bytes = next(m) << 10,
	    .tenant_bytes = next(m) << 10,
	    .stream_bytes = next(m) << 9};

	return l;
}

static void
step(struct model *m)
{
	unsigned op = next(m);
	struct sched_limits l;

	if (op < 128)
		push(m);
	else if (op < 180)
		take(m, next(m) % LANES_MAX, next(m) * 64 + 64);
	else if (op < 200)
		resend(m);
	else if (op < 230)
		move(m, next(m) % SCHED_LANES, next(m) % SCHED_LANES);
	else if (op < 240)
		mem_fail_at(1 + next(m) % 4);
	else if (op < 243)
		strangers(m);
	else {
		l = limits(m);
		sched_set_limits(m->s, &l);
	}
}

static void
finish(struct model *m)
{
	move(m, SCHED_PARKED, 0);
	for (unsigned lane = 0; lane < LANES_MAX; lane++)
		while (!sched_lane_empty(m->s, lane)) {
			size_t before = m->bytes;

			take(m, lane, FRAME_MESSAGE_MAX_BYTES);
			FUZZ_CHECK(m->bytes < before);
		}
	check(m);
	for (unsigned i = 0; i < SOURCES; i++)
		FUZZ_CHECK(m->sent[i] == m->got[i]);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct model m = {.data = data, .len = len};
	struct sched_limits l = limits(&m);

	m.s = sched_new(&l, 1);
	FUZZ_CHECK(m.s != NULL);
	while (m.len != 0) {
		step(&m);
		check(&m);
	}
	mem_fail_at(0);
	finish(&m);
	sched_free(m.s);
	return 0;
}
