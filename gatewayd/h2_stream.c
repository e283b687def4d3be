/* h2_stream: see h2_stream.h. */
#include "gatewayd/h2_stream.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "gatewayd/gateway.h"
#include "gatewayd/gunzip.h"
#include "gatewayd/limits.h"

struct h2_stream *
h2_stream_new(struct h2 *h2, int32_t id)
{
	struct h2_stream *s = mem_calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	if ((s->req = mem_calloc(1, sizeof(*s->req))) == NULL) {
		mem_free(s);
		return NULL;
	}
	s->h2 = h2;
	s->id = id;
	s->req->timeout_us = -1;
	buf_init(&s->in, H2_STREAM_WINDOW_BYTES + GRPC_PREFIX_BYTES);
	buf_init(&s->out, CALL_QUEUE_MAX_BYTES);
	return s;
}

void
h2_stream_free(struct h2_stream *s, struct gateway *gw)
{
	s->reset = true;
	call_cancel(&s->call);
	grpc_frame_fini(&s->frame);
	buf_fini(&s->in);
	buf_fini(&s->out);
	MUST(gateway_memory(gw, &s->accounted, 0) == 0);
	mem_free(s->message);
	mem_free(s->req);
	mem_free(s);
}

/* Counts the memory that the stream holds; false: there is no more, and the call has ended. */
static bool
stream_account(struct h2_stream *s)
{
	size_t now = grpc_frame_memory(&s->frame) + s->in.cap + s->out.cap;

	if (gateway_memory(s->call.gw, &s->accounted, now) == 0)
		return true;
	call_fail(&s->call, GRPC_RESOURCE_EXHAUSTED, "gatewayd's memory for messages is used up; try again");
	return false;
}

static void
frame_failed(struct h2_stream *s, int rc, const struct grpc_message *m)
{
	struct call *c = &s->call;

	switch (rc) {
	case ERR_LIMIT:
		call_fail(c, GRPC_RESOURCE_EXHAUSTED,
		    "a message of %zu bytes is over this node's limit of %zu", m->len, s->frame.max_bytes);
		break;
	case ERR_FORMAT:
		call_fail(c, GRPC_INTERNAL, "a message's prefix has a flag other than 0 and 1");
		break;
	default:
		call_fail(c, GRPC_RESOURCE_EXHAUSTED, "gatewayd: %s", err_text(rc));
	}
}

static void
compressed_message(struct h2_stream *s, const struct grpc_message *m)
{
	struct call *c = &s->call;
	struct buf plain;
	int rc;

	if (!s->gzip) {
		call_fail(c, GRPC_INTERNAL,
		    "a message is flagged as compressed, but the call has no grpc-encoding");
		return;
	}
	buf_init(&plain, s->frame.max_bytes);
	rc = gunzip(&plain, m->data, m->len);
	if (rc == 0)
		call_message(c, buf_head(&plain), buf_left(&plain));
	else if (rc == ERR_LIMIT)
		call_fail(c, GRPC_RESOURCE_EXHAUSTED,
		    "a compressed message is over this node's limit of %zu bytes", s->frame.max_bytes);
	else
		call_fail(c, GRPC_INTERNAL, "a message could not be decompressed: %s", err_text(rc));
	buf_fini(&plain);
}

/* Takes messages out of the view while the call wants them. */
static void
messages_take(struct h2_stream *s, struct buf *view)
{
	struct grpc_message m = {0};
	int rc = 1;

	while (rc == 1 && call_ready(&s->call)) {
		rc = grpc_frame_feed(&s->frame, view, &m);
		if (rc == 1 && m.compressed)
			compressed_message(s, &m);
		else if (rc == 1)
			call_message(&s->call, m.data, m.len);
	}
	if (rc < 0)
		frame_failed(s, rc, &m);
}

void
h2_stream_half_close(struct h2_stream *s)
{
	s->remote_closed = true;
	if (s->call.ended || buf_left(&s->in) > 0)
		return;
	if (!grpc_frame_clean(&s->frame))
		call_fail(&s->call, GRPC_INTERNAL, "the request ends in the middle of a message");
	else
		call_half_close(&s->call);
}

/* Gives back kept bytes once they are used, or the call will never want them. */
static void
in_trim(struct h2_stream *s)
{
	if (s->call.ended || buf_left(&s->in) == 0) {
		buf_fini(&s->in);
		buf_init(&s->in, H2_STREAM_WINDOW_BYTES + GRPC_PREFIX_BYTES);
	}
}

void
h2_stream_data(struct h2_stream *s, const uint8_t *data, size_t len, size_t *taken)
{
	struct buf view;

	buf_view(&view, data, len);
	if (buf_left(&s->in) == 0)
		messages_take(s, &view);
	*taken += s->call.ended ? len : len - buf_left(&view);
	if (s->call.ended)
		return;
	buf_compact(&s->in);
	if (buf_left(&view) > 0 && buf_put_bytes(&s->in, buf_head(&view), buf_left(&view)) != 0) {
		/* Flow control bounds what can be kept, so this is memory. */
		call_fail(&s->call, GRPC_RESOURCE_EXHAUSTED, "gatewayd is out of memory");
		return;
	}
	stream_account(s);
}

void
h2_stream_resume(struct h2_stream *s, size_t *taken)
{
	size_t before = buf_left(&s->in);

	messages_take(s, &s->in);
	*taken += s->call.ended ? before : before - buf_left(&s->in);
	in_trim(s);
	if (s->call.ended)
		return;
	if (stream_account(s) && s->remote_closed)
		h2_stream_half_close(s);
}

int
h2_stream_send(struct h2_stream *s, const void *data, size_t len)
{
	uint8_t *p;
	int rc;

	if (len > UINT32_MAX)
		return ERR_LIMIT;
	if (s->out.rpos > s->out.wpos / 2 || buf_room(&s->out) < GRPC_PREFIX_BYTES + len)
		buf_compact(&s->out);
	if ((rc = buf_reserve(&s->out, GRPC_PREFIX_BYTES + len, &p)) != 0)
		return rc;
	grpc_frame_prefix(p, (uint32_t)len, false);
	if (len > 0)
		memcpy(p + GRPC_PREFIX_BYTES, data, len);
	buf_commit(&s->out, GRPC_PREFIX_BYTES + len);
	s->full = s->full || buf_left(&s->out) > CALL_QUEUE_HIGH_BYTES;
	return gateway_memory(
	    s->call.gw, &s->accounted, grpc_frame_memory(&s->frame) + s->in.cap + s->out.cap);
}

void
h2_stream_sent(struct h2_stream *s, size_t len)
{
	MUST(buf_skip(&s->out, len) == 0);
	if (s->full && buf_left(&s->out) <= CALL_QUEUE_LOW_BYTES) {
		s->full = false;
		call_drained(&s->call);
	}
	if (buf_left(&s->out) > 0)
		return;
	if (s->out.cap <= GRPC_FRAME_KEEP_BYTES) {
		buf_reset(&s->out);
		return;
	}
	buf_fini(&s->out);
	buf_init(&s->out, CALL_QUEUE_MAX_BYTES);
	MUST(gateway_memory(s->call.gw, &s->accounted, grpc_frame_memory(&s->frame) + s->in.cap) == 0 ||
	     s->call.ended);
}
