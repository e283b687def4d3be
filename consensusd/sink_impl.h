/*
 * sink_impl: what the files of sink share; not for others.
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
/* Ends a stream that is an orphan, if all of it is processed. */
void sink_end_orphan(struct sink *s);
/* Sends a frame of this type with the given position, or with the present one. */
void sink_send_ack(struct sink *s, uint32_t msg_type, const struct target_ack *a);
void sink_send_position(struct sink *s, uint32_t msg_type);

/* --- sink_failed.c --- */
void sink_failed_free(struct sink *s);
/* When a message that waits is due. */
struct mono sink_retry_at(const struct sink *s, struct mono now);
/* Dead letters that come next are passed. */
void sink_pass_dead(struct sink *s);
void sink_save_attempts(struct sink *s);
/* How far the offset may go: dead letters have room. */
uint64_t sink_letters_limit(struct sink *s);
/* What is written with the offset upto; and that it was taken. */
size_t sink_letters(const struct sink *s, uint64_t upto, struct store_letter rows[RETRY_ITEMS_MAX + 1]);
void sink_letters_put(struct sink *s, uint64_t upto, const struct store_letter *rows, size_t count);

#endif
