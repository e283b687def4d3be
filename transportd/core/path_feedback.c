#include "transportd/core/path_feedback.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"

int
path_feedback_encode(const struct path_feedback *p, struct buf *out)
{
	int err;

	if ((err = buf_put_u8(out, p->kind)) != 0 || (err = buf_put_u32(out, p->path_id)) != 0 ||
	    (err = buf_put_u64(out, p->sent_frames)) != 0 || (err = buf_put_u64(out, p->sent_bytes)) != 0 ||
	    (err = buf_put_u64(out, p->time_us)) != 0)
		return err;
	if (p->kind != PATH_ANSWER)
		return 0;
	if ((err = buf_put_u64(out, p->received_frames)) != 0 ||
	    (err = buf_put_u64(out, p->received_bytes)) != 0)
		return err;
	return buf_put_u64(out, p->marked_bytes);
}

static int
decode_received(struct buf *in, struct path_feedback *out)
{
	int err;

	if ((err = buf_get_u64(in, &out->received_frames)) != 0 ||
	    (err = buf_get_u64(in, &out->received_bytes)) != 0)
		return err;
	return buf_get_u64(in, &out->marked_bytes);
}

int
path_feedback_decode(const void *payload, size_t len, struct path_feedback *out)
{
	struct buf in;
	int err;

	memset(out, 0, sizeof(*out));
	buf_view(&in, payload, len);
	if ((err = buf_get_u8(&in, &out->kind)) != 0)
		return err;
	if (out->kind < PATH_ASK || out->kind > PATH_ASK_AGAIN)
		return ERR_FORMAT;
	if ((err = buf_get_u32(&in, &out->path_id)) != 0 ||
	    (err = buf_get_u64(&in, &out->sent_frames)) != 0 ||
	    (err = buf_get_u64(&in, &out->sent_bytes)) != 0 || (err = buf_get_u64(&in, &out->time_us)) != 0)
		return err;
	if (out->kind == PATH_ANSWER && (err = decode_received(&in, out)) != 0)
		return err;
	return buf_end(&in);
}
