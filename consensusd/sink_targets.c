/*
 * sink: this node becomes a target of a stream that has messages, and is removed from one; see sink.h.
 *
 * The source's statement says both (meta.h): from which message on a target gets the stream, and which nodes
 * were targets and have not answered that they know.  A target that is none any more drops what it has not
 * processed, and answers when that is durable.  One that was removed and came back before it heard of either
 * begins anew.
 */
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/log.h"
#include "consensusd/api.h"
#include "consensusd/core/node_list.h"
#include "consensusd/core/qos.h"
#include "consensusd/regulator.h"
#include "consensusd/sink_impl.h"
#include "consensusd/source.h"
#include "consensusd/stats.h"
#include "consensusd/subscriber.h"
#include "consensusd/transport.h"

bool
sink_first_seq(const struct engine *e, const struct store_stream *row, uint64_t *first_seq)
{
	size_t at = node_list_at(row->dst_nodes, row->dst_count, e->self);

	if (at == row->dst_count)
		return false;
	*first_seq = row->dst_first[at];
	return true;
}

bool
sink_has_left(const struct engine *e, const struct store_stream *row)
{
	return node_list_has(row->left, row->left_count, e->self);
}

bool
sink_over(const struct sink *s, const struct store_stream *row)
{
	if (row->revision <= s->row.revision || s->target->state != TARGET_OPEN)
		return false;
	return sink_has_left(s->engine, row) || row->first_seq > s->row.first_seq;
}

void
sink_take_targets(struct store_stream *to, const struct store_stream *row)
{
	memcpy(to->group_id, row->group_id, sizeof(to->group_id));
	to->dst_count = row->dst_count;
	memcpy(to->dst_nodes, row->dst_nodes, sizeof(to->dst_nodes));
	memcpy(to->dst_first, row->dst_first, sizeof(to->dst_first));
	to->left_count = row->left_count;
	memcpy(to->left, row->left, sizeof(to->left));
}

/* --- this node is no target any more --- */

/* What is in the inbox, and what is known of messages that failed.  All that was put before is in the ticket.
 */
static int64_t
forget_messages(struct sink *s)
{
	struct engine *e = s->engine;
	uint64_t upto = s->target->expected_seq - 1;
	const struct store_letter cut = {
	    .kind = STORE_LETTER_CUT, .stream_id = s->row.stream_id, .seq = upto, .error = ""};
	int64_t ticket = store_put_letter(e->store, s->class, &cut);

	return ticket > 0 ? store_put_inbox_clear(e->store, s->class, &s->row.stream_id, upto) : ticket;
}

/* Among the targets that the last row has this node is not: so it is known which streams it has left.  Where
 * it was the only one, it is the source that stands there. */
static void
leave_targets(const struct engine *e, struct store_stream *row)
{
	row->dst_count = node_list_drop(row->dst_nodes, row->dst_count, e->self);
	if (row->dst_count == 0)
		row->dst_nodes[row->dst_count++] = row->src_node;
}

/* Of this node's own stream the row is the source's.  One that begins anew has another row soon, but it may
 * be removed once more before that. */
static int64_t
put_end(struct sink *s, const struct store_stream *row)
{
	struct engine *e = s->engine;
	struct store_stream last = s->row;
	int64_t ticket = forget_messages(s);

	if (ticket < 0 || s->row.src_node == e->self)
		return ticket;
	if (sink_has_left(e, row)) {
		sink_take_targets(&last, row);
		last.revision = row->revision;
		last.meta = row->meta;
		last.meta_len = row->meta_len;
	}
	leave_targets(e, &last);
	last.state = STORE_STREAM_CLOSED;
	last.close_seq = s->target->processed_seq;
	return store_put_stream(e->store, &last);
}

void
sink_remove(struct sink *s, const struct store_stream *row)
{
	struct engine *e = s->engine;
	int64_t ticket;

	if (order_reserve(&e->order[s->class]) != 0 || store_full(e->store) || (ticket = put_end(s, row)) < 0)
		return;
	s->removed = true;
	s->again = !sink_has_left(e, row);
	/* What comes back with this very statement is not old. */
	s->row.revision = s->again ? row->revision - 1 : row->revision;
	s->target->state = TARGET_CLOSING;
	s->target->close_seq = s->target->processed_seq;
	order_add(&e->order[s->class], (uint64_t)ticket, ORDER_TARGET_ROW, s->target, TARGET_CLOSING);
	if (s->subscriber != NULL && s->again)
		subscriber_detach(s);
	else if (s->subscriber != NULL)
		subscriber_stream_removed(s->subscriber, s);
	log_notice(
	    "stream %s: this node is no target any more: %llu messages are dropped that it had not processed",
	    s->id_text, (unsigned long long)(s->target->stored_seq - s->target->processed_seq));
	api_stream_event(e, "stream_target_removed", s->id_text, s->row.tenant_id, "target");
}

/* The source hears which of its statements this node knows. */
static void
answer(struct engine *e, const struct store_stream *row)
{
	mesh_e2e_Header h = mesh_e2e_Header_init_zero;

	h.msg_type = mesh_e2e_MsgType_MSG_CLOSED;
	memcpy(h.stream_id.bytes, row->stream_id.b, ULID_BYTES);
	h.stream_id.size = ULID_BYTES;
	memcpy(h.tenant_id, row->tenant_id, sizeof(h.tenant_id));
	h.seq = row->revision;
	transport_send(e->transport, &h, row->src_node, NULL, 0);
}

void
sink_left(struct sink *s)
{
	struct engine *e = s->engine;
	struct ulid id = s->row.stream_id;

	fresh_removed(e, &id, s->row.revision);
	/* One that begins anew is asked again. */
	if (!s->again)
		answer(e, &s->row);
	sink_free(s);
	if (source_find(e, &id) == NULL)
		regulator_stream_gone(e->regulator, &id);
}

void
sink_not_here(struct engine *e, const struct store_stream *row)
{
	if (row->revision > fresh_removed_at(e, &row->stream_id))
		fresh_removed(e, &row->stream_id, row->revision);
	/* It may have ended between the source's row and this node's. */
	if (row->src_node == e->self &&
	    store_put_inbox_clear(e->store, qos_class(row->qos), &row->stream_id, INT64_MAX) < 0)
		return; /* it asks again */
	answer(e, row);
}
