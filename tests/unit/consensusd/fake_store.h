/*
 * fake_store: store.h in memory, in place of PostgreSQL, for tests of the shell.
 *
 * What is durable outlives the store, as a database outlives consensusd.  A test can hold commits, or
 * take the database away and bring it back.  Include it in one file of a test: it defines store_*().
 */
#ifndef TESTS_UNIT_CONSENSUSD_FAKE_STORE_H
#define TESTS_UNIT_CONSENSUSD_FAKE_STORE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/num.h"
#include "common/os/loop.h"
#include "consensusd/store.h"
#include "tests/unit/consensusd/fake_letters.h"
#include "tests/unit/consensusd/fake_raft.h"

enum {
	FAKE_DBS = 3,
	FAKE_STREAMS = 1024,
	FAKE_BATCHES = 4096,
	FAKE_OFFSETS = 256,
	FAKE_PUTS = 16384,
	FAKE_NOTES = 512,
	FAKE_POSITIONS = 16,
	FAKE_CHANGES = 1024,
	FAKE_RULES = 64,
	FAKE_KEYS = 64,
	FAKE_QUESTIONS = 16,
	FAKE_FAILURES = 1024
};

/* A change of the configuration. */
struct fake_change {
	struct store_config row;
	char key[STORE_CONFIG_KEY_SIZE];
	uint8_t *json;
};

struct fake_note {
	struct store_note row; /* its texts lie here */
	char type[64];
	uint8_t bytes[]; /* payload, signature */
};

struct fake_position {
	int kind;
	char subscriber[64];
	uint64_t position;
};

struct fake_put {
	enum {
		FAKE_LETTER,
		FAKE_ROW,
		FAKE_BOX,
		FAKE_MARK,
		FAKE_CLEAR,
		FAKE_NOTE,
		FAKE_NOTES_DROP,
		FAKE_POSITION,
		FAKE_RAFT,
		FAKE_RAFT_DROP,
		FAKE_CHANGE,
		FAKE_CHANGES_CLEAR,
		FAKE_SKIPPED,
		FAKE_IDS_CLEAR,
		FAKE_OTHER
	} kind;
	uint64_t ticket;
	enum store_box box;
	struct batch *batch;
	struct store_stream row;
	uint8_t *meta; /* the row's */
	uint64_t node, seq, from;
	struct fake_note *note;
	struct fake_position position;
	struct fake_raft_put *raft;
	uint8_t group[STORE_GROUP_BYTES];
	struct fake_change *change;
	struct fake_letter *letter;
};

