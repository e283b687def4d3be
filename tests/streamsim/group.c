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

/* Of a stream whose targets never change: all are there from the beginning.  Of two, one votes: the source.
 */
static void
first_config(const struct world *w, struct disk *d)
{
	struct raft_member m[ENDS_MAX];
	struct raft_config *c;

	for (unsigned n = 0; n <= w->targets; n++)
		m[n] = (struct raft_member){
		    id_of(n), n + 1, n > 0 && w->targets == 1 ? RAFT_LEARNER : RAFT_VOTER};
	MUST(raft_config_new(m, w->targets + 1, &c) == 0);
	d->base_config = disk_config(c, &d->base_config_len);
	raft_config_free(c);
}

static void
alone_config(struct disk *d, uint64_t id)
{
	struct raft_member m = {id, 1, RAFT_VOTER};
	struct raft_config *c;

	MUST(raft_config_new(&m, 1, &c) == 0);
	d->base_config = disk_config(c, &d->base_config_len);
	raft_config_free(c);
}

static void
restore(struct world *w, unsigned n, struct replica *r, const struct disk_snapshot *s)
{
	if (dsg_restore(r->dsg, s->data, s->len) != 0)
		world_fail(w, "node %u: a snapshot that can't be restored", n);
	r->applied = s->index;
	r->applied_term = s->term;
}

static void
start(struct world *w, unsigned n, struct replica *r)
{
	struct raft_config *base;
	struct raft_conf conf = {.set = w->settings, .id = r->id, .node = n + 1, .seed = rng_u64(&w->rng)};
	/* A replica that began with nothing is told who its members are. */
	struct raft_state state = disk_state(&r->disk, &base);

	MUST((r->dsg = dsg_new(NULL)) != NULL);
	r->applied = r->applied_term = 0;
	if (r->disk.snapshot.index != 0)
		restore(w, n, r, &r->disk.snapshot);
	disk_snapshot_free(&r->incoming);
	if (raft_new(&conf, &state, world_clock(w), &r->raft) != 0)
		world_fail(w, "node %u: a replica that does not start", n);
	raft_config_free(base);
	raft_apply_early(r->raft);
	r->transfer_at = r->unused_at = 0;
	if (w->changes)
		r->members_at = 0;
	r->leave_term = 0;
	memset(r->heard, 0, sizeof(r->heard));
}

static void
stop(struct world *w, struct replica *r)
{
	raft_free(r->raft);
	dsg_free(r->dsg);
	r->raft = NULL;
	r->dsg = NULL;
	disk_crash(&r->disk, world_below(w, (unsigned)r->disk.write_count + 1));
}

struct replica *
group_of(const struct world *w, unsigned n)
{
	return w->node[n].in[w->node[n].group];
}

void
group_make(struct world *w, unsigned n)
{
	struct node *o = &w->node[n];

	o->replica = id_of(n);
	if (w->changes)
		return; /* when the stream is opened there */
	o->in[0] = sim_alloc(1, sizeof(*o->in[0]));
	o->in[0]->id = o->replica;
	disk_init(&o->in[0]->disk);
	first_config(w, &o->in[0]->disk);
}

void
group_begin(struct world *w, unsigned n, unsigned g)
{
	struct node *o = &w->node[n];
	struct replica *r = sim_alloc(1, sizeof(*r));

	mem_fail_at(0); /* it is tried again there */
	o->replica += REPLICA_STEP;
	r->id = o->replica;
	disk_init(&r->disk);
	if (n == 0)
		alone_config(&r->disk, r->id);
	o->in[g] = r;
	start(w, n, r);
	if (n == 0)
		raft_campaign(r->raft, world_clock(w));
}

void
group_drop(struct world *w, unsigned n, unsigned g)
{
	struct replica *r = w->node[n].in[g];

	if (r->raft != NULL)
		stop(w, r);
	disk_fini(&r->disk);
	disk_snapshot_free(&r->incoming);
	free(r);
	w->node[n].in[g] = NULL;
}

