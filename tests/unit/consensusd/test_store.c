/*
 * The store against a real PostgreSQL server of its own: what is reported durable is there, nothing is
 * lost or doubled when the server is killed, and guard rails hold.
 */
#include "tests/unit/unit.h"

#include "common/base/be.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/crypto.h"
#include "common/os/loop.h"
#include "consensusd/store.h"
#include "tests/pg_server.h"

enum { NODE = 0x1234, OTHER_NODE = 0x9999, WAIT_SECONDS = 20, LOADED_MAX = 2000 };

static struct pg_server server;

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
	bool (*until)(struct user *u);
	bool met;
	double deadline;
	PGconn *pg; /* to look at the database without the store */
	/* Of reads. */
	struct batch *got[64];
	size_t got_count;
	int read_done, read_err;
};

static void
on_ready(void *ctx)
{
	((struct user *)ctx)->ready++;
}

static void
on_lost(void *ctx, const char *why)
{
	struct user *u = ctx;

	u->lost++;
	snprintf(u->why, sizeof(u->why), "%s", why);
}

static void
on_durable(void *ctx, uint64_t ticket)
{
	struct user *u = ctx;

	assert_true(ticket >= u->durable);
	u->durable = ticket;
}

static void
on_load_stream(void *ctx, const struct store_stream *row)
{
	struct user *u = ctx;

	assert_int_equal(u->ready, 0);
	assert_int_equal(u->offset_count, 0);
	assert_true(u->stream_count < LOADED_MAX);
	u->streams[u->stream_count] = *row;
	u->streams[u->stream_count++].meta = mem_dup(row->meta, row->meta_len);
}

static void
on_load_offset(void *ctx, const struct store_offset *row)
{
	struct user *u = ctx;

	assert_true(u->offset_count < LOADED_MAX);
	u->offsets[u->offset_count++] = *row;
}

static void
on_fatal(void *ctx, const char *why)
{
	struct user *u = ctx;

	u->fatal++;
	snprintf(u->why, sizeof(u->why), "%s", why);
}

static void
on_poll(void *arg)
{
	struct user *u = arg;

	u->met = u->until(u);
	if (u->met || pg_seconds() > u->deadline)
		loop_stop(u->loop);
	else
		loop_timer_arm_ms(u->poll, 1);
}

static void
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

static bool
is_ready(struct user *u)
{
	return store_ready(u->store);
}

static bool
is_away(struct user *u)
{
	return !store_ready(u->store);
}

static bool
is_fatal(struct user *u)
{
	return u->fatal > 0;
}

static uint64_t wanted; /* ticket */

static bool
is_durable(struct user *u)
{
	return u->durable >= wanted;
}

static struct user *
user_new(uint64_t node_id, bool migrate, bool with_files)
{
	const struct store_callbacks cb = {
	    on_ready, on_lost, on_durable, on_load_stream, on_load_offset, on_fatal, NULL};
	struct user *u = calloc(1, sizeof(*u));
	struct store_callbacks mine = cb;
	struct store_conf conf = {.conninfo = server.conninfo,
	    .sql_dir_fd = with_files ? open("etc/sql", O_RDONLY | O_DIRECTORY) : -1,
	    .migrate = migrate,
	    .memory_max = 64 << 20,
	    .node_id = node_id};

	mine.ctx = u;
	u->loop = loop_event_new();
	u->poll = loop_timer_new(u->loop, on_poll, u);
	u->store = store_new(u->loop, &conf, &mine);
	assert_non_null(u->store);
	if (conf.sql_dir_fd != -1)
		close(conf.sql_dir_fd);
	return u;
}

static void
forget_batches(struct user *u)
{
	for (size_t i = 0; i < u->got_count; i++)
		batch_unref(u->got[i]);
	u->got_count = 0;
	u->read_done = 0;
}

static void
user_free(struct user *u)
{
	forget_batches(u);
	store_free(u->store);
	loop_timer_free(u->poll);
	loop_free(u->loop);
	for (size_t i = 0; i < u->stream_count; i++)
		mem_free((void *)(uintptr_t)u->streams[i].meta);
	if (u->pg != NULL)
		PQfinish(u->pg);
	free(u);
}

static struct user *
user_ready(void)
{
	struct user *u = user_new(NODE, true, true);

	wait_until(u, is_ready);
	return u;
}

/* The first column of the first row, as a number, over a connection of its own. */
static long long
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

