/* notes_msg: see notes_msg.h. */
#include "consensusd/core/notes_msg.h"

#include <string.h>

#include "common/base/be.h"
#include "common/base/err.h"

enum { HEAD_BYTES = 3, COUNT_BYTES = 2, GROUP_BYTES = 9, ITEMS_MAX = UINT16_MAX };

static const struct {
	const char *name;
	unsigned flags, numbers; /* numbers: bytes of what is before the count */
	bool version, stamp;     /* of the types in its groups */
} kinds[NOTES_KINDS] = {
    [NOTES_PUSH] = {"push", NOTES_PASS | NOTES_CONFIRM | NOTES_MORE | NOTES_ANSWER, 0, false, false},
    [NOTES_SUMMARY] = {"summary", 0, 16, false, false},
    [NOTES_DETAIL] = {"detail", NOTES_MORE, 0, true, true},
    [NOTES_WANT] = {"want", NOTES_MORE, 0, false, false},
    [NOTES_HAVE] = {"have", 0, 0, true, false},
    [NOTES_TOTAL] = {"total", 0, 8, false, false},
};

const char *
notes_kind_name(unsigned kind)
{
	return kind > 0 && kind < NOTES_KINDS ? kinds[kind].name : "?";
}

/* --- reading --- */

static int
get_node(struct buf *in, uint64_t *node)
{
	int err = buf_get_u64(in, node);

	return err == 0 && *node == 0 ? ERR_FORMAT : err;
}

/* Versions and times are signed numbers in the API and in the database. */
static int
get_number(struct buf *in, uint64_t *out)
{
	int err = buf_get_u64(in, out);

	return err == 0 && *out > INT64_MAX ? ERR_FORMAT : err;
}

static int
get_type(struct buf *in, char type[NOTE_TYPE_SIZE])
{
	int err = buf_get_str8(in, type, NOTE_TYPE_SIZE);

	return err == 0 && !note_type_valid(type) ? ERR_FORMAT : err;
}

static int
get_note(struct buf *in, struct notes_msg_note *n)
{
	uint8_t removed;
	uint32_t len;
	int err;

	if ((err = get_node(in, &n->node)) != 0 || (err = get_number(in, &n->version)) != 0 ||
	    (err = get_number(in, &n->unix_ms)) != 0 || (err = buf_get_u8(in, &removed)) != 0 ||
	    (err = buf_get_ref(in, 32, &n->public_key)) != 0 ||
	    (err = buf_get_ref(in, 64, &n->signature)) != 0 || (err = get_type(in, n->type)) != 0 ||
	    (err = buf_get_u32(in, &len)) != 0)
		return err;
	if (removed > 1 || n->version == 0 || (removed == 1 && len > 0))
		return ERR_FORMAT;
	if (len > NOTE_PAYLOAD_MAX_BYTES)
		return ERR_LIMIT;
	n->removed = removed == 1;
	n->len = len;
	return buf_get_ref(in, len, &n->payload);
}

static int
get_summary(struct buf *in, struct notes_msg_summary *s)
{
	uint8_t types;
	int err;

	if ((err = get_node(in, &s->node)) != 0 || (err = buf_get_u8(in, &types)) != 0 ||
	    (err = buf_get_u64(in, &s->hash)) != 0)
		return err;
	s->types = types;
	return types == 0 || types > NOTES_MSG_GROUP_TYPES_MAX ? ERR_FORMAT : 0;
}

static int
get_group(struct buf *in, uint64_t *node, unsigned *types)
{
	uint8_t n;
	int err;

	if ((err = get_node(in, node)) != 0 || (err = buf_get_u8(in, &n)) != 0)
		return err;
	*types = n;
	return n > NOTES_MSG_GROUP_TYPES_MAX ? ERR_FORMAT : 0;
}

static int
get_group_type(struct buf *in, enum notes_kind kind, struct notes_msg_type *t)
{
	int err = get_type(in, t->type);

	t->version = t->stamp = 0;
	if (err == 0 && kinds[kind].version)
		err = get_number(in, &t->version);
	if (err == 0 && kinds[kind].stamp)
		err = buf_get_u64(in, &t->stamp);
	return err != 0 ? err : kinds[kind].version && t->version == 0 ? ERR_FORMAT : 0;
}

