/* notes_sync: see notes_sync.h. */
#include "consensusd/core/notes_sync.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/num.h"

static void
send(struct notes_sync *y, struct notes_msg_writer *w)
{
	if (w->count == 0 && w->kind != NOTES_SUMMARY && w->kind != NOTES_TOTAL)
		return;
	notes_msg_end(w);
	y->send(y->ctx, y->peer, w->mem, w->len);
}

static bool
wanted(const struct notes_sync *y, uint64_t node)
{
	return y->wanted == NULL || y->wanted(y->ctx, node);
}

/* --- summaries --- */

void
notes_sync_ask(struct notes_sync *y, const struct notes *t, uint64_t peer)
{
	y->peer = peer;
	notes_msg_begin(&y->other, NOTES_TOTAL, 0);
	notes_msg_hash(&y->other, t->hash);
	send(y, &y->other);
}

void
notes_sync_total(struct notes_sync *y, const struct notes *t, uint64_t peer, const struct notes_msg *m)
{
	if (m->hash != t->hash)
		notes_sync_begin(y, t, peer);
}

void
notes_sync_begin(struct notes_sync *y, const struct notes *t, uint64_t peer)
{
	uint64_t after = y->cursor, upto = UINT64_MAX;
	struct notes_node *n;

	y->peer = peer;
	notes_msg_begin(&y->other, NOTES_SUMMARY, 0);
	for (n = notes_node_after(t, after); n != NULL; n = notes_node_after(t, n->id)) {
		const struct notes_msg_summary s = {n->id, n->hash, n->count};

		if (n->count > 0 && notes_msg_put_summary(&y->other, &s) != 0) {
			upto = n->id - 1;
			break;
		}
	}
	notes_msg_range(&y->other, after, upto);
	y->cursor = upto == UINT64_MAX ? 0 : upto;
	send(y, &y->other);
}

/* --- details: of nodes that differ --- */

static bool
put_detail(struct notes_sync *y, struct notes_node *n, uint64_t id)
{
	struct notes_entry *e = n != NULL ? notes_first_of(n) : NULL;
	int err = notes_msg_put_group(&y->other, id);

	if (err != 0)
		return false;
	for (; e != NULL && err == 0; e = notes_next_of(e)) {
		struct notes_msg_type type = {.version = 0};

		if (e->current == NULL)
			continue;
		memcpy(type.type, e->type, sizeof(type.type));
		type.version = e->current->version;
		type.stamp = note_stamp(e->current);
		err = notes_msg_put_type(&y->other, &type);
	}
	if (err != 0)
		notes_msg_undo_group(&y->other);
	return err == 0;
}

/* Merges what is here with a summary, both in order of nodes; of those in (after, upto].  False: full. */
static bool
differences(
    struct notes_sync *y, const struct notes *t, struct notes_msg summary, uint64_t after, uint64_t upto)
{
	struct notes_node *n = notes_node_after(t, after);
	struct notes_msg_summary s = {0};
	bool theirs = notes_msg_next_summary(&summary, &s);

	while (theirs && s.node <= after)
		theirs = notes_msg_next_summary(&summary, &s);
	for (;;) {
		bool ours = n != NULL && n->id <= upto;
		uint64_t id;

		theirs = theirs && s.node <= upto;
		if (!ours && !theirs)
			return true;
		id = !theirs || (ours && n->id < s.node) ? n->id : s.node;
		if (!ours || !theirs || n->id != s.node || n->count != s.types || n->hash != s.hash) {
			struct notes_node *own = ours && n->id == id ? n : NULL;
			/* One of which nothing is durable here is the same as none. */
			bool alike = own != NULL && own->count == 0 && (!theirs || s.node != id);

			if (!alike && wanted(y, id) && !put_detail(y, own, id))
				return false;
		}
		if (ours && n->id == id)
			n = notes_node_after(t, id);
		if (theirs && s.node == id)
			theirs = notes_msg_next_summary(&summary, &s);
	}
}

void
notes_sync_summary(
    struct notes_sync *y, const struct notes *t, uint64_t peer, struct notes_msg *m, uint64_t start)
{
	uint64_t middle = min_u64(max_u64(start, m->after), m->upto);

