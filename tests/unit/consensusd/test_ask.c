/* Questions between consensusds: asked again until they are answered, or their time is over. */
#include "tests/unit/consensusd/virtual.h"

#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/ask.h"
#include "consensusd/peers.h"
#include "proto/peer.pb.h"
#include "tests/unit/consensusd/net.h"

enum { METHOD = 6, OTHER = 7 };

static struct answered {
	unsigned count;
	uint64_t node;
	int err;
	char text[128];
	uint8_t body[64];
	size_t len;
} got;

/* What b is asked. */
static struct {
	unsigned count;
	struct ask_from from;
	uint8_t body[64];
	size_t len;
	bool silent;
} asked;

static void
on_answer(void *ctx, uint64_t node, int err, const char *text, const uint8_t *body, size_t len)
{
	struct answered *x = ctx;

	x->count++;
	x->node = node;
	x->err = err;
	snprintf(x->text, sizeof(x->text), "%s", text);
	x->len = len;
	if (len != 0 && len <= sizeof(x->body))
		memcpy(x->body, body, len);
	env_touch(&env);
}

static void
serve(void *ctx, const struct ask_from *from, const uint8_t *body, size_t len)
{
	struct env_node *n = ctx;

	asked.count++;
	asked.from = *from;
	asked.len = len;
	if (len != 0 && len <= sizeof(asked.body))
		memcpy(asked.body, body, len);
	if (!asked.silent)
		ask_answer(n->engine.asks, from, 0, "", body, len);
}

static int
setup(void **state)
{
	int err = net_setup(state);

	memset(&got, 0, sizeof(got));
	memset(&asked, 0, sizeof(asked));
	for (size_t i = 0; i < ENV_NODES; i++)
		asks_serve(env.nodes[i].engine.asks, METHOD, serve, &env.nodes[i]);
	return err;
}

static void
ask(struct env_node *from, struct env_node *to, uint32_t method, uint32_t timeout_ms)
{
	memset(&got, 0, sizeof(got));
	assert_int_equal(ask_send(from->engine.asks, to->engine.self, method, "body", 4, timeout_ms,
			     on_answer, &got, NULL),
	    0);
	assert_int_equal(got.count, 0);
}

static bool
is_answered(struct env *e)
{
	(void)e;
	return got.count > 0;
}

static void
await(void)
{
	env_run(&env, is_answered);
	net_pass(5000);
	assert_int_equal(got.count, 1);
}

static void
test_answer(void **state)
{
	(void)state;
	ask(a, b, METHOD, 5000);
	await();
	assert_int_equal(got.err, 0);
	assert_true(got.node == b->engine.self);
	assert_true(got.len == 4 && memcmp(got.body, "body", 4) == 0);
	assert_true(asked.from.node == a->engine.self && asked.count == 1);
	/* The own node, too. */
	ask(a, a, METHOD, 5000);
	await();
	assert_true(got.err == 0 && got.node == a->engine.self && got.len == 4);
}

static void
test_unknown_method(void **state)
{
	(void)state;
	ask(a, b, OTHER, 5000);
	await();
	assert_int_equal(got.err, ERR_UNKNOWN);
	assert_non_null(strstr(got.text, "does not know"));
	ask(a, b, 4000000000U, 5000);
	await();
	assert_int_equal(got.err, ERR_UNKNOWN);
}

static void
test_lost(void **state)
{
	(void)state;
	net.lose_percent = 60;
	net.double_percent = 30;
	for (unsigned i = 0; i < 30; i++) {
		ask(a, b, METHOD, 60000);
		await();
		assert_int_equal(got.err, 0);
	}
	assert_true(asked.count >= 30);
}

static void
test_time_out(void **state)
{
	struct mono begun = clock_mono();

	(void)state;
	asked.silent = true;
	ask(a, b, METHOD, 3500);
	env_run(&env, is_answered);
	assert_int_equal(got.err, ERR_TIMEOUT);
	assert_in_range(mono_diff_us(clock_mono(), begun), 3500000, 3600000);
	assert_in_range(asked.count, 3, 4);
	/* An answer that comes after it is for nobody. */
	ask_answer(b->engine.asks, &asked.from, 0, "", "late", 4);
	net_pass(1000);
	assert_int_equal(got.count, 1);
	/* A node that there is not. */
	assert_int_equal(ask_send(a->engine.asks, 12345, METHOD, "", 0, 500, on_answer, &got, NULL), 0);
	got.count = 0;
	await();
	assert_int_equal(got.err, ERR_TIMEOUT);
}

