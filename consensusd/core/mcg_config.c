/* Of mcg: the configuration that all nodes share. */
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/core/codec.h"
#include "consensusd/core/mcg_impl.h"
#include "consensusd/core/raft_entry.h"

static int
compare_item(const void *key, const void *item)
{
	return strcmp(key, ((const struct mcg_item *)item)->key);
}

static int
compare_removed(const void *key, const void *item)
{
	return strcmp(key, ((const struct mcg_removed *)item)->key);
}

void
mcg_config_fini(struct mcg *m)
{
	sorted_fini(&m->values, mem_free);
	sorted_fini(&m->removed, mem_free);
}

int
mcg_config_check(const struct mcg *m, const struct mcg_cmd *cmd)
{
	const struct mcg_cmd_config *k = &cmd->u.config;
	const struct mcg_item *item = sorted_get(&m->values, k->key, compare_item);
	uint64_t version = item != NULL ? item->version : 0;

	if (k->expected != UINT64_MAX && k->expected != version)
		return ERR_STALE;
	if (k->remove)
		return item != NULL ? 0 : ERR_NOENT;
	if (item == NULL && m->values.count == MCG_CONFIG_MAX)
		return ERR_FULL;
	if (m->value_bytes - (item != NULL ? item->len : 0) + k->len > MCG_CONFIG_MAX_BYTES)
		return ERR_FULL;
	return 0;
}

/* Forgets that the key was removed; its last version then, or 0. */
static uint64_t
take_removed(struct mcg *m, const char *key)
{
	struct mcg_removed *old;
	uint64_t version;
	size_t pos;

	if (!sorted_find(&m->removed, key, compare_removed, &pos))
		return 0;
	old = sorted_take(&m->removed, pos);
	version = old->version;
	mem_free(old);
	return version;
}

static int
set(struct mcg *m, const struct mcg_run *x)
{
	const struct mcg_cmd_config *k = &x->cmd->u.config;
	struct mcg_item *item, *old;
	size_t pos;

	if (sorted_reserve(&m->values) != 0 || (item = mem_calloc(1, sizeof(*item) + k->len)) == NULL)
		return ERR_NOMEM;
	memcpy(item->key, k->key, sizeof(k->key));
	memcpy(item->json, k->json, k->len);
	item->len = k->len;
	item->index = x->entry->index;
	item->unix_ms = x->cmd->unix_ms;
	item->node = x->cmd->node;
	if (sorted_find(&m->values, k->key, compare_item, &pos)) {
		old = m->values.at[pos];
		item->version = old->version + 1;
		m->value_bytes -= old->len;
		mem_free(old);
		m->values.at[pos] = item;
	} else {
		item->version = take_removed(m, k->key) + 1;
		sorted_put(&m->values, pos, item);
	}
	m->value_bytes += item->len;
	x->out->version = item->version;
	return 0;
}

static void
forget_removed(struct mcg *m)
{
	size_t first = 0;

	for (size_t i = 1; i < m->removed.count; i++)
		if (((struct mcg_removed *)m->removed.at[i])->index <
		    ((struct mcg_removed *)m->removed.at[first])->index)
			first = i;
	mem_free(sorted_take(&m->removed, first));
}

static int
unset(struct mcg *m, const struct mcg_run *x)
{
	const struct mcg_cmd_config *k = &x->cmd->u.config;
	struct mcg_removed *gone;
	struct mcg_item *item;
	size_t pos;

	if (sorted_reserve(&m->removed) != 0 || (gone = mem_calloc(1, sizeof(*gone))) == NULL)
		return ERR_NOMEM;
	MUST(sorted_find(&m->values, k->key, compare_item, &pos));
	item = sorted_take(&m->values, pos);
	memcpy(gone->key, k->key, sizeof(k->key));
	gone->version = x->out->version = item->version + 1;
	gone->index = x->entry->index;
	m->value_bytes -= item->len;
	mem_free(item);
	if (m->removed.count == MCG_CONFIG_REMOVED_MAX)
		forget_removed(m);
	MUST(!sorted_find(&m->removed, gone->key, compare_removed, &pos));
	sorted_put(&m->removed, pos, gone);
	return 0;
}

