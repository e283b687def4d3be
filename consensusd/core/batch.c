/* batch: see batch.h. */
#include "consensusd/core/batch.h"

#include "common/base/be.h"
#include "common/base/err.h"
#include "common/base/mem.h"

struct batch *
batch_new(size_t body_len)
{
	struct batch *b;

	if (body_len > BATCH_BODY_MAX_BYTES)
		return NULL;
	b = mem_calloc(1, sizeof(*b) + body_len);
	if (b == NULL)
		return NULL;
	b->refs = 1;
	b->body_len = body_len;
	return b;
}

struct batch *
batch_ref(struct batch *b)
{
	MUST(b->refs > 0 && b->refs < UINT32_MAX);
	b->refs++;
	return b;
}

void
batch_unref(struct batch *b)
{
	if (b == NULL)
		return;
	MUST(b->refs > 0);
	if (--b->refs == 0)
		mem_free(b);
}

uint64_t
batch_last_seq(const struct batch *b)
{
	return b->first_seq + b->count - 1;
}

void
batch_iter_init(struct batch_iter *it, const struct batch *b)
{
	it->batch = b;
	it->offset = 0;
	it->index = 0;
}

/* Reads the record at it->offset: 0, ERR_SHORT. */
static int
record_read(const struct batch_iter *it, struct batch_record *out)
{
	const struct batch *b = it->batch;
	const uint8_t *p = b->body + it->offset;
	size_t left = b->body_len - it->offset;
	uint32_t len;

	if (left < BATCH_RECORD_HDR_BYTES)
		return ERR_SHORT;
	len = be_load32(p + ULID_BYTES);
	if (len > left - BATCH_RECORD_HDR_BYTES)
		return ERR_SHORT;
	out->seq = b->first_seq + it->index;
	out->message_id = p;
	out->sealed = p + BATCH_RECORD_HDR_BYTES;
	out->sealed_len = len;
	out->record_offset = it->offset;
	return 0;
}

static void
record_pass(struct batch_iter *it, const struct batch_record *rec)
{
	it->offset += BATCH_RECORD_HDR_BYTES + rec->sealed_len;
	it->index++;
}

int
batch_next(struct batch_iter *it, struct batch_record *out)
{
	if (it->index == it->batch->count)
		return 0;
	MUST(record_read(it, out) == 0);
	record_pass(it, out);
	return 1;
}

int
batch_check(const struct batch *b)
{
	struct batch_iter it;
	struct batch_record rec;
	int err;

	if (b->count == 0 || b->first_seq == 0 || b->first_seq > UINT64_MAX - b->count)
		return ERR_FORMAT;
	/* PostgreSQL's bigint, the API's int64 seq: what is above can't be stored or named. */
	if (b->first_seq + b->count - 1 > INT64_MAX)
		return ERR_FORMAT;
	if (b->count > BATCH_MESSAGES_MAX || b->body_len > BATCH_BODY_MAX_BYTES)
		return ERR_LIMIT;
	batch_iter_init(&it, b);
	while (it.index < b->count) {
		err = record_read(&it, &rec);
		if (err != 0)
			return err;
		record_pass(&it, &rec);
	}
	return it.offset == b->body_len ? 0 : ERR_LEFTOVER;
}
