#include "consensusd/core/voters.h"

typedef const struct voters_candidate candidate;

struct choice {
	candidate *all;
	size_t count;
	const struct voters_settings *set;
	size_t voters, alive; /* now; alive: and not removed */
};

/* --- what they are --- */

static bool
ready(const struct choice *c, candidate *x)
{
	return !x->voter && x->alive && !x->removed && !x->stopped && x->caught_up &&
	       x->since_us >= c->set->stable_us;
}

static bool
gone(const struct choice *c, candidate *x)
{
	return !x->alive && x->since_us >= c->set->gone_us;
}

static bool
counts(candidate *x)
{
	return x->alive && !x->removed;
}

static size_t
odd(size_t n)
{
	return n == 0 ? 0 : n - (n + 1) % 2;
}

static size_t
wanted(const struct choice *c)
{
	size_t n = c->set->wanted < RAFT_VOTERS_MAX ? c->set->wanted : RAFT_VOTERS_MAX;

	return n == 0 ? 1 : odd(n);
}

/* --- which is better --- */

static bool
closer(candidate *a, candidate *b)
{
	int64_t rtt_a = a->rtt_us != 0 ? a->rtt_us : INT64_MAX;
	int64_t rtt_b = b->rtt_us != 0 ? b->rtt_us : INT64_MAX;

	if (rtt_a != rtt_b)
		return rtt_a < rtt_b;
	if (a->links != b->links)
		return a->links > b->links;
	return a->node != b->node ? a->node < b->node : a->replica < b->replica;
}

/* How much a voter would be missed: less is worse. */
static int
worth(candidate *x)
{
	if (x->removed)
		return x->alive ? 1 : 0;
	if (!x->alive)
		return 2;
	return x->stopped ? 3 : 4;
}

/* Of those that are alike, the one that is gone for the longest. */
static bool
worse(candidate *a, candidate *b)
{
	if (worth(a) != worth(b))
		return worth(a) < worth(b);
	if (!a->alive && a->since_us != b->since_us)
		return a->since_us > b->since_us;
	return closer(b, a);
}

/* The worst voter that is one of these; NULL. */
static candidate *
worst_voter(const struct choice *c, bool (*is)(const struct choice *c, candidate *x))
{
	candidate *worst = NULL;

	for (size_t i = 0; i < c->count; i++) {
		candidate *x = &c->all[i];

		if (x->voter && is(c, x) && (worst == NULL || worse(x, worst)))
			worst = x;
	}
	return worst;
}

/* Does another replica of its node vote, that is not to go out? */
static bool
node_votes(const struct choice *c, candidate *x, candidate *out)
{
	for (size_t i = 0; i < c->count; i++)
		if (c->all[i].voter && c->all[i].node == x->node && &c->all[i] != out)
			return true;
	return false;
}

/* The best one that may come in when out goes; NULL. */
static candidate *
best_ready(const struct choice *c, candidate *out)
{
	candidate *best = NULL;

	for (size_t i = 0; i < c->count; i++) {
		candidate *x = &c->all[i];

		if (ready(c, x) && !node_votes(c, x, out) && (best == NULL || closer(x, best)))
			best = x;
	}
	return best;
}

/* --- the result --- */

static void
add(struct voters_step *s, uint64_t replica)
{
	size_t i = s->count++;

	MUST(i < RAFT_VOTERS_MAX);
	for (; i != 0 && s->replicas[i - 1] > replica; i--)
		s->replicas[i] = s->replicas[i - 1];
	s->replicas[i] = replica;
}

static bool
step(const struct choice *c, candidate *in, candidate *out, struct voters_step *s)
{
	*s = (struct voters_step){
	    .in = in != NULL ? in->replica : 0,
	    .out = out != NULL ? out->replica : 0,
	};
	for (size_t i = 0; i < c->count; i++)
		if (c->all[i].voter && &c->all[i] != out)
			add(s, c->all[i].replica);
	if (in != NULL)
		add(s, in->replica);
	return true;
}

/* Would a majority be alive without this voter? */
static bool
stands_without(const struct choice *c, candidate *out)
{
	return 2 * (c->alive - counts(out)) > c->voters - 1;
}

/* --- reasons --- */

static bool
is_removed(const struct choice *c, candidate *x)
{
	(void)c;
	return x->removed;
}

static bool
is_gone(const struct choice *c, candidate *x)
{
	return !x->removed && gone(c, x);
}

static bool
is_away(const struct choice *c, candidate *x)
{
	return !x->removed && (x->stopped || gone(c, x));
}

static bool
is_any(const struct choice *c, candidate *x)
{
	(void)c;
	(void)x;
	return true;
}

static bool
drop_removed(const struct choice *c, struct voters_step *s)
{
	candidate *out = worst_voter(c, is_removed), *in, *dead;

	if (out == NULL)
		return false;
	in = c->voters <= wanted(c) ? best_ready(c, out) : NULL;
	if (in != NULL || stands_without(c, out))
		return step(c, in, out, s);
	if ((in = best_ready(c, out)) != NULL)
		return step(c, in, out, s);
	/* Somebody who is alive and belongs here has to be left; then whoever is not alive only stands in the
	 * way. */
	dead = out->alive ? worst_voter(c, is_gone) : out;
	return dead != NULL && c->alive != 0 ? step(c, NULL, dead, s) : false;
}

static bool
replace_away(const struct choice *c, struct voters_step *s)
{
	candidate *out = worst_voter(c, is_away), *in;

	if (out == NULL || (in = best_ready(c, out)) == NULL)
		return false;
	return step(c, in, out, s);
}

/* Voters, and those that could be. */
static size_t
eligible(const struct choice *c)
{
	size_t n = 0;

	for (size_t i = 0; i < c->count; i++) {
		candidate *x = &c->all[i];

		n += (x->voter && !x->removed) || (ready(c, x) && !node_votes(c, x, NULL));
	}
	return n;
}

static bool
grow(const struct choice *c, struct voters_step *s)
{
	size_t most = odd(eligible(c));
	candidate *in;

	if (c->voters >= wanted(c) || c->voters >= most || (in = best_ready(c, NULL)) == NULL)
		return false;
	return step(c, in, NULL, s);
}

static bool
shrink(const struct choice *c, struct voters_step *s)
{
	bool beyond = c->voters > wanted(c);
	bool even = c->voters > 3 && c->voters % 2 == 0;
	candidate *out = worst_voter(c, is_any);

	if (out == NULL || c->voters < 2 || !(beyond || even) || !stands_without(c, out))
		return false;
	return step(c, NULL, out, s);
}

bool
voters_next(const struct voters_candidate *all, size_t count, const struct voters_settings *set,
    struct voters_step *out)
{
	struct choice c = {.all = all, .count = count, .set = set};

	for (size_t i = 0; i < count; i++) {
		c.voters += all[i].voter;
		c.alive += all[i].voter && counts(&all[i]);
	}
	if (c.voters == 0 || c.voters > RAFT_VOTERS_MAX)
		return false;
	return drop_removed(&c, out) || replace_away(&c, out) || grow(&c, out) || shrink(&c, out);
}
