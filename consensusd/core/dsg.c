#include "consensusd/core/dsg.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/core/dsg_impl.h"

int
dsg_item_compare(const void *key, const void *item)
{
	return ulid_compare(key, &((const struct dsg_item *)item)->s.id);
}

void
dsg_item_free(void *item)
{
	struct dsg_item *i = item;

	dsg_descriptors_fini(&i->descriptors);
	mem_free(i);
}

struct dsg *
dsg_new(const struct dsg_watch *watch)
{
	struct dsg *d = mem_calloc(1, sizeof(*d));

	if (d != NULL && watch != NULL)
		d->watch = *watch;
	return d;
}

void
dsg_free(struct dsg *d)
{
	if (d == NULL)
		return;
	sorted_fini(&d->streams, dsg_item_free);
	sorted_fini(&d->spare, dsg_item_free);
	mem_free(d);
}

static struct dsg_item *
find(const struct dsg *d, const struct ulid *stream)
{
	return sorted_get(&d->streams, stream, dsg_item_compare);
}

static struct dsg_item *
find_spare(const struct dsg *d, const struct ulid *stream)
{
	return sorted_get(&d->spare, stream, dsg_item_compare);
}

/* --- before an entry: memory for all of it --- */

static int
prepare_open(struct dsg *d, const struct ulid *stream)
{
	struct dsg_item *item;
	size_t pos;

	if (find(d, stream) != NULL || sorted_find(&d->spare, stream, dsg_item_compare, &pos))
		return 0;
	if (sorted_reserve(&d->spare) != 0 || (item = mem_calloc(1, sizeof(*item))) == NULL)
		return ERR_NOMEM;
	item->s.id = *stream;
	sorted_put(&d->spare, pos, item);
	return 0;
}

static int
prepare_batch(struct dsg *d, const struct ulid *stream)
{
	struct dsg_item *item = find(d, stream);
	size_t before;
	int err;

	if (item == NULL)
		item = find_spare(d, stream);
	if (item == NULL)
		return 0;
	before = item->descriptors.cap;
	item->coming++;
	if ((err = dsg_descriptors_reserve(&item->descriptors, item->descriptors.count + item->coming)) == 0)
		d->slots += item->descriptors.cap - before;
	return err;
}

/* 0, ERR_NOMEM, or what is wrong with the entry; *closes is how many of its commands close a stream. */
static int
prepare(struct dsg *d, struct buf in)
{
	struct dsg_cmd cmd;
	size_t closes = 0;
	int err;

	while (buf_left(&in) != 0) {
		if ((err = dsg_cmd_get(&in, &cmd)) == 0 && cmd.type == DSG_OPEN)
			err = prepare_open(d, &cmd.stream);
		else if (err == 0 && cmd.type == DSG_BATCH)
			err = prepare_batch(d, &cmd.stream);
		if (err != 0)
			return err;
		closes += cmd.type == DSG_CLOSE;
	}
	if (closes > d->streams.count)
		closes = d->streams.count;
	if (sorted_reserve_many(&d->streams, d->spare.count) != 0)
		return ERR_NOMEM;
	/* What is opened leaves a place for what is closed after it. */
	return sorted_reserve_many(&d->spare, closes);
}

/* --- commands: false: it does not fit --- */

uint64_t
dsg_item_committed(const struct dsg_stream *s)
{
	uint64_t min = UINT64_MAX;

	for (size_t i = 0; i < s->target_count; i++) {
		uint64_t has = s->processed[i] > s->skipped ? s->processed[i] : s->skipped;

		if (has < min)
			min = has;
	}
	return min;
}

static void
commit(struct dsg *d, struct dsg_item *item)
{
	uint64_t committed = dsg_item_committed(&item->s);

	if (committed <= item->s.committed)
		return;
	item->s.committed = committed;
	d->descriptors -= dsg_descriptors_cut(&item->descriptors, committed);
}

static size_t
target(const struct dsg_stream *s, uint64_t node)
{
	size_t i = 0;

	while (i < s->target_count && s->targets[i] != node)
		i++;
	return i;
}

static bool
targets_fit(const struct dsg_open *o, uint64_t described)
{
	for (size_t i = 0; i < o->target_count; i++)
		if (o->processed[i] > described)
			return false;
	return true;
}

static void
open_told(struct dsg *d, struct dsg_item *item)
{
	item->changed = false;
	if (d->watch.opened != NULL)
		d->watch.opened(d->watch.ctx, &item->s);
}

static bool
run_open_new(struct dsg *d, const struct dsg_open *o)
{
	struct dsg_item *item;
	size_t pos;

	if (d->streams.count == DSG_STREAMS_MAX || !targets_fit(o, o->described))
		return false;
	MUST(sorted_find(&d->spare, &o->stream, dsg_item_compare, &pos));
	item = sorted_take(&d->spare, pos);
	item->s = (struct dsg_stream){
	    .id = o->stream,
	    .epoch = o->epoch,
	    .described = o->described,
	    .target_count = o->target_count,
	};
	memcpy(item->s.targets, o->targets, sizeof(o->targets));
	memcpy(item->s.processed, o->processed, sizeof(o->processed));
	item->s.committed = dsg_item_committed(&item->s);
	MUST(!sorted_find(&d->streams, &o->stream, dsg_item_compare, &pos));
	sorted_put(&d->streams, pos, item);
	open_told(d, item);
	return true;
}

