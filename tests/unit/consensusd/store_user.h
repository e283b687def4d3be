/*
 * store_user: a store on a PostgreSQL server of its own, and what it said, for tests.
 */
#ifndef TESTS_UNIT_CONSENSUSD_STORE_USER_H
#define TESTS_UNIT_CONSENSUSD_STORE_USER_H

#include "tests/unit/unit.h"

#include "common/base/be.h"
#include "common/base/err.h"
#include "common/base/frame.h"
#include "common/base/mem.h"
#include "common/os/crypto.h"
#include "common/os/loop.h"
#include "consensusd/core/raft_entry.h"
#include "consensusd/store.h"
#include "tests/pg_server.h"

enum { NODE = 0x1234, OTHER_NODE = 0x9999, WAIT_SECONDS = 20, LOADED_MAX = 2000 };

static struct pg_server server;
static int witness_fd = -1; /* of stores to come */
static bool trust_database;

/* A store, and what it said. */
struct user {
	struct loop *loop;
	struct loop_timer *poll;
	struct store *store;
	int ready, lost, fatal;
	uint64_t durable;
	char why[512];
	struct store_stream streams[LOADED_MAX];
	size_t stream_count;
	struct store_offset offsets[LOADED_MAX];
	size_t offset_count;
	struct store_raft_state rafts[LOADED_MAX]; /* with copies of what is borrowed */
	size_t raft_count;
	struct store_note notes[8]; /* of those that were told, the first ones */
	size_t note_count;
	struct store_position positions[8];
	size_t position_count;
	struct control rules[8];
	size_t rule_count;
	struct store_key keys[8], gone[8];
	size_t key_count, gone_count;
	int rolled_back;
	struct {
		uint64_t node;
		char addresses[128];
	} known[8];
	size_t known_count;
	bool (*until)(struct user *u);
	bool met;
	double deadline;
	PGconn *pg; /* to look at the database without the store */
	/* Of reads. */
	struct batch *got[64];
	size_t got_count;
	int read_done, read_err;
};

static inline void
on_ready(void *ctx)
{
	((struct user *)ctx)->ready++;
}

static inline void
on_lost(void *ctx, const char *why)
{
	struct user *u = ctx;

	u->lost++;
	snprintf(u->why, sizeof(u->why), "%s", why);
}

static inline void
on_durable(void *ctx, uint64_t ticket)
{
	struct user *u = ctx;

	assert_true(ticket >= u->durable);
	u->durable = ticket;
}

static inline void
on_load_stream(void *ctx, const struct store_stream *row)
{
	struct user *u = ctx;

	assert_int_equal(u->ready, 0);
	assert_int_equal(u->offset_count, 0);
	assert_true(u->stream_count < LOADED_MAX);
	u->streams[u->stream_count] = *row;
	u->streams[u->stream_count++].meta = mem_dup(row->meta, row->meta_len);
}

static inline void
on_load_node(void *ctx, uint64_t node_id, const char *addresses)
{
	struct user *u = ctx;

	assert_true(u->known_count < COUNT(u->known));
	assert_int_equal(u->stream_count, 0);
	u->known[u->known_count].node = node_id;
	snprintf(u->known[u->known_count].addresses, sizeof(u->known[0].addresses), "%s", addresses);
	u->known_count++;
}

static inline void
on_load_offset(void *ctx, const struct store_offset *row)
{
	struct user *u = ctx;

	assert_true(u->offset_count < LOADED_MAX);
	u->offsets[u->offset_count++] = *row;
}

/* Not with the suite's allocator: it may be told to fail. */
static inline void *
copy_of(const void *data, size_t len)
{
	void *copy = malloc(len + 1);

	assert_non_null(copy);
	if (len > 0)
		memcpy(copy, data, len);
	return copy;
}

static inline int
on_load_raft(void *ctx, const struct store_raft_state *r)
{
	struct user *u = ctx;
	struct store_raft_state *mine;

	assert_int_equal(u->ready, 0);
	assert_true(u->raft_count < LOADED_MAX);
	mine = &u->rafts[u->raft_count++];
	*mine = *r;
	mine->snap_config = copy_of(r->snap_config, r->snap_config_len);
	mine->snap_data = r->snap_data != NULL ? copy_of(r->snap_data, r->snap_data_len) : NULL;
	mine->entries = copy_of(r->entries, r->entry_count * sizeof(r->entries[0]));
	return 0;
}

static inline void
on_load_note(void *ctx, const struct store_note *n)
{
	struct user *u = ctx;
	struct store_note *mine;

	assert_int_equal(u->ready, 0);
	u->note_count++;
	if (u->note_count > COUNT(u->notes))
		return;
	mine = &u->notes[u->note_count - 1];
	*mine = *n;
	mine->type = copy_of(n->type, strlen(n->type) + 1);
	mine->payload = copy_of(n->payload, n->payload_len);
	mine->signature = copy_of(n->signature, n->signature_len);
}

static inline void
on_load_rule(void *ctx, const struct control *c)
{
	struct user *u = ctx;

	assert_int_equal(u->ready, 0);
	assert_true(u->rule_count < COUNT(u->rules));
	u->rules[u->rule_count++] = *c;
}

