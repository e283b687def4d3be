/*
 * regulator: what operators have said of streams (core/controls.h), applied to the streams of this node.
 *
 * A rule holds from the moment that it was asked for; the call is answered when it is durable.  Streams that
 * are opened later find the rules that fit them.  Rules for one stream go with the stream.
 */
#ifndef CONSENSUSD_REGULATOR_H
#define CONSENSUSD_REGULATOR_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/must.h"
#include "consensusd/core/controls.h"

struct engine;
struct regulator;
struct sink;
struct source;

struct regulator *regulator_new(struct engine *e) MUST_USE;
void regulator_free(struct regulator *r);
/* A rule that was loaded; before the streams are.  ERR_FULL, ERR_NOMEM. */
int regulator_load(struct regulator *r, const struct control *c) MUST_USE;
const struct controls *regulator_controls(const struct regulator *r);

/* A stream is there. */
void regulator_source(const struct regulator *r, struct source *s);
void regulator_sink(const struct regulator *r, struct sink *s);
/* It was closed. */
void regulator_stream_gone(struct regulator *r, const struct ulid *stream_id);

/* Adds or changes a rule, or (drop) takes it away, with an exception in its place where a less specific one
 * would come in.  ERR_FULL: too many rules, ERR_NOMEM: nothing has changed;
 * another error: it holds, but could not be written. */
int regulator_set(struct regulator *r, const struct control *c, bool drop) MUST_USE;
/* Streams look at the rules again: after any number of changes. */
void regulator_apply(struct regulator *r);
/* After the changes of a call, in the same turn: has api_control_durable() called with it when they are
 * durable (1).  0: nothing was written; ERR_NOMEM: it was, and nobody will be told. */
int regulator_notify(struct regulator *r, uint64_t call) MUST_USE;

#endif
