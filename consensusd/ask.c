/* ask: see ask.h. */
#include "consensusd/ask.h"

#include <stdio.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/crypto.h"
#include "consensusd/engine.h"
#include "consensusd/hash.h"
#include "consensusd/peers.h"
#include "consensusd/stats.h"
#include "proto/pb.h"
#include "proto/peer.pb.h"

struct ask {
	struct timed timer; /* first: see timed */
	struct asks *owner;
	uint64_t id, node;
	uint32_t method;
	struct mono over;
	ask_answer_fn *fn;
	void *ctx;
	UT_hash_handle hh;
	size_t len;
	uint8_t body[];
};

struct asks {
	struct engine *engine;
	struct ask *all; /* hash by id */
	uint64_t last_id;
	struct {
		ask_serve_fn *fn;
		void *ctx;
	} served[ASK_METHODS];
};

static void on_ask(void *ctx, uint64_t node, const uint8_t *body, size_t len);
static void on_answer(void *ctx, uint64_t node, const uint8_t *body, size_t len);

struct asks *
asks_new(struct engine *e)
{
	struct asks *as = mem_calloc(1, sizeof(*as));

	if (as == NULL)
		return NULL;
	as->engine = e;
	/* An answer to the process before this one must fit no question of this one. */
	crypto_random(&as->last_id, sizeof(as->last_id));
	peers_handle(e->peers, PEERS_ASK, on_ask, as);
	peers_handle(e->peers, PEERS_ANSWER, on_answer, as);
	return as;
}

static void
ask_free(struct ask *a)
{
	engine_at_cancel(a->owner->engine, &a->timer);
	HASH_DEL(a->owner->all, a);
	mem_free(a);
}

void
asks_free(struct asks *as)
{
	struct ask *a, *next;

	if (as == NULL)
		return;
	HASH_ITER (hh, as->all, a, next)
		ask_free(a);
	mem_free(as);
}

void
asks_serve(struct asks *as, uint32_t method, ask_serve_fn *fn, void *ctx)
{
	MUST(method < ASK_METHODS);
	as->served[method].fn = fn;
	as->served[method].ctx = ctx;
}

/* --- asking --- */

/* A message of this kind; to the own node it goes without the way through peers. */
static int
post(struct asks *as, uint64_t node, enum peers_kind kind, const pb_msgdesc_t *fields, const void *msg)
{
	struct buf out;
	int err;

	buf_init(&out, ASK_BODY_MAX_BYTES + 1024);
	err = pb_pack(&out, fields, msg);
	if (err == 0 && node == as->engine->self) {
		(kind == PEERS_ASK ? on_ask : on_answer)(as, node, buf_head(&out), buf_left(&out));
	} else if (err == 0) {
		const struct iovec part = {(void *)(uintptr_t)buf_head(&out), buf_left(&out)};

		err = peers_send(as->engine->peers, node, kind, PEERS_BULK, &part, 1);
	}
	buf_fini(&out);
	return err;
}

static void
ask_post(const struct ask *a)
{
	const struct pb_slice body = {a->body, a->len};
	mesh_peer_Ask msg = {.id = a->id, .method = a->method};

	if (a->len != 0)
		pb_slice_encode(&msg.body, &body);
	/* What can't be sent now is sent again. */
	if (post(a->owner, a->node, PEERS_ASK, mesh_peer_Ask_fields, &msg) != 0)
		metric_inc(&stats.asks_unsent);
}

static void
on_timer(void *arg)
{
	struct ask *a = arg;
	struct mono now = clock_mono();

	if (!mono_before(now, a->over)) {
		ask_answer_fn *fn = a->fn;
		void *ctx = a->ctx;
		uint64_t node = a->node;

		ask_free(a);
		fn(ctx, node, ERR_TIMEOUT, "no answer", NULL, 0);
		return;
	}
	engine_at(a->owner->engine, &a->timer, mono_min(a->over, mono_add_ms(now, ASK_AGAIN_MS)));
	ask_post(a); /* may free it */
}

