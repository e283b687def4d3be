/*
 * relation_user: what tests of streams and their groups share: a source at the first node, whose stream is
 * published in call 2, and subscribers in call 9.
 */
#ifndef TESTS_UNIT_CONSENSUSD_RELATION_USER_H
#define TESTS_UNIT_CONSENSUSD_RELATION_USER_H

#include "tests/unit/consensusd/env.h"

#include "consensusd/relation_impl.h"

static unsigned wanted;

static inline void
until(bool (*what)(struct env *e), unsigned count)
{
	wanted = count;
	env_run(&env, what);
}

/* As many voters as wanted, as the leader has them, none of them joining or leaving. */
static inline bool
relation_votes(const struct relation *r)
{
	struct raft_member_status s;
	struct raft_status st;
	unsigned voters = 0;

	if (r->group == NULL)
		return false;
	group_show(r->group, &st);
	for (size_t i = 0; group_member_at(r->group, i, &s); i++)
		voters += s.member.role == RAFT_VOTER;
	return r->ready && !st.joint && voters == wanted && st.commit == st.last;
}

static inline bool
confirmed(struct env *e)
{
	return e->nodes[0].calls[2].items >= wanted;
}

static inline void
publish_to(const char *stream, int count)
{
	struct env_node *source = &env.nodes[0];
	mesh_v1_Chunk chunk = env_chunk(stream, 0);

	if (source->calls[2].items == 0)
		env_forget(source, 2);
	for (int i = 0; i < count; i++)
		env_publish_send(source, GC_PUBLISH_ITEM, 2, &chunk, "payload", 7);
}

static inline void
subscribe(struct env_node *n)
{
	mesh_v1_StreamSelector sel = env_selector("one", "");

	n->auto_ack = true;
	env_subscribe(n, 9, &sel);
}

#endif
