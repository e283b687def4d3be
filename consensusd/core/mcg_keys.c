/* Of mcg: the keys of tenants and of the mesh, sealed to the nodes that have them. */
#include <string.h>

#include "common/base/be.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/core/codec.h"
#include "consensusd/core/mcg_impl.h"
#include "consensusd/core/raft_entry.h"

struct which {
	const char *tenant;
	uint64_t version;
};

static int
compare(const void *key, const void *item)
{
	const struct which *a = key;
	const struct mcg_key *b = item;
	int order = strcmp(a->tenant, b->tenant);

	if (order != 0)
		return order;
	return a->version < b->version ? -1 : a->version > b->version;
}

static struct mcg_key *
get(const struct mcg *m, const char *tenant, uint64_t version)
{
	return sorted_get(&m->keys, &(struct which){tenant, version}, compare);
}

/* Keys of a tenant lie at *first and after it. */
static size_t
versions(const struct mcg *m, const char *tenant, size_t *first)
{
	size_t end;

	(void)sorted_find(&m->keys, &(struct which){tenant, 0}, compare, first);
	(void)sorted_find(&m->keys, &(struct which){tenant, UINT64_MAX}, compare, &end);
	return end - *first;
}

static void
drop(void *item)
{
	struct mcg_key *k = item;

	mem_free(k->sealed);
	mem_free(k);
}

void
mcg_keys_fini(struct mcg *m)
{
	sorted_fini(&m->keys, drop);
}

/* --- boxes --- */

static struct mcg_sealed
sealed_at(const struct mcg_cmd_key *k, size_t i)
{
	const uint8_t *p = k->sealed + i * MCG_SEALED_BYTES;
	struct mcg_sealed s = {.node = be_load64(p)};

	memcpy(s.box, p + 8, sizeof(s.box));
	return s;
}

static bool
all_members(const struct mcg *m, const struct mcg_cmd_key *k)
{
	for (size_t i = 0; i < k->sealed_count; i++)
		if (!mcg_present_node(m, be_load64(k->sealed + i * MCG_SEALED_BYTES)))
			return false;
	return true;
}

/* Both ascend by node: what a key has, and what is to come to it and takes the place of the other. */
static size_t
merge(struct mcg_sealed *to, const struct mcg_key *k, const struct mcg_cmd_key *more)
{
	size_t i = 0, n = 0;

	for (size_t j = 0; j < more->sealed_count; j++) {
		struct mcg_sealed s = sealed_at(more, j);

		while (i < k->sealed_count && k->sealed[i].node < s.node)
			to[n++] = k->sealed[i++];
		if (i < k->sealed_count && k->sealed[i].node == s.node)
			i++;
		to[n++] = s;
	}
	while (i < k->sealed_count)
		to[n++] = k->sealed[i++];
	return n;
}

static int
seal(struct mcg *m, struct mcg_key *k, const struct mcg_cmd_key *more)
{
	struct mcg_sealed *all = mem_calloc(k->sealed_count + more->sealed_count, sizeof(*all));
	size_t count;

	if (all == NULL)
		return ERR_NOMEM;
	count = merge(all, k, more);
	m->boxes += count - k->sealed_count;
	mem_free(k->sealed);
	k->sealed = all;
	k->sealed_count = count;
	return 0;
}

bool
mcg_keys_unseal(struct mcg *m, uint64_t node)
{
	bool any = false;

	for (size_t i = 0; i < m->keys.count; i++) {
		struct mcg_key *k = m->keys.at[i];
		size_t kept = 0;

		for (size_t j = 0; j < k->sealed_count; j++)
			if (k->sealed[j].node != node)
				k->sealed[kept++] = k->sealed[j];
		any = any || kept != k->sealed_count;
		m->boxes -= k->sealed_count - kept;
		k->sealed_count = kept;
	}
	return any;
}

/* --- KEY --- */

int
mcg_key_check(const struct mcg *m, const struct mcg_cmd *cmd)
{
	const struct mcg_cmd_key *k = &cmd->u.key;
	const struct mcg_key *newest = mcg_key_get(m, k->tenant);
	size_t first, boxes = m->boxes, keys = m->keys.count;

	if (k->version != (newest != NULL ? newest->version : 0) + 1)
		return ERR_STALE;
	if (!all_members(m, k))
		return ERR_NOENT;
	if (versions(m, k->tenant, &first) == MCG_KEY_VERSIONS_MAX) {
		boxes -= ((struct mcg_key *)m->keys.at[first])->sealed_count;
		keys--;
	}
	return keys == MCG_KEYS_MAX || boxes + k->sealed_count > MCG_BOXES_MAX ? ERR_FULL : 0;
}

static struct mcg_key *
new_key(const struct mcg_run *x)
{
	const struct mcg_cmd_key *from = &x->cmd->u.key;
	struct mcg_key *k = mem_calloc(1, sizeof(*k));

	if (k == NULL)
		return NULL;
	memcpy(k->tenant, from->tenant, sizeof(k->tenant));
	memcpy(k->key_id, from->key_id, sizeof(k->key_id));
	k->version = from->version;
	k->index = x->entry->index;
	k->unix_ms = x->cmd->unix_ms;
	k->node = x->cmd->node;
	k->valid_ms = from->valid_ms;
	return k;
}

