/*
 * mesh: keys; see mesh.h.
 *
 * A key is drawn by one node, sealed to the public keys of those that may have it, and replicated so.  Each
 * opens what is sealed to it.  The group keeps two versions, so that nodes which have not heard of the newest
 * yet can go on for as long as the rotation says; older ones of tenants stay where something is sealed with
 * them (tenantkeys.h).  A member that misses the mesh key is given it by the leader; one that misses a
 * tenant's key that it may have is given it by whoever rotates that key, who names it.
 */
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "consensusd/keyring.h"
#include "consensusd/mesh_impl.h"
#include "consensusd/stats.h"
#include "consensusd/tenantkeys.h"

/* Payloads of updates: nonce, then the sealed text. */
enum { SEALED_AROUND_BYTES = CRYPTO_NONCE_BYTES + CRYPTO_TAG_BYTES };

/* --- those that this node has --- */

void
mesh_keys_fini(struct mesh *m)
{
	if (m->keys != NULL)
		crypto_unlock(m->keys, m->key_cap * sizeof(*m->keys));
	mem_free(m->keys);
	m->keys = NULL;
	m->key_count = m->key_cap = 0;
}

const struct mesh_key *
mesh_key_find(const struct mesh *m, const char *tenant, const uint8_t key_id[CRYPTO_KEY_ID_BYTES])
{
	for (size_t i = 0; i < m->key_count; i++)
		if (memcmp(m->keys[i].key_id, key_id, CRYPTO_KEY_ID_BYTES) == 0 &&
		    strcmp(m->keys[i].tenant, tenant) == 0)
			return &m->keys[i];
	return NULL;
}

const struct mesh_key *
mesh_key_newest(const struct mesh *m, const char *tenant)
{
	const struct mcg_key *k = mcg_key_get(m->mcg, tenant);

	return k != NULL ? mesh_key_find(m, tenant, k->key_id) : NULL;
}

bool
mesh_has_key(const struct mesh *m, const struct mcg_key *k)
{
	return mesh_key_find(m, k->tenant, k->key_id) != NULL;
}

bool
mesh_key_made(const struct mesh *m, const char *tenant, const uint8_t key_id[8])
{
	for (size_t i = 0; i < mcg_key_count(m->mcg); i++) {
		const struct mcg_key *k = mcg_key_at(m->mcg, i);

		if (memcmp(k->key_id, key_id, sizeof(k->key_id)) == 0 && strcmp(k->tenant, tenant) == 0)
			return true;
	}
	return false;
}

