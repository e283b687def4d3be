/* source: making, loading and ending streams; see source.h. */
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "consensusd/api.h"
#include "consensusd/keyring.h"
#include "consensusd/meta.h"
#include "consensusd/source_impl.h"
#include "consensusd/stats.h"

struct source *
source_find(const struct engine *e, const struct ulid *id)
{
	struct source *s;

	HASH_FIND(hh, e->sources, id->b, ULID_BYTES, s);
	return s;
}

/* --- making and ending --- */

static void
node_unlink(struct source_flow *f)
{
	if (f->node == NULL)
		return;
	if (f->prev_on_node != NULL)
		f->prev_on_node->next_on_node = f->next_on_node;
	else
		f->node->flows = f->next_on_node;
	if (f->next_on_node != NULL)
		f->next_on_node->prev_on_node = f->prev_on_node;
	f->node = NULL;
}

static int
node_link(struct source_flow *f, uint64_t node)
{
	struct source_flow *first;

	f->node = nodes_get(&f->source->engine->nodes, node);
	if (f->node == NULL)
		return ERR_NOMEM;
	first = f->node->flows;
	f->next_on_node = first;
	if (first != NULL)
		first->prev_on_node = f;
	f->node->flows = f;
	return 0;
}

static int
flows_init(struct source *s)
{
	int err = 0;

	for (size_t i = 0; i < s->stream->flow_count && err == 0; i++) {
		struct source_flow *f = &s->flows[i];

		f->source = s;
		f->flow = &s->stream->flows[i];
		f->flow->owner = f;
		f->timed.fn = source_on_flow_timer;
		f->timed.arg = f;
		err = node_link(f, f->flow->node);
	}
	return err;
}

static int
source_new(struct engine *e, const struct store_stream *row, struct source **out)
{
	struct source *s = mem_calloc(1, sizeof(*s) + row->dst_count * sizeof(s->flows[0]));
	int err = 0;

	if (s == NULL)
		return ERR_NOMEM;
	s->engine = e;
	s->ids_next = 1;
	s->row = *row;
	s->row.meta = mem_dup(row->meta, row->meta_len);
	s->stream = stream_new(
	    &row->stream_id, row->tenant_id, row->dst_nodes, row->dst_count, &e->stream_conf, &e->budget);
	ulid_format(s->id_text, &row->stream_id);
	s->clear.fn = source_on_clear_timer;
	s->clear.arg = s;
	if (s->row.meta == NULL || s->stream == NULL)
		err = ERR_NOMEM;
	if (err == 0) {
		s->stream->owner = s;
		s->stream->epoch = row->epoch;
		err = flows_init(s);
	}
	if (err == 0) {
		HASH_ADD(hh, e->sources, row.stream_id.b, ULID_BYTES, s);
		if (!HASH_ADDED(s))
			err = ERR_NOMEM;
	}
	if (err != 0) {
		source_free(s);
		return err;
	}
	metric_add(&stats.sources, 1);
	*out = s;
	return 0;
}

void
source_free(struct source *s)
{
	struct engine *e = s->engine;

	dedupe_forget(s, s->ended);
	if (e->recent == s)
		e->recent = NULL;
	if (HASH_ADDED(s)) {
		HASH_DEL(e->sources, s);
		metric_add(&stats.sources, -1);
	}
	for (size_t i = 0; i < s->row.dst_count; i++) {
		struct source_flow *f = &s->flows[i];

		engine_at_cancel(e, &f->timed);
		node_unlink(f);
		if (f->queued)
			TAILQ_REMOVE(&e->ready_flows, f, ready);
	}
	engine_at_cancel(e, &s->clear);
	if (s->dirty)
		TAILQ_REMOVE(&e->dirty_sources, s, dirty_entry);
	stream_free(s->stream, &e->pool);
	mem_free((void *)(uintptr_t)s->row.meta);
	mem_free(s);
}

void
source_free_all(struct engine *e)
{
	while (e->sources != NULL)
		source_free(e->sources);
}

int
source_put_row(struct source *s, enum stream_state state)
{
	struct engine *e = s->engine;
	int64_t ticket;
	int err = order_reserve(&e->order);

	if (err != 0)
		return err;
	s->row.state = state == STREAM_CLOSED    ? STORE_STREAM_CLOSED
		       : state == STREAM_CLOSING ? STORE_STREAM_CLOSING
						 : STORE_STREAM_OPEN;
	s->row.close_seq = s->stream->close_seq;
	ticket = store_put_stream(e->store, &s->row);
	if (ticket < 0)
		return (int)ticket;
	order_add(&e->order, (uint64_t)ticket, ORDER_STREAM_ROW, s->stream, state);
	return 0;
}