static inline void
on_load_key(void *ctx, const struct store_key *k)
{
	struct user *u = ctx;

	assert_int_equal(u->ready, 0);
	assert_true(u->key_count < COUNT(u->keys));
	u->keys[u->key_count++] = *k;
}

static inline void
on_key_gone(void *ctx, const char *tenant_id, const uint8_t key_id[BATCH_KEY_ID_BYTES])
{
	struct user *u = ctx;
	struct store_key *k = &u->gone[u->gone_count];

	assert_true(u->gone_count < COUNT(u->gone));
	snprintf(k->tenant_id, sizeof(k->tenant_id), "%s", tenant_id);
	memcpy(k->key_id, key_id, sizeof(k->key_id));
	u->gone_count++;
}

static inline void
on_load_position(void *ctx, const struct store_position *p)
{
	struct user *u = ctx;

	assert_int_equal(u->ready, 0);
	u->position_count++;
	if (u->position_count > COUNT(u->positions))
		return;
	u->positions[u->position_count - 1] = *p;
	u->positions[u->position_count - 1].subscriber = copy_of(p->subscriber, strlen(p->subscriber) + 1);
}

static inline void
on_rolled_back(void *ctx, const char *why)
{
	struct user *u = ctx;

	assert_int_equal(u->ready, 0);
	u->rolled_back++;
	snprintf(u->why, sizeof(u->why), "%s", why);
}

static inline void
on_fatal(void *ctx, const char *why)
{
	struct user *u = ctx;

	u->fatal++;
	snprintf(u->why, sizeof(u->why), "%s", why);
}

static inline void
on_poll(void *arg)
{
	struct user *u = arg;

	u->met = u->until(u);
	if (u->met || pg_seconds() > u->deadline)
		loop_stop(u->loop);
	else
		loop_timer_arm_ms(u->poll, 1);
}

static inline void
wait_until(struct user *u, bool (*until)(struct user *u))
{
	u->until = until;
	u->deadline = pg_seconds() + WAIT_SECONDS;
	loop_timer_arm_ms(u->poll, 0);
	assert_int_equal(loop_run(u->loop), 0);
	if (!u->met)
		print_error("gave up waiting: %s\n", store_error(u->store));
	assert_true(u->met);
}

static inline bool
is_ready(struct user *u)
{
	return store_ready(u->store);
}

static inline bool
is_away(struct user *u)
{
	return !store_ready(u->store);
}

static inline bool
is_fatal(struct user *u)
{
	return u->fatal > 0;
}

static uint64_t wanted; /* ticket */

static inline bool
is_durable(struct user *u)
{
	return u->durable >= wanted;
}

static inline struct user *
user_new(uint64_t node_id, bool migrate, bool with_files)
{
	const struct store_callbacks cb = {
	    .on_ready = on_ready,
	    .on_lost = on_lost,
	    .on_durable = on_durable,
	    .on_load_node = on_load_node,
	    .on_load_rule = on_load_rule,
	    .on_load_key = on_load_key,
	    .on_key_gone = on_key_gone,
	    .on_load_stream = on_load_stream,
	    .on_load_offset = on_load_offset,
	    .on_load_raft = on_load_raft,
	    .on_load_note = on_load_note,
	    .on_load_position = on_load_position,
	    .on_rolled_back = on_rolled_back,
	    .on_fatal = on_fatal,
	    .ctx = NULL,
	};
	struct user *u = calloc(1, sizeof(*u));
	struct store_callbacks mine = cb;
	struct store_conf conf = {.conninfo = server.conninfo,
	    .sql_dir_fd = with_files ? open("etc/sql", O_RDONLY | O_DIRECTORY) : -1,
	    .migrate = migrate,
	    .memory_max = 64 << 20,
	    .node_id = node_id,
	    .witness_fd = witness_fd,
	    .trust_database = trust_database};

	mine.ctx = u;
	u->loop = loop_event_new();
	u->poll = loop_timer_new(u->loop, on_poll, u);
	u->store = store_new(u->loop, &conf, &mine);
	assert_non_null(u->store);
	if (conf.sql_dir_fd != -1)
		close(conf.sql_dir_fd);
	return u;
}

static inline void
forget_batches(struct user *u)
{
	for (size_t i = 0; i < u->got_count; i++)
		batch_unref(u->got[i]);
	u->got_count = 0;
	u->read_done = 0;
}

static inline void
raft_state_free(struct store_raft_state *r)
{
	for (size_t i = 0; i < r->entry_count; i++)
		raft_entry_unref(r->entries[i]);
	free((void *)(uintptr_t)r->entries);
	free((void *)(uintptr_t)r->snap_config);
	free((void *)(uintptr_t)r->snap_data);
}

