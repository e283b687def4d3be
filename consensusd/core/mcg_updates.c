/* Of mcg: the updates that not all members have applied yet. */
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/core/codec.h"
#include "consensusd/core/mcg_impl.h"
#include "consensusd/core/raft_entry.h"

enum { CAP_MIN = 64 };

static int
compare(const struct mcg_kept *a, const struct mcg_kept *b)
{
	return ulid_compare(&a->update.cmd.id, &b->update.cmd.id);
}
RB_GENERATE_STATIC(mcg_ids, mcg_kept, by_id, compare)

/* The same on every node, whatever its structures take. */
static size_t
cost(const struct raft_entry *e)
{
	return MCG_UPDATE_OVERHEAD_BYTES + e->len;
}

static void
drop(struct mcg_kept *k)
{
	raft_entry_unref(k->entry);
	mem_free(k);
}

void
mcg_updates_fini(struct mcg *m)
{
	struct mcg_updates *u = &m->updates;

	for (size_t i = 0; i < u->count; i++)
		drop(u->at[u->first + i]);
	mem_free(u->at);
}

const struct mcg_kept *
mcg_updates_find(const struct mcg *m, const struct ulid *id)
{
	struct mcg_ids ids = m->updates.ids; /* RB_FIND changes nothing, but does not say so */
	struct mcg_kept key = {.update.cmd.id = *id};

	return RB_FIND(mcg_ids, &ids, &key);
}

/* Room for one more at the end. */
static int
reserve(struct mcg_updates *u)
{
	size_t cap = u->cap != 0 ? u->cap * 2 : CAP_MIN;
	struct mcg_kept **at;

	if (u->first + u->count < u->cap)
		return 0;
	if (u->first != 0 && u->first >= u->count) {
		memmove(u->at, u->at + u->first, u->count * sizeof(struct mcg_kept *));
		u->first = 0;
		return 0;
	}
	if ((at = mem_reallocarray(u->at, cap, sizeof(struct mcg_kept *))) == NULL)
		return ERR_NOMEM;
	u->at = at;
	u->cap = cap;
	return 0;
}

/* Those before it that are of another kind, back to the last one of its own: each gets its other once, so
 * that this takes constant time on average. */
static void
link_others(struct mcg_updates *u, struct mcg_kept *k)
{
	for (size_t i = u->first + u->count; i > u->first; i--) {
		struct mcg_kept *before = u->at[i - 1];

		if (before->update.cmd.kind == k->update.cmd.kind)
			return;
		before->other = k;
	}
}

/* Takes a reference of the entry, whose command it is. */
static int
push(struct mcg_updates *u, struct raft_entry *e, const struct mcg_cmd *cmd)
{
	struct mcg_kept *k;

	if (reserve(u) != 0 || (k = mem_calloc(1, sizeof(*k))) == NULL)
		return ERR_NOMEM;
	k->entry = raft_entry_ref(e);
	k->update = (struct mcg_update){.index = e->index, .term = e->term, .cmd = cmd->u.update};
	MUST(RB_INSERT(mcg_ids, &u->ids, k) == NULL);
	link_others(u, k);
	u->at[u->first + u->count++] = k;
	u->bytes += cost(e);
	u->last = e->index;
	return 0;
}

int
mcg_update_check(const struct mcg *m, const struct mcg_cmd *cmd)
{
	/* What is around the payload in its entry is less than the overhead that each one counts with. */
	size_t bytes = m->updates.bytes + 2 * (size_t)MCG_UPDATE_OVERHEAD_BYTES + cmd->u.update.len;

	if (mcg_updates_find(m, &cmd->u.update.id) != NULL)
		return ERR_EXISTS;
	return bytes > m->mesh.updates_max_bytes ? ERR_FULL : 0;
}

int
mcg_update_run(struct mcg *m, const struct mcg_run *x)
{
	int err = push(&m->updates, x->entry, x->cmd);

	if (err == 0)
		x->out->changes |= MCG_CHANGE_UPDATE;
	return err;
}

int
mcg_prune_check(const struct mcg *m, const struct mcg_cmd *cmd)
{
	return cmd->u.prune > m->index ? ERR_RANGE : 0;
}

