/* channel: a connection's life, and the messages over it; see channel.h. */
#include "common/os/channel.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/channel_impl.h"
#include "common/os/log.h"

static void on_socket(void *arg, int fd, unsigned events);
static void on_turn_end(void *arg);
static void on_timeout(void *arg);

struct channel *
channel_new(struct loop *l, enum channel_side side, const char *self)
{
	struct channel *ch = mem_calloc(1, sizeof(*ch));

	if (ch == NULL)
		return NULL;
	channel_metrics_add();
	ch->loop = l;
	ch->side = side;
	ch->fd = -1;
	ch->expected = (uid_t)-1;
	ch->turn.fn = on_turn_end;
	ch->turn.arg = ch;
	snprintf(ch->self, sizeof(ch->self), "%s", self);
	snprintf(ch->peer, sizeof(ch->peer), "?");
	ch->timer = loop_timer_new(l, on_timeout, ch);
	if (ch->timer == NULL) {
		mem_free(ch);
		return NULL;
	}
	return ch;
}

int
channel_start(struct channel *ch, int fd)
{
	ch->fd = fd;
	ch->queue = imsg_queue_new(fd, ch->conf.high_bytes != 0 ? ch->conf.high_bytes : CHANNEL_HIGH_BYTES);
	if (ch->queue != NULL)
		ch->watch = loop_fd_add(ch->loop, fd, ch->paused ? 0 : LOOP_READ, on_socket, ch);
	if (ch->watch == NULL) {
		channel_reset(ch);
		return ERR_NOMEM;
	}
	ch->state = CHANNEL_HELLO;
	ch->close_err = 0;
	metric_inc(&channel_metrics.opened);
	metric_add(&channel_metrics.connections, 1);
	imsg_limit(ch->queue, CHANNEL_HELLO_MAX_BYTES);
	loop_timer_arm_ms(ch->timer, CHANNEL_HELLO_TIMEOUT_MS);
	if (ch->side == CHANNEL_CLIENT) {
		int r = channel_hello_send(ch);

		if (r != 0) {
			channel_reset(ch);
			return r;
		}
		loop_defer_add(ch->loop, &ch->turn);
	}
	return 0;
}

void
channel_reset(struct channel *ch)
{
	if (ch->state != CHANNEL_DOWN)
		metric_add(&channel_metrics.connections, -1);
	loop_fd_del(ch->watch);
	imsg_queue_free(ch->queue);
	if (ch->fd != -1)
		close(ch->fd);
	loop_timer_disarm(ch->timer);
	ch->watch = NULL;
	ch->queue = NULL;
	ch->fd = -1;
	ch->state = CHANNEL_DOWN;
	ch->backlog = ch->full = ch->blocked = false;
}

void
channel_destroy(struct channel *ch)
{
	channel_reset(ch);
	loop_defer_del(&ch->turn);
	loop_timer_free(ch->timer);
	mem_free(ch);
}

/* --- callbacks: while one runs, channel_free() only takes note --- */

/* True when ch is gone. */
static bool
callback_done(struct channel *ch)
{
	ch->busy = false;
	if (!ch->freed)
		return false;
	channel_destroy(ch);
	return true;
}

void
channel_free(struct channel *ch)
{
	if (ch == NULL)
		return;
	MUST(ch->server == NULL);
	ch->freed = true;
	if (!ch->busy)
		channel_destroy(ch);
}

static void
watch_update(struct channel *ch)
{
	unsigned events = (ch->paused || ch->backlog ? 0u : LOOP_READ) | (ch->blocked ? LOOP_WRITE : 0u);

	if (ch->watch != NULL && loop_fd_mod(ch->watch, events) != 0)
		channel_close(ch, ERR_NOMEM);
}

/* --- the end of a connection --- */

void
channel_close(struct channel *ch, int err)
{
	if (ch->state == CHANNEL_DOWN || ch->close_err != 0)
		return;
	ch->close_err = err != 0 ? err : ERR_CLOSED;
	loop_defer_add(ch->loop, &ch->turn);
}

static void
log_end(const struct channel *ch, int err)
{
	const struct log_ctx ctx = {.peer = ch->peer};
	const char *edge = ch->conf.edge != NULL ? ch->conf.edge->name : "no edge yet";

	if (err == ERR_CLOSED)
		log_at(LOG_NOTICE, &ctx, "channel %s: the other side has closed it", edge);
	else
		log_at(LOG_WARNING, &ctx, "channel %s: closed: %s", edge, err_text(err));
}

