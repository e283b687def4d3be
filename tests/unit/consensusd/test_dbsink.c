/*
 * Streams with the handler db: what the database says is done is not done again, whatever of it the store
 * knows; nothing passes a message that is neither applied nor a dead letter for sure.  The store is in
 * memory, so that it can be held while the database of the tables, a real one, goes on.
 */
#include "tests/unit/consensusd/env.h"

#include "consensusd/dbsink_impl.h"
#include "tests/unit/consensusd/applier_user.h"

#define S1 "01ARZ3NDEKTSV4RRFFQ69G5001"
#define S2 "01ARZ3NDEKTSV4RRFFQ69G5002"
#define TALLY                                                                                                \
	"db-table tally { columns n who\n operations insert\n stream-tenants one }\n"                        \
	"db-table closed { columns n\n operations insert }\n"
#define ROWS "SELECT coalesce(string_agg(n::text, ',' ORDER BY done), '') FROM tally"

static struct env_node *const a = &env.nodes[0], *const b = &env.nodes[1];
static struct user look; /* at the tables */
static uint64_t wanted;

static struct sink *
sink_of(const char *stream)
{
	struct ulid id;

	assert_int_equal(ulid_parse(stream, &id), 0);
	return sink_find(&b->engine, &id);
}

/* b has tables. */
static void
begin(const char *rules)
{
	struct conf *conf = conf_of(rules);

	b->engine.dbsinks = dbsinks_new(&b->engine, conf, NULL);
	assert_non_null(b->engine.dbsinks);
	conf_free(conf);
	if (b->engine.loaded)
		dbsinks_open(b->engine.dbsinks);
}

static int
test_setup(void **state)
{
	ask(&look, "DROP SCHEMA public CASCADE; CREATE SCHEMA public; DELETE FROM mesh.handler_positions;"
		   " DELETE FROM mesh.streams; DELETE FROM mesh.stream_dead_letters");
	ask(&look, "CREATE TABLE tally (n bigint CHECK (n <> 13), who text, done bigint GENERATED ALWAYS AS"
		   " IDENTITY); CREATE TABLE closed (n bigint)");
	/* Positions of streams that are not open go when the connection is made: these are. */
	ask(&look, "INSERT INTO mesh.streams (stream_id, tenant_id, src_node, dst_nodes, qos, priority, "
		   "epoch, state,"
		   " source_key, key_id, signed_meta, created) SELECT mesh.ulid_uuid(id), 'one', 1, '{2}', "
		   "'', 0, 1, 0,"
		   " '', '', '', now() FROM unnest(ARRAY['" S1 "', '" S2 "']) AS id");
	if (env_setup(state) != 0)
		return -1;
	begin(TALLY);
	return 0;
}

static void
open_db(const char *stream, int max_attempts, int retry_ms)
{
	mesh_v1_OpenClientDataStreamReq req = {.tenant_id = "one",
	    .target_nodes_count = 1,
	    .target_nodes = {"b"},
	    .handler = "db",
	    .max_attempts = max_attempts,
	    .retry_ms = retry_ms};

	snprintf(req.stream_id, sizeof(req.stream_id), "%s", stream);
	env_forget(a, 1);
	env_send_pb(a->gateway, GC_OPEN_STREAM, 1, mesh_v1_OpenClientDataStreamReq_fields, &req);
	assert_int_equal(env_wait(a, 1)->replies, 1);
}

static void
send_row(uint32_t call, const char *stream, const char *table, const char *row)
{
	mesh_v1_DBUpdate u = mesh_v1_DBUpdate_init_zero;
	mesh_v1_Chunk chunk = env_chunk(stream, 0);
	struct pb_slice text = {(const uint8_t *)row, strlen(row)};
	struct buf out;

	snprintf(u.table, sizeof(u.table), "%s", table);
	snprintf(u.operation, sizeof(u.operation), "insert");
	pb_slice_encode(&u.row, &text);
	buf_init(&out, 1 << 20);
	assert_int_equal(pb_pack(&out, mesh_v1_DBUpdate_fields, &u), 0);
	env_publish_send(a, GC_PUBLISH_ITEM, call, &chunk, buf_head(&out), buf_left(&out));
	buf_fini(&out);
}

