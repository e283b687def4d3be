/*
 * source: targets come and go while messages flow; see source.h.
 *
 * A change begins and ends between batches: what is pending is given to the store, then the row with the new
 * targets, the number of the first message that each new one gets, and the group of the new relationship.
 * When that is durable, and not before, it takes effect: targets are told, nothing waits for those that were
 * removed, and the stream moves to its other group.  Until then a crash leaves the targets that there were.
 * Messages that come in between wait for all: those of the new set count with the row, those of the old one
 * until it is durable.
 */
#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "consensusd/api.h"
#include "consensusd/core/node_list.h"
#include "consensusd/source_impl.h"
#include "consensusd/stats.h"

/* --- the row --- */

static void
drop_left(struct store_stream *row, uint64_t node)
{
	row->left_count = node_list_drop(row->left, row->left_count, node);
}

bool
source_row_drop(struct store_stream *row, uint64_t node)
{
	size_t kept = 0;

	drop_left(row, node);
	if (row->dst_count == 1 && row->dst_nodes[0] == node)
		return false;
	for (size_t i = 0; i < row->dst_count; i++) {
		if (row->dst_nodes[i] == node)
			continue;
		row->dst_first[kept] = row->dst_first[i];
		row->dst_nodes[kept++] = row->dst_nodes[i];
	}
	row->dst_count = kept;
	return true;
}

/* The row with the new targets, in their order.  left has a place: each that leaves has one among the flows.
 */
static struct store_stream
row_with(const struct source *s, const uint64_t *nodes, size_t count)
{
	const struct store_stream *old = &s->row;
	struct store_stream row = *old;

	row.dst_count = count;
	for (size_t i = 0; i < count; i++) {
		row.dst_nodes[i] = nodes[i];
		row.dst_first[i] = s->stream->next_seq;
		drop_left(&row, nodes[i]);
		for (size_t k = 0; k < old->dst_count; k++)
			if (old->dst_nodes[k] == nodes[i])
				row.dst_first[i] = old->dst_first[k];
		if (nodes[i] == s->engine->self)
			row.first_seq = row.dst_first[i];
	}
	for (size_t k = 0; k < old->dst_count && row.left_count < STORE_TARGETS_MAX; k++) {
		if (!node_list_has(nodes, count, old->dst_nodes[k]))
			row.left[row.left_count++] = old->dst_nodes[k];
	}
	source_next_revision(&row);
	return row;
}

/* --- flows --- */

static void
on_moved(void *arg, struct flow *from, struct flow *to)
{
	struct engine *e = arg;

	for (int i = 0; i < FRAME_CLASS_COUNT; i++)
		order_move(&e->order[i], from, to);
}

/* What points at a flow of the shell lets go of it. */
static void
let_go(struct source_flow *f)
{
	struct engine *e = f->source->engine;

	engine_at_cancel(e, &f->timed);
	source_flow_unlink(f);
	if (f->queued)
		TAILQ_REMOVE(&e->ready_flows[f->source->class], f, ready);
	f->queued = false;
}

/* It is the same flow in another place.  The node is there, so it needs no memory. */
static void
settle_at(struct source_flow *f, struct flow *flow)
{
	f->flow = flow;
	flow->owner = f;
	f->timed.arg = f;
	MUST(source_flow_link(f, flow->node) == 0);
	source_flow_ready(f);
}

/* Room for as many flows as there can be, here and in the core. */
static int
reserve(struct source *s)
{
	struct stream *st = s->stream;
	struct source_flow *flows;

	if (st->flow_cap == STREAM_TARGETS_MAX)
		return 0;
	flows = mem_calloc(STREAM_TARGETS_MAX, sizeof(*flows));
	if (flows == NULL)
		return ERR_NOMEM;
	if (stream_reserve(st, on_moved, s->engine) != 0) {
		mem_free(flows);
		return ERR_NOMEM;
	}
	for (size_t i = 0; i < st->flow_count; i++) {
		let_go(&s->flows[i]);
		flows[i] = s->flows[i];
	}
	mem_free(s->flows);
	s->flows = flows;
	for (size_t i = 0; i < st->flow_count; i++)
		settle_at(&s->flows[i], &st->flows[i]);
	return 0;
}

/* A new target, whose node is known to the engine. */
static void
add(struct source *s, uint64_t node)
{
	struct flow *f = stream_add(s->stream, node);
	size_t at = (size_t)(f - s->stream->flows);

	if (f->owner != NULL)
		let_go(&s->flows[at]);
	MUST(source_flow_init(s, at) == 0);
	s->flows[at].recorded_put = f->processed;
}

/* --- a change --- */

static int
check(const struct source *s, const uint64_t *nodes, size_t count)
{
	const struct policy *p = &s->row.policy;

	if (s->change.under_way)
		return ERR_STALE;
	if (s->stream->state != STREAM_OPEN)
		return s->stream->state == STREAM_OPENING ? ERR_AGAIN : ERR_STATE;
	if (p->ack == POLICY_ACK_QUORUM && p->quorum > count)
		return ERR_RANGE;
	return stream_has_places(s->stream, nodes, count) ? 0 : ERR_LIMIT;
}

static bool
is_same(const struct source *s, const uint64_t *nodes, size_t count)
{
	size_t had = 0;

	for (size_t i = 0; i < count; i++)
		had += node_list_has(s->row.dst_nodes, s->row.dst_count, nodes[i]);
	return had == count && count == s->row.dst_count;
}

