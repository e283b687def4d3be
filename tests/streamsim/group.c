/* group: a node's replica of the stream's group, with what it says about the stream. */
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/core/raft_entry.h"
#include "consensusd/core/raft_msg.h"
#include "tests/streamsim/world.h"

enum { MESSAGE_MAX_BYTES = 1 << 20, SNAPSHOT_MAX_BYTES = 16 << 20, TRANSFER_MS = 150 };

/* The first replica of node n has this id; a later one REPLICA_STEP more. */
static uint64_t
id_of(unsigned n)
{
	return 100 + n;
}

uint8_t *
group_first_config(const struct world *w, size_t *len)
{
	struct raft_member m[ENDS_MAX];
	struct raft_config *c;
	uint8_t *out;

	/* Of two, one votes: the source. */
	for (unsigned n = 0; n <= w->targets; n++)
		m[n] = (struct raft_member){
		    id_of(n), n + 1, n > 0 && w->targets == 1 ? RAFT_LEARNER : RAFT_VOTER};
	MUST(raft_config_new(m, w->targets + 1, &c) == 0);
	out = disk_config(c, len);
	raft_config_free(c);
	return out;
}

static void
restore(struct world *w, unsigned n, const struct disk_snapshot *s)
{
	struct node *o = &w->node[n];

	if (dsg_restore(o->dsg, s->data, s->len) != 0)
		world_fail(w, "node %u: a snapshot that can't be restored", n);
	o->applied = s->index;
	o->applied_term = s->term;
}

void
group_start(struct world *w, unsigned n)
{
	struct node *o = &w->node[n];
	struct raft_config *base;
	struct raft_conf conf = {
	    .set = w->settings, .id = o->replica, .node = n + 1, .seed = rng_u64(&w->rng)};
	/* A replica that began with nothing is told who its members are. */
	struct raft_state state = disk_state(&o->disk, &base);

	MUST((o->dsg = dsg_new(NULL)) != NULL);
	o->applied = o->applied_term = 0;
	if (o->disk.snapshot.index != 0)
		restore(w, n, &o->disk.snapshot);
	disk_snapshot_free(&o->incoming);
	if (raft_new(&conf, &state, world_clock(w), &o->raft) != 0)
		world_fail(w, "node %u: a replica that does not start", n);
	raft_config_free(base);
	raft_apply_early(o->raft);
	o->transfer_at = 0;
}

void
group_stop(struct world *w, unsigned n)
{
	struct node *o = &w->node[n];

	raft_free(o->raft);
	dsg_free(o->dsg);
	o->raft = NULL;
	o->dsg = NULL;
	disk_crash(&o->disk, world_below(w, (unsigned)o->disk.write_count + 1));
}

void
group_message(struct world *w, unsigned n, const struct frame *f)
{
	struct raft_msg m;

	if (raft_msg_decode(f->bytes, f->len, &m) != 0)
		return;
	if (m.to == w->node[n].replica)
		raft_step(w->node[n].raft, &m, world_clock(w));
	else
		raft_msg_fini(&m);
}

bool
group_leads(const struct world *w, unsigned n, uint64_t *term)
{
	struct raft_status st;

	raft_show(w->node[n].raft, &st);
	*term = st.term;
	return st.role == RAFT_LEADER;
}

bool
group_ready(const struct world *w, unsigned n, uint64_t *term)
{
	return group_leads(w, n, term) && w->node[n].applied_term == *term;
}

bool
group_propose(struct world *w, unsigned n, const struct buf *entry)
{
	struct raft_entry *e = raft_entry_new(RAFT_DATA, 0, 0, buf_head(entry), buf_left(entry));
	uint64_t index;

	if (e == NULL || raft_propose(w->node[n].raft, e, world_clock(w), &index) != 0)
		return false;
	w->sums.entries++;
	return true;
}

/* --- snapshots --- */

static void
write_started(struct world *w, unsigned n)
{
	int64_t us = w->node[n].slow_us != 0 ? w->node[n].slow_us : w->faults.commit_us;

	world_push(w, w->now + 100 + world_below(w, (unsigned)us), WORLD_SYNCED, n, 0, NULL);
}

static void
maybe_snapshot(struct world *w, unsigned n)
{
	struct node *o = &w->node[n];
	struct disk_snapshot s = {.index = o->applied};
	struct raft_status st;
	uint64_t keep;
	uint8_t *config;
	struct buf b;
	size_t len;

	raft_show(o->raft, &st);
	if (o->applied > st.written || o->applied < st.first + w->snapshot_every ||
	    o->disk.write_count >= DISK_WRITES_MAX / 2 || raft_entry_at(o->raft, o->applied) == NULL ||
	    !world_chance(w, 100))
		return;
	s.term = raft_entry_at(o->raft, o->applied)->term;
	s.config = disk_config_at(o->raft, s.index, &s.config_len);
	buf_init(&b, SNAPSHOT_MAX_BYTES);
	MUST(dsg_snapshot(o->dsg, &b) == 0);
	s.len = buf_left(&b);
	s.data = sim_dup(buf_head(&b), s.len);
	buf_fini(&b);
	keep = o->applied - world_below(w, w->snapshot_every / 2);
	config = disk_config_at(o->raft, keep, &len);
	disk_snapshot(&o->disk, &s, keep, raft_entry_at(o->raft, keep)->term, config, len);
	w->sums.snapshots++;
	write_started(w, n);
}

