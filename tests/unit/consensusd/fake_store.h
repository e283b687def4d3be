/*
 * fake_store: store.h in memory, in place of PostgreSQL, for tests of the shell.
 *
 * What is durable outlives the store, as a database outlives consensusd.  A test can hold commits, or
 * take the database away and bring it back.  Include it in one file of a test: it defines store_*().
 */
#ifndef TESTS_UNIT_CONSENSUSD_FAKE_STORE_H
#define TESTS_UNIT_CONSENSUSD_FAKE_STORE_H

#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/loop.h"
#include "consensusd/store.h"

enum { FAKE_DBS = 3, FAKE_STREAMS = 64, FAKE_BATCHES = 4096, FAKE_OFFSETS = 256, FAKE_PUTS = 16384 };

struct fake_put {
	enum { FAKE_ROW, FAKE_BOX, FAKE_MARK, FAKE_CLEAR, FAKE_OTHER } kind;
	uint64_t ticket;
	enum store_box box;
	struct batch *batch;
	struct store_stream row;
	uint64_t node, seq;
};

struct fake_db {
	struct store_stream rows[FAKE_STREAMS];
	uint8_t metas[FAKE_STREAMS][1024];
	size_t row_count;
	struct batch *boxes[2][FAKE_BATCHES];
	size_t box_counts[2];
	struct store_offset offsets[FAKE_OFFSETS];
	size_t offset_count;
	uint64_t incarnation, nodes_put;
	bool away, hold;
	unsigned reads;
	struct store *store; /* of the process that runs */
};

extern struct fake_db fake_dbs[FAKE_DBS];

struct store {
	struct fake_db *db;
	struct store_callbacks cb;
	struct loop *loop;
	struct loop_defer turn, later;
	struct fake_put *puts;
	size_t put_count;
	uint64_t ticket, self;
	bool ready, loaded;
	struct fake_read {
		enum store_box box;
		struct ulid stream;
		uint64_t from;
		size_t max;
		store_batch_fn *fn;
		void *arg;
	} reads[STORE_READS_MAX];
	size_t read_count;
};

struct fake_db fake_dbs[FAKE_DBS];

static struct store_stream *
fake_row(struct fake_db *d, const struct ulid *id)
{
	for (size_t i = 0; i < d->row_count; i++) {
		if (ulid_compare(&d->rows[i].stream_id, id) == 0)
			return &d->rows[i];
	}
	return NULL;
}

static void
fake_apply_row(struct fake_db *d, const struct store_stream *row)
{
	struct store_stream *r = fake_row(d, &row->stream_id);

	if (r == NULL) {
		MUST(d->row_count < FAKE_STREAMS);
		r = &d->rows[d->row_count++];
	}
	*r = *row;
	memcpy(d->metas[r - d->rows], row->meta, row->meta_len);
	r->meta = d->metas[r - d->rows];
}

static void
fake_apply_box(struct fake_db *d, enum store_box box, struct batch *b)
{
	struct store_stream *r = fake_row(d, &b->stream_id);
	uint64_t *last = box == STORE_OUTBOX ? &r->outbox_last_seq : &r->inbox_last_seq;

	MUST(b->first_seq == *last + 1);
	*last = batch_last_seq(b);
	MUST(d->box_counts[box] < FAKE_BATCHES);
	d->boxes[box][d->box_counts[box]++] = batch_ref(b);
}

static void
fake_apply_mark(struct fake_db *d, const struct fake_put *p)
{
	struct store_offset *o;

	for (size_t i = 0; i < d->offset_count; i++) {
		o = &d->offsets[i];
		if (o->node_id == p->node && ulid_compare(&o->stream_id, &p->row.stream_id) == 0) {
			MUST(p->seq > o->committed_seq);
			o->committed_seq = p->seq;
			return;
		}
	}
	MUST(d->offset_count < FAKE_OFFSETS);
	d->offsets[d->offset_count++] = (struct store_offset){p->row.stream_id, p->node, p->seq};
}

