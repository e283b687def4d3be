/* group: making, loading and ending groups, and what is asked of them; see group.h. */
#include "consensusd/group.h"

#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/conf.h"
#include "common/os/crypto.h"
#include "common/os/log.h"
#include "consensusd/core/raft_entry.h"
#include "consensusd/group_impl.h"
#include "consensusd/peers.h"
#include "consensusd/stats.h"

static void renew_witness(struct groups *gs);

/* --- all of them --- */

static void
on_sweep(void *arg)
{
	struct groups *gs = arg;
	struct group *g, *next;

	HASH_ITER (hh, gs->all, g, next) {
		uint64_t leader = group_leader_node(g);
		const struct node *n = leader != 0 ? nodes_find(&gs->engine->nodes, leader) : NULL;

		if (leader == gs->engine->self || (n != NULL && n->status == NODE_STATUS_ALIVE))
			continue;
		raft_wake(g->raft, clock_mono());
		group_touch(g);
	}
	engine_at(gs->engine, &gs->sweep, mono_add_ms(clock_mono(), GROUP_SWEEP_MS));
}

void
groups_configure(struct groups *gs, const struct conf *conf)
{
	gs->set = (struct raft_settings){
	    .election_us = conf_int(conf, "consensusd", "raft-election"),
	    .heartbeat_us = conf_int(conf, "consensusd", "raft-heartbeat"),
	    .quiet_us = conf_int(conf, "consensusd", "raft-quiet"),
	    .append_bytes = GROUP_APPEND_BYTES,
	    .inflight_bytes = GROUP_INFLIGHT_BYTES,
	    .uncommitted_bytes = GROUP_UNCOMMITTED_BYTES,
	    .apply_bytes = GROUP_APPLY_BYTES,
	    .chunk_bytes = GROUP_CHUNK_BYTES,
	};
	if (gs->set.heartbeat_us > gs->set.election_us / 3)
		gs->set.heartbeat_us = gs->set.election_us / 3;
	gs->compact_bytes = (size_t)conf_int(conf, "consensusd", "raft-log-max");
	gs->compact_entries = (size_t)conf_int(conf, "consensusd", "raft-log-entries");
}

struct groups *
groups_new(struct engine *e, const struct conf *conf)
{
	struct groups *gs = mem_calloc(1, sizeof(*gs));

	if (gs == NULL)
		return NULL;
	gs->engine = e;
	TAILQ_INIT(&gs->dirty);
	TAILQ_INIT(&gs->writes);
	gs->sweep.fn = on_sweep;
	gs->sweep.arg = gs;
	groups_configure(gs, conf);
	peers_handle(e->peers, PEERS_RAFT, groups_on_message, gs);
	return gs;
}

static void
group_free(struct group *g)
{
	struct groups *gs = g->owner;
	struct group_write *w;

	TAILQ_FOREACH (w, &gs->writes, entry)
		if (w->group == g)
			w->group = NULL;
	engine_at_cancel(gs->engine, &g->timer);
	if (g->dirty)
		TAILQ_REMOVE(&gs->dirty, g, dirty_entry);
	HASH_DEL(gs->all, g);
	raft_free(g->raft);
	group_put_free(g->put);
	group_snapshot_fini(&g->snapshot);
	group_snapshot_fini(&g->incoming);
	group_snapshot_fini(&g->restored);
	mem_free(g);
	metric_set(&stats.groups, (int64_t)HASH_COUNT(gs->all));
}

void
groups_free(struct groups *gs)
{
	struct group *g, *next;
	struct group_route *r, *r_next;

	if (gs == NULL)
		return;
	HASH_ITER (hh, gs->all, g, next)
		group_free(g);
	while (!TAILQ_EMPTY(&gs->writes))
		group_write_free(TAILQ_FIRST(&gs->writes));
	HASH_ITER (hh, gs->routes, r, r_next) {
		HASH_DEL(gs->routes, r);
		mem_free(r);
	}
	engine_at_cancel(gs->engine, &gs->sweep);
	mem_free(gs->damaged);
	mem_free(gs);
}

