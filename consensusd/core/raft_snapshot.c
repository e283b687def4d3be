/*
 * raft_snapshot: a member that needs what is not in the log any more is sent the state instead (paper,
 * section 7), in pieces, one at a time.
 *
 * The pieces are the caller's: at the leader it has them, at the member it keeps them.  The member says from
 * where on it wants the next one, so that a transfer goes on where it broke off; with another leader it
 * begins anew, since the same state may be written down in another way there.
 */
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/core/raft_impl.h"

/* --- the leader --- */

static void
begin_anew(struct raft_peer *p)
{
	p->snap_index = p->snap_offset = 0;
	p->snap_wanted = true;
	p->snap_sent = false;
}

void
raft_snapshot_begin(struct raft *r, struct raft_peer *p, struct mono now)
{
	p->flow = RAFT_FLOW_SNAPSHOT;
	p->snap_at = now;
	begin_anew(p);
	r->counters.snapshots_sent++;
	raft_tell(r, RAFT_TRACE_SNAPSHOT, p->m.id, 0);
}

void
raft_snapshot_resend(struct raft *r, struct raft_peer *p, struct mono now)
{
	if (mono_diff_us(now, p->snap_at) < r->conf.set.election_us)
		return;
	p->snap_wanted = true;
	p->snap_at = now;
}

bool
raft_chunk_next(struct raft *r, struct raft_chunk_wanted *out)
{
	for (size_t i = 0; i < r->peers->count && r->role == RAFT_LEADER; i++) {
		struct raft_peer *p = &r->peers->peer[i];

		if (p->flow != RAFT_FLOW_SNAPSHOT || !p->snap_wanted)
			continue;
		p->snap_wanted = false;
		*out = (struct raft_chunk_wanted){
		    p->m.id, p->snap_index, p->snap_offset, r->conf.set.chunk_bytes};
		return true;
	}
	return false;
}

/* Is it what was asked for, and can it be?  From there on the log must go on without a gap. */
static bool
fits(const struct raft *r, const struct raft_chunk_wanted *w, const struct raft_piece *piece)
{
	if (w->index != 0 && w->index != piece->index)
		return false;
	return piece->len <= RAFT_CHUNK_MAX_BYTES && piece->config_len <= RAFT_CONFIG_MAX_BYTES &&
	       w->offset <= piece->size && piece->len <= piece->size - w->offset &&
	       raft_log_matches(&r->log, piece->index, piece->term) && piece->index <= r->applied;
}

static bool
fill(struct raft_msg *m, const struct raft_piece *piece)
{
	m->config = mem_dup(piece->config, piece->config_len);
	m->chunk = mem_dup(piece->data, piece->len);
	m->config_len = piece->config_len;
	m->chunk_len = piece->len;
	return m->config != NULL && m->chunk != NULL;
}

void
raft_chunk_give(
    struct raft *r, const struct raft_chunk_wanted *w, const struct raft_piece *piece, struct mono now)
{
	struct raft_peer *p = raft_peer_get(r, w->to);
	struct raft_msg *m;

	if (r->role != RAFT_LEADER || p == NULL || p->flow != RAFT_FLOW_SNAPSHOT ||
	    p->snap_index != w->index || p->snap_offset != w->offset)
		return;
	p->snap_at = now;
	if (piece == NULL || !fits(r, w, piece)) {
		/* There is a newer one by now; or none yet, and it is asked for again after a while. */
		begin_anew(p);
		p->snap_wanted = w->index != 0;
		return;
	}
	if ((m = raft_post_now(r, RAFT_SNAPSHOT, w->to)) == NULL)
		return;
	m->index = piece->index;
	m->log_term = piece->term;
	m->offset = w->offset;
	m->size = piece->size;
	if (!fill(m, piece)) {
		raft_unpost(r);
		r->counters.memory_out++;
		return;
	}
	p->snap_index = piece->index;
	p->snap_sent = true;
}

void
raft_snapshot_answered(struct raft *r, const struct raft_msg *m, struct mono now)
{
	struct raft_peer *p = raft_peer_get(r, m->from);

	if (p->flow != RAFT_FLOW_SNAPSHOT || !p->snap_sent || m->index != p->snap_index)
		return;
	p->snap_at = now;
	if (m->reject) {
		/* After a while: whoever can't use it would be sent it again and again, as fast as it goes.
		 */
		begin_anew(p);
		p->snap_wanted = false;
		return;
	}
	p->snap_offset = m->offset;
	p->snap_wanted = true;
}

/* --- the member --- */

void
raft_incoming_drop(struct raft *r)
{
	raft_msg_fini(&r->incoming.piece);
	r->incoming = (struct raft_incoming){0};
}

