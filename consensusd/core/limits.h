/*
 * limits: every cap of consensusd's cores, with its unit, its reason and what happens when it is full.
 * What an operator may change is in mesh.conf(5) instead (batch-*, stream-*, memory-max).
 */
#ifndef CONSENSUSD_CORE_LIMITS_H
#define CONSENSUSD_CORE_LIMITS_H

enum {
	/* Targets of one stream: refuse.  As many as StreamMeta and the store have room for. */
	STREAM_TARGETS_MAX = 16,
	/* Ranges of messages that a stream has lost, for repeated publishes: of the oldest the store is
	   asked. */
	STREAM_LOST_MAX = 8,
	/* Publish calls of one stream that wait for their seq: refuse; above the mark streaming
	 * publishers are held.  A waiter costs 40 bytes. */
	WAITERS_MAX = 262144,
	WAITERS_HOLD_COUNT = 65536,
	/* Forming batches kept for reuse, and the bytes each may keep. */
	PENDING_POOL_MAX = 64,
	PENDING_KEEP_BYTES = 1024 * 1024,

	/* Batches in flight to one target: stop sending.  Bounds the scan for lost ones. */
	FLOW_INFLIGHT_MAX = 1024,
	FLOW_CWND_MIN_BYTES = 64 * 1024,
	/* Time-outs in a row before the source stops sending data and asks the target where it is. */
	FLOW_HURRY_MS = 25, /* a target that came back is asked again after so long, then with back-off */
	FLOW_TIMEOUTS_MAX = 3,
	/* Reordering on the way that is not taken for loss, at least. */
	FLOW_REORDER_DECAY = 8, /* with each loss the measured reordering time shrinks by this part */
	FLOW_REORDER_MIN_US = 5000,
	/* How often a target that has everything and has not processed it is asked, at least: its ack may
	 * have been lost. */
	FLOW_POLL_MAX_MS = 30000,
	/* How often a target that refused is asked again, at most. */
	FLOW_REFUSED_MAX_MS = 30000,

	/* Batches of one stream that are being put together from fragments: the farthest is dropped. */
	REASSEMBLY_MAX = 64,
	/* Whole batches that wait for an earlier one: the farthest is dropped (the source has it). */
	REORDER_MAX = 1024,
	/* What is not complete, or waits for what precedes it, and nothing comes that it waits for: it is
	 * dropped, so that memory is not held for a source that is gone.  One that is there has sent it again
	 * before. */
	TARGET_REASSEMBLY_US = 30000000,
	/* An ack that only says "stored" waits this long for company. */
	TARGET_ACK_DELAY_US = 2000,
	TARGET_RANGES_MAX = 8,
	/* Batches that a subscriber may process before they are due in the inbox wait for that so long, twice
	 * at most, and up to so many bytes of one stream, or half of its window: then they are written. */
	TARGET_HOLD_US = 5000,
	TARGET_HOLD_BYTES = 4 * 1024 * 1024,
	/* Messages of one stream that are delivered and not stored: no more is delivered until they are. */
	TARGET_UNSTORED_MAX = 65536,
	/* What a target keeps in memory for a subscriber that is not there. */
	TARGET_IDLE_BYTES = 256 * 1024,

	/* Messages of one stream that have failed and are not done with: the highest is forgotten, and counts
	 * its attempts anew; dead letters that wait are not, and above that the message is tried again. */
	RETRY_ITEMS_MAX = 16,
	POLICY_ATTEMPTS_MAX = 1000000,
	RETRY_ERROR_SIZE = 256,
	RETRY_DEFAULT_MS = 1000,
	RETRY_MAX_MS = 300000,

	/* Dead letters that an ack names: one that names so many says nothing of what lies behind them.  A
	 * target remembers as many of a stream: of older ones its database is asked. */
	FAILURES_ACK_MAX = 64,
	/* Dead letters of one target of a stream that its source remembers; until their publishers are
	 * answered it takes no more of that target for processed. */
	FAILURES_FLOW_MAX = 256,
	/* Publish calls of one stream that wait for a message which is a dead letter at some targets, and may
	 * still reach its quorum: more are told at once that it has not, and each is after a while. */
	STREAM_PARKED_MAX = 256,
	STREAM_PARKED_MS = 5000,

	/* Buckets of a byte ledger: then the finest two by two become one. */
	LEDGER_BUCKETS_MAX = 512,
	LEDGER_GRAIN_BYTES = 64 * 1024,
	LEDGER_GRAIN_MIN_BYTES = 1024,
	LEDGER_SPAN_MS = 250,

	/* Messages that clients send in chunks, whole node: refuse; idle ones are dropped. */
	ASSEMBLY_MAX = 1024,
	ASSEMBLY_IDLE_MS = 60000,
	ASSEMBLY_CHUNKS_MAX = 65536,

	/* Message ids that clients gave along with the seq, and that Redis tells of, whole node: the oldest
	 * is forgotten.  For those that they give alone there are dedupe-window and dedupe-max. */
	IDCACHE_MAX = 262144,

	/* Streams of one group: more are refused (a source begins another group).  Descriptors of one that
	 * are kept above its committed seq: older ones are forgotten, see dsg.h. */
	DSG_STREAMS_MAX = 16384,
	DSG_DESCRIPTORS_MAX = 4096,
	/* Of all streams of a group, 128 MB: a stream that adds one to so many forgets its own oldest. */
	DSG_DESCRIPTORS_TOTAL_MAX = 1048576,

	/* Nodes in the directory: new ones are ignored and counted. */
	NODES_MAX = 16384,
};

#endif
