/*
 * fake_store_message: of the store in memory: where messages are, what the outbox has, and what was given up.
 */
#ifndef TESTS_UNIT_CONSENSUSD_FAKE_STORE_MESSAGE_H
#define TESTS_UNIT_CONSENSUSD_FAKE_STORE_MESSAGE_H

#include "tests/unit/consensusd/fake_store.h"

int
store_read_backlog(struct store *s, const struct ulid *stream, store_backlog_fn *fn, void *arg)
{
	struct store_backlog rows[STORE_BACKLOG_ROWS];
	size_t n = 0;

	if (!s->ready)
		return ERR_UNAVAIL;
	for (size_t i = 0; i < s->db->box_counts[STORE_OUTBOX]; i++) {
		const struct batch *b = s->db->boxes[STORE_OUTBOX][i];

		if (ulid_compare(&b->stream_id, stream) != 0)
			continue;
		MUST(n < STORE_BACKLOG_ROWS);
		rows[n++] = (struct store_backlog){batch_last_seq(b), b->body_len, 1, 1};
	}
	fn(arg, rows, n, 0);
	return 0;
}

int64_t
store_put_ids_clear(
    struct store *s, uint8_t class, const struct ulid *stream, uint64_t from_seq, uint64_t upto_seq)
{
	(void)class;
	MUST(from_seq < upto_seq);
	return fake_put(
	    s, (struct fake_put){.kind = FAKE_IDS_CLEAR, .row.stream_id = *stream, .seq = upto_seq});
}

/* A few batches at once. */
int
store_read_ids(struct store *s, const struct ulid *stream, uint64_t from_seq, store_id_fn *fn, void *arg)
{
	struct batch_iter it;
	struct batch_record rec;
	struct ulid id;
	unsigned batches = 0;

	if (!s->ready)
		return ERR_UNAVAIL;
	if (s->db->hold_ids)
		return ERR_FULL;
	for (size_t i = 0; i < s->db->ids_count && batches < 3; i++) {
		const struct batch *b = s->db->ids[i];

		if (ulid_compare(&b->stream_id, stream) != 0 || b->first_seq < from_seq)
			continue;
		batches++;
		batch_iter_init(&it, b);
		while (batch_next(&it, &rec) == 1) {
			memcpy(id.b, rec.message_id, ULID_BYTES);
			fn(arg, rec.seq, &id, 0);
		}
	}
	fn(arg, 0, NULL, 0);
	return 0;
}

int64_t
store_put_skipped(struct store *s, uint8_t class, const struct ulid *stream, uint64_t src_node,
    uint64_t dst_node, uint64_t first_seq, uint64_t last_seq)
{
	(void)class;
	struct fake_put p = {.kind = FAKE_SKIPPED, .node = dst_node, .from = first_seq, .seq = last_seq};

	(void)src_node;
	p.row.stream_id = *stream;
	return fake_put(s, p);
}

/* The same in some batches. */
static uint64_t
fake_find_in(struct batch *const *batches, size_t count, const struct ulid *stream, uint64_t seq,
    const struct ulid *id, struct ulid *found)
{
	struct batch_iter it;
	struct batch_record rec;

	for (size_t i = 0; i < count; i++) {
		if (ulid_compare(&batches[i]->stream_id, stream) != 0)
			continue;
		batch_iter_init(&it, batches[i]);
		while (batch_next(&it, &rec) == 1) {
			if (rec.seq != seq && memcmp(rec.message_id, id->b, ULID_BYTES) != 0)
				continue;
			memcpy(found->b, rec.message_id, ULID_BYTES);
			return rec.seq;
		}
	}
	return seq;
}

/* Where seq is, or 0. */
static uint64_t
fake_find_message(
    struct fake_db *d, const struct ulid *stream, uint64_t seq, const struct ulid *id, struct ulid *found)
{
	struct ulid unused;
	uint64_t at = 0;

	for (int box = 0; box < 2 && ulid_is_zero(found); box++)
		at = fake_find_in(d->boxes[box], d->box_counts[box], stream, seq, id, found);
	if (at == 0)
		at = fake_find_in(d->ids, d->ids_count, stream, seq, id, &unused);
	return at;
}

static void
fake_tell_message(struct store *s, const struct ulid *stream, uint64_t seq, const struct ulid *message_id,
    store_message_fn *fn, void *arg)
{
	const struct store_stream *r = fake_row(s->db, stream);
	struct store_message m = {.error = ""};

	m.seq = fake_find_message(s->db, stream, seq, message_id, &m.message_id);
	m.kept = !ulid_is_zero(&m.message_id);
	for (size_t i = 0; r != NULL && m.seq != 0 && i < r->dst_count; i++) {
		m.tenant_id = r->tenant_id;
		m.src_node = r->src_node;
		m.dst_node = r->dst_nodes[i];
		m.closed = r->state == STORE_STREAM_CLOSED;
		m.close_seq = r->close_seq;
		m.committed_seq = 0;
		for (size_t k = 0; k < s->db->offset_count; k++) {
			const struct store_offset *o = &s->db->offsets[k];

			if (o->node_id == m.dst_node && ulid_compare(&o->stream_id, stream) == 0)
				m.committed_seq = o->committed_seq;
		}
		m.logged = m.committed_seq >= m.seq;
		m.dead = fake_failure_find(s->db, stream, m.dst_node, m.seq) < s->db->failure_count;
		m.error = m.dead ? "dead letter" : "";
		m.failed = false;
		for (size_t k = 0; k < s->db->gap_count; k++) {
			const struct fake_gap *g = &s->db->gaps[k];

			if (g->node != m.dst_node || ulid_compare(&g->stream, stream) != 0 ||
			    g->first > m.seq || g->last < m.seq)
				continue;
			m.failed = true;
			m.failed_last = g->last;
		}
		m.updated_unix_ms = m.logged ? 1 : 0;
		fn(arg, &m, 0);
	}
	fn(arg, NULL, 0);
}

int
store_read_message(struct store *s, const struct ulid *stream, uint64_t seq, const struct ulid *message_id,
    store_message_fn *fn, void *arg)
{
	if (!s->ready)
		return ERR_UNAVAIL;
	if (!s->db->hold_messages) {
		fake_tell_message(s, stream, seq, message_id, fn, arg);
		return 0;
	}
	MUST(s->question_count < FAKE_QUESTIONS);
	s->questions[s->question_count++] = (struct fake_question){*stream, *message_id, seq, fn, arg};
	return 0;
}

/* Answers what was asked while messages were held. */
static inline void
fake_messages_go(struct fake_db *d)
{
	struct store *s = d->store;

	d->hold_messages = false;
	for (size_t i = 0; i < s->question_count; i++) {
		const struct fake_question *q = &s->questions[i];

		fake_tell_message(s, &q->stream, q->seq, &q->message_id, q->fn, q->arg);
	}
	s->question_count = 0;
}

#endif
