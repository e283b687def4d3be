/* Of dsg: its commands as they stand in the log, each: u8 type, the stream's id, then what the type has. */
#include "common/base/buf.h"
#include "common/base/err.h"
#include "consensusd/core/codec.h"
#include "consensusd/core/dsg_impl.h"

static void
seq(struct codec *c, uint64_t *v)
{
	codec_u64(c, v);
	codec_check(c, *v <= DSG_SEQ_MAX, ERR_FORMAT);
}

static bool
no_double(const uint64_t *targets, size_t count)
{
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < i; j++)
			if (targets[i] == targets[j])
				return false;
	return true;
}

void
dsg_targets_fields(struct codec *c, size_t *count, uint64_t *targets, uint64_t *processed)
{
	codec_count(c, count, STREAM_TARGETS_MAX, 8 + 8);
	codec_check(c, *count != 0, ERR_FORMAT);
	for (size_t i = 0; i < *count && c->err == 0; i++) {
		codec_u64(c, &targets[i]);
		codec_check(c, targets[i] != 0, ERR_FORMAT);
		seq(c, &processed[i]);
	}
	codec_check(c, c->err != 0 || no_double(targets, *count), ERR_FORMAT);
}

static void
open_fields(struct codec *c, struct dsg_cmd *cmd)
{
	struct dsg_open *o = &cmd->u.open;

	codec_u64(c, &o->epoch);
	seq(c, &o->described);
	dsg_targets_fields(c, &o->target_count, o->targets, o->processed);
}

static void
batch_fields(struct codec *c, struct dsg_cmd *cmd)
{
	struct dsg_batch *b = &cmd->u.batch;

	codec_u64(c, &b->epoch);
	seq(c, &b->first_seq);
	codec_u32(c, &b->count);
	codec_bytes(c, b->digest, sizeof(b->digest));
	codec_bytes(c, b->signature, sizeof(b->signature));
	codec_check(c, b->first_seq != 0 && b->count != 0, ERR_FORMAT);
	codec_check(c, b->count - 1 <= DSG_SEQ_MAX - b->first_seq, ERR_FORMAT);
}

static void
epoch_fields(struct codec *c, struct dsg_cmd *cmd)
{
	codec_u64(c, &cmd->u.epoch);
}

static void
processed_fields(struct codec *c, struct dsg_cmd *cmd)
{
	codec_u64(c, &cmd->u.processed.node);
	codec_check(c, cmd->u.processed.node != 0, ERR_FORMAT);
	seq(c, &cmd->u.processed.seq);
}

static void
skip_fields(struct codec *c, struct dsg_cmd *cmd)
{
	seq(c, &cmd->u.skip);
}

static void
close_fields(struct codec *c, struct dsg_cmd *cmd)
{
	(void)c;
	(void)cmd;
}

static void
fields(struct codec *c, struct dsg_cmd *cmd)
{
	static void (*const parts[DSG_CMD_TYPES])(struct codec * c, struct dsg_cmd * cmd) = {
	    [DSG_OPEN] = open_fields,
	    [DSG_BATCH] = batch_fields,
	    [DSG_EPOCH] = epoch_fields,
	    [DSG_PROCESSED] = processed_fields,
	    [DSG_SKIP] = skip_fields,
	    [DSG_CLOSE] = close_fields,
	};
	uint8_t type = (uint8_t)cmd->type;

	codec_u8(c, &type);
	codec_check(c, type != 0 && type < DSG_CMD_TYPES, ERR_UNKNOWN);
	codec_ulid(c, &cmd->stream);
	codec_check(c, !ulid_is_zero(&cmd->stream), ERR_FORMAT);
	if (c->err != 0)
		return;
	MUST(type != 0 && type < DSG_CMD_TYPES && parts[type] != NULL);
	cmd->type = type;
	parts[type](c, cmd);
}

int
dsg_cmd_get(struct buf *in, struct dsg_cmd *out)
{
	struct codec c = codec_get(in);

	*out = (struct dsg_cmd){0};
	fields(&c, out);
	/* Where a command is read from its own structure, it is whole. */
	if (out->type == DSG_OPEN)
		out->u.open.stream = out->stream;
	if (out->type == DSG_BATCH)
		out->u.batch.stream = out->stream;
	return c.err;
}

static int
put(struct buf *out, struct dsg_cmd *cmd)
{
	struct codec c = codec_put(out);
	size_t end = out->wpos;

	fields(&c, cmd);
	if (c.err != 0)
		out->wpos = end;
	return c.err;
}

int
dsg_put_open(struct buf *out, const struct dsg_open *o)
{
	return put(out, &(struct dsg_cmd){.type = DSG_OPEN, .stream = o->stream, .u.open = *o});
}

int
dsg_put_batch(struct buf *out, const struct dsg_batch *b)
{
	return put(out, &(struct dsg_cmd){.type = DSG_BATCH, .stream = b->stream, .u.batch = *b});
}

int
dsg_put_epoch(struct buf *out, const struct ulid *stream, uint64_t epoch)
{
	return put(out, &(struct dsg_cmd){.type = DSG_EPOCH, .stream = *stream, .u.epoch = epoch});
}

int
dsg_put_processed(struct buf *out, const struct ulid *stream, uint64_t node, uint64_t seq)
{
	return put(
	    out, &(struct dsg_cmd){.type = DSG_PROCESSED, .stream = *stream, .u.processed = {node, seq}});
}

int
dsg_put_skip(struct buf *out, const struct ulid *stream, uint64_t seq)
{
	return put(out, &(struct dsg_cmd){.type = DSG_SKIP, .stream = *stream, .u.skip = seq});
}

int
dsg_put_close(struct buf *out, const struct ulid *stream)
{
	return put(out, &(struct dsg_cmd){.type = DSG_CLOSE, .stream = *stream});
}
