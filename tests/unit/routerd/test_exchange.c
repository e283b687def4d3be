/* What goes on with one neighbour: flooding, comparison of databases, the own LSA's timing. */
#include "tests/unit/routerd/make.h"

#include "common/base/err.h"
#include "common/base/mem.h"
#include "routerd/core/cost.h"
#include "routerd/core/flood.h"
#include "routerd/core/linkstate.h"
#include "routerd/core/neighbour.h"
#include "routerd/core/origin.h"
#include "routerd/core/sync.h"

enum { MS = 1000, SECOND = 1000 * 1000, RTO = 200 * MS };

static struct lsdb db;
static struct lsa lsa;
static struct linkstate_writer writer;
static struct {
	unsigned frames, updates, acks, asks, digests, requests;
	size_t ids; /* of the last list */
	uint64_t first, last;
	uint8_t flags;
	uint64_t node; /* first of the last request or update */
} got;

static void
emit(void *arg, const uint8_t *payload, size_t len)
{
	struct linkstate_msg m;
	struct buf in;

	(void)arg;
	got.frames++;
	buf_view(&in, payload, len);
	assert_int_equal(linkstate_open(&in), 0);
	while (linkstate_next(&in, &m) == 1) {
		got.ids = m.count;
		switch (m.kind) {
		case LINKSTATE_UPDATE:
			got.updates++;
			got.node = be_load64(m.data + 1);
			break;
		case LINKSTATE_ACK:
			got.acks += (unsigned)m.count;
			break;
		case LINKSTATE_ASK:
			got.asks++;
			got.first = m.ask.first;
			got.flags = m.ask.flags;
			break;
		case LINKSTATE_DIGEST:
			got.digests++;
			got.first = m.first;
			got.last = m.last;
			got.flags = m.flags;
			break;
		case LINKSTATE_REQUEST:
			got.requests++;
			got.node = linkstate_node(&m, 0);
			break;
		}
	}
}

static int
setup(void **state)
{
	(void)state;
	memset(&got, 0, sizeof(got));
	lsdb_init(&db, 5000, 200 * (int64_t)SECOND);
	linkstate_writer_init(&writer, emit, NULL);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	lsdb_fini(&db);
	return 0;
}

static void
add(uint64_t node, uint64_t seq)
{
	make_lsa(&lsa, node, 1, seq);
	make_entry(&db, &lsa, 0, 0);
}

/* --- flood --- */

static struct flood_written
flood_at(struct flood *f, int64_t now)
{
	struct flood_written w = flood_write(f, &db, &writer, RTO, (struct mono){now});

	linkstate_flush(&writer);
	return w;
}

static void
test_flood_until_acknowledged(void **state)
{
	const struct lsa_id old = {5, 1, 1}, right = {5, 1, 2};
	int64_t expected = RTO;
	struct flood f;

	(void)state;
	flood_init(&f);
	add(5, 2);
	assert_int_equal(flood_push(&f, 5, MONO_ZERO), 0);
	for (int64_t now = 0; now < 60 * (int64_t)SECOND; now = f.due.us) {
		assert_int_equal(flood_at(&f, now).updates, 1);
		assert_int_equal(f.due.us - now, expected);
		expected = 2 * expected < FLOOD_RTO_MAX_US ? 2 * expected : FLOOD_RTO_MAX_US;
	}
	flood_has(&f, &db, &old);
	assert_int_equal(f.count, 1);
	flood_has(&f, &db, &right);
	assert_int_equal(f.count, 0);
	assert_int_equal(flood_at(&f, 100 * (int64_t)SECOND).updates, 0);
	assert_true(mono_is_never(f.due));
	flood_fini(&f);
}

static void
test_flood_sends_the_newest(void **state)
{
	struct flood f;

	(void)state;
	flood_init(&f);
	add(5, 2);
	assert_int_equal(flood_push(&f, 5, MONO_ZERO), 0);
	assert_int_equal(flood_push(&f, 5, MONO_ZERO), 0);
	assert_int_equal(f.count, 1);
	/* Gone from the database: nothing to send. */
	assert_int_equal(flood_push(&f, 6, MONO_ZERO), 0);
	assert_int_equal(flood_at(&f, 0).updates, 1);
	assert_int_equal(f.count, 1);
	flood_fini(&f);
}

