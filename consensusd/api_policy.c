/* api_policy: see api_policy.h. */
#include "consensusd/api_policy.h"

#include <string.h>

#include "consensusd/call.h"

static const char *const acks[] = {
    [POLICY_ACK_ALL] = "all",
    [POLICY_ACK_QUORUM] = "quorum",
    [POLICY_ACK_COMMITTED] = "committed",
    [POLICY_ACK_ACCEPTED] = "accepted",
};

static const char *const overflows[] = {
    [POLICY_HOLD] = "hold",
    [POLICY_DROP] = "drop",
};

static const char *const handlers[] = {
    [POLICY_SUBSCRIBER] = "subscriber",
    [POLICY_DB] = "db",
    [POLICY_DISCARD] = "discard",
};

const char *
api_policy_ack_name(enum policy_ack ack)
{
	MUST(ack < POLICY_ACKS);
	return acks[ack];
}

const char *
api_policy_overflow_name(enum policy_overflow overflow)
{
	MUST(overflow < POLICY_OVERFLOWS);
	return overflows[overflow];
}

const char *
api_policy_handler_name(enum policy_handler handler)
{
	MUST(handler < POLICY_HANDLERS);
	return handlers[handler];
}

/* The place of a text in a list; "" is 0.  -1: it is not there. */
static int
place_of(const char *text, const char *const *list, int count)
{
	for (int i = 0; i < count; i++) {
		if (text[0] == '\0' || strcmp(text, list[i]) == 0)
			return i;
	}
	return -1;
}

static bool
take_ack(
    struct call *call, const mesh_v1_OpenClientDataStreamReq *req, size_t target_count, struct policy *out)
{
	int ack = place_of(req->ack, acks, POLICY_ACKS);

	if (ack < 0) {
		call_done(
		    call, CODE_INVALID_ARGUMENT, "ack '%s': accepted, committed, quorum or all", req->ack);
		return false;
	}
	out->ack = (enum policy_ack)ack;
	if (out->ack != POLICY_ACK_QUORUM) {
		if (req->ack_quorum == 0)
			return true;
		call_done(
		    call, CODE_INVALID_ARGUMENT, "ack_quorum is for ack 'quorum', not for '%s'", acks[ack]);
		return false;
	}
	if (req->ack_quorum < 1 || (size_t)req->ack_quorum > target_count) {
		call_done(call, CODE_INVALID_ARGUMENT, "ack_quorum %d: the stream has %zu targets",
		    (int)req->ack_quorum, target_count);
		return false;
	}
	out->quorum = (uint32_t)req->ack_quorum;
	return true;
}

/* How long, and how much, is kept for targets that are behind. */
static bool
take_retention(struct call *call, const mesh_v1_OpenClientDataStreamReq *req, struct policy *out)
{
	int overflow = place_of(req->overflow, overflows, POLICY_OVERFLOWS);

	if (overflow < 0) {
		call_done(call, CODE_INVALID_ARGUMENT, "overflow '%s': hold or drop", req->overflow);
		return false;
	}
	if (req->retention_bytes < 0 || req->retention_ms < 0) {
		call_done(call, CODE_INVALID_ARGUMENT, "retention_bytes and retention_ms are not negative");
		return false;
	}
	out->overflow = (enum policy_overflow)overflow;
	out->retention_bytes = (uint64_t)req->retention_bytes;
	out->retention_ms = (uint64_t)req->retention_ms;
	if (out->overflow == POLICY_DROP && out->retention_bytes == 0 && out->retention_ms == 0) {
		call_done(call, CODE_INVALID_ARGUMENT,
		    "overflow 'drop': beyond which retention_bytes or retention_ms?");
		return false;
	}
	return true;
}

bool
api_policy_take(
    struct call *call, const mesh_v1_OpenClientDataStreamReq *req, size_t target_count, struct policy *out)
{
	return take_ack(call, req, target_count, out) && take_retention(call, req, out);
}

bool
api_policy_same(
    const mesh_v1_OpenClientDataStreamReq *req, const struct policy *asked, const struct policy *has)
{
	if (req->ack[0] != '\0' && (asked->ack != has->ack || asked->quorum != has->quorum))
		return false;
	if (req->overflow[0] != '\0' && asked->overflow != has->overflow)
		return false;
	return (req->retention_bytes == 0 || asked->retention_bytes == has->retention_bytes) &&
	       (req->retention_ms == 0 || asked->retention_ms == has->retention_ms);
}
