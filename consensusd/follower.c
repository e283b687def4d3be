/* follower: see follower.h. */
#include "consensusd/follower.h"

#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/id.h"
#include "common/base/mem.h"
#include "consensusd/api_impl.h"
#include "consensusd/engine.h"
#include "consensusd/limits.h"
#include "consensusd/stats.h"
#include "consensusd/store.h"
#include "proto/mesh.pb.h"
#include "proto/pb.h"

/* All that are remembered are loaded, and one row for this node. */
_Static_assert((int)FOLLOWER_NAMES_MAX < (int)STORE_POSITIONS_MAX, "what is loaded at start");

struct follower_key {
	uint8_t kind;
	char name[NODE_NAME_SIZE]; /* the rest is zero */
};

/* A subscriber's name: up to where it has processed.  Stays when the subscriber goes. */
struct follower_name {
	struct follower_key key;
	uint64_t position, stored; /* stored: it was given to the store */
	bool dirty;                /* position is to be stored */
	uint64_t used;             /* when it was here last, or moved: counts up */
	TAILQ_ENTRY(follower_name) dirty_entry;
	struct follower *follower; /* NULL: it is not there */
	UT_hash_handle hh;
};

struct follower {
	TAILQ_ENTRY(follower) entry, ready_entry;
	struct followers *all;
	struct call *call;
	enum follow_kind kind;
	struct follower_name *name; /* NULL: none was given */
	mesh_v1_SubscribeReq req;
	uint64_t at;    /* up to here updates were sent, or passed over */
	uint64_t *ring; /* positions of those that are not acknowledged */
	size_t window, head, count;
	bool skipped; /* it began beyond what its name has acknowledged */
	bool ready;
};

void
follower_reset(struct engine *e, enum follow_kind kind)
{
	struct followers *all = &e->api->followers;
	struct follower *f, *f_next;
	struct follower_name *n, *next;

	for (f = TAILQ_FIRST(&all->all); f != NULL; f = f_next) {
		f_next = TAILQ_NEXT(f, entry);
		if (f->kind == kind)
			call_done(
			    f->call, CODE_ABORTED, "the updates are those of another control group now");
	}
	HASH_ITER (hh, all->names, n, next) {
		if (n->key.kind != kind)
			continue;
		n->position = n->stored = 0;
		if (!n->dirty)
			TAILQ_INSERT_TAIL(&all->dirty, n, dirty_entry);
		n->dirty = true;
	}
	engine_wake(e);
}

void
followers_init(struct followers *all, struct engine *e)
{
	*all = (struct followers){.engine = e, .uses = FOLLOWER_NAMES_MAX};
	TAILQ_INIT(&all->all);
	TAILQ_INIT(&all->ready);
	TAILQ_INIT(&all->dirty);
}

void
followers_fini(struct followers *all)
{
	struct follower_name *n, *next;

	HASH_ITER (hh, all->names, n, next) {
		HASH_DEL(all->names, n);
		mem_free(n);
	}
}

void
follower_source(struct engine *e, enum follow_kind kind, const struct follow_source *src)
{
	e->api->followers.sources[kind] = *src;
}

void
follower_ready(struct follower *f)
{
	if (!f->ready) {
		TAILQ_INSERT_TAIL(&f->all->ready, f, ready_entry);
		f->ready = true;
	}
	engine_wake(f->all->engine);
}

void
follower_changed(struct engine *e, enum follow_kind kind)
{
	struct follower *f;

	TAILQ_FOREACH (f, &e->api->followers.all, entry) {
		if (f->kind == kind)
			follower_ready(f);
	}
}

/* --- names --- */

static struct follower_name *
name_find(struct followers *all, enum follow_kind kind, const char *text)
{
	struct follower_key key = {.kind = (uint8_t)kind};
	struct follower_name *n;

	snprintf(key.name, sizeof(key.name), "%s", text);
	HASH_FIND(hh, all->names, &key, sizeof(key), n);
	return n;
}

static void
name_free(struct followers *all, struct follower_name *n)
{
	HASH_DEL(all->names, n);
	mem_free(n);
	metric_set(&stats.follow_names, HASH_COUNT(all->names));
}

