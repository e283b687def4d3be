/*
 * raft: one replica of one group (Ongaro and Ousterhout 2014; Ongaro's thesis 2014), without I/O: events and
 * the time in, effects out.
 *
 * Events are raft_step() (a message came), raft_tick() (time passed), raft_propose() and its like, and
 * raft_durable() (storage has what it was given).  Each only changes state; what follows is asked for after
 * it, in any order, until there is no more:
 *
 *	raft_persist()	what storage must have next.  One transaction; those of one replica in order
 *	raft_send()	the next message that may leave
 *	raft_apply()	the next committed entries for the state machine
 *	raft_read_next()	a read that may be served now
 *
 * That nothing leaves before what it promises is durable, and that nothing is applied before it is
 * committed and durable here, is the work of raft_output.c alone; the caller can't get it wrong but by
 * confirming with raft_durable() what is not so.
 *
 * Beyond the paper: pre-vote (9.6), check-quorum and leader stickiness (4.2.3, 6.2), transfer (3.10),
 * learners, joint consensus, reads without a log entry (6.4), pipelined appends with limits in flight, hints
 * for the search of the common place of two logs, snapshots in chunks that go on where they broke off, and
 * groups that are quiet while nothing happens: then liveness of nodes is the caller's to watch, who calls
 * raft_wake().
 */
#ifndef CONSENSUSD_CORE_RAFT_H
#define CONSENSUSD_CORE_RAFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/mono.h"
#include "common/base/must.h"
#include "consensusd/core/raft_config.h"

struct raft;
struct raft_entry;
struct raft_msg;

enum {
	RAFT_PERSISTS_MAX = 8,    /* given to storage and not confirmed; then raft_persist() waits */
	RAFT_OUTBOX_MAX = 4096,   /* messages that wait for storage or to be fetched; the oldest is dropped */
	RAFT_INFLIGHT_MAX = 64,   /* appends to one member that were not answered */
	RAFT_READS_MAX = 256,     /* reads that wait at the leader; more are refused */
	RAFT_SUSPECT_STEPS = 8,   /* an election timeout has time for so many voters to stand one by one */
	RAFT_ELECTIONS_DEAD = 10, /* election timeouts after which an inactive member counts as gone */
};

struct raft_settings {
	int64_t election_us;   /* T: a follower waits for T to 2T */
	int64_t heartbeat_us;  /* well below T */
	int64_t quiet_us;      /* a leader with nothing to do for so long lets its group be quiet; 0: never */
	size_t append_bytes;   /* of entries in one message, but one entry at least */
	size_t inflight_bytes; /* to one member, unanswered */
	size_t uncommitted_bytes; /* proposals beyond are refused */
	size_t apply_bytes;       /* of one raft_apply(), but one entry at least */
	size_t chunk_bytes;       /* of a snapshot in one message; up to RAFT_CHUNK_MAX_BYTES */
};

enum raft_role { RAFT_FOLLOWER, RAFT_PRECANDIDATE, RAFT_CANDIDATE, RAFT_LEADER };
const char *raft_role_name(enum raft_role role);

/* What storage has of a replica. */
struct raft_state {
	uint64_t term, vote, commit;
	uint64_t snap_index, snap_term;        /* of the snapshot below the log; applied is at least this */
	const struct raft_config *snap_config; /* borrowed; what the snapshot has for membership */
	struct raft_entry *const *entries;     /* from snap_index + 1 on, without gaps; borrowed */
	size_t entry_count;
	uint64_t applied; /* by the state machine */
};

/* For tests and logs: one call for each thing that happens. */
enum raft_trace {
	RAFT_TRACE_ROLE,      /* a: enum raft_role, b: term */
	RAFT_TRACE_TERM,      /* a: term */
	RAFT_TRACE_VOTED,     /* a: for whom, b: term */
	RAFT_TRACE_DENIED,    /* a: whose request for a vote, b: term */
	RAFT_TRACE_LEADER,    /* a: who is known as the leader, 0 for nobody, b: term */
	RAFT_TRACE_APPENDED,  /* a: first index, b: last */
	RAFT_TRACE_TRUNCATED, /* a: from which index on */
	RAFT_TRACE_COMMIT,    /* a: index */
	RAFT_TRACE_CONFIG,    /* a: index of the configuration that is in use now */
	RAFT_TRACE_SNAPSHOT,  /* a: member that it is sent to, b: index */
	RAFT_TRACE_RESTORED,  /* a: index */
	RAFT_TRACE_PROBE,     /* a: member, b: the index that is tried next */
	RAFT_TRACE_REPLICATE, /* a: member, b: its match */
	RAFT_TRACE_TRANSFER,  /* a: to whom, 0: given up */
	RAFT_TRACE_QUIET,     /* a: 1 quiet, 0 awake */
	RAFT_TRACE_GONE,      /* a: index of the configuration that this replica is not in */
	RAFT_TRACES,
};
const char *raft_trace_name(enum raft_trace what);