static void
send_numbers(uint32_t call, const char *stream, int first, int last)
{
	char row[64];

	for (int n = first; n <= last; n++) {
		snprintf(row, sizeof(row), "{\"n\": %d}", n);
		send_row(call, stream, "tally", row);
	}
}

static bool
is_confirmed(struct env *e)
{
	(void)e;
	return a->calls[2].items >= wanted;
}

static bool
is_at(struct env *e)
{
	const struct sink *s = sink_of(S1);

	(void)e;
	return s != NULL && s->db->known && s->db->position >= wanted;
}

static bool
is_letters_full(struct env *e)
{
	(void)e;
	return b->engine.letters_waiting == 1;
}

static bool
is_busy(struct env *e)
{
	(void)e;
	return b->engine.dbsinks->current != NULL && b->engine.dbsinks->count > 0;
}

static void
until(bool (*what)(struct env *e), uint64_t count)
{
	wanted = count;
	env_run(&env, what);
}

static unsigned turns;

static bool
is_later(struct env *e)
{
	(void)e;
	return ++turns > 50;
}

/* What could happen happens. */
static void
let_run(void)
{
	turns = 0;
	env_run(&env, is_later);
}

static const char *
position(const char *stream)
{
	char sql[128];

	snprintf(sql, sizeof(sql), "SELECT position FROM mesh.handler_positions WHERE handler = 'stream:%s'",
	    stream);
	return ask(&look, sql);
}

/* ---- what is done ---- */

static void
test_applied(void **state)
{
	int64_t before = stats.db_applied.value;

	(void)state;
	open_db(S1, 0, 0);
	open_db(S2, 0, 0);
	env_forget(a, 2);
	env_forget(a, 3);
	for (int n = 1; n <= 12; n++)
		send_numbers(2, S1, n, n);
	send_numbers(3, S2, 101, 101);
	until(is_confirmed, 12);
	assert_string_equal(
	    ask(&look, "SELECT string_agg(n::text, ',' ORDER BY done) FROM tally WHERE n < 100"),
	    "1,2,3,4,5,6,7,8,9,10,11,12");
	assert_string_equal(position(S1), "12");
	while (a->calls[3].items < 1)
		let_run();
	assert_string_equal(position(S2), "1");
	assert_int_equal(stats.db_applied.value, before + 13);
}

/* consensusd dies after COMMIT, before its store has the offset. */
static void
test_position_is_ahead(void **state)
{
	PGconn *other = PQconnectdb(server.conninfo);

	(void)state;
	open_db(S1, 0, 0);
	env_forget(a, 2);
	send_numbers(2, S1, 1, 3);
	until(is_confirmed, 3);
	/* All comes into the inbox, and none into the table; then nothing more gets into the store. */
	PQclear(PQexec(other, "BEGIN; LOCK TABLE public.tally"));
	send_numbers(2, S1, 4, 6);
	while (sink_of(S1)->target->stored_seq < 6)
		let_run();
	fake_dbs[1].hold = true;
	PQclear(PQexec(other, "COMMIT"));
	PQfinish(other);
	until(is_at, 6);
	let_run();
	assert_int_equal(sink_of(S1)->target->processed_seq, 3);
	env_stop(b);
	fake_dbs[1].hold = false;
	ask(&look, "UPDATE tally SET who = 'before'");
	env_start(b);
	begin(TALLY);
	env_run(&env, env_ready);
	until(is_confirmed, 6);
	send_numbers(2, S1, 7, 7);
	until(is_confirmed, 7);
	assert_string_equal(ask(&look, ROWS), "1,2,3,4,5,6,7");
	assert_string_equal(ask(&look, "SELECT count(*) FROM tally WHERE who = 'before'"), "6");
}

/* ---- what can't be done ---- */

