/*
 * world: one stream with its group, from the shipped cores, in virtual time.
 *
 * A node is a machine: its tables forget what was not committed when it crashes, it has a replica of the
 * stream's group, and it is the stream's source (node 0) or one of its targets, where an application writes
 * what it gets into a journal of its own.  Nodes reach each other directly or by relays, which keep nothing.
 * In half of the seeds frames go where routers send them: each node, and each relay, has the shipped router
 * and membership, with what surrounds them as tests/sim has it, and that simulation runs in step with this
 * one (routing.c).  In the others ways are modelled: any relay will do, and the source is told of its end.
 * What is here in place of the daemon's shell does what that does, in the same order.  Everything that
 * happens is an event of one queue, and all chance comes from one seed: a run can be repeated.
 */
#ifndef TESTS_STREAMSIM_WORLD_H
#define TESTS_STREAMSIM_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/mono.h"
#include "common/base/rng.h"
#include "consensusd/core/batch.h"
#include "consensusd/core/budget.h"
#include "consensusd/core/dsg.h"
#include "consensusd/core/idwindow.h"
#include "consensusd/core/pending.h"
#include "consensusd/core/raft.h"
#include "consensusd/core/retry.h"
#include "consensusd/core/stream.h"
#include "consensusd/core/target.h"
#include "tests/raftsim/disk.h"
#include "tests/sim/queue.h"
#include "tests/streamsim/rows.h"

enum {
	ENDS_MAX = 1 + ROWS_TARGETS_MAX,
	RELAYS_MAX = 2,
	GROUPS_MAX = 32,
	STAYS_MAX = 64,
	HOSTS_MAX = ENDS_MAX + RELAYS_MAX, /* relays come after the nodes */
	PUBLISHERS = 3,
	OUTSTANDING_MAX = 8, /* of a publisher: messages without an answer */
	SEQ_MAX = 1 << 13,   /* messages that one run may see */
	INDEX_MAX = 1 << 15, /* entries of the group's log, likewise */
	APP_OPEN_MAX = 33,   /* messages in a transaction of an application */
	REPLICA_STEP = 16,   /* between the ids of a node's replicas */
	FRAGMENT_BYTES = 1500,
	WORLD_MS = 1000, /* us */
	WORLD_SECOND = 1000 * WORLD_MS,
};

enum world_what {
	WORLD_FRAME,   /* reaches host node; data: struct frame */
	WORLD_FLUSHED, /* the tables of node have committed what was under way */
	WORLD_SYNCED,  /* the group's log at node has done its first write */
	WORLD_TICK,    /* node's timer: of its replica, its flows, its acks */
	WORLD_READ,    /* tables give batches; link: flow, at the source */
	WORLD_LETTERS, /* tables say what failed */
	WORLD_GAP,     /* tables say whether what the target looks for was given up */
	WORLD_APP,     /* the application's transaction has committed */
	WORLD_APP_START,
	WORLD_PUBLISH,  /* publisher `node` has a turn */
	WORLD_START,    /* host node starts again */
	WORLD_REROUTED, /* the source hears that a path is gone; link: to this target, if frames are routed */
	WORLD_LOSE,     /* node loses all that it has */
	WORLD_FAULT,
	WORLD_CHANGE, /* somebody may want other targets */
};

enum frame_kind {
	FRAME_BATCH,
	FRAME_ACK,
	FRAME_OPEN,
	FRAME_OPENED,
	FRAME_UNKNOWN,
	FRAME_CLOSE,
	FRAME_CLOSED,
	FRAME_SKIP,
	FRAME_REFUSED,
	FRAME_RAFT
};

struct frame {
	enum frame_kind kind;
	unsigned from, to;   /* nodes */
	struct batch *batch; /* owned */
	uint32_t index;      /* of the fragment */
	struct target_ack ack;
	/* of the end, of what was given up, or of what the source knows to have failed; of CLOSED: the
	 * statement that it answers */
	uint64_t seq;
	uint64_t replica; /* of the target, where it says where it is */
	size_t len;       /* of a message of a group */
	unsigned group;
	struct rows_set set; /* what opens the stream */
	uint8_t bytes[];
};

