/*
 * store_pg_put: the puts of store.h: each goes into the flush that is being formed.
 */
#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/os/clock.h"
#include "consensusd/core/qos.h"
#include "consensusd/store_pg.h"

/* The first flush, of those that may take it, that has room for a put of this class: what is more important
 * goes into an earlier one.  Not before the last put of its class, so that those stay in order. */
static struct store_flush *
flush_find(const struct store *s, uint8_t class, size_t max_bytes)
{
	struct store_flush *f;

	TAILQ_FOREACH (f, &s->flushes, next) {
		/* What was sent once must stay as it is: it may be in doubt. */
		if (f->number > s->last_sent && f->number >= s->put_at[class] &&
		    !store_flush_is_full(f, class, max_bytes))
			return f;
	}
	return NULL;
}

static struct store_flush *
flush_add(struct store *s)
{
	struct store_flush *f = store_flush_new(s->last_number + 1, s->seed);

	if (f == NULL)
		return NULL;
	s->last_number++;
	f->opened = clock_mono();
	s->bytes += f->bytes;
	TAILQ_INSERT_TAIL(&s->flushes, f, next);
	return f;
}

/* How much a flush takes of a class. */
static size_t
flush_max(struct store *s, uint8_t class)
{
	struct mono now;

	if (class == FRAME_CLASS_CONTROL)
		return STORE_FLUSH_MAX_BYTES;
	now = clock_mono();
	if (class < FRAME_CLASS_CLIENT)
		s->shared_until = mono_add_ms(now, STORE_SHARED_MS);
	else if (mono_before(now, s->shared_until))
		return STORE_FLUSH_SHARED_BYTES;
	return STORE_FLUSH_MAX_BYTES;
}

/* The flush that takes a put of so many bytes. */
static int
flush_open(struct store *s, uint8_t class, size_t bytes, struct store_flush **out)
{
	struct store_flush *f;

	if (s->state == STORE_DEAD)
		return ERR_UNAVAIL;
	if (bytes > s->memory_max || s->bytes > s->memory_max - bytes)
		return ERR_FULL;
	f = flush_find(s, class, flush_max(s, class));
	if (f == NULL && (f = flush_add(s)) == NULL)
		return ERR_NOMEM;
	s->put_at[class] = f->number;
	s->put = (struct store_put){.class = class, .bytes = f->bytes, .rows = f->rows};
	*out = f;
	return 0;
}

/* Books what the put that flush_open() began has added, and its ticket. */
static int64_t
flush_took(struct store *s, struct store_flush *f, int err)
{
	size_t bytes = f->bytes - s->put.bytes;

	f->class_bytes[s->put.class] += bytes;
	f->class_rows[s->put.class] += f->rows - s->put.rows;
	store_kick(s, bytes);
	return err != 0 ? err : (int64_t)f->number;
}

int64_t
store_put_stream(struct store *s, const struct store_stream *row)
{
	struct store_flush *f;
	int err = flush_open(s, qos_class(row->qos), sizeof(*row) + row->meta_len, &f);

	if (err != 0)
		return err;
	return flush_took(s, f, store_flush_add_stream(f, row));
}

static int64_t
put_batch(struct store *s, uint8_t class, enum store_box box, struct batch *b, uint64_t src_node)
{
	struct store_flush *f;
	int err = flush_open(s, class, sizeof(*b) + b->body_len, &f);

	if (err != 0)
		return err;
	s->since_vacuum[box] += b->body_len;
	if (b->by_id)
		s->ids_since_vacuum += STORE_IDS_ROW_BYTES + (size_t)b->count * ULID_BYTES;
	return flush_took(s, f, store_flush_add_batch(f, box, b, src_node));
}

int64_t
store_put_outbox(struct store *s, uint8_t class, struct batch *b)
{
	return put_batch(s, class, STORE_OUTBOX, b, 0);
}

int64_t
store_put_inbox(struct store *s, uint8_t class, struct batch *b, uint64_t src_node)
{
	return put_batch(s, class, STORE_INBOX, b, src_node);
}

int64_t
store_put_processed(struct store *s, uint8_t class, const struct ulid *stream, uint64_t src_node,
    uint64_t dst_node, uint64_t first_seq, uint64_t last_seq)
{
	return store_put_processed_letters(
	    s, class, stream, src_node, dst_node, first_seq, last_seq, NULL, 0);
}

int64_t
store_put_processed_letters(struct store *s, uint8_t class, const struct ulid *stream, uint64_t src_node,
    uint64_t dst_node, uint64_t first_seq, uint64_t last_seq, const struct store_letter *rows, size_t count)
{
	const struct store_mark m = {*stream, dst_node, src_node, first_seq, last_seq};
	struct store_flush *f;
	int err = flush_open(s, class, sizeof(m) + count * sizeof(*rows), &f);

	MUST(first_seq > 0 && first_seq <= last_seq && last_seq <= INT64_MAX);
	if (err != 0)
		return err;
	/* A letter that is there before its offset does no harm: it is put again with it. */
	if (count > 0)
		err = store_flush_add_letters(f, rows, count);
	if (err == 0)
		err = store_flush_add_processed(f, &m);
	return flush_took(s, f, err);
}

