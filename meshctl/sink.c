/* sink: see sink.h. */
#include "meshctl/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/crypto.h"
#include "meshctl/api_json.h"
#include "meshctl/node_key.h"
#include "meshctl/out.h"
#include "meshctl/secfile.h"

enum { PATH_SIZE = 4096, BUFFER_BYTES = 256 * 1024 };

struct sink {
	enum sink_kind kind;
	enum sink_format format;
	char path[PATH_SIZE];
	FILE *file; /* SINK_STDOUT, SINK_FILE */
	uint64_t bytes;
};

static int
fail(const struct sink *s, const char *what)
{
	out_error("%s: %s", what, strerror(errno));
	(void)s;
	return ERR_IO;
}

static int
open_file(struct sink *s)
{
	int fd = open(s->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	off_t end = fd >= 0 ? lseek(fd, 0, SEEK_END) : -1;

	s->file = end >= 0 ? fdopen(fd, "w") : NULL;
	if (s->file == NULL) {
		(void)fail(s, s->path);
		if (fd >= 0)
			close(fd);
		return ERR_IO;
	}
	s->bytes = (uint64_t)end;
	(void)setvbuf(s->file, NULL, _IOFBF, BUFFER_BYTES);
	return secfile_sync_dir(s->path);
}

struct sink *
sink_open(enum sink_kind kind, enum sink_format format, const char *path)
{
	struct sink *s = mem_calloc(1, sizeof(*s));
	int r = 0;

	if (s == NULL) {
		out_error("out of memory");
		return NULL;
	}
	s->kind = kind;
	s->format = format;
	snprintf(s->path, sizeof(s->path), "%s", path != NULL ? path : "");
	if (kind == SINK_STDOUT)
		s->file = stdout;
	else if (kind == SINK_FILE)
		r = open_file(s);
	else if (kind == SINK_DIR)
		r = secfile_mkdir(path);
	if (r == 0)
		return s;
	sink_free(s);
	return NULL;
}

void
sink_free(struct sink *s)
{
	if (s != NULL && s->file != NULL && s->kind == SINK_FILE)
		fclose(s->file);
	mem_free(s);
}

int
sink_cut(struct sink *s, uint64_t len)
{
	if (s->kind != SINK_FILE)
		return 0;
	if (s->bytes < len) {
		out_error("%s has %" PRIu64 " bytes, but the resume file speaks of %" PRIu64
			  ": they don't belong together",
		    s->path, s->bytes, len);
		return ERR_STATE;
	}
	if (ftruncate(fileno(s->file), (off_t)len) != 0 || fseeko(s->file, (off_t)len, SEEK_SET) != 0)
		return fail(s, s->path);
	s->bytes = len;
	return 0;
}

static int
put_json(struct sink *s, const struct sink_message *m)
{
	json_t *o = json_pack("{s:s, s:I, s:s, s:s, s:s, s:I}", "stream_id", m->stream_id, "seq",
	    (json_int_t)m->seq, "tenant_id", m->tenant, "source_node", m->source, "message_id", m->message_id,
	    "timestamp", (json_int_t)m->timestamp_ms);
	char *encoded, digest[2 * CRYPTO_HASH_BYTES + 1];

	if (m->digest != NULL && m->digest_len <= CRYPTO_HASH_BYTES) {
		node_key_hex(digest, m->digest, m->digest_len);
		json_object_set_new(o, "digest", json_string(digest));
	}
	if (m->skipped > 0)
		json_object_set_new(o, "skipped", json_integer((json_int_t)m->skipped));
	api_json_payload(o, m->payload, m->len);
	encoded = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	if (encoded == NULL) {
		out_error("out of memory");
		return ERR_NOMEM;
	}
	s->bytes += strlen(encoded) + 1;
	fprintf(s->file, "%s\n", encoded);
	mem_free(encoded);
	return 0;
}

/* A message as a file: whole, or not there. */
static int
put_in_dir(const struct sink *s, const struct sink_message *m)
{
	char path[PATH_SIZE + 64];

	snprintf(path, sizeof(path), "%s/%s-%010" PRIu64, s->path, m->stream_id, m->seq);
	return secfile_write(path, m->payload, m->len, false, true);
}

int
sink_put(struct sink *s, const struct sink_message *m)
{
	if (s->kind == SINK_DISCARD)
		return 0;
	if (s->kind == SINK_DIR)
		return put_in_dir(s, m);
	if (s->format == SINK_JSON)
		return put_json(s, m);
	if (fwrite(m->payload, 1, m->len, s->file) != m->len ||
	    (s->format == SINK_LINES && fputc('\n', s->file) == EOF))
		return fail(s, s->kind == SINK_FILE ? s->path : "standard output");
	s->bytes += m->len + (s->format == SINK_LINES);
	return 0;
}

int
sink_flush(struct sink *s)
{
	if (s->file == NULL)
		return 0;
	if (fflush(s->file) != 0 || ferror(s->file))
		return fail(s, s->kind == SINK_FILE ? s->path : "standard output");
	if (s->kind == SINK_FILE && fdatasync(fileno(s->file)) != 0)
		return fail(s, s->path);
	return 0;
}

uint64_t
sink_bytes(const struct sink *s)
{
	return s->bytes;
}
