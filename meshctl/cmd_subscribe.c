/* cmd_subscribe: `meshctl subscribe`. */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/id.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/loop.h"
#include "meshctl/args.h"
#include "meshctl/client.h"
#include "meshctl/command.h"
#include "meshctl/handlers.h"
#include "meshctl/out.h"
#include "meshctl/resume.h"
#include "meshctl/sink.h"
#include "proto/mesh.pb.h"
#include "proto/pb.h"

#define METHOD "/mesh.v1.MeshDataService/SubscribeClientData"

enum {
	ACKS_MAX = 64, /* entries of one selector message (mesh.options) */
	WINDOW_MESSAGES = 8192,
	WINDOW_BYTES = 16 * 1024 * 1024,
	COMMIT_BYTES = 4 * 1024 * 1024, /* written before acks go out, even if more is waiting */
	RETRY_PAUSE_MS = 100,
};

const struct option_def cmd_subscribe_options[] = {
    {"tenant", 't', "TENANT", "tenant whose streams to receive"},
    {"from", 0, "NODE", "only streams from this node (may be repeated)"},
    {"out", 'o', "FILE", "append payloads to FILE; acknowledged when they are on disk"},
    {"dir", 0, "DIR", "write each payload to a file DIR/STREAM-SEQ"},
    {"discard", 0, NULL, "only acknowledge and count"},
    {"raw", 0, NULL, "no newline after each payload (default with --out)"},
    {"lines", 'l', NULL, "a newline after each payload (default without --out)"},
    {"count", 'n', "N", "end after N messages"},
    {"resume-file", 0, "FILE", "keep the position in FILE: a restart goes on exactly behind it"},
    {"retry", 0, "DURATION", "go on when the node went away and comes back within this time"},
    {"take-over", 0, NULL, "take streams over from another subscriber"},
    {"progress", 'p', NULL, "show how many messages were received"},
    {NULL, 0, NULL, NULL},
};

struct subscribe {
	const struct ctl *ctl;
	const struct args *args;
	const char *resume_path;
	int64_t left; /* messages still to receive; -1: no limit */
	int64_t retry_ms;
	bool progress;
	struct sink *sink;
	struct resume position;
	struct client *client;
	struct client_call *call;
	struct loop_defer commit;
	uint64_t received, credit_messages, credit_bytes, uncommitted_bytes;
	bool again;
	int code;
};

static void
stop(struct subscribe *s, int code)
{
	s->code = code;
	client_stop(s->client);
}

/* --- acknowledging --- */

static void
ack_init(mesh_v1_StreamAck *ack, const struct resume_stream *st, uint64_t seq)
{
	memcpy(ack->stream_id, st->stream_id, sizeof(ack->stream_id));
	ack->seq = (int64_t)seq;
	ack->subscription = st->subscription;
}

/* Acks of at most ACKS_MAX streams from *i on, and the window's new credit. */
static int
send_acks(struct subscribe *s, size_t *i)
{
	mesh_v1_StreamSelector sel = mesh_v1_StreamSelector_init_zero;
	uint8_t mem[mesh_v1_StreamAck_size * ACKS_MAX + 1024];
	struct buf b;

	for (; *i < s->position.count && sel.acks_count < ACKS_MAX; ++*i) {
		struct resume_stream *st = &s->position.streams[*i];
		mesh_v1_StreamAck *ack = &sel.acks[sel.acks_count];

		if (st->replayed != 0) {
			ack_init(ack, st, st->replayed);
			st->replayed = 0;
			sel.acks_count++;
			if (sel.acks_count == ACKS_MAX)
				break; /* the rest of this stream comes with the next ones */
			ack++;
		}
		if (st->acked >= st->seq)
			continue;
		ack_init(ack, st, st->seq);
		st->acked = st->seq;
		sel.acks_count++;
	}
	sel.has_window = s->credit_messages > 0;
	sel.window.messages = (int64_t)s->credit_messages;
	sel.window.bytes = (int64_t)s->credit_bytes;
	s->credit_messages = s->credit_bytes = 0;
	if (sel.acks_count == 0 && !sel.has_window)
		return 0;
	buf_init_fixed(&b, mem, sizeof(mem));
	if (pb_pack(&b, mesh_v1_StreamSelector_fields, &sel) != 0)
		return ERR_LIMIT;
	return client_call_send(s->call, buf_head(&b), buf_left(&b));
}