struct raft_conf {
	struct raft_settings set;
	uint64_t id, node;                                                      /* of this replica */
	uint64_t seed;                                                          /* of its election timeouts */
	void (*trace)(void *arg, enum raft_trace what, uint64_t a, uint64_t b); /* may be NULL */
	void *arg;
};

/* A replica as storage has it, a follower.  ERR_NOMEM; ERR_RANGE, ERR_FORMAT: that can't be the state of a
 * replica (gaps, terms that fall, a configuration that can't be read). */
int raft_new(const struct raft_conf *conf, const struct raft_state *state, struct mono now,
    struct raft **out) MUST_USE;
void raft_free(struct raft *r);
/* From now on what is committed is applied though it may not be durable here yet: for a state machine that is
 * in memory only, and of which nothing follows here that the rest of the group does not stand for. */
void raft_apply_early(struct raft *r);

/* --- events --- */

/* A message for this replica: what it owns is taken, whatever happens to it.  Wrong ones are dropped and
 * counted. */
void raft_step(struct raft *r, struct raft_msg *m, struct mono now);
void raft_tick(struct raft *r, struct mono now);
/* When raft_tick() has something to do. */
struct mono raft_next(const struct raft *r);

/* Proposes an entry; the reference is taken in any case; one that the caller keeps stays as it is.  At the
 * leader it is appended, and *index is where; elsewhere it is sent to the leader, and *index is 0: whether it
 * arrives is not known until it is applied. ERR_UNAVAIL: no leader is known, or it is handing over. ERR_FULL:
 * too much is uncommitted.  ERR_NOMEM. */
int raft_propose(struct raft *r, struct raft_entry *e, struct mono now, uint64_t *index) MUST_USE;
/* Proposes another membership, of which no role has RAFT_OLD_VOTER; the leader only (ERR_STATE).  ERR_AGAIN:
 * the last one is not through; ERR_EXISTS: it is so already; ERR_RANGE, ERR_NOMEM, ERR_UNAVAIL. */
int raft_change(struct raft *r, const struct raft_config *to, struct mono now) MUST_USE;
/* Hands leadership to a voter; the leader only (ERR_STATE).  ERR_NOENT: it does not vote.  It is given up
 * after an election timeout. */
int raft_transfer(struct raft *r, uint64_t to, struct mono now) MUST_USE;
/* Asks for an index at which a read is linearizable; ctx comes back from raft_read_next().  ERR_UNAVAIL,
 * ERR_FULL, ERR_NOMEM.  An answer may never come: after a time the caller asks again. */
int raft_read(struct raft *r, uint64_t ctx, struct mono now) MUST_USE;
/* The node of the leader, or this node's links, may be dead: a quiet replica counts the time again. */
void raft_wake(struct raft *r, struct mono now);
/* The leader's node is known to be gone: voters stand for election soon, one after the other, and vote for
 * another.  If that is wrong, the next that is heard of the leader takes it back. */
void raft_suspect(struct raft *r, struct mono now);
/* Stands for election at once, if it may vote: for the first replica of a group, and tests. */
void raft_campaign(struct raft *r, struct mono now);

/* --- effects --- */

struct raft_persist {
	uint64_t mark; /* for raft_durable(), ascending */
	uint64_t term, vote, commit;
	uint64_t cut;         /* entries from here on are removed first; UINT64_MAX: none */
	uint64_t first, last; /* entries to be added, raft_entry_at(); first > last: none */
	/* The snapshot that was received takes the place of everything: log and state machine. */
	bool restore;
	uint64_t snap_index, snap_term;
};
/* False: nothing, or too much is under way. */
bool raft_persist(struct raft *r, struct raft_persist *out);
/* Nobody counts on what is to be persisted next: it is only entries, of a replica that does not vote. */
bool raft_persist_may_wait(const struct raft *r);
/* Storage has all up to a mark. */
void raft_durable(struct raft *r, uint64_t mark, struct mono now);
/* An entry of the log, borrowed until the next event; NULL: it is not there. */
struct raft_entry *raft_entry_at(struct raft *r, uint64_t index);