int
mcg_prune_run(struct mcg *m, const struct mcg_run *x)
{
	struct mcg_updates *u = &m->updates;

	if (x->cmd->u.prune <= u->pruned)
		return 0;
	u->pruned = x->cmd->u.prune;
	while (u->count != 0 && u->at[u->first]->update.index <= u->pruned) {
		struct mcg_kept *k = u->at[u->first++];

		u->count--;
		u->bytes -= cost(k->entry);
		RB_REMOVE(mcg_ids, &u->ids, k);
		drop(k);
	}
	return 0;
}

/* --- a snapshot's part --- */

static void
put_update(struct codec *c, struct mcg_kept *k)
{
	const uint8_t *data = k->entry->data;
	size_t len = k->entry->len;

	codec_u64(c, &k->update.index);
	codec_u64(c, &k->update.term);
	codec_block(c, &data, &len, RAFT_DATA_MAX_BYTES);
}

static int
get_entry(struct mcg *m, struct raft_entry *e)
{
	struct mcg_cmd cmd;
	int err = mcg_cmd_decode(e->data, e->len, &cmd);

	if (err != 0)
		return err;
	if (cmd.type != MCG_UPDATE || mcg_updates_find(m, &cmd.u.update.id) != NULL)
		return ERR_FORMAT;
	return push(&m->updates, e, &cmd);
}

static void
get_update(struct mcg *m, struct codec *c)
{
	uint64_t index = 0, term = 0, last = m->updates.count != 0 ? m->updates.last : m->updates.pruned;
	const uint8_t *data = NULL;
	struct raft_entry *e;
	size_t len = 0;

	codec_u64(c, &index);
	codec_u64(c, &term);
	codec_block(c, &data, &len, RAFT_DATA_MAX_BYTES);
	codec_check(c, index > last && index <= m->index, ERR_FORMAT);
	if (c->err != 0)
		return;
	if ((e = raft_entry_new(RAFT_DATA, 0, 0, data, len)) == NULL) {
		c->err = ERR_NOMEM;
		return;
	}
	e->index = index;
	e->term = term;
	c->err = get_entry(m, e);
	raft_entry_unref(e);
}

void
mcg_updates_fields(struct mcg *m, struct codec *c)
{
	enum { EACH = 8 + 8 + 4 + 49 }; /* the shortest command of an update */
	struct mcg_updates *u = &m->updates;
	size_t count = u->count;
	uint64_t last = u->last;

	codec_u64(c, &u->pruned);
	codec_u64(c, &last);
	codec_count(c, &count, UINT32_MAX, EACH); /* what bounds it is their bytes */
	for (size_t i = 0; i < count && c->err == 0; i++) {
		if (c->put)
			put_update(c, u->at[u->first + i]);
		else
			get_update(m, c);
	}
	codec_check(c, u->bytes <= m->mesh.updates_max_bytes, ERR_LIMIT);
	codec_check(c, u->pruned <= m->index && last <= m->index, ERR_FORMAT);
	codec_check(c, count != 0 ? u->last == last : last <= u->pruned, ERR_FORMAT);
	if (c->err == 0)
		u->last = last;
}

/* --- to look at --- */

static const struct mcg_kept *
first_after(const struct mcg *m, uint64_t index)
{
	const struct mcg_updates *u = &m->updates;
	size_t low = u->first, high = u->first + u->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (u->at[middle]->update.index <= index)
			low = middle + 1;
		else
			high = middle;
	}
	return low < u->first + u->count ? u->at[low] : NULL;
}

bool
mcg_update_after(const struct mcg *m, uint64_t index, struct mcg_update *out)
{
	const struct mcg_kept *k = first_after(m, index);

	if (k != NULL)
		*out = k->update;
	return k != NULL;
}

bool
mcg_update_kind_after(const struct mcg *m, enum mcg_update_kind kind, uint64_t index, struct mcg_update *out)
{
	const struct mcg_kept *k = first_after(m, index);

	/* There are two kinds: what is not of the one is of the other. */
	if (k != NULL && k->update.cmd.kind != kind)
		k = k->other;
	if (k != NULL)
		*out = k->update;
	return k != NULL;
}

uint64_t
mcg_pruned(const struct mcg *m)
{
	return m->updates.pruned;
}

size_t
mcg_update_bytes(const struct mcg *m)
{
	return m->updates.bytes;
}

uint64_t
mcg_update_last(const struct mcg *m)
{
	return m->updates.last;
}
