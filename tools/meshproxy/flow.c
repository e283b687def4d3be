/* flow: one direction of a connection, and the line that it shares with others. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/crypto.h"
#include "tools/meshproxy/wire.h"

static struct proxy *
proxy_of(const struct flow *f)
{
	return f->conn->forward->proxy;
}

/* --- chunks --- */

static struct chunks *
spare_of(struct proxy *p, size_t size)
{
	return size == PACKET_BYTES ? &p->spare_small : &p->spare_large;
}

static struct chunk *
chunk_get(struct proxy *p, size_t bytes)
{
	size_t size = bytes <= PACKET_BYTES ? PACKET_BYTES : CHUNK_BYTES;
	struct chunks *spare = spare_of(p, size);
	struct chunk *c = STAILQ_FIRST(spare);

	if (c != NULL)
		STAILQ_REMOVE_HEAD(spare, entry);
	else if ((c = mem_calloc(1, sizeof(*c) + size)) != NULL)
		c->size = size;
	return c;
}

static void
chunk_drop(struct flow *f)
{
	struct chunk *c = STAILQ_FIRST(&f->queue);

	STAILQ_REMOVE_HEAD(&f->queue, entry);
	STAILQ_INSERT_HEAD(spare_of(proxy_of(f), c->size), c, entry);
}

/* --- the line --- */

static int64_t
line_us(const struct forward *fw, size_t bytes)
{
	return (int64_t)bytes * 8000 / fw->rate_kbit;
}

/* A fast line takes more at once, as much as leaves it in a quarter of a millisecond. */
static size_t
packet_bytes(const struct forward *fw)
{
	int64_t bytes = fw->rate_kbit / 32;

	if (fw->rate_kbit == 0 || bytes > CHUNK_BYTES)
		return CHUNK_BYTES;
	return bytes < PACKET_BYTES ? PACKET_BYTES : (size_t)bytes;
}

/* When the line takes another packet: QUEUE_RATED_MS may wait in it, two packets at least. */
static struct mono
line_open_at(const struct line *l)
{
	int64_t packet = line_us(l->forward, packet_bytes(l->forward)), most = QUEUE_RATED_MS * 1000;

	if (most < 2 * packet)
		most = 2 * packet;
	return mono_add_us(l->free, packet - most);
}

static bool
line_has_room(const struct line *l)
{
	return l->forward->rate_kbit == 0 || !mono_before(clock_mono(), line_open_at(l));
}

/* When what enters the line now comes out at the other end. */
static struct mono
line_enter(struct line *l, size_t bytes)
{
	const struct forward *fw = l->forward;
	struct mono now = clock_mono(), out = now;
	uint32_t random;

	if (fw->rate_kbit > 0) {
		if (mono_before(l->free, now))
			l->free = now;
		out = l->free = mono_add_us(l->free, line_us(fw, bytes));
	}
	if (fw->jitter_ms > 0) {
		crypto_random(&random, sizeof(random));
		out = mono_add_us(out, (int64_t)(random % (uint64_t)(fw->jitter_ms * 1000 + 1)));
	}
	return mono_add_ms(out, fw->delay_ms);
}

/* --- a flow --- */

static void
on_due(void *arg)
{
	struct flow *f = arg;

	conn_update(f->conn);
}

bool
flow_init(struct flow *f, struct conn *c, enum way way, struct end *from, struct end *to)
{
	f->conn = c;
	f->from = from;
	f->to = to;
	f->line = &c->forward->lines[way];
	from->in = f;
	to->out = f;
	STAILQ_INIT(&f->queue);
	f->timer = loop_timer_new(c->forward->proxy->loop, on_due, f);
	return f->timer != NULL;
}

static void
flow_leave(struct flow *f)
{
	if (f->waiting)
		TAILQ_REMOVE(&f->line->waiting, f, entry);
	f->waiting = false;
}

void
flow_fini(struct flow *f)
{
	flow_leave(f);
	loop_timer_free(f->timer);
	f->timer = NULL;
	while (!STAILQ_EMPTY(&f->queue))
		chunk_drop(f);
}

bool
flow_blocked(const struct flow *f)
{
	return f->cut || f->line->cut || f->conn->stalled;
}

