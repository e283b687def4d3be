#include "routerd/core/linkstate.h"

#include <string.h>

#include "common/base/be.h"
#include "common/base/err.h"

enum {
	HEAD_BYTES = 3, /* kind, length */
	ASK_BYTES = 1 + 8 + 4 + 8,
	DIGEST_BYTES = 1 + 8 + 8, /* before the list */
	UPDATE_BYTES = 4,         /* before the LSA */
	ACKS_PER_MESSAGE = 256,
};

_Static_assert(
    1 + HEAD_BYTES + UPDATE_BYTES + LSA_MAX_BYTES <= FRAME_PAYLOAD_MAX_BYTES, "an LSA fits a frame");
_Static_assert(1 + HEAD_BYTES + DIGEST_BYTES + DIGEST_IDS_MAX * LINKSTATE_ID_BYTES <= FRAME_PAYLOAD_MAX_BYTES,
    "a digest fits a frame");

int
linkstate_open(struct buf *in)
{
	uint8_t version;
	int err = buf_get_u8(in, &version);

	if (err != 0)
		return err;
	return version == LINKSTATE_VERSION ? 0 : ERR_VERSION;
}

/* A list of size-byte entries fills the rest of the body. */
static int
parse_list(struct buf *body, size_t size, struct linkstate_msg *m)
{
	m->len = buf_left(body);
	m->count = m->len / size;
	if (m->len % size != 0)
		return ERR_FORMAT;
	return buf_get_ref(body, m->len, &m->data);
}

static int
parse_update(struct buf *body, struct linkstate_msg *m)
{
	int err = buf_get_u32(body, &m->age_ms);

	if (err != 0)
		return err;
	m->len = buf_left(body);
	return buf_get_ref(body, m->len, &m->data);
}

static int
parse_ask(struct buf *body, struct linkstate_ask *a)
{
	int err;

	if ((err = buf_get_u8(body, &a->flags)) != 0 || (err = buf_get_u64(body, &a->first)) != 0 ||
	    (err = buf_get_u32(body, &a->count)) != 0 || (err = buf_get_u64(body, &a->sum)) != 0)
		return err;
	return 0;
}

/* Ascending, within its range: the receiver walks it beside its own database. */
static bool
digest_valid(const struct linkstate_msg *m)
{
	uint64_t before = 0;

	if (m->first > m->last || m->count > DIGEST_IDS_MAX)
		return false;
	for (size_t i = 0; i < m->count; i++) {
		uint64_t node = be_load64(m->data + i * LINKSTATE_ID_BYTES);

		if (node <= before || node < m->first || node > m->last)
			return false;
		before = node;
	}
	return true;
}

static int
parse_digest(struct buf *body, struct linkstate_msg *m)
{
	int err;

	if ((err = buf_get_u8(body, &m->flags)) != 0 || (err = buf_get_u64(body, &m->first)) != 0 ||
	    (err = buf_get_u64(body, &m->last)) != 0 || (err = parse_list(body, LINKSTATE_ID_BYTES, m)) != 0)
		return err;
	return digest_valid(m) ? 0 : ERR_FORMAT;
}

static int
parse(struct buf *body, struct linkstate_msg *m)
{
	switch (m->kind) {
	case LINKSTATE_UPDATE:
		return parse_update(body, m);
	case LINKSTATE_ACK:
		return parse_list(body, LINKSTATE_ID_BYTES, m);
	case LINKSTATE_ASK:
		return parse_ask(body, &m->ask);
	case LINKSTATE_DIGEST:
		return parse_digest(body, m);
	case LINKSTATE_REQUEST:
		return parse_list(body, 8, m);
	default:
		return buf_skip(body, buf_left(body));
	}
}

int
linkstate_next(struct buf *in, struct linkstate_msg *out)
{
	const uint8_t *data;
	struct buf body;
	uint16_t len;
	int err;

	if (buf_left(in) == 0)
		return 0;
	*out = (struct linkstate_msg){0};
	if ((err = buf_get_u8(in, &out->kind)) != 0 || (err = buf_get_u16(in, &len)) != 0 ||
	    (err = buf_get_ref(in, len, &data)) != 0)
		return err;
	buf_view(&body, data, len);
	if ((err = parse(&body, out)) != 0)
		return err;
	return buf_end(&body) == 0 ? 1 : ERR_FORMAT;
}

