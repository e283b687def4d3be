/*
 * make_mcg: commands of the control group for tests, as entries of its log; random ones, too.
 */
#ifndef TESTS_UNIT_CONSENSUSD_MAKE_MCG_H
#define TESTS_UNIT_CONSENSUSD_MAKE_MCG_H

#include <string.h>

#include "common/base/be.h"
#include "common/base/buf.h"
#include "common/base/must.h"
#include "common/base/rng.h"
#include "consensusd/core/mcg.h"
#include "consensusd/core/raft_entry.h"

enum {
	MAKE_FIRST = 1,          /* the node that begins the mesh */
	MAKE_UPDATES_MAX = 4096, /* bytes */
	MAKE_NODES = 12,
	MAKE_CLIENTS = 4,
	MAKE_BOXES = 3,
};

static inline struct mcg_cmd
make_cmd(uint8_t type)
{
	return (struct mcg_cmd){.type = type, .unix_ms = 1700000000000, .node = MAKE_FIRST};
}

static inline struct mcg_cmd_member
make_member(uint64_t node, uint64_t replica)
{
	struct mcg_cmd_member m = {.node = node, .replica = replica, .name = "name"};

	be_store64(m.public_key, node);
	return m;
}

static inline struct mcg_cmd
make_seed(void)
{
	struct mcg_cmd c = make_cmd(MCG_SEED);

	c.u.seed = (struct mcg_cmd_seed){
	    .mesh_id = {{1}},
	    .seed_id = {{2}},
	    .name = "mesh",
	    .description = "of a test",
	    .allow_join = MCG_JOIN_CERTIFICATE,
	    .voters = 5,
	    .updates_max_bytes = MAKE_UPDATES_MAX,
	    .first = make_member(MAKE_FIRST, 1001),
	};
	return c;
}

static inline struct mcg_cmd
make_admit(uint64_t node, uint64_t replica)
{
	struct mcg_cmd c = make_cmd(MCG_ADMIT);

	c.u.admit = make_member(node, replica);
	return c;
}

static inline struct mcg_cmd
make_remove(uint64_t node, bool evict)
{
	struct mcg_cmd c = make_cmd(MCG_REMOVE);

	c.u.remove = (struct mcg_cmd_remove){.node = node, .evict = evict, .reason = "why not"};
	return c;
}

static inline struct mcg_cmd
make_readmit(uint64_t node)
{
	struct mcg_cmd c = make_cmd(MCG_REMOVE);

	c.u.remove = (struct mcg_cmd_remove){.node = node, .readmit = true};
	return c;
}

static inline struct mcg_cmd
make_state(uint64_t node, bool stopped)
{
	struct mcg_cmd c = make_cmd(MCG_STATE);

	c.u.state = (struct mcg_cmd_state){.node = node, .stopped = stopped};
	return c;
}

/* json NULL: removes. */
static inline struct mcg_cmd
make_config(const char *key, const char *json, uint64_t expected)
{
	struct mcg_cmd c = make_cmd(MCG_CONFIG);

	c.u.config = (struct mcg_cmd_config){.remove = json == NULL,
	    .expected = expected,
	    .json = (const uint8_t *)json,
	    .len = json != NULL ? strlen(json) : 0};
	memcpy(c.u.config.key, key, strlen(key));
	return c;
}

static inline struct mcg_cmd
make_update(uint8_t id, const void *payload, size_t len)
{
	struct mcg_cmd c = make_cmd(MCG_UPDATE);

	c.u.update = (struct mcg_cmd_update){
	    .kind = MCG_UPDATE_MESH, .id = {{id}}, .type = "news", .payload = payload, .len = len};
	return c;
}

