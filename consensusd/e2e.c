/* e2e: see e2e.h. */
#include "consensusd/e2e.h"

#include <stdbool.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/crc32c.h"
#include "common/base/err.h"
#include "common/base/frame.h"
#include "consensusd/core/batch.h"
#include "consensusd/tenantkeys.h"
#include "proto/pb.h"

/* The frame type that carries a kind of message; 0: no such kind. */
static uint8_t
frame_type_of(uint32_t msg_type)
{
	switch (msg_type) {
	case mesh_e2e_MsgType_MSG_BATCH:
		return FRAME_DATA;
	case mesh_e2e_MsgType_MSG_ACK:
		return FRAME_DATA_ACK;
	case mesh_e2e_MsgType_MSG_OPEN:
	case mesh_e2e_MsgType_MSG_OPENED:
	case mesh_e2e_MsgType_MSG_REFUSED:
	case mesh_e2e_MsgType_MSG_CLOSE:
	case mesh_e2e_MsgType_MSG_CLOSED:
	case mesh_e2e_MsgType_MSG_UNKNOWN_STREAM:
	case mesh_e2e_MsgType_MSG_SKIP:
	case mesh_e2e_MsgType_MSG_CHALLENGE:
		return FRAME_STREAM;
	default:
		return 0;
	}
}

/* FNV-1a, and MurmurHash3's finaliser: FNV alone leaves the low bits of similar names alike. */
static uint32_t
hash16(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * 16777619u;
	h = (h ^ h >> 16) * 0x85ebca6bu;
	h = (h ^ h >> 13) * 0xc2b2ae35u;
	return (h ^ h >> 16) & 0xffff;
}

uint32_t
e2e_flow(const char *tenant, const struct ulid *stream_id)
{
	return hash16(tenant, strlen(tenant)) << 16 | hash16(stream_id->b, ULID_BYTES);
}

/* As e2e_put_frame(), with h->crc32c filled in.  class: of data. */
static int
put_frame(struct buf *out, mesh_e2e_Header *h, uint32_t flow, uint8_t flags, uint8_t class,
    const void *payload, size_t len)
{
	uint8_t mem[FRAME_E2E_MAX_BYTES];
	struct buf header;
	struct frame f = {.ttl = FRAME_TTL_DEFAULT, .visit_count = 1, .flow = flow, .flags = flags};
	int err;

	f.type = frame_type_of(h->msg_type);
	if (f.type == 0)
		return ERR_UNKNOWN;
	if (len > FRAME_PAYLOAD_MAX_BYTES)
		return ERR_LIMIT;
	/* What frees windows must not wait behind, or be dropped with, the data that fills them. */
	f.class = f.type == FRAME_DATA ? class : FRAME_CLASS_CONTROL;
	h->crc32c = crc32c(0, payload, len);
	buf_init_fixed(&header, mem, sizeof(mem));
	err = pb_pack(&header, mesh_e2e_Header_fields, h);
	if (err != 0)
		return err;
	f.src = h->source;
	f.visit[0] = h->destination;
	f.e2e = mem;
	f.e2e_len = (uint16_t)buf_left(&header);
	f.payload = payload;
	f.payload_len = (uint32_t)len;
	return frame_encode(&f, out);
}

int
e2e_put_frame(struct buf *out, const mesh_e2e_Header *h, const void *payload, size_t len)
{
	mesh_e2e_Header copy = *h;
	struct ulid id = {{0}};

	memcpy(id.b, h->stream_id.bytes, ULID_BYTES);
	return put_frame(out, &copy, e2e_flow(h->tenant_id, &id), 0, FRAME_CLASS_CLIENT, payload, len);
}

static uint32_t
fragments_of(size_t body_len)
{
	return (uint32_t)((body_len + FRAME_PAYLOAD_MAX_BYTES - 1) / FRAME_PAYLOAD_MAX_BYTES);
}

/* All fragments are full but the last: so each one's place in the body is known. */
static size_t
fragment_len(size_t body_len, uint32_t index)
{
	size_t left = body_len - (size_t)index * FRAME_PAYLOAD_MAX_BYTES;

	return left < FRAME_PAYLOAD_MAX_BYTES ? left : FRAME_PAYLOAD_MAX_BYTES;
}

uint32_t
e2e_fragment_count(const struct batch *b)
{
	return fragments_of(b->body_len);
}

