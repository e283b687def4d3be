/* Updates of nodes, from the API of one node to that of another: who has them when, what is durable before
 * what, and those who follow them. */
#include "tests/unit/consensusd/env.h"

#include "consensusd/limits.h"
#include "consensusd/peers.h"

enum { UPDATE = 2, FOLLOW = 5, FOLLOW_AGAIN = 6 };

static struct env_node *const a = &env.nodes[0], *const b = &env.nodes[1], *const c = &env.nodes[2];

/* --- making updates --- */

static mesh_v1_NodeUpdate
update_of(const char *type, const char *mode)
{
	mesh_v1_NodeUpdate u = mesh_v1_NodeUpdate_init_zero;

	snprintf(u.type, sizeof(u.type), "%s", type);
	u.has_wait = true;
	snprintf(u.wait.mode, sizeof(u.wait.mode), "%s", mode);
	return u;
}

static void
update_send(struct env_node *n, mesh_v1_NodeUpdate *u, const char *payload)
{
	const struct pb_slice slice = {(const uint8_t *)payload, strlen(payload)};

	env_forget(n, UPDATE);
	if (slice.len > 0)
		pb_slice_encode(&u->payload, &slice);
	env_send_pb(n->gateway, GC_NODE_UPDATE, UPDATE, mesh_v1_NodeUpdate_fields, u);
}

struct result {
	mesh_v1_BroadcastResult msg;
	size_t applied, pending;
};

static struct result
result_of(const struct env_call *call)
{
	struct pb_slice items[2][ENV_NODES];
	struct pb_raw_list applied = {.items = items[0], .max = ENV_NODES},
			   pending = {.items = items[1], .max = ENV_NODES};
	struct result r = {.msg = mesh_v1_BroadcastResult_init_zero};

	if (call->replies == 0)
		fail_msg("%s", call->message);
	pb_raw_list_decode(&r.msg.applied_nodes, &applied);
	pb_raw_list_decode(&r.msg.pending_nodes, &pending);
	assert_int_equal(
	    pb_unpack(buf_head(&call->body), buf_left(&call->body), mesh_v1_BroadcastResult_fields, &r.msg),
	    0);
	r.applied = applied.count;
	r.pending = pending.count;
	return r;
}

static struct result
update(struct env_node *n, const char *type, const char *mode, const char *payload)
{
	mesh_v1_NodeUpdate u = update_of(type, mode);

	update_send(n, &u, payload);
	return result_of(env_wait(n, UPDATE));
}

static void
assert_refused(const struct env_call *call, enum code code, const char *part)
{
	assert_int_equal(call->done, 1);
	if (call->code != code || strstr(call->message, part) == NULL)
		fail_msg("%u '%s', not %u '%s'", call->code, call->message, code, part);
}

static void
update_refused(mesh_v1_NodeUpdate u, const char *payload, enum code code, const char *part)
{
	update_send(a, &u, payload);
	assert_refused(env_wait(a, UPDATE), code, part);
}

static const struct note *
note_at(const struct env_node *at, const struct env_node *of, const char *type)
{
	return notes_get(&at->engine.bulletin->notes, of->engine.self, type);
}

static bool
same_everywhere(struct env *e)
{
	for (size_t i = 1; i < ENV_NODES; i++) {
		const struct notes *t = &e->nodes[i].engine.bulletin->notes;

		if (t->staged_count > 0 || t->hash != e->nodes[0].engine.bulletin->notes.hash)
			return false;
	}
	return true;
}

static void
test_modes(void **state)
{
	struct result r = update(a, "one", "", "x");

	(void)state;
	assert_true(r.msg.success && r.msg.committed && r.msg.index == 1);
	assert_int_equal(r.applied, 1);
	assert_int_equal(r.pending, 2);
	assert_int_equal(fake_dbs[0].note_count, 1);
	r = update(a, "one", "all", "y");
	assert_true(r.msg.success && r.msg.committed && r.msg.index == 2);
	assert_int_equal(r.applied, 3);
	assert_int_equal(r.pending, 0);
	/* What was confirmed is durable there. */
	for (size_t i = 0; i < ENV_NODES; i++) {
		assert_int_equal(fake_dbs[i].note_count, 1);
		assert_int_equal(fake_dbs[i].notes[0]->row.version, 2);
		assert_memory_equal(fake_dbs[i].notes[0]->bytes, "y", 1);
	}
	r = update(a, "one", "quorum", "z");
	assert_true(r.msg.success && r.applied >= 2);
	r = update(a, "one", "none", "z");
	assert_true(r.msg.success && !r.msg.committed && r.applied == 0);
	env_run(&env, same_everywhere);
	assert_int_equal(note_at(c, a, "one")->version, 4);
	assert_int_equal(a->engine.bulletin->wait_count, 0);
}