/* Forgets the name that was here longest ago: if it comes again, it gets again what it has processed. */
static int
name_forget_one(struct followers *all)
{
	struct follower_name *n, *next, *oldest = NULL;

	HASH_ITER (hh, all->names, n, next) {
		if (n->follower == NULL && !n->dirty && (oldest == NULL || n->used < oldest->used))
			oldest = n;
	}
	if (oldest == NULL)
		return ERR_FULL;
	name_free(all, oldest);
	metric_inc(&stats.follow_forgotten);
	return 0;
}

static int
name_get(struct followers *all, enum follow_kind kind, const char *text, struct follower_name **out)
{
	struct follower_name *n = name_find(all, kind, text);

	*out = n;
	if (n != NULL)
		return 0;
	if (HASH_COUNT(all->names) >= FOLLOWER_NAMES_MAX && name_forget_one(all) != 0)
		return ERR_FULL;
	if ((n = mem_calloc(1, sizeof(*n))) == NULL)
		return ERR_NOMEM;
	n->key.kind = (uint8_t)kind;
	snprintf(n->key.name, sizeof(n->key.name), "%s", text);
	HASH_ADD(hh, all->names, key, sizeof(n->key), n);
	if (!HASH_ADDED(n)) {
		mem_free(n);
		return ERR_NOMEM;
	}
	metric_set(&stats.follow_names, HASH_COUNT(all->names));
	*out = n;
	return 0;
}

/* Names that have acknowledged nothing are not remembered. */
static void
name_leave(struct followers *all, struct follower_name *n)
{
	n->follower = NULL;
	n->used = ++all->uses;
	if (n->position == 0 && !n->dirty)
		name_free(all, n);
}

int
follower_load(struct engine *e, int kind, const char *name, uint64_t position)
{
	struct follower_name *n;
	int err;

	if (kind < FOLLOW_NODES || kind >= FOLLOW_KINDS || !node_name_valid(name) || position > INT64_MAX)
		return ERR_FORMAT;
	err = name_get(&e->api->followers, (enum follow_kind)kind, name, &n);
	if (err != 0)
		return err;
	n->position = n->stored = position;
	/* Those that moved last come first. */
	n->used = FOLLOWER_NAMES_MAX - HASH_COUNT(e->api->followers.names);
	return 0;
}

/* The position only rises; what was merely passed over is not worth a write each. */
static void
name_raise(struct followers *all, struct follower_name *n, uint64_t position, bool acked)
{
	if (n == NULL || position <= n->position)
		return;
	n->position = position;
	if (n->dirty || (!acked && position - n->stored < FOLLOWER_PASSED_LAG))
		return;
	n->dirty = true;
	TAILQ_INSERT_TAIL(&all->dirty, n, dirty_entry);
	engine_wake(all->engine);
}

/* One row for each name and turn.  What the store has no room for stays for later. */
static void
store_positions(struct followers *all)
{
	struct follower_name *n;

	while ((n = TAILQ_FIRST(&all->dirty)) != NULL) {
		const struct store_position row = {n->key.kind, n->key.name, n->position};

		if (store_put_position(all->engine->store, &row) <= 0)
			return;
		TAILQ_REMOVE(&all->dirty, n, dirty_entry);
		n->dirty = false;
		n->stored = n->position;
	}
}

/* --- delivery --- */

static bool
chosen(const struct follower *f, const char *type)
{
	for (pb_size_t i = 0; i < f->req.types_count; i++) {
		if (strcmp(f->req.types[i], type) == 0)
			return true;
	}
	return f->req.types_count == 0;
}

static void
ring_push(struct follower *f, uint64_t position)
{
	f->ring[(f->head + f->count++) % f->window] = position;
}

static void
ring_pop_upto(struct follower *f, uint64_t position)
{
	while (f->count > 0 && f->ring[f->head] <= position) {
		f->head = (f->head + 1) % f->window;
		f->count--;
	}
}

static int
send_item(struct follower *f, const struct follow_source *src, const struct follow_item *item)
{
	struct buf out;
	struct iovec iov;
	int err;

	buf_init(&out, src->item_max_bytes);
	err = src->encode(src->ctx, item, &out);
	if (err == 0) {
		iov = (struct iovec){(void *)(uintptr_t)buf_head(&out), buf_left(&out)};
		call_item(f->call, &iov, 1);
		ring_push(f, item->position);
		metric_inc(&stats.followed);
	}
	buf_fini(&out);
	return err;
}

