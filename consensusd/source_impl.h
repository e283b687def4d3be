/*
 * source_impl: what the files of source share; not for others.
 *
 * source.c makes, loads and ends streams, source_publish.c takes messages in and gives batches to the
 * store, source_send.c sends them and writes progress, source_frames.c hears what targets say.
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
void source_on_flow_timer(void *arg);
void source_on_clear_timer(void *arg);

#endif
