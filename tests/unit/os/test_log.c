/* log: lines in both forms, escaping, cutting, and a reader that does not read. */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/os/log.h"
#include "common/os/log_line.h"

static const char *
text_of(struct log_line *l, bool readable, const char *text)
{
	log_line_init(l, readable);
	log_line_text(l, text);
	l->text[l->len] = '\0';
	return l->text;
}

static void
test_escape(void **state)
{
	static const struct {
		const char *in, *json, *readable;
	} rows[] = {
	    {"plain text", "plain text", "plain text"},
	    {"a\"b\\c", "a\\\"b\\\\c", "a\"b\\\\c"},
	    {"line\nbreak\ttab\r", "line\\nbreak\\ttab\\u000d", "line\\nbreak\\ttab\\x0d"},
	    {"\x1b[2J\x7f", "\\u001b[2J\\u007f", "\\x1b[2J\\x7f"},
	    {"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80",
		"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80",
		"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80"},
	    {"\xc3(", "\\ufffd(", "\\xc3("},                              /* cut short */
	    {"\xc0\x80", "\\ufffd\\ufffd", "\\xc0\\x80"},                 /* overlong */
	    {"\xed\xa0\x80", "\\ufffd\\ufffd\\ufffd", "\\xed\\xa0\\x80"}, /* surrogate */
	    {"\xf4\x90\x80\x80", "\\ufffd\\ufffd\\ufffd\\ufffd", "\\xf4\\x90\\x80\\x80"},
	    {"\xc2\x9b", "\\ufffd\\ufffd", "\\xc2\\x9b"}, /* C1: CSI */
	    {"\xff", "\\ufffd", "\\xff"},
	};
	struct log_line l;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		assert_string_equal(text_of(&l, false, rows[i].in), rows[i].json);
		assert_string_equal(text_of(&l, true, rows[i].in), rows[i].readable);
	}
}

static void
test_fields(void **state)
{
	struct log_line l;

	(void)state;
	log_line_init(&l, false);
	log_line_raw(&l, "{\"a\":1");
	log_line_field(&l, "peer", "b \"c\"");
	log_line_end(&l);
	assert_memory_equal(l.text, "{\"a\":1,\"peer\":\"b \\\"c\\\"\"}\n", l.len);
	log_line_init(&l, true);
	log_line_raw(&l, "text");
	log_line_field(&l, "peer", "b");
	log_line_field(&l, "why", "two words");
	log_line_end(&l);
	assert_memory_equal(l.text, "text peer=b why=\"two words\"\n", l.len);
}

/* However long the text and the field: one complete line within the limit. */
static void
test_cut(void **state)
{
	char text[2 * LOG_LINE_MAX_BYTES];
	struct log_line l;

	(void)state;
	for (size_t n = LOG_LINE_MAX_BYTES - 80; n < LOG_LINE_MAX_BYTES + 20; n++) {
		memset(text, n % 2 ? 'x' : '"', n);
		text[n] = '\0';
		log_line_init(&l, false);
		log_line_raw(&l, "{\"a\":1");
		log_line_field(&l, "one", "1");
		log_line_field(&l, "msg", text);
		log_line_field(&l, "two", "2");
		log_line_end(&l);
		assert_true(l.len <= LOG_LINE_MAX_BYTES);
		assert_memory_equal(l.text + l.len - 3, "\"}\n", 3);
		log_line_init(&l, true);
		log_line_text(&l, text);
		log_line_field(&l, "two", "2");
		log_line_end(&l);
		assert_true(l.len <= LOG_LINE_MAX_BYTES);
		assert_int_equal(l.text[l.len - 1], '\n');
	}
}

struct capture {
	int saved, pipe[2];
};

static void
capture_begin(struct capture *c)
{
	fflush(stderr);
	c->saved = dup(STDERR_FILENO);
	assert_int_equal(pipe2(c->pipe, O_CLOEXEC | O_NONBLOCK), 0);
	/* what the log writes to may well be blocking: */
	assert_int_equal(fcntl(c->pipe[1], F_SETFL, 0), 0);
	assert_true(dup2(c->pipe[1], STDERR_FILENO) != -1);
}

static void
capture_end(struct capture *c)
{
	dup2(c->saved, STDERR_FILENO);
	close(c->saved);
	close(c->pipe[0]);
	close(c->pipe[1]);
}

static void
test_line(void **state)
{
	const struct log_ctx ctx = {.peer = "b", .stream_id = "s", .message_id = "", .request = "r\n"};
	char text[LOG_LINE_MAX_BYTES + 1];
	struct capture c;
	ssize_t n;

	(void)state;
	capture_begin(&c);
	log_init("testd", "node-a");
	log_at(LOG_WARNING, &ctx, "%d %s", 7, "apples");
	log_debug("not at this level");
	n = read(c.pipe[0], text, sizeof(text) - 1);
	capture_end(&c);
	assert_true(n > 30);
	text[n] = '\0';
	assert_memory_equal(text, "{\"ts\":\"2", 8);
	assert_string_equal(strchr(text, 'Z'),
	    "Z\",\"level\":\"warning\",\"daemon\":\"testd\",\"node\":\"node-a\",\"peer\":\"b\","
	    "\"stream_id\":\"s\",\"request\":\"r\\n\",\"msg\":\"7 apples\"}\n");
}

/* Nobody reads: the daemon goes on, lines are counted, and the next one that gets through says so. */
static void
test_lost(void **state)
{
	char text[LOG_LINE_MAX_BYTES];
	struct capture c;
	uint64_t lost;
	bool told = false;
	ssize_t n;

	(void)state;
	capture_begin(&c);
	for (int i = 0; i < 2000; i++)
		log_warn("%0100d", i);
	lost = log_lost_count();
	while (read(c.pipe[0], text, sizeof(text)) > 0)
		continue;
	log_warn("after");
	while ((n = read(c.pipe[0], text, sizeof(text) - 1)) > 0) {
		text[n] = '\0';
		told = told || strstr(text, "log lines were lost") != NULL;
	}
	capture_end(&c);
	assert_true(lost > 1000);
	assert_true(told);
	assert_true(log_lost_count() == lost);
}

static void
test_levels(void **state)
{
	enum log_level level;

	(void)state;
	for (unsigned i = 0; i < LOG_LEVEL_COUNT; i++) {
		assert_int_equal(log_level_parse(log_level_name((enum log_level)i), &level), 0);
		assert_int_equal(level, i);
	}
	assert_int_equal(log_level_parse("loud", &level), -1);
	log_set_level(LOG_NOTICE);
	assert_true(log_enabled(LOG_NOTICE));
	assert_false(log_enabled(LOG_INFO));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_escape),
	    cmocka_unit_test(test_fields),
	    cmocka_unit_test(test_cut),
	    cmocka_unit_test(test_line),
	    cmocka_unit_test(test_lost),
	    cmocka_unit_test(test_levels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
