/* backend: see backend.h. */
#include "gatewayd/backend.h"

#include <string.h>

#include "common/base/err.h"
#include "common/os/daemon.h"
#include "common/os/log.h"
#include "gatewayd/events.h"
#include "gatewayd/gateway.h"
#include "gatewayd/health.h"
#include "proto/ipc.pb.h"
#include "proto/pb.h"

bool
backend_up(const struct backend *b)
{
	return b->up;
}

bool
backend_full(const struct backend *b)
{
	return b->up && channel_full(b->channel);
}

/* Takes a request out of flight; its ops are what to call then. */
static const struct request_ops *
request_end(struct request *r)
{
	const struct request_ops *ops = r->ops;

	request_table_del(&r->backend->gw->requests, r->id);
	LIST_REMOVE(r, entry);
	r->ops = NULL;
	return ops;
}

static void
requests_lose(struct backend *b)
{
	struct request *r;

	while ((r = LIST_FIRST(&b->requests)) != NULL)
		request_end(r)->lost(r);
}

static int
on_up(void *ctx, struct channel *ch)
{
	struct backend *b = ctx;

	(void)ch;
	b->up = true;
	b->client[0] = '\0';
	log_notice("%s is connected", b->name);
	events_daemon(b->gw->events, b->name, true);
	return 0;
}

static void
on_down(void *ctx, struct channel *ch, int err)
{
	struct backend *b = ctx;

	(void)ch;
	b->up = false;
	log_warn(
	    "%s went away (%s): its calls end with UNAVAILABLE until it is back", b->name, err_text(err));
	requests_lose(b);
	if (b->id == BACKEND_CONSENSUS)
		health_set(b->gw->health, false, "consensusd is not running");
	events_daemon(b->gw->events, b->name, false);
}

static void
on_drain(void *ctx, struct channel *ch)
{
	struct backend *b = ctx;
	struct request *r, *next;

	(void)ch;
	/* drained() may end its own request, never another one. */
	for (r = LIST_FIRST(&b->requests); r != NULL && !backend_full(b); r = next) {
		next = LIST_NEXT(r, entry);
		if (!r->waits)
			continue;
		r->waits = false;
		r->ops->drained(r);
	}
	/* Full again before all had their turn: on_drain comes once more. */
}

int
backend_start(struct backend *b)
{
	b->conf.ctx = b;
	b->conf.on_up = on_up;
	b->conf.on_down = on_down;
	b->conf.on_drain = on_drain;
	b->channel = daemon_connect(b->gw->daemon, b->name, &b->conf);
	return b->channel != NULL ? 0 : ERR_NOMEM;
}

void
backend_fini(struct backend *b)
{
	b->up = false;
	requests_lose(b);
	if (b->channel != NULL)
		channel_free(b->channel);
	b->channel = NULL;
}

int
backend_request(struct backend *b, struct request *r, const struct request_ops *ops, uint32_t msg,
    const void *data, size_t len)
{
	int rc;

	MUST(r->ops == NULL);
	if (!b->up)
		return ERR_UNAVAIL;
	if ((rc = request_table_add(&b->gw->requests, r, &r->id)) != 0)
		return rc;
	if ((rc = channel_send(b->channel, msg, r->id, data, len)) != 0) {
		request_table_del(&b->gw->requests, r->id);
		return rc == ERR_STATE ? ERR_UNAVAIL : rc;
	}
	r->ops = ops;
	r->backend = b;
	r->waits = false;
	LIST_INSERT_HEAD(&b->requests, r, entry);
	return 0;
}

int
backend_who(struct backend *b, const char *client)
{
	size_t len = strlen(client);
	int rc;

	if (!b->up)
		return ERR_UNAVAIL;
	if (b->msg_who == 0 || strcmp(client, b->client) == 0)
		return 0;
	if ((rc = channel_send(b->channel, b->msg_who, 0, client, len)) != 0)
		return rc == ERR_STATE ? ERR_UNAVAIL : rc;
	memcpy(b->client, client, len + 1);
	return 0;
}

int
backend_more(struct request *r, uint32_t msg, const void *data, size_t len)
{
	int rc = channel_send(r->backend->channel, msg, r->id, data, len);

	return rc == ERR_STATE ? ERR_UNAVAIL : rc;
}

void
backend_wait(struct request *r)
{
	r->waits = true;
}

void
backend_cancel(struct request *r)
{
	struct backend *b = r->backend;
	uint32_t id = r->id;

	if (r->ops == NULL)
		return;
	request_end(r);
	/* A CANCEL that can't be queued leaves an answer that nobody waits for: it is dropped here. */
	if (b->up && b->msg_cancel != 0 && channel_send(b->channel, b->msg_cancel, id, NULL, 0) != 0)
		log_debug("%s: CANCEL of request %u could not be sent", b->name, (unsigned)id);
}

static struct request *
request_of(struct backend *b, const struct imsg *m)
{
	struct request *r = request_table_get(&b->gw->requests, m->peerid);

	return r != NULL && r->backend == b ? r : NULL;
}

int
backend_on_reply(struct backend *b, const struct imsg *m)
{
	struct request *r = request_of(b, m);

	if (r != NULL)
		request_end(r)->reply(r, m->body, m->len);
	return 0;
}

int
backend_on_item(struct backend *b, const struct imsg *m)
{
	struct request *r = request_of(b, m);

	if (r != NULL)
		r->ops->item(r, m->body, m->len);
	return 0;
}

int
backend_on_done(struct backend *b, const struct imsg *m)
{
	mesh_ipc_CallStatus st = mesh_ipc_CallStatus_init_zero;
	struct request *r = request_of(b, m);
	int rc = pb_unpack(m->body, m->len, mesh_ipc_CallStatus_fields, &st);

	if (rc == 0 && r != NULL)
		request_end(r)->done(r, st.code, st.message);
	return rc;
}

int
backend_on_hold(struct backend *b, const struct imsg *m)
{
	mesh_ipc_Hold hold = mesh_ipc_Hold_init_zero;
	struct request *r = request_of(b, m);
	int rc = pb_unpack(m->body, m->len, mesh_ipc_Hold_fields, &hold);

	if (rc == 0 && r != NULL && r->ops->hold != NULL)
		r->ops->hold(r, hold.hold);
	return rc;
}

int
backend_on_event(struct backend *b, const struct imsg *m)
{
	return events_publish(b->gw->events, m->body, m->len);
}