static void
connection_end(struct channel *ch)
{
	int err = ch->close_err;
	bool was_up = ch->told_up;

	/* The last words, such as our version to a side that can't talk to us, if the socket takes them. */
	(void)imsg_flush(ch->queue);
	log_end(ch, err);
	metric_inc(&channel_metrics.closed);
	channel_reset(ch);
	ch->close_err = 0;
	ch->told_up = false;
	ch->busy = true;
	if (was_up)
		ch->conf.on_down(ch->conf.ctx, ch, err);
	else if (ch->conf.on_fail != NULL)
		ch->conf.on_fail(ch->conf.ctx, ch, err);
	if (callback_done(ch))
		return;
	if (ch->server != NULL)
		channel_server_ended(ch);
	else if (ch->path[0] != '\0')
		channel_client_ended(ch);
}

/* --- reading --- */

/* A broken rule of the edge, by the other side. */
static int
fault(const struct channel *ch, const char *what, const struct imsg *m, int err)
{
	const struct log_ctx ctx = {.peer = ch->peer};
	const struct edge *e = ch->conf.edge;
	const char *name;

	MUST(e != NULL && e->msgs != NULL);
	name = m->type < e->msg_count && e->msgs[m->type].name != NULL ? e->msgs[m->type].name : "unknown";

	metric_inc(&channel_metrics.faults);
	log_at(LOG_WARNING, &ctx, "channel %s: message %s (%u) of %zu bytes: %s: %s", e->name, name, m->type,
	    m->len, what, err_text(err));
	return err;
}

static int
message_check(const struct channel *ch, const struct imsg *m)
{
	const struct edge *e = ch->conf.edge;
	enum msg_dir dir = ch->side == CHANNEL_SERVER ? MSG_DIR_DOWN : MSG_DIR_UP;
	const struct msg_def *def;

	MUST(e != NULL && e->msgs != NULL); /* hello has chosen it */
	if (m->type >= e->msg_count || e->msgs[m->type].name == NULL)
		return fault(ch, "not in the edge's table", m, ERR_UNKNOWN);
	def = &e->msgs[m->type];
	if (def->dir != dir)
		return fault(ch, "wrong direction", m, ERR_STATE);
	if (m->len < def->min_bytes)
		return fault(ch, "too small", m, ERR_SHORT);
	if (m->len > def->max_bytes)
		return fault(ch, "too large", m, ERR_LIMIT);
	if ((def->fd == MSG_WITHFD) != (m->fd != -1))
		return fault(ch, "descriptor missing or not expected", m, ERR_FORMAT);
	if (m->type >= ch->conf.handler_count || ch->conf.handlers[m->type] == NULL)
		return fault(ch, "not handled here", m, ERR_UNKNOWN);
	return 0;
}

static int
message_handle(struct channel *ch, struct imsg *m)
{
	int r;

	metric_inc(&channel_metrics.messages_in);
	metric_add(&channel_metrics.bytes_in, (int64_t)m->len);
	if (ch->state == CHANNEL_HELLO)
		return channel_hello_recv(ch, m);
	r = message_check(ch, m);
	if (r != 0)
		return r;
	r = ch->conf.handlers[m->type](ch->conf.ctx, ch, m);
	/* A handler that only closes its channel has said why already. */
	return r == 0 || ch->freed || ch->close_err != 0 ? r : fault(ch, "refused", m, r);
}

/* Handles what is buffered, up to the turn's share.  False when ch is gone. */
static bool
messages_handle(struct channel *ch)
{
	unsigned left = CHANNEL_TURN_MESSAGES;
	struct imsg m;
	int r = 1;

	ch->busy = true;
	while (left > 0 && !ch->paused && ch->close_err == 0 && !ch->freed) {
		r = imsg_next(ch->queue, &m);
		if (r != 1)
			break;
		left--;
		r = message_handle(ch, &m);
		imsg_done(&m);
		if (r != 0)
			break;
		r = 1;
	}
	if (callback_done(ch))
		return false;
	if (r < 0)
		channel_close(ch, r);
	ch->backlog = r == 1;
	if (ch->backlog && !ch->paused)
		loop_defer_add(ch->loop, &ch->turn);
	watch_update(ch);
	return true;
}

/* --- writing --- */

static void
channel_write(struct channel *ch)
{
	int r = imsg_flush(ch->queue);

	ch->blocked = r == ERR_AGAIN;
	if (r != 0 && r != ERR_AGAIN)
		channel_close(ch, r);
	watch_update(ch);
}

/* Tells the user that the queue is short again.  False when ch is gone. */
static bool
drain_tell(struct channel *ch)
{
	size_t low = ch->conf.high_bytes != 0 ? ch->conf.low_bytes : CHANNEL_LOW_BYTES;

	if (!ch->full || ch->close_err != 0 || imsg_queued_bytes(ch->queue) >= low)
		return true;
	ch->full = false;
	if (ch->conf.on_drain == NULL || ch->state != CHANNEL_UP)
		return true;
	ch->busy = true;
	ch->conf.on_drain(ch->conf.ctx, ch);
	return !callback_done(ch);
}