static void
test_flood_acks(void **state)
{
	const struct lsa_id id = {5, 1, 1};
	struct flood f;

	(void)state;
	flood_init(&f);
	for (unsigned i = 0; i < ACKS_MAX; i++)
		assert_int_equal(flood_ack(&f, &id, MONO_ZERO), 0);
	assert_int_equal(flood_ack(&f, &id, MONO_ZERO), ERR_LIMIT);
	flood_at(&f, 0);
	assert_int_equal(got.acks, ACKS_MAX);
	assert_int_equal(flood_ack(&f, &id, MONO_ZERO), 0);
	flood_fini(&f);
}

static void
test_flood_leaves_room_for_others(void **state)
{
	unsigned turns = 0, updates = 0;
	struct flood f;

	(void)state;
	flood_init(&f);
	for (uint64_t n = 1; n <= 5000; n++) {
		add(n, 1);
		assert_int_equal(flood_push(&f, n, MONO_ZERO), 0);
	}
	for (int64_t now = 0; updates < 5000; now = f.due.us) {
		unsigned before = got.frames;

		updates += flood_at(&f, now).updates;
		assert_true(got.frames - before <= FLOOD_FRAMES_PER_TURN + 1);
		turns++;
		assert_true(turns < 100);
	}
	assert_int_equal(got.updates, 5000);
	assert_true(turns > 1);
	flood_fini(&f);
}

static void
test_flood_memory_out(void **state)
{
	struct flood f;

	(void)state;
	flood_init(&f);
	mem_fail_at(1);
	assert_int_equal(flood_push(&f, 5, MONO_ZERO), ERR_NOMEM);
	mem_fail_at(1);
	assert_int_equal(flood_ack(&f, &(struct lsa_id){5, 1, 1}, MONO_ZERO), ERR_NOMEM);
	mem_fail_at(0);
	assert_int_equal(f.count, 0);
	flood_fini(&f);
}

/* --- sync --- */

static uint64_t given_up;

static enum sync_result
sync_at(struct sync *s, int64_t now)
{
	enum sync_result r = sync_write(s, &db, &writer, SYNC_RTO_US, (struct mono){now}, &given_up);

	linkstate_flush(&writer);
	return r;
}

/* A digest of nodes first…last, each with this seq. */
static struct linkstate_msg
digest(uint8_t *ids, uint64_t first, uint64_t last, uint64_t from, uint64_t to, uint64_t seq)
{
	struct linkstate_msg m = {.kind = LINKSTATE_DIGEST, .first = first, .last = last, .data = ids};

	for (uint64_t n = from; n <= to; n++)
		linkstate_put_id(ids + m.count++ * LINKSTATE_ID_BYTES, &(struct lsa_id){n, 1, seq});
	m.len = m.count * LINKSTATE_ID_BYTES;
	return m;
}

static void
test_sync_in_ranges(void **state)
{
	static uint8_t ids[DIGEST_IDS_MAX * LINKSTATE_ID_BYTES];
	struct linkstate_msg m;
	struct sync s;

	(void)state;
	sync_init(&s);
	add(1, 5);
	add(2, 5);
	sync_start(&s, MONO_ZERO);
	assert_int_equal(sync_at(&s, 0), SYNC_NOTHING);
	assert_int_equal(got.asks, 1);
	assert_int_equal(got.flags, LINKSTATE_FLAG_FIRST);
	/* 1 is known, 2 is older here, 3 is new. */
	m = digest(ids, 0, 10, 1, 3, 5);
	linkstate_put_id(ids + LINKSTATE_ID_BYTES, &(struct lsa_id){2, 1, 6});
	assert_int_equal(sync_digest(&s, &m, &db, MONO_ZERO), SYNC_NOTHING);
	assert_int_equal(s.need_count, 2);
	assert_int_equal(sync_at(&s, 0), SYNC_NOTHING);
	assert_int_equal(got.requests, 1);
	assert_true(got.node == 2);
	add(3, 5);
	assert_int_equal(sync_settle(&s, &db, MONO_ZERO), SYNC_NOTHING);
	add(2, 6);
	assert_int_equal(sync_settle(&s, &db, MONO_ZERO), SYNC_NOTHING);
	/* On to the next range, which is the last, with nothing new. */
	assert_int_equal(sync_at(&s, 0), SYNC_NOTHING);
	assert_int_equal(got.asks, 2);
	assert_true(got.first == 11);
	m = digest(ids, 11, UINT64_MAX, 1, 0, 0);
	assert_int_equal(sync_digest(&s, &m, &db, MONO_ZERO), SYNC_FINISHED);
	assert_true(s.synced && !s.active);
	sync_fini(&s);
}

