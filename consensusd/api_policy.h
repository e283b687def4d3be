/*
 * api_policy: what a stream is asked for when it is opened, in the words of the API.
 */
#ifndef CONSENSUSD_API_POLICY_H
#define CONSENSUSD_API_POLICY_H

#include <stdbool.h>

#include "common/base/must.h"
#include "consensusd/core/policy.h"
#include "proto/mesh.pb.h"

struct call;

/* "quorum".  Static. */
const char *api_policy_ack_name(enum policy_ack ack);
const char *api_policy_overflow_name(enum policy_overflow overflow);
const char *api_policy_handler_name(enum policy_handler handler);
/* Reads when publishes are answered and what is kept; false: the call was refused.  target_count is that of
 * the stream. */
bool api_policy_take(struct call *call, const mesh_v1_OpenClientDataStreamReq *req, size_t target_count,
    struct policy *out) MUST_USE;
/* A stream that is open has what is asked for, where something is. */
bool api_policy_same(
    const mesh_v1_OpenClientDataStreamReq *req, const struct policy *asked, const struct policy *has);

#endif