/* What was received is written, then the position is, then it is acknowledged: in this order. */
static int
commit(struct subscribe *s)
{
	int r = sink_flush(s->sink);

	s->uncommitted_bytes = 0;
	if (r == 0 && s->resume_path != NULL) {
		s->position.output_bytes = sink_bytes(s->sink);
		r = resume_save(&s->position, s->resume_path);
	}
	if (r != 0)
		stop(s, CODE_FAILED);
	return r;
}

static void
on_commit(void *arg)
{
	struct subscribe *s = arg;
	size_t i = 0;

	if (s->code != CODE_OK || commit(s) != 0)
		return;
	while (s->call != NULL && i < s->position.count)
		if (send_acks(s, &i) != 0)
			return; /* the connection is gone: on_status comes */
	if (s->progress)
		fprintf(stderr, "\rreceived %llu   ", (unsigned long long)s->received);
	if (s->left == 0)
		client_stop(s->client);
}

/* --- receiving --- */

static int
take_message(struct subscribe *s, const struct sink_message *m)
{
	s->received++;
	s->uncommitted_bytes += m->len;
	if (s->left > 0)
		s->left--;
	return sink_put(s->sink, m);
}

static int
accept_message(struct subscribe *s, const mesh_v1_ClientData *d, const struct pb_slice *payload)
{
	struct resume_stream *st = resume_get(&s->position, d->stream_id);
	uint64_t seq = (uint64_t)d->seq;
	struct sink_message m = {d->stream_id, d->tenant_id, d->source_node, d->message_id, seq, d->timestamp,
	    payload->data, payload->len, d->digest.size > 0 ? d->digest.bytes : NULL, d->digest.size,
	    d->skipped};

	if (st == NULL) {
		out_error("more than %d streams: name those that are wanted", RESUME_STREAMS_MAX);
		return ERR_LIMIT;
	}
	st->subscription = d->subscription;
	if (d->dead_letter) {
		st->replayed = seq;
		return take_message(s, &m);
	}
	if (seq <= st->seq) {
		st->acked = 0; /* it came again, so the node has not got our ack */
		return 0;
	}
	if (st->seq != 0 && seq != st->seq + 1 && (uint64_t)d->skipped != seq - st->seq - 1) {
		out_error("stream %s: message %llu came after %llu", d->stream_id, (unsigned long long)seq,
		    (unsigned long long)st->seq);
		return ERR_GAP;
	}
	if (d->skipped > 0)
		out_error("stream %s: %lld messages before %llu were given up by their source", d->stream_id,
		    (long long)d->skipped, (unsigned long long)seq);
	st->seq = seq;
	return take_message(s, &m);
}

static void
on_message(void *arg, const uint8_t *data, size_t len)
{
	struct subscribe *s = arg;
	mesh_v1_ClientData d = mesh_v1_ClientData_init_zero;
	struct pb_slice payload = {0};

	if (s->code != CODE_OK || s->left == 0)
		return;
	pb_slice_decode(&d.payload, &payload);
	if (pb_unpack(data, len, mesh_v1_ClientData_fields, &d) != 0) {
		out_error("a message of the node cannot be read");
		stop(s, CODE_FAILED);
		return;
	}
	s->credit_messages++;
	s->credit_bytes += payload.len;
	if (accept_message(s, &d, &payload) != 0) {
		stop(s, CODE_FAILED);
		return;
	}
	if (s->uncommitted_bytes >= COMMIT_BYTES)
		on_commit(s);
	else
		loop_defer_add(client_loop(s->client), &s->commit);
}