static void
test_refused(void **state)
{
	mesh_v1_NodeUpdate u = update_of("one", "");
	static char large[NOTE_PAYLOAD_MAX_BYTES + 2];

	(void)state;
	memset(large, 'x', sizeof(large) - 1);
	update_refused(u, large, CODE_INVALID_ARGUMENT, "65536");
	u.version = -1;
	update_refused(u, "", CODE_INVALID_ARGUMENT, "version");
	u = update_of("one two", "");
	update_refused(u, "", CODE_INVALID_ARGUMENT, "type");
	u = update_of("one", "sometimes");
	update_refused(u, "", CODE_INVALID_ARGUMENT, "sometimes");
	u = update_of("one", "");
	u.wait.timeout_ms = -1;
	update_refused(u, "", CODE_INVALID_ARGUMENT, "timeout_ms");
	u = update_of("one", "");
	snprintf(u.node_id, sizeof(u.node_id), "b");
	update_refused(u, "", CODE_INVALID_ARGUMENT, "itself");
	u = update_of("one", "");
	u.removed = true;
	update_refused(u, "x", CODE_INVALID_ARGUMENT, "payload");
	update_refused(u, "", CODE_NOT_FOUND, "'one'");
	u = update_of("one", "");
	u.version = 7;
	snprintf(u.node_id, sizeof(u.node_id), "a");
	update_send(a, &u, "x");
	assert_int_equal(result_of(env_wait(a, UPDATE)).msg.index, 7);
	update_refused(u, "y", CODE_FAILED_PRECONDITION, "version 7");
	/* The next one, and taken back. */
	assert_int_equal(update(a, "one", "", "z").msg.index, 8);
	u = update_of("one", "all");
	u.removed = true;
	update_send(a, &u, "");
	assert_int_equal(result_of(env_wait(a, UPDATE)).msg.index, 9);
	assert_true(note_at(b, a, "one")->removed && note_at(b, a, "one")->len == 0);
	assert_int_equal(a->engine.bulletin->notes.removed_count, 1);
	update_refused(u, "", CODE_NOT_FOUND, "'one'");
	assert_int_equal(update(a, "one", "", "again").msg.index, 10);
	env_forget(a, UPDATE);
	assert_int_equal(channel_send(a->gateway, GC_NODE_UPDATE, UPDATE, "\xff", 1), 0);
	assert_refused(env_wait(a, UPDATE), CODE_INVALID_ARGUMENT, "malformed");
	fake_dbs[0].away = true;
	fake_changed(&fake_dbs[0]);
	while (store_ready(a->engine.store))
		env_run(&env, env_ready);
	update_refused(update_of("one", ""), "x", CODE_UNAVAILABLE, "away");
}

static void
test_limits(void **state)
{
	char type[32];

	(void)state;
	for (int i = 0; i < NOTES_PER_NODE_MAX; i++) {
		snprintf(type, sizeof(type), "type-%d", i);
		update(a, type, "", "x");
	}
	update_refused(update_of("one-more", ""), "x", CODE_RESOURCE_EXHAUSTED, "as many");
	assert_int_equal(a->engine.bulletin->wait_count, 0);
	assert_int_equal(update(a, "type-0", "all", "y").applied, 3);
	env_run(&env, same_everywhere);
	assert_int_equal(b->engine.bulletin->notes.count, NOTES_PER_NODE_MAX);
}

static bool
staged_at_a(struct env *e)
{
	return e->nodes[0].engine.bulletin->notes.staged_count == 1;
}

static bool
staged_at_b(struct env *e)
{
	return e->nodes[1].engine.bulletin->notes.staged_count == 1;
}

