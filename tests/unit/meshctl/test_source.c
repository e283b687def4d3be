/* Messages from words, lines, pieces and thin air; and the percentiles of their latencies. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "meshctl/samples.h"
#include "meshctl/source.h"

/* A descriptor from which text can be read: of a file, or of a pipe whose end is open. */
static int
file_with(const void *text, size_t len)
{
	FILE *f = tmpfile();
	int fd;

	assert_int_equal(fwrite(text, 1, len, f), len);
	assert_int_equal(fflush(f), 0);
	fd = dup(fileno(f));
	fclose(f);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

static void
expect(struct source *s, const char *text)
{
	const uint8_t *data;
	size_t len;

	assert_int_equal(source_next(s, &data, &len), 1);
	assert_int_equal(len, strlen(text));
	assert_memory_equal(data, text, len);
}

static void
expect_end(struct source *s, int err)
{
	const uint8_t *data;
	size_t len;

	assert_int_equal(source_next(s, &data, &len), err);
}

static void
test_words(void **state)
{
	const char *words[] = {"one", "", "three"};
	struct source_conf conf = {.kind = SOURCE_WORDS, .words = words, .count = 3, .fd = -1};
	struct source *s = source_new(&conf);

	(void)state;
	expect(s, "one");
	expect(s, "");
	expect(s, "three");
	expect_end(s, 0);
	expect_end(s, 0);
	source_free(s);
}

static void
test_lines(void **state)
{
	struct source_conf conf = {.kind = SOURCE_LINES, .fd = file_with("a\n\nb\nlast", 9)};
	struct source *s = source_new(&conf);

	(void)state;
	assert_int_equal(source_fd(s), -1);
	expect(s, "a");
	expect(s, "");
	expect(s, "b");
	expect(s, "last");
	expect_end(s, 0);
	source_free(s);
}

static void
test_lines_of_a_pipe(void **state)
{
	struct source_conf conf = {.kind = SOURCE_LINES};
	struct source *s;
	int fd[2];

	(void)state;
	assert_int_equal(pipe(fd), 0);
	conf.fd = fd[0];
	s = source_new(&conf);
	assert_int_equal(source_fd(s), fd[0]);
	expect_end(s, ERR_AGAIN);
	assert_int_equal(write(fd[1], "one\ntw", 6), 6);
	expect(s, "one");
	expect_end(s, ERR_AGAIN);
	assert_int_equal(write(fd[1], "o\n", 2), 2);
	close(fd[1]);
	expect(s, "two");
	expect_end(s, 0);
	source_free(s);
}

static void
test_long_lines(void **state)
{
	size_t len = SOURCE_MESSAGE_MAX_BYTES;
	char *text = malloc(len + 2);
	struct source_conf conf = {.kind = SOURCE_LINES};
	const uint8_t *data;
	struct source *s;
	size_t got;

	(void)state;
	memset(text, 'x', len + 1);
	text[len - 1] = '\n';
	text[len + 1] = '\n';
	conf.fd = file_with(text, len + 2);
	s = source_new(&conf);
	assert_int_equal(source_next(s, &data, &got), 1);
	assert_int_equal(got, len - 1);
	source_free(s);
	text[len - 1] = 'x';
	conf.fd = file_with(text, len + 2);
	s = source_new(&conf);
	expect_end(s, ERR_LIMIT);
	source_free(s);
	free(text);
}

static void
test_pieces(void **state)
{
	struct source_conf conf = {
	    .kind = SOURCE_PIECES, .piece_bytes = 4, .fd = file_with("abcdefghij", 10)};
	struct source *s = source_new(&conf);

	(void)state;
	expect(s, "abcd");
	expect(s, "efgh");
	expect(s, "ij");
	expect_end(s, 0);
	source_free(s);
}

static void
test_made(void **state)
{
	struct source_conf conf = {.kind = SOURCE_MADE, .count = 2, .piece_bytes = 20, .fd = -1};
	struct source *s = source_new(&conf);
	const uint8_t *data;
	char first[20];
	size_t len;

	(void)state;
	assert_int_equal(source_next(s, &data, &len), 1);
	assert_int_equal(len, 20);
	memcpy(first, data, 20);
	assert_memory_equal(first, "message 1 ", 10);
	assert_int_equal(source_next(s, &data, &len), 1);
	assert_memory_not_equal(first, data, 20);
	expect_end(s, 0);
	source_free(s);
}

static void
test_no_memory(void **state)
{
	struct source_conf conf = {.kind = SOURCE_MADE, .count = 2, .piece_bytes = 20, .fd = -1};

	(void)state;
	for (unsigned long k = 1; k <= 2; k++) {
		mem_fail_at(k);
		assert_null(source_new(&conf));
		mem_fail_at(0);
	}
}

static void
test_percentiles(void **state)
{
	struct samples s;

	(void)state;
	samples_init(&s);
	assert_int_equal(samples_get(&s, 500), 0);
	for (int i = 1000; i > 0; i--)
		samples_add(&s, i);
	assert_int_equal(samples_get(&s, 500), 500);
	assert_int_equal(samples_get(&s, 990), 990);
	assert_int_equal(samples_get(&s, 1000), 1000);
	assert_int_equal(samples_get(&s, 0), 1);
	samples_add(&s, -5);
	assert_int_equal(samples_get(&s, 0), 0);
	samples_fini(&s);
}

static void
test_reservoir(void **state)
{
	struct samples s;

	(void)state;
	samples_init(&s);
	for (int i = 0; i < 3 * SAMPLES_MAX; i++)
		samples_add(&s, i);
	assert_int_equal(s.count, SAMPLES_MAX);
	assert_true(samples_get(&s, 500) > SAMPLES_MAX && samples_get(&s, 500) < 2 * SAMPLES_MAX);
	samples_fini(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_words),
	    cmocka_unit_test(test_lines),
	    cmocka_unit_test(test_lines_of_a_pipe),
	    cmocka_unit_test(test_long_lines),
	    cmocka_unit_test(test_pieces),
	    cmocka_unit_test(test_made),
	    cmocka_unit_test(test_no_memory),
	    cmocka_unit_test(test_percentiles),
	    cmocka_unit_test(test_reservoir),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
