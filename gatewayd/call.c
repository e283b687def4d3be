/* call: see call.h. */
#include "gatewayd/call.h"

#include <stdarg.h>
#include <stdio.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "common/os/loop.h"
#include "gatewayd/gateway.h"
#include "gatewayd/gateway_metrics.h"

enum { CALL_EXPIRE_EARLY_US = 100000 };

struct calls {
	struct gateway *gw;
	struct deadline_heap deadlines;
	struct loop_timer *timer;
	struct mono armed;
	TAILQ_HEAD(, call) list;
	size_t count;
};

static void
timer_arm(struct calls *cs)
{
	struct mono next = deadline_next(&cs->deadlines);

	if (next.us == cs->armed.us)
		return;
	cs->armed = next;
	loop_timer_arm(cs->timer, next);
}

static struct call *
call_of(struct deadline *d)
{
	return (struct call *)(void *)((char *)d - offsetof(struct call, deadline));
}

/* consensusd is asked to end the call in words of its own, which have to be with the client before that
 * gives up by itself.  False: it can't be, or has not answered. */
static bool
expire(struct calls *cs, struct call *c)
{
	if (c->expiring || c->method->msg_expire == 0 || c->request.ops == NULL ||
	    backend_more(&c->request, c->method->msg_expire, NULL, 0) != 0)
		return false;
	c->expiring = true;
	return deadline_add(&cs->deadlines, &c->deadline, c->ends) == 0;
}

static void
on_deadline(void *arg)
{
	struct calls *cs = arg;
	struct mono now = clock_mono();
	struct deadline *d;

	cs->armed = MONO_NEVER;
	while ((d = deadline_pop(&cs->deadlines, now)) != NULL) {
		struct call *c = call_of(d);

		if (!expire(cs, c))
			call_fail(c, GRPC_DEADLINE_EXCEEDED, "the call's deadline passed before %s was done",
			    c->method->path);
	}
	timer_arm(cs);
}

/* When the deadline is acted upon: a little before its time, if consensusd is to be asked. */
static struct mono
acts_at(const struct call *c, int64_t timeout_us)
{
	int64_t early = timeout_us / 10;

	if (c->method->msg_expire == 0)
		return c->ends;
	return mono_add_us(c->ends, -(early < CALL_EXPIRE_EARLY_US ? early : CALL_EXPIRE_EARLY_US));
}

struct calls *
calls_new(struct gateway *gw)
{
	struct calls *cs = mem_calloc(1, sizeof(*cs));

	if (cs == NULL)
		return NULL;
	cs->gw = gw;
	cs->armed = MONO_NEVER;
	TAILQ_INIT(&cs->list);
	deadline_heap_init(&cs->deadlines);
	cs->timer = loop_timer_new(gw->loop, on_deadline, cs);
	if (cs->timer == NULL) {
		mem_free(cs);
		return NULL;
	}
	return cs;
}

void
calls_free(struct calls *cs)
{
	if (cs == NULL)
		return;
	MUST(TAILQ_EMPTY(&cs->list));
	loop_timer_free(cs->timer);
	deadline_heap_fini(&cs->deadlines);
	mem_free(cs);
}

size_t
calls_count(const struct calls *cs)
{
	return cs->count;
}

void
calls_finish_all(struct calls *cs, enum grpc_status status, const char *message)
{
	struct call *c;

	while ((c = TAILQ_FIRST(&cs->list)) != NULL)
		call_finish(c, status, message);
}

void
calls_finish_endless(struct calls *cs, enum grpc_status status, const char *message)
{
	struct call *c, *next;

	for (c = TAILQ_FIRST(&cs->list); c != NULL; c = next) {
		next = TAILQ_NEXT(c, entry);
		if (c->method->endless)
			call_finish(c, status, message);
	}
}

