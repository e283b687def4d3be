/*
 * reflection: grpc.reflection.v1 and v1alpha, out of the descriptor set that is built in.
 */
#ifndef GATEWAYD_REFLECTION_H
#define GATEWAYD_REFLECTION_H

#include "gatewayd/method.h"

extern const struct call_ops reflection_ops;

#endif
