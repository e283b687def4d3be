/*
 * stats: every metric of transportd, declared once in this list.
 *
 * Metrics of one name stand in a row; labels are fixed text (common/os/metrics.h).
 */
#ifndef TRANSPORTD_STATS_H
#define TRANSPORTD_STATS_H

#include <stddef.h>
#include <stdint.h>

#include "common/os/metrics.h"

/*        id                 kind     name, labels, help */
#define STATS_LIST(X)                                                                                        \
	X(LINKS, GAUGE, "mesh_links", NULL, "Links to neighbours that are up.")                              \
	X(PENDING, GAUGE, "mesh_connections_pending", NULL,                                                  \
	    "Connections that have not proven their identity yet.")                                          \
	X(LINK_UPS, COUNTER, "mesh_link_ups_total", NULL, "Links that came up.")                             \
	X(LINK_DOWNS, COUNTER, "mesh_link_downs_total", NULL, "Links that went down.")                       \
	X(LANES, GAUGE, "mesh_lanes", NULL, "Lanes of links that are up.")                                   \
	X(LANE_UPS, COUNTER, "mesh_lane_ups_total", NULL, "Lanes that came up.")                             \
	X(LANE_DOWNS, COUNTER, "mesh_lane_downs_total", NULL, "Lanes that went down.")                       \
	X(LANE_DEAD, COUNTER, "mesh_lane_dead_total", NULL, "Lanes closed because the peer was silent.")     \
	X(LANE_STALLS, COUNTER, "mesh_lane_stalls_total", NULL,                                              \
	    "Times that a peer was silent while its kernel answered.")                                       \
	X(LANE_SCALE_UPS, COUNTER, "mesh_lane_scale_ups_total", NULL,                                        \
	    "Bulk lanes asked for because the others were full.")                                            \
	X(LANE_SCALE_DOWNS, COUNTER, "mesh_lane_scale_downs_total", NULL,                                    \
	    "Bulk lanes closed because they were idle.")                                                     \
	X(RESENT, COUNTER, "mesh_lane_resent_frames_total", NULL,                                            \
	    "Frames sent again on another lane after theirs had gone.")                                      \
	X(LANE_UNRESUMED, COUNTER, "mesh_lane_unresumed_frames_total", NULL,                                 \
	    "Frames on their way on a dead lane whose peer did not tell what it got.")                       \
	X(PROBES, COUNTER, "mesh_link_probes_total", NULL, "Probe trains sent to learn a bandwidth.")        \
	X(LINK_BANDWIDTH, GAUGE, "mesh_link_bandwidth_bytes_per_second", NULL,                               \
	    "What the links could carry together, as far as it is known.")                                   \
	X(LINK_MEMORY, GAUGE, "mesh_link_memory_bytes", NULL,                                                \
	    "Bytes held for all links: queued, and sent but not acknowledged.")                              \
	X(ACCEPTED, COUNTER, "mesh_connections_accepted_total", NULL, "Connections that peers opened.")      \
	X(DIALLED, COUNTER, "mesh_connections_dialled_total", NULL, "Connections that this node opened.")    \
	X(DIAL_FAILED, COUNTER, "mesh_connections_failed_total", NULL,                                       \
	    "Dialled connections that ended before the link was up.")                                        \
	X(REFUSED_PENDING, COUNTER, "mesh_connections_refused_total", "reason=\"pending_max\"",              \
	    "Connections of peers that were refused.")                                                       \
	X(REFUSED_TLS, COUNTER, "mesh_connections_refused_total", "reason=\"tls\"", "")                      \
	X(REFUSED_HTTP, COUNTER, "mesh_connections_refused_total", "reason=\"http\"", "")                    \
	X(REFUSED_TOKEN, COUNTER, "mesh_connections_refused_total", "reason=\"token\"", "")                  \
	X(REFUSED_NOT_READY, COUNTER, "mesh_connections_refused_total", "reason=\"not_ready\"", "")          \
	X(REFUSED_HELLO, COUNTER, "mesh_connections_refused_total", "reason=\"hello\"", "")                  \
	X(TOKENS_SENT, COUNTER, "mesh_tokens_sent_total", NULL, "Tokens shown on open connections.")         \
	X(TOKENS_TAKEN, COUNTER, "mesh_tokens_taken_total", NULL,                                            \
	    "Tokens of peers taken on open connections.")                                                    \
	X(RX_BYTES, COUNTER, "mesh_link_received_bytes_total", NULL, "Bytes of frames received on links.")   \
	X(TX_BYTES, COUNTER, "mesh_link_sent_bytes_total", NULL, "Bytes of frames and empty Pongs sent.")    \
	X(RX_MESSAGES, COUNTER, "mesh_link_received_messages_total", NULL,                                   \
	    "WebSocket messages received on links.")                                                         \
	X(TX_MESSAGES, COUNTER, "mesh_link_sent_messages_total", NULL, "WebSocket messages sent on links.")  \
	X(RX_FRAMES, COUNTER, "mesh_link_received_frames_total", NULL, "Frames received on links.")          \
	X(TX_FRAMES, COUNTER, "mesh_link_sent_frames_total", NULL, "Frames queued to links.")                \
	X(QUEUED, GAUGE, "mesh_link_queued_bytes", NULL, "Bytes queued to all links.")                       \
	X(RELAYED, COUNTER, "mesh_frames_relayed_total", NULL,                                               \
	    "Frames passed on from one neighbour to another.")                                               \
	X(DELIVERED, COUNTER, "mesh_frames_delivered_total", NULL,                                           \
	    "Frames from the network passed to consensusd.")                                                 \
	X(ORIGINATED, COUNTER, "mesh_frames_originated_total", NULL,                                         \
	    "Frames from consensusd sent to the network.")                                                   \
	X(MARKED, COUNTER, "mesh_frames_marked_total", NULL,                                                 \
	    "Frames marked because a link queue was over its mark.")                                         \
	X(REPAIRED, COUNTER, "mesh_frames_repaired_total", NULL,                                             \
	    "Frames whose path was replaced because its next link was down.")                                \
	X(DROP_QUEUE, COUNTER, "mesh_frames_dropped_total", "reason=\"queue_full\"", "Frames dropped.")      \
	X(DROP_QUOTA, COUNTER, "mesh_frames_dropped_total", "reason=\"quota\"", "")                          \
	X(DROP_LOCAL, COUNTER, "mesh_frames_dropped_total", "reason=\"local_full\"", "")                     \
	X(DROP_NO_ROUTE, COUNTER, "mesh_frames_dropped_total", "reason=\"no_route\"", "")                    \
	X(DROP_NO_LINK, COUNTER, "mesh_frames_dropped_total", "reason=\"no_link\"", "")                      \
	X(DROP_TTL, COUNTER, "mesh_frames_dropped_total", "reason=\"ttl\"", "")                              \
	X(DROP_LOOP, COUNTER, "mesh_frames_dropped_total", "reason=\"loop\"", "")                            \
	X(DROP_MEMORY, COUNTER, "mesh_frames_dropped_total", "reason=\"memory\"", "")                        \
	X(DROP_REFUSED, COUNTER, "mesh_frames_dropped_total", "reason=\"refused\"", "")                      \
	X(DROP_ACL, COUNTER, "mesh_frames_dropped_total", "reason=\"acl\"", "")                              \
	X(DROP_EVICTED, COUNTER, "mesh_frames_dropped_total", "reason=\"evicted\"", "")                      \
	X(UNREACHABLE, COUNTER, "mesh_unreachable_sent_total", NULL,                                         \
	    "Reports about undeliverable frames sent to their source.")                                      \
	X(STALLS, COUNTER, "mesh_link_stalls_total", NULL,                                                   \
	    "Times that peers were granted no more because consensusd was slow.")                            \
	X(HOLDS, COUNTER, "mesh_link_holds_total", NULL,                                                     \
	    "Times that a full link made consensusd hold destinations.")                                     \
	X(PATH_ASKS, COUNTER, "mesh_path_asks_total", NULL, "Questions to far ends what has arrived.")       \
	X(PATH_ANSWERS, COUNTER, "mesh_path_answers_total", NULL, "Answers to sources what has arrived.")    \
	X(PATH_FULL, COUNTER, "mesh_path_full_total", NULL,                                                  \
	    "Times that full paths made consensusd hold a destination.")                                     \
	X(PATH_SILENT, COUNTER, "mesh_path_silent_total", NULL,                                              \
	    "Times that a path with data on its way did not answer.")                                        \
	X(PATH_PROBES, COUNTER, "mesh_path_probes_total", NULL,                                              \
	    "Questions on paths without data on their way, whether they work.")                              \
	X(PATH_OTHER, COUNTER, "mesh_path_other_frames_total", NULL,                                         \
	    "Frames of client data that took another path than the first one.")                              \
	X(PATH_NOTICES, COUNTER, "mesh_path_notices_total", NULL,                                            \
	    "Reports of relays that they could not follow a path of this node.")                             \
	X(PATHS_UP, GAUGE, "mesh_paths", "state=\"up\"",                                                     \
	    "Paths to destinations that client data was sent to lately.")                                    \
	X(PATHS_SLOW, GAUGE, "mesh_paths", "state=\"slow\"", "")                                             \
	X(PATHS_SUSPECT, GAUGE, "mesh_paths", "state=\"suspect\"", "")                                       \
	X(PATH_LEFT_SILENT, COUNTER, "mesh_path_left_total", "reason=\"silent\"", "Paths that were left.")   \
	X(PATH_LEFT_LINK, COUNTER, "mesh_path_left_total", "reason=\"link\"", "")                            \
	X(PATH_LEFT_NOTICE, COUNTER, "mesh_path_left_total", "reason=\"notice\"", "")                        \
	X(PATH_LEFT_RTT, COUNTER, "mesh_path_left_total", "reason=\"rtt\"", "")                              \
	X(PATH_RETURNED, COUNTER, "mesh_path_returned_total", NULL, "Paths that were returned to.")          \
	X(ROUTES, GAUGE, "mesh_fib_routes", NULL, "Destinations in the forwarding table.")                   \
	X(RESOLVED, COUNTER, "mesh_resolver_queries_total", "result=\"found\"",                              \
	    "Names of peers that were looked up.")                                                           \
	X(UNRESOLVED, COUNTER, "mesh_resolver_queries_total", "result=\"failed\"", "")                       \
	X(CERT_EXPIRY, GAUGE, "mesh_tls_certificate_expiry_timestamp_seconds", NULL,                         \
	    "When the node's certificate expires, in seconds since 1970.")

enum stat {
#define X(id, kind, name, labels, help) STAT_##id,
	STATS_LIST(X)
#undef X
	    STAT_COUNT
};

void stats_init(void);
/* One more; or n more; or the value of a gauge. */
void stat_inc(enum stat s);
void stat_add(enum stat s, int64_t n);
void stat_set(enum stat s, int64_t value);
int64_t stat_get(enum stat s);
/* A connection was ended by this node, for a reason of core/goaway.h. */
void stat_ended(uint16_t code);
/* A frame of so many bytes is queued to a link or sent there. */
void stat_frame(uint8_t type, size_t bytes);
/* The round-trip time of one heartbeat, on a lane of the class (enum lane_class). */
void stat_rtt(unsigned lane_class, uint32_t rtt_us);

#endif
