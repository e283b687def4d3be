/* Notes in a network: nodes that lose messages, are cut off, or start again with what they had stored come to
 * have the same. */
#include "tests/unit/consensusd/make_note.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "consensusd/core/notes_sync.h"

enum {
	NODES_MAX = 20,
	DISK_MAX = 16384,
	QUEUE_MAX = 1 << 16,
	TYPES = 3,
	FANOUT = 3,
	DELAY_MAX = 4,
	BUSY_TICKS = 20
};

struct packet {
	size_t from, to;
	unsigned at;
	uint8_t *data;
	size_t len;
};

struct host {
	struct notes t;
	struct notes_sync sync;
	struct note *disk[DISK_MAX]; /* of each key the last that is durable */
	size_t disk_count;
	uint64_t again;
	unsigned busy; /* until then it is getting what it lacks, and asks nobody else */
};

static struct world {
	struct rng rng;
	struct host hosts[NODES_MAX];
	size_t count;
	unsigned tick, loss, cut; /* cut: hosts below it don't reach the others */
	struct packet queue[QUEUE_MAX];
	size_t queued;
	uint64_t sent_bytes, answer_bytes, largest;
	struct note *last[NODES_MAX][TYPES]; /* the last one that its node stored */
} w;

static size_t
host_of(void *ctx)
{
	return (size_t)((struct host *)ctx - w.hosts);
}

static void
w_send(void *ctx, uint64_t peer, const uint8_t *data, size_t len)
{
	size_t from = host_of(ctx), to = (size_t)peer - 1;
	struct notes_msg m;

	assert_true(len <= NOTES_MSG_MAX_BYTES);
	assert_int_equal(notes_msg_read(data, len, &m), 0);
	w.sent_bytes += len;
	w.answer_bytes += len;
	if (rng_below(&w.rng, 100) < w.loss || (from < w.cut) != (to < w.cut))
		return;
	for (int copies = rng_below(&w.rng, 20) == 0 ? 2 : 1; copies > 0; copies--) {
		assert_true(w.queued < QUEUE_MAX);
		w.queue[w.queued++] = (struct packet){
		    from, to, w.tick + 1 + (unsigned)rng_below(&w.rng, DELAY_MAX), mem_dup(data, len), len};
	}
}

static void
disk_write(struct host *h, const struct note *n)
{
	struct note *copy = (struct note *)(uintptr_t)n;

	for (size_t i = 0; i < h->disk_count; i++) {
		if (h->disk[i]->node == n->node && strcmp(h->disk[i]->type, n->type) == 0) {
			/* Never backwards. */
			assert_true(note_beats(n->version, n->signature, h->disk[i]));
			note_unref(h->disk[i]);
			h->disk[i] = note_ref(copy);
			return;
		}
	}
	assert_true(h->disk_count < DISK_MAX);
	h->disk[h->disk_count++] = note_ref(copy);
}

static void
pass(struct host *h, const struct note *n, size_t fanout, unsigned flags)
{
	notes_msg_begin(&h->sync.push, NOTES_PUSH, flags);
	assert_int_equal(notes_msg_put_note(&h->sync.push, n), 0);
	notes_msg_end(&h->sync.push);
	for (; fanout > 0; fanout--) {
		size_t to = rng_below(&w.rng, w.count);

		if (to != host_of(h))
			w_send(h, to + 1, h->sync.push.mem, h->sync.push.len);
	}
}

static void
w_done(void *arg, const struct note *n, uint64_t from, unsigned how)
{
	struct host *h = arg;

	disk_write(h, n);
	if (from == host_of(h) + 1) {
		struct note **last = &w.last[from - 1][n->type[0] - 'a'];

		note_unref(*last);
		*last = note_ref((struct note *)(uintptr_t)n);
	}
	if ((how & NOTES_PASS) != 0)
		pass(h, n, FANOUT, NOTES_PASS);
}

static void
w_flush(struct host *h)
{
	notes_durable(&h->t, h->t.last_position, w_done, h);
	if (h->again != 0)
		notes_sync_begin(&h->sync, &h->t, h->again);
	h->again = 0;
}

static void
w_update(struct host *h, size_t which, size_t max_bytes)
{
	uint64_t self = host_of(h) + 1;
	char type[2] = {(char)('a' + which), '\0'};
	const struct note *before = notes_latest(&h->t, self, type);
	struct notes_entry *e;
	struct note *n =
	    make_note(self, type, before != NULL ? before->version + 1 : 1, 0, rng_below(&w.rng, max_bytes));

	for (size_t i = 0; i < sizeof(n->signature); i++)
		n->signature[i] = (uint8_t)rng_u64(&w.rng);
	assert_int_equal(notes_reserve(&h->t, n, &e), 0);
	notes_stage(&h->t, e, n, self, NOTES_PASS);
}

