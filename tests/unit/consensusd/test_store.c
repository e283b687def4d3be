/*
 * The store against a real PostgreSQL server: what is reported durable is there, what is loaded is what
 * was put, and its guard rails hold.
 */
#include "tests/unit/consensusd/store_user.h"

#include "consensusd/store_pg.h"

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
	    .striping = n == 10,
	    .created_unix_ms = 1700000000123,
	    .epoch = 5,
	    .meta = meta,
	    .meta_len = sizeof(meta)};

	memset(row.source_key, 0x11, sizeof(row.source_key));
	memset(row.key_id, 0x22, sizeof(row.key_id));
	return row;
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
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.inbox_messages WHERE processed IS NULL"), 10);
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
	assert_true(store_put_outbox_clear(u->store, FRAME_CLASS_CLIENT, &one, 50) > 0);
	assert_true(store_put_outbox_clear(u->store, FRAME_CLASS_CLIENT, &one, 101) > 0);
	two = stream_id(3);
	assert_true(store_put_outbox_clear(u->store, FRAME_CLASS_CLIENT, &two, 5) > 0);
	two = stream_id(2);
	ticket = store_put_inbox_clear(u->store, FRAME_CLASS_CLIENT, &two, UINT64_MAX);
	done(u, ticket);
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.outbox"), 1);
	assert_int_equal(ask(u, "SELECT first_seq FROM mesh.outbox"), 102);
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.inbox"), 0);
	done(u, store_put_outbox_clear(u->store, FRAME_CLASS_CLIENT, &one, 151));
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
		assert_true(
		    store_put_processed(u->store, FRAME_CLASS_CLIENT, &id, NODE, OTHER_NODE, seq, seq) > 0);
	done(u, store_put_processed(u->store, FRAME_CLASS_CLIENT, &id, NODE, OTHER_NODE, 1001, 70000));
	done(u, store_put_processed(u->store, FRAME_CLASS_CLIENT, &id, NODE, OTHER_NODE, 70001, 70001));
	assert_int_equal(ask(u, "SELECT committed_seq FROM mesh.stream_offsets"), 70001);
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.delivery_log"), 2);
	assert_int_equal(ask(u, "SELECT last_seq FROM mesh.delivery_log WHERE first_seq = 1"), 65536);
	assert_int_equal(ask(u, "SELECT last_seq FROM mesh.delivery_log WHERE first_seq = 65537"), 70001);
	assert_int_equal(
	    ask(u, "SELECT count(*) FROM mesh.delivery_log_messages WHERE state = 'done'"), 70001);
	/* An older mark takes nothing back. */
	done(u, store_put_processed(u->store, FRAME_CLASS_CLIENT, &id, NODE, OTHER_NODE, 3, 4));
	assert_int_equal(ask(u, "SELECT committed_seq FROM mesh.stream_offsets"), 70001);
	user_free(u);
}

static struct store_message found[4];
static size_t found_count;

static void
on_message(void *arg, const struct store_message *m, int err)
{
	struct user *u = arg;

	if (m == NULL) {
		u->read_done++;
		u->read_err = err;
		return;
	}
	assert_true(found_count < COUNT(found));
	assert_string_equal(m->tenant_id, "acme");
	assert_string_equal(m->error, "");
	found[found_count++] = *m;
}

static void
find(struct user *u, unsigned stream, uint64_t seq, const struct ulid *id)
{
	static const struct ulid none;
	struct ulid s = stream_id(stream);

	u->read_done = 0;
	found_count = 0;
	assert_int_equal(store_read_message(u->store, &s, seq, id != NULL ? id : &none, on_message, u), 0);
	wait_until(u, is_read);
	assert_int_equal(u->read_err, 0);
}

