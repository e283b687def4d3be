/* Who should vote: situations, and random ones that have to come to rest in a good state. */
#include "tests/unit/unit.h"

#include "common/base/rng.h"
#include "consensusd/core/voters.h"

enum { SECOND = 1000000, STABLE = 60 * SECOND, GONE = 600 * SECOND };

static const struct voters_settings five = {.wanted = 5, .stable_us = STABLE, .gone_us = GONE};
static const struct voters_settings three = {.wanted = 3, .stable_us = STABLE, .gone_us = GONE};
static const struct voters_settings one = {.wanted = 1, .stable_us = STABLE, .gone_us = GONE};

/* Situations as text, a character for each member, whose replica is its place from 1 on:
 *	V	votes, is well		D	votes, just went away	G	votes, has gone
 *	S	votes, stopped		E	votes, removed, alive	X	votes, removed, away
 *	r	ready			n	not stable yet		b	behind
 *	d	away			s	stopped			e	removed
 */
static struct voters_candidate
candidate(char what, uint64_t replica)
{
	return (struct voters_candidate){
	    .replica = replica,
	    .node = 100 + replica,
	    .voter = strchr("VDGSEX", what) != NULL,
	    .alive = strchr("DGXd", what) == NULL,
	    .since_us = strchr("Dn", what) != NULL ? 1 : GONE,
	    .caught_up = what != 'b',
	    .stopped = what == 'S' || what == 's',
	    .removed = strchr("EXe", what) != NULL,
	};
}

static size_t
candidates(const char *text, struct voters_candidate out[])
{
	size_t n = 0;

	for (; text[n] != '\0'; n++)
		out[n] = candidate(text[n], n + 1);
	return n;
}

static void
expect(const char *text, const struct voters_settings *set, uint64_t in, uint64_t out)
{
	struct voters_candidate all[32];
	size_t count = candidates(text, all), voters = 0;
	struct voters_step s = {0};
	bool any = voters_next(all, count, set, &s);

	if (any != (in != 0 || out != 0) || s.in != in || s.out != out)
		fail_msg("%s: %d, in %d, out %d", text, any, (int)s.in, (int)s.out);
	if (!any)
		return;
	for (size_t i = 0; i < count; i++)
		voters += all[i].voter;
	assert_int_equal(s.count, voters + (in != 0) - (out != 0));
	for (size_t i = 1; i < s.count; i++)
		assert_true(s.replicas[i - 1] < s.replicas[i]);
}

static void
test_grows_to_odd_numbers(void **state)
{
	(void)state;
	expect("V", &five, 0, 0);
	expect("Vr", &five, 0, 0); /* one of two is as good as two */
	expect("Vrr", &five, 2, 0);
	expect("VVr", &five, 3, 0);
	expect("VVVr", &five, 0, 0);
	expect("VVVrr", &five, 4, 0);
	expect("VVVVVr", &five, 0, 0);
	expect("VVVrr", &three, 0, 0);
	expect("Vrr", &one, 0, 0);
}

static void
test_only_ready_ones_come_in(void **state)
{
	(void)state;
	expect("Vnn", &five, 0, 0);
	expect("Vbbb", &five, 0, 0);
	expect("Vddsse", &five, 0, 0);
	expect("Vnrbr", &five, 3, 0);
}

static void
test_who_is_away_is_replaced(void **state)
{
	(void)state;
	expect("VVDr", &three, 0, 0); /* it may come back */
	expect("VVGr", &three, 4, 3);
	expect("VVG", &three, 0, 0); /* and by nobody, if there is nobody */
	expect("VVGn", &three, 0, 0);
	expect("VGGrr", &three, 4, 3);
	expect("VVSr", &three, 4, 3);
	expect("VVS", &three, 0, 0);
	expect("VGSrr", &three, 4, 2); /* the one that is gone first */
	expect("Gr", &one, 2, 1);
}

static void
test_who_left_goes(void **state)
{
	(void)state;
	expect("VVE", &three, 0, 3);
	expect("VVX", &three, 0, 3);
	expect("VVEr", &three, 4, 3);
	expect("VE", &three, 0, 2);
	expect("E", &three, 0, 0); /* somebody has to vote */
	expect("Er", &three, 2, 1);
	expect("VEX", &three, 0, 3);
	expect("VDE", &three, 0, 0); /* without it there would be no majority */
	expect("VGE", &three, 0, 2); /* so the dead one first */
	expect("GE", &three, 0, 0);
	expect("VVVVVEr", &five, 0, 6);
}

static void
test_shrinks(void **state)
{
	(void)state;
	expect("VVVVV", &three, 0, 5);
	expect("VVVV", &three, 0, 4);
	expect("VVVV", &five, 0, 4);
	expect("VV", &five, 0, 0);
	expect("VVV", &one, 0, 3);
	expect("VV", &one, 0, 2);
	expect("VDVVV", &three, 0, 2);
	expect("VSVVV", &three, 0, 2);
	expect("VDVV", &five, 0, 2);
	expect("DDV", &one, 0, 0); /* nobody could agree to it */
}

