/*
 * mesh: this node in the mesh control group (MCG): the shell around core/mcg.
 *
 * A node is outside until it seeds the group or joins it.  Then it has a replica, gets the group's log in
 * order and applies it; what it wants changed it proposes, and the answer comes when the entry has been
 * applied here.  Whoever leads has duties: the group's membership follows the mesh's, stable nodes are made
 * voters, updates that all have applied are pruned, keys are sealed to those who may have them.
 */
#ifndef CONSENSUSD_MESH_H
#define CONSENSUSD_MESH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "consensusd/core/mcg.h"

struct conf;
struct engine;
struct group;
struct mesh;

enum mesh_state {
	MESH_OUTSIDE,  /* no replica */
	MESH_ENTERING, /* seeding or joining, or joining again */
	MESH_MEMBER,
	MESH_STOPPED, /* a member that said it is going down */
};

struct mesh *mesh_new(struct engine *e, const struct conf *conf) MUST_USE;
void mesh_free(struct mesh *m);
void mesh_configure(struct mesh *m, const struct conf *conf);
/* While the store loads: which log the positions of followers are of. */
void mesh_load_log(struct mesh *m, uint64_t tag);
/* The store is ready for the first time. */
void mesh_ready(struct mesh *m);
/* A node is there, or is not there any more: whoever leads looks at its voters. */
void mesh_node_changed(struct mesh *m, uint64_t node);
/* The database applier is further. */
void mesh_progressed(struct mesh *m);

enum mesh_state mesh_state(const struct mesh *m);
/* Is the configuration in mesh_mcg() the one that this node is to have: not while it starts or enters. */
bool mesh_config_known(const struct mesh *m);
const struct mcg *mesh_mcg(const struct mesh *m);
struct group *mesh_group(const struct mesh *m); /* NULL */
/* Why what only members can do is refused where nothing is known of the group: ERR_STATE, the node is none;
 * ERR_UNAVAIL, it joins again by itself, or has not been told yet what its log has that counts. */
int mesh_absent(const struct mesh *m) MUST_USE;
bool mesh_leads(const struct mesh *m);
uint64_t mesh_leader(const struct mesh *m); /* node; 0: not known */
/* Up to where the node of a member has applied the log, as far as the leader knows; the leader only. */
uint64_t mesh_applied_by(struct mesh *m, uint64_t node);

/*
 * What is asked of it.  fn is called once, later: err is 0 or why not, text says it for people.  An error
 * that is returned means that fn is not called.  Whoever still waits when the process ends gets ERR_CLOSED.
 */
struct mesh_outcome {
	int err;
	const char *text;
	uint64_t index, term; /* where in the log it is */
	bool repeated;        /* it was there before */
};
typedef void mesh_done_fn(void *ctx, const struct mesh_outcome *o);

/* Proposes a command; who proposes and when is filled in.  What there is no room for among those under way
 * waits its turn.  ERR_STATE, ERR_UNAVAIL: mesh_absent(), or nobody leads that this node can reach. ERR_FULL:
 * too many wait.  ERR_NOMEM, ERR_LIMIT.  After timeout_ms fn gets ERR_TIMEOUT; the proposal may be applied
 * all the same. */
int mesh_propose(
    struct mesh *m, struct mcg_cmd *cmd, uint32_t timeout_ms, mesh_done_fn *fn, void *ctx) MUST_USE;

/* Calls fn when this node's state has all that was committed when it was asked: what is read then is no older
 * than what anybody was told before.  Errors as of mesh_propose(). */
int mesh_read(struct mesh *m, uint32_t timeout_ms, mesh_done_fn *fn, void *ctx) MUST_USE;

struct mesh_seed {
	char name[NODE_NAME_SIZE], description[MCG_TEXT_SIZE];
	enum mcg_join allow_join;
	uint32_t voters;
	bool force;
};
int mesh_seed(struct mesh *m, const struct mesh_seed *s, mesh_done_fn *fn, void *ctx) MUST_USE;
/* contact 0: all nodes that are known are asked.  token may be "". */
int mesh_join(struct mesh *m, const char *token, uint64_t contact, mesh_done_fn *fn, void *ctx) MUST_USE;
/* Begins to leave; a node that is the only member ends the group. */
int mesh_leave(struct mesh *m, mesh_done_fn *fn, void *ctx) MUST_USE;
int mesh_stop(struct mesh *m, bool stop, mesh_done_fn *fn, void *ctx) MUST_USE;
/* A token for a node, or for whoever comes first (0).  Its text is at most MESH_TOKEN_SIZE with NUL. */
enum { MESH_TOKEN_SIZE = 512 };
int mesh_token(struct mesh *m, uint64_t node, uint64_t expires_unix_ms, char out[MESH_TOKEN_SIZE]) MUST_USE;
/* Hands leadership over, whoever has it.  node 0: to whoever is best. */
int mesh_transfer(struct mesh *m, struct group *g, uint64_t node, uint32_t timeout_ms, mesh_done_fn *fn,
    void *ctx) MUST_USE;

/* --- updates --- */

/* Seals and proposes an update. */
int mesh_update(struct mesh *m, enum mcg_update_kind kind, const struct ulid *id, const char *type,
    const void *payload, size_t len, uint32_t timeout_ms, mesh_done_fn *fn, void *ctx) MUST_USE;
/* The payload of an update in plain.  ERR_NOENT: this node has no such key (yet); ERR_CRYPTO; the buffer's.
 */
int mesh_open(struct mesh *m, const struct mcg_update *u, struct buf *out) MUST_USE;

/* Who has applied the log up to index: at most count members, each with whether it has. */
struct mesh_spread {
	bool reached;
	size_t count;
	struct {
		uint64_t node;
		bool applied;
	} node[MCG_MEMBERS_MAX];
};
enum mesh_wait { MESH_WAIT_COMMITTED, MESH_WAIT_QUORUM, MESH_WAIT_ALL, MESH_WAIT_NONE };
typedef void mesh_spread_fn(void *ctx, int err, const struct mesh_spread *s);
/* Waits until enough have, at most timeout_ms; then fn gets what is known (reached tells). */
int mesh_wait(struct mesh *m, uint64_t index, enum mesh_wait mode, uint32_t timeout_ms, mesh_spread_fn *fn,
    void *ctx) MUST_USE;
/* Nothing of ctx is called back any more. */
void mesh_forget(struct mesh *m, const void *ctx);

/* --- keys --- */

/* A new key for a tenant ("": the mesh), sealed to these members; none: to those that have the one before
 * (the mesh's: to all members). */
int mesh_rotate(struct mesh *m, const char *tenant, const uint64_t *nodes, size_t count, uint64_t valid_ms,
    uint32_t timeout_ms, mesh_done_fn *fn, void *ctx) MUST_USE;
/* From when on a version that is not the newest proves nothing any more, and opens alone; 0: it is the
 * newest, or the mesh's. */
uint64_t mesh_key_ends(const struct mesh *m, const char *tenant, uint64_t version);
/* Is it one of the versions that the group has? */
bool mesh_key_made(const struct mesh *m, const char *tenant, const uint8_t key_id[8]);
/* Does this node have it? */
bool mesh_has_key(const struct mesh *m, const struct mcg_key *k);

#endif