/* Back: batches that never left the source are made anew.  Forward: targets have what lies between from a
 * group before this one. */
static void
move(struct dsg *d, struct dsg_item *item, uint64_t described)
{
	if (described > item->s.described)
		d->descriptors -= dsg_descriptors_cut(&item->descriptors, item->s.described);
	d->descriptors -= dsg_descriptors_cut_back(&item->descriptors, described);
	/* They have no gap, and end where the next batch begins. */
	if (item->descriptors.count != 0 && dsg_descriptor_last(dsg_descriptors_at(&item->descriptors,
						item->descriptors.count - 1)) != described)
		d->descriptors -= dsg_descriptors_cut(&item->descriptors, described);
	item->s.described = described;
}

/* The epoch that a stream is in, if it is opened there: of what lies beyond nothing is left. */
static uint64_t
epoch_at(const struct dsg_item *item, uint64_t described)
{
	const struct dsg_descriptors *all = &item->descriptors;
	size_t i = all->count;

	if (described >= item->s.described)
		return item->s.epoch;
	while (i > 0 && dsg_descriptor_last(dsg_descriptors_at(all, i - 1)) > described)
		i--;
	return i > 0 ? dsg_descriptors_at(all, i - 1)->epoch : 0;
}

static bool
run_open(struct dsg *d, const struct dsg_cmd *cmd)
{
	struct dsg_item *item = find(d, &cmd->stream);
	struct dsg_open o = cmd->u.open;

	if (item == NULL)
		return run_open_new(d, &o);
	if (o.described < item->s.committed || !targets_fit(&o, o.described))
		return false;
	for (size_t i = 0; i < item->s.target_count; i++)
		if (item->s.processed[i] > o.described)
			return false;
	if (o.epoch < epoch_at(item, o.described))
		o.epoch = epoch_at(item, o.described);
	move(d, item, o.described);
	for (size_t i = 0; i < o.target_count; i++) {
		size_t old = target(&item->s, o.targets[i]);

		if (old < item->s.target_count && item->s.processed[old] > o.processed[i])
			o.processed[i] = item->s.processed[old];
	}
	item->s.epoch = o.epoch;
	item->s.target_count = o.target_count;
	memcpy(item->s.targets, o.targets, sizeof(o.targets));
	memcpy(item->s.processed, o.processed, sizeof(o.processed));
	commit(d, item);
	open_told(d, item);
	return true;
}

static void
keep(struct dsg *d, struct dsg_item *item, const struct dsg_batch *b)
{
	struct dsg_descriptor one = {.first_seq = b->first_seq, .epoch = b->epoch, .count = b->count};
	bool full = d->descriptors == DSG_DESCRIPTORS_TOTAL_MAX;

	memcpy(one.digest, b->digest, sizeof(one.digest));
	memcpy(one.signature, b->signature, sizeof(one.signature));
	if (full && item->descriptors.count == 0)
		return; /* it is old from the beginning */
	if (full || item->descriptors.count == DSG_DESCRIPTORS_MAX)
		dsg_descriptors_drop(&item->descriptors);
	else
		d->descriptors++;
	dsg_descriptors_push(&item->descriptors, &one);
}

static bool
run_batch(struct dsg *d, const struct dsg_cmd *cmd)
{
	struct dsg_item *item = find(d, &cmd->stream);
	const struct dsg_batch *b = &cmd->u.batch;

	if (item == NULL || b->first_seq != item->s.described + 1 || b->epoch < item->s.epoch)
		return false;
	item->s.described += b->count;
	item->s.epoch = b->epoch;
	item->changed = true;
	keep(d, item, b);
	return true;
}

static bool
run_epoch(struct dsg *d, const struct dsg_cmd *cmd)
{
	struct dsg_item *item = find(d, &cmd->stream);

	if (item == NULL || cmd->u.epoch < item->s.epoch)
		return false;
	item->changed = item->changed || cmd->u.epoch > item->s.epoch;
	item->s.epoch = cmd->u.epoch;
	return true;
}

static bool
run_processed(struct dsg *d, const struct dsg_cmd *cmd)
{
	struct dsg_item *item = find(d, &cmd->stream);
	uint64_t seq = cmd->u.processed.seq;
	size_t i;

	if (item == NULL || seq > item->s.described)
		return false;
	if ((i = target(&item->s, cmd->u.processed.node)) == item->s.target_count)
		return false;
	if (seq > item->s.processed[i])
		item->s.processed[i] = seq;
	commit(d, item);
	return true;
}

static bool
run_skip(struct dsg *d, const struct dsg_cmd *cmd)
{
	struct dsg_item *item = find(d, &cmd->stream);

	if (item == NULL || cmd->u.skip > item->s.described)
		return false;
	if (cmd->u.skip > item->s.skipped) {
		item->s.skipped = cmd->u.skip;
		item->changed = true;
	}
	commit(d, item);
	return true;
}

