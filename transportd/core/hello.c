#include "transportd/core/hello.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/frame.h"
#include "transportd/core/limits.h"

int
hello_encode(const struct hello *h, struct buf *out)
{
	int err;

	if ((err = buf_put_u8(out, HELLO_VERSION)) != 0 ||
	    (err = buf_put_bytes(out, h->mesh_id.b, ULID_BYTES)) != 0 ||
	    (err = buf_put_u64(out, h->node_id)) != 0 ||
	    (err = buf_put_bytes(out, h->public_key, HELLO_KEY_BYTES)) != 0 ||
	    (err = buf_put_bytes(out, h->nonce, HELLO_NONCE_BYTES)) != 0 ||
	    (err = buf_put_u64(out, h->incarnation)) != 0)
		return err;
	if ((err = buf_put_str8(out, h->name)) != 0 || (err = buf_put_u16(out, h->lane)) != 0 ||
	    (err = buf_put_u8(out, h->lanes_max)) != 0 || (err = buf_put_u32(out, h->window_bytes)) != 0 ||
	    (err = buf_put_u32(out, h->window_frames)) != 0 ||
	    (err = buf_put_bytes(out, h->local, HELLO_ENDPOINT_BYTES)) != 0)
		return err;
	return buf_put_bytes(out, h->remote, HELLO_ENDPOINT_BYTES);
}

/* Extensions: {type u16, length u16, bytes} up to the end; none is known yet. */
static int
skip_extensions(struct buf *in)
{
	for (int n = 0; buf_left(in) != 0; n++) {
		uint16_t type, len;
		int err;

		if (n == HELLO_TLV_MAX)
			return ERR_LIMIT;
		if ((err = buf_get_u16(in, &type)) != 0 || (err = buf_get_u16(in, &len)) != 0 ||
		    (err = buf_skip(in, len)) != 0)
			return err;
	}
	return buf_end(in);
}

static int
get_fields(struct buf *in, struct hello *h)
{
	int err;

	if ((err = buf_get_bytes(in, h->mesh_id.b, ULID_BYTES)) != 0 ||
	    (err = buf_get_u64(in, &h->node_id)) != 0 ||
	    (err = buf_get_bytes(in, h->public_key, HELLO_KEY_BYTES)) != 0 ||
	    (err = buf_get_bytes(in, h->nonce, HELLO_NONCE_BYTES)) != 0 ||
	    (err = buf_get_u64(in, &h->incarnation)) != 0)
		return err;
	return buf_get_str8(in, h->name, sizeof(h->name));
}

static int
get_lane(struct buf *in, struct hello *h)
{
	int err;

	if ((err = buf_get_u16(in, &h->lane)) != 0 || (err = buf_get_u8(in, &h->lanes_max)) != 0 ||
	    (err = buf_get_u32(in, &h->window_bytes)) != 0 ||
	    (err = buf_get_u32(in, &h->window_frames)) != 0 ||
	    (err = buf_get_bytes(in, h->local, HELLO_ENDPOINT_BYTES)) != 0)
		return err;
	return buf_get_bytes(in, h->remote, HELLO_ENDPOINT_BYTES);
}

/* A window that the largest frame does not fit would stop the lane for ever. */
static bool
lane_valid(const struct hello *h)
{
	return h->lane < LANES_MAX && h->lanes_max != 0 && h->window_bytes >= FRAME_MAX_BYTES &&
	       h->window_bytes <= LANE_WINDOW_MAX_BYTES && h->window_frames != 0;
}

int
hello_decode(const void *payload, size_t len, struct hello *out)
{
	struct buf in;
	uint8_t version;
	int err;

	if (len > HELLO_MAX_BYTES)
		return ERR_LIMIT;
	buf_view(&in, payload, len);
	if ((err = buf_get_u8(&in, &version)) != 0)
		return err;
	if (version != HELLO_VERSION)
		return ERR_VERSION;
	if ((err = get_fields(&in, out)) != 0 || (err = get_lane(&in, out)) != 0 ||
	    (err = skip_extensions(&in)) != 0)
		return err;
	return out->node_id == 0 || !node_name_valid(out->name) || !lane_valid(out) ? ERR_FORMAT : 0;
}

void
hello_statement(const struct hello_proof *p, uint8_t out[HELLO_STATEMENT_BYTES])
{
	uint8_t *at = out;

	*at++ = (uint8_t)p->role;
	memcpy(at, p->mesh_id.b, ULID_BYTES);
	at += ULID_BYTES;
	memcpy(at, p->own_hash, HELLO_HASH_BYTES);
	at += HELLO_HASH_BYTES;
	memcpy(at, p->peer_hash, HELLO_HASH_BYTES);
	at += HELLO_HASH_BYTES;
	memcpy(at, p->exporter, HELLO_EXPORTER_BYTES);
}
