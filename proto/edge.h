/*
 * edge: what two daemons may say to each other.
 *
 * Each edge's messages are declared once, in proto/<edge>.def, as rows
 *
 *	MSG_DOWN(NAME, number, min_bytes, max_bytes, FD, handler)    client -> server
 *	MSG_UP(NAME, number, min_bytes, max_bytes, FD, handler)      server -> client
 *
 * where the client is the daemon that connects.  From the list come the enum (proto/messages.h), the
 * table below (proto/edges.c) and, with proto/edge_server.h or proto/edge_client.h, the handler
 * prototypes and the dispatch array of the receiving side.  Numbers are for ever; 1-7 are common.
 */
#ifndef PROTO_EDGE_H
#define PROTO_EDGE_H

#include <stddef.h>
#include <stdint.h>

enum msg_dir { MSG_DIR_NONE, MSG_DIR_DOWN, MSG_DIR_UP, MSG_DIR_BOTH };
enum msg_fd { MSG_NOFD, MSG_WITHFD };

struct msg_def {
	const char *name; /* NULL: no such message */
	enum msg_dir dir;
	enum msg_fd fd;
	uint32_t min_bytes, max_bytes; /* of the body */
};

struct edge {
	const char *name;           /* "router_transport" */
	uint32_t version;           /* raised with every incompatible change; both ends must agree */
	const struct msg_def *msgs; /* indexed by number */
	size_t msg_count;
};

enum { MSG_HELLO = 1, MSG_FIRST = 8 };

extern const struct edge edge_router_transport;
extern const struct edge edge_consensus_transport;
extern const struct edge edge_consensus_router;
extern const struct edge edge_gateway_consensus;
extern const struct edge edge_gateway_router;
extern const struct edge edge_gateway_transport;
extern const struct edge edge_control_gateway;
extern const struct edge edge_resolver;

#endif