static void
answer(struct raft *r, uint64_t to, uint64_t index, uint64_t offset, bool reject)
{
	struct raft_msg *a = raft_post(r, RAFT_SNAPSHOT_ANSWER, to);

	if (a == NULL)
		return;
	a->index = index;
	a->offset = offset;
	a->reject = reject;
}

static bool
snapshot_makes_sense(const struct raft_msg *m)
{
	return m->index != 0 && m->log_term != 0 && m->log_term <= m->term && m->offset <= m->size &&
	       m->chunk_len <= m->size - m->offset && (m->chunk_len != 0 || m->offset == m->size);
}

void
raft_snapshot_came(struct raft *r, struct raft_msg *m, struct mono now)
{
	struct raft_incoming *in = &r->incoming;

	if (r->role == RAFT_LEADER || !snapshot_makes_sense(m)) {
		r->counters.wrong++;
		return;
	}
	/* What it stands for is here: the log stays as it is (paper, figure 13, step 6). */
	if (m->index <= r->commit || raft_log_matches(&r->log, m->index, m->log_term)) {
		raft_commit_to(r, m->index, now);
		raft_answer_append(r, m->from, r->commit);
		return;
	}
	if (in->piece.kind != 0)
		return; /* one is being kept */
	if (in->index != m->index || in->term != m->log_term || in->size != m->size)
		*in = (struct raft_incoming){.index = m->index, .term = m->log_term, .size = m->size};
	if (m->offset != in->offset) {
		answer(r, m->from, in->index, in->offset, false);
		return;
	}
	in->piece = *m;
	in->taken = false;
	r->chunk_id++;
	*m = (struct raft_msg){0};
}

bool
raft_chunk_came(struct raft *r, struct raft_chunk *out)
{
	struct raft_incoming *in = &r->incoming;

	if (in->piece.kind == 0 || in->taken)
		return false;
	/* The log came up to it meanwhile.  The caller does not get to see what would not be taken from it:
	 * it may hand the whole to its state machine first. */
	if (in->index <= r->commit) {
		raft_answer_append(r, in->piece.from, r->commit);
		raft_incoming_drop(r);
		return false;
	}
	in->taken = true;
	*out = (struct raft_chunk){
	    .id = r->chunk_id,
	    .index = in->index,
	    .term = in->term,
	    .offset = in->piece.offset,
	    .size = in->size,
	    .config = in->piece.config,
	    .config_len = in->piece.config_len,
	    .data = in->piece.chunk,
	    .len = in->piece.chunk_len,
	};
	return true;
}

/* It takes the place of all that was here.  Nothing changes if it can't. */
static int
restore(struct raft *r, const struct raft_msg *m, struct mono now)
{
	struct raft_config *base, *used = NULL;
	int err;

	if ((err = raft_config_decode(m->config, m->config_len, &base)) != 0)
		return err;
	if ((err = raft_config_new(base->members, base->count, &used)) != 0 ||
	    (err = raft_use_config(r, used, m->index)) != 0) {
		raft_config_free(used);
		raft_config_free(base);
		return err;
	}
	raft_config_free(r->snap_config);
	r->snap_config = base;
	raft_log_restore(&r->log, m->index, m->log_term);
	raft_output_cut(r, 1);
	r->commit = r->applying = r->applied = m->index;
	r->restore_dirty = true;
	r->counters.restored++;
	raft_tell(r, RAFT_TRACE_RESTORED, m->index, m->log_term);
	raft_config_committed(r, now);
	return 0;
}

void
raft_chunk_kept(struct raft *r, uint64_t id, bool ok, struct mono now)
{
	struct raft_incoming *in = &r->incoming;
	struct raft_msg m = in->piece;

	if (m.kind == 0 || id != r->chunk_id)
		return; /* dropped meanwhile */
	in->piece = (struct raft_msg){0};
	in->offset += m.chunk_len;
	if (ok && in->offset == in->size && m.index > r->commit)
		ok = restore(r, &m, now) == 0;
	if (!ok) {
		answer(r, m.from, m.index, 0, true);
		raft_incoming_drop(r);
	} else if (in->offset == in->size) {
		raft_answer_append(r, m.from, r->commit);
		raft_incoming_drop(r);
	} else {
		answer(r, m.from, m.index, in->offset, false);
	}
	raft_msg_fini(&m);
}

/* --- the log becomes shorter --- */

int
raft_compact(struct raft *r, uint64_t keep)
{
	struct raft_config *base;
	uint64_t at;
	int err;

	if (keep <= r->log.snap_index)
		return 0;
	if (keep > r->applied)
		return ERR_RANGE;
	if ((err = raft_config_before(r, keep + 1, &base, &at)) != 0)
		return err;
	raft_config_free(r->snap_config);
	r->snap_config = base;
	raft_log_compact(&r->log, keep);
	return 0;
}