/* Nobody hears of what is not durable. */
static void
test_durable_first(void **state)
{
	mesh_v1_NodeUpdate u = update_of("one", "committed");

	(void)state;
	fake_dbs[0].hold = true;
	update_send(a, &u, "x");
	env_run(&env, staged_at_a);
	notes_sync_begin(&b->engine.bulletin->sync, &b->engine.bulletin->notes, a->engine.self);
	engine_wake(&b->engine);
	for (unsigned frames = env.frames; env.frames < frames + 1;)
		env_run(&env, env_ready);
	assert_null(notes_node_get(&b->engine.bulletin->notes, a->engine.self));
	assert_int_equal(a->calls[UPDATE].replies, 0);
	/* b's database holds: it does not confirm. */
	fake_dbs[1].hold = true;
	fake_dbs[0].hold = false;
	fake_changed(&fake_dbs[0]);
	assert_true(result_of(env_wait(a, UPDATE)).msg.committed);
	env_run(&env, staged_at_b);
	assert_null(note_at(b, a, "one"));
	u = update_of("one", "all");
	u.wait.timeout_ms = 300;
	update_send(a, &u, "y");
	assert_int_equal(result_of(env_wait(a, UPDATE)).pending, 1);
	assert_false(result_of(&a->calls[UPDATE]).msg.success);
	assert_non_null(strstr(result_of(&a->calls[UPDATE]).msg.error, "2 of 3"));
	fake_dbs[1].hold = false;
	fake_changed(&fake_dbs[1]);
	env_run(&env, same_everywhere);
	/* Here, too: it does not become durable in time. */
	fake_dbs[0].hold = true;
	u = update_of("one", "");
	u.wait.timeout_ms = 50;
	update_send(a, &u, "z");
	assert_non_null(strstr(result_of(env_wait(a, UPDATE)).msg.error, "durable"));
	assert_false(result_of(&a->calls[UPDATE]).msg.committed);
	fake_dbs[0].hold = false;
	fake_changed(&fake_dbs[0]);
	env_run(&env, same_everywhere);
	assert_int_equal(note_at(c, a, "one")->version, 3);
}

static void
test_loss(void **state)
{
	(void)state;
	for (size_t i = 0; i < ENV_NODES; i++)
		env.nodes[i].drop_percent = 30;
	/* Those that do not confirm get it again. */
	for (int i = 0; i < 2; i++)
		assert_int_equal(update(a, "one", "all", "x").applied, 3);
	for (size_t i = 0; i < ENV_NODES; i++)
		env.nodes[i].drop_percent = 0;
}

static bool
no_waits(struct env *e)
{
	return e->nodes[0].engine.bulletin->wait_count == 0;
}

static void
test_cancel(void **state)
{
	mesh_v1_NodeUpdate u = update_of("one", "all");

	(void)state;
	a->drop_percent = 100;
	update_send(a, &u, "x");
	assert_int_equal(channel_send(a->gateway, GC_CANCEL, UPDATE, NULL, 0), 0);
	while (a->engine.bulletin->notes.count == 0)
		env_run(&env, env_ready);
	env_run(&env, no_waits);
	a->drop_percent = 0;
	assert_int_equal(a->calls[UPDATE].replies + a->calls[UPDATE].done, 0);
}

/* One that was away gets it when it is back; and who lost nothing keeps what it had. */
static void
test_restart(void **state)
{
	uint64_t position;

	(void)state;
	assert_int_equal(update(c, "of-c", "all", "before").applied, 3);
	position = note_at(c, c, "of-c")->position;
	env_stop(c);
	assert_int_equal(update(a, "one", "quorum", "x").applied, 2);
	assert_int_equal(update(b, "two", "committed", "y").applied, 1);
	env_start(c);
	env_run(&env, env_ready);
	assert_int_equal(note_at(c, c, "of-c")->position, position);
	assert_int_equal(update(c, "of-c", "all", "after").msg.index, 2);
	env_run(&env, same_everywhere);
	assert_int_equal(c->engine.bulletin->notes.count, 3);
	assert_int_equal(fake_dbs[2].note_count, 3);
}

/* A node that lost its database hears from the others what it had said. */
static void
test_lost_database(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++)
		update(c, "one", "all", "x");
	env_stop(c);
	fake_apply_notes_drop(&fake_dbs[2], c->engine.self);
	fake_apply_notes_drop(&fake_dbs[2], a->engine.self);
	for (size_t i = fake_dbs[2].note_count; i > 0; i--)
		fake_apply_notes_drop(&fake_dbs[2], fake_dbs[2].notes[i - 1]->row.node_id);
	env_start(c);
	env_run(&env, env_ready);
	env_run(&env, same_everywhere);
	assert_int_equal(update(c, "one", "all", "y").msg.index, 4);
}

