/* gather: see gather.h. */
#include "gatewayd/gather.h"

#include <stdio.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/loop.h"
#include "gatewayd/call.h"
#include "gatewayd/gateway.h"
#include "gatewayd/limits.h"

static struct gather_part *
part_of(struct request *r)
{
	return (struct gather_part *)(void *)((char *)r - offsetof(struct gather_part, request));
}

/* The last part ends the gather, and with it the call: g is gone afterwards. */
static void
part_end(struct gather_part *p, enum grpc_status status, const char *text)
{
	struct gather *g = p->gather;

	MUST(!p->ended);
	p->ended = true;
	p->status = status;
	snprintf(p->text, sizeof(p->text), "%s", text);
	g->pending--;
	if (g->pending == 0 && g->started)
		g->finish(g);
}

/* False: there is no room, and the part has ended. */
static bool
part_keep(struct gather_part *p, const uint8_t *data, size_t len)
{
	int rc = buf_put_u32(&p->items, (uint32_t)len);

	if (rc == 0)
		rc = buf_put_bytes(&p->items, data, len);
	return rc == 0;
}

static void
part_reply(struct request *r, const uint8_t *data, size_t len)
{
	struct gather_part *p = part_of(r);

	if (part_keep(p, data, len))
		part_end(p, GRPC_OK, "");
	else
		part_end(p, GRPC_RESOURCE_EXHAUSTED, "its answer is too long");
}

static void
part_item(struct request *r, const uint8_t *data, size_t len)
{
	struct gather_part *p = part_of(r);

	if (part_keep(p, data, len))
		return;
	backend_cancel(r);
	part_end(p, GRPC_RESOURCE_EXHAUSTED, "its answer is too long");
}

static void
part_done(struct request *r, uint32_t code, const char *message)
{
	part_end(part_of(r), grpc_status_valid(code), message);
}

static void
part_lost(struct request *r)
{
	part_end(part_of(r), GRPC_UNAVAILABLE, "it went away");
}

static const struct request_ops part_ops = {
    .reply = part_reply, .item = part_item, .done = part_done, .lost = part_lost};

static void
on_timeout(void *arg)
{
	struct gather *g = arg;
	size_t open = g->pending;

	for (size_t i = 0; open > 0 && i < g->count; i++) {
		struct gather_part *p = &g->parts[i];

		if (p->ended)
			continue;
		open--; /* g is gone after the last one */
		backend_cancel(&p->request);
		part_end(p, GRPC_UNAVAILABLE, "it does not answer");
	}
}

struct gather *
gather_new(struct call *c, void (*finish)(struct gather *g))
{
	struct gather *g = mem_calloc(1, sizeof(*g));

	if (g != NULL)
		g->timer = loop_timer_new(c->gw->loop, on_timeout, g);
	if (g == NULL || g->timer == NULL) {
		mem_free(g);
		call_fail(c, GRPC_RESOURCE_EXHAUSTED, "gatewayd is out of memory");
		return NULL;
	}
	g->call = c;
	g->finish = finish;
	buf_init(&g->note, GATHER_NOTE_MAX_BYTES);
	c->state = g;
	return g;
}

struct gather *
gather_again(struct gather *g, void (*finish)(struct gather *g))
{
	struct call *c = g->call;

	gather_ended(c);
	c->state = NULL;
	return gather_new(c, finish);
}

void
gather_add(struct gather *g, enum backend_id id, uint32_t msg, const void *data, size_t len)
{
	struct gather_part *p = &g->parts[g->count];
	int rc;

	MUST(g->count < GATHER_PARTS_MAX && !g->started);
	g->count++;
	g->pending++;
	p->gather = g;
	p->backend = &g->call->gw->backends[id];
	buf_init(&p->items, LIST_MAX_BYTES);
	rc = backend_request(p->backend, &p->request, &part_ops, msg, data, len);
	if (rc == ERR_UNAVAIL)
		part_end(p, GRPC_UNAVAILABLE, "it is not running");
	else if (rc != 0)
		part_end(p, GRPC_RESOURCE_EXHAUSTED, err_text(rc));
}

void
gather_start(struct gather *g)
{
	g->started = true;
	loop_timer_arm_ms(g->timer, SIBLING_TIMEOUT_MS);
	if (g->pending == 0)
		g->finish(g);
}

void
gather_ended(struct call *c)
{
	struct gather *g = c->state;

	if (g == NULL)
		return;
	for (size_t i = 0; i < g->count; i++) {
		if (!g->parts[i].ended)
			backend_cancel(&g->parts[i].request);
		buf_fini(&g->parts[i].items);
	}
	buf_fini(&g->note);
	loop_timer_free(g->timer);
	mem_free(g);
}

void
gather_view(const struct gather_part *p, struct buf *view)
{
	buf_view(view, buf_head(&p->items), buf_left(&p->items));
}

int
gather_next(struct buf *view, const uint8_t **data, size_t *len)
{
	uint32_t n;

	if (buf_left(view) == 0)
		return 0;
	MUST(buf_get_u32(view, &n) == 0 && buf_get_ref(view, n, data) == 0);
	*len = n;
	return 1;
}
