/*
 * limits: caps of consensusd's shell, with unit, reason and policy; those of its cores are in
 * consensusd/core/limits.h.
 */
#ifndef CONSENSUSD_LIMITS_H
#define CONSENSUSD_LIMITS_H

enum {
	/* Work per turn of the loop, so that one busy stream can't hold up the rest: the remainder is
	 * done in the next turn. */
	ENGINE_TURN_SEND_BYTES = 4 * 1024 * 1024,
	ENGINE_TURN_DELIVER_COUNT = 2048,
	ENGINE_TURN_RECEIVE_BYTES = 4 * 1024 * 1024, /* of frames from this node to itself */

	/* How often all streams are asked to give memory back when it is short. */
	ENGINE_TRIM_MS = 50,

	/* How often it is measured how busy this process is. */
	ENGINE_MEASURE_MS = 1000,

	/* A batch this large is not held back while the store works. */
	GIVE_EARLY_COUNT = 64,
	GIVE_EARLY_BYTES = 64 * 1024,

	/* Message ids of a stream that can't be read after a restart are asked for again, if they are wanted,
	 * after so long. */
	SOURCE_IDS_AGAIN_MS = 200,

	/* Redis.  Ids of one stream that are kept there: the lowest seq goes first; and for how long after
	 * the last one came.  All that is read back is no more than IDCACHE_MAX has room for. */
	CACHE_STREAM_IDS = 65536,
	CACHE_TTL_S = 24 * 3600,
	CACHE_ADD_IDS = 512, /* in one command */
	/* Commands, and bytes of them, without an answer: what comes then is dropped and counted. */
	CACHE_PENDING_MAX = 4096,
	CACHE_PENDING_BYTES = 4 * 1024 * 1024,
	/* A longer text, or this much of an answer that can't be taken yet: the connection is dropped. */
	CACHE_TEXT_MAX_BYTES = 512,
	CACHE_UNREAD_MAX_BYTES = 64 * 1024,
	/* No answer for so long: the same. */
	CACHE_CONNECT_MS = 1000,
	CACHE_ANSWER_MS = 5000,
	CACHE_RETRY_MIN_MS = 50,
	CACHE_RETRY_MAX_MS = 5000,
	/* After a start, publishing by message id waits so long for what Redis knows, at most; streams that
	 * are asked for at once. */
	CACHE_WARM_MS = 500,
	CACHE_RECALLS_MAX = 16,

	/* Batches in Redis: for how long after the last one of the stream came; the part of redis-queue-max
	 * that one stream may have; a larger batch stays in the database alone.  Reads that wait for an
	 * answer, and batches of one: more are read from the database. */
	SPILL_TTL_S = 3600,
	SPILL_SHARE = 4,
	SPILL_BATCH_MAX_BYTES = 512 * 1024,
	SPILL_READS_MAX = 8,
	SPILL_READ_COUNT = 16,
	/* A read that waits longer goes to the database, and Redis is not asked for a while. */
	SPILL_WAIT_MS = 200,
	SPILL_PAUSE_MS = 5000,

	/* What is waiting for other nodes: written so often, of so many nodes at once, so many streams each;
	 * and for how long that is there. */
	EGRESS_MS = 5000,
	EGRESS_NODES = 64,
	EGRESS_STREAMS_MAX = 512,
	EGRESS_TTL_S = 30,

	/* How well nodes were reached: looked at so often, written to Redis for so many nodes at once (others
	 * have their turn the next time), kept there so long, and believed so long here. */
	WARMTH_MS = 5000,
	WARMTH_NODES = 256,
	WARMTH_TTL_S = 600,
	WARMTH_MAX_MS = 600 * 1000,

	/* Calls of API clients that are open at once, all connections: refuse. */
	CALLS_MAX = 65536,
	/* Subscriptions at once: refuse. */
	SUBSCRIBERS_MAX = 4096,
	/* Calls that wait for one stream to be opened or closed: refuse. */
	SOURCE_CALLS_MAX = 16,

	/* Answers of a target that can't be true before it is taken for broken: an old one may come late. */
	SOURCE_DOUBTS_MAX = 5,

