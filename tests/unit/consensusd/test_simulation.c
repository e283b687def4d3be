/*
 * Streams in the simulator: whatever the network loses and whoever crashes when, each target's
 * application gets 1, 2, … n, each once, the publisher hears of each, memory stays bounded, and
 * everything ends once the faults stop.
 */
#include "tests/unit/consensusd/sim_target.h"

#include <stdlib.h>

/* --- nodes --- */

static void
node_clear(struct sim *s, size_t i)
{
	struct sim_node *n = &s->nodes[i];

	stream_free(n->stream, &n->pool);
	n->stream = NULL;
	target_free(n->target);
	n->target = NULL;
	pending_pool_fini(&n->pool);
	idwindows_fini(&n->ids);
	order_fini(&n->order);
	/* Everything that was counted was given back. */
	SIM_CHECK(s, n->budget.used_bytes == 0);
}

static void
node_init(struct sim *s, size_t i)
{
	struct sim_node *n = &s->nodes[i];

	n->budget = (struct budget){.max_bytes = s->conf.memory_max};
	order_init(&n->order);
	n->order.durable_ticket = n->db.forming - 1;
	idwindows_init(&n->ids, 512, 512, 512, s->conf.seed);
	memset(n->recorded_put, 0, sizeof(n->recorded_put));
	n->flushed = false;
}

static void
node_start(struct sim *s, size_t i)
{
	struct sim_node *n = &s->nodes[i];

	if (!(i == 0 ? sim_source_start(s) : sim_target_start(s, i))) {
		sim_push(s, (struct sim_event){.us = s->now_us + 10000, .what = SIM_START, .node = i});
		return;
	}
	n->up = true;
}

static void
node_crash(struct sim *s, size_t i)
{
	struct sim_node *n = &s->nodes[i];

	if (n->up && !n->done) {
		n->up = false;
		n->life++;
		s->result.crashes++;
		node_clear(s, i);
		db_crash(&n->db, sim_chance(s, 50));
		node_init(s, i);
		sim_push(
		    s, (struct sim_event){
			   .us = s->now_us + sim_between(s, 1000, 3000000), .what = SIM_START, .node = i});
	}
	if (sim_faulty(s))
		sim_push(
		    s, (struct sim_event){.us = s->now_us + sim_between(s, 1, 2 * s->conf.crash_every_us),
			   .what = SIM_CRASH,
			   .node = (size_t)rng_below(&s->rng, s->conf.targets + 1)});
}

/* --- steps --- */

static void
flushed(struct sim *s, size_t i)
{
	struct sim_node *n = &s->nodes[i];
	uint64_t ticket = db_commit(&n->db);

	n->flushed = true;
	order_durable(&n->order, ticket, sim_now(s), i == 0 ? sim_source_done : sim_target_done, s);
	if (i > 0)
		sim_target_forget(n);
}

static void
check_node(struct sim *s, size_t i)
{
	struct sim_node *n = &s->nodes[i];

	if (n->budget.used_bytes > s->result.memory_peak)
		s->result.memory_peak = n->budget.used_bytes;
	if (n->stream != NULL) {
		SIM_CHECK(s, n->stream->durable_seq <= n->db.last_seq);
		SIM_CHECK(s, n->stream->committed_seq <= n->stream->durable_seq);
	}
	if (n->target != NULL) {
		SIM_CHECK(s, n->target->stored_seq <= n->db.last_seq);
		SIM_CHECK(s, n->target->processed_seq <= n->db.marks[0]);
		SIM_CHECK(s, n->target->processed_seq <= n->applied);
		SIM_CHECK(s, n->target->reorder_count <= REORDER_MAX);
	}
}

static void
on_event(struct sim *s, const struct sim_event *e)
{
	struct sim_node *n = &s->nodes[e->node];

	switch (e->what) {
	case SIM_FRAME:
		if (e->node == 0)
			sim_source_frame(s, e);
		else
			sim_target_frame(s, e->node, e);
		break;
	case SIM_FLUSHED:
		flushed(s, e->node);
		break;
	case SIM_READ:
		if (e->node == 0)
			sim_source_read(s, e);
		else
			sim_target_read(s, e->node, e);
		break;
	case SIM_APP:
		if (n->target != NULL)
			SIM_CHECK(s, target_ack(n->target, e->seq) == 0);
		break;
	default:
		break; /* a timer: the step does what is due */
	}
}

