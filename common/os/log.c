/* log: see log.h. */
#include "common/os/log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/os/clock.h"
#include "common/os/log_line.h"
#include "common/os/metrics.h"

struct log_field {
	const char *key, *value;
};

static struct {
	char daemon[32];
	char node[64];
	enum log_level level;
	bool readable; /* standard error is a terminal */
	bool registered;
	uint64_t lost_told; /* of the lines lost, those that a later line has told of */
} lg = {.daemon = "mesh", .level = LOG_INFO};

static struct metric lost_lines =
    METRIC_COUNTER_INIT("mesh_log_lost_lines_total", "Log lines that standard error did not take.", NULL);

static const char *const level_names[LOG_LEVEL_COUNT] = {"error", "warning", "notice", "info", "debug"};

void
log_init(const char *daemon, const char *node)
{
	snprintf(lg.daemon, sizeof(lg.daemon), "%s", daemon);
	snprintf(lg.node, sizeof(lg.node), "%s", node != NULL ? node : "");
	lg.readable = isatty(STDERR_FILENO) == 1;
	/* Reads the time zone now: the file can't be opened in the sandbox. */
	tzset();
	if (!lg.registered)
		metrics_add(&lost_lines);
	lg.registered = true;
}

void
log_set_level(enum log_level level)
{
	lg.level = level;
}

bool
log_enabled(enum log_level level)
{
	return level <= lg.level;
}

int
log_level_parse(const char *text, enum log_level *out)
{
	for (unsigned i = 0; i < LOG_LEVEL_COUNT; i++) {
		if (strcmp(text, level_names[i]) == 0) {
			*out = (enum log_level)i;
			return 0;
		}
	}
	return -1;
}

const char *
log_level_name(enum log_level level)
{
	return (unsigned)level < LOG_LEVEL_COUNT ? level_names[level] : "?";
}

uint64_t
log_lost_count(void)
{
	return (uint64_t)lost_lines.value;
}

/* A pipe that polls writable takes PIPE_BUF bytes, which is a line's maximum, without blocking; and
 * making the descriptor non-blocking instead would do so for everybody who shares it. */
_Static_assert(LOG_LINE_MAX_BYTES <= 4096, "a line must fit PIPE_BUF");

static void
line_write(struct log_line *l)
{
	struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};
	const char *text = log_line_end(l);
	ssize_t n;

	if (poll(&p, 1, 0) != 1 || (p.revents & POLLOUT) == 0) {
		metric_inc(&lost_lines);
		return;
	}
	do
		n = write(STDERR_FILENO, text, l->len);
	while (n == -1 && errno == EINTR);
	if (n != (ssize_t)l->len)
		metric_inc(&lost_lines);
}

/* Without strftime(3), which may want to read the time zone again. */
static void
line_stamp(struct log_line *l)
{
	uint64_t us = clock_unix_us();
	time_t t = (time_t)(us / 1000000);
	unsigned frac = (unsigned)(us % 1000000);
	char text[96];
	struct tm tm;

	if (l->readable) {
		localtime_r(&t, &tm);
		snprintf(text, sizeof(text), "%02d:%02d:%02d.%03u ", tm.tm_hour, tm.tm_min, tm.tm_sec,
		    frac / 1000);
	} else {
		gmtime_r(&t, &tm);
		snprintf(text, sizeof(text), "{\"ts\":\"%04d-%02d-%02dT%02d:%02d:%02d.%06uZ\"",
		    tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, frac);
	}
	log_line_raw(l, text);
}

static void
line_head(struct log_line *l, enum log_level level)
{
	line_stamp(l);
	if (l->readable) {
		log_line_raw(l, level_names[level]);
		log_line_raw(l, " ");
		log_line_raw(l, lg.daemon);
		if (lg.node[0] != '\0') {
			log_line_raw(l, "@");
			log_line_text(l, lg.node);
		}
		log_line_raw(l, ": ");
		return;
	}
	log_line_field(l, "level", level_names[level]);
	log_line_field(l, "daemon", lg.daemon);
	if (lg.node[0] != '\0')
		log_line_field(l, "node", lg.node);
}

static void
line_fields(struct log_line *l, const struct log_ctx *ctx)
{
	const struct log_field fields[] = {
	    {"peer", ctx->peer},
	    {"stream_id", ctx->stream_id},
	    {"message_id", ctx->message_id},
	    {"raft_group", ctx->raft_group},
	    {"request", ctx->request},
	};

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (fields[i].value != NULL && fields[i].value[0] != '\0')
			log_line_field(l, fields[i].key, fields[i].value);
}

static void
line_emit(enum log_level level, const struct log_ctx *ctx, const char *text)
{
	struct log_line l;

	log_line_init(&l, lg.readable);
	line_head(&l, level);
	/* Fields come first in JSON, so that a long text is cut and not the correlation. */
	if (l.readable) {
		log_line_text(&l, text);
		if (ctx != NULL)
			line_fields(&l, ctx);
	} else {
		if (ctx != NULL)
			line_fields(&l, ctx);
		log_line_field(&l, "msg", text);
	}
	line_write(&l);
}

static void
lost_tell(void)
{
	uint64_t lost = log_lost_count();
	char text[96];

	snprintf(text, sizeof(text), "%llu log lines were lost: standard error is not being read",
	    (unsigned long long)(lost - lg.lost_told));
	line_emit(LOG_WARNING, NULL, text);
	if (log_lost_count() == lost)
		lg.lost_told = lost;
	else
		lost_lines.value = (int64_t)lost; /* this notice itself is not a lost line */
}

void
log_at(enum log_level level, const struct log_ctx *ctx, const char *fmt, ...)
{
	int saved = errno;
	char text[LOG_LINE_MAX_BYTES];
	va_list ap;

	if (!log_enabled(level))
		return;
	if (log_lost_count() > lg.lost_told)
		lost_tell();
	errno = saved;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	line_emit(level, ctx, text);
	errno = saved;
}