int
source_open(struct engine *e, struct store_stream *row, struct source **out)
{
	uint8_t mem[META_MAX_BYTES];
	const uint8_t *key;
	struct buf meta;
	int err = keyring_seal_key(e->keyring, row->tenant_id, &key, row->key_id);

	if (err != 0)
		return err;
	row->src_node = e->self;
	memcpy(row->source_key, e->public_key, sizeof(row->source_key));
	buf_init_fixed(&meta, mem, sizeof(mem));
	err = meta_sign(e->keyring, row, &meta);
	row->meta = buf_head(&meta);
	row->meta_len = buf_left(&meta);
	if (err == 0)
		err = source_new(e, row, out);
	if (err != 0)
		return err;
	err = source_put_row(*out, STREAM_OPENING);
	if (err != 0)
		source_free(*out);
	return err;
}

/* What was pending when this node stopped never was: the stream ends before it. */
static void
load_close(struct source *s)
{
	uint64_t last = s->stream->durable_seq;

	if (s->stream->state == STREAM_CLOSING)
		s->stream->close_seq = s->row.close_seq < last ? s->row.close_seq : last;
}

/* The ids of what the outbox still has are read when the store is ready. */
static void
load_ids(struct source *s)
{
	s->ids_last = s->stream->durable_seq;
	s->ids_next = s->ids_last > SOURCE_IDS_COUNT ? s->ids_last - SOURCE_IDS_COUNT : 1;
	/* Redis knows no better about what is not done and read from there. */
	dedupe_set(s, s->ids_last,
	    s->stream->committed_seq < s->ids_next ? s->ids_next - 1 : s->stream->committed_seq);
}

int
source_load(struct engine *e, const struct store_stream *row)
{
	struct source *s;
	int err = source_new(e, row, &s);

	if (err != 0)
		return err;
	stream_load(s->stream, row->outbox_last_seq);
	s->stream->state = STREAM_OPEN;
	if (row->state == STORE_STREAM_CLOSING)
		s->stream->state = STREAM_CLOSING;
	load_close(s);
	load_ids(s);
	source_ready_all(s);
	return 0;
}

void
source_load_offset(struct source *s, uint64_t node, uint64_t seq)
{
	struct flow *f = stream_flow(s->stream, node);

	if (f == NULL)
		return;
	stream_load_processed(s->stream, node, seq);
	((struct source_flow *)f->owner)->recorded_put = f->processed;
	load_close(s);
	load_ids(s);
}

int
source_wait_open(struct source *s, uint64_t call)
{
	if (s->open_call_count == SOURCE_CALLS_MAX)
		return ERR_FULL;
	s->open_calls[s->open_call_count++] = call;
	return 0;
}

int
source_close(struct source *s, uint64_t call)
{
	enum stream_state before = s->stream->state;
	int err;

	if (before == STREAM_OPENING)
		return ERR_AGAIN;
	if (s->close_call_count == SOURCE_CALLS_MAX)
		return ERR_FULL;
	if (before == STREAM_OPEN) {
		err = stream_close(s->stream);
		if (err == 0)
			err = source_put_row(s, STREAM_CLOSING);
		if (err != 0) {
			s->stream->state = before;
			return err;
		}
		source_ready_all(s);
	} else if (s->close_call_count == 0) {
		/* Closing is durable already. */
		api_stream_closing(s, call);
		return 0;
	}
	s->close_calls[s->close_call_count++] = call;
	return 0;
}

/* --- what became durable --- */

static void
end(struct source *s)
{
	static const struct ulid none;

	/* Only a hint for old frames: without memory it is not remembered. */
	if (idcache_add(&s->engine->closed, &s->row.stream_id, &none, s->stream->close_seq + 1) != 0)
		log_debug("stream %s: closed, not remembered", s->id_text);
	log_info(
	    "stream %s closed after %llu messages", s->id_text, (unsigned long long)s->stream->close_seq);
	api_stream_event(s->engine, "stream_closed", s->id_text, s->row.tenant_id, "source");
	source_free(s);
}

void
source_row_durable(struct stream *stream, uint64_t state)
{
	struct source *s = stream->owner;
	size_t n;

	switch ((enum stream_state)state) {
	case STREAM_OPENING:
		n = s->open_call_count;
		s->open_call_count = 0;
		for (size_t i = 0; i < n; i++)
			api_stream_opened(s, s->open_calls[i]);
		api_stream_event(s->engine, "stream_opened", s->id_text, s->row.tenant_id, "source");
		source_ready_all(s);
		break;
	case STREAM_CLOSING:
		n = s->close_call_count;
		s->close_call_count = 0;
		for (size_t i = 0; i < n; i++)
			api_stream_closing(s, s->close_calls[i]);
		source_ready_all(s);
		break;
	case STREAM_CLOSED:
		end(s);
		break;
	case STREAM_OPEN:
		break;
	}
}

void
source_outbox_durable(struct stream *stream)
{
	struct source *s = stream->owner;

	source_ready_all(s);
	if (stream->pending != NULL)
		source_touch(s);
}

void
source_flow_recorded(struct flow *flow)
{
	source_flow_ready(flow->owner);
}
