/* sink: what its source is told of where it is, and of what failed; see sink.h. */
#include <string.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "consensusd/sink_impl.h"
#include "consensusd/transport.h"
#include "proto/pb.h"

enum { FAILURES_MAX_BYTES = 1024 };

/* Dead letters of a sink that are read from the database. */
struct sink_question {
	uint64_t begun; /* of the sink */
	struct target_ack found;
};

static void
pack_failures(struct buf *out, const struct target_ack *a)
{
	mesh_e2e_Failures m = mesh_e2e_Failures_init_zero;

	if (a->failed_from == 0 && a->failed_count == 0)
		return;
	m.from = a->failed_from;
	m.seqs_count = (pb_size_t)a->failed_count;
	memcpy(m.seqs, a->failed, a->failed_count * sizeof(a->failed[0]));
	MUST(pb_pack(out, mesh_e2e_Failures_fields, &m) == 0);
}

void
sink_send_ack(struct sink *s, uint32_t msg_type, const struct target_ack *a)
{
	mesh_e2e_Header h = mesh_e2e_Header_init_zero;
	uint8_t mem[FAILURES_MAX_BYTES];
	struct buf payload;

	h.msg_type = msg_type;
	memcpy(h.stream_id.bytes, s->row.stream_id.b, ULID_BYTES);
	h.stream_id.size = ULID_BYTES;
	memcpy(h.tenant_id, s->row.tenant_id, sizeof(h.tenant_id));
	h.stored = a->stored;
	h.ack = a->processed;
	h.window_bytes = a->window_bytes;
	h.ranges_count = (pb_size_t)a->range_count;
	memcpy(h.ranges, a->ranges, a->range_count * sizeof(a->ranges[0]));
	if (msg_type == mesh_e2e_MsgType_MSG_OPENED)
		h.replica = relation_replica(s);
	buf_init_fixed(&payload, mem, sizeof(mem));
	pack_failures(&payload, a);
	transport_send(s->engine->transport, &h, s->row.src_node, buf_head(&payload), buf_left(&payload));
}

void
sink_send_position(struct sink *s, uint32_t msg_type)
{
	struct target_ack a;

	target_ack_fill(s->target, &a);
	sink_send_ack(s, msg_type, &a);
}

/* --- what failed before this process, or so often that it is not in memory --- */

static struct sink *
asker(const struct engine_read *r)
{
	const struct sink_question *q = r->extra;
	struct sink *s = sink_find(r->engine, &r->stream_id);

	return s != NULL && s->begun == q->begun ? s : NULL;
}

/* As an ack of when the database was asked: all that was durable then it knew. */
static void
send_failures(struct sink *s, const struct target_ack *found)
{
	struct target_ack a;

	target_ack_fill(s->target, &a);
	a.processed = found->processed;
	a.failed_from = found->failed_from;
	a.failed_count = found->failed_count;
	memcpy(a.failed, found->failed, found->failed_count * sizeof(a.failed[0]));
	sink_send_ack(s, mesh_e2e_MsgType_MSG_ACK, &a);
	target_ack_soon(s->target, clock_mono(), true);
	sink_touch(s);
}

static void
on_failure(void *arg, uint64_t seq, int err)
{
	struct engine_read *r = arg;
	struct sink_question *q = r->extra;
	struct sink *s = asker(r);

	if (seq != 0) {
		if (seq <= q->found.processed && q->found.failed_count < FAILURES_ACK_MAX)
			q->found.failed[q->found.failed_count++] = seq;
		return;
	}
	if (s != NULL) {
		s->failures_asked = false;
		/* Else the source asks again. */
		if (err == 0)
			send_failures(s, &q->found);
	}
	engine_read_free(r);
}

static void
ask(struct sink *s, uint64_t seq)
{
	struct engine_read *r = engine_read_new(s->engine, &s->row.stream_id, s->engine->self);
	struct sink_question *q = r != NULL ? mem_calloc(1, sizeof(*q)) : NULL;

	if (q == NULL) {
		engine_read_free(r);
		return;
	}
	q->begun = s->begun;
	q->found.processed = s->target->processed_seq;
	q->found.failed_from = seq;
	r->extra = q;
	s->failures_asked = true;
	if (store_read_failures(
		s->engine->store, &r->stream_id, s->engine->self, seq, FAILURES_ACK_MAX, on_failure, r) == 0)
		return;
	s->failures_asked = false;
	engine_read_free(r);
}

void
sink_heard(struct sink *s, uint64_t seq)
{
	target_heard(s->target, seq);
	if (target_lacks_failures(s->target, seq) && !s->failures_asked)
		ask(s, seq);
}
