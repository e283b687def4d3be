/* source: see source.h. */
#include "meshctl/source.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"

enum { READ_BYTES = 64 * 1024, MADE_HEADER = 24 };

struct source {
	struct source_conf conf;
	uint64_t next; /* words, made */
	struct buf in; /* read and not yet given out */
	size_t given;  /* bytes at its head that the last call lent */
	bool eof, waits;
	uint8_t *made;
};

struct source *
source_new(const struct source_conf *conf)
{
	struct source *s = mem_calloc(1, sizeof(*s));
	struct stat st;

	if (s == NULL)
		return NULL;
	s->conf = *conf;
	buf_init(&s->in, SOURCE_MESSAGE_MAX_BYTES + READ_BYTES);
	if (conf->kind == SOURCE_MADE) {
		s->made = mem_calloc(1, conf->piece_bytes + MADE_HEADER);
		if (s->made == NULL) {
			source_free(s);
			return NULL;
		}
	}
	if (conf->kind == SOURCE_LINES || conf->kind == SOURCE_PIECES)
		s->waits = fstat(conf->fd, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode);
	return s;
}

void
source_free(struct source *s)
{
	if (s == NULL)
		return;
	if ((s->conf.kind == SOURCE_LINES || s->conf.kind == SOURCE_PIECES) && s->conf.fd > 2)
		close(s->conf.fd);
	buf_fini(&s->in);
	mem_free(s->made);
	mem_free(s);
}

/* Reads once.  0, ERR_AGAIN, ERR_IO, ERR_NOMEM. */
static int
fill(struct source *s)
{
	struct pollfd p = {.fd = s->conf.fd, .events = POLLIN};
	uint8_t *room;
	ssize_t n;
	int r;

	/* Not O_NONBLOCK: that would change the terminal or pipe for those we share it with. */
	if (s->waits && poll(&p, 1, 0) == 0)
		return ERR_AGAIN;
	buf_compact(&s->in);
	r = buf_reserve(&s->in, READ_BYTES, &room);
	if (r != 0)
		return r;
	n = read(s->conf.fd, room, READ_BYTES);
	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? ERR_AGAIN : ERR_IO;
	buf_commit(&s->in, (size_t)n);
	s->eof = n == 0;
	return 0;
}

/* Lends the first len unread bytes, of which skip more are used up with them. */
static int
lend(struct source *s, size_t len, size_t skip, const uint8_t **data, size_t *out_len)
{
	*data = buf_head(&s->in);
	*out_len = len;
	s->given = len + skip;
	return 1;
}

static int
next_line(struct source *s, const uint8_t **data, size_t *len)
{
	size_t seen = 0;
	int r = 0;

	while (r == 0) {
		size_t left = buf_left(&s->in);
		const uint8_t *p = left > seen ? memchr(buf_head(&s->in) + seen, '\n', left - seen) : NULL;

		if (p != NULL)
			return lend(s, (size_t)(p - buf_head(&s->in)), 1, data, len);
		if (s->eof)
			return left > 0 ? lend(s, left, 0, data, len) : 0;
		if (left >= SOURCE_MESSAGE_MAX_BYTES)
			return ERR_LIMIT;
		seen = left;
		r = fill(s);
	}
	return r;
}

static int
next_piece(struct source *s, const uint8_t **data, size_t *len)
{
	int r = 0;

	while (r == 0) {
		size_t left = buf_left(&s->in);

		if (left >= s->conf.piece_bytes)
			return lend(s, s->conf.piece_bytes, 0, data, len);
		if (s->eof)
			return left > 0 ? lend(s, left, 0, data, len) : 0;
		r = fill(s);
	}
	return r;
}

/* "message 42 " and then a pattern that differs from message to message. */
static int
next_made(struct source *s, const uint8_t **data, size_t *len)
{
	int head;

	if (s->next == s->conf.count)
		return 0;
	s->next++;
	head = snprintf((char *)s->made, MADE_HEADER, "message %llu ", (unsigned long long)s->next);
	for (size_t i = (size_t)head; i < s->conf.piece_bytes; i++)
		s->made[i] = (uint8_t)('a' + (s->next + i) % 26);
	*data = s->made;
	*len = s->conf.piece_bytes;
	return 1;
}

int
source_next(struct source *s, const uint8_t **data, size_t *len)
{
	if (s->given > 0 && buf_skip(&s->in, s->given) != 0)
		return ERR_STATE;
	s->given = 0;
	switch (s->conf.kind) {
	case SOURCE_LINES:
		return next_line(s, data, len);
	case SOURCE_PIECES:
		return next_piece(s, data, len);
	case SOURCE_MADE:
		return next_made(s, data, len);
	case SOURCE_WORDS:
		break;
	}
	if (s->next == s->conf.count)
		return 0;
	*data = (const uint8_t *)s->conf.words[s->next];
	*len = strlen(s->conf.words[s->next++]);
	return 1;
}

int
source_fd(const struct source *s)
{
	return s->waits ? s->conf.fd : -1;
}
