/* bulletin: what nodes say to each other about notes; see bulletin.h. */
#include <string.h>

#include "common/base/err.h"
#include "common/os/clock.h"
#include "common/os/crypto.h"
#include "common/os/log.h"
#include "consensusd/bulletin_impl.h"
#include "consensusd/limits.h"
#include "consensusd/peers.h"
#include "consensusd/stats.h"
#include "consensusd/store.h"

/* --- sending --- */

void
bulletin_send(void *ctx, uint64_t peer, const uint8_t *data, size_t len)
{
	struct bulletin *b = ctx;
	const struct iovec iov = {(void *)(uintptr_t)data, len};
	int err = peers_send(b->engine->peers, peer, PEERS_NOTES, PEERS_BULK, &iov, 1);

	/* Whoever lacks it will ask for it. */
	if (err != 0) {
		metric_inc(&stats.notes_unsent);
		log_debug("a message about notes can't go to node %s: %s", engine_node_text(b->engine, peer),
		    err_text(err));
	}
}

void
bulletin_push(struct bulletin *b, uint64_t node, const struct note *n, unsigned flags)
{
	struct notes_msg_writer *w = &b->sync.push;

	notes_msg_begin(w, NOTES_PUSH, flags);
	MUST(notes_msg_put_note(w, n) == 0);
	notes_msg_end(w);
	bulletin_send(b, node, w->mem, w->len);
	metric_inc(&stats.notes_pushed);
}

static bool
reachable(const struct bulletin *b, const struct node *n, uint64_t but)
{
	return n->status == NODE_STATUS_ALIVE && n->id != b->engine->self && n->id != but &&
	       bulletin_admitted(b, n->id);
}

/* Up to max nodes that can be reached, drawn evenly (reservoir sampling); *all: how many there are. */
static size_t
draw(struct bulletin *b, uint64_t but, uint64_t *out, size_t max, size_t *all)
{
	const struct nodes *d = &b->engine->nodes;
	size_t count = 0, at;

	*all = 0;
	for (size_t i = 0; i < d->count; i++) {
		if (!reachable(b, d->all[i], but))
			continue;
		at = count < max ? count++ : rng_below(&b->engine->rng, *all + 1);
		if (at < max)
			out[at] = d->all[i]->id;
		++*all;
	}
	return count;
}

void
bulletin_spread(struct bulletin *b, const struct note *n, uint64_t from, unsigned how)
{
	bool own = from == b->engine->self;
	uint64_t to[BULLETIN_PUSH];
	size_t all, count;
	unsigned flags = how & (NOTES_PASS | NOTES_CONFIRM);

	if (!own && (how & NOTES_CONFIRM) != 0)
		bulletin_confirm(b, n);
	if ((how & NOTES_PASS) == 0)
		return;
	count = draw(b, own ? n->node : from, to, own ? BULLETIN_PUSH : BULLETIN_PASS, &all);
	/* All get it from here: nobody has to pass it on. */
	if (own && count == all)
		flags &= ~(unsigned)NOTES_PASS;
	for (size_t i = 0; i < count; i++)
		if (to[i] != n->node)
			bulletin_push(b, to[i], n, flags);
}

void
bulletin_confirm(struct bulletin *b, const struct note *n)
{
	struct notes_msg_writer *w = &b->sync.push;
	struct notes_msg_type type = {.version = n->version};

	memcpy(type.type, n->type, sizeof(type.type));
	notes_msg_begin(w, NOTES_HAVE, 0);
	MUST(notes_msg_put_group(w, n->node) == 0 && notes_msg_put_type(w, &type) == 0);
	notes_msg_end(w);
	bulletin_send(b, n->node, w->mem, w->len);
}

/* --- asking --- */

static void
ask_at(struct bulletin *b, int64_t ms)
{
	struct engine *e = b->engine;

	engine_at(e, &b->ask, mono_add_us(clock_mono(), rng_jitter(&e->rng, ms * 1000, BULLETIN_JITTER)));
}

static void
on_ask(void *arg)
{
	struct bulletin *b = arg;
	const struct node *fresh = b->fresh != 0 ? nodes_find(&b->engine->nodes, b->fresh) : NULL;
	uint64_t peer;
	size_t all;

	/* Without memory for a deadline it is called from here. */
	if (b->in_ask)
		return;
	b->in_ask = true;
	ask_at(b, BULLETIN_SYNC_MS);
	b->in_ask = false;
	if (!mono_before(b->busy, clock_mono()))
		return;
	if (fresh != NULL && reachable(b, fresh, 0))
		notes_sync_ask(&b->sync, &b->notes, fresh->id);
	else if (draw(b, 0, &peer, 1, &all) == 1)
		notes_sync_ask(&b->sync, &b->notes, peer);
	b->fresh = 0;
}

void
bulletin_sync_start(struct bulletin *b)
{
	b->ask.fn = on_ask;
	b->ask.arg = b;
	ask_at(b, BULLETIN_SYNC_SOON_MS);
}

void
bulletin_node_up(struct bulletin *b, uint64_t node)
{
	if (b == NULL || b->ask.fn == NULL || b->fresh != 0)
		return;
	b->fresh = node;
	ask_at(b, BULLETIN_SYNC_SOON_MS);
}

/* --- receiving --- */

