/*
 * log_line: one line of log, built in fixed memory and escaped, in either of log.h's two forms.
 *
 * Nothing here writes or reads a clock.  Text that does not fit is cut, never the end of the line:
 * what log_line_end() returns is always complete (valid JSON, or one line without control characters).
 */
#ifndef COMMON_OS_LOG_LINE_H
#define COMMON_OS_LOG_LINE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/os/log.h"

struct log_line {
	char text[LOG_LINE_MAX_BYTES];
	size_t len;
	bool readable; /* for people; otherwise JSON */
	bool cut;
};

void log_line_init(struct log_line *l, bool readable);
/* Appends text of our own that needs no escaping. */
void log_line_raw(struct log_line *l, const char *text);
/* Appends foreign text: control characters, quotes (JSON) and invalid UTF-8 are escaped. */
void log_line_text(struct log_line *l, const char *text);
/* Appends ` key=value` or `,"key":"value"`. */
void log_line_field(struct log_line *l, const char *key, const char *value);
/* Closes the line; l->len counts its bytes with the newline.  Borrowed from l. */
const char *log_line_end(struct log_line *l);

#endif
