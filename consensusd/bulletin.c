/* bulletin: see bulletin.h.  Messages are in bulletin_peers.c, calls that wait in bulletin_wait.c. */
#include "consensusd/bulletin.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/crypto.h"
#include "common/os/log.h"
#include "consensusd/bulletin_impl.h"
#include "consensusd/call.h"
#include "consensusd/follower.h"
#include "consensusd/keyring.h"
#include "consensusd/limits.h"
#include "consensusd/peers.h"
#include "consensusd/stats.h"
#include "consensusd/store.h"
#include "proto/mesh.pb.h"
#include "proto/pb.h"

/* --- for followers --- */

static int
follow_next(void *ctx, uint64_t after, struct follow_item *out)
{
	const struct bulletin *b = ctx;
	const struct note *n = notes_after(&b->notes, after);

	if (n == NULL)
		return ERR_NOENT;
	*out = (struct follow_item){n->position, n->type, n};
	return 0;
}

static int
follow_encode(void *ctx, const struct follow_item *item, struct buf *out)
{
	const struct note *n = item->data;
	const struct pb_slice payload = {n->payload, n->len};
	mesh_v1_NodeUpdate u = mesh_v1_NodeUpdate_init_zero;

	(void)ctx;
	nodeid_format(u.node_id, n->node);
	memcpy(u.type, n->type, sizeof(n->type));
	u.version = (int64_t)n->version;
	u.timestamp = (int64_t)n->unix_ms;
	pb_slice_encode(&u.payload, &payload);
	u.signature.size = sizeof(n->signature);
	memcpy(u.signature.bytes, n->signature, sizeof(n->signature));
	u.position = (int64_t)n->position;
	u.removed = n->removed;
	return pb_pack(out, mesh_v1_NodeUpdate_fields, &u);
}

/* --- life --- */

struct bulletin *
bulletin_new(struct engine *e)
{
	struct bulletin *b = mem_calloc(1, sizeof(*b));
	const struct follow_source source = {
	    .next = follow_next,
	    .encode = follow_encode,
	    .ctx = b,
	    .item_max_bytes = NOTE_PAYLOAD_MAX_BYTES + 1024,
	};

	if (b == NULL)
		return NULL;
	b->engine = e;
	notes_init(&b->notes);
	b->sync.send = bulletin_send;
	b->sync.ctx = b;
	TAILQ_INIT(&b->waits);
	peers_handle(e->peers, PEERS_NOTES, bulletin_on_message, b);
	follower_source(e, FOLLOW_NODES, &source);
	return b;
}

void
bulletin_free(struct bulletin *b)
{
	if (b == NULL)
		return;
	engine_at_cancel(b->engine, &b->ask);
	engine_at_cancel(b->engine, &b->again);
	while (!TAILQ_EMPTY(&b->waits))
		bulletin_wait_free(TAILQ_FIRST(&b->waits));
	notes_fini(&b->notes);
	mem_free(b);
}

void
bulletin_count(struct bulletin *b)
{
	metric_set(&stats.notes, (int64_t)(b->notes.count - b->notes.removed_count));
	metric_set(&stats.notes_removed, (int64_t)b->notes.removed_count);
	metric_set(&stats.notes_memory, (int64_t)b->notes.bytes);
}

bool
bulletin_admitted(const struct bulletin *b, uint64_t node)
{
	return b->admitted == NULL || b->admitted(b->ctx, node);
}

static bool
sync_wanted(void *ctx, uint64_t node)
{
	return bulletin_admitted(ctx, node);
}

void
bulletin_admit(struct bulletin *b, bool (*admitted)(void *ctx, uint64_t node), void *ctx)
{
	b->admitted = admitted;
	b->ctx = ctx;
	b->sync.wanted = sync_wanted;
}

/* --- the store --- */

/* As it is stored, a signature has its public key before it. */
enum { SIGNATURE_BYTES = CRYPTO_PUBKEY_BYTES + CRYPTO_SIG_BYTES };

int
bulletin_load(struct bulletin *b, const struct store_note *row)
{
	struct note *n;
	int err;

	if (row->node_id == 0 || row->version == 0 || row->version > INT64_MAX ||
	    row->payload_len > NOTE_PAYLOAD_MAX_BYTES || row->signature_len != SIGNATURE_BYTES ||
	    row->unix_ms > INT64_MAX || !note_type_valid(row->type))
		return ERR_FORMAT;
	n = note_new(row->node_id, row->type, row->version, row->payload, row->payload_len);
	if (n == NULL)
		return ERR_NOMEM;
	n->unix_ms = row->unix_ms;
	n->removed = row->removed;
	n->position = row->position;
	memcpy(n->public_key, row->signature, sizeof(n->public_key));
	memcpy(n->signature, row->signature + sizeof(n->public_key), sizeof(n->signature));
	err = notes_load(&b->notes, n);
	if (err == 0)
		return 0;
	note_unref(n);
	if (err != ERR_FULL)
		return err;
	log_warn("update '%s' of node %s is left out: there are too many", row->type,
	    engine_node_text(b->engine, row->node_id));
	notes_load_position(&b->notes, row->position);
	return 0;
}

void
bulletin_load_position(struct bulletin *b, uint64_t position)
{
	notes_load_position(&b->notes, position);
}