/* Takes the call out of everything; the front-end is not told. */
static void
call_end(struct call *c, enum grpc_status status)
{
	struct calls *cs = c->gw->calls;

	c->ended = true;
	deadline_del(&cs->deadlines, &c->deadline);
	TAILQ_REMOVE(&cs->list, c, entry);
	cs->count--;
	gateway_metrics_call(status, mono_diff_us(clock_mono(), c->started), c->method->server_stream);
	if (c->method->ops->ended != NULL)
		c->method->ops->ended(c);
	c->state = NULL;
}

void
call_start(struct call *c, struct gateway *gw, const struct call_front *front, const struct method *m,
    int64_t timeout_us)
{
	struct calls *cs = gw->calls;

	c->gw = gw;
	c->front = front;
	c->method = m;
	c->started = clock_mono();
	TAILQ_INSERT_TAIL(&cs->list, c, entry);
	cs->count++;
	if (timeout_us < 0)
		return;
	c->ends = mono_add_us(c->started, timeout_us);
	if (deadline_add(&cs->deadlines, &c->deadline, acts_at(c, timeout_us)) != 0) {
		call_fail(c, GRPC_RESOURCE_EXHAUSTED, "gatewayd is out of memory");
		return;
	}
	timer_arm(cs);
}

bool
call_ready(const struct call *c)
{
	return !c->held && !c->ended;
}

void
call_message(struct call *c, const void *data, size_t len)
{
	if (c->ended)
		return;
	gateway_metrics_received(len);
	if (c->message_count > 0 && !c->method->client_stream) {
		call_fail(
		    c, GRPC_UNIMPLEMENTED, "%s takes one request message and got another", c->method->path);
		return;
	}
	if (!method_valid(c->method, data, len)) {
		call_fail(c, GRPC_INTERNAL,
		    "request message %u of %s is not valid protobuf of its type, or a field is over its "
		    "limit",
		    c->message_count + 1, c->method->path);
		return;
	}
	c->message_count++;
	c->method->ops->message(c, data, len);
}

void
call_half_close(struct call *c)
{
	if (c->ended || c->half_closed)
		return;
	c->half_closed = true;
	if (c->message_count == 0 && !c->method->client_stream) {
		call_fail(
		    c, GRPC_UNIMPLEMENTED, "%s takes one request message and got none", c->method->path);
		return;
	}
	if (c->method->ops->half_close != NULL)
		c->method->ops->half_close(c);
}

void
call_cancel(struct call *c)
{
	if (c->method != NULL && !c->ended)
		call_end(c, GRPC_CANCELLED);
}

bool
call_send(struct call *c, const void *data, size_t len)
{
	int rc;

	if (c->ended)
		return false;
	rc = c->front->send(c, data, len);
	if (rc == 0) {
		gateway_metrics_sent(len);
		return true;
	}
	if (rc == ERR_LIMIT)
		call_fail(c, GRPC_RESOURCE_EXHAUSTED,
		    "answers are taken too slowly: %zu bytes wait; grant a smaller window or read faster",
		    call_queued(c));
	else
		call_fail(c, GRPC_RESOURCE_EXHAUSTED, "gatewayd can't queue the answer: %s", err_text(rc));
	return false;
}

void
call_finish(struct call *c, enum grpc_status status, const char *message)
{
	if (c->ended)
		return;
	call_end(c, status);
	if (status != GRPC_OK)
		log_at(LOG_DEBUG, &(struct log_ctx){.peer = c->peer}, "%s ended with %s: %s", c->method->path,
		    grpc_status_name(status), message);
	c->front->finish(c, status, message);
}

void
call_fail(struct call *c, enum grpc_status status, const char *fmt, ...)
{
	char text[GRPC_MESSAGE_MAX_BYTES];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	call_finish(c, status, text);
}

void
call_hold(struct call *c, bool hold)
{
	if (c->ended || c->held == hold)
		return;
	c->held = hold;
	c->front->hold(c, hold);
}

void
call_drained(struct call *c)
{
	if (c->method != NULL && !c->ended && c->method->ops->drained != NULL)
		c->method->ops->drained(c);
}

bool
call_full(const struct call *c)
{
	return c->front->full(c);
}

size_t
call_queued(const struct call *c)
{
	return c->front->queued(c);
}