static void
test_message_is_found(void **state)
{
	struct user *u = user_ready();
	struct store_stream row = stream_row(60);
	struct ulid id = {{0}};

	(void)state;
	assert_true(store_put_stream(u->store, &row) > 0);
	put_out(u, 60, 1, 100, 5);
	put_out(u, 60, 101, 50, 5);
	done(u, store_put_processed(
		    u->store, FRAME_CLASS_CLIENT, &row.stream_id, NODE, row.dst_nodes[0], 1, 120));
	be_store32(id.b, 60);
	be_store64(id.b + 8, 110);
	find(u, 60, 0, &id);
	assert_int_equal(found_count, 2);
	for (size_t i = 0; i < 2; i++) {
		bool first = found[i].dst_node == row.dst_nodes[0];

		assert_int_equal(found[i].seq, 110);
		assert_true(found[i].kept && !found[i].closed && !found[i].failed);
		assert_memory_equal(found[i].message_id.b, id.b, ULID_BYTES);
		assert_true(found[i].logged == first && (found[i].updated_unix_ms > 0) == first);
		assert_int_equal(found[i].committed_seq, first ? 120 : 0);
	}
	find(u, 60, 121, NULL);
	assert_int_equal(found_count, 2);
	assert_true(!found[0].logged && !found[1].logged && found[0].kept);
	be_store64(id.b + 8, 121);
	assert_memory_equal(found[0].message_id.b, id.b, ULID_BYTES);
	/* Neither stream nor id are here. */
	find(u, 5000, 1, NULL);
	assert_int_equal(found_count, 0);
	be_store64(id.b + 8, 151);
	find(u, 60, 0, &id);
	assert_int_equal(found_count, 0);
	/* Only the log has it. */
	row.state = STORE_STREAM_CLOSED;
	row.close_seq = 150;
	assert_true(store_put_outbox_clear(u->store, FRAME_CLASS_CLIENT, &row.stream_id, 150) > 0);
	done(u, store_put_stream(u->store, &row));
	find(u, 60, 7, NULL);
	assert_int_equal(found_count, 2);
	assert_true(found[0].closed && found[0].close_seq == 150 && !found[0].kept);
	assert_true(found[0].logged != found[1].logged);
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
	assert_true(store_put_processed(u->store, FRAME_CLASS_CLIENT, &id, OTHER_NODE, NODE, 1, 10) > 0);
	put_in(u, 10, 11, 10);
	put_in(u, 10, 21, 10);
	put_in(u, 10, 35, 6);
	incarnation = store_next_incarnation(u->store);
	assert_true(store_put_node(u->store, &(struct store_node){.node_id = NODE,
						 .incarnation = incarnation,
						 .name = "me",
						 .status = "alive",
						 .addresses = "me.example:1"}) > 0);
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
	assert_true(u->streams[0].striping);
	assert_false(u->streams[1].striping);
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

static struct store_backlog backlog[STORE_BACKLOG_ROWS];
static size_t backlog_count;

static void
on_backlog(void *arg, const struct store_backlog *rows, size_t count, int err)
{
	struct user *u = arg;

	u->read_done++;
	u->read_err = err;
	backlog_count = count;
	memcpy(backlog, rows, count * sizeof(*rows));
}

/* What was given up: at the source a mark, at a target no reason to wait; and what is left, with its age. */
static void
test_gaps(void **state)
{
	struct user *u = user_ready();
	struct store_stream row = stream_row(5001);
	struct ulid id = row.stream_id;
	bool found_mark = false;

	(void)state;
	assert_true(store_put_stream(u->store, &row) > 0);
	for (uint64_t seq = 1; seq <= 100; seq++)
		put_out(u, 5001, seq, 1, 50);
	/* This node is a target, too: 1 to 10 are there, 11 to 20 were given up, and so on. */
	put_in(u, 5001, 1, 10);
	put_in(u, 5001, 21, 10);
	assert_true(store_put_skipped(u->store, FRAME_CLASS_CLIENT, &id, OTHER_NODE, NODE, 11, 15) > 0);
	assert_true(store_put_skipped(u->store, FRAME_CLASS_CLIENT, &id, OTHER_NODE, NODE, 11, 20) > 0);
	assert_true(store_put_skipped(u->store, FRAME_CLASS_CLIENT, &id, OTHER_NODE, NODE, 31, 40) > 0);
	assert_true(store_put_skipped(u->store, FRAME_CLASS_CLIENT, &id, NODE, 0, 1, 60) > 0);
	done(u, store_put_skipped(u->store, FRAME_CLASS_CLIENT, &id, NODE, 0, 1, 50));
	u->read_done = 0;
	assert_int_equal(store_read_backlog(u->store, &id, on_backlog, u), 0);
	wait_until(u, is_read);
	assert_int_equal(u->read_err, 0);
	assert_int_equal(backlog_count, STORE_BACKLOG_ROWS);
	assert_int_equal(backlog[0].last_seq, 2);
	assert_int_equal(backlog[STORE_BACKLOG_ROWS - 1].last_seq, 100);
	assert_int_equal(backlog[0].bytes, 2 * (BATCH_RECORD_HDR_BYTES + 50));
	assert_true(
	    backlog[0].first_unix_ms > 1600000000000 && backlog[0].last_unix_ms >= backlog[0].first_unix_ms);
	assert_true(store_put_processed(u->store, FRAME_CLASS_CLIENT, &id, OTHER_NODE, NODE, 1, 12) > 0);
	done(u, store_put_outbox_clear(u->store, FRAME_CLASS_CLIENT, &id, 100));
	assert_int_equal(
	    ask(u, "SELECT count(*) FROM mesh.delivery_log_messages WHERE state = 'failed'"), 20);
	user_free(u);

	u = user_ready();
	for (size_t i = 0; i < u->stream_count; i++) {
		if (memcmp(&u->streams[i].stream_id, &id, sizeof(id)) != 0)
			continue;
		/* No seq is given twice, and nothing is waited for that will not come. */
		assert_int_equal(u->streams[i].outbox_last_seq, 60);
		assert_int_equal(u->streams[i].inbox_last_seq, 40);
	}
	for (size_t i = 0; i < u->offset_count; i++)
		found_mark |= u->offsets[i].node_id == 0 && u->offsets[i].committed_seq == 60;
	assert_true(found_mark);
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
	while ((ticket = store_put_outbox(u->store, FRAME_CLASS_CLIENT, b)) > 0) {
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
	assert_int_equal(
	    store_put_processed(u->store, FRAME_CLASS_CLIENT, &b->stream_id, 1, 2, 1, 1), ERR_UNAVAIL);
	user_free(u);
	u = user_ready();
	put_out(u, 20, 1, 1, 4 << 20);
	wait_until(u, is_durable);
	read_box(u, STORE_OUTBOX, 20, 1, 1);
	assert_int_equal(u->got_count, 1);
	assert_int_equal(u->got[0]->body_len, (4 << 20) + BATCH_RECORD_HDR_BYTES);
	user_free(u);
}

static int64_t
put_as(struct user *u, uint8_t class, uint64_t nth)
{
	struct batch *b = batch_make(60 + class, 100 + nth, 1, 400 * 1024);
	int64_t ticket = store_put_outbox(u->store, class, b);

	assert_true(ticket > 0);
	batch_unref(b);
	return ticket;
}

/* What is more important is written before client data that was put earlier; of each class all is in order.
 */
static void
test_classes(void **state)
{
	struct user *u = user_ready();
	int64_t first, last;

	(void)state;
	first = put_as(u, FRAME_CLASS_CLIENT, 1);
	for (uint64_t seq = 2; seq <= 9; seq++)
		last = put_as(u, FRAME_CLASS_CLIENT, seq);
	assert_int_equal(last, first + 2);
	assert_int_equal(put_as(u, FRAME_CLASS_SYSTEM, 1), first);
	for (uint64_t seq = 1; seq <= 3; seq++)
		assert_int_equal(put_as(u, FRAME_CLASS_DB, seq), first + (seq == 3));
	assert_int_equal(put_as(u, FRAME_CLASS_SYSTEM, 2), first);
	/* Beside others, flushes with client data are small. */
	for (uint64_t seq = 10; seq <= 11; seq++)
		assert_int_equal(put_as(u, FRAME_CLASS_CLIENT, seq), ++last);
	done(u, last);
	assert_int_equal(put_as(u, FRAME_CLASS_SYSTEM, 3), last + 1);
	done(u, last + 1);
	read_box(u, STORE_OUTBOX, 60 + FRAME_CLASS_CLIENT, 101, 8 << 20);
	assert_int_equal(u->got_count, 11);
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
	ask(u, "INSERT INTO mesh.schema_version (version, name) VALUES (1000, 'later')");
	user_free(u);
	u = user_new(NODE, true, true);
	wait_until(u, is_fatal);
	assert_non_null(strstr(u->why, "newer program"));
	ask(u, "DELETE FROM mesh.schema_version WHERE version = 1000");
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

static bool
is_vacuumed(struct user *u)
{
	return ask(u, "SELECT vacuum_count FROM pg_stat_user_tables WHERE relname = 'outbox'") > 0;
}

/* Room is made usable again while it is needed, not once a minute: the table stays small. */
static void
test_cleared_room_is_used_again(void **state)
{
	enum { ROUNDS = 80, BYTES = 1 << 20 };
	struct user *u = user_ready();
	struct ulid id = stream_id(50);

	(void)state;
	for (uint64_t seq = 1; seq <= ROUNDS; seq++) {
		put_out(u, 50, seq, 1, BYTES);
		done(u, store_put_outbox_clear(u->store, FRAME_CLASS_CLIENT, &id, seq));
	}
	wait_until(u, is_vacuumed);
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.outbox WHERE stream_id::text LIKE '%32'"), 0);
	user_free(u);
}

static bool
is_pruned(struct user *u)
{
	return ask(u, "SELECT count(*) FROM mesh.streams WHERE tenant_id = 'old'") == 1;
}

/* Of a stream that was closed long ago nothing is left; one that was closed just now stays. */
static void
test_old_streams_are_pruned(void **state)
{
	static const char *const tables[] = {
	    "stream_offsets (stream_id, node_id, committed_seq) SELECT stream_id, 1, 5",
	    "delivery_log (stream_id, dst_node, segment, src_node, first_seq, last_seq) SELECT stream_id, 1, "
	    "0, 2, 1, 5",
	    "delivery_gaps (stream_id, dst_node, first_seq, last_seq, src_node, err) SELECT stream_id, 1, 3, "
	    "4, 2, ''",
	    "stream_attempts (stream_id, seq, attempts, error) SELECT stream_id, 5, 2, ''"};
	struct user *u = user_ready();

	(void)state;
	ask(u, "INSERT INTO mesh.streams (stream_id, tenant_id, src_node, dst_nodes, qos, priority, epoch, "
	       "state,"
	       " source_key, key_id, signed_meta, created, updated)"
	       " SELECT gen_random_uuid(), 'old', 2, '{1}', '', 0, 1, 2, '', '', '', now(), now() - age"
	       " FROM unnest('{31 days, 29 days}'::interval[]) AS t(age)");
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		char sql[512];

		snprintf(sql, sizeof(sql), "INSERT INTO mesh.%s FROM mesh.streams WHERE tenant_id = 'old'",
		    tables[i]);
		ask(u, sql);
	}
	store_keeper_ask(u->store->keeper, STORE_TASK_PRUNE);
	wait_until(u, is_pruned);
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		char sql[256];

		snprintf(sql, sizeof(sql),
		    "SELECT count(*) FROM mesh.%.*s WHERE stream_id NOT IN (SELECT stream_id FROM "
		    "mesh.streams)",
		    (int)strcspn(tables[i], " "), tables[i]);
		assert_int_equal(ask(u, sql), 0);
		snprintf(sql, sizeof(sql),
		    "SELECT count(*) FROM mesh.%.*s t JOIN mesh.streams USING (stream_id)"
		    " WHERE tenant_id = 'old'",
		    (int)strcspn(tables[i], " "), tables[i]);
		assert_int_equal(ask(u, sql), 1);
	}
	user_free(u);
}

/* Memory that runs out at any point of a start, or of a put, is an error that can be tried again. */
static void
test_failing_allocations(void **state)
{
	const struct store_callbacks cb = {
	    .on_ready = on_ready,
	    .on_lost = on_lost,
	    .on_durable = on_durable,
	    .on_load_node = on_load_node,
	    .on_load_stream = on_load_stream,
	    .on_load_offset = on_load_offset,
	    .on_load_raft = on_load_raft,
	    .on_load_note = on_load_note,
	    .on_load_position = on_load_position,
	    .on_rolled_back = on_rolled_back,
	    .on_fatal = on_fatal,
	    .ctx = NULL,
	};
	const struct store_conf conf = {.conninfo = server.conninfo,
	    .user = "mesh",
	    .sql_dir_fd = -1,
	    .memory_max = 1 << 20,
	    .node_id = NODE,
	    .witness_fd = -1};
	struct user *u = user_ready();
	struct store_stream row = stream_row(40);
	struct batch *b = batch_make(40, 1, 1, 1);
	struct store *s = NULL;

	(void)state;
	for (unsigned long n = 1; s == NULL; n++) {
		assert_true(n < 50);
		mem_fail_at(n);
		s = store_new(u->loop, &conf, &cb);
		mem_fail_at(0);
	}
	store_free(s);
	for (int64_t n = 1, ticket = ERR_NOMEM; ticket < 0; n++) {
		mem_fail_at((unsigned long)n);
		ticket = store_put_stream(u->store, &row);
		mem_fail_at(0);
		assert_true(n < 10 && (ticket > 0 || ticket == ERR_NOMEM));
	}
	for (int64_t n = 1, ticket = ERR_NOMEM; ticket < 0; n++) {
		mem_fail_at((unsigned long)n);
		ticket = store_put_outbox(u->store, FRAME_CLASS_CLIENT, b);
		mem_fail_at(0);
		assert_true(n < 10 && (ticket > 0 || ticket == ERR_NOMEM));
	}
	batch_unref(b);
	done(u, store_put_processed(u->store, FRAME_CLASS_CLIENT, &row.stream_id, NODE, OTHER_NODE, 1, 1));
	/* While a flush is encoded: the connection is made anew. */
	put_out(u, 40, 2, 1, 70000);
	mem_fail_at(1);
	wait_until(u, is_durable);
	mem_fail_at(0);
	read_box(u, STORE_OUTBOX, 40, 1, 1 << 20);
	assert_int_equal(u->got_count, 2);
	user_free(u);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_puts_are_durable_and_read_back),
	    cmocka_unit_test(test_clears_remove_whole_batches),
	    cmocka_unit_test(test_progress_is_one_range),
	    cmocka_unit_test(test_state_is_loaded_after_restart),
	    cmocka_unit_test(test_message_is_found),
	    cmocka_unit_test(test_gaps),
	    cmocka_unit_test(test_large_batches_and_limits),
	    cmocka_unit_test(test_classes),
	    cmocka_unit_test(test_wrong_node_is_refused),
	    cmocka_unit_test(test_second_instance_waits),
	    cmocka_unit_test(test_changed_and_newer_schema_is_refused),
	    cmocka_unit_test(test_other_writers_are_noticed),
	    cmocka_unit_test(test_database_set_back_is_noticed),
	    cmocka_unit_test(test_sql_error_is_kept_and_retried),
	    cmocka_unit_test(test_locked_table_is_a_stall),
	    cmocka_unit_test(test_unsafe_server_is_refused),
	    cmocka_unit_test(test_check_mode_wants_a_schema),
	    cmocka_unit_test(test_cleared_room_is_used_again),
	    cmocka_unit_test(test_old_streams_are_pruned),
	    cmocka_unit_test(test_failing_allocations),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