void
bulletin_loaded(struct bulletin *b)
{
	bulletin_count(b);
	bulletin_sync_start(b);
	follower_changed(b->engine, FOLLOW_NODES);
}

static int64_t
put(struct engine *e, const struct note *n, uint64_t position)
{
	uint8_t signature[SIGNATURE_BYTES];
	const struct store_note row = {
	    .node_id = n->node,
	    .type = n->type,
	    .version = n->version,
	    .payload = n->payload,
	    .payload_len = n->len,
	    .signature = signature,
	    .signature_len = sizeof(signature),
	    .unix_ms = n->unix_ms,
	    .removed = n->removed,
	    .position = position,
	};

	memcpy(signature, n->public_key, sizeof(n->public_key));
	memcpy(signature + sizeof(n->public_key), n->signature, sizeof(n->signature));
	return store_put_note(e->store, &row);
}

int
bulletin_take(struct bulletin *b, struct note *n, uint64_t from, unsigned how)
{
	struct engine *e = b->engine;
	uint64_t position = notes_next_position(&b->notes);
	struct notes_entry *entry = NULL;
	int64_t ticket;
	int err = order_reserve(&e->order[FRAME_CLASS_CONTROL]);

	if (err == 0)
		err = notes_reserve(&b->notes, n, &entry);
	if (err == 0) {
		ticket = put(e, n, position);
		if (ticket > 0) {
			order_add(&e->order[FRAME_CLASS_CONTROL], (uint64_t)ticket, ORDER_NOTE, b, position);
			notes_stage(&b->notes, entry, n, from, how);
			return 0;
		}
		notes_release(&b->notes, entry);
		err = (int)ticket;
	}
	note_unref(n);
	return err;
}

static void
on_note(void *arg, const struct note *n, uint64_t from, unsigned how)
{
	struct bulletin *b = arg;

	bulletin_spread(b, n, from, how);
	if (n->node == b->engine->self)
		bulletin_wait_durable(b, n);
}

void
bulletin_durable(struct bulletin *b, uint64_t position)
{
	notes_durable(&b->notes, position, on_note, b);
	bulletin_count(b);
	follower_changed(b->engine, FOLLOW_NODES);
	/* What one node had was more than an answer could hold: the next piece. */
	if (b->source != 0 && b->notes.staged_count == 0) {
		uint64_t source = b->source;

		b->source = 0;
		notes_sync_begin(&b->sync, &b->notes, source);
	}
}

int
bulletin_forget(struct bulletin *b, uint64_t node)
{
	const struct store_position used = {FOLLOW_NODES, "", b->notes.last_position};
	struct engine *e = b->engine;
	int64_t ticket;

	if (notes_node_get(&b->notes, node) == NULL)
		return 0;
	/* Positions are never used twice: the rows that say how far they went are about to go. */
	ticket = store_put_position(e->store, &used);
	if (ticket > 0)
		ticket = store_put_notes_drop(e->store, node);
	if (ticket <= 0)
		return (int)ticket;
	(void)notes_drop(&b->notes, node);
	bulletin_count(b);
	return 0;
}

/* --- this node's own --- */

/* Time, key and signature. */
static int
finish(struct bulletin *b, struct note *n, const struct bulletin_post *post)
{
	uint8_t hash[CRYPTO_HASH_BYTES], statement[NOTE_STATEMENT_MAX_BYTES];

	n->unix_ms = clock_unix_ms();
	n->removed = post->removed;
	memcpy(n->public_key, b->engine->public_key, sizeof(n->public_key));
	crypto_hash(hash, n->payload, n->len);
	return crypto_sign(keyring_node_key(b->engine->keyring), CRYPTO_CONTEXT_NOTE, statement,
	    note_statement(n, hash, statement), n->signature);
}

static int
choose_version(const struct bulletin *b, const struct bulletin_post *post, uint64_t *version)
{
	const struct note *last = notes_latest(&b->notes, b->engine->self, post->type);

	if (post->removed && (last == NULL || last->removed))
		return ERR_NOENT;
	*version = post->version != 0 ? post->version : last != NULL ? last->version + 1 : 1;
	if (*version > INT64_MAX || (last != NULL && *version <= last->version))
		return ERR_STALE;
	return 0;
}

int
bulletin_post(struct bulletin *b, struct call *call, const struct bulletin_post *post)
{
	unsigned how = NOTES_PASS | (post->mode >= BULLETIN_WAIT_QUORUM ? NOTES_CONFIRM : 0);
	struct bulletin_wait *w;
	struct note *n;
	uint64_t version;
	int err;

	if (engine_held(b->engine, FRAME_CLASS_SYSTEM, NULL))
		return ERR_UNAVAIL;
	if ((err = choose_version(b, post, &version)) != 0 ||
	    (err = bulletin_wait_new(b, call->handle, post, version, &w)) != 0)
		return err;
	n = note_new(b->engine->self, post->type, version, post->payload, post->len);
	err = n == NULL ? ERR_NOMEM : finish(b, n, post);
	if (err == 0)
		err = bulletin_take(b, n, b->engine->self, how);
	else
		note_unref(n);
	if (err != 0) {
		bulletin_wait_free(w);
		return err;
	}
	metric_inc(&stats.notes_posted);
	bulletin_wait_begin(w);
	return 0;
}
