#include "common/base/frame.h"

#include "common/base/be.h"
#include "common/base/buf.h"
#include "common/base/err.h"

/* Offsets of the fixed part of the hop header (mesh-wire(7)). */
enum {
	AT_VERSION = 0,
	AT_TYPE = 1,
	AT_CLASS = 2,
	AT_FLAGS = 3,
	AT_TTL = 4,
	AT_HOP_COUNT = 5,
	AT_VISIT_COUNT = 6,
	AT_RESERVED8 = 7,
	AT_LANE_ID = 8,
	AT_E2E_LEN = 10,
	AT_PAYLOAD_LEN = 12,
	AT_PATH_ID = 16,
	AT_FLOW = 20,
	AT_SRC = 24,
};

static bool
type_known(uint8_t type)
{
	switch (type) {
#define X(name, value, text) case FRAME_##name:
		FRAME_TYPE_LIST(X)
#undef X
		return true;
	default:
		return false;
	}
}

/* What both directions demand of the fixed fields, type and lengths aside. */
static bool
fields_valid(const struct frame *f)
{
	return f->class < FRAME_CLASS_COUNT && (f->flags & ~FRAME_FLAG_KNOWN) == 0 && f->src != 0 &&
	       (f->visit_count == 0 || !frame_is_link_local(f->type));
}

static bool
lengths_valid(const struct frame *f)
{
	return f->visit_count <= FRAME_VISIT_MAX && f->e2e_len <= FRAME_E2E_MAX_BYTES &&
	       f->payload_len <= FRAME_PAYLOAD_MAX_BYTES;
}

static bool
visits_valid(const struct frame *f)
{
	for (unsigned i = 0; i < f->visit_count; i++)
		if (f->visit[i] == 0)
			return false;
	return true;
}

size_t
frame_size(const struct frame *f)
{
	return FRAME_HDR_BYTES + 8u * f->visit_count + f->e2e_len + f->payload_len;
}

static void
store_header(const struct frame *f, uint8_t *p)
{
	p[AT_VERSION] = FRAME_VERSION;
	p[AT_TYPE] = f->type;
	p[AT_CLASS] = f->class;
	p[AT_FLAGS] = f->flags;
	p[AT_TTL] = f->ttl;
	p[AT_HOP_COUNT] = f->hop_count;
	p[AT_VISIT_COUNT] = f->visit_count;
	p[AT_RESERVED8] = 0;
	be_store16(p + AT_LANE_ID, f->lane_id);
	be_store16(p + AT_E2E_LEN, f->e2e_len);
	be_store32(p + AT_PAYLOAD_LEN, f->payload_len);
	be_store32(p + AT_PATH_ID, f->path_id);
	be_store32(p + AT_FLOW, f->flow);
	be_store64(p + AT_SRC, f->src);
}

int
frame_encode(const struct frame *f, struct buf *out)
{
	size_t size;
	uint8_t *p;
	int err;

	if (!type_known(f->type) || !lengths_valid(f) || !fields_valid(f) || !visits_valid(f))
		return ERR_RANGE;
	size = frame_size(f);
	err = buf_reserve(out, size, &p);
	if (err != 0)
		return err;
	store_header(f, p);
	p += FRAME_HDR_BYTES;
	for (unsigned i = 0; i < f->visit_count; i++, p += 8)
		be_store64(p, f->visit[i]);
	if (f->e2e_len != 0)
		memcpy(p, f->e2e, f->e2e_len);
	p += f->e2e_len;
	if (f->payload_len != 0)
		memcpy(p, f->payload, f->payload_len);
	buf_commit(out, size);
	return 0;
}

static void
load_header(const uint8_t *p, struct frame *f)
{
	f->type = p[AT_TYPE];
	f->class = p[AT_CLASS];
	f->flags = p[AT_FLAGS];
	f->ttl = p[AT_TTL];
	f->hop_count = p[AT_HOP_COUNT];
	f->visit_count = p[AT_VISIT_COUNT];
	f->lane_id = be_load16(p + AT_LANE_ID);
	f->e2e_len = be_load16(p + AT_E2E_LEN);
	f->payload_len = be_load32(p + AT_PAYLOAD_LEN);
	f->path_id = be_load32(p + AT_PATH_ID);
	f->flow = be_load32(p + AT_FLOW);
	f->src = be_load64(p + AT_SRC);
}

/* The fixed part: p points at left bytes. */
static int
decode_header(const uint8_t *p, size_t left, struct frame *f)
{
	/* The version comes first, alone: what follows it may look different in another one. */
	if (left < 1)
		return ERR_SHORT;
	if (p[AT_VERSION] != FRAME_VERSION)
		return ERR_VERSION;
	if (left < FRAME_HDR_BYTES)
		return ERR_SHORT;
	load_header(p, f);
	if (!type_known(f->type))
		return ERR_UNKNOWN;
	if (!lengths_valid(f))
		return ERR_LIMIT;
	if (!fields_valid(f) || p[AT_RESERVED8] != 0)
		return ERR_FORMAT;
	return left < frame_size(f) ? ERR_SHORT : 0;
}

int
frame_decode(struct buf *in, struct frame *out)
{
	const uint8_t *p = buf_head(in);
	int err = decode_header(p, buf_left(in), out);

	if (err != 0)
		return err;
	p += FRAME_HDR_BYTES;
	for (unsigned i = 0; i < out->visit_count; i++, p += 8)
		out->visit[i] = be_load64(p);
	if (!visits_valid(out))
		return ERR_FORMAT;
	out->e2e = p;
	out->payload = p + out->e2e_len;
	return buf_skip(in, frame_size(out));
}

uint64_t
frame_dst(const struct frame *f)
{
	return f->visit_count != 0 ? f->visit[f->visit_count - 1] : 0;
}

bool
frame_is_link_local(uint8_t type)
{
	return type < FRAME_FORWARDED_MIN;
}

const char *
frame_type_name(uint8_t type)
{
	switch (type) {
#define X(name, value, text)                                                                                 \
	case FRAME_##name:                                                                                   \
		return text;
		FRAME_TYPE_LIST(X)
#undef X
	default:
		return "?";
	}
}

const char *
frame_class_name(uint8_t class)
{
	static const char *const names[FRAME_CLASS_COUNT] = {
	    [FRAME_CLASS_CONTROL] = "control",
	    [FRAME_CLASS_SYSTEM] = "system",
	    [FRAME_CLASS_DB] = "db",
	    [FRAME_CLASS_CLIENT] = "client",
	};

	return class < FRAME_CLASS_COUNT ? names[class] : "?";
}
