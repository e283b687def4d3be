/*
 * resolver: names of peers are looked up by a child process, because getaddrinfo(3) blocks and wants
 * files and system calls that transportd's sandbox has no room for.
 *
 * The child is forked before anything secret is read, has its own user switch and sandbox, and ends
 * when its socket does.  It only keeps the channel: each query has a process of its own, which may
 * crash or hang without harm to others.  Should the child be killed, peers with numeric addresses go on.
 */
#ifndef TRANSPORTD_RESOLVER_H
#define TRANSPORTD_RESOLVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "transportd/peer.h"

struct loop;
struct resolver;

typedef void resolver_fn(void *arg, uint32_t query, const char ips[][PEER_IP_SIZE], size_t count);

/* Forks the child, which will run as user (NULL: no switch).  NULL (logged) if that fails. */
struct resolver *resolver_new(const char *user) MUST_USE;
/* Answers go to fn from now on. */
int resolver_start(struct resolver *r, struct loop *l, resolver_fn *fn, void *arg) MUST_USE;
void resolver_free(struct resolver *r);

/* The number of the query, 0 if nobody is there to ask: not yet, or not any more. */
uint32_t resolver_ask(struct resolver *r, const char *host);
bool resolver_gone(const struct resolver *r);

/* What the child does with its end of the socket; returns its exit status. */
int resolver_child_main(int fd, const char *user);

#endif
