/* log_line: see log_line.h. */
#include "common/os/log_line.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { LOG_LINE_TAIL_BYTES = 8 }; /* kept free for the quote, the brace, "..." and the newline */

void
log_line_init(struct log_line *l, bool readable)
{
	l->len = 0;
	l->readable = readable;
	l->cut = false;
}

static void
line_bytes(struct log_line *l, const char *data, size_t n)
{
	if (l->cut || l->len + n > sizeof(l->text) - LOG_LINE_TAIL_BYTES) {
		l->cut = true;
		return;
	}
	memcpy(l->text + l->len, data, n);
	l->len += n;
}

void
log_line_raw(struct log_line *l, const char *text)
{
	line_bytes(l, text, strlen(text));
}

/* Length of the valid UTF-8 sequence at s (RFC 3629: no overlong forms, no surrogates), or 0. */
static size_t
utf8_len(const unsigned char *s)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t n = s[0] < 0x80 ? 1 : s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : s[0] >= 0xc0 ? 2 : 0;
	uint32_t c;

	if (n <= 1)
		return n;
	c = s[0] & (0x7f >> n);
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	return c < 0xa0 ? 0 : n; /* C1 control characters drive terminals too */
}

static void
line_escape(struct log_line *l, unsigned char c)
{
	char text[8];

	if (!l->readable && c >= 0x80)
		snprintf(text, sizeof(text), "\\ufffd");
	else if (c == '\n')
		snprintf(text, sizeof(text), "\\n");
	else if (c == '\t')
		snprintf(text, sizeof(text), "\\t");
	else
		snprintf(text, sizeof(text), l->readable ? "\\x%02x" : "\\u%04x", c);
	log_line_raw(l, text);
}

void
log_line_text(struct log_line *l, const char *text)
{
	const unsigned char *s = (const unsigned char *)text;

	while (*s != '\0' && !l->cut) {
		size_t n = utf8_len(s);

		if (n == 0 || *s < 0x20 || *s == 0x7f) {
			line_escape(l, *s++);
			continue;
		}
		if (*s == '\\' || (*s == '"' && !l->readable))
			line_bytes(l, "\\", 1);
		line_bytes(l, (const char *)s, n);
		s += n;
	}
}

static bool
is_plain(const char *s)
{
	return s[0] != '\0' && strpbrk(s, " \"=") == NULL;
}

void
log_line_field(struct log_line *l, const char *key, const char *value)
{
	size_t mark = l->len;

	if (l->readable) {
		const char *quote = is_plain(value) ? "" : "\"";

		log_line_raw(l, " ");
		log_line_raw(l, key);
		log_line_raw(l, "=");
		log_line_raw(l, quote);
		log_line_text(l, value);
		log_line_raw(l, quote);
		return;
	}
	log_line_raw(l, ",\"");
	log_line_raw(l, key);
	log_line_raw(l, "\":\"");
	if (l->cut) {
		l->len = mark; /* no half a key */
		return;
	}
	log_line_text(l, value);
	if (l->cut) {
		memcpy(l->text + l->len, "...\"", 4);
		l->len += 4;
		return;
	}
	/* The closing quote may use the tail: it completes what fitted. */
	l->text[l->len++] = '"';
}

const char *
log_line_end(struct log_line *l)
{
	if (l->readable && l->cut) {
		memcpy(l->text + l->len, "...", 3);
		l->len += 3;
	}
	if (!l->readable)
		l->text[l->len++] = '}';
	l->text[l->len++] = '\n';
	return l->text;
}
