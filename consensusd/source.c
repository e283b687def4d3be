/* source: making, loading and ending streams; see source.h. */
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "consensusd/api.h"
#include "consensusd/core/qos.h"
#include "consensusd/keyring.h"
#include "consensusd/meta.h"
#include "consensusd/regulator.h"
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

void
source_flow_unlink(struct source_flow *f)
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

int
source_flow_link(struct source_flow *f, uint64_t node)
{
	struct source_flow *first;

	f->node = nodes_get(&f->source->engine->nodes, node);
	if (f->node == NULL)
		return ERR_NOMEM;
	first = f->node->flows;
	f->prev_on_node = NULL; /* it may have had one in another place */
	f->next_on_node = first;
	if (first != NULL)
		first->prev_on_node = f;
	f->node->flows = f;
	return 0;
}

int
source_flow_init(struct source *s, size_t i)
{
	struct source_flow *f = &s->flows[i];

	*f = (struct source_flow){.source = s, .flow = &s->stream->flows[i]};
	f->flow->owner = f;
	f->timed.fn = source_on_flow_timer;
	f->timed.arg = f;
	return source_flow_link(f, f->flow->node);
}

static int
flows_init(struct source *s)
{
	int err = 0;

	s->flows = mem_calloc(s->stream->flow_count, sizeof(s->flows[0]));
	if (s->flows == NULL)
		return ERR_NOMEM;
	for (size_t i = 0; i < s->stream->flow_count && err == 0; i++)
		err = source_flow_init(s, i);
	return err;
}

/* Those that were removed and may not know it have flows, too, as long as there is a place. */
static struct stream *
stream_of(struct engine *e, const struct store_stream *row)
{
	uint64_t nodes[STREAM_TARGETS_MAX];
	size_t count = 0;

	for (size_t i = 0; i < row->dst_count; i++)
		nodes[count++] = row->dst_nodes[i];
	for (size_t i = 0; i < row->left_count && count < STREAM_TARGETS_MAX; i++)
		nodes[count++] = row->left[i];
	return stream_new(&row->stream_id, row->tenant_id, nodes, count, &e->stream_conf, &e->budget);
}

/* What is dropped to have memory is needed still. */
static void
on_trim(void *arg, const struct batch *b)
{
	spill_put(arg, b);
}

static int
source_new(struct engine *e, const struct store_stream *row, struct source **out)
{
	struct source *s = mem_calloc(1, sizeof(*s));
	int err = 0;

	if (s == NULL)
		return ERR_NOMEM;
	s->engine = e;
	s->begun = ++e->streams_begun;
	s->ids_next = 1;
	s->ids_known = true;
	s->row = *row;
	s->row.meta = mem_dup(row->meta, row->meta_len);
	s->stream = stream_of(e, row);
	ulid_format(s->id_text, &row->stream_id);
	s->class = qos_class(row->qos);
	s->clear.fn = source_on_clear_timer;
	s->clear.arg = s;
	s->retain.fn = source_on_retain_timer;
	s->retain.arg = s;
	s->parked.fn = source_on_parked_timer;
	s->parked.arg = s;
	s->backlog_known = true;
	if (s->row.meta == NULL || s->stream == NULL)
		err = ERR_NOMEM;
	if (err == 0) {
		s->stream->owner = s;
		s->stream->ids.owner = s;
		s->stream->tail.on_trim = on_trim;
		s->stream->tail.on_trim_arg = s;
		s->stream->epoch = row->epoch;
		stream_set_policy(s->stream, &row->policy);
		s->stream->now_ms = clock_unix_ms();
		err = flows_init(s);
	}
	if (err == 0) {
		HASH_ADD(hh, e->sources, row.stream_id.b, ULID_BYTES, s);
		if (!HASH_ADDED(s))
			err = ERR_NOMEM;
	}
	if (err == 0)
		err = relation_add_source(s);
	if (err != 0) {
		source_free(s);
		return err;
	}
	metric_add(&stats.sources, 1);
	regulator_source(e->regulator, s);
	*out = s;
	return 0;
}

