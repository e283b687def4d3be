/* The store against a real PostgreSQL server: ids of messages that publishers know by nothing else. */
#include "tests/unit/consensusd/store_user.h"

#include "consensusd/store_pg.h"

enum { GOT_MAX = 8192 };

static uint64_t got_seqs[GOT_MAX];
static size_t got_ids;

static void
on_id(void *arg, uint64_t seq, const struct ulid *id, int err)
{
	struct user *u = arg;

	if (id == NULL) {
		u->read_done++;
		u->read_err = err;
		return;
	}
	assert_true(got_ids < GOT_MAX);
	assert_int_equal(be_load64(id->b + 8), seq);
	got_seqs[got_ids++] = seq;
}

static void
read_ids(struct user *u, unsigned stream, uint64_t from_seq, int err)
{
	struct ulid id = stream_id(stream);

	got_ids = 0;
	u->read_done = 0;
	assert_int_equal(store_read_ids(u->store, &id, from_seq, on_id, u), 0);
	wait_until(u, is_read);
	assert_int_equal(u->read_err, err);
}

static void
put_ids(struct user *u, unsigned stream, uint64_t first_seq, uint32_t count, bool by_id)
{
	struct batch *b = batch_make(stream, first_seq, count, 10);
	int64_t ticket;

	b->by_id = by_id;
	ticket = store_put_outbox(u->store, FRAME_CLASS_CLIENT, b);
	assert_true(ticket > 0);
	wanted = (uint64_t)ticket;
	batch_unref(b);
}

static void
put_row(struct user *u, unsigned n)
{
	static const uint8_t meta[] = "signed";
	struct store_stream row = {.stream_id = stream_id(n),
	    .tenant_id = "acme",
	    .src_node = NODE,
	    .dst_nodes = {OTHER_NODE},
	    .dst_count = 1,
	    .meta = meta,
	    .meta_len = sizeof(meta)};

	assert_true(store_put_stream(u->store, &row) > 0);
}

static bool
has_ids(const struct user *u, unsigned n)
{
	struct ulid id = stream_id(n);

	for (size_t i = 0; i < u->stream_count; i++)
		if (memcmp(&u->streams[i].stream_id, &id, sizeof(id)) == 0)
			return u->streams[i].has_ids;
	fail_msg("stream %u is not loaded", n);
	return false;
}

/* They stay when their messages leave the outbox, until they are cleared; others have none. */
static void
test_ids_are_kept(void **state)
{
	struct user *u = user_ready();
	struct ulid one = stream_id(1);

	(void)state;
	put_row(u, 1);
	put_row(u, 2);
	put_ids(u, 1, 1, 100, true);
	put_ids(u, 1, 101, 10, false);
	put_ids(u, 1, 111, 4096, true);
	put_ids(u, 2, 1, 10, false);
	/* In the same flush, and in a later one. */
	assert_true(store_put_outbox_clear(u->store, FRAME_CLASS_CLIENT, &one, 100) > 0);
	wait_until(u, is_durable);
	done(u, store_put_outbox_clear(u->store, FRAME_CLASS_CLIENT, &one, 10000));
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.stream_ids"), 2);
	assert_int_equal(ask(u, "SELECT sum(last_seq - first_seq + 1) FROM mesh.stream_ids"), 4196);
	assert_int_equal(ask(u, "SELECT sum(cardinality(message_ids)) FROM mesh.stream_ids"), 4196);
	user_free(u);

	u = user_ready();
	assert_true(has_ids(u, 1));
	assert_false(has_ids(u, 2));
	read_ids(u, 1, 1, 0);
	assert_int_equal(got_ids, 4196);
	assert_int_equal(got_seqs[0], 1);
	assert_int_equal(got_seqs[99], 100);
	assert_int_equal(got_seqs[100], 111);
	assert_int_equal(got_seqs[4195], 4206);
	read_ids(u, 1, 2, 0);
	assert_int_equal(got_ids, 4096);
	read_ids(u, 1, 4207, 0);
	assert_int_equal(got_ids, 0);
	read_ids(u, 2, 1, 0);
	assert_int_equal(got_ids, 0);
	/* Whole batches go. */
	assert_true(store_put_ids_clear(u->store, FRAME_CLASS_CLIENT, &one, 0, 99) > 0);
	done(u, store_put_ids_clear(u->store, FRAME_CLASS_CLIENT, &one, 0, 4205));
	read_ids(u, 1, 1, 0);
	assert_int_equal(got_ids, 4096);
	put_ids(u, 1, 4207, 1, true);
	done(u, store_put_ids_clear(u->store, FRAME_CLASS_CLIENT, &one, 4205, 4206));
	read_ids(u, 1, 1, 0);
	assert_int_equal(got_ids, 1);
	assert_int_equal(got_seqs[0], 4207);
	user_free(u);
}