/* Lives of nodes and the publisher are not events of a node's life. */
static bool
outside(struct sim *s, const struct sim_event *e)
{
	switch (e->what) {
	case SIM_CRASH:
		node_crash(s, e->node);
		return true;
	case SIM_PUBLISH:
		sim_publish(s);
		return true;
	case SIM_START:
		node_start(s, e->node);
		return !s->nodes[e->node].up;
	default:
		return false;
	}
}

static void
finish_step(struct sim *s, size_t i)
{
	struct sim_node *n = &s->nodes[i];

	if (n->up && !(n->done && i == 0)) {
		if (i == 0)
			sim_source_step(s);
		else
			sim_target_step(s, i);
	}
	if (db_start(&n->db))
		sim_push(s, (struct sim_event){
				.us = s->now_us + sim_between(s, 200, sim_chance(s, 2) ? 400000 : 1500),
				.what = SIM_FLUSHED,
				.node = i});
	check_node(s, i);
}

static void
step(struct sim *s)
{
	struct sim_event e = sim_pop(s);
	struct sim_node *n = &s->nodes[e.node];
	bool stale = e.what == SIM_FRAME ? !n->up : e.life != n->life || !n->up;

	s->now_us = e.us;
	sim_trace(s, (uint64_t)e.us, (uint64_t)e.what << 32 | e.node << 24 | e.seq);
	/* A frame reaches whatever life the node has; the rest ended with the crash. */
	if (!outside(s, &e) && !stale && !(e.node == 0 && n->done))
		on_event(s, &e);
	batch_unref(e.batch);
	finish_step(s, e.node);
	if (e.what == SIM_PUBLISH)
		finish_step(s, 0);
}

static bool
all_done(const struct sim *s)
{
	for (size_t i = 0; i <= s->conf.targets; i++) {
		if (!s->nodes[i].done)
			return false;
	}
	return true;
}

static struct sim_result
run(const struct sim_conf *conf)
{
	struct sim *s = calloc(1, sizeof(*s));
	struct sim_result result;

	assert_non_null(s);
	s->conf = *conf;
	s->id = sim_message_id(42);
	s->stream_conf = (struct stream_conf){
	    .flow = {.window_bytes = 65536, .rto_min_ms = 20, .rto_max_ms = 500},
	    .batch_messages = 32,
	    .batch_bytes = 8192,
	    .backlog_bytes = 262144,
	};
	s->target_conf = (struct target_conf){.window_bytes = 65536, .backlog_bytes = 262144};
	rng_seed(&s->rng, conf->seed);
	for (size_t i = 0; i <= conf->targets; i++) {
		db_init(&s->nodes[i].db, 131072);
		node_init(s, i);
		node_start(s, i);
		finish_step(s, i);
	}
	sim_push(s, (struct sim_event){.us = 1, .what = SIM_PUBLISH});
	if (conf->crash_every_us > 0)
		sim_push(s, (struct sim_event){.us = conf->crash_every_us, .what = SIM_CRASH});
	while (!all_done(s) && s->heap_count > 0) {
		step(s);
		SIM_CHECK(s, s->now_us < SIM_LIMIT_US);
	}
	SIM_CHECK(s, s->confirmed == conf->messages);
	for (size_t i = 1; i <= conf->targets; i++)
		SIM_CHECK(s, s->nodes[i].applied == conf->messages);
	s->result.end_us = s->now_us;
	for (size_t i = 0; i <= conf->targets; i++) {
		node_clear(s, i);
		db_fini(&s->nodes[i].db);
	}
	while (s->heap_count > 0) {
		struct sim_event e = sim_pop(s);

		batch_unref(e.batch);
	}
	result = s->result;
	free(s);
	return result;
}

/* --- tests --- */

