/* raft_transfer: leadership is handed over (thesis, section 3.10). */
#include "common/base/err.h"
#include "consensusd/core/raft_impl.h"

void
raft_transfer_if_ready(struct raft *r, const struct raft_peer *p)
{
	if (r->transfer_to == p->m.id && p->match == raft_log_last(&r->log))
		(void)raft_post_now(r, RAFT_TIMEOUT_NOW, p->m.id);
}

void
raft_transfer_stop(struct raft *r)
{
	if (r->transfer_to == 0)
		return;
	r->transfer_to = 0;
	r->transfer_by = MONO_NEVER;
	raft_tell(r, RAFT_TRACE_TRANSFER, 0, 0);
}

int
raft_transfer(struct raft *r, uint64_t to, struct mono now)
{
	struct raft_peer *p = raft_peer_get(r, to);

	if (r->role != RAFT_LEADER)
		return ERR_STATE;
	if (p == NULL || (p->m.role & RAFT_VOTER) == 0)
		return ERR_NOENT;
	if (raft_is_self(r, p))
		return ERR_EXISTS;
	/* No proposals from now on, so that it can catch up; if it does not, the group goes on as it was. */
	r->transfer_to = to;
	r->transfer_by = mono_add_us(now, r->conf.set.election_us);
	raft_tell(r, RAFT_TRACE_TRANSFER, to, 0);
	raft_stir(r, now);
	raft_send_append(r, p, false, now);
	raft_transfer_if_ready(r, p);
	return 0;
}