static bool
genuine(const struct notes_msg_note *x, const struct note *n)
{
	uint8_t hash[CRYPTO_HASH_BYTES], statement[NOTE_STATEMENT_MAX_BYTES];

	if (crypto_node_id(x->public_key) != x->node)
		return false;
	crypto_hash(hash, n->payload, n->len);
	return crypto_verify(x->public_key, CRYPTO_CONTEXT_NOTE, statement,
		   note_statement(n, hash, statement), x->signature) == 0;
}

static struct note *
note_of(const struct notes_msg_note *x)
{
	struct note *n = note_new(x->node, x->type, x->version, x->payload, x->len);

	if (n == NULL)
		return NULL;
	n->unix_ms = x->unix_ms;
	n->removed = x->removed;
	memcpy(n->public_key, x->public_key, sizeof(n->public_key));
	memcpy(n->signature, x->signature, sizeof(n->signature));
	return n;
}

/* One that is here, or is on its way to the store. */
static void
known(struct bulletin *b, const struct notes_msg_note *x, unsigned flags)
{
	const struct note *n = notes_get(&b->notes, x->node, x->type);

	metric_inc(&stats.notes_old);
	if ((flags & NOTES_CONFIRM) == 0 || x->node == b->engine->self)
		return;
	if (n != NULL && n->version >= x->version)
		bulletin_confirm(b, n);
	else
		notes_want(&b->notes, x->node, x->type, x->version, NOTES_CONFIRM);
}

/* True: it is news.  Another error than these ends the message. */
static bool
take_one(struct bulletin *b, uint64_t from, const struct notes_msg_note *x, unsigned flags, int *err)
{
	struct note *n;

	*err = 0;
	if (!bulletin_admitted(b, x->node)) {
		metric_inc(&stats.notes_refused);
		return false;
	}
	if (notes_judge(&b->notes, x->node, x->type, x->version, x->signature) != 0) {
		known(b, x, flags);
		return false;
	}
	/* What has no room on its way to the store comes again. */
	if (b->notes.staged_count >= BULLETIN_STAGED_MAX || store_full(b->engine->store)) {
		*err = ERR_FULL;
		return false;
	}
	if ((n = note_of(x)) == NULL) {
		*err = ERR_NOMEM;
		return false;
	}
	if (!genuine(x, n)) {
		note_unref(n);
		*err = ERR_AUTH;
		return false;
	}
	*err = bulletin_take(b, n, from, flags & (NOTES_PASS | NOTES_CONFIRM));
	if (*err == ERR_FULL)
		metric_inc(&stats.notes_refused);
	if (*err == 0 && x->node == b->engine->self)
		log_warn("version %llu of this node's note '%s' came back from another node: its database "
			 "went back in time",
		    (unsigned long long)x->version, x->type);
	return *err == 0;
}

static void
on_push(struct bulletin *b, uint64_t from, struct notes_msg *m)
{
	struct notes_msg_note x;
	unsigned news = 0;
	int err;

	while (notes_msg_next_note(m, &x)) {
		if (take_one(b, from, &x, m->flags, &err)) {
			news++;
			continue;
		}
		if (err == ERR_AUTH) {
			metric_inc(&stats.notes_bad);
			log_debug("node %s passes on a note that its node has not signed",
			    engine_node_text(b->engine, from));
			break;
		}
		if (err != 0)
			metric_inc(&stats.notes_dropped);
	}
	metric_add(&stats.notes_taken, news);
	if (news == 0 || (m->flags & NOTES_ANSWER) == 0)
		return;
	b->busy = mono_add_ms(clock_mono(), BULLETIN_BUSY_MS);
	if ((m->flags & NOTES_MORE) != 0)
		b->source = from;
}

static void
on_have(struct bulletin *b, uint64_t from, struct notes_msg *m)
{
	struct notes_msg_type type;
	uint64_t node;

	while (notes_msg_next_group(m, &node)) {
		while (notes_msg_next_type(m, &type))
			if (node == b->engine->self)
				bulletin_wait_have(b, from, type.type, type.version);
	}
}

void
bulletin_on_message(void *ctx, uint64_t node, const uint8_t *body, size_t len)
{
	struct bulletin *b = ctx;
	struct notes_msg m;
	int err = notes_msg_read(body, len, &m);

	if (err != 0) {
		metric_inc(&stats.notes_bad);
		log_debug("a message about notes from node %s makes no sense: %s",
		    engine_node_text(b->engine, node), err_text(err));
		return;
	}
	/* Before that nobody knows what is here. */
	if (!b->engine->loaded || !bulletin_admitted(b, node))
		return;
	switch (m.kind) {
	case NOTES_PUSH:
		on_push(b, node, &m);
		break;
	case NOTES_TOTAL:
		if (mono_before(b->busy, clock_mono()))
			notes_sync_total(&b->sync, &b->notes, node, &m);
		break;
	case NOTES_SUMMARY:
		notes_sync_summary(&b->sync, &b->notes, node, &m, rng_u64(&b->engine->rng));
		break;
	case NOTES_DETAIL:
		notes_sync_detail(&b->sync, &b->notes, node, &m);
		break;
	case NOTES_WANT:
		notes_sync_want(&b->sync, &b->notes, node, &m);
		break;
	case NOTES_HAVE:
		on_have(b, node, &m);
		break;
	case NOTES_KINDS:
		break;
	}
}
