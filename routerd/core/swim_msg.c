#include "routerd/core/swim_msg.h"

#include <string.h>

#include "common/base/be.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/id.h"
#include "routerd/core/swim.h"

const char *
swim_kind_name(enum swim_kind kind)
{
	switch (kind) {
#define X(name, value, text)                                                                                 \
	case SWIM_##name:                                                                                    \
		return text;
		SWIM_KIND_LIST(X)
#undef X
	}
	return "?";
}

int
swim_msg_begin(struct buf *out)
{
	return buf_put_u8(out, SWIM_VERSION);
}

int
swim_msg_open(struct buf *in)
{
	uint8_t version;
	int err = buf_get_u8(in, &version);

	if (err != 0)
		return err;
	return version == SWIM_VERSION ? 0 : ERR_VERSION;
}

/* --- bodies --- */

static int
put_bytes16(struct buf *out, const uint8_t *data, uint16_t len)
{
	int err = buf_put_u16(out, len);

	return err != 0 || len == 0 ? err : buf_put_bytes(out, data, len);
}

static int
put_probe(struct buf *out, const struct swim_msg *m)
{
	int err = buf_put_u32(out, m->seq);

	if (err == 0 && (m->kind == SWIM_PING || m->kind == SWIM_PING_REQ))
		err = buf_put_u64(out, m->node);
	return err;
}

static int
get_probe(struct buf *in, struct swim_msg *m)
{
	int err = buf_get_u32(in, &m->seq);

	if (err != 0 || (m->kind != SWIM_PING && m->kind != SWIM_PING_REQ))
		return err;
	if ((err = buf_get_u64(in, &m->node)) == 0 && m->node == 0)
		err = ERR_FORMAT;
	return err;
}

static bool
has_from(uint8_t kind)
{
	return kind == SWIM_SUSPECT || kind == SWIM_CONFIRM;
}

static int
put_statement(struct buf *out, const struct swim_msg *m)
{
	int err = buf_put_u64(out, m->node);

	if (err == 0)
		err = buf_put_u64(out, m->incarnation);
	if (err == 0 && has_from(m->kind))
		err = buf_put_u64(out, m->from);
	return err;
}

static int
get_statement(struct buf *in, struct swim_msg *m)
{
	int err = buf_get_u64(in, &m->node);

	if (err == 0)
		err = buf_get_u64(in, &m->incarnation);
	if (err == 0 && has_from(m->kind))
		err = buf_get_u64(in, &m->from);
	if (err == 0 && (m->node == 0 || (has_from(m->kind) && m->from == 0)))
		err = ERR_FORMAT;
	return err;
}

static int
put_meta(struct buf *out, const struct swim_msg *m)
{
	int err;

	if (m->data_len > SWIM_META_MAX_BYTES)
		return ERR_RANGE;
	if ((err = buf_put_u64(out, m->node)) == 0 && (err = buf_put_u64(out, m->version)) == 0)
		err = put_bytes16(out, m->data, m->data_len);
	return err;
}

static int
get_meta(struct buf *in, struct swim_msg *m)
{
	int err;

	if ((err = buf_get_u64(in, &m->node)) != 0 || (err = buf_get_u64(in, &m->version)) != 0 ||
	    (err = buf_get_u16(in, &m->data_len)) != 0)
		return err;
	if (m->node == 0)
		return ERR_FORMAT;
	if (m->data_len > SWIM_META_MAX_BYTES)
		return ERR_LIMIT;
	return buf_get_ref(in, m->data_len, &m->data);
}

static int
put_event(struct buf *out, const struct swim_msg *m)
{
	int err;

	if (m->data_len > SWIM_EVENT_MAX_BYTES || !node_name_valid(m->name))
		return ERR_RANGE;
	if ((err = buf_put_u64(out, m->ltime)) == 0 && (err = buf_put_u64(out, m->node)) == 0 &&
	    (err = buf_put_u32(out, m->id)) == 0 && (err = buf_put_str8(out, m->name)) == 0)
		err = put_bytes16(out, m->data, m->data_len);
	return err;
}

static int
get_event(struct buf *in, struct swim_msg *m)
{
	int err;

	if ((err = buf_get_u64(in, &m->ltime)) != 0 || (err = buf_get_u64(in, &m->node)) != 0 ||
	    (err = buf_get_u32(in, &m->id)) != 0 || (err = buf_get_str8(in, m->name, sizeof(m->name))) != 0 ||
	    (err = buf_get_u16(in, &m->data_len)) != 0)
		return err;
	if (m->node == 0 || !node_name_valid(m->name))
		return ERR_FORMAT;
	if (m->data_len > SWIM_EVENT_MAX_BYTES)
		return ERR_LIMIT;
	return buf_get_ref(in, m->data_len, &m->data);
}

static int
put_push_pull(struct buf *out, const struct swim_msg *m)
{
	int err;

	if ((err = buf_put_u64(out, m->clock)) == 0 && (err = buf_put_u32(out, m->count)) == 0 &&
	    (err = buf_put_u64(out, m->sum)) == 0)
		err = buf_put_u64(out, m->event_sum);
	return err;
}

static int
get_push_pull(struct buf *in, struct swim_msg *m)
{
	int err;

	if ((err = buf_get_u64(in, &m->clock)) == 0 && (err = buf_get_u32(in, &m->count)) == 0 &&
	    (err = buf_get_u64(in, &m->sum)) == 0)
		err = buf_get_u64(in, &m->event_sum);
	return err;
}

