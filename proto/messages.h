/*
 * messages: the numbers of every edge's messages, from the .def lists.
 *
 * RT_ router_transport, CT_ consensus_transport, CR_ consensus_router, GC_ gateway_consensus,
 * GR_ gateway_router, GT_ gateway_transport, CG_ control_gateway, RS_ resolver.
 */
#ifndef PROTO_MESSAGES_H
#define PROTO_MESSAGES_H

#define MSG_UP MSG_DOWN

enum router_transport_msg {
#define MSG_DOWN(NAME, num, min, max, fd, handler) RT_##NAME = (num),
#include "proto/router_transport.def"
#undef MSG_DOWN
};

enum consensus_transport_msg {
#define MSG_DOWN(NAME, num, min, max, fd, handler) CT_##NAME = (num),
#include "proto/consensus_transport.def"
#undef MSG_DOWN
};

enum consensus_router_msg {
#define MSG_DOWN(NAME, num, min, max, fd, handler) CR_##NAME = (num),
#include "proto/consensus_router.def"
#undef MSG_DOWN
};

enum gateway_consensus_msg {
#define MSG_DOWN(NAME, num, min, max, fd, handler) GC_##NAME = (num),
#include "proto/gateway_consensus.def"
#undef MSG_DOWN
};

enum gateway_router_msg {
#define MSG_DOWN(NAME, num, min, max, fd, handler) GR_##NAME = (num),
#include "proto/gateway_router.def"
#undef MSG_DOWN
};

enum gateway_transport_msg {
#define MSG_DOWN(NAME, num, min, max, fd, handler) GT_##NAME = (num),
#include "proto/gateway_transport.def"
#undef MSG_DOWN
};

enum control_gateway_msg {
#define MSG_DOWN(NAME, num, min, max, fd, handler) CG_##NAME = (num),
#include "proto/control_gateway.def"
#undef MSG_DOWN
};

enum resolver_msg {
#define MSG_DOWN(NAME, num, min, max, fd, handler) RS_##NAME = (num),
#include "proto/resolver.def"
#undef MSG_DOWN
};

#undef MSG_UP

#endif
