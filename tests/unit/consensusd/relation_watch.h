/*
 * relation_watch: a stream from the first node to others, seen through its group, and nodes that start again.
 */
#ifndef TESTS_UNIT_CONSENSUSD_RELATION_WATCH_H
#define TESTS_UNIT_CONSENSUSD_RELATION_WATCH_H

#include "tests/unit/consensusd/relation_user.h"

#define S1 "01ARZ3NDEKTSV4RRFFQ69G5001"

static struct env_node *const a = &env.nodes[0], *const b = &env.nodes[1];
static const char *watched;

static inline struct relation *
relation_of(const char *stream)
{
	struct ulid id;
	struct source *s;

	assert_int_equal(ulid_parse(stream, &id), 0);
	s = source_find(&a->engine, &id);
	assert_non_null(s);
	return s->relation.relation;
}

static inline bool
has_voters(struct env *e)
{
	(void)e;
	return relation_votes(relation_of(watched));
}

/* S1 to these, with subscribers, once the group has so many voters. */
static inline void
begin(const char *targets, unsigned voters)
{
	assert_int_equal(env_open(a, "one", S1, targets)->replies, 1);
	watched = S1;
	until(has_voters, voters);
	for (; *targets != '\0'; targets++)
		subscribe(&env.nodes[*targets - 'a']);
}

/* After env_stop(). */
static inline void
start(struct env_node *n)
{
	n->identities = n->health = 0;
	env_start(n);
	env_run(&env, env_ready);
}

static inline void
restart(struct env_node *n)
{
	env_stop(n);
	start(n);
}

/* The group, as the second node has it, knows as many messages as wanted. */
static inline bool
fixed(struct env *e)
{
	return dsg_at(e->nodes[1].engine.relations->all->state, 0)->described >= wanted;
}

#endif