/* --- what others may not --- */

static int64_t bad_before;

static bool
bad_came(struct env *e)
{
	(void)e;
	return stats.notes_bad.value > bad_before;
}

static void
send_raw(struct env_node *from, struct env_node *to, const void *data, size_t len)
{
	const struct iovec iov = {(void *)(uintptr_t)data, len};

	bad_before = stats.notes_bad.value;
	assert_int_equal(
	    peers_send(from->engine.peers, to->engine.self, PEERS_NOTES, PEERS_BULK, &iov, 1), 0);
	engine_wake(&from->engine);
}

static void
test_forged(void **state)
{
	struct notes_msg_writer *w = malloc(sizeof(*w));
	struct note *n;

	(void)state;
	send_raw(b, a, "nonsense", 8);
	env_run(&env, bad_came);
	update(b, "one", "all", "x");
	/* c changes what b has said. */
	n = note_new(b->engine.self, "one", 2, "y", 1);
	memcpy(n->public_key, b->engine.public_key, sizeof(n->public_key));
	memcpy(n->signature, note_at(c, b, "one")->signature, sizeof(n->signature));
	notes_msg_begin(w, NOTES_PUSH, NOTES_PASS);
	assert_int_equal(notes_msg_put_note(w, n), 0);
	notes_msg_end(w);
	send_raw(c, a, w->mem, w->len);
	env_run(&env, bad_came);
	/* Signed well, by a key that is not b's. */
	memcpy(n->public_key, c->engine.public_key, sizeof(n->public_key));
	notes_msg_begin(w, NOTES_PUSH, 0);
	assert_int_equal(notes_msg_put_note(w, n), 0);
	notes_msg_end(w);
	send_raw(c, a, w->mem, w->len);
	env_run(&env, bad_came);
	assert_int_equal(note_at(a, b, "one")->version, 1);
	note_unref(n);
	free(w);
}

static bool
c_has_one(struct env *e)
{
	return note_at(&e->nodes[2], &e->nodes[1], "one") != NULL;
}

/* What is new and did not go to all from its node is passed on, once. */
static void
test_passed_on(void **state)
{
	struct notes_msg_writer *w = malloc(sizeof(*w));
	int64_t pushed;

	(void)state;
	b->drop_percent = 100;
	assert_int_equal(update(b, "one", "committed", "x").applied, 1);
	b->drop_percent = 0;
	for (size_t i = 0; i < ENV_NODES; i++)
		engine_at_cancel(&env.nodes[i].engine, &env.nodes[i].engine.bulletin->ask);
	pushed = stats.notes_pushed.value;
	notes_msg_begin(w, NOTES_PUSH, NOTES_PASS);
	assert_int_equal(notes_msg_put_note(w, note_at(b, b, "one")), 0);
	notes_msg_end(w);
	send_raw(b, a, w->mem, w->len);
	env_run(&env, c_has_one);
	send_raw(b, a, w->mem, w->len);
	send_raw(b, a, "end", 3);
	env_run(&env, bad_came);
	/* a to c; c knows nobody who might lack it but a, from whom it has it, and b, whose it is. */
	assert_int_equal(stats.notes_pushed.value, pushed + 1);
	free(w);
}

static bool
not_c(void *ctx, uint64_t node)
{
	(void)ctx;
	return node != c->engine.self;
}

static void
test_evicted(void **state)
{
	uint64_t last;

	(void)state;
	update(c, "one", "all", "x");
	update(a, "one", "all", "x");
	update(c, "two", "all", "x");
	last = a->engine.bulletin->notes.last_position;
	bulletin_admit(a->engine.bulletin, not_c, NULL);
	bulletin_admit(b->engine.bulletin, not_c, NULL);
	assert_int_equal(bulletin_forget(a->engine.bulletin, c->engine.self), 0);
	assert_int_equal(bulletin_forget(a->engine.bulletin, 12345), 0);
	assert_null(notes_node_get(&a->engine.bulletin->notes, c->engine.self));
	/* It is not asked for what it has, and it counts no more. */
	assert_int_equal(update(a, "one", "all", "y").applied, 2);
	assert_null(notes_node_get(&a->engine.bulletin->notes, c->engine.self));
	assert_int_equal(fake_dbs[0].note_count, 1);
	/* Positions are not used again, although those that had them are gone. */
	env_stop(a);
	env_start(a);
	env_run(&env, env_ready);
	assert_true(notes_next_position(&a->engine.bulletin->notes) > last + 1);
}