int64_t
store_put_letter(struct store *s, uint8_t class, const struct store_letter *row)
{
	struct store_flush *f;
	int err = flush_open(s, class, sizeof(*row), &f);

	if (err != 0)
		return err;
	return flush_took(s, f, store_flush_add_letters(f, row, 1));
}

int64_t
store_put_skipped(struct store *s, uint8_t class, const struct ulid *stream, uint64_t src_node,
    uint64_t dst_node, uint64_t first_seq, uint64_t last_seq)
{
	const struct store_mark m = {*stream, dst_node, src_node, first_seq, last_seq};
	struct store_flush *f;
	int err = flush_open(s, class, sizeof(m), &f);

	MUST(first_seq > 0 && first_seq <= last_seq && last_seq <= INT64_MAX);
	if (err != 0)
		return err;
	return flush_took(s, f, store_flush_add_skipped(f, &m));
}

/*
 * Below this no batch of the stream begins any more.  It keeps a clearing from walking over the index
 * entries of all that was cleared since the last vacuum.
 */
static uint64_t
floor_get(const struct store *s, enum store_box box, const struct ulid *stream)
{
	const struct store_mark *m = store_marks_get(&s->floors[box], stream, 0);

	/* A batch that was cleared in part still begins below the mark. */
	return m != NULL && m->last_seq > BATCH_MESSAGES_MAX ? m->last_seq - BATCH_MESSAGES_MAX : 0;
}

static void
floor_raise(struct store *s, enum store_box box, const struct ulid *stream, uint64_t upto_seq)
{
	struct store_marks *m = &s->floors[box];

	if (m->count == STORE_FLOORS_MAX) {
		store_marks_fini(m);
		store_marks_init(m, s->seed);
	}
	/* "All there is" says nothing of what will come.  Without memory the next clearing is slower. */
	if (upto_seq == INT64_MAX)
		return;
	(void)!store_marks_add(m, stream, 0, 0, upto_seq, upto_seq);
}

/* Clearings come all the time, so what was cleared is about what was put. */
static void
vacuum_maybe(struct store *s, enum store_box box)
{
	if (s->since_vacuum[box] < STORE_VACUUM_BYTES || s->keeper == NULL)
		return;
	s->since_vacuum[box] = 0;
	store_keeper_ask(s->keeper, box == STORE_INBOX ? STORE_TASK_VACUUM_INBOX : STORE_TASK_VACUUM_OUTBOX);
}

static int64_t
put_clear(struct store *s, uint8_t class, enum store_box box, const struct ulid *stream, uint64_t upto_seq)
{
	struct store_flush *f;
	int err = flush_open(s, class, sizeof(struct store_mark), &f);

	if (err != 0)
		return err;
	if (upto_seq > INT64_MAX)
		upto_seq = INT64_MAX;
	err = store_flush_add_cleared(f, box, stream, floor_get(s, box, stream), upto_seq);
	if (err == 0)
		floor_raise(s, box, stream, upto_seq);
	vacuum_maybe(s, box);
	return flush_took(s, f, err);
}

int64_t
store_put_outbox_clear(struct store *s, uint8_t class, const struct ulid *stream, uint64_t upto_seq)
{
	return put_clear(s, class, STORE_OUTBOX, stream, upto_seq);
}

int64_t
store_put_inbox_clear(struct store *s, uint8_t class, const struct ulid *stream, uint64_t upto_seq)
{
	return put_clear(s, class, STORE_INBOX, stream, upto_seq);
}

int64_t
store_put_ids_clear(
    struct store *s, uint8_t class, const struct ulid *stream, uint64_t from_seq, uint64_t upto_seq)
{
	struct store_flush *f;
	int err = flush_open(s, class, sizeof(struct store_mark), &f);

	if (err != 0)
		return err;
	/* A batch that was cleared in part still begins below the mark. */
	from_seq = from_seq > BATCH_MESSAGES_MAX ? from_seq - BATCH_MESSAGES_MAX : 0;
	err = store_flush_add_ids_cleared(f, stream, from_seq, upto_seq);
	if (s->ids_since_vacuum >= STORE_VACUUM_BYTES && s->keeper != NULL) {
		s->ids_since_vacuum = 0;
		store_keeper_ask(s->keeper, STORE_TASK_VACUUM_IDS);
	}
	return flush_took(s, f, err);
}

int64_t
store_put_node(struct store *s, const struct store_node *row)
{
	struct store_flush *f;
	int err = flush_open(s, FRAME_CLASS_CONTROL, sizeof(*row), &f);

	if (err != 0)
		return err;
	return flush_took(s, f, store_flush_add_node(f, row));
}

int64_t
store_put_topology(struct store *s, const struct store_link *links, size_t count)
{
	struct store_flush *f;
	int err = flush_open(s, FRAME_CLASS_CONTROL, count * sizeof(*links), &f);

	if (err != 0)
		return err;
	return flush_took(s, f, store_flush_add_topology(f, links, count));
}

