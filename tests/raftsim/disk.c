#include "tests/raftsim/disk.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/must.h"
#include "consensusd/core/raft.h"
#include "consensusd/core/raft_entry.h"
#include "tests/sim/queue.h"

void
disk_snapshot_free(struct disk_snapshot *s)
{
	free(s->config);
	free(s->data);
	*s = (struct disk_snapshot){0};
}

static void
write_free(struct disk_write *w)
{
	for (size_t i = 0; i < w->count; i++)
		raft_entry_unref(w->entries[i]);
	free(w->entries);
	free(w->base_config);
	disk_snapshot_free(&w->snapshot);
	*w = (struct disk_write){0};
}

void
disk_init(struct disk *d)
{
	*d = (struct disk){0};
}

static void
cut(struct disk *d, uint64_t from)
{
	while (d->count != 0 && d->base + d->count >= from)
		raft_entry_unref(d->entries[--d->count]);
}

void
disk_fini(struct disk *d)
{
	cut(d, 0);
	for (size_t i = 0; i < d->write_count; i++)
		write_free(&d->writes[i]);
	free(d->entries);
	free(d->base_config);
	disk_snapshot_free(&d->snapshot);
	*d = (struct disk){0};
}

/* --- writing --- */

static struct disk_write *
next(struct disk *d)
{
	MUST(d->write_count < DISK_WRITES_MAX);
	d->writes[d->write_count] = (struct disk_write){0};
	return &d->writes[d->write_count++];
}

void
disk_persist(struct disk *d, struct raft *r, const struct raft_persist *p, struct disk_snapshot *snapshot)
{
	struct disk_write *w = next(d);

	w->mark = p->mark;
	w->term = p->term;
	w->vote = p->vote;
	w->commit = p->commit;
	w->cut = p->cut;
	w->first = p->first;
	if (p->restore) {
		MUST(snapshot->index == p->snap_index && snapshot->term == p->snap_term);
		w->restore = true;
		w->snapshot = *snapshot;
		*snapshot = (struct disk_snapshot){0};
	}
	if (p->first > p->last)
		return;
	w->entries = sim_alloc(p->last - p->first + 1, sizeof(struct raft_entry *));
	for (uint64_t i = p->first; i <= p->last; i++)
		w->entries[w->count++] = raft_entry_ref(raft_entry_at(r, i));
}

void
disk_snapshot(struct disk *d, struct disk_snapshot *snapshot, uint64_t keep, uint64_t keep_term,
    uint8_t *keep_config, size_t keep_config_len)
{
	struct disk_write *w = next(d);

	w->snapshot = *snapshot;
	*snapshot = (struct disk_snapshot){0};
	w->keep = keep;
	w->keep_term = keep_term;
	w->base_config = keep_config;
	w->base_config_len = keep_config_len;
}

/* --- done --- */

static void
push(struct disk *d, struct raft_entry *e)
{
	MUST(e->index == d->base + d->count + 1);
	if (d->count == d->cap) {
		d->cap = d->cap != 0 ? 2 * d->cap : 64;
		d->entries = sim_realloc(d->entries, d->cap, sizeof(struct raft_entry *));
	}
	d->entries[d->count++] = raft_entry_ref(e);
}

static void
set_base(struct disk *d, uint64_t index, uint64_t term, const uint8_t *config, size_t len)
{
	size_t gone = index - d->base < d->count ? index - d->base : d->count;

	for (size_t i = 0; i < gone; i++)
		raft_entry_unref(d->entries[i]);
	if (gone != 0)
		memmove(d->entries, d->entries + gone, (d->count - gone) * sizeof(struct raft_entry *));
	d->count -= gone;
	d->base = index;
	d->base_term = term;
	free(d->base_config);
	d->base_config = sim_dup(config, len);
	d->base_config_len = len;
}

static void
take_snapshot(struct disk *d, struct disk_write *w)
{
	disk_snapshot_free(&d->snapshot);
	d->snapshot = w->snapshot;
	w->snapshot = (struct disk_snapshot){0};
}