static inline void
user_free(struct user *u)
{
	forget_batches(u);
	store_free(u->store);
	loop_timer_free(u->poll);
	loop_free(u->loop);
	for (size_t i = 0; i < u->stream_count; i++)
		mem_free((void *)(uintptr_t)u->streams[i].meta);
	for (size_t i = 0; i < u->raft_count; i++)
		raft_state_free(&u->rafts[i]);
	for (size_t i = 0; i < u->note_count && i < COUNT(u->notes); i++) {
		free((void *)(uintptr_t)u->notes[i].type);
		free((void *)(uintptr_t)u->notes[i].payload);
		free((void *)(uintptr_t)u->notes[i].signature);
	}
	for (size_t i = 0; i < u->position_count && i < COUNT(u->positions); i++)
		free((void *)(uintptr_t)u->positions[i].subscriber);
	if (u->pg != NULL)
		PQfinish(u->pg);
	free(u);
}

static inline struct user *
user_ready(void)
{
	struct user *u = user_new(NODE, true, true);

	wait_until(u, is_ready);
	return u;
}

/* The first column of the first row, as a number, over a connection of its own. */
static inline long long
ask(struct user *u, const char *sql)
{
	double deadline = pg_seconds() + WAIT_SECONDS;
	PGresult *res;
	long long v;

	if (u->pg == NULL)
		u->pg = PQconnectdb(server.conninfo);
	/* The server may have been killed since the last time. */
	for (;;) {
		res = PQexec(u->pg, sql);
		if (PQstatus(u->pg) == CONNECTION_OK || pg_seconds() > deadline)
			break;
		PQclear(res);
		PQreset(u->pg);
	}
	if (PQresultStatus(res) != PGRES_TUPLES_OK && PQresultStatus(res) != PGRES_COMMAND_OK)
		print_error("%s: %s\n", sql, PQerrorMessage(u->pg));
	v = PQntuples(res) > 0 ? strtoll(PQgetvalue(res, 0, 0), NULL, 10) : -1;
	PQclear(res);
	return v;
}

static inline struct ulid
stream_id(unsigned n)
{
	struct ulid id = {{1, 2, 3}};

	be_store32(id.b + 12, n);
	return id;
}

/* A batch whose message i holds its stream and seq, so that contents can be checked. */
static inline struct batch *
batch_make(unsigned stream, uint64_t first_seq, uint32_t count, size_t payload_len)
{
	size_t record = BATCH_RECORD_HDR_BYTES + payload_len;
	struct batch *b = batch_new(count * record);

	assert_non_null(b);
	b->stream_id = stream_id(stream);
	b->first_seq = first_seq;
	b->count = count;
	b->epoch = 7;
	memset(b->key_id, 0xa1, sizeof(b->key_id));
	memset(b->nonce, 0xa2, sizeof(b->nonce));
	memset(b->signature, 0xa3, sizeof(b->signature));
	for (uint32_t i = 0; i < count; i++) {
		uint8_t *p = b->body + i * record;

		be_store32(p, stream);
		be_store64(p + 8, first_seq + i);
		be_store32(p + 16, (uint32_t)payload_len);
		memset(p + 20, (int)(first_seq + i), payload_len);
	}
	assert_int_equal(batch_check(b), 0);
	return b;
}

static inline void
put_out(struct user *u, unsigned stream, uint64_t first_seq, uint32_t count, size_t payload_len)
{
	struct batch *b = batch_make(stream, first_seq, count, payload_len);
	int64_t ticket = store_put_outbox(u->store, FRAME_CLASS_CLIENT, b);

	assert_true(ticket > 0);
	wanted = (uint64_t)ticket;
	batch_unref(b);
}

static inline void
put_in(struct user *u, unsigned stream, uint64_t first_seq, uint32_t count)
{
	struct batch *b = batch_make(stream, first_seq, count, 10);
	int64_t ticket = store_put_inbox(u->store, FRAME_CLASS_CLIENT, b, OTHER_NODE);

	assert_true(ticket > 0);
	wanted = (uint64_t)ticket;
	batch_unref(b);
}

static inline void
done(struct user *u, int64_t ticket)
{
	assert_true(ticket > 0);
	wanted = (uint64_t)ticket;
	wait_until(u, is_durable);
}

static inline void
on_batch(void *arg, struct batch *b, int err)
{
	struct user *u = arg;

	if (b == NULL) {
		u->read_done++;
		u->read_err = err;
		return;
	}
	assert_true(u->got_count < COUNT(u->got));
	u->got[u->got_count++] = b;
}

static inline bool
is_read(struct user *u)
{
	return u->read_done > 0;
}

static inline void
read_box(struct user *u, enum store_box box, unsigned stream, uint64_t from_seq, size_t max_bytes)
{
	struct ulid id = stream_id(stream);

	forget_batches(u);
	assert_int_equal(store_read(u->store, box, &id, from_seq, max_bytes, on_batch, u), 0);
	wait_until(u, is_read);
	assert_int_equal(u->read_err, 0);
}

static inline int
setup(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	MUST(crypto_init() == 0);
	pg_server_init(&server);
	pg_server_start(&server, NULL);
	return 0;
}

static inline int
teardown(void **state)
{
	(void)state;
	pg_server_fini(&server);
	return 0;
}

#endif