	y->peer = peer;
	notes_msg_begin(&y->other, NOTES_DETAIL, 0);
	if (!differences(y, t, *m, middle, m->upto) || !differences(y, t, *m, m->after, middle))
		notes_msg_flag(&y->other, NOTES_MORE);
	send(y, &y->other);
}

/* --- notes --- */

static void
push_begin(struct notes_sync *y, uint64_t peer, bool more)
{
	y->peer = peer;
	y->left = NOTES_ANSWER_MAX_BYTES;
	y->more = more;
	notes_msg_begin(&y->push, NOTES_PUSH, NOTES_ANSWER);
}

static void
push(struct notes_sync *y, const struct note *n)
{
	if (note_bytes(n) > y->left) {
		y->more = true;
		return;
	}
	y->left -= note_bytes(n);
	if (notes_msg_put_note(&y->push, n) == 0)
		return;
	send(y, &y->push);
	notes_msg_begin(&y->push, NOTES_PUSH, NOTES_ANSWER);
	MUST(notes_msg_put_note(&y->push, n) == 0);
}

static void
push_end(struct notes_sync *y)
{
	if (y->more)
		notes_msg_flag(&y->push, NOTES_MORE);
	send(y, &y->push);
}

static void
want(struct notes_sync *y, const struct notes_msg_type *type, bool *open, uint64_t node)
{
	if (!*open && notes_msg_put_group(&y->other, node) != 0) {
		y->more = true;
		return;
	}
	*open = true;
	y->more |= notes_msg_put_type(&y->other, type) != 0;
}

/* One type that one of the two has, or both. */
static void
settle(struct notes_sync *y, const struct notes *t, const struct notes_entry *ours,
    const struct notes_msg_type *theirs, bool *open, uint64_t node)
{
	const struct note *current = ours != NULL ? ours->current : NULL;
	const struct note *latest = ours != NULL && ours->staged != NULL ? ours->staged : current;

	if (theirs != NULL && note_beats_stamp(theirs->version, theirs->stamp, latest)) {
		/* What would be refused need not come, each time. */
		if (ours != NULL || notes_has_room(t, node))
			want(y, theirs, open, node);
	} else if (current != NULL &&
		   (theirs == NULL || current->version > theirs->version ||
		       (current->version == theirs->version && note_stamp(current) > theirs->stamp))) {
		push(y, current);
	}
}

/* Merges what is here of a node with what the other one has, both in order of types. */
static void
settle_node(struct notes_sync *y, const struct notes *t, struct notes_msg *m, uint64_t node)
{
	struct notes_node *n = notes_node_get(t, node);
	struct notes_entry *e = n != NULL ? notes_first_of(n) : NULL;
	struct notes_msg_type type;
	bool theirs = notes_msg_next_type(m, &type), open = false;

	if (!wanted(y, node))
		return;
	while (e != NULL || theirs) {
		int c = e == NULL ? 1 : !theirs ? -1 : strcmp(e->type, type.type);

		settle(y, t, c <= 0 ? e : NULL, c >= 0 ? &type : NULL, &open, node);
		if (c <= 0)
			e = notes_next_of(e);
		if (c >= 0)
			theirs = notes_msg_next_type(m, &type);
	}
	if (open && y->other.types == 0)
		notes_msg_undo_group(&y->other);
}

void
notes_sync_detail(struct notes_sync *y, const struct notes *t, uint64_t peer, struct notes_msg *m)
{
	uint64_t node;

	push_begin(y, peer, (m->flags & NOTES_MORE) != 0);
	notes_msg_begin(&y->other, NOTES_WANT, 0);
	while (notes_msg_next_group(m, &node))
		settle_node(y, t, m, node);
	push_end(y);
	if (y->more)
		notes_msg_flag(&y->other, NOTES_MORE);
	send(y, &y->other);
}

void
notes_sync_want(struct notes_sync *y, const struct notes *t, uint64_t peer, struct notes_msg *m)
{
	struct notes_msg_type type;
	uint64_t node;

	push_begin(y, peer, (m->flags & NOTES_MORE) != 0);
	while (notes_msg_next_group(m, &node)) {
		while (notes_msg_next_type(m, &type)) {
			const struct note *n = notes_get(t, node, type.type);

			if (n != NULL)
				push(y, n);
		}
	}
	push_end(y);
}