void
groups_on_unknown(
    struct groups *gs, void (*fn)(void *, const uint8_t id[STORE_GROUP_BYTES], uint64_t), void *ctx)
{
	gs->on_unknown = fn;
	gs->unknown_ctx = ctx;
}

size_t
groups_count(const struct groups *gs)
{
	return HASH_COUNT(gs->all);
}

struct group *
groups_first(const struct groups *gs)
{
	return gs->all;
}

struct group *
groups_next(const struct group *g)
{
	return g->hh.next;
}

struct group *
groups_find(const struct groups *gs, const uint8_t id[STORE_GROUP_BYTES])
{
	struct group *g;

	HASH_FIND(hh, gs->all, id, STORE_GROUP_BYTES, g);
	return g;
}

struct group *
groups_find_type(const struct groups *gs, enum store_raft_type type)
{
	for (struct group *g = gs->all; g != NULL; g = g->hh.next)
		if (g->type == type)
			return g;
	return NULL;
}

bool
groups_turn(struct groups *gs)
{
	struct group_list now = TAILQ_HEAD_INITIALIZER(now);
	struct group *g;
	bool more = false;

	TAILQ_CONCAT(&now, &gs->dirty, dirty_entry);
	while ((g = TAILQ_FIRST(&now)) != NULL) {
		TAILQ_REMOVE(&now, g, dirty_entry);
		g->dirty = false;
		if (group_run(g)) {
			group_touch(g);
			more = true;
		}
	}
	return more;
}

void
groups_durable(struct groups *gs, uint64_t ticket)
{
	struct mono now = clock_mono();
	struct group_write *w;

	while ((w = TAILQ_FIRST(&gs->writes)) != NULL && w->ticket <= ticket) {
		if (w->group != NULL) {
			if (w->mark != 0)
				raft_durable(w->group->raft, w->mark, now);
			if (w->compact != 0)
				group_compacted(w->group, w);
			group_touch(w->group);
		}
		group_write_free(w);
	}
	if (gs->rolled_back && gs->renew_ticket != 0 && ticket >= gs->renew_ticket)
		renew_witness(gs);
}

/* What a replica does when its leader is on a node. */
static void
led_by(struct groups *gs, uint64_t node, void (*fn)(struct raft *r, struct mono now))
{
	struct group *g, *next;

	HASH_ITER (hh, gs->all, g, next) {
		if (group_leader_node(g) != node)
			continue;
		fn(g->raft, clock_mono());
		group_touch(g);
	}
}

void
groups_node_down(struct groups *gs, uint64_t node)
{
	led_by(gs, node, raft_suspect);
}

void
groups_node_up(struct groups *gs)
{
	led_by(gs, gs->engine->self, raft_wake);
}

/* --- one --- */

static void
on_trace(void *arg, enum raft_trace what, uint64_t a, uint64_t b)
{
	struct group *g = arg;

	(void)a;
	(void)b;
	if (what == RAFT_TRACE_CONFIG || what == RAFT_TRACE_RESTORED)
		g->routes_stale = true;
}

static struct raft_conf
replica_conf(struct group *g)
{
	struct raft_conf conf = {.set = g->owner->set,
	    .id = g->replica,
	    .node = g->owner->engine->self,
	    .trace = on_trace,
	    .arg = g};

	crypto_random(&conf.seed, sizeof(conf.seed));
	return conf;
}

