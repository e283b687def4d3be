/*
 * mcg_impl: what the files of mcg share.
 *
 * Each kind of command is two functions.  The check has all the reasons to refuse it and changes nothing;
 * what runs after it can fail for lack of memory alone, and then has changed nothing either: it allocates
 * first.
 *
 * State is in arrays whose order comes from their content; no walk depends on addresses.
 */
#ifndef CONSENSUSD_CORE_MCG_IMPL_H
#define CONSENSUSD_CORE_MCG_IMPL_H

#include "common/base/tree.h"
#include "consensusd/core/mcg.h"
#include "consensusd/core/sorted.h"

struct codec;
struct raft_entry;
struct raft_sessions;

/* A token that a node was admitted with. */
struct mcg_token {
	struct ulid id;
	uint64_t node, index;
};

struct mcg_item { /* of the configuration */
	char key[MCG_CONFIG_KEY_SIZE];
	uint64_t version, index, unix_ms, node;
	size_t len;
	uint8_t json[];
};

struct mcg_removed { /* a key of the configuration that was */
	char key[MCG_CONFIG_KEY_SIZE];
	uint64_t version, index;
};

struct mcg_kept {
	RB_ENTRY(mcg_kept) by_id;
	struct raft_entry *entry; /* a reference of its own */
	struct mcg_update update;
	struct mcg_kept *other; /* the first one after it of another kind, NULL: there is none yet */
};
RB_HEAD(mcg_ids, mcg_kept);

/* Updates from at[first] on, ascending by index. */
struct mcg_updates {
	struct mcg_kept **at;
	size_t first, count, cap;
	struct mcg_ids ids;
	size_t bytes;
	uint64_t pruned, last;
};

struct mcg {
	uint64_t index;
	bool seeded;
	struct mcg_mesh mesh;
	struct sorted members; /* struct mcg_member by node */
	size_t present;        /* of them */
	struct sorted tokens;  /* struct mcg_token by id */
	struct sorted values;  /* struct mcg_item by key */
	struct sorted removed; /* struct mcg_removed by key */
	size_t value_bytes;
	struct sorted keys; /* struct mcg_key by tenant and version */
	size_t boxes;
	struct mcg_updates updates;
	struct raft_sessions *sessions;
};

/* What a command runs with. */
struct mcg_run {
	struct raft_entry *entry;
	const struct mcg_cmd *cmd;
	struct mcg_result *out;
};

bool mcg_present(const struct mcg_member *member);
bool mcg_present_node(const struct mcg *m, uint64_t node);
int mcg_seed_member(struct mcg *m, const struct mcg_run *x);
int mcg_admit_check(const struct mcg *m, const struct mcg_cmd *cmd);
int mcg_admit_run(struct mcg *m, const struct mcg_run *x);
int mcg_remove_check(const struct mcg *m, const struct mcg_cmd *cmd);
int mcg_remove_run(struct mcg *m, const struct mcg_run *x);
int mcg_state_check(const struct mcg *m, const struct mcg_cmd *cmd);
int mcg_state_run(struct mcg *m, const struct mcg_run *x);
int mcg_config_check(const struct mcg *m, const struct mcg_cmd *cmd);
int mcg_config_run(struct mcg *m, const struct mcg_run *x);
int mcg_key_check(const struct mcg *m, const struct mcg_cmd *cmd);
int mcg_key_run(struct mcg *m, const struct mcg_run *x);
int mcg_seal_check(const struct mcg *m, const struct mcg_cmd *cmd);
int mcg_seal_run(struct mcg *m, const struct mcg_run *x);
int mcg_update_check(const struct mcg *m, const struct mcg_cmd *cmd);
int mcg_update_run(struct mcg *m, const struct mcg_run *x);
int mcg_prune_check(const struct mcg *m, const struct mcg_cmd *cmd);
int mcg_prune_run(struct mcg *m, const struct mcg_run *x);

/* A token was used by a node: remembered.  Reserve first, the put can't fail then: it takes what reserve
 * made, which is NULL if there is nothing to remember. */
int mcg_token_reserve(struct mcg *m, const struct mcg_cmd_member *who, struct mcg_token **out);
void mcg_token_put(struct mcg *m, struct mcg_token *token, uint64_t index);
/* Is it good for this node? */
bool mcg_token_free(const struct mcg *m, const struct mcg_cmd_member *who);

/* A node's boxes go; true: there were any. */
bool mcg_keys_unseal(struct mcg *m, uint64_t node);
/* NULL: not kept. */
const struct mcg_kept *mcg_updates_find(const struct mcg *m, const struct ulid *id);

/* Parts of a snapshot, in both directions; reading adds to what is empty. */
void mcg_members_fields(struct mcg *m, struct codec *c);
void mcg_tokens_fields(struct mcg *m, struct codec *c);
void mcg_config_fields(struct mcg *m, struct codec *c);
void mcg_keys_fields(struct mcg *m, struct codec *c);
void mcg_updates_fields(struct mcg *m, struct codec *c);

void mcg_members_fini(struct mcg *m);
void mcg_config_fini(struct mcg *m);
void mcg_keys_fini(struct mcg *m);
void mcg_updates_fini(struct mcg *m);

/* Makes an item when reading and appends it, or gives the one at i when writing; NULL: an error is set. */
void *mcg_item_at(struct codec *c, struct sorted *s, size_t i, size_t size);

#endif
