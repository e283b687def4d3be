/*
 * Of dsg: the whole state as bytes.
 *
 *	u8 version, u32 count, for each stream in ascending order of ids
 *		id, u64 epoch, described, committed, skipped
 *		u32 count, for each target: u64 node, u64 processed
 *		u32 count, for each descriptor that is kept: u64 epoch, u32 count, digest, signature
 *
 * Where a descriptor begins follows from where the last one ends.  One state has one encoding, and what can
 *be read is written as it was.
 */
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/core/codec.h"
#include "consensusd/core/dsg_impl.h"

enum {
	DESCRIPTOR_BYTES = 8 + 4 + DSG_DIGEST_BYTES + DSG_SIGNATURE_BYTES,
	STREAM_BYTES = ULID_BYTES + 4 * 8 + 4 + 8 + 8 + 4, /* at least */
};

static void
stream_fields(struct codec *c, struct dsg_stream *s)
{
	codec_ulid(c, &s->id);
	codec_u64(c, &s->epoch);
	codec_u64(c, &s->described);
	codec_u64(c, &s->committed);
	codec_u64(c, &s->skipped);
	codec_check(c, !ulid_is_zero(&s->id) && s->described <= DSG_SEQ_MAX, ERR_FORMAT);
	codec_check(c, s->committed <= s->described && s->skipped <= s->described, ERR_FORMAT);
	dsg_targets_fields(c, &s->target_count, s->targets, s->processed);
	for (size_t i = 0; i < s->target_count; i++)
		codec_check(c, s->processed[i] <= s->described, ERR_FORMAT);
	codec_check(c, c->err != 0 || s->committed >= dsg_item_committed(s), ERR_FORMAT);
}

static void
descriptor_fields(struct codec *c, struct dsg_descriptor *one)
{
	codec_u64(c, &one->epoch);
	codec_u32(c, &one->count);
	codec_bytes(c, one->digest, sizeof(one->digest));
	codec_bytes(c, one->signature, sizeof(one->signature));
	codec_check(c, one->count != 0, ERR_FORMAT);
}

/* Reads count descriptors; where they begin is known when all of them are there. */
static void
get_descriptors(struct codec *c, struct dsg_item *item, size_t count)
{
	struct dsg_descriptors *d = &item->descriptors;
	uint64_t epoch = 0, seqs = 0, next;

	if (c->err == 0 && dsg_descriptors_reserve(d, count) != 0)
		c->err = ERR_NOMEM;
	for (size_t i = 0; i < count && c->err == 0; i++) {
		struct dsg_descriptor one = {0};

		descriptor_fields(c, &one);
		codec_check(c, one.epoch >= epoch && one.epoch <= item->s.epoch, ERR_FORMAT);
		epoch = one.epoch;
		seqs += one.count;
		if (c->err == 0)
			dsg_descriptors_push(d, &one);
	}
	codec_check(c, seqs <= item->s.described, ERR_FORMAT);
	if (c->err != 0)
		return;
	next = item->s.described - seqs + 1;
	for (size_t i = 0; i < count; i++) {
		dsg_descriptors_at(d, i)->first_seq = next;
		next += dsg_descriptors_at(d, i)->count;
	}
	codec_check(
	    c, count == 0 || dsg_descriptor_last(dsg_descriptors_at(d, 0)) > item->s.committed, ERR_FORMAT);
}

static void
item_fields(struct dsg *d, struct codec *c, struct dsg_item *item)
{
	size_t count = item->descriptors.count;

	stream_fields(c, &item->s);
	codec_count(c, &count, DSG_DESCRIPTORS_MAX, DESCRIPTOR_BYTES);
	for (size_t i = 0; c->put && i < count; i++)
		descriptor_fields(c, dsg_descriptors_at(&item->descriptors, i));
	if (c->put || c->err != 0)
		return;
	get_descriptors(c, item, count);
	d->descriptors += item->descriptors.count;
	d->slots += item->descriptors.cap;
	codec_check(c, d->descriptors <= DSG_DESCRIPTORS_TOTAL_MAX, ERR_LIMIT);
}

static struct dsg_item *
item_at(struct dsg *d, struct codec *c, size_t i)
{
	struct dsg_item *item;

	if (c->put)
		return d->streams.at[i];
	if (sorted_reserve(&d->streams) != 0 || (item = mem_calloc(1, sizeof(*item))) == NULL) {
		c->err = ERR_NOMEM;
		return NULL;
	}
	sorted_put(&d->streams, i, item);
	return item;
}

static void
fields(struct dsg *d, struct codec *c)
{
	size_t count = d->streams.count;
	uint8_t version = DSG_SNAPSHOT_VERSION;

	codec_u8(c, &version);
	codec_check(c, version == DSG_SNAPSHOT_VERSION, ERR_VERSION);
	codec_count(c, &count, DSG_STREAMS_MAX, STREAM_BYTES);
	for (size_t i = 0; i < count && c->err == 0; i++) {
		struct dsg_item *item = item_at(d, c, i);

		if (item == NULL)
			return;
		item_fields(d, c, item);
		codec_check(c, i == 0 || dsg_item_compare(&item->s.id, d->streams.at[i - 1]) > 0, ERR_FORMAT);
	}
}

int
dsg_snapshot(const struct dsg *d, struct buf *out)
{
	struct codec c = codec_put(out);
	struct dsg copy = *d; /* its parts are shared: what is written is left as it is */

	fields(&copy, &c);
	return c.err;
}

static void
tell(struct dsg *d, const struct dsg *before)
{
	for (size_t i = 0; d->watch.closed != NULL && i < before->streams.count; i++) {
		const struct dsg_item *item = before->streams.at[i];

		if (dsg_find(d, &item->s.id) == NULL)
			d->watch.closed(d->watch.ctx, &item->s.id);
	}
	for (size_t i = 0; d->watch.opened != NULL && i < d->streams.count; i++)
		d->watch.opened(d->watch.ctx, dsg_at(d, i));
}

int
dsg_restore(struct dsg *d, const uint8_t *data, size_t len)
{
	struct dsg *new = dsg_new(&d->watch), old;
	struct codec c;
	struct buf in;

	if (new == NULL)
		return ERR_NOMEM;
	new->counters = d->counters;
	buf_view(&in, data, len);
	c = codec_get(&in);
	fields(new, &c);
	codec_check(&c, c.err != 0 || buf_end(&in) == 0, ERR_LEFTOVER);
	if (c.err == 0) {
		old = *d;
		*d = *new;
		*new = old;
		tell(d, new);
	}
	dsg_free(new);
	return c.err;
}
