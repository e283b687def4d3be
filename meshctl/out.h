/*
 * out: what meshctl prints.  A command makes its data once, as JSON values; text and JSON are two
 * printers over it.
 */
#ifndef MESHCTL_OUT_H
#define MESHCTL_OUT_H

#include <jansson.h>
#include <stddef.h>

struct ctl;

enum column_kind {
	COLUMN_TEXT,
	COLUMN_COUNT, /* a number */
	/* Quantities: right-aligned, as counts are. */
	COLUMN_BYTES,    /* 1536 -> 1.5 KB */
	COLUMN_MS,       /* a duration in milliseconds: 3 min 20 s */
	COLUMN_SPAN_MS,  /* the same, short: 45s 12m 2h 3d; 0: "-" */
	COLUMN_US,       /* a latency in microseconds: 0.75 ms, 1.2 ms, 40 ms */
	COLUMN_RATE,     /* kbit/s: 940000 -> 940 Mbit/s */
	COLUMN_KBPS,     /* the same, but 0 is not known: "-" */
	COLUMN_PPM,      /* parts per million: 0.5 % */
	COLUMN_PERMILLE, /* 12 % */
	COLUMN_AGE_MS,   /* Unix milliseconds: how long ago, short: 45s 12m 2h 3d */
	COLUMN_LEFT_MS,  /* Unix milliseconds: how long until then; "ended"; 0: "-" */
	COLUMN_TIME_MS,  /* Unix milliseconds -> local date and time */
	COLUMN_STATE,    /* a word, coloured by what it means */
	COLUMN_YESNO,
	COLUMN_LIST, /* an array of strings, joined */
};

/* One column of a table, or one line of a list of fields. */
struct column {
	const char *title;
	const char *key; /* in the JSON object; absent or null prints "-" */
	enum column_kind kind;
};

/* Prints an array of objects as table, or as it is with -j.  none: the text for an empty one. */
void out_table(
    const struct ctl *ctl, const struct column *columns, size_t count, const json_t *rows, const char *none);
/* Prints an object as aligned "Title  value" lines, or as it is with -j. */
void out_fields(const struct ctl *ctl, const struct column *columns, size_t count, const json_t *object);
/* One JSON value on one line (with -j in commands that print as they go). */
void out_json_line(const json_t *value);
/* A value as its column shows it.  Returns buf. */
const char *out_format(enum column_kind kind, const json_t *value, char *buf, size_t size);

/* "meshctl: text" on standard error. */
void out_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