static void
test_the_best_comes_in(void **state)
{
	struct voters_candidate all[5];
	struct voters_step s;
	size_t count = candidates("Vrrrr", all);

	(void)state;
	all[1].rtt_us = 0;
	all[2].rtt_us = 900;
	all[3].rtt_us = all[4].rtt_us = 800;
	assert_true(voters_next(all, count, &five, &s));
	assert_int_equal(s.in, 4);
	all[4].links = 3;
	assert_true(voters_next(all, count, &five, &s));
	assert_int_equal(s.in, 5);
	/* And the order in which they are listed does not matter. */
	all[0] = candidate('r', 1);
	all[4] = candidate('V', 5);
	all[3].rtt_us = all[2].rtt_us;
	all[3].node = all[2].node - 1;
	assert_true(voters_next(all, count, &five, &s));
	assert_int_equal(s.in, 4);
}

/* A node that began anew: its former replica goes, and only then, or with it, the new one may come in. */
static void
test_one_vote_for_each_node(void **state)
{
	struct voters_candidate all[4];
	struct voters_step s;
	size_t count = candidates("VVEr", all);

	(void)state;
	all[3].node = all[2].node;
	assert_true(voters_next(all, count, &three, &s));
	assert_int_equal(s.in, 4);
	assert_int_equal(s.out, 3);
	all[2] = candidate('V', 3);
	all[2].stopped = all[1].stopped = true;
	all[3].node = all[0].node;
	assert_false(voters_next(all, count, &three, &s));
}

/* --- random situations --- */

enum { MEMBERS = 12, STEPS_MAX = 64 };

static bool
majority_alive(const struct voters_candidate *all, size_t count)
{
	size_t voters = 0, alive = 0;

	for (size_t i = 0; i < count; i++) {
		voters += all[i].voter;
		alive += all[i].voter && all[i].alive && !all[i].removed;
	}
	return 2 * alive > voters;
}

static void
carry_out(struct voters_candidate *all, size_t count, const struct voters_step *s)
{
	size_t voters = 0;

	for (size_t i = 0; i < count; i++) {
		if (all[i].replica == s->in) {
			assert_false(all[i].voter);
			assert_true(all[i].alive && all[i].caught_up && !all[i].removed && !all[i].stopped);
			all[i].voter = true;
		}
		if (all[i].replica == s->out) {
			assert_true(all[i].voter);
			all[i].voter = false;
		}
		if (!all[i].voter)
			continue;
		assert_true(voters < s->count);
		assert_int_equal(s->replicas[voters++], all[i].replica);
	}
	assert_int_equal(voters, s->count);
	assert_in_range(voters, 1, RAFT_VOTERS_MAX);
}

static void
at_rest(const struct voters_candidate *all, size_t count, const struct voters_settings *set)
{
	size_t voters = 0, ready = 0;

	for (size_t i = 0; i < count; i++) {
		const struct voters_candidate *x = &all[i];
		bool good = x->alive && !x->removed && !x->stopped;

		voters += x->voter;
		ready += !x->voter && good && x->caught_up && x->since_us >= set->stable_us;
	}
	assert_true(voters <= set->wanted || !majority_alive(all, count));
	/* Whoever could help does. */
	if (ready >= 2)
		assert_true(voters >= set->wanted);
	for (size_t i = 0; i < count && ready != 0; i++)
		assert_false(all[i].voter && (all[i].removed || all[i].stopped || !all[i].alive) &&
			     all[i].since_us >= set->gone_us);
}

static void
settle(struct voters_candidate *all, size_t count, const struct voters_settings *set)
{
	struct voters_step s;
	size_t steps = 0;

	for (; voters_next(all, count, set, &s); steps++) {
		bool before = majority_alive(all, count);

		assert_true(steps < STEPS_MAX);
		assert_true(s.in != 0 || s.out != 0);
		carry_out(all, count, &s);
		assert_true(!before || majority_alive(all, count));
	}
	at_rest(all, count, set);
}

static void
disturb(struct rng *rng, struct voters_candidate *x)
{
	static const char kinds[] = "VVVVDGSEXrrrrnbdse";
	bool voter = x->voter;

	*x = candidate(kinds[rng_below(rng, sizeof(kinds) - 1)], x->replica);
	x->voter = voter;
	x->rtt_us = (int64_t)rng_below(rng, 3);
	x->links = (uint32_t)rng_below(rng, 3);
}

static void
test_random_situations(void **state)
{
	const struct voters_settings *sets[] = {&one, &three, &five};
	struct voters_candidate all[MEMBERS];
	struct rng rng;

	(void)state;
	for (uint64_t seed = 1; seed <= 2000; seed++) {
		rng_seed(&rng, seed);
		for (size_t i = 0; i < MEMBERS; i++)
			all[i] = candidate(i == 0 ? 'V' : 'n', i + 1);
		for (size_t i = 0; i < 20; i++) {
			disturb(&rng, &all[rng_below(&rng, MEMBERS)]);
			settle(all, MEMBERS, sets[rng_below(&rng, 3)]);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_grows_to_odd_numbers),
	    cmocka_unit_test(test_only_ready_ones_come_in),
	    cmocka_unit_test(test_who_is_away_is_replaced),
	    cmocka_unit_test(test_who_left_goes),
	    cmocka_unit_test(test_shrinks),
	    cmocka_unit_test(test_the_best_comes_in),
	    cmocka_unit_test(test_one_vote_for_each_node),
	    cmocka_unit_test(test_random_situations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
