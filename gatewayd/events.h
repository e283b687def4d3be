/*
 * events: what happens in the mesh, from the siblings to those who watch (WatchMeshEvents).
 */
#ifndef GATEWAYD_EVENTS_H
#define GATEWAYD_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "gatewayd/method.h"

struct events;

struct events *events_new(void) MUST_USE;
/* All watching calls must have ended. */
void events_free(struct events *ev);

/* Passes an encoded mesh.v1.MeshEvent on to the watchers whose filter lets it through.  ERR_FORMAT. */
int events_publish(struct events *ev, const uint8_t *data, size_t len) MUST_USE;
/* Makes and passes on daemon_up or daemon_down. */
void events_daemon(struct events *ev, const char *name, bool up);

extern const struct call_ops events_ops;

#endif
