/* Metrics of several daemons as one text. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "gatewayd/core/exposition.h"

static int
merge(struct buf *out, const char *const *texts, size_t count)
{
	struct exposition_text t[EXPOSITION_TEXTS_MAX];

	buf_init(out, 1 << 20);
	for (size_t i = 0; i < count; i++)
		t[i] = (struct exposition_text){(const uint8_t *)texts[i], strlen(texts[i])};
	return exposition_merge(out, t, count);
}

static void
expect_text(const char *const *texts, size_t count, const char *want)
{
	struct buf out;

	assert_int_equal(merge(&out, texts, count), 0);
	assert_int_equal(buf_left(&out), strlen(want));
	assert_memory_equal(buf_head(&out), want, strlen(want));
	buf_fini(&out);
}

static void
test_same_metric_of_two_daemons(void **state)
{
	static const char *const texts[] = {
	    "# HELP a_total A.\n# TYPE a_total counter\na_total{daemon=\"x\"} 1\n"
	    "# HELP b B.\n# TYPE b gauge\nb{daemon=\"x\"} 2\n",
	    "# HELP b B too.\n# TYPE b gauge\nb{daemon=\"y\"} 3\nb{daemon=\"y\",k=\"v\"} 4\n"
	    "# HELP c C.\n# TYPE c gauge\nc 5\n",
	};

	(void)state;
	expect_text(texts, 2,
	    "# HELP a_total A.\n# TYPE a_total counter\na_total{daemon=\"x\"} 1\n"
	    "# HELP b B.\n# TYPE b gauge\nb{daemon=\"x\"} 2\nb{daemon=\"y\"} 3\nb{daemon=\"y\",k=\"v\"} 4\n"
	    "# HELP c C.\n# TYPE c gauge\nc 5\n");
}

static void
test_histograms_stay_together(void **state)
{
	static const char *const texts[] = {
	    "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_sum 1\nh_count 1\nhx 7\n",
	    "# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_sum 2\nh_count 2\n",
	};

	(void)state;
	expect_text(texts, 2,
	    "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_sum 1\nh_count 1\n"
	    "h_bucket{le=\"1\"} 2\nh_sum 2\nh_count 2\nhx 7\n");
}

static void
test_odd_but_valid(void **state)
{
	static const char *const texts[] = {"", "\n\n# a comment\n", "x 1\nx 2\n\ny 3\n", "x 4\n"};

	(void)state;
	expect_text(texts, 4, "x 1\nx 2\nx 4\ny 3\n");
}

static void
test_bad_texts(void **state)
{
	static const char *const bad[] = {"x 1", "{} 1\n", " x 1\n", "x 1\n\x80\n", "# TYPE"};
	struct buf out;

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		assert_int_equal(merge(&out, &bad[i], 1), ERR_FORMAT);
		buf_fini(&out);
	}
}

static void
test_too_many_metrics(void **state)
{
	char *text = calloc(EXPOSITION_METRICS_MAX + 2, 16), *p = text;
	const char *one;
	struct buf out;

	(void)state;
	assert_non_null(text);
	for (int i = 0; i < EXPOSITION_METRICS_MAX; i++)
		p += sprintf(p, "m%d 1\n", i);
	one = text;
	assert_int_equal(merge(&out, &one, 1), 0);
	assert_int_equal(buf_left(&out), strlen(text));
	buf_fini(&out);
	sprintf(p, "more 1\n");
	assert_int_equal(merge(&out, &one, 1), ERR_LIMIT);
	buf_fini(&out);
	free(text);
}

static void
test_failing_memory(void **state)
{
	static const char *const texts[] = {"x 1\n", "x 2\n"};
	struct buf out;

	(void)state;
	for (unsigned long k = 1; k <= 3; k++) {
		mem_fail_at(k);
		assert_int_equal(merge(&out, texts, 2), ERR_NOMEM);
		mem_fail_at(0);
		buf_fini(&out);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_same_metric_of_two_daemons),
	    cmocka_unit_test(test_histograms_stay_together),
	    cmocka_unit_test(test_odd_but_valid),
	    cmocka_unit_test(test_bad_texts),
	    cmocka_unit_test(test_too_many_metrics),
	    cmocka_unit_test(test_failing_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