static struct ulid
stream_id(unsigned n)
{
	struct ulid id = {{1, 2, 3}};

	be_store32(id.b + 12, n);
	return id;
}

/* A batch whose message i holds its stream and seq, so that contents can be checked. */
static struct batch *
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

static void
put_out(struct user *u, unsigned stream, uint64_t first_seq, uint32_t count, size_t payload_len)
{
	struct batch *b = batch_make(stream, first_seq, count, payload_len);
	int64_t ticket = store_put_outbox(u->store, b);

	assert_true(ticket > 0);
	wanted = (uint64_t)ticket;
	batch_unref(b);
}

static void
put_in(struct user *u, unsigned stream, uint64_t first_seq, uint32_t count)
{
	struct batch *b = batch_make(stream, first_seq, count, 10);
	int64_t ticket = store_put_inbox(u->store, b, OTHER_NODE);

	assert_true(ticket > 0);
	wanted = (uint64_t)ticket;
	batch_unref(b);
}

static void
done(struct user *u, int64_t ticket)
{
	assert_true(ticket > 0);
	wanted = (uint64_t)ticket;
	wait_until(u, is_durable);
}

static struct store_stream
stream_row(unsigned n)
{
	static const uint8_t meta[] = "signed";
	struct store_stream row = {.stream_id = stream_id(n),
	    .tenant_id = "acme",
	    .src_node = NODE,
	    .dst_nodes = {OTHER_NODE, UINT64_MAX},
	    .dst_count = 2,
	    .qos = "all",
	    .priority = -3,
	    .created_unix_ms = 1700000000123,
	    .epoch = 5,
	    .meta = meta,
	    .meta_len = sizeof(meta)};

	memset(row.source_key, 0x11, sizeof(row.source_key));
	memset(row.key_id, 0x22, sizeof(row.key_id));
	return row;
}

static void
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

static bool
is_read(struct user *u)
{
	return u->read_done > 0;
}

static void
read_box(struct user *u, enum store_box box, unsigned stream, uint64_t from_seq, size_t max_bytes)
{
	struct ulid id = stream_id(stream);

	forget_batches(u);
	assert_int_equal(store_read(u->store, box, &id, from_seq, max_bytes, on_batch, u), 0);
	wait_until(u, is_read);
	assert_int_equal(u->read_err, 0);
}

/* ---- tests ---- */

static void
test_puts_are_durable_and_read_back(void **state)
{
	struct user *u = user_ready();
	struct batch *same = batch_make(1, 1, 100, 256);

	(void)state;
	put_out(u, 1, 1, 100, 256);
	put_out(u, 1, 101, 1, 70000);
	put_out(u, 1, 102, 50, 0);
	put_in(u, 2, 1, 10);
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.outbox WHERE stream_id::text LIKE '%01'"), 0);
	wait_until(u, is_durable);
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.outbox_messages"), 151);
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.inbox_messages"), 10);
	assert_int_equal(
	    ask(u, "SELECT min(octet_length(payload)) FROM mesh.outbox_messages WHERE seq = 101"), 70000);
	read_box(u, STORE_OUTBOX, 1, 1, 1 << 20);
	assert_int_equal(u->got_count, 3);
	assert_int_equal(u->got[0]->body_len, same->body_len);
	assert_memory_equal(u->got[0]->body, same->body, same->body_len);
	assert_memory_equal(u->got[0]->signature, same->signature, sizeof(same->signature));
	assert_memory_equal(u->got[0]->nonce, same->nonce, sizeof(same->nonce));
	assert_int_equal(u->got[0]->epoch, 7);
	assert_int_equal(u->got[1]->first_seq, 101);
	batch_unref(same);
	/* From the middle of a batch; bounded; nothing there. */
	read_box(u, STORE_OUTBOX, 1, 60, 30000);
	assert_int_equal(u->got_count, 1);
	assert_int_equal(u->got[0]->first_seq, 1);
	read_box(u, STORE_OUTBOX, 1, 101, 1);
	assert_int_equal(u->got_count, 1);
	assert_int_equal(u->got[0]->first_seq, 101);
	read_box(u, STORE_OUTBOX, 1, 152, 1 << 20);
	assert_int_equal(u->got_count, 0);
	read_box(u, STORE_INBOX, 2, 0, 1 << 20);
	assert_int_equal(u->got_count, 1);
	user_free(u);
}