void
source_free(struct source *s)
{
	struct engine *e = s->engine;

	dedupe_forget(s, s->ended);
	relation_del_source(s, s->ended);
	spill_forget(s, s->ended);
	if (e->recent == s)
		e->recent = NULL;
	if (HASH_ADDED(s)) {
		meters_source_gone(e->meters, s);
		HASH_DEL(e->sources, s);
		metric_add(&stats.sources, -1);
	}
	for (size_t i = 0; s->flows != NULL && i < s->stream->flow_count; i++) {
		struct source_flow *f = &s->flows[i];

		engine_at_cancel(e, &f->timed);
		source_flow_unlink(f);
		if (f->queued)
			TAILQ_REMOVE(&e->ready_flows[s->class], f, ready);
	}
	engine_at_cancel(e, &s->clear);
	engine_at_cancel(e, &s->retain);
	engine_at_cancel(e, &s->parked);
	if (s->dirty)
		TAILQ_REMOVE(&e->dirty_sources[s->class], s, dirty_entry);
	stream_free(s->stream, &e->pool);
	mem_free((void *)(uintptr_t)s->row.meta);
	mem_free(s->flows);
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
	int err = order_reserve(&e->order[s->class]);

	if (err != 0)
		return err;
	s->row.state = state == STREAM_CLOSED    ? STORE_STREAM_CLOSED
		       : state == STREAM_CLOSING ? STORE_STREAM_CLOSING
						 : STORE_STREAM_OPEN;
	s->row.close_seq = s->stream->close_seq;
	ticket = store_put_stream(e->store, &s->row);
	if (ticket < 0)
		return (int)ticket;
	order_add(&e->order[s->class], (uint64_t)ticket, ORDER_STREAM_ROW, s->stream, state);
	s->rows_put++;
	return 0;
}

int
source_sign(struct engine *e, struct store_stream *row)
{
	uint8_t mem[META_MAX_BYTES];
	struct buf meta;
	uint8_t *copy;
	int err;

	buf_init_fixed(&meta, mem, sizeof(mem));
	err = meta_sign(e->keyring, row, &meta);
	if (err != 0)
		return err;
	copy = mem_dup(buf_head(&meta), buf_left(&meta));
	if (copy == NULL)
		return ERR_NOMEM;
	row->meta = copy;
	row->meta_len = buf_left(&meta);
	return 0;
}

int
source_sign_again(struct source *s)
{
	const uint8_t *before = s->row.meta;
	int err = source_sign(s->engine, &s->row);

	if (err == 0)
		mem_free((void *)(uintptr_t)before);
	return err;
}

void
source_next_revision(struct store_stream *row)
{
	uint64_t now = clock_unix_ms();

	row->revision = now > row->revision ? now : row->revision + 1;
}

int
source_fence(struct source *s, uint64_t call)
{
	int err;

	if (s->stream->state != STREAM_OPEN)
		return s->stream->state == STREAM_OPENING ? ERR_AGAIN : ERR_STATE;
	if (s->fence_count == SOURCE_CALLS_MAX)
		return ERR_FULL;
	/* All of the one before is durable when the new one is: so it is certain where that begins. */
	err = source_give(s);
	if (err != 0)
		return err;
	s->row.epoch++;
	source_next_revision(&s->row);
	err = source_sign_again(s);
	if (err == 0)
		err = source_put_row(s, STREAM_OPEN);
	if (err != 0) {
		/* Nobody has seen the new one; the meta of the old one is as good a statement as before. */
		s->row.epoch--;
		if (source_sign_again(s) != 0)
			log_debug("stream %s: its meta names an epoch that was not begun", s->id_text);
		return err;
	}
	/* From here on, not from when it is durable: what is sealed after this is the new producer's. */
	s->stream->epoch = s->row.epoch;
	s->fences[s->fence_count++] =
	    (struct source_fence){.call = call, .epoch = s->row.epoch, .row = s->rows_put};
	return 0;
}

void
source_revise(struct source *s)
{
	if (s->ended)
		return;
	source_next_revision(&s->row);
	if (source_sign_again(s) != 0)
		log_warn("stream %s: its new group can't be told to its targets yet: no memory", s->id_text);
	if (source_put_row(s, s->stream->state) != 0)
		log_warn("stream %s: its new group is not written to the database yet", s->id_text);
	source_tell(s);
}

void
source_tell(struct source *s)
{
	for (size_t i = 0; i < s->stream->flow_count; i++) {
		flow_reopen(s->flows[i].flow, clock_mono());
		source_flow_ready(&s->flows[i]);
	}
}

void
source_described(struct source *s)
{
	stream_fixed(s->stream, relation_described(s));
	source_answer(s);
}

