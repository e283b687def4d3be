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
	X(failed, "mesh_stream_publish_failed_total", COUNTER, NULL,                                         \
	    "Publishers told that their message is a dead letter at too many targets")                       \
	X(committed, "mesh_stream_committed_messages_total", COUNTER, NULL,                                  \
	    "Messages that all targets have processed")                                                      \
	X(skipped, "mesh_stream_skipped_messages_total", COUNTER, "role=\"source\"",                         \
	    "Messages given up before all targets had processed them")                                       \
	X(passed, "mesh_stream_skipped_messages_total", COUNTER, "role=\"target\"",                          \
	    "Messages given up before all targets had processed them")                                       \
	X(batches, "mesh_stream_batches_total", COUNTER, NULL, "Batches sealed and given to the store")      \
	X(sent, "mesh_stream_sent_batches_total", COUNTER, "kind=\"first\"", "Batches sent to targets")      \
	X(resent, "mesh_stream_sent_batches_total", COUNTER, "kind=\"again\"", "Batches sent to targets")    \
	X(rerouted, "mesh_stream_reroutes_total", COUNTER, NULL,                                             \
	    "Paths left with data on its way, which was sent again")                                         \
	X(asked, "mesh_stream_opens_sent_total", COUNTER, NULL,                                              \
	    "Times a target was asked to open a stream or where it is")                                      \
	X(challenged, "mesh_stream_challenges_total", COUNTER, NULL,                                         \
	    "Sources asked to prove that an old stream is theirs")                                           \
	X(received, "mesh_stream_received_batches_total", COUNTER, NULL,                                     \
	    "Whole batches received and verified")                                                           \
	X(spared, "mesh_stream_inbox_spared_batches_total", COUNTER, NULL,                                   \
	    "Batches that were processed before they were due in the inbox")                                 \
	X(duplicates, "mesh_stream_duplicate_batches_total", COUNTER, NULL, "Whole batches received again")  \
	X(rejected, "mesh_stream_rejected_batches_total", COUNTER, NULL,                                     \
	    "Batches with a bad signature, key or body")                                                     \
	X(incomplete, "mesh_stream_incomplete_batches_total", COUNTER, NULL,                                 \
	    "Batches dropped at a target because nothing came of the rest for 30 s")                         \
	X(unknown_stream, "mesh_stream_unknown_frames_total", COUNTER, NULL,                                 \
	    "Frames for streams that this node does not know")                                               \
	X(bad_frames, "mesh_stream_bad_frames_total", COUNTER, NULL,                                         \
	    "Frames that were malformed, forged or out of place")                                            \
	X(unreachable, "mesh_stream_unreachable_frames_total", COUNTER, NULL,                                \
	    "Frames that a relay could not forward")                                                         \
	X(delivered, "mesh_stream_delivered_messages_total", COUNTER, NULL,                                  \
	    "Messages handed to subscribers")                                                                \
	X(processed, "mesh_stream_processed_messages_total", COUNTER, NULL,                                  \
	    "Messages that are processed, or given up, and that are durable")                                \
	X(discarded, "mesh_stream_discarded_messages_total", COUNTER, NULL,                                  \
	    "Messages of streams whose handler discards them")                                               \
	X(db_applied, "mesh_stream_db_applied_messages_total", COUNTER, NULL,                                \
	    "Messages applied to the database by the handler db")                                            \
	X(db_failed, "mesh_stream_db_failed_total", COUNTER, NULL,                                           \
	    "Times a message could not be applied for what it says")                                         \
	X(db_retried, "mesh_stream_db_retried_total", COUNTER, NULL,                                         \
	    "Times messages for the database were put off by trouble that is not theirs")                    \
	X(nacks, "mesh_stream_nacks_total", COUNTER, NULL, "Times a handler could not process a message")    \
	X(retried, "mesh_stream_retries_total", COUNTER, NULL, "Messages handed out again after that")       \
	X(failing, "mesh_stream_failing_streams", GAUGE, NULL,                                               \
	    "Streams that wait for a message that has failed at its handler")                                \
	X(letters_made, "mesh_stream_dead_letters_total", COUNTER, NULL,                                     \
	    "Messages that became dead letters")                                                             \
	X(replayed, "mesh_stream_dead_letters_replayed_total", COUNTER, NULL,                                \
	    "Dead letters that were processed after all")                                                    \
	X(letters, "mesh_stream_dead_letters", GAUGE, NULL, "Dead letters that are not resolved")            \
	X(letters_waiting, "mesh_stream_dead_letters_waiting_streams", GAUGE, NULL,                          \
	    "Streams that wait for room for a dead letter (dead-letters-max)")                               \
	X(unopened, "mesh_stream_unopened_messages_total", COUNTER, NULL,                                    \
	    "Messages that could not be decrypted for a subscriber")                                         \
	X(expired, "mesh_stream_expired_chunks_total", COUNTER, NULL,                                        \
	    "Messages published in chunks and never finished")                                               \
	X(targets_added, "mesh_stream_target_changes_total", COUNTER, "change=\"added\"",                    \
	    "Targets that streams of this node got or lost while they were open")                            \
	X(targets_removed, "mesh_stream_target_changes_total", COUNTER, "change=\"removed\"",                \
	    "Targets that streams of this node got or lost while they were open")                            \
	X(ids, "mesh_stream_message_ids", GAUGE, NULL,                                                       \
	    "Message ids that publishers gave alone, and that are known")                                    \
	X(ids_given_up, "mesh_stream_message_ids_given_up_total", COUNTER, NULL,                             \
	    "Of these, those that were forgotten before their time (dedupe-max)")                            \
	X(sources, "mesh_stream_open_streams", GAUGE, "role=\"source\"", "Open streams")                     \
	X(sinks, "mesh_stream_open_streams", GAUGE, "role=\"target\"", "Open streams")                       \
	X(taken_over, "mesh_stream_taken_over_total", COUNTER, NULL,                                         \
	    "Times a newer subscription took a stream over")                                                 \
	X(left_out, "mesh_stream_left_out_total", COUNTER, NULL,                                             \
	    "Streams that a subscription to a tenant went without, as they had a subscriber")                \
	X(subscriptions_refused, "mesh_stream_subscriptions_refused_total", COUNTER, NULL,                   \
	    "Subscriptions refused, as a stream had a subscriber")                                           \
	X(fenced, "mesh_stream_fenced_acks_total", COUNTER, NULL,                                            \
	    "Acks and nacks of subscriptions that had lost the stream")                                      \
	X(subscribers, "mesh_stream_subscribers", GAUGE, NULL, "Subscriptions of API clients")               \
	X(calls, "mesh_stream_calls", GAUGE, NULL, "API calls under way")                                    \
	X(held_calls, "mesh_stream_held_calls", GAUGE, NULL, "Streaming publishes that are held")            \
	X(memory, "mesh_stream_memory_bytes", GAUGE, NULL, "Payload held in memory")                         \
	X(acl_publish, "mesh_acl_denied_total", COUNTER, "action=\"publish\"",                               \
	    "What policies of tenants have denied")                                                          \
	X(acl_subscribe, "mesh_acl_denied_total", COUNTER, "action=\"subscribe\"",                           \
	    "What policies of tenants have denied")                                                          \
	X(acl_send, "mesh_acl_denied_total", COUNTER, "action=\"send\"",                                     \
	    "What policies of tenants have denied")                                                          \
	X(acl_receive, "mesh_acl_denied_total", COUNTER, "action=\"receive\"",                               \
	    "What policies of tenants have denied")                                                          \
	X(acl_policies, "mesh_acl_policies", GAUGE, NULL, "Policies of tenants that are in effect")          \
	X(acl_broken, "mesh_acl_broken_policies", GAUGE, NULL,                                               \
	    "Policies that can't be read and deny everything")                                               \
	X(pressure, "mesh_stream_pressure_permille", GAUGE, NULL,                                            \
	    "How much less sources are granted since the database is behind or this process is busy")        \
	X(store_ready, "mesh_stream_store_ready", GAUGE, NULL, "1 while the database is connected")          \
	X(groups, "mesh_raft_groups", GAUGE, NULL, "Raft groups that this node has a replica of")            \
	X(mismatched, "mesh_stream_mismatched_batches_total", COUNTER, NULL,                                 \
	    "Batches that were dropped because the stream's group has another one in their place")           \
	X(redescribed, "mesh_stream_redescribed_batches_total", COUNTER, NULL,                               \
	    "Batches described anew because their group had others in their place, lost in a crash")         \
	X(relation_entries, "mesh_stream_group_entries_total", COUNTER, NULL,                                \
	    "Entries proposed to groups of streams by this node as their source")                            \
	X(relations_renewed, "mesh_stream_groups_renewed_total", COUNTER, NULL,                              \
	    "Groups of streams that another one took the place of, because too many replicas were lost")     \
	X(raft_unsent, "mesh_raft_unsent_messages_total", COUNTER, NULL,                                     \
	    "Raft messages that could not be sent")                                                          \
	X(raft_bad, "mesh_raft_rejected_messages_total", COUNTER, "reason=\"malformed\"",                    \
	    "Raft messages that were not taken")                                                             \
	X(raft_unknown, "mesh_raft_rejected_messages_total", COUNTER, "reason=\"unknown-group\"",            \
	    "Raft messages that were not taken")                                                             \
	X(raft_snapshots, "mesh_raft_snapshots_total", COUNTER, "kind=\"made\"", "Snapshots")                \
	X(raft_restored, "mesh_raft_snapshots_total", COUNTER, "kind=\"restored\"", "Snapshots")             \
	X(asks_unsent, "mesh_peers_unsent_questions_total", COUNTER, NULL,                                   \
	    "Questions and answers of other nodes that could not be sent")                                   \
	X(asks_bad, "mesh_peers_rejected_questions_total", COUNTER, NULL,                                    \
	    "Questions and answers of other nodes that made no sense")                                       \
	X(peers_sent_messages, "mesh_peers_messages_total", COUNTER, "direction=\"sent\"",                   \
	    "Messages exchanged with other consensusds")                                                     \
	X(peers_received_messages, "mesh_peers_messages_total", COUNTER, "direction=\"received\"",           \
	    "Messages exchanged with other consensusds")                                                     \
	X(peers_sent_packets, "mesh_peers_packets_total", COUNTER, "direction=\"sent\"",                     \
	    "Sealed packets exchanged with other consensusds")                                               \
	X(peers_received_packets, "mesh_peers_packets_total", COUNTER, "direction=\"received\"",             \
	    "Sealed packets exchanged with other consensusds")                                               \
	X(peers_sent_bytes, "mesh_peers_bytes_total", COUNTER, "direction=\"sent\"",                         \
	    "Bytes of sealed packets exchanged with other consensusds")                                      \
	X(peers_received_bytes, "mesh_peers_bytes_total", COUNTER, "direction=\"received\"",                 \
	    "Bytes of sealed packets exchanged with other consensusds")                                      \
	X(peers_malformed, "mesh_peers_rejected_total", COUNTER, "reason=\"malformed\"",                     \
	    "What came from other consensusds and was rejected")                                             \
	X(peers_wrong_key, "mesh_peers_rejected_total", COUNTER, "reason=\"key\"",                           \
	    "What came from other consensusds and was rejected")                                             \
	X(peers_unsealed, "mesh_peers_rejected_total", COUNTER, "reason=\"seal\"",                           \
	    "What came from other consensusds and was rejected")                                             \
	X(peers_unknown, "mesh_peers_rejected_total", COUNTER, "reason=\"unknown\"",                         \
	    "What came from other consensusds and was rejected")                                             \
	X(peers_no_memory, "mesh_peers_rejected_total", COUNTER, "reason=\"memory\"",                        \
	    "What came from other consensusds and was rejected")                                             \
	X(peers_incomplete, "mesh_peers_incomplete_total", COUNTER, NULL,                                    \
	    "Packets given up with fragments missing")                                                       \
	X(peers_lost, "mesh_peers_lost_messages_total", COUNTER, NULL,                                       \
	    "Messages to other consensusds that were queued and could not be sent")                          \
	X(peers_refused, "mesh_peers_refused_messages_total", COUNTER, NULL,                                 \
	    "Messages to other consensusds for which there was no room")                                     \
	X(peers_queued, "mesh_peers_queued_bytes", GAUGE, NULL,                                              \
	    "Bytes that wait to be sent to other consensusds")                                               \
	X(evicted, "mesh_control_evicted_nodes", GAUGE, NULL, "Nodes that are locked out of the mesh")       \
	X(members, "mesh_control_known_members", GAUGE, NULL,                                                \
	    "Nodes that the control group knows, former members too")                                        \
	X(mesh_applied, "mesh_control_applied_index", GAUGE, NULL,                                           \
	    "Index of the control group's log that this node has applied")                                   \
	X(mesh_proposals, "mesh_control_proposals", GAUGE, NULL,                                             \
	    "Proposals of this node to the control group that are under way")                                \
	X(mesh_queued, "mesh_control_proposals_queued", GAUGE, NULL,                                         \
	    "Proposals of this node that wait for room among those")                                         \
	X(mesh_refused, "mesh_control_proposals_refused_total", COUNTER, NULL,                               \
	    "Proposals of this node for which there was no room at all")                                     \
	X(mesh_leader, "mesh_control_leader", GAUGE, NULL, "1 while this node leads the control group")      \
	X(mesh_term, "mesh_control_term", GAUGE, NULL, "Term of the control group")                          \
	X(mesh_keys, "mesh_control_keys", GAUGE, NULL, "Keys of the control group that this node has")       \
	X(shared_refused, "mesh_control_shared_refused_total", COUNTER, NULL,                                \
	    "Keys of the shared configuration that were to be directives of a daemon and can't be")          \
	X(notes, "mesh_notes_current", GAUGE, NULL, "Updates of nodes that this node has")                   \
	X(notes_removed, "mesh_notes_removed", GAUGE, NULL, "Of updates that were taken back")               \
	X(notes_memory, "mesh_notes_memory_bytes", GAUGE, NULL, "Memory that updates of nodes take")         \
	X(notes_posted, "mesh_notes_posted_total", COUNTER, NULL, "Updates that this node has made")         \
	X(notes_pushed, "mesh_notes_pushed_total", COUNTER, NULL, "New updates of nodes sent to others")     \
	X(notes_taken, "mesh_notes_received_total", COUNTER, "result=\"new\"", "Updates of nodes received")  \
	X(notes_old, "mesh_notes_received_total", COUNTER, "result=\"known\"", "Updates of nodes received")  \
	X(notes_refused, "mesh_notes_received_total", COUNTER, "result=\"refused\"",                         \
	    "Updates of nodes received")                                                                     \
	X(notes_dropped, "mesh_notes_received_total", COUNTER, "result=\"dropped\"",                         \
	    "Updates of nodes received")                                                                     \
	X(notes_bad, "mesh_notes_bad_messages_total", COUNTER, NULL,                                         \
	    "Messages about updates of nodes that were malformed or not signed")                             \
	X(notes_unsent, "mesh_notes_unsent_messages_total", COUNTER, NULL,                                   \
	    "Messages about updates of nodes that could not be sent")                                        \
	X(followers, "mesh_follow_subscribers", GAUGE, NULL, "Subscriptions to updates")                     \
	X(followed, "mesh_follow_delivered_total", COUNTER, NULL, "Updates handed to subscribers")           \
	X(follow_names, "mesh_follow_names", GAUGE, NULL,                                                    \
	    "Names of subscribers to updates whose positions are kept")                                      \
	X(follow_forgotten, "mesh_follow_forgotten_names_total", COUNTER, NULL,                              \
	    "Names of subscribers to updates that were forgotten for others")                                \
	X(redis_up, "mesh_redis_up", GAUGE, NULL, "1 while Redis is connected")                              \
	X(redis_failures, "mesh_redis_failures_total", COUNTER, NULL,                                        \
	    "Connections to Redis that were lost or did not come about")                                     \
	X(redis_rejected, "mesh_redis_rejected_total", COUNTER, NULL,                                        \
	    "Answers of Redis that were errors or made no sense, and members that are no ids")               \
	X(redis_added, "mesh_redis_added_ids_total", COUNTER, NULL, "Message ids given to Redis")            \
	X(redis_dropped, "mesh_redis_dropped_ids_total", COUNTER, NULL,                                      \
	    "Message ids not given to it: it was away or behind")                                            \
	X(redis_recalled, "mesh_redis_recalled_ids_total", COUNTER, NULL,                                    \
	    "Message ids that Redis remembered over a restart")                                              \
	X(redis_queue, "mesh_redis_queue_bytes", GAUGE, NULL, "Batches of streams in Redis")                 \
	X(redis_queue_put, "mesh_redis_queue_written_batches_total", COUNTER, NULL,                          \
	    "Batches of streams given to Redis")                                                             \
	X(redis_queue_dropped, "mesh_redis_queue_dropped_batches_total", COUNTER, NULL,                      \
	    "Batches that were not: it was away, behind or full, or they are too large")                     \
	X(redis_queue_read, "mesh_redis_queue_read_batches_total", COUNTER, NULL,                            \
	    "Batches sent that were read back from Redis")                                                   \
	X(redis_queue_missed, "mesh_redis_queue_missed_total", COUNTER, NULL,                                \
	    "Reads that Redis had nothing of use for: the database was asked in its place")                  \
	X(redis_egress, "mesh_redis_egress_written_total", COUNTER, NULL,                                    \
	    "Times that the streams with something for a node were given to Redis")                          \
	X(redis_egress_dropped, "mesh_redis_egress_dropped_total", COUNTER, NULL,                            \
	    "Times that they were not: it was behind")                                                       \
	X(redis_paths, "mesh_redis_paths_written_total", COUNTER, NULL,                                      \
	    "Times that windows and round trips of a node were given to Redis")                              \
	X(redis_paths_dropped, "mesh_redis_paths_dropped_total", COUNTER, NULL,                              \
	    "Times that they were not: it was behind")                                                       \
	X(redis_paths_recalled, "mesh_redis_paths_recalled_total", COUNTER, NULL,                            \
	    "Nodes of which Redis remembered them over a restart")                                           \
	X(warmed, "mesh_stream_flows_warmed_total", COUNTER, NULL,                                           \
	    "Flows that began with what others to the same node had reached")

struct stats {
#define X(field, name, kind, labels, help) struct metric field;
	STATS_LIST(X)
#undef X
};

extern struct stats stats;

/* Registers all of them; once. */
void stats_init(void);

#endif