static size_t
queue_limit(const struct forward *fw)
{
	int64_t bytes = QUEUE_MIN_BYTES, ms = fw->delay_ms + fw->jitter_ms;

	if (fw->rate_kbit > 0)
		bytes = fw->rate_kbit * (ms + QUEUE_RATED_MS) / 8;
	else if (ms > 0)
		bytes = QUEUE_MAX_BYTES;
	if (bytes < CHUNK_BYTES)
		bytes = CHUNK_BYTES;
	return bytes > QUEUE_MAX_BYTES ? QUEUE_MAX_BYTES : (size_t)bytes;
}

bool
flow_wants_read(const struct flow *f)
{
	return !f->eof && !f->waiting && !flow_blocked(f) && f->queued < queue_limit(f->conn->forward);
}

bool
flow_can_write(const struct flow *f)
{
	const struct chunk *c = STAILQ_FIRST(&f->queue);

	return !flow_blocked(f) && c != NULL && !mono_before(clock_mono(), c->due);
}

/* Passes on the end of a direction when all before it was written. */
static void
flow_finish(struct flow *f)
{
	if (f->eof && !f->shut && STAILQ_EMPTY(&f->queue)) {
		f->shut = true;
		(void)shutdown(f->to->fd, SHUT_WR);
	}
	if (f->conn->flows[UP].shut && f->conn->flows[DOWN].shut)
		conn_close(f->conn, false);
}

void
flow_end(struct flow *f)
{
	flow_leave(f);
	f->eof = true;
}

void
flow_write(struct flow *f)
{
	while (flow_can_write(f)) {
		struct chunk *c = STAILQ_FIRST(&f->queue);
		ssize_t n = send(f->to->fd, c->data + c->sent, c->used - c->sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			conn_close(f->conn, true);
			return;
		}
		c->sent += (size_t)n;
		f->queued -= (size_t)n;
		f->bytes += (uint64_t)n;
		f->line->bytes += (uint64_t)n;
		if (c->sent == c->used)
			chunk_drop(f);
	}
	if (flow_blocked(f))
		return;
	if (!STAILQ_EMPTY(&f->queue))
		loop_timer_arm(f->timer, STAILQ_FIRST(&f->queue)->due);
	else
		flow_finish(f);
}

/* Puts what was read on the line.  What is late because of the jitter holds up what is behind it. */
static void
flow_push(struct flow *f, const uint8_t *data, size_t len)
{
	struct chunk *c = chunk_get(proxy_of(f), len);

	if (c == NULL) {
		conn_close(f->conn, true);
		return;
	}
	memcpy(c->data, data, len);
	c->used = len;
	c->sent = 0;
	c->due = line_enter(f->line, len);
	if (mono_before(c->due, f->last_due))
		c->due = f->last_due;
	f->last_due = c->due;
	STAILQ_INSERT_TAIL(&f->queue, c, entry);
	f->queued += len;
	flow_write(f);
}

/* Reads one packet; true: there may be more. */
static bool
flow_read(struct flow *f)
{
	struct proxy *p = proxy_of(f);
	size_t want = packet_bytes(f->conn->forward);
	ssize_t n = recv(f->from->fd, p->scratch, want, 0);

	if (n > 0) {
		flow_push(f, p->scratch, (size_t)n);
	} else if (n == 0) {
		f->eof = true;
		flow_write(f);
	} else if (errno != EAGAIN) {
		conn_close(f->conn, true);
	}
	return n == (ssize_t)want && !f->conn->dead;
}

static void
flow_wait(struct flow *f)
{
	f->waiting = true;
	TAILQ_INSERT_TAIL(&f->line->waiting, f, entry);
}

void
flow_readable(struct flow *f)
{
	if (TAILQ_EMPTY(&f->line->waiting) && line_has_room(f->line)) {
		(void)flow_read(f);
		return;
	}
	flow_wait(f);
	loop_timer_arm(f->line->timer, line_open_at(f->line));
}

void
line_serve(struct line *l)
{
	struct flow *f;

	while ((f = TAILQ_FIRST(&l->waiting)) != NULL && line_has_room(l)) {
		flow_leave(f);
		if (flow_wants_read(f) && flow_read(f) && flow_wants_read(f))
			flow_wait(f);
		else
			conn_update(f->conn);
	}
	if (f != NULL)
		loop_timer_arm(l->timer, line_open_at(l));
}