static void
test_to_blame(void **state)
{
	mesh_v1_Chunk chunk = env_chunk(S1, 0);
	int64_t failed = stats.db_failed.value, made = stats.letters_made.value;

	(void)state;
	open_db(S1, 2, 1);
	env_forget(a, 2);
	send_numbers(2, S1, 12, 14);
	send_row(2, S1, "closed", "{\"n\": 1}");
	env_publish_send(a, GC_PUBLISH_ITEM, 2, &chunk, "\xff\xff", 2);
	send_numbers(2, S1, 15, 15);
	until(is_confirmed, 6);
	assert_string_equal(ask(&look, ROWS), "12,14,15");
	assert_int_equal(stats.db_failed.value, failed + 6);
	assert_int_equal(stats.letters_made.value, made + 3);
	assert_int_equal(fake_dbs[1].letters.count, 3);
	assert_non_null(strstr(fake_dbs[1].letters.all[0]->error, "tally_n_check"));
	assert_non_null(strstr(fake_dbs[1].letters.all[1]->error, "not open to streams of tenant one"));
	assert_non_null(strstr(fake_dbs[1].letters.all[2]->error, "no DBUpdate"));
	assert_string_equal(position(S1), "6");
}

/* A dead letter that has no place yet is nowhere: what follows must not move the position over it. */
static void
test_nothing_passes_a_letter(void **state)
{
	(void)state;
	open_db(S1, 1, 1);
	b->engine.letters_max = 0;
	env_forget(a, 2);
	send_numbers(2, S1, 12, 15);
	until(is_letters_full, 0);
	let_run();
	assert_string_equal(ask(&look, ROWS), "12");
	assert_string_equal(position(S1), "1");
	/* A restart loses that it was given up, not the message. */
	env_stop(b);
	env_start(b);
	begin(TALLY);
	env_run(&env, env_ready);
	b->engine.letters_max = 10;
	until(is_confirmed, 4);
	assert_string_equal(ask(&look, ROWS), "12,14,15");
	assert_int_equal(fake_dbs[1].letters.count, 1);
}

/* Who has no table for the tenant takes no such stream; another's word about its messages does not count. */
static void
test_refused(void **state)
{
	mesh_v1_StreamAck ack = mesh_v1_StreamAck_init_zero;
	mesh_v1_StreamNack nack = mesh_v1_StreamNack_init_zero;

	(void)state;
	open_db(S1, 0, 0);
	env_forget(a, 2);
	send_numbers(2, S1, 1, 1);
	until(is_confirmed, 1);
	snprintf(ack.stream_id, sizeof(ack.stream_id), "%s", S1);
	snprintf(nack.stream_id, sizeof(nack.stream_id), "%s", S1);
	ack.seq = nack.seq = 1;
	env_forget(b, 12);
	env_send_pb(b->gateway, GC_ACK, 12, mesh_v1_StreamAck_fields, &ack);
	assert_int_equal(env_wait(b, 12)->code, CODE_FAILED_PRECONDITION);
	env_forget(b, 12);
	env_send_pb(b->gateway, GC_NACK, 12, mesh_v1_StreamNack_fields, &nack);
	assert_int_equal(env_wait(b, 12)->code, CODE_FAILED_PRECONDITION);
	assert_true(dbsinks_may(b->engine.dbsinks, "one"));
	assert_false(dbsinks_may(b->engine.dbsinks, "two"));
	assert_false(dbsinks_may(NULL, "one"));
}

/* ---- the connection ---- */

/* The backend of a lost connection waits for a lock with all that it was sent: it is ended before anything is
 * sent again. */