static void
on_socket(void *arg, int fd, unsigned events)
{
	struct channel *ch = arg;
	int r;

	(void)fd;
	if (ch->close_err != 0)
		return;
	if (events & LOOP_WRITE) {
		channel_write(ch);
		if (!drain_tell(ch) || ch->close_err != 0)
			return;
	}
	if ((events & LOOP_READ) == 0 || ch->paused || ch->backlog || ch->state == CHANNEL_DOWN)
		return;
	r = imsg_read(ch->queue);
	if (r == 0)
		messages_handle(ch);
	else if (r != ERR_AGAIN)
		channel_close(ch, r);
}

static void
on_turn_end(void *arg)
{
	struct channel *ch = arg;

	if (ch->state == CHANNEL_DOWN)
		return;
	if (ch->close_err == 0 && ch->backlog && !ch->paused && !messages_handle(ch))
		return;
	if (ch->close_err == 0 && !ch->blocked)
		channel_write(ch);
	if (!drain_tell(ch))
		return;
	if (ch->close_err != 0)
		connection_end(ch);
}

static void
on_timeout(void *arg)
{
	struct channel *ch = arg;

	if (ch->state == CHANNEL_HELLO)
		channel_close(ch, ERR_TIMEOUT);
	else if (ch->state == CHANNEL_DOWN)
		channel_client_retry(ch);
}

/* --- the user's side --- */

int
channel_send(struct channel *ch, uint32_t type, uint32_t peerid, const void *body, size_t len)
{
	/* sendmsg(2) only reads, but struct iovec has no const. */
	struct iovec iov = {.iov_base = (void *)(uintptr_t)body, .iov_len = len};

	return channel_sendv(ch, type, peerid, -1, &iov, 1);
}

static void
send_check(const struct channel *ch, uint32_t type, int fd, size_t len)
{
	const struct edge *e = ch->conf.edge;
	enum msg_dir dir = ch->side == CHANNEL_SERVER ? MSG_DIR_UP : MSG_DIR_DOWN;
	const struct msg_def *def;

	MUST(type < e->msg_count);
	def = &e->msgs[type];
	MUST(def->name != NULL && def->dir == dir);
	MUST(len >= def->min_bytes && len <= def->max_bytes);
	MUST((def->fd == MSG_WITHFD) == (fd != -1));
}

int
channel_sendv(
    struct channel *ch, uint32_t type, uint32_t peerid, int fd, const struct iovec *iov, int iov_count)
{
	size_t len = 0;
	int r;

	if (!channel_up(ch))
		return ERR_STATE;
	for (int i = 0; i < iov_count; i++)
		len += iov[i].iov_len;
	send_check(ch, type, fd, len);
	if (imsg_queued_bytes(ch->queue) + len > CHANNEL_MAX_BYTES)
		return ERR_FULL;
	r = imsg_push(ch->queue, type, peerid, fd, iov, iov_count);
	if (r != 0)
		return r;
	metric_inc(&channel_metrics.messages_out);
	metric_add(&channel_metrics.bytes_out, (int64_t)len);
	if (imsg_queued_bytes(ch->queue) >= CHANNEL_BATCH_BYTES && !ch->blocked)
		channel_write(ch);
	if (!ch->full && imsg_full(ch->queue)) {
		ch->full = true;
		if (ch->conf.high_bytes == 0)
			metric_inc(&channel_metrics.full);
	}
	if (!ch->blocked)
		loop_defer_add(ch->loop, &ch->turn);
	return 0;
}

bool
channel_up(const struct channel *ch)
{
	return ch->state == CHANNEL_UP && ch->close_err == 0 && !ch->freed;
}

bool
channel_full(const struct channel *ch)
{
	return ch->full;
}

size_t
channel_queued_bytes(const struct channel *ch)
{
	return ch->queue != NULL ? imsg_queued_bytes(ch->queue) : 0;
}

void
channel_pause(struct channel *ch)
{
	ch->paused = true;
	watch_update(ch);
}

void
channel_resume(struct channel *ch)
{
	ch->paused = false;
	if (ch->backlog)
		loop_defer_add(ch->loop, &ch->turn);
	watch_update(ch);
}

const char *
channel_peer(const struct channel *ch)
{
	return ch->peer;
}

uid_t
channel_uid(const struct channel *ch)
{
	return ch->uid;
}

void
channel_set_data(struct channel *ch, void *data)
{
	ch->data = data;
}

void *
channel_data(const struct channel *ch)
{
	return ch->data;
}

struct channel *
channel_attach(
    struct loop *l, int fd, enum channel_side side, const char *self, const struct channel_conf *conf)
{
	struct channel *ch = channel_new(l, side, self);

	if (ch == NULL) {
		close(fd);
		return NULL;
	}
	ch->conf = *conf;
	if (channel_start(ch, fd) != 0) {
		channel_destroy(ch);
		return NULL;
	}
	return ch;
}