static void
fake_apply_clear(struct fake_db *d, const struct fake_put *p)
{
	size_t n = 0;

	for (size_t i = 0; i < d->box_counts[p->box]; i++) {
		struct batch *b = d->boxes[p->box][i];

		if (ulid_compare(&b->stream_id, &p->row.stream_id) == 0 && batch_last_seq(b) <= p->seq)
			batch_unref(b);
		else
			d->boxes[p->box][n++] = b;
	}
	d->box_counts[p->box] = n;
}

static void
fake_apply(struct fake_db *d, struct fake_put *p)
{
	uint64_t outbox, inbox;
	const struct store_stream *old;

	switch (p->kind) {
	case FAKE_ROW:
		old = fake_row(d, &p->row.stream_id);
		outbox = old != NULL ? old->outbox_last_seq : 0;
		inbox = old != NULL ? old->inbox_last_seq : 0;
		p->row.outbox_last_seq = outbox;
		p->row.inbox_last_seq = inbox;
		fake_apply_row(d, &p->row);
		break;
	case FAKE_BOX:
		fake_apply_box(d, p->box, p->batch);
		break;
	case FAKE_MARK:
		fake_apply_mark(d, p);
		break;
	case FAKE_CLEAR:
		fake_apply_clear(d, p);
		break;
	case FAKE_OTHER:
		break;
	}
}

static void
fake_commit(struct store *s)
{
	uint64_t ticket = s->ticket;

	if (s->put_count == 0)
		return;
	for (size_t i = 0; i < s->put_count; i++) {
		fake_apply(s->db, &s->puts[i]);
		batch_unref(s->puts[i].batch);
	}
	s->put_count = 0;
	s->ticket++;
	s->cb.on_durable(s->cb.ctx, ticket);
}

static void
fake_read_one(struct store *s)
{
	struct fake_read r = s->reads[0];
	size_t bytes = 0;

	memmove(s->reads, s->reads + 1, --s->read_count * sizeof(s->reads[0]));
	s->db->reads++;
	for (size_t i = 0; s->ready && i < s->db->box_counts[r.box]; i++) {
		struct batch *b = s->db->boxes[r.box][i];

		if (ulid_compare(&b->stream_id, &r.stream) != 0 || batch_last_seq(b) < r.from)
			continue;
		if (bytes > 0 && bytes + b->body_len > r.max)
			break;
		bytes += b->body_len;
		r.fn(r.arg, batch_ref(b), 0);
	}
	r.fn(r.arg, NULL, s->ready ? 0 : ERR_UNAVAIL);
}

static void
fake_load(struct store *s)
{
	struct fake_db *d = s->db;

	s->loaded = true;
	for (size_t i = 0; i < d->row_count; i++)
		s->cb.on_load_stream(s->cb.ctx, &d->rows[i]);
	for (size_t i = 0; i < d->offset_count; i++)
		s->cb.on_load_offset(s->cb.ctx, &d->offsets[i]);
}

static void
fake_later(void *arg)
{
	struct store *s = arg;

	loop_defer_add(s->loop, &s->turn);
}

/* What happens between turns: the database answers. */
static void
fake_turn(void *arg)
{
	struct store *s = arg;

	if (s->db->away && s->ready) {
		s->ready = false;
		s->cb.on_lost(s->cb.ctx, "the test took it away");
	}
	if (!s->db->away && !s->ready) {
		if (!s->loaded)
			fake_load(s);
		s->ready = true;
		s->cb.on_ready(s->cb.ctx);
	}
	while (s->read_count > 0)
		fake_read_one(s);
	if (s->ready && !s->db->hold)
		fake_commit(s);
}

/* The test changed away or hold. */
static inline void
fake_changed(struct fake_db *d)
{
	loop_defer_add(d->store->loop, &d->store->turn);
}

struct store *
store_new(struct loop *l, const struct store_conf *conf, const struct store_callbacks *cb)
{
	struct store *s = calloc(1, sizeof(*s));

	MUST(s != NULL);
	s->puts = calloc(FAKE_PUTS, sizeof(*s->puts));
	s->db = &fake_dbs[atoi(conf->conninfo)];
	s->db->store = s;
	s->cb = *cb;
	s->loop = l;
	s->ticket = 1;
	s->self = conf->node_id;
	s->turn = (struct loop_defer){.fn = fake_turn, .arg = s};
	s->later = (struct loop_defer){.fn = fake_later, .arg = s};
	loop_defer_add(l, &s->turn);
	return s;
}