/* Sealed to nodes from..from + count - 1: boxes of one value, borrowed from room. */
static inline struct mcg_cmd
make_key(uint8_t type, const char *tenant, uint64_t version, uint64_t from, size_t count,
    uint8_t room[MAKE_BOXES * MCG_SEALED_BYTES])
{
	struct mcg_cmd c = make_cmd(type);

	MUST(count <= MAKE_BOXES);
	for (size_t i = 0; i < count; i++) {
		be_store64(room + i * MCG_SEALED_BYTES, from + i);
		memset(room + i * MCG_SEALED_BYTES + 8, (int)(16 * version + i), MCG_BOX_BYTES);
	}
	c.u.key = (struct mcg_cmd_key){
	    .version = version, .key_id = {(uint8_t)version}, .sealed = room, .sealed_count = count};
	memcpy(c.u.key.tenant, tenant, strlen(tenant));
	return c;
}

static inline struct mcg_cmd
make_prune(uint64_t index)
{
	struct mcg_cmd c = make_cmd(MCG_PRUNE);

	c.u.prune = index;
	return c;
}

static inline struct raft_entry *
make_entry(const struct mcg_cmd *c, uint64_t index, uint64_t client, uint64_t seq)
{
	struct raft_entry *e;
	struct buf b;

	buf_init(&b, RAFT_DATA_MAX_BYTES);
	MUST(mcg_cmd_encode(c, &b) == 0);
	e = raft_entry_new(RAFT_DATA, client, seq, buf_head(&b), buf_left(&b));
	MUST(e != NULL);
	e->index = index;
	e->term = 1 + index / 100;
	buf_fini(&b);
	return e;
}

/* One of any type, which may well be refused. */
static inline struct mcg_cmd
make_random(struct rng *rng, uint64_t index, uint8_t room[MAKE_BOXES * MCG_SEALED_BYTES])
{
	static const char *const keys[] = {"a", "a.b", "b", "log.level", "z"};
	static const char *const values[] = {"1", "\"text\"", "{\"a\": [1, 2, 3]}", NULL};
	static const char *const tenants[] = {"", "acme", "zoo"};
	uint64_t node = 1 + rng_below(rng, rng_below(rng, 2) ? MAKE_NODES : 5), some = rng_below(rng, 3);
	struct mcg_cmd c;

	switch (1 + rng_below(rng, MCG_CMD_TYPES - 1)) {
	case MCG_SEED:
		c = make_seed();
		break;
	case MCG_ADMIT:
		c = make_admit(node, 1000 + rng_below(rng, 2 * MAKE_NODES));
		c.u.admit.readmit = some == 0;
		c.u.admit.token_id.b[0] = (uint8_t)rng_below(rng, 20);
		break;
	case MCG_REMOVE:
		c = some == 0 ? make_readmit(node) : make_remove(node == MAKE_FIRST ? 2 : node, some == 1);
		break;
	case MCG_STATE:
		c = make_state(node, some == 0);
		break;
	case MCG_SETTINGS:
		c = make_cmd(MCG_SETTINGS);
		c.u.settings.has_voters = some == 0;
		c.u.settings.voters = 3;
		c.u.settings.has_description = true;
		c.u.settings.description[0] = (char)('a' + some);
		break;
	case MCG_CONFIG:
		c = make_config(keys[rng_below(rng, 5)], values[rng_below(rng, 4)],
		    some == 0 ? rng_below(rng, 4) : UINT64_MAX);
		break;
	case MCG_UPDATE:
		c = make_update((uint8_t)(1 + rng_below(rng, 100)), "payload", rng_below(rng, 8));
		break;
	case MCG_KEY:
		c = make_key(
		    MCG_KEY, tenants[some], 1 + rng_below(rng, 4), node, 1 + rng_below(rng, 2), room);
		break;
	case MCG_SEAL:
		c = make_key(
		    MCG_SEAL, tenants[some], 1 + rng_below(rng, 4), node, 1 + rng_below(rng, 2), room);
		break;
	default:
		c = make_prune(some == 0 ? rng_below(rng, index + 2) : index / 2);
	}
	c.node = rng_below(rng, 8) == 0 && c.type != MCG_SEED ? node : (uint64_t)MAKE_FIRST;
	c.unix_ms += index;
	return c;
}

#endif
