#include "consensusd/core/raft_entry.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"

struct raft_entry *
raft_entry_new(uint8_t type, uint64_t client, uint64_t seq, const void *data, size_t len)
{
	struct raft_entry *e;

	if (len > RAFT_DATA_MAX_BYTES || (e = mem_calloc(1, sizeof(*e) + len)) == NULL)
		return NULL;
	e->refs = 1;
	e->type = type;
	e->client = client;
	e->seq = seq;
	e->len = (uint32_t)len;
	if (len != 0)
		memcpy(e->data, data, len);
	return e;
}

struct raft_entry *
raft_entry_ref(struct raft_entry *e)
{
	e->refs++;
	return e;
}

void
raft_entry_unref(struct raft_entry *e)
{
	if (e == NULL)
		return;
	MUST(e->refs != 0);
	if (--e->refs == 0)
		mem_free(e);
}

size_t
raft_entry_bytes(const struct raft_entry *e)
{
	return sizeof(*e) + e->len;
}

int
raft_entry_encode(const struct raft_entry *e, struct buf *out)
{
	int err;

	if ((err = buf_put_u8(out, e->type)) != 0 || (err = buf_put_u64(out, e->client)) != 0 ||
	    (err = buf_put_u64(out, e->seq)) != 0)
		return err;
	return buf_put_bytes(out, e->data, e->len);
}

int
raft_entry_decode(const uint8_t *data, size_t len, struct raft_entry **out)
{
	uint64_t client, seq;
	struct buf in;
	uint8_t type;
	int err;

	buf_view(&in, data, len);
	if ((err = buf_get_u8(&in, &type)) != 0 || (err = buf_get_u64(&in, &client)) != 0 ||
	    (err = buf_get_u64(&in, &seq)) != 0)
		return err;
	if (type >= RAFT_ENTRY_TYPES || (type == RAFT_NOOP && buf_left(&in) != 0))
		return ERR_FORMAT;
	if (buf_left(&in) > RAFT_DATA_MAX_BYTES)
		return ERR_LIMIT;
	*out = raft_entry_new(type, client, seq, buf_head(&in), buf_left(&in));
	return *out != NULL ? 0 : ERR_NOMEM;
}