static void
test_sync_same(void **state)
{
	struct linkstate_msg m = {.kind = LINKSTATE_DIGEST, .flags = LINKSTATE_FLAG_SAME, .last = UINT64_MAX};
	struct sync s;

	(void)state;
	sync_init(&s);
	/* Not asked for: ignored. */
	assert_int_equal(sync_digest(&s, &m, &db, MONO_ZERO), SYNC_NOTHING);
	assert_false(s.synced);
	sync_start(&s, MONO_ZERO);
	sync_at(&s, 0);
	assert_int_equal(sync_digest(&s, &m, &db, MONO_ZERO), SYNC_FINISHED);
	sync_fini(&s);
}

static void
test_sync_asks_until_answered(void **state)
{
	struct sync s;
	int64_t now = 0;

	(void)state;
	sync_init(&s);
	sync_start(&s, MONO_ZERO);
	for (int i = 0; i < 20; i++) {
		sync_at(&s, now);
		assert_int_equal(got.asks, i + 1);
		assert_true(s.due.us > now && s.due.us <= now + SYNC_RTO_MAX_US);
		now = s.due.us;
	}
	/* It shows up: no waiting. */
	s.due.us = now + SYNC_RTO_MAX_US;
	sync_asked(&s, &(struct linkstate_ask){.flags = LINKSTATE_FLAG_FIRST}, (struct mono){now});
	assert_int_equal(s.due.us, now);
	sync_at(&s, now);
	assert_int_equal(got.digests, 1);
	assert_int_equal(got.asks, 21);
	sync_fini(&s);
}

/* The neighbour begins after our first question, which it may not have got. */
static void
test_sync_question_too_early(void **state)
{
	struct sync s;

	(void)state;
	sync_init(&s);
	sync_start(&s, MONO_ZERO);
	sync_at(&s, 0);
	assert_int_equal(got.asks, 1);
	sync_asked(&s, &(struct linkstate_ask){.flags = LINKSTATE_FLAG_FIRST}, (struct mono){10000});
	sync_at(&s, 10000);
	assert_int_equal(got.digests, 1);
	assert_int_equal(got.asks, 1); /* the answer may be on its way */
	assert_int_equal(s.due.us, 10000 + SYNC_BEGUN_US);
	sync_at(&s, s.due.us);
	assert_int_equal(got.asks, 2);
	sync_fini(&s);
}

static void
test_sync_check_is_given_up(void **state)
{
	struct sync s;
	int64_t now = 0;

	(void)state;
	sync_init(&s);
	s.synced = true;
	sync_start(&s, MONO_ZERO);
	for (int i = 0; i < 10 && s.active; i++, now = s.due.us)
		sync_at(&s, now);
	assert_int_equal(got.asks, SYNC_CHECK_TRIES);
	assert_int_equal(got.flags, 0);
	assert_false(s.active);
	assert_true(s.synced);
	/* A neighbour that starts anew makes a new one. */
	sync_asked(&s, &(struct linkstate_ask){.flags = LINKSTATE_FLAG_FIRST}, MONO_ZERO);
	assert_true(s.active);
	sync_fini(&s);
}

static void
test_sync_promises_that_are_not_kept(void **state)
{
	static uint8_t ids[DIGEST_IDS_MAX * LINKSTATE_ID_BYTES];
	struct linkstate_msg m = digest(ids, 0, UINT64_MAX, 1, DIGEST_IDS_MAX, 5);
	enum sync_result r = SYNC_NOTHING;
	struct sync s;

	(void)state;
	given_up = 0;
	sync_init(&s);
	sync_start(&s, MONO_ZERO);
	sync_at(&s, 0);
	assert_int_equal(sync_digest(&s, &m, &db, MONO_ZERO), SYNC_NOTHING);
	for (int64_t now = 0; r == SYNC_NOTHING; now = s.due.us)
		r = sync_at(&s, now);
	assert_int_equal(got.requests, SYNC_NEED_TRIES);
	assert_int_equal(given_up, DIGEST_IDS_MAX);
	assert_true(s.synced);
	sync_fini(&s);
}

