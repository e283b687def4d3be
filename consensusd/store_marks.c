/* store_marks: see store_marks.h. */
#include "consensusd/store_marks.h"

#include <string.h>

#include "common/base/be.h"
#include "common/base/err.h"
#include "common/base/mem.h"

void
store_marks_init(struct store_marks *m, uint64_t seed)
{
	*m = (struct store_marks){.seed = seed};
}

void
store_marks_fini(struct store_marks *m)
{
	mem_free(m->items);
	mem_free(m->index);
	*m = (struct store_marks){0};
}

/* The mixing step of splitmix64 over the key's words. */
static uint64_t
mix(uint64_t h, uint64_t word)
{
	h = (h ^ word) * 0xbf58476d1ce4e5b9u;
	return h ^ h >> 29;
}

static size_t
slot_of(const struct store_marks *m, const struct ulid *stream, uint64_t node_id)
{
	uint64_t h = mix(m->seed, be_load64(stream->b));

	h = mix(h, be_load64(stream->b + 8));
	return mix(h, node_id) & (m->index_size - 1);
}

/* The slot that holds the key, or the free one where it belongs. */
static size_t
slot_find(const struct store_marks *m, const struct ulid *stream, uint64_t node_id)
{
	size_t slot = slot_of(m, stream, node_id);

	while (m->index[slot] != 0) {
		const struct store_mark *mark = &m->items[m->index[slot] - 1];

		if (mark->node_id == node_id && memcmp(&mark->stream_id, stream, sizeof(*stream)) == 0)
			break;
		slot = (slot + 1) & (m->index_size - 1);
	}
	return slot;
}

/* Room for one more item, and an index that is at most half full. */
static int
grow(struct store_marks *m)
{
	size_t cap = m->cap == 0 ? 8 : m->cap * 2;
	struct store_mark *items;
	uint32_t *index;

	if (m->count < m->cap)
		return 0;
	if (cap > UINT32_MAX / 2)
		return ERR_NOMEM;
	items = mem_reallocarray(m->items, cap, sizeof(*items));
	if (items == NULL)
		return ERR_NOMEM;
	m->items = items;
	index = mem_calloc(cap * 2, sizeof(*index));
	if (index == NULL)
		return ERR_NOMEM;
	mem_free(m->index);
	m->index = index;
	m->index_size = cap * 2;
	m->cap = cap;
	for (size_t i = 0; i < m->count; i++)
		index[slot_find(m, &items[i].stream_id, items[i].node_id)] = (uint32_t)i + 1;
	return 0;
}

int
store_marks_add(struct store_marks *m, const struct ulid *stream, uint64_t node_id, uint64_t src_node,
    uint64_t first_seq, uint64_t last_seq)
{
	struct store_mark *mark;
	size_t slot;

	if (grow(m) != 0)
		return ERR_NOMEM;
	slot = slot_find(m, stream, node_id);
	if (m->index[slot] == 0) {
		m->items[m->count] = (struct store_mark){*stream, node_id, src_node, first_seq, last_seq};
		m->index[slot] = (uint32_t)++m->count;
		return 0;
	}
	mark = &m->items[m->index[slot] - 1];
	if (first_seq < mark->first_seq)
		mark->first_seq = first_seq;
	if (last_seq > mark->last_seq)
		mark->last_seq = last_seq;
	return 0;
}

const struct store_mark *
store_marks_get(const struct store_marks *m, const struct ulid *stream, uint64_t node_id)
{
	size_t slot;

	if (m->count == 0)
		return NULL;
	slot = slot_find(m, stream, node_id);
	return m->index[slot] != 0 ? &m->items[m->index[slot] - 1] : NULL;
}
