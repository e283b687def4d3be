/*
 * h2: see h2.h.
 *
 * Window updates are ours (no_auto_window_update): a stream's window is given back when its call has
 * taken the bytes, the connection's at once, so that a call that is held does not hold the others; up to
 * H2_HELD_MAX_BYTES, after which the whole connection waits.
 */
#include "gatewayd/h2.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "gatewayd/core/ping_guard.h"
#include "gatewayd/gateway.h"
#include "gatewayd/gateway_metrics.h"
#include "gatewayd/h2_reply.h"
#include "gatewayd/h2_session.h"
#include "gatewayd/h2_stream.h"
#include "gatewayd/limits.h"

static const uint8_t ping_keepalive[8] = "alive?";
static const uint8_t ping_drain[8] = "drain";

/* --- flow control --- */

/* A stream's call has taken n bytes. */
static void
stream_taken(struct h2 *h, struct h2_stream *s, size_t n)
{
	if (n == 0)
		return;
	if (!s->reset)
		nghttp2_session_consume_stream(h->session, s->id, n);
}

/* Counts what is kept for a stream's call; nothing is, once that has ended. */
static void
held_count(struct h2 *h, struct h2_stream *s)
{
	size_t now = s->call.ended ? 0 : buf_left(&s->in);

	h->held = h->held - s->held + now;
	s->held = now;
	if (h->held <= H2_HELD_MAX_BYTES && h->owed > 0) {
		nghttp2_session_consume_connection(h->session, h->owed);
		h->owed = 0;
	}
}

static void
connection_taken(struct h2 *h, size_t n)
{
	if (h->held > H2_HELD_MAX_BYTES)
		h->owed += n;
	else
		nghttp2_session_consume_connection(h->session, n);
}

/* --- what the call wants from its front-end --- */

static struct h2_stream *
stream_of(struct call *c)
{
	return (struct h2_stream *)(void *)((char *)c - offsetof(struct h2_stream, call));
}

static int
front_send(struct call *c, const void *data, size_t len)
{
	struct h2_stream *s = stream_of(c);
	int rc = h2_stream_send(s, data, len);

	h2_reply_more(s);
	return rc;
}

static void
front_finish(struct call *c, enum grpc_status status, const char *message)
{
	struct h2_stream *s = stream_of(c);

	held_count(s->h2, s);
	h2_reply_finish(s, status, message);
}

static void
front_hold(struct call *c, bool hold)
{
	struct h2_stream *s = stream_of(c);
	size_t taken = 0;

	if (hold)
		return;
	h2_stream_resume(s, &taken);
	held_count(s->h2, s);
	stream_taken(s->h2, s, taken);
	s->h2->owner.wake(s->h2->owner.arg);
}

static size_t
front_queued(const struct call *c)
{
	const struct h2_stream *s =
	    (const struct h2_stream *)(const void *)((const char *)c - offsetof(struct h2_stream, call));

	return buf_left(&s->out);
}

static bool
front_full(const struct call *c)
{
	return ((const struct h2_stream *)(const void *)((const char *)c - offsetof(struct h2_stream, call)))
	    ->full;
}

static const struct call_front front = {.send = front_send,
    .finish = front_finish,
    .hold = front_hold,
    .queued = front_queued,
    .full = front_full};

/* --- what nghttp2 calls --- */

static int
on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct h2 *h = arg;
	struct h2_stream *s;

	if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	if ((s = h2_stream_new(h, frame->hd.stream_id)) == NULL)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	LIST_INSERT_HEAD(&h->streams, s, entry);
	h->stream_count++;
	return nghttp2_session_set_stream_user_data(session, s->id, s);
}

static int
on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
    const uint8_t *value, size_t value_len, uint8_t flags, void *arg)
{
	struct h2 *h = arg;
	struct h2_stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

	(void)flags;
	/* Trailers of a request mean nothing in gRPC. */
	if (s != NULL && s->req != NULL)
		h2_request_header(
		    s->req, h->owner.gw->auth, (const char *)name, name_len, (const char *)value, value_len);
	return 0;
}

static void
headers_complete(struct h2 *h, struct h2_stream *s)
{
	struct h2_request *r = s->req;
	int http = h2_request_end(r, h->owner.who);

	s->req = NULL;
	s->gzip = r->gzip;
	if (http != 0) {
		h2_reply_http(s, http);
	} else if (r->reject != GRPC_OK) {
		gateway_metrics_call(r->reject, 0, true);
		h2_reply_finish(s, r->reject, r->reject_text);
	} else {
		grpc_frame_init(&s->frame, h->owner.gw->limits.message_max_bytes);
		s->call.peer = h->owner.peer;
		s->call.who = h->owner.who;
		memcpy(s->call.token, r->token, sizeof(s->call.token));
		call_start(&s->call, h->owner.gw, &front, r->method, r->timeout_us);
	}
	mem_free(r);
}

