/*
 * ws_loop: the loop of common/os/loop.h on libwebsockets' own poll loop.
 *
 * libwebsockets polls its sockets and one descriptor of ours: an epoll set that holds everything else
 * (the siblings' channels, signals, the resolver) and a timer descriptor.  So those descriptors stay
 * the caller's, wake exactly as level-triggered events do, and timers do not spin below a
 * millisecond, none of which libwebsockets' own raw files and timers can promise.  Handlers run when
 * libwebsockets is not on the stack, and may close anything.
 *
 * It polls every socket it holds, at every turn: with 3,000 of them 0.2 ms, and for nothing, as those of
 * links are watched in the epoll set.  So it is called only while a connection begins or ends, and once a
 * second for what else it may have to do; otherwise the loop waits on the epoll set itself.
 */
#ifndef TRANSPORTD_WS_LOOP_H
#define TRANSPORTD_WS_LOOP_H

#include <stdbool.h>

#include "common/base/must.h"

struct loop;
struct lws_context;

/* The loop and libwebsockets' context; NULL (logged) if one can't be had.  Opens descriptors: call it
 * before the sandbox. */
struct loop *ws_loop_new(void) MUST_USE;

/* The context of such a loop, to add virtual hosts to.  Borrowed. */
struct lws_context *ws_loop_context(struct loop *l);

/* One more connection that libwebsockets has to look after, or one fewer. */
void ws_loop_serve(struct loop *l, bool more);

#endif