static bool
run_close(struct dsg *d, const struct dsg_cmd *cmd)
{
	struct dsg_item *item;
	size_t pos;

	if (!sorted_find(&d->streams, &cmd->stream, dsg_item_compare, &pos))
		return true;
	item = sorted_take(&d->streams, pos);
	d->descriptors -= dsg_descriptors_cut(&item->descriptors, UINT64_MAX);
	item->changed = false;
	/* The entry may open it again, and has room there for batches. */
	MUST(!sorted_find(&d->spare, &cmd->stream, dsg_item_compare, &pos));
	sorted_put(&d->spare, pos, item);
	if (d->watch.closed != NULL)
		d->watch.closed(d->watch.ctx, &cmd->stream);
	return true;
}

static void
run(struct dsg *d, struct buf in)
{
	static bool (*const commands[DSG_CMD_TYPES])(struct dsg * d, const struct dsg_cmd *cmd) = {
	    [DSG_OPEN] = run_open,
	    [DSG_BATCH] = run_batch,
	    [DSG_EPOCH] = run_epoch,
	    [DSG_PROCESSED] = run_processed,
	    [DSG_SKIP] = run_skip,
	    [DSG_CLOSE] = run_close,
	};
	struct dsg_cmd cmd;

	while (buf_left(&in) != 0) {
		MUST(dsg_cmd_get(&in, &cmd) == 0);
		if (commands[cmd.type](d, &cmd))
			d->counters.applied++;
		else
			d->counters.rejected++;
	}
}

/* --- after an entry --- */

static void
settle_stream(struct dsg *d, struct dsg_item *item)
{
	item->coming = 0;
	if (item->descriptors.count == 0) {
		d->slots -= item->descriptors.cap;
		dsg_descriptors_fini(&item->descriptors);
	}
	if (item->changed && d->watch.described != NULL)
		d->watch.described(d->watch.ctx, &item->s);
	item->changed = false;
}

static void
settle(struct dsg *d, struct buf in)
{
	struct dsg_item *item;
	struct dsg_cmd cmd;

	while (buf_left(&in) != 0 && dsg_cmd_get(&in, &cmd) == 0)
		if ((item = find(d, &cmd.stream)) != NULL)
			settle_stream(d, item);
	for (size_t i = 0; i < d->spare.count; i++)
		d->slots -= ((struct dsg_item *)d->spare.at[i])->descriptors.cap;
	sorted_fini(&d->spare, dsg_item_free);
}

int
dsg_apply(struct dsg *d, const uint8_t *data, size_t len)
{
	struct buf in;
	int err;

	buf_view(&in, data, len);
	if ((err = prepare(d, in)) == 0)
		run(d, in);
	else if (err != ERR_NOMEM)
		d->counters.rejected++;
	settle(d, in);
	return err == ERR_NOMEM ? err : 0;
}

/* --- to look at --- */

const struct dsg_stream *
dsg_find(const struct dsg *d, const struct ulid *stream)
{
	const struct dsg_item *item = find(d, stream);

	return item != NULL ? &item->s : NULL;
}

size_t
dsg_count(const struct dsg *d)
{
	return d->streams.count;
}

const struct dsg_stream *
dsg_at(const struct dsg *d, size_t i)
{
	return i < d->streams.count ? &((const struct dsg_item *)d->streams.at[i])->s : NULL;
}

static bool
same(const struct dsg_descriptor *d, const struct dsg_batch *b)
{
	return d->epoch == b->epoch && d->count == b->count &&
	       memcmp(d->digest, b->digest, sizeof(d->digest)) == 0 &&
	       memcmp(d->signature, b->signature, sizeof(d->signature)) == 0;
}

enum dsg_check
dsg_check(const struct dsg *d, const struct dsg_batch *b)
{
	const struct dsg_item *item = find(d, &b->stream);
	const struct dsg_descriptor *one;

	if (item == NULL || b->first_seq > item->s.described)
		return DSG_CHECK_NOT_YET;
	/* Borders of batches are for ever: one that ends beyond is not what was described. */
	if (b->first_seq == 0 || b->count == 0 || b->count - 1 > item->s.described - b->first_seq)
		return DSG_CHECK_OTHER;
	if ((one = dsg_descriptors_find(&item->descriptors, b->first_seq)) != NULL)
		return same(one, b) ? DSG_CHECK_SAME : DSG_CHECK_OTHER;
	if (item->descriptors.count != 0 &&
	    b->first_seq + b->count - 1 >= dsg_descriptors_at(&item->descriptors, 0)->first_seq)
		return DSG_CHECK_OTHER;
	return DSG_CHECK_OLD;
}

const struct dsg_counters *
dsg_counters(const struct dsg *d)
{
	return &d->counters;
}

size_t
dsg_bytes(const struct dsg *d)
{
	return sizeof(*d) + d->streams.count * (sizeof(struct dsg_item) + sizeof(void *)) +
	       d->slots * sizeof(struct dsg_descriptor);
}
