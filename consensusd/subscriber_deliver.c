/* subscriber: delivery; see subscriber.h. */
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/channel.h"
#include "common/os/log.h"
#include "consensusd/call.h"
#include "consensusd/digest.h"
#include "consensusd/limits.h"
#include "consensusd/replay.h"
#include "consensusd/sink.h"
#include "consensusd/stats.h"
#include "consensusd/subscriber_impl.h"
#include "consensusd/wire.h"

enum {
	CHUNK_HEADERS_TAG = 8 << 3 | 2,
	DATA_HEADERS_TAG = 5 << 3 | 2, /* of ClientData */
	DATA_DIGEST_TAG = 12 << 3 | 2,
	/* All fields of ClientData but headers and payload. */
	ITEM_HEAD_BYTES = 256,
	DELIVER_SHARE_COUNT = 128, /* messages of one stream before the next stream's turn */
};

void
subscriber_ready(struct subscriber *s)
{
	if (!s->ready) {
		TAILQ_INSERT_TAIL(&s->all->ready, s, ready_entry);
		s->ready = true;
	}
	engine_wake(s->all->engine);
}

/* --- credit --- */

static bool
has_credit(const struct subscriber *s)
{
	if (s->manual)
		return s->credit_count > 0 && s->credit_bytes > 0;
	return s->unacked_count < SUBSCRIBER_WINDOW_COUNT && s->unacked_bytes < SUBSCRIBER_WINDOW_BYTES;
}

static void
use_credit(struct subscriber *s, struct sink *k, const struct batch_record *rec)
{
	if (s->manual) {
		if (s->credit_count != INT64_MAX)
			s->credit_count--;
		if (s->credit_bytes != INT64_MAX)
			s->credit_bytes -= rec->sealed_len;
		return;
	}
	k->sizes[rec->seq % SUBSCRIBER_SIZES] = rec->sealed_len;
	s->unacked_count++;
	s->unacked_bytes += rec->sealed_len;
}

void
subscriber_credit(struct sink *k, uint64_t seq)
{
	struct subscriber *s = k->subscriber;

	if (s == NULL || s->manual)
		return;
	if (seq >= k->target->cursor.next_seq)
		seq = k->target->cursor.next_seq - 1;
	while (k->credited_seq < seq) {
		uint32_t *size = &k->sizes[++k->credited_seq % SUBSCRIBER_SIZES];

		/* What an earlier subscriber got, and acknowledged since, took no credit of this one. */
		if (*size == 0)
			continue;
		s->unacked_count--;
		s->unacked_bytes -= *size;
		*size = 0;
	}
	subscriber_ready(s);
}

void
subscriber_take_back(struct sink *k, uint64_t seq)
{
	struct subscriber *s = k->subscriber;

	if (s == NULL || s->manual)
		return;
	for (; seq < k->target->cursor.next_seq; seq++) {
		uint32_t *size = &k->sizes[seq % SUBSCRIBER_SIZES];

		if (*size == 0)
			continue;
		s->unacked_count--;
		s->unacked_bytes -= *size;
		*size = 0;
	}
}

/* --- one message --- */

/* Headers and digest were kept as those of a Chunk; in ClientData the same entries have other numbers.  False
 * if the source made them wrong. */
static bool
retag(uint8_t *headers, size_t len)
{
	const uint8_t *p = headers, *end = headers + len;
	size_t n;

	while (p < end) {
		uint8_t *tag = headers + (p - headers);

		p++;
		if ((*tag != CHUNK_HEADERS_TAG && *tag != DIGEST_TAG) || wire_length(&p, end, &n) != 0 ||
		    n > (size_t)(end - p))
			return false;
		*tag = *tag == DIGEST_TAG ? DATA_DIGEST_TAG : DATA_HEADERS_TAG;
		p += n;
	}
	return true;
}

struct message {
	const struct batch *batch;
	const struct batch_record *record;
	uint32_t attempts; /* that failed */
	bool dead_letter;  /* delivered once more */
};

static size_t
put_head(uint8_t *mem, const struct sink *k, const struct message *m, size_t payload_len, uint8_t **tail)
{
	const struct batch_record *rec = m->record;
	uint8_t *p = mem;
	char text[ULID_TEXT_SIZE];
	struct ulid id;

	memcpy(id.b, rec->message_id, ULID_BYTES);
	p = wire_bytes(p, 1, k->id_text, ULID_TEXT_SIZE - 1);
	p = wire_number(p, 2, rec->seq);
	p = wire_bytes(p, 3, k->row.tenant_id, strlen(k->row.tenant_id));
	/* The message id was made when the message was published. */
	p = wire_number(p, 6, ulid_unix_ms(&id));
	ulid_format(text, &id);
	p = wire_bytes(p, 7, text, ULID_TEXT_SIZE - 1);
	nodeid_format(text, k->row.src_node);
	p = wire_bytes(p, 8, text, NODEID_TEXT_SIZE - 1);
	p = wire_number(p, 9, m->attempts + 1);
	p = wire_number(p, 10, k->subscription);
	if (!m->dead_letter && k->target->passed_count > 0)
		p = wire_number(p, 11, k->target->passed_count);
	if (m->dead_letter)
		p = wire_number(p, 13, 1);
	*tail = p;
	p = wire_head(p, 4, payload_len);
	return (size_t)(p - *tail);
}

