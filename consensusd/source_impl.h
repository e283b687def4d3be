/*
 * source_impl: what the files of source share; not for others.
 *
 * source.c makes, loads and ends streams, source_publish.c takes messages in and gives batches to the
 * store, source_sort.c says who begins, source_send.c sends them and writes progress, source_frames.c hears
 * what targets say, source_retain.c gives up what is too much.
 */
#ifndef CONSENSUSD_SOURCE_IMPL_H
#define CONSENSUSD_SOURCE_IMPL_H

#include "consensusd/source.h"

/* Gives the row, with this state, to the store. */
int source_put_row(struct source *s, enum stream_state state) MUST_USE;
/* Has what is pending looked at in the turn. */
void source_touch(struct source *s);
/* Gives what is pending to the store, for all streams where it is time. */
void source_give_all(struct engine *e);
/* A batch that was read for a flow; true if it was sent.  Then the read ends: something of use came, or the
 * outbox is asked in its place. */
bool source_read_batch(struct source *s, struct flow *f, struct batch *b);
void source_read_done(struct source_flow *f);
void source_read_outbox(struct source_flow *f, const struct stream_order *o);
/* Gives up what is more, or older, than the stream may keep; has itself called again in time. */
void source_retain(struct source *s);
void source_on_retain_timer(void *arg);
/* Asks the target to open the stream, or where it is; nonce: of its challenge (FRESH_NONCE_BYTES), or NULL.
 */
void source_send_open(struct source_flow *f, const uint8_t *nonce);
/* Below 0: a's turn is before b's when both begin: a has something to send, or more priority. */
int source_flow_compare(const struct source_flow *a, const struct source_flow *b);
/* Puts what is ready in that order. */
void source_sort_ready(struct engine *e);
void source_on_flow_timer(void *arg);
void source_on_clear_timer(void *arg);

#endif
