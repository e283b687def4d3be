/* edges: the tables of proto/edge.h, from the .def lists. */
#include "proto/edge.h"

#define ROW(NAME, num, direction, min, max, desc)                                                            \
	[num] = {.name = #NAME, .dir = (direction), .fd = (desc), .min_bytes = (min), .max_bytes = (max)},
#define MSG_DOWN(NAME, num, min, max, desc, handler) ROW(NAME, num, MSG_DIR_DOWN, min, max, desc)
#define MSG_UP(NAME, num, min, max, desc, handler) ROW(NAME, num, MSG_DIR_UP, min, max, desc)
/* Both sides' first message; its handler is in common/os/channel.c. */
#define HELLO ROW(HELLO, MSG_HELLO, MSG_DIR_BOTH, 6, 512, MSG_NOFD)

#define EDGE(id, revision)                                                                                   \
	const struct edge edge_##id = {                                                                      \
	    .name = #id,                                                                                     \
	    .version = (revision),                                                                           \
	    .msgs = id##_msgs,                                                                               \
	    .msg_count = sizeof(id##_msgs) / sizeof(id##_msgs[0]),                                           \
	}

static const struct msg_def router_transport_msgs[] = {HELLO
#include "proto/router_transport.def"
};
EDGE(router_transport, 1);

static const struct msg_def consensus_transport_msgs[] = {HELLO
#include "proto/consensus_transport.def"
};
EDGE(consensus_transport, 1);

static const struct msg_def consensus_router_msgs[] = {HELLO
#include "proto/consensus_router.def"
};
EDGE(consensus_router, 1);

static const struct msg_def gateway_consensus_msgs[] = {HELLO
#include "proto/gateway_consensus.def"
};
EDGE(gateway_consensus, 1);

static const struct msg_def gateway_router_msgs[] = {HELLO
#include "proto/gateway_router.def"
};
EDGE(gateway_router, 1);

static const struct msg_def gateway_transport_msgs[] = {HELLO
#include "proto/gateway_transport.def"
};
EDGE(gateway_transport, 1);

static const struct msg_def control_gateway_msgs[] = {HELLO
#include "proto/control_gateway.def"
};
EDGE(control_gateway, 1);

static const struct msg_def resolver_msgs[] = {HELLO
#include "proto/resolver.def"
};
EDGE(resolver, 1);
