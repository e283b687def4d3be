/*
 * dbsink: the handler "db" of streams: what a stream's messages say is done to tables of this node's
 *database, each exactly once.
 *
 * The payload of each message is a DBUpdate of mesh.proto, as SendInternalDBUpdate takes it; what it may say,
 * and for which tenants' streams, is in db-table (applier_rules.h).  Messages of a stream are done in its
 * order, as many in one transaction as there are and it may have, on a connection that all these streams
 * share (dbline.h).
 *
 * Each stream has a position in mesh.handler_positions, which moves in the transaction that does the work.
 * The offset and the delivery log follow at once, as with every other handler.  They are not part of that
 * transaction because they have one writer, the store, which writes them for all streams together with what
 *it has told others of them; a second one would wait for its locks, and it for those of the application's
 *tables. It comes to the same, whatever dies between two steps:
 *
 *	before COMMIT				nothing was done, the position is what it was: done again
 *	after COMMIT, or without its answer	the position says so: read when the connection is made, before
 *						anything is delivered, it raises what counts as acknowledged
 *						(target_resume), and the offset follows from there
 *	after the offset is durable		the position is never behind what was done up to it
 *
 * Nobody moves a position behind our back: one session at a time has the lock that is taken when the
 *connection is made, an older one's is ended first, so a lost connection's backend can't commit late.  A
 *message that is passed over (a dead letter, one that its source gave up) has no transaction: so none behind
 *it begins until the offset, with the letter, has passed it durably.  Else the position could pass a letter
 *that is nowhere.
 *
 * A message that fails for what it says (malformed, not allowed, a constraint) is refused, as by a
 *subscriber: the stream's policy says how often it is tried, and when it is a dead letter.  For what says
 *nothing of it (connection lost, deadlock, lock held, disk full, its key not here) it is tried again without
 *end.  After DBLINE_TIMEOUTS_MAX times out of time that counts as a failure of the message.  Dead letters
 *that are delivered once more are done, and gone, in one transaction too.
 */
#ifndef CONSENSUSD_DBSINK_H
#define CONSENSUSD_DBSINK_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/mono.h"
#include "common/base/must.h"

struct conf;
struct dbsinks;
struct engine;
struct sink;

/* NULL: no memory, or what conf says was refused and logged. */
struct dbsinks *dbsinks_new(struct engine *e, const struct conf *conf, const char *user) MUST_USE;
void dbsinks_free(struct dbsinks *all);
/* Connects, the first time: when the store is ready. */
void dbsinks_open(struct dbsinks *all);
/* Reads the rules again; those before stay if that fails. */
void dbsinks_configure(struct dbsinks *all, const struct conf *conf);
/* Whether streams of the tenant may write to any table (false for NULL). */
bool dbsinks_may(const struct dbsinks *all, const char *tenant);
/* What operators should know, "" if all is well (also for NULL).  Returns out. */
const char *dbsinks_trouble(const struct dbsinks *all, char *out, size_t size);

/* The sink has this handler.  ERR_NOMEM. */
int dbsink_attach(struct sink *s) MUST_USE;
/* It ends; also without the handler. */
void dbsink_detach(struct sink *s);
/* There may be more to do; also without the handler. */
void dbsink_ready(struct sink *s);
/* When that is so in any case; MONO_NEVER. */
struct mono dbsink_at(const struct sink *s, struct mono now);

#endif