int
ask_send(struct asks *as, uint64_t node, uint32_t method, const void *body, size_t len, uint32_t timeout_ms,
    ask_answer_fn *fn, void *ctx, uint64_t *id)
{
	struct ask *a;

	if (len > ASK_BODY_MAX_BYTES)
		return ERR_LIMIT;
	if (HASH_COUNT(as->all) >= ASKS_MAX)
		return ERR_FULL;
	if ((a = mem_calloc(1, sizeof(*a) + len)) == NULL)
		return ERR_NOMEM;
	a->timer.fn = on_timer;
	a->timer.arg = a;
	a->owner = as;
	a->id = ++as->last_id;
	a->node = node;
	a->method = method;
	a->over = mono_add_ms(clock_mono(), timeout_ms);
	a->fn = fn;
	a->ctx = ctx;
	a->len = len;
	if (len != 0)
		memcpy(a->body, body, len);
	HASH_ADD(hh, as->all, id, sizeof(a->id), a);
	if (!HASH_ADDED(a)) {
		mem_free(a);
		return ERR_NOMEM;
	}
	if (id != NULL)
		*id = a->id;
	/* From the loop: an answer must not come before this has returned. */
	engine_at(as->engine, &a->timer, clock_mono());
	return 0;
}

void
ask_cancel_all(struct asks *as, const void *ctx)
{
	struct ask *a, *next;

	HASH_ITER (hh, as->all, a, next)
		if (a->ctx == ctx)
			ask_free(a);
}

static void
on_answer(void *ctx, uint64_t node, const uint8_t *data, size_t len)
{
	struct asks *as = ctx;
	mesh_peer_Answer msg = mesh_peer_Answer_init_zero;
	struct pb_slice body = {0};
	struct ask *a;
	ask_answer_fn *fn;
	void *fn_ctx;

	pb_slice_decode(&msg.body, &body);
	if (pb_unpack(data, len, mesh_peer_Answer_fields, &msg) != 0) {
		metric_inc(&stats.asks_bad);
		return;
	}
	HASH_FIND(hh, as->all, &msg.id, sizeof(msg.id), a);
	if (a == NULL || a->node != node)
		return; /* answered before, or too late */
	fn = a->fn;
	fn_ctx = a->ctx;
	ask_free(a);
	fn(fn_ctx, node, msg.err > 0 ? ERR_FORMAT : msg.err, msg.text, body.data, body.len);
}

/* --- answering --- */

static void
on_ask(void *ctx, uint64_t node, const uint8_t *data, size_t len)
{
	struct asks *as = ctx;
	mesh_peer_Ask msg = mesh_peer_Ask_init_zero;
	struct pb_slice body = {0};
	struct ask_from from = {.node = node};

	pb_slice_decode(&msg.body, &body);
	if (pb_unpack(data, len, mesh_peer_Ask_fields, &msg) != 0) {
		metric_inc(&stats.asks_bad);
		return;
	}
	from.id = msg.id;
	if (msg.method >= ASK_METHODS || as->served[msg.method].fn == NULL)
		ask_answer(
		    as, &from, ERR_UNKNOWN, "this node's version does not know that question", NULL, 0);
	else
		as->served[msg.method].fn(as->served[msg.method].ctx, &from, body.data, body.len);
}

void
ask_answer(
    struct asks *as, const struct ask_from *to, int err, const char *text, const void *body, size_t len)
{
	const struct pb_slice slice = {body, len};
	mesh_peer_Answer msg = {.id = to->id, .err = err};

	snprintf(msg.text, sizeof(msg.text), "%s", text);
	if (len != 0)
		pb_slice_encode(&msg.body, &slice);
	if (post(as, to->node, PEERS_ANSWER, mesh_peer_Answer_fields, &msg) != 0)
		metric_inc(&stats.asks_unsent);
}