static int
group_make(struct groups *gs, const uint8_t id[STORE_GROUP_BYTES], enum store_raft_type type,
    uint64_t replica, const struct raft_state *state, struct group **out)
{
	struct group *g;
	struct raft_conf conf;
	int err;

	if (groups_find(gs, id) != NULL)
		return ERR_EXISTS;
	if (HASH_COUNT(gs->all) >= STORE_GROUPS_MAX)
		return ERR_FULL;
	if ((g = mem_calloc(1, sizeof(*g))) == NULL)
		return ERR_NOMEM;
	g->owner = gs;
	memcpy(g->id, id, STORE_GROUP_BYTES);
	g->type = type;
	g->replica = replica;
	g->timer.fn = group_on_timer;
	g->timer.arg = g;
	g->applied = state->applied;
	g->apply_next = 1; /* nothing */
	g->write_by = MONO_NEVER;
	g->routes_stale = true;
	conf = replica_conf(g);
	if ((err = raft_new(&conf, state, clock_mono(), &g->raft)) != 0) {
		mem_free(g);
		return err;
	}
	HASH_ADD(hh, gs->all, id, STORE_GROUP_BYTES, g);
	if (!HASH_ADDED(g)) {
		raft_free(g->raft);
		mem_free(g);
		return ERR_NOMEM;
	}
	metric_set(&stats.groups, (int64_t)HASH_COUNT(gs->all));
	group_touch(g);
	*out = g;
	return 0;
}

/* The first replica of a group begins with its members as a snapshot of nothing at index 1, so that there is
 * no time at which the log has them and the replica does not. */
static int
put_beginning(struct group *g, const struct raft_config *members)
{
	struct group_snapshot *s = &g->snapshot;
	struct store_raft row;
	struct buf config;
	int64_t ticket = ERR_NOMEM;

	buf_init(&config, RAFT_CONFIG_MAX_BYTES);
	if (raft_config_encode(members, &config) == 0 && (s->data = mem_calloc(1, 1)) != NULL &&
	    (s->config = mem_dup(buf_head(&config), buf_left(&config))) != NULL) {
		s->index = s->term = 1;
		s->config_len = buf_left(&config);
		group_row(g, &row);
		row.restore = true;
		row.snap_index = row.snap_term = 1;
		row.snap_config = s->config;
		row.snap_config_len = s->config_len;
		row.snap_data = s->data;
		ticket = store_put_raft(g->owner->engine->store, &row);
	}
	buf_fini(&config);
	return ticket < 0 ? (int)ticket : 0;
}

static int
put_empty(struct group *g)
{
	struct store_raft row;
	int64_t ticket;

	group_row(g, &row);
	ticket = store_put_raft(g->owner->engine->store, &row);
	return ticket < 0 ? (int)ticket : 0;
}

uint64_t
group_draw_replica(void)
{
	uint64_t id = 0;

	while (id == 0)
		crypto_random(&id, sizeof(id));
	return id;
}

int
group_new(struct groups *gs, const uint8_t id[STORE_GROUP_BYTES], enum store_raft_type type, uint64_t replica,
    const struct raft_member *members, size_t count, struct group **out)
{
	struct raft_state state = {0};
	struct raft_config *config = NULL;
	int err = 0;

	if (count != 0) {
		if ((err = raft_config_new(members, count, &config)) != 0)
			return err;
		state = (struct raft_state){.term = 1,
		    .commit = 1,
		    .snap_index = 1,
		    .snap_term = 1,
		    .snap_config = config,
		    .applied = 1};
	}
	err = group_make(gs, id, type, replica, &state, out);
	/* Nothing that this replica says leaves before what it says is durable, and that comes after this. */
	if (err == 0 && (err = config != NULL ? put_beginning(*out, config) : put_empty(*out)) != 0)
		group_free(*out);
	raft_config_free(config);
	return err;
}

bool
group_is_alone(const struct group *g)
{
	struct raft_status st;
	struct raft_member_status m;
	size_t voters = 0;

	raft_show(g->raft, &st);
	for (size_t i = 0; raft_member_at(g->raft, i, &m); i++)
		voters += m.member.role != RAFT_LEARNER;
	return st.voter && voters == 1;
}

static bool
is_single(const struct group *g)
{
	struct raft_member_status m;

	return !raft_member_at(g->raft, 1, &m);
}

