/* notes: see notes.h. */
#include "consensusd/core/notes.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"

static int
compare_nodes(const struct notes_node *a, const struct notes_node *b)
{
	return a->id < b->id ? -1 : a->id > b->id;
}

static int
compare_types(const struct notes_entry *a, const struct notes_entry *b)
{
	return strcmp(a->type, b->type);
}

static int
compare_positions(const struct notes_entry *a, const struct notes_entry *b)
{
	uint64_t x = a->current->position, y = b->current->position;

	return x < y ? -1 : x > y;
}

RB_GENERATE_STATIC(notes_nodes, notes_node, entry, compare_nodes)
RB_GENERATE_STATIC(notes_types, notes_entry, by_type, compare_types)
RB_GENERATE_STATIC(notes_positions, notes_entry, by_position, compare_positions)

void
notes_init(struct notes *t)
{
	*t = (struct notes){.max_count = NOTES_MAX, .max_bytes = NOTES_MAX_BYTES};
	RB_INIT(&t->nodes);
	RB_INIT(&t->positions);
	TAILQ_INIT(&t->staged);
}

/* --- looking --- */

struct notes_node *
notes_node_get(const struct notes *t, uint64_t id)
{
	struct notes_node key = {.id = id};

	return RB_FIND(notes_nodes, (struct notes_nodes *)(uintptr_t)&t->nodes, &key);
}

struct notes_node *
notes_node_after(const struct notes *t, uint64_t id)
{
	struct notes_node key = {.id = id + 1};

	if (id == UINT64_MAX)
		return NULL;
	return RB_NFIND(notes_nodes, (struct notes_nodes *)(uintptr_t)&t->nodes, &key);
}

struct notes_entry *
notes_first_of(struct notes_node *n)
{
	return RB_MIN(notes_types, &n->types);
}

struct notes_entry *
notes_next_of(struct notes_entry *e)
{
	return RB_NEXT(notes_types, &e->node->types, e);
}

static struct notes_entry *
find(const struct notes *t, uint64_t node, const char *type)
{
	struct notes_node *n = notes_node_get(t, node);
	struct notes_entry key;

	if (n == NULL)
		return NULL;
	memcpy(key.type, type, strlen(type) + 1);
	return RB_FIND(notes_types, &n->types, &key);
}

static struct note *
latest(const struct notes_entry *e)
{
	return e->staged != NULL ? e->staged : e->current;
}

const struct note *
notes_get(const struct notes *t, uint64_t node, const char *type)
{
	const struct notes_entry *e = find(t, node, type);

	return e != NULL ? e->current : NULL;
}

const struct note *
notes_latest(const struct notes *t, uint64_t node, const char *type)
{
	const struct notes_entry *e = find(t, node, type);

	return e != NULL ? latest(e) : NULL;
}

const struct note *
notes_after(const struct notes *t, uint64_t position)
{
	struct note at = {.position = position + 1};
	struct notes_entry key = {.current = &at}, *e;

	if (position == UINT64_MAX)
		return NULL;
	e = RB_NFIND(notes_positions, (struct notes_positions *)(uintptr_t)&t->positions, &key);
	return e != NULL ? e->current : NULL;
}

/* --- places --- */

/* FNV-1a, mixed (splitmix64), so that the sum over notes tells sets of them apart. */
static uint64_t
hash_of(const struct note *n)
{
	uint64_t h = 0xcbf29ce484222325u ^ n->node;

	for (const char *p = n->type; *p != '\0'; p++)
		h = (h ^ (uint8_t)*p) * 0x100000001b3u;
	h ^= n->version * 0x9e3779b97f4a7c15u;
	h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9u ^ note_stamp(n);
	h = (h ^ h >> 27) * 0x94d049bb133111ebu;
	return h ^ h >> 31;
}

static void
set_current(struct notes *t, struct notes_entry *e, struct note *n)
{
	MUST(e->current == NULL);
	e->current = n;
	e->node->count++;
	e->node->hash += hash_of(n);
	t->hash += hash_of(n);
	t->removed_count += n->removed;
	MUST(RB_INSERT(notes_positions, &t->positions, e) == NULL);
}

static void
unset_current(struct notes *t, struct notes_entry *e)
{
	struct note *n = e->current;

	if (n == NULL)
		return;
	RB_REMOVE(notes_positions, &t->positions, e);
	e->node->count--;
	e->node->hash -= hash_of(n);
	t->hash -= hash_of(n);
	t->removed_count -= n->removed;
	t->bytes -= note_bytes(n);
	e->current = NULL;
	note_unref(n);
}

static void
unset_staged(struct notes *t, struct notes_entry *e)
{
	if (e->staged == NULL)
		return;
	TAILQ_REMOVE(&t->staged, e, staged_entry);
	t->staged_count--;
	t->bytes -= note_bytes(e->staged);
	note_unref(e->staged);
	e->staged = NULL;
}

static void
entry_free(struct notes *t, struct notes_entry *e)
{
	struct notes_node *n = e->node;

	unset_current(t, e);
	unset_staged(t, e);
	RB_REMOVE(notes_types, &n->types, e);
	mem_free(e);
	t->count--;
	if (--n->entry_count > 0)
		return;
	RB_REMOVE(notes_nodes, &t->nodes, n);
	mem_free(n);
}

