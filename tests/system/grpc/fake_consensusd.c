/*
 * fake_consensusd: what gatewayd needs of a consensusd, without streams, peers or a database; its part of the
 * control group is in fake_group.c, that of what is done to streams and messages in fake_stream.c.
 *
 *	fake_consensusd SOCKET [mute]        mute: questions for the node's status get no answer
 *
 * The tenant of a request chooses what happens:
 *	fail     publish: FAILED_PRECONDITION with a message that needs percent-encoding
 *	silent   publish: no answer ever (deadlines, cancellation)
 *	late     publish: an answer when the deadline is near, which says how far it is
 *	hold     streaming publish: held after each 10 messages, for 50 ms
 *	stuck    streaming publish: held for ever
 *	crash    publish: the process ends
 *	share    publish: the payload is sent as CONFIG, before the answer
 *	count    subscribe: node_ids[0] says how many items are sent; they wait for nothing
 *	big      subscribe: the same, each with a payload of 256 KiB
 *	credit   subscribe: as big, within the window that the client grants (in messages)
 * Everything else succeeds at once.  What was received is counted in the metrics.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/channel.h"
#include "common/os/log.h"
#include "common/os/loop.h"
#include "proto/edge.h"
#include "proto/ipc.pb.h"
#include "proto/mesh.pb.h"
#include "proto/messages.h"
#include "proto/pb.h"
#include "tests/system/grpc/fake.h"

#define EDGE_DEF "proto/gateway_consensus.def"
#define EDGE_HANDLERS handlers
#include "proto/edge_server.h"

enum { HOLD_EVERY = 10, HOLD_MS = 50, BIG_BYTES = 256 * 1024, ANSWER_BYTES = 512 * 1024 };

static struct {
	struct loop *loop;
	struct loop_timer *timer;
	struct channel *ch;
	bool mute;
	uint32_t held, late; /* calls, 0: none */
	int64_t publishes, items, cancels, acks, more, ends, holds;
	int64_t credit, next, last; /* of the subscription of tenant "credit" */
	uint8_t answer[ANSWER_BYTES], big[BIG_BYTES];
} fake;

struct channel *
fake_channel(void)
{
	return fake.ch;
}

int
fake_answer(uint32_t msg, uint32_t id, const pb_msgdesc_t *fields, const void *body)
{
	struct buf b;
	int rc;

	buf_init_fixed(&b, fake.answer, sizeof(fake.answer));
	rc = pb_pack(&b, fields, body);
	return rc != 0 ? rc : channel_send(fake.ch, msg, id, buf_head(&b), buf_left(&b));
}

int
fake_done(uint32_t id, uint32_t code, const char *message)
{
	mesh_ipc_CallStatus st = mesh_ipc_CallStatus_init_zero;

	st.code = code;
	snprintf(st.message, sizeof(st.message), "%s", message);
	return fake_answer(GC_DONE, id, mesh_ipc_CallStatus_fields, &st);
}

static int
hold(uint32_t id, bool on)
{
	mesh_ipc_Hold h = mesh_ipc_Hold_init_zero;

	h.hold = on;
	fake.held = on ? id : 0;
	return fake_answer(GC_PUBLISH_HOLD, id, mesh_ipc_Hold_fields, &h);
}

static void
on_timer(void *arg)
{
	(void)arg;
	if (fake.ch != NULL && fake.held != 0)
		(void)hold(fake.held, false);
}

