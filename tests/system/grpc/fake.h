/*
 * fake: what the files of the stand-in for consensusd share.
 */
#ifndef TESTS_SYSTEM_GRPC_FAKE_H
#define TESTS_SYSTEM_GRPC_FAKE_H

#include <pb.h>
#include <stdint.h>

struct channel;
struct imsg;

/* To gatewayd; NULL: it is not there. */
struct channel *fake_channel(void);
int fake_answer(uint32_t msg, uint32_t id, const pb_msgdesc_t *fields, const void *body);
int fake_done(uint32_t id, uint32_t code, const char *message);

/* Messages of the control group (fake_group.c). */
int fake_group(const struct imsg *m);
/* Calls that changed membership, and the position up to which a follower has acknowledged. */
int64_t fake_group_calls(void);
int64_t fake_group_followed(void);

/* Messages about streams and their messages (fake_stream.c). */
int fake_stream(const struct imsg *m);

#endif
