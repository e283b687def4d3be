/*
 * edge_server: declares the handlers of the server side of an edge and their dispatch array.
 *
 *	#define EDGE_DEF "proto/router_transport.def"
 *	#define EDGE_HANDLERS router_handlers
 *	#include "proto/edge_server.h"
 *
 * declares `static int on_<handler>(void *ctx, struct channel *ch, struct imsg *m)` for each MSG_DOWN
 * and defines the array.  No include guard: a daemon includes it once per edge, each in its own file.
 */
#define MSG_UP(NAME, num, min, max, fd, handler)
#define MSG_DOWN(NAME, num, min, max, fd, handler) static channel_handler on_##handler;
#include EDGE_DEF
#undef MSG_DOWN
#define MSG_DOWN(NAME, num, min, max, fd, handler) [num] = on_##handler,
static channel_handler *const EDGE_HANDLERS[] = {
#include EDGE_DEF
};
#undef MSG_DOWN
#undef MSG_UP
#undef EDGE_DEF
#undef EDGE_HANDLERS
