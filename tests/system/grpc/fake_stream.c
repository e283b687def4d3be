/*
 * fake_stream: the stand-in's part of what is done to streams and their messages.  It tells back what it was
 * asked, so that a test sees each field arrive.
 *
 * A stream, or a message, with the id "nobody" does not exist.
 */
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/os/channel.h"
#include "proto/mesh.pb.h"
#include "proto/messages.h"
#include "proto/pb.h"
#include "tests/system/grpc/fake.h"

enum { LETTERS = 3 };

static bool
missing(const char *id)
{
	return strcmp(id, "nobody") == 0;
}

/* One target has processed it, the other waits. */
static int
message(const struct imsg *m)
{
	mesh_v1_MessageStatusReq q = mesh_v1_MessageStatusReq_init_zero;
	mesh_v1_MessageStatus s = mesh_v1_MessageStatus_init_zero;
	int rc = pb_unpack(m->body, m->len, mesh_v1_MessageStatusReq_fields, &q);

	if (rc != 0)
		return rc;
	if (missing(q.stream_id))
		return fake_done(m->peerid, 5, "there is no such stream");
	snprintf(s.stream_id, sizeof(s.stream_id), "%s", q.stream_id);
	snprintf(s.message_id, sizeof(s.message_id), "%s", q.message_id);
	s.seq = q.seq;
	s.targets_count = 2;
	snprintf(s.targets[0].node_id, sizeof(s.targets[0].node_id), "0000000000002");
	snprintf(s.targets[0].state, sizeof(s.targets[0].state), "processed");
	s.targets[0].updated = 1800000000000;
	snprintf(s.targets[1].node_id, sizeof(s.targets[1].node_id), "0000000000003");
	snprintf(s.targets[1].state, sizeof(s.targets[1].state), "waiting");
	snprintf(s.state, sizeof(s.state), "waiting");
	return fake_answer(GC_REPLY, m->peerid, mesh_v1_MessageStatus_fields, &s);
}

/* One rule, of what was asked. */
static int
control(const struct imsg *m)
{
	mesh_v1_StreamControlReq q = mesh_v1_StreamControlReq_init_zero;
	mesh_v1_StreamRule r = mesh_v1_StreamRule_init_zero;
	mesh_v1_StreamControlList list = mesh_v1_StreamControlList_init_zero;
	uint8_t mem[mesh_v1_StreamRule_size];
	struct pb_slice item;
	struct pb_list rules = {&item, 1};
	struct buf b;
	int rc = pb_unpack(m->body, m->len, mesh_v1_StreamControlReq_fields, &q);

	if (rc != 0)
		return rc;
	if (q.stream_ids_count > 0 && missing(q.stream_ids[0]))
		return fake_done(m->peerid, 5, "there is no such stream");
	snprintf(r.kind, sizeof(r.kind), "%s", q.action);
	snprintf(r.side, sizeof(r.side), "%s", q.side);
	snprintf(r.tenant_id, sizeof(r.tenant_id), "%s", q.tenant_id);
	if (q.stream_ids_count > 0)
		snprintf(r.stream_id, sizeof(r.stream_id), "%s", q.stream_ids[0]);
	r.has_min_priority = q.has_min_priority;
	r.min_priority = q.min_priority;
	r.messages_per_s = q.messages_per_s;
	buf_init_fixed(&b, mem, sizeof(mem));
	if (pb_pack(&b, mesh_v1_StreamRule_fields, &r) != 0)
		return ERR_LIMIT;
	item = (struct pb_slice){buf_head(&b), buf_left(&b)};
	pb_list_encode(&list.rules, &rules);
	return fake_answer(GC_REPLY, m->peerid, mesh_v1_StreamControlList_fields, &list);
}

static int
nack(const struct imsg *m)
{
	mesh_v1_StreamNack n = mesh_v1_StreamNack_init_zero;
	mesh_v1_AckResult r = mesh_v1_AckResult_init_zero;
	int rc = pb_unpack(m->body, m->len, mesh_v1_StreamNack_fields, &n);

	if (rc != 0)
		return rc;
	r.success = !missing(n.stream_id);
	snprintf(r.error, sizeof(r.error), "%s", r.success ? n.reason : "there is no such stream");
	r.processed_seq = n.seq - 1;
	return fake_answer(GC_REPLY, m->peerid, mesh_v1_AckResult_fields, &r);
}