int
source_open(struct engine *e, struct store_stream *row, struct source **out)
{
	uint8_t mem[META_MAX_BYTES];
	const uint8_t *key;
	struct buf meta;
	int err = keyring_seal_key(e->keyring, row->tenant_id, &key, row->key_id);

	if (err == 0)
		err = relation_choose(e, row);
	if (err != 0)
		return err;
	row->src_node = e->self;
	row->revision = clock_unix_ms();
	memcpy(row->source_key, e->public_key, sizeof(row->source_key));
	buf_init_fixed(&meta, mem, sizeof(mem));
	err = meta_sign(e->keyring, row, &meta);
	row->meta = buf_head(&meta);
	row->meta_len = buf_left(&meta);
	if (err == 0)
		err = source_new(e, row, out);
	if (err != 0)
		return err;
	(*out)->relation.cap = UINT64_MAX;
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

static void
load_last(struct source *s)
{
	s->loaded_seq = s->stream->durable_seq;
	spill_set(s, s->loaded_seq);
	dedupe_set(s, s->loaded_seq);
}

int
source_load(struct engine *e, const struct store_stream *row)
{
	struct source *s;
	int err = source_new(e, row, &s);

	if (err != 0)
		return err;
	stream_load(s->stream, row->outbox_last_seq);
	source_load_targets(s);
	s->relation.cap = s->stream->durable_seq;
	s->stream->state = STREAM_OPEN;
	if (row->state == STORE_STREAM_CLOSING)
		s->stream->state = STREAM_CLOSING;
	load_close(s);
	load_last(s);
	/* Its ids are read when the store is ready. */
	s->ids_known = !row->has_ids;
	/* When it was published is not known: it is as old as this process. */
	if (row->outbox_last_seq > 0)
		ages_add(&s->ages, row->outbox_last_seq, e->started);
	s->backlog_known = false;
	source_retain(s);
	source_ready_all(s);
	return 0;
}

void
source_load_offset(struct source *s, uint64_t node, uint64_t seq)
{
	struct flow *f = stream_flow(s->stream, node);

	if (node == 0) {
		stream_load_skipped(s->stream, seq);
		load_close(s);
		load_last(s);
	}
	stream_load_processed(s->stream, node, seq);
	if (f == NULL)
		return;
	((struct source_flow *)f->owner)->recorded_put = f->processed;
	s->relation.cap = s->stream->durable_seq;
	ages_cut(&s->ages, s->stream->committed_seq);
	load_close(s);
	load_last(s);
}

void
source_load_failed(struct source *s, uint64_t node, uint64_t seq)
{
	struct flow *f = stream_flow(s->stream, node);

	if (f != NULL && seq <= f->processed)
		(void)!failures_load(&f->failures, seq); /* else the database is asked */
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
	struct regulator *r = s->engine->regulator;
	struct ulid id = s->row.stream_id;

	fresh_closed(s->engine, &s->row.stream_id, s->stream->close_seq);
	log_info(
	    "stream %s closed after %llu messages", s->id_text, (unsigned long long)s->stream->close_seq);
	api_stream_event(s->engine, "stream_closed", s->id_text, s->row.tenant_id, "source");
	source_free(s);
	regulator_stream_gone(r, &id);
}

static void
answer_fences(struct source *s)
{
	while (s->fence_count > 0 && s->fences[0].row <= s->rows_durable) {
		struct source_fence f = s->fences[0];

		s->fence_count--;
		memmove(&s->fences[0], &s->fences[1], s->fence_count * sizeof(s->fences[0]));
		relation_fenced(s);
		log_info("stream %s: producer epoch %llu begins", s->id_text, (unsigned long long)f.epoch);
		api_stream_fenced(s, f.call, f.epoch);
	}
}

void
source_row_durable(struct stream *stream, uint64_t state)
{
	struct source *s = stream->owner;
	size_t n;

	s->rows_durable++;
	answer_fences(s);
	source_targets_durable(s);
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

	stream_fixed(stream, relation_described(s));
	source_answer(s);
	source_retain(s);
	source_ready_all(s);
	if (stream->pending != NULL)
		source_touch(s);
}

void
source_flow_recorded(struct flow *flow)
{
	struct source_flow *f = flow->owner;

	/* Publishers of what failed have waited for that. */
	source_answer(f->source);
	source_flow_ready(f);
}
