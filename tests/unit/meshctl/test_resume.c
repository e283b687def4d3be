/* A subscriber's position: in memory, as text, as a file; and an output that is cut back to it. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "meshctl/resume.h"
#include "meshctl/sink.h"

#define A "01M7YT0305ZD678C8J888Y0GTB"
#define B "01M7YT0305ZD678C8J888Y0GTC"

static char dir[] = "/tmp/test_resume.XXXXXX";
static char path[64], out_path[64];

static void
test_get(void **state)
{
	struct resume r;

	(void)state;
	resume_init(&r);
	resume_get(&r, A)->seq = 5;
	resume_get(&r, B)->seq = 7;
	assert_int_equal(r.count, 2);
	assert_int_equal(resume_get(&r, A)->seq, 5);
	assert_null(resume_get(&r, A "x"));
	for (int i = 0; i < RESUME_STREAMS_MAX; i++) {
		char id[ULID_TEXT_SIZE];

		snprintf(id, sizeof(id), "%026d", i);
		if (i < RESUME_STREAMS_MAX - 2)
			assert_non_null(resume_get(&r, id));
		else
			assert_null(resume_get(&r, id));
	}
	resume_fini(&r);
}

static void
test_no_memory(void **state)
{
	struct resume r;

	(void)state;
	resume_init(&r);
	mem_fail_at(1);
	assert_null(resume_get(&r, A));
	mem_fail_at(0);
	assert_non_null(resume_get(&r, A));
	resume_fini(&r);
}

static void
test_file(void **state)
{
	struct resume r, q;
	struct stat st;

	(void)state;
	resume_init(&r);
	resume_init(&q);
	assert_int_equal(resume_load(&q, path), 0); /* none yet: the beginning */
	assert_int_equal(q.count, 0);
	resume_get(&r, A)->seq = 18446744073709551615u;
	resume_get(&r, B)->seq = 0;
	r.output_bytes = 123;
	assert_int_equal(resume_save(&r, path), 0);
	assert_int_equal(resume_save(&r, path), 0); /* replaces */
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(resume_load(&q, path), 0);
	assert_int_equal(q.output_bytes, 123);
	assert_int_equal(q.count, 2);
	assert_true(resume_get(&q, A)->seq == 18446744073709551615u);
	resume_fini(&r);
	resume_fini(&q);
}

static void
test_bad_text(void **state)
{
	static const char *const bad[] = {
	    "",
	    "mesh-resume 2\noutput 0\n",
	    "mesh-resume 1\n",
	    "mesh-resume 1\noutput \n",
	    "mesh-resume 1\noutput 1x\n",
	    "mesh-resume 1\noutput 1",
	    "mesh-resume 1\noutput 99999999999999999999\n",
	    "mesh-resume 1\noutput 1\n" A "\n",
	    "mesh-resume 1\noutput 1\n" A " \n",
	    "mesh-resume 1\noutput 1\n" A "  5\n",
	    "mesh-resume 1\noutput 1\nshort 5\n",
	    "mesh-resume 1\noutput 1\n" A "U 5\n",
	    "mesh-resume 1\noutput 1\n" A " 5",
	    "mesh-resume 1\noutput 1\n" A " 5\ngarbage",
	};
	struct resume r;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		resume_init(&r);
		assert_int_not_equal(resume_parse(&r, bad[i]), 0);
		resume_fini(&r);
	}
}

static struct sink_message
message(const char *text)
{
	return (struct sink_message){.stream_id = A,
	    .tenant = "t",
	    .source = "s",
	    .message_id = "m",
	    .seq = 1,
	    .payload = (const uint8_t *)text,
	    .len = strlen(text)};
}

static void
put(struct sink *s, const char *text)
{
	struct sink_message m = message(text);

	assert_int_equal(sink_put(s, &m), 0);
}

static void
assert_content(const char *file, const char *expected)
{
	char got[1024];
	FILE *f = fopen(file, "r");
	size_t n;

	assert_non_null(f);
	n = fread(got, 1, sizeof(got) - 1, f);
	got[n] = '\0';
	fclose(f);
	assert_string_equal(got, expected);
}

/* What a crash left behind the accounted length goes; what was there before stays. */
static void
test_cut(void **state)
{
	struct sink *s = sink_open(SINK_FILE, SINK_LINES, out_path);

	(void)state;
	assert_non_null(s);
	put(s, "one");
	assert_int_equal(sink_flush(s), 0);
	assert_int_equal(sink_bytes(s), 4);
	put(s, "two");
	sink_free(s);
	s = sink_open(SINK_FILE, SINK_LINES, out_path);
	assert_int_equal(sink_cut(s, 4), 0);
	put(s, "2");
	assert_int_equal(sink_flush(s), 0);
	assert_int_equal(sink_bytes(s), 6);
	assert_content(out_path, "one\n2\n");
	assert_int_equal(sink_cut(s, 7), ERR_STATE); /* shorter than accounted for: not ours */
	sink_free(s);
}

static void
test_json(void **state)
{
	struct sink_message m = message("\xff\xfe");
	struct sink *s;

	(void)state;
	unlink(out_path);
	s = sink_open(SINK_FILE, SINK_JSON, out_path);
	assert_int_equal(sink_put(s, &m), 0);
	put(s, "a\"b");
	assert_int_equal(sink_flush(s), 0);
	assert_content(out_path,
	    "{\"stream_id\":\"" A
	    "\",\"seq\":1,\"tenant_id\":\"t\",\"source_node\":\"s\",\"message_id\":\"m\","
	    "\"timestamp\":0,\"payload_base64\":\"//4=\"}\n"
	    "{\"stream_id\":\"" A
	    "\",\"seq\":1,\"tenant_id\":\"t\",\"source_node\":\"s\",\"message_id\":\"m\","
	    "\"timestamp\":0,\"payload\":\"a\\\"b\"}\n");
	sink_free(s);
}

static int
setup(void **state)
{
	(void)state;
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(path, sizeof(path), "%s/position", dir);
	snprintf(out_path, sizeof(out_path), "%s/out", dir);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	unlink(path);
	unlink(out_path);
	return rmdir(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_get),
	    cmocka_unit_test(test_no_memory),
	    cmocka_unit_test(test_file),
	    cmocka_unit_test(test_bad_text),
	    cmocka_unit_test(test_cut),
	    cmocka_unit_test(test_json),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
