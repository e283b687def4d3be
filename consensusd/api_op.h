/*
 * api_op: an API call that waits for the control group.
 *
 * Made for a unary call; the outcome comes later, when the call may have ended: then it is thrown away.
 */
#ifndef CONSENSUSD_API_OP_H
#define CONSENSUSD_API_OP_H

#include <stdint.h>

#include "common/base/must.h"
#include "consensusd/api_impl.h"
#include "consensusd/mesh.h"
#include "consensusd/store.h"
#include "proto/mesh.pb.h"

struct api_op {
	struct api *api;
	uint64_t call; /* handle */
	/* What the kinds of calls keep until then: */
	enum mesh_wait wait;
	uint32_t timeout_ms;
	char id[ULID_TEXT_SIZE];
	char key[MCG_CONFIG_KEY_SIZE];
	size_t limit;
	char tenant[TENANT_TEXT_SIZE];
	uint8_t group[STORE_GROUP_BYTES];
	uint64_t index, term;
	bool repeated;
};

enum { API_OP_DEFAULT_MS = 10000, API_OP_MAX_MS = 3600 * 1000, API_OP_LONG_MS = 30000 };

/* How long a call waits, as its request says.  False: why, of size bytes, says what is wrong with it. */
bool api_op_wait(const mesh_v1_BroadcastWait *w, enum mesh_wait *mode, uint32_t *timeout_ms, char *why,
    size_t size) MUST_USE;
enum { API_OP_WHY_SIZE = 96 };
/* The status for an error of the control group. */
enum code api_op_code(int err);
/* A call with the request decoded into msg, and an op for it; NULL: it was refused, and told so. */
struct api_op *api_op_new(
    struct api *a, struct client *c, const struct imsg *m, const void *fields, void *msg) MUST_USE;
/* The call, NULL if it has ended meanwhile; frees the op. */
struct call *api_op_end(struct api_op *op);
/* What was asked could not be begun: ends the call with err, and frees the op. */
void api_op_refuse(struct api_op *op, int err, const char *text);
/* A mesh_done_fn whose call is answered with an empty message. */
void api_op_done(void *op, const struct mesh_outcome *o);
/* False: the request names another mesh; the op is gone. */
bool api_op_mesh_is(struct api_op *op, const char *mesh_id) MUST_USE;
/* False: nobody is called so; the op is gone.  text "": *node is 0. */
bool api_op_node(struct api_op *op, const char *text, uint64_t *node) MUST_USE;

#endif