int
mcg_config_run(struct mcg *m, const struct mcg_run *x)
{
	int err = x->cmd->u.config.remove ? unset(m, x) : set(m, x);

	if (err == 0)
		x->out->changes |= MCG_CHANGE_CONFIG;
	return err;
}

/* --- a snapshot's part --- */

static void
value_fields(struct codec *c, struct mcg_value *v, char key[MCG_CONFIG_KEY_SIZE])
{
	codec_str(c, key, MCG_CONFIG_KEY_SIZE);
	codec_u64(c, &v->version);
	codec_u64(c, &v->index);
	codec_u64(c, &v->unix_ms);
	codec_u64(c, &v->node);
	codec_block(c, &v->json, &v->len, MCG_CONFIG_VALUE_MAX_BYTES);
	codec_check(c, mcg_cmd_key_valid(key) && v->version != 0 && v->len != 0, ERR_FORMAT);
}

static void
get_value(struct mcg *m, struct codec *c)
{
	char key[MCG_CONFIG_KEY_SIZE] = "";
	struct mcg_value v = {0};
	struct mcg_item *item;
	size_t count = m->values.count;

	value_fields(c, &v, key);
	codec_check(c, count == 0 || compare_item(key, m->values.at[count - 1]) > 0, ERR_FORMAT);
	if (c->err != 0)
		return;
	if ((item = mcg_item_at(c, &m->values, count, sizeof(*item) + v.len)) == NULL)
		return;
	memcpy(item->key, key, strlen(key));
	memcpy(item->json, v.json, v.len);
	item->version = v.version;
	item->index = v.index;
	item->unix_ms = v.unix_ms;
	item->node = v.node;
	item->len = v.len;
	m->value_bytes += v.len;
}

static void
put_value(struct mcg *m, struct codec *c, size_t i)
{
	struct mcg_item *item = m->values.at[i];
	struct mcg_value v;

	MUST(mcg_value_at(m, i, &v));
	value_fields(c, &v, item->key);
}

static void
removed_fields(struct mcg *m, struct codec *c, size_t i)
{
	struct mcg_removed *r = mcg_item_at(c, &m->removed, i, sizeof(*r));

	if (r == NULL)
		return;
	codec_str(c, r->key, sizeof(r->key));
	codec_u64(c, &r->version);
	codec_u64(c, &r->index);
	codec_check(c, mcg_cmd_key_valid(r->key) && r->version != 0, ERR_FORMAT);
	codec_check(c, sorted_get(&m->values, r->key, compare_item) == NULL, ERR_FORMAT);
	codec_check(c, i == 0 || compare_removed(r->key, m->removed.at[i - 1]) > 0, ERR_FORMAT);
}

void
mcg_config_fields(struct mcg *m, struct codec *c)
{
	enum { VALUE_EACH = 2 + 4 * 8 + 4 + 1, REMOVED_EACH = 2 + 8 + 8 };
	size_t values = m->values.count, removed = m->removed.count;

	codec_count(c, &values, MCG_CONFIG_MAX, VALUE_EACH);
	for (size_t i = 0; i < values && c->err == 0; i++) {
		if (c->put)
			put_value(m, c, i);
		else
			get_value(m, c);
	}
	codec_check(c, m->value_bytes <= MCG_CONFIG_MAX_BYTES, ERR_LIMIT);
	codec_count(c, &removed, MCG_CONFIG_REMOVED_MAX, REMOVED_EACH);
	for (size_t i = 0; i < removed && c->err == 0; i++)
		removed_fields(m, c, i);
}

/* --- to look at --- */

size_t
mcg_value_count(const struct mcg *m)
{
	return m->values.count;
}

bool
mcg_value_at(const struct mcg *m, size_t i, struct mcg_value *out)
{
	const struct mcg_item *item;

	if (i >= m->values.count)
		return false;
	item = m->values.at[i];
	*out = (struct mcg_value){
	    .key = item->key,
	    .json = item->json,
	    .len = item->len,
	    .version = item->version,
	    .index = item->index,
	    .unix_ms = item->unix_ms,
	    .node = item->node,
	};
	return true;
}

bool
mcg_value_get(const struct mcg *m, const char *key, struct mcg_value *out)
{
	size_t pos;

	return sorted_find(&m->values, key, compare_item, &pos) && mcg_value_at(m, pos, out);
}