/* More rows than one read gives. */
static void
test_ids_come_in_parts(void **state)
{
	struct user *u = user_ready();

	(void)state;
	put_row(u, 3);
	for (uint64_t seq = 1; seq <= STORE_IDS_ROWS + 100; seq++)
		put_ids(u, 3, seq, 1, true);
	wait_until(u, is_durable);
	read_ids(u, 3, 1, 0);
	assert_int_equal(got_ids, STORE_IDS_ROWS);
	read_ids(u, 3, STORE_IDS_ROWS + 1, 0);
	assert_int_equal(got_ids, 100);
	user_free(u);
}

/* --- where a message is --- */

static uint64_t found_seq;

static void
on_message(void *arg, const struct store_message *m, int err)
{
	struct user *u = arg;

	if (m != NULL) {
		assert_false(m->kept);
		found_seq = m->seq;
		return;
	}
	u->read_done++;
	u->read_err = err;
}

static void
test_message_is_found(void **state)
{
	struct user *u = user_ready();
	struct ulid s = stream_id(4), id = {{0}};

	(void)state;
	put_row(u, 4);
	put_ids(u, 4, 1, 50, true);
	put_ids(u, 4, 51, 50, true);
	wait_until(u, is_durable);
	done(u, store_put_outbox_clear(u->store, FRAME_CLASS_CLIENT, &s, 100));
	be_store32(id.b, 4);
	be_store64(id.b + 8, 77);
	u->read_done = 0;
	found_seq = 0;
	assert_int_equal(store_read_message(u->store, &s, 0, &id, on_message, u), 0);
	wait_until(u, is_read);
	assert_int_equal(u->read_err, 0);
	assert_int_equal(found_seq, 77);
	user_free(u);
}

/* --- what does not stay --- */

static bool
is_pruned(struct user *u)
{
	return ask(u, "SELECT count(*) FROM mesh.stream_ids JOIN mesh.streams USING (stream_id)"
		      " WHERE tenant_id = 'old'") == 2;
}

/* Of a stream that was closed days ago. */
static void
test_ids_of_closed(void **state)
{
	struct user *u = user_ready();

	(void)state;
	ask(u, "INSERT INTO mesh.streams (stream_id, tenant_id, src_node, dst_nodes, qos, priority, epoch, "
	       "state, source_key, key_id, signed_meta, created, updated)"
	       " SELECT gen_random_uuid(), 'old', 2, '{1}', '', 0, 1, state, '', '', '', now(), now() - age"
	       " FROM unnest('{25 hours, 23 hours, 25 hours}'::interval[], '{2, 2, 0}'::integer[])"
	       " AS t(age, state)");
	ask(u, "INSERT INTO mesh.stream_ids (stream_id, first_seq, last_seq, message_ids)"
	       " SELECT stream_id, 1, 1, ARRAY[stream_id] FROM mesh.streams WHERE tenant_id = 'old'");
	store_keeper_ask(u->store->keeper, STORE_TASK_PRUNE);
	wait_until(u, is_pruned);
	store_keeper_ask(u->store->keeper, STORE_TASK_VACUUM_IDS);
	ask(u, "DELETE FROM mesh.streams WHERE tenant_id = 'old'");
	user_free(u);
}

static void
test_nonsense(void **state)
{
	struct user *u = user_ready();

	(void)state;
	put_ids(u, 6, 1, 3, true);
	wait_until(u, is_durable);
	ask(u, "UPDATE mesh.stream_ids SET message_ids = '{NULL}' WHERE first_seq = 1");
	read_ids(u, 6, 1, ERR_FORMAT);
	assert_int_equal(got_ids, 0);
	user_free(u);
}

/* A put that fails half way can be made again. */
static void
test_failing_allocations(void **state)
{
	struct user *u = user_ready();
	struct batch *b = batch_make(7, 1, 3, 10);
	int64_t ticket = ERR_NOMEM;

	(void)state;
	b->by_id = true;
	for (unsigned long k = 1; ticket < 0; k++) {
		mem_fail_at(k);
		ticket = store_put_outbox(u->store, FRAME_CLASS_CLIENT, b);
		mem_fail_at(0);
	}
	batch_unref(b);
	done(u, ticket);
	read_ids(u, 7, 1, 0);
	assert_int_equal(got_ids, 3);
	user_free(u);
}

/* What was in the outbox before there was such a table is in it. */
static void
test_migration(void **state)
{
	struct user *u = user_ready();

	(void)state;
	put_ids(u, 8, 1, 20, false);
	put_ids(u, 8, 21, 20, false);
	wait_until(u, is_durable);
	user_free(u);
	u = user_new(NODE, false, false);
	wait_until(u, is_ready);
	ask(u, "DROP TABLE mesh.stream_ids, mesh.tenant_keys");
	ask(u, "DELETE FROM mesh.schema_version WHERE version >= 5");
	user_free(u);
	u = user_ready();
	read_ids(u, 8, 1, 0);
	assert_int_equal(got_ids, 40);
	user_free(u);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_ids_are_kept),
	    cmocka_unit_test(test_ids_come_in_parts),
	    cmocka_unit_test(test_message_is_found),
	    cmocka_unit_test(test_ids_of_closed),
	    cmocka_unit_test(test_nonsense),
	    cmocka_unit_test(test_failing_allocations),
	    cmocka_unit_test(test_migration),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
