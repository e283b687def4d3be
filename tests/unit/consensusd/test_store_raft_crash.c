/*
 * State of replicas while PostgreSQL, or the process, is killed in the middle of flushes, against a model:
 * what is loaded is what all replicas had after one and the same flush, none older than what was durable.
 */
#include "tests/unit/consensusd/raft_rows.h"

enum { GROUPS = 4, LOG_MAX = 120, PUTS_MAX = 4000, ROUNDS = 12 };

/* A replica as it is after a put. */
struct model {
	bool there;
	uint64_t replica, term, vote, commit, snap_index, snap_term;
	uint64_t terms[LOG_MAX]; /* of the entries from snap_index + 1 on */
	size_t count;
	uint64_t low; /* rows of the log are there from here on */
};

static struct {
	struct model now[GROUPS], durable[GROUPS];
	struct {
		uint64_t ticket;
		unsigned group;
		struct model after;
	} puts[PUTS_MAX]; /* not durable yet */
	size_t count;
	uint64_t drops, restores, cuts;
} all;

static unsigned
any(unsigned below)
{
	return (unsigned)rand() % below;
}

static uint64_t
last_of(const struct model *m)
{
	return m->snap_index + m->count;
}

static uint64_t
term_at(const struct model *m, uint64_t index)
{
	return index == m->snap_index ? m->snap_term : m->terms[index - m->snap_index - 1];
}

/* ---- what may happen to a replica, in the model and as a row to put ---- */

static void
cut(struct model *m, struct store_raft *row)
{
	if (last_of(m) == m->commit)
		return;
	row->cut = m->commit + 1 + any((unsigned)(last_of(m) - m->commit));
	m->count = row->cut - m->snap_index - 1;
	m->term++;
	m->vote = 0;
	all.cuts++;
}

static void
compact(struct model *m, struct store_raft *row)
{
	uint64_t by;

	if (m->commit == m->snap_index)
		return;
	by = 1 + any((unsigned)(m->commit - m->snap_index));
	m->snap_term = term_at(m, m->snap_index + by);
	m->snap_index += by;
	m->count -= by;
	memmove(m->terms, m->terms + by, m->count * sizeof(m->terms[0]));
	/* Some stay for those that are behind. */
	row->keep = m->snap_index > 3 ? m->snap_index + 1 - any(3) : 0;
	if (row->keep > m->low)
		m->low = row->keep;
	row->snap_data = (const uint8_t *)"snapshot";
	row->snap_data_len = 8;
}

static void
restore(struct model *m, struct store_raft *row)
{
	m->term += 1 + any(2);
	m->snap_index = last_of(m) + 1 + any(20);
	m->snap_term = m->term;
	m->commit = m->snap_index;
	m->count = 0;
	m->low = m->snap_index + 1;
	row->restore = true;
	row->snap_data = (const uint8_t *)"restored";
	row->snap_data_len = 8;
	all.restores++;
}

static void
promise(struct model *m)
{
	m->term += any(2);
	m->vote = 1 + any(5);
}

static void
note(unsigned group, int64_t ticket)
{
	assert_true(ticket > 0 && all.count < PUTS_MAX);
	wanted = (uint64_t)ticket;
	all.puts[all.count].ticket = (uint64_t)ticket;
	all.puts[all.count].group = group;
	all.puts[all.count++].after = all.now[group];
}

static void
drop(struct user *u, unsigned group)
{
	uint8_t id[STORE_GROUP_BYTES];

	group_id(id, group);
	all.now[group] = (struct model){0};
	note(group, store_put_raft_drop(u->store, id));
	all.drops++;
}

static void
put_some(struct user *u)
{
	unsigned group = any(GROUPS), what = any(20);
	struct model *m = &all.now[group];
	struct store_raft row = {.cut = UINT64_MAX};
	uint64_t first, add = any(6);

	if (what == 0 && m->there) {
		drop(u, group);
		return;
	}
	if (!m->there)
		*m = (struct model){.there = true, .replica = 1 + any(1000), .term = 1, .low = 1};
	if (what < 4)
		cut(m, &row);
	else if (what < 7 || m->count + 6 > LOG_MAX)
		compact(m, &row);
	else if (what == 7)
		restore(m, &row);
	else if (what < 11)
		promise(m);
	if (m->count + add > LOG_MAX)
		add = 0;
	first = last_of(m) + 1;
	for (uint64_t i = 0; i < add; i++)
		m->terms[m->count++] = m->term;
	m->commit += any((unsigned)(last_of(m) - m->commit) + 1);
	row.replica = m->replica;
	row.term = m->term;
	row.vote = m->vote;
	row.commit = m->commit;
	row.snap_index = m->snap_index;
	row.snap_term = m->snap_term;
	note(group, put(u, row, group, first, first + add - 1, m->term));
}

/* ---- checks ---- */

static void
take_durable(struct user *u)
{
	size_t n = 0;

	while (n < all.count && all.puts[n].ticket <= u->durable) {
		all.durable[all.puts[n].group] = all.puts[n].after;
		n++;
	}
	all.count -= n;
	memmove(all.puts, all.puts + n, all.count * sizeof(all.puts[0]));
}

static const struct store_raft_state *
loaded(struct user *u, unsigned group)
{
	uint8_t id[STORE_GROUP_BYTES];

	group_id(id, group);
	for (size_t i = 0; i < u->raft_count; i++)
		if (memcmp(u->rafts[i].group, id, sizeof(id)) == 0)
			return &u->rafts[i];
	return NULL;
}

