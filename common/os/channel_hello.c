/*
 * channel_hello: the first message of both sides: {str8 edge, u32 version, str8 name}.
 *
 * The client speaks first.  A server that can't speak the client's version still answers with its
 * own, so that both logs tell which versions met.
 */
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/os/channel_impl.h"
#include "common/os/clock.h"
#include "common/os/log.h"

struct hello {
	char edge[64];
	char self[CHANNEL_NAME_SIZE];
	uint32_t version;
};

int
channel_hello_send(struct channel *ch)
{
	uint8_t mem[CHANNEL_HELLO_MAX_BYTES];
	struct buf b;
	struct iovec iov;
	int r;

	buf_init_fixed(&b, mem, sizeof(mem));
	r = buf_put_str8(&b, ch->conf.edge->name);
	if (r == 0)
		r = buf_put_u32(&b, ch->conf.edge->version);
	if (r == 0)
		r = buf_put_str8(&b, ch->self);
	if (r != 0)
		return r;
	iov = (struct iovec){.iov_base = mem, .iov_len = buf_left(&b)};
	return imsg_push(ch->queue, MSG_HELLO, 0, -1, &iov, 1);
}

static int
hello_decode(struct hello *h, const struct imsg *m)
{
	struct buf b;
	int r;

	if (m->type != MSG_HELLO || m->fd != -1)
		return ERR_STATE;
	buf_view(&b, m->body, m->len);
	r = buf_get_str8(&b, h->edge, sizeof(h->edge));
	if (r == 0)
		r = buf_get_u32(&b, &h->version);
	if (r == 0)
		r = buf_get_str8(&b, h->self, sizeof(h->self));
	return r != 0 ? r : buf_end(&b);
}

/* The largest message that may come in from now on. */
static size_t
incoming_max(const struct channel *ch)
{
	enum msg_dir dir = ch->side == CHANNEL_SERVER ? MSG_DIR_DOWN : MSG_DIR_UP;
	size_t max = 0;

	for (size_t i = MSG_FIRST; i < ch->conf.edge->msg_count; i++) {
		const struct msg_def *def = &ch->conf.edge->msgs[i];

		if (def->dir == dir && def->max_bytes > max)
			max = def->max_bytes;
	}
	return max;
}

static int
hello_refuse(const struct channel *ch, const struct hello *h, int err)
{
	const struct log_ctx ctx = {.peer = ch->peer};

	metric_inc(&channel_metrics.faults);
	if (err == ERR_VERSION)
		log_at(LOG_ERROR, &ctx,
		    "%s speaks version %u of channel %s, this %s version %u: "
		    "install the same release of both",
		    ch->peer, h->version, h->edge, ch->self, ch->conf.edge->version);
	else if (err == ERR_DENIED)
		log_at(LOG_ERROR, &ctx,
		    "user %u may not speak channel %s here: it runs as another user than "
		    "mesh.conf says",
		    (unsigned)ch->uid, h->edge);
	else
		log_at(LOG_WARNING, &ctx, "hello of channel %s: %s", h->edge, err_text(err));
	return err;
}

static int
hello_accept(struct channel *ch, const struct hello *h)
{
	const struct edge *e;
	int r = ch->server != NULL ? channel_server_choose(ch, h->edge) : 0;

	if (r != 0)
		return r;
	e = ch->conf.edge;
	if (strcmp(h->edge, e->name) != 0)
		return ERR_UNKNOWN;
	if (ch->side == CHANNEL_SERVER)
		r = channel_hello_send(ch);
	if (r == 0 && h->version != e->version)
		r = ERR_VERSION;
	return r;
}

int
channel_hello_recv(struct channel *ch, const struct imsg *m)
{
	struct hello h = {.edge = "?"};
	int r = hello_decode(&h, m);

	if (r == 0) {
		memcpy(ch->peer, h.self, sizeof(ch->peer));
		r = hello_accept(ch, &h);
	}
	if (r != 0)
		return hello_refuse(ch, &h, r);
	loop_timer_disarm(ch->timer);
	imsg_limit(ch->queue, incoming_max(ch));
	ch->up_at = clock_mono();
	ch->told_failure = false;
	ch->state = CHANNEL_UP;
	ch->told_up = true;
	loop_defer_add(ch->loop, &ch->turn);
	log_at(LOG_INFO, &(struct log_ctx){.peer = ch->peer}, "channel %s is up", ch->conf.edge->name);
	return ch->conf.on_up(ch->conf.ctx, ch);
}
