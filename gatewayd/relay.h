/*
 * relay: calls that consensusd answers.  Requests and answers pass as they are; which messages carry
 * them is in the method's row.  Where it has a `then`, consensusd's reply only says that it is done.
 */
#ifndef GATEWAYD_RELAY_H
#define GATEWAYD_RELAY_H

#include "gatewayd/method.h"

extern const struct call_ops relay_ops;

#endif
