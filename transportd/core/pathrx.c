#include "transportd/core/pathrx.h"

#include "common/base/mem.h"
#include "common/base/tree.h"
#include "transportd/core/path_feedback.h"

struct slot {
	RB_ENTRY(slot) by_path;
	TAILQ_ENTRY(slot) by_use;
	uint64_t src;
	uint32_t path_id;
	uint64_t frames, bytes, marked_bytes;
};

/* A tree and no hash: sources choose their path ids, and could choose them to collide. */
RB_HEAD(slot_tree, slot);
TAILQ_HEAD(slot_list, slot);

struct pathrx {
	struct slot_tree tree;
	struct slot_list used; /* the one used last is the first */
	size_t count;          /* of slots */
	struct slot slots[PATHRX_SLOTS];
};

static int
slot_cmp(const struct slot *a, const struct slot *b)
{
	if (a->src != b->src)
		return a->src < b->src ? -1 : 1;
	if (a->path_id != b->path_id)
		return a->path_id < b->path_id ? -1 : 1;
	return 0;
}

RB_GENERATE_STATIC(slot_tree, slot, by_path, slot_cmp)

struct pathrx *
pathrx_new(void)
{
	struct pathrx *r = mem_calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	RB_INIT(&r->tree);
	TAILQ_INIT(&r->used);
	return r;
}

void
pathrx_free(struct pathrx *r)
{
	mem_free(r);
}

/* The slot of a path, now the first in use; NULL if it is not known. */
static struct slot *
slot_get(struct pathrx *r, uint64_t src, uint32_t path_id)
{
	struct slot key = {.src = src, .path_id = path_id}, *s = TAILQ_FIRST(&r->used);

	/* Frames come in runs. */
	if (s != NULL && slot_cmp(s, &key) == 0)
		return s;
	s = RB_FIND(slot_tree, &r->tree, &key);
	if (s == NULL)
		return NULL;
	TAILQ_REMOVE(&r->used, s, by_use);
	TAILQ_INSERT_HEAD(&r->used, s, by_use);
	return s;
}

static struct slot *
slot_add(struct pathrx *r, uint64_t src, uint32_t path_id)
{
	struct slot *s;

	if (r->count < PATHRX_SLOTS) {
		s = &r->slots[r->count++];
	} else {
		s = TAILQ_LAST(&r->used, slot_list);
		TAILQ_REMOVE(&r->used, s, by_use);
		RB_REMOVE(slot_tree, &r->tree, s);
	}
	*s = (struct slot){.src = src, .path_id = path_id};
	RB_INSERT(slot_tree, &r->tree, s);
	TAILQ_INSERT_HEAD(&r->used, s, by_use);
	return s;
}

void
pathrx_received(struct pathrx *r, uint64_t src, uint32_t path_id, size_t bytes, bool marked)
{
	struct slot *s = slot_get(r, src, path_id);

	if (s == NULL)
		s = slot_add(r, src, path_id);
	s->frames++;
	s->bytes += bytes;
	if (marked)
		s->marked_bytes += bytes;
}

void
pathrx_answer(struct pathrx *r, uint64_t src, struct path_feedback *ask)
{
	const struct slot *s = slot_get(r, src, ask->path_id);

	ask->kind = PATH_ANSWER;
	ask->received_frames = s != NULL ? s->frames : 0;
	ask->received_bytes = s != NULL ? s->bytes : 0;
	ask->marked_bytes = s != NULL ? s->marked_bytes : 0;
}

size_t
pathrx_count(const struct pathrx *r)
{
	return r->count;
}
