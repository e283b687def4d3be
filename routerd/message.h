/*
 * message: one protobuf message over a channel.
 */
#ifndef ROUTERD_MESSAGE_H
#define ROUTERD_MESSAGE_H

#include <pb.h>
#include <stdint.h>

#include "common/base/must.h"

struct channel;

/* Encodes msg and sends it: channel_send()'s errors, or ERR_LIMIT beyond ROUTERD_MESSAGE_MAX_BYTES. */
int message_send(
    struct channel *ch, uint32_t type, uint32_t peerid, const pb_msgdesc_t *fields, const void *msg) MUST_USE;

#endif
