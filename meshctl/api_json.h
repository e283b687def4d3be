/*
 * api_json: answers of the API (proto/mesh.proto) as JSON values, with the field names of the API.
 *
 * Each function takes an encoded message and returns a new reference, or NULL after it has printed that
 * the answer cannot be read.
 */
#ifndef MESHCTL_API_JSON_H
#define MESHCTL_API_JSON_H

#include <jansson.h>

struct buf;

enum { API_JSON_ROWS_MAX = 65536 }; /* entries of one list */

json_t *api_json_node_status(const struct buf *reply);
/* With lists "nodes", "links" and "raft_groups"; links carry "source_name" and "target_name", groups
 * "leader_name". */
json_t *api_json_mesh_status(const struct buf *reply);
/* The list of nodes that DiscoverNodes gives. */
json_t *api_json_discovered(const struct buf *reply);
json_t *api_json_topology(const struct buf *reply);
json_t *api_json_routes(const struct buf *reply);
json_t *api_json_streams(const struct buf *reply);
json_t *api_json_stream_rules(const struct buf *reply);
json_t *api_json_handle(const struct buf *reply);
json_t *api_json_message(const struct buf *reply);
/* Adds "ack_text" to a stream or handle: its ack as meshctl's option has it. */
void api_json_ack_text(json_t *row);
json_t *api_json_event(const void *data, size_t len);

/* api_json_group.c */
json_t *api_json_group(const struct buf *reply);

/* api_json_update.c: payloads are "payload" if they are text, else "payload_base64"; keys and rows of
 * database updates are JSON values. */
void api_json_payload(json_t *o, const void *data, size_t len);
json_t *api_json_broadcast(const struct buf *reply);
json_t *api_json_node_update(const void *data, size_t len);
json_t *api_json_mesh_update(const void *data, size_t len);
json_t *api_json_db_update(const void *data, size_t len);

/* api_json_shared.c: values of the configuration are JSON values. */
json_t *api_json_config_entry(const struct buf *reply);
json_t *api_json_config_list(const struct buf *reply);
json_t *api_json_key(const struct buf *reply);
json_t *api_json_keys(const struct buf *reply);
json_t *api_json_letters(const struct buf *reply);
json_t *api_json_dead_letter(const struct buf *reply);
json_t *api_json_dead_letters(const struct buf *reply);
json_t *api_json_join_token(const struct buf *reply);
/* What the node did not say is left out. */
json_t *api_json_settings(const struct buf *reply);
/* An answer without fields: an empty object. */
json_t *api_json_nothing(const struct buf *reply);

/* The name of a node in a list of nodes; the id itself if it is not there. */
const char *api_json_node_name(const json_t *nodes, const char *id);

#endif
