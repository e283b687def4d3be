/*
 * sim_target: the other nodes of the simulation: what sink.c does, and an application that checks that it
 * gets each message once, in order, with the right content.
 */
#ifndef TESTS_UNIT_CONSENSUSD_SIM_TARGET_H
#define TESTS_UNIT_CONSENSUSD_SIM_TARGET_H

#include "tests/unit/consensusd/sim_source.h"

static void
sim_target_reply(struct sim *s, size_t node, enum sim_type type)
{
	struct sim_event e = {.type = type};

	target_ack_fill(s->nodes[node].target, &e.ack);
	sim_send(s, node, 0, e);
}

/* --- the application --- */

static void
sim_deliver(struct sim *s, size_t node)
{
	struct sim_node *n = &s->nodes[node];
	struct batch_record rec;

	for (;;) {
		enum cursor_want want = target_deliver(n->target, &rec);

		if (want == CURSOR_READ)
			sim_push(s, (struct sim_event){.us = s->now_us + sim_between(s, 200, 3000),
					.what = SIM_READ,
					.node = node,
					.seq = n->target->cursor.next_seq});
		if (want != CURSOR_RECORD)
			return;
		/* Stored before delivered; and exactly once, in order. */
		SIM_CHECK(s, rec.seq <= n->db.last_seq);
		SIM_CHECK(s, rec.seq == n->applied + 1);
		SIM_CHECK(s, rec.sealed_len == sim_size(s, rec.seq));
		for (uint32_t i = 0; i < rec.sealed_len; i += 37)
			SIM_CHECK(s, rec.sealed[i] == (rec.seq & 0xff));
		n->applied = rec.seq;
		if (rec.seq % 7 == 0 || rec.seq == s->conf.messages || sim_chance(s, 10))
			sim_push(s, (struct sim_event){.us = s->now_us + sim_between(s, 0, 3000),
					.what = SIM_APP,
					.node = node,
					.seq = rec.seq});
	}
}

/* --- what follows from each event --- */

static void
sim_target_step(struct sim *s, size_t node)
{
	struct sim_node *n = &s->nodes[node];
	struct target *t = n->target;
	uint64_t first, last;
	struct batch *b;
	struct sim_event e = {.type = SIM_ACK};

	if (t == NULL)
		return;
	do {
		while ((b = target_due(t, sim_now(s))) != NULL &&
		       sim_put(
			   n, &(struct db_put){.kind = ORDER_INBOX, .batch = b, .seq = batch_last_seq(b)}, t))
			target_kept(t);
	} while (target_next(t) != NULL && target_take(t, sim_now(s)) == 0);
	if (order_reserve(&n->order) == 0 && target_put_processed(t, UINT64_MAX, &first, &last)) {
		MUST(sim_put(n, &(struct db_put){.kind = ORDER_PROCESSED, .seq = last}, t));
		SIM_CHECK(s, last <= n->applied);
	}
	if (t->state != TARGET_OPENING && target_ack_due(t, sim_now(s), &e.ack)) {
		/* Processed before acked. */
		SIM_CHECK(s, e.ack.processed <= n->db.marks[0] && e.ack.stored <= n->db.last_seq);
		sim_send(s, node, 0, e);
	}
	if (sim_chance(s, 3))
		(void)sim_put(n, &(struct db_put){.clear = true, .seq = t->processed_seq}, NULL);
	if (t->state != TARGET_OPENING)
		sim_deliver(s, node);
	sim_timer(s, node, t->ack_at);
}

static void
sim_target_done(void *arg, const struct order_entry *e)
{
	struct sim *s = arg;

	for (size_t i = 1; i <= s->conf.targets; i++) {
		struct target *t = s->nodes[i].target;

		if (t != e->noun || e->kind != ORDER_TARGET_ROW)
			continue;
		if (t->state == TARGET_CLOSED)
			s->nodes[i].done = true;
		sim_target_reply(s, i, s->nodes[i].done ? SIM_CLOSED : SIM_OPENED);
	}
}

/* A stream that was closed is forgotten. */
static void
sim_target_forget(struct sim_node *n)
{
	if (n->done) {
		target_free(n->target);
		n->target = NULL;
	}
}