/* --- followers --- */

static unsigned want_items;
static uint32_t want_call;

static bool
items_came(struct env *e)
{
	return e->nodes[1].calls[want_call].items >= want_items;
}

/* b's follower: waits until so many have come, and looks at the last one. */
static mesh_v1_NodeUpdate
follow_wait(uint32_t call, unsigned items)
{
	const struct env_call *x = &b->calls[call];
	mesh_v1_NodeUpdate u = mesh_v1_NodeUpdate_init_zero;

	want_call = call;
	want_items = items;
	env_run(&env, items_came);
	assert_int_equal(x->items, items);
	assert_int_equal(pb_unpack(buf_head(&x->body), buf_left(&x->body), mesh_v1_NodeUpdate_fields, &u), 0);
	return u;
}

static mesh_v1_SubscribeReq
request(const char *name, int64_t window)
{
	mesh_v1_SubscribeReq req = mesh_v1_SubscribeReq_init_zero;

	snprintf(req.subscriber, sizeof(req.subscriber), "%s", name);
	req.window = window;
	return req;
}

static void
follow(uint32_t call, mesh_v1_SubscribeReq req)
{
	env_forget(b, call);
	env_send_pb(b->gateway, GC_FOLLOW_NODES, call, mesh_v1_SubscribeReq_fields, &req);
}

static void
ack(uint32_t call, int64_t position)
{
	mesh_v1_SubscribeReq req = mesh_v1_SubscribeReq_init_zero;

	req.ack = position;
	env_send_pb(b->gateway, GC_FOLLOW_MORE, call, mesh_v1_SubscribeReq_fields, &req);
}

/* All that was sent so far has been looked at. */
static void
settle(void)
{
	assert_int_equal(channel_send(b->gateway, GC_METRICS, 8, NULL, 0), 0);
	env_forget(b, 8);
	env_wait(b, 8);
}

static void
test_follow(void **state)
{
	mesh_v1_NodeUpdate u;
	char self[NODEID_TEXT_SIZE];

	(void)state;
	update(a, "one", "all", "x");
	follow(FOLLOW, request("", 0));
	u = follow_wait(FOLLOW, 1);
	nodeid_format(self, a->engine.self);
	assert_string_equal(u.node_id, self);
	assert_string_equal(u.type, "one");
	assert_true(u.version == 1 && u.position == 1 && u.timestamp > 0 && u.signature.size == 64);
	assert_memory_equal(u.signature.bytes, note_at(a, a, "one")->signature, 64);
	/* Later ones come as they become durable, once each. */
	update(b, "two", "", "y");
	assert_string_equal(follow_wait(FOLLOW, 2).type, "two");
	update(a, "one", "all", "z");
	u = follow_wait(FOLLOW, 3);
	assert_true(u.version == 2 && u.position == 3);
	/* Who comes now gets what counts now. */
	follow(FOLLOW_AGAIN, request("", 0));
	assert_int_equal(follow_wait(FOLLOW_AGAIN, 2).position, 3);
}

static void
test_window(void **state)
{
	char type[32];

	(void)state;
	for (int i = 0; i < 6; i++) {
		snprintf(type, sizeof(type), "type-%d", i);
		update(b, type, "", "x");
	}
	follow(FOLLOW, request("", 2));
	assert_int_equal(follow_wait(FOLLOW, 2).position, 2);
	settle();
	assert_int_equal(b->calls[FOLLOW].items, 2);
	ack(FOLLOW, 1);
	assert_int_equal(follow_wait(FOLLOW, 3).position, 3);
	ack(FOLLOW, 3);
	assert_int_equal(follow_wait(FOLLOW, 5).position, 5);
	ack(FOLLOW, 3); /* again: nothing */
	settle();
	assert_int_equal(b->calls[FOLLOW].items, 5);
	ack(FOLLOW, 6);
	assert_refused(env_wait(b, FOLLOW), CODE_OUT_OF_RANGE, "position 6");
}

static bool
position_stored(struct env *e)
{
	(void)e;
	return fake_dbs[1].position_count == 1 && fake_dbs[1].positions[0].position == 2;
}