static void
on_ping(struct h2 *h, const nghttp2_frame *frame)
{
	if ((frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) {
		if (!ping_guard_ping(&h->pings, clock_mono()))
			return;
		gateway_metrics_refused(REFUSED_PINGS);
		nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE,
		    nghttp2_session_get_last_proc_stream_id(h->session), NGHTTP2_ENHANCE_YOUR_CALM,
		    (const uint8_t *)"too_many_pings", strlen("too_many_pings"));
		h->closing = true;
		return;
	}
	if (memcmp(frame->ping.opaque_data, ping_keepalive, sizeof(ping_keepalive)) == 0)
		h->ping_pending = false;
	if (memcmp(frame->ping.opaque_data, ping_drain, sizeof(ping_drain)) == 0)
		h->drained =
		    nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE,
			nghttp2_session_get_last_proc_stream_id(h->session), NGHTTP2_NO_ERROR, NULL, 0) == 0;
}

static int
on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct h2 *h = arg;
	struct h2_stream *s;

	if (frame->hd.type == NGHTTP2_PING)
		on_ping(h, frame);
	if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
		return 0;
	s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	if (s == NULL)
		return 0;
	if (frame->hd.type == NGHTTP2_HEADERS && s->req != NULL)
		headers_complete(h, s);
	if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0)
		return 0;
	if (s->call.method != NULL)
		h2_stream_half_close(s);
	s->remote_closed = true;
	return 0;
}

static int
on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t len, void *arg)
{
	struct h2 *h = arg;
	struct h2_stream *s = nghttp2_session_get_stream_user_data(session, id);
	size_t taken = 0;

	(void)flags;
	connection_taken(h, len);
	if (s == NULL || s->call.method == NULL || s->call.ended) {
		nghttp2_session_consume_stream(session, id, len);
		return 0;
	}
	h2_stream_data(s, data, len, &taken);
	held_count(h, s);
	stream_taken(h, s, taken);
	return 0;
}

static int
on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct h2 *h = arg;
	struct h2_stream *s;

	if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
		return 0;
	ping_guard_sent(&h->pings);
	if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0)
		return 0;
	/* RFC 9113 8.1: the answer is complete before the request is; submitted any earlier, RST_STREAM
	 * would overtake the trailers. */
	s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	if (s != NULL && !s->remote_closed)
		h2_reply_reset(s, NGHTTP2_NO_ERROR);
	return 0;
}

static int
on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *arg)
{
	struct h2 *h = arg;
	struct h2_stream *s = nghttp2_session_get_stream_user_data(session, id);

	(void)error;
	if (s == NULL)
		return 0;
	nghttp2_session_set_stream_user_data(session, id, NULL);
	call_cancel(&s->call);
	s->call.ended = true;
	held_count(h, s);
	LIST_REMOVE(s, entry);
	h->stream_count--;
	h2_stream_free(s, h->owner.gw);
	return 0;
}

static int
on_error(nghttp2_session *session, int code, const char *text, size_t len, void *arg)
{
	struct h2 *h = arg;

	(void)session, (void)code;
	snprintf(h->error, sizeof(h->error), "%.*s", (int)len, text);
	return 0;
}

static ssize_t
on_send(nghttp2_session *session, const uint8_t *data, size_t len, int flags, void *arg)
{
	struct h2 *h = arg;
	size_t room = buf_room(h->out);

	(void)session, (void)flags;
	if (room == 0)
		return NGHTTP2_ERR_WOULDBLOCK;
	if (len > room)
		len = room;
	MUST(buf_put_bytes(h->out, data, len) == 0);
	return (ssize_t)len;
}

/* --- life of a session --- */

static nghttp2_session_callbacks *
callbacks_new(void)
{
	nghttp2_session_callbacks *cb;

	if (nghttp2_session_callbacks_new(&cb) != 0)
		return NULL;
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
	nghttp2_session_callbacks_set_error_callback2(cb, on_error);
	nghttp2_session_callbacks_set_send_callback(cb, on_send);
	nghttp2_session_callbacks_set_send_data_callback(cb, h2_reply_send_data);
	return cb;
}