/* Ends the call because of the source; its follower is gone then. */
static void
fail(struct follower *f, int err)
{
	if (err == ERR_STALE)
		call_done(f->call, CODE_OUT_OF_RANGE,
		    "updates soon after position %llu are not kept any more: begin at a later one",
		    (unsigned long long)f->at);
	else
		call_done(f->call, CODE_RESOURCE_EXHAUSTED,
		    "the update after position %llu can't be sent: %s", (unsigned long long)f->at,
		    err_text(err));
}

/* Looks at up to quota updates; how many it were, or -1: the call has ended. */
static int
deliver(struct follower *f, int quota)
{
	const struct follow_source *src = &f->all->sources[f->kind];
	struct channel *ch = f->call->client->channel;
	struct follow_item item;
	int n = 0, err = 0;

	for (; n < quota && f->count < f->window && !channel_full(ch); n++) {
		err = src->next(src->ctx, f->at, &item);
		if (err == 0 && chosen(f, item.type))
			err = send_item(f, src, &item);
		if (err != 0)
			break;
		MUST(item.position > f->at);
		f->at = item.position;
	}
	if (err != 0 && err != ERR_NOENT) {
		fail(f, err);
		return -1;
	}
	if (f->count == 0 && !f->skipped)
		name_raise(f->all, f->name, f->at, false);
	return n;
}

bool
followers_turn(struct followers *all)
{
	int left = ENGINE_TURN_DELIVER_COUNT, share, n;
	struct follower *f;

	while (left > 0 && (f = TAILQ_FIRST(&all->ready)) != NULL) {
		share = left < FOLLOWER_SHARE_COUNT ? left : FOLLOWER_SHARE_COUNT;
		n = deliver(f, share);
		if (n < 0)
			continue; /* it is gone, from the list too */
		left -= n;
		TAILQ_REMOVE(&all->ready, f, ready_entry);
		f->ready = n == share;
		if (f->ready)
			TAILQ_INSERT_TAIL(&all->ready, f, ready_entry);
	}
	store_positions(all);
	return !TAILQ_EMPTY(&all->ready);
}

/* --- calls --- */

void
follower_free(struct follower *f)
{
	struct followers *all = f->all;

	if (f->name != NULL)
		name_leave(all, f->name);
	if (f->ready)
		TAILQ_REMOVE(&all->ready, f, ready_entry);
	TAILQ_REMOVE(&all->all, f, entry);
	all->count--;
	metric_set(&stats.followers, (int64_t)all->count);
	f->call->follower = NULL;
	mem_free(f->ring);
	mem_free(f);
}

static bool
check(struct client *c, uint32_t id, const struct followers *all, enum follow_kind kind,
    const mesh_v1_SubscribeReq *in)
{
	struct ulid mesh;

	if (!all->engine->loaded || all->sources[kind].next == NULL) {
		call_refuse(c, id, CODE_UNAVAILABLE, "this node has just started, or its database is away");
		return false;
	}
	if (in->mesh_id[0] != '\0' &&
	    (ulid_parse(in->mesh_id, &mesh) != 0 || ulid_compare(&mesh, &all->engine->mesh_id) != 0)) {
		call_refuse(c, id, CODE_NOT_FOUND, "this node is not in mesh '%s'", in->mesh_id);
		return false;
	}
	if (in->subscriber[0] != '\0' && !node_name_valid(in->subscriber)) {
		call_refuse(c, id, CODE_INVALID_ARGUMENT, "subscriber '%s': 1 to %d of A-Z a-z 0-9 . _ -",
		    in->subscriber, NODE_NAME_MAX);
		return false;
	}
	if (in->window < 0 || in->window > FOLLOWER_WINDOW_MAX || (in->has_from && in->from < 0)) {
		call_refuse(c, id, CODE_INVALID_ARGUMENT,
		    "a window of 0 to %d, from a position that is not negative", FOLLOWER_WINDOW_MAX);
		return false;
	}
	if (in->ack != 0) {
		call_refuse(c, id, CODE_INVALID_ARGUMENT,
		    "nothing was sent that the first message could acknowledge");
		return false;
	}
	return true;
}

