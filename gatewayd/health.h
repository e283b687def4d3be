/*
 * health: grpc.health.v1.Health.
 *
 * The services that need consensusd are serving while it says that it is (proto/gateway_consensus.def,
 * HEALTH); "" is the whole server and follows them.  The others serve as long as gatewayd does.
 */
#ifndef GATEWAYD_HEALTH_H
#define GATEWAYD_HEALTH_H

#include <stdbool.h>

#include "common/base/must.h"
#include "gatewayd/method.h"

struct health;

struct health *health_new(void) MUST_USE;
/* All watching calls must have ended. */
void health_free(struct health *h);
/* reason: why not, copied; for logs and the status page. */
void health_set(struct health *h, bool serving, const char *reason);
bool health_serving(const struct health *h);
const char *health_reason(const struct health *h);

extern const struct call_ops health_check_ops, health_watch_ops;

#endif