static void
on_status(void *arg, uint32_t status, const char *message)
{
	struct subscribe *s = arg;

	s->call = NULL;
	if (status == CLIENT_UNAVAILABLE && s->retry_ms > 0) {
		s->again = true;
		client_stop(s->client);
	} else if (status == CLIENT_OK) {
		out_error("the node ended the subscription");
		stop(s, CODE_FAILED);
	} else {
		stop(s, client_code("subscribe", status, message));
	}
}

/* --- the call --- */

static int
selector_names(mesh_v1_StreamSelector *sel, const struct args *a)
{
	const char *tenant = args_str(a, "tenant", ""), *node;
	struct ulid id;

	if (tenant[0] == '\0' || strlen(tenant) >= sizeof(sel->tenant_id)) {
		out_error("which tenant? give --tenant TENANT");
		return CODE_USAGE;
	}
	memcpy(sel->tenant_id, tenant, strlen(tenant) + 1);
	while ((node = args_item(a, "from", sel->node_ids_count)) != NULL) {
		if (sel->node_ids_count == sizeof(sel->node_ids) / sizeof(sel->node_ids[0]) ||
		    strlen(node) >= sizeof(sel->node_ids[0])) {
			out_error("--from: too many nodes, or a name too long");
			return CODE_USAGE;
		}
		memcpy(sel->node_ids[sel->node_ids_count++], node, strlen(node) + 1);
	}
	for (size_t i = 0; i < a->word_count; i++) {
		if (ulid_parse(args_word(a, i), &id) != 0) {
			out_error("'%s' is not a stream id (26 characters; meshctl streams lists them)",
			    args_word(a, i));
			return CODE_USAGE;
		}
		ulid_format(sel->stream_ids[i], &id);
	}
	sel->stream_ids_count = (pb_size_t)a->word_count;
	return CODE_OK;
}

static void
selector_position(mesh_v1_StreamSelector *sel, struct resume *position)
{
	for (size_t i = 0; i < position->count; i++) {
		struct resume_stream *st = &position->streams[i];

		st->acked = st->subscription = st->replayed = 0;
		if (sel->resume_count == ACKS_MAX || st->seq == 0)
			continue;
		memcpy(sel->resume[sel->resume_count].stream_id, st->stream_id, ULID_TEXT_SIZE);
		sel->resume[sel->resume_count++].seq = (int64_t)st->seq;
	}
	sel->has_window = true;
	sel->window.messages = WINDOW_MESSAGES;
	sel->window.bytes = WINDOW_BYTES;
}

static int
call_start(struct subscribe *s)
{
	static const struct client_call_ops ops = {.on_message = on_message, .on_status = on_status};
	mesh_v1_StreamSelector sel = mesh_v1_StreamSelector_init_zero;
	struct buf b;
	int code = selector_names(&sel, s->args);

	if (code != CODE_OK)
		return code;
	selector_position(&sel, &s->position);
	sel.take_over = args_flag(s->args, "take-over");
	buf_init(&b, mesh_v1_StreamSelector_size);
	if (pb_pack(&b, mesh_v1_StreamSelector_fields, &sel) == 0)
		s->call = client_call(s->client, METHOD, buf_head(&b), buf_left(&b), &ops, s);
	buf_fini(&b);
	return s->call != NULL ? CODE_OK : CODE_UNREACHABLE;
}

/* The last acks are confirmed: nothing that was written comes again. */
static int
confirm(struct subscribe *s)
{
	uint8_t mem[mesh_v1_StreamAck_size];
	struct buf request, reply;
	int code = CODE_OK;

	buf_init(&reply, CLIENT_MESSAGE_MAX_BYTES);
	for (size_t i = 0; code == CODE_OK && i < s->position.count; i++) {
		const struct resume_stream *st = &s->position.streams[i];
		mesh_v1_StreamAck ack = mesh_v1_StreamAck_init_zero;

		memcpy(ack.stream_id, st->stream_id, sizeof(ack.stream_id));
		ack.seq = (int64_t)st->seq;
		ack.subscription = st->subscription;
		buf_init_fixed(&request, mem, sizeof(mem));
		if (pb_pack(&request, mesh_v1_StreamAck_fields, &ack) == 0)
			code = client_unary(s->client, "/mesh.v1.MeshDataService/Ack", &request, &reply);
	}
	buf_fini(&reply);
	return code;
}