/* Copies n bytes into one of nanopb's byte arrays. */
#define SET_BYTES(field, from, n)                                                                            \
	do {                                                                                                 \
		_Static_assert(sizeof((field).bytes) >= (n), "room in " #field);                             \
		memcpy((field).bytes, (from), (n));                                                          \
		(field).size = (n);                                                                          \
	} while (0)

int
e2e_put_fragment(struct buf *out, const struct batch *b, const struct e2e_way *way, uint32_t index)
{
	mesh_e2e_Header h = mesh_e2e_Header_init_zero;
	size_t tenant_len = strlen(way->tenant);

	MUST(index < e2e_fragment_count(b) && tenant_len < sizeof(h.tenant_id));
	h.msg_type = mesh_e2e_MsgType_MSG_BATCH;
	SET_BYTES(h.stream_id, b->stream_id.b, ULID_BYTES);
	memcpy(h.tenant_id, way->tenant, tenant_len + 1);
	h.seq = b->first_seq;
	h.ack = way->ack;
	SET_BYTES(h.message_id, b->body, ULID_BYTES);
	h.chunk_seq = index;
	h.total_chunks = e2e_fragment_count(b);
	SET_BYTES(h.key_id, b->key_id, BATCH_KEY_ID_BYTES);
	if (index == 0)
		SET_BYTES(h.signature, b->signature, BATCH_SIG_BYTES);
	if (index == 0 && way->key_box_len != 0)
		SET_BYTES(h.key_box, way->key_box, TENANTKEYS_BOX_BYTES);
	h.producer_epoch = b->epoch;
	h.count = b->count;
	h.source = way->source;
	h.destination = way->destination;
	h.batch_bytes = (uint32_t)b->body_len;
	SET_BYTES(h.nonce, b->nonce, BATCH_NONCE_BYTES);
	return put_frame(out, &h, way->flow, way->stripe ? FRAME_FLAG_STRIPE : 0,
	    way->class != 0 ? way->class : FRAME_CLASS_CLIENT,
	    b->body + (size_t)index * FRAME_PAYLOAD_MAX_BYTES, fragment_len(b->body_len, index));
}

static bool
batch_fields_valid(const struct frame *f, const mesh_e2e_Header *h)
{
	if (h->message_id.size != ULID_BYTES || h->key_id.size != BATCH_KEY_ID_BYTES ||
	    h->nonce.size != BATCH_NONCE_BYTES)
		return false;
	if (h->signature.size != (h->chunk_seq == 0 ? BATCH_SIG_BYTES : 0))
		return false;
	if (h->seq == 0 || h->seq > INT64_MAX || h->count == 0 || h->count > BATCH_MESSAGES_MAX ||
	    h->count > INT64_MAX - h->seq + 1)
		return false;
	if (h->batch_bytes < (size_t)h->count * BATCH_RECORD_HDR_BYTES ||
	    h->batch_bytes > BATCH_BODY_MAX_BYTES)
		return false;
	return h->total_chunks == fragments_of(h->batch_bytes) && h->chunk_seq < h->total_chunks &&
	       f->payload_len == fragment_len(h->batch_bytes, h->chunk_seq);
}

/* Ranges come in pairs, ascending and apart from each other. */
static bool
ranges_valid(const mesh_e2e_Header *h)
{
	uint64_t last = 0;

	if (h->ranges_count % 2 != 0)
		return false;
	for (pb_size_t i = 0; i < h->ranges_count; i += 2) {
		if (h->ranges[i] <= last || h->ranges[i + 1] < h->ranges[i])
			return false;
		last = h->ranges[i + 1];
	}
	return true;
}

static bool
header_valid(const struct frame *f, const mesh_e2e_Header *h)
{
	if (h->key_box.size != 0 && h->key_box.size != TENANTKEYS_BOX_BYTES)
		return false;
	if (h->stream_id.size != ULID_BYTES || h->source != f->src || h->destination == 0)
		return false;
	if (h->tenant_id[0] != '\0' && !tenant_valid(h->tenant_id))
		return false;
	if (h->msg_type != mesh_e2e_MsgType_MSG_BATCH)
		return ranges_valid(h);
	return tenant_valid(h->tenant_id) && h->ranges_count == 0 && batch_fields_valid(f, h);
}

int
e2e_get(const struct frame *f, mesh_e2e_Header *out)
{
	int err = pb_unpack(f->e2e, f->e2e_len, mesh_e2e_Header_fields, out);

	if (err != 0)
		return err;
	if (frame_type_of(out->msg_type) == 0)
		return ERR_UNKNOWN;
	if (frame_type_of(out->msg_type) != f->type || !header_valid(f, out))
		return ERR_FORMAT;
	return crc32c(0, f->payload, f->payload_len) == out->crc32c ? 0 : ERR_CHECKSUM;
}