/* All that needs memory or the store, so that nothing fails after it. */
static int
prepare(struct source *s, const uint64_t *nodes, size_t count)
{
	int err = 0;

	for (size_t i = 0; i < count && err == 0; i++)
		err = nodes_get(&s->engine->nodes, nodes[i]) != NULL ? 0 : ERR_NOMEM;
	if (err == 0)
		err = reserve(s);
	return err == 0 ? source_give(s) : err;
}

static int
begin(struct source *s, const uint64_t *nodes, size_t count)
{
	struct store_stream before = s->row, row = row_with(s, nodes, count);
	uint64_t first_seq = s->stream->next_seq;
	int err = relation_choose(s->engine, &row);

	if (err == 0)
		err = source_sign(s->engine, &row);
	if (err != 0)
		return err;
	s->row = row;
	err = source_put_row(s, STREAM_OPEN);
	if (err != 0) {
		s->row = before;
		mem_free((void *)(uintptr_t)row.meta);
		return err;
	}
	mem_free((void *)(uintptr_t)before.meta);
	relation_expect(s);
	for (size_t i = 0; i < count; i++) {
		if (!node_list_has(before.dst_nodes, before.dst_count, nodes[i]))
			add(s, nodes[i]);
	}
	s->change.under_way = true;
	s->change.row = s->rows_put;
	s->change.first_seq = first_seq;
	return 0;
}

int
source_change_targets(struct source *s, const uint64_t *nodes, size_t count, uint64_t call)
{
	bool same = is_same(s, nodes, count);
	int err;

	MUST(count > 0 && count <= STREAM_TARGETS_MAX);
	if (same && !s->change.under_way)
		return SOURCE_SAME;
	if (s->change.call_count == SOURCE_CALLS_MAX)
		return ERR_FULL;
	if (!same) {
		if ((err = check(s, nodes, count)) != 0 || (err = prepare(s, nodes, count)) != 0 ||
		    (err = begin(s, nodes, count)) != 0)
			return err;
	}
	s->change.calls[s->change.call_count++] = call;
	return 0;
}

/* --- it is durable --- */

static void
say(const struct source *s, uint64_t node, const char *what, const char *event)
{
	log_notice("stream %s: %s %s", s->id_text, engine_node_text(s->engine, node), what);
	api_stream_event(s->engine, event, s->id_text, s->row.tenant_id, "source");
}

/* Nothing waits for those that are in the row no more. */
static void
let_leave(struct source *s)
{
	for (size_t i = 0; i < s->stream->flow_count; i++) {
		struct source_flow *f = &s->flows[i];

		if (f->flow->state >= FLOW_CLOSED ||
		    node_list_has(s->row.dst_nodes, s->row.dst_count, f->flow->node))
			continue;
		source_record(f);
		flow_remove(f->flow, clock_mono());
		f->denied = false;
		snprintf(f->error, sizeof(f->error), "it was removed, and has not heard of it yet");
		metric_inc(&stats.targets_removed);
		say(s, f->flow->node, "is no target any more: it was removed", "stream_target_removed");
	}
}

static void
tell_of_new(const struct source *s)
{
	for (size_t i = 0; i < s->stream->flow_count; i++) {
		const struct flow *f = &s->stream->flows[i];
		char what[96];

		if (f->state >= FLOW_CLOSED || f->first_seq != s->change.first_seq)
			continue;
		snprintf(what, sizeof(what), "is a target now, from message %llu on",
		    (unsigned long long)f->first_seq);
		metric_inc(&stats.targets_added);
		say(s, f->node, what, "stream_target_added");
	}
}

void
source_targets_durable(struct source *s)
{
	struct source_change *c = &s->change;
	size_t n = c->call_count;

	if (!c->under_way || s->rows_durable < c->row)
		return;
	c->under_way = false;
	c->call_count = 0;
	relation_move(s);
	let_leave(s);
	tell_of_new(s);
	source_tell(s);
	source_commit(s);
	for (size_t i = 0; i < s->stream->flow_count; i++) {
		if (s->flows[i].flow->state == FLOW_REFUSED && stream_hopeless(s->stream)) {
			source_fail_waiters(&s->flows[i]);
			break;
		}
	}
	source_progressed(s);
	for (size_t i = 0; i < n; i++)
		api_stream_opened(s, c->calls[i]);
}

void
source_target_told(struct source_flow *f)
{
	struct source *s = f->source;

	flow_told(f->flow);
	f->error[0] = '\0';
	drop_left(&s->row, f->flow->node);
	log_info("stream %s: %s knows that it is no target any more", s->id_text,
	    engine_node_text(s->engine, f->flow->node));
	/* Else it is told once more after a restart. */
	if (!s->ended && (source_sign_again(s) != 0 || source_put_row(s, s->stream->state) != 0))
		log_debug("stream %s: that is not written yet", s->id_text);
	source_finish(s);
}

/* --- after a restart --- */

void
source_load_targets(struct source *s)
{
	for (size_t i = 0; i < s->row.dst_count; i++)
		stream_load_first(s->stream, s->row.dst_nodes[i], s->row.dst_first[i]);
	for (size_t i = 0; i < s->stream->flow_count; i++) {
		struct source_flow *f = &s->flows[i];

		f->recorded_put = f->flow->processed;
		if (node_list_has(s->row.left, s->row.left_count, f->flow->node))
			flow_load_removed(f->flow, clock_mono());
	}
	/* What nobody is left for was answered before: it must not be given up as if nobody had it. */
	(void)stream_commit(s->stream);
}
