/*
 * store_pg_nodes: what of a flush tells about the mesh: nodes, the versions of their LSAs, links, and
 * snapshots of the topology.
 */
#ifndef CONSENSUSD_STORE_PG_NODES_H
#define CONSENSUSD_STORE_PG_NODES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "consensusd/store.h"

struct buf;
struct pg_conn;

enum {
	STORE_LSA_VERSIONS = 16, /* kept of each node */
	STORE_SNAPSHOTS = 64,    /* of the topology kept */
};

enum flush_text {
	FLUSH_NAME,
	FLUSH_STATUS,
	FLUSH_REGION,
	FLUSH_VERSION,
	FLUSH_ADDRESSES,
	FLUSH_SERVICES,
	FLUSH_CAPABILITIES,
	FLUSH_TEXTS,
};

struct flush_node {
	uint64_t node_id, incarnation, lsa_seq;
	uint8_t pubkey[32], lsa_hash[32];
	bool has_lists;
	char *texts; /* one behind the other, each with its NUL */
};

/* Copies a row; *bytes is what it holds.  ERR_NOMEM. */
int store_node_copy(struct flush_node *out, const struct store_node *row, size_t *bytes) MUST_USE;
void store_node_free(struct flush_node *n);

/* Queue the statements, a node, the topology.  ERR_CLOSED, ERR_NOMEM. */
int store_nodes_prepare(struct pg_conn *pg) MUST_USE;
int store_node_send(const struct flush_node *n, struct pg_conn *pg) MUST_USE;
int store_topology_send(
    const struct store_link *links, size_t count, struct pg_conn *pg, struct buf *scratch) MUST_USE;

#endif