static void
test_no_late_commit(void **state)
{
	PGconn *other = PQconnectdb(server.conninfo);

	(void)state;
	open_db(S1, 0, 0);
	env_forget(a, 2);
	send_numbers(2, S1, 1, 1);
	until(is_confirmed, 1);
	PQclear(PQexec(other, "BEGIN; LOCK TABLE public.tally"));
	send_numbers(2, S1, 2, 5);
	until(is_busy, 0);
	dbline_reconnect(&b->engine.dbsinks->line, "a test");
	until(is_busy, 0);
	dbline_reconnect(&b->engine.dbsinks->line, "a test");
	PQclear(PQexec(other, "COMMIT"));
	PQfinish(other);
	until(is_confirmed, 5);
	assert_string_equal(ask(&look, ROWS), "1,2,3,4,5");
	assert_string_equal(
	    ask(&look, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"), "1");
}

/* Backends are killed while messages flow. */
static void
test_once(void **state)
{
	enum { TOTAL = 2000, STEP = 40 };
	char sql[128];
	int sent = 0;

	(void)state;
	open_db(S1, 1, 1);
	env_forget(a, 2);
	while (sent < TOTAL) {
		if (sent % (4 * STEP) == 0)
			send_row(2, S1, "tally", "{\"n\": 13}");
		send_numbers(2, S1, 1000 + sent, 1000 + sent + STEP - 1);
		sent += STEP;
		if (rng_below(&env.rng, 2) == 0)
			let_run();
		ask(&look,
		    "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory'");
	}
	until(is_confirmed, TOTAL + (TOTAL + 4 * STEP - 1) / (4 * STEP));
	snprintf(sql, sizeof(sql),
	    "SELECT count(*) || ' ' || count(DISTINCT n) || ' ' || min(n) || ' ' || max(n) FROM tally");
	assert_string_equal(ask(&look, sql), "2000 2000 1000 2999");
	assert_string_equal(
	    ask(&look, "SELECT count(*) FROM (SELECT n - lag(n) OVER (ORDER BY done) AS step FROM tally) AS x"
		       " WHERE step <> 1"),
	    "0");
	assert_int_equal(fake_dbs[1].letters.count, (TOTAL + 4 * STEP - 1) / (4 * STEP));
}

/* Another table, as if the schema had not been made: that is trouble of the database. */
static void
test_trouble(void **state)
{
	char why[256];

	(void)state;
	open_db(S1, 1, 1);
	env_forget(a, 2);
	send_numbers(2, S1, 1, 1);
	until(is_confirmed, 1);
	assert_string_equal(dbsinks_trouble(b->engine.dbsinks, why, sizeof(why)), "");
	ask(&look, "CREATE FUNCTION full() RETURNS trigger LANGUAGE plpgsql AS"
		   " $$ BEGIN RAISE 'no space left' USING ERRCODE = '53100'; END $$;"
		   " CREATE TRIGGER t BEFORE INSERT ON tally FOR EACH ROW EXECUTE FUNCTION full()");
	send_numbers(2, S1, 2, 3);
	while (strstr(dbsinks_trouble(b->engine.dbsinks, why, sizeof(why)), "no space left") == NULL)
		let_run();
	assert_non_null(strstr(why, S1));
	ask(&look, "DROP TRIGGER t ON tally");
	until(is_confirmed, 3);
	assert_string_equal(dbsinks_trouble(b->engine.dbsinks, why, sizeof(why)), "");
	assert_string_equal(ask(&look, ROWS), "1,2,3");
	assert_int_equal(fake_dbs[1].letters.count, 0);
}

/* The position of a stream that ended goes. */
static void
test_closed(void **state)
{
	(void)state;
	open_db(S1, 0, 0);
	env_forget(a, 2);
	send_numbers(2, S1, 1, 1);
	until(is_confirmed, 1);
	ask(&look, "UPDATE mesh.streams SET state = 2");
	env_close(a, 1, S1);
	assert_int_equal(env_wait(a, 1)->replies, 1);
	while (*position(S1) != '\0')
		let_run();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, test_setup, env_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_applied),
	    TEST(test_position_is_ahead),
	    TEST(test_to_blame),
	    TEST(test_nothing_passes_a_letter),
	    TEST(test_refused),
	    TEST(test_no_late_commit),
	    TEST(test_once),
	    TEST(test_trouble),
	    TEST(test_closed),
	};

	stats_init();
	return cmocka_run_group_tests(tests, setup, teardown);
}