/* What an application knows of a message; durable with its journal, but for attempts. */
struct app_message {
	bool done;
	bool asked;                      /* it wanted no more of it */
	uint32_t attempts, attempts_now; /* that failed, in all and in this life of the node */
	uint32_t life;                   /* of the node, when the last one did */
	int64_t retry_at;
};

struct app {
	uint64_t journal;            /* it is done with all up to here; durable, with the messages */
	uint64_t told;               /* where it said it was when it began */
	uint64_t pending;            /* it got all up to here: not durable */
	uint64_t open[APP_OPEN_MAX]; /* of that, what its transaction has */
	unsigned open_count;
	uint64_t counted; /* up to here it was told what is missing, in this life of the node */
	uint32_t counted_life;
	uint32_t life;
	bool up, committing;
	int64_t slow_us; /* a transaction takes up to so long */
	struct app_message messages[SEQ_MAX];
};

/* A node's replica of a group. */
struct replica {
	uint64_t id;
	struct raft *raft; /* NULL: the node is down */
	struct dsg *dsg;
	struct disk disk;
	struct disk_snapshot incoming;
	uint64_t applied, applied_term; /* of the log */
	int64_t transfer_at;
	/* of the source's, what it forgets in a crash */
	uint64_t heard[ENDS_MAX]; /* replicas that targets have told of */
	int64_t members_at;
	int64_t unused_at;   /* since then no stream is there; 0: one is */
	uint64_t leave_term; /* the stream has left: the group is told, if it has this term still; 0: no */
};

struct node {
	bool up;
	uint32_t life; /* counts starts: events of an earlier one are void */
	struct rows rows;
	struct budget budget;
	struct order order;
	int64_t tick_at; /* INT64_MAX: none */
	int64_t slow_us; /* of a commit, at most; 0: as the others */
	bool flushed;
	struct replica *in[GROUPS_MAX];
	uint64_t replica; /* the id of the last one that was begun: another one when its log was lost */
	unsigned group;   /* that its stream is in */
	/* the source; NULL: the stream is closed */
	struct stream *stream;
	struct pending_pool pool;
	struct idwindows ids;
	uint64_t recorded_put[ROWS_TARGETS_MAX];
	uint64_t term;          /* in which what follows was proposed */
	uint64_t describe_next; /* seq of the next batch to be proposed */
	bool open_put, forget_put;
	uint64_t epoch_put;
	bool close_put, closed_put; /* rows that end it */
	int64_t progress_at;
	unsigned rows_put_count, rows_durable_count; /* of the stream */
	struct node_change {
		bool under_way;
		unsigned row, group; /* which of them is to be durable; where the stream goes then */
	} change;
	uint64_t brought_index; /* of the entry that says so */
	bool moved, brought;    /* in this life from another group; and the one it is in knows that */
	unsigned doubts[ENDS_MAX];
	bool asked[ENDS_MAX];
	struct rows_set row; /* what the source says now, a target has taken last */
	/* a target; NULL: the stream is not open yet, or closed */
	struct target *target;
	uint64_t row_epoch; /* given to the tables */
	struct retry retry;
	bool asking;        /* whether something was given up */
	bool letters_asked; /* what failed above letters_mark, of what was processed then */
	uint64_t letters_mark, letters_upto;
	size_t letters_put, letters_seen; /* by somebody who looks after them */
	struct app app;
	bool removing, again; /* it is a target no more when that is durable; and then anew */
	uint64_t removed_at;  /* as rows.h */
	unsigned stays;       /* times as a target */
	struct stay {
		uint64_t first, last; /* of what it got; last: processed when it left, 0: it is there */
		uint64_t bound;       /* nothing behind this was there when it was removed */
		bool ended;
	} stay[STAYS_MAX];
	uint64_t removed_bound; /* of its newest removal */
	bool refused;           /* the source takes nothing of what it says any more */
	unsigned lost;          /* so often it came back with empty tables */
	uint64_t ever_marked;   /* what it had processed then */
};