static bool
same(const struct store_raft_state *r, const struct model *m)
{
	if (r == NULL || !m->there)
		return r == NULL && !m->there;
	if (r->replica != m->replica || r->term != m->term || r->vote != m->vote || r->commit != m->commit ||
	    r->snap_index != m->snap_index || r->snap_term != m->snap_term || r->entry_count != m->count)
		return false;
	for (size_t i = 0; i < m->count; i++)
		if (r->entries[i]->term != m->terms[i] || r->entries[i]->index != m->snap_index + 1 + i)
			return false;
	return true;
}

static bool
all_same(struct user *u, const struct model *m)
{
	for (unsigned g = 0; g < GROUPS; g++)
		if (!same(loaded(u, g), &m[g]))
			return false;
	return true;
}

/* The user has loaded what there is after some flush that is not older than what was durable. */
static void
check_loaded(struct user *u)
{
	struct model at[GROUPS];
	uint64_t rows = 0;
	size_t next = 0;

	assert_int_equal(u->rolled_back, 0);
	memcpy(at, all.durable, sizeof(at));
	while (!all_same(u, at)) {
		uint64_t ticket;

		assert_true(next < all.count);
		ticket = all.puts[next].ticket;
		for (; next < all.count && all.puts[next].ticket == ticket; next++)
			at[all.puts[next].group] = all.puts[next].after;
	}
	/* Nor is anything there that should have gone. */
	for (unsigned g = 0; g < GROUPS; g++)
		rows += at[g].there ? last_of(&at[g]) + 1 - at[g].low : 0;
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.raft_log"), rows);
	for (unsigned g = 0; g < GROUPS; g++)
		for (size_t i = 0; at[g].there && i < at[g].count; i++)
			entry_check(loaded(u, g)->entries[i], at[g].snap_index + 1 + i, at[g].terms[i]);
	memcpy(all.now, at, sizeof(at));
	memcpy(all.durable, at, sizeof(at));
	all.count = 0;
}

static bool
until_killed(struct user *u)
{
	static double until;

	take_durable(u);
	if (until == 0)
		until = pg_seconds() + 0.01 + (double)any(60) / 1000;
	for (unsigned i = 0; i < 1 + any(8) && all.count < PUTS_MAX - 1; i++)
		put_some(u);
	if (pg_seconds() < until)
		return false;
	until = 0;
	return true;
}

static bool
is_settled(struct user *u)
{
	take_durable(u);
	return all.count == 0;
}

static void
test_killed_in_the_middle(void **state)
{
	unsigned seed = (unsigned)(time(NULL) ^ getpid());

	(void)state;
	print_message("seed %u\n", seed);
	srand(seed);
	witness_fd = witness_file();
	for (int round = 0; round < ROUNDS; round++) {
		struct user *u = user_ready();

		check_loaded(u);
		wait_until(u, until_killed);
		if (round % 3 < 2) {
			pg_server_kill(&server);
			if (round % 3 == 0) {
				/* Only the server: what was on its way is sent again. */
				wait_until(u, is_away);
				pg_server_start(&server, NULL);
				wait_until(u, is_settled);
			}
		}
		assert_int_equal(u->fatal, 0);
		user_free(u);
		if (round % 3 == 1)
			pg_server_start(&server, NULL);
	}
	print_message("%llu cuts, %llu snapshots received, %llu drops\n", (unsigned long long)all.cuts,
	    (unsigned long long)all.restores, (unsigned long long)all.drops);
	close(witness_fd);
	witness_fd = -1;
}

/* ---- errors of the database ---- */

static bool
is_failing(struct user *u)
{
	return u->lost > 0 && strstr(u->why, "writing failed") != NULL;
}

/* An INSERT that fails as on a full disk (53100): puts are kept, also later ones, and go when it works again.
 */
static void
test_disk_full(void **state)
{
	struct user *u = user_ready();
	struct store_raft row = {.replica = 1, .term = 1};

	(void)state;
	ask(u, "CREATE FUNCTION mesh.disk_full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION"
	       " 'No space left on device' USING ERRCODE = '53100'; END $$");
	ask(u, "CREATE TRIGGER disk_full BEFORE INSERT ON mesh.raft_log EXECUTE FUNCTION mesh.disk_full()");
	put(u, row, 50, 1, 3, 1);
	wait_until(u, is_failing);
	assert_non_null(strstr(u->why, "No space left on device"));
	assert_true(store_full(u->store));
	put(u, row, 50, 4, 4, 1);
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.raft_groups WHERE id::text LIKE '%32'"), 0);
	ask(u, "DROP TRIGGER disk_full ON mesh.raft_log");
	wait_until(u, is_durable);
	wait_until(u, is_ready);
	assert_int_equal(ask(u, "SELECT count(*) FROM mesh.raft_log WHERE group_id::text LIKE '%32'"), 4);
	assert_int_equal(u->fatal, 0);
	user_free(u);
}

/* An entry that is there already is a bug of the user, which nobody hides. */
static void
test_entry_twice_is_fatal(void **state)
{
	struct user *u = user_ready();
	struct store_raft row = {.replica = 1, .term = 1};

	(void)state;
	put(u, row, 51, 1, 3, 1);
	wait_until(u, is_durable);
	put(u, row, 51, 3, 3, 1);
	wait_until(u, is_fatal);
	assert_non_null(strstr(u->why, "23505"));
	user_free(u);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_killed_in_the_middle),
	    cmocka_unit_test(test_disk_full),
	    cmocka_unit_test(test_entry_twice_is_fatal),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