static int
publish(uint32_t msg, struct imsg *m)
{
	mesh_v1_Chunk c = mesh_v1_Chunk_init_zero;
	mesh_v1_PublishResult r = mesh_v1_PublishResult_init_zero;
	struct pb_slice payload = {0};
	int rc;

	pb_slice_decode(&c.payload, &payload);
	if ((rc = pb_unpack(m->body, m->len, mesh_v1_Chunk_fields, &c)) != 0)
		return rc;
	if (strcmp(c.tenant_id, "silent") == 0)
		return 0;
	if (strcmp(c.tenant_id, "late") == 0) {
		fake.late = m->peerid;
		return 0;
	}
	if (strcmp(c.tenant_id, "crash") == 0)
		_Exit(3);
	if (strcmp(c.tenant_id, "fail") == 0)
		return fake_done(m->peerid, 9, "tenant 'fail' has no key: 100 % sicher, größer\n");
	if (strcmp(c.tenant_id, "share") == 0 &&
	    (rc = channel_send(fake.ch, GC_CONFIG, 0, payload.data, payload.len)) != 0)
		return rc;
	r.success = true;
	r.message_id = r.seq = c.seq != 0 ? c.seq : fake.publishes + fake.items;
	snprintf(r.stream_id, sizeof(r.stream_id), "%s", c.stream_id);
	snprintf(r.error, sizeof(r.error), "%zu", payload.len);
	return fake_answer(msg, m->peerid, mesh_v1_PublishResult_fields, &r);
}

static int
on_publish(void *ctx, struct channel *ch, struct imsg *m)
{
	(void)ctx, (void)ch;
	fake.publishes++;
	return publish(GC_REPLY, m);
}

static int
on_publish_item(void *ctx, struct channel *ch, struct imsg *m)
{
	int rc;

	(void)ctx, (void)ch;
	fake.items++;
	rc = publish(GC_ITEM, m);
	if (rc == 0 && memmem(m->body, m->len, "stuck", 5) != NULL)
		return hold(m->peerid, true);
	if (rc == 0 && memmem(m->body, m->len, "hold", 4) != NULL && fake.items % HOLD_EVERY == 0) {
		fake.holds++;
		rc = hold(m->peerid, true);
		loop_timer_arm_ms(fake.timer, HOLD_MS);
	}
	return rc;
}

static int
on_publish_end(void *ctx, struct channel *ch, struct imsg *m)
{
	(void)ctx, (void)ch;
	fake.ends++;
	return fake_done(m->peerid, 0, "");
}

static int
on_open_stream(void *ctx, struct channel *ch, struct imsg *m)
{
	mesh_v1_OpenClientDataStreamReq q = mesh_v1_OpenClientDataStreamReq_init_zero;
	mesh_v1_StreamHandle h = mesh_v1_StreamHandle_init_zero;
	int rc = pb_unpack(m->body, m->len, mesh_v1_OpenClientDataStreamReq_fields, &q);

	(void)ctx, (void)ch;
	if (rc != 0)
		return rc;
	snprintf(h.stream_id, sizeof(h.stream_id), "01ARZ3NDEKTSV4RRFFQ69G5FAV");
	snprintf(h.tenant_id, sizeof(h.tenant_id), "%s", q.tenant_id);
	snprintf(h.status, sizeof(h.status), "open");
	h.target_nodes_count = q.target_nodes_count;
	memcpy(h.target_nodes, q.target_nodes, sizeof(h.target_nodes));
	h.next_seq = 1;
	return fake_answer(GC_REPLY, m->peerid, mesh_v1_StreamHandle_fields, &h);
}

static int
on_close_stream(void *ctx, struct channel *ch, struct imsg *m)
{
	(void)ctx, (void)ch;
	return channel_send(fake.ch, GC_REPLY, m->peerid, NULL, 0);
}

static int
item_send(uint32_t id, const char *tenant, int64_t seq, bool big)
{
	struct pb_slice payload = {fake.big, big ? BIG_BYTES : 16};
	mesh_v1_ClientData d = mesh_v1_ClientData_init_zero;

	d.seq = seq;
	snprintf(d.tenant_id, sizeof(d.tenant_id), "%s", tenant);
	pb_slice_encode(&d.payload, &payload);
	return fake_answer(GC_ITEM, id, mesh_v1_ClientData_fields, &d);
}

static int
credit_send(uint32_t id, const mesh_v1_StreamSelector *q)
{
	int rc = 0;

	if (q->has_window)
		fake.credit += q->window.messages;
	for (; fake.credit > 0 && fake.next <= fake.last && rc == 0; fake.credit--)
		rc = item_send(id, "credit", fake.next++, true);
	return rc;
}