/* A message that was published at least once. */
struct message {
	uint64_t seq;  /* 0: not known to be durable */
	uint32_t life; /* of the source, when it was answered */
	bool answered, lost, refused, failed;
};

struct publisher {
	uint32_t next;
	struct {
		uint32_t number; /* 0: free */
		int64_t tried;
	} outstanding[OUTSTANDING_MAX];
	struct message messages[SEQ_MAX]; /* by number, from 1 on */
};

/* What is known of a seq by everybody. */
struct truth {
	uint32_t publisher, number; /* durable at the source; number 0: not yet */
	/* of the batch that begins there; count 0: it is not described */
	uint32_t count;
	uint64_t epoch;
	uint8_t digest[DSG_DIGEST_BYTES];
	uint8_t dead; /* targets where it ever was a dead letter, as bits */
	bool kept;    /* when it was given up, the source's tables knew that it was not lost */
};

struct faults {
	unsigned loss, doubled, memory, fenced; /* of 1000 */
	int64_t delay_us, commit_us;            /* up to */
	int64_t pace_us;                        /* between faults, up to */
	bool cut[HOSTS_MAX][HOSTS_MAX];         /* from, to */
	bool relay_down[RELAYS_MAX];
	/* A crash at the worst time: before or after the n-th event of a kind at a node; 0: none. */
	enum world_what doom;
	unsigned doom_node, doom_in;
	bool doom_after;
};

/* To be printed: numbers alone. */
struct sums {
	uint64_t events, frames, lost, messages, answered, repeated, crashes, app_crashes, relay_crashes,
	    entries, batches, terms, transfers, snapshots, restores, reads, resent, epochs, waits,
	    short_memory, closed, given_up, gaps, told_lost, asked_again, unsaid, unknown, applied, discarded,
	    nacks, letters, kept_out, lost_disks, replaced, refusals, early, spared, resumed, added, removed,
	    added_again, unheard, anew, left, not_here, adopted, changes_lost, changes_refused, groups_begun,
	    groups_again, members_added, voters, members_let_go, groups_dropped, renewed, begun_again,
	    incomplete, told_failed, parked, undecided, letters_read;
	/* where frames are routed: */
	uint64_t routed, hops, relayed, no_route, rerouted, notices, repaired, route_faults, route_events,
	    link_states, gossip;
};

struct world {
	uint64_t seed;
	struct rng rng;
	int64_t now;
	struct queue queue;
	struct sim *routing; /* NULL: ways are modelled */
	unsigned targets, relays;
	bool early;  /* subscribers get what is not stored; else as other handlers */
	bool direct; /* nodes reach each other without a relay, too */
	struct node node[ENDS_MAX];
	struct publisher publisher[PUBLISHERS];
	uint64_t goal;      /* messages that are to be published */
	uint64_t published; /* messages, not tries */
	bool calm;
	struct faults faults;
	struct stream_conf stream_conf;
	struct target_conf target_conf;
	struct policy policy;
	unsigned poison;                    /* of 1000 messages fail at their application */
	size_t ack_failures, flow_failures; /* of what failed, what targets and the source remember */
	uint64_t letters_max; /* dead letters that a target may have before somebody looks at them */
	bool may_lose;        /* disks */
	bool changes;         /* targets come and go */
	struct raft_settings settings;
	unsigned snapshot_every;
	struct ulid id;
	/* Invariants. */
	struct truth truth[SEQ_MAX];
	struct world_group {
		unsigned set;     /* its targets, bits by node */
		uint64_t *states; /* hash of its state after an entry; 0: not applied yet; owned */
	} group[GROUPS_MAX];
	unsigned groups;        /* that ever were */
	uint64_t hash;          /* of all that happened */
	uint64_t described_any; /* the highest that any replica has */
	bool verbose;
	struct sums sums;
};

struct buf;

