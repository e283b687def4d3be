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
/* Where a new one begins: at the first message that this node gets. */
void sink_begin(struct sink *s);
/* It was removed, durably: its source is told, and it is forgotten. */
void sink_left(struct sink *s);
/* What this node is to get first, of what a row of its source says; 0: all.  False: it is no target. */
bool sink_first_seq(const struct engine *e, const struct store_stream *row, uint64_t *first_seq);
/* Or it was one, and may not know that it is none. */
bool sink_has_left(const struct engine *e, const struct store_stream *row);
/* This newer row says that what is here is of no use. */
bool sink_over(const struct sink *s, const struct store_stream *row);
/* What a newer row says of targets and group. */
void sink_take_targets(struct store_stream *to, const struct store_stream *row);
/* The source says that this node is none of its targets any more (row is its statement), or that it became
 * one anew: what is here is of no use.  If there is no room for that now the source says it again. */
void sink_remove(struct sink *s, const struct store_stream *row);
/* The same about a stream that is not here. */
void sink_not_here(struct engine *e, const struct store_stream *row);
/* Ends a stream that is an orphan, if all of it is processed. */
void sink_end_orphan(struct sink *s);
/* Gives the store all rows that were held back.  False: it took not all. */
bool sink_keep_all(struct sink *s);
/* Sends a frame of this type with the given position, or with the present one. */
void sink_send_ack(struct sink *s, uint32_t msg_type, const struct target_ack *a);
void sink_send_position(struct sink *s, uint32_t msg_type);
/* The source knows which messages up to seq failed, and asks: what is not in memory is read, and follows. */
void sink_heard(struct sink *s, uint64_t seq);

/* --- sink_failed.c --- */
void sink_failed_free(struct sink *s);
/* When a message that waits is due. */
struct mono sink_retry_at(const struct sink *s, struct mono now);
/* Dead letters that come next are passed. */
void sink_pass_dead(struct sink *s);
void sink_save_attempts(struct sink *s);
/* Counts it among those whose next message has failed, or no more. */
void sink_count_failing(struct sink *s);
/* How far the offset may go: dead letters have room. */
uint64_t sink_letters_limit(struct sink *s);
/* What is written with the offset upto; and that it was taken. */
size_t sink_letters(const struct sink *s, uint64_t upto, struct store_letter rows[RETRY_ITEMS_MAX + 1]);
void sink_letters_put(struct sink *s, uint64_t upto, const struct store_letter *rows, size_t count);

#endif