	/* Credit of a subscriber that sends no window updates: messages and bytes that it has not
	 * acknowledged. */
	SUBSCRIBER_WINDOW_COUNT = 1000,
	SUBSCRIBER_WINDOW_BYTES = 1024 * 1024,

	/* Dead letters of one stream that wait to be delivered once more: refuse. */
	REPLAYS_MAX = 1024,

	/* How far processed marks run ahead of clearing outbox and inbox rows. */
	CLEAR_LAG_COUNT = 1024,
	CLEAR_IDLE_MS = 500,

	/* How often it is looked whether messages of a stream are too old: so many times in their time, at
	 * most and at least this often; and how often it is said that some were given up. */
	RETAIN_PARTS = 8,
	RETAIN_MIN_MS = 100,
	RETAIN_MAX_MS = 5000,
	RETAIN_TELL_MS = 1000,

	/* The smallest batch that is striped over several lanes: 70 fragments.  A smaller one is on its way
	 * in a few milliseconds at any rate, and what arrives of it early would wait for the rest. */
	STRIPE_MIN_BYTES = 1024 * 1024,
	/* Entries of the metadata of a stream that is opened: refuse. */
	METADATA_MAX = 32,

	/* Frames that are gathered for one message to transportd. */
	TRANSPORT_OUT_BYTES = 262144,
	/* Bytes that wait to be written to transportd: above, streams wait, and below the low mark they go
	 * on. What waits here is sent even if transportd says hold meanwhile, and has to find room there. */
	TRANSPORT_HIGH_BYTES = 512 * 1024,
	TRANSPORT_LOW_BYTES = 256 * 1024,
	/* Frames from this node to itself that wait: then its streams wait. */
	LOOPBACK_MAX_BYTES = 16 * 1024 * 1024,
	/* Messages to a consensusd are put together in packets of so much, larger ones go alone. */
	PEERS_PACKET_BYTES = 128 * 1024,
	/* What a message may cost besides its bytes. */
	PEERS_OVERHEAD_BYTES = 1024,
	/* Keys shared with other nodes that are kept: the one longest unused of two in a place goes. */
	PAIRKEYS_PLACES = 1024,
	/* Updates of nodes.  How many nodes one is pushed to by its node, and by each that passes it on
	 * (bulletin.h says why); how often another node is asked whether it has the same, how soon after one
	 * came up, and jitter in percent. */
	BULLETIN_PUSH = 8,
	BULLETIN_PASS = 4,
	BULLETIN_SYNC_MS = 5000,
	BULLETIN_SYNC_SOON_MS = 200,
	BULLETIN_JITTER = 30,
	/* After news of one node no other is asked: both would send the same. */
	BULLETIN_BUSY_MS = 1000,
	/* Notes on their way to the store: more are dropped, and come again. */
	BULLETIN_STAGED_MAX = 1024,
	/* Calls that wait for their notes: refuse.  Those that have not confirmed get it again this often,
	 * so many at once. */
	BULLETIN_WAITS_MAX = 256,
	BULLETIN_AGAIN_MS = 1000,
	BULLETIN_AGAIN_COUNT = 64,
	BULLETIN_WAIT_MS = 10000,
	BULLETIN_WAIT_MAX_MS = 3600 * 1000,

	/* Names of subscribers to updates whose positions are remembered: the one that was here longest ago
	 * is forgotten. */
	FOLLOWER_NAMES_MAX = 4095,
	/* Updates that a follower may have unacknowledged. */
	FOLLOWER_WINDOW = 256,
	FOLLOWER_WINDOW_MAX = 4096,
	/* Updates of one follower before the next one's turn. */
	FOLLOWER_SHARE_COUNT = 64,
	/* How far what was passed over runs ahead of the position that is stored. */
	FOLLOWER_PASSED_LAG = 1024,

	/* Closed streams that are remembered, so that an old frame opens none of them again. */
	CLOSED_MAX = 16384,
	/* How old a stream may be that is opened without a challenge (fresh.h): less than the day for which
	 * closed ones are loaded from the database, and more than clocks differ. */
	FRESH_MS = 3600 * 1000,
	FRESH_PERIOD_MS = 60 * 1000, /* for which a challenge is good, twice */
};

#endif