static void
test_clears_remove_whole_batches(void **state)
{
	struct user *u = user_ready();
	struct ulid one = stream_id(1), two = stream_id(2);
	int64_t ticket;

	(void)state;
	/* Batch 101 of stream 1 is only partly below; a put and its clearing fit one flush. */
	put_out(u, 3, 1, 5, 1);
	one = stream_id(1);
	assert_true(store_put_outbox_clear(u->store, &one, 50) > 0);
	assert_true(store_put_outbox_clear(u->store, &one, 101) > 0);
	two = stream_id(3);
	assert_true(store_put_outbox_clear(u->store, &two, 5) > 0);
	two = stream_id(2);
	ticket = store_put_inbox_clear(u->store, &two, UINT64_MAX);
	done(u, ticket);
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.outbox"), 1);
	assert_int_equal(ask(u, "SELECT first_seq FROM mesh.outbox"), 102);
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.inbox"), 0);
	done(u, store_put_outbox_clear(u->store, &one, 151));
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.outbox"), 0);
	user_free(u);
}

static void
test_progress_is_one_range(void **state)
{
	struct user *u = user_ready();
	struct ulid id = stream_id(4);

	(void)state;
	for (uint64_t seq = 1; seq <= 1000; seq++)
		assert_true(store_put_processed(u->store, &id, NODE, OTHER_NODE, seq, seq) > 0);
	done(u, store_put_processed(u->store, &id, NODE, OTHER_NODE, 1001, 70000));
	done(u, store_put_processed(u->store, &id, NODE, OTHER_NODE, 70001, 70001));
	assert_int_equal(ask(u, "SELECT committed_seq FROM mesh.stream_offsets"), 70001);
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.delivery_log"), 2);
	assert_int_equal(ask(u, "SELECT last_seq FROM mesh.delivery_log WHERE first_seq = 1"), 65536);
	assert_int_equal(ask(u, "SELECT last_seq FROM mesh.delivery_log WHERE first_seq = 65537"), 70001);
	assert_int_equal(
	    ask(u, "SELECT count(*) FROM mesh.delivery_log_messages WHERE state = 'done'"), 70001);
	/* An older mark takes nothing back. */
	done(u, store_put_processed(u->store, &id, NODE, OTHER_NODE, 3, 4));
	assert_int_equal(ask(u, "SELECT committed_seq FROM mesh.stream_offsets"), 70001);
	user_free(u);
}

static void
test_state_is_loaded_after_restart(void **state)
{
	struct user *u = user_ready();
	struct store_stream row = stream_row(10);
	struct ulid id = row.stream_id;
	uint64_t incarnation;

	(void)state;
	assert_true(store_put_stream(u->store, &row) > 0);
	for (unsigned n = 11; n < 11 + 1200; n++) {
		struct store_stream more = stream_row(n);

		assert_true(store_put_stream(u->store, &more) > 0);
	}
	row = stream_row(11);
	row.state = STORE_STREAM_CLOSING;
	row.close_seq = 99;
	row.created_unix_ms = UINT64_MAX; /* nonsense from elsewhere */
	strcpy(row.qos, "a\xff\x01");
	assert_true(store_put_stream(u->store, &row) > 0);
	put_out(u, 10, 1, 10, 5);
	put_out(u, 10, 11, 10, 5);
	/* Inbox: 1-10 are processed and gone, 11-30 there, 35-40 beyond a gap. */
	assert_true(store_put_processed(u->store, &id, OTHER_NODE, NODE, 1, 10) > 0);
	put_in(u, 10, 11, 10);
	put_in(u, 10, 21, 10);
	put_in(u, 10, 35, 6);
	incarnation = store_next_incarnation(u->store);
	assert_true(store_put_node(u->store, NODE, row.source_key, "me", "alive", incarnation) > 0);
	wait_until(u, is_durable);
	user_free(u);

	u = user_ready();
	assert_int_equal(u->stream_count, 1201);
	assert_int_equal(u->offset_count, 1); /* the one of stream 4 has no stream */
	assert_memory_equal(&u->streams[0].stream_id, &id, sizeof(id));
	assert_string_equal(u->streams[0].tenant_id, "acme");
	assert_int_equal(u->streams[0].src_node, NODE);
	assert_int_equal(u->streams[0].dst_count, 2);
	assert_true(u->streams[0].dst_nodes[1] == UINT64_MAX);
	assert_int_equal(u->streams[0].priority, -3);
	assert_int_equal(u->streams[0].created_unix_ms, 1700000000123);
	assert_int_equal(u->streams[0].epoch, 5);
	assert_int_equal(u->streams[0].source_key[31], 0x11);
	assert_int_equal(u->streams[0].meta_len, 7);
	assert_string_equal((const char *)u->streams[0].meta, "signed");
	assert_int_equal(u->streams[0].outbox_last_seq, 20);
	assert_int_equal(u->streams[0].inbox_last_seq, 30);
	assert_int_equal(u->streams[1].state, STORE_STREAM_CLOSING);
	assert_int_equal(u->streams[1].close_seq, 99);
	assert_string_equal(u->streams[1].qos, "a??");
	assert_int_equal(u->streams[1].outbox_last_seq, 0);
	assert_int_equal(u->offsets[0].committed_seq, 10);
	assert_int_equal(u->offsets[0].node_id, NODE);
	assert_int_equal(store_next_incarnation(u->store), incarnation + 1);
	user_free(u);
}

