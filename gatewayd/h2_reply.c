/*
 * h2_reply: see h2_reply.h.
 *
 * Three forms (gRPC over HTTP/2, "Responses"): HEADERS, DATA, HEADERS with the status; or, when there is
 * no message, Trailers-Only: one HEADERS with everything; or a plain HTTP error.
 */
#include "gatewayd/h2_reply.h"

#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "gatewayd/h2_session.h"
#include "gatewayd/h2_stream.h"

enum { FRAME_HEAD_BYTES = 9 };

#define NV(n, v)                                                                                             \
	{                                                                                                    \
		(uint8_t *)(uintptr_t)(n), (uint8_t *)(uintptr_t)(v), sizeof(n) - 1, sizeof(v) - 1,          \
		    NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE                             \
	}

/* What the response headers of every call begin with. */
static const nghttp2_nv ok_headers[] = {
    NV(":status", "200"),
    NV("content-type", "application/grpc"),
    NV("grpc-accept-encoding", "identity,gzip"),
};

enum { OK_HEADERS = sizeof(ok_headers) / sizeof(ok_headers[0]) };

static void
wake(struct h2_stream *s)
{
	s->h2->owner.wake(s->h2->owner.arg);
}

void
h2_reply_reset(struct h2_stream *s, uint32_t error)
{
	if (s->reset)
		return;
	s->reset = true;
	nghttp2_submit_rst_stream(s->h2->session, NGHTTP2_FLAG_NONE, s->id, error);
}

/* Out of memory in the middle of an answer: all that is left is to end the stream. */
static void
reply_failed(struct h2_stream *s)
{
	h2_reply_reset(s, NGHTTP2_INTERNAL_ERROR);
	call_cancel(&s->call);
}

/* grpc-status and, if there is one, grpc-message; the number of fields. */
static size_t
status_fields(const struct h2_stream *s, nghttp2_nv nv[2])
{
	static const char numbers[GRPC_STATUS_COUNT][3] = {
	    "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16"};
	const char *number = numbers[s->status];

	nv[0] = (nghttp2_nv)NV("grpc-status", "");
	nv[0].value = (uint8_t *)(uintptr_t)number;
	nv[0].valuelen = strlen(number);
	if (s->message == NULL)
		return 1;
	nv[1] = (nghttp2_nv)NV("grpc-message", "");
	nv[1].value = (uint8_t *)(uintptr_t)s->message;
	nv[1].valuelen = strlen(s->message);
	nv[1].flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_INDEX;
	return 2;
}

/* nghttp2 asks how much of the body it can have. */
static ssize_t
body_read(nghttp2_session *session, int32_t id, uint8_t *mem, size_t len, uint32_t *flags,
    nghttp2_data_source *source, void *arg)
{
	struct h2_stream *s = source->ptr;
	size_t n = buf_left(&s->out);
	nghttp2_nv nv[2];

	(void)mem, (void)arg;
	if (n > 0) {
		*flags |= NGHTTP2_DATA_FLAG_NO_COPY;
		if (n <= len && s->finished)
			*flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
		if (n <= len && s->finished &&
		    nghttp2_submit_trailer(session, id, nv, status_fields(s, nv)) != 0)
			return NGHTTP2_ERR_CALLBACK_FAILURE;
		return (ssize_t)(n < len ? n : len);
	}
	if (!s->finished) {
		s->deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	*flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
	return nghttp2_submit_trailer(session, id, nv, status_fields(s, nv)) == 0
		   ? 0
		   : NGHTTP2_ERR_CALLBACK_FAILURE;
}

int
h2_reply_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t len,
    nghttp2_data_source *source, void *arg)
{
	struct h2 *h = arg;
	struct h2_stream *s = source->ptr;

	(void)session;
	/* We choose no padding (no select_padding callback). */
	MUST(frame->data.padlen == 0);
	if (buf_room(h->out) < FRAME_HEAD_BYTES + len)
		return NGHTTP2_ERR_WOULDBLOCK;
	MUST(buf_put_bytes(h->out, head, FRAME_HEAD_BYTES) == 0);
	MUST(buf_put_bytes(h->out, buf_head(&s->out), len) == 0);
	h2_stream_sent(s, len);
	return 0;
}

void
h2_reply_more(struct h2_stream *s)
{
	nghttp2_data_provider body = {.source.ptr = s, .read_callback = body_read};

	if (s->reset)
		return;
	if (!s->responded) {
		s->responded = true;
		if (nghttp2_submit_response(s->h2->session, s->id, ok_headers, OK_HEADERS, &body) != 0)
			reply_failed(s);
	} else if (s->deferred) {
		s->deferred = false;
		if (nghttp2_session_resume_data(s->h2->session, s->id) != 0)
			reply_failed(s);
	}
	wake(s);
}

static void
trailers_only(struct h2_stream *s)
{
	nghttp2_nv nv[OK_HEADERS + 2];
	size_t n = OK_HEADERS;

	memcpy(nv, ok_headers, sizeof(ok_headers));
	n += status_fields(s, nv + n);
	s->responded = true;
	if (nghttp2_submit_response(s->h2->session, s->id, nv, n, NULL) != 0)
		reply_failed(s);
	wake(s);
}

void
h2_reply_finish(struct h2_stream *s, enum grpc_status status, const char *message)
{
	char encoded[GRPC_MESSAGE_ENCODED_SIZE];

	s->finished = true;
	s->status = status;
	/* Without memory the status goes without its message. */
	if (message[0] != '\0') {
		grpc_status_encode(encoded, message);
		s->message = mem_strdup(encoded);
	}
	if (s->reset)
		return;
	if (s->responded)
		h2_reply_more(s);
	else
		trailers_only(s);
}

void
h2_reply_http(struct h2_stream *s, int status)
{
	char text[4];
	nghttp2_nv nv = NV(":status", "");

	snprintf(text, sizeof(text), "%d", status);
	nv.value = (uint8_t *)text;
	nv.valuelen = strlen(text);
	nv.flags = NGHTTP2_NV_FLAG_NO_COPY_NAME;
	s->responded = s->finished = true;
	if (nghttp2_submit_response(s->h2->session, s->id, &nv, 1, NULL) != 0)
		reply_failed(s);
	wake(s);
}
