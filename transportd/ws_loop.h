/*
 * ws_loop: the loop of common/os/loop.h on libwebsockets' own poll loop.
 *
 * libwebsockets polls its sockets and one descriptor of ours: an epoll set that holds everything else
 * (the siblings' channels, signals, the resolver) and a timer descriptor.  So those descriptors stay
 * the caller's, wake exactly as level-triggered events do, and timers do not spin below a
 * millisecond, none of which libwebsockets' own raw files and timers can promise.  Handlers run when
 * libwebsockets is not on the stack, and may close anything.
 */
#ifndef TRANSPORTD_WS_LOOP_H
#define TRANSPORTD_WS_LOOP_H

#include "common/base/must.h"

struct loop;
struct lws_context;

/* The loop and libwebsockets' context; NULL (logged) if one can't be had.  Opens descriptors: call it
 * before the sandbox. */
struct loop *ws_loop_new(void) MUST_USE;

/* The context of such a loop, to add virtual hosts to.  Borrowed. */
struct lws_context *ws_loop_context(struct loop *l);

#endif
