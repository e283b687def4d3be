#include "consensusd/core/raft_log.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/num.h"
#include "consensusd/core/raft_entry.h"

enum { SLOTS_FIRST = 16 };

void
raft_log_init(struct raft_log *l)
{
	*l = (struct raft_log){.cut = UINT64_MAX};
}

void
raft_log_fini(struct raft_log *l)
{
	for (size_t i = 0; i < l->count; i++)
		raft_entry_unref(l->slots[l->head + i]);
	mem_free(l->slots);
	raft_log_init(l);
}

uint64_t
raft_log_first(const struct raft_log *l)
{
	return l->snap_index + 1;
}

uint64_t
raft_log_last(const struct raft_log *l)
{
	return l->snap_index + l->count;
}

struct raft_entry *
raft_log_get(const struct raft_log *l, uint64_t index)
{
	if (index <= l->snap_index || index > raft_log_last(l))
		return NULL;
	return l->slots[l->head + (index - l->snap_index - 1)];
}

bool
raft_log_term(const struct raft_log *l, uint64_t index, uint64_t *term)
{
	const struct raft_entry *e = raft_log_get(l, index);

	*term = e != NULL ? e->term : l->snap_term;
	return e != NULL || index == l->snap_index;
}

uint64_t
raft_log_last_term(const struct raft_log *l)
{
	uint64_t term;

	MUST(raft_log_term(l, raft_log_last(l), &term));
	return term;
}

bool
raft_log_matches(const struct raft_log *l, uint64_t index, uint64_t term)
{
	uint64_t have;

	return raft_log_term(l, index, &have) && have == term;
}

uint64_t
raft_log_at_most(const struct raft_log *l, uint64_t limit, uint64_t term)
{
	uint64_t index = min_u64(limit, raft_log_last(l)), have;

	while (index > l->snap_index && raft_log_term(l, index, &have) && have > term)
		index--;
	return index;
}

/* --- changes --- */

static void
to_front(struct raft_log *l)
{
	if (l->head == 0)
		return;
	memmove(l->slots, l->slots + l->head, l->count * sizeof(struct raft_entry *));
	l->head = 0;
}

int
raft_log_reserve(struct raft_log *l, size_t count)
{
	size_t need = l->count + count, cap = l->cap != 0 ? l->cap : SLOTS_FIRST;
	struct raft_entry **slots;

	if (l->head + need <= l->cap)
		return 0;
	/* Half of it must be free for moving to the front to be worth it: constant cost on average. */
	if (2 * need <= l->cap) {
		to_front(l);
		return 0;
	}
	while (cap < 2 * need)
		cap *= 2;
	if ((slots = mem_calloc(cap, sizeof(struct raft_entry *))) == NULL)
		return ERR_NOMEM;
	if (l->count != 0)
		memcpy(slots, l->slots + l->head, l->count * sizeof(struct raft_entry *));
	mem_free(l->slots);
	l->slots = slots;
	l->cap = cap;
	l->head = 0;
	return 0;
}

void
raft_log_push(struct raft_log *l, struct raft_entry *e)
{
	MUST(l->head + l->count < l->cap && e->index == raft_log_last(l) + 1);
	l->slots[l->head + l->count++] = e;
	l->bytes += raft_entry_bytes(e);
}

static void
drop(struct raft_log *l, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		struct raft_entry *e = l->slots[l->head + i];

		l->bytes -= raft_entry_bytes(e);
		raft_entry_unref(e);
	}
}

void
raft_log_truncate(struct raft_log *l, uint64_t from)
{
	MUST(from > l->snap_index);
	if (from > raft_log_last(l))
		return;
	drop(l, from - l->snap_index - 1, l->count);
	l->count = from - l->snap_index - 1;
	if (l->written >= from) {
		l->cut = min_u64(l->cut, from);
		l->written = from - 1;
	}
	l->durable = min_u64(l->durable, from - 1);
}

void
raft_log_compact(struct raft_log *l, uint64_t index)
{
	uint64_t term;
	size_t count;

	if (index <= l->snap_index)
		return;
	MUST(raft_log_term(l, index, &term) && index <= l->durable);
	count = index - l->snap_index;
	drop(l, 0, count);
	l->head += count;
	l->count -= count;
	l->snap_index = index;
	l->snap_term = term;
}

void
raft_log_restore(struct raft_log *l, uint64_t index, uint64_t term)
{
	drop(l, 0, l->count);
	l->head = l->count = 0;
	l->snap_index = index;
	l->snap_term = term;
	/* Storing a snapshot replaces whatever storage has. */
	l->written = l->durable = index;
	l->cut = UINT64_MAX;
}
