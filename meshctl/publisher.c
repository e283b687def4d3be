/* publisher: see publisher.h. */
#include "meshctl/publisher.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/id.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/crypto.h"
#include "common/os/loop.h"
#include "meshctl/client.h"
#include "meshctl/command.h"
#include "meshctl/out.h"
#include "meshctl/source.h"
#include "proto/mesh.pb.h"
#include "proto/pb.h"

#define METHOD "/mesh.v1.MeshService/PublishClientDataStream"

enum { PROGRESS_MS = 200, RETRY_PAUSE_MS = 100, RATE_TICK_MS = 1 };

/* One message that is not confirmed yet. */
struct pending {
	struct ulid id;
	struct mono sent_at; /* when it was first sent */
	uint8_t *data;
	size_t len;
};

struct publisher {
	struct publisher_conf conf;
	struct publisher_stats *stats;
	struct client *client;
	struct client_call *call;
	struct pending *window; /* ring: seq first_seq is at head */
	size_t head, count, window_bytes;
	uint64_t first_seq; /* of the oldest pending one */
	size_t unsent;      /* pending ones, at the end, that this connection has not been given */
	struct ulid last_id;
	struct buf encoded;
	struct loop_fd *source_watch;
	struct loop_timer *tick, *progress;
	struct mono started;
	uint64_t paced; /* messages taken from the source since started */
	bool held, ended, half_closed, waiting;
	bool again;  /* the call ended UNAVAILABLE: try once more */
	bool failed; /* a message is a dead letter */
	int code;
};

static void pump(struct publisher *p);

const struct publisher_stats *
publisher_stats(const struct publisher *p)
{
	return p->stats;
}

static void
stop(struct publisher *p, int code)
{
	p->code = code;
	client_stop(p->client);
}

static struct pending *
pending_at(const struct publisher *p, size_t i)
{
	return &p->window[(p->head + i) % (size_t)p->conf.window];
}

/* --- results --- */

static void
confirm_first(struct publisher *p, bool reached)
{
	struct pending *m = pending_at(p, 0);
	int64_t us = mono_diff_us(clock_mono(), m->sent_at);

	if (reached) {
		samples_add(&p->stats->latency, us);
		p->stats->answered++;
	}
	p->window_bytes -= m->len;
	mem_free(m->data);
	m->data = NULL;
	p->head = (p->head + 1) % (size_t)p->conf.window;
	p->count--;
	if (reached && p->conf.on_result != NULL)
		p->conf.on_result(p->conf.arg, p->first_seq, us);
	p->first_seq++;
}

static void
on_message(void *arg, const uint8_t *data, size_t len)
{
	struct publisher *p = arg;
	mesh_v1_PublishResult r = mesh_v1_PublishResult_init_zero;

	if (pb_unpack(data, len, mesh_v1_PublishResult_fields, &r) != 0) {
		out_error("the node's answer cannot be read");
		stop(p, CODE_FAILED);
	} else if (p->count == p->unsent || (uint64_t)r.seq != p->first_seq) {
		out_error("the node confirmed message %lld, not %llu as expected", (long long)r.seq,
		    (unsigned long long)p->first_seq);
		stop(p, CODE_FAILED);
	} else {
		/* Others may do well. */
		if (!r.success) {
			out_error(
			    "message %lld: %s", (long long)r.seq, r.error[0] != '\0' ? r.error : "refused");
			p->failed = true;
		}
		confirm_first(p, r.success);
		pump(p);
	}
}

static void
on_status(void *arg, uint32_t status, const char *message)
{
	struct publisher *p = arg;

	p->call = NULL;
	if (status == CLIENT_OK && p->ended && p->count == 0) {
		stop(p, CODE_OK);
	} else if (status == CLIENT_UNAVAILABLE && p->conf.retry_ms > 0) {
		p->again = true;
		client_stop(p->client);
	} else if (status == CLIENT_OK) {
		out_error("the node ended the call with %zu messages unconfirmed", p->count);
		stop(p, CODE_FAILED);
	} else {
		stop(p, client_code("publish", status, message));
	}
}

static void
on_hold(void *arg, bool hold)
{
	struct publisher *p = arg;

	p->held = hold;
	if (!hold)
		pump(p);
}

/* --- sending --- */