static void
do_persist(struct disk *d, struct disk_write *w)
{
	d->term = w->term;
	d->vote = w->vote;
	d->commit = w->commit;
	if (w->restore) {
		cut(d, 0);
		take_snapshot(d, w);
		d->base = d->snapshot.index; /* whatever was below */
		set_base(d, d->snapshot.index, d->snapshot.term, d->snapshot.config, d->snapshot.config_len);
	}
	cut(d, w->cut);
	for (size_t i = 0; i < w->count; i++)
		push(d, w->entries[i]);
}

static void
do_first(struct disk *d)
{
	struct disk_write *w = &d->writes[0];

	if (w->mark != 0) {
		do_persist(d, w);
	} else if (w->snapshot.index > d->snapshot.index) {
		/* Not if another one was restored meanwhile. */
		take_snapshot(d, w);
		if (w->keep > d->base)
			set_base(d, w->keep, w->keep_term, w->base_config, w->base_config_len);
	}
	write_free(w);
	d->write_count--;
	memmove(&d->writes[0], &d->writes[1], d->write_count * sizeof(d->writes[0]));
}

uint64_t
disk_sync(struct disk *d, uint64_t *keep)
{
	uint64_t mark;

	MUST(d->write_count != 0);
	mark = d->writes[0].mark;
	*keep = d->writes[0].keep;
	do_first(d);
	return mark;
}

void
disk_crash(struct disk *d, size_t done)
{
	for (; done != 0 && d->write_count != 0; done--)
		do_first(d);
	while (d->write_count != 0)
		write_free(&d->writes[--d->write_count]);
}

bool
disk_has(const struct disk *d, uint64_t index, uint64_t term)
{
	if (index <= d->base)
		return index < d->base || term == d->base_term;
	return index - d->base <= d->count && d->entries[index - d->base - 1]->term == term;
}

/* --- configurations, and a replica that begins --- */

uint8_t *
disk_config(const struct raft_config *c, size_t *len)
{
	struct buf b;
	uint8_t *out;

	buf_init(&b, RAFT_CONFIG_MAX_BYTES);
	MUST(raft_config_encode(c, &b) == 0);
	*len = buf_left(&b);
	out = sim_dup(buf_head(&b), *len);
	buf_fini(&b);
	return out;
}

uint8_t *
disk_config_at(const struct raft *r, uint64_t index, size_t *len)
{
	struct raft_config *c;
	uint8_t *out;

	if (raft_config_at(r, index, &c) != 0)
		return NULL;
	out = disk_config(c, len);
	raft_config_free(c);
	return out;
}

struct raft_state
disk_state(const struct disk *d, struct raft_config **base)
{
	*base = NULL;
	if (d->base_config != NULL)
		MUST(raft_config_decode(d->base_config, d->base_config_len, base) == 0);
	return (struct raft_state){
	    .term = d->term,
	    .vote = d->vote,
	    .commit = d->commit,
	    .snap_index = d->base,
	    .snap_term = d->base_term,
	    .snap_config = *base,
	    .entries = d->entries,
	    .entry_count = d->count,
	    .applied = d->snapshot.index,
	};
}

/* --- snapshots in pieces --- */

bool
disk_snapshot_keep(struct disk_snapshot *in, const struct raft_chunk *c)
{
	if (c->offset == 0)
		disk_snapshot_free(in);
	if (c->offset != in->len)
		return false;
	in->index = c->index;
	in->term = c->term;
	if (c->offset == 0) {
		in->config = sim_dup(c->config, c->config_len);
		in->config_len = c->config_len;
	}
	in->data = sim_realloc(in->data, c->offset + c->len + 1, 1);
	memcpy(in->data + c->offset, c->data, c->len);
	in->len += c->len;
	return true;
}

bool
disk_snapshot_piece(
    const struct disk_snapshot *s, const struct raft_chunk_wanted *want, struct raft_piece *out)
{
	*out = (struct raft_piece){
	    .index = s->index,
	    .term = s->term,
	    .config = s->config,
	    .config_len = s->config_len,
	    .size = s->len,
	};
	if (s->index == 0 || (want->index != 0 && want->index != s->index) || want->offset > s->len)
		return false;
	out->data = s->data + want->offset;
	out->len = s->len - want->offset < want->max ? s->len - want->offset : want->max;
	return true;
}
