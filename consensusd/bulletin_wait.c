/* bulletin: calls that wait until their note is durable, here or elsewhere; see bulletin.h. */
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "consensusd/api_impl.h"
#include "consensusd/bulletin_impl.h"
#include "consensusd/limits.h"
#include "proto/mesh.pb.h"
#include "proto/pb.h"

/* Each node takes 15 bytes, in one of the two lists. */
enum { RESULT_MAX_BYTES = 1024 * 1024, WAIT_NODES_MIN = 16 };

static void on_deadline(void *arg);

/* --- which nodes --- */

/* A node that is to have it: one of the mesh, whether it can be reached now or not. */
static bool
counts(const struct bulletin *b, const struct node *n)
{
	return n->id != b->engine->self && bulletin_admitted(b, n->id) &&
	       (n->status == NODE_STATUS_ALIVE || n->status == NODE_STATUS_UNREACHABLE);
}

/* Where the node is, or would be. */
static size_t
place(const struct bulletin_wait *w, uint64_t node)
{
	size_t low = 0, high = w->node_count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (w->nodes[middle] < node)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool
has(const struct bulletin_wait *w, uint64_t node)
{
	size_t i = place(w, node);

	return i < w->node_count && w->nodes[i] == node;
}

static void
add_node(struct bulletin_wait *w, uint64_t node)
{
	size_t i = place(w, node), cap = w->node_cap == 0 ? WAIT_NODES_MIN : w->node_cap * 2;

	if (has(w, node))
		return;
	if (w->node_count == w->node_cap) {
		uint64_t *nodes = mem_reallocarray(w->nodes, cap, sizeof(*nodes));

		if (nodes == NULL)
			return; /* it is asked again */
		w->nodes = nodes;
		w->node_cap = cap;
	}
	memmove(&w->nodes[i + 1], &w->nodes[i], (w->node_count - i) * sizeof(w->nodes[0]));
	w->nodes[i] = node;
	w->node_count++;
}

/* --- answers --- */

struct result {
	mesh_v1_BroadcastResult msg;
	struct pb_slice *applied, *pending;
	char (*texts)[NODEID_TEXT_SIZE];
	size_t text_count;
	struct pb_list applied_list, pending_list;
};

static struct pb_slice
id_text(struct result *r, uint64_t node)
{
	char *text = r->texts[r->text_count++];

	nodeid_format(text, node);
	return (struct pb_slice){(const uint8_t *)text, NODEID_TEXT_SIZE - 1};
}

static void
sort_nodes(struct result *r, const struct bulletin_wait *w)
{
	const struct engine *e = w->bulletin->engine;
	struct pb_list *applied = &r->applied_list, *pending = &r->pending_list;

	if (w->durable)
		r->applied[applied->count++] = id_text(r, e->self);
	for (size_t i = 0; i < e->nodes.count; i++) {
		const struct node *n = e->nodes.all[i];

		if (!counts(w->bulletin, n))
			continue;
		if (has(w, n->id))
			r->applied[applied->count++] = id_text(r, n->id);
		else
			r->pending[pending->count++] = id_text(r, n->id);
	}
}

static void
explain(struct result *r, const struct bulletin_wait *w)
{
	if (!w->durable)
		snprintf(r->msg.error, sizeof(r->msg.error), "it has not become durable in the time given");
	else
		snprintf(r->msg.error, sizeof(r->msg.error),
		    "only %zu of %zu nodes have confirmed it in the time given; the others get it too",
		    r->applied_list.count, r->text_count);
}

/* done: it got what it waited for. */
static void
answer(struct bulletin_wait *w, struct call *call, bool done)
{
	size_t max = w->bulletin->engine->nodes.count + 1;
	struct result r = {.msg = mesh_v1_BroadcastResult_init_zero};

	r.applied = mem_calloc(max, sizeof(*r.applied));
	r.pending = mem_calloc(max, sizeof(*r.pending));
	r.texts = mem_calloc(max, sizeof(*r.texts));
	if (r.applied == NULL || r.pending == NULL || r.texts == NULL) {
		call_done(call, CODE_RESOURCE_EXHAUSTED, "no memory for the answer; the update was taken");
	} else {
		r.applied_list.items = r.applied;
		r.pending_list.items = r.pending;
		sort_nodes(&r, w);
		pb_list_encode(&r.msg.applied_nodes, &r.applied_list);
		pb_list_encode(&r.msg.pending_nodes, &r.pending_list);
		r.msg.success = done;
		r.msg.index = (int64_t)w->version;
		r.msg.committed = w->durable;
		if (!done)
			explain(&r, w);
		api_reply_message(call, mesh_v1_BroadcastResult_fields, &r.msg, RESULT_MAX_BYTES);
	}
	mem_free(r.applied);
	mem_free(r.pending);
	mem_free(r.texts);
}

static void
end(struct bulletin_wait *w, bool done)
{
	struct call *call = call_find(&w->bulletin->engine->api->calls, w->call);

	if (call != NULL)
		answer(w, call, done);
	bulletin_wait_free(w);
}

static bool
enough(const struct bulletin_wait *w)
{
	const struct nodes *d = &w->bulletin->engine->nodes;
	size_t all = 1, have = 1;

	if (w->mode == BULLETIN_WAIT_NONE || !w->durable)
		return w->mode == BULLETIN_WAIT_NONE;
	if (w->mode == BULLETIN_WAIT_COMMITTED)
		return true;
	for (size_t i = 0; i < d->count; i++) {
		if (!counts(w->bulletin, d->all[i]))
			continue;
		all++;
		have += has(w, d->all[i]->id);
	}
	return w->mode == BULLETIN_WAIT_ALL ? have == all : have * 2 > all;
}

/* --- life --- */

/* Calls that were cancelled leave theirs behind until their time is over, or until there is no room. */
static void
purge(struct bulletin *b)
{
	struct bulletin_wait *w, *next;

	TAILQ_FOREACH_SAFE (w, &b->waits, entry, next) {
		if (call_find(&b->engine->api->calls, w->call) == NULL)
			bulletin_wait_free(w);
	}
}

int
bulletin_wait_new(struct bulletin *b, uint64_t call, const struct bulletin_post *post, uint64_t version,
    struct bulletin_wait **out)
{
	struct bulletin_wait *w;

	if (b->wait_count >= BULLETIN_WAITS_MAX)
		purge(b);
	if (b->wait_count >= BULLETIN_WAITS_MAX)
		return ERR_FULL;
	if ((w = mem_calloc(1, sizeof(*w))) == NULL)
		return ERR_NOMEM;
	w->bulletin = b;
	w->call = call;
	w->mode = post->mode;
	w->version = version;
	memcpy(w->type, post->type, strlen(post->type) + 1);
	w->timed = (struct timed){.fn = on_deadline, .arg = w};
	w->until = mono_add_ms(clock_mono(), post->timeout_ms);
	TAILQ_INSERT_TAIL(&b->waits, w, entry);
	b->wait_count++;
	*out = w;
	return 0;
}

void
bulletin_wait_free(struct bulletin_wait *w)
{
	struct bulletin *b = w->bulletin;

	engine_at_cancel(b->engine, &w->timed);
	TAILQ_REMOVE(&b->waits, w, entry);
	b->wait_count--;
	mem_free(w->nodes);
	mem_free(w);
}

static void
on_deadline(void *arg)
{
	struct bulletin_wait *w = arg;

	end(w, enough(w));
}

void
bulletin_wait_begin(struct bulletin_wait *w)
{
	if (enough(w))
		end(w, true);
	else
		engine_at(w->bulletin->engine, &w->timed, w->until); /* may end it at once */
}

/* --- what happens --- */

/* Those that have not confirmed may not have got it. */
static void
push_again(struct bulletin_wait *w, const struct note *n)
{
	struct bulletin *b = w->bulletin;
	const struct nodes *d = &b->engine->nodes;
	size_t left = BULLETIN_AGAIN_COUNT;

	for (size_t i = 0; i < d->count && left > 0; i++) {
		const struct node *to = d->all[w->next++ % d->count];

		if (to->status != NODE_STATUS_ALIVE || !counts(b, to) || has(w, to->id))
			continue;
		bulletin_push(b, to->id, n, NOTES_CONFIRM);
		left--;
	}
}

static void
again_at(struct bulletin *b)
{
	struct engine *e = b->engine;

	engine_at(e, &b->again,
	    mono_add_us(
		clock_mono(), rng_jitter(&e->rng, (int64_t)BULLETIN_AGAIN_MS * 1000, BULLETIN_JITTER)));
}

static void
on_again(void *arg)
{
	struct bulletin *b = arg;
	struct bulletin_wait *w, *next;

	purge(b);
	/* Without memory for a deadline it is called from here. */
	if (TAILQ_EMPTY(&b->waits) || b->in_again)
		return;
	b->in_again = true;
	again_at(b);
	TAILQ_FOREACH_SAFE (w, &b->waits, entry, next) {
		const struct note *n = notes_get(&b->notes, b->engine->self, w->type);

		if (enough(w)) /* nodes may have gone */
			end(w, true);
		else if (w->durable && w->mode >= BULLETIN_WAIT_QUORUM && n != NULL)
			push_again(w, n);
	}
	b->in_again = false;
}

void
bulletin_wait_durable(struct bulletin *b, const struct note *n)
{
	struct bulletin_wait *w, *next;

	TAILQ_FOREACH_SAFE (w, &b->waits, entry, next) {
		if (strcmp(w->type, n->type) != 0 || w->version > n->version)
			continue;
		w->durable = true;
		if (enough(w))
			end(w, true);
	}
	if (b->again.deadline.place == 0 && !TAILQ_EMPTY(&b->waits)) {
		b->again = (struct timed){.fn = on_again, .arg = b};
		again_at(b);
	}
}

void
bulletin_wait_have(struct bulletin *b, uint64_t node, const char *type, uint64_t version)
{
	struct bulletin_wait *w, *next;

	TAILQ_FOREACH_SAFE (w, &b->waits, entry, next) {
		if (strcmp(w->type, type) != 0 || w->version > version)
			continue;
		add_node(w, node);
		if (enough(w))
			end(w, true);
	}
}