struct world *world_new(uint64_t seed, unsigned targets, bool verbose);
/* Adds what happened to sum. */
void world_free(struct world *w, struct sums *sum);
/* Until then, or until everything is done if that is asked for. */
void world_run(struct world *w, int64_t until, bool done);
/* The invariant does not hold: says so and ends the program with 1. */
void world_fail(const struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3), noreturn));
void world_push(struct world *w, int64_t at, enum world_what what, unsigned node, unsigned link, void *data);
bool world_chance(struct world *w, unsigned of_1000);
unsigned world_below(struct world *w, unsigned n);
void world_note(struct world *w, uint64_t what); /* into the hash */
void world_tell(const struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
struct mono world_clock(const struct world *w);
uint64_t world_wall_ms(const struct world *w);
/* Whose a message is, and which of his. */
unsigned world_publisher(const struct ulid *id);
uint32_t world_number(const struct ulid *id);

/* --- node.c --- */
void node_start(struct world *w, unsigned n);
void node_crash(struct world *w, unsigned n);
/* After an event: lets everything happen that follows. */
void node_pump(struct world *w, unsigned n);
void node_frame(struct world *w, unsigned n, struct frame *f);
void node_flushed(struct world *w, unsigned n);
void node_arm(struct world *w, unsigned n, struct mono when);
/* Gives something to the tables, and notes what follows from it.  False: not now. */
bool node_put(struct node *o, const struct rows_put *p, void *noun);

/* --- group.c: its replicas --- */
void group_make(struct world *w, unsigned n);
void group_end(struct world *w, unsigned n);
void group_start(struct world *w, unsigned n);
void group_stop(struct world *w, unsigned n);
/* Begins a replica, at the source the first of the group; forgets one; its only one comes back with nothing.
 */
void group_begin(struct world *w, unsigned n, unsigned g);
void group_drop(struct world *w, unsigned n, unsigned g);
void group_lose(struct world *w, unsigned n);
void group_message(struct world *w, unsigned n, const struct frame *f);
void group_synced(struct world *w, unsigned n, unsigned g);
void group_pump(struct world *w, unsigned n);
/* That of the node's end of the stream; NULL: it has none. */
struct replica *group_of(const struct world *w, unsigned n);
bool group_leads(const struct replica *r, uint64_t *term);
/* And its state has all that was committed in earlier terms. */
bool group_ready(const struct replica *r, uint64_t *term);
bool group_propose(struct world *w, struct replica *r, const struct buf *entry, uint64_t *index);
/* Node n is to lead. */
bool group_hand_over(struct world *w, struct replica *r, unsigned n);

/* --- change.c: other targets for the running stream, at the source --- */
bool set_has(unsigned set, unsigned n);
unsigned set_count(unsigned set);
unsigned change_first_set(struct world *w);
/* After a restart, or for the first time. */
void change_load(struct world *w);
void change_load_flows(struct world *w);
void change_loaded(struct world *w);
void change_row_durable(struct world *w);
/* The target knows that it was removed. */
void change_told(struct world *w, unsigned n);
void change_next_revision(struct world *w);
/* Somebody may want a change, now and later; only now. */
void change_turn(struct world *w);
void change_now(struct world *w);

/* --- stay.c: a node's time as a target --- */
void stay_load(struct world *w, unsigned n);
void stay_open(struct world *w, unsigned n, const struct rows_set *row, uint64_t mark);
void stay_left(struct world *w, unsigned n);

/* --- relation.c: the groups of such a stream --- */
/* The one for these targets: a new one, if there is none.  False: no more can be had. */
bool relation_choose(struct world *w, unsigned set, unsigned *g);
void relation_move(struct world *w);
/* Before a node starts: replicas that no row of its names are of no use. */
void relation_load(struct world *w, unsigned n);
void relation_turn(struct world *w, unsigned n);

/* --- member.c --- */
/* The node comes back with nothing of what it had.  False: the group could not do with that. */
bool member_lose(struct world *w, unsigned n);
void member_heard(struct world *w, unsigned n, uint64_t replica);
/* By the source, if it leads: replicas that were lost are replaced, new ones are taken in. */
void member_turn(struct world *w, unsigned g);
/* So many voters forgot what they promised that those that are left can't decide. */
bool member_undecidable(const struct world *w, unsigned g);
/* All but the source go.  True: they are gone, or it does not lead. */
bool member_dissolve(struct world *w, unsigned g);

/* --- source.c --- */
void source_start(struct world *w);
void source_stop(struct world *w);
void source_frame(struct world *w, const struct frame *f);
void source_step(struct world *w);
void source_read(struct world *w, unsigned flow);
void source_rerouted(struct world *w);
/* Gives the row, with this state, to the tables; all that is pending. */
bool source_put_row(struct node *o, enum stream_state state);
bool source_give(struct world *w);
/* All targets are asked again, with what the row says now. */
void source_tell(struct world *w);
/* Writes who has processed what, and forgets what nobody needs. */
void source_record(struct world *w);
void source_record_flow(struct world *w, struct flow *f);
void source_fail_waiters(struct world *w);
/* Targets have processed more, or something was given up. */
void source_commit(struct world *w);
void source_new_epoch(struct world *w);
/* After what became durable: the stream may have ended. */
void source_durable(struct world *w);

/* --- describe.c --- */
void source_describe(struct world *w);

/* --- retain.c: the source gives up what is too much, or too old --- */
void retain_turn(struct world *w);
void retain_durable(struct world *w, uint64_t seq);
/* What is to be answered about a message that is there already; false: nothing is known yet. */
bool retain_answer(struct world *w, const struct waiter *one);

/* --- letters.c: what failed, on its way to publishers --- */
/* The source knows what failed up to mark, and asks for the rest. */
void letters_heard(struct world *w, unsigned n, uint64_t mark);
void letters_read(struct world *w, unsigned n);
void letters_load(struct world *w, unsigned n);
/* What is recorded of a target with its mark, which goes no farther than there is room for. */
void letters_record(struct world *w, const struct flow *f, struct rows_put *p);
/* A publisher of a message that is answered is told of it, or waits for the quorum. */
void letters_result(struct world *w, const struct waiter *one);
void letters_results(struct world *w);
/* What the source's tables say. */
void letters_check_recorded(struct world *w, const struct rows_put *p);
void letters_check_told(struct world *w, uint64_t seq, const struct message *m);

/* --- publisher.c --- */
void publisher_turn(struct world *w, unsigned p);
void publisher_answer(struct world *w, unsigned p, uint32_t number, uint64_t seq);
void publisher_lost(struct world *w, unsigned p, uint32_t number, uint64_t seq);
/* It was given up, and nobody knows whether it had reached what was asked for. */
void publisher_unknown(struct world *w, unsigned p, uint32_t number);
/* It is a dead letter at too many targets, as far as is known. */
void publisher_failed(struct world *w, unsigned p, uint32_t number, uint64_t seq);
/* The stream reaches no more what it was asked for. */
void publisher_refused(struct world *w, unsigned p, uint32_t number);
bool publisher_done(const struct world *w);

/* --- target.c --- */
void target_start(struct world *w, unsigned n);
void target_stop(struct world *w, unsigned n);
void target_frame(struct world *w, unsigned n, const struct frame *f);
void target_step(struct world *w, unsigned n);
void target_read(struct world *w, unsigned n);
void target_gap(struct world *w, unsigned n);
/* A target that is not there begins with this row. */
void target_begin(struct world *w, unsigned n, const struct rows_put *row);
/* Says where it is. */
void target_answer(struct world *w, unsigned n);
/* A row became durable, and what follows when it ends the stream. */
void target_row(struct world *w, unsigned n, uint64_t state);
void target_durable(struct world *w, unsigned n);

/* --- failed.c: messages that their application can't process --- */
void failed_load(struct world *w, unsigned n);
bool failed_waits(struct world *w, unsigned n);
bool failed_given_up(struct world *w, unsigned n, uint64_t seq);
/* True: it is a dead letter. */
bool failed_nack(struct world *w, unsigned n, uint64_t seq, bool dead);
/* Dead letters that follow what is acknowledged. */
void failed_pass(struct world *w, unsigned n);
/* What may be written as processed; the dead letters in it; when the tables took them; attempts. */
uint64_t failed_limit(struct world *w, unsigned n);
void failed_letters(struct world *w, unsigned n, struct rows_put *p);
void failed_put(struct world *w, unsigned n, const struct rows_put *p);
void failed_save(struct world *w, unsigned n);

/* --- app.c --- */
void app_got(struct world *w, unsigned n, const struct batch_record *rec);
void app_committed(struct world *w, unsigned n);
void app_crash(struct world *w, unsigned n);
void app_start(struct world *w, unsigned n);

/* --- net.c --- */
void net_send(struct world *w, unsigned from, unsigned to, const struct frame *f);
void net_send_batch(struct world *w, unsigned to, struct batch *b, uint64_t mark);
void net_send_raft(struct world *w, unsigned from, unsigned to, unsigned group, const struct buf *bytes);
/* A frame reaches a host: true if that is where it was to go. */
bool net_arrived(struct world *w, unsigned host, struct frame *f);
void frame_free(struct frame *f);

/* --- routing.c: where ways are modelled, it does nothing --- */
void routing_new(struct world *w);
void routing_free(struct world *w);
int64_t routing_next(const struct world *w);
void routing_step(struct world *w);
/* The frame is the network's; false: ways are modelled. */
bool routing_send(struct world *w, struct frame *f);
void routing_node(struct world *w, unsigned n); /* is up, or is not any more */
/* Something goes wrong; false: ways are modelled. */
bool routing_fault(struct world *w);
void routing_heal(struct world *w);
void routing_calm(struct world *w);
void routing_rerouted(struct world *w, unsigned target);
/* When all is done routes must have settled, too. */
void routing_end(struct world *w);

/* --- fault.c --- */
void fault_turn(struct world *w);
void fault_end(struct world *w); /* all is well from now on */
void fault_relay_back(struct world *w, unsigned host);
/* Something that goes wrong at the worst time. */
bool fault_strikes(struct world *w, const struct sim_event *ev, bool after);

/* --- check.c --- */
void check_digest(const struct batch *b, uint8_t digest[DSG_DIGEST_BYTES]);
struct dsg_batch check_descriptor(const struct batch *b);
void check_rows(struct world *w, unsigned n, const struct rows_put *p); /* became durable */
void check_taken(struct world *w, unsigned n, const struct batch *b);
void check_applied(struct world *w, unsigned n, unsigned g, const uint8_t *data, size_t len, uint64_t index);
void check_answer(struct world *w, uint64_t seq);
void check_lost(struct world *w, uint64_t seq, const struct message *m);
/* What is needed by nobody any more: processed by all targets, or given up. */
uint64_t check_released(const struct world *w);
void check_after(struct world *w, unsigned n);
bool check_done(const struct world *w);
void check_end(struct world *w);

/* --- check_targets.c: of a stream whose targets come and go --- */
/* Whether the node is a target, as the source's tables have it, that gets seq. */
bool check_gets(const struct world *w, unsigned n, uint64_t seq);
/* Or, where a quorum is enough, that it was one that got it: what a quorum once had it has for ever. */
bool check_got(const struct world *w, unsigned n, uint64_t seq);
/* What the node may be said to have processed. */
uint64_t check_bound(const struct world *w, unsigned n);
uint64_t check_ever_processed(const struct node *o);
void check_row(struct world *w, unsigned n, const struct rows_put *p); /* became durable */
void check_stay(const struct world *w, unsigned n, uint64_t seq);      /* an application gets it */
void check_stays_closed(const struct world *w);
bool check_stays_done(const struct world *w);
void check_stays_tell(const struct world *w);
void check_stays_end(const struct world *w);
bool check_once(const struct world *w, unsigned n, uint64_t seq);

/* --- check_policy.c: of what is given up, and of what fails --- */
void check_skipped(struct world *w, unsigned n, const struct rows_put *p);
void check_letters(struct world *w, unsigned n, const struct rows_put *p);
/* An application gets seq: what lies between what it got before and this, and what it is told of that. */
void check_passed(struct world *w, unsigned n, uint64_t seq);
void check_each_once(struct world *w, unsigned n);

#endif
