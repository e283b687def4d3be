/* replay: see replay.h. */
#include "consensusd/replay.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/log.h"
#include "consensusd/engine.h"
#include "consensusd/sink.h"
#include "consensusd/stats.h"
#include "consensusd/store.h"

static size_t
find(const struct replay *r, uint64_t seq)
{
	size_t i = 0;

	while (i < r->count && r->seqs[i] != seq)
		i++;
	return i;
}

static void
drop(struct replay *r, size_t i)
{
	r->count--;
	memmove(&r->seqs[i], &r->seqs[i + 1], (r->count - i) * sizeof(r->seqs[0]));
	if (i > 0)
		return;
	batch_unref(r->batch);
	r->batch = NULL;
	r->state = REPLAY_QUEUED;
}

int
replay_add(struct sink *s, uint64_t seq)
{
	if (s->replay == NULL)
		s->replay = mem_calloc(1, sizeof(*s->replay));
	if (s->replay == NULL)
		return ERR_NOMEM;
	if (find(s->replay, seq) < s->replay->count)
		return 0;
	if (s->replay->count == REPLAYS_MAX)
		return ERR_FULL;
	s->replay->seqs[s->replay->count++] = seq;
	sink_touch(s);
	return 0;
}

int
replay_del(struct sink *s, uint64_t seq)
{
	struct replay *r = s->replay;
	size_t i = r != NULL ? find(r, seq) : 0;

	if (r == NULL || i == r->count)
		return 0;
	if (i == 0 && r->state >= REPLAY_DELIVERED)
		return ERR_EXISTS;
	drop(r, i);
	sink_touch(s);
	return 0;
}

/* --- delivering --- */

static int
take(struct replay *r, const struct store_dead_letter *row)
{
	struct batch *b = batch_new(row->sealed_len);

	if (b == NULL)
		return ERR_NOMEM;
	b->stream_id = row->stream_id;
	b->first_seq = row->first_seq;
	b->count = 1;
	b->epoch = row->epoch;
	memcpy(b->key_id, row->key_id, sizeof(b->key_id));
	memcpy(b->nonce, row->nonce, sizeof(b->nonce));
	memcpy(b->body, row->sealed, row->sealed_len);
	memcpy(r->message_id, row->message_id.b, ULID_BYTES);
	r->record = (struct batch_record){
	    .seq = row->seq,
	    .message_id = r->message_id,
	    .sealed = b->body,
	    .sealed_len = (uint32_t)row->sealed_len,
	};
	r->attempts = row->attempts;
	r->batch = b;
	return 0;
}

static void
on_read(void *arg, const struct store_dead_letter *row, int err)
{
	struct engine_read *read = arg;
	struct sink *s = sink_find(read->engine, &read->stream_id);
	struct replay *r = s != NULL ? s->replay : NULL;
	bool mine = r != NULL && r->count > 0 && r->state == REPLAY_READING && r->seqs[0] == read->from_seq;

	if (row != NULL) {
		if (mine && r->batch == NULL && take(r, row) != 0)
			log_debug("no memory for a dead letter: it is read again");
		return;
	}
	engine_read_free(read);
	if (!mine)
		return;
	if (r->batch != NULL)
		r->state = REPLAY_READY;
	else if (err == 0)
		drop(r, 0); /* it is gone */
	else
		r->state = REPLAY_QUEUED; /* with the next turn of the subscriber */
	sink_touch(s);
}

static void
start_reading(struct sink *s)
{
	struct engine *e = s->engine;
	struct engine_read *read = engine_read_new(e, &s->row.stream_id, e->self);

	if (read == NULL)
		return;
	read->from_seq = s->replay->seqs[0];
	s->replay->state = REPLAY_READING;
	if (store_read_letter(e->store, &s->row.stream_id, read->from_seq, on_read, read) != 0) {
		s->replay->state = REPLAY_QUEUED;
		engine_read_free(read);
	}
}

struct replay *
replay_next(struct sink *s)
{
	struct replay *r = s->replay;

	if (r == NULL || r->count == 0)
		return NULL;
	if (r->state == REPLAY_QUEUED)
		start_reading(s);
	return r->count > 0 && r->state == REPLAY_READY ? r : NULL;
}

void
replay_delivered(struct replay *r)
{
	r->state = REPLAY_DELIVERED;
}

void
replay_detach(struct sink *s)
{
	if (s->replay != NULL && s->replay->count > 0 && s->replay->state == REPLAY_DELIVERED)
		s->replay->state = REPLAY_READY;
}

/* --- what becomes of it --- */

static bool
is_delivered(const struct sink *s, uint64_t seq)
{
	const struct replay *r = s->replay;

	return r != NULL && r->count > 0 && r->state == REPLAY_DELIVERED && r->seqs[0] == seq;
}

bool
replay_ack(struct sink *s, uint64_t seq)
{
	if (!is_delivered(s, seq))
		return false;
	s->replay->state = REPLAY_ACKED;
	sink_touch(s);
	return true;
}

bool
replay_nack(struct sink *s, uint64_t seq, const char *reason)
{
	struct store_letter row = {
	    .kind = STORE_LETTER_AGAIN, .stream_id = s->row.stream_id, .seq = seq, .error = reason};

	if (!is_delivered(s, seq))
		return false;
	metric_inc(&stats.nacks);
	row.attempts = s->replay->attempts + 1;
	/* The letter stays in any case: only its count of attempts would be behind. */
	if (store_put_letter(s->engine->store, s->class, &row) < 0)
		log_info("dead letter %llu of stream %s failed again, which the database does not take now",
		    (unsigned long long)seq, s->id_text);
	drop(s->replay, 0);
	sink_touch(s);
	return true;
}

bool
replay_turn(struct sink *s)
{
	struct replay *r = s->replay;
	struct store_letter row = {
	    .kind = STORE_LETTER_DONE, .stream_id = s->row.stream_id, .dst_node = s->engine->self};

	if (r == NULL || r->count == 0 || r->state != REPLAY_ACKED)
		return true;
	row.seq = r->seqs[0];
	if (store_put_letter(s->engine->store, s->class, &row) < 0)
		return false;
	log_notice("dead letter %llu of stream %s is processed", (unsigned long long)row.seq, s->id_text);
	metric_inc(&stats.replayed);
	drop(r, 0);
	sink_replayed(s, row.seq);
	sink_letters_gone(s->engine);
	return true;
}

void
replay_free(struct sink *s)
{
	if (s->replay != NULL)
		batch_unref(s->replay->batch);
	mem_free(s->replay);
	s->replay = NULL;
}
