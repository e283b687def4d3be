/*
 * fake_raft: what fake_store keeps of replicas: as a database would, and it refuses what would be wrong
 * there.
 */
#ifndef TESTS_UNIT_CONSENSUSD_FAKE_RAFT_H
#define TESTS_UNIT_CONSENSUSD_FAKE_RAFT_H

#include <stdlib.h>
#include <string.h>

#include "common/base/must.h"
#include "consensusd/core/raft_entry.h"
#include "consensusd/store.h"

enum { FAKE_GROUPS = 512 };

/* A row, and what it borrows, copied. */
struct fake_raft_put {
	struct store_raft row;
	struct raft_entry **entries;
	uint8_t *config, *data;
};

struct fake_group {
	struct store_raft row; /* the last one: of it group, type, replica, term, vote, commit */
	uint64_t snap_index, snap_term;
	uint8_t *config, *data;
	size_t config_len, data_len;
	struct raft_entry **entries; /* in order, without gaps */
	size_t entry_count;
};

static void *
fake_copy(const void *data, size_t len)
{
	uint8_t *copy = malloc(len + 1);

	MUST(copy != NULL);
	if (len > 0)
		memcpy(copy, data, len);
	return copy;
}

static struct fake_raft_put *
fake_raft_put_new(const struct store_raft *row)
{
	struct fake_raft_put *p = calloc(1, sizeof(*p));

	MUST(p != NULL);
	p->row = *row;
	p->entries = fake_copy(row->entries, row->entry_count * sizeof(row->entries[0]));
	for (size_t i = 0; i < row->entry_count; i++)
		raft_entry_ref(p->entries[i]);
	if (row->snap_data != NULL) {
		p->config = fake_copy(row->snap_config, row->snap_config_len);
		p->data = fake_copy(row->snap_data, row->snap_data_len);
	}
	return p;
}

static void
fake_raft_put_free(struct fake_raft_put *p)
{
	if (p == NULL)
		return;
	for (size_t i = 0; i < p->row.entry_count; i++)
		raft_entry_unref(p->entries[i]);
	free(p->entries);
	free(p->config);
	free(p->data);
	free(p);
}

/* Entries below keep and from cut on are removed. */
static void
fake_group_trim(struct fake_group *g, uint64_t keep, uint64_t cut)
{
	size_t kept = 0;

	for (size_t i = 0; i < g->entry_count; i++) {
		struct raft_entry *e = g->entries[i];

		if (e->index < keep || e->index >= cut)
			raft_entry_unref(e);
		else
			g->entries[kept++] = e;
	}
	g->entry_count = kept;
}

static void
fake_group_clear(struct fake_group *g)
{
	fake_group_trim(g, UINT64_MAX, 0);
	free(g->entries);
	free(g->config);
	free(g->data);
}

static struct fake_group *
fake_group_find(struct fake_group *const *all, size_t count, const uint8_t id[STORE_GROUP_BYTES])
{
	for (size_t i = 0; i < count; i++)
		if (memcmp(all[i]->row.group, id, STORE_GROUP_BYTES) == 0)
			return all[i];
	return NULL;
}

/* The same replica never goes back behind what it has promised. */
static void
fake_group_check(const struct fake_group *g, const struct store_raft *row)
{
	const struct store_raft *was = &g->row;

	if (was->replica != row->replica)
		return;
	MUST(row->term >= was->term);
	MUST(row->term != was->term || was->vote == 0 || row->vote == was->vote);
	MUST(row->commit >= was->commit || row->restore);
	MUST(row->cut > was->commit || row->restore);
}

static void
fake_group_append(struct fake_group *g, const struct fake_raft_put *p)
{
	struct raft_entry **bigger =
	    realloc(g->entries, (g->entry_count + p->row.entry_count + 1) * sizeof(*bigger));

	MUST(bigger != NULL);
	g->entries = bigger;
	for (size_t i = 0; i < p->row.entry_count; i++) {
		struct raft_entry *e = p->entries[i];

		MUST(e->index ==
		     (g->entry_count > 0 ? g->entries[g->entry_count - 1]->index : g->snap_index) + 1);
		MUST(g->entry_count == 0 || e->term >= g->entries[g->entry_count - 1]->term);
		g->entries[g->entry_count++] = raft_entry_ref(e);
	}
}

/* In the order that store.h gives. */
static void
fake_group_apply(struct fake_group *g, const struct fake_raft_put *p)
{
	const struct store_raft *row = &p->row;

	fake_group_check(g, row);
	if (row->snap_data != NULL) {
		MUST(row->snap_index > g->snap_index || row->restore);
		free(g->config);
		free(g->data);
		g->config = fake_copy(p->config, row->snap_config_len);
		g->data = fake_copy(p->data, row->snap_data_len);
		g->config_len = row->snap_config_len;
		g->data_len = row->snap_data_len;
		g->snap_index = row->snap_index;
		g->snap_term = row->snap_term;
	}
	fake_group_trim(g, row->restore ? UINT64_MAX : row->keep, row->cut);
	fake_group_append(g, p);
	g->row = *row;
}

/* As it is loaded; the reference of each entry is the callback's. */
static int
fake_group_load(const struct fake_group *g, const struct store_callbacks *cb)
{
	struct raft_entry **entries = calloc(g->entry_count + 1, sizeof(*entries));
	struct store_raft_state s = {.type = g->row.type,
	    .replica = g->row.replica,
	    .term = g->row.term,
	    .vote = g->row.vote,
	    .commit = g->row.commit,
	    .snap_index = g->snap_index,
	    .snap_term = g->snap_term,
	    .snap_config = g->config,
	    .snap_data = g->data,
	    .snap_config_len = g->config_len,
	    .snap_data_len = g->data_len,
	    .entries = entries};
	int err;

	MUST(entries != NULL);
	memcpy(s.group, g->row.group, sizeof(s.group));
	for (size_t i = 0; i < g->entry_count; i++)
		if (g->entries[i]->index > g->snap_index)
			entries[s.entry_count++] = raft_entry_ref(g->entries[i]);
	err = cb->on_load_raft(cb->ctx, &s);
	free(entries);
	return err;
}

#endif