int
mcg_key_run(struct mcg *m, const struct mcg_run *x)
{
	struct mcg_key *k, *old;
	size_t pos;

	if (sorted_reserve(&m->keys) != 0 || (k = new_key(x)) == NULL)
		return ERR_NOMEM;
	if (seal(m, k, &x->cmd->u.key) != 0) {
		mem_free(k);
		return ERR_NOMEM;
	}
	if (versions(m, k->tenant, &pos) == MCG_KEY_VERSIONS_MAX) {
		old = sorted_take(&m->keys, pos);
		m->boxes -= old->sealed_count;
		drop(old);
	}
	MUST(!sorted_find(&m->keys, &(struct which){k->tenant, k->version}, compare, &pos));
	sorted_put(&m->keys, pos, k);
	x->out->changes |= MCG_CHANGE_KEYS;
	return 0;
}

/* --- SEAL --- */

int
mcg_seal_check(const struct mcg *m, const struct mcg_cmd *cmd)
{
	const struct mcg_cmd_key *more = &cmd->u.key;
	const struct mcg_key *k = get(m, more->tenant, more->version);

	if (k == NULL || !all_members(m, more))
		return ERR_NOENT;
	if (memcmp(k->key_id, more->key_id, sizeof(k->key_id)) != 0)
		return ERR_STALE;
	/* As if all of them were new: the limit is far away. */
	return m->boxes + more->sealed_count > MCG_BOXES_MAX ? ERR_FULL : 0;
}

int
mcg_seal_run(struct mcg *m, const struct mcg_run *x)
{
	const struct mcg_cmd_key *more = &x->cmd->u.key;
	int err = seal(m, get(m, more->tenant, more->version), more);

	if (err == 0)
		x->out->changes |= MCG_CHANGE_KEYS;
	return err;
}

/* --- a snapshot's part --- */

static void
key_fields(struct codec *c, struct mcg_key *k, size_t *count)
{
	codec_str(c, k->tenant, sizeof(k->tenant));
	codec_u64(c, &k->version);
	codec_bytes(c, k->key_id, sizeof(k->key_id));
	codec_u64(c, &k->index);
	codec_u64(c, &k->unix_ms);
	codec_u64(c, &k->node);
	codec_u64(c, &k->valid_ms);
	codec_count(c, count, MCG_MEMBERS_MAX, MCG_SEALED_BYTES);
	codec_check(c, k->tenant[0] == '\0' || tenant_valid(k->tenant), ERR_FORMAT);
	codec_check(c, k->version != 0 && k->version < UINT64_MAX, ERR_FORMAT);
}

static void
box_fields(const struct mcg *m, struct codec *c, struct mcg_sealed *boxes, size_t i)
{
	codec_u64(c, &boxes[i].node);
	codec_bytes(c, boxes[i].box, sizeof(boxes[i].box));
	codec_check(c, i == 0 || boxes[i - 1].node < boxes[i].node, ERR_FORMAT);
	codec_check(c, mcg_present_node(m, boxes[i].node), ERR_FORMAT);
}

/* A tenant's versions follow each other, and are not too many. */
static bool
in_order(const struct mcg *m, const struct mcg_key *k, size_t i)
{
	const struct mcg_key *before = i != 0 ? m->keys.at[i - 1] : NULL;
	size_t first;

	if (before == NULL || strcmp(before->tenant, k->tenant) < 0)
		return true;
	return strcmp(before->tenant, k->tenant) == 0 && before->version + 1 == k->version &&
	       versions(m, k->tenant, &first) <= MCG_KEY_VERSIONS_MAX;
}

void
mcg_keys_fields(struct mcg *m, struct codec *c)
{
	enum { EACH = 1 + 8 + 8 + 4 * 8 + 4 };
	size_t count = m->keys.count;

	codec_count(c, &count, MCG_KEYS_MAX, EACH);
	for (size_t i = 0; i < count && c->err == 0; i++) {
		struct mcg_key *k = mcg_item_at(c, &m->keys, i, sizeof(*k));
		size_t boxes = k != NULL ? k->sealed_count : 0;

		if (k == NULL)
			return;
		key_fields(c, k, &boxes);
		codec_check(c, in_order(m, k, i), ERR_FORMAT);
		codec_check(c, c->put || m->boxes + boxes <= MCG_BOXES_MAX, ERR_LIMIT);
		if (c->err != 0)
			return;
		if (!c->put && (k->sealed = mem_calloc(boxes, sizeof(*k->sealed))) == NULL) {
			c->err = ERR_NOMEM;
			return;
		}
		if (!c->put)
			m->boxes += k->sealed_count = boxes;
		for (size_t j = 0; j < boxes; j++)
			box_fields(m, c, k->sealed, j);
	}
}

/* --- to look at --- */

size_t
mcg_key_count(const struct mcg *m)
{
	return m->keys.count;
}

const struct mcg_key *
mcg_key_at(const struct mcg *m, size_t i)
{
	return m->keys.at[i];
}

const struct mcg_key *
mcg_key_get(const struct mcg *m, const char *tenant)
{
	size_t first, count = versions(m, tenant, &first);

	return count != 0 ? m->keys.at[first + count - 1] : NULL;
}
