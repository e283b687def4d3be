/* call: see call.h. */
#include "consensusd/call.h"

#include <stdarg.h>
#include <stdio.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/os/channel.h"
#include "consensusd/caller.h"
#include "consensusd/limits.h"
#include "consensusd/stats.h"
#include "proto/ipc.pb.h"
#include "proto/messages.h"
#include "proto/pb.h"

enum { CALLS_CAP_MIN = 64, CALL_STATUS_BYTES = 1200 };

void
calls_init(struct calls *calls, void (*on_end)(void *ctx, struct call *c), void *ctx)
{
	*calls = (struct calls){.on_end = on_end, .ctx = ctx};
	TAILQ_INIT(&calls->held);
}

void
calls_fini(struct calls *calls)
{
	struct call *c;

	while ((c = calls->pool) != NULL) {
		calls->pool = c->hh.next;
		mem_free(c);
	}
	mem_free(calls->slots);
	mem_free(calls->generations);
	mem_free(calls->free_slots);
	calls_init(calls, calls->on_end, calls->ctx);
}

static int
grow(struct calls *calls)
{
	uint32_t cap = calls->cap == 0 ? CALLS_CAP_MIN : calls->cap * 2;
	struct call **slots = mem_reallocarray(calls->slots, cap, sizeof(struct call *));
	uint32_t *generations, *free_slots;

	if (slots != NULL)
		calls->slots = slots;
	generations = mem_reallocarray(calls->generations, cap, sizeof(*generations));
	if (generations != NULL)
		calls->generations = generations;
	free_slots = mem_reallocarray(calls->free_slots, cap, sizeof(*free_slots));
	if (free_slots != NULL)
		calls->free_slots = free_slots;
	if (slots == NULL || generations == NULL || free_slots == NULL)
		return -1;
	for (uint32_t i = cap; i > calls->cap; i--) {
		slots[i - 1] = NULL;
		generations[i - 1] = 1;
		free_slots[calls->free_count++] = i - 1;
	}
	calls->cap = cap;
	return 0;
}

static struct call *
take(struct calls *calls)
{
	struct call *c = calls->pool;

	if (c == NULL)
		return mem_calloc(1, sizeof(*c));
	calls->pool = c->hh.next;
	*c = (struct call){0};
	return c;
}

static void
give_back(struct calls *calls, struct call *c)
{
	c->hh.next = calls->pool;
	calls->pool = c;
}

struct call *
call_new(struct calls *calls, struct client *client, uint32_t id, enum call_kind kind)
{
	struct call *c;
	uint32_t slot;

	if (calls->count >= CALLS_MAX || call_of(client, id) != NULL)
		return NULL;
	if (calls->free_count == 0 && grow(calls) != 0)
		return NULL;
	c = take(calls);
	if (c == NULL)
		return NULL;
	c->owner = calls;
	c->client = client;
	c->id = id;
	c->kind = kind;
	c->who = caller_ref(client->who);
	HASH_ADD(hh, client->calls, id, sizeof(c->id), c);
	if (!HASH_ADDED(c)) {
		caller_unref(c->who);
		give_back(calls, c);
		return NULL;
	}
	slot = calls->free_slots[--calls->free_count];
	calls->slots[slot] = c;
	c->handle = (uint64_t)calls->generations[slot] << 32 | slot;
	calls->count++;
	metric_set(&stats.calls, calls->count);
	return c;
}

struct call *
call_find(const struct calls *calls, uint64_t handle)
{
	uint32_t slot = (uint32_t)handle;

	if (slot >= calls->cap || calls->generations[slot] != handle >> 32)
		return NULL;
	return calls->slots[slot];
}

struct call *
call_of(const struct client *client, uint32_t id)
{
	struct call *c;

	HASH_FIND(hh, client->calls, &id, sizeof(id), c);
	return c;
}

static void
unhold(struct call *c)
{
	if (!c->held)
		return;
	TAILQ_REMOVE(&c->owner->held, c, held_entry);
	c->held = false;
	metric_add(&stats.held_calls, -1);
}

void
call_free(struct call *c)
{
	struct calls *calls = c->owner;
	uint32_t slot = (uint32_t)c->handle;

	calls->on_end(calls->ctx, c);
	unhold(c);
	HASH_DEL(c->client->calls, c);
	caller_unref(c->who);
	calls->slots[slot] = NULL;
	/* 0 is never a generation, so 0 is never a handle. */
	if (++calls->generations[slot] == 0)
		calls->generations[slot] = 1;
	calls->free_slots[calls->free_count++] = slot;
	calls->count--;
	give_back(calls, c);
	metric_set(&stats.calls, calls->count);
}

static void
send(struct client *client, uint32_t type, uint32_t id, const struct iovec *iov, int iov_count)
{
	int err = channel_sendv(client->channel, type, id, -1, iov, iov_count);

	/* An answer that is lost would leave the call open for ever. */
	if (err != 0)
		channel_close(client->channel, err);
}

void
call_reply(struct call *c, const void *body, size_t len)
{
	const struct iovec iov = {(void *)(uintptr_t)body, len};

	send(c->client, GC_REPLY, c->id, &iov, 1);
	call_free(c);
}

void
call_item(struct call *c, const struct iovec *iov, int iov_count)
{
	send(c->client, GC_ITEM, c->id, iov, iov_count);
}

__attribute__((format(printf, 4, 0))) static void
send_status(struct client *client, uint32_t id, enum code code, const char *fmt, va_list ap)
{
	mesh_ipc_CallStatus status = mesh_ipc_CallStatus_init_zero;
	uint8_t mem[CALL_STATUS_BYTES];
	struct buf out;
	struct iovec iov;

	status.code = code;
	vsnprintf(status.message, sizeof(status.message), fmt, ap);
	buf_init_fixed(&out, mem, sizeof(mem));
	MUST(pb_pack(&out, mesh_ipc_CallStatus_fields, &status) == 0);
	iov = (struct iovec){mem, buf_left(&out)};
	send(client, GC_DONE, id, &iov, 1);
}

void
call_done(struct call *c, enum code code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	send_status(c->client, c->id, code, fmt, ap);
	va_end(ap);
	call_free(c);
}

void
call_refuse(struct client *client, uint32_t id, enum code code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	send_status(client, id, code, fmt, ap);
	va_end(ap);
}

static void
send_hold(struct call *c, bool hold)
{
	mesh_ipc_Hold h = mesh_ipc_Hold_init_zero;
	uint8_t mem[64];
	struct buf out;
	struct iovec iov;

	h.hold = hold;
	buf_init_fixed(&out, mem, sizeof(mem));
	MUST(pb_pack(&out, mesh_ipc_Hold_fields, &h) == 0);
	iov = (struct iovec){mem, buf_left(&out)};
	send(c->client, GC_PUBLISH_HOLD, c->id, &iov, 1);
}

void
call_hold(struct call *c, const struct ulid *stream)
{
	c->held_stream = *stream;
	if (c->held)
		return;
	TAILQ_INSERT_TAIL(&c->owner->held, c, held_entry);
	c->held = true;
	metric_add(&stats.held_calls, 1);
	send_hold(c, true);
}

void
call_release(struct call *c)
{
	if (!c->held)
		return;
	unhold(c);
	send_hold(c, false);
}
