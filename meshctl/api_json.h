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
/* With lists "nodes" and "links"; links carry "source_name" and "target_name". */
json_t *api_json_mesh_status(const struct buf *reply);
/* The list of nodes that DiscoverNodes gives. */
json_t *api_json_discovered(const struct buf *reply);
json_t *api_json_topology(const struct buf *reply);
json_t *api_json_routes(const struct buf *reply);
json_t *api_json_streams(const struct buf *reply);
json_t *api_json_handle(const struct buf *reply);
json_t *api_json_event(const void *data, size_t len);

#endif