static int
put_digest(struct buf *out, const struct swim_msg *m)
{
	size_t size = (size_t)m->entry_count * SWIM_DIGEST_ENTRY_BYTES;
	int err;

	if (m->entry_count > SWIM_DIGEST_MAX || (m->flags & ~SWIM_DIGEST_REPLY) != 0)
		return ERR_RANGE;
	if ((err = buf_put_u8(out, m->flags)) == 0 && (err = buf_put_u64(out, m->first)) == 0 &&
	    (err = buf_put_u64(out, m->last)) == 0 && (err = buf_put_u16(out, m->entry_count)) == 0 &&
	    size != 0)
		err = buf_put_bytes(out, m->entries, size);
	return err;
}

/* Nodes ascend and lie in the range: there is one encoding of each digest. */
static int
check_digest(const struct swim_msg *m)
{
	struct swim_digest_entry e;
	uint64_t least = m->first;

	for (size_t i = 0; i < m->entry_count; i++) {
		swim_digest_load(m, i, &e);
		if (e.node < least || e.node > m->last || e.node == 0 || e.state >= SWIM_STATE_COUNT ||
		    (e.node == UINT64_MAX && i + 1 < m->entry_count))
			return ERR_FORMAT;
		least = e.node + 1;
	}
	return 0;
}

static int
get_digest(struct buf *in, struct swim_msg *m)
{
	int err;

	if ((err = buf_get_u8(in, &m->flags)) != 0 || (err = buf_get_u64(in, &m->first)) != 0 ||
	    (err = buf_get_u64(in, &m->last)) != 0 || (err = buf_get_u16(in, &m->entry_count)) != 0)
		return err;
	if ((m->flags & ~SWIM_DIGEST_REPLY) != 0)
		return ERR_FORMAT;
	if (m->entry_count > SWIM_DIGEST_MAX)
		return ERR_LIMIT;
	err = buf_get_ref(in, (size_t)m->entry_count * SWIM_DIGEST_ENTRY_BYTES, &m->entries);
	return err != 0 ? err : check_digest(m);
}

void
swim_digest_load(const struct swim_msg *m, size_t i, struct swim_digest_entry *out)
{
	const uint8_t *p = m->entries + i * SWIM_DIGEST_ENTRY_BYTES;

	*out = (struct swim_digest_entry){be_load64(p), be_load64(p + 8), be_load64(p + 16), p[24]};
}

void
swim_digest_store(uint8_t *at, const struct swim_digest_entry *e)
{
	be_store64(at, e->node);
	be_store64(at + 8, e->incarnation);
	be_store64(at + 16, e->meta_version);
	at[24] = e->state;
}

/* --- the table --- */

static const struct {
	int (*put)(struct buf *out, const struct swim_msg *m);
	int (*get)(struct buf *in, struct swim_msg *m);
} codecs[SWIM_KIND_COUNT] = {
    [SWIM_PING] = {put_probe, get_probe},
    [SWIM_PING_REQ] = {put_probe, get_probe},
    [SWIM_ACK] = {put_probe, get_probe},
    [SWIM_NACK] = {put_probe, get_probe},
    [SWIM_JOIN] = {put_statement, get_statement},
    [SWIM_ALIVE] = {put_statement, get_statement},
    [SWIM_SUSPECT] = {put_statement, get_statement},
    [SWIM_CONFIRM] = {put_statement, get_statement},
    [SWIM_LEAVE] = {put_statement, get_statement},
    [SWIM_META] = {put_meta, get_meta},
    [SWIM_USER_EVENT] = {put_event, get_event},
    [SWIM_PUSH_PULL] = {put_push_pull, get_push_pull},
    [SWIM_DIGEST] = {put_digest, get_digest},
};

int
swim_msg_put(struct buf *out, const struct swim_msg *m)
{
	size_t start = out->wpos, len;
	int err;

	if (m->kind >= SWIM_KIND_COUNT || codecs[m->kind].put == NULL)
		return ERR_RANGE;
	if ((err = buf_put_u8(out, m->kind)) == 0 && (err = buf_put_u16(out, 0)) == 0)
		err = codecs[m->kind].put(out, m);
	if (err != 0) {
		out->wpos = start;
		return err;
	}
	len = out->wpos - start - SWIM_MSG_HEAD_BYTES;
	MUST(len <= UINT16_MAX);
	be_store16(out->data + start + 1, (uint16_t)len);
	return 0;
}

static int
get_body(uint8_t kind, const uint8_t *data, size_t len, struct swim_msg *out)
{
	struct buf body;
	int err;

	memset(out, 0, sizeof(*out));
	out->kind = kind;
	buf_view(&body, data, len);
	err = codecs[kind].get(&body, out);
	return err != 0 ? err : buf_end(&body);
}

int
swim_msg_next(struct buf *in, struct swim_msg *out)
{
	const uint8_t *data;
	uint8_t kind;
	uint16_t len;
	int err;

	while (buf_left(in) != 0) {
		if ((err = buf_get_u8(in, &kind)) != 0 || (err = buf_get_u16(in, &len)) != 0 ||
		    (err = buf_get_ref(in, len, &data)) != 0)
			return err;
		if (kind >= SWIM_KIND_COUNT || codecs[kind].get == NULL)
			continue; /* of a later version */
		err = get_body(kind, data, len, out);
		return err != 0 ? err : 1;
	}
	return 0;
}