static const struct mcg_sealed *
box_of(const struct mcg_key *k, uint64_t node)
{
	size_t low = 0, high = k->sealed_count;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (k->sealed[mid].node == node)
			return &k->sealed[mid];
		if (k->sealed[mid].node < node)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

/* What is known already is copied: opening a box costs more than everything else here. */
static bool
fill_key(const struct mesh *m, const struct mcg_key *from, struct mesh_key *to)
{
	const struct mesh_key *known = mesh_key_find(m, from->tenant, from->key_id);
	const struct mcg_sealed *box = box_of(from, m->engine->self);
	uint8_t id[CRYPTO_KEY_ID_BYTES];

	if (box == NULL)
		return false;
	snprintf(to->tenant, sizeof(to->tenant), "%s", from->tenant);
	to->version = from->version;
	memcpy(to->key_id, from->key_id, sizeof(to->key_id));
	if (known != NULL) {
		memcpy(to->key, known->key, sizeof(to->key));
		return true;
	}
	if (crypto_box_open_key(to->key, box->box, keyring_node_key(m->engine->keyring)) == 0) {
		crypto_key_id(id, to->key);
		if (memcmp(id, to->key_id, sizeof(id)) == 0)
			return true;
	}
	log_warn("control group: version %llu of the key of %s can't be opened by this node",
	    (unsigned long long)from->version, from->tenant[0] != '\0' ? from->tenant : "the mesh");
	return false;
}

/* Before anything is sealed with it. */
static void
keep(struct mesh *m, const struct mcg_key *from, const struct mesh_key *k)
{
	const struct mcg_sealed *box = box_of(from, m->engine->self);
	int err;

	if (k->tenant[0] == '\0' || box == NULL)
		return;
	err = tenantkeys_keep(m->engine, k->tenant, k->version, k->key, box->box);
	if (err == 0)
		return;
	log_warn("version %llu of the key of tenant %s is not kept yet: %s", (unsigned long long)k->version,
	    k->tenant, err_text(err));
	m->undone |= MCG_CHANGE_KEYS;
}

void
mesh_keys_changed(struct mesh *m)
{
	size_t count = 0, cap = mcg_key_count(m->mcg);
	struct mesh_key *keys = mem_calloc(cap + 1, sizeof(*keys));

	if (keys == NULL) {
		m->undone |= MCG_CHANGE_KEYS;
		return;
	}
	crypto_lock(keys, (cap + 1) * sizeof(*keys));
	for (size_t i = 0; i < cap; i++) {
		if (!fill_key(m, mcg_key_at(m->mcg, i), &keys[count]))
			continue;
		keep(m, mcg_key_at(m->mcg, i), &keys[count]);
		count++;
	}
	mesh_keys_fini(m);
	m->keys = keys;
	m->key_count = count;
	m->key_cap = cap + 1;
	metric_set(&stats.mesh_keys, (int64_t)count);
	mesh_keys_tenants(m);
}

uint64_t
mesh_key_ends(const struct mesh *m, const char *tenant, uint64_t version)
{
	const struct mcg_key *newest = mcg_key_get(m->mcg, tenant);

	if (tenant[0] == '\0' || newest == NULL || newest->version == version)
		return 0;
	return newest->valid_ms < UINT64_MAX - newest->unix_ms ? newest->unix_ms + newest->valid_ms
							       : UINT64_MAX;
}

/* The tenants' keys go to the keyring, the newest first. */
void
mesh_keys_tenants(struct mesh *m)
{
	keyring_given_clear(m->engine->keyring);
	for (size_t i = m->key_count; i-- > 0;) {
		const struct mesh_key *k = &m->keys[i];
		const struct keyring_given g = {k->version, mesh_key_ends(m, k->tenant, k->version), k->key};

		if (k->tenant[0] != '\0' && keyring_given_add(m->engine->keyring, k->tenant, &g) != 0)
			log_warn("a key of tenant %s can't be used: the keyring is full", k->tenant);
	}
}

/* --- making and sealing --- */

static int
seal_to(const struct mesh *m, const uint8_t key[CRYPTO_KEY_BYTES], uint64_t node, struct buf *boxes)
{
	const struct mcg_member *x = mcg_member_get(m->mcg, node);
	const uint8_t *to = x != NULL ? x->public_key : NULL;
	uint8_t box[MCG_BOX_BYTES];
	int err;

	/* The first key is made before the first member is there. */
	if (to == NULL && node == m->engine->self)
		to = m->engine->public_key;
	if (to == NULL)
		return ERR_NOENT;
	if ((err = crypto_box_seal_key(box, key, to)) != 0 || (err = buf_put_u64(boxes, node)) != 0)
		return err;
	return buf_put_bytes(boxes, box, sizeof(box));
}

static int
compare_nodes(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static int
seal_to_all(const struct mesh *m, const uint8_t key[CRYPTO_KEY_BYTES], uint64_t *nodes, size_t count,
    struct mcg_cmd_key *cmd, struct buf *boxes)
{
	int err = 0;

	qsort(nodes, count, sizeof(nodes[0]), compare_nodes);
	cmd->sealed_count = 0;
	for (size_t i = 0; i < count && err == 0; i++) {
		if (i != 0 && nodes[i] == nodes[i - 1])
			continue;
		err = seal_to(m, key, nodes[i], boxes);
		cmd->sealed_count++;
	}
	cmd->sealed = buf_head(boxes);
	return err;
}

/* Who is to have the next key, if nobody is named. */
static size_t
heirs(const struct mesh *m, const char *tenant, uint64_t *out)
{
	const struct mcg_key *k = mcg_key_get(m->mcg, tenant);
	size_t count = 0;

	if (tenant[0] != '\0') {
		for (size_t i = 0; k != NULL && i < k->sealed_count; i++)
			out[count++] = k->sealed[i].node;
		return count;
	}
	for (size_t i = 0; i < mcg_member_count(m->mcg) && count < MCG_SEALED_MAX; i++)
		if (mcg_member_at(m->mcg, i)->replica != 0)
			out[count++] = mcg_member_at(m->mcg, i)->node;
	return count;
}

static int
propose_key(struct mesh *m, const char *tenant, uint64_t *nodes, size_t count, uint64_t valid_ms,
    uint32_t timeout_ms, mesh_done_fn *fn, void *ctx)
{
	const struct mcg_key *last = mcg_key_get(m->mcg, tenant);
	struct mcg_cmd cmd = {.type = MCG_KEY};
	uint8_t key[CRYPTO_KEY_BYTES];
	struct buf boxes;
	int err;

	snprintf(cmd.u.key.tenant, sizeof(cmd.u.key.tenant), "%s", tenant);
	cmd.u.key.version = last != NULL ? last->version + 1 : 1;
	cmd.u.key.valid_ms = valid_ms;
	buf_init(&boxes, MCG_SEALED_MAX * MCG_SEALED_BYTES);
	crypto_lock(key, sizeof(key));
	crypto_random(key, sizeof(key));
	crypto_key_id(cmd.u.key.key_id, key);
	err = seal_to_all(m, key, nodes, count, &cmd.u.key, &boxes);
	crypto_unlock(key, sizeof(key));
	if (err == 0)
		err = mesh_propose(m, &cmd, timeout_ms, fn, ctx);
	buf_fini(&boxes);
	return err;
}

int
mesh_rotate(struct mesh *m, const char *tenant, const uint64_t *nodes, size_t count, uint64_t valid_ms,
    uint32_t timeout_ms, mesh_done_fn *fn, void *ctx)
{
	uint64_t *to;
	int err;

	if (m->group == NULL)
		return mesh_absent(m);
	if (count > MCG_SEALED_MAX)
		return ERR_LIMIT;
	if ((to = mem_calloc(MCG_SEALED_MAX, sizeof(*to))) == NULL)
		return ERR_NOMEM;
	if (count != 0)
		memcpy(to, nodes, count * sizeof(*to));
	else
		count = heirs(m, tenant, to);
	err = count == 0 ? ERR_NOENT : propose_key(m, tenant, to, count, valid_ms, timeout_ms, fn, ctx);
	mem_free(to);
	return err;
}

/* --- what the leader sees to --- */

static void
on_duty_done(void *ctx, const struct mesh_outcome *o)
{
	if (o->err != 0)
		log_info("control group: keys: %s", o->text);
	mesh_duty_done(ctx, o);
}

/* Members without the newest mesh key. */
static size_t
without_key(const struct mesh *m, const struct mcg_key *k, uint64_t *out)
{
	size_t count = 0;

	for (size_t i = 0; i < mcg_member_count(m->mcg) && count < MCG_SEALED_MAX; i++) {
		const struct mcg_member *x = mcg_member_at(m->mcg, i);

		if (x->replica != 0 && box_of(k, x->node) == NULL)
			out[count++] = x->node;
	}
	return count;
}

static bool
seal_missing(struct mesh *m, const struct mcg_key *k, const struct mesh_key *plain, uint64_t *nodes)
{
	struct mcg_cmd cmd = {.type = MCG_SEAL};
	size_t count = without_key(m, k, nodes);
	struct buf boxes;
	int err;

	if (count == 0)
		return false;
	cmd.u.key.version = k->version;
	memcpy(cmd.u.key.key_id, k->key_id, sizeof(cmd.u.key.key_id));
	buf_init(&boxes, MCG_SEALED_MAX * MCG_SEALED_BYTES);
	err = seal_to_all(m, plain->key, nodes, count, &cmd.u.key, &boxes);
	if (err == 0 && (err = mesh_propose(m, &cmd, MESH_JOIN_MS, on_duty_done, m)) == 0)
		m->duties++;
	buf_fini(&boxes);
	return err == 0;
}

/* Somebody who had it was locked out after it was made: the next one has to be another. */
static bool
is_known_outside(const struct mesh *m, const struct mcg_key *k)
{
	for (size_t i = 0; i < mcg_member_count(m->mcg); i++) {
		const struct mcg_member *x = mcg_member_at(m->mcg, i);

		if (x->status == MCG_EVICTED && x->since_index > k->index)
			return true;
	}
	return false;
}

static bool
rotate_known(struct mesh *m, const struct mcg_key *k)
{
	int err = mesh_rotate(m, k->tenant, NULL, 0, MESH_EVICT_VALID_MS, MESH_JOIN_MS, on_duty_done, m);

	if (err == 0) {
		m->duties++;
		log_notice("control group: the key of %s is replaced: a node that may know it was evicted",
		    k->tenant[0] != '\0' ? k->tenant : "the mesh");
	}
	return err == 0;
}

/* Whoever seeded the mesh was to make it, and did not get to that. */
static bool
make_first(struct mesh *m)
{
	if (m->proposal_count != 0 || mesh_rotate(m, "", NULL, 0, 0, MESH_JOIN_MS, on_duty_done, m) != 0)
		return false;
	m->duties++;
	return true;
}

bool
mesh_keys_duty(struct mesh *m)
{
	const struct mcg_key *k = mcg_key_get(m->mcg, "");
	const struct mesh_key *plain = mesh_key_newest(m, "");
	uint64_t *nodes;
	bool any;

	for (size_t i = 0; i < mcg_key_count(m->mcg); i++) {
		const struct mcg_key *x = mcg_key_at(m->mcg, i);

		if (x == mcg_key_get(m->mcg, x->tenant) && x->sealed_count != 0 && is_known_outside(m, x))
			return rotate_known(m, x);
	}
	if (k == NULL)
		return make_first(m);
	if (plain == NULL || (nodes = mem_calloc(MCG_SEALED_MAX, sizeof(*nodes))) == NULL)
		return false;
	any = seal_missing(m, k, plain, nodes);
	mem_free(nodes);
	return any;
}

/* --- updates --- */

int
mesh_update(struct mesh *m, enum mcg_update_kind kind, const struct ulid *id, const char *type,
    const void *payload, size_t len, uint32_t timeout_ms, mesh_done_fn *fn, void *ctx)
{
	const struct mesh_key *key = mesh_key_newest(m, "");
	struct mcg_cmd cmd = {.type = MCG_UPDATE, .u.update = {.kind = kind, .id = *id}};
	struct mcg_cmd_update *u = &cmd.u.update;
	uint8_t *sealed;
	int err;

	if (m->group == NULL)
		return mesh_absent(m);
	if (key == NULL)
		return ERR_AGAIN;
	if (len > MCG_UPDATE_MAX_BYTES)
		return ERR_LIMIT;
	if ((sealed = mem_calloc(1, len + SEALED_AROUND_BYTES)) == NULL)
		return ERR_NOMEM;
	snprintf(u->type, sizeof(u->type), "%s", type);
	memcpy(u->key_id, key->key_id, sizeof(u->key_id));
	crypto_random(sealed, CRYPTO_NONCE_BYTES);
	u->payload = sealed;
	u->len = len + SEALED_AROUND_BYTES;
	err = crypto_seal(sealed + CRYPTO_NONCE_BYTES, payload, len, id->b, ULID_BYTES, sealed, key->key);
	if (err == 0)
		err = mesh_propose(m, &cmd, timeout_ms, fn, ctx);
	mem_free(sealed);
	return err;
}

int
mesh_open(struct mesh *m, const struct mcg_update *u, struct buf *out)
{
	const struct mesh_key *key = mesh_key_find(m, "", u->cmd.key_id);
	size_t sealed_len;
	uint8_t *room;
	int err;

	if (key == NULL)
		return ERR_NOENT;
	if (u->cmd.len < SEALED_AROUND_BYTES)
		return ERR_FORMAT;
	sealed_len = u->cmd.len - CRYPTO_NONCE_BYTES;
	if ((err = buf_reserve(out, sealed_len, &room)) != 0)
		return err;
	err = crypto_open(room, u->cmd.payload + CRYPTO_NONCE_BYTES, sealed_len, u->cmd.id.b, ULID_BYTES,
	    u->cmd.payload, key->key);
	if (err == 0)
		buf_commit(out, sealed_len - CRYPTO_TAG_BYTES);
	return err;
}
