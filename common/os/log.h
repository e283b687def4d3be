/*
 * log: structured logging of one process, to standard error.
 *
 * On a terminal a line reads "12:34:56.789 warning transportd: text key=value"; elsewhere it is one
 * JSON object {"ts","level","daemon","node","msg",fields…}.  A field is passed as a pair of key and
 * printf format.  Lines longer than LOG_LINE_MAX_BYTES are cut, values are escaped, and a writer
 * that cannot keep up loses lines (counted) rather than stopping the daemon.
 */
#ifndef COMMON_OS_LOG_H
#define COMMON_OS_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum { LOG_LINE_MAX_BYTES = 4096 };

enum log_level { LOG_ERROR, LOG_WARNING, LOG_NOTICE, LOG_INFO, LOG_DEBUG, LOG_LEVEL_COUNT };

/* Correlation fields; leave what does not apply zero or NULL.  All are borrowed for the call. */
struct log_ctx {
	const char *peer; /* node id or name of the other node, or the sibling's name */
	const char *stream_id;
	const char *message_id;
	const char *raft_group;
	const char *request; /* request id of an API call */
};

/* Names the process in each line.  May be called again when the node's name becomes known. */
void log_init(const char *daemon, const char *node);
void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);
/* LOG_ERROR for "error" … ; -1 (ERR_UNKNOWN is for cores) if there is no such level. */
int log_level_parse(const char *text, enum log_level *out);
const char *log_level_name(enum log_level level);

#define LOG_PRINTF(f, a) __attribute__((format(printf, f, a)))

/* The general form; ctx may be NULL. */
void log_at(enum log_level level, const struct log_ctx *ctx, const char *fmt, ...) LOG_PRINTF(3, 4);

#define log_error(...) log_at(LOG_ERROR, NULL, __VA_ARGS__)
#define log_warn(...) log_at(LOG_WARNING, NULL, __VA_ARGS__)
#define log_notice(...) log_at(LOG_NOTICE, NULL, __VA_ARGS__)
#define log_info(...) log_at(LOG_INFO, NULL, __VA_ARGS__)
#define log_debug(...) log_at(LOG_DEBUG, NULL, __VA_ARGS__)

/* Lines lost because standard error did not take them. */
uint64_t log_lost_count(void);

#endif
