#include "transportd/core/tunnel.h"

#include <string.h>

#include "transportd/core/limits.h"

/* What the status line begins with; '#' is a digit. */
static const char status_line[] = "HTTP/1.# ###";

void
tunnel_init(struct tunnel *t)
{
	*t = (struct tunnel){.state = TUNNEL_STATUS};
}

static enum tunnel_state
status_byte(struct tunnel *t, uint8_t b)
{
	size_t at = t->seen - 1;
	char want = status_line[at];

	if (want == '#' ? b < '0' || b > '9' : b != (uint8_t)want)
		return TUNNEL_GARBAGE;
	/* The three behind the blank. */
	if (at > 8)
		t->status = t->status * 10 + (b - (uint8_t)'0');
	if (at + 2 < sizeof(status_line))
		return TUNNEL_STATUS;
	return t->status >= 200 && t->status < 300 ? TUNNEL_REASON : TUNNEL_REFUSED;
}

/* Lines end with CR LF, or with LF alone (RFC 9112 section 2.2). */
static enum tunnel_state
next(struct tunnel *t, uint8_t b)
{
	switch (t->state) {
	case TUNNEL_STATUS:
		return status_byte(t, b);
	case TUNNEL_REASON:
		/* "HTTP/1.1 2000" is none. */
		if (t->seen == sizeof(status_line) && memchr(" \r\n", b, 3) == NULL)
			return TUNNEL_GARBAGE;
		return b == '\n' ? TUNNEL_LINE : TUNNEL_REASON;
	case TUNNEL_LINE:
		return b == '\n' ? TUNNEL_OPEN : b == '\r' ? TUNNEL_LINE : TUNNEL_HEADER;
	case TUNNEL_HEADER:
		return b == '\n' ? TUNNEL_LINE : TUNNEL_HEADER;
	default:
		return t->state;
	}
}

size_t
tunnel_feed(struct tunnel *t, const uint8_t *data, size_t len)
{
	size_t used = 0;

	while (used < len && t->state < TUNNEL_OPEN) {
		if (t->seen++ == TUNNEL_ANSWER_MAX_BYTES)
			t->state = TUNNEL_GARBAGE;
		else
			t->state = next(t, data[used]);
		used++;
	}
	return used;
}