/* SIM_SEEDS in the environment: so many instead (long runs), from SIM_SEED on (one that failed). */
static uint64_t
seeds(uint64_t usual)
{
	const char *text = getenv("SIM_SEEDS");

	return text != NULL ? strtoull(text, NULL, 10) : usual;
}

static uint64_t
first_seed(void)
{
	const char *text = getenv("SIM_SEED");

	return text != NULL ? strtoull(text, NULL, 10) : 1;
}

static void
test_quiet(void **state)
{
	const struct sim_conf conf = {
	    .seed = 1, .targets = 1, .messages = 500, .memory_max = 1 << 20, .message_max = 20000};
	struct sim_result r = run(&conf);

	(void)state;
	assert_int_equal(r.lost, 0);
	assert_int_equal(r.crashes, 0);
}

static void
test_loss(void **state)
{
	struct sim_conf conf = {.targets = 2,
	    .messages = 300,
	    .loss_percent = 10,
	    .repeat_percent = 10,
	    .faults_us = 20 * 1000 * 1000,
	    .memory_max = 1 << 20,
	    .message_max = 20000};

	(void)state;
	for (conf.seed = first_seed(); conf.seed < first_seed() + seeds(60); conf.seed++)
		assert_true(run(&conf).lost > 0);
}

static void
test_crashes(void **state)
{
	struct sim_conf conf = {.targets = 2,
	    .messages = 400,
	    .loss_percent = 5,
	    .repeat_percent = 5,
	    .faults_us = 30 * 1000 * 1000,
	    .crash_every_us = 60 * 1000,
	    .memory_max = 1 << 20,
	    .message_max = 20000};
	uint64_t crashes = 0;

	(void)state;
	for (conf.seed = first_seed(); conf.seed < first_seed() + seeds(150); conf.seed++)
		crashes += run(&conf).crashes;
	assert_true(crashes > seeds(150));
}

/* Little memory and large messages: everything goes by the store, and memory stays bounded. */
static void
test_memory(void **state)
{
	struct sim_conf conf = {.targets = 3,
	    .messages = 300,
	    .loss_percent = 3,
	    .faults_us = 10 * 1000 * 1000,
	    .crash_every_us = 300 * 1000,
	    .memory_max = 200000,
	    .message_max = 60000};
	uint64_t reads = 0;

	(void)state;
	for (conf.seed = first_seed(); conf.seed < first_seed() + seeds(40); conf.seed++) {
		struct sim_result r = run(&conf);

		reads += r.reads;
		/* What the database has not committed, what is kept, each target's window, one batch more. */
		assert_true(r.memory_peak <= 131072 + 65536 + 3 * 65536);
	}
	assert_true(reads > 0);
}

static void
test_deterministic(void **state)
{
	const struct sim_conf conf = {.seed = 77,
	    .targets = 2,
	    .messages = 300,
	    .loss_percent = 10,
	    .repeat_percent = 10,
	    .faults_us = 10 * 1000 * 1000,
	    .crash_every_us = 100 * 1000,
	    .memory_max = 1 << 20,
	    .message_max = 20000};
	struct sim_result a = run(&conf), b = run(&conf);

	(void)state;
	assert_true(a.trace == b.trace);
	assert_int_equal(a.end_us, b.end_us);
}

/* The k-th allocation fails, for many k: nothing breaks, nothing leaks, all messages arrive. */
static void
test_no_memory(void **state)
{
	const struct sim_conf conf = {.seed = 5,
	    .targets = 2,
	    .messages = 120,
	    .loss_percent = 5,
	    .faults_us = 2 * 1000 * 1000,
	    .crash_every_us = 200 * 1000,
	    .memory_max = 1 << 20,
	    .message_max = 5000};
	unsigned long total;

	(void)state;
	mem_fail_at(0);
	(void)run(&conf);
	total = mem_count();
	assert_true(total > 100);
	for (unsigned long k = 1; k <= total; k += k < 200 ? 1 : 7) {
		mem_fail_at(k);
		(void)run(&conf);
	}
	mem_fail_at(0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_quiet),
	    cmocka_unit_test(test_loss),
	    cmocka_unit_test(test_crashes),
	    cmocka_unit_test(test_memory),
	    cmocka_unit_test(test_deterministic),
	    cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