static void
test_resume(void **state)
{
	mesh_v1_SubscribeReq req = request("app.1", 0);

	(void)state;
	update(b, "one", "", "x");
	update(b, "two", "", "x");
	update(b, "three", "", "x");
	follow(FOLLOW, request("app.1", 0));
	follow_wait(FOLLOW, 3);
	ack(FOLLOW, 2);
	env_run(&env, position_stored);
	assert_int_equal(fake_dbs[1].positions[0].kind, FOLLOW_NODES);
	/* A newer one takes over, and goes on after what was acknowledged. */
	follow(FOLLOW_AGAIN, request("app.1", 0));
	assert_refused(env_wait(b, FOLLOW), CODE_ABORTED, "taken over");
	assert_int_equal(follow_wait(FOLLOW_AGAIN, 1).position, 3);
	/* After a restart too. */
	env_stop(b);
	env_start(b);
	env_run(&env, env_ready);
	follow(FOLLOW, request("app.1", 0));
	assert_int_equal(follow_wait(FOLLOW, 1).position, 3);
	/* From where it says; its name keeps what it had. */
	req.has_from = true;
	req.from = 0;
	follow(FOLLOW_AGAIN, req);
	assert_int_equal(follow_wait(FOLLOW_AGAIN, 3).position, 3);
	ack(FOLLOW_AGAIN, 1);
	req.from = 3;
	follow(FOLLOW, req);
	update(b, "four", "", "x");
	assert_int_equal(follow_wait(FOLLOW, 1).position, 4);
	follow(FOLLOW_AGAIN, request("app.1", 0));
	assert_int_equal(follow_wait(FOLLOW_AGAIN, 2).position, 4);
	assert_true(position_stored(&env));
}

static void
test_types(void **state)
{
	mesh_v1_SubscribeReq req = request("app", 1);
	char type[32];

	(void)state;
	for (int i = 0; i < 20; i++) {
		snprintf(type, sizeof(type), "type-%d", i);
		update(b, type, "", "x");
	}
	req.types_count = 2;
	snprintf(req.types[0], sizeof(req.types[0]), "type-3");
	snprintf(req.types[1], sizeof(req.types[1]), "type-7");
	follow(FOLLOW, req);
	assert_string_equal(follow_wait(FOLLOW, 1).type, "type-3");
	ack(FOLLOW, 4);
	assert_string_equal(follow_wait(FOLLOW, 2).type, "type-7");
	ack(FOLLOW, 8);
	settle();
	assert_int_equal(b->calls[FOLLOW].items, 2);
	/* What was passed over counts as done. */
	follow(FOLLOW_AGAIN, request("app", 0));
	update(b, "last", "", "x");
	assert_string_equal(follow_wait(FOLLOW_AGAIN, 1).type, "last");
}

static void
follow_refused(mesh_v1_SubscribeReq req, enum code code, const char *part)
{
	follow(FOLLOW, req);
	assert_refused(env_wait(b, FOLLOW), code, part);
}

static void
test_follow_refused(void **state)
{
	mesh_v1_SubscribeReq req = request("no blanks", 0);

	(void)state;
	follow_refused(req, CODE_INVALID_ARGUMENT, "no blanks");
	follow_refused(request("x", FOLLOWER_WINDOW_MAX + 1), CODE_INVALID_ARGUMENT, "4096");
	req = request("x", 0);
	req.has_from = true;
	req.from = -1;
	follow_refused(req, CODE_INVALID_ARGUMENT, "negative");
	req = request("x", 0);
	req.ack = 1;
	follow_refused(req, CODE_INVALID_ARGUMENT, "first message");
	req = request("x", 0);
	snprintf(req.mesh_id, sizeof(req.mesh_id), "01ARZ3NDEKTSV4RRFFQ69G5001");
	follow_refused(req, CODE_NOT_FOUND, "mesh");
	env_forget(b, FOLLOW);
	assert_int_equal(channel_send(b->gateway, GC_FOLLOW_NODES, FOLLOW, "\xff", 1), 0);
	assert_refused(env_wait(b, FOLLOW), CODE_INVALID_ARGUMENT, "malformed");
	/* Names that acknowledged nothing leave nothing behind. */
	follow(FOLLOW, request("x", 0));
	settle();
	assert_int_equal(stats.follow_names.value, 1);
	assert_int_equal(channel_send(b->gateway, GC_CANCEL, FOLLOW, NULL, 0), 0);
	settle();
	assert_int_equal(stats.follow_names.value, 0);
	assert_int_equal(b->engine.api->followers.count, 0);
	ack(FOLLOW, 1); /* of a call that has ended */
	settle();
}

