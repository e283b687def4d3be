/* raft_suspect: a leader whose node is known to be gone is replaced sooner than its silence alone would do;
 * and one that begins again leads again without that. */
#include "tests/unit/unit.h"

#include "consensusd/core/raft.h"
#include "consensusd/core/raft_entry.h"
#include "consensusd/core/raft_msg.h"

enum { REPLICAS = 5, ELECTION_US = 1000000, STEP_US = 1000 };

static struct replica {
	struct raft *raft;
	bool cut;
} replicas[REPLICAS]; /* their ids are from 1 on */
static struct mono now;

static struct raft_status
status(unsigned i)
{
	struct raft_status st;

	raft_show(replicas[i].raft, &st);
	return st;
}

static struct raft_config *config;

static void
start(unsigned i, const struct raft_state *state)
{
	const struct raft_conf conf = {.set = {.election_us = ELECTION_US,
					   .heartbeat_us = ELECTION_US / 5,
					   .quiet_us = 2 * ELECTION_US,
					   .append_bytes = 65536,
					   .inflight_bytes = 65536,
					   .uncommitted_bytes = 65536,
					   .apply_bytes = 65536,
					   .chunk_bytes = 65536},
	    .id = i + 1,
	    .node = i + 1,
	    .seed = i + 7};

	replicas[i].cut = false;
	assert_int_equal(raft_new(&conf, state, now, &replicas[i].raft), 0);
}

static int
setup(void **state)
{
	struct raft_member members[REPLICAS];
	struct raft_state begin = {.term = 1, .commit = 1, .snap_index = 1, .snap_term = 1, .applied = 1};

	(void)state;
	for (unsigned i = 0; i < REPLICAS; i++)
		members[i] = (struct raft_member){.id = i + 1, .node = i + 1, .role = RAFT_VOTER};
	assert_int_equal(raft_config_new(members, REPLICAS, &config), 0);
	begin.snap_config = config;
	now = (struct mono){1000 * ELECTION_US};
	for (unsigned i = 0; i < REPLICAS; i++)
		start(i, &begin);
	return 0;
}

/* All that it had given to storage is there. */
static void
restart(unsigned i)
{
	struct raft_status st = status(i);
	struct raft_entry *entries[64];
	struct raft_state left = {.term = st.term,
	    .vote = st.vote,
	    .commit = st.commit,
	    .snap_index = 1,
	    .snap_term = 1,
	    .snap_config = config,
	    .entries = entries,
	    .applied = 1};

	for (uint64_t at = 2; at <= st.last; at++)
		entries[left.entry_count++] = raft_entry_ref(raft_entry_at(replicas[i].raft, at));
	raft_free(replicas[i].raft);
	start(i, &left);
	for (size_t k = 0; k < left.entry_count; k++)
		raft_entry_unref(entries[k]);
}

static int
teardown(void **state)
{
	(void)state;
	for (unsigned i = 0; i < REPLICAS; i++)
		raft_free(replicas[i].raft);
	raft_config_free(config);
	return 0;
}

/* What each has to say; what is given to storage is there at once. */
static bool
deliver(unsigned i)
{
	struct raft *r = replicas[i].raft;
	struct raft_persist p;
	struct raft_msg m;
	uint64_t first, last;
	bool any = false;

	while (raft_persist(r, &p))
		raft_durable(r, p.mark, now);
	while (raft_apply(r, &first, &last))
		raft_applied(r, last);
	while (raft_send(r, &m)) {
		struct replica *to = &replicas[m.to - 1];

		any = true;
		if (replicas[i].cut || to->cut)
			raft_msg_fini(&m);
		else
			raft_step(to->raft, &m, now);
	}
	return any;
}

static void
settle(void)
{
	bool any = true;

	while (any) {
		any = false;
		for (unsigned i = 0; i < REPLICAS; i++)
			any |= deliver(i);
	}
}

static void
run_us(int64_t us)
{
	for (struct mono end = mono_add_us(now, us); mono_before(now, end); now = mono_add_us(now, STEP_US)) {
		for (unsigned i = 0; i < REPLICAS; i++)
			if (!replicas[i].cut && !mono_before(now, raft_next(replicas[i].raft)))
				raft_tick(replicas[i].raft, now);
		settle();
	}
}

static void
lead(unsigned i)
{
	raft_campaign(replicas[i].raft, now);
	settle();
	assert_int_equal(status(i).role, RAFT_LEADER);
}

static void
suspect_all(unsigned from)
{
	for (unsigned i = from; i < REPLICAS; i++)
		raft_suspect(replicas[i].raft, now);
}

static unsigned
leader_of(unsigned i)
{
	return (unsigned)status(i).leader;
}

/* The first one stands at once, without waiting for the time of an election. */
static void
test_gone(void **state)
{
	(void)state;
	lead(0);
	run_us(ELECTION_US / 2);
	replicas[0].cut = true;
	suspect_all(1);
	run_us(ELECTION_US / 100);
	assert_int_equal(status(1).role, RAFT_LEADER);
	for (unsigned i = 2; i < REPLICAS; i++)
		assert_int_equal(leader_of(i), 2);
}

/* If that one is away too, the next follows after a step. */
static void
test_two_gone(void **state)
{
	(void)state;
	lead(0);
	run_us(ELECTION_US / 2);
	replicas[0].cut = replicas[1].cut = true;
	suspect_all(2);
	run_us(ELECTION_US / RAFT_SUSPECT_STEPS - STEP_US);
	assert_int_equal(leader_of(2), 1);
	run_us(ELECTION_US / 100 + STEP_US);
	assert_int_equal(status(2).role, RAFT_LEADER);
}

static void
test_quiet(void **state)
{
	(void)state;
	lead(0);
	run_us(5 * (int64_t)ELECTION_US);
	assert_true(status(0).quiet && status(3).quiet);
	replicas[0].cut = true;
	suspect_all(1);
	run_us(ELECTION_US / 100);
	assert_int_equal(status(1).role, RAFT_LEADER);
}

/* Who is alone with the suspicion disturbs nobody: there is no other term, and the leader is believed again.
 */
static void
test_wrong(void **state)
{
	(void)state;
	lead(0);
	run_us(ELECTION_US / 2);
	raft_suspect(replicas[1].raft, now);
	raft_suspect(replicas[0].raft, now); /* of itself: nothing */
	run_us(ELECTION_US);
	for (unsigned i = 0; i < REPLICAS; i++) {
		assert_int_equal(leader_of(i), 1);
		assert_int_equal(status(i).term, 2);
	}
}

/* If most believe it, there is another leader, and the first one follows it. */
static void
test_most_wrong(void **state)
{
	(void)state;
	lead(0);
	run_us(ELECTION_US / 2);
	suspect_all(1);
	run_us(ELECTION_US);
	for (unsigned i = 0; i < REPLICAS; i++)
		assert_int_equal(leader_of(i), leader_of(1));
}

/* The others heard of it just now, and would help nobody else to replace it. */
static void
test_leader_restarts(void **state)
{
	(void)state;
	lead(0);
	run_us(ELECTION_US / 2);
	restart(0);
	raft_campaign(replicas[1].raft, now);
	settle();
	assert_int_not_equal(status(1).role, RAFT_LEADER);
	raft_campaign(replicas[0].raft, now);
	settle();
	assert_int_equal(status(0).role, RAFT_LEADER);
	assert_int_equal(leader_of(3), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_gone, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_two_gone, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_quiet, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_wrong, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_most_wrong, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_leader_restarts, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