void
store_free(struct store *s)
{
	if (s == NULL)
		return;
	loop_defer_del(&s->turn);
	loop_defer_del(&s->later);
	for (size_t i = 0; i < s->put_count; i++)
		batch_unref(s->puts[i].batch);
	s->db->store = NULL;
	free(s->puts);
	free(s);
}

bool
store_ready(const struct store *s)
{
	return s->ready;
}

bool
store_full(const struct store *s)
{
	return !s->ready || s->put_count > FAKE_PUTS / 2;
}

const char *
store_error(const struct store *s)
{
	return s->ready ? "" : "away";
}

static int64_t
fake_put(struct store *s, struct fake_put p)
{
	if (s->put_count == FAKE_PUTS)
		return ERR_FULL;
	p.ticket = s->ticket;
	s->puts[s->put_count++] = p;
	/* A turn later, so that what comes in meanwhile joins. */
	loop_defer_add(s->loop, &s->later);
	return (int64_t)s->ticket;
}

int64_t
store_put_stream(struct store *s, const struct store_stream *row)
{
	return fake_put(s, (struct fake_put){.kind = FAKE_ROW, .row = *row});
}

int64_t
store_put_outbox(struct store *s, struct batch *b)
{
	return fake_put(s, (struct fake_put){.kind = FAKE_BOX, .box = STORE_OUTBOX, .batch = batch_ref(b)});
}

int64_t
store_put_inbox(struct store *s, struct batch *b, uint64_t src_node)
{
	(void)src_node;
	return fake_put(s, (struct fake_put){.kind = FAKE_BOX, .box = STORE_INBOX, .batch = batch_ref(b)});
}

int64_t
store_put_processed(struct store *s, const struct ulid *stream, uint64_t src_node, uint64_t dst_node,
    uint64_t first_seq, uint64_t last_seq)
{
	(void)src_node;
	MUST(first_seq > 0 && first_seq <= last_seq);
	return fake_put(
	    s, (struct fake_put){
		   .kind = FAKE_MARK, .row.stream_id = *stream, .node = dst_node, .seq = last_seq});
}

static int64_t
fake_clear(struct store *s, enum store_box box, const struct ulid *stream, uint64_t upto)
{
	return fake_put(
	    s, (struct fake_put){.kind = FAKE_CLEAR, .box = box, .row.stream_id = *stream, .seq = upto});
}

int64_t
store_put_outbox_clear(struct store *s, const struct ulid *stream, uint64_t upto_seq)
{
	return fake_clear(s, STORE_OUTBOX, stream, upto_seq);
}

int64_t
store_put_inbox_clear(struct store *s, const struct ulid *stream, uint64_t upto_seq)
{
	return fake_clear(s, STORE_INBOX, stream, upto_seq);
}

int64_t
store_put_node(struct store *s, const struct store_node *row)
{
	(void)row;
	s->db->nodes_put++;
	return fake_put(s, (struct fake_put){.kind = FAKE_OTHER});
}

int64_t
store_put_topology(struct store *s, const struct store_link *links, size_t count)
{
	(void)links;
	(void)count;
	return fake_put(s, (struct fake_put){.kind = FAKE_OTHER});
}

uint64_t
store_next_incarnation(struct store *s)
{
	return ++s->db->incarnation;
}

int
store_read(struct store *s, enum store_box box, const struct ulid *stream, uint64_t from_seq,
    size_t max_bytes, store_batch_fn *fn, void *arg)
{
	if (!s->ready)
		return ERR_UNAVAIL;
	if (s->read_count == STORE_READS_MAX)
		return ERR_FULL;
	s->reads[s->read_count++] = (struct fake_read){box, *stream, from_seq, max_bytes, fn, arg};
	loop_defer_add(s->loop, &s->turn);
	return 0;
}

static void
fake_dbs_fini(void)
{
	for (size_t i = 0; i < FAKE_DBS; i++) {
		for (int box = 0; box < 2; box++) {
			for (size_t k = 0; k < fake_dbs[i].box_counts[box]; k++)
				batch_unref(fake_dbs[i].boxes[box][k]);
		}
		memset(&fake_dbs[i], 0, sizeof(fake_dbs[i]));
	}
}

#endif
