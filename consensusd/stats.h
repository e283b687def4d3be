/*
 * stats: the metrics of consensusd.  Labels are fixed; nothing here is per stream or per node.
 */
#ifndef CONSENSUSD_STATS_H
#define CONSENSUSD_STATS_H

#include "common/os/metrics.h"

/* name in code, metric name, kind, labels, help; those of one metric name follow each other. */
#define STATS_LIST(X)                                                                                        \
	X(published, "mesh_stream_published_messages_total", COUNTER, NULL,                                  \
	    "Messages taken from publishers")                                                                \
	X(published_bytes, "mesh_stream_published_bytes_total", COUNTER, NULL,                               \
	    "Payload bytes taken from publishers")                                                           \
	X(repeated, "mesh_stream_publish_repeated_total", COUNTER, NULL,                                     \
	    "Publishes of messages that were there already")                                                 \
	X(refused, "mesh_stream_publish_refused_total", COUNTER, NULL, "Publishes that were refused")        \
	X(committed, "mesh_stream_committed_messages_total", COUNTER, NULL,                                  \
	    "Messages that all targets have processed")                                                      \
	X(batches, "mesh_stream_batches_total", COUNTER, NULL, "Batches sealed and given to the store")      \
	X(sent, "mesh_stream_sent_batches_total", COUNTER, "kind=\"first\"", "Batches sent to targets")      \
	X(resent, "mesh_stream_sent_batches_total", COUNTER, "kind=\"again\"", "Batches sent to targets")    \
	X(rerouted, "mesh_stream_reroutes_total", COUNTER, NULL,                                             \
	    "Paths left with data on its way, which was sent again")                                         \
	X(asked, "mesh_stream_opens_sent_total", COUNTER, NULL,                                              \
	    "Times a target was asked to open a stream or where it is")                                      \
	X(received, "mesh_stream_received_batches_total", COUNTER, NULL,                                     \
	    "Whole batches received and verified")                                                           \
	X(duplicates, "mesh_stream_duplicate_batches_total", COUNTER, NULL, "Whole batches received again")  \
	X(rejected, "mesh_stream_rejected_batches_total", COUNTER, NULL,                                     \
	    "Batches with a bad signature, key or body")                                                     \
	X(unknown_stream, "mesh_stream_unknown_frames_total", COUNTER, NULL,                                 \
	    "Frames for streams that this node does not know")                                               \
	X(bad_frames, "mesh_stream_bad_frames_total", COUNTER, NULL,                                         \
	    "Frames that were malformed, forged or out of place")                                            \
	X(unreachable, "mesh_stream_unreachable_frames_total", COUNTER, NULL,                                \
	    "Frames that a relay could not forward")                                                         \
	X(delivered, "mesh_stream_delivered_messages_total", COUNTER, NULL,                                  \
	    "Messages handed to subscribers")                                                                \
	X(processed, "mesh_stream_processed_messages_total", COUNTER, NULL,                                  \
	    "Messages that subscribers have acknowledged and that are durable")                              \
	X(unopened, "mesh_stream_unopened_messages_total", COUNTER, NULL,                                    \
	    "Messages that could not be decrypted for a subscriber")                                         \
	X(expired, "mesh_stream_expired_chunks_total", COUNTER, NULL,                                        \
	    "Messages published in chunks and never finished")                                               \
	X(sources, "mesh_stream_open_streams", GAUGE, "role=\"source\"", "Open streams")                     \
	X(sinks, "mesh_stream_open_streams", GAUGE, "role=\"target\"", "Open streams")                       \
	X(subscribers, "mesh_stream_subscribers", GAUGE, NULL, "Subscriptions of API clients")               \
	X(calls, "mesh_stream_calls", GAUGE, NULL, "API calls under way")                                    \
	X(held_calls, "mesh_stream_held_calls", GAUGE, NULL, "Streaming publishes that are held")            \
	X(memory, "mesh_stream_memory_bytes", GAUGE, NULL, "Payload held in memory")                         \
	X(store_ready, "mesh_stream_store_ready", GAUGE, NULL, "1 while the database is connected")          \
	X(redis_up, "mesh_redis_up", GAUGE, NULL, "1 while Redis is connected")                              \
	X(redis_failures, "mesh_redis_failures_total", COUNTER, NULL,                                        \
	    "Connections to Redis that were lost or did not come about")                                     \
	X(redis_rejected, "mesh_redis_rejected_total", COUNTER, NULL,                                        \
	    "Answers of Redis that were errors or made no sense, and members that are no ids")               \
	X(redis_added, "mesh_redis_added_ids_total", COUNTER, NULL, "Message ids given to Redis")            \
	X(redis_dropped, "mesh_redis_dropped_ids_total", COUNTER, NULL,                                      \
	    "Message ids not given to it: it was away or behind")                                            \
	X(redis_recalled, "mesh_redis_recalled_ids_total", COUNTER, NULL,                                    \
	    "Message ids that Redis remembered over a restart")

struct stats {
#define X(field, name, kind, labels, help) struct metric field;
	STATS_LIST(X)
#undef X
};

extern struct stats stats;

/* Registers all of them; once. */
void stats_init(void);

#endif
