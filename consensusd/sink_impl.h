/*
 * sink_impl: what sink.c and sink_frames.c share; not for others.
 */
#ifndef CONSENSUSD_SINK_IMPL_H
#define CONSENSUSD_SINK_IMPL_H

#include "consensusd/sink.h"

/* A sink from a row, without anything stored.  ERR_NOMEM. */
int sink_new(struct engine *e, const struct store_stream *row, struct sink **out) MUST_USE;
/* The row is durable: the source may send. */
void sink_opened(struct sink *s);
/* The end is durable: tells the source, and forgets the stream. */
void sink_end(struct sink *s);
/* Sends a frame of this type with the given position, or with the present one. */
void sink_send_ack(struct sink *s, uint32_t msg_type, const struct target_ack *a);
void sink_send_position(struct sink *s, uint32_t msg_type);

#endif