static int
letter_pack(struct buf *b, int64_t position, const char *stream, int64_t seq)
{
	mesh_v1_StreamDeadLetter l = mesh_v1_StreamDeadLetter_init_zero;

	l.position = position;
	l.seq = seq;
	l.attempts = 5;
	snprintf(l.stream_id, sizeof(l.stream_id), "%s", stream);
	snprintf(l.error, sizeof(l.error), "the handler can't read it");
	return pb_pack(b, mesh_v1_StreamDeadLetter_fields, &l);
}

/* Letters 1 to LETTERS, those after the position that was given and as many as wanted. */
static int
letters(const struct imsg *m)
{
	mesh_v1_StreamDeadLetterReq q = mesh_v1_StreamDeadLetterReq_init_zero;
	mesh_v1_StreamDeadLetterList list = mesh_v1_StreamDeadLetterList_init_zero;
	struct pb_slice items[LETTERS];
	struct pb_list all = {.items = items};
	uint8_t mem[LETTERS][512];
	int rc = pb_unpack(m->body, m->len, mesh_v1_StreamDeadLetterReq_fields, &q);

	for (int64_t at = q.after + 1; rc == 0 && at <= LETTERS; at++) {
		struct buf b;

		if (q.limit > 0 && all.count == (size_t)q.limit)
			break;
		buf_init_fixed(&b, mem[all.count], sizeof(mem[0]));
		rc = letter_pack(&b, at, q.stream_id, 10 * at);
		items[all.count++] = (struct pb_slice){buf_head(&b), buf_left(&b)};
	}
	if (rc != 0)
		return rc;
	pb_list_encode(&list.letters, &all);
	return fake_answer(GC_REPLY, m->peerid, mesh_v1_StreamDeadLetterList_fields, &list);
}

static int
resolve(const struct imsg *m)
{
	mesh_v1_ResolveStreamDeadLetterReq q = mesh_v1_ResolveStreamDeadLetterReq_init_zero;
	uint8_t mem[mesh_v1_StreamDeadLetter_size];
	struct buf b;
	int rc = pb_unpack(m->body, m->len, mesh_v1_ResolveStreamDeadLetterReq_fields, &q);

	if (rc != 0)
		return rc;
	if (missing(q.stream_id))
		return fake_done(m->peerid, 5, "there is no such dead letter");
	if (strcmp(q.action, "replay") != 0 && strcmp(q.action, "discard") != 0)
		return fake_done(m->peerid, 3, "the action is replay or discard");
	buf_init_fixed(&b, mem, sizeof(mem));
	if (letter_pack(&b, 1, q.stream_id, q.seq) != 0)
		return ERR_LIMIT;
	return channel_send(fake_channel(), GC_REPLY, m->peerid, buf_head(&b), buf_left(&b));
}

/* Those that are to be added are the stream's. */
static int
targets(const struct imsg *m)
{
	mesh_v1_StreamTargetsReq q = mesh_v1_StreamTargetsReq_init_zero;
	mesh_v1_StreamHandle h = mesh_v1_StreamHandle_init_zero;
	int rc = pb_unpack(m->body, m->len, mesh_v1_StreamTargetsReq_fields, &q);

	if (rc != 0)
		return rc;
	if (missing(q.stream_id))
		return fake_done(m->peerid, 5, "there is no such stream");
	memcpy(h.stream_id, q.stream_id, sizeof(h.stream_id));
	memcpy(h.tenant_id, q.tenant_id, sizeof(h.tenant_id));
	memcpy(h.target_nodes, q.add, sizeof(h.target_nodes));
	h.target_nodes_count = q.add_count;
	h.next_seq = q.remove_count;
	return fake_answer(GC_REPLY, m->peerid, mesh_v1_StreamHandle_fields, &h);
}

int
fake_stream(const struct imsg *m)
{
	switch (m->type) {
	case GC_MESSAGE:
		return message(m);
	case GC_CONTROL_STREAMS:
		return control(m);
	case GC_STREAM_TARGETS:
		return targets(m);
	case GC_NACK:
		return nack(m);
	case GC_STREAM_LETTERS:
		return letters(m);
	case GC_RESOLVE_STREAM:
		return resolve(m);
	default:
		return ERR_FORMAT;
	}
}
