/*
 * raft_rows: state of replicas for tests of the store: entries whose content follows from index and term, and
 * puts of them.
 */
#ifndef TESTS_UNIT_CONSENSUSD_RAFT_ROWS_H
#define TESTS_UNIT_CONSENSUSD_RAFT_ROWS_H

#include "tests/unit/consensusd/store_user.h"

enum { PAYLOAD_MAX = 300, ENTRIES_MAX = 64 };

static inline void
group_id(uint8_t out[STORE_GROUP_BYTES], unsigned n)
{
	memset(out, 0x70, STORE_GROUP_BYTES);
	be_store32(out + 12, n);
}

/* Content follows from index and term, so that it can be checked. */
static inline struct raft_entry *
entry_make(uint64_t index, uint64_t term)
{
	uint8_t data[PAYLOAD_MAX];
	size_t len = (index * 7 + term) % PAYLOAD_MAX;
	struct raft_entry *e;

	memset(data, (int)(index + term), sizeof(data));
	e = raft_entry_new(
	    index % 5 == 0 ? RAFT_NOOP : RAFT_DATA, index % 3, term, data, index % 5 == 0 ? 0 : len);
	assert_non_null(e);
	e->index = index;
	e->term = term;
	return e;
}

static inline void
entry_check(const struct raft_entry *e, uint64_t index, uint64_t term)
{
	struct raft_entry *same = entry_make(index, term);

	assert_int_equal(e->index, index);
	assert_int_equal(e->term, term);
	assert_int_equal(e->type, same->type);
	assert_int_equal(e->client, same->client);
	assert_int_equal(e->seq, same->seq);
	assert_int_equal(e->len, same->len);
	assert_memory_equal(e->data, same->data, same->len);
	raft_entry_unref(same);
}

/* Puts a row with entries first to last of a term; none if last is below first. */
static inline int64_t
put(struct user *u, struct store_raft row, unsigned group, uint64_t first, uint64_t last, uint64_t term)
{
	struct raft_entry *entries[ENTRIES_MAX];
	int64_t ticket;

	for (uint64_t i = first; i <= last; i++)
		entries[row.entry_count++] = entry_make(i, term);
	row.entries = entries;
	if (row.cut == 0)
		row.cut = UINT64_MAX;
	group_id(row.group, group);
	ticket = store_put_raft(u->store, &row);
	assert_true(ticket > 0);
	for (size_t i = 0; i < row.entry_count; i++)
		raft_entry_unref(entries[i]);
	wanted = (uint64_t)ticket;
	return ticket;
}

static inline int
witness_file(void)
{
	char path[96];
	int fd;

	snprintf(path, sizeof(path), "%s/witness", server.dir);
	unlink(path);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd != -1);
	return fd;
}

#endif