static int
keep_loaded_snapshot(struct group *g, const struct store_raft_state *r)
{
	if (r->snap_index == 0)
		return 0;
	g->snapshot = (struct group_snapshot){.index = r->snap_index,
	    .term = r->snap_term,
	    .size = r->snap_data_len,
	    .config = mem_calloc(1, r->snap_config_len + 1),
	    .data = mem_calloc(1, r->snap_data_len + 1),
	    .config_len = r->snap_config_len,
	    .len = r->snap_data_len};
	if (g->snapshot.config == NULL || g->snapshot.data == NULL)
		return ERR_NOMEM;
	memcpy(g->snapshot.config, r->snap_config, r->snap_config_len);
	memcpy(g->snapshot.data, r->snap_data, r->snap_data_len);
	return 0;
}

int
groups_load(struct groups *gs, const struct store_raft_state *r)
{
	struct raft_state state = {.term = r->term,
	    .vote = r->vote,
	    .commit = r->commit,
	    .snap_index = r->snap_index,
	    .snap_term = r->snap_term,
	    .entries = r->entries,
	    .entry_count = r->entry_count,
	    .applied = r->snap_index};
	struct raft_config *base = NULL;
	struct group *g;
	int err = 0;

	if (r->snap_config_len != 0)
		err = raft_config_decode(r->snap_config, r->snap_config_len, &base);
	state.snap_config = base;
	if (err == 0)
		err = group_make(gs, r->group, r->type, r->replica, &state, &g);
	if (err == 0) {
		/* Learners have heard what it decided, and would not see that it decides otherwise now.  The
		 * control group is worth that risk, there is only one; streams just get another group. */
		g->sole_voter = group_is_alone(g) && (r->type != STORE_RAFT_DSG || is_single(g));
		if ((err = keep_loaded_snapshot(g, r)) != 0)
			group_free(g);
	}
	raft_config_free(base);
	for (size_t i = 0; i < r->entry_count; i++)
		raft_entry_unref(r->entries[i]);
	return err;
}

/* A replica that forgot what it promised is somebody else from now on: it begins anew, as a learner.  One
 * that decides alone has promised nothing to anybody. */
void
groups_rolled_back(struct groups *gs, const char *why)
{
	struct group *g, *next;

	log_error("%s", why);
	gs->rolled_back = true;
	gs->lost = gs->all == NULL; /* all of the database: what there was is not known */
	HASH_ITER (hh, gs->all, g, next) {
		char text[GROUP_TEXT_SIZE];

		group_text(g, text);
		if (g->sole_voter) {
			log_warn(
			    "group %s goes on with what the database has: no other node votes in it", text);
			continue;
		}
		log_warn("group %s: this node's replica is forgotten, and joins again as a new one", text);
		gs->lost = g->lost = true;
	}
}

void
groups_damaged(struct groups *gs, const uint8_t id[STORE_GROUP_BYTES], const char *why)
{
	uint8_t(*bigger)[STORE_GROUP_BYTES] =
	    mem_reallocarray(gs->damaged, gs->damaged_count + 1, sizeof(*bigger));

	log_error("%s: this node's replica is forgotten, and joins again as a new one", why);
	gs->lost = true;
	if (bigger == NULL)
		return; /* it is found again at the next start */
	gs->damaged = bigger;
	memcpy(gs->damaged[gs->damaged_count++], id, STORE_GROUP_BYTES);
}

bool
groups_lost(const struct groups *gs)
{
	return gs->lost;
}

static void
drop_row(struct groups *gs, const uint8_t id[STORE_GROUP_BYTES])
{
	int64_t ticket = store_put_raft_drop(gs->engine->store, id);

	if (ticket < 0)
		log_warn("a Raft group stays in the database: %s", err_text((int)ticket));
	else
		gs->renew_ticket = (uint64_t)ticket;
}

static void
renew_witness(struct groups *gs)
{
	gs->rolled_back = false;
	if (store_renew_witness(gs->engine->store) != 0)
		log_error(
		    "the witness in state-dir can't be written: at the next start this node joins again");
}

