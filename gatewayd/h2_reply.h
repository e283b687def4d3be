/*
 * h2_reply: the answer of one stream as HTTP/2 frames.
 */
#ifndef GATEWAYD_H2_REPLY_H
#define GATEWAYD_H2_REPLY_H

#include <nghttp2/nghttp2.h>
#include <stdint.h>

#include "gatewayd/core/grpc_status.h"

struct h2_stream;

/* s->out has grown. */
void h2_reply_more(struct h2_stream *s);
/* The status is known: trailers after what is queued, or headers with the status alone. */
void h2_reply_finish(struct h2_stream *s, enum grpc_status status, const char *message);
/* An answer without gRPC: an HTTP status and nothing else. */
void h2_reply_http(struct h2_stream *s, int status);
void h2_reply_reset(struct h2_stream *s, uint32_t error);

/* nghttp2's send_data callback: writes a DATA frame straight out of s->out. */
int h2_reply_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t len,
    nghttp2_data_source *source, void *arg);

#endif
