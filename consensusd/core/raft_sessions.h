/*
 * raft_sessions: applies each proposal once (Ongaro's thesis, section 6.3), as part of a replicated state.
 *
 * A client is a process that proposes; it draws its id at random.  Its first entry has seq 0 and opens the
 * session, with the id of its replica's life as data; then it numbers what it proposes from 1 on and may have
 * up to RAFT_SESSION_WINDOW of them under way, in any order of arrival.  The result of each is kept while it
 * is in the window, so that it can be told again.  Below the window an entry was applied and its result is
 * gone (ERR_STALE).  An entry of a session that is not known is refused (ERR_NOENT): it may be from before
 * the session was forgotten, and nobody could tell.
 *
 * At most RAFT_SESSIONS_MAX sessions: the one that was used least recently, by the log's order, is forgotten.
 */
#ifndef CONSENSUSD_CORE_RAFT_SESSIONS_H
#define CONSENSUSD_CORE_RAFT_SESSIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct buf;

enum { RAFT_SESSIONS_MAX = 16384, RAFT_SESSION_WINDOW = 128 };

struct raft_sessions;

struct raft_sessions *raft_sessions_new(void) MUST_USE;
void raft_sessions_free(struct raft_sessions *s);

/* Before an entry of a client (not 0) is applied.  0: it is new and to be applied, then
 * raft_sessions_done() follows.  ERR_EXISTS: it was applied, with this result and at this index.  ERR_STALE,
 * ERR_NOENT as above; ERR_RANGE: RAFT_SESSION_WINDOW or more beyond one that was never applied, or seq 0.
 * ERR_NOMEM: nothing has changed; nor has it with 0, until raft_sessions_done(), which can't fail. */
int raft_sessions_begin(
    struct raft_sessions *s, uint64_t client, uint64_t seq, int *result, uint64_t *index) MUST_USE;
void raft_sessions_done(struct raft_sessions *s, uint64_t client, uint64_t seq, int result, uint64_t index);
/* Opens a session (seq 0); one that is open stays, and counts as used.  ERR_NOMEM. */
int raft_sessions_open(struct raft_sessions *s, uint64_t client, uint64_t index) MUST_USE;
size_t raft_sessions_count(const struct raft_sessions *s);

/* The same bytes on every replica. */
int raft_sessions_encode(const struct raft_sessions *s, struct buf *out) MUST_USE;
/* Consumes what encode appended and makes *out of it.  ERR_SHORT, ERR_FORMAT, ERR_LIMIT, ERR_NOMEM. */
int raft_sessions_decode(struct buf *in, struct raft_sessions **out) MUST_USE;
size_t raft_sessions_bytes(const struct raft_sessions *s); /* that encode appends */

#endif