void
group_lose(struct world *w, unsigned n)
{
	struct node *o = &w->node[n];

	o->replica += REPLICA_STEP;
	disk_fini(&o->in[0]->disk);
	disk_init(&o->in[0]->disk);
	o->in[0]->id = o->replica;
}

void
group_end(struct world *w, unsigned n)
{
	for (unsigned g = 0; g < GROUPS_MAX; g++)
		if (w->node[n].in[g] != NULL)
			group_drop(w, n, g);
}

void
group_start(struct world *w, unsigned n)
{
	for (unsigned g = 0; g < GROUPS_MAX; g++)
		if (w->node[n].in[g] != NULL)
			start(w, n, w->node[n].in[g]);
}

void
group_stop(struct world *w, unsigned n)
{
	for (unsigned g = 0; g < GROUPS_MAX; g++)
		if (w->node[n].in[g] != NULL)
			stop(w, w->node[n].in[g]);
}

void
group_message(struct world *w, unsigned n, const struct frame *f)
{
	struct replica *r = w->node[n].in[f->group];
	struct raft_msg m;

	if (raft_msg_decode(f->bytes, f->len, &m) != 0)
		return;
	if (r != NULL && m.to == r->id)
		raft_step(r->raft, &m, world_clock(w));
	else
		raft_msg_fini(&m);
}

bool
group_leads(const struct replica *r, uint64_t *term)
{
	struct raft_status st;

	raft_show(r->raft, &st);
	*term = st.term;
	return st.role == RAFT_LEADER;
}

bool
group_ready(const struct replica *r, uint64_t *term)
{
	return group_leads(r, term) && r->applied_term == *term;
}

bool
group_propose(struct world *w, struct replica *r, const struct buf *entry, uint64_t *index)
{
	struct raft_entry *e = raft_entry_new(RAFT_DATA, 0, 0, buf_head(entry), buf_left(entry));
	uint64_t at;

	if (e == NULL || raft_propose(r->raft, e, world_clock(w), &at) != 0)
		return false;
	if (index != NULL)
		*index = at;
	w->sums.entries++;
	return true;
}

/* The replica that the node has in the group, as its leader knows it; 0: none. */
static uint64_t
member_on(const struct replica *r, unsigned n)
{
	struct raft_member_status s;

	for (size_t i = 0; raft_member_at(r->raft, i, &s); i++)
		if (s.member.node == n + 1)
			return s.member.id;
	return 0;
}

bool
group_hand_over(struct world *w, struct replica *r, unsigned n)
{
	if (raft_transfer(r->raft, member_on(r, n), world_clock(w)) != 0)
		return false;
	w->sums.transfers++;
	return true;
}

/* --- snapshots --- */

static void
write_started(struct world *w, unsigned n, unsigned g)
{
	int64_t us = w->node[n].slow_us != 0 ? w->node[n].slow_us : w->faults.commit_us;

	world_push(w, w->now + 100 + world_below(w, (unsigned)us), WORLD_SYNCED, n, g, NULL);
}

static void
maybe_snapshot(struct world *w, unsigned n, unsigned g)
{
	struct replica *o = w->node[n].in[g];
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
	write_started(w, n, g);
}

static void
give_chunks(struct world *w, unsigned n, unsigned g)
{
	struct replica *o = w->node[n].in[g];
	struct raft_chunk_wanted want;

	while (raft_chunk_next(o->raft, &want)) {
		struct raft_piece p;
		bool have = disk_snapshot_piece(&o->disk.snapshot, &want, &p);

		raft_chunk_give(o->raft, &want, have ? &p : NULL, world_clock(w));
	}
}

static void
keep_chunks(struct world *w, unsigned n, unsigned g)
{
	struct replica *o = w->node[n].in[g];
	struct raft_chunk c;

	while (raft_chunk_came(o->raft, &c)) {
		bool ok = disk_snapshot_keep(&o->incoming, &c);

		/* As the shell does it: before the log says so. */
		if (ok && o->incoming.len == c.size) {
			restore(w, n, o, &o->incoming);
			w->sums.restores++;
		}
		raft_chunk_kept(o->raft, c.id, ok, world_clock(w));
	}
}