/* Opens and sends one message. */
static int
send_message(struct subscriber *s, struct sink *k, const struct message *m)
{
	const struct batch_record *rec = m->record;
	struct opened *o = &s->all->opened;
	uint8_t mem[ITEM_HEAD_BYTES], *tail;
	size_t tail_len;
	int err = opened_take(o, k->engine->keyring, k->row.tenant_id, m->batch, rec);

	if (err == 0 && !retag(o->headers, o->headers_len))
		err = ERR_FORMAT;
	if (err != 0)
		return err;
	tail_len = put_head(mem, k, m, o->payload_len, &tail);
	const struct iovec iov[] = {
	    {mem, (size_t)(tail - mem)},
	    {o->headers, o->headers_len},
	    {tail, tail_len},
	    {(void *)(uintptr_t)o->payload, o->payload_len},
	};
	call_item(s->call, iov, sizeof(iov) / sizeof(iov[0]));
	if (!m->dead_letter)
		k->target->passed_count = 0;
	metric_inc(&stats.delivered);
	if (m->attempts > 0)
		metric_inc(&stats.retried);
	return 0;
}

/* An error ends the subscription. */
static int
deliver_one(struct subscriber *s, struct sink *k, const struct batch_record *rec)
{
	const struct message m = {k->target->cursor.batch, rec, sink_attempts(k, rec->seq), false};
	int err = send_message(s, k, &m);

	if (err == 0)
		use_credit(s, k, rec);
	return err;
}

/* A dead letter that waits to be delivered once more: there is one at a time, so it needs no window.  What
 * can't be opened stays what it is. */
static int
deliver_replay(struct subscriber *s, struct sink *k)
{
	struct replay *r = replay_next(k);
	int err;

	if (r == NULL)
		return 0;
	err = send_message(s, k, &(struct message){r->batch, &r->record, r->attempts, true});
	replay_delivered(r);
	if (err != 0)
		(void)replay_nack(k, r->record.seq, err_text(err));
	else if (s->manual)
		use_credit(s, k, &r->record);
	return 1;
}

/* What can't be opened ends the subscription (true); one that follows a tenant goes on without the stream:
 * its source, which has signed this, may be nobody of the tenant's. */
static bool
end_unopened(struct subscriber *s, struct sink *k, const struct batch_record *rec, int err)
{
	const struct log_ctx ctx = {.stream_id = k->id_text};
	uint64_t seq = rec->seq;

	metric_inc(&stats.unopened);
	log_at(LOG_ERROR, &ctx, "message %llu from %s can't be opened: %s%s", (unsigned long long)seq,
	    engine_node_text(k->engine, k->row.src_node), err_text(err),
	    err == ERR_CHECKSUM ? " (it is not what was published)"
				: "; is the tenant's old key still in the keyring?");
	if (s->selector.stream_ids_count == 0) {
		if (!s->manual)
			use_credit(s, k, rec); /* as what the sink gives back */
		subscriber_detach(k);
		return false;
	}
	call_done(s->call, err == ERR_NOENT ? CODE_FAILED_PRECONDITION : CODE_DATA_LOSS,
	    "message %llu of stream %s can't be opened at this node: %s", (unsigned long long)seq, k->id_text,
	    err_text(err));
	return true;
}

/* Messages of one stream; returns how many, or -1 when the subscription has ended. */
static int
deliver_sink(struct subscriber *s, struct sink *k, int share)
{
	struct channel *ch = s->call->client->channel;
	struct batch_record rec;
	int n = 0, err;

	if (has_credit(s) && !channel_full(ch))
		n += deliver_replay(s, k);
	while (n < share && has_credit(s) && !channel_full(ch)) {
		if (sink_waits(k))
			return n;
		switch (target_deliver(k->target, &rec)) {
		case CURSOR_IDLE:
			return n;
		case CURSOR_READ:
			sink_read(k);
			return n;
		case CURSOR_RECORD:
			if (sink_given_up(k, rec.seq))
				continue;
			err = deliver_one(s, k, &rec);
			if (err != 0)
				return end_unopened(s, k, &rec, err) ? -1 : n;
			n++;
		}
	}
	return n;
}

/* One round over the streams of a subscriber. */
static int
deliver(struct subscriber *s, int quota)
{
	struct sink *k, *next;
	int total = 0;

	for (k = TAILQ_FIRST(&s->sinks); k != NULL && total < quota; k = next) {
		int share = quota - total < DELIVER_SHARE_COUNT ? quota - total : DELIVER_SHARE_COUNT, n;

		next = TAILQ_NEXT(k, subscribed);
		n = deliver_sink(s, k, share);
		if (n < 0)
			return -1;
		total += n;
	}
	return total;
}

bool
subscribers_turn(struct subscribers *all)
{
	int left = ENGINE_TURN_DELIVER_COUNT, n;
	struct subscriber *s;

	while (left > 0 && (s = TAILQ_FIRST(&all->ready)) != NULL) {
		n = deliver(s, left);
		if (n < 0)
			continue; /* it is gone, from the list too */
		left -= n;
		TAILQ_REMOVE(&all->ready, s, ready_entry);
		s->ready = false;
		if (n > 0) {
			TAILQ_INSERT_TAIL(&all->ready, s, ready_entry);
			s->ready = true;
		}
	}
	return left == 0;
}
