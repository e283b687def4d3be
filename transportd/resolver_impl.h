/*
 * resolver_impl: what the resolver's processes share.  Nobody else includes it.
 *
 *	transportd -- channel -- resolver_child (keeper) -- pipe -- resolver_worker, one for each query
 */
#ifndef TRANSPORTD_RESOLVER_IMPL_H
#define TRANSPORTD_RESOLVER_IMPL_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "common/os/sandbox.h"

enum { RESOLVER_ANSWER_MAX_BYTES = 512 }; /* count, then RESOLVED_MAX texts: fits a pipe at once */

/* What the keeper's sandbox, which the workers inherit, has to allow for getaddrinfo(3) and for forking. */
extern const struct sandbox_call resolver_calls[];
/* ERR_FULL, ERR_NOMEM. */
int resolver_allow_files(struct sandbox *s) MUST_USE;
/* Whatever the name service loads, it loads now. */
void resolver_warm_up(void);

/* The life of a worker: looks host up, writes the answer to fd, exits. */
_Noreturn void resolver_work(int fd, const char *host);

/* Is this an answer, as the channel has it?  A worker may have been taken over. */
int resolver_answer_check(const void *answer, size_t len) MUST_USE;

#endif
