/* out: see out.h. */
#include "meshctl/out.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/base/mem.h"
#include "common/os/clock.h"
#include "meshctl/command.h"

enum { CELL_SIZE = 256 };

void
out_error(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("meshctl: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

void
out_json_line(const json_t *value)
{
	json_dumpf(value, stdout, JSON_COMPACT | JSON_ENCODE_ANY);
	fputc('\n', stdout);
	fflush(stdout);
}

static void
format_bytes(int64_t v, char *buf, size_t size)
{
	static const char *const units[] = {"B", "KB", "MB", "GB", "TB"};
	double d = (double)v;
	size_t u = 0;

	for (; d >= 1024 && u < 4; u++)
		d /= 1024;
	snprintf(buf, size, u == 0 ? "%.0f %s" : "%.1f %s", d, units[u]);
}

static void
format_ms(int64_t ms, char *buf, size_t size)
{
	int64_t s = ms / 1000;

	if (ms < 1000)
		snprintf(buf, size, "%" PRId64 " ms", ms);
	else if (s < 60)
		snprintf(buf, size, "%" PRId64 ".%" PRId64 " s", s, ms % 1000 / 100);
	else if (s < 3600)
		snprintf(buf, size, "%" PRId64 " min %" PRId64 " s", s / 60, s % 60);
	else if (s < 86400)
		snprintf(buf, size, "%" PRId64 " h %" PRId64 " min", s / 3600, s / 60 % 60);
	else
		snprintf(buf, size, "%" PRId64 " d %" PRId64 " h", s / 86400, s / 3600 % 24);
}

static void
format_us(int64_t us, char *buf, size_t size)
{
	double ms = (double)us / 1000;

	if (us < 10000)
		snprintf(buf, size, us < 1000 ? "%.2f ms" : "%.1f ms", ms);
	else if (us < 10000000)
		snprintf(buf, size, "%.0f ms", ms);
	else
		snprintf(buf, size, "%.1f s", ms / 1000);
}

static void
format_kbps(int64_t kbps, char *buf, size_t size)
{
	static const char *const units[] = {"kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"};
	double d = (double)kbps;
	size_t u = 0;

	for (; d >= 999.5 && u < 3; u++)
		d /= 1000;
	/* Three digits at least: 9.41 is more than 9. */
	snprintf(buf, size, u == 0 || d >= 100 ? "%.0f %s" : "%.1f %s", d, units[u]);
}

/* per: parts of the value that are one per cent. */
static void
format_percent(int64_t v, int64_t per, char *buf, size_t size)
{
	double d = (double)v / (double)per;

	if (v == 0 || d >= 10)
		snprintf(buf, size, "%.0f %%", d);
	else if (d < 0.1)
		snprintf(buf, size, "<0.1 %%");
	else
		snprintf(buf, size, "%.1f %%", d);
}

/* Short, for narrow columns. */
static void
format_span(int64_t ms, char *buf, size_t size)
{
	int64_t s = ms > 0 ? ms / 1000 : 0;

	if (s < 120)
		snprintf(buf, size, "%" PRId64 "s", s);
	else if (s < 7200)
		snprintf(buf, size, "%" PRId64 "m", s / 60);
	else if (s < 172800)
		snprintf(buf, size, "%" PRId64 "h", s / 3600);
	else
		snprintf(buf, size, "%" PRId64 "d", s / 86400);
}

static void
format_distance(enum column_kind kind, int64_t unix_ms, char *buf, size_t size)
{
	int64_t now = (int64_t)clock_unix_ms();

	if (unix_ms <= 0)
		snprintf(buf, size, "-");
	else if (kind == COLUMN_AGE_MS)
		format_span(now - unix_ms, buf, size);
	else if (unix_ms <= now)
		snprintf(buf, size, "ended");
	else
		format_span(unix_ms - now, buf, size);
}

static void
format_time(int64_t unix_ms, char *buf, size_t size)
{
	time_t t = (time_t)(unix_ms / 1000);
	struct tm tm;

	if (unix_ms <= 0 || localtime_r(&t, &tm) == NULL || strftime(buf, size, "%F %T", &tm) == 0)
		snprintf(buf, size, "-");
}

static void
format_list(const json_t *list, char *buf, size_t size)
{
	size_t used = 0, i;
	const json_t *item;

	snprintf(buf, size, "-");
	json_array_foreach (list, i, item) {
		int n = snprintf(buf + used, size - used, "%s%s", i > 0 ? ", " : "", json_string_value(item));

		if (n < 0 || (size_t)n >= size - used)
			return;
		used += (size_t)n;
	}
}

static void
format_number(enum column_kind kind, int64_t v, char *buf, size_t size)
{
	switch (kind) {
	case COLUMN_BYTES:
		format_bytes(v, buf, size);
		break;
	case COLUMN_MS:
		format_ms(v, buf, size);
		break;
	case COLUMN_SPAN_MS:
		if (v == 0)
			snprintf(buf, size, "-");
		else
			format_span(v, buf, size);
		break;
	case COLUMN_US:
		format_us(v, buf, size);
		break;
	case COLUMN_KBPS:
	case COLUMN_RATE:
		if (v == 0 && kind == COLUMN_KBPS)
			snprintf(buf, size, "-");
		else
			format_kbps(v, buf, size);
		break;
	case COLUMN_PPM:
		format_percent(v, 10000, buf, size);
		break;
	case COLUMN_PERMILLE:
		format_percent(v, 10, buf, size);
		break;
	case COLUMN_AGE_MS:
	case COLUMN_LEFT_MS:
		format_distance(kind, v, buf, size);
		break;
	case COLUMN_TIME_MS:
		format_time(v, buf, size);
		break;
	default:
		snprintf(buf, size, "%" PRId64, v);
	}
}

const char *
out_format(enum column_kind kind, const json_t *value, char *buf, size_t size)
{
	if (json_is_string(value))
		snprintf(buf, size, "%s", json_string_length(value) > 0 ? json_string_value(value) : "-");
	else if (json_is_integer(value))
		format_number(kind, json_integer_value(value), buf, size);
	else if (json_is_boolean(value))
		snprintf(buf, size, "%s", json_is_true(value) ? "yes" : "no");
	else if (json_is_array(value))
		format_list(value, buf, size);
	else
		snprintf(buf, size, "-");
	/* Names come from other nodes: nothing of them may act on the terminal. */
	for (char *p = buf; *p != '\0'; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	return buf;
}

/* The colour of a state word: green, yellow, red. */
static const char *
state_color(const char *word)
{
	static const char *const good[] = {"ok", "running", "alive", "up", "open", "yes", NULL};
	static const char *const bad[] = {"down", "unreachable", "dead", "refused", "failed", NULL};

	for (const char *const *p = good; *p != NULL; p++)
		if (strcmp(word, *p) == 0)
			return "\033[32m";
	for (const char *const *p = bad; *p != NULL; p++)
		if (strcmp(word, *p) == 0)
			return "\033[31m";
	return "\033[33m";
}

/* Columns a terminal needs for the text: UTF-8 continuation bytes take none. */
static size_t
width_of(const char *text)
{
	size_t n = 0;

	for (; *text != '\0'; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

static bool
right_aligned(enum column_kind kind)
{
	return kind == COLUMN_COUNT || (kind >= COLUMN_BYTES && kind <= COLUMN_LEFT_MS);
}

static void
print_cell(const struct ctl *ctl, enum column_kind kind, const char *text, size_t width, bool last)
{
	size_t have = width_of(text);
	int pad = width > have ? (int)(width - have) : 0;
	bool colored = ctl->color && kind == COLUMN_STATE && strcmp(text, "-") != 0;

	if (right_aligned(kind))
		printf("%*s", pad, "");
	printf("%s%s%s", colored ? state_color(text) : "", text, colored ? "\033[0m" : "");
	if (!right_aligned(kind) && !last)
		printf("%*s", pad, "");
	fputs(last ? "\n" : "  ", stdout);
}

static void
measure(const struct column *columns, size_t count, const json_t *rows, size_t *width)
{
	char cell[CELL_SIZE];
	const json_t *row;
	size_t i;

	for (size_t c = 0; c < count; c++)
		width[c] = width_of(columns[c].title);
	json_array_foreach (rows, i, row)
		for (size_t c = 0; c < count; c++) {
			size_t w = width_of(out_format(
			    columns[c].kind, json_object_get(row, columns[c].key), cell, sizeof(cell)));

			if (w > width[c])
				width[c] = w;
		}
}

static void
print_table(
    const struct ctl *ctl, const struct column *columns, size_t count, const json_t *rows, size_t *width)
{
	char cell[CELL_SIZE];
	const json_t *row;
	size_t i;

	measure(columns, count, rows, width);
	if (ctl->color)
		fputs("\033[1m", stdout);
	for (size_t c = 0; c < count; c++)
		print_cell(ctl, columns[c].kind == COLUMN_STATE ? COLUMN_TEXT : columns[c].kind,
		    columns[c].title, width[c], c + 1 == count);
	if (ctl->color)
		fputs("\033[0m", stdout);
	json_array_foreach (rows, i, row)
		for (size_t c = 0; c < count; c++)
			print_cell(ctl, columns[c].kind,
			    out_format(
				columns[c].kind, json_object_get(row, columns[c].key), cell, sizeof(cell)),
			    width[c], c + 1 == count);
}

void
out_table(
    const struct ctl *ctl, const struct column *columns, size_t count, const json_t *rows, const char *none)
{
	size_t *width;

	if (ctl->json) {
		json_dumpf(rows, stdout, JSON_INDENT(2));
		fputc('\n', stdout);
		return;
	}
	if (json_array_size(rows) == 0) {
		printf("%s\n", none);
		return;
	}
	width = mem_calloc(count, sizeof(*width));
	if (width == NULL) {
		out_error("out of memory");
		return;
	}
	print_table(ctl, columns, count, rows, width);
	mem_free(width);
}

void
out_fields(const struct ctl *ctl, const struct column *columns, size_t count, const json_t *object)
{
	char cell[CELL_SIZE];
	size_t width = 0;

	if (ctl->json) {
		json_dumpf(object, stdout, JSON_INDENT(2));
		fputc('\n', stdout);
		return;
	}
	for (size_t c = 0; c < count; c++)
		if (width_of(columns[c].title) > width)
			width = width_of(columns[c].title);
	for (size_t c = 0; c < count; c++) {
		print_cell(ctl, COLUMN_TEXT, columns[c].title, width, false);
		out_format(columns[c].kind, json_object_get(object, columns[c].key), cell, sizeof(cell));
		print_cell(ctl, columns[c].kind, cell, 0, true);
	}
}
