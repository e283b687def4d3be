/*
 * reflection: see reflection.h.
 *
 * v1 and v1alpha are the same on the wire, so one handler serves both.  What is asked and not there is
 * answered inside the stream, which goes on (grpc/reflection/v1/reflection.proto).
 */
#include "gatewayd/reflection.h"

#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "gatewayd/call.h"
#include "gatewayd/core/descriptor_index.h"
#include "gatewayd/core/wire.h"
#include "gatewayd/descriptors.h"

enum { REQ_HOST = 1, REQ_FILE = 3, REQ_SYMBOL = 4, REQ_EXTENSION = 5, REQ_EXTENSIONS_OF = 6, REQ_LIST = 7 };
enum { RES_HOST = 1, RES_REQUEST = 2, RES_FILES = 4, RES_EXTENSIONS = 5, RES_LIST = 6, RES_ERROR = 7 };
enum {
	FILES_FILE = 1,
	EXTENSIONS_TYPE = 1,
	LIST_SERVICE = 1,
	SERVICE_NAME = 1,
	ERROR_CODE = 1,
	ERROR_TEXT = 2
};
enum { FILES_MAX = 16, ANSWER_MAX_BYTES = 256 * 1024 };

/* The part of an answer that depends on the question is built in part, then wrapped. */
struct answer {
	struct buf part;
	uint32_t field; /* of ServerReflectionResponse that part is */
	struct descriptor_file files[FILES_MAX];
	size_t file_count;
};

static int
answer_error(struct answer *a, enum grpc_status code, const char *what, const struct wire_field *q)
{
	char text[256];
	int rc;

	snprintf(
	    text, sizeof(text), "%s: %.*s", what, (int)(q->len < 128 ? q->len : 128), (const char *)q->data);
	buf_reset(&a->part);
	a->field = RES_ERROR;
	rc = wire_put_varint(&a->part, ERROR_CODE, code);
	return rc != 0 ? rc : wire_put_str(&a->part, ERROR_TEXT, text);
}

static int files_add(struct answer *a, const struct descriptor_file *file);

static int
import_add(void *arg, const char *name, size_t len)
{
	struct descriptor_file file;
	int rc = descriptor_by_name(descriptors, descriptors_len, name, len, &file);

	return rc == 1 ? files_add(arg, &file) : rc;
}

/* A file and all that it imports, each once. */
static int
files_add(struct answer *a, const struct descriptor_file *file)
{
	for (size_t i = 0; i < a->file_count; i++)
		if (a->files[i].data == file->data)
			return 0;
	if (a->file_count == FILES_MAX)
		return ERR_LIMIT;
	a->files[a->file_count++] = *file;
	return descriptor_imports(file, import_add, a);
}

/* found: what the look-up returned. */
static int
answer_files(struct answer *a, int found, const struct descriptor_file *file, const struct wire_field *q)
{
	int rc;

	if (found == 0)
		return answer_error(a, GRPC_NOT_FOUND,
		    q->number == REQ_FILE ? "there is no such file" : "there is no such symbol", q);
	if (found < 0 || (rc = files_add(a, file)) != 0)
		return found < 0 ? found : rc;
	a->field = RES_FILES;
	for (size_t i = 0; i < a->file_count; i++)
		if ((rc = wire_put_bytes(&a->part, FILES_FILE, a->files[i].data, a->files[i].len)) != 0)
			return rc;
	return 0;
}

static int
service_add(void *arg, const char *name, size_t len)
{
	uint8_t mem[512];
	struct buf b;
	int rc;

	buf_init_fixed(&b, mem, sizeof(mem));
	if ((rc = wire_put_bytes(&b, SERVICE_NAME, name, len)) != 0)
		return rc;
	return wire_put_bytes(arg, LIST_SERVICE, buf_head(&b), buf_left(&b));
}

/* No message here can be extended: the list is empty if the type exists. */
static int
answer_extensions(struct answer *a, int found, const struct wire_field *q)
{
	if (found != 1)
		return found < 0 ? found : answer_error(a, GRPC_NOT_FOUND, "there is no such type", q);
	a->field = RES_EXTENSIONS;
	return wire_put_bytes(&a->part, EXTENSIONS_TYPE, q->data, q->len);
}

static int
answer_question(struct answer *a, const struct wire_field *q)
{
	const char *text = (const char *)q->data;
	struct descriptor_file file;
	int found;

	switch (q->number) {
	case REQ_FILE:
		found = descriptor_by_name(descriptors, descriptors_len, text, q->len, &file);
		return answer_files(a, found, &file, q);
	case REQ_SYMBOL:
		found = descriptor_by_symbol(descriptors, descriptors_len, text, q->len, &file);
		return answer_files(a, found, &file, q);
	case REQ_EXTENSIONS_OF:
		found = descriptor_by_symbol(descriptors, descriptors_len, text, q->len, &file);
		return answer_extensions(a, found, q);
	case REQ_LIST:
		a->field = RES_LIST;
		return descriptor_services(descriptors, descriptors_len, service_add, &a->part);
	case REQ_EXTENSION:
		return answer_error(a, GRPC_NOT_FOUND, "there are no extensions",
		    &(struct wire_field){.data = (const uint8_t *)""});
	default:
		return answer_error(a, GRPC_INVALID_ARGUMENT, "the request asks for nothing that is known",
		    &(struct wire_field){.data = (const uint8_t *)""});
	}
}

/* Finds the question (the last of the oneof) and the host.  ERR_FORMAT. */
static int
request_read(const uint8_t *data, size_t len, struct wire_field *question, struct wire_field *host)
{
	struct wire_field f;
	struct buf b;
	int rc;

	*question = *host = (struct wire_field){0};
	buf_view(&b, data, len);
	while ((rc = wire_next(&b, &f)) == 1) {
		if (f.type != WIRE_BYTES)
			continue;
		if (f.number == REQ_HOST)
			*host = f;
		else if (f.number >= REQ_FILE && f.number <= REQ_LIST)
			*question = f;
	}
	return rc;
}

/* Frames the answer: host, the request as it came, the part. */
static int
answer_wrap(
    struct buf *out, const struct answer *a, const struct wire_field *host, const uint8_t *data, size_t len)
{
	int rc = 0;

	if (host->len > 0)
		rc = wire_put_bytes(out, RES_HOST, host->data, host->len);
	if (rc == 0)
		rc = wire_put_bytes(out, RES_REQUEST, data, len);
	if (rc == 0)
		rc = wire_put_bytes(out, a->field, buf_head(&a->part), buf_left(&a->part));
	return rc;
}

static void
reflection_message(struct call *c, const uint8_t *data, size_t len)
{
	struct wire_field question, host;
	struct answer a = {0};
	struct buf out;
	int rc = request_read(data, len, &question, &host);

	if (rc != 0) {
		call_fail(c, GRPC_INTERNAL, "the request is not a valid ServerReflectionRequest");
		return;
	}
	buf_init(&a.part, ANSWER_MAX_BYTES);
	buf_init(&out, 2 * ANSWER_MAX_BYTES);
	rc = answer_question(&a, &question);
	if (rc == 0)
		rc = answer_wrap(&out, &a, &host, data, len);
	if (rc == 0)
		call_send(c, buf_head(&out), buf_left(&out));
	else
		call_fail(c, GRPC_INTERNAL, "the answer could not be made: %s", err_text(rc));
	buf_fini(&out);
	buf_fini(&a.part);
}

static void
reflection_half_close(struct call *c)
{
	call_finish(c, GRPC_OK, "");
}

const struct call_ops reflection_ops = {.message = reflection_message, .half_close = reflection_half_close};