static int
check_group(struct buf *in, enum notes_kind kind)
{
	struct notes_msg_type t[2];
	unsigned types;
	uint64_t node;
	int err = get_group(in, &node, &types);

	/* Only a DETAIL can say that there is nothing. */
	if (err == 0 && types == 0 && kind != NOTES_DETAIL)
		return ERR_FORMAT;
	for (unsigned i = 0; err == 0 && i < types; i++) {
		err = get_group_type(in, kind, &t[i % 2]);
		if (err == 0 && i > 0 && strcmp(t[(i - 1) % 2].type, t[i % 2].type) >= 0)
			err = ERR_FORMAT;
	}
	return err;
}

/* Summaries are all those of a range, in their order. */
static int
check_summaries(const struct notes_msg *m, struct buf *in)
{
	struct notes_msg_summary s;
	uint64_t before = m->after;
	int err = 0;

	for (unsigned i = 0; i < m->count && err == 0; i++) {
		err = get_summary(in, &s);
		if (err == 0 && (s.node <= before || s.node > m->upto))
			err = ERR_FORMAT;
		before = s.node;
	}
	return err;
}

static int
check_items(const struct notes_msg *m)
{
	struct notes_msg_note n;
	struct buf in = m->items;
	int err = 0;

	if (m->kind == NOTES_SUMMARY)
		err = check_summaries(m, &in);
	for (unsigned i = 0; i < m->count && err == 0 && m->kind != NOTES_SUMMARY; i++)
		err = m->kind == NOTES_PUSH ? get_note(&in, &n) : check_group(&in, m->kind);
	return err != 0 ? err : buf_end(&in);
}

static int
get_numbers(struct notes_msg *m)
{
	int err;

	if (m->kind == NOTES_TOTAL)
		return buf_get_u64(&m->items, &m->hash);
	if (m->kind != NOTES_SUMMARY)
		return 0;
	err = buf_get_u64(&m->items, &m->after);
	return err != 0 ? err : buf_get_u64(&m->items, &m->upto);
}

int
notes_msg_read(const uint8_t *data, size_t len, struct notes_msg *out)
{
	uint8_t version, kind, flags;
	uint16_t count;
	int err;

	*out = (struct notes_msg){0};
	if (len > NOTES_MSG_MAX_BYTES)
		return ERR_LIMIT;
	buf_view(&out->items, data, len);
	if ((err = buf_get_u8(&out->items, &version)) != 0 || (err = buf_get_u8(&out->items, &kind)) != 0 ||
	    (err = buf_get_u8(&out->items, &flags)) != 0)
		return err;
	if (version != NOTES_MSG_VERSION)
		return ERR_VERSION;
	if (kind == 0 || kind >= NOTES_KINDS || (flags & ~kinds[kind].flags) != 0)
		return ERR_FORMAT;
	out->kind = kind;
	out->flags = flags;
	if ((err = get_numbers(out)) != 0 || (err = buf_get_u16(&out->items, &count)) != 0)
		return err;
	out->count = count;
	if (kind == NOTES_SUMMARY ? out->after >= out->upto : (count == 0) != (kind == NOTES_TOTAL))
		return ERR_FORMAT;
	return check_items(out);
}

bool
notes_msg_next_note(struct notes_msg *m, struct notes_msg_note *out)
{
	MUST(m->kind == NOTES_PUSH);
	if (m->count == 0)
		return false;
	m->count--;
	MUST(get_note(&m->items, out) == 0);
	return true;
}

bool
notes_msg_next_summary(struct notes_msg *m, struct notes_msg_summary *out)
{
	MUST(m->kind == NOTES_SUMMARY);
	if (m->count == 0)
		return false;
	m->count--;
	MUST(get_summary(&m->items, out) == 0);
	return true;
}

bool
notes_msg_next_group(struct notes_msg *m, uint64_t *node)
{
	struct notes_msg_type skipped;

	MUST(m->kind == NOTES_DETAIL || m->kind == NOTES_WANT || m->kind == NOTES_HAVE);
	while (notes_msg_next_type(m, &skipped))
		;
	if (m->count == 0)
		return false;
	m->count--;
	MUST(get_group(&m->items, node, &m->types_left) == 0);
	return true;
}

bool
notes_msg_next_type(struct notes_msg *m, struct notes_msg_type *out)
{
	if (m->types_left == 0)
		return false;
	m->types_left--;
	MUST(get_group_type(&m->items, m->kind, out) == 0);
	return true;
}

/* --- writing --- */

