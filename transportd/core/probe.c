#include "transportd/core/probe.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"

static bool
train_valid(const struct probe *p)
{
	return p->count >= 2 && p->count <= PROBE_TRAIN_FRAMES && p->index < p->count;
}

static bool
report_valid(const struct probe *p)
{
	return p->received >= 1 && p->received <= PROBE_TRAIN_FRAMES;
}

static int
encode_train(const struct probe *p, struct buf *out)
{
	uint8_t *pad;
	int err;

	if (!train_valid(p) || p->bytes < PROBE_HEAD_BYTES || p->bytes > PROBE_FRAME_BYTES)
		return ERR_RANGE;
	if ((err = buf_put_u8(out, p->kind)) != 0 || (err = buf_put_u32(out, p->train)) != 0 ||
	    (err = buf_put_u8(out, p->index)) != 0 || (err = buf_put_u8(out, p->count)) != 0 ||
	    (err = buf_reserve(out, p->bytes - PROBE_HEAD_BYTES, &pad)) != 0)
		return err;
	memset(pad, 0, p->bytes - PROBE_HEAD_BYTES);
	buf_commit(out, p->bytes - PROBE_HEAD_BYTES);
	return 0;
}

static int
encode_report(const struct probe *p, struct buf *out)
{
	int err;

	if (!report_valid(p))
		return ERR_RANGE;
	if ((err = buf_put_u8(out, p->kind)) != 0 || (err = buf_put_u32(out, p->train)) != 0 ||
	    (err = buf_put_u8(out, p->received)) != 0)
		return err;
	return buf_put_u32(out, p->spread_us);
}

int
probe_encode(const struct probe *p, struct buf *out)
{
	switch (p->kind) {
	case PROBE_TRAIN:
		return encode_train(p, out);
	case PROBE_REPORT:
		return encode_report(p, out);
	default:
		return ERR_RANGE;
	}
}

static int
decode_train(struct buf *in, struct probe *out)
{
	const uint8_t *pad;
	size_t len;
	int err;

	if ((err = buf_get_u8(in, &out->index)) != 0 || (err = buf_get_u8(in, &out->count)) != 0)
		return err;
	if (!train_valid(out))
		return ERR_FORMAT;
	len = buf_left(in);
	if ((err = buf_get_ref(in, len, &pad)) != 0)
		return err;
	for (size_t i = 0; i < len; i++)
		if (pad[i] != 0)
			return ERR_FORMAT;
	return 0;
}

static int
decode_report(struct buf *in, struct probe *out)
{
	int err;

	if ((err = buf_get_u8(in, &out->received)) != 0 || (err = buf_get_u32(in, &out->spread_us)) != 0 ||
	    (err = buf_end(in)) != 0)
		return err;
	return report_valid(out) ? 0 : ERR_FORMAT;
}

int
probe_decode(const void *payload, size_t len, struct probe *out)
{
	struct buf in;
	int err;

	memset(out, 0, sizeof(*out));
	if (len > PROBE_FRAME_BYTES)
		return ERR_LIMIT;
	buf_view(&in, payload, len);
	out->bytes = (uint32_t)len;
	if ((err = buf_get_u8(&in, &out->kind)) != 0 || (err = buf_get_u32(&in, &out->train)) != 0)
		return err;
	switch (out->kind) {
	case PROBE_TRAIN:
		return decode_train(&in, out);
	case PROBE_REPORT:
		return decode_report(&in, out);
	default:
		return ERR_FORMAT;
	}
}

static uint32_t
spread(struct mono first, struct mono now)
{
	int64_t us = mono_diff_us(now, first);

	if (us < 0)
		return 0;
	return us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

bool
probe_received(struct probe_rx *rx, const struct probe *p, struct mono now, struct probe *report)
{
	if (p->kind != PROBE_TRAIN || !train_valid(p))
		return false;
	if (p->index == 0)
		*rx = (struct probe_rx){.train = p->train, .count = p->count, .first = now};
	else if (p->train != rx->train || p->count != rx->count || p->index != rx->received)
		return false;
	rx->received++;
	if (rx->received < rx->count)
		return false;
	*report = (struct probe){.kind = PROBE_REPORT,
	    .train = rx->train,
	    .received = rx->received,
	    .spread_us = spread(rx->first, now),
	    .bytes = PROBE_REPORT_BYTES};
	rx->count = 0;
	return true;
}