static void
give_chunks(struct world *w, unsigned n)
{
	struct node *o = &w->node[n];
	struct raft_chunk_wanted want;

	while (raft_chunk_next(o->raft, &want)) {
		struct raft_piece p;
		bool have = disk_snapshot_piece(&o->disk.snapshot, &want, &p);

		raft_chunk_give(o->raft, &want, have ? &p : NULL, world_clock(w));
	}
}

static void
keep_chunks(struct world *w, unsigned n)
{
	struct node *o = &w->node[n];
	struct raft_chunk c;

	while (raft_chunk_came(o->raft, &c)) {
		bool ok = disk_snapshot_keep(&o->incoming, &c);

		/* As the shell does it: before the log says so. */
		if (ok && o->incoming.len == c.size) {
			restore(w, n, &o->incoming);
			w->sums.restores++;
		}
		raft_chunk_kept(o->raft, c.id, ok, world_clock(w));
	}
}

/* --- what follows from an event --- */

static void
persist(struct world *w, unsigned n)
{
	struct node *o = &w->node[n];
	struct raft_persist p;

	while (o->disk.write_count < DISK_WRITES_MAX - 2 && raft_persist(o->raft, &p)) {
		disk_persist(&o->disk, o->raft, &p, &o->incoming);
		write_started(w, n);
	}
}

/* What there is no memory for the first time is applied the second time. */
static void
apply_one(struct world *w, unsigned n, const struct raft_entry *e)
{
	struct node *o = &w->node[n];

	if (world_chance(w, w->faults.memory)) {
		mem_fail_at(1 + world_below(w, 3));
		w->sums.short_memory++;
	}
	if (e->type == RAFT_DATA && dsg_apply(o->dsg, e->data, e->len) != 0) {
		mem_fail_at(0);
		MUST(dsg_apply(o->dsg, e->data, e->len) == 0);
	}
	mem_fail_at(0);
	o->applied = e->index;
	o->applied_term = e->term;
	check_applied(w, n, e->data, e->type == RAFT_DATA ? e->len : 0, e->index);
}

static void
apply(struct world *w, unsigned n)
{
	struct node *o = &w->node[n];
	uint64_t first, last;

	while (raft_apply(o->raft, &first, &last)) {
		if (first > o->applied + 1)
			world_fail(w, "node %u applies %llu after %llu", n, (unsigned long long)first,
			    (unsigned long long)o->applied);
		/* It may have a snapshot that the replica did not take. */
		for (uint64_t i = o->applied + 1; i <= last; i++)
			apply_one(w, n, raft_entry_at(o->raft, i));
		raft_applied(o->raft, last);
	}
}

static void
send_all(struct world *w, unsigned n)
{
	struct raft_msg m;
	struct buf b;

	while (raft_send(w->node[n].raft, &m)) {
		buf_init(&b, MESSAGE_MAX_BYTES);
		MUST(raft_msg_encode(&m, &b) == 0);
		net_send_raft(w, n, (unsigned)(m.to - id_of(0)) % REPLICA_STEP, &b);
		buf_fini(&b);
		raft_msg_fini(&m);
	}
}

/* The source is to lead: it alone proposes. */
static void
hand_over(struct world *w, unsigned n)
{
	struct node *o = &w->node[n];
	uint64_t term;

	if (n == 0 || w->now < o->transfer_at || !group_leads(w, n, &term))
		return;
	o->transfer_at = w->now + TRANSFER_MS * WORLD_MS;
	if (raft_transfer(o->raft, id_of(0), world_clock(w)) == 0)
		w->sums.transfers++;
}

void
group_pump(struct world *w, unsigned n)
{
	struct node *o = &w->node[n];
	uint64_t ctx, index;

	if (!mono_before(world_clock(w), raft_next(o->raft)))
		raft_tick(o->raft, world_clock(w));
	hand_over(w, n);
	give_chunks(w, n);
	keep_chunks(w, n);
	apply(w, n);
	while (raft_read_next(o->raft, &ctx, &index))
		world_fail(w, "a read that nobody asked for");
	if (n == 0)
		source_describe(w);
	maybe_snapshot(w, n);
	persist(w, n);
	send_all(w, n);
	node_arm(w, n, raft_next(o->raft));
}

void
group_synced(struct world *w, unsigned n)
{
	struct node *o = &w->node[n];
	uint64_t keep, mark;

	mark = disk_sync(&o->disk, &keep);
	if (mark != 0)
		raft_durable(o->raft, mark, world_clock(w));
	else if (keep <= o->applied && raft_compact(o->raft, keep) != 0)
		world_fail(w, "node %u can't compact to %llu", n, (unsigned long long)keep);
}