static int
encode(struct publisher *p, const struct pending *m, uint64_t seq)
{
	mesh_v1_Chunk chunk = mesh_v1_Chunk_init_zero;
	struct pb_slice payload = {m->data, m->len};

	snprintf(chunk.stream_id, sizeof(chunk.stream_id), "%s", p->conf.stream_id);
	snprintf(chunk.tenant_id, sizeof(chunk.tenant_id), "%s", p->conf.tenant);
	ulid_format(chunk.message_id, &m->id);
	chunk.seq = (int64_t)seq;
	chunk.producer_epoch = p->conf.epoch;
	if (p->conf.digest) {
		crypto_hash(chunk.digest.bytes, m->data, m->len);
		chunk.digest.size = CRYPTO_HASH_BYTES;
	}
	pb_slice_encode(&chunk.payload, &payload);
	buf_reset(&p->encoded);
	return pb_pack(&p->encoded, mesh_v1_Chunk_fields, &chunk);
}

/* Sends the first unsent message.  0, or an error: the connection is gone, or no memory. */
static int
send_one(struct publisher *p)
{
	static const struct client_call_ops ops = {
	    .on_message = on_message, .on_status = on_status, .on_hold = on_hold};
	size_t i = p->count - p->unsent;
	struct pending *m = pending_at(p, i);
	int r = encode(p, m, p->first_seq + i);

	if (r != 0)
		return r;
	if (m->sent_at.us == 0)
		m->sent_at = clock_mono();
	if (p->call != NULL) {
		r = client_call_send(p->call, buf_head(&p->encoded), buf_left(&p->encoded));
	} else {
		p->call =
		    client_call(p->client, METHOD, buf_head(&p->encoded), buf_left(&p->encoded), &ops, p);
		r = p->call != NULL ? 0 : ERR_CLOSED;
	}
	if (r == 0)
		p->unsent--;
	return r;
}

static void
next_id(struct publisher *p, struct ulid *out)
{
	uint8_t random[10];

	crypto_random(random, sizeof(random));
	ulid_next(out, &p->last_id, clock_unix_ms(), random);
	p->last_id = *out;
}

/* Messages that the rate lets through by now. */
static bool
rate_allows(struct publisher *p)
{
	int64_t us = mono_diff_us(clock_mono(), p->started);

	return p->conf.rate == 0 || (int64_t)p->paced * 1000000 <= us * p->conf.rate;
}

static void
on_source(void *arg, int fd, unsigned events)
{
	struct publisher *p = arg;

	(void)fd, (void)events;
	p->waiting = false;
	(void)loop_fd_mod(p->source_watch, 0);
	pump(p);
}

static void
wait_source(struct publisher *p)
{
	p->waiting = true;
	if (p->source_watch == NULL)
		p->source_watch =
		    loop_fd_add(client_loop(p->client), source_fd(p->conf.source), LOOP_READ, on_source, p);
	else
		(void)loop_fd_mod(p->source_watch, LOOP_READ);
}

/* Takes the next message of the source into the window.  1, 0 (end), or an error. */
static int
take_one(struct publisher *p)
{
	const uint8_t *data;
	size_t len;
	int r = source_next(p->conf.source, &data, &len);
	struct pending *m = pending_at(p, p->count);

	if (r != 1)
		return r;
	if (p->conf.make != NULL)
		r = p->conf.make(p->conf.make_arg, &data, &len);
	if (r < 0)
		return r;
	*m = (struct pending){.data = mem_dup(data, len), .len = len};
	if (m->data == NULL)
		return ERR_NOMEM;
	next_id(p, &m->id);
	p->count++;
	p->unsent++;
	p->paced++;
	p->window_bytes += len;
	p->stats->sent++;
	p->stats->bytes += len;
	return 1;
}

static void
source_failed(struct publisher *p, int err)
{
	if (err == ERR_LIMIT)
		out_error("a line is longer than a message may be (%d bytes)", SOURCE_MESSAGE_MAX_BYTES);
	else if (err != ERR_FORMAT)
		out_error("the input can't be read: %s", err == ERR_IO ? strerror(errno) : err_text(err));
	stop(p, CODE_FAILED);
}

static bool
may_send(const struct publisher *p)
{
	return !p->held && !client_full(p->client) && !client_lost(p->client);
}

/* Whether one more message may come from the source now. */
static bool
may_take(struct publisher *p)
{
	if (p->ended || p->waiting || p->count == (size_t)p->conf.window ||
	    p->window_bytes >= PUBLISHER_WINDOW_BYTES)
		return false;
	if (rate_allows(p))
		return true;
	loop_timer_arm_ms(p->tick, RATE_TICK_MS);
	return false;
}

