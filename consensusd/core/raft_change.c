/* raft_change: other members (thesis, chapter 4; joint consensus is its section 4.3). */
#include "common/base/buf.h"
#include "common/base/err.h"
#include "consensusd/core/raft_entry.h"
#include "consensusd/core/raft_impl.h"

static int
read_config(const struct raft_entry *e, struct raft_config **out)
{
	return raft_config_decode(e->data, e->len, out);
}

int
raft_config_before(const struct raft *r, uint64_t index, struct raft_config **out, uint64_t *at)
{
	uint64_t last = raft_log_last(&r->log);

	for (uint64_t i = index > last ? last : index - 1; i >= raft_log_first(&r->log); i--) {
		const struct raft_entry *e = raft_log_get(&r->log, i);

		if (e->type != RAFT_CONFIG)
			continue;
		*at = i;
		return read_config(e, out);
	}
	*at = r->log.snap_index;
	return raft_config_new(r->snap_config->members, r->snap_config->count, out);
}

/* --- the leader changes it --- */

static int
encode(const struct raft_config *c, struct raft_entry **out)
{
	struct buf b;
	int err;

	buf_init(&b, RAFT_CONFIG_MAX_BYTES);
	if ((err = raft_config_encode(c, &b)) == 0 &&
	    (*out = raft_entry_new(RAFT_CONFIG, 0, 0, buf_head(&b), buf_left(&b))) == NULL)
		err = ERR_NOMEM;
	buf_fini(&b);
	return err;
}

/* Appends a membership, which holds from now on (section 4.1).  It is taken, whatever happens. */
static int
append(struct raft *r, struct raft_config *c, struct mono now)
{
	struct raft_entry *e = NULL;
	int err;

	/* With room for the entry, the one cannot fail after the other. */
	if ((err = raft_log_reserve(&r->log, 1)) == 0 && (err = encode(c, &e)) == 0)
		err = raft_use_config(r, c, raft_log_last(&r->log) + 1);
	if (err != 0) {
		raft_entry_unref(e);
		raft_config_free(c);
		return err;
	}
	MUST(raft_append_own(r, e) == 0);
	raft_stir(r, now);
	raft_send_appends(r, now);
	return 0;
}

static bool
same(const struct raft_config *a, const struct raft_config *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (a->members[i].id != b->members[i].id || a->members[i].role != b->members[i].role ||
		    a->members[i].node != b->members[i].node)
			return false;
	return true;
}

int
raft_change(struct raft *r, const struct raft_config *to, struct mono now)
{
	struct raft_config *next;
	int err;

	if (r->role != RAFT_LEADER)
		return ERR_STATE;
	if (r->transfer_to != 0)
		return ERR_UNAVAIL;
	/* Until an entry of this term is committed, a change of an earlier leader may still come to light. */
	if (r->config_index > r->commit || raft_config_joint(r->config) ||
	    !raft_log_matches(&r->log, r->commit, r->term))
		return ERR_AGAIN;
	if (to->count == 0 || raft_config_joint(to))
		return ERR_RANGE;
	if (same(r->config, to))
		return ERR_EXISTS;
	if (raft_config_same_voters(r->config, to))
		err = raft_config_new(to->members, to->count, &next);
	else
		err = raft_config_between(r->config, to, &next);
	return err != 0 ? err : append(r, next, now);
}

/* --- it is committed --- */

/* Who is not in it leads no more, and lets the best of the others follow without waiting (section 4.2.2). */
static void
hand_over(struct raft *r, struct mono now)
{
	const struct raft_peer *best = NULL;

	for (size_t i = 0; i < r->peers->count; i++) {
		const struct raft_peer *p = &r->peers->peer[i];

		if ((p->m.role & RAFT_VOTER) != 0 && (best == NULL || p->match > best->match))
			best = p;
	}
	raft_send_appends(r, now); /* they learn that it is committed */
	if (best != NULL && best->match == raft_log_last(&r->log))
		(void)raft_post_now(r, RAFT_TIMEOUT_NOW, best->m.id);
	raft_become_follower(r, r->term, 0, now);
}

static void
leave_joint(struct raft *r, struct mono now)
{
	struct raft_config *after;

	/* If memory lacks, the next tick tries again. */
	if (raft_config_after(r->config, &after) != 0 || append(r, after, now) != 0)
		r->counters.memory_out++;
}

void
raft_config_committed(struct raft *r, struct mono now)
{
	const struct raft_peer *self = raft_peer_get(r, r->conf.id);

	if (r->config_index > r->commit)
		return;
	if (r->role == RAFT_LEADER && raft_config_joint(r->config)) {
		leave_joint(r, now);
		return;
	}
	if (r->role == RAFT_LEADER && (self == NULL || (self->m.role & RAFT_VOTER) == 0))
		hand_over(r, now);
	if (self == NULL && r->config->count != 0 && !r->gone) {
		r->gone = true;
		raft_tell(r, RAFT_TRACE_GONE, r->config_index, 0);
	}
}
