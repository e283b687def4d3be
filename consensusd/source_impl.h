/*
 * source_impl: what the files of source share; not for others.
 *
 * source.c makes, loads and ends streams, source_publish.c takes messages in and gives batches to the
 * store, source_ids.c knows which ids were published, source_sort.c says who begins, source_send.c sends them
 * and writes progress, source_frames.c hears what targets say, source_retain.c gives up what is too much,
 * source_targets.c changes its targets.
 */
#ifndef CONSENSUSD_SOURCE_IMPL_H
#define CONSENSUSD_SOURCE_IMPL_H

#include "consensusd/source.h"

/* Gives the row, with this state, to the store. */
int source_put_row(struct source *s, enum stream_state state) MUST_USE;
/* Makes row->meta (the caller's, mem_free()), signed. */
int source_sign(struct engine *e, struct store_stream *row) MUST_USE;
/* The same for the source's own row: what it said before is kept if that fails. */
int source_sign_again(struct source *s) MUST_USE;
/* Also beyond one that targets were told of and that did not get into the database. */
void source_next_revision(struct store_stream *row);
/* The node of a flow: it is there for whoever looks for the flows to it. */
int source_flow_link(struct source_flow *f, uint64_t node) MUST_USE;
void source_flow_unlink(struct source_flow *f);
/* A flow's place begins anew, for another target perhaps.  ERR_NOMEM. */
int source_flow_init(struct source *s, size_t i) MUST_USE;
/* All targets are asked again, with what the row says now. */
void source_tell(struct source *s);
/* Gives all that is pending to the store.  ERR_FULL and others: not now. */
int source_give(struct source *s) MUST_USE;
/* Writes what the target has processed. */
void source_record(struct source_flow *f);
/* More is processed, or less is waited for. */
void source_commit(struct source *s);
void source_fail_waiters(struct source_flow *f);
/* A target is none any more, in the row.  False: it is the only one. */
bool source_row_drop(struct store_stream *row, uint64_t node);
/* After a restart: where targets began, and those that may not know that they are none. */
void source_load_targets(struct source *s);
/* The target that was removed knows it. */
void source_target_told(struct source_flow *f);
/* Has what is pending looked at in the turn. */
void source_touch(struct source *s);
/* Removes from the database what windows of ids have given up. */
void source_prune_ids(struct engine *e);
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
void source_on_parked_timer(void *arg);

#endif