/* Only the one that was asked answers. */
static void
test_anothers_answer(void **state)
{
	(void)state;
	asked.silent = true;
	ask(a, b, METHOD, 60000);
	net_pass(100);
	ask_answer(c->engine.asks, &asked.from, 0, "", "lie", 3);
	net_pass(500);
	assert_int_equal(got.count, 0);
	/* What is no error code counts as one. */
	ask_answer(b->engine.asks, &asked.from, 7, "positive", NULL, 0);
	await();
	assert_int_equal(got.err, ERR_FORMAT);
}

static void
test_cancel(void **state)
{
	static struct answered other;

	(void)state;
	asked.silent = true;
	ask(a, b, METHOD, 3000);
	assert_int_equal(
	    ask_send(a->engine.asks, b->engine.self, METHOD, "", 0, 3000, on_answer, &other, NULL), 0);
	net_pass(100);
	ask_cancel_all(a->engine.asks, &got);
	net_pass(5000);
	assert_int_equal(got.count, 0);
	assert_int_equal(other.count, 1);
}

/* Who is told asks again, or cancels all, from within. */
static void
again(void *ctx, uint64_t node, int err, const char *text, const uint8_t *body, size_t len)
{
	unsigned *left = ctx;

	(void)text;
	(void)body;
	(void)len;
	assert_int_equal(err, 0);
	ask_cancel_all(a->engine.asks, ctx);
	if (--*left > 0)
		assert_int_equal(ask_send(a->engine.asks, node, METHOD, "", 0, 3000, again, ctx, NULL), 0);
	else
		got.count++;
}

static void
test_from_within(void **state)
{
	unsigned left = 10, own = 10;

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(
		    ask_send(a->engine.asks, b->engine.self, METHOD, "", 0, 3000, again, &left, NULL), 0);
	env_run(&env, is_answered);
	got.count = 0;
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(
		    ask_send(a->engine.asks, a->engine.self, METHOD, "", 0, 3000, again, &own, NULL), 0);
	env_run(&env, is_answered);
}

static void
test_limits(void **state)
{
	static uint8_t body[ASK_BODY_MAX_BYTES + 1];

	(void)state;
	asked.silent = true;
	assert_int_equal(
	    ask_send(a->engine.asks, b->engine.self, METHOD, body, sizeof(body), 10, on_answer, &got, NULL),
	    ERR_LIMIT);
	for (unsigned i = 0; i < ASKS_MAX; i++)
		assert_int_equal(
		    ask_send(a->engine.asks, b->engine.self, METHOD, "", 0, 1000, on_answer, &got, NULL), 0);
	assert_int_equal(
	    ask_send(a->engine.asks, b->engine.self, METHOD, "", 0, 1000, on_answer, &got, NULL), ERR_FULL);
	net_pass(3000);
	assert_int_equal(got.count, ASKS_MAX);
	/* The largest goes both ways. */
	asked.silent = false;
	memset(&got, 0, sizeof(got));
	assert_int_equal(ask_send(a->engine.asks, b->engine.self, METHOD, body, ASK_BODY_MAX_BYTES, 5000,
			     on_answer, &got, NULL),
	    0);
	await();
	assert_true(got.err == 0 && got.len == ASK_BODY_MAX_BYTES);
}

/* Whichever allocation fails: it is refused, or ends in time; and nothing is called from within. */
static void
test_failing_memory(void **state)
{
	unsigned refused = 0;

	(void)state;
	for (unsigned long i = 2; i <= 60; i++) {
		unsigned long k = i / 2;
		struct deadlines *d = &a->engine.deadlines;
		int err;

		memset(&got, 0, sizeof(got));
		d->cap = d->count; /* as if there were just as many */
		mem_fail_at(k);
		err = ask_send(a->engine.asks, i % 2 ? a->engine.self : b->engine.self, METHOD, "body", 4,
		    5000, on_answer, &got, NULL);
		assert_int_equal(got.count, 0);
		if (err == 0)
			await();
		else
			refused++;
		mem_fail_at(0);
		assert_true(err == 0 || err == ERR_NOMEM);
	}
	assert_in_range(refused, 1, 20);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, env_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_answer),
	    TEST(test_unknown_method),
	    TEST(test_lost),
	    TEST(test_time_out),
	    TEST(test_anothers_answer),
	    TEST(test_cancel),
	    TEST(test_from_within),
	    TEST(test_limits),
	    TEST(test_failing_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