void
linkstate_id(const struct linkstate_msg *m, size_t i, struct lsa_id *out)
{
	const uint8_t *p = m->data + i * LINKSTATE_ID_BYTES;

	MUST(i < m->count);
	*out = (struct lsa_id){be_load64(p), be_load64(p + 8), be_load64(p + 16)};
}

uint64_t
linkstate_node(const struct linkstate_msg *m, size_t i)
{
	MUST(i < m->count);
	return be_load64(m->data + i * 8);
}

void
linkstate_put_id(uint8_t out[LINKSTATE_ID_BYTES], const struct lsa_id *id)
{
	be_store64(out, id->node);
	be_store64(out + 8, id->incarnation);
	be_store64(out + 16, id->seq);
}

void
linkstate_writer_init(
    struct linkstate_writer *w, void (*emit)(void *arg, const uint8_t *payload, size_t len), void *arg)
{
	w->emit = emit;
	w->arg = arg;
	w->frames = 0;
	w->len = 0;
}

void
linkstate_flush(struct linkstate_writer *w)
{
	if (w->len == 0)
		return;
	w->emit(w->arg, w->payload, w->len);
	w->frames++;
	w->len = 0;
}

/* Starts a message of len bytes; where its body goes. */
static uint8_t *
message_start(struct linkstate_writer *w, uint8_t kind, size_t len)
{
	uint8_t *p;

	MUST(1 + HEAD_BYTES + len <= sizeof(w->payload));
	if (w->len + HEAD_BYTES + len > sizeof(w->payload))
		linkstate_flush(w);
	if (w->len == 0)
		w->payload[w->len++] = LINKSTATE_VERSION;
	p = w->payload + w->len;
	p[0] = kind;
	be_store16(p + 1, (uint16_t)len);
	w->len += HEAD_BYTES + len;
	return p + HEAD_BYTES;
}

void
linkstate_write_update(struct linkstate_writer *w, uint32_t age_ms, const uint8_t *lsa, size_t len)
{
	uint8_t *p = message_start(w, LINKSTATE_UPDATE, UPDATE_BYTES + len);

	be_store32(p, age_ms);
	memcpy(p + UPDATE_BYTES, lsa, len);
}

void
linkstate_write_ask(struct linkstate_writer *w, const struct linkstate_ask *ask)
{
	uint8_t *p = message_start(w, LINKSTATE_ASK, ASK_BYTES);

	p[0] = ask->flags;
	be_store64(p + 1, ask->first);
	be_store32(p + 9, ask->count);
	be_store64(p + 13, ask->sum);
}

void
linkstate_write_ack(struct linkstate_writer *w, const uint8_t *ids, size_t count)
{
	while (count != 0) {
		size_t n = count < ACKS_PER_MESSAGE ? count : ACKS_PER_MESSAGE;
		size_t len = n * LINKSTATE_ID_BYTES;

		memcpy(message_start(w, LINKSTATE_ACK, len), ids, len);
		ids += len;
		count -= n;
	}
}

void
linkstate_write_digest(struct linkstate_writer *w, uint8_t flags, uint64_t first, uint64_t last,
    const uint8_t *ids, size_t count)
{
	size_t len = count * LINKSTATE_ID_BYTES;
	uint8_t *p;

	MUST(count <= DIGEST_IDS_MAX);
	p = message_start(w, LINKSTATE_DIGEST, DIGEST_BYTES + len);
	p[0] = flags;
	be_store64(p + 1, first);
	be_store64(p + 9, last);
	if (len != 0)
		memcpy(p + DIGEST_BYTES, ids, len);
}

void
linkstate_write_request(struct linkstate_writer *w, const struct lsa_id *ids, size_t count)
{
	uint8_t *p;

	MUST(count <= DIGEST_IDS_MAX);
	p = message_start(w, LINKSTATE_REQUEST, 8 * count);
	for (size_t i = 0; i < count; i++)
		be_store64(p + 8 * i, ids[i].node);
}