static struct notes_node *
node_make(struct notes *t, uint64_t id)
{
	struct notes_node *n = notes_node_get(t, id);

	if (n != NULL || (n = mem_calloc(1, sizeof(*n))) == NULL)
		return n;
	n->id = id;
	RB_INIT(&n->types);
	RB_INSERT(notes_nodes, &t->nodes, n);
	return n;
}

static int
entry_make(struct notes *t, const struct note *n, struct notes_entry **out)
{
	struct notes_node *node = notes_node_get(t, n->node);
	struct notes_entry *e;

	if (t->count >= t->max_count || (node != NULL && node->entry_count >= NOTES_PER_NODE_MAX))
		return ERR_FULL;
	if ((e = mem_calloc(1, sizeof(*e))) == NULL)
		return ERR_NOMEM;
	if ((node = node_make(t, n->node)) == NULL) {
		mem_free(e);
		return ERR_NOMEM;
	}
	e->node = node;
	memcpy(e->type, n->type, sizeof(e->type));
	MUST(RB_INSERT(notes_types, &node->types, e) == NULL);
	node->entry_count++;
	t->count++;
	*out = e;
	return 0;
}

bool
notes_drop(struct notes *t, uint64_t node)
{
	struct notes_node *n = notes_node_get(t, node);
	unsigned left;

	if (n == NULL)
		return false;
	/* With its last entry the node goes too. */
	for (left = n->entry_count; left > 0; left--)
		entry_free(t, notes_first_of(n));
	return true;
}

void
notes_fini(struct notes *t)
{
	struct notes_node *n;

	while ((n = RB_MIN(notes_nodes, &t->nodes)) != NULL)
		(void)notes_drop(t, n->id);
	notes_init(t);
}

/* --- taking --- */

int
notes_judge(
    const struct notes *t, uint64_t node, const char *type, uint64_t version, const uint8_t signature[64])
{
	return note_beats(version, signature, notes_latest(t, node, type)) ? 0 : ERR_STALE;
}

int
notes_reserve(struct notes *t, const struct note *n, struct notes_entry **out)
{
	size_t freed;
	int err;

	if ((err = notes_judge(t, n->node, n->type, n->version, n->signature)) != 0)
		return err;
	*out = find(t, n->node, n->type);
	/* What it takes the place of goes when it is durable. */
	freed = *out != NULL && (*out)->current != NULL ? note_bytes((*out)->current) : 0;
	if (t->bytes + note_bytes(n) > t->max_bytes + freed)
		err = ERR_FULL;
	else if (*out == NULL)
		err = entry_make(t, n, out);
	if (err == ERR_FULL)
		t->refused++;
	return err;
}

void
notes_release(struct notes *t, struct notes_entry *e)
{
	if (latest(e) == NULL)
		entry_free(t, e);
}

bool
notes_has_room(const struct notes *t, uint64_t node)
{
	const struct notes_node *n = notes_node_get(t, node);

	return t->count < t->max_count && (n == NULL || n->entry_count < NOTES_PER_NODE_MAX) &&
	       t->bytes + sizeof(struct note) + NOTE_PAYLOAD_MAX_BYTES <= t->max_bytes;
}

uint64_t
notes_next_position(const struct notes *t)
{
	return t->last_position + 1;
}

void
notes_stage(struct notes *t, struct notes_entry *e, struct note *n, uint64_t from, unsigned how)
{
	/* One that was overtaken on its way to the store is never seen by anybody. */
	unset_staged(t, e);
	n->position = ++t->last_position;
	e->staged = n;
	e->from = from;
	e->how = how;
	t->bytes += note_bytes(n);
	t->staged_count++;
	TAILQ_INSERT_TAIL(&t->staged, e, staged_entry);
}

void
notes_want(struct notes *t, uint64_t node, const char *type, uint64_t version, unsigned how)
{
	struct notes_entry *e = find(t, node, type);

	if (e != NULL && e->staged != NULL && e->staged->version >= version)
		e->how |= how;
}

void
notes_durable(struct notes *t, uint64_t position, notes_done_fn *done, void *arg)
{
	struct notes_entry *e;

	while ((e = TAILQ_FIRST(&t->staged)) != NULL && e->staged->position <= position) {
		struct note *n = e->staged;

		TAILQ_REMOVE(&t->staged, e, staged_entry);
		t->staged_count--;
		e->staged = NULL;
		unset_current(t, e);
		set_current(t, e, n);
		done(arg, n, e->from, e->how);
	}
}

int
notes_load(struct notes *t, struct note *n)
{
	const struct note *same = n->position > 0 ? notes_after(t, n->position - 1) : NULL;
	struct notes_entry *e;
	int err;

	if (n->position == 0 || n->position > INT64_MAX || (same != NULL && same->position == n->position))
		return ERR_RANGE;
	if ((err = notes_reserve(t, n, &e)) != 0)
		return err;
	MUST(e->staged == NULL);
	unset_current(t, e);
	t->bytes += note_bytes(n);
	set_current(t, e, n);
	notes_load_position(t, n->position);
	return 0;
}

void
notes_load_position(struct notes *t, uint64_t position)
{
	if (position > t->last_position)
		t->last_position = position;
}