static nghttp2_option *
options_new(void)
{
	nghttp2_option *o;

	if (nghttp2_option_new(&o) != 0)
		return NULL;
	nghttp2_option_set_no_auto_window_update(o, 1);
	nghttp2_option_set_no_closed_streams(o, 1);
	nghttp2_option_set_max_settings(o, H2_SETTINGS_MAX);
	nghttp2_option_set_max_outbound_ack(o, H2_ACKS_MAX);
	nghttp2_option_set_max_continuations(o, H2_CONTINUATIONS_MAX);
	nghttp2_option_set_stream_reset_rate_limit(o, H2_RESETS_BURST, H2_RESETS_PER_SECOND);
	return o;
}

static int
settings_submit(struct h2 *h)
{
	const nghttp2_settings_entry settings[] = {
	    {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, h->owner.gw->limits.calls_max},
	    {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_STREAM_WINDOW_BYTES},
	    {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, H2_HEADERS_MAX_BYTES},
	};
	int rc = nghttp2_submit_settings(
	    h->session, NGHTTP2_FLAG_NONE, settings, sizeof(settings) / sizeof(settings[0]));

	if (rc == 0)
		rc = nghttp2_session_set_local_window_size(
		    h->session, NGHTTP2_FLAG_NONE, 0, H2_CONNECTION_WINDOW_BYTES);
	return rc == 0 ? 0 : ERR_NOMEM;
}

static int
session_new(struct h2 *h)
{
	nghttp2_session_callbacks *cb = callbacks_new();
	nghttp2_option *options = options_new();
	int rc = ERR_NOMEM;

	if (cb != NULL && options != NULL && nghttp2_session_server_new2(&h->session, cb, h, options) == 0)
		rc = settings_submit(h);
	nghttp2_option_del(options);
	nghttp2_session_callbacks_del(cb);
	return rc;
}

struct h2 *
h2_new(const struct h2_owner *owner)
{
	struct h2 *h = mem_calloc(1, sizeof(*h));

	if (h == NULL)
		return NULL;
	h->owner = *owner;
	LIST_INIT(&h->streams);
	if (session_new(h) == 0)
		return h;
	h2_free(h);
	return NULL;
}

void
h2_free(struct h2 *h)
{
	struct h2_stream *s;

	if (h == NULL)
		return;
	/* nghttp2_session_del() does not call on_stream_close. */
	while ((s = LIST_FIRST(&h->streams)) != NULL) {
		LIST_REMOVE(s, entry);
		h2_stream_free(s, h->owner.gw);
	}
	nghttp2_session_del(h->session);
	mem_free(h);
}

int
h2_feed(struct h2 *h, const uint8_t *data, size_t len)
{
	ssize_t n;

	if (h->closing)
		return 0;
	n = nghttp2_session_mem_recv(h->session, data, len);
	if (n >= 0)
		return 0;
	if (h->error[0] == '\0')
		snprintf(h->error, sizeof(h->error), "%s", nghttp2_strerror((int)n));
	if (n != NGHTTP2_ERR_NOMEM && n != NGHTTP2_ERR_BAD_CLIENT_MAGIC)
		nghttp2_session_terminate_session(h->session, NGHTTP2_PROTOCOL_ERROR);
	return n == NGHTTP2_ERR_NOMEM ? ERR_NOMEM : ERR_FORMAT;
}

int
h2_pull(struct h2 *h, struct buf *out)
{
	int rc;

	h->out = out;
	rc = nghttp2_session_send(h->session);
	h->out = NULL;
	if (rc == 0 || rc == NGHTTP2_ERR_WOULDBLOCK)
		return 0;
	snprintf(h->error, sizeof(h->error), "%s", nghttp2_strerror(rc));
	return rc == NGHTTP2_ERR_NOMEM ? ERR_NOMEM : ERR_FORMAT;
}

bool
h2_done(const struct h2 *h)
{
	if (nghttp2_session_want_write(h->session))
		return false;
	return h->closing || (h->drained && h->stream_count == 0) || !nghttp2_session_want_read(h->session);
}

const char *
h2_error(const struct h2 *h)
{
	return h->error;
}

void
h2_ping(struct h2 *h)
{
	if (nghttp2_submit_ping(h->session, NGHTTP2_FLAG_NONE, ping_keepalive) == 0)
		h->ping_pending = true;
}

bool
h2_ping_pending(const struct h2 *h)
{
	return h->ping_pending;
}

void
h2_drain(struct h2 *h)
{
	/* Without memory for the polite way the drain timeout ends the connection. */
	if (nghttp2_submit_shutdown_notice(h->session) != 0 ||
	    nghttp2_submit_ping(h->session, NGHTTP2_FLAG_NONE, ping_drain) != 0)
		snprintf(h->error, sizeof(h->error), "out of memory");
}

size_t
h2_stream_count(const struct h2 *h)
{
	return h->stream_count;
}