/* --- what follows from an event --- */

static void
persist(struct world *w, unsigned n, unsigned g)
{
	struct replica *o = w->node[n].in[g];
	struct raft_persist p;

	while (o->disk.write_count < DISK_WRITES_MAX - 2 && raft_persist(o->raft, &p)) {
		disk_persist(&o->disk, o->raft, &p, &o->incoming);
		write_started(w, n, g);
	}
}

/* What there is no memory for the first time is applied the second time. */
static void
apply_one(struct world *w, unsigned n, unsigned g, const struct raft_entry *e)
{
	struct replica *o = w->node[n].in[g];

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
	check_applied(w, n, g, e->data, e->type == RAFT_DATA ? e->len : 0, e->index);
}

static void
apply(struct world *w, unsigned n, unsigned g)
{
	struct replica *o = w->node[n].in[g];
	uint64_t first, last;

	while (raft_apply(o->raft, &first, &last)) {
		if (first > o->applied + 1)
			world_fail(w, "node %u applies %llu after %llu", n, (unsigned long long)first,
			    (unsigned long long)o->applied);
		/* It may have a snapshot that the replica did not take. */
		for (uint64_t i = o->applied + 1; i <= last; i++)
			apply_one(w, n, g, raft_entry_at(o->raft, i));
		raft_applied(o->raft, last);
	}
}

static void
send_all(struct world *w, unsigned n, unsigned g)
{
	struct raft_msg m;
	struct buf b;

	while (raft_send(w->node[n].in[g]->raft, &m)) {
		buf_init(&b, MESSAGE_MAX_BYTES);
		MUST(raft_msg_encode(&m, &b) == 0);
		net_send_raft(w, n, (unsigned)(m.to - id_of(0)) % REPLICA_STEP, g, &b);
		buf_fini(&b);
		raft_msg_fini(&m);
	}
}

/* The source is to lead: it alone proposes.  Without a stream nobody looks after that. */
static void
hand_over(struct world *w, unsigned n, unsigned g)
{
	struct node *o = &w->node[n];
	struct replica *r = o->in[g];
	uint64_t term;

	if (n == 0 || w->now < r->transfer_at || !group_leads(r, &term) || (w->changes && o->group != g))
		return;
	r->transfer_at = w->now + TRANSFER_MS * WORLD_MS;
	(void)group_hand_over(w, r, 0);
}

static void
pump(struct world *w, unsigned n, unsigned g)
{
	struct replica *r = w->node[n].in[g];
	uint64_t ctx, index;

	if (!mono_before(world_clock(w), raft_next(r->raft)))
		raft_tick(r->raft, world_clock(w));
	hand_over(w, n, g);
	give_chunks(w, n, g);
	keep_chunks(w, n, g);
	apply(w, n, g);
	while (raft_read_next(r->raft, &ctx, &index))
		world_fail(w, "a read that nobody asked for");
	if (n == 0 && g == w->node[0].group)
		source_describe(w);
	maybe_snapshot(w, n, g);
	persist(w, n, g);
	send_all(w, n, g);
	node_arm(w, n, raft_next(r->raft));
}

void
group_pump(struct world *w, unsigned n)
{
	for (unsigned g = 0; g < GROUPS_MAX; g++)
		if (w->node[n].in[g] != NULL)
			pump(w, n, g);
}

void
group_synced(struct world *w, unsigned n, unsigned g)
{
	struct replica *r = w->node[n].in[g];
	uint64_t keep, mark;

	if (r == NULL)
		return;
	mark = disk_sync(&r->disk, &keep);
	if (mark != 0)
		raft_durable(r->raft, mark, world_clock(w));
	else if (keep <= r->applied && raft_compact(r->raft, keep) != 0)
		world_fail(w, "node %u can't compact to %llu", n, (unsigned long long)keep);
}
