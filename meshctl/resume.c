/* resume: see resume.h. */
#include "meshctl/resume.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "meshctl/out.h"
#include "meshctl/secfile.h"

#define HEADER "mesh-resume 1\n"

enum { LINE_MAX_BYTES = 64, FILE_MAX_BYTES = 256 + RESUME_STREAMS_MAX * LINE_MAX_BYTES };

_Static_assert((int)FILE_MAX_BYTES <= (int)SECFILE_MAX_BYTES, "what is written can be read");

void
resume_init(struct resume *r)
{
	memset(r, 0, sizeof(*r));
}

void
resume_fini(struct resume *r)
{
	mem_free(r->streams);
	resume_init(r);
}

struct resume_stream *
resume_get(struct resume *r, const char *stream_id)
{
	/* The last one first: messages of one stream come in runs. */
	for (size_t i = r->count; i > 0; i--)
		if (strcmp(r->streams[i - 1].stream_id, stream_id) == 0)
			return &r->streams[i - 1];
	if (r->count == RESUME_STREAMS_MAX || strlen(stream_id) >= ULID_TEXT_SIZE)
		return NULL;
	if (r->count == r->cap) {
		size_t cap = r->cap == 0 ? 16 : r->cap * 2;
		struct resume_stream *streams = mem_reallocarray(r->streams, cap, sizeof(*streams));

		if (streams == NULL)
			return NULL;
		r->streams = streams;
		r->cap = cap;
	}
	r->streams[r->count] = (struct resume_stream){0};
	memcpy(r->streams[r->count].stream_id, stream_id, strlen(stream_id) + 1);
	return &r->streams[r->count++];
}

/* Digits up to a newline. */
static int
parse_number(const char **p, uint64_t *out)
{
	uint64_t v = 0;
	const char *start = *p;

	while (**p >= '0' && **p <= '9') {
		uint64_t digit = (uint64_t)(**p - '0');

		if (v > (UINT64_MAX - digit) / 10)
			return ERR_FORMAT;
		v = v * 10 + digit;
		(*p)++;
	}
	if (*p == start || *(*p)++ != '\n')
		return ERR_FORMAT;
	*out = v;
	return 0;
}

static int
parse_stream(struct resume *r, const char **p)
{
	char id[ULID_TEXT_SIZE];
	struct resume_stream *s;
	struct ulid parsed;
	size_t n = strcspn(*p, " \n");

	if (n != ULID_TEXT_SIZE - 1 || (*p)[n] != ' ')
		return ERR_FORMAT;
	memcpy(id, *p, n);
	id[n] = '\0';
	*p += n + 1;
	if (ulid_parse(id, &parsed) != 0)
		return ERR_FORMAT;
	s = resume_get(r, id);
	return s != NULL ? parse_number(p, &s->seq) : ERR_LIMIT;
}

int
resume_parse(struct resume *r, const char *text)
{
	const char *p = text;
	int err;

	if (strncmp(p, HEADER, strlen(HEADER)) != 0)
		return ERR_FORMAT;
	p += strlen(HEADER);
	if (strncmp(p, "output ", 7) != 0)
		return ERR_FORMAT;
	p += 7;
	err = parse_number(&p, &r->output_bytes);
	while (err == 0 && *p != '\0')
		err = parse_stream(r, &p);
	return err;
}

int
resume_load(struct resume *r, const char *path)
{
	char *text;
	size_t len;
	int err;

	if (access(path, F_OK) != 0)
		return 0;
	err = secfile_read(path, &text, &len);
	if (err != 0)
		return err;
	err = strlen(text) == len ? resume_parse(r, text) : ERR_FORMAT;
	if (err != 0)
		out_error("%s: not a resume file of meshctl", path);
	secfile_free(text, len);
	return err;
}

int
resume_save(const struct resume *r, const char *path)
{
	char line[LINE_MAX_BYTES];
	struct buf b;
	int err, n;

	buf_init(&b, FILE_MAX_BYTES);
	n = snprintf(line, sizeof(line), HEADER "output %" PRIu64 "\n", r->output_bytes);
	err = buf_put_bytes(&b, line, (size_t)n);
	for (size_t i = 0; err == 0 && i < r->count; i++) {
		n = snprintf(
		    line, sizeof(line), "%s %" PRIu64 "\n", r->streams[i].stream_id, r->streams[i].seq);
		err = buf_put_bytes(&b, line, (size_t)n);
	}
	if (err == 0)
		err = secfile_write(path, buf_head(&b), buf_left(&b), false, true);
	else
		out_error("%s: %s", path, err_text(err));
	buf_fini(&b);
	return err;
}