/* Sends as much as node, window, rate and source let it. */
static void
pump(struct publisher *p)
{
	int r = 1;

	while (may_send(p) && p->code == CODE_OK) {
		if (p->unsent == 0) {
			if (!may_take(p))
				break;
			r = take_one(p);
			if (r != 1)
				break;
		}
		if (send_one(p) != 0)
			return; /* on_status tells */
	}
	if (r == 0)
		p->ended = true;
	else if (r == ERR_AGAIN)
		wait_source(p);
	else if (r < 0)
		source_failed(p, r);
	if (!p->ended || p->unsent > 0 || p->half_closed)
		return;
	p->half_closed = true;
	if (p->call == NULL)
		stop(p, CODE_OK); /* nothing was to be sent */
	else
		(void)client_call_half_close(p->call);
}

static void
on_pump(void *arg)
{
	pump(arg);
}

static void
on_progress(void *arg)
{
	struct publisher *p = arg;

	p->stats->elapsed_us = mono_diff_us(clock_mono(), p->started);
	if (p->conf.on_progress != NULL)
		p->conf.on_progress(p->conf.arg, p);
	loop_timer_arm_ms(p->progress, PROGRESS_MS);
}

/* --- connections --- */

static int
session_open(struct publisher *p, int64_t retry_ms)
{
	int code = client_open(p->conf.ctl, retry_ms, &p->client);

	if (code != CODE_OK)
		return code;
	p->tick = loop_timer_new(client_loop(p->client), on_pump, p);
	p->progress = loop_timer_new(client_loop(p->client), on_progress, p);
	if (p->tick == NULL || p->progress == NULL) {
		out_error("out of memory");
		return CODE_FAILED;
	}
	client_on_drain(p->client, on_pump, p);
	p->again = p->held = p->waiting = p->half_closed = false;
	p->unsent = p->count;
	return CODE_OK;
}

static void
session_close(struct publisher *p)
{
	if (p->tick != NULL)
		loop_timer_free(p->tick);
	if (p->progress != NULL)
		loop_timer_free(p->progress);
	loop_fd_del(p->source_watch);
	p->tick = p->progress = NULL;
	p->source_watch = NULL;
	p->call = NULL;
	client_free(p->client);
	p->client = NULL;
}

/* One connection, from its start to its end. */
static int
session(struct publisher *p, int64_t retry_ms)
{
	bool interrupted = false;
	int code = session_open(p, retry_ms);

	if (code == CODE_OK) {
		on_progress(p);
		if (p->ended && p->count == 0)
			p->again = false; /* all was confirmed before the connection broke */
		else {
			/* From the loop: only there it can be stopped. */
			loop_timer_arm_ms(p->tick, 0);
			client_run(p->client);
			interrupted = client_interrupted(p->client);
			code = p->code;
		}
	}
	session_close(p);
	if (interrupted) {
		out_error("interrupted with %zu messages unconfirmed", p->count);
		return CODE_INTERRUPTED;
	}
	return code;
}

static void
pause_ms(int64_t ms)
{
	struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	(void)nanosleep(&t, NULL);
}

/* Goes on over lost connections until retry_ms have passed without a message confirmed. */
static int
sessions(struct publisher *p)
{
	struct mono limit = mono_add_ms(clock_mono(), p->conf.retry_ms);
	uint64_t answered = 0;
	int64_t left = p->conf.retry_ms;
	int code;

	for (;;) {
		code = session(p, left);
		if (code != CODE_OK || !p->again)
			return code == CODE_OK && p->failed ? CODE_REFUSED : code;
		if (p->stats->answered > answered)
			limit = mono_add_ms(clock_mono(), p->conf.retry_ms);
		answered = p->stats->answered;
		left = mono_diff_us(limit, clock_mono()) / 1000;
		if (left <= 0) {
			out_error("the node did not come back; %zu messages unconfirmed", p->count);
			return CODE_UNREACHABLE;
		}
		p->stats->reconnects++;
		pause_ms(RETRY_PAUSE_MS);
	}
}

int
publisher_run(const struct publisher_conf *conf, struct publisher_stats *stats)
{
	struct publisher p = {
	    .conf = *conf, .stats = stats, .first_seq = conf->next_seq, .started = clock_mono()};
	int code = CODE_FAILED;

	memset(stats, 0, sizeof(*stats));
	samples_init(&stats->latency);
	buf_init(&p.encoded, CLIENT_MESSAGE_MAX_BYTES);
	p.window = mem_calloc((size_t)conf->window, sizeof(*p.window));
	if (p.window == NULL)
		out_error("out of memory");
	else
		code = sessions(&p);
	stats->elapsed_us = mono_diff_us(clock_mono(), p.started);
	for (size_t i = 0; i < p.count; i++)
		mem_free(pending_at(&p, i)->data);
	mem_free(p.window);
	buf_fini(&p.encoded);
	return code;
}
