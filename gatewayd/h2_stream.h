/*
 * h2_stream: one request of an HTTP/2 connection: its headers as they come, its body as messages, its
 * answer as bytes.  No nghttp2 here: h2.c moves the frames.
 */
#ifndef GATEWAYD_H2_STREAM_H
#define GATEWAYD_H2_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/base/buf.h"
#include "common/base/must.h"
#include "gatewayd/call.h"
#include "gatewayd/core/bearer.h"
#include "gatewayd/core/grpc_frame.h"

struct auth;
struct h2;
struct principal;

enum { STREAM_TEXT_SIZE = 160 };

/* What the headers said. */
struct h2_request {
	const struct method *method;
	int64_t timeout_us; /* negative: none */
	size_t header_bytes;
	bool post, trailers, grpc, has_token;
	bool gzip;                    /* grpc-encoding */
	const char *token_error;      /* what auth_token() said */
	char token[BEARER_NAME_SIZE]; /* whose it is, if it is good; "" */
	enum grpc_status reject;      /* not GRPC_OK: the first thing that is wrong */
	char reject_text[STREAM_TEXT_SIZE];
};

struct h2_stream {
	struct h2 *h2;
	int32_t id;
	struct call call;
	struct h2_request *req; /* until the headers are complete */
	struct grpc_frame frame;
	struct buf in;    /* body bytes that a held call can't take */
	struct buf out;   /* answers with their prefixes */
	size_t held;      /* bytes of in that count as held on the connection */
	size_t accounted; /* bytes of the above in gateway.memory_bytes */
	bool gzip;
	bool remote_closed; /* the client has sent END_STREAM */
	bool responded;     /* response headers are submitted */
	bool deferred;      /* nghttp2 waits for resume_data */
	bool full;          /* out passed CALL_QUEUE_HIGH_BYTES, and has not come down to the low mark */
	bool finished;      /* the status is known */
	bool reset;         /* RST_STREAM was submitted, or the stream is being freed */
	enum grpc_status status;
	char *message; /* percent-encoded, owned; NULL: none */
	LIST_ENTRY(h2_stream) entry;
};

/* A stream whose headers begin.  NULL: no memory. */
struct h2_stream *h2_stream_new(struct h2 *h2, int32_t id) MUST_USE;
/* Cancels the call. */
void h2_stream_free(struct h2_stream *s, struct gateway *gw);

/* One header field (borrowed). */
void h2_request_header(struct h2_request *r, const struct auth *auth, const char *name, size_t name_len,
    const char *value, size_t value_len);
/* The headers are complete.  0, or the HTTP status to answer with (this is no gRPC call); whether the
 * call may go on is then in r->reject. */
int h2_request_end(struct h2_request *r, const struct principal *who);

/* Feeds body bytes to the call; what it can't take now is kept.  The number of bytes that are not held
 * any more is added to *taken.  The call may end. */
void h2_stream_data(struct h2_stream *s, const uint8_t *data, size_t len, size_t *taken);
/* The call takes messages again: goes on with what is kept. */
void h2_stream_resume(struct h2_stream *s, size_t *taken);
/* The body is complete. */
void h2_stream_half_close(struct h2_stream *s);

/* Queues an answer with its prefix.  ERR_LIMIT, ERR_NOMEM. */
int h2_stream_send(struct h2_stream *s, const void *data, size_t len) MUST_USE;
/* Frees answers that are sent. */
void h2_stream_sent(struct h2_stream *s, size_t len);

#endif