/* Rows of the log that are put are rows that go some day. */
static void
raft_vacuum_maybe(struct store *s, size_t rows)
{
	s->raft_since_vacuum += rows;
	if (s->raft_since_vacuum < STORE_VACUUM_RAFT_ROWS || s->keeper == NULL)
		return;
	s->raft_since_vacuum = 0;
	store_keeper_ask(s->keeper, STORE_TASK_VACUUM_RAFT);
}

int64_t
store_put_raft(struct store *s, const struct store_raft *row)
{
	size_t bytes, rows = 0;
	struct store_flush *f;
	int err = flush_open(s, FRAME_CLASS_CONTROL, store_raft_bytes(row), &f);

	if (err != 0)
		return err;
	err = store_rafts_put(&f->rafts, row, &bytes, &rows);
	store_flush_took(f, rows, bytes);
	if (err == 0) {
		f->rafts.promised |= store_promise_note(s, row->group, row->term, row->vote);
		raft_vacuum_maybe(s, rows);
	}
	return flush_took(s, f, err);
}

int64_t
store_put_raft_drop(struct store *s, const uint8_t group[STORE_GROUP_BYTES])
{
	struct store_flush *f;
	size_t bytes;
	int err = flush_open(s, FRAME_CLASS_CONTROL, 0, &f);

	if (err != 0)
		return err;
	err = store_rafts_drop(&f->rafts, group, &bytes);
	store_flush_took(f, 1, bytes);
	if (err == 0) {
		f->rafts.promised = true;
		store_promise_forget(s, group);
	}
	return flush_took(s, f, err);
}

/* ---- what the control group keeps ---- */

int64_t
store_put_mesh(struct store *s, const struct store_mesh *row)
{
	struct store_flush *f;
	size_t bytes;
	int err = flush_open(s, FRAME_CLASS_CONTROL, sizeof(*row), &f);

	if (err != 0)
		return err;
	err = store_control_mesh(&f->control, row, &bytes);
	store_flush_took(f, 1, bytes);
	return flush_took(s, f, err);
}

static int64_t
put_config(struct store *s, const struct store_config *row)
{
	struct store_flush *f;
	size_t bytes;
	int err = flush_open(s, FRAME_CLASS_CONTROL, row != NULL ? row->len : 0, &f);

	if (err != 0)
		return err;
	err = store_control_config(&f->control, row, &bytes);
	store_flush_took(f, 1, bytes);
	return flush_took(s, f, err);
}

int64_t
store_put_config(struct store *s, const struct store_config *row)
{
	return put_config(s, row);
}

int64_t
store_put_config_clear(struct store *s)
{
	return put_config(s, NULL);
}

int64_t
store_put_note(struct store *s, const struct store_note *row)
{
	struct store_flush *f;
	size_t bytes;
	int err = flush_open(s, FRAME_CLASS_CONTROL, row->payload_len + row->signature_len, &f);

	if (err != 0)
		return err;
	err = store_control_note(&f->control, row, &bytes);
	store_flush_took(f, 1, bytes);
	return flush_took(s, f, err);
}

int64_t
store_put_notes_drop(struct store *s, uint64_t node_id)
{
	struct store_flush *f;
	size_t bytes;
	int err = flush_open(s, FRAME_CLASS_CONTROL, 0, &f);

	if (err != 0)
		return err;
	err = store_control_notes_drop(&f->control, node_id, &bytes);
	store_flush_took(f, 1, bytes);
	return flush_took(s, f, err);
}

int64_t
store_put_position(struct store *s, const struct store_position *row)
{
	struct store_flush *f;
	size_t bytes;
	int err = flush_open(s, FRAME_CLASS_CONTROL, sizeof(*row), &f);

	if (err != 0)
		return err;
	err = store_control_position(&f->control, row, &bytes);
	store_flush_took(f, 1, bytes);
	return flush_took(s, f, err);
}

int64_t
store_put_rule(struct store *s, const struct store_rule *row)
{
	struct store_flush *f;
	int err = flush_open(s, FRAME_CLASS_CONTROL, sizeof(*row), &f);

	if (err != 0)
		return err;
	err = store_rules_add(&f->rules, row);
	store_flush_took(f, 1, err == 0 ? sizeof(*row) : 0);
	return flush_took(s, f, err);
}

int64_t
store_put_key(struct store *s, const struct store_key *row)
{
	struct store_flush *f;
	int err = flush_open(s, FRAME_CLASS_CONTROL, sizeof(*row), &f);

	if (err != 0)
		return err;
	err = store_keys_add(&f->keys, row);
	store_flush_took(f, 1, err == 0 ? sizeof(*row) : 0);
	return flush_took(s, f, err);
}

uint64_t
store_next_incarnation(struct store *s)
{
	struct store_flush *f;

	s->incarnation++;
	/* Every flush writes it; this makes sure that there is one.  Without memory a later one does. */
	if (flush_open(s, FRAME_CLASS_CONTROL, 0, &f) == 0)
		(void)flush_took(s, f, 0);
	return s->incarnation;
}