/* One connection, from its start to its end. */
static int
session(struct subscribe *s, int64_t retry_ms)
{
	bool interrupted;
	int code = client_open(s->ctl, retry_ms, &s->client);

	s->again = false;
	s->credit_messages = s->credit_bytes = 0;
	if (code == CODE_OK)
		code = call_start(s);
	if (code == CODE_OK) {
		client_run(s->client);
		code = s->code;
	}
	interrupted = s->client != NULL && client_interrupted(s->client);
	if (s->client != NULL)
		loop_defer_del(&s->commit);
	if (code == CODE_OK && s->received > 0 && commit(s) != 0)
		code = s->code;
	if (code == CODE_OK && (s->left == 0 || interrupted) && !client_lost(s->client))
		code = confirm(s);
	s->call = NULL;
	client_free(s->client);
	s->client = NULL;
	return code == CODE_OK && interrupted ? CODE_INTERRUPTED : code;
}

static int
sessions(struct subscribe *s)
{
	struct timespec pause = {.tv_nsec = RETRY_PAUSE_MS * 1000000L};
	struct mono limit = mono_add_ms(clock_mono(), s->retry_ms);
	int64_t left_ms = s->retry_ms;
	uint64_t received = 0;

	for (;;) {
		struct mono begin = clock_mono();
		int code = session(s, left_ms);

		if (code != CODE_OK || !s->again || s->left == 0)
			return code;
		/* A connection that lasted, or brought something, begins the time anew. */
		if (s->received > received || mono_diff_us(clock_mono(), begin) > s->retry_ms * 1000)
			limit = mono_add_ms(clock_mono(), s->retry_ms);
		received = s->received;
		left_ms = mono_diff_us(limit, clock_mono()) / 1000;
		if (left_ms <= 0) {
			out_error("the node did not come back");
			return CODE_UNREACHABLE;
		}
		(void)nanosleep(&pause, NULL);
	}
}

static struct sink *
sink_of(const struct ctl *ctl, const struct args *a)
{
	const char *out = args_str(a, "out", NULL), *dir = args_str(a, "dir", NULL);
	enum sink_format format = out != NULL ? SINK_RAW : SINK_LINES;

	if ((out != NULL) + (dir != NULL) + args_flag(a, "discard") > 1) {
		out_error("--out, --dir and --discard exclude each other");
		return NULL;
	}
	if (args_flag(a, "raw"))
		format = SINK_RAW;
	if (args_flag(a, "lines"))
		format = SINK_LINES;
	if (ctl->json)
		format = SINK_JSON;
	if (out != NULL)
		return sink_open(SINK_FILE, format, out);
	if (dir != NULL)
		return sink_open(SINK_DIR, format, dir);
	return sink_open(args_flag(a, "discard") ? SINK_DISCARD : SINK_STDOUT, format, NULL);
}

int
cmd_subscribe(struct ctl *ctl, const struct args *a)
{
	struct subscribe s = {.ctl = ctl, .args = a, .resume_path = args_str(a, "resume-file", NULL)};
	int code = CODE_FAILED;

	s.commit = (struct loop_defer){.fn = on_commit, .arg = &s};
	s.progress = args_flag(a, "progress");
	if (args_int(a, "count", -1, 1, INT64_MAX, &s.left) != 0 ||
	    args_duration_ms(a, "retry", 0, &s.retry_ms) != 0)
		return CODE_USAGE;
	s.sink = sink_of(ctl, a);
	if (s.sink == NULL)
		return CODE_USAGE;
	resume_init(&s.position);
	if (s.resume_path == NULL ||
	    (resume_load(&s.position, s.resume_path) == 0 && sink_cut(s.sink, s.position.output_bytes) == 0))
		code = sessions(&s);
	if (s.progress)
		fprintf(stderr, "\rreceived %llu\n", (unsigned long long)s.received);
	resume_fini(&s.position);
	sink_free(s.sink);
	return code;
}