static int
on_subscribe(void *ctx, struct channel *ch, struct imsg *m)
{
	mesh_v1_StreamSelector q = mesh_v1_StreamSelector_init_zero;
	int rc = pb_unpack(m->body, m->len, mesh_v1_StreamSelector_fields, &q);
	int64_t count = rc == 0 && q.node_ids_count > 0 ? atoll(q.node_ids[0]) : 0;

	(void)ctx, (void)ch;
	if (strcmp(q.tenant_id, "credit") == 0) {
		fake.credit = 0;
		fake.next = 1;
		fake.last = count;
		return credit_send(m->peerid, &q);
	}
	for (int64_t i = 1; i <= count && rc == 0; i++)
		rc = item_send(m->peerid, q.tenant_id, i, strcmp(q.tenant_id, "count") != 0);
	return rc;
}

/* Tells each ack back as an item. */
static int
on_subscribe_more(void *ctx, struct channel *ch, struct imsg *m)
{
	mesh_v1_StreamSelector q = mesh_v1_StreamSelector_init_zero;
	int rc = pb_unpack(m->body, m->len, mesh_v1_StreamSelector_fields, &q);

	(void)ctx, (void)ch;
	fake.more++;
	if (rc == 0 && q.has_window)
		rc = credit_send(m->peerid, &q);
	for (pb_size_t i = 0; i < q.acks_count && rc == 0; i++) {
		mesh_v1_ClientData d = mesh_v1_ClientData_init_zero;

		fake.acks++;
		d.seq = q.acks[i].seq;
		snprintf(d.message_id, sizeof(d.message_id), "acked");
		rc = fake_answer(GC_ITEM, m->peerid, mesh_v1_ClientData_fields, &d);
	}
	return rc;
}

static int
on_ack(void *ctx, struct channel *ch, struct imsg *m)
{
	mesh_v1_StreamAck a = mesh_v1_StreamAck_init_zero;
	mesh_v1_AckResult r = mesh_v1_AckResult_init_zero;
	int rc = pb_unpack(m->body, m->len, mesh_v1_StreamAck_fields, &a);

	(void)ctx, (void)ch;
	if (rc != 0)
		return rc;
	fake.acks++;
	r.success = true;
	r.processed_seq = a.seq;
	return fake_answer(GC_REPLY, m->peerid, mesh_v1_AckResult_fields, &r);
}

/* Of whose publishes the answer is held back, all but the late one's stay without one. */
static int
on_expire(void *ctx, struct channel *ch, struct imsg *m)
{
	(void)ctx, (void)ch;
	return m->peerid == fake.late ? fake_done(m->peerid, 4, "1 of 2 targets have processed it") : 0;
}

/* Whoever it is may do everything here. */
static int
on_who(void *ctx, struct channel *ch, struct imsg *m)
{
	(void)ctx;
	(void)ch;
	(void)m;
	return 0;
}

static int
on_cancel(void *ctx, struct channel *ch, struct imsg *m)
{
	(void)ctx, (void)ch, (void)m;
	fake.cancels++;
	return 0;
}

static int
on_node_status(void *ctx, struct channel *ch, struct imsg *m)
{
	mesh_v1_NodeStatus s = mesh_v1_NodeStatus_init_zero;

	(void)ctx, (void)ch;
	if (fake.mute)
		return 0;
	snprintf(s.node_id, sizeof(s.node_id), "0000000000001");
	s.daemons_count = 1;
	snprintf(s.daemons[0].name, sizeof(s.daemons[0].name), "consensusd");
	snprintf(s.daemons[0].state, sizeof(s.daemons[0].state), "running");
	return fake_answer(GC_REPLY, m->peerid, mesh_v1_NodeStatus_fields, &s);
}

static int
on_list_streams(void *ctx, struct channel *ch, struct imsg *m)
{
	mesh_v1_StreamInfo s = mesh_v1_StreamInfo_init_zero;
	int rc = 0;

	(void)ctx, (void)ch;
	for (int i = 1; i <= 3 && rc == 0; i++) {
		snprintf(s.tenant_id, sizeof(s.tenant_id), "tenant-%d", i);
		rc = fake_answer(GC_ITEM, m->peerid, mesh_v1_StreamInfo_fields, &s);
	}
	return rc != 0 ? rc : fake_done(m->peerid, 0, "");
}