static void
sim_target_batch(struct sim *s, size_t node, const struct sim_event *e)
{
	struct sim_node *n = &s->nodes[node];
	size_t offset = (size_t)e->index * SIM_FRAGMENT_BYTES, left = e->batch->body_len - offset;
	const struct fragment f = {
	    .first_seq = e->batch->first_seq,
	    .epoch = e->batch->epoch,
	    .count = e->batch->count,
	    .batch_bytes = (uint32_t)e->batch->body_len,
	    .index = e->index,
	    .total = (uint32_t)((e->batch->body_len + SIM_FRAGMENT_BYTES - 1) / SIM_FRAGMENT_BYTES),
	    .key_id = e->batch->key_id,
	    .nonce = e->batch->nonce,
	    .signature = e->index == 0 ? e->batch->signature : NULL,
	    .payload = e->batch->body + offset,
	    .payload_len = left < SIM_FRAGMENT_BYTES ? left : SIM_FRAGMENT_BYTES,
	    .offset = offset,
	};
	struct batch *b;
	int err = target_fragment(n->target, &f, sim_now(s), &b);

	SIM_CHECK(s, err == 0 || err == ERR_NOMEM);
	if (b == NULL)
		return;
	SIM_CHECK(s, batch_check(b) == 0 && memcmp(b->body, e->batch->body, b->body_len) == 0);
	err = target_complete(n->target, b, sim_now(s));
	SIM_CHECK(s, err == 0 || err == ERR_EXISTS || err == ERR_FULL || err == ERR_NOMEM);
}

static void
sim_target_open(struct sim *s, size_t node)
{
	static const uint8_t key[32];
	struct sim_node *n = &s->nodes[node];

	if (n->done)
		return; /* an old frame: the shell remembers closed streams */
	if (n->target != NULL) {
		if (n->target->state != TARGET_OPENING)
			sim_target_reply(s, node, SIM_OPENED);
		return;
	}
	n->target = target_new(&s->id, "t", 99, key, &s->target_conf, &n->budget);
	if (n->target != NULL &&
	    !sim_put(n, &(struct db_put){.kind = ORDER_TARGET_ROW, .seq = TARGET_OPENING}, n->target)) {
		target_free(n->target);
		n->target = NULL;
	}
}

static void
sim_target_close(struct sim *s, size_t node, uint64_t seq)
{
	struct sim_node *n = &s->nodes[node];

	if (n->target == NULL) {
		SIM_CHECK(s, n->done);
		sim_send(s, node, 0, (struct sim_event){.type = SIM_CLOSED});
		return;
	}
	if (n->target->state != TARGET_OPEN)
		return;
	if (target_close(n->target, seq) != 0)
		target_ack_soon(n->target, sim_now(s), true);
	else if (!sim_put(n, &(struct db_put){.kind = ORDER_TARGET_ROW, .seq = TARGET_CLOSING}, n->target))
		n->target->state = TARGET_OPEN;
}

static void
sim_target_frame(struct sim *s, size_t node, const struct sim_event *e)
{
	struct sim_node *n = &s->nodes[node];

	switch (e->type) {
	case SIM_BATCH:
		if (n->target == NULL)
			sim_send(s, node, 0, (struct sim_event){.type = SIM_UNKNOWN});
		else if (n->target->state != TARGET_OPENING)
			sim_target_batch(s, node, e);
		break;
	case SIM_OPEN:
		sim_target_open(s, node);
		break;
	case SIM_CLOSE:
		sim_target_close(s, node, e->seq);
		break;
	default:
		SIM_CHECK(s, !"a frame for the source");
	}
}

static void
sim_target_read(struct sim *s, size_t node, const struct sim_event *e)
{
	struct sim_node *n = &s->nodes[node];
	struct db *d = &n->db;
	size_t given = 0;

	if (n->target == NULL)
		return;
	s->result.reads++;
	for (size_t i = d->first; i < d->first + d->count && given < 4 && !sim_chance(s, 2); i++) {
		if (batch_last_seq(d->batches[i]) < e->seq)
			continue;
		cursor_read(&n->target->cursor, d->batches[i]);
		given++;
	}
	cursor_read(&n->target->cursor, NULL);
}

static bool
sim_target_start(struct sim *s, size_t node)
{
	static const uint8_t key[32];
	struct sim_node *n = &s->nodes[node];
	bool end = n->db.row && n->db.row_state == TARGET_CLOSING;

	n->done = end;
	if (!n->db.row || end)
		return true;
	n->target = target_new(&s->id, "t", 99, key, &s->target_conf, &n->budget);
	if (n->target == NULL)
		return false;
	n->target->state = TARGET_OPEN;
	target_load(n->target, n->db.last_seq, n->db.marks[0]);
	/* The application comes back and says how far it got. */
	target_resume(n->target, n->applied);
	target_ack_soon(n->target, sim_now(s), true);
	return true;
}

#endif