/* More than the channel takes at once: it goes on when the client reads. */
static void
test_drain(void **state)
{
	static char payload[60001];
	mesh_v1_SubscribeReq req = request("", 4096);
	char type[32];
	unsigned count = 0;

	(void)state;
	memset(payload, 'x', sizeof(payload) - 1);
	for (size_t k = 0; k < ENV_NODES; k++) {
		for (int i = 0; i < NOTES_PER_NODE_MAX; i++, count++) {
			snprintf(type, sizeof(type), "type-%d", i);
			update(&env.nodes[k], type, "", payload);
		}
	}
	env_run(&env, same_everywhere);
	follow(FOLLOW, req);
	follow_wait(FOLLOW, count);
	assert_true(b->calls[FOLLOW].bytes > CHANNEL_HIGH_BYTES);
}

/* --- sources of other kinds --- */

static uint64_t source_last, source_first;
static const char *source_type;

static int
source_next(void *ctx, uint64_t after, struct follow_item *out)
{
	(void)ctx;
	if (after < source_first)
		return ERR_STALE;
	*out = (struct follow_item){after + 1, source_type, NULL};
	return after < source_last ? 0 : ERR_NOENT;
}

static int
source_encode(void *ctx, const struct follow_item *item, struct buf *out)
{
	(void)ctx;
	return buf_put_u64(out, item->position);
}

static bool
passed_stored(struct env *e)
{
	(void)e;
	return fake_dbs[1].position_count == 1 &&
	       fake_dbs[1].positions[0].position > source_last - FOLLOWER_PASSED_LAG;
}

static void
test_source(void **state)
{
	const struct follow_source src = {source_next, source_encode, NULL, 8};
	mesh_v1_SubscribeReq req = request("app", 0);

	(void)state;
	source_first = 0;
	source_last = 5000;
	source_type = "other";
	follower_source(&b->engine, FOLLOW_MESH, &src);
	env_forget(b, FOLLOW);
	req.types_count = 1;
	snprintf(req.types[0], sizeof(req.types[0]), "mine");
	/* All is passed over, and that much is remembered. */
	env_send_pb(b->gateway, GC_FOLLOW_MESH, FOLLOW, mesh_v1_SubscribeReq_fields, &req);
	env_run(&env, passed_stored);
	assert_int_equal(b->calls[FOLLOW].items, 0);
	source_last++;
	source_type = "mine";
	follower_changed(&b->engine, FOLLOW_MESH);
	want_call = FOLLOW;
	want_items = 1;
	env_run(&env, items_came);
	/* The same name, of another kind, is another. */
	follow(FOLLOW_AGAIN, request("app", 0));
	settle();
	assert_int_equal(b->calls[FOLLOW].done, 0);
	/* Names beyond all limits: the oldest go, those that are here stay. */
	for (unsigned i = 0; i < 2 * FOLLOWER_NAMES_MAX; i++) {
		char name[32];

		snprintf(name, sizeof(name), "name-%u", i);
		assert_int_equal(follower_load(&b->engine, FOLLOW_DB, name, 1), 0);
	}
	assert_int_equal(stats.follow_names.value, FOLLOWER_NAMES_MAX);
	assert_int_equal(b->calls[FOLLOW].done + b->calls[FOLLOW_AGAIN].done, 0);
	/* What was there is not kept any more. */
	source_first = 10000;
	follower_changed(&b->engine, FOLLOW_MESH);
	assert_refused(env_wait(b, FOLLOW), CODE_OUT_OF_RANGE, "5001");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, env_setup, env_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_modes),
	    TEST(test_refused),
	    TEST(test_limits),
	    TEST(test_durable_first),
	    TEST(test_loss),
	    TEST(test_cancel),
	    TEST(test_restart),
	    TEST(test_lost_database),
	    TEST(test_forged),
	    TEST(test_passed_on),
	    TEST(test_evicted),
	    TEST(test_follow),
	    TEST(test_window),
	    TEST(test_resume),
	    TEST(test_types),
	    TEST(test_follow_refused),
	    TEST(test_drain),
	    TEST(test_source),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