/* What the call needs; without memory it is ended. */
static struct follower *
follower_new(struct followers *all, struct call *call, enum follow_kind kind, const mesh_v1_SubscribeReq *in)
{
	struct follower *f = mem_calloc(1, sizeof(*f));
	size_t window = in->window > 0 ? (size_t)in->window : FOLLOWER_WINDOW;
	uint64_t *ring = mem_calloc(window, sizeof(*ring));

	if (f == NULL || ring == NULL) {
		mem_free(f);
		mem_free(ring);
		return NULL;
	}
	f->all = all;
	f->call = call;
	f->kind = kind;
	f->req = *in;
	f->ring = ring;
	f->window = window;
	TAILQ_INSERT_TAIL(&all->all, f, entry);
	all->count++;
	metric_set(&stats.followers, (int64_t)all->count);
	call->follower = f;
	return f;
}

/* Takes its name over from an older one, and goes on where that was. */
static int
take_name(struct follower *f)
{
	struct follower_name *n;
	int err;

	if (f->req.subscriber[0] == '\0')
		return 0;
	if ((err = name_get(f->all, f->kind, f->req.subscriber, &n)) != 0)
		return err;
	f->name = n;
	if (n->follower != NULL) {
		struct follower *older = n->follower;

		older->name = NULL; /* it has none to leave */
		call_done(older->call, CODE_ABORTED, "subscriber %s was taken over by a newer subscription",
		    f->req.subscriber);
	}
	n->follower = f;
	f->at = n->position;
	return 0;
}

void
follower_begin(struct api *a, enum follow_kind kind, struct client *c, const struct imsg *m)
{
	mesh_v1_SubscribeReq in = mesh_v1_SubscribeReq_init_zero;
	struct followers *all = &a->followers;
	struct follower *f;
	struct call *call;
	int err;

	if (pb_unpack(m->body, m->len, mesh_v1_SubscribeReq_fields, &in) != 0) {
		call_refuse(c, m->peerid, CODE_INVALID_ARGUMENT,
		    "malformed SubscribeReq: a text is too long, or there are too many types");
		return;
	}
	if (!check(c, m->peerid, all, kind, &in))
		return;
	call = all->count < SUBSCRIBERS_MAX ? call_new(&a->calls, c, m->peerid, CALL_FOLLOW) : NULL;
	if (call == NULL) {
		call_refuse(c, m->peerid, CODE_RESOURCE_EXHAUSTED, "too many subscriptions at this node");
		return;
	}
	f = follower_new(all, call, kind, &in);
	err = f != NULL ? take_name(f) : ERR_NOMEM;
	if (err != 0) {
		call_done(call, CODE_RESOURCE_EXHAUSTED, "%s",
		    err == ERR_FULL ? "this node remembers as many subscribers as it may"
				    : "no memory for the subscription");
		return;
	}
	if (in.has_from) {
		f->skipped = (uint64_t)in.from > f->at;
		f->at = (uint64_t)in.from;
	}
	follower_ready(f);
}

void
follower_more(struct api *a, struct client *c, const struct imsg *m)
{
	mesh_v1_SubscribeReq in = mesh_v1_SubscribeReq_init_zero;
	struct call *call = call_of(c, m->peerid);
	struct follower *f = call != NULL ? call->follower : NULL;

	if (f == NULL)
		return; /* it has ended, and the client is about to hear it */
	if (pb_unpack(m->body, m->len, mesh_v1_SubscribeReq_fields, &in) != 0) {
		call_done(call, CODE_INVALID_ARGUMENT, "malformed SubscribeReq");
		return;
	}
	if (in.ack < 0 || (uint64_t)in.ack > f->at) {
		call_done(call, CODE_OUT_OF_RANGE, "ack of position %lld, up to which nothing was sent",
		    (long long)in.ack);
		return;
	}
	ring_pop_upto(f, (uint64_t)in.ack);
	/* What was passed over after it is done too. */
	if (in.ack > 0) {
		f->skipped = false;
		name_raise(&a->followers, f->name, f->count == 0 ? f->at : (uint64_t)in.ack, true);
	}
	follower_ready(f);
}
