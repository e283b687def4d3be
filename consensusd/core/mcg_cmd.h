/*
 * mcg_cmd: the commands of the mesh control group as they stand in its log.
 *
 *	u8 version, u8 type, u64 unix_ms, u64 node (that proposes it), then what the type has
 *
 * Numbers are for ever: a log outlives the program that wrote it.
 */
#ifndef CONSENSUSD_CORE_MCG_CMD_H
#define CONSENSUSD_CORE_MCG_CMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/id.h"
#include "common/base/must.h"

struct buf;

enum {
	MCG_CMD_VERSION = 1,
	MCG_REASON_SIZE = 256,
	MCG_TEXT_SIZE = 256,
	MCG_BOX_BYTES = 80, /* a key of 32 bytes, sealed to a node's key: ephemeral public key, tag */
	MCG_CONFIG_KEY_SIZE = 128,
	MCG_CONFIG_VALUE_MAX_BYTES = 65536,
	MCG_UPDATE_TYPE_SIZE = 64,
	MCG_UPDATE_MAX_BYTES = 1024 * 1024, /* what an update says */
	MCG_UPDATE_AROUND_MAX_BYTES = 4096, /* what is around that in its payload: names, the seal */
	MCG_SEALED_MAX = 4096,              /* nodes that one key is sealed to */
	MCG_SEALED_BYTES = 8 + MCG_BOX_BYTES,
};

enum mcg_cmd_type {
	MCG_SEED = 1, /* the first entry: the mesh and its first member */
	MCG_ADMIT,    /* a node becomes a member, or begins anew with another replica */
	MCG_REMOVE,   /* a member leaves, or a node is evicted or may come back */
	MCG_STATE,    /* a member stops or starts */
	MCG_SETTINGS, /* of the mesh */
	MCG_CONFIG,   /* a key of the configuration is set or removed */
	MCG_UPDATE,
	MCG_KEY,   /* a new key */
	MCG_SEAL,  /* a key sealed to more nodes */
	MCG_PRUNE, /* updates up to an index are not needed any more */
	MCG_CMD_TYPES,
};
const char *mcg_cmd_name(uint8_t type);
/* Of the configuration. */
bool mcg_cmd_key_valid(const char *key);

/* Who may join: nobody; who has a certificate of the mesh; who has a token of a member, too. */
enum mcg_join { MCG_JOIN_NOBODY, MCG_JOIN_CERTIFICATE, MCG_JOIN_TOKEN, MCG_JOINS };

struct mcg_cmd_member { /* ADMIT, and of SEED */
	uint64_t node, replica;
	uint8_t public_key[32];
	char name[NODE_NAME_SIZE]; /* a valid one or empty */
	bool readmit;              /* even if it was evicted */
	struct ulid token_id;      /* that it came with; zero: none.  Each is good for one node */
};

struct mcg_cmd_seed {
	struct ulid mesh_id, seed_id;
	char name[NODE_NAME_SIZE];
	char description[MCG_TEXT_SIZE];
	enum mcg_join allow_join;
	uint32_t voters;
	uint64_t updates_max_bytes;
	struct mcg_cmd_member first;
};

struct mcg_cmd_remove {
	uint64_t node;
	bool evict;
	bool readmit; /* the opposite: an evicted one may join again; not both */
	char reason[MCG_REASON_SIZE];
};

struct mcg_cmd_state {
	uint64_t node;
	bool stopped;
};

struct mcg_cmd_settings { /* what is set is changed */
	bool has_description, has_allow_join, has_voters;
	char description[MCG_TEXT_SIZE];
	enum mcg_join allow_join;
	uint32_t voters; /* 1 to RAFT_VOTERS_MAX, odd */
};

struct mcg_cmd_config {
	char key[MCG_CONFIG_KEY_SIZE]; /* visible ASCII but no '*' */
	bool remove;
	uint64_t
	    expected; /* only if the key has this version; UINT64_MAX: whatever it has; 0: it is not there */
	const uint8_t *json; /* borrowed */
	size_t len;
};

enum mcg_update_kind { MCG_UPDATE_MESH = 1, MCG_UPDATE_DB };

struct mcg_cmd_update {
	enum mcg_update_kind kind;
	struct ulid id;
	char type[MCG_UPDATE_TYPE_SIZE];
	uint8_t key_id[8];      /* the payload is sealed with this key of the mesh; zero: it is not */
	const uint8_t *payload; /* borrowed */
	size_t len;
	uint64_t node, unix_ms; /* when decoded: of the command */
};

struct mcg_cmd_key {
	char tenant[TENANT_TEXT_SIZE];
	uint64_t version; /* KEY: one more than the newest, else refused; SEAL: of the key */
	uint8_t key_id[8];
	uint64_t valid_ms;
	const uint8_t *sealed; /* borrowed: sealed_count x {u64 node, MCG_BOX_BYTES}, ascending */
	size_t sealed_count;
};

struct mcg_cmd {
	uint8_t type;
	uint64_t unix_ms, node;
	union {
		struct mcg_cmd_seed seed;
		struct mcg_cmd_member admit;
		struct mcg_cmd_remove remove;
		struct mcg_cmd_state state;
		struct mcg_cmd_settings settings;
		struct mcg_cmd_config config;
		struct mcg_cmd_update update;
		struct mcg_cmd_key key; /* KEY, SEAL */
		uint64_t prune;
	} u;
};

/* The buffer's errors; ERR_UNKNOWN, ERR_FORMAT, ERR_LIMIT: what mcg_cmd_decode() would refuse. */
int mcg_cmd_encode(const struct mcg_cmd *c, struct buf *out) MUST_USE;
/* Exactly len bytes; what is borrowed points into them.  Total: ERR_SHORT, ERR_LEFTOVER, ERR_VERSION,
 * ERR_UNKNOWN (type), ERR_FORMAT, ERR_LIMIT. */
int mcg_cmd_decode(const uint8_t *data, size_t len, struct mcg_cmd *out) MUST_USE;

#endif