void
notes_msg_begin(struct notes_msg_writer *w, enum notes_kind kind, unsigned flags)
{
	w->kind = kind;
	w->count = w->types = 0;
	w->types_at = 0;
	w->mem[0] = NOTES_MSG_VERSION;
	w->mem[1] = (uint8_t)kind;
	w->mem[2] = (uint8_t)flags;
	w->count_at = HEAD_BYTES + kinds[kind].numbers;
	w->len = w->count_at + COUNT_BYTES;
}

void
notes_msg_range(struct notes_msg_writer *w, uint64_t after, uint64_t upto)
{
	MUST(w->kind == NOTES_SUMMARY && after < upto);
	be_store64(w->mem + HEAD_BYTES, after);
	be_store64(w->mem + HEAD_BYTES + 8, upto);
}

void
notes_msg_hash(struct notes_msg_writer *w, uint64_t hash)
{
	MUST(w->kind == NOTES_TOTAL);
	be_store64(w->mem + HEAD_BYTES, hash);
}

void
notes_msg_flag(struct notes_msg_writer *w, unsigned flag)
{
	w->mem[2] |= (uint8_t)flag;
}

static struct buf
room(struct notes_msg_writer *w)
{
	struct buf out;

	buf_init_fixed(&out, w->mem + w->len, sizeof(w->mem) - w->len);
	return out;
}

/* An item was written whole, or not at all. */
static int
written(struct notes_msg_writer *w, const struct buf *out, int err)
{
	if (err == 0 && w->count == ITEMS_MAX)
		err = ERR_LIMIT;
	if (err != 0)
		return err;
	w->len += buf_left(out);
	w->count++;
	return 0;
}

int
notes_msg_put_note(struct notes_msg_writer *w, const struct note *n)
{
	struct buf out = room(w);
	int err;

	MUST(w->kind == NOTES_PUSH && n->version > 0);
	if ((err = buf_put_u64(&out, n->node)) == 0 && (err = buf_put_u64(&out, n->version)) == 0 &&
	    (err = buf_put_u64(&out, n->unix_ms)) == 0 && (err = buf_put_u8(&out, n->removed)) == 0 &&
	    (err = buf_put_bytes(&out, n->public_key, sizeof(n->public_key))) == 0 &&
	    (err = buf_put_bytes(&out, n->signature, sizeof(n->signature))) == 0 &&
	    (err = buf_put_str8(&out, n->type)) == 0 && (err = buf_put_u32(&out, n->len)) == 0)
		err = buf_put_bytes(&out, n->payload, n->len);
	return written(w, &out, err);
}

int
notes_msg_put_summary(struct notes_msg_writer *w, const struct notes_msg_summary *s)
{
	struct buf out = room(w);
	int err;

	MUST(w->kind == NOTES_SUMMARY && s->types > 0 && s->types <= NOTES_MSG_GROUP_TYPES_MAX);
	if ((err = buf_put_u64(&out, s->node)) == 0 && (err = buf_put_u8(&out, (uint8_t)s->types)) == 0)
		err = buf_put_u64(&out, s->hash);
	return written(w, &out, err);
}

int
notes_msg_put_group(struct notes_msg_writer *w, uint64_t node)
{
	struct buf out = room(w);
	int err;

	if ((err = buf_put_u64(&out, node)) == 0)
		err = buf_put_u8(&out, 0);
	if ((err = written(w, &out, err)) != 0)
		return err;
	w->types_at = w->len - 1;
	w->types = 0;
	return 0;
}

void
notes_msg_undo_group(struct notes_msg_writer *w)
{
	MUST(w->types_at > 0);
	w->len = w->types_at + 1 - GROUP_BYTES;
	w->types_at = 0;
	w->count--;
}

int
notes_msg_put_type(struct notes_msg_writer *w, const struct notes_msg_type *t)
{
	struct buf out = room(w);
	int err;

	MUST(w->types_at > 0);
	if (w->types == NOTES_MSG_GROUP_TYPES_MAX)
		return ERR_LIMIT;
	err = buf_put_str8(&out, t->type);
	if (err == 0 && kinds[w->kind].version)
		err = buf_put_u64(&out, t->version);
	if (err == 0 && kinds[w->kind].stamp)
		err = buf_put_u64(&out, t->stamp);
	if (err != 0)
		return err;
	w->len += buf_left(&out);
	w->mem[w->types_at] = (uint8_t)++w->types;
	return 0;
}

void
notes_msg_end(struct notes_msg_writer *w)
{
	be_store16(w->mem + w->count_at, (uint16_t)w->count);
}