static void
w_take(struct host *h, size_t from, struct notes_msg *m)
{
	struct notes_msg_note x;
	struct notes_entry *e;
	unsigned news = 0;

	while (notes_msg_next_note(m, &x)) {
		struct note *n = note_new(x.node, x.type, x.version, x.payload, x.len);

		memcpy(n->signature, x.signature, sizeof(n->signature));
		if (notes_reserve(&h->t, n, &e) == 0) {
			notes_stage(&h->t, e, n, from + 1, m->flags & NOTES_PASS);
			news++;
		} else {
			note_unref(n);
		}
	}
	if (news == 0 || (m->flags & NOTES_ANSWER) == 0)
		return;
	h->busy = w.tick + BUSY_TICKS;
	if ((m->flags & NOTES_MORE) != 0)
		h->again = from + 1;
}

static void
w_deliver(const struct packet *p)
{
	struct host *h = &w.hosts[p->to];
	struct notes_msg m;

	assert_int_equal(notes_msg_read(p->data, p->len, &m), 0);
	w.answer_bytes = 0;
	if (m.kind == NOTES_PUSH)
		w_take(h, p->from, &m);
	else if (m.kind == NOTES_TOTAL && h->busy < w.tick)
		notes_sync_total(&h->sync, &h->t, p->from + 1, &m);
	else if (m.kind == NOTES_TOTAL)
		return;
	else if (m.kind == NOTES_SUMMARY)
		notes_sync_summary(&h->sync, &h->t, p->from + 1, &m, rng_below(&w.rng, w.count + 1));
	else if (m.kind == NOTES_DETAIL)
		notes_sync_detail(&h->sync, &h->t, p->from + 1, &m);
	else
		notes_sync_want(&h->sync, &h->t, p->from + 1, &m);
	if (w.answer_bytes > w.largest)
		w.largest = w.answer_bytes;
}

static void
w_restart(struct host *h)
{
	size_t bytes = 0;

	notes_fini(&h->t);
	h->again = h->sync.cursor = 0;
	h->busy = 0;
	for (size_t i = 0; i < h->disk_count; i++) {
		assert_int_equal(notes_load(&h->t, note_ref(h->disk[i])), 0);
		bytes += note_bytes(h->disk[i]);
	}
	assert_int_equal(h->t.bytes, bytes);
}

static void
w_tick(void)
{
	size_t n = w.queued, kept = 0;

	w.tick++;
	for (size_t i = 0; i < n; i++) {
		struct packet p = w.queue[i];

		if (p.at > w.tick) {
			w.queue[kept++] = p;
			continue;
		}
		w_deliver(&p);
		mem_free(p.data);
	}
	/* Those that were sent meanwhile lie behind. */
	memmove(&w.queue[kept], &w.queue[n], (w.queued - n) * sizeof(w.queue[0]));
	w.queued = kept + w.queued - n;
	for (size_t i = 0; i < w.count; i++) {
		struct host *h = &w.hosts[i];

		if (rng_below(&w.rng, 2) == 0)
			w_flush(h);
		if (rng_below(&w.rng, 5) == 0 && h->busy < w.tick)
			notes_sync_ask(&h->sync, &h->t, 1 + rng_below(&w.rng, w.count));
	}
}

static bool
w_same(void)
{
	for (size_t i = 0; i < w.count; i++) {
		struct notes *a = &w.hosts[0].t, *b = &w.hosts[i].t;
		struct notes_node *n = notes_node_after(a, 0), *m = notes_node_after(b, 0);

		if (b->staged_count > 0 || a->hash != b->hash)
			return false;
		for (; n != NULL && m != NULL && n->id == m->id && n->hash == m->hash && n->count == m->count;
		     n = notes_node_after(a, n->id), m = notes_node_after(b, m->id))
			;
		if (n != NULL || m != NULL)
			return false;
	}
	return true;
}

static void
w_init(uint64_t seed, size_t count)
{
	memset(&w, 0, sizeof(w));
	rng_seed(&w.rng, seed);
	w.count = count;
	for (size_t i = 0; i < count; i++) {
		notes_init(&w.hosts[i].t);
		w.hosts[i].sync.send = w_send;
		w.hosts[i].sync.ctx = &w.hosts[i];
	}
}

static void
w_fini(void)
{
	for (size_t i = 0; i < w.queued; i++)
		mem_free(w.queue[i].data);
	for (size_t i = 0; i < w.count; i++) {
		notes_fini(&w.hosts[i].t);
		for (size_t k = 0; k < w.hosts[i].disk_count; k++)
			note_unref(w.hosts[i].disk[k]);
		for (size_t k = 0; k < TYPES; k++)
			note_unref(w.last[i][k]);
	}
}

static unsigned
w_settle(unsigned limit)
{
	unsigned start = w.tick;

	w.loss = w.cut = 0;
	while (!w_same()) {
		w_tick();
		if (w.tick - start > limit)
			fail_msg("%zu nodes don't agree after %u ticks", w.count, limit);
	}
	return w.tick - start;
}

static void
w_check_last(void)
{
	for (size_t i = 0; i < w.count; i++) {
		for (size_t k = 0; k < TYPES; k++) {
			const struct note *last = w.last[i][k];

			for (size_t x = 0; last != NULL && x < w.count; x++) {
				const struct note *n = notes_get(&w.hosts[x].t, i + 1, last->type);

				assert_non_null(n);
				assert_int_equal(n->version, last->version);
				assert_memory_equal(n->signature, last->signature, 64);
			}
		}
	}
}