static void
test_large_batches_and_limits(void **state)
{
	struct user *u = user_ready();
	struct batch *b = batch_make(20, 1, 1, 4 << 20);
	int put = 0;
	int64_t ticket;

	(void)state;
	while ((ticket = store_put_outbox(u->store, b)) > 0) {
		put++;
		b->first_seq++; /* the same memory, another row: only the last of them is stored right */
	}
	assert_int_equal(ticket, ERR_FULL);
	assert_int_equal(put, 15); /* of 64 MB */
	assert_true(store_full(u->store));
	batch_unref(b);
	/* All fifteen rows are the same one: the primary key says that this is a bug of the user. */
	wait_until(u, is_fatal);
	assert_non_null(strstr(u->why, "23505"));
	assert_int_equal(store_put_processed(u->store, &b->stream_id, 1, 2, 1, 1), ERR_UNAVAIL);
	user_free(u);
	u = user_ready();
	put_out(u, 20, 1, 1, 4 << 20);
	wait_until(u, is_durable);
	read_box(u, STORE_OUTBOX, 20, 1, 1);
	assert_int_equal(u->got_count, 1);
	assert_int_equal(u->got[0]->body_len, (4 << 20) + BATCH_RECORD_HDR_BYTES);
	user_free(u);
}

static void
test_wrong_node_is_refused(void **state)
{
	struct user *u = user_new(OTHER_NODE, true, true);

	(void)state;
	wait_until(u, is_fatal);
	assert_non_null(strstr(u->why, "belongs to node"));
	assert_int_equal(u->ready, 0);
	user_free(u);
}

static bool
is_held(struct user *u)
{
	return strstr(store_error(u->store), "another consensusd") != NULL;
}

static void
test_second_instance_waits(void **state)
{
	struct user *first = user_ready(), *second = user_new(NODE, true, true);

	(void)state;
	wait_until(second, is_held);
	assert_int_equal(second->ready, 0);
	user_free(first);
	wait_until(second, is_ready);
	user_free(second);
}

static void
test_changed_and_newer_schema_is_refused(void **state)
{
	struct user *u = user_new(NODE, false, true);

	(void)state;
	wait_until(u, is_ready); /* only checked */
	user_free(u);
	u = user_new(NODE, true, false);
	wait_until(u, is_ready); /* without files */
	ask(u, "UPDATE mesh.schema_version SET checksum = '\\x00'");
	user_free(u);
	u = user_new(NODE, true, true);
	wait_until(u, is_fatal);
	assert_non_null(strstr(u->why, "0001_init.sql"));
	ask(u, "UPDATE mesh.schema_version SET checksum = NULL");
	ask(u, "INSERT INTO mesh.schema_version (version, name) VALUES (2, 'later')");
	user_free(u);
	u = user_new(NODE, true, true);
	wait_until(u, is_fatal);
	assert_non_null(strstr(u->why, "newer program"));
	ask(u, "DELETE FROM mesh.schema_version WHERE version = 2");
	user_free(u);
}

static void
test_other_writers_are_noticed(void **state)
{
	struct user *u = user_ready();

	(void)state;
	put_out(u, 30, 1, 1, 1);
	wait_until(u, is_durable);
	ask(u, "UPDATE mesh.flush_marker SET flush = flush - 1");
	put_out(u, 30, 2, 1, 1);
	wait_until(u, is_fatal);
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.outbox WHERE first_seq = 2"), 0);
	user_free(u);
}