struct fake_db {
	struct store_stream rows[FAKE_STREAMS];
	uint8_t metas[FAKE_STREAMS][1024];
	size_t row_count;
	struct batch *boxes[2][FAKE_BATCHES];
	size_t box_counts[2];
	struct batch *ids[FAKE_BATCHES]; /* that are kept for them */
	size_t ids_count;
	struct store_offset offsets[FAKE_OFFSETS];
	size_t offset_count;
	struct fake_gap {
		struct ulid stream;
		uint64_t node, first, last;
	} gaps[FAKE_OFFSETS];
	size_t gap_count;
	struct fake_note *notes[FAKE_NOTES];
	size_t note_count;
	struct fake_position positions[FAKE_POSITIONS];
	size_t position_count;
	struct fake_group *groups[FAKE_GROUPS];
	size_t group_count;
	struct fake_change *changes[FAKE_CHANGES]; /* the history, the oldest first */
	size_t change_count, clears;
	struct control rules[FAKE_RULES]; /* about streams */
	size_t rule_count;
	struct store_key keys[FAKE_KEYS]; /* of tenants */
	size_t key_count;
	struct fake_letter_list letters, attempts;
	struct fake_failure {
		struct ulid stream;
		uint64_t node, seq;
	} failures[FAKE_FAILURES]; /* of the delivery log */
	size_t failure_count;
	uint64_t letter_position;
	struct store_mesh mesh; /* but for its texts */
	char mesh_status[32];
	uint64_t incarnation, nodes_put;
	bool away, hold;
	int64_t lag_ms;    /* what the store says of that */
	bool refuse;       /* there is no room for what replicas put */
	bool refuse_inbox; /* nor for batches of the inbox */
	bool rolled_back;  /* what is loaded is older than what was promised */
	unsigned reads, commits, raft_puts;
	bool hold_ids;       /* they can't be read for the time being */
	bool hold_messages;  /* what became of one is answered when fake_messages_go() is called */
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
	struct fake_question {
		struct ulid stream, message_id;
		uint64_t seq;
		store_message_fn *fn;
		void *arg;
	} questions[FAKE_QUESTIONS];
	size_t question_count;
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

#include "tests/unit/consensusd/fake_store_box.h"
#include "tests/unit/consensusd/fake_store_ids.h"

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

/* At a target the inbox goes on behind it. */
static void
fake_apply_skipped(struct fake_db *d, const struct fake_put *p)
{
	struct store_stream *r = fake_row(d, &p->row.stream_id);

	if (p->node == 0) {
		fake_apply_mark(d, p);
		return;
	}
	MUST(d->gap_count < FAKE_OFFSETS);
	d->gaps[d->gap_count++] = (struct fake_gap){p->row.stream_id, p->node, p->from, p->seq};
	if (p->from == max_u64(r->inbox_last_seq, fake_offset(d, &p->row.stream_id)) + 1)
		r->inbox_last_seq = p->seq;
}

static void
fake_apply_note(struct fake_db *d, struct fake_note *n)
{
	for (size_t i = 0; i < d->note_count; i++) {
		struct fake_note *old = d->notes[i];

		MUST(old->row.position != n->row.position);
		if (old->row.node_id == n->row.node_id && strcmp(old->type, n->type) == 0) {
			MUST(old->row.version <= n->row.version && old->row.position < n->row.position);
			free(old);
			d->notes[i] = n;
			return;
		}
	}
	MUST(d->note_count < FAKE_NOTES);
	d->notes[d->note_count++] = n;
}

static void
fake_apply_notes_drop(struct fake_db *d, uint64_t node)
{
	size_t n = 0;

	for (size_t i = 0; i < d->note_count; i++) {
		if (d->notes[i]->row.node_id == node)
			free(d->notes[i]);
		else
			d->notes[n++] = d->notes[i];
	}
	d->note_count = n;
}

static void
fake_apply_position(struct fake_db *d, const struct fake_position *p)
{
	for (size_t i = 0; i < d->position_count; i++) {
		struct fake_position *x = &d->positions[i];

		if (x->kind == p->kind && strcmp(x->subscriber, p->subscriber) == 0) {
			/* "" is the node itself: its position may begin anew with another log. */
			MUST(x->position <= p->position || p->subscriber[0] == '\0');
			x->position = p->position;
			return;
		}
	}
	MUST(d->position_count < FAKE_POSITIONS);
	d->positions[d->position_count++] = *p;
}

static void
fake_apply_raft(struct fake_db *d, const struct fake_raft_put *p)
{
	struct fake_group *g = fake_group_find(d->groups, d->group_count, p->row.group);

	if (g == NULL) {
		MUST(d->group_count < FAKE_GROUPS);
		g = d->groups[d->group_count++] = calloc(1, sizeof(*g));
		MUST(g != NULL);
	}
	fake_group_apply(g, p);
}

static void
fake_apply_raft_drop(struct fake_db *d, const uint8_t group[STORE_GROUP_BYTES])
{
	for (size_t i = 0; i < d->group_count; i++) {
		if (memcmp(d->groups[i]->row.group, group, STORE_GROUP_BYTES) != 0)
			continue;
		fake_group_clear(d->groups[i]);
		free(d->groups[i]);
		d->groups[i] = d->groups[--d->group_count];
		return;
	}
}

/* One that is there already changes nothing. */
static void
fake_apply_change(struct fake_db *d, struct fake_change *c)
{
	for (size_t i = 0; i < d->change_count; i++) {
		const struct store_config *x = &d->changes[i]->row;

		if (x->index == c->row.index && x->unix_ms == c->row.unix_ms) {
			free(c->json);
			free(c);
			return;
		}
	}
	MUST(d->change_count < FAKE_CHANGES);
	d->changes[d->change_count++] = c;
}

static struct batch *
fake_inbox_find(struct fake_db *d, const struct ulid *stream, uint64_t seq)
{
	for (size_t i = 0; i < d->box_counts[STORE_INBOX]; i++) {
		struct batch *b = d->boxes[STORE_INBOX][i];

		if (ulid_compare(&b->stream_id, stream) == 0 && b->first_seq <= seq &&
		    batch_last_seq(b) >= seq)
			return b;
	}
	return NULL;
}

#include "tests/unit/consensusd/fake_failures.h"

static void
fake_apply(struct fake_db *d, struct fake_put *p)
{
	uint64_t outbox, inbox;
	const struct store_stream *old;

	switch (p->kind) {
	case FAKE_LETTER:
		fake_apply_letter(d, p->letter);
		break;
	case FAKE_ROW:
		old = fake_row(d, &p->row.stream_id);
		outbox = old != NULL ? old->outbox_last_seq : 0;
		inbox = old != NULL ? old->inbox_last_seq : 0;
		p->row.outbox_last_seq = outbox;
		/* What lies before is never stored. */
		if (p->row.first_seq > 0 && inbox < p->row.first_seq - 1)
			inbox = p->row.first_seq - 1;
		p->row.inbox_last_seq = inbox;
		fake_apply_row(d, &p->row);
		break;
	case FAKE_BOX:
		fake_apply_box(d, p->box, p->batch);
		break;
	case FAKE_MARK:
		fake_apply_mark(d, p);
		break;
	case FAKE_SKIPPED:
		fake_apply_skipped(d, p);
		break;
	case FAKE_CLEAR:
		fake_apply_clear(d, p);
		break;
	case FAKE_IDS_CLEAR:
		fake_ids_clear(d, &p->row.stream_id, p->seq);
		break;
	case FAKE_NOTE:
		fake_apply_note(d, p->note);
		break;
	case FAKE_NOTES_DROP:
		fake_apply_notes_drop(d, p->node);
		break;
	case FAKE_POSITION:
		fake_apply_position(d, &p->position);
		break;
	case FAKE_RAFT:
		fake_apply_raft(d, p->raft);
		break;
	case FAKE_RAFT_DROP:
		fake_apply_raft_drop(d, p->group);
		break;
	case FAKE_CHANGE:
		fake_apply_change(d, p->change);
		break;
	case FAKE_CHANGES_CLEAR:
		d->clears++;
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
		free(s->puts[i].meta);
		fake_raft_put_free(s->puts[i].raft);
	}
	s->put_count = 0;
	s->ticket++;
	s->db->commits++;
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
	for (size_t i = 0; i < d->rule_count && s->cb.on_load_rule != NULL; i++)
		s->cb.on_load_rule(s->cb.ctx, &d->rules[i]);
	for (size_t i = 0; i < d->key_count; i++)
		s->cb.on_load_key(s->cb.ctx, &d->keys[i]);
	for (size_t i = 0; i < d->row_count; i++)
		d->rows[i].has_ids = fake_has_ids(d, &d->rows[i].stream_id);
	for (size_t i = 0; i < d->row_count; i++)
		s->cb.on_load_stream(s->cb.ctx, &d->rows[i]);
	for (size_t i = 0; i < d->offset_count; i++)
		s->cb.on_load_offset(s->cb.ctx, &d->offsets[i]);
	for (size_t i = 0; i < d->group_count; i++)
		MUST(fake_group_load(d->groups[i], &s->cb) == 0);
	for (size_t i = 0; i < d->note_count; i++)
		s->cb.on_load_note(s->cb.ctx, &d->notes[i]->row);
	for (size_t i = 0; i < d->position_count; i++) {
		const struct fake_position *p = &d->positions[i];

		s->cb.on_load_position(
		    s->cb.ctx, &(struct store_position){(uint8_t)p->kind, p->subscriber, p->position});
	}
	if (s->cb.on_load_letters != NULL)
		s->cb.on_load_letters(s->cb.ctx, d->letters.count);
	for (size_t i = 0; i < d->attempts.count && s->cb.on_load_attempt != NULL; i++)
		s->cb.on_load_attempt(s->cb.ctx, &d->attempts.all[i]->row);
	fake_load_failures(s);
	if (d->rolled_back)
		s->cb.on_rolled_back(s->cb.ctx, "the test went back in time");
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
	for (size_t i = 0; i < s->put_count; i++) {
		batch_unref(s->puts[i].batch);
		free(s->puts[i].meta);
		free(s->puts[i].note);
		fake_raft_put_free(s->puts[i].raft);
		if (s->puts[i].change != NULL)
			free(s->puts[i].change->json);
		free(s->puts[i].change);
		fake_letter_free(s->puts[i].letter);
	}
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

bool
store_full_for(const struct store *s, uint8_t class)
{
	return class == FRAME_CLASS_CLIENT ? store_full(s) : !s->ready;
}

int64_t
store_lag_ms(const struct store *s)
{
	return s->db->lag_ms;
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
	struct fake_put p = {.kind = FAKE_ROW, .row = *row, .meta = malloc(row->meta_len)};
	int64_t ticket;

	MUST(p.meta != NULL);
	memcpy(p.meta, row->meta, row->meta_len);
	p.row.meta = p.meta;
	ticket = fake_put(s, p);
	if (ticket <= 0)
		free(p.meta);
	return ticket;
}

int64_t
store_put_outbox(struct store *s, uint8_t class, struct batch *b)
{
	(void)class;
	return fake_put(s, (struct fake_put){.kind = FAKE_BOX, .box = STORE_OUTBOX, .batch = batch_ref(b)});
}

int64_t
store_put_inbox(struct store *s, uint8_t class, struct batch *b, uint64_t src_node)
{
	(void)class;
	(void)src_node;
	if (s->db->refuse_inbox)
		return ERR_FULL;
	return fake_put(s, (struct fake_put){.kind = FAKE_BOX, .box = STORE_INBOX, .batch = batch_ref(b)});
}

int64_t
store_put_processed(struct store *s, uint8_t class, const struct ulid *stream, uint64_t src_node,
    uint64_t dst_node, uint64_t first_seq, uint64_t last_seq)
{
	(void)class;
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
store_put_outbox_clear(struct store *s, uint8_t class, const struct ulid *stream, uint64_t upto_seq)
{
	(void)class;
	return fake_clear(s, STORE_OUTBOX, stream, upto_seq);
}

int64_t
store_put_inbox_clear(struct store *s, uint8_t class, const struct ulid *stream, uint64_t upto_seq)
{
	(void)class;
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

int64_t
store_put_mesh(struct store *s, const struct store_mesh *row)
{
	s->db->mesh = *row;
	snprintf(s->db->mesh_status, sizeof(s->db->mesh_status), "%s", row->status);
	return fake_put(s, (struct fake_put){.kind = FAKE_OTHER});
}

#include "tests/unit/consensusd/fake_store_config.h"

int64_t
store_put_raft(struct store *s, const struct store_raft *row)
{
	if (s->db->refuse)
		return ERR_FULL;
	s->db->raft_puts++;
	return fake_put(s, (struct fake_put){.kind = FAKE_RAFT, .raft = fake_raft_put_new(row)});
}

int
store_renew_witness(struct store *s)
{
	(void)s;
	return 0;
}

int64_t
store_put_raft_drop(struct store *s, const uint8_t group[STORE_GROUP_BYTES])
{
	struct fake_put p = {.kind = FAKE_RAFT_DROP};

	memcpy(p.group, group, sizeof(p.group));
	return fake_put(s, p);
}

int64_t
store_put_note(struct store *s, const struct store_note *n)
{
	struct fake_note *note = calloc(1, sizeof(*note) + n->payload_len + n->signature_len);
	int64_t ticket;

	MUST(note != NULL && strlen(n->type) < sizeof(note->type));
	note->row = *n;
	memcpy(note->type, n->type, strlen(n->type));
	memcpy(note->bytes, n->payload, n->payload_len);
	memcpy(note->bytes + n->payload_len, n->signature, n->signature_len);
	note->row.type = note->type;
	note->row.payload = note->bytes;
	note->row.signature = note->bytes + n->payload_len;
	ticket = fake_put(s, (struct fake_put){.kind = FAKE_NOTE, .note = note});
	if (ticket <= 0)
		free(note);
	return ticket;
}

int64_t
store_put_notes_drop(struct store *s, uint64_t node_id)
{
	return fake_put(s, (struct fake_put){.kind = FAKE_NOTES_DROP, .node = node_id});
}

int64_t
store_put_position(struct store *s, const struct store_position *row)
{
	struct fake_put p = {
	    .kind = FAKE_POSITION, .position = {.kind = row->kind, .position = row->position}};

	MUST(strlen(row->subscriber) < sizeof(p.position.subscriber));
	memcpy(p.position.subscriber, row->subscriber, strlen(row->subscriber));
	return fake_put(s, p);
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
		fake_ids_clear(&fake_dbs[i], NULL, UINT64_MAX);
		for (size_t k = 0; k < fake_dbs[i].note_count; k++)
			free(fake_dbs[i].notes[k]);
		for (size_t k = 0; k < fake_dbs[i].group_count; k++) {
			fake_group_clear(fake_dbs[i].groups[k]);
			free(fake_dbs[i].groups[k]);
		}
		while (fake_dbs[i].letters.count > 0)
			fake_letter_del(&fake_dbs[i].letters, 0);
		while (fake_dbs[i].attempts.count > 0)
			fake_letter_del(&fake_dbs[i].attempts, 0);
		for (size_t k = 0; k < fake_dbs[i].change_count; k++) {
			free(fake_dbs[i].changes[k]->json);
			free(fake_dbs[i].changes[k]);
		}
		memset(&fake_dbs[i], 0, sizeof(fake_dbs[i]));
	}
}

#include "tests/unit/consensusd/fake_store_letters.h"
#include "tests/unit/consensusd/fake_store_message.h"

#endif