/* The next message that may leave; its content is the caller's (raft_msg_fini()). */
bool raft_send(struct raft *r, struct raft_msg *out);

/* The next committed entries, first to last; false: none.  They are asked for once; raft_applied() says that
 * they (or some of them) are done, when it likes.  Configurations and no-ops are among them. */
bool raft_apply(struct raft *r, uint64_t *first, uint64_t *last);
void raft_applied(struct raft *r, uint64_t index);

/* A read may be served when the state machine has applied index. */
bool raft_read_next(struct raft *r, uint64_t *ctx, uint64_t *index);

/* --- snapshots --- */

/* A snapshot of the state machine at keep or later is stored: entries up to keep, which is applied, are not
 * needed any more.  ERR_RANGE, ERR_NOMEM. */
int raft_compact(struct raft *r, uint64_t keep) MUST_USE;
/* A leader needs a piece of a snapshot for a member: of that at index, 0: of the newest; up to max bytes from
 * offset on.  False: none. */
struct raft_chunk_wanted {
	uint64_t to, index, offset;
	size_t max;
};
bool raft_chunk_next(struct raft *r, struct raft_chunk_wanted *out);
/* The piece, copied; NULL: there is no such snapshot (any more). */
struct raft_piece {
	uint64_t index, term;
	const uint8_t *config; /* encoded: the membership at index */
	size_t config_len;
	const uint8_t *data;
	size_t len;
	uint64_t size; /* of the whole */
};
void raft_chunk_give(
    struct raft *r, const struct raft_chunk_wanted *w, const struct raft_piece *piece, struct mono now);
/* A piece of a snapshot came: at offset of size; the last one when offset + len is size.  The caller keeps
 * it (offset 0 begins anew) and then calls raft_chunk_kept(), for the last one after it has checked the
 * whole: then the snapshot takes the place of everything, and nothing is applied until the state machine has
 * it.  If no event comes in between, only a lack of memory can keep it from that.  False: none. */
struct raft_chunk {
	uint64_t id;
	uint64_t index, term, offset, size;
	const uint8_t *config; /* as struct raft_piece; borrowed, as data, until the next event */
	size_t config_len;
	const uint8_t *data;
	size_t len;
};
bool raft_chunk_came(struct raft *r, struct raft_chunk *out);
/* ok false: what was kept is of no use; the leader begins anew. */
void raft_chunk_kept(struct raft *r, uint64_t id, bool ok, struct mono now);

/* --- to look at --- */

struct raft_status {
	uint64_t id, node, term, vote, leader, commit, applied, first, last;
	uint64_t written, durable; /* given to storage, and there */
	uint64_t config_index;
	enum raft_role role;
	bool joint, quiet, gone, voter;
	size_t members, bytes, outbox;
	uint64_t transfer; /* to whom; 0: to nobody */
};
void raft_show(const struct raft *r, struct raft_status *out);

/* A member as the leader sees it; false: there are not so many. */
struct raft_member_status {
	struct raft_member member;
	uint64_t match;
	bool active;   /* it was heard of within an election timeout or two */
	bool snapshot; /* it is being sent one */
	struct mono heard_at;
};
bool raft_member_at(const struct raft *r, size_t i, struct raft_member_status *out);
/* The membership in use as one object, for snapshots of it; and the one at an index that is applied. */
int raft_config_used(const struct raft *r, struct raft_config **out) MUST_USE;
int raft_config_at(const struct raft *r, uint64_t index, struct raft_config **out) MUST_USE;

struct raft_counters {
	uint64_t elections, terms, leads; /* stood for election; terms seen; won */
	uint64_t proposals, refused;      /* taken; refused because too much was uncommitted */
	uint64_t sent, received, dropped; /* messages; dropped because the outbox was full */
	uint64_t wrong;                   /* messages that made no sense */
	uint64_t memory_out;              /* messages lost for lack of memory */
	uint64_t snapshots_sent, restored;
	uint64_t reads;
};
const struct raft_counters *raft_counters(const struct raft *r);

#endif