static void
test_sync_refused_is_not_waited_for(void **state)
{
	static uint8_t ids[DIGEST_IDS_MAX * LINKSTATE_ID_BYTES];
	struct linkstate_msg m = digest(ids, 0, UINT64_MAX, 1, 2, 5);
	struct sync s;

	(void)state;
	sync_init(&s);
	sync_start(&s, MONO_ZERO);
	sync_at(&s, 0);
	assert_int_equal(sync_digest(&s, &m, &db, MONO_ZERO), SYNC_NOTHING);
	sync_refused(&s, 1);
	assert_int_equal(sync_settle(&s, &db, MONO_ZERO), SYNC_NOTHING);
	sync_refused(&s, 2);
	assert_int_equal(sync_settle(&s, &db, MONO_ZERO), SYNC_FINISHED);
	sync_fini(&s);
}

static void
test_sync_answers(void **state)
{
	struct linkstate_ask ask = {.first = 0};
	struct sync s;

	(void)state;
	sync_init(&s);
	for (uint64_t n = 1; n <= DIGEST_IDS_MAX + 5; n++)
		add(10 * n, 1);
	sync_asked(&s, &ask, MONO_ZERO);
	assert_int_equal(sync_next(&s).us, 0);
	sync_at(&s, 0);
	assert_true(got.first == 0 && got.last == 10 * (DIGEST_IDS_MAX + 1) - 1);
	assert_int_equal(got.ids, DIGEST_IDS_MAX);
	assert_true(mono_is_never(sync_next(&s)));
	ask.first = got.last + 1;
	sync_asked(&s, &ask, MONO_ZERO);
	sync_at(&s, 0);
	assert_true(got.last == UINT64_MAX);
	assert_int_equal(got.ids, 5);
	ask.count = (uint32_t)db.count;
	ask.sum = db.sum;
	sync_asked(&s, &ask, MONO_ZERO);
	sync_at(&s, 0);
	assert_int_equal(got.flags, LINKSTATE_FLAG_SAME);
	assert_int_equal(got.ids, 0);
	sync_fini(&s);
}

static void
test_sync_memory_out(void **state)
{
	static uint8_t ids[DIGEST_IDS_MAX * LINKSTATE_ID_BYTES];
	struct linkstate_msg m = digest(ids, 0, UINT64_MAX, 1, 2, 5);
	struct sync s;

	(void)state;
	sync_init(&s);
	sync_start(&s, MONO_ZERO);
	sync_at(&s, 0);
	mem_fail_at(1);
	assert_int_equal(sync_digest(&s, &m, &db, MONO_ZERO), SYNC_NOTHING);
	mem_fail_at(0);
	/* Asked again, and then it works. */
	sync_at(&s, s.due.us);
	assert_int_equal(got.asks, 2);
	assert_int_equal(sync_digest(&s, &m, &db, MONO_ZERO), SYNC_NOTHING);
	assert_int_equal(s.need_count, 2);
	sync_fini(&s);
}

/* --- origin --- */

static void
test_origin_burst_then_interval(void **state)
{
	const uint8_t sig[LSA_SIG_BYTES] = {0};
	struct mono never = MONO_NEVER, now = {10 * SECOND};
	struct origin o;

	(void)state;
	origin_init(&o);
	origin_identity(&o, 5, 3);
	make_lsa(&lsa, 5, 0, 0);
	for (int i = 0; i < ORIGIN_BURST; i++) {
		o.changed = true;
		assert_true(origin_due(&o).us <= now.us);
		assert_int_equal(origin_make(&o, &lsa, now, never), 0);
		assert_true(mono_is_never(origin_due(&o)));
		assert_int_equal(origin_signed(&o, o.ticket - 1, sig), ERR_STALE);
		assert_int_equal(origin_signed(&o, o.ticket, sig), 0);
		assert_true(mono_is_never(origin_due(&o)));
	}
	assert_true(lsa.id.node == 5 && lsa.id.incarnation == 3 && lsa.id.seq == ORIGIN_BURST);
	o.changed = true;
	assert_int_equal(origin_due(&o).us, now.us + ORIGIN_INTERVAL_US);
	o.changed = false;
	o.moved = true;
	assert_int_equal(origin_due(&o).us, now.us + METRIC_INTERVAL_US);
	origin_fini(&o);
}

static void
make_signed(struct origin *o, struct mono now)
{
	const uint8_t sig[LSA_SIG_BYTES] = {0};

	assert_int_equal(origin_make(o, &lsa, now, MONO_NEVER), 0);
	assert_int_equal(origin_signed(o, o->ticket, sig), 0);
}

