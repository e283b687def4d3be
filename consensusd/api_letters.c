/* api: dead letters, the database updates that this node could not apply; see api.h. */
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/api_impl.h"
#include "consensusd/applier.h"
#include "consensusd/engine.h"
#include "proto/mesh.pb.h"
#include "proto/pb.h"

/* Texts of key and row, at most as many bytes as the updates have, and what else a letter says. */
enum { API_LETTERS_MAX_BYTES = 4 * 1024 * 1024 };

static void
copy(char *out, size_t size, const char *text, size_t len)
{
	snprintf(out, size, "%.*s", (int)len, text);
}

static int
letter_pack(struct buf *out, const struct applier_letter *l)
{
	mesh_v1_DeadLetter m = mesh_v1_DeadLetter_init_zero;
	const struct pb_slice key = {(const uint8_t *)l->key, l->key_len};
	const struct pb_slice row = {(const uint8_t *)l->row, l->row_len};

	m.position = (int64_t)l->position;
	ulid_format(m.update_id, &l->id);
	copy(m.table, sizeof(m.table), l->table, l->table_len);
	copy(m.operation, sizeof(m.operation), l->operation, l->operation_len);
	copy(m.error, sizeof(m.error), l->error, l->error_len);
	m.failed_at = (int64_t)l->failed_unix_ms;
	m.attempts = (int32_t)l->attempts;
	m.blocking = l->blocking;
	pb_slice_encode(&m.key, &key);
	pb_slice_encode(&m.row, &row);
	return pb_pack(out, mesh_v1_DeadLetter_fields, &m);
}

/* Each letter packed into all, whose memory moves while it grows: so where they are is told at the end. */
static int
letters_pack(struct buf *all, struct pb_slice *items, const struct applier_letter *letters, size_t count)
{
	size_t at = 0;
	int err = 0;

	for (size_t i = 0; i < count && err == 0; i++) {
		err = letter_pack(all, &letters[i]);
		items[i].len = buf_left(all) - at;
		at += items[i].len;
	}
	at = 0;
	for (size_t i = 0; i < count && err == 0; i++) {
		items[i].data = buf_head(all) + at;
		at += items[i].len;
	}
	return err;
}

static void
letters_reply(struct call *call, const struct applier_letter *letters, size_t count)
{
	mesh_v1_DeadLetterList m = mesh_v1_DeadLetterList_init_zero;
	struct pb_slice *items = mem_calloc(count + 1, sizeof(*items));
	const struct pb_list list = {items, count};
	struct buf all;
	int err = ERR_NOMEM;

	buf_init(&all, API_LETTERS_MAX_BYTES);
	if (items != NULL)
		err = letters_pack(&all, items, letters, count);
	pb_list_encode(&m.letters, &list);
	if (err == 0)
		api_reply_message(call, mesh_v1_DeadLetterList_fields, &m, API_LETTERS_MAX_BYTES);
	else
		call_done(call, CODE_RESOURCE_EXHAUSTED, "the answer can't be made: %s", err_text(err));
	buf_fini(&all);
	mem_free(items);
}

static void
refuse(struct call *call, int err, const char *why)
{
	if (err == ERR_NOENT)
		call_done(call, CODE_NOT_FOUND, "%s", why);
	else if (err == ERR_UNAVAIL)
		call_done(call, CODE_UNAVAILABLE, "the database of this node can't be asked: %s", why);
	else
		call_done(call, CODE_RESOURCE_EXHAUSTED, "%s", why);
}

static void
on_letters(
    void *ctx, uint64_t handle, int err, const char *why, const struct applier_letter *letters, size_t count)
{
	struct api *a = ctx;
	struct call *call = call_find(&a->calls, handle);

	if (call == NULL)
		return; /* nobody waits any more */
	if (err == 0)
		letters_reply(call, letters, count);
	else
		refuse(call, err, why);
}

static void
accepted(struct call *call, int err)
{
	if (err != 0)
		refuse(call, err, err == ERR_UNAVAIL ? "there is no connection" : err_text(err));
}

void
api_letters_list(struct api *a, struct client *c, const struct imsg *m)
{
	mesh_v1_DeadLetterReq req = mesh_v1_DeadLetterReq_init_zero;
	struct call *call = api_unary(a, c, m);

	if (call == NULL)
		return;
	if (pb_unpack(m->body, m->len, mesh_v1_DeadLetterReq_fields, &req) != 0)
		call_done(call, CODE_INVALID_ARGUMENT, "malformed DeadLetterReq");
	else if (req.after < 0 || req.limit < 0)
		call_done(call, CODE_INVALID_ARGUMENT, "after and limit can't be negative");
	else
		accepted(call, applier_list(a->engine->applier, (uint64_t)req.after, (uint32_t)req.limit,
				   on_letters, a, call->handle));
}

void
api_letters_resolve(struct api *a, struct client *c, const struct imsg *m)
{
	mesh_v1_ResolveDeadLetterReq req = mesh_v1_ResolveDeadLetterReq_init_zero;
	struct call *call = api_unary(a, c, m);
	bool discard;

	if (call == NULL)
		return;
	if (pb_unpack(m->body, m->len, mesh_v1_ResolveDeadLetterReq_fields, &req) != 0) {
		call_done(call, CODE_INVALID_ARGUMENT, "malformed ResolveDeadLetterReq");
		return;
	}
	discard = strcmp(req.action, "discard") == 0;
	if (!discard && strcmp(req.action, "retry") != 0)
		call_done(call, CODE_INVALID_ARGUMENT, "action is retry or discard");
	else if (req.position < 0)
		call_done(call, CODE_INVALID_ARGUMENT, "position can't be negative");
	else
		accepted(call, applier_resolve(a->engine->applier, (uint64_t)req.position, discard,
				   on_letters, a, call->handle));
}
