/*
 * control: the API for meshctl over gatewayd's runtime socket (proto/control_gateway.def): the same
 * methods, the same calls, another front-end.
 */
#ifndef GATEWAYD_CONTROL_H
#define GATEWAYD_CONTROL_H

#include "common/base/must.h"

struct control;
struct gateway;

/* Serves on listen_fd (taken over).  NULL: no memory. */
struct control *control_new(struct gateway *gw, int listen_fd) MUST_USE;
/* Cancels all its calls and closes. */
void control_free(struct control *ctl);

#endif