void
groups_ready(struct groups *gs)
{
	struct group *g, *next;

	HASH_ITER (hh, gs->all, g, next)
		if (g->lost)
			group_drop(g);
	for (size_t i = 0; i < gs->damaged_count; i++)
		drop_row(gs, gs->damaged[i]);
	mem_free(gs->damaged);
	gs->damaged = NULL;
	gs->damaged_count = 0;
	if (gs->rolled_back && gs->renew_ticket == 0)
		renew_witness(gs);
	on_sweep(gs);
}

void
group_drop(struct group *g)
{
	drop_row(g->owner, g->id);
	group_free(g);
}

int
group_attach(struct group *g, const struct group_ops *ops, void *sm)
{
	int err = 0;

	if (g->snapshot.data != NULL && g->snapshot.len != 0)
		err = ops->restore(sm, g->snapshot.data, g->snapshot.len, g->snapshot.index);
	if (err != 0)
		return err;
	g->ops = ops;
	g->sm = sm;
	if (ops->early)
		raft_apply_early(g->raft);
	group_touch(g);
	return 0;
}

int
group_keep(struct group *g)
{
	struct raft_status st;
	struct store_raft row;
	int64_t ticket;

	/* What waits for the store has it, and more. */
	if (g->put != NULL)
		return 0;
	raft_show(g->raft, &st);
	group_row(g, &row);
	row.commit = st.commit < st.durable ? st.commit : st.durable;
	ticket = store_put_raft(g->owner->engine->store, &row);
	return ticket < 0 ? (int)ticket : 0;
}

/* --- what is asked --- */

int
group_propose(struct group *g, struct raft_entry *e, uint64_t *index)
{
	int err = raft_propose(g->raft, e, clock_mono(), index);

	group_touch(g);
	return err;
}

int
group_change(struct group *g, const struct raft_config *to)
{
	int err = raft_change(g->raft, to, clock_mono());

	group_touch(g);
	return err;
}

int
group_transfer(struct group *g, uint64_t replica)
{
	int err = raft_transfer(g->raft, replica, clock_mono());

	group_touch(g);
	return err;
}

int
group_read(struct group *g, uint64_t ctx)
{
	int err = raft_read(g->raft, ctx, clock_mono());

	group_touch(g);
	return err;
}

void
group_campaign(struct group *g)
{
	raft_campaign(g->raft, clock_mono());
	group_touch(g);
}

/* --- to look at --- */

const uint8_t *
group_id(const struct group *g)
{
	return g->id;
}

enum store_raft_type
group_type(const struct group *g)
{
	return g->type;
}

void
group_show(const struct group *g, struct raft_status *out)
{
	raft_show(g->raft, out);
}

bool
group_member_at(const struct group *g, size_t i, struct raft_member_status *out)
{
	return raft_member_at(g->raft, i, out);
}

bool
group_member_answers(const struct group *g, const struct raft_member_status *s)
{
	const struct engine *e = g->owner->engine;
	const struct node *n = nodes_find(&e->nodes, s->member.node);
	struct raft_status st;

	raft_show(g->raft, &st);
	if (s->member.id == g->replica)
		return true;
	if (n == NULL || n->status != NODE_STATUS_ALIVE)
		return false;
	/* Nobody says anything in a quiet group. */
	return st.quiet || s->active ||
	       mono_diff_us(clock_mono(), s->heard_at) < GROUP_ANSWERS_ELECTIONS * g->owner->set.election_us;
}

int
group_config(const struct group *g, struct raft_config **out)
{
	return raft_config_used(g->raft, out);
}

uint64_t
group_leader_node(const struct group *g)
{
	struct raft_status st;
	struct group_route *r;

	raft_show(g->raft, &st);
	if (st.leader == 0)
		return 0;
	if (st.leader == g->replica)
		return g->owner->engine->self;
	HASH_FIND(hh, g->owner->routes, &st.leader, sizeof(st.leader), r);
	return r != NULL ? r->node : 0;
}

void
group_text(const struct group *g, char out[GROUP_TEXT_SIZE])
{
	uuid_format(out, g->id);
}