/* --- the control group --- */

#define GROUP(handler)                                                                                       \
	static int on_##handler(void *ctx, struct channel *ch, struct imsg *m)                               \
	{                                                                                                    \
		(void)ctx, (void)ch;                                                                         \
		return fake_group(m);                                                                        \
	}
GROUP(list_groups)
GROUP(seed)
GROUP(join)
GROUP(start)
GROUP(stop)
GROUP(leave)
GROUP(evict)
GROUP(token)
GROUP(settings)
GROUP(transfer)
GROUP(node_update)
GROUP(mesh_update)
GROUP(db_update)
GROUP(follow_nodes)
GROUP(follow_mesh)
GROUP(follow_db)
GROUP(follow_more)
GROUP(config_get)
GROUP(config_history)
GROUP(config_set)
GROUP(rotate_key)
GROUP(list_keys)
GROUP(dead_letters)
GROUP(resolve)

/* --- streams and messages --- */

#define STREAM(handler)                                                                                      \
	static int on_##handler(void *ctx, struct channel *ch, struct imsg *m)                               \
	{                                                                                                    \
		(void)ctx, (void)ch;                                                                         \
		return fake_stream(m);                                                                       \
	}
STREAM(message)
STREAM(control_streams)
STREAM(stream_targets)
STREAM(nack)
STREAM(stream_letters)
STREAM(resolve_stream)

/* --- the process --- */

static int
on_metrics(void *ctx, struct channel *ch, struct imsg *m)
{
	char text[1024];
	int n = snprintf(text, sizeof(text),
	    "# HELP fake_total What was received.\n# TYPE fake_total counter\n"
	    "fake_total{what=\"publish\"} %lld\nfake_total{what=\"item\"} %lld\nfake_total{what=\"cancel\"} "
	    "%lld\n"
	    "fake_total{what=\"ack\"} %lld\nfake_total{what=\"more\"} %lld\nfake_total{what=\"end\"} %lld\n"
	    "fake_total{what=\"hold\"} %lld\nfake_total{what=\"group\"} %lld\n"
	    "fake_total{what=\"followed\"} %lld\n",
	    (long long)fake.publishes, (long long)fake.items, (long long)fake.cancels, (long long)fake.acks,
	    (long long)fake.more, (long long)fake.ends, (long long)fake.holds, (long long)fake_group_calls(),
	    (long long)fake_group_followed());

	(void)ctx, (void)ch;
	return channel_send(fake.ch, GC_REPLY, m->peerid, text, (size_t)n);
}

static int
on_up(void *ctx, struct channel *ch)
{
	mesh_ipc_Health h = mesh_ipc_Health_init_zero;

	(void)ctx;
	fake.ch = ch;
	h.serving = true;
	return fake_answer(GC_HEALTH, 0, mesh_ipc_Health_fields, &h);
}

static void
on_down(void *ctx, struct channel *ch, int err)
{
	(void)ctx, (void)ch, (void)err;
	fake.ch = NULL;
}

int
main(int argc, char **argv)
{
	static const struct channel_conf conf = {.edge = &edge_gateway_consensus,
	    .handlers = handlers,
	    .handler_count = sizeof(handlers) / sizeof(handlers[0]),
	    .on_up = on_up,
	    .on_down = on_down};
	int fd;

	if (argc < 2 || argv[1][0] == '-') {
		fprintf(stderr, "usage: fake_consensusd SOCKET [mute]\n");
		return 2;
	}
	fake.mute = argc > 2 && strcmp(argv[2], "mute") == 0;
	log_init("fake_consensusd", NULL);
	fake.loop = loop_event_new();
	fd = channel_listen_fd(argv[1]);
	if (fake.loop == NULL || fd < 0)
		return 1;
	fake.timer = loop_timer_new(fake.loop, on_timer, NULL);
	if (fake.timer == NULL || channel_serve(fake.loop, fd, "consensusd", &conf, 1) == NULL)
		return 1;
	return loop_run(fake.loop) == 0 ? 0 : 1;
}
