/* metrics: the text format, word for word (and by promtool, where it is installed). */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/os/metrics.h"

static const double bounds[] = {0.001, 0.01, 0.5};
static struct metric frames_data =
    METRIC_COUNTER_INIT("mesh_test_frames_total", "Frames received.", "kind=\"data\"");
static struct metric frames_ack =
    METRIC_COUNTER_INIT("mesh_test_frames_total", "Frames received.", "kind=\"ack\"");
static struct metric depth = METRIC_GAUGE_INIT("mesh_test_queue_bytes", "Bytes queued.", NULL);
static struct metric latency = {.name = "mesh_test_latency_seconds",
    .help = "Time to process.",
    .kind = METRIC_HISTOGRAM,
    .bounds = bounds,
    .bound_count = 3};

static const char want[] = "# HELP mesh_test_frames_total Frames received.\n"
			   "# TYPE mesh_test_frames_total counter\n"
			   "mesh_test_frames_total{daemon=\"testd\",kind=\"data\"} 3\n"
			   "mesh_test_frames_total{daemon=\"testd\",kind=\"ack\"} 0\n"
			   "# HELP mesh_test_queue_bytes Bytes queued.\n"
			   "# TYPE mesh_test_queue_bytes gauge\n"
			   "mesh_test_queue_bytes{daemon=\"testd\"} -7\n"
			   "# HELP mesh_test_latency_seconds Time to process.\n"
			   "# TYPE mesh_test_latency_seconds histogram\n"
			   "mesh_test_latency_seconds_bucket{daemon=\"testd\",le=\"0.001\"} 2\n"
			   "mesh_test_latency_seconds_bucket{daemon=\"testd\",le=\"0.01\"} 2\n"
			   "mesh_test_latency_seconds_bucket{daemon=\"testd\",le=\"0.5\"} 3\n"
			   "mesh_test_latency_seconds_bucket{daemon=\"testd\",le=\"+Inf\"} 4\n"
			   "mesh_test_latency_seconds_sum{daemon=\"testd\"} 2.7515000000000001\n"
			   "mesh_test_latency_seconds_count{daemon=\"testd\"} 4\n";

static void
test_print(void **state)
{
	struct buf b;

	(void)state;
	metric_inc(&frames_data);
	metric_add(&frames_data, 2);
	metric_set(&depth, -7);
	metric_observe(&latency, 0.0005);
	metric_observe(&latency, 0.001); /* a bound belongs to its bucket */
	metric_observe(&latency, 0.25);
	metric_observe(&latency, 2.5);
	buf_init(&b, 1 << 20);
	assert_int_equal(metrics_print(&b, "testd"), 0);
	assert_int_equal(buf_put_u8(&b, 0), 0);
	assert_string_equal((const char *)buf_head(&b), want);
	buf_fini(&b);
}

static void
test_too_small(void **state)
{
	uint8_t mem[100];
	struct buf b;

	(void)state;
	buf_init_fixed(&b, mem, sizeof(mem));
	assert_int_equal(metrics_print(&b, "testd"), ERR_LIMIT);
}

static void
test_promtool(void **state)
{
	FILE *p;

	(void)state;
	if (system("command -v promtool >/dev/null 2>&1") != 0)
		skip();
	p = popen("promtool check metrics", "w");
	assert_non_null(p);
	fputs(want, p);
	assert_int_equal(pclose(p), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_print),
	    cmocka_unit_test(test_too_small),
	    cmocka_unit_test(test_promtool),
	};

	metrics_add(&frames_data);
	metrics_add(&frames_ack);
	metrics_add(&depth);
	metrics_add(&latency);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
