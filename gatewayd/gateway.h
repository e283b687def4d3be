/*
 * gateway: the one context of the daemon, passed down to whatever needs it.
 */
#ifndef GATEWAYD_GATEWAY_H
#define GATEWAYD_GATEWAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "gatewayd/backend.h"
#include "gatewayd/core/request_table.h"

struct auth;
struct calls;
struct conf;
struct conns;
struct control;
struct daemon;
struct events;
struct health;
struct listeners;
struct loop;
struct loop_timer;

/* What the configuration says and a reload may change. */
struct gateway_limits {
	size_t message_max_bytes;
	size_t connections_max;
	uint32_t calls_max; /* of one connection */
	int64_t keepalive_us;
	int64_t drain_us;
};

enum { GATEWAY_FILES = 4 };

struct gateway {
	struct daemon *daemon;
	struct loop *loop;
	struct gateway_limits limits;
	struct backend backends[BACKEND_COUNT];
	struct request_table requests; /* in flight to the siblings */
	struct calls *calls;
	struct events *events;
	struct health *health;
	struct auth *auth;
	struct listeners *listeners;
	struct conns *conns;
	struct control *control;
	size_t memory_bytes; /* of requests and answers; bounded by MEMORY_MAX_BYTES */
	struct loop_timer *drain_timer;
	int64_t started_us;
	bool draining;             /* asked to stop */
	bool drained;              /* the time for that is over */
	char *dirs[GATEWAY_FILES]; /* of the files that a reload reads, for the sandbox */
};

/* The steps of common/os/daemon.h. */
int gateway_open(struct daemon *d) MUST_USE;
int gateway_start(struct daemon *d) MUST_USE;
void gateway_configure(struct daemon *d, const struct conf *fresh);
void gateway_reload(struct daemon *d, const struct conf *fresh);
void gateway_stop(struct daemon *d);
void gateway_fini(struct daemon *d);

/* Accounts for memory that grew from *was to now bytes, or shrank.  ERR_LIMIT: there is no more (nothing
 * is changed then). */
int gateway_memory(struct gateway *gw, size_t *was, size_t now) MUST_USE;

/* Stops the loop if we were asked to stop and the last connection is gone. */
void gateway_drain_check(struct gateway *gw);

#endif
