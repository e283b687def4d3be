/* Metrics of streams and tenants: bounded, and no counter ever falls. */
#include "tests/unit/consensusd/virtual.h"

#include "tests/unit/consensusd/env.h"

#include "consensusd/meters.h"

#define S1 "01ARZ3NDEKTSV4RRFFQ69G5001"
#define S2 "01ARZ3NDEKTSV4RRFFQ69G5002"

static struct env_node *const a = &env.nodes[0], *const b = &env.nodes[1];
static char text[1 << 16];

static void
print(struct env_node *n)
{
	struct buf out;

	buf_init(&out, sizeof(text) - 1);
	assert_int_equal(meters_print(n->engine.meters, &out), 0);
	memcpy(text, buf_head(&out), buf_left(&out));
	text[buf_left(&out)] = '\0';
	buf_fini(&out);
}

/* Value of the line that begins so; -1: there is none. */
static double value(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static double
value(const char *fmt, ...)
{
	char start[256];
	const char *p;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(start, sizeof(start), fmt, ap);
	va_end(ap);
	p = strstr(text, start);
	return p != NULL ? strtod(strchr(p, '}') + 1, NULL) : -1;
}

static double
of_stream(const char *what, const char *stream)
{
	return value("mesh_stream_%s{daemon=\"consensusd\",stream=\"%s\"", what, stream);
}

static double
of_tenant(const char *what, const char *tenant, const char *role)
{
	return value("mesh_tenant_%s{daemon=\"consensusd\",tenant=\"%s\",role=\"%s\"", what, tenant, role);
}

static unsigned published, wanted;

static bool
all_stored(struct env *e)
{
	struct sink *k, *next;
	uint64_t sum = 0;

	HASH_ITER (hh, e->nodes[1].engine.sinks, k, next)
		sum += k->target->stored_seq;
	return sum >= wanted;
}

static void
publish(const char *stream, int count, size_t size)
{
	static uint8_t payload[10000];
	mesh_v1_Chunk chunk = env_chunk(stream, 0);

	for (int i = 0; i < count; i++)
		env_publish_send(a, GC_PUBLISH_ITEM, stream[25] == '1' ? 2 : 4, &chunk, payload, size);
	published += (unsigned)count;
	wanted = published;
	env_run(&env, all_stored);
}

static int
setup(void **state)
{
	published = 0;
	return env_setup(state);
}

static void
test_labels(void **state)
{
	(void)state;
	env_open(a, "one", S1, "b");
	env_open(a, "two", S2, "b");
	publish(S1, 10, 100);
	publish(S2, 3, 100);
	print(a);
	assert_true(of_stream("messages_total", S1) == 10);
	assert_true(of_stream("bytes_total", S1) > 1000);
	assert_true(of_stream("lag_messages", S2) == 3);
	assert_true(of_stream("backlog_bytes", S2) > 300);
	assert_true(of_stream("oldest_seconds", S2) >= 0);
	assert_true(of_stream("messages_total", "other") == 0);
	assert_true(of_tenant("messages_total", "two", "source") == 3);
	assert_true(of_tenant("streams", "two", "source") == 1);
	assert_true(of_tenant("streams", "two", "target") == 0);
	print(b);
	assert_true(of_tenant("messages_total", "two", "target") == 3);
	assert_non_null(strstr(text, "role=\"target\""));
	/* Nothing new: nothing changes. */
	print(a);
	assert_true(of_stream("messages_total", S1) == 10);
	assert_true(of_tenant("messages_total", "one", "source") == 10);
}

static bool
all_processed(struct env *e)
{
	struct source *s, *next;

	HASH_ITER (hh, e->nodes[0].engine.sources, s, next)
		if (s->stream->committed_seq + 1 < s->stream->next_seq)
			return false;
	return true;
}

/* Messages of the tenant that took no longer than that. */
static double
timed(const char *tenant, const char *seconds)
{
	return value("mesh_tenant_processed_seconds_bucket{daemon=\"consensusd\",tenant=\"%s\",le=\"%s\"",
	    tenant, seconds);
}

/* One message of a stream at a time, from its publishing until it is processed. */
static void
test_processed(void **state)
{
	mesh_v1_StreamSelector sel = env_selector("one", "");

	(void)state;
	env_open(a, "one", S1, "b");
	publish(S1, 10, 100);
	print(a);
	assert_true(timed("one", "+Inf") == 0);
	virtual_now.us += 3000000;
	b->auto_ack = true;
	env_subscribe(b, 9, &sel);
	env_run(&env, all_processed);
	print(a);
	assert_true(timed("one", "+Inf") == 1);
	assert_true(timed("one", "2.5") == 0);
	assert_true(timed("one", "5") == 1);
	assert_true(timed("one", "+Inf") == 1);
	assert_true(value("mesh_tenant_processed_seconds_sum{daemon=\"consensusd\",tenant=\"one\"") >= 3);
	publish(S1, 1, 100);
	env_run(&env, all_processed);
	print(a);
	assert_true(timed("one", "+Inf") == 2);
	assert_true(timed("one", "2.5") == 1);
	assert_true(timed("other", "+Inf") == 0);
}

/* The larger one has labels; when that changes, each counts on where it was. */
static void
test_bounded(void **state)
{
	(void)state;
	a->engine.metrics_streams = a->engine.metrics_tenants = 1;
	env_open(a, "one", S1, "b");
	env_open(a, "two", S2, "b");
	publish(S1, 10, 100);
	publish(S2, 3, 100);
	print(a);
	assert_true(of_stream("messages_total", S1) == 10);
	assert_true(of_stream("messages_total", S2) == -1);
	assert_true(of_stream("messages_total", "other") == 3);
	assert_true(of_stream("lag_messages", "other") == 3);
	assert_true(of_tenant("messages_total", "two", "source") == -1);
	assert_true(of_tenant("messages_total", "other", "source") == 3);
	assert_true(of_tenant("streams", "other", "source") == 1);
	publish(S2, 20, 1000);
	publish(S1, 1, 100);
	print(a);
	assert_true(of_stream("messages_total", S1) == -1);
	assert_true(of_stream("messages_total", S2) == 20);
	assert_true(of_stream("messages_total", "other") == 4);
	publish(S1, 50, 1000);
	print(a);
	assert_true(of_stream("messages_total", S1) == 60);
	assert_true(of_stream("messages_total", "other") == 4);
	a->engine.metrics_streams = a->engine.metrics_tenants = 0;
	print(a);
	assert_true(of_stream("messages_total", S1) == -1);
	assert_true(of_stream("messages_total", "other") == 4);
	assert_true(of_stream("lag_messages", "other") == 84);
}

static bool
forgotten(struct env *e)
{
	return e->nodes[0].engine.sources == NULL;
}

/* What a closed stream carried is not lost from the sums. */
static void
test_closed(void **state)
{
	mesh_v1_StreamSelector sel = env_selector("one", "");

	(void)state;
	a->engine.metrics_streams = 0;
	env_open(a, "one", S1, "b");
	b->auto_ack = true;
	env_subscribe(b, 9, &sel);
	publish(S1, 10, 100);
	env_close(a, 5, S1);
	env_run(&env, forgotten);
	print(a);
	assert_true(of_stream("messages_total", "other") == 10);
	assert_true(of_tenant("messages_total", "one", "source") == 10);
	assert_true(of_tenant("streams", "one", "source") == 0);
	a->engine.metrics_tenants = 0;
	print(a);
	assert_true(of_tenant("messages_total", "one", "source") == -1);
}

static void
test_promtool(void **state)
{
	FILE *p;

	(void)state;
	env_open(a, "one", S1, "b");
	publish(S1, 10, 100);
	print(a);
	if (system("command -v promtool >/dev/null 2>&1") != 0)
		skip();
	p = popen("promtool check metrics", "w");
	assert_non_null(p);
	fputs(text, p);
	assert_int_equal(pclose(p), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, env_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_labels),
	    TEST(test_processed),
	    TEST(test_bounded),
	    TEST(test_closed),
	    TEST(test_promtool),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