static void
test_database_set_back_is_noticed(void **state)
{
	struct user *u = user_ready();

	(void)state;
	put_out(u, 31, 1, 1, 1);
	wait_until(u, is_durable);
	put_out(u, 31, 2, 1, 1);
	wait_until(u, is_durable);
	ask(u, "UPDATE mesh.flush_marker SET flush = flush - 1");
	ask(u,
	    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'consensusd'");
	wait_until(u, is_fatal);
	assert_non_null(strstr(u->why, "set back"));
	user_free(u);
}

static bool
is_failing(struct user *u)
{
	return u->lost > 0 && strstr(u->why, "writing failed") != NULL;
}

static void
test_sql_error_is_kept_and_retried(void **state)
{
	struct user *u = user_ready();
	struct ulid id = stream_id(32);

	(void)state;
	ask(u, "ALTER TABLE mesh.outbox RENAME TO outbox_gone");
	put_out(u, 32, 1, 1, 1);
	wait_until(u, is_failing);
	assert_true(store_full(u->store));
	assert_int_equal(store_read(u->store, STORE_INBOX, &id, 1, 1, on_batch, u), ERR_UNAVAIL);
	put_out(u, 32, 2, 1, 1);
	ask(u, "ALTER TABLE mesh.outbox_gone RENAME TO outbox");
	wait_until(u, is_durable);
	wait_until(u, is_ready);
	assert_int_equal(u->ready, 2);
	assert_string_equal(store_error(u->store), "");
	read_box(u, STORE_OUTBOX, 32, 1, 1000);
	assert_int_equal(u->got_count, 2);
	user_free(u);
}

static bool
is_stalled(struct user *u)
{
	return u->lost > 0 && strstr(u->why, "has not answered") != NULL;
}

static void
test_locked_table_is_a_stall(void **state)
{
	struct user *u = user_ready();

	(void)state;
	ask(u, "SELECT 1");
	PQclear(PQexec(u->pg, "BEGIN; LOCK TABLE mesh.outbox"));
	put_out(u, 33, 1, 1, 1);
	wait_until(u, is_stalled);
	PQclear(PQexec(u->pg, "COMMIT"));
	wait_until(u, is_durable);
	wait_until(u, is_ready);
	user_free(u);
}

enum { CRASHES = 12, CRASH_STREAMS = 3 };

/* What the crash test does between two looks at the clock. */
struct crash {
	uint64_t next_seq[CRASH_STREAMS];
	uint64_t durable_seq[CRASH_STREAMS];
	struct {
		uint64_t ticket, seq;
		unsigned stream;
	} pending[1 << 16];
	size_t pending_first, pending_end;
};
static struct crash crash;

static void
crash_check_durable(struct user *u)
{
	while (crash.pending_first < crash.pending_end &&
	       crash.pending[crash.pending_first].ticket <= u->durable) {
		unsigned stream = crash.pending[crash.pending_first].stream;

		crash.durable_seq[stream] = crash.pending[crash.pending_first++].seq;
	}
}

static bool
crash_until(struct user *u)
{
	static double until;

	crash_check_durable(u);
	if (until == 0)
		until = pg_seconds() + 0.02 + (double)(rand() % 100) / 1000;
	for (int i = 0; i < 5 && !store_full(u->store) && crash.pending_end < COUNT(crash.pending); i++) {
		unsigned stream = (unsigned)rand() % CRASH_STREAMS;
		uint32_t count = 1 + (uint32_t)rand() % 20;

		put_out(u, 100 + stream, crash.next_seq[stream], count, (size_t)rand() % 2000);
		crash.next_seq[stream] += count;
		crash.pending[crash.pending_end].ticket = wanted;
		crash.pending[crash.pending_end].stream = stream;
		crash.pending[crash.pending_end++].seq = crash.next_seq[stream] - 1;
	}
	if (pg_seconds() < until)
		return false;
	until = 0;
	return true;
}

static bool
crash_settled(struct user *u)
{
	crash_check_durable(u);
	return u->durable >= wanted;
}

/* An aggregate over the rows of a stream's outbox. */
static uint64_t
outbox_ask(struct user *u, unsigned stream, const char *what)
{
	char sql[256];

	snprintf(sql, sizeof(sql),
	    "SELECT coalesce(%s, 0) FROM mesh.outbox WHERE stream_id::text LIKE '%%-%012x'", what, stream);
	return (uint64_t)ask(u, sql);
}

static void
check_streams(struct user *u)
{
	for (unsigned i = 0; i < CRASH_STREAMS; i++) {
		uint64_t last = outbox_ask(u, 100 + i, "max(last_seq)");

		assert_true(last >= crash.durable_seq[i]);
		assert_true(last < crash.next_seq[i]);
		/* No gap, no overlap. */
		assert_int_equal(outbox_ask(u, 100 + i, "max(last_seq) - sum(last_seq - first_seq + 1)"), 0);
	}
}

/* SIGKILL in the middle of flushes: whatever became of the one in doubt, all is there once. */
static void
test_server_killed_in_the_middle(void **state)
{
	struct user *u = user_ready();
	unsigned seed = (unsigned)(time(NULL) ^ getpid());

	(void)state;
	print_message("seed %u\n", seed);
	srand(seed);
	for (unsigned i = 0; i < CRASH_STREAMS; i++)
		crash.next_seq[i] = 1;
	for (int i = 0; i < CRASHES; i++) {
		wait_until(u, is_ready);
		wait_until(u, crash_until);
		if (i % 3 == 2)
			ask(u, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
			       " WHERE application_name = 'consensusd'");
		else
			pg_server_kill(&server);
		if (i % 3 != 2) {
			wait_until(u, is_away);
			assert_true(store_full(u->store));
		}
		if (i % 3 != 2)
			pg_server_start(&server, NULL);
		check_streams(u);
	}
	wait_until(u, crash_settled);
	wait_until(u, is_ready);
	for (unsigned i = 0; i < CRASH_STREAMS; i++)
		assert_int_equal(crash.durable_seq[i], crash.next_seq[i] - 1);
	check_streams(u);
	assert_int_equal(u->fatal, 0);
	user_free(u);
}

/* The store goes away as in kill -9; the next one finds all that was durable. */
static void
test_process_killed_in_the_middle(void **state)
{
	(void)state;
	for (int i = 0; i < 5; i++) {
		struct user *u = user_ready();

		wait_until(u, crash_until);
		user_free(u);
		crash.pending_first = crash.pending_end = 0;
		u = user_ready();
		check_streams(u);
		for (unsigned n = 0; n < CRASH_STREAMS; n++)
			crash.next_seq[n] = outbox_ask(u, 100 + n, "max(last_seq)") + 1;
		user_free(u);
	}
}

static void
test_unsafe_server_is_refused(void **state)
{
	static const char *const settings[] = {"fsync=off", "full_page_writes=off"};

	(void)state;
	for (size_t i = 0; i < COUNT(settings); i++) {
		struct user *u;

		pg_server_stop(&server, SIGINT);
		pg_server_start(&server, settings[i]);
		u = user_new(NODE, true, true);
		wait_until(u, is_fatal);
		assert_int_equal(u->ready, 0);
		user_free(u);
	}
	pg_server_stop(&server, SIGINT);
	pg_server_start(&server, NULL);
}

static void
test_check_mode_wants_a_schema(void **state)
{
	struct user *u = user_ready();

	(void)state;
	ask(u, "SELECT 1");
	user_free(u);
	u = user_new(NODE, true, true);
	ask(u, "SET client_min_messages = error; DROP SCHEMA mesh CASCADE");
	user_free(u);
	u = user_new(NODE, false, true);
	wait_until(u, is_fatal);
	assert_non_null(strstr(u->why, "no schema"));
	user_free(u);
	u = user_ready(); /* and is made again */
	user_free(u);
}

static int
setup(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	MUST(crypto_init() == 0);
	pg_server_init(&server);
	pg_server_start(&server, NULL);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	pg_server_fini(&server);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_puts_are_durable_and_read_back),
	    cmocka_unit_test(test_clears_remove_whole_batches),
	    cmocka_unit_test(test_progress_is_one_range),
	    cmocka_unit_test(test_state_is_loaded_after_restart),
	    cmocka_unit_test(test_large_batches_and_limits),
	    cmocka_unit_test(test_wrong_node_is_refused),
	    cmocka_unit_test(test_second_instance_waits),
	    cmocka_unit_test(test_changed_and_newer_schema_is_refused),
	    cmocka_unit_test(test_other_writers_are_noticed),
	    cmocka_unit_test(test_database_set_back_is_noticed),
	    cmocka_unit_test(test_sql_error_is_kept_and_retried),
	    cmocka_unit_test(test_locked_table_is_a_stall),
	    cmocka_unit_test(test_server_killed_in_the_middle),
	    cmocka_unit_test(test_process_killed_in_the_middle),
	    cmocka_unit_test(test_unsafe_server_is_refused),
	    cmocka_unit_test(test_check_mode_wants_a_schema),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
