/*
 * sim: one source and some targets of a stream in virtual time, over a network that loses, repeats and
 * reorders, with databases that commit late and nodes that crash at any moment.
 *
 * Everything follows from the seed.  Checks run at every step; a failure prints the seed.  The sim
 * itself does not use mem.h, so that mem_fail_at() hits the cores only.  What is here in place of the
 * shell does what source.c and sink.c do, in the same order.
 */
#ifndef TESTS_UNIT_CONSENSUSD_SIM_H
#define TESTS_UNIT_CONSENSUSD_SIM_H

#include <stdio.h>

#include "common/base/be.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "consensusd/core/budget.h"
#include "consensusd/core/idwindow.h"
#include "consensusd/core/pending.h"
#include "consensusd/core/stream.h"
#include "consensusd/core/target.h"
#include "tests/unit/consensusd/sim_db.h"

enum {
	SIM_TARGETS_MAX = DB_TARGETS_MAX,
	SIM_FRAGMENT_BYTES = 1500,
	SIM_EVENTS_MAX = 65536,
	SIM_LIMIT_US = 600 * 1000 * 1000, /* of virtual time */
};

struct sim_conf {
	uint64_t seed;
	size_t targets;
	uint64_t messages;
	unsigned loss_percent, repeat_percent;
	int64_t faults_us;      /* loss, repetition and crashes end then */
	int64_t crash_every_us; /* on average; 0: none */
	size_t memory_max;      /* of each node */
	uint32_t message_max;   /* bytes of the largest */
};

struct sim_result {
	uint64_t trace; /* hash of everything that happened */
	int64_t end_us;
	uint64_t frames, lost, crashes, resent, reads;
	size_t memory_peak;
};

enum sim_what { SIM_FRAME, SIM_FLUSHED, SIM_TIMER, SIM_READ, SIM_APP, SIM_CRASH, SIM_START, SIM_PUBLISH };
enum sim_type { SIM_BATCH, SIM_ACK, SIM_OPEN, SIM_OPENED, SIM_UNKNOWN, SIM_CLOSE, SIM_CLOSED };

struct sim_event {
	int64_t us;
	uint64_t order;
	enum sim_what what;
	size_t node;   /* where */
	unsigned life; /* of the node; of another life: nothing happens */
	size_t peer;   /* frame: from; read: flow */
	enum sim_type type;
	struct batch *batch;
	uint32_t index;
	struct target_ack ack;
	uint64_t seq, max;
};

struct sim_node {
	bool up;
	unsigned life;
	struct db db;
	struct budget budget;
	struct order order;
	bool flushed;
	/* node 0 */
	struct stream *stream;
	struct pending_pool pool;
	struct idwindows ids;
	uint64_t recorded_put[SIM_TARGETS_MAX];
	bool close_put, closed_put;
	/* the others */
	struct target *target;
	uint64_t applied; /* by the application, durable */
	bool done;
};

struct sim {
	struct sim_conf conf;
	struct sim_result result;
	struct rng rng;
	int64_t now_us;
	struct sim_event heap[SIM_EVENTS_MAX];
	size_t heap_count;
	uint64_t next_order;
	struct sim_node nodes[1 + SIM_TARGETS_MAX];
	struct stream_conf stream_conf;
	struct target_conf target_conf;
	uint64_t next, published, confirmed; /* the publisher's: next to publish, ever published, done */
	struct ulid id;
};

/* The seed is printed when a check fails. */
#define SIM_CHECK(s, expr)                                                                                   \
	do {                                                                                                 \
		if (!(expr)) {                                                                               \
			print_message("seed %llu, %lld us: %s\n", (unsigned long long)(s)->conf.seed,        \
			    (long long)(s)->now_us, #expr);                                                  \
			fail();                                                                              \
		}                                                                                            \
	} while (0)

/* --- events --- */

static inline bool
sim_earlier(const struct sim_event *a, const struct sim_event *b)
{
	return a->us != b->us ? a->us < b->us : a->order < b->order;
}

static void
sim_push(struct sim *s, struct sim_event e)
{
	size_t i = s->heap_count++;

	SIM_CHECK(s, s->heap_count < SIM_EVENTS_MAX);
	e.order = s->next_order++;
	e.life = s->nodes[e.node].life;
	for (; i > 0 && sim_earlier(&e, &s->heap[(i - 1) / 2]); i = (i - 1) / 2)
		s->heap[i] = s->heap[(i - 1) / 2];
	s->heap[i] = e;
}

static struct sim_event
sim_pop(struct sim *s)
{
	struct sim_event out = s->heap[0], last = s->heap[--s->heap_count];
	size_t i = 0, c;

	while ((c = 2 * i + 1) < s->heap_count) {
		if (c + 1 < s->heap_count && sim_earlier(&s->heap[c + 1], &s->heap[c]))
			c++;
		if (!sim_earlier(&s->heap[c], &last))
			break;
		s->heap[i] = s->heap[c];
		i = c;
	}
	s->heap[i] = last;
	return out;
}

static struct mono
sim_now(const struct sim *s)
{
	return (struct mono){s->now_us + 1000000};
}

static void
sim_trace(struct sim *s, uint64_t a, uint64_t b)
{
	s->result.trace = (s->result.trace ^ a * 31 ^ b) * 0x9e3779b97f4a7c15u;
	s->result.trace ^= s->result.trace >> 29;
}

static int64_t
sim_between(struct sim *s, int64_t low, int64_t high)
{
	return low + (int64_t)rng_below(&s->rng, (uint64_t)(high - low + 1));
}

static bool
sim_faulty(const struct sim *s)
{
	return s->now_us < s->conf.faults_us;
}

static bool
sim_chance(struct sim *s, unsigned percent)
{
	return percent > 0 && rng_below(&s->rng, 100) < percent;
}

/* --- messages: size, id and content follow from the seq --- */

static size_t
sim_size(const struct sim *s, uint64_t seq)
{
	return seq % 97 == 0 ? s->conf.message_max : seq * 2654435761u % 400;
}

static struct ulid
sim_message_id(uint64_t seq)
{
	struct ulid id = {{0}};

	be_store64(id.b, 0x0190000000000000u);
	be_store64(id.b + 8, seq);
	return id;
}

/* --- network --- */

static void
sim_send_one(struct sim *s, const struct sim_event *e)
{
	struct sim_event x = *e;

	x.us = s->now_us + sim_between(s, 200, sim_chance(s, 5) ? 20000 : 2000);
	if (x.batch != NULL)
		batch_ref(x.batch);
	sim_push(s, x);
}

static void
sim_send(struct sim *s, size_t from, size_t to, struct sim_event e)
{
	e.what = SIM_FRAME;
	e.node = to;
	e.peer = from;
	s->result.frames++;
	if (sim_faulty(s) && sim_chance(s, s->conf.loss_percent)) {
		s->result.lost++;
		return;
	}
	sim_send_one(s, &e);
	if (sim_faulty(s) && sim_chance(s, s->conf.repeat_percent))
		sim_send_one(s, &e);
}

static void
sim_send_batch(struct sim *s, size_t to, struct batch *b)
{
	size_t n = (b->body_len + SIM_FRAGMENT_BYTES - 1) / SIM_FRAGMENT_BYTES;

	/* Durable before sent. */
	SIM_CHECK(s, batch_last_seq(b) <= s->nodes[0].db.last_seq);
	for (uint32_t i = 0; i < n; i++)
		sim_send(s, 0, to, (struct sim_event){.type = SIM_BATCH, .batch = b, .index = i});
}

#endif