/* Measurements that never rest are told less and less often; a leap does not wait, nor do other changes. */
static void
test_origin_restless_measurements(void **state)
{
	struct mono now = {1000 * SECOND};
	int64_t wait = METRIC_INTERVAL_US;
	struct origin o;

	(void)state;
	origin_init(&o);
	origin_identity(&o, 5, 3);
	make_lsa(&lsa, 5, 0, 0);
	make_signed(&o, now);
	for (int i = 0; i < 10; i++) {
		o.moved = true;
		assert_int_equal(origin_due(&o).us, now.us + wait);
		now = origin_due(&o);
		make_signed(&o, now);
		if (i > 0) /* the first came after a rest */
			wait = 2 * wait < METRIC_INTERVAL_MAX_US ? 2 * wait : METRIC_INTERVAL_MAX_US;
	}
	assert_int_equal(wait, METRIC_INTERVAL_MAX_US);
	o.leapt = true;
	assert_int_equal(origin_due(&o).us, now.us + METRIC_INTERVAL_US);
	/* What is left to go after a leap is told soon, too; then it is as before. */
	now = origin_due(&o);
	make_signed(&o, now);
	for (wait = METRIC_INTERVAL_US; wait <= 4 * (int64_t)METRIC_INTERVAL_US; wait *= 2) {
		o.moved = true;
		assert_int_equal(origin_due(&o).us, now.us + wait);
		now = origin_due(&o);
		make_signed(&o, now);
	}
	o.changed = true;
	assert_true(origin_due(&o).us <= now.us + ORIGIN_INTERVAL_US);
	make_signed(&o, now);
	assert_true(mono_is_never(origin_due(&o)));
	origin_hasten(&o, (struct mono){now.us + 7});
	origin_hasten(&o, (struct mono){now.us + 9});
	assert_int_equal(origin_due(&o).us, now.us + 7);
	/* After a rest it is soon again. */
	now = mono_add_us(now, 3 * (int64_t)METRIC_INTERVAL_MAX_US);
	o.moved = true;
	make_signed(&o, now);
	o.moved = true;
	assert_int_equal(origin_due(&o).us, now.us + METRIC_INTERVAL_US);
	origin_fini(&o);
}

static void
test_origin_goes_above_what_is_seen(void **state)
{
	struct origin o;

	(void)state;
	origin_init(&o);
	origin_identity(&o, 5, 3);
	make_lsa(&lsa, 5, 0, 0);
	assert_false(origin_seen(&o, &(struct lsa_id){5, 2, 900}));
	assert_true(origin_seen(&o, &(struct lsa_id){5, 3, 41}));
	assert_int_equal(origin_make(&o, &lsa, MONO_ZERO, MONO_NEVER), 0);
	assert_true(lsa.id.incarnation == 3 && lsa.id.seq == 42);
	origin_failed(&o, (struct mono){77});
	assert_true(origin_due(&o).us >= 77);
	origin_identity(&o, 5, 4);
	assert_int_equal(origin_make(&o, &lsa, MONO_ZERO, MONO_NEVER), 0);
	assert_true(lsa.id.incarnation == 4 && lsa.id.seq == 1);
	origin_fini(&o);
}

static void
test_origin_memory_out(void **state)
{
	struct origin o;

	(void)state;
	origin_init(&o);
	origin_identity(&o, 5, 3);
	make_lsa(&lsa, 5, 0, 0);
	mem_fail_at(1);
	assert_int_equal(origin_make(&o, &lsa, MONO_ZERO, MONO_NEVER), ERR_NOMEM);
	mem_fail_at(0);
	assert_false(o.in_flight);
	assert_true(o.changed);
	assert_true(o.newest.seq == 0);
	origin_fini(&o);
}

/* --- neighbours --- */

