/*
 * relay: calls that consensusd answers.  Requests and answers pass as they are; which messages carry
 * them is in the method's row.
 */
#ifndef GATEWAYD_RELAY_H
#define GATEWAYD_RELAY_H

#include "gatewayd/method.h"

extern const struct call_ops relay_ops;

#endif
