/* json_scan: see json_scan.h. */
#include "consensusd/core/json_scan.h"

#include <stdint.h>
#include <string.h>

#include "common/base/err.h"

struct scan {
	const char *p, *end;
	unsigned depth;
	const char **why;
};

static int value(struct scan *s);

static int
wrong(struct scan *s, const char *why)
{
	*s->why = why;
	return ERR_SYNTAX;
}

static int
beyond(struct scan *s, const char *why)
{
	*s->why = why;
	return ERR_LIMIT;
}

static void
blanks(struct scan *s)
{
	while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
		s->p++;
}

/* Consumes this character if it is there. */
static bool
take(struct scan *s, char c)
{
	if (s->p == s->end || *s->p != c)
		return false;
	s->p++;
	return true;
}

/* ---- UTF-8 (RFC 3629) ---- */

/* Bytes of the character at p; 0: it is none. */
static size_t
utf8_char(const unsigned char *p, size_t left)
{
	size_t n = p[0] < 0x80   ? 1
		   : p[0] < 0xc2 ? 0
		   : p[0] < 0xe0 ? 2
		   : p[0] < 0xf0 ? 3
		   : p[0] < 0xf5 ? 4
				 : 0;

	if (n == 0 || n > left || p[0] == 0)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	/* Too long a form, a surrogate, above U+10FFFF. */
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
	    (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

size_t
json_scan_utf8(const char *text, size_t len)
{
	const unsigned char *p = (const unsigned char *)text;
	size_t at = 0, n;

	while (at < len && (n = utf8_char(p + at, len - at)) != 0)
		at += n;
	return at;
}

/* ---- strings ---- */

/* The four digits of \uXXXX. */
static int
hex4(struct scan *s, unsigned *out)
{
	*out = 0;
	if (s->end - s->p < 4)
		return wrong(s, "an escape \\u has four hexadecimal digits");
	for (int i = 0; i < 4; i++) {
		char c = *s->p++;
		unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
				 : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
				 : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10
							: 16;

		if (digit == 16)
			return wrong(s, "an escape \\u has four hexadecimal digits");
		*out = *out * 16 + digit;
	}
	return 0;
}

static int
unicode_escape(struct scan *s)
{
	unsigned high, low;
	int err = hex4(s, &high);

	if (err != 0)
		return err;
	if (high == 0)
		return wrong(s, "a string has a NUL (\\u0000)");
	if (high < 0xd800 || high > 0xdfff)
		return 0;
	if (high >= 0xdc00 || !take(s, '\\') || !take(s, 'u') || hex4(s, &low) != 0 || low < 0xdc00 ||
	    low > 0xdfff)
		return wrong(s, "a string has half a surrogate pair");
	return 0;
}

static int
escape(struct scan *s)
{
	if (take(s, 'u'))
		return unicode_escape(s);
	if (s->p == s->end || *s->p == '\0' || strchr("\"\\/bfnrt", *s->p) == NULL)
		return wrong(s, "a string has an unknown escape");
	s->p++;
	return 0;
}

/* Without its first quote, up to and with its last one. */
static int
string_rest(struct scan *s)
{
	while (s->p < s->end) {
		size_t n;
		int err;

		if (take(s, '"'))
			return 0;
		if (take(s, '\\')) {
			if ((err = escape(s)) != 0)
				return err;
			continue;
		}
		if ((unsigned char)*s->p < 0x20)
			return wrong(s, "a string has a control character that is not escaped");
		n = utf8_char((const unsigned char *)s->p, (size_t)(s->end - s->p));
		if (n == 0)
			return wrong(s, "a string is not UTF-8");
		s->p += n;
	}
	return wrong(s, "a string has no end");
}

/* ---- other values ---- */

static bool
digits(struct scan *s)
{
	const char *from = s->p;

	while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
		s->p++;
	return s->p > from;
}

static int
number(struct scan *s)
{
	bool well;

	(void)take(s, '-');
	well = take(s, '0') || digits(s);
	if (well && take(s, '.'))
		well = digits(s);
	if (well && (take(s, 'e') || take(s, 'E'))) {
		if (!take(s, '+'))
			(void)take(s, '-');
		well = digits(s);
	}
	return well ? 0 : wrong(s, "a value is malformed");
}

static int
literal(struct scan *s, const char *word)
{
	size_t n = strlen(word);

	if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0)
		return wrong(s, "a value is malformed");
	s->p += n;
	return 0;
}

static int
array_rest(struct scan *s)
{
	int err;

	blanks(s);
	if (take(s, ']'))
		return 0;
	for (;;) {
		if ((err = value(s)) != 0)
			return err;
		if (take(s, ']'))
			return 0;
		if (!take(s, ','))
			return wrong(s, "an array lacks ',' or ']'");
	}
}

/* A name and its value; fills in m. */
static int
member(struct scan *s, struct json_member *m)
{
	int err;

	blanks(s);
	if (!take(s, '"'))
		return wrong(s, "an object lacks a name");
	m->name = s->p;
	if ((err = string_rest(s)) != 0)
		return err;
	m->name_len = (size_t)(s->p - 1 - m->name);
	blanks(s);
	if (!take(s, ':'))
		return wrong(s, "an object lacks ':'");
	blanks(s);
	m->value = s->p;
	if ((err = value(s)) != 0)
		return err;
	m->value_len = (size_t)(s->p - m->value);
	while (m->value_len > 0 && strchr(" \t\n\r", m->value[m->value_len - 1]) != NULL)
		m->value_len--;
	return 0;
}

static int
object_add(struct scan *s, struct json_object *o, const struct json_member *m)
{
	if (json_object_find(o, m->name, m->name_len) != NULL)
		return wrong(s, "a name comes twice");
	if (o->count == JSON_SCAN_MEMBERS_MAX)
		return beyond(s, "an object has too many members");
	o->members[o->count++] = *m;
	return 0;
}

/* o: where to put its members; NULL: they are only checked. */
static int
object_rest(struct scan *s, struct json_object *o)
{
	struct json_member m;
	int err;

	blanks(s);
	if (take(s, '}'))
		return 0;
	for (;;) {
		err = member(s, &m);
		if (err == 0 && o != NULL)
			err = object_add(s, o, &m);
		if (err != 0)
			return err;
		if (take(s, '}'))
			return 0;
		if (!take(s, ','))
			return wrong(s, "an object lacks ',' or '}'");
	}
}

/* The depth that this recurs to is bounded. */
static int
nested(struct scan *s, int (*rest)(struct scan *s))
{
	int err;

	if (s->depth == JSON_SCAN_DEPTH_MAX)
		return beyond(s, "objects and arrays are nested too deeply");
	s->depth++;
	err = rest(s);
	s->depth--;
	return err;
}

static int
inner_object(struct scan *s)
{
	return object_rest(s, NULL);
}

/* A value and the blanks around it. */
static int
value(struct scan *s)
{
	int err;

	blanks(s);
	if (s->p == s->end)
		return wrong(s, "it ends too early");
	if (take(s, '"'))
		err = string_rest(s);
	else if (take(s, '{'))
		err = nested(s, inner_object);
	else if (take(s, '['))
		err = nested(s, array_rest);
	else if (*s->p == 't')
		err = literal(s, "true");
	else if (*s->p == 'f')
		err = literal(s, "false");
	else if (*s->p == 'n')
		err = literal(s, "null");
	else
		err = number(s);
	blanks(s);
	return err;
}

int
json_scan(const char *text, size_t len, struct json_object *out, const char **why)
{
	struct scan s = {.p = text, .end = text + len, .depth = 1, .why = why};
	int err;

	out->count = 0;
	if (len > JSON_SCAN_MAX_BYTES)
		return beyond(&s, "it is too large");
	blanks(&s);
	if (!take(&s, '{'))
		return wrong(&s, "it is no object");
	err = object_rest(&s, out);
	blanks(&s);
	if (err == 0 && s.p != s.end)
		err = wrong(&s, "something follows the object");
	return err;
}

const struct json_member *
json_object_find(const struct json_object *o, const char *name, size_t len)
{
	for (size_t i = 0; i < o->count; i++)
		if (o->members[i].name_len == len && memcmp(o->members[i].name, name, len) == 0)
			return &o->members[i];
	return NULL;
}

bool
json_member_is_null(const struct json_member *m)
{
	return m->value_len == 4 && memcmp(m->value, "null", 4) == 0;
}