static void
simulate(uint64_t seed)
{
	size_t max_bytes;

	w_init(seed, 3 + seed % (NODES_MAX - 2));
	max_bytes = seed % 4 == 0 ? NOTE_PAYLOAD_MAX_BYTES + 1 : 200;
	w.loss = (unsigned)rng_below(&w.rng, 60);
	for (int i = 0; i < 300; i++) {
		if (rng_below(&w.rng, 3) == 0)
			w_update(&w.hosts[rng_below(&w.rng, w.count)], rng_below(&w.rng, TYPES), max_bytes);
		if (rng_below(&w.rng, 40) == 0)
			w.cut = (unsigned)rng_below(&w.rng, w.count);
		if (rng_below(&w.rng, 15) == 0)
			w_restart(&w.hosts[rng_below(&w.rng, w.count)]);
		w_tick();
	}
	w_settle(2000);
	w_check_last();
	assert_true(w.largest <= NOTES_ANSWER_MAX_BYTES + 2 * NOTES_MSG_MAX_BYTES);
	w_fini();
}

static void
test_simulation(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 60; seed++)
		simulate(seed);
}

/* A node whose database was put back in time makes versions that there are already; all agree at the end,
 * and it finds the number that it has to go on from. */
static void
test_rolled_back(void **state)
{
	struct host *h = &w.hosts[0];
	uint64_t highest[TYPES];

	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		w_init(seed, 5);
		for (int i = 0; i < 60; i++) {
			if (i % 5 == 0)
				w_update(h, rng_below(&w.rng, TYPES), 100);
			w_tick();
		}
		for (; h->disk_count > 0; h->disk_count--)
			note_unref(h->disk[h->disk_count - 1]);
		w_restart(h);
		for (size_t k = 0; k < TYPES; k++)
			w_update(h, k, 100);
		w_settle(2000);
		for (size_t k = 0; k < TYPES; k++)
			w_update(h, k, 100);
		w_flush(h);
		for (size_t k = 0; k < TYPES; k++)
			highest[k] = w.last[0][k]->version;
		w_settle(2000);
		for (size_t k = 0; k < TYPES; k++) {
			const struct note *n = notes_get(&w.hosts[4].t, 1, (char[]){(char)('a' + k), '\0'});

			assert_non_null(n);
			assert_int_equal(n->version, highest[k]);
		}
		w_fini();
	}
}

/* One that has nothing gets megabytes: piece by piece, without waiting for the next round. */
static void
test_catch_up(void **state)
{
	char type[32];
	unsigned ticks;

	(void)state;
	w_init(5, 3);
	for (unsigned i = 0; i < 150; i++) {
		struct note *n;

		snprintf(type, sizeof(type), "t%u", i % 50);
		n = make_note(1 + i / 50, type, 1, 1, NOTE_PAYLOAD_MAX_BYTES);
		assert_int_equal(put(&w.hosts[0].t, n), 0);
	}
	ticks = w_settle(500);
	assert_true(ticks < 400);
	assert_true(w.largest <= NOTES_ANSWER_MAX_BYTES + 2 * NOTES_MSG_MAX_BYTES);
	/* Two get all of it, and little of it twice. */
	assert_true(w.sent_bytes < (uint64_t)4 * 150 * NOTE_PAYLOAD_MAX_BYTES);
	w_fini();
}

/* Many nodes: a summary takes several messages, a detail does not hold all. */
static void
test_many(void **state)
{
	(void)state;
	w_init(6, 2);
	for (uint64_t i = 0; i < 9000; i++)
		assert_int_equal(put(&w.hosts[i % 2].t, make_note(1 + i * 1000, "some-type", 1, 1, 0)), 0);
	w_settle(3000);
	assert_int_equal(w.hosts[0].t.count, 9000);
	w_fini();
}

static bool
not_two(void *ctx, uint64_t node)
{
	(void)ctx;
	return node != 2;
}

/* Notes of a node that is locked out are neither asked for nor offered. */
static void
test_unwanted(void **state)
{
	(void)state;
	w_init(7, 2);
	assert_int_equal(put(&w.hosts[0].t, make_note(2, "a", 1, 1, 0)), 0);
	assert_int_equal(put(&w.hosts[0].t, make_note(3, "a", 1, 1, 0)), 0);
	w.hosts[1].sync.wanted = not_two;
	for (int i = 0; i < 300; i++)
		w_tick();
	assert_null(notes_node_get(&w.hosts[1].t, 2));
	assert_non_null(notes_get(&w.hosts[1].t, 3, "a"));
	assert_true(notes_drop(&w.hosts[0].t, 2));
	w_settle(300);
	w_fini();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_simulation),
	    cmocka_unit_test(test_rolled_back),
	    cmocka_unit_test(test_catch_up),
	    cmocka_unit_test(test_many),
	    cmocka_unit_test(test_unwanted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