static void
test_more_links_than_an_lsa_holds(void **state)
{
	static struct lsa_adj adj[LSA_ADJ_MAX];
	struct neighbour_table t;
	size_t count, left_out;

	(void)state;
	neighbour_table_init(&t);
	for (uint64_t n = 1; n <= LSA_ADJ_MAX + 100; n++) {
		struct neighbour *nb = neighbour_add(&t, n);

		assert_non_null(nb);
		/* The first hundred are the dearest. */
		nb->advertised = (struct lsa_adj){.neighbour = n, .latency_us = n <= 100 ? 90000 : 1000};
		nb->sync.synced = true;
	}
	assert_true(neighbour_table_synced(&t));
	neighbour_get(&t, 300)->sync.synced = false;
	assert_false(neighbour_table_synced(&t));
	count = neighbour_table_adj(&t, adj, &left_out);
	assert_int_equal(count, LSA_ADJ_MAX);
	assert_int_equal(left_out, 99);
	for (size_t i = 1; i < count; i++)
		assert_true(adj[i - 1].neighbour < adj[i].neighbour);
	assert_int_equal(cost_link(&cost_defaults[FRAME_CLASS_CONTROL], &adj[1]), COST_HOP_US + 1000);
	neighbour_table_fini(&t);
}

static void
test_what_counts_as_moved(void **state)
{
	struct neighbour n = {.advertised = {.latency_us = 10000, .loss_ppm = 0}};

	(void)state;
	n.measured = n.advertised;
	assert_false(neighbour_moved(&n));
	n.measured.latency_us = 12000;
	assert_false(neighbour_moved(&n));
	n.measured.latency_us = 12001;
	assert_true(neighbour_moved(&n));
	n.measured.latency_us = 7999;
	assert_true(neighbour_moved(&n));
	n.advertised.latency_us = 100;
	n.measured.latency_us = 500; /* five times, but nothing on a LAN */
	assert_false(neighbour_moved(&n));
	n.measured.loss_ppm = METRIC_LOSS_FLOOR_PPM + 1;
	assert_true(neighbour_moved(&n));
	/* Bandwidth by the time of a chunk: not known is 100 Mbit/s, and beyond 1 Gbit/s all are the same. */
	n.measured = n.advertised;
	n.measured.bandwidth_kbps = 110 * 1000;
	assert_false(neighbour_moved(&n));
	n.measured.bandwidth_kbps = 10 * 1000 * 1000;
	assert_true(neighbour_moved(&n));
	n.advertised.bandwidth_kbps = 3 * 1000 * 1000;
	assert_false(neighbour_moved(&n));
	n.measured.bandwidth_kbps = 400 * 1000;
	assert_true(neighbour_moved(&n));
}

static void
test_what_counts_as_a_leap(void **state)
{
	struct neighbour n = {.advertised = {.latency_us = 11000, .bandwidth_kbps = 100 * 1000}};

	(void)state;
	n.measured = n.advertised;
	assert_false(neighbour_leapt(&n));
	n.measured.latency_us = 1200; /* not so far */
	assert_false(neighbour_leapt(&n));
	n.measured.latency_us = 900;
	assert_true(neighbour_leapt(&n));
	n.measured.latency_us = 22001;
	assert_true(neighbour_leapt(&n));
	n.measured = n.advertised;
	n.measured.bandwidth_kbps = 10 * 1000;
	assert_true(neighbour_leapt(&n));
	n.measured = n.advertised;
	n.measured.loss_ppm = METRIC_LEAP_PPM + 1;
	assert_true(neighbour_leapt(&n));
	n.measured = n.advertised;
	n.measured.utilisation_permille = METRIC_LEAP_PERMILLE;
	assert_false(neighbour_leapt(&n));
	n.measured.utilisation_permille++;
	assert_true(neighbour_leapt(&n));
}

static void
test_quarantine(void **state)
{
	struct neighbour n = {0};
	struct mono now = {SECOND};

	(void)state;
	for (int i = 0; i < FORGED_MAX; i++) {
		assert_false(neighbour_quarantined(&n, now));
		neighbour_forged(&n, now);
	}
	assert_true(neighbour_quarantined(&n, now));
	now.us += FORGED_WINDOW_US;
	assert_false(neighbour_quarantined(&n, now));
	neighbour_forged(&n, now);
	assert_false(neighbour_quarantined(&n, now));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_flood_until_acknowledged, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_flood_sends_the_newest, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_flood_acks, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_flood_leaves_room_for_others, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_flood_memory_out, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_sync_in_ranges, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_sync_same, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_sync_asks_until_answered, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_sync_question_too_early, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_sync_check_is_given_up, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_sync_promises_that_are_not_kept, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_sync_refused_is_not_waited_for, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_sync_answers, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_sync_memory_out, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_origin_burst_then_interval, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_origin_restless_measurements, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_origin_goes_above_what_is_seen, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_origin_memory_out, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_more_links_than_an_lsa_holds, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_what_counts_as_moved, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_what_counts_as_a_leap, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_quarantine, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
