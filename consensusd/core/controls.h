/*
 * controls: what operators have said of streams at this node: rules that pause or throttle, each with a
 * scope.
 *
 * Of the rules about the same that fit a stream the most specific one decides, alone: one that names the
 * stream, then one with tenant and priorities, then tenant, then priorities, then all.  Of two with
 * priorities the narrower range, then the newer rule.  A rule may be an exception ("not paused"), which takes
 * what it fits out of less specific ones.
 *
 * A throttle's bucket is the rule's: all streams that it decides share it.
 */
#ifndef CONSENSUSD_CORE_CONTROLS_H
#define CONSENSUSD_CORE_CONTROLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/id.h"
#include "common/base/mono.h"
#include "common/base/must.h"
#include "consensusd/core/throttle.h"

/* Rules of one node: more are refused.  Each change looks at all of them for each stream. */
enum { CONTROLS_MAX = 256, CONTROL_REASON_SIZE = 128 };

enum control_kind { CONTROL_PAUSE, CONTROL_THROTTLE, CONTROL_KINDS };
enum control_side { CONTROL_SOURCE, CONTROL_TARGET, CONTROL_SIDES };

/* Which streams; all zero but for the priorities: all streams. */
struct control_scope {
	struct ulid stream_id;              /* zero: any */
	char tenant[TENANT_TEXT_SIZE];      /* "": any; zeros behind it */
	int32_t min_priority, max_priority; /* INT32_MIN, INT32_MAX: any */
};

struct control {
	enum control_kind kind;
	enum control_side side;
	struct control_scope scope;
	bool exception;
	int64_t messages_per_s, bytes_per_s; /* throttle: 0: no limit */
	uint64_t created_unix_ms;
	char reason[CONTROL_REASON_SIZE];
	struct throttle throttle;
};

/* All zero before its first use. */
struct controls {
	struct control **all; /* they stay where they are until they are deleted */
	size_t count, cap;
};

void controls_fini(struct controls *c);
/* Adds a rule, or changes the one with the same kind, side and scope; its bucket is begun, or kept. ERR_FULL,
 * ERR_NOMEM. */
int controls_set(struct controls *c, const struct control *rule, struct mono now) MUST_USE;
/* True if there was one.  Who has its bucket must look again. */
bool controls_del(
    struct controls *c, enum control_kind kind, enum control_side side, const struct control_scope *scope);
/* The rule that decides for a stream; NULL: none does, or an exception. */
struct control *controls_find(const struct controls *c, enum control_kind kind, enum control_side side,
    const struct ulid *stream_id, const char *tenant, int32_t priority);
/* Whether a rule that is less specific than one with this scope may fit some of its streams: then taking that
 * one away needs an exception. */
bool controls_covered(const struct controls *c, enum control_kind kind, enum control_side side,
    const struct control_scope *scope);
/* An exception that nothing needs any more; NULL. */
const struct control *controls_useless(const struct controls *c);
/* A rule for just this stream; NULL. */
const struct control *controls_of_stream(const struct controls *c, const struct ulid *stream_id);

bool control_scope_fits(
    const struct control_scope *scope, const struct ulid *stream_id, const char *tenant, int32_t priority);
/* "pause", "source".  Static. */
const char *control_kind_name(enum control_kind kind);
const char *control_side_name(enum control_side side);

#endif
